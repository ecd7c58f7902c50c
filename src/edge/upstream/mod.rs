//! One upstream stream: dialled, read, mapped, published; lost and dialled again.
//!
//! A task per stream, started by `hub` and stopped when nobody listens any more. What to do
//! next says `proto::link`, what frames mean says the dialect. Not here: who may share the
//! stream (`hub`).

mod bare;
mod budget;
mod cell;
mod covered;
mod credentials;
mod health;
mod history;
mod http;
mod pass;
mod poll;
mod raw;
mod ready;
mod ring;
mod probe;
mod sse;
mod trust;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

pub(crate) use cell::{UpstreamCell, Wanted};
pub(in crate::edge) use health::Health;
pub(in crate::edge) use http::{Answered, Head};
pub(crate) use http::{Dialer, parse_retry_after};
pub(crate) use pass::PassKey;
pub(crate) use probe::{PROBE_TIMEOUT, Probed, probe};
pub(crate) use trust::Trusts;

use self::history::Missed;
use self::ring::{Count, Ring};
use super::clock;
use crate::proto::backend::Transport;
use crate::proto::event::DownReason;
use crate::proto::link::{Link, Next, Told};
use crate::proto::trace::Trace;

/// How one connection (or one row of polls) ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It failed, or broke.
    Lost {
        /// Why.
        reason: DownReason,
        /// The pause that the backend asked for.
        retry_after: Option<Duration>,
        /// The status of its answer, if it came to one.
        status: Option<u16>,
    },
    /// Another credential is due: it is dialled again at once, and no loss is told.
    Redial,
    /// The conversation is over for good.
    Gone,
}

impl End {
    pub(super) const fn lost(reason: DownReason) -> Self {
        Self::Lost { reason, retry_after: None, status: None }
    }

    /// The pause that the backend asked for.
    const fn pause(self) -> Option<Duration> {
        match self {
            Self::Lost { retry_after, .. } => retry_after,
            Self::Redial | Self::Gone => None,
        }
    }
}

tokio::task_local! {
    /// The trace of the request that an upstream stream was opened for. Every request that its
    /// task sends is part of it, whoever else has come to share the stream since.
    static TRACE: Option<Trace>;
}

/// How long a stream rests whose task has panicked.
const REST_AFTER_PANIC: Duration = Duration::from_secs(5);

/// Runs until nobody listens any more, or the conversation is over. A panic, which only a defect
/// of ours can cause, costs a reconnect and not the source.
pub(super) async fn run(cell: Arc<UpstreamCell>, dialer: Arc<Dialer>, trace: Option<Trace>) {
    let once = || TRACE.scope(trace, run_once(cell.clone(), dialer.clone()));
    while tokio::spawn(once()).await.is_err() {
        log::error!(source = cell.source.name.as_str(); "the upstream task has panicked");
        cell.note_loss();
        let told = Told::Down { reason: DownReason::Reset, retry_in: Some(REST_AFTER_PANIC) };
        cell.on_down(told, None);
        tokio::select! {
            () = cell.stopped() => return,
            () = tokio::time::sleep(REST_AFTER_PANIC) => {}
        }
    }
}

async fn run_once(cell: Arc<UpstreamCell>, dialer: Arc<Dialer>) {
    let last_event_id = cell.take_replay_id();
    let mut life = Life {
        cell: &cell,
        dialer: &dialer,
        link: Link::new(Duration::from_secs(cell.request().silence_secs)),
        keys: cell
            .request()
            .recipe
            .as_ref()
            .map(|recipe| dialer.rings().of(&cell.source, recipe, &cell.metrics, false)),
        seen: Count::default(),
        is_continued: !last_event_id.is_empty(),
        last_event_id,
        status: None,
    };
    tokio::select! {
        () = cell.stopped() => {}
        () = life.live() => {}
    }
}

