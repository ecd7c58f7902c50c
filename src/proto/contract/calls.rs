//! The calls beside the stream, for the AsyncAPI document: a ticket for a stream, and the
//! operators' end of streams.
//!
//! Each is a channel of its own, with a request and its answers. Not here: the stream itself
//! (`asyncapi`), who may call (`edge::gate`, `edge::admin`), whose tests hold what stands here.

use serde_json::{Map, Value, json};

use super::asyncapi::query_of;
use super::request::{Kind, PARAMETERS};

/// A call.
struct Call {
    /// The name of its channel and its operation.
    name: &'static str,
    address: &'static str,
    server: &'static str,
    title: &'static str,
    doc: &'static str,
    request: &'static str,
    answer: &'static str,
    /// The query, where it has one.
    query: Option<Value>,
}

fn all() -> [Call; 2] {
    // A credential in a URL is what a ticket is to avoid.
    let without_credentials = PARAMETERS.iter().filter(|one| one.kind != Kind::Credential);
    [
        Call {
            name: "ticket",
            address: "/api/user/sse/events/ticket",
            server: "edge",
            title: "Get a ticket",
            doc: "The path is that of the stream, with `/ticket` behind it. The query is that of \
                the stream. A ticket is good for 30 seconds and for one stream.",
            request: "AskTicket",
            answer: "Ticket",
            query: Some(query_of(without_credentials)),
        },
        Call {
            name: "close",
            address: "/streams/close",
            server: "operators",
            title: "End somebody's streams",
            doc: "For operators. With `admin.sha256` in the conf it takes the key of that digest; \
                without it, only a listener on a loopback address takes it. Nothing that a web \
                page sends is taken.",
            request: "Close",
            answer: "Closed",
            query: None,
        },
    ]
}

/// Where operators call.
pub(super) fn operators() -> Value {
    json!({
        "host": "127.0.0.1:9090",
        "protocol": "http",
        "description": "The admin listener, for operators alone.",
        "security": in_headers(),
    })
}

/// The channels, by name.
pub(super) fn channels() -> impl Iterator<Item = (String, Value)> {
    all().into_iter().map(|call| {
        let refer = |name: &str| json!({"$ref": format!("#/components/messages/{name}")});
        let channel = json!({
            "address": call.address,
            "title": call.title,
            "servers": [{"$ref": format!("#/servers/{}", call.server)}],
            "messages": {
                call.request: refer(call.request),
                call.answer: refer(call.answer),
                "Refusal": refer("Refusal"),
            },
        });
        (call.name.to_owned(), channel)
    })
}

/// The operations, by name.
pub(super) fn operations() -> impl Iterator<Item = (String, Value)> {
    all().into_iter().map(|call| {
        let channel = json!({"$ref": format!("#/channels/{}", call.name)});
        let refer =
            |name: &str| json!({"$ref": format!("#/channels/{}/messages/{name}", call.name)});
        let mut http = Map::new();
        http.insert("method".to_owned(), "POST".into());
        http.insert("bindingVersion".to_owned(), "0.3.0".into());
        http.extend(call.query.map(|query| ("query".to_owned(), query)));
        let operation = json!({
            "action": "receive",
            "channel": channel,
            "title": call.title,
            "description": call.doc,
            "security": in_headers(),
            "messages": [refer(call.request)],
            "bindings": {"http": http},
            "reply": {
                "channel": channel,
                "messages": [refer(call.answer), refer("Refusal")],
            },
        });
        (call.name.to_owned(), operation)
    })
}

/// The messages, by name.
pub(super) fn messages() -> [(&'static str, Value); 5] {
    let text = |doc: &str| json!({"type": "string", "description": doc});
    let message = |name: &str, summary: &str, bindings: Value, payload: Value| {
        json!({
            "name": name,
            "summary": summary,
            "contentType": "application/json",
            "bindings": bindings,
            "payload": payload,
        })
    };
    let plain = |name: &str, summary: &str, payload| message(name, summary, json!({}), payload);
    let answers = |name: &str, summary: &str, payload| {
        let bindings = json!({"http": {"statusCode": 200, "bindingVersion": "0.3.0"}});
        message(name, summary, bindings, payload)
    };
    let asked = json!({"description": "No body.", "not": {}});
    let ticket = json!({
        "type": "object",
        "properties": {
            "ticket": {"type": "string", "pattern": "^cmt_[A-Za-z0-9_-]{43}$"},
            "expiresIn": {"type": "integer", "description": "Seconds.", "minimum": 1},
        },
        "required": ["ticket", "expiresIn"],
        "additionalProperties": false,
    });
    let whose = json!({
        "description": "Whose streams. Where several are there, all must be right.",
        "type": "object",
        "properties": {
            "subject": text("The `sub` of a token."),
            "issuer": text("The issuer of that token."),
            "key": text("The label of an API key."),
            "tenantId": text("The tenant of a participant."),
            "participantId": text("A participant."),
        },
        "anyOf": [
            {"required": ["subject"]},
            {"required": ["key"]},
            {"required": ["tenantId", "participantId"]},
        ],
        "dependencies": {"participantId": ["tenantId"]},
        "additionalProperties": false,
    });
    let refusal = json!({
        "type": "object",
        "properties": {
            "error": text("The status in words."),
            "message": text("What to do."),
            "retryAfter": {
                "type": "string",
                "description": "Whole seconds, with 429.",
                "pattern": "^[0-9]+$",
            },
        },
        "required": ["error", "message"],
    });
    [
        ("AskTicket", plain("askTicket", "A page asks for a ticket.", asked)),
        ("Ticket", answers("ticket", "Stands for the credential, once.", ticket)),
        ("Close", plain("close", "Whose streams are to end.", whose)),
        ("Closed", answers("closed", "So many streams were ended.", closed())),
        ("Refusal", plain("refusal", "Any status of 400 and above.", refusal)),
    ]
}

/// Credentials of calls stand in a header.
fn in_headers() -> Value {
    json!([
        {"$ref": "#/components/securitySchemes/bearer"},
        {"$ref": "#/components/securitySchemes/apiKey"},
    ])
}

/// What ending streams is answered.
fn closed() -> Value {
    json!({
        "type": "object",
        "properties": {
            "closed": {
                "type": "integer", "minimum": 0,
                "description": "Streams of the node that was asked.",
            },
            "otherNodesTold": {
                "type": "boolean",
                "description": "Whether all nodes end theirs; absent where there is one.",
            },
        },
        "required": ["closed"],
        "additionalProperties": false,
    })
}
