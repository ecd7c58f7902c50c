//! The contracts for clients before foreign judges: the TypeScript compiler, the AsyncAPI parser,
//! and Node for the reader in the docs.
//!
//! The packages are those of `tests/contracts` (`support::npm`). The JSON Schema is judged beside
//! its code, and by `support::schema` on the events that all tests hear.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;

use chatmux::scripted::Kind;
use serde_json::{Value, json};

use crate::shipped::{blocks, pages};
use crate::support::{Ask, Client, KEY, One, Scratch, npm, run, say, soon};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The folder with the packages, the samples and the types in it.
fn workshop() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| npm("contracts", &["docs/schema/chatmux.ts"]))
}

/// What the compiler says of files in a folder of the workshop.
fn tsc(files: &[String]) -> String {
    let mut command = vec!["node", "node_modules/typescript/bin/tsc", "--strict", "--noEmit"];
    command.extend(["--exactOptionalPropertyTypes", "--noUncheckedIndexedAccess"]);
    // Libraries are not ours to check.
    command.extend(["--skipLibCheck", "--target", "es2022", "--module", "esnext"]);
    command.extend(["--moduleResolution", "bundler", "--lib", "es2022,dom,dom.iterable"]);
    command.extend(files.iter().map(String::as_str));
    let said = run(workshop(), &command, "");
    let out = String::from_utf8_lossy(&said.stdout).into_owned();
    let err = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success() == out.is_empty() && err.is_empty(), "tsc: {err}{out}");
    out
}

#[test]
fn the_types_compile_with_a_client_of_every_event() {
    assert_eq!(tsc(&["client.ts".to_owned()]), "");
}

#[test]
fn the_types_refuse_each_thing_that_clients_get_wrong() {
    let text = std::fs::read_to_string(root().join("tests/contracts/wrong.ts")).expect("a sample");
    let marked = text.lines().enumerate().filter(|(_, line)| line.contains("; // wrong: "));
    let want: Vec<_> = marked.map(|(at, _)| (at + 1).to_string()).collect();
    assert!(want.len() >= 15, "{want:?}");
    let said = tsc(&["wrong.ts".to_owned()]);
    let found = said.lines().filter_map(|line| line.strip_prefix("wrong.ts("));
    let mut lines: Vec<_> =
        found.filter_map(|line| line.split(',').next()).map(str::to_owned).collect();
    lines.dedup();
    assert_eq!(lines, want, "{said}");
}

#[test]
fn the_examples_of_the_docs_compile() {
    let mut files = Vec::new();
    for page in pages() {
        let text = std::fs::read_to_string(&page).expect("a page");
        let name = page.file_stem().expect("a name").to_string_lossy().into_owned();
        for (line, block) in blocks(&text, "ts") {
            let file = format!("docs-{name}-{line}.ts");
            std::fs::write(workshop().join(&file), block).expect("a file");
            files.push(file);
        }
    }
    assert!(files.len() >= 9, "{files:?}");
    assert_eq!(tsc(&files), "");
}

fn asyncapi(document: &Value) -> Value {
    let said = run(workshop(), &["node", "asyncapi.mjs"], &document.to_string());
    let err = String::from_utf8_lossy(&said.stderr);
    assert!(said.status.success(), "{err}");
    serde_json::from_slice(&said.stdout).expect("JSON")
}

#[test]
fn the_asyncapi_document_is_one_to_its_own_parser() {
    let text = std::fs::read_to_string(root().join("docs/schema/asyncapi.json")).expect("a file");
    let document: Value = serde_json::from_str(&text).expect("JSON");
    let found = asyncapi(&document);
    assert_eq!(found["findings"], json!([]));
    assert_eq!(found["version"], "3.0.0");
    let stream = "/api/user/sse/events";
    let below = ["selftest", "ticket"].map(|name| format!("{stream}/{name}"));
    assert_eq!(found["channels"], json!(["/streams/close", below[0], stream, below[1]]));
    let messages = found["messages"].as_array().expect("messages");
    let has = |id: &str, name: &str, kind: &str| messages.contains(&json!([id, name, kind]));
    for name in ["connected", "gap", "refused", "Chat", "Token", "Raw"] {
        assert!(has(name, name, "object"), "{name}: {messages:?}");
    }
    assert!(has("CoreTyping", "Data", "object") && has("CoreGap", "Data", "object"));
    // Less what opens a stream, the two calls with their answers and the refusal, and the events of
    // the self-test.
    let events = messages.len() - 6 - 3;
    let operations =
        [("close", 1), ("events", events), ("open", 1), ("selftest", 1), ("ticket", 1)];
    let action = |name| if name == "events" { "send" } else { "receive" };
    let operations: Vec<_> =
        operations.iter().map(|(name, count)| json!([name, action(*name), count])).collect();
    assert_eq!(found["operations"], json!(operations));
    assert_eq!(found["security"], json!(["access_token", "apiKey", "apikey", "bearer", "ticket"]));
    let query = found["query"].as_array().expect("parameters");
    assert!(query.contains(&json!("participantId")) && query.contains(&json!("errors")));
}

