//! The second reading of a derived frame that is no JSON.
//!
//! The older plugins paste what users typed between quotes as it is, so a quote, a backslash or a
//! line break breaks the frame. [`repair`] reads such a frame by what its template must look like
//! and writes it anew as strict JSON. Work and memory are linear in the text, whatever it holds.
//! Not here: what the fields mean (`frames`), and the first of equal keys counting (`Object`).

#[cfg(test)]
use std::cell::Cell;

use crate::proto::json::{self, DEPTH_MAX};

/// The keys beside which a `body` stands. Only they may follow one: what a user typed is ended
/// by as little as possible.
const BESIDE_BODY: &[&str] = &["type", "to", "from", "data"];

/// Reads a broken object whose template has these keys. What comes out looks like an object and
/// still is to be parsed; `None`: it cannot be read.
///
/// A quote inside a string ends it only at the end of the frame, or before a known key that was
/// not seen yet: whatever a user types, what the template wrote before it stands.
pub(super) fn repair(text: &str, known: &[&str]) -> Option<String> {
    Reader::new(text, known)?.object()
}

struct Reader<'a> {
    bytes: &'a [u8],
    text: &'a str,
    at: usize,
    /// Where the last `}` stands: nothing but white space follows it.
    end: usize,
    /// Where the last byte before [`end`](Self::end) stands that is no white space.
    last: usize,
    known: &'a [&'a str],
    /// Which of `known` were seen, a bit each.
    seen: u64,
    /// The string being read is the body.
    is_body: bool,
    out: Vec<u8>,
    #[cfg(test)]
    work: Cell<usize>,
}

const fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, known: &'a [&'a str]) -> Option<Self> {
        let text = text.trim_matches([' ', '\t', '\n', '\r']);
        if !text.starts_with('{') {
            return None;
        }
        let end = text.strip_suffix('}')?.len();
        let inner = text.get(..end)?.trim_end_matches([' ', '\t', '\n', '\r']);
        Some(Self {
            bytes: text.as_bytes(),
            text,
            at: 1,
            end,
            last: inner.len().checked_sub(1)?,
            known,
            seen: 0,
            is_body: false,
            out: Vec::with_capacity(text.len() + text.len() / 8),
            #[cfg(test)]
            work: Cell::new(0),
        })
    }

    fn object(&mut self) -> Option<String> {
        self.out.push(b'{');
        loop {
            self.skip_space();
            if self.at == self.end {
                break;
            }
            if self.out.len() > 1 {
                self.out.push(b',');
            }
            let key = self.key()?;
            self.skip_space();
            self.take(b':')?;
            self.out.push(b':');
            self.skip_space();
            self.value(key)?;
            self.skip_space();
            if self.at < self.end {
                self.take(b',')?;
            }
        }
        self.out.push(b'}');
        // Whole characters were copied, or ASCII was written.
        String::from_utf8(std::mem::take(&mut self.out)).ok()
    }

    fn key(&mut self) -> Option<&'a str> {
        let quote = self.quote()?;
        let start = self.at + 1;
        self.string(quote, |_, _| true)?;
        let key = self.text.get(start..self.at - 1)?;
        if let Some(index) = self.known.iter().position(|known| *known == key) {
            self.seen |= bit(index);
        }
        Some(key)
    }

    fn value(&mut self, key: &str) -> Option<()> {
        self.is_body = key == "body";
        if let Some(quote) = self.quote() {
            return self.string(quote, Self::is_end);
        }
        if self.is_body {
            return self.bare_body();
        }
        match self.byte(self.at)? {
            b'{' | b'[' => self.nested(),
            _ => self.scalar(),
        }
    }

    /// The quote that stands here.
    fn quote(&self) -> Option<u8> {
        self.byte(self.at).filter(|byte| matches!(byte, b'"' | b'\''))
    }

    /// Reads a string from its opening quote; `is_end` says which quote closes it.
    fn string(&mut self, quote: u8, is_end: fn(&Self, usize) -> bool) -> Option<()> {
        self.out.push(b'"');
        self.at += 1;
        loop {
            // The last `}` is never part of a string.
            let byte = self.byte(self.at).filter(|_| self.at < self.end)?;
            if byte == quote && is_end(self, self.at) {
                self.at += 1;
                self.out.push(b'"');
                return Some(());
            }
            self.at += 1;
            match byte {
                b'\\' => self.escape(quote),
                b'"' => self.out.extend_from_slice(b"\\\""),
                0..=0x1F => self.control(byte),
                _ => self.out.push(byte),
            }
        }
    }

    /// What follows a backslash: an escape of JSON's stands, anything else follows as it is.
    fn escape(&mut self, quote: u8) {
        let taken = match self.byte(self.at) {
            // The text ended in a backslash, and this is the closing quote.
            Some(byte) if byte == quote && self.is_end(self.at) => 0,
            Some(b'\'') if quote == b'\'' => {
                self.out.push(b'\'');
                self.at += 1;
                return;
            }
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => 1,
            Some(b'u')
                if (1..=4)
                    .all(|n| self.byte(self.at + n).is_some_and(|b| b.is_ascii_hexdigit())) =>
            {
                5
            }
            _ => 0,
        };
        let escape = self.bytes.get(self.at..self.at + taken).unwrap_or_default();
        self.out.extend_from_slice(if taken == 0 { b"\\\\" } else { b"\\" });
        self.out.extend_from_slice(escape);
        self.at += taken;
    }

    fn control(&mut self, byte: u8) {
        self.out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
    }

    /// Whether the quote there closes a top-level value.
    fn is_end(&self, at: usize) -> bool {
        at == self.last || self.byte(at).is_some_and(|quote| self.is_next_key(at + 1, Some(quote)))
    }

    /// Whether there is a comma, a known key not yet seen, quoted, and a colon.
    fn is_next_key(&self, at: usize, quote: Option<u8>) -> bool {
        let comma = self.space_end(at);
        if self.byte(comma) != Some(b',') {
            return false;
        }
        let open = self.space_end(comma + 1);
        let Some(found) = self
            .byte(open)
            .filter(|byte| quote.map_or(matches!(byte, b'"' | b'\''), |q| *byte == q))
        else {
            return false;
        };
        let rest = self.bytes.get(open + 1..self.end).unwrap_or_default();
        self.known.iter().enumerate().any(|(index, key)| {
            self.seen & bit(index) == 0
                && (!self.is_body || BESIDE_BODY.contains(key))
                && rest.starts_with(key.as_bytes())
                && rest.get(key.len()) == Some(&found)
                && self.byte(self.space_end(open + 2 + key.len())) == Some(b':')
        })
    }

    /// A body without quotes: what looks like a function is written so. As typed, up to the next
    /// known key or the end.
    fn bare_body(&mut self) -> Option<()> {
        let start = self.at;
        while self.at < self.end
            && !(self.byte(self.at) == Some(b',') && self.is_next_key(self.at, None))
        {
            self.at += 1;
        }
        let body = self.text.get(start..self.at)?.trim_end();
        if body.is_empty() {
            return None;
        }
        let is_scalar = !body.starts_with(['{', '[', '"']) && json::value(body).is_some();
        if is_scalar {
            self.out.extend_from_slice(body.as_bytes());
        } else {
            json::write_text(&mut self.out, body);
        }
        Some(())
    }

    /// An object or array, its strings in either quotes.
    fn nested(&mut self) -> Option<()> {
        let mut depth = 0;
        loop {
            let byte = self.byte(self.at).filter(|_| self.at < self.end)?;
            if let Some(quote) = self.quote() {
                self.string(quote, |_, _| true)?;
                continue;
            }
            self.out.push(byte);
            self.at += 1;
            match byte {
                b'{' | b'[' => {
                    depth += 1;
                    if depth > DEPTH_MAX {
                        return None;
                    }
                }
                b'}' | b']' => {
                    depth -= 1;
                    if depth == 0 {
                        return Some(());
                    }
                }
                _ => {}
            }
        }
    }

    /// A number, or a word of JSON's.
    fn scalar(&mut self) -> Option<()> {
        let start = self.at;
        while self.at < self.end && self.byte(self.at)? != b',' {
            self.at += 1;
        }
        self.out.extend_from_slice(self.bytes.get(start..self.at)?);
        Some(())
    }

    fn take(&mut self, want: u8) -> Option<()> {
        self.byte(self.at).filter(|byte| *byte == want)?;
        self.at += 1;
        Some(())
    }

    fn skip_space(&mut self) {
        self.at = self.space_end(self.at);
    }

    fn space_end(&self, mut at: usize) -> usize {
        while self.byte(at).is_some_and(is_space) {
            at += 1;
        }
        at
    }

    /// Every look at the text goes through here, so that tests can count them.
    fn byte(&self, at: usize) -> Option<u8> {
        #[cfg(test)]
        self.work.set(self.work.get() + 1);
        self.bytes.get(at).copied()
    }
}

