//! Who listens to what: logs of subscriptions, and the upstream streams that feed them.
//!
//! Two client streams share a log when their route, subscription and resolved requests are
//! equal, two logs share an upstream stream when its resolved request is equal, credentials
//! included: safe by construction. What nobody listens to any more stays for `linger`, then
//! goes. Locks are held for short, never across an await. Not here: sockets.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::bell::Bell;
use super::channel::{ChannelCell, SourceStanding};
use super::clock;
use super::gate::Resolved;
use super::upstream::{Dialer, Health, UpstreamCell, Wanted};
use crate::config::{Replay, Source, Url};
use crate::proto::backend::Request;
use crate::proto::channel::{Birth, Channel, Filter, RingLimits};
use crate::proto::cursor::{Cursor, Owner};
use crate::proto::event::{SourceTag, Subscription, Vocabulary};
use crate::proto::redact::Redaction;
use crate::proto::trace::Trace;
use crate::telemetry::Metrics;

/// What tells one log from another. Holds credentials; never shown.
#[derive(PartialEq, Eq, Hash)]
struct ChannelKey {
    route: String,
    subscription: Arc<Subscription>,
    feeds: Vec<Feed>,
    /// Whether it holds the backend's own words: after a reload, a route may want others.
    is_raw: bool,
    /// Part of it, so that a reload with other rules begins another log.
    redaction: Option<Arc<Redaction>>,
}

/// What feeds a log: an upstream stream, and what is read of it for this log.
struct Feed(Arc<Resolved>);

/// What tells one upstream stream from another: the source, where it is, what it is asked. Holds
/// credentials; never shown.
struct UpstreamKey(Arc<Resolved>);

/// All logs and upstream streams of the process.
pub(crate) struct Hub {
    tables: Mutex<Tables>,
    dialer: Arc<Dialer>,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct Tables {
    channels: HashMap<Arc<ChannelKey>, Arc<ChannelCell>>,
    upstreams: HashMap<UpstreamKey, Arc<UpstreamCell>>,
    audiences: HashMap<Arc<Subscription>, Arc<AtomicUsize>>,
}

/// One client's place at a log. Dropping it leaves.
pub(crate) struct Listener {
    /// The log.
    pub(crate) channel: Arc<ChannelCell>,
    /// Rung at every change of the log, and by [`Hub::wake_all`].
    pub(crate) bell: Arc<Bell>,
    hub: Weak<Hub>,
    key: Arc<ChannelKey>,
    audience: Arc<AtomicUsize>,
    linger: Duration,
}

/// What a client asks the hub for.
pub(crate) struct Subscribe<'a> {
    /// The route's path.
    pub(crate) route: &'a str,
    /// Whose stream it is.
    pub(crate) subscription: &'a Arc<Subscription>,
    /// What the route takes out of events.
    pub(crate) redaction: Option<&'a Arc<Redaction>>,
    /// The sources, resolved.
    pub(crate) sources: Vec<Resolved>,
    /// Limits of the log.
    pub(crate) replay: &'a Replay,
    /// Where the client was, if it says so.
    pub(crate) cursor: Option<&'a Cursor>,
    /// What passes.
    pub(crate) filter: &'a Filter,
    /// The trace of the request. An upstream stream is part of that of who opened it.
    pub(crate) trace: Option<Trace>,
}

/// Numbers for `/streams` and readiness.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HubCounts {
    /// Logs in memory.
    pub(crate) channels: usize,
    /// Upstream streams.
    pub(crate) upstreams: usize,
}

