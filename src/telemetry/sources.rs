//! The counters of one source, and the conservation law between them.
//!
//! For each source, at every moment: received = mapped + discarded by reason. Every frame passes
//! [`SourceMetrics::on_frame`] exactly once, and that is the only place that counts.

use std::collections::HashMap;

use prometheus::{Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

use super::metrics::Build;
use crate::proto::backend::{Dialect, Discard, Verdict};
use crate::proto::event::{DownReason, MessageType};

/// States of an upstream stream, as in metrics.
const STATES: &[&str] = &["connecting", "open", "waiting", "ended"];

/// What became of a call for a credential.
const CREDENTIALS: &[&str] =
    &["obtained", "renewed", "refused", "absent", "rate_limited", "failed"];

/// The vectors that sources take their series from.
pub(super) struct SourceVectors {
    received: IntCounterVec,
    mapped: IntCounterVec,
    discarded: IntCounterVec,
    raw: IntCounterVec,
    published: IntCounterVec,
    streams: IntGaugeVec,
    connects: IntCounterVec,
    disconnects: IntCounterVec,
    polls: IntCounterVec,
    credentials: IntCounterVec,
    past: IntCounterVec,
    last_byte: IntGaugeVec,
    connect_duration: Histogram,
}

impl SourceVectors {
    pub(super) fn new(build: &Build<'_>) -> Result<Self, prometheus::Error> {
        Ok(Self {
            received: build.counters(
                "frames_received_total",
                "Frames received; event is a name of the dialect's table, or other.",
                &["source", "event"],
            )?,
            mapped: build.counters(
                "frames_mapped_total",
                "Frames that gave at least one event.",
                &["source", "event"],
            )?,
            discarded: build.counters(
                "frames_discarded_total",
                "Frames that gave none, by reason.",
                &["source", "reason"],
            )?,
            raw: build.counters(
                "frames_raw_total",
                "Frames that left as Raw (mapped, too), by what kept them from a mapping.",
                &["source", "reason"],
            )?,
            published: build.counters(
                "events_published_total",
                "Events that frames gave.",
                &["source", "event"],
            )?,
            streams: build.gauges(
                "upstream_streams",
                "Upstream streams by state.",
                &["source", "state"],
            )?,
            connects: build.counters(
                "upstream_connects_total",
                "Attempts to open an upstream stream, by outcome.",
                &["source", "outcome"],
            )?,
            disconnects: build.counters(
                "upstream_disconnects_total",
                "Upstream streams lost, by reason.",
                &["source", "reason"],
            )?,
            polls: build.counters(
                "upstream_polls_total",
                "Polls answered, by outcome.",
                &["source", "outcome"],
            )?,
            credentials: build.counters(
                "upstream_credentials_total",
                "Log-ins, mintings and renewals of credentials, by outcome.",
                &["source", "outcome"],
            )?,
            past: build.counters(
                "history_events_total",
                "Entries of histories read after a loss, by outcome; they are no frames.",
                &["source", "outcome"],
            )?,
            last_byte: build.gauges(
                "upstream_last_byte_timestamp_seconds",
                "When the source last sent a byte.",
                &["source"],
            )?,
            connect_duration: build.histogram(
                "upstream_connect_duration_seconds",
                "From dialling to the answer's head.",
                &[0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0],
            )?,
        })
    }

    pub(super) fn source(&self, name: &str, dialect: &'static Dialect) -> SourceMetrics {
        let events = dialect.events.iter().copied().chain(["other"]);
        for outcome in DownReason::ALL.iter().map(|reason| reason.as_str()).chain(["ok"]) {
            self.connects.with_label_values(&[name, outcome]);
        }
        for reason in DownReason::ALL {
            self.disconnects.with_label_values(&[name, reason.as_str()]);
        }
        for outcome in ["events", "empty", "failed"] {
            self.polls.with_label_values(&[name, outcome]);
        }
        for outcome in CREDENTIALS {
            self.credentials.with_label_values(&[name, outcome]);
        }
        SourceMetrics {
            name: name.to_owned(),
            received: events
                .clone()
                .map(|event| (event, self.received.with_label_values(&[name, event])))
                .collect(),
            mapped: events
                .map(|event| (event, self.mapped.with_label_values(&[name, event])))
                .collect(),
            discarded: Discard::ALL
                .iter()
                .map(|reason| self.discarded.with_label_values(&[name, reason.as_str()]))
                .collect(),
            raw_unmapped: self.raw.with_label_values(&[name, Discard::Unmapped.as_str()]),
            raw_malformed: self.raw.with_label_values(&[name, Discard::Malformed.as_str()]),
            published: MessageType::ALL
                .iter()
                .map(|message_type| {
                    self.published.with_label_values(&[name, message_type.as_str()])
                })
                .collect(),
            states: STATES
                .iter()
                .map(|state| (*state, self.streams.with_label_values(&[name, state])))
                .collect(),
            connects: self.connects.clone(),
            disconnects: self.disconnects.clone(),
            polls: self.polls.clone(),
            credentials: self.credentials.clone(),
            past_told: self.past.with_label_values(&[name, "told"]),
            past_duplicate: self.past.with_label_values(&[name, "duplicate"]),
            past_discarded: self.past.with_label_values(&[name, "discarded"]),
            last_byte: self.last_byte.with_label_values(&[name]),
            connect_duration: self.connect_duration.clone(),
        }
    }
}

/// The series of one source.
pub struct SourceMetrics {
    name: String,
    received: HashMap<&'static str, IntCounter>,
    mapped: HashMap<&'static str, IntCounter>,
    discarded: Vec<IntCounter>,
    raw_unmapped: IntCounter,
    raw_malformed: IntCounter,
    published: Vec<IntCounter>,
    states: HashMap<&'static str, IntGauge>,
    connects: IntCounterVec,
    disconnects: IntCounterVec,
    polls: IntCounterVec,
    credentials: IntCounterVec,
    past_told: IntCounter,
    past_duplicate: IntCounter,
    past_discarded: IntCounter,
    last_byte: IntGauge,
    connect_duration: Histogram,
}

impl SourceMetrics {
    /// A frame came and this became of it. Hot path: runs once per frame.
    pub fn on_frame(&self, event: &str, verdict: Verdict) {
        inc(&self.received, event);
        match verdict {
            Verdict::Mapped { raw } => {
                inc(&self.mapped, event);
                match raw {
                    Some(Discard::Malformed) => self.raw_malformed.inc(),
                    Some(_) => self.raw_unmapped.inc(),
                    None => {}
                }
            }
            Verdict::Discarded(reason, _) => {
                if let Some(counter) = self.discarded.get(reason as usize) {
                    counter.inc();
                }
            }
        }
    }

    /// A frame gave an event.
    pub fn on_event(&self, message_type: MessageType) {
        if let Some(counter) = self.published.get(message_type as usize) {
            counter.inc();
        }
    }

    /// An attempt to open the stream succeeded, or failed for a reason.
    pub fn on_connect(&self, outcome: Result<(), DownReason>, took_secs: f64) {
        let outcome = outcome.err().map_or("ok", DownReason::as_str);
        self.connects.with_label_values(&[self.name.as_str(), outcome]).inc();
        self.connect_duration.observe(took_secs);
    }

    /// An open stream was lost.
    pub fn on_disconnect(&self, reason: DownReason) {
        self.disconnects.with_label_values(&[self.name.as_str(), reason.as_str()]).inc();
    }

    /// A poll was answered: `events`, `empty` or `failed`.
    pub fn on_poll(&self, outcome: &str) {
        self.polls.with_label_values(&[self.name.as_str(), outcome]).inc();
    }

    /// A credential was asked for, and this became of it.
    pub fn on_credential(&self, outcome: &str) {
        self.credentials.with_label_values(&[self.name.as_str(), outcome]).inc();
    }

    /// An entry of a history was read, and this became of it.
    pub fn on_past(&self, verdict: Verdict) {
        match verdict {
            Verdict::Mapped { .. } => self.past_told.inc(),
            Verdict::Discarded(Discard::Duplicate, _) => self.past_duplicate.inc(),
            Verdict::Discarded(..) => self.past_discarded.inc(),
        }
    }

    /// A byte came.
    pub fn on_byte(&self, unix_secs: i64) {
        self.last_byte.set(unix_secs);
    }

    /// One upstream stream went from one state to another; the empty word is none.
    pub fn on_state(&self, from: &str, to: &str) {
        if let Some(gauge) = self.states.get(from) {
            gauge.dec();
        }
        if let Some(gauge) = self.states.get(to) {
            gauge.inc();
        }
    }
}

fn inc(counters: &HashMap<&'static str, IntCounter>, event: &str) {
    if let Some(counter) = counters.get(event).or_else(|| counters.get("other")) {
        counter.inc();
    }
}
