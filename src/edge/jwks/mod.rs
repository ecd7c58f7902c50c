//! Sets of keys that issuers publish: fetched behind the scenes, kept, asked for anew.
//!
//! A task for each set fetches it at the start, every `jwks_refresh`, and when a token names a
//! key that is not in it, but never more often than `jwks_pause`, however many tokens do. The
//! last good set stays in use whatever becomes of the issuer. No request fetches anything; one
//! with an unknown key waits [`KEY_WAIT`] for a fetch that is under way or about to begin. Not
//! here: what a set holds (`keys`), HTTP (`upstream`).

mod keys;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use tokio::runtime::Handle;
use tokio::sync::{Notify, watch};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::clock;
use super::upstream::{Answered, Dialer, Head, Probed};
use crate::config::{Algorithm, Issuer, IssuerKey, KEY_SET_BYTES_MAX, KeySetUrl};
use crate::proto::backend::{Message, Method};
use crate::proto::backoff::{Backoff, asked_wait};
use crate::proto::event::DownReason;
use crate::telemetry::{JwksOutcome, Metrics};

use self::keys::SetFault;
pub(crate) use self::keys::{Keys, RSA_BYTES_MIN, choice, library_name, validation};

/// How long a request waits for a key that is about to come. A browser's EventSource gives up
/// for good when it is refused, so the first tokens under a new key are worth a moment; it is
/// short, so that made-up keys hold nothing up.
const KEY_WAIT: Duration = Duration::from_secs(2);

/// Called when a set has come for the first time.
pub(crate) type First = Arc<dyn Fn() + Send + Sync>;

/// The sets of all issuers, across configurations.
pub(crate) struct KeySets {
    known: Mutex<HashMap<Id, Weak<KeySet>>>,
    dialer: Arc<Dialer>,
    metrics: Arc<Metrics>,
    first: First,
}

/// What tells one set from another.
type Id = (String, KeySetUrl, Vec<Algorithm>, Vec<String>);

/// The set of one issuer. When it is dropped, nobody fetches it any more.
pub(crate) struct KeySet {
    inner: Arc<Inner>,
    task: Mutex<Option<AbortHandle>>,
}

struct Inner {
    issuer: Arc<Issuer>,
    from: KeySetUrl,
    keys: ArcSwapOption<Keys>,
    state: Mutex<State>,
    asked: Notify,
    /// Counts fetches that are over.
    fetched: watch::Sender<u64>,
    dialer: Arc<Dialer>,
    metrics: Arc<Metrics>,
    first: First,
}

/// When the next fetch may begin.
struct State {
    is_fetching: bool,
    is_wanted: bool,
    free_at: Instant,
}

/// A fetch that a request may wait for.
pub(crate) struct KeyWait(watch::Receiver<u64>);

impl KeyWait {
    /// Until it is over, but no longer than a moment.
    pub(crate) async fn over(mut self) {
        // Whether it came or not: the request is decided with the keys that there are.
        let _has_come = tokio::time::timeout(KEY_WAIT, self.0.changed()).await.is_ok();
    }
}

/// Why a fetch brought nothing.
struct Failed {
    outcome: JwksOutcome,
    retry_after: Option<Duration>,
}

impl Failed {
    const fn new(outcome: JwksOutcome) -> Self {
        Self { outcome, retry_after: None }
    }
}

impl KeySets {
    /// None yet.
    pub(crate) fn new(dialer: Arc<Dialer>, metrics: Arc<Metrics>, first: First) -> Self {
        Self { known: Mutex::default(), dialer, metrics, first }
    }

    /// The set of an issuer that publishes one: the one that is there, across reloads, as long
    /// as all that its keys are read with is the same.
    ///
    /// # Errors
    /// It publishes none.
    pub(crate) fn of(&self, issuer: &Arc<Issuer>) -> Result<Arc<KeySet>, String> {
        let IssuerKey::KeySetUrl(from) = &issuer.key else {
            return Err("this issuer has no jwks_url".to_owned());
        };
        let name = issuer.issuer.clone();
        let id = (name, from.clone(), issuer.algorithms.clone(), issuer.audiences.clone());
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, set| set.strong_count() > 0);
        if let Some(set) = known.get(&id).and_then(Weak::upgrade) {
            return Ok(set);
        }
        let set = Arc::new(KeySet {
            inner: Arc::new(Inner {
                issuer: issuer.clone(),
                from: from.clone(),
                keys: ArcSwapOption::empty(),
                state: Mutex::new(State {
                    is_fetching: false,
                    is_wanted: false,
                    free_at: Instant::now(),
                }),
                asked: Notify::new(),
                fetched: watch::Sender::new(0),
                dialer: self.dialer.clone(),
                metrics: self.metrics.clone(),
                first: self.first.clone(),
            }),
            task: Mutex::default(),
        });
        known.insert(id, Arc::downgrade(&set));
        Ok(set)
    }
}

impl KeySet {
    /// The keys that came last; `None` before the first have come.
    pub(crate) fn keys(&self) -> Option<Arc<Keys>> {
        self.inner.keys.load_full()
    }

    /// Begins to fetch, unless that was begun before. Outside of a runtime nothing happens: the
    /// first token of the issuer begins it then.
    pub(crate) fn start(&self) {
        self.inner.metrics.touch_jwks(&self.inner.issuer.issuer);
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        if let Ok(runtime) = Handle::try_current() {
            // The fetch begins as soon as the runtime comes to it; who asks now can wait for it.
            self.inner.state().is_fetching = true;
            *task = Some(runtime.spawn(keep(self.inner.clone())).abort_handle());
        }
    }

