//! Where the sources of a log stand, and what a client has seen of them in a log of another epoch.
//!
//! A process that was restarted, another node, a log whose linger was over: the client's cursor
//! has a mark for each source. Histories are read from these marks on and put into the new log,
//! a little more than was missed; each reader passes over what its own marks say it has seen. So
//! clients that were at different places share one log. Not here: the ring (`channel`), reading
//! histories (`edge::upstream`).

use super::cursor::{Cursor, Mark, Trace};
use super::event::{Label, MessageType};
use super::time::UnixMillis;

/// A cursor that is older is as good as none: what it asks for is no interruption but a history,
/// and a forged one must not make backends tell years of it.
pub const RESUME_AGE_MILLIS_MAX: i64 = 24 * 60 * 60 * 1000;

/// How a log stands with a source.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// How far it was told.
    pub(super) mark: Mark,
    pub(super) state: State,
    /// Everything after this moment is in the log, or was.
    pub(super) whole_since: UnixMillis,
    /// Its backend replays from this id on, and has no other history.
    pub(super) replays_from: Option<Box<str>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It was not up yet, and tells nothing of the past.
    Starting,
    /// What was missed will be asked for when it comes up.
    Wanted,
    /// Its backend replays what was before this moment.
    Replaying { before: UnixMillis },
    /// What it tells is new.
    Live,
}

impl Place {
    pub(super) const fn new(mark: Mark) -> Self {
        let whole_since = UnixMillis(i64::MAX);
        Self { mark, state: State::Starting, whole_since, replays_from: None }
    }

    /// Whether a client with this mark gets everything after it.
    fn reaches(&self, mark: Mark) -> bool {
        match self.state {
            State::Starting => false,
            State::Wanted => true,
            State::Replaying { .. } | State::Live => mark.at >= self.whole_since,
        }
    }
}

impl Mark {
    /// One more event was told.
    pub(super) fn advance(&mut self, label: &Label) {
        if label.message_type.is_ephemeral() {
            return;
        }
        self.at = self.at.max(label.at);
        self.is_exact = is_kept(label.message_type);
        if self.is_exact {
            self.last = Some(label.trace);
        }
        self.has_parts |= label.scope.as_deref().is_some_and(|scope| !scope.is_empty());
    }
}

/// Whether histories keep events of this type. Where one does not, times decide in its place.
const fn is_kept(message_type: MessageType) -> bool {
    match message_type {
        MessageType::Chat
        | MessageType::Data
        | MessageType::Handoff
        | MessageType::Participant
        | MessageType::Status
        | MessageType::File
        | MessageType::Form
        | MessageType::Reasoning
        | MessageType::Tool
        | MessageType::Webhook => true,
        MessageType::Typing
        | MessageType::Receipt
        | MessageType::Presence
        | MessageType::Token
        | MessageType::Progress
        | MessageType::Invite
        | MessageType::Call
        | MessageType::Signal
        | MessageType::Notice
        | MessageType::Raw => false,
    }
}

/// An event of the log, as far as it is looked at here.
#[derive(Clone, Copy)]
pub(super) struct Told<'a> {
    pub(super) sequence: u64,
    pub(super) source: usize,
    pub(super) is_restored: bool,
    pub(super) label: &'a Label,
}

/// A reader that was elsewhere before.
#[derive(Clone, Debug)]
pub(super) struct Returning {
    /// What stands before it in the log is compared with the marks.
    pub(super) until: u64,
    /// It has no cursor: nothing of before its time is told.
    pub(super) is_new: bool,
    seats: Vec<Seat>,
    replay_ids: Vec<(usize, String)>,
}

#[derive(Clone, Debug)]
struct Seat {
    from: Mark,
    now: Mark,
    cut: Cut,
}

/// Up to where a source was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cut {
    Unknown,
    /// Up to this event, which the mark names.
    At(u64),
    /// The event is not there: up to the mark's time.
    ByTime,
}

impl Returning {
    /// A client without a cursor.
    pub(super) fn fresh(sources: usize, now: UnixMillis) -> Self {
        let seat = Seat::new(Mark::since(now));
        Self { until: 0, is_new: true, seats: vec![seat; sources], replay_ids: Vec::new() }
    }

