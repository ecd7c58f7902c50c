//! From what was written to what is true: reads a conf file, all errors at once.
//!
//! Syntax errors and duplicate keys stop the parser and are told alone. A configuration is
//! whole or not at all. Reads the files and variables that the conf names, nothing else. Not
//! here: the tables of their own (`auth`, `source`, `route`), how values are read (`read`).

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use zeroize::Zeroizing;

use super::auth::parse_digest;
use super::error::{ConfErrors, Finding, quoted};
use super::net::{IpNet, Rate, check_address};
use super::pattern::OriginRule;
use super::read::{ConfFile, Reader, Table, Value, parse_text};
use super::secret::read_text;
use super::{
    Admin, Config, Connections, Cors, ForwardedHeader, Limit, Limits, Log, LogFormat, LogLevel,
    Replay, Server, Timeouts, auth, cluster, include, listen, proxy, route, source, spec, yaml,
};
use crate::proto::backend::{Dialect, ROSTER};

/// Larger conf files are refused.
pub const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;
/// Larger certificate files are refused; the system's own bundle has a quarter of it.
const PEM_BYTES_MAX: u64 = 1024 * 1024;

/// What a certificate file holds.
pub(super) const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";
/// What a key file holds.
pub(super) const PRIVATE_KEY: &str = "PRIVATE KEY-----";

/// A configuration, and what is odd about it.
pub struct Loaded {
    /// What is true.
    pub config: Config,
    /// What works but should not stay.
    pub warnings: Vec<Finding>,
}

/// A text to be read as a conf file.
pub struct Input<'a> {
    /// The text.
    pub text: &'a str,
    /// How the file is called in messages.
    pub file_name: &'a str,
    /// What the paths in it start from.
    pub base_dir: &'a Path,
    /// The environment.
    pub env: &'a dyn Fn(&str) -> Option<String>,
    /// The dialects that sources may speak.
    pub roster: &'a [&'static Dialect],
}

/// Reads the conf file at a path. Paths in it start from its folder.
///
/// # Errors
/// All that is wrong, in the order of the file; never with a secret in it.
pub fn load(path: &Path, env: &dyn Fn(&str) -> Option<String>) -> Result<Loaded, ConfErrors> {
    let (name, text) = text_of(path)?;
    let base_dir = path.parent().unwrap_or_else(|| Path::new(""));
    parse(&text, &name, base_dir, env)
}

/// The text of a conf file, and how it is called in messages.
pub(super) fn text_of(path: &Path) -> Result<(String, Zeroizing<String>), ConfErrors> {
    let name = path.display().to_string();
    match read_text(path, &name, FILE_BYTES_MAX) {
        Ok(text) => Ok((name, Zeroizing::new(text))),
        Err(message) => Err(whole(&name, &message)),
    }
}

/// Reads a text as a conf file.
///
/// # Errors
/// As [`load`].
pub fn parse(
    text: &str,
    file_name: &str,
    base_dir: &Path,
    env: &dyn Fn(&str) -> Option<String>,
) -> Result<Loaded, ConfErrors> {
    read(&Input { text, file_name, base_dir, env, roster: ROSTER })
}

/// Reads a text with dialects of the caller's choice.
///
/// # Errors
/// As [`load`].
pub fn read(input: &Input<'_>) -> Result<Loaded, ConfErrors> {
    let (mut reader, root) = begin(input)?;
    let config = config(&mut reader, &root);
    let ConfErrors { errors, more, warnings } = all(reader);
    match config {
        Some(config) if errors.is_empty() => Ok(Loaded { config, warnings }),
        Some(_) | None if errors.is_empty() => {
            Err(whole(input.file_name, "the file does not make a configuration"))
        }
        Some(_) | None => Err(ConfErrors { errors, more, warnings }),
    }
}

/// Reads a text's form, and what it includes.
pub(super) fn begin<'a>(input: &Input<'a>) -> Result<(Reader<'a>, Rc<yaml::Node>), ConfErrors> {
    let file: Arc<str> = input.file_name.into();
    if u64::try_from(input.text.len()).is_ok_and(|length| length > FILE_BYTES_MAX) {
        let message = format!("the file is larger than {FILE_BYTES_MAX} bytes");
        return Err(whole(&file, &message));
    }
    let root = match yaml::parse(input.text, 0) {
        Ok(Some(root)) => root,
        Ok(None) => return Err(whole(&file, "the file is empty")),
        Err(yaml::YamlError { at, path, message }) => {
            return Err(alone(Finding { file, position: Some(at.into()), path, message }));
        }
    };
    let mut reader = Reader {
        files: vec![ConfFile { name: Arc::clone(&file), folder: input.base_dir.to_owned() }],
        env: input.env,
        roster: input.roster,
        errors: Vec::new(),
        more: 0,
        warnings: Vec::new(),
    };
    match include::merge(&mut reader, &root) {
        Some(root) => Ok((reader, root)),
        None => Err(all(reader)),
    }
}

