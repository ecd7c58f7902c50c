//! Upstream streams against scripted backends: gate and hub are the real ones, and a client is
//! whoever reads a log.

mod credentials;
mod fairness;
mod faults;
mod history;
mod isolation;
mod polls;
mod trouble;

use std::path::Path;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::{HeaderMap, Method};
use serde_json::Value;

use super::Dialer;
use crate::config;
use crate::edge::bell::Bell;
use crate::edge::clock;
use crate::edge::gate::{self, Asked, Decided, Decision, Gate, Resolved};
use crate::edge::hub::{Hub, Listener, Subscribe};
use crate::edge::jwks::KeySets;
use crate::proto::channel::{Batch, Filter, Join, Standing};
use crate::proto::event::{TypeSet, Vocabulary};
use crate::proto::sse::{Decoder, Item, Limits};
use crate::scripted::{Audience, Backend, Conversation, Kind, Options, Snapshot, Step};
use crate::telemetry::Metrics;

/// A test that waits longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(20);

/// The edge without its sockets for clients.
struct Bench {
    gate: Gate,
    hub: Arc<Hub>,
    metrics: Arc<Metrics>,
    replay: config::Replay,
}

impl Bench {
    /// A route `/e` with one source, `s`, of these options (YAML, flow style).
    fn new(backend: &Backend, options: &str) -> Self {
        Self::over(Arc::new(Dialer::new()), backend, options)
    }

    /// The same over a dialer that is there: a new one reads the system's authorities.
    fn over(dialer: Arc<Dialer>, backend: &Backend, options: &str) -> Self {
        let name = backend.kind().name();
        let conf = format!(
            "listen: [{{address: \"127.0.0.1:0\"}}]\n\
             auth: {{anonymous: true}}\n\
             replay: {{linger: 1s}}\n\
             sources:\n  s: {{backend: {name}, url: \"{}\", {options}}}\n\
             routes: [{{path: /e, sources: [s]}}]\n",
            backend.url()
        );
        let loaded = config::parse(&conf, "c", Path::new("."), &|_| None);
        let config = Arc::new(loaded.unwrap_or_else(|errors| panic!("{errors}")).config);
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let key_sets = KeySets::new(dialer.clone(), metrics.clone(), Arc::new(|| {}));
        let key_sets = Arc::new(key_sets);
        let hub = Hub::new(dialer, metrics.clone());
        let replay = config.replay.clone();
        let gate = Gate::new(config, metrics.clone(), key_sets).expect("a gate");
        Self { gate, hub, metrics, replay }
    }

    /// A client of this participant, with more of a query.
    fn open(&self, participant: &str, query: &str) -> Client {
        self.open_with(participant, query, |_| {})
    }

    /// The same, what was resolved changed.
    fn open_with(&self, participant: &str, query: &str, change: impl Fn(&mut Resolved)) -> Client {
        let query =
            format!("tenantId=acme&workflow=customer-support&participantId={participant}&{query}");
        let headers = HeaderMap::new();
        let asked = Asked {
            method: &Method::GET,
            path: "/e",
            query: &query,
            headers: &headers,
            authority: None,
            peer: Some([127, 0, 0, 1].into()),
            draining: None,
            ledger: None,
        };
        let decided = self.gate.decide(&asked, gate::Past::default(), clock::wall());
        let Ok(Decided { decision: Decision::Stream(mut admitted), .. }) = decided else {
            panic!("refused")
        };
        admitted.sources.iter_mut().for_each(change);
        let listener = self.hub.listen(Subscribe {
            route: "/e",
            subscription: &admitted.subscription,
            redaction: None,
            sources: admitted.sources,
            replay: &self.replay,
            cursor: None,
            filter: &everything(),
            trace: None,
        });
        let listener = listener.expect("a log");
        let (join, _) = listener.channel.join(None, &everything());
        let limits = Limits { line_bytes_max: 1 << 20, event_bytes_max: 1 << 20 };
        Client { listener, join, seen: Vec::new(), decoder: Decoder::new(limits) }
    }

