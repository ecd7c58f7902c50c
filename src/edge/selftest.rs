//! Sends a self-test: probes at known moments, until its plan is over or its time is.
//!
//! It ends as a stream does: with its credential, a drain, a reload that forbids it, an operator's
//! word. It listens to no log and opens no source. Not here: what is sent when and what it tells
//! (`proto::selftest`), who may ask (`gate`).

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::HeaderMap;
use http::header::{ACCEPT_ENCODING, ACCESS_CONTROL_EXPOSE_HEADERS, HeaderName, HeaderValue, VIA};
use http::request::Parts;
use tokio::sync::watch;
use tokio::time::Instant;

use super::bell::Bell;
use super::client::{CloseReason, Recheck, Tally};
use super::clock;
use super::cors::Headers;
use super::down::{Down, WriteFailure};
use super::gate::Admitted;
use super::streams::Entry;
use crate::proto::selftest::{
    About, ClientFrom, EndReason, HttpVersion, Plan, write_begin, write_end, write_probe,
};

/// What a self-test needs to run.
pub(super) struct SelfTest {
    /// What is sent when.
    pub(super) plan: Plan,
    /// What is told of the request.
    pub(super) about: About,
    /// When its credential ends.
    pub(super) expires_in: Option<Duration>,
    /// Told when the process is to stop.
    pub(super) drain: watch::Receiver<Option<Duration>>,
    /// Told when another configuration is in force.
    pub(super) reloads: watch::Receiver<u64>,
    /// Its place among the open streams: by it operators end it.
    pub(super) entry: Entry,
    /// Rung when they do.
    pub(super) bell: Arc<Bell>,
}

/// What a pause came to.
enum Pause {
    Over,
    Gone,
    Ended(EndReason),
}

/// What happened first.
enum Woken {
    Time,
    Gone,
    Ended,
    Changed,
}

/// Lets pages of other origins see whether the answer was compressed on its way, if they may
/// read it at all.
pub(super) fn expose(headers: &mut Headers) {
    if headers.iter().any(|(name, _)| name == ACCESS_CONTROL_EXPOSE_HEADERS) {
        let exposed = HeaderValue::from_static("Content-Encoding, Via");
        headers.push((ACCESS_CONTROL_EXPOSE_HEADERS, exposed));
        // Browsers tell the bytes on the wire of other origins only then.
        let name = HeaderName::from_static("timing-allow-origin");
        headers.push((name, HeaderValue::from_static("*")));
    }
}

/// What the edge saw of a request.
pub(super) fn about(request: &Parts, admitted: &Admitted, client_from: ClientFrom) -> About {
    let text = |name: HeaderName| {
        let value = request.headers.get(name).and_then(|value| value.to_str().ok());
        value.map(str::to_owned)
    };
    About {
        http: match request.version {
            http::Version::HTTP_2 => HttpVersion::V2,
            http::Version::HTTP_10 => HttpVersion::V1_0,
            _ => HttpVersion::V1_1,
        },
        accept_encoding: text(ACCEPT_ENCODING),
        via: text(VIA),
        client_from,
        has_last_event_id: has_last_event_id(&request.headers),
        heartbeat_secs: admitted.heartbeat.as_secs(),
    }
}

fn has_last_event_id(headers: &HeaderMap) -> bool {
    headers.get("last-event-id").is_some_and(|value| !value.is_empty())
}

/// Runs a self-test to its end: how it ended, and what was sent.
pub(super) async fn serve(
    down: &mut Down<'_>,
    test: &mut SelfTest,
    recheck: Recheck<'_>,
) -> (&'static str, Tally) {
    let mut tally = Tally::default();
    let reason = match run(down, test, recheck, &mut tally).await {
        Ok(Some(EndReason::Done)) => "self_test",
        Ok(Some(reason)) => reason.as_str(),
        Ok(None) => CloseReason::ClientGone.as_str(),
        Err(WriteFailure::Timeout) => CloseReason::WriteTimeout.as_str(),
        Err(WriteFailure::Broken) => CloseReason::WriteError.as_str(),
    };
    (reason, tally)
}

