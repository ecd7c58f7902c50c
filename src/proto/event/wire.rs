//! The only place that spells the vocabulary: field names, words, their order.
//!
//! An event is written once as a JSON text ([`Encoded`]) and framed for the wire by
//! [`Encoded::frame`]; the `core` form is spliced out of the full one, so no event is encoded
//! twice. Hot path: runs once per event.

use std::borrow::Cow;
use std::hash::BuildHasher as _;
use std::ops::Range;

use bytes::Bytes;
use foldhash::quality::FixedState;
use memchr::{memchr, memmem};

use super::payload::{
    Chat, Choice, FileItem, Form, Handoff, HandoffPhase, Invite, Link, NoticeLevel, Participant,
    Receipt, Show, Status, StatusState, TextFormat, Token, Typing, TypingDetail,
};
use super::{Direction, Event, EventId, MessageType, Part, Payload, Role, Sender, Subscription};
use crate::proto::cursor::Trace;
use crate::proto::json::{Fields, write_text};
use crate::proto::redact::Redaction;
use crate::proto::sse::{write_frame, write_json_event};
use crate::proto::time::UnixMillis;

/// Which names a client knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Vocabulary {
    /// Every type of the vocabulary.
    #[default]
    Full,
    /// The six names of the XiansAi API; everything else travels as `Data`.
    Core,
    /// The backend's own names and data. A log is in it as a whole, or not at all.
    Raw,
}

/// What an event does not know of itself.
pub struct Envelope<'a> {
    /// Whose stream it is.
    pub subscription: &'a Subscription,
    /// The source's name in the configuration.
    pub source: &'a str,
    /// The dialect.
    pub backend: &'a str,
    /// When the frame arrived.
    pub arrived: UnixMillis,
    /// Gives the minted id of the frame; called only where the backend gave none.
    pub minted: &'a mut dyn FnMut() -> String,
}

/// Traces outlive the process: all processes must make the same of the same event.
const TRACE_SEED: u64 = 0x63_68_61_74_6d_75_78;

/// What a log knows of an event beside its text.
#[derive(Clone, Debug)]
pub struct Label {
    /// Its name.
    pub message_type: MessageType,
    /// Its scope, for events that a scope filter looks at (empty: only "no filter" lets it
    /// pass); `None` passes every filter.
    pub scope: Option<Box<str>>,
    /// The message that a `Token` belongs to, or that a `Chat` completes.
    pub token_of: Option<Box<str>>,
    /// Whether the tokens of `token_of` that came before are superseded by this event.
    pub completes_tokens: bool,
    /// Its `createdAt`, or when it arrived where that was before: what a backend, or a person by
    /// way of it, dates ahead must not pass for having been told up to then.
    pub at: UnixMillis,
    /// The same for the same event, on the stream and in the history.
    pub trace: Trace,
}

/// One event as JSON text.
#[derive(Clone, Debug)]
pub struct Encoded {
    /// What readers filter by.
    pub label: Label,
    /// The backend's own name, where its own data leaves.
    raw_name: Option<Box<str>>,
    json: Vec<u8>,
    message_type_at: Range<usize>,
    text_at: Option<Range<usize>>,
    data_at: Option<Range<usize>>,
}

