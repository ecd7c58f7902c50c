//! The certificates of the listeners: which are in use, and how others take their place.
//!
//! New ones come by a reload of the configuration, or because the files have changed: then they
//! are taken once they have stood still for a moment and belong together. Whatever is wrong with
//! them, those in use stay. Only new handshakes see a change. Not here: the handshake itself
//! (`acceptor`), what a certificate holds (`config`).

#[cfg(feature = "openssl")]
mod acceptor;
#[cfg(not(feature = "openssl"))]
#[path = "without.rs"]
mod acceptor;
mod files;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use pingora::protocols::Stream;
use pingora::protocols::l4::stream::Stream as Socket;
use tokio::sync::Notify;
use tokio::time::timeout;

use self::acceptor::Acceptor;
use self::files::{Digest, Files};
use crate::config::{Config, ListenTls};
use crate::telemetry::{Handshake, Metrics};

/// Files that change are looked at again after this, lest half of them be taken: whoever
/// renews a certificate writes one file after the other.
const SETTLE: Duration = Duration::from_secs(1);

/// The certificates of all listeners.
pub(in crate::edge) struct Certificates {
    /// By the place of the listener in the configuration of the start.
    slots: Vec<Option<Arc<Slot>>>,
}

/// The certificates of one listener.
pub(in crate::edge) struct Slot {
    /// Its address as written, and how many listeners before it have the same: a port of 0 may
    /// be written more than once.
    address: (String, usize),
    in_use: ArcSwap<InUse>,
    /// What was refused last, so that it is told once.
    refused: Mutex<Option<Digest>>,
    changed: Notify,
    metrics: Arc<Metrics>,
}

struct InUse {
    tls: ListenTls,
    digest: Digest,
    acceptor: Acceptor,
    /// When each certificate's chain ends.
    ends: Vec<i64>,
}

/// What a configuration wants in use.
pub(in crate::edge) struct Renewed(Vec<(Arc<Slot>, InUse)>);

impl InUse {
    fn of(tls: &ListenTls, files: Files) -> Result<Self, String> {
        let digest = files.digest();
        let (acceptor, ends) = Acceptor::build(tls, &files.read?)?;
        Ok(Self { tls: tls.clone(), digest, acceptor, ends })
    }
}

impl Certificates {
    /// Reads the certificates of all listeners.
    ///
    /// # Errors
    /// A file that cannot be read or used, and where the conf names it.
    pub(in crate::edge) fn new(config: &Config, metrics: &Arc<Metrics>) -> Result<Self, String> {
        let mut slots = Vec::new();
        for (index, listen) in config.listen.iter().enumerate() {
            let Some(tls) = &listen.tls else {
                slots.push(None);
                continue;
            };
            let in_use = InUse::of(tls, Files::read(tls)).map_err(|error| at(index, &error))?;
            metrics.tls.on_certificates(&listen.address, &in_use.ends, 0);
            slots.push(Some(Arc::new(Slot {
                address: address(config, index),
                in_use: ArcSwap::from_pointee(in_use),
                refused: Mutex::default(),
                changed: Notify::new(),
                metrics: metrics.clone(),
            })));
        }
        Ok(Self { slots })
    }

    /// The certificates of a listener, by its place.
    pub(in crate::edge) fn slot(&self, index: usize) -> Option<Arc<Slot>> {
        self.slots.get(index).cloned().flatten()
    }

    /// Reads what a configuration wants in use. Nothing is in use by that yet.
    ///
    /// # Errors
    /// As of [`new`](Self::new).
    pub(in crate::edge) fn renew(&self, config: &Config) -> Result<Renewed, String> {
        let mut renewed = Vec::new();
        for slot in self.slots.iter().flatten() {
            // A listener that is gone stays as it is until the process ends.
            let wanted = config.listen.iter().enumerate();
            let mut wanted = wanted.filter(|(index, _)| address(config, *index) == slot.address);
            let Some((index, tls)) =
                wanted.find_map(|(index, one)| Some((index, one.tls.as_ref()?)))
            else {
                continue;
            };
            let files = Files::read(tls);
            let now = slot.in_use.load();
            // Sessions are resumed as long as nothing has changed.
            if now.digest != files.digest() || now.tls != *tls {
                let in_use = InUse::of(tls, files).map_err(|error| at(index, &error))?;
                renewed.push((slot.clone(), in_use));
            } else {
                slot.forget_refused();
            }
        }
        Ok(Renewed(renewed))
    }

