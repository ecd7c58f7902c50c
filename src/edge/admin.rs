//! The operators' listener: `/metrics`, `/live`, `/ready`, `/streams`, `/streams/close`, `/console/`.
//!
//! No credentials, and participants only as a hash keyed per process. Only `/streams/close`
//! changes anything: it takes a key, or a loopback listener, and nothing that a web page could
//! send. Not here: what is counted (`telemetry`), the streams (`streams`), the page (`console`).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderValue, ORIGIN};
use http::{HeaderMap, Method, Response, StatusCode};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::channel::SourceState;
use super::console::{self, Console};
use super::digest::Digest as KeyDigest;
use super::gate::{Whose, key_in_header};
use super::proxy::Edge;
use super::readiness;
use crate::telemetry::{OPEN_METRICS, PROMETHEUS_TEXT, is_wanted, open_metrics};

/// A body that names one subject is smaller.
const BODY_BYTES_MAX: usize = 8 * 1024;
/// For the whole body.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers operators.
pub struct Admin {
    edge: Arc<Edge>,
    is_started: Arc<AtomicBool>,
    hash_key: [u8; 16],
    guard: Guard,
    console: Option<Console>,
}

/// Who may end streams.
enum Guard {
    /// Whoever has the key of this digest.
    Key(KeyDigest),
    /// Whoever is on this machine.
    Loopback,
    /// Nobody.
    Closed,
}

impl Admin {
    /// Of one edge. `is_started` turns true once clients can come in; `address` is where
    /// operators do.
    #[must_use]
    pub fn new(edge: Arc<Edge>, is_started: Arc<AtomicBool>, address: SocketAddr) -> Self {
        let sha256 = edge.config().admin.as_ref().and_then(|admin| admin.sha256);
        let guard = match sha256 {
            Some(sha256) => Guard::Key(KeyDigest::new(sha256)),
            None if address.ip().to_canonical().is_loopback() => Guard::Loopback,
            None => Guard::Closed,
        };
        Self { edge, is_started, hash_key: rand::random(), guard, console: None }
    }

    /// With the console page at `/console/`, which calls these listeners: URL and address.
    #[must_use]
    pub fn with_console(mut self, listen: &[(String, SocketAddr)]) -> Self {
        self.console = Some(Console::new(self.edge.clone(), listen));
        self
    }

    /// What the console answers, where there is one.
    fn console(&self, method: &Method, path: &str) -> Response<Vec<u8>> {
        let answer = self.console.as_ref().and_then(|console| console.answer(method, path));
        answer.unwrap_or_else(|| {
            let message = match self.console {
                Some(_) => "The console has no such file.",
                None => "There is no console: set admin.console to true.",
            };
            json_answer(StatusCode::NOT_FOUND, &json!({"error": "Not Found", "message": message}))
        })
    }

    /// Ends the streams that the body names.
    async fn close_streams(&self, session: &mut ServerSession) -> Result<Value, Denied> {
        let header = session.req_header();
        if header.method != Method::POST {
            return Err(Denied::method("POST"));
        }
        self.admit(&header.headers)?;
        let body = tokio::time::timeout(BODY_TIMEOUT, read_body(session)).await;
        let whose = body.ok().flatten().and_then(|body| Whose::parse(&body));
        let (closed, told) = self.edge.end_streams_everywhere(&whose.ok_or(Denied::BODY)?).await;
        log::info!(streams = closed; "streams closed by an operator");
        Ok(match told {
            None => json!({"closed": closed}),
            Some(is_told) => json!({"closed": closed, "otherNodesTold": is_told}),
        })
    }

    /// A web page can reach a loopback address too, by the browser of somebody who works here.
    /// It cannot send JSON without asking first, and says where it comes from.
    fn admit(&self, headers: &HeaderMap) -> Result<(), Denied> {
        let content_type = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        let essence = content_type.unwrap_or_default().split(';').next().unwrap_or_default();
        if headers.contains_key(ORIGIN) {
            return Err(Denied::PAGE);
        }
        match &self.guard {
            Guard::Key(digest) => {
                let shown = key_in_header(headers).ok_or(Denied::NO_KEY)?;
                if KeyDigest::of(&shown) != *digest {
                    return Err(Denied::NO_KEY);
                }
            }
            Guard::Loopback => {}
            Guard::Closed => return Err(Denied::CLOSED),
        }
        let is_json = essence.trim().eq_ignore_ascii_case("application/json");
        is_json.then_some(()).ok_or(Denied::MEDIA)
    }

    /// In the form that is asked for.
    fn metrics(&self, accept: &str) -> Response<Vec<u8>> {
        let text = self.edge.metrics().render();
        let (media, body) = if is_wanted(accept) {
            (OPEN_METRICS, open_metrics(&text))
        } else {
            (PROMETHEUS_TEXT, text)
        };
        answer(StatusCode::OK, media, body.into_bytes())
    }

