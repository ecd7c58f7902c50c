//! Durations and sizes as conf files write them: `500ms`, `15s`, `10m`, `1h`; `512B`, `64KiB`.
//!
//! One number, one unit, nothing else: `15` alone could be anything.

use std::time::Duration;

const DURATIONS: &[(&str, u64)] = &[("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)];
const SIZES: &[(&str, u64)] = &[("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10), ("B", 1)];

/// Reads a duration.
pub(super) fn parse_duration(text: &str) -> Result<Duration, String> {
    parse(text, DURATIONS)
        .map(Duration::from_millis)
        .ok_or_else(|| "a duration is written like 500ms, 15s, 10m or 1h".to_owned())
}

/// Reads a size in bytes.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    parse(text, SIZES).ok_or_else(|| "a size is written like 512B, 64KiB or 1MiB".to_owned())
}

/// Writes a duration as it would be read.
pub(super) fn show_duration(duration: Duration) -> String {
    show(u64::try_from(duration.as_millis()).unwrap_or(u64::MAX), DURATIONS, "s")
}

/// Writes a size as it would be read.
pub(super) fn show_size(bytes: u64) -> String {
    show(bytes, SIZES, "B")
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, factor) = units.iter().find(|(name, _)| *name == unit)?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

/// In the largest unit that needs no fraction.
fn show(number: u64, units: &[(&str, u64)], zero: &str) -> String {
    let fits = |(_, factor): &&(&str, u64)| number >= *factor && number.is_multiple_of(*factor);
    match units.iter().find(fits) {
        Some((name, factor)) => format!("{}{name}", number / factor),
        None => format!("0{zero}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_a_unit() {
        let millis = |text| parse_duration(text).ok().map(|duration| duration.as_millis());
        assert_eq!(millis("500ms"), Some(500));
        assert_eq!(millis("15s"), Some(15_000));
        assert_eq!(millis("10m"), Some(600_000));
        assert_eq!(millis("1h"), Some(3_600_000));
        assert_eq!(millis("0s"), Some(0));
        for text in [
            "15",
            "s",
            "",
            "-1s",
            "+1s",
            "1.5s",
            "1 s",
            "1S",
            "1h30m",
            "1é",
            "99999999999999999999s",
        ] {
            assert_eq!(millis(text), None, "{text}");
        }
        assert_eq!(millis("18446744073709551615h"), None);
    }

    #[test]
    fn sizes_have_a_unit() {
        let bytes = |text| parse_size(text).ok();
        assert_eq!(bytes("512B"), Some(512));
        assert_eq!(bytes("64KiB"), Some(65_536));
        assert_eq!(bytes("1MiB"), Some(1 << 20));
        for text in ["1024", "1KB", "1kib", "1M", "0.5MiB"] {
            assert_eq!(bytes(text), None, "{text}");
        }
    }

    #[test]
    fn what_is_shown_reads_the_same() {
        for text in ["0s", "1ms", "1500ms", "90s", "5m", "300m", "24h"] {
            let duration = parse_duration(text).unwrap_or_default();
            assert_eq!(parse_duration(&show_duration(duration)), Ok(duration));
        }
        assert_eq!(show_duration(Duration::from_secs(300)), "5m");
        assert_eq!(show_duration(Duration::from_secs(90)), "90s");
        assert_eq!(show_size(1 << 20), "1MiB");
        assert_eq!(show_size(1000), "1000B");
        assert_eq!(show_size(0), "0B");
    }
}