    /// A client with a cursor, and the sources that cannot be resumed from it. Nothing was told
    /// after `wall`, the time now, whatever the cursor says.
    pub(super) fn new(
        cursor: &Cursor,
        until: u64,
        places: &[Place],
        wall: UnixMillis,
    ) -> (Self, Vec<usize>) {
        let mut lost = Vec::new();
        let mut seats = Vec::with_capacity(places.len());
        for (source, place) in places.iter().enumerate() {
            let mark = cursor.mark(source).map(|mark| Mark { at: mark.at.min(wall), ..mark });
            if !mark.is_some_and(|mark| place.reaches(mark)) {
                lost.push(source);
            }
            let mut seat = Seat::new(mark.unwrap_or(place.mark));
            if place.replays_from.as_deref().is_some_and(|id| cursor.replay_id(source) == Some(id))
            {
                // All that is replayed came after it.
                seat.from = Mark::since(UnixMillis(0));
            }
            seats.push(seat);
        }
        (Self { until, is_new: false, seats, replay_ids: cursor.replay_ids.clone() }, lost)
    }

    /// Whether the reader has not seen this event. `find` looks for the mark's event among what
    /// was restored of the source.
    pub(super) fn wants(&mut self, told: Told<'_>, find: impl FnOnce(Mark) -> Option<u64>) -> bool {
        let Some(seat) = self.seats.get_mut(told.source) else {
            return true;
        };
        let is_compared = told.is_restored || told.sequence < self.until;
        if is_compared && seat.has_seen(told, self.is_new, find) {
            return false;
        }
        seat.now.advance(told.label);
        true
    }

    /// The marks of the reader's own cursor.
    pub(super) fn marks(&self) -> Vec<Mark> {
        self.seats.iter().map(|seat| seat.now).collect()
    }

    /// The ids of the reader's own cursor.
    pub(super) fn replay_ids(&self) -> &[(usize, String)] {
        &self.replay_ids
    }

    /// A source was told up to an event with this id.
    pub(super) fn set_replay_id(&mut self, source: usize, id: &str) {
        self.replay_ids.retain(|(of, _)| *of != source);
        self.replay_ids.push((source, id.to_owned()));
    }
}

impl Seat {
    const fn new(mark: Mark) -> Self {
        Self { from: mark, now: mark, cut: Cut::Unknown }
    }

    fn has_seen(
        &mut self,
        told: Told<'_>,
        is_new: bool,
        find: impl FnOnce(Mark) -> Option<u64>,
    ) -> bool {
        if self.cut == Cut::Unknown {
            self.cut = find(self.from).map_or(Cut::ByTime, Cut::At);
        }
        let label = told.label;
        match self.cut {
            Cut::At(sequence) if told.sequence <= sequence => true,
            // Of the kinds that histories may leave out, some came after the last that is named.
            Cut::At(_) if !self.from.is_exact && !is_kept(label.message_type) => {
                label.at <= self.from.at
            }
            Cut::At(_) => false,
            Cut::ByTime | Cut::Unknown => {
                // What is replayed comes bit by bit: the event may turn up yet.
                if self.from.last == Some(label.trace) && label.at == self.from.at {
                    self.cut = Cut::At(told.sequence);
                }
                // A mark without an event is of our clock. A backend that counts in seconds has
                // told nothing yet of what lies in the second that was running.
                let is_second = label.at.0 % 1000 == 0 && is_kept(label.message_type);
                let is_open = is_second && self.from.last.is_none();
                let at = label.at.0 + if is_open { 999 } else { 0 };
                // Of the moment in which a new client came, all is news: better once too often.
                if is_new { at < self.from.at.0 } else { at <= self.from.at.0 }
            }
        }
    }
}

/// Of events with this trace, the one whose time is nearest to the mark's: people say the same
/// thing twice.
pub(super) fn nearest<'a>(
    mark: Mark,
    events: impl Iterator<Item = (u64, &'a Label)>,
) -> Option<u64> {
    let trace: Trace = mark.last?;
    let same = events.filter(|(_, label)| label.trace == trace && is_kept(label.message_type));
    let nearest = same.min_by_key(|(_, label)| label.at.0.abs_diff(mark.at.0));
    nearest.map(|(sequence, _)| sequence)
}
