//! What happens before a request: too many connections, heads that drip, PROXY headers, HTTP/2
//! that misbehaves. Each time somebody else is served meanwhile.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use chatmux::scripted::Kind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::support::{Client, Conf, Edge, One, backend, send_raw, soon};

const FAST_HEADS: &str = "timeouts: {head: 500ms}";

async fn connect(to: SocketAddr) -> TcpStream {
    TcpStream::connect(to).await.expect("a connection")
}

/// Everything until the other side closes; a reset is an end, too.
async fn rest(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = async {
        // What came before a reset counts.
        let _is_whole = socket.read_to_end(&mut bytes).await.is_ok();
    };
    soon("the end of the connection", read).await;
    String::from_utf8_lossy(&bytes).into_owned()
}

async fn until_connections(edge: &Edge, count: u64) {
    let what = format!("{count} open connections");
    let metric = "chatmux_client_connections";
    edge.until(&what, |metrics| metrics.sum(metric, &[]) == count).await;
}

async fn refused(edge: &Edge, reason: &str) -> u64 {
    let metric = "chatmux_client_connections_refused_total";
    edge.metrics().await.sum(metric, &[("reason", reason)])
}

#[tokio::test]
async fn heads_that_drip_are_cut_off_and_hold_nobody_up() {
    let one = One::start_with(Kind::Xians, |conf| conf.line(FAST_HEADS)).await;
    let to = one.edge.streams();
    let mut slow = Vec::new();
    for number in 0..60 {
        let mut socket = connect(to).await;
        let start: &[u8] = match number % 3 {
            0 => b"G",
            1 => b"GET /events HTTP/1.1\r\nHost: x\r\n",
            _ => b"GET /events HTTP/1.1\r\nHost: x\r\nX-A: ",
        };
        socket.write_all(start).await.expect("a connection");
        slow.push(tokio::spawn(async move {
            let (mut reader, mut writer) = socket.split();
            let mut answer = Vec::new();
            let mut ticks = tokio::time::interval(Duration::from_millis(50));
            let drip = async {
                loop {
                    ticks.tick().await;
                    if writer.write_all(b"a").await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
            };
            tokio::select! {
                // What came before a reset counts.
                _ = reader.read_to_end(&mut answer) => {}
                () = drip => {}
            }
            String::from_utf8_lossy(&answer).into_owned()
        }));
    }
    one.edge.open(&Client::new("jane")).await.expect("connected").await;
    for slow in slow {
        let answer = soon("the end of a slow one", slow).await.expect("no panic");
        assert!(answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"), "{answer:?}");
        assert!(answer.contains("connection: close\r\n"), "{answer:?}");
        assert!(answer.contains("{\"error\":\"Request Timeout\""), "{answer:?}");
    }
    until_connections(&one.edge, 0).await;
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn a_second_request_has_no_more_time_than_the_first() {
    let one = One::start_with(Kind::Xians, |conf| conf.line(FAST_HEADS)).await;
    let mut socket = connect(one.edge.streams()).await;
    socket.write_all(b"GET /other HTTP/1.1\r\nHost: x\r\n\r\nGET /ev").await.expect("sent");
    // What follows a request before its answer is not looked at: the connection is closed.
    let answer = rest(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");

    let mut socket = connect(one.edge.streams()).await;
    socket.write_all(b"GET /other HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    let mut seen = String::new();
    let mut chunk = [0; 1024];
    while !seen.contains("\"}") {
        let read = soon("an answer", socket.read(&mut chunk)).await.expect("bytes");
        seen.push_str(&String::from_utf8_lossy(&chunk[..read]));
    }
    socket.write_all(b"GET /ev").await.expect("sent");
    let answer = rest(&mut socket).await;
    assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn floods_of_heads_cost_no_more_than_their_answers() {
    let one = One::start_with(Kind::Xians, |conf| conf.line(FAST_HEADS)).await;
    let to = one.edge.streams();
    let mut watched = one.edge.open(&Client::new("jane")).await;
    watched.expect("connected").await;
    let line = "GET /events HTTP/1.1\r\nHost: x\r\n";
    let fields = format!("{line}{}", "X-A: b\r\n".repeat(100_000));
    let value = format!("{line}X-A: {}", "b".repeat(2_000_000));
    let target = format!("GET /{}", "a".repeat(2_000_000));
    let blank = "\r\n".repeat(1_000_000);
    let floods = [(&fields, 431), (&value, 431), (&target, 414), (&blank, 0)];
    for _ in 0..5 {
        for (flood, status) in floods {
            let reply = send_raw(to, flood.as_bytes()).await;
            let got = reply.as_ref().map_or(0, |reply| reply.head.status);
            // A flood that is still on its way when it is refused may lose its answer.
            assert!(got == status || got == 0 || got == 408, "{got} is not {status}");
        }
    }
    one.edge.open(&Client::new("john")).await.expect("connected").await;
    until_connections(&one.edge, 1).await;
    let metrics = one.edge.metrics().await;
    let counted = |code| metrics.sum("chatmux_http_requests_total", &[("code", code)]);
    assert_eq!((counted("431"), counted("414")), (10, 5), "each is refused, once");
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn connections_are_limited_by_address_and_in_all() {
    let rows = [("total: 4", "total"), ("per_client: 4", "address")];
    for (limit, reason) in rows {
        let limits = format!("limits: {{connections: {{{limit}}}}}");
        let one = One::start_with(Kind::Xians, |conf| conf.line(&limits)).await;
        until_connections(&one.edge, 0).await;
        let before = refused(&one.edge, reason).await;
        let stream = one.edge.open(&Client::new("jane")).await;
        let mut held = Vec::new();
        for _ in 0..3 {
            held.push(connect(one.edge.streams()).await);
        }
        until_connections(&one.edge, 4).await;
        for _ in 0..5 {
            let mut more = connect(one.edge.streams()).await;
            assert_eq!(rest(&mut more).await, "", "closed without a word");
        }
        assert_eq!(refused(&one.edge, reason).await - before, 5, "{reason}");
        // A stream holds its place as long as it lives, and no longer.
        stream.close();
        until_connections(&one.edge, 3).await;
        one.edge.open(&Client::new("jane")).await.expect("connected").await;
        drop(held);
        until_connections(&one.edge, 0).await;
        one.edge.check_law(&[]).await;
    }
}

#[tokio::test]
async fn the_connections_of_a_trusted_proxy_are_not_one_address() {
    let one = One::start_with(Kind::Xians, |conf| {
        conf.line("limits: {connections: {per_client: 1}}").line("trusted_proxies: [127.0.0.0/8]")
    })
    .await;
    let mut streams = Vec::new();
    for name in ["a", "b", "c"] {
        let mut stream = one.edge.open(&Client::new(name)).await;
        stream.expect("connected").await;
        streams.push(stream);
    }
    one.edge.check_law(&[]).await;
}

fn v2(client: [u8; 4]) -> Vec<u8> {
    let addresses = [&client[..], &[10, 0, 0, 1, 0x12, 0x67, 1, 187]].concat();
    [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", addresses.as_slice()].concat()
}

#[tokio::test]
async fn the_proxy_protocol_names_the_client_on_listeners_that_take_it() {
    let backend = backend(Kind::Xians).await;
    let yaml = Conf::new()
        .backend(&backend)
        .listen(
            "{address: \"127.0.0.1:0\", proxy_protocol: true}, \
             {address: \"127.0.0.1:0\", proxy_protocol: true, h2c: true}, \
             {address: \"127.0.0.1:0\"}",
        )
        .line("trusted_proxies: [127.0.0.0/8]")
        .line("timeouts: {head: 500ms}")
        .line("limits: {address: {opens: 1/h, burst: 1}}")
        .yaml();
    let edge = Edge::start(&yaml).await;
    let ask = format!("GET /events?{} HTTP/1.1\r\nHost: x\r\n\r\n", "tenantId=acme");
    let status = async |to: SocketAddr, header: &[u8]| {
        let bytes = [header, ask.as_bytes()].concat();
        send_raw(to, &bytes).await.map_or(0, |reply| reply.head.status)
    };
    for (at, to) in edge.listeners().iter().take(2).enumerate() {
        let last = u8::try_from(at).expect("few");
        let text = format!("PROXY TCP4 203.0.113.{last} 10.0.0.1 4711 443\r\n");
        // Refused for want of a credential, and counted for the client's address.
        assert_eq!(status(*to, text.as_bytes()).await, 401);
        assert_eq!(status(*to, text.as_bytes()).await, 429);
        // Both versions name the same client.
        assert_eq!(status(*to, &v2([203, 0, 113, last])).await, 429);
        assert_eq!(status(*to, &v2([198, 51, 100, last])).await, 401);
        let mut slow = connect(*to).await;
        slow.write_all(b"PROXY TCP4 203").await.expect("sent");
        assert_eq!(rest(&mut slow).await, "", "a header that does not end");
        assert_eq!(status(*to, b"").await, 0, "no header, no answer");
        assert_eq!(status(*to, b"PROXY TCP4 nonsense\r\n").await, 0);
    }
    assert!(refused(&edge, "proxy_protocol").await >= 6);
    // Where it is not taken, it is no request.
    let plain = edge.listeners()[2];
    assert_eq!(status(plain, b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\n").await, 400);
    edge.check_law(&[]).await;
}

#[tokio::test]
async fn nobody_but_a_trusted_proxy_may_name_a_client() {
    let one = One::start_with(Kind::Xians, |conf| {
        conf.listen("{address: \"127.0.0.1:0\", proxy_protocol: true}")
            .line("trusted_proxies: [192.0.2.0/24]")
    })
    .await;
    let bytes = b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n";
    assert!(send_raw(one.edge.streams(), bytes).await.is_none());
    one.edge.check_law(&[]).await;
}

/// An edge that takes HTTP/2 without TLS, with heads that have half a second.
async fn http2() -> One {
    One::start_with(Kind::Xians, |conf| {
        conf.listen("{address: \"127.0.0.1:0\", h2c: true}").line(FAST_HEADS)
    })
    .await
}

fn h2_request(client: &Client) -> http::Request<()> {
    let uri = format!("http://x{}", client.target());
    http::Request::builder().uri(uri).body(()).expect("a request")
}

/// A client of HTTP/2, whose connection runs beside it.
async fn h2_client(
    to: SocketAddr,
) -> (h2::client::SendRequest<Bytes>, tokio::task::JoinHandle<bool>) {
    let (sender, connection) =
        h2::client::handshake(connect(to).await).await.expect("a connection");
    // How it ends is what some tests are about.
    (sender, tokio::spawn(async move { connection.await.is_ok() }))
}

#[tokio::test]
async fn half_a_preface_is_not_waited_for() {
    let one = http2().await;
    for start in [&b"P"[..], b"PRI * HTTP/2.0\r\n\r\nSM\r\n"] {
        let mut socket = connect(one.edge.streams()).await;
        socket.write_all(start).await.expect("sent");
        let answer = rest(&mut socket).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer:?}");
    }
    until_connections(&one.edge, 0).await;
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn streams_that_are_reset_at_once_end_the_connection_and_nothing_else() {
    let one = http2().await;
    let mut watched = one.edge.open(&Client::new("jane")).await;
    watched.expect("connected").await;
    let (mut sender, connection) = h2_client(one.edge.streams()).await;
    let mut sent = 0;
    for _ in 0..3000 {
        let Ok(ready) = sender.clone().ready().await else { break };
        sender = ready;
        let Ok((_, mut stream)) = sender.send_request(h2_request(&Client::new("eve")), true) else {
            break;
        };
        stream.send_reset(h2::Reason::CANCEL);
        sent += 1;
    }
    drop(sender);
    soon("the connection ends", connection).await.expect("no panic");
    assert!(sent > 0);
    one.edge.until_open(1).await;
    one.edge.open(&Client::new("john")).await.expect("connected").await;
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn a_connection_of_http_2_has_so_many_streams_and_headers_and_no_more() {
    let one = http2().await;
    let (mut sender, connection) = h2_client(one.edge.streams()).await;
    let mut open = Vec::new();
    for number in 0..100 {
        sender = soon("room", sender.ready()).await.expect("a connection");
        let client = Client::new(&format!("p{number}"));
        let (answer, _) = sender.send_request(h2_request(&client), true).expect("room");
        let answer = soon("an answer", answer).await.expect("an answer");
        assert_eq!(answer.status(), 200, "{number}");
        open.push(answer);
    }
    assert_eq!(sender.current_max_send_streams(), 100);
    connection.abort();
    drop(open);
    one.edge.until_open(0).await;

    let (sender, _connection) = h2_client(one.edge.streams()).await;
    let ask = async |change: &dyn Fn(&mut http::Request<()>)| {
        let mut request = h2_request(&Client::new("jane").without("apikey"));
        change(&mut request);
        let mut sender = sender.clone().ready().await.expect("a connection");
        let (answer, _) = sender.send_request(request, true).expect("room");
        soon("an answer", answer).await.map_or(0, |answer| answer.status().as_u16())
    };
    assert_eq!(ask(&|_| {}).await, 401);
    let fields = |request: &mut http::Request<()>, count: usize, bytes: usize| {
        for number in 0..count {
            let name = http::HeaderName::from_bytes(format!("x-{number}").as_bytes());
            let value = http::HeaderValue::from_str(&"b".repeat(bytes));
            request.headers_mut().insert(name.expect("a name"), value.expect("a value"));
        }
    };
    assert_eq!(ask(&|request| fields(request, 101, 1)).await, 431);
    assert_eq!(ask(&|request| fields(request, 10, 8000)).await, 431);
    let long = format!("http://x/events?x={}", "a".repeat(17 * 1024));
    assert_eq!(ask(&|request| *request.uri_mut() = long.parse().expect("a URI")).await, 414);
    assert_eq!(ask(&|request| *request.method_mut() = http::Method::PATCH).await, 405);
    let tricks = ["http://x/a/..;/events", "http://x//events", "http://x/%2e%2e/events"];
    for trick in tricks {
        assert_eq!(ask(&|request| *request.uri_mut() = trick.parse().expect("a URI")).await, 400);
    }
    assert_eq!(ask(&|_| {}).await, 401, "the connection goes on");
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn a_client_that_wants_no_second_request_gets_its_stream() {
    let one = One::start(Kind::Xians).await;
    for value in ["close", "keep-alive", "Keep-Alive, x"] {
        let client = Client::new("jane").header("Connection", value);
        one.edge.open(&client).await.expect("connected").await;
    }
    one.edge.check_law(&[]).await;
}
