//! Credentials that a dialect gets by itself: how, and when which step is due.
//!
//! A dialect describes the calls ([`RecipePlan`]) and reads their answers ([`Obtained`]);
//! [`Keyring`] says what is due before a dial. It never looks at a clock. Not here: making the
//! calls, and how many at a time (`edge::upstream`).
//!
//! ```text
//!   nothing --obtain--> held --(due, refused)--> stale --renew, or obtain--> held
//!      ^                                           |
//!      +------------- the renewal is refused ------+
//! ```

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::call::{Call, CallPlan, Piece};
use super::dialect::SessionValues;
use crate::proto::json::Object;
use crate::proto::secret::Secret;
use crate::proto::template::{ResolveError, Variables};
use crate::proto::time::UnixMillis;

/// A renewal that failed without being refused is tried again after so long, as long as what is
/// held is still good.
pub const RENEW_RETRY: Duration = Duration::from_secs(10);
/// A renewal is due at the latest so long before the end of what is held.
const RENEW_BEFORE_MAX: Duration = Duration::from_secs(300);
/// It is due when this part of its life is left: one in so many.
const RENEW_BEFORE_PART: u32 = 5;
/// Nothing is renewed earlier than this after it came: a backend whose clock stands far off
/// must not be asked without pause.
const RENEW_FLOOR: Duration = Duration::from_secs(1);
/// A credential that opened no stream is not given up for a refused call before this age: a call
/// may be refused for what it asks, and each new credential is taken from what all others may get.
const CALL_REFUSED_AGE_MIN: Duration = Duration::from_secs(60);

/// What a backend gave: values for the holes of calls. No `Debug`: they are credentials.
#[derive(Clone, Default)]
pub struct Credential {
    values: BTreeMap<&'static str, Secret>,
    /// The last event id to begin with, where the backend says it.
    pub resume_from: Option<String>,
    /// When it ends, where the backend says it.
    pub expires: Option<UnixMillis>,
    /// The values that the session is told of.
    pub told: SessionValues,
}

impl Credential {
    /// These values, without an end.
    #[must_use]
    pub fn new(values: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let values = values.into_iter().map(|(name, value)| (name, Secret::new(value)));
        Self { values: values.collect(), ..Self::default() }
    }

    /// The same, with more values.
    #[must_use]
    pub fn with(&self, values: impl IntoIterator<Item = (&'static str, String)>) -> Self {
        let mut more = self.clone();
        let values = values.into_iter().map(|(name, value)| (name, Secret::new(value)));
        more.values.extend(values);
        more
    }

    /// The value for a hole.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(Secret::reveal)
    }
}

/// What the answer to a call for a credential says.
pub enum Obtained {
    /// Here it is.
    Granted(Credential),
    /// Whoever asks may not.
    Refused,
    /// There is nothing to be had yet, such as a chat that was not begun.
    Absent,
    /// Asked too often.
    RateLimited,
    /// Anything else.
    Failed,
}

/// How a dialect gets its credential.
#[derive(Clone, Default)]
pub struct RecipePlan {
    /// Gets one out of nothing.
    pub obtain: CallPlan,
    /// Gets a new one for the same subject out of the one at hand.
    pub renew: Option<CallPlan>,
    /// Whose it is, where the calls do not say: recipes of different subjects are never equal.
    pub subject: Piece,
    /// What is known of it.
    pub conduct: Conduct,
}

/// What is known of a dialect's credentials.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Conduct {
    /// Out of use for longer, it is not trusted any more.
    pub reuse: Option<Duration>,
    /// A stream that was opened with one of earlier use, and says nothing for so long but that
    /// it lives, may be a dead one: it is opened anew.
    pub suspect: Option<Duration>,
}

/// A recipe with a client's values in it. No `Debug`: it holds credentials.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Recipe {
    /// As in the plan.
    pub obtain: Call,
    /// As in the plan.
    pub renew: Option<Call>,
    /// As in the plan.
    pub conduct: Conduct,
    subject: String,
}

impl RecipePlan {
    /// Fills in a client's values. `base_path` is the path of the source's `url`.
    ///
    /// # Errors
    /// A value that is absent or cannot stand where it is wanted.
    pub fn resolve(
        &self,
        base_path: &str,
        variables: &dyn Variables,
    ) -> Result<Recipe, ResolveError> {
        let renew = self.renew.as_ref().map(|call| call.resolve(base_path, variables));
        Ok(Recipe {
            obtain: self.obtain.resolve(base_path, variables)?,
            renew: renew.transpose()?,
            conduct: self.conduct,
            subject: self.subject.text(variables)?,
        })
    }
}

