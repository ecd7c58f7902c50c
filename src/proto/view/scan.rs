//! The scan of a JSON text: its grammar (RFC 8259) held against it, byte by byte, once.
//!
//! One loop without recursion; the way back out of nested values is kept in their own nodes.
//! Strings are passed over eight bytes at a time, and unescaped on the way where they must be.
//! Hot path: runs once per frame. Not here: looking values up.

use crate::proto::json::{DEPTH_MAX, special, special_at};

/// One value, with the key in front of it if it is a field's.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) kind: Kind,
    pub(super) is_key_escaped: bool,
    /// Where the key stands in the text, without its quotes.
    pub(super) key_start: u32,
    pub(super) key_end: u32,
    /// Where the value stands, quotes and brackets included.
    pub(super) start: u32,
    pub(super) end: u32,
    /// Of an array or object: the node after all its parts; the node around it, as long as it is
    /// open. Of a string with escapes: where it stands unescaped.
    pub(super) link: u32,
    /// Of a string with escapes: its length unescaped.
    pub(super) text_bytes: u32,
}

impl Node {
    /// The node after this one, which stands there, and after all its parts.
    pub(super) const fn next(&self, at: usize) -> usize {
        match self.kind {
            Kind::Array | Kind::Object => self.link as usize,
            Kind::Null | Kind::True | Kind::False | Kind::Number | Kind::Plain | Kind::Escaped => {
                at + 1
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Null,
    True,
    False,
    Number,
    /// A string that is what stands between its quotes.
    Plain,
    /// A string with escapes.
    Escaped,
    Array,
    Object,
}

/// No array or object is open.
const NONE: u32 = u32::MAX;

/// The key of the value that is read next.
#[derive(Clone, Copy, Default)]
struct Key {
    start: u32,
    end: u32,
    is_escaped: bool,
}

/// Where the scan stands is passed along, from each step to the next, so that it stays in a
/// register: what follows returns where it left off, `None` for what is no JSON.
pub(super) struct Scanner<'a> {
    bytes: &'a [u8],
    nodes: Vec<Node>,
    unescaped: Vec<u8>,
    /// The innermost array or object that is open.
    open: u32,
    is_in_object: bool,
    levels_left: usize,
}

impl<'a> Scanner<'a> {
    /// The nodes of one whole value, and what its strings with escapes say.
    pub(super) fn scan(text: &'a str) -> Option<(Vec<Node>, String)> {
        /// Seldom is there more than a value in so many bytes.
        const BYTES_PER_NODE: usize = 20;
        // Places are 32 bits; no text comes near.
        u32::try_from(text.len()).ok()?;
        let mut scanner = Scanner {
            bytes: text.as_bytes(),
            nodes: Vec::with_capacity(text.len() / BYTES_PER_NODE + 2),
            unescaped: Vec::new(),
            open: NONE,
            is_in_object: false,
            levels_left: DEPTH_MAX,
        };
        let end = scanner.run()?;
        let is_whole = scanner.skip_space(end).is_none();
        // Whole characters were copied, and whole characters put in between.
        let unescaped = String::from_utf8(scanner.unescaped).unwrap_or_default();
        is_whole.then_some((scanner.nodes, unescaped))
    }

    /// Value after value, until the outermost is whole.
    fn run(&mut self) -> Option<usize> {
        let (mut at, mut key) = (0, Key::default());
        loop {
            let (byte, start) = self.skip_space(at)?;
            at = match byte {
                b'"' => self.text(key, start)?,
                b'{' => self.open(key, Kind::Object, start)?,
                b'[' => self.open(key, Kind::Array, start)?,
                _ => self.scalar(key, byte, start)?,
            };
            // What opens may be empty; after a whole value another one may follow.
            let (mut byte, mut there) = match (byte, self.open) {
                (b'{' | b'[', _) => {
                    let (byte, there) = self.skip_space(at)?;
                    if byte != if self.is_in_object { b'}' } else { b']' } {
                        key = if self.is_in_object { self.key(&mut at)? } else { Key::default() };
                        continue;
                    }
                    (byte, there)
                }
                (_, NONE) => return Some(at),
                _ => self.skip_space(at)?,
            };
            while byte != b',' {
                if byte != if self.is_in_object { b'}' } else { b']' } {
                    return None;
                }
                at = there + 1;
                self.close(at)?;
                if self.open == NONE {
                    return Some(at);
                }
                (byte, there) = self.skip_space(at)?;
            }
            at = there + 1;
            key = if self.is_in_object { self.key(&mut at)? } else { Key::default() };
        }
    }

    /// A field's key, its colon included.
    #[inline]
    fn key(&mut self, at: &mut usize) -> Option<Key> {
        let (b'"', quote) = self.skip_space(*at)? else { return None };
        let (mut end, is_escaped) = self.string(quote)?;
        if is_escaped {
            let kept = self.unescaped.len();
            end = self.unescape(quote + 1, end)?;
            // Keys with escapes are so rare that they are unescaped again when they are read.
            self.unescaped.truncate(kept);
        }
        let (b':', colon) = self.skip_space(end)? else { return None };
        *at = colon + 1;
        Some(Key { start: quote as u32 + 1, end: end as u32 - 1, is_escaped })
    }

    /// A string as a value.
    #[inline]
    fn text(&mut self, key: Key, start: usize) -> Option<usize> {
        let (end, is_escaped) = self.string(start)?;
        if is_escaped {
            return self.escaped(key, start, end);
        }
        self.push(key, Kind::Plain, start, end);
        Some(end)
    }

    /// The string that begins there: up to its end, or up to its first escape.
    #[inline]
    fn string(&self, quote: usize) -> Option<(usize, bool)> {
        let text = self.bytes.get(quote + 1..)?;
        let plain = special_at(text)?;
        match text.get(plain)? {
            b'"' => Some((quote + plain + 2, false)),
            b'\\' => Some((quote + plain + 1, true)),
            // A bare control character.
            _ => None,
        }
    }

    /// A string as a value whose first escape stands there.
    fn escaped(&mut self, key: Key, start: usize, at: usize) -> Option<usize> {
        let kept = self.unescaped.len();
        let end = self.unescape(start + 1, at)?;
        let text_bytes = (self.unescaped.len() - kept) as u32;
        self.push(key, Kind::Escaped, start, end);
        let node = self.nodes.last_mut()?;
        node.link = kept as u32;
        node.text_bytes = text_bytes;
        Some(end)
    }

    /// Unescapes what begins at `start` and has its first escape at `at`.
    fn unescape(&mut self, start: usize, at: usize) -> Option<usize> {
        // No string is longer than its escaped form, and so all that follow find room.
        self.unescaped.reserve(self.bytes.len() - start);
        self.unescaped.extend_from_slice(self.bytes.get(start..at)?);
        let rest = unescape_from(self.bytes.get(at..)?, &mut self.unescaped)?;
        Some(self.bytes.len() - rest.len())
    }

    /// A number, or one of the three words.
    fn scalar(&mut self, key: Key, first: u8, start: usize) -> Option<usize> {
        let rest = self.bytes.get(start..)?;
        let word = |word: &[u8]| rest.starts_with(word).then(|| start + word.len());
        let (kind, end) = match first {
            b't' => (Kind::True, word(b"true")?),
            b'f' => (Kind::False, word(b"false")?),
            b'n' => (Kind::Null, word(b"null")?),
            _ => (Kind::Number, self.bytes.len() - after_number(rest)?.len()),
        };
        self.push(key, kind, start, end);
        Some(end)
    }

    /// The next byte that is no white space, and where it stands.
    #[inline]
    fn skip_space(&self, mut at: usize) -> Option<(u8, usize)> {
        loop {
            let byte = *self.bytes.get(at)?;
            if byte > b' ' || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some((byte, at));
            }
            at += 1;
        }
    }

    /// Notes a value. The text's length fits 32 bits, so what stands in it does, and there are
    /// fewer values than bytes.
    #[inline]
    fn push(&mut self, key: Key, kind: Kind, start: usize, end: usize) {
        self.nodes.push(Node {
            kind,
            is_key_escaped: key.is_escaped,
            key_start: key.start,
            key_end: key.end,
            start: start as u32,
            end: end as u32,
            link: self.open,
            text_bytes: 0,
        });
    }

    /// Notes a value whose parts follow, and steps over its bracket.
    fn open(&mut self, key: Key, kind: Kind, start: usize) -> Option<usize> {
        self.levels_left = self.levels_left.checked_sub(1)?;
        let node = self.nodes.len() as u32;
        self.push(key, kind, start, start);
        self.open = node;
        self.is_in_object = kind == Kind::Object;
        Some(start + 1)
    }

    /// Completes the innermost value that is open.
    fn close(&mut self, end: usize) -> Option<()> {
        let next = self.nodes.len() as u32;
        let node = self.nodes.get_mut(self.open as usize)?;
        node.end = end as u32;
        self.open = node.link;
        node.link = next;
        self.levels_left += 1;
        let around = self.nodes.get(self.open as usize);
        self.is_in_object = around.is_some_and(|node| node.kind == Kind::Object);
        Some(())
    }
}

/// What follows a number.
fn after_number(text: &[u8]) -> Option<&[u8]> {
    fn after_digits(text: &[u8]) -> Option<&[u8]> {
        let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits > 0 { text.get(digits..) } else { None }
    }
    let text = text.strip_prefix(b"-").unwrap_or(text);
    let mut rest = match text {
        [b'0', rest @ ..] => rest,
        _ => after_digits(text)?,
    };
    if let [b'.', fraction @ ..] = rest {
        rest = after_digits(fraction)?;
    }
    if let [b'e' | b'E', exponent @ ..] = rest {
        let digits = match exponent {
            [b'+' | b'-', digits @ ..] => digits,
            digits => digits,
        };
        rest = after_digits(digits)?;
    }
    Some(rest)
}

/// Appends what a string says from there on. Returns what follows its closing quote; `None` if
/// it has none, or holds what no string may.
fn unescape_from<'t>(mut rest: &'t [u8], out: &mut Vec<u8>) -> Option<&'t [u8]> {
    loop {
        // Escapes stand close together where JSON is escaped: eight bytes are copied whatever
        // they are, and cut off again.
        if let Some((eight, after)) = rest.split_first_chunk::<8>() {
            let kept = out.len();
            out.extend_from_slice(eight);
            let hits = special(u64::from_le_bytes(*eight));
            if hits == 0 {
                rest = after;
                continue;
            }
            let plain = hits.trailing_zeros() as usize / 8;
            out.truncate(kept + plain);
            rest = rest.get(plain..)?;
        } else {
            let plain = special_at(rest)?;
            out.extend_from_slice(rest.get(..plain)?);
            rest = rest.get(plain..)?;
        }
        let [b'\\', escaped, after @ ..] = rest else {
            // The end, or a bare control character.
            return rest.strip_prefix(b"\"");
        };
        let byte = match escaped {
            b'"' | b'\\' | b'/' => *escaped,
            b'n' => b'\n',
            b't' => b'\t',
            b'r' => b'\r',
            b'b' => 8,
            b'f' => 12,
            b'u' => {
                let (c, used) = unicode_escape(rest)?;
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                rest = rest.get(used..)?;
                continue;
            }
            _ => return None,
        };
        out.push(byte);
        rest = after;
    }
}

