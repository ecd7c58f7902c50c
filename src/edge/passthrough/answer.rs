//! The head of a passed answer: the backend's status and content, the edge's rules.
//!
//! A list of what may pass, as for requests: what a backend says about pages, origins, cookies,
//! connections and itself is not told. Said anew are CORS by the conf, who may keep an answer, and
//! that it is nothing to be run. Not here: bodies.

use http::header::{
    ACCEPT_RANGES, ACCESS_CONTROL_EXPOSE_HEADERS, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, HeaderName, LOCATION, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use pingora::Result;
use pingora::http::ResponseHeader;

use super::{Call, PassFault, cache};
use crate::config::ProxyRoute;

/// What a backend may tell a client about its answer, besides what is said anew below. How an
/// answer travels, what runs in pages, who stands behind the edge are none of these. Nor are
/// allowances: those of a backend are not the client's own.
const PASSED: &[&str] = &[
    "accept-ranges",
    "allow",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-range",
    "content-type",
    "etag",
    "last-modified",
    "retry-after",
    // Says where the body ends: Pingora writes it anew.
    "transfer-encoding",
];

/// Turns the backend's head into the one that the client gets.
pub(super) fn dress(header: &mut ResponseHeader, call: &Call) -> Result<()> {
    let route = &call.passed.route;
    let theirs = header.headers.clone();
    let passed =
        |name: &HeaderName| PASSED.contains(&name.as_str()) || route.answer_headers.contains(name);
    for name in theirs.keys().filter(|name| !passed(name)) {
        header.remove_header(name);
    }
    if call.pruner.is_some() {
        // Of the whole document, which is not what leaves.
        for name in [CONTENT_LENGTH, ETAG, ACCEPT_RANGES] {
            header.remove_header(&name);
        }
    }
    let location = theirs.get(LOCATION).and_then(|location| location.to_str().ok());
    if let Some(location) = location.and_then(|at| client_location(route, at)) {
        header.insert_header(LOCATION, location)?;
    }
    header.insert_header(CACHE_CONTROL, cache::cache_control(&theirs))?;
    header.insert_header(X_CONTENT_TYPE_OPTIONS, "nosniff")?;
    header.insert_header(REFERRER_POLICY, "no-referrer")?;
    header.insert_header(CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox")?;
    call.answered.write(header)?;
    if let Some(exposed) = header.headers.get(ACCESS_CONTROL_EXPOSE_HEADERS) {
        let ours = exposed.to_str().unwrap_or_default();
        let named = route.answer_headers.iter().map(HeaderName::as_str);
        let names: Vec<_> = std::iter::once(ours).chain(named).collect();
        header.insert_header(ACCESS_CONTROL_EXPOSE_HEADERS, names.join(", "))?;
    }
    header.insert_header(VARY, cache::vary(&header.headers, &theirs))
}

/// Takes everything out of a head before the answer's own: it says that there is one to come.
pub(super) fn bare(header: &mut ResponseHeader) {
    let names: Vec<_> = header.headers.keys().cloned().collect();
    for name in names {
        header.remove_header(&name);
    }
}

/// Why an answer cannot be passed on at all.
pub(super) fn fault(header: &ResponseHeader, call: &Call) -> Option<PassFault> {
    let text = |name: &HeaderName| {
        header.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    };
    let essence = text(&CONTENT_TYPE).split(';').next().unwrap_or_default().trim();
    if essence.eq_ignore_ascii_case("text/event-stream") {
        return Some(PassFault::Events);
    }
    let is_read = call.pruner.is_some() || call.copy.is_some();
    if is_read && !matches!(text(&CONTENT_ENCODING), "" | "identity") {
        return Some(PassFault::BadAnswer);
    }
    let length = text(&CONTENT_LENGTH).parse::<usize>().ok();
    let bytes_max = call.passed.route.download_bytes_max;
    (length.is_some_and(|length| length > bytes_max)).then_some(PassFault::BadAnswer)
}

/// Whether an answer's body may hold private keys.
pub(super) fn is_json(header: &ResponseHeader) -> bool {
    let value = header.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let value = value.unwrap_or_default().to_ascii_lowercase();
    value.is_empty() || value.contains("json") || value.starts_with("text/plain")
}

/// Where a client finds what the backend has moved; `None` if nowhere behind this path, or where
/// a browser might read another host, or a way out of the path, into it.
fn client_location(route: &ProxyRoute, location: &str) -> Option<String> {
    // Browsers take `\` for `/`, and leave white space out.
    if !location.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\') {
        return None;
    }
    let url = &route.source.url;
    let scheme = url.to_string();
    let origin = scheme.strip_suffix(url.path.as_str()).unwrap_or(&scheme);
    let path = location.strip_prefix(origin).unwrap_or(location);
    let prefix = [&url.path, &route.to].map(|part| part.trim_end_matches('/')).concat();
    let rest = path.strip_prefix(&prefix)?;
    let is_below = rest.is_empty() || rest.starts_with(['/', '?', '#']);
    let is_path = path.starts_with('/') && !path.starts_with("//");
    let below = rest.split(['?', '#']).next().unwrap_or_default();
    let moved = format!("{}{rest}", route.path.trim_end_matches('/'));
    if !is_below || !is_path || super::path::decoded(below).is_none() {
        return None;
    }
    // Of the path that is all there is nothing left.
    let moved = if moved.starts_with('/') { moved } else { format!("/{moved}") };
    (!moved.starts_with("//")).then_some(moved)
}
