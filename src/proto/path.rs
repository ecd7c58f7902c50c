//! A request's path in its one form, or why it has none.
//!
//! A path means the same to everybody or is refused: escapes of letters, digits and `-._~` are
//! undone, all else that servers are known to read in different ways (dot segments, empty ones,
//! escaped or backward slashes, control characters, broken escapes) is a fault. Nothing is folded
//! away in silence, since a backend behind this may fold otherwise. Not here: which paths there
//! are, the query.

use std::borrow::Cow;

/// Why a path could be read in several ways.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathFault {
    /// It does not begin with a slash.
    NoSlash,
    /// It holds a control character, escaped or not.
    Control,
    /// A `%` without two hexadecimal digits behind it.
    BrokenEscape,
    /// A slash that is escaped or backward.
    OddSlash,
    /// Two slashes with nothing between them.
    Empty,
    /// A dot or two between slashes.
    Dots,
}

/// The one form of a path.
///
/// # Errors
/// Why it could be read in several ways.
pub fn normal_path(path: &str) -> Result<Cow<'_, str>, PathFault> {
    // `OPTIONS *` names no path, and finds none.
    if path == "*" {
        return Ok(Cow::Borrowed(path));
    }
    let decoded = undo_escapes(path)?;
    let segments = decoded.strip_prefix('/').ok_or(PathFault::NoSlash)?.split('/');
    let mut segments = segments.peekable();
    while let Some(segment) = segments.next() {
        let is_last = segments.peek().is_none();
        // Some servers cut parameters off before they look for dots.
        let name = segment.split(';').next().unwrap_or_default();
        if segment.is_empty() && !is_last {
            return Err(PathFault::Empty);
        }
        if matches!(name, "." | "..") {
            return Err(PathFault::Dots);
        }
        if segment.contains('\\') {
            return Err(PathFault::OddSlash);
        }
    }
    Ok(decoded)
}

/// Undoes the escapes of characters that need none, and writes the others in capitals.
fn undo_escapes(path: &str) -> Result<Cow<'_, str>, PathFault> {
    if path.bytes().any(|byte| byte.is_ascii_control()) {
        return Err(PathFault::Control);
    }
    if !path.contains('%') {
        return Ok(Cow::Borrowed(path));
    }
    let mut pieces = path.split('%');
    let mut out = String::with_capacity(path.len());
    out.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let (escape, rest) = piece.split_at_checked(2).ok_or(PathFault::BrokenEscape)?;
        if !escape.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(PathFault::BrokenEscape);
        }
        let byte = u8::from_str_radix(escape, 16).map_err(|_| PathFault::BrokenEscape)?;
        match byte {
            b'/' | b'\\' => return Err(PathFault::OddSlash),
            byte if byte.is_ascii_control() => return Err(PathFault::Control),
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                out.push(char::from(byte));
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
        out.push_str(rest);
    }
    Ok(Cow::Owned(out))
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
            assert_eq!(normal_path(path).as_deref(), Ok(want), "{path}");
        }
    }

    #[test]
    fn a_path_that_could_be_read_in_two_ways_has_none() {
        use PathFault::{BrokenEscape, Control, Dots, Empty, NoSlash, OddSlash};

        for (path, why) in [
            ("", NoSlash),
            ("events", NoSlash),
            ("//events", Empty),
            ("/a//events", Empty),
            ("/events//", Empty),
            ("/./events", Dots),
            ("/a/../events", Dots),
            ("/events/..", Dots),
            ("/events/.", Dots),
            ("/%2e/events", Dots),
            ("/%2E%2e/events", Dots),
            ("/.%2e/events", Dots),
            ("/..;/events", Dots),
            ("/.;a=b/events", Dots),
            ("/%2e%2e;x/events", Dots),
            ("/a%2fevents", OddSlash),
            ("/a%2Fevents", OddSlash),
            ("/a\\events", OddSlash),
            ("/a%5cevents", OddSlash),
            ("/events%00", Control),
            ("/events%0d%0aX:y", Control),
            ("/events%7f", Control),
            ("/events\u{7f}", Control),
            ("/%", BrokenEscape),
            ("/%6", BrokenEscape),
            ("/%zz", BrokenEscape),
            ("/%é", BrokenEscape),
            ("/%+1", BrokenEscape),
        ] {
            assert_eq!(normal_path(path), Err(why), "{path}");
        }
    }
}
