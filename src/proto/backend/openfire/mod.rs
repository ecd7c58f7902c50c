//! Openfire: the chat API of the `SparkWeb` plugin, and of its forerunners.
//!
//! Vendor: Ignite Realtime. Document: `sse.md` of openfire-sparkweb-plugin (the same text as in
//! its API document); the rest was read from the source code of the plugin, of Openfire-Chat and
//! of the older ofmeet servlet. Transport: SSE from Jetty's `EventSourceServlet`.
//! Quirks, with their source:
//! - every stanza comes twice, as base64 (`chatapi.xmpp`) and as frames derived from it by string
//!   concatenation; only the stanza is whole and cannot be forged (`WebEventSource`);
//! - the derived frames may be no JSON, hold keys twice, and write `"null"` for what is missing;
//! - `Accept` must be exactly `text/event-stream`, else 405 (Jetty);
//! - an unknown token is 503, and the newest token dies with the user's last stream (`SparkWeb`);
//! - a bare line break every 10 s is the only sign of life (Jetty); there are no ids, no replay.
//!
//! Not here: logging in (`edge::link`).

mod people;
mod lenient;
mod frames;
mod stanza;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;

use super::{
    Answer, Dialect, Discard, Input, Memory, OptionKind, OptionSpec, Options, Outbox, Piece, Plan,
    Reject, Session, SessionStart, Transport,
};
use crate::proto::event::Subscription;
use crate::proto::json::{self, Object};
use crate::proto::template::Place;

use people::{Jid, Own, Rooms};

/// The dialect.
pub static DIALECT: Dialect = Dialect {
    name: "openfire",
    title: "Openfire",
    transport: Transport::Stream,
    events: &[
        "onConnect",
        "chatapi.xmpp",
        "chatapi.chat",
        "chatapi.presence",
        "chatapi.muc",
        "chatapi.openlink",
        "chatapi.fastpath",
        "chatapi.assist",
        "chatapi.ask",
        "chatapi.notify",
        "pubsub.item",
        "onAction",
    ],
    options: &[OptionSpec {
        name: "token",
        kind: OptionKind::Secret,
        is_required: true,
        doc: "The token that the chat API gave at log-in: fixed, or the client's: `{query.token}`.",
    }],
    plan,
    answer,
    session: |start| Box::new(Desk::new(start)),
};

/// Jetty writes a line break every 10 s; three and a half of them may be late or lost.
const SILENCE_SECS: u64 = 35;

/// RFC 7622 bounds each part of a JID to this; a longer user name is none.
const JID_PART_BYTES_MAX: usize = 1023;

fn plan(options: &Options) -> Result<Plan, String> {
    let token = options.template("token").ok_or_else(|| "`token` is missing".to_owned())?;
    Ok(Plan {
        path: Piece::fixed("/sse"),
        query: vec![("token", Piece::value(token, Place::Query))],
        // Nothing else: `Origin` makes the plugin's CORS filter answer 200 to everything, and
        // `X-Forwarded-For` can stand in for a credential.
        headers: vec![
            ("accept", Piece::fixed("text/event-stream")),
            ("accept-encoding", Piece::fixed("identity")),
        ],
        silence_secs: SILENCE_SECS,
        ..Plan::default()
    })
}

/// 503 is the servlet's word for a token it does not know; 405 means that `Accept` was not exact.
const fn answer(status: u16, _body: &str) -> Answer {
    match status {
        200 => Answer::Events,
        401 | 403 | 503 => Answer::Unauthorized,
        429 => Answer::RateLimited,
        _ => Answer::Bad,
    }
}

/// What was learnt of the upstream stream itself, the same for all its subscriptions.
#[derive(Clone)]
struct Stream {
    username: Option<Box<str>>,
    /// A message stanza came: derived message frames are second copies from now on.
    has_messages: bool,
    /// A presence stanza came: `chatapi.presence` is a second copy from now on.
    has_presences: bool,
    rooms: Rooms,
}

impl Stream {
    fn on_connect(&mut self, data: &str) {
        let mut repaired = String::new();
        let username = frames::read(data, &["name", "email", "username"], &mut repaired)
            .and_then(|object| word(&object, "username").map(Box::<str>::from));
        if let Some(name) = username.filter(|name| name.len() <= JID_PART_BYTES_MAX) {
            self.username = Some(name);
        }
    }

    /// The participant's own bare JID, as far as it is known.
    fn own<'x>(&'x self, participant: &'x str, to: Option<Jid<'x>>) -> Option<Own<'x>> {
        Own::of_jid(participant).or_else(|| {
            let name = self.username.as_deref().unwrap_or(participant);
            Own::of_jid(name).or_else(|| to.map(|to| Own { local: name, domain: to.domain() }))
        })
    }
}

/// The session: one participant's stream.
struct Desk {
    subscription: Arc<Subscription>,
    stream: Stream,
    memory: Memory,
}

impl Desk {
    fn new(start: &SessionStart<'_>) -> Self {
        Self {
            subscription: Arc::clone(&start.subscription),
            stream: Stream {
                username: None,
                has_messages: false,
                has_presences: false,
                rooms: Rooms::new(start.seed),
            },
            memory: Memory::new(start.seed),
        }
    }

    fn own<'x>(&'x self, to: Option<Jid<'x>>) -> Option<Own<'x>> {
        self.stream.own(&self.subscription.participant_id, to)
    }
}

impl Session for Desk {
    fn on_frame(&mut self, input: Input<'_>, out: &mut Outbox<'_>) -> Result<(), Reject> {
        match input.event {
            "onConnect" => {
                self.stream.on_connect(input.data);
                Err(Reject::Discard(Discard::Control, "the stream is open"))
            }
            "chatapi.xmpp" => self.on_xmpp(input, out),
            "pubsub.item" | "onAction" => frames::on_item(input, out),
            _ => self.on_derived(input, out),
        }
    }

    fn on_reopened(&mut self) {
        // Whether stanzas come is the new stream's to show, and rooms send their rosters anew.
        self.stream.has_messages = false;
        self.stream.has_presences = false;
        self.stream.rooms.clear();
    }

    fn fork(&self, start: &SessionStart<'_>) -> Box<dyn Session> {
        Box::new(Self { stream: self.stream.clone(), ..Self::new(start) })
    }
}

/// A text that says something: the templates write `null` for what is missing.
fn word<'a>(object: &Object<'a>, key: &str) -> Option<Cow<'a, str>> {
    object.word(key).filter(|word| word != "null")
}

/// A text that may be JSON, as JSON: as it is if it parses, else as a JSON string. `None`: it
/// parses, but is nested too deep to be passed on.
fn json_or_text(text: Cow<'_, str>) -> Option<Cow<'_, str>> {
    if json::value(&text).is_some() {
        return Some(text);
    }
    // Depth is no fault of broken text: its brackets mean nothing.
    let is_json = serde_json::from_str::<&serde_json::value::RawValue>(&text).is_ok();
    (!is_json).then(|| Cow::Owned(quoted(&text)))
}

fn quoted(text: &str) -> String {
    let mut quoted = Vec::with_capacity(text.len() + 2);
    json::write_text(&mut quoted, text);
    // Written from a `str`.
    String::from_utf8(quoted).unwrap_or_default()
}
