//! The console page: how it is served, and every action of it in a real browser.
//!
//! Chromium is driven by playwright-core from the files of `tests/console`; they tell this side
//! over a web server of its own what the backends shall do. Needs Chromium (`CHATMUX_CHROMIUM`
//! names it; `make test` installs it and sets that), `node` and `npm`.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, OnceLock};

use chatmux::scripted::{Conversation, Fault, Frame, Kind, On, Options, Step};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::support::{
    Act, Ask, Conf, Edge, Four, KEY, One, Relay, backend_with, demo, jane, npm, options, serve_web,
    source_name,
};

/// A run of the browser: dozens of actions, each under its own time-out. Two minutes and a half
/// where the machine has nothing else to do.
const BROWSER_SECS_MAX: u32 = 900;
const WHO: &str = "tenantId=acme&workflow=customer-support&participantId=jane";

fn with_console(conf: Conf) -> Conf {
    conf.line("admin: {address: \"127.0.0.1:0\", console: true}")
}

/// A proxy line in front of all four.
const PROXY: &str = "proxy: [\
    {path: /desk/, source: desk, to: /api/rest/}, {path: /agent/, source: agent}, \
    {path: /care/, source: care, to: /iamessage/api/v2/}, {path: /voice/, source: voice}]";

#[tokio::test]
async fn there_is_a_console_where_the_conf_says_so() {
    let one = One::start(Kind::Xians).await;
    let reply = one.edge.admin("/console/").await;
    assert_eq!(reply.head.status, 404);
    assert!(reply.text().contains("admin.console"), "{reply:?}");

    let one = One::start_with(Kind::Xians, |conf| {
        with_console(conf).line("proxy: [{path: /agent/, source: agent, to: /api/user/rest/}]")
    })
    .await;
    let streams = one.edge.streams();
    let moved = one.edge.admin("/console").await;
    assert_eq!((moved.head.status, moved.head.header("location")), (302, Some("console/")));
    let page = one.edge.admin("/console/").await;
    let header = |name: &str| page.head.header(name).unwrap_or_default().to_owned();
    assert_eq!(
        (page.head.status, header("content-type").as_str()),
        (200, "text/html; charset=utf-8")
    );
    let policy = header("content-security-policy");
    for part in [
        "default-src 'none'; script-src 'self'; style-src 'self';",
        &format!("connect-src 'self' http://{streams} http://localhost:{};", streams.port()),
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
    ] {
        assert!(policy.contains(part), "{part} in {policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    assert_eq!(header("x-content-type-options"), "nosniff");
    assert_eq!(header("referrer-policy"), "no-referrer");
    assert_eq!(page.head.header("access-control-allow-origin"), None);
    let text = page.text();
    for file in text.split('"').filter(|word| word.ends_with(".mjs") || word.ends_with(".css")) {
        let reply = one.edge.admin(&format!("/console/{file}")).await;
        assert_eq!(reply.head.status, 200, "{file}");
        assert_eq!(reply.head.header("x-content-type-options"), Some("nosniff"), "{file}");
    }
    for nothing in ["/console/nothing.mjs", "/console/../console/", "/consoles"] {
        assert_eq!(one.edge.admin(nothing).await.head.status, 404, "{nothing}");
    }
    let post = Ask::new("POST", "/console/".to_owned()).send(one.edge.admin_address()).await;
    assert_eq!((post.head.status, post.head.header("allow")), (405, Some("GET, HEAD")));
}

#[tokio::test]
async fn the_page_learns_of_the_conf_what_it_needs_and_no_secret() {
    let one = One::start_with(Kind::Xians, |conf| {
        with_console(conf)
            .route(", allow_errors_event: true, match: {tenant: acme}")
            .line("proxy: [{path: /agent/, source: agent, to: /api/user/rest/}]")
    })
    .await;
    let reply = one.edge.admin("/console/config.json").await;
    let mut about = reply.json();
    let types = about["messageTypes"].take();
    assert_eq!((types[0].as_str(), types.as_array().map(Vec::len)), (Some("Chat"), Some(20)));
    let controls = about["controlEvents"].take();
    assert_eq!(controls.as_array().map(Vec::len), Some(7));
    let want = json!({
        "listen": [format!("http://{}", one.edge.streams())],
        "routes": [{
            "path": "/events", "tenant": "acme", "workflow": null, "sources": ["agent"],
            "vocabulary": "full", "heartbeatSeconds": 5, "errorsEvent": true,
        }],
        "sources": [{"name": "agent", "backend": "xians"}],
        "proxy": [{"path": "/agent", "source": "agent", "to": "/api/user/rest", "takesPost": true}],
        "messageTypes": null,
        "controlEvents": null,
    });
    assert_eq!(about, want);
    for secret in ["sk-Xnai", "sha256", KEY] {
        assert!(!reply.text().contains(secret), "{secret}");
    }
    assert!(!reply.text().contains(&one.backend.addr().to_string()), "not its backends' addresses");
}

/// The files of `tests/console` with their packages.
fn workshop() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| npm("console", &[]))
}

/// Runs a file of tests with Node.
async fn node(file: &str, variables: &[(&str, String)]) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/edge/console/page");
    let child = Command::new("timeout")
        .arg(BROWSER_SECS_MAX.to_string())
        .args(["node", "--test", file])
        .current_dir(workshop())
        .env("CHATMUX_PAGE", page)
        .envs(variables.iter().map(|(name, value)| (*name, value)))
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let said = child.await.expect("node runs (Debian: nodejs)");
    let out = String::from_utf8_lossy(&said.stdout);
    assert!(
        said.status.success(),
        "{file}: {}\n{out}\n{}",
        said.status,
        String::from_utf8_lossy(&said.stderr)
    );
    assert!(out.contains("# pass") && !out.contains("# pass 0\n"), "{out}");
}

