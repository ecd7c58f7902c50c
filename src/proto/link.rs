//! The life of one upstream connection, as a state machine.
//!
//! ```text
//!            +------------- wait over --------------+
//!            v                                      |
//!   start  Dial --on_open--> Live --on_lost--> Waiting
//!            |                 |                    ^
//!            +----on_lost------|--------------------+
//!            +----on_gone------+--> Ended         (on_redial: to Dial without a wait)
//! ```
//!
//! It says what to do next and what clients must be told; it never looks at a clock. Not here:
//! sockets (`edge::upstream`), the meaning of statuses (`backend::Dialect::answer`).

use std::time::{Duration, Instant};

use super::backoff::{Backoff, asked_wait};
use super::event::DownReason;

/// A connection that lived this long was healthy: the next failure starts from the shortest
/// wait again. Shorter lives must not reset it, or a backend that accepts and drops at once
/// would be dialled without pause.
pub const HEALTHY_AFTER: Duration = Duration::from_secs(10);

/// One upstream connection's life.
pub struct Link {
    state: State,
    backoff: Backoff,
    slow: Backoff,
    told: Option<DownReason>,
    was_up: bool,
}

enum State {
    Dial,
    Live { since: Instant },
    Waiting { until: Instant },
    Ended,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Connect.
    Dial,
    /// Read.
    Read,
    /// Nothing before this.
    Wait(Instant),
    /// Nothing ever again.
    Stop,
}

/// What clients are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// `source_up`; `again` = after a loss.
    Up {
        /// Whether it had been up before.
        again: bool,
    },
    /// `source_down`.
    Down {
        /// Why.
        reason: DownReason,
        /// When it is tried again.
        retry_in: Option<Duration>,
    },
}

impl Default for Link {
    fn default() -> Self {
        Self::new()
    }
}

impl Link {
    /// About to dial.
    #[must_use]
    pub fn new() -> Self {
        Self {
            state: State::Dial,
            backoff: Backoff::default(),
            slow: Backoff::slow(),
            told: None,
            was_up: false,
        }
    }

    /// What to do at this moment.
    pub fn next(&mut self, now: Instant) -> Next {
        match self.state {
            State::Dial => Next::Dial,
            State::Live { .. } => Next::Read,
            State::Waiting { until } if until <= now => {
                self.state = State::Dial;
                Next::Dial
            }
            State::Waiting { until } => Next::Wait(until),
            State::Ended => Next::Stop,
        }
    }

    /// The backend answered as it should.
    pub fn on_open(&mut self, now: Instant) -> Option<Told> {
        match self.state {
            State::Live { .. } | State::Ended => return None,
            State::Dial | State::Waiting { .. } => {}
        }
        self.state = State::Live { since: now };
        self.told = None;
        let again = std::mem::replace(&mut self.was_up, true);
        Some(Told::Up { again })
    }

    /// The connection failed or could not be made. `random` lies in `0.0..1.0`.
    pub fn on_lost(
        &mut self,
        reason: DownReason,
        retry_after: Option<Duration>,
        random: f64,
        now: Instant,
    ) -> Option<Told> {
        match self.state {
            State::Ended => return None,
            State::Live { since } if now.saturating_duration_since(since) >= HEALTHY_AFTER => {
                self.backoff.reset();
                self.slow.reset();
            }
            State::Live { .. } | State::Dial | State::Waiting { .. } => {}
        }
        let wait = match (retry_after, reason) {
            // Asked for no pause at all, the back-off still holds.
            (Some(asked), _) => asked_wait(asked, random).max(self.backoff.next_wait(random)),
            (None, DownReason::Unauthorized) => self.slow.next_wait(random),
            (None, _) => self.backoff.next_wait(random),
        };
        self.state = State::Waiting { until: now + wait };
        if self.told == Some(reason) {
            return None;
        }
        self.told = Some(reason);
        Some(Told::Down { reason, retry_in: Some(wait) })
    }

