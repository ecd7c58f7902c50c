//! The Pingora phases: a request comes in, the gate decides, a stream is served.
//!
//! An HTTP/2 stream lives inside `request_filter`; an HTTP/1.x connection is handed to a small
//! task of its own and leaves Pingora's request machinery behind. The same engine serves both.
//! Not here: the decision (`gate`), the stream (`client`).

use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{Method, Version};
use pingora::Result;
use pingora::http::ResponseHeader;
use pingora::protocols::http::ServerSession;
use pingora::proxy::Session;
use serde_json::json;
use tokio::sync::watch;

use super::bell::Bell;
use super::channel::SourceStanding;
use super::client::{self, Stream};
use super::clock;
use super::cluster::Cluster;
use super::cors::Headers;
use super::down::{Bare, Down};
use super::gate::{
    Admitted, Asked, Decided, Decision, Gate, Grant, Later, Ledger, PassDecided, Past, Permits,
    Resume, Revoked, TICKET_LIFE, Wait, Whose,
};
use super::hub::{Hub, Listener, Subscribe};
use super::jwks::KeySets;
use super::passthrough::Passing;
use super::refusal::Refusal;
use super::reload::{differing, forget_issuers, renew, touch};
use super::selftest::{self, SelfTest};
use super::streams::Streams;
use super::tls::Certificates;
use super::together;
use super::upstream::Dialer;
use crate::config::Config;
use crate::proto::channel::{Filter, Join};
use crate::proto::event::Subscription;
use crate::proto::selftest::{About, Plan};
use crate::proto::time::UnixMillis;
use crate::proto::trace::Trace;
use crate::telemetry::{Metrics, StreamEnded};

/// A GET has no body; what somebody sends all the same is waited for no longer.
const BODY_TIMEOUT: Duration = Duration::from_secs(5);
/// When to come back to whoever runs after a drain, drawn per client.
const DRAIN_RETRY_SECS: std::ops::Range<u64> = 1..10;

/// Everything that serves streams, shared by all listeners of a process.
pub struct Edge {
    /// As at the start: what a reload cannot change.
    started: Arc<Config>,
    running: ArcSwap<Running>,
    hub: Arc<Hub>,
    pub(super) dialer: Arc<Dialer>,
    metrics: Arc<Metrics>,
    /// What other nodes share; `None` = this one is alone.
    pub(super) cluster: Option<Arc<Cluster>>,
    drain: watch::Sender<Option<Duration>>,
    is_refusing: AtomicBool,
    open: Arc<AtomicUsize>,
    streams: Arc<Streams>,
    /// Requests that are being answered, passed calls included.
    answering: Arc<AtomicUsize>,
    reloads: Reloads,
    certificates: Certificates,
}

/// What one configuration came to.
struct Running {
    config: Arc<Config>,
    gate: Gate,
}

/// Tells open streams to ask whether they are still allowed.
#[derive(Clone)]
struct Reloads {
    count: watch::Sender<u64>,
    hub: Weak<Hub>,
}

impl Reloads {
    fn tell(&self) {
        self.count.send_modify(|count| *count = count.wrapping_add(1));
        if let Some(hub) = self.hub.upgrade() {
            hub.wake_all();
        }
    }
}

