//! Events that are the answer to a sent one: who is told them, and that none is lost.

use std::time::Duration;

use chatmux::scripted::{Backend, Fault, Kind, On, Options};
use serde_json::json;

use crate::support::{
    Ask, Client, Conf, Edge, EventSource, KEY, backend_with, jane, options, say, soon,
};

/// The path of the chat's events at the edge.
fn events() -> String {
    format!("/voice/chats/{}/events", jane().conversation)
}

/// A call of this participant's that sends these events.
fn send(participant: &str, body: &serde_json::Value) -> Ask {
    let who = format!("tenantId=acme&workflow=customer-support&participantId={participant}");
    let chat = jane().conversation;
    Ask::new("POST", format!("{}?{who}&chatId={chat}&apikey={KEY}", events()))
        .header("Content-Type", "application/json")
        .body(body.to_string())
}

fn typing() -> serde_json::Value {
    json!({"events": [{"event": "chat_session_typing"}]})
}

fn message(text: &str) -> serde_json::Value {
    json!({"events": [{"event": "chat_session_message", "msg_id": "c-1", "msg": text}]})
}

/// Version 1 of the chat, which answers sent events with those that wait, and an edge in front.
async fn front(options: Options, more: &str) -> (Backend, Edge) {
    let backend = backend_with(Kind::BrightPattern, options).await;
    let url = backend.url().replace("/v2", "/v1");
    let entry = format!(
        "voice: {{backend: brightpattern, app_id: webchat, tenant_url: acme.example.com, \
         chat: \"{{query.chatId}}\", url: \"{url}\"}}"
    );
    let line = format!("proxy: [{{path: /voice/, source: voice{more}}}]");
    let edge = Edge::start(&Conf::new().entry("voice", entry).line(&line).yaml()).await;
    (backend, edge)
}

fn quiet() -> Options {
    Options { echo: false, ..options(Kind::BrightPattern) }
}

fn client(participant: &str) -> Client {
    Client::new(participant).query("chatId", &jane().conversation).query("heartbeatSeconds", "1")
}

async fn open(edge: &Edge, participant: &str) -> EventSource {
    let mut client = edge.open(&client(participant)).await;
    client.all_up(&["voice"]).await;
    client
}

/// All that the stream tells up to its next sign of life but one: whatever was on its way has
/// come by then.
async fn until_beats(client: &mut EventSource) -> Vec<String> {
    let (mut told, mut beats) = (Vec::new(), 0);
    while beats < 2 {
        let event = client.next().await.expect("the stream goes on");
        match event.name.as_str() {
            "heartbeat" => beats += 1,
            name => told.push(format!("{name} {}", event.at("/text"))),
        }
    }
    told
}

#[tokio::test]
async fn an_answer_is_told_nobody_whom_the_backend_has_not_let_in() {
    let (backend, edge) = front(quiet(), "").await;
    backend.fault_on(On::Events, 1000, Fault::status(401));
    let mut mallory = edge.open(&client("mallory")).await;
    assert_eq!(mallory.next_of(&["source_down"]).await.at("/reason"), "unauthorized");
    say(&backend, "for Jane alone");
    let reply = send("jane", &typing()).send(edge.streams()).await;
    assert!(reply.text().contains("for Jane alone"), "{reply:?}");
    assert_eq!(until_beats(&mut mallory).await, Vec::<String>::new());
}

#[tokio::test]
async fn what_a_backend_refuses_enters_no_stream() {
    let (backend, edge) = front(quiet(), "").await;
    let mut client = open(&edge, "jane").await;
    let error = r#"{"error_code":"5003","error_message":"JSON decode error"}"#;
    let json = || vec![("Content-Type".to_owned(), "application/json".to_owned())];
    for (participant, status) in [("mallory", 403), ("jane", 400), ("jane", 500)] {
        backend.fault_on(On::Rest, 1, Fault::Status(status, json(), error.into()));
        let reply = send(participant, &typing()).send(edge.streams()).await;
        assert_eq!((reply.head.status, reply.text().as_str()), (status, error));
    }
    say(&backend, "after that");
    client.chat("after that").await;
    let told: Vec<_> = client.seen().iter().map(|event| event.name.as_str()).collect();
    assert!(!told.contains(&"Raw") && !told.contains(&"gap"), "{told:?}");
    edge.check_law(&[]).await;
}

