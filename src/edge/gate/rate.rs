//! Budgets: how often and how many at once, by key, in bounded memory.
//!
//! New streams and calls go by GCRA over tables that forget the least recently used key: a flood
//! of keys costs the flooders' history, never another's admission. Open streams are counted
//! exactly and given back on drop. Not here: which keys (`limits`), how a refusal is told
//! (`refusal`).

use std::collections::HashMap;
use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::RateLimiter;
use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::StateStore;
use lru::LruCache;

use super::ledger::{Changes, Ledger, Pace, Spend, Taken};
use crate::config::{Limit, Rate};
use crate::edge::clock::Ticks;
use crate::edge::refusal::{Limited, Policy, Quota};

/// What is counted: an address, or the digest of a name.
pub(in crate::edge) type Key = [u8; 16];

/// Keys of one policy whose new streams are remembered, and as many whose calls are. With about
/// 100 bytes each, 10 MB.
pub(in crate::edge) const KEYS_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(100_000 - 1);

/// Nobody knows when an open stream ends; so long a client waits that has too many.
const CONCURRENT_RETRY_SECS: u64 = 5;

/// Refused clients come back spread over at least so long.
const JITTER_SECS_MIN: u64 = 2;

/// Longer bursts overflow the arithmetic of the limiter: 100 years.
const BURST_NANOS_MAX: u64 = 100 * 365 * 24 * 3600 * 1_000_000_000;

/// What one policy remembers. Outlives the configuration.
pub(in crate::edge) struct Table {
    /// When each key's budget of new streams is whole again.
    opened: Mutex<LruCache<Key, Nanos>>,
    /// The same of calls.
    called: Mutex<LruCache<Key, Nanos>>,
    /// Open streams. Invariant: no zeros, so it is bounded by the streams there are.
    open: Mutex<HashMap<Key, u32>>,
    /// Whom to tell when an open stream is gone, where nodes count them together.
    told: Option<(Policy, Arc<Changes>)>,
    /// Whether open streams were ever limited. Before, nobody needs to know how many there are.
    is_counted: AtomicBool,
}

impl Table {
    pub(in crate::edge) fn new(keys_max: NonZeroUsize) -> Arc<Self> {
        Arc::new(Self::with(keys_max, None))
    }

    /// One whose open streams all nodes count together.
    pub(super) fn shared(
        keys_max: NonZeroUsize,
        policy: Policy,
        changes: &Arc<Changes>,
    ) -> Arc<Self> {
        let table = Arc::new(Self::with(keys_max, Some((policy, changes.clone()))));
        changes.watch(policy, &table);
        table
    }

    fn with(keys_max: NonZeroUsize, told: Option<(Policy, Arc<Changes>)>) -> Self {
        Self {
            opened: Mutex::new(LruCache::sparse(keys_max)),
            called: Mutex::new(LruCache::sparse(keys_max)),
            open: Mutex::new(HashMap::new()),
            told,
            is_counted: AtomicBool::new(false),
        }
    }

    /// The open streams of a key.
    pub(super) fn count(&self, key: &Key) -> u32 {
        lock(&self.open).get(key).copied().unwrap_or(0)
    }

    /// The keys with open streams, if anybody needs to know how many they have.
    pub(super) fn each_counted(&self, tell: impl FnMut(&Key)) {
        if self.is_counted.load(Ordering::SeqCst) {
            lock(&self.open).keys().for_each(tell);
        }
    }

    /// Keys in memory, those with a budget and those with open streams.
    pub(super) fn keys(&self) -> usize {
        let spent = lock(&self.opened).len() + lock(&self.called).len();
        spent + lock(&self.open).len()
    }

    const fn spent(&self, what: Spent) -> &Mutex<LruCache<Key, Nanos>> {
        match what {
            Spent::Opens => &self.opened,
            Spent::Requests => &self.called,
        }
    }

    /// Counts one more of a key, if it has fewer than `max`; `None` if not.
    pub(in crate::edge) fn hold(self: &Arc<Self>, key: &Key, max: Option<u32>) -> Option<Permit> {
        if max.is_some() && self.told.is_some() {
            self.is_counted.store(true, Ordering::SeqCst);
        }
        let mut open = lock(&self.open);
        let count = open.get(key).copied().unwrap_or(0);
        if max.is_some_and(|max| count >= max) {
            return None;
        }
        open.insert(*key, count.saturating_add(1));
        Some(Permit { table: self.clone(), key: *key })
    }

