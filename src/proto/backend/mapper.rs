//! From frame to events, with every frame accounted for.
//!
//! [`Mapper`] holds the session of one upstream stream and one subscription. For each frame it
//! says [`Verdict::Mapped`] or [`Verdict::Discarded`], never both, never neither; that is the
//! conservation law. Not here: what a frame means (the dialects), how an event looks (`event`).

use std::borrow::Cow;
use std::sync::Arc;

use super::dialect::SessionValues;
use super::history::PastKeys;
use crate::proto::event::{Event, EventId, Part, Payload, Subscription};
use crate::proto::json;
use crate::proto::time::UnixMillis;

/// One frame.
#[derive(Clone, Copy, Debug)]
pub struct Input<'a> {
    /// The backend's name for it.
    pub event: &'a str,
    /// Its data.
    pub data: &'a str,
}

/// What a session starts from.
pub struct SessionStart<'a> {
    /// Whose stream it is.
    pub subscription: Arc<Subscription>,
    /// What the plan resolved for the session (`Plan::values`).
    pub values: &'a SessionValues,
    /// Salt for content hashes.
    pub seed: u64,
}

/// The memory of one upstream stream, for one subscription. No I/O, no clock, no logging.
pub trait Session: Send {
    /// Turns one frame into one or more events, emitted in order.
    ///
    /// # Errors
    /// Why the frame gives none. On `Err` nothing was emitted and the session is still usable:
    /// one bad frame never ends a stream.
    fn on_frame(&mut self, input: Input<'_>, out: &mut Outbox<'_>) -> Result<(), Reject>;

    /// Turns an entry of the history into events, unless the stream told it before. `part` is
    /// what it was found under, empty for none.
    ///
    /// # Errors
    /// Why the entry gives none; as for frames.
    fn on_past(
        &mut self,
        _part: &str,
        _entry: Input<'_>,
        _out: &mut Outbox<'_>,
    ) -> Result<(), Reject> {
        Err(Reject::Discard(Discard::Filtered, "the backend has no history"))
    }

    /// Parts of the history that are kept apart and were seen on the stream.
    fn past_keys(&self) -> PastKeys {
        PastKeys::all([])
    }

    /// The time, before what came at it. Only for dialects that tell repeats by time.
    fn on_time(&mut self, _now: UnixMillis) {}

    /// The backend has told what nobody knew when the session began (`Credential::told`).
    fn on_grant(&mut self, _values: &SessionValues) {}

    /// The backend says that the conversation is gone (HTTP 404 of a poll, say). Emits at most
    /// one event.
    fn on_gone(&mut self, _out: &mut Outbox<'_>) {}

    /// Whether the conversation is over for good: the source ends, nothing is dialled again.
    fn is_over(&self) -> bool {
        false
    }

    /// The upstream stream was lost and is open again: what was learnt of the old one's frames
    /// no longer holds.
    fn on_reopened(&mut self) {}

    /// Whether a client's `scope` filter looks at all events of this backend, and so hides
    /// those that name no scope.
    fn has_scopes(&self) -> bool {
        false
    }

    /// The same stream for another subscription: what was learnt of the stream itself is kept.
    fn fork(&self, start: &SessionStart<'_>) -> Box<dyn Session>;
}

/// Takes the events of one frame and numbers them.
pub struct Outbox<'s> {
    sink: &'s mut dyn FnMut(Event<'_>),
    emitted: u32,
    handoffs: u32,
}

impl<'s> Outbox<'s> {
    /// An outbox for one frame.
    pub fn new(sink: &'s mut dyn FnMut(Event<'_>)) -> Self {
        Self { sink, emitted: 0, handoffs: 0 }
    }

    /// Sends an event on: the first keeps its id, the next become `<id>.2`, `<id>.3`.
    pub fn emit(&mut self, mut event: Event<'_>) {
        self.emitted += 1;
        event.id.part = if self.emitted == 1 { Part::First } else { Part::Nth(self.emitted) };
        (self.sink)(event);
    }

    /// Sends a hand-over that was derived from the frame: `<id>.handoff`.
    pub fn emit_handoff(&mut self, mut event: Event<'_>) {
        self.handoffs += 1;
        event.id.part = Part::Handoff(self.handoffs);
        (self.sink)(event);
    }

    const fn count(&self) -> u32 {
        self.emitted + self.handoffs
    }
}

