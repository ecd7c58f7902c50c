//! Who may connect: limits of connections, and the PROXY header in front of one.
//!
//! Asked before TLS, so that a flood costs no handshakes. What is counted is given back when the
//! socket is closed, whoever holds it by then. Who is refused is closed without a word: it has
//! not said yet what it speaks. Not here: limits of requests and streams (`gate`).

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::sync::Arc;

use nix::sys::resource::{Resource, getrlimit};
use pingora::protocols::l4::socket::SocketAddr as PeerAddress;
use pingora::protocols::l4::stream::Stream as Socket;
use pingora::protocols::{GetSocketDigest as _, SocketDigest};
use pingora::upstreams::peer::{Tracer, Tracing};
use ppp::{PartialResult as _, v1, v2};
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use crate::config::Config;
use crate::edge::gate::{Key, Permit, Table, address_key};
use crate::edge::proxy::Edge;
use crate::telemetry::Metrics;

/// The longest header of version 1, by its specification.
const V1_BYTES_MAX: usize = 107;
/// Room for the addresses of version 2 and the certificates that balancers put after them.
const V2_BYTES_MAX: usize = 4096;
/// Of the file descriptors, what clients may have: the rest is for sources, files, the admin.
const CLIENTS_OF_DESCRIPTORS: (u64, u64) = (7, 8);
/// Where the machine does not say how many descriptors there are.
const DESCRIPTORS_UNKNOWN: u64 = 1024;

/// How many connections of clients may be open, where the conf does not say. At least 1.
pub(crate) fn connections_max(descriptors: Option<u64>) -> u32 {
    let (part, of) = CLIENTS_OF_DESCRIPTORS;
    let clients = (descriptors.unwrap_or(DESCRIPTORS_UNKNOWN) / of).saturating_mul(part);
    u32::try_from(clients).unwrap_or(u32::MAX).max(1)
}

/// The open connections of all client listeners.
pub(in crate::edge) struct Crowd {
    total: Arc<Table>,
    address: Arc<Table>,
    /// Where the configuration does not say.
    total_max: u32,
}

impl Crowd {
    /// Nobody yet.
    pub(in crate::edge) fn new() -> Arc<Self> {
        let descriptors = getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft);
        // Open connections are bounded by themselves; nothing is ever forgotten here.
        let table = || Table::new(crate::edge::gate::KEYS_MAX);
        let total_max = connections_max(descriptors);
        Arc::new(Self { total: table(), address: table(), total_max })
    }

    /// Lets one more in.
    fn admit(&self, config: &Config, client: Option<IpAddr>) -> Result<[Permit; 2], Turned> {
        let limits = config.limits.connections;
        let total_max = limits.total.unwrap_or(self.total_max);
        let total = self.total.hold(&Key::default(), Some(total_max)).ok_or(Turned::Total)?;
        let is_proxy = client.is_some_and(|client| is_trusted(config, client));
        let address_max = limits.per_client.filter(|_| !is_proxy);
        let address = self.address.hold(&address_key(client), address_max);
        Ok([total, address.ok_or(Turned::Address)?])
    }
}

/// Why nobody came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turned {
    /// Too many connections in all.
    Total,
    /// Too many from its address.
    Address,
    /// No PROXY header, none in time, or not from a trusted proxy.
    ProxyProtocol,
}

impl Turned {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Total => "total",
            Self::Address => "address",
            Self::ProxyProtocol => "proxy_protocol",
        }
    }
}

/// The entrance of listeners that are alike.
pub(in crate::edge) struct Entrance {
    edge: Arc<Edge>,
    crowd: Arc<Crowd>,
    takes_proxy_header: bool,
}

impl Entrance {
    pub(in crate::edge) fn new(
        edge: Arc<Edge>,
        crowd: Arc<Crowd>,
        takes_proxy_header: bool,
    ) -> Arc<Self> {
        Arc::new(Self { edge, crowd, takes_proxy_header })
    }

    /// Lets a connection in, counted until its socket is dropped, or says why not.
    pub(super) async fn enter(&self, socket: &mut Socket) -> Result<(), Turned> {
        let entered = self.try_enter(socket).await;
        if let Err(turned) = entered {
            self.edge.metrics().on_connection_refused(turned.as_str());
        }
        entered
    }

