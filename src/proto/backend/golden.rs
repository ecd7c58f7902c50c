//! Golden fixtures: what a dialect makes of recorded bytes, for every way to cut them.
//!
//! `tests/fixtures/<backend>/NAME.in` is what the backend sends, `NAME.out` the unified stream,
//! `NAME.frames` the verdict on each frame and the sum, `ARGS` the options (`*` = for all).
//! `BLESS=1` rewrites; a person reads the diff.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::dialect::SessionValues;
use super::{
    Dialect, Discard, Input, Keep, Mapper, Policy, SessionStart, Transport, Verdict, dialect,
};
use crate::proto::cursor::Cursor;
use crate::proto::event::{Encoded, Envelope, Subscription, Vocabulary};
use crate::proto::json::Object;
use crate::proto::sse::{Decoder, Item, Limits};
use crate::proto::time::UnixMillis;

/// Larger inputs are not cut byte by byte.
const BYTEWISE_MAX: usize = 64 * 1024;
/// Random ways to cut an input.
const SPLITS: u64 = 16;

/// The options of `chatmux normalize` that a fixture may have.
#[derive(Clone, Default)]
struct Args(BTreeMap<String, String>);

impl Args {
    fn get(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    fn keep(&self, name: &str, default: Keep) -> Keep {
        match self.get(name) {
            Some("raw") => Keep::Raw,
            Some("drop") => Keep::Drop,
            Some(other) => panic!("--{name} {other}"),
            None => default,
        }
    }
}

struct Fixture {
    name: String,
    input: Vec<u8>,
    args: Args,
}

/// What came of an input.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    out: String,
    frames: String,
}

/// Compares every fixture of a backend, whole and in pieces.
pub(super) fn check_all(backend: &str) {
    let dialect = dialect(backend).expect("a dialect");
    let fixtures = fixtures(backend);
    assert!(!fixtures.is_empty(), "no fixtures of {backend}");
    let is_blessing = std::env::var_os("BLESS").is_some();
    for fixture in &fixtures {
        let name = &fixture.name;
        let whole = run(dialect, &fixture.args, &[&fixture.input]);
        let path = |extension: &str| folder(backend).join(format!("{name}.{extension}"));
        if is_blessing {
            std::fs::write(path("out"), &whole.out).expect("writable");
            std::fs::write(path("frames"), &whole.frames).expect("writable");
        }
        let want = |extension| std::fs::read_to_string(path(extension)).unwrap_or_default();
        assert_eq!(whole.frames, want("frames"), "{name}.frames");
        assert_eq!(whole.out, want("out"), "{name}.out");
        if matches!(dialect.transport, Transport::Poll { .. }) {
            continue;
        }
        if fixture.input.len() <= BYTEWISE_MAX {
            let bytes: Vec<&[u8]> = fixture.input.chunks(1).collect();
            assert_eq!(
                run(dialect, &fixture.args, &bytes),
                whole,
                "{name}, byte by byte"
            );
        }
        for seed in 1..=SPLITS {
            let pieces = split(&fixture.input, &mut Random(seed));
            assert_eq!(
                run(dialect, &fixture.args, &pieces),
                whole,
                "{name}, split {seed}"
            );
        }
    }
}

/// Feeds damaged copies of the fixtures: nothing panics, every frame gets one verdict.
pub(super) fn check_mutations(backend: &str, rounds: u64) {
    let dialect = dialect(backend).expect("a dialect");
    let mut random = Random(0x5EED);
    for fixture in fixtures(backend)
        .iter()
        .filter(|fixture| fixture.input.len() <= BYTEWISE_MAX)
    {
        for _ in 0..rounds {
            let damaged = mutate(&fixture.input, &mut random);
            run(dialect, &fixture.args, &[&damaged]);
        }
    }
}