#[tokio::test]
async fn calls_are_asked_and_answered_as_the_asyncapi_document_says() {
    let text = std::fs::read_to_string(root().join("docs/schema/asyncapi.json")).expect("a file");
    let document: Value = serde_json::from_str(&text).expect("JSON");
    let check = |name: &str, body: &Value, want: bool| {
        let payload = &document["components"]["messages"][name]["payload"];
        let validator = jsonschema::validator_for(payload).expect("a schema");
        assert_eq!(validator.is_valid(body), want, "{name}: {body}");
    };
    let one = One::start(Kind::Xians).await;
    let client = Client::new("jane");
    let mut stream = one.edge.open(&client).await;
    stream.all_up(&["agent"]).await;
    let target = client.without("apikey").target().replacen('?', "/ticket?", 1);
    let ask = |key: &str| Ask::new("POST", target.clone()).header("X-API-Key", key);
    let ticket = ask(KEY).send(one.edge.streams()).await;
    assert_eq!(ticket.head.status, 200, "{ticket:?}");
    check("Ticket", &ticket.json(), true);
    check("Refusal", &ask("nonsense").send(one.edge.streams()).await.json(), true);
    for (body, want) in [
        (json!({"participantId": "jane"}), 400),
        (json!({"issuer": "i"}), 400),
        (json!({"tenantId": "acme"}), 400),
        (json!({"key": 1}), 400),
        (json!({"key": "k", "more": "k"}), 400),
        (json!({}), 400),
        (json!({"subject": "s", "issuer": "i"}), 200),
        (json!({"key": "no such key"}), 200),
        (json!({"participantId": "jane", "tenantId": "acme"}), 200),
    ] {
        let close = Ask::new("POST", "/streams/close".to_owned());
        let close = close.header("Content-Type", "application/json").body(body.to_string());
        let closed = close.send(one.edge.admin_address()).await;
        assert_eq!(closed.head.status, want, "{body}");
        check("Close", &body, want == 200);
        check(if want == 200 { "Closed" } else { "Refusal" }, &closed.json(), true);
    }
    stream.next_of(&["disconnected"]).await;
    one.check_law().await;
}

/// The events of an answer, as the JSON Schema sees them.
fn events(text: &str) -> Vec<Value> {
    let blocks = text.split_terminator("\n\n").map(|block| {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
        let data = field("data: ").expect("data");
        let data: Value = serde_json::from_str(data).expect("JSON");
        json!({"event": field("event: ").expect("a name"), "data": data})
    });
    blocks.collect()
}