    async fn try_enter(&self, socket: &mut Socket) -> Result<(), Turned> {
        let config = self.edge.config();
        let mut client = peer(socket);
        // Counted by whoever is at the other end while its header is waited for.
        let mut permits = self.crowd.admit(&config, client)?;
        if self.takes_proxy_header {
            if !client.is_some_and(|peer| is_trusted(&config, peer)) {
                return Err(Turned::ProxyProtocol);
            }
            let read = timeout(config.timeouts.head, read_header(socket)).await;
            let (told, rest) = read.ok().flatten().ok_or(Turned::ProxyProtocol)?;
            socket.rewind(&rest);
            if let Some(told) = told {
                let digest = SocketDigest::from_raw_fd(socket.as_raw_fd());
                // A new cell is empty.
                let _is_set = digest.peer_addr.set(Some(PeerAddress::Inet(told))).is_ok();
                socket.set_socket_digest(digest);
                client = Some(told.ip());
                drop(permits);
                permits = self.crowd.admit(&config, client)?;
            }
        }
        let metrics = self.edge.metrics().clone();
        socket.tracer = Some(Tracer(Box::new(Inside::new(permits, metrics))));
        Ok(())
    }
}

fn peer(socket: &Socket) -> Option<IpAddr> {
    let digest = socket.get_socket_digest()?;
    digest.peer_addr()?.as_inet().map(|inet| inet.ip().to_canonical())
}

fn is_trusted(config: &Config, address: IpAddr) -> bool {
    config.trusted_proxies.iter().any(|net| net.contains(address))
}

/// Reads a header and says whom it names, if anybody, and what came after it.
async fn read_header(
    socket: &mut (impl tokio::io::AsyncRead + Unpin),
) -> Option<(Option<SocketAddr>, Vec<u8>)> {
    let mut bytes = Vec::with_capacity(256);
    while bytes.len() < V2_BYTES_MAX {
        if socket.read_buf(&mut bytes).await.ok()? == 0 {
            return None;
        }
        if let Some(parsed) = parse(&bytes) {
            let (client, length) = parsed.ok()?;
            return Some((client, bytes.split_off(length)));
        }
    }
    None
}

/// No header, or a broken one.
struct Broken;

/// Whom a header names and how long it is; `None` = more has to come.
fn parse(bytes: &[u8]) -> Option<Result<(Option<SocketAddr>, usize), Broken>> {
    if bytes.first() == Some(&b'P') {
        let Some(end) = memchr::memchr(b'\n', bytes) else {
            return (bytes.len() >= V1_BYTES_MAX).then_some(Err(Broken));
        };
        return Some(parse_v1(bytes.get(..=end).unwrap_or_default()));
    }
    let parsed = v2::Header::try_from(bytes);
    if parsed.is_incomplete() {
        return None;
    }
    let Ok(header) = parsed else {
        return Some(Err(Broken));
    };
    let client = match (header.command, header.addresses) {
        // A proxy's own question whether all is well.
        (v2::Command::Local, _) => None,
        (v2::Command::Proxy, v2::Addresses::IPv4(pair)) => {
            Some(SocketAddr::from((pair.source_address, pair.source_port)))
        }
        (v2::Command::Proxy, v2::Addresses::IPv6(pair)) => {
            Some(SocketAddr::from((pair.source_address, pair.source_port)))
        }
        (v2::Command::Proxy, v2::Addresses::Unspecified | v2::Addresses::Unix(_)) => None,
    };
    Some(Ok((client, header.len())))
}

fn parse_v1(line: &[u8]) -> Result<(Option<SocketAddr>, usize), Broken> {
    let header = v1::Header::try_from(line).map_err(|_| Broken)?;
    if header.header.len() != line.len() {
        return Err(Broken);
    }
    let client = match header.addresses {
        v1::Addresses::Tcp4(pair) => {
            Some(SocketAddr::from((pair.source_address, pair.source_port)))
        }
        v1::Addresses::Tcp6(pair) => {
            Some(SocketAddr::from((pair.source_address, pair.source_port)))
        }
        v1::Addresses::Unknown => None,
    };
    Ok((client, line.len()))
}

