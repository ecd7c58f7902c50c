//! Backends behind TLS: verified, with a certificate authority of one's own, shown a certificate
//! of ours, spoken to in HTTP/2.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use chatmux::scripted::{Kind, Options};
use pingora::tls::ssl::{
    AlpnError, Ssl, SslAcceptor, SslAcceptorBuilder, SslFiletype, SslMethod, SslVerifyMode,
    select_next_proto,
};
use pingora::tls::tokio_ssl::SslStream;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{broadcast, watch};

use crate::support::{Ask, Client, Conf, Edge, KEY, Scratch, backend_with, read_until, say, soon};

/// A certificate for `localhost` that only itself vouches for.
pub(crate) fn self_signed(scratch: &Scratch, name: &str) {
    let (key, cert) = (format!("{name}.key"), format!("{name}.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-keyout", &key, "-out", &cert])
        .current_dir(scratch.path())
        .output()
        .expect("openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

pub(crate) fn acceptor(folder: &Path) -> SslAcceptorBuilder {
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).expect("TLS");
    acceptor.set_private_key_file(folder.join("edge.key"), SslFiletype::PEM).expect("a key");
    acceptor.set_certificate_chain_file(folder.join("edge.pem")).expect("a certificate");
    acceptor
}

async fn accept(acceptor: &SslAcceptor, socket: TcpStream) -> Option<SslStream<TcpStream>> {
    let ssl = Ssl::new(acceptor.context()).expect("a session");
    let mut near = SslStream::new(ssl, socket).expect("a stream");
    // Who does not trust the certificate hangs up here.
    Pin::new(&mut near).accept().await.ok().map(|()| near)
}

/// TLS in front of a backend.
pub(crate) async fn terminate(acceptor: SslAcceptorBuilder, target: SocketAddr) -> SocketAddr {
    let acceptor = Arc::new(acceptor.build());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Some(mut near) = accept(&acceptor, socket).await else { return };
                let mut far = TcpStream::connect(target).await.expect("the backend");
                let _ended = tokio::io::copy_bidirectional(&mut near, &mut far).await.is_ok();
            });
        }
    });
    address
}

/// A source that trusts `edge.pem`, with more options in `tls` and beside it.
fn trusting(scratch: &Scratch, name: &str, at: SocketAddr, tls: &str, more: &str) -> String {
    let ca = scratch.path().join("edge.pem");
    format!(
        "{name}: {{backend: xians, url: \"https://localhost:{}\", api_key: sk-Xnai-tests, \
         tls: {{ca: \"{}\"{tls}}}{more}}}",
        at.port(),
        ca.display()
    )
}

/// What is told first of each of these sources: its name, the event, the reason.
async fn first_told(edge: &Edge, count: usize) -> Vec<[String; 3]> {
    let mut client = edge.open(&Client::new("jane")).await;
    let mut told: Vec<[String; 3]> = Vec::new();
    while told.len() < count {
        let event = client.next_of(&["source_up", "source_down"]).await;
        if !told.iter().any(|[source, ..]| source == event.source()) {
            let reason = event.at("/reason").to_owned();
            told.push([event.source().to_owned(), event.name.clone(), reason]);
        }
    }
    told.sort();
    told
}

#[tokio::test]
async fn a_backend_behind_tls_is_read_where_its_authority_is_trusted() {
    let scratch = Scratch::new();
    self_signed(&scratch, "edge");
    let agent = backend_with(Kind::Xians, Options::default()).await;
    let tls = terminate(acceptor(scratch.path()), agent.addr()).await;
    let plain = format!(
        "plain: {{backend: xians, url: \"https://localhost:{}\", api_key: sk-Xnai-tests}}",
        tls.port()
    );
    let other = trusting(&scratch, "other", tls, ", sni: other.example.com", "");
    let conf = Conf::new()
        .entry("trusted", trusting(&scratch, "trusted", tls, "", ""))
        .entry("other", other)
        .entry("plain", plain);
    let proxies = "proxy: [{path: /trusted, source: trusted}, {path: /plain, source: plain}]";
    let edge = Edge::start(&conf.line(proxies).yaml()).await;
    let call = |path: &str| {
        let who = "tenantId=acme&workflow=w&participantId=jane";
        Ask::get(format!("{path}/health?{who}&apikey={KEY}"))
    };
    let reply = call("/trusted").send(edge.streams()).await;
    assert_eq!((reply.head.status, reply.text().as_str()), (200, "Healthy"));
    call("/plain").send(edge.streams()).await.refuses(502, "Bad Gateway", "reached");
    let told = first_told(&edge, 3).await;
    let row = |row: [&str; 3]| row.map(str::to_owned);
    assert_eq!(
        told,
        [
            row(["other", "source_down", "tls"]),
            row(["plain", "source_down", "tls"]),
            row(["trusted", "source_up", ""])
        ]
    );
    let mut client = edge.open(&Client::new("jane")).await;
    client.all_up(&["trusted"]).await;
    say(&agent, "through TLS");
    client.chat("through TLS").await;
    edge.check_law(&[]).await;
}

