//! One client, four backends, one stream.

use chatmux::scripted::{Fault, Kind, On};

use crate::support::{Client, Four, One, say, source_name};

#[tokio::test]
async fn a_client_hears_all_four_backends_over_one_connection() {
    let four = Four::start().await;
    let mut client = four.edge.open(&Client::new("jane")).await;
    let connected = client.expect("connected").await;
    assert!(connected.retry.is_some_and(|retry| (1..=60_000).contains(&retry)), "{connected:?}");
    assert_eq!(connected.at("/message"), "Connected to message stream");
    assert_eq!(connected.at("/workflowId"), "acme:customer-support");
    assert_eq!(connected.at("/participantId"), "jane");
    assert_eq!(connected.at("/tenantId"), "acme");
    assert_eq!(connected.data["resumed"], false);

    let mut up = Vec::new();
    for _ in 0..4 {
        let event = client.expect("source_up").await;
        assert_eq!(event.data["resumed"], false, "{event:?}");
        up.push((event.source().to_owned(), event.at("/source/backend").to_owned()));
    }
    up.sort();
    let pair = |(name, backend): (&str, &str)| (name.to_owned(), backend.to_owned());
    let want = [
        ("agent", "xians"),
        ("care", "salesforce"),
        ("desk", "openfire"),
        ("voice", "brightpattern"),
    ];
    assert_eq!(up, want.map(pair));

    for backend in &four.backends {
        say(backend, "Grüße, 你好 👋\n\"second\" line");
    }
    let mut heard = Vec::new();
    for _ in 0..4 {
        let chat = client.expect("Chat").await;
        assert_eq!(chat.at("/text"), "Grüße, 你好 👋\n\"second\" line");
        assert_eq!(chat.at("/direction"), "Outgoing");
        assert_eq!(chat.at("/participantId"), "jane");
        heard.push((chat.source().to_owned(), chat.at("/source/backend").to_owned()));
    }
    heard.sort();
    assert_eq!(heard, up);
    let mut ids: Vec<_> = client.seen().iter().filter_map(|event| event.id.clone()).collect();
    ids.dedup();
    assert_eq!(ids.len(), 4, "cursors differ");

    four.check_law().await;
    let metrics = four.edge.metrics().await;
    assert_eq!(metrics.sum("chatmux_events_sent_total", &[("event", "Chat")]), 4);
    for backend in &four.backends {
        let source = source_name(backend.kind());
        let labels = [("source", source), ("event", "Chat")];
        assert_eq!(metrics.sum("chatmux_events_published_total", &labels), 1, "{source}");
        assert_eq!(backend.now().streams_opened.min(1), 1);
    }
}

#[tokio::test]
async fn the_first_bytes_wait_for_no_backend() {
    let four = Four::start().await;
    for backend in &four.backends {
        backend.fault_on(On::Any, usize::MAX, Fault::NoAnswer);
    }
    let mut client = four.edge.open(&Client::new("jane").query("heartbeatSeconds", "1")).await;
    let connected = client.expect("connected").await;
    assert!(connected.retry.is_some());
    client.expect("heartbeat").await;
    for backend in &four.backends {
        assert_eq!(backend.answers_of(200), 0, "{:?} has answered", backend.kind());
    }
    four.edge.check_law(&[]).await;
}

#[tokio::test]
async fn the_head_is_that_of_an_event_stream_and_of_nothing_else() {
    let four = Four::start().await;
    let ask = Client::new("jane").header("Accept-Encoding", "gzip, br");
    let client = four.edge.open(&ask).await;
    let head = &client.head;
    for (name, value) in [
        ("content-type", Some("text/event-stream")),
        ("cache-control", Some("no-cache, no-transform")),
        ("x-accel-buffering", Some("no")),
        ("referrer-policy", Some("no-referrer")),
        ("transfer-encoding", Some("chunked")),
        ("content-encoding", None),
        ("content-length", None),
        ("access-control-allow-origin", None),
    ] {
        assert_eq!(head.header(name), value, "{name}");
    }
    let request_id = head.header("x-request-id").expect("a request id").to_owned();
    assert!(!request_id.is_empty());
    let another = four.edge.open(&ask).await;
    assert_ne!(another.head.header("x-request-id"), Some(request_id.as_str()));
    four.edge.check_law(&[]).await;
}

#[tokio::test]
async fn a_client_of_http_1_0_gets_the_stream_without_chunks() {
    let four = Four::start().await;
    let mut client = four.edge.open(&Client::new("jane").http10()).await;
    assert_eq!(client.head.header("transfer-encoding"), None);
    assert_eq!(client.head.header("content-length"), None);
    client.expect("connected").await;
    client.all_up(&Four::NAMES).await;
    for backend in &four.backends {
        say(backend, "plain");
        client.chat("plain").await;
    }
    four.check_law().await;
}

#[tokio::test]
async fn a_stream_that_is_up_already_is_told_as_up_to_a_client_that_joins() {
    let four = Four::start().await;
    let mut first = four.edge.open(&Client::new("jane")).await;
    first.all_up(&Four::NAMES).await;
    let mut second = four.edge.open(&Client::new("jane")).await;
    second.expect("connected").await;
    let mut names = Vec::new();
    for _ in 0..4 {
        let event = second.expect("source_up").await;
        assert_eq!(event.data["resumed"], false);
        names.push(event.source().to_owned());
    }
    names.sort();
    assert_eq!(names, ["agent", "care", "desk", "voice"]);
    four.check_law().await;
}

#[tokio::test]
async fn a_source_is_told_as_up_before_its_first_event() {
    let one = One::start(Kind::BrightPattern).await;
    // It waits for the first poll.
    say(&one.backend, "said before anybody asked");
    let mut client = one.edge.open(&Client::new("jane")).await;
    client.expect("connected").await;
    assert_eq!(client.expect("source_up").await.source(), "voice");
    assert_eq!(client.expect("Chat").await.at("/text"), "said before anybody asked");
    one.check_law().await;
}
