//! Points in time as the wire shows them: UTC, milliseconds, `Z`.
//!
//! A backend's time is cut to milliseconds, never rounded. What cannot be read, or lies outside
//! 1990 to 2100, is `None`: then the time of arrival stands. Not here: a clock.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use serde_json::value::RawValue;

use super::json;

/// Milliseconds since 1970, UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub i64);

/// 1990-01-01: nothing that chats today is older, so an earlier time is a fault of the backend.
const OLDEST: i64 = 631_152_000_000;
/// 2100-01-01.
const NEWEST: i64 = 4_102_444_800_000;
/// Numbers below are seconds, numbers above are milliseconds (the year 5138 and 1973).
const SECONDS_BELOW: i64 = 100_000_000_000;

impl UnixMillis {
    /// Reads RFC 3339, with any offset and any number of fraction digits.
    #[must_use]
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        let time: Timestamp = text.trim().parse().ok()?;
        Self::from_millis(time.as_nanosecond().div_euclid(1_000_000).try_into().ok()?)
    }

    /// Takes milliseconds since 1970.
    #[must_use]
    pub fn from_millis(millis: i64) -> Option<Self> {
        (OLDEST..NEWEST).contains(&millis).then_some(Self(millis))
    }

    /// Takes seconds or milliseconds since 1970, told apart by size.
    #[must_use]
    pub fn from_seconds_or_millis(number: i64) -> Option<Self> {
        if number < SECONDS_BELOW {
            Self::from_millis(number.checked_mul(1000)?)
        } else {
            Self::from_millis(number)
        }
    }

    /// Milliseconds since 1970 as a JSON number or text.
    #[must_use]
    pub fn from_json_millis(value: &RawValue) -> Option<Self> {
        Self::from_millis(json::int(value)?)
    }
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = Timestamp::from_millisecond(self.0).unwrap_or_default();
        let time = time.to_zoned(TimeZone::UTC).datetime();
        write!(
            f,
            "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
            time.year(),
            time.month(),
            time.day(),
            time.hour(),
            time.minute(),
            time.second(),
            time.millisecond()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, want: Option<&str>) {
        let got = UnixMillis::parse_rfc3339(text).map(|time| time.to_string());
        assert_eq!(got.as_deref(), want, "{text}");
    }

    #[test]
    fn times_are_cut_to_milliseconds() {
        check("2026-01-19T18:35:47.7824531Z", Some("2026-01-19T18:35:47.782Z"));
        check("2026-01-19T18:35:47.7829999Z", Some("2026-01-19T18:35:47.782Z"));
        check("2026-01-19T18:35:52.78Z", Some("2026-01-19T18:35:52.780Z"));
        check("2026-01-19T18:35:57Z", Some("2026-01-19T18:35:57.000Z"));
        check("2026-01-19T19:35:57+01:00", Some("2026-01-19T18:35:57.000Z"));
    }

    #[test]
    fn unreadable_and_odd_times_are_none() {
        for text in [
            "",
            "yesterday",
            "1989-12-31T23:59:59Z",
            "2100-01-01T00:00:00Z",
            "0001-01-01T00:00:00Z",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn small_numbers_are_seconds() {
        let show = |number| UnixMillis::from_seconds_or_millis(number).map(|time| time.to_string());
        assert_eq!(show(1_614_718_748).as_deref(), Some("2021-03-02T20:59:08.000Z"));
        assert_eq!(show(1_614_718_748_123).as_deref(), Some("2021-03-02T20:59:08.123Z"));
        assert_eq!(show(0), None);
        assert_eq!(show(i64::MIN), None);
    }
}
