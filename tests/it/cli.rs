//! The commands beside `run`, as people use them.

use chatmux::scripted::Kind;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

use crate::support::{Client, One, Scratch, chatmux, chatmux_with, demo, say, sha256, soon};

const XIANS: &str = "event: connected\ndata: {\"message\":\"Connected\"}\n\n\
    event: Chat\ndata: {\"id\":\"a1\",\"participantId\":\"jane\",\"text\":\"Hi\",\"data\":null}\n\n\
    event: Chat\ndata: {\"id\":\"a2\",\"participantId\":\"john\",\"text\":\"Not hers\"}\n\n\
    event: Novelty\ndata: {\"id\":\"a3\",\"participantId\":\"jane\"}\n\n\
    event: heartbeat\ndata: {}\n\n";

/// The same input, from a file.
fn capture() -> (Scratch, String) {
    let scratch = Scratch::new();
    let path = scratch.write("capture.sse", XIANS);
    let path = path.to_str().expect("a path").to_owned();
    (scratch, path)
}

const NORMALIZE: [&str; 6] =
    ["normalize", "--backend", "xians", "--participant", "jane", "--deterministic"];

fn with<'a>(more: &[&'a str]) -> Vec<&'a str> {
    NORMALIZE.iter().copied().chain(more.iter().copied()).collect()
}

#[tokio::test]
async fn a_capture_is_normalized_the_same_way_at_every_run() {
    let (_scratch, path) = capture();
    let first = chatmux(&with(&[&path])).await;
    assert_eq!((first.code, first.err.as_str()), (0, ""), "{first:?}");
    let names: Vec<_> = first.out.lines().filter(|line| line.starts_with("event: ")).collect();
    assert_eq!(names, ["event: Chat", "event: Raw"]);
    assert!(first.out.contains("\"createdAt\":\"1970-01-01T00:00:00.000Z\""), "{}", first.out);
    assert!(first.out.contains("\"id\":\"m2\""), "minted ids count what leaves: {}", first.out);
    let second = chatmux(&with(&[&path])).await;
    assert_eq!(first.out, second.out);
    let from_input = chatmux_with(&with(&[]), XIANS, &[]).await;
    assert_eq!(first.out, from_input.out);
    let (half, rest) = XIANS.split_at(100);
    let scratch = Scratch::new();
    let files = [scratch.write("1", half), scratch.write("2", rest)];
    let files = files.each_ref().map(|path| path.to_str().expect("a path"));
    assert_eq!(chatmux(&with(&files)).await.out, first.out, "several files are one input");
}

#[tokio::test]
async fn each_frame_is_explained_and_all_are_counted() {
    let (_scratch, path) = capture();
    let said = chatmux(&with(&["--explain", &path])).await;
    assert_eq!(said.code, 0);
    let lines: Vec<_> = said.err.lines().collect();
    assert_eq!(lines.len(), 6, "{}", said.err);
    assert!(lines[0].starts_with("1 connected -> discarded: control ("), "{}", lines[0]);
    assert_eq!(lines[1], "2 Chat -> Chat");
    assert!(lines[2].starts_with("3 Chat -> discarded: foreign ("), "{}", lines[2]);
    assert_eq!(lines[3], "4 Novelty -> Raw");
    assert!(lines[4].starts_with("5 heartbeat -> discarded: liveness ("), "{}", lines[4]);
    assert!(lines[5].starts_with("received=5 mapped=2 discarded=3 "), "{}", lines[5]);
    let dropped = chatmux(&with(&["--explain", "--unmapped", "drop", &path])).await;
    assert!(dropped.err.contains("4 Novelty -> discarded: unmapped"), "{}", dropped.err);
    let chats = chatmux(&with(&["--types", "Data", "--vocabulary", "core", &path])).await;
    assert_eq!(chats.out, "", "no Data is among them");
}

