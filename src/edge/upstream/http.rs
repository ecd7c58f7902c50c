//! Connections to backends, through Pingora's connector: resolved names, time-outs, TLS.
//!
//! Names are resolved off the hot path before Pingora sees them (it would block, and panic on
//! failure), every address is tried, answers are kept for a short while. HTTP/2 where a source
//! asks for it: then its streams share connections. Not here: what an answer means
//! (`backend::Dialect::answer`). Outbound proxies are not supported.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use jiff::fmt::rfc2822;
use nix::errno::Errno;
use pingora::connectors::TransportConnector;
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::protocols::TcpKeepalive;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;
use pingora::{BError, ErrorType};

use super::bare::Bare;
use super::budget::{Allowance, Budget};
use super::ring::Rings;
use super::trust::{Trusted, Trusts};
use super::{End, TRACE};
use crate::config::{KeySetUrl, Scheme, Source, Tls, Url};
use crate::edge::clock;
use crate::proto::backend::{Message, Method};
use crate::proto::event::DownReason;
use crate::proto::time::UnixMillis;

/// How long an answer of the resolver is used.
const RESOLVED_FOR: Duration = Duration::from_secs(30);
/// A resolver that takes longer will not answer.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);
/// XiansAi may hold a request for a whole window of its rate limiter before it answers.
pub(super) const HEAD_TIMEOUT: Duration = Duration::from_secs(75);
/// For the body of a refusal, which only says more of what the status said.
const ERROR_BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// As much of it as is looked at.
const ERROR_BODY_BYTES: usize = 4096;
/// A pooled connection idles no longer.
const POOL_IDLE: Duration = Duration::from_secs(55);
/// Streams of one HTTP/2 connection. Common servers allow 100 to 250; with their connection all
/// of them are lost.
const HTTP2_STREAMS_MAX: usize = 100;
/// How often an HTTP/2 connection is tried that has nothing to say.
const HTTP2_PING_PERIOD: Duration = Duration::from_secs(30);
/// For a whole call beside the stream, answer included.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// A connection to an issuer's key set may take this long, and again for TLS.
const KEY_SET_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Where a connection goes, and how it is trusted.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    /// Its name in logs.
    pub(super) name: &'a str,
    pub(super) url: &'a Url,
    pub(super) ca: Option<&'a PathBuf>,
    pub(super) server_name: &'a str,
    pub(super) connect_timeout: Duration,
    /// The certificate that it is shown.
    pub(super) identity: Option<&'a Tls>,
    pub(super) is_http2: bool,
}

impl<'a> From<&'a Source> for Place<'a> {
    fn from(source: &'a Source) -> Self {
        Self {
            name: &source.name,
            url: &source.url,
            ca: source.ca.as_ref(),
            server_name: source.server_name(),
            connect_timeout: source.connect_timeout,
            identity: source.identity.as_ref(),
            is_http2: source.is_http2,
        }
    }
}

impl<'a> From<&'a Arc<Source>> for Place<'a> {
    fn from(source: &'a Arc<Source>) -> Self {
        Self::from(&**source)
    }
}

impl<'a> From<&'a KeySetUrl> for Place<'a> {
    fn from(set: &'a KeySetUrl) -> Self {
        Self {
            name: "jwks",
            url: &set.url,
            ca: set.ca.as_ref(),
            server_name: set.server_name(),
            connect_timeout: KEY_SET_CONNECT_TIMEOUT,
            identity: None,
            is_http2: false,
        }
    }
}

/// Opens connections to sources and issuers. One for the process.
pub(crate) struct Dialer {
    budgets: Mutex<HashMap<String, Arc<Budget>>>,
    /// By host and port: what a backend gives is shared by all sources that ask it.
    allowances: Mutex<HashMap<String, Arc<Allowance>>>,
    pub(super) trusted: Trusted,
    /// For what is no HTTP.
    pub(super) raw: OnceLock<TransportConnector>,
    rings: Rings,
    resolved: Mutex<HashMap<(String, u16), Resolved>>,
    /// Conversations that are being polled.
    polled: Arc<Mutex<HashSet<String>>>,
}

/// The right to poll one conversation, until dropped.
pub(super) struct Turn {
    polled: Arc<Mutex<HashSet<String>>>,
    conversation: String,
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut polled = self.polled.lock().unwrap_or_else(PoisonError::into_inner);
        polled.remove(&self.conversation);
    }
}

struct Resolved {
    addresses: Vec<SocketAddr>,
    at: Instant,
}

