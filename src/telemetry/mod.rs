//! What operators learn: metrics and log lines.
//!
//! Not here: deciding what is worth telling (the edge), serving `/metrics` (`edge::admin`).

mod metrics;
mod sources;

pub use metrics::{JwksOutcome, Metrics, RouteMetrics};
pub use sources::SourceMetrics;
