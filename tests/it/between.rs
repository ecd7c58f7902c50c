//! Real proxies between client and edge: nginx and HAProxy, as Debian has them.
//!
//! "At once" is shown by causality: the backend says the next thing only when the last was heard.
//! The confs of the operator's guide are run as they stand there, with addresses and certificates
//! of the test. Not here: browsers behind a proxy (`browser`), PROXY headers by hand (`doors`).

use std::net::SocketAddr;
use std::path::Path;

use chatmux::scripted::{Backend, Kind};
use serde_json::Value;

use crate::shipped::blocks;
use crate::support::{
    Client, Conf, Edge, EventSource, Front, One, Scratch, backend, chatmux, chatmux_with, say, soon,
};
use crate::tls::{Curl, certificate};

/// As many events as show that it is no chance.
const EVENTS: usize = 5;
/// What nginx needs to pass everything on, and nothing else.
const PLAIN: &str = "location / { proxy_pass http://EDGE; }";

fn nginx(edge: &Edge, inside: &str) -> String {
    let inside = inside.replace("EDGE", &edge.streams().to_string());
    format!("    server {{ listen LISTEN; {inside} }}")
}

fn haproxy(edge: &Edge, defaults: &str, backend: &str) -> String {
    format!(
        "defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n{defaults}\n\
         frontend chat\n  bind LISTEN\n  default_backend chatmux\n\
         backend chatmux\n{backend}\n  server edge {}\n",
        edge.streams()
    )
}

async fn open(front: &Front, client: &Client) -> EventSource {
    let opened = EventSource::connect(front.address, client, None);
    soon("a stream through a proxy", opened).await.unwrap_or_else(|why| panic!("{why}"))
}

/// Each event is heard before the backend says the next one.
async fn hear_at_once(stream: &mut EventSource, backend: &Backend) {
    for number in 0..EVENTS {
        let text = format!("event {number}");
        say(backend, &text);
        stream.chat(&text).await;
    }
}

/// The check of a self-test, by name, with its verdict; and whether all is well.
struct Tested {
    json: Value,
    code: i32,
}

impl Tested {
    async fn through(front: &Front, idle: u64) -> Self {
        let url = format!("http://{}{}", front.address, Client::new("jane").target());
        let idle = idle.to_string();
        let said = chatmux(&["selftest", "--idle", &idle, "--format", "json", &url]).await;
        let json = serde_json::from_str(&said.out);
        Self { json: json.unwrap_or_else(|_| panic!("no JSON: {said:?}")), code: said.code }
    }

    fn of(&self, check: &str) -> (&str, &str) {
        let checks = self.json["checks"].as_array().expect("checks");
        let found = checks.iter().find(|one| one["check"] == check);
        let found = found.unwrap_or_else(|| panic!("no {check}: {}", self.json));
        (found["verdict"].as_str().expect("a word"), found["text"].as_str().expect("a text"))
    }

    /// These checks are bad, each with these words in its text, and no other is.
    #[track_caller]
    fn is_bad(&self, wants: &[(&str, &str)]) {
        for check in ["open", "buffering", "compression", "silence", "cursor", "address"] {
            let (verdict, text) = self.of(check);
            let want = wants.iter().find(|(name, _)| *name == check);
            assert_eq!(verdict == "bad", want.is_some(), "{check}: {}", self.json);
            assert!(want.is_none_or(|(_, words)| text.contains(words)), "{text}");
        }
        assert_eq!(self.code, i32::from(!wants.is_empty()));
        assert_eq!(self.json["ok"], wants.is_empty());
    }
}

#[tokio::test]
async fn events_come_at_once_through_nginx_as_it_comes_and_with_buffering_off() {
    let one = One::start(Kind::Xians).await;
    let direct = one.edge.open(&Client::new("jane")).await;
    assert_eq!(direct.head.header("x-accel-buffering"), Some("no"), "what nginx goes by");
    let off = "location / { proxy_pass http://EDGE; proxy_http_version 1.1; \
               proxy_set_header Connection \"\"; proxy_buffering off; }";
    for inside in [PLAIN, off] {
        let front = Front::nginx(&nginx(&one.edge, inside), &[]).await;
        let mut stream = open(&front, &Client::new("jane")).await;
        stream.all_up(&["agent"]).await;
        hear_at_once(&mut stream, &one.backend).await;
        let tested = Tested::through(&front, 1).await;
        tested.is_bad(&[]);
        assert!(tested.of("buffering").1.contains("when they are sent"), "{}", tested.json);
    }
    one.check_law().await;
}

