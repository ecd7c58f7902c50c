//! What is decided: formats, vocabularies and state machines.
//!
//! Pure: no I/O, clock, async, lock or log; time and randomness come in as arguments,
//! so every case is a plain, repeatable test. Not here: sockets and tasks (`edge`).

pub mod sse;
