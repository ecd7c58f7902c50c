//! Requests where several nodes share: the gate decides, then the others are asked.
//!
//! Without a `cluster` in the conf nothing here runs. What is asked is asked in bounded time, and
//! where nobody answers the gate's own word stands. Not here: the decision (`gate`), the calls
//! (`cluster`).

use std::sync::Arc;

use pingora::protocols::http::ServerSession;

use super::clock;
use super::cluster::Cluster;
use super::gate::{
    Changes, Decided, Gate, Later, Ledger, PassDecided, PassDecision, Past, Wait, Warrant, Whose,
};
use super::jwks::KeySets;
use super::proxy::Edge;
use super::refusal::{Limited, Refusal};
use super::upstream::Dialer;
use crate::config::Config;
use crate::proto::secret::Secret;
use crate::telemetry::Metrics;

/// The gate of a configuration, and whom it counts together with.
pub(super) fn gate(
    config: &Arc<Config>,
    metrics: &Arc<Metrics>,
    key_sets: KeySets,
    dialer: &Arc<Dialer>,
) -> Result<(Gate, Option<Arc<Cluster>>), String> {
    let (config, metrics, key_sets) = (config.clone(), metrics.clone(), Arc::new(key_sets));
    let Some(redis) = config.cluster.clone() else {
        return Ok((Gate::new(config, metrics, key_sets)?, None));
    };
    let changes = Arc::<Changes>::default();
    let counts = metrics.cluster().map_err(|error| error.to_string())?;
    let gate = Gate::shared(config, metrics, key_sets, &changes)?;
    Ok((gate, Some(Cluster::new(redis, dialer.clone(), changes, counts))))
}

impl Edge {
    /// Decides about a request with what all nodes have counted.
    pub(super) async fn decide_together(
        self: &Arc<Self>,
        cluster: &Arc<Cluster>,
        down: &mut ServerSession,
    ) -> Decided {
        cluster.begin(self);
        let ledger = Ledger::default();
        let mut past = Past::default();
        let decided = loop {
            let decided = self.with_gate(|gate| {
                gate.decide(&self.asked(down, Some(&ledger)), past, clock::wall())
            });
            let Later { wait, past: known } = match decided {
                Ok(decided) => break decided,
                Err(later) => later,
            };
            past = *known;
            match wait {
                Wait::Key(wait) => wait.over().await,
                Wait::Ticket(shown) => {
                    // Whoever comes too often does not use a ticket up.
                    past.limited = self.count_for_all(cluster, &ledger).await;
                    if past.limited.is_none() {
                        let redeemed = cluster.redeem(&shown.ticket, shown.is_used).await;
                        past.ticket = Some(redeemed);
                    }
                }
            }
        };
        match self.count_for_all(cluster, &ledger).await {
            None => decided,
            Some(limited) => self
                .with_gate(|gate| gate.turned(&self.asked(down, Some(&ledger)), decided, limited)),
        }
    }

    /// Decides about a call with what all nodes have counted.
    pub(super) async fn decide_pass_together(
        self: &Arc<Self>,
        cluster: &Arc<Cluster>,
        down: &mut ServerSession,
    ) -> Option<PassDecided> {
        cluster.begin(self);
        let ledger = Ledger::default();
        let mut decided = self.decide_pass(down, Some(&ledger)).await?;
        if let Some(limited) = self.count_for_all(cluster, &ledger).await {
            decided.decision = PassDecision::Refused(Refusal::Limited(limited));
        }
        Some(decided)
    }

    /// What of the request is too much for all nodes together.
    async fn count_for_all(&self, cluster: &Cluster, ledger: &Ledger) -> Option<Limited> {
        let spends = ledger.take();
        let refused = cluster.count(&spends).await;
        self.with_gate(|gate| gate.counted_for_all(&spends, refused, ledger))
    }

    /// Makes a ticket: one that is good on every node, or else one for this node.
    pub(super) async fn issue(&self, warrant: Warrant) -> Secret {
        if let Some(cluster) = &self.cluster
            && let Some(ticket) = cluster.issue(&warrant).await
        {
            return ticket;
        }
        self.with_gate(|gate| gate.issue(warrant))
    }

    /// Ends the open streams that are meant, on every node, and takes their tickets back. Says
    /// how many streams of this node they were and, where there are others, whether they were
    /// told.
    pub(super) async fn end_streams_everywhere(&self, whose: &Whose) -> (usize, Option<bool>) {
        // The others first: a ticket that is redeemed in between is held against what they know.
        let told = match &self.cluster {
            Some(cluster) => Some(cluster.close(whose).await),
            None => None,
        };
        (self.end_streams(whose), told)
    }
}
