//! Everything that can go wrong between the edge and a backend, for each backend.
//!
//! One edge with a source per fault: each is told once, tried again and comes up, and the others
//! go on untouched. Not here: answers that never come (their time-out is longer than a test).

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use chatmux::scripted::{Backend, Fault, Kind, On};

use crate::support::{
    Client, Conf, Edge, Event, EventSource, Metrics, backend_with, jane, options, say, soon,
};

/// Larger than any event may be.
const OVERSIZE_BYTES: usize = 16 << 20;

/// When and how a backend misbehaves.
enum Trouble {
    /// So many times at the opening of a stream, or at a poll.
    AtOpen(usize, Fault),
    /// Once, while a stream is open.
    Live(Fault),
    /// It ends its streams in order.
    Ends,
    /// Nobody listens, at first.
    Away,
    /// Nothing at all.
    None,
}

/// A backend with a fault, and the reasons that its source is down for.
struct Case {
    name: &'static str,
    backend: Backend,
    trouble: Trouble,
    down: Option<&'static str>,
    /// Frames sent to streams that could not be read, or cannot be counted.
    is_countable: bool,
}

fn status(status: u16, retry_after: &str) -> Fault {
    let headers = vec![("Retry-After".to_owned(), retry_after.to_owned())];
    Fault::Status(status, headers, Bytes::from_static(b"not now"))
}

/// To a place that must never be asked: nobody listens there, and it is another host.
fn redirect() -> Fault {
    let headers = vec![("Location".to_owned(), "http://127.0.0.1:1/elsewhere".to_owned())];
    Fault::Status(302, headers, Bytes::new())
}

/// All faults, with what each comes to in a dialect.
fn troubles(kind: Kind) -> Vec<(&'static str, Trouble, Option<&'static str>)> {
    use Trouble::{AtOpen, Away, Ends, Live};
    let is_poll = kind == Kind::BrightPattern;
    // Openfire answers so to a token that it does not know.
    let busy = if kind == Kind::Openfire { "unauthorized" } else { "bad_status" };
    let mut troubles = vec![
        ("calm", Trouble::None, None),
        ("http_401", AtOpen(1, Fault::status(401)), Some("unauthorized")),
        ("http_403", AtOpen(1, Fault::status(403)), Some("unauthorized")),
        ("http_429", AtOpen(1, Fault::rate_limited(1)), Some("rate_limited")),
        ("http_503", AtOpen(1, status(503, "1")), Some(busy)),
        ("http_500", AtOpen(3, Fault::status(500)), Some("bad_status")),
        ("gzip", AtOpen(2, Fault::Gzip), Some("bad_content_type")),
        ("html", AtOpen(2, Fault::ContentType("text/html".to_owned())), Some("bad_content_type")),
        ("redirect", AtOpen(2, redirect()), Some("bad_status")),
        ("endless_head", AtOpen(1, Fault::EndlessHead { one_line: false }), Some("reset")),
        ("endless_line", AtOpen(1, Fault::EndlessHead { one_line: true }), Some("reset")),
        ("reset", AtOpen(2, Fault::Reset), Some("reset")),
        ("garbage", AtOpen(1, Fault::Garbage), None),
        ("dribble", AtOpen(1, Fault::Dribble(1, Duration::ZERO)), None),
        ("away", Away, Some("refused")),
        ("cut", Live(Fault::CloseMidEvent), Some("closed")),
        ("cut_in_a_character", Live(Fault::CloseMidUtf8), Some("closed")),
        ("garbage_live", Live(Fault::Garbage), None),
        ("oversize", Live(Fault::Oversize(OVERSIZE_BYTES)), None),
    ];
    if !is_poll {
        // A held poll that is lost may be asked again in silence, or not: both are right.
        troubles.push(("reset_live", Live(Fault::Reset), Some("reset")));
    }
    if !is_poll && kind != Kind::Openfire {
        // There the token dies with the last stream that ends in order.
        troubles.push(("ends", Ends, Some("closed")));
    }
    if kind == Kind::Xians {
        // The only one whose silence can be made short: three heartbeats of a second and ten.
        troubles.push(("stalled", AtOpen(1, Fault::Stall), Some("silent")));
    }
    troubles
}

