//! Every metric, in one struct, on one registry of our own.
//!
//! Labels come from closed sets only: routes and sources as configured, the words of the
//! vocabulary. Never a tenant, participant, key or path of a client. Series exist at 0 from the
//! start. Not here: the counters of one source (`sources`).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus::core::Collector;
use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

use super::cluster::ClusterMetrics;
use super::sources::{SourceMetrics, SourceVectors};
use super::tls::TlsMetrics;
use crate::proto::backend::Dialect;
use crate::proto::event::{DisconnectReason, GapReason, MessageType};
use crate::proto::time::UnixMillis;

/// Why a client stream ended, beyond the reasons that are told to the client.
const CLOSE_REASONS: &[&str] = &["client_gone", "write_timeout", "write_error"];

/// The statuses of answers of ours. What a backend answers to a call that is passed on may be
/// another, and is counted as it comes.
pub const ANSWER_CODES: &[u16] =
    &[200, 204, 400, 401, 403, 404, 405, 408, 413, 414, 429, 431, 502, 503, 504];

/// Seconds, from a fraction of a millisecond to a minute.
const LATENCY_BUCKETS: &[f64] =
    &[0.0001, 0.0005, 0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 60.0];
/// Seconds, from a bounce to a day.
const DURATION_BUCKETS: &[f64] =
    &[1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 14400.0, 43200.0, 86400.0];

/// What became of a fetch of an issuer's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JwksOutcome {
    /// They came.
    Success,
    /// No connection, no answer in time, or a broken one.
    Unreachable,
    /// A certificate that is not trusted, or no TLS at all.
    Tls,
    /// Another status than 200.
    BadStatus,
    /// More bytes or keys than any set has.
    TooLarge,
    /// No set of keys.
    Malformed,
    /// None of its keys can be used.
    NoneUsable,
}

impl JwksOutcome {
    const ALL: [Self; 7] = [
        Self::Success,
        Self::Unreachable,
        Self::Tls,
        Self::BadStatus,
        Self::TooLarge,
        Self::Malformed,
        Self::NoneUsable,
    ];

    /// As in metrics and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Unreachable => "unreachable",
            Self::Tls => "tls",
            Self::BadStatus => "bad_status",
            Self::TooLarge => "too_large",
            Self::Malformed => "malformed",
            Self::NoneUsable => "none_usable",
        }
    }
}

/// All metrics of the process.
pub struct Metrics {
    registry: Registry,
    /// Heartbeats written to clients.
    pub heartbeats_sent: IntCounter,
    /// Bytes of events written to clients.
    pub sent_bytes: IntCounter,
    /// From the last byte of a frame in to the last byte of its event out.
    pub event_latency: Histogram,
    /// How long client streams lived.
    pub stream_duration: Histogram,
    /// Logs of subscriptions in memory.
    pub channels: IntGauge,
    /// Bytes of events in those logs.
    pub ring_bytes: IntGauge,
    /// Events sent again to clients that came back.
    pub replay_events: IntCounter,
    /// Open connections of clients, whatever they are for.
    pub client_connections: IntGauge,
    /// TLS towards clients.
    pub tls: TlsMetrics,
    connections_refused: IntCounterVec,
    reloads: IntCounterVec,
    last_reload: IntGauge,
    is_last_reload_good: IntGauge,
    auth: IntCounterVec,
    jwks_refreshes: IntCounterVec,
    jwks_last_success: IntGaugeVec,
    jwks_keys: IntGaugeVec,
    rate_limit: IntCounterVec,
    rate_limit_keys: IntGaugeVec,
    gaps: IntCounterVec,
    replay_requests: IntCounterVec,
    slow_clients: IntCounterVec,
    http_requests: IntCounterVec,
    client_streams: IntGaugeVec,
    streams_opened: IntCounterVec,
    streams_closed: IntCounterVec,
    events_sent: IntCounterVec,
    events_redacted: IntCounterVec,
    sources: SourceVectors,
    by_route: Mutex<HashMap<String, Arc<RouteMetrics>>>,
    by_source: Mutex<HashMap<String, Arc<SourceMetrics>>>,
}

/// The series of one route.
pub struct RouteMetrics {
    /// Its path.
    pub path: String,
    /// Open client streams.
    pub streams: IntGauge,
    /// Opened from scratch.
    pub opened_fresh: IntCounter,
    /// Opened with a cursor that was taken up.
    pub opened_resumed: IntCounter,
    /// Message events in which something was redacted.
    pub redacted: IntCounter,
    events: Vec<IntCounter>,
    closed: IntCounterVec,
}

