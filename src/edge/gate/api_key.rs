//! API keys: found by the SHA-256 of their text.
//!
//! One hash and one look-up, whatever the number of keys, in a time that tells nothing
//! (`digest`). Not here: what a key opens (`identity`).

use std::collections::HashMap;
use std::sync::Arc;

use crate::config::ApiKey;
use crate::edge::digest::Digest;
use crate::proto::time::UnixMillis;

/// The keys of a configuration.
pub(super) struct ApiKeys(HashMap<Digest, Arc<ApiKey>>);

impl ApiKeys {
    pub(super) fn new(keys: &[Arc<ApiKey>]) -> Self {
        Self(keys.iter().map(|key| (Digest::new(key.sha256), key.clone())).collect())
    }

    /// The key of this text, unless it has expired.
    pub(super) fn find(&self, text: &str, now: UnixMillis) -> Option<&Arc<ApiKey>> {
        let digest = Digest::of(text);
        let key = self.by_digest(digest, now);
        if key.is_none() {
            let known = self.0.get(&digest).map(|key| key.label.as_str());
            let why = if known.is_some() { "it has ended (expires)" } else { "nobody's" };
            log::debug!(key = known, why; "a key is refused");
        }
        key
    }

    /// The key of this digest, unless it has expired.
    pub(super) fn by_digest(&self, digest: Digest, now: UnixMillis) -> Option<&Arc<ApiKey>> {
        self.0.get(&digest).filter(|key| key.expires.is_none_or(|expires| now < expires))
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest as _, Sha256};

    use super::*;

    fn key(label: &str, text: &str, expires: Option<i64>) -> Arc<ApiKey> {
        Arc::new(ApiKey {
            label: label.to_owned(),
            sha256: Sha256::digest(text).into(),
            tenants: Vec::new(),
            workflows: Vec::new(),
            participants: Vec::new(),
            expires: expires.map(UnixMillis),
            limits: None,
        })
    }

    #[test]
    fn keys_are_found_by_their_text_until_they_expire() {
        let keys = ApiKeys::new(&[key("a", "sk-a", None), key("b", "sk-b", Some(1000))]);
        let find = |text, now| keys.find(text, UnixMillis(now)).map(|key| key.label.clone());
        assert_eq!(find("sk-a", i64::MAX).as_deref(), Some("a"));
        assert_eq!(find("sk-b", 999).as_deref(), Some("b"));
        assert_eq!(find("sk-b", 1000), None);
        for text in ["", "sk-", "sk-A", "sk-a ", "sk-aa", "sk-a\0"] {
            assert_eq!(find(text, 0), None, "{text:?}");
        }
    }

    #[test]
    fn the_digest_itself_opens_nothing() {
        let keys = ApiKeys::new(&[key("a", "sk-a", None)]);
        let digest: [u8; 32] = Sha256::digest("sk-a").into();
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(keys.find(&hex, UnixMillis(0)).is_none());
        assert!(keys.by_digest(Digest::new(digest), UnixMillis(0)).is_some());
    }
}
