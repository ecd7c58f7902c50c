//! The header `Forwarded` (RFC 7239), as far as it names clients.
//!
//! Quoted values are read as such: a comma, a semicolon or `for=` within one begins nothing.
//! Proxies put what clients say into such values (`host`), so whoever splits without looking at
//! quotes lets clients choose their address; the published parsers do. Not here: which hop is
//! believed (`address`).

use std::net::IpAddr;

use super::address::parse_hop;

/// The hops of one line from left to right, `None` for one that hides or has no good address; a
/// line that breaks the grammar is no hop that can be read.
pub(super) fn hops(line: &[u8]) -> Vec<Option<IpAddr>> {
    let Some(elements) = split(line, b',') else {
        return vec![None];
    };
    // Empty elements of a list count for nothing.
    let elements = elements.into_iter().filter(|element| !element.trim_ascii().is_empty());
    elements.map(client).collect()
}

/// Whom an element names. Two names contradict each other.
fn client(element: &[u8]) -> Option<IpAddr> {
    let mut named = None;
    for pair in split(element, b';')? {
        let at = memchr::memchr(b'=', pair)?;
        let (name, value) = pair.split_at(at);
        if !name.trim_ascii().eq_ignore_ascii_case(b"for") {
            continue;
        }
        if named.is_some() {
            return None;
        }
        named = Some(value.get(1..)?.trim_ascii());
    }
    let value = named?;
    match value.strip_prefix(b"\"") {
        // No address holds what would have to be escaped.
        Some(quoted) => parse_hop(quoted.strip_suffix(b"\"")?),
        None => parse_hop(value),
    }
}

/// Parts between separators that stand outside of quotes; `None` where a quote does not end.
fn split(text: &[u8], separator: u8) -> Option<Vec<&[u8]>> {
    let (mut is_quoted, mut is_escaped) = (false, false);
    let parts = text.split(|byte| {
        let was_quoted = is_quoted;
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_quoted => is_escaped = true,
            b'"' => is_quoted = !is_quoted,
            _ => {}
        }
        !was_quoted && *byte == separator
    });
    let parts = parts.collect();
    (!is_quoted).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(line: &str, want: &[&str]) {
        let got = hops(line.as_bytes());
        let show = |hop: Option<IpAddr>| hop.map_or_else(|| "-".to_owned(), |hop| hop.to_string());
        assert_eq!(got.into_iter().map(show).collect::<Vec<_>>(), want, "{line}");
    }

    #[test]
    fn every_hop_has_its_client() {
        // The examples of RFC 7239, sections 4 and 6.
        check("for=192.0.2.60;proto=http;by=203.0.113.43", &["192.0.2.60"]);
        check("For=\"[2001:db8:cafe::17]:4711\"", &["2001:db8:cafe::17"]);
        check("for=192.0.2.43, for=198.51.100.17", &["192.0.2.43", "198.51.100.17"]);
        check("for=192.0.2.43, for=\"[2001:db8:cafe::17]\"", &["192.0.2.43", "2001:db8:cafe::17"]);
        check("for=\"192.0.2.43:47011\"", &["192.0.2.43"]);
        check("for=\"_gazonk\", for=unknown, for=_SEVKISEK", &["-", "-", "-"]);
        check("by=203.0.113.43", &["-"]);
        check(", for=192.0.2.43 ,,", &["192.0.2.43"]);
        check("", &[]);
    }

    #[test]
    fn nothing_within_quotes_is_a_hop() {
        check("for=192.0.2.60;host=\"a,for=198.51.100.1\"", &["192.0.2.60"]);
        check("for=192.0.2.60;host=\"a;for=198.51.100.1\"", &["192.0.2.60"]);
        check("host=\"a\\\",for=198.51.100.1\";for=192.0.2.60", &["192.0.2.60"]);
    }

    #[test]
    fn what_breaks_the_grammar_names_nobody() {
        for line in [
            "for=\"192.0.2.60",
            "for=\"x, for=192.0.2.60",
            "for=192.0.2.60;for=192.0.2.61",
            "192.0.2.60",
            "for",
            "for=192.0.2.60;x",
            "for=\"192.0.2.60\\\"",
            "for=\"192.0.2.60\" x",
        ] {
            check(line, &["-"]);
        }
    }
}
