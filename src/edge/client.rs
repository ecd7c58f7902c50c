//! One client stream: what is new, heartbeats, the end.
//!
//! A position in a log, a clock, and a connection. It waits for the log, its heartbeat, the
//! client's leaving and the end of its time in one select; it writes outside of it, since a
//! write must not be cancelled half-way. Nothing it does holds up the log or a neighbour. Not
//! here: who may open a stream (`gate`), what stands in the log (`hub`).

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

use super::channel::{SourceStanding, SourceState};
use super::clock;
use super::down::{Down, WriteFailure};
use super::gate::{Grant, Revoked};
use super::hub::Listener;
use super::streams::Entry;
use crate::proto::beat::first_beat;
use crate::proto::channel::{Batch, Filter, Join, Standing};
use crate::proto::event::{Control, DisconnectReason, GapReason, Vocabulary};
use crate::proto::sse::write_retry;
use crate::telemetry::{Metrics, RouteMetrics};

/// How long a client waits before it comes back, drawn per connection.
const RETRY_MILLIS: std::ops::Range<u64> = 2_000..4_000;
/// After a drain: the node that takes over must not be met by all at once.
const DRAIN_RETRY_MILLIS: std::ops::Range<u64> = 1_000..10_000;
/// A drained client that is behind is given what it has not got for at most this long: whoever
/// reads that slowly must not hold up the others' drain.
const LAST_NEWS: Duration = Duration::from_secs(1);

/// Streams that were opened together do not end together: each ends in this part of its time.
const AGE_SPREAD: std::ops::Range<f64> = 0.8..1.0;

/// What a stream needs to run.
pub(super) struct Stream {
    /// Its place at the log.
    pub(super) listener: Listener,
    /// What passes.
    pub(super) filter: Filter,
    /// Where it starts.
    pub(super) join: Join,
    /// How the sources stood at that moment.
    pub(super) standings: Vec<SourceStanding>,
    /// Its heartbeat.
    pub(super) heartbeat: Duration,
    /// When its credential ends.
    pub(super) expires_in: Option<Duration>,
    /// How old it may become.
    pub(super) max_age: Option<Duration>,
    /// Told when the process is to stop: over how long streams may be spread.
    pub(super) drain: watch::Receiver<Option<Duration>>,
    /// Told when another configuration is in force.
    pub(super) reloads: watch::Receiver<u64>,
    /// Its place among the open streams: by it operators end it.
    pub(super) entry: Entry,
    /// Where it is counted.
    pub(super) metrics: Arc<Metrics>,
    /// Where it is counted, too.
    pub(super) route: Arc<RouteMetrics>,
    /// Open streams of the process.
    pub(super) open: Arc<AtomicUsize>,
}

/// Asks whether the stream is still allowed, and for how long.
pub(super) type Recheck<'a> =
    &'a (dyn Fn(&Grant) -> Result<Option<Duration>, Revoked> + Send + Sync);

/// How a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloseReason {
    /// We ended it, and said so.
    Told(DisconnectReason),
    /// The client left.
    ClientGone,
    /// A write did not finish in time.
    WriteTimeout,
    /// A write failed.
    WriteError,
}

impl CloseReason {
    /// As in metrics and logs.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Told(reason) => reason.as_str(),
            Self::ClientGone => "client_gone",
            Self::WriteTimeout => "write_timeout",
            Self::WriteError => "write_error",
        }
    }
}

/// What a stream has done, for its access line.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    /// Message events.
    pub(super) events: u64,
    /// Bytes of its body, framing of HTTP apart.
    pub(super) bytes: u64,
}

/// Counts an open stream for as long as it lives, however it ends.
struct OpenGuard {
    open: Arc<AtomicUsize>,
    route: Arc<RouteMetrics>,
}

impl OpenGuard {
    fn new(stream: &Stream) -> Self {
        stream.open.fetch_add(1, Ordering::SeqCst);
        stream.route.streams.inc();
        if stream.join.is_resumed {
            stream.route.opened_resumed.inc();
        } else {
            stream.route.opened_fresh.inc();
        }
        Self { open: stream.open.clone(), route: stream.route.clone() }
    }
}