/// One connection in the counts, for as long as its socket lives.
#[derive(Clone)]
struct Inside(Arc<Counted>);

struct Counted {
    _permits: [Permit; 2],
    metrics: Arc<Metrics>,
}

impl Inside {
    fn new(permits: [Permit; 2], metrics: Arc<Metrics>) -> Self {
        let inside = Self(Arc::new(Counted { _permits: permits, metrics }));
        inside.0.metrics.client_connections.inc();
        inside
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.metrics.client_connections.dec();
    }
}

impl fmt::Debug for Inside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inside").finish_non_exhaustive()
    }
}

/// The tracer of a socket goes when the socket goes; that is all that is wanted of it.
impl Tracing for Inside {
    fn on_connected(&self) {}

    fn on_disconnected(&self) {}

    fn boxed_clone(&self) -> Box<dyn Tracing> {
        Box::new(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whom it names and how much comes after it; `None` = not a header.
    #[track_caller]
    fn check(header: &[u8], want: Option<Option<&str>>) {
        let text = header.escape_ascii().to_string();
        let mut wire = header.to_vec();
        wire.extend_from_slice(b"GET /");
        let got = parse(&wire).and_then(Result::ok);
        let got = got.map(|(client, length)| {
            assert_eq!(length, header.len(), "{text}");
            client.map(|client| client.to_string())
        });
        assert_eq!(got, want.map(|client| client.map(str::to_owned)), "{text}");
        if want.is_some() {
            for length in 0..header.len() {
                assert!(parse(&header[..length]).is_none(), "{length} of {text}");
            }
        }
    }

    fn binary(head: &[u8], rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).expect("short").to_be_bytes();
        [b"\r\n\r\n\0\r\nQUIT\n", head, &length, rest].concat()
    }

    #[test]
    fn both_versions_name_the_client() {
        check(b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\r\n", Some(Some("203.0.113.9:4711")));
        check(b"PROXY TCP6 2001:db8::7 ::1 4711 443\r\n", Some(Some("[2001:db8::7]:4711")));
        check(b"PROXY UNKNOWN\r\n", Some(None));
        let v4 = [203, 0, 113, 9, 10, 0, 0, 1, 0x12, 0x67, 1, 187];
        check(&binary(&[0x21, 0x11], &v4), Some(Some("203.0.113.9:4711")));
        let with_more = [&v4[..], &[4, 0, 1, 42]].concat();
        check(&binary(&[0x21, 0x11], &with_more), Some(Some("203.0.113.9:4711")));
        check(&binary(&[0x20, 0x11], &v4), Some(None));
        check(&binary(&[0x20, 0x00], &[]), Some(None));
    }

    #[test]
    fn anything_else_is_refused() {
        for header in [
            &b"GET / HTTP/1.1\r\n"[..],
            b"PROXY TCP4 203.0.113.9\r\n",
            b"PROXY TCP4 203.0.113.999 10.0.0.1 4711 443\r\n",
            b"PROXY TCP4 203.0.113.9 10.0.0.1 4711 443\n",
            b"PROXY TCP4 203.0.113.9 10.0.0.1 99999 443\r\n",
            b"PROXY TCP5 203.0.113.9 10.0.0.1 4711 443\r\n",
            b"proxy TCP4 203.0.113.9 10.0.0.1 4711 443\r\n",
            b"POST / HTTP/1.1\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x01\x02\x03",
        ] {
            check(header, None);
        }
        check(&[b'P'; V1_BYTES_MAX], None);
        check(&binary(&[0x31, 0x11], &[0; 12]), None);
        check(&binary(&[0x21, 0x11], &[0; 3]), None);
    }

    #[tokio::test]
    async fn a_header_without_an_end_is_not_read_for_ever() {
        let endless = binary(&[0x21, 0x11], &[0; 60_000]);
        assert!(read_header(&mut endless.as_slice()).await.is_none());
        let mut wire = &b"PROXY UNKNOWN\r\nGET /"[..];
        let (client, rest) = read_header(&mut wire).await.expect("a header");
        assert_eq!((client, rest.as_slice()), (None, &b"GET /"[..]));
    }
}
