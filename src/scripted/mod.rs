//! Scripted chat backends: the four dialects over real loopback sockets, faults included.
//!
//! For `chatmux demo`, which plays a looped conversation, and for integration tests, which break
//! things. They behave as the real ones were read to behave, oddities included, so that a naive
//! client fails against them. HTTP/1.1 is written by hand: every byte can be a wrong one.
//! Not here: TLS, HTTP/2, and chatmux's own reading of these dialects, which must not be shared.

mod backend;
mod brightpattern;
mod clock;
mod conversation;
mod fault;
mod http;
mod json;
mod openfire;
mod options;
mod poll;
mod salesforce;
mod server;
mod stage;
mod stream;
#[cfg(test)]
mod tests;
mod xians;

pub use backend::Backend;
pub use conversation::{Audience, Conversation, Pace, Person, Step};
pub use fault::{Fault, On};
pub use http::Request;
pub use options::{Kind, Options};
pub use stage::{Frame, MAX_OUTBOX, MAX_REQUESTS, Snapshot};
