//! Whether Redis is there and lets us in, for `check --online`.
//!
//! Not here: what an operator is told (`cli::check`).

use std::time::Duration;

use redis::cmd;
use tokio::time::timeout;

use super::link::{self, Link};
use crate::config::{Redis, Url};
use crate::edge::upstream::{Dialer, PROBE_TIMEOUT};

/// Connects, says who we are, and asks for a sign of life.
///
/// # Errors
/// Why not.
pub(crate) async fn probe(dialer: &Dialer, conf: &Redis, server: &Url) -> Result<(), String> {
    // Somebody waits; they want to know of a Redis that is slow, too.
    let patience = conf.timeout.max(Duration::from_secs(1)).min(PROBE_TIMEOUT);
    let conf = Redis { timeout: patience, ..conf.clone() };
    let ask = async {
        let link = Link::open(dialer, &conf, server).await?;
        let ping: Result<String, _> = cmd("PING").query_async(&mut link.connection()).await;
        ping.map(|_| ()).map_err(|error| link::said(&error))
    };
    timeout(PROBE_TIMEOUT, ask).await.unwrap_or_else(|_| Err(link::late(PROBE_TIMEOUT)))
}