    /// Asks for a fetch. Gives what a request may wait for, if one is under way or may begin
    /// within the time that a request waits.
    pub(crate) fn ask(&self) -> Option<KeyWait> {
        self.start();
        let wait = KeyWait(self.inner.fetched.subscribe());
        let is_soon = {
            let mut state = self.inner.state();
            state.is_wanted = true;
            state.is_fetching || state.free_at <= Instant::now() + KEY_WAIT
        };
        self.inner.asked.notify_one();
        is_soon.then_some(wait)
    }
}

impl Drop for KeySet {
    fn drop(&mut self) {
        let task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(task) = task.as_ref() {
            task.abort();
        }
    }
}

/// Fetches a set for as long as it is there.
async fn keep(set: Arc<Inner>) {
    let mut backoff = Backoff::default();
    loop {
        set.state().is_fetching = true;
        let begun = Instant::now();
        let fetched = fetch(&set.dialer, &set.issuer, &set.from).await;
        let (free_at, due_at) = match &fetched {
            Ok(_) => {
                backoff.reset();
                // Nodes that were started together do not ask together.
                let refresh = set.from.refresh.mul_f64(rand::random_range(0.9..=1.0));
                (begun + set.from.pause, begun + refresh.max(set.from.pause))
            }
            Err(failed) => {
                let asked = failed.retry_after.map(|wait| asked_wait(wait, rand::random()));
                let wait = backoff.next_wait(rand::random()).max(set.from.pause);
                let again_at = Instant::now() + asked.map_or(wait, |asked| asked.max(wait));
                (again_at, again_at)
            }
        };
        set.tell(fetched, free_at);
        tokio::time::sleep_until(free_at).await;
        tokio::select! {
            () = set.wanted() => {}
            () = tokio::time::sleep_until(due_at) => {}
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until somebody has asked since the last fetch was over.
    async fn wanted(&self) {
        while !self.state().is_wanted {
            self.asked.notified().await;
        }
    }

    /// Takes in what a fetch has brought, and tells those who wait for it.
    fn tell(&self, fetched: Result<Keys, Failed>, free_at: Instant) {
        let issuer = self.issuer.issuer.as_str();
        match fetched {
            Ok(keys) => {
                self.metrics.on_jwks(issuer, JwksOutcome::Success, keys.len(), clock::wall());
                log::debug!(issuer, keys = keys.len(); "keys of an issuer came");
                if self.keys.swap(Some(Arc::new(keys))).is_none() {
                    (self.first)();
                }
            }
            Err(failed) => {
                let kept = self.keys.load().as_ref().map_or(0, |keys| keys.len());
                self.metrics.on_jwks(issuer, failed.outcome, kept, clock::wall());
                let reason = failed.outcome.as_str();
                log::warn!(issuer, reason, kept; "keys of an issuer cannot be fetched");
            }
        }
        let mut state = self.state();
        *state = State { is_fetching: false, is_wanted: false, free_at };
        drop(state);
        self.fetched.send_modify(|count| *count = count.wrapping_add(1));
    }
}

/// Asks once for the set that this issuer publishes: what was answered, and how many of its keys
/// can be used.
///
/// # Errors
/// Why there was no answer.
pub(crate) async fn try_keys(
    dialer: &Dialer,
    issuer: &Issuer,
    from: &KeySetUrl,
) -> Result<(Probed, Result<usize, JwksOutcome>), DownReason> {
    let (head, answered) = ask(dialer, from).await?;
    let keys = read(&head, &answered, issuer);
    let keys = keys.map(|keys| keys.len()).map_err(|failed| failed.outcome);
    Ok((Probed::from(&head), keys))
}

async fn fetch(dialer: &Dialer, issuer: &Issuer, from: &KeySetUrl) -> Result<Keys, Failed> {
    let (head, answered) = ask(dialer, from).await.map_err(|reason| {
        Failed::new(match reason {
            DownReason::Tls => JwksOutcome::Tls,
            _ => JwksOutcome::Unreachable,
        })
    })?;
    read(&head, &answered, issuer)
}

async fn ask(dialer: &Dialer, from: &KeySetUrl) -> Result<(Head, Answered), DownReason> {
    let message = Message {
        method: Method::Get,
        target: from.target.clone(),
        has_query: from.target.contains('?'),
        fresh_query: None,
        headers: vec![
            ("Accept", "application/jwk-set+json, application/json".to_owned()),
            ("Accept-Encoding", "identity".to_owned()),
        ],
        body: None,
    };
    dialer.call(from, &message, KEY_SET_BYTES_MAX).await
}

/// The keys of an answer.
fn read(head: &Head, answered: &Answered, issuer: &Issuer) -> Result<Keys, Failed> {
    // Another place than the configured one is not followed to.
    if head.status != 200 {
        let retry_after = head.retry_after;
        return Err(Failed { outcome: JwksOutcome::BadStatus, retry_after });
    }
    if answered.is_oversize {
        return Err(Failed::new(JwksOutcome::TooLarge));
    }
    Keys::parse(&answered.body, issuer).map_err(|fault| {
        Failed::new(match fault {
            SetFault::TooLarge | SetFault::TooMany => JwksOutcome::TooLarge,
            SetFault::NoSet => JwksOutcome::Malformed,
            SetFault::NoneUsable => JwksOutcome::NoneUsable,
        })
    })
}
