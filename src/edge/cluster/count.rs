//! How many streams this node has open, told to the others.
//!
//! Counts are told whole, never as a difference, and again at intervals: whatever was lost, what
//! is true comes to stand there. A node that has died is believed for a minute. Not here: what
//! opens a stream (`gate`), which asks and counts in one call.

use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::link::Link;
use super::names::Counted;
use super::{BELIEVED, Cluster, millis};
use crate::telemetry::ClusterCall;

/// How often all counts are told again.
const REFRESH_PERIOD: Duration = Duration::from_secs(20);
/// Counts of one call: a script that takes long holds up all nodes.
const COUNTS_MAX: usize = 256;

/// Tells the counts as they change, until there is an error.
pub(super) async fn tell(cluster: &Cluster, link: &Link) -> String {
    loop {
        // All of them at first: nobody knows what was told before.
        cluster.changes.mark_all();
        let until = Instant::now() + REFRESH_PERIOD;
        loop {
            let counts = cluster.changes.take();
            for some in counts.chunks(COUNTS_MAX) {
                let mut call = cluster.scripts.count.prepare_invoke();
                call.arg(&cluster.node).arg(millis(BELIEVED));
                for (policy, key, count) in some {
                    call.key(cluster.names.budget(*policy, Counted::Streams, key)).arg(*count);
                }
                let told: Result<(), String> =
                    cluster.ask_by(link, ClusterCall::Count, &call).await;
                if let Err(error) = told {
                    return error;
                }
            }
            if timeout_at(until, cluster.changes.some()).await.is_err() {
                break;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_told_again_before_they_are_forgotten() {
        assert!(REFRESH_PERIOD * 2 < BELIEVED);
    }
}
