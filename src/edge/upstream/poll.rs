//! Polls one conversation: one request at a time, its answer delivered before the next.

use std::time::{Duration, Instant};

use bytes::BytesMut;

use super::http::{Connection, Head};
use super::{End, Life, history};
use crate::edge::clock::{self, Moment};
use crate::proto::backend::{Answer, Input, Message, SplitAnswer, Verdict};
use crate::proto::event::DownReason;

/// A backend that answers at once, without news, must not be asked in a tight loop.
const IDLE_PERIOD_MIN: Duration = Duration::from_secs(1);
/// With news, the next poll may follow soon, but no backend is asked more often than this.
const NEWS_PERIOD_MIN: Duration = Duration::from_millis(100);
/// A pooled connection that dies later than this was not dead before: the backend may have
/// answered, and reading consumes.
const STALE_WITHIN: Duration = Duration::from_secs(1);

/// Polls until something fails or the conversation is over.
pub(super) async fn poll(life: &mut Life<'_>, message: &Message, frames: SplitAnswer) -> End {
    // Two polls of one conversation would take each other's events, whoever asks.
    let Some(_turn) = life.dialer.take_turn(&life.cell.source, message) else {
        return failed(life, DownReason::RateLimited);
    };
    life.cell.on_asked(message);
    // A poll may be held for long, so what a lost one had been given is asked for first. A source
    // that never was up is not by its history alone.
    if life.link.was_up()
        && let Some(lapse) = life.cell.lapse()
    {
        let missed = history::gather(life, lapse).await;
        if missed.is_whole() {
            let _never = life.on_open(Some(missed)).await;
        }
    }
    loop {
        let started = clock::now();
        let (head, body) = match ask(life, message).await {
            Ok(answered) => answered,
            Err(reason) => return failed(life, reason),
        };
        let arrived = clock::moment();
        let text = String::from_utf8_lossy(&body);
        let has_events = match (life.cell.source.dialect.answer)(head.status, &text) {
            Answer::Events | Answer::Empty if !is_json(&head) => {
                return refused(life, &head, DownReason::BadContentType);
            }
            Answer::Events => true,
            Answer::Empty => false,
            Answer::Gone => return End::Gone,
            Answer::Unauthorized => {
                failed(life, DownReason::Unauthorized);
                return life.on_refused(&head);
            }
            Answer::RateLimited => return refused(life, &head, DownReason::RateLimited),
            Answer::Bad => return refused(life, &head, DownReason::BadStatus),
        };
        life.cell.metrics.on_poll(if has_events { "events" } else { "empty" });
        // The source is up, and what was missed is told, before its first events.
        on_answer(life, started).await;
        let is_news = has_events && deliver(life, &text, frames, arrived);
        if life.cell.is_over() {
            return End::Gone;
        }
        life.cell.pace().await;
        let period = if is_news { NEWS_PERIOD_MIN } else { IDLE_PERIOD_MIN };
        tokio::time::sleep_until((started + period).into()).await;
    }
}

/// A poll was answered as it should be: the first of a row says that the source is up.
async fn on_answer(life: &mut Life<'_>, started: Instant) {
    life.cell.on_polled();
    if life.link.is_open() {
        life.catch_up().await;
    } else {
        let took = clock::now().saturating_duration_since(started).as_secs_f64();
        life.cell.metrics.on_connect(Ok(()), took);
        // No poll is suspect: its answer says itself whether there is a chat.
        let _never = life.on_open(None).await;
    }
    life.link.on_bytes(clock::now());
}

/// Whether a 200 may hold events. A log-in page, or what a cache between has to say, does not.
fn is_json(head: &Head) -> bool {
    let content_type = head.content_type.as_str();
    matches!(content_type, "" | "text/plain") || content_type.contains("json")
}

/// Maps an answer's frames. Whether one of them gave an event.
fn deliver(life: &Life<'_>, text: &str, frames: SplitAnswer, arrived: Moment) -> bool {
    let mut is_news = false;
    let frames = frames(text);
    for (event, data) in &frames {
        let verdict = life.cell.on_frame(Input { event, data }, "", arrived);
        is_news |= matches!(verdict, Some(Verdict::Mapped { .. }));
    }
    if !frames.is_empty() {
        life.cell.wake();
    }
    is_news
}

fn failed(life: &Life<'_>, reason: DownReason) -> End {
    life.cell.metrics.on_poll("failed");
    if !life.link.is_open() {
        life.cell.metrics.on_connect(Err(reason), 0.0);
    }
    End::lost(reason)
}

fn refused(life: &Life<'_>, head: &Head, reason: DownReason) -> End {
    failed(life, reason);
    head.end(reason)
}

/// Connects, after as many others as the source bears at a time. A held poll is no dial.
async fn connect(life: &Life<'_>, pooled: bool) -> Result<Connection, DownReason> {
    let budget = life.dialer.budget(&life.cell.source);
    let _leave = budget.dial().await;
    life.dialer.connect(&life.cell.source, pooled).await
}

/// One request and its whole answer. A pooled connection that turns out to be dead before the
/// answer began is replaced by a fresh one, once. Reading consumes: whatever became of an answer
/// that was not read, its events are asked for from the history.
async fn ask(life: &Life<'_>, message: &Message) -> Result<(Head, BytesMut), DownReason> {
    let silence = Duration::from_secs(life.cell.request().silence_secs);
    for pooled in [true, false] {
        let connection = connect(life, pooled).await?;
        let is_reused = connection.is_reused;
        let (sent_at, asked_at) = (clock::now(), clock::wall());
        let exchanged = tokio::time::timeout(silence, exchange(life, message, connection)).await;
        let broken = match exchanged {
            Ok(Ok(answered)) => return Ok(answered),
            Ok(Err(broken)) => broken,
            Err(_) => Broken { reason: DownReason::Silent, was_answered: true },
        };
        if life.link.is_open() {
            life.cell.note_loss();
        } else {
            life.cell.note_loss_since(asked_at);
        }
        let is_early = clock::now().saturating_duration_since(sent_at) < STALE_WITHIN;
        let is_cut = matches!(broken.reason, DownReason::Reset | DownReason::Closed);
        if broken.was_answered || !(is_reused && is_early && is_cut) {
            return Err(broken.reason);
        }
    }
    Err(DownReason::Reset)
}

/// A poll that failed, and whether its answer had begun.
struct Broken {
    reason: DownReason,
    was_answered: bool,
}

/// Asks, and reads the answer to its end.
async fn exchange(
    life: &Life<'_>,
    message: &Message,
    mut connection: Connection,
) -> Result<(Head, BytesMut), Broken> {
    let source = &life.cell.source;
    let head = async {
        connection.send(source, message, None).await?;
        connection.read_head().await
    };
    let head = head.await.map_err(|reason| Broken { reason, was_answered: false })?;
    let answered = connection.read_answer(&head, source.event_bytes_max).await;
    let answered = answered.map_err(|reason| Broken { reason, was_answered: true })?;
    life.cell.on_byte(clock::wall());
    if answered.is_oversize {
        life.cell.on_oversize("other");
        // All that stood in it is lost, not one event alone.
        life.cell.on_overflow();
    }
    Ok((head, answered.body))
}
