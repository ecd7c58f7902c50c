//! The reference of the metrics is that of the registry, and what is shipped for Prometheus and
//! Grafana asks for nothing else. `BLESS=1` rewrites the reference.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use prometheus::proto::{MetricFamily, MetricType};

use super::Metrics;
use crate::proto::backend::ROSTER;

/// Labels whose values an operator chooses, or that are no closed list.
const CHOSEN: [(&str, &str); 7] = [
    (
        "route",
        "a path of the conf's `routes` or `proxy`, or `none`: a path that nothing is served under",
    ),
    ("source", "a name of the conf's `sources`"),
    ("issuer", "an `issuer` of the conf's `auth.jwt`"),
    ("code", "an HTTP status"),
    ("listener", "an `address` of the conf's `listen`"),
    ("certificate", "the place of a certificate in the listener's `tls`, from 0"),
    ("version", "the version of chatmux"),
];
/// The `event` of frames is a name of a dialect's table, listed on the backend's page.
const FRAMES: &str = "chatmux_frames_";

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What a process with a source of each backend has from its start.
fn families() -> Vec<MetricFamily> {
    let metrics = Metrics::new().expect("metrics");
    metrics.route("none");
    for dialect in ROSTER {
        metrics.source(dialect.name, dialect);
    }
    metrics.touch_jwks("https://id.example.com/");
    metrics.tls.on_certificates("0.0.0.0:443", &[0], 0);
    metrics.cluster().expect("they are new");
    metrics.families()
}

fn kind(family: &MetricFamily) -> &'static str {
    match family.get_field_type() {
        MetricType::COUNTER => "counter",
        MetricType::GAUGE => "gauge",
        MetricType::HISTOGRAM => "histogram",
        MetricType::SUMMARY => "summary",
        MetricType::UNTYPED => "untyped",
    }
}

/// The labels of a family, each with the values it takes from the start.
fn labels(family: &MetricFamily) -> BTreeMap<String, BTreeSet<String>> {
    let mut labels: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for pair in family.get_metric().iter().flat_map(|metric| metric.get_label()) {
        labels.entry(pair.name().to_owned()).or_default().insert(pair.value().to_owned());
    }
    labels
}

fn reference() -> String {
    let mut page = String::from(
        "# Metrics\n\n\
         <!-- Made from the registry; a test fails when it differs. BLESS=1 cargo test --lib \
         contract rewrites it. -->\n\n\
         What `/metrics` of the [admin listener](operating.md#the-admin-listener) tells. Every \
         label has a closed set of\nvalues: none holds a tenant, a participant, a key or a path \
         of a client. Series exist at 0 from the start. Which to\nlook at, and alert rules: \
         [operating](operating.md#metrics-that-matter).\n",
    );
    for family in families() {
        page.push_str(&format!("\n## `{}`\n\n", family.name()));
        page.push_str(&format!("{}. {}\n", kind(&family), family.help()));
        let labels = labels(&family);
        if !labels.is_empty() {
            page.push('\n');
        }
        for (label, values) in labels {
            let chosen = CHOSEN.iter().find(|(name, _)| *name == label).map(|(_, what)| *what);
            let what = if label == "event" && family.name().starts_with(FRAMES) {
                "a name of the backend's events, or `other`".to_owned()
            } else if let Some(what) = chosen {
                what.to_owned()
            } else {
                values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ")
            };
            page.push_str(&format!("- `{label}`: {what}\n"));
        }
    }
    page
}

#[test]
fn the_reference_of_the_metrics_is_that_of_the_registry() {
    let (path, text) = ("docs/metrics.md", reference());
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(root().join(path), &text).expect("a file");
    }
    assert!(read(path) == text, "{path} is not what the registry makes; BLESS=1 rewrites it");
}