/// What is due before a dial.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// Nothing: what is held will do.
    Nothing,
    /// A new one out of the one at hand.
    Renewal,
    /// One out of nothing.
    Obtaining,
}

/// The credential of one upstream stream, and what is thought of it.
pub struct Keyring {
    conduct: Conduct,
    can_renew: bool,
    held: Option<Held>,
    /// It was refused since the stream was last open.
    is_refused: bool,
}

struct Held {
    grant: Credential,
    granted_at: Instant,
    renew_at: Option<Instant>,
    ends_at: Option<Instant>,
    is_stale: bool,
    /// A stream was opened with it.
    is_used: bool,
    /// Since when no stream is open with it.
    idle_since: Option<Instant>,
}

impl Keyring {
    /// Nothing held.
    #[must_use]
    pub const fn new(recipe: &Recipe) -> Self {
        Self {
            conduct: recipe.conduct,
            can_renew: recipe.renew.is_some(),
            held: None,
            is_refused: false,
        }
    }

    /// What is due at this moment.
    #[must_use]
    pub fn due(&self, now: Instant) -> Due {
        let Some(held) = &self.held else {
            return Due::Obtaining;
        };
        let has_passed = |at: Option<Instant>| at.is_some_and(|at| at <= now);
        let idle_until =
            held.idle_since.zip(self.conduct.reuse).map(|(since, reuse)| since + reuse);
        let is_due = held.is_stale || has_passed(held.renew_at) || has_passed(idle_until);
        match (is_due, self.can_renew) {
            (false, _) => Due::Nothing,
            (true, true) => Due::Renewal,
            (true, false) => Due::Obtaining,
        }
    }

    /// The backend gave one. `random` lies in `0.0..1.0`: what came together is not renewed
    /// together.
    pub fn on_granted(&mut self, grant: Credential, random: f64, wall: UnixMillis, now: Instant) {
        let life = grant.expires.and_then(|expires| u64::try_from(expires.0 - wall.0).ok());
        // By the backend's clock it may have ended already; then nothing is known of its life.
        let life = life.filter(|life| *life > 0).map(Duration::from_millis);
        let renew_after = life.map(|life| {
            let before = (life / RENEW_BEFORE_PART).min(RENEW_BEFORE_MAX);
            let before = before + before.mul_f64(random.clamp(0.0, 1.0));
            life.saturating_sub(before).max(RENEW_FLOOR)
        });
        self.held = Some(Held {
            grant,
            granted_at: now,
            renew_at: renew_after.map(|after| now + after),
            ends_at: life.map(|life| now + life),
            is_stale: false,
            is_used: false,
            idle_since: None,
        });
    }

    /// The backend refused to renew: what is held is lost.
    pub fn on_refused_renewal(&mut self) {
        self.held = None;
    }

    /// A renewal failed for a reason that says nothing of the credential; `pause` is what the
    /// backend asked for. Whether what is held is good for a while yet.
    pub fn on_failed_renewal(&mut self, pause: Option<Duration>, now: Instant) -> bool {
        let Some(held) = &mut self.held else {
            return false;
        };
        let is_good = !held.is_stale && held.ends_at.is_some_and(|ends| ends > now);
        if is_good {
            // Longer than its life at the most: then the link waits, as for any other call.
            let pause = pause.unwrap_or_default().max(RENEW_RETRY);
            let next = now.checked_add(pause);
            held.renew_at = held.ends_at.map(|ends| next.map_or(ends, |next| next.min(ends)));
        }
        is_good
    }

    /// A stream is open with it. Until when it must have said something, if it is suspect.
    pub fn on_open(&mut self, now: Instant) -> Option<Instant> {
        self.is_refused = false;
        let held = self.held.as_mut()?;
        held.idle_since = None;
        let was_used = std::mem::replace(&mut held.is_used, true);
        self.conduct.suspect.filter(|_| was_used).map(|suspect| now + suspect)
    }

    /// The stream was lost.
    pub fn on_lost(&mut self, now: Instant) {
        if let Some(held) = &mut self.held {
            held.idle_since.get_or_insert(now);
        }
    }

