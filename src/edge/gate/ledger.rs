//! What a request has spent of budgets that several nodes share, to be counted for all of them.
//!
//! The gate counts for itself first, without waiting; what it refuses is asked of nobody. What it
//! let pass stands here, in the order in which it was asked about, and is then asked of the other
//! nodes in one go. Not here: how (`edge::cluster`).

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::rate::{KEYS_MAX, Key, Table};
use crate::edge::refusal::{Policy, Quota};

/// One thing that was spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spend {
    /// Of whose budget.
    pub(crate) policy: Policy,
    /// Which one's. The same on all nodes.
    pub(crate) key: Key,
    /// What the budget is.
    pub(crate) quota: Quota,
    /// How much.
    pub(crate) taken: Taken,
}

/// How much was spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// One of so many in so long.
    Once(Pace),
    /// An open stream.
    Stream {
        /// How many this node has, with it.
        count: u32,
        /// How many all nodes may have.
        max: u32,
    },
}

/// How fast a budget grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    /// The time in which it grows by one.
    pub(crate) interval: Duration,
    /// The time in which it grows from nothing to its burst.
    pub(crate) whole: Duration,
}

/// What one request has spent.
#[derive(Default)]
pub(crate) struct Ledger {
    spends: Mutex<Vec<Spend>>,
    /// Policies whose outcome was told already.
    told: Mutex<Vec<Policy>>,
}

impl Ledger {
    pub(super) fn note(&self, spend: Spend) {
        lock(&self.spends).push(spend);
    }

    pub(super) fn has(&self, policy: Policy) -> bool {
        lock(&self.spends).iter().any(|spend| spend.policy == policy)
    }

    pub(super) fn on_told(&self, policy: Policy) {
        lock(&self.told).push(policy);
    }

    pub(super) fn is_told(&self, policy: Policy) -> bool {
        lock(&self.told).contains(&policy)
    }

    /// What was spent since this was asked last.
    pub(crate) fn take(&self) -> Vec<Spend> {
        std::mem::take(&mut *lock(&self.spends))
    }
}

/// Whose open streams have changed in number, for all nodes to know.
#[derive(Default)]
pub(crate) struct Changes {
    tables: Mutex<Vec<(Policy, Arc<Table>)>>,
    keys: Mutex<HashSet<(Policy, Key)>>,
    some: Notify,
}

impl Changes {
    /// Follows a table.
    pub(super) fn watch(&self, policy: Policy, table: &Arc<Table>) {
        lock(&self.tables).push((policy, table.clone()));
    }

    /// The number of a key has changed. Past as many keys as a table holds the oldest news are
    /// all that counts: all numbers are told again soon.
    pub(super) fn mark(&self, policy: Policy, key: &Key) {
        let mut keys = lock(&self.keys);
        if keys.len() < KEYS_MAX.get() && keys.insert((policy, *key)) {
            drop(keys);
            self.some.notify_one();
        }
    }

    /// Every number is to be told again.
    pub(crate) fn mark_all(&self) {
        for (policy, table) in lock(&self.tables).iter() {
            table.each_counted(|key| {
                lock(&self.keys).insert((*policy, *key));
            });
        }
    }

    /// What has changed, each with how many there are now.
    pub(crate) fn take(&self) -> Vec<(Policy, Key, u32)> {
        let keys = std::mem::take(&mut *lock(&self.keys));
        let tables = lock(&self.tables);
        let now = keys.into_iter().filter_map(|(policy, key)| {
            let (_, table) = tables.iter().find(|(of, _)| *of == policy)?;
            Some((policy, key, table.count(&key)))
        });
        now.collect()
    }

    /// Until something may have changed.
    pub(crate) async fn some(&self) {
        self.some.notified().await;
    }
}

/// Nothing panics while one of these is locked; were it so, what is in it would still hold.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