impl Edge {
    /// Builds the edge of a configuration. Nothing is opened yet.
    ///
    /// # Errors
    /// A key of a token issuer, a certificate, or a file of certificate authorities, that cannot
    /// be used.
    pub fn new(config: Arc<Config>) -> Result<Arc<Self>, String> {
        let metrics = Arc::new(Metrics::new().map_err(|error| error.to_string())?);
        let dialer = Arc::new(Dialer::new());
        let hub = Hub::new(dialer.clone(), metrics.clone());
        let reloads = Reloads { count: watch::Sender::new(0), hub: Arc::downgrade(&hub) };
        // Streams are asked about again once an issuer's keys are there.
        let first = Arc::new({
            let reloads = reloads.clone();
            move || reloads.tell()
        });
        let key_sets = KeySets::new(dialer.clone(), metrics.clone(), first);
        let (gate, cluster) = together::gate(&config, &metrics, key_sets, &dialer)?;
        touch(&metrics, &config);
        metrics.on_start(clock::wall());
        dialer.adopt(renew(&dialer, &config)?);
        let certificates = Certificates::new(&config, &metrics)?;
        Ok(Arc::new(Self {
            started: config.clone(),
            running: ArcSwap::from_pointee(Running { config, gate }),
            hub,
            dialer,
            metrics,
            cluster,
            drain: watch::Sender::new(None),
            is_refusing: AtomicBool::new(false),
            open: Arc::new(AtomicUsize::new(0)),
            streams: Arc::default(),
            answering: Arc::new(AtomicUsize::new(0)),
            reloads,
            certificates,
        }))
    }

    /// Begins what goes on without clients: fetching the keys of issuers that publish them,
    /// finding other nodes, and looking after certificate files. To be called in a runtime of the process; without it the
    /// first token begins the first, and the first request the second.
    pub(super) fn start(self: &Arc<Self>) {
        self.running.load().gate.start();
        if let Some(cluster) = &self.cluster {
            cluster.begin(self);
        }
        self.certificates.watch();
    }

    /// The certificates of the listeners.
    pub(super) const fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// Ends the open streams that are meant, and takes their tickets back. Says how many streams
    /// they were. Nothing keeps their clients from coming back, if their credentials do not.
    pub(super) fn end_streams(&self, whose: &Whose) -> usize {
        self.running.load().gate.revoke_tickets(whose);
        self.streams.end(whose)
    }

    /// The metrics of this edge.
    #[must_use]
    pub const fn metrics(&self) -> &Arc<Metrics> {
        &self.metrics
    }

    /// Logs and upstream streams.
    #[must_use]
    pub(super) const fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// The configuration in force.
    #[must_use]
    pub fn config(&self) -> Arc<Config> {
        self.running.load().config.clone()
    }

    /// Open client streams.
    #[must_use]
    pub fn open_streams(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// Puts another configuration in force, whole or not at all. Open streams go on, but for
    /// those that it no longer allows: they are `revoked`. New handshakes are shown the new
    /// certificates. The addresses of listeners, the admin listener, the process's own settings
    /// and the log are as at the start; the names of those that differ are given back.
    ///
    /// # Errors
    /// A key of a token issuer, a certificate, or a file of certificate authorities, that cannot
    /// be used. Nothing was changed then.
    pub fn reload(&self, config: Arc<Config>) -> Result<Vec<String>, String> {
        let before = self.running.load_full();
        let gate = before.gate.reloaded(config.clone());
        let prepared = gate.and_then(|gate| {
            let trusts = renew(&self.dialer, &config)?;
            Ok((gate, trusts, self.certificates.renew(&config)?))
        });
        let (gate, trusts, certificates) =
            prepared.inspect_err(|_| self.metrics.on_reload(None))?;
        self.dialer.adopt(trusts);
        self.certificates.adopt(certificates);
        touch(&self.metrics, &config);
        gate.start();
        forget_issuers(&self.metrics, &before.config, &config);
        let differing = differing(&self.started, &config);
        self.running.store(Arc::new(Running { config, gate }));
        self.metrics.on_reload(Some(clock::wall()));
        self.reloads.tell();
        Ok(differing)
    }

    /// Whether an open stream is still allowed, and until when.
    fn still_opens(
        &self,
        path: &str,
        grant: &Grant,
        subscription: &Subscription,
    ) -> Result<Option<UnixMillis>, Revoked> {
        let running = self.running.load();
        let is_routed = running.config.routes.iter().any(|route| {
            route.path == path
                && route.is_match(&subscription.tenant_id, &subscription.workflow_type)
        });
        if !is_routed {
            return Err(Revoked);
        }
        running.gate.still_opens(grant, subscription, clock::wall())
    }

    /// Refuses new streams from now on and ends the open ones, spread over this time.
    pub fn drain(&self, spread: Duration) {
        self.is_refusing.store(true, Ordering::SeqCst);
        self.leave(spread);
    }

    /// Ends the open streams, spread over this time. What still comes in, by a connection that
    /// was accepted before the listeners went to another process, is served, and ends with them:
    /// a browser takes a refusal for the end of its stream.
    pub(super) fn leave(&self, spread: Duration) {
        self.drain.send_replace(Some(spread));
        self.hub.wake_all();
    }

    /// Until the process is to stop, or another takes its place.
    pub(super) async fn leaving(&self) {
        let mut drain = self.drain.subscribe();
        // The sender lives as long as this.
        let _is_leaving = drain.wait_for(Option::is_some).await.is_ok();
    }

    /// Whether the process is to stop.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.drain.borrow().is_some()
    }

