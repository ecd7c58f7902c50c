//! One struct per message type: its `data`, typed.
//!
//! Options that are `None` are absent on the wire, never `null`.

use std::borrow::Cow;

use super::{MessageType, Role, Text};
use crate::proto::time::UnixMillis;

/// Valid JSON text, passed as it came but for white space.
pub type Json<'a> = Cow<'a, str>;

/// The type of an event and its data.
#[derive(Clone, Debug)]
pub enum Payload<'a> {
    /// Something said.
    Chat(Box<Chat<'a>>),
    /// Free JSON of the backend.
    Data(Json<'a>),
    /// Something without a type of its own: `{"kind": ..., <the backend's keys>}`.
    Kind {
        /// The name under which clients know it.
        kind: &'static str,
        /// The backend's keys, verbatim.
        fields: Vec<(Text<'a>, Json<'a>)>,
    },
    /// Who serves the participant changes.
    Handoff(Box<Handoff<'a>>),
    /// Somebody is typing, or stopped.
    Typing(Typing),
    /// A message was delivered or read.
    Receipt(Receipt<'a>),
    /// Somebody is there, or not.
    Presence(Presence),
    /// Somebody came or went.
    Participant(Box<Participant<'a>>),
    /// The state of the session.
    Status(Box<Status<'a>>),
    /// A piece of an answer that is being written.
    Token(Box<Token<'a>>),
    /// An agent program says what it is doing.
    Progress {
        /// The backend's word for it.
        indicator: Option<Text<'a>>,
    },
    /// Files.
    File(Vec<FileItem<'a>>),
    /// Something to fill in.
    Form(Box<Form<'a>>),
    /// An invitation to a room.
    Invite(Box<Invite<'a>>),
    /// Telephony call status.
    Call {
        /// The state, if it is a plain word.
        status: Option<Text<'a>>,
        /// What the telephony system said.
        payload: Option<Json<'a>>,
    },
    /// WebRTC signalling.
    Signal {
        /// As sent.
        signal: Json<'a>,
        /// The party it is for.
        destination: Option<Text<'a>>,
    },
    /// Something to show.
    Notice(Notice<'a>),
    /// A XiansAi message: the type as named, `data` free.
    Passed {
        /// The type.
        message_type: MessageType,
        /// As sent.
        data: Option<Json<'a>>,
    },
    /// No mapping.
    Raw {
        /// The backend's name for it.
        event: Text<'a>,
        /// The frame's data.
        body: Json<'a>,
    },
}

impl Payload<'_> {
    /// The event's name on the wire.
    #[must_use]
    pub const fn message_type(&self) -> MessageType {
        match self {
            Self::Chat(_) => MessageType::Chat,
            Self::Data(_) | Self::Kind { .. } => MessageType::Data,
            Self::Handoff(_) => MessageType::Handoff,
            Self::Typing(_) => MessageType::Typing,
            Self::Receipt(_) => MessageType::Receipt,
            Self::Presence(_) => MessageType::Presence,
            Self::Participant(_) => MessageType::Participant,
            Self::Status(_) => MessageType::Status,
            Self::Token(_) => MessageType::Token,
            Self::Progress { .. } => MessageType::Progress,
            Self::File(_) => MessageType::File,
            Self::Form(_) => MessageType::Form,
            Self::Invite(_) => MessageType::Invite,
            Self::Call { .. } => MessageType::Call,
            Self::Signal { .. } => MessageType::Signal,
            Self::Notice(_) => MessageType::Notice,
            Self::Passed { message_type, .. } => *message_type,
            Self::Raw { .. } => MessageType::Raw,
        }
    }
}

/// Something said.
#[derive(Clone, Debug, Default)]
pub struct Chat<'a> {
    /// How `text` is written, where the backend says.
    pub format: Option<TextFormat>,
    /// Sanitised markup of the same text.
    pub html: Option<Text<'a>>,
    /// Its subject line.
    pub subject: Option<Text<'a>>,
    /// The id of the message this one corrects.
    pub replaces: Option<Text<'a>>,
    /// The id of the message this one answers.
    pub in_reply_to: Option<Text<'a>>,
    /// The room it was said in.
    pub room: Option<Text<'a>>,
    /// Sent earlier, delivered now.
    pub delayed: Option<bool>,
    /// What can be chosen, or was chosen.
    pub choices: Vec<Choice<'a>>,
    /// How the choices want to be shown.
    pub style: Option<Text<'a>>,
    /// Links in it.
    pub links: Vec<Link<'a>>,
    /// What else the backend carried with it.
    pub payload: Option<Json<'a>>,
}

/// How a text is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TextFormat {
    /// As it is to be shown.
    Plain,
    /// Markdown.
    Markdown,
}

/// One choice.
#[derive(Clone, Debug)]
pub struct Choice<'a> {
    /// The backend's id of the option.
    pub id: Option<Text<'a>>,
    /// What to show.
    pub title: Option<Text<'a>>,
    /// A second line.
    pub description: Option<Text<'a>>,
}

/// One link.
#[derive(Clone, Debug)]
pub struct Link<'a> {
    /// Where to.
    pub url: Text<'a>,
    /// What to show.
    pub title: Option<Text<'a>>,
    /// A picture's address.
    pub image: Option<Text<'a>>,
}

/// Who serves the participant changes.
#[derive(Clone, Debug)]
pub struct Handoff<'a> {
    /// How far it is.
    pub phase: HandoffPhase,
    /// Who served so far.
    pub from_agent: Option<Text<'a>>,
    /// Who serves from now.
    pub to_agent: Option<Text<'a>>,
    /// Why.
    pub reason: Option<Text<'a>>,
    /// The queue it went through.
    pub workgroup: Option<Text<'a>>,
    /// The backend's id of the offer.
    pub offer_id: Option<Text<'a>>,
    /// Where it goes on.
    pub room: Option<Text<'a>>,
    /// Where it goes on, for a browser.
    pub url: Option<Text<'a>>,
    /// What the visitor had filled in: a JSON object.
    pub metadata: Option<Json<'a>>,
}

impl Handoff<'_> {
    /// A hand-over of which only the phase is known.
    #[must_use]
    pub const fn new(phase: HandoffPhase) -> Self {
        Self {
            phase,
            from_agent: None,
            to_agent: None,
            reason: None,
            workgroup: None,
            offer_id: None,
            room: None,
            url: None,
            metadata: None,
        }
    }
}

/// How far a hand-over is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandoffPhase {
    /// Wanted.
    Requested,
    /// Offered to an agent.
    Offered,
    /// The offer was taken back.
    Revoked,
    /// An agent took it.
    Accepted,
    /// Done.
    Completed,
    /// Not to be had.
    Failed,
}

/// Somebody is typing, or stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Typing {
    /// `started` or `stopped`.
    pub is_started: bool,
    /// What is known beyond `stopped`.
    pub detail: Option<TypingDetail>,
}

/// Chat states other than composing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TypingDetail {
    /// Was typing, makes a pause.
    Paused,
    /// Looks at the chat.
    Active,
    /// Has not looked for a while.
    Inactive,
    /// Has closed the chat.
    Gone,
}