impl Encoded {
    /// Writes the message object.
    #[must_use]
    pub fn new(event: &Event<'_>, envelope: &mut Envelope<'_>) -> Self {
        let message_type = event.message_type();
        let mut json = Vec::with_capacity(768);
        let id = full_id(&event.id, envelope.minted);
        let subscription = envelope.subscription;
        let mut fields = Fields::open(&mut json);
        fields.text("id", &id);
        fields.maybe("threadId", event.thread_id.as_deref());
        fields.maybe("conversationId", event.conversation_id.as_deref());
        fields
            .text("workflowId", event.workflow_id.as_deref().unwrap_or(&subscription.workflow_id));
        fields.text(
            "workflowType",
            event.workflow_type.as_deref().unwrap_or(&subscription.workflow_type),
        );
        fields.text("participantId", &subscription.participant_id);
        fields.word("direction", event.direction.as_str());
        let message_type_at =
            span(fields.key("messageType"), |out| write_text(out, message_type.as_str()));
        let text_at =
            event.text.as_deref().map(|text| span(fields.key("text"), |out| write_text(out, text)));
        let data_at = write_data(&mut fields, &event.payload);
        fields.maybe("hint", event.hint.as_deref());
        fields.maybe("scope", event.scope.as_deref());
        fields.maybe("requestId", event.request_id.as_deref());
        if let Some(sender) = &event.sender {
            fields.nested("sender", |fields| write_sender(fields, sender));
        }
        let at = event.created_at.unwrap_or(envelope.arrived);
        let out = fields.key("createdAt");
        out.push(b'"');
        out.extend_from_slice(&at.to_rfc3339());
        out.push(b'"');
        fields.maybe("createdBy", event.created_by.as_deref());
        fields.nested("source", |fields| {
            fields.text("name", envelope.source);
            fields.text("backend", envelope.backend);
            fields.text("event", &event.source_event);
        });
        fields.close();
        let trace = match &event.id.base {
            Some(_) => FixedState::with_seed(TRACE_SEED).hash_one(&*id),
            // A minted id is another one each time.
            None => {
                let part = |at: &Option<Range<usize>>| json.get(at.clone().unwrap_or_default());
                let content = (message_type as u8, part(&text_at), part(&data_at));
                FixedState::with_seed(TRACE_SEED).hash_one(content)
            }
        };
        let label = Label {
            message_type,
            scope: event.scope.as_deref().or_else(|| event.is_scoped.then_some("")).map(Box::from),
            token_of: token_of(event, &id),
            completes_tokens: !matches!(&event.payload, Payload::Token(token) if token.valid != Some(false)),
            at: at.min(envelope.arrived),
            trace: Trace::new(trace),
        };
        Self { label, json, raw_name: None, message_type_at, text_at, data_at }
    }

    /// A frame as the backend wrote it, for a log in the [`Vocabulary::Raw`].
    #[must_use]
    pub fn raw(event: &str, data: &str, at: UnixMillis) -> Self {
        let trace = FixedState::with_seed(TRACE_SEED).hash_one((event, data));
        let label = Label {
            message_type: MessageType::Raw,
            scope: None,
            token_of: None,
            completes_tokens: false,
            at,
            trace: Trace::new(trace),
        };
        Self {
            label,
            json: data.as_bytes().to_vec(),
            raw_name: Some(event.into()),
            message_type_at: 0..0,
            text_at: None,
            data_at: None,
        }
    }

    /// Takes out of `text` and `data` what a route does not let through. How many of the two
    /// changed.
    pub fn redact(&mut self, redaction: &Redaction) -> u64 {
        // `data` stands after `text`, so it is replaced first and `text` keeps its place.
        let mut changed = 0;
        if let Some(at) = self.data_at.clone()
            && let Some(redacted) = self.json.get(at.clone()).and_then(|json| redaction.json(json))
        {
            self.data_at = Some(at.start..at.start + redacted.len());
            self.json.splice(at, redacted);
            changed += 1;
        }
        if let Some(at) = self.text_at.clone()
            && let Some(redacted) = self.json.get(at.clone()).and_then(|json| redaction.json(json))
        {
            let (before, after) = (at.len(), redacted.len());
            let moved = |place: usize| place + after - before;
            self.text_at = Some(at.start..at.start + after);
            self.data_at = self.data_at.take().map(|at| moved(at.start)..moved(at.end));
            self.json.splice(at, redacted);
            changed += 1;
        }
        changed
    }

    /// The message object.
    #[must_use]
    pub fn json(&self) -> &str {
        // Written by `Fields` from `str`s alone, so it is UTF-8.
        std::str::from_utf8(&self.json).unwrap_or("{}")
    }

    /// Frames the event for the wire, `id:` line included where a cursor is given.
    #[must_use]
    pub fn frame(self, cursor: Option<&str>) -> Framed {
        let mut full = Vec::with_capacity(self.json.len() + 96);
        if let Some(name) = &self.raw_name {
            write_frame(&mut full, name, cursor, self.json());
            return Framed {
                label: self.label,
                full: full.into(),
                message_type_at: 0..0,
                text_at: None,
                data_at: None,
            };
        }
        let name = self.label.message_type.as_str();
        write_json_event(&mut full, name, cursor, &self.json);
        let json_at = "event: \ndata: ".len() + name.len();
        let moved = |at: Range<usize>| json_at + at.start..json_at + at.end;
        Framed {
            label: self.label,
            full: full.into(),
            message_type_at: moved(self.message_type_at),
            text_at: self.text_at.map(moved),
            data_at: self.data_at.map(moved),
        }
    }
}