/// A connection on which a request can be sent.
pub(super) struct Connection {
    pub(super) session: HttpSession,
    pub(super) is_reused: bool,
    peer: HttpPeer,
    connector: Arc<Connector>,
}

impl Default for Dialer {
    fn default() -> Self {
        Self::new()
    }
}

impl Dialer {
    /// No connections yet.
    #[must_use]
    pub(crate) fn new() -> Self {
        Self {
            budgets: Mutex::default(),
            allowances: Mutex::default(),
            trusted: Trusted::default(),
            raw: OnceLock::new(),
            rings: Rings::new(),
            resolved: Mutex::default(),
            polled: Arc::default(),
        }
    }

    /// How much of a source may be asked at a time. It outlives reloads.
    pub(super) fn budget(&self, source: &Source) -> Arc<Budget> {
        let mut budgets = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(budget) = budgets.get(&source.name)
            && budget.is_of(&source.url.authority())
        {
            return budget.clone();
        }
        let authority = source.url.authority();
        let mut allowances = self.allowances.lock().unwrap_or_else(PoisonError::into_inner);
        let allowance = allowances.entry(authority.clone()).or_default().clone();
        let budget = Arc::new(Budget::new(authority, allowance));
        budgets.insert(source.name.clone(), budget.clone());
        budget
    }

    /// Credentials that were got for sources, and are shared.
    pub(super) const fn rings(&self) -> &Rings {
        &self.rings
    }

    /// A call beside the stream: its head, and its body if it is no larger than `bytes_max`.
    pub(crate) async fn call(
        &self,
        place: impl Into<Place<'_>>,
        message: &Message,
        bytes_max: usize,
    ) -> Result<(Head, Answered), DownReason> {
        // Far larger than the streams that now and then wait for it.
        let called = Box::pin(self.call_patiently(place.into(), message, bytes_max));
        tokio::time::timeout(CALL_TIMEOUT, called).await.unwrap_or(Err(DownReason::Timeout))
    }

    /// A pooled connection that turns out to be dead before the answer began is replaced by a
    /// fresh one, once.
    async fn call_patiently(
        &self,
        place: Place<'_>,
        message: &Message,
        bytes_max: usize,
    ) -> Result<(Head, Answered), DownReason> {
        for pooled in [true, false] {
            let mut connection = self.connect(place, pooled).await?;
            let is_reused = connection.is_reused;
            let head = async {
                connection.send(place, message, None).await?;
                connection.read_head().await
            };
            match head.await {
                Ok(head) => {
                    let answered = connection.read_answer(&head, bytes_max).await?;
                    return Ok((head, answered));
                }
                Err(DownReason::Reset | DownReason::Closed) if is_reused => {}
                Err(reason) => return Err(reason),
            }
        }
        Err(DownReason::Reset)
    }