/// `None`: the client left.
async fn run(
    down: &mut Down<'_>,
    test: &mut SelfTest,
    recheck: Recheck<'_>,
    tally: &mut Tally,
) -> Result<Option<EndReason>, WriteFailure> {
    let started = Instant::now();
    let elapsed = || u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let mut expires = test.expires_in.map(|left| started + left);
    let mut block = Vec::new();
    write_begin(&mut block, &test.plan, &test.about, clock::wall());
    send(down, block, tally).await?;
    let steps = test.plan.steps().to_vec();
    let mut reason = EndReason::Done;
    for (at, step) in steps.iter().enumerate() {
        let mut block = Vec::with_capacity(step.padding + 128);
        write_probe(&mut block, at + 1, elapsed(), step);
        send(down, block, tally).await?;
        let over = Instant::now() + step.pause;
        match wait(down, test, &mut expires, over, recheck).await {
            Pause::Over => {}
            Pause::Gone => return Ok(None),
            Pause::Ended(ended) => {
                reason = ended;
                break;
            }
        }
    }
    let mut block = Vec::new();
    write_end(&mut block, elapsed(), reason);
    send(down, block, tally).await?;
    down.finish().await?;
    Ok(Some(reason))
}

async fn send(down: &mut Down<'_>, block: Vec<u8>, tally: &mut Tally) -> Result<(), WriteFailure> {
    tally.bytes += block.len() as u64;
    down.write(block.into()).await
}

/// Waits until then, unless the client leaves or the test's own time is over.
async fn wait(
    down: &mut Down<'_>,
    test: &mut SelfTest,
    expires: &mut Option<Instant>,
    over: Instant,
    recheck: Recheck<'_>,
) -> Pause {
    loop {
        if test.drain.borrow_and_update().is_some() {
            return Pause::Ended(EndReason::Draining);
        }
        let at = expires.map_or(over, |expires| expires.min(over));
        match until(down, test, at).await {
            Woken::Time if at == over => return Pause::Over,
            Woken::Time => return Pause::Ended(EndReason::TokenExpired),
            Woken::Gone => return Pause::Gone,
            Woken::Ended => return Pause::Ended(EndReason::Revoked),
            Woken::Changed => match recheck(test.entry.grant()) {
                Ok(left) => *expires = left.map(|left| Instant::now() + left),
                Err(_) => return Pause::Ended(EndReason::Revoked),
            },
        }
    }
}

/// Waits for the next thing that happens, ends first.
async fn until(down: &mut Down<'_>, test: &mut SelfTest, at: Instant) -> Woken {
    let SelfTest { entry, bell, drain, reloads, .. } = test;
    let mut gone = pin!(down.gone());
    let mut sleep = pin!(tokio::time::sleep_until(at));
    let mut changed = pin!(async {
        tokio::select! {
            _ = drain.changed() => {}
            _ = reloads.changed() => {}
        }
    });
    poll_fn(|context| {
        // Before all looks, so that what happens after one of them is not missed.
        bell.register(context.waker());
        if gone.as_mut().poll(context).is_ready() {
            return Poll::Ready(Woken::Gone);
        }
        if entry.is_ended() {
            return Poll::Ready(Woken::Ended);
        }
        if changed.as_mut().poll(context).is_ready() {
            return Poll::Ready(Woken::Changed);
        }
        sleep.as_mut().poll(context).map(|()| Woken::Time)
    })
    .await
}

#[cfg(test)]
mod tests {
    use pingora::http::ResponseHeader;
    use tokio::io::AsyncReadExt as _;

    use super::*;
    use crate::edge::down::Bare;
    use crate::edge::gate::{Grant, Revoked, Whose};
    use crate::edge::streams::Streams;
    use crate::proto::event::Subscription;

    /// What tells a test from outside that it is to end.
    struct Outside {
        drain: watch::Sender<Option<Duration>>,
        reloads: watch::Sender<u64>,
        streams: Arc<Streams>,
    }