#[tokio::test]
async fn a_proxy_that_buffers_or_compresses_is_found_out() {
    let one = One::start(Kind::Xians).await;
    let buffers = "location / { proxy_pass http://EDGE; \
                   proxy_ignore_headers X-Accel-Buffering; }";
    let front = Front::nginx(&nginx(&one.edge, buffers), &[]).await;
    Tested::through(&front, 1).await.is_bad(&[("buffering", "something between buffers")]);

    let squeezes = "gzip on; gzip_types text/event-stream; gzip_proxied any; \
                    location / { proxy_pass http://EDGE; }";
    let front = Front::nginx(&nginx(&one.edge, squeezes), &[]).await;
    Tested::through(&front, 1).await.is_bad(&[("compression", "gzip")]);

    let swallows = "location / { proxy_pass http://EDGE; proxy_set_header Last-Event-ID \"\"; }";
    let front = Front::nginx(&nginx(&one.edge, swallows), &[]).await;
    Tested::through(&front, 0).await.is_bad(&[("cursor", "does not get through")]);
    // Nobody asked a backend for anything.
    assert_eq!(one.backend.now().connections, 0);
    one.check_law().await;
}

#[tokio::test]
async fn a_proxy_that_cuts_silent_streams_is_found_out_and_heartbeats_keep_it_from_it() {
    let one = One::start(Kind::Xians).await;
    let nginx_cuts = "location / { proxy_pass http://EDGE; proxy_read_timeout 1500ms; }";
    let front = Front::nginx(&nginx(&one.edge, nginx_cuts), &[]).await;
    let tested = Tested::through(&front, 4).await;
    tested.is_bad(&[("silence", "of silence")]);
    assert!(tested.of("silence").1.contains("cut after 1."), "{}", tested.json);

    let conf = haproxy(&one.edge, "  timeout server 1500ms", "");
    let front = Front::haproxy(&conf, &[]).await;
    let tested = Tested::through(&front, 4).await;
    tested.is_bad(&[("silence", "of silence")]);
    assert!(tested.of("silence").1.contains("cut after 1."), "{}", tested.json);

    let mut stream = open(&front, &beating()).await;
    stream.all_up(&["agent"]).await;
    for _ in 0..3 {
        stream.next_of(&["heartbeat"]).await;
    }
    hear_at_once(&mut stream, &one.backend).await;
    one.check_law().await;
}

#[tokio::test]
async fn events_come_at_once_through_haproxy_which_compresses_none_of_them() {
    let one = One::start(Kind::Xians).await;
    let compresses = "  compression algo gzip\n  compression type text/event-stream";
    for (defaults, backend) in [("", ""), ("", compresses), ("  option http-no-delay", "")] {
        let defaults = format!("  timeout server 60s\n{defaults}");
        let front = Front::haproxy(&haproxy(&one.edge, &defaults, backend), &[]).await;
        let mut stream = open(&front, &Client::new("jane")).await;
        stream.all_up(&["agent"]).await;
        hear_at_once(&mut stream, &one.backend).await;
        let tested = Tested::through(&front, 1).await;
        tested.is_bad(&[]);
        // It lets the kernel wait for more, unless it is told not to.
        if !defaults.contains("http-no-delay") {
            let (verdict, text) = tested.of("buffering");
            assert_eq!(verdict, "note", "{text}");
            assert!(tested.json.to_string().contains("option http-no-delay"), "{}", tested.json);
        }
    }
    one.check_law().await;
}