    fn release(&self, key: &Key) {
        let mut open = lock(&self.open);
        if let Some(count) = open.get_mut(key) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                open.remove(key);
            }
        }
        drop(open);
        if let Some((policy, changes)) = &self.told
            && self.is_counted.load(Ordering::SeqCst)
        {
            changes.mark(*policy, key);
        }
    }
}

/// Nothing panics while a table is locked; were it so, the counts would still hold.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What is spent of a budget.
#[derive(Clone, Copy)]
enum Spent {
    /// New streams.
    Opens,
    /// Calls.
    Requests,
}

/// One open stream in the count of one key, until dropped.
pub(in crate::edge) struct Permit {
    table: Arc<Table>,
    key: Key,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.table.release(&self.key);
    }
}

/// The budget of every key of one policy.
pub(super) struct Budget {
    policy: Policy,
    table: Arc<Table>,
    opens: Option<Gcra>,
    requests: Option<Gcra>,
    concurrent: Option<u32>,
}

/// So many in so long, for each key.
struct Gcra {
    limiter: RateLimiter<Key, Shifted, Ticks, NoOpMiddleware<Nanos>>,
    quota: Quota,
    pace: Pace,
}

impl Gcra {
    fn take(&self, key: &Key, policy: Policy) -> Result<(), Limited> {
        self.limiter.check_key(key).map_err(|until| {
            let wait = until.wait_time_from(self.limiter.clock().now());
            refused(policy, self.quota, wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
        })
    }
}

impl Budget {
    pub(super) fn new(policy: Policy, limit: &Limit, table: Arc<Table>, ticks: &Ticks) -> Self {
        let gcra = |rate: Option<Rate>, what: Spent| {
            rate.map(|rate| {
                let store = Shifted { table: table.clone(), what, start: ticks.now() };
                let (count, window_secs) = (rate.count.get(), rate.per.as_secs());
                let governed = governor_quota(rate, limit.burst);
                let interval = governed.replenish_interval();
                let whole = interval.saturating_mul(governed.burst_size().get());
                Gcra {
                    limiter: RateLimiter::new(governed, store, ticks.clone()),
                    pace: Pace { interval, whole },
                    quota: match what {
                        Spent::Opens => Quota::Opens { count, window_secs },
                        Spent::Requests => Quota::Requests { count, window_secs },
                    },
                }
            })
        };
        Self {
            policy,
            opens: gcra(limit.opens, Spent::Opens),
            requests: gcra(limit.requests, Spent::Requests),
            concurrent: limit.concurrent,
            table,
        }
    }

    /// Whether anything is limited.
    pub(super) const fn is_limiting(&self) -> bool {
        self.opens.is_some() || self.requests.is_some() || self.concurrent.is_some()
    }

    pub(super) const fn policy(&self) -> Policy {
        self.policy
    }

    /// Takes a new stream out of the key's budget. Nothing is taken when it is refused.
    pub(super) fn open(&self, key: &Key, ledger: Option<&Ledger>) -> Result<(), Limited> {
        self.take(self.opens.as_ref(), key, ledger)
    }

    /// Takes a call out of the key's budget. Nothing is taken when it is refused.
    pub(super) fn call(&self, key: &Key, ledger: Option<&Ledger>) -> Result<(), Limited> {
        self.take(self.requests.as_ref(), key, ledger)
    }

    fn take(&self, from: Option<&Gcra>, key: &Key, ledger: Option<&Ledger>) -> Result<(), Limited> {
        let Some(from) = from else {
            return Ok(());
        };
        from.take(key, self.policy)?;
        if let Some(ledger) = ledger {
            let (policy, quota, taken) = (self.policy, from.quota, Taken::Once(from.pace));
            ledger.note(Spend { policy, key: *key, quota, taken });
        }
        Ok(())
    }

