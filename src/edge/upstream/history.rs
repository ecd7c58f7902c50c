//! Fills the gap after a loss from the backend's history, before live events go on.
//!
//! Each attached log asks for its own conversation; equal calls are made once. Entries are
//! sorted by time and mapped by the log's own session, which knows what the stream told. What
//! cannot be fetched in time is a `gap`, as where there is no history at all.
//! Not here: what an entry means, how pages follow (the dialects).

use std::collections::BTreeSet;
use std::time::Duration;

use super::cell::Behind;
use super::{Life, UpstreamCell};
use crate::edge::clock;
use crate::proto::backend::{Call, Credential, HistoryCalls, KEY, PAGE, Wanted};
use crate::proto::time::UnixMillis;

/// Live events wait no longer than this for those before them.
const CATCH_UP_TIMEOUT: Duration = Duration::from_secs(15);
/// Pages of one history; a gap that is larger is told as one.
const PAGES_MAX: usize = 20;
/// Bytes of one page: Bright Pattern sends a whole chat at once.
const PAGE_BYTES_MAX: usize = 8 << 20;
/// Clocks of backends may differ from ours by so much. What was told before is recognised.
const SLACK_MILLIS: i64 = 30_000;

/// An entry on its way to the logs.
pub(super) struct PastEvent {
    pub(super) at: Option<UnixMillis>,
    pub(super) event: String,
    pub(super) data: String,
}

/// What the logs missed, log by log.
pub(super) struct Missed {
    since: UnixMillis,
    all: Vec<(Behind, Fetched)>,
}

impl Missed {
    /// Whether nothing is missing in it.
    pub(super) fn is_whole(&self) -> bool {
        self.all.iter().all(|(_, fetched)| fetched.is_whole)
    }
}

/// Fetches what each log missed since then.
pub(super) async fn gather(life: &Life<'_>, since: UnixMillis) -> Missed {
    let mut all = Vec::new();
    for behind in life.cell.histories() {
        let fetched = match &behind.calls {
            Some(calls) => {
                let from = UnixMillis(since.0 - SLACK_MILLIS);
                let fetching = fetch(life, calls, &behind.keys, from);
                tokio::time::timeout(CATCH_UP_TIMEOUT, fetching).await.ok().flatten()
            }
            None => None,
        };
        let fetched = fetched.unwrap_or_else(|| {
            if behind.calls.is_some() {
                let source = life.cell.source.name.as_str();
                log::warn!(source; "source does not tell its history");
            }
            Fetched { events: Vec::new(), is_whole: false }
        });
        all.push((behind, fetched));
    }
    Missed { since, all }
}

/// Tells each log what it missed, and that there may be more.
pub(super) fn tell(cell: &UpstreamCell, missed: &Missed, is_resumed: bool) {
    for (behind, fetched) in &missed.all {
        // Where the backend goes on by itself, its history is only to make sure.
        if !fetched.is_whole && !is_resumed {
            cell.on_gap(behind, missed.since);
        }
        cell.on_past(behind, &fetched.events, clock::moment());
    }
}

struct Fetched {
    /// In the order of their times.
    events: Vec<PastEvent>,
    /// Nothing was left out for a limit's sake.
    is_whole: bool,
}

/// All entries from then on; `None` if a page cannot be had.
async fn fetch(
    life: &Life<'_>,
    calls: &HistoryCalls,
    keys: &BTreeSet<String>,
    since: UnixMillis,
) -> Option<Fetched> {
    let mut fetched = Fetched { events: Vec::new(), is_whole: true };
    fetch_part(life, &calls.whole, "", since, &mut fetched).await?;
    if let Some(part) = &calls.part {
        for key in keys {
            fetch_part(life, part, key, since, &mut fetched).await?;
        }
    }
    // Stable: entries of one moment stay in the backend's order.
    fetched.events.sort_by_key(|event| event.at);
    Some(fetched)
}

async fn fetch_part(
    life: &Life<'_>,
    call: &Call,
    key: &str,
    since: UnixMillis,
    fetched: &mut Fetched,
) -> Option<()> {
    let UpstreamCell { source, .. } = life.cell;
    let history = source.dialect.history?;
    let nothing = Credential::default();
    let held = life.keys.as_ref().and_then(|keys| keys.credential()).unwrap_or(&nothing);
    let mut page = (history.first_page)(since);
    let first = fetched.events.len();
    for number in 1..=PAGES_MAX {
        let message = call.fill(&held.with([(PAGE, page.clone()), (KEY, key.to_owned())]))?;
        let (head, answered) = life.dialer.call(source, &message, PAGE_BYTES_MAX).await.ok()?;
        if head.status != 200 || answered.is_oversize {
            return None;
        }
        let body = String::from_utf8_lossy(&answered.body);
        let read = (history.read)(&body, &Wanted { since, page: &page })?;
        let in_time = |at: Option<UnixMillis>| at.is_none_or(|at| at >= since);
        let events = read.entries.into_iter().filter(|entry| in_time(entry.at));
        fetched.events.extend(events.map(|entry| PastEvent {
            at: entry.at,
            event: entry.event.into_owned(),
            data: entry.data.into_owned(),
        }));
        fetched.is_whole &= read.next.is_none() || number < PAGES_MAX;
        match read.next {
            Some(next) => page = next,
            None => break,
        }
    }
    if history.is_newest_first
        && let Some(part) = fetched.events.get_mut(first..)
    {
        part.reverse();
    }
    Some(())
}