#[tokio::test]
async fn a_client_that_leaves_a_proxy_leaves_the_edge_and_its_upstream() {
    let one = One::start(Kind::Xians).await;
    // nginx passes it on at once. HAProxy does when it has something to write: a heartbeat.
    for (front, client) in [
        (Front::nginx(&nginx(&one.edge, PLAIN), &[]).await, Client::new("jane")),
        (Front::haproxy(&haproxy(&one.edge, "  timeout server 60s", ""), &[]).await, beating()),
    ] {
        let mut stream = open(&front, &client).await;
        stream.all_up(&["agent"]).await;
        stream.close();
        one.edge.until_open(0).await;
        let gone = one.backend.wait_for(|now| now.live_streams == 0);
        soon("the upstream is let go", gone).await;
    }
    one.check_law().await;
}

#[tokio::test]
async fn a_client_that_nginx_lets_go_when_it_is_reloaded_comes_back_to_every_event_once() {
    let one = One::start_with(Kind::Xians, |conf| conf.line("replay: {linger: 60s}")).await;
    let mut front = Front::nginx(&nginx(&one.edge, PLAIN), &[]).await;
    let mut stream = open(&front, &Client::new("jane")).await;
    stream.all_up(&["agent"]).await;
    say(&one.backend, "before");
    stream.chat("before").await;
    front.reload(&nginx(&one.edge, &format!("# another\n {PLAIN}")));
    say(&one.backend, "meanwhile");
    // The old worker has a second for its streams.
    let rest = stream.until_cut().await;
    assert!(rest.iter().all(|event| event.name == "Chat"), "{rest:?}");
    say(&one.backend, "while away");
    let cursor = stream.last_event_id().to_owned();
    assert!(front.is_running());
    let mut back = open(&front, &Client::new("jane").after(&cursor)).await;
    assert_eq!(back.expect("connected").await.data["resumed"], true);
    say(&one.backend, "after");
    let mut heard: Vec<_> = rest.iter().map(|event| event.at("/text").to_owned()).collect();
    while heard.last().is_none_or(|last| last != "after") {
        heard.push(back.message().await.at("/text").to_owned());
    }
    assert_eq!(heard, ["meanwhile", "while away", "after"]);
    one.check_law().await;
}

/// Whose stream always has something to write soon: that is when HAProxy tells that it has left.
fn beating() -> Client {
    Client::new("jane").query("heartbeatSeconds", "1")
}

/// Three streams opened from two addresses, where each may open one: what each is answered.
async fn budgets(to: SocketAddr, scheme: &str) -> [u16; 3] {
    let mut statuses = [0; 3];
    for (status, from) in statuses.iter_mut().zip(["127.0.0.2", "127.0.0.2", "127.0.0.3"]) {
        let args = ["-k", "--interface", from];
        let mut curl = Curl::start_as(&beating(), &args, scheme, to);
        let line = curl.status().await;
        let code = line.split(' ').nth(1).and_then(|code| code.parse().ok());
        *status = code.unwrap_or_else(|| panic!("no status: {line}"));
    }
    statuses
}

const ONE_EACH: &str = "limits: {address: {opens: 1/h, burst: 1}}";

#[tokio::test]
async fn haproxy_names_the_client_by_the_proxy_protocol_with_tls_and_without() {
    let (cert, key) = certificate().await;
    let backend = backend(Kind::Xians).await;
    let conf = Conf::new().backend(&backend).line("trusted_proxies: [127.0.0.1/32]").line(ONE_EACH);
    for (tls, scheme) in [("", "http"), (", tls: {cert: cert.pem, key: key.pem}", "https")] {
        let listen = format!("{{address: \"127.0.0.1:0\", proxy_protocol: true{tls}}}");
        let yaml = conf.clone().listen(&listen).yaml();
        let files = [("cert.pem", cert.as_str()), ("key.pem", key.as_str())];
        let edge = Edge::start_with(&yaml, &files, &[]).await;
        // The second conf of the guide.
        let (_, text) = conf_of_the_guide("haproxy", 1);
        let text = replaced(&text, "bind :443", "bind LISTEN");
        let text = replaced(&text, "127.0.0.1:8443", &edge.streams().to_string());
        let front = Front::haproxy(&text, &[]).await;
        assert_eq!(budgets(front.address, scheme).await, [200, 429, 200], "{scheme}");
        edge.check_law(&[]).await;
    }
}