    /// Counts an open stream of the key. It is counted where nothing is limited, too: a limit
    /// may come with the next configuration.
    pub(super) fn hold(&self, key: &Key, ledger: Option<&Ledger>) -> Result<Permit, Limited> {
        let max = self.concurrent.unwrap_or_default();
        let quota = Quota::Concurrent { count: max };
        let permit = self.table.hold(key, self.concurrent);
        let permit = permit.ok_or_else(|| refused(self.policy, quota, CONCURRENT_RETRY_SECS))?;
        if let (Some(ledger), Some(_)) = (ledger, self.concurrent) {
            let taken = Taken::Stream { count: self.table.count(key), max };
            ledger.note(Spend { policy: self.policy, key: *key, quota, taken });
        }
        Ok(permit)
    }
}

/// The refusal of what all nodes together have spent already.
pub(super) fn refused_for_all(spend: &Spend, wait: Duration) -> Limited {
    let wait_secs = match spend.quota {
        Quota::Opens { .. } | Quota::Requests { .. } => {
            wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
        }
        Quota::Concurrent { .. } => CONCURRENT_RETRY_SECS,
    };
    refused(spend.policy, spend.quota, wait_secs)
}

fn refused(policy: Policy, quota: Quota, wait_secs: u64) -> Limited {
    let wait_secs = wait_secs.max(1);
    let jitter = rand::random_range(0..=wait_secs.max(JITTER_SECS_MIN));
    Limited { policy, quota, retry_secs: wait_secs.saturating_add(jitter) }
}

fn governor_quota(rate: Rate, burst: Option<u32>) -> governor::Quota {
    let count = rate.count;
    let every = (rate.per / count.get()).max(Duration::from_nanos(1));
    let every_nanos = u64::try_from(every.as_nanos()).unwrap_or(u64::MAX).max(1);
    let burst_max = u32::try_from(BURST_NANOS_MAX / every_nanos).unwrap_or(u32::MAX);
    let burst = burst.and_then(NonZeroU32::new).unwrap_or(count);
    let burst = burst.min(NonZeroU32::new(burst_max).unwrap_or(NonZeroU32::MIN));
    governor::Quota::with_period(every)
        .unwrap_or_else(|| governor::Quota::per_second(count))
        .allow_burst(burst)
}

/// A limiter counts from when it was made; the table, which outlives it, from the clock's zero.
struct Shifted {
    table: Arc<Table>,
    what: Spent,
    start: Nanos,
}

impl StateStore for Shifted {
    type Key = Key;

