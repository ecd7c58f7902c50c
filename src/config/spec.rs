//! Every option of the conf file, once: its name, what it takes, its default, a sentence.
//!
//! The reader checks keys, takes bounds and defaults from here, so the reference that is made of
//! this table is what really happens. The options of a dialect stand in its own file.

use std::time::Duration;

use crate::proto::backend::{Dialect, ROSTER};

/// An option.
#[derive(Clone, Copy)]
pub struct Field {
    /// Its key.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// What happens without it.
    pub presence: Presence,
    /// A sentence for the reference.
    pub doc: &'static str,
}

/// What happens without an option.
#[derive(Clone, Copy)]
pub enum Presence {
    /// It must be there.
    Required,
    /// It is as if this were written.
    Default(&'static str),
    /// Then it follows from elsewhere, in words.
    Derived(&'static str),
    /// Then there is none; a table then has the defaults of its options.
    Optional,
}

/// What an option takes.
#[derive(Clone, Copy)]
pub enum Kind {
    /// Text, not empty.
    Text,
    /// `host:port`.
    Address,
    /// `https://host/path`.
    Url,
    /// A path of a URL.
    UrlPath,
    /// A file, relative to the conf file's folder.
    File,
    /// A file, or several: `*` and `?` stand for what a name may hold.
    Files,
    /// An address block.
    IpNet,
    /// An origin, `*`, or an expression over all of an origin.
    Origin,
    /// Text taken exactly, or an expression over all of it.
    Pattern,
    /// An expression, looked for anywhere in a text.
    Expression,
    /// Text taken as it is, which may be empty.
    Literal,
    /// 64 hexadecimal digits.
    Digest,
    /// A day, or a time of RFC 3339.
    Time,
    /// `30/m`.
    Rate,
    /// `${env:NAME}` or `${file:PATH}`.
    Secret,
    /// PEM text, or as a secret.
    Pem,
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Number {
        /// At least.
        min: u64,
        /// At most.
        max: u64,
    },
    /// `15s`.
    Duration {
        /// At least.
        min: Duration,
        /// At most.
        max: Duration,
    },
    /// A duration in whole seconds.
    Seconds {
        /// At least.
        min: u64,
        /// At most.
        max: u64,
    },
    /// `64KiB`.
    Size {
        /// At least.
        min: u64,
        /// At most.
        max: u64,
    },
    /// One of these words.
    Word(&'static [&'static str]),
    /// The name of a dialect.
    Backend,
    /// A list, not empty.
    List(&'static Self),
    /// One value, or a list of them.
    OneOrMore(&'static Self),
    /// Options of its own.
    Table(&'static [Field]),
    /// A table of tables: the key is a name.
    Named(&'static [Field]),
}

/// The whole conf file, and the dialects whose options a source takes besides its own.
#[must_use]
pub fn reference() -> (&'static [Field], &'static [&'static Dialect]) {
    (ROOT, ROSTER)
}

const fn required(name: &'static str, kind: Kind, doc: &'static str) -> Field {
    Field { name, kind, presence: Presence::Required, doc }
}

const fn optional(name: &'static str, kind: Kind, doc: &'static str) -> Field {
    Field { name, kind, presence: Presence::Optional, doc }
}

const fn default(name: &'static str, kind: Kind, text: &'static str, doc: &'static str) -> Field {
    Field { name, kind, presence: Presence::Default(text), doc }
}

const fn derived(name: &'static str, kind: Kind, words: &'static str, doc: &'static str) -> Field {
    Field { name, kind, presence: Presence::Derived(words), doc }
}

const fn duration(min_millis: u64, max_secs: u64) -> Kind {
    Kind::Duration { min: Duration::from_millis(min_millis), max: Duration::from_secs(max_secs) }
}

const TEXTS: Kind = Kind::List(&Kind::Text);
const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;

pub(super) const ROOT: &[Field] = &[
    default("version", Kind::Number { min: 1, max: 1 }, "1", "The version of this format."),
    optional(
        "include",
        Kind::List(&Kind::Files),
        "Other conf files, whose sources, routes, keys and issuers are added to those of this one.",
    ),
    required("listen", Kind::List(&Kind::Table(LISTEN)), "Where clients come in."),
    optional("admin", Kind::Table(ADMIN), "Where operators come in; without it, nowhere."),
    optional("server", Kind::Table(SERVER), "The process."),
    optional(
        "trusted_proxies",
        Kind::List(&Kind::IpNet),
        "Peers whose forwarded_header and PROXY header are believed.",
    ),
    default(
        "forwarded_header",
        Kind::Word(&["x-forwarded-for", "forwarded"]),
        "x-forwarded-for",
        "The header in which trusted proxies name their client; the other one is not read.",
    ),
    optional("cors", Kind::Table(CORS), "Which web pages of other origins may read streams."),
    required("auth", Kind::Table(AUTH), "Who is let in."),
    optional("limits", Kind::Table(LIMITS), "How much at a time."),
    optional(
        "cluster",
        Kind::Table(CLUSTER),
        "What several nodes share; a change needs a restart.",
    ),
    optional("replay", Kind::Table(REPLAY), "What is kept for clients that come back."),
    optional("timeouts", Kind::Table(TIMEOUTS), "How long is waited."),
    required("sources", Kind::Named(SOURCE), "The backends, by name."),
    required(
        "routes",
        Kind::List(&Kind::Table(ROUTE)),
        "The paths; the first that matches counts.",
    ),
    optional(
        "proxy",
        Kind::List(&Kind::Table(PROXY)),
        "Paths whose calls are passed through to a source; the longest path counts.",
    ),
    optional("log", Kind::Table(LOG), "What is told, and how."),
];

pub(super) const LISTEN: &[Field] = &[
    required("address", Kind::Address, "Address and port; port 0 takes a free one."),
    optional(
        "tls",
        Kind::Table(LISTEN_TLS),
        "The certificates; then HTTPS with HTTP/2 and HTTP/1.1.",
    ),
    default("h2c", Kind::Bool, "false", "HTTP/2 without TLS; only where all clients are trusted."),
    default(
        "proxy_protocol",
        Kind::Bool,
        "false",
        "Every connection begins with a PROXY header, version 1 or 2, of a trusted proxy.",
    ),
];

/// The words that `min_version` takes.
pub(super) const TLS_VERSIONS: &[&str] = &["1.2", "1.3"];

pub(super) const LISTEN_TLS: &[Field] = &[
    derived("cert", Kind::File, "those of certificates", "The certificate chain, PEM."),
    derived("key", Kind::File, "those of certificates", "The private key of cert, PEM."),
    optional(
        "certificates",
        Kind::List(&Kind::Table(CERTIFICATE)),
        "In place of cert and key: several, among which the name that a client asks for chooses.",
    ),
    default(
        "unknown_names",
        Kind::Word(&["default", "refuse"]),
        "default",
        "What clients get that ask for no name, or for one that no certificate covers: the first \
         certificate, or an alert.",
    ),
    default(
        "min_version",
        Kind::Word(TLS_VERSIONS),
        "1.2",
        "The oldest version of TLS that is spoken.",
    ),
    default(
        "watch",
        duration(1000, 24 * HOUR),
        "1m",
        "How often the files are looked at; changed ones are taken without a reload.",
    ),
];

pub(super) const CERTIFICATE: &[Field] = &[
    required("cert", Kind::File, "The certificate chain, PEM."),
    required("key", Kind::File, "The private key, PEM."),
    derived(
        "names",
        TEXTS,
        "those in the certificate",
        "The names that it is for; *.example.com is for those one label below.",
    ),
];

pub(super) const ADMIN: &[Field] = &[
    required(
        "address",
        Kind::Address,
        "Address and port, best a loopback one; port 0 takes a free one.",
    ),
    derived(
        "sha256",
        Kind::Digest,
        "no key, and only on a loopback address",
        "SHA-256 of the key that POST /streams/close asks for.",
    ),
    default("console", Kind::Bool, "false", "Whether there is a console page, /console/."),
];

pub(super) const SERVER: &[Field] = &[
    derived("threads", Kind::Number { min: 1, max: 1024 }, "one for each core", "Worker threads."),
    default(
        "drain",
        duration(0, HOUR),
        "30s",
        "How long open streams may take to leave on SIGTERM.",
    ),
    derived(
        "max_age",
        duration(1000, 7 * 24 * HOUR),
        "no limit",
        "How old a stream may become; clients come back at once and miss nothing.",
    ),
    optional("upgrade_socket", Kind::File, "The socket that hands listeners to a new process."),
];

pub(super) const CORS: &[Field] = &[
    optional("allow_origins", Kind::List(&Kind::Origin), "Origins: exact, as an expression, or *."),
    default(
        "allow_credentials",
        Kind::Bool,
        "false",
        "Whether pages may send cookies; not with *.",
    ),
    default(
        "max_age",
        Kind::Seconds { min: 0, max: 24 * HOUR },
        "10m",
        "How long browsers keep a preflight.",
    ),
];

pub(super) const AUTH: &[Field] = &[
    optional(
        "api_keys",
        Kind::List(&Kind::Table(API_KEY)),
        "API keys, by digest; `chatmux key` makes them.",
    ),
    optional("jwt", Kind::List(&Kind::Table(JWT)), "Issuers of tokens."),
    default("anonymous", Kind::Bool, "false", "Whether requests without a credential are let in."),
    optional("cookie", Kind::Text, "The cookie in which pages may bring a credential."),
];

pub(super) const API_KEY: &[Field] = &[
    required("label", Kind::Text, "Its name in logs."),
    required("sha256", Kind::Digest, "SHA-256 of the key."),
    derived("tenants", TEXTS, "any", "The tenants it opens."),
    derived("workflows", Kind::List(&Kind::Pattern), "any", "The workflows it opens."),
    derived("participants", TEXTS, "any", "The participants it opens."),
    derived(
        "expires",
        Kind::Time,
        "never",
        "From then on it is refused; a day starts at midnight UTC.",
    ),
    derived("limits", Kind::Table(LIMIT), "limits.subject", "Limits of its own."),
];

/// All words that `algorithms` takes.
pub(super) const ALGORITHMS: &[&str] = &[
    "HS256", "HS384", "HS512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256",
    "ES384", "EdDSA",
];

pub(super) const JWT: &[Field] = &[
    required("issuer", Kind::Text, "The token's iss."),
    derived(
        "audience",
        Kind::OneOrMore(&Kind::Text),
        "any",
        "The token's aud must hold one of these.",
    ),
    required("algorithms", Kind::List(&Kind::Word(ALGORITHMS)), "What tokens may be signed with."),
    optional("secret", Kind::Secret, "The shared secret, for HS256, HS384 and HS512."),
    optional("public_key", Kind::Pem, "The public key or certificate in PEM, for all others."),
    optional("jwks_file", Kind::File, "A JSON Web Key Set in place of it, read anew on reload."),
    optional("jwks_url", Kind::Url, "Where the issuer publishes its JSON Web Key Set."),
    default(
        "jwks_refresh",
        duration(1000, 24 * HOUR),
        "10m",
        "How often the set of jwks_url is fetched.",
    ),
    default(
        "jwks_pause",
        duration(1000, HOUR),
        "10s",
        "The least time between two fetches, however many tokens name an unknown key.",
    ),
    optional("jwks_tls", Kind::Table(SOURCE_TLS), "How the certificate of jwks_url is checked."),
    default(
        "leeway",
        Kind::Seconds { min: 0, max: 5 * MINUTE },
        "30s",
        "By how much clocks may differ.",
    ),
    optional("bind", Kind::Table(BIND), "What of the request must equal a claim."),
];

pub(super) const BIND: &[Field] = &[
    optional("participantId", Kind::Text, "The claim that participantId must equal."),
    optional("tenantId", Kind::Text, "The claim that tenantId must equal."),
    optional("workflow", Kind::Text, "The claim that workflow must equal."),
];

pub(super) const LIMITS: &[Field] = &[
    optional("address", Kind::Table(LIMIT), "For each client address."),
    optional("subject", Kind::Table(LIMIT), "For each API key or token subject."),
    optional("tenant", Kind::Table(LIMIT), "For each tenant."),
    optional("connections", Kind::Table(CONNECTIONS), "Open connections, whatever they are for."),
    default(
        "event",
        Kind::Size { min: KIB, max: 64 * MIB },
        "1MiB",
        "The largest event taken from a source; larger ones are discarded and counted.",
    ),
];

pub(super) const CONNECTIONS: &[Field] = &[
    derived(
        "total",
        Kind::Number { min: 1, max: 10_000_000 },
        "seven eighths of the file descriptors",
        "In all; more are closed at once.",
    ),
    derived(
        "per_client",
        Kind::Number { min: 1, max: 10_000_000 },
        "no limit",
        "From one address; trusted proxies are not counted.",
    ),
];

pub(super) const LIMIT: &[Field] = &[
    derived("opens", Kind::Rate, "no limit", "New streams in a second, minute or hour."),
    derived("requests", Kind::Rate, "no limit", "Passed-through calls, likewise."),
    derived(
        "burst",
        Kind::Number { min: 1, max: 1_000_000 },
        "the count of opens, or of requests",
        "How many at once, of each.",
    ),
    derived("concurrent", Kind::Number { min: 1, max: 10_000_000 }, "no limit", "Open streams."),
];

pub(super) const CLUSTER: &[Field] =
    &[required("redis", Kind::Table(REDIS), "Where they share it: Redis 6.2 or later, or Valkey.")];

pub(super) const REDIS: &[Field] = &[
    required(
        "url",
        Kind::OneOrMore(&Kind::Text),
        "redis://host:port/database, or rediss:// with TLS; port 6379 and database 0 by default. Of \
         several the first that can be written to is used; those of a Redis Cluster are followed.",
    ),
    derived("username", Kind::Text, "the default user", "The user of its access list."),
    derived("password", Kind::Secret, "none", "The password."),
    default("prefix", Kind::Text, "chatmux:", "What every key begins with, in braces."),
    default(
        "timeout",
        duration(10, 5),
        "250ms",
        "For one call, and for the connection; past it each node goes on alone.",
    ),
    optional("tls", Kind::Table(SOURCE_TLS), "Who is trusted, and who we are; only with rediss."),
];

pub(super) const REPLAY: &[Field] = &[
    default("events", Kind::Number { min: 1, max: 100_000 }, "512", "Events that a channel keeps."),
    default(
        "bytes",
        Kind::Size { min: 4 * KIB, max: 1024 * MIB },
        "1MiB",
        "Bytes that a channel keeps.",
    ),
    default("age", duration(1000, 24 * HOUR), "10m", "How old a kept event may become."),
    default("linger", duration(0, HOUR), "30s", "How long a channel stays after its last client."),
];

pub(super) const TIMEOUTS: &[Field] = &[
    default(
        "write",
        duration(100, 5 * MINUTE),
        "10s",
        "For one write to a client; past it the stream is closed.",
    ),
    default(
        "head",
        duration(100, 5 * MINUTE),
        "10s",
        "For the head of a request, from its first byte to its last.",
    ),
];

const KEEP: Kind = Kind::Word(&["raw", "drop"]);

pub(super) const SOURCE: &[Field] = &[
    required("backend", Kind::Backend, "What it speaks."),
    required("url", Kind::Url, "Where it is, to which the backend's own paths are added."),
    default(
        "optional",
        Kind::Bool,
        "false",
        "Whether it is left out when a client lacks a value for it.",
    ),
    default("unmapped", KEEP, "raw", "What becomes of frames whose name is not known."),
    default(
        "malformed",
        KEEP,
        "drop",
        "What becomes of frames that are not what their name promises.",
    ),
    default(
        "connect_timeout",
        duration(100, 5 * MINUTE),
        "10s",
        "For the connection, TLS included.",
    ),
    derived(
        "event",
        Kind::Size { min: KIB, max: 64 * MIB },
        "limits.event",
        "The largest event or poll answer taken from it.",
    ),
    default("http2", Kind::Bool, "false", "Whether HTTP/2 is asked for; only with https."),
    optional("tls", Kind::Table(SOURCE_TLS), "Who is trusted, and who we are; only with https."),
];

pub(super) const SOURCE_TLS: &[Field] = &[
    derived("ca", Kind::File, "those of the system", "The certificate authorities to trust, PEM."),
    derived("sni", Kind::Text, "the host of url", "The name that its certificate must hold."),
    optional("client_cert", Kind::File, "The certificate chain that we show it, PEM."),
    optional("client_key", Kind::File, "The private key of client_cert, PEM."),
];

pub(super) const ROUTE: &[Field] = &[
    required("path", Kind::UrlPath, "The path, exactly."),
    optional("match", Kind::Table(MATCH), "Which requests it takes."),
    required("sources", TEXTS, "The sources that are merged."),
    optional("heartbeat", Kind::Table(HEARTBEAT), "How often clients hear of it that all is well."),
    derived(
        "max_age",
        duration(1000, 7 * 24 * HOUR),
        "server.max_age",
        "How old a stream may become.",
    ),
    default(
        "vocabulary",
        Kind::Word(&["full", "core", "raw"]),
        "full",
        "For clients that do not say; raw: the backend's own events, for all.",
    ),
    optional("defaults", Kind::Table(DEFAULTS), "Parameters of clients that do not know them."),
    default("allow_errors_event", Kind::Bool, "false", "Whether errors=event works."),
    optional(
        "redact",
        Kind::List(&Kind::Table(REDACT)),
        "What is replaced in every string of text and data; not across streamed tokens.",
    ),
];

pub(super) const REDACT: &[Field] = &[
    required("pattern", Kind::Expression, "What is found, anywhere in a string."),
    required("replace", Kind::Literal, "What stands there instead, as it is written."),
];

pub(super) const MATCH: &[Field] = &[
    derived("tenant", Kind::Pattern, "any", "The tenants."),
    derived("workflow", Kind::Pattern, "any", "The workflows."),
];

/// All words that `methods` takes.
pub(super) const PASSED_METHODS: &[&str] = &["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"];

pub(super) const PROXY: &[Field] = &[
    required("path", Kind::UrlPath, "The path; it and all below it is passed."),
    required("source", Kind::Text, "The source."),
    default(
        "to",
        Kind::UrlPath,
        "/",
        "What takes the place of path, below the path of the source's url.",
    ),
    optional("match", Kind::Table(MATCH), "Which calls it takes."),
    derived(
        "methods",
        Kind::List(&Kind::Word(PASSED_METHODS)),
        "all of them",
        "The methods that are passed; GET stands for HEAD, too.",
    ),
    optional(
        "headers",
        TEXTS,
        "Headers of clients that are passed besides the usual ones, credentials included.",
    ),
    optional(
        "answer_headers",
        TEXTS,
        "Headers of answers that are passed besides the usual ones, and that pages may read.",
    ),
    default(
        "upload",
        Kind::Size { min: KIB, max: 4096 * MIB },
        "32MiB",
        "The largest body of a request.",
    ),
    default(
        "download",
        Kind::Size { min: KIB, max: 65536 * MIB },
        "1GiB",
        "The largest body of an answer; past it the answer breaks off.",
    ),
    default("timeout", duration(100, HOUR), "75s", "How long the backend may say nothing."),
];

pub(super) const DEFAULTS: &[Field] = &[
    optional("tenantId", Kind::Text, "The tenant."),
    optional("workflow", Kind::Text, "The workflow."),
    optional("participantId", Kind::Text, "The participant."),
];

const HEARTBEAT_SECS: Kind = Kind::Seconds { min: 1, max: 300 };

pub(super) const HEARTBEAT: &[Field] = &[
    default("default", HEARTBEAT_SECS, "5s", "For clients that do not say."),
    default("min", HEARTBEAT_SECS, "1s", "Less is taken for this."),
    default("max", HEARTBEAT_SECS, "300s", "More is taken for this."),
];

pub(super) const LOG: &[Field] = &[
    default(
        "level",
        Kind::Word(&["error", "warn", "info", "debug", "trace"]),
        "info",
        "From which level on.",
    ),
    default("format", Kind::Word(&["text", "json"]), "text", "For people, or for machines."),
];
