//! The head of a passed request: what of a client's reaches a backend.
//!
//! A list of what may pass, not of what may not: a header that nobody thought of is not told.
//! Not here: which call it is (`gate`), what the dialect adds (`backend::PassPlan`).

use http::Method;
use http::header::{
    ACCEPT_ENCODING, CONTENT_LENGTH, HOST, HeaderMap, HeaderName, HeaderValue, RANGE,
    TRANSFER_ENCODING,
};
use pingora::Result;
use pingora::http::RequestHeader;

use super::Call;
use crate::edge::clock;

/// What a client may tell a backend about its request. Who it is and where its page stands are
/// none of these; neither are words about the connection.
const PASSED: &[&str] = &[
    "accept",
    "accept-language",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-type",
    "idempotency-key",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "pragma",
    "range",
    "traceparent",
    "tracestate",
    "user-agent",
    "x-requested-with",
];

/// Turns the client's head into the one that the backend gets.
pub(super) fn dress(header: &mut RequestHeader, call: &Call) -> Result<()> {
    let route = &call.passed.route;
    let taken = |name: &HeaderName| {
        let is_framing = *name == CONTENT_LENGTH || *name == TRANSFER_ENCODING;
        is_framing || PASSED.contains(&name.as_str()) || route.headers.contains(name)
    };
    for name in names(&header.headers) {
        if !taken(&name) {
            header.remove_header(&name);
        }
    }
    if !route.source.plan.pass.private_keys.is_empty() {
        // A part of a document cannot be looked through.
        header.remove_header(&RANGE);
    }
    header.insert_header(HOST, route.source.url.authority())?;
    header.insert_header(ACCEPT_ENCODING, "identity")?;
    header.insert_header("X-Request-Id", &call.answered.request_id)?;
    match call.answered.trace {
        Some(trace) => header.insert_header("traceparent", trace.header(rand::random()))?,
        // Absent, as the standard asks, when it cannot be read.
        None => drop((header.remove_header("traceparent"), header.remove_header("tracestate"))),
    }
    if let (true, Some(address)) = (route.source.plan.pass.tells_address, call.passed.address) {
        header.insert_header("X-Forwarded-For", address.to_string())?;
    }
    for (name, value) in &call.dress.headers {
        let value = HeaderValue::from_bytes(value.as_bytes());
        let value = value.map_err(|_| super::internal("a header cannot hold its value"))?;
        header.insert_header(*name, value)?;
    }
    header.set_raw_path(target(call, &header.method).as_bytes())
}

fn names(headers: &HeaderMap) -> Vec<HeaderName> {
    headers.keys().cloned().collect()
}

/// Path and query: the client's own pairs first, then what the dialect sets.
fn target(call: &Call, method: &Method) -> String {
    let plan = &call.passed.route.source.plan.pass;
    // Only what is read may come out of somebody's cache.
    let fresh = plan.fresh_query.filter(|_| *method == Method::GET || *method == Method::HEAD);
    let fresh =
        fresh.map(|name| format!("{name}={}{:03}", clock::wall().0, rand::random_range(0..1000)));
    let parts = [call.passed.query.clone(), call.dress.query.clone(), fresh.unwrap_or_default()];
    let query: Vec<_> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    match query.is_empty() {
        true => call.passed.path.clone(),
        false => format!("{}?{}", call.passed.path, query.join("&")),
    }
}
