//! Equal requests share one upstream stream, others do not; nobody leaves without being noticed.

use chatmux::scripted::{Audience, Backend, Conversation, Kind, Step};

use crate::support::{Client, Conf, Edge, Four, One, backend_with, options, say, soon};

#[tokio::test]
async fn twenty_clients_with_equal_requests_share_one_upstream_stream() {
    let four = Four::start().await;
    let mut clients = Vec::new();
    for _ in 0..20 {
        clients.push(four.edge.open(&Client::new("jane")).await);
    }
    for client in &mut clients {
        client.all_up(&Four::NAMES).await;
    }
    for backend in &four.backends {
        say(backend, "to all of you");
    }
    for client in &mut clients {
        for _ in 0..4 {
            assert_eq!(client.message().await.at("/text"), "to all of you");
        }
    }
    for kind in [Kind::Openfire, Kind::Xians, Kind::Salesforce] {
        assert_eq!(four.of(kind).now().streams_opened, 1, "{kind:?}");
    }
    assert_eq!(four.of(Kind::BrightPattern).answers_of(429), 0);
    four.check_law().await;
    let metrics = four.edge.metrics().await;
    for name in Four::NAMES {
        assert_eq!(metrics.frames(name).1, 1, "{name}: counted once, however many listen");
    }
    assert_eq!(metrics.sum("chatmux_events_sent_total", &[("event", "Chat")]), 80);

    drop(clients);
    four.edge.until_open(0).await;
    four.all_let_go().await;
    let metrics = four
        .edge
        .until("nothing is left", |metrics| metrics.sum("chatmux_channels", &[]) == 0)
        .await;
    assert_eq!(metrics.sum("chatmux_ring_bytes", &[]), 0);
    assert_eq!(metrics.sum("chatmux_upstream_streams", &[]), 0);
}

#[tokio::test]
async fn a_thousand_tabs_are_one_upstream_stream() {
    const TABS: usize = 1000;
    let one = One::start(Kind::Openfire).await;
    let mut tabs = Vec::new();
    for _ in 0..TABS {
        tabs.push(one.edge.open(&Client::new("jane")).await);
    }
    for tab in &mut tabs {
        tab.all_up(&["desk"]).await;
    }
    say(&one.backend, "to every tab");
    for tab in &mut tabs {
        assert_eq!(tab.message().await.at("/text"), "to every tab");
    }
    let now = one.backend.now();
    assert_eq!((now.streams_opened, now.connections), (1, 1), "{now:?}");
    one.check_law().await;
    let metrics = one.edge.metrics().await;
    assert_eq!(metrics.sum("chatmux_client_streams", &[]), 1000);
    assert_eq!(metrics.sum("chatmux_upstream_streams", &[]), 1);
}

/// A backend that knows two tokens of two users, and an edge that passes the clients' on.
async fn passing() -> (Backend, Edge) {
    let mut options = options(Kind::Openfire);
    options.tokens = vec![
        ("jane".to_owned(), "token-of-jane".to_owned()),
        ("john".to_owned(), "token-of-john".to_owned()),
    ];
    let backend = backend_with(Kind::Openfire, options).await;
    let entry = format!(
        "desk: {{backend: openfire, token: \"{{query.token}}\", url: \"{}\"}}",
        backend.url()
    );
    let edge = Edge::start(&Conf::new().entry("desk", entry).yaml()).await;
    (backend, edge)
}