/// Templates have fewer keys than a word has bits; a key past them is never seen.
fn bit(index: usize) -> u64 {
    u32::try_from(index).ok().and_then(|index| 1_u64.checked_shl(index)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEYS: &[&str] = &["type", "to", "from", "data", "body", "state"];

    /// Looks at the text per byte of it.
    fn work(text: &str) -> usize {
        let mut reader = Reader::new(text, KEYS).expect("an object");
        let repaired = reader.object();
        if let Some(repaired) = repaired {
            assert!(repaired.len() <= 6 * text.len() + 2, "memory is linear");
        }
        reader.work.get() / text.len()
    }

    #[test]
    fn work_is_linear_whatever_is_typed() {
        const LEN: usize = 64 * 1024;
        let quotes = "\"".repeat(1024 * 1024);
        assert!(work(&format!(r#"{{"body":"{quotes}"}}"#)) <= 8, "a whole frame of quotes");
        let typed = [
            "\"",
            "\\\"",
            "\\",
            "\",",
            "\" ",
            "\" , \"",
            "\", \"data",
            "\",\"state\":",
            "'",
            "\"}",
            "}",
            "{",
            "\n",
            "\0",
            "\\u",
            "a",
        ];
        for piece in typed {
            for space in ["", &" ".repeat(1000)] {
                let piece = format!("{piece}{space}");
                let typed = piece.repeat(LEN / piece.len());
                for data in [
                    format!(r#"{{"from":"a@b","body":"{typed}"}}"#),
                    format!("{{'from':'a@b','body':'{typed}'}}"),
                    format!(r#"{{"from":"a@b","body":function(){typed}}}"#),
                    format!(r#"{{"from":"a@b","data":{{"{typed}}},"body":"x"}}"#),
                    format!("{{{typed}}}"),
                ] {
                    let work = work(&data);
                    assert!(
                        work <= 8,
                        "{work} looks per byte at {:?}",
                        piece.chars().take(12).collect::<String>()
                    );
                }
            }
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        let repaired = repair("{\"body\":\"\u{0}\u{1f}\n\"}", KEYS);
        assert_eq!(repaired.as_deref(), Some(r#"{"body":"\u0000\u001f\u000a"}"#));
    }
}
