//! An upstream stream as others see it: who is attached, how it stands.
//!
//! Each attached log has a mapper of its own, since events carry the subscription; a frame is
//! decoded once and counted once, however many logs want it.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Notify;

use super::covered::{Covered, Entry, When};
use super::health::{Failures, Health};
use super::history::PastEvent;
use super::ready::{Minting, Ready};
use crate::config::Source;
use crate::edge::channel::{ChannelCell, Restored};
use crate::edge::clock::{self, Moment};
use crate::edge::gate::Resolved;
use crate::edge::passthrough::path;
use crate::proto::backend::{
    Discard, HistoryCalls, Input, Keep, Mapper, PastKeys, Policy, Request, SessionStart,
    SessionValues, Transport, Verdict,
};
use crate::proto::cursor::Mark;
use crate::proto::event::{DownReason, Encoded, GapReason, MessageType};
use crate::proto::link::Told;
use crate::proto::restore::RESUME_AGE_MILLIS_MAX;
use crate::proto::time::UnixMillis;
use crate::telemetry::SourceMetrics;

/// One upstream stream.
pub(crate) struct UpstreamCell {
    pub(super) source: Arc<Source>,
    /// Shared with the tables of the hub.
    resolved: Arc<Resolved>,
    pub(super) metrics: Arc<SourceMetrics>,
    shared: Mutex<Shared>,
    stop: Notify,
}

struct Shared {
    attachments: Vec<Attachment>,
    /// The last thing told, for logs that attach later.
    standing: Option<Told>,
    state: &'static str,
    lost_at: Option<UnixMillis>,
    /// When the last byte came: from then on events may be missing once it is lost.
    last_byte: Option<UnixMillis>,
    failures: Failures,
    /// The path that is polled, if it is.
    polled: Option<String>,
    /// Where a client that comes back wants it to go on.
    replay_id: String,
    /// It was dialled with a client's id: what is older than this comes again, and is news only
    /// to the log that asked for it.
    replays_before: Option<UnixMillis>,
}

/// Where frames leave as they came, none is kept back for its shape.
const AS_THEY_CAME: Policy = Policy { unmapped: Keep::Raw, malformed: Keep::Raw };

/// What a client that was elsewhere before wants of a stream.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// How far it was told.
    pub(crate) mark: Mark,
    /// Where the backend would go on.
    pub(crate) replay_id: Option<&'a str>,
    /// The only part of the history that it wants.
    pub(crate) part: Option<&'a str>,
}

/// Events may be missing: since then for those who were there, since their marks for others.
#[derive(Clone, Copy)]
pub(super) struct Lapse {
    lost: Option<UnixMillis>,
}

/// So much of what was seen goes into a new log, for clients whose marks are a little older.
const OVERLAP_MILLIS: i64 = 60_000;

/// Nobody is waited for longer: a client that takes nothing for so long is stuck, not slow.
const PACE_MAX: Duration = Duration::from_secs(1);

/// Logs that may have missed something.
pub(super) struct Behind {
    /// How it is asked for, if it can be.
    resolved: Arc<Resolved>,
    /// Its parts, as far as they were seen.
    pub(super) keys: PastKeys,
    /// Since when.
    pub(super) since: UnixMillis,
    /// Clients were elsewhere then.
    pub(super) is_restored: bool,
    channels: Vec<Arc<ChannelCell>>,
}

impl Behind {
    /// How it is asked for, if it can be.
    pub(super) fn calls(&self) -> Option<&HistoryCalls> {
        self.resolved.history.as_ref()
    }

    /// One that was attached later has missed nothing.
    fn is_of(&self, attachment: &Attachment) -> bool {
        self.channels.iter().any(|channel| Arc::ptr_eq(channel, &attachment.channel))
    }
}

/// One log that the stream feeds.
struct Attachment {
    channel: Arc<ChannelCell>,
    index: usize,
    mapper: Mapper,
    /// How what it missed is asked for.
    resolved: Arc<Resolved>,
    /// Minted ids are this and a number: unguessable, never repeated.
    mint: String,
    frames: u64,
    covered: Covered,
    past: Past,
}

/// What a log wants of the past.
enum Past {
    /// Nothing; the source may not have been up yet.
    Nothing,
    /// Everything since then, when the source comes up.
    Wanted(Wish),
    /// It was told. Older frames that come again are news to it.
    Told,
}

struct Wish {
    since: UnixMillis,
    /// There may be parts that nobody knows the names of.
    has_unknown_parts: bool,
}