/// The browser's variables; `None` where no browser is named.
fn browser() -> Option<Vec<(&'static str, String)>> {
    let Ok(chromium) = std::env::var("CHATMUX_CHROMIUM") else {
        eprintln!("not run: CHATMUX_CHROMIUM names no browser");
        return None;
    };
    let shots = Path::new(env!("CARGO_TARGET_TMPDIR")).join("console-shots");
    std::fs::create_dir_all(&shots).expect("a folder");
    Some(vec![("CHATMUX_CHROMIUM", chromium), ("CHATMUX_SHOTS", shots.display().to_string())])
}

#[tokio::test]
async fn the_parts_that_decide_are_right_about_every_event() {
    node("state.test.mjs", &[]).await;
}

/// What the browser's side may ask of the backends and the network.
struct Stage {
    four: Four,
    relay: Relay,
}

impl Stage {
    fn of(&self, what: &Value) -> &chatmux::scripted::Backend {
        let name = what["source"].as_str().expect("a source");
        let kind = Kind::ALL.into_iter().find(|kind| source_name(*kind) == name);
        self.four.of(kind.expect("one of the four"))
    }

    async fn play(&self, act: &str, what: &Value) -> Value {
        let text = |name: &str| what[name].as_str().unwrap_or_default().to_owned();
        match act {
            "/step" => {
                let who = Conversation::new(Vec::new());
                self.of(what).speak(&jane(), &who, &step(&text("step"), text("text")));
            }
            "/push" => self.of(what).push(&jane(), Frame::new(text("event"), text("data"))),
            "/reset" => {
                self.of(what).fault_on(On::Path("history".to_owned()), 1, Fault::status(500));
                self.of(what).fault_live(Fault::Reset);
            }
            "/away" => {
                self.of(what).stop_listening().await;
                self.of(what).fault_live(Fault::Reset);
            }
            "/back" => self.of(what).listen_again().await,
            "/cut" => self.relay.cut(),
            "/requests" => {
                let requests = self.of(what).requests();
                let seen = requests.iter().filter(|request| request.method == "POST");
                let body = |body: &[u8]| String::from_utf8_lossy(body).into_owned();
                return seen.map(|request| json!([request.path(), body(&request.body)])).collect();
            }
            _ => panic!("no such act: {act}"),
        }
        json!({})
    }
}

fn step(name: &str, text: String) -> Step {
    match name {
        "queued" => Step::Queued { wait: std::time::Duration::from_secs(45), position: 2 },
        "bot_joins" => Step::BotJoins,
        "bot_says" => Step::BotSays(text),
        "bot_thinks" => Step::BotThinks(text),
        "streams" => Step::BotStreams(text),
        "says" => Step::AgentSays(text),
        "own" => Step::ParticipantSays(text),
        "delivered" => Step::ParticipantMessageDelivered,
        "read" => Step::ParticipantMessageRead,
        "handoff" => Step::HandoffToAgent { reason: text },
        "typing" => Step::AgentTyping,
        "stops" => Step::AgentStopsTyping,
        "file" => Step::AgentSendsFile { name: text, media_type: "application/pdf".to_owned() },
        "ended" => Step::Ended,
        _ => panic!("no such step: {name}"),
    }
}

#[tokio::test]
async fn every_action_of_the_console_works_in_a_browser() {
    let Some(mut variables) = browser() else {
        return;
    };
    let mut backends = Vec::new();
    for kind in Kind::ALL {
        // They beat: all of it takes longer than any of them may be silent.
        let options = Options { heartbeat: None, ..options(kind) };
        backends.push(backend_with(kind, options).await);
    }
    let conf = backends
        .iter()
        .fold(with_console(Conf::new()), Conf::backend)
        .line("cors: {allow_origins: [\"*\"]}")
        .line("replay: {linger: 60s}")
        .line(PROXY);
    let four = Four { backends, edge: Edge::start(&conf.yaml()).await };
    let relay = Relay::start(four.edge.streams(), vec![Act::Pass]).await;
    let address = relay.address();
    let console = format!("http://{}/console/", four.edge.admin_address());
    let shut = Edge::start(&with_console(Conf::new().backend(four.of(Kind::Xians))).yaml()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let control = format!("http://{}", listener.local_addr().expect("an address"));
    let stage = Arc::new(Stage { four, relay });
    let played = stage.clone();
    serve_web(listener, move |asked| {
        let stage = played.clone();
        async move {
            let what = serde_json::from_slice(&asked.body).unwrap_or_default();
            Some(("application/json", stage.play(&asked.path, &what).await.to_string()))
        }
    });
    variables.extend([
        ("CONSOLE", console),
        ("WHO", format!("{WHO}&apikey={KEY}")),
        ("CONTROL", control),
        ("RELAY", format!("http://{address}")),
        ("SHUT_CONSOLE", format!("http://{}/console/", shut.admin_address())),
        ("CHAT", jane().conversation),
    ]);
    node("actions.test.mjs", &variables).await;
    // Each source has passed every frame on, whatever the page did.
    stage.four.edge.check_law(&[]).await;
}

#[tokio::test]
async fn the_demo_shows_its_console_and_answers_what_is_written() {
    let Some(mut variables) = browser() else {
        return;
    };
    let console = |line: &str| line.contains("/console/#").then(|| line.trim().to_owned());
    let (_demo, url) = demo(console).await;
    variables.push(("CONSOLE", url));
    node("demo.test.mjs", &variables).await;
}
