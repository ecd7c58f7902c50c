//! Many streams over one connection of HTTP/2 and TLS: each hears all, none holds up another,
//! and the connection ends in order.

use std::net::SocketAddr;
use std::pin::Pin;

use bytes::Bytes;
use chatmux::scripted::{Backend, Kind};
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
use pingora::tls::tokio_ssl::SslStream;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::browser::Page;
use crate::support::{
    Authority, Client, Conf, Edge, KEY, KeyKind, Metrics, Scratch, backend, browse, read_until,
    say, soon,
};

/// More than the six connections that a browser opens to one host.
const STREAMS: usize = 30;
/// So much of a stream may be on its way to a client that does not read.
const STREAM_WINDOW: u32 = 64 * 1024;

/// An edge with one listener over TLS.
async fn edge(backend: &Backend, lines: &[&str]) -> Edge {
    let cert = Authority::root().issue("edge", &["localhost", "127.0.0.1"], KeyKind::Ec);
    let listen = "{address: \"127.0.0.1:0\", tls: {cert: a.pem, key: a.key}}";
    let conf = Conf::new().backend(backend).listen(listen);
    let yaml = lines.iter().fold(conf, |conf, line| conf.line(line)).yaml();
    Edge::start_with(&yaml, &[("a.pem", &cert.cert), ("a.key", &cert.key)], &[]).await
}

fn sum(metrics: &Metrics, name: &str) -> u64 {
    metrics.sum(name, &[])
}

/// A client of HTTP/2 over TLS.
struct Http2 {
    send: h2::client::SendRequest<Bytes>,
    connection: JoinHandle<Result<(), h2::Error>>,
}

impl Http2 {
    async fn connect(to: SocketAddr) -> Self {
        let mut connector = SslConnector::builder(SslMethod::tls_client()).expect("TLS");
        connector.set_verify(SslVerifyMode::NONE);
        connector.set_alpn_protos(b"\x02h2").expect("a protocol");
        let config = connector.build().configure().expect("TLS");
        let ssl = config.into_ssl("localhost").expect("a session");
        let socket = TcpStream::connect(to).await.expect("a connection");
        let mut tls = SslStream::new(ssl, socket).expect("a stream");
        Pin::new(&mut tls).connect().await.expect("a handshake");
        assert_eq!(tls.ssl().selected_alpn_protocol(), Some(&b"h2"[..]));
        // As browsers do: no stream can use up the room of the whole connection.
        let mut settings = h2::client::Builder::new();
        settings.initial_window_size(STREAM_WINDOW).initial_connection_window_size(1 << 24);
        let (send, connection) = settings.handshake(tls).await.expect("HTTP/2");
        Self { send, connection: tokio::spawn(connection) }
    }

    /// The answer to a request for a stream.
    async fn ask(&mut self, client: &Client) -> http::Response<h2::RecvStream> {
        let uri = format!("https://localhost{}", client.target());
        let request = http::Request::get(uri).body(()).expect("a request");
        let mut send = soon("room", self.send.clone().ready()).await.expect("room for a stream");
        let (answer, _) = send.send_request(request, true).expect("it is sent");
        soon("an answer", answer).await.expect("an answer")
    }

    async fn open(&mut self, client: &Client) -> h2::RecvStream {
        let answer = self.ask(client).await;
        assert_eq!(answer.status(), 200);
        let mut body = answer.into_body();
        read_until(&mut body, "source_up").await;
        body
    }
}

/// Opens streams, one of which nobody reads, and reports what each of them hears.
const PAGE: &str = r#"<!doctype html><title>thirty</title><script>
let last = Promise.resolve();
const report = body => {
  last = last.then(() => fetch('/report', {method: 'POST', body: JSON.stringify(body)}));
};
fetch('STREAM_URL').then(answer => { window.unread = answer.body; report({kind: 'unread'}); });
for (let number = 1; number < STREAMS; number++) {
  const source = new EventSource('STREAM_URL');
  source.addEventListener('source_up', () => report({kind: 'up', number}));
  source.addEventListener('Chat', event =>
    report({kind: 'Chat', number, text: JSON.parse(event.data).text.slice(0, 20)}));
  source.onerror = () => report({kind: 'error', number, state: source.readyState});
}
</script>"#;

