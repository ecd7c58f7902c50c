//! Reads one event stream of a backend, from the dial to its end.

use std::time::Duration;

use super::http::Head;
use super::{End, Life};
use crate::edge::clock;
use crate::proto::backend::{Answer, Input};
use crate::proto::event::DownReason;
use crate::proto::sse::{Decoder, Item, Limits};

/// Dials, checks the answer, reads until the stream ends.
pub(super) async fn read_stream(life: &mut Life<'_>) -> End {
    let (source, cell) = (&life.cell.source, life.cell);
    cell.on_state("connecting");
    let started = clock::now();
    let took = || {
        clock::now()
            .saturating_duration_since(started)
            .as_secs_f64()
    };
    let opened = async {
        let mut connection = life.dialer.connect(source).await?;
        connection
            .send(source, &cell.request, &life.last_event_id)
            .await?;
        let head = connection.read_head().await?;
        Ok((connection, head))
    };
    let (mut connection, head) = match opened.await {
        Ok(opened) => opened,
        Err(reason) => {
            cell.metrics.on_connect(Err(reason), took());
            return End::lost(reason);
        }
    };
    if let Err(reason) = check(&head) {
        let reason = if head.status == 200 {
            reason
        } else {
            let body = connection.read_error_body().await;
            match (source.dialect.answer)(head.status, &body) {
                Answer::Unauthorized => DownReason::Unauthorized,
                Answer::RateLimited => DownReason::RateLimited,
                Answer::Gone => return End::Gone,
                Answer::Events | Answer::Empty | Answer::Bad => reason,
            }
        };
        cell.metrics.on_connect(Err(reason), took());
        return head.end(reason);
    }
    cell.metrics.on_connect(Ok(()), took());
    life.on_open(cell.request.resume_header.is_some() && !life.last_event_id.is_empty());

    let silence = Duration::from_secs(cell.request.silence_secs);
    connection.session.set_read_timeout(Some(silence));
    let limits = Limits {
        line_bytes_max: source.event_bytes_max,
        event_bytes_max: source.event_bytes_max,
    };
    let mut decoder = Decoder::new(limits);
    loop {
        let chunk = match connection.read().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return End::lost(DownReason::Closed),
            Err(reason) => return End::lost(reason),
        };
        let arrived = clock::wall();
        cell.metrics.on_byte(arrived.0 / 1000);
        decoder.push(chunk);
        let mut frames = 0_usize;
        while let Some(item) = decoder.next_item() {
            frames += 1;
            match item {
                Item::Frame(frame) => {
                    cell.on_frame(
                        Input {
                            event: frame.event,
                            data: frame.data,
                        },
                        arrived,
                    );
                }
                Item::Oversize { event } => cell.on_oversize(event),
            }
        }
        if frames > 0 {
            cell.wake();
            if decoder.last_event_id() != life.last_event_id {
                decoder.last_event_id().clone_into(&mut life.last_event_id);
            }
            if cell.is_over() {
                return End::Gone;
            }
        }
    }
}

/// Whether an event stream follows.
fn check(head: &Head) -> Result<(), DownReason> {
    if head.status != 200 {
        return Err(DownReason::BadStatus);
    }
    if head.content_type != "text/event-stream" || head.is_encoded {
        return Err(DownReason::BadContentType);
    }
    Ok(())
}