    /// Reads anew whom a place is trusted by and what it is shown, so that it can be dialled.
    ///
    /// # Errors
    /// Its certificate authorities cannot be read, or the certificate that it is to be shown.
    pub(crate) fn renew<'a>(
        &self,
        place: impl Into<Place<'a>>,
        renewed: &mut Trusts,
    ) -> Result<(), String> {
        let place = place.into();
        self.trusted.renew(place.ca, place.identity, renewed)
    }

    /// Puts in use what was read anew.
    pub(crate) fn adopt(&self, renewed: Trusts) {
        self.trusted.adopt(renewed);
    }

    /// A peer for connections that no connector of ours is behind: with the authorities to trust, and
    /// the certificate to show.
    pub(super) fn peer(
        &self,
        place: Place<'_>,
        address: SocketAddr,
    ) -> Result<HttpPeer, DownReason> {
        let mut peer = peer(place, address);
        let trust = self.trusted.trust(place.ca).map_err(|_| DownReason::Tls)?;
        peer.options.ca.clone_from(&trust.authorities);
        let identity = place.identity.map(|files| self.trusted.identity(files));
        peer.client_cert_key = identity.transpose().map_err(|_| DownReason::Tls)?;
        Ok(peer)
    }

    /// Takes the right to poll a conversation; `None` if somebody has it.
    pub(super) fn take_turn(&self, source: &Source, message: &Message) -> Option<Turn> {
        // Who asks stands in headers and query; what is polled is the path.
        let path = message.target.split('?').next().unwrap_or_default();
        let conversation = format!("{}{path}", source.url.authority());
        let mut polled = self.polled.lock().unwrap_or_else(PoisonError::into_inner);
        polled
            .insert(conversation.clone())
            .then(|| Turn { polled: self.polled.clone(), conversation })
    }

    /// Connects to a place, trying every address it has; `pooled` = an idle connection will do.
    pub(super) async fn connect(
        &self,
        place: impl Into<Place<'_>>,
        pooled: bool,
    ) -> Result<Connection, DownReason> {
        let place = place.into();
        let trust = self.trusted.trust(place.ca).map_err(|_| DownReason::Tls)?;
        let connector = trust.connector.clone();
        let identity = place.identity.map(|files| self.trusted.identity(files));
        let identity = identity.transpose().map_err(|_| DownReason::Tls)?;
        let mut last = DownReason::Dns;
        for address in self.resolve(&place.url.host, place.url.port).await? {
            let mut peer = peer(place, address);
            peer.client_cert_key.clone_from(&identity);
            if !pooled {
                // A group of its own finds nothing in the pool, and leaves nothing there.
                peer.group_key = rand::random();
                peer.options.max_h2_streams = 1;
            }
            match connector.get_http_session(&peer).await {
                Ok((session, is_reused)) => {
                    return Ok(Connection { session, is_reused, peer, connector });
                }
                Err(error) => last = unreached(place, address, &error),
            }
        }
        // The addresses may have changed.
        self.forget(&place.url.host, place.url.port);
        Err(last)
    }

    pub(super) async fn resolve(
        &self,
        host: &str,
        port: u16,
    ) -> Result<Vec<SocketAddr>, DownReason> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(address, port)]);
        }
        let key = (host.to_owned(), port);
        let now = clock::now();
        {
            let resolved = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(known) = resolved.get(&key)
                && now.saturating_duration_since(known.at) < RESOLVED_FOR
            {
                return Ok(known.addresses.clone());
            }
        }
        let looked_up =
            tokio::time::timeout(RESOLVE_TIMEOUT, tokio::net::lookup_host((host, port)));
        let addresses: Vec<_> = match looked_up.await {
            Ok(Ok(addresses)) => addresses.collect(),
            Ok(Err(_)) | Err(_) => return Err(DownReason::Dns),
        };
        if addresses.is_empty() {
            return Err(DownReason::Dns);
        }
        // Bounded by the hosts of the configuration, the only ones that are ever asked for.
        let mut resolved = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
        resolved.insert(key, Resolved { addresses: addresses.clone(), at: now });
        Ok(addresses)
    }

    pub(super) fn forget(&self, host: &str, port: u16) {
        let mut resolved = self.resolved.lock().unwrap_or_else(PoisonError::into_inner);
        resolved.remove(&(host.to_owned(), port));
    }
}

