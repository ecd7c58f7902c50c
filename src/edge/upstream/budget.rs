//! How much of one source is asked at a time: dials, credentials, histories.
//!
//! A restart, or a backend that comes back, makes thousands of streams dial at once; they wait
//! here in line. Backends limit how many tokens they give out (Salesforce: 200 a minute for the
//! whole organisation), so those are counted for the backend, not for the stream or the source.
//! Not here: when a stream tries again (`proto::link`).

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use governor::clock::Clock;
use governor::middleware::NoOpMiddleware;
use governor::nanos::Nanos;
use governor::state::{InMemoryState, NotKeyed};
use governor::{Quota, RateLimiter};
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::edge::clock::Ticks;

/// Dials of one source that may be under way: connecting, or waiting for the answer's head.
pub(super) const DIALS_MAX: usize = 32;
/// Log-ins and mintings of one source that may be under way.
pub(super) const CREDENTIALS_MAX: usize = 8;
/// Log-ins and mintings of one source in any minute.
pub(super) const CREDENTIALS_PER_MINUTE: u32 = 200;
/// Calls for histories that may be under way: they are the dearest that a backend has.
pub(super) const HISTORIES_MAX: usize = 8;
/// Calls for histories in any minute. A page is a call. Who does not get one in time tells a gap.
pub(super) const HISTORIES_PER_MINUTE: u32 = 600;
/// Of what a minute has, this part at once: a burst and a minute's refill together are the whole.
const BURST_PART: u32 = 4;

/// The budget of one source.
pub(super) struct Budget {
    authority: String,
    dials: Semaphore,
    allowance: Arc<Allowance>,
}

/// What one backend gives, whichever source asks.
pub(super) struct Allowance {
    credentials: Calls,
    histories: Calls,
}

/// Calls of one kind.
struct Calls {
    under_way: Semaphore,
    rate: RateLimiter<NotKeyed, InMemoryState, Ticks, NoOpMiddleware<Nanos>>,
    ticks: Ticks,
}

/// Leave to ask. Dropping it lets the next one ask.
pub(super) struct Leave<'b> {
    _permit: Option<SemaphorePermit<'b>>,
}

impl Budget {
    /// For a source at this host and port.
    pub(super) fn new(authority: String, allowance: Arc<Allowance>) -> Self {
        Self { authority, dials: Semaphore::new(DIALS_MAX), allowance }
    }

    /// Whether it is for this host and port: a reload may send a source elsewhere.
    pub(super) fn is_of(&self, authority: &str) -> bool {
        self.authority == authority
    }

    /// Waits for leave to dial.
    pub(super) async fn dial(&self) -> Leave<'_> {
        // It is never closed.
        Leave { _permit: self.dials.acquire().await.ok() }
    }

    /// Waits for leave to ask for a credential.
    pub(super) async fn credential(&self) -> Leave<'_> {
        self.allowance.credentials.leave().await
    }

    /// Waits for leave to ask for a page of a history.
    pub(super) async fn history(&self) -> Leave<'_> {
        self.allowance.histories.leave().await
    }
}

impl Default for Allowance {
    fn default() -> Self {
        Self::new(&Ticks::monotonic())
    }
}

impl Allowance {
    fn new(ticks: &Ticks) -> Self {
        Self {
            credentials: Calls::new(CREDENTIALS_MAX, CREDENTIALS_PER_MINUTE, ticks.clone()),
            histories: Calls::new(HISTORIES_MAX, HISTORIES_PER_MINUTE, ticks.clone()),
        }
    }
}

impl Calls {
    fn new(under_way: usize, per_minute: u32, ticks: Ticks) -> Self {
        let some = |count: u32| NonZeroU32::MIN.saturating_add(count.saturating_sub(1));
        let burst = some(per_minute / BURST_PART);
        let quota = Quota::per_minute(some(per_minute - burst.get())).allow_burst(burst);
        Self {
            under_way: Semaphore::new(under_way),
            rate: RateLimiter::direct_with_clock(quota, ticks.clone()),
            ticks,
        }
    }

