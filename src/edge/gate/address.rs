//! Who is calling, as far as the network says.
//!
//! The peer, or behind trusted proxies the right-most untrusted address of the one header that
//! they write (`X-Forwarded-For`, or `Forwarded` where the configuration says so): what stands
//! further left was written by whoever is not trusted. The other header is not looked at: proxies
//! pass on what they do not write, so it may be the client's own. Not here: limits (`rate`).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::HeaderMap;

use super::forwarded;
use super::rate::Key;
use crate::config::{ForwardedHeader, IpNet};
use crate::proto::selftest::ClientFrom;

const FORWARDED_FOR: &str = "x-forwarded-for";
const FORWARDED: &str = "forwarded";

/// A customer gets a /64 at least: within it addresses cost nothing.
const IPV6_PREFIX_BITS: u32 = 64;

/// Whose word is taken for whom they speak for.
#[derive(Clone, Copy)]
pub(super) struct Trust<'a> {
    pub(super) proxies: &'a [IpNet],
    /// The header that they write.
    pub(super) header: ForwardedHeader,
}

impl Trust<'_> {
    fn is_trusted(self, address: IpAddr) -> bool {
        self.proxies.iter().any(|net| net.contains(address))
    }

    /// The client's address; `None` where the peer has none.
    pub(super) fn client_address(
        self,
        peer: Option<IpAddr>,
        headers: &HeaderMap,
    ) -> Option<IpAddr> {
        let mut client = peer?.to_canonical();
        let hops: Box<dyn Iterator<Item = Option<IpAddr>>> = match self.header {
            ForwardedHeader::XForwardedFor => Box::new(forwarded_for(headers)),
            ForwardedHeader::Forwarded => Box::new(forwarded(headers)),
        };
        for hop in hops {
            if !self.is_trusted(client) {
                break;
            }
            // Past a hop that is no address nothing can be trusted.
            let Some(address) = hop else { break };
            client = address.to_canonical();
        }
        Some(client)
    }

    /// Where that comes from, as a self-test tells it.
    pub(super) fn client_from(self, peer: Option<IpAddr>, headers: &HeaderMap) -> ClientFrom {
        let own = match self.header {
            ForwardedHeader::XForwardedFor => FORWARDED_FOR,
            ForwardedHeader::Forwarded => FORWARDED,
        };
        let is_believed = peer.is_some_and(|peer| self.is_trusted(peer.to_canonical()));
        if is_believed && headers.contains_key(own) {
            ClientFrom::Header
        } else if headers.contains_key(FORWARDED_FOR) || headers.contains_key(FORWARDED) {
            ClientFrom::Ignored
        } else {
            ClientFrom::Connection
        }
    }
}

/// The hops of `X-Forwarded-For`, the nearest first.
fn forwarded_for(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    let lines = headers.get_all(FORWARDED_FOR).iter().rev();
    lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b',')).map(parse_hop)
}

/// The hops of `Forwarded`, the nearest first.
fn forwarded(headers: &HeaderMap) -> impl Iterator<Item = Option<IpAddr>> {
    let lines = headers.get_all(FORWARDED).iter().rev();
    lines.flat_map(|line| forwarded::hops(line.as_bytes()).into_iter().rev())
}

/// Reads an address, with or without a port and brackets.
pub(super) fn parse_hop(hop: &[u8]) -> Option<IpAddr> {
    let hop = std::str::from_utf8(hop).ok()?.trim();
    if let Ok(address) = hop.parse() {
        return Some(address);
    }
    if let Ok(address) = hop.parse::<SocketAddr>() {
        return Some(address.ip());
    }
    let inner = hop.strip_prefix('[')?.strip_suffix(']')?;
    inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6)
}