#[tokio::test]
async fn thirty_streams_of_one_chromium_page_hear_every_event() {
    let backend = backend(Kind::Xians).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    let edge = edge(&backend, &[&format!("cors: {{allow_origins: [\"{origin}\"]}}")]).await;
    let query = "tenantId=acme&workflow=customer-support&participantId=jane";
    let url = format!("https://{}/events?{query}&apikey={KEY}", edge.streams());
    let page = PAGE.replace("STREAM_URL", &url).replace("STREAMS", &STREAMS.to_string());
    let mut page = Page::serve_text(listener, page);
    let profile = Scratch::new();
    // The certificate is nobody's; whether it is trusted is not what is tried here.
    let options = ["--ignore-certificate-errors"];
    let Some(_browser) = browse(&page.origin, &profile, &options) else {
        return;
    };
    page.next("unread").await;
    for _ in 1..STREAMS {
        page.next("up").await;
    }
    edge.until_open(STREAMS as u64).await;
    let filler = "x".repeat(64 * 1024);
    for round in 0..20 {
        let text = format!("round {round:02}");
        say(&backend, &format!("{text} {filler}"));
        let mut heard = [false; STREAMS];
        for _ in 1..STREAMS {
            let chat = page.next("Chat").await;
            assert!(chat["text"].as_str().is_some_and(|got| got.starts_with(&text)), "{chat}");
            let number = chat["number"].as_u64().expect("a number") as usize;
            assert!(!std::mem::replace(&mut heard[number], true), "twice: {chat}");
        }
    }
    let now = edge.metrics().await;
    assert_eq!(sum(&now, "chatmux_client_streams_opened_total"), STREAMS as u64, "none came back");
    // Chromium may have begun others before it knew of HTTP/2: up to six, as many as it would open
    // by HTTP/1.1, where each would have held one stream.
    let connections = sum(&now, "chatmux_client_connections");
    assert!((1..=6).contains(&connections), "{connections} connections for {STREAMS} streams");
    edge.check_law(&[("agent", &backend)]).await;
}

#[tokio::test]
async fn one_of_thirty_that_is_not_read_holds_up_nobody() {
    let backend = backend(Kind::Xians).await;
    let edge = edge(&backend, &["timeouts: {write: 1s}"]).await;
    let mut browser = Http2::connect(edge.streams()).await;
    let unread = browser.ask(&Client::new("jane")).await;
    let mut bodies = Vec::new();
    for _ in 1..STREAMS {
        bodies.push(browser.open(&Client::new("jane")).await);
    }
    assert_eq!(sum(&edge.metrics().await, "chatmux_client_connections"), 1);
    let filler = "x".repeat(8 * 1024);
    for round in 0..20 {
        let text = format!("round {round} {filler}");
        say(&backend, &text);
        for body in &mut bodies {
            read_until(body, &text).await;
        }
    }
    edge.until_open(STREAMS as u64 - 1).await;
    drop(unread);
    edge.check_law(&[("agent", &backend)]).await;
}

#[tokio::test]
async fn a_stream_that_is_reset_frees_its_upstream_and_the_connection_goes_on() {
    let backend = backend(Kind::Xians).await;
    let edge = edge(&backend, &[]).await;
    let mut browser = Http2::connect(edge.streams()).await;
    let body = browser.open(&Client::new("jane")).await;
    drop(body);
    edge.until_open(0).await;
    soon("the upstream is let go", backend.wait_for(|now| now.live_streams == 0)).await;
    let _again = browser.open(&Client::new("jane")).await;
    assert_eq!(sum(&edge.metrics().await, "chatmux_client_connections"), 1);
    edge.check_law(&[("agent", &backend)]).await;
}

