//! The SSE codec: bytes into frames, events into bytes.
//!
//! Decoding forgives what the WHATWG rules forgive and holds bounded memory whatever is
//! sent; encoding gives one strict form that no field can break out of.
//! Not here: reconnecting, what a frame means, what an event says.

mod block;
mod decode;
mod encode;

pub use decode::{Decoder, Frame, Item, Limits};
pub(crate) use encode::write_json_event;
pub use encode::{write_event, write_frame, write_retry};

#[cfg(test)]
mod tests;
