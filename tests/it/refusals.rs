//! Every refusal: what is asked, the status, what it says, and the headers that are on all of them.

use std::fmt::Write as _;

use chatmux::scripted::Kind;

use crate::support::{Client, KEY, One, Reply, send_raw, sha256};

const PAGE: &str = "https://app.example.com";
const IDS: &str = "tenantId=acme&workflow=customer-support&participantId=jane";

/// What is asked, and what is answered.
struct Row {
    what: &'static str,
    asked: String,
    status: u16,
    error: &'static str,
    /// Stands in the message.
    says: &'static str,
    /// Headers besides those of all refusals.
    headers: &'static [(&'static str, &'static str)],
}

const ALLOW: &[(&str, &str)] = &[("allow", "GET, HEAD, OPTIONS")];
const BEARER: &[(&str, &str)] = &[("www-authenticate", "Bearer")];

/// A whole request head.
fn head(method: &str, target: &str, more: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: x\r\nOrigin: {PAGE}\r\n{more}\r\n")
}

fn get(query: &str) -> String {
    head("GET", &format!("/events?{query}"), "")
}

fn row(what: &'static str, asked: String, status: u16, says: &'static str) -> Row {
    let (error, headers) = match status {
        400 => ("Bad Request", [].as_slice()),
        401 => ("Unauthorized", BEARER),
        403 => ("Forbidden", [].as_slice()),
        404 => ("Not Found", [].as_slice()),
        405 => ("Method Not Allowed", ALLOW),
        408 => ("Request Timeout", [].as_slice()),
        414 => ("URI Too Long", [].as_slice()),
        431 => ("Request Header Fields Too Large", [].as_slice()),
        other => panic!("{what}: {other} is no refusal of this table"),
    };
    Row { what, asked, status, error, says, headers }
}

fn of_heads() -> Vec<Row> {
    let host = "Host: x\r\n";
    let bad = |what, asked: String| row(what, asked, 400, "no HTTP/1.1 request");
    let page = format!("Origin: {PAGE}\r\n");
    let first = |line: &str| format!("{line}\r\n{host}{page}\r\n");
    let long = "a".repeat(17 * 1024);
    vec![
        bad("no host", format!("GET / HTTP/1.1\r\n{page}\r\n")),
        bad("two hosts", format!("GET / HTTP/1.1\r\n{host}{host}{page}\r\n")),
        bad("another version", first("GET / HTTP/3.0")),
        bad("a blank in the path", first("GET /events x HTTP/1.1")),
        bad("NUL in the path", first("GET /events\0 HTTP/1.1")),
        bad("NUL in a header", head("GET", "/events", "A: b\0c\r\n")),
        bad("CR in a header", head("GET", "/events", "A: b\rX: c\r\n")),
        bad("a folded header", head("GET", "/events", "A: b\r\n c\r\n")),
        bad("a blank after a name", head("GET", "/events", "A : b\r\n")),
        row("a long URL", get(&format!("{IDS}&x={long}")), 414, "URL is too long"),
        row("a URL without an end", format!("GET /{long}"), 414, "URL is too long"),
        row("many headers", head("GET", "/events", &"A: b\r\n".repeat(99)), 431, "too many"),
        row(
            "a large header",
            head("GET", "/events", &format!("A: {}\r\n", "b".repeat(70_000))),
            431,
            "too large",
        ),
        row("half a head", format!("GET /events HTTP/1.1\r\n{page}"), 408, "in time"),
        row("a method alone", "GE".to_owned(), 408, "in time"),
    ]
}

