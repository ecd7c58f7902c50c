//! Polls one conversation: one request at a time, its answer delivered before the next.

use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::http::{Connection, Head};
use super::{End, Life, history};
use crate::edge::clock;
use crate::proto::backend::{Answer, Input, Message, SplitAnswer};
use crate::proto::event::DownReason;

/// Answers that come sooner than this, without news, are not waited for at once again: a
/// backend that does not hold its polls must not be asked in a tight loop.
const POLL_PERIOD_MIN: Duration = Duration::from_secs(1);

/// Polls until something fails or the conversation is over.
pub(super) async fn poll(life: &mut Life<'_>, message: &Message, frames: SplitAnswer) -> End {
    // A poll may be held for long, so what a lost one had been given is asked for first.
    if let Some(since) = life.cell.lost_since() {
        let missed = history::gather(life, since).await;
        if missed.is_whole() {
            let _never = life.on_open(Some(missed)).await;
        }
    }
    loop {
        let started = clock::now();
        let silence = Duration::from_secs(life.cell.request.silence_secs);
        let asked = tokio::time::timeout(silence, ask(life, message));
        let (head, body) = match asked.await {
            Ok(Ok(answered)) => answered,
            Ok(Err(reason)) => return failed(life, reason),
            Err(_) => return failed(life, DownReason::Silent),
        };
        let text = String::from_utf8_lossy(&body);
        let answer = (life.cell.source.dialect.answer)(head.status, &text);
        match answer {
            Answer::Events | Answer::Empty => on_answer(life, started).await,
            Answer::Gone => return End::Gone,
            Answer::Unauthorized => {
                failed(life, DownReason::Unauthorized);
                return life.on_refused(&head);
            }
            Answer::RateLimited => return refused(life, &head, DownReason::RateLimited),
            Answer::Bad => return refused(life, &head, DownReason::BadStatus),
        }
        let count = if answer == Answer::Events { deliver(life, &text, frames) } else { 0 };
        life.cell.metrics.on_poll(if count > 0 { "events" } else { "empty" });
        if life.cell.is_over() {
            return End::Gone;
        }
        if count == 0 {
            tokio::time::sleep_until((started + POLL_PERIOD_MIN).into()).await;
        }
    }
}

/// A poll was answered as it should be: the first of a row says that the source is up.
async fn on_answer(life: &mut Life<'_>, started: Instant) {
    if !life.link.is_live() {
        let took = clock::now().saturating_duration_since(started).as_secs_f64();
        life.cell.metrics.on_connect(Ok(()), took);
        // No poll is suspect: its answer says itself whether there is a chat.
        let _never = life.on_open(None).await;
    }
    life.heard = clock::wall();
}

/// Maps an answer's frames. How many there were.
fn deliver(life: &Life<'_>, text: &str, frames: SplitAnswer) -> usize {
    let arrived = clock::wall();
    let frames = frames(text);
    for (event, data) in &frames {
        life.cell.on_frame(Input { event, data }, arrived);
    }
    if !frames.is_empty() {
        life.cell.wake();
    }
    frames.len()
}

fn failed(life: &Life<'_>, reason: DownReason) -> End {
    life.cell.metrics.on_poll("failed");
    if !life.link.is_live() {
        life.cell.metrics.on_connect(Err(reason), 0.0);
    }
    End::lost(reason)
}

fn refused(life: &Life<'_>, head: &Head, reason: DownReason) -> End {
    failed(life, reason);
    head.end(reason)
}

/// Connects, after as many others as the source bears at a time. A held poll is no dial.
async fn connect(life: &Life<'_>) -> Result<Connection, DownReason> {
    let budget = life.dialer.budget(&life.cell.source);
    let _leave = budget.dial().await;
    life.dialer.connect(&life.cell.source).await
}

/// One request and its whole answer. A pooled connection that turns out to be dead before the
/// answer began is replaced by a fresh one, once.
async fn ask(life: &Life<'_>, message: &Message) -> Result<(Head, BytesMut), DownReason> {
    let source = &life.cell.source;
    for _ in 0..2 {
        let mut connection = connect(life).await?;
        let is_reused = connection.is_reused;
        let head = async {
            connection.send(source, message, None).await?;
            connection.read_head().await
        };
        match head.await {
            Ok(head) => {
                let answered = connection.read_answer(&head, source.event_bytes_max).await?;
                life.cell.metrics.on_byte(clock::wall().0 / 1000);
                if answered.is_oversize {
                    life.cell.on_oversize("other");
                }
                return Ok((head, answered.body));
            }
            Err(DownReason::Reset | DownReason::Closed) if is_reused => {}
            Err(reason) => return Err(reason),
        }
    }
    Err(DownReason::Reset)
}