    /// The stream was refused. Whether a new one is worth a dial at once:
    /// only the first time since the stream was last open.
    pub fn on_refused(&mut self) -> bool {
        if let Some(held) = &mut self.held {
            held.is_stale = true;
        }
        !std::mem::replace(&mut self.is_refused, true)
    }

    /// A call with it was refused. It is given up if it was good for a stream, or is no longer new.
    pub fn on_refused_call(&mut self, now: Instant) {
        if let Some(held) = &mut self.held {
            let age = now.saturating_duration_since(held.granted_at);
            held.is_stale |= held.is_used || age >= CALL_REFUSED_AGE_MIN;
        }
    }

    /// The stream is open and says nothing, as it would if nobody stood behind it.
    pub fn on_silent(&mut self) {
        if let Some(held) = &mut self.held {
            held.is_stale = true;
        }
    }

    /// What is held.
    #[must_use]
    pub fn credential(&self) -> Option<&Credential> {
        self.held.as_ref().map(|held| &held.grant)
    }

    /// Whether what is held is past its end.
    #[must_use]
    pub fn has_ended(&self, now: Instant) -> bool {
        self.held.as_ref().and_then(|held| held.ends_at).is_some_and(|ends| ends <= now)
    }

    /// When a new one is due while a stream is open with this.
    #[must_use]
    pub fn renew_at(&self) -> Option<Instant> {
        self.held.as_ref()?.renew_at
    }
}

