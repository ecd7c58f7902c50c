//! The `routes` list: paths, whom they serve, what is merged behind them.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;

use super::auth::parse_pattern;
use super::error::{Place, did_you_mean, quoted};
use super::path::{below_route, parse_route_path};
use super::pattern::compile;
use super::proof::{NEVER, Prover};
use super::read::{Reader, Table, Value, parse_text};
use super::source::Named;
use super::yaml::Data;
use super::{Heartbeat, Pattern, Route, Source, spec};
use crate::proto::event::Vocabulary;
use crate::proto::redact::{Redaction, Rule};

/// Every string of every event is tried with every rule.
const RULES_MAX: usize = 32;
/// A replacement is a word, not a text: hits may be many.
const REPLACE_CHARS_MAX: usize = 64;
/// After how many seconds of silence those in between close a stream, as they come:
/// proxy_read_timeout of nginx, the idle timeouts of the load balancers of AWS and Azure and of
/// Cloudflare, stream_idle_timeout of Envoy. In ascending order.
const IDLE_LIMITS: &[(&str, u64)] = &[
    ("nginx", 60),
    ("an AWS load balancer", 60),
    ("Cloudflare", 100),
    ("an Azure load balancer", 240),
    ("Envoy", 300),
];

pub(super) fn routes<'s>(
    reader: &mut Reader<'_>,
    root: &Table<'_>,
    sources: &'s [Named],
    used: &mut HashSet<&'s str>,
) -> Vec<Arc<Route>> {
    let values = reader.list(root, "routes");
    let mut out = Vec::new();
    let mut read = Vec::new();
    for value in &values {
        if let Some(route) = route(reader, value, sources, used) {
            let route = Arc::new(route);
            out.push(Arc::clone(&route));
            read.push((value, route));
        }
    }
    refuse_hidden(reader, &read);
    refuse_taken(reader, &read);
    out
}

/// Refuses a route at a path that is another's already: clients of that one would be given a
/// stream where they ask for a ticket.
fn refuse_taken(reader: &mut Reader<'_>, routes: &[(&Value<'_>, Arc<Route>)]) {
    let by_path: HashMap<_, _> =
        routes.iter().rev().map(|(value, route)| (route.path.as_str(), *value)).collect();
    for (value, route) in routes {
        if let Some((path, what)) = below_route(&route.path)
            && let Some(other) = by_path.get(path)
        {
            let called = reader.called(other.node.at, &other.path, value.node.at);
            let message = format!(
                "{} is where {called} is asked for {what}; write another path",
                quoted(&route.path)
            );
            let path = format!("{}.path", value.path);
            reader.error(place_of(value, "path"), &path, message);
        }
    }
}

/// Where a key's value stands in a table, or the table.
fn place_of(value: &Value<'_>, key: &str) -> Place {
    match &value.node.data {
        Data::Map(entries) => entries.iter().find(|entry| entry.key == key),
        Data::List(_) | Data::Scalar(_) => None,
    }
    .map_or(value.node.at, |entry| entry.value.at)
}

/// Refuses a route that an earlier one leaves nothing for. One that is equal to it is a slip of
/// the pen; one that is narrower works as little, but may be meant.
fn refuse_hidden(reader: &mut Reader<'_>, routes: &[(&Value<'_>, Arc<Route>)]) {
    let mut equal: HashMap<(&str, String, String), usize> = HashMap::new();
    let mut by_path: HashMap<&str, Vec<usize>> = HashMap::new();
    let mut prover = Prover::default();
    for (index, (value, route)) in routes.iter().enumerate() {
        let text = |pattern: &Option<Pattern>| {
            pattern.as_ref().map(Pattern::to_string).unwrap_or_default()
        };
        let key = (route.path.as_str(), text(&route.tenant), text(&route.workflow));
        let earlier = by_path.entry(route.path.as_str()).or_default();
        let twin = equal.get(&key).copied();
        let wider = twin.or_else(|| {
            let is_wider = |first: &usize| {
                routes.get(*first).is_some_and(|(_, first)| {
                    prover.covers(first.tenant.as_ref(), route.tenant.as_ref())
                        && prover.covers(first.workflow.as_ref(), route.workflow.as_ref())
                })
            };
            earlier.iter().copied().find(is_wider)
        });
        if let Some((first, _)) = wider.and_then(|first| routes.get(first)) {
            let (here, there) = (value.node.at, first.node.at);
            let called = reader.called(there, &first.path, here);
            if twin.is_some() {
                let message =
                    format!("no request ever comes here: {called} has the same path and match");
                reader.error(here, &value.path, message);
            } else {
                let message = format!(
                    "no request ever comes here: {called} takes all of them; put this one before it"
                );
                reader.warn(here, &value.path, message);
            }
            continue;
        }
        earlier.push(index);
        equal.insert(key, index);
    }
}

fn route<'s>(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    named: &'s [Named],
    used: &mut HashSet<&'s str>,
) -> Option<Route> {
    let table = reader.table(value, spec::ROUTE)?;
    let path = reader.text(&table, "path", parse_route_path);
    let (tenant, workflow) = matches(reader, &table);
    let sources = sources(reader, &table, named, used);
    let heartbeat = heartbeat(reader, &table);
    let max_age = reader.duration(&table, "max_age");
    let vocabulary = reader.word(&table, "vocabulary", |word| match word {
        "full" => Some(Vocabulary::Full),
        "core" => Some(Vocabulary::Core),
        "raw" => Some(Vocabulary::Raw),
        _ => None,
    });
    if vocabulary == Some(Vocabulary::Raw) && sources.len() > 1 {
        let message = "raw leaves every backend its own words: it takes one source";
        reader.error(table.at("vocabulary"), &format!("{}.vocabulary", table.path), message);
    }
    let defaults = defaults(reader, &table);
    let allow_errors_event = reader.bool(&table, "allow_errors_event");
    let redaction = redaction(reader, &table);
    if vocabulary == Some(Vocabulary::Raw) && table.has("redact") {
        // Some backends send stanzas as base64: what stands in them would leave all the same.
        let message = "this has no hold on a backend's own words; leave it out, or take full";
        reader.error(table.at("redact"), &format!("{}.redact", table.path), message);
    }
    Some(Route {
        redaction,
        path: path?,
        tenant,
        workflow,
        sources,
        heartbeat: heartbeat?,
        max_age,
        vocabulary: vocabulary?,
        defaults: defaults?,
        allow_errors_event: allow_errors_event?,
    })
}

