//! The floor that does: Pingora, tokio, sockets, the clock.
//!
//! A request passes the [`gate`], which decides without a socket; what it turns away is put into
//! HTTP by [`refusal`]; what it lets in listens to a log of the [`hub`], which [`upstream`]
//! streams feed. Not here: what events mean (`proto`), what was configured (`config`).

mod clock;
mod readiness;
mod refusal;
mod cors;
mod digest;
mod strict;
mod supervisor;
mod jwks;
mod filters;
mod gate;
mod bell;
mod channel;
mod hub;
mod upstream;
mod streams;
mod cluster;
mod tls;
mod door;
mod down;
mod client;
mod selftest;
mod passthrough;
mod together;
mod reload;
mod proxy;
mod console;
mod admin;
#[cfg(test)]
mod admin_tests;
mod handed;
mod leaving;
mod server;

pub use admin::Admin;
pub(crate) use clock::{now, wall};
pub(crate) use cluster::probe_cluster;
pub(crate) use door::{H2_STREAMS_MAX, connections_max};
pub use filters::Proxy;
pub(crate) use jwks::try_keys;
pub use passthrough::Passing;
pub use proxy::Edge;
pub use server::{Bound, Hooks, RunOptions, run};
pub(crate) use upstream::{Dialer, PROBE_TIMEOUT, Probed, parse_retry_after, probe};
