//! Bright Pattern (ServicePattern) client chat.
//!
//! Document: "Mobile/Web API", *Get New Chat Events* and *Server Events*; API v1 and v2 send the
//! same events. Transport: one long poll after another, held for 5 to 15 s; reading consumes, and
//! a second poll of the same chat at the same time is refused (5509).
//! Quirks: the documents and the wire disagree on the name of the inactivity event and the unit
//! of times, `msg` is HTML (documents: plain), signalling data is an object (documents: text),
//! a v2 receipt names its message by `ref_msg_id` (the vendor's own fixture: `msg_id`), older
//! servers name a file's sender `session_id`, and a client's own `party_id` is the chat's id
//! (vendor's Android and iOS SDKs, web widget).

mod answer;
mod plan;

use std::borrow::Cow;

use lru::LruCache;

use self::plan::CHAT;
use super::memory::PARTIES_MAX;
use super::{
    Answer, Dialect, Discard, Input, Memory, Outbox, Reject, Session, SessionStart, SessionValues,
    Transport,
};
use crate::proto::event::{
    Chat, Direction, Event, EventId, FileItem, Form, Link, Notice, NoticeLevel, Participant, Party,
    Payload, Receipt, Role, Sender, Status, StatusState, Text, Typing,
};
use crate::proto::html;
use crate::proto::json::{self, Object};
use crate::proto::time::UnixMillis;

pub use answer::{SPANNING_FAILURES_MAX, documents};

/// The dialect.
pub static DIALECT: Dialect = Dialect {
    name: "brightpattern",
    title: "Bright Pattern",
    transport: Transport::Poll { frames: answer::frames },
    events: &[
        "chat_session_status",
        ENDED,
        "chat_session_inactvity_timeout",
        "chat_session_inactivity_timeout",
        "chat_session_timeout_warning",
        "chat_session_party_joined",
        "chat_session_party_left",
        "chat_session_message",
        "chat_session_message_delivered",
        "chat_session_message_read",
        "chat_session_typing",
        "chat_session_not_typing",
        "chat_session_form_show",
        "chat_session_secure_form_show",
        "chat_session_signaling",
        "chat_session_file",
        "chat_session_location",
        "chat_session_case_set",
        "chat_session_cobrowsing_requested",
        "chat_session_info",
        "chat_session_form_submit",
    ],
    options: plan::OPTIONS,
    plan: plan::plan,
    answer: answer::answer,
    obtained: plan::obtained,
    history: Some(answer::HISTORY),
    session: |start| Box::new(BrightPattern::new(start)),
};

const ENDED: &str = "chat_session_ended";

/// One event of the backend.
struct Frame<'a> {
    name: &'a str,
    fields: Object<'a>,
}

impl<'a> Frame<'a> {
    fn time(&self) -> Option<UnixMillis> {
        self.fields.int("timestamp").and_then(UnixMillis::from_seconds_or_millis)
    }

    fn party_id(&self) -> Option<Text<'a>> {
        self.fields.id("party_id")
    }

    /// The name of the party that the event is about.
    fn party_name(&self) -> Option<Text<'a>> {
        self.fields.word("display_name").or_else(|| {
            match (self.fields.word("first_name"), self.fields.word("last_name")) {
                (Some(first), Some(last)) => Some(format!("{first} {last}").into()),
                (first, last) => first.or(last),
            }
        })
    }

    /// What its `type` says of a party, if it is one of the known words.
    fn party_role(&self) -> Option<Role> {
        match self.fields.word("type")?.as_ref() {
            "scenario" => Some(Role::Bot),
            "internal" => Some(Role::Agent),
            "external" => Some(Role::Peer),
            _ => None,
        }
    }

    /// `msg` for a person to read.
    fn shown(&self) -> Option<Text<'a>> {
        self.fields.word("msg").map(html::plain)
    }

    /// A thing without a type of its own: its keys but for those that the event itself tells.
    fn kind(&self, kind: &'static str) -> Payload<'a> {
        let told = ["event", "timestamp", "party_id", "msg_id", "ref_msg_id"];
        let own = self.fields.iter().filter(|(key, _)| !told.contains(key));
        let fields =
            own.map(|(key, value)| (Cow::Owned(key.to_owned()), Cow::Borrowed(value.get())));
        Payload::Kind { kind, fields: fields.collect() }
    }
}