impl RouteMetrics {
    /// A message event was written to a client.
    pub fn on_event_sent(&self, message_type: MessageType) {
        if let Some(counter) = self.events.get(message_type as usize) {
            counter.inc();
        }
    }

    /// A client stream ended.
    pub fn on_closed(&self, reason: &str) {
        self.closed.with_label_values(&[self.path.as_str(), reason]).inc();
    }
}

impl Metrics {
    /// All metrics at 0.
    ///
    /// # Errors
    /// A name that is registered twice, which a test would have shown.
    #[expect(clippy::too_many_lines, reason = "a list, one entry a metric")]
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let build = Build { registry: &registry };
        let info =
            build.gauges("build_info", "Always 1; the labels say what runs.", &["version"])?;
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        let metrics = Self {
            heartbeats_sent: build
                .counter("heartbeats_sent_total", "Heartbeats written to clients.")?,
            sent_bytes: build.counter(
                "sent_bytes_total",
                "Bytes of stream bodies written to clients, heartbeats included.",
            )?,
            event_latency: build.histogram(
                "event_latency_seconds",
                "From the last byte of a frame in to the last byte of its event out.",
                LATENCY_BUCKETS,
            )?,
            stream_duration: build.histogram(
                "client_stream_duration_seconds",
                "How long client streams lived.",
                DURATION_BUCKETS,
            )?,
            channels: build.gauge("channels", "Logs of subscriptions in memory.")?,
            ring_bytes: build.gauge("ring_bytes", "Bytes of events in those logs.")?,
            replay_events: build
                .counter("replay_events_total", "Events sent again to clients that came back.")?,
            client_connections: build
                .gauge("client_connections", "Open connections of clients.")?,
            connections_refused: build.counters(
                "client_connections_refused_total",
                "Connections of clients that were closed at once.",
                &["reason"],
            )?,
            tls: TlsMetrics::new(&build)?,
            reloads: build.counters(
                "config_reloads_total",
                "Reloads of the configuration.",
                &["outcome"],
            )?,
            last_reload: build.gauge(
                "config_last_reload_success_timestamp_seconds",
                "When a configuration last came into force.",
            )?,
            is_last_reload_good: build.gauge(
                "config_last_reload_successful",
                "1 if the last configuration that was read came into force, 0 if it was refused.",
            )?,
            auth: build.counters(
                "auth_total",
                "Credentials looked at, by kind and outcome.",
                &["method", "outcome"],
            )?,
            jwks_refreshes: build.counters(
                "jwks_refresh_total",
                "Fetches of issuers' keys.",
                &["issuer", "outcome"],
            )?,
            jwks_last_success: build.gauges(
                "jwks_last_success_timestamp_seconds",
                "When an issuer's keys last came; 0 before they have.",
                &["issuer"],
            )?,
            jwks_keys: build.gauges(
                "jwks_keys",
                "Keys of an issuer that can be used.",
                &["issuer"],
            )?,
            rate_limit: build.counters(
                "rate_limit_total",
                "Requests that a limit was asked about.",
                &["policy", "outcome"],
            )?,
            rate_limit_keys: build.gauges(
                "rate_limit_keys",
                "Keys that a limit remembers.",
                &["policy"],
            )?,
            gaps: build.counters("gaps_total", "Gaps told to clients.", &["reason"])?,
            replay_requests: build.counters(
                "replay_requests_total",
                "Clients that came with a cursor.",
                &["outcome"],
            )?,
            slow_clients: build.counters(
                "slow_clients_total",
                "What was done about clients that read too slowly.",
                &["action"],
            )?,
            http_requests: build.counters(
                "http_requests_total",
                "Requests answered, by route and status.",
                &["route", "code"],
            )?,
            client_streams: build.gauges("client_streams", "Open client streams.", &["route"])?,
            streams_opened: build.counters(
                "client_streams_opened_total",
                "Client streams opened.",
                &["route", "resumed"],
            )?,
            streams_closed: build.counters(
                "client_streams_closed_total",
                "Client streams ended.",
                &["route", "reason"],
            )?,
            events_sent: build.counters(
                "events_sent_total",
                "Message events written to clients.",
                &["route", "event"],
            )?,
            events_redacted: build.counters(
                "events_redacted_total",
                "Message events in which something was redacted, counted once for a log.",
                &["route"],
            )?,
            sources: SourceVectors::new(&build)?,
            by_route: Mutex::default(),
            by_source: Mutex::default(),
            registry,
        };
        metrics.touch();
        metrics
            .registry
            .register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))?;
        Ok(metrics)
    }

    /// The series of a route, made at 0 on first use.
    pub fn route(&self, path: &str) -> Arc<RouteMetrics> {
        let mut routes = self.by_route.lock().unwrap_or_else(PoisonError::into_inner);
        routes.entry(path.to_owned()).or_insert_with(|| Arc::new(self.new_route(path))).clone()
    }

    /// The series of a source, made at 0 on first use.
    pub fn source(&self, name: &str, dialect: &'static Dialect) -> Arc<SourceMetrics> {
        let mut sources = self.by_source.lock().unwrap_or_else(PoisonError::into_inner);
        sources
            .entry(name.to_owned())
            .or_insert_with(|| Arc::new(self.sources.source(name, dialect)))
            .clone()
    }

    /// The series of a cluster, made at 0. To be asked for once.
    ///
    /// # Errors
    /// They were made before.
    pub fn cluster(&self) -> Result<ClusterMetrics, prometheus::Error> {
        ClusterMetrics::new(&Build { registry: &self.registry })
    }

    /// The first configuration is in force from this time on. It is no reload.
    pub fn on_start(&self, at: UnixMillis) {
        self.last_reload.set(at.0 / 1000);
        self.is_last_reload_good.set(1);
    }

    /// A configuration came into force at this time, or was refused.
    pub fn on_reload(&self, in_force_at: Option<UnixMillis>) {
        let outcome = if in_force_at.is_some() { "success" } else { "failure" };
        self.reloads.with_label_values(&[outcome]).inc();
        match in_force_at {
            Some(at) => self.on_start(at),
            None => self.is_last_reload_good.set(0),
        }
    }

    /// A request was answered. `route` is a configured path or `none`.
    pub fn on_request(&self, route: &str, code: u16) {
        self.http_requests.with_label_values(&[route, &code.to_string()]).inc();
    }

    /// Makes the series of a path exist that has no streams.
    pub fn touch_requests(&self, route: &str) {
        self.http_requests.with_label_values(&[route, "200"]);
    }

    /// A connection was closed at once.
    pub fn on_connection_refused(&self, reason: &str) {
        self.connections_refused.with_label_values(&[reason]).inc();
    }

    /// A credential was looked at.
    pub fn on_auth(&self, method: &str, outcome: &str) {
        self.auth.with_label_values(&[method, outcome]).inc();
    }

    /// Makes the series of an issuer that publishes its keys exist at 0.
    pub fn touch_jwks(&self, issuer: &str) {
        for outcome in JwksOutcome::ALL {
            self.jwks_refreshes.with_label_values(&[issuer, outcome.as_str()]);
        }
        self.jwks_last_success.with_label_values(&[issuer]);
        self.jwks_keys.with_label_values(&[issuer]);
    }

    /// Takes the series of an issuer away. A counter of what is gone would look stale for ever.
    pub fn forget_jwks(&self, issuer: &str) {
        for outcome in JwksOutcome::ALL {
            // It is not there if the issuer never was.
            self.jwks_refreshes.remove_label_values(&[issuer, outcome.as_str()]).ok();
        }
        self.jwks_last_success.remove_label_values(&[issuer]).ok();
        self.jwks_keys.remove_label_values(&[issuer]).ok();
    }

    /// An issuer was asked for its keys; so many are in use now.
    pub fn on_jwks(&self, issuer: &str, outcome: JwksOutcome, keys: usize, at: UnixMillis) {
        self.jwks_refreshes.with_label_values(&[issuer, outcome.as_str()]).inc();
        self.jwks_keys.with_label_values(&[issuer]).set(i64::try_from(keys).unwrap_or(i64::MAX));
        if outcome == JwksOutcome::Success {
            self.jwks_last_success.with_label_values(&[issuer]).set(at.0 / 1000);
        }
    }

    /// A limit was asked.
    pub fn on_limit(&self, policy: &str, outcome: &str, keys: usize) {
        self.rate_limit.with_label_values(&[policy, outcome]).inc();
        self.rate_limit_keys
            .with_label_values(&[policy])
            .set(i64::try_from(keys).unwrap_or(i64::MAX));
    }

    /// A gap was told.
    pub fn on_gap(&self, reason: GapReason) {
        self.gaps.with_label_values(&[reason.as_str()]).inc();
    }

    /// A client came with a cursor.
    pub fn on_replay(&self, outcome: &str) {
        self.replay_requests.with_label_values(&[outcome]).inc();
    }

    /// Something was done about a slow client.
    pub fn on_slow_client(&self, action: &str, count: u64) {
        self.slow_clients.with_label_values(&[action]).inc_by(count);
    }

    /// The Prometheus text form.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::new();
        // Writing to a string fails only for a metric without a name.
        if let Err(error) = TextEncoder::new().encode_utf8(&self.registry.gather(), &mut out) {
            log::error!(error:%; "metrics cannot be rendered");
        }
        out
    }

    /// Every family with its series, for the reference of them.
    #[cfg(test)]
    pub(super) fn families(&self) -> Vec<prometheus::proto::MetricFamily> {
        self.registry.gather()
    }

    fn new_route(&self, path: &str) -> RouteMetrics {
        for reason in DisconnectReason::ALL
            .iter()
            .map(|reason| reason.as_str())
            .chain(CLOSE_REASONS.iter().copied())
        {
            self.streams_closed.with_label_values(&[path, reason]);
        }
        for code in ANSWER_CODES {
            self.http_requests.with_label_values(&[path, &code.to_string()]);
        }
        RouteMetrics {
            path: path.to_owned(),
            streams: self.client_streams.with_label_values(&[path]),
            opened_fresh: self.streams_opened.with_label_values(&[path, "false"]),
            opened_resumed: self.streams_opened.with_label_values(&[path, "true"]),
            redacted: self.events_redacted.with_label_values(&[path]),
            events: MessageType::ALL
                .iter()
                .map(|message_type| {
                    self.events_sent.with_label_values(&[path, message_type.as_str()])
                })
                .collect(),
            closed: self.streams_closed.clone(),
        }
    }

    /// Makes the series of closed sets exist at 0.
    fn touch(&self) {
        for reason in ["total", "address", "proxy_protocol"] {
            self.connections_refused.with_label_values(&[reason]);
        }
        for outcome in ["success", "failure"] {
            self.reloads.with_label_values(&[outcome]);
        }
        for reason in GapReason::ALL {
            self.gaps.with_label_values(&[reason.as_str()]);
        }
        for outcome in ["replayed", "partial", "unknown"] {
            self.replay_requests.with_label_values(&[outcome]);
        }
        for action in ["skipped", "closed"] {
            self.slow_clients.with_label_values(&[action]);
        }
        for method in ["api_key", "jwt", "ticket", "cookie", "none"] {
            for outcome in ["accepted", "refused", "forbidden"] {
                self.auth.with_label_values(&[method, outcome]);
            }
        }
        for policy in ["address", "subject", "tenant"] {
            self.rate_limit_keys.with_label_values(&[policy]);
            for outcome in ["admitted", "refused"] {
                self.rate_limit.with_label_values(&[policy, outcome]);
            }
        }
    }
}

