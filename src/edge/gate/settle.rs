//! What other nodes have counted comes back to the gate.
//!
//! They are asked after the decision: what they refuse takes the place of it, and is told as if it
//! had been refused here. Not here: the asking (`edge::cluster`).

use std::sync::Arc;
use std::time::Duration;

use super::ledger::Ledger;
use super::rate::refused_for_all;
use super::{Asked, Decided, Decision, Gate, Spend, Turned, head, with_defaults};
use crate::edge::refusal::{Limited, Policy, Refusal};

impl Gate {
    /// What of these is too much for all nodes together, if the one at that place is. Counts what
    /// became of them.
    pub(crate) fn counted_for_all(
        &self,
        spends: &[Spend],
        refused: Option<(usize, Duration)>,
        ledger: &Ledger,
    ) -> Option<Limited> {
        self.limiter.on_counted_for_all(spends, refused.map(|(place, _)| place), ledger);
        let (place, wait) = refused?;
        spends.get(place).map(|spend| refused_for_all(spend, wait))
    }

    /// A refusal in place of what was decided. What was counted as open is not any more.
    pub(crate) fn turned(&self, asked: &Asked<'_>, decided: Decided, limited: Limited) -> Decided {
        let Decided { decision, headers, .. } = decided;
        let path = head::checked_path(asked).unwrap_or_default();
        let Some(target) = self.target(&path) else {
            let decision = Decision::Refused(Refusal::Limited(limited));
            return Decided { decision, headers, route: None };
        };
        let first = target.routes.first();
        let allows_event = match (limited.policy, decision) {
            (_, Decision::Options) => false,
            (Policy::Address, _) => target.all_allow_event(),
            (
                Policy::Subject | Policy::Tenant,
                Decision::Stream(admitted)
                | Decision::SelfTest(admitted, _)
                | Decision::Head(admitted),
            ) => admitted.route.allow_errors_event,
            (Policy::Subject | Policy::Tenant, Decision::RefusedInStream(_)) => true,
            (Policy::Subject | Policy::Tenant, Decision::Refused(_) | Decision::Ticket(_)) => false,
        };
        let query = with_defaults(asked.query, first.map(Arc::as_ref));
        let asked = &Asked { query: &query, ..*asked };
        let turned = Turned { refusal: Refusal::Limited(limited), allows_event };
        Decided { decision: turned.decision(asked, target.kind), headers, route: first.cloned() }
    }
}
