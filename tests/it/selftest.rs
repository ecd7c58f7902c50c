//! The self-test as clients meet it: who may ask, what it counts as, how it ends.
//!
//! Not here: what is found out through real proxies (`between`), the verdict (tested in `proto`).

use chatmux::scripted::Kind;

use crate::support::{Ask, Client, Conf, Edge, KEY, One, Reply, backend, chatmux, soon};

fn jane() -> Client {
    Client::new("jane").path("/events/selftest").query("idle", "0")
}

/// Asks and reads until this was sent; gives what was read, and what keeps the test open.
async fn read_until(edge: &Edge, client: &Client, what: &str) -> (String, crate::support::Wire) {
    let (mut wire, head) = client.ask("GET").start(edge.streams(), None).await.expect("an answer");
    assert_eq!(head.status, 200, "{head:?}");
    let mut framing = head.get_framing();
    let mut text = String::new();
    let read = async {
        while !text.contains(what) {
            let piece = wire.piece(&mut framing).await.expect("a whole answer");
            text.push_str(&String::from_utf8(piece.expect("it goes on")).expect("UTF-8"));
        }
    };
    soon(&format!("the self-test says {what}"), read).await;
    (text, wire)
}

#[tokio::test]
async fn it_is_asked_refused_and_counted_as_the_stream_is() {
    let one = One::start_with(Kind::Xians, |conf| {
        conf.line("cors: {allow_origins: [\"https://app.example.com\"]}")
            .line("limits: {subject: {concurrent: 1}}")
    })
    .await;
    let ask = async |client: Client| one.edge.ask(&client).await;
    ask(jane().without("apikey")).await.refuses(401, "Unauthorized", "API key");
    ask(jane().query("tenantId", "other")).await.refuses(403, "Forbidden", "credential");
    ask(jane().without("workflow")).await.refuses(400, "Bad Request", "workflow");
    ask(jane().query("idle", "long")).await.refuses(400, "Bad Request", "idle");
    ask(jane().path("/selftest")).await.refuses(404, "Not Found", "URL");
    let to = one.edge.streams();
    let method = |method| async move { jane().ask(method).send(to).await };
    let posted: Reply = method("POST").await;
    posted.refuses(405, "Method Not Allowed", "GET, HEAD, OPTIONS");
    let head = method("HEAD").await;
    assert_eq!((head.head.status, head.body.len()), (200, 0));

    // A page of another origin may see what it needs.
    let page = jane().header("Origin", "https://app.example.com");
    let reply = ask(page).await;
    assert_eq!(reply.head.header("content-type"), Some("text/event-stream"));
    assert_eq!(reply.head.header("x-accel-buffering"), Some("no"));
    assert_eq!(reply.head.header("timing-allow-origin"), Some("*"));
    let mut exposed = reply.head.headers.iter();
    let is_exposed = |(name, value): &(String, String)| {
        name == "access-control-expose-headers" && value.contains("Content-Encoding")
    };
    assert!(exposed.any(is_exposed), "{:?}", reply.head);
    let text = reply.text();
    assert!(text.starts_with("retry: 3600000\nevent: begin\ndata: {\"sentMs\":0,"), "{text}");
    assert_eq!(text.matches("event: probe\n").count(), 12);
    assert!(text.ends_with("\"reason\":\"done\"}\n\n"), "{text}");

    let (_, running) = read_until(&one.edge, &jane().query("idle", "300"), "\"number\":1,").await;
    let stream = Client::new("jane");
    one.edge.ask(&stream).await.refuses(429, "Rate limit exceeded", "");
    drop(running);
    // Its place is free again as soon as it is gone.
    let opens = async { while one.edge.ask(&jane()).await.head.status == 429 {} };
    soon("the place is free", opens).await;
    assert_eq!(one.backend.now().connections, 0, "no backend was asked");
    one.check_law().await;
}

#[tokio::test]
async fn a_ticket_for_the_stream_is_one_for_its_self_test() {
    let one = One::start(Kind::Xians).await;
    let ids = "tenantId=acme&workflow=customer-support&participantId=jane";
    let ticket = async || {
        let asked = Ask::new("POST", format!("/events/ticket?{ids}")).header("X-API-Key", KEY);
        let reply = asked.send(one.edge.streams()).await;
        reply.json()["ticket"].as_str().expect("a ticket").to_owned()
    };
    let bare = jane().without("apikey");
    let good = bare.clone().query("ticket", &ticket().await);
    assert_eq!(one.edge.ask(&good).await.head.status, 200);
    assert_eq!(one.edge.ask(&good).await.head.status, 401, "it is used up");
    let bob = bare.query("participantId", "bob").query("ticket", &ticket().await);
    assert_eq!(one.edge.ask(&bob).await.head.status, 401, "it is Jane's");
    one.check_law().await;
}

#[tokio::test]
async fn a_process_that_leaves_ends_it_with_a_word() {
    let backend = backend(Kind::Xians).await;
    let mut edge = Edge::start(&Conf::new().backend(&backend).yaml()).await;
    let long = jane().query("idle", "300");
    let (mut wire, head) = long.ask("GET").start(edge.streams(), None).await.expect("an answer");
    let mut framing = head.get_framing();
    let (mut text, mut is_told) = (String::new(), false);
    while let Some(piece) = soon("a piece", wire.piece(&mut framing)).await.expect("a whole answer")
    {
        text.push_str(&String::from_utf8(piece).expect("UTF-8"));
        if text.contains("\"number\":1,") && !is_told {
            is_told = true;
            edge.signal("TERM").await;
        }
    }
    assert!(text.ends_with("\"reason\":\"draining\"}\n\n"), "{text}");
    assert_eq!(edge.wait_exit().await, 0);
    assert!(edge.log().contains("reason=draining"), "{}", edge.log());
}

#[tokio::test]
async fn the_command_says_in_words_what_it_found() {
    let one = One::start(Kind::Xians).await;
    let url = format!("http://{}{}", one.edge.streams(), Client::new("jane").target());
    let said = chatmux(&["selftest", "--idle", "1", &url]).await;
    assert_eq!(said.code, 0, "{said:?}");
    for want in ["ok   open", "buffering", "ok   compression", "note silence", "ok   cursor"] {
        assert!(said.out.contains(want), "{want}: {said:?}");
    }
    assert!(said.out.contains("-> ask with --idle 300"), "{said:?}");
    let refused = chatmux(&["selftest", "-H", "X-API-Key: nonsense", &url]).await;
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("401"), "{refused:?}");
    let elsewhere = format!("http://{}/metrics", one.edge.admin_address());
    let nothing = chatmux(&["selftest", &elsewhere]).await;
    assert_eq!(nothing.code, 1, "{nothing:?}");
    assert_eq!(chatmux(&["selftest", "--idle", "301", &url]).await.code, 2);
    one.check_law().await;
}
