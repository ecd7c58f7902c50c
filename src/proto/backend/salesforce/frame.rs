//! The envelope that every frame of the event router has, and what it gives to every event.
//!
//! Values stay in the frame's text. Not here: what a payload says ([`super::entry`],
//! [`super::message`]).

use std::borrow::Cow;

use super::role;
use crate::proto::event::{Direction, Event, EventId, Payload, Role, Sender, Text};
use crate::proto::time::UnixMillis;
use crate::proto::view::View;

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
        entry: View<'a>,
    ) -> Self {
        let time = |key| entry.int(key).and_then(UnixMillis::from_millis);
        Self {
            name,
            conversation_id,
            id,
            sender: sender(entry),
            related: entry.array("relatedRecords").and_then(|mut records| records.next()?.as_id()),
            created_at: time("transcriptedTimestamp").or_else(|| time("clientTimestamp")),
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

fn sender<'a>(entry: View<'a>) -> Option<Sender<'a>> {
    let sender = entry.object("sender")?;
    let role = role(sender.text("role").as_deref().unwrap_or_default());
    Some(Sender {
        // The end user is the subscription's participant; the vendor's name for them is its own.
        id: sender.id("subject").filter(|_| role != Role::Participant),
        name: entry.word("senderDisplayName"),
        role,
    })
}

/// The payload's JSON where it is text inside the JSON; `None` where it is part of the frame's.
/// Absent reads as empty, since some entries say all by their name.
pub(super) fn payload_text<'a>(entry: View<'a>) -> Option<Cow<'a, str>> {
    entry.get("entryPayload").map_or(Some(Cow::Borrowed("{}")), |payload| payload.as_text())
}
