//! The JSON Schema of every event, those of a self-test included.
//!
//! Strict where the vocabulary is: no unknown fields, no other words, nothing missing. Free where
//! that is free: data of the backend. The words used are those that draft 7 and 2020-12 share,
//! so the AsyncAPI document takes the same definitions.

use serde_json::{Map, Value, json};

use super::{Named, OWN_BACKEND, PASSED_BACKEND, REFUSED, SELF_TEST_EVENTS, VERSION, backends};
use crate::proto::event::MessageType;
use crate::proto::event::describe::{
    CONTROLS, ControlEvent, Field, MESSAGE, MESSAGES, Message, Record, Shape,
};

const TIME: &str = r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z$";

/// The characters that a browser sends back on another origin without asking first.
const CURSOR: &str = "^[A-Za-z0-9._~-]{1,128}$";

/// Draft 2020-12. An instance is an event as a client sees it: `event`, `id` where there is one,
/// and `data`, parsed. Every definition can be used alone.
#[must_use]
pub fn schema() -> Value {
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": format!("chatmux events, vocabulary {VERSION}"),
        "description": "Made by `chatmux schema events`. For people: docs/events.md. An event \
            is {event, id, data}, its data parsed; $defs/Event is one of the full vocabulary, \
            $defs/CoreEvent one of the core vocabulary, $defs/SelfTestEvent one of a \
            self-test. Clients ignore names and fields that \
            they do not know: a later version may have more.",
        "$ref": "#/$defs/Event",
        "$defs": definitions("#/$defs/"),
    })
}

/// The name of a message's definition.
pub(super) fn message_name(message: &Message) -> String {
    format!("{}Message", message.message_type.as_str())
}

/// The name of the definition of what a message becomes in the `core` vocabulary.
pub(super) fn core_name(message: &Message) -> String {
    format!("Core{}Message", message.message_type.as_str())
}

/// The name of the definition of what a `gap` becomes in the `core` vocabulary.
pub(super) const CORE_GAP: &str = "CoreGapMessage";

/// All definitions; they name each other by this prefix.
pub(super) fn definitions(prefix: &'static str) -> Map<String, Value> {
    let schemas = Schemas { prefix };
    let mut all = Map::new();
    let named = Named::collect();
    for (name, words) in named.words {
        let words = json!({"description": words.doc, "enum": words.words});
        all.insert(name.to_owned(), words);
    }
    for (name, record) in named.records {
        all.insert(name.to_owned(), schemas.record(record));
    }
    for message in MESSAGES {
        all.insert(message_name(message), schemas.message(message));
        if !message.is_core() {
            all.insert(core_name(message), schemas.core_message(message));
        }
    }
    all.insert(CORE_GAP.to_owned(), schemas.core_gap());
    all.insert("Backend".to_owned(), json!({"description": "A dialect.", "enum": backends()}));
    all.insert(
        "Time".to_owned(),
        json!({"description": "RFC 3339, UTC, milliseconds.", "type": "string", "pattern": TIME}),
    );
    all.insert(
        "Cursor".to_owned(),
        json!({
            "description": "The id line: opaque, for `Last-Event-ID`.",
            "type": "string",
            "pattern": CURSOR,
        }),
    );
    all.insert("Event".to_owned(), schemas.event());
    all.insert("CoreEvent".to_owned(), schemas.core_event());
    all.insert("SelfTestEvent".to_owned(), schemas.self_test_event());
    all
}

struct Schemas {
    prefix: &'static str,
}

impl Schemas {
    fn named(&self, name: &str) -> Value {
        json!({"$ref": format!("{}{name}", self.prefix)})
    }

    fn value(&self, field: &Field) -> Value {
        let schema = match field.shape {
            Shape::Text => json!({"type": "string"}),
            Shape::Bool => json!({"type": "boolean"}),
            Shape::Int => json!({"type": "integer"}),
            Shape::Object => json!({"type": "object"}),
            Shape::List(record) => json!({"type": "array", "items": self.named(record.name)}),
            // What belongs to one type alone is put in by `message`.
            Shape::Any | Shape::Data | Shape::MessageType => json!({}),
            // Draft 7 reads nothing beside a reference, so nothing stands there.
            Shape::Time => return self.named("Time"),
            Shape::Backend => return self.named("Backend"),
            Shape::Word(words) => return self.named(words.name),
            Shape::Record(record) => return self.named(record.name),
        };
        described(schema, field.doc)
    }

    fn record(&self, record: &Record) -> Value {
        let fields = record.fields.iter();
        let properties: Map<_, _> =
            fields.map(|field| (field.name.to_owned(), self.value(field))).collect();
        let schema = object(properties, &required(record.fields));
        let mut schema = described(schema, record.doc);
        let mut data = MESSAGES.iter().filter_map(|message| message.data);
        let is_data = data.any(|data| data.name == record.name);
        if is_data && required(record.fields).is_empty() {
            // Empty data is left out.
            set(&mut schema, "minProperties", json!(1));
        }
        schema
    }

    /// A message object whose `data` is of this schema.
    fn envelope(&self, message_type: MessageType, doc: &str, data: Value, has_data: bool) -> Value {
        let mut properties = Map::new();
        for field in MESSAGE {
            let schema = match field.shape {
                Shape::MessageType => json!({"const": message_type.as_str()}),
                Shape::Data => data.clone(),
                Shape::Text
                | Shape::Time
                | Shape::Bool
                | Shape::Int
                | Shape::Any
                | Shape::Object
                | Shape::Word(_)
                | Shape::Backend
                | Shape::Record(_)
                | Shape::List(_) => self.value(field),
            };
            properties.insert(field.name.to_owned(), schema);
        }
        let mut names = required(MESSAGE);
        if has_data {
            names.push("data");
        }
        described(object(properties, &names), doc)
    }