/// Why a frame gives no event; the texts are for `--explain`.
enum Why {
    Unknown,
    Broken(&'static str),
    Dropped(Discard, &'static str),
}

const THE_END_WAS_TOLD: Why = Why::Dropped(Discard::Duplicate, "the end was told before");

/// The memory of one chat.
#[derive(Clone)]
struct BrightPattern {
    /// Empty if nobody said which chat it is (a capture read without `--chat`), or has yet.
    chat: String,
    memory: Memory,
    /// Who joined, by party id.
    parties: LruCache<String, Known>,
    /// The participant's own messages come back on the poll.
    has_echo: bool,
    /// What is read now is an entry of the history.
    reads_past: bool,
    is_over: bool,
}

#[derive(Clone)]
struct Known {
    name: Option<String>,
    role: Role,
}

impl BrightPattern {
    fn new(start: &SessionStart<'_>) -> Self {
        Self {
            chat: start.values.get(CHAT).cloned().unwrap_or_default(),
            memory: Memory::new(start.seed),
            parties: LruCache::sparse(PARTIES_MAX),
            has_echo: false,
            reads_past: false,
            is_over: false,
        }
    }

    fn on_event(&mut self, frame: &Frame<'_>, data: &str, out: &mut Outbox<'_>) -> Result<(), Why> {
        let event = match frame.name {
            "chat_session_status" => self.status(frame)?,
            ENDED => self.end(frame, None)?,
            "chat_session_inactvity_timeout" | "chat_session_inactivity_timeout" => {
                self.end(frame, Some("inactivity"))?
            }
            "chat_session_timeout_warning" => {
                let notice =
                    Notice { level: NoticeLevel::Warning, code: Some("inactivity".into()) };
                Event { text: frame.shown(), ..self.event(frame, Payload::Notice(notice)) }
            }
            "chat_session_party_joined" => return self.joined(frame, out),
            "chat_session_party_left" => self.left(frame)?,
            "chat_session_message" => self.message(frame, data)?,
            "chat_session_message_delivered" => self.receipt(frame, false)?,
            "chat_session_message_read" => self.receipt(frame, true)?,
            "chat_session_typing" => {
                self.said(frame, Payload::Typing(Typing { is_started: true, detail: None }))
            }
            "chat_session_not_typing" => {
                self.said(frame, Payload::Typing(Typing { is_started: false, detail: None }))
            }
            "chat_session_form_show" => self.form(frame, None),
            "chat_session_secure_form_show" => self.form(frame, Some(true)),
            "chat_session_signaling" => self.signal(frame, data)?,
            "chat_session_file" => self.file(frame, data)?,
            "chat_session_location" => {
                let id = self.new_id(frame, data)?;
                Event { id, ..self.said(frame, frame.kind("location")) }
            }
            "chat_session_case_set" => self.said(frame, frame.kind("case")),
            "chat_session_cobrowsing_requested" => self.said(frame, frame.kind("cobrowsing")),
            "chat_session_info" => self.said(frame, frame.kind("info")),
            "chat_session_form_submit" => self.said(frame, frame.kind("form_submit")),
            _ => return Err(Why::Unknown),
        };
        out.emit(event);
        Ok(())
    }

    fn status<'f>(&mut self, frame: &Frame<'f>) -> Result<Event<'f>, Why> {
        let word = frame.fields.text("state").ok_or(Why::Broken("no state"))?;
        let state = match word.as_ref() {
            "queued" => StatusState::Queued,
            "connecting" | "establishing" => StatusState::Connecting,
            "connected" | "ivr" => StatusState::Connected,
            "failed" => StatusState::Failed,
            "completed" => StatusState::Ended,
            _ => return Ok(self.said(frame, frame.kind("status"))),
        };
        if !self.memory.on_status(&self.chat, state) {
            return Err(THE_END_WAS_TOLD);
        }
        let wait =
            frame.fields.id("ewt").filter(|ewt| ewt.bytes().all(|byte| byte.is_ascii_digit()));
        let status = Status {
            reason: (word == "ivr").then_some("ivr".into()),
            estimated_wait_secs: wait.and_then(|ewt| ewt.parse().ok()),
            ..Status::new(state)
        };
        Ok(self.event(frame, Payload::Status(Box::new(status))))
    }