/// Runs an input through decoder, session and encoder. Panics where a frame has no verdict, or
/// where what leaves is no event.
fn run(dialect: &'static Dialect, args: &Args, chunks: &[&[u8]]) -> Outcome {
    let mut runner = Runner::new(dialect, args);
    match dialect.transport {
        Transport::Stream => {
            let mut decoder = Decoder::new(Limits::default());
            for chunk in chunks {
                decoder.push(Bytes::copy_from_slice(chunk));
                while let Some(item) = decoder.next_item() {
                    match item {
                        Item::Frame(frame) => runner.on_frame(frame.event, frame.data),
                        Item::Oversize { event } => {
                            runner.discard(event, Discard::Oversize, "over the limit")
                        }
                    }
                }
            }
        }
        Transport::Poll { frames } => {
            let answer = chunks.concat();
            let answer = String::from_utf8_lossy(&answer);
            for (event, data) in frames(&answer) {
                runner.on_frame(&event, data);
            }
        }
    }
    runner.finish()
}

struct Runner<'a> {
    mapper: Mapper,
    args: &'a Args,
    backend: &'static str,
    subscription: std::sync::Arc<Subscription>,
    out: Vec<u8>,
    frames: String,
    received: u64,
    mapped: u64,
    left: u64,
    discarded: BTreeMap<&'static str, u64>,
}

impl<'a> Runner<'a> {
    fn new(dialect: &'static Dialect, args: &'a Args) -> Self {
        let text = |name, default| args.get(name).unwrap_or(default);
        let subscription = Subscription::new(
            text("tenant", "acme"),
            text("workflow", "support"),
            text("participant", "jane"),
        );
        let mut values = SessionValues::new();
        for name in ["conversation", "chat"] {
            if let Some(value) = args.get(name) {
                values.insert(name, value.to_owned());
            }
        }
        let start = SessionStart {
            subscription: subscription.clone(),
            values: &values,
            seed: 7,
        };
        let default = Policy::default();
        let policy = Policy {
            unmapped: args.keep("unmapped", default.unmapped),
            malformed: args.keep("malformed", default.malformed),
        };
        Self {
            mapper: Mapper::new((dialect.session)(&start), policy),
            args,
            backend: dialect.name,
            subscription,
            out: Vec::new(),
            frames: String::new(),
            received: 0,
            mapped: 0,
            left: 0,
            discarded: BTreeMap::new(),
        }
    }

    fn on_frame(&mut self, event: &str, data: &str) {
        let minted = format!("m{}", self.left + 1);
        let mut types = Vec::new();
        let (mut left, mut out) = (self.left, std::mem::take(&mut self.out));
        let scope = self.args.get("scope").filter(|scope| !scope.is_empty());
        let verdict = self.mapper.on_frame(Input { event, data }, &mut |event| {
            types.push(event.message_type().as_str());
            let mut encoded = Encoded::new(
                &event,
                &mut Envelope {
                    subscription: &self.subscription,
                    source: self.backend,
                    backend: self.backend,
                    arrived: UnixMillis(0),
                    minted: &mut || minted.clone(),
                },
            );
            if self.backend == "xians" {
                encoded = encoded.scoped();
            }
            let json = Object::parse(encoded.json()).expect("what leaves is a JSON object");
            assert_eq!(
                json.text("messageType").as_deref(),
                Some(event.message_type().as_str())
            );
            if let (Some(scope), Some(own)) = (scope, encoded.scope.as_deref())
                && scope != own
            {
                return;
            }
            left += 1;
            let cursor = Cursor {
                epoch: 0,
                sequence: left,
            }
            .to_string();
            out.extend_from_slice(&encoded.block(Vocabulary::Full, Some(&cursor)));
        });
        (self.left, self.out) = (left, out);
        match verdict {
            Verdict::Mapped { .. } => {
                assert!(
                    !types.is_empty(),
                    "{event} {data} is mapped and gave nothing"
                );
                self.received += 1;
                self.mapped += 1;
                self.line(event, &types.join(", "));
            }
            Verdict::Discarded(discard, why) => {
                assert!(
                    types.is_empty(),
                    "{event} {data} is discarded and gave {types:?}"
                );
                self.discard(event, discard, why);
            }
        }
    }

