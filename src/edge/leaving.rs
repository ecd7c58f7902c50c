//! How a process leaves: drained, handed over, or at once.
//!
//! SIGTERM drains: streams are told, and the process ends as soon as the last is gone; a second
//! SIGTERM, or SIGINT, ends it at once. SIGQUIT hands the listeners to a process that waits for
//! them, and drains then; where none waits, nothing changes. Not here: what a stream does about
//! it (`client`), the sockets (`handed`).

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use pingora::apps::ServerApp;
use pingora::protocols::Stream;
use pingora::server::{ShutdownSignal, ShutdownSignalWatch, ShutdownWatch};
use pingora::services::background::BackgroundService;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::Instant;

use super::handed::Sockets;
use super::proxy::Edge;
use super::supervisor;

/// How often a draining process looks whether it is done.
const DRAIN_POLL: Duration = Duration::from_millis(20);
/// An HTTP/2 stream is over for us once its last frame is queued; its connection writes it.
const LAST_FRAMES: Duration = Duration::from_millis(50);
/// After a hand-over both processes accept, until the new one surely does.
const BOTH_ACCEPT: Duration = Duration::from_secs(5);
/// A connection that was accepted just before the listeners closed has sent its request by then.
/// Pingora would close it at once.
const LATE_REQUESTS: Duration = Duration::from_secs(2);
/// What Pingora would sleep beyond that, if it came to it.
const GRACE_MARGIN: Duration = Duration::from_secs(2);

/// How long Pingora may sleep before it ends a process that was handed over: [`Leaver`] ends it
/// before.
pub(super) fn grace(drain: Duration) -> Duration {
    LATE_REQUESTS + drain + GRACE_MARGIN
}

/// Turns signals into ends.
pub(super) struct Signals {
    pub(super) edge: Arc<Edge>,
    pub(super) drain: Duration,
    pub(super) stop_after: Option<Duration>,
    /// The listeners.
    pub(super) sockets: Sockets,
    /// Where another process waits for them, if one may: a path that everybody knows could be
    /// anybody's.
    pub(super) upgrade_socket: Option<PathBuf>,
    /// Turns true once signals no longer kill the process.
    pub(super) is_watching: Arc<AtomicBool>,
}

/// The signals that end a process.
struct Ends {
    terminate: Signal,
    interrupt: Signal,
}

impl Ends {
    fn watch() -> Option<Self> {
        let terminate = signal(SignalKind::terminate()).ok()?;
        Some(Self { terminate, interrupt: signal(SignalKind::interrupt()).ok()? })
    }

