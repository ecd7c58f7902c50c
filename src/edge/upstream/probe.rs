//! Trying a place without asking it for anything: does it answer, and with what.
//!
//! The connection is made as that of a stream is: same names, time-outs, authorities. Not here:
//! streams (`sse`, `poll`), what an operator is told (`cli::check`).

use std::time::Duration;

use super::http::{Dialer, Head, Place};
use crate::proto::backend::{Message, Method};
use crate::proto::event::DownReason;
use crate::proto::time::UnixMillis;

/// For one place, whatever its own time-outs are: somebody waits.
pub(crate) const PROBE_TIMEOUT: Duration = Duration::from_secs(15);

/// What a place answered.
pub(crate) struct Probed {
    /// The status, for a request without credentials for a path.
    pub(crate) status: u16,
    /// Its clock, as its `Date` says.
    pub(crate) date: Option<UnixMillis>,
}

impl From<&Head> for Probed {
    fn from(head: &Head) -> Self {
        Self { status: head.status, date: head.date }
    }
}

/// Asks a place for a path, without credentials.
///
/// # Errors
/// Why there is no answer.
pub(crate) async fn probe(
    dialer: &Dialer,
    place: impl Into<Place<'_>>,
    target: &str,
) -> Result<Probed, DownReason> {
    let probed = tokio::time::timeout(PROBE_TIMEOUT, ask(dialer, place.into(), target));
    probed.await.unwrap_or(Err(DownReason::Timeout))
}

async fn ask(dialer: &Dialer, place: Place<'_>, target: &str) -> Result<Probed, DownReason> {
    let message = Message {
        method: Method::Get,
        target: target.to_owned(),
        has_query: target.contains('?'),
        fresh_query: None,
        headers: Vec::new(),
        body: None,
    };
    let mut connection = dialer.connect(place, false).await?;
    connection.send(place, &message, None).await?;
    Ok(Probed::from(&connection.read_head().await?))
}