async fn cases(kind: Kind) -> Vec<Case> {
    let mut cases = Vec::new();
    for (name, trouble, down) in troubles(kind) {
        let mut options = options(kind);
        if name == "stalled" {
            options.heartbeat = None;
        }
        let backend = backend_with(kind, options).await;
        match &trouble {
            Trouble::AtOpen(times, fault) => backend.fault_on(On::Events, *times, fault.clone()),
            Trouble::Away | Trouble::Live(_) | Trouble::Ends | Trouble::None => {}
        }
        let is_countable =
            !matches!(name, "html" | "gzip" | "garbage" | "garbage_live" | "stalled");
        cases.push(Case { name, backend, trouble, down, is_countable });
    }
    cases
}

/// The next event of a source with this name.
async fn next(client: &mut EventSource, source: &str, name: &str) -> Event {
    client.find(|event| event.source() == source && event.name == name).await
}

/// Breaks what is to be broken while it is open. A poll must be there for it.
async fn break_live(case: &Case) {
    let open = case.backend.wait_for(|now| now.live_streams + now.held_polls == 1);
    soon("a stream is open", open).await;
    match &case.trouble {
        Trouble::Live(fault) => {
            case.backend.fault_live(fault.clone());
            if matches!(fault, Fault::CloseMidEvent | Fault::CloseMidUtf8) {
                say(&case.backend, "Grüße – cut off");
            }
        }
        Trouble::Ends => case.backend.end_streams(),
        Trouble::AtOpen(..) | Trouble::Away | Trouble::None => {}
    }
}

/// What the client was told of each source: events but messages, with their reasons.
fn told(client: &EventSource) -> BTreeMap<String, Vec<String>> {
    let mut told: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in client.seen().iter().filter(|event| !event.source().is_empty()) {
        let line = match event.name.as_str() {
            "source_down" => format!("down {}", event.at("/reason")),
            "source_up" => "up".to_owned(),
            "gap" => format!("gap {}", event.at("/reason")),
            _ => continue,
        };
        told.entry(event.source().to_owned()).or_default().push(line);
    }
    told
}

/// What is told of a case before anything open is broken.
fn expected_at_open(case: &Case) -> Vec<String> {
    let up = || "up".to_owned();
    match (&case.trouble, case.down) {
        // Its head is good, so it is up until it has been silent for too long.
        (Trouble::AtOpen(..), Some("silent")) => {
            vec![up(), "down silent".to_owned(), up()]
        }
        (Trouble::AtOpen(..) | Trouble::Away, Some(reason)) => {
            vec![format!("down {reason}"), up()]
        }
        (_, _) => vec![up()],
    }
}

fn expected(kind: Kind, case: &Case) -> Vec<String> {
    let mut lines = expected_at_open(case);
    if let (Trouble::Live(_) | Trouble::Ends, Some(reason)) = (&case.trouble, case.down) {
        lines.extend([format!("down {reason}"), "up".to_owned()]);
    }
    if kind == Kind::BrightPattern && case.name == "oversize" {
        // An answer that is too large takes all its events with it.
        lines.push("gap overflow".to_owned());
    }
    lines
}

/// Reads until everything is told of every case that is to be told before they are broken.
async fn settle(client: &mut EventSource, cases: &[Case]) {
    let is_settled = |client: &EventSource| {
        let told = told(client);
        let count = |name: &str| told.get(name).map_or(0, Vec::len);
        cases.iter().all(|case| count(case.name) >= expected_at_open(case).len())
    };
    while !is_settled(client) {
        assert!(client.next().await.is_some(), "the stream stays open");
    }
}