/// What a running stream has in its hands.
pub(super) struct Life<'a> {
    pub(super) cell: &'a UpstreamCell,
    pub(super) dialer: &'a Dialer,
    pub(super) link: Link,
    /// For sources that get their credentials themselves.
    keys: Option<Arc<Ring>>,
    /// What was taken up of it.
    seen: Count,
    /// The last id that the backend gave, for those that replay.
    pub(super) last_event_id: String,
    /// Whether a stream of the same subject was open before, so that one can go on.
    pub(super) is_continued: bool,
    /// The status with which it was lost last, if that was why.
    status: Option<u16>,
}

impl Life<'_> {
    async fn live(&mut self) {
        loop {
            match self.link.next(clock::now()) {
                Next::Dial | Next::Read { .. } => {
                    self.cell.on_state("connecting");
                    let end = self.dial_and_read().await;
                    self.on_end(end);
                }
                Next::Renew => {
                    self.cell.on_state("connecting");
                    match credentials::provide(self).await {
                        Ok(()) => self.link.on_renewed(),
                        Err(end) => self.on_end(end),
                    }
                }
                Next::Rest => {
                    if let Some(told) = self.link.on_rest(rand::random(), clock::now()) {
                        self.cell.on_down(told, self.status);
                    }
                }
                Next::Wait(until) => {
                    self.cell.on_state("waiting");
                    tokio::time::sleep_until(until.into()).await;
                }
                Next::Stop => {
                    self.cell.on_state("ended");
                    return;
                }
            }
        }
    }

    async fn dial_and_read(&mut self) -> End {
        let message = match Box::pin(credentials::ready(self)).await {
            Ok(message) => message,
            Err(end) => return end,
        };
        match self.cell.source.dialect.transport {
            Transport::Stream => sse::read_stream(self, &message).await,
            Transport::Poll { frames } => Box::pin(poll::poll(self, &message, frames)).await,
        }
    }

    /// The backend answered as it should: what was missed is told first. Until when the stream
    /// must have said something, if its credential is suspect.
    async fn on_open(&mut self, missed: Option<Missed>) -> Option<Instant> {
        let now = clock::now();
        let is_continued = std::mem::replace(&mut self.is_continued, true);
        let can_resume = self.cell.request().resume_header.is_some();
        let is_resumed = is_continued && can_resume && !self.last_event_id.is_empty();
        if let Some(told) = self.link.on_open(now) {
            self.cell.on_state("open");
            if let Some(lapse) = self.cell.on_up(told, is_resumed) {
                let missed = match missed {
                    Some(missed) => missed,
                    None => history::gather(self, lapse).await,
                };
                history::tell(self.cell, &missed, is_resumed);
            }
        }
        self.keys.as_ref().and_then(|keys| keys.on_open())
    }

    /// Something may have been missed without a loss that is told.
    async fn catch_up(&self) {
        if let Some(lapse) = self.cell.take_loss() {
            let missed = history::gather(self, lapse).await;
            history::tell(self.cell, &missed, false);
        }
    }

    /// The backend refuses the credential: what that means for the link.
    fn on_refused(&mut self, head: &Head) -> End {
        let is_worth_it = self.keys.as_ref().is_some_and(|keys| keys.on_refused());
        // A backend that names a pause is not asked for another credential before it is over.
        if is_worth_it && head.retry_after.is_none() {
            End::Redial
        } else {
            head.end(DownReason::Unauthorized)
        }
    }

    fn on_end(&mut self, end: End) {
        let was_open = self.link.is_open();
        if was_open && let Some(keys) = &self.keys {
            keys.on_lost();
        }
        self.status = match end {
            End::Lost { status, .. } => status,
            End::Redial | End::Gone => None,
        };
        match end {
            End::Lost { reason, retry_after, .. } => {
                self.cell.note_failure(reason, self.status);
                if was_open {
                    self.cell.metrics.on_disconnect(reason);
                    self.cell.note_loss();
                }
                self.link.on_lost(reason, retry_after, clock::now());
            }
            End::Redial => self.link.on_redial(),
            End::Gone => {
                if was_open {
                    self.cell.metrics.on_disconnect(DownReason::Ended);
                }
                self.cell.on_gone();
                if let Some(told) = self.link.on_gone() {
                    self.cell.on_down(told, None);
                }
            }
        }
    }
}