/// The character of a `\uXXXX` or of a pair of them, and how many bytes it took. An unpaired
/// surrogate is replaced.
fn unicode_escape(escape: &[u8]) -> Option<(char, usize)> {
    let unit = |from: usize| {
        let digits = escape.get(from..from + 6)?.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0, |unit, digit| Some(unit * 16 + char::from(*digit).to_digit(16)?))
    };
    let first = unit(0)?;
    if let Some(c) = char::from_u32(first) {
        return Some((c, 6));
    }
    let pair = unit(6).filter(|second| first < 0xDC00 && (0xDC00..0xE000).contains(second));
    let paired = pair
        .and_then(|second| char::from_u32(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)));
    Some(paired.map_or((char::REPLACEMENT_CHARACTER, 6), |c| (c, 12)))
}

/// The text that stands between the quotes of a valid string; unpaired surrogates are replaced.
pub(super) fn unescape(inner: &str) -> String {
    let mut quoted = Vec::with_capacity(inner.len() + 1);
    quoted.extend_from_slice(inner.as_bytes());
    quoted.push(b'"');
    let mut text = Vec::with_capacity(quoted.len());
    let _ = unescape_from(&quoted, &mut text);
    // Whole characters were copied, and whole characters put in between.
    String::from_utf8(text).unwrap_or_default()
}