impl Drop for OpenGuard {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
        self.route.streams.dec();
    }
}

/// What woke a waiting stream.
enum Woken {
    Gone,
    Log,
    Heartbeat,
    Drain,
    Reload,
    Ended,
    Deadline(DisconnectReason),
}

/// When a stream ends by itself: at the earliest of them.
struct Deadlines {
    expires: Option<Instant>,
    ages: Option<Instant>,
    drains: Option<Instant>,
}

impl Deadlines {
    fn next(&self) -> Option<(Instant, DisconnectReason)> {
        let expires = self.expires.map(|at| (at, DisconnectReason::TokenExpired));
        let ages = self.ages.map(|at| (at, DisconnectReason::MaxAge));
        let drains = self.drains.map(|at| (at, DisconnectReason::Draining));
        expires.into_iter().chain(ages).chain(drains).min_by_key(|(at, _)| *at)
    }
}

/// Runs a stream to its end. The head of the answer was written before.
pub(super) async fn serve(
    down: &mut Down<'_>,
    stream: &mut Stream,
    recheck: Recheck<'_>,
) -> (CloseReason, Tally) {
    let guard = OpenGuard::new(stream);
    let started = clock::now();
    let mut tally = Tally::default();
    let reason = match run(down, stream, recheck, &mut tally).await {
        Ok(reason) => reason,
        Err(WriteFailure::Timeout) => CloseReason::WriteTimeout,
        Err(WriteFailure::Broken) => CloseReason::WriteError,
    };
    let lived = clock::now().saturating_duration_since(started);
    stream.metrics.stream_duration.observe(lived.as_secs_f64());
    stream.route.on_closed(reason.as_str());
    drop(guard);
    (reason, tally)
}

async fn run(
    down: &mut Down<'_>,
    stream: &mut Stream,
    recheck: Recheck<'_>,
    tally: &mut Tally,
) -> Result<CloseReason, WriteFailure> {
    let mut heartbeat = heartbeats(stream.heartbeat);
    let mut deadlines = Deadlines {
        expires: stream.expires_in.map(|left| Instant::now() + left),
        ages: stream
            .max_age
            .map(|max| Instant::now() + max.mul_f64(rand::random_range(AGE_SPREAD))),
        drains: stream.drain.borrow_and_update().map(drain_at),
    };
    tell(down, stream, tally, opening(stream)).await?;
    loop {
        stream.listener.bell.take();
        let is_behind = match send_news(down, stream, tally).await? {
            (Standing::Overtaken, _) => {
                return end(down, stream, tally, DisconnectReason::SlowConsumer).await;
            }
            (Standing::Current, true) => {
                return end(down, stream, tally, DisconnectReason::SourcesEnded).await;
            }
            (Standing::Behind, _) => true,
            (Standing::Current, false) => false,
        };
        match wait(down, stream, &mut heartbeat, deadlines.next(), is_behind).await {
            Woken::Gone => return Ok(CloseReason::ClientGone),
            Woken::Log => {}
            Woken::Heartbeat => {
                let subscriber_count = stream.listener.subscriber_count();
                let block = control(stream, &Control::Heartbeat { subscriber_count });
                tell(down, stream, tally, block.into()).await?;
                stream.metrics.heartbeats_sent.inc();
            }
            Woken::Drain => {
                deadlines.drains = stream.drain.borrow_and_update().map(drain_at);
            }
            Woken::Reload => {
                stream.reloads.mark_unchanged();
                let Ok(expires_in) = recheck(stream.entry.grant()) else {
                    return end(down, stream, tally, DisconnectReason::Revoked).await;
                };
                deadlines.expires = expires_in.map(|left| Instant::now() + left);
            }
            Woken::Ended => return end(down, stream, tally, DisconnectReason::Revoked).await,
            Woken::Deadline(DisconnectReason::Draining) => {
                return drain(down, stream, tally).await;
            }
            Woken::Deadline(reason) => return end(down, stream, tally, reason).await,
        }
    }
}

