//! Log lines: for people and machines, with traces, without repeats and without anybody's data.

use chatmux::scripted::{Fault, Kind, On};
use serde_json::Value;

use crate::support::{Client, Edge, KEY, One, say};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";

/// Streams to a backend that is down; each has its own line in a naive log.
const CROWD: usize = 40;

#[tokio::test]
async fn machines_get_fields_as_keys_of_their_own() {
    let one =
        One::start_with(Kind::Xians, |conf| conf.line("log: {level: debug, format: json}")).await;
    let mut client = one.edge.open(&Client::new("jane").header("traceparent", PARENT)).await;
    let request_id = client.head.header("x-request-id").expect("an id").to_owned();
    client.all_up(&["agent"]).await;
    say(&one.backend, "private words");
    client.chat("private words").await;
    client.close();
    let line = one.edge.logged("stream ended").await;
    let line: Value = serde_json::from_str(&line).expect("a line of JSON");
    assert_eq!(line["message"], "stream ended");
    assert_eq!(line["target"], "chatmux::access");
    assert_eq!((&line["level"], &line["route"]), (&"info".into(), &"/events".into()));
    assert_eq!((&line["request_id"], &line["trace_id"]), (&request_id.into(), &TRACE.into()));
    assert_eq!((&line["reason"], &line["events"]), (&"client_gone".into(), &1.into()));
    assert!(line["bytes"].as_u64().is_some_and(|bytes| bytes > 100), "{line}");
    assert!(line["duration_secs"].is_f64(), "{line}");
    one.backend.fault_on(On::Events, usize::MAX, Fault::Reset);
    let _other = one.edge.open(&Client::new("john")).await;
    let line = one.edge.logged("source is down").await;
    let line: Value = serde_json::from_str(&line).expect("a line of JSON");
    assert_eq!((&line["level"], &line["source"]), (&"warn".into(), &"agent".into()), "{line}");
    assert!(line["reason"].is_string() && line["retry_secs"].is_u64(), "{line}");
    for line in one.edge.log().lines() {
        let json: Value = serde_json::from_str(line).unwrap_or_else(|_| panic!("no JSON: {line}"));
        assert!(json["time"].is_string() && json["message"].is_string(), "{line}");
    }
    let log = one.edge.log();
    for secret in ["jane", "john", "private words", KEY, "sk-Xnai"] {
        assert!(!log.contains(secret), "{secret} is logged: {log}");
    }
    one.check_law().await;
}

#[tokio::test]
async fn a_trace_goes_on_to_the_backend_under_another_span() {
    let one = One::start(Kind::Xians).await;
    let mut first = one.edge.open(&Client::new("jane").header("traceparent", PARENT)).await;
    first.all_up(&["agent"]).await;
    let sent = one.backend.requests();
    let traces: Vec<_> = sent.iter().filter_map(|request| request.header("traceparent")).collect();
    assert!(!traces.is_empty(), "{sent:?}");
    for trace in traces {
        let parts: Vec<_> = trace.split('-').collect();
        assert_eq!((parts[0], parts[1], parts[3]), ("00", TRACE, "01"), "{trace}");
        assert_ne!(parts[2], "b7ad6b7169203331", "another span");
    }
    // Who comes to share the stream has a trace of its own, in its access line.
    let mut second = one.edge.open(&Client::new("jane")).await;
    second.all_up(&["agent"]).await;
    second.close();
    let line = one.edge.logged("stream ended").await;
    assert!(!line.contains("trace_id"), "{line}");
    one.check_law().await;
}

#[tokio::test]
async fn what_is_no_trace_is_not_passed_on() {
    let one = One::start(Kind::Xians).await;
    let forged = "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01";
    let mut client = one.edge.open(&Client::new("jane").header("traceparent", forged)).await;
    client.all_up(&["agent"]).await;
    let sent = one.backend.requests();
    assert!(sent.iter().all(|request| request.header("traceparent").is_none()), "{sent:?}");
    one.check_law().await;
}

#[tokio::test]
async fn a_dead_backend_writes_a_few_lines_whoever_waits_for_it() {
    let one = One::start(Kind::Xians).await;
    one.backend.fault_on(On::Events, usize::MAX, Fault::Reset);
    let mut clients = Vec::new();
    for number in 0..CROWD {
        clients.push(one.edge.open(&Client::new(&format!("person-{number}"))).await);
    }
    for client in &mut clients {
        client.next_of(&["source_down"]).await;
    }
    let told = lines(&one.edge, "source is down");
    // As many as are told of one reason, and there may be two.
    assert!((1..=10).contains(&told), "{told} lines for {CROWD} streams: {}", one.edge.log());
    one.edge.check_law(&[]).await;
}

/// Every line that our code can write, with the level where it is fixed.
fn written() -> Vec<String> {
    let call = r#"(?s)log::(?:error|warn|info|debug|trace|log)!\(([^;]*;)??\s*"([^"]*)"\s*,?\s*\)"#;
    let call = regex::Regex::new(call).expect("an expression");
    let begun = regex::Regex::new(r"log::(?:error|warn|info|debug|trace|log)!\(").expect("one");
    let mut folders = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src")];
    let mut messages = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).expect("a source file");
            let found: Vec<_> = call.captures_iter(&text).map(|one| one[2].to_owned()).collect();
            let all = begun.find_iter(&text).count();
            assert_eq!(found.len(), all, "{}: a line without a plain message", path.display());
            messages.extend(found);
        }
    }
    messages.sort();
    messages.dedup();
    messages
}

#[test]
fn no_line_holds_a_value_in_its_message_and_each_stands_in_the_docs() {
    let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operating.md");
    let page = std::fs::read_to_string(page).expect("a page");
    let table = page.split_once("\n## Log lines\n").expect("a section").1;
    let table = table.split_once("\n## ").expect("an end").0;
    let messages = written();
    assert!(messages.len() >= 25, "{messages:#?}");
    for message in messages {
        assert!(!message.contains('{'), "what varies is a field: {message}");
        assert!(table.contains(&format!("`{message}`")), "no row for: {message}");
    }
}

#[tokio::test]
async fn what_rotates_log_files_ends_nothing() {
    let one = One::start(Kind::Xians).await;
    let mut client = one.edge.open(&Client::new("jane")).await;
    client.all_up(&["agent"]).await;
    one.edge.signal("USR1").await;
    one.edge.logged("SIGUSR1: there is no log file to reopen").await;
    say(&one.backend, "still here");
    client.chat("still here").await;
    one.check_law().await;
}

#[tokio::test]
async fn what_is_odd_about_a_conf_is_logged_by_file_line_and_path() {
    let one =
        One::start_with(Kind::Xians, |conf| conf.line("log: {level: info, format: json}")).await;
    let line = one.edge.logged("configuration is odd").await;
    let line: Value = serde_json::from_str(&line).expect("a line of JSON");
    assert_eq!((&line["level"], &line["path"]), (&"warn".into(), &"sources.agent.api_key".into()));
    assert!(line["line"].is_u64() && line["column"].is_u64(), "{line}");
    assert!(line["file"].as_str().is_some_and(|file| file.ends_with("chatmux.yaml")), "{line}");
    assert!(line["warning"].as_str().is_some_and(|text| text.starts_with("a secret stands")));
    one.edge.check_law(&[]).await;
}

fn lines(edge: &Edge, what: &str) -> usize {
    edge.log().lines().filter(|line| line.contains(what)).count()
}
