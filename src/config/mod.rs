//! The configuration: what is true, once the conf file was read.
//!
//! Plain data. Whatever stands here was checked: names exist, bounds hold, patterns compile,
//! secrets are present. Nothing has to be checked twice. No `Debug`: credentials are inside.
//! Not here: what was written and how it is read (`file`), what is done with it (`edge`).

mod file;
mod spec;
mod auth;
mod issuer;
mod source;
mod route;
mod proxy;
mod cluster;
mod read;
mod secret;
mod yaml;
mod include;
mod look;
mod proof;
#[cfg(feature = "openssl")]
mod certificate;
#[cfg(feature = "openssl")]
mod names;
mod listen;
mod schema;
mod document;
mod error;
mod net;
mod path;
mod pattern;
mod units;
#[cfg(test)]
mod auth_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod include_tests;
#[cfg(test)]
mod proof_tests;
#[cfg(test)]
mod contract_tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::proto::backend::{Dialect, Plan, Policy};
use crate::proto::event::Vocabulary;
use crate::proto::redact::Redaction;
use crate::proto::secret::Secret;
use crate::proto::time::UnixMillis;

pub(crate) use auth::parse_time;
#[cfg(feature = "openssl")]
pub(crate) use certificate::Pair;
#[cfg(feature = "openssl")]
pub use certificate::{EXPIRY_NEAR_DAYS, days_left};
pub use cluster::Redis;
pub use document::document;
pub use error::{ConfErrors, ERRORS_MAX, Finding, Position};
pub use file::{FILE_BYTES_MAX, Input, Loaded, load, parse, read};
pub use look::{Places, api_keys};
#[cfg(feature = "openssl")]
pub(crate) use names::Names;
pub use net::{IpNet, Rate, Scheme, Url};
pub(crate) use path::{SELFTEST_SUFFIX, TICKET_SUFFIX};
pub use pattern::{OriginRule, Pattern};
pub use schema::schema;
pub use spec::{Field, Kind, Presence, reference};

/// The largest JSON Web Key Set: 100 large keys with their certificates fit.
pub const KEY_SET_BYTES_MAX: usize = 512 * 1024;

/// Everything.
pub struct Config {
    /// Where clients come in. Never empty, no address twice.
    pub listen: Vec<Listen>,
    /// Where operators come in.
    pub admin: Option<Admin>,
    /// The process itself.
    pub server: Server,
    /// Peers that are believed when they say for whom they speak.
    pub trusted_proxies: Vec<IpNet>,
    /// The header in which they say so.
    pub forwarded_header: ForwardedHeader,
    /// Which web pages may read streams.
    pub cors: Cors,
    /// Who is let in.
    pub auth: Auth,
    /// How much at a time.
    pub limits: Limits,
    /// Where nodes keep what they share; without it each is alone.
    pub cluster: Option<Redis>,
    /// What is kept for clients that come back.
    pub replay: Replay,
    /// How long is waited.
    pub timeouts: Timeouts,
    /// The backends, in the order of the file. Names are unique.
    pub sources: Vec<Arc<Source>>,
    /// The routes, in the order of the file: the first that matches counts.
    pub routes: Vec<Arc<Route>>,
    /// Paths whose calls are passed through, in the order of the file.
    pub proxy: Vec<Arc<ProxyRoute>>,
    /// What is told, and how.
    pub log: Log,
}

/// A client listener.
#[derive(Clone, PartialEq, Eq)]
pub struct Listen {
    /// `host:port`; a port of 0 binds a free one.
    pub address: String,
    /// With it: HTTPS, HTTP/2 and HTTP/1.1.
    pub tls: Option<ListenTls>,
    /// HTTP/2 by prior knowledge, without TLS. Invariant: never with `tls`.
    pub h2c: bool,
    /// Each connection begins with a PROXY protocol header. Invariant: then there are trusted
    /// proxies, the only ones who may send it.
    pub proxy_protocol: bool,
}

impl Listen {
    /// Whether the same socket serves both. What TLS is spoken with may differ: that is taken up
    /// while the process runs.
    #[must_use]
    pub fn is_same_socket(&self, other: &Self) -> bool {
        (&self.address, self.tls.is_some(), self.h2c, self.proxy_protocol)
            == (&other.address, other.tls.is_some(), other.h2c, other.proxy_protocol)
    }
}

/// The header in which proxies name their client. One alone is read: a proxy passes on the other
/// as its client sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ForwardedHeader {
    /// `X-Forwarded-For`.
    XForwardedFor,
    /// `Forwarded`, of RFC 7239.
    Forwarded,
}

