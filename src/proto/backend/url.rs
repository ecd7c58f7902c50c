//! Which addresses of a backend may stand in a page: those that open something, and do not run.
//!
//! Clients put them into links. Not here: addresses of files at the edge (`files`).

/// Schemes whose addresses run in the page that opens them, or stand for one of their own.
const RUNNING: [&str; 3] = ["javascript", "vbscript", "data"];

/// An absolute URL that opens something, and does not run in the page that shows it.
pub(super) fn is_openable(url: &str) -> bool {
    let Some((scheme, rest)) = url.split_once(':') else {
        return false;
    };
    let is_scheme = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    is_scheme && is_harmless(url) && !rest.is_empty()
}

/// Whether nothing runs where a page makes a link of it, absolute or not. Browsers pass over
/// space and control characters before a scheme, and over line breaks and tabs within it (WHATWG
/// URL, 4.4).
pub(super) fn is_harmless(url: &str) -> bool {
    let mut read = url.chars().filter(|c| !matches!(c, '\t' | '\n' | '\r')).peekable();
    while read.next_if(|c| *c <= ' ').is_some() {}
    let scheme: String = read.take_while(|c| *c != ':').take(16).collect();
    !RUNNING.iter().any(|word| scheme.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_runs() {
        for (url, harmless, openable) in [
            ("https://example.org/a:b", true, true),
            ("/meet/room", true, false),
            ("meet?x=javascript:1", true, false),
            ("", true, false),
            ("https:", true, false),
            ("tel:+491", true, true),
            ("javascript:alert(1)", false, false),
            ("JavaScript:alert(1)", false, false),
            (" \u{1}java\nscript\t:alert(1)", false, false),
            ("vbscript:x", false, false),
            ("data:text/html,x", false, false),
            ("javascripts://x", true, true),
        ] {
            assert_eq!(is_harmless(url), harmless, "{url:?}");
            assert_eq!(is_openable(url), openable, "{url:?}");
        }
    }
}
