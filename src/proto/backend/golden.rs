//! Golden pairs: what a capture of a backend becomes, to the byte and frame by frame.
//!
//! `tests/fixtures/<backend>/NAME.in` is a capture (an SSE body, or poll answers one after
//! another), `.out` the unified SSE, `.frames` the verdict on each frame, `ARGS` the options of
//! the mapping as `chatmux normalize` takes them. `BLESS=1` rewrites; a person reads the diff.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::{
    Dialect, Discard, Input, Keep, Mapper, Policy, SessionStart, Transport, Verdict, brightpattern,
    dialect,
};
use crate::proto::cursor::Cursor;
use crate::proto::event::{Encoded, Envelope, Subscription, Vocabulary};
use crate::proto::sse::{Decoder, Item};
use crate::proto::time::UnixMillis;

/// Captures over this are not fed byte by byte.
const BYTEWISE_MAX: usize = 64 * 1024;
/// How many random splits are tried.
const SPLITS: u64 = 20;
/// How many mutations of each capture are tried.
const MUTATIONS: u64 = 200;

/// Numbers that look random and are the same in every run (splitmix64).
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) % bound.max(1) as u64) as usize
    }
}

/// Compares every capture of a dialect with what it should become.
pub(super) fn check_all(name: &str) {
    let dialect = dialect(name).expect("a dialect");
    let captures = captures(name);
    assert!(!captures.is_empty(), "no fixtures for {name}");
    for capture in captures {
        let bytes = fs::read(&capture.path).expect("readable");
        let got = capture.run(dialect, [bytes.as_slice()]);
        compare(&capture.path.with_extension("out"), &got.out);
        compare(&capture.path.with_extension("frames"), &got.frames);
        if bytes.len() <= BYTEWISE_MAX {
            assert_eq!(
                capture.run(dialect, bytes.chunks(1)),
                got,
                "{} byte by byte",
                capture.name
            );
        }
        for seed in 0..SPLITS {
            let chunks = split(&bytes, &mut Random(seed));
            assert_eq!(
                capture.run(dialect, chunks),
                got,
                "{} at split {seed}",
                capture.name
            );
        }
    }
}

/// Feeds mutations of every capture: nothing panics, no frame is mapped and discarded or neither
/// (see [`Run::frame`]).
pub(super) fn check_mutations(name: &str) {
    let dialect = dialect(name).expect("a dialect");
    for capture in captures(name) {
        let bytes = fs::read(&capture.path).expect("readable");
        for seed in 0..MUTATIONS {
            let mut random = Random(seed);
            let mut mutant = bytes.clone();
            for _ in 0..=random.below(4) {
                mutate(&mut mutant, &mut random);
            }
            capture.run(dialect, split(&mutant, &mut random));
        }
    }
}

fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    const PIECES: &[&[u8]] = &[
        b"\"", b"\\", b"{", b"}", b"[", b"]", b"null", b"\n", b"\n\n", b"<b>", b"&lt", b"\0",
        b"\xff", b",", b"7", b"\\ud800",
    ];
    let at = random.below(bytes.len() + 1);
    match random.below(5) {
        0 if at < bytes.len() => bytes[at] = random.below(256) as u8,
        1 if at < bytes.len() => {
            let end = at + random.below(bytes.len() - at + 1).min(16);
            bytes.drain(at..end);
        }
        2 => bytes.truncate(at),
        3 => {
            let from = random.below(bytes.len() + 1);
            let copy = bytes[from..bytes.len().min(from + 64)].to_vec();
            bytes.splice(at..at, copy);
        }
        _ => {
            let piece = PIECES[random.below(PIECES.len())];
            bytes.splice(at..at, piece.iter().copied());
        }
    }
}

fn split<'b>(mut bytes: &'b [u8], random: &mut Random) -> Vec<&'b [u8]> {
    let mut chunks = Vec::new();
    while !bytes.is_empty() {
        let (chunk, rest) = bytes.split_at(1 + random.below(bytes.len().min(97)));
        chunks.push(chunk);
        bytes = rest;
    }
    chunks
}

fn compare(path: &Path, got: &str) {
    if std::env::var_os("BLESS").is_some() {
        fs::write(path, got).expect("writable");
    }
    let want = fs::read_to_string(path).unwrap_or_default();
    assert_eq!(got, want, "{}: BLESS=1 rewrites", path.display());
}

struct Capture {
    name: String,
    path: PathBuf,
    args: BTreeMap<String, String>,
}

/// The captures of a dialect with their options: those of `*`, then their own.
fn captures(dialect: &str) -> Vec<Capture> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures")).join(dialect);
    let lines = fs::read_to_string(folder.join("ARGS")).expect("ARGS");
    let mut captures: Vec<Capture> = fs::read_dir(&folder)
        .expect("fixtures")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "in"))
        .map(|path| {
            let name = path
                .file_stem()
                .expect("a name")
                .to_string_lossy()
                .into_owned();
            let mut args = BTreeMap::new();
            for wanted in ["*", name.as_str()] {
                for line in lines
                    .lines()
                    .filter(|line| line.split(' ').next() == Some(wanted))
                {
                    let words: Vec<&str> = line.split(' ').skip(1).collect();
                    assert_eq!(words.len() % 2, 0, "{line}");
                    args.extend(
                        words
                            .chunks(2)
                            .map(|pair| (pair[0].to_owned(), pair[1].to_owned())),
                    );
                }
            }
            Capture { name, path, args }
        })
        .collect();
    captures.sort_by(|a, b| a.name.cmp(&b.name));
    captures
}

impl Capture {
    fn arg(&self, name: &str) -> Option<&str> {
        self.args.get(name).map(String::as_str)
    }