impl Hub {
    /// An empty hub.
    #[must_use]
    pub(crate) fn new(dialer: Arc<Dialer>, metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { tables: Mutex::default(), dialer, metrics })
    }

    /// Takes a place at the log of a subscription, which is made if there is none yet. `None`:
    /// its conversations are over, and the client has heard all of them.
    pub(crate) fn listen(self: &Arc<Self>, mut subscribe: Subscribe<'_>) -> Option<Listener> {
        let sources = std::mem::take(&mut subscribe.sources);
        let key = Arc::new(ChannelKey {
            route: subscribe.route.to_owned(),
            subscription: subscribe.subscription.clone(),
            feeds: sources.into_iter().map(|resolved| Feed(Arc::new(resolved))).collect(),
            is_raw: subscribe.filter.vocabulary == Vocabulary::Raw,
            redaction: subscribe.redaction.cloned(),
        });
        let mut tables = self.tables();
        // Where the log is known, its own key is kept in place of an equal one.
        let known = tables.channels.get_key_value(&key);
        let known = known.map(|(key, channel)| (key.clone(), channel.clone()));
        let (key, channel) = match known {
            // It would only be told what it has heard. It does not count as a visit, so the log
            // goes when its time has come.
            Some((_, channel)) if channel.has_nothing_for(subscribe.cursor, subscribe.filter) => {
                return None;
            }
            Some((key, channel)) => {
                for (index, Feed(resolved)) in key.feeds.iter().enumerate() {
                    if let Some(upstream) = tables.upstreams.get(&UpstreamKey(resolved.clone())) {
                        want(upstream, &channel, index, &subscribe);
                    }
                }
                (key, channel)
            }
            None => {
                let channel = self.open_channel(&mut tables, &key, &subscribe);
                (key, channel)
            }
        };
        if let Some(scope) = &subscribe.filter.scope {
            channel.on_scope(scope);
        }
        channel.enter();
        let audience = tables
            .audiences
            .entry(subscribe.subscription.clone())
            .or_insert_with(|| Arc::new(AtomicUsize::new(0)))
            .clone();
        audience.fetch_add(1, Ordering::Relaxed);
        drop(tables);
        Some(Listener {
            bell: channel.bells().add(),
            channel,
            hub: Arc::downgrade(self),
            key,
            audience,
            linger: subscribe.replay.linger,
        })
    }

    /// How much there is.
    #[must_use]
    pub(crate) fn counts(&self) -> HubCounts {
        let tables = self.tables();
        HubCounts { channels: tables.channels.len(), upstreams: tables.upstreams.len() }
    }

    /// How the upstream streams of each source are. A source that nobody asks for has none.
    #[must_use]
    pub(super) fn health(&self) -> HashMap<String, Vec<Health>> {
        let tables = self.tables();
        let mut sources: HashMap<String, Vec<Health>> = HashMap::new();
        for upstream in tables.upstreams.values() {
            let name = upstream.source_name().to_owned();
            sources.entry(name).or_default().push(upstream.health());
        }
        sources
    }

    /// The answer to a passed call: its events enter the logs of the conversation that the poll
    /// of this decoded path is about. `None`: it is larger than an answer of events may be.
    pub(super) fn on_answered(&self, source: &Source, path: &str, body: Option<&str>) {
        let upstreams: Vec<_> = {
            let tables = self.tables();
            let of_source = |upstream: &&Arc<UpstreamCell>| upstream.source_name() == source.name;
            tables.upstreams.values().filter(of_source).cloned().collect()
        };
        for upstream in upstreams {
            upstream.on_answered(source, path, body);
        }
    }

    /// Every log, for the operators' view.
    #[must_use]
    pub(crate) fn channels(&self) -> Vec<Arc<ChannelCell>> {
        self.tables().channels.values().cloned().collect()
    }

    /// Wakes every client stream: there is something to see that concerns all.
    pub(super) fn wake_all(&self) {
        for channel in self.channels() {
            channel.wake();
        }
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open_channel(
        self: &Arc<Self>,
        tables: &mut Tables,
        key: &Arc<ChannelKey>,
        subscribe: &Subscribe<'_>,
    ) -> Arc<ChannelCell> {
        let replay = subscribe.replay;
        let limits =
            RingLimits { events_max: replay.events, bytes_max: replay.bytes, age_max: replay.age };
        let standings = key
            .feeds
            .iter()
            .map(|Feed(resolved)| {
                SourceStanding::new(SourceTag {
                    name: resolved.source.name.clone(),
                    backend: resolved.source.dialect.name,
                })
            })
            .collect();
        let channel = Arc::new(ChannelCell::new(
            subscribe.route,
            subscribe.subscription.clone(),
            key.is_raw,
            Channel::new(birth(key), limits),
            standings,
            self.metrics.clone(),
            subscribe.redaction.cloned(),
        ));
        tables.channels.insert(key.clone(), channel.clone());
        self.metrics.channels.inc();
        for (index, Feed(resolved)) in key.feeds.iter().enumerate() {
            let upstream_key = UpstreamKey(resolved.clone());
            if let Some(upstream) = tables.upstreams.get(&upstream_key) {
                upstream.attach(&channel, index, resolved);
                want(upstream, &channel, index, subscribe);
                continue;
            }
            let metrics = self.metrics.source(&resolved.source.name, resolved.source.dialect);
            let upstream = UpstreamCell::new(resolved.clone(), metrics);
            upstream.attach(&channel, index, resolved);
            // Before the task starts: where it goes on is a matter of its first dial.
            want(&upstream, &channel, index, subscribe);
            tables.upstreams.insert(upstream_key, upstream.clone());
            tokio::spawn(super::upstream::run(upstream, self.dialer.clone(), subscribe.trace));
        }
        channel
    }

    /// A log without clients has lingered long enough.
    fn close_if_idle(&self, key: &ChannelKey, channel: &Arc<ChannelCell>, visit: u64) {
        let mut tables = self.tables();
        let is_same = tables.channels.get(key).is_some_and(|there| Arc::ptr_eq(there, channel));
        if !is_same || !channel.is_idle_since(visit) {
            return;
        }
        self.forget(&mut tables, key, channel);
    }

    /// Takes a log out of the tables, and the upstream streams that fed it alone or have ended.
    fn forget(&self, tables: &mut Tables, key: &ChannelKey, channel: &Arc<ChannelCell>) {
        tables.channels.remove(key);
        self.metrics.channels.dec();
        for Feed(resolved) in &key.feeds {
            let upstream_key = UpstreamKey(resolved.clone());
            let is_done = tables
                .upstreams
                .get(&upstream_key)
                .is_some_and(|upstream| upstream.detach(channel) || upstream.has_ended());
            if is_done && let Some(upstream) = tables.upstreams.remove(&upstream_key) {
                upstream.stop();
            }
        }
    }
}

