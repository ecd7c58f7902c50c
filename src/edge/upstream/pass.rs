//! What a passed call needs of a source: a credential, and the peers that Pingora may dial.
//!
//! Credentials are those of the person's stream. Names are resolved here, off Pingora's path.
//! Not here: the call itself (`edge::passthrough`).

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;

use pingora::upstreams::peer::HttpPeer;

use super::http::Dialer;
use super::ring::Ring;
use crate::config::Source;
use crate::proto::backend::{Credential, Recipe};
use crate::proto::event::DownReason;
use crate::telemetry::SourceMetrics;

/// An idle connection that is used again must not be one that the backend is about to close:
/// calls that change something are not sent twice.
const IDLE: Duration = Duration::from_secs(20);

/// The credential that a call goes with.
pub(crate) struct PassKey {
    ring: Arc<Ring>,
    /// Which of those that the ring was given.
    grants: u64,
}

impl PassKey {
    /// The backend refused it: the next call, and the stream when it is dialled, get another,
    /// unless that says nothing of it.
    pub(crate) fn on_refused(&self) {
        self.ring.on_refused_call(self.grants);
    }
}

impl Dialer {
    /// The credential of whoever the recipe is for, got if it is not there; `None` if the
    /// backend gives none.
    pub(crate) async fn pass_key(
        &self,
        source: &Arc<Source>,
        recipe: &Recipe,
        metrics: &Arc<SourceMetrics>,
    ) -> Option<(PassKey, Credential)> {
        let ring = self.rings().of(source, recipe, metrics, true);
        let credential = ring.provide(self).await.ok()?;
        let grants = ring.count().grants;
        Some((PassKey { ring, grants }, credential))
    }

    /// All addresses of a source, for Pingora to dial.
    pub(crate) async fn pass_peers(
        &self,
        source: &Source,
        timeout: Duration,
    ) -> Result<Vec<HttpPeer>, DownReason> {
        let addresses = self.resolve(&source.url.host, source.url.port).await?;
        let mut group = DefaultHasher::new();
        source.name.hash(&mut group);
        let group_key = group.finish();
        let peers = addresses.into_iter().map(|address| {
            let mut peer = self.peer(source.into(), address)?;
            peer.group_key = group_key;
            peer.options.read_timeout = Some(timeout);
            peer.options.write_timeout = Some(timeout);
            peer.options.idle_timeout = Some(IDLE);
            Ok(peer)
        });
        peers.collect()
    }
}