impl UpstreamCell {
    /// A stream that is about to be dialled.
    pub(in crate::edge) fn new(resolved: Arc<Resolved>, metrics: Arc<SourceMetrics>) -> Arc<Self> {
        metrics.on_state("", "connecting");
        Arc::new(Self {
            source: resolved.source.clone(),
            resolved,
            metrics,
            shared: Mutex::new(Shared {
                attachments: Vec::new(),
                standing: None,
                state: "connecting",
                lost_at: None,
                last_byte: None,
                failures: Failures::default(),
                polled: None,
                replay_id: String::new(),
                replays_before: None,
            }),
            stop: Notify::new(),
        })
    }

    /// What is asked.
    pub(super) fn request(&self) -> &Request {
        &self.resolved.request
    }

    /// Feeds a log from now on.
    pub(in crate::edge) fn attach(
        &self,
        channel: &Arc<ChannelCell>,
        index: usize,
        resolved: &Arc<Resolved>,
    ) {
        let start = SessionStart {
            subscription: channel.subscription.clone(),
            values: &resolved.values,
            seed: rand::random(),
        };
        let mut shared = self.shared();
        // What the stream said of itself before is known to the mappers that were there.
        let mapper = match shared.attachments.first() {
            Some(first) => first.mapper.fork(&start),
            None => Mapper::new((self.source.dialect.session)(&start), self.source.policy),
        };
        let policy = if channel.is_raw { AS_THEY_CAME } else { self.source.policy };
        let mapper = mapper.under(policy);
        let mint = format!("{:016x}", rand::random::<u64>());
        shared.attachments.push(Attachment {
            channel: channel.clone(),
            index,
            mapper,
            resolved: resolved.clone(),
            mint,
            frames: 0,
            covered: Covered::default(),
            past: Past::Nothing,
        });
        if let Some(told) = shared.standing {
            channel.on_told(index, told, false);
        }
    }

    /// A client of this log was elsewhere before. What it missed is asked for when the stream
    /// opens; where that cannot be, or it is open already, the log says so.
    pub(in crate::edge) fn on_wanted(&self, channel: &Arc<ChannelCell>, wanted: Wanted<'_>) {
        let can_replay = self.request().resume_header.is_some() && self.request().recipe.is_none();
        let replay_id = wanted.replay_id.filter(|_| can_replay);
        let now = clock::wall();
        let oldest = UnixMillis(now.0 - RESUME_AGE_MILLIS_MAX);
        let mark = Mark { at: wanted.mark.at.clamp(oldest, now), ..wanted.mark };
        let mut shared = self.shared();
        let Shared { attachments, standing, replay_id: known, .. } = &mut *shared;
        let attachment = attachments.iter_mut().find(|there| Arc::ptr_eq(&there.channel, channel));
        let Some(attachment) = attachment else {
            return;
        };
        let has_history = attachment.resolved.history.is_some();
        let is_up = matches!(standing, Some(Told::Up { .. }));
        if is_up || (!has_history && replay_id.is_none()) {
            return;
        }
        let has_unknown_parts = mark.has_parts && wanted.part.is_none();
        match &mut attachment.past {
            Past::Nothing => {
                attachment.past = Past::Wanted(Wish { since: mark.at, has_unknown_parts });
            }
            Past::Wanted(wish) => {
                wish.since = wish.since.min(mark.at);
                wish.has_unknown_parts |= has_unknown_parts;
            }
            // It was up before this client came: what it missed then is in the log, or lost.
            Past::Told => return,
        }
        channel.on_wanted(attachment.index, mark, replay_id.filter(|_| !has_history));
        if known.is_empty() {
            replay_id.unwrap_or_default().clone_into(known);
        }
    }

    /// Where the first dial goes on, if a client said so.
    pub(super) fn take_replay_id(&self) -> String {
        let mut shared = self.shared();
        let replay_id = std::mem::take(&mut shared.replay_id);
        if !replay_id.is_empty() {
            // Until it is known when the stream opened.
            shared.replays_before = Some(clock::wall());
        }
        replay_id
    }

    /// Feeds a log no longer. Whether nobody is left.
    pub(in crate::edge) fn detach(&self, channel: &Arc<ChannelCell>) -> bool {
        let mut shared = self.shared();
        shared.attachments.retain(|attachment| !Arc::ptr_eq(&attachment.channel, channel));
        shared.attachments.is_empty()
    }