/// One event as it goes out. The `core` form is made of the full one.
#[derive(Clone, Debug)]
pub struct Framed {
    /// What readers filter by.
    pub label: Label,
    full: Bytes,
    message_type_at: Range<usize>,
    text_at: Option<Range<usize>>,
    data_at: Option<Range<usize>>,
}

impl Framed {
    /// The block in the `full` vocabulary.
    #[must_use]
    pub const fn full(&self) -> &Bytes {
        &self.full
    }

    /// Whether the event leaves unchanged in the `core` vocabulary.
    #[must_use]
    pub const fn is_core(&self) -> bool {
        self.label.message_type.is_core()
    }

    /// The block in the `core` vocabulary: `Data`, with the type as `kind` and its data within.
    #[must_use]
    pub fn core(&self) -> Bytes {
        if self.is_core() {
            return self.full.clone();
        }
        let part = |at: &Range<usize>| self.full.get(at.clone()).unwrap_or_default();
        let mut data = Vec::with_capacity(self.full.len());
        let mut fields = Fields::open(&mut data);
        fields.text("kind", self.label.message_type.as_str());
        if let Some(at) = &self.text_at {
            fields.key("text").extend_from_slice(part(at));
        }
        if let Some(at) = &self.data_at {
            fields.key("data").extend_from_slice(part(at));
        }
        fields.close();

        // The head with its new name, everything before the type, the new type, what stands
        // between type and data, the new data, the rest. Without data, the new data follows the
        // type or the text.
        let mut core = Vec::with_capacity(self.full.len() + data.len() + 16);
        core.extend_from_slice(b"event: Data\n");
        let named = "event: \n".len() + self.label.message_type.as_str().len();
        let type_at = &self.message_type_at;
        core.extend_from_slice(part(&(named..type_at.start)));
        core.extend_from_slice(b"\"Data\"");
        if let Some(at) = &self.data_at {
            core.extend_from_slice(part(&(type_at.end..at.start)));
            core.extend_from_slice(&data);
            core.extend_from_slice(part(&(at.end..self.full.len())));
        } else {
            let end = self.text_at.as_ref().map_or(type_at.end, |at| at.end);
            core.extend_from_slice(part(&(type_at.end..end)));
            core.extend_from_slice(b",\"data\":");
            core.extend_from_slice(&data);
            core.extend_from_slice(part(&(end..self.full.len())));
        }
        core.into()
    }
}

/// The id of a framed event, and where it stands.
fn id_of(block: &[u8]) -> Option<(&str, Range<usize>)> {
    let start = memmem::rfind(block, ID_LINE)? + ID_LINE.len();
    let rest = block.get(start..)?;
    let id = rest.get(..memchr(b'\n', rest)?)?;
    Some((std::str::from_utf8(id).ok()?, start..start + id.len()))
}

/// A framed event under another id; `id` is given the one that it has.
pub(crate) fn with_id(block: &Bytes, id: impl FnOnce(&str) -> String) -> Bytes {
    let Some((known, at)) = id_of(block) else {
        return block.clone();
    };
    let id = id(known);
    let mut out = Vec::with_capacity(block.len() + id.len());
    out.extend_from_slice(block.get(..at.start).unwrap_or_default());
    out.extend_from_slice(id.as_bytes());
    out.extend_from_slice(block.get(at.end..).unwrap_or_default());
    out.into()
}

/// How an id begins: no name and no line of data holds a line break.
const ID_LINE: &[u8] = b"\nid: ";

/// The span that a value takes.
fn span(out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) -> Range<usize> {
    let start = out.len();
    write(out);
    start..out.len()
}

fn full_id<'e>(id: &'e EventId<'_>, minted: &mut dyn FnMut() -> String) -> Cow<'e, str> {
    let base = id.base.as_deref().map_or_else(|| Cow::Owned(minted()), Cow::Borrowed);
    match id.part {
        Part::First => base,
        Part::Nth(n) => Cow::Owned(format!("{base}.{n}")),
        Part::Handoff(1) => Cow::Owned(format!("{base}.handoff")),
        Part::Handoff(n) => Cow::Owned(format!("{base}.handoff.{n}")),
    }
}

