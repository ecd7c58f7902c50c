//! The floor that does: Pingora, tokio, sockets, the clock.
//!
//! A request passes the [`gate`], which decides without a socket; what it turns away is put into
//! HTTP by [`refusal`]. Not here: what events mean (`proto`), what was configured (`config`).

pub mod clock;
pub mod cors;
pub mod gate;
pub mod refusal;
