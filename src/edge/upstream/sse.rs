//! Reads one event stream of a backend, from the dial to its end.

use std::time::Duration;

use super::http::{Connection, Head};
use super::{End, Life};
use crate::edge::clock;
use crate::proto::backend::{Answer, Input};
use crate::proto::event::DownReason;
use crate::proto::sse::{Decoder, Item, Limits};

/// Dials, checks the answer, reads until the stream ends.
pub(super) async fn read_stream(life: &mut Life<'_>) -> End {
    life.cell.on_state("connecting");
    let started = clock::now();
    let opened = open(life).await;
    let took = clock::now().saturating_duration_since(started).as_secs_f64();
    match opened {
        Ok(connection) => {
            life.cell.metrics.on_connect(Ok(()), took);
            let resumes = life.cell.request.resume_header.is_some();
            life.on_open(resumes && !life.last_event_id.is_empty());
            read(life, connection).await
        }
        Err(end) => {
            let reason = match end {
                End::Lost { reason, .. } => reason,
                End::Gone => DownReason::Ended,
            };
            life.cell.metrics.on_connect(Err(reason), took);
            end
        }
    }
}

/// Dials, asks, and looks at the answer before anything of it is read as events.
async fn open(life: &Life<'_>) -> Result<Connection, End> {
    let source = &life.cell.source;
    let mut connection = life.dialer.connect(source, false).await.map_err(End::lost)?;
    let sent = connection.send(source, &life.cell.request, &life.last_event_id).await;
    sent.map_err(End::lost)?;
    let head = connection.read_head().await.map_err(End::lost)?;
    if head.status == 200 {
        check_type(&head).map_err(End::lost)?;
        return Ok(connection);
    }
    let body = connection.read_error_body().await;
    Err(match (source.dialect.answer)(head.status, &body) {
        Answer::Unauthorized => head.end(DownReason::Unauthorized),
        Answer::RateLimited => head.end(DownReason::RateLimited),
        Answer::Gone => End::Gone,
        Answer::Events | Answer::Empty | Answer::Bad => head.end(DownReason::BadStatus),
    })
}

/// Whether an event stream follows, one that can be read.
fn check_type(head: &Head) -> Result<(), DownReason> {
    if head.content_type != "text/event-stream" || head.is_encoded {
        return Err(DownReason::BadContentType);
    }
    Ok(())
}

/// Reads an open stream to its end. Hot path: runs once per read.
async fn read(life: &mut Life<'_>, mut connection: Connection) -> End {
    let cell = life.cell;
    connection.session.set_read_timeout(Some(Duration::from_secs(cell.request.silence_secs)));
    let limits = Limits {
        line_bytes_max: cell.source.event_bytes_max,
        event_bytes_max: cell.source.event_bytes_max,
    };
    let mut decoder = Decoder::new(limits);
    loop {
        let chunk = match connection.read().await {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return End::lost(DownReason::Closed),
            Err(reason) => return End::lost(reason),
        };
        let arrived = clock::wall();
        cell.on_byte(arrived);
        decoder.push(chunk);
        let mut frames = 0_usize;
        while let Some(item) = decoder.next_item() {
            frames += 1;
            match item {
                Item::Frame(frame) => {
                    cell.on_frame(Input { event: frame.event, data: frame.data }, arrived);
                }
                Item::Oversize { event } => cell.on_oversize(event),
            }
        }
        if frames == 0 {
            continue;
        }
        cell.wake();
        // Each connection's decoder starts without an id; the last one that was seen stands until
        // another comes.
        if !decoder.last_event_id().is_empty() && decoder.last_event_id() != life.last_event_id {
            decoder.last_event_id().clone_into(&mut life.last_event_id);
        }
        if cell.is_over() {
            return End::Gone;
        }
    }
}