/// What TLS is spoken with.
#[derive(Clone, PartialEq, Eq)]
pub struct ListenTls {
    /// Never empty. The first is for clients whose name none of them covers.
    pub certificates: Vec<Certificate>,
    /// Whether clients are refused whose name no certificate covers, or that name none.
    pub refuses_unknown_names: bool,
    /// The oldest version that is spoken.
    pub min_version: TlsVersion,
    /// How often the files are looked at.
    pub watch: Duration,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.2
    Tls12,
    /// 1.3
    Tls13,
}

/// One of a listener's certificates.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Its files.
    pub files: Tls,
    /// The names that it is for, in lower case; empty = those in it.
    pub names: Vec<String>,
}

/// The files of a certificate.
#[derive(Clone, PartialEq, Eq)]
pub struct Tls {
    /// PEM file of the chain.
    pub cert: PathBuf,
    /// PEM file of the private key.
    pub key: PathBuf,
}

/// The operators' listener.
#[derive(Clone, PartialEq, Eq)]
pub struct Admin {
    /// `host:port`; a port of 0 binds a free one.
    pub address: String,
    /// SHA-256 of the key that ending streams asks for. Without it, a loopback address does.
    pub sha256: Option<[u8; 32]>,
    /// Whether it has a page that shows streams.
    pub has_console: bool,
}

/// The process.
#[derive(Clone, PartialEq, Eq)]
pub struct Server {
    /// Worker threads. Invariant: at least 1.
    pub threads: usize,
    /// How long open streams may take to leave when the process is told to stop.
    pub drain: Duration,
    /// How old a stream may become, where its route does not say.
    pub max_age: Option<Duration>,
    /// The socket through which an old process hands its listeners to a new one.
    pub upgrade_socket: Option<PathBuf>,
}

/// Cross-origin rules.
pub struct Cors {
    /// Any of these. Empty: no page of another origin.
    pub allow_origins: Vec<OriginRule>,
    /// Whether pages may send cookies along. Invariant: never with [`OriginRule::Any`].
    pub allow_credentials: bool,
    /// How long a browser keeps a preflight's answer.
    pub max_age: Duration,
}

impl Cors {
    /// Whether a page of this `Origin` may read the answer.
    #[must_use]
    pub fn allows(&self, origin: &str) -> bool {
        self.allow_origins.iter().any(|rule| rule.is_match(origin))
    }

    /// Whether every page may, so that `*` can be answered.
    #[must_use]
    pub fn allows_any(&self) -> bool {
        self.allow_origins.iter().any(|rule| matches!(rule, OriginRule::Any))
    }
}

/// Who is let in. Invariant: at least one way.
pub struct Auth {
    /// Keys. Labels and digests are unique.
    pub api_keys: Vec<Arc<ApiKey>>,
    /// Token issuers. `issuer` is unique.
    pub jwt: Vec<Arc<Issuer>>,
    /// Whether requests without a credential are let in.
    pub anonymous: bool,
    /// The cookie in which pages may bring a credential.
    pub cookie: Option<String>,
}

/// An API key, of which only the digest is known.
pub struct ApiKey {
    /// Its name in logs.
    pub label: String,
    /// SHA-256 of the key's text.
    pub sha256: [u8; 32],
    /// The tenants it opens, exactly; empty = any.
    pub tenants: Vec<String>,
    /// The workflows it opens; empty = any.
    pub workflows: Vec<Pattern>,
    /// The participants it opens, exactly; empty = any.
    pub participants: Vec<String>,
    /// From then on it is refused.
    pub expires: Option<UnixMillis>,
    /// In place of `limits.subject`.
    pub limits: Option<Limit>,
}

