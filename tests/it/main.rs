//! The real binary on port 0, between scripted backends and clients written by hand.
//!
//! A module per subject; `support` holds the harness. Every test waits for facts under a generous
//! deadline and ends with the conservation law, read from `/metrics`. Loopback only, ports are
//! the system's to choose. Not here: what a frame means (tested in `proto`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::string_slice,
    reason = "a test fails by panicking"
)]

mod support;

mod main_job;
mod dialogue;
mod heartbeats;
mod parameters;
mod auth;
mod jwks;
mod tickets;
mod limits;
mod refusals;
mod attacks;
mod doors;
mod secrets;
mod hygiene;
mod passthrough;
mod passthrough_answers;
mod passthrough_bounds;
mod passthrough_events;
mod sharing;
mod polls;
mod resume;
mod credentials;
mod history;
mod trouble;
mod ends;
mod gone;
mod crowd;
mod daemon;
mod handover;
mod operators;
mod monitoring;
mod logs;
mod packaging;
mod reload;
mod cli;
mod tls;
mod certificates;
mod handshakes;
mod http2;
mod tls_upstream;
mod selftest;
mod between;
mod cluster;
mod browser;
mod clients;
mod shipped;
mod tutorial;
mod contracts;
mod console;
mod tidy;