/// Makes metrics and registers them.
pub(super) struct Build<'r> {
    registry: &'r Registry,
}

impl Build<'_> {
    fn register<C: Collector + Clone + 'static>(&self, metric: C) -> Result<C, prometheus::Error> {
        self.registry.register(Box::new(metric.clone()))?;
        Ok(metric)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.register(IntCounter::with_opts(opts(name, help))?)
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.register(IntGauge::with_opts(opts(name, help))?)
    }

    pub(super) fn counters(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntCounterVec, prometheus::Error> {
        self.register(IntCounterVec::new(opts(name, help), labels)?)
    }

    pub(super) fn gauges(
        &self,
        name: &str,
        help: &str,
        labels: &[&str],
    ) -> Result<IntGaugeVec, prometheus::Error> {
        self.register(IntGaugeVec::new(opts(name, help), labels)?)
    }

    pub(super) fn histogram(
        &self,
        name: &str,
        help: &str,
        buckets: &[f64],
    ) -> Result<Histogram, prometheus::Error> {
        let opts = HistogramOpts::from(opts(name, help)).buckets(buckets.to_vec());
        self.register(Histogram::with_opts(opts)?)
    }
}

fn opts(name: &str, help: &str) -> Opts {
    Opts::new(format!("chatmux_{name}"), help)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::backend::{Discard, ROSTER};

    #[test]
    fn series_exist_at_zero_from_the_start() {
        let metrics = Metrics::new().expect("metrics");
        metrics.route("/events");
        for dialect in ROSTER {
            metrics.source("s", dialect);
        }
        let text = metrics.render();
        for line in [
            "chatmux_client_streams{route=\"/events\"} 0",
            "chatmux_client_streams_opened_total{resumed=\"true\",route=\"/events\"} 0",
            "chatmux_events_sent_total{event=\"Chat\",route=\"/events\"} 0",
            "chatmux_gaps_total{reason=\"restarted\"} 0",
            "chatmux_http_requests_total{code=\"429\",route=\"/events\"} 0",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        for discard in Discard::ALL {
            let line = format!(
                "chatmux_frames_discarded_total{{reason=\"{}\",source=\"s\"}} 0",
                discard.as_str()
            );
            assert!(text.contains(&line), "{line} is not in\n{text}");
        }
    }
}