#[tokio::test]
async fn another_token_is_another_upstream_stream() {
    let (backend, edge) = passing().await;
    let jane = Client::new("jane").query("token", "token-of-jane");
    let mut first = edge.open(&jane).await;
    first.all_up(&["desk"]).await;
    let mut second = edge.open(&jane).await;
    second.all_up(&["desk"]).await;
    assert_eq!(backend.now().streams_opened, 1);
    // The same participant, by somebody else's token: what that token opens is told to nobody else.
    let mut other = edge.open(&Client::new("jane").query("token", "token-of-john")).await;
    other.all_up(&["desk"]).await;
    assert_eq!(backend.now().streams_opened, 2);
    say(&backend, "for jane");
    first.chat("for jane").await;
    second.chat("for jane").await;
    let who = Conversation::new(Vec::new());
    let john = Audience::new("john");
    backend.speak(&john, &who, &Step::AgentSays("for john".to_owned()));
    assert_eq!(other.message().await.at("/text"), "for john", "and nothing before it");
    edge.check_law(&[("desk", &backend)]).await;
}

#[tokio::test]
async fn a_token_that_is_no_good_is_told_to_its_client_alone() {
    let (backend, edge) = passing().await;
    let mut good = edge.open(&Client::new("jane").query("token", "token-of-jane")).await;
    good.all_up(&["desk"]).await;
    let mut bad = edge.open(&Client::new("jane").query("token", "nonsense")).await;
    bad.expect("connected").await;
    let down = bad.expect("source_down").await;
    assert_eq!(down.at("/reason"), "unauthorized");
    say(&backend, "go on");
    assert_eq!(good.expect("Chat").await.at("/text"), "go on");
    edge.check_law(&[("desk", &backend)]).await;
}

#[tokio::test]
async fn another_participant_never_hears_what_is_not_hers() {
    // One stream of XiansAi tells everything of the workflow, whoever it is for.
    let one = One::start(Kind::Xians).await;
    let mut jane = one.edge.open(&Client::new("jane")).await;
    let mut john = one.edge.open(&Client::new("john")).await;
    jane.all_up(&["agent"]).await;
    john.all_up(&["agent"]).await;
    say(&one.backend, "for jane");
    let who = Conversation::new(Vec::new());
    let to_john = Audience::new("john");
    one.backend.speak(&to_john, &who, &Step::BotSays("for john".to_owned()));
    assert_eq!(jane.message().await.at("/text"), "for jane");
    assert_eq!(john.message().await.at("/text"), "for john");
    one.check_law().await;
    let metrics = one.edge.metrics().await;
    assert_eq!(metrics.discarded("agent", "foreign"), 2, "each stream has got the other's");
}

#[tokio::test]
async fn upstream_streams_live_on_for_their_linger() {
    let one = One::start_with(Kind::Xians, |conf| conf.line("replay: {linger: 1h}")).await;
    let mut client = one.edge.open(&Client::new("jane")).await;
    client.all_up(&["agent"]).await;
    client.close();
    one.edge.until_open(0).await;
    assert_eq!(one.backend.live_streams(), 1);
    let mut again = one.edge.open(&Client::new("jane")).await;
    again.expect("connected").await;
    again.expect("source_up").await;
    assert_eq!(one.backend.now().streams_opened, 1, "the same stream");
    one.check_law().await;
}

#[tokio::test]
async fn the_upstream_is_closed_when_the_last_client_has_left() {
    for is_reset in [false, true] {
        let one = One::start_with(Kind::Xians, |conf| conf.line("replay: {linger: 0s}")).await;
        let mut first = one.edge.open(&Client::new("jane")).await;
        let mut second = one.edge.open(&Client::new("jane")).await;
        first.all_up(&["agent"]).await;
        if is_reset {
            first.reset()
        } else {
            first.close()
        }
        one.edge.until_open(1).await;
        say(&one.backend, "still here");
        second.chat("still here").await;
        assert_eq!(one.backend.live_streams(), 1);
        if is_reset {
            second.reset()
        } else {
            second.close()
        }
        soon("the upstream is closed", one.backend.wait_for(|now| now.live_streams == 0)).await;
        let metrics = one
            .edge
            .until("both are counted", |metrics| {
                metrics.sum("chatmux_client_streams_closed_total", &[("reason", "client_gone")])
                    == 2
            })
            .await;
        assert_eq!(metrics.sum("chatmux_client_streams", &[]), 0);
        one.check_law().await;
    }
}
