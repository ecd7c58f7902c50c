//! The derived frames: JSON by string concatenation, one per thing that happened.
//!
//! Everything but the stanzas is mapped here. Ids are minted: these frames carry none. The first
//! of equal keys counts, since the templates write theirs before any text of a user. Not here:
//! reading what is no JSON (`lenient`), who is who (`people`).

use std::borrow::Cow;
use std::collections::HashSet;

use super::people::{Jid, Scene};
use super::{Desk, json_or_text, lenient, word};
use crate::proto::backend::url::is_harmless;
use crate::proto::backend::{Discard, Input, Outbox, Reject};
use crate::proto::event::{
    Chat, Event, Handoff, HandoffPhase, Invite, Json, Notice, NoticeLevel, Payload, Presence, Show,
    Status, StatusState, Text, Typing, TypingDetail,
};
use crate::proto::json::{self, Fields, Object};

/// The keys that each event's templates write.
const KEYS: &[(&str, &[&str])] = &[
    ("chatapi.chat", &["type", "to", "from", "data", "body", "state"]),
    ("chatapi.presence", &["type", "to", "from", "status", "show"]),
    (
        "chatapi.muc",
        &["type", "to", "from", "data", "body", "password", "room", "inviter", "url", "reason"],
    ),
    ("chatapi.openlink", &["type", "to", "from", "json"]),
    (
        "chatapi.fastpath",
        &[
            "type",
            "workgroup",
            "to",
            "from",
            "metadata",
            "metaData",
            "id",
            "reason",
            "url",
            "mucRoom",
            "data",
            "body",
        ],
    ),
    ("chatapi.assist", &["type", "workgroup", "from", "metadata", "metaData", "id", "reason"]),
    (
        "chatapi.ask",
        &[
            "type",
            "to",
            "from",
            "averageWaitTime",
            "userCount",
            "status",
            "oldestEntry",
            "userid",
            "postion",
            "position",
            "timeRemaining",
            "remaingTime",
            "timestamp",
            "url",
            "mucRoom",
            "data",
            "body",
        ],
    ),
    ("chatapi.notify", &["type", "to", "from", "data"]),
];

/// Reads an object, strictly if that can be, else as its template meant it.
pub(super) fn read<'a>(
    data: &'a str,
    known: &[&str],
    repaired: &'a mut String,
) -> Option<Object<'a>> {
    if let Some(object) = Object::parse(data) {
        return Some(object.first_wins());
    }
    // An object that is only nested too deep has nothing to repair.
    if Object::parse_part(data).is_some() {
        return None;
    }
    *repaired = lenient::repair(data, known)?;
    Object::parse(repaired).map(Object::first_wins)
}

/// `pubsub.item` and `onAction`: whatever object was published.
pub(super) fn on_item(input: Input<'_>, out: &mut Outbox<'_>) -> Result<(), Reject> {
    // The whole is passed on, so every part of it has to be JSON, its keys too.
    let item = json::value(input.data).filter(|item| item.get().starts_with('{'));
    let item = item.ok_or_else(|| Reject::malformed("not a JSON object"))?;
    out.emit(Event::new(input.event, Payload::Data(item.get().into())));
    Ok(())
}

