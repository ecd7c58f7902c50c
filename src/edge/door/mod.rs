//! The way in of a connection, before anything of Pingora's reads from it.
//!
//! Whoever comes is counted, and refused where too many are there (`entrance`); a PROXY header is
//! taken off; where the listener has certificates, TLS begins, within bounds of ours; each HTTP/1.x request head is read here under a limit of bytes, fields and time
//! (`head`) and only then handed on. Pingora alone would wait a minute for every byte and take a
//! mebibyte of them. HTTP/2 is handed on once its preface is there, with limits of its own. Not
//! here: listeners (`server`), what is asked for (`gate`).

mod entrance;
mod head;
mod replayed;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::{BufMut as _, BytesMut};
use http::HeaderMap;
use pingora::apps::{HttpPersistentSettings, HttpServerApp as _, HttpServerOptions, ServerApp};
use pingora::protocols::http::ServerSession;
use pingora::protocols::http::v2::server::H2Options;
use pingora::protocols::l4::stream::Stream as Socket;
use pingora::protocols::{ALPN, GetSocketDigest as _, Stream};
use pingora::proxy::{HttpProxy, http_proxy};
use pingora::server::ShutdownWatch;
use pingora::server::configuration::ServerConf;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::timeout;

use self::head::{Outcome, Patience};
use self::replayed::Replayed;
use super::cors;
use super::filters::Proxy;
use super::proxy::{Edge, http_date};
use super::refusal::Refusal;
use super::tls::Slot;

pub(crate) use entrance::connections_max;
pub(super) use entrance::{Crowd, Entrance};

/// How a client of HTTP/2 begins (RFC 9113, 3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection without a request is closed after this: the first of its requests, or another.
const IDLE: Duration = Duration::from_secs(60);
/// For the answer to a head that is refused.
const ANSWER: Duration = Duration::from_secs(5);
/// So much of what a refused client still sends is read, lest it miss the answer.
const LINGER_BYTES_MAX: u64 = 1 << 20;

/// Streams of one HTTP/2 connection at once: what RFC 9113 recommends at least.
pub(crate) const H2_STREAMS_MAX: u32 = 100;
/// Streams that a client has reset before they were looked at. More of them end the connection.
const H2_RESET_STREAMS_MAX: usize = 20;
/// Streams ended for the client's errors. More of them end the connection.
const H2_ERROR_STREAMS_MAX: usize = 100;
/// What waits for a slow reader of one stream.
const H2_SEND_BUFFER: usize = 256 * 1024;

/// Serves the connections of listeners that are alike.
pub(super) struct Door {
    edge: Arc<Edge>,
    proxy: Arc<HttpProxy<Proxy>>,
    entrance: Arc<Entrance>,
    /// The listeners, by the addresses that they are bound to, and their certificates.
    listeners: Vec<(SocketAddr, Option<Arc<Slot>>)>,
    /// HTTP/2 by prior knowledge is taken where TLS has not negotiated a version.
    is_h2c: bool,
    /// Connections that wait for another request are closed.
    closing: watch::Sender<bool>,
}

impl Door {
    pub(super) fn new(
        edge: Arc<Edge>,
        conf: &Arc<ServerConf>,
        entrance: Arc<Entrance>,
        listeners: Vec<(SocketAddr, Option<Arc<Slot>>)>,
        is_h2c: bool,
    ) -> Self {
        let mut options = HttpServerOptions::default();
        // Only connections of HTTP/2 get as far as Pingora's own choice of versions.
        options.h2c = true;
        options.h2_idle_timeout = Some(IDLE);
        let mut proxy = http_proxy(conf, Proxy(edge.clone()));
        proxy.server_options = Some(options);
        proxy.h2_options = Some(h2_options());
        let (proxy, closing) = (Arc::new(proxy), watch::Sender::new(false));
        Self { edge, proxy, entrance, listeners, is_h2c, closing }
    }

    /// The certificates of the listener that a socket came by, if it has any; `None` = it is not
    /// known which that was.
    fn certificates(&self, socket: &Socket) -> Option<Option<&Arc<Slot>>> {
        let listener = if let [only] = self.listeners.as_slice() {
            only
        } else {
            let digest = socket.get_socket_digest()?;
            let local = digest.local_addr()?.as_inet()?;
            let is_it = |at: &SocketAddr| at.ip().to_canonical() == local.ip().to_canonical();
            let ports = || self.listeners.iter().filter(|(at, _)| at.port() == local.port());
            ports()
                .find(|(at, _)| is_it(at))
                .or_else(|| ports().find(|(at, _)| at.ip().is_unspecified()))?
        };
        Some(listener.1.as_ref())
    }

    fn patience(&self) -> Patience {
        Patience { idle: IDLE, head: self.edge.config().timeouts.head }
    }

    /// Serves HTTP/1.x, one request after the other.
    async fn serve_http1(&self, mut stream: Stream, mut early: BytesMut, shutdown: &ShutdownWatch) {
        let mut settings: Option<HttpPersistentSettings> = None;
        loop {
            let mut closing = self.closing.subscribe();
            let read = tokio::select! {
                biased;
                read = head::read(&mut stream, early, self.patience()) => read,
                // Between two requests; a first one that is on its way is answered.
                _ = closing.wait_for(|is_closing| *is_closing), if settings.is_some() => return,
            };
            let head = match read {
                Outcome::Head(head) => head,
                Outcome::Gone => return,
                Outcome::Refused(refusal, head) => {
                    return self.refuse(stream, &refusal, &head).await;
                }
            };
            let mut session = ServerSession::new_http1(stream);
            match settings.take() {
                Some(settings) => settings.apply_to_session(&mut session),
                None => session.set_keepalive(Some(IDLE.as_secs())),
            }
            if *shutdown.borrow() {
                session.set_keepalive(None);
            }
            session.set_pipelined_prefix(head);
            let Some(reused) = self.proxy.process_new_http(session, shutdown).await else {
                return;
            };
            (stream, settings) = reused.consume();
            early = BytesMut::new();
        }
    }

