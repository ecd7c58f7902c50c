//! The AsyncAPI 3 document: the stream, what is asked of it, what is sent; its self-test; the
//! calls beside it.
//!
//! AsyncAPI has a binding for HTTP but none for server-sent events. So the request and the head
//! of the answer are bound as HTTP, the `event:` and `id:` lines stand as headers of a message,
//! and what is left of the framing is told in `x-sse`.

use serde_json::{Map, Value, json};

use super::request::{Kind, PARAMETERS, Parameter, types_pattern};
use super::schema::{CORE_GAP, core_name, definitions, message_name};
use super::{VERSION, calls, selftest};
use crate::proto::event::MessageType;
use crate::proto::event::describe::{CONTROLS, MESSAGES};

const SCHEMAS: &str = "#/components/schemas/";

/// A message of the document: its name, its event's name, its data, whether it has a cursor.
pub(super) struct Sent {
    pub(super) name: String,
    pub(super) event: &'static str,
    pub(super) data: String,
    pub(super) has_cursor: bool,
    pub(super) doc: String,
}

/// The document.
#[must_use]
pub fn asyncapi() -> Value {
    let sent = sent();
    let mut messages: Map<_, _> = sent.iter().map(|one| (one.name.clone(), message(one))).collect();
    messages.insert("Open".to_owned(), open_message());
    let refer = |(name, _): (&String, &Value)| {
        (name.clone(), json!({"$ref": format!("#/components/messages/{name}")}))
    };
    let channel_messages: Map<_, _> = messages.iter().map(refer).collect();
    let mut channels = Map::from_iter(calls::channels());
    channels.insert("stream".to_owned(), stream(channel_messages));
    channels.insert(selftest::NAME.to_owned(), selftest::channel());
    messages.extend(selftest::sent().map(|one| (one.name.clone(), message(&one))));
    let of_calls = calls::messages().into_iter();
    messages.extend(of_calls.map(|(name, message)| (name.to_owned(), message)));
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "chatmux",
            "version": VERSION,
            "description": "One event stream in front of many chat backends. Made by \
                `chatmux schema asyncapi`. For people: docs/events.md.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "edge": {
                "host": "chat.example.com",
                "protocol": "https",
                "description": "Wherever the operator has put it.",
                "security": security(),
            },
            "operators": calls::operators(),
        },
        "channels": channels,
        "operations": operations(&sent),
        "components": {
            "messages": messages,
            "schemas": definitions(SCHEMAS),
            "securitySchemes": security_schemes(),
        },
    })
}

fn stream(messages: Map<String, Value>) -> Value {
    json!({
        "address": "/api/user/sse/events",
        "title": "The stream of a subscription",
        "description": "The path is the operator's choice; this one is that of XiansAi.",
        "servers": [{"$ref": "#/servers/edge"}],
        "messages": messages,
        "x-sse": {
            "contentType": "text/event-stream",
            "charset": "utf-8",
            "framing": "LF; each event has an event line, at most one id line, one data line \
                of compact JSON and a blank line; one space after each colon; no comments",
            "retry": "milliseconds, before the first event and with disconnected and refused",
            "reconnect": "header Last-Event-ID, or the parameter lastEventId",
            "over": "204: do not come back",
        },
    })
}

/// Every event of both vocabularies.
fn sent() -> Vec<Sent> {
    let controls = CONTROLS.iter().map(|control| Sent {
        name: control.name.to_owned(),
        event: control.name,
        data: control.data.name.to_owned(),
        has_cursor: false,
        doc: control.data.doc.to_owned(),
    });
    let messages = MESSAGES.iter().map(|message| Sent {
        name: message.message_type.as_str().to_owned(),
        event: message.message_type.as_str(),
        data: message_name(message),
        has_cursor: true,
        doc: message.doc.to_owned(),
    });
    let core = MESSAGES.iter().filter(|message| !message.is_core()).map(|message| Sent {
        name: format!("Core{}", message.message_type.as_str()),
        event: MessageType::Data.as_str(),
        data: core_name(message),
        has_cursor: true,
        doc: format!("With vocabulary=core: {}", message.doc),
    });
    let gap = Sent {
        name: "CoreGap".to_owned(),
        event: MessageType::Data.as_str(),
        data: CORE_GAP.to_owned(),
        has_cursor: false,
        doc: "With vocabulary=core: events may be missing.".to_owned(),
    };
    controls.chain(messages).chain(core).chain([gap]).collect()
}

