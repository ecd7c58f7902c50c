//! What a client's request puts into the holes of templates.
//!
//! A credential of the edge itself (`apikey`, `access_token`, `authorization`, `x-api-key`) goes
//! to a source only where the source's conf names it. Not here: encoding (`proto::template`).

use std::borrow::Cow;

use http::HeaderMap;
use sha2::{Digest, Sha256};

use super::identity::Identity;
use super::query::Query;
use crate::edge::refusal::{Fault, Named, Refusal};
use crate::proto::event::Subscription;
use crate::proto::template::{ResolveError, Variable, Variables};

/// One client's request.
pub(super) struct Values<'a> {
    pub(super) subscription: &'a Subscription,
    pub(super) identity: &'a Identity,
    pub(super) query: Query<'a>,
    pub(super) headers: &'a HeaderMap,
}

impl Variables for Values<'_> {
    fn value(&self, variable: &Variable) -> Option<Cow<'_, str>> {
        let subscription = self.subscription;
        match variable {
            Variable::TenantId => Some(Cow::Borrowed(&subscription.tenant_id)),
            Variable::Workflow => Some(Cow::Borrowed(&subscription.workflow_type)),
            Variable::WorkflowId => Some(Cow::Borrowed(&subscription.workflow_id)),
            Variable::ParticipantId => Some(Cow::Borrowed(&subscription.participant_id)),
            Variable::ParticipantUuid => Some(Cow::Owned(participant_uuid(subscription))),
            Variable::Query(name) => self.query.readable(name),
            Variable::Header(name) => {
                std::str::from_utf8(self.headers.get(name)?.as_bytes()).ok().map(Cow::Borrowed)
            }
            Variable::Claim(name) => self.identity.claim(name),
        }
    }
}

impl Values<'_> {
    /// Why a source cannot be asked, and whether the client has just not said enough: then an
    /// optional source is left out. What was said and is wrong is never passed over.
    pub(super) fn refusal(&self, error: &ResolveError) -> (Refusal, bool) {
        let variable = error.variable();
        let fault = match error {
            ResolveError::Missing(_) if self.is_unreadable(variable) => Fault::Unreadable,
            ResolveError::Missing(_) => Fault::Missing,
            ResolveError::Unfit(_) => Fault::Unfit,
        };
        let named = match variable {
            Variable::TenantId => Named::Parameter("tenantId".into()),
            Variable::Workflow | Variable::WorkflowId => Named::Parameter("workflow".into()),
            Variable::ParticipantId | Variable::ParticipantUuid => {
                Named::Parameter("participantId".into())
            }
            Variable::Query(name) => Named::Parameter(name.clone().into()),
            Variable::Header(name) => Named::Header(name.clone()),
            Variable::Claim(name) => Named::Claim(name.clone()),
        };
        let is_missing = fault == Fault::Missing;
        (Refusal::Bad(named, fault), is_missing)
    }

    fn is_unreadable(&self, variable: &Variable) -> bool {
        match variable {
            Variable::Query(name) => self.query.get(name).is_some_and(|value| value.is_err()),
            Variable::Header(name) => {
                let value = self.headers.get(name);
                value.is_some_and(|value| std::str::from_utf8(value.as_bytes()).is_err())
            }
            Variable::TenantId
            | Variable::Workflow
            | Variable::WorkflowId
            | Variable::ParticipantId
            | Variable::ParticipantUuid
            | Variable::Claim(_) => false,
        }
    }
}

/// A UUID (version 8) of the tenant's participant: the same at every node and after every start.
fn participant_uuid(subscription: &Subscription) -> String {
    let mut hash = Sha256::new();
    hash.update(subscription.tenant_id.as_bytes());
    hash.update([0]);
    hash.update(subscription.participant_id.as_bytes());
    let hash: [u8; 32] = hash.finalize().into();
    let mut bits = hash.iter().take(16).fold(0_u128, |bits, byte| bits << 8 | u128::from(*byte));
    bits = bits & !(0xf << 76) | 0x8 << 76;
    bits = bits & !(0b11 << 62) | 0b10 << 62;
    let (time_low, time_mid, time_high) = (bits >> 96, bits >> 80 & 0xffff, bits >> 64 & 0xffff);
    let (sequence, node) = (bits >> 48 & 0xffff, bits & 0xffff_ffff_ffff);
    format!("{time_low:08x}-{time_mid:04x}-{time_high:04x}-{sequence:04x}-{node:012x}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn participants_have_a_uuid_of_their_own() {
        let uuid = |tenant: &str, participant: &str| {
            participant_uuid(&Subscription::new(tenant, "w", participant))
        };
        let jane = uuid("acme", "jane");
        // sha256("acme\0jane"), version and variant set.
        assert_eq!(jane, "f2e0776a-1c57-8dcd-83c2-286358a3547e");
        assert_eq!(jane, uuid("acme", "jane"));
        let others = [uuid("acme", "joe"), uuid("globex", "jane"), uuid("acmej", "ane")];
        for other in others {
            assert_ne!(jane, other);
        }
        for number in 0..100 {
            let uuid = uuid("t", &number.to_string());
            assert_eq!(uuid.len(), 36);
            assert_eq!(uuid.chars().nth(14), Some('8'), "{uuid}");
            assert!(uuid.chars().nth(19).is_some_and(|c| "89ab".contains(c)), "{uuid}");
        }
    }
}
