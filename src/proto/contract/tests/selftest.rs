//! The events of a self-test: every field and every word that can be written, and each document.

use super::*;
use crate::proto::selftest::{
    About, ClientFrom, EndReason, HttpVersion, Plan, write_begin, write_end, write_probe,
};
use crate::proto::time::UnixMillis;

/// An event as the schema sees it. The wait before a browser comes back is no event's.
fn instance(bytes: &[u8]) -> Value {
    let text = std::str::from_utf8(bytes).expect("text");
    samples::parse(text.strip_prefix("retry: 3600000\n").unwrap_or(text))
}

/// Every event with every word, with and without what is optional.
fn all() -> Vec<Value> {
    let mut all = Vec::new();
    let mut add = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        all.push(instance(&out));
    };
    let plan = Plan::new(5);
    for (http, client_from) in HttpVersion::ALL
        .iter()
        .flat_map(|http| ClientFrom::ALL.iter().map(move |from| (*http, *from)))
    {
        for one in [None, Some("x".to_owned())] {
            let about = About {
                http,
                accept_encoding: one.clone(),
                has_last_event_id: one.is_some(),
                via: one,
                client_from,
                heartbeat_secs: 5,
            };
            add(&|out| write_begin(out, &plan, &about, UnixMillis(0)));
        }
    }
    for (at, step) in plan.steps().iter().enumerate() {
        add(&|out| write_probe(out, at + 1, 0, step));
    }
    for reason in EndReason::ALL {
        add(&|out| write_end(out, 0, *reason));
    }
    all
}

fn data_of(event: &Value) -> &'static Record {
    let name = event["event"].as_str().expect("a name");
    let found = SELF_TEST_EVENTS.iter().find(|(one, _)| *one == name);
    found.unwrap_or_else(|| panic!("{name} is no event of a self-test")).1
}

/// What of the tables is written.
pub(super) fn walk_all(seen: &mut BTreeSet<String>) {
    for event in all() {
        let name = event["event"].as_str().expect("a name");
        walk(data_of(&event).fields, &event["data"], name, seen);
    }
}

#[test]
fn what_is_written_is_valid_and_cannot_be_broken_unseen() {
    let validator = validator("SelfTestEvent");
    let (mut count, chats) = (0, super::validator("Event"));
    for event in all() {
        let errors: Vec<_> = validator.iter_errors(&event).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{event:#}: {errors:#?}");
        assert!(!chats.is_valid(&event), "it is no event of the vocabulary");
        let mut broken = Vec::new();
        golden::broken(data_of(&event).fields, &event, "/data", &mut broken);
        for (what, broken) in broken {
            count += 1;
            assert!(!validator.is_valid(&broken), "{what} passes: {event:#}");
        }
        let mut with_cursor = event.clone();
        with_cursor["id"] = "1.1.1".into();
        assert!(!validator.is_valid(&with_cursor), "none has an id line");
    }
    assert!(count > 500, "only {count} changes were tried");
    let refused = samples::all().into_iter().find(|sample| sample.event == REFUSED);
    let refused = refused.expect("a sample").instance();
    assert!(validator.is_valid(&refused), "with errors=event: {refused:#}");
}

/// Each event and each parameter stands in the documents, and a call takes what the stream does.
pub(super) fn check_documents(asyncapi: &Value, typescript: &str) {
    let reply = &asyncapi["operations"]["selftest"]["reply"]["messages"];
    for (name, data) in SELF_TEST_EVENTS {
        let message = &asyncapi["components"]["messages"][data.name];
        assert_eq!(message["name"], *name);
        let to = format!("#/channels/selftest/messages/{}", data.name);
        assert!(reply.as_array().expect("messages").contains(&serde_json::json!({"$ref": to})));
        assert!(typescript.contains(&format!("\n  {name}: {};", data.name)), "{name}");
    }
    let query = |operation: &str| {
        let query = &asyncapi["operations"][operation]["bindings"]["http"]["query"];
        query["properties"].as_object().expect("properties").clone()
    };
    let mut asked = query("selftest");
    for parameter in SELF_TEST_PARAMETERS {
        assert!(asked.remove(parameter.name).is_some(), "{}", parameter.name);
        assert!(typescript.contains(&format!("\n  {}?: ", parameter.name)), "{}", parameter.name);
    }
    assert_eq!(asked, query("open"));
}