macro_rules! discards {
    ($($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)?) => {
        /// Why a frame gave no event. These are metric labels.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Discard { $($(#[$doc])* $variant,)+ }

        impl Discard {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// As in metrics.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word),+ }
            }
        }
    };
}

discards!(
    /// Seen before.
    Duplicate = "duplicate",
    /// A better copy came before.
    Shadowed = "shadowed",
    /// Somebody else's.
    Foreign = "foreign",
    /// Says nothing that clients are told.
    Filtered = "filtered",
    /// Its name is not in the dialect's table.
    Unmapped = "unmapped",
    /// Not the shape its name promises.
    Malformed = "malformed",
    /// Larger than the limit.
    Oversize = "oversize",
    /// A sign of life.
    Liveness = "liveness",
    /// About the upstream stream itself.
    Control = "control",
);

/// Why a session gave no event for a frame.
#[derive(Clone, Debug)]
pub enum Reject {
    /// Counted and dropped. The text says why, for `--explain`.
    Discard(Discard, &'static str),
    /// The name is not in the dialect's table; the source's `unmapped` decides.
    Unmapped {
        /// The conversation, if it was read.
        conversation_id: Option<String>,
    },
    /// Not the shape its name promises; the source's `malformed` decides.
    Malformed {
        /// What is wrong, for `--explain`.
        why: &'static str,
        /// The conversation, if it was read.
        conversation_id: Option<String>,
        /// What to show in place of the frame's data (a decoded stanza).
        body: Option<String>,
    },
    /// Broken, and its owner cannot be read: dropped whatever the source says, since it may be
    /// somebody else's.
    Ownerless(&'static str),
}

impl Reject {
    /// Broken, nothing of it was read.
    #[must_use]
    pub const fn malformed(why: &'static str) -> Self {
        Self::Malformed { why, conversation_id: None, body: None }
    }
}

/// What becomes of frames without a mapping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Keep {
    /// They leave as `Raw`.
    Raw,
    /// They are counted and dropped.
    Drop,
}

/// A source's `unmapped` and `malformed`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Policy {
    /// For names that are not in the table.
    pub unmapped: Keep,
    /// For broken frames.
    pub malformed: Keep,
}

impl Default for Policy {
    fn default() -> Self {
        Self { unmapped: Keep::Raw, malformed: Keep::Drop }
    }
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It gave at least one event.
    Mapped {
        /// Left as `Raw`, and why.
        raw: Option<Discard>,
    },
    /// It gave none.
    Discarded(Discard, &'static str),
}

/// One subscription's view of one upstream stream.
pub struct Mapper {
    session: Box<dyn Session>,
    policy: Policy,
}

impl Mapper {
    /// Starts with a session of the dialect.
    #[must_use]
    pub const fn new(session: Box<dyn Session>, policy: Policy) -> Self {
        Self { session, policy }
    }

    /// The same upstream stream for another subscription.
    #[must_use]
    pub fn fork(&self, start: &SessionStart<'_>) -> Self {
        Self { session: self.session.fork(start), policy: self.policy }
    }

