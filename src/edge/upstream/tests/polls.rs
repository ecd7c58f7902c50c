//! One poll at a time, and what becomes of its answer.

use std::time::Instant;

use super::*;
use crate::scripted::{Fault, On};

const VOICE: &str = "app_id: webchat, tenant_url: acme.example.com, chat: c-1";

async fn voice(hold: Duration) -> Backend {
    start(Kind::BrightPattern, |options| {
        options.chats = vec![("c-1".into(), String::new())];
        options.hold = hold;
    })
    .await
}

fn jane() -> Audience {
    Audience::new("jane").conversation("c-1")
}

#[tokio::test]
async fn an_answer_is_delivered_before_the_next_poll() {
    let backend = voice(Duration::from_millis(100)).await;
    let bench = Bench::new(&backend, VOICE);
    let mut client = bench.open("jane", "");
    client.nth("source_up", 1).await;
    for number in 0..10 {
        let text = format!("m{number}");
        let answered = until(&backend, |now| now.held_polls == 1).await.polls_answered;
        say(&backend, &jane(), &text);
        until(&backend, |now| now.polls_answered > answered).await;
        // The next poll is there, so the answer of the one before must be in the log.
        until(&backend, |now| now.held_polls == 1).await;
        client.read();
        assert_eq!(client.texts().last(), Some(&text.as_str()));
    }
    assert_eq!(backend.answers_of(429), 0);
}

#[tokio::test]
async fn polls_that_meet_another_are_backed_off() {
    let json = || vec![("Content-Type".to_owned(), "application/json".to_owned())];
    let crowded = r#"{"error_code":"5509","error_message":"Too many concurrent poll requests"}"#;
    for (fault, reason) in [
        (Fault::Status(429, json(), crowded.into()), "rate_limited"),
        (Fault::Status(400, json(), crowded.into()), "rate_limited"),
        (Fault::status(429), "rate_limited"),
        (Fault::Status(400, Vec::new(), "Bad request".into()), "bad_status"),
    ] {
        let backend = voice(Duration::from_millis(100)).await;
        backend.fault_on(On::Events, 3, fault);
        let bench = Bench::new(&backend, VOICE);
        let mut client = bench.open("jane", "");
        client.nth("source_up", 1).await;
        assert_eq!(client.downs(), [reason], "told once, tried again");
        let polls: Vec<Instant> =
            backend.event_requests().iter().map(|poll| poll.at.into_std()).collect();
        for pair in polls[..4].windows(2) {
            let pause = pair[1].duration_since(pair[0]);
            assert!(pause >= crate::proto::backoff::FLOOR, "{reason}: {pause:?}");
        }
    }
}

#[tokio::test]
async fn a_poll_is_waited_for_longer_than_it_is_held_and_not_for_ever() {
    let backend = voice(Duration::from_millis(1500)).await;
    let bench = Bench::new(&backend, VOICE);
    let mut client = bench.open_with("jane", "", |resolved| {
        // The vendor's hold is 5 to 15 s.
        assert!(resolved.request.silence_secs >= 2 * 15);
        resolved.request.silence_secs = 3;
    });
    client.nth("source_up", 1).await;
    until(&backend, |now| now.polls_answered == 2).await;
    client.read();
    assert_eq!(client.downs().len(), 0, "held polls are no losses");
    until(&backend, |now| now.held_polls == 1).await;
    backend.fault_live(Fault::Stall);
    let down = client.nth("source_down", 1).await;
    assert_eq!(down["reason"], "silent");
    say(&backend, &jane(), "after");
    client.nth("Chat", 1).await;
    assert_eq!((client.texts(), client.count("gap")), (vec!["after"], 0));
}

#[tokio::test]
async fn a_poll_that_dies_unanswered_on_an_old_connection_loses_nothing() {
    let backend = voice(Duration::from_millis(100)).await;
    let bench = Bench::new(&backend, VOICE);
    let mut client = bench.open("jane", "");
    client.nth("source_up", 1).await;
    until(&backend, |now| now.held_polls == 1).await;
    // It takes the message and writes not a byte of it: nobody can tell that from a connection
    // that was closed before.
    backend.fault_live(Fault::CloseAfter(0));
    say(&backend, &jane(), "taken");
    client.nth("Chat", 1).await;
    say(&backend, &jane(), "next");
    client.nth("Chat", 2).await;
    assert_eq!((client.texts(), client.count("gap")), (vec!["taken", "next"], 0));
}
