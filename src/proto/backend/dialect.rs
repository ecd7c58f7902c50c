//! What a backend is, said once: its options, its request, its answers.
//!
//! `config` reads options by [`OptionSpec`], `edge` sends what [`Plan::resolve`] gives. A dialect
//! does no I/O: it is data and pure functions.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::call::{Call, CallPlan, Piece};
use super::credentials::{Obtained, Recipe, RecipePlan};
use super::history::{History, HistoryCalls, HistoryPlan};
use super::mapper::{Session, SessionStart};
use super::pass::PassPlan;
use crate::proto::template::{ResolveError, Template, Variables};

/// One kind of backend.
pub struct Dialect {
    /// Its name in the configuration and in `source.backend`.
    pub name: &'static str,
    /// Its name for people.
    pub title: &'static str,
    /// How events are had from it.
    pub transport: Transport,
    /// The event names it is known to send: the closed label set of the frame counters.
    pub events: &'static [&'static str],
    /// What can be configured, beyond what every source has.
    pub options: &'static [OptionSpec],
    /// Makes the request out of the options.
    pub plan: fn(&Options) -> Result<Plan, String>,
    /// What an HTTP answer means, given its status and the start of its body.
    pub answer: fn(u16, &str) -> Answer,
    /// What the answer to a call of its recipe says.
    pub obtained: fn(u16, &str) -> Obtained,
    /// How its history is read, if it has one.
    pub history: Option<History>,
    /// Starts the memory of one upstream stream.
    pub session: fn(&SessionStart<'_>) -> Box<dyn Session>,
}

/// How events are had.
#[derive(Clone, Copy)]
pub enum Transport {
    /// The backend's own event stream.
    Stream,
    /// One request after another; each answer is split into frames.
    Poll {
        /// Splits an answer into frames: event name and data.
        frames: SplitAnswer,
    },
}

/// Splits the body of an answer into frames: event name and data.
pub type SplitAnswer = for<'a> fn(&'a str) -> Vec<(Cow<'a, str>, &'a str)>;

/// What an HTTP answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Events follow.
    Events,
    /// Nothing new; ask again.
    Empty,
    /// Credentials were refused.
    Unauthorized,
    /// Asked too often, or at the same time.
    RateLimited,
    /// The conversation is over for good.
    Gone,
    /// Anything else.
    Bad,
}

/// One configurable option.
#[derive(Clone, Copy, Debug)]
pub struct OptionSpec {
    /// Its key.
    pub name: &'static str,
    /// What it takes.
    pub kind: OptionKind,
    /// Whether it must be there.
    pub is_required: bool,
    /// One sentence for the reference.
    pub doc: &'static str,
}

/// What an option takes.
#[derive(Clone, Copy, Debug)]
pub enum OptionKind {
    /// Text with holes.
    Template,
    /// Text with holes, or a whole `${env:...}` / `${file:...}`.
    Secret,
    /// One of these words.
    Word(&'static [&'static str]),
    /// `true` or `false`.
    Bool,
    /// A duration in seconds, within bounds.
    Secs {
        /// At least.
        min: u64,
        /// At most.
        max: u64,
    },
    /// Options of its own.
    Table(&'static [OptionSpec]),
    /// Names of the operator's choice, each with text with holes.
    Templates,
}

/// The value of an option.
#[derive(Clone)]
pub enum OptionValue {
    /// For [`OptionKind::Template`] and [`OptionKind::Secret`].
    Template(Template),
    /// For [`OptionKind::Word`].
    Word(String),
    /// For [`OptionKind::Bool`].
    Bool(bool),
    /// For [`OptionKind::Secs`].
    Secs(u64),
    /// For [`OptionKind::Table`].
    Table(Options),
    /// For [`OptionKind::Templates`], in the order of the names.
    Templates(BTreeMap<String, Template>),
}

