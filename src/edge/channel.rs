//! A log with its lock, its wake-ups and the standing of its sources.
//!
//! Writers append under the lock and wake readers once per batch; readers copy what they want
//! under the lock and write outside. Not here: which log belongs to whom (`hub`), the rules of
//! the ring (`proto::channel`).

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use super::bell::Bells;
use super::clock;
use crate::proto::backend::{KEYS_MAX, PastKeys};
use crate::proto::channel::{Batch, Channel, ControlKind, Filter, Join, Reader, Standing};
use crate::proto::cursor::{Cursor, Mark};
use crate::proto::event::{
    Control, DownReason, Encoded, GapReason, SourceTag, Subscription, Vocabulary,
};
use crate::proto::link::Told;
use crate::proto::redact::Redaction;
use crate::proto::time::UnixMillis;
use crate::telemetry::{Metrics, RouteMetrics};

/// One log.
pub(crate) struct ChannelCell {
    /// The route's path.
    pub(crate) route: String,
    /// Whose it is.
    pub(crate) subscription: Arc<Subscription>,
    /// It holds the backend's own frames.
    pub(crate) is_raw: bool,
    log: Mutex<Log>,
    bells: Bells,
    listeners: AtomicUsize,
    visits: AtomicU64,
    pace: Pace,
    /// Scopes that clients asked for: histories are read by scope.
    scopes: Mutex<PastKeys>,
    metrics: Arc<Metrics>,
    /// What the route takes out, and where that is counted.
    redaction: Option<(Arc<Redaction>, Arc<RouteMetrics>)>,
}

/// How far the fastest reader is, for those who write.
#[derive(Default)]
struct Pace {
    /// The furthest position that a reader has written to its client.
    taken: AtomicU64,
    /// Writers that wait for it to move.
    waiting: AtomicUsize,
    /// The position at which a writer has waited in vain.
    given_up_at: AtomicU64,
    moved: Notify,
}

struct Log {
    channel: Channel,
    sources: Vec<SourceStanding>,
    minted: u64,
}

/// What a source's backend told of the past.
pub(super) struct Restored {
    /// In order.
    pub(super) events: Vec<Encoded>,
    /// From when on it was asked for.
    pub(super) since: UnixMillis,
    /// Nothing is missing.
    pub(super) is_whole: bool,
    /// The stream tells more of it.
    pub(super) is_replaying: bool,
}

/// How a source of the log stands.
#[derive(Clone, Debug)]
pub(crate) struct SourceStanding {
    /// Which source.
    pub(crate) tag: SourceTag,
    /// How it is.
    pub(crate) state: SourceState,
}

/// How a source is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SourceState {
    /// Not known yet.
    Starting,
    /// Events may come.
    Up,
    /// It was lost.
    Down(DownReason),
    /// Nothing will ever come again.
    Ended,
}

impl SourceStanding {
    /// Of a source that was not tried yet.
    #[must_use]
    pub(crate) const fn new(tag: SourceTag) -> Self {
        Self { tag, state: SourceState::Starting }
    }
}

impl ChannelCell {
    /// A log without readers.
    pub(super) fn new(
        route: &str,
        subscription: Arc<Subscription>,
        is_raw: bool,
        channel: Channel,
        sources: Vec<SourceStanding>,
        metrics: Arc<Metrics>,
        redaction: Option<Arc<Redaction>>,
    ) -> Self {
        let redaction = redaction.map(|redaction| (redaction, metrics.route(route)));
        Self {
            redaction,
            route: route.to_owned(),
            subscription,
            is_raw,
            log: Mutex::new(Log { channel, sources, minted: 0 }),
            bells: Bells::default(),
            listeners: AtomicUsize::new(0),
            visits: AtomicU64::new(0),
            pace: Pace::default(),
            scopes: Mutex::new(PastKeys::all([])),
            metrics,
        }
    }

    /// A client wants what has this scope.
    pub(super) fn on_scope(&self, scope: &str) {
        let mut scopes = self.scopes.lock().unwrap_or_else(PoisonError::into_inner);
        if scopes.names.len() < KEYS_MAX {
            scopes.names.insert(scope.to_owned());
        } else {
            scopes.is_all &= scopes.names.contains(scope);
        }
    }