    /// Puts in use what was read.
    pub(in crate::edge) fn adopt(&self, renewed: Renewed) {
        for (slot, in_use) in renewed.0 {
            let before = slot.in_use.swap(Arc::new(in_use));
            slot.on_taken(&before);
            slot.changed.notify_one();
        }
    }

    /// Looks at the files of all listeners from time to time, for as long as the runtime lives.
    pub(in crate::edge) fn watch(&self) {
        for slot in self.slots.iter().flatten() {
            tokio::spawn(slot.clone().watch());
        }
    }
}

impl Slot {
    /// The handshake with a client, which may take this long at most.
    ///
    /// # Errors
    /// Why there is no connection; it was counted.
    pub(in crate::edge) async fn accept(
        &self,
        socket: Socket,
        patience: Duration,
    ) -> Result<Stream, Handshake> {
        let in_use = self.in_use.load_full();
        let accepted = timeout(patience, in_use.acceptor.accept(socket)).await;
        let accepted = accepted.unwrap_or(Err(Handshake::Timeout));
        let outcome = accepted.as_ref().err().copied().unwrap_or(Handshake::Success);
        self.metrics.tls.on_handshake(outcome);
        if accepted.is_err() {
            let reason = outcome.as_str();
            log::debug!(listener = self.name(), reason; "a TLS handshake has failed");
        }
        accepted
    }

    fn name(&self) -> &str {
        &self.address.0
    }

    async fn watch(self: Arc<Self>) {
        loop {
            let period = self.in_use.load().tls.watch;
            tokio::select! {
                () = tokio::time::sleep(period) => self.look().await,
                () = self.changed.notified() => {}
            }
        }
    }

    /// Takes files that have changed, once they stand still.
    async fn look(&self) {
        let now = self.in_use.load_full();
        let mut files = self.read(&now).await;
        loop {
            if files.digest() == now.digest {
                return self.forget_refused();
            }
            if *self.refused() == Some(files.digest()) {
                return;
            }
            tokio::time::sleep(SETTLE).await;
            let again = self.read(&now).await;
            let is_still = again.digest() == files.digest();
            files = again;
            if is_still {
                break;
            }
        }
        self.take(&now, files);
    }

    async fn read(&self, now: &Arc<InUse>) -> Files {
        let now = now.clone();
        let read = tokio::task::spawn_blocking(move || Files::read(&now.tls)).await;
        read.unwrap_or_else(|error| Files { read: Err(error.to_string()) })
    }

    fn take(&self, now: &Arc<InUse>, files: Files) {
        let (listener, digest) = (self.name(), files.digest());
        match InUse::of(&now.tls, files) {
            Ok(in_use) => {
                let before = self.in_use.compare_and_swap(now, Arc::new(in_use));
                // A reload that came in between has read the files as well.
                if Arc::ptr_eq(&before, now) {
                    self.on_taken(now);
                }
            }
            Err(error) => {
                *self.refused() = Some(digest);
                self.metrics.tls.on_reload(listener, false);
                let error = error.as_str();
                log::error!(listener, error; "changed certificates refused, the old ones stay");
            }
        }
    }

    fn on_taken(&self, before: &InUse) {
        let (listener, now) = (self.name(), self.in_use.load());
        *self.refused() = None;
        self.metrics.tls.on_certificates(listener, &now.ends, before.ends.len());
        self.metrics.tls.on_reload(listener, true);
        let certificates = now.ends.len();
        log::info!(listener, certificates; "new certificates are in use");
    }

    /// The files are again as those in use.
    fn forget_refused(&self) {
        if self.refused().take().is_some() {
            self.metrics.tls.on_restored(self.name());
        }
    }

    fn refused(&self) -> std::sync::MutexGuard<'_, Option<Digest>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn at(index: usize, error: &str) -> String {
    format!("listen[{index}].tls: {error}")
}

/// What a listener is known by across configurations.
fn address(config: &Config, index: usize) -> (String, usize) {
    let address = config.listen.get(index).map(|listen| listen.address.clone()).unwrap_or_default();
    let before = config.listen.iter().take(index).filter(|listen| listen.address == address);
    let nth = before.count();
    (address, nth)
}
