//! Crowds: many clients at once while sources fail, the process drains, the conf changes.
//!
//! Every client checks its own sequence: numbers without a hole and without a repeat. The sizes
//! here fit a small machine; larger ones come by the environment:
//! `CHATMUX_TEST_CLIENTS=20000 cargo test --test it crowd::idle -- --nocapture`,
//! `CHATMUX_TEST_CLIENTS=2000 CHATMUX_TEST_CYCLES=20 cargo test --test it crowd::soak`.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chatmux::scripted::{Audience, Backend, Conversation, Fault, Kind, Step};
use tokio::sync::{Barrier, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::support::{
    Client, Conf, Edge, Event, EventSource, KEY, Metrics, backend, raise_file_limit, sha256, soon,
};

/// The two sources of most tests here. Both have a history, so nothing may be lost.
const SOURCES: [&str; 2] = ["agent", "second"];
/// Between two numbers: what a test client in an unoptimised build keeps up with.
const PACE: Duration = Duration::from_millis(40);
/// So many connections are opened at a time.
const OPENED_AT_A_TIME: usize = 64;

/// A number from the environment, or the usual one.
fn size(variable: &str, usual: usize) -> usize {
    std::env::var(variable).map_or(usual, |text| text.parse().expect("a number"))
}

/// Two backends, and an edge in front of them that forgets nothing while a test runs.
struct Pair {
    backends: Arc<[Backend; 2]>,
    edge: Edge,
}

impl Pair {
    fn conf(backends: &[Backend; 2], lines: &[&str]) -> Conf {
        let [agent, second] = backends;
        let conf = Conf::new().source(SOURCES[0], agent, "").source(SOURCES[1], second, "");
        lines.iter().fold(conf, |conf, line| conf.line(line))
    }

    async fn start(lines: &[&str]) -> Self {
        raise_file_limit();
        let backends = Arc::new([backend(Kind::Xians).await, backend(Kind::Xians).await]);
        let edge = Edge::start(&Self::conf(&backends, lines).yaml()).await;
        Self { backends, edge }
    }

    async fn until_published(&self, count: u64) {
        let published = |metrics: &Metrics| metrics.sum("chatmux_events_published_total", &[]);
        let what = format!("{count} events are published");
        self.edge.until(&what, |metrics| published(metrics) == count).await;
    }

    async fn until_published_at_least(&self, count: u64) {
        let published = |metrics: &Metrics| metrics.sum("chatmux_events_published_total", &[]);
        let what = format!("{count} events are published");
        self.edge.until(&what, |metrics| published(metrics) >= count).await;
    }
}

/// Both backends say a number to these participants.
fn say(backends: &[Backend; 2], participants: &[String], number: u64) {
    let who = Conversation::new(Vec::new());
    let step = Step::AgentSays(number.to_string());
    for backend in backends {
        for participant in participants {
            assert!(backend.speak(&Audience::new(participant), &who, &step));
        }
    }
}

/// Numbers that look random and are the same in each run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) % end
    }
}

/// What one client has heard.
#[derive(Debug, Default)]
struct Heard {
    /// Of each source: the last number.
    last: BTreeMap<String, u64>,
    cursor: Option<String>,
}

impl Heard {
    /// A message carries on where the last one of its source ended.
    #[track_caller]
    fn take(&mut self, event: &Event) {
        assert_ne!(event.name, "gap", "nothing is lost: {event:?} after {self:?}");
        if event.is_control() {
            return;
        }
        let number: u64 = event.at("/text").parse().expect("a number");
        if let Some(last) = self.last.insert(event.source().to_owned(), number) {
            assert_eq!(number, last + 1, "{} after {self:?}", event.source());
        }
        self.cursor.clone_from(&event.id);
    }

    fn has_all(&self, last: u64) -> bool {
        SOURCES.iter().all(|source| self.last.get(*source) == Some(&last))
    }
}

/// A client that reads a few messages, leaves, and comes back, until it has heard everything.
async fn come_and_go(
    to: SocketAddr,
    participant: String,
    last: u64,
    mut dice: Dice,
    together: Arc<Barrier>,
) -> u64 {
    let client = Client::new(&participant);
    let mut heard = Heard::default();
    let mut opened = 0;
    while !heard.has_all(last) {
        let asked = heard.cursor.iter().fold(client.clone(), |client, id| client.after(id));
        let mut stream = EventSource::connect(to, &asked, None).await.expect("a stream");
        opened += 1;
        if opened == 1 {
            stream.all_up(&SOURCES).await;
            together.wait().await;
        } else {
            assert_eq!(stream.expect("connected").await.data["resumed"], true);
        }
        let mut patience = 1 + dice.below(12);
        while patience > 0 && !heard.has_all(last) {
            let event = stream.next().await.expect("the stream goes on");
            heard.take(&event);
            patience -= u64::from(!event.is_control());
        }
        if dice.below(2) == 0 { stream.close() } else { stream.reset() }
    }
    opened
}