    fn end<'f>(
        &mut self,
        frame: &Frame<'f>,
        reason: Option<&'static str>,
    ) -> Result<Event<'f>, Why> {
        if !self.memory.on_status(&self.chat, StatusState::Ended) {
            return Err(THE_END_WAS_TOLD);
        }
        let text = reason.and_then(|_| frame.shown());
        let status =
            Status { reason: reason.map(Cow::Borrowed), ..Status::new(StatusState::Ended) };
        Ok(Event { text, ..self.event(frame, Payload::Status(Box::new(status))) })
    }

    fn joined(&mut self, frame: &Frame<'_>, out: &mut Outbox<'_>) -> Result<(), Why> {
        let (id, name) = (frame.party_id(), frame.party_name());
        if id.is_none() && name.is_none() {
            return Err(Why::Broken("names nobody"));
        }
        let own = self.is_own(id.as_deref());
        let role = if own { Role::Participant } else { frame.party_role().unwrap_or(Role::Agent) };
        let handover = match id.as_deref() {
            Some(id) => {
                let known = Known { name: name.as_deref().map(str::to_owned), role };
                self.parties.put(id.to_owned(), known);
                self.memory.on_joined(&self.chat, id, name.as_deref(), role)
            }
            // Nobody can be told apart by this, but somebody is there.
            None => {
                self.memory.on_message(&self.chat);
                None
            }
        };
        out.emit(self.participant(frame, true, id, name, role));
        if let Some(handover) = handover {
            let mut event = handover.into_event(frame.name);
            event.conversation_id = self.conversation_id();
            event.created_at = frame.time();
            out.emit_handoff(event);
        }
        Ok(())
    }

    fn left<'f>(&mut self, frame: &Frame<'f>) -> Result<Event<'f>, Why> {
        let id = frame.party_id();
        let known = id.as_deref().and_then(|id| self.parties.get(id)).cloned();
        let name = known.as_ref().and_then(|known| known.name.clone()).map(Cow::Owned);
        let name = name.or_else(|| frame.party_name());
        if id.is_none() && name.is_none() {
            return Err(Why::Broken("names nobody"));
        }
        let role = if self.is_own(id.as_deref()) {
            Role::Participant
        } else {
            known.map(|known| known.role).or_else(|| frame.party_role()).unwrap_or(Role::Agent)
        };
        if let Some(id) = id.as_deref() {
            self.memory.on_left(&self.chat, id, name.as_deref(), role);
        }
        Ok(self.participant(frame, false, id, name, role))
    }

    fn participant<'f>(
        &self,
        frame: &Frame<'f>,
        is_joined: bool,
        id: Option<Text<'f>>,
        name: Option<Text<'f>>,
        role: Role,
    ) -> Event<'f> {
        let party = Party {
            id,
            name,
            first_name: frame.fields.word("first_name"),
            last_name: frame.fields.word("last_name"),
            role,
        };
        let party_word = frame.fields.word("type");
        let participant = Participant { is_joined, party, party_word, initial: None };
        let mut event = self.event(frame, Payload::Participant(Box::new(participant)));
        if role == Role::Participant {
            event.direction = Direction::Incoming;
        }
        event
    }

    fn message<'f>(&mut self, frame: &Frame<'f>, data: &str) -> Result<Event<'f>, Why> {
        let id = self.new_id(frame, data)?;
        let (msg, plain) = (frame.fields.text("msg"), frame.fields.text("msg_text"));
        let reading = msg.as_deref().and_then(html::read);
        let mut chat = Chat::default();
        let mut text = None;
        if let Some(reading) = reading {
            text = Some(Cow::Owned(reading.text));
            chat.html = reading.markup.map(Cow::Owned);
            chat.links = reading.links.into_iter().map(link).collect();
        }
        // An empty `msg_text` beside a `msg` is one that the server could not make.
        let text = plain.clone().filter(|plain| !plain.is_empty()).or(text).or(msg).or(plain);
        let text = text.ok_or(Why::Broken("no msg"))?;
        self.memory.on_message(&self.chat);
        Ok(Event { id, text: Some(text), ..self.said(frame, Payload::Chat(Box::new(chat))) })
    }

    fn receipt<'f>(&mut self, frame: &Frame<'f>, is_read: bool) -> Result<Event<'f>, Why> {
        let named = ["ref_msg_id", "msg_id"]
            .into_iter()
            .find_map(|key| self.message_id(&frame.fields.id(key)?));
        let message_id = named.ok_or(Why::Dropped(Discard::Filtered, "names no message"))?;
        let receipt = Receipt { is_read, message_id: message_id.into(), at: None };
        Ok(self.said(frame, Payload::Receipt(receipt)))
    }

    fn form<'f>(&mut self, frame: &Frame<'f>, secure: Option<bool>) -> Event<'f> {
        let fields = &frame.fields;
        let form = Form {
            form_id: fields.id("form_request_id"),
            // An empty name asks for free text.
            name: fields.word("form_name").or_else(|| fields.id("form_id")),
            timeout_secs: fields.int("form_timeout"),
            secure,
            fields: None,
        };
        Event { text: frame.shown(), ..self.said(frame, Payload::Form(Box::new(form))) }
    }

    fn signal<'f>(&mut self, frame: &Frame<'f>, data: &str) -> Result<Event<'f>, Why> {
        let id = self.new_id(frame, data)?;
        let value = frame.fields.get("data").ok_or(Why::Broken("no data"))?;
        let inner = json::text(value).filter(|text| json::value(text).is_some());
        let signal = inner.unwrap_or_else(|| Cow::Borrowed(value.get()));
        let destination = frame.fields.id("destination_party_id");
        Ok(Event { id, ..self.said(frame, Payload::Signal { signal, destination }) })
    }

    fn file<'f>(&mut self, frame: &Frame<'f>, data: &str) -> Result<Event<'f>, Why> {
        let id = self.new_id(frame, data)?;
        let fields = &frame.fields;
        let file = FileItem {
            id: fields.id("file_id"),
            name: fields.word("file_name"),
            is_image: fields.word("file_type").as_deref() == Some("image"),
            media_type: None,
            url: None,
        };
        if file.id.is_none() {
            return Err(Why::Broken("no file_id"));
        }
        let party = frame.party_id().or_else(|| fields.id("session_id"));
        Ok(Event { id, ..self.said_by(party, frame, Payload::File(vec![file])) })
    }

    /// The id that the frame gives its event, or a minted one.
    fn new_id<'f>(&mut self, frame: &Frame<'f>, data: &str) -> Result<EventId<'f>, Why> {
        let Some(id) = frame.fields.id("msg_id").and_then(|id| self.message_id(&id)) else {
            return Ok(EventId::minted());
        };
        let is_repeat = match self.reads_past {
            true => self.memory.is_known(&self.chat, &id),
            false => self.memory.is_repeat(&self.chat, &id, data),
        };
        if is_repeat {
            return Err(Why::Dropped(Discard::Duplicate, "the same under the same id"));
        }
        Ok(EventId::given(id))
    }

    /// An event of the party that the frame names.
    fn said<'f>(&mut self, frame: &Frame<'f>, payload: Payload<'f>) -> Event<'f> {
        self.said_by(frame.party_id(), frame, payload)
    }

    fn said_by<'f>(
        &mut self,
        party: Option<Text<'f>>,
        frame: &Frame<'f>,
        payload: Payload<'f>,
    ) -> Event<'f> {
        let mut event = self.event(frame, payload);
        let Some(id) = party else {
            return event;
        };
        let known = self.parties.get(id.as_ref()).cloned();
        let (name, role) = known.map_or((None, Role::Agent), |known| (known.name, known.role));
        let role = if self.is_own(Some(&id)) { Role::Participant } else { role };
        if role == Role::Participant {
            event.direction = Direction::Incoming;
        }
        event.sender = Some(Sender { id: Some(id), name: name.map(Cow::Owned), role });
        event
    }

    /// An event of nobody in particular.
    fn event<'f>(&self, frame: &Frame<'f>, payload: Payload<'f>) -> Event<'f> {
        let mut event = Event::new(frame.name, payload);
        event.conversation_id = self.conversation_id();
        event.created_at = frame.time();
        event
    }

    fn conversation_id<'f>(&self) -> Option<Text<'f>> {
        (!self.chat.is_empty()).then(|| Cow::Owned(self.chat.clone()))
    }

    /// A client's own party is named like its chat, in whatever case.
    fn is_own(&self, party: Option<&str>) -> bool {
        party.is_some_and(|id| !id.is_empty() && id.eq_ignore_ascii_case(&self.chat))
    }

    /// `<chat>:<msg_id>`, where some clients' message ids already begin with the chat's.
    fn message_id(&self, msg_id: &str) -> Option<String> {
        if self.chat.is_empty() {
            return (!msg_id.is_empty()).then(|| msg_id.to_owned());
        }
        let prefix =
            msg_id.get(..self.chat.len()).filter(|prefix| prefix.eq_ignore_ascii_case(&self.chat));
        let own = prefix.and_then(|prefix| msg_id.strip_prefix(prefix)?.strip_prefix(':'));
        let number = own.unwrap_or(msg_id);
        (!number.is_empty()).then(|| format!("{}:{number}", self.chat))
    }

    /// A frame that is not what its name promises.
    fn malformed(&self, why: &'static str) -> Reject {
        let conversation_id = self.conversation_id().map(Cow::into_owned);
        Reject::Malformed { why, conversation_id, body: None }
    }
}

