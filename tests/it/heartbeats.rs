//! Signs of life: each stream on its own clock, counted per participant.

use chatmux::scripted::Kind;

use crate::support::{Client, Four, One, say};

/// A client that is told every second.
fn jane() -> Client {
    Client::new("jane").query("heartbeatSeconds", "1")
}

#[tokio::test]
async fn each_stream_beats_on_its_own_clock_while_the_backends_are_silent() {
    let four = Four::start().await;
    let mut quick = four.edge.open(&jane()).await;
    let mut slow = four.edge.open(&Client::new("jane").query("heartbeatSeconds", "300")).await;
    for _ in 0..3 {
        let beat = quick.next_of(&["heartbeat"]).await;
        assert_eq!(beat.data.as_object().map(serde_json::Map::len), Some(2), "{beat:?}");
        assert!(beat.id.is_none());
    }
    say(four.of(Kind::Xians), "now");
    slow.chat("now").await;
    assert!(slow.seen().iter().all(|event| event.name != "heartbeat"), "it beats every 300 s");
    let metrics = four.edge.metrics().await;
    assert!(metrics.sum("chatmux_heartbeats_sent_total", &[]) >= 3);
    four.check_law().await;
}

#[tokio::test]
async fn the_subscriber_count_is_that_of_the_participant() {
    let one = One::start(Kind::Xians).await;
    let mut first = one.edge.open(&jane()).await;
    let count = |want| move |event: &crate::support::Event| event.data["subscriberCount"] == want;
    first.find(count(1)).await;
    let second = one.edge.open(&jane().query("scope", "other")).await;
    first.find(count(2)).await;
    let other = one.edge.open(&Client::new("john")).await;
    first.find(count(2)).await;
    second.close();
    first.find(count(1)).await;
    other.close();
    first.find(count(1)).await;
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn numbers_out_of_bounds_are_clamped() {
    let one = One::start(Kind::Xians).await;
    for secs in ["0", "-7", "-99999999999999999999999999"] {
        let client = Client::new("jane").query("heartbeatSeconds", secs);
        let mut stream = one.edge.open(&client).await;
        stream.next_of(&["heartbeat"]).await;
    }
    let mut streams = Vec::new();
    for secs in ["301", "99999999999999999999999999"] {
        streams.push(one.edge.open(&Client::new("jane").query("heartbeatSeconds", secs)).await);
    }
    say(&one.backend, "now");
    for stream in &mut streams {
        stream.chat("now").await;
        assert!(stream.seen().iter().all(|event| event.name != "heartbeat"));
    }
    one.check_law().await;
}

#[tokio::test]
async fn a_route_may_have_narrower_bounds() {
    let bounds = ", heartbeat: {default: 1s, min: 1s, max: 1s}";
    let one = One::start_with(Kind::Xians, |conf| conf.route(bounds)).await;
    for client in [Client::new("jane"), Client::new("jane").without("heartbeatSeconds")] {
        one.edge.open(&client).await.next_of(&["heartbeat"]).await;
    }
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn what_is_no_integer_is_refused_by_name() {
    let one = One::start(Kind::Xians).await;
    for text in ["x", "", "1.5", "5s", " 5", "0x10"] {
        let reply = one.edge.ask(&Client::new("jane").query("heartbeatSeconds", text)).await;
        reply.refuses(400, "Bad Request", "heartbeatSeconds");
    }
    one.edge.check_law(&[]).await;
}
