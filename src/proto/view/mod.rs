//! JSON scanned once, whatever its depth: an [`Index`] of where each value stands in its text.
//!
//! [`View`]s look things up in it without reading the text again, so nested objects cost no
//! second pass, as they do with [`Object`](crate::proto::json::Object). The same rules: strict
//! JSON, depth bounded at [`DEPTH_MAX`](crate::proto::json::DEPTH_MAX), the last of equal keys counts, values stay the text
//! they came as, strings that are read lose only unpaired surrogates. Strings with escapes are
//! unescaped while they are scanned. Hot path: runs once per frame.
//! Not here: the scan itself (`scan`), writing.

mod scan;

use std::borrow::Cow;

use self::scan::{Kind, Node, Scanner, unescape};
use super::json::int_of;

/// Where the values of one JSON text stand, in order; a value's parts follow it.
#[derive(Clone, Debug)]
pub struct Index<'a> {
    text: &'a str,
    nodes: Vec<Node>,
    /// What the strings with escapes say, one after another.
    unescaped: String,
}

impl<'a> Index<'a> {
    /// Scans one whole JSON value; `None` if the text is none or nested too deep.
    #[must_use]
    pub fn scan(text: &'a str) -> Option<Self> {
        let (nodes, unescaped) = Scanner::scan(text)?;
        Some(Self { text, nodes, unescaped })
    }

    /// The value itself.
    #[must_use]
    pub const fn root(&self) -> View<'_> {
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

    /// The key in front of a value.
    fn key(&self, node: &Node) -> Cow<'_, str> {
        let key = self.text.get(node.key_start as usize..node.key_end as usize);
        let key = key.unwrap_or_default();
        if node.is_key_escaped { Cow::Owned(unescape(key)) } else { Cow::Borrowed(key) }
    }

    fn is_key(&self, node: &Node, key: &str) -> bool {
        if node.is_key_escaped {
            return self.key(node) == key;
        }
        // A comparison of lengths settles most.
        let (start, end) = (node.key_start as usize, node.key_end as usize);
        end - start == key.len() && self.text.as_bytes().get(start..end) == Some(key.as_bytes())
    }
}

/// One value of an [`Index`].
#[derive(Clone, Copy, Debug)]
pub struct View<'a> {
    index: &'a Index<'a>,
    at: usize,
}

/// Looks several keys of an object up in one pass: each name becomes what [`View::get`] would
/// give for its key.
macro_rules! pick {
    ($view:expr, $($name:ident = $key:literal),+ $(,)?) => {
        $(let mut $name = None;)+
        for (key, value) in $view.fields() {
            match key.as_ref() {
                $($key => $name = Some(value),)+
                _ => {}
            }
        }
        $(let $name = $name.filter($crate::proto::view::View::is_told);)+
    };
}
pub(crate) use pick;

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
        self.as_str().map(Cow::Borrowed)
    }

    fn as_str(&self) -> Option<&'a str> {
        let node = self.index.node(self.at)?;
        match node.kind {
            Kind::Plain => self.index.text.get(node.start as usize + 1..node.end as usize - 1),
            Kind::Escaped => {
                let start = node.link as usize;
                self.index.unescaped.get(start..start + node.text_bytes as usize)
            }
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
        Some(Parts { index: self.index, at: self.at + 1, end: node.link as usize })
    }

    /// Whether it is not `null`.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.kind() != Kind::Null
    }

    /// The value of a key; `None` where it is absent or `null`, or this is no object.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<Self> {
        let index = self.index;
        let is_hit = |part: &Self| index.node(part.at).is_some_and(|node| index.is_key(node, key));
        self.parts().filter(is_hit).last().filter(Self::is_told)
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
        let index = self.index;
        self.parts().map(move |part| {
            (index.node(part.at).map(|node| index.key(node)).unwrap_or_default(), part)
        })
    }

    /// The values of an object.
    fn parts(&self) -> Parts<'a> {
        let node = self.index.node(self.at).filter(|node| node.kind == Kind::Object);
        let end = node.map_or(0, |node| node.link as usize);
        Parts { index: self.index, at: self.at + 1, end }
    }

    fn kind(&self) -> Kind {
        self.index.node(self.at).map_or(Kind::Null, |node| node.kind)
    }
}

/// The parts of an array or object, one after another.
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
        self.at = self.index.node(self.at)?.next(self.at);
        Some(view)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::json::{self, DEPTH_MAX, Object};

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
