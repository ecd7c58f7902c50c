//! What all dialects share: open streams, recorded requests, waiting faults, counts.
//!
//! One lock per backend ([`Shared::with`]); every change is published as a [`Snapshot`], so that
//! tests wait for facts. Not here: sockets, and what a frame means.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::sync::{mpsc, watch};

use crate::scripted::{
    clock::Ids,
    conversation::{Audience, Conversation, Step},
    fault::{Armed, Fault},
    http::{Request, Response},
    options::Options,
};

/// Recorded requests kept; the oldest are forgotten first.
pub const MAX_REQUESTS: usize = 10_000;
/// Frames that can be sent again.
const MAX_RECENT: usize = 64;
/// What may wait for one stream that is not read; past that it is dropped, uncounted.
pub const MAX_OUTBOX: usize = 65_536;

/// What is true of a backend at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Whether new connections are taken.
    pub listening: bool,
    /// Connections taken so far.
    pub connections: u64,
    /// Connections open now.
    pub open_connections: usize,
    /// Requests read so far.
    pub requests: u64,
    /// Streams opened (and polls held) so far.
    pub streams_opened: u64,
    /// Streams whose client is still there.
    pub live_streams: usize,
    /// Streams the backend itself believes in: Openfire notices a loss only when it beats.
    pub believed_streams: usize,
    /// Polls held now.
    pub held_polls: usize,
    /// Polls answered so far.
    pub polls_answered: u64,
    /// Frames written whole, heartbeat events included; elements of poll answers. Raw bytes and
    /// bare line breaks are none.
    pub frames_sent: u64,
    /// Scripts that have been played to their end.
    pub scripts_done: u64,
}

/// A frame of the dialect, or an element of a poll answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Frame {
    /// Event name; for Bright Pattern it stands in `data` and is only counted by here.
    pub event: String,
    /// What stands after `data:`; line breaks make several `data:` lines.
    pub data: String,
    /// The `id:`, where the dialect has one; given by the backend where this is `None`.
    pub id: Option<String>,
}

impl Frame {
    /// A frame without an id of its own.
    pub fn new(event: impl Into<String>, data: impl Into<String>) -> Self {
        Self { event: event.into(), data: data.into(), id: None }
    }

    /// The same with this `id:`.
    #[must_use]
    pub fn id(mut self, id: impl Into<String>) -> Self {
        self.id = Some(id.into());
        self
    }
}

/// What goes to an open stream or a held poll.
#[derive(Clone, Debug)]
pub(super) enum Out {
    /// A frame: its name and bytes.
    Frame(String, Bytes),
    /// Bytes that are no frame.
    Bytes(Bytes),
    /// A heartbeat, now.
    Beat,
    /// Look whether there is something to answer (polls).
    Wake,
    /// Misbehave.
    Fault(Fault),
    /// The backend ends it, in order.
    End,
}

/// How a stream's body is delimited.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Framing {
    /// By the end of the connection.
    Close,
    /// By chunks.
    Chunked,
}

/// A stream about to open.
#[derive(Debug)]
pub(super) struct Opening {
    pub(super) headers: Vec<(String, String)>,
    pub(super) framing: Framing,
    /// Who listens, in the dialect's words.
    pub(super) owner: String,
    /// What the dialect wants to remember (scope, client).
    pub(super) detail: String,
    /// Gets nothing but heartbeats.
    pub(super) muted: bool,
    /// What comes first.
    pub(super) first: Vec<Out>,
    pub(super) beat: Option<Duration>,
    /// Whether a lost client is noticed only when beating.
    pub(super) notices_late: bool,
}

/// What a dialect answers.
#[derive(Debug)]
pub(super) enum Answer {
    Plain(Response),
    Stream(Opening),
    /// A poll of this chat.
    Poll(String),
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Self::Plain(response)
    }
}

