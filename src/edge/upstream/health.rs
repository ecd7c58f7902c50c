//! How an upstream stream is, for whoever decides whether clients should be sent here.
//!
//! Only failures count that no client's own values can be the cause of. Not here: what is made of
//! it (`readiness`).

use crate::proto::event::DownReason;
use crate::proto::link::Told;
use crate::proto::time::UnixMillis;

/// So many failures in a row are no hiccup.
const FAILING_AFTER: u32 = 3;

/// How an upstream stream is.
#[derive(Clone, Copy)]
pub(in crate::edge) struct Health {
    /// It has failed repeatedly, and not for what a client brought.
    pub(in crate::edge) is_failing: bool,
    /// It is open.
    pub(in crate::edge) is_up: bool,
    /// Why it is down, if it is.
    pub(in crate::edge) down: Option<DownReason>,
    /// Failures since it was last up, whoever caused them, and when the first was.
    pub(in crate::edge) failures: u32,
    pub(in crate::edge) since: Option<UnixMillis>,
}

/// Failures since a stream was last up.
#[derive(Default)]
pub(super) struct Failures {
    count: u32,
    /// Those among them that no client can be the cause of.
    own: u32,
    since: Option<UnixMillis>,
}

impl Failures {
    /// A dial failed, or an open stream was lost. Where a client's own values can be the cause, such
    /// as a wrong token, it is none of the backend's: one client must not take a node out of use.
    pub(super) fn on_failure(&mut self, reason: DownReason, status: Option<u16>, now: UnixMillis) {
        let is_own = match reason {
            DownReason::Dns
            | DownReason::Refused
            | DownReason::Tls
            | DownReason::Timeout
            | DownReason::Reset
            | DownReason::Silent => true,
            // The backend says that the fault is its own.
            DownReason::BadStatus => status.is_some_and(|status| status >= 500),
            DownReason::Unauthorized
            | DownReason::RateLimited
            | DownReason::BadContentType
            | DownReason::Closed
            | DownReason::Ended => false,
        };
        self.count = self.count.saturating_add(1);
        self.own = self.own.saturating_add(u32::from(is_own));
        self.since.get_or_insert(now);
    }

    /// How the stream is that was told this last.
    pub(super) fn health(&self, standing: Option<Told>) -> Health {
        let (is_up, down) = match standing {
            None => (false, None),
            Some(Told::Up { .. }) => (true, None),
            Some(Told::Down { reason, .. }) => (false, Some(reason)),
        };
        let is_failing = self.own >= FAILING_AFTER;
        Health { is_failing, is_up, down, failures: self.count, since: self.since }
    }
}
