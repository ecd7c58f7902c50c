//! JSON scanned once, whatever its depth: an [`Index`] of where each value stands in its text.
//!
//! [`View`]s look things up in it without reading the text again, so nested objects cost no
//! second pass, as they do with [`Object`](crate::proto::json::Object). The same rules: strict
//! JSON, depth bounded at [`DEPTH_MAX`], the last of equal keys counts, values stay the text they came as, strings
//! that are read lose only unpaired surrogates. Hot path: runs once per frame.
//! Not here: writing.

use std::borrow::Cow;

use super::json::{DEPTH_MAX, int_of, special_at};

/// Where the values of one JSON text stand, in order; a value's parts follow it.
#[derive(Clone, Debug)]
pub struct Index<'a> {
    text: &'a str,
    nodes: Vec<Node>,
}

/// One value, or the key in front of one.
#[derive(Clone, Copy, Debug)]
struct Node {
    kind: Kind,
    /// Where it stands in the text, quotes and brackets included.
    start: u32,
    end: u32,
    /// The node after this one and all its parts.
    next: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
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

impl<'a> Index<'a> {
    /// Scans one whole JSON value; `None` if the text is none or nested too deep.
    #[must_use]
    pub fn scan(text: &'a str) -> Option<Self> {
        /// Seldom is there more than a value in so many bytes.
        const BYTES_PER_NODE: usize = 12;
        u32::try_from(text.len()).ok()?;
        let nodes = Vec::with_capacity(text.len() / BYTES_PER_NODE + 1);
        let mut scanner = Scanner { bytes: text.as_bytes(), at: 0, nodes };
        scanner.value(DEPTH_MAX)?;
        scanner.skip_space();
        (scanner.at == text.len()).then_some(Self { text, nodes: scanner.nodes })
    }

    /// The value itself.
    #[must_use]
    pub fn root(&self) -> View<'_> {
        View { index: self, at: 0 }
    }

    /// The value, if it is an object.
    #[must_use]
    pub fn object(&self) -> Option<View<'_>> {
        self.root().as_object()
    }

    fn node(&self, at: usize) -> Option<&Node> {
        self.nodes.get(at)
    }

    fn is_key(&self, node: &Node, key: &str) -> bool {
        // Between two quotes; a comparison of lengths settles most.
        let (start, end) = (node.start as usize + 1, (node.end as usize).saturating_sub(1));
        if node.kind == Kind::Plain {
            let bytes = self.text.as_bytes();
            return end - start == key.len() && bytes.get(start..end) == Some(key.as_bytes());
        }
        self.text.get(start..end).is_some_and(|inner| unescape(inner) == key)
    }
}

/// One value of an [`Index`].
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    index: &'a Index<'a>,
    at: usize,
}

