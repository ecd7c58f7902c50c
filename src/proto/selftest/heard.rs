//! What a client heard of a self-test, and when.

use crate::proto::json::Object;

/// An event that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    /// When it was sent, by the edge's clock: milliseconds since the test began.
    pub(super) sent_ms: u64,
    /// When it came, by the client's: milliseconds since it asked.
    pub(super) at_ms: u64,
    /// Bytes of its data.
    pub(super) bytes: usize,
}

/// How the answer ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It was over, or it broke: in words.
    Over(String),
    /// It neither went on nor ended; nobody waits any longer.
    Stalled,
}

/// Everything that was heard. To be filled as it comes.
#[derive(Clone, Debug, Default)]
pub struct Heard {
    pub(super) arrivals: Vec<Arrival>,
    pub(super) http: Option<String>,
    pub(super) via: Option<String>,
    pub(super) client_from: Option<String>,
    pub(super) has_last_event_id: bool,
    pub(super) heartbeat_secs: u64,
    /// The reason that the edge gave for the end.
    pub(super) reason: Option<String>,
    pub(super) ended: Option<(Ended, u64)>,
    /// `Content-Encoding` of the answer to somebody who takes any.
    pub(super) coding: Option<String>,
    pub(super) has_sent_last_event_id: bool,
}

impl Heard {
    /// Nothing yet. `coding`: how the answer was compressed, if it was; whether the request had a
    /// `Last-Event-ID`.
    #[must_use]
    pub fn new(coding: Option<String>, has_sent_last_event_id: bool) -> Self {
        Self { coding, has_sent_last_event_id, ..Self::default() }
    }

    /// An event came, so many milliseconds after the request. What is no event of a self-test
    /// counts for nothing.
    pub fn on_event(&mut self, name: &str, data: &str, at_ms: u64) {
        let Some(object) = Object::parse(data) else { return };
        let Some(sent_ms) = number(&object, "sentMs") else { return };
        match name {
            "begin" => {
                self.heartbeat_secs = number(&object, "heartbeatSeconds").unwrap_or(0);
                if let Some(request) = object.object("request") {
                    let text = |key| request.text(key).map(std::borrow::Cow::into_owned);
                    self.http = text("http");
                    self.via = text("via");
                    self.client_from = text("clientFrom");
                    self.has_last_event_id = request.bool("lastEventId").unwrap_or(false);
                }
            }
            "probe" => {}
            "end" => self.reason = object.text("reason").map(std::borrow::Cow::into_owned),
            _ => return,
        }
        self.arrivals.push(Arrival { sent_ms, at_ms, bytes: data.len() });
    }

    /// The answer is over, so many milliseconds after the request.
    pub fn on_ended(&mut self, ended: Ended, at_ms: u64) {
        self.ended.get_or_insert((ended, at_ms));
    }

    /// Whether the last event was heard.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.reason.is_some()
    }
}

fn number(object: &Object<'_>, key: &str) -> Option<u64> {
    object.int(key).and_then(|number| u64::try_from(number).ok())
}
