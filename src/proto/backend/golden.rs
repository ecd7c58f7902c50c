//! Golden pairs: what a capture of a backend becomes, to the byte and frame by frame.
//!
//! `tests/fixtures/<backend>/NAME.in` is a capture (an SSE body, or poll answers one after
//! another), `.out` the unified SSE, `.frames` the verdict on each frame, `ARGS` the options of
//! the mapping as `chatmux normalize` takes them. `BLESS=1` rewrites; a person reads the diff.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::{
    Dialect, Input, Keep, Mapper, Policy, SessionStart, SessionValues, Transport, Verdict,
    brightpattern, dialect,
};
use crate::proto::channel::Filter;
use crate::proto::event::{Encoded, Envelope, Event, Subscription, TypeSet, Vocabulary};
use crate::proto::normalize::{Capture, Normalizer};
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
            assert_eq!(capture.run(dialect, bytes.chunks(1)), got, "{} byte by byte", capture.name);
        }
        for seed in 0..SPLITS {
            let chunks = split(&bytes, &mut Random(seed));
            assert_eq!(capture.run(dialect, chunks), got, "{} at split {seed}", capture.name);
        }
    }
}

/// Feeds mutations of every capture: nothing panics, no frame is mapped and discarded or neither
/// (see [`check_conservation`]).
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

struct Fixture {
    name: String,
    path: PathBuf,
    args: BTreeMap<String, String>,
}

/// The captures of a dialect with their options: those of `*`, then their own.
fn captures(dialect: &str) -> Vec<Fixture> {
    let folder = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures")).join(dialect);
    let lines = fs::read_to_string(folder.join("ARGS")).expect("ARGS");
    let mut captures: Vec<Fixture> = fs::read_dir(&folder)
        .expect("fixtures")
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "in"))
        .map(|path| {
            let name = path.file_stem().expect("a name").to_string_lossy().into_owned();
            let mut args = BTreeMap::new();
            for wanted in ["*", name.as_str()] {
                for line in lines.lines().filter(|line| line.split(' ').next() == Some(wanted)) {
                    let words: Vec<&str> = line.split(' ').skip(1).collect();
                    assert_eq!(words.len() % 2, 0, "{line}");
                    args.extend(
                        words.chunks(2).map(|pair| (pair[0].to_owned(), pair[1].to_owned())),
                    );
                }
            }
            Fixture { name, path, args }
        })
        .collect();
    captures.sort_by(|a, b| a.name.cmp(&b.name));
    captures
}

impl Fixture {
    fn arg(&self, name: &str) -> Option<&str> {
        self.args.get(name).map(String::as_str)
    }

    fn run<'b>(
        &self,
        dialect: &'static Dialect,
        chunks: impl IntoIterator<Item = &'b [u8]>,
    ) -> Outcome {
        let mut normalizer = self.normalizer(dialect);
        let (mut out, mut lines) = (Vec::new(), String::new());
        let arrived = UnixMillis(0);
        match dialect.transport {
            Transport::Stream => {
                for chunk in chunks {
                    let chunk = Bytes::copy_from_slice(chunk);
                    normalizer.push(chunk, arrived, &mut out, &mut lines);
                }
            }
            // Answers come whole, so the way in which the capture was split says nothing.
            Transport::Poll { .. } => {
                let bytes: Vec<u8> = chunks.into_iter().flatten().copied().collect();
                let text = String::from_utf8_lossy(&bytes);
                for document in brightpattern::documents(&text) {
                    normalizer.answer(document, arrived, &mut out, &mut lines);
                }
            }
        }
        let summary = normalizer.summary();
        let out = String::from_utf8(out).expect("UTF-8");
        check_form(&out);
        check_conservation(&lines, &summary);
        Outcome { out, frames: format!("{lines}{summary}\n") }
    }

    fn normalizer(&self, dialect: &'static Dialect) -> Normalizer {
        let keep = |option, default| match self.arg(option) {
            Some("raw") => Keep::Raw,
            Some("drop") => Keep::Drop,
            Some(other) => panic!("{option} {other}"),
            None => default,
        };
        let default = Policy::default();
        let mut values = SessionValues::new();
        for (value, option) in [("conversation", "--conversation"), ("chat", "--chat")] {
            if let Some(text) = self.arg(option) {
                values.insert(value, text.to_owned());
            }
        }
        Normalizer::new(Capture {
            dialect,
            subscription: Subscription::new(
                self.arg("--tenant").unwrap_or("default"),
                self.arg("--workflow").unwrap_or("default"),
                self.arg("--participant").expect("--participant"),
            ),
            values: &values,
            policy: Policy {
                unmapped: keep("--unmapped", default.unmapped),
                malformed: keep("--malformed", default.malformed),
            },
            filter: Filter {
                types: TypeSet::ALL,
                scope: self.arg("--scope").map(Box::from),
                vocabulary: Vocabulary::Full,
            },
            mint: None,
            epoch: 0,
            seed: 1,
        })
    }
}

/// Every event is four lines: `event:`, one `data:` line of JSON, `id:`, a blank one.
fn check_form(out: &str) {
    for block in out.split_inclusive("\n\n") {
        let lines: Vec<&str> = block.split('\n').collect();
        let [event, data, id, "", ""] = lines.as_slice() else {
            panic!("{block:?}");
        };
        assert!(event.starts_with("event: ") && id.starts_with("id: 1.0."), "{block}");
        let data = data.strip_prefix("data: ").expect("data");
        serde_json::from_str::<serde::de::IgnoredAny>(data).expect("JSON");
    }
}

/// Each frame was mapped to at least one event, or discarded for one reason.
fn check_conservation(lines: &str, summary: &str) {
    let discarded = lines.lines().filter(|line| line.contains(" -> discarded: ")).count();
    let received = lines.lines().count();
    assert!(lines.lines().all(|line| !line.ends_with("-> ")), "{lines}");
    let want = format!("received={received} mapped={} discarded={discarded}", received - discarded);
    assert!(summary.starts_with(&want), "{summary} is not {want}");
}

#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    out: String,
    frames: String,
}
