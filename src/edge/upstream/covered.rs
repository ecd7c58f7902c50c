//! What a gap has covered: of that nothing is told later, out of its place.
//!
//! A history that could not be had is told as a `gap`. When it can be had later, it still holds
//! what the gap stands for, older than what was told since. Clients would take that for news.
//! Not here: what was told before (the sessions know it), and telling.

use crate::proto::time::UnixMillis;

/// The past of one log.
#[derive(Default)]
pub(super) struct Covered {
    /// A gap was told, and nothing after it.
    is_open: bool,
    /// The first thing told after the last gap: what is older stands in that gap, or before it.
    before: Option<UnixMillis>,
}

/// An entry of a history, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) at: Option<UnixMillis>,
    /// Whether it was told before.
    pub(super) is_known: bool,
}

impl Covered {
    /// A gap is told.
    pub(super) const fn on_gap(&mut self) {
        self.is_open = true;
    }

    /// Something is told that happened then, by the backend's own clock.
    pub(super) fn on_told(&mut self, at: Option<UnixMillis>) {
        if self.is_open && at.is_some() {
            self.before = self.before.max(at);
            self.is_open = false;
        }
    }

    /// How many of these, which are in the order of their times, a gap stands for. Backends count
    /// in seconds, some of them: of one moment, those are covered that stand before one that is
    /// known.
    pub(super) fn count(&self, entries: &[Entry]) -> usize {
        let Some(before) = self.before else { return 0 };
        let older = entries.iter().take_while(|entry| entry.at.is_none_or(|at| at < before));
        let older = older.count();
        let same = entries.iter().skip(older).take_while(|entry| entry.at == Some(before));
        let known = same.enumerate().filter(|(_, entry)| entry.is_known).last();
        older + known.map_or(0, |(index, _)| index + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(told_after: &[i64], entries: &[(i64, bool)], want: usize) {
        let mut covered = Covered::default();
        for at in told_after {
            covered.on_told(Some(UnixMillis(1)));
            covered.on_gap();
            covered.on_told(None);
            covered.on_told(Some(UnixMillis(*at)));
            covered.on_told(Some(UnixMillis(at + 100)));
        }
        let entry =
            |(at, is_known): &(i64, bool)| Entry { at: Some(UnixMillis(*at)), is_known: *is_known };
        let entries: Vec<Entry> = entries.iter().map(entry).collect();
        assert_eq!(covered.count(&entries), want, "{told_after:?} {entries:?}");
    }

    #[test]
    fn what_is_older_than_the_first_after_a_gap_is_covered() {
        check(&[], &[(1, false), (2, true)], 0);
        check(&[], &[], 0);
        check(&[10], &[(8, false), (9, false), (10, true), (11, false)], 3);
        check(&[10], &[(11, false), (12, true)], 0);
        check(&[10, 20], &[(8, false), (15, false), (21, false)], 2);
        // What is missing of one moment may have been said after what is known.
        check(&[10], &[(10, false), (10, true), (10, false)], 2);
        check(&[10], &[(10, false), (10, false)], 0);
    }
}
