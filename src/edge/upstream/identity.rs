//! The certificates that backends are shown.
//!
//! Read when a source is prepared, so a reload takes up new ones; kept as Pingora wants them. A
//! private key stays in OpenSSL's memory and is never written out again. Not here: whom we trust
//! (`http`).

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use pingora::utils::tls::CertKey;

use crate::config::Tls;

/// The certificates of all sources, by their files.
#[derive(Default)]
pub(super) struct Identities(Mutex<HashMap<(PathBuf, PathBuf), Arc<CertKey>>>);

impl Identities {
    /// Reads the files anew.
    ///
    /// # Errors
    /// A file that cannot be read or used, or a key of another certificate.
    pub(super) fn renew(&self, files: &Tls) -> Result<Arc<CertKey>, String> {
        let read = Arc::new(read(files)?);
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Bounded by the files that configurations name.
        known.insert((files.cert.clone(), files.key.clone()), read.clone());
        Ok(read)
    }

    /// What was read last.
    ///
    /// # Errors
    /// As of [`renew`](Self::renew).
    pub(super) fn of(&self, files: &Tls) -> Result<Arc<CertKey>, String> {
        let key = (files.cert.clone(), files.key.clone());
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        known.map_or_else(|| self.renew(files), Ok)
    }
}

#[cfg(feature = "openssl")]
fn read(files: &Tls) -> Result<CertKey, String> {
    use pingora::tls::pkey::PKey;
    use pingora::tls::x509::X509;

    let bytes = |path: &PathBuf| {
        let read = std::fs::read(path).map(zeroize::Zeroizing::new);
        read.map_err(|error| format!("{}: {error}", path.display()))
    };
    let unusable = |path: &PathBuf, what: &str| format!("{}: {what}", path.display());
    let chain = X509::stack_from_pem(&bytes(&files.cert)?)
        .map_err(|_| unusable(&files.cert, "no certificate can be read from this file"))?;
    let key = PKey::private_key_from_pem(&bytes(&files.key)?)
        .map_err(|_| unusable(&files.key, "no private key can be read from this file"))?;
    let Some(leaf) = chain.first() else {
        return Err(unusable(&files.cert, "there is no certificate in this file"));
    };
    let is_its_own = leaf.public_key().is_ok_and(|public| public.public_eq(&key));
    if !is_its_own {
        return Err(unusable(&files.key, "this is the key of another certificate"));
    }
    Ok(CertKey::new(chain, key))
}

#[cfg(not(feature = "openssl"))]
fn read(_: &Tls) -> Result<CertKey, String> {
    Err("this build has no TLS".to_owned())
}
