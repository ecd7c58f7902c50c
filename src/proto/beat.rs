//! When a client stream beats for the first time.
//!
//! Streams that open together, as after a drain, would beat together for ever, and wake the whole
//! process at once each period. So the first beat comes somewhere in the second half of the
//! period, and the later ones follow it. Randomness comes in as an argument.

use std::time::Duration;

/// The first beat comes after at least this part of the period: one that comes at once tells a
/// client nothing that the stream's opening has not told it.
const FIRST_MIN: f64 = 0.5;

/// How long after its opening a stream beats first: never later than one period. `random` lies in
/// `0.0..1.0`.
#[must_use]
pub fn first_beat(period: Duration, random: f64) -> Duration {
    period.mul_f64(FIRST_MIN + (1.0 - FIRST_MIN) * random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_beat_is_in_the_second_half_of_the_period() {
        for secs in [1, 5, 300] {
            let period = Duration::from_secs(secs);
            assert_eq!(first_beat(period, 0.0), period / 2);
            assert_eq!(first_beat(period, 1.0), period);
            for random in [-1.0, 0.3, 0.999, 7.0] {
                let first = first_beat(period, random);
                assert!((period / 2..=period).contains(&first), "{first:?}");
            }
        }
    }

    #[test]
    fn twenty_thousand_streams_that_open_together_do_not_beat_together() {
        let period = Duration::from_secs(5);
        let mut due_in_millisecond = vec![0_u32; 5001];
        let mut state = 1_u64;
        for _ in 0..20_000 {
            // Numbers that look random and are the same in each run (a 64-bit LCG's high bits).
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let random = f64::from(u32::try_from(state >> 32).unwrap()) / f64::from(u32::MAX);
            let first = usize::try_from(first_beat(period, random).as_millis()).unwrap();
            due_in_millisecond[first] += 1;
        }
        // Eight would be perfectly even; together they would be 20,000.
        let most = due_in_millisecond.iter().max().copied().unwrap_or_default();
        assert!(most <= 40, "{most} in one millisecond");
        assert_eq!(due_in_millisecond.iter().sum::<u32>(), 20_000);
    }
}