    async fn any(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[async_trait]
impl ShutdownSignalWatch for Signals {
    async fn recv(&self) -> ShutdownSignal {
        let (Some(mut ends), Ok(mut quit)) = (Ends::watch(), signal(SignalKind::quit())) else {
            log::error!("signals cannot be watched; only SIGKILL ends this process");
            self.is_watching.store(true, Ordering::SeqCst);
            return std::future::pending().await;
        };
        self.is_watching.store(true, Ordering::SeqCst);
        let stop = async {
            match self.stop_after {
                Some(after) => tokio::time::sleep(after).await,
                None => std::future::pending().await,
            }
        };
        tokio::pin!(stop);
        loop {
            tokio::select! {
                () = &mut stop => break,
                _ = ends.terminate.recv() => break,
                _ = ends.interrupt.recv() => return ShutdownSignal::FastShutdown,
                _ = quit.recv() => {}
            }
            tokio::select! {
                is_given = self.give() => if !is_given {
                    continue;
                },
                _ = ends.terminate.recv() => break,
                _ = ends.interrupt.recv() => return ShutdownSignal::FastShutdown,
            }
            tokio::select! {
                () = tokio::time::sleep(BOTH_ACCEPT) => {}
                _ = ends.terminate.recv() => {}
                _ = ends.interrupt.recv() => return ShutdownSignal::FastShutdown,
            }
            // Pingora closes the listeners now, and `Leaver` hears of it.
            return ShutdownSignal::GracefulTerminate;
        }
        self.drain(&mut ends).await;
        ShutdownSignal::FastShutdown
    }
}

impl Signals {
    /// Gives the listeners away. Whether another process has them.
    async fn give(&self) -> bool {
        let Some(path) = &self.upgrade_socket else {
            let error = "set server.upgrade_socket";
            log::error!(error; "SIGQUIT: no hand-over, this process goes on");
            return false;
        };
        let (sockets, path) = (self.sockets.clone(), path.display().to_string());
        let given = tokio::task::spawn_blocking(move || sockets.give(&path)).await;
        match given.unwrap_or_else(|error| Err(error.to_string())) {
            Ok(()) => {
                let accept_secs = BOTH_ACCEPT.as_secs();
                log::info!(accept_secs; "listeners handed over");
                true
            }
            Err(error) => {
                log::error!(error:%; "SIGQUIT: no hand-over, this process goes on");
                false
            }
        }
    }

    async fn drain(&self, ends: &mut Ends) {
        let open_streams = self.edge.open_streams();
        log::info!(open_streams, over_secs = self.drain.as_secs_f64(); "draining");
        supervisor::on_leave(grace(self.drain));
        let was_idle = self.edge.is_idle();
        self.edge.drain(spread(self.drain));
        let drained = async {
            drained(&self.edge, self.drain).await;
            if !was_idle {
                tokio::time::sleep(LAST_FRAMES).await;
            }
        };
        tokio::select! {
            () = drained => log::info!(open_streams = self.edge.open_streams(); "drained"),
            () = ends.any() => log::info!("ended by a second signal"),
        }
    }
}

/// Ends the old process of an upgrade. Pingora has closed the listeners by then and would sleep
/// the whole grace period, whether a stream is left or not.
pub(super) struct Leaver {
    pub(super) edge: Arc<Edge>,
    pub(super) drain: Duration,
}

#[async_trait]
impl BackgroundService for Leaver {
    async fn start(&self, mut shutdown: ShutdownWatch) {
        let ends = Ends::watch();
        while !*shutdown.borrow_and_update() {
            if shutdown.changed().await.is_err() {
                return;
            }
        }
        log::info!(open_streams = self.edge.open_streams(); "handed over, draining");
        supervisor::on_leave(grace(self.drain));
        self.edge.leave(spread(self.drain));
        let drained = async {
            tokio::time::sleep(LATE_REQUESTS).await;
            drained(&self.edge, self.drain).await;
            tokio::time::sleep(LAST_FRAMES).await;
        };
        let ended = async {
            match ends {
                Some(mut ends) => ends.any().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = drained => log::info!(open_streams = self.edge.open_streams(); "drained"),
            () = ended => log::info!("ended by a second signal"),
        }
        std::process::exit(0);
    }
}

/// Over how much of the drain time the ends of streams are spread: the rest is for their last
/// bytes.
fn spread(drain: Duration) -> Duration {
    drain.mul_f64(0.9)
}

/// Until nothing is answered any more, or the time is over.
async fn drained(edge: &Edge, drain: Duration) {
    let deadline = Instant::now() + drain;
    while !edge.is_idle() && Instant::now() < deadline {
        tokio::time::sleep(DRAIN_POLL).await;
    }
}

/// An application whose connections are not dropped at the moment its listeners close: the
/// requests of the last of them are still on their way.
pub(super) struct Patient<A>(Arc<A>);

impl<A> Patient<A> {
    pub(super) fn new(app: A) -> Self {
        Self(Arc::new(app))
    }
}

#[async_trait]
impl<A: ServerApp + Send + Sync + 'static> ServerApp for Patient<A> {
    async fn process_new(
        self: &Arc<Self>,
        session: Stream,
        shutdown: &ShutdownWatch,
    ) -> Option<Stream> {
        self.0.process_new(session, shutdown).await
    }

    async fn cleanup(&self) {
        tokio::time::sleep(LATE_REQUESTS).await;
        self.0.cleanup().await;
    }
}