impl Desk {
    /// Maps a frame that the plugin derived from a stanza.
    pub(super) fn on_derived(
        &mut self,
        input: Input<'_>,
        out: &mut Outbox<'_>,
    ) -> Result<(), Reject> {
        let Some((_, known)) = KEYS.iter().find(|(event, _)| *event == input.event) else {
            return Err(Reject::Unmapped { conversation_id: None });
        };
        let mut repaired = String::new();
        let object = read(input.data, known, &mut repaired)
            .ok_or_else(|| Reject::malformed("not a JSON object, and not to be read as one"))?;
        let kind = word(&object, "type").unwrap_or_default();
        let is_groupchat = kind == "groupchat";
        if is_groupchat {
            self.archive.on_room();
        }
        if self.is_shadowed(input.event, &kind) {
            return Err(Reject::Discard(Discard::Shadowed, "the stanza came before"));
        }
        let (from, to) = (word(&object, "from"), word(&object, "to"));
        let (from, to) = (from.as_deref().and_then(Jid::new), to.as_deref().and_then(Jid::new));
        let participant = &self.subscription.participant_id;
        self.stream.on_addressed(participant, to);
        let own = self.stream.own(participant, to);
        let scene = Scene::new(&self.stream.rooms, own, from, to, is_groupchat);
        let frame = Frame { event: input.event, kind: &kind, object: &object, scene };
        let event = frame.map().map_err(|trouble| {
            let conversation_id = frame.scene.conversation().map(str::to_owned);
            match trouble {
                Trouble::Unknown => Reject::Unmapped { conversation_id },
                Trouble::Broken(why) => Reject::Malformed { why, conversation_id, body: None },
                Trouble::Empty => Reject::Discard(Discard::Filtered, "nothing said"),
            }
        })?;
        if let Some(text) = event.text.as_deref().filter(|_| frame.is_said())
            && self.archive.is_told(&frame.scene, text, None, None)
        {
            return Err(Reject::Discard(Discard::Duplicate, "the archive told it"));
        }
        out.emit(event);
        Ok(())
    }

    /// Whether a stanza on this stream makes the frame a second copy.
    fn is_shadowed(&self, event: &str, kind: &str) -> bool {
        match event {
            "chatapi.presence" => self.stream.has_presences,
            "chatapi.chat" | "chatapi.notify" => self.stream.has_messages,
            "chatapi.muc" | "chatapi.ask" | "chatapi.fastpath" => {
                self.stream.has_messages && kind == "groupchat"
            }
            _ => false,
        }
    }
}

/// Why a frame that was read gives no event.
enum Trouble {
    /// No template writes this type under this name.
    Unknown,
    /// What its type needs is missing.
    Broken(&'static str),
    /// It says nothing.
    Empty,
}

/// A frame that was read.
struct Frame<'x> {
    event: &'x str,
    kind: &'x str,
    object: &'x Object<'x>,
    scene: Scene<'x>,
}

impl<'x> Frame<'x> {
    /// Whether it is a message that an archive would have.
    fn is_said(&self) -> bool {
        self.event == "chatapi.chat" && !matches!(self.kind, "error" | "groupchat")
    }

