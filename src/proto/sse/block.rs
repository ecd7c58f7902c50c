//! One event in the making: the fields between two blank lines.
//!
//! Values stay where they are in the chunk as long as they can, and are copied when a second
//! data line joins them or the chunk goes. Memory is bounded by the limit that each call is
//! given. Hot path: runs once per line.
//! Not here: finding lines and limiting them, making text of bytes (`decode`).

use std::ops::Range;

use memchr::memchr;

/// Longest id that is heeded. A longer one is ignored, as one with NUL is: it goes into a
/// request header on reconnect, and servers refuse headers much over this.
pub(super) const ID_BYTES_MAX: usize = 4096;

/// Buffer capacity kept from one event to the next; a larger buffer is given back.
pub(super) const RETAINED_BYTES_MAX: usize = 16 * 1024;

/// The event in the making, and what outlives it: the id in force and the retry time.
///
/// The same `chunk` must be given to all calls between two calls of [`Block::settle`].
#[derive(Debug, Default)]
pub(super) struct Block {
    name: Value,
    data: Value,
    has_data: bool,
    is_oversize: bool,
    /// What the id becomes at the blank line, if `has_id`.
    next_id: String,
    has_id: bool,
    last_id: String,
    retry_millis: Option<u64>,
}

/// The raw bytes of a field's value.
#[derive(Debug, Default)]
struct Value {
    /// Where the value is in the chunk; else it is in `kept`.
    lies_at: Option<Range<usize>>,
    kept: Vec<u8>,
}

/// The fields that mean something.
enum Field {
    Event,
    Data,
    Id,
    Retry,
    Unknown,
}

impl Block {
    /// Takes a line that is neither blank nor a comment. `at` is its place in `chunk`, if it
    /// lies there whole.
    pub(super) fn on_line(
        &mut self,
        line: &[u8],
        at: Option<usize>,
        chunk: &[u8],
        bytes_max: usize,
    ) {
        let (field, value_at) = split(line);
        let value = line.get(value_at..).unwrap_or_default();
        let at = at.map(|at| at + value_at);
        match field {
            Field::Event => self.on_name(value, at, bytes_max),
            Field::Data => self.on_data(value, at, chunk, bytes_max),
            Field::Id => self.on_id(value),
            Field::Retry => self.on_retry(value),
            Field::Unknown => {}
        }
    }

    /// The block is complete: its id comes into force. Says whether there is something to
    /// dispatch; if not, the next block has begun.
    pub(super) fn on_blank(&mut self) -> bool {
        if self.has_id {
            self.last_id.clone_from(&self.next_id);
        }
        let dispatches = self.has_data || self.is_oversize;
        if !dispatches {
            self.clear();
        }
        dispatches
    }

    /// The event is over a limit: its data is dropped, its name and id are still heeded.
    pub(super) fn give_up(&mut self) {
        self.is_oversize = true;
        self.data.clear();
    }

    /// Copies what still lies in `chunk`, which is about to go.
    pub(super) fn settle(&mut self, chunk: &[u8]) {
        self.name.settle(chunk);
        self.data.settle(chunk);
    }

    /// Begins the next block.
    pub(super) fn clear(&mut self) {
        self.name.clear();
        self.data.clear();
        self.has_data = false;
        self.is_oversize = false;
        self.has_id = false;
    }

    fn on_name(&mut self, value: &[u8], at: Option<usize>, bytes_max: usize) {
        if value.len() + self.data.len() > bytes_max {
            self.give_up();
        }
        if value.len() > bytes_max {
            self.name.clear();
        } else {
            self.name.set(value, at);
        }
    }

    fn on_data(&mut self, value: &[u8], at: Option<usize>, chunk: &[u8], bytes_max: usize) {
        let joins = self.has_data;
        self.has_data = true;
        let total = self.name.len() + self.data.len() + usize::from(joins) + value.len();
        if self.is_oversize || total > bytes_max {
            self.give_up();
        } else if joins {
            self.data.add_line(value, chunk);
        } else {
            self.data.set(value, at);
        }
    }

    fn on_id(&mut self, value: &[u8]) {
        if value.len() > ID_BYTES_MAX || memchr(0, value).is_some() {
            return;
        }
        let id = String::from_utf8_lossy(value);
        if id.len() <= ID_BYTES_MAX {
            self.next_id.clear();
            self.next_id.push_str(&id);
            self.has_id = true;
        }
    }

    fn on_retry(&mut self, value: &[u8]) {
        if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
            return;
        }
        let millis = value.iter().fold(0_u64, |millis, digit| {
            millis.saturating_mul(10).saturating_add(u64::from(digit - b'0'))
        });
        self.retry_millis = Some(millis);
    }

    /// The event's name as it came; empty if there is none.
    pub(super) fn name<'a>(&'a self, chunk: &'a [u8]) -> &'a [u8] {
        self.name.bytes(chunk)
    }

    /// The event's data as it came, lines joined with LF.
    pub(super) fn data<'a>(&'a self, chunk: &'a [u8]) -> &'a [u8] {
        self.data.bytes(chunk)
    }

    /// Whether a line of an event has come.
    pub(super) fn has_begun(&self) -> bool {
        self.has_data || self.is_oversize || self.has_id || self.name.len() != 0
    }

    pub(super) const fn is_oversize(&self) -> bool {
        self.is_oversize
    }

    pub(super) const fn has_id(&self) -> bool {
        self.has_id
    }

    pub(super) fn last_event_id(&self) -> &str {
        &self.last_id
    }

    pub(super) const fn retry_millis(&self) -> Option<u64> {
        self.retry_millis
    }

    /// Memory held.
    pub(super) const fn capacity(&self) -> usize {
        self.name.kept.capacity()
            + self.data.kept.capacity()
            + self.next_id.capacity()
            + self.last_id.capacity()
    }
}

impl Value {
    fn set(&mut self, value: &[u8], at: Option<usize>) {
        self.clear();
        match at {
            Some(at) => self.lies_at = Some(at..at + value.len()),
            None => self.kept.extend_from_slice(value),
        }
    }

    fn add_line(&mut self, line: &[u8], chunk: &[u8]) {
        self.settle(chunk);
        self.kept.push(b'\n');
        self.kept.extend_from_slice(line);
    }

    fn settle(&mut self, chunk: &[u8]) {
        if let Some(range) = self.lies_at.take() {
            self.kept.extend_from_slice(chunk.get(range).unwrap_or_default());
        }
    }

    fn clear(&mut self) {
        self.lies_at = None;
        self.kept.clear();
        self.kept.shrink_to(RETAINED_BYTES_MAX);
    }

    fn bytes<'a>(&'a self, chunk: &'a [u8]) -> &'a [u8] {
        match &self.lies_at {
            Some(range) => chunk.get(range.clone()).unwrap_or_default(),
            None => &self.kept,
        }
    }

    fn len(&self) -> usize {
        self.lies_at.as_ref().map_or(self.kept.len(), ExactSizeIterator::len)
    }
}

/// The field of a line, and where in the line its value begins.
fn split(line: &[u8]) -> (Field, usize) {
    let colon = memchr(b':', line);
    let field = match line.get(..colon.unwrap_or(line.len())) {
        Some(b"data") => Field::Data,
        Some(b"event") => Field::Event,
        Some(b"id") => Field::Id,
        Some(b"retry") => Field::Retry,
        Some(_) | None => Field::Unknown,
    };
    let value_at = colon.map_or(line.len(), |colon| {
        // One space after the colon is part of the syntax; a second one or a tab is not.
        colon + 1 + usize::from(line.get(colon + 1) == Some(&b' '))
    });
    (field, value_at)
}
