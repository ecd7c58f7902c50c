//! What can be said of expressions without trying texts: what one takes that another does not.
//!
//! Both are run side by side over all texts at once, state by state. What would take too long,
//! or cannot be run so (a Unicode word boundary), is not claimed. Not here: what a finding
//! means to the operator (`route`).

use std::collections::HashSet;

use regex_automata::hybrid::LazyStateID;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::nfa::thompson;
use regex_automata::{Anchored, Input};

use super::Pattern;
use super::read::{Reader, Value};

/// What is said of an expression that takes no text.
pub(super) const NEVER: &str = "no text ever matches this expression";

/// Pairs of states that one proof may look at, each with 256 bytes.
const PAIRS_MAX: usize = 1024;
/// Proofs about expressions for one conf; thousands of them would keep a reload waiting.
const PROOFS_MAX: usize = 500;
/// Memory of one expression's states.
const STATES_BYTES_MAX: usize = 2 << 20;

/// Proves as much as its budget allows; what is not proven is `false`.
pub(super) struct Prover {
    left: usize,
}

impl Default for Prover {
    fn default() -> Self {
        Self { left: PROOFS_MAX }
    }
}

impl Reader<'_> {
    /// Warns of a pattern that takes no text at all, and of one that was meant for a file's name.
    pub(super) fn warn_of_pattern(&mut self, value: &Value<'_>, pattern: &Pattern) {
        if let Pattern::Regex(regex) = pattern
            && is_covered(regex.as_str(), None) == Some(true)
        {
            self.warn(value.node.at, &value.path, NEVER);
        }
        if let Some(meant) = pattern.meant() {
            let message = format!(
                "in an expression * repeats the character before it; for anything in its place \
                 write '{meant}'"
            );
            self.warn(value.node.at, &value.path, message);
        }
    }
}

impl Prover {
    /// Whether everything that `inner` takes, `outer` takes too. `None` takes all that a
    /// parameter can be: no control characters.
    pub(super) fn covers(&mut self, outer: Option<&Pattern>, inner: Option<&Pattern>) -> bool {
        const ANY: &str = r"^[^\x00-\x1f\x7f-\x9f]*$";
        let exact = |value: &str| format!("^(?:{})$", regex::escape(value));
        let (outer, inner) = match (outer, inner) {
            (None, _) => return true,
            (Some(outer), Some(Pattern::Exact(value))) => return outer.is_match(value),
            (Some(Pattern::Exact(_)), None) => return false,
            (Some(Pattern::Regex(outer)), None) => (outer.as_str().to_owned(), ANY.to_owned()),
            (Some(Pattern::Exact(value)), Some(Pattern::Regex(inner))) => {
                (exact(value), inner.as_str().to_owned())
            }
            (Some(Pattern::Regex(outer)), Some(Pattern::Regex(inner))) => {
                if outer.as_str() == inner.as_str() {
                    return true;
                }
                (outer.as_str().to_owned(), inner.as_str().to_owned())
            }
        };
        let Some(left) = self.left.checked_sub(1) else {
            return false;
        };
        self.left = left;
        is_covered(&inner, Some(&outer)) == Some(true)
    }

    /// Whether an expression that is looked for anywhere is never found.
    pub(super) fn never_found(&self, pattern: &str) -> bool {
        is_covered(&format!("^(?s:.*)(?:{pattern})(?s:.*)$"), None) == Some(true)
    }
}

/// An expression as an automaton that makes its states when they are reached.
struct Run {
    dfa: DFA,
    cache: Cache,
}

impl Run {
    fn new(pattern: &str) -> Option<Self> {
        let thompson = thompson::Config::new().nfa_size_limit(Some(STATES_BYTES_MAX));
        // A cache that is full ends the proof: states that were forgotten could not be told
        // from new ones.
        let config = DFA::config()
            .cache_capacity(STATES_BYTES_MAX)
            .skip_cache_capacity_check(true)
            .minimum_cache_clear_count(Some(0));
        let dfa = DFA::builder().thompson(thompson).configure(config).build(pattern).ok()?;
        let cache = dfa.create_cache();
        Some(Self { dfa, cache })
    }

    fn start(&mut self) -> Option<LazyStateID> {
        let input = Input::new("").anchored(Anchored::Yes);
        self.dfa.start_state_forward(&mut self.cache, &input).ok()
    }