    fn discard(&mut self, event: &str, discard: Discard, why: &str) {
        self.received += 1;
        *self.discarded.entry(discard.as_str()).or_default() += 1;
        self.line(event, &format!("discarded: {} ({why})", discard.as_str()));
    }

    fn line(&mut self, event: &str, verdict: &str) {
        // A name may hold anything but line ends.
        writeln!(self.frames, "{} {event} -> {verdict}", self.received)
            .expect("a string takes all");
    }

    fn finish(mut self) -> Outcome {
        let discarded: u64 = self.discarded.values().sum();
        assert_eq!(self.received, self.mapped + discarded, "conservation");
        let (received, mapped) = (self.received, self.mapped);
        write!(
            self.frames,
            "received={received} mapped={mapped} discarded={discarded}"
        )
        .expect("a string takes all");
        for discard in Discard::ALL {
            if let Some(count) = self.discarded.get(discard.as_str()) {
                write!(self.frames, " {}={count}", discard.as_str()).expect("a string takes all");
            }
        }
        self.frames.push('\n');
        Outcome {
            out: String::from_utf8(self.out).expect("what leaves is UTF-8"),
            frames: self.frames,
        }
    }
}

fn folder(backend: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures")
        .join(backend)
}

fn fixtures(backend: &str) -> Vec<Fixture> {
    let args = std::fs::read_to_string(folder(backend).join("ARGS")).unwrap_or_default();
    let mut fixtures: Vec<_> = std::fs::read_dir(folder(backend))
        .expect("a folder of fixtures")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "in"))
        .map(|path| {
            let name = path
                .file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            let input = std::fs::read(&path).expect("readable");
            Fixture {
                args: read_args(&args, &name),
                name,
                input,
            }
        })
        .collect();
    fixtures.sort_by(|a, b| a.name.cmp(&b.name));
    fixtures
}

/// Lines of `NAME --option value ...`; those of `*` hold for all, a fixture's own come on top.
fn read_args(text: &str, name: &str) -> Args {
    let mut args = Args::default();
    for wanted in ["*", name] {
        for line in text.lines() {
            let mut words = line.split_whitespace();
            if words.next() != Some(wanted) {
                continue;
            }
            while let Some(option) = words.next() {
                let option = option.strip_prefix("--").expect("an option");
                args.0.insert(
                    option.to_owned(),
                    words.next().expect("its value").to_owned(),
                );
            }
        }
    }
    args
}

fn split<'a>(input: &'a [u8], random: &mut Random) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut rest = input;
    while !rest.is_empty() {
        let longest = if random.below(4) == 0 {
            rest.len()
        } else {
            rest.len().min(24)
        };
        let (piece, tail) = rest.split_at(1 + random.below(longest));
        pieces.push(piece);
        rest = tail;
    }
    pieces
}

/// Bytes that mean something to one of the readers.
const TELLING: &[&[u8]] = &[
    b"\"",
    b"'",
    b"\\",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"null",
    b"\r\n",
    b"\n",
    b"\n\n",
    b"<",
    b">",
    b"=",
    b"&",
    b"\0",
    b"\xFF",
    b"\xED\xA0\x80",
    b"\\ud800",
    b"event: ",
    b"data: ",
    b"1e999",
    b"-1",
    b"99999999999999999999",
];

/// A damaged copy.
pub(super) fn mutate(input: &[u8], random: &mut Random) -> Vec<u8> {
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(bytes.len() + 1);
        let len = random.below(8).min(bytes.len() - at);
        match random.below(5) {
            0 => _ = bytes.splice(at..at + len, []),
            1 => {
                let telling = TELLING[random.below(TELLING.len())];
                _ = bytes.splice(at..at, telling.iter().copied());
            }
            2 => {
                let copy = bytes[at..at + len].to_vec();
                let to = random.below(bytes.len() + 1);
                _ = bytes.splice(to..to, copy);
            }
            3 => bytes.truncate(at),
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = (random.next() & 0xFF) as u8;
                }
            }
        }
    }
    bytes.extend_from_slice(b"\n\n");
    bytes
}

/// Repeatable randomness (SplitMix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    /// The next number.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number below `bound`, or 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}
