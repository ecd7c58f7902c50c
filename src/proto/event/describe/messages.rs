//! The message events and their data. Not here: control events.

use super::{Field, Message, Record, Shape, Words, always, maybe};
use crate::proto::event::{
    Direction, HandoffPhase, MessageType, NoticeLevel, Role, Show, StatusState, TextFormat,
    TypingDetail,
};

const fn typed(message_type: MessageType, doc: &'static str, data: &'static Record) -> Message {
    Message { message_type, doc, data: Some(data), is_passed: false }
}

const fn passed(
    message_type: MessageType,
    doc: &'static str,
    data: Option<&'static Record>,
) -> Message {
    Message { message_type, doc, data, is_passed: true }
}

/// All types, in the order of the vocabulary.
pub const MESSAGES: &[Message] = &[
    passed(MessageType::Chat, "Something said.", Some(&CHAT)),
    passed(
        MessageType::Data,
        "Free JSON of the backend, or something without a type of its own: then `data` has a \
         `kind`, and the backend's own keys.",
        None,
    ),
    passed(MessageType::Handoff, "Who serves the participant changes.", Some(&HANDOFF)),
    typed(MessageType::Typing, "Somebody is typing, or stopped.", &TYPING),
    typed(MessageType::Receipt, "A message was delivered or read.", &RECEIPT),
    typed(
        MessageType::Presence,
        "Somebody is there, or not; `text` is the status line.",
        &PRESENCE,
    ),
    typed(MessageType::Participant, "Somebody came or went.", &PARTICIPANT),
    typed(MessageType::Status, "The state of the session; `text` is what to show.", &STATUS),
    typed(
        MessageType::Token,
        "A piece of an answer that is being written (`text`), or a verdict on what was streamed \
         (`valid`).",
        &TOKEN,
    ),
    typed(MessageType::Progress, "An agent program says what it is doing.", &PROGRESS),
    passed(MessageType::File, "Files; `text` is the caption.", Some(&FILE)),
    typed(MessageType::Form, "Something to fill in; `text` is its prompt.", &FORM),
    typed(MessageType::Invite, "An invitation to a room.", &INVITE),
    typed(MessageType::Call, "Telephony call status.", &CALL),
    typed(MessageType::Signal, "WebRTC signalling, passed on.", &SIGNAL),
    typed(MessageType::Notice, "Something to show that nobody said.", &NOTICE),
    passed(MessageType::Reasoning, "A step of an agent program: what it thinks.", None),
    passed(MessageType::Tool, "A step of an agent program: what it uses.", None),
    passed(MessageType::Webhook, "A step of an agent program: what called it.", None),
    typed(MessageType::Raw, "Something that chatmux has no mapping for.", &RAW),
];

/// The fields of the message object.
pub const MESSAGE: &[Field] = &[
    always("id", Shape::Text, "The backend's own id, or a minted one; equal ids: the same event."),
    maybe("threadId", Shape::Text, "Thread of XiansAi."),
    maybe("conversationId", Shape::Text, "Where in the backend this was said."),
    always("workflowId", Shape::Text, "`<tenantId>:<workflow>`; XiansAi: the backend's."),
    always("workflowType", Shape::Text, "`<workflow>`; XiansAi: the backend's."),
    always("participantId", Shape::Text, "Whose stream it is."),
    always("direction", Shape::Word(&DIRECTION), "Which way it goes."),
    always("messageType", Shape::MessageType, "The event's name."),
    maybe("text", Shape::Text, "What a person reads: plain text, no markup."),
    maybe("data", Shape::Data, "What belongs to the type."),
    maybe("hint", Shape::Text, "Of XiansAi, passed on."),
    maybe("scope", Shape::Text, "Of XiansAi, passed on; what the parameter `scope` looks at."),
    maybe("requestId", Shape::Text, "Of XiansAi, passed on."),
    maybe("sender", Shape::Record(&SENDER), "Who did it, as the backend names them."),
    always("createdAt", Shape::Time, "The backend's time, else the time of arrival."),
    maybe("createdBy", Shape::Text, "Of XiansAi, passed on."),
    always("source", Shape::Record(&SOURCE), "Where it comes from."),
];

const DIRECTION: Words = Words {
    name: "Direction",
    doc: "`Outgoing`: towards the participant. `Incoming`: the participant's own, echoed.",
    words: Direction::WORDS,
};

const ROLE: Words =
    Words { name: "Role", doc: "What somebody is in a conversation.", words: Role::WORDS };

const SENDER: Record = Record {
    name: "Sender",
    doc: "Who did it.",
    fields: &[
        maybe("id", Shape::Text, "As the backend writes it."),
        maybe("name", Shape::Text, "For people."),
        always("role", Shape::Word(&ROLE), "What they are."),
    ],
};

