//! The clock: the only place that reads it.
//!
//! Everything else takes the time as an argument, so that it can be tested without waiting.

use std::sync::Arc;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use governor::clock::Clock;
use governor::nanos::Nanos;

use crate::proto::time::UnixMillis;

/// The time of day; 1970 if the machine's clock stands before that.
#[must_use]
pub(crate) fn wall() -> UnixMillis {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    let now = SystemTime::now();
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMillis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// The time that never goes back.
#[must_use]
pub(crate) fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "this is the one place")]
    Instant::now()
}

/// One moment by both clocks: the one that clients are told, and the one that is measured with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// The time of day.
    pub(crate) wall: UnixMillis,
    /// The time that never goes back.
    pub(crate) at: Instant,
}

/// This moment.
#[must_use]
pub(crate) fn moment() -> Moment {
    Moment { wall: wall(), at: now() }
}

/// The time that rate limits count in: nanoseconds since the clock was made.
#[derive(Clone)]
pub(crate) struct Ticks(Arc<dyn Fn() -> Nanos + Send + Sync>);

impl Ticks {
    /// Follows [`now`].
    #[must_use]
    pub(crate) fn monotonic() -> Self {
        let start = now();
        Self(Arc::new(move || {
            let nanos = now().duration_since(start).as_nanos();
            Nanos::new(u64::try_from(nanos).unwrap_or(u64::MAX))
        }))
    }

    /// Follows the time that a test has paused.
    #[cfg(test)]
    pub(crate) fn paused() -> Self {
        let start = tokio::time::Instant::now();
        Self(Arc::new(move || {
            Nanos::new(u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX))
        }))
    }

    /// Follows a clock that a test moves.
    #[cfg(test)]
    pub(crate) fn fake(clock: governor::clock::FakeRelativeClock) -> Self {
        Self(Arc::new(move || clock.now()))
    }
}

impl Clock for Ticks {
    type Instant = Nanos;

    fn now(&self) -> Nanos {
        (self.0)()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_go_forward() {
        assert!(wall() > UnixMillis(1_700_000_000_000));
        let ticks = Ticks::monotonic();
        let (instant, tick) = (now(), ticks.now());
        assert!(now() >= instant && ticks.now() >= tick);
    }
}