#[tokio::test]
async fn the_header_that_a_proxy_writes_names_the_client_and_no_other_does() {
    let one = One::start_with(Kind::Xians, |conf| {
        conf.line("trusted_proxies: [127.0.0.1/32]")
            .line("forwarded_header: forwarded")
            .line(ONE_EACH)
    })
    .await;
    let sets = "  http-request set-header Forwarded \"for=%[src]\"";
    let front = Front::haproxy(&haproxy(&one.edge, "  timeout server 60s", sets), &[]).await;
    let forged = Client::new("jane")
        .header("X-Forwarded-For", "203.0.113.9")
        .header("Forwarded", "for=203.0.113.9");
    for (from, want) in [(2, 200), (2, 429), (3, 200)] {
        let ask = forged.ask("GET").from(from);
        let (_, head) = soon("an answer", ask.start(front.address, None)).await.expect("a head");
        assert_eq!(head.status, want, "from 127.0.0.{from}");
    }
    one.check_law().await;
}

#[tokio::test]
async fn the_confs_of_the_operators_guide_work_as_they_stand_there() {
    let (cert, key) = certificate().await;
    let both = format!("{cert}{key}");
    let files = [("cert.pem", cert.as_str()), ("key.pem", &key), ("both.pem", &both)];
    for name in ["nginx", "haproxy"] {
        let one = One::start_with(Kind::Xians, |conf| {
            conf.line("trusted_proxies: [127.0.0.1/32]").line(ONE_EACH)
        })
        .await;
        let (_, text) = conf_of_the_guide(name, 0);
        let text = replaced(&text, "127.0.0.1:8080", &one.edge.streams().to_string());
        let front = if name == "nginx" {
            let text = replaced(&text, "listen 443", "listen LISTEN");
            let text = replaced(&text, "/etc/nginx/tls/chat.pem", "FOLDER/cert.pem");
            let text = replaced(&text, "/etc/nginx/tls/chat.key", "FOLDER/key.pem");
            Front::nginx(&text, &files).await
        } else {
            let text = replaced(&text, "bind :443", "bind LISTEN");
            let text = replaced(&text, "/etc/haproxy/chat.pem", "FOLDER/both.pem");
            Front::haproxy(&text, &files).await
        };
        // HTTP/2 towards the client, as browsers speak it.
        let options = ["-k", "--http2", "--interface", "127.0.0.4"];
        let mut curl = Curl::start_as(&beating(), &options, "https", front.address);
        assert!(curl.status().await.starts_with("HTTP/2 200"), "{name}: {}", curl.seen);
        curl.until("event: source_up").await;
        for number in 0..EVENTS {
            say(&one.backend, &format!("event {number}"));
            curl.until(&format!("\"event {number}\"")).await;
        }
        assert_eq!(budgets(front.address, "https").await, [200, 429, 200], "{name}");
        // A page that trusts the certificate tests the same way.
        let port = front.address.port();
        let url = format!("https://localhost:{port}{}", Client::new("jane").target());
        let trusted = Scratch::new();
        let ca = trusted.write("ca.pem", &cert);
        let variables = [("SSL_CERT_FILE", ca.to_str().expect("a path"))];
        let args = ["selftest", "--idle", "5", "--format", "json", &url];
        let said = chatmux_with(&args, "", &variables).await;
        assert_eq!(said.code, 0, "{name}: {said:?}");
        assert!(said.out.contains("a trusted proxy tells the edge"), "{name}: {said:?}");
        drop(curl);
        one.edge.until_open(0).await;
        one.check_law().await;
    }
}

/// A conf of the guide that says which file it is.
fn conf_of_the_guide(language: &str, at: usize) -> (usize, String) {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operating.md");
    let page = std::fs::read_to_string(page).expect("the guide");
    let confs =
        blocks(&page, language).into_iter().filter(|(_, text)| text.starts_with("# file: "));
    confs.into_iter().nth(at).unwrap_or_else(|| panic!("no {language} conf in the guide"))
}

#[track_caller]
fn replaced(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from} is not in {text}");
    text.replace(from, to)
}