/// What was found, in the order of the files.
pub(super) fn all(reader: Reader<'_>) -> ConfErrors {
    let Reader { mut errors, more, mut warnings, files, .. } = reader;
    let place = |finding: &Finding| {
        (files.iter().position(|file| file.name == finding.file), finding.position)
    };
    errors.sort_by_cached_key(place);
    warnings.sort_by_cached_key(place);
    ConfErrors { errors, more, warnings }
}

/// One error, about a file as a whole.
fn whole(file: &str, message: &str) -> ConfErrors {
    let message = message.to_owned();
    alone(Finding { file: file.into(), position: None, path: String::new(), message })
}

fn alone(error: Finding) -> ConfErrors {
    ConfErrors { errors: vec![error], more: 0, warnings: Vec::new() }
}

fn config(reader: &mut Reader<'_>, root: &Rc<yaml::Node>) -> Option<Config> {
    let root = reader.table(&Value { node: root, path: String::new() }, spec::ROOT)?;
    reader.number(&root, "version");
    let are_proxies_trusted = root.has("trusted_proxies");
    let listen = reader.list_of(&root, "listen", |reader, value| {
        listen::listen(reader, value, are_proxies_trusted)
    });
    let admin = admin(reader, &root);
    listen::refuse_twins(reader, &root);
    let server = server(reader, &root);
    let trusted_proxies = trusted_proxies(reader, &root);
    let forwarded_header = reader.word(&root, "forwarded_header", |word| match word {
        "x-forwarded-for" => Some(ForwardedHeader::XForwardedFor),
        "forwarded" => Some(ForwardedHeader::Forwarded),
        _ => None,
    });
    let cors = cors(reader, &root);
    let auth = auth::auth(reader, &root);
    let limits = limits(reader, &root);
    let cluster = cluster::cluster(reader, &root);
    let replay = replay(reader, &root);
    let timeouts = reader.sub_table(&root, "timeouts", spec::TIMEOUTS);
    let mut timeout = |name| timeouts.as_ref().and_then(|table| reader.duration(table, name));
    let (write, head) = (timeout("write"), timeout("head"));
    let event_bytes_max = limits.as_ref().map(|(_, event_bytes_max)| *event_bytes_max);
    let sources = source::sources(reader, &root, event_bytes_max);
    let mut used = HashSet::new();
    let routes = route::routes(reader, &root, &sources, &mut used);
    let proxy = proxy::proxies(reader, &root, &sources, &routes, &mut used);
    source::warn_of_unused(reader, &sources, &used);
    let log = log(reader, &root);
    Some(Config {
        listen,
        admin,
        server: server?,
        trusted_proxies,
        forwarded_header: forwarded_header?,
        cors: cors?,
        auth: auth?,
        limits: limits.map(|(limits, _)| limits)?,
        cluster,
        replay: replay?,
        timeouts: Timeouts { write: write?, head: head? },
        sources: sources.into_iter().filter_map(|named| named.source).collect(),
        routes,
        proxy,
        log: log?,
    })
}

pub(super) fn parse_address(text: &str) -> Result<String, String> {
    check_address(text).map(|()| text.to_ascii_lowercase())
}

fn admin(reader: &mut Reader<'_>, root: &Table<'_>) -> Option<Admin> {
    let table = reader.table(&root.get("admin")?, spec::ADMIN)?;
    let address = reader.text(&table, "address", parse_address);
    let sha256 = reader.text(&table, "sha256", parse_digest);
    let has_console = reader.bool(&table, "console");
    Some(Admin { address: address?, sha256, has_console: has_console? })
}

/// A PEM file that is there and holds what it should. TLS itself would tell too late.
pub(super) fn pem_file(
    reader: &mut Reader<'_>,
    table: &Table<'_>,
    name: &str,
    marker: &str,
) -> Option<PathBuf> {
    let value = table.get(name)?;
    let written = reader.parsed(&value, |scalar| parse_text(&scalar.text))?;
    let path = reader.file_at(value.node.at, &written);
    reader.parsed(&value, |_| {
        let text = Zeroizing::new(read_text(&path, &written, PEM_BYTES_MAX)?);
        let kind = marker.trim_matches('-').trim_start_matches("BEGIN ");
        let has_it = text.contains(marker);
        has_it
            .then_some(path)
            .ok_or_else(|| format!("the file {} holds no {kind}", quoted(&written)))
    })
}

fn server(reader: &mut Reader<'_>, root: &Table<'_>) -> Option<Server> {
    let table = reader.sub_table(root, "server", spec::SERVER)?;
    let threads = match table.has("threads") {
        true => reader.number(&table, "threads").and_then(|threads| usize::try_from(threads).ok()),
        false => Some(std::thread::available_parallelism().map_or(1, std::num::NonZero::get)),
    };
    let drain = reader.duration(&table, "drain");
    let max_age = reader.duration(&table, "max_age");
    let upgrade_socket = reader.file_path(&table, "upgrade_socket");
    if let Some(folder) = upgrade_socket.as_deref().and_then(Path::parent)
        && !folder.as_os_str().is_empty()
        && !folder.is_dir()
    {
        let message = format!("the folder {} is not there", quoted(&folder.display().to_string()));
        reader.error(
            table.at("upgrade_socket"),
            &format!("{}.upgrade_socket", table.path),
            message,
        );
    }
    Some(Server { threads: threads?, drain: drain?, max_age, upgrade_socket })
}