/// Which streamed message an event belongs to: a token its target, a message itself.
fn token_of(event: &Event<'_>, id: &str) -> Option<Box<str>> {
    match &event.payload {
        Payload::Token(token) => Some(Box::from(token.message_id.as_ref())),
        Payload::Chat(_) | Payload::File(_) | Payload::Form(_) => Some(Box::from(id)),
        Payload::Data(_)
        | Payload::Kind { .. }
        | Payload::Handoff(_)
        | Payload::Typing(_)
        | Payload::Receipt(_)
        | Payload::Presence(_)
        | Payload::Participant(_)
        | Payload::Status(_)
        | Payload::Progress { .. }
        | Payload::Invite(_)
        | Payload::Call { .. }
        | Payload::Signal { .. }
        | Payload::Notice(_)
        | Payload::Passed { .. }
        | Payload::Raw { .. } => None,
    }
}

fn write_sender(fields: &mut Fields<'_>, sender: &Sender<'_>) {
    fields.maybe("id", sender.id.as_deref());
    fields.maybe("name", sender.name.as_deref());
    fields.word("role", sender.role.as_str());
}

/// Writes `data`, or takes it back where it came out empty.
fn write_data(fields: &mut Fields<'_>, payload: &Payload<'_>) -> Option<Range<usize>> {
    match payload {
        Payload::Data(json) => Some(raw_data(fields, json)),
        Payload::Passed { data, .. } => data.as_deref().map(|json| raw_data(fields, json)),
        Payload::Kind { .. }
        | Payload::Chat(_)
        | Payload::Handoff(_)
        | Payload::Typing(_)
        | Payload::Receipt(_)
        | Payload::Presence(_)
        | Payload::Participant(_)
        | Payload::Status(_)
        | Payload::Token(_)
        | Payload::Progress { .. }
        | Payload::File(_)
        | Payload::Form(_)
        | Payload::Invite(_)
        | Payload::Call { .. }
        | Payload::Signal { .. }
        | Payload::Notice(_)
        | Payload::Raw { .. } => {
            fields.nested_unless_empty("data", |fields| write_typed(fields, payload))
        }
    }
}

fn raw_data(fields: &mut Fields<'_>, json: &str) -> Range<usize> {
    span(fields.key("data"), |out| crate::proto::json::write_compact(out, json))
}

fn write_typed(fields: &mut Fields<'_>, payload: &Payload<'_>) {
    match payload {
        Payload::Chat(chat) => write_chat(fields, chat),
        Payload::Kind { kind, fields: own } => {
            fields.text("kind", kind);
            // The name under which clients know it is ours; a field of the backend that is
            // called the same would make two of them.
            for (key, json) in own.iter().filter(|(key, _)| key != "kind") {
                fields.foreign(key, json);
            }
        }
        Payload::Handoff(handoff) => write_handoff(fields, handoff),
        Payload::Typing(typing) => write_typing(fields, *typing),
        Payload::Receipt(receipt) => write_receipt(fields, receipt),
        Payload::Presence(presence) => {
            fields.bool("available", presence.is_available);
            fields.text("show", presence.show.as_str());
        }
        Payload::Participant(participant) => write_participant(fields, participant),
        Payload::Status(status) => write_status(fields, status),
        Payload::Token(token) => write_token(fields, token),
        Payload::Progress { indicator } => fields.maybe("indicator", indicator.as_deref()),
        Payload::File(files) => fields.list("files", files, write_file),
        Payload::Form(form) => write_form(fields, form),
        Payload::Invite(invite) => write_invite(fields, invite),
        Payload::Call { status, payload } => {
            fields.maybe("status", status.as_deref());
            if let Some(json) = payload {
                fields.raw("payload", json);
            }
        }
        Payload::Signal { signal, destination } => {
            fields.raw("signal", signal);
            fields.maybe("destination", destination.as_deref());
        }
        Payload::Notice(notice) => {
            fields.text("level", notice.level.as_str());
            fields.maybe("code", notice.code.as_deref());
        }
        Payload::Raw { event, body } => {
            fields.text("event", event);
            fields.raw("body", body);
        }
        // Free JSON is written as it came, by `write_data`.
        Payload::Data(_) | Payload::Passed { .. } => {}
    }
}