    /// Whether nothing will ever come again.
    pub(in crate::edge) fn has_ended(&self) -> bool {
        matches!(self.shared().standing, Some(Told::Down { reason: DownReason::Ended, .. }))
    }

    /// Ends the task at once.
    pub(in crate::edge) fn stop(&self) {
        self.stop.notify_one();
    }

    pub(super) async fn stopped(&self) {
        self.stop.notified().await;
    }

    /// One frame came; what became of it. Hot path: runs once per frame.
    ///
    /// `replay_id`: where the backend would go on after it.
    pub(super) fn on_frame(
        &self,
        input: Input<'_>,
        replay_id: &str,
        arrived: Moment,
    ) -> Option<Verdict> {
        let replay_id = if self.request().resume_header.is_some() { replay_id } else { "" };
        let mut shared = self.shared();
        let news_since = shared.replays_before;
        let mut total: Option<Verdict> = None;
        for attachment in &mut shared.attachments {
            let place = Place { arrived, replay_id, news_since };
            let verdict = attachment.on_frame(input, place, &self.source, &self.metrics);
            // Mapped for one is mapped; else the first reason stands.
            if total.is_none() || matches!(verdict, Verdict::Mapped { .. }) {
                total = Some(verdict);
            }
        }
        drop(shared);
        if let Some(verdict) = total {
            self.metrics.on_frame(input.event, verdict);
        }
        total
    }

    /// The backend has told what nobody knew when the stream was asked for.
    pub(super) fn on_grant(&self, told: &SessionValues) {
        if told.is_empty() {
            return;
        }
        for attachment in &mut self.shared().attachments {
            attachment.mapper.on_grant(told);
        }
    }

    /// A frame was larger than the limit.
    pub(super) fn on_oversize(&self, event: &str) {
        let verdict = Verdict::Discarded(Discard::Oversize, "larger than the limit");
        self.metrics.on_frame(event, verdict);
    }

    /// More came at once than could be kept.
    pub(super) fn on_overflow(&self) {
        for attachment in &mut self.shared().attachments {
            attachment.on_gap(GapReason::Overflow, None);
        }
    }

    /// This path is polled from now on.
    pub(super) fn on_polled(&self, path: &str) {
        self.shared().polled = Some(path.to_owned());
    }

    /// Takes the answer to a call as if a poll had been answered with it, if it is
    /// about the conversation of this decoded path. `None`: larger than may be.
    pub(in crate::edge) fn on_answered(&self, source: &Source, path: &str, body: Option<&str>) {
        let Transport::Poll { frames } = self.source.dialect.transport else {
            return;
        };
        let is_same = source.name == self.source.name && source.url == self.source.url;
        let is_polled = |polled: &String| path::decoded(polled).as_deref() == Some(path);
        if !is_same || !self.shared().polled.as_ref().is_some_and(is_polled) {
            return;
        }
        match body {
            Some(body) => {
                let arrived = clock::moment();
                for (event, data) in &frames(body) {
                    self.on_frame(Input { event, data }, "", arrived);
                }
                self.wake();
            }
            None => {
                self.on_oversize("other");
                self.on_overflow();
            }
        }
    }

    /// Wakes the readers of all logs: once per batch.
    pub(super) fn wake(&self) {
        for attachment in &self.shared().attachments {
            attachment.channel.wake();
        }
    }

    /// Lets readers catch up, where even the fastest of each log is about to be overtaken: a
    /// backend that sends faster than any client can take is read no faster than that. A slow
    /// client beside a fast one is never waited for, and no one for longer than [`PACE_MAX`].
    pub(super) async fn pace(&self) {
        let behind: Vec<Arc<ChannelCell>> = {
            let shared = self.shared();
            let mut channels = shared.attachments.iter().map(|attachment| &attachment.channel);
            if !channels.all(|channel| channel.is_ahead()) {
                return;
            }
            shared.attachments.iter().map(|attachment| attachment.channel.clone()).collect()
        };
        let mut waits: Vec<_> =
            behind.iter().map(|channel| Box::pin(channel.until_taken())).collect();
        let any = poll_fn(|context| {
            let is_done = waits.iter_mut().any(|wait| wait.as_mut().poll(context).is_ready());
            if is_done || waits.is_empty() { Poll::Ready(()) } else { Poll::Pending }
        });
        if tokio::time::timeout(PACE_MAX, any).await.is_err() {
            behind.iter().for_each(|channel| channel.give_up());
        }
    }

