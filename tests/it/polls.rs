//! One poll of a chat at a time, whoever listens; the backend refuses a second one.

use std::collections::HashSet;

use chatmux::scripted::{Kind, Options};

use crate::support::{Client, Conf, Edge, backend_with, options, say, soon};

/// Clients of the chat, on two routes.
const CLIENTS: usize = 30;

#[tokio::test]
async fn one_poll_is_in_flight_whatever_the_number_of_clients_and_routes() {
    let backend = backend_with(
        Kind::BrightPattern,
        Options { hold: std::time::Duration::from_millis(50), ..options(Kind::BrightPattern) },
    )
    .await;
    let route = "{path: /other, sources: [voice]}";
    let conf = Conf::new().source("voice", &backend, "").another_route(route);
    let edge = Edge::start(&conf.yaml()).await;
    let mut clients = Vec::new();
    for number in 0..CLIENTS {
        let path = if number % 2 == 0 { "/events" } else { "/other" };
        clients.push(edge.open(&Client::new("jane").path(path)).await);
    }
    for client in &mut clients {
        client.all_up(&["voice"]).await;
    }
    for text in ["one", "two", "three"] {
        say(&backend, text);
        for client in &mut clients {
            assert_eq!(client.message().await.at("/text"), text);
        }
    }
    let polled = backend.now().polls_answered;
    let more = backend.wait_for(|now| {
        assert!(now.held_polls <= 1, "{now:?}");
        now.polls_answered >= polled + 2
    });
    soon("more polls", more).await;
    assert_eq!(backend.answers_of(429), 0, "no poll has met another");
    let polls = backend.event_requests();
    let nonces: HashSet<_> = polls.iter().map(|poll| poll.query("nonce")).collect();
    assert_eq!(nonces.len(), polls.len(), "an answer in a cache is no answer");
    for poll in &polls {
        assert!(poll.query("nonce").is_some_and(|nonce| !nonce.is_empty()));
        assert_eq!(poll.header("cache-control"), Some("no-cache"));
    }
    edge.check_law(&[("voice", &backend)]).await;
}
