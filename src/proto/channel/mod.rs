//! The merged log of one subscription: a bounded ring, and what a reader may skip.
//!
//! Every event is framed once; readers are positions in the ring, nothing else. The ring is
//! bounded by count, bytes and age; a reader that it has overtaken is told so, never held up
//! for. Only readers that were elsewhere before ([`super::restore`]) get ids of their own, until
//! they have caught up. Not here: locks, wake-ups, sockets (`edge::hub`).

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lru::LruCache;

use super::cursor::{Cursor, CursorWriter, Mark, Owner};
use super::event::{
    Encoded, Event, Framed, GapReason, Label, MessageType, TypeSet, Vocabulary, with_id,
};
use super::restore::{Place, RESUME_AGE_MILLIS_MAX, Returning, State, Told, nearest};
use super::time::UnixMillis;

/// How many streamed messages are remembered as complete, to skip their tokens.
const COMPLETED_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);

/// An ephemeral event that a reader has not got within this time is old news to it: a reader
/// that keeps up has it within milliseconds.
const STALE_AFTER: Duration = Duration::from_secs(5);

/// One read holds about this much: a client that is far behind gets many events in one go, but
/// never so many that they must be held twice.
const READ_BYTES: usize = 64 * 1024;

/// About what a frame adds to an event's text.
const FRAME_BYTES: usize = 200;

/// What the ring holds at most.
#[derive(Clone, Copy, Debug)]
pub struct RingLimits {
    /// Events.
    pub events_max: usize,
    /// Bytes of framed events.
    pub bytes_max: usize,
    /// Age of an event.
    pub age_max: Duration,
}

/// What one client wants of the log.
#[derive(Clone, Debug)]
pub struct Filter {
    /// Message types that pass.
    pub types: TypeSet,
    /// The one scope that passes; `None` = all.
    pub scope: Option<Box<str>>,
    /// The names it knows.
    pub vocabulary: Vocabulary,
}

/// What a log is born with.
#[derive(Clone, Copy, Debug)]
pub struct Birth {
    /// Random: it tells this log's cursors from those of others.
    pub epoch: u64,
    /// Whose log it is.
    pub owner: Owner,
    /// How many sources are merged in it.
    pub sources: usize,
    /// When.
    pub at: UnixMillis,
}

/// The log.
pub struct Channel {
    epoch: u64,
    owner: Owner,
    limits: RingLimits,
    ring: VecDeque<Entry>,
    ring_bytes: usize,
    next_sequence: u64,
    /// By message type: the sequence after the last event that the ring dropped and that nobody
    /// may miss who wants that type.
    lost_before: [u64; MessageType::ALL.len()],
    /// The same for gaps, which everybody must be told.
    gap_lost_before: u64,
    completed: LruCache<Box<str>, u64>,
    /// How many tokens the ring holds: without any, nothing is completed.
    tokens: usize,
    places: Vec<Place>,
    cursors: CursorWriter,
    /// The sequence after the last event that was restored.
    restored_before: u64,
}

struct Entry {
    at: Instant,
    body: Body,
}

enum Body {
    Message { source: usize, is_restored: bool, framed: Framed, core: OnceLock<Bytes> },
    Control { full: Bytes, core: Bytes, kind: ControlKind },
}

/// Whom a control event concerns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ControlKind {
    /// Those who are there.
    News,
    /// Those who come back, too: their cursor is older than it.
    Gap,
    /// Those alone whose cursor is of another log.
    Restarted,
}

impl Entry {
    fn is_token(&self) -> bool {
        match &self.body {
            Body::Message { framed, .. } => framed.label.message_type == MessageType::Token,
            Body::Control { .. } => false,
        }
    }

    fn bytes(&self) -> usize {
        match &self.body {
            Body::Message { framed, .. } => framed.full().len(),
            Body::Control { full, core, .. } => full.len() + core.len(),
        }
    }
}

/// A client's place in the log.
#[derive(Clone, Debug)]
pub struct Reader {
    /// The next sequence to read.
    pub position: u64,
    /// Control events before it are old news.
    pub live_from: u64,
    /// Until it has caught up with what it saw elsewhere.
    returning: Option<Box<Returning>>,
}

/// Where a client starts to read.
#[derive(Clone, Debug)]
pub struct Join {
    /// Its place.
    pub reader: Reader,
    /// Whether the cursor was taken up.
    pub is_resumed: bool,
    /// Why events may be missing.
    pub gap: Option<GapReason>,
    /// Sources that cannot be resumed from a cursor of another log: a gap for each.
    pub restarted: Vec<usize>,
}