    /// Whether no request is being answered, by a stream or otherwise.
    #[must_use]
    pub(super) fn is_idle(&self) -> bool {
        self.answering.load(Ordering::SeqCst) == 0
    }

    /// Serves the request if its path is one of the routes; `false` if it is none, and nothing
    /// was written. For embedding next to other routes in somebody's own `ProxyHttp`. Paths of the
    /// conf's `proxy` are none: they need all phases of [`Proxy`](crate::Proxy).
    pub async fn serve_if_routed(self: &Arc<Self>, session: &mut Session) -> bool {
        let is_routed = self.running.load().gate.is_routed(session.req_header().uri.path());
        if is_routed {
            self.serve(session).await;
        }
        is_routed
    }

    /// Answers the request, unless it is a call to be passed through: then `false`, and Pingora
    /// goes on with what is in `passing`.
    pub(super) async fn serve_or_pass(
        self: &Arc<Self>,
        session: &mut Session,
        passing: &mut Passing,
    ) -> bool {
        // As for all other answers: a drain waits for it.
        let answering = Answering::new(&self.answering);
        let down = session.as_downstream_mut();
        let decided = match &self.cluster {
            None => self.decide_pass(down, None).await,
            // Boxed, so that a stream that comes by here does not keep room for it.
            Some(cluster) => Box::pin(self.decide_pass_together(cluster, down)).await,
        };
        let Some(decided) = decided else {
            self.serve_counted(session, answering).await;
            return true;
        };
        let begun = self.begin(session, decided, (request_id(), answering), passing).await;
        begun.unwrap_or_else(|error| {
            log::debug!(error:%; "the client left before its answer was written");
            true
        })
    }

    /// Answers the request, whatever it is; calls to be passed through are none of it. A client
    /// that leaves before its answer is written is no error: Pingora would log it with the whole
    /// URL, credentials included.
    pub async fn serve(self: &Arc<Self>, session: &mut Session) {
        // Before it is asked whether the process drains: a drain that is not seen here sees this.
        self.serve_counted(session, Answering::new(&self.answering)).await;
    }

    async fn serve_counted(self: &Arc<Self>, session: &mut Session, answering: Answering) {
        if let Err(error) = self.answer(session, answering).await {
            log::debug!(error:%; "the client left before its answer was written");
        }
    }