    async fn leave(&self) -> Leave<'_> {
        // It is never closed.
        let leave = Leave { _permit: self.under_way.acquire().await.ok() };
        while let Err(wait) = self.check() {
            tokio::time::sleep(wait).await;
        }
        leave
    }

    /// Takes one call of this minute's, or says how long to wait.
    fn check(&self) -> Result<(), Duration> {
        self.rate.check().map_err(|until| until.wait_time_from(self.ticks.now()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use governor::clock::FakeRelativeClock;
    use tokio::time::Instant;

    use super::*;

    fn credentials(clock: &FakeRelativeClock) -> Calls {
        Calls::new(CREDENTIALS_MAX, CREDENTIALS_PER_MINUTE, Ticks::fake(clock.clone()))
    }

    #[test]
    fn no_minute_has_more_credentials_than_the_backend_gives() {
        let clock = FakeRelativeClock::default();
        let calls = credentials(&clock);
        let mut given = Vec::new();
        for second in 0..600_u64 {
            // A hundred want one, every second.
            given.extend((0..100).filter(|_| calls.check().is_ok()).map(|_| second));
            clock.advance(Duration::from_secs(1));
        }
        for start in 0..540 {
            let count = given.iter().filter(|at| (start..start + 60).contains(*at)).count();
            let most = usize::try_from(CREDENTIALS_PER_MINUTE).expect("small");
            assert!((100..=most).contains(&count), "{count} from second {start}");
        }
        assert!(given.len() > 1400, "{}", given.len());
    }

    #[test]
    fn a_wait_ends_when_the_next_is_free() {
        let clock = FakeRelativeClock::default();
        let calls = credentials(&clock);
        while calls.check().is_ok() {}
        let wait = calls.check().expect_err("spent");
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
        clock.advance(wait);
        assert_eq!(calls.check(), Ok(()));
    }

    /// How many do something at a time, at most, and when each began.
    #[derive(Default)]
    struct Tally {
        now: AtomicUsize,
        most: AtomicUsize,
        begun: Mutex<Vec<Duration>>,
    }

    impl Tally {
        async fn during(&self, start: Instant, takes: Duration) {
            self.begun.lock().expect("no poison").push(start.elapsed());
            let count = self.now.fetch_add(1, Ordering::SeqCst) + 1;
            self.most.fetch_max(count, Ordering::SeqCst);
            tokio::time::sleep(takes).await;
            self.now.fetch_sub(1, Ordering::SeqCst);
        }

        /// The largest number in any minute.
        fn in_a_minute(&self) -> usize {
            let begun = self.begun.lock().expect("no poison");
            let minute = Duration::from_secs(60);
            let mut first = 0;
            let counts = begun.iter().enumerate().map(|(last, at)| {
                while begun[first] + minute <= *at {
                    first += 1;
                }
                last - first + 1
            });
            counts.max().unwrap_or(0)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn ten_thousand_streams_that_wait_do_not_flood_a_backend() {
        const STREAMS: usize = 10_000;
        let allowance = Arc::new(Allowance::new(&Ticks::paused()));
        // Two sources of one backend.
        let budgets = [0, 1].map(|_| Arc::new(Budget::new("b:443".into(), allowance.clone())));
        let tallies: Arc<[Tally; 4]> = Arc::default();
        let start = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for number in 0..STREAMS {
            let (budget, tallies) = (budgets[number % 2].clone(), tallies.clone());
            tasks.spawn(async move {
                let [mints, first, second, histories] = &*tallies;
                let leave = budget.credential().await;
                mints.during(start, Duration::from_millis(300)).await;
                drop(leave);
                let leave = budget.dial().await;
                let dials = if number % 2 == 0 { first } else { second };
                dials.during(start, Duration::from_secs(20)).await;
                drop(leave);
                let _leave = budget.history().await;
                histories.during(start, Duration::from_millis(200)).await;
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.expect("no panic");
        }
        let [mints, first, second, histories] = &*tallies;
        let most = |tally: &Tally| tally.most.load(Ordering::SeqCst);
        assert_eq!(most(mints), CREDENTIALS_MAX);
        for dials in [first, second] {
            assert!((2..=DIALS_MAX).contains(&most(dials)), "{}", most(dials));
        }
        assert!(most(histories) <= HISTORIES_MAX);
        let limits = [(mints, CREDENTIALS_PER_MINUTE), (histories, HISTORIES_PER_MINUTE)];
        for (tally, per_minute) in limits {
            let per_minute = usize::try_from(per_minute).expect("small");
            assert!(tally.in_a_minute() <= per_minute, "{}", tally.in_a_minute());
            assert_eq!(tally.begun.lock().expect("no poison").len(), STREAMS, "all get theirs");
        }
        // Nobody waits longer than the limits make them.
        let minutes = STREAMS / usize::try_from(CREDENTIALS_PER_MINUTE - 50).expect("small") + 2;
        let most = Duration::from_secs(60) * u32::try_from(minutes).expect("small");
        assert!(start.elapsed() < most, "{:?}", start.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn dials_and_histories_are_bounded_where_all_come_at_once() {
        let budget =
            Arc::new(Budget::new("b:443".into(), Arc::new(Allowance::new(&Ticks::paused()))));
        let tallies: Arc<[Tally; 2]> = Arc::default();
        let start = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..10_000 {
            let (budget, tallies) = (budget.clone(), tallies.clone());
            tasks.spawn(async move {
                let leave = budget.dial().await;
                tallies[0].during(start, Duration::from_millis(50)).await;
                drop(leave);
                let _leave = budget.history().await;
                tallies[1].during(start, Duration::from_millis(500)).await;
            });
        }
        while let Some(ended) = tasks.join_next().await {
            ended.expect("no panic");
        }
        assert_eq!(tallies[0].most.load(Ordering::SeqCst), DIALS_MAX);
        assert_eq!(tallies[1].most.load(Ordering::SeqCst), HISTORIES_MAX);
        let most = usize::try_from(HISTORIES_PER_MINUTE).expect("small");
        assert!(tallies[1].in_a_minute() <= most, "{}", tallies[1].in_a_minute());
    }
}
