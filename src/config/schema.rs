//! The JSON Schema of conf files, for editors: made of the tables that the reader reads by.
//!
//! It takes every conf that the reader takes; the reader refuses more, since rules across
//! options and what files and variables hold are beyond a schema. Not here: the tables (`spec`,
//! the dialects), the same for people (`document`).

use std::time::Duration;

use serde_json::{Map, Value, json};

use super::spec::{Field, Kind, Presence, SOURCE, reference};
use super::units::{show_duration, show_size};
use crate::proto::backend::{Dialect, OptionKind, OptionSpec};

/// One value of any kind: the reader takes `5` for the text `5`.
const TEXT_TYPES: [&str; 3] = ["string", "number", "boolean"];

/// The schema, draft 2020-12.
#[must_use]
pub fn schema() -> Value {
    let (root, roster) = reference();
    let mut schema = table(root, roster);
    let head = json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "chatmux conf file",
        "description": "Made by `chatmux schema conf`. For people: docs/configuration.md.",
    });
    if let (Value::Object(schema), Value::Object(head)) = (&mut schema, head) {
        for (key, value) in head {
            schema.insert(key, value);
        }
        // What a file lacks may stand in one that it includes, or that includes it.
        let needed = schema.remove("required").unwrap_or_default();
        let is_alone = json!({"required": ["listen"], "not": {"required": ["include"]}});
        schema.insert("if".to_owned(), is_alone);
        schema.insert("then".to_owned(), json!({"required": needed}));
    }
    schema
}

fn table(fields: &[Field], roster: &[&Dialect]) -> Value {
    let properties: Map<String, Value> =
        fields.iter().map(|field| (field.name.to_owned(), property(field, roster))).collect();
    let mut schema = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    let required = required(fields);
    if !required.is_empty()
        && let Value::Object(schema) = &mut schema
    {
        schema.insert("required".to_owned(), required.into());
    }
    schema
}

fn required(fields: &[Field]) -> Vec<&'static str> {
    let is_required = |field: &&Field| matches!(field.presence, Presence::Required);
    fields.iter().filter(is_required).map(|field| field.name).collect()
}

fn property(field: &Field, roster: &[&Dialect]) -> Value {
    let words = match field.presence {
        Presence::Required | Presence::Optional => field.doc.to_owned(),
        Presence::Default(text) => format!("{} Default: {text}.", field.doc),
        Presence::Derived(words) => format!("{} Without it: {words}.", field.doc),
    };
    described(kind(&field.kind, roster), &words)
}

fn described(mut schema: Value, words: &str) -> Value {
    if let Value::Object(schema) = &mut schema {
        schema.insert("description".to_owned(), words.into());
    }
    schema
}

fn kind(kind: &Kind, roster: &[&Dialect]) -> Value {
    let pattern = |pattern: &str| json!({"type": "string", "pattern": pattern});
    match kind {
        Kind::Text | Kind::Pattern | Kind::Expression | Kind::Secret | Kind::Pem => {
            json!({"type": TEXT_TYPES, "minLength": 1})
        }
        Kind::Literal => json!({"type": TEXT_TYPES}),
        Kind::Address => pattern("^.+:[0-9]{1,5}$"),
        Kind::Url => pattern("^https?://[^?#{}]+$"),
        Kind::UrlPath => pattern("^/[^?#{} ]*$"),
        Kind::File | Kind::Files | Kind::IpNet | Kind::Origin => {
            json!({"type": "string", "minLength": 1})
        }
        // Digits alone are a number to YAML.
        Kind::Digest => json!({"type": ["string", "number"], "pattern": "^[0-9A-Fa-f]{64}$"}),
        Kind::Time => pattern("^[0-9]{4}-[0-9]{2}-[0-9]{2}"),
        Kind::Rate => pattern("^[0-9]+/[smh]$"),
        Kind::Bool => json!({"type": "boolean"}),
        Kind::Number { min, max } => json!({"type": "integer", "minimum": min, "maximum": max}),
        Kind::Duration { min, max } => described(
            pattern("^[0-9]+(ms|s|m|h)$"),
            &format!("{} to {}", show_duration(*min), show_duration(*max)),
        ),
        Kind::Seconds { .. } => pattern("^[0-9]+(ms|s|m|h)$"),
        Kind::Size { .. } => pattern("^[0-9]+(B|KiB|MiB|GiB)$"),
        Kind::Word(words) => json!({"enum": words}),
        Kind::Backend => {
            json!({"enum": roster.iter().map(|dialect| dialect.name).collect::<Vec<_>>()})
        }
        Kind::List(item) => json!({
            "type": "array", "minItems": 1, "items": self::kind(item, roster),
        }),
        Kind::OneOrMore(item) => json!({
            "anyOf": [
                self::kind(item, roster),
                {"type": "array", "minItems": 1, "items": self::kind(item, roster)},
            ],
        }),
        Kind::Table(fields) => table(fields, roster),
        Kind::Named(fields) if is_source(fields) => json!({
            "type": "object",
            "minProperties": 1,
            "propertyNames": {"pattern": "^[A-Za-z0-9_-]{1,64}$"},
            "additionalProperties": source(roster),
        }),
        Kind::Named(fields) => json!({
            "type": "object",
            "additionalProperties": table(fields, roster),
        }),
    }
}

