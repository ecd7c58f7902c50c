//! Reads one event stream of a backend, from the dial to its end.

use std::time::{Duration, Instant};

use super::http::{Head, Incoming};
use super::{End, Life, UpstreamCell};
use crate::edge::clock::{self, Moment};
use crate::proto::backend::{Answer, Discard, Input, Message, Verdict};
use crate::proto::event::DownReason;
use crate::proto::sse::{Decoder, Item, Limits};

/// What has begun must be whole after so long: bytes that drip in are no sign of life.
const EVENT_TIMEOUT: Duration = Duration::from_secs(120);

/// Dials, checks the answer, reads until the stream ends.
pub(super) async fn read_stream(life: &mut Life<'_>, message: &Message) -> End {
    let dialer = life.dialer;
    let budget = dialer.budget(&life.cell.source);
    let leave = budget.dial().await;
    let started = clock::now();
    // Dialling takes far more room than reading, which is what a stream does for hours.
    let opened = Box::pin(open(life, message)).await;
    drop(leave);
    let took = clock::now().saturating_duration_since(started).as_secs_f64();
    match opened {
        Ok(incoming) => {
            life.cell.metrics.on_connect(Ok(()), took);
            read(life, incoming).await
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
async fn open(life: &mut Life<'_>, message: &Message) -> Result<Incoming, End> {
    let (head, mut incoming) = ask(life, message).await.map_err(End::lost)?;
    let reason = match check(&head) {
        Ok(()) => return Ok(incoming),
        Err(reason) => reason,
    };
    let body = incoming.read_error_body().await;
    Err(match (life.cell.source.dialect.answer)(head.status, &body) {
        Answer::Unauthorized => life.on_refused(&head),
        Answer::RateLimited => head.end(DownReason::RateLimited),
        Answer::Gone => End::Gone,
        Answer::Events | Answer::Empty | Answer::Bad => head.end(reason),
    })
}

/// Connects and asks. Streams of HTTP/2 share connections; one that turns out to be dead is
/// replaced by a fresh one, once.
async fn ask(life: &Life<'_>, message: &Message) -> Result<(Head, Incoming), DownReason> {
    let source = &life.cell.source;
    let resume = life.cell.request().resume_header.map(|name| (name, life.last_event_id.as_str()));
    for shared in [source.is_http2, false] {
        let asked = async {
            let mut connection = life.dialer.connect(source, shared).await?;
            connection.send(source, message, resume).await?;
            connection.into_stream().await
        };
        match asked.await {
            Err(DownReason::Reset | DownReason::Closed) if shared => {}
            asked => return asked,
        }
    }
    Err(DownReason::Reset)
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
async fn read(life: &mut Life<'_>, mut incoming: Incoming) -> End {
    let cell = life.cell;
    let opened = clock::wall();
    let mut suspect_until = Box::pin(life.on_open(None)).await;
    // Streams that were asked for without a credential of our own have no such moment.
    let renew_at = life.keys.as_ref().and_then(|keys| keys.renew_at());
    let mut due = suspect_until.or(renew_at);
    // It stands at the next moment that something may be due, and is set anew only then.
    let alarm = tokio::time::sleep_until(next_alarm(life, due).into());
    tokio::pin!(alarm);
    let limits = Limits {
        line_bytes_max: cell.source.event_bytes_max,
        event_bytes_max: cell.source.event_bytes_max,
    };
    let mut decoder = Decoder::new(limits);
    let mut drip = Drip::default();
    loop {
        let chunk = tokio::select! {
            biased;
            chunk = incoming.read() => chunk,
            () = &mut alarm => {
                let now = clock::now();
                if life.link.silent_at().is_none_or(|at| at <= now) {
                    return End::lost(DownReason::Silent);
                }
                if due.is_none_or(|due| now < due) {
                    alarm.as_mut().reset(next_alarm(life, due).into());
                    continue;
                }
                if suspect_until.is_some() && let Some(keys) = &life.keys {
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
        life.link.on_bytes(arrived.at);
        cell.on_byte(arrived.wall);
        decoder.push(chunk);
        let read = map(cell, &mut decoder, arrived);
        if drip.is_too_slow(read.frames == 0 && decoder.is_inside(), arrived.at) {
            return End::lost(DownReason::Silent);
        }
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
            alarm.as_mut().reset(next_alarm(life, due).into());
        }
        cell.pace().await;
    }
}

/// When something may be due: a credential, or the end of patience with silence.
fn next_alarm(life: &Life<'_>, due: Option<Instant>) -> Instant {
    let silent_at = life.link.silent_at();
    due.into_iter().chain(silent_at).min().unwrap_or_else(clock::now)
}

/// Since when an event is under way.
#[derive(Default)]
struct Drip(Option<Instant>);

impl Drip {
    /// Whether the event has taken too long, if the last read left one unfinished.
    fn is_too_slow(&mut self, is_inside: bool, now: Instant) -> bool {
        if !is_inside {
            self.0 = None;
            return false;
        }
        let since = *self.0.get_or_insert(now);
        now.saturating_duration_since(since) >= EVENT_TIMEOUT
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_may_take_its_time_but_not_for_ever() {
        let start = clock::now();
        let at = |secs| start + Duration::from_secs(secs);
        let mut drip = Drip::default();
        assert!(!drip.is_too_slow(true, at(0)));
        assert!(!drip.is_too_slow(true, at(119)));
        assert!(!drip.is_too_slow(false, at(130)), "it came to its end");
        assert!(!drip.is_too_slow(true, at(140)));
        assert!(!drip.is_too_slow(true, at(259)));
        assert!(drip.is_too_slow(true, at(260)));
    }
}
