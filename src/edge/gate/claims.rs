//! What a verified token says.
//!
//! A claim is named as it stands (`https://id.example.com/tenant`), or by the dotted path to it
//! (`realm.tenant`); the name as it stands comes first. Texts and whole numbers count, an array
//! holds each of its elements. Not here: whether the token is true (`jwt`).

use std::borrow::Cow;
use std::slice;

use serde_json::{Map, Value};

/// The claims of a token that was verified.
pub(super) struct Claims(Map<String, Value>);

impl Claims {
    pub(super) const fn new(claims: Map<String, Value>) -> Self {
        Self(claims)
    }

    /// Whether the claim, or an element of it, is this text.
    pub(super) fn holds(&self, name: &str, want: &str) -> bool {
        self.elements(name).iter().any(|value| text(value).is_some_and(|text| text == want))
    }

    /// The claim's text, if it holds exactly one.
    pub(super) fn single(&self, name: &str) -> Option<Cow<'_, str>> {
        let [value] = self.elements(name) else {
            return None;
        };
        text(value).filter(|text| !text.is_empty())
    }

    fn elements(&self, name: &str) -> &[Value] {
        match self.find(name) {
            Some(Value::Array(elements)) => elements,
            Some(value) => slice::from_ref(value),
            None => &[],
        }
    }

    fn find(&self, name: &str) -> Option<&Value> {
        if let Some(value) = self.0.get(name) {
            return Some(value);
        }
        let mut parts = name.split('.');
        let first = self.0.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.as_object()?.get(part))
    }
}

fn text(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Number(number) if number.is_i64() || number.is_u64() => {
            Some(Cow::Owned(number.to_string()))
        }
        Value::Number(_) | Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claims() -> Claims {
        let json = r#"{"sub":"jane","n":42,"f":1.0,"b":true,"z":null,"empty":"","list":["a","b",7],
            "one":["acme"],"none":[],"nested":[["a"]],"realm":{"tenant":"acme","deep":{"x":"y"}},
            "https://id.example.com/tenant":"globex","realm.flat":"flat","o":{}}"#;
        Claims::new(serde_json::from_str(json).expect("json"))
    }

    #[track_caller]
    fn check(name: &str, single: Option<&str>, holds: &[&str]) {
        let claims = claims();
        assert_eq!(claims.single(name).as_deref(), single, "{name}");
        for want in
            ["jane", "42", "1.0", "true", "null", "", "a", "b", "7", "acme", "y", "globex", "flat"]
        {
            assert_eq!(claims.holds(name, want), holds.contains(&want), "{name} {want}");
        }
    }

    #[test]
    fn claims_are_found_by_name_and_path() {
        check("sub", Some("jane"), &["jane"]);
        check("n", Some("42"), &["42"]);
        check("realm.tenant", Some("acme"), &["acme"]);
        check("realm.deep.x", Some("y"), &["y"]);
        check("https://id.example.com/tenant", Some("globex"), &["globex"]);
        check("realm.flat", Some("flat"), &["flat"]);
    }

    #[test]
    fn arrays_hold_their_elements() {
        check("list", None, &["a", "b", "7"]);
        check("one", Some("acme"), &["acme"]);
        check("none", None, &[]);
        check("nested", None, &[]);
        check("list.0", None, &[]);
    }

    #[test]
    fn what_is_no_text_is_nothing() {
        for name in ["f", "b", "z", "o", "realm", "absent", "", ".", "realm.", ".realm", "sub.x"] {
            check(name, None, &[]);
        }
        check("empty", None, &[""]);
    }
}
