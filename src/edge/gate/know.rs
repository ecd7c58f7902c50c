//! Who asks: from what a request shows to somebody who is known.
//!
//! A ticket that this node has not made may be another's: then that is said, and asked for. Not
//! here: what a credential opens (`identity`), the tables that it is looked for in (`api_key`,
//! `jwt`, `ticket`).

use http::Method;

use super::credential::{self, Shown};
use super::identity::{Grant, GrantKind, Identity};
use super::jwt::Verdict;
use super::query::Query;
use super::ticket::Bound;
use super::warrant::{Redeemed, Shows};
use super::whose::Whose;
use super::{Asked, Gate, origin};
use crate::edge::digest::Digest;
use crate::edge::jwks::KeyWait;
use crate::proto::secret::Secret;
use crate::proto::time::UnixMillis;

/// Who asks, and how that was shown.
pub(super) struct Known {
    pub(super) identity: Identity,
    /// The kind of credential, as in metrics.
    pub(super) method: &'static str,
    /// What the ticket is for, if there was one.
    pub(super) bound: Option<Bound>,
    /// Whose streams were ended since the ticket was made, as far as another node has told.
    pub(super) revoked: Vec<Whose>,
}

/// Why nobody is known.
pub(super) enum Unknown {
    /// There is nothing to know.
    Refused,
    /// The key may come.
    Later(KeyWait),
    /// Another node may know.
    Ticket(TicketShown),
}

/// A ticket that this node has not made.
pub(crate) struct TicketShown {
    /// Its text.
    pub(crate) ticket: Secret,
    /// Whether it is used up by this.
    pub(crate) is_used: bool,
}

impl Gate {
    /// Who asks for a stream, after the kind of what was shown.
    pub(super) fn know(
        &self,
        asked: &Asked<'_>,
        redeemed: Option<&Option<Redeemed>>,
        wall: UnixMillis,
    ) -> (&'static str, Result<Known, Unknown>) {
        match self.shown(asked) {
            (method, Shown::Ticket(ticket)) => {
                (method, self.know_ticket(&ticket, method, asked, redeemed, wall))
            }
            (method, shown) => (method, self.know_shown(shown, method, wall)),
        }
    }

    /// What a request shows, and its kind: a cookie counts where it may.
    pub(super) fn shown<'a>(&self, asked: &Asked<'a>) -> (&'static str, Shown<'a>) {
        let shown = credential::shown(asked.headers, Query::new(asked.query));
        let name = self.config.auth.cookie.as_deref();
        let cookie = name.and_then(|name| credential::in_cookie(asked.headers, name));
        match (shown, cookie) {
            (Shown::Nothing, Some(cookie)) => {
                let (authority, cors) = (asked.authority, &self.config.cors);
                let may = origin::may_use_cookies(asked.headers, authority, cors);
                ("cookie", if may { cookie } else { Shown::Useless })
            }
            (shown, _) => (shown.method(), shown),
        }
    }

    /// Who asks for a ticket: a credential in a header of its own alone counts.
    pub(super) fn know_by_header(
        &self,
        asked: &Asked<'_>,
        wall: UnixMillis,
    ) -> (&'static str, Result<Known, Unknown>) {
        let shown = credential::in_header(asked.headers);
        let method = shown.as_ref().unwrap_or(&Shown::Nothing).method();
        let known = shown.ok_or(Unknown::Refused);
        (method, known.and_then(|shown| self.know_shown(shown, method, wall)))
    }

    /// Who that is. Tickets are for streams alone: here one is nothing.
    pub(super) fn know_shown(
        &self,
        shown: Shown<'_>,
        method: &'static str,
        wall: UnixMillis,
    ) -> Result<Known, Unknown> {
        let identity = match shown {
            Shown::Token(token) => Some(self.by_token(Secret::new(token.into_owned()), wall)?),
            Shown::Key(key) => self.api_keys.find(&key, wall).cloned().map(Identity::Key),
            Shown::Ticket(_) | Shown::Useless => None,
            Shown::Nothing => self.nobody(),
        };
        let identity = identity.ok_or(Unknown::Refused)?;
        Ok(Known { identity, method, bound: None, revoked: Vec::new() })
    }

    /// Who asked for a ticket: on this node, or on another.
    fn know_ticket(
        &self,
        ticket: &str,
        method: &'static str,
        asked: &Asked<'_>,
        redeemed: Option<&Option<Redeemed>>,
        wall: UnixMillis,
    ) -> Result<Known, Unknown> {
        // HEAD opens nothing, so it uses nothing up.
        let is_used = asked.method != Method::HEAD;
        let out = &self.tickets;
        let own = if is_used { out.redeem(ticket) } else { out.peek(ticket) };
        if let Some((grant, bound)) = own {
            let identity = self.by_grant(&grant, wall).ok_or(Unknown::Refused)?;
            return Ok(Known { identity, method, bound: Some(bound), revoked: Vec::new() });
        }
        match redeemed {
            None if asked.ledger.is_some() => {
                let ticket = Secret::new(ticket.to_owned());
                Err(Unknown::Ticket(TicketShown { ticket, is_used }))
            }
            None | Some(None) => Err(Unknown::Refused),
            Some(Some(Redeemed { shows, bound, revoked })) => {
                let identity = match shows {
                    Shows::Nothing => self.nobody(),
                    Shows::Key(digest) => self.by_digest(*digest, wall),
                    Shows::Token(token) => Some(self.by_token(token.clone(), wall)?),
                };
                let identity = identity.ok_or(Unknown::Refused)?;
                Ok(Known { identity, method, bound: Some(*bound), revoked: revoked.clone() })
            }
        }
    }

    fn nobody(&self) -> Option<Identity> {
        self.config.auth.anonymous.then_some(Identity::Anonymous)
    }

    fn by_digest(&self, digest: [u8; 32], wall: UnixMillis) -> Option<Identity> {
        self.api_keys.by_digest(Digest::new(digest), wall).cloned().map(Identity::Key)
    }

    fn by_token(&self, token: Secret, wall: UnixMillis) -> Result<Identity, Unknown> {
        match self.issuers.verify(token.reveal(), wall) {
            Verdict::True(verified) => Ok(Identity::Token(verified, token)),
            Verdict::False => Err(Unknown::Refused),
            Verdict::NoKey(set) => Err(set.ask().map_or(Unknown::Refused, Unknown::Later)),
        }
    }

    /// Who was granted something, if the credential behind it is still good.
    pub(super) fn by_grant(&self, grant: &Grant, wall: UnixMillis) -> Option<Identity> {
        match grant.kind() {
            GrantKind::Anonymous => self.nobody(),
            GrantKind::Key(key) => self.by_digest(key.sha256, wall),
            GrantKind::Token { token, .. } => match self.issuers.verify(token.reveal(), wall) {
                Verdict::True(verified) => Some(Identity::Token(verified, token.clone())),
                Verdict::False | Verdict::NoKey(_) => None,
            },
        }
    }
}
