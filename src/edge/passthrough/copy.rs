//! The copy of an answer that may hold what a stream waits for.
//!
//! Events that are an answer to a call are told on the stream of whoever called. However the call
//! ends, that stream learns of it: an answer that did not arrive whole may have held some. Not
//! here: whose streams these are (`edge::upstream`).

use std::sync::Arc;

use bytes::BytesMut;
use http::StatusCode;

use crate::edge::hub::Hub;
use crate::edge::upstream::{Taken, Taking};
use crate::proto::backend::Answer;

/// An answer whose events are to enter logs. Dropped before it is whole, it is a loss.
pub(super) struct Copy {
    hub: Arc<Hub>,
    taking: Taking,
    /// The backend may have the call, and nobody was told yet what came of it.
    is_open: bool,
    /// Of an answer that can be read.
    status: Option<StatusCode>,
    body: BytesMut,
    is_oversize: bool,
}

impl Copy {
    /// Of the answer to a call that is about to be made.
    pub(super) fn new(hub: Arc<Hub>, taking: Taking) -> Self {
        Self {
            hub,
            taking,
            is_open: false,
            status: None,
            body: BytesMut::new(),
            is_oversize: false,
        }
    }

    /// The call is on its way.
    pub(super) const fn on_sent(&mut self) {
        self.is_open = true;
    }

    /// The head of the answer; `is_json`: its body may be events.
    pub(super) fn on_answer(&mut self, status: StatusCode, is_json: bool) {
        self.status = is_json.then_some(status);
    }

    /// A piece of its body.
    pub(super) fn push(&mut self, piece: &[u8]) {
        let bytes_max = self.taking.source.event_bytes_max;
        self.is_oversize |= self.body.len() + piece.len() > bytes_max;
        if self.is_oversize {
            self.body = BytesMut::new();
        } else {
            self.body.extend_from_slice(piece);
        }
    }

    /// The answer is whole.
    pub(super) fn finish(mut self) {
        self.is_open = false;
        let text = String::from_utf8_lossy(&self.body);
        if let Some(taken) = self.taken(&text) {
            self.hub.on_taken(&self.taking, taken);
        }
    }

    /// What an answer with this body has taken, if anything.
    fn taken<'a>(&self, text: &'a str) -> Option<Taken<'a>> {
        let status = self.status?;
        if status.is_server_error() {
            // Whoever stands before the backend may have given up on what it has answered.
            return Some(Taken::Unknown);
        }
        if self.is_oversize && status.is_success() {
            return Some(Taken::TooMany);
        }
        match (self.taking.source.dialect.answer)(status.as_u16(), text) {
            Answer::Events => Some(Taken::Events(text)),
            Answer::Empty
            | Answer::Unauthorized
            | Answer::RateLimited
            | Answer::Gone
            | Answer::Bad => None,
        }
    }
}

impl Drop for Copy {
    fn drop(&mut self) {
        if self.is_open {
            self.hub.on_taken(&self.taking, Taken::Unknown);
        }
    }
}
