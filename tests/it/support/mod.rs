//! The harness: the edge as a process, clients by hand, backends by script, conf by the line.

mod backends;
mod cli;
mod conf;
mod edge;
mod front;
mod http;
mod jwks;
mod metrics;
mod pki;
mod raw;
mod redis;
mod relay;
mod schema;
mod sse;
mod web;
mod workshop;

pub(crate) use self::redis::Redis;
pub(crate) use backends::{
    Four, KINDS, One, backend, backend_with, jane, options, say, source_name,
};
pub(crate) use cli::{Scratch, chatmux, chatmux_with, demo};
pub(crate) use conf::{Conf, KEY, sha256};
pub(crate) use edge::Edge;
pub(crate) use front::Front;
pub(crate) use http::{Ask, Client, Head, Reply, Wire, read_reply, read_until, send_raw};
pub(crate) use jwks::{Jwks, Signer, set as jwk_set};
pub(crate) use metrics::Metrics;
pub(crate) use pki::{Authority, Issued, KeyKind, s_client};
pub(crate) use raw::{Raw, Say, answer};
pub(crate) use relay::{Act, Passed, Place, Relay};
pub(crate) use schema::names as event_names;
pub(crate) use sse::{Event, EventSource};
pub(crate) use web::{Asked, browse, serve_web};
pub(crate) use workshop::{npm, pip, run};

use std::time::Duration;

use tokio::time::timeout;

/// A fact that has not come true by then never will.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Asks for as many open files as the machine allows: crowds have one for each client.
pub(crate) fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).expect("a limit");
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).expect("the hard limit may be asked for");
}

/// Waits for a fact under [`DEADLINE`].
#[track_caller]
pub(crate) fn soon<T>(what: &str, fact: impl Future<Output = T>) -> impl Future<Output = T> {
    within(DEADLINE, what, fact)
}

/// Waits for a fact that rightly takes its time.
#[track_caller]
pub(crate) fn within<T>(
    limit: Duration,
    what: &str,
    fact: impl Future<Output = T>,
) -> impl Future<Output = T> {
    let at = std::panic::Location::caller();
    async move {
        match timeout(limit, fact).await {
            Ok(fact) => fact,
            Err(_) => panic!("{at}: waited {limit:?} in vain: {what}"),
        }
    }
}