/// Where events without an id are remembered.
fn unnumbered(chat: &str) -> String {
    format!("{chat}\0")
}

fn link<'a>(link: html::Link) -> Link<'a> {
    Link {
        url: link.url.into(),
        title: link.title.map(Cow::Owned),
        image: link.image.map(Cow::Owned),
    }
}

impl Session for BrightPattern {
    fn on_frame(&mut self, input: Input<'_>, out: &mut Outbox<'_>) -> Result<(), Reject> {
        let Some(fields) = Object::parse(input.data) else {
            return Err(self.malformed("no JSON object, or nested too deep"));
        };
        let frame = Frame { name: input.event, fields };
        self.has_echo |= self.is_own(frame.party_id().as_deref());
        if frame.fields.id("msg_id").is_none() {
            // Without an id, the whole event tells it from others when a history is read.
            let _is_again = self.memory.is_known(&unnumbered(&self.chat), input.data);
        }
        let result = self.on_event(&frame, input.data, out);
        self.is_over = self.memory.is_ended(&self.chat);
        result.map_err(|why| match why {
            // An answer whose `events` are no list reaches us whole.
            Why::Unknown
                if frame.fields.raw("events").is_some_and(|list| json::array(list).is_none()) =>
            {
                self.malformed("events is no list")
            }
            Why::Unknown => {
                Reject::Unmapped { conversation_id: self.conversation_id().map(Cow::into_owned) }
            }
            Why::Broken(why) => self.malformed(why),
            Why::Dropped(discard, why) => Reject::Discard(discard, why),
        })
    }