/// A message was delivered or read.
#[derive(Clone, Debug)]
pub struct Receipt<'a> {
    /// Read, or only delivered.
    pub is_read: bool,
    /// The `id` of the message event meant.
    pub message_id: Text<'a>,
    /// When, if the backend says so apart from the event's own time.
    pub at: Option<UnixMillis>,
}

/// Somebody is there, or not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Presence {
    /// There at all.
    pub is_available: bool,
    /// In what mood.
    pub show: Show,
}

/// XMPP's words for availability.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Show {
    /// There.
    Online,
    /// Away for a moment.
    Away,
    /// Eager to chat.
    Chat,
    /// Do not disturb.
    Dnd,
    /// Away for long.
    Xa,
    /// Not there.
    Offline,
}

/// Somebody came or went.
#[derive(Clone, Debug)]
pub struct Participant<'a> {
    /// Came, or went.
    pub is_joined: bool,
    /// Who.
    pub party: Party<'a>,
    /// The backend's own word for what they are.
    pub party_word: Option<Text<'a>>,
    /// Was there before us.
    pub initial: Option<bool>,
}

/// Who came or went.
#[derive(Clone, Debug)]
pub struct Party<'a> {
    /// The backend's id.
    pub id: Option<Text<'a>>,
    /// For people.
    pub name: Option<Text<'a>>,
    /// First name.
    pub first_name: Option<Text<'a>>,
    /// Last name.
    pub last_name: Option<Text<'a>>,
    /// What they are.
    pub role: Role,
}