/// Gives what has come, then ends: the next process knows of it only what backends keep.
async fn drain(
    down: &mut Down<'_>,
    stream: &mut Stream,
    tally: &mut Tally,
) -> Result<CloseReason, WriteFailure> {
    let until = Instant::now() + LAST_NEWS;
    while let (Standing::Behind, _) = send_news(down, stream, tally).await? {
        if Instant::now() >= until {
            break;
        }
    }
    end(down, stream, tally, DisconnectReason::Draining).await
}

/// Waits for the next thing to do. Ends come first, so that neither news without pause nor a
/// client that is always behind can put them off; such a client does without heartbeats.
async fn wait(
    down: &mut Down<'_>,
    stream: &mut Stream,
    heartbeat: &mut Interval,
    deadline: Option<(Instant, DisconnectReason)>,
    is_behind: bool,
) -> Woken {
    let until_deadline = async {
        let Some((at, reason)) = deadline else {
            return std::future::pending().await;
        };
        tokio::time::sleep_until(at).await;
        reason
    };
    let mut gone = pin!(down.gone());
    let mut until_deadline = pin!(until_deadline);
    let Stream { listener, drain, reloads, entry, .. } = stream;
    poll_fn(|context| {
        // Before all looks, so that what happens after one of them is not missed.
        listener.bell.register(context.waker());
        if gone.as_mut().poll(context).is_ready() {
            return Poll::Ready(Woken::Gone);
        }
        if matches!(reloads.has_changed(), Ok(true)) {
            return Poll::Ready(Woken::Reload);
        }
        if entry.is_ended() {
            return Poll::Ready(Woken::Ended);
        }
        if matches!(drain.has_changed(), Ok(true)) {
            return Poll::Ready(Woken::Drain);
        }
        if let Poll::Ready(reason) = until_deadline.as_mut().poll(context) {
            return Poll::Ready(Woken::Deadline(reason));
        }
        if is_behind {
            return Poll::Ready(Woken::Log);
        }
        if heartbeat.poll_tick(context).is_ready() {
            return Poll::Ready(Woken::Heartbeat);
        }
        if listener.bell.take() { Poll::Ready(Woken::Log) } else { Poll::Pending }
    })
    .await
}

/// Writes what the client has not got yet, up to one write's worth.
async fn send_news(
    down: &mut Down<'_>,
    stream: &mut Stream,
    tally: &mut Tally,
) -> Result<(Standing, bool), WriteFailure> {
    let mut batch = Batch::default();
    let channel = &stream.listener.channel;
    let reader = &mut stream.join.reader;
    let is_replay = reader.position < reader.live_from;
    let standing = channel.read(reader, &stream.filter, &mut batch);
    if batch.skipped > 0 {
        stream.metrics.on_slow_client("skipped", batch.skipped as u64);
    }
    if batch.blocks.is_empty() {
        channel.on_taken(stream.join.reader.position);
        return Ok(standing);
    }
    let bytes = batch.bytes as u64;
    down.write_all(batch.blocks).await?;
    channel.on_taken(stream.join.reader.position);
    if !batch.arrived.is_empty() {
        let now = clock::now();
        for arrived in &batch.arrived {
            let latency = now.saturating_duration_since(*arrived);
            stream.metrics.event_latency.observe(latency.as_secs_f64());
        }
    }
    for message_type in &batch.messages {
        stream.route.on_event_sent(*message_type);
    }
    if is_replay {
        stream.metrics.replay_events.inc_by(batch.messages.len() as u64);
    }
    stream.metrics.sent_bytes.inc_by(bytes);
    tally.events += batch.messages.len() as u64;
    tally.bytes += bytes;
    Ok(standing)
}

/// Says why, and ends the answer in order.
async fn end(
    down: &mut Down<'_>,
    stream: &Stream,
    tally: &mut Tally,
    reason: DisconnectReason,
) -> Result<CloseReason, WriteFailure> {
    let mut block = Vec::new();
    match reason {
        DisconnectReason::Draining => {
            write_retry(&mut block, rand::random_range(DRAIN_RETRY_MILLIS));
        }
        DisconnectReason::SlowConsumer => stream.metrics.on_slow_client("closed", 1),
        DisconnectReason::TokenExpired
        | DisconnectReason::Revoked
        | DisconnectReason::MaxAge
        | DisconnectReason::SourcesEnded => {}
    }
    block.extend(control(stream, &Control::Disconnected(reason)));
    tell(down, stream, tally, block.into()).await?;
    down.finish().await?;
    Ok(CloseReason::Told(reason))
}

