//! Coming back: exactly what was missed, or a gap that says so.

use chatmux::scripted::{Frame, Kind, Step};

use crate::support::{
    Client, Conf, Edge, EventSource, Four, KINDS, One, backend, backend_with, jane, options, say,
    source_name,
};

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
        let name = source_name(kind);
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

/// The process ends and another one takes its place; in between this happens.
async fn restart(mut edge: Edge, conf: &Conf, meanwhile: impl FnOnce()) -> Edge {
    edge.signal("TERM").await;
    assert_eq!(edge.wait_exit().await, 0);
    drop(edge);
    meanwhile();
    Edge::start(&conf.yaml()).await
}

/// The texts of a stream up to this one, and the sources whose gaps were told.
async fn until_said(stream: &mut EventSource, last: &str) -> (Vec<String>, Vec<(String, String)>) {
    stream.chat(last).await;
    let named = |name| stream.seen().iter().filter(move |event| event.name == name);
    let texts = named("Chat").map(|event| event.at("/text").to_owned()).collect();
    let gaps = named("gap").map(|gap| (gap.source().to_owned(), gap.at("/reason").to_owned()));
    (texts, gaps.collect())
}

#[tokio::test]
async fn a_restart_loses_nothing_that_the_backend_keeps() {
    for kind in KINDS {
        let (backend, name) = (backend(kind).await, source_name(kind));
        let conf = Conf::new().backend(&backend);
        let edge = Edge::start(&conf.yaml()).await;
        let mut client = edge.open(&Client::new("jane")).await;
        client.all_up(&[name]).await;
        let mut cursors = Vec::new();
        for text in ["a", "b", "c"] {
            say(&backend, text);
            cursors.push(client.chat(text).await.id.expect("an id"));
        }
        let edge = restart(edge, &conf, || {
            client.close();
            say(&backend, "d");
            say(&backend, "e");
        })
        .await;
        let told = ["a", "b", "c", "d", "e", "f"];
        // The one that saw more comes first; another one has not been here yet.
        let mut ahead = edge.open(&Client::new("jane").after(&cursors[2])).await;
        let mut behind = edge.open(&Client::new("jane").after(&cursors[0])).await;
        let mut fresh = edge.open(&Client::new("jane")).await;
        for stream in [&mut ahead, &mut behind, &mut fresh] {
            stream.all_up(&[name]).await;
        }
        // It may come while the history is still read, and is in it then: news all the same.
        say(&backend, "f");
        let (of_ahead, of_behind) =
            (until_said(&mut ahead, "f").await, until_said(&mut behind, "f").await);
        if kind == Kind::Openfire {
            // Its archive is asked by person, and after a restart nobody knows with whom she
            // talked. One who has seen less is told apart, which all hear.
            for (texts, gaps) in [of_ahead, of_behind] {
                assert_eq!(texts, ["f"], "it keeps nothing");
                assert!(!gaps.is_empty());
                assert!(gaps.iter().all(|gap| *gap == ("desk".into(), "restarted".into())));
            }
            continue;
        }
        assert_eq!((of_ahead.0.as_slice(), of_ahead.1.len()), (&told.map(str::to_owned)[3..], 0));
        assert_eq!((of_behind.0.as_slice(), of_behind.1.len()), (&told.map(str::to_owned)[1..], 0));
        let (of_fresh, _) = until_said(&mut fresh, "f").await;
        // Bright Pattern counts in seconds: all of the running second may be news.
        let is_coarse = kind == Kind::BrightPattern;
        assert!(is_coarse || of_fresh == ["f"], "{kind:?}: nothing of the past: {of_fresh:?}");
        // The first had its own place, and has it still after what it was told again.
        let last = ahead.last_event_id().to_owned();
        drop(ahead);
        say(&backend, "g");
        let mut again = edge.open(&Client::new("jane").after(&last)).await;
        assert_eq!(again.expect("connected").await.data["resumed"], true);
        assert_eq!(again.message().await.at("/text"), "g");
        edge.check_law(&[]).await;
        if kind == Kind::Salesforce {
            let asked = backend.event_requests();
            let ids: Vec<_> = asked.iter().map(|ask| ask.header("last-event-id")).collect();
            assert_eq!(ids.len(), 2);
            assert!(ids[0].is_none() && ids[1].is_some(), "{ids:?}");
        }
    }
}

