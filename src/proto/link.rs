//! The life of one upstream connection, as a state machine.
//!
//! ```text
//!            +------------------------ wait over ------------------------+
//!            v                                                           |
//!   start  Dial --on_open--> Open --on_bytes--> Live                     |
//!          ^ |                |                  |                       |
//!          | +----------------+-----on_lost------+---> Lost --on_rest--> Waiting
//!          | |                |                  |                       |
//!          | +----------------+----on_redial-----+---> Renewing <--------+
//!          +--------------------on_renewed-----------------+
//!
//!   from anywhere: --on_gone--> Ended
//! ```
//!
//! It says what to do next and what clients must be told; it never looks at a clock. Liveness
//! counts bytes: an open connection that brings none for as long as its dialect allows is lost.
//! Not here: sockets (`edge::upstream`), the meaning of statuses (`backend::Dialect::answer`).

use std::time::{Duration, Instant};

use super::backoff::{Backoff, asked_wait};
use super::event::DownReason;

/// A connection that was sound for this long was healthy: the next failure starts from the
/// shortest wait again. Shorter lives must not reset it, or a backend that accepts and drops at
/// once would be dialled without pause.
pub const HEALTHY_AFTER: Duration = Duration::from_secs(10);

/// One upstream connection's life.
pub struct Link {
    state: State,
    silence: Duration,
    backoff: Backoff,
    slow: Backoff,
    told: Option<DownReason>,
    was_up: bool,
}

#[derive(Clone, Copy)]
enum State {
    /// A connection is to be made, or being made.
    Dial,
    /// The backend has answered as it should, and said nothing yet.
    Open { since: Instant },
    /// Bytes come.
    Live { since: Instant, last_byte: Instant },
    /// It failed. How long to wait is not decided, and nobody is told.
    Lost { reason: DownReason, retry_after: Option<Duration> },
    /// Nothing is done before this moment.
    Waiting { until: Instant },
    /// Another credential is due, then a dial at once.
    Renewing,
    /// Over for good.
    Ended,
}

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Connect.
    Dial,
    /// Read, up to this moment: without a byte by then the connection is lost.
    Read {
        /// When silence has lasted too long.
        until: Instant,
    },
    /// Draw the wait and tell of the loss.
    Rest,
    /// Nothing before this.
    Wait(Instant),
    /// Get another credential.
    Renew,
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

impl Link {
    /// About to dial. `silence` is how long an open connection may bring nothing.
    #[must_use]
    pub fn new(silence: Duration) -> Self {
        Self {
            state: State::Dial,
            silence,
            backoff: Backoff::default(),
            slow: Backoff::slow(),
            told: None,
            was_up: false,
        }
    }

    /// The backend answered as it should.
    pub fn on_open(&mut self, now: Instant) -> Option<Told> {
        match self.state {
            State::Open { .. } | State::Live { .. } | State::Ended => return None,
            State::Dial | State::Lost { .. } | State::Waiting { .. } | State::Renewing => {}
        }
        self.state = State::Open { since: now };
        self.told = None;
        let again = std::mem::replace(&mut self.was_up, true);
        Some(Told::Up { again })
    }

    /// Bytes came, whatever they say. Hot path: runs once per read.
    pub const fn on_bytes(&mut self, now: Instant) {
        match self.state {
            State::Open { since } | State::Live { since, .. } => {
                self.state = State::Live { since, last_byte: now };
            }
            State::Dial
            | State::Lost { .. }
            | State::Waiting { .. }
            | State::Renewing
            | State::Ended => {}
        }
    }

    /// The connection failed or could not be made.
    pub fn on_lost(&mut self, reason: DownReason, retry_after: Option<Duration>, now: Instant) {
        let sound_for = match (self.state, reason) {
            (State::Ended, _) => return,
            // Silence at the end is no health.
            (State::Open { .. }, DownReason::Silent) => Duration::ZERO,
            (State::Live { since, last_byte }, DownReason::Silent) => {
                last_byte.saturating_duration_since(since)
            }
            (State::Open { since } | State::Live { since, .. }, _) => {
                now.saturating_duration_since(since)
            }
            (State::Dial | State::Lost { .. } | State::Waiting { .. } | State::Renewing, _) => {
                Duration::ZERO
            }
        };
        if sound_for >= HEALTHY_AFTER {
            self.backoff.reset();
            self.slow.reset();
        }
        self.state = State::Lost { reason, retry_after };
    }

