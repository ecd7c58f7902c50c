//! The time of day and fresh ids, for what scripted backends write.
//!
//! [`now_ms`] is the only clock read of this room; pacing and time-outs use `tokio::time`, so
//! that tests can pause them. Ids are unguessable enough to be distinct, not secret.

use std::time::{SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970 now; 0 where the machine's clock is before that.
#[expect(
    clippy::disallowed_methods,
    reason = "a backend has a clock of its own; the edge's is not for it"
)]
pub(super) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// `YYYY-MM-DDTHH:MM:SS` of a time in milliseconds since 1970.
fn civil(ms: u64) -> String {
    let (days, of_day) = (ms / 86_400_000, ms / 1000 % 86_400);
    // Days since 0000-03-01, so that the leap day is the last of its year.
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}")
}

/// RFC 3339 with milliseconds and `Z`.
pub(super) fn rfc3339(ms: u64) -> String {
    format!("{}.{:03}Z", civil(ms), ms % 1000)
}

/// As .NET prints a `DateTime`: up to seven fraction digits, trailing zeros cut.
pub(super) fn dotnet(ms: u64, ticks_below_ms: u64) -> String {
    let fraction = format!("{:03}{:04}", ms % 1000, ticks_below_ms % 10_000);
    match fraction.trim_end_matches('0') {
        "" => format!("{}Z", civil(ms)),
        digits => format!("{}.{digits}Z", civil(ms)),
    }
}

/// Reads `YYYY-MM-DDTHH:MM:SS` (what follows is ignored) as milliseconds since 1970.
pub(super) fn parse_instant(text: &str) -> Option<u64> {
    let mut parts = text.get(..19)?.split(['-', 'T', ':']).map(str::parse::<u64>);
    let mut next = || parts.next()?.ok();
    let (year, month, day) = (next()?, next()?, next()?);
    let (hour, minute, second) = (next()?, next()?, next()?);
    if !(1970..=9999).contains(&year) || !(1..=12).contains(&month) || !(1..=31).contains(&day) {
        return None;
    }
    let shifted_year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (shifted_year / 400, shifted_year % 400);
    let month_from_march = (month + 9) % 12;
    let day_of_year = (153 * month_from_march + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    Some(((days * 24 + hour) * 60 + minute) * 60_000 + second * 1000)
}

/// A source of distinct ids: splitmix64 from a seed.
#[derive(Debug)]
pub(super) struct Ids(u64);

impl Ids {
    /// Ids that differ from run to run.
    pub(super) fn new() -> Self {
        Self(now_ms().wrapping_mul(0x2545_f491_4f6c_dd1d))
    }

    /// The ids of a name: the same for the same name, always.
    pub(super) fn of(name: &str) -> Self {
        let seed = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        });
        Self(seed)
    }

    /// The next 64 bits.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A lower-case UUID of version 4.
    pub(super) fn uuid(&mut self) -> String {
        let (high, low) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 48 & 0xfff,
            low & 0xffff_ffff_ffff
        )
    }

    /// A Mongo ObjectId: creation time in its first four bytes.
    pub(super) fn object_id(&mut self) -> String {
        format!("{:08x}{:016x}", (now_ms() / 1000) & 0xffff_ffff, self.next())
    }

    /// A made-up JWT with these claims; the signature is noise that nobody checks.
    pub(super) fn jwt(&mut self, header: &str, claims: &str) -> String {
        use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
        let signature: Vec<u8> = (0..4).flat_map(|_| self.next().to_be_bytes()).collect();
        let [header, claims, signature] = [header.as_bytes(), claims.as_bytes(), &signature]
            .map(|part| URL_SAFE_NO_PAD.encode(part));
        format!("{header}.{claims}.{signature}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_each_platform_writes_them() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(1_709_210_096_007), "2024-02-29T12:34:56.007Z");
        assert_eq!(dotnet(1_709_210_096_780, 0), "2024-02-29T12:34:56.78Z");
        assert_eq!(dotnet(1_709_210_096_000, 0), "2024-02-29T12:34:56Z");
        assert_eq!(dotnet(1_709_210_096_007, 1234), "2024-02-29T12:34:56.0071234Z");
    }

    #[test]
    fn instants_are_read_back() {
        for ms in [0, 951_782_400_000, 1_709_210_096_000, 1_767_225_599_000] {
            assert_eq!(parse_instant(&rfc3339(ms)), Some(ms));
        }
        assert_eq!(parse_instant("yesterday"), None);
        assert_eq!(parse_instant("2024-13-01T00:00:00Z"), None);
    }

    #[test]
    fn ids_are_distinct_and_names_give_the_same_ids() {
        let mut ids = Ids::new();
        assert_ne!(ids.uuid(), ids.uuid());
        assert_eq!(ids.uuid().len(), 36);
        assert_eq!(ids.object_id().len(), 24);
        assert_eq!(Ids::of("jane").uuid(), Ids::of("jane").uuid());
        assert_ne!(Ids::of("jane").uuid(), Ids::of("john").uuid());
    }
}