    /// The value of a series.
    #[track_caller]
    fn metric(&self, series: &str) -> u64 {
        let text = self.metrics.render();
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
        line.unwrap_or_else(|| panic!("no {series}")).parse().expect("a number")
    }

    fn credentials(&self, outcome: &str) -> u64 {
        let series =
            format!("chatmux_upstream_credentials_total{{outcome=\"{outcome}\",source=\"s\"}}");
        self.metric(&series)
    }
}

/// A reader of a log, and what it has read.
struct Client {
    listener: Listener,
    join: Join,
    seen: Vec<(String, Value)>,
    decoder: Decoder,
}

impl Client {
    /// Reads until the events are as wanted; all of them.
    #[track_caller]
    fn until<'a>(
        &'a mut self,
        what: &'a str,
        mut is_there: impl FnMut(&[(String, Value)]) -> bool + 'a,
    ) -> impl Future<Output = &'a [(String, Value)]> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            loop {
                self.read();
                if is_there(&self.seen) {
                    return self.seen.as_slice();
                }
                let more = tokio::time::timeout(PATIENCE, rung(&self.listener.bell)).await;
                assert!(more.is_ok(), "{caller}: no {what} in {:#?}", self.seen);
            }
        }
    }

    /// Reads until an event of this name has come so many times; the last of them.
    #[track_caller]
    fn nth<'a>(&'a mut self, name: &'a str, count: usize) -> impl Future<Output = Value> + 'a {
        let seen = self.until(name, move |seen| {
            seen.iter().filter(|(event, _)| event == name).count() >= count
        });
        async move {
            let mut events = seen.await.iter().filter(|(event, _)| event == name);
            events.next_back().map(|(_, data)| data.clone()).unwrap_or_default()
        }
    }

    fn read(&mut self) {
        let (join, channel) = (&mut self.join, &self.listener.channel);
        loop {
            let mut batch = Batch::default();
            let standing = channel.read(&mut join.reader, &everything(), &mut batch);
            for block in batch.blocks {
                self.decoder.push(block);
            }
            if standing.0 != Standing::Behind {
                break;
            }
        }
        while let Some(Item::Frame(frame)) = self.decoder.next_item() {
            let data = serde_json::from_str(frame.data).expect("JSON");
            self.seen.push((frame.event.to_owned(), data));
        }
    }

    /// The texts of the chat messages so far.
    fn texts(&self) -> Vec<&str> {
        let chats = self.seen.iter().filter(|(event, _)| event == "Chat");
        chats.filter_map(|(_, data)| data.get("text")?.as_str()).collect()
    }

    fn count(&self, name: &str) -> usize {
        self.seen.iter().filter(|(event, _)| event == name).count()
    }

    /// Why the source was down, each time.
    fn downs(&self) -> Vec<&str> {
        let downs = self.seen.iter().filter(|(event, _)| event == "source_down");
        downs.filter_map(|(_, data)| data.get("reason")?.as_str()).collect()
    }
}

fn everything() -> Filter {
    Filter { types: TypeSet::ALL, scope: None, vocabulary: Vocabulary::Full }
}

async fn start(kind: Kind, change: impl FnOnce(&mut Options)) -> Backend {
    let mut options = Options { heartbeat: Some(Duration::MAX), ..Options::default() };
    change(&mut options);
    Backend::start(kind, options).await.expect("a backend")
}

async fn until(backend: &Backend, what: impl FnMut(&Snapshot) -> bool) -> Snapshot {
    let waited = tokio::time::timeout(PATIENCE, backend.wait_for(what)).await;
    waited.unwrap_or_else(|_| panic!("not reached: {:?}", backend.now()))
}

fn say(backend: &Backend, to: &Audience, text: &str) {
    backend.speak(to, &Conversation::new(Vec::new()), &Step::BotSays(text.to_owned()));
}

/// Until a bell is rung.
async fn rung(bell: &Bell) {
    std::future::poll_fn(|context| {
        bell.register(context.waker());
        if bell.take() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