    /// Maps one frame. Hot path: runs once per frame.
    pub fn on_frame(&mut self, input: Input<'_>, sink: &mut dyn FnMut(Event<'_>)) -> Verdict {
        let is_scoped = self.session.has_scopes();
        let mut sink = |mut event: Event<'_>| {
            event.is_scoped = is_scoped;
            sink(event);
        };
        let mut out = Outbox::new(&mut sink);
        let reject = match self.session.on_frame(input, &mut out) {
            Ok(()) if out.count() > 0 => return Verdict::Mapped { raw: None },
            Ok(()) => Reject::Discard(Discard::Filtered, "nothing in it to tell"),
            Err(reject) => reject,
        };
        let (keep, discard, why, conversation_id, body) = match reject {
            Reject::Discard(discard, why) => return Verdict::Discarded(discard, why),
            Reject::Ownerless(why) => return Verdict::Discarded(Discard::Malformed, why),
            Reject::Unmapped { conversation_id } => (
                self.policy.unmapped,
                Discard::Unmapped,
                "not in the dialect's table",
                conversation_id,
                None,
            ),
            Reject::Malformed { why, conversation_id, body } => {
                (self.policy.malformed, Discard::Malformed, why, conversation_id, body)
            }
        };
        match keep {
            Keep::Drop => Verdict::Discarded(discard, why),
            Keep::Raw => {
                out.emit(raw(input, conversation_id, body.as_deref()));
                Verdict::Mapped { raw: Some(discard) }
            }
        }
    }

    /// Maps one entry of the history. What gives no event is dropped, whatever the policy.
    pub fn on_past(
        &mut self,
        part: &str,
        entry: Input<'_>,
        sink: &mut dyn FnMut(Event<'_>),
    ) -> Verdict {
        let is_scoped = self.session.has_scopes();
        let mut sink = |mut event: Event<'_>| {
            event.is_scoped = is_scoped;
            sink(event);
        };
        let mut out = Outbox::new(&mut sink);
        match self.session.on_past(part, entry, &mut out) {
            Ok(()) if out.count() > 0 => Verdict::Mapped { raw: None },
            Ok(()) => Verdict::Discarded(Discard::Filtered, "nothing in it to tell"),
            Err(Reject::Discard(discard, why)) => Verdict::Discarded(discard, why),
            Err(Reject::Unmapped { .. }) => {
                Verdict::Discarded(Discard::Unmapped, "not in the dialect's table")
            }
            Err(Reject::Malformed { why, .. } | Reject::Ownerless(why)) => {
                Verdict::Discarded(Discard::Malformed, why)
            }
        }
    }

    /// Parts of the history that are kept apart and were seen on the stream.
    #[must_use]
    pub fn past_keys(&self) -> PastKeys {
        self.session.past_keys()
    }

    /// Whether events of this backend are told apart by scope, and its history too.
    #[must_use]
    pub fn has_scopes(&self) -> bool {
        self.session.has_scopes()
    }

    /// The time, before what came at it.
    pub fn on_time(&mut self, now: UnixMillis) {
        self.session.on_time(now);
    }

    /// The backend has told what nobody knew when the session began.
    pub fn on_grant(&mut self, values: &SessionValues) {
        self.session.on_grant(values);
    }

    /// The backend says that the conversation is gone.
    pub fn on_gone(&mut self, sink: &mut dyn FnMut(Event<'_>)) {
        let is_scoped = self.session.has_scopes();
        let mut sink = |mut event: Event<'_>| {
            event.is_scoped = is_scoped;
            sink(event);
        };
        self.session.on_gone(&mut Outbox::new(&mut sink));
    }

    /// The upstream stream was lost and is open again.
    pub fn on_reopened(&mut self) {
        self.session.on_reopened();
    }

    /// Whether the conversation is over for good.
    #[must_use]
    pub fn is_over(&self) -> bool {
        self.session.is_over()
    }
}

