//! What is counted of what nodes share. The series are there where the conf has a `cluster`.
//!
//! Not here: the calls (`edge::cluster`).

use prometheus::{IntCounterVec, IntGauge};

use super::metrics::Build;

/// What a node asks of the others' common memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterCall {
    /// Whether a request is within its limits.
    Limits,
    /// To keep a ticket.
    Issue,
    /// What a ticket stands for.
    Redeem,
    /// To tell the others whose streams end.
    Close,
    /// How many streams are open here.
    Count,
    /// Whether it is there.
    Beat,
}

impl ClusterCall {
    const ALL: [Self; 6] =
        [Self::Limits, Self::Issue, Self::Redeem, Self::Close, Self::Count, Self::Beat];

    /// As in metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Limits => "limits",
            Self::Issue => "issue",
            Self::Redeem => "redeem",
            Self::Close => "close",
            Self::Count => "count",
            Self::Beat => "beat",
        }
    }
}

/// What came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClusterOutcome {
    /// An answer.
    Success,
    /// None in time.
    Timeout,
    /// A broken connection, or an error in place of an answer.
    Error,
    /// It was not asked: it was away already.
    Away,
}

impl ClusterOutcome {
    const ALL: [Self; 4] = [Self::Success, Self::Timeout, Self::Error, Self::Away];

    /// As in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Timeout => "timeout",
            Self::Error => "error",
            Self::Away => "away",
        }
    }
}

/// The series of a cluster.
pub struct ClusterMetrics {
    is_up: IntGauge,
    nodes: IntGauge,
    calls: IntCounterVec,
}

impl ClusterMetrics {
    pub(super) fn new(build: &Build<'_>) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            is_up: build.gauge(
                "cluster_up",
                "1 while this node shares with the others, 0 while it goes on alone.",
            )?,
            nodes: build.gauge(
                "cluster_nodes",
                "Nodes that share, this one included; 0 while it goes on alone.",
            )?,
            calls: build.counters(
                "cluster_calls_total",
                "Calls to what nodes share.",
                &["call", "outcome"],
            )?,
        };
        for call in ClusterCall::ALL {
            for outcome in ClusterOutcome::ALL {
                metrics.calls.with_label_values(&[call.as_str(), outcome.as_str()]);
            }
        }
        Ok(metrics)
    }

    /// A call is over.
    pub fn on_call(&self, call: ClusterCall, outcome: ClusterOutcome) {
        self.calls.with_label_values(&[call.as_str(), outcome.as_str()]).inc();
    }

    /// So many nodes share, this one included; with 0 this one is alone.
    pub fn on_nodes(&self, nodes: u32) {
        self.nodes.set(i64::from(nodes));
        self.is_up.set(i64::from(nodes > 0));
    }
}
