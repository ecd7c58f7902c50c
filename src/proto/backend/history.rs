//! What a backend keeps of a conversation, for streams that were lost for a while.
//!
//! A dialect describes the calls ([`HistoryPlan`]) and splits their answers into entries
//! ([`Page`]), which its session maps ([`super::Session::on_past`]). Entries are no frames.
//! Not here: making the calls, which entries are in time (`edge::upstream`).

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::call::{Call, CallPlan};
use crate::proto::template::{ResolveError, Variables};
use crate::proto::time::UnixMillis;

/// The hole for the page that is wanted.
pub const PAGE: &str = "page";
/// The hole for a part of the history that is kept apart ([`super::Session::past_keys`]).
pub const KEY: &str = "key";
/// Parts that a session remembers; of more, what was missed is not known.
pub const KEYS_MAX: usize = 16;

/// How a dialect's history is read.
#[derive(Clone, Copy)]
pub struct History {
    /// What fills [`PAGE`] at first, for entries from this time on.
    pub first_page: fn(UnixMillis) -> String,
    /// Splits an answer into entries; `None`: it cannot be read.
    pub read: ReadPage,
    /// Whether answers begin with the newest entry.
    pub is_newest_first: bool,
    /// Reads the names of parts in the answer of [`HistoryPlan::index`]; `None`: it cannot be
    /// read.
    pub read_index: fn(&str) -> Option<Vec<String>>,
}

/// Splits an answer into entries, given what was wanted.
pub type ReadPage = for<'a> fn(&'a str, &Wanted<'_>) -> Option<Page<'a>>;

/// What was wanted of a history.
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'p> {
    /// Entries from this time on.
    pub since: UnixMillis,
    /// What filled [`PAGE`].
    pub page: &'p str,
}

/// One answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Page<'a> {
    /// In the order of the answer.
    pub entries: Vec<Past<'a>>,
    /// What fills [`PAGE`] next; `None`: that was all.
    pub next: Option<String>,
}

/// One entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Past<'a> {
    /// When it was; `None`: it does not say.
    pub at: Option<UnixMillis>,
    /// The name of the frame that it was on the stream.
    pub event: Cow<'a, str>,
    /// The entry.
    pub data: Cow<'a, str>,
}

/// Parts of a history that are to be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PastKeys {
    /// Their names: what fills [`KEY`].
    pub names: BTreeSet<String>,
    /// Whether nothing that is known of lies outside them.
    pub is_all: bool,
}

impl PastKeys {
    /// These and no others.
    #[must_use]
    pub fn all(names: impl IntoIterator<Item = String>) -> Self {
        Self { names: names.into_iter().collect(), is_all: true }
    }

    /// Adds those of another log.
    pub fn join(&mut self, other: Self) {
        self.names.extend(other.names);
        self.is_all &= other.is_all;
    }
}

/// The calls of a history.
#[derive(Clone, Default)]
pub struct HistoryPlan {
    /// For all of it, or for what belongs to no part.
    pub whole: Option<CallPlan>,
    /// For one part.
    pub part: Option<CallPlan>,
    /// Names the parts there are ([`History::read_index`]), beside those that were seen.
    pub index: Option<CallPlan>,
}

/// The calls with a client's values in them. No `Debug`: they hold credentials.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HistoryCalls {
    /// As in the plan.
    pub whole: Option<Call>,
    /// As in the plan.
    pub part: Option<Call>,
    /// As in the plan.
    pub index: Option<Call>,
}

impl HistoryPlan {
    /// Fills in a client's values. `base_path` is the path of the source's `url`.
    ///
    /// # Errors
    /// A value that is absent or cannot stand where it is wanted.
    pub fn resolve(
        &self,
        base_path: &str,
        variables: &dyn Variables,
    ) -> Result<HistoryCalls, ResolveError> {
        let resolve = |call: &Option<CallPlan>| {
            call.as_ref().map(|call| call.resolve(base_path, variables)).transpose()
        };
        Ok(HistoryCalls {
            whole: resolve(&self.whole)?,
            part: resolve(&self.part)?,
            index: resolve(&self.index)?,
        })
    }
}
