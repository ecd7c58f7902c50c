//! Who asks, and which streams that opens.
//!
//! Not here: how that was found out (`api_key`, `jwt`), whether it is too much (`limits`).

use std::borrow::Cow;
use std::sync::Arc;

use super::jwt::Verified;
use super::whose::{Opener, Whose};
use crate::config::{ApiKey, Bound, Issuer};
use crate::proto::event::Subscription;
use crate::proto::secret::Secret;
use crate::proto::time::UnixMillis;

/// Who asks.
pub(super) enum Identity {
    /// Nobody said, and that is allowed.
    Anonymous,
    /// Whoever has this key.
    Key(Arc<ApiKey>),
    /// Whoever this token is for.
    Token(Box<Verified>, Secret),
}

/// By what a stream was opened: enough to ask again whether it still may be, and whose it is.
/// No `Debug`: a token is inside.
#[derive(Clone)]
pub(crate) struct Grant(GrantKind);

#[derive(Clone)]
pub(super) enum GrantKind {
    Anonymous,
    Key(Arc<ApiKey>),
    Token { token: Secret, issuer: Arc<Issuer>, subject: Option<Box<str>>, expires: UnixMillis },
}

impl Grant {
    /// Of nobody.
    #[cfg(test)]
    pub(crate) const fn anonymous() -> Self {
        Self(GrantKind::Anonymous)
    }

    pub(super) const fn kind(&self) -> &GrantKind {
        &self.0
    }

    /// Whether a stream of this grant is one of those that are meant.
    pub(crate) fn is_of(&self, whose: &Whose, subscription: &Subscription) -> bool {
        let opener = match &self.0 {
            GrantKind::Anonymous => Opener::default(),
            GrantKind::Key(key) => Opener { key: Some(&key.label), ..Opener::default() },
            GrantKind::Token { issuer, subject, .. } => {
                let issuer = Some(issuer.issuer.as_str());
                Opener { key: None, issuer, subject: subject.as_deref() }
            }
        };
        whose.is_meant(opener, subscription)
    }

    /// The bytes of what it keeps of a client's.
    pub(super) fn bytes(&self) -> usize {
        match &self.0 {
            GrantKind::Anonymous | GrantKind::Key(_) => 0,
            GrantKind::Token { token, subject, .. } => {
                token.reveal().len() + subject.as_ref().map_or(0, |subject| subject.len())
            }
        }
    }
}

