//! What a gap has covered: of that nothing is told later, out of its place.
//!
//! A history that could not be had is told as a `gap`. When it can be had later, it still holds
//! what the gap stands for, older than what was told since. Clients would take that for news.
//! Not here: what was told before (the sessions know it), and telling.

use super::history::SLACK_MILLIS;
use crate::proto::time::UnixMillis;

/// The past of one log.
#[derive(Default)]
pub(super) struct Covered {
    /// A gap was told, and nothing after it.
    is_open: bool,
    /// The first thing told after the last gap: what is older stands in that gap, or before it.
    before: Option<When>,
}

/// When something happened that a history may tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    /// By the backend's own clock.
    Happened(UnixMillis),
    /// It does not say; it came then.
    Came(UnixMillis),
}

/// An entry of a history, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) at: Option<UnixMillis>,
    /// Whether it was told before.
    pub(super) is_known: bool,
}

/// Where a history begins to be news.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Cut {
    /// So many of the first entries are not to be told.
    pub(super) covered: usize,
    /// They stand in a gap that was told. Else there may be news among them.
    pub(super) is_sure: bool,
}

impl Covered {
    /// A gap is told.
    pub(super) const fn on_gap(&mut self) {
        self.is_open = true;
    }

    /// Whether a gap was told, and nothing after it.
    pub(super) const fn is_open(&self) -> bool {
        self.is_open
    }

    /// Something is told.
    pub(super) fn on_told(&mut self, when: Option<When>) {
        let (true, Some(when)) = (self.is_open, when) else { return };
        self.before = match (self.before, when) {
            (Some(When::Happened(before)), When::Happened(at)) => {
                Some(When::Happened(before.max(at)))
            }
            // Times of two clocks are not compared: the last gap is the one that counts.
            (None | Some(_), When::Happened(_) | When::Came(_)) => Some(when),
        };
        self.is_open = false;
    }

    /// Which of these, that are in the order of their times, a gap stands for. Where times do not
    /// say it, since backends count in seconds or say nothing of when something was, those are
    /// covered that stand before one that is known. With none that is known, a time of arrival
    /// tells nothing of what is near it.
    pub(super) fn cut(&self, entries: &[Entry]) -> Cut {
        let (first, last, is_exact) = match self.before {
            None => return Cut { covered: 0, is_sure: true },
            Some(When::Happened(at)) => (at, at, true),
            Some(When::Came(at)) => {
                (UnixMillis(at.0 - SLACK_MILLIS), UnixMillis(at.0 + SLACK_MILLIS), false)
            }
        };
        let older = entries.iter().take_while(|entry| entry.at.is_none_or(|at| at < first));
        let older = older.count();
        let is_near = |entry: &&Entry| entry.at.is_some_and(|at| at <= last);
        let near = entries.iter().skip(older).take_while(is_near);
        let count = near.clone().count();
        match near.enumerate().filter(|(_, entry)| entry.is_known).last() {
            Some((index, _)) => Cut { covered: older + index + 1, is_sure: true },
            None if is_exact => Cut { covered: older, is_sure: true },
            None => Cut { covered: older + count, is_sure: count == 0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(told_after: &[i64], entries: &[(i64, bool)], want: usize) {
        let mut covered = Covered::default();
        for at in told_after {
            covered.on_told(Some(happened(1)));
            covered.on_gap();
            covered.on_told(None);
            covered.on_told(Some(happened(*at)));
            covered.on_told(Some(happened(at + 100)));
        }
        let entries = read(entries);
        let want = Cut { covered: want, is_sure: true };
        assert_eq!(covered.cut(&entries), want, "{told_after:?} {entries:?}");
    }

    fn read(entries: &[(i64, bool)]) -> Vec<Entry> {
        let entry =
            |(at, is_known): &(i64, bool)| Entry { at: Some(UnixMillis(*at)), is_known: *is_known };
        entries.iter().map(entry).collect()
    }

    const fn happened(at: i64) -> When {
        When::Happened(UnixMillis(at))
    }

    const fn came(at: i64) -> When {
        When::Came(UnixMillis(at))
    }

    #[track_caller]
    fn check_came(at: i64, entries: &[(i64, bool)], covered: usize, is_sure: bool) {
        let mut past = Covered::default();
        past.on_gap();
        past.on_told(Some(came(at)));
        past.on_told(Some(came(at + 1)));
        assert_eq!(past.cut(&read(entries)), Cut { covered, is_sure }, "{at} {entries:?}");
    }

    #[test]
    fn of_what_is_near_an_arrival_what_is_known_decides() {
        let (at, slack) = (100_000, SLACK_MILLIS);
        let (far, near) = (at - slack - 1, at - slack);
        check_came(at, &[], 0, true);
        check_came(at, &[(1, false), (far, true), (far, false)], 3, true);
        check_came(at, &[(far, false), (near, false), (at, true), (at + 1, false)], 3, true);
        check_came(at, &[(at - 1, false), (at, true), (at + 5, true), (at + 9, false)], 3, true);
        check_came(at, &[(at + slack + 1, false)], 0, true);
        // News, or what the gap stands for: nobody knows.
        check_came(at, &[(near, false)], 1, false);
        check_came(at, &[(far, false), (at + slack, false), (at + slack + 1, false)], 2, false);
    }

    #[test]
    fn the_last_gap_counts_where_clocks_differ() {
        for (told, want) in [
            ([happened(20), happened(10)], happened(20)),
            ([happened(20), came(10)], came(10)),
            ([came(20), happened(10)], happened(10)),
            ([came(10), came(20)], came(20)),
        ] {
            let mut covered = Covered::default();
            for when in told {
                covered.on_gap();
                covered.on_told(Some(when));
            }
            assert_eq!(covered.before, Some(want), "{told:?}");
        }
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