/// When a JWT ends, by its `exp`; its signature is the backend's to check.
#[must_use]
pub fn jwt_expiry(token: &str) -> Option<UnixMillis> {
    let payload = token.split('.').nth(1)?.trim_end_matches('=');
    let payload = String::from_utf8(URL_SAFE_NO_PAD.decode(payload).ok()?).ok()?;
    UnixMillis::from_millis(Object::parse(&payload)?.int("exp")?.checked_mul(1000)?)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests need some moment to count from")]

    use super::*;

    const WALL: UnixMillis = UnixMillis(1_700_000_000_000);

    fn keyring(can_renew: bool, conduct: Conduct) -> Keyring {
        Keyring { conduct, can_renew, held: None, is_refused: false }
    }

    fn grant(life_secs: Option<i64>) -> Credential {
        Credential {
            expires: life_secs.map(|secs| UnixMillis(WALL.0 + secs * 1000)),
            ..Credential::default()
        }
    }

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn a_renewal_is_due_before_the_end_and_not_at_once() {
        let start = Instant::now();
        // Life, random, due after.
        for (life, random, want) in [
            (3600, 0.0, 3300),
            (3600, 0.999, 3000),
            (100, 0.0, 80),
            (100, 0.999, 60),
            (1, 0.999, 1),
        ] {
            let mut keys = keyring(true, Conduct::default());
            assert_eq!(keys.due(start), Due::Obtaining);
            keys.on_granted(grant(Some(life)), random, WALL, start);
            assert_eq!(keys.due(start), Due::Nothing, "{life}");
            assert_eq!(keys.due(start + secs(want) - Duration::from_millis(1)), Due::Nothing);
            assert_eq!(keys.due(start + secs(want + 1)), Due::Renewal, "{life}");
        }
        for life in [None, Some(0), Some(-5)] {
            let mut keys = keyring(true, Conduct::default());
            keys.on_granted(grant(life), 0.5, WALL, start);
            assert_eq!(keys.due(start + secs(1_000_000)), Due::Nothing, "{life:?}");
        }
    }

    #[test]
    fn a_refused_credential_is_replaced_at_once_only_once() {
        let start = Instant::now();
        for (can_renew, want) in [(true, Due::Renewal), (false, Due::Obtaining)] {
            let mut keys = keyring(can_renew, Conduct::default());
            keys.on_granted(grant(None), 0.0, WALL, start);
            assert!(keys.on_refused());
            assert_eq!(keys.due(start), want);
            keys.on_granted(grant(None), 0.0, WALL, start);
            assert_eq!(keys.due(start), Due::Nothing);
            assert!(!keys.on_refused(), "now slowly");
            assert_eq!(keys.due(start), want, "but still with a new one");
            keys.on_granted(grant(None), 0.0, WALL, start);
            keys.on_open(start);
            assert!(keys.on_refused(), "it was good in between");
            keys.on_refused_renewal();
            assert_eq!(keys.due(start), Due::Obtaining);
        }
    }

    #[test]
    fn a_renewal_that_fails_leaves_what_is_still_good() {
        let start = Instant::now();
        let mut keys = keyring(true, Conduct::default());
        assert!(!keys.on_failed_renewal(None, start), "nothing held");
        keys.on_granted(grant(Some(100)), 0.0, WALL, start);
        assert!(keys.on_failed_renewal(None, start + secs(80)));
        assert_eq!(keys.due(start + secs(89)), Due::Nothing);
        assert_eq!(keys.due(start + secs(90)), Due::Renewal);
        let pause = |pause| Some(secs(pause));
        assert!(keys.on_failed_renewal(pause(1), start + secs(80)), "no shorter");
        assert_eq!(keys.due(start + secs(89)), Due::Nothing);
        assert!(keys.on_failed_renewal(pause(15), start + secs(80)), "as long as is asked");
        assert_eq!(keys.due(start + secs(94)), Due::Nothing);
        assert_eq!(keys.due(start + secs(95)), Due::Renewal);
        assert!(!keys.has_ended(start + secs(99)) && keys.has_ended(start + secs(100)));
        assert!(keys.on_failed_renewal(pause(u64::MAX), start + secs(95)), "to its end at most");
        assert_eq!(keys.due(start + secs(100)), Due::Renewal);
        assert!(!keys.on_failed_renewal(None, start + secs(100)), "at its end");
        keys.on_granted(grant(Some(100)), 0.0, WALL, start);
        keys.on_refused();
        assert!(!keys.on_failed_renewal(None, start), "the backend does not take it");
    }

    #[test]
    fn a_refused_call_says_little_of_what_is_new() {
        let start = Instant::now();
        let mut keys = keyring(false, Conduct::default());
        keys.on_refused_call(start);
        for opens in [false, true] {
            keys.on_granted(grant(None), 0.0, WALL, start);
            keys.on_refused_call(start + secs(59));
            assert_eq!(keys.due(start + secs(59)), Due::Nothing);
            if opens {
                keys.on_open(start + secs(59));
            }
            let later = start + secs(if opens { 59 } else { 60 });
            keys.on_refused_call(later);
            assert_eq!(keys.due(later), Due::Obtaining);
            keys.on_granted(grant(None), 0.0, WALL, later);
            keys.on_refused_call(later);
            assert_eq!(keys.due(later), Due::Nothing, "nothing is known of this one");
            assert!(keys.on_refused(), "to the stream no refusal was told");
            keys.on_open(later);
        }
    }

    #[test]
    fn what_was_long_out_of_use_is_not_trusted() {
        let start = Instant::now();
        let conduct = Conduct { reuse: Some(secs(10)), suspect: Some(secs(60)) };
        let mut keys = keyring(false, conduct);
        keys.on_granted(grant(None), 0.0, WALL, start);
        assert_eq!(keys.on_open(start), None, "a fresh one is no suspect");
        assert_eq!(keys.due(start + secs(1000)), Due::Nothing, "in use");
        keys.on_lost(start + secs(1000));
        keys.on_lost(start + secs(1009));
        assert_eq!(keys.due(start + secs(1009)), Due::Nothing);
        assert_eq!(keys.due(start + secs(1010)), Due::Obtaining);
        let reopened = start + secs(1005);
        assert_eq!(keys.on_open(reopened), Some(reopened + secs(60)), "used before");
        assert_eq!(keys.due(start + secs(5000)), Due::Nothing, "in use again");
        keys.on_silent();
        assert_eq!(keys.due(reopened), Due::Obtaining);
    }

    #[test]
    fn the_end_of_a_token_is_read_without_its_key() {
        // {"sub":"a","exp":1790000000,"x":"??>>"} : its base64url has `-` and `_`.
        let payload = URL_SAFE_NO_PAD.encode(r#"{"sub":"a","exp":1790000000,"x":"ÿþ??>>"}"#);
        assert!(payload.contains('-') || payload.contains('_'), "{payload}");
        let want = Some(UnixMillis(1_790_000_000_000));
        assert_eq!(jwt_expiry(&format!("e30.{payload}.sig")), want);
        assert_eq!(jwt_expiry(&format!("e30.{payload}==.sig")), want, "padded");
        for token in ["", "abc", "a.b.c", "e30.e30.x", "e30.bm90anNvbg.x"] {
            assert_eq!(jwt_expiry(token), None, "{token}");
        }
    }
}
