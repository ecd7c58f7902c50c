//! The console: a static page on the operators' listener that shows a stream to developers.
//!
//! Its files are part of the binary; what it may do is bound by its Content-Security-Policy: own
//! scripts and styles alone, no markup from data, connections to the listeners of this process
//! and nowhere else. What it knows of the conf are names, paths and words, never a credential.
//! Not here: what the page does (the files beside this one), who may reach the listener (`admin`).

use std::net::SocketAddr;
use std::sync::Arc;

use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName,
    HeaderValue, LOCATION, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use http::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::proxy::Edge;
use crate::config::{Config, Pattern, Route};
use crate::proto::event::describe::CONTROLS;
use crate::proto::event::{MessageType, Vocabulary};

/// Where the page lives. Its own files are named relative to this.
pub(super) const PATH: &str = "/console";

const SCRIPT: &str = "text/javascript; charset=utf-8";
/// The files by their names below [`PATH`], with their types.
const FILES: &[(&str, &str, &str)] = &[
    ("", "text/html; charset=utf-8", include_str!("page/index.html")),
    ("console.css", "text/css; charset=utf-8", include_str!("page/console.css")),
    ("icon.svg", "image/svg+xml", include_str!("page/icon.svg")),
    ("theme.mjs", SCRIPT, include_str!("page/theme.mjs")),
    ("main.mjs", SCRIPT, include_str!("page/main.mjs")),
    ("state.mjs", SCRIPT, include_str!("page/state.mjs")),
    ("timeline.mjs", SCRIPT, include_str!("page/timeline.mjs")),
    ("words.mjs", SCRIPT, include_str!("page/words.mjs")),
    ("connection.mjs", SCRIPT, include_str!("page/connection.mjs")),
    ("explain.mjs", SCRIPT, include_str!("page/explain.mjs")),
    ("send.mjs", SCRIPT, include_str!("page/send.mjs")),
    ("composer.mjs", SCRIPT, include_str!("page/composer.mjs")),
    ("selftest.mjs", SCRIPT, include_str!("page/selftest.mjs")),
    ("settings.mjs", SCRIPT, include_str!("page/settings.mjs")),
    ("chat.mjs", SCRIPT, include_str!("page/chat.mjs")),
    ("sources.mjs", SCRIPT, include_str!("page/sources.mjs")),
    ("log.mjs", SCRIPT, include_str!("page/log.mjs")),
    ("dom.mjs", SCRIPT, include_str!("page/dom.mjs")),
];
/// What the page learns of the conf, made anew for each request: a reload may change it.
const CONF: &str = "config.json";

/// Serves the page.
pub(super) struct Console {
    edge: Arc<Edge>,
    /// URLs of the client listeners.
    listen: Vec<String>,
    policy: HeaderValue,
}

impl Console {
    /// Of listeners that are bound: URL and address.
    pub(super) fn new(edge: Arc<Edge>, listen: &[(String, SocketAddr)]) -> Self {
        let sources: Vec<_> = listen.iter().flat_map(|(url, at)| reachable(url, *at)).collect();
        let policy = format!(
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; \
             connect-src 'self' {}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
             require-trusted-types-for 'script'; trusted-types 'none'",
            sources.join(" ")
        );
        let policy = HeaderValue::from_str(&policy)
            .unwrap_or_else(|_| HeaderValue::from_static("default-src 'none'"));
        Self { edge, listen: listen.iter().map(|(url, _)| url.clone()).collect(), policy }
    }

    /// The answer to a path below [`PATH`]; `None` if there is nothing.
    pub(super) fn answer(&self, method: &Method, path: &str) -> Option<Response<Vec<u8>>> {
        let name = path.strip_prefix(PATH)?;
        if !matches!(*method, Method::GET | Method::HEAD) {
            let mut response = self.file(StatusCode::METHOD_NOT_ALLOWED, "text/plain", Vec::new());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Some(response);
        }
        let Some(name) = name.strip_prefix('/') else {
            return name.is_empty().then(|| {
                let mut response = self.file(StatusCode::FOUND, "text/plain", Vec::new());
                // Relative, so that it holds behind a prefix, too.
                response.headers_mut().insert(LOCATION, HeaderValue::from_static("console/"));
                response
            });
        };
        if name == CONF {
            let body = about(&self.edge.config(), &self.listen).to_string();
            return Some(self.file(StatusCode::OK, "application/json", body.into_bytes()));
        }
        let (_, media, text) = FILES.iter().find(|(known, _, _)| *known == name)?;
        Some(self.file(StatusCode::OK, media, text.as_bytes().to_vec()))
    }