/// A backend's vocabulary and memory. No sockets, no waiting.
pub(super) trait Dialect: Send {
    /// Whether this request opens a stream or polls.
    fn is_events(&self, request: &Request) -> bool;
    /// Answers a request.
    fn answer(&mut self, request: &Request, stage: &mut Stage) -> Answer;
    /// Says one step to an audience; false where the dialect has no words for it.
    fn speak(&mut self, to: &Audience, who: &Conversation, step: &Step, stage: &mut Stage) -> bool;
    /// Sends a frame as it is.
    fn push(&mut self, to: &Audience, frame: Frame, stage: &mut Stage);
    /// What a heartbeat is on this stream: pieces written one by one.
    fn beat(&mut self, stage: &mut Stage) -> Vec<Out>;
    /// A well-formed frame with this many bytes of text.
    fn filler(&mut self, owner: &str, bytes: usize, stage: &mut Stage) -> Out;
    /// A stream has ended, as far as the backend notices; it is no longer in the stage.
    fn closed(&mut self, owner: &str, stage: &mut Stage);
    /// All tokens and sessions are gone, as after a restart or a long night.
    fn expire(&mut self, stage: &mut Stage);
    /// Gives the last frames again, as backends do after a resume or a change of a record.
    fn repeat(&mut self, count: usize, stage: &mut Stage) {
        stage.repeat(count);
    }
    /// Whether `Ended` makes the conversation unreachable.
    fn end_is_final(&self) -> bool {
        false
    }
    /// The answer to a held poll: body and event names. `None`: nothing yet.
    fn take_poll(&mut self, _chat: &str, _target: &str, _timed_out: bool) -> Option<Polled> {
        None
    }
}

/// A poll's answer.
#[derive(Debug)]
pub(super) struct Polled {
    pub(super) response: Response,
    pub(super) names: Vec<String>,
}

/// An open stream or held poll.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) owner: String,
    pub(super) detail: String,
    pub(super) muted: bool,
    pub(super) poll: bool,
    connected: bool,
    outbox: mpsc::Sender<Out>,
}

/// What a dialect may touch.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) options: Options,
    pub(super) ids: Ids,
    pub(super) counts: Snapshot,
    pub(super) requests: VecDeque<Request>,
    pub(super) faults: Vec<Armed>,
    pub(super) sent: BTreeMap<String, u64>,
    /// Answers by status.
    pub(super) answers: BTreeMap<u16, u64>,
    streams: BTreeMap<u64, Live>,
    /// The last frames since a stream was opened, whoever they were for.
    recent: VecDeque<Out>,
}

impl Stage {
    pub(super) fn new(options: Options) -> Self {
        Self {
            options,
            ids: Ids::new(),
            counts: Snapshot::default(),
            requests: VecDeque::new(),
            faults: Vec::new(),
            sent: BTreeMap::new(),
            answers: BTreeMap::new(),
            streams: BTreeMap::new(),
            recent: VecDeque::new(),
        }
    }

    /// Sends to every open stream and held poll that is wanted.
    pub(super) fn send(&mut self, out: &Out, wanted: impl Fn(&Live) -> bool) {
        if matches!(out, Out::Frame(..)) {
            if self.recent.len() >= MAX_RECENT {
                self.recent.pop_front();
            }
            self.recent.push_back(out.clone());
        }
        for live in self.streams.values().filter(|live| wanted(live)) {
            // A full outbox belongs to a reader that reads nothing: it misses this.
            live.outbox.try_send(out.clone()).unwrap_or_default();
        }
    }

    /// Sends a frame to the owner's streams.
    pub(super) fn send_to(&mut self, owner: &str, out: &Out) {
        self.send(out, |live| live.owner == owner && !live.muted);
    }

    /// Sends the last frames again, to everybody.
    pub(super) fn repeat(&mut self, count: usize) {
        let first = self.recent.len().saturating_sub(count);
        for out in self.recent.iter().skip(first).cloned().collect::<Vec<_>>() {
            for live in self.streams.values() {
                live.outbox.try_send(out.clone()).unwrap_or_default();
            }
        }
    }

    /// Streams of an owner that the backend believes in.
    pub(super) fn streams_of(&self, owner: &str) -> usize {
        self.streams.values().filter(|live| live.owner == owner).count()
    }