impl<'a> View<'a> {
    /// The value as it came.
    #[must_use]
    pub fn raw(&self) -> &'a str {
        let Some(node) = self.index.node(self.at) else { return "null" };
        self.index.text.get(node.start as usize..node.end as usize).unwrap_or("null")
    }

    /// The value, if it is an object.
    #[must_use]
    pub fn as_object(self) -> Option<Self> {
        (self.kind() == Kind::Object).then_some(self)
    }

    /// A string; `None` for any other type.
    #[must_use]
    pub fn as_text(&self) -> Option<Cow<'a, str>> {
        let raw = self.raw();
        let inner = || raw.get(1..raw.len().checked_sub(1)?);
        match self.kind() {
            Kind::Plain => inner().map(Cow::Borrowed),
            Kind::Escaped => inner().map(|inner| Cow::Owned(unescape(inner))),
            Kind::Null | Kind::True | Kind::False | Kind::Number | Kind::Array | Kind::Object => {
                None
            }
        }
    }

    /// An identifier: a non-empty string, or the digits of a number.
    #[must_use]
    pub fn as_id(&self) -> Option<Cow<'a, str>> {
        if self.kind() == Kind::Number {
            return Some(Cow::Borrowed(self.raw()));
        }
        self.as_text().filter(|id| !id.is_empty())
    }

    /// An integer, written as a number (fraction cut) or as text.
    #[must_use]
    pub fn as_int(&self) -> Option<i64> {
        int_of(&self.as_id()?)
    }

    /// The elements of an array; `None` for any other type.
    #[must_use]
    pub fn as_array(&self) -> Option<Parts<'a>> {
        let node = self.index.node(self.at).filter(|node| node.kind == Kind::Array)?;
        Some(Parts { index: self.index, at: self.at + 1, end: node.next as usize })
    }

    /// The value of a key; `None` where it is absent or `null`, or this is no object.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Self> {
        let index = self.index;
        let object = index.node(self.at).filter(|node| node.kind == Kind::Object)?;
        let mut hit = None;
        let mut at = self.at + 1;
        while at < object.next as usize {
            if index.is_key(index.node(at)?, key) {
                hit = Some(at + 1);
            }
            at = index.node(at + 1)?.next as usize;
        }
        let hit = Self { index, at: hit? };
        (hit.kind() != Kind::Null).then_some(hit)
    }

    /// A string.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<Cow<'a, str>> {
        self.get(key)?.as_text()
    }

    /// A string that is not empty.
    #[must_use]
    pub fn word(&self, key: &str) -> Option<Cow<'a, str>> {
        self.text(key).filter(|word| !word.is_empty())
    }

    /// An identifier.
    #[must_use]
    pub fn id(&self, key: &str) -> Option<Cow<'a, str>> {
        self.get(key)?.as_id()
    }

    /// An integer.
    #[must_use]
    pub fn int(&self, key: &str) -> Option<i64> {
        self.get(key)?.as_int()
    }

    /// `true` or `false`.
    #[must_use]
    pub fn bool(&self, key: &str) -> Option<bool> {
        match self.get(key)?.kind() {
            Kind::True => Some(true),
            Kind::False => Some(false),
            Kind::Null
            | Kind::Number
            | Kind::Plain
            | Kind::Escaped
            | Kind::Array
            | Kind::Object => None,
        }
    }

    /// A nested object.
    #[must_use]
    pub fn object(&self, key: &str) -> Option<Self> {
        self.get(key)?.as_object()
    }

    /// The elements of a nested array.
    #[must_use]
    pub fn array(&self, key: &str) -> Option<Parts<'a>> {
        self.get(key)?.as_array()
    }

    /// All fields of an object as written, nulls and duplicates too.
    pub fn fields(&self) -> impl Iterator<Item = (Cow<'a, str>, Self)> + use<'a> {
        self.pairs().map(|(key, value)| (key.as_text().unwrap_or_default(), value))
    }

    fn pairs(&self) -> Pairs<'a> {
        let node = self.index.node(self.at).filter(|node| node.kind == Kind::Object);
        let end = node.map_or(0, |node| node.next as usize);
        Pairs(Parts { index: self.index, at: self.at + 1, end })
    }

    fn kind(&self) -> Kind {
        self.index.node(self.at).map_or(Kind::Null, |node| node.kind)
    }
}

/// The elements of an array, one after another.
#[derive(Clone, Debug)]
pub struct Parts<'a> {
    index: &'a Index<'a>,
    at: usize,
    end: usize,
}

impl<'a> Iterator for Parts<'a> {
    type Item = View<'a>;

    fn next(&mut self) -> Option<View<'a>> {
        if self.at >= self.end {
            return None;
        }
        let view = View { index: self.index, at: self.at };
        self.at = self.index.node(self.at)?.next as usize;
        Some(view)
    }
}

/// The keys of an object with their values: its parts, two by two.
struct Pairs<'a>(Parts<'a>);

impl<'a> Iterator for Pairs<'a> {
    type Item = (View<'a>, View<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.0.next()?, self.0.next()?))
    }
}

/// Reads the grammar of RFC 8259 and notes where values stand.
struct Scanner<'a> {
    bytes: &'a [u8],
    at: usize,
    nodes: Vec<Node>,
}

