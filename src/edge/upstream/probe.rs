//! Trying a source without asking it for anything: does it answer, and with what.
//!
//! The connection is made as that of a stream is: same names, time-outs, authorities. Not here:
//! streams (`sse`, `poll`), what an operator is told (`cli::check`).

use std::time::Duration;

use super::http::Dialer;
use crate::config::Source;
use crate::proto::backend::{Message, Method};
use crate::proto::event::DownReason;
use crate::proto::time::UnixMillis;

/// For one source, whatever its own time-outs are: somebody waits.
pub(crate) const PROBE_TIMEOUT: Duration = Duration::from_secs(15);

/// What a source answered.
pub(crate) struct Probed {
    /// The status, for a request without credentials for its base path.
    pub(crate) status: u16,
    /// Its clock, as its `Date` says.
    pub(crate) date: Option<UnixMillis>,
}

/// Asks a source for its base path, without credentials.
///
/// # Errors
/// Why there is no answer.
pub(crate) async fn probe(dialer: &Dialer, source: &Source) -> Result<Probed, DownReason> {
    let probed = tokio::time::timeout(PROBE_TIMEOUT, ask(dialer, source));
    probed.await.unwrap_or(Err(DownReason::Timeout))
}

async fn ask(dialer: &Dialer, source: &Source) -> Result<Probed, DownReason> {
    let message = Message {
        method: Method::Get,
        target: source.url.path.clone(),
        has_query: false,
        fresh_query: None,
        headers: Vec::new(),
        body: None,
    };
    let mut connection = dialer.connect(source, false).await?;
    connection.send(source, &message, None).await?;
    let head = connection.read_head().await?;
    Ok(Probed { status: head.status, date: head.date })
}