/// Writes what the edge itself has to say.
async fn tell(
    down: &mut Down<'_>,
    stream: &Stream,
    tally: &mut Tally,
    block: Bytes,
) -> Result<(), WriteFailure> {
    let bytes = block.len() as u64;
    down.write(block).await?;
    stream.metrics.sent_bytes.inc_by(bytes);
    tally.bytes += bytes;
    Ok(())
}

/// The first bytes: they leave before any upstream has answered.
fn opening(stream: &Stream) -> Bytes {
    let mut block = Vec::with_capacity(512);
    write_retry(&mut block, rand::random_range(RETRY_MILLIS));
    if stream.filter.vocabulary == Vocabulary::Raw {
        // Nothing but the block that `retry:` makes.
        block.push(b'\n');
        return block.into();
    }
    block.extend(control(stream, &Control::Connected { is_resumed: stream.join.is_resumed }));
    if let Some(reason) = stream.join.gap {
        stream.metrics.on_gap(reason);
        block.extend(control(stream, &Control::Gap { source: None, reason, since: None }));
    }
    for index in &stream.join.restarted {
        let source = stream.standings.get(*index).map(|standing| standing.tag.clone());
        let reason = GapReason::Restarted;
        stream.metrics.on_gap(reason);
        block.extend(control(stream, &Control::Gap { source, reason, since: None }));
    }
    for standing in &stream.standings {
        let source = standing.tag.clone();
        let news = match standing.state {
            SourceState::Starting => continue,
            SourceState::Up => Control::SourceUp { source, is_resumed: false },
            SourceState::Down(reason) => Control::SourceDown { source, reason, retry_secs: None },
            SourceState::Ended => {
                let reason = crate::proto::event::DownReason::Ended;
                Control::SourceDown { source, reason, retry_secs: None }
            }
        };
        block.extend(control(stream, &news));
    }
    block.into()
}

fn control(stream: &Stream, control: &Control) -> Vec<u8> {
    let mut block = Vec::with_capacity(128);
    let minted = || format!("gap-{:016x}", rand::random::<u64>());
    let subscription = &stream.listener.channel.subscription;
    control.write(&mut block, stream.filter.vocabulary, subscription, clock::wall(), minted);
    block
}

fn heartbeats(period: Duration) -> Interval {
    let first = first_beat(period, rand::random());
    let mut heartbeat = interval_at(Instant::now() + first, period);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    heartbeat
}

fn drain_at(spread: Duration) -> Instant {
    Instant::now() + spread.mul_f64(rand::random())
}

/// What a cursor came to, for the metrics.
pub(super) const fn replay_outcome(join: &Join) -> &'static str {
    match (join.is_resumed, join.gap) {
        (true, None) if join.restarted.is_empty() => "replayed",
        (true, _) => "partial",
        (false, _) => "unknown",
    }
}

