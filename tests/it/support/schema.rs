//! The committed JSON Schema as a judge of the events that tests hear.

use std::collections::HashMap;
use std::sync::{LazyLock, Mutex};

use jsonschema::Validator;
use serde_json::Value;

/// By event name; what a gap becomes in the `core` vocabulary by the name of its definition.
static VALIDATORS: LazyLock<HashMap<String, Validator>> = LazyLock::new(validators);

/// What a gap becomes in the `core` vocabulary.
const CORE_GAP: &str = "CoreGapMessage";

/// Crowds say the same thing many thousand times, and a client that judges all of it falls behind.
/// Of what one backend calls one thing, this many are judged.
const JUDGED_OF_A_KIND_MAX: u32 = 100;

/// How many were judged, by event name and by what the backend calls it.
static JUDGED: LazyLock<Mutex<HashMap<String, u32>>> = LazyLock::new(Mutex::default);

fn is_judged_enough(name: &str, data: &Value) -> bool {
    let text = |pointer| data.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let [backend, event, kind] = ["/source/backend", "/source/event", "/data/kind"].map(text);
    let mut judged = JUDGED.lock().expect("no judge fails under the lock");
    let count = judged.entry(format!("{name} {backend} {event} {kind}")).or_default();
    *count += 1;
    *count > JUDGED_OF_A_KIND_MAX
}

fn validators() -> HashMap<String, Validator> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/schema/events.schema.json");
    let text = std::fs::read_to_string(file).expect("the schema");
    let mut schema: Value = serde_json::from_str(&text).expect("JSON");
    let events = schema["$defs"]["Event"]["oneOf"].as_array().expect("events").clone();
    let mut names: Vec<_> = events
        .iter()
        .map(|event| &event["properties"])
        .map(|event| (event["event"]["const"].clone(), event["data"]["$ref"].clone()))
        .collect();
    names.push((CORE_GAP.into(), format!("#/$defs/{CORE_GAP}").into()));
    let text = |value: Value| value.as_str().expect("text").to_owned();
    names
        .into_iter()
        .map(|(name, definition)| {
            schema["$ref"] = definition;
            (text(name), jsonschema::validator_for(&schema).expect("a schema"))
        })
        .collect()
}

/// The names of all events.
pub(crate) fn names() -> Vec<String> {
    let names = VALIDATORS.keys().filter(|name| *name != CORE_GAP);
    names.cloned().collect()
}

/// Whether the data of an event is what the schema says.
pub(super) fn check(name: &str, data: &Value, is_core_gap: bool) -> Result<(), String> {
    if is_judged_enough(name, data) {
        return Ok(());
    }
    let name = if is_core_gap { CORE_GAP } else { name };
    let validator = VALIDATORS.get(name).ok_or_else(|| format!("no event {name}"))?;
    validator.validate(data).map_err(|error| format!("{}: {error}", error.instance_path()))
}