    fn on_past(
        &mut self,
        _part: &str,
        entry: Input<'_>,
        out: &mut Outbox<'_>,
    ) -> Result<(), Reject> {
        let Some(fields) = Object::parse(entry.data) else {
            return Err(self.malformed("no JSON object, or nested too deep"));
        };
        let frame = Frame { name: entry.event, fields };
        if self.is_own(frame.party_id().as_deref()) && !self.has_echo {
            return Err(Reject::Discard(Discard::Filtered, "polls do not tell it either"));
        }
        if frame.fields.id("msg_id").is_none() {
            if frame.time().is_none() {
                return Err(Reject::Discard(Discard::Filtered, "does not say when it was"));
            }
            if self.memory.is_known(&unnumbered(&self.chat), entry.data) {
                return Err(Reject::Discard(Discard::Duplicate, "a poll told it"));
            }
        }
        self.reads_past = true;
        let result = self.on_frame(entry, out);
        self.reads_past = false;
        result
    }

    fn on_grant(&mut self, values: &SessionValues) {
        if let Some(chat) = values.get(CHAT) {
            chat.clone_into(&mut self.chat);
        }
    }

    fn on_gone(&mut self, out: &mut Outbox<'_>) {
        let fields = Object::default();
        if let Ok(event) = self.end(&Frame { name: ENDED, fields }, None) {
            out.emit(event);
        }
        self.is_over = true;
    }

    fn is_over(&self) -> bool {
        self.is_over
    }

    fn fork(&self, _: &SessionStart<'_>) -> Box<dyn Session> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests;