#[tokio::test]
async fn a_backend_that_wants_a_certificate_is_shown_the_one_of_its_source() {
    let scratch = Scratch::new();
    for name in ["edge", "ours", "theirs"] {
        self_signed(&scratch, name);
    }
    let agent = backend_with(Kind::Xians, Options::default()).await;
    let mut acceptor = acceptor(scratch.path());
    acceptor.set_ca_file(scratch.path().join("ours.pem")).expect("an authority");
    acceptor.set_verify(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
    let tls = terminate(acceptor, agent.addr()).await;
    let shown = |name: &str| {
        let file = |end: &str| scratch.path().join(format!("{name}.{end}")).display().to_string();
        format!(", client_cert: \"{}\", client_key: \"{}\"", file("pem"), file("key"))
    };
    let conf = Conf::new()
        .entry("known", trusting(&scratch, "known", tls, &shown("ours"), ""))
        .entry("unknown", trusting(&scratch, "unknown", tls, &shown("theirs"), ""))
        .entry("without", trusting(&scratch, "without", tls, "", ""));
    let edge = Edge::start(&conf.yaml()).await;
    let told = first_told(&edge, 3).await;
    let events: Vec<_> = told.iter().map(|[source, event, _]| (&source[..], &event[..])).collect();
    let wanted = [("known", "source_up"), ("unknown", "source_down"), ("without", "source_down")];
    assert_eq!(events, wanted, "{told:?}");
    edge.check_law(&[]).await;

    // A key of another certificate is told before anything is dialled.
    let mixed = shown("ours").replace("ours.key", "theirs.key");
    let conf = Conf::new().entry("mixed", trusting(&scratch, "mixed", tls, &mixed, ""));
    let log = edge.reload(&conf.yaml()).await;
    assert!(log.contains("sources.mixed.tls.client_key"), "{log}");
    assert!(log.contains("this key does not belong to the certificate"), "{log}");
}

/// A backend that speaks XiansAi's stream in HTTP/2 alone.
struct Http2 {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
    streams: watch::Receiver<usize>,
    frames: broadcast::Sender<Bytes>,
    cut: broadcast::Sender<()>,
    /// Authority, path and `accept` of each request.
    asked: Arc<std::sync::Mutex<Vec<[String; 3]>>>,
}

impl Http2 {
    async fn start(folder: &Path) -> Self {
        let mut acceptor = acceptor(folder);
        acceptor.set_alpn_select_callback(|_, offered| {
            select_next_proto(b"\x02h2", offered).ok_or(AlpnError::ALERT_FATAL)
        });
        let acceptor = Arc::new(acceptor.build());
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (count, streams) = watch::channel(0);
        let backend = Self {
            address: listener.local_addr().expect("an address"),
            connections: Arc::default(),
            streams,
            frames: broadcast::channel(16).0,
            cut: broadcast::channel(1).0,
            asked: Arc::default(),
        };
        let (connections, asked) = (backend.connections.clone(), backend.asked.clone());
        let (frames, cut) = (backend.frames.clone(), backend.cut.clone());
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let Some(near) = accept(&acceptor, socket).await else { continue };
                connections.fetch_add(1, Ordering::SeqCst);
                let (asked, frames, count) = (asked.clone(), frames.clone(), count.clone());
                let mut cut = cut.subscribe();
                tokio::spawn(async move {
                    tokio::select! {
                        () = serve(near, &asked, &frames, &count) => {}
                        _ = cut.recv() => {}
                    }
                });
            }
        });
        backend
    }

    fn say(&self, id: &str, participant: &str, text: &str) {
        let frame = format!(
            "event: Chat\ndata: {{\"id\":\"{id}\",\"participantId\":\"{participant}\",\
             \"text\":\"{text}\"}}\n\n"
        );
        self.frames.send(frame.into()).expect("somebody listens");
    }
}