fn message(sent: &Sent) -> Value {
    let mut lines = Map::new();
    let mut required = vec!["event"];
    lines.insert("event".to_owned(), json!({"type": "string", "const": sent.event}));
    if sent.has_cursor {
        lines.insert("id".to_owned(), json!({"$ref": format!("{SCHEMAS}Cursor")}));
        required.push("id");
    }
    json!({
        "name": sent.event,
        "title": sent.name,
        "summary": sent.doc,
        "contentType": "application/json",
        "headers": {"type": "object", "properties": lines, "required": required},
        "payload": {"$ref": format!("{SCHEMAS}{}", sent.data)},
    })
}

/// The request. It has no body: all of it is query and headers.
fn open_message() -> Value {
    json!({
        "name": "open",
        "title": "Open",
        "summary": "A client opens the stream, or comes back to it.",
        "headers": {"type": "object", "properties": {
            "Last-Event-ID": {
                "description": "The last id line that the client has seen.",
                "type": "string",
            },
            "Accept": {"type": "string", "const": "text/event-stream"},
        }},
        "payload": {"description": "No body.", "not": {}},
    })
}

fn operations(sent: &[Sent]) -> Value {
    let channel = json!({"$ref": "#/channels/stream"});
    let refer = |name: &str| json!({"$ref": format!("#/channels/stream/messages/{name}")});
    let all: Vec<_> = sent.iter().map(|one| refer(&one.name)).collect();
    let mut operations = Map::from_iter(calls::operations());
    operations.insert(selftest::NAME.to_owned(), selftest::operation());
    operations.insert(
        "open".to_owned(),
        json!({
            "action": "receive",
            "channel": channel,
            "title": "Open a stream",
            "description": "Answered at once with 200 and text/event-stream. A refusal is JSON: \
                400, 401, 403, 404, 405, 429 or 503.",
            "messages": [refer("Open")],
            "bindings": {"http": {
                "method": "GET",
                "query": query_of(PARAMETERS),
                "bindingVersion": "0.3.0",
            }},
            "reply": {"channel": channel, "messages": all},
        }),
    );
    operations.insert(
        "events".to_owned(),
        json!({
            "action": "send",
            "channel": channel,
            "title": "Send events",
            "description": "Every event of a stream that is open.",
            "messages": all,
        }),
    );
    Value::Object(operations)
}

/// The query that these parameters make.
pub(super) fn query_of(parameters: impl IntoIterator<Item = &'static Parameter>) -> Value {
    let (mut properties, mut required) = (Map::new(), Vec::new());
    for parameter in parameters {
        properties.insert(parameter.name.to_owned(), parameter_schema(parameter));
        required.extend(parameter.is_required.then_some(parameter.name));
    }
    json!({"type": "object", "properties": properties, "required": required})
}

fn parameter_schema(parameter: &Parameter) -> Value {
    let mut schema = match parameter.kind {
        Kind::Text | Kind::Credential => json!({"type": "string"}),
        Kind::Int { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::Word(words) => json!({"type": "string", "enum": words}),
        Kind::Types => json!({"type": "string", "pattern": types_pattern()}),
    };
    if let Value::Object(schema) = &mut schema {
        schema.insert("description".to_owned(), parameter.doc.into());
    }
    schema
}

/// In the order in which they are looked for.
fn security() -> Value {
    let credentials = PARAMETERS.iter().filter(|one| one.kind == Kind::Credential);
    let names = ["bearer", "apiKey"].into_iter().chain(credentials.map(|one| one.name));
    names.map(|name| json!({"$ref": format!("#/components/securitySchemes/{name}")})).collect()
}

fn security_schemes() -> Value {
    let mut schemes = Map::new();
    schemes.insert(
        "bearer".to_owned(),
        json!({
            "type": "http",
            "scheme": "bearer",
            "description": "A token (JWT) or an API key.",
        }),
    );
    schemes.insert(
        "apiKey".to_owned(),
        json!({
            "type": "httpApiKey",
            "in": "header",
            "name": "X-API-Key",
            "description": "An API key or a token.",
        }),
    );
    for parameter in PARAMETERS.iter().filter(|one| one.kind == Kind::Credential) {
        schemes.insert(
            parameter.name.to_owned(),
            json!({
                "type": "httpApiKey",
                "in": "query",
                "name": parameter.name,
                "description": parameter.doc,
            }),
        );
    }
    Value::Object(schemes)
}