async fn check(kind: Kind) {
    let cases = cases(kind).await;
    let conf = cases.iter().fold(Conf::new(), |conf, case| {
        let more = if case.name == "stalled" { ", heartbeat: 1s" } else { "" };
        conf.source(case.name, &case.backend, more)
    });
    let edge = Edge::start(&conf.yaml()).await;
    let find = |name: &str| cases.iter().find(|case| case.name == name).expect("a case");
    find("away").backend.stop_listening().await;
    let mut client = edge.open(&Client::new("jane")).await;
    client.expect("connected").await;
    let mut calm = edge.open(&Client::new("jane")).await;

    calm.all_up(&["calm"]).await;
    say(&find("calm").backend, "all is well");
    calm.chat("all is well").await;
    let down = next(&mut client, "away", "source_down").await;
    assert!(down.data["retryInSeconds"].as_u64().is_some_and(|secs| secs >= 1), "{down:?}");
    find("away").backend.listen_again().await;

    settle(&mut client, &cases).await;
    for case in &cases {
        // With something said before, Salesforce knows where to go on.
        say(&case.backend, "before");
    }
    for _ in 0..cases.len() {
        client.find(|event| event.at("/text") == "before").await;
    }
    for case in &cases {
        break_live(case).await;
        if let (Trouble::Live(_) | Trouble::Ends, Some(reason)) = (&case.trouble, case.down) {
            let down = next(&mut client, case.name, "source_down").await;
            assert_eq!(down.at("/reason"), reason, "{}", case.name);
            next(&mut client, case.name, "source_up").await;
        }
    }
    // What stands beside it in the answer of a poll would be lost with it.
    let is_dropped = |metrics: &Metrics| metrics.discarded("oversize", "oversize") == 1;
    edge.until("the large event is dropped", is_dropped).await;
    for case in &cases {
        say(&case.backend, "after");
    }
    let mut heard = Vec::new();
    while heard.len() < cases.len() {
        heard.push(client.find(|event| event.at("/text") == "after").await.source().to_owned());
    }
    heard.sort();
    let mut names: Vec<_> = cases.iter().map(|case| case.name).collect();
    names.sort_unstable();
    assert_eq!(heard, names, "{kind:?}: every source is heard again, once");

    let told = told(&client);
    for case in &cases {
        let got = told.get(case.name).cloned().unwrap_or_default();
        assert_eq!(got, expected(kind, case), "{kind:?}: {}", case.name);
    }
    check_figures(kind, &edge, &cases).await;
}

async fn check_figures(kind: Kind, edge: &Edge, cases: &[Case]) {
    let sent: Vec<_> = cases
        .iter()
        .filter(|case| case.is_countable)
        .map(|case| (case.name, &case.backend))
        .collect();
    edge.check_law(&sent).await;
    let metrics = edge.metrics().await;
    assert_eq!(metrics.discarded("oversize", "oversize"), 1, "{kind:?}");
    for case in cases {
        let disconnects =
            metrics.sum("chatmux_upstream_disconnects_total", &[("source", case.name)]);
        let is_lost = case.down == Some("silent")
            || case.down.is_some() && matches!(case.trouble, Trouble::Live(_) | Trouble::Ends);
        assert_eq!(disconnects, u64::from(is_lost), "{kind:?}: {}", case.name);
        if let (Trouble::AtOpen(times, _), Some(reason)) = (&case.trouble, case.down)
            && reason != "silent"
        {
            let labels = [("source", case.name), ("outcome", reason)];
            let failed = metrics.sum("chatmux_upstream_connects_total", &labels);
            assert_eq!(failed, *times as u64, "{kind:?}: {}", case.name);
        }
    }
    for name in ["http_429", "http_503"] {
        let case = cases.iter().find(|case| case.name == name).expect("a case");
        let requests = case.backend.event_requests();
        let pause = requests[1].at.duration_since(requests[0].at);
        assert!(pause >= Duration::from_secs(1), "{kind:?}: {name} asked for a pause: {pause:?}");
    }
}

#[tokio::test]
async fn openfire_may_misbehave() {
    check(Kind::Openfire).await;
}

#[tokio::test]
async fn xians_may_misbehave() {
    check(Kind::Xians).await;
}