impl Connection {
    /// Sends the request. `resume` is the header and the last event id, for backends that
    /// replay.
    pub(super) async fn send(
        &mut self,
        place: impl Into<Place<'_>>,
        message: &Message,
        resume: Option<(&'static str, &str)>,
    ) -> Result<(), DownReason> {
        let place = place.into();
        let header = header(place, message, resume)?;
        self.session.set_write_timeout(Some(place.connect_timeout));
        self.session.set_read_timeout(Some(HEAD_TIMEOUT));
        let sent = self.session.write_request_header(Box::new(header)).await;
        sent.map_err(|error| down_reason(&error))?;
        if let Some(body) = &message.body {
            let body = Bytes::copy_from_slice(body.as_bytes());
            let written = self.session.write_request_body(body, false).await;
            written.map_err(|error| down_reason(&error))?;
        }
        // Ends an HTTP/2 request; nothing on HTTP/1.
        self.session.finish_request_body().await.map_err(|error| down_reason(&error))
    }

    /// Reads the head of the answer. The time-out of a read begins anew with each byte.
    pub(super) async fn read_head(&mut self) -> Result<Head, DownReason> {
        // A head may come byte by byte, and the session's own limit is for each read.
        let read = tokio::time::timeout(HEAD_TIMEOUT, self.session.read_response_header()).await;
        read.map_err(|_| DownReason::Timeout)?.map_err(|error| down_reason(&error))?;
        let Some(header) = self.session.response_header() else {
            return Err(DownReason::Reset);
        };
        Ok(Head::new(header.status.as_u16(), |name| {
            header.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
        }))
    }

    /// Reads the head of an answer that is a stream, and gives what its body is read from.
    pub(super) async fn into_stream(mut self) -> Result<(Head, Incoming), DownReason> {
        let HttpSession::H1(session) = self.session else {
            let head = self.read_head().await?;
            // An HTTP/2 connection has a sign of life of its own, and the stream its patience.
            self.session.set_read_timeout(None);
            return Ok((head, Incoming::Session(Box::new(self))));
        };
        let opened = tokio::time::timeout(HEAD_TIMEOUT, Bare::open(session.into_inner()));
        let (head, bare) = opened.await.map_err(|_| DownReason::Timeout)??;
        Ok((Head::new(head.status, |name| head.text(name)), Incoming::Bare(bare)))
    }

    /// Reads the next piece of the body; `None` at its end.
    pub(super) async fn read(&mut self) -> Result<Option<Bytes>, DownReason> {
        self.session.read_response_body().await.map_err(|error| match down_reason(&error) {
            DownReason::Timeout => DownReason::Silent,
            reason => reason,
        })
    }

    /// Reads a whole answer and gives the connection back.
    pub(super) async fn read_answer(
        mut self,
        head: &Head,
        bytes_max: usize,
    ) -> Result<Answered, DownReason> {
        if head.is_encoded {
            return Err(DownReason::BadContentType);
        }
        let mut body = BytesMut::new();
        let mut is_oversize = false;
        while let Some(chunk) = self.read().await? {
            // Read on to its end, so that the next request finds an orderly connection.
            is_oversize |= body.len() + chunk.len() > bytes_max;
            if is_oversize {
                body.clear();
            } else {
                body.extend_from_slice(&chunk);
            }
        }
        self.release().await;
        Ok(Answered { body, is_oversize })
    }

    /// Gives a connection back whose answer was read to its end.
    async fn release(self) {
        self.connector.release_http_session(self.session, &self.peer, Some(POOL_IDLE)).await;
    }
}

/// The body of an answer that is a stream.
pub(super) enum Incoming {
    /// HTTP/1.x, without Pingora's session.
    Bare(Bare),
    /// HTTP/2.
    Session(Box<Connection>),
}

impl Incoming {
    /// Reads the next piece of the body; `None` at its end.
    pub(super) async fn read(&mut self) -> Result<Option<Bytes>, DownReason> {
        match self {
            Self::Bare(bare) => bare.read().await,
            Self::Session(connection) => connection.read().await,
        }
    }

    /// Reads the start of a refusal's body.
    pub(super) async fn read_error_body(&mut self) -> String {
        let mut body = BytesMut::new();
        let read = async {
            while body.len() < ERROR_BODY_BYTES {
                match self.read().await {
                    Ok(Some(chunk)) => body.extend_from_slice(&chunk),
                    Ok(None) | Err(_) => break,
                }
            }
        };
        // Whatever came in time is what there is.
        let _is_whole = tokio::time::timeout(ERROR_BODY_TIMEOUT, read).await.is_ok();
        body.truncate(ERROR_BODY_BYTES);
        String::from_utf8_lossy(&body).into_owned()
    }
}

/// The body of an answer.
pub(crate) struct Answered {
    /// Empty if it is larger than was wanted.
    pub(crate) body: BytesMut,
    /// Whether it is.
    pub(crate) is_oversize: bool,
}

/// What matters of an answer's head.
pub(crate) struct Head {
    /// The status.
    pub(crate) status: u16,
    /// Without parameters, in lower case.
    pub(super) content_type: String,
    pub(super) is_encoded: bool,
    /// The pause that it asks for.
    pub(crate) retry_after: Option<Duration>,
    /// The other side's clock, as its `Date` says.
    pub(crate) date: Option<UnixMillis>,
}

impl Head {
    fn new<'h>(status: u16, text: impl Fn(&'static str) -> &'h str) -> Self {
        Self {
            status,
            content_type: essence(text("content-type")),
            is_encoded: !matches!(text("content-encoding"), "" | "identity"),
            retry_after: parse_retry_after(text("retry-after")),
            date: parse_date(text("date")),
        }
    }

    /// What an answer that brings no events means for the link.
    pub(super) const fn end(&self, reason: DownReason) -> End {
        End::Lost { reason, retry_after: self.retry_after, status: Some(self.status) }
    }
}

