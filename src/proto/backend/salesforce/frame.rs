//! The envelope that every frame of the event router has, and what it gives to every event.
//!
//! Values stay in the frame's text. Not here: what a payload says ([`super::entry`],
//! [`super::message`]).

use std::borrow::Cow;

use super::role;
use crate::proto::event::{Direction, Event, EventId, Payload, Role, Sender, Text};
use crate::proto::time::UnixMillis;
use crate::proto::view::{View, pick};

/// What is read of a conversation entry.
pub(super) struct Entry<'a> {
    pub(super) identifier: Option<View<'a>>,
    pub(super) payload: Option<View<'a>>,
    sender: Option<View<'a>>,
    sender_name: Option<View<'a>>,
    related: Option<View<'a>>,
    created: Option<View<'a>>,
    sent: Option<View<'a>>,
}

impl<'a> Entry<'a> {
    pub(super) fn new(entry: View<'a>) -> Self {
        pick!(
            entry,
            identifier = "identifier",
            payload = "entryPayload",
            sender = "sender",
            sender_name = "senderDisplayName",
            related = "relatedRecords",
            created = "transcriptedTimestamp",
            sent = "clientTimestamp",
        );
        Self { identifier, payload, sender, sender_name, related, created, sent }
    }

    fn created_at(&self) -> Option<UnixMillis> {
        let time = |view: Option<View<'a>>| view?.as_int().and_then(UnixMillis::from_millis);
        time(self.created).or_else(|| time(self.sent))
    }

    fn sender(&self) -> Option<Sender<'a>> {
        let sender = self.sender?.as_object()?;
        pick!(sender, role_word = "role", subject = "subject");
        let role_word = role_word.and_then(|word| word.as_text());
        let role = role(role_word.as_deref().unwrap_or_default());
        Some(Sender {
            // The end user is the subscription's participant; the vendor's name for them is its
            // own.
            id: subject.filter(|_| role != Role::Participant).and_then(|id| id.as_id()),
            name: self.sender_name.and_then(|name| name.as_text()).filter(|name| !name.is_empty()),
            role,
        })
    }
}

/// One conversation entry, its payload apart.
pub(super) struct Frame<'a> {
    /// The event's name on the upstream stream.
    pub(super) name: &'a str,
    pub(super) conversation_id: Option<Text<'a>>,
    /// The vendor's id of what happened.
    pub(super) id: Option<Text<'a>>,
    pub(super) sender: Option<Sender<'a>>,
    /// `relatedRecords[0]`: the message that a receipt is about.
    pub(super) related: Option<Text<'a>>,
    created_at: Option<UnixMillis>,
}

impl<'a> Frame<'a> {
    pub(super) fn new(
        name: &'a str,
        conversation_id: Option<Text<'a>>,
        id: Option<Text<'a>>,
        entry: &Entry<'a>,
    ) -> Self {
        let related = |related: View<'a>| related.as_array()?.next()?.as_id();
        Self {
            name,
            conversation_id,
            id,
            sender: entry.sender(),
            related: entry.related.and_then(related),
            created_at: entry.created_at(),
        }
    }

    /// The conversation as a key; what names none is one conversation of its own.
    pub(super) fn conversation(&self) -> &str {
        self.conversation_id.as_deref().unwrap_or_default()
    }

    /// An event of this frame, without sender and text.
    pub(super) fn event<'f>(&'f self, payload: Payload<'f>) -> Event<'f> {
        let direction = match &self.sender {
            Some(sender) if sender.role == Role::Participant => Direction::Incoming,
            _ => Direction::Outgoing,
        };
        Event {
            id: self.id.as_deref().map_or_else(EventId::minted, EventId::given),
            conversation_id: self.conversation_id.as_deref().map(Cow::Borrowed),
            direction,
            created_at: self.created_at,
            ..Event::new(self.name, payload)
        }
    }
}

/// The payload's JSON where it is text inside the JSON; `None` where it is part of the frame's.
/// Absent reads as empty, since some entries say all by their name.
pub(super) fn payload_text<'a>(entry: &Entry<'a>) -> Option<Cow<'a, str>> {
    entry.payload.map_or(Some(Cow::Borrowed("{}")), |payload| payload.as_text())
}
