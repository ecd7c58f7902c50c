//! What `/ready` says: whether clients should be sent here, and how each source of each route is.
//!
//! A route is usable unless every source of it has failed repeatedly, on every stream of it. A
//! source that nobody asks for counts as usable. Not here: what counts as a failure (`upstream`).

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::{Value, json};

use super::upstream::Health;
use crate::config::{Route, Source};

/// Whether the process is ready, and the answer that says so. `reason`: why it is not, whatever
/// its sources do.
pub(super) fn told(
    reason: Option<&'static str>,
    routes: &[Arc<Route>],
    health: &HashMap<String, Vec<Health>>,
) -> (bool, Value) {
    let mut are_usable = true;
    let routes: Vec<_> = routes
        .iter()
        .map(|route| {
            let streams =
                |source: &Source| health.get(&source.name).map(Vec::as_slice).unwrap_or_default();
            let is_usable = !route.sources.iter().all(|source| has_failed(streams(source)));
            are_usable &= is_usable;
            let sources: Vec<_> =
                route.sources.iter().map(|source| told_of(source, streams(source))).collect();
            json!({"route": route.path, "usable": is_usable, "sources": sources})
        })
        .collect();
    match reason.or_else(|| (!are_usable).then_some("sources_failed")) {
        None => (true, json!({"ready": true, "routes": routes})),
        Some(reason) => (false, json!({"ready": false, "reason": reason, "routes": routes})),
    }
}

/// One stream that works shows that the source does.
fn has_failed(streams: &[Health]) -> bool {
    !streams.is_empty() && streams.iter().all(|stream| stream.is_failing)
}

fn told_of(source: &Source, streams: &[Health]) -> Value {
    let state = match streams {
        [] => "unused",
        _ if has_failed(streams) => "failed",
        _ if streams.iter().any(|stream| stream.is_up) => "up",
        _ if streams.iter().any(|stream| stream.down.is_some()) => "down",
        _ => "connecting",
    };
    let mut told = json!({"source": source.name, "state": state, "streams": streams.len()});
    let reason = streams.iter().find_map(|stream| stream.down);
    let failures = streams.iter().map(|stream| stream.failures).max().unwrap_or_default();
    let since = streams.iter().filter_map(|stream| stream.since).min();
    if let Some(reason) = reason.filter(|_| state != "up") {
        told["reason"] = reason.as_str().into();
    }
    if let Some(since) = since.filter(|_| state != "up") {
        told["failures"] = failures.into();
        told["since"] = since.to_string().into();
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::event::DownReason;
    use crate::proto::time::UnixMillis;

    fn failing(failures: u32) -> Health {
        Health {
            is_failing: failures >= 3,
            is_up: false,
            down: Some(DownReason::Refused),
            failures,
            since: Some(UnixMillis(1_768_848_189_074)),
        }
    }

    const UP: Health =
        Health { is_failing: false, is_up: true, down: None, failures: 0, since: None };
    const STARTING: Health = Health { is_up: false, ..UP };

    #[track_caller]
    fn check(streams: &[Health], state: &str, want_failures: Option<u32>) {
        let conf = "listen: [{address: '127.0.0.1:0'}]\nauth: {anonymous: true}\n\
            sources: {a: {backend: openfire, url: 'https://a', token: '{query.token}'}}\n\
            routes: [{path: /a, sources: [a]}]";
        let loaded = crate::config::parse(conf, "c", std::path::Path::new(""), &|_| None);
        let routes = loaded.expect("a conf").config.routes;
        let health = HashMap::from([("a".to_owned(), streams.to_vec())]);
        let (is_ready, told) = told(None, &routes, &health);
        let source = &told["routes"][0]["sources"][0];
        assert_eq!(source["state"], state);
        assert_eq!(is_ready, state != "failed", "{told}");
        assert_eq!(source["failures"].as_u64(), want_failures.map(u64::from), "{told}");
        let since = want_failures.map(|_| "2026-01-19T18:43:09.074Z");
        assert_eq!(source["since"].as_str(), since, "{told}");
    }

    #[test]
    fn a_source_has_failed_when_all_its_streams_have_repeatedly() {
        check(&[], "unused", None);
        check(&[STARTING], "connecting", None);
        check(&[UP], "up", None);
        check(&[failing(2)], "down", Some(2));
        check(&[failing(3), failing(9)], "failed", Some(9));
        check(&[failing(9), failing(1)], "down", Some(9));
        check(&[failing(9), STARTING], "down", Some(9));
        check(&[failing(9), UP], "up", None);
    }
}
