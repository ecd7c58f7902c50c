//! What a route takes out of events before any client sees them.
//!
//! Expressions are tried on every string in `text` and `data`, decoded, in the order of the
//! conf file. Keys and numbers stay, and so does what is spread over several strings, such as
//! streamed tokens. Not here: which route has which rules (`config`).

use std::borrow::Cow;
use std::hash::{Hash, Hasher};

use regex::{NoExpand, Regex};
use serde_json::value::RawValue;

use super::json;

/// A string that rules would make longer than this many times (and [`GROWTH_FREE`]) becomes the
/// replacement alone: else a megabyte of hits becomes hundreds of them.
const GROWTH_MAX: usize = 4;
/// So many bytes may be added in any case.
const GROWTH_FREE: usize = 4096;

/// One rule: what is found, and what stands there instead.
#[derive(Clone, Debug)]
pub struct Rule {
    /// What is found.
    pub pattern: Regex,
    /// Taken as it is: no `$1` in it.
    pub replace: String,
}

impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        self.pattern.as_str() == other.pattern.as_str() && self.replace == other.replace
    }
}

impl Eq for Rule {}

impl Hash for Rule {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.pattern.as_str().hash(state);
        self.replace.hash(state);
    }
}

/// The rules of a route, in order.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Redaction(pub Vec<Rule>);

impl Redaction {
    /// JSON text with all its strings but keys redacted; `None` if nothing was found.
    #[must_use]
    pub fn json(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        let (mut at, mut copied) = (0, 0);
        while let Some(found) = memchr::memchr(b'"', text.get(at..).unwrap_or_default()) {
            let start = at + found;
            let end = start + json::string_bytes(text.get(start..).unwrap_or_default());
            at = end;
            let after = text.get(end..).unwrap_or_default();
            let is_key =
                after.iter().find(|byte| !byte.is_ascii_whitespace()).is_some_and(|b| *b == b':');
            if is_key {
                continue;
            }
            let Some(redacted) = self.quoted(text.get(start..end).unwrap_or_default()) else {
                continue;
            };
            out.extend_from_slice(text.get(copied..start).unwrap_or_default());
            json::write_text(&mut out, &redacted);
            copied = end;
        }
        if copied == 0 {
            return None;
        }
        out.extend_from_slice(text.get(copied..).unwrap_or_default());
        Some(out)
    }

    fn quoted(&self, text: &[u8]) -> Option<String> {
        let value: &RawValue = serde_json::from_slice(text).ok()?;
        self.text(&json::text(value)?)
    }

    /// Text with everything replaced; `None` if nothing was found.
    fn text(&self, text: &str) -> Option<String> {
        let mut out = Cow::Borrowed(text);
        for rule in &self.0 {
            if let Cow::Owned(next) = rule.pattern.replace_all(&out, NoExpand(&rule.replace)) {
                let is_too_long = next.len() > GROWTH_MAX * text.len() + GROWTH_FREE;
                out = Cow::Owned(if is_too_long { rule.replace.clone() } else { next });
            }
        }
        match out {
            Cow::Borrowed(_) => None,
            Cow::Owned(text) => Some(text),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn redaction(rules: &[(&str, &str)]) -> Redaction {
        let rule = |(pattern, replace): &(&str, &str)| Rule {
            pattern: Regex::new(pattern).expect("an expression"),
            replace: (*replace).to_owned(),
        };
        Redaction(rules.iter().map(rule).collect())
    }

    #[track_caller]
    fn check(rules: &[(&str, &str)], json: &str, want: &str) {
        let got = redaction(rules).json(json.as_bytes());
        let got = got.map_or_else(|| json.to_owned(), |got| String::from_utf8(got).expect("text"));
        assert_eq!(got, want, "{json}");
        serde_json::from_str::<serde_json::Value>(&got).expect("JSON");
    }

    const CARD: &[(&str, &str)] = &[(r"\b(?:\d[ -]?){13,16}\b", "[card]")];

    #[test]
    fn every_string_is_looked_at_and_nothing_else() {
        check(CARD, r#""Mine is 4111 1111 1111 1111.""#, r#""Mine is [card].""#);
        check(
            CARD,
            r#"{"a":[{"b":"4111111111111111"}],"c":"no card"}"#,
            r#"{"a":[{"b":"[card]"}],"c":"no card"}"#,
        );
        check(CARD, r#"{"4111111111111111":1}"#, r#"{"4111111111111111":1}"#);
        check(CARD, r#"{"4111111111111111" : "x"}"#, r#"{"4111111111111111" : "x"}"#);
        check(CARD, "4111111111111111", "4111111111111111");
        check(CARD, "[1.10, null, true]", "[1.10, null, true]");
    }

    #[test]
    fn strings_are_looked_at_as_people_read_them() {
        check(&[("secret", "x")], r#""\u0073ecret \"a\"\n""#, r#""x \"a\"\n""#);
        check(&[("a\"b", "\"\n")], r#"{"k":"a\"b","l":"a\\"}"#, r#"{"k":"\"\n","l":"a\\"}"#);
        check(&[("é", "e")], r#""caf\u00e9 café""#, r#""cafe cafe""#);
        // Text with half a character in it must not slip through.
        check(&[("secret", "x")], r#""\ud800secret""#, "\"\u{fffd}x\"");
    }

    #[test]
    fn rules_follow_each_other_and_replacements_are_literal() {
        check(&[("a", "b"), ("b", "$0c")], r#""a""#, r#""$0c""#);
        check(&[("zz", "b")], r#""a""#, r#""a""#);
    }

    #[test]
    fn no_string_grows_without_end() {
        let json = format!("\"{}\"", "a".repeat(100_000));
        check(&[("a", &"x".repeat(200))], &json, &format!("\"{}\"", "x".repeat(200)));
        check(&[("a", "four")], "\"aaa\"", "\"fourfourfour\"");
    }
}