fn write_chat(fields: &mut Fields<'_>, chat: &Chat<'_>) {
    fields.maybe("format", chat.format.map(TextFormat::as_str));
    fields.maybe("html", chat.html.as_deref());
    fields.maybe("subject", chat.subject.as_deref());
    fields.maybe("replaces", chat.replaces.as_deref());
    fields.maybe("inReplyTo", chat.in_reply_to.as_deref());
    fields.maybe("room", chat.room.as_deref());
    if let Some(delayed) = chat.delayed {
        fields.bool("delayed", delayed);
    }
    if !chat.choices.is_empty() {
        fields.list("choices", &chat.choices, write_choice);
    }
    fields.maybe("style", chat.style.as_deref());
    if !chat.links.is_empty() {
        fields.list("links", &chat.links, write_link);
    }
    if let Some(json) = &chat.payload {
        fields.raw("payload", json);
    }
}

fn write_choice(fields: &mut Fields<'_>, choice: &Choice<'_>) {
    fields.maybe("id", choice.id.as_deref());
    fields.maybe("title", choice.title.as_deref());
    fields.maybe("description", choice.description.as_deref());
}

fn write_link(fields: &mut Fields<'_>, link: &Link<'_>) {
    fields.text("url", &link.url);
    fields.maybe("title", link.title.as_deref());
    fields.maybe("image", link.image.as_deref());
}

fn write_handoff(fields: &mut Fields<'_>, handoff: &Handoff<'_>) {
    fields.text("phase", handoff.phase.as_str());
    fields.maybe("fromAgent", handoff.from_agent.as_deref());
    fields.maybe("toAgent", handoff.to_agent.as_deref());
    fields.maybe("reason", handoff.reason.as_deref());
    fields.maybe("workgroup", handoff.workgroup.as_deref());
    fields.maybe("offerId", handoff.offer_id.as_deref());
    fields.maybe("room", handoff.room.as_deref());
    fields.maybe("url", handoff.url.as_deref());
    if let Some(json) = &handoff.metadata {
        fields.raw("metadata", json);
    }
}

fn write_typing(fields: &mut Fields<'_>, typing: Typing) {
    fields.text("state", if typing.is_started { "started" } else { "stopped" });
    fields.maybe("detail", typing.detail.map(TypingDetail::as_str));
}

fn write_receipt(fields: &mut Fields<'_>, receipt: &Receipt<'_>) {
    fields.text("receipt", if receipt.is_read { "read" } else { "delivered" });
    fields.text("messageId", &receipt.message_id);
    fields.maybe("at", receipt.at.map(|at| at.to_string()));
}

fn write_participant(fields: &mut Fields<'_>, participant: &Participant<'_>) {
    fields.text("change", if participant.is_joined { "joined" } else { "left" });
    fields.nested("participant", |fields| {
        let party = &participant.party;
        fields.maybe("id", party.id.as_deref());
        fields.maybe("name", party.name.as_deref());
        fields.maybe("firstName", party.first_name.as_deref());
        fields.maybe("lastName", party.last_name.as_deref());
        fields.text("role", party.role.as_str());
    });
    fields.maybe("party", participant.party_word.as_deref());
    if let Some(initial) = participant.initial {
        fields.bool("initial", initial);
    }
}

fn write_status(fields: &mut Fields<'_>, status: &Status<'_>) {
    fields.text("state", status.state.as_str());
    fields.maybe("reason", status.reason.as_deref());
    if let Some(secs) = status.estimated_wait_secs {
        fields.int("estimatedWaitSeconds", secs);
    }
    if let Some(position) = status.position {
        fields.int("position", position);
    }
    fields.maybe("endedBy", status.ended_by.map(Role::as_str));
    if !status.queue.is_empty() {
        fields.nested("queue", |fields| {
            for (key, json) in &status.queue {
                fields.foreign(key, json);
            }
        });
    }
}

fn write_token(fields: &mut Fields<'_>, token: &Token<'_>) {
    fields.text("messageId", &token.message_id);
    if let Some(valid) = token.valid {
        fields.bool("valid", valid);
    }
    fields.maybe("reason", token.reason.as_deref());
    if let Some(sequence) = token.sequence {
        fields.int("sequence", sequence);
    }
    for (key, json) in [("turn", &token.turn), ("batch", &token.batch)] {
        if let Some(json) = json {
            fields.raw(key, json);
        }
    }
}