/// The frame as it is.
fn raw<'a>(input: Input<'a>, conversation_id: Option<String>, body: Option<&'a str>) -> Event<'a> {
    let name = if input.event.is_empty() { "unknown" } else { input.event };
    let text = body.unwrap_or(input.data);
    let body = match json::value(text) {
        Some(value) if body.is_none() => Cow::Borrowed(value.get()),
        _ => {
            let mut quoted = Vec::new();
            json::write_text(&mut quoted, text);
            Cow::Owned(String::from_utf8(quoted).unwrap_or_default())
        }
    };
    let mut event = Event::new(name, Payload::Raw { event: Cow::Borrowed(name), body });
    event.id = EventId::minted();
    event.conversation_id = conversation_id.map(Cow::Owned);
    event
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rejects as its event name says.
    struct Scripted;

    impl Session for Scripted {
        fn on_frame(&mut self, input: Input<'_>, out: &mut Outbox<'_>) -> Result<(), Reject> {
            match input.event {
                "two" => {
                    out.emit(Event::new("two", Payload::Data("1".into())));
                    out.emit_handoff(Event::new("two", Payload::Data("h".into())));
                    out.emit(Event::new("two", Payload::Data("2".into())));
                    Ok(())
                }
                "broken" => Err(Reject::malformed("broken")),
                "ownerless" => Err(Reject::Ownerless("no owner")),
                "nothing" => Ok(()),
                _ => Err(Reject::Unmapped { conversation_id: Some("c".into()) }),
            }
        }

        fn fork(&self, _: &SessionStart<'_>) -> Box<dyn Session> {
            Box::new(Self)
        }
    }

    #[track_caller]
    fn check(policy: Policy, event: &str, data: &str, want: Verdict, want_events: &[&str]) {
        let mut events = Vec::new();
        let mut mapper = Mapper::new(Box::new(Scripted), policy);
        let got = mapper.on_frame(Input { event, data }, &mut |event| {
            events.push(match &event.payload {
                Payload::Raw { event, body } => format!("{event} {body}"),
                _ => format!("{:?}", event.id.part),
            });
        });
        assert_eq!(got, want);
        assert_eq!(events, want_events);
    }

    #[test]
    fn every_frame_is_mapped_or_discarded() {
        let both_raw = Policy { unmapped: Keep::Raw, malformed: Keep::Raw };
        let both_drop = Policy { unmapped: Keep::Drop, malformed: Keep::Drop };
        let mapped = Verdict::Mapped { raw: None };
        check(both_raw, "two", "", mapped, &["First", "Handoff(1)", "Nth(2)"]);
        check(
            both_raw,
            "x",
            "{\"a\": 1.0}",
            Verdict::Mapped { raw: Some(Discard::Unmapped) },
            &["x {\"a\": 1.0}"],
        );
        check(
            both_raw,
            "",
            "a\"b",
            Verdict::Mapped { raw: Some(Discard::Unmapped) },
            &["unknown \"a\\\"b\""],
        );
        check(
            both_raw,
            "broken",
            "{",
            Verdict::Mapped { raw: Some(Discard::Malformed) },
            &["broken \"{\""],
        );
        check(both_raw, "ownerless", "{", Verdict::Discarded(Discard::Malformed, "no owner"), &[]);
        check(both_drop, "broken", "{", Verdict::Discarded(Discard::Malformed, "broken"), &[]);
        let unmapped = Verdict::Discarded(Discard::Unmapped, "not in the dialect's table");
        check(both_drop, "x", "", unmapped, &[]);
        let filtered = Verdict::Discarded(Discard::Filtered, "nothing in it to tell");
        check(both_raw, "nothing", "", filtered, &[]);
    }

    /// A session whose backend has scopes.
    struct Scoped;

    impl Session for Scoped {
        fn on_frame(&mut self, input: Input<'_>, out: &mut Outbox<'_>) -> Result<(), Reject> {
            if input.event == "odd" {
                return Err(Reject::Unmapped { conversation_id: None });
            }
            out.emit(Event::new("x", Payload::Data("1".into())));
            Ok(())
        }

        fn has_scopes(&self) -> bool {
            true
        }

        fn fork(&self, _: &SessionStart<'_>) -> Box<dyn Session> {
            Box::new(Self)
        }
    }

    #[test]
    fn all_events_of_a_backend_with_scopes_are_scoped() {
        for (session, want) in
            [(Box::new(Scoped) as Box<dyn Session>, true), (Box::new(Scripted), false)]
        {
            let mut mapper = Mapper::new(session, Policy::default());
            for event in ["two", "odd"] {
                let mut seen = Vec::new();
                mapper
                    .on_frame(Input { event, data: "{}" }, &mut |event| seen.push(event.is_scoped));
                assert!(
                    !seen.is_empty() && seen.iter().all(|is_scoped| *is_scoped == want),
                    "{event}"
                );
            }
        }
    }
}