#[tokio::test]
async fn a_hundred_streams_that_are_dropped_at_once_all_end() {
    let backend = backend(Kind::Xians).await;
    let edge = edge(&backend, &[]).await;
    let mut browser = Http2::connect(edge.streams()).await;
    for _ in 0..3 {
        let mut bodies = Vec::new();
        for _ in 0..100 {
            bodies.push(browser.open(&Client::new("jane")).await);
        }
        edge.until_open(100).await;
        drop(bodies);
        edge.until_open(0).await;
    }
    assert!(!browser.connection.is_finished());
    edge.check_law(&[("agent", &backend)]).await;
}

/// A client of the `h2` crate holds the stream that fills the connection up, until it asks for
/// room again: dropped with the others, that one alone is not reset, and goes on.
#[tokio::test]
async fn a_stream_that_its_client_still_holds_goes_on() {
    let backend = backend(Kind::Xians).await;
    let edge = edge(&backend, &[]).await;
    let mut send = Http2::connect(edge.streams()).await.send;
    let mut bodies = Vec::new();
    for _ in 0..100 {
        let uri = format!("https://localhost{}", Client::new("jane").target());
        let request = http::Request::get(uri).body(()).expect("a request");
        send = soon("room", send.ready()).await.expect("room for a stream");
        let (answer, _) = send.send_request(request, true).expect("it is sent");
        bodies.push(soon("an answer", answer).await.expect("an answer").into_body());
    }
    edge.until_open(100).await;
    drop(bodies);
    edge.until_open(1).await;
    say(&backend, "to the one that is held");
    edge.until("it is told", |now| sum(now, "chatmux_events_sent_total") == 1).await;
    let _room = soon("room", send.ready()).await.expect("room for a stream");
    edge.until_open(0).await;
    edge.check_law(&[("agent", &backend)]).await;
}

#[tokio::test]
async fn limits_count_streams_whatever_connection_they_share() {
    let backend = backend(Kind::Xians).await;
    let limits = "limits: {address: {concurrent: 5}, connections: {per_client: 1}}";
    let edge = edge(&backend, &[limits]).await;
    let mut browser = Http2::connect(edge.streams()).await;
    let mut bodies = Vec::new();
    for _ in 0..5 {
        bodies.push(browser.open(&Client::new("jane")).await);
    }
    assert_eq!(browser.ask(&Client::new("jane")).await.status(), 429);
    bodies.pop();
    edge.until_open(4).await;
    let _another = browser.open(&Client::new("jane")).await;
    edge.check_law(&[("agent", &backend)]).await;
}

#[tokio::test]
async fn a_client_is_told_to_go_elsewhere_when_the_process_drains() {
    let backend = backend(Kind::Xians).await;
    let mut edge = edge(&backend, &["server: {drain: 3s}"]).await;
    let mut browser = Http2::connect(edge.streams()).await;
    let mut bodies = Vec::new();
    for _ in 0..STREAMS {
        bodies.push(browser.open(&Client::new("jane")).await);
    }
    edge.signal("TERM").await;
    // Before any stream has ended, no other is opened here.
    let told = async {
        loop {
            match browser.send.clone().ready().await {
                Ok(_) => tokio::task::yield_now().await,
                Err(error) => return error,
            }
        }
    };
    let told = soon("a GOAWAY", told).await;
    assert!(told.is_go_away() && told.is_remote(), "{told}");
    assert_eq!(told.reason(), Some(h2::Reason::NO_ERROR));
    for mut body in bodies {
        read_until(&mut body, "\"reason\":\"draining\"").await;
        while let Some(data) = soon("the end", body.data()).await {
            assert_eq!(data.expect("an end in order").len(), 0);
        }
    }
    drop(browser.send);
    let ended = soon("the connection ends", browser.connection).await.expect("no panic");
    assert!(ended.as_ref().is_ok_and(|()| true), "in order: {ended:?}");
    assert_eq!(edge.wait_exit().await, 0);
}