#[tokio::test]
async fn what_is_dated_ahead_makes_nobody_miss_anything() {
    let backend = backend(Kind::Xians).await;
    let conf = Conf::new().backend(&backend);
    let edge = Edge::start(&conf.yaml()).await;
    let mut client = edge.open(&Client::new("jane")).await;
    client.all_up(&["agent"]).await;
    say(&backend, "a");
    client.chat("a").await;
    let ahead = r#"{"id":"x1","createdAt":"2099-01-01T00:00:00Z","direction":"Outgoing",
        "messageType":"Chat","text":"from the future","participantId":"jane",
        "workflowId":"acme:customer-support","workflowType":"customer-support"}"#;
    backend.push(&jane(), Frame::new("Chat", ahead.replace('\n', "")));
    let said = client.chat("from the future").await;
    assert_eq!(said.at("/createdAt"), "2099-01-01T00:00:00.000Z", "clients are told what it says");
    let cursor = said.id.expect("an id");
    let edge = restart(edge, &conf, || {
        client.close();
        say(&backend, "b");
        say(&backend, "c");
    })
    .await;
    let mut back = edge.open(&Client::new("jane").after(&cursor)).await;
    back.all_up(&["agent"]).await;
    say(&backend, "d");
    let (texts, gaps) = until_said(&mut back, "d").await;
    assert_eq!((texts.as_slice(), gaps.len()), (&["b", "c", "d"].map(str::to_owned)[..], 0));
    edge.check_law(&[]).await;
}

#[tokio::test]
async fn a_salesforce_stream_of_all_conversations_goes_on_after_a_restart() {
    for replay in [4096, 0] {
        let mut options = options(Kind::Salesforce);
        options.replay = replay;
        let backend = backend_with(Kind::Salesforce, options).await;
        let entry = format!(
            "care: {{backend: salesforce, org_id: \"00D000000000001\", bearer: salesforce-token, \
             url: \"{}\"}}",
            backend.url()
        );
        let conf = Conf::new().entry("care", entry);
        let edge = Edge::start(&conf.yaml()).await;
        let mut client = edge.open(&Client::new("jane")).await;
        client.all_up(&["care"]).await;
        for text in ["a", "b"] {
            say(&backend, text);
            client.chat(text).await;
        }
        let last = client.last_event_id().to_owned();
        let edge = restart(edge, &conf, || {
            drop(client);
            say(&backend, "c");
        })
        .await;
        let mut stream = edge.open(&Client::new("jane").after(&last)).await;
        assert_eq!(stream.expect("connected").await.data["resumed"], true);
        assert_eq!(stream.expect("source_up").await.data["resumed"], true);
        say(&backend, "d");
        // How far back the backend reaches it does not say; the history makes sure.
        let want = ["c", "d"].map(str::to_owned).to_vec();
        assert_eq!(until_said(&mut stream, "d").await, (want, Vec::new()));
    }
}

/// What was said on a stream so far, and by which source.
fn said_by_sources(stream: &EventSource) -> Vec<String> {
    let messages = stream.seen().iter().filter(|event| !event.is_control());
    messages.map(|event| format!("{} {}", event.source(), event.at("/text"))).collect()
}

