//! Tokens, true and forged.
