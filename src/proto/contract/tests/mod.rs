//! The contracts are what is committed, and what is written on the wire is what they say.
//!
//! `samples` writes every field and every word that the encoder can write. Both directions are
//! held: nothing written is unknown to the tables, nothing in the tables is never written.
//! `BLESS=1` rewrites the committed files.

mod golden;
mod samples;
mod selftest;

use std::collections::BTreeSet;
use std::slice::from_ref;

use serde_json::Value;

use self::samples::Sample;
use super::*;
use crate::proto::event::MessageType;
use crate::proto::event::describe::Shape;

/// A validator of one definition.
fn validator(name: &str) -> jsonschema::Validator {
    let mut schema = schema();
    schema["$ref"] = format!("#/$defs/{name}").into();
    jsonschema::validator_for(&schema).expect("a schema")
}

#[track_caller]
fn check_committed(path: &str, text: &str) {
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&file, text).expect("a file");
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(committed == text, "{path} is not what the code makes; BLESS=1 rewrites it");
}

#[test]
fn what_is_committed_is_what_the_code_makes() {
    let pretty = |value: &Value| serde_json::to_string_pretty(value).expect("JSON") + "\n";
    check_committed("docs/schema/events.schema.json", &pretty(&schema()));
    check_committed("docs/schema/asyncapi.json", &pretty(&asyncapi()));
    check_committed("docs/schema/chatmux.ts", &typescript());
    jsonschema::meta::validate(&schema()).expect("a schema of the draft");
}

#[test]
fn every_name_of_the_vocabulary_has_one_definition() {
    let described: Vec<_> = MESSAGES.iter().map(|message| message.message_type).collect();
    assert_eq!(described, MessageType::ALL, "every type, once, in order");
    // A second record of a name would replace the first one.
    let mut seen: Vec<(&str, &str)> = Vec::new();
    let mut fields: Vec<&'static [Field]> = vec![MESSAGE];
    fields.extend(MESSAGES.iter().filter_map(|message| message.data).map(|data| data.fields));
    fields.extend(CONTROLS.iter().map(|control| control.data.fields));
    fields.extend(SELF_TEST_EVENTS.iter().map(|(_, data)| data.fields));
    while let Some(level) = fields.pop() {
        for field in level {
            let record = field.shape.record();
            fields.extend(record.map(|record| record.fields));
            let named = record.map(|record| (record.name, record.doc));
            let words = field.shape.words().map(|words| (words.name, words.doc));
            let Some((name, doc)) = named.or(words) else { continue };
            assert!(seen.iter().all(|(other, told)| *other != name || *told == doc), "{name}");
            seen.push((name, doc));
        }
    }
    let ts = typescript();
    for name in schema()["$defs"].as_object().expect("definitions").keys() {
        let has = |what: &str| ts.matches(&format!("export {what} {name}")).count();
        let is_shaped_otherwise = name.starts_with("Core") || name == "Event" || name == "Cursor";
        assert!(is_shaped_otherwise || has("type") + has("interface") >= 1, "{name}");
    }
}

/// What of the tables was seen in an object.
fn walk(fields: &[Field], value: &Value, path: &str, seen: &mut BTreeSet<String>) {
    let object = value.as_object().unwrap_or_else(|| panic!("{path} is no object: {value}"));
    for field in fields {
        let path = format!("{path}.{}", field.name);
        let Some(value) = object.get(field.name) else {
            assert!(!field.is_always, "{path} is absent");
            seen.insert(format!("{path}?"));
            continue;
        };
        seen.insert(path.clone());
        if field.shape.words().is_some() {
            seen.insert(format!("{path}={}", value.as_str().expect("a word")));
        }
        if let Some(record) = field.shape.record() {
            let is_list = matches!(field.shape, Shape::List(_));
            let items = if is_list { value.as_array().expect("a list") } else { from_ref(value) };
            items.iter().for_each(|item| walk(record.fields, item, &path, seen));
        }
    }
}

/// All that the tables say can be seen: each field, each optional one absent, each word.
fn wanted(fields: &[Field], path: &str, all: &mut BTreeSet<String>) {
    for field in fields {
        let path = format!("{path}.{}", field.name);
        all.insert(path.clone());
        if !field.is_always {
            all.insert(format!("{path}?"));
        }
        let words = field.shape.words().into_iter().flat_map(|words| words.words);
        all.extend(words.map(|word| format!("{path}={word}")));
        if let Some(record) = field.shape.record() {
            wanted(record.fields, &path, all);
        }
    }
}