    /// Who listens on this stream.
    pub(super) fn owner(&self, number: u64) -> Option<String> {
        self.streams.get(&number).map(|live| live.owner.clone())
    }

    /// Silences the streams an owner has now.
    pub(super) fn mute(&mut self, owner: &str) {
        for live in self.streams.values_mut().filter(|live| live.owner == owner) {
            live.muted = true;
        }
    }

    pub(super) fn record(&mut self, request: &Request) {
        self.counts.requests += 1;
        if self.requests.len() >= MAX_REQUESTS {
            self.requests.pop_front();
        }
        self.requests.push_back(request.clone());
    }

    /// The fault that waits for this request, if any.
    pub(super) fn take_fault(&mut self, request: &Request, events: bool) -> Option<Fault> {
        let at = self.faults.iter().position(|armed| armed.is_for(request, events))?;
        let armed = self.faults.get_mut(at)?;
        armed.times = armed.times.saturating_sub(1);
        let (fault, spent) = (armed.fault.clone(), armed.times == 0);
        if spent {
            self.faults.remove(at);
        }
        Some(fault)
    }

    /// Registers a stream or poll.
    pub(super) fn open(&mut self, opening: &Opening, poll: bool) -> (u64, mpsc::Receiver<Out>) {
        let (outbox, inbox) = mpsc::channel(MAX_OUTBOX);
        for out in &opening.first {
            outbox.try_send(out.clone()).unwrap_or_default();
        }
        self.counts.streams_opened += 1;
        let number = self.counts.streams_opened;
        if poll {
            self.counts.held_polls += 1;
        } else {
            self.counts.live_streams += 1;
            self.counts.believed_streams += 1;
            self.recent.clear();
        }
        let (owner, detail) = (opening.owner.clone(), opening.detail.clone());
        let live = Live { owner, detail, muted: opening.muted, poll, connected: true, outbox };
        self.streams.insert(number, live);
        (number, inbox)
    }

    /// The client has gone, or was cut off.
    pub(super) fn disconnected(&mut self, number: u64) {
        let Some(live) = self.streams.get_mut(&number) else {
            return;
        };
        if std::mem::take(&mut live.connected) {
            let count = match live.poll {
                true => &mut self.counts.held_polls,
                false => &mut self.counts.live_streams,
            };
            *count = count.saturating_sub(1);
        }
    }

    /// The backend has noticed; gives the owner.
    pub(super) fn forget(&mut self, number: u64) -> Option<String> {
        self.disconnected(number);
        let live = self.streams.remove(&number)?;
        if !live.poll {
            self.counts.believed_streams = self.counts.believed_streams.saturating_sub(1);
        }
        Some(live.owner)
    }

    pub(super) fn count_sent(&mut self, name: &str) {
        self.counts.frames_sent += 1;
        match self.sent.get_mut(name) {
            Some(count) => *count += 1,
            None => {
                self.sent.insert(name.to_owned(), 1);
            }
        }
    }
}

/// A backend's state behind its lock, and what is published of it.
pub(super) struct Shared {
    state: Mutex<(Stage, Box<dyn Dialect>)>,
    pub(super) snapshots: watch::Sender<Snapshot>,
    /// Whether the listening socket shall be open.
    pub(super) wanted: watch::Sender<bool>,
}

impl Shared {
    pub(super) fn new(stage: Stage, dialect: Box<dyn Dialect>) -> Self {
        let snapshots = watch::Sender::new(stage.counts);
        Self { state: Mutex::new((stage, dialect)), snapshots, wanted: watch::Sender::new(true) }
    }

    /// Does something under the lock, then publishes what changed.
    pub(super) fn with<R>(&self, act: impl FnOnce(&mut Stage, &mut dyn Dialect) -> R) -> R {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (stage, dialect) = &mut *state;
        let result = act(stage, dialect.as_mut());
        let counts = stage.counts;
        self.snapshots.send_if_modified(|seen| std::mem::replace(seen, counts) != counts);
        result
    }
}