#[tokio::test]
async fn the_exit_code_says_whether_the_capture_could_be_read() {
    let said = chatmux(&with(&["/no/such/capture"])).await;
    assert_eq!((said.code, said.out.as_str()), (1, ""));
    assert!(said.err.contains("/no/such/capture"), "{}", said.err);
    let rubbish = chatmux_with(&with(&[]), "rubbish\u{0}\n\n\n: nothing", &[]).await;
    assert_eq!((rubbish.code, rubbish.out.as_str()), (0, ""));
    let backend = chatmux(&["normalize", "--backend", "nonsense", "--participant", "jane"]).await;
    assert_eq!(backend.code, 2);
    assert!(backend.err.contains("openfire"), "{}", backend.err);
    assert_eq!(chatmux(&["normalize", "--backend", "xians"]).await.code, 2);
    assert_eq!(chatmux(&with(&["--types", "chat"])).await.code, 2);
    assert_eq!(chatmux(&["nonsense"]).await.code, 2);
    assert_eq!(chatmux(&[]).await.code, 2);
    for args in
        [["--help"].as_slice(), &["--version"], &["run", "--help"], &["normalize", "--help"]]
    {
        let said = chatmux(args).await;
        assert_eq!(said.code, 0, "{args:?}");
        assert!(!said.out.is_empty());
    }
}

#[tokio::test]
async fn every_fixture_is_normalized_as_it_is_written_beside_it() {
    // What the dialects' own tests compare in pieces, through the command, for one of each.
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut count = 0;
    for backend in ["openfire", "xians", "salesforce", "brightpattern"] {
        let files = std::fs::read_dir(folder.join(backend)).expect("fixtures");
        for file in files.map(|file| file.expect("a file").path()) {
            if file.extension().is_none_or(|extension| extension != "in") {
                continue;
            }
            let path = file.to_str().expect("a path");
            let args =
                ["normalize", "--backend", backend, "--participant", "nobody", "--deterministic"];
            let said = chatmux(&[&args[..], &["--explain", path]].concat()).await;
            assert_eq!(said.code, 0, "{path}: {}", said.err);
            let last = said.err.lines().last().unwrap_or_default();
            let number = |name: &str| -> u64 {
                let rest = last.split_once(&format!("{name}=")).map(|(_, rest)| rest);
                let digits = rest.and_then(|rest| rest.split(' ').next());
                digits.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{path}: {last}"))
            };
            assert_eq!(
                number("received"),
                number("mapped") + number("discarded"),
                "{path}: {last}"
            );
            count += 1;
        }
    }
    assert!(count >= 8, "{count} fixtures");
}