#[tokio::test]
async fn restarts_with_all_four_backends_are_seamless_for_those_that_keep_something() {
    let four = Four::start().await;
    let conf = four.backends.iter().fold(Conf::new(), Conf::backend);
    let Four { backends, mut edge } = four;
    let mut cursors: Vec<Option<String>> = vec![None; 4];
    let mut seen: Vec<Vec<String>> = vec![Vec::new(); 4];
    for round in 0..4_usize {
        let mut streams = Vec::new();
        for cursor in &cursors {
            let client = match cursor {
                Some(cursor) => Client::new("jane").after(cursor),
                None => Client::new("jane"),
            };
            streams.push(edge.open(&client).await);
        }
        for stream in &mut streams {
            stream.all_up(&Four::NAMES).await;
        }
        for backend in &backends {
            say(backend, &format!("live {round}"));
        }
        // Each leaves at another place.
        for (index, mut stream) in streams.into_iter().enumerate() {
            let mut lives = 0;
            while lives < index + 1 {
                let event = stream.message().await;
                lives += usize::from(event.at("/text") == format!("live {round}"));
            }
            seen[index].extend(said_by_sources(&stream));
            cursors[index] = Some(stream.last_event_id().to_owned());
        }
        edge = restart(edge, &conf, || {
            for backend in &backends {
                say(backend, &format!("away {round}"));
            }
        })
        .await;
    }
    for (index, cursor) in cursors.iter().enumerate() {
        let cursor = cursor.as_ref().expect("a cursor");
        let mut stream = edge.open(&Client::new("jane").after(cursor)).await;
        stream.all_up(&Four::NAMES).await;
        for backend in &backends {
            say(backend, &format!("end {index}"));
        }
        let mut ends = 0;
        while ends < 4 {
            let event = stream.message().await;
            ends += usize::from(event.at("/text") == format!("end {index}"));
        }
        seen[index].extend(said_by_sources(&stream));
    }
    for (index, seen) in seen.iter().enumerate() {
        for name in ["agent", "care", "voice"] {
            let of_source = seen.iter().filter_map(|line| line.strip_prefix(&format!("{name} ")));
            let mut want: Vec<_> = (0..4)
                .flat_map(|round| [format!("live {round}"), format!("away {round}")])
                .collect();
            want.extend((0..=index).map(|end| format!("end {end}")));
            assert_eq!(of_source.collect::<Vec<_>>(), want, "{name}, client {index}");
        }
    }
}

#[tokio::test]
async fn a_log_that_was_let_go_is_made_anew_from_the_history() {
    let one = One::start_with(Kind::Xians, |conf| conf.line("replay: {linger: 0s}")).await;
    let mut client = one.edge.open(&Client::new("jane")).await;
    client.all_up(&["agent"]).await;
    say(&one.backend, "a");
    client.chat("a").await;
    let last = client.last_event_id().to_owned();
    drop(client);
    let gone = |metrics: &crate::support::Metrics| metrics.sum("chatmux_channels", &[]) == 0;
    one.edge.until("the log is gone", gone).await;
    say(&one.backend, "b");
    let mut stream = one.edge.open(&Client::new("jane").after(&last)).await;
    assert_eq!(stream.expect("connected").await.data["resumed"], true);
    assert_eq!(stream.message().await.at("/text"), "b");
    // The history fails: what is missing cannot be had, and is told.
    let last = stream.last_event_id().to_owned();
    drop(stream);
    one.edge.until("the log is gone", gone).await;
    let broken = chatmux::scripted::Fault::status(500);
    one.backend.fault_on(chatmux::scripted::On::Path("history".to_owned()), 1, broken);
    say(&one.backend, "lost");
    let mut stream = one.edge.open(&Client::new("jane").after(&last)).await;
    let gap = stream.next_of(&["gap"]).await;
    assert_eq!((gap.source(), gap.at("/reason")), ("agent", "restarted"));
    assert!(!gap.at("/since").is_empty());
    say(&one.backend, "c");
    assert_eq!(stream.message().await.at("/text"), "c");
    let metrics = one.edge.metrics().await;
    assert_eq!(metrics.sum("chatmux_gaps_total", &[("reason", "restarted")]), 1);
}

#[tokio::test]
async fn a_stream_ends_at_its_age_and_goes_on_where_it_was() {
    let one = One::start_with(Kind::Xians, |conf| {
        conf.line("server: {threads: 1, drain: 1s, max_age: 1h}").route(", max_age: 1s")
    })
    .await;
    let mut client = one.edge.open(&Client::new("jane")).await;
    client.all_up(&["agent"]).await;
    say(&one.backend, "a");
    let rest = client.rest().await;
    let end = rest.last().expect("an end");
    assert_eq!((end.name.as_str(), end.at("/reason")), ("disconnected", "max_age"));
    say(&one.backend, "b");
    let last = client.last_event_id().to_owned();
    let mut stream = one.edge.open(&Client::new("jane").after(&last)).await;
    assert_eq!(stream.expect("connected").await.data["resumed"], true);
    assert_eq!(stream.message().await.at("/text"), "b");
    let metrics = one.edge.metrics().await;
    let closed = [("reason", "max_age")];
    assert_eq!(metrics.sum("chatmux_client_streams_closed_total", &closed), 1);
}
