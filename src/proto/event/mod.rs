//! The unified vocabulary: what every client sees, whichever backend speaks.
//!
//! An [`Event`] borrows from the frame it was made of and is encoded once (`wire`). Field names
//! are spelled in `wire`, and told to others in `describe`. Not here: which backend event becomes
//! what (`backend`), when control events (`control`) are sent.

mod control;
mod payload;
mod wire;
pub mod describe;

use std::borrow::Cow;
use std::sync::Arc;

pub use control::{Control, DisconnectReason, DownReason, GapReason, SourceTag, write_refused};
pub use payload::{
    Chat, Choice, FileItem, Form, Handoff, HandoffPhase, Invite, Json, Link, Notice, NoticeLevel,
    Participant, Party, Payload, Presence, Receipt, Show, Status, StatusState, TextFormat, Token,
    Typing, TypingDetail,
};
pub use wire::{Encoded, Envelope, Framed, Label, Vocabulary};
pub(super) use wire::{with_id, words};

use super::time::UnixMillis;

/// Text that usually still lies in the frame it came with.
pub type Text<'a> = Cow<'a, str>;

/// One message event, before it is encoded.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// The backend's own id, or a minted one.
    pub id: EventId<'a>,
    /// XiansAi thread.
    pub thread_id: Option<Text<'a>>,
    /// Where in the backend this was said.
    pub conversation_id: Option<Text<'a>>,
    /// Replaces the subscription's workflow id (XiansAi).
    pub workflow_id: Option<Text<'a>>,
    /// Replaces the subscription's workflow type (XiansAi).
    pub workflow_type: Option<Text<'a>>,
    /// Towards the participant, or the participant's own act.
    pub direction: Direction,
    /// What a person reads.
    pub text: Option<Text<'a>>,
    /// XiansAi: passed.
    pub hint: Option<Text<'a>>,
    /// XiansAi: passed, and what the `scope` filter looks at.
    pub scope: Option<Text<'a>>,
    /// Whether the `scope` filter looks at it even where it names no scope (XiansAi). Set by
    /// `backend::Mapper` for all events of a session, so dialects leave it alone.
    pub is_scoped: bool,
    /// XiansAi: passed.
    pub request_id: Option<Text<'a>>,
    /// XiansAi: passed.
    pub created_by: Option<Text<'a>>,
    /// Who did it, as the frame names them.
    pub sender: Option<Sender<'a>>,
    /// The backend's time; the time of arrival stands in where it is absent.
    pub created_at: Option<UnixMillis>,
    /// The backend's own name for what happened.
    pub source_event: Text<'a>,
    /// The type and its data.
    pub payload: Payload<'a>,
}

impl<'a> Event<'a> {
    /// An event with a minted id towards the participant, and nothing else known.
    #[must_use]
    pub fn new(source_event: impl Into<Text<'a>>, payload: Payload<'a>) -> Self {
        Self {
            id: EventId::minted(),
            thread_id: None,
            conversation_id: None,
            workflow_id: None,
            workflow_type: None,
            direction: Direction::Outgoing,
            text: None,
            hint: None,
            scope: None,
            is_scoped: false,
            request_id: None,
            created_by: None,
            sender: None,
            created_at: None,
            source_event: source_event.into(),
            payload,
        }
    }

    /// The event's name on the wire.
    #[must_use]
    pub const fn message_type(&self) -> MessageType {
        self.payload.message_type()
    }
}

/// Where an event's `id` comes from. A frame that gives several events numbers them
/// (`backend::Mapper` sets [`Part`]); dialects only name the base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventId<'a> {
    /// The backend's id; `None` = minted by whoever encodes the event.
    pub base: Option<Text<'a>>,
    /// Which of the frame's events this is.
    pub part: Part,
}

impl<'a> EventId<'a> {
    /// To be minted here.
    #[must_use]
    pub const fn minted() -> Self {
        Self { base: None, part: Part::First }
    }

    /// The backend's own.
    #[must_use]
    pub fn given(base: impl Into<Text<'a>>) -> Self {
        Self { base: Some(base.into()), part: Part::First }
    }
}

/// Which of a frame's events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The first: the id itself.
    First,
    /// A later one: `<id>.N`, N from 2.
    Nth(u32),
    /// The first derived hand-over: `<id>.handoff`; a later one: `<id>.handoff.N`.
    Handoff(u32),
}

/// Which way an event goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Towards the participant.
    Outgoing,
    /// The participant's own words or acts, echoed.
    Incoming,
}

/// What somebody is in a conversation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The person the stream is for.
    Participant,
    /// A human of the organisation.
    Agent,
    /// A program of the organisation.
    Bot,
    /// The chat system itself.
    System,
    /// A human who watches.
    Supervisor,
    /// Another user of the same rank.
    Peer,
}