/// The state of the session.
#[derive(Clone, Debug)]
pub struct Status<'a> {
    /// The state.
    pub state: StatusState,
    /// Why.
    pub reason: Option<Text<'a>>,
    /// Seconds until somebody is free.
    pub estimated_wait_secs: Option<i64>,
    /// Place in the queue, as the backend counts.
    pub position: Option<i64>,
    /// Who ended it.
    pub ended_by: Option<Role>,
    /// What else is known of the queue.
    pub queue: Vec<(Text<'a>, Json<'a>)>,
}

impl Status<'_> {
    /// A state of which nothing else is known.
    #[must_use]
    pub const fn new(state: StatusState) -> Self {
        Self {
            state,
            reason: None,
            estimated_wait_secs: None,
            position: None,
            ended_by: None,
            queue: Vec::new(),
        }
    }
}

/// States of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StatusState {
    /// Waits in a queue.
    Queued,
    /// Is being routed.
    Connecting,
    /// Someone or something has taken it.
    Connected,
    /// Goes on.
    Active,
    /// Waits for the participant.
    Waiting,
    /// Is over.
    Ended,
    /// Could not be.
    Failed,
}

/// A piece of an answer that is being written.
#[derive(Clone, Debug)]
pub struct Token<'a> {
    /// The message that the pieces become.
    pub message_id: Text<'a>,
    /// A verdict on what was streamed; `None` for a piece of text.
    pub valid: Option<bool>,
    /// Why it is not valid.
    pub reason: Option<Text<'a>>,
    /// For sorting.
    pub sequence: Option<i64>,
    /// The turn of the conversation.
    pub turn: Option<Json<'a>>,
    /// The attempt at the answer.
    pub batch: Option<Json<'a>>,
}

/// One file.
#[derive(Clone, Debug)]
pub struct FileItem<'a> {
    /// The backend's id.
    pub id: Option<Text<'a>>,
    /// As the sender called it.
    pub name: Option<Text<'a>>,
    /// `image`, or `attachment`.
    pub is_image: bool,
    /// Its MIME type.
    pub media_type: Option<Text<'a>>,
    /// Where a browser finds it.
    pub url: Option<Text<'a>>,
}

/// Something to fill in.
#[derive(Clone, Debug, Default)]
pub struct Form<'a> {
    /// Goes back with the answer.
    pub form_id: Option<Text<'a>>,
    /// Its name.
    pub name: Option<Text<'a>>,
    /// How long it may be filled in.
    pub timeout_secs: Option<i64>,
    /// What is filled in must not be kept.
    pub secure: Option<bool>,
    /// What the form asks.
    pub fields: Option<Json<'a>>,
}

/// An invitation to a room.
#[derive(Clone, Debug)]
pub struct Invite<'a> {
    /// The room.
    pub room: Text<'a>,
    /// Who invites.
    pub inviter: Option<Text<'a>>,
    /// Why.
    pub reason: Option<Text<'a>>,
    /// To get in.
    pub password: Option<Text<'a>>,
    /// For a browser.
    pub url: Option<Text<'a>>,
}

/// Something to show.
#[derive(Clone, Debug)]
pub struct Notice<'a> {
    /// How grave.
    pub level: NoticeLevel,
    /// A word for programs.
    pub code: Option<Text<'a>>,
}

/// How grave a notice is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoticeLevel {
    /// To know.
    Info,
    /// To heed.
    Warning,
    /// Something failed.
    Error,
}
