//! Random appends, readers of random speed, drops, resumes, restarts, several logs at once.
//!
//! Each seed is one story. Every client sees every message of its own log exactly once and in
//! order, unless it was told of a gap; no log grows past its bounds. A seed that has failed once
//! stands in [`REGRESSIONS`].

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;

const STORIES: u64 = 400;
const STEPS: usize = 150;
/// Seeds of stories that have failed once.
const REGRESSIONS: &[u64] = &[];

const LOGS: usize = 3;
const SOURCES: usize = 3;
/// The source whose backend counts in seconds.
const SECONDS: usize = 2;

/// One thing that a backend has told: its number and its time.
#[derive(Clone, Copy)]
struct Said {
    number: usize,
    at: UnixMillis,
}

/// One subscription, with what its backends keep.
struct World {
    log: usize,
    channel: Channel,
    limits: RingLimits,
    /// By source, everything that was ever said.
    said: [Vec<Said>; SOURCES],
    /// By source: up, and since when the past is wanted.
    is_up: [bool; SOURCES],
    wanted: [Option<UnixMillis>; SOURCES],
    has_history: [bool; SOURCES],
    clients: Vec<Client>,
    /// When the log began: nothing of before is told to new clients.
    born: UnixMillis,
}

struct Client {
    reader: Option<Reader>,
    cursor: Option<Cursor>,
    filter: Filter,
    /// By source, the last number seen; `None`: the next may be any, but of after `since`.
    last: [Option<usize>; SOURCES],
    /// By source, a loss was told that has not shown yet.
    is_excused: [bool; SOURCES],
    since: UnixMillis,
}

struct Story {
    random: StdRng,
    now: Instant,
    wall: UnixMillis,
    epoch: u64,
}

fn text(log: usize, source: usize, number: usize) -> String {
    format!("{log}/{source}/{number}")
}

