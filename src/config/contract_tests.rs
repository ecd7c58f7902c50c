//! The committed schema and reference are those of the code, and the schema takes what the
//! reader takes. `BLESS=1` rewrites them.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::yaml::{self, Data, Node};
use super::{document, schema};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[track_caller]
fn check_committed(path: &str, text: &str) {
    let file = root().join(path);
    if std::env::var_os("BLESS").is_some() {
        std::fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
        std::fs::write(&file, text).expect("a file");
    }
    let committed = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(committed == text, "{path} is not what the code makes; BLESS=1 rewrites it");
}

#[test]
fn what_is_committed_is_what_the_code_makes() {
    let schema = serde_json::to_string_pretty(&schema()).expect("JSON");
    check_committed("docs/schema/conf.schema.json", &format!("{schema}\n"));
    check_committed("docs/configuration.md", &document());
}

/// What an editor sees: YAML with types by the core schema.
fn typed(node: &Node) -> Value {
    match &node.data {
        Data::Scalar(scalar) if scalar.is_null() => Value::Null,
        Data::Scalar(scalar) if scalar.is_plain => match scalar.text.as_str() {
            "true" => true.into(),
            "false" => false.into(),
            text => text
                .parse::<i64>()
                .map(Value::from)
                .or_else(|_| text.parse::<f64>().map(Value::from))
                .unwrap_or_else(|_| text.into()),
        },
        Data::Scalar(scalar) => scalar.text.as_str().into(),
        Data::List(items) => items.iter().map(|item| typed(item)).collect(),
        Data::Map(entries) => {
            let fields = entries.iter().map(|entry| (entry.key.clone(), typed(&entry.value)));
            Value::Object(fields.collect())
        }
    }
}

fn conf(text: &str) -> Value {
    let Ok(Some(node)) = yaml::parse(text, 0) else { panic!("no YAML: {text}") };
    typed(&node)
}

fn examples() -> Vec<PathBuf> {
    let mut files = vec![root().join("conf/chatmux.yaml")];
    for entry in std::fs::read_dir(root().join("conf/examples")).expect("a folder") {
        files.push(entry.expect("an entry").path());
    }
    assert!(files.len() >= 6);
    files
}

#[test]
fn the_schema_takes_every_example_and_each_points_to_it() {
    let validator = jsonschema::validator_for(&schema()).expect("a schema");
    for file in examples() {
        let text = std::fs::read_to_string(&file).expect("a conf");
        let errors: Vec<_> = validator
            .iter_errors(&conf(&text))
            .map(|error| format!("{}: {error}", error.instance_path()))
            .collect();
        assert!(errors.is_empty(), "{}: {errors:#?}", file.display());
        let hint = text.lines().next().unwrap_or_default();
        let schema = hint.strip_prefix("# yaml-language-server: $schema=").expect("a hint");
        let schema = file.parent().expect("a folder").join(schema);
        let schema = schema.canonicalize().expect("the schema");
        assert_eq!(schema, root().join("docs/schema/conf.schema.json"));
    }
    jsonschema::meta::validate(&schema()).expect("a schema of the draft");
}

/// A conf that is good, with one piece replaced.
#[track_caller]
fn check_refused(from: &str, to: &str) {
    let validator = jsonschema::validator_for(&schema()).expect("a schema");
    let good = std::fs::read_to_string(root().join("conf/chatmux.yaml")).expect("a conf");
    assert!(validator.is_valid(&conf(&good)));
    assert!(good.contains(from), "{from}");
    assert!(!validator.is_valid(&conf(&good.replacen(from, to, 1))), "{to} is taken");
}

#[test]
fn the_schema_refuses_what_the_reader_does() {
    check_refused("server:\n", "sevrer:\n");
    check_refused("drain: 30s", "drain: 30");
    check_refused("backend: xians", "backend: xiens");
    check_refused("org_id: 00D000000000001", "tenant_url: a");
    check_refused("credential_in: header", "credential_in: body");
    check_refused("    url: \"https://agents.example.com\"\n", "");
    check_refused("unmapped: raw", "unmapped: row");
    check_refused("events: 512", "events: 0");
    check_refused("path: /api/user/sse/events", "path: api");
    check_refused("allow_errors_event: false", "allow_errors_event: \"false\"");
    check_refused("\nroutes:\n", "\nroutez:\n");
    let validator = jsonschema::validator_for(&schema()).expect("a schema");
    assert!(!validator.is_valid(&json!({"listen": [{"address": "a:1"}]})), "what is missing");
    assert!(validator.is_valid(&json!({"include": ["a"], "listen": [{"address": "a:1"}]})));
    assert!(!validator.is_valid(&json!({"include": [], "listen": [{"address": "a:1"}]})));
}

#[test]
fn the_reference_names_every_option_once() {
    let page = document();
    let (fields, roster) = super::reference();
    for field in fields {
        assert_eq!(page.matches(&format!("\n| `{}` |", field.name)).count(), 1, "{}", field.name);
    }
    for dialect in roster {
        for option in dialect.options {
            assert!(page.contains(&format!("\n| `{}` |", option.name)), "{}", option.name);
        }
    }
    for wanted in ["routes[].heartbeat.max", "auth.api_keys[].sha256", "sources.NAME.tls.ca"] {
        assert!(page.contains(&format!("| `{wanted}` |")), "{wanted}");
    }
    assert!(page.contains("1s to 5m") && page.contains("`limits.event`"), "bounds and defaults");
}
