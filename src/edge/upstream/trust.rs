//! Whom backends are trusted by, and the certificates that they are shown.
//!
//! Read at the start and on each reload, all before any of it is used, so that a reload changes
//! all or nothing. Files that are as they were keep their connections; others get new ones, and
//! what is open goes on. A private key stays in OpenSSL's memory and is never written out again.
//! Not here: connections (`http`).

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pingora::connectors::ConnectorOptions;
use pingora::connectors::http::Connector;
use pingora::protocols::tls::CaType;
use pingora::utils::tls::CertKey;
use sha2::{Digest as _, Sha256};

use crate::config::Tls;

/// Idle connections kept for polling.
const POOL_SIZE: usize = 128;

/// Those of one file, or of the system.
pub(super) struct Trust {
    /// Of the file, if there is one.
    digest: Option<[u8; 32]>,
    pub(super) connector: Arc<Connector>,
    /// For connections that Pingora opens by itself; `None` = the system's.
    pub(super) authorities: Option<Arc<CaType>>,
}

/// Authorities and certificates, by their files. Bounded by what configurations name.
#[derive(Default)]
pub(crate) struct Trusts {
    trusts: HashMap<Option<PathBuf>, Arc<Trust>>,
    identities: HashMap<(PathBuf, PathBuf), Arc<CertKey>>,
}

/// What is in use.
#[derive(Default)]
pub(super) struct Trusted(Mutex<Trusts>);

impl Trusted {
    fn lock(&self) -> MutexGuard<'_, Trusts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The authorities in use, read if they never were.
    ///
    /// # Errors
    /// A file that cannot be read or used.
    pub(super) fn trust(&self, ca: Option<&PathBuf>) -> Result<Arc<Trust>, String> {
        let mut known = self.lock();
        if let Some(trust) = known.trusts.get(&ca.cloned()) {
            return Ok(trust.clone());
        }
        let trust = Arc::new(Trust::of(ca, read(ca)?)?);
        known.trusts.insert(ca.cloned(), trust.clone());
        Ok(trust)
    }

    /// The certificate in use, read if it never was.
    ///
    /// # Errors
    /// A file that cannot be read or used, or a key of another certificate.
    pub(super) fn identity(&self, files: &Tls) -> Result<Arc<CertKey>, String> {
        let key = (files.cert.clone(), files.key.clone());
        let mut known = self.lock();
        if let Some(identity) = known.identities.get(&key) {
            return Ok(identity.clone());
        }
        let identity = Arc::new(read_identity(files)?);
        known.identities.insert(key, identity.clone());
        Ok(identity)
    }

    /// Reads files anew. They go to `renewed`; nothing of it is in use by that.
    ///
    /// # Errors
    /// As of [`trust`](Self::trust) and [`identity`](Self::identity), with the option's name.
    pub(super) fn renew(
        &self,
        ca: Option<&PathBuf>,
        identity: Option<&Tls>,
        renewed: &mut Trusts,
    ) -> Result<(), String> {
        if let Entry::Vacant(wanted) = renewed.trusts.entry(ca.cloned()) {
            let known = self.lock().trusts.get(wanted.key()).cloned();
            let trust = read(ca).and_then(|pem| match known {
                Some(known) if known.digest == digest(pem.as_deref()) => Ok(known),
                Some(_) | None => Trust::of(ca, pem).map(Arc::new),
            });
            wanted.insert(trust.map_err(|error| format!("ca: {error}"))?);
        }
        if let Some(files) = identity {
            let read = read_identity(files).map_err(|error| format!("client_cert: {error}"))?;
            let key = (files.cert.clone(), files.key.clone());
            renewed.identities.insert(key, Arc::new(read));
        }
        Ok(())
    }

    /// Puts in use what was read.
    pub(super) fn adopt(&self, renewed: Trusts) {
        let mut known = self.lock();
        known.trusts.extend(renewed.trusts);
        known.identities.extend(renewed.identities);
    }
}

impl Trust {
    /// That of a file with this text.
    fn of(ca: Option<&PathBuf>, pem: Option<Vec<u8>>) -> Result<Self, String> {
        let shown = ca.map_or_else(String::new, |path| path.display().to_string());
        let authorities = pem.as_deref().map(authorities).transpose();
        let authorities = authorities.map_err(|error| format!("{shown}: {error}"))?;
        let mut options = ConnectorOptions::new(POOL_SIZE);
        options.ca_file = ca.map(|path| path.to_string_lossy().into_owned());
        // Pingora panics over a file that it cannot use.
        let made = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            Connector::new(Some(options))
        }));
        let connector = made.map_err(|_| {
            format!("{shown}: no certificate authorities can be read from this file")
        })?;
        Ok(Self { digest: digest(pem.as_deref()), connector: Arc::new(connector), authorities })
    }
}

fn read(ca: Option<&PathBuf>) -> Result<Option<Vec<u8>>, String> {
    let read =
        ca.map(|path| std::fs::read(path).map_err(|error| format!("{}: {error}", path.display())));
    read.transpose()
}

fn digest(pem: Option<&[u8]>) -> Option<[u8; 32]> {
    pem.map(|pem| Sha256::digest(pem).into())
}

#[cfg(feature = "openssl")]
fn authorities(pem: &[u8]) -> Result<Arc<CaType>, String> {
    use pingora::tls::x509::X509;
    let all = X509::stack_from_pem(pem).map_err(|error| error.to_string())?;
    Ok(Arc::new(all.into_boxed_slice()))
}

#[cfg(not(feature = "openssl"))]
fn authorities(_pem: &[u8]) -> Result<Arc<CaType>, String> {
    Err("this build has no TLS".to_owned())
}

#[cfg(feature = "openssl")]
fn read_identity(files: &Tls) -> Result<CertKey, String> {
    let pair = crate::config::Pair::read(files)?;
    Ok(CertKey::new(pair.chain, pair.key))
}

#[cfg(not(feature = "openssl"))]
fn read_identity(_: &Tls) -> Result<CertKey, String> {
    Err("this build has no TLS".to_owned())
}