#[tokio::test]
async fn a_self_test_is_asked_and_answered_as_the_documents_say() {
    let read = |file: &str| -> Value {
        let text = std::fs::read_to_string(root().join("docs/schema").join(file));
        serde_json::from_str(&text.expect("a file")).expect("JSON")
    };
    let (mut schema, document) = (read("events.schema.json"), read("asyncapi.json"));
    schema["$ref"] = "#/$defs/SelfTestEvent".into();
    let event = jsonschema::validator_for(&schema).expect("a schema");
    // What the document has the call answered with, by the names of the events.
    let operation = &document["operations"]["selftest"];
    let target = |reference: &Value| {
        let pointer = reference["$ref"].as_str().expect("a reference").trim_start_matches('#');
        document.pointer(pointer).expect("its target")
    };
    let answers = operation["reply"]["messages"].as_array().expect("messages").iter();
    let answers: Vec<_> = answers.map(|answer| target(target(answer))).collect();
    let judge = |name: &str, data: &Value| {
        let answer = answers.iter().find(|answer| answer["name"] == name);
        let answer = answer.unwrap_or_else(|| panic!("{name} is not answered"));
        let mut schema = answer["payload"].clone();
        schema["components"] = document["components"].clone();
        let validator = jsonschema::validator_for(&schema).expect("a schema");
        let errors: Vec<_> = validator.iter_errors(data).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{name}: {data:#}: {errors:?}");
    };

    let one = One::start_with(Kind::Xians, |conf| conf.route(", allow_errors_event: true")).await;
    let address = target(&operation["channel"])["address"].as_str().expect("an address");
    let stream = document["channels"]["stream"]["address"].as_str().expect("an address");
    let path = address.replace(stream, "/events");
    let told = &operation["bindings"]["http"];
    let jane = Client::new("jane").path(&path).query("idle", "1").query("errors", "event");
    let asked = jane.target();
    for parameter in asked.split_once('?').expect("a query").1.split('&') {
        let name = parameter.split('=').next().expect("a name");
        assert!(!told["query"]["properties"][name].is_null(), "{name} is not told");
    }
    assert_eq!(told["method"], "GET");
    let ask = async |client: Client| {
        let asked = client.ask("GET").header("Last-Event-ID", "x").header("Via", "1.1 between");
        asked.header("Accept-Encoding", "gzip").send(one.edge.streams()).await
    };
    let answered = ask(jane.clone()).await;
    assert_eq!(answered.head.status, 200, "{answered:?}");
    let heard = events(&answered.text());
    let names: Vec<_> = heard.iter().map(|event| event["event"].as_str().expect("text")).collect();
    assert_eq!((names.len(), names[0], names[14]), (15, "begin", "end"));
    assert!(names[1..14].iter().all(|name| *name == "probe"), "{names:?}");
    assert_eq!(heard[0]["data"]["request"]["via"], "1.1 between", "{heard:?}");
    let refused = ask(jane.query("apikey", "nonsense")).await;
    assert_eq!(refused.head.status, 200, "told in a stream");
    let refused = events(&refused.text());
    assert_eq!(refused[0]["event"], "refused");
    for heard in heard.iter().chain(&refused) {
        assert!(event.is_valid(heard), "{heard:#}");
        judge(heard["event"].as_str().expect("a name"), &heard["data"]);
    }
    let plain = ask(Client::new("jane").path(&path).query("idle", "long")).await;
    assert_eq!(plain.head.status, 400, "{plain:?}");
    judge("refusal", &plain.json());
}

#[test]
fn the_asyncapi_parser_finds_what_is_broken() {
    let text = std::fs::read_to_string(root().join("docs/schema/asyncapi.json")).expect("a file");
    let good: Value = serde_json::from_str(&text).expect("JSON");
    let breaks: [&dyn Fn(&mut Value); 3] = [
        &|document| document["operations"]["open"]["action"] = "take".into(),
        &|document| {
            let payload = &mut document["components"]["messages"]["Chat"]["payload"];
            *payload = json!({"$ref": "#/components/schemas/Nothing"});
        },
        &|document| document["components"]["schemas"]["Role"]["enum"] = "agent".into(),
    ];
    for change in breaks {
        let mut document = good.clone();
        change(&mut document);
        assert_ne!(asyncapi(&document)["findings"], json!([]), "{document:#}");
    }
}

#[tokio::test]
async fn the_reader_for_fetch_in_the_docs_reads_events_and_refusals() {
    let page = std::fs::read_to_string(root().join("docs/events.md")).expect("the page");
    let reader = blocks(&page, "js").into_iter().find(|(_, code)| code.contains("function follow"));
    let (_, reader) = reader.expect("the reader");
    let one = One::start(Kind::Xians).await;
    let client = Client::new("jane");
    let url = format!("http://{}{}", one.edge.streams(), client.target());
    // It tells what it hears, and stops by itself at the second message.
    let script = format!(
        "{reader}
const stop = new AbortController();
const onEvent = (name, data) => {{
  console.log(name, data.text ?? data.resumed ?? '');
  if (data.text === 'second') stop.abort();
}};
await follow({url:?}, {{ token: {KEY:?}, onEvent, signal: stop.signal }});
const refused = follow({url:?}, {{ token: 'nonsense', onEvent }});
console.log('refused', await refused.catch((error) => error.message));
"
    );
    let scratch = Scratch::new();
    let script = scratch.write("follow.mjs", &script);
    let mut node = tokio::process::Command::new("node")
        .arg(script)
        .stdout(Stdio::piped())
        .stderr(Stdio::inherit())
        .kill_on_drop(true)
        .spawn()
        .expect("node runs (Debian: nodejs)");
    let out = node.stdout.take().expect("a pipe");
    let mut lines = tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(out));
    let mut next = async |wanted: &str| {
        loop {
            let line = soon(wanted, lines.next_line()).await.expect("a pipe");
            let line = line.unwrap_or_else(|| panic!("it ended before {wanted}"));
            if line.starts_with(wanted) {
                return line;
            }
        }
    };
    assert_eq!(next("connected").await, "connected false");
    next("source_up").await;
    say(&one.backend, "first");
    assert_eq!(next("Chat").await, "Chat first");
    say(&one.backend, "second");
    assert_eq!(next("Chat").await, "Chat second");
    let refused = next("refused").await;
    assert!(refused.starts_with("refused 401: "), "{refused}");
    assert!(soon("it ends", node.wait()).await.expect("a status").success());
    one.check_law().await;
}