fn write_file(fields: &mut Fields<'_>, file: &FileItem<'_>) {
    fields.maybe("id", file.id.as_deref());
    fields.maybe("name", file.name.as_deref());
    fields.text("kind", if file.is_image { "image" } else { "attachment" });
    fields.maybe("mediaType", file.media_type.as_deref());
    fields.maybe("url", file.url.as_deref());
}

fn write_form(fields: &mut Fields<'_>, form: &Form<'_>) {
    fields.maybe("formId", form.form_id.as_deref());
    fields.maybe("name", form.name.as_deref());
    if let Some(secs) = form.timeout_secs {
        fields.int("timeoutSeconds", secs);
    }
    if let Some(secure) = form.secure {
        fields.bool("secure", secure);
    }
    if let Some(json) = &form.fields {
        fields.raw("fields", json);
    }
}

fn write_invite(fields: &mut Fields<'_>, invite: &Invite<'_>) {
    fields.text("room", &invite.room);
    fields.maybe("inviter", invite.inviter.as_deref());
    fields.maybe("reason", invite.reason.as_deref());
    fields.maybe("password", invite.password.as_deref());
    fields.maybe("url", invite.url.as_deref());
}

/// Gives a closed set its words.
macro_rules! words {
    ($name:ident { $($variant:ident = $word:literal),+ $(,)? }) => {
        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Their words.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// As on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}

pub(in crate::proto) use words;

words!(Direction { Outgoing = "Outgoing", Incoming = "Incoming" });
words!(Role {
    Participant = "participant", Agent = "agent", Bot = "bot", System = "system",
    Supervisor = "supervisor", Peer = "peer",
});
words!(TextFormat { Plain = "plain", Markdown = "markdown" });
words!(HandoffPhase {
    Requested = "requested", Offered = "offered", Revoked = "revoked", Accepted = "accepted",
    Completed = "completed", Failed = "failed",
});
words!(TypingDetail { Paused = "paused", Active = "active", Inactive = "inactive", Gone = "gone" });
words!(Show {
    Online = "online", Away = "away", Chat = "chat", Dnd = "dnd", Xa = "xa", Offline = "offline",
});
words!(StatusState {
    Queued = "queued", Connecting = "connecting", Connected = "connected", Active = "active",
    Waiting = "waiting", Ended = "ended", Failed = "failed",
});
words!(NoticeLevel { Info = "info", Warning = "warning", Error = "error" });

#[cfg(test)]
mod tests {
    use super::super::*;
    use super::*;

    fn encode(event: &Event<'_>) -> Encoded {
        let subscription = Subscription::new("acme", "support", "jane");
        Encoded::new(
            event,
            &mut Envelope {
                subscription: &subscription,
                source: "desk",
                backend: "openfire",
                arrived: UnixMillis(0),
                minted: &mut || "m1".to_owned(),
            },
        )
    }

    fn typing() -> Event<'static> {
        Event::new("chatapi.chat", Payload::Typing(Typing { is_started: true, detail: None }))
    }

    #[test]
    fn absent_fields_are_left_out() {
        assert_eq!(
            encode(&typing()).json(),
            "{\"id\":\"m1\",\"workflowId\":\"acme:support\",\"workflowType\":\"support\",\
             \"participantId\":\"jane\",\"direction\":\"Outgoing\",\"messageType\":\"Typing\",\
             \"data\":{\"state\":\"started\"},\"createdAt\":\"1970-01-01T00:00:00.000Z\",\
             \"source\":{\"name\":\"desk\",\"backend\":\"openfire\",\"event\":\"chatapi.chat\"}}"
        );
    }

    #[test]
    fn empty_data_is_left_out() {
        let chat = Event::new("x", Payload::Chat(Box::default()));
        assert!(!encode(&chat).json().contains("\"data\""));
    }

    #[track_caller]
    fn check_core(event: &Event<'_>, want_data: &str) {
        let encoded = encode(event);
        let block = encoded.clone().frame(Some("c1")).core();
        let block = String::from_utf8(block.to_vec()).expect("text");
        let data = block.strip_prefix("event: Data\ndata: ").expect("a Data event");
        let data = data.strip_suffix("\nid: c1\n\n").expect("its id");
        let core: serde_json::Value = serde_json::from_str(data).expect("JSON");
        let full: serde_json::Value = serde_json::from_str(encoded.json()).expect("JSON");
        let want: serde_json::Value = serde_json::from_str(want_data).expect("JSON");
        assert_eq!(core["data"], want);
        assert_eq!(core["messageType"], "Data");
        for (key, value) in full.as_object().expect("an object") {
            if key != "data" && key != "messageType" {
                assert_eq!(&core[key], value, "{key}");
            }
        }
    }

    #[test]
    fn core_wraps_what_it_has_no_name_for() {
        check_core(&typing(), r#"{"kind":"Typing","data":{"state":"started"}}"#);
        let mut progress = Event::new("x", Payload::Progress { indicator: None });
        check_core(&progress, r#"{"kind":"Progress"}"#);
        progress.text = Some(Cow::Borrowed("a \"b\"\n"));
        check_core(&progress, r#"{"kind":"Progress","text":"a \"b\"\n"}"#);
        progress.payload = Payload::Passed {
            message_type: MessageType::Tool,
            data: Some(Cow::Borrowed("[1.0, 2]")),
        };
        check_core(&progress, r#"{"kind":"Tool","text":"a \"b\"\n","data":[1.0,2]}"#);
    }

    #[test]
    fn what_is_redacted_is_gone_from_both_vocabularies() {
        let rule = |pattern: &str| crate::proto::redact::Rule {
            pattern: regex::Regex::new(pattern).expect("an expression"),
            replace: "[x]".to_owned(),
        };
        let redaction = Redaction(vec![rule("hunter2+"), rule("jane")]);
        for text in ["hunter2222 and hunter2", "hunter2", "none"] {
            let mut event = Event::new("hunter2", Payload::Progress { indicator: None });
            event.text = Some(Cow::Borrowed(text));
            event.payload = Payload::Passed {
                message_type: MessageType::Tool,
                data: Some(Cow::Borrowed(r#"{"hunter2":["hunter222222",1.0,"y"]}"#)),
            };
            let mut encoded = encode(&event);
            let redacted = encoded.redact(&redaction);
            assert_eq!(redacted, if text == "none" { 1 } else { 2 });
            let wanted = text.replace("hunter2222", "[x]").replace("hunter2", "[x]");
            let full: serde_json::Value = serde_json::from_str(encoded.json()).expect("JSON");
            assert_eq!(full["text"], wanted);
            assert_eq!(full["data"], serde_json::json!({"hunter2": ["[x]", 1.0, "y"]}));
            assert_eq!(full["participantId"], "jane", "text and data alone");
            let core = encoded.frame(None).core();
            let core = String::from_utf8(core.to_vec()).expect("text");
            let core: serde_json::Value =
                serde_json::from_str(core.split_once("data: ").expect("data").1).expect("JSON");
            assert_eq!(core["data"]["text"], wanted);
            assert_eq!(core["data"]["data"], full["data"]);
        }
    }

    #[test]
    fn scoped_events_without_a_scope_are_hidden_by_every_filter() {
        let mut event = typing();
        assert_eq!(encode(&event).label.scope, None);
        event.is_scoped = true;
        assert_eq!(encode(&event).label.scope.as_deref(), Some(""));
        event.scope = Some(Cow::Borrowed("s"));
        assert_eq!(encode(&event).label.scope.as_deref(), Some("s"));
    }

    #[test]
    fn what_is_dated_ahead_counts_as_of_its_arrival() {
        let mut event = typing();
        for (created_at, want) in [(Some(-5), -5), (Some(7), 0), (None, 0)] {
            event.created_at = created_at.map(UnixMillis);
            let encoded = encode(&event);
            assert_eq!(encoded.label.at, UnixMillis(want), "it arrived at 0");
            let shown = event.created_at.unwrap_or(UnixMillis(0)).to_string();
            assert!(encoded.json().contains(&shown), "clients are told what the backend says");
        }
    }

    #[test]
    fn ids_are_numbered_within_a_frame() {
        let id = |part| {
            full_id(&EventId { base: Some("a".into()), part }, &mut String::new).into_owned()
        };
        assert_eq!(id(Part::First), "a");
        assert_eq!(id(Part::Nth(2)), "a.2");
        assert_eq!(id(Part::Handoff(1)), "a.handoff");
        assert_eq!(id(Part::Handoff(2)), "a.handoff.2");
    }
}
