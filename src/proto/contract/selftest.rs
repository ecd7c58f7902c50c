//! The self-test of a stream, for the AsyncAPI document: its call, its events.
//!
//! Not here: what is sent when (`proto::selftest`), the calls that are answered with JSON (`calls`).

use serde_json::{Map, Value, json};

use super::asyncapi::{Sent, query_of};
use super::request::{PARAMETERS, SELF_TEST_PARAMETERS};
use super::{REFUSED, SELF_TEST_EVENTS};

/// The name of its channel and its operation.
pub(super) const NAME: &str = "selftest";

/// Its events.
pub(super) fn sent() -> impl Iterator<Item = Sent> {
    SELF_TEST_EVENTS.iter().map(|(event, data)| Sent {
        name: data.name.to_owned(),
        event,
        data: data.name.to_owned(),
        has_cursor: false,
        doc: data.doc.to_owned(),
    })
}

/// All that may be answered, by the names of the messages.
fn answers() -> impl Iterator<Item = &'static str> {
    let events = SELF_TEST_EVENTS.iter().map(|(_, data)| data.name);
    events.chain([REFUSED, "Refusal"])
}

/// The channel.
pub(super) fn channel() -> Value {
    let refer =
        |name: &str| (name.to_owned(), json!({"$ref": format!("#/components/messages/{name}")}));
    let messages: Map<_, _> = ["Open"].into_iter().chain(answers()).map(refer).collect();
    json!({
        "address": "/api/user/sse/events/selftest",
        "title": "The self-test of a stream",
        "description": "The path is that of the stream, with `/selftest` behind it. Its events \
            are not of the vocabulary, and none has a cursor.",
        "servers": [{"$ref": "#/servers/edge"}],
        "messages": messages,
        "x-sse": {
            "contentType": "text/event-stream",
            "charset": "utf-8",
            "framing": "LF; each event has an event line, one data line of compact JSON and a \
                blank line; one space after each colon; no comments",
            "retry": "milliseconds, before the first event: an hour, so that the end is no loss; \
                with refused as in a stream",
        },
    })
}

/// The operation.
pub(super) fn operation() -> Value {
    let channel = json!({"$ref": format!("#/channels/{NAME}")});
    let refer = |name: &str| json!({"$ref": format!("#/channels/{NAME}/messages/{name}")});
    json!({
        "action": "receive",
        "channel": channel,
        "title": "Ask for a self-test",
        "description": "Tells whether something in between buffers, compresses or cuts the \
            stream. Answered with 200 and text/event-stream; refused as the stream is. No \
            backend is asked.",
        "messages": [refer("Open")],
        "bindings": {"http": {
            "method": "GET",
            "query": query_of(PARAMETERS.iter().chain(SELF_TEST_PARAMETERS)),
            "bindingVersion": "0.3.0",
        }},
        "reply": {"channel": channel, "messages": answers().map(refer).collect::<Vec<_>>()},
    })
}
