//! JSON as it came: objects whose values stay raw text until somebody asks for a type.
//!
//! Numbers, key order, duplicates and escapes of passed-through values survive to the byte;
//! strings that are rewritten lose only unpaired surrogates (U+FFFD). Depth is bounded at
//! [`DEPTH_MAX`]. Not here: reading text that is not JSON (`backend::openfire::lenient`).

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

/// Arrays and objects nested deeper than this are refused: nothing that people say to each
/// other needs it, and recursion over it must stay within a thread's stack.
pub const DEPTH_MAX: usize = 128;

/// A JSON object in the order it was written, duplicates included.
#[derive(Clone, Debug, Default)]
pub struct Object<'a> {
    fields: Vec<(Cow<'a, str>, &'a RawValue)>,
    first_wins: bool,
}

impl<'a> Object<'a> {
    /// Reads one object; `None` if the text is no JSON, no object, or nested too deep.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
        if !is_depth_bounded(text) {
            return None;
        }
        Self::parse_part(text)
    }

    /// Reads an object out of text whose depth was checked before.
    #[must_use]
    pub fn parse_part(text: &'a str) -> Option<Self> {
        // A cheap look first: serde's error for a wrong type costs more than this test.
        if !text.trim_start().starts_with('{') {
            return None;
        }
        // Read as bytes, keys would pass with raw control characters in them. They are rare
        // enough in JSON on one line that a second reading costs nothing.
        if text.bytes().any(|byte| byte < b' ') && value(text).is_none() {
            return None;
        }
        serde_json::from_str(text).ok()
    }

    /// Lets the first of equal keys count, where by default the last does (as in browsers).
    #[must_use]
    pub const fn first_wins(mut self) -> Self {
        self.first_wins = true;
        self
    }

    /// The value of a key; `None` where it is absent or `null`.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&'a RawValue> {
        self.raw(key).filter(|value| value.get() != "null")
    }

    /// The value of a key, `null` included.
    #[must_use]
    pub fn raw(&self, key: &str) -> Option<&'a RawValue> {
        let mut hits = self.fields.iter().filter(|(name, _)| name == key);
        let hit = if self.first_wins { hits.next() } else { hits.next_back() };
        hit.map(|(_, value)| *value)
    }

    /// A string; `None` for any other type.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<Cow<'a, str>> {
        self.get(key).and_then(text)
    }

    /// A string that is not empty.
    #[must_use]
    pub fn word(&self, key: &str) -> Option<Cow<'a, str>> {
        self.text(key).filter(|word| !word.is_empty())
    }

    /// An identifier: a non-empty string, or the digits of a number.
    #[must_use]
    pub fn id(&self, key: &str) -> Option<Cow<'a, str>> {
        self.get(key).and_then(id)
    }

    /// An integer, written as a number or as text.
    #[must_use]
    pub fn int(&self, key: &str) -> Option<i64> {
        self.get(key).and_then(int)
    }

    /// `true` or `false`.
    #[must_use]
    pub fn bool(&self, key: &str) -> Option<bool> {
        match self.get(key)?.get() {
            "true" => Some(true),
            "false" => Some(false),
            _ => None,
        }
    }

    /// A nested object. Its depth was checked with the whole.
    #[must_use]
    pub fn object(&self, key: &str) -> Option<Self> {
        self.get(key).and_then(|value| Self::parse_part(value.get()))
    }

    /// The elements of an array; `None` for any other type.
    #[must_use]
    pub fn array(&self, key: &str) -> Option<Vec<&'a RawValue>> {
        self.get(key).and_then(array)
    }

    /// All fields as written.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &'a RawValue)> {
        self.fields.iter().map(|(name, value)| (name.as_ref(), *value))
    }

    /// Whether there is no field at all.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;
        impl<'de> Visitor<'de> for Fields {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut fields = Vec::with_capacity(16);
                while let Some(Text(key)) = map.next_key()? {
                    fields.push((key, map.next_value()?));
                }
                Ok(Object { fields, first_wins: false })
            }
        }
        deserializer.deserialize_map(Fields)
    }
}

