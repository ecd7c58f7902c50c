//! What a client may ask a stream or a self-test for: the query parameters.
//!
//! Not here: how they are read and what is refused (`edge::gate`), whose tests hold this table.

use crate::proto::event::MessageType;
use crate::proto::selftest::IDLE_MAX_SECS;

/// A query parameter of a stream.
#[derive(Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// Whether there is no stream without it.
    pub is_required: bool,
    /// What it does.
    pub doc: &'static str,
}

/// What a parameter takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// A credential.
    Credential,
    /// A whole number; what is outside counts as the nearest.
    Int {
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// One of some words.
    Word(&'static [&'static str]),
    /// Message types, with commas between.
    Types,
}

/// All that chatmux itself reads.
pub const PARAMETERS: &[Parameter] = &[
    needed("workflow", "The workflow, or the whole workflow id: `<tenantId>:` in front."),
    needed("participantId", "Whose stream it is."),
    optional(
        "tenantId",
        Kind::Text,
        "The tenant; required unless the credential names exactly one.",
    ),
    optional("apikey", Kind::Credential, "A credential, for clients that cannot set headers."),
    optional("access_token", Kind::Credential, "A credential, as `apikey`."),
    optional(
        "ticket",
        Kind::Credential,
        "Stands for a credential, once and for 30 seconds: POST to the path of the stream with \
         `/ticket` behind it gives one.",
    ),
    optional("scope", Kind::Text, "Of events that have a scope, only those with this one pass."),
    optional(
        "heartbeatSeconds",
        Kind::Int { min: 1, max: 300 },
        "How often `heartbeat` comes; without it as the route says.",
    ),
    optional("types", Kind::Types, "Only these message types pass; control events always do."),
    optional(
        "vocabulary",
        Kind::Word(&["full", "core"]),
        "`core`: only the names of the XiansAi API; without it as the route says.",
    ),
    optional("lastEventId", Kind::Text, "As the header `Last-Event-ID`, which wins."),
    optional(
        "errors",
        Kind::Word(&["event"]),
        "`event`: refusals come as the event `refused`, if the route allows that.",
    ),
];

/// What a self-test reads besides.
pub const SELF_TEST_PARAMETERS: &[Parameter] = &[optional(
    "idle",
    Kind::Int { min: 0, max: IDLE_MAX_SECS },
    "Seconds of the longest silence that is tried: 5 without it, 0 for none.",
)];

const fn needed(name: &'static str, doc: &'static str) -> Parameter {
    Parameter { name, kind: Kind::Text, is_required: true, doc }
}

const fn optional(name: &'static str, kind: Kind, doc: &'static str) -> Parameter {
    Parameter { name, kind, is_required: false, doc }
}

/// A pattern of what `types` takes.
pub(super) fn types_pattern() -> String {
    let names: Vec<_> = MessageType::ALL.iter().map(|name| name.as_str()).collect();
    let name = format!("({})", names.join("|"));
    format!("^ *{name}?( *, *{name}?)* *$")
}
