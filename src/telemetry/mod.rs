//! What operators learn: metrics and log lines.
//!
//! Not here: deciding what is worth telling (the edge), serving `/metrics` (`edge::admin`).

mod metrics;
mod sources;
mod tls;
mod cluster;
mod open_metrics;
mod notice;
mod repeats;
#[cfg(test)]
mod contract_tests;

pub use cluster::{ClusterCall, ClusterMetrics, ClusterOutcome};
pub use metrics::{ANSWER_CODES, JwksOutcome, Metrics, RouteMetrics};
pub use notice::{ACCESS, StreamEnded};
pub use open_metrics::{OPEN_METRICS, PROMETHEUS_TEXT, is_wanted, open_metrics};
pub use repeats::{REPEATS_MAX, REPEATS_WINDOW, Repeats};
pub use sources::SourceMetrics;
pub use tls::{Handshake, TlsMetrics};
