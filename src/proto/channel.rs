//! The merged log of one subscription: a bounded ring, and what a reader may skip.
//!
//! Every event is framed once; readers are positions in the ring, nothing else. The ring is
//! bounded by count, bytes and age; a reader that it has overtaken is told so, never held up
//! for. Not here: locks, wake-ups, sockets (`edge::hub`).

use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lru::LruCache;

use super::cursor::Cursor;
use super::event::{Encoded, Event, Framed, GapReason, MessageType, TypeSet, Vocabulary};

/// How many streamed messages are remembered as complete, to skip their tokens.
const COMPLETED_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);

/// An ephemeral event that a reader has not got within this time is old news to it: a reader
/// that keeps up has it within milliseconds.
const STALE_AFTER: Duration = Duration::from_secs(5);

/// One read holds about this much: a client that is far behind gets many events in one go, but
/// never so many that they must be held twice.
const READ_BYTES: usize = 64 * 1024;

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

/// The log.
pub struct Channel {
    epoch: u64,
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
}

struct Entry {
    at: Instant,
    body: Body,
}

enum Body {
    Message { framed: Framed, core: OnceLock<Bytes> },
    Control { full: Bytes, core: Bytes, is_gap: bool },
}

impl Entry {
    fn bytes(&self) -> usize {
        match &self.body {
            Body::Message { framed, .. } => framed.full().len(),
            Body::Control { full, core, .. } => full.len() + core.len(),
        }
    }
}

