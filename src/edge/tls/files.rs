//! What stands in the files of a listener's certificates, and whether that is the same as before.

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

use crate::config::ListenTls;

/// What tells one state of the files from another.
pub(super) type Digest = [u8; 32];

/// A certificate's chain and its key, as they stood in their files.
pub(super) struct Texts {
    pub(super) cert: Vec<u8>,
    pub(super) key: Zeroizing<Vec<u8>>,
}

/// All files at one time, or the first that could not be read.
pub(super) struct Files {
    pub(super) read: Result<Vec<Texts>, String>,
}

impl Files {
    /// Reads them in the order of the conf.
    pub(super) fn read(tls: &ListenTls) -> Self {
        let read = |path: &std::path::Path| {
            std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
        };
        let texts = tls.certificates.iter().map(|certificate| {
            let cert = read(&certificate.files.cert)?;
            let key = Zeroizing::new(read(&certificate.files.key)?);
            Ok(Texts { cert, key })
        });
        Self { read: texts.collect() }
    }

    pub(super) fn digest(&self) -> Digest {
        let mut hash = Sha256::new();
        let mut take = |part: &[u8]| {
            hash.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            hash.update(part);
        };
        match &self.read {
            Ok(texts) => texts.iter().for_each(|texts| {
                take(&texts.cert);
                take(&texts.key);
            }),
            Err(error) => take(error.as_bytes()),
        }
        hash.finalize().into()
    }
}