/// The tenants and workflows that a route or a proxy path takes.
pub(super) fn matches(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
) -> (Option<Pattern>, Option<Pattern>) {
    let Some(table) = reader.sub_table(table, "match", spec::MATCH) else {
        return (None, None);
    };
    let tenant = reader.text(&table, "tenant", parse_pattern);
    let workflow = reader.text(&table, "workflow", parse_pattern);
    for (name, pattern) in [("tenant", &tenant), ("workflow", &workflow)] {
        if let (Some(value), Some(pattern)) = (table.get(name), pattern) {
            reader.warn_of_pattern(&value, pattern);
        }
    }
    (tenant, workflow)
}

/// The source of this name, which is used by that; an error at this place if there is none.
pub(super) fn source_called<'s>(
    reader: &mut Reader<'_>,
    name: &str,
    (at, path): (Place, &str),
    named: &'s [Named],
    used: &mut HashSet<&'s str>,
) -> Option<&'s Named> {
    let found = named.iter().find(|named| named.name == name);
    match found {
        Some(found) => {
            used.insert(found.name.as_str());
        }
        None => {
            let near = did_you_mean(name, named.iter().map(|named| named.name.as_str()));
            reader.error(at, path, format!("no source is called {}{near}", quoted(name)));
        }
    }
    found
}

fn sources<'s>(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    named: &'s [Named],
    used: &mut HashSet<&'s str>,
) -> Vec<Arc<Source>> {
    let mut here = HashSet::new();
    let mut out = Vec::new();
    for value in reader.list(table, "sources") {
        let Some(name) = reader.parsed(&value, |scalar| parse_text(&scalar.text)) else {
            continue;
        };
        let Some(found) = source_called(reader, &name, (value.node.at, &value.path), named, used)
        else {
            continue;
        };
        if !here.insert(found.name.as_str()) {
            reader.error(
                value.node.at,
                &value.path,
                format!("{} is in this list twice", quoted(&name)),
            );
        }
        out.extend(found.source.clone());
    }
    out
}

/// The parameters of clients that do not know them.
fn defaults(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<Vec<(&'static str, String)>> {
    let table = reader.sub_table(table, "defaults", spec::DEFAULTS)?;
    let names = ["tenantId", "workflow", "participantId"];
    let read = |name| reader.text(&table, name, parse_text).map(|value| (name, value));
    Some(names.into_iter().filter_map(read).collect())
}

fn heartbeat(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<Heartbeat> {
    let table = reader.sub_table(table, "heartbeat", spec::HEARTBEAT)?;
    let default = reader.seconds(&table, "default");
    let min = reader.seconds(&table, "min");
    let max = reader.seconds(&table, "max");
    let heartbeat = Heartbeat { default_secs: default?, min_secs: min?, max_secs: max? };
    let Heartbeat { default_secs, min_secs, max_secs } = heartbeat;
    if !(min_secs..=max_secs).contains(&default_secs) {
        let message = format!(
            "default must lie between min and max, but {default_secs}s does not lie between \
             {min_secs}s and {max_secs}s"
        );
        reader.error(table.at, &table.path, message);
    }
    let limit = IDLE_LIMITS.iter().find(|(_, secs)| *secs <= default_secs);
    if let Some((who, secs)) = limit {
        let message = format!(
            "{who} closes a stream that is silent for {secs} s by default; 5s to 30s keeps it open"
        );
        reader.warn(table.at("default"), &format!("{}.default", table.path), message);
    }
    Some(heartbeat)
}

fn redaction(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<Arc<Redaction>> {
    let values = reader.list(table, "redact");
    if values.len() > RULES_MAX {
        let message = format!("{} rules are more than {RULES_MAX}", values.len());
        reader.error(table.at("redact"), &format!("{}.redact", table.path), message);
        return None;
    }
    let rules: Vec<_> = values.iter().filter_map(|value| rule(reader, value)).collect();
    (!rules.is_empty()).then(|| Arc::new(Redaction(rules)))
}

fn rule(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Rule> {
    let table = reader.table(value, spec::REDACT)?;
    let pattern = reader.text(&table, "pattern", |text| {
        parse_text(text)?;
        let none = |why| format!("{} is no regular expression: {why}", quoted(text));
        let pattern = compile(text).map_err(none)?;
        if pattern.is_match("") {
            return Err("this matches where nothing stands, so it would be put everywhere".into());
        }
        Ok(pattern)
    });
    let replace = reader.text(&table, "replace", |text| match text.chars().count() {
        0..=REPLACE_CHARS_MAX => Ok(text.to_owned()),
        count => Err(format!("{count} characters are more than {REPLACE_CHARS_MAX}")),
    });
    let pattern = pattern?;
    if Prover::default().never_found(pattern.as_str())
        && let Some(value) = table.get("pattern")
    {
        reader.warn(value.node.at, &value.path, NEVER);
    }
    Some(Rule { pattern, replace: replace? })
}
