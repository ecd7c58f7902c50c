//! What wakes client streams: one place to wait at, whatever there is to see.
//!
//! A stream looks at its log, at reloads, drains and more; each tells it by its [`Bell`], which
//! is registered once and stays so, where a channel for each thing would be joined and left
//! with every event. Rung before it is waited for, it counts. Not here: what there is to see.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use atomic_waker::AtomicWaker;

/// Wakes one stream.
#[derive(Default)]
pub(crate) struct Bell {
    waker: AtomicWaker,
    is_rung: AtomicBool,
}

impl Bell {
    /// Whoever waits is woken, now or as soon as it waits.
    pub(crate) fn ring(&self) {
        self.is_rung.store(true, Ordering::Release);
        self.waker.wake();
    }

    /// Whether it was rung since it was last asked.
    pub(crate) fn take(&self) -> bool {
        self.is_rung.swap(false, Ordering::AcqRel)
    }

    /// Who is to be woken. To be said before looking.
    pub(crate) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }
}

/// The bells of all streams at one log.
#[derive(Default)]
pub(super) struct Bells(Mutex<Vec<Arc<Bell>>>);

impl Bells {
    /// One more.
    pub(super) fn add(&self) -> Arc<Bell> {
        let bell = Arc::new(Bell::default());
        self.all().push(bell.clone());
        bell
    }

    /// One less.
    pub(super) fn remove(&self, bell: &Arc<Bell>) {
        let mut all = self.all();
        if let Some(at) = all.iter().position(|other| Arc::ptr_eq(other, bell)) {
            all.swap_remove(at);
        }
    }

    /// Rings all. Hot path: runs once per batch of events.
    pub(super) fn ring(&self) {
        for bell in &*self.all() {
            bell.ring();
        }
    }

    fn all(&self) -> MutexGuard<'_, Vec<Arc<Bell>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicUsize;
    use std::task::Wake;

    use super::*;

    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_bell_rung_before_the_wait_is_heard() {
        let bells = Bells::default();
        let (bell, other) = (bells.add(), bells.add());
        let count = Arc::new(Count(AtomicUsize::new(0)));
        bells.ring();
        bell.register(&count.clone().into());
        assert!(bell.take());
        assert!(!bell.take(), "once");
        bells.ring();
        assert_eq!(count.0.load(Ordering::Relaxed), 1);
        bells.remove(&bell);
        bells.ring();
        assert_eq!(count.0.load(Ordering::Relaxed), 1, "one that has left is not woken");
        assert!(other.take());
    }
}
