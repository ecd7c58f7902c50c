//! The `sources` table: the backends.
//!
//! What every source has is read here by `spec`, what a dialect takes besides by its own
//! `OptionSpec`s. Not here: what the options mean (`Dialect::plan`).

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use super::error::{Place, did_you_mean, quoted};
use super::net::{Scheme, Url, is_host_name};
use super::read::{
    Reader, Table, Value, known_keys, no_word, parse_bool, parse_seconds, parse_text,
};
use super::secret::Given;
use super::spec;
use super::yaml::join;
use super::{Source, Tls, file, listen};
use crate::proto::backend::{
    Dialect, Keep, OptionKind, OptionSpec, OptionValue, Options, Plan, Policy,
};
use crate::proto::secret::Secret;
use crate::proto::template::{Template, TemplateError, Variable};

/// Names are labels of metrics and part of events.
const NAME_BYTES_MAX: usize = 64;

/// A source by name; `None` if it has errors, so that routes that name it have none.
pub(super) struct Named {
    pub(super) name: String,
    pub(super) at: Place,
    pub(super) source: Option<Arc<Source>>,
}

pub(super) fn sources(
    reader: &mut Reader<'_>,
    root: &Table<'_>,
    event_bytes_max: Option<usize>,
) -> Vec<Named> {
    let Some(value) = root.get("sources") else {
        return Vec::new();
    };
    let Some(table) = reader.open_table(&value, &[]) else {
        return Vec::new();
    };
    if table.entries().is_empty() {
        reader.error(table.at, &table.path, "there must be at least one source");
    }
    let mut out = Vec::new();
    for entry in table.entries() {
        let path = join(&table.path, &entry.key);
        if !is_name(&entry.key) {
            let message = "a source's name has 1 to 64 letters, digits, - and _";
            reader.error(entry.at, &path, message);
        }
        let source =
            source(reader, &entry.key, &Value { node: &entry.value, path }, event_bytes_max);
        out.push(Named { name: entry.key.clone(), at: entry.at, source: source.map(Arc::new) });
    }
    out
}

/// Tells of sources that nothing uses.
pub(super) fn warn_of_unused(reader: &mut Reader<'_>, sources: &[Named], used: &HashSet<&str>) {
    for named in sources {
        if !used.contains(named.name.as_str()) {
            reader.warn(named.at, &format!("sources.{}", named.name), "no route uses this source");
        }
    }
}

fn is_name(text: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    (1..=NAME_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_fit)
}

fn source(
    reader: &mut Reader<'_>,
    name: &str,
    value: &Value<'_>,
    event_bytes_max: Option<usize>,
) -> Option<Source> {
    let table = reader.open_table(value, spec::SOURCE)?;
    let dialect = dialect(reader, &table);
    refuse_unknown(reader, &table, dialect);
    reader.check_required(&table);
    let plan = dialect.and_then(|dialect| plan(reader, &table, dialect));
    let url =
        reader.text(&table, "url", |text| parse_text(text).and_then(|text| Url::parse(&text)));
    let unmapped = keep(reader, &table, "unmapped");
    let malformed = keep(reader, &table, "malformed");
    let is_optional = reader.bool(&table, "optional");
    let connect_timeout = reader.duration(&table, "connect_timeout");
    let event = if table.has("event") { reader.size(&table, "event") } else { event_bytes_max };
    let tls = reader.sub_table(&table, "tls", spec::SOURCE_TLS)?;
    let ca = file::pem_file(reader, &tls, "ca", file::CERTIFICATE);
    #[cfg(feature = "openssl")]
    super::certificate::check_authorities(reader, &tls, "ca", ca.as_deref());
    let sni = reader.text(&tls, "sni", parse_sni);
    let identity = identity(reader, &tls);
    let is_http2 = reader.bool(&table, "http2");
    if url.as_ref().is_some_and(|url| url.scheme == Scheme::Http) {
        for (name, is_wanted) in [("tls", table.has("tls")), ("http2", is_http2 == Some(true))] {
            if is_wanted {
                reader.error(
                    table.at(name),
                    &join(&table.path, name),
                    "this has no meaning with http://; write https:// in url",
                );
            }
        }
    }
    Some(Source {
        name: name.to_owned(),
        dialect: dialect?,
        url: url?,
        plan: plan?,
        policy: Policy { unmapped: unmapped?, malformed: malformed? },
        is_optional: is_optional?,
        connect_timeout: connect_timeout?,
        ca,
        sni,
        identity,
        is_http2: is_http2?,
        event_bytes_max: event?,
    })
}