    fn measure_and_replace<T, F, E>(&self, key: &Key, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut spent = lock(self.table.spent(self.what));
        let whole_at = spent.get(key).map(|at| at.saturating_sub(self.start));
        let (outcome, whole_at) = decide(whole_at)?;
        let whole_at = whole_at.as_u64().saturating_add(self.start.as_u64());
        spent.put(*key, Nanos::new(whole_at));
        Ok(outcome)
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;
    use rand::rngs::StdRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;

    const A: Key = [1; 16];
    const B: Key = [2; 16];

    fn limit(opens: Option<&str>, burst: Option<u32>, concurrent: Option<u32>) -> Limit {
        let opens = opens.map(|rate| Rate::parse(rate).expect("a rate"));
        Limit { opens, burst, concurrent, ..Limit::default() }
    }

    struct Bench {
        clock: FakeRelativeClock,
        ticks: Ticks,
        table: Arc<Table>,
    }

    impl Bench {
        fn new() -> Self {
            let clock = FakeRelativeClock::default();
            let ticks = Ticks::fake(clock.clone());
            Self { clock, ticks, table: Table::new(KEYS_MAX) }
        }

        fn budget(&self, limit: &Limit) -> Budget {
            Budget::new(Policy::Subject, limit, self.table.clone(), &self.ticks)
        }

        fn advance(&self, millis: u64) {
            self.clock.advance(Duration::from_millis(millis));
        }
    }

    fn opened(budget: &Budget, key: &Key, tries: usize) -> usize {
        (0..tries).filter(|_| budget.open(key, None).is_ok()).count()
    }

    #[test]
    fn bursts_pass_and_then_one_at_a_time() {
        let bench = Bench::new();
        let budget = bench.budget(&limit(Some("60/m"), Some(3), None));
        assert_eq!(opened(&budget, &A, 10), 3);
        bench.advance(999);
        assert_eq!(opened(&budget, &A, 10), 0);
        bench.advance(1);
        assert_eq!(opened(&budget, &A, 10), 1);
        bench.advance(3_600_000);
        assert_eq!(opened(&budget, &A, 10), 3);
    }

    #[test]
    fn without_a_burst_the_count_is_the_burst() {
        let bench = Bench::new();
        assert_eq!(opened(&bench.budget(&limit(Some("5/s"), None, None)), &A, 10), 5);
    }

    #[test]
    fn one_key_never_spends_anothers_budget() {
        let bench = Bench::new();
        let budget = bench.budget(&limit(Some("2/h"), None, Some(1)));
        let _permit = budget.hold(&A, None).expect("a permit");
        assert_eq!(opened(&budget, &A, 1000), 2);
        assert!(budget.hold(&A, None).is_err());
        assert_eq!(opened(&budget, &B, 10), 2);
        assert!(budget.hold(&B, None).is_ok());
    }

    #[test]
    fn retry_times_suffice_are_whole_and_differ() {
        let bench = Bench::new();
        let budget = bench.budget(&limit(Some("6/m"), Some(1), None));
        assert!(budget.open(&A, None).is_ok());
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..200 {
            let limited = budget.open(&A, None).expect_err("refused");
            assert_eq!(limited.quota, Quota::Opens { count: 6, window_secs: 60 });
            assert!((10..=20).contains(&limited.retry_secs), "{}", limited.retry_secs);
            seen.insert(limited.retry_secs);
        }
        assert!(seen.len() > 1, "no jitter");
        bench.advance(9_001);
        let limited = budget.open(&A, None).expect_err("refused");
        assert!((1..=3).contains(&limited.retry_secs), "{}", limited.retry_secs);
        bench.advance(limited.retry_secs * 1000);
        assert!(budget.open(&A, None).is_ok());
    }

    #[test]
    fn open_streams_are_given_back() {
        let bench = Bench::new();
        let budget = bench.budget(&limit(None, None, Some(2)));
        let first = budget.hold(&A, None).expect("a permit");
        let second = budget.hold(&A, None).expect("a permit");
        let limited = budget.hold(&A, None).map(|_| ()).expect_err("refused");
        assert_eq!(limited.quota, Quota::Concurrent { count: 2 });
        assert!(limited.retry_secs >= CONCURRENT_RETRY_SECS);
        drop(first);
        let third = budget.hold(&A, None).expect("a permit");
        assert!(budget.hold(&A, None).is_err());
        drop((second, third));
        assert_eq!(bench.table.keys(), 0);
    }

    #[test]
    fn a_flood_of_keys_stays_within_its_memory_and_refuses_nobody() {
        let bench = Bench::new();
        let budget = bench.budget(&limit(Some("1/h"), None, None));
        let key = |number: u32| {
            let mut key = Key::default();
            key[..4].copy_from_slice(&number.to_be_bytes());
            key
        };
        for number in 0..120_000 {
            assert!(budget.open(&key(number), None).is_ok(), "{number}");
        }
        assert_eq!(bench.table.keys(), KEYS_MAX.get());
        // The newest are remembered, the oldest forgotten.
        assert!(budget.open(&key(119_999), None).is_err());
        assert!(budget.open(&key(0), None).is_ok());
    }

    #[test]
    fn a_key_that_is_refused_again_and_again_is_not_forgotten() {
        let bench = Bench::new();
        let table = Table::new(NonZeroUsize::MIN.saturating_add(3));
        let limit = limit(Some("1/h"), None, None);
        let budget = Budget::new(Policy::Tenant, &limit, table, &bench.ticks);
        assert!(budget.open(&A, None).is_ok());
        for number in 10..100 {
            assert!(budget.open(&[number; 16], None).is_ok());
            assert!(budget.open(&A, None).is_err());
        }
    }

    #[test]
    fn counts_outlive_the_configuration() {
        let bench = Bench::new();
        bench.advance(50_000);
        let before = bench.budget(&limit(Some("60/m"), Some(5), None));
        assert_eq!(opened(&before, &A, 10), 5);
        let permit = before.hold(&A, None).expect("a permit");
        bench.advance(1_000);
        let after = bench.budget(&limit(Some("60/m"), Some(5), Some(1)));
        assert_eq!(opened(&after, &A, 10), 1);
        assert!(after.hold(&A, None).is_err());
        drop(permit);
        assert!(after.hold(&A, None).is_ok());
        bench.advance(5_000);
        assert_eq!(opened(&after, &A, 10), 5);
    }

    /// What a budget is by its definition: credit that grows with time up to a burst, of which
    /// each new stream takes one interval. In whole nanoseconds, so there is nothing to round.
    struct Model {
        interval: u64,
        credit_max: u64,
        credit: HashMap<Key, (u64, u64)>,
    }

    impl Model {
        /// The nanoseconds to wait; 0 = taken.
        fn take(&mut self, key: Key, now: u64) -> u64 {
            let (credit, at) = self.credit.entry(key).or_insert((self.credit_max, now));
            *credit = self.credit_max.min(*credit + (now - *at));
            *at = now;
            if *credit >= self.interval {
                *credit -= self.interval;
                return 0;
            }
            self.interval - *credit
        }
    }

    #[test]
    fn any_sequence_is_decided_as_by_the_definition() {
        let rates = ["1/s", "7/s", "1000/s", "30/m", "59/m", "1/m", "100/h", "3/h"];
        let (mut taken, mut refused) = (0, 0);
        for seed in 0..200_u64 {
            let mut dice = StdRng::seed_from_u64(seed);
            let rate = rates[dice.random_range(0..rates.len())];
            let burst = dice.random_range(1..=20);
            let bench = Bench::new();
            bench.clock.advance(Duration::from_nanos(dice.random_range(0..1_000_000_000_000)));
            let limit = limit(Some(rate), Some(burst), None);
            let budget = bench.budget(&limit);
            let rate = Rate::parse(rate).expect("a rate");
            let interval = u64::try_from(rate.per.as_nanos()).expect("short");
            let interval = interval / u64::from(rate.count.get());
            let credit_max = interval * u64::from(burst);
            let mut model = Model { interval, credit_max, credit: HashMap::new() };
            for step in 0..300 {
                if dice.random_bool(0.4) {
                    let most = [1, interval / 3, interval, interval * 2, credit_max / 2];
                    let most = most[dice.random_range(0..most.len())];
                    bench.clock.advance(Duration::from_nanos(dice.random_range(0..=most)));
                }
                let key = [dice.random_range(0..4); 16];
                let want = model.take(key, bench.ticks.now().as_u64());
                match budget.open(&key, None) {
                    Ok(()) => {
                        assert_eq!(want, 0, "seed {seed}, step {step}: taken");
                        taken += 1;
                    }
                    Err(limited) => {
                        let secs = want.div_ceil(1_000_000_000).max(1);
                        let most = secs + secs.max(JITTER_SECS_MIN);
                        let told = limited.retry_secs;
                        assert!(want > 0, "seed {seed}, step {step}: refused");
                        assert!((secs..=most).contains(&told), "seed {seed}: {told} of {secs}");
                        refused += 1;
                    }
                }
            }
        }
        assert!(taken > 10_000 && refused > 5_000, "{taken} taken, {refused} refused");
    }

    #[test]
    fn a_hundred_thousand_keys_are_counted_without_an_error() {
        let bench = Bench::new();
        let budget = bench.budget(&Limit {
            requests: Some(Rate::parse("3/h").expect("a rate")),
            ..limit(Some("5/h"), None, None)
        });
        let keys = u32::try_from(KEYS_MAX.get()).expect("a number");
        let key = |number: u32| {
            let mut key = Key::default();
            key[12..].copy_from_slice(&number.to_be_bytes());
            key
        };
        let count = |take: &dyn Fn(&Key) -> bool| (0..keys).filter(|n| take(&key(*n))).count();
        for round in 0..6 {
            let want = |most: usize| if round < most { KEYS_MAX.get() } else { 0 };
            assert_eq!(count(&|key| budget.open(key, None).is_ok()), want(5), "streams, {round}");
            assert_eq!(count(&|key| budget.call(key, None).is_ok()), want(3), "calls, {round}");
        }
        assert_eq!(bench.table.keys(), 2 * KEYS_MAX.get());
    }

    #[test]
    fn calls_and_streams_have_budgets_of_their_own() {
        let bench = Bench::new();
        let budget = bench.budget(&Limit {
            requests: Some(Rate::parse("2/h").expect("a rate")),
            ..limit(Some("1/h"), None, None)
        });
        assert!(budget.open(&A, None).is_ok() && budget.open(&A, None).is_err());
        assert!(budget.call(&A, None).is_ok() && budget.call(&A, None).is_ok());
        let limited = budget.call(&A, None).expect_err("refused");
        assert_eq!(limited.quota, Quota::Requests { count: 2, window_secs: 3600 });
    }

    #[test]
    fn extreme_rates_do_not_overflow() {
        for (rate, burst) in
            [("4294967295/s", Some(u32::MAX)), ("1/h", Some(u32::MAX)), ("1/s", Some(1))]
        {
            let bench = Bench::new();
            let budget = bench.budget(&limit(Some(rate), burst, None));
            assert!(opened(&budget, &A, 100) >= 1, "{rate}");
            bench.advance(1000 * 3600 * 24 * 365);
            assert!(opened(&budget, &A, 100) >= 1, "{rate}");
        }
    }
}
