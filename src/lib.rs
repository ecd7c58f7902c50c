//! One event stream in front of many chat backends: an edge proxy on Pingora.

#[doc(hidden)]
pub mod scripted;
