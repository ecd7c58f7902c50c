//! Addresses and rates: what stands in a conf in one word.
//!
//! Every `parse` takes one spelling and says what would be right. Not here: resolving names.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::num::NonZeroU32;
use std::time::Duration;

/// A block of addresses: `10.0.0.0/8`, or one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpNet {
    address: IpAddr,
    prefix: u8,
}

impl IpNet {
    /// Reads `address/prefix`, or an address alone.
    ///
    /// # Errors
    /// What would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix)),
            None => (text, None),
        };
        let rule = "an address block is written like 10.0.0.0/8, 2001:db8::/32 or 127.0.0.1";
        let address: IpAddr = address.parse().map_err(|_| rule.to_owned())?;
        let bits = if address.is_ipv4() { 32 } else { 128 };
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let prefix = match prefix {
            Some(text) if is_number(text) => text.parse().ok().filter(|prefix| *prefix <= bits),
            Some(_) => None,
            None => Some(bits),
        };
        let prefix = prefix.ok_or_else(|| rule.to_owned())?;
        let net = Self { address, prefix };
        let start = net.masked(address);
        if start != address {
            return Err(format!("bits are set past the prefix; the block is {start}/{prefix}"));
        }
        Ok(net)
    }

    /// Whether an address is in the block. IPv4 in IPv6 clothes counts as IPv4.
    #[must_use]
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        address.is_ipv4() == self.address.is_ipv4() && self.masked(address) == self.address
    }

    /// Whether every address of its kind is in it.
    pub(super) const fn is_all(&self) -> bool {
        self.prefix == 0
    }

    fn masked(&self, address: IpAddr) -> IpAddr {
        match address {
            IpAddr::V4(v4) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(v4.to_bits() & mask))
            }
            IpAddr::V6(v6) => {
                let mask =
                    u128::MAX.checked_shl(128 - u32::from(self.prefix.min(128))).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & mask))
            }
        }
    }
}

impl fmt::Display for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// So many in so long: `30/m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// How many.
    pub count: NonZeroU32,
    /// In a second, a minute or an hour.
    pub per: Duration,
}

impl Rate {
    /// Reads `5/s`, `30/m`, `100/h`.
    ///
    /// # Errors
    /// What would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        let read = || {
            let (count, unit) = text.split_once('/')?;
            let is_number = !count.is_empty() && count.bytes().all(|byte| byte.is_ascii_digit());
            let count = if is_number {
                count.parse().ok()?
            } else {
                return None;
            };
            let secs = match unit {
                "s" => 1,
                "m" => 60,
                "h" => 3600,
                _ => return None,
            };
            Some(Self { count, per: Duration::from_secs(secs) })
        };
        read().ok_or_else(|| "a rate is written like 5/s, 30/m or 100/h, at least 1".to_owned())
    }
}

/// Whether this build speaks TLS.
pub(super) const HAS_TLS: bool = cfg!(feature = "openssl");

/// What is said of TLS where it does not. Without this, Pingora's connector would take what is
/// written for sent.
pub(super) const NO_TLS: &str = "this build has no TLS: it was made without the feature `openssl`";

/// How a source is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// With TLS.
    Https,
}

/// Where a source is.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Url {
    /// How it is spoken to.
    pub scheme: Scheme,
    /// A name or an address, IPv6 without brackets, in lower case.
    pub host: String,
    /// As written, or 80 and 443. Invariant: not 0.
    pub port: u16,
    /// Starts with `/`, does not end with one unless it is all.
    pub path: String,
}

impl Url {
    /// Reads `http(s)://host[:port][/path]`.
    ///
    /// # Errors
    /// What is wrong. The text itself is not repeated: a password may stand in it.
    pub fn parse(text: &str) -> Result<Self, String> {
        Self::parse_with(text, HAS_TLS)
    }

