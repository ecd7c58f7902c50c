//! The TypeScript types of every event, those of a self-test included, and three helpers that give
//! them to listeners.
//!
//! One file without imports, to be copied into a project. It compiles under `strict`.

use std::fmt::Write as _;

use super::request::{Kind, PARAMETERS, Parameter, SELF_TEST_PARAMETERS};
use super::schema::message_name;
use super::{Named, OWN_BACKEND, PASSED_BACKEND, REFUSED, SELF_TEST_EVENTS, VERSION, backends};
use crate::proto::event::MessageType;
use crate::proto::event::describe::{CONTROLS, Field, MESSAGE, MESSAGES, Message, Record, Shape};

const HELPERS: &str = include_str!("helpers.ts");

/// The file.
#[must_use]
pub fn typescript() -> String {
    let mut out = format!(
        "// Types of a chatmux stream, vocabulary {VERSION}. Made by `chatmux schema typescript`.\n\
         // For people: docs/events.md, docs/browser.md. Ignore names and fields you do not know.\n\n\
         /** Any JSON. */\n\
         export type Json = null | boolean | number | string | Json[] | {{ [key: string]: Json }};\n\n\
         /** RFC 3339, UTC, milliseconds. */\nexport type Time = string;\n"
    );
    alias(&mut out, "Backend", "A dialect.", &backends());
    let named = Named::collect();
    for (name, words) in named.words {
        alias(&mut out, name, words.doc, words.words);
    }
    for record in named.records.into_values() {
        interface(&mut out, record);
    }
    messages(&mut out);
    maps(&mut out);
    self_test(&mut out);
    parameters(&mut out);
    out.push('\n');
    out.push_str(HELPERS);
    out
}

// Writing into a `String` cannot fail, so what `writeln!` says is not looked at.
macro_rules! line {
    ($out:expr, $($text:tt)*) => { writeln!($out, $($text)*).unwrap_or_default() };
}

fn union(words: &[&str]) -> String {
    let quoted: Vec<_> = words.iter().map(|word| format!("\"{word}\"")).collect();
    quoted.join(" | ")
}

fn alias(out: &mut String, name: &str, doc: &str, words: &[&str]) {
    line!(out, "\n/** {doc} */\nexport type {name} = {};", union(words));
}

fn spell(shape: Shape) -> String {
    match shape {
        Shape::Text => "string".to_owned(),
        Shape::Time => "Time".to_owned(),
        Shape::Bool => "boolean".to_owned(),
        Shape::Int => "number".to_owned(),
        Shape::Any | Shape::Data => "Json".to_owned(),
        Shape::Object => "{ [key: string]: Json }".to_owned(),
        Shape::Word(words) => words.name.to_owned(),
        Shape::Backend => "Backend".to_owned(),
        Shape::Record(record) => record.name.to_owned(),
        Shape::List(record) => format!("{}[]", record.name),
        Shape::MessageType => "Type".to_owned(),
    }
}

fn field(out: &mut String, field: &Field) {
    let mark = if field.is_always { "" } else { "?" };
    line!(out, "  /** {} */\n  {}{mark}: {};", field.doc, field.name, spell(field.shape));
}

fn interface(out: &mut String, record: &Record) {
    line!(out, "\n/** {} */\nexport interface {} {{", record.doc, record.name);
    for one in record.fields {
        field(out, one);
    }
    line!(out, "}}");
}

/// The message objects: the fields that all have, then each with its `data`.
fn messages(out: &mut String) {
    let names: Vec<_> = MessageType::ALL.iter().map(|name| name.as_str()).collect();
    alias(out, "MessageType", "The names of the message events.", &names);
    line!(out, "\n/** What all message objects have. */");
    line!(out, "export interface Envelope<Type extends MessageType> {{");
    for one in MESSAGE.iter().filter(|field| !matches!(field.shape, Shape::Data)) {
        field(out, one);
    }
    line!(out, "}}");
    line!(
        out,
        "\n/** A message that XiansAi sent: its data is free. */\n\
         export interface PassedMessage<Type extends MessageType> extends Envelope<Type> {{\n  \
         source: Source & {{ backend: \"{PASSED_BACKEND}\" }};\n  data?: Json;\n}}"
    );
    for message in MESSAGES {
        self::message(out, message);
    }
    line!(out, "\n/** A message object; `messageType` says which. */");
    line!(out, "export type Message = MessageEvents[MessageType];");
}

fn message(out: &mut String, message: &Message) {
    let (name, base) = (message_name(message), message.message_type.as_str());
    let mark = if message.has_always_data() { "" } else { "?" };
    let data = message.data.map_or("Json", |data| data.name);
    if message.is_passed && message.data.is_some() {
        line!(
            out,
            "\n/** {} */\nexport type {name} = Native{name} | PassedMessage<\"{base}\">;\n\n\
             /** As any backend but XiansAi says it. */\n\
             export interface Native{name} extends Envelope<\"{base}\"> {{\n  \
             source: Source & {{ backend: Exclude<Backend, \"{PASSED_BACKEND}\"> }};\n  \
             data{mark}: {data};\n}}",
            message.doc
        );
    } else {
        line!(
            out,
            "\n/** {} */\nexport interface {name} extends Envelope<\"{base}\"> {{\n  \
             data{mark}: {data};\n}}",
            message.doc
        );
    }
}

