//! One upstream stream: dialled, read, mapped, published; lost and dialled again.
//!
//! A task per stream, started by `hub` and stopped when nobody listens any more. What to do
//! next says `proto::link`, what frames mean says the dialect. Not here: who may share the
//! stream (`hub`).

mod cell;
mod http;
mod poll;
mod sse;

use std::sync::Arc;
use std::time::Duration;

pub(crate) use cell::UpstreamCell;
pub(crate) use http::Dialer;

use super::clock;
use crate::proto::backend::Transport;
use crate::proto::event::DownReason;
use crate::proto::link::{Link, Next, Told};

/// How one connection (or one row of polls) ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// It failed, or broke.
    Lost {
        /// Why.
        reason: DownReason,
        /// The pause that the backend asked for.
        retry_after: Option<Duration>,
        /// The backend says that the fault is its own (5xx).
        is_own_fault: bool,
    },
    /// The conversation is over for good.
    Gone,
}

impl End {
    pub(super) const fn lost(reason: DownReason) -> Self {
        Self::Lost { reason, retry_after: None, is_own_fault: false }
    }
}

/// How long a stream rests whose task has panicked.
const REST_AFTER_PANIC: Duration = Duration::from_secs(5);

/// Runs until nobody listens any more, or the conversation is over. A panic, which only a defect
/// of ours can cause, costs a reconnect and not the source.
pub(super) async fn run(cell: Arc<UpstreamCell>, dialer: Arc<Dialer>) {
    while tokio::spawn(run_once(cell.clone(), dialer.clone())).await.is_err() {
        log::error!("source={}: the upstream task has panicked", cell.source.name);
        cell.note_loss();
        cell.on_down(Told::Down { reason: DownReason::Reset, retry_in: Some(REST_AFTER_PANIC) });
        tokio::select! {
            () = cell.stopped() => return,
            () = tokio::time::sleep(REST_AFTER_PANIC) => {}
        }
    }
}

async fn run_once(cell: Arc<UpstreamCell>, dialer: Arc<Dialer>) {
    let mut life =
        Life { cell: &cell, dialer: &dialer, link: Link::new(), last_event_id: String::new() };
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
    /// The last id that the backend gave, for those that replay.
    pub(super) last_event_id: String,
}

impl Life<'_> {
    async fn live(&mut self) {
        loop {
            match self.link.next(clock::now()) {
                Next::Dial | Next::Read => {
                    let end = match self.cell.source.dialect.transport {
                        Transport::Stream => sse::read_stream(self).await,
                        Transport::Poll { frames } => poll::poll(self, frames).await,
                    };
                    self.on_end(end);
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

    /// The backend answered as it should.
    pub(super) fn on_open(&mut self, is_resumed: bool) {
        if let Some(told) = self.link.on_open(clock::now()) {
            self.cell.on_state("open");
            self.cell.on_up(told, is_resumed);
        }
    }

    fn on_end(&mut self, end: End) {
        let was_live = self.link.is_live();
        let told = match end {
            End::Lost { reason, retry_after, is_own_fault } => {
                self.cell.note_failure(reason, is_own_fault);
                if was_live {
                    self.cell.metrics.on_disconnect(reason);
                    self.cell.note_loss();
                }
                self.link.on_lost(reason, retry_after, rand::random(), clock::now())
            }
            End::Gone => {
                if was_live {
                    self.cell.metrics.on_disconnect(DownReason::Ended);
                }
                self.cell.on_gone();
                self.link.on_gone()
            }
        };
        if let Some(told) = told {
            self.cell.on_down(told);
        }
    }
}