    fn file(&self, status: StatusCode, media: &'static str, body: Vec<u8>) -> Response<Vec<u8>> {
        let mut response = Response::new(Vec::new());
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
        headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
        headers.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        for (name, value) in [
            (CACHE_CONTROL, "no-cache"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (X_FRAME_OPTIONS, "DENY"),
            (REFERRER_POLICY, "no-referrer"),
            (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
            (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        *response.body_mut() = body;
        response
    }
}

/// How a page may call a listener, as sources of a policy. One that is bound to all addresses, or
/// whose certificate has a name, is called by names that the process does not know; a policy has
/// no way to write an IPv6 address.
fn reachable(url: &str, at: SocketAddr) -> Vec<String> {
    let (scheme, _) = url.split_once("://").unwrap_or(("http", ""));
    let port = at.port();
    if scheme == "https" || at.is_ipv6() || at.ip().is_unspecified() {
        vec![format!("{scheme}://*:{port}")]
    } else if at.ip().is_loopback() {
        vec![url.to_owned(), format!("{scheme}://localhost:{port}")]
    } else {
        vec![url.to_owned()]
    }
}

/// What the page has to know: paths, names and words, nothing secret.
fn about(config: &Config, listen: &[String]) -> Value {
    // Raw streams have names of their own, which an EventSource would have to know.
    let is_unified = |route: &&Arc<Route>| route.vocabulary != Vocabulary::Raw;
    let routes = config.routes.iter().filter(is_unified).map(|route| {
        json!({
            "path": route.path,
            "tenant": shown(route.tenant.as_ref()),
            "workflow": shown(route.workflow.as_ref()),
            "sources": route.sources.iter().map(|source| source.name.as_str()).collect::<Vec<_>>(),
            "vocabulary": if route.vocabulary == Vocabulary::Core { "core" } else { "full" },
            "heartbeatSeconds": route.heartbeat.default_secs,
            "errorsEvent": route.allow_errors_event,
        })
    });
    let sources = config
        .sources
        .iter()
        .map(|source| json!({"name": source.name, "backend": source.dialect.name}));
    let proxy = config.proxy.iter().map(|proxy| {
        json!({
            "path": proxy.path,
            "source": proxy.source.name,
            "to": proxy.to,
            "takesPost": proxy.methods.contains(&Method::POST),
        })
    });
    json!({
        "listen": listen,
        "routes": routes.collect::<Vec<_>>(),
        "sources": sources.collect::<Vec<_>>(),
        "proxy": proxy.collect::<Vec<_>>(),
        "messageTypes": MessageType::ALL.iter().map(|name| name.as_str()).collect::<Vec<_>>(),
        "controlEvents": CONTROLS.iter().map(|control| control.name).collect::<Vec<_>>(),
    })
}

fn shown(pattern: Option<&Pattern>) -> Option<String> {
    pattern.map(ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, want: &[&str]) {
        let at = url.split_once("://").expect("a scheme").1.parse().expect("an address");
        assert_eq!(reachable(url, at), want);
    }

    #[test]
    fn a_page_may_call_listeners_by_the_names_they_can_have() {
        check("http://127.0.0.1:8080", &["http://127.0.0.1:8080", "http://localhost:8080"]);
        check("http://[::1]:8080", &["http://*:8080"]);
        check("http://10.0.0.5:8080", &["http://10.0.0.5:8080"]);
        check("http://0.0.0.0:8080", &["http://*:8080"]);
        check("http://[::]:8080", &["http://*:8080"]);
        check("https://10.0.0.5:8443", &["https://*:8443"]);
    }

    /// What keeps text of backends from becoming markup must not be undone by a slip.
    #[test]
    fn the_files_write_no_markup_and_name_no_other_host() {
        for (name, _, text) in FILES {
            for word in [
                "innerHTML",
                "outerHTML",
                "insertAdjacentHTML",
                "document.write",
                "eval(",
                "style=",
            ] {
                assert!(!text.contains(word), "{word} in {name}");
            }
            let names = text.matches("://").count() - text.matches("//www.w3.org/2000/svg").count();
            assert_eq!(names, 0, "an address in {name}");
        }
    }

    #[test]
    fn every_module_that_is_imported_is_served() {
        for (name, _, text) in FILES {
            let imports = text.lines().filter_map(|line| line.split_once(" from './"));
            for (_, rest) in imports {
                let wanted = rest.trim_end_matches("';");
                assert!(FILES.iter().any(|(known, _, _)| *known == wanted), "{wanted} of {name}");
            }
        }
    }
}
