//! Coming back: exactly what was missed, or a gap that says so.

use chatmux::scripted::{Kind, Step};

use crate::support::{Client, Four, One, jane, say};

/// One that keeps its channels for as long as the test runs.
async fn start(kind: Kind) -> One {
    One::start_with(kind, |conf| conf.line("replay: {events: 8, linger: 1h}")).await
}

#[tokio::test]
async fn a_client_that_comes_back_gets_exactly_what_it_missed() {
    let four = Four::start_with(|conf| conf.line("replay: {linger: 1h}")).await;
    let mut client = four.edge.open(&Client::new("jane")).await;
    client.all_up(&Four::NAMES).await;
    let mut number = 0_u32;
    for round in 0..5_u64 {
        for backend in &four.backends {
            say(backend, &format!("seen {round}"));
        }
        for _ in 0..4 {
            assert_eq!(client.message().await.at("/text"), format!("seen {round}"));
        }
        let last = client.last_event_id().to_owned();
        if round % 2 == 0 {
            client.close()
        } else {
            client.reset()
        }
        for backend in &four.backends {
            for _ in 0..3 {
                say(backend, &format!("missed {number}"));
                number += 1;
            }
        }
        let sent = u64::from(number) + 4 * (round + 1);
        four.edge
            .until("everything has arrived", |metrics| {
                metrics.sum("chatmux_events_published_total", &[]) == sent
            })
            .await;
        client = four.edge.open(&Client::new("jane").after(&last)).await;
        assert_eq!(client.expect("connected").await.data["resumed"], true);
        for _ in 0..4 {
            client.expect("source_up").await;
        }
        let mut missed = Vec::new();
        for _ in 0..12 {
            missed.push(client.expect("Chat").await.at("/text").to_owned());
        }
        missed.sort();
        let mut want: Vec<_> = (number - 12..number).map(|n| format!("missed {n}")).collect();
        want.sort();
        assert_eq!(missed, want, "round {round}");
    }
    four.check_law().await;
    let metrics = four.edge.metrics().await;
    let replays = |outcome| metrics.sum("chatmux_replay_requests_total", &[("outcome", outcome)]);
    assert_eq!((replays("replayed"), replays("partial"), replays("unknown")), (5, 0, 0));
    assert_eq!(metrics.sum("chatmux_replay_events_total", &[]), 60);
    // Those that were there at once; what was missed is as old as the client was away.
    assert_eq!(metrics.sum("chatmux_event_latency_seconds_count", &[]), 20);
    let opened =
        |resumed| metrics.sum("chatmux_client_streams_opened_total", &[("resumed", resumed)]);
    assert_eq!((opened("false"), opened("true")), (1, 5));
}

#[tokio::test]
async fn the_cursor_may_stand_in_the_query_and_the_header_wins() {
    let one = start(Kind::Xians).await;
    let mut client = one.edge.open(&Client::new("jane")).await;
    client.all_up(&["agent"]).await;
    let mut ids = Vec::new();
    for text in ["a", "b", "c"] {
        say(&one.backend, text);
        ids.push(client.chat(text).await.id.expect("an id"));
    }
    let query = Client::new("jane").query("lastEventId", &ids[0]);
    let mut stream = one.edge.open(&query).await;
    assert_eq!(stream.message().await.at("/text"), "b");
    assert_eq!(stream.message().await.at("/text"), "c");
    let mut stream = one.edge.open(&query.after(&ids[1])).await;
    let first = stream.message().await;
    assert_eq!(first.at("/text"), "c");
    assert_eq!(first.id.as_ref(), ids.last(), "the same event has the same cursor");
    let mut stream = one.edge.open(&Client::new("jane").after(&ids[2])).await;
    assert_eq!(stream.expect("connected").await.data["resumed"], true, "nothing was missed");
    say(&one.backend, "d");
    assert_eq!(stream.message().await.at("/text"), "d");
    one.check_law().await;
}

#[tokio::test]
async fn a_cursor_that_is_no_use_is_told_by_a_gap() {
    let one = start(Kind::Xians).await;
    let mut jane = one.edge.open(&Client::new("jane")).await;
    jane.all_up(&["agent"]).await;
    say(&one.backend, "hers");
    let of_jane = jane.chat("hers").await.id.expect("an id");
    let long = "9".repeat(4000);
    for (participant, cursor) in [
        ("jane", "nonsense"),
        ("jane", "1.0.1"),
        ("jane", "0"),
        ("jane", long.as_str()),
        ("john", of_jane.as_str()),
    ] {
        let mut stream = one.edge.open(&Client::new(participant).after(cursor)).await;
        let connected = stream.expect("connected").await;
        assert_eq!(connected.data["resumed"], false, "{cursor}");
        let gap = stream.expect("gap").await;
        assert_eq!(gap.at("/reason"), "cursor_expired", "{cursor}");
        assert_eq!(gap.id, None);
        stream.all_up(&["agent"]).await;
    }
    let mut stream = one.edge.open(&Client::new("jane").after("nonsense")).await;
    say(&one.backend, "goes on");
    assert_eq!(stream.message().await.at("/text"), "goes on", "nothing of the past is told");
    let metrics = one.edge.metrics().await;
    assert_eq!(metrics.sum("chatmux_gaps_total", &[("reason", "cursor_expired")]), 6);
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn a_cursor_that_the_ring_has_passed_is_told_before_what_is_left() {
    let one = start(Kind::Xians).await;
    let mut client = one.edge.open(&Client::new("jane")).await;
    client.all_up(&["agent"]).await;
    say(&one.backend, "first");
    client.chat("first").await;
    let cursor = client.last_event_id().to_owned();
    for number in 0..20 {
        say(&one.backend, &number.to_string());
        client.chat(&number.to_string()).await;
    }
    let mut late = one.edge.open(&Client::new("jane").after(&cursor)).await;
    late.expect("connected").await;
    assert_eq!(late.expect("gap").await.at("/reason"), "cursor_expired");
    let mut texts = Vec::new();
    for _ in 0..8 {
        texts.push(late.message().await.at("/text").to_owned());
    }
    let want: Vec<_> = (12..20).map(|number| number.to_string()).collect();
    assert_eq!(texts, want, "the ring holds eight");
    one.check_law().await;
}

#[tokio::test]
async fn a_lost_source_without_replay_leaves_a_gap_unless_its_history_tells() {
    for kind in [Kind::Openfire, Kind::Xians] {
        let one = start(kind).await;
        if kind == Kind::Xians {
            let broken = chatmux::scripted::Fault::status(500);
            one.backend.fault_on(chatmux::scripted::On::Path("history".to_owned()), 1, broken);
        }
        let mut client = one.edge.open(&Client::new("jane")).await;
        let name = crate::support::source_name(kind);
        client.all_up(&[name]).await;
        one.backend.fault_live(chatmux::scripted::Fault::Reset);
        let down = client.expect("source_down").await;
        assert_eq!((down.source(), down.at("/reason")), (name, "reset"));
        assert!(down.data["retryInSeconds"].as_u64().is_some_and(|secs| secs >= 1));
        let up = client.expect("source_up").await;
        assert_eq!(up.data["resumed"], false);
        let gap = client.expect("gap").await;
        assert_eq!((gap.source(), gap.at("/reason")), (name, "upstream_no_replay"));
        assert!(gap.at("/since") >= down.at("/timestamp").get(..10).unwrap_or_default());
        let who = chatmux::scripted::Conversation::new(Vec::new());
        one.backend.speak(&jane(), &who, &Step::AgentSays("again".to_owned()));
        client.chat("again").await;
        one.check_law().await;
    }
}