/// What one read gave.
#[derive(Debug, Default)]
pub struct Batch {
    /// Framed events, in order.
    pub blocks: Vec<Bytes>,
    /// Their bytes.
    pub bytes: usize,
    /// How many messages of which type.
    pub messages: Vec<MessageType>,
    /// Ephemeral live events that were skipped.
    pub skipped: usize,
    /// When each of them came, but for those that came before the reader, or are of the past.
    pub arrived: Vec<Instant>,
}

/// A reader's standing after a read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Everything was read.
    Current,
    /// There is more.
    Behind,
    /// Events that it needed are gone.
    Overtaken,
}

impl Channel {
    /// An empty log.
    #[must_use]
    pub fn new(birth: Birth, limits: RingLimits) -> Self {
        let Birth { epoch, owner, sources, at } = birth;
        let marks = vec![Mark::since(at); sources];
        Self {
            epoch,
            owner,
            limits,
            ring: VecDeque::new(),
            ring_bytes: 0,
            next_sequence: 1,
            lost_before: [1; MessageType::ALL.len()],
            gap_lost_before: 1,
            completed: LruCache::sparse(COMPLETED_MAX),
            tokens: 0,
            cursors: CursorWriter::new(epoch, Some(owner), &marks),
            places: marks.into_iter().map(Place::new).collect(),
            restored_before: 1,
        }
    }

    /// Appends a message event of a source, whose last byte came at `now`. `replay_id`: where its backend would go on after the
    /// event's frame; empty where it would not. Hot path: runs once per event.
    pub fn append(&mut self, source: usize, replay_id: &str, encoded: Encoded, now: Instant) {
        let mut is_restored = false;
        if let Some(place) = self.places.get_mut(source)
            && let State::Replaying { before } = place.state
        {
            is_restored = encoded.label.at < before;
            if !is_restored {
                place.state = State::Live;
            }
        }
        if !replay_id.is_empty() {
            self.cursors.set_replay_id(source, replay_id);
        }
        self.append_message(source, is_restored, encoded, now);
    }

    /// Appends a control event, framed in both vocabularies.
    pub fn append_control(
        &mut self,
        full: Vec<u8>,
        core: Vec<u8>,
        kind: ControlKind,
        now: Instant,
    ) {
        if kind == ControlKind::Restarted {
            self.restored_before = self.next_sequence + 1;
        }
        self.push(Entry {
            at: now,
            body: Body::Control { full: full.into(), core: core.into(), kind },
        });
    }

    /// What a client missed of a source will be asked for: it goes on from this mark.
    /// `replays_from`: where its backend replays it from, if it has no other history.
    pub fn on_wanted(&mut self, source: usize, mark: Mark, replays_from: Option<&str>) {
        let Some(place) = self.places.get_mut(source) else {
            return;
        };
        if place.state == State::Starting {
            place.state = State::Wanted;
            place.mark = mark;
            place.replays_from = replays_from.map(Box::from);
            self.cursors.set_mark(source, mark);
        }
    }

    /// A source is up, and nothing of the past is wanted of it.
    pub fn on_live(&mut self, source: usize, at: UnixMillis) {
        if let Some(place) =
            self.places.get_mut(source).filter(|place| place.state == State::Starting)
        {
            place.state = State::Live;
            place.whole_since = at;
        }
    }

    /// How many of these events, the oldest, find no place in the ring.
    #[must_use]
    pub fn overflow(&self, events: &[Encoded]) -> usize {
        // One place for the gap. Restored events must not drive each other out: who waits for
        // them would be taken for a slow reader.
        let mut bytes = self.ring_bytes;
        let room = self.limits.events_max.saturating_sub(self.ring.len() + 1);
        let fits = events.iter().rev().take(room).take_while(|event| {
            bytes += event.json().len() + FRAME_BYTES;
            bytes <= self.limits.bytes_max
        });
        events.len() - fits.count()
    }

    /// Appends what was wanted of a source, in order; everything after `whole_since` is in it.
    /// `is_replaying`: its backend tells more of it on the stream.
    pub fn restore(
        &mut self,
        source: usize,
        events: Vec<Encoded>,
        whole_since: UnixMillis,
        is_replaying: bool,
        (now, wall): (Instant, UnixMillis),
    ) {
        for event in events {
            self.append_message(source, true, event, now);
        }
        if let Some(place) = self.places.get_mut(source) {
            place.whole_since = whole_since;
            place.state = match is_replaying {
                true => State::Replaying { before: wall },
                false => State::Live,
            };
            if !is_replaying {
                place.mark.at = place.mark.at.max(wall);
                self.cursors.set_mark(source, place.mark);
            }
        }
    }

