//! Salesforce Messaging for In-App and Web: the event router's stream (`/eventrouter/v1/sse`).
//!
//! One stream per end user, whatever the number of conversations; every frame is an envelope
//! around one conversation entry, whose payload is JSON text inside the JSON (in histories: an
//! object). Quirks, from the vendor's pages and clients: the org id must be the 15-character
//! form, `_ts` must differ on every attempt, the end user's own messages come back, tokens come
//! out of order, `ping` is a named event, new event types may appear at any time.
//! Not here: sending.

mod token;
mod past;
mod entry;
mod frame;
mod message;

use std::borrow::Cow;
use std::collections::BTreeSet;

use super::{
    Answer, CallPlan, Dialect, Discard, Files, Input, KEYS_MAX, Memory, OptionKind, OptionSpec,
    Options, Outbox, PassPlan, PastKeys, Piece, Plan, Reject, Session, SessionStart, Transport,
    pass::segments,
};
use crate::proto::event::{Direction, Event, Payload, Role, Text};
use crate::proto::template::{Place, Template, Variable, Variables};
use crate::proto::view::{Index, View};

use frame::{Entry, Frame};

/// The dialect.
pub static DIALECT: Dialect = Dialect {
    name: "salesforce",
    title: "Salesforce Messaging",
    transport: Transport::Stream,
    events: &[
        "CONVERSATION_MESSAGE",
        "CHOICES_RESPONSE_MESSAGE",
        "CONVERSATION_ROUTING_RESULT",
        "CONVERSATION_ROUTING_WORK_RESULT",
        "CONVERSATION_PARTICIPANT_CHANGED",
        "CONVERSATION_DELIVERY_ACKNOWLEDGEMENT",
        "CONVERSATION_READ_ACKNOWLEDGEMENT",
        "CONVERSATION_TYPING_STARTED_INDICATOR",
        "CONVERSATION_TYPING_STOPPED_INDICATOR",
        "CONVERSATION_TYPING_INDICATOR",
        "CONVERSATION_PROGRESS_INDICATOR",
        "CONVERSATION_STREAMING_TOKEN",
        "CONVERSATION_SESSION_STATUS_CHANGED",
        "CONVERSATION_QUEUE_POSITION",
        "CONVERSATION_CLOSE_CONVERSATION",
        "CONVERSATION_END_USER_CONSENT_UPDATED",
        "CONVERSATION_CLIENT_ACTION",
        "CONVERSATION_CLIENT_MENU",
        "ping",
    ],
    options: OPTIONS,
    plan,
    answer,
    obtained: token::obtained,
    history: Some(past::HISTORY),
    session: |start| Box::new(Salesforce::new(start, Memory::new(start.seed))),
};

/// The vendor's own web client gives up after so long without a sign of life.
const SILENCE_SECS: u64 = 90;
/// The stream answers 400 to the 18-character form of an org id.
const ORG_ID_CHARS: usize = 15;
/// Conversations are named by UUIDs; what is longer by far is no name to ask by.
const CONVERSATION_ID_BYTES_MAX: usize = 256;
/// The value under which the session learns of the option.
const CONVERSATION: &str = "conversation";

const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "org_id",
        kind: OptionKind::Template,
        is_required: true,
        doc: "The organisation's id in its 15-character form.",
    },
    OptionSpec {
        name: "bearer",
        kind: OptionKind::Secret,
        is_required: false,
        doc: "The end user's access token, fixed or passed from the client (`{query.token}`); this \
              or `anonymous`.",
    },
    OptionSpec {
        name: "anonymous",
        kind: OptionKind::Table(token::OPTIONS),
        is_required: false,
        doc: "Gets a token of an anonymous end user, one for each participant; this or `bearer`.",
    },
    OptionSpec {
        name: CONVERSATION,
        kind: OptionKind::Template,
        is_required: false,
        doc: "The only conversation that clients are told of (`{query.conversationId}`); \
              default: all of the end user's conversations.",
    },
];