/// The certificate that a backend is shown: both files, or none.
pub(super) fn identity(reader: &mut Reader<'_>, tls: &Table<'_>) -> Option<Tls> {
    for (one, other) in [("client_cert", "client_key"), ("client_key", "client_cert")] {
        if tls.has(one) && !tls.has(other) {
            let message = format!("without {other} this is of no use");
            reader.error(tls.at(one), &join(&tls.path, one), message);
        }
    }
    let cert = file::pem_file(reader, tls, "client_cert", file::CERTIFICATE);
    let key = file::pem_file(reader, tls, "client_key", file::PRIVATE_KEY);
    let names = ["client_cert", "client_key"];
    listen::check_pair(reader, tls, names, [cert.as_deref(), key.as_deref()]);
    Some(Tls { cert: cert?, key: key? })
}

fn dialect(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<&'static Dialect> {
    let roster = reader.roster;
    reader.text(table, "backend", |text| {
        let names: Vec<&str> = roster.iter().map(|dialect| dialect.name).collect();
        let found = roster.iter().copied().find(|dialect| dialect.name == text);
        found.ok_or_else(|| no_word(text, &names))
    })
}

/// Refuses keys that neither every source nor this dialect has. Without a dialect, those that
/// none has.
fn refuse_unknown(reader: &mut Reader<'_>, table: &Table<'_>, dialect: Option<&'static Dialect>) {
    let roster = reader.roster;
    for entry in table.entries() {
        let has = |dialect: &Dialect| dialect.options.iter().any(|option| option.name == entry.key);
        let is_common = spec::SOURCE.iter().any(|field| field.name == entry.key);
        let others: Vec<&str> =
            roster.iter().filter(|dialect| has(dialect)).map(|dialect| dialect.name).collect();
        let message = match dialect {
            _ if is_common => continue,
            Some(dialect) if has(dialect) => continue,
            None if !others.is_empty() => continue,
            Some(dialect) if !others.is_empty() => {
                format!("this is an option of {}, not of {}", others.join(" and "), dialect.name)
            }
            Some(_) | None => {
                let common = spec::SOURCE.iter().map(|field| field.name);
                let own = dialect.map_or(&[][..], |dialect| dialect.options);
                format!(
                    "no such option{}",
                    known_keys(&entry.key, common.chain(own.iter().map(|option| option.name)))
                )
            }
        };
        reader.error(entry.at, &join(&table.path, &entry.key), message);
    }
}

fn keep(reader: &mut Reader<'_>, table: &Table<'_>, name: &str) -> Option<Keep> {
    reader.word(table, name, |word| match word {
        "raw" => Some(Keep::Raw),
        "drop" => Some(Keep::Drop),
        _ => None,
    })
}

pub(super) fn parse_sni(text: &str) -> Result<String, String> {
    let is_fit = is_host_name(text);
    is_fit
        .then(|| text.to_ascii_lowercase())
        .ok_or_else(|| format!("{} is no host name", quoted(text)))
}

fn plan(reader: &mut Reader<'_>, table: &Table<'_>, dialect: &'static Dialect) -> Option<Plan> {
    let mut secrets = Vec::new();
    let errors = reader.errors.len() + reader.more;
    let options = options(reader, table, dialect.options, &mut secrets);
    if reader.errors.len() + reader.more > errors {
        return None;
    }
    let plan = (dialect.plan)(&options);
    if let Err(message) = &plan {
        // A dialect does not repeat secrets; this holds even if one forgets.
        let scrubbed = secrets.iter().fold(message.clone(), |message, secret: &Secret| {
            message.replace(secret.reveal(), "[secret]")
        });
        reader.error(table.at, &table.path, scrubbed);
    }
    plan.ok()
}