impl ApiKey {
    /// Whether it is refused by now.
    #[must_use]
    pub fn is_expired(&self, now: UnixMillis) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// A token issuer.
pub struct Issuer {
    /// The token's `iss`, exactly.
    pub issuer: String,
    /// The token's `aud` must hold one of these; empty = not looked at.
    pub audiences: Vec<String>,
    /// What tokens may be signed with. Invariant: not empty; all for one kind of key, unless
    /// there is a set of keys, which has no shared secrets.
    pub algorithms: Vec<Algorithm>,
    /// What signatures are checked with. Invariant: of the kind that `algorithms` need.
    pub key: IssuerKey,
    /// By how much clocks may differ.
    pub leeway: Duration,
    /// What of the request must equal a claim of the token.
    pub bind: Vec<(Bound, String)>,
}

/// What signatures are checked with.
pub enum IssuerKey {
    /// A shared secret, for the HS algorithms.
    Secret(Secret),
    /// A public key or certificate, in PEM, for all others.
    Pem(Vec<u8>),
    /// A JSON Web Key Set, as it stood in its file.
    KeySet(String),
    /// A JSON Web Key Set that the issuer publishes.
    KeySetUrl(KeySetUrl),
}

/// Where an issuer publishes its keys, and how often it is asked.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct KeySetUrl {
    /// The server.
    pub url: Url,
    /// Path and query, as written.
    pub target: String,
    /// The certificate authority to trust in place of the system's, a PEM file.
    pub ca: Option<PathBuf>,
    /// The name that its certificate must hold, in place of the host of `url`.
    pub sni: Option<String>,
    /// How often the set is fetched.
    pub refresh: Duration,
    /// The least time between two fetches.
    pub pause: Duration,
}

impl KeySetUrl {
    /// The name that its certificate must hold. Never empty: TLS would check no name then.
    #[must_use]
    pub fn server_name(&self) -> &str {
        self.sni.as_deref().unwrap_or(&self.url.host)
    }
}

/// A signature algorithm of JWT.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Algorithm {
    /// HMAC with SHA-256.
    Hs256,
    /// HMAC with SHA-384.
    Hs384,
    /// HMAC with SHA-512.
    Hs512,
    /// RSA, PKCS #1 v1.5, SHA-256.
    Rs256,
    /// RSA, PKCS #1 v1.5, SHA-384.
    Rs384,
    /// RSA, PKCS #1 v1.5, SHA-512.
    Rs512,
    /// RSA, PSS, SHA-256.
    Ps256,
    /// RSA, PSS, SHA-384.
    Ps384,
    /// RSA, PSS, SHA-512.
    Ps512,
    /// ECDSA on P-256.
    Es256,
    /// ECDSA on P-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

/// A part of the request that a claim can bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bound {
    /// `participantId`
    ParticipantId,
    /// `tenantId`
    TenantId,
    /// `workflow`
    Workflow,
}

/// How much at a time.
pub struct Limits {
    /// For each client address.
    pub address: Limit,
    /// For each key or token subject.
    pub subject: Limit,
    /// For each tenant.
    pub tenant: Limit,
    /// Open connections.
    pub connections: Connections,
}

/// How many connections may be open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// In all; `None` = as many as there are file descriptors, less what sources need.
    /// Invariant: at least 1.
    pub total: Option<u32>,
    /// From one address that is no trusted proxy's; `None` = any. Invariant: at least 1.
    pub per_client: Option<u32>,
}

/// One limit. What is `None` is not limited.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Limit {
    /// New streams.
    pub opens: Option<Rate>,
    /// Calls that are passed through.
    pub requests: Option<Rate>,
    /// How many of them at once, of new streams and of calls. Invariant: at least 1, only with
    /// `opens` or `requests`, whose count it is when it is not written.
    pub burst: Option<u32>,
    /// Open streams. Invariant: at least 1.
    pub concurrent: Option<u32>,
}

/// What is kept for clients that come back.
#[derive(Clone, PartialEq, Eq)]
pub struct Replay {
    /// Events of a channel. Invariant: at least 1.
    pub events: usize,
    /// Bytes of a channel.
    pub bytes: usize,
    /// How old an event may become.
    pub age: Duration,
    /// How long a channel stays after its last client.
    pub linger: Duration,
}

/// How long is waited.
#[derive(Clone, PartialEq, Eq)]
pub struct Timeouts {
    /// For one write to a client; then its stream is closed.
    pub write: Duration,
    /// For the head of a request, from its first byte to its last.
    pub head: Duration,
}

/// A backend.
pub struct Source {
    /// Its name: in events, metrics and logs.
    pub name: String,
    /// What it speaks.
    pub dialect: &'static Dialect,
    /// Where it is.
    pub url: Url,
    /// How it is asked.
    pub plan: Plan,
    /// What becomes of frames without a mapping.
    pub policy: Policy,
    /// Whether it is left out when a client lacks a value for it.
    pub is_optional: bool,
    /// For the connection, TLS included.
    pub connect_timeout: Duration,
    /// The certificate authority to trust in place of the system's, a PEM file.
    /// Invariant: only with HTTPS.
    pub ca: Option<PathBuf>,
    /// The name that its certificate must hold, in place of the host of `url`.
    /// Invariant: only with HTTPS.
    pub sni: Option<String>,
    /// The certificate that it is shown. Invariant: only with HTTPS.
    pub identity: Option<Tls>,
    /// Whether HTTP/2 is asked for. Invariant: only with HTTPS.
    pub is_http2: bool,
    /// Bytes of one event (or one poll's answer); larger ones are discarded.
    pub event_bytes_max: usize,
}

