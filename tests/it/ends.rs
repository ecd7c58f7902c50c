//! Ends of all kinds: chats that are over, clients that do not read, processes that stop.

use chatmux::scripted::{Backend, Conversation, Kind, Step};

use crate::support::{Client, Conf, Edge, One, Reply, backend, jane, say, soon, source_name};

/// One whose channels outlive their clients.
async fn lingering(kind: Kind) -> One {
    One::start_with(kind, |conf| conf.line("replay: {linger: 1h}")).await
}

#[track_caller]
fn end(backend: &Backend) {
    let who = Conversation::new(Vec::new());
    assert!(backend.speak(&jane(), &who, &Step::Ended));
}

#[tokio::test]
async fn a_chat_that_is_over_ends_the_stream_for_good() {
    let one = lingering(Kind::BrightPattern).await;
    let mut client = one.edge.open(&Client::new("jane")).await;
    client.all_up(&["voice"]).await;
    say(&one.backend, "last words");
    let words = client.expect("Chat").await;
    end(&one.backend);
    let status = client.expect("Status").await;
    assert_eq!(status.at("/data/state"), "ended");
    let down = client.expect("source_down").await;
    assert_eq!((down.source(), down.at("/reason")), ("voice", "ended"));
    assert_eq!(down.data.get("retryInSeconds"), None, "nothing is tried again");
    assert_eq!(client.expect("disconnected").await.at("/reason"), "sources_ended");
    assert_eq!(client.next().await, None);

    // Who missed the end gets it, and the same end.
    let missed = Client::new("jane").after(words.id.as_deref().expect("an id"));
    let mut again = one.edge.open(&missed).await;
    assert_eq!(again.expect("connected").await.data["resumed"], true);
    let names: Vec<_> = again.rest().await.into_iter().map(|event| event.name).collect();
    assert_eq!(names.last().map(String::as_str), Some("disconnected"), "{names:?}");
    assert_eq!(names.iter().filter(|name| *name == "Status").count(), 1);
    // Who has seen it is told to stop.
    let seen = one.edge.ask(&Client::new("jane").after(status.id.as_deref().expect("an id"))).await;
    assert_eq!((seen.head.status, seen.body.len()), (204, 0));
    one.check_law().await;
    let metrics = one.edge.metrics().await;
    let closed = [("reason", "sources_ended")];
    assert_eq!(metrics.sum("chatmux_client_streams_closed_total", &closed), 2);
}