/// Clients that come and go while numbers up to `last` are said and sources fail. How often they
/// came.
async fn churn(pair: &Pair, clients: usize, name: &str, last: u64, published: u64) -> u64 {
    let participants: Vec<_> =
        (0..clients.div_ceil(20)).map(|number| format!("{name}-{number}")).collect();
    let together = Arc::new(Barrier::new(clients + 1));
    let mut crowd = JoinSet::new();
    for number in 0..clients {
        let participant = participants[number % participants.len()].clone();
        let (to, together) = (pair.edge.streams(), together.clone());
        crowd.spawn(come_and_go(to, participant, last, Dice(number as u64), together));
    }
    soon("all clients are there", together.wait()).await;
    let faults = [Fault::Reset, Fault::CloseMidEvent, Fault::CloseMidUtf8, Fault::status(500)];
    for number in 1..=last {
        say(&pair.backends, &participants, number);
        let round = usize::try_from(number).expect("a small number");
        if number % 10 == 5 && number < last {
            let fault = faults[round / 10 % faults.len()].clone();
            pair.backends[round / 10 % 2].fault_live(fault);
        }
        if number % 10 == 0 {
            let said = number * 2 * participants.len() as u64;
            pair.until_published(published + said).await;
        }
        tokio::task::yield_now().await;
    }
    let mut opened = 0;
    while let Some(done) = soon("a client has heard everything", crowd.join_next()).await {
        opened += done.expect("its sequence is right");
    }
    opened
}

#[tokio::test]
async fn clients_that_come_and_go_while_sources_fail_hear_everything_once() {
    let clients = size("CHATMUX_TEST_CLIENTS", 500);
    let pair = Pair::start(&["replay: {events: 4096, bytes: 4MiB, linger: 1h}"]).await;
    let opened = churn(&pair, clients, "p", 40, 0).await;
    assert!(opened > 2 * clients as u64, "they came {opened} times");
    pair.edge.until_open(0).await;
    pair.edge.check_law(&[]).await;
}

#[tokio::test]
async fn soak() {
    let clients = size("CHATMUX_TEST_CLIENTS", 60);
    let cycles = size("CHATMUX_TEST_CYCLES", 4);
    let pair = Pair::start(&["replay: {events: 4096, bytes: 4MiB, linger: 3s}"]).await;
    let mut memory = Vec::new();
    let mut published = 0;
    for cycle in 0..cycles {
        churn(&pair, clients, &format!("c{cycle}"), 40, published).await;
        published += 40 * 2 * clients.div_ceil(20) as u64;
        let idle = "everything is let go";
        pair.edge
            .until(idle, |now| {
                now.sum("chatmux_client_streams", &[]) == 0
                    && now.sum("chatmux_channels", &[]) == 0
                    && now.sum("chatmux_ring_bytes", &[]) == 0
                    && now.sum("chatmux_upstream_streams", &[]) == 0
            })
            .await;
        memory.push(pair.edge.memory_kb());
    }
    eprintln!("{clients} clients, {cycles} cycles: {memory:?} kB");
    // The first half warms up the allocator; from there on it is flat.
    let (warm, end) = (memory[cycles / 2], memory[cycles - 1]);
    assert!(end <= warm + warm / 4 + 4096, "{memory:?} kB");
    pair.edge.check_law(&[]).await;
}

/// Clients of a few participants, each with a stream on which both sources are up.
async fn open_all(
    edge: &Edge,
    clients: usize,
    client: impl Fn(usize) -> Client,
) -> Vec<EventSource> {
    let mut streams = Vec::new();
    for start in (0..clients).step_by(OPENED_AT_A_TIME) {
        let mut opening = JoinSet::new();
        for number in start..clients.min(start + OPENED_AT_A_TIME) {
            let (to, client) = (edge.streams(), client(number));
            opening.spawn(async move { EventSource::connect(to, &client, None).await });
        }
        while let Some(opened) = soon("a stream", opening.join_next()).await {
            streams.push(opened.expect("no panic").expect("a stream"));
        }
    }
    streams
}