    /// Whether a frame told that the conversation is over for good.
    pub(super) fn is_over(&self) -> bool {
        let shared = self.shared();
        !shared.attachments.is_empty()
            && shared.attachments.iter().all(|attachment| attachment.mapper.is_over())
    }

    /// The backend says that the conversation is gone.
    pub(super) fn on_gone(&self) {
        let arrived = clock::moment();
        let mut shared = self.shared();
        for attachment in &mut shared.attachments {
            attachment.give_up(arrived.wall);
            let Attachment { channel, index, mapper, mint, frames, covered, .. } = attachment;
            *frames += 1;
            let is_raw = channel.is_raw;
            let minting = Minting { mint, frame: *frames, arrived, source: &self.source };
            mapper.on_gone(&mut |event| {
                if is_raw {
                    return;
                }
                let ready = minting.encode(&event, channel);
                ready.publish((channel, *index), "", covered, &self.metrics);
            });
            channel.wake();
        }
    }

    /// The stream is open. Says so; since when something may be missing, if it was lost.
    pub(super) fn on_up(&self, told: Told, is_resumed: bool) -> Option<Lapse> {
        let mut shared = self.shared();
        let lapse = shared.lapse();
        if let Told::Up { again: false } = told
            && shared.replays_before.is_some()
        {
            shared.replays_before = Some(clock::wall());
        }
        shared.standing = Some(told);
        shared.failures = Failures::default();
        if told == (Told::Up { again: true }) {
            log::info!(source = self.source.name.as_str(); "source is up again");
        }
        shared.lost_at = None;
        for attachment in &mut shared.attachments {
            if let Told::Up { again: true } = told {
                attachment.mapper.on_time(clock::wall());
                attachment.mapper.on_reopened();
            }
            attachment.channel.on_told(attachment.index, told, is_resumed);
        }
        lapse
    }

    /// Whose history is wanted, each once.
    pub(super) fn histories(&self, lapse: Lapse) -> Vec<Behind> {
        let mut all: Vec<Behind> = Vec::new();
        for attachment in &self.shared().attachments {
            let (since, is_restored) = match (&attachment.past, lapse.lost) {
                (Past::Wanted(wish), _) => (wish.since, true),
                (Past::Nothing | Past::Told, Some(lost)) => (lost, false),
                (Past::Nothing | Past::Told, None) => continue,
            };
            let channel = attachment.channel.clone();
            let known = all.iter_mut().find(|behind| {
                behind.calls() == attachment.resolved.history.as_ref()
                    && (behind.since, behind.is_restored) == (since, is_restored)
            });
            let mut keys = attachment.mapper.past_keys();
            if attachment.mapper.has_scopes() {
                keys.join(attachment.channel.scopes());
            }
            match known {
                Some(behind) => {
                    behind.channels.push(channel);
                    behind.keys.join(keys);
                }
                None => {
                    let resolved = attachment.resolved.clone();
                    all.push(Behind {
                        resolved,
                        keys,
                        since,
                        is_restored,
                        channels: vec![channel],
                    });
                }
            }
        }
        all
    }

    /// These logs may have missed something that cannot be had any more.
    pub(super) fn on_gap(&self, behind: &Behind) {
        for attachment in &mut self.shared().attachments {
            if behind.is_of(attachment) {
                attachment.on_gap(GapReason::UpstreamNoReplay, Some(behind.since));
            }
        }
    }

    /// Tells these logs what their clients missed that were elsewhere, in order.
    pub(super) fn on_restored(
        &self,
        behind: &Behind,
        events: &[PastEvent],
        is_whole: bool,
        is_replaying: bool,
    ) {
        let arrived = clock::moment();
        for attachment in &mut self.shared().attachments {
            if !behind.is_of(attachment) {
                continue;
            }
            let Past::Wanted(wish) = std::mem::replace(&mut attachment.past, Past::Told) else {
                continue;
            };
            attachment.mapper.on_time(arrived.wall);
            let mut told = Vec::new();
            for event in events {
                let (verdict, events) = attachment.map_past(event, arrived, &self.source);
                self.metrics.on_past(verdict);
                told.extend(events);
            }
            // Some more than was asked for, to find the events that marks name.
            let oldest = wish.since.0 - OVERLAP_MILLIS;
            told.retain(|event| event.encoded.label.at.0 >= oldest);
            told.iter().for_each(|event| self.metrics.on_event(event.message_type));
            // A wish may have grown while the history was read.
            let is_whole = is_whole && !wish.has_unknown_parts && wish.since >= behind.since;
            if !is_whole {
                attachment.covered.on_gap();
            }
            told.iter().for_each(|event| attachment.covered.on_told(event.when));
            let events = told.into_iter().map(|event| event.encoded).collect();
            let restored = Restored { events, since: wish.since, is_whole, is_replaying };
            attachment.channel.restore(attachment.index, restored);
        }
    }

