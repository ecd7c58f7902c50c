//! The vocabulary as data: what every event is made of, and what that means.
//!
//! The contracts for clients (`crate::proto::contract`) are made of these tables. `wire` and
//! `control` write events by hand, for speed; the tests of the contracts hold both together in
//! both directions. Words are not repeated here: they come from the enums that are written. Not
//! here: how a contract spells a table, which frame becomes what (`backend`).

mod control;
mod messages;

pub use control::CONTROLS;
pub use messages::{MESSAGE, MESSAGES, SOURCE_TAG};

use super::MessageType;

/// What a value is.
#[derive(Clone, Copy, Debug)]
pub enum Shape {
    /// Text.
    Text,
    /// RFC 3339, UTC, milliseconds, `Z`.
    Time,
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Int,
    /// Any JSON, as the backend sent it.
    Any,
    /// Any JSON object.
    Object,
    /// One of some words.
    Word(&'static Words),
    /// One of the dialects.
    Backend,
    /// An object of known fields.
    Record(&'static Record),
    /// Such objects, in order.
    List(&'static Record),
    /// The name of the message type at hand.
    MessageType,
    /// The data of the message type at hand.
    Data,
}

impl Shape {
    /// The object of known fields that it is, or that it lists.
    #[must_use]
    pub const fn record(self) -> Option<&'static Record> {
        match self {
            Self::Record(record) | Self::List(record) => Some(record),
            Self::Text
            | Self::Time
            | Self::Bool
            | Self::Int
            | Self::Any
            | Self::Object
            | Self::Word(_)
            | Self::Backend
            | Self::MessageType
            | Self::Data => None,
        }
    }

    /// The words, of which it is one.
    #[must_use]
    pub const fn words(self) -> Option<&'static Words> {
        match self {
            Self::Word(words) => Some(words),
            Self::Text
            | Self::Time
            | Self::Bool
            | Self::Int
            | Self::Any
            | Self::Object
            | Self::Backend
            | Self::Record(_)
            | Self::List(_)
            | Self::MessageType
            | Self::Data => None,
        }
    }
}

/// A closed set of words.
#[derive(Debug)]
pub struct Words {
    /// Its name in contracts.
    pub name: &'static str,
    /// What they tell.
    pub doc: &'static str,
    /// As written.
    pub words: &'static [&'static str],
}

/// An object of known fields.
#[derive(Debug)]
pub struct Record {
    /// Its name in contracts.
    pub name: &'static str,
    /// What it is.
    pub doc: &'static str,
    /// In the order they are written.
    pub fields: &'static [Field],
}

/// A field of an object.
#[derive(Debug)]
pub struct Field {
    /// As written.
    pub name: &'static str,
    /// What its value is.
    pub shape: Shape,
    /// Whether it is never absent.
    pub is_always: bool,
    /// What it means.
    pub doc: &'static str,
}

/// A message event.
#[derive(Debug)]
pub struct Message {
    /// Its type, which is its name.
    pub message_type: MessageType,
    /// What it tells.
    pub doc: &'static str,
    /// Its `data`; `None` where that is free JSON.
    pub data: Option<&'static Record>,
    /// Whether XiansAi sends it too; then `data` is free JSON.
    pub is_passed: bool,
}

/// An event about the stream itself.
#[derive(Debug)]
pub struct ControlEvent {
    /// Its name.
    pub name: &'static str,
    /// Its data.
    pub data: &'static Record,
    /// Whether clients of the `core` vocabulary get it.
    pub is_core: bool,
}

/// A field that is never absent.
pub(in crate::proto) const fn always(name: &'static str, shape: Shape, doc: &'static str) -> Field {
    Field { name, shape, is_always: true, doc }
}

/// A field that may be absent.
pub(in crate::proto) const fn maybe(name: &'static str, shape: Shape, doc: &'static str) -> Field {
    Field { name, shape, is_always: false, doc }
}

impl Message {
    /// Whether `data` is always there: one of its fields is.
    #[must_use]
    pub fn has_always_data(&self) -> bool {
        self.data.is_some_and(|data| data.fields.iter().any(|field| field.is_always))
    }

    /// Whether the `core` vocabulary has a name for it.
    #[must_use]
    pub const fn is_core(&self) -> bool {
        self.message_type.is_core()
    }
}