/// Says numbers without pause until it is told to stop; then the last one.
fn speak(
    backends: &Arc<[Backend; 2]>,
    participants: &[String],
) -> (watch::Sender<bool>, watch::Receiver<u64>, tokio::task::JoinHandle<u64>) {
    let (stop, stopped) = watch::channel(false);
    let (said, saying) = watch::channel(0);
    let (backends, participants) = (backends.clone(), participants.to_vec());
    let speaker = tokio::spawn(async move {
        let mut pace = tokio::time::interval(PACE);
        while !*stopped.borrow() {
            let number = *said.borrow() + 1;
            say(&backends, &participants, number);
            said.send_replace(number);
            pace.tick().await;
        }
        *said.borrow()
    });
    (stop, saying, speaker)
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("p{number}")).collect()
}

#[tokio::test]
async fn a_drain_under_load_gives_every_client_its_last_event() {
    let clients = size("CHATMUX_TEST_CLIENTS", 200);
    let lines = ["server: {threads: 2, drain: 5s}", "replay: {events: 4096, bytes: 4MiB}"];
    let mut pair = Pair::start(&lines).await;
    let participants = names(10);
    let jane = |number: usize| Client::new(&format!("p{}", number % 10));
    let mut streams = open_all(&pair.edge, clients, jane).await;
    for stream in &mut streams {
        stream.all_up(&SOURCES).await;
    }
    let (stop, mut saying, speaker) = speak(&pair.backends, &participants);
    soon("some are said", saying.wait_for(|said| *said >= 5)).await.expect("they are said");
    let before = *saying.borrow();
    pair.until_published_at_least(before * 20).await;
    pair.edge.signal("TERM").await;
    let mut readers = JoinSet::new();
    for mut stream in streams {
        readers.spawn(async move {
            let mut heard = Heard::default();
            loop {
                let event = stream.next().await.expect("an end that is told");
                if event.name == "disconnected" {
                    assert_eq!(event.at("/reason"), "draining");
                    assert_eq!(stream.next().await, None, "the answer ends in order");
                    return (heard, event.retry.expect("a retry:"));
                }
                heard.take(&event);
            }
        });
    }
    pair.edge.logged("draining: ").await;
    let refused = pair.edge.ask(&Client::new("p0")).await;
    refused.refuses(503, "Service Unavailable", "Try again");
    assert!(refused.head.header("retry-after").is_some());
    let mut retries = BTreeSet::new();
    while let Some(read) = soon("a client is told", readers.join_next()).await {
        let (heard, retry) = read.expect("its sequence is right");
        for source in SOURCES {
            assert!(heard.last.get(source) >= Some(&before), "{before} is not in {heard:?}");
        }
        assert!((1_000..10_000).contains(&retry), "{retry}");
        retries.insert(retry);
    }
    assert!(retries.len() > clients / 2, "they come back together: {retries:?}");
    assert_eq!(pair.edge.wait_exit().await, 0);
    stop.send_replace(true);
    soon("the speaker ends", speaker).await.expect("no panic");
}

