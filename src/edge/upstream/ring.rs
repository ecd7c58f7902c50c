//! Credentials that the edge gets for itself, one for each person and source, whoever needs it.
//!
//! The stream of a person and the calls that are passed through for them show the backend one
//! face: they share a [`Ring`], as long as one of them has it. What is due says
//! `proto::backend::Keyring`. At most [`KEPT_MAX`] are kept for calls alone. Not here: making
//! the calls for a credential (`credentials`).

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::{Duration, Instant};

use lru::LruCache;

use crate::config::Source;
use crate::edge::clock;
use crate::proto::backend::{Credential, Due, Keyring, Recipe};
use crate::telemetry::SourceMetrics;

/// People whose credentials are kept between their calls. With a token of 2 kB each, 10 MB.
const KEPT_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4096 - 1);
/// The table is looked through for what is gone when it has grown by so much.
const SWEEP_EVERY: usize = 1024;

/// What tells one from another. Holds credentials; never shown.
type Key = (String, String, Recipe);

/// All of the process.
pub(super) struct Rings(Mutex<Table>);

struct Table {
    all: HashMap<Key, Weak<Ring>>,
    /// Those that calls have used.
    kept: LruCache<Key, Arc<Ring>>,
    sweep_at: usize,
}

/// The credential of one person at one source, and what is thought of it.
pub(super) struct Ring {
    pub(super) source: Arc<Source>,
    pub(super) recipe: Recipe,
    pub(super) metrics: Arc<SourceMetrics>,
    held: Mutex<Held>,
    /// Held while the backend is asked: others wait for what it gives.
    pub(super) asking: tokio::sync::Mutex<()>,
}

struct Held {
    keys: Keyring,
    count: Count,
}

/// How often something was given: whoever has seen less has something to learn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Count {
    pub(super) grants: u64,
    /// Those out of nothing: another subject each.
    pub(super) subjects: u64,
}

impl Rings {
    pub(super) fn new() -> Self {
        let kept = LruCache::sparse(KEPT_MAX);
        Self(Mutex::new(Table { all: HashMap::new(), kept, sweep_at: SWEEP_EVERY }))
    }

    /// The ring of a recipe. `is_kept`: it stays when nobody has it, for the next call.
    pub(super) fn of(
        &self,
        source: &Arc<Source>,
        recipe: &Recipe,
        metrics: &Arc<SourceMetrics>,
        is_kept: bool,
    ) -> Arc<Ring> {
        let key = (source.name.clone(), source.url.to_string(), recipe.clone());
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let table = &mut *table;
        // What only the table has, and what has ended, is of no use to anybody.
        let is_over =
            |ring: &Arc<Ring>| Arc::strong_count(ring) == 1 && ring.has_ended(clock::now());
        if table.kept.peek(&key).is_some_and(is_over) {
            table.kept.pop(&key);
        }
        let known = table.all.get(&key).and_then(Weak::upgrade);
        let ring = known.unwrap_or_else(|| {
            let ring = Arc::new(Ring::new(source.clone(), recipe.clone(), metrics.clone()));
            table.all.insert(key.clone(), Arc::downgrade(&ring));
            ring
        });
        if is_kept {
            table.kept.put(key, ring.clone());
        }
        if table.all.len() >= table.sweep_at {
            table.all.retain(|_, ring| ring.strong_count() > 0);
            table.sweep_at = table.all.len() * 2 + SWEEP_EVERY;
        }
        ring
    }
}

impl Ring {
    fn new(source: Arc<Source>, recipe: Recipe, metrics: Arc<SourceMetrics>) -> Self {
        let held = Held { keys: Keyring::new(&recipe), count: Count::default() };
        Self {
            source,
            recipe,
            metrics,
            held: Mutex::new(held),
            asking: tokio::sync::Mutex::default(),
        }
    }

    pub(super) fn due(&self) -> Due {
        self.held().keys.due(clock::now())
    }

    pub(super) fn on_granted(&self, grant: Credential, is_renewal: bool) {
        let mut held = self.held();
        held.count.grants += 1;
        held.count.subjects += u64::from(!is_renewal);
        held.keys.on_granted(grant, rand::random(), clock::wall(), clock::now());
    }

    pub(super) fn on_refused_renewal(&self) {
        self.held().keys.on_refused_renewal();
    }

    /// Whether what is held is good for a while yet. `pause` is what the backend asked for.
    pub(super) fn on_failed_renewal(&self, pause: Option<Duration>) -> bool {
        self.held().keys.on_failed_renewal(pause, clock::now())
    }

    /// A stream is open with it. Until when it must have said something, if it is suspect.
    pub(super) fn on_open(&self) -> Option<Instant> {
        self.held().keys.on_open(clock::now())
    }

    pub(super) fn on_lost(&self) {
        self.held().keys.on_lost(clock::now());
    }

    /// The backend refuses it. Whether a new one is worth a dial at once.
    pub(super) fn on_refused(&self) -> bool {
        self.held().keys.on_refused()
    }

    /// The backend refuses a call that was made with the so many-th that was given.
    pub(super) fn on_refused_call(&self, grants: u64) {
        let mut held = self.held();
        if held.count.grants == grants {
            held.keys.on_refused_call(clock::now());
        }
    }

    pub(super) fn on_silent(&self) {
        self.held().keys.on_silent();
    }

    /// What is held.
    pub(super) fn credential(&self) -> Option<Credential> {
        self.held().keys.credential().cloned()
    }

    pub(super) fn count(&self) -> Count {
        self.held().count
    }

    /// When a new one is due while a stream is open with this.
    pub(super) fn renew_at(&self) -> Option<Instant> {
        self.held().keys.renew_at()
    }

    fn has_ended(&self, now: Instant) -> bool {
        self.held().keys.has_ended(now)
    }

    fn held(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