fn peer(place: Place<'_>, address: SocketAddr) -> HttpPeer {
    let is_tls = place.url.scheme == Scheme::Https;
    let sni = place.server_name.to_owned();
    let mut peer = HttpPeer::new(address, is_tls, sni);
    peer.options.connection_timeout = Some(place.connect_timeout);
    peer.options.total_connection_timeout = Some(place.connect_timeout * 2);
    peer.options.idle_timeout = Some(POOL_IDLE);
    if place.is_http2 {
        // At most, at least; a backend that does not offer it in TLS is spoken to in HTTP/1.1.
        peer.options.set_http_version(2, 1);
        peer.options.max_h2_streams = HTTP2_STREAMS_MAX;
        peer.options.h2_ping_interval = Some(HTTP2_PING_PERIOD);
    }
    peer.options.tcp_keepalive = Some(TcpKeepalive {
        idle: Duration::from_secs(30),
        interval: Duration::from_secs(10),
        count: 3,
        #[cfg(target_os = "linux")]
        user_timeout: Duration::from_secs(60),
    });
    peer
}

fn header(
    place: Place<'_>,
    message: &Message,
    resume: Option<(&'static str, &str)>,
) -> Result<RequestHeader, DownReason> {
    let mut target = message.target.clone();
    if let Some(name) = message.fresh_query {
        target.push(if message.has_query { '&' } else { '?' });
        target.push_str(name);
        target.push('=');
        // Milliseconds, as clients of these backends send; random digits behind keep two
        // requests of one millisecond apart.
        target.push_str(&clock::wall().0.to_string());
        target.push_str(&format!("{:03}", rand::random_range(0..1000)));
    }
    let method = match message.method {
        Method::Get => http::Method::GET,
        Method::Post => http::Method::POST,
    };
    // Templates were checked; what still does not fit a request line is the configuration's.
    let mut header =
        RequestHeader::build(method, target.as_bytes(), None).map_err(|_| DownReason::BadStatus)?;
    let mut insert = |name: &'static str, value: &str| {
        let value = HeaderValue::from_bytes(value.as_bytes()).map_err(|_| DownReason::BadStatus)?;
        header.append_header(name, value).map_err(|_| DownReason::BadStatus)
    };
    insert("Host", &place.url.authority())?;
    for (name, value) in &message.headers {
        insert(name, value)?;
    }
    if let Some(body) = &message.body {
        insert("Content-Length", &body.len().to_string())?;
    }
    if let Some((name, id)) = resume
        && !id.is_empty()
    {
        insert(name, id)?;
    }
    if let Ok(Some(trace)) = TRACE.try_get() {
        insert("traceparent", &trace.header(rand::random()))?;
    }
    Ok(header)
}

/// What a failure of the connection is called in the stream.
fn down_reason(error: &BError) -> DownReason {
    match error.etype() {
        ErrorType::ConnectTimedout
        | ErrorType::TLSHandshakeTimedout
        | ErrorType::ReadTimedout
        | ErrorType::WriteTimedout => DownReason::Timeout,
        ErrorType::ConnectRefused | ErrorType::ConnectNoRoute | ErrorType::ConnectError => {
            DownReason::Refused
        }
        ErrorType::TLSHandshakeFailure
        | ErrorType::InvalidCert
        | ErrorType::HandshakeError
        | ErrorType::TLSWantX509Lookup => DownReason::Tls,
        ErrorType::ConnectionClosed => DownReason::Closed,
        // An open set of Pingora's: all others break a connection that stood.
        _ => DownReason::Reset,
    }
}

/// An address of a place could not be reached: says so, and gives what that is called.
pub(super) fn unreached(place: Place<'_>, address: SocketAddr, error: &BError) -> DownReason {
    let source = place.name;
    log::debug!(source, address:%, error:%; "an address cannot be reached");
    if is_out_of_descriptors(error) {
        log::warn!(source; "no file descriptor is left for a source");
    }
    down_reason(error)
}

/// The process may open no more, or the machine may not: that is no fault of the backend.
fn is_out_of_descriptors(error: &BError) -> bool {
    // Pingora's errors tell their cause in a field of their own.
    let Some(cause) = &error.cause else { return false };
    if let Some(inner) = cause.downcast_ref::<BError>() {
        return is_out_of_descriptors(inner);
    }
    let number = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
    matches!(number.map(Errno::from_raw), Some(Errno::EMFILE | Errno::ENFILE))
}

