//! Before Pingora dials: the decision, the credential, the addresses.
//!
//! Whatever can be refused is refused here. Not here: what happens once the backend is dialled.

use std::sync::Arc;
use std::time::Duration;

use http::header::{CONTENT_LENGTH, EXPECT};
use pingora::Result;
use pingora::protocols::http::ServerSession;
use pingora::proxy::Session;

use super::copy::Copy;
use super::{Bodies, Call, PassFault, Passing};
use crate::edge::clock;
use crate::edge::gate::{PassDecided, PassDecision, Passed};
use crate::edge::proxy::{Answered, Answering, Edge, trace_of};
use crate::edge::refusal::Refusal;
use crate::edge::upstream::Taking;
use crate::proto::backend::Credential;
use crate::proto::event::DownReason;
use crate::proto::prune::Pruner;

/// Past it a client that still sends what it was refused for is cut off.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(5);

impl Edge {
    /// Answers the request, unless it is a call to be passed: `false`, and Pingora goes on with
    /// what is in `passing`. Only for paths of `proxy`.
    pub(in crate::edge) async fn begin(
        &self,
        session: &mut Session,
        decided: PassDecided,
        (request_id, answering): (String, Answering),
        passing: &mut Passing,
    ) -> Result<bool> {
        let PassDecided { decision, headers, label } = decided;
        let down = session.as_downstream_mut();
        let trace = trace_of(&down.req_header().headers);
        let answered = Answered { request_id, trace, headers, route: label };
        let refusal = match decision {
            PassDecision::Options => return self.empty(down, &answered).await.map(|()| true),
            PassDecision::Refused(refusal) => refusal,
            PassDecision::Pass(passed) => {
                match self.call(down, *passed, &answered, answering).await {
                    Ok(call) => {
                        self.ready(down, &call).await?;
                        passing.0 = Some(Box::new(call));
                        return Ok(false);
                    }
                    Err(fault) => Refusal::Pass(fault),
                }
            }
        };
        down.set_total_drain_timeout(Some(DRAIN_TIMEOUT));
        self.refuse(down, &refusal, &answered).await.map(|()| true)
    }

    /// Gets what the call needs.
    async fn call(
        &self,
        down: &ServerSession,
        passed: Passed,
        answered: &Answered,
        answering: Answering,
    ) -> std::result::Result<Call, PassFault> {
        let route = passed.route.clone();
        let source = &route.source;
        let bytes_max = route.upload_bytes_max;
        let header = down.req_header();
        let length = header.headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok());
        let length = length.and_then(|length| length.parse::<usize>().ok());
        if length.is_some_and(|length| length > bytes_max) {
            return Err(PassFault::TooLarge { bytes_max });
        }
        let (key, credential) = match &passed.recipe {
            Some(recipe) => {
                let metrics = self.metrics().source(&source.name, source.dialect);
                let getting = self.dialer.pass_key(source, recipe, &metrics);
                let got = tokio::time::timeout(route.timeout, getting).await;
                let got = got.map_err(|_| PassFault::Silent)?;
                let (key, credential) = got.ok_or(PassFault::NoCredential)?;
                (Some(key), credential)
            }
            None => (None, Credential::default()),
        };
        let dress = passed.pass.fill(&credential).ok_or(PassFault::NoCredential)?;
        let dress = Arc::new(dress);
        let peers = self.dialer.pass_peers(source, route.timeout).await;
        let peers = peers.map_err(|reason| match reason {
            DownReason::Timeout => PassFault::Silent,
            _ => PassFault::Unreachable,
        })?;
        let plan = &source.plan.pass;
        let polled = (plan.polled)(header.method.as_str(), &passed.decoded);
        let copy = polled.map(|polled| {
            let taking = Taking {
                source: source.clone(),
                subscription: passed.subscription.clone(),
                path: format!("{}{polled}", source.url.path.trim_end_matches('/')),
                dress: dress.clone(),
                at: clock::wall(),
            };
            Copy::new(self.hub().clone(), taking)
        });
        let private = plan.private_keys;
        Ok(Call {
            dress,
            peers,
            tried: 0,
            answered: answered.clone(),
            key,
            _answering: answering,
            bodies: Bodies::new(clock::now()),
            pruner: (!private.is_empty()).then(|| Pruner::new(private)),
            copy,
            fault: None,
            passed,
        })
    }

    /// Sets how long the client may take, and lets one go on that waits for leave.
    async fn ready(&self, down: &mut ServerSession, call: &Call) -> Result<()> {
        down.set_read_timeout(Some(call.passed.route.timeout));
        down.set_write_timeout(Some(self.config().timeouts.write));
        down.set_total_drain_timeout(Some(DRAIN_TIMEOUT));
        // What a backend says before its answer is for whoever spoke to it, which is the edge.
        down.set_ignore_info_resp(true);
        let expects = down.req_header().headers.get(EXPECT);
        let is_waiting =
            expects.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        if is_waiting && !down.is_http2() {
            down.write_continue_response().await?;
        }
        Ok(())
    }

    /// Tells the client why its call failed, if it is there and nothing was answered yet. The
    /// status; 0 where nobody is told.
    pub(in crate::edge) async fn fail(
        &self,
        session: &mut Session,
        error: &pingora::Error,
        passing: &mut Passing,
    ) -> u16 {
        let Some(call) = &mut passing.0 else {
            return 0;
        };
        let Some(fault) = call.fault_of(error) else {
            return 0;
        };
        // What the client did wrong it is told; nobody else can mend it.
        let is_clients = fault.status().is_client_error();
        let level = if is_clients { log::Level::Debug } else { log::Level::Warn };
        log::log!(
            level,
            request_id = call.answered.request_id.as_str(),
            route = call.answered.route.as_str(),
            source = call.passed.route.source.name.as_str(),
            status = fault.status().as_u16(),
            reason = error.etype().as_str();
            "a call was not passed"
        );
        let down = session.as_downstream_mut();
        // Leave to send a body is no answer yet.
        if down.response_written().is_some_and(|head| !head.status.is_informational()) {
            return 0;
        }
        down.set_keepalive(None);
        let answered = call.answered.clone();
        let status = fault.status().as_u16();
        // It is counted as it is written.
        passing.0 = None;
        if let Err(error) = self.refuse(down, &Refusal::Pass(fault), &answered).await {
            log::debug!(error:%; "the client left before its answer was written");
        }
        status
    }

    /// The end of a call: counts it. `is_whole`: all of its answer came, and has left.
    pub(in crate::edge) fn on_passed(
        &self,
        session: &Session,
        is_whole: bool,
        passing: &mut Passing,
    ) {
        let Some(mut call) = passing.0.take() else {
            return;
        };
        if is_whole {
            // Of an answer that ends with trailers no piece of the body was the last.
            call.on_whole();
        }
        let written = session.response_written();
        if let Some(written) = written.filter(|head| !head.status.is_informational()) {
            self.metrics().on_request(&call.answered.route, written.status.as_u16());
        }
    }
}
