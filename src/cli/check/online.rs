//! `check --online`: whether the sources and issuers of a conf answer, and the Redis of its
//! cluster, and how long their certificates last.
//!
//! No credential is sent: a source is asked for its base path, so that any answer will do; an
//! issuer for its keys, of which one must be usable; Redis lets us in with ours, or it does not. All are tried at once, in bounded time. Not
//! here: how a connection is made (`edge`).

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::super::terminal::{Paint, Progress, colour};
use crate::config::{Config, Issuer, IssuerKey, KeySetUrl, Redis, Scheme, Source, Url};
use crate::edge::{Dialer, PROBE_TIMEOUT, Probed, probe, probe_cluster, try_keys, wall};
use crate::proto::event::DownReason;
use crate::telemetry::JwksOutcome;

/// By so much a clock may be off: tokens are refused by then (`leeway` is as long).
const SKEW_MAX: Duration = Duration::from_secs(30);
/// The stage of what has answered.
const ANSWER: &str = "answer";
/// How often somebody who waits is told so.
const TICK: Duration = Duration::from_millis(200);

/// What came of one try.
pub(super) struct Tried {
    /// The option that it is about.
    pub(super) path: String,
    url: String,
    status: Option<u16>,
    /// How far it came: `dns`, `connect`, `tls`, `answer`.
    stage: &'static str,
    skew_secs: Option<i64>,
    certificate_days: Option<i32>,
    /// Of an issuer: keys that can be used.
    keys: Option<usize>,
    pub(super) errors: Vec<String>,
    pub(super) warnings: Vec<String>,
}

