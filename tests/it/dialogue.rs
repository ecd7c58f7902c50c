//! One conversation, four dialects: the same unified sequence, as far as each can say it.
//!
//! Ids, times and `source` differ and are left out; what a dialect has no words for stands in
//! the table.

use chatmux::scripted::{Conversation, Kind, Pace};
use serde_json::{Value, json};

use crate::support::{Client, Conf, Edge, Event, KINDS, backend, jane, say, soon, source_name};

use Kind::{BrightPattern, Openfire, Salesforce, Xians};

/// One event of the unified sequence.
struct Line {
    name: &'static str,
    direction: &'static str,
    /// For `Chat` alone.
    text: &'static str,
    /// What must stand in `data`, whatever else does.
    data: Value,
    /// Whose dialect can say it.
    spoken_by: &'static [Kind],
}

const ALL: &[Kind] = &[Openfire, Xians, Salesforce, BrightPattern];
/// XiansAi knows messages and hand-overs alone.
const CHATS: &[Kind] = &[Openfire, Salesforce, BrightPattern];
/// Openfire names nobody who joins or leaves a chat with one person, and has no end of it.
const CALLS: &[Kind] = &[Salesforce, BrightPattern];

fn event(name: &'static str, data: Value, spoken_by: &'static [Kind]) -> Line {
    Line { name, direction: "Outgoing", text: "", data, spoken_by }
}

fn heard(text: &'static str) -> Line {
    Line { text, ..event("Chat", json!({}), ALL) }
}

fn said(text: &'static str) -> Line {
    Line { direction: "Incoming", text, ..event("Chat", json!({}), CHATS) }
}

fn party(change: &str, name: &str) -> Line {
    event("Participant", json!({"change": change, "participant": {"name": name}}), CALLS)
}

fn typing(state: &str) -> Line {
    event("Typing", json!({ "state": state }), CHATS)
}

fn receipt(receipt: &str) -> Line {
    event("Receipt", json!({ "receipt": receipt }), CHATS)
}

/// `Conversation::support_case` in the unified vocabulary.
fn support_case() -> Vec<Line> {
    let names = json!({"fromAgent": "Ava", "toAgent": "Zoë Núñez"});
    let completed = json!({"phase": "completed", "reason": "transfer", "fromAgent": "Ava",
                           "toAgent": "Zoë Núñez"});
    vec![
        event("Status", json!({"state": "queued", "estimatedWaitSeconds": 45}), CHATS),
        party("joined", "Ava"),
        heard("Hi, I am Ava 👋 How can I help you today?"),
        said("My order \"1042\" has not arrived – où est mon colis ?"),
        receipt("delivered"),
        heard("Let me look.\nOrder 1042: two items, shipped on Monday."),
        said("I would like to talk to a person, please"),
        heard("Of course. One moment…"),
        party("left", "Ava"),
        party("joined", "Zoë Núñez"),
        // Each its own kind of hand-over: an offer of a room, a message, people.
        event("Handoff", json!({"phase": "accepted"}), &[Openfire]),
        event("Handoff", names, &[Xians]),
        event("Handoff", completed, CALLS),
        receipt("read"),
        typing("started"),
        heard("Hello, this is Zoë. I'm sorry about the wait 🙏"),
        typing("stopped"),
        said("No problem 😀"),
        typing("started"),
        heard("The carrier wrote: \"left at C:\\Dock\\7\". That can't be right & I'll reship it."),
        typing("stopped"),
        event("File", json!({"files": [{"kind": "attachment", "name": "étiquette.pdf"}]}), CALLS),
        event("File", json!({"files": [{"kind": "attachment"}]}), &[Openfire]),
        heard("Keep this <label> in case 注文 1042 turns up twice."),
        said("Thank you! ¡Gracias!"),
        receipt("read"),
        heard("You're welcome. Goodbye!"),
        party("left", "Zoë Núñez"),
        event("Status", json!({"state": "ended"}), CALLS),
    ]
}

