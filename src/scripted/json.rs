//! JSON objects with the key order and the escapes of the platform that writes them.
//!
//! Not a serializer: callers add members in the order the platform sends them, and give
//! nested JSON as text.

use std::fmt::Write as _;

/// Whose escapes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Style {
    /// The short escapes, everything else as it is (Jackson, json-lib but for `</`).
    Plain,
    /// System.Text.Json's default encoder: pure ASCII, `\u0022` for a quote.
    DotNet,
    /// json-lib: as plain, and `<\/`.
    JsonLib,
}

/// An object under construction.
#[derive(Debug)]
pub(super) struct Object {
    text: String,
    style: Style,
}

impl Object {
    /// An empty object.
    pub(super) fn new(style: Style) -> Self {
        Self { text: String::from("{"), style }
    }

    /// Adds a member whose value is JSON already.
    pub(super) fn raw(mut self, key: &str, json: &str) -> Self {
        if self.text.len() > 1 {
            self.text.push(',');
        }
        self.text.push_str(&quote(self.style, key));
        self.text.push(':');
        self.text.push_str(json);
        self
    }

    /// Adds a string.
    pub(super) fn text(self, key: &str, value: &str) -> Self {
        let quoted = quote(self.style, value);
        self.raw(key, &quoted)
    }

    /// Adds a string or null.
    pub(super) fn option(self, key: &str, value: Option<&str>) -> Self {
        match value {
            Some(value) => self.text(key, value),
            None => self.raw(key, "null"),
        }
    }

    /// Adds null.
    pub(super) fn null(self, key: &str) -> Self {
        self.raw(key, "null")
    }

    /// Adds a whole number.
    pub(super) fn number(self, key: &str, value: u64) -> Self {
        self.raw(key, &value.to_string())
    }

    /// Adds a boolean.
    pub(super) fn flag(self, key: &str, value: bool) -> Self {
        self.raw(key, if value { "true" } else { "false" })
    }

    /// The finished object.
    pub(super) fn end(mut self) -> String {
        self.text.push('}');
        self.text
    }
}

/// An array of JSON texts.
pub(super) fn array<I: IntoIterator<Item = String>>(items: I) -> String {
    let items: Vec<String> = items.into_iter().collect();
    format!("[{}]", items.join(","))
}

/// A string as JSON, quotes included.
pub(super) fn quote(style: Style, text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    let mut before = '\0';
    for c in text.chars() {
        escape(style, before, c, &mut out);
        before = c;
    }
    out.push('"');
    out
}

fn escape(style: Style, before: char, c: char, out: &mut String) {
    let short = match c {
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        '\u{8}' => "\\b",
        '\u{c}' => "\\f",
        '\\' => "\\\\",
        '"' if style != Style::DotNet => "\\\"",
        '/' if style == Style::JsonLib && before == '<' => "\\/",
        c => {
            let forbidden = style == Style::DotNet
                && (matches!(c, '"' | '<' | '>' | '&' | '\'' | '+' | '`') || c > '~');
            if forbidden || c < ' ' {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    // Writing to a String cannot fail.
                    write!(out, "\\u{unit:04X}").unwrap_or_default();
                }
            } else {
                out.push(c);
            }
            return;
        }
    };
    out.push_str(short);
}

/// `value` written anew with the escapes of a style, keys in the order the reader keeps them.
pub(super) fn restyle(style: Style, value: &serde_json::Value) -> String {
    use serde_json::Value;
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::String(text) => quote(style, text),
        Value::Array(items) => array(items.iter().map(|item| restyle(style, item))),
        Value::Object(members) => members
            .iter()
            .fold(Object::new(style), |object, (key, item)| object.raw(key, &restyle(style, item)))
            .end(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_platform_has_its_escapes() {
        let text = "a\"<b></b>'+é😀\n\u{1}\\";
        assert_eq!(quote(Style::Plain, text), "\"a\\\"<b></b>'+é😀\\n\\u0001\\\\\"");
        assert_eq!(quote(Style::JsonLib, text), "\"a\\\"<b><\\/b>'+é😀\\n\\u0001\\\\\"");
        assert_eq!(
            quote(Style::DotNet, text),
            "\"a\\u0022\\u003Cb\\u003E\\u003C/b\\u003E\\u0027\\u002B\
             \\u00E9\\uD83D\\uDE00\\n\\u0001\\\\\""
        );
    }

    #[test]
    fn members_keep_their_order() {
        let text = Object::new(Style::Plain).text("z", "1").null("a").number("n", 2).end();
        assert_eq!(text, r#"{"z":"1","a":null,"n":2}"#);
        assert_eq!(Object::new(Style::Plain).end(), "{}");
    }

    #[test]
    fn restyled_json_means_the_same() {
        let value = serde_json::json!({"a": ["<é>", 1, null, true]});
        let text = restyle(Style::DotNet, &value);
        assert_eq!(text, r#"{"a":["\u003C\u00E9\u003E",1,null,true]}"#);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&text).unwrap(), value);
    }
}
