//! What was missed while a stream was lost.

use super::*;
use crate::scripted::{Fault, Frame, On};

const CARE: &str =
    "org_id: \"00D000000000001\", bearer: t1, conversation: \"{query.conversation}\"";
const VOICE: &str = "app_id: webchat, tenant_url: acme.example.com, chat: c-1";
const AGENT: &str = "api_key: sk-Xnai-1";
const DESK: &str = "login: {username: \"{participantId}\", password: s3cret}";

/// Streams end, something happens that nobody hears, and the backend is there again.
async fn without_streams(backend: &Backend, what: impl AsyncFnOnce()) {
    backend.stop_listening().await;
    backend.end_streams();
    until(backend, |now| now.live_streams == 0 && now.held_polls == 0).await;
    what().await;
    backend.listen_again().await;
}

fn history_events(bench: &Bench, outcome: &str) -> u64 {
    bench.metric(&format!("chatmux_history_events_total{{outcome=\"{outcome}\",source=\"s\"}}"))
}

/// Texts that come with a number.
fn numbered(from: usize, to: usize) -> Vec<String> {
    (from..to).map(|number| format!("m{number}")).collect()
}

#[tokio::test]
async fn salesforce_entries_are_told_once_whether_the_stream_replays_or_not() {
    for replay in [0, 4096] {
        let backend = start(Kind::Salesforce, |options| {
            options.tokens = vec![("jane".into(), "t1".into())];
            options.replay = replay;
        })
        .await;
        let jane = Audience::new("jane");
        let bench = Bench::new(&backend, CARE);
        let mut client = bench.open("jane", &format!("conversation={}", jane.conversation));
        client.nth("source_up", 1).await;
        say(&backend, &jane, "m0");
        client.nth("Chat", 1).await;
        without_streams(&backend, async || {
            for text in numbered(1, 4) {
                say(&backend, &jane, &text);
            }
        })
        .await;
        client.nth("Chat", 4).await;
        say(&backend, &jane, "m4");
        client.nth("Chat", 5).await;
        assert_eq!(client.texts(), numbered(0, 5));
        assert_eq!(client.count("gap"), 0);
        assert_eq!((history_events(&bench, "told"), history_events(&bench, "duplicate")), (3, 1));
    }
}

#[tokio::test]
async fn long_histories_are_read_page_by_page() {
    for (kind, options) in [(Kind::Salesforce, CARE), (Kind::Xians, AGENT)] {
        let backend = start(kind, |options| {
            options.tokens = vec![("jane".into(), "t1".into())];
        })
        .await;
        let jane = Audience::new("jane");
        let bench = Bench::new(&backend, options);
        let mut client = bench.open("jane", &format!("conversation={}", jane.conversation));
        client.nth("source_up", 1).await;
        without_streams(&backend, async || {
            for text in numbered(0, 120) {
                say(&backend, &jane, &text);
                // Pages are told apart by time: no two entries are of one millisecond.
                let said = clock::wall();
                while clock::wall() == said {
                    tokio::task::yield_now().await;
                }
            }
        })
        .await;
        client.nth("Chat", 120).await;
        assert_eq!(client.texts(), numbered(0, 120), "{kind:?}");
        assert_eq!((client.count("gap"), history_events(&bench, "told")), (0, 120), "{kind:?}");
    }
}

#[tokio::test]
async fn what_a_lost_poll_had_been_given_is_told_from_the_history() {
    let backend = start(Kind::BrightPattern, |options| {
        options.chats = vec![("c-1".into(), String::new())];
    })
    .await;
    let jane = Audience::new("jane").conversation("c-1");
    let bench = Bench::new(&backend, VOICE);
    let mut client = bench.open("jane", "");
    until(&backend, |now| now.held_polls == 1).await;
    let who = Conversation::new(Vec::new());
    backend.speak(&jane, &who, &Step::BotJoins);
    say(&backend, &jane, "one");
    client.nth("Chat", 1).await;
    // The participant's own message: polls do not tell it, so the history must not either.
    backend.speak(&jane, &who, &Step::ParticipantSays("mine".into()));
    until(&backend, |now| now.held_polls == 1).await;
    backend.fault_live(Fault::CloseMidEvent);
    say(&backend, &jane, "two");
    client.nth("Chat", 2).await;
    say(&backend, &jane, "three");
    client.nth("Chat", 3).await;
    assert_eq!(client.texts(), ["one", "two", "three"]);
    assert_eq!(client.count("Participant"), 1, "known from the poll");
    assert_eq!(client.count("gap"), 0);
    assert_eq!((history_events(&bench, "told"), history_events(&bench, "discarded")), (1, 1));
}