/// A JSON string, unpaired surrogates replaced.
struct Text<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Text<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Wtf8;
        impl<'de> Visitor<'de> for Wtf8 {
            type Value = Text<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Self::Value, E> {
                Ok(Text(match std::str::from_utf8(bytes) {
                    Ok(text) => Cow::Borrowed(text),
                    Err(_) => Cow::Owned(without_surrogates(bytes)),
                }))
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Self::Value, E> {
                Ok(Text(Cow::Owned(match std::str::from_utf8(bytes) {
                    Ok(text) => text.to_owned(),
                    Err(_) => without_surrogates(bytes),
                })))
            }
        }
        // serde_json reads a string as bytes without insisting on paired surrogates: an
        // unpaired one arrives as the three bytes that UTF-8 would have had for it.
        deserializer.deserialize_bytes(Wtf8)
    }
}

/// UTF-8 with each encoded surrogate (ED A0..BF xx) turned into one U+FFFD.
fn without_surrogates(mut bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    loop {
        match std::str::from_utf8(bytes) {
            Ok(rest) => {
                text.push_str(rest);
                return text;
            }
            Err(error) => {
                let (good, bad) = bytes.split_at(error.valid_up_to());
                text.push_str(&String::from_utf8_lossy(good));
                text.push('\u{FFFD}');
                let skip = if matches!(bad, [0xED, 0xA0..=0xBF, 0x80..=0xBF, ..]) { 3 } else { 1 };
                bytes = bad.get(skip..).unwrap_or_default();
            }
        }
    }
}

/// The text of a JSON string; `None` for any other type.
#[must_use]
pub fn text(value: &RawValue) -> Option<Cow<'_, str>> {
    if !value.get().starts_with('"') {
        return None;
    }
    serde_json::from_str::<Text<'_>>(value.get()).ok().map(|text| text.0)
}

/// An identifier: a non-empty string, or the digits of a number.
#[must_use]
pub fn id(value: &RawValue) -> Option<Cow<'_, str>> {
    let raw = value.get();
    match raw.as_bytes().first() {
        Some(b'"') => text(value).filter(|id| !id.is_empty()),
        Some(b'-' | b'0'..=b'9') => Some(Cow::Borrowed(raw)),
        _ => None,
    }
}

/// An integer, written as a number (fraction cut) or as text.
#[must_use]
pub fn int(value: &RawValue) -> Option<i64> {
    int_of(&id(value)?)
}

/// An integer out of its digits, fraction cut.
pub(super) fn int_of(digits: &str) -> Option<i64> {
    digits.parse().ok().or_else(|| {
        let number: f64 = digits.parse().ok()?;
        // 2^53: beyond it a float no longer names one integer.
        (number.is_finite() && number.abs() < 9_007_199_254_740_992.0).then_some(number as i64)
    })
}

/// The elements of an array; `None` for any other type.
#[must_use]
pub fn array(value: &RawValue) -> Option<Vec<&RawValue>> {
    struct Elements<'a>(Vec<&'a RawValue>);
    impl<'de: 'a, 'a> Deserialize<'de> for Elements<'a> {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            struct Seq;
            impl<'de> Visitor<'de> for Seq {
                type Value = Elements<'de>;

                fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                    f.write_str("an array")
                }

                fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                    let mut elements = Vec::new();
                    while let Some(element) = seq.next_element()? {
                        elements.push(element);
                    }
                    Ok(Elements(elements))
                }
            }
            deserializer.deserialize_seq(Seq)
        }
    }
    if !value.get().starts_with('[') {
        return None;
    }
    serde_json::from_str::<Elements<'_>>(value.get()).ok().map(|elements| elements.0)
}

/// One whole JSON value, whatever its type; `None` if the text is none or nested too deep.
#[must_use]
pub fn value(text: &str) -> Option<&RawValue> {
    if !is_depth_bounded(text) {
        return None;
    }
    serde_json::from_str(text).ok()
}