#[tokio::test]
async fn salesforce_may_misbehave() {
    check(Kind::Salesforce).await;
}

#[tokio::test]
async fn bright_pattern_may_misbehave() {
    check(Kind::BrightPattern).await;
}

#[tokio::test]
async fn a_reason_that_changes_is_told_again() {
    let backend = backend_with(Kind::Xians, options(Kind::Xians)).await;
    backend.fault_on(On::Events, 2, Fault::status(500));
    backend.fault_on(On::Events, 2, Fault::Reset);
    let edge = Edge::start(&Conf::new().source("agent", &backend, "").yaml()).await;
    let mut client = edge.open(&Client::new("jane")).await;
    client.all_up(&["agent"]).await;
    let told = told(&client);
    assert_eq!(told["agent"], ["down bad_status", "down reset", "up"]);
    edge.check_law(&[("agent", &backend)]).await;
}

#[tokio::test]
async fn frames_that_say_nothing_new_are_counted_and_not_told() {
    use chatmux::scripted::Frame;
    let backend = backend_with(Kind::Xians, options(Kind::Xians)).await;
    let conf =
        Conf::new().source("agent", &backend, "").source("strict", &backend, ", unmapped: drop");
    let edge = Edge::start(&conf.yaml()).await;
    let mut client = edge.open(&Client::new("jane")).await;
    client.all_up(&["agent", "strict"]).await;
    let own = |more: &str| format!("{{\"id\":\"m1\",\"participantId\":\"JANE\"{more}}}");
    for frame in [
        Frame::new("Chat", own(",\"text\":\"once\"")),
        Frame::new("Chat", own(",\"text\":\"once\"")),
        Frame::new("Chat", "{\"participantId\":\"somebody else\"}"),
        Frame::new("Chat", "{broken"),
        Frame::new("heartbeat", "{}"),
        Frame::new("Novelty", own(",\"id\":\"m2\"").replacen("\"id\":\"m1\",", "", 1)),
    ] {
        backend.push(&jane(), frame);
    }
    say(&backend, "last");
    client.chat("last").await;
    client.chat("last").await;
    let of_agent: Vec<_> = client
        .seen()
        .iter()
        .filter(|event| event.source() == "agent" && !event.is_control())
        .map(|event| event.name.as_str())
        .collect();
    assert_eq!(of_agent, ["Chat", "Raw", "Chat"]);
    let metrics = edge.metrics().await;
    for (source, unmapped) in [("agent", 0), ("strict", 1)] {
        for (reason, count) in [
            ("duplicate", 1),
            ("foreign", 1),
            ("malformed", 1),
            ("liveness", 1),
            ("control", 1),
            ("unmapped", unmapped),
        ] {
            assert_eq!(metrics.discarded(source, reason), count, "{source}: {reason}");
        }
    }
    assert_eq!(metrics.sum("chatmux_frames_raw_total", &[("source", "agent")]), 1);
    // Two streams, so each frame was sent twice.
    let (agent, strict) = (metrics.frames("agent"), metrics.frames("strict"));
    assert_eq!(agent.0 + strict.0, backend.frames_sent());
    edge.check_law(&[]).await;
}

#[tokio::test]
async fn a_page_in_place_of_an_answer_to_a_poll_is_no_answer() {
    let backend = backend_with(Kind::BrightPattern, options(Kind::BrightPattern)).await;
    let headers = vec![("Content-Type".to_owned(), "text/html; charset=utf-8".to_owned())];
    let page = Bytes::from_static(b"<html><body>Please log in to the network.</body></html>");
    backend.fault_on(On::Events, 2, Fault::Status(200, headers, page));
    let edge = Edge::start(&Conf::new().source("voice", &backend, "").yaml()).await;
    let mut client = edge.open(&Client::new("jane")).await;
    client.expect("connected").await;
    assert_eq!(client.expect("source_down").await.at("/reason"), "bad_content_type");
    client.expect("source_up").await;
    say(&backend, "at last");
    client.chat("at last").await;
    edge.check_law(&[("voice", &backend)]).await;
}