#[tokio::test]
async fn xians_history_brings_no_credential_and_no_words_of_the_participant() {
    let backend = start(Kind::Xians, |_| {}).await;
    let jane = Audience::new("jane");
    let bench = Bench::new(&backend, AGENT);
    let mut client = bench.open("jane", "");
    client.nth("source_up", 1).await;
    say(&backend, &jane, "one");
    client.nth("Chat", 1).await;
    without_streams(&backend, async || {
        let who = Conversation::new(Vec::new());
        backend.speak(&jane, &who, &Step::ParticipantSays("mine".into()));
        say(&backend, &jane, "two");
        say(&backend, &Audience::new("john"), "not for jane");
    })
    .await;
    client.nth("Chat", 2).await;
    say(&backend, &jane, "three");
    client.nth("Chat", 3).await;
    assert_eq!(client.texts(), ["one", "two", "three"]);
    assert!(!format!("{:?}", client.seen).contains("origin"));
    let asked = backend.requests();
    let history = asked.iter().find(|request| request.path().ends_with("/history"));
    let history = history.expect("asked");
    assert_eq!(history.header("authorization"), Some("Bearer sk-Xnai-1"));
    assert_eq!(history.query("scope"), None);
    assert_eq!(history.query("participantId").as_deref(), Some("jane"));
}

#[tokio::test]
async fn a_history_that_fails_is_a_gap() {
    let backend = start(Kind::Xians, |_| {}).await;
    let jane = Audience::new("jane");
    let bench = Bench::new(&backend, AGENT);
    let mut client = bench.open("jane", "");
    client.nth("source_up", 1).await;
    backend.fault_on(On::Path("history".into()), 1, Fault::status(500));
    without_streams(&backend, async || say(&backend, &jane, "lost")).await;
    let gap = client.nth("gap", 1).await;
    assert_eq!(gap["reason"], "upstream_no_replay");
    say(&backend, &jane, "live");
    client.nth("Chat", 1).await;
    assert_eq!(client.texts(), ["live"]);
}

#[tokio::test]
async fn openfire_tells_nothing_later_that_a_gap_stands_for() {
    let backend = start(Kind::Openfire, |_| {}).await;
    let jane = Audience::new("jane");
    let bench = Bench::new(&backend, DESK);
    let mut client = bench.open("jane", "");
    client.nth("source_up", 1).await;
    // Nobody was talked with: there is nobody to ask the archive for.
    without_streams(&backend, async || say(&backend, &jane, "lost")).await;
    client.nth("gap", 1).await;
    say(&backend, &jane, "one");
    client.nth("Chat", 1).await;
    without_streams(&backend, async || say(&backend, &jane, "two")).await;
    client.nth("Chat", 2).await;
    say(&backend, &jane, "three");
    client.nth("Chat", 3).await;
    assert_eq!((client.texts(), client.count("gap")), (vec!["one", "two", "three"], 1));
    let of = |outcome| history_events(&bench, outcome);
    assert_eq!((of("told"), of("duplicate"), of("discarded")), (1, 1, 1));
}

#[tokio::test]
async fn what_a_gap_may_or_may_not_stand_for_is_a_gap() {
    let backend = start(Kind::Openfire, |_| {}).await;
    let jane = Audience::new("jane");
    let bench = Bench::new(&backend, DESK);
    let mut client = bench.open("jane", "");
    client.nth("source_up", 1).await;
    without_streams(&backend, async || say(&backend, &jane, "lost")).await;
    client.nth("gap", 1).await;
    // The archive does not have it: nothing tells which of its entries were before and after.
    let bot = Conversation::new(Vec::new()).bot.id;
    let data = format!(
        "{{\"type\":\"chat\",\"to\":\"jane@example.org/a\",\"from\":\"{bot}@example.org/svc\",\
         \"body\":\"one\"}}"
    );
    backend.push(&jane, Frame::new("chatapi.chat", data));
    client.nth("Chat", 1).await;
    without_streams(&backend, async || say(&backend, &jane, "two")).await;
    client.nth("gap", 2).await;
    say(&backend, &jane, "three");
    client.nth("Chat", 2).await;
    assert_eq!(client.texts(), ["one", "three"]);
    assert_eq!((history_events(&bench, "told"), history_events(&bench, "discarded")), (0, 2));
}
