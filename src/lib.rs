//! chatmux: one event stream in front of many chat backends.

pub mod config;
pub mod proto;
#[doc(hidden)]
pub mod scripted;