    /// Where a client starts that sends back this cursor, or none. `wall` is the time now.
    #[must_use]
    pub fn join(&self, cursor: Option<&Cursor>, filter: &Filter, wall: UnixMillis) -> Join {
        let live_from = self.next_sequence;
        let fresh = Reader {
            position: live_from,
            live_from,
            returning: (!self.is_settled())
                .then(|| Box::new(Returning::fresh(self.places.len(), wall))),
        };
        let join =
            |reader, is_resumed, gap| Join { reader, is_resumed, gap, restarted: Vec::new() };
        let Some(cursor) = cursor else {
            return join(fresh, false, None);
        };
        if self.is_of_another_log(cursor, wall) {
            return self.join_from_elsewhere(cursor, wall);
        }
        if cursor.epoch != self.epoch
            || cursor.owner != Some(self.owner)
            || cursor.sequence >= self.next_sequence
        {
            return join(fresh, false, Some(GapReason::CursorExpired));
        }
        let is_behind = cursor.sequence < self.restored_before || !self.is_settled();
        let returning =
            is_behind.then(|| Box::new(Returning::new(cursor, 0, &self.places, wall).0));
        let position = cursor.sequence + 1;
        if position < self.lost_before(filter) {
            // What is left is still told, after the gap.
            let reader = Reader { position: self.first_sequence(), live_from, returning };
            return join(reader, true, Some(GapReason::CursorExpired));
        }
        join(Reader { position, live_from, returning }, true, None)
    }

    /// Whether a cursor is of a log of the same subscription that is elsewhere, or no more, and
    /// young enough to go on from.
    #[must_use]
    pub fn is_of_another_log(&self, cursor: &Cursor, wall: UnixMillis) -> bool {
        let latest = cursor.marks.iter().map(|mark| mark.at.0).max();
        cursor.owner == Some(self.owner)
            && cursor.epoch != self.epoch
            && latest.is_some_and(|at| wall.0.saturating_sub(at) <= RESUME_AGE_MILLIS_MAX)
    }

    fn join_from_elsewhere(&self, cursor: &Cursor, wall: UnixMillis) -> Join {
        let live_from = self.next_sequence;
        let (returning, restarted) = Returning::new(cursor, live_from, &self.places, wall);
        let is_resumed = restarted.len() < self.places.len();
        let position = self.first_sequence().max(self.all_lost_before());
        let reader = Reader { position, live_from, returning: Some(Box::new(returning)) };
        Join { reader, is_resumed, gap: None, restarted }
    }

    /// Takes what a reader has not read yet, up to about 64 KiB. Hot path: runs once per
    /// wake-up of a client.
    pub fn read(
        &self,
        reader: &mut Reader,
        filter: &Filter,
        now: Instant,
        batch: &mut Batch,
    ) -> Standing {
        if reader.position < self.lost_before(filter) {
            return Standing::Overtaken;
        }
        let first = self.first_sequence();
        let mut at = reader.position.max(first);
        let start = usize::try_from(at - first).unwrap_or(usize::MAX);
        for entry in self.ring.range(start.min(self.ring.len())..) {
            if batch.bytes >= READ_BYTES {
                reader.position = at;
                return Standing::Behind;
            }
            let is_wanted = match &mut reader.returning {
                Some(returning) => self.is_wanted(entry, at, returning),
                None => true,
            };
            if is_wanted {
                let is_stale = now.saturating_duration_since(entry.at) > STALE_AFTER;
                self.take(entry, at, is_stale, reader, filter, batch);
            }
            at += 1;
        }
        reader.position = at;
        let has_caught_up = |returning: &mut Box<Returning>| {
            self.is_settled() && at >= self.restored_before.max(returning.until)
        };
        reader.returning.take_if(has_caught_up);
        Standing::Current
    }

    /// Forgets what is too old.
    pub fn expire(&mut self, now: Instant) {
        while self
            .ring
            .front()
            .is_some_and(|entry| now.saturating_duration_since(entry.at) > self.limits.age_max)
        {
            self.drop_oldest();
        }
    }

    /// The sequence that the next event gets.
    #[must_use]
    pub const fn next_sequence(&self) -> u64 {
        self.next_sequence
    }

    /// Bytes of framed events in the ring.
    #[must_use]
    pub const fn bytes(&self) -> usize {
        self.ring_bytes
    }

