//! The clients that people use, before chatmux: what each hears, and what it cannot do.
//!
//! All of them are told the same conversation, with each credential that they can show, are cut
//! within events and come back (`golden`). Then each is left alone with one difficulty after
//! another (`facts`). `docs/clients.md` is made of what was found (`table`); a run that finds
//! something else fails. `BLESS=1` rewrites it. Needs Chromium (`CHATMUX_CHROMIUM`), Node, Python
//! and curl; the libraries are pinned in `tests/clients` and installed once, below `target`.

mod desk;
mod facts;
mod golden;
mod page;
mod table;

use std::sync::Arc;
use std::time::Duration;

use crate::auth::{ISSUER, SECRET};
use crate::support::{Conf, Four, KEY, Scratch, sha256};
use crate::tls::certificate;

use desk::Desk;

/// Five returns of up to four seconds each, of forty clients at once on a machine that may be busy.
const PATIENCE: Duration = Duration::from_secs(120);
/// The cookie of the conf.
const COOKIE: &str = "chat";

/// All credentials, a page of another origin, TLS beside plain HTTP.
fn conf(conf: Conf, origin: &str, scratch: &Scratch) -> Conf {
    let auth = format!(
        "{{cookie: {COOKIE}, api_keys: [{{label: tests, sha256: \"{}\", tenants: [acme]}}], \
         jwt: [{{issuer: \"{ISSUER}\", audience: chat, algorithms: [HS256], \
         secret: \"{SECRET}\", leeway: 5s, \
         bind: {{participantId: sub, tenantId: tenant_id}}}}]}}",
        sha256(KEY)
    );
    let file = |name: &str| scratch.path().join(name).display().to_string();
    let tls = format!("tls: {{cert: \"{}\", key: \"{}\"}}", file("cert.pem"), file("key.pem"));
    let listen = format!("{{address: \"127.0.0.1:0\"}}, {{address: \"127.0.0.1:0\", {tls}}}");
    conf.auth(&auth)
        .listen(&listen)
        .line(&format!("cors: {{allow_origins: [\"{origin}\"], allow_credentials: true}}"))
        .line("replay: {linger: 60s, bytes: 64MiB}")
        // A busy machine is no slow client.
        .line("timeouts: {write: 5m}")
        .another_route("{path: /raw, sources: [agent], vocabulary: raw}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_client_hears_the_same_and_the_docs_say_what_it_cannot() {
    let scratch = Scratch::new();
    let (cert, key) = certificate().await;
    let cert = scratch.write("cert.pem", &cert);
    scratch.write("key.pem", &key);
    let Some(desk) = Desk::start(&cert).await else {
        return;
    };
    let desk = Arc::new(desk);
    let four = Arc::new(Four::start_with(|all| conf(all, &desk.origin, &scratch)).await);
    let credentials = golden::check(&desk, &four).await;
    four.check_law().await;
    let facts = facts::find(&desk, &four).await;
    table::check(&credentials, &facts);
}