    /// Serves HTTP/2. As soon as the process is to leave, the client is told (GOAWAY): its open
    /// streams go on to their ends, and it opens others on another connection, which comes to
    /// whoever listens by then. On this one they would only be refused.
    async fn serve_http2(&self, stream: Stream, mut shutdown: ShutdownWatch) {
        let (leave, leaving) = watch::channel(false);
        let mut serve = pin!(ServerApp::process_new(&self.proxy, stream, &leaving));
        tokio::select! {
            _ended = &mut serve => return,
            () = self.edge.leaving() => {}
            _ = shutdown.wait_for(|is_shutting_down| *is_shutting_down) => {}
        }
        leave.send_replace(true);
        serve.await;
    }

    /// Answers a head that is not taken, and closes the connection.
    async fn refuse(&self, mut stream: Stream, refusal: &Refusal, head: &[u8]) {
        let answer = refusal.answer();
        self.edge.metrics().on_request("none", answer.status.as_u16());
        let mut asked = HeaderMap::new();
        for origin in head::origins(head) {
            asked.append(http::header::ORIGIN, origin);
        }
        let reason = answer.status.canonical_reason().unwrap_or_default();
        let mut bytes = BytesMut::with_capacity(1024);
        bytes.put_slice(format!("HTTP/1.1 {} {reason}\r\n", answer.status.as_u16()).as_bytes());
        let fixed = [
            ("x-request-id", format!("{:016x}", rand::random::<u64>())),
            ("date", http_date()),
            ("content-length", answer.body.len().to_string()),
            ("connection", "close".to_owned()),
        ];
        let fixed = fixed.iter().map(|(name, value)| (*name, value.as_bytes()));
        let cors = cors::answer_headers(&self.edge.config().cors, &asked);
        let named = answer.headers.iter().chain(&cors);
        let named = named.map(|(name, value)| (name.as_str(), value.as_bytes()));
        for (name, value) in fixed.chain(named) {
            bytes.put_slice(name.as_bytes());
            bytes.put_slice(b": ");
            bytes.put_slice(value);
            bytes.put_slice(b"\r\n");
        }
        bytes.put_slice(b"\r\n");
        if !head.starts_with(b"HEAD ") {
            bytes.put_slice(&answer.body);
        }
        let write = async {
            stream.write_all(&bytes).await?;
            stream.flush().await?;
            AsyncWriteExt::shutdown(&mut stream).await?;
            // Closed with bytes unread, the socket would be reset and the answer lost.
            tokio::io::copy(&mut stream.take(LINGER_BYTES_MAX), &mut tokio::io::sink()).await
        };
        // A client that has left has no use for the answer.
        let _is_read = timeout(ANSWER, write).await.is_ok();
    }

    /// Whether it begins as HTTP/2 does, and what was read to know it; `None` if that takes too
    /// long. Pingora's reader would wait for ever.
    async fn read_preface(&self, stream: &mut Stream) -> Option<(bool, BytesMut)> {
        let mut early = BytesMut::with_capacity(head::BUFFER);
        let read = async {
            loop {
                let (start, want) = early.split_at(early.len().min(PREFACE.len()));
                if !PREFACE.starts_with(start) {
                    return Some(false);
                }
                if start.len() == PREFACE.len() || !want.is_empty() {
                    return Some(true);
                }
                if stream.read_buf(&mut early).await.ok()? == 0 {
                    return None;
                }
            }
        };
        let is_http2 = timeout(self.patience().head, read).await.ok()??;
        Some((is_http2, early))
    }
}

#[async_trait]
impl ServerApp for Door {
    async fn process_new(
        self: &Arc<Self>,
        stream: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        let mut socket = stream.into_any().downcast::<Socket>().ok()?;
        self.entrance.enter(&mut socket).await.ok()?;
        let mut stream: Stream = match self.certificates(&socket)? {
            Some(certificates) => certificates.accept(*socket, self.patience().head).await.ok()?,
            None => socket,
        };
        let is_negotiated = matches!(stream.selected_alpn_proto(), Some(ALPN::H2));
        let (is_http2, early) = if is_negotiated || self.is_h2c {
            self.read_preface(&mut stream).await?
        } else {
            (false, BytesMut::new())
        };
        if is_http2 {
            self.serve_http2(Box::new(Replayed::new(stream, early)), shutdown.clone()).await;
        } else if !is_negotiated {
            self.serve_http1(stream, early, shutdown).await;
        }
        None
    }

    async fn cleanup(&self) {
        self.closing.send_replace(true);
        self.proxy.http_cleanup().await;
    }
}

fn h2_options() -> H2Options {
    let mut options = H2Options::default();
    options
        .max_concurrent_streams(H2_STREAMS_MAX)
        .max_header_list_size(u32::try_from(head::BYTES_MAX).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(H2_RESET_STREAMS_MAX)
        .max_local_error_reset_streams(Some(H2_ERROR_STREAMS_MAX))
        .max_send_buffer_size(H2_SEND_BUFFER);
    options
}
