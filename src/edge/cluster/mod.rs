//! What several nodes share, by way of Redis: budgets, tickets, and whose streams end.
//!
//! The gate decides alone; what it counted is then asked here, all of a request in one call. Each
//! call is one script, so that it is whole or not at all. A call has a short time-out; the first
//! that fails takes the connection away, and until [`keeper`] has another nobody waits for
//! anything: the node goes on with what it counts itself. Whoever asks gets `None` then, and no
//! call ever fails a request. Not here: names and seals (`names`), the connection (`link`), what
//! is decided (`gate`).

mod count;
mod keeper;
mod link;
mod names;
mod probe;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwapOption;
use redis::{FromRedisValue, Script, ScriptInvocation};
use tokio::sync::Notify;

use self::link::Link;
use self::names::{Counted, Names, seal, unseal};
use super::clock;
use super::gate::{Changes, Redeemed, Spend, TICKET_LIFE, Taken, Warrant, Whose};
use super::proxy::Edge;
use super::upstream::Dialer;
use crate::config::Redis;
use crate::proto::secret::Secret;
use crate::telemetry::{ClusterCall, ClusterMetrics, ClusterOutcome};

pub(crate) use probe::probe as probe_cluster;

/// Tickets of one node that are kept at a time: as many as it keeps by itself.
const TICKETS_MAX: usize = 65_536;
/// Bytes of them, which are tokens of up to 8 KiB.
const TICKET_BYTES_MAX: usize = 64 << 20;
/// Revocations that are kept. A node that lost its connection reads on where it was, and tickets
/// are held against those since they were made.
const REVOCATIONS_MAX: usize = 1000;
/// For so long they are kept after the last one. Tickets live shorter, and so does the time in
/// which a node finds its way back after a broken connection.
const REVOCATIONS_LIFE: Duration = Duration::from_secs(600);
/// What a node has said is believed for so long. Then it counts as gone, with its streams.
const BELIEVED: Duration = Duration::from_secs(60);

/// What one node has to do with the others.
pub(crate) struct Cluster {
    conf: Redis,
    dialer: Arc<Dialer>,
    names: Names,
    scripts: Scripts,
    /// How this node is called: anew with each process.
    node: String,
    /// The connection; `None` while the node is alone.
    link: ArcSwapOption<Link>,
    /// Rung when there is none any more.
    lost: Notify,
    /// Whose open streams are counted for all, and whose counts have changed.
    changes: Arc<Changes>,
    issued: Mutex<Issued>,
    has_begun: AtomicBool,
    metrics: ClusterMetrics,
}

struct Scripts {
    limits: Script,
    count: Script,
    issue: Script,
    redeem: Script,
    close: Script,
    beat: Script,
}

/// Tickets that this node had kept in the last while.
#[derive(Default)]
struct Issued {
    since: Option<Instant>,
    tickets: usize,
    bytes: usize,
}

impl Issued {
    /// Whether one more of this size may be kept.
    fn take(&mut self, bytes: usize, now: Instant) -> bool {
        let is_over = |since| now.saturating_duration_since(since) >= TICKET_LIFE;
        if self.since.is_none_or(is_over) {
            *self = Self { since: Some(now), tickets: 0, bytes: 0 };
        }
        let (tickets, bytes) = (self.tickets + 1, self.bytes + bytes);
        let fits = tickets <= TICKETS_MAX && bytes <= TICKET_BYTES_MAX;
        if fits {
            (self.tickets, self.bytes) = (tickets, bytes);
        }
        fits
    }
}

impl Cluster {
    /// Alone, until [`begin`](Self::begin) has found the others.
    pub(crate) fn new(
        conf: Redis,
        dialer: Arc<Dialer>,
        changes: Arc<Changes>,
        metrics: ClusterMetrics,
    ) -> Arc<Self> {
        Arc::new(Self {
            names: Names::new(&conf.prefix),
            conf,
            dialer,
            scripts: Scripts {
                limits: Script::new(include_str!("limits.lua")),
                count: Script::new(include_str!("count.lua")),
                issue: Script::new(include_str!("issue.lua")),
                redeem: Script::new(include_str!("redeem.lua")),
                close: Script::new(include_str!("close.lua")),
                beat: Script::new(include_str!("beat.lua")),
            },
            node: format!("{:016x}", rand::random::<u64>()),
            link: ArcSwapOption::empty(),
            lost: Notify::new(),
            changes,
            issued: Mutex::default(),
            has_begun: AtomicBool::new(false),
            metrics,
        })
    }

    /// Looks for the others from now on, and ends the streams that they say. To be called in a
    /// runtime of the process; once is enough.
    pub(crate) fn begin(self: &Arc<Self>, edge: &Arc<Edge>) {
        if !self.has_begun.swap(true, Ordering::SeqCst) {
            let edge: Weak<Edge> = Arc::downgrade(edge);
            tokio::spawn(keeper::run(self.clone(), edge));
        }
    }

