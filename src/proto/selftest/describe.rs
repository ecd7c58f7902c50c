//! The events of a self-test as data, for the contracts (`proto::contract`).
//!
//! `probe` writes them by hand; the tests of the contracts hold both together in both directions.

use super::plan::Phase;
use super::probe::{ClientFrom, EndReason, HttpVersion};
use crate::proto::event::describe::{Field, Record, Shape, Words, always, maybe};

/// Their names and their data, in the order in which they come.
pub const EVENTS: &[(&str, &Record)] = &[("begin", &BEGIN), ("probe", &PROBE), ("end", &END)];

const SENT_MS: Field =
    always("sentMs", Shape::Int, "Milliseconds since `begin`, by the clock of chatmux.");

const BEGIN: Record = Record {
    name: "SelfTestBegin",
    doc: "A self-test begins: its first event, once.",
    fields: &[
        SENT_MS,
        always("timestamp", Shape::Time, "When it was sent."),
        always("version", Shape::Int, "The version of this form: 1."),
        always("probes", Shape::Int, "How many probes come."),
        always("idleSeconds", Shape::Int, "The longest silence that is tried."),
        always("takesMs", Shape::Int, "How long all of it takes, where nothing is in the way."),
        always("heartbeatSeconds", Shape::Int, "The heartbeat of a stream with these parameters."),
        always("request", Shape::Record(&REQUEST), "What chatmux saw of the request."),
    ],
};

const REQUEST: Record = Record {
    name: "SelfTestRequest",
    doc: "A request as it came to chatmux, past whatever is in between.",
    fields: &[
        always("http", Shape::Word(&HTTP), "How the last hop speaks."),
        maybe("acceptEncoding", Shape::Text, "Its `Accept-Encoding`, at most 200 characters."),
        maybe("via", Shape::Text, "Its `Via`, at most 200 characters."),
        always("clientFrom", Shape::Word(&CLIENT_FROM), "Whom chatmux takes for the client."),
        always("lastEventId", Shape::Bool, "Whether the header `Last-Event-ID` came along."),
    ],
};

const HTTP: Words =
    Words { name: "SelfTestHttp", doc: "A version of HTTP.", words: HttpVersion::WORDS };

const CLIENT_FROM: Words = Words {
    name: "SelfTestClientFrom",
    doc: "`connection`: who holds the connection. `header`: whom a trusted proxy names. \
          `ignored`: who holds the connection, though a proxy that is not trusted names another.",
    words: ClientFrom::WORDS,
};

const PROBE: Record = Record {
    name: "SelfTestProbe",
    doc: "One probe of a self-test.",
    fields: &[
        SENT_MS,
        always("number", Shape::Int, "Which, from 1."),
        always("phase", Shape::Word(&PHASE), "What it is for."),
        always("nextMs", Shape::Int, "How long nothing is sent after it."),
        maybe("padding", Shape::Text, "There to fill buffers."),
    ],
};

const PHASE: Words =
    Words { name: "SelfTestPhase", doc: "What a probe is for.", words: Phase::WORDS };

const END: Record = Record {
    name: "SelfTestEnd",
    doc: "A self-test ends: its last event.",
    fields: &[SENT_MS, always("reason", Shape::Word(&END_REASON), "Why.")],
};

const END_REASON: Words = Words {
    name: "SelfTestEndReason",
    doc: "Why a self-test ends: all was sent, or chatmux had to end it early.",
    words: EndReason::WORDS,
};
