//! The `id:` line: which event of which log, and where the log's sources stood.
//!
//! `1.<epoch>.<sequence>[.<owner><marks>[.<source><id>]…]`: a form version, the log's random epoch
//! and the sequence in lower-case base 32; then, in the digits of base64url, whose log it is (5
//! digits), a [`Mark`] for each source (12 each), and ids by which backends replay, where they
//! fit. At most 128 bytes of `[A-Za-z0-9._~-]`, since browsers preflight other ids on reconnect.
//! Opaque to clients, and not believed: whatever comes back only asks for what is the client's
//! own. Not here: replay (`channel`), what a log of another epoch gives (`restore`).

use sha2::{Digest as _, Sha256};

use super::time::UnixMillis;

/// A longer cursor was not made here.
pub const CURSOR_BYTES_MAX: usize = 128;
/// Sources that a cursor has a mark for: as many as fit. Those after them cannot be resumed by
/// another log.
pub const MARKS_MAX: usize = 7;

const VERSION: &str = "1";
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";
/// 13 digits of 5 bits hold 64 bits.
const NUMBER_DIGITS_MAX: usize = 13;
const DENSE_DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
const OWNER_DIGITS: usize = 5;
const MARK_DIGITS: usize = 12;
/// After the dot and the owner.
const MARKS_AT: usize = 1 + OWNER_DIGITS;

/// Times of a mark are 42 bits, up to the year 2109; the vocabulary's end in 2100.
const TIME_MAX: i64 = (1 << 42) - 1;
const TRACE_BITS: u32 = 28;

/// What tells one event of a source from its neighbours: 28 bits, never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace(u32);

impl Trace {
    /// Cuts a hash down.
    #[must_use]
    pub const fn new(hash: u64) -> Self {
        // The low bits, and not the high ones: any will do. 0 stands for "none" in a mark.
        let bits = (hash & ((1 << TRACE_BITS) - 1)) as u32;
        Self(if bits == 0 { 1 } else { bits })
    }
}

/// How far a source was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// The time of the latest event, by the backend's clock where it gives one.
    pub at: UnixMillis,
    /// The last event of those that histories keep.
    pub last: Option<Trace>,
    /// Whether nothing came after it that histories may not keep.
    pub is_exact: bool,
    /// Whether a part of the history was told that is asked for by name.
    pub has_parts: bool,
}

impl Mark {
    /// Everything before this moment, no event known.
    #[must_use]
    pub const fn since(at: UnixMillis) -> Self {
        Self { at, last: None, is_exact: false, has_parts: false }
    }

    fn write(self, digits: &mut [u8]) {
        let at = self.at.0.clamp(0, TIME_MAX).unsigned_abs();
        let last = self.last.map_or(0, |trace| u64::from(trace.0));
        let (time, rest) = digits.split_at_mut(MARK_DIGITS - OWNER_DIGITS);
        write_dense(time, at);
        write_dense(rest, last << 2 | u64::from(self.is_exact) << 1 | u64::from(self.has_parts));
    }

    fn parse(digits: &[u8]) -> Option<Self> {
        let (time, rest) = digits.split_at_checked(MARK_DIGITS - OWNER_DIGITS)?;
        let (time, rest) = (dense(time)?, dense(rest)?);
        let last = u32::try_from(rest >> 2).ok()?;
        Some(Self {
            at: UnixMillis(i64::try_from(time).ok()?),
            last: (last != 0).then_some(Trace(last)),
            is_exact: rest & 2 != 0,
            has_parts: rest & 1 != 0,
        })
    }
}

/// Whose log a cursor is of: 30 bits of a digest. A mark of somebody else's is of no use, but it
/// would be told as a loss that was none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Owner(u32);

impl Owner {
    /// Of a log that is known by these texts. The same on every node, in every version.
    #[must_use]
    pub fn new<'a>(texts: impl IntoIterator<Item = &'a str>) -> Self {
        let mut digest = Sha256::new();
        for text in texts {
            digest.update((text.len() as u64).to_be_bytes());
            digest.update(text.as_bytes());
        }
        let bits =
            digest.finalize().iter().take(4).fold(0, |bits, byte| bits << 8 | u32::from(*byte));
        Self(bits >> 2)
    }
}

/// A position in a log: everything up to and including `sequence` was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Which log. Random, so a log of another process never matches.
    pub epoch: u64,
    /// Whose log, if it says so.
    pub owner: Option<Owner>,
    /// Which event of it, from 1.
    pub sequence: u64,
    /// How far each source was told. At most [`MARKS_MAX`].
    pub marks: Vec<Mark>,
    /// Ids by which backends replay, each with the number of its source.
    pub replay_ids: Vec<(usize, String)>,
}