    /// Whether more than half of what the ring may hold lies after this position.
    #[must_use]
    pub fn is_half_unread(&self, position: u64) -> bool {
        let len = self.ring.len();
        let unread = usize::try_from(self.next_sequence.saturating_sub(position));
        let unread = unread.unwrap_or(usize::MAX).min(len);
        // Events of one stream are about alike in size.
        let bytes = self.ring_bytes.checked_div(len).unwrap_or(0) * unread;
        unread > self.limits.events_max / 2 || bytes > self.limits.bytes_max / 2
    }

    /// Whether a client with this cursor would get at least one message that passes.
    #[must_use]
    pub fn has_unread(
        &self,
        cursor: Option<&Cursor>,
        filter: &Filter,
        (now, wall): (Instant, UnixMillis),
    ) -> bool {
        let mut reader = self.join(cursor, filter, wall).reader;
        loop {
            let mut batch = Batch::default();
            let standing = self.read(&mut reader, filter, now, &mut batch);
            if !batch.messages.is_empty() || standing == Standing::Overtaken {
                return true;
            }
            if standing == Standing::Current {
                return false;
            }
        }
    }

    fn append_message(&mut self, source: usize, is_restored: bool, encoded: Encoded, now: Instant) {
        let sequence = self.next_sequence;
        if let Some(place) = self.places.get_mut(source) {
            place.mark.advance(&encoded.label);
            self.cursors.set_mark(source, place.mark);
        }
        if is_restored {
            self.restored_before = sequence + 1;
        }
        let framed = encoded.frame(Some(self.cursors.write(sequence)));
        let label = &framed.label;
        if label.message_type == MessageType::Token {
            self.tokens += 1;
        }
        if let (Some(message), true, 1..) = (&label.token_of, label.completes_tokens, self.tokens) {
            self.completed.put(message.clone(), sequence);
        }
        let body = Body::Message { source, is_restored, framed, core: OnceLock::new() };
        self.push(Entry { at: now, body });
    }

    fn push(&mut self, entry: Entry) {
        self.ring_bytes += entry.bytes();
        let now = entry.at;
        self.ring.push_back(entry);
        self.next_sequence += 1;
        while self.ring.len() > self.limits.events_max
            || (self.ring_bytes > self.limits.bytes_max && self.ring.len() > 1)
        {
            self.drop_oldest();
        }
        self.expire(now);
    }

    fn drop_oldest(&mut self) {
        let sequence = self.first_sequence();
        let Some(entry) = self.ring.pop_front() else {
            return;
        };
        self.ring_bytes -= entry.bytes();
        match &entry.body {
            Body::Message { framed, source, .. } if !self.is_skippable(framed, sequence) => {
                let label = &framed.label;
                if let Some(lost_before) = self.lost_before.get_mut(label.message_type as usize) {
                    *lost_before = sequence + 1;
                }
                if let Some(place) = self.places.get_mut(*source) {
                    place.whole_since = place.whole_since.max(UnixMillis(label.at.0 + 1));
                }
            }
            Body::Control { kind: ControlKind::Gap | ControlKind::Restarted, .. } => {
                self.gap_lost_before = sequence + 1;
            }
            Body::Message { .. } | Body::Control { .. } => {}
        }
        if entry.is_token() {
            self.tokens -= 1;
        }
    }

    /// Whether no source tells of the past any more.
    fn is_settled(&self) -> bool {
        self.places.iter().all(|place| place.state == State::Live)
    }

    /// Whether readers are told different things at this event.
    fn is_restoring(&self, sequence: u64) -> bool {
        let restores = |place: &Place| match place.state {
            State::Wanted | State::Replaying { .. } => true,
            State::Starting | State::Live => false,
        };
        sequence < self.restored_before || self.places.iter().any(restores)
    }

    /// Whether a reader that was elsewhere has not seen this there.
    fn is_wanted(&self, entry: &Entry, sequence: u64, returning: &mut Returning) -> bool {
        match &entry.body {
            Body::Control { kind, .. } => !returning.is_new || *kind != ControlKind::Restarted,
            Body::Message { source, is_restored, framed, .. } => {
                let told = Told {
                    sequence,
                    source: *source,
                    is_restored: *is_restored,
                    label: &framed.label,
                };
                let until = returning.until;
                returning.wants(told, |mark| self.find(*source, until, mark))
            }
        }
    }

    /// The event that a mark names, among those that are compared with it.
    fn find(&self, wanted: usize, until: u64, mark: Mark) -> Option<u64> {
        let events = (self.first_sequence()..).zip(&self.ring);
        let labels = events.filter_map(|(sequence, entry)| match &entry.body {
            Body::Message { source, is_restored, framed, .. } => {
                let is_compared = *source == wanted && (*is_restored || sequence < until);
                is_compared.then_some((sequence, &framed.label))
            }
            Body::Control { .. } => None,
        });
        nearest(mark, labels)
    }

