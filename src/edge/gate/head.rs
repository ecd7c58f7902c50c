//! What of a request's head is looked at before anything else: its sizes, and its path.
//!
//! A path means the same to everybody or is refused: escapes of letters, digits and `-._~` are
//! undone, all else that servers are known to read in different ways (dot segments, empty ones,
//! escaped or backward slashes, control characters, broken escapes) is 400. Nothing is folded
//! away in silence, since a backend behind this may fold otherwise. Not here: which paths there
//! are, the query.

use std::borrow::Cow;

use super::Asked;
use crate::edge::refusal::Refusal;

/// Browsers send about twenty fields, chains of proxies add a dozen.
pub(in crate::edge) const FIELDS_MAX: usize = 100;
/// A JWT of 8 KiB as a parameter, and as much again.
pub(in crate::edge) const TARGET_BYTES_MAX: usize = 16 * 1024;

/// Checks the sizes, and gives the path in the one form that is looked up.
pub(super) fn checked_path<'a>(asked: &Asked<'a>) -> Result<Cow<'a, str>, Refusal> {
    if asked.path.len() + asked.query.len() > TARGET_BYTES_MAX {
        return Err(Refusal::TargetTooLong);
    }
    if asked.headers.len() > FIELDS_MAX {
        return Err(Refusal::HeadTooLarge);
    }
    normal_path(asked.path).ok_or(Refusal::BadPath)
}

/// The one form of a path; `None` if it could be read in several ways.
pub(crate) fn normal_path(path: &str) -> Option<Cow<'_, str>> {
    // `OPTIONS *` names no path, and finds none.
    if path == "*" {
        return Some(Cow::Borrowed(path));
    }
    let decoded = undo_escapes(path)?;
    let mut segments = decoded.strip_prefix('/')?.split('/').peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        // Some servers cut parameters off before they look for dots.
        let name = segment.split(';').next().unwrap_or_default();
        let is_empty = segment.is_empty() && !is_last;
        if is_empty || matches!(name, "." | "..") || segment.contains('\\') {
            return None;
        }
    }
    Some(decoded)
}

/// Undoes the escapes of characters that need none, and writes the others in capitals.
fn undo_escapes(path: &str) -> Option<Cow<'_, str>> {
    if path.bytes().any(|byte| byte.is_ascii_control()) {
        return None;
    }
    if !path.contains('%') {
        return Some(Cow::Borrowed(path));
    }
    let mut pieces = path.split('%');
    let mut out = String::with_capacity(path.len());
    out.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (escape, rest) = piece.split_at_checked(2)?;
        if !escape.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return None;
        }
        let byte = u8::from_str_radix(escape, 16).ok()?;
        match byte {
            b'/' | b'\\' => return None,
            byte if byte.is_ascii_control() => return None,
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
        out.push_str(rest);
    }
    Some(Cow::Owned(out))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_form() {
        for (path, want) in [
            ("/", "/"),
            ("/events", "/events"),
            ("/events/", "/events/"),
            ("/%65vents", "/events"),
            ("/%7Euser/a%2db", "/~user/a-b"),
            ("/a%20b/%c3%a9", "/a%20b/%C3%A9"),
            ("/é", "/é"),
            ("/a;b=c/d", "/a;b=c/d"),
            ("/.well-known/x", "/.well-known/x"),
            ("/...", "/..."),
            // Undone once, not twice.
            ("/%2565vents", "/%2565vents"),
            ("*", "*"),
        ] {
            assert_eq!(normal_path(path).as_deref(), Some(want), "{path}");
        }
    }

    #[test]
    fn a_path_that_could_be_read_in_two_ways_is_none() {
        for path in [
            "",
            "events",
            "//events",
            "/a//events",
            "/events//",
            "/./events",
            "/a/../events",
            "/events/..",
            "/events/.",
            "/%2e/events",
            "/%2E%2e/events",
            "/.%2e/events",
            "/..;/events",
            "/.;a=b/events",
            "/%2e%2e;x/events",
            "/a%2fevents",
            "/a%2Fevents",
            "/a\\events",
            "/a%5cevents",
            "/events%00",
            "/events%0d%0aX:y",
            "/events%7f",
            "/events\u{7f}",
            "/%",
            "/%6",
            "/%zz",
            "/%é",
            "/%+1",
        ] {
            assert_eq!(normal_path(path), None, "{path}");
        }
    }
}
