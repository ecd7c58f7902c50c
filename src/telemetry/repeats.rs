//! Lines that repeat: the first few are told, the rest is counted.
//!
//! A backend that is down is down for every client; that is one piece of news. Told again once
//! the window is over, with how many were left out. Not here: which lines are the same (the
//! logger decides).

use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use lru::LruCache;

/// So many of the same are told in a window: enough to see that it is no single case.
pub const REPEATS_MAX: u32 = 5;
/// For so long the others are counted. An operator looks more often than alerts fire.
pub const REPEATS_WINDOW: Duration = Duration::from_secs(60);
/// Different lines that are remembered; the one that came longest ago is forgotten.
const LINES_MAX: NonZeroUsize = match NonZeroUsize::new(1024) {
    Some(max) => max,
    None => NonZeroUsize::MIN,
};

/// What was told lately.
pub struct Repeats {
    told: LruCache<u64, Told>,
}

struct Told {
    since: Instant,
    count: u32,
    suppressed: u64,
}

impl Default for Repeats {
    fn default() -> Self {
        Self { told: LruCache::new(LINES_MAX) }
    }
}

impl Repeats {
    /// Whether to tell this line, and how many of the same were left out before it.
    pub fn on_line(&mut self, line: u64, now: Instant) -> Option<u64> {
        let told =
            self.told.get_or_insert_mut(line, || Told { since: now, count: 0, suppressed: 0 });
        if now.saturating_duration_since(told.since) >= REPEATS_WINDOW {
            (told.since, told.count) = (now, 0);
        }
        if told.count >= REPEATS_MAX {
            told.suppressed += 1;
            return None;
        }
        told.count += 1;
        Some(std::mem::take(&mut told.suppressed))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests need some moment to count from")]

    use super::*;

    #[test]
    fn a_thousand_of_the_same_become_a_few_with_their_number() {
        let mut repeats = Repeats::default();
        let start = Instant::now();
        let told = (0..1000).filter_map(|_| repeats.on_line(1, start)).collect::<Vec<_>>();
        assert_eq!(told, [0; REPEATS_MAX as usize]);
        assert_eq!(repeats.on_line(2, start), Some(0), "another line is another line");
        let later = start + REPEATS_WINDOW;
        assert_eq!(repeats.on_line(1, later), Some(1000 - u64::from(REPEATS_MAX)));
        assert_eq!(repeats.on_line(1, later), Some(0), "told once");
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut repeats = Repeats::default();
        let start = Instant::now();
        for line in 0..5000 {
            assert_eq!(repeats.on_line(line, start), Some(0));
        }
        assert_eq!(repeats.told.len(), LINES_MAX.get());
    }
}