/// Whether no bracket outside strings is nested deeper than [`DEPTH_MAX`].
#[must_use]
pub fn is_depth_bounded(text: &str) -> bool {
    // Nearly always there are too few brackets in all, wherever they stand, and counting them
    // is many times cheaper than telling strings from the rest.
    if memchr::memchr2_iter(b'{', b'[', text.as_bytes()).nth(DEPTH_MAX).is_none() {
        return true;
    }
    let mut depth = 0_usize;
    let mut in_string = false;
    let mut escaped = false;
    for byte in text.bytes() {
        if in_string {
            match byte {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => in_string = false,
                _ => {}
            }
            continue;
        }
        match byte {
            b'"' => in_string = true,
            b'{' | b'[' => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return false;
                }
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    true
}

/// Appends valid JSON without its insignificant white space.
pub fn write_compact(out: &mut Vec<u8>, raw: &str) {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r');
    let mut rest = raw.as_bytes();
    // Compact JSON, which is nearly all there is, is copied whole; text in strings has spaces,
    // so strings are stepped over before one is taken for insignificant.
    let mut kept = 0;
    while let Some(byte) = rest.get(kept) {
        if *byte == b'"' {
            kept += string_bytes(rest.get(kept..).unwrap_or_default());
        } else if is_space(byte) {
            out.extend_from_slice(rest.get(..kept).unwrap_or_default());
            let after = rest.get(kept..).unwrap_or_default();
            let spaces = after.iter().take_while(|byte| is_space(byte)).count();
            rest = after.get(spaces..).unwrap_or_default();
            kept = 0;
        } else {
            kept += 1;
        }
    }
    out.extend_from_slice(rest);
}

/// How many bytes the string at the start takes, quotes included.
pub(super) fn string_bytes(text: &[u8]) -> usize {
    let mut at = 1;
    while let Some(found) = memchr::memchr2(b'"', b'\\', text.get(at..).unwrap_or_default()) {
        at += found;
        if text.get(at) == Some(&b'"') {
            return at + 1;
        }
        at += 2;
    }
    text.len()
}

/// Appends a JSON string.
pub fn write_text(out: &mut Vec<u8>, text: &str) {
    let mut rest = text.as_bytes();
    out.reserve(rest.len() + 2);
    out.push(b'"');
    while let Some(plain) = special_at(rest) {
        let (run, special) = rest.split_at(plain);
        let [byte, after @ ..] = special else { break };
        out.extend_from_slice(run);
        write_escape(out, *byte);
        rest = after;
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

/// Appends a byte that a string cannot hold as it is.
fn write_escape(out: &mut Vec<u8>, byte: u8) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        8 => b'b',
        12 => b'f',
        _ => {
            let digit = |number: u8| HEX.get(usize::from(number)).copied().unwrap_or(b'0');
            out.extend_from_slice(b"\\u00");
            out.extend_from_slice(&[digit(byte >> 4), digit(byte & 0xF)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}

/// Appends what stands between the quotes of a JSON string.
pub fn push_escaped(out: &mut String, text: &str) {
    let mut quoted = Vec::with_capacity(text.len() + 2);
    write_text(&mut quoted, text);
    // Written from a `str`, with a quote at either end.
    let quoted = String::from_utf8(quoted).unwrap_or_default();
    let inner = quoted.strip_prefix('"').and_then(|text| text.strip_suffix('"'));
    out.push_str(inner.unwrap_or_default());
}

/// Where the first byte stands that a string cannot hold as it is: a quote, a backslash or a
/// control character. Eight bytes at a time, since nearly all bytes of a chat are of strings.
/// Never inlined: where registers are scarce, its constants would be loaded for each eight bytes.
#[inline(never)]
pub(super) fn special_at(bytes: &[u8]) -> Option<usize> {
    let first = |eight: &[u8; 8], at: usize| {
        let hits = special(u64::from_le_bytes(*eight));
        (hits != 0).then(|| at + hits.trailing_zeros() as usize / 8)
    };
    let (words, tail) = bytes.as_chunks();
    let mut at = 0;
    for eight in words {
        if let Some(found) = first(eight, at) {
            return Some(found);
        }
        at += eight.len();
    }
    if tail.is_empty() {
        return None;
    }
    match bytes.last_chunk() {
        // Nothing special is in the part of them that was seen before.
        Some(eight) => first(eight, bytes.len() - eight.len()),
        None => tail.iter().position(|byte| matches!(byte, b'"' | b'\\' | ..0x20)),
    }
}

/// The high bit of the first byte of eight, in the order of the text, that a string cannot hold
/// as it is; bits of bytes after it mean nothing. 0 if there is none.
#[inline]
pub(super) const fn special(word: u64) -> u64 {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    // With bit 1 turned over, the quote (0x22) stands right behind the control characters.
    let controls_and_quote = (word ^ (ONES * 0x02)).wrapping_sub(ONES * 0x21);
    let backslash = (word ^ (ONES * b'\\' as u64)).wrapping_sub(ONES);
    // A borrow sets the high bit of a byte below the limit; bytes beyond ASCII have their own.
    (controls_and_quote | backslash) & !word & (ONES * 0x80)
}

/// Writes one JSON object, field by field.
pub struct Fields<'o> {
    out: &'o mut Vec<u8>,
    is_first: bool,
}

impl<'o> Fields<'o> {
    /// Opens the object.
    pub fn open(out: &'o mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, is_first: true }
    }

    /// Closes the object.
    pub fn close(self) {
        self.out.push(b'}');
    }

    /// Writes a key of ours, which holds nothing that must be escaped; the caller appends the
    /// value to what this returns.
    #[inline]
    pub fn key(&mut self, key: &'static str) -> &mut Vec<u8> {
        debug_assert!(special_at(key.as_bytes()).is_none(), "{key}");
        self.out.extend_from_slice(if self.is_first { b"\"" } else { b",\"" });
        self.is_first = false;
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// Writes a key of somebody else's.
    pub fn foreign_key(&mut self, key: &str) -> &mut Vec<u8> {
        if !self.is_first {
            self.out.push(b',');
        }
        self.is_first = false;
        write_text(self.out, key);
        self.out.push(b':');
        self.out
    }

    /// A string.
    #[inline]
    pub fn text(&mut self, key: &'static str, text: &str) {
        write_text(self.key(key), text);
    }

    /// A word of ours, which holds nothing that must be escaped.
    #[inline]
    pub fn word(&mut self, key: &'static str, word: &'static str) {
        debug_assert!(special_at(word.as_bytes()).is_none(), "{word}");
        let out = self.key(key);
        out.push(b'"');
        out.extend_from_slice(word.as_bytes());
        out.push(b'"');
    }

    /// A string, if there is one.
    #[inline]
    pub fn maybe<T: AsRef<str>>(&mut self, key: &'static str, text: Option<T>) {
        if let Some(text) = text {
            self.text(key, text.as_ref());
        }
    }

    /// A number.
    pub fn int(&mut self, key: &'static str, number: i64) {
        self.key(key).extend_from_slice(number.to_string().as_bytes());
    }

    /// `true` or `false`.
    pub fn bool(&mut self, key: &'static str, yes: bool) {
        self.key(key).extend_from_slice(if yes { b"true" } else { b"false" });
    }

    /// Valid JSON, white space removed.
    pub fn raw(&mut self, key: &'static str, json: &str) {
        write_compact(self.key(key), json);
    }

    /// Valid JSON under somebody else's key, white space removed.
    pub fn foreign(&mut self, key: &str, json: &str) {
        write_compact(self.foreign_key(key), json);
    }

    /// A nested object.
    pub fn nested(&mut self, key: &'static str, fill: impl FnOnce(&mut Fields<'_>)) {
        let mut inner = Fields::open(self.key(key));
        fill(&mut inner);
        inner.close();
    }

    /// A nested object, taken back if it came out empty; else the place where it stands.
    pub fn nested_unless_empty(
        &mut self,
        key: &'static str,
        fill: impl FnOnce(&mut Fields<'_>),
    ) -> Option<Range<usize>> {
        let (before, was_first) = (self.out.len(), self.is_first);
        let start = self.key(key).len();
        let mut inner = Fields::open(self.out);
        fill(&mut inner);
        let is_empty = inner.is_first;
        inner.close();
        if is_empty {
            self.out.truncate(before);
            self.is_first = was_first;
            return None;
        }
        Some(start..self.out.len())
    }

    /// An array of objects.
    pub fn list<T>(
        &mut self,
        key: &'static str,
        items: &[T],
        mut fill: impl FnMut(&mut Fields<'_>, &T),
    ) {
        let out = self.key(key);
        out.push(b'[');
        for (index, item) in items.iter().enumerate() {
            if index > 0 {
                out.push(b',');
            }
            let mut inner = Fields::open(out);
            fill(&mut inner, item);
            inner.close();
        }
        out.push(b']');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(json: &str, key: &str, want: Option<&str>) {
        let object = Object::parse(json).expect("an object");
        assert_eq!(object.text(key).as_deref(), want);
    }

    #[test]
    fn strings_lose_only_unpaired_surrogates() {
        check(r#"{"a":"x"}"#, "a", Some("x"));
        check(r#"{"a":"\ud83d\ude00"}"#, "a", Some("😀"));
        check(r#"{"a":"1\ud83d2"}"#, "a", Some("1\u{FFFD}2"));
        check(r#"{"a":"\udc00\ud800"}"#, "a", Some("\u{FFFD}\u{FFFD}"));
        check(r#"{"a":"\ud800\u0041é"}"#, "a", Some("\u{FFFD}Aé"));
        check(r#"{"\u0061":"x"}"#, "a", Some("x"));
        check(r#"{"a":null}"#, "a", None);
        check(r#"{"a":7}"#, "a", None);
    }

    #[test]
    fn the_last_of_equal_keys_counts_unless_told() {
        let json = r#"{"a":"1","a":"2"}"#;
        check(json, "a", Some("2"));
        let object = Object::parse(json).expect("an object").first_wins();
        assert_eq!(object.text("a").as_deref(), Some("1"));
    }

    #[test]
    fn broken_json_is_refused() {
        for json in [
            "",
            "{",
            "[]",
            "7",
            r#"{"a":}"#,
            r#"{"a":1} x"#,
            "{\"a\":\"\n\"}",
            "{\"a\":{\"b\":\"\t\"}}",
            "{\"a\tb\":1}",
        ] {
            assert!(Object::parse(json).is_none(), "{json:?}");
        }
    }

    #[test]
    fn depth_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(value(&nested(DEPTH_MAX)).is_some());
        assert!(value(&nested(DEPTH_MAX + 1)).is_none());
        assert!(value(&format!("\"{}\"", nested(1000))).is_some(), "brackets in strings");
        assert!(value(&format!("[{}1]", "[],".repeat(1000))).is_some(), "side by side");
        assert!(Object::parse(&format!("{{\"a\":{}}}", nested(DEPTH_MAX))).is_none());
    }

    #[test]
    fn types_are_converted_where_asked() {
        let object = Object::parse(r#"{"a":"30","b":30,"c":30.9,"d":"x","e":1e400,"f":7}"#)
            .expect("an object");
        assert_eq!(object.int("a"), Some(30));
        assert_eq!(object.int("b"), Some(30));
        assert_eq!(object.int("c"), Some(30));
        assert_eq!(object.int("d"), None);
        assert_eq!(object.int("e"), None);
        assert_eq!(object.id("f").as_deref(), Some("7"));
    }

    #[test]
    fn special_bytes_are_found_wherever_they_stand() {
        for special in (0..=255_u8).filter(|byte| matches!(byte, b'"' | b'\\' | ..0x20)) {
            for (len, at) in [(1, 0), (7, 6), (8, 0), (8, 7), (9, 8), (20, 3), (24, 15), (24, 16)] {
                for plain in [b' ', b'!', b'#', b'[', b']', 0x7F, 0x80, 0xA2, 0xDC, 0xFF] {
                    let mut bytes = vec![plain; len];
                    assert_eq!(special_at(&bytes), None, "{plain}");
                    bytes[at] = special;
                    assert_eq!(special_at(&bytes), Some(at), "{special} in {plain}");
                    bytes[len - 1] = special;
                    assert_eq!(special_at(&bytes), Some(at), "the first of two");
                }
            }
        }
    }

    #[test]
    fn passed_values_keep_all_but_white_space() {
        let mut out = Vec::new();
        write_compact(
            &mut out,
            "{ \"a b\" : [ 1.10 ,\n\t9007199254740993 ], \"a b\": \"\\u0041 \\\" x\" }",
        );
        assert_eq!(
            String::from_utf8(out).expect("text"),
            "{\"a b\":[1.10,9007199254740993],\"a b\":\"\\u0041 \\\" x\"}"
        );
    }
}
