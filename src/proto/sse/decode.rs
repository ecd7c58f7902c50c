//! Bytes, split anywhere, into [`Item`]s, by the WHATWG rules for event streams.
//!
//! Push what arrived, then take items until `None`. A frame that lies whole in one chunk is
//! lent from it; only what a chunk leaves unfinished is copied, up to [`Limits`]. Past them
//! the event is given up and counted, and the stream goes on. No input is an error.
//! Hot path: runs once per read and once per line.
//! Not here: the fields of an event ([`Block`]), reconnecting, what a frame means.

use bytes::Bytes;
use memchr::memchr2;

use crate::proto::sse::block::{Block, RETAINED_BYTES_MAX};

/// The default of both limits: far above any chat event seen, small beside a node's memory.
const BYTES_MAX: usize = 1024 * 1024;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// The type of an event that names none.
const MESSAGE: &str = "message";

/// How much of one event is kept. An event over a limit becomes one [`Item::Oversize`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest line, without its end. Comments are not kept, so they may be longer.
    pub line_bytes_max: usize,
    /// Longest event: the name it gives itself and its data together, as the frame shows them.
    pub event_bytes_max: usize,
}

/// A dispatched event, lent until the decoder is used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// The event type; `message` if the block named none or an empty one.
    pub event: &'a str,
    /// The data lines joined with LF; may be empty.
    pub data: &'a str,
    /// The last event id in force: this block's, or the one inherited from an earlier block.
    pub id: &'a str,
    /// Whether this block itself held an id line that counts.
    pub has_id: bool,
}

/// What the stream gave next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Item<'a> {
    /// An event.
    Frame(Frame<'a>),
    /// An event over the [`Limits`], reported when its blank line came. Its id counts: see
    /// [`Decoder::last_event_id`].
    Oversize {
        /// The event type; `message` if none was given or it is itself over the limit.
        event: &'a str,
    },
}

/// The decoder of one response body.
///
/// Holds at most a small multiple of its limits (one line, one event, and while a frame with
/// broken UTF-8 is lent, its repaired copy), and little once an event is done.
#[derive(Debug, Default)]
pub struct Decoder {
    limits: Limits,
    start: Start,
    /// What was pushed last. Invariant: `read <= chunk.len()`.
    chunk: Bytes,
    read: usize,
    /// The last line ended with CR, so a LF that comes next belongs to that end.
    after_cr: bool,
    /// The line under way is not kept: it is a comment, or too long.
    skipping: bool,
    /// The unfinished line as far as earlier chunks held it.
    line: Vec<u8>,
    block: Block,
    /// The block is lent out as an item; it is forgotten before the next line is read.
    lent: bool,
    repaired_name: String,
    repaired_data: String,
}

/// Where the stream's start stands: one BOM is skipped there, and only there.
#[derive(Clone, Copy, Debug)]
enum Start {
    /// So many bytes of the BOM have come, and nothing else.
    Bom(usize),
    Over,
}

/// What reading one line came to.
enum Line {
    /// The chunk ended first.
    Unfinished,
    Field,
    Blank,
}

impl Decoder {
    /// A decoder at the start of a body.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Takes the next bytes of the body.
    ///
    /// Take the items of the last chunk until `None` first: what is left unread is kept, but
    /// at the price of copying it, and it is not bounded by the limits.
    pub fn push(&mut self, chunk: Bytes) {
        let unread = self.chunk.get(self.read..).unwrap_or_default();
        self.chunk = if unread.is_empty() { chunk } else { [unread, &chunk].concat().into() };
        self.read = 0;
    }

