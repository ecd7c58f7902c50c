//! How the plugins write payloads: by concatenation, and (SparkWeb) through json-lib 0.8.
//!
//! json-lib reads the concatenated text again: what a person typed may break it (no frame at
//! all), change it, or forge fields. Older plugins send the text as it is.

use crate::scripted::json::{Object, Style, quote};

/// Where SparkWeb's hash map puts keys; others follow as they came.
const ORDER: [&str; 12] = [
    "show", "reason", "password", "inviter", "data", "from", "to", "state", "type", "status",
    "room", "body",
];

/// A member of a template.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part<'a> {
    /// Put between quotes, unescaped.
    Text(&'a str, &'a str),
    /// JSON already.
    Raw(&'a str, &'a str),
}

/// The text a plugin concatenates.
pub(super) fn template(parts: &[Part<'_>]) -> String {
    let members: Vec<String> = parts
        .iter()
        .map(|part| match part {
            Part::Text(key, value) => format!("\"{key}\": \"{value}\""),
            Part::Raw(key, value) => format!("\"{key}\": {value}"),
        })
        .collect();
    format!("{{{}}}", members.join(", "))
}

/// What json-lib makes of a template; `None` where it throws.
pub(super) fn through_json_lib(template: &str) -> Option<String> {
    let mut members = parse(template)?;
    members
        .sort_by_key(|(key, _)| ORDER.iter().position(|known| known == key).unwrap_or(ORDER.len()));
    let object = members
        .iter()
        .fold(Object::new(Style::JsonLib), |object, (key, json)| object.raw(key, json));
    Some(object.end())
}

/// Members as (key, JSON text); a later key replaces an earlier one.
fn parse(text: &str) -> Option<Vec<(String, String)>> {
    let mut members: Vec<(String, String)> = Vec::new();
    let mut rest = text.strip_prefix('{')?;
    loop {
        let (key, after) = string(rest.trim_start().strip_prefix('"')?)?;
        let value = after.trim_start().strip_prefix(':')?.trim_start();
        let (json, after) = match value.strip_prefix('"') {
            Some(inside) => {
                let (text, after) = string(inside)?;
                (written(&text), after)
            }
            None => other(value)?,
        };
        match members.iter_mut().find(|(known, _)| *known == key) {
            Some((_, known)) => *known = json,
            None => members.push((key, json)),
        }
        let after = after.trim_start();
        match after.strip_prefix([',', ';']) {
            Some(more) => rest = more,
            None => return after.starts_with('}').then_some(members),
        }
    }
}

/// Text that looks like a function is written without quotes.
fn written(text: &str) -> String {
    let function = text.starts_with("function(") && text.ends_with('}');
    if function { text.to_owned() } else { quote(Style::JsonLib, text) }
}

/// A string after its opening quote, and what follows its closing one.
fn string(text: &str) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next()? {
            '"' => return Some((out, chars.as_str())),
            '\n' | '\r' | '\0' => return None,
            '\\' => match chars.next()? {
                'b' => out.push('\u{8}'),
                't' => out.push('\t'),
                'n' => out.push('\n'),
                'f' => out.push('\u{c}'),
                'r' => out.push('\r'),
                escape @ ('u' | 'x') => {
                    let digits = if escape == 'u' { 4 } else { 2 };
                    let hex: String = chars.by_ref().take(digits).collect();
                    let code = u32::from_str_radix(&hex, 16).ok()?;
                    out.push(char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                c => out.push(c),
            },
            c => out.push(c),
        }
    }
}

/// A value that is no string, as it is written.
fn other(text: &str) -> Option<(String, &str)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<serde_json::Value>();
    let value = values.next()?.ok()?;
    Some((value.to_string(), text.get(values.byte_offset()..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, want: Option<&str>) {
        let parts =
            [Part::Text("from", "a@b"), Part::Raw("data", "null"), Part::Text("body", body)];
        assert_eq!(through_json_lib(&template(&parts)).as_deref(), want, "{body:?}");
    }

    #[test]
    fn what_people_type_is_dropped_altered_or_forged() {
        check("hello", Some(r#"{"data":null,"from":"a@b","body":"hello"}"#));
        check("</b> Olá 😀", Some(r#"{"data":null,"from":"a@b","body":"<\/b> Olá 😀"}"#));
        check("he said \"hi\" to me", None);
        check("line one\nline two", None);
        check("C:\\temp\\", None);
        check(
            "C:\\new\\table",
            Some("{\"data\":null,\"from\":\"a@b\",\"body\":\"C:\\new\\table\"}"),
        );
        check(
            "hi\", \"from\":\"ceo@example.org/desk",
            Some(r#"{"data":null,"from":"ceo@example.org/desk","body":"hi"}"#),
        );
        check(
            "function(a,b){return a+b}",
            Some(r#"{"data":null,"from":"a@b","body":function(a,b){return a+b}}"#),
        );
    }

    #[test]
    fn objects_pass() {
        let parts = [Part::Raw("data", r#"{"a":[1]}"#), Part::Text("body", "x")];
        let text = through_json_lib(&template(&parts));
        assert_eq!(text.as_deref(), Some(r#"{"data":{"a":[1]},"body":"x"}"#));
    }
}