    async fn answer(self: &Arc<Self>, session: &mut Session, answering: Answering) -> Result<()> {
        let down = session.as_downstream_mut();
        // Whatever is answered: a body that nobody wants is not waited for any longer.
        down.set_total_drain_timeout(Some(BODY_TIMEOUT));
        let request_id = request_id();
        // Before the decision, so that a reload in between is seen by the stream.
        let reloads = self.reloads.count.subscribe();
        let Decided { decision, headers, route } = match &self.cluster {
            None => self.decide(down).await,
            Some(cluster) => Box::pin(self.decide_together(cluster, down)).await,
        };
        let answered = Answered {
            request_id,
            trace: trace_of(&down.req_header().headers),
            headers,
            route: route.map_or_else(|| "none".to_owned(), |route| route.path.clone()),
        };
        match decision {
            Decision::Stream(admitted) => {
                let down = session.as_downstream_mut();
                match self.open(*admitted, answered, reloads) {
                    Opened::Over(answered) => self.empty(down, &answered).await,
                    Opened::Stream(opened) => self.stream(session, opened, answering).await,
                }
            }
            Decision::SelfTest(admitted, test) => {
                let down = session.as_downstream_mut();
                let mut answered = answered;
                selftest::expose(&mut answered.headers);
                let about = selftest::about(down.req_header(), &admitted, test.client_from);
                let opened = self.open_test(*admitted, answered, reloads, (test.plan, about));
                self.stream(session, opened, answering).await
            }
            Decision::Head(_) => {
                let head = self.head(down, &answered)?;
                down.write_response_header(Box::new(head)).await
            }
            Decision::Options => self.empty(down, &answered).await,
            Decision::Ticket(warrant) => {
                let ticket = Box::pin(self.issue(*warrant)).await;
                let secs = TICKET_LIFE.as_secs();
                let body = json!({"ticket": ticket.reveal(), "expiresIn": secs}).to_string();
                self.ticket(down, body, &answered).await
            }
            Decision::Refused(refusal) => self.refuse(down, &refusal, &answered).await,
            Decision::RefusedInStream(refusal) => {
                let head = self.head(down, &answered)?;
                down.write_response_header(Box::new(head)).await?;
                if down.req_header().method != Method::HEAD {
                    let mut event = Vec::new();
                    refusal.write_in_stream(&mut event);
                    down.write_response_body(event.into(), false).await?;
                }
                down.finish_body().await
            }
        }
    }

    /// Decides about a request, alone.
    async fn decide(&self, down: &mut ServerSession) -> Decided {
        let mut past = Past::default();
        loop {
            let asked = self.asked(down, None);
            let decided = self.with_gate(|gate| gate.decide(&asked, past, clock::wall()));
            let Later { wait, past: known } = match decided {
                Ok(decided) => return decided,
                Err(later) => later,
            };
            past = *known;
            match wait {
                Wait::Key(wait) => wait.over().await,
                // Alone there is nobody who could have made it.
                Wait::Ticket(_) => past.ticket = Some(None),
            }
        }
    }

    /// Decides about a call.
    pub(super) async fn decide_pass(
        &self,
        down: &mut ServerSession,
        ledger: Option<&Ledger>,
    ) -> Option<PassDecided> {
        let mut is_late = false;
        loop {
            let asked = self.asked(down, ledger);
            let decided = self.with_gate(|gate| gate.decide_pass(&asked, is_late, clock::wall()));
            match decided {
                Ok(decided) => return decided,
                Err(wait) => wait.over().await,
            }
            is_late = true;
        }
    }

    /// The gate of the configuration in force.
    pub(super) fn with_gate<T>(&self, ask: impl FnOnce(&Gate) -> T) -> T {
        ask(&self.running.load().gate)
    }

