//! The handle of a running scripted backend: start it, play to it, break it, look at it.
//!
//! Everything it started ends when it is dropped. Loopback only.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::task::{AbortHandle, JoinHandle};

use crate::scripted::{
    brightpattern::BrightPattern,
    conversation::{Audience, Conversation, Pace, Step},
    fault::{Armed, Fault, On},
    http::Request,
    openfire::Openfire,
    options::{Kind, Options},
    salesforce::Salesforce,
    server,
    stage::{Dialect, Frame, Out, Shared, Snapshot, Stage},
    xians::Xians,
};

/// Least time between the steps of an endless script.
const MIN_PACE: Duration = Duration::from_millis(10);

/// A running backend.
pub struct Backend {
    kind: Kind,
    addr: SocketAddr,
    shared: Arc<Shared>,
    server: AbortHandle,
    players: Mutex<Vec<AbortHandle>>,
}

impl Backend {
    /// Starts a backend on the current tokio runtime.
    ///
    /// # Errors
    /// When the port cannot be bound.
    pub async fn start(kind: Kind, options: Options) -> io::Result<Self> {
        let listener = server::listen(options.port)?;
        let addr = listener.local_addr()?;
        let mut stage = Stage::new(options);
        let dialect: Box<dyn Dialect> = match kind {
            Kind::Openfire => Box::new(Openfire::new(&mut stage)),
            Kind::Xians => Box::new(Xians::default()),
            Kind::Salesforce => Box::new(Salesforce::new(&mut stage)),
            Kind::BrightPattern => Box::new(BrightPattern::new(&mut stage)),
        };
        let shared = Arc::new(Shared::new(stage, dialect));
        let server = tokio::spawn(server::run(listener, addr.port(), Arc::clone(&shared)));
        let backend = Self {
            kind,
            addr,
            shared,
            server: server.abort_handle(),
            players: Mutex::new(Vec::new()),
        };
        backend.wait_for(|now| now.listening).await;
        Ok(backend)
    }

    /// Which backend this is.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// Where it listens.
    #[must_use]
    pub const fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What stands in `url:` of a source's conf: with the path prefix of the dialect.
    #[must_use]
    pub fn url(&self) -> String {
        let prefix = match self.kind {
            Kind::Openfire => "/sparkweb",
            Kind::Xians | Kind::Salesforce => "",
            Kind::BrightPattern => "/clientweb/api/v2",
        };
        format!("http://{}{prefix}", self.addr)
    }

    /// Says one step now; false where the dialect has no words for it.
    pub fn speak(&self, to: &Audience, who: &Conversation, step: &Step) -> bool {
        self.shared.with(|stage, dialect| dialect.speak(to, who, step, stage))
    }

    /// Plays a script to an audience, in a task of the backend's. The handle may be dropped.
    pub fn play(&self, to: &Audience, conversation: &Conversation, pace: Pace) -> JoinHandle<()> {
        let (shared, to, who) = (Arc::clone(&self.shared), to.clone(), conversation.clone());
        let player = tokio::spawn(async move {
            let between = if pace.forever { pace.between.max(MIN_PACE) } else { pace.between };
            loop {
                for step in &who.steps {
                    shared.with(|stage, dialect| {
                        let reachable = !(pace.forever && dialect.end_is_final());
                        if reachable || *step != Step::Ended {
                            dialect.speak(&to, &who, step, stage);
                        }
                    });
                    if !between.is_zero() {
                        tokio::time::sleep(between).await;
                    }
                }
                shared.with(|stage, _| stage.counts.scripts_done += 1);
                if !pace.forever {
                    return;
                }
            }
        });
        let mut players = self.players.lock().unwrap_or_else(PoisonError::into_inner);
        players.retain(|player| !player.is_finished());
        players.push(player.abort_handle());
        player
    }

    /// Sends a frame to an audience's streams (Bright Pattern: adds an event to the chat's poll).
    pub fn push(&self, to: &Audience, frame: Frame) {
        self.shared.with(|stage, dialect| dialect.push(to, frame, stage));
    }

    /// Sends the last frames of the open streams once more (Bright Pattern: the last events of every chat).
    pub fn repeat(&self, count: usize) {
        self.shared.with(|stage, dialect| dialect.repeat(count, stage));
    }

    /// Writes bytes to all live streams as they are (in one chunk where the body is chunked).
    /// A held poll is answered with them. Not counted as frames.
    pub fn push_bytes(&self, bytes: &[u8]) {
        let out = Out::Bytes(Bytes::copy_from_slice(bytes));
        self.shared.with(|stage, _| stage.send(&out, |_| true));
    }