    fn takes(&mut self, state: LazyStateID) -> Option<bool> {
        self.dfa.next_eoi_state(&mut self.cache, state).ok().map(|state| state.is_match())
    }

    /// The state after a byte; `Some(None)` where no text leads on.
    fn next(&mut self, state: LazyStateID, byte: u8) -> Option<Option<LazyStateID>> {
        let next = self.dfa.next_state(&mut self.cache, state, byte).ok()?;
        match () {
            () if next.is_quit() => None,
            () if next.is_dead() => Some(None),
            () => Some(Some(next)),
        }
    }
}

/// Whether every text that `inner` takes is taken by `outer`, which takes none if it is `None`.
/// `None`: it cannot be said.
fn is_covered(inner: &str, outer: Option<&str>) -> Option<bool> {
    let mut inner = Run::new(inner)?;
    let mut outer = outer.map(|outer| Run::new(outer).ok_or(())).transpose().ok()?;
    let start = (inner.start()?, outer.as_mut().map(|run| run.start().ok_or(())).transpose().ok()?);
    let mut seen = HashSet::from([start]);
    let mut left = vec![start];
    while let Some((at, beside)) = left.pop() {
        if inner.takes(at)? {
            let is_taken = match (&mut outer, beside) {
                (Some(run), Some(state)) => run.takes(state)?,
                (Some(_) | None, None) | (None, Some(_)) => false,
            };
            if !is_taken {
                return Some(false);
            }
        }
        for byte in 0..=u8::MAX {
            let Some(next) = inner.next(at, byte)? else {
                continue;
            };
            let beside = match (&mut outer, beside) {
                (Some(run), Some(state)) => run.next(state, byte)?,
                (Some(_) | None, None) | (None, Some(_)) => None,
            };
            if seen.len() < PAIRS_MAX && seen.insert((next, beside)) {
                left.push((next, beside));
            } else if !seen.contains(&(next, beside)) {
                return None;
            }
        }
    }
    Some(true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_never(pattern: &str, want: Option<bool>) {
        let Ok(Pattern::Regex(regex)) = Pattern::parse(pattern) else {
            panic!("{pattern} is no expression");
        };
        assert_eq!(is_covered(regex.as_str(), None), want, "{pattern}");
    }

    #[test]
    fn expressions_that_take_nothing_are_known() {
        for never in ["a^b", "a$b", r"[^\s\S]", "(?:a^)+b", "[a&&b]", "x$y|^a^[^\\S\\s]"] {
            check_never(never, Some(true));
        }
        for some in ["a*", "customer-.*", "^a+$", "(?i)acme", "()", "é|ü", r"\d{13,16}"] {
            check_never(some, Some(false));
        }
        // Nothing is claimed of what cannot be looked at.
        check_never(r"\bфa^\b", None);
    }

    #[track_caller]
    fn check_covers(outer: &str, inner: &str, want: bool) {
        let pattern = |text: &str| match text {
            "any" => None,
            text => Some(Pattern::parse(text).expect("a pattern")),
        };
        let (outer_pattern, inner_pattern) = (pattern(outer), pattern(inner));
        let covers = Prover::default().covers(outer_pattern.as_ref(), inner_pattern.as_ref());
        assert_eq!(covers, want, "{outer} over {inner}");
    }

    #[test]
    fn what_an_expression_takes_another_may_take_too() {
        check_covers("any", "any", true);
        check_covers("any", "acme", true);
        check_covers("any", "a.*", true);
        check_covers("acme", "any", false);
        check_covers(".*", "any", true);
        check_covers(".+", "any", false);
        check_covers("customer-.*", "customer-service", true);
        check_covers("customer-.*", "customer-(?:a|b)[0-9]*", true);
        check_covers("customer-.*", "custom.*", false);
        check_covers("a|b|c", "[ab]", true);
        check_covers("[ab]", "a|b|c", false);
        check_covers("acme", "acm[e]", true);
        check_covers("acme", "acm[ef]", false);
        check_covers("(?i)acme", "ACM[Ee]", true);
        // Too large to be looked at: not claimed.
        check_covers("[ab]*a[ab]{12}", "[ab]*a[ab]{11}aa?[ab]*", false);
    }

    #[test]
    fn what_is_looked_for_anywhere_may_stand_anywhere() {
        let never = |pattern| Prover::default().never_found(pattern);
        assert!(never("a^b") && never("b$a"));
        assert!(!never("^a") && !never("a$") && !never("secret"));
    }
}