    pub(super) fn asked<'a>(
        &self,
        down: &'a ServerSession,
        ledger: Option<&'a Ledger>,
    ) -> Asked<'a> {
        let header = down.req_header();
        let peer = down.client_addr().and_then(|address| address.as_inet()).map(|inet| inet.ip());
        let peer: Option<IpAddr> = peer.map(|ip| ip.to_canonical());
        Asked {
            method: &header.method,
            path: header.uri.path(),
            query: header.uri.query().unwrap_or_default(),
            headers: &header.headers,
            authority: header.uri.authority().map(|authority| authority.as_str()),
            peer,
            draining: self
                .is_refusing
                .load(Ordering::SeqCst)
                .then(|| rand::random_range(DRAIN_RETRY_SECS)),
            ledger,
        }
    }

    async fn stream(
        self: &Arc<Self>,
        session: &mut Session,
        opened: Box<OpenStream>,
        answering: Answering,
    ) -> Result<()> {
        let down = session.as_downstream_mut();
        let mut head = self.head(down, &opened.answered)?;
        let write_timeout = opened.write_timeout;
        down.set_write_timeout(Some(write_timeout));
        if down.is_http2() {
            down.write_response_header(Box::new(head)).await?;
            opened.run(self, Down::Session(down)).await;
            return Ok(());
        }
        head.insert_header("date", http_date())?;
        let Some(stream) = detach(session).await? else {
            return Ok(());
        };
        let edge = self.clone();
        let (bare, opening) = Bare::new(stream, &head, write_timeout);
        tokio::spawn(async move {
            match bare.open(opening).await {
                Ok(bare) => opened.run(&edge, Down::Bare(bare)).await,
                Err(_) => log::debug!("the client left before its stream began"),
            }
            drop(answering);
        });
        Ok(())
    }

    /// Takes a place at the log of the subscription.
    fn open(
        &self,
        admitted: Admitted,
        answered: Answered,
        reloads: watch::Receiver<u64>,
    ) -> Opened {
        let config = self.config();
        let cursor = match &admitted.resume {
            Resume::After(cursor) => Some(cursor),
            Resume::Fresh | Resume::Unreadable => None,
        };
        let listener = self.hub.listen(Subscribe {
            route: &admitted.route.path,
            subscription: &admitted.subscription,
            redaction: admitted.route.redaction.as_ref(),
            sources: admitted.sources,
            replay: &config.replay,
            cursor,
            filter: &admitted.filter,
            trace: answered.trace,
        });
        let Some(listener) = listener else {
            // It has seen the end. 204 tells EventSource to stop for good.
            return Opened::Over(answered);
        };
        let (join, standings) = self.join(&listener, &admitted.resume, &admitted.filter);
        let bell = listener.bell.clone();
        let stream = Stream {
            listener,
            filter: admitted.filter,
            join,
            standings,
            heartbeat: admitted.heartbeat,
            expires_in: admitted.expires.map(left),
            max_age: admitted.route.max_age.or(config.server.max_age),
            drain: self.drain.subscribe(),
            reloads,
            entry: self.streams.enter(admitted.grant, admitted.subscription, bell),
            metrics: self.metrics.clone(),
            route: self.metrics.route(&answered.route),
            open: self.open.clone(),
        };
        Opened::Stream(Box::new(OpenStream {
            what: What::Stream(stream),
            answered,
            write_timeout: config.timeouts.write,
            permits: admitted.permits,
            subject: admitted.subject,
        }))
    }

    /// A self-test: it ends as a stream does, and listens to nothing.
    fn open_test(
        &self,
        admitted: Admitted,
        answered: Answered,
        reloads: watch::Receiver<u64>,
        (plan, about): (Plan, About),
    ) -> Box<OpenStream> {
        let bell = Arc::new(Bell::default());
        let test = SelfTest {
            plan,
            about,
            expires_in: admitted.expires.map(left),
            drain: self.drain.subscribe(),
            reloads,
            entry: self.streams.enter(admitted.grant, admitted.subscription.clone(), bell.clone()),
            bell,
        };
        Box::new(OpenStream {
            what: What::SelfTest(Box::new(test), admitted.subscription),
            answered,
            write_timeout: self.config().timeouts.write,
            permits: admitted.permits,
            subject: admitted.subject,
        })
    }

    fn join(
        &self,
        listener: &Listener,
        resume: &Resume,
        filter: &Filter,
    ) -> (Join, Vec<SourceStanding>) {
        let (join, standings) = match resume {
            Resume::Fresh => return listener.channel.join(None, filter),
            Resume::After(cursor) => listener.channel.join(Some(cursor), filter),
            Resume::Unreadable => {
                let (join, standings) = listener.channel.join(None, filter);
                (client::unreadable_cursor(join), standings)
            }
        };
        self.metrics.on_replay(client::replay_outcome(&join));
        (join, standings)
    }

    pub(super) async fn refuse(
        &self,
        down: &mut ServerSession,
        refusal: &Refusal,
        answered: &Answered,
    ) -> Result<()> {
        let answer = refusal.answer();
        let (request_id, route) = (answered.request_id.as_str(), answered.route.as_str());
        self.metrics.on_request(route, answer.status.as_u16());
        log::debug!(request_id, route, code = answer.status.as_u16(); "request refused");
        let mut head = ResponseHeader::build(answer.status, Some(16))?;
        for (name, value) in answer.headers {
            head.append_header(name, value)?;
        }
        head.insert_header("content-length", answer.body.len().to_string())?;
        answered.write(&mut head)?;
        down.write_response_header(Box::new(head)).await?;
        if down.req_header().method != Method::HEAD {
            down.write_response_body(answer.body.into(), true).await?;
        }
        Ok(())
    }

    /// A ticket, which nothing in between may keep.
    async fn ticket(
        &self,
        down: &mut ServerSession,
        body: String,
        answered: &Answered,
    ) -> Result<()> {
        self.metrics.on_request(&answered.route, 200);
        let mut head = ResponseHeader::build(200, Some(12))?;
        head.insert_header("content-type", "application/json")?;
        head.insert_header("cache-control", "no-store")?;
        head.insert_header("referrer-policy", "no-referrer")?;
        head.insert_header("content-length", body.len().to_string())?;
        answered.write(&mut head)?;
        down.write_response_header(Box::new(head)).await?;
        down.write_response_body(body.into(), true).await
    }

    /// 204, with the headers that go on every answer.
    pub(super) async fn empty(&self, down: &mut ServerSession, answered: &Answered) -> Result<()> {
        self.metrics.on_request(&answered.route, 204);
        let mut head = ResponseHeader::build(204, Some(8))?;
        answered.write(&mut head)?;
        down.write_response_header(Box::new(head)).await
    }

    /// The head of a stream. Never compressed, never kept by anything in between.
    fn head(&self, down: &mut ServerSession, answered: &Answered) -> Result<ResponseHeader> {
        self.metrics.on_request(&answered.route, 200);
        // The connection ends with the stream.
        down.set_keepalive(None);
        let mut head = ResponseHeader::build(200, Some(12))?;
        head.insert_header("content-type", "text/event-stream")?;
        head.insert_header("cache-control", "no-cache, no-transform")?;
        head.insert_header("x-accel-buffering", "no")?;
        head.insert_header("referrer-policy", "no-referrer")?;
        answered.write(&mut head)?;
        // HTTP/1.0 knows no chunks: there the stream ends with the connection.
        if down.req_header().version == Version::HTTP_11 {
            head.insert_header("transfer-encoding", "chunked")?;
        }
        Ok(head)
    }
}

