//! Tickets: for a moment, and once, in place of a credential that must not stand in a URL.
//!
//! A ticket stands for the credential that asked for it, and for one stream: route, subscription
//! and whatever else the sources may read of the query. It is gone with its first use, right or
//! wrong. Only its digest is kept. The table is bounded: past its limits the oldest ticket goes,
//! of the same stream and the same tenant first. Not here: who may have one (`gate`).

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::Clock as _;
use governor::nanos::Nanos;
use sha2::{Digest as _, Sha256};

use super::identity::Grant;
use super::query::Query;
use super::warrant::Warrant;
use crate::edge::clock::Ticks;
use crate::edge::digest::Digest;
use crate::proto::event::Subscription;

/// The parameter in which a ticket comes.
pub(super) const PARAMETER: &str = "ticket";

/// Time enough for a page to open its stream, too short to find a ticket in a log and use it.
pub(crate) const TICKET_LIFE: Duration = Duration::from_secs(30);

/// Tickets of one stream: a page that asks and asks pushes out its own.
const OF_STREAM_MAX: usize = 16;
/// Tickets of one tenant, so that one's flood leaves the others theirs.
const OF_TENANT_MAX: usize = 10_000;
/// Tickets in all: more than two thousand new streams a second.
const TICKETS_MAX: usize = 65_536;
/// Bytes of the credentials behind them, which are tokens of up to 8 KiB.
const BYTES_MAX: usize = 64 << 20;

/// 256 bits, so that none can be guessed.
pub(super) const TICKET_BYTES: usize = 32;

/// Parameters that only say how a stream is shown. They may differ between ticket and stream.
const FREE: &[&str] =
    &[PARAMETER, "heartbeatSeconds", "types", "vocabulary", "errors", "lastEventId"];
/// Parameters that stand in the subscription.
const IDS: &[&str] = &["tenantId", "workflow", "participantId"];

/// What a ticket is for: a digest of the stream.
pub(super) type Bound = [u8; 32];

/// The tickets that are out.
pub(super) struct Tickets {
    table: Mutex<Table>,
    ticks: Ticks,
}

#[derive(Default)]
struct Table {
    /// In the order in which they end.
    tickets: BTreeMap<u64, Ticket>,
    by_digest: HashMap<Digest, u64>,
    groups: HashMap<Group, BTreeSet<u64>>,
    bytes: usize,
    next: u64,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Group {
    Tenant(String),
    Stream(Arc<Subscription>),
}

struct Ticket {
    digest: Digest,
    grant: Grant,
    bound: Bound,
    subscription: Arc<Subscription>,
    ends_at: Nanos,
}

impl Tickets {
    pub(super) fn new(ticks: Ticks) -> Self {
        Self { table: Mutex::default(), ticks }
    }

    /// Makes a ticket that is good on this node.
    pub(super) fn issue(&self, warrant: Warrant) -> String {
        let Warrant { grant, subscription, bound } = warrant;
        let text = Warrant::ticket();
        let now = self.ticks.now();
        let ticket = Ticket {
            digest: Digest::of(&text),
            grant,
            bound,
            subscription,
            ends_at: now + Nanos::from(TICKET_LIFE),
        };
        let mut table = self.table();
        table.forget_ended(now);
        table.insert(ticket);
        text
    }

    /// What a ticket stands for. It is gone then.
    pub(super) fn redeem(&self, text: &str) -> Option<(Grant, Bound)> {
        let mut table = self.table();
        table.forget_ended(self.ticks.now());
        let number = *table.by_digest.get(&Digest::of(text))?;
        table.remove(number).map(|ticket| (ticket.grant, ticket.bound))
    }

    /// What a ticket stands for, which it goes on to do.
    pub(super) fn peek(&self, text: &str) -> Option<(Grant, Bound)> {
        let mut table = self.table();
        table.forget_ended(self.ticks.now());
        let number = *table.by_digest.get(&Digest::of(text))?;
        table.tickets.get(&number).map(|ticket| (ticket.grant.clone(), ticket.bound))
    }

    /// Takes back the tickets of which this is true.
    pub(super) fn revoke(&self, is_meant: impl Fn(&Grant, &Subscription) -> bool) {
        let mut table = self.table();
        let meant = |(number, ticket): (&u64, &Ticket)| {
            is_meant(&ticket.grant, &ticket.subscription).then_some(*number)
        };
        let meant: Vec<_> = table.tickets.iter().filter_map(meant).collect();
        for number in meant {
            table.remove(number);
        }
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    fn forget_ended(&mut self, now: Nanos) {
        while let Some((number, ticket)) = self.tickets.first_key_value()
            && ticket.ends_at <= now
        {
            let number = *number;
            self.remove(number);
        }
    }

    fn insert(&mut self, ticket: Ticket) {
        for (group, max) in ticket.groups().into_iter().zip([OF_TENANT_MAX, OF_STREAM_MAX]) {
            let group = self.groups.get(&group).filter(|group| group.len() >= max);
            if let Some(oldest) = group.and_then(|group| group.first().copied()) {
                self.remove(oldest);
            }
        }
        self.bytes += ticket.bytes();
        while (self.tickets.len() >= TICKETS_MAX || self.bytes > BYTES_MAX)
            && let Some((oldest, _)) = self.tickets.first_key_value()
        {
            let oldest = *oldest;
            self.remove(oldest);
        }
        let number = self.next;
        self.next += 1;
        for group in ticket.groups() {
            self.groups.entry(group).or_default().insert(number);
        }
        self.by_digest.insert(ticket.digest, number);
        self.tickets.insert(number, ticket);
    }

    fn remove(&mut self, number: u64) -> Option<Ticket> {
        let ticket = self.tickets.remove(&number)?;
        self.by_digest.remove(&ticket.digest);
        self.bytes -= ticket.bytes();
        for group in ticket.groups() {
            if let Some(numbers) = self.groups.get_mut(&group) {
                numbers.remove(&number);
                if numbers.is_empty() {
                    self.groups.remove(&group);
                }
            }
        }
        Some(ticket)
    }
}

impl Ticket {
    fn groups(&self) -> [Group; 2] {
        let tenant = self.subscription.tenant_id.clone();
        [Group::Tenant(tenant), Group::Stream(self.subscription.clone())]
    }

    fn bytes(&self) -> usize {
        let Subscription { tenant_id, participant_id, workflow_type, workflow_id, .. } =
            &*self.subscription;
        let ids = [tenant_id, participant_id, workflow_type, workflow_id];
        self.grant.bytes() + ids.iter().map(|id| id.len()).sum::<usize>()
    }
}

/// What a stream is bound by: its route, its subscription, and every parameter but those that
/// only say how it is shown, in any order. `own` is a parameter that no source reads, either.
pub(super) fn bound(
    path: &str,
    subscription: &Subscription,
    query: Query<'_>,
    own: Option<&str>,
) -> Bound {
    let mut hash = Sha256::new();
    let mut update = |text: &[u8]| {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text);
    };
    let ids = [&subscription.tenant_id, &subscription.workflow_id, &subscription.participant_id];
    update(path.as_bytes());
    for id in ids {
        update(id.as_bytes());
    }
    let mut pairs: Vec<_> = query
        .pairs()
        .filter(|(name, _)| !FREE.contains(&name.as_ref()) && !IDS.contains(&name.as_ref()))
        .filter(|(name, _)| own != Some(name.as_ref()))
        .collect();
    // Of two values of one name the first counts: their order stays.
    pairs.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (name, value) in &pairs {
        update(name.as_bytes());
        update(value.as_bytes());
    }
    hash.finalize().into()
}