fn of_paths_and_methods() -> Vec<Row> {
    let mut rows = vec![
        row("another path", head("GET", "/other", ""), 404, "Nothing is served"),
        row("a longer path", head("GET", "/events/more", ""), 404, "Nothing is served"),
        row("a slash at the end", head("GET", "/events/", ""), 404, "Nothing is served"),
        row("capitals", head("GET", "/EVENTS", ""), 404, "Nothing is served"),
        row("every path", head("OPTIONS", "*", ""), 404, "Nothing is served"),
        row("a tunnel", head("CONNECT", "x:443", ""), 405, "takes GET"),
    ];
    for path in [
        "//events",
        "/./events",
        "/a/../events",
        "/%2e/events",
        "/x/%2E%2e/events",
        "/..;/events",
        "/a%2fevents",
        "/%5cevents",
        "/events%00",
        "/events%0d%0aX:y",
        "/events%zz",
        "/events%2",
    ] {
        rows.push(row("a path with a trick", head("GET", path, ""), 400, "several ways"));
    }
    for method in ["POST", "PUT", "DELETE", "PATCH", "TRACE", "BREW", "get"] {
        let asked = head(method, &format!("/events?{IDS}&apikey={KEY}"), "Content-Length: 0\r\n");
        rows.push(row("another method", asked, 405, "takes GET"));
    }
    rows
}

fn of_credentials_and_parameters() -> Vec<Row> {
    let known = |query: &str| get(&format!("apikey={KEY}&{query}"));
    let nobody = "Authentication is required";
    let mut rows = vec![
        row("no credential", get(IDS), 401, nobody),
        row("an unknown key", get(&format!("{IDS}&apikey=nonsense")), 401, nobody),
        row("a token of nobody", get(&format!("{IDS}&access_token=a.b.c")), 401, nobody),
        row("no credential and no parameters", get(""), 401, nobody),
        row("no parameters", known(""), 400, "`workflow`"),
        row("another tenant", known(&IDS.replace("acme", "globex")), 403, "does not open"),
        row("another participant", known(&IDS.replace("jane", "john")), 403, "does not open"),
        row("another workflow", known(&IDS.replace("customer-", "x-")), 404, "tenant and workflow"),
        row("a number that is none", known(&format!("{IDS}&heartbeatSeconds=5s")), 400, "whole"),
        row("an unknown type", known(&format!("{IDS}&types=Chat,Nope")), 400, "`Nope` is none"),
        row("an unknown vocabulary", known(&format!("{IDS}&vocabulary=x")), 400, "full or core"),
        row("a value that a source needs", known(IDS), 400, "`needed`"),
    ];
    for (name, value) in [("workflow", "customer-support"), ("participantId", "jane")] {
        for bad in ["", "%00", "a%0d%0aX:y", "%ff", "%4", &"x".repeat(1025)] {
            let query = IDS.replace(&format!("{name}={value}"), &format!("{name}={bad}"));
            rows.push(row("a parameter that cannot be", known(&query), 400, name));
        }
    }
    rows
}

