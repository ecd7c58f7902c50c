//! chatmux: one event stream in front of many chat backends.
//!
//! Opens the event streams of chat backends (or polls them), rewrites and merges their events
//! and serves them to browsers as server-sent events. The binary is for operators; to embed the
//! same edge in a Pingora server of your own, build an [`Edge`] from a [`config::Config`] and
//! hand [`Proxy`] to `pingora::proxy::http_proxy_service` (`examples/embed.rs` shows it).
//!
//! Two floors: [`proto`] decides and does no I/O, the edge moves bytes.

pub mod proto;
pub mod config;
pub mod telemetry;
mod edge;
#[doc(hidden)]
pub mod scripted;
#[doc(hidden)]
pub mod cli;

pub use edge::{Admin, Bound, Edge, Hooks, Passing, Proxy, RunOptions, run};
