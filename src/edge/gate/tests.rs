//! Requests and what becomes of them, step by step.