#[tokio::test]
async fn a_chat_that_is_not_found_has_ended() {
    let one = lingering(Kind::BrightPattern).await;
    one.backend.expire_tokens();
    let mut client = one.edge.open(&Client::new("jane")).await;
    client.expect("connected").await;
    assert_eq!(client.expect("Status").await.at("/data/state"), "ended");
    assert_eq!(client.expect("source_down").await.at("/reason"), "ended");
    assert_eq!(client.expect("disconnected").await.at("/reason"), "sources_ended");
    assert_eq!(client.next().await, None);
    let polls = one.backend.event_requests().len();
    assert_eq!(
        one.edge.ask(&Client::new("jane").after(client.last_event_id())).await.head.status,
        204
    );
    assert_eq!(one.backend.event_requests().len(), polls, "it is not asked again");
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn a_chat_that_is_over_leaves_the_other_sources_alone() {
    let voice = backend(Kind::BrightPattern).await;
    let agent = backend(Kind::Xians).await;
    let edge = Edge::start(&Conf::new().backend(&voice).backend(&agent).yaml()).await;
    let mut client = edge.open(&Client::new("jane")).await;
    client.all_up(&["voice", "agent"]).await;
    end(&voice);
    client.expect("Status").await;
    assert_eq!(client.expect("source_down").await.source(), "voice");
    say(&agent, "still here");
    assert_eq!(client.expect("Chat").await.source(), "agent");
    // A client that joins now is told how things stand.
    let mut late = edge.open(&Client::new("jane")).await;
    late.expect("connected").await;
    let told = [late.next().await, late.next().await].map(|event| event.expect("an event").name);
    assert!(told.contains(&"source_up".to_owned()), "{told:?}");
    assert!(told.contains(&"source_down".to_owned()), "{told:?}");
    edge.check_law(&[("voice", &voice), ("agent", &agent)]).await;
}

#[tokio::test]
async fn the_end_of_a_salesforce_session_does_not_end_the_stream() {
    let one = One::start(Kind::Salesforce).await;
    let mut client = one.edge.open(&Client::new("jane")).await;
    client.all_up(&["care"]).await;
    end(&one.backend);
    assert_eq!(client.expect("Status").await.at("/data/state"), "ended");
    say(&one.backend, "open again");
    assert_eq!(client.expect("Chat").await.at("/text"), "open again");
    one.check_law().await;
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_up_nobody_and_is_closed() {
    let limits = |conf: Conf| {
        conf.line("replay: {events: 64, bytes: 256KiB, linger: 0s}").line("timeouts: {write: 1s}")
    };
    let one = One::start_with(Kind::Xians, limits).await;
    let slow = crate::support::EventSource::open_lazily(&one.edge, &Client::new("jane")).await;
    let mut quick = one.edge.open(&Client::new("jane")).await;
    quick.all_up(&["agent"]).await;
    let filler = "x".repeat(16 * 1024);
    for number in 0..400 {
        let text = format!("{number} {filler}");
        say(&one.backend, &text);
        quick.chat(&text).await;
    }
    let closed = |reason| {
        move |metrics: &crate::support::Metrics| {
            metrics.sum("chatmux_client_streams_closed_total", &[("reason", reason)])
        }
    };
    let (overtaken, stuck) = (closed("slow_consumer"), closed("write_timeout"));
    one.edge.until("the slow one is closed", |now| overtaken(now) + stuck(now) == 1).await;
    one.edge.until_open(1).await;
    say(&one.backend, "and on");
    quick.chat("and on").await;
    drop(slow);
    one.check_law().await;
}

#[track_caller]
fn check_draining(reply: &Reply) {
    reply.refuses(503, "Service Unavailable", "Try again");
    let secs = reply.head.header("retry-after").and_then(|secs| secs.parse::<u64>().ok());
    assert!(secs.is_some_and(|secs| secs >= 1), "{reply:?}");
}

/// Waits until `/ready` says that the process drains.
pub(crate) async fn until_draining(edge: &Edge) {
    let turns = async {
        loop {
            let reply = edge.admin("/ready").await;
            if reply.head.status == 503 {
                return reply;
            }
            tokio::task::yield_now().await;
        }
    };
    let reply = soon("/ready says that it drains", turns).await;
    assert_eq!(reply.json()["ready"], false);
    assert_eq!(reply.json()["reason"], "draining");
}

#[tokio::test]
async fn a_process_that_is_told_to_stop_tells_its_clients() {
    let mut one =
        One::start_with(Kind::Xians, |conf| conf.line("server: {threads: 2, drain: 4s}")).await;
    assert_eq!(one.edge.admin("/ready").await.head.status, 200);
    let mut clients = Vec::new();
    for _ in 0..8 {
        let mut client = one.edge.open(&Client::new("jane")).await;
        client.all_up(&["agent"]).await;
        clients.push(client);
    }
    one.check_law().await;
    one.edge.signal("TERM").await;
    until_draining(&one.edge).await;
    check_draining(&one.edge.ask(&Client::new("jane")).await);
    assert_eq!(one.edge.admin("/live").await.head.status, 200, "it is no failure");
    let mut retries = Vec::new();
    for client in &mut clients {
        let end = client.next_of(&["disconnected"]).await;
        assert_eq!(end.at("/reason"), "draining");
        retries.push(end.retry.expect("a retry: that keeps them apart"));
        assert_eq!(client.next().await, None, "the answer ends in order");
    }
    retries.sort_unstable();
    retries.dedup();
    assert!(retries.len() > 1, "{retries:?}");
    assert_eq!(one.edge.wait_exit().await, 0);
    let gone = one.backend.wait_for(|now| now.live_streams == 0);
    soon("the upstream is closed", gone).await;
}

#[tokio::test]
async fn a_process_ends_when_its_last_client_has_left() {
    let mut one = One::start_with(Kind::Xians, |conf| conf.line("server: {drain: 1h}")).await;
    let mut client = one.edge.open(&Client::new("jane")).await;
    client.all_up(&["agent"]).await;
    one.check_law().await;
    one.edge.signal("TERM").await;
    until_draining(&one.edge).await;
    client.close();
    assert_eq!(one.edge.wait_exit().await, 0);
}

#[tokio::test]
async fn a_second_signal_ends_the_process_at_once() {
    for second in ["TERM", "INT"] {
        let mut one = One::start_with(Kind::Xians, |conf| conf.line("server: {drain: 1h}")).await;
        let mut client = one.edge.open(&Client::new("jane")).await;
        client.all_up(&[source_name(Kind::Xians)]).await;
        one.check_law().await;
        one.edge.signal("TERM").await;
        until_draining(&one.edge).await;
        one.edge.signal(second).await;
        assert_eq!(one.edge.wait_exit().await, 0, "{second}");
    }
}

#[tokio::test]
async fn a_process_without_clients_ends_at_once() {
    for signal in ["TERM", "INT"] {
        let mut one = One::start_with(Kind::Xians, |conf| conf.line("server: {drain: 1h}")).await;
        one.edge.check_law(&[]).await;
        one.edge.signal(signal).await;
        assert_eq!(one.edge.wait_exit().await, 0, "{signal}");
    }
}
