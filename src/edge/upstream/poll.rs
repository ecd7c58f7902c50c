//! Polls one conversation: one request at a time, its answer delivered before the next.

use std::time::Duration;

use bytes::BytesMut;

use super::http::{Connection, Head};
use super::{End, Life};
use crate::edge::clock;
use crate::proto::backend::{Answer, Input, SplitAnswer};
use crate::proto::event::DownReason;

/// Answers that come sooner than this, without news, are not waited for at once again: a
/// backend that does not hold its polls must not be asked in a tight loop.
const POLL_PERIOD_MIN: Duration = Duration::from_secs(1);

/// Polls until something fails or the conversation is over.
pub(super) async fn poll(life: &mut Life<'_>, frames: SplitAnswer) -> End {
    if !life.link.is_live() {
        life.cell.on_state("connecting");
    }
    loop {
        let started = clock::now();
        let silence = Duration::from_secs(life.cell.request.silence_secs);
        let asked = tokio::time::timeout(silence, ask(life));
        let (head, body) = match asked.await {
            Ok(Ok(answered)) => answered,
            Ok(Err(reason)) => return failed(life, reason),
            Err(_) => return failed(life, DownReason::Silent),
        };
        let text = String::from_utf8_lossy(&body);
        let count = match (life.cell.source.dialect.answer)(head.status, &text) {
            Answer::Events => deliver(life, &text, frames),
            Answer::Empty => 0,
            Answer::Gone => return End::Gone,
            Answer::Unauthorized => return refused(life, &head, DownReason::Unauthorized),
            Answer::RateLimited => return refused(life, &head, DownReason::RateLimited),
            Answer::Bad => return refused(life, &head, DownReason::BadStatus),
        };
        life.cell.metrics.on_poll(if count > 0 { "events" } else { "empty" });
        if !life.link.is_live() {
            let took = clock::now().saturating_duration_since(started).as_secs_f64();
            life.cell.metrics.on_connect(Ok(()), took);
        }
        life.on_open(false);
        if life.cell.is_over() {
            return End::Gone;
        }
        if count == 0 {
            tokio::time::sleep_until((started + POLL_PERIOD_MIN).into()).await;
        }
    }
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

/// One request and its whole answer. A pooled connection that turns out to be dead before the
/// answer began is replaced by a fresh one, once.
async fn ask(life: &Life<'_>) -> Result<(Head, BytesMut), DownReason> {
    let source = &life.cell.source;
    for _ in 0..2 {
        let mut connection = life.dialer.connect(source).await?;
        let is_reused = connection.is_reused;
        let head = async {
            connection.send(source, &life.cell.request, "").await?;
            connection.read_head().await
        };
        match head.await {
            Ok(head) => return read_answer(life, connection, head).await,
            Err(DownReason::Reset | DownReason::Closed) if is_reused => {}
            Err(reason) => return Err(reason),
        }
    }
    Err(DownReason::Reset)
}

async fn read_answer(
    life: &Life<'_>,
    mut connection: Connection,
    head: Head,
) -> Result<(Head, BytesMut), DownReason> {
    if head.is_encoded {
        return Err(DownReason::BadContentType);
    }
    let bytes_max = life.cell.source.event_bytes_max;
    let mut body = BytesMut::new();
    let mut is_oversize = false;
    while let Some(chunk) = connection.read().await? {
        life.cell.metrics.on_byte(clock::wall().0 / 1000);
        // Read on to its end, so that the next poll finds an orderly connection.
        is_oversize |= body.len() + chunk.len() > bytes_max;
        if is_oversize {
            body.clear();
        } else {
            body.extend_from_slice(&chunk);
        }
    }
    if is_oversize {
        life.cell.on_oversize("other");
    }
    connection.release().await;
    Ok((head, body))
}