/// Whether all of `part` stands in `whole`.
fn holds(whole: &Value, part: &Value) -> bool {
    match (whole, part) {
        (Value::Object(whole), Value::Object(part)) => {
            part.iter().all(|(key, part)| whole.get(key).is_some_and(|whole| holds(whole, part)))
        }
        (Value::Array(whole), Value::Array(part)) => {
            whole.len() == part.len()
                && whole.iter().zip(part).all(|(whole, part)| holds(whole, part))
        }
        (whole, part) => whole == part,
    }
}

#[track_caller]
fn check(kind: Kind, got: &Event, want: &Line) {
    let at = format!("{kind:?}: {got:?}");
    assert_eq!((got.name.as_str(), got.at("/direction")), (want.name, want.direction), "{at}");
    if want.name == "Chat" {
        assert_eq!(got.at("/text"), want.text, "{at}");
    }
    let data = got.data.get("data").cloned().unwrap_or_else(|| json!({}));
    assert!(holds(&data, &want.data), "{at} does not hold {}", want.data);
    assert_eq!(got.at("/source/name"), source_name(kind), "{at}");
    assert_eq!(got.at("/source/backend"), kind.name(), "{at}");
}

async fn check_backend(kind: Kind) {
    let backend = backend(kind).await;
    let edge = Edge::start(&Conf::new().backend(&backend).yaml()).await;
    let mut client = edge.open(&Client::new("jane")).await;
    client.all_up(&[source_name(kind)]).await;
    let played = backend.play(&jane(), &Conversation::support_case(), Pace::AT_ONCE);
    soon("the script is played", played).await.expect("played");

    let mut ids = Vec::new();
    let mut own_message = String::new();
    for line in support_case().iter().filter(|line| line.spoken_by.contains(&kind)) {
        let event = client.message().await;
        check(kind, &event, line);
        let id = event.at("/id").to_owned();
        match event.name.as_str() {
            "Chat" if line.direction == "Incoming" => own_message.clone_from(&id),
            "Receipt" => assert_eq!(event.at("/data/messageId"), own_message, "{event:?}"),
            "Handoff" if CALLS.contains(&kind) => assert!(id.ends_with(".handoff"), "{id}"),
            _ => {}
        }
        assert!(!ids.contains(&id), "{kind:?}: {id} is there twice");
        ids.push(id);
    }
    if kind == BrightPattern {
        // The chat is over, and with it the stream.
        assert_eq!(client.next_of(&["disconnected"]).await.at("/reason"), "sources_ended");
    } else {
        say(&backend, "nothing came in between");
        assert_eq!(client.message().await.at("/text"), "nothing came in between");
    }
    edge.check_law(&[(source_name(kind), &backend)]).await;
}

#[tokio::test]
async fn a_conversation_is_the_same_whichever_backend_speaks() {
    for kind in KINDS {
        check_backend(kind).await;
    }
}

#[tokio::test]
async fn words_that_are_streamed_come_before_the_message_that_they_make() {
    let backend = backend(Salesforce).await;
    let edge = Edge::start(&Conf::new().backend(&backend).yaml()).await;
    let mut client = edge.open(&Client::new("jane")).await;
    client.all_up(&["care"]).await;
    backend.play(&jane(), &Conversation::assistant_case(), Pace::AT_ONCE);
    let progress = client.find(|event| event.name == "Progress").await;
    assert_eq!(progress.at("/text"), "Looking up order 1042");
    let mut words = Vec::new();
    let message = loop {
        let event = client.message().await;
        if event.name == "Chat" {
            break event;
        }
        assert_eq!(event.name, "Token", "{event:?}");
        words.push(event);
    };
    words.sort_by_key(|word| word.data["data"]["sequence"].as_u64());
    let text: String = words.iter().map(|word| word.at("/text")).collect();
    assert_eq!(text, message.at("/text"));
    assert_eq!(text, "It left the depot in Zürich this morning. 📦");
    for word in &words {
        assert_eq!(word.at("/data/messageId"), message.at("/id"));
    }
    edge.check_law(&[("care", &backend)]).await;
}