impl Scanner<'_> {
    /// One value, in which so many levels may be opened.
    fn value(&mut self, levels: usize) -> Option<()> {
        self.skip_space();
        match self.peek()? {
            b'"' => self.string(),
            b'{' => self.object(levels.checked_sub(1)?),
            b'[' => self.array(levels.checked_sub(1)?),
            b't' => self.literal(b"true", Kind::True),
            b'f' => self.literal(b"false", Kind::False),
            b'n' => self.literal(b"null", Kind::Null),
            _ => self.number(),
        }
    }

    fn object(&mut self, levels: usize) -> Option<()> {
        let node = self.open(Kind::Object);
        self.skip_space();
        if !self.take(b'}') {
            loop {
                self.skip_space();
                (self.peek()? == b'"').then_some(())?;
                self.string()?;
                self.skip_space();
                self.take(b':').then_some(())?;
                self.value(levels)?;
                self.skip_space();
                if !self.take(b',') {
                    break;
                }
            }
            self.take(b'}').then_some(())?;
        }
        self.close(node)
    }

    fn array(&mut self, levels: usize) -> Option<()> {
        let node = self.open(Kind::Array);
        self.skip_space();
        if !self.take(b']') {
            loop {
                self.value(levels)?;
                self.skip_space();
                if !self.take(b',') {
                    break;
                }
            }
            self.take(b']').then_some(())?;
        }
        self.close(node)
    }

    fn string(&mut self) -> Option<()> {
        let start = self.at;
        let mut kind = Kind::Plain;
        self.at += 1;
        loop {
            let rest = self.bytes.get(self.at..)?;
            self.at += special_at(rest)?;
            match self.peek()? {
                b'"' => break,
                b'\\' => {
                    kind = Kind::Escaped;
                    self.at += 2;
                    match self.bytes.get(self.at - 1)? {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => {}
                        b'u' => {
                            let digits = self.bytes.get(self.at..self.at + 4)?;
                            digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
                            self.at += 4;
                        }
                        _ => return None,
                    }
                }
                // A bare control character.
                _ => return None,
            }
        }
        self.at += 1;
        self.push(kind, start)
    }

    fn number(&mut self) -> Option<()> {
        let start = self.at;
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        self.push(Kind::Number, start)
    }

    /// One digit or more.
    fn digits(&mut self) -> Option<()> {
        let rest = self.bytes.get(self.at..)?;
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        self.at += count;
        (count > 0).then_some(())
    }

    fn literal(&mut self, word: &[u8], kind: Kind) -> Option<()> {
        let start = self.at;
        self.bytes.get(start..)?.starts_with(word).then_some(())?;
        self.at += word.len();
        self.push(kind, start)
    }

    fn skip_space(&mut self) {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn take(&mut self, byte: u8) -> bool {
        let is_there = self.peek() == Some(byte);
        self.at += usize::from(is_there);
        is_there
    }

    /// Notes a value that ends here.
    fn push(&mut self, kind: Kind, start: usize) -> Option<()> {
        let next = u32::try_from(self.nodes.len() + 1).ok()?;
        // The text's length fits, so what stands in it does.
        self.nodes.push(Node { kind, start: start as u32, end: self.at as u32, next });
        Some(())
    }

    /// Notes a value whose parts follow, and steps over its bracket.
    fn open(&mut self, kind: Kind) -> usize {
        let start = self.at as u32;
        self.nodes.push(Node { kind, start, end: start, next: 0 });
        self.at += 1;
        self.nodes.len() - 1
    }

    /// Completes a value whose parts were read.
    fn close(&mut self, at: usize) -> Option<()> {
        let next = u32::try_from(self.nodes.len()).ok()?;
        let node = self.nodes.get_mut(at)?;
        node.end = self.at as u32;
        node.next = next;
        Some(())
    }
}

