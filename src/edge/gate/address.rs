//! Who is calling, as far as the network says.
//!
//! The peer, or behind trusted proxies the right-most untrusted address of `X-Forwarded-For`:
//! what stands further left was written by whoever is not trusted. Not here: limits (`rate`).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use http::HeaderMap;

use super::rate::Key;
use crate::config::IpNet;

const FORWARDED_FOR: &str = "x-forwarded-for";

/// A customer gets a /64 at least: within it addresses cost nothing.
const IPV6_PREFIX_BITS: u32 = 64;

/// The client's address; `None` where the peer has none.
pub(super) fn client_address(
    peer: Option<IpAddr>,
    headers: &HeaderMap,
    trusted: &[IpNet],
) -> Option<IpAddr> {
    let is_trusted = |address: IpAddr| trusted.iter().any(|net| net.contains(address));
    let mut client = peer?.to_canonical();
    let lines = headers.get_all(FORWARDED_FOR).iter().rev();
    let hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
    for hop in hops {
        if !is_trusted(client) {
            break;
        }
        // Past a hop that is no address nothing can be trusted.
        let Some(address) = parse_hop(hop) else { break };
        client = address.to_canonical();
    }
    Some(client)
}

/// Reads an address, with or without a port and brackets.
fn parse_hop(hop: &[u8]) -> Option<IpAddr> {
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
        let got = client_address(peer, &headers, &trusted).expect("an address");
        assert_eq!(got.to_string(), want, "{forwarded:?}");
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
