//! How long to wait before trying again: decorrelated jitter.
//!
//! Each wait is drawn between the floor and three times the last one, up to a ceiling, so that
//! clients who failed together do not come back together. Randomness comes in as an argument.

use std::time::Duration;

/// The first wait is at least this.
pub const FLOOR: Duration = Duration::from_millis(250);
/// No wait is longer, unless the backend asks for more.
pub const CEILING: Duration = Duration::from_secs(30);
/// With refused credentials nothing changes soon: waits start here...
pub const SLOW_FLOOR: Duration = Duration::from_secs(5);
/// ...and end here.
pub const SLOW_CEILING: Duration = Duration::from_secs(60);
/// A backend that asks for a longer pause is not believed.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// The memory of one sequence of failures.
#[derive(Clone, Debug)]
pub struct Backoff {
    floor: Duration,
    ceiling: Duration,
    last: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { floor: FLOOR, ceiling: CEILING, last: FLOOR }
    }
}

impl Backoff {
    /// With waits no longer than this.
    #[must_use]
    pub const fn up_to(ceiling: Duration) -> Self {
        Self { floor: FLOOR, ceiling, last: FLOOR }
    }

    /// For refused credentials.
    #[must_use]
    pub const fn slow() -> Self {
        Self { floor: SLOW_FLOOR, ceiling: SLOW_CEILING, last: SLOW_FLOOR }
    }

    /// The next wait. `random` lies in `0.0..1.0`.
    pub fn next_wait(&mut self, random: f64) -> Duration {
        let span = (self.last * 3).saturating_sub(self.floor);
        self.last = (self.floor + span.mul_f64(random.clamp(0.0, 1.0))).min(self.ceiling);
        self.last
    }

    /// Health: the next failure starts from the floor again.
    pub const fn reset(&mut self) {
        self.last = self.floor;
    }
}

/// A wait that a backend asked for: not before it, at most doubled by jitter.
#[must_use]
pub fn asked_wait(asked: Duration, random: f64) -> Duration {
    let asked = asked.clamp(FLOOR, RETRY_AFTER_MAX);
    asked + asked.mul_f64(random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_lie_between_floor_and_ceiling() {
        for random in [0.0, 0.3, 0.999] {
            let mut backoff = Backoff::default();
            let mut last = Duration::ZERO;
            for _ in 0..20 {
                last = backoff.next_wait(random);
                assert!((FLOOR..=CEILING).contains(&last), "{last:?}");
            }
            if random > 0.9 {
                assert_eq!(last, CEILING);
            }
            backoff.reset();
            assert!(backoff.next_wait(random) <= FLOOR * 3);
        }
    }

    #[test]
    fn an_asked_wait_is_never_cut_short() {
        assert_eq!(asked_wait(Duration::from_secs(7), 0.0), Duration::from_secs(7));
        assert!(asked_wait(Duration::from_secs(7), 0.999) < Duration::from_secs(14));
        assert_eq!(asked_wait(Duration::ZERO, 0.0), FLOOR);
        assert!(asked_wait(Duration::from_secs(1 << 40), 0.0) <= RETRY_AFTER_MAX);
    }
}