    /// Decides how long to wait after a loss, and whether it is told. `random` lies in
    /// `0.0..1.0`.
    pub fn on_rest(&mut self, random: f64, now: Instant) -> Option<Told> {
        let State::Lost { reason, retry_after } = self.state else {
            return None;
        };
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

    /// Another dial is worth it at once, and the loss not worth telling: a credential is due.
    pub const fn on_redial(&mut self) {
        match self.state {
            State::Ended => {}
            State::Dial
            | State::Open { .. }
            | State::Live { .. }
            | State::Lost { .. }
            | State::Waiting { .. }
            | State::Renewing => self.state = State::Renewing,
        }
    }

    /// A credential is there, as far as one is needed.
    pub const fn on_renewed(&mut self) {
        if matches!(self.state, State::Renewing) {
            self.state = State::Dial;
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

    /// What to do at this moment.
    pub fn next(&mut self, now: Instant) -> Next {
        match self.state {
            State::Dial => Next::Dial,
            State::Open { since } => Next::Read { until: since + self.silence },
            State::Live { last_byte, .. } => Next::Read { until: last_byte + self.silence },
            State::Lost { .. } => Next::Rest,
            State::Waiting { until } if until <= now => {
                self.state = State::Dial;
                Next::Dial
            }
            State::Waiting { until } => Next::Wait(until),
            State::Renewing => Next::Renew,
            State::Ended => Next::Stop,
        }
    }

    /// Whether the backend's answer to the last dial was as it should be.
    #[must_use]
    pub const fn is_open(&self) -> bool {
        matches!(self.state, State::Open { .. } | State::Live { .. })
    }

    /// Whether it has ever been open.
    #[must_use]
    pub const fn was_up(&self) -> bool {
        self.was_up
    }

    /// When silence will have lasted too long; `None` where nothing is open.
    #[must_use]
    pub fn silent_at(&self) -> Option<Instant> {
        match self.state {
            State::Open { since } => Some(since + self.silence),
            State::Live { last_byte, .. } => Some(last_byte + self.silence),
            State::Dial
            | State::Lost { .. }
            | State::Waiting { .. }
            | State::Renewing
            | State::Ended => None,
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests need some moment to count from")]

    use rand::rngs::SmallRng;
    use rand::{RngExt as _, SeedableRng as _};

    use super::*;
    use crate::proto::backoff::{CEILING, FLOOR, RETRY_AFTER_MAX, SLOW_CEILING, SLOW_FLOOR};

    const SILENCE: Duration = Duration::from_secs(35);

    /// What may happen to a link.
    #[derive(Clone, Copy, Debug)]
    enum Happens {
        Open,
        Bytes,
        Lost(DownReason),
        LostAsked(DownReason, u64),
        Rest,
        Redial,
        Renewed,
        Gone,
        /// Seconds go by.
        Passes(u64),
    }

    /// What is done next, without its moment.
    fn shown(next: Next) -> &'static str {
        match next {
            Next::Dial => "dial",
            Next::Read { .. } => "read",
            Next::Rest => "rest",
            Next::Wait(_) => "wait",
            Next::Renew => "renew",
            Next::Stop => "stop",
        }
    }

    fn apply(link: &mut Link, happens: Happens, random: f64, now: &mut Instant) -> Option<Told> {
        match happens {
            Happens::Open => return link.on_open(*now),
            Happens::Bytes => link.on_bytes(*now),
            Happens::Lost(reason) => link.on_lost(reason, None, *now),
            Happens::LostAsked(reason, secs) => {
                link.on_lost(reason, Some(Duration::from_secs(secs)), *now);
            }
            Happens::Rest => return link.on_rest(random, *now),
            Happens::Redial => link.on_redial(),
            Happens::Renewed => link.on_renewed(),
            Happens::Gone => return link.on_gone(),
            Happens::Passes(secs) => *now += Duration::from_secs(secs),
        }
        None
    }

    #[test]
    fn every_state_knows_what_may_happen_in_it() {
        use DownReason::{Closed, Unauthorized};
        use Happens::{Bytes, Gone, Lost, LostAsked, Open, Passes, Redial, Renewed, Rest};
        #[rustfmt::skip]
        let states: [(&str, &[Happens]); 7] = [
            ("dial", &[]),
            ("open", &[Open]),
            ("live", &[Open, Bytes]),
            ("lost", &[Open, Lost(Closed)]),
            ("waiting", &[Open, Lost(Closed), Rest]),
            ("renewing", &[Redial]),
            ("ended", &[Gone]),
        ];
        let happens = [
            Open,
            Bytes,
            Lost(Unauthorized),
            LostAsked(Closed, 7),
            Rest,
            Redial,
            Renewed,
            Gone,
            Passes(3600),
        ];
        #[rustfmt::skip]
        let wanted = [
            // Open    Bytes   Lost    LostAsked Rest   Redial   Renewed  Gone    Passes
            ["read",  "dial",  "rest", "rest",  "dial", "renew", "dial",  "stop", "dial"],
            ["read",  "read",  "rest", "rest",  "read", "renew", "read",  "stop", "read"],
            ["read",  "read",  "rest", "rest",  "read", "renew", "read",  "stop", "read"],
            ["read",  "rest",  "rest", "rest",  "wait", "renew", "rest",  "stop", "rest"],
            ["read",  "wait",  "rest", "rest",  "wait", "renew", "wait",  "stop", "dial"],
            ["read",  "renew", "rest", "rest",  "renew", "renew", "dial", "stop", "renew"],
            ["stop",  "stop",  "stop", "stop",  "stop", "stop",  "stop",  "stop", "stop"],
        ];
        for ((state, way), row) in states.iter().zip(wanted) {
            for (last, want) in happens.iter().zip(row) {
                let mut now = Instant::now();
                let mut link = Link::new(SILENCE);
                for step in way.iter().chain([last]) {
                    apply(&mut link, *step, 0.5, &mut now);
                }
                assert_eq!(shown(link.next(now)), want, "{state}, then {last:?}");
            }
        }
    }

    #[test]
    fn a_loss_is_told_once_per_reason_and_dialled_again() {
        let start = Instant::now();
        let mut link = Link::new(SILENCE);
        assert_eq!(link.next(start), Next::Dial);
        let lose = |link: &mut Link, reason, now| {
            link.on_lost(reason, None, now);
            link.on_rest(0.0, now)
        };
        let told = lose(&mut link, DownReason::Refused, start);
        assert!(matches!(
            told,
            Some(Told::Down { reason: DownReason::Refused, retry_in: Some(_) })
        ));
        let Next::Wait(until) = link.next(start) else { panic!("waits") };
        assert_eq!(link.next(until), Next::Dial);
        assert_eq!(lose(&mut link, DownReason::Refused, until), None, "told before");
        assert!(lose(&mut link, DownReason::Timeout, until).is_some());
        assert_eq!(link.on_open(until), Some(Told::Up { again: false }));
        assert!(lose(&mut link, DownReason::Timeout, until).is_some(), "news after it was up");
        assert_eq!(link.on_open(until), Some(Told::Up { again: true }));
    }

    /// The wait after a life of so long.
    fn wait_after(
        link: &mut Link,
        lived: Duration,
        reason: DownReason,
        now: &mut Instant,
    ) -> Duration {
        link.on_open(*now);
        link.on_bytes(*now);
        *now += lived;
        link.on_lost(reason, None, *now);
        link.on_rest(0.999, *now);
        let Next::Wait(until) = link.next(*now) else { panic!("waits") };
        let wait = until - *now;
        *now = until;
        link.next(*now);
        wait
    }

    #[test]
    fn only_a_stretch_of_health_resets_the_wait() {
        let mut now = Instant::now();
        let mut link = Link::new(SILENCE);
        let short = HEALTHY_AFTER - Duration::from_millis(1);
        for _ in 0..20 {
            wait_after(&mut link, short, DownReason::Closed, &mut now);
        }
        assert_eq!(wait_after(&mut link, short, DownReason::Closed, &mut now), CEILING);
        // It brought one byte and was silent from then on: that is no health.
        assert_eq!(wait_after(&mut link, SILENCE, DownReason::Silent, &mut now), CEILING);
        let wait = wait_after(&mut link, HEALTHY_AFTER, DownReason::Closed, &mut now);
        assert!(wait < Duration::from_secs(1), "{wait:?}");
    }

    #[test]
    fn silence_is_counted_from_the_last_byte() {
        let start = Instant::now();
        let second = Duration::from_secs(1);
        let mut link = Link::new(SILENCE);
        assert_eq!(link.silent_at(), None);
        link.on_open(start);
        assert_eq!(link.next(start), Next::Read { until: start + SILENCE });
        link.on_bytes(start + 34 * second);
        assert_eq!(link.silent_at(), Some(start + 34 * second + SILENCE));
        link.on_lost(DownReason::Silent, None, start + 69 * second);
        assert_eq!(link.silent_at(), None);
    }

    #[test]
    fn an_asked_pause_is_kept() {
        let now = Instant::now();
        let mut link = Link::new(SILENCE);
        link.on_lost(DownReason::RateLimited, Some(Duration::from_secs(40)), now);
        link.on_rest(0.0, now);
        assert_eq!(
            link.next(now + Duration::from_secs(39)),
            Next::Wait(now + Duration::from_secs(40))
        );
        assert_eq!(link.next(now + Duration::from_secs(40)), Next::Dial);
    }

    #[test]
    fn a_redial_is_neither_told_nor_waited_for() {
        let now = Instant::now();
        let mut link = Link::new(SILENCE);
        assert_eq!(link.on_open(now), Some(Told::Up { again: false }));
        link.on_redial();
        assert_eq!(link.next(now), Next::Renew);
        link.on_renewed();
        assert_eq!(link.next(now), Next::Dial);
        assert_eq!(link.on_open(now), Some(Told::Up { again: true }));
        link.on_gone();
        link.on_redial();
        assert_eq!(link.next(now), Next::Stop);
    }

    /// What holds in every life, whatever happens.
    #[test]
    fn no_life_breaks_the_rules() {
        use DownReason::{Closed, RateLimited, Refused, Silent, Timeout, Unauthorized};
        for seed in 0..2000 {
            let mut rng = SmallRng::seed_from_u64(seed);
            let mut now = Instant::now();
            let mut link = Link::new(SILENCE);
            let (mut was_gone, mut last_told) = (false, None);
            for _ in 0..60 {
                let reasons = [Closed, RateLimited, Refused, Silent, Timeout, Unauthorized];
                let reason = reasons[rng.random_range(0..reasons.len())];
                let happens = match rng.random_range(0..20) {
                    0..=3 => Happens::Open,
                    4..=6 => Happens::Bytes,
                    7..=9 => Happens::Lost(reason),
                    10 => Happens::LostAsked(reason, rng.random_range(0..100_000)),
                    11..=14 => Happens::Rest,
                    15 => Happens::Redial,
                    16 => Happens::Renewed,
                    17 if rng.random_range(0..20) == 0 => Happens::Gone,
                    _ => Happens::Passes(rng.random_range(0..100)),
                };
                let before = link.next(now);
                let told = apply(&mut link, happens, rng.random(), &mut now);
                let after = link.next(now);
                was_gone |= matches!(happens, Happens::Gone);
                assert_eq!(was_gone, after == Next::Stop, "{seed}: {happens:?}");
                if let (Next::Rest, Next::Wait(until)) = (before, after) {
                    let wait = until - now;
                    let most = (RETRY_AFTER_MAX * 2).max(SLOW_CEILING).max(CEILING);
                    assert!((FLOOR..=most).contains(&wait), "{seed}: {wait:?}");
                }
                if let Some(Told::Down { reason, retry_in }) = told {
                    assert_ne!(last_told, Some(reason), "{seed}: told twice");
                    if reason == Unauthorized
                        && let Some(wait) = retry_in
                    {
                        assert!(wait >= FLOOR, "{seed}: {wait:?}");
                    }
                }
                match told {
                    Some(Told::Down { reason, .. }) => last_told = Some(reason),
                    Some(Told::Up { .. }) => last_told = None,
                    None => {}
                }
                // It is read exactly while it is open, and then silence has an end.
                assert_eq!(link.is_open(), link.silent_at().is_some(), "{seed}: {happens:?}");
                assert_eq!(link.is_open(), matches!(after, Next::Read { .. }), "{seed}");
            }
        }
    }

    #[test]
    fn refused_credentials_are_tried_slowly() {
        let now = Instant::now();
        for random in [0.0, 0.5, 0.999] {
            let mut link = Link::new(SILENCE);
            for _ in 0..10 {
                link.on_lost(DownReason::Unauthorized, None, now);
                link.on_rest(random, now);
                let Next::Wait(until) = link.next(now) else { panic!("waits") };
                assert!((SLOW_FLOOR..=SLOW_CEILING).contains(&(until - now)));
            }
        }
    }
}