#[test]
fn names_and_labels_keep_to_the_rules() {
    // What the product promises, by name and labels.
    let promised = "build_info{version} config_reloads_total{outcome} \
        config_last_reload_success_timestamp_seconds client_streams{route} \
        client_streams_opened_total{resumed,route} client_streams_closed_total{reason,route} \
        client_stream_duration_seconds http_requests_total{code,route} \
        auth_total{method,outcome} jwks_refresh_total{issuer,outcome} \
        tls_handshakes_total{outcome} tls_certificate_expiry_timestamp_seconds{certificate,listener} \
        tls_reloads_total{listener,outcome} tls_last_reload_successful{listener} rate_limit_total{outcome,policy} rate_limit_keys{policy} \
        upstream_streams{source,state} upstream_connects_total{outcome,source} \
        upstream_disconnects_total{reason,source} upstream_connect_duration_seconds \
        upstream_last_byte_timestamp_seconds{source} upstream_polls_total{outcome,source} \
        upstream_credentials_total{outcome,source} frames_received_total{event,source} \
        frames_mapped_total{event,source} frames_discarded_total{reason,source} \
        frames_raw_total{reason,source} history_events_total{outcome,source} \
        events_published_total{event,source} events_sent_total{event,route} sent_bytes_total \
        heartbeats_sent_total event_latency_seconds replay_requests_total{outcome} \
        replay_events_total gaps_total{reason} slow_clients_total{action} channels ring_bytes";
    let families = families();
    let known: BTreeMap<_, _> = families.iter().map(|family| (family.name(), family)).collect();
    for promise in promised.split_whitespace() {
        let (name, wanted) = promise.split_once('{').unwrap_or((promise, ""));
        let family = known.get(format!("chatmux_{name}").as_str());
        let family = family.unwrap_or_else(|| panic!("{name} is not there"));
        let got: Vec<_> = labels(family).into_keys().collect();
        assert_eq!(got.join(","), wanted.trim_end_matches('}'), "{name}");
    }
    for family in &families {
        let is_counter = family.get_field_type() == MetricType::COUNTER;
        assert_eq!(family.name().ends_with("_total"), is_counter, "{}", family.name());
        // OpenMetrics would have quotes escaped, the text form not.
        assert!(!family.help().contains(['"', '\\', '\n']), "{}", family.help());
    }
}

/// The names that a query asks for.
fn names(query: &str) -> Vec<String> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let is_name = |word: &&str| word.starts_with("chatmux_") || word.starts_with("process_");
    words.filter(is_name).map(str::to_owned).collect()
}

/// Labels that Prometheus itself adds, and that of buckets.
const ADDED: [&str; 3] = ["instance", "job", "le"];

/// What a query asks for in its selectors and groups that there is not: labels, and their values.
fn unknown_labels(query: &str, families: &[MetricFamily]) -> Vec<String> {
    let regex = |text: &str| regex::Regex::new(text).expect("an expression");
    let (mut unknown, mut known_all) = (Vec::new(), BTreeSet::new());
    for found in regex(r"\b((?:chatmux|process)_\w+)(?:\{([^}]*)\})?").captures_iter(query) {
        let is_named = |family: &&MetricFamily| {
            let parts = ["", "_bucket", "_sum", "_count"];
            parts.iter().any(|part| found[1] == format!("{}{part}", family.name()))
        };
        let Some(family) = families.iter().find(is_named) else { continue };
        let labels = labels(family);
        known_all.extend(labels.keys().cloned());
        let selector = found.get(2).map_or("", |text| text.as_str());
        for one in regex(r#"(\w+)\s*(?:=~|!~|!=|=)\s*["']([^"']*)["']"#).captures_iter(selector) {
            let (label, wanted) = (&one[1], &one[2]);
            let is_chosen = CHOSEN.iter().any(|(name, _)| *name == label);
            match labels.get(label) {
                None if ADDED.contains(&label) => {}
                None => unknown.push(format!("{} has no {label}", &found[1])),
                Some(_) if is_chosen || wanted.contains('$') => {}
                Some(values) => {
                    let lacks = |value: &&str| !values.contains(*value);
                    let lacking = wanted.split('|').filter(lacks);
                    unknown.extend(lacking.map(|value| format!("{label} is never {value}")));
                }
            }
        }
    }
    for group in regex(r"\b(?:by|on|without|ignoring)\s*\(([^)]*)\)").captures_iter(query) {
        let labels = group[1].split(',').map(str::trim);
        let is_known = |label: &&str| ADDED.contains(label) || known_all.contains(*label);
        unknown.extend(labels.filter(|label| !is_known(label)).map(|label| format!("no {label}")));
    }
    unknown
}