fn essence(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Reads `Retry-After`: seconds, or a date.
pub(crate) fn parse_retry_after(text: &str) -> Option<Duration> {
    if let Ok(secs) = text.trim().parse() {
        return Some(Duration::from_secs(secs));
    }
    let millis = parse_date(text)?.0.saturating_sub(clock::wall().0);
    Some(Duration::from_millis(u64::try_from(millis).unwrap_or(0)))
}

/// A date as headers have it.
fn parse_date(text: &str) -> Option<UnixMillis> {
    let date = rfc2822::parse(text).ok()?;
    Some(UnixMillis(date.timestamp().as_millisecond()))
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;
    use tokio::net::TcpListener;

    use super::*;

    /// A source called `s` at this place.
    fn source(url: &str) -> Arc<Source> {
        let conf = format!(
            "listen: [{{address: \"127.0.0.1:0\"}}]\nauth: {{anonymous: true}}\n\
             sources:\n  s: {{backend: xians, api_key: sk-Xnai-1, url: \"{url}\"}}\n\
             routes: [{{path: /e, sources: [s]}}]\n"
        );
        let loaded = crate::config::parse(&conf, "c", std::path::Path::new("."), &|_| None);
        let config = loaded.unwrap_or_else(|errors| panic!("{errors}")).config;
        config.sources.first().expect("a source").clone()
    }

    #[test]
    fn a_lack_of_descriptors_is_no_fault_of_the_backend() {
        for (number, want) in [(Errno::EMFILE, true), (Errno::ENFILE, true), (Errno::EPIPE, false)]
        {
            let cause = std::io::Error::from_raw_os_error(number as i32);
            let error = pingora::Error::because(ErrorType::SocketError, "socket", cause);
            assert_eq!(is_out_of_descriptors(&error), want, "{number}");
            let outer = pingora::Error::because(ErrorType::ConnectError, "connect", error);
            assert_eq!(is_out_of_descriptors(&outer), want, "{number}");
        }
    }

    #[tokio::test]
    async fn every_address_of_a_name_is_tried() {
        let gone = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let closed = gone.local_addr().expect("an address");
        drop(gone);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let open = listener.local_addr().expect("an address");
        let source = source("http://backend.test:81");
        let resolved = |addresses: &[SocketAddr]| {
            let dialer = Dialer::new();
            let resolved = Resolved { addresses: addresses.to_vec(), at: clock::now() };
            let key = ("backend.test".to_owned(), 81);
            dialer.resolved.lock().expect("no poison").insert(key, resolved);
            dialer
        };
        let dialer = resolved(&[closed, open]);
        assert!(dialer.connect(&source, false).await.is_ok());
        // None answers: they are asked for anew the next time.
        let dialer = resolved(&[closed, closed]);
        assert_eq!(dialer.connect(&source, false).await.err(), Some(DownReason::Refused));
        assert!(dialer.resolved.lock().expect("no poison").is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_comes_byte_by_byte_ends_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let source = source(&format!("http://{}", listener.local_addr().expect("an address")));
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.expect("a connection");
            let mut is_there = socket.write_all(b"HTTP/1.1 200 OK\r\nX-Slow: ").await.is_ok();
            while is_there {
                tokio::time::sleep(Duration::from_secs(1)).await;
                is_there = socket.write_all(b"x").await.is_ok();
            }
        });
        let mut connection = Dialer::new().connect(&source, false).await.expect("a connection");
        let started = tokio::time::Instant::now();
        assert_eq!(connection.read_head().await.err(), Some(DownReason::Timeout));
        assert!(started.elapsed() >= HEAD_TIMEOUT);
    }

    #[tokio::test]
    async fn a_head_without_end_is_refused() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let source = source(&format!("http://{}", listener.local_addr().expect("an address")));
        tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.expect("a connection");
            let mut is_there = socket.write_all(b"HTTP/1.1 200 OK\r\n").await.is_ok();
            while is_there {
                is_there = socket.write_all(b"X-More: and more and more\r\n").await.is_ok();
            }
        });
        let mut connection = Dialer::new().connect(&source, false).await.expect("a connection");
        assert_eq!(connection.read_head().await.err(), Some(DownReason::Reset));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        assert_eq!(parse_retry_after("37"), Some(Duration::from_secs(37)));
        assert_eq!(parse_retry_after("0"), Some(Duration::ZERO));
        assert_eq!(parse_retry_after("Sun, 06 Nov 1994 08:49:37 GMT"), Some(Duration::ZERO));
        let future = parse_retry_after("Sat, 06 Nov 2094 08:49:37 GMT").expect("a pause");
        assert!(future > Duration::from_secs(3600));
        for text in ["", "soon", "-1", "1.5"] {
            assert_eq!(parse_retry_after(text), None, "{text}");
        }
    }

    #[test]
    fn parameters_of_a_content_type_are_ignored() {
        assert_eq!(essence("Text/Event-Stream;charset=utf-8"), "text/event-stream");
        assert_eq!(essence(""), "");
    }
}