/// Whether a table is that of sources: it names a backend.
fn is_source(fields: &[Field]) -> bool {
    fields.iter().any(|field| matches!(field.kind, Kind::Backend))
}

/// A source: what every one has, and by its backend what that has besides.
fn source(roster: &[&Dialect]) -> Value {
    let branches = roster.iter().map(|dialect| {
        let mut whole = table(SOURCE, roster);
        let mut needed = required(SOURCE);
        if let Some(properties) = whole.get_mut("properties").and_then(Value::as_object_mut) {
            for option in dialect.options {
                properties.insert(option.name.to_owned(), option_property(option));
            }
        }
        needed.extend(
            dialect.options.iter().filter(|option| option.is_required).map(|option| option.name),
        );
        if let Value::Object(whole) = &mut whole {
            whole.insert("required".to_owned(), needed.into());
        }
        json!({
            "if": {"properties": {"backend": {"const": dialect.name}}, "required": ["backend"]},
            "then": whole,
        })
    });
    json!({
        "type": "object",
        "required": required(SOURCE),
        "properties": {"backend": kind(&Kind::Backend, roster)},
        "allOf": branches.collect::<Vec<_>>(),
    })
}

fn option_property(option: &OptionSpec) -> Value {
    let schema = match option.kind {
        OptionKind::Template | OptionKind::Secret => json!({"type": TEXT_TYPES, "minLength": 1}),
        OptionKind::Word(words) => json!({"enum": words}),
        OptionKind::Bool => json!({"type": "boolean"}),
        OptionKind::Secs { .. } => json!({"type": "string", "pattern": "^[0-9]+(ms|s|m|h)$"}),
        OptionKind::Table(options) => {
            let properties: Map<String, Value> = options
                .iter()
                .map(|option| (option.name.to_owned(), option_property(option)))
                .collect();
            let needed: Vec<_> = options
                .iter()
                .filter(|option| option.is_required)
                .map(|option| option.name)
                .collect();
            json!({
                "type": "object",
                "properties": properties,
                "required": needed,
                "additionalProperties": false,
            })
        }
        OptionKind::Templates => {
            json!({"type": "object", "additionalProperties": {"type": TEXT_TYPES}})
        }
    };
    described(schema, &super::document::sentence(option.doc))
}

/// Bounds as a conf file writes them; empty for what has none.
pub(super) fn bounds(kind: &Kind) -> String {
    match kind {
        Kind::Number { min, max } if min == max => min.to_string(),
        Kind::Number { min, max } => format!("{min} to {max}"),
        Kind::Duration { min, max } => {
            format!("{} to {}", show_duration(*min), show_duration(*max))
        }
        Kind::Seconds { min, max } => {
            let show = |secs: &u64| show_duration(Duration::from_secs(*secs));
            format!("{} to {}", show(min), show(max))
        }
        Kind::Size { min, max } => format!("{} to {}", show_size(*min), show_size(*max)),
        Kind::List(item) | Kind::OneOrMore(item) => bounds(item),
        Kind::Text
        | Kind::Address
        | Kind::Url
        | Kind::UrlPath
        | Kind::File
        | Kind::Files
        | Kind::IpNet
        | Kind::Origin
        | Kind::Pattern
        | Kind::Expression
        | Kind::Literal
        | Kind::Digest
        | Kind::Time
        | Kind::Rate
        | Kind::Secret
        | Kind::Pem
        | Kind::Bool
        | Kind::Word(_)
        | Kind::Backend
        | Kind::Table(_)
        | Kind::Named(_) => String::new(),
    }
}