    /// Another dial is worth it at once, and the loss not worth telling: a credential was due.
    pub const fn on_redial(&mut self) {
        match self.state {
            State::Dial | State::Live { .. } | State::Waiting { .. } => self.state = State::Dial,
            State::Ended => {}
        }
    }

    /// The conversation is over for good.
    pub fn on_gone(&mut self) -> Option<Told> {
        if matches!(self.state, State::Ended) {
            return None;
        }
        self.state = State::Ended;
        Some(Told::Down { reason: DownReason::Ended, retry_in: None })
    }

    /// Whether the backend's answer to the last dial was as it should be.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        matches!(self.state, State::Live { .. })
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests need some moment to count from")]

    use super::*;

    #[test]
    fn a_loss_is_told_once_per_reason_and_dialled_again() {
        let start = Instant::now();
        let mut link = Link::new();
        assert_eq!(link.next(start), Next::Dial);
        let told = link.on_lost(DownReason::Refused, None, 0.0, start);
        assert!(matches!(
            told,
            Some(Told::Down { reason: DownReason::Refused, retry_in: Some(_) })
        ));
        let Next::Wait(until) = link.next(start) else { panic!("waits") };
        assert_eq!(link.next(until), Next::Dial);
        assert_eq!(link.on_lost(DownReason::Refused, None, 0.0, until), None, "told before");
        assert!(link.on_lost(DownReason::Timeout, None, 0.0, until).is_some());
        assert_eq!(link.on_open(until), Some(Told::Up { again: false }));
        assert_eq!(link.next(until), Next::Read);
        assert!(
            link.on_lost(DownReason::Timeout, None, 0.0, until).is_some(),
            "news after it was up"
        );
        assert_eq!(link.on_open(until), Some(Told::Up { again: true }));
    }

    #[test]
    fn short_lives_do_not_reset_the_wait() {
        let mut now = Instant::now();
        let mut link = Link::new();
        let mut last = Duration::ZERO;
        for _ in 0..20 {
            link.on_open(now);
            link.on_lost(DownReason::Closed, None, 0.999, now);
            let Next::Wait(until) = link.next(now) else { panic!("waits") };
            last = until - now;
            now = until;
            link.next(now);
        }
        assert_eq!(last, crate::proto::backoff::CEILING);
        link.on_open(now);
        now += HEALTHY_AFTER;
        link.on_lost(DownReason::Closed, None, 0.999, now);
        let Next::Wait(until) = link.next(now) else { panic!("waits") };
        assert!(until - now < Duration::from_secs(1));
    }

    #[test]
    fn an_asked_pause_is_kept() {
        let now = Instant::now();
        let mut link = Link::new();
        link.on_lost(DownReason::RateLimited, Some(Duration::from_secs(40)), 0.0, now);
        assert_eq!(
            link.next(now + Duration::from_secs(39)),
            Next::Wait(now + Duration::from_secs(40))
        );
        assert_eq!(link.next(now + Duration::from_secs(40)), Next::Dial);
    }

    #[test]
    fn a_redial_is_neither_told_nor_waited_for() {
        let now = Instant::now();
        let mut link = Link::new();
        assert_eq!(link.on_open(now), Some(Told::Up { again: false }));
        link.on_redial();
        assert_eq!(link.next(now), Next::Dial);
        assert_eq!(link.on_open(now), Some(Told::Up { again: true }));
        link.on_gone();
        link.on_redial();
        assert_eq!(link.next(now), Next::Stop);
    }

    #[test]
    fn the_end_is_final() {
        let now = Instant::now();
        let mut link = Link::new();
        assert!(link.on_gone().is_some());
        assert_eq!(link.on_gone(), None);
        assert_eq!(link.on_open(now), None);
        assert_eq!(link.on_lost(DownReason::Closed, None, 0.0, now), None);
        assert_eq!(link.next(now), Next::Stop);
    }
}
