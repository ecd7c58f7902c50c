//! Fills the gap after a loss from the backend's history, before live events go on.
//!
//! Each attached log asks for its own conversation; equal calls are made once. Entries are
//! sorted by time and mapped by the log's own session, which knows what the stream told. What
//! can be had is told; that something could not be had in time, or not at all, is a `gap`.
//! Not here: what an entry means, how pages follow (the dialects).

use std::sync::Arc;
use std::time::Duration;

use super::cell::{Behind, Lapse};
use super::{Life, UpstreamCell};
use crate::edge::clock;
use crate::proto::backend::{Call, HistoryCalls, KEY, PAGE, PastKeys, Wanted};
use crate::proto::time::UnixMillis;

/// Live events wait no longer than this for those before them, however many logs missed some.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(15);
/// Pages of one history; a gap that is larger is told as one.
const PAGES_MAX: usize = 20;
/// Bytes of one page: Bright Pattern sends a whole chat at once.
const PAGE_BYTES_MAX: usize = 8 << 20;
/// Clocks of backends may differ from ours by so much. What was told before is recognised.
pub(super) const SLACK_MILLIS: i64 = 30_000;

/// An entry on its way to the logs.
pub(super) struct PastEvent {
    /// The part of the history that it was found in.
    pub(super) part: Arc<str>,
    pub(super) at: Option<UnixMillis>,
    pub(super) event: String,
    pub(super) data: String,
}

/// What the logs missed, log by log.
pub(super) struct Missed {
    all: Vec<(Behind, Fetched)>,
}

impl Missed {
    /// Whether nothing is missing in it.
    pub(super) fn is_whole(&self) -> bool {
        self.all.iter().all(|(_, fetched)| fetched.is_whole)
    }
}

/// Fetches what each log missed.
pub(super) async fn gather(life: &Life<'_>, lapse: Lapse) -> Missed {
    let mut all = Vec::new();
    let deadline = tokio::time::Instant::now() + CATCH_UP_TIMEOUT;
    for behind in life.cell.histories(lapse) {
        let mut fetched = Fetched { events: Vec::new(), is_whole: behind.calls().is_some() };
        if let Some(calls) = behind.calls() {
            let from = UnixMillis(behind.since.0 - SLACK_MILLIS);
            let wanted = (from, behind.is_restored);
            let fetching = fetch(life, calls, &behind.keys, wanted, &mut fetched);
            let is_in_time = tokio::time::timeout_at(deadline, fetching).await.is_ok();
            fetched.is_whole &= is_in_time;
            // Stable: entries of one moment stay in the backend's order.
            fetched.events.sort_by_key(|event| event.at);
        }
        all.push((behind, fetched));
    }
    Missed { all }
}

/// Tells each log what it missed, and that there may be more.
pub(super) fn tell(cell: &UpstreamCell, missed: &Missed, is_resumed: bool) {
    for (behind, fetched) in &missed.all {
        // A backend that goes on by itself may not reach back far enough; where it has a history,
        // that makes sure.
        let is_sure = fetched.is_whole || (is_resumed && behind.calls().is_none());
        if behind.is_restored {
            cell.on_restored(behind, &fetched.events, is_sure, is_resumed);
            continue;
        }
        if !is_sure {
            cell.on_gap(behind);
        }
        cell.on_past(behind, &fetched.events, clock::moment());
    }
}

struct Fetched {
    /// In the order of their times.
    events: Vec<PastEvent>,
    /// Nothing was left out that is known of.
    is_whole: bool,
}

/// All entries from then on. What cannot be had spoils nothing that can.
async fn fetch(
    life: &Life<'_>,
    calls: &HistoryCalls,
    keys: &PastKeys,
    wanted: (UnixMillis, bool),
    fetched: &mut Fetched,
) {
    let source = &life.cell.source;
    let mut names = keys.names.clone();
    let mut is_whole = keys.is_all;
    if let Some(index) = &calls.index {
        let listed = list(life, index).await;
        is_whole = listed.is_some();
        names.extend(listed.unwrap_or_default());
    }
    if let Some(whole) = &calls.whole {
        is_whole &= fetch_part(life, whole, "", wanted, fetched).await.unwrap_or(false);
    }
    if let Some(part) = &calls.part {
        for name in &names {
            is_whole &= fetch_part(life, part, name, wanted, fetched).await.unwrap_or(false);
        }
    }
    if !is_whole {
        log::warn!(source = source.name.as_str(); "source does not tell all of its history");
    }
    fetched.is_whole &= is_whole;
}

/// The names of the parts there are; `None` if they cannot be had.
async fn list(life: &Life<'_>, index: &Call) -> Option<Vec<String>> {
    let history = life.cell.source.dialect.history?;
    let answer = ask(life, index, &[]).await?;
    (history.read_index)(&answer)
}

/// Reads one part to its end, or as far as it goes. Whether that is all of it; `None` if a page
/// cannot be had.
async fn fetch_part(
    life: &Life<'_>,
    call: &Call,
    key: &str,
    (since, is_restored): (UnixMillis, bool),
    fetched: &mut Fetched,
) -> Option<bool> {
    let history = life.cell.source.dialect.history?;
    let part: Arc<str> = key.into();
    let mut page = (history.first_page)(since);
    let first = fetched.events.len();
    let mut is_whole = false;
    for _ in 0..PAGES_MAX {
        let answer = ask(life, call, &[(PAGE, &page), (KEY, key)]).await?;
        let read = (history.read)(&answer, &Wanted { since, page: &page })?;
        let reaches_back = read.entries.iter().any(|entry| entry.at.is_some_and(|at| at < since));
        // A session that has seen nothing yet learns from older entries who takes part.
        let in_time = |at: Option<UnixMillis>| is_restored || at.is_none_or(|at| at >= since);
        let events = read.entries.into_iter().filter(|entry| in_time(entry.at));
        fetched.events.extend(events.map(|entry| PastEvent {
            part: part.clone(),
            at: entry.at,
            event: entry.event.into_owned(),
            data: entry.data.into_owned(),
        }));
        match read.next {
            Some(next) if call.has_hole(PAGE) => page = next,
            // A call that knows no pages gives the same again.
            Some(_) => {
                is_whole = reaches_back;
                break;
            }
            None => {
                is_whole = true;
                break;
            }
        }
    }
    if history.is_newest_first
        && let Some(part) = fetched.events.get_mut(first..)
    {
        part.reverse();
    }
    Some(is_whole)
}

/// One answer; `None` if it cannot be had.
async fn ask(life: &Life<'_>, call: &Call, holes: &[(&'static str, &str)]) -> Option<String> {
    let held = life.keys.as_ref().and_then(|keys| keys.credential()).unwrap_or_default();
    let message =
        call.fill(&held.with(holes.iter().map(|(name, value)| (*name, (*value).into()))))?;
    let source = &life.cell.source;
    let budget = life.dialer.budget(source);
    let leave = budget.history().await;
    let (head, answered) = life.dialer.call(source, &message, PAGE_BYTES_MAX).await.ok()?;
    drop(leave);
    if head.status != 200 || answered.is_oversize {
        let (source, status) = (source.name.as_str(), head.status);
        log::debug!(source, status; "source refuses its history");
        return None;
    }
    Some(String::from_utf8_lossy(&answered.body).into_owned())
}
