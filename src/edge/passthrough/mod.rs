//! Calls that are passed through to a backend: what Pingora's proxy does not do by itself.
//!
//! The gate has let the call in before Pingora dials. Here its head is made the backend's, the
//! answer's head the client's, bodies are counted and looked through as they stream past, and
//! failures become refusals. Memory does not grow with bodies. Not here: which calls there are
//! (`gate`), dialling (`edge::upstream`, Pingora).

mod answer;
mod begin;
mod cache;
mod copy;
mod fault;
pub(super) mod path;
mod request;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::StatusCode;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::upstreams::peer::HttpPeer;
use pingora::{BError, Error, ErrorSource, ErrorType, Result};

pub(crate) use fault::PassFault;

use self::copy::Copy;
use super::clock;
use super::gate::Passed;
use super::proxy::{Answered, Answering};
use super::upstream::PassKey;
use crate::proto::backend::Dress;
use crate::proto::prune::Pruner;

/// Bytes of a request's body that must come in a second, on the whole: a phone with the poorest
/// of networks sends faster. Less would hold a connection of the backend for next to nothing.
const UPLOAD_RATE_MIN: usize = 4 * 1024;

/// What Pingora keeps of a passed call between its phases; nothing for all other requests.
#[derive(Default)]
pub struct Passing(pub(super) Option<Box<Call>>);

/// One call on its way.
pub(super) struct Call {
    pub(super) passed: Passed,
    pub(super) dress: Arc<Dress>,
    /// Addresses of the backend, and how many were tried.
    pub(super) peers: Vec<HttpPeer>,
    pub(super) tried: usize,
    /// What goes on its answer, whoever gives it.
    pub(super) answered: Answered,
    /// The credential it goes with, where the edge got it.
    pub(super) key: Option<PassKey>,
    /// The process waits for it before it ends.
    pub(super) _answering: Answering,
    pub(super) bodies: Bodies,
    pub(super) pruner: Option<Pruner>,
    /// The answer, as far as it is to enter a log, too.
    copy: Option<Copy>,
    /// Why it is ended here.
    pub(super) fault: Option<PassFault>,
}

/// Bytes that went by, since the head of the request did.
pub(super) struct Bodies {
    up: usize,
    down: usize,
    since: Instant,
}

impl Bodies {
    pub(super) const fn new(since: Instant) -> Self {
        Self { up: 0, down: 0, since }
    }

    /// Whether the request's body comes slower than it may: it has `timeout` to begin with, and a
    /// second for every [`UPLOAD_RATE_MIN`] bytes.
    fn is_late(&self, timeout: Duration, now: Instant) -> bool {
        let secs = u64::try_from(self.up / UPLOAD_RATE_MIN).unwrap_or(u64::MAX);
        now.saturating_duration_since(self.since) > timeout + Duration::from_secs(secs)
    }
}

impl Call {
    /// The next address to try.
    pub(super) fn next_peer(&mut self) -> Result<Box<HttpPeer>> {
        let peer = self.peers.get(self.tried).or_else(|| self.peers.last());
        self.tried += 1;
        peer.cloned().map(Box::new).ok_or_else(|| internal("there is no address"))
    }

    /// Whether there is another address to try.
    pub(super) fn has_next(&self) -> bool {
        self.tried < self.peers.len()
    }

    /// The head that the backend gets.
    pub(super) fn on_request(&mut self, header: &mut RequestHeader) -> Result<()> {
        request::dress(header, self)?;
        // Made again on another connection, it is sent from its first byte on.
        self.bodies = Bodies::new(clock::now());
        self.copy.iter_mut().for_each(Copy::on_sent);
        Ok(())
    }

    /// A piece of the request's body.
    pub(super) fn on_upload(&mut self, piece: Option<&Bytes>, is_end: bool) -> Result<()> {
        self.bodies.up += piece.map_or(0, Bytes::len);
        if !is_end && self.bodies.is_late(self.passed.route.timeout, clock::now()) {
            return Err(self.end(PassFault::Slow));
        }
        let bytes_max = self.passed.route.upload_bytes_max;
        if self.bodies.up > bytes_max {
            return Err(self.end(PassFault::TooLarge { bytes_max }));
        }
        Ok(())
    }