#[track_caller]
fn check(row: &Row, reply: &Reply) {
    let Row { what, asked, status, error, says, headers } = row;
    let shown: String = asked.chars().take(120).collect();
    assert_eq!(reply.head.status, *status, "{what}: {shown:?}: {reply:?}");
    let is_head_whole = asked.contains("Origin");
    let mut want = vec![
        ("content-type", "application/json"),
        ("cache-control", "no-store"),
        ("vary", "Origin"),
    ];
    if is_head_whole {
        want.push(("access-control-allow-origin", PAGE));
        let exposed = "Retry-After, RateLimit, RateLimit-Policy, X-Request-Id";
        want.push(("access-control-expose-headers", exposed));
    }
    want.extend(*headers);
    for (name, value) in &want {
        assert_eq!(reply.head.header(name), Some(*value), "{what}: {name} of {shown:?}: {reply:?}");
    }
    let id = reply.head.header("x-request-id").unwrap_or_default();
    assert!(id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{what}: {id}");
    let mut names: Vec<_> =
        reply.head.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.retain(|name| !want.iter().any(|(wanted, _)| wanted == name));
    names.sort();
    // Nothing says what runs here.
    assert_eq!(names, ["connection", "content-length", "date", "x-request-id"], "{what}");
    let body = reply.json();
    let fields: Vec<_> = body.as_object().expect("an object").keys().collect();
    assert_eq!(fields, ["error", "message"], "{what}: {body}");
    assert_eq!(body["error"], *error, "{what}: {body}");
    let message = body["message"].as_str().expect("a message");
    assert!(message.contains(says) && message.ends_with('.'), "{what}: {message:?} not {says:?}");
    assert!(!reply.text().contains(KEY), "{what}: the key is told");
}

#[tokio::test]
async fn every_refusal_has_its_status_body_and_headers() {
    let keys = format!(
        "{{api_keys: [{{label: a, sha256: \"{}\", tenants: [acme], participants: [jane]}}]}}",
        sha256(KEY)
    );
    let one = One::start_with(Kind::Xians, |conf| {
        conf.auth(&keys)
            .route(", match: {workflow: \"customer-.*\"}")
            .entry(
                "more",
                "more: {backend: xians, api_key: \"{query.needed}\", url: \"http://127.0.0.1:1\"}"
                    .to_owned(),
            )
            .line(&format!("cors: {{allow_origins: [\"{PAGE}\"]}}"))
            .line("timeouts: {head: 500ms}")
    })
    .await;
    let mut rows = of_heads();
    rows.extend(of_paths_and_methods());
    rows.extend(of_credentials_and_parameters());
    let mut codes = std::collections::BTreeMap::new();
    for row in &rows {
        let reply = send_raw(one.edge.streams(), row.asked.as_bytes()).await;
        let reply = reply.unwrap_or_else(|| panic!("{}: no answer", row.what));
        check(row, &reply);
        *codes.entry(row.status).or_insert(0_u64) += 1;
    }
    let metrics = one.edge.metrics().await;
    let mut shown = String::new();
    for (code, count) in &codes {
        let code = code.to_string();
        let counted = metrics.sum("chatmux_http_requests_total", &[("code", &code)]);
        writeln!(shown, "{code}: {counted} of {count}").expect("text");
        assert_eq!(counted, *count, "{code} in the metrics");
    }
    assert!(rows.len() > 50 && codes.len() == 8, "{shown}");
    assert_eq!(one.backend.now().requests, 0, "no backend is asked");
    assert!(!one.edge.log().contains(KEY) && !one.edge.log().contains("jane"), "no log tells it");
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn the_same_refusals_are_events_where_the_route_lets_them() {
    let keys = format!(
        "{{api_keys: [{{label: a, sha256: \"{}\", tenants: [acme], participants: [jane]}}]}}",
        sha256(KEY)
    );
    let one = One::start_with(Kind::Xians, |conf| {
        conf.auth(&keys)
            .route(", allow_errors_event: true")
            .line("limits: {subject: {opens: 1/h, burst: 1}}")
    })
    .await;
    let jane = Client::new("jane").query("errors", "event");
    one.edge.open(&jane).await.expect("connected").await;
    for (client, code, error) in [
        (jane.clone().without("apikey"), 401, "Unauthorized"),
        (jane.clone().query("apikey", "nonsense"), 401, "Unauthorized"),
        (jane.clone().without("workflow"), 400, "Bad Request"),
        (jane.clone().query("types", "Nope"), 400, "Bad Request"),
        (jane.clone().query("participantId", "john"), 403, "Forbidden"),
        (jane.clone().query("tenantId", "globex"), 403, "Forbidden"),
        (jane.clone(), 429, "Rate limit exceeded"),
    ] {
        let mut stream = one.edge.open(&client).await;
        let refused = stream.expect("refused").await;
        assert_eq!(refused.data["code"], code, "{client:?}");
        assert_eq!(refused.at("/error"), error, "{client:?}");
        assert!(refused.at("/message").ends_with('.'), "{refused:?}");
        let retry = refused.data["retryInSeconds"].as_u64();
        assert_eq!(retry.is_some(), code == 429, "{refused:?}");
        assert_eq!(refused.retry, Some(retry.unwrap_or(3600) * 1000), "{refused:?}");
        assert_eq!(stream.next().await, None, "that is all");
    }
    // Where no route has matched, and for any other value, they stay what they are.
    one.edge.ask(&jane.clone().path("/other")).await.refuses(404, "Not Found", "");
    one.edge.ask(&jane.clone().path("//events")).await.refuses(400, "Bad Request", "");
    let other = jane.query("errors", "events").without("apikey");
    one.edge.ask(&other).await.refuses(401, "Unauthorized", "");
    one.edge.check_law(&[]).await;
}