/// A client whose cursor cannot even be read starts afresh, and is told.
pub(super) fn unreadable_cursor(join: Join) -> Join {
    Join { gap: Some(GapReason::CursorExpired), ..join }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::config::Replay;
    use crate::edge::down::Bare;
    use crate::edge::gate::Whose;
    use crate::edge::hub::{Hub, Subscribe};
    use crate::edge::streams::Streams;
    use crate::edge::upstream::Dialer;
    use crate::proto::event::{
        Chat, Encoded, Envelope, Event, Payload, Subscription, TypeSet, Vocabulary,
    };

    /// More than some writes' worth.
    const EVENTS: usize = 4_000;

    /// A stream that starts at the beginning of a log of [`EVENTS`] events without sources.
    fn behind() -> Stream {
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let hub = Hub::new(Arc::new(Dialer::new()), metrics.clone());
        let subscription = Arc::new(Subscription::new("t", "w", "p"));
        let filter = Filter { types: TypeSet::ALL, scope: None, vocabulary: Vocabulary::Full };
        let age = Duration::from_secs(600);
        let replay = Replay { events: EVENTS, bytes: 1 << 24, age, linger: Duration::ZERO };
        let listener = hub.listen(Subscribe {
            route: "/events",
            subscription: &subscription,
            redaction: None,
            sources: Vec::new(),
            replay: &replay,
            cursor: None,
            filter: &filter,
            trace: None,
        });
        let listener = listener.expect("a new log");
        let (join, standings) = listener.channel.join(None, &filter);
        for number in 0..EVENTS {
            let event = Event::new("x", Payload::Chat(Box::<Chat<'_>>::default()));
            let mut minted = || number.to_string();
            let mut envelope = Envelope {
                subscription: &subscription,
                source: "s",
                backend: "b",
                arrived: clock::wall(),
                minted: &mut minted,
            };
            let encoded = Encoded::new(&event, &mut envelope);
            listener.channel.append(0, "", encoded, clock::now());
        }
        let open_streams = Arc::new(Streams::default());
        Stream {
            entry: open_streams.enter(
                Grant::anonymous(),
                listener.channel.subscription.clone(),
                listener.bell.clone(),
            ),
            listener,
            filter,
            join,
            standings,
            heartbeat: Duration::from_secs(5),
            expires_in: None,
            max_age: None,
            drain: watch::Sender::new(None).subscribe(),
            reloads: watch::Sender::new(0).subscribe(),
            route: metrics.route("/events"),
            metrics,
            open: Arc::new(AtomicUsize::new(0)),
        }
    }

    /// Runs a stream over a pipe: how it ended, and all that was written.
    async fn run_to_end(mut stream: Stream, is_allowed: bool) -> (CloseReason, String) {
        let (near, mut far) = tokio::io::duplex(16 * 1024);
        let mut head = pingora::http::ResponseHeader::build(200, None).expect("a head");
        head.insert_header("cache-control", "no-cache").expect("a header");
        let read = tokio::spawn(async move {
            let mut text = Vec::new();
            far.read_to_end(&mut text).await.expect("a pipe");
            String::from_utf8(text).expect("text")
        });
        let (bare, head) = Bare::new(Box::new(near), &head, Duration::from_secs(10));
        let mut down = Down::Bare(bare.open(head).await.expect("a pipe that is read"));
        let recheck = |_: &Grant| if is_allowed { Ok(None) } else { Err(Revoked) };
        let (reason, _) = serve(&mut down, &mut stream, &recheck).await;
        drop((down, stream));
        (reason, read.await.expect("no panic"))
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_is_always_behind_is_ended_all_the_same() {
        let expired = Stream { expires_in: Some(Duration::ZERO), ..behind() };
        let (reloads, told) = watch::channel(0);
        reloads.send_replace(1);
        let revoked = Stream { reloads: told, ..behind() };
        let streams = Arc::new(Streams::default());
        let mut ended = behind();
        let subscription = ended.listener.channel.subscription.clone();
        let bell = ended.listener.bell.clone();
        ended.entry = streams.enter(Grant::anonymous(), subscription, bell);
        assert_eq!((streams.end(&Whose::default()), streams.end(&Whose::default())), (1, 0));
        for (stream, is_allowed, want) in [
            (expired, true, DisconnectReason::TokenExpired),
            (revoked, false, DisconnectReason::Revoked),
            (ended, true, DisconnectReason::Revoked),
        ] {
            let (reason, text) = run_to_end(stream, is_allowed).await;
            assert_eq!(reason, CloseReason::Told(want));
            let events = text.matches("event: Chat").count();
            assert!(events < EVENTS / 2, "{events} of {EVENTS} were written before {want:?}");
            assert_eq!(text.matches("event: disconnected").count(), 1);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_drained_client_gets_what_has_come_first() {
        let (_keep, drain) = watch::channel(Some(Duration::ZERO));
        let (reason, text) = run_to_end(Stream { drain, ..behind() }, true).await;
        assert_eq!(reason, CloseReason::Told(DisconnectReason::Draining));
        assert_eq!(text.matches("event: Chat").count(), EVENTS);
        assert!(text.trim_end().lines().last().is_some_and(|line| line.contains("draining")));
    }
}