fn plan(options: &Options) -> Result<Plan, String> {
    let org_id =
        options.template("org_id").ok_or("set `org_id`: the organisation's id, 15 characters")?;
    check_org_id(org_id)?;
    let (authorization, recipe) = match (options.template("bearer"), options.table("anonymous")) {
        (Some(bearer), None) => (Piece::fixed("Bearer ").then_value(bearer, Place::Header), None),
        (None, Some(anonymous)) => {
            (token::authorization(), Some(token::recipe(org_id, anonymous)?))
        }
        (None, None) => {
            return Err("set `bearer` or `anonymous`: the end user's access token".to_owned());
        }
        (Some(_), Some(_)) => return Err("set only one of `bearer` and `anonymous`".to_owned()),
    };
    let conversation = options.template(CONVERSATION);
    let is_v1 = options.table("anonymous").is_some_and(|table| table.word("api") == Some("v1"));
    Ok(Plan {
        pass: PassPlan {
            headers: vec![("Authorization", authorization.clone())],
            is_events: |_, path| {
                let first = segments(path).first().copied().unwrap_or_default();
                first.eq_ignore_ascii_case("eventrouter")
            },
            ..PassPlan::default()
        },
        history: Some(past::plan(authorization.clone(), is_v1, conversation.is_none())),
        call: CallPlan {
            path: Piece::fixed("/eventrouter/v1/sse"),
            fresh_query: Some("_ts"),
            headers: vec![
                ("Accept", Piece::fixed("text/event-stream")),
                ("Authorization", authorization),
                ("X-Org-Id", Piece::value(org_id, Place::Header)),
                ("Cache-Control", Piece::fixed("no-cache")),
                ("Accept-Encoding", Piece::fixed("identity")),
            ],
            ..CallPlan::default()
        },
        resume_header: Some("Last-Event-Id"),
        values: conversation
            .map(|template| (CONVERSATION, Piece::value(template, Place::Plain)))
            .into_iter()
            .collect(),
        silence_secs: SILENCE_SECS,
        recipe,
    })
}

fn check_org_id(org_id: &Template) -> Result<(), String> {
    struct Nobody;
    impl Variables for Nobody {
        fn value(&self, _: &Variable) -> Option<Cow<'_, str>> {
            None
        }
    }
    let Ok(text) = org_id.resolve(&Nobody, Place::Plain) else {
        return Err(
            "`org_id` cannot hold `{...}`: one `url` belongs to one organisation".to_owned()
        );
    };
    let count = text.chars().count();
    if count != ORG_ID_CHARS {
        let hint = if count == 18 { "; leave out the last three" } else { "" };
        return Err(format!(
            "`org_id` has {count} characters, \
             the stream takes the form of {ORG_ID_CHARS} only{hint}"
        ));
    }
    if !text.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err("`org_id` holds more than letters and digits".to_owned());
    }
    Ok(())
}

fn answer(status: u16, body: &str) -> Answer {
    match status {
        // A gateway in front has been seen to tell of an expired token as stream text.
        200 if body.trim_start().starts_with("Jwt is expired") => Answer::Unauthorized,
        200 => Answer::Events,
        401 | 403 => Answer::Unauthorized,
        429 => Answer::RateLimited,
        _ => Answer::Bad,
    }
}

/// What a frame's name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Message,
    ChoicesResponse,
    RoutingResult,
    RoutingWorkResult,
    ParticipantChanged,
    Delivered,
    Read,
    TypingStarted,
    TypingStopped,
    Progress,
    Token,
    SessionStatus,
    QueuePosition,
    Close,
    Consent,
    ClientAction,
    ClientMenu,
}

impl Kind {
    fn parse(event: &str) -> Option<Self> {
        let Some(name) = event.strip_prefix("CONVERSATION_") else {
            return (event == "CHOICES_RESPONSE_MESSAGE").then_some(Self::ChoicesResponse);
        };
        Some(match name {
            "MESSAGE" => Self::Message,
            "ROUTING_RESULT" => Self::RoutingResult,
            "ROUTING_WORK_RESULT" => Self::RoutingWorkResult,
            "PARTICIPANT_CHANGED" => Self::ParticipantChanged,
            "DELIVERY_ACKNOWLEDGEMENT" => Self::Delivered,
            "READ_ACKNOWLEDGEMENT" => Self::Read,
            // The older indicator has no counterpart that says "stopped".
            "TYPING_STARTED_INDICATOR" | "TYPING_INDICATOR" => Self::TypingStarted,
            "TYPING_STOPPED_INDICATOR" => Self::TypingStopped,
            "PROGRESS_INDICATOR" => Self::Progress,
            "STREAMING_TOKEN" => Self::Token,
            "SESSION_STATUS_CHANGED" => Self::SessionStatus,
            "QUEUE_POSITION" => Self::QueuePosition,
            "CLOSE_CONVERSATION" => Self::Close,
            "END_USER_CONSENT_UPDATED" => Self::Consent,
            "CLIENT_ACTION" => Self::ClientAction,
            "CLIENT_MENU" => Self::ClientMenu,
            _ => return None,
        })
    }
}

/// What an entry says, before it is known to be news.
struct Told<'a> {
    payload: Payload<'a>,
    text: Option<Text<'a>>,
}