const SOURCE: Record = Record {
    name: "Source",
    doc: "Where a message comes from.",
    fields: &[
        always("name", Shape::Text, "The source's name in the conf."),
        always("backend", Shape::Backend, "Its dialect."),
        always("event", Shape::Text, "The backend's own name for what happened."),
    ],
};

/// A source as control events name it.
pub const SOURCE_TAG: Record = Record {
    name: "SourceTag",
    doc: "A source.",
    fields: &[
        always("name", Shape::Text, "Its name in the conf."),
        always("backend", Shape::Backend, "Its dialect."),
    ],
};

const CHAT: Record = Record {
    name: "ChatData",
    doc: "What belongs to something said.",
    fields: &[
        maybe("format", Shape::Word(&TEXT_FORMAT), "How `text` is written, where known."),
        maybe("html", Shape::Text, "Sanitised markup of the same text."),
        maybe("subject", Shape::Text, "Its subject line."),
        maybe("replaces", Shape::Text, "The `id` of the message that this one corrects."),
        maybe("inReplyTo", Shape::Text, "The `id` of the message that this one answers."),
        maybe("room", Shape::Text, "The room it was said in."),
        maybe("delayed", Shape::Bool, "Said earlier, delivered now."),
        maybe("choices", Shape::List(&CHOICE), "What can be chosen, or what was chosen."),
        maybe("style", Shape::Text, "How the choices want to be shown, in the backend's word."),
        maybe("links", Shape::List(&LINK), "Links in it."),
        maybe("payload", Shape::Any, "What else the backend carried with it."),
    ],
};

const TEXT_FORMAT: Words =
    Words { name: "TextFormat", doc: "How a text is written.", words: TextFormat::WORDS };

const CHOICE: Record = Record {
    name: "Choice",
    doc: "One choice.",
    fields: &[
        maybe("id", Shape::Text, "The backend's id of the option."),
        maybe("title", Shape::Text, "What to show."),
        maybe("description", Shape::Text, "A second line."),
    ],
};

const LINK: Record = Record {
    name: "Link",
    doc: "One link.",
    fields: &[
        always("url", Shape::Text, "Where to."),
        maybe("title", Shape::Text, "What to show."),
        maybe("image", Shape::Text, "A picture's address."),
    ],
};

const HANDOFF: Record = Record {
    name: "HandoffData",
    doc: "What is known of a hand-over.",
    fields: &[
        always("phase", Shape::Word(&HANDOFF_PHASE), "How far it is."),
        maybe("fromAgent", Shape::Text, "Who served so far."),
        maybe("toAgent", Shape::Text, "Who serves from now."),
        maybe("reason", Shape::Text, "Why."),
        maybe("workgroup", Shape::Text, "The queue it went through."),
        maybe("offerId", Shape::Text, "The backend's id of the offer."),
        maybe("room", Shape::Text, "Where it goes on."),
        maybe("url", Shape::Text, "Where it goes on, for a browser."),
        maybe("metadata", Shape::Object, "What the visitor had filled in."),
    ],
};

const HANDOFF_PHASE: Words =
    Words { name: "HandoffPhase", doc: "How far a hand-over is.", words: HandoffPhase::WORDS };

const TYPING: Record = Record {
    name: "TypingData",
    doc: "Whether somebody types.",
    fields: &[
        always("state", Shape::Word(&TYPING_STATE), "Whether they type."),
        maybe("detail", Shape::Word(&TYPING_DETAIL), "What is known beyond `stopped`."),
    ],
};

const TYPING_STATE: Words =
    Words { name: "TypingState", doc: "Whether somebody types.", words: &["started", "stopped"] };

const TYPING_DETAIL: Words =
    Words { name: "TypingDetail", doc: "What they do instead.", words: TypingDetail::WORDS };

const RECEIPT: Record = Record {
    name: "ReceiptData",
    doc: "Which message was delivered or read.",
    fields: &[
        always("receipt", Shape::Word(&RECEIPT_KIND), "Which of the two."),
        always("messageId", Shape::Text, "The `id` of the message meant."),
        maybe("at", Shape::Time, "When, if the backend says so apart from the event's own time."),
    ],
};

const RECEIPT_KIND: Words =
    Words { name: "ReceiptKind", doc: "Delivered, or read.", words: &["delivered", "read"] };

const PRESENCE: Record = Record {
    name: "PresenceData",
    doc: "Whether somebody is there.",
    fields: &[
        always("available", Shape::Bool, "There at all."),
        always("show", Shape::Word(&SHOW), "In what mood."),
    ],
};

const SHOW: Words =
    Words { name: "Show", doc: "XMPP's words for availability.", words: Show::WORDS };

const PARTICIPANT: Record = Record {
    name: "ParticipantData",
    doc: "Who came or went.",
    fields: &[
        always("change", Shape::Word(&CHANGE), "Came, or went."),
        always("participant", Shape::Record(&PARTY), "Who."),
        maybe("party", Shape::Text, "The backend's own word for what they are."),
        maybe("initial", Shape::Bool, "Was there before the participant."),
    ],
};