    fn map(&self) -> Result<Event<'x>, Trouble> {
        match (self.event, self.kind) {
            ("chatapi.chat", _)
            | ("chatapi.muc" | "chatapi.ask" | "chatapi.fastpath", "groupchat") => self.chat(),
            ("chatapi.presence", _) => self.presence(),
            ("chatapi.notify", _) => self.notify(),
            (_, "") => Err(Trouble::Broken("no type")),
            ("chatapi.muc", "invitationReceived") => self.invitation(),
            ("chatapi.openlink", "callstatus") => self.call(),
            ("chatapi.fastpath" | "chatapi.assist", "offerReceived") => {
                Ok(self.offer(HandoffPhase::Offered))
            }
            ("chatapi.fastpath" | "chatapi.assist", "offerRevoked") => {
                Ok(self.offer(HandoffPhase::Revoked))
            }
            ("chatapi.fastpath" | "chatapi.ask", "offer") => Ok(self.accepted()),
            ("chatapi.ask", "update-queue") => Ok(self.status(StatusState::Queued, None)),
            ("chatapi.ask", "depart-queue") => {
                Ok(self.status(StatusState::Connecting, Some("departed_queue")))
            }
            ("chatapi.ask", "notify-queue") => Ok(self.queue("queue")),
            ("chatapi.ask", "notify-queue-details") => Ok(self.queue("queue_entry")),
            _ => Err(Trouble::Unknown),
        }
    }

    fn word(&self, key: &str) -> Option<Text<'x>> {
        word(self.object, key)
    }

    /// The key's value, if it is anything.
    fn any(&self, key: &str) -> Option<Json<'x>> {
        let json = self.object.get(key)?.get();
        (json != "\"null\"").then_some(Cow::Borrowed(json))
    }

    fn event(&self, payload: Payload<'x>) -> Event<'x> {
        self.scene.event(self.event, payload)
    }

    /// A message, or a chat state.
    fn chat(&self) -> Result<Event<'x>, Trouble> {
        // A person may well say `null`: of all fields only this one is taken at its word.
        let Some(body) = self.object.text("body") else {
            return self.typing();
        };
        if body.is_empty() {
            return if self.word("state").is_some() { self.typing() } else { Err(Trouble::Empty) };
        }
        let notice = |level| Payload::Notice(Notice { level, code: None });
        let mut event = self.event(match self.kind {
            "error" => notice(NoticeLevel::Error),
            "headline" => notice(NoticeLevel::Info),
            _ => Payload::Chat(Box::new(Chat {
                room: self.scene.room().map(Text::from),
                payload: self.any("data"),
                ..Chat::default()
            })),
        });
        event.text = Some(body);
        Ok(event)
    }

    fn typing(&self) -> Result<Event<'x>, Trouble> {
        let state = self.word("state").ok_or(Trouble::Broken("neither body nor state"))?;
        let typing = chat_state(&state).ok_or(Trouble::Broken("no chat state of that name"))?;
        Ok(self.event(Payload::Typing(typing)))
    }

    fn presence(&self) -> Result<Event<'x>, Trouble> {
        self.word("from").ok_or(Trouble::Broken("a presence of nobody"))?;
        // The plugin writes `available` for those who have gone, too: only the stanza knows.
        let show = self.word("show").map_or(Show::Online, |show| show_of(&show));
        let mut event = self.event(Payload::Presence(Presence { is_available: true, show }));
        event.text = self.word("status");
        Ok(event)
    }

    fn notify(&self) -> Result<Event<'x>, Trouble> {
        let data = self.any("data").ok_or(Trouble::Broken("no data"))?;
        Ok(self.event(Payload::Data(data)))
    }

    /// The address of a meeting, or of a page: relative ones are left to the client.
    fn url(&self) -> Option<Text<'x>> {
        self.word("url").filter(|url| is_harmless(url))
    }

    fn invitation(&self) -> Result<Event<'x>, Trouble> {
        let room = self.word("room").ok_or(Trouble::Broken("an invitation to no room"))?;
        let mut event = self.event(Payload::Invite(Box::new(Invite {
            room: room.clone(),
            inviter: self.word("inviter"),
            reason: self.word("reason"),
            password: self.word("password"),
            url: self.url(),
        })));
        event.conversation_id = Some(bare(room));
        Ok(event)
    }

    fn call(&self) -> Result<Event<'x>, Trouble> {
        const NO_JSON: Trouble = Trouble::Broken("no call status");
        let payload = match self.word("json") {
            Some(text) => json_or_text(text).ok_or(Trouble::Broken("nested too deep"))?,
            None => self.any("json").filter(|json| !json.starts_with('"')).ok_or(NO_JSON)?,
        };
        let status = Object::parse(&payload).and_then(|call| {
            let call = call.first_wins();
            word(&call, "status")
                .or_else(|| word(&call, "state"))
                .map(|status| Cow::Owned(status.into_owned()))
        });
        Ok(self.event(Payload::Call { status, payload: Some(payload) }))
    }

    /// An agent is offered a visitor, or is so no longer.
    fn offer(&self, phase: HandoffPhase) -> Event<'x> {
        let mut handoff = Handoff::new(phase);
        handoff.workgroup = self.word("workgroup");
        handoff.offer_id = self.object.id("id").filter(|id| id != "null");
        match phase {
            HandoffPhase::Offered => handoff.metadata = self.metadata(),
            HandoffPhase::Revoked
            | HandoffPhase::Requested
            | HandoffPhase::Accepted
            | HandoffPhase::Completed
            | HandoffPhase::Failed => handoff.reason = self.word("reason"),
        }
        self.handoff(handoff)
    }

    /// An agent took the visitor, and waits in a room.
    fn accepted(&self) -> Event<'x> {
        let mut handoff = Handoff::new(HandoffPhase::Accepted);
        handoff.workgroup = self.word("from");
        handoff.room = self.word("mucRoom");
        handoff.url = self.url();
        self.handoff(handoff)
    }

    fn handoff(&self, handoff: Handoff<'x>) -> Event<'x> {
        let room = handoff.room.clone();
        let mut event = self.event(Payload::Handoff(Box::new(handoff)));
        event.conversation_id = room.map(bare);
        event
    }

    /// What the visitor had filled in: an object, or the document's comma list.
    fn metadata(&self) -> Option<Json<'x>> {
        let value = self.any("metaData").or_else(|| self.any("metadata"))?;
        if value.starts_with('{') {
            return Some(value);
        }
        let list = self.word("metaData").or_else(|| self.word("metadata"))?;
        let mut object = Vec::with_capacity(list.len() * 2);
        let mut fields = Fields::open(&mut object);
        let mut names = HashSet::new();
        for entry in list.split(',') {
            let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
            let (name, value) = (name.trim(), value.trim());
            if !name.is_empty() && names.insert(name) {
                json::write_text(fields.foreign_key(name), value);
            }
        }
        fields.close();
        // Written from `str`s alone.
        (!names.is_empty()).then(|| Cow::Owned(String::from_utf8(object).unwrap_or_default()))
    }

    /// Where the visitor stands in a workgroup's queue.
    fn status(&self, state: StatusState, reason: Option<&'static str>) -> Event<'x> {
        let mut status = Status::new(state);
        status.reason = reason.map(Cow::Borrowed);
        if reason.is_none() {
            status.position = self.object.int("position");
            status.estimated_wait_secs = self.object.int("remaingTime");
        }
        let mut event = self.event(Payload::Status(Box::new(status)));
        event.sender = None;
        event
    }

    /// What agents see of a queue.
    fn queue(&self, kind: &'static str) -> Event<'x> {
        let mut seen = HashSet::new();
        let object = self.object;
        let fields = object
            .iter()
            .filter(|(key, _)| !matches!(*key, "type" | "to" | "from") && seen.insert(*key))
            .map(|(key, value)| (Cow::Borrowed(key), Cow::Borrowed(value.get())))
            .collect();
        self.event(Payload::Kind { kind, fields })
    }
}

/// The address without its resource.
fn bare(jid: Text<'_>) -> Text<'_> {
    match jid {
        Cow::Borrowed(jid) => Cow::Borrowed(Jid::new(jid).map_or(jid, |jid| jid.bare)),
        Cow::Owned(mut jid) => {
            if let Some(bare) = Jid::new(&jid).map(|jid| jid.bare.len()) {
                jid.truncate(bare);
            }
            Cow::Owned(jid)
        }
    }
}

/// XEP-0085's states.
pub(super) fn chat_state(state: &str) -> Option<Typing> {
    let stopped = |detail| Some(Typing { is_started: false, detail: Some(detail) });
    match state {
        "composing" => Some(Typing { is_started: true, detail: None }),
        "paused" => stopped(TypingDetail::Paused),
        "active" => stopped(TypingDetail::Active),
        "inactive" => stopped(TypingDetail::Inactive),
        "gone" => stopped(TypingDetail::Gone),
        _ => None,
    }
}

/// XMPP's words, and the plugin's own.
pub(super) fn show_of(show: &str) -> Show {
    match show {
        "away" => Show::Away,
        "chat" => Show::Chat,
        "dnd" => Show::Dnd,
        "xa" => Show::Xa,
        _ => Show::Online,
    }
}

/// Whether the text of a `data` property says nothing.
pub(super) fn is_nothing(text: &str) -> bool {
    let text = text.trim();
    text.is_empty()
        || json::value(text).is_some_and(|value| matches!(value.get(), "null" | "\"null\""))
}