/// A source's options, as configured.
#[derive(Clone, Default)]
pub struct Options(pub BTreeMap<&'static str, OptionValue>);

impl Options {
    /// A template or secret.
    #[must_use]
    pub fn template(&self, name: &str) -> Option<&Template> {
        match self.0.get(name)? {
            OptionValue::Template(template) => Some(template),
            OptionValue::Word(_)
            | OptionValue::Bool(_)
            | OptionValue::Secs(_)
            | OptionValue::Table(_)
            | OptionValue::Templates(_) => None,
        }
    }

    /// A word.
    #[must_use]
    pub fn word(&self, name: &str) -> Option<&str> {
        match self.0.get(name)? {
            OptionValue::Word(word) => Some(word),
            OptionValue::Template(_)
            | OptionValue::Bool(_)
            | OptionValue::Secs(_)
            | OptionValue::Table(_)
            | OptionValue::Templates(_) => None,
        }
    }

    /// A switch; absent = off.
    #[must_use]
    pub fn bool(&self, name: &str) -> bool {
        matches!(self.0.get(name), Some(OptionValue::Bool(true)))
    }

    /// A duration in seconds.
    #[must_use]
    pub fn secs(&self, name: &str) -> Option<u64> {
        match self.0.get(name)? {
            OptionValue::Secs(secs) => Some(*secs),
            OptionValue::Template(_)
            | OptionValue::Bool(_)
            | OptionValue::Word(_)
            | OptionValue::Table(_)
            | OptionValue::Templates(_) => None,
        }
    }

    /// Nested options.
    #[must_use]
    pub fn table(&self, name: &str) -> Option<&Self> {
        match self.0.get(name)? {
            OptionValue::Table(options) => Some(options),
            OptionValue::Template(_)
            | OptionValue::Bool(_)
            | OptionValue::Word(_)
            | OptionValue::Secs(_)
            | OptionValue::Templates(_) => None,
        }
    }

    /// Text by names that the operator chose.
    #[must_use]
    pub fn templates(&self, name: &str) -> Option<&BTreeMap<String, Template>> {
        match self.0.get(name)? {
            OptionValue::Templates(templates) => Some(templates),
            OptionValue::Template(_)
            | OptionValue::Bool(_)
            | OptionValue::Word(_)
            | OptionValue::Secs(_)
            | OptionValue::Table(_) => None,
        }
    }
}

/// How a stream is asked for.
#[derive(Clone, Default)]
pub struct Plan {
    /// The request of the stream, or of one poll.
    pub call: CallPlan,
    /// The header in which the backend takes the last event id, if it replays.
    pub resume_header: Option<&'static str>,
    /// Values that the session wants to know, such as the conversation.
    pub values: Vec<(&'static str, Piece)>,
    /// After so many seconds without a byte the stream (or one poll) counts as dead.
    pub silence_secs: u64,
    /// How the values for the holes of the call are had.
    pub recipe: Option<RecipePlan>,
    /// How what was missed is asked for.
    pub history: Option<HistoryPlan>,
    /// How calls of clients are passed through.
    pub pass: PassPlan,
}

/// A plan with a client's values in it. Equal requests are the same upstream stream: the same
/// call with the same credentials, or with those of the same recipe for the same subject.
/// No `Debug`: it holds credentials.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Request {
    /// As in the plan.
    pub call: Call,
    /// As in the plan.
    pub resume_header: Option<&'static str>,
    /// As in the plan.
    pub silence_secs: u64,
    /// As in the plan.
    pub recipe: Option<Recipe>,
}

/// What a session is told of its request.
pub type SessionValues = BTreeMap<&'static str, String>;

impl Plan {
    /// Fills a client's values into the calls of the history. They are no part of the request:
    /// one stream may carry conversations whose histories are apart.
    ///
    /// # Errors
    /// A value that is absent or cannot stand where it is wanted.
    pub fn resolve_history(
        &self,
        base_path: &str,
        variables: &dyn Variables,
    ) -> Result<Option<HistoryCalls>, ResolveError> {
        self.history.as_ref().map(|plan| plan.resolve(base_path, variables)).transpose()
    }

    /// Fills in a client's values. `base_path` is the path of the source's `url`.
    ///
    /// # Errors
    /// A value that is absent or cannot stand where it is wanted.
    pub fn resolve(
        &self,
        base_path: &str,
        variables: &dyn Variables,
    ) -> Result<(Request, SessionValues), ResolveError> {
        let mut values = SessionValues::new();
        for (name, piece) in &self.values {
            values.insert(name, piece.text(variables)?);
        }
        let recipe = self.recipe.as_ref().map(|recipe| recipe.resolve(base_path, variables));
        let request = Request {
            call: self.call.resolve(base_path, variables)?,
            resume_header: self.resume_header,
            silence_secs: self.silence_secs,
            recipe: recipe.transpose()?,
        };
        Ok((request, values))
    }
}
