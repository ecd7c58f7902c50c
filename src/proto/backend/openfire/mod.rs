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
//! - a bare line break every 10 s is the only sign of life (Jetty); there are no ids, no replay;
//! - a token of an older log-in opens a stream that stays silent (`SparkWeb`);
//! - the archive is asked for each person, since without one it gives everybody's messages.
//!
//! Not here: making the log-in's call (`edge::upstream`).

mod people;
mod lenient;
mod frames;
mod past;
mod stanza;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use super::{
    Answer, CallPlan, Conduct, Credential, Dialect, Discard, Input, Memory, Method, Obtained,
    OptionKind, OptionSpec, Options, Outbox, PastKeys, Piece, Plan, RecipePlan, Reject, Session,
    SessionStart, Transport,
};
use crate::proto::event::Subscription;
use crate::proto::json::{self, Object};
use crate::proto::template::Place;
use crate::proto::time::UnixMillis;

use past::Archive;
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
    options: OPTIONS,
    plan,
    answer,
    obtained,
    history: Some(past::HISTORY),
    session: |start| Box::new(Desk::new(start)),
};

/// Jetty writes a line break every 10 s; three and a half of them may be late or lost.
const SILENCE_SECS: u64 = 35;

/// RFC 7622 bounds each part of a JID to this; a longer user name is none.
const JID_PART_BYTES_MAX: usize = 1023;

/// A closed stream is noticed when a line break cannot be written, within 10 s: until then the
/// token's session lives on for a stream that comes back.
const REUSE: Duration = Duration::from_secs(10);

/// A stream opened with a token of earlier use may have no session behind it: six signs of life
/// with nothing between them, and it is opened anew.
const SUSPECT: Duration = Duration::from_secs(60);

/// The hole for the token.
const TOKEN: &str = "token";

const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: TOKEN,
        kind: OptionKind::Secret,
        is_required: false,
        doc: "The token that the chat API gave at log-in: fixed, or the client's: `{query.token}`; \
              this or `login`.",
    },
    OptionSpec {
        name: "login",
        kind: OptionKind::Table(&[
            OptionSpec {
                name: "username",
                kind: OptionKind::Template,
                is_required: true,
                doc: "The user's name, such as `{participantId}`.",
            },
            OptionSpec {
                name: "password",
                kind: OptionKind::Secret,
                is_required: true,
                doc: "The user's password.",
            },
        ]),
        is_required: false,
        doc: "Logs in as this user and keeps the token; this or `token`.",
    },
];

fn plan(options: &Options) -> Result<Plan, String> {
    let (token, bare, recipe) = match (options.template(TOKEN), options.table("login")) {
        (Some(token), None) => {
            (Piece::value(token, Place::Query), Piece::value(token, Place::Header), None)
        }
        (None, Some(login)) => {
            let hole = |place| Piece::hole(TOKEN, place);
            (hole(Place::Query), hole(Place::Header), Some(recipe(login)?))
        }
        (None, None) => {
            return Err("set `token` or `login`: the stream is nobody's without one".to_owned());
        }
        (Some(_), Some(_)) => return Err("set only one of `token` and `login`".to_owned()),
    };
    Ok(Plan {
        call: CallPlan {
            path: Piece::fixed("/sse"),
            query: vec![("token", token)],
            // Nothing else: `Origin` makes the plugin's CORS filter answer 200 to everything, and
            // `X-Forwarded-For` can stand in for a credential.
            headers: vec![
                ("accept", Piece::fixed("text/event-stream")),
                ("accept-encoding", Piece::fixed("identity")),
            ],
            ..CallPlan::default()
        },
        silence_secs: SILENCE_SECS,
        recipe,
        history: Some(past::plan(bare)),
        ..Plan::default()
    })
}

/// The body of a log-in is the bare password.
fn recipe(login: &Options) -> Result<RecipePlan, String> {
    let required = |name: &str| {
        login.template(name).ok_or_else(|| format!("`login` needs `username` and `{name}`"))
    };
    let (username, password) = (required("username")?, required("password")?);
    Ok(RecipePlan {
        obtain: CallPlan {
            method: Method::Post,
            path: Piece::fixed("/api/rest/login/").then_value(username, Place::Segment),
            headers: vec![
                ("accept", Piece::fixed("application/json")),
                ("accept-encoding", Piece::fixed("identity")),
                ("content-type", Piece::fixed("text/plain;charset=UTF-8")),
            ],
            body: Some(Piece::value(password, Place::Plain)),
            ..CallPlan::default()
        },
        conduct: Conduct { reuse: Some(REUSE), suspect: Some(SUSPECT) },
        ..RecipePlan::default()
    })
}

/// The document says 500 for a wrong password, and 400 elsewhere.
fn obtained(status: u16, body: &str) -> Obtained {
    match status {
        200 => match Object::parse(body).and_then(|answer| answer.word("token")) {
            Some(token) => Obtained::Granted(Credential::new([(TOKEN, token.into_owned())])),
            None => Obtained::Failed,
        },
        429 => Obtained::RateLimited,
        400..=500 => Obtained::Refused,
        _ => Obtained::Failed,
    }
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
    /// The participant's own domain, once something was addressed there.
    home: Option<Box<str>>,
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

impl Stream {
    /// Something came for the participant: its domain is the participant's own.
    fn on_addressed(&mut self, participant: &str, to: Option<Jid<'_>>) {
        if self.home.is_some() {
            return;
        }
        let Some(to) = to.filter(|to| to.domain().len() <= JID_PART_BYTES_MAX) else {
            return;
        };
        if self.own(participant, Some(to)).is_some_and(|own| own.is(to)) {
            self.home = Some(to.domain().into());
        }
    }

    /// The participant's own bare JID, where nothing says to whom it was sent.
    fn own_at_home<'x>(&'x self, participant: &'x str) -> Option<Own<'x>> {
        let home = self.home.as_deref().and_then(Jid::new);
        self.own(participant, home)
    }
}

/// The session: one participant's stream.
struct Desk {
    subscription: Arc<Subscription>,
    stream: Stream,
    memory: Memory,
    archive: Archive,
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
                home: None,
            },
            memory: Memory::new(start.seed),
            archive: Archive::new(start.seed),
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

    fn on_past(
        &mut self,
        _peer: &str,
        entry: Input<'_>,
        out: &mut Outbox<'_>,
    ) -> Result<(), Reject> {
        self.on_archived(entry, out)
    }

    fn past_keys(&self) -> PastKeys {
        self.archive.keys()
    }

    fn on_time(&mut self, now: UnixMillis) {
        self.archive.on_time(now);
    }

    fn on_reopened(&mut self) {
        self.archive.on_reopened();
        // Whether stanzas come is the new stream's to show, and rooms send their rosters anew.
        self.stream.has_messages = false;
        self.stream.has_presences = false;
        self.stream.rooms.clear();
    }

    fn fork(&self, start: &SessionStart<'_>) -> Box<dyn Session> {
        let (stream, archive) = (self.stream.clone(), self.archive.clone());
        Box::new(Self { stream, archive, ..Self::new(start) })
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