fn message(log: usize, source: usize, said: Said) -> Encoded {
    let mut event = Event::new("x", Payload::Chat(Box::<Chat<'_>>::default()));
    event.id = EventId::given(text(log, source, said.number));
    event.created_at = Some(said.at);
    encode(&event)
}

fn receipt(at: UnixMillis) -> Encoded {
    let receipt = Receipt { is_read: true, message_id: "m".into(), at: None };
    let mut event = Event::new("x", Payload::Receipt(receipt));
    event.created_at = Some(at);
    encode(&event)
}

impl Story {
    fn new(seed: u64) -> Self {
        let random = StdRng::seed_from_u64(seed);
        Self { random, now: Instant::now(), wall: WALL, epoch: 0 }
    }

    /// A moment passes; sometimes a long one.
    fn pass(&mut self, at_least: u64) {
        let millis = match self.random.random_range(0..30) {
            0 => 3_000,
            1 => 20_000,
            n => at_least.max(n / 15),
        };
        self.now += Duration::from_millis(millis);
        self.wall.0 += i64::try_from(millis).expect("small");
    }

    fn channel(&mut self, log: usize, limits: RingLimits) -> Channel {
        self.epoch += 1;
        let owner = Owner::new([format!("{log}").as_str()]);
        let birth = Birth { epoch: self.epoch, owner, sources: SOURCES, at: self.wall };
        let channel = Channel::new(birth, limits);
        self.pass(1);
        channel
    }

    fn world(&mut self, log: usize) -> World {
        let limits = RingLimits {
            events_max: self.random.random_range(4..60),
            bytes_max: self.random.random_range(2_000..30_000),
            age_max: Duration::from_secs(60),
        };
        World {
            born: self.wall,
            log,
            channel: self.channel(log, limits),
            limits,
            said: Default::default(),
            is_up: [false; SOURCES],
            wanted: [None; SOURCES],
            has_history: std::array::from_fn(|_| self.random.random_bool(0.7)),
            clients: Vec::new(),
        }
    }

    fn step(&mut self, world: &mut World) {
        self.pass(0);
        let source = self.random.random_range(0..SOURCES);
        match self.random.random_range(0..100) {
            0..35 => world.say(source, self),
            35..42 if world.is_up[source] => world.channel.append(source, "", typing(), self.now),
            42..46 if world.is_up[source] => {
                world.channel.append(source, "", receipt(self.wall), self.now);
            }
            46..50 => {
                let block = b"event: source_up\n\n".to_vec();
                world.channel.append_control(block, vec![], ControlKind::News, self.now);
            }
            50..60 if !world.is_up[source] => world.come_up(source, self),
            60..62 => world.restart(self),
            62..70 if world.clients.len() < 6 => world.open(None, self),
            70..78 => world.drop_one(self),
            78..86 => world.return_one(self),
            _ => world.read_one(self),
        }
        world.check_bounds();
    }
}

impl World {
    fn say(&mut self, source: usize, story: &mut Story) {
        let mut at = story.wall;
        if source == SECONDS {
            at.0 -= at.0 % 1000;
        }
        let said = Said { number: self.said[source].len(), at };
        self.said[source].push(said);
        if self.is_up[source] {
            self.channel.append(source, "", message(self.log, source, said), story.now);
        }
    }

    /// The source is up: it tells what is wanted of the past, if it can.
    fn come_up(&mut self, source: usize, story: &mut Story) {
        story.pass(1);
        self.is_up[source] = true;
        let Some(since) = self.wanted[source].take() else {
            self.channel.on_live(source, story.wall);
            return;
        };
        let is_answered = story.random.random_bool(0.9);
        let past =
            self.said[source].iter().filter(|said| is_answered && said.at.0 >= since.0 - 500);
        let mut events: Vec<_> = past.map(|said| message(self.log, source, *said)).collect();
        let surplus = self.channel.overflow(&events);
        let dropped = events.drain(..surplus).map(|event| event.label.at).max();
        let is_whole = is_answered && dropped.is_none_or(|at| at < since);
        if !is_whole {
            let block = format!("event: gap\ndata: {source}\n\n").into_bytes();
            self.channel.append_control(block, vec![], ControlKind::Restarted, story.now);
        }
        let whole_since = if is_whole { since.max(dropped.unwrap_or(since)) } else { story.wall };
        let now = (story.now, story.wall);
        self.channel.restore(source, events, whole_since, false, now);
        story.pass(1);
    }

    /// The process ends, and another begins; backends go on.
    fn restart(&mut self, story: &mut Story) {
        self.born = story.wall;
        self.channel = story.channel(self.log, self.limits);
        self.is_up = [false; SOURCES];
        self.wanted = [None; SOURCES];
        self.clients.iter_mut().for_each(|client| client.reader = None);
    }

    fn open(&mut self, client: Option<Client>, story: &mut Story) {
        let mut client = client.unwrap_or_else(|| Client {
            reader: None,
            cursor: None,
            filter: match story.random.random_bool(0.5) {
                true => everything(),
                false => Filter { types: TypeSet::parse("Chat").expect("a set"), ..everything() },
            },
            last: [None; SOURCES],
            is_excused: [true; SOURCES],
            since: self.born,
        });
        if client.cursor.is_none() {
            client.since = self.born;
            client.last = [None; SOURCES];
        }
        let cursor = client.cursor.as_ref();
        if let Some(cursor) =
            cursor.filter(|cursor| self.channel.is_of_another_log(cursor, story.wall))
        {
            for source in 0..SOURCES {
                let mark = cursor.mark(source).expect("a mark");
                if !self.is_up[source] && self.has_history[source] {
                    let since = self.wanted[source].map_or(mark.at, |since| since.min(mark.at));
                    self.wanted[source] = Some(since);
                    self.channel.on_wanted(source, mark, None);
                }
            }
        }
        let join = self.channel.join(cursor, &client.filter, story.wall);
        if join.gap.is_some() {
            client.is_excused = [true; SOURCES];
        }
        join.restarted.iter().for_each(|source| client.is_excused[*source] = true);
        client.reader = Some(join.reader);
        story.pass(1);
        self.clients.push(client);
    }

    fn pick(&self, is_open: bool, story: &mut Story) -> Option<usize> {
        let fits = |index: &usize| self.clients[*index].reader.is_some() == is_open;
        let all: Vec<usize> = (0..self.clients.len()).filter(fits).collect();
        (!all.is_empty()).then(|| all[story.random.random_range(0..all.len())])
    }

    fn drop_one(&mut self, story: &mut Story) {
        if let Some(index) = self.pick(true, story) {
            self.clients[index].reader = None;
        }
    }

    fn return_one(&mut self, story: &mut Story) {
        if let Some(index) = self.pick(false, story) {
            let client = self.clients.swap_remove(index);
            self.open(Some(client), story);
        }
    }

    fn read_one(&mut self, story: &mut Story) {
        if let Some(index) = self.pick(true, story) {
            let client = &mut self.clients[index];
            let how_much = story.random.random_range(0..3);
            for _ in 0..how_much {
                client.read(self.log, &self.channel, &self.said, story.now);
            }
        }
    }

    fn check_bounds(&self) {
        assert!(self.channel.ring.len() <= self.limits.events_max);
        let is_single = self.channel.ring.len() == 1;
        assert!(self.channel.bytes() <= self.limits.bytes_max || is_single);
        let bytes: usize = self.channel.ring.iter().map(Entry::bytes).sum();
        assert_eq!(bytes, self.channel.bytes());
    }

    /// In the end everybody has come back and has read everything.
    fn settle(&mut self, story: &mut Story) {
        for _ in 0..self.clients.len() * 2 {
            self.return_one(story);
        }
        for source in 0..SOURCES {
            if !self.is_up[source] {
                self.come_up(source, story);
            }
            self.say(source, story);
        }
        for index in 0..self.clients.len() {
            let client = &mut self.clients[index];
            if client.read(self.log, &self.channel, &self.said, story.now) {
                let missing = (0..SOURCES).find(|source| {
                    client.last[*source].is_some_and(|last| last + 1 < self.said[*source].len())
                });
                assert_eq!(missing, None, "the last message of a source has not come");
            }
        }
    }
}

impl Client {
    /// Reads what there is, and looks at each event. Whether it is still there.
    fn read(
        &mut self,
        log: usize,
        channel: &Channel,
        said: &[Vec<Said>; SOURCES],
        now: Instant,
    ) -> bool {
        let Some(reader) = &mut self.reader else {
            return false;
        };
        loop {
            let mut batch = Batch::default();
            let standing = channel.read(reader, &self.filter, now, &mut batch);
            assert!(batch.bytes < READ_BYTES + 2_000);
            for block in &batch.blocks {
                let block = std::str::from_utf8(block).expect("UTF-8");
                take(
                    block,
                    log,
                    said,
                    &mut self.cursor,
                    &mut self.last,
                    &mut self.is_excused,
                    self.since,
                );
            }
            match standing {
                Standing::Behind => {}
                Standing::Current => return true,
                Standing::Overtaken => {
                    self.reader = None;
                    // A client without a cursor cannot know what it missed.
                    if self.cursor.is_none() {
                        self.is_excused = [true; SOURCES];
                    }
                    return false;
                }
            }
        }
    }
}

fn take(
    block: &str,
    log: usize,
    said: &[Vec<Said>; SOURCES],
    cursor: &mut Option<Cursor>,
    last: &mut [Option<usize>; SOURCES],
    is_excused: &mut [bool; SOURCES],
    since: UnixMillis,
) {
    if let Some(source) = block.strip_prefix("event: gap\ndata: ") {
        is_excused[source.trim().parse::<usize>().expect("a source")] = true;
        return;
    }
    let Some(id) = block.lines().find_map(|line| line.strip_prefix("id: ")) else {
        return;
    };
    *cursor = Some(Cursor::parse(id).expect("a cursor"));
    let Some((_, rest)) = block.split_once("event: Chat\n") else {
        return;
    };
    let id = rest.split("\"id\":\"").nth(1).and_then(|rest| rest.split('"').next());
    let mut parts =
        id.expect("an id").split('/').map(|part| part.parse::<usize>().expect("a number"));
    let mut part = || parts.next().expect("three parts");
    let (of, source, number) = (part(), part(), part());
    assert_eq!(of, log, "another log's event");
    match last[source] {
        Some(last) => {
            assert!(number > last, "{id:?} again, or out of order, after {last}");
            assert!(number == last + 1 || is_excused[source], "{id:?} right after {last}");
        }
        None => {
            let at = said[source][number].at.0 + if source == SECONDS { 999 } else { 0 };
            assert!(at >= since.0, "{id:?} is of before its time");
            let is_missed = said[source][..number].iter().any(|said| said.at > since);
            assert!(!is_missed || is_excused[source], "{id:?} is not the first of its time");
        }
    }
    last[source] = Some(number);
    is_excused[source] = false;
}

fn tell(seed: u64) {
    let mut story = Story::new(seed);
    let mut worlds: Vec<World> = (0..LOGS).map(|log| story.world(log)).collect();
    for _ in 0..STEPS {
        let world = story.random.random_range(0..LOGS);
        story.step(&mut worlds[world]);
    }
    worlds.iter_mut().for_each(|world| world.settle(&mut story));
}

#[test]
fn every_client_sees_its_own_events_once_and_in_order() {
    for seed in REGRESSIONS.iter().copied().chain(0..STORIES) {
        let outcome = std::panic::catch_unwind(|| tell(seed));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}
