//! Paths that clients ask for: written as requests are looked up, or refused with what would be
//! right.
//!
//! A path that no request can have would be a route that nobody reaches. Not here: the one form
//! of a path (`proto::path`), paths at backends (`net`).

use super::error::quoted;
use super::net::parse_path;
use super::read::parse_text;
use crate::proto::path::{PathFault, normal_path};

/// What is asked for tickets, below the path of a route.
pub(crate) const TICKET_SUFFIX: &str = "/ticket";
/// What is asked for the self-test, below the path of a route.
pub(crate) const SELFTEST_SUFFIX: &str = "/selftest";

/// A route's path, which is taken exactly.
pub(super) fn parse_route_path(text: &str) -> Result<String, String> {
    let path = parse_prefix(text)?;
    if text != path {
        return Err(format!(
            "a route's path is taken exactly and has no / at its end; write {}",
            quoted(&path)
        ));
    }
    Ok(path)
}

/// A path that stands for all below it, with or without a slash at its end.
pub(super) fn parse_prefix(text: &str) -> Result<String, String> {
    let path = parse_path(&parse_text(text)?)?;
    match normal_path(text) {
        Ok(normal) if normal != text => Err(format!(
            "requests are looked up as {}: escapes are undone where none is needed, and written \
             in capitals; write that",
            quoted(&normal)
        )),
        Ok(_) => Ok(path),
        Err(fault) => Err(format!("every request for this path is refused (400): {}", why(fault))),
    }
}

const fn why(fault: PathFault) -> &'static str {
    match fault {
        PathFault::NoSlash => "it does not begin with a slash",
        PathFault::Control => "it holds a control character",
        PathFault::BrokenEscape => {
            "a % comes without two hexadecimal digits; a % itself is written %25"
        }
        PathFault::OddSlash => "a slash is escaped, or backward; write / itself, or leave it out",
        PathFault::Empty => "nothing stands between two slashes; write one",
        PathFault::Dots => "a . or .. stands between slashes; write the path that is meant",
    }
}

/// The path of the stream that a path asks the tickets or the self-test of, and which of them.
pub(super) fn below_route(path: &str) -> Option<(&str, &'static str)> {
    let of = |suffix: &str, what| {
        let route = path.strip_suffix(suffix)?;
        Some((if route.is_empty() { "/" } else { route }, what))
    };
    of(TICKET_SUFFIX, "tickets").or_else(|| of(SELFTEST_SUFFIX, "its self-test"))
}
