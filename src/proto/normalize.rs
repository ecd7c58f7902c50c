//! A captured upstream stream, turned into the unified one: what `chatmux normalize` does, and
//! what the golden pairs of the tests check.
//!
//! Pure: bytes in, bytes and one line per frame out. Not here: files, standard output.

use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;

use super::backend::{
    Dialect, Discard, Input, Mapper, Policy, SessionStart, SessionValues, Transport, Verdict,
};
use super::channel::Filter;
use super::cursor::Cursor;
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
    dialect: &'static Dialect,
    subscription: Arc<Subscription>,
    mapper: Mapper,
    filter: Filter,
    decoder: Decoder,
    mint: Option<String>,
    epoch: u64,
    left: u64,
    frames: u64,
    mapped: u64,
    discarded: Vec<u64>,
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
            dialect: capture.dialect,
            subscription: capture.subscription,
            filter: capture.filter,
            decoder: Decoder::new(Limits::default()),
            mint: capture.mint,
            epoch: capture.epoch,
            left: 0,
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
        let Transport::Poll { frames } = self.dialect.transport else {
            return;
        };
        for (event, data) in frames(body) {
            self.on_frame(Input { event: &event, data }, arrived, out, lines);
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
        let frame = self.frames + 1;
        let Self { mapper, subscription, filter, dialect, mint, epoch, left, .. } = self;
        let mut types = Vec::new();
        let mut id: Option<String> = None;
        let verdict = mapper.on_frame(input, &mut |event: Event<'_>| {
            types.push(event.message_type().as_str());
            if !filter.passes_event(&event) {
                return;
            }
            *left += 1;
            let mut mint_id = || {
                id.get_or_insert_with(|| match mint {
                    Some(prefix) => format!("{prefix}-{frame}"),
                    None => format!("m{left}"),
                })
                .clone()
            };
            let encoded = Encoded::new(
                &event,
                &mut Envelope {
                    subscription,
                    source: dialect.name,
                    backend: dialect.name,
                    arrived,
                    minted: &mut mint_id,
                },
            );
            let cursor = Cursor { epoch: *epoch, sequence: *left }.to_string();
            let framed = encoded.frame(Some(&cursor));
            match filter.vocabulary {
                Vocabulary::Full => out.extend_from_slice(framed.full()),
                Vocabulary::Core => out.extend_from_slice(&framed.core()),
            }
        });
        self.note(input.event, verdict, &types, lines);
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
