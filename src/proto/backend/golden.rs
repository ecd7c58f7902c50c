//! Golden pairs: what a backend sent, and the unified stream it must give.
//!
//! `tests/fixtures/<backend>/NAME.in` holds the upstream's bytes (an SSE body; for poll
//! dialects JSON answers one after another), `NAME.out` the unified SSE, `NAME.frames` the
//! verdict on each frame. Each input is fed whole, byte by byte and at random splits, always
//! with the same outcome. `BLESS=1` rewrites the expected files; a person reads the diff.
//! `ARGS` holds per fixture (`*`: all) what `chatmux normalize` would be told.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;

use super::dialect::SessionValues;
use super::{
    Dialect, Discard, Input, Keep, Mapper, Policy, SessionStart, Transport, Verdict, dialect,
};
use crate::proto::cursor::Cursor;
use crate::proto::event::{Encoded, Envelope, Event, Subscription, Vocabulary};
use crate::proto::json::Object;
use crate::proto::sse::{Decoder, Item, Limits};
use crate::proto::time::UnixMillis;

/// Longer inputs are not fed byte by byte: that would only take long.
const BYTEWISE_BYTES_MAX: usize = 64 * 1024;

/// Compares every fixture of a backend.
#[track_caller]
pub(super) fn check_all(backend: &str) {
    let is_blessing = std::env::var_os("BLESS").is_some();
    let inputs = inputs(backend);
    assert!(!inputs.is_empty(), "{backend} has no fixtures");
    let mut wrong = Vec::new();
    for path in inputs {
        let fixture = Fixture::read(backend, &path);
        let whole = fixture.run([fixture.input.clone()]);
        for (how, chunks) in fixture.splits() {
            let split = fixture.run(chunks);
            assert!(split == whole, "{} comes out differently {how}", path.display());
        }
        for (extension, got) in [("out", &whole.out), ("frames", &whole.frames)] {
            let path = path.with_extension(extension);
            if is_blessing {
                std::fs::write(&path, got).expect("written");
            } else if std::fs::read_to_string(&path).ok().as_ref() != Some(got) {
                wrong.push(format!("{} should be:\n{got}", path.display()));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Feeds broken variants of every fixture: nothing panics, every frame has one verdict, and
/// what leaves is well formed.
#[track_caller]
pub(super) fn check_mutations(backend: &str) {
    const ROUNDS: u64 = 60;
    for (index, path) in inputs(backend).into_iter().enumerate() {
        let mut fixture = Fixture::read(backend, &path);
        let pristine = fixture.input.clone();
        if pristine.len() > BYTEWISE_BYTES_MAX {
            continue;
        }
        for round in 0..ROUNDS {
            let mut random = Random(1 + round + 1000 * index as u64);
            fixture.input = mutated(&pristine, &mut random);
            fixture.policy = match round % 3 {
                0 => Policy::default(),
                1 => Policy { unmapped: Keep::Raw, malformed: Keep::Raw },
                _ => Policy { unmapped: Keep::Drop, malformed: Keep::Drop },
            };
            let ran = fixture.run([fixture.input.clone()]);
            for block in ran.out.split_terminator("\n\n") {
                let lines: Vec<&str> = block.split('\n').collect();
                let [event, id, data] = lines.as_slice() else {
                    panic!("not three lines: {block}")
                };
                assert!(event.starts_with("event: ") && id.starts_with("id: 1."), "{block}");
                let json = data.strip_prefix("data: ").expect("data");
                // Passed-through JSON keeps its escapes, unpaired surrogates too.
                let object = Object::parse(json).unwrap_or_else(|| panic!("no JSON: {json}"));
                assert_eq!(object.text("messageType").as_deref(), event.strip_prefix("event: "));
            }
        }
    }
}

/// Maps frames one after another, as participant `jane` of tenant `acme`, workflow `support`.
///
/// Gives a JSON object per event, without what is the same in every row (fields of the
/// subscription, direction `Outgoing`, time of arrival, the frame's name as source event), and
/// `!reason` for each discarded frame.
pub(super) fn play(
    backend: &str,
    values: &[(&'static str, &str)],
    frames: &[(&str, &str)],
) -> Vec<serde_json::Value> {
    let subscription = Subscription::new("acme", "support", "jane");
    let values: SessionValues =
        values.iter().map(|(key, value)| (*key, (*value).to_owned())).collect();
    let start = SessionStart { subscription: subscription.clone(), values: &values, seed: 7 };
    let mut mapper =
        Mapper::new((dialect(backend).expect("a dialect").session)(&start), Policy::default());
    let mut played = Vec::new();
    for (event, data) in frames {
        let verdict = mapper.on_frame(Input { event, data }, &mut |told: Event<'_>| {
            let envelope = &mut Envelope {
                subscription: &subscription,
                source: "s",
                backend: "b",
                arrived: UnixMillis(0),
                minted: &mut || "minted".to_owned(),
            };
            let mut json: serde_json::Value =
                serde_json::from_str(Encoded::new(&told, envelope).json()).expect("JSON");
            let fields = json.as_object_mut().expect("an object");
            let usual = serde_json::json!({
                "workflowId": "acme:support",
                "workflowType": "support",
                "participantId": "jane",
                "direction": "Outgoing",
                "createdAt": "1970-01-01T00:00:00.000Z",
                "source": {"name": "s", "backend": "b", "event": event},
            });
            fields.retain(|key, value| usual.get(key) != Some(value));
            played.push(json);
        });
        if let Verdict::Discarded(reason, _) = verdict {
            played.push(format!("!{}", reason.as_str()).into());
        }
    }
    played
}

/// Compares what [`play`] gives with JSON objects and `!reason`s.
#[track_caller]
pub(super) fn check(
    backend: &str,
    values: &[(&'static str, &str)],
    frames: &[(&str, &str)],
    want: &[&str],
) {
    let want: Vec<serde_json::Value> = want
        .iter()
        .map(|want| match want.strip_prefix('!') {
            Some(_) => (*want).into(),
            None => serde_json::from_str(want).unwrap_or_else(|error| panic!("{error}: {want}")),
        })
        .collect();
    let got = play(backend, values, frames);
    let show =
        |rows: &[serde_json::Value]| rows.iter().map(|row| format!("{row}\n")).collect::<String>();
    assert!(got == want, "got\n{}instead of\n{}", show(&got), show(&want));
}

/// The inputs of a backend, in order of name.
fn inputs(backend: &str) -> Vec<PathBuf> {
    let folder = folder(backend);
    let entries =
        std::fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "in"))
        .collect();
    paths.sort();
    paths
}

fn folder(backend: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(backend)
}

/// One input and what is told beside it.
struct Fixture {
    dialect: &'static Dialect,
    input: Bytes,
    subscription: Arc<Subscription>,
    values: SessionValues,
    scope: Option<String>,
    policy: Policy,
}

/// What came out. `mapped + discarded = received` was checked.
#[derive(PartialEq, Eq)]
struct Ran {
    out: String,
    frames: String,
}

impl Fixture {
    fn read(backend: &str, path: &Path) -> Self {
        let name = path.file_stem().expect("a name").to_string_lossy();
        let args = std::fs::read_to_string(folder(backend).join("ARGS")).expect("ARGS");
        let mut options = BTreeMap::new();
        // The general line comes first, so that a fixture's own wins.
        for want in ["*", name.as_ref()] {
            for line in args.lines() {
                let mut words = line.split_ascii_whitespace();
                if words.next() != Some(want) {
                    continue;
                }
                while let (Some(option), Some(value)) = (words.next(), words.next()) {
                    options.insert(option.to_owned(), value.to_owned());
                }
            }
        }
        let mut take = |option: &str| options.remove(option);
        let subscription = Subscription::new(
            &take("--tenant").expect("--tenant"),
            &take("--workflow").expect("--workflow"),
            &take("--participant").expect("--participant"),
        );
        let mut values = SessionValues::new();
        for (option, key) in [("--conversation", "conversation"), ("--chat", "chat")] {
            if let Some(value) = take(option) {
                values.insert(key, value);
            }
        }
        let keep = |word: &str| match word {
            "raw" => Keep::Raw,
            "drop" => Keep::Drop,
            other => panic!("{other} is neither raw nor drop"),
        };
        let mut policy = Policy::default();
        if let Some(word) = take("--unmapped") {
            policy.unmapped = keep(&word);
        }
        if let Some(word) = take("--malformed") {
            policy.malformed = keep(&word);
        }
        let scope = take("--scope");
        assert!(options.is_empty(), "unknown options in ARGS: {options:?}");
        let dialect = dialect(backend).expect("a dialect");
        let input = std::fs::read(path).expect("an input").into();
        Self { dialect, input, subscription, values, scope, policy }
    }

    /// Other ways to cut the input. A poll answer is never handed on in pieces.
    fn splits(&self) -> Vec<(String, Vec<Bytes>)> {
        if matches!(self.dialect.transport, Transport::Poll { .. }) {
            return Vec::new();
        }
        let mut splits = Vec::new();
        if self.input.len() <= BYTEWISE_BYTES_MAX {
            let bytes = (0..self.input.len()).map(|at| self.input.slice(at..at + 1)).collect();
            splits.push(("byte by byte".to_owned(), bytes));
        }
        for seed in 1..=8 {
            let mut random = Random(seed);
            let mut chunks = Vec::new();
            let mut at = 0;
            while at < self.input.len() {
                let end = (at + 1 + random.below(2000)).min(self.input.len());
                chunks.push(self.input.slice(at..end));
                at = end;
            }
            splits.push((format!("split with seed {seed}"), chunks));
        }
        splits
    }

    fn run(&self, chunks: impl IntoIterator<Item = Bytes>) -> Ran {
        let start =
            SessionStart { subscription: self.subscription.clone(), values: &self.values, seed: 7 };
        let mut run = Run {
            fixture: self,
            mapper: Mapper::new((self.dialect.session)(&start), self.policy),
            out: Vec::new(),
            frames: String::new(),
            left: 0,
            received: 0,
            mapped: 0,
            discarded: BTreeMap::new(),
        };
        match self.dialect.transport {
            Transport::Stream => {
                let mut decoder = Decoder::new(Limits::default());
                for chunk in chunks {
                    decoder.push(chunk);
                    while let Some(item) = decoder.next_item() {
                        match item {
                            Item::Frame(frame) => run.on_frame(frame.event, frame.data),
                            Item::Oversize { event } => run.on_oversize(event),
                        }
                    }
                }
            }
            Transport::Poll { frames } => {
                let input: Vec<u8> = chunks.into_iter().flatten().collect();
                let input = String::from_utf8_lossy(&input);
                for answer in answers(&input) {
                    for (event, data) in frames(answer) {
                        run.on_frame(&event, data);
                    }
                }
            }
        }
        run.finish()
    }
}

/// JSON documents one after another; what cannot be read is one answer.
fn answers(input: &str) -> Vec<&str> {
    let mut answers = Vec::new();
    let mut stream =
        serde_json::Deserializer::from_str(input).into_iter::<&serde_json::value::RawValue>();
    let mut read = 0;
    while let Some(Ok(answer)) = stream.next() {
        answers.push(answer.get());
        read = stream.byte_offset();
    }
    let rest = input.get(read..).unwrap_or_default().trim();
    if !rest.is_empty() {
        answers.push(rest);
    }
    answers
}

/// One pass over an input.
struct Run<'f> {
    fixture: &'f Fixture,
    mapper: Mapper,
    out: Vec<u8>,
    frames: String,
    left: u64,
    received: u64,
    mapped: u64,
    discarded: BTreeMap<&'static str, u64>,
}

impl Run<'_> {
    fn on_frame(&mut self, event: &str, data: &str) {
        let Self { fixture, mapper, out, left, .. } = self;
        let mut types = Vec::new();
        let mut minted = None;
        let verdict = mapper.on_frame(Input { event, data }, &mut |event: Event<'_>| {
            types.push(event.message_type().as_str());
            let encoded = Encoded::new(
                &event,
                &mut Envelope {
                    subscription: &fixture.subscription,
                    source: fixture.dialect.name,
                    backend: fixture.dialect.name,
                    arrived: UnixMillis(0),
                    minted: &mut || minted.get_or_insert_with(|| format!("m{}", *left + 1)).clone(),
                },
            );
            if let (Some(want), Some(scope)) = (&fixture.scope, &encoded.scope)
                && **want != **scope
            {
                return;
            }
            *left += 1;
            let cursor = Cursor { epoch: 0, sequence: *left }.to_string();
            out.extend(encoded.block(Vocabulary::Full, Some(&cursor)));
        });
        match verdict {
            Verdict::Mapped { raw } => {
                assert!(!types.is_empty(), "mapped to nothing: {event} {data}");
                assert_eq!(raw.is_some(), types == ["Raw"], "{event} {data}");
                self.on_verdict(event, Ok(types.join(", ")));
            }
            Verdict::Discarded(reason, why) => {
                assert!(types.is_empty(), "discarded, yet something left: {event} {data}");
                self.on_verdict(event, Err((reason, why)));
            }
        }
    }

    fn on_oversize(&mut self, event: &str) {
        self.on_verdict(event, Err((Discard::Oversize, "larger than the limit")));
    }

    fn on_verdict(&mut self, event: &str, verdict: Result<String, (Discard, &'static str)>) {
        self.received += 1;
        let event: Cow<'_, str> = event.replace(['\n', '\r'], " ").into();
        let line = match verdict {
            Ok(types) => {
                self.mapped += 1;
                format!("{} {event} -> {types}", self.received)
            }
            Err((reason, why)) => {
                *self.discarded.entry(reason.as_str()).or_insert(0) += 1;
                format!("{} {event} -> discarded: {} ({why})", self.received, reason.as_str())
            }
        };
        writeln!(self.frames, "{line}").expect("written");
    }

    fn finish(mut self) -> Ran {
        let discarded: u64 = self.discarded.values().sum();
        assert_eq!(self.received, self.mapped + discarded);
        let (received, mapped) = (self.received, self.mapped);
        write!(self.frames, "received={received} mapped={mapped} discarded={discarded}")
            .expect("written");
        for reason in Discard::ALL {
            if let Some(count) = self.discarded.get(reason.as_str()) {
                write!(self.frames, " {}={count}", reason.as_str()).expect("written");
            }
        }
        self.frames.push('\n');
        Ran { out: String::from_utf8(self.out).expect("UTF-8"), frames: self.frames }
    }
}

/// Xorshift: the same numbers for the same seed, everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end.max(1)
    }
}

/// A few bytes changed, dropped, doubled or swapped for what parsers trip over.
fn mutated(input: &[u8], random: &mut Random) -> Bytes {
    const ODD: &[&[u8]] = &[
        b"null",
        b"7",
        b"-1e999",
        b"\"\"",
        b"{}",
        b"[]",
        b"[null]",
        b"{\"a\":",
        b"\\ud800",
        b"\\\"",
        b"\"",
        b"\\",
        b"\n",
        b"\n\n",
        b"\r",
        b"\0",
        b"\xFF",
        b"\xF0\x9F",
        b"data:",
        b"event:x\n",
        b"true",
        b",",
        b"}",
        b"]",
    ];
    let mut bytes = input.to_vec();
    for _ in 0..=random.below(6) {
        let at = random.below(bytes.len());
        let end = (at + random.below(40)).min(bytes.len());
        match random.below(6) {
            0 => drop(bytes.drain(at..end)),
            1 => drop(bytes.splice(at..end, ODD[random.below(ODD.len())].iter().copied())),
            2 => drop(bytes.splice(at..at, ODD[random.below(ODD.len())].iter().copied())),
            3 => {
                let copy = bytes[at..end].to_vec();
                drop(bytes.splice(at..at, copy));
            }
            4 => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = (random.next() & 0xFF) as u8;
                }
            }
            // A whole value for another: from one colon to the next comma.
            _ => {
                let value = |byte: u8, from: usize| {
                    bytes[from..].iter().position(|b| *b == byte).map(|n| from + n)
                };
                if let Some(colon) = value(b':', at)
                    && let Some(comma) = value(b',', colon)
                {
                    let odd = ODD[random.below(ODD.len())];
                    drop(bytes.splice(colon + 1..comma, odd.iter().copied()));
                }
            }
        }
    }
    bytes.into()
}