impl Cursor {
    /// Reads what a client sent back; `None` for whatever was not made here.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > CURSOR_BYTES_MAX {
            return None;
        }
        let mut parts = text.split('.');
        let (version, epoch, sequence) = (parts.next()?, parts.next()?, parts.next()?);
        if version != VERSION {
            return None;
        }
        let (epoch, sequence) = (number(epoch)?, number(sequence)?);
        let (mut owner, mut marks) = (None, Vec::new());
        if let Some(part) = parts.next() {
            let (digits, rest) = part.as_bytes().split_at_checked(OWNER_DIGITS)?;
            owner = Some(Owner(u32::try_from(dense(digits)?).ok()?));
            marks = rest.chunks(MARK_DIGITS).map(Mark::parse).collect::<Option<_>>()?;
        }
        let mut replay_ids = Vec::new();
        for part in parts {
            let (source, id) = part.split_at_checked(1)?;
            let source = usize::try_from(dense(source.as_bytes())?).ok()?;
            is_replayable(id).then(|| replay_ids.push((source, id.to_owned())))?;
        }
        Some(Self { epoch, owner, sequence, marks, replay_ids })
    }

    /// The mark of a source.
    #[must_use]
    pub fn mark(&self, source: usize) -> Option<Mark> {
        self.marks.get(source).copied()
    }

    /// The id by which a source's backend replays.
    #[must_use]
    pub fn replay_id(&self, source: usize) -> Option<&str> {
        let ids = self.replay_ids.iter().find(|(of, _)| *of == source);
        ids.map(|(_, id)| id.as_str())
    }
}

/// Whether an id can stand in a cursor.
fn is_replayable(id: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"_~-".contains(&byte);
    !id.is_empty() && id.bytes().all(is_fit)
}

/// Writes the cursors of one log, one after another. Hot path: runs once per event; what is the
/// same from one to the next is copied.
pub struct CursorWriter {
    text: Vec<u8>,
    head_bytes: usize,
    tail: Vec<u8>,
    marks_end: usize,
    replay_ids: Vec<(usize, String)>,
}

impl CursorWriter {
    /// For a log with these sources; without an owner, cursors are of no use elsewhere.
    #[must_use]
    pub fn new(epoch: u64, owner: Option<Owner>, marks: &[Mark]) -> Self {
        let mut text = Vec::with_capacity(CURSOR_BYTES_MAX);
        text.extend_from_slice(VERSION.as_bytes());
        text.push(b'.');
        push_number(&mut text, epoch);
        text.push(b'.');
        let marks = marks.get(..MARKS_MAX).unwrap_or(marks);
        let mut tail = Vec::with_capacity(CURSOR_BYTES_MAX);
        if let Some(owner) = owner {
            tail.resize(MARKS_AT + MARK_DIGITS * marks.len(), b'.');
            if let Some(digits) = tail.get_mut(1..MARKS_AT) {
                write_dense(digits, u64::from(owner.0));
            }
        }
        let (head_bytes, marks_end) = (text.len(), tail.len());
        let mut writer = Self { text, head_bytes, tail, marks_end, replay_ids: Vec::new() };
        for (source, mark) in marks.iter().enumerate() {
            writer.set_mark(source, *mark);
        }
        writer
    }

    /// A source was told up to here.
    pub fn set_mark(&mut self, source: usize, mark: Mark) {
        let at = MARKS_AT + MARK_DIGITS * source.min(MARKS_MAX);
        let marks = self.tail.get_mut(..self.marks_end);
        if let Some(digits) = marks.and_then(|marks| marks.get_mut(at..at + MARK_DIGITS)) {
            mark.write(digits);
        }
    }

    /// A source's backend would replay from this id on. One that does not fit is left out.
    pub fn set_replay_id(&mut self, source: usize, id: &str) {
        match self.replay_ids.iter_mut().find(|(of, _)| *of == source) {
            Some((_, known)) if known == id => return,
            Some((_, known)) => id.clone_into(known),
            None => self.replay_ids.push((source, id.to_owned())),
        }
        self.tail.truncate(self.marks_end);
        let room = CURSOR_BYTES_MAX - self.head_bytes - NUMBER_DIGITS_MAX;
        for (source, id) in &self.replay_ids {
            let digit = DENSE_DIGITS.get(*source).filter(|_| is_replayable(id));
            if let Some(digit) = digit
                && self.marks_end > 0
                && self.tail.len() + 2 + id.len() <= room
            {
                self.tail.extend_from_slice(&[b'.', *digit]);
                self.tail.extend_from_slice(id.as_bytes());
            }
        }
    }

    /// The cursor of this event.
    pub fn write(&mut self, sequence: u64) -> &str {
        self.text.truncate(self.head_bytes);
        push_number(&mut self.text, sequence);
        self.text.extend_from_slice(&self.tail);
        // Digits, dots, and ids of the same letters alone.
        std::str::from_utf8(&self.text).unwrap_or_default()
    }
}

fn push_number(out: &mut Vec<u8>, number: u64) {
    let used = (u64::BITS - number.leading_zeros()).div_ceil(5).max(1);
    for place in (0..used).rev() {
        let digit = DIGITS.get((number >> (5 * place) & 31) as usize);
        out.push(digit.copied().unwrap_or_default());
    }
}

fn number(text: &str) -> Option<u64> {
    if text.is_empty()
        || text.len() > NUMBER_DIGITS_MAX
        || (text.len() > 1 && text.starts_with('0'))
    {
        return None;
    }
    text.bytes().try_fold(0_u64, |number, byte| {
        let digit = DIGITS.iter().position(|digit| *digit == byte)?;
        number.checked_mul(32)?.checked_add(digit as u64)
    })
}

