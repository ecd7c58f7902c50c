//! The edge as a Pingora proxy: which of Pingora's phases asks what of it.
//!
//! Streams and refusals are answered in `request_filter`; calls of the conf's `proxy` take
//! Pingora's own path to the backend, with these filters. Not here: any decision.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use http::HeaderMap;
use pingora::http::{RequestHeader, ResponseHeader};
use pingora::proxy::{FailToProxy, ProxyHttp, Session};
use pingora::upstreams::peer::HttpPeer;
use pingora::{Error, ErrorType, Result};

use super::passthrough::Passing;
use super::proxy::Edge;

/// The edge as a Pingora proxy.
pub struct Proxy(pub Arc<Edge>);

#[async_trait]
impl ProxyHttp for Proxy {
    type CTX = Passing;

    fn new_ctx(&self) -> Self::CTX {
        Passing::default()
    }

    async fn request_filter(&self, session: &mut Session, ctx: &mut Self::CTX) -> Result<bool> {
        Ok(self.0.serve_or_pass(session, ctx).await)
    }

    async fn upstream_peer(&self, _: &mut Session, ctx: &mut Self::CTX) -> Result<Box<HttpPeer>> {
        match &mut ctx.0 {
            Some(call) => call.next_peer(),
            None => Error::e_explain(ErrorType::InternalError, "there is no call to pass"),
        }
    }

    fn fail_to_connect(
        &self,
        _: &mut Session,
        _: &HttpPeer,
        ctx: &mut Self::CTX,
        mut error: Box<Error>,
    ) -> Box<Error> {
        error.set_retry(ctx.0.as_ref().is_some_and(|call| call.has_next()));
        error
    }

    async fn upstream_request_filter(
        &self,
        _: &mut Session,
        header: &mut RequestHeader,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        ctx.0.as_mut().map_or(Ok(()), |call| call.on_request(header))
    }

    async fn request_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        is_end: bool,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        ctx.0.as_mut().map_or(Ok(()), |call| call.on_upload(body.as_ref(), is_end))
    }

    async fn upstream_response_filter(
        &self,
        _: &mut Session,
        header: &mut ResponseHeader,
        ctx: &mut Self::CTX,
    ) -> Result<()> {
        ctx.0.as_mut().map_or(Ok(()), |call| call.on_answer(header))
    }

    fn upstream_response_trailer_filter(
        &self,
        _: &mut Session,
        trailers: &mut HeaderMap,
        _: &mut Self::CTX,
    ) -> Result<()> {
        // Headers after the fact: none of those that may pass comes so late.
        trailers.clear();
        Ok(())
    }

    fn upstream_response_body_filter(
        &self,
        _: &mut Session,
        body: &mut Option<Bytes>,
        is_end: bool,
        ctx: &mut Self::CTX,
    ) -> Result<Option<Duration>> {
        ctx.0.as_mut().map_or(Ok(()), |call| call.on_download(body, is_end))?;
        Ok(None)
    }

    async fn fail_to_proxy(
        &self,
        session: &mut Session,
        error: &Error,
        ctx: &mut Self::CTX,
    ) -> FailToProxy {
        let error_code = self.0.fail(session, error, ctx).await;
        FailToProxy { error_code, can_reuse_downstream: false }
    }

    async fn logging(&self, session: &mut Session, error: Option<&Error>, ctx: &mut Self::CTX) {
        self.0.on_passed(session, error.is_none(), ctx);
    }

    fn request_summary(&self, session: &Session, _: &Self::CTX) -> String {
        // Pingora's own has the whole URL, credentials included.
        session.req_header().method.to_string()
    }

    fn suppress_error_log(&self, _: &Session, _: &Self::CTX, _: &Error) -> bool {
        // A client that leaves is no error; the access line says how its stream ended, and calls
        // that fail are logged where they do.
        true
    }
}