    /// Whether clients should be sent here, and how all that this depends on is.
    pub(super) fn ready(&self) -> (bool, Value) {
        let reason = match () {
            () if self.edge.is_draining() => Some("draining"),
            () if !self.is_started.load(Ordering::SeqCst) => Some("starting"),
            () => None,
        };
        readiness::told(reason, &self.edge.config().routes, &self.edge.hub().health())
    }

    fn streams(&self) -> Value {
        let channels: Vec<_> = self
            .edge
            .hub()
            .channels()
            .iter()
            .map(|channel| {
                let subscription = &channel.subscription;
                let sources: BTreeMap<_, _> = channel
                    .sources()
                    .into_iter()
                    .map(|standing| (standing.tag.name, state_word(standing.state)))
                    .collect();
                json!({
                    "route": channel.route,
                    "tenantId": subscription.tenant_id,
                    "workflow": subscription.workflow_type,
                    "participant": self.hashed(&subscription.participant_id),
                    "clientStreams": channel.listeners(),
                    "sources": sources,
                })
            })
            .collect();
        let counts = self.edge.hub().counts();
        json!({
            "clientStreams": self.edge.open_streams(),
            "upstreamStreams": counts.upstreams,
            "logs": counts.channels,
            "channels": channels,
        })
    }

    fn hashed(&self, participant: &str) -> String {
        let mut hash = Sha256::new();
        hash.update(self.hash_key);
        hash.update(participant.as_bytes());
        hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Why an operator's request is not done.
struct Denied {
    status: StatusCode,
    message: &'static str,
    allow: Option<&'static str>,
}

impl Denied {
    const PAGE: Self = Self::new(StatusCode::FORBIDDEN, "Send this without a web page.");
    const CLOSED: Self = Self::new(
        StatusCode::FORBIDDEN,
        "Put admin.sha256 into the conf, or the admin listener on a loopback address.",
    );
    const NO_KEY: Self = Self::new(
        StatusCode::UNAUTHORIZED,
        "Send the admin key in the header Authorization (Bearer) or X-API-Key.",
    );
    const MEDIA: Self =
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "Send Content-Type: application/json.");
    const BODY: Self = Self::new(
        StatusCode::BAD_REQUEST,
        "Send a JSON object of texts: subject (with or without issuer), key, or participantId \
         with tenantId. Where several are there, all must be right.",
    );

    const fn new(status: StatusCode, message: &'static str) -> Self {
        Self { status, message, allow: None }
    }

    const fn method(allow: &'static str) -> Self {
        let status = StatusCode::METHOD_NOT_ALLOWED;
        Self { allow: Some(allow), ..Self::new(status, "Use the method that Allow names.") }
    }

    fn answer(&self) -> Response<Vec<u8>> {
        let error = self.status.canonical_reason().unwrap_or_default();
        let body = json!({"error": error, "message": self.message});
        let mut response = json_answer(self.status, &body);
        if let Some(allow) = self.allow {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

/// The body, if it is no larger than it may be.
async fn read_body(session: &mut ServerSession) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(chunk) = session.read_request_body().await.ok()? {
        if body.len() + chunk.len() > BODY_BYTES_MAX {
            return None;
        }
        body.extend_from_slice(&chunk);
    }
    Some(body)
}

const fn state_word(state: SourceState) -> &'static str {
    match state {
        SourceState::Starting => "connecting",
        SourceState::Up => "up",
        SourceState::Down(reason) => reason.as_str(),
        SourceState::Ended => "ended",
    }
}

#[async_trait]
impl ServeHttp for Admin {
    async fn response(&self, session: &mut ServerSession) -> Response<Vec<u8>> {
        match session.req_header().uri.path() {
            "/metrics" => {
                let accept = session.req_header().headers.get(http::header::ACCEPT);
                self.metrics(accept.and_then(|accept| accept.to_str().ok()).unwrap_or_default())
            }
            "/live" => json_answer(StatusCode::OK, &json!({"live": true})),
            "/ready" => {
                let (is_ready, told) = self.ready();
                let failed = StatusCode::SERVICE_UNAVAILABLE;
                json_answer(if is_ready { StatusCode::OK } else { failed }, &told)
            }
            "/streams" => json_answer(StatusCode::OK, &self.streams()),
            "/streams/close" => match self.close_streams(session).await {
                Ok(closed) => json_answer(StatusCode::OK, &closed),
                Err(denied) => denied.answer(),
            },
            path if path.starts_with(console::PATH) => {
                self.console(&session.req_header().method, path)
            }
            _ => json_answer(
                StatusCode::NOT_FOUND,
                &json!({
                    "error": "Not Found",
                    "message": "This listener has /metrics, /live, /ready, /streams, /streams/close \
                                and, if admin.console is true, /console/.",
                }),
            ),
        }
    }
}

fn json_answer(status: StatusCode, body: &Value) -> Response<Vec<u8>> {
    answer(status, "application/json", body.to_string().into_bytes())
}

fn answer(status: StatusCode, content_type: &'static str, body: Vec<u8>) -> Response<Vec<u8>> {
    let mut response = Response::new(Vec::new());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_LENGTH, HeaderValue::from(body.len()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    *response.body_mut() = body;
    response
}
