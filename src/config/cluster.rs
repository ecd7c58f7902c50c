//! The `cluster` table: where nodes keep what they share.
//!
//! Refuses credentials in the URL, where they would be logged and shown. Not here: what is shared
//! and how (`edge::cluster`).

use std::path::PathBuf;
use std::time::Duration;

use super::net::{HAS_TLS, NO_TLS, Scheme, Url, split_host};
use super::read::{Reader, Table, parse_text};
use super::{Tls, file, source, spec};
use crate::proto::secret::Secret;

/// The port that a URL without one means.
const PORT: u16 = 6379;
/// A prefix stands before every key.
const PREFIX_BYTES_MAX: usize = 64;

/// Where nodes keep what they share: a Redis, or what speaks like one.
#[derive(Clone, PartialEq, Eq)]
pub struct Redis {
    /// The server that is tried first. Its path is not used.
    pub url: Url,
    /// Those that are tried after it.
    pub others: Vec<Url>,
    /// The number of the database.
    pub database: i64,
    /// Who we are, where there are users.
    pub username: Option<String>,
    /// What we show.
    pub password: Option<Secret>,
    /// What every key begins with.
    pub prefix: String,
    /// For one call, and for the connection; past it the node goes on alone.
    pub timeout: Duration,
    /// The certificate authorities to trust in place of the system's, a PEM file.
    pub ca: Option<PathBuf>,
    /// The name that its certificate must hold, in place of its host.
    pub sni: Option<String>,
    /// The certificate that it is shown.
    pub identity: Option<Tls>,
}

impl Redis {
    /// The servers, in the order in which they are tried. Never empty.
    pub fn servers(&self) -> impl Iterator<Item = &Url> {
        std::iter::once(&self.url).chain(&self.others)
    }

    /// A server's URL, as it is shown.
    #[must_use]
    pub fn shown(&self, server: &Url) -> String {
        let scheme = if server.scheme == Scheme::Https { "rediss" } else { "redis" };
        let host = &server.host;
        let host = if host.contains(':') { format!("[{host}]") } else { host.clone() };
        format!("{scheme}://{host}:{}/{}", server.port, self.database)
    }
}

/// What nodes share, and where; `None` = nothing.
pub(super) fn cluster(reader: &mut Reader<'_>, root: &Table<'_>) -> Option<Redis> {
    let cluster = reader.table(&root.get("cluster")?, spec::CLUSTER)?;
    let table = reader.table(&cluster.get("redis")?, spec::REDIS)?;
    let urls = urls(reader, &table);
    let username = reader.text(&table, "username", parse_text);
    let password = table.get("password").map(|value| reader.secret(&value));
    if table.has("username") && !table.has("password") {
        let message = "without password this is of no use";
        reader.error(table.at("username"), &format!("{}.username", table.path), message);
    }
    let prefix = reader.text(&table, "prefix", parse_prefix);
    let timeout = reader.duration(&table, "timeout");
    let tls = reader.sub_table(&table, "tls", spec::SOURCE_TLS)?;
    let ca = file::pem_file(reader, &tls, "ca", file::CERTIFICATE);
    #[cfg(feature = "openssl")]
    super::certificate::check_authorities(reader, &tls, "ca", ca.as_deref());
    let sni = reader.text(&tls, "sni", source::parse_sni);
    let identity = source::identity(reader, &tls);
    let (urls, database) = urls?;
    if urls.iter().any(|url| url.scheme == Scheme::Http) {
        if table.has("tls") {
            let message = "this has no meaning with redis://; write rediss:// in url";
            reader.error(table.at("tls"), &tls.path, message);
        }
        if password.is_some() && !urls.iter().all(Url::is_loopback) {
            let message = "the password goes over the network in the clear; use rediss://";
            reader.warn(table.at("url"), &format!("{}.url", table.path), message);
        }
    }
    let password = match password {
        Some(password) => Some(password?),
        None => None,
    };
    let mut urls = urls.into_iter();
    Some(Redis {
        url: urls.next()?,
        others: urls.collect(),
        database,
        username,
        password,
        prefix: prefix?,
        timeout: timeout?,
        ca,
        sni,
        identity,
    })
}

/// The servers, all of one kind and with one database; `None` if there is none.
fn urls(reader: &mut Reader<'_>, table: &Table<'_>) -> Option<(Vec<Url>, i64)> {
    let values = reader.one_or_more(table, "url");
    let mut urls: Vec<Url> = Vec::new();
    let mut is_whole = true;
    let mut kind = None;
    for value in &values {
        let Some((url, database)) = reader.parsed(value, |scalar| parse_url(&scalar.text)) else {
            is_whole = false;
            continue;
        };
        let (scheme, first) = *kind.get_or_insert((url.scheme, database));
        if (url.scheme, database) != (scheme, first) {
            let message = "all of them are redis:// or all rediss://, with one database";
            reader.error(value.node.at, &value.path, message);
            is_whole = false;
        }
        urls.push(url);
    }
    let (_, database) = kind.filter(|_| is_whole)?;
    Some((urls, database))
}