impl Source {
    /// The name that its certificate must hold. Never empty: TLS would check no name then.
    #[must_use]
    pub fn server_name(&self) -> &str {
        self.sni.as_deref().unwrap_or(&self.url.host)
    }
}

/// A client-facing path.
pub struct Route {
    /// The path, exactly.
    pub path: String,
    /// The tenants it serves; `None` = all.
    pub tenant: Option<Pattern>,
    /// The workflows it serves; `None` = all.
    pub workflow: Option<Pattern>,
    /// What is merged. Never empty, none twice.
    pub sources: Vec<Arc<Source>>,
    /// Seconds between heartbeats.
    pub heartbeat: Heartbeat,
    /// How old a stream may become; `None` = as the process says.
    pub max_age: Option<Duration>,
    /// For clients that do not say; `Raw` is for all. Invariant: `Raw` only with one source.
    pub vocabulary: Vocabulary,
    /// Parameters that stand in for those that a client leaves out.
    pub defaults: Vec<(&'static str, String)>,
    /// Whether `errors=event` works.
    pub allow_errors_event: bool,
    /// What is taken out of its events; `None` = nothing.
    pub redaction: Option<Arc<Redaction>>,
}

impl Route {
    /// Whether it serves this tenant and workflow.
    #[must_use]
    pub fn is_match(&self, tenant: &str, workflow: &str) -> bool {
        self.tenant.as_ref().is_none_or(|pattern| pattern.is_match(tenant))
            && self.workflow.as_ref().is_none_or(|pattern| pattern.is_match(workflow))
    }
}

/// A client-facing path whose calls are passed through to a source.
pub struct ProxyRoute {
    /// The path and all below it. No slash at its end, unless it is all.
    pub path: String,
    /// Where calls go.
    pub source: Arc<Source>,
    /// What takes the place of `path`, below the path of the source's `url`. No slash at its
    /// end, unless it is all.
    pub to: String,
    /// The tenants it serves; `None` = all.
    pub tenant: Option<Pattern>,
    /// The workflows it serves; `None` = all.
    pub workflow: Option<Pattern>,
    /// The methods that are passed. Never empty; GET stands for HEAD, too.
    pub methods: Vec<http::Method>,
    /// Headers of clients that are passed besides those that always are.
    pub headers: Vec<http::HeaderName>,
    /// Headers of answers that are passed besides those that always are.
    pub answer_headers: Vec<http::HeaderName>,
    /// Bytes of a request's body.
    pub upload_bytes_max: usize,
    /// Bytes of an answer's body.
    pub download_bytes_max: usize,
    /// How long the backend may say nothing.
    pub timeout: Duration,
}

impl ProxyRoute {
    /// What of a path comes after the route's own, if it is one of its paths: empty, or starting
    /// with a slash.
    #[must_use]
    pub fn rest<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = path.strip_prefix(self.path.trim_end_matches('/'))?;
        (rest.is_empty() || rest.starts_with('/')).then_some(rest)
    }

    /// Whether it serves this tenant and workflow.
    #[must_use]
    pub fn is_match(&self, tenant: &str, workflow: &str) -> bool {
        self.tenant.as_ref().is_none_or(|pattern| pattern.is_match(tenant))
            && self.workflow.as_ref().is_none_or(|pattern| pattern.is_match(workflow))
    }

    /// Whether calls of this method are passed.
    #[must_use]
    pub fn takes(&self, method: &http::Method) -> bool {
        let is_same = |other: &http::Method| {
            other == method || (other == http::Method::GET && method == http::Method::HEAD)
        };
        self.methods.iter().any(is_same)
    }
}

/// Seconds between heartbeats. Invariant: `1 <= min <= default <= max <= 300`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// For clients that do not say.
    pub default_secs: u64,
    /// Less is taken for this.
    pub min_secs: u64,
    /// More is taken for this.
    pub max_secs: u64,
}

/// What is told, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Log {
    /// From which level on.
    pub level: LogLevel,
    /// In which form.
    pub format: LogFormat,
}

/// From which level on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Someone has to come.
    Error,
    /// Odd, recovered.
    Warn,
    /// What you asked has happened.
    Info,
    /// For the hunt.
    Debug,
    /// All of it.
    Trace,
}

/// In which form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// For machines: an object a line.
    Json,
}