#[tokio::test]
async fn reloads_under_load_lose_nothing_and_open_to_all() {
    let ring = "replay: {events: 4096, bytes: 4MiB}";
    let pair = Pair::start(&[ring]).await;
    let participants = names(5);
    let key =
        |name: &str| format!("{{label: {name}, sha256: \"{}\", tenants: [acme]}}", sha256(name));
    let tests = format!("{{label: tests, sha256: \"{}\", tenants: [acme]}}", sha256(KEY));
    let mut streams = open_all(&pair.edge, 50, |n| Client::new(&format!("p{}", n % 5))).await;
    for stream in &mut streams {
        stream.all_up(&SOURCES).await;
    }
    let (stop, mut saying, speaker) = speak(&pair.backends, &participants);
    let (done, is_done) = watch::channel(0_u64);
    let mut readers = JoinSet::new();
    for mut stream in streams {
        let mut is_done = is_done.clone();
        readers.spawn(async move {
            let mut heard = Heard::default();
            loop {
                let last = *is_done.borrow_and_update();
                if last > 0 && heard.has_all(last) {
                    return;
                }
                let event = tokio::select! {
                    event = stream.next() => event.expect("the stream goes on"),
                    _ = is_done.changed() => continue,
                };
                assert_ne!(event.name, "disconnected", "{event:?}");
                heard.take(&event);
            }
        });
    }
    let opens = Arc::new(AtomicUsize::new(0));
    let opener = tokio::spawn({
        let (to, opens, is_done) = (pair.edge.streams(), opens.clone(), is_done.clone());
        async move {
            while *is_done.borrow() == 0 {
                let opened = EventSource::connect(to, &Client::new("p1"), None).await;
                opened.expect("a stream").expect("connected").await;
                opens.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    for round in 0..12 {
        let other = key(&format!("round-{round}"));
        let good =
            Pair::conf(&pair.backends, &[ring]).auth(&format!("{{api_keys: [{tests}, {other}]}}"));
        let yaml =
            if round % 3 == 2 { good.yaml().replace("routes:", "rutes:") } else { good.yaml() };
        let told = pair.edge.reload(&yaml).await;
        assert_eq!(told.contains("refused"), round % 3 == 2, "{told}");
        let before = *saying.borrow();
        soon("more is said", saying.wait_for(|said| *said > before + 2)).await.expect("it is said");
    }
    stop.send_replace(true);
    let last = soon("the speaker ends", speaker).await.expect("no panic");
    done.send_replace(last);
    while let Some(read) = soon("a client has heard everything", readers.join_next()).await {
        read.expect("its sequence is right");
    }
    soon("the opener ends", opener).await.expect("every open was answered");
    assert!(opens.load(Ordering::Relaxed) > 0);
    let metrics = pair.edge.metrics().await;
    let count = |outcome| metrics.sum("chatmux_config_reloads_total", &[("outcome", outcome)]);
    assert_eq!((count("success"), count("failure")), (8, 4));
    pair.edge.check_law(&[]).await;
}

#[tokio::test]
async fn idle_streams_beat_whole_and_are_counted() {
    let clients = size("CHATMUX_TEST_CLIENTS", 300);
    let is_large = clients > 300;
    let secs = if is_large { "5" } else { "1" };
    let pair = Pair::start(&[]).await;
    let client = Client::new("jane").query("heartbeatSeconds", secs);
    let streams = open_all(&pair.edge, clients, |_| client.clone()).await;
    let mut readers = JoinSet::new();
    let all_have_beaten = Arc::new(Barrier::new(clients + 1));
    for mut stream in streams {
        let all_have_beaten = all_have_beaten.clone();
        readers.spawn(async move {
            for round in 0..4 {
                let beat = stream.next_of(&["heartbeat"]).await;
                let count = beat.data["subscriberCount"].as_u64();
                assert!(count.is_some_and(|count| count <= clients as u64), "{beat:?}");
                // Before the second beat of anybody the others were still coming in.
                if round == 1 {
                    all_have_beaten.wait().await;
                }
            }
            stream
        });
    }
    soon("all have beaten", all_have_beaten.wait()).await;
    let (cpu, since) = (pair.edge.cpu_secs(), Instant::now());
    let mut streams = Vec::new();
    while let Some(read) = soon("a stream beats", readers.join_next()).await {
        streams.push(read.expect("its beats are whole"));
    }
    let (cpu, took) = (pair.edge.cpu_secs() - cpu, since.elapsed().as_secs_f64());
    let core = 100.0 * cpu / took;
    eprintln!("{clients} idle streams at {secs} s: {core:.1} % of a core over {took:.1} s");
    let sent = pair.edge.metrics().await.sum("chatmux_heartbeats_sent_total", &[]);
    assert!(sent >= 4 * clients as u64, "{sent}");
    let beat = streams[0].next_of(&["heartbeat"]).await;
    assert_eq!(beat.data["subscriberCount"].as_u64(), Some(clients as u64), "all are there");
    pair.edge.check_law(&[]).await;
}

#[tokio::test]
async fn when_a_crowd_leaves_its_upstreams_are_closed_after_the_linger() {
    let clients = size("CHATMUX_TEST_CLIENTS", 200);
    let pair = Pair::start(&["replay: {linger: 1s}"]).await;
    let streams = open_all(&pair.edge, clients, |n| Client::new(&format!("p{n}"))).await;
    for backend in pair.backends.iter() {
        let all = backend.wait_for(|now| now.live_streams == clients);
        soon("each has an upstream of its own", all).await;
    }
    drop(streams);
    let left = Instant::now();
    for backend in pair.backends.iter() {
        soon("they are let go", backend.wait_for(|now| now.live_streams == 0)).await;
    }
    eprintln!("{clients} clients left, all upstreams closed {:?} later", left.elapsed());
    pair.edge
        .until("nothing is left", |now| {
            now.sum("chatmux_channels", &[]) + now.sum("chatmux_upstream_streams", &[]) == 0
        })
        .await;
    pair.edge.check_law(&[]).await;
}