/// Why an entry says nothing.
enum Fault {
    Malformed(&'static str),
    Filtered(&'static str),
    /// A kind of content that is not in the table.
    Unmapped,
}

/// The role that the vendor's word stands for.
fn role(word: &str) -> Role {
    match word {
        "EndUser" => Role::Participant,
        "Agent" => Role::Agent,
        "Chatbot" => Role::Bot,
        "Supervisor" => Role::Supervisor,
        _ => Role::System,
    }
}

struct Salesforce {
    memory: Memory,
    /// The only conversation to tell of.
    conversation: Option<String>,
    /// Those that the stream told of, where none is configured.
    conversations: BTreeSet<String>,
    /// There were more than are remembered.
    has_more: bool,
    /// Where clients find files.
    files: Files,
}

impl Salesforce {
    fn new(start: &SessionStart<'_>, memory: Memory) -> Self {
        let conversation = start.values.get(CONVERSATION).cloned();
        let (conversations, files) = (BTreeSet::new(), Files::of(start));
        Self { memory, conversation, conversations, has_more: false, files }
    }

    /// Remembers a conversation, to ask for its entries once the stream was lost.
    fn on_conversation(&mut self, id: &str) {
        let is_new = self.conversation.is_none() && !self.conversations.contains(id);
        if !is_new || id.is_empty() || id.len() > CONVERSATION_ID_BYTES_MAX {
            return;
        }
        if self.conversations.len() < KEYS_MAX {
            self.conversations.insert(id.to_owned());
        } else {
            self.has_more = true;
        }
    }

    /// Reads the envelope as far as to say whose it is.
    fn conversation_id<'a>(&self, envelope: View<'a>) -> Result<Option<Text<'a>>, Reject> {
        let Some(own) = &self.conversation else { return Ok(envelope.id("conversationId")) };
        let owner =
            envelope.text("conversationId").ok_or(Reject::Ownerless("names no conversation"))?;
        if owner != own.as_str() {
            return Err(Reject::Discard(Discard::Foreign, "another conversation"));
        }
        Ok(Some(owner))
    }

    /// A frame without an envelope.
    fn unreadable(&self, kind: Option<Kind>) -> Reject {
        match (&self.conversation, kind) {
            (Some(_), _) => Reject::Ownerless("no JSON object"),
            (None, Some(_)) => Reject::malformed("no JSON object"),
            (None, None) => Reject::Unmapped { conversation_id: None },
        }
    }

    /// Maps an entry that is no repeat.
    fn tell(
        &mut self,
        kind: Kind,
        frame: &Frame<'_>,
        payload: Option<View<'_>>,
        out: &mut Outbox<'_>,
    ) -> Result<(), Reject> {
        let reject = |fault: Fault| {
            let conversation_id = frame.conversation_id.as_deref().map(str::to_owned);
            match fault {
                Fault::Malformed(why) => Reject::Malformed { why, conversation_id, body: None },
                Fault::Filtered(why) => Reject::Discard(Discard::Filtered, why),
                Fault::Unmapped => Reject::Unmapped { conversation_id },
            }
        };
        let payload =
            payload.ok_or_else(|| reject(Fault::Malformed("an entryPayload that is no object")))?;
        let id = frame.id.as_deref();
        let told = match kind {
            Kind::ParticipantChanged => {
                return self.tell_changes(frame, payload, out).map_err(reject);
            }
            Kind::Message => message::read(payload, id, None),
            Kind::ChoicesResponse => message::read(payload, id, Some("ChoicesResponseMessage")),
            Kind::RoutingResult => entry::routing_result(payload),
            Kind::RoutingWorkResult => Ok(entry::routing_work_result(payload)),
            Kind::Delivered => entry::receipt(payload, frame, false),
            Kind::Read => entry::receipt(payload, frame, true),
            Kind::TypingStarted => Ok(entry::typing(true)),
            Kind::TypingStopped => Ok(entry::typing(false)),
            Kind::Progress => entry::progress(payload),
            Kind::Token => entry::token(payload),
            Kind::SessionStatus => entry::session_status(payload),
            Kind::QueuePosition => Ok(entry::queue_position(payload)),
            Kind::Close => Ok(entry::closed()),
            Kind::Consent => Ok(entry::kind("consent", payload)),
            Kind::ClientAction => Ok(entry::kind("client_action", payload)),
            Kind::ClientMenu => Ok(entry::kind("client_menu", payload)),
        };
        let Told { mut payload, text } = told.map_err(reject)?;
        if let Payload::File(files) = &mut payload {
            for file in files {
                let url = file.url.take();
                file.url = url.and_then(|url| self.files.at_url(&url)).map(Text::Owned);
            }
        }
        let mut sender = frame.sender.clone();
        if let Payload::Status(status) = &payload {
            if !self.memory.on_status(frame.conversation(), status.state) {
                return Err(Reject::Discard(Discard::Duplicate, "the end was told before"));
            }
            sender = None;
        } else if matches!(kind, Kind::Message | Kind::ChoicesResponse) {
            self.memory.on_message(frame.conversation());
        }
        let mut event = frame.event(payload);
        event.text = text;
        event.sender = sender;
        out.emit(event);
        Ok(())
    }