    /// The scopes that clients want.
    pub(super) fn scopes(&self) -> PastKeys {
        self.scopes.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Appends an event of a source whose last byte came then, and after whose frame its backend
    /// would go on at this id. Readers are woken by [`Self::wake`].
    pub(super) fn append(
        &self,
        index: usize,
        replay_id: &str,
        mut encoded: Encoded,
        arrived: Instant,
    ) {
        self.redact(&mut encoded);
        self.change(|log| log.channel.append(index, replay_id, encoded, arrived));
    }

    /// Whether a cursor is of a log of the same subscription that is elsewhere, or no more.
    pub(super) fn is_of_another_log(&self, cursor: &Cursor) -> bool {
        self.log().channel.is_of_another_log(cursor, clock::wall())
    }

    /// What a client missed of a source will be asked for.
    pub(super) fn on_wanted(&self, index: usize, mark: Mark, replays_from: Option<&str>) {
        self.log().channel.on_wanted(index, mark, replays_from);
    }

    /// What was wanted of a source, as far as it could be had; a gap tells if that is not all.
    pub(super) fn restore(&self, index: usize, mut restored: Restored) {
        restored.events.iter_mut().for_each(|event| self.redact(event));
        let (now, wall) = (clock::now(), clock::wall());
        let has_gap = self.change(|log| {
            let surplus = log.channel.overflow(&restored.events);
            let dropped = restored.events.drain(..surplus).map(|event| event.label.at).max();
            let is_whole = restored.is_whole && dropped.is_none_or(|at| at < restored.since);
            if !is_whole {
                let source = log.sources.get(index).map(|standing| standing.tag.clone());
                let reason = GapReason::Restarted;
                let control = Control::Gap { source, reason, since: Some(restored.since) };
                let kind = ControlKind::Restarted;
                log.append_control(&control, kind, &self.subscription, wall);
            }
            // Whoever comes later and missed more is told so.
            let since = restored.since.max(dropped.unwrap_or(restored.since));
            let whole_since = if is_whole { since } else { wall };
            let Restored { events, is_replaying, .. } = restored;
            log.channel.restore(index, events, whole_since, is_replaying, (now, wall));
            !is_whole
        });
        if has_gap {
            self.metrics.on_gap(GapReason::Restarted);
        }
        self.wake();
    }

    /// Wakes the readers: once per batch, not per event.
    pub(super) fn wake(&self) {
        self.bells.ring();
    }

    /// A source's link has news.
    pub(super) fn on_told(&self, index: usize, told: Told, is_resumed: bool) {
        let wall = clock::wall();
        self.change(|log| {
            let Some(standing) = log.sources.get_mut(index) else {
                return;
            };
            let source = standing.tag.clone();
            let control = match told {
                Told::Up { .. } => {
                    standing.state = SourceState::Up;
                    log.channel.on_live(index, wall);
                    Control::SourceUp { source, is_resumed }
                }
                Told::Down { reason, retry_in } => {
                    standing.state = match reason {
                        DownReason::Ended => SourceState::Ended,
                        reason => SourceState::Down(reason),
                    };
                    Control::SourceDown { source, reason, retry_secs: retry_in.map(whole_secs) }
                }
            };
            log.append_control(&control, ControlKind::News, &self.subscription, wall);
        });
        self.wake();
    }

    /// Events of a source may be missing.
    pub(super) fn on_gap(&self, index: usize, reason: GapReason, since: Option<UnixMillis>) {
        self.metrics.on_gap(reason);
        let wall = clock::wall();
        self.change(|log| {
            let source = log.sources.get(index).map(|standing| standing.tag.clone());
            let control = Control::Gap { source, reason, since };
            log.append_control(&control, ControlKind::Gap, &self.subscription, wall);
        });
        self.wake();
    }

    /// Where a client starts, and how the sources stand at that moment.
    pub(super) fn join(
        &self,
        cursor: Option<&Cursor>,
        filter: &Filter,
    ) -> (Join, Vec<SourceStanding>) {
        let (join, sources) = self.change(|log| {
            log.channel.expire(clock::now());
            (log.channel.join(cursor, filter, clock::wall()), log.sources.clone())
        });
        self.on_taken(join.reader.position);
        (join, sources)
    }

    /// A reader has written everything before this position to its client.
    pub(super) fn on_taken(&self, position: u64) {
        let pace = &self.pace;
        pace.taken.fetch_max(position, Ordering::Release);
        if pace.waiting.load(Ordering::Acquire) > 0 {
            pace.moved.notify_waiters();
        }
    }

    /// Whether even the fastest reader is so far behind that more would soon overtake it. Not
    /// so where nobody reads, nor where a writer has waited for this position in vain.
    pub(super) fn is_ahead(&self) -> bool {
        let taken = self.pace.taken.load(Ordering::Acquire);
        self.listeners() > 0
            && taken != self.pace.given_up_at.load(Ordering::Relaxed)
            && self.log().channel.is_half_unread(taken)
    }

    /// Until the fastest reader has caught up, or nobody reads any more.
    pub(super) async fn until_taken(&self) {
        self.pace.waiting.fetch_add(1, Ordering::AcqRel);
        let _waiting = Waiting(&self.pace);
        loop {
            let moved = self.pace.moved.notified();
            tokio::pin!(moved);
            // Before the look, so that no move between the two is missed.
            moved.as_mut().enable();
            if !self.is_ahead() {
                return;
            }
            moved.await;
        }
    }

    /// A writer has waited in vain: nobody is waited for again before somebody moves.
    pub(super) fn give_up(&self) {
        let pace = &self.pace;
        pace.given_up_at.store(pace.taken.load(Ordering::Acquire), Ordering::Relaxed);
    }

    /// Takes what a reader has not read yet. The second value says whether nothing will follow,
    /// as of the same moment: what is not read then will never come.
    pub(super) fn read(
        &self,
        reader: &mut Reader,
        filter: &Filter,
        batch: &mut Batch,
    ) -> (Standing, bool) {
        let log = self.log();
        let standing = log.channel.read(reader, filter, clock::now(), batch);
        (standing, log.is_over())
    }

    /// Whether nothing will follow, and a client with this cursor would get nothing of what was.
    pub(super) fn has_nothing_for(&self, cursor: Option<&Cursor>, filter: &Filter) -> bool {
        let log = self.log();
        let now = (clock::now(), clock::wall());
        log.is_over() && !log.channel.has_unread(cursor, filter, now)
    }

    /// How the sources stand.
    #[must_use]
    pub(crate) fn sources(&self) -> Vec<SourceStanding> {
        self.log().sources.clone()
    }

    /// Clients that listen.
    #[must_use]
    pub(crate) fn listeners(&self) -> usize {
        self.listeners.load(Ordering::Relaxed)
    }

    /// The bells of those who read.
    pub(super) const fn bells(&self) -> &Bells {
        &self.bells
    }

    pub(super) fn enter(&self) {
        self.visits.fetch_add(1, Ordering::Relaxed);
        self.listeners.fetch_add(1, Ordering::Relaxed);
    }

    /// One client less. The number of visits so far, if it was the last. Nobody may enter
    /// meanwhile: a visit that begins and ends between the two looks would keep the log for ever.
    pub(super) fn leave(&self) -> Option<u64> {
        let visits = self.visits.load(Ordering::Relaxed);
        let was_last = self.listeners.fetch_sub(1, Ordering::Relaxed) == 1;
        if was_last {
            self.pace.moved.notify_waiters();
        }
        was_last.then_some(visits)
    }

    /// Whether nobody came since that visit.
    pub(super) fn is_idle_since(&self, visit: u64) -> bool {
        self.listeners() == 0 && self.visits.load(Ordering::Relaxed) == visit
    }

    /// Takes out of an event what clients of the route must not see.
    fn redact(&self, encoded: &mut Encoded) {
        if let Some((redaction, route)) = &self.redaction
            && encoded.redact(redaction) > 0
        {
            route.redacted.inc();
        }
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the log and keeps the gauge of its bytes.
    fn change<T>(&self, change: impl FnOnce(&mut Log) -> T) -> T {
        let mut log = self.log();
        let before = log.channel.bytes();
        let changed = change(&mut log);
        let after = log.channel.bytes();
        drop(log);
        // The gauge is of all logs, so it is moved, not set.
        self.metrics.ring_bytes.add(difference(before, after));
        changed
    }
}

impl Drop for ChannelCell {
    fn drop(&mut self) {
        let bytes = self.log().channel.bytes();
        self.metrics.ring_bytes.sub(difference(0, bytes));
    }
}

/// Counts a waiting writer, however its wait ends.
struct Waiting<'p>(&'p Pace);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Log {
    fn is_over(&self) -> bool {
        self.sources.iter().all(|standing| standing.state == SourceState::Ended)
    }

    fn append_control(
        &mut self,
        control: &Control,
        kind: ControlKind,
        subscription: &Subscription,
        wall: UnixMillis,
    ) {
        self.minted += 1;
        let minted = || format!("gap-{}-{}", wall.0, self.minted);
        let (mut full, mut core) = (Vec::new(), Vec::new());
        control.write(&mut full, Vocabulary::Full, subscription, wall, String::new);
        control.write(&mut core, Vocabulary::Core, subscription, wall, minted);
        self.channel.append_control(full, core, kind, clock::now());
    }
}

fn difference(before: usize, after: usize) -> i64 {
    let signed = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
    signed(after) - signed(before)
}

/// Seconds, rounded up: a client told 0 would not wait at all.
pub(super) fn whole_secs(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}