/// What limits go by: IPv4 whole, IPv6 by its /64. All clients without an address are one.
pub(in crate::edge) fn key(address: Option<IpAddr>) -> Key {
    match address.map(|address| address.to_canonical()) {
        Some(IpAddr::V4(v4)) => v4.to_ipv6_mapped().octets(),
        Some(IpAddr::V6(v6)) => {
            let mask = u128::MAX << (u128::BITS - IPV6_PREFIX_BITS);
            (v6.to_bits() & mask).to_be_bytes()
        }
        None => Key::default(),
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(peer: &str, forwarded: &[&'static str], want: &str) {
        let trusted = ["127.0.0.0/8", "10.0.0.0/8", "fd00::/8"];
        let trusted = trusted.map(|net| IpNet::parse(net).expect("a block"));
        let mut headers = HeaderMap::new();
        for line in forwarded {
            headers.append(FORWARDED_FOR, HeaderValue::from_static(line));
        }
        let peer = Some(peer.parse().expect("an address"));
        let trust = Trust { proxies: &trusted, header: ForwardedHeader::XForwardedFor };
        let got = trust.client_address(peer, &headers).expect("an address");
        assert_eq!(got.to_string(), want, "{forwarded:?}");
        // The same, told by the other header.
        let hops = |line: &str| -> String {
            let hops = line.split(',').map(|hop| match hop.trim() {
                hop if hop.starts_with('[') => format!("for=\"{hop}\""),
                hop if hop.matches(':').count() > 1 => format!("for=\"[{hop}]\""),
                hop => format!("proto=http;for=\"{hop}\""),
            });
            hops.collect::<Vec<_>>().join(", ")
        };
        headers.clear();
        for line in forwarded {
            headers.append(FORWARDED, HeaderValue::from_str(&hops(line)).expect("a value"));
        }
        let trust = Trust { header: ForwardedHeader::Forwarded, ..trust };
        let got = trust.client_address(peer, &headers).expect("an address");
        assert_eq!(got.to_string(), want, "{headers:?}");
    }

    #[test]
    fn the_header_that_proxies_do_not_write_is_not_looked_at() {
        let trusted = [IpNet::parse("127.0.0.0/8").expect("a block")];
        let peer = Some("127.0.0.1".parse().expect("an address"));
        let mut headers = HeaderMap::new();
        headers.insert(FORWARDED_FOR, HeaderValue::from_static("203.0.113.9"));
        headers.insert(FORWARDED, HeaderValue::from_static("for=198.51.100.1"));
        for (header, want) in [
            (ForwardedHeader::XForwardedFor, "203.0.113.9"),
            (ForwardedHeader::Forwarded, "198.51.100.1"),
        ] {
            let trust = Trust { proxies: &trusted, header };
            let got = trust.client_address(peer, &headers).map(|got| got.to_string());
            assert_eq!(got.as_deref(), Some(want));
            assert_eq!(trust.client_from(peer, &headers), ClientFrom::Header);
            let nobody = Trust { proxies: &[], header };
            assert_eq!(nobody.client_from(peer, &headers), ClientFrom::Ignored);
            assert_eq!(nobody.client_from(peer, &HeaderMap::new()), ClientFrom::Connection);
        }
        headers.remove(FORWARDED);
        let trust = Trust { proxies: &trusted, header: ForwardedHeader::Forwarded };
        assert_eq!(trust.client_address(peer, &headers), peer);
        assert_eq!(trust.client_from(peer, &headers), ClientFrom::Ignored);
        // A client on the proxy's own machine.
        headers.insert(FORWARDED, HeaderValue::from_static("for=127.0.0.1"));
        assert_eq!(trust.client_from(peer, &headers), ClientFrom::Header);
    }

    #[test]
    fn the_header_of_an_untrusted_peer_is_nothing() {
        check("203.0.113.9", &["198.51.100.1"], "203.0.113.9");
        check("2001:db8::1", &["127.0.0.1"], "2001:db8::1");
    }

    #[test]
    fn behind_proxies_the_right_most_untrusted_address_counts() {
        check("127.0.0.1", &[], "127.0.0.1");
        check("127.0.0.1", &["203.0.113.9"], "203.0.113.9");
        check("127.0.0.1", &["198.51.100.1, 203.0.113.9"], "203.0.113.9");
        check("127.0.0.1", &["198.51.100.1 ,203.0.113.9, 10.1.1.1"], "203.0.113.9");
        check("127.0.0.1", &["198.51.100.1, 203.0.113.9", "10.1.1.1"], "203.0.113.9");
        check("127.0.0.1", &["203.0.113.9", "198.51.100.1"], "198.51.100.1");
        // All of them trusted: the first that is known.
        check("127.0.0.1", &["10.2.2.2, 10.1.1.1"], "10.2.2.2");
        check("::ffff:127.0.0.1", &["::ffff:203.0.113.9"], "203.0.113.9");
    }

    #[test]
    fn forms_with_ports_and_brackets_are_read() {
        check("127.0.0.1", &["203.0.113.9:4711"], "203.0.113.9");
        check("127.0.0.1", &["[2001:db8::7]:4711"], "2001:db8::7");
        check("127.0.0.1", &["[2001:db8::7]"], "2001:db8::7");
        check("127.0.0.1", &["2001:db8::7"], "2001:db8::7");
    }

    #[test]
    fn garbage_ends_the_chain_of_trust() {
        check("127.0.0.1", &["198.51.100.1, unknown"], "127.0.0.1");
        check("127.0.0.1", &["198.51.100.1, unknown, 10.1.1.1"], "10.1.1.1");
        check("127.0.0.1", &["198.51.100.1,"], "127.0.0.1");
        check("127.0.0.1", &[""], "127.0.0.1");
        check("127.0.0.1", &["203.0.113.999"], "127.0.0.1");
    }

    #[test]
    fn a_64_is_one_client() {
        let key = |text: &str| key(Some(text.parse().expect("an address")));
        assert_eq!(key("2001:db8:0:1::1"), key("2001:db8:0:1:ffff::2"));
        assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
        assert_eq!(key("::ffff:203.0.113.9"), key("203.0.113.9"));
        assert_ne!(key("203.0.113.8"), key("203.0.113.9"));
        assert_ne!(super::key(None), key("203.0.113.9"));
    }
}