/// What a new log is born with. Its owner is known by what makes it the same on every node:
/// no credential is part of it.
fn birth(key: &ChannelKey) -> Birth {
    let subscription = &key.subscription;
    let ids = [
        key.route.as_str(),
        &subscription.tenant_id,
        &subscription.workflow_id,
        &subscription.participant_id,
    ];
    let sources = key.feeds.iter().map(|Feed(resolved)| resolved.source.name.as_str());
    Birth {
        epoch: rand::random(),
        owner: Owner::new(ids.into_iter().chain(sources)),
        sources: key.feeds.len(),
        at: clock::wall(),
    }
}

/// A client whose cursor is of another log wants what it missed of a source.
fn want(
    upstream: &UpstreamCell,
    channel: &Arc<ChannelCell>,
    index: usize,
    subscribe: &Subscribe<'_>,
) {
    if let Some(cursor) = subscribe.cursor
        && let Some(mark) = cursor.mark(index)
        && channel.is_of_another_log(cursor)
    {
        let replay_id = cursor.replay_id(index);
        let part = subscribe.filter.scope.as_deref();
        upstream.on_wanted(channel, Wanted { mark, replay_id, part });
    }
}

/// What is the same for all that one upstream stream feeds.
fn shared(resolved: &Resolved) -> (&str, &Url, &Request) {
    (&resolved.source.name, &resolved.source.url, &resolved.request)
}

impl PartialEq for UpstreamKey {
    fn eq(&self, other: &Self) -> bool {
        shared(&self.0) == shared(&other.0)
    }
}

impl Eq for UpstreamKey {}

impl Hash for UpstreamKey {
    fn hash<H: Hasher>(&self, state: &mut H) {
        shared(&self.0).hash(state);
    }
}

impl PartialEq for Feed {
    fn eq(&self, other: &Self) -> bool {
        let (one, other) = (&self.0, &other.0);
        shared(one) == shared(other)
            && (&one.values, &one.history) == (&other.values, &other.history)
    }
}

impl Eq for Feed {}

impl Hash for Feed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (shared(&self.0), &self.0.values, &self.0.history).hash(state);
    }
}

impl Listener {
    /// Live client streams of the same tenant, workflow and participant on this node.
    #[must_use]
    pub(crate) fn subscriber_count(&self) -> usize {
        self.audience.load(Ordering::Relaxed)
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.channel.bells().remove(&self.bell);
        let Some(hub) = self.hub.upgrade() else {
            return;
        };
        let last_visit = {
            // Under the lock, so that nobody takes the count while it is thrown away, and nobody
            // comes and goes between the two looks of whoever leaves last.
            let mut tables = hub.tables();
            if self.audience.fetch_sub(1, Ordering::Relaxed) == 1 {
                tables.audiences.remove(&self.key.subscription);
            }
            self.channel.leave()
        };
        let Some(visit) = last_visit else {
            return;
        };
        // Without a runtime the process is ending and everything goes anyway.
        let Ok(runtime) = tokio::runtime::Handle::try_current() else {
            return;
        };
        let (key, channel, linger) = (self.key.clone(), self.channel.clone(), self.linger);
        let hub = self.hub.clone();
        runtime.spawn(async move {
            tokio::time::sleep(linger).await;
            if let Some(hub) = hub.upgrade() {
                hub.close_if_idle(&key, &channel, visit);
            }
        });
    }
}