const CHANGE: Words =
    Words { name: "ParticipantChange", doc: "Came, or went.", words: &["joined", "left"] };

const PARTY: Record = Record {
    name: "Party",
    doc: "Somebody who came or went.",
    fields: &[
        maybe("id", Shape::Text, "The backend's id."),
        maybe("name", Shape::Text, "For people."),
        maybe("firstName", Shape::Text, "First name."),
        maybe("lastName", Shape::Text, "Last name."),
        always("role", Shape::Word(&ROLE), "What they are."),
    ],
};

const STATUS: Record = Record {
    name: "StatusData",
    doc: "The state of the session.",
    fields: &[
        always("state", Shape::Word(&STATUS_STATE), "The state."),
        maybe("reason", Shape::Text, "Why."),
        maybe("estimatedWaitSeconds", Shape::Int, "Until somebody is free."),
        maybe("position", Shape::Int, "Place in the queue, as the backend counts."),
        maybe("endedBy", Shape::Word(&ROLE), "Who ended it."),
        maybe("queue", Shape::Object, "What else the backend says of the queue."),
    ],
};

const STATUS_STATE: Words =
    Words { name: "StatusState", doc: "States of a session.", words: StatusState::WORDS };

const TOKEN: Record = Record {
    name: "TokenData",
    doc: "Where a piece of an answer belongs, or a verdict on the pieces.",
    fields: &[
        always("messageId", Shape::Text, "The `id` of the message that the pieces become."),
        maybe("valid", Shape::Bool, "A verdict; `false`: take back what was streamed."),
        maybe("reason", Shape::Text, "Why it is not valid."),
        maybe("sequence", Shape::Int, "For sorting."),
        maybe("turn", Shape::Any, "The turn of the conversation, as the backend has it."),
        maybe("batch", Shape::Any, "The attempt at the answer, as the backend has it."),
    ],
};

const PROGRESS: Record = Record {
    name: "ProgressData",
    doc: "What an agent program is doing.",
    fields: &[maybe("indicator", Shape::Text, "The backend's word for it.")],
};

const FILE: Record = Record {
    name: "FileData",
    doc: "Files.",
    fields: &[always("files", Shape::List(&FILE_ITEM), "Which.")],
};

const FILE_ITEM: Record = Record {
    name: "FileItem",
    doc: "One file.",
    fields: &[
        maybe("id", Shape::Text, "The backend's id."),
        maybe("name", Shape::Text, "As the sender called it."),
        always("kind", Shape::Word(&FILE_KIND), "Whether it is a picture."),
        maybe("mediaType", Shape::Text, "Its MIME type."),
        maybe("url", Shape::Text, "Where a browser finds it."),
    ],
};

const FILE_KIND: Words =
    Words { name: "FileKind", doc: "A picture, or not.", words: &["image", "attachment"] };

const FORM: Record = Record {
    name: "FormContent",
    doc: "Something to fill in.",
    fields: &[
        maybe("formId", Shape::Text, "Goes back with the answer."),
        maybe("name", Shape::Text, "Its name."),
        maybe("timeoutSeconds", Shape::Int, "How long it may be filled in."),
        maybe("secure", Shape::Bool, "What is filled in must not be kept."),
        maybe("fields", Shape::Any, "What the form asks, in the backend's own shape."),
    ],
};

const INVITE: Record = Record {
    name: "InviteData",
    doc: "An invitation to a room.",
    fields: &[
        always("room", Shape::Text, "The room."),
        maybe("inviter", Shape::Text, "Who invites."),
        maybe("reason", Shape::Text, "Why."),
        maybe("password", Shape::Text, "To get in."),
        maybe("url", Shape::Text, "For a browser."),
    ],
};

const CALL: Record = Record {
    name: "CallData",
    doc: "Telephony call status.",
    fields: &[
        maybe("status", Shape::Text, "The state, if it is a plain word."),
        maybe("payload", Shape::Any, "What the telephony system said."),
    ],
};

const SIGNAL: Record = Record {
    name: "SignalData",
    doc: "WebRTC signalling.",
    fields: &[
        always("signal", Shape::Any, "As sent."),
        maybe("destination", Shape::Text, "The party it is for."),
    ],
};

const NOTICE: Record = Record {
    name: "NoticeData",
    doc: "How grave a notice is.",
    fields: &[
        always("level", Shape::Word(&NOTICE_LEVEL), "How grave."),
        maybe("code", Shape::Text, "A word for programs."),
    ],
};

const NOTICE_LEVEL: Words =
    Words { name: "NoticeLevel", doc: "How grave a notice is.", words: NoticeLevel::WORDS };

const RAW: Record = Record {
    name: "RawData",
    doc: "A frame without a mapping.",
    fields: &[
        always("event", Shape::Text, "The backend's name for it, `unknown` if it has none."),
        always("body", Shape::Any, "The frame's data: JSON if it is JSON, else text."),
    ],
};