/// Reads `redis://host[:port][/database]`, with TLS `rediss://`. The text itself is not
/// repeated: a password may stand in it.
fn parse_url(text: &str) -> Result<(Url, i64), String> {
    const RULE: &str = "this is written like redis://cache.example.com:6379 or \
         rediss://cache.example.com/1";
    let text = parse_text(text).map_err(|_| RULE.to_owned())?;
    let (scheme, rest) = if let Some(rest) = text.strip_prefix("rediss://") {
        if !HAS_TLS {
            return Err(NO_TLS.to_owned());
        }
        (Scheme::Https, rest)
    } else if let Some(rest) = text.strip_prefix("redis://") {
        (Scheme::Http, rest)
    } else {
        return Err(RULE.to_owned());
    };
    if rest.contains('@') {
        return Err("this holds no user and no password; write username and password".to_owned());
    }
    let (authority, path) = rest.split_once('/').unwrap_or((rest, ""));
    let (host, port) = split_host(authority)?;
    let port = port.map_or(Some(PORT), |port| port.parse().ok().filter(|port| *port != 0));
    let port = port.ok_or_else(|| "a port is a number from 1 to 65535".to_owned())?;
    let is_number = path.bytes().all(|byte| byte.is_ascii_digit());
    let database = match path {
        "" => Some(0),
        _ if is_number => path.parse::<u16>().ok(),
        _ => None,
    };
    let database = database.ok_or_else(|| RULE.to_owned())?;
    Ok((Url { scheme, host, port, path: "/".to_owned() }, i64::from(database)))
}

fn parse_prefix(text: &str) -> Result<String, String> {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:/".contains(&byte);
    let is_prefix = (1..=PREFIX_BYTES_MAX).contains(&text.len()) && text.bytes().all(is_fit);
    is_prefix
        .then(|| text.to_owned())
        .ok_or_else(|| "a prefix has 1 to 64 letters, digits, - _ . : and /".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_url(text: &str, want: Result<(&str, u16, i64, bool), &str>) {
        match (parse_url(text), want) {
            (Ok((url, database)), want) => {
                let got = (url.host.as_str(), url.port, database, url.scheme == Scheme::Https);
                assert_eq!(Ok(got), want, "{text}");
            }
            (Err(got), Err(want)) => assert!(got.contains(want), "{text}: {got}"),
            (Err(got), Ok(_)) => panic!("{text}: {got}"),
        }
    }

    #[test]
    fn urls_of_redis_are_taken_apart() {
        check_url("redis://Cache.example.com", Ok(("cache.example.com", 6379, 0, false)));
        check_url("rediss://10.0.0.1:6380/3", Ok(("10.0.0.1", 6380, 3, true)));
        check_url("redis://[::1]:7000/", Ok(("::1", 7000, 0, false)));
        check_url("http://a", Err("written like redis://"));
        check_url("redis://", Err("the host is"));
        check_url("redis://a:0", Err("1 to 65535"));
        check_url("redis://a:x", Err("1 to 65535"));
        check_url("redis://a/x", Err("written like redis://"));
        check_url("redis://a/70000", Err("written like redis://"));
        check_url("redis://u:hunter2@a", Err("write username and password"));
        check_url("redis://a?db=1", Err("the host is"));
    }

    #[test]
    fn what_is_wrong_with_a_cluster_is_told() {
        use super::super::tests::{accepted, check, check_warnings};
        let Some(redis) = accepted("cluster: {redis: {url: redis://a}}").config.cluster else {
            panic!("there is one")
        };
        assert_eq!((redis.prefix.as_str(), redis.timeout.as_millis()), ("chatmux:", 250));
        assert!(redis.username.is_none() && redis.password.is_none() && redis.others.is_empty());
        check(
            "cluster: {}",
            &[
                "c:1:10: cluster.redis: this is missing: where they share it: Redis 6.2 or later, or Valkey",
            ],
        );
        check(
            "cluster: {redis: {url: 'redis://u:hunter2@a', username: u, prefix: 'a b', timeout: 6s, passwrd: hunter2}}",
            &[
                "c:1:24: cluster.redis.url: this holds no user and no password; write username and password",
                "c:1:57: cluster.redis.username: without password this is of no use",
                "c:1:68: cluster.redis.prefix: a prefix has 1 to 64 letters, digits, - _ . : and /",
                "c:1:84: cluster.redis.timeout: 6s is over 5s",
                "c:1:88: cluster.redis.passwrd: no such option; did you mean \"password\"?",
            ],
        );
        check(
            "cluster: {redis: {url: [redis://a, rediss://b, redis://c/1], tls: {sni: x}}}",
            &[
                "c:1:36: cluster.redis.url[1]: all of them are redis:// or all rediss://, with one database",
                "c:1:48: cluster.redis.url[2]: all of them are redis:// or all rediss://, with one database",
            ],
        );
        check(
            "cluster: {redis: {url: redis://a, tls: {sni: x}}}",
            &[
                "c:1:40: cluster.redis.tls: this has no meaning with redis://; write rediss:// in url",
            ],
        );
        check_warnings(
            "cluster: {redis: {url: redis://a, password: '${env:TOKEN}'}}",
            &[
                "c:1:24: cluster.redis.url: the password goes over the network in the clear; use rediss://",
            ],
        );
        check_warnings(
            "cluster: {redis: {url: 'redis://[::1]', password: hunter2}}",
            &[
                "c:1:51: cluster.redis.password: a secret stands in the file; write ${env:NAME} or ${file:PATH}",
            ],
        );
    }
}