    /// The head of the answer.
    pub(super) fn on_answer(&mut self, header: &mut ResponseHeader) -> Result<()> {
        if header.status == StatusCode::SWITCHING_PROTOCOLS {
            // Nobody asked for it, and what would follow is no answer.
            return Err(self.end(PassFault::BadAnswer));
        }
        if header.status.is_informational() {
            answer::bare(header);
            return Ok(());
        }
        // 403 is about what was asked for: whoever calls is known, and may do other things.
        if header.status == StatusCode::UNAUTHORIZED
            && let Some(key) = &self.key
        {
            key.on_refused();
        }
        let is_json = answer::is_json(header);
        if !is_json {
            self.pruner = None;
        }
        if let Some(copy) = &mut self.copy {
            copy.on_answer(header.status, is_json);
        }
        if let Some(fault) = answer::fault(header, self) {
            return Err(self.end(fault));
        }
        answer::dress(header, self)
    }

    /// A piece of the answer's body.
    pub(super) fn on_download(&mut self, piece: &mut Option<Bytes>, is_end: bool) -> Result<()> {
        self.bodies.down += piece.as_ref().map_or(0, Bytes::len);
        if self.bodies.down > self.passed.route.download_bytes_max {
            return Err(self.end(PassFault::BadAnswer));
        }
        if let (Some(copy), Some(piece)) = (&mut self.copy, piece.as_ref()) {
            copy.push(piece);
        }
        if let Some(mut pruner) = self.pruner.take() {
            let mut out = piece.as_ref().map(|piece| pruner.push(piece)).unwrap_or_default();
            if is_end {
                out.extend(pruner.finish());
            } else {
                self.pruner = Some(pruner);
            }
            *piece = (!out.is_empty()).then(|| out.into());
        }
        if is_end {
            self.on_whole();
        }
        Ok(())
    }

    /// The answer is whole.
    pub(super) fn on_whole(&mut self) {
        self.copy.take().into_iter().for_each(Copy::finish);
    }

    /// What a client is told of a failure; `None` if nobody is there to be told.
    pub(super) fn fault_of(&mut self, error: &Error) -> Option<PassFault> {
        if let Some(fault) = self.fault.take() {
            return Some(fault);
        }
        let is_late = matches!(
            error.etype(),
            ErrorType::ConnectTimedout
                | ErrorType::TLSHandshakeTimedout
                | ErrorType::ReadTimedout
                | ErrorType::WriteTimedout
        );
        match (error.esource(), is_late) {
            (ErrorSource::Upstream, true) => Some(PassFault::Silent),
            (ErrorSource::Upstream, false) => Some(PassFault::Unreachable),
            (ErrorSource::Downstream, true) => Some(PassFault::Slow),
            (ErrorSource::Downstream, false) => match error.etype() {
                ErrorType::WriteError | ErrorType::ReadError | ErrorType::ConnectionClosed => None,
                // An open set of Pingora's: all others are about what the client sent.
                _ => Some(PassFault::Broken),
            },
            (ErrorSource::Internal | ErrorSource::Unset, _) => Some(PassFault::Internal),
        }
    }

    fn end(&mut self, fault: PassFault) -> BError {
        self.fault = Some(fault);
        Error::explain(ErrorType::InternalError, "the call is ended here")
    }
}

/// An error that is ours.
pub(super) fn internal(what: &'static str) -> BError {
    Error::explain(ErrorType::InternalError, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_has_its_time_and_a_second_for_every_four_kibibytes() {
        let since = clock::now();
        let timeout = Duration::from_secs(75);
        for (bytes, secs, want) in [
            (0, 75, false),
            (0, 76, true),
            (4095, 76, true),
            (4096, 76, false),
            (4096, 77, true),
            (32 << 20, 75 + 8192, false),
            (32 << 20, 76 + 8192, true),
        ] {
            let bodies = Bodies { up: bytes, ..Bodies::new(since) };
            let now = since + Duration::from_secs(secs);
            assert_eq!(bodies.is_late(timeout, now), want, "{bytes} after {secs} s");
        }
    }
}