#[tokio::test]
async fn a_key_is_shown_once_with_the_digest_for_the_conf() {
    let said = chatmux(&["key", "--label", "widget", "--tenant", "acme"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let key = said.out.split_whitespace().find(|word| word.starts_with("cmx_")).expect("a key");
    assert!(key.len() >= 40, "{key}");
    assert!(said.out.contains(&sha256(key)), "{}", said.out);
    assert_eq!(said.out.matches(key).count(), 1);
    let again = chatmux(&["key"]).await;
    assert!(!again.out.contains(key));
    // The entry is good YAML, and the key opens what it says.
    let entry = said.out.lines().find_map(|line| line.trim().strip_prefix("- ")).expect("an entry");
    let one =
        One::start_with(Kind::Xians, |conf| conf.auth(&format!("{{api_keys: [{entry}]}}"))).await;
    one.edge.open(&Client::new("jane").query("apikey", key)).await.expect("connected").await;
    one.edge.ask(&Client::new("jane")).await.refuses(401, "Unauthorized", "");
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn keys_of_a_conf_are_listed_without_their_secrets() {
    let made = chatmux(&["key", "new", "--label", "made", "--workflow", "c-.*"]).await;
    assert_eq!(made.code, 0, "{made:?}");
    let entry = made.out.lines().find_map(|line| line.trim().strip_prefix("- ")).expect("an entry");
    let old = format!("{{label: old, sha256: \"{}\", expires: 2020-01-01}}", sha256("old"));
    let scratch = Scratch::new();
    let yaml = format!(
        "listen: [{{address: \"127.0.0.1:0\"}}]\nauth: {{api_keys: [{entry}, {old}]}}\n\
         sources: {{agent: {{backend: xians, api_key: \"{{query.k}}\", url: \"http://127.0.0.1:1\"}}}}\n\
         routes: [{{path: /e, sources: [agent]}}]\n"
    );
    let conf = scratch.write("edge.yaml", &yaml);
    let conf = conf.to_str().expect("a path");
    let said = chatmux(&["key", "list", "-c", conf]).await;
    assert_eq!(said.code, 0, "{said:?}");
    let lines: Vec<_> = said.out.lines().collect();
    assert_eq!(lines.len(), 3, "{}", said.out);
    assert!(lines[1].starts_with("made ") && lines[1].contains("c-.*"), "{}", said.out);
    assert!(lines[2].contains("(over)") && lines[2].contains(&sha256("old")[..12]), "{}", said.out);
    assert!(!said.out.contains(&sha256("old")), "the start of a digest is enough");
    let said = chatmux(&["key", "list", "-c", conf, "--format", "json"]).await;
    let keys: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    assert_eq!((&keys[0]["isExpired"], &keys[1]["isExpired"]), (&false.into(), &true.into()));
    let none = chatmux(&["key", "list", "-c", "/nowhere/edge.yaml"]).await;
    assert_eq!(none.code, 1, "{none:?}");
    let usage = chatmux(&["key", "list"]).await;
    assert_eq!(usage.code, 2, "{usage:?}");
}

#[tokio::test]
async fn the_tail_of_a_stream_is_printed_to_its_end() {
    let one = One::start_with(Kind::BrightPattern, |conf| conf.line("replay: {linger: 1h}")).await;
    say(&one.backend, "first words");
    let url = format!("http://{}{}", one.edge.streams(), Client::new("jane").target());
    let who = chatmux::scripted::Conversation::new(Vec::new());
    one.backend.speak(&crate::support::jane(), &who, &chatmux::scripted::Step::Ended);
    let said = chatmux(&["tail", "--once", &url]).await;
    assert_eq!(said.code, 1, "the stream ended, and it was to be followed once: {said:?}");
    let names: Vec<_> = said.out.lines().filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(names.first(), Some(&"connected"), "{}", said.out);
    assert_eq!(names.last(), Some(&"disconnected"), "{}", said.out);
    assert!(said.out.contains("first words"), "{}", said.out);
    // Who comes again is told to stop, and does.
    let whole = chatmux(&["tail", &url]).await;
    assert_eq!((whole.code, whole.out.as_str()), (0, ""), "{whole:?}");
    let refused = chatmux(&["tail", "--once", "-H", "X-API-Key: nonsense", &url]).await;
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("401"), "{refused:?}");
    one.check_law().await;
}

#[tokio::test]
async fn the_demo_shows_all_four_backends_and_ends() {
    let said = chatmux(&["demo", "--seconds", "6"]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("curl -N 'http://127.0.0.1:"), "{}", said.out);
    for backend in ["openfire", "xians", "salesforce", "brightpattern"] {
        let chats =
            said.out.lines().filter(|line| line.contains(backend) && line.contains(" Chat "));
        assert!(chats.count() >= 1, "{backend} says nothing:\n{}{}", said.out, said.err);
    }
    assert!(said.out.contains("source_up") && !said.out.contains("source_down"), "{}", said.out);
    assert!(!said.out.contains('\u{1b}'), "colours are for terminals");
}

#[tokio::test]
async fn the_demo_is_a_stream_that_others_can_read_too() {
    let curl = |line: &str| {
        let url = line.trim().strip_prefix("curl -N '")?;
        Some(url.trim_end_matches('\'').to_owned())
    };
    let (mut demo, url) = demo(curl).await;
    let target = url.splitn(4, '/').nth(3).map(|rest| format!("/{rest}")).expect("a path");
    let host = url.split('/').nth(2).and_then(|host| host.parse().ok()).expect("an address");
    let head = crate::support::Ask::new("HEAD", target).send(host).await;
    assert_eq!(
        (head.head.status, head.head.header("content-type")),
        (200, Some("text/event-stream"))
    );
    let pid = demo.id().expect("it runs").to_string();
    let stopped = Command::new("kill").args(["-TERM", &pid]).status().await.expect("kill runs");
    assert!(stopped.success());
    let status = soon("the demo ends", demo.wait()).await.expect("a status");
    assert_eq!(status.code(), Some(0));
}

#[tokio::test]
async fn a_tail_waits_out_a_refusal_and_goes_on() {
    let one =
        One::start_with(Kind::Xians, |conf| conf.line("limits: {address: {opens: 6/m, burst: 1}}"))
            .await;
    // Takes what there is of the limit.
    let _first = one.edge.open(&Client::new("jane")).await;
    let url = format!("http://{}{}", one.edge.streams(), Client::new("jane").target());
    let mut tail = Command::new(env!("CARGO_BIN_EXE_chatmux"))
        .args(["tail", &url])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary runs");
    let mut out = BufReader::new(tail.stdout.take().expect("a pipe")).lines();
    let mut err = BufReader::new(tail.stderr.take().expect("a pipe")).lines();
    let lost = soon("it is refused", err.next_line()).await.expect("a line").expect("it runs");
    // As long as it says, which depends on how fast the first one came.
    let secs = lost.split("\"retryAfter\":\"").nth(1).and_then(|rest| rest.split('"').next());
    let wait = format!("again in {}.0 s", secs.expect("a pause"));
    assert!(lost.contains("lost: 429") && lost.contains(&wait), "{lost}");
    let first = soon("it goes on", out.next_line()).await.expect("a line").expect("it runs");
    assert!(first.starts_with("connected "), "{first}");
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn contracts_are_printed_as_they_are_committed() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    for (what, file) in [
        ("conf", "docs/schema/conf.schema.json"),
        ("configuration", "docs/configuration.md"),
        ("events", "docs/schema/events.schema.json"),
        ("asyncapi", "docs/schema/asyncapi.json"),
        ("typescript", "docs/schema/chatmux.ts"),
    ] {
        let said = chatmux(&["schema", what]).await;
        let committed = std::fs::read_to_string(root.join(file)).expect("a file");
        assert_eq!((said.code, said.out == committed), (0, true), "{file} is another");
    }
    assert_eq!(chatmux(&["schema", "nothing"]).await.code, 2);
}

#[tokio::test]
async fn shells_complete_every_command_and_each_has_a_page() {
    let commands = [
        "run",
        "demo",
        "check",
        "normalize",
        "tail",
        "selftest",
        "key",
        "schema",
        "completions",
        "man",
    ];
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let said = chatmux(&["completions", shell]).await;
        assert_eq!(said.code, 0, "{said:?}");
        for command in commands {
            assert!(said.out.contains(command), "{shell} does not know {command}");
        }
    }
    let script = chatmux(&["completions", "bash"]).await.out;
    let scratch = Scratch::new();
    let path = scratch.write("chatmux.bash", &script);
    let status = Command::new("bash").arg("-n").arg(&path).status().await.expect("bash");
    assert!(status.success(), "bash reads it");
    assert_eq!(chatmux(&["completions", "tcsh"]).await.code, 2, "usage");

    let page = chatmux(&["man"]).await.out;
    assert!(page.contains(".TH") && page.contains("normalize"), "{page}");
    for command in commands {
        let said = chatmux(&["man", command]).await;
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.out.contains(&format!("chatmux\\-{command}")), "{}", said.out);
    }
    let below = chatmux(&["man", "key", "list"]).await;
    assert!(below.code == 0 && below.out.contains("chatmux\\-key\\-list"), "{below:?}");
    let beyond = chatmux(&["man", "run", "nothing"]).await;
    assert!(beyond.code == 1 && beyond.err.contains("there are none"), "{beyond:?}");
    let unknown = chatmux(&["man", "nothing"]).await;
    assert_eq!(unknown.code, 1);
    assert!(unknown.err.contains("normalize"), "{unknown:?}");
}
