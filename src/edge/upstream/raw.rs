//! Connections that carry something else than HTTP, made as all others are.
//!
//! Not here: what is spoken.

use pingora::connectors::TransportConnector;
use pingora::protocols::Stream;

use super::http::{Dialer, Place, unreached};
use crate::config::{Redis, Url};
use crate::proto::event::DownReason;

impl<'a> From<(&'a Redis, &'a Url)> for Place<'a> {
    fn from((redis, server): (&'a Redis, &'a Url)) -> Self {
        Self {
            name: "redis",
            url: server,
            ca: redis.ca.as_ref(),
            // Never empty: TLS would check no name then.
            server_name: redis.sni.as_deref().unwrap_or(&server.host),
            connect_timeout: redis.timeout,
            identity: redis.identity.as_ref(),
            is_http2: false,
        }
    }
}

impl Dialer {
    /// Connects to a place, trying every address it has.
    ///
    /// # Errors
    /// Why it cannot be reached.
    pub(crate) async fn stream(&self, place: impl Into<Place<'_>>) -> Result<Stream, DownReason> {
        let place = place.into();
        let connector = self.raw.get_or_init(|| TransportConnector::new(None));
        let mut last = DownReason::Dns;
        for address in self.resolve(&place.url.host, place.url.port).await? {
            let peer = self.peer(place, address)?;
            match connector.new_stream(&peer).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = unreached(place, address, &error),
            }
        }
        // The addresses may have changed.
        self.forget(&place.url.host, place.url.port);
        Err(last)
    }
}