    fn run<'b>(
        &self,
        dialect: &'static Dialect,
        chunks: impl IntoIterator<Item = &'b [u8]>,
    ) -> Outcome {
        let mut run = Run::new(self, dialect);
        match dialect.transport {
            Transport::Stream => {
                let mut decoder = Decoder::default();
                for chunk in chunks {
                    decoder.push(Bytes::copy_from_slice(chunk));
                    while let Some(item) = decoder.next_item() {
                        match item {
                            Item::Frame(frame) => run.frame(Input {
                                event: frame.event,
                                data: frame.data,
                            }),
                            Item::Oversize { event } => {
                                run.verdict(
                                    event,
                                    Verdict::Discarded(Discard::Oversize, "too large"),
                                    &[],
                                );
                            }
                        }
                    }
                }
            }
            // Answers come whole, so the way in which the capture was split says nothing.
            Transport::Poll { frames } => {
                let bytes: Vec<u8> = chunks.into_iter().flatten().copied().collect();
                let text = String::from_utf8_lossy(&bytes);
                for document in brightpattern::documents(&text) {
                    for (event, data) in frames(document) {
                        run.frame(Input {
                            event: &event,
                            data,
                        });
                    }
                }
            }
        }
        run.finish()
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    out: String,
    frames: String,
}

struct Run {
    backend: &'static str,
    subscription: std::sync::Arc<Subscription>,
    scope: Option<String>,
    mapper: Mapper,
    out: Vec<u8>,
    frames: String,
    /// Events that left.
    left: u64,
    received: u64,
    mapped: u64,
    discarded: BTreeMap<&'static str, u64>,
}

impl Run {
    fn new(capture: &Capture, dialect: &'static Dialect) -> Self {
        let subscription = Subscription::new(
            capture.arg("--tenant").unwrap_or("default"),
            capture.arg("--workflow").unwrap_or("default"),
            capture.arg("--participant").expect("--participant"),
        );
        let mut values = BTreeMap::new();
        for (value, option) in [("conversation", "--conversation"), ("chat", "--chat")] {
            if let Some(text) = capture.arg(option) {
                values.insert(value, text.to_owned());
            }
        }
        let keep = |option, default| match capture.arg(option) {
            Some("raw") => Keep::Raw,
            Some("drop") => Keep::Drop,
            Some(other) => panic!("{option} {other}"),
            None => default,
        };
        let default = Policy::default();
        let policy = Policy {
            unmapped: keep("--unmapped", default.unmapped),
            malformed: keep("--malformed", default.malformed),
        };
        let start = SessionStart {
            subscription: subscription.clone(),
            values: &values,
            seed: 1,
        };
        Self {
            backend: dialect.name,
            mapper: Mapper::new((dialect.session)(&start), policy),
            subscription,
            scope: capture.arg("--scope").map(str::to_owned),
            out: Vec::new(),
            frames: String::new(),
            left: 0,
            received: 0,
            mapped: 0,
            discarded: BTreeMap::new(),
        }
    }

    fn frame(&mut self, input: Input<'_>) {
        let Self {
            backend,
            subscription,
            scope,
            mapper,
            out,
            left,
            ..
        } = self;
        let minted = format!("m{}", *left + 1);
        let mut types = Vec::new();
        let verdict = mapper.on_frame(input, &mut |event| {
            let mut envelope = Envelope {
                subscription,
                source: backend,
                backend,
                arrived: UnixMillis(0),
                minted: &mut || minted.clone(),
            };
            let encoded = Encoded::new(&event, &mut envelope);
            serde_json::from_str::<serde::de::IgnoredAny>(encoded.json()).expect("JSON");
            types.push(encoded.message_type.as_str());
            if encoded
                .scope
                .as_deref()
                .is_some_and(|own| scope.as_deref().is_some_and(|scope| scope != own))
            {
                return;
            }
            *left += 1;
            let cursor = Cursor {
                epoch: 0,
                sequence: *left,
            }
            .to_string();
            let block = encoded.block(Vocabulary::Full, Some(&cursor));
            assert_eq!(
                block.iter().filter(|byte| **byte == b'\n').count(),
                4,
                "one data line"
            );
            out.extend(block);
        });
        self.verdict(input.event, verdict, &types);
    }

    /// Writes the verdict down; mapped means events, discarded means none.
    fn verdict(&mut self, name: &str, verdict: Verdict, types: &[&str]) {
        self.received += 1;
        let number = self.received;
        let said = match verdict {
            Verdict::Mapped { .. } => {
                assert!(!types.is_empty(), "mapped to nothing: {name}");
                self.mapped += 1;
                writeln!(self.frames, "{number} {name} -> {}", types.join(", "))
            }
            Verdict::Discarded(reason, why) => {
                assert!(types.is_empty(), "discarded and mapped: {name}");
                *self.discarded.entry(reason.as_str()).or_default() += 1;
                writeln!(
                    self.frames,
                    "{number} {name} -> discarded: {} ({why})",
                    reason.as_str()
                )
            }
        };
        said.expect("text");
    }

    fn finish(mut self) -> Outcome {
        let discarded: u64 = self.discarded.values().sum();
        assert_eq!(self.received, self.mapped + discarded, "conservation");
        let mut last = format!(
            "received={} mapped={} discarded={discarded}",
            self.received, self.mapped
        );
        for reason in Discard::ALL {
            if let Some(count) = self.discarded.get(reason.as_str()) {
                write!(last, " {}={count}", reason.as_str()).expect("text");
            }
        }
        self.frames.push_str(&last);
        self.frames.push('\n');
        Outcome {
            out: String::from_utf8(self.out).expect("UTF-8"),
            frames: self.frames,
        }
    }
}
