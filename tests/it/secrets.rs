//! Planted credentials, a busy process that logs all it can, and a look at every byte it wrote.

use chatmux::scripted::{Fault, Kind, On};

use crate::support::{Ask, Client, Conf, Edge, KEY, Scratch, backend, chatmux_with, say, send_raw};

/// Credentials and names, each found nowhere else.
const KEY_UNKNOWN: &str = "cmx_planted-unknown-key";
const TOKEN: &str = "eyJhbGciOiJIUzI1NiJ9.planted-token-claims.planted-token-signature";
const JWT_SECRET: &str = "planted-jwt-secret-of-more-than-thirty-two-bytes";
const COOKIE: &str = "planted-cookie";
const HEADER: &str = "planted-header-of-the-client";
const PARAMETER: &str = "planted-parameter-of-the-client";
const BROKEN: &str = "planted-literal-in-a-broken-conf";
const PERSON: &str = "planted-participant";
const TEXT: &str = "planted-text-of-a-message";
const OPENFIRE_PASSWORD: &str = "planted-password";

/// What belongs to clients: no backend is told.
const OF_CLIENTS: [&str; 7] = [KEY, KEY_UNKNOWN, TOKEN, JWT_SECRET, COOKIE, HEADER, PARAMETER];
/// What belongs to sources: only theirs is told.
const OF_SOURCES: [&str; 5] =
    ["openfire-token", "sk-Xnai-upstream", "salesforce-token", OPENFIRE_PASSWORD, "planted-app-id"];

#[track_caller]
fn check_clean(what: &str, bytes: &str) {
    for secret in OF_CLIENTS.iter().chain(&OF_SOURCES).chain(&[BROKEN, PERSON, TEXT]) {
        if let Some(at) = bytes.find(secret) {
            let line = bytes[..at].rfind('\n').map_or(0, |start| start + 1);
            let line: String = bytes[line..].chars().take(300).collect();
            panic!("{what} holds {secret}: {line}");
        }
    }
    assert!(!bytes.contains("planted-token"), "{what} holds a part of the token");
}

fn conf(backends: &[chatmux::scripted::Backend], format: &str) -> Conf {
    let auth = format!(
        "{{api_keys: [{{label: tests, sha256: \"{}\"}}], jwt: [{{issuer: i, algorithms: [HS256], \
         secret: \"${{env:JWT_SECRET}}\"}}]}}",
        crate::support::sha256(KEY)
    );
    let conf = backends.iter().fold(Conf::new(), Conf::backend);
    conf.auth(&auth)
        .entry(
            "login",
            format!(
                "login: {{backend: openfire, url: \"{}\", optional: true, \
                 login: {{username: \"{{query.user}}\", password: \"${{env:PASSWORD}}\"}}}}",
                backends[0].url()
            ),
        )
        .entry(
            "app",
            "app: {backend: brightpattern, url: \"http://127.0.0.1:1\", app_id: planted-app-id, \
             tenant_url: a.example.com, chat: \"{query.none}\", optional: true}"
                .to_owned(),
        )
        .line(&format!("log: {{level: trace, format: {format}}}"))
        .line("timeouts: {head: 500ms}")
        .line("trusted_proxies: [127.0.0.0/8]")
        .line("limits: {subject: {concurrent: 20}}")
}

/// A client that brings everything it has.
fn browser(participant: &str) -> Client {
    Client::new(participant)
        .header("Cookie", &format!("session={COOKIE}"))
        .header("X-Secret", HEADER)
        .header("Referer", &format!("https://app.example.com/?key={PARAMETER}"))
        .header("X-Forwarded-For", "203.0.113.7")
        .query("secret", PARAMETER)
        .query("user", PERSON)
}

/// Everything that can go wrong and right, once. Gives the bodies of all refusals.
async fn be_busy(edge: &Edge, backends: &[chatmux::scripted::Backend]) -> String {
    let to = edge.streams();
    let mut bodies = String::new();
    let mut stream = edge.open(&browser("jane")).await;
    stream.all_up(&["desk", "agent", "care", "voice"]).await;
    for backend in backends {
        say(backend, TEXT);
    }
    for _ in backends {
        stream.chat(TEXT).await;
    }
    let person = edge.open(&browser(PERSON)).await;
    for asked in [
        browser("jane").query("apikey", KEY_UNKNOWN),
        browser("jane").without("apikey").header("X-API-Key", KEY_UNKNOWN),
        browser("jane").without("apikey").query("access_token", TOKEN),
        browser("jane").header("Authorization", &format!("Bearer {TOKEN}")),
        browser(PERSON).query("types", "Nope"),
        browser(PERSON).query("workflow", "\0"),
        browser(PERSON).path("/other"),
        browser(PERSON).path("//events"),
    ] {
        let reply = edge.ask(&asked).await;
        assert!(reply.head.status >= 400, "{reply:?}");
        bodies.push_str(&format!("{:?}\n{}\n", reply.head, reply.text()));
    }
    for bytes in [
        format!("GET /events?apikey={KEY} {PARAMETER} HTTP/1.1\r\nHost: x\r\n\r\n"),
        format!("GET /events?apikey={KEY} HTTP/1.1\r\nHost: x\r\nX-A: {HEADER}\0\r\n\r\n"),
        format!("GET /events?apikey={KEY} HTTP/1.1\r\nX-API-Key: {KEY}\r\n\r\n"),
        format!("GET http://{KEY}@y/events HTTP/1.1\r\nHost: x\r\nX-API-Key: {KEY}\r\n\r\n"),
        format!("POST /events?apikey={KEY} HTTP/1.1\r\nHost: x\r\nContent-Length: {KEY}\r\n\r\n"),
        format!("GET /events?apikey={KEY} HTTP/1.1\r\nX-API-Key: {KEY}\r\n"),
        format!("GET /events?apikey={KEY}&x={}", "x".repeat(70_000)),
        format!("{KEY}\r\n\r\n"),
        format!("\x16\x03\x01{KEY}"),
    ] {
        if let Some(reply) = send_raw(to, bytes.as_bytes()).await {
            bodies.push_str(&format!("{:?}\n{}\n", reply.head, reply.text()));
        }
    }
    // A client that leaves in the middle of everything.
    edge.open(&browser(PERSON).query("scope", "x")).await.reset();
    for backend in backends {
        backend.fault_on(On::Events, 1, Fault::status(401));
        backend.fault_live(Fault::CloseMidEvent);
    }
    backends[0].push_bytes(format!("data: {{\"broken\": \"{TEXT}\n\n").as_bytes());
    stream.next_of(&["source_down"]).await;
    drop(person);
    bodies
}

