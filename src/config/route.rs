//! The `routes` list: paths, whom they serve, what is merged behind them.

use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;

use super::auth::parse_pattern;
use super::error::{did_you_mean, quoted};
use super::net::parse_path;
use super::read::{Reader, Table, Value, parse_text};
use super::source::Named;
use super::{Heartbeat, Pattern, Route, Source, spec};
use crate::proto::event::Vocabulary;

pub(super) fn routes(
    reader: &mut Reader<'_>,
    root: &Table<'_>,
    sources: &[Named],
) -> Vec<Arc<Route>> {
    let mut used = HashSet::new();
    let values = reader.list(root, "routes");
    let mut out = Vec::new();
    let mut seen: HashMap<(String, String, String), usize> = HashMap::new();
    for (index, value) in values.iter().enumerate() {
        let Some(route) = route(reader, value, sources, &mut used) else {
            continue;
        };
        let text = |pattern: &Option<Pattern>| {
            pattern.as_ref().map(Pattern::to_string).unwrap_or_default()
        };
        let key = (route.path.clone(), text(&route.tenant), text(&route.workflow));
        if let Some(first) = seen.get(&key) {
            let message =
                format!("no request ever comes here: routes[{first}] has the same path and match");
            reader.error(value.node.at, &value.path, message);
        } else {
            seen.insert(key, index);
        }
        out.push(Arc::new(route));
    }
    for named in sources {
        if !used.contains(named.name.as_str()) {
            reader.warn(named.at, &format!("sources.{}", named.name), "no route uses this source");
        }
    }
    out
}

fn route<'s>(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    named: &'s [Named],
    used: &mut HashSet<&'s str>,
) -> Option<Route> {
    let table = reader.table(value, spec::ROUTE)?;
    let path =
        reader.text(&table, "path", |text| parse_text(text).and_then(|text| parse_path(&text)));
    let (tenant, workflow) = match reader.sub_table(&table, "match", spec::MATCH) {
        Some(table) => (
            reader.text(&table, "tenant", parse_pattern),
            reader.text(&table, "workflow", parse_pattern),
        ),
        None => (None, None),
    };
    let sources = sources(reader, &table, named, used);
    let heartbeat = heartbeat(reader, &table);
    let max_age = reader.duration(&table, "max_age");
    let vocabulary = reader.word(&table, "vocabulary", |word| match word {
        "full" => Some(Vocabulary::Full),
        "core" => Some(Vocabulary::Core),
        _ => None,
    });
    let allow_errors_event = reader.bool(&table, "allow_errors_event");
    Some(Route {
        path: path?,
        tenant,
        workflow,
        sources,
        heartbeat: heartbeat?,
        max_age,
        vocabulary: vocabulary?,
        allow_errors_event: allow_errors_event?,
    })
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
        let Some(found) = named.iter().find(|named| named.name == name) else {
            let near = did_you_mean(&name, named.iter().map(|named| named.name.as_str()));
            reader.error(
                value.node.at,
                &value.path,
                format!("no source is called {}{near}", quoted(&name)),
            );
            continue;
        };
        used.insert(found.name.as_str());
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
    Some(heartbeat)
}
