//! The events of a self-test as they stand on the wire. They are no events of the vocabulary:
//! the self-test is another stream.

use super::plan::{Plan, Step};
use crate::proto::event::words;
use crate::proto::json::Fields;
use crate::proto::sse::write_event;
use crate::proto::time::UnixMillis;

/// The version of this form.
const VERSION: i64 = 1;
/// Of what a request said, no more than this is repeated.
const ECHO_CHARS_MAX: usize = 200;
/// A browser must not take the end of the test for a loss: it would begin anew. An hour.
const RETRY_MILLIS: u64 = 3_600_000;

/// Whom the edge took for the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientFrom {
    /// Whoever holds the connection, or was named by a PROXY header.
    Connection,
    /// Whom the header of a trusted proxy names.
    Header,
    /// Whoever holds the connection: a header names another, but its sender is not trusted.
    Ignored,
}

words!(ClientFrom { Connection = "connection", Header = "header", Ignored = "ignored" });

/// A version of HTTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.0.
    V1_0,
    /// HTTP/1.1.
    V1_1,
    /// HTTP/2.
    V2,
}

words!(HttpVersion { V1_0 = "1.0", V1_1 = "1.1", V2 = "2" });

/// What the edge saw of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct About {
    /// How the last hop speaks.
    pub http: HttpVersion,
    /// `Accept-Encoding`.
    pub accept_encoding: Option<String>,
    /// `Via`.
    pub via: Option<String>,
    /// Whom it took for the client.
    pub client_from: ClientFrom,
    /// Whether `Last-Event-ID` came along.
    pub has_last_event_id: bool,
    /// The heartbeat that a stream would have.
    pub heartbeat_secs: u64,
}

/// How a self-test ended, if the edge ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndReason {
    /// All was sent.
    Done,
    /// The process goes away.
    Draining,
    /// The credential is over.
    TokenExpired,
    /// An operator, or a reload, has ended it.
    Revoked,
}

words!(EndReason {
    Done = "done",
    Draining = "draining",
    TokenExpired = "token_expired",
    Revoked = "revoked",
});

/// Appends `begin`, the first event.
pub fn write_begin(out: &mut Vec<u8>, plan: &Plan, about: &About, wall: UnixMillis) {
    crate::proto::sse::write_retry(out, RETRY_MILLIS);
    write(out, "begin", 0, |fields| {
        fields.text("timestamp", &wall.to_string());
        fields.int("version", VERSION);
        fields.int("probes", int(plan.steps().len()));
        fields.int("idleSeconds", int(plan.idle_secs()));
        fields.int("takesMs", int(plan.takes().as_millis()));
        fields.int("heartbeatSeconds", int(about.heartbeat_secs));
        fields.nested("request", |fields| {
            fields.text("http", about.http.as_str());
            fields.maybe("acceptEncoding", about.accept_encoding.as_deref().map(cut));
            fields.maybe("via", about.via.as_deref().map(cut));
            fields.text("clientFrom", about.client_from.as_str());
            fields.bool("lastEventId", about.has_last_event_id);
        });
    });
}

/// Appends a probe. `number` counts from 1, `sent_ms` from the first byte of the test.
pub fn write_probe(out: &mut Vec<u8>, number: usize, sent_ms: u64, step: &Step) {
    write(out, "probe", sent_ms, |fields| {
        fields.int("number", int(number));
        fields.text("phase", step.phase.as_str());
        fields.int("nextMs", int(step.pause.as_millis()));
        if step.padding > 0 {
            // What repeats would be squeezed to nothing by whatever compresses.
            let padding: String = (0..step.padding).map(|at| digit(number, at)).collect();
            fields.text("padding", &padding);
        }
    });
}

/// Appends `end`, the last event.
pub fn write_end(out: &mut Vec<u8>, sent_ms: u64, reason: EndReason) {
    write(out, "end", sent_ms, |fields| fields.text("reason", reason.as_str()));
}

fn write(out: &mut Vec<u8>, name: &str, sent_ms: u64, fill: impl FnOnce(&mut Fields<'_>)) {
    let mut data = Vec::with_capacity(256);
    let mut fields = Fields::open(&mut data);
    fields.int("sentMs", int(sent_ms));
    fill(&mut fields);
    fields.close();
    write_event(out, name, None, &String::from_utf8_lossy(&data));
}

/// A digit that follows from where it stands and looks like chance.
fn digit(number: usize, at: usize) -> char {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    let seed = (number as u64).wrapping_shl(32) ^ at as u64;
    // The mixing step of SplitMix64.
    let mixed = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    DIGITS.get((mixed >> 60) as usize).copied().unwrap_or('0')
}

fn cut(text: &str) -> String {
    text.chars().take(ECHO_CHARS_MAX).collect()
}

fn int(number: impl TryInto<i64>) -> i64 {
    number.try_into().unwrap_or(i64::MAX)
}