impl Tried {
    /// It has answered, and there is nothing to say.
    fn new(path: &str, url: &str) -> Self {
        Self {
            path: path.to_owned(),
            url: url.to_owned(),
            status: None,
            stage: ANSWER,
            skew_secs: None,
            certificate_days: None,
            keys: None,
            errors: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// For people.
    pub(super) fn line(&self, paint: Paint) -> String {
        let verdict = match self.status {
            _ if !self.errors.is_empty() => paint.paint(colour::RED, "failed"),
            Some(status) => paint.paint(colour::GREEN, &format!("answers {status}")),
            None if self.stage == ANSWER => paint.paint(colour::GREEN, "answers"),
            None => paint.paint(colour::RED, "no answer"),
        };
        let days = self.certificate_days.map(|days| format!(", certificate good for {days} days"));
        let is_off = |secs: &i64| Duration::from_secs(secs.unsigned_abs()) > SKEW_MAX;
        let skew = self.skew_secs.filter(is_off).map(|secs| format!(", clock off by {secs} s"));
        let keys = self.keys.map(|keys| format!(", {keys} usable keys"));
        format!(
            "{} {}: {verdict}{}{}{}",
            self.path,
            self.url,
            keys.unwrap_or_default(),
            days.unwrap_or_default(),
            skew.unwrap_or_default()
        )
    }

    /// Its certificate ends in so many days.
    fn on_certificate(&mut self, days: Option<i32>) {
        self.certificate_days = days;
        #[cfg(feature = "openssl")]
        if let Some(days) = days.filter(|days| *days < crate::config::EXPIRY_NEAR_DAYS) {
            self.warnings.push(format!("its certificate is good for {days} days"));
        }
    }

    /// For pipelines.
    pub(super) fn json(&self) -> Value {
        json!({
            "path": self.path,
            "url": self.url,
            "ok": self.errors.is_empty(),
            "stage": self.stage,
            "status": self.status,
            "clockSkewSeconds": self.skew_secs,
            "certificateDays": self.certificate_days,
            "keys": self.keys,
        })
    }
}

/// Tries all sources and issuers, in the order of the conf, and what nodes share.
pub(super) fn try_all(config: &Config) -> Result<Vec<Tried>, String> {
    let runtime = super::super::runtime()?;
    let tried = runtime.block_on(try_places(config));
    // A name that is still being looked up is nobody's concern any more.
    runtime.shutdown_background();
    Ok(tried)
}

/// What is tried.
enum Target {
    Source(Arc<Source>),
    /// By its place in the conf.
    Issuer(usize, Arc<Issuer>, KeySetUrl),
    /// A server of the cluster, by its place in the conf.
    Cluster(usize, Redis, Url),
}

async fn try_places(config: &Config) -> Vec<Tried> {
    let dialer = Arc::new(Dialer::new());
    let mut tasks = JoinSet::new();
    let issuers = config.auth.jwt.iter().enumerate().filter_map(|(at, issuer)| {
        let IssuerKey::KeySetUrl(from) = &issuer.key else {
            return None;
        };
        Some(Target::Issuer(at, issuer.clone(), from.clone()))
    });
    let sources = config.sources.iter().cloned().map(Target::Source);
    let cluster = config.cluster.iter().flat_map(|redis| {
        let servers = redis.servers().enumerate();
        servers.map(|(at, server)| Target::Cluster(at, redis.clone(), server.clone()))
    });
    for (index, target) in sources.chain(issuers).chain(cluster).enumerate() {
        let dialer = dialer.clone();
        tasks.spawn(async move {
            let tried = match target {
                Target::Source(source) => try_source(&dialer, &source).await,
                Target::Issuer(at, issuer, from) => try_issuer(&dialer, at, &issuer, &from).await,
                Target::Cluster(at, redis, server) => {
                    try_cluster(&dialer, at, &redis, &server).await
                }
            };
            (index, tried)
        });
    }
    let all = tasks.len();
    let mut tried = Vec::new();
    let mut progress = Progress::new();
    loop {
        match tokio::time::timeout(TICK, tasks.join_next()).await {
            Ok(Some(Ok(done))) => tried.push(done),
            Ok(Some(Err(error))) => log::error!(error:%; "a try has panicked"),
            Ok(None) => break,
            Err(_) => progress.tell(|| format!("{} of {all} have answered", tried.len())),
        }
    }
    progress.clear();
    tried.sort_by_key(|(index, _)| *index);
    tried.into_iter().map(|(_, tried)| tried).collect()
}

async fn try_source(dialer: &Dialer, source: &Arc<Source>) -> Tried {
    let shown = Shown::new(&source.url, source.server_name(), source.connect_timeout);
    let (result, days) =
        tokio::join!(probe(dialer, source, &source.url.path), certificate_days(shown));
    let mut tried = judged(&format!("sources.{}", source.name), &source.url.to_string(), result);
    tried.on_certificate(days);
    tried
}

async fn try_issuer(dialer: &Dialer, at: usize, issuer: &Issuer, from: &KeySetUrl) -> Tried {
    let shown = Shown::new(&from.url, from.server_name(), PROBE_TIMEOUT);
    let asked = tokio::time::timeout(PROBE_TIMEOUT, try_keys(dialer, issuer, from));
    let (asked, days) = tokio::join!(asked, certificate_days(shown));
    let (result, keys) = match asked.unwrap_or(Err(DownReason::Timeout)) {
        Ok((probed, keys)) => (Ok(probed), Some(keys)),
        Err(reason) => (Err(reason), None),
    };
    let mut tried = judged(&format!("auth.jwt[{at}].jwks_url"), &from.url.to_string(), result);
    tried.on_certificate(days);
    match keys {
        Some(Ok(keys)) => tried.keys = Some(keys),
        // Why there was no answer is said already, and so is a fault of its own.
        None => {}
        Some(Err(_)) if !tried.errors.is_empty() => {}
        Some(Err(outcome)) => {
            let (url, fault) = (&tried.url, no_keys(outcome));
            tried.errors.push(format!("{url} {fault}: no token of this issuer is taken"));
        }
    }
    tried
}

async fn try_cluster(dialer: &Dialer, at: usize, redis: &Redis, server: &Url) -> Tried {
    let server_name = redis.sni.as_deref().unwrap_or(&server.host);
    let shown = Shown::new(server, server_name, PROBE_TIMEOUT);
    let probed = probe_cluster(dialer, redis, server);
    let (result, days) = tokio::join!(probed, certificate_days(shown));
    let path = match redis.others.is_empty() {
        true => "cluster.redis.url".to_owned(),
        false => format!("cluster.redis.url[{at}]"),
    };
    let mut tried = Tried::new(&path, &redis.shown(server));
    if let Err(error) = result {
        tried.stage = "connect";
        let url = &tried.url;
        tried.errors.push(format!("{url} cannot be used: {error}; each node goes on alone"));
    }
    tried.on_certificate(days);
    tried
}

const fn no_keys(outcome: JwksOutcome) -> &'static str {
    match outcome {
        JwksOutcome::Success | JwksOutcome::Unreachable => "breaks off",
        JwksOutcome::Tls => "cannot be trusted",
        JwksOutcome::BadStatus => "answers with another status than 200",
        JwksOutcome::TooLarge => "gives more than 512 KiB or 100 keys",
        JwksOutcome::Malformed => "gives no set of keys",
        JwksOutcome::NoneUsable => "gives no key that `algorithms` can be checked with",
    }
}

fn judged(path: &str, url: &str, result: Result<Probed, DownReason>) -> Tried {
    let mut tried = Tried::new(path, url);
    let Probed { status, date } = match result {
        Ok(probed) => probed,
        Err(reason) => {
            let (stage, words) = failed(reason);
            tried.stage = stage;
            tried.errors.push(format!("{url} {words}"));
            return tried;
        }
    };
    tried.status = Some(status);
    if status >= 500 {
        tried.errors.push(format!("{url} answers {status}: the fault is its own"));
    }
    if let Some(date) = date {
        let secs = (wall().0 - date.0) / 1000;
        tried.skew_secs = Some(secs);
        // A date has whole seconds and was on its way: what is near is right.
        if Duration::from_secs(secs.unsigned_abs()) > SKEW_MAX {
            tried.warnings.push(format!(
                "its clock and this machine's differ by {} s; tokens are refused over that",
                secs.unsigned_abs()
            ));
        }
    }
    tried
}

/// How far it came, and what is to be said.
const fn failed(reason: DownReason) -> (&'static str, &'static str) {
    match reason {
        DownReason::Dns => ("dns", "cannot be found: its name has no address"),
        DownReason::Refused => ("connect", "cannot be reached: the connection is refused"),
        DownReason::Tls => {
            ("tls", "cannot be trusted: its certificate, name or TLS version is not right")
        }
        DownReason::Timeout | DownReason::Silent => ("connect", "does not answer in time"),
        DownReason::BadContentType => ("answer", "compresses its answer, which nobody asked for"),
        DownReason::Reset
        | DownReason::Closed
        | DownReason::BadStatus
        | DownReason::Unauthorized
        | DownReason::RateLimited
        | DownReason::Ended => ("answer", "breaks the connection off"),
    }
}

/// Who shows a certificate, and by which name.
#[cfg_attr(not(feature = "openssl"), expect(dead_code, reason = "nobody looks at certificates"))]
struct Shown {
    is_https: bool,
    host: String,
    port: u16,
    server_name: String,
    connect_timeout: Duration,
}

impl Shown {
    fn new(url: &Url, server_name: &str, connect_timeout: Duration) -> Self {
        Self {
            is_https: url.scheme == Scheme::Https,
            host: url.host.clone(),
            port: url.port,
            server_name: server_name.to_owned(),
            connect_timeout,
        }
    }
}

/// How many days the certificate that it shows is good for. Whether it is trusted says `probe`.
#[cfg(feature = "openssl")]
async fn certificate_days(shown: Shown) -> Option<i32> {
    if !shown.is_https {
        return None;
    }
    let looked = tokio::task::spawn_blocking(move || shown_days(&shown));
    tokio::time::timeout(PROBE_TIMEOUT, looked).await.ok()?.ok()?
}

#[cfg(not(feature = "openssl"))]
async fn certificate_days(_shown: Shown) -> Option<i32> {
    None
}

#[cfg(feature = "openssl")]
fn shown_days(shown: &Shown) -> Option<i32> {
    use std::net::{TcpStream, ToSocketAddrs as _};

    use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};