/// The text that stands between the quotes of a valid string; unpaired surrogates are replaced.
fn unescape(inner: &str) -> String {
    let mut text = Vec::with_capacity(inner.len());
    let mut rest = inner.as_bytes();
    // Between the quotes of a valid string nothing but a backslash is special.
    while let Some(at) = special_at(rest) {
        let (plain, escape) = rest.split_at(at);
        text.extend_from_slice(plain);
        let mut used = 2;
        match escape.get(1) {
            Some(b'b') => text.push(8),
            Some(b'f') => text.push(12),
            Some(b'n') => text.push(b'\n'),
            Some(b'r') => text.push(b'\r'),
            Some(b't') => text.push(b'\t'),
            Some(b'u') => {
                let (c, bytes) = unicode_escape(escape);
                used = bytes;
                text.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            Some(byte) => text.push(*byte),
            None => break,
        }
        rest = escape.get(used..).unwrap_or_default();
    }
    text.extend_from_slice(rest);
    // Whole characters were copied and whole characters put in between.
    String::from_utf8(text).unwrap_or_default()
}

/// The character of a `\uXXXX` or of a pair of them, and how many bytes it took.
fn unicode_escape(escape: &[u8]) -> (char, usize) {
    let unit = |from: usize| {
        let digits = escape.get(from..from + 6)?.strip_prefix(b"\\u")?;
        digits.iter().try_fold(0, |unit, digit| Some(unit * 16 + char::from(*digit).to_digit(16)?))
    };
    let Some(first) = unit(0) else { return (char::REPLACEMENT_CHARACTER, escape.len()) };
    if let Some(c) = char::from_u32(first) {
        return (c, 6);
    }
    let pair = unit(6).filter(|second| first < 0xDC00 && (0xDC00..0xE000).contains(second));
    let paired = pair
        .and_then(|second| char::from_u32(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)));
    paired.map_or((char::REPLACEMENT_CHARACTER, 6), |c| (c, 12))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::json::{self, Object};

    /// What another parser says of the same text is the measure.
    #[track_caller]
    fn check(text: &str) {
        let index = Index::scan(text);
        let oracle = json::value(text);
        assert_eq!(index.is_some(), oracle.is_some(), "{text}");
        let (Some(index), Some(oracle)) = (index, oracle) else { return };
        check_value(index.root(), oracle);
    }

    fn check_value(view: View<'_>, oracle: &serde_json::value::RawValue) {
        assert_eq!(view.raw(), oracle.get());
        assert_eq!(view.as_text(), json::text(oracle), "{}", view.raw());
        assert_eq!(view.as_id(), json::id(oracle), "{}", view.raw());
        assert_eq!(view.as_int(), json::int(oracle), "{}", view.raw());
        let elements: Option<Vec<View<'_>>> = view.as_array().map(Iterator::collect);
        let wanted = json::array(oracle);
        assert_eq!(elements.as_ref().map(Vec::len), wanted.as_ref().map(Vec::len));
        for (element, wanted) in elements.into_iter().flatten().zip(wanted.into_iter().flatten()) {
            check_value(element, wanted);
        }
        let object = Object::parse_part(oracle.get());
        assert_eq!(view.as_object().is_some(), object.is_some());
        let Some(object) = object else { return };
        let keys: Vec<Cow<'_, str>> = view.fields().map(|(key, _)| key).collect();
        assert_eq!(keys, object.iter().map(|(key, _)| key).collect::<Vec<_>>());
        for ((key, value), (_, wanted)) in view.fields().zip(object.iter()) {
            check_value(value, wanted);
            assert_eq!(
                view.get(&key).map(|value| value.raw()),
                object.get(&key).map(|value| value.get())
            );
            assert_eq!(view.bool(&key), object.bool(&key));
        }
    }

    #[test]
    fn values_are_where_they_stand() {
        for text in [
            "null",
            "true",
            "false",
            " 7 ",
            "-0",
            "0.50",
            "1e400",
            "1E+2",
            "\"\"",
            "\"a\"",
            "[]",
            "{}",
            "[1,[2,{\"a\":[]}]]",
            r#"{"a":1,"b":{"a":null,"c":"x"},"a":"2","\u0061":3,"":0}"#,
            " {\n\"a\" :\t[ 1 , \"b\" ]\r, \"c\":{} } ",
            r#""\"\\\/\b\f\n\r\té\u00e9\u0000""#,
        ] {
            assert!(Index::scan(text).is_some(), "{text}");
            check(text);
        }
    }

    #[test]
    fn broken_json_is_refused() {
        for text in [
            "",
            " ",
            "{",
            "}",
            "[",
            "]",
            "[1",
            "[1,",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\" 1}",
            "{1:2}",
            "nul",
            "nulll",
            "True",
            "+1",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "1e+",
            "--1",
            "1a",
            "\"",
            "\"a",
            "\"\\\"",
            "\"\\x\"",
            "\"\\u12\"",
            "\"\\u12g4\"",
            "\"\\",
            "\"\n\"",
            "\"\u{0}\"",
            "\"a\" 1",
            "1 2",
            "\u{FEFF}1",
            "'a'",
            "{\"a\\q\":1}",
            "\u{A0}1",
        ] {
            assert!(Index::scan(text).is_none(), "{text:?}");
            check(text);
        }
    }

    #[test]
    fn strings_lose_only_unpaired_surrogates() {
        for text in [
            r#""\ud83d\ude00""#,
            r#""1\ud83d2""#,
            r#""\udc00\ud800""#,
            r#""\ud800\u0041é""#,
            r#""\ud800\ud83d\ude00""#,
            r#""\uD800""#,
            r#""\ud800\n""#,
            r#""\uDBFF\uDFFF""#,
            r#""\ud800\ud800""#,
            r#"{"\ud800":"\udfff\u00ff"}"#,
        ] {
            assert!(Index::scan(text).is_some(), "{text}");
            check(text);
        }
    }

    #[test]
    fn depth_is_bounded() {
        for open in ["[", "{\"a\":"] {
            let close = if open == "[" { "]" } else { "}" };
            let nested = |depth: usize| format!("{}1{}", open.repeat(depth), close.repeat(depth));
            assert!(Index::scan(&nested(DEPTH_MAX)).is_some());
            assert!(Index::scan(&nested(DEPTH_MAX + 1)).is_none());
            assert!(Index::scan(&"[".repeat(1_000_000)).is_none());
        }
    }

    #[test]
    fn broken_variants_are_read_as_by_the_other_parser() {
        const ODD: [&str; 16] = [
            "\"", "\\", "{", "}", "[", "]", ",", ":", "0", "-", ".", "e", "\n", "\\ud800", "null",
            "é",
        ];
        let whole = r#"{"a":[1.50,-2e3,{"b\u00e9":"c\\\"d","e":null},true],"f":{"g":"\ud83d\ude00","h":[]},"i":""}"#;
        let mut seed = 7_u64;
        let mut below = |end: usize| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) as usize % end
        };
        for _ in 0..20_000 {
            let mut chars: Vec<String> = whole.chars().map(String::from).collect();
            for _ in 0..=below(2) {
                let at = below(chars.len());
                match below(3) {
                    0 => chars[at].clear(),
                    1 => ODD[below(ODD.len())].clone_into(&mut chars[at]),
                    _ => chars[at].push_str(ODD[below(ODD.len())]),
                }
            }
            check(&chars.concat());
        }
    }
}
