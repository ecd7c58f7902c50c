//! The ring, with times and appends by hand.

#![expect(clippy::disallowed_methods, reason = "tests need some moment to count from")]

mod random;

use super::*;
use crate::proto::event::{
    Chat, Envelope, Event, EventId, Payload, Receipt, Subscription, Token, Typing,
};

fn encode(event: &Event<'_>) -> Encoded {
    let subscription = Subscription::new("t", "w", "p");
    let mut minted = || "m".to_owned();
    Encoded::new(
        event,
        &mut Envelope {
            subscription: &subscription,
            source: "s",
            backend: "b",
            arrived: event.created_at.unwrap_or(UnixMillis(0)),
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

/// When the logs of these tests begin.
const WALL: UnixMillis = UnixMillis(1_768_000_000_000);

fn owner() -> Owner {
    Owner::new(["jane"])
}

fn channel(events_max: usize, bytes_max: usize) -> Channel {
    let limits = RingLimits { events_max, bytes_max, age_max: Duration::from_secs(600) };
    let mut channel =
        Channel::new(Birth { epoch: 7, owner: owner(), sources: 1, at: WALL }, limits);
    channel.on_live(0, WALL);
    channel
}

/// After this event of the log with this epoch.
fn after(epoch: u64, sequence: u64) -> Option<Cursor> {
    let (marks, replay_ids) = (vec![Mark::since(UnixMillis(0))], Vec::new());
    Some(Cursor { epoch, owner: Some(owner()), sequence, marks, replay_ids })
}

fn join_at(channel: &Channel, cursor: Option<Cursor>) -> Join {
    channel.join(cursor.as_ref(), &everything(), WALL)
}

fn everything() -> Filter {
    Filter { types: TypeSet::ALL, scope: None, vocabulary: Vocabulary::Full }
}

fn read_all(channel: &Channel, join: Join) -> (Vec<MessageType>, Standing, u64) {
    let mut reader = join.reader;
    let mut batch = Batch::default();
    let now = Instant::now();
    let standing = channel.read(&mut reader, &everything(), now, &mut batch);
    (batch.messages, standing, reader.position)
}

#[test]
fn a_log_is_half_unread_by_count_or_by_bytes() {
    let now = Instant::now();
    let mut by_count = channel(4, 1 << 20);
    assert!(!by_count.is_half_unread(1), "an empty log");
    for id in ["1", "2"] {
        by_count.append(0, "", chat(id), now);
    }
    assert!(!by_count.is_half_unread(1));
    by_count.append(0, "", chat("3"), now);
    assert!(by_count.is_half_unread(1));
    assert!(!by_count.is_half_unread(2), "some of it was read");
    let mut by_bytes = channel(512, by_count.bytes() / 3 * 4);
    for id in ["1", "2", "3"] {
        by_bytes.append(0, "", chat(id), now);
    }
    assert!(by_bytes.is_half_unread(1));
    assert!(!by_bytes.is_half_unread(4));
}

#[test]
fn a_cursor_gives_what_came_after_it() {
    let now = Instant::now();
    let mut channel = channel(10, 1 << 20);
    for id in ["a", "b", "c"] {
        channel.append(0, "", chat(id), now);
    }
    let join = join_at(&channel, after(7, 1));
    assert!(join.is_resumed && join.gap.is_none());
    assert_eq!(read_all(&channel, join), (vec![MessageType::Chat; 2], Standing::Current, 4));
    let fresh = join_at(&channel, None);
    assert_eq!(read_all(&channel, fresh), (vec![], Standing::Current, 4));
}

#[test]
fn foreign_future_and_lost_cursors_are_told_as_a_gap() {
    let now = Instant::now();
    let mut channel = channel(2, 1 << 20);
    for id in ["a", "b", "c", "d"] {
        channel.append(0, "", chat(id), now);
    }
    let of_john = after(8, 1).map(|cursor| Cursor { owner: Some(Owner::new(["john"])), ..cursor });
    // Its mark is of long ago.
    let too_old = after(8, 1);
    for cursor in [of_john, too_old, after(7, 5), after(7, 99)] {
        let join = join_at(&channel, cursor);
        assert_eq!((join.is_resumed, join.gap), (false, Some(GapReason::CursorExpired)));
        assert_eq!(join.reader.position, 5);
    }
    let lost = join_at(&channel, after(7, 1));
    assert_eq!((lost.is_resumed, lost.gap), (true, Some(GapReason::CursorExpired)));
    assert_eq!(read_all(&channel, lost).0.len(), 2, "what is left is told");
    let kept = join_at(&channel, after(7, 2));
    assert_eq!((kept.is_resumed, kept.gap), (true, None));
}

#[test]
fn the_ring_is_bounded_by_count_bytes_and_age() {
    let now = Instant::now();
    let mut one = channel(1, 1 << 20);
    one.append(0, "", chat("a"), now);
    let size = one.bytes();
    let mut by_count = channel(3, 1 << 20);
    let mut by_bytes = channel(1000, size * 3);
    for _ in 0..10 {
        by_count.append(0, "", chat("a"), now);
        by_bytes.append(0, "", chat("a"), now);
    }
    assert_eq!(by_count.ring.len(), 3);
    assert_eq!(by_bytes.ring.len(), 3);
    assert!(by_bytes.bytes() <= size * 3);
    by_count.expire(now + Duration::from_secs(601));
    assert_eq!((by_count.ring.len(), by_count.bytes()), (0, 0));
    assert_eq!(join_at(&by_count, None).reader.position, 11, "sequences go on");
}

#[test]
fn an_overtaken_reader_is_told_but_not_for_ephemeral_events() {
    let now = Instant::now();
    let mut channel = channel(2, 1 << 20);
    let join = join_at(&channel, None);
    for _ in 0..5 {
        channel.append(0, "", typing(), now);
    }
    assert_eq!(read_all(&channel, join.clone()).1, Standing::Current);
    for _ in 0..3 {
        channel.append(0, "", chat("a"), now);
    }
    assert_eq!(read_all(&channel, join).1, Standing::Overtaken);
}

#[test]
fn a_returning_client_is_spared_old_typing_control_and_tokens() {
    let now = Instant::now();
    let mut channel = channel(20, 1 << 20);
    channel.append(0, "", chat("a"), now);
    channel.append(0, "", typing(), now);
    channel.append_control(b"event: source_up\n\n".to_vec(), vec![], ControlKind::News, now);
    channel.append(0, "", token("done", None), now);
    channel.append(0, "", token("open", None), now);
    channel.append(0, "", token("bad", None), now);
    channel.append(0, "", token("bad", Some(false)), now);
    channel.append(0, "", token("bad", None), now);
    channel.append(0, "", chat("done"), now);
    let join = join_at(&channel, after(7, 1));
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
    let join = join_at(&channel, None);
    channel.append(0, "", chat("a"), now);
    channel.append(0, "", typing(), now);
    let mut scoped = Event::new("x", Payload::Data("1".into()));
    scoped.scope = Some("one".into());
    channel.append(0, "", encode(&scoped), now);
    let count = |filter: &Filter| {
        let mut batch = Batch::default();
        channel.read(&mut join.reader.clone(), filter, now, &mut batch);
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
    let join = join_at(&channel, None);
    let count = READ_BYTES / 100;
    for _ in 0..count {
        channel.append(0, "", chat("a"), now);
    }
    let (mut reader, mut seen, mut reads) = (join.reader, 0, 0);
    loop {
        let mut batch = Batch::default();
        let standing = channel.read(&mut reader, &everything(), now, &mut batch);
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
    let join = join_at(&channel, None);
    for _ in 0..200 {
        channel.append(0, "", typing(), now);
    }
    let read_at = |at: Instant| {
        let mut batch = Batch::default();
        channel.read(&mut join.reader.clone(), &everything(), at, &mut batch);
        (batch.messages.len(), batch.skipped)
    };
    assert_eq!(read_at(now), (200, 0), "a burst");
    assert_eq!(read_at(now + STALE_AFTER * 2), (0, 200));
}

#[test]
fn a_gap_is_told_to_who_was_away_while_it_came() {
    let now = Instant::now();
    let mut channel = channel(3, 1 << 20);
    channel.append(0, "", chat("a"), now);
    channel.append_control(b"event: gap\n\n".to_vec(), vec![], ControlKind::Gap, now);
    channel.append_control(b"event: source_up\n\n".to_vec(), vec![], ControlKind::News, now);
    let cursor = after(7, 1);
    let join = join_at(&channel, cursor.clone());
    let (mut reader, mut batch) = (join.reader, Batch::default());
    channel.read(&mut reader, &everything(), now, &mut batch);
    assert_eq!(batch.blocks, ["event: gap\n\n"]);
    for _ in 0..3 {
        channel.append(0, "", typing(), now);
    }
    assert!(join_at(&channel, cursor).gap.is_some(), "the ring has lost it");
}

#[test]
fn what_a_filter_hides_is_no_loss() {
    let now = Instant::now();
    let mut channel = channel(2, 1 << 20);
    channel.append(0, "", chat("a"), now);
    for _ in 0..5 {
        channel.append(0, "", token("open", None), now);
    }
    let cursor = after(7, 1);
    let only_chat = Filter { types: TypeSet::parse("Chat").expect("a set"), ..everything() };
    assert_eq!(channel.join(cursor.as_ref(), &only_chat, WALL).gap, None);
    assert_eq!(join_at(&channel, cursor).gap, Some(GapReason::CursorExpired));
}