async fn check(format: &str, rust_log: Option<&str>) {
    let mut backends = Vec::new();
    for kind in [Kind::Openfire, Kind::Xians, Kind::Salesforce, Kind::BrightPattern] {
        backends.push(backend(kind).await);
    }
    let conf = conf(&backends, format);
    let mut variables = vec![("JWT_SECRET", JWT_SECRET), ("PASSWORD", OPENFIRE_PASSWORD)];
    variables.extend(rust_log.map(|level| ("RUST_LOG", level)));
    let mut edge = Edge::start_with(&conf.yaml(), &[], &variables).await;
    let bodies = be_busy(&edge, &backends).await;
    check_clean("the answers to clients", &bodies);
    let broken = conf.yaml().replace("listen:", &format!("lisen: {BROKEN}\nlisten:"));
    let told = edge.reload(&broken).await;
    assert!(told.contains("refused"), "{told}");
    for path in ["/metrics", "/streams", "/ready", "/live", "/", &format!("/x?apikey={KEY}")] {
        let reply = edge.admin(path).await;
        check_clean(path, &format!("{:?}\n{}", reply.head, reply.text()));
    }
    for method in ["POST", "DELETE", "OPTIONS"] {
        let ask = Ask::new(method, format!("/events?apikey={KEY}")).header("X-API-Key", KEY);
        let reply = ask.send(edge.streams()).await;
        check_clean(method, &format!("{:?}\n{}", reply.head, reply.text()));
    }
    edge.signal("TERM").await;
    assert_eq!(edge.wait_exit().await, 0);
    let log = edge.log();
    assert!(log.lines().count() > 10, "it logs: {log}");
    let is_told = log.contains("subject=") || log.contains("\"subject\":");
    assert!(is_told, "whose it was is told by a hash: {log}");
    check_clean("the log", &log);
    for backend in &backends {
        for request in backend.requests() {
            let shown = format!("{request:?}");
            for secret in OF_CLIENTS {
                assert!(!shown.contains(secret), "{:?} is told {secret}: {shown}", backend.kind());
            }
        }
    }
}

#[tokio::test]
async fn a_busy_process_that_logs_all_it_can_writes_no_secret() {
    check("text", None).await;
}

#[tokio::test]
async fn nor_does_one_whose_operator_wants_to_hear_everything() {
    check("json", Some("trace")).await;
}

#[tokio::test]
async fn commands_that_read_a_conf_tell_no_secret_of_it() {
    let scratch = Scratch::new();
    let base = "listen: [{address: \"127.0.0.1:0\"}]\nauth: {anonymous: true}\n";
    let source = |more: &str| {
        format!(
            "{base}sources: {{a: {{backend: xians, url: \"http://x\", {more}}}}}\n\
                 routes: [{{path: /e, sources: [a]}}]\n"
        )
    };
    for (yaml, code) in [
        (source(&format!("api_key: {BROKEN}")), 0),
        (source(&format!("api_key: {BROKEN}, bearer: {BROKEN}")), 1),
        (source(&format!("api_key: [{BROKEN}]")), 1),
        (source(&format!("api_kee: {BROKEN}")), 1),
        (source(&format!("api_key: \"{BROKEN}\\n\"")), 1),
        (source(&format!("api_key: \"${{env:X}}{BROKEN}\"")), 1),
        (source("api_key: \"${env:PLANTED}\""), 0),
    ] {
        let conf = scratch.write("c.yaml", &yaml).display().to_string();
        for format in ["text", "json"] {
            let args = ["check", "-c", &conf, "--format", format];
            let said = chatmux_with(&args, "", &[("PLANTED", BROKEN)]).await;
            assert_eq!(said.code, code, "{yaml}: {said:?}");
            check_clean("check", &format!("{}{}", said.out, said.err));
        }
    }
}