fn write_dense(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = DENSE_DIGITS.get((number & 63) as usize).copied().unwrap_or_default();
        number >>= 6;
    }
}

fn dense(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |number, byte| {
        let digit = DENSE_DIGITS.iter().position(|digit| digit == byte)?;
        number.checked_mul(64)?.checked_add(digit as u64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mark(at: i64, last: u64) -> Mark {
        Mark {
            at: UnixMillis(at),
            last: Some(Trace::new(last)),
            is_exact: last.is_multiple_of(2),
            has_parts: last.is_multiple_of(3),
        }
    }

    fn owner() -> Option<Owner> {
        Some(Owner::new(["/events", "acme", "jane"]))
    }

    #[test]
    fn cursors_come_back_as_they_went() {
        for (epoch, sequence) in [(0, 1), (1, 31), (u64::MAX, u64::MAX), (32, 1 << 40), (9, 64)] {
            for count in 0..=MARKS_MAX {
                let times = [0, 1_768_000_000_000, TIME_MAX];
                let marks: Vec<_> =
                    (0..count).map(|n| mark(times[n % 3], 7 << (5 * n) | n as u64)).collect();
                let mut writer = CursorWriter::new(epoch, owner(), &vec![mark(5, 5); count]);
                for (source, mark) in marks.iter().enumerate() {
                    writer.set_mark(source, *mark);
                }
                writer.set_replay_id(1, "not in a cursor!");
                writer.set_replay_id(2, "old");
                writer.set_replay_id(2, "1234");
                let text = writer.write(sequence).to_owned();
                let replay_ids = vec![(2, "1234".to_owned())];
                let cursor = Cursor { epoch, owner: owner(), sequence, marks, replay_ids };
                assert_eq!(Cursor::parse(&text), Some(cursor), "{text}");
                assert!(text.len() <= CURSOR_BYTES_MAX, "{text}");
                assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b)));
            }
        }
    }

    #[test]
    fn an_id_that_does_not_fit_is_left_out() {
        for (bytes, fits) in [(1, true), (7, true), (8, false), (4096, false)] {
            let mut writer = CursorWriter::new(u64::MAX, owner(), &[mark(1, 1); MARKS_MAX]);
            writer.set_replay_id(0, &"a".repeat(bytes));
            let text = writer.write(u64::MAX);
            assert!(text.len() <= CURSOR_BYTES_MAX, "{text}");
            let cursor = Cursor::parse(text).expect("a cursor");
            assert_eq!(cursor.replay_id(0).is_some(), fits, "{bytes}");
        }
    }

    #[test]
    fn sources_past_the_limit_have_no_mark() {
        let mut writer = CursorWriter::new(1, owner(), &[mark(1, 1); MARKS_MAX + 3]);
        writer.set_mark(MARKS_MAX + 1, mark(2, 2));
        writer.set_replay_id(70, "a");
        let cursor = Cursor::parse(writer.write(u64::MAX)).expect("a cursor");
        assert_eq!(cursor.marks, [mark(1, 1); MARKS_MAX]);
        assert_eq!(cursor.replay_ids, []);
    }

    #[test]
    fn owners_differ_by_any_text() {
        assert_ne!(Owner::new(["ab", "c"]), Owner::new(["a", "bc"]));
        assert_ne!(owner(), Some(Owner::new(["/events", "acme", "john"])));
    }

    #[test]
    fn a_capture_has_bare_cursors() {
        let mut writer = CursorWriter::new(0, None, &[mark(1, 1)]);
        writer.set_mark(0, mark(2, 2));
        writer.set_replay_id(0, "a");
        assert_eq!(writer.write(32), "1.0.10");
        let (marks, replay_ids) = (Vec::new(), Vec::new());
        let bare = Cursor { epoch: 0, owner: None, sequence: 32, marks, replay_ids };
        assert_eq!(Cursor::parse("1.0.10"), Some(bare));
    }

    #[test]
    fn garbage_is_no_cursor() {
        let good = "1.0.1.AAAAB";
        assert!(Cursor::parse(good).is_some());
        let mark = "A".repeat(MARK_DIGITS);
        assert!(Cursor::parse(&format!("{good}{mark}.Aid")).is_some());
        for text in [
            "",
            "1",
            "1.0",
            "2.0.1",
            "1..1",
            "1.00.1",
            "1.0.i",
            "1.0.-1",
            "1.0.1\n",
            "1.zzzzzzzzzzzzzz.1",
            "1.0.1.",
            "1.0.1.AAAA",
            "1.0.1.AAAA+",
            "1.0.1.AAAABAAA",
            "1.0.1.AAAA\u{e9}",
            "1.0.1.AAAAB.",
            "1.0.1.AAAAB.A",
            "1.0.1.AAAAB.Aa b",
            "1.0.1.AAAAB.~id",
            "1.0.1.AAAAB.\u{e9}",
            &format!("{good}{}", mark.repeat(20)),
        ] {
            assert_eq!(Cursor::parse(text), None, "{text:?}");
        }
    }
}
