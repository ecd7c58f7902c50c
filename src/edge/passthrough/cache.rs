//! Who may keep a passed answer: nobody but the browser that asked for it.
//!
//! What came for one person's credential is no one else's, whatever a backend thinks of caches:
//! it does not know who asks. Not here: the rest of the head (`answer`).

use http::header::{CACHE_CONTROL, HeaderMap, HeaderName, VARY};

/// What a backend may say to the browser's own cache. Of `max-age` the seconds go with it.
const KEPT: [&str; 4] = ["no-cache", "must-revalidate", "immutable", "no-transform"];
const MAX_AGE: &str = "max-age";
const NO_STORE: &str = "no-store";

/// Where credentials stand: an answer to one is none to another.
const CREDENTIALS: [&str; 3] = ["Authorization", "X-API-Key", "Cookie"];

/// What is said to caches in place of a backend's words; nothing is kept where it says nothing.
pub(super) fn cache_control(headers: &HeaderMap) -> String {
    let said = values(headers, CACHE_CONTROL);
    let mut kept = vec!["private".to_owned()];
    let mut is_said = false;
    for directive in said.iter().flat_map(|value| value.split(',')) {
        let directive = directive.trim().to_ascii_lowercase();
        is_said |= !directive.is_empty();
        let (name, value) = directive.split_once('=').unwrap_or((&directive, ""));
        let is_count = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
        if name == NO_STORE {
            return NO_STORE.to_owned();
        } else if name == MAX_AGE && is_count {
            kept.push(directive);
        } else if let Some(name) = KEPT.into_iter().find(|kept| *kept == name) {
            kept.push(name.to_owned());
        }
    }
    if is_said { kept.join(", ") } else { NO_STORE.to_owned() }
}

/// What an answer depends on: the edge's own words, then credentials, then the backend's.
pub(super) fn vary(ours: &HeaderMap, theirs: &HeaderMap) -> String {
    let [ours, theirs] = [ours, theirs].map(|headers| values(headers, VARY));
    let [ours, theirs] =
        [&ours, &theirs].map(|values| values.iter().flat_map(|value| value.split(',')));
    let mut names: Vec<&str> = Vec::new();
    for name in ours.chain(CREDENTIALS).chain(theirs).map(str::trim) {
        let is_there = names.iter().any(|known| known.eq_ignore_ascii_case(name));
        // `*` is one, too: nothing but the request itself.
        if !is_there && HeaderName::from_bytes(name.as_bytes()).is_ok() {
            names.push(name);
        }
    }
    names.join(", ")
}

fn values(headers: &HeaderMap, name: HeaderName) -> Vec<&str> {
    headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect()
}