    /// People who come and go, and the hand-overs in it.
    fn tell_changes(
        &mut self,
        frame: &Frame<'_>,
        payload: View<'_>,
        out: &mut Outbox<'_>,
    ) -> Result<(), Fault> {
        // All are read before the first is told: a frame is mapped whole or not at all.
        for change in entry::participants(payload)? {
            let party = &change.party;
            let name = party.name.as_deref();
            let handover = match party.id.as_deref().or(name) {
                Some(id) if change.is_joined => {
                    self.memory.on_joined(frame.conversation(), id, name, party.role)
                }
                Some(id) => {
                    self.memory.on_left(frame.conversation(), id, name, party.role);
                    None
                }
                // Nobody who could be told apart from the next; it still opens the session.
                None if change.is_joined => {
                    self.memory.on_joined(frame.conversation(), "", None, Role::System)
                }
                None => None,
            };
            out.emit(frame.event(Payload::Participant(Box::new(change))));
            if let Some(handover) = handover {
                let handoff = frame.event(handover.into_event(frame.name).payload);
                out.emit_handoff(Event { direction: Direction::Outgoing, ..handoff });
            }
        }
        Ok(())
    }
}

impl Salesforce {
    /// Maps a frame, or an entry of the history in the form of one.
    fn on_entry(
        &mut self,
        input: Input<'_>,
        is_past: bool,
        out: &mut Outbox<'_>,
    ) -> Result<(), Reject> {
        if input.event == "ping" {
            return Err(Reject::Discard(Discard::Liveness, "a sign of life"));
        }
        let kind = Kind::parse(input.event);
        let index = Index::scan(input.data);
        let envelope = index.as_ref().and_then(Index::object);
        let envelope = envelope.ok_or_else(|| self.unreadable(kind))?;
        let conversation_id = self.conversation_id(envelope)?;
        self.on_conversation(conversation_id.as_deref().unwrap_or_default());
        let owned = || conversation_id.as_deref().map(str::to_owned);
        let Some(entry) = envelope.object("conversationEntry") else {
            return Err(match kind {
                Some(_) => Reject::Malformed {
                    why: "no conversationEntry",
                    conversation_id: owned(),
                    body: None,
                },
                None => Reject::Unmapped { conversation_id: owned() },
            });
        };
        let entry = Entry::new(entry);
        let payload_text = frame::payload_text(&entry);
        let payload_index = payload_text.as_deref().map(Index::scan);
        let payload = match &payload_index {
            Some(index) => index.as_ref().and_then(Index::object),
            None => entry.payload.and_then(View::as_object),
        };
        let id = match kind {
            Some(Kind::Token) => payload.and_then(|payload| payload.id("id")),
            _ => entry.identifier.and_then(|id| id.as_id()),
        };
        let frame = Frame::new(input.event, conversation_id, id, &entry);
        let is_repeat = frame.id.as_deref().is_some_and(|id| {
            let conversation = frame.conversation();
            match is_past {
                true => self.memory.is_known(conversation, id),
                false => self.memory.is_repeat(conversation, id, input.data),
            }
        });
        if is_repeat {
            return Err(Reject::Discard(Discard::Duplicate, "seen before"));
        }
        match kind {
            Some(kind) => self.tell(kind, &frame, payload, out),
            None => Err(Reject::Unmapped {
                conversation_id: frame.conversation_id.map(Cow::into_owned),
            }),
        }
    }
}

impl Session for Salesforce {
    fn on_frame(&mut self, input: Input<'_>, out: &mut Outbox<'_>) -> Result<(), Reject> {
        self.on_entry(input, false, out)
    }

    fn on_past(
        &mut self,
        conversation: &str,
        entry: Input<'_>,
        out: &mut Outbox<'_>,
    ) -> Result<(), Reject> {
        // The call named the conversation; its entries do not.
        let data = past::envelope(conversation, entry.data);
        self.on_entry(Input { event: entry.event, data: &data }, true, out)
    }

    fn past_keys(&self) -> PastKeys {
        match &self.conversation {
            Some(own) => PastKeys::all([own.clone()]),
            // Of a stream that told of none, only a list of conversations could tell.
            None => PastKeys {
                names: self.conversations.clone(),
                is_all: !self.has_more && !self.conversations.is_empty(),
            },
        }
    }

    fn fork(&self, start: &SessionStart<'_>) -> Box<dyn Session> {
        let mut fork = Self::new(start, self.memory.clone());
        for id in &self.conversations {
            fork.on_conversation(id);
        }
        Box::new(fork)
    }
}

#[cfg(test)]
mod tests;
