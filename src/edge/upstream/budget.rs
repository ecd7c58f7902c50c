//! How much of one source is asked at a time: dials, and credentials.
//!
//! A restart, or a backend that comes back, makes thousands of streams dial at once; they wait
//! here in line. Backends limit how many tokens they give out (Salesforce: 200 a minute for the
//! whole organisation), so those are counted for the source, not for the stream.
//! Not here: when a stream tries again (`proto::link`).

use std::num::NonZeroU32;
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
/// Of those, as many at once: a burst and a minute's refill together are the whole.
const CREDENTIALS_BURST: NonZeroU32 = NonZeroU32::MIN.saturating_add(49);
const CREDENTIALS_REFILL: NonZeroU32 =
    NonZeroU32::MIN.saturating_add(CREDENTIALS_PER_MINUTE - CREDENTIALS_BURST.get() - 1);

/// The budget of one source.
pub(super) struct Budget {
    dials: Semaphore,
    credentials: Semaphore,
    rate: RateLimiter<NotKeyed, InMemoryState, Ticks, NoOpMiddleware<Nanos>>,
    ticks: Ticks,
}

/// Leave to ask. Dropping it lets the next one ask.
pub(super) struct Leave<'b> {
    _permit: Option<SemaphorePermit<'b>>,
}

impl Default for Budget {
    fn default() -> Self {
        Self::new(Ticks::monotonic())
    }
}

impl Budget {
    fn new(ticks: Ticks) -> Self {
        let quota = Quota::per_minute(CREDENTIALS_REFILL).allow_burst(CREDENTIALS_BURST);
        Self {
            dials: Semaphore::new(DIALS_MAX),
            credentials: Semaphore::new(CREDENTIALS_MAX),
            rate: RateLimiter::direct_with_clock(quota, ticks.clone()),
            ticks,
        }
    }

    /// Waits for leave to dial.
    pub(super) async fn dial(&self) -> Leave<'_> {
        // It is never closed.
        Leave { _permit: self.dials.acquire().await.ok() }
    }

    /// Waits for leave to ask for a credential.
    pub(super) async fn credential(&self) -> Leave<'_> {
        let leave = Leave { _permit: self.credentials.acquire().await.ok() };
        while let Err(wait) = self.check() {
            tokio::time::sleep(wait).await;
        }
        leave
    }

    /// Takes one credential of this minute's, or says how long to wait.
    fn check(&self) -> Result<(), Duration> {
        self.rate.check().map_err(|until| until.wait_time_from(self.ticks.now()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use governor::clock::FakeRelativeClock;

    use super::*;

    #[test]
    fn no_minute_has_more_credentials_than_the_backend_gives() {
        let clock = FakeRelativeClock::default();
        let budget = Budget::new(Ticks::fake(clock.clone()));
        let mut given = Vec::new();
        for second in 0..600_u64 {
            // A hundred want one, every second.
            given.extend((0..100).filter(|_| budget.check().is_ok()).map(|_| second));
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
        let budget = Budget::new(Ticks::fake(clock.clone()));
        while budget.check().is_ok() {}
        let wait = budget.check().expect_err("spent");
        assert!(wait > Duration::ZERO && wait <= Duration::from_secs(1), "{wait:?}");
        clock.advance(wait);
        assert_eq!(budget.check(), Ok(()));
    }

    #[tokio::test]
    async fn only_so_many_ask_at_once() {
        let budget = Arc::new(Budget::default());
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..200 {
            let (budget, now, most) = (budget.clone(), now.clone(), most.clone());
            tasks.spawn(async move {
                let _leave = budget.dial().await;
                let count = now.fetch_add(1, Ordering::SeqCst) + 1;
                most.fetch_max(count, Ordering::SeqCst);
                tokio::task::yield_now().await;
                now.fetch_sub(1, Ordering::SeqCst);
            });
        }
        while tasks.join_next().await.is_some() {}
        assert_eq!(most.load(Ordering::SeqCst), DIALS_MAX);
    }
}