    /// Tells these logs what they missed, in order.
    pub(super) fn on_past(&self, behind: &Behind, events: &[PastEvent], arrived: Moment) {
        for attachment in &mut self.shared().attachments {
            if !behind.is_of(attachment) {
                continue;
            }
            attachment.mapper.on_time(arrived.wall);
            let since = behind.since;
            attachment.on_past((events, since), arrived, &self.source, &self.metrics);
            attachment.channel.wake();
        }
    }

    /// The stream is down; `status`: of the backend's answer.
    pub(super) fn on_down(&self, told: Told, status: Option<u16>) {
        let mut shared = self.shared();
        shared.standing = Some(told);
        match told {
            Told::Down { reason: DownReason::Ended, .. } => {
                log::info!(source = self.source.name.as_str(); "source has ended a conversation");
            }
            Told::Down { reason, retry_in } => {
                let (source, reason) = (self.source.name.as_str(), reason.as_str());
                let retry_secs = retry_in.map_or(0, |wait| wait.as_secs());
                log::warn!(source, reason, status, retry_secs; "source is down");
            }
            Told::Up { .. } => {}
        }
        for attachment in &mut shared.attachments {
            if let Told::Down { reason: DownReason::Ended, .. } = told {
                attachment.give_up(clock::wall());
            }
            attachment.channel.on_told(attachment.index, told, false);
        }
    }

    /// A dial failed, or an open stream was lost.
    pub(super) fn note_failure(&self, reason: DownReason, status: Option<u16>) {
        self.shared().failures.on_failure(reason, status, clock::wall());
    }

    /// How it is, for whoever decides whether clients should be sent here.
    pub(in crate::edge) fn health(&self) -> Health {
        let shared = self.shared();
        shared.failures.health(shared.standing)
    }

    /// The source's name.
    pub(in crate::edge) fn source_name(&self) -> &str {
        &self.source.name
    }

    /// Whether events may have been missed that nobody has asked for yet.
    pub(super) fn lapse(&self) -> Option<Lapse> {
        self.shared().lapse()
    }

    /// The same, and it is asked for now.
    pub(super) fn take_loss(&self) -> Option<Lapse> {
        let lost = self.shared().lost_at.take()?;
        Some(Lapse { lost: Some(lost) })
    }

    /// Since then events may have been missed.
    pub(super) fn note_loss_since(&self, since: UnixMillis) {
        self.shared().lost_at.get_or_insert(since);
    }

    /// An open stream was lost: from now on events may be missed.
    pub(super) fn note_loss(&self) {
        let mut shared = self.shared();
        let last_byte = shared.last_byte;
        shared.lost_at.get_or_insert_with(|| last_byte.unwrap_or_else(clock::wall));
    }

    /// A byte came.
    pub(super) fn on_byte(&self, at: UnixMillis) {
        let mut shared = self.shared();
        shared.last_byte = Some(at);
        for attachment in &mut shared.attachments {
            attachment.mapper.on_time(at);
        }
        drop(shared);
        self.metrics.on_byte(at.0 / 1000);
    }

    pub(super) fn on_state(&self, state: &'static str) {
        let mut shared = self.shared();
        let before = std::mem::replace(&mut shared.state, state);
        drop(shared);
        self.metrics.on_state(before, state);
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for UpstreamCell {
    fn drop(&mut self) {
        let state = self.shared().state;
        self.metrics.on_state(state, "");
    }
}

impl Shared {
    fn lapse(&self) -> Option<Lapse> {
        let is_wanted = |attachment: &Attachment| matches!(attachment.past, Past::Wanted(_));
        let is_lapse = self.lost_at.is_some() || self.attachments.iter().any(is_wanted);
        is_lapse.then_some(Lapse { lost: self.lost_at })
    }
}

/// Where a frame stands among others.
#[derive(Clone, Copy)]
struct Place<'a> {
    arrived: Moment,
    /// Where the backend would go on after it.
    replay_id: &'a str,
    /// What is older comes again.
    news_since: Option<UnixMillis>,
}

impl Attachment {
    /// Maps an entry of the history.
    fn map_past(
        &mut self,
        entry: &PastEvent,
        arrived: Moment,
        source: &Source,
    ) -> (Verdict, Vec<Ready>) {
        let Self { channel, mapper, mint, frames, .. } = self;
        *frames += 1;
        let minting = Minting { mint, frame: *frames, arrived, source };
        let mut events = Vec::new();
        let input = Input { event: &entry.event, data: &entry.data };
        let verdict = mapper.on_past(&entry.part, input, &mut |event| {
            // In a raw log an entry is no frame: there is none to leave as it came.
            if !channel.is_raw {
                events.push(minting.encode(&event, channel));
            }
        });
        (verdict, events)
    }