    /// The sequence after the last event that the ring dropped and that somebody may not miss.
    fn all_lost_before(&self) -> u64 {
        self.lost_before.iter().copied().fold(self.gap_lost_before, u64::max)
    }

    /// The sequence after the last event that a reader with this filter may not miss.
    fn lost_before(&self, filter: &Filter) -> u64 {
        let wanted = MessageType::ALL.iter().zip(&self.lost_before);
        let wanted = wanted.filter(|(message_type, _)| filter.types.contains(**message_type));
        wanted.map(|(_, lost_before)| *lost_before).fold(self.gap_lost_before, u64::max)
    }

    fn first_sequence(&self) -> u64 {
        self.next_sequence - self.ring.len() as u64
    }

    /// Whether a slow or returning client does without this event.
    fn is_skippable(&self, framed: &Framed, sequence: u64) -> bool {
        let label = &framed.label;
        if label.message_type.is_ephemeral() {
            return true;
        }
        label.message_type == MessageType::Token
            && label
                .token_of
                .as_ref()
                .and_then(|message| self.completed.peek(message))
                .is_some_and(|completed_at| sequence < *completed_at)
    }

    fn take(
        &self,
        entry: &Entry,
        at: u64,
        is_stale: bool,
        reader: &mut Reader,
        filter: &Filter,
        batch: &mut Batch,
    ) {
        let live_from = reader.live_from;
        let block = match &entry.body {
            Body::Control { kind: ControlKind::News, .. } if at < live_from => return,
            Body::Control { full, core, .. } => match filter.vocabulary {
                Vocabulary::Full => full.clone(),
                Vocabulary::Core => core.clone(),
                // The backend tells of itself, and knows nothing of the others.
                Vocabulary::Raw => return,
            },
            Body::Message { source, is_restored, framed, core } => {
                if !filter.passes(&framed.label) {
                    return;
                }
                let is_old = is_stale || *is_restored || at < live_from;
                if is_old && self.is_skippable(framed, at) {
                    batch.skipped += usize::from(at >= live_from && !is_restored);
                    return;
                }
                batch.messages.push(framed.label.message_type);
                if at >= live_from && !is_restored {
                    batch.arrived.push(entry.at);
                }
                let block = match filter.vocabulary {
                    Vocabulary::Core if !framed.is_core() => core.get_or_init(|| framed.core()),
                    Vocabulary::Core | Vocabulary::Full | Vocabulary::Raw => framed.full(),
                };
                match &mut reader.returning {
                    Some(returning) if !returning.is_new || self.is_restoring(at) => {
                        with_id(block, |id| self.own_id(id, *source, at, returning))
                    }
                    Some(_) | None => block.clone(),
                }
            }
        };
        batch.bytes += block.len();
        if !block.is_empty() {
            batch.blocks.push(block);
        }
    }

    /// The id of an event for a reader that was elsewhere: it has not seen all that the log has
    /// told, nor only that.
    fn own_id(&self, id: &str, source: usize, sequence: u64, returning: &mut Returning) -> String {
        let known = Cursor::parse(id);
        if let Some(id) = known.as_ref().and_then(|cursor| cursor.replay_id(source)) {
            returning.set_replay_id(source, id);
        }
        let mut writer = CursorWriter::new(self.epoch, Some(self.owner), &returning.marks());
        for (source, id) in returning.replay_ids() {
            writer.set_replay_id(*source, id);
        }
        writer.write(sequence).to_owned()
    }
}

impl Filter {
    /// Whether an event passes that is not encoded yet.
    #[must_use]
    pub fn passes_event(&self, event: &Event<'_>) -> bool {
        let scope = match (&event.scope, event.is_scoped) {
            (Some(scope), _) => Some(scope.as_ref()),
            (None, true) => Some(""),
            (None, false) => None,
        };
        self.types.contains(event.message_type())
            && match (&self.scope, scope) {
                (Some(wanted), Some(scope)) => **wanted == *scope,
                (Some(_) | None, None) | (None, Some(_)) => true,
            }
    }

    fn passes(&self, label: &Label) -> bool {
        self.types.contains(label.message_type)
            && match (&self.scope, &label.scope) {
                (Some(wanted), Some(scope)) => wanted == scope,
                (Some(_) | None, None) | (None, Some(_)) => true,
            }
    }
}

#[cfg(test)]
mod tests;