async fn serve(
    near: SslStream<TcpStream>,
    asked: &std::sync::Mutex<Vec<[String; 3]>>,
    frames: &broadcast::Sender<Bytes>,
    count: &watch::Sender<usize>,
) {
    let mut connection = h2::server::handshake(near).await.expect("HTTP/2");
    let mut streams = tokio::task::JoinSet::new();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let uri = request.uri();
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        let accept = request.headers().get("accept").and_then(|value| value.to_str().ok());
        let row = [authority, uri.path().to_owned(), accept.unwrap_or_default().to_owned()];
        asked.lock().expect("no poison").push(row);
        let is_events = uri.path().ends_with("/events");
        let kind = if is_events { "text/event-stream" } else { "application/json" };
        let response = http::Response::builder().header("content-type", kind).body(()).expect("ok");
        let mut body = respond.send_response(response, false).expect("sent");
        if !is_events {
            body.send_data("[]".into(), true).expect("sent");
            continue;
        }
        let (mut frames, count) = (frames.subscribe(), count.clone());
        count.send_modify(|count| *count += 1);
        streams.spawn(async move {
            while let Ok(frame) = frames.recv().await {
                if body.send_data(frame, false).is_err() {
                    return;
                }
            }
        });
    }
}

#[tokio::test]
async fn a_backend_is_spoken_to_in_http2_where_its_source_asks_for_it() {
    let scratch = Scratch::new();
    self_signed(&scratch, "edge");
    let mut backend = Http2::start(scratch.path()).await;
    let entry = trusting(&scratch, "agent", backend.address, "", ", http2: true");
    let edge = Edge::start(&Conf::new().entry("agent", entry).yaml()).await;
    let mut jane = edge.open(&Client::new("jane")).await;
    jane.all_up(&["agent"]).await;
    let mut john = edge.open(&Client::new("john")).await;
    john.all_up(&["agent"]).await;
    soon("two streams", backend.streams.wait_for(|count| *count == 2)).await.expect("there");
    assert_eq!(backend.connections.load(Ordering::SeqCst), 1, "streams share a connection");
    backend.say("m1", "jane", "for jane");
    backend.say("m2", "john", "for john");
    assert_eq!(jane.message().await.at("/text"), "for jane");
    assert_eq!(john.message().await.at("/text"), "for john");

    // With the connection both are lost, and both come back, again on one or two.
    backend.cut.send(()).expect("a connection");
    for client in [&mut jane, &mut john] {
        client.next_of(&["source_down"]).await;
        client.all_up(&["agent"]).await;
    }
    soon("two streams", backend.streams.wait_for(|count| *count == 4)).await.expect("there");
    backend.say("m3", "jane", "again");
    assert_eq!(jane.message().await.at("/text"), "again");
    edge.check_law(&[]).await;
    let authority = format!("localhost:{}", backend.address.port());
    let asked = backend.asked.lock().expect("no poison").clone();
    assert!(asked.iter().all(|[host, ..]| *host == authority), "{asked:?}");
    let streams: Vec<_> = asked.iter().filter(|[_, path, _]| path.ends_with("/events")).collect();
    assert!(streams.iter().all(|[.., accept]| accept == "text/event-stream"), "{asked:?}");
}

/// Serves a chat of Bright Pattern whose answer to sent events ends with trailers. Its second
/// poll is never answered, so no poll tells what the answer has told.
async fn chat(near: SslStream<TcpStream>, polls: Arc<AtomicUsize>) {
    const TOLD: &str = r#"{"events":[{"event":"chat_session_message","msg_id":"1","msg":"told"}]}"#;
    let mut connection = h2::server::handshake(near).await.expect("HTTP/2");
    let mut held = Vec::new();
    while let Some(Ok((request, mut respond))) = connection.accept().await {
        let is_poll = request.method() == "GET" && request.uri().path().ends_with("/events");
        if is_poll && polls.fetch_add(1, Ordering::SeqCst) > 0 {
            held.push(respond);
            continue;
        }
        let response = http::Response::builder().header("content-type", "application/json");
        let response = response.body(()).expect("ok");
        let mut body = respond.send_response(response, false).expect("sent");
        if request.method() == "POST" {
            body.send_data(TOLD.into(), false).expect("sent");
            let trailers = [("x-internal", "10.0.0.7")]
                .map(|(name, value)| (name.parse().expect("a name"), value.parse().expect("text")));
            body.send_trailers(trailers.into_iter().collect()).expect("sent");
        } else {
            body.send_data("{\"events\":[]}".into(), true).expect("sent");
        }
    }
}

