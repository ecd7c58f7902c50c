//! Reads one event stream of a backend, from the dial to its end.

use std::time::Duration;

use super::http::{Connection, Head};
use super::{End, Life, UpstreamCell};
use crate::edge::clock::{self, Moment};
use crate::proto::backend::{Answer, Discard, Input, Keyring, Message, Verdict};
use crate::proto::event::DownReason;
use crate::proto::sse::{Decoder, Item, Limits};

/// Dials, checks the answer, reads until the stream ends.
pub(super) async fn read_stream(life: &mut Life<'_>, message: &Message) -> End {
    let dialer = life.dialer;
    let budget = dialer.budget(&life.cell.source);
    let leave = budget.dial().await;
    let started = clock::now();
    let opened = open(life, message).await;
    drop(leave);
    let took = clock::now().saturating_duration_since(started).as_secs_f64();
    match opened {
        Ok(connection) => {
            life.cell.metrics.on_connect(Ok(()), took);
            read(life, connection).await
        }
        Err(end) => {
            let reason = match end {
                End::Lost { reason, .. } => reason,
                End::Redial => DownReason::Unauthorized,
                End::Gone => DownReason::Ended,
            };
            life.cell.metrics.on_connect(Err(reason), took);
            end
        }
    }
}

/// Dials, asks, and looks at the answer before anything of it is read as events.
async fn open(life: &mut Life<'_>, message: &Message) -> Result<Connection, End> {
    let source = &life.cell.source;
    let resume = life.cell.request.resume_header.map(|name| (name, life.last_event_id.as_str()));
    let mut connection = life.dialer.connect(source, false).await.map_err(End::lost)?;
    connection.send(source, message, resume).await.map_err(End::lost)?;
    let head = connection.read_head().await.map_err(End::lost)?;
    let reason = match check(&head) {
        Ok(()) => return Ok(connection),
        Err(reason) => reason,
    };
    let body = connection.read_error_body().await;
    Err(match (source.dialect.answer)(head.status, &body) {
        Answer::Unauthorized => life.on_refused(&head),
        Answer::RateLimited => head.end(DownReason::RateLimited),
        Answer::Gone => End::Gone,
        Answer::Events | Answer::Empty | Answer::Bad => head.end(reason),
    })
}

/// Whether an event stream follows, one that can be read.
fn check(head: &Head) -> Result<(), DownReason> {
    if head.status != 200 {
        return Err(DownReason::BadStatus);
    }
    if head.content_type != "text/event-stream" || head.is_encoded {
        return Err(DownReason::BadContentType);
    }
    Ok(())
}

/// Reads an open stream to its end. Hot path: runs once per read.
async fn read(life: &mut Life<'_>, mut connection: Connection) -> End {
    let cell = life.cell;
    let opened = clock::wall();
    let mut suspect_until = life.on_open(None).await;
    // Streams that were asked for without a credential of our own have no such moment.
    let renew_at = life.keys.as_ref().and_then(Keyring::renew_at);
    let mut due = suspect_until.or(renew_at);
    let sleep = tokio::time::sleep_until(due.unwrap_or_else(clock::now).into());
    tokio::pin!(sleep);
    connection.session.set_read_timeout(Some(Duration::from_secs(cell.request.silence_secs)));
    let limits = Limits {
        line_bytes_max: cell.source.event_bytes_max,
        event_bytes_max: cell.source.event_bytes_max,
    };
    let mut decoder = Decoder::new(limits);
    loop {
        let chunk = tokio::select! {
            biased;
            chunk = connection.read() => chunk,
            () = &mut sleep, if due.is_some() => {
                if suspect_until.is_some() && let Some(keys) = &mut life.keys {
                    keys.on_silent();
                    cell.note_loss_since(opened);
                }
                return End::Redial;
            }
        };
        let chunk = match chunk {
            Ok(Some(chunk)) => chunk,
            Ok(None) => return End::lost(DownReason::Closed),
            Err(reason) => return End::lost(reason),
        };
        let arrived = clock::moment();
        cell.on_byte(arrived.wall);
        decoder.push(chunk);
        let read = map(cell, &mut decoder, arrived);
        if read.frames == 0 {
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
        if read.is_news && suspect_until.take().is_some() {
            due = renew_at;
            sleep.as_mut().reset(due.unwrap_or_else(clock::now).into());
        }
    }
}

/// What a read brought.
struct Read {
    frames: usize,
    /// More than signs of life.
    is_news: bool,
}

/// Maps all frames that are whole. Hot path: runs once per read.
fn map(cell: &UpstreamCell, decoder: &mut Decoder, arrived: Moment) -> Read {
    let mut read = Read { frames: 0, is_news: false };
    while let Some(item) = decoder.next_item() {
        read.frames += 1;
        match item {
            Item::Frame(frame) => {
                let input = Input { event: frame.event, data: frame.data };
                let verdict = cell.on_frame(input, frame.id, arrived);
                read.is_news |= !matches!(
                    verdict,
                    None | Some(Verdict::Discarded(Discard::Liveness | Discard::Control, _))
                );
            }
            Item::Oversize { event } => {
                read.is_news = true;
                cell.on_oversize(event);
            }
        }
    }
    read
}
