//! The self-test of what lies between a client and the edge: is something buffered, compressed,
//! or cut when it is silent?
//!
//! The edge sends numbered probes at known moments ([`Plan`]); whoever hears them notes when they
//! came ([`Heard`]) and gets a verdict ([`judge`]). Bounded: no plan takes longer than
//! [`TAKES_MAX`]. Not here: sending and receiving, a clock.

mod describe;
mod heard;
mod plan;
mod probe;
mod verdict;

#[cfg(test)]
mod tests;

pub use describe::EVENTS;
pub use heard::{Ended, Heard};
pub use plan::{IDLE_DEFAULT_SECS, IDLE_MAX_SECS, Phase, Plan, Step, TAKES_MAX};
pub use probe::{About, ClientFrom, EndReason, HttpVersion, write_begin, write_end, write_probe};
pub use verdict::{Check, Finding, Verdict, judge};