    fn test(idle_secs: u64, expires_in: Option<Duration>) -> (SelfTest, Outside) {
        let outside = Outside {
            drain: watch::Sender::new(None),
            reloads: watch::Sender::new(0),
            streams: Arc::default(),
        };
        let bell = Arc::new(Bell::default());
        let subscription = Subscription::new("t", "w", "p");
        let about = About {
            http: HttpVersion::V1_1,
            accept_encoding: None,
            via: None,
            client_from: ClientFrom::Connection,
            has_last_event_id: false,
            heartbeat_secs: 5,
        };
        let test = SelfTest {
            plan: Plan::new(idle_secs),
            about,
            expires_in,
            drain: outside.drain.subscribe(),
            reloads: outside.reloads.subscribe(),
            entry: outside.streams.enter(Grant::anonymous(), subscription, bell.clone()),
            bell,
        };
        (test, outside)
    }

    /// Runs a test over a pipe, while something else happens: its reason, its text, its time.
    async fn run_with(
        mut test: SelfTest,
        is_allowed: bool,
        meanwhile: impl Future<Output = ()>,
    ) -> (&'static str, String, Duration) {
        let started = Instant::now();
        let (near, mut far) = tokio::io::duplex(256 * 1024);
        let head = ResponseHeader::build(200, None).expect("a head");
        let (bare, head) = Bare::new(Box::new(near), &head, Duration::from_secs(10));
        let mut down = Down::Bare(bare.open(head).await.expect("a pipe that is read"));
        let recheck = |_: &Grant| if is_allowed { Ok(None) } else { Err(Revoked) };
        let serve = async {
            let (reason, _) = serve(&mut down, &mut test, &recheck).await;
            drop(down);
            reason
        };
        let mut bytes = Vec::new();
        let (reason, (), read) = tokio::join!(serve, meanwhile, far.read_to_end(&mut bytes));
        read.expect("a pipe");
        (reason, String::from_utf8(bytes).expect("text"), started.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn all_probes_are_sent_at_their_times() {
        for idle_secs in [0, 5, 300] {
            let (test, _outside) = test(idle_secs, None);
            let (takes, probes) = (test.plan.takes(), test.plan.steps().len());
            let (reason, text, took) = run_with(test, true, async {}).await;
            assert_eq!(reason, "self_test");
            assert_eq!(text.matches("event: probe\n").count(), probes);
            assert!(text.ends_with("\"reason\":\"done\"}\n\n"), "{text}");
            assert!(took >= takes && took < takes + Duration::from_secs(1), "{took:?}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_ends_when_a_stream_would() {
        let soon = Duration::from_secs(10);
        for (expires_in, is_allowed, what, want) in [
            (Some(soon), true, "nothing", "token_expired"),
            (None, true, "drain", "draining"),
            (None, false, "reload", "revoked"),
            (None, true, "operator", "revoked"),
            (Some(soon), true, "reload", "self_test"),
        ] {
            let (test, outside) = test(30, expires_in);
            let meanwhile = async {
                tokio::time::sleep(soon / 2).await;
                match what {
                    "drain" => drop(outside.drain.send_replace(Some(soon))),
                    "reload" => drop(outside.reloads.send_replace(1)),
                    "operator" => assert_eq!(outside.streams.end(&Whose::default()), 1),
                    _ => {}
                }
            };
            let (reason, text, took) = run_with(test, is_allowed, meanwhile).await;
            assert_eq!(reason, want, "{what}");
            if want != "self_test" {
                let end = format!("\"reason\":\"{want}\"}}\n\n");
                assert!(text.ends_with(&end), "{text}");
                assert!(took <= soon, "{what}: {took:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_leaves_ends_it() {
        let (mut test, _outside) = test(300, None);
        let (near, far) = tokio::io::duplex(256 * 1024);
        let head = ResponseHeader::build(200, None).expect("a head");
        let (bare, head) = Bare::new(Box::new(near), &head, Duration::from_secs(10));
        let mut down = Down::Bare(bare.open(head).await.expect("a pipe"));
        let leave = async {
            tokio::time::sleep(Duration::from_secs(100)).await;
            drop(far);
        };
        let started = Instant::now();
        let recheck = |_: &Grant| Ok(None);
        let ((reason, _), ()) = tokio::join!(serve(&mut down, &mut test, &recheck), leave);
        assert_eq!(reason, "client_gone");
        assert_eq!(started.elapsed(), Duration::from_secs(100));
    }
}
