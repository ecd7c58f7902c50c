//! The floor that decides: pure, repeatable, without I/O, clock, lock, log or async.
//!
//! Time comes in as an argument, randomness as a seed, bytes in any split. Everything here is
//! tested without a socket.

#![cfg_attr(not(test), warn(clippy::indexing_slicing, clippy::wildcard_enum_match_arm))]
#![cfg_attr(not(test), warn(clippy::match_wildcard_for_single_variants))]

pub mod sse;
pub mod body;
pub mod json;
pub mod path;
pub mod prune;
pub mod redact;
pub mod view;
pub mod time;
pub mod trace;
pub mod secret;
pub mod template;
pub mod html;
pub mod event;
pub mod cursor;
pub mod channel;
pub mod restore;
pub mod backend;
pub mod backoff;
pub mod beat;
pub mod link;
pub mod normalize;
pub mod selftest;
pub mod contract;