fn trusted_proxies(reader: &mut Reader<'_>, root: &Table<'_>) -> Vec<IpNet> {
    reader.list_of(root, "trusted_proxies", |reader, value| {
        let net = reader.parsed(value, |scalar| IpNet::parse(&scalar.text))?;
        if net.is_all() {
            let message = "everyone is trusted: clients can claim any address";
            reader.warn(value.node.at, &value.path, message);
        }
        Some(net)
    })
}

fn cors(reader: &mut Reader<'_>, root: &Table<'_>) -> Option<Cors> {
    let table = reader.sub_table(root, "cors", spec::CORS)?;
    let allow_origins = reader.list_of(&table, "allow_origins", |reader, value| {
        let rule = reader.parsed(value, |scalar| {
            parse_text(&scalar.text).and_then(|text| OriginRule::parse(&text))
        })?;
        if let OriginRule::Pattern(pattern) = &rule {
            reader.warn_of_pattern(value, pattern);
        }
        Some(rule)
    });
    let allow_credentials = reader.bool(&table, "allow_credentials");
    let max_age = reader.duration_of_seconds(&table, "max_age");
    let cors = Cors { allow_origins, allow_credentials: allow_credentials?, max_age: max_age? };
    if cors.allow_credentials && cors.allows_any() {
        let message = "credentials are never allowed for *; name the origins";
        reader.error(
            table.at("allow_credentials"),
            &format!("{}.allow_credentials", table.path),
            message,
        );
    }
    Some(cors)
}

/// The limits, and the bytes of an event.
fn limits(reader: &mut Reader<'_>, root: &Table<'_>) -> Option<(Limits, usize)> {
    let table = reader.sub_table(root, "limits", spec::LIMITS)?;
    let address = limit(reader, &table, "address");
    let subject = limit(reader, &table, "subject");
    let tenant = limit(reader, &table, "tenant");
    let connections = connections(reader, &table);
    let event_bytes_max = reader.size(&table, "event");
    let limits =
        Limits { address: address?, subject: subject?, tenant: tenant?, connections: connections? };
    Some((limits, event_bytes_max?))
}

fn connections(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<Connections> {
    let table = reader.sub_table(table, "connections", spec::CONNECTIONS)?;
    let mut number = |name| reader.number(&table, name).and_then(|n| u32::try_from(n).ok());
    Some(Connections { total: number("total"), per_client: number("per_client") })
}

pub(super) fn limit(reader: &mut Reader<'_>, table: &Table<'_>, name: &str) -> Option<Limit> {
    let table = reader.sub_table(table, name, spec::LIMIT)?;
    let opens = reader.text(&table, "opens", Rate::parse);
    let burst = reader.number(&table, "burst").and_then(|burst| u32::try_from(burst).ok());
    let concurrent =
        reader.number(&table, "concurrent").and_then(|count| u32::try_from(count).ok());
    let requests = reader.text(&table, "requests", Rate::parse);
    if table.has("burst") && !table.has("opens") && !table.has("requests") {
        let message = "this has no meaning without opens or requests";
        reader.error(table.at("burst"), &format!("{}.burst", table.path), message);
    }
    Some(Limit { opens, requests, burst, concurrent })
}

fn replay(reader: &mut Reader<'_>, root: &Table<'_>) -> Option<Replay> {
    let table = reader.sub_table(root, "replay", spec::REPLAY)?;
    let events = reader.number(&table, "events").and_then(|events| usize::try_from(events).ok());
    let bytes = reader.size(&table, "bytes");
    let age = reader.duration(&table, "age");
    let linger = reader.duration(&table, "linger");
    Some(Replay { events: events?, bytes: bytes?, age: age?, linger: linger? })
}

fn log(reader: &mut Reader<'_>, root: &Table<'_>) -> Option<Log> {
    let table = reader.sub_table(root, "log", spec::LOG)?;
    let level = reader.word(&table, "level", |word| match word {
        "error" => Some(LogLevel::Error),
        "warn" => Some(LogLevel::Warn),
        "info" => Some(LogLevel::Info),
        "debug" => Some(LogLevel::Debug),
        "trace" => Some(LogLevel::Trace),
        _ => None,
    });
    let format = reader.word(&table, "format", |word| match word {
        "text" => Some(LogFormat::Text),
        "json" => Some(LogFormat::Json),
        _ => None,
    });
    Some(Log { level: level?, format: format? })
}

impl Reader<'_> {
    /// Whole seconds, as a duration.
    pub(super) fn duration_of_seconds(
        &mut self,
        table: &Table<'_>,
        name: &str,
    ) -> Option<Duration> {
        self.seconds(table, name).map(Duration::from_secs)
    }
}
