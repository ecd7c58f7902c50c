//! How things are called in Redis, and how tickets are sealed. Pure.
//!
//! Nothing that a client said stands in a name: keys of limits and tickets are digests. What a
//! ticket stands for may be a token; it is sealed with a key made of the ticket itself, which is
//! never kept, so that only its holder can have it read. Not here: when what is asked.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chacha20poly1305::aead::{Aead as _, KeyInit as _};
use chacha20poly1305::{ChaCha20Poly1305, Nonce};
use sha2::{Digest as _, Sha256};

use crate::edge::gate::Key;
use crate::edge::refusal::{Policy, Quota};
use crate::proto::secret::Secret;

/// What of a digest stands in a name: as many bytes as a [`Key`] has.
const NAME_BYTES: usize = 16;

/// What is counted under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Counted {
    /// New streams.
    Opens,
    /// Calls.
    Requests,
    /// Open streams.
    Streams,
}

impl Counted {
    pub(super) const fn of(quota: Quota) -> Self {
        match quota {
            Quota::Opens { .. } => Self::Opens,
            Quota::Requests { .. } => Self::Requests,
            Quota::Concurrent { .. } => Self::Streams,
        }
    }

    const fn as_str(self) -> &'static str {
        match self {
            Self::Opens => "opens",
            Self::Requests => "requests",
            Self::Streams => "streams",
        }
    }
}

/// Names that begin with one prefix. In braces, so that a Redis Cluster has all of them in one
/// place: a script works on those of one place alone.
pub(super) struct Names(String);

impl Names {
    pub(super) fn new(prefix: &str) -> Self {
        Self(format!("{{{prefix}}}"))
    }

    /// The nodes.
    pub(super) fn nodes(&self) -> String {
        format!("{}nodes", self.0)
    }

    /// Whose streams end.
    pub(super) fn revocations(&self) -> String {
        format!("{}revocations", self.0)
    }

    /// A budget.
    pub(super) fn budget(&self, policy: Policy, counted: Counted, key: &Key) -> String {
        let (policy, counted) = (policy.as_str(), counted.as_str());
        format!("{}{policy}:{counted}:{}", self.0, digest("budget", key))
    }

    /// A ticket.
    pub(super) fn ticket(&self, ticket: &str) -> String {
        format!("{}ticket:{}", self.0, digest("ticket", ticket.as_bytes()))
    }
}

fn digest(what: &str, bytes: &[u8]) -> String {
    let digest = Sha256::new_with_prefix(format!("chatmux {what}\0")).chain_update(bytes);
    let digest = digest.finalize();
    URL_SAFE_NO_PAD.encode(digest.get(..NAME_BYTES).unwrap_or_default())
}

/// The cipher of one ticket. A ticket has 256 random bits, and seals once: the nonce need not
/// differ.
fn cipher(ticket: &str) -> ChaCha20Poly1305 {
    let key = Sha256::new_with_prefix("chatmux seal\0").chain_update(ticket).finalize();
    ChaCha20Poly1305::new(&key)
}

/// What a ticket stands for, for nobody to read; `None` if it is too long to be sealed.
pub(super) fn seal(ticket: &str, text: &Secret) -> Option<Vec<u8>> {
    cipher(ticket).encrypt(&Nonce::default(), text.reveal().as_bytes()).ok()
}

/// The same again; `None` if it is not what this ticket has sealed.
pub(super) fn unseal(ticket: &str, sealed: &[u8]) -> Option<Secret> {
    let text = cipher(ticket).decrypt(&Nonce::default(), sealed).ok()?;
    String::from_utf8(text).ok().map(Secret::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_ticket_opens_a_seal() {
        let text = Secret::new("a.token.of-somebody".to_owned());
        let sealed = seal("cmt_one", &text).expect("it is short");
        assert!(!sealed.windows(5).any(|window| window == b"token"));
        assert!(unseal("cmt_one", &sealed).is_some_and(|read| read == text));
        assert!(unseal("cmt_two", &sealed).is_none());
        for at in 0..sealed.len() {
            let mut broken = sealed.clone();
            broken[at] ^= 1;
            assert!(unseal("cmt_one", &broken).is_none(), "{at}");
        }
    }

    #[test]
    fn names_differ_by_what_they_are_for_and_tell_nothing() {
        let names = Names::new("chat:");
        let key = *b"203.0.113.9.....";
        let policies = [Policy::Address, Policy::Subject, Policy::Tenant];
        let counted = [Counted::Opens, Counted::Requests, Counted::Streams];
        let mut all: Vec<_> = policies
            .iter()
            .flat_map(|policy| counted.iter().map(|counted| names.budget(*policy, *counted, &key)))
            .chain([names.nodes(), names.revocations(), names.ticket("cmt_one")])
            .collect();
        assert!(all.iter().all(|name| name.starts_with("{chat:}") && !name.contains("203.0")));
        assert!(!names.ticket("cmt_one").contains("cmt_one"));
        assert_eq!(names.ticket("cmt_one"), Names::new("chat:").ticket("cmt_one"), "on each node");
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 12);
    }
}