    /// The next item of what was pushed, or `None` when it is used up.
    ///
    /// A block without a data line is no item, as in a browser.
    pub fn next_item(&mut self) -> Option<Item<'_>> {
        self.take_back();
        loop {
            match self.read_line() {
                Line::Blank if self.block.on_blank() => break,
                Line::Blank | Line::Field => {}
                Line::Unfinished => {
                    self.keep_unfinished();
                    return None;
                }
            }
        }
        self.lent = true;
        Some(self.lend())
    }

    /// The id to resume from: the last one whose block was ended by a blank line, dispatched
    /// or not; empty if there is none.
    #[must_use]
    pub fn last_event_id(&self) -> &str {
        self.block.last_event_id()
    }

    /// The reconnection time the stream last asked for.
    #[must_use]
    pub const fn retry_millis(&self) -> Option<u64> {
        self.block.retry_millis()
    }

    /// Whether something has begun that is not whole yet: a line, or an event.
    #[must_use]
    pub fn is_inside(&self) -> bool {
        !self.line.is_empty() || self.skipping || !self.lent && self.block.has_begun()
    }

    /// Memory held: input not yet read, and the capacity of the decoder's own buffers.
    #[must_use]
    pub fn buffered_bytes(&self) -> usize {
        (self.chunk.len() - self.read)
            + self.line.capacity()
            + self.block.capacity()
            + self.repaired_name.capacity()
            + self.repaired_data.capacity()
    }

    /// Ends the loan of the last item.
    fn take_back(&mut self) {
        if self.lent {
            self.lent = false;
            self.block.clear();
            self.repaired_name = String::new();
            self.repaired_data = String::new();
        }
    }

    /// Reads up to the next line end and gives the line to the block.
    fn read_line(&mut self) -> Line {
        if let Start::Bom(seen) = self.start {
            self.skip_bom(seen);
        }
        if self.after_cr && self.read < self.chunk.len() {
            self.after_cr = false;
            self.read += usize::from(self.chunk.get(self.read) == Some(&b'\n'));
        }
        let start = self.read;
        let rest = self.chunk.get(start..).unwrap_or_default();
        let Some(len) = memchr2(b'\r', b'\n', rest) else {
            return Line::Unfinished;
        };
        self.after_cr = rest.get(len) == Some(&b'\r');
        self.read = start + len + 1;
        if self.line.is_empty() && !self.skipping {
            let line = rest.get(..len).unwrap_or_default();
            return match line.first() {
                None => Line::Blank,
                Some(b':') => Line::Field,
                Some(_) if len > self.limits.line_bytes_max => {
                    self.block.give_up();
                    Line::Field
                }
                Some(_) => {
                    let bytes_max = self.limits.event_bytes_max;
                    self.block.on_line(line, Some(start), &self.chunk, bytes_max);
                    Line::Field
                }
            };
        }
        self.keep(start, len);
        if !self.skipping {
            self.block.on_line(&self.line, None, &self.chunk, self.limits.event_bytes_max);
        }
        self.skipping = false;
        self.line.clear();
        self.line.shrink_to(RETAINED_BYTES_MAX);
        Line::Field
    }

    /// Skips the BOM; bytes that only began like one are the start of the first line.
    fn skip_bom(&mut self, seen: usize) {
        let missing = BOM.get(seen..).unwrap_or_default();
        let same = self.chunk.iter().zip(missing).take_while(|(have, want)| have == want).count();
        if same == missing.len() {
            self.read = same;
            self.start = Start::Over;
        } else if same == self.chunk.len() {
            self.read = same;
            self.start = Start::Bom(seen + same);
        } else {
            self.line.extend_from_slice(BOM.get(..seen).unwrap_or_default());
            self.start = Start::Over;
        }
    }

    /// Copies what the used-up chunk leaves unfinished, and lets the chunk go.
    fn keep_unfinished(&mut self) {
        self.keep(self.read, self.chunk.len() - self.read);
        self.block.settle(&self.chunk);
        self.chunk = Bytes::new();
        self.read = 0;
    }

    /// Adds `len` bytes of the chunk to the unfinished line, unless it is to be skipped.
    fn keep(&mut self, start: usize, len: usize) {
        let more = self.chunk.get(start..start + len).unwrap_or_default();
        if self.line.is_empty() && more.first() == Some(&b':') {
            self.skipping = true;
        }
        if self.skipping {
            return;
        }
        if self.line.len() + more.len() > self.limits.line_bytes_max {
            self.skipping = true;
            self.line = Vec::new();
            self.block.give_up();
        } else {
            self.line.extend_from_slice(more);
        }
    }

    /// The finished block as an item.
    fn lend(&mut self) -> Item<'_> {
        let Self { chunk, block, repaired_name, repaired_data, limits, .. } = self;
        let name = text(block.name(chunk), repaired_name);
        // Repair can make text longer, so the limit is held against what the frame shows.
        let event =
            if name.is_empty() || name.len() > limits.event_bytes_max { MESSAGE } else { name };
        if block.is_oversize() {
            return Item::Oversize { event };
        }
        let data = text(block.data(chunk), repaired_data);
        if name.len() + data.len() > limits.event_bytes_max {
            return Item::Oversize { event };
        }
        Item::Frame(Frame { event, data, id: block.last_event_id(), has_id: block.has_id() })
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self { line_bytes_max: BYTES_MAX, event_bytes_max: BYTES_MAX }
    }
}

impl Default for Start {
    fn default() -> Self {
        Self::Bom(0)
    }
}

/// Bytes as text, each maximal broken part replaced as the Encoding standard says.
///
/// Line ends, colons and spaces are never inside a UTF-8 sequence, so repairing a value on
/// its own gives the same as decoding the whole stream first.
fn text<'a>(raw: &'a [u8], repaired: &'a mut String) -> &'a str {
    if let Ok(text) = str::from_utf8(raw) {
        return text;
    }
    *repaired = String::from_utf8_lossy(raw).into_owned();
    repaired
}
