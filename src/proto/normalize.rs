//! A captured upstream stream, turned into the unified one: what `chatmux normalize` does, and
//! what the golden pairs of the tests check.
//!
//! Pure: bytes in, bytes and one line per frame out. Not here: files, standard output.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;

use super::backend::{
    Answer, Dialect, Discard, Input, Mapper, Policy, SessionStart, SessionValues, Transport,
    Verdict,
};
use super::channel::Filter;
use super::cursor::CursorWriter;
use super::event::{Encoded, Envelope, Event, Subscription, Vocabulary};
use super::sse::{Decoder, Item, Limits};
use super::time::UnixMillis;

/// What a capture is read as.
pub struct Capture<'a> {
    /// The dialect it is in.
    pub dialect: &'static Dialect,
    /// Whose stream it was.
    pub subscription: Arc<Subscription>,
    /// What the session is told, such as the conversation.
    pub values: &'a SessionValues,
    /// What becomes of frames without a mapping.
    pub policy: Policy,
    /// What leaves.
    pub filter: Filter,
    /// The first part of minted ids; `None` numbers them `m1`, `m2`..., counting the events that
    /// leave.
    pub mint: Option<String>,
    /// The cursors' epoch.
    pub epoch: u64,
    /// Salt for content hashes.
    pub seed: u64,
}

/// Reads one capture.
pub struct Normalizer {
    mapper: Mapper,
    decoder: Decoder,
    writer: Writer,
    frames: u64,
    mapped: u64,
    discarded: Vec<u64>,
}

/// What writes the events that leave.
struct Writer {
    dialect: &'static Dialect,
    subscription: Arc<Subscription>,
    filter: Filter,
    mint: Option<String>,
    cursors: CursorWriter,
    /// Events that left.
    left: u64,
}

/// The frame that events are of.
struct Frame {
    number: u64,
    /// Its minted id, once an event wanted one.
    id: Option<String>,
    arrived: UnixMillis,
}

impl Writer {
    fn write(&mut self, event: &Event<'_>, frame: &mut Frame, out: &mut Vec<u8>) {
        if !self.filter.passes_event(event) {
            return;
        }
        self.left += 1;
        let (mint, left) = (&self.mint, self.left);
        let Frame { number, id, arrived } = frame;
        let mut minted = || {
            id.get_or_insert_with(|| match mint {
                Some(prefix) => format!("{prefix}-{number}"),
                None => format!("m{left}"),
            })
            .clone()
        };
        let encoded = Encoded::new(
            event,
            &mut Envelope {
                subscription: &self.subscription,
                source: self.dialect.name,
                backend: self.dialect.name,
                arrived: *arrived,
                minted: &mut minted,
            },
        );
        let framed = encoded.frame(Some(self.cursors.write(left)));
        match self.filter.vocabulary {
            Vocabulary::Full => out.extend_from_slice(framed.full()),
            Vocabulary::Core => out.extend_from_slice(&framed.core()),
        }
    }
}

impl Normalizer {
    /// At the start of a capture.
    #[must_use]
    pub fn new(capture: Capture<'_>) -> Self {
        let start = SessionStart {
            subscription: capture.subscription.clone(),
            values: capture.values,
            seed: capture.seed,
        };
        Self {
            mapper: Mapper::new((capture.dialect.session)(&start), capture.policy),
            decoder: Decoder::new(Limits::default()),
            writer: Writer {
                dialect: capture.dialect,
                subscription: capture.subscription,
                filter: capture.filter,
                mint: capture.mint,
                cursors: CursorWriter::new(capture.epoch, None, &[]),
                left: 0,
            },
            frames: 0,
            mapped: 0,
            discarded: vec![0; Discard::ALL.len()],
        }
    }