/// The names that a scrape has.
fn series() -> BTreeSet<String> {
    let mut series = BTreeSet::new();
    for family in families() {
        let name = family.name();
        if family.get_field_type() == MetricType::HISTOGRAM {
            series.extend(["_bucket", "_sum", "_count"].map(|part| format!("{name}{part}")));
        } else {
            series.insert(name.to_owned());
        }
    }
    series
}

#[test]
fn the_dashboard_asks_for_metrics_that_there_are() {
    let dashboard: serde_json::Value =
        serde_json::from_str(&read("packaging/grafana/chatmux.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let families = families();
    let (series, mut asked, mut ids) = (series(), BTreeSet::new(), BTreeSet::new());
    for panel in panels {
        assert!(ids.insert(panel["id"].as_u64()), "an id twice: {panel}");
        assert!(panel["title"].is_string() && panel["gridPos"].is_object(), "{panel}");
        if panel["type"] == "row" {
            continue;
        }
        assert_eq!(panel["datasource"]["uid"], "${datasource}", "{panel}");
        let targets = panel["targets"].as_array().expect("targets");
        assert!(!targets.is_empty(), "{panel}");
        for target in targets {
            let query = target["expr"].as_str().expect("a query");
            let names = names(query);
            assert!(!names.is_empty(), "{query}");
            asked.extend(names);
            assert_eq!(unknown_labels(query, &families), [""; 0], "{query}");
        }
    }
    for variable in dashboard["templating"]["list"].as_array().expect("variables") {
        asked.extend(names(variable["query"].as_str().unwrap_or_default()));
    }
    let unknown: Vec<_> = asked.difference(&series).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(asked.len() >= 20, "{asked:?}");
}

#[test]
fn the_alerts_ask_for_metrics_that_there_are() {
    for path in ["packaging/prometheus/alerts.yaml", "packaging/prometheus/alerts_test.yaml"] {
        let asked: BTreeSet<_> = names(&read(path)).into_iter().collect();
        let unknown: Vec<_> = asked.difference(&series()).cloned().collect();
        assert!(asked.len() >= 8, "{asked:?}");
        assert!(unknown.is_empty(), "{path}: {unknown:?}");
    }
    let families = families();
    let rules = read("packaging/prometheus/alerts.yaml");
    // An expression is one line, or all that stand further in.
    let exprs: Vec<_> = rules.split("\n        expr: ").skip(1).collect();
    assert!(exprs.len() >= 9, "{} rules", exprs.len());
    for expr in exprs {
        let end = expr.find("\n        ").filter(|_| !expr.starts_with('|'));
        let end = end.or_else(|| expr.find("\n        for:")).unwrap_or(expr.len());
        let expr = expr.get(..end).unwrap_or(expr);
        assert_eq!(unknown_labels(expr, &families), [""; 0], "{expr}");
    }
}

#[test]
fn labels_and_values_that_there_are_not_are_found() {
    let families = families();
    for (query, want) in [
        ("chatmux_gaps_total{reason=\"restarted\"}", &[][..]),
        ("chatmux_gaps_total{reason=\"restarting\"}", &["reason is never restarting"]),
        ("chatmux_gaps_total{cause=\"restarted\"}", &["chatmux_gaps_total has no cause"]),
        (
            "chatmux_upstream_streams{state=~\"open|opened\",source=\"any\"}",
            &["state is never opened"],
        ),
        ("sum by (instance, route) (chatmux_client_streams)", &[]),
        ("sum by (source) (chatmux_client_streams)", &["no source"]),
        ("sum by (le) (rate(chatmux_event_latency_seconds_bucket[5m]))", &[]),
    ] {
        assert_eq!(unknown_labels(query, &families), want, "{query}");
    }
}
