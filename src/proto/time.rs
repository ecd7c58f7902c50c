//! Points in time as the wire shows them: UTC, milliseconds, `Z`.
//!
//! A backend's time is cut to milliseconds, never rounded. What cannot be read, or lies outside
//! 1990 to 2100, is `None`: then the time of arrival stands. Not here: a clock.

use std::fmt;

use jiff::Timestamp;
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

impl UnixMillis {
    /// As on the wire: RFC 3339 in UTC, with milliseconds.
    #[must_use]
    pub fn to_rfc3339(self) -> [u8; 24] {
        const DAY: i64 = 86_400_000;
        let (days, millis) = (self.0.div_euclid(DAY), self.0.rem_euclid(DAY));
        let (year, month, day) = civil(days);
        let ([y1, y2], [y3, y4]) = (two(year / 100), two(year));
        let ([m1, m2], [d1, d2]) = (two(month), two(day));
        let ([h1, h2], [n1, n2]) = (two(millis / 3_600_000), two(millis / 60_000 % 60));
        let ([s1, s2], [f1, f2]) = (two(millis / 1000 % 60), two(millis / 10));
        let [_, f3] = two(millis);
        [
            y1, y2, y3, y4, b'-', m1, m2, b'-', d1, d2, b'T', h1, h2, b':', n1, n2, b':', s1, s2,
            b'.', f1, f2, f3, b'Z',
        ]
    }
}

/// The last two digits of a number.
const fn two(number: i64) -> [u8; 2] {
    // Below a hundred, so it fits.
    let number = number.rem_euclid(100) as u8;
    [b'0' + number / 10, b'0' + number % 10]
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(&self.to_rfc3339()).unwrap_or_default())
    }
}

/// Year, month and day of a day counted from 1970-01-01, by the proleptic Gregorian calendar.
///
/// Counted in eras of 400 years that begin on 1 March, so that leap days end a year.
const fn civil(days: i64) -> (i64, i64, i64) {
    const ERA_DAYS: i64 = 146_097;
    /// From 0000-03-01 to 1970-01-01.
    const EPOCH_DAYS: i64 = 719_468;
    let days = days + EPOCH_DAYS;
    let (era, day_of_era) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + if month <= 2 { 1 } else { 0 };
    (year, month, day)
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
    fn every_day_is_written_as_the_calendar_has_it() {
        let mut millis = OLDEST;
        while millis < NEWEST {
            for millis in [millis, millis + 86_399_999] {
                let want = Timestamp::from_millisecond(millis).expect("a time");
                assert_eq!(UnixMillis(millis).to_string(), format!("{want:.3}"));
            }
            millis += 86_400_000;
        }
        assert_eq!(UnixMillis(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(UnixMillis(-1).to_string(), "1969-12-31T23:59:59.999Z");
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