    /// More bytes of an event stream. Appends events to `out`, a line per frame to `lines`.
    pub fn push(
        &mut self,
        chunk: Bytes,
        arrived: UnixMillis,
        out: &mut Vec<u8>,
        lines: &mut String,
    ) {
        let mut decoder = std::mem::take(&mut self.decoder);
        decoder.push(chunk);
        while let Some(item) = decoder.next_item() {
            match item {
                Item::Frame(frame) => {
                    let input = Input { event: frame.event, data: frame.data };
                    self.on_frame(input, arrived, out, lines);
                }
                Item::Oversize { event } => {
                    let verdict = Verdict::Discarded(Discard::Oversize, "larger than the limit");
                    self.note(event, verdict, &[], lines);
                }
            }
        }
        self.decoder = decoder;
    }

    /// One answer of a poll.
    pub fn answer(
        &mut self,
        body: &str,
        arrived: UnixMillis,
        out: &mut Vec<u8>,
        lines: &mut String,
    ) {
        let Transport::Poll { frames } = self.writer.dialect.transport else {
            return;
        };
        match (self.writer.dialect.answer)(200, body) {
            Answer::Events | Answer::Empty => {
                for (event, data) in frames(body) {
                    self.on_frame(Input { event: &event, data }, arrived, out, lines);
                }
            }
            Answer::Gone => self.on_gone(arrived, out),
            // What the backend refuses holds no events.
            Answer::Unauthorized | Answer::RateLimited | Answer::Bad => {}
        }
    }

    /// `received=17 mapped=8 discarded=9 shadowed=8 filtered=1`: the conservation law.
    #[must_use]
    pub fn summary(&self) -> String {
        let discarded: u64 = self.discarded.iter().sum();
        let mut line =
            format!("received={} mapped={} discarded={discarded}", self.frames, self.mapped);
        for (reason, count) in
            Discard::ALL.iter().zip(&self.discarded).filter(|(_, count)| **count > 0)
        {
            // Writing to a string cannot fail.
            let _ok = write!(line, " {}={count}", reason.as_str()).is_ok();
        }
        line
    }

    fn on_frame(
        &mut self,
        input: Input<'_>,
        arrived: UnixMillis,
        out: &mut Vec<u8>,
        lines: &mut String,
    ) {
        let mut frame = Frame { number: self.frames + 1, id: None, arrived };
        let mut types = Vec::new();
        let Self { mapper, writer, .. } = self;
        let verdict = mapper.on_frame(input, &mut |event: Event<'_>| {
            types.push(event.message_type().as_str());
            writer.write(&event, &mut frame, out);
        });
        self.note(input.event, verdict, &types, lines);
    }

    /// The backend says that the conversation is gone, which is no frame.
    fn on_gone(&mut self, arrived: UnixMillis, out: &mut Vec<u8>) {
        let mut frame = Frame { number: self.frames, id: None, arrived };
        let Self { mapper, writer, .. } = self;
        mapper.on_gone(&mut |event: Event<'_>| writer.write(&event, &mut frame, out));
    }

    fn note(&mut self, event: &str, verdict: Verdict, types: &[&str], lines: &mut String) {
        self.frames += 1;
        let number = self.frames;
        let name = printable(event);
        let _ok = match verdict {
            Verdict::Mapped { .. } => {
                self.mapped += 1;
                writeln!(lines, "{number} {name} -> {}", types.join(", "))
            }
            Verdict::Discarded(reason, why) => {
                if let Some(count) = self.discarded.get_mut(reason as usize) {
                    *count += 1;
                }
                writeln!(lines, "{number} {name} -> discarded: {} ({why})", reason.as_str())
            }
        }
        .is_ok();
    }
}

/// A backend's word on one line of a terminal: no control characters, not too long.
fn printable(event: &str) -> String {
    const CHARS_MAX: usize = 80;
    let name = if event.is_empty() { "unknown" } else { event };
    name.chars().take(CHARS_MAX).map(|c| if c.is_control() { '\u{FFFD}' } else { c }).collect()
}