impl Identity {
    /// The one tenant that the credential names; none if it names several, or leaves it open.
    pub(super) fn tenant(&self) -> Option<Cow<'_, str>> {
        self.single(Bound::TenantId)
    }

    /// The one value of a part of the request that the credential names; none if it names
    /// several, or leaves it open.
    pub(super) fn single(&self, bound: Bound) -> Option<Cow<'_, str>> {
        match self {
            Self::Anonymous => None,
            Self::Key(key) => {
                let list = match bound {
                    Bound::ParticipantId => key.participants.as_slice(),
                    Bound::TenantId => key.tenants.as_slice(),
                    // Expressions, of which none is a name.
                    Bound::Workflow => &[],
                };
                match list {
                    [value] => Some(Cow::Borrowed(value)),
                    _ => None,
                }
            }
            Self::Token(token, _) => {
                let mut bind = token.issuer.bind.iter();
                let (_, claim) = bind.find(|(other, _)| *other == bound)?;
                token.claims.single(claim)
            }
        }
    }

    /// Whether the credential is for some values of it only.
    pub(super) fn restricts(&self, bound: Bound) -> bool {
        match self {
            Self::Anonymous => false,
            Self::Key(key) => match bound {
                Bound::ParticipantId => !key.participants.is_empty(),
                Bound::TenantId => !key.tenants.is_empty(),
                Bound::Workflow => !key.workflows.is_empty(),
            },
            Self::Token(token, _) => token.issuer.bind.iter().any(|(other, _)| *other == bound),
        }
    }

    /// Whether it is one person, and the tenant no more than what that person says.
    pub(super) fn is_one_in_all_tenants(&self) -> bool {
        match self {
            Self::Anonymous | Self::Key(_) => false,
            Self::Token(..) => !self.restricts(Bound::TenantId),
        }
    }

    /// Whether it opens this stream. Workflows are compared by their type, the tenant apart.
    pub(super) fn opens(&self, subscription: &Subscription) -> bool {
        match self {
            Self::Anonymous => true,
            Self::Key(key) => {
                let is_in =
                    |list: &[String], value: &String| list.is_empty() || list.contains(value);
                let workflow = &subscription.workflow_type;
                is_in(&key.tenants, &subscription.tenant_id)
                    && is_in(&key.participants, &subscription.participant_id)
                    && (key.workflows.is_empty()
                        || key.workflows.iter().any(|pattern| pattern.is_match(workflow)))
            }
            Self::Token(token, _) => token.issuer.bind.iter().all(|(bound, claim)| {
                let want = match bound {
                    Bound::ParticipantId => &subscription.participant_id,
                    Bound::TenantId => &subscription.tenant_id,
                    Bound::Workflow => &subscription.workflow_type,
                };
                token.claims.holds(claim, want)
            }),
        }
    }

    /// Whether a stream of its is one of those that are meant.
    pub(super) fn is_of(&self, whose: &Whose, subscription: &Subscription) -> bool {
        match self {
            Self::Anonymous => whose.is_meant(Opener::default(), subscription),
            Self::Key(key) => {
                let opener = Opener { key: Some(&key.label), ..Opener::default() };
                whose.is_meant(opener, subscription)
            }
            Self::Token(token, _) => {
                let subject = token.claims.single("sub");
                let issuer = Some(token.issuer.issuer.as_str());
                let opener = Opener { key: None, issuer, subject: subject.as_deref() };
                whose.is_meant(opener, subscription)
            }
        }
    }

    /// When the credential ends, and the stream with it.
    pub(super) fn expires(&self) -> Option<UnixMillis> {
        match self {
            Self::Anonymous => None,
            Self::Key(key) => key.expires,
            Self::Token(token, _) => Some(token.expires),
        }
    }

    /// A claim of the token, if it holds exactly one text.
    pub(super) fn claim(&self, name: &str) -> Option<Cow<'_, str>> {
        match self {
            Self::Anonymous | Self::Key(_) => None,
            Self::Token(token, _) => token.claims.single(name),
        }
    }

    /// What the subject's budget goes by; nobody has none. A token without `sub` stands for
    /// itself: by its signed part, since signatures can be written in several ways.
    pub(super) fn subject(&self) -> Option<[Cow<'_, str>; 2]> {
        match self {
            Self::Anonymous => None,
            Self::Key(key) => Some([Cow::Borrowed("key"), Cow::Borrowed(&key.label)]),
            Self::Token(token, text) => {
                let signed = || {
                    let text = text.reveal();
                    Cow::Borrowed(text.rsplit_once('.').map_or(text, |(signed, _)| signed))
                };
                let subject = token.claims.single("sub").unwrap_or_else(signed);
                Some([Cow::Owned(format!("jwt {}", token.issuer.issuer)), subject])
            }
        }
    }

    /// The label under which a key's own limits stand, if it may have any.
    pub(super) fn own_limit_label(&self) -> Option<&str> {
        match self {
            Self::Key(key) => Some(&key.label),
            Self::Anonymous | Self::Token(..) => None,
        }
    }

    /// What the stream keeps of it.
    pub(super) fn into_grant(self) -> Grant {
        Grant(match self {
            Self::Anonymous => GrantKind::Anonymous,
            Self::Key(key) => GrantKind::Key(key),
            Self::Token(verified, token) => GrantKind::Token {
                token,
                subject: verified.claims.single("sub").map(|subject| subject.into()),
                expires: verified.expires,
                issuer: verified.issuer,
            },
        })
    }
}
