//! The access line: what one client stream was.
//!
//! Fields are fields of the record, so that a machine finds them without reading prose. Nobody
//! stands in it in the clear. Not here: how a line is written down (`cli::log`), other lines,
//! which stand where their reason is known.

use std::time::Duration;

use log::kv::{ToValue as _, Value};
use log::{Level, Record};

use crate::proto::trace::Trace;

/// What lines of ended streams go by, for whoever wants them elsewhere or not at all.
pub const ACCESS: &str = "chatmux::access";

/// A client stream has ended.
#[derive(Clone, Copy, Debug)]
pub struct StreamEnded<'a> {
    /// The `X-Request-Id` of its answer.
    pub request_id: &'a str,
    /// The trace that its request belonged to.
    pub trace: Option<Trace>,
    /// The route's path.
    pub route: &'a str,
    /// The label of a key or a hash of a token's subject.
    pub subject: &'a str,
    /// Why.
    pub reason: &'static str,
    /// How long it was open.
    pub lived: Duration,
    /// Message events written.
    pub events: u64,
    /// Bytes of events written.
    pub bytes: u64,
}

impl StreamEnded<'_> {
    /// Writes the line.
    pub fn emit(&self) {
        if !log::log_enabled!(target: ACCESS, Level::Info) {
            return;
        }
        let trace = self.trace.map(|trace| trace.to_string());
        // To the millisecond: what is below says nothing of a stream.
        let duration_secs = (self.lived.as_secs_f64() * 1000.0).round() / 1000.0;
        let mut fields = vec![
            ("request_id", Value::from(self.request_id)),
            ("route", Value::from(self.route)),
            ("subject", Value::from(self.subject)),
            ("reason", Value::from(self.reason)),
            ("duration_secs", duration_secs.to_value()),
            ("events", self.events.to_value()),
            ("bytes", self.bytes.to_value()),
        ];
        fields.extend(trace.as_deref().map(|trace| ("trace_id", Value::from(trace))));
        let fields = fields.as_slice();
        let mut record = Record::builder();
        record.level(Level::Info).target(ACCESS).key_values(&fields);
        log::logger().log(&record.args(format_args!("stream ended")).build());
    }
}
