//! Whether the rest of a path may be put behind a backend's prefix.
//!
//! Refused is whatever some server might read as a way out of the prefix: dots between slashes,
//! in any encoding, slashes that are encoded, path parameters behind dots. What is let through
//! leaves in the one form that a path has (`proto::path`). Not here: which prefix
//! (`config::ProxyRoute`).

use crate::edge::gate::undo;

/// A backend behind other servers may decode as often; deeper is nobody's honest encoding.
const DECODED_MAX: usize = 3;

/// The rest of a path, decoded, if it stays where it is put.
pub(crate) fn decoded(rest: &str) -> Option<String> {
    let mut out = String::with_capacity(rest.len());
    for (index, segment) in rest.split('/').enumerate() {
        if index > 0 {
            out.push('/');
        }
        out.push_str(&decoded_segment(segment)?);
    }
    Some(out)
}

fn decoded_segment(raw: &str) -> Option<String> {
    if !raw.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'#' && byte != b'?') {
        return None;
    }
    let once = decode(raw)?;
    let mut text = once.clone();
    for _ in 0..DECODED_MAX {
        if !is_harmless(&text) {
            return None;
        }
        match decode(&text) {
            Some(next) if next != text => text = next,
            Some(_) | None => return Some(once),
        }
    }
    None
}

/// Whether a decoded segment is one, and no step up or aside.
fn is_harmless(segment: &str) -> bool {
    let name = segment.split(';').next().unwrap_or_default();
    let is_dots = matches!(name.trim(), "." | "..");
    !is_dots && !segment.contains(['/', '\\']) && !segment.chars().any(char::is_control)
}

fn decode(text: &str) -> Option<String> {
    undo(text, b'+')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn honest_paths_pass() {
        for (rest, want) in [
            ("", ""),
            ("/", "/"),
            ("/chat/message/bob@example.org", "/chat/message/bob@example.org"),
            ("/a%20b/%C3%A9", "/a b/é"),
            ("/100%25", "/100%"),
            ("/a..b/...", "/a..b/..."),
            ("/a;v=1/b", "/a;v=1/b"),
            ("//a//", "//a//"),
        ] {
            assert_eq!(decoded(rest).as_deref(), Some(want), "{rest}");
        }
    }

    #[test]
    fn no_encoding_of_a_way_out_passes() {
        for rest in [
            "/..",
            "/.",
            "/../x",
            "/a/../b",
            "/%2e%2e/x",
            "/.%2E/x",
            "/%2e",
            "/%252e%252e/x",
            "/%25252e%25252e/x",
            "/..;/x",
            "/..;a=b/x",
            "/%2e%2e%3b/x",
            "/a%2fb",
            "/a%2F..%2Fb",
            "/a%252fb",
            "/a%5c..%5cb",
            "/a\\..\\b",
            "/a%00",
            "/a%0d%0aX-Evil:%201",
            "/a%7f",
            "/a%",
            "/a%4",
            "/a%zz",
            "/%ff",
            "/é",
            "/a b",
            "/a?b",
            "/a#b",
            "/%2e%2e%20/x",
            "/%c0%ae%c0%ae/x",
        ] {
            assert_eq!(decoded(rest), None, "{rest}");
        }
        let deep = format!("/%{}41", "25".repeat(20));
        assert_eq!(decoded(&deep), None, "encoded too often");
    }
}
