//! Clients that leave or stall: noticed at once, and nobody else notices.

use std::net::SocketAddr;
use std::process::Stdio;

use bytes::Bytes;
use chatmux::scripted::Kind;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::support::{
    Client, Conf, Edge, EventSource, Metrics, One, backend, read_until, say, soon,
};

/// So much of a stream may be on its way to a client of HTTP/2 that does not read.
const STREAM_WINDOW: u32 = 64 * 1024;

/// How streams have ended so far.
fn closed(metrics: &Metrics, reason: &str) -> u64 {
    metrics.sum("chatmux_client_streams_closed_total", &[("reason", reason)])
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_without_a_heartbeat() {
    let one = One::start(Kind::Xians).await;
    let mut stays = one.edge.open(&Client::new("jane")).await;
    for (number, leave) in [EventSource::close, EventSource::reset].into_iter().enumerate() {
        let mut client = one.edge.open(&Client::new("jane")).await;
        client.all_up(&["agent"]).await;
        leave(client);
        let gone = number as u64 + 1;
        let now = one.edge.until("it is gone", |now| closed(now, "client_gone") == gone).await;
        assert_eq!(now.sum("chatmux_client_streams", &[]), 1);
    }
    let mut half = one.edge.open(&Client::new("jane")).await;
    half.all_up(&["agent"]).await;
    half.shut_down().await;
    one.edge.until("who says no more is gone", |now| closed(now, "client_gone") == 3).await;
    say(&one.backend, "still here");
    stays.chat("still here").await;
    assert_eq!(one.edge.metrics().await.sum("chatmux_heartbeats_sent_total", &[]), 0);
    one.check_law().await;
}

/// A client of HTTP/2 by prior knowledge: its connection, and the streams it asked for.
struct Http2 {
    send: h2::client::SendRequest<Bytes>,
    to: SocketAddr,
    connection: tokio::task::JoinHandle<()>,
}

impl Http2 {
    async fn connect(to: SocketAddr) -> Self {
        let socket = TcpStream::connect(to).await.expect("a connection");
        // As browsers do: no stream can use up the room of the whole connection.
        let mut settings = h2::client::Builder::new();
        settings.initial_window_size(STREAM_WINDOW).initial_connection_window_size(1 << 24);
        let (send, connection) = settings.handshake(socket).await.expect("HTTP/2");
        // How it ends is the test's matter.
        let connection = tokio::spawn(async move { connection.await.unwrap_or_default() });
        Self { send, to, connection }
    }

    async fn open(&mut self, client: &Client) -> h2::RecvStream {
        let uri = format!("http://{}{}", self.to, client.target());
        let request = http::Request::get(uri).body(()).expect("a request");
        let mut send = self.send.clone().ready().await.expect("room for a stream");
        let (answer, _) = send.send_request(request, true).expect("it is sent");
        let answer = soon("an answer", answer).await.expect("an answer");
        assert_eq!(answer.status(), 200);
        answer.into_body()
    }
}

#[tokio::test]
async fn a_reset_of_http2_ends_its_stream_alone() {
    let backend = backend(Kind::Xians).await;
    let listen = "{address: \"127.0.0.1:0\", h2c: true}";
    let edge = Edge::start(&Conf::new().backend(&backend).listen(listen).yaml()).await;
    let mut browser = Http2::connect(edge.streams()).await;
    let mut stays = browser.open(&Client::new("jane")).await;
    read_until(&mut stays, "source_up").await;
    let mut goes = browser.open(&Client::new("jane")).await;
    read_until(&mut goes, "source_up").await;
    edge.until_open(2).await;
    // What is dropped unread is reset.
    drop(goes);
    edge.until("the reset is noticed", |now| closed(now, "client_gone") == 1).await;
    say(&backend, "still here");
    read_until(&mut stays, "still here").await;
    browser.connection.abort();
    edge.until("the connection's end is noticed", |now| closed(now, "client_gone") == 2).await;
    edge.check_law(&[]).await;
}

#[tokio::test]
async fn streams_of_http2_get_their_last_event_when_the_process_drains() {
    let backend = backend(Kind::Xians).await;
    let listen = "{address: \"127.0.0.1:0\", h2c: true}";
    let mut edge = Edge::start(&Conf::new().backend(&backend).listen(listen).yaml()).await;
    let mut browser = Http2::connect(edge.streams()).await;
    let mut bodies = Vec::new();
    for _ in 0..20 {
        let mut body = browser.open(&Client::new("jane")).await;
        read_until(&mut body, "source_up").await;
        bodies.push(body);
    }
    edge.signal("TERM").await;
    for mut body in bodies {
        read_until(&mut body, "\"reason\":\"draining\"").await;
        while let Some(data) = soon("the end", body.data()).await {
            assert_eq!(data.expect("an end in order").len(), 0);
        }
    }
    assert_eq!(edge.wait_exit().await, 0);
}

#[tokio::test]
async fn a_stream_of_http2_that_is_not_read_is_closed_and_holds_up_nobody() {
    let backend = backend(Kind::Xians).await;
    let listen = "{address: \"127.0.0.1:0\", h2c: true}";
    let conf = Conf::new().backend(&backend).listen(listen).line("timeouts: {write: 1s}");
    let edge = Edge::start(&conf.yaml()).await;
    let mut browser = Http2::connect(edge.streams()).await;
    // Its window is never given back.
    let _unread = browser.open(&Client::new("jane")).await;
    let mut read = browser.open(&Client::new("jane")).await;
    read_until(&mut read, "source_up").await;
    let filler = "x".repeat(8 * 1024);
    for number in 0..40 {
        let text = format!("{number} {filler}");
        say(&backend, &text);
        read_until(&mut read, &text).await;
    }
    let is_closed =
        |now: &Metrics| closed(now, "write_timeout") + closed(now, "slow_consumer") == 1;
    edge.until("the one that is not read is closed", is_closed).await;
    say(&backend, "and on");
    read_until(&mut read, "and on").await;
    edge.check_law(&[("agent", &backend)]).await;
}

#[tokio::test]
async fn a_client_that_never_reads_does_not_hold_up_the_end() {
    let lines = ["server: {threads: 1, drain: 2s}", "timeouts: {write: 60s}"];
    let mut one =
        One::start_with(Kind::Xians, |conf| lines.iter().fold(conf, |conf, line| conf.line(line)))
            .await;
    let stalled = EventSource::open_lazily(&one.edge, &Client::new("jane")).await;
    let mut reads = one.edge.open(&Client::new("jane")).await;
    reads.all_up(&["agent"]).await;
    let filler = "x".repeat(16 * 1024);
    for number in 0..40 {
        let text = format!("{number} {filler}");
        say(&one.backend, &text);
        reads.chat(&text).await;
    }
    one.check_law().await;
    one.edge.signal("TERM").await;
    assert_eq!(reads.next_of(&["disconnected"]).await.at("/reason"), "draining");
    assert_eq!(reads.next().await, None);
    assert_eq!(one.edge.wait_exit().await, 0);
    drop(stalled);
}

#[tokio::test]
async fn sockets_of_clients_find_dead_peers_and_keep_little() {
    let one = One::start(Kind::Xians).await;
    let mut client = one.edge.open(&Client::new("jane")).await;
    client.all_up(&["agent"]).await;
    let port = one.edge.streams().port();
    let filter = format!("sport = :{port}");
    let shown = Command::new("ss").args(["-Htnoem", &filter]).stderr(Stdio::null()).output().await;
    let Ok(shown) = shown else {
        eprintln!("skipped: there is no ss here");
        return;
    };
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("timer:(keepalive,"), "{shown}");
    // The system doubles what it is asked for.
    assert!(shown.contains(",tb131072,"), "{shown}");
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn a_connection_without_a_request_does_not_hold_up_the_end() {
    let mut one = One::start_with(Kind::Xians, |conf| conf.line("server: {drain: 1h}")).await;
    let mut silent = TcpStream::connect(one.edge.streams()).await.expect("a connection");
    silent.write_all(b"GET /events HTTP/1.1\r\nHost:").await.expect("half a head");
    one.edge.check_law(&[]).await;
    one.edge.signal("TERM").await;
    assert_eq!(one.edge.wait_exit().await, 0);
}