#[tokio::test]
async fn events_of_an_answer_that_ends_with_trailers_are_told() {
    let scratch = Scratch::new();
    self_signed(&scratch, "edge");
    let mut acceptor = acceptor(scratch.path());
    acceptor.set_alpn_select_callback(|_, offered| {
        select_next_proto(b"\x02h2", offered).ok_or(AlpnError::ALERT_FATAL)
    });
    let acceptor = acceptor.build();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        let polls = Arc::new(AtomicUsize::new(0));
        while let Ok((socket, _)) = listener.accept().await {
            let Some(near) = accept(&acceptor, socket).await else { continue };
            tokio::spawn(chat(near, polls.clone()));
        }
    });
    let entry = trusting(&scratch, "voice", address, "", ", http2: true").replace(
        "backend: xians, url",
        "backend: brightpattern, app_id: a, tenant_url: x.example, chat: c, url",
    );
    let entry = entry.replace("api_key: sk-Xnai-tests, ", "");
    let conf = Conf::new().entry("voice", entry).line("proxy: [{path: /voice, source: voice}]");
    let listen = "{address: \"127.0.0.1:0\"}, {address: \"127.0.0.1:0\", h2c: true}";
    let edge = Edge::start(&conf.listen(listen).yaml()).await;
    let mut client = edge.open(&Client::new("jane")).await;
    client.all_up(&["voice"]).await;
    let who = "tenantId=acme&workflow=customer-support&participantId=jane";
    let ask = Ask::new("POST", format!("/voice/chats/c/events?{who}&apikey={KEY}"));
    let reply = ask.body(r#"{"events":[]}"#).send(edge.streams()).await;
    assert!(reply.head.status == 200 && reply.text().contains("told"), "{reply:?}");
    client.chat("told").await;
    edge.check_law(&[]).await;

    // A client that could read trailers gets none: they are headers, too.
    let socket = TcpStream::connect(edge.listeners()[1]).await.expect("a connection");
    let (send, connection) = h2::client::handshake(socket).await.expect("HTTP/2");
    tokio::spawn(connection);
    let uri = format!("http://{}/voice/chats/c/events?{who}&apikey={KEY}", edge.listeners()[1]);
    let request = http::Request::post(uri).body(()).expect("a request");
    let mut send = soon("a connection", send.ready()).await.expect("it is there");
    let (response, _) = send.send_request(request, true).expect("sent");
    let mut body = soon("an answer", response).await.expect("a head").into_body();
    read_until(&mut body, "told").await;
    let trailers = soon("the end", body.trailers()).await.expect("an end").unwrap_or_default();
    assert!(trailers.is_empty(), "{trailers:?}");
}

#[tokio::test]
async fn a_backend_without_http2_is_spoken_to_in_http1() {
    let scratch = Scratch::new();
    self_signed(&scratch, "edge");
    let agent = backend_with(Kind::Xians, Options::default()).await;
    let tls = terminate(acceptor(scratch.path()), agent.addr()).await;
    let entry = trusting(&scratch, "agent", tls, "", ", http2: true");
    let edge = Edge::start(&Conf::new().entry("agent", entry).yaml()).await;
    let mut client = edge.open(&Client::new("jane")).await;
    client.all_up(&["agent"]).await;
    say(&agent, "as ever");
    client.chat("as ever").await;
    edge.check_law(&[("agent", &agent)]).await;
}

#[tokio::test]
async fn a_reload_trusts_what_stands_in_the_file_now() {
    let scratch = Scratch::new();
    for name in ["edge", "old"] {
        self_signed(&scratch, name);
    }
    let ca = scratch.path().join("ca.pem");
    let trust = |name: &str| {
        std::fs::copy(scratch.path().join(format!("{name}.pem")), &ca).expect("a file");
    };
    trust("old");
    let agent = backend_with(Kind::Xians, Options::default()).await;
    let tls = terminate(acceptor(scratch.path()), agent.addr()).await;
    let entry = trusting(&scratch, "agent", tls, "", "").replace("edge.pem", "ca.pem");
    let yaml = Conf::new().entry("agent", entry).yaml();
    let edge = Edge::start(&yaml).await;
    assert_eq!(first_told(&edge, 1).await[0][1..], ["source_down", "tls"]);
    trust("edge");
    assert!(edge.reload(&yaml).await.contains("reloaded"));
    let mut client = edge.open(&Client::new("jane")).await;
    client.all_up(&["agent"]).await;
    // What is open goes on, and a file that cannot be used changes nothing.
    trust("old");
    assert!(edge.reload(&yaml).await.contains("reloaded"));
    std::fs::write(&ca, "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        .expect("a file");
    let told = edge.reload(&yaml).await;
    assert!(told.contains("sources.agent.tls.ca"), "{told}");
    say(&agent, "as ever");
    client.chat("as ever").await;
    edge.check_law(&[("agent", &agent)]).await;
}