    fn parse_with(text: &str, has_tls: bool) -> Result<Self, String> {
        let (scheme, rest) = if let Some(rest) = text.strip_prefix("https://") {
            if !has_tls {
                return Err(NO_TLS.to_owned());
            }
            (Scheme::Https, rest)
        } else if let Some(rest) = text.strip_prefix("http://") {
            (Scheme::Http, rest)
        } else {
            return Err("a URL starts with https:// or http://".to_owned());
        };
        if rest.contains(['?', '#']) {
            return Err("a URL has no query and no fragment here".to_owned());
        }
        let (authority, path) = match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, "/"),
        };
        if authority.contains('@') {
            return Err(
                "a URL holds no user and no password; credentials are options of the source"
                    .to_owned(),
            );
        }
        let (host, port) = split_host(authority)?;
        if rest.contains(['{', '}']) {
            return Err(
                "a URL has no holes: where a source is comes from the conf alone".to_owned()
            );
        }
        let port = match port {
            Some(port) => parse_port(port).filter(|port| *port != 0),
            None => Some(if scheme == Scheme::Https { 443 } else { 80 }),
        };
        let port = port.ok_or_else(|| "a port is a number from 1 to 65535".to_owned())?;
        Ok(Self { scheme, host, port, path: parse_path(path)? })
    }

    /// Whether it is on this machine, as far as its text says.
    pub(super) fn is_loopback(&self) -> bool {
        let address = self.host.parse::<IpAddr>();
        self.host == "localhost" || address.is_ok_and(|address| address.is_loopback())
    }

    /// `host:port`, as in a `Host` header: without the port that the scheme implies, with the
    /// brackets of an IPv6 address.
    #[must_use]
    pub fn authority(&self) -> String {
        let implied = if self.scheme == Scheme::Https { 443 } else { 80 };
        let host =
            if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port == implied { host } else { format!("{host}:{}", self.port) }
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.scheme == Scheme::Https { "https" } else { "http" };
        write!(f, "{scheme}://{}{}", self.authority(), self.path)
    }
}

/// Checks `host:port`, the port 0 included.
///
/// # Errors
/// What would be right.
pub(super) fn check_address(text: &str) -> Result<(), String> {
    let rule = "an address is written like 127.0.0.1:8080, [::]:8443 or localhost:8080";
    let (_, port) = split_host(text).map_err(|_| rule.to_owned())?;
    port.and_then(parse_port).map(|_| ()).ok_or_else(|| rule.to_owned())
}