    let mut addresses = (shown.host.as_str(), shown.port).to_socket_addrs().ok()?;
    let timeout = shown.connect_timeout;
    let stream =
        addresses.find_map(|address| TcpStream::connect_timeout(&address, timeout).ok())?;
    stream.set_read_timeout(Some(timeout)).ok()?;
    stream.set_write_timeout(Some(timeout)).ok()?;
    let mut builder = SslConnector::builder(SslMethod::tls_client()).ok()?;
    // Nothing is sent: this looks at what is shown, good or not.
    builder.set_verify(SslVerifyMode::NONE);
    let mut connect = builder.build().configure().ok()?;
    connect.set_verify_hostname(false);
    let stream = connect.connect(&shown.server_name, stream).ok()?;
    let certificate = stream.ssl().peer_certificate()?;
    crate::config::days_left(certificate.not_after())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::time::UnixMillis;

    #[test]
    fn what_came_of_a_try_is_judged() {
        let answer = |status, off: i64| {
            let date = Some(UnixMillis(wall().0 - off * 1000));
            judged("sources.a", "https://a", Ok(Probed { status, date }))
        };
        for status in [200, 401, 404] {
            let tried = answer(status, 2);
            assert!(tried.errors.is_empty() && tried.warnings.is_empty(), "{status}");
            assert!(tried.skew_secs.is_some_and(|secs| secs.abs() <= 3), "told, near or not");
        }
        assert_eq!(answer(503, 0).errors.len(), 1);
        for off in [-3600, 3600] {
            assert_eq!(answer(200, off).warnings.len(), 1);
        }
        for (reason, stage) in [
            (DownReason::Dns, "dns"),
            (DownReason::Refused, "connect"),
            (DownReason::Tls, "tls"),
            (DownReason::Reset, "answer"),
        ] {
            let tried = judged("sources.a", "https://a", Err(reason));
            assert_eq!(
                (tried.stage, tried.errors.len(), &tried.json()["ok"]),
                (stage, 1, &json!(false))
            );
        }
    }
}
