//! What the stream says of itself: no `id:` line, never replayed.
//!
//! Here: the control events and their words. Not here: when they are sent (`edge::client`,
//! `edge::hub`).

use super::{Subscription, Vocabulary};
use crate::proto::json::Fields;
use crate::proto::sse::write_event;
use crate::proto::time::UnixMillis;

/// A source as clients see it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SourceTag {
    /// Its name in the configuration.
    pub name: String,
    /// Its dialect.
    pub backend: &'static str,
}

/// One control event.
#[derive(Clone, Debug)]
pub enum Control {
    /// The stream is open.
    Connected {
        /// Whether a cursor was taken up.
        is_resumed: bool,
    },
    /// The stream ends; we end it.
    Disconnected(DisconnectReason),
    /// A source came up.
    SourceUp {
        /// Which.
        source: SourceTag,
        /// Whether it went on where it had stopped.
        is_resumed: bool,
    },
    /// A source was lost.
    SourceDown {
        /// Which.
        source: SourceTag,
        /// Why.
        reason: DownReason,
        /// When it is tried again.
        retry_secs: Option<u64>,
    },
    /// Sign of life.
    Heartbeat {
        /// Live client streams of the same subscription.
        subscriber_count: usize,
    },
    /// Events may be missing.
    Gap {
        /// Of which source; `None` = of the whole stream.
        source: Option<SourceTag>,
        /// Why.
        reason: GapReason,
        /// Since when.
        since: Option<UnixMillis>,
    },
}

macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Their words.
            pub const WORDS: &'static [&'static str] = &[$($word),+];

            /// As on the wire and in metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}

reasons!(
    /// Why chatmux itself ends a stream.
    DisconnectReason {
        /// The process is shutting down.
        Draining = "draining",
        /// The client reads too slowly.
        SlowConsumer = "slow_consumer",
        /// Its token has expired.
        TokenExpired = "token_expired",
        /// Its credential was taken away.
        Revoked = "revoked",
        /// It has lived long enough.
        MaxAge = "max_age",
        /// No source is left.
        SourcesEnded = "sources_ended",
    }
);

reasons!(
    /// Why a source is down.
    DownReason {
        /// Credentials were refused.
        Unauthorized = "unauthorized",
        /// The backend asks to wait.
        RateLimited = "rate_limited",
        /// Nobody listens there.
        Refused = "refused",
        /// The name does not resolve.
        Dns = "dns",
        /// No TLS session.
        Tls = "tls",
        /// No answer in time.
        Timeout = "timeout",
        /// An answer other than 200.
        BadStatus = "bad_status",
        /// 200, but no stream.
        BadContentType = "bad_content_type",
        /// The backend closed the stream.
        Closed = "closed",
        /// The connection broke.
        Reset = "reset",
        /// No sign of life.
        Silent = "silent",
        /// The conversation is over.
        Ended = "ended",
    }
);

reasons!(
    /// Why events may be missing.
    GapReason {
        /// The cursor is too old, unreadable or another's.
        CursorExpired = "cursor_expired",
        /// The node was restarted.
        Restarted = "restarted",
        /// The backend does not replay.
        UpstreamNoReplay = "upstream_no_replay",
        /// More came than could be kept.
        Overflow = "overflow",
    }
);