/// Names to types, for both vocabularies.
fn maps(out: &mut String) {
    line!(out, "\n/** The message events, by name. */\nexport interface MessageEvents {{");
    for message in MESSAGES {
        line!(out, "  {}: {};", message.message_type.as_str(), message_name(message));
    }
    line!(out, "}}\n\n/** The control events, by name. */\nexport interface ControlEvents {{");
    for control in CONTROLS {
        line!(out, "  {}: {};", control.name, control.data.name);
    }
    line!(
        out,
        "}}\n\n/** Every event, by name. */\n\
         export interface Events extends MessageEvents, ControlEvents {{}}\n\n\
         /** The names of the events. */\nexport type EventName = keyof Events;\n\n\
         /** An event; `event` says which. */\nexport type StreamEvent =\n  \
         | {{ [Name in keyof MessageEvents]: \
         {{ event: Name; id: string; data: MessageEvents[Name] }} }}[keyof MessageEvents]\n  \
         | {{ [Name in keyof ControlEvents]: \
         {{ event: Name; id?: undefined; data: ControlEvents[Name] }} }}[keyof ControlEvents];"
    );
    core(out);
}

fn core(out: &mut String) {
    line!(out, "\n/** What other types become in the core vocabulary. */\nexport type CoreData =");
    for message in MESSAGES.iter().filter(|message| !message.is_core()) {
        let kind = message.message_type.as_str();
        let is_free = message.is_passed || message.data.is_none();
        let mark = if message.has_always_data() && !is_free { "" } else { "?" };
        let data = match message.data {
            Some(data) if message.is_passed => format!("{} | Json", data.name),
            Some(data) => data.name.to_owned(),
            None => "Json".to_owned(),
        };
        line!(out, "  | {{ kind: \"{kind}\"; text?: string; data{mark}: {data} }}");
    }
    line!(
        out,
        "  | {{ kind: \"gap\"; data: Gap }};\n\n/** Such a message. */\n\
         export interface CoreMessage extends Omit<Envelope<\"Data\">, \"source\"> {{\n  \
         source: Omit<Source, \"backend\"> & {{ backend: Backend | \"{OWN_BACKEND}\" }};\n  \
         data: CoreData;\n}}\n\n/** The events of the core vocabulary, by name. */\n\
         export interface CoreEvents {{"
    );
    for control in CONTROLS.iter().filter(|control| control.is_core) {
        line!(out, "  {}: {};", control.name, control.data.name);
    }
    for message in MESSAGES.iter().filter(|message| message.is_core()) {
        let other = if message.data.is_none() { " | CoreMessage" } else { "" };
        line!(out, "  {}: {}{other};", message.message_type.as_str(), message_name(message));
    }
    line!(out, "}}");
}

/// GET to the stream's path with `/selftest` behind it.
fn self_test(out: &mut String) {
    line!(out, "\n/** The events of a self-test, by name. */\nexport interface SelfTestEvents {{");
    for (name, data) in SELF_TEST_EVENTS {
        line!(out, "  {name}: {};", data.name);
    }
    for control in CONTROLS.iter().filter(|control| control.name == REFUSED) {
        line!(out, "  {}: {};", control.name, control.data.name);
    }
    line!(
        out,
        "}}\n\n/** An event of a self-test (GET to the stream's path with `/selftest` behind it); \
         `event` says which. */\nexport type SelfTestEvent =\n  \
         {{ [Name in keyof SelfTestEvents]: \
         {{ event: Name; data: SelfTestEvents[Name] }} }}[keyof SelfTestEvents];"
    );
}

fn parameter(out: &mut String, parameter: &Parameter) {
    let mark = if parameter.is_required { "" } else { "?" };
    let kind = match parameter.kind {
        Kind::Text | Kind::Credential | Kind::Types => "string".to_owned(),
        Kind::Int { .. } => "number".to_owned(),
        Kind::Word(words) => union(words),
    };
    line!(out, "  /** {} */\n  {}{mark}: {kind};", parameter.doc, parameter.name);
}

fn parameters(out: &mut String) {
    line!(out, "\n/** The query parameters of a stream. */\nexport interface StreamParameters {{");
    PARAMETERS.iter().for_each(|one| parameter(out, one));
    line!(
        out,
        "}}\n\n/** The query parameters of a self-test. */\n\
         export interface SelfTestParameters extends StreamParameters {{"
    );
    SELF_TEST_PARAMETERS.iter().for_each(|one| parameter(out, one));
    line!(
        out,
        "}}\n\n/** The body of a refusal that comes as plain HTTP. */\nexport interface Refusal {{\n  \
         /** The reason phrase. */\n  error: string;\n  /** What to do. */\n  message: string;\n  \
         /** Of 429: whole seconds. */\n  retryAfter?: string;\n}}\n\n\
         /** What POST to the stream's path with `/ticket` behind it gives. */\n\
         export interface Ticket {{\n  /** For the parameter `ticket`, once. */\n  \
         ticket: string;\n  /** Seconds. */\n  expiresIn: number;\n}}"
    );
}