#[test]
fn the_tables_hold_exactly_what_can_be_written() {
    let (mut seen, mut all) = (BTreeSet::new(), BTreeSet::new());
    wanted(MESSAGE, "message", &mut all);
    for message in MESSAGES {
        if let Some(data) = message.data {
            wanted(data.fields, message.message_type.as_str(), &mut all);
        }
    }
    for control in CONTROLS {
        wanted(control.data.fields, control.name, &mut all);
    }
    for (name, data) in SELF_TEST_EVENTS {
        wanted(data.fields, name, &mut all);
    }
    selftest::walk_all(&mut seen);
    for sample in samples::all() {
        let Sample { event, data, .. } = &sample;
        if let Some(control) = CONTROLS.iter().find(|control| control.name == event) {
            walk(control.data.fields, data, event, &mut seen);
            continue;
        }
        walk(MESSAGE, data, "message", &mut seen);
        let message = MESSAGES.iter().find(|message| message.message_type.as_str() == event);
        let message = message.unwrap_or_else(|| panic!("{event} is no event"));
        if let (Some(typed), false) = (message.data, sample.is_passed) {
            match data.get("data") {
                Some(data) => walk(typed.fields, data, event, &mut seen),
                // Nothing in it: every field is absent.
                None => {
                    seen.extend(typed.fields.iter().map(|one| format!("{event}.{}?", one.name)))
                }
            }
        }
    }
    let missing: Vec<_> = all.difference(&seen).collect();
    assert!(missing.is_empty(), "never written: {missing:#?}");
    assert_eq!(all, seen);
}

#[test]
fn what_is_written_is_valid_and_bears_no_change() {
    let event = validator("Event");
    let core = validator("CoreEvent");
    for sample in samples::all() {
        let instance = sample.instance();
        let errors: Vec<_> = event.iter_errors(&instance).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{instance:#}: {errors:#?}");
        for block in &sample.core {
            let instance = samples::parse(block);
            assert!(core.is_valid(&instance), "{instance:#}");
        }
    }
}

#[test]
fn the_core_form_of_every_type_is_valid_by_its_own_definition() {
    let mut seen = BTreeSet::new();
    for sample in samples::all() {
        for block in &sample.core {
            let instance = samples::parse(block);
            let kind = instance["data"]["data"]["kind"].as_str().unwrap_or_default().to_owned();
            let name = match (instance["event"].as_str(), kind.as_str()) {
                (Some("Data"), "gap") => "CoreGapMessage".to_owned(),
                (Some("Data"), kind) if MessageType::parse(kind).is_some() => {
                    format!("Core{kind}Message")
                }
                _ => continue,
            };
            let validator = validator(&name);
            assert!(validator.is_valid(&instance["data"]), "{name}: {instance:#}");
            let mut other = instance["data"].clone();
            other["data"]["unknown"] = 1.into();
            assert!(!validator.is_valid(&other), "{name} takes anything");
            seen.insert(name);
        }
    }
    // 17 types that core has no name for, and the gap.
    assert_eq!(seen.len(), MESSAGES.iter().filter(|message| !message.is_core()).count() + 1);
}

#[test]
fn data_is_free_for_xians_alone() {
    let free = samples::all().into_iter().filter(|sample| sample.is_passed);
    let mut seen = BTreeSet::new();
    for sample in free {
        seen.insert(sample.event.clone());
        let name = format!("{}Message", sample.event);
        let (validator, mut data) = (validator(&name), sample.data);
        data["data"] = serde_json::json!([1, null, {"any": "thing"}]);
        assert!(validator.is_valid(&data), "{name}");
        data["source"]["backend"] = "openfire".into();
        let message = MESSAGES.iter().find(|one| one.message_type.as_str() == sample.event);
        let is_free = message.is_some_and(|message| message.data.is_none());
        assert_eq!(validator.is_valid(&data), is_free, "{name}");
    }
    let passed = MESSAGES.iter().filter(|message| message.is_passed);
    assert_eq!(seen, passed.map(|message| message.message_type.as_str().to_owned()).collect());
}

#[test]
fn every_event_and_parameter_stands_in_each_document() {
    let (doc, ts) = (asyncapi(), typescript());
    let messages = doc["components"]["messages"].as_object().expect("messages");
    let controls = CONTROLS.iter().map(|control| control.name);
    for name in controls.chain(MessageType::ALL.iter().map(|one| one.as_str())) {
        assert!(messages.contains_key(name), "{name}");
        assert!(ts.contains(&format!("\n  {name}: ")), "{name}");
    }
    for parameter in PARAMETERS {
        let name = parameter.name;
        assert!(ts.contains(&format!("\n  {name}: ")) || ts.contains(&format!("\n  {name}?: ")));
        assert!(
            !doc["operations"]["open"]["bindings"]["http"]["query"]["properties"][name].is_null()
        );
    }
    selftest::check_documents(&doc, &ts);
    let types = regex::Regex::new(&request::types_pattern()).expect("an expression");
    for list in ["", "Chat", "Chat,File", "Chat, Typing ,", ",,Raw"] {
        let is_taken = crate::proto::event::TypeSet::parse(list).is_ok();
        assert!(is_taken && types.is_match(list), "{list}");
    }
    for list in ["chat", "Chat,heartbeat", "Chat File"] {
        let is_taken = crate::proto::event::TypeSet::parse(list).is_ok();
        assert!(!is_taken && !types.is_match(list), "{list}");
    }
}