impl Control {
    /// The event's name on the wire.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Connected { .. } => "connected",
            Self::Disconnected(_) => "disconnected",
            Self::SourceUp { .. } => "source_up",
            Self::SourceDown { .. } => "source_down",
            Self::Heartbeat { .. } => "heartbeat",
            Self::Gap { .. } => "gap",
        }
    }

    /// Appends the event as it goes out; nothing where the vocabulary leaves it out.
    /// `minted` is the id that a `gap` takes in the `core` vocabulary.
    pub fn write(
        &self,
        out: &mut Vec<u8>,
        vocabulary: Vocabulary,
        subscription: &Subscription,
        now: UnixMillis,
        minted: impl FnOnce() -> String,
    ) {
        match (self, vocabulary) {
            (Self::SourceUp { .. } | Self::SourceDown { .. }, Vocabulary::Core)
            | (
                Self::Connected { .. }
                | Self::SourceUp { .. }
                | Self::SourceDown { .. }
                | Self::Gap { .. },
                Vocabulary::Raw,
            ) => {}
            (Self::Gap { source, .. }, Vocabulary::Core) => {
                self.write_core_gap(out, subscription, now, source.as_ref(), &minted());
            }
            (
                Self::Connected { .. } | Self::Disconnected(_) | Self::Heartbeat { .. },
                Vocabulary::Core,
            )
            | (Self::Disconnected(_) | Self::Heartbeat { .. }, Vocabulary::Raw)
            | (_, Vocabulary::Full) => {
                let json = self.json(subscription, now);
                write_event(out, self.name(), None, &json);
            }
        }
    }

    fn json(&self, subscription: &Subscription, now: UnixMillis) -> String {
        let mut json = Vec::with_capacity(160);
        let mut fields = Fields::open(&mut json);
        if let Self::Connected { .. } = self {
            fields.text("message", "Connected to message stream");
        }
        fields.text("timestamp", &now.to_string());
        match self {
            Self::Connected { is_resumed } => {
                fields.text("workflowId", &subscription.workflow_id);
                fields.text("participantId", &subscription.participant_id);
                fields.text("tenantId", &subscription.tenant_id);
                fields.bool("resumed", *is_resumed);
            }
            Self::Disconnected(reason) => fields.text("reason", reason.as_str()),
            Self::SourceUp { source, is_resumed } => {
                fields.nested("source", |fields| write_source(fields, source));
                fields.bool("resumed", *is_resumed);
            }
            Self::SourceDown { source, reason, retry_secs } => {
                fields.nested("source", |fields| write_source(fields, source));
                fields.text("reason", reason.as_str());
                if let Some(secs) = retry_secs {
                    fields.int("retryInSeconds", i64::try_from(*secs).unwrap_or(i64::MAX));
                }
            }
            Self::Heartbeat { subscriber_count } => {
                fields.int("subscriberCount", i64::try_from(*subscriber_count).unwrap_or(i64::MAX));
            }
            Self::Gap { source, reason, since } => {
                if let Some(source) = source {
                    fields.nested("source", |fields| write_source(fields, source));
                }
                fields.text("reason", reason.as_str());
                fields.maybe("since", since.map(|since| since.to_string()));
            }
        }
        fields.close();
        // Written from `str`s alone.
        String::from_utf8(json).unwrap_or_default()
    }

    /// A gap for clients that know no `gap`: a `Data` message.
    fn write_core_gap(
        &self,
        out: &mut Vec<u8>,
        subscription: &Subscription,
        now: UnixMillis,
        source: Option<&SourceTag>,
        id: &str,
    ) {
        let mut json = Vec::with_capacity(320);
        let mut fields = Fields::open(&mut json);
        fields.text("id", id);
        fields.text("workflowId", &subscription.workflow_id);
        fields.text("workflowType", &subscription.workflow_type);
        fields.text("participantId", &subscription.participant_id);
        fields.text("direction", "Outgoing");
        fields.text("messageType", "Data");
        fields.nested("data", |fields| {
            fields.text("kind", "gap");
            fields.raw("data", &self.json(subscription, now));
        });
        fields.text("createdAt", &now.to_string());
        fields.nested("source", |fields| {
            fields.text("name", source.map_or("chatmux", |source| &source.name));
            fields.text("backend", source.map_or("chatmux", |source| source.backend));
            fields.text("event", "gap");
        });
        fields.close();
        write_event(out, "Data", None, &String::from_utf8(json).unwrap_or_default());
    }
}

fn write_source(fields: &mut Fields<'_>, source: &SourceTag) {
    fields.text("name", &source.name);
    fields.text("backend", source.backend);
}

/// A refusal told inside a stream (`errors=event`).
pub fn write_refused(
    out: &mut Vec<u8>,
    code: u16,
    error: &str,
    message: &str,
    retry_secs: Option<u64>,
) {
    let mut json = Vec::with_capacity(160);
    let mut fields = Fields::open(&mut json);
    fields.int("code", i64::from(code));
    fields.text("error", error);
    fields.text("message", message);
    if let Some(secs) = retry_secs {
        fields.int("retryInSeconds", i64::try_from(secs).unwrap_or(i64::MAX));
    }
    fields.close();
    write_event(out, "refused", None, &String::from_utf8(json).unwrap_or_default());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(control: &Control, vocabulary: Vocabulary, want: &str) {
        let mut out = Vec::new();
        let subscription = Subscription::new("acme", "support", "jane");
        control.write(&mut out, vocabulary, &subscription, UnixMillis(0), || "m1".to_owned());
        assert_eq!(String::from_utf8(out).expect("text"), want);
    }

    fn desk() -> SourceTag {
        SourceTag { name: "desk".into(), backend: "openfire" }
    }

    #[test]
    fn control_events_have_no_id_line() {
        check(
            &Control::Heartbeat { subscriber_count: 2 },
            Vocabulary::Core,
            "event: heartbeat\ndata: {\"timestamp\":\"1970-01-01T00:00:00.000Z\",\"subscriberCount\":2}\n\n",
        );
        check(
            &Control::SourceDown {
                source: desk(),
                reason: DownReason::Refused,
                retry_secs: Some(2),
            },
            Vocabulary::Full,
            "event: source_down\ndata: {\"timestamp\":\"1970-01-01T00:00:00.000Z\",\"source\":{\"name\":\"desk\",\
             \"backend\":\"openfire\"},\"reason\":\"refused\",\"retryInSeconds\":2}\n\n",
        );
    }

    #[test]
    fn core_clients_see_gaps_as_data_and_no_sources() {
        check(&Control::SourceUp { source: desk(), is_resumed: false }, Vocabulary::Core, "");
        check(
            &Control::Gap { source: None, reason: GapReason::CursorExpired, since: None },
            Vocabulary::Core,
            "event: Data\ndata: {\"id\":\"m1\",\"workflowId\":\"acme:support\",\"workflowType\":\"support\",\
             \"participantId\":\"jane\",\"direction\":\"Outgoing\",\"messageType\":\"Data\",\"data\":{\"kind\":\"gap\",\
             \"data\":{\"timestamp\":\"1970-01-01T00:00:00.000Z\",\"reason\":\"cursor_expired\"}},\
             \"createdAt\":\"1970-01-01T00:00:00.000Z\",\"source\":{\"name\":\"chatmux\",\"backend\":\"chatmux\",\"event\":\"gap\"}}\n\n",
        );
    }
}