/// Counts a request for as long as it is answered.
pub(super) struct Answering(Arc<AtomicUsize>);

impl Answering {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(count.clone())
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// What came of an admitted request.
enum Opened {
    /// A stream.
    Stream(Box<OpenStream>),
    /// Its conversation is over, and the client has seen all of it.
    Over(Answered),
}

/// What is sent to a client.
#[expect(clippy::large_enum_variant, reason = "streams are many, self-tests are few")]
enum What {
    /// Its events.
    Stream(Stream),
    /// A self-test, and whose stream it stands in for.
    SelfTest(Box<SelfTest>, Arc<Subscription>),
}

/// A stream about to run.
struct OpenStream {
    what: What,
    answered: Answered,
    write_timeout: Duration,
    permits: Permits,
    subject: Option<String>,
}

impl OpenStream {
    /// Runs to the end, and writes the access line.
    async fn run(mut self: Box<Self>, edge: &Edge, mut down: Down<'_>) {
        let Self { what, answered, permits, subject, .. } = &mut *self;
        let subscription = match what {
            What::Stream(stream) => stream.listener.channel.subscription.clone(),
            What::SelfTest(_, subscription) => subscription.clone(),
        };
        let recheck = |grant: &Grant| {
            let checked = edge.still_opens(&answered.route, grant, &subscription);
            checked.map(|expires| expires.map(left))
        };
        let started = clock::now();
        let (reason, tally) = match what {
            What::Stream(stream) => {
                let (reason, tally) = client::serve(&mut down, stream, &recheck).await;
                (reason.as_str(), tally)
            }
            // Boxed, so that streams, which are many, do not have room for it.
            What::SelfTest(test, _) => Box::pin(selftest::serve(&mut down, test, &recheck)).await,
        };
        *permits = Permits::default();
        let ended = StreamEnded {
            request_id: &answered.request_id,
            trace: answered.trace,
            route: &answered.route,
            subject: subject.as_deref().unwrap_or("anonymous"),
            reason,
            lived: clock::now().saturating_duration_since(started),
            events: tally.events,
            bytes: tally.bytes,
        };
        ended.emit();
    }
}

/// Takes a plain HTTP/1.x connection out of Pingora's hands; `None` if the client has sent more
/// than its request, or has left. In its place stays a session over a closed pipe.
async fn detach(session: &mut Session) -> Result<Option<pingora::protocols::Stream>> {
    let (closed, _) = tokio::io::duplex(1);
    let empty = Box::new(ServerSession::new_http1(Box::new(closed)));
    let mut real = std::mem::replace(&mut session.downstream_session, empty);
    // A client that wants it closed in the end gets its stream first: the header would overrule
    // what is asked next.
    real.req_header_mut().remove_header(&http::header::CONNECTION);
    // Asked to keep the connection for another request, the session gives it back.
    real.set_keepalive(Some(1));
    let reusable = real.finish().await?;
    Ok(reusable.map(|reusable| reusable.into_parts().0))
}

/// A name for a request, in its answer and in logs.
fn request_id() -> String {
    format!("{:016x}", rand::random::<u64>())
}

/// The time, as HTTP writes it.
pub(super) fn http_date() -> String {
    let now = jiff::Timestamp::from_millisecond(clock::wall().0).unwrap_or_default();
    let printer = jiff::fmt::rfc2822::DateTimePrinter::new();
    printer.timestamp_to_rfc9110_string(&now).unwrap_or_default()
}

/// The trace of a request. Two of them contradict each other.
pub(super) fn trace_of(headers: &http::HeaderMap) -> Option<Trace> {
    let mut values = headers.get_all("traceparent").iter();
    let trace = values.next()?.to_str().ok().and_then(Trace::parse)?;
    values.next().is_none().then_some(trace)
}

/// How long until then.
fn left(at: UnixMillis) -> Duration {
    let millis = at.0.saturating_sub(clock::wall().0);
    Duration::from_millis(u64::try_from(millis).unwrap_or(0))
}

/// What goes on every answer to a request.
#[derive(Clone)]
pub(super) struct Answered {
    pub(super) request_id: String,
    /// The trace that the request belongs to.
    pub(super) trace: Option<Trace>,
    /// CORS, and what else the gate wants on it.
    pub(super) headers: Headers,
    /// The route's path, or `none`.
    pub(super) route: String,
}

impl Answered {
    pub(super) fn write(&self, head: &mut ResponseHeader) -> Result<()> {
        head.insert_header("x-request-id", &self.request_id)?;
        for (name, value) in &self.headers {
            head.append_header(name.clone(), value.clone())?;
        }
        Ok(())
    }
}