    /// All live streams beat now, whatever the clock says.
    pub fn heartbeat(&self) {
        self.shared.with(|stage, _| stage.send(&Out::Beat, |_| true));
    }

    /// The backend ends all live streams in order; held polls lose their connection.
    pub fn end_streams(&self) {
        self.shared.with(|stage, _| stage.send(&Out::End, |_| true));
    }

    /// All tokens and sessions become void, as after a restart; Salesforce ends its streams, as
    /// it does when a token expires.
    pub fn expire_tokens(&self) {
        self.shared.with(|stage, dialect| dialect.expire(stage));
    }

    /// Misbehaves at the next stream open or poll.
    pub fn fault(&self, fault: Fault) {
        self.fault_on(On::Events, 1, fault);
    }

    /// Misbehaves at the next `times` requests of a kind; `usize::MAX`: at all.
    pub fn fault_on(&self, on: On, times: usize, fault: Fault) {
        if fault == Fault::RefuseConnections {
            self.shared.wanted.send_replace(false);
        } else if times > 0 {
            self.shared.with(|stage, _| stage.faults.push(Armed { on, times, fault }));
        }
    }

    /// Misbehaves on everything that is open now. A stream whose client does not read obeys
    /// when it can write again.
    pub fn fault_live(&self, fault: Fault) {
        if fault == Fault::RefuseConnections {
            self.shared.wanted.send_replace(false);
        } else {
            self.shared.with(|stage, _| stage.send(&Out::Fault(fault), |_| true));
        }
    }

    /// Forgets faults that still wait for requests.
    pub fn clear_faults(&self) {
        self.shared.with(|stage, _| stage.faults.clear());
    }

    /// Closes the listening socket and waits until it is closed.
    pub async fn stop_listening(&self) {
        self.fault(Fault::RefuseConnections);
        self.wait_for(|now| !now.listening).await;
    }

    /// Opens the listening socket again, on the same port, and waits until it is open.
    pub async fn listen_again(&self) {
        self.shared.wanted.send_replace(true);
        self.wait_for(|now| now.listening).await;
    }

    /// What is true now.
    #[must_use]
    pub fn now(&self) -> Snapshot {
        self.shared.with(|stage, _| stage.counts)
    }

    /// Waits until something is true, however long that takes; gives the moment it was.
    pub async fn wait_for(&self, mut what: impl FnMut(&Snapshot) -> bool) -> Snapshot {
        let mut snapshots = self.shared.snapshots.subscribe();
        match snapshots.wait_for(|now| what(now)).await {
            Ok(now) => *now,
            // The sender lives in `self`.
            Err(_) => self.now(),
        }
    }

    /// Streams whose client is there, and polls that are held.
    #[must_use]
    pub fn live_streams(&self) -> usize {
        let now = self.now();
        now.live_streams + now.held_polls
    }

    /// Frames written whole so far; see [`Snapshot::frames_sent`].
    #[must_use]
    pub fn frames_sent(&self) -> u64 {
        self.now().frames_sent
    }

    /// Frames of this event name written whole so far.
    #[must_use]
    pub fn frames_sent_of(&self, event: &str) -> u64 {
        self.shared.with(|stage, _| stage.sent.get(event).copied().unwrap_or_default())
    }

    /// How many requests were answered with this status so far (streams and polls: 200).
    #[must_use]
    pub fn answers_of(&self, status: u16) -> u64 {
        self.shared.with(|stage, _| stage.answers.get(&status).copied().unwrap_or_default())
    }

    /// The requests of the past, oldest first, at most
    /// [`MAX_REQUESTS`](crate::scripted::MAX_REQUESTS).
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.with(|stage, _| stage.requests.iter().cloned().collect())
    }

    /// Those that opened a stream or polled, or tried to.
    #[must_use]
    pub fn event_requests(&self) -> Vec<Request> {
        self.shared.with(|stage, dialect| {
            stage.requests.iter().filter(|request| dialect.is_events(request)).cloned().collect()
        })
    }

    /// Forgets the requests of the past (counts stay).
    pub fn clear_requests(&self) {
        self.shared.with(|stage, _| stage.requests.clear());
    }
}

impl Drop for Backend {
    fn drop(&mut self) {
        self.server.abort();
        let players = self.players.get_mut().unwrap_or_else(PoisonError::into_inner);
        players.iter().for_each(AbortHandle::abort);
    }
}

impl std::fmt::Debug for Backend {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Backend").field("kind", &self.kind).field("addr", &self.addr).finish()
    }
}