/// Splits a name or address from the port after it.
pub(super) fn split_host(text: &str) -> Result<(String, Option<&str>), String> {
    let rule = || "the host is a name, an IPv4 address, or an IPv6 address in brackets".to_owned();
    if let Some(rest) = text.strip_prefix('[') {
        let (host, port) = rest.split_once(']').ok_or_else(rule)?;
        let host: Ipv6Addr = host.parse().map_err(|_| rule())?;
        return match (port.strip_prefix(':'), port) {
            (Some(port), _) => Ok((host.to_string(), Some(port))),
            (None, "") => Ok((host.to_string(), None)),
            (None, _) => Err(rule()),
        };
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    if !is_host_name(host) {
        return Err(rule());
    }
    Ok((host.to_ascii_lowercase(), port))
}

/// Whether a text can be a DNS name or an IPv4 address.
pub(super) fn is_host_name(text: &str) -> bool {
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    // A last label of digits is an address or nothing.
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    if text.rsplit('.').next().is_some_and(is_number) {
        return text.parse::<Ipv4Addr>().is_ok();
    }
    text.len() <= 253 && text.split('.').all(is_label)
}

fn parse_port(text: &str) -> Option<u16> {
    let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    if is_number { text.parse().ok() } else { None }
}

/// Checks a path, and drops the slash at its end.
pub(super) fn parse_path(text: &str) -> Result<String, String> {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~!$&'()*+,;=:@%".contains(&byte);
    if !text.starts_with('/') || !text.bytes().all(is_fit) {
        return Err(
            "a path starts with / and holds no spaces, no ?, # or {}, and only ASCII".to_owned()
        );
    }
    let is_dots = |part: &str| matches!(part, "." | "..");
    if text.split('/').any(is_dots) {
        return Err("a path holds no . or .. between its slashes".to_owned());
    }
    let path = text.trim_end_matches('/');
    Ok(if path.is_empty() { "/".to_owned() } else { path.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_net(net: &str, address: &str, want: bool) {
        let net = IpNet::parse(net).expect("a block");
        assert_eq!(net.contains(address.parse().expect("an address")), want, "{net} {address}");
    }

    #[test]
    fn blocks_hold_their_addresses() {
        check_net("10.0.0.0/8", "10.255.0.1", true);
        check_net("10.0.0.0/8", "11.0.0.1", false);
        check_net("10.0.0.0/8", "::ffff:10.1.2.3", true);
        check_net("0.0.0.0/0", "203.0.113.9", true);
        check_net("0.0.0.0/0", "::1", false);
        check_net("::/0", "::1", true);
        check_net("127.0.0.1", "127.0.0.1", true);
        check_net("127.0.0.1", "127.0.0.2", false);
        check_net("2001:db8::/32", "2001:db8:ffff::1", true);
        check_net("2001:db8::/32", "2001:db9::1", false);
    }

    #[test]
    fn a_build_without_tls_takes_no_url_that_needs_it() {
        for (text, has_tls, want) in [
            ("https://a.example.com", true, Ok(Scheme::Https)),
            ("https://a.example.com", false, Err(NO_TLS.to_owned())),
            ("http://a.example.com", false, Ok(Scheme::Http)),
        ] {
            assert_eq!(Url::parse_with(text, has_tls).map(|url| url.scheme), want, "{text}");
        }
    }

    #[test]
    fn odd_blocks_are_refused() {
        for text in
            ["10.0.0.0/33", "10.0.0/8", "10.0.0.0/", "10.0.0.0/+8", "::/129", "localhost", ""]
        {
            assert!(IpNet::parse(text).is_err(), "{text}");
        }
        let error = IpNet::parse("10.1.2.3/8").err().unwrap_or_default();
        assert_eq!(error, "bits are set past the prefix; the block is 10.0.0.0/8");
    }

    #[track_caller]
    fn check_url(text: &str, want: Result<(&str, u16, &str), &str>) {
        let got = Url::parse(text);
        let got = got.as_ref().map(|url| (url.host.as_str(), url.port, url.path.as_str()));
        match (got, want) {
            (Err(got), Err(want)) => assert!(got.contains(want), "{text}: {got}"),
            (got, want) => assert_eq!(got.ok(), want.ok(), "{text}"),
        }
    }

    #[test]
    fn urls_are_taken_apart() {
        check_url("https://Chat.example.com", Ok(("chat.example.com", 443, "/")));
        check_url(
            "http://chat.example.com:7443/sparkweb/",
            Ok(("chat.example.com", 7443, "/sparkweb")),
        );
        check_url("http://127.0.0.1:80/a/b", Ok(("127.0.0.1", 80, "/a/b")));
        check_url("https://[2001:db8::1]:8443/x", Ok(("2001:db8::1", 8443, "/x")));
        check_url("https://[::1]", Ok(("::1", 443, "/")));
        check_url("ftp://a", Err("starts with"));
        check_url("https://", Err("the host is"));
        check_url("https:///x", Err("the host is"));
        check_url("https://a b", Err("the host is"));
        check_url("https://1.2.3", Err("the host is"));
        check_url("https://::1", Err("the host is"));
        check_url("https://a:0", Err("1 to 65535"));
        check_url("https://a:65536", Err("1 to 65535"));
        check_url("https://a:", Err("1 to 65535"));
        check_url("https://u:p@a", Err("no user"));
        check_url("https://a/x?y=1", Err("no query"));
        check_url("https://a/{tenantId}", Err("no holes"));
        check_url("https://a/../b", Err("no . or .."));
        check_url("https://a/é", Err("only ASCII"));
    }

    #[test]
    fn urls_show_as_they_are_sent() {
        let show = |text| {
            Url::parse(text).map(|url| format!("{url} {}", url.authority())).unwrap_or_default()
        };
        assert_eq!(show("https://a:443/x/"), "https://a/x a");
        assert_eq!(show("http://[::1]:443"), "http://[::1]:443/ [::1]:443");
    }

    #[test]
    fn rates_have_a_count_and_a_unit() {
        let read = |text| Rate::parse(text).ok().map(|rate| (rate.count.get(), rate.per.as_secs()));
        assert_eq!(read("5/s"), Some((5, 1)));
        assert_eq!(read("30/m"), Some((30, 60)));
        assert_eq!(read("100/h"), Some((100, 3600)));
        for text in ["0/s", "5", "5/d", "-5/s", "+5/s", "/s", "5 /s", "4294967296/s"] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for text in ["127.0.0.1:0", "0.0.0.0:8443", "[::]:8443", "localhost:80"] {
            assert_eq!(check_address(text), Ok(()), "{text}");
        }
        for text in
            ["8080", ":8080", "127.0.0.1", "::1:80", "[::1]", "a:b", "a:99999", "1.2.3.4.5:80"]
        {
            assert!(check_address(text).is_err(), "{text}");
        }
    }
}