/// Where a client starts to read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Join {
    /// The first sequence to read.
    pub position: u64,
    /// Control events before it are old news.
    pub live_from: u64,
    /// Whether the cursor was taken up.
    pub is_resumed: bool,
    /// Why events may be missing.
    pub gap: Option<GapReason>,
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
    /// When each of them came, but for those that came before the reader.
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
    /// An empty log. `epoch` is random: it tells this log's cursors from all others.
    #[must_use]
    pub fn new(epoch: u64, limits: RingLimits) -> Self {
        Self {
            epoch,
            limits,
            ring: VecDeque::new(),
            ring_bytes: 0,
            next_sequence: 1,
            lost_before: [1; MessageType::ALL.len()],
            gap_lost_before: 1,
            completed: LruCache::sparse(COMPLETED_MAX),
        }
    }

    /// Appends a message event, whose last byte came at `now`.
    pub fn append(&mut self, encoded: Encoded, now: Instant) {
        let cursor = Cursor { epoch: self.epoch, sequence: self.next_sequence };
        let framed = encoded.frame(Some(&cursor.to_string()));
        if let (Some(message), true) = (&framed.token_of, framed.completes_tokens) {
            self.completed.put(message.clone(), self.next_sequence);
        }
        self.push(Entry { at: now, body: Body::Message { framed, core: OnceLock::new() } });
    }

    /// Appends a control event, framed in both vocabularies. A gap is told to returning clients
    /// too: their cursor is older than it.
    pub fn append_control(&mut self, full: Vec<u8>, core: Vec<u8>, is_gap: bool, now: Instant) {
        let body = Body::Control { full: full.into(), core: core.into(), is_gap };
        self.push(Entry { at: now, body });
    }

    /// Where a client starts that sends back this cursor, or none.
    #[must_use]
    pub fn join(&self, cursor: Option<Cursor>, filter: &Filter) -> Join {
        let live_from = self.next_sequence;
        let fresh = Join { position: live_from, live_from, is_resumed: false, gap: None };
        let Some(cursor) = cursor else {
            return fresh;
        };
        if cursor.epoch != self.epoch || cursor.sequence >= self.next_sequence {
            return Join { gap: Some(GapReason::CursorExpired), ..fresh };
        }
        let position = cursor.sequence + 1;
        if position < self.lost_before(filter) {
            // What is left is still told, after the gap.
            let position = self.first_sequence();
            return Join {
                position,
                live_from,
                is_resumed: true,
                gap: Some(GapReason::CursorExpired),
            };
        }
        Join { position, live_from, is_resumed: true, gap: None }
    }

    /// Takes what a reader has not read yet, up to about 64 KiB. Hot path: runs once per
    /// wake-up of a client.
    pub fn read(
        &self,
        position: &mut u64,
        live_from: u64,
        filter: &Filter,
        now: Instant,
        batch: &mut Batch,
    ) -> Standing {
        if *position < self.lost_before(filter) {
            return Standing::Overtaken;
        }
        let first = self.first_sequence();
        let mut at = (*position).max(first);
        let start = usize::try_from(at - first).unwrap_or(usize::MAX);
        for entry in self.ring.range(start.min(self.ring.len())..) {
            if batch.bytes >= READ_BYTES {
                *position = at;
                return Standing::Behind;
            }
            let is_stale = now.saturating_duration_since(entry.at) > STALE_AFTER;
            self.take(entry, at, (live_from, is_stale), filter, batch);
            at += 1;
        }
        *position = at;
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

    /// Whether a reader at this position would get at least one message that passes.
    #[must_use]
    pub fn has_unread(&self, join: Join, filter: &Filter) -> bool {
        let start = usize::try_from(join.position.saturating_sub(self.first_sequence()));
        let unread = self.ring.range(start.unwrap_or(usize::MAX).min(self.ring.len())..);
        unread.into_iter().any(|entry| match &entry.body {
            Body::Message { framed, .. } => filter.passes(framed),
            Body::Control { .. } => false,
        })
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
            Body::Message { framed, .. } if !self.is_skippable(framed, sequence) => {
                if let Some(lost_before) = self.lost_before.get_mut(framed.message_type as usize) {
                    *lost_before = sequence + 1;
                }
            }
            Body::Control { is_gap: true, .. } => self.gap_lost_before = sequence + 1,
            Body::Message { .. } | Body::Control { .. } => {}
        }
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
        if framed.message_type.is_ephemeral() {
            return true;
        }
        framed.message_type == MessageType::Token
            && framed
                .token_of
                .as_ref()
                .and_then(|message| self.completed.peek(message))
                .is_some_and(|completed_at| sequence < *completed_at)
    }

    fn take(
        &self,
        entry: &Entry,
        at: u64,
        (live_from, is_stale): (u64, bool),
        filter: &Filter,
        batch: &mut Batch,
    ) {
        let block = match &entry.body {
            Body::Control { is_gap: false, .. } if at < live_from => return,
            Body::Control { full, core, .. } => match filter.vocabulary {
                Vocabulary::Full => full,
                Vocabulary::Core => core,
            },
            Body::Message { framed, core } => {
                if !filter.passes(framed) {
                    return;
                }
                if (is_stale || at < live_from) && self.is_skippable(framed, at) {
                    batch.skipped += usize::from(at >= live_from);
                    return;
                }
                batch.messages.push(framed.message_type);
                if at >= live_from {
                    batch.arrived.push(entry.at);
                }
                match filter.vocabulary {
                    Vocabulary::Core if !framed.is_core() => core.get_or_init(|| framed.core()),
                    Vocabulary::Core | Vocabulary::Full => framed.full(),
                }
            }
        };
        batch.bytes += block.len();
        if !block.is_empty() {
            batch.blocks.push(block.clone());
        }
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

    fn passes(&self, framed: &Framed) -> bool {
        self.types.contains(framed.message_type)
            && match (&self.scope, &framed.scope) {
                (Some(wanted), Some(scope)) => wanted == scope,
                (Some(_) | None, None) | (None, Some(_)) => true,
            }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::disallowed_methods, reason = "tests need some moment to count from")]

    use super::*;
    use crate::proto::event::{
        Chat, Envelope, Event, EventId, Payload, Subscription, Token, Typing,
    };
    use crate::proto::time::UnixMillis;

    fn encode(event: &Event<'_>) -> Encoded {
        let subscription = Subscription::new("t", "w", "p");
        let mut minted = || "m".to_owned();
        Encoded::new(
            event,
            &mut Envelope {
                subscription: &subscription,
                source: "s",
                backend: "b",
                arrived: UnixMillis(0),
                minted: &mut minted,
            },
        )
    }

    fn chat(id: &str) -> Encoded {
        let mut event = Event::new("x", Payload::Chat(Box::<Chat<'_>>::default()));
        event.id = EventId::given(id.to_owned());
        encode(&event)
    }

    fn typing() -> Encoded {
        encode(&Event::new("x", Payload::Typing(Typing { is_started: true, detail: None })))
    }

    fn token(message: &str, valid: Option<bool>) -> Encoded {
        let token = Token {
            message_id: message.to_owned().into(),
            valid,
            reason: None,
            sequence: None,
            turn: None,
            batch: None,
        };
        encode(&Event::new("x", Payload::Token(Box::new(token))))
    }

    fn channel(events_max: usize, bytes_max: usize) -> Channel {
        Channel::new(7, RingLimits { events_max, bytes_max, age_max: Duration::from_secs(600) })
    }

    fn everything() -> Filter {
        Filter { types: TypeSet::ALL, scope: None, vocabulary: Vocabulary::Full }
    }

    fn read_all(channel: &Channel, join: Join) -> (Vec<MessageType>, Standing, u64) {
        let mut position = join.position;
        let mut batch = Batch::default();
        let now = Instant::now();
        let standing = channel.read(&mut position, join.live_from, &everything(), now, &mut batch);
        (batch.messages, standing, position)
    }

    #[test]
    fn a_log_is_half_unread_by_count_or_by_bytes() {
        let mut by_count = channel(4, 1 << 20);
        assert!(!by_count.is_half_unread(1), "an empty log");
        for id in ["1", "2"] {
            by_count.append(chat(id), Instant::now());
        }
        assert!(!by_count.is_half_unread(1));
        by_count.append(chat("3"), Instant::now());
        assert!(by_count.is_half_unread(1));
        assert!(!by_count.is_half_unread(2), "some of it was read");
        let bytes = chat("1").frame(None).full().len();
        let mut by_bytes = channel(512, bytes * 4);
        for id in ["1", "2", "3"] {
            by_bytes.append(chat(id), Instant::now());
        }
        assert!(by_bytes.is_half_unread(1));
        assert!(!by_bytes.is_half_unread(4));
    }

    #[test]
    fn a_cursor_gives_what_came_after_it() {
        let now = Instant::now();
        let mut channel = channel(10, 1 << 20);
        for id in ["a", "b", "c"] {
            channel.append(chat(id), now);
        }
        let join = channel.join(Some(Cursor { epoch: 7, sequence: 1 }), &everything());
        assert!(join.is_resumed && join.gap.is_none());
        assert_eq!(read_all(&channel, join), (vec![MessageType::Chat; 2], Standing::Current, 4));
        let fresh = channel.join(None, &everything());
        assert_eq!(read_all(&channel, fresh), (vec![], Standing::Current, 4));
    }

    #[test]
    fn foreign_future_and_lost_cursors_are_told_as_a_gap() {
        let now = Instant::now();
        let mut channel = channel(2, 1 << 20);
        for id in ["a", "b", "c", "d"] {
            channel.append(chat(id), now);
        }
        for (epoch, sequence) in [(8, 1), (7, 5), (7, 99)] {
            let join = channel.join(Some(Cursor { epoch, sequence }), &everything());
            assert_eq!((join.is_resumed, join.gap), (false, Some(GapReason::CursorExpired)));
            assert_eq!(join.position, 5);
        }
        let lost = channel.join(Some(Cursor { epoch: 7, sequence: 1 }), &everything());
        assert_eq!((lost.is_resumed, lost.gap), (true, Some(GapReason::CursorExpired)));
        assert_eq!(read_all(&channel, lost).0.len(), 2, "what is left is told");
        let kept = channel.join(Some(Cursor { epoch: 7, sequence: 2 }), &everything());
        assert_eq!((kept.is_resumed, kept.gap), (true, None));
    }

    #[test]
    fn the_ring_is_bounded_by_count_bytes_and_age() {
        let now = Instant::now();
        let size = chat("a").frame(Some("1.7.1")).full().len();
        let mut by_count = channel(3, 1 << 20);
        let mut by_bytes = channel(1000, size * 3);
        for _ in 0..10 {
            by_count.append(chat("a"), now);
            by_bytes.append(chat("a"), now);
        }
        assert_eq!(by_count.ring.len(), 3);
        assert_eq!(by_bytes.ring.len(), 3);
        assert!(by_bytes.bytes() <= size * 3);
        by_count.expire(now + Duration::from_secs(601));
        assert_eq!((by_count.ring.len(), by_count.bytes()), (0, 0));
        assert_eq!(by_count.join(None, &everything()).position, 11, "sequences go on");
    }

    #[test]
    fn an_overtaken_reader_is_told_but_not_for_ephemeral_events() {
        let now = Instant::now();
        let mut channel = channel(2, 1 << 20);
        let join = channel.join(None, &everything());
        for _ in 0..5 {
            channel.append(typing(), now);
        }
        assert_eq!(read_all(&channel, join).1, Standing::Current);
        for _ in 0..3 {
            channel.append(chat("a"), now);
        }
        assert_eq!(read_all(&channel, join).1, Standing::Overtaken);
    }

    #[test]
    fn a_returning_client_is_spared_old_typing_control_and_tokens() {
        let now = Instant::now();
        let mut channel = channel(20, 1 << 20);
        channel.append(chat("a"), now);
        channel.append(typing(), now);
        channel.append_control(b"event: source_up\n\n".to_vec(), vec![], false, now);
        channel.append(token("done", None), now);
        channel.append(token("open", None), now);
        channel.append(token("bad", None), now);
        channel.append(token("bad", Some(false)), now);
        channel.append(token("bad", None), now);
        channel.append(chat("done"), now);
        let join = channel.join(Some(Cursor { epoch: 7, sequence: 1 }), &everything());
        let (messages, _, _) = read_all(&channel, join);
        use MessageType::{Chat, Token};
        assert_eq!(
            messages,
            [Token, Token, Token, Chat],
            "the open one, the verdict, what follows it, the message"
        );
    }

    #[test]
    fn filters_act_while_reading() {
        let now = Instant::now();
        let mut channel = channel(20, 1 << 20);
        let join = channel.join(None, &everything());
        channel.append(chat("a"), now);
        channel.append(typing(), now);
        let mut scoped = Event::new("x", Payload::Data("1".into()));
        scoped.scope = Some("one".into());
        channel.append(encode(&scoped), now);
        let count = |filter: &Filter| {
            let mut batch = Batch::default();
            let position = &mut join.position.clone();
            channel.read(position, join.live_from, filter, now, &mut batch);
            batch.messages.len()
        };
        let only_chat = Filter { types: TypeSet::parse("Chat").expect("a set"), ..everything() };
        assert_eq!(count(&only_chat), 1);
        assert_eq!(count(&Filter { scope: Some("one".into()), ..everything() }), 3);
        assert_eq!(count(&Filter { scope: Some("two".into()), ..everything() }), 2);
        assert_eq!(count(&Filter { scope: None, ..everything() }), 3);
    }

    #[test]
    fn a_read_stops_at_its_bound_and_goes_on_there() {
        let now = Instant::now();
        let mut channel = channel(1000, 1 << 24);
        let join = channel.join(None, &everything());
        let count = READ_BYTES / 100;
        for _ in 0..count {
            channel.append(chat("a"), now);
        }
        let (mut position, mut seen, mut reads) = (join.position, 0, 0);
        loop {
            let mut batch = Batch::default();
            let standing =
                channel.read(&mut position, join.live_from, &everything(), now, &mut batch);
            assert!(batch.bytes < READ_BYTES + 1000);
            seen += batch.blocks.len();
            reads += 1;
            if standing == Standing::Current {
                break;
            }
        }
        assert_eq!(seen, count);
        assert!(reads > 1, "one read was enough");
    }

    #[test]
    fn ephemeral_events_are_skipped_only_for_readers_that_are_late() {
        let now = Instant::now();
        let mut channel = channel(1000, 1 << 24);
        let join = channel.join(None, &everything());
        for _ in 0..200 {
            channel.append(typing(), now);
        }
        let read_at = |at: Instant| {
            let mut batch = Batch::default();
            channel.read(&mut join.position.clone(), join.live_from, &everything(), at, &mut batch);
            (batch.messages.len(), batch.skipped)
        };
        assert_eq!(read_at(now), (200, 0), "a burst");
        assert_eq!(read_at(now + STALE_AFTER * 2), (0, 200));
    }

    #[test]
    fn a_gap_is_told_to_who_was_away_while_it_came() {
        let now = Instant::now();
        let mut channel = channel(3, 1 << 20);
        channel.append(chat("a"), now);
        channel.append_control(b"event: gap\n\n".to_vec(), vec![], true, now);
        channel.append_control(b"event: source_up\n\n".to_vec(), vec![], false, now);
        let cursor = Some(Cursor { epoch: 7, sequence: 1 });
        let join = channel.join(cursor, &everything());
        let (mut position, mut batch) = (join.position, Batch::default());
        channel.read(&mut position, join.live_from, &everything(), now, &mut batch);
        assert_eq!(batch.blocks, ["event: gap\n\n"]);
        for _ in 0..3 {
            channel.append(typing(), now);
        }
        assert!(channel.join(cursor, &everything()).gap.is_some(), "the ring has lost it");
    }

    #[test]
    fn what_a_filter_hides_is_no_loss() {
        let now = Instant::now();
        let mut channel = channel(2, 1 << 20);
        channel.append(chat("a"), now);
        for _ in 0..5 {
            channel.append(token("open", None), now);
        }
        let cursor = Some(Cursor { epoch: 7, sequence: 1 });
        let only_chat = Filter { types: TypeSet::parse("Chat").expect("a set"), ..everything() };
        assert_eq!(channel.join(cursor, &only_chat).gap, None);
        assert_eq!(channel.join(cursor, &everything()).gap, Some(GapReason::CursorExpired));
    }
}