    /// Counts what a request has spent, for all nodes: which of it is too much, by its place, and
    /// for how long. `None` = all is within its limits, or nobody knows.
    pub(crate) async fn count(&self, spends: &[Spend]) -> Option<(usize, Duration)> {
        if spends.is_empty() {
            return None;
        }
        let mut call = self.scripts.limits.prepare_invoke();
        call.arg(&self.node).arg(millis(BELIEVED));
        for Spend { policy, key, quota, taken } in spends {
            call.key(self.names.budget(*policy, Counted::of(*quota), key));
            match taken {
                Taken::Once(pace) => {
                    call.arg("rate").arg(micros(pace.interval)).arg(micros(pace.whole))
                }
                Taken::Stream { count, max } => call.arg("open").arg(*count).arg(*max),
            };
        }
        let (place, wait): (usize, u64) = self.ask(ClusterCall::Limits, &call).await?;
        Some((place.checked_sub(1)?, Duration::from_micros(wait)))
    }

    /// A ticket that is good on every node; `None` if none could be kept.
    pub(crate) async fn issue(&self, warrant: &Warrant) -> Option<Secret> {
        let ticket = Secret::new(Warrant::ticket());
        let sealed = seal(ticket.reveal(), &warrant.to_text())?;
        let is_bounded = {
            let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
            issued.take(sealed.len(), clock::now())
        };
        if !is_bounded {
            return None;
        }
        let mut call = self.scripts.issue.prepare_invoke();
        call.key(self.names.ticket(ticket.reveal())).key(self.names.revocations());
        call.arg(sealed).arg(millis(TICKET_LIFE));
        let () = self.ask(ClusterCall::Issue, &call).await?;
        Some(ticket)
    }

    /// What a ticket stands for; with `is_used` it is gone then, on every node.
    pub(crate) async fn redeem(&self, ticket: &Secret, is_used: bool) -> Option<Redeemed> {
        let ticket = ticket.reveal();
        let mut call = self.scripts.redeem.prepare_invoke();
        call.key(self.names.ticket(ticket)).key(self.names.revocations());
        call.arg(u8::from(is_used));
        let answer: Vec<Vec<u8>> = self.ask(ClusterCall::Redeem, &call).await?;
        let (sealed, revoked) = answer.split_first()?;
        let revoked = revoked.iter().filter_map(|whose| Whose::parse(whose)).collect();
        Redeemed::parse(&unseal(ticket, sealed)?, revoked)
    }

    /// Tells all nodes whose streams end. Whether they were told.
    pub(crate) async fn close(&self, whose: &Whose) -> bool {
        let mut call = self.scripts.close.prepare_invoke();
        call.key(self.names.revocations());
        call.arg(&self.node).arg(whose.to_json().to_string());
        call.arg(REVOCATIONS_MAX).arg(millis(REVOCATIONS_LIFE));
        let told: Option<()> = self.ask(ClusterCall::Close, &call).await;
        told.is_some()
    }

    /// Asks in bounded time; `None` if there is no answer. Then there is no connection any more,
    /// either, so that nobody else waits for it.
    async fn ask<T: FromRedisValue>(
        &self,
        what: ClusterCall,
        call: &ScriptInvocation<'_>,
    ) -> Option<T> {
        let Some(link) = self.link.load_full() else {
            self.metrics.on_call(what, ClusterOutcome::Away);
            return None;
        };
        match self.ask_by(&link, what, call).await {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.lose(&link, &error);
                None
            }
        }
    }

    async fn ask_by<T: FromRedisValue>(
        &self,
        link: &Link,
        what: ClusterCall,
        call: &ScriptInvocation<'_>,
    ) -> Result<T, String> {
        let mut connection = link.connection();
        let asked = tokio::time::timeout(self.conf.timeout, call.invoke_async(&mut connection));
        let (outcome, answer) = match asked.await {
            Ok(Ok(answer)) => (ClusterOutcome::Success, Ok(answer)),
            Ok(Err(error)) => (ClusterOutcome::Error, Err(link::said(&error))),
            Err(_) => (ClusterOutcome::Timeout, Err(link::late(self.conf.timeout))),
        };
        self.metrics.on_call(what, outcome);
        answer
    }

    /// This connection is of no use any more. Told once, whoever finds out.
    fn lose(&self, link: &Arc<Link>, error: &str) {
        let before = self.link.compare_and_swap(link, None);
        let was_in_use = before.as_ref().is_some_and(|before| Arc::ptr_eq(before, link));
        if was_in_use {
            self.metrics.on_nodes(0);
            log::warn!(error; "cluster lost, this node goes on alone");
            self.lost.notify_one();
        }
    }
}

/// As scripts take it.
fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// As scripts take it: what is shorter counts, too.
fn micros(duration: Duration) -> String {
    format!("{:.3}", duration.as_secs_f64() * 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_node_has_so_many_tickets_kept_and_no_more() {
        let start = clock::now();
        let mut issued = Issued::default();
        assert!((0..TICKETS_MAX).all(|_| issued.take(1, start)));
        assert!(!issued.take(1, start), "past it tickets are good on their own node alone");
        let later = start + TICKET_LIFE;
        assert!(issued.take(TICKET_BYTES_MAX, later), "those before have ended");
        assert!(!issued.take(1, later), "so many bytes");
        assert!(issued.take(1, later + TICKET_LIFE));
    }

    #[test]
    fn scripts_are_told_times_in_their_units() {
        assert_eq!(micros(Duration::from_nanos(1500)), "1.500");
        assert_eq!(micros(Duration::from_secs(3600)), "3600000000.000");
        assert_eq!(millis(BELIEVED), 60_000);
    }
}