    fn message(&self, message: &Message) -> Value {
        let has_data = message.has_always_data();
        let Some(data) = message.data else {
            return self.envelope(message.message_type, message.doc, json!({}), false);
        };
        if !message.is_passed {
            let data = self.named(data.name);
            return self.envelope(message.message_type, message.doc, data, has_data);
        }
        let mut schema = self.envelope(message.message_type, message.doc, json!({}), false);
        let typed = json!({"properties": {"data": self.named(data.name)}});
        unless_passed(&mut schema, typed, has_data.then_some("data"));
        schema
    }

    /// As `Data`, the type as its `kind`.
    fn core_message(&self, message: &Message) -> Value {
        let name = message.message_type.as_str();
        let typed = message.data.map(|data| self.named(data.name));
        let is_free = message.is_passed || typed.is_none();
        let inner = if is_free { json!({}) } else { typed.clone().unwrap_or_default() };
        let mut names = vec!["kind"];
        if !is_free && message.has_always_data() {
            names.push("data");
        }
        let data = json!({"kind": {"const": name}, "text": {"type": "string"}, "data": inner});
        let Value::Object(data) = data else { return json!({}) };
        let doc = format!("`{name}` in the core vocabulary.");
        let mut schema = self.envelope(MessageType::Data, &doc, object(data, &names), true);
        if let Some(typed) = typed.filter(|_| is_free) {
            let mut inner = json!({"properties": {"data": typed}});
            if message.has_always_data() {
                set(&mut inner, "required", json!(["data"]));
            }
            unless_passed(&mut schema, json!({"properties": {"data": inner}}), None);
        }
        schema
    }

    fn core_gap(&self) -> Value {
        let data = json!({"kind": {"const": "gap"}, "data": self.named("Gap")});
        let Value::Object(data) = data else { return json!({}) };
        let data = object(data, &["kind", "data"]);
        let doc = "`gap` in the core vocabulary; it has no id line.";
        let mut schema = self.envelope(MessageType::Data, doc, data, true);
        let mut backends = backends();
        backends.push(OWN_BACKEND);
        let source = json!({
            "name": {"type": "string"},
            "backend": {"enum": backends},
            "event": {"const": "gap"},
        });
        if let Some(properties) = schema.get_mut("properties")
            && let Value::Object(source) = source
        {
            set(properties, "source", object(source, &["name", "backend", "event"]));
        }
        schema
    }

    fn event(&self) -> Value {
        let controls = CONTROLS.iter().map(|control| self.control_event(control));
        let messages = MESSAGES
            .iter()
            .map(|message| self.one(message.message_type.as_str(), &message_name(message), true));
        json!({
            "description": "An event of the full vocabulary.",
            "oneOf": controls.chain(messages).collect::<Vec<_>>(),
        })
    }

    fn core_event(&self) -> Value {
        let controls = CONTROLS.iter().filter(|control| control.is_core);
        let own = MESSAGES.iter().filter(|message| message.is_core());
        let wrapped = MESSAGES.iter().filter(|message| !message.is_core());
        let mut all: Vec<_> = controls.map(|control| self.control_event(control)).collect();
        all.extend(
            own.map(|message| {
                self.one(message.message_type.as_str(), &message_name(message), true)
            }),
        );
        let data = MessageType::Data.as_str();
        all.extend(wrapped.map(|message| self.one(data, &core_name(message), true)));
        all.push(self.one(data, CORE_GAP, false));
        json!({"description": "An event of the core vocabulary.", "anyOf": all})
    }

    fn self_test_event(&self) -> Value {
        let own = SELF_TEST_EVENTS.iter().map(|(event, data)| self.one(event, data.name, false));
        let refused = CONTROLS.iter().filter(|control| control.name == REFUSED);
        let refused = refused.map(|control| self.control_event(control));
        json!({
            "description": "An event of a self-test, which is another stream.",
            "oneOf": own.chain(refused).collect::<Vec<_>>(),
        })
    }

    fn control_event(&self, control: &ControlEvent) -> Value {
        self.one(control.name, control.data.name, false)
    }

    fn one(&self, event: &str, data: &str, has_cursor: bool) -> Value {
        let mut properties = Map::new();
        properties.insert("event".to_owned(), json!({"const": event}));
        let mut names = vec!["event"];
        if has_cursor {
            properties.insert("id".to_owned(), self.named("Cursor"));
            names.push("id");
        }
        properties.insert("data".to_owned(), self.named(data));
        names.push("data");
        object(properties, &names)
    }
}

/// Data of XiansAi is free: this binds all others.
fn unless_passed(schema: &mut Value, mut bound: Value, needed: Option<&str>) {
    if let Some(name) = needed {
        set(&mut bound, "required", json!([name]));
    }
    let backend = json!({"properties": {"backend": {"const": PASSED_BACKEND}}});
    set(schema, "if", json!({"properties": {"source": backend}}));
    set(schema, "else", bound);
}

fn object(properties: Map<String, Value>, required: &[&str]) -> Value {
    let mut schema =
        json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !required.is_empty() {
        set(&mut schema, "required", json!(required));
    }
    schema
}

fn required(fields: &[Field]) -> Vec<&'static str> {
    fields.iter().filter(|field| field.is_always).map(|field| field.name).collect()
}

fn described(mut schema: Value, doc: &str) -> Value {
    set(&mut schema, "description", doc.into());
    schema
}

fn set(schema: &mut Value, key: &str, value: Value) {
    if let Value::Object(schema) = schema {
        schema.insert(key.to_owned(), value);
    }
}
