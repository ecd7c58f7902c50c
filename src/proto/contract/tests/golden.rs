//! Every golden output is valid by the schema, and none of it can be changed and stay so.

use serde_json::Value;

use super::*;

/// Every event of the golden outputs: where it stands, and what it is.
fn events() -> Vec<(String, Value)> {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut events = Vec::new();
    for dialect in ROSTER {
        for entry in std::fs::read_dir(root.join(dialect.name)).expect("fixtures") {
            let path = entry.expect("an entry").path();
            if path.extension().is_none_or(|extension| extension != "out") {
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("an output");
            let blocks = text.split_inclusive("\n\n").map(samples::parse);
            events.extend(blocks.map(|event| (path.display().to_string(), event)));
        }
    }
    assert!(events.len() > 200, "{} events", events.len());
    events
}

#[test]
fn every_golden_output_is_valid() {
    let validator = validator("Event");
    let mut types = BTreeSet::new();
    for (path, event) in events() {
        let errors: Vec<_> = validator.iter_errors(&event).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{path}: {event:#}: {errors:#?}");
        types.insert(event["event"].as_str().expect("a name").to_owned());
    }
    assert_eq!(types.len(), MESSAGES.len(), "a golden output of every type: {types:?}");
}

/// Every way to break an object by its table.
pub(super) fn broken(
    fields: &[Field],
    whole: &Value,
    pointer: &str,
    out: &mut Vec<(String, Value)>,
) {
    let change = |what: String, path: &str, change: &dyn Fn(&mut Value)| {
        let mut copy = whole.clone();
        change(copy.pointer_mut(path).expect("a place"));
        (what, copy)
    };
    out.push(change(format!("{pointer} + unknown"), pointer, &|value| {
        value["notOfTheVocabulary"] = 1.into();
    }));
    let object = whole.pointer(pointer).and_then(Value::as_object).expect("an object").clone();
    for (name, value) in &object {
        let field = fields.iter().find(|field| field.name == name).expect("a known field");
        let path = format!("{pointer}/{name}");
        if field.is_always {
            out.push(change(format!("{path} removed"), pointer, &|value| {
                value.as_object_mut().expect("an object").remove(name);
            }));
        }
        match field.shape {
            Shape::Any | Shape::Data => continue,
            Shape::Word(_) | Shape::Backend | Shape::MessageType => {
                out.push(change(format!("{path} another word"), &path, &|value| {
                    *value = "anotherWord".into();
                }));
            }
            Shape::Time => out.push(change(format!("{path} no time"), &path, &|value| {
                *value = "2026-01-19T18:39:10Z".into();
            })),
            Shape::Record(record) => broken(record.fields, whole, &path, out),
            Shape::List(record) => {
                for at in 0..value.as_array().expect("a list").len() {
                    broken(record.fields, whole, &format!("{path}/{at}"), out);
                }
            }
            Shape::Text | Shape::Bool | Shape::Int | Shape::Object => {}
        }
        for other in [Value::Null, serde_json::json!([1.5])] {
            out.push(change(format!("{path} = {other}"), &path, &|value| *value = other.clone()));
        }
    }
}

/// Every way to break a message, its data included where that is typed.
fn broken_message(event: &Value) -> Vec<(String, Value)> {
    let mut out = Vec::new();
    let name = event["event"].as_str().expect("a name");
    if let Some(control) = CONTROLS.iter().find(|control| control.name == name) {
        broken(control.data.fields, event, "/data", &mut out);
        return out;
    }
    broken(MESSAGE, event, "/data", &mut out);
    let message = MESSAGES.iter().find(|message| message.message_type.as_str() == name);
    let message = message.expect("a type");
    let is_free = event["data"]["source"]["backend"] == PASSED_BACKEND && message.is_passed;
    if let (Some(data), false) = (message.data, is_free) {
        if event["data"].get("data").is_some() {
            broken(data.fields, event, "/data/data", &mut out);
            let mut empty = event.clone();
            empty["data"]["data"] = serde_json::json!({});
            out.push(("empty data".to_owned(), empty));
        }
        if message.has_always_data() {
            let mut copy = event.clone();
            copy["data"].as_object_mut().expect("an object").remove("data");
            out.push(("no data".to_owned(), copy));
        }
    }
    out
}

#[test]
fn nothing_of_a_golden_output_can_be_broken_unseen() {
    let validators: std::collections::HashMap<String, jsonschema::Validator> = MESSAGES
        .iter()
        .map(|message| message.message_type.as_str().to_owned())
        .map(|name| (name.clone(), validator(&format!("{name}Message"))))
        .collect();
    let mut count = 0;
    for (path, event) in events() {
        let validator = &validators[event["event"].as_str().expect("a name")];
        for (what, broken) in broken_message(&event) {
            count += 1;
            assert!(!validator.is_valid(&broken["data"]), "{path}: {what} passes: {event:#}");
        }
    }
    assert!(count > 5000, "only {count} changes were tried");
}

#[test]
fn nothing_of_a_sample_can_be_broken_unseen() {
    let validator = validator("Event");
    for sample in samples::all() {
        let event = sample.instance();
        for (what, broken) in broken_message(&event) {
            assert!(!validator.is_valid(&broken), "{what} passes: {event:#}");
        }
        let mut other = event.clone();
        other["event"] = "Chatter".into();
        assert!(!validator.is_valid(&other));
        let mut other = event.clone();
        match other.get("id") {
            // Browsers would ask before they send it back.
            Some(_) => other["id"] = "a b".into(),
            None => other["id"] = "1.1.1".into(),
        }
        assert!(!validator.is_valid(&other), "{other:#}");
    }
}
