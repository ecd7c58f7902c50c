//! What a ticket is to stand for, and the form in which nodes give it to each other.
//!
//! The credential behind the ticket goes along: whoever redeems it asks again whether that is
//! still good. So this is a secret. Not here: who may have a ticket (`gate`), where it is kept
//! (`ticket`, `edge::cluster`).

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value, json};

use super::identity::{Grant, GrantKind};
use super::ticket::{Bound, TICKET_BYTES};
use super::whose::Whose;
use crate::proto::event::Subscription;
use crate::proto::secret::Secret;

/// Why a ticket is made. No `Debug`: a token is inside.
pub(crate) struct Warrant {
    pub(super) grant: Grant,
    pub(super) subscription: Arc<Subscription>,
    pub(super) bound: Bound,
}

/// What a ticket of another node stands for.
pub(crate) struct Redeemed {
    pub(super) shows: Shows,
    pub(super) bound: Bound,
    /// Whose streams were ended since it was made.
    pub(super) revoked: Vec<Whose>,
}

/// The credential behind a ticket.
pub(super) enum Shows {
    /// None.
    Nothing,
    /// An API key, of which only the digest is known.
    Key([u8; 32]),
    /// A token.
    Token(Secret),
}

impl Warrant {
    /// The text of a new ticket.
    pub(crate) fn ticket() -> String {
        format!("cmt_{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; TICKET_BYTES]>()))
    }

    /// For another node to read.
    pub(crate) fn to_text(&self) -> Secret {
        let (name, value) = match self.grant.kind() {
            GrantKind::Anonymous => ("nothing", Value::Null),
            GrantKind::Key(key) => ("key", URL_SAFE_NO_PAD.encode(key.sha256).into()),
            GrantKind::Token { token, .. } => ("token", token.reveal().into()),
        };
        Secret::new(json!({"for": URL_SAFE_NO_PAD.encode(self.bound), name: value}).to_string())
    }
}

impl Redeemed {
    /// Reads what another node wrote; `None` if that is of no form that is known here.
    pub(crate) fn parse(text: &Secret, revoked: Vec<Whose>) -> Option<Self> {
        let read: Map<String, Value> = serde_json::from_str(text.reveal()).ok()?;
        let mut shows = None;
        let mut bound = None;
        for (name, value) in &read {
            match name.as_str() {
                "for" => bound = digest(value),
                "nothing" => shows = Some(Shows::Nothing),
                "key" => shows = Some(Shows::Key(digest(value)?)),
                "token" => shows = Some(Shows::Token(Secret::new(value.as_str()?.to_owned()))),
                _ => return None,
            }
        }
        Some(Self { shows: shows?, bound: bound?, revoked })
    }
}

fn digest(value: &Value) -> Option<[u8; 32]> {
    URL_SAFE_NO_PAD.decode(value.as_str()?).ok()?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_nothing_else() {
        let warrant = Warrant {
            grant: Grant::anonymous(),
            subscription: Subscription::new("acme", "support", "jane"),
            bound: [7; 32],
        };
        let text = warrant.to_text();
        let read = Redeemed::parse(&text, Vec::new()).expect("our own");
        assert!(matches!(read.shows, Shows::Nothing) && read.bound == [7; 32]);
        let bound = URL_SAFE_NO_PAD.encode([7; 32]);
        for (text, want) in [
            (format!("{{\"for\":\"{bound}\",\"token\":\"a.b.c\"}}"), true),
            (format!("{{\"for\":\"{bound}\",\"key\":\"{bound}\"}}"), true),
            (format!("{{\"for\":\"{bound}\",\"key\":\"AAAA\"}}"), false),
            (format!("{{\"for\":\"{bound}\",\"more\":1,\"nothing\":null}}"), false),
            (format!("{{\"for\":\"{bound}\"}}"), false),
            ("{\"nothing\":null}".to_owned(), false),
            ("[]".to_owned(), false),
        ] {
            let read = Redeemed::parse(&Secret::new(text.clone()), Vec::new());
            assert_eq!(read.is_some(), want, "{text}");
        }
    }
}