/// Who did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender<'a> {
    /// As the backend writes it.
    pub id: Option<Text<'a>>,
    /// For people.
    pub name: Option<Text<'a>>,
    /// What they are.
    pub role: Role,
}

macro_rules! message_types {
    ($($name:ident),+ $(,)?) => {
        /// The names of the message events.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum MessageType {
            $(#[doc = concat!("`", stringify!($name), "`")] $name,)+
        }

        impl MessageType {
            /// All, in the order of the vocabulary.
            pub const ALL: &'static [Self] = &[$(Self::$name),+];

            /// As on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$name => stringify!($name)),+ }
            }

            /// From the wire, exact.
            #[must_use]
            pub fn parse(name: &str) -> Option<Self> {
                match name { $(stringify!($name) => Some(Self::$name),)+ _ => None }
            }
        }
    };
}

message_types!(
    Chat,
    Data,
    Handoff,
    Typing,
    Receipt,
    Presence,
    Participant,
    Status,
    Token,
    Progress,
    File,
    Form,
    Invite,
    Call,
    Signal,
    Notice,
    Reasoning,
    Tool,
    Webhook,
    Raw,
);

impl MessageType {
    /// Whether a slow or returning client may do without: the next one says it all anyway.
    #[must_use]
    pub const fn is_ephemeral(self) -> bool {
        matches!(self, Self::Typing | Self::Presence | Self::Progress)
    }

    /// Whether the `core` vocabulary has a name for it; everything else leaves as `Data` there.
    #[must_use]
    pub const fn is_core(self) -> bool {
        matches!(self, Self::Chat | Self::Data | Self::Handoff)
    }
}

/// A set of message types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TypeSet(u32);

impl TypeSet {
    /// Every type.
    pub const ALL: Self = Self(u32::MAX);

    /// Reads a comma list.
    ///
    /// # Errors
    /// The first name that is no message type.
    pub fn parse(list: &str) -> Result<Self, String> {
        let mut set = Self(0);
        for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
            let Some(message_type) = MessageType::parse(name) else {
                return Err(name.to_owned());
            };
            set.0 |= 1 << message_type as u8;
        }
        Ok(if set.0 == 0 { Self::ALL } else { set })
    }

    /// Whether the type is in it.
    #[must_use]
    pub const fn contains(self, message_type: MessageType) -> bool {
        self.0 & (1 << message_type as u8) != 0
    }
}

/// Whose stream it is, and what its events always carry.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subscription {
    /// The tenant.
    pub tenant_id: String,
    /// `<tenantId>:<workflow>`.
    pub workflow_id: String,
    /// `<workflow>`.
    pub workflow_type: String,
    /// The person.
    pub participant_id: String,
}

impl Subscription {
    /// Builds the ids from the three parameters: with two or more colons and the tenant in
    /// front, `workflow` is the workflow id itself.
    #[must_use]
    pub fn new(tenant: &str, workflow: &str, participant: &str) -> Arc<Self> {
        let tail = workflow.strip_prefix(tenant).and_then(|rest| rest.strip_prefix(':'));
        let (workflow_id, workflow_type) = match tail {
            Some(tail) if workflow.matches(':').count() >= 2 => {
                (workflow.to_owned(), tail.to_owned())
            }
            _ => (format!("{tenant}:{workflow}"), workflow.to_owned()),
        };
        Arc::new(Self {
            tenant_id: tenant.to_owned(),
            workflow_id,
            workflow_type,
            participant_id: participant.to_owned(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_workflow_with_its_tenant_in_front_is_the_id_itself() {
        let long = Subscription::new("acme", "acme:Support Agent:Main", "p");
        assert_eq!(long.workflow_id, "acme:Support Agent:Main");
        assert_eq!(long.workflow_type, "Support Agent:Main");
        let short = Subscription::new("acme", "acme:x", "p");
        assert_eq!(short.workflow_id, "acme:acme:x");
        let other = Subscription::new("acme", "a:b:c", "p");
        assert_eq!(other.workflow_id, "acme:a:b:c");
    }

    #[test]
    fn type_lists_name_types_or_are_refused() {
        let set = TypeSet::parse("Chat, Typing").expect("a set");
        assert!(set.contains(MessageType::Chat) && set.contains(MessageType::Typing));
        assert!(!set.contains(MessageType::Raw));
        assert_eq!(TypeSet::parse(""), Ok(TypeSet::ALL));
        assert_eq!(TypeSet::parse("Chat,chat"), Err("chat".to_owned()));
    }
}
