//! The `proxy` list: paths whose calls are passed through to a source.
//!
//! Not here: what a call carries (`backend::PassPlan`), passing it (`edge::passthrough`).

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use http::HeaderName;

use super::error::quoted;
use super::net::parse_path;
use super::path::{below_route, parse_prefix};
use super::read::{Reader, Table, Value, parse_text};
use super::route::{matches, source_called};
use super::source::Named;
use super::{Pattern, ProxyRoute, Route, Source, spec};

/// Headers that are not a client's to send on: they say how a message travels, or who sent it.
const NEVER: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "forwarded",
    "host",
    "keep-alive",
    "origin",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-forwarded-for",
    "x-real-ip",
];

/// Headers that are not a backend's to tell a client: they say how a message travels, who may read
/// and keep it, and what browsers are to make of the edge's own origin.
const NEVER_ANSWERED: &[&str] = &[
    "age",
    "cache-control",
    "clear-site-data",
    "connection",
    "content-security-policy",
    "expires",
    "keep-alive",
    "location",
    "pragma",
    "proxy-authenticate",
    "proxy-connection",
    "referrer-policy",
    "service-worker-allowed",
    "set-cookie",
    "set-cookie2",
    "strict-transport-security",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "vary",
    "via",
    "x-content-type-options",
    "x-request-id",
];

/// The same, by how their names begin: what a server before us would act on, and CORS.
const NEVER_ANSWERED_PREFIXES: &[&str] = &["access-control-", "x-accel-", "x-sendfile"];

pub(super) fn proxies<'s>(
    reader: &mut Reader<'_>,
    root: &Table<'_>,
    sources: &'s [Named],
    routes: &[Arc<Route>],
    used: &mut HashSet<&'s str>,
) -> Vec<Arc<ProxyRoute>> {
    let values = reader.list(root, "proxy");
    let mut out = Vec::new();
    let mut seen: HashMap<(String, String, String), usize> = HashMap::new();
    for (index, value) in values.iter().enumerate() {
        let Some(proxy) = proxy(reader, value, sources, used) else {
            continue;
        };
        let text = |pattern: &Option<Pattern>| {
            pattern.as_ref().map(Pattern::to_string).unwrap_or_default()
        };
        let key = (proxy.path.clone(), text(&proxy.tenant), text(&proxy.workflow));
        if let Some(first) = seen.get(&key) {
            let message =
                format!("no call ever comes here: proxy[{first}] has the same path and match");
            reader.error(value.node.at, &value.path, message);
        } else {
            seen.insert(key, index);
        }
        if let Some(route) = routes.iter().find(|route| route.path == proxy.path) {
            let message = format!("{} is the path of a route, too", quoted(&route.path));
            reader.error(value.node.at, &value.path, message);
        }
        if let Some((path, what)) = below_route(&proxy.path)
            && routes.iter().any(|route| route.path == path)
        {
            let (own, path) = (quoted(&proxy.path), quoted(path));
            let message = format!("{own} is where the route {path} is asked for {what}");
            reader.error(value.node.at, &value.path, message);
        }
        out.push(Arc::new(proxy));
    }
    out
}

fn proxy<'s>(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    sources: &'s [Named],
    used: &mut HashSet<&'s str>,
) -> Option<ProxyRoute> {
    let table = reader.table(value, spec::PROXY)?;
    let path = reader.text(&table, "path", parse_prefix);
    let to = reader.text(&table, "to", |text| parse_text(text).and_then(|text| parse_path(&text)));
    let (tenant, workflow) = matches(reader, &table);
    let source = source(reader, &table, sources, used);
    let methods = methods(reader, &table);
    let headers = reader.list_of(&table, "headers", |reader, value| {
        reader.parsed(value, |scalar| parse_header(&scalar.text))
    });
    let answer_headers = reader.list_of(&table, "answer_headers", |reader, value| {
        reader.parsed(value, |scalar| parse_answer_header(&scalar.text))
    });
    let upload = reader.size(&table, "upload");
    let download = reader.size(&table, "download");
    let timeout = reader.duration(&table, "timeout");
    Some(ProxyRoute {
        path: path?,
        source: source?,
        to: to?,
        tenant,
        workflow,
        methods,
        headers,
        answer_headers,
        upload_bytes_max: upload?,
        download_bytes_max: download?,
        timeout: timeout?,
    })
}

fn source<'s>(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    sources: &'s [Named],
    used: &mut HashSet<&'s str>,
) -> Option<Arc<Source>> {
    let name = reader.text(table, "source", parse_text)?;
    let path = format!("{}.source", table.path);
    let found = source_called(reader, &name, (table.at("source"), &path), sources, used)?;
    found.source.clone()
}

/// The methods, all of them where none are written.
fn methods(reader: &mut Reader<'_>, table: &Table<'_>) -> Vec<http::Method> {
    let parse = |text: &str| {
        let known = spec::PASSED_METHODS.iter().find(|known| **known == text);
        let method = known.and_then(|known| http::Method::from_bytes(known.as_bytes()).ok());
        method.ok_or_else(|| super::read::no_word(text, spec::PASSED_METHODS))
    };
    let written = reader.list_of(table, "methods", |reader, value| {
        reader.parsed(value, |scalar| parse(&scalar.text))
    });
    if table.has("methods") {
        return written;
    }
    spec::PASSED_METHODS.iter().filter_map(|name| parse(name).ok()).collect()
}

fn parse_header(text: &str) -> Result<HeaderName, String> {
    let name = parse_name(text)?;
    if NEVER.contains(&name.as_str()) {
        return Err(format!("{} is never passed on from a client", quoted(text)));
    }
    Ok(name)
}

fn parse_answer_header(text: &str) -> Result<HeaderName, String> {
    let name = parse_name(text)?;
    let begins = |prefix: &&str| name.as_str().starts_with(prefix);
    if NEVER_ANSWERED.contains(&name.as_str()) || NEVER_ANSWERED_PREFIXES.iter().any(begins) {
        return Err(format!("{} is never passed on from a backend", quoted(text)));
    }
    Ok(name)
}

fn parse_name(text: &str) -> Result<HeaderName, String> {
    HeaderName::from_bytes(text.as_bytes())
        .map_err(|_| format!("{} is no name of a header", quoted(text)))
}
