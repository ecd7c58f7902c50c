//! chatmux: one event stream in front of many chat backends.

pub mod proto;
#[doc(hidden)]
pub mod scripted;