/// The options of a dialect, or of one of its tables.
fn options(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    specs: &'static [OptionSpec],
    secrets: &mut Vec<Secret>,
) -> Options {
    let mut options = Options::default();
    for spec in specs {
        let Some(value) = table.get(spec.name) else {
            if spec.is_required {
                let message = format!("this is missing: {}", spec.doc);
                reader.error(table.at, &join(&table.path, spec.name), message);
            }
            continue;
        };
        if let Some(value) = option(reader, &value, spec, secrets) {
            options.0.insert(spec.name, value);
        }
    }
    options
}

fn option(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    spec: &'static OptionSpec,
    secrets: &mut Vec<Secret>,
) -> Option<OptionValue> {
    match spec.kind {
        OptionKind::Templates => templates(reader, value).map(OptionValue::Templates),
        OptionKind::Template => template(reader, value).map(OptionValue::Template),
        OptionKind::Secret => secret_template(reader, value, secrets).map(OptionValue::Template),
        OptionKind::Word(words) => reader
            .parsed(value, |scalar| match words.contains(&scalar.text.as_str()) {
                true => Ok(scalar.text.clone()),
                false => Err(no_word(&scalar.text, words)),
            })
            .map(OptionValue::Word),
        OptionKind::Bool => reader.parsed(value, parse_bool).map(OptionValue::Bool),
        OptionKind::Secs { min, max } => reader
            .parsed(value, |scalar| parse_seconds(&scalar.text, min, max))
            .map(OptionValue::Secs),
        OptionKind::Table(specs) => {
            let table = reader.open_table(value, &[])?;
            for entry in table.entries() {
                if !specs.iter().any(|spec| spec.name == entry.key) {
                    let hint = known_keys(&entry.key, specs.iter().map(|spec| spec.name));
                    reader.error(
                        entry.at,
                        &join(&table.path, &entry.key),
                        format!("no such option{hint}"),
                    );
                }
            }
            Some(OptionValue::Table(options(reader, &table, specs, secrets)))
        }
    }
}

fn template(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<Template> {
    let parse = |text: &str| {
        let text = parse_text(text)?;
        Template::parse(&text).map_err(|error| template_error(&error))
    };
    reader.parsed(value, |scalar| parse(&scalar.text))
}

/// Templates by names of the operator's choice.
fn templates(reader: &mut Reader<'_>, value: &Value<'_>) -> Option<BTreeMap<String, Template>> {
    let table = reader.open_table(value, &[])?;
    let mut out = BTreeMap::new();
    for entry in table.entries() {
        let value = Value { node: &entry.value, path: join(&table.path, &entry.key) };
        if let Some(template) = template(reader, &value) {
            out.insert(entry.key.clone(), template);
        }
    }
    Some(out)
}

fn template_error(error: &TemplateError) -> String {
    match error {
        TemplateError::Unclosed => error.to_string(),
        TemplateError::UnknownVariable(name) => {
            let names = Variable::HELP.split(", ").map(str::trim);
            format!("{error}{}", did_you_mean(name, names))
        }
    }
}

/// A secret, or text whose holes the client fills. Its text is not repeated.
fn secret_template(
    reader: &mut Reader<'_>,
    value: &Value<'_>,
    secrets: &mut Vec<Secret>,
) -> Option<Template> {
    match reader.given(value)? {
        Given::Elsewhere(secret) => {
            let secret = reader.one_line(value, secret)?;
            secrets.push(secret.clone());
            Some(Template::literal(secret))
        }
        Given::Literal(secret) => {
            let secret = reader.one_line(value, secret)?;
            secrets.push(secret.clone());
            let template = Template::parse(secret.reveal());
            match &template {
                Ok(template) if template.is_constant() => reader.warn_literal(value),
                Ok(_) => {}
                Err(TemplateError::Unclosed) => {
                    reader.error(value.node.at, &value.path, TemplateError::Unclosed.to_string());
                }
                Err(TemplateError::UnknownVariable(_)) => {
                    let message = format!(
                        "what stands between {{ and }} names nothing; known are {}; \
                         write {{{{ for a literal brace",
                        Variable::HELP
                    );
                    reader.error(value.node.at, &value.path, message);
                }
            }
            template.ok()
        }
    }
}
