//! The control events. Not here: when they are sent.

use super::messages::SOURCE_TAG;
use super::{ControlEvent, Field, Record, Shape, Words, always, maybe};
use crate::proto::event::{DisconnectReason, DownReason, GapReason};

/// All of them, in the order of the vocabulary.
pub const CONTROLS: &[ControlEvent] = &[
    ControlEvent { name: "connected", data: &CONNECTED, is_core: true },
    ControlEvent { name: "disconnected", data: &DISCONNECTED, is_core: true },
    ControlEvent { name: "source_up", data: &SOURCE_UP, is_core: false },
    ControlEvent { name: "source_down", data: &SOURCE_DOWN, is_core: false },
    ControlEvent { name: "heartbeat", data: &HEARTBEAT, is_core: true },
    ControlEvent { name: "gap", data: &GAP, is_core: false },
    ControlEvent { name: "refused", data: &REFUSED, is_core: true },
];

const TIMESTAMP: Field = always("timestamp", Shape::Time, "When it was sent.");

const CONNECTED: Record = Record {
    name: "Connected",
    doc: "The stream is open: its first event, once.",
    fields: &[
        always("message", Shape::Text, "For people who look at the stream."),
        TIMESTAMP,
        always("workflowId", Shape::Text, "The workflow id of the subscription."),
        always("participantId", Shape::Text, "Whose stream it is."),
        always("tenantId", Shape::Text, "The tenant."),
        always("resumed", Shape::Bool, "Whether the cursor was taken up."),
    ],
};

const DISCONNECTED: Record = Record {
    name: "Disconnected",
    doc: "chatmux itself ends the stream: its last event.",
    fields: &[TIMESTAMP, always("reason", Shape::Word(&DISCONNECT_REASON), "Why.")],
};

const DISCONNECT_REASON: Words = Words {
    name: "DisconnectReason",
    doc: "Why chatmux ends a stream.",
    words: DisconnectReason::WORDS,
};

const SOURCE_UP: Record = Record {
    name: "SourceUp",
    doc: "A source came up, or came up again.",
    fields: &[
        TIMESTAMP,
        always("source", Shape::Record(&SOURCE_TAG), "Which."),
        always("resumed", Shape::Bool, "Whether its backend was asked to go on where it stopped."),
    ],
};

const SOURCE_DOWN: Record = Record {
    name: "SourceDown",
    doc: "A source was lost or could not be reached; the stream stays open.",
    fields: &[
        TIMESTAMP,
        always("source", Shape::Record(&SOURCE_TAG), "Which."),
        always("reason", Shape::Word(&DOWN_REASON), "Why. Told again only when this changes."),
        maybe("retryInSeconds", Shape::Int, "When it is tried again."),
    ],
};

const DOWN_REASON: Words =
    Words { name: "DownReason", doc: "Why a source is away.", words: DownReason::WORDS };

const HEARTBEAT: Record = Record {
    name: "Heartbeat",
    doc: "A sign of life, every `heartbeatSeconds`.",
    fields: &[
        TIMESTAMP,
        always(
            "subscriberCount",
            Shape::Int,
            "Live streams of the same tenant, workflow and participant on this node.",
        ),
    ],
};

const GAP: Record = Record {
    name: "Gap",
    doc: "Events may be missing and could not be recovered: read the history again.",
    fields: &[
        TIMESTAMP,
        maybe("source", Shape::Record(&SOURCE_TAG), "Of which source; absent: the whole stream."),
        always("reason", Shape::Word(&GAP_REASON), "Why."),
        maybe("since", Shape::Time, "Since when."),
    ],
};

const GAP_REASON: Words =
    Words { name: "GapReason", doc: "Why events may be missing.", words: GapReason::WORDS };

const REFUSED: Record = Record {
    name: "Refused",
    doc: "Why there is no stream; only with `errors=event`, on a route that allows it.",
    fields: &[
        always("code", Shape::Int, "The HTTP status that the refusal has otherwise."),
        always("error", Shape::Text, "The reason phrase of that status."),
        always("message", Shape::Text, "What to do."),
        maybe("retryInSeconds", Shape::Int, "When to come back, where waiting helps."),
    ],
};
