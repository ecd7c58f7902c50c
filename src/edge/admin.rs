//! The operators' listener: `/metrics`, `/live`, `/ready`, `/streams`.
//!
//! No credentials, and participants only as a hash keyed per process. Not here: what is
//! counted (`telemetry`).

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use http::{Response, StatusCode};
use pingora::apps::http_app::ServeHttp;
use pingora::protocols::http::ServerSession;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::channel::SourceState;
use super::proxy::Edge;
use crate::telemetry::{OPEN_METRICS, PROMETHEUS_TEXT, is_wanted, open_metrics};

/// Answers operators.
pub struct Admin {
    edge: Arc<Edge>,
    is_started: Arc<AtomicBool>,
    hash_key: [u8; 16],
}

impl Admin {
    /// Of one edge. `is_started` turns true once clients can come in.
    #[must_use]
    pub fn new(edge: Arc<Edge>, is_started: Arc<AtomicBool>) -> Self {
        Self { edge, is_started, hash_key: rand::random() }
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

    /// Whether clients should be sent here, and why not.
    pub(super) fn ready(&self) -> Result<(), Value> {
        if self.edge.is_draining() {
            return Err(json!({"ready": false, "reason": "draining"}));
        }
        if !self.is_started.load(Ordering::SeqCst) {
            return Err(json!({"ready": false, "reason": "starting"}));
        }
        let failing = self.edge.hub().failing_sources();
        let config = self.edge.config();
        for route in &config.routes {
            let names: Vec<_> = route.sources.iter().map(|source| source.name.as_str()).collect();
            if names.iter().all(|name| failing.contains(*name)) {
                let reason = "every source of a route has failed repeatedly";
                return Err(json!({
                    "ready": false, "reason": reason, "route": route.path, "sources": names,
                }));
            }
        }
        Ok(())
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
            "/ready" => match self.ready() {
                Ok(()) => json_answer(StatusCode::OK, &json!({"ready": true})),
                Err(why) => json_answer(StatusCode::SERVICE_UNAVAILABLE, &why),
            },
            "/streams" => json_answer(StatusCode::OK, &self.streams()),
            _ => json_answer(
                StatusCode::NOT_FOUND,
                &json!({
                    "error": "Not Found",
                    "message": "This listener has /metrics, /live, /ready and /streams.",
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
    headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(content_type));
    headers.insert(http::header::CONTENT_LENGTH, http::HeaderValue::from(body.len()));
    headers.insert(http::header::CACHE_CONTROL, http::HeaderValue::from_static("no-store"));
    *response.body_mut() = body;
    response
}
