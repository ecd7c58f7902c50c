//! chatmux inside a Pingora server of your own: its routes beside yours.
//!
//! `cargo run --example embed -- conf/chatmux.yaml 127.0.0.1:8081`

use std::sync::Arc;

use async_trait::async_trait;
use chatmux::{Edge, config};
use pingora::prelude::*;

/// Your own proxy. Streams are chatmux's, everything else goes where it always went.
struct Mine {
    edge: Arc<Edge>,
}

#[async_trait]
impl ProxyHttp for Mine {
    type CTX = ();

    fn new_ctx(&self) -> Self::CTX {}

    async fn request_filter(&self, session: &mut Session, _ctx: &mut Self::CTX) -> Result<bool> {
        if self.edge.serve_if_routed(session).await {
            return Ok(true);
        }
        session.respond_error_with_body(404, "not a stream".into()).await?;
        Ok(true)
    }

    async fn upstream_peer(&self, _: &mut Session, _: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        Error::e_explain(InternalError, "this example proxies nothing")
    }
}

fn main() -> Result<(), String> {
    let mut args = std::env::args().skip(1);
    let conf = args.next().unwrap_or_else(|| "conf/chatmux.yaml".to_owned());
    let address = args.next().unwrap_or_else(|| "127.0.0.1:8081".to_owned());
    let loaded = config::load(conf.as_ref(), &|name| std::env::var(name).ok())
        .map_err(|errors| errors.to_string())?;
    let edge = Edge::new(Arc::new(loaded.config))?;

    let mut server = Server::new(None).map_err(|error| error.to_string())?;
    server.bootstrap();
    let mut service = http_proxy_service(&server.configuration, Mine { edge });
    service.add_tcp(&address);
    server.add_service(service);
    server.run_forever();
}
