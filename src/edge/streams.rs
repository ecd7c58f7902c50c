//! Open client streams: whose they are, so that they can be ended.
//!
//! Each is here from before its first byte until it is gone, however it goes. Not here: who may
//! end streams (`admin`), what a stream does then (`client`).

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::bell::Bell;
use super::gate::{Grant, Whose};
use crate::proto::event::Subscription;

/// The open streams of the process.
#[derive(Default)]
pub(crate) struct Streams(Mutex<Table>);

#[derive(Default)]
struct Table {
    streams: HashMap<u64, Arc<Owner>>,
    next: u64,
}

/// Whose a stream is, and whether it is to end.
struct Owner {
    grant: Grant,
    subscription: Arc<Subscription>,
    is_ended: AtomicBool,
    bell: Arc<Bell>,
}

/// A stream's place among the open ones. Dropping it leaves.
pub(crate) struct Entry {
    streams: Arc<Streams>,
    owner: Arc<Owner>,
    number: u64,
}

impl Streams {
    /// Takes a stream in, which is told by its bell.
    pub(crate) fn enter(
        self: &Arc<Self>,
        grant: Grant,
        subscription: Arc<Subscription>,
        bell: Arc<Bell>,
    ) -> Entry {
        let owner = Arc::new(Owner { grant, subscription, is_ended: AtomicBool::new(false), bell });
        let mut table = self.table();
        let number = table.next;
        table.next += 1;
        table.streams.insert(number, owner.clone());
        drop(table);
        Entry { streams: self.clone(), owner, number }
    }

    /// Ends the streams that are meant, and says how many they are. One that was told before
    /// does not count again.
    pub(crate) fn end(&self, whose: &Whose) -> usize {
        let table = self.table();
        let meant = table.streams.values().filter(|owner| {
            owner.grant.is_of(whose, &owner.subscription)
                && !owner.is_ended.swap(true, Ordering::SeqCst)
        });
        meant.inspect(|owner| owner.bell.ring()).count()
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// By what it was opened.
    pub(crate) fn grant(&self) -> &Grant {
        &self.owner.grant
    }

    /// Whether somebody has ended it.
    pub(crate) fn is_ended(&self) -> bool {
        self.owner.is_ended.load(Ordering::SeqCst)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.streams.table().streams.remove(&self.number);
    }
}