#[tokio::test]
async fn what_somebody_else_was_answered_with_is_asked_for_from_the_history() {
    // The chat is everybody's here, as far as the backend knows.
    let (backend, edge) = front(Options { answers: true, ..quiet() }, "").await;
    let mut client = open(&edge, "jane").await;
    let reply = send("mallory", &message("hi")).send(edge.streams()).await;
    assert!(reply.text().contains("You wrote: hi"), "{reply:?}");
    client.chat("You wrote: hi").await;
    say(&backend, "after that");
    client.chat("after that").await;
    let told = client.seen().iter().filter(|event| event.at("/text") == "You wrote: hi").count();
    assert_eq!(told, 1);
    let asked = backend.requests().iter().any(|request| request.path().ends_with("/history"));
    assert!(asked, "it was no poll that told it");
}

#[tokio::test]
async fn an_answer_that_does_not_arrive_whole_costs_no_event() {
    let options = Options { answers: true, ..quiet() };
    let (backend, edge) = front(options, ", download: 1KiB, timeout: 500ms").await;
    let mut client = open(&edge, "jane").await;
    let (long, text) = ("x".repeat(2000), "hi");
    for (number, (fault, text, status)) in [
        (Some(Fault::Gzip), text, Some(502)),
        (Some(Fault::CloseMidEvent), text, None),
        (Some(Fault::CloseAfter(20)), text, Some(502)),
        (Some(Fault::ContentType("text/event-stream".to_owned())), text, Some(403)),
        (Some(Fault::Dribble(1, Duration::from_secs(600))), text, Some(504)),
        (None, long.as_str(), Some(502)),
    ]
    .into_iter()
    .enumerate()
    {
        let text = format!("{number} {text}");
        let said = fault.clone();
        if let Some(fault) = fault {
            backend.fault_on(On::Rest, 1, fault);
        }
        let ask = send("jane", &message(&text));
        match status {
            Some(status) => {
                let reply = ask.send(edge.streams()).await;
                assert_eq!(reply.head.status, status, "{said:?} {reply:?}");
            }
            None => {
                let (mut wire, head) =
                    soon("a head", ask.start(edge.streams(), None)).await.expect("a head");
                let body = soon("the end", wire.body(&head)).await;
                assert!(body.is_err(), "{said:?} {body:?}");
            }
        }
        client.chat(&format!("You wrote: {text}")).await;
    }
    let told: Vec<_> = client.seen().iter().map(|event| event.name.as_str()).collect();
    assert!(!told.contains(&"Raw") && !told.contains(&"gap"), "{told:?}");
    edge.check_law(&[]).await;
}

#[tokio::test]
async fn a_client_that_leaves_takes_no_event_with_it() {
    let (backend, edge) = front(Options { answers: true, ..quiet() }, "").await;
    let mut client = open(&edge, "jane").await;
    backend.fault_on(On::Rest, 1, Fault::Dribble(1, Duration::from_millis(20)));
    let ask = send("jane", &message("bye"));
    let (wire, head) = soon("a head", ask.start(edge.streams(), None)).await.expect("a head");
    assert_eq!(head.status, 200);
    drop(wire);
    client.chat("You wrote: bye").await;
    // Where the history cannot be had either, the stream says so.
    backend.fault_on(On::Path("/history".to_owned()), 1, Fault::status(500));
    backend.fault_on(On::Rest, 1, Fault::Gzip);
    send("jane", &message("lost")).send(edge.streams()).await;
    let gap = client.next_of(&["gap"]).await;
    assert_eq!(gap.at("/source/name"), "voice", "{gap:?}");
    edge.check_law(&[]).await;
}