    fn on_gap(&mut self, reason: GapReason, since: Option<UnixMillis>) {
        self.covered.on_gap();
        self.channel.on_gap(self.index, reason, since);
    }

    /// Tells what was missed since then, but for what a gap stands for.
    fn on_past(
        &mut self,
        (entries, since): (&[PastEvent], UnixMillis),
        arrived: Moment,
        source: &Source,
        metrics: &SourceMetrics,
    ) {
        let mut mapped = Vec::with_capacity(entries.len());
        for entry in entries {
            let (verdict, events) = self.map_past(entry, arrived, source);
            let is_known = matches!(verdict, Verdict::Discarded(Discard::Duplicate, _));
            mapped.push((Entry { at: entry.at, is_known }, verdict, events));
        }
        let places: Vec<Entry> = mapped.iter().map(|(entry, ..)| *entry).collect();
        let cut = self.covered.cut(&places);
        if !cut.is_sure && !self.covered.is_open() {
            self.on_gap(GapReason::UpstreamNoReplay, Some(since));
        }
        let Self { channel, index, covered, .. } = self;
        for (place, (_, verdict, events)) in mapped.into_iter().enumerate() {
            if place < cut.covered && matches!(verdict, Verdict::Mapped { .. }) {
                metrics.on_past(Verdict::Discarded(Discard::Filtered, "a gap stands for it"));
                continue;
            }
            metrics.on_past(verdict);
            for event in events {
                event.publish((channel, *index), "", covered, metrics);
            }
        }
    }

    fn on_frame(
        &mut self,
        input: Input<'_>,
        place: Place<'_>,
        source: &Source,
        metrics: &SourceMetrics,
    ) -> Verdict {
        let Self { channel, index, mapper, mint, frames, covered, past, .. } = self;
        *frames += 1;
        let news_since = place.news_since.filter(|_| !matches!(past, Past::Told));
        let is_old = |at: Option<UnixMillis>| at.is_some_and(|at| Some(at) < news_since);
        if channel.is_raw {
            let mut at = None;
            let verdict = mapper.on_frame(input, &mut |event| at = at.or(event.created_at));
            if is_own(verdict) && !is_old(at) {
                let at = at.map(|at| at.min(place.arrived.wall));
                let ready = Ready {
                    encoded: Encoded::raw(
                        input.event,
                        input.data,
                        at.unwrap_or(place.arrived.wall),
                    ),
                    message_type: MessageType::Raw,
                    when: at.map(When::Happened),
                    arrived: place.arrived.at,
                };
                ready.publish((channel, *index), place.replay_id, covered, metrics);
            }
            return verdict;
        }
        let minting = Minting { mint, frame: *frames, arrived: place.arrived, source };
        mapper.on_frame(input, &mut |event| {
            if is_old(event.created_at) {
                return;
            }
            let ready = minting.encode(&event, channel);
            ready.publish((channel, *index), place.replay_id, covered, metrics);
        })
    }

    /// What was wanted of the past will never be had.
    fn give_up(&mut self, now: UnixMillis) {
        if let Past::Wanted(wish) = std::mem::replace(&mut self.past, Past::Told) {
            let restored = Restored {
                events: Vec::new(),
                since: wish.since.min(now),
                is_whole: false,
                is_replaying: false,
            };
            self.channel.restore(self.index, restored);
        }
    }
}

/// Whether a frame is the participant's own, and news: then it leaves as it came, whatever it
/// means. Of one that is broken and was kept back, the owner cannot be read.
const fn is_own(verdict: Verdict) -> bool {
    match verdict {
        Verdict::Mapped { .. } => true,
        Verdict::Discarded(reason, _) => match reason {
            Discard::Shadowed
            | Discard::Filtered
            | Discard::Unmapped
            | Discard::Liveness
            | Discard::Control => true,
            Discard::Foreign | Discard::Duplicate | Discard::Malformed | Discard::Oversize => false,
        },
    }
}
