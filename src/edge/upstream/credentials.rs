//! Gets, keeps and renews a credential, as its dialect describes.
//!
//! What is due says `proto::backend::Keyring`, what an answer means says the dialect; here the
//! calls are made, within the source's budget. Nothing of an answer's body is logged.

use std::time::Duration;

use super::http::Dialer;
use super::ring::Ring;
use super::{End, Life};
use crate::config::Source;
use crate::proto::backend::{Call, Credential, Due, Message, Obtained};
use crate::proto::event::DownReason;

/// Answers to log-ins and mintings are small, even Salesforce's with its whole configuration.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// What is not there yet, such as an active chat, is looked for again after so long, and up to
/// as much more.
const ABSENT_RETRY: Duration = Duration::from_secs(5);

/// The request to dial with: with a credential that is good, as far as is known.
pub(super) async fn ready(life: &mut Life<'_>) -> Result<Message, End> {
    let credential = hold(life).await?;
    // A backend that gives what cannot be sent has given nothing.
    life.cell.request().call.fill(&credential).ok_or(End::lost(DownReason::BadStatus))
}

/// The credential that is held then; an empty one where none is needed.
async fn hold(life: &mut Life<'_>) -> Result<Credential, End> {
    let cell = life.cell;
    Ok(match &life.keys {
        Some(ring) => {
            let credential = ring.provide(life.dialer).await.map_err(|miss| miss.end)?;
            let (seen, count) = (life.seen, ring.count());
            life.seen = count;
            if count.subjects != seen.subjects {
                // Of another subject there is nothing to go on from.
                life.is_continued = false;
                life.last_event_id.clear();
            }
            if count != seen {
                if life.last_event_id.is_empty() {
                    life.last_event_id = credential.resume_from.clone().unwrap_or_default();
                }
                cell.on_grant(&credential.told);
            }
            credential
        }
        None => Credential::default(),
    })
}

/// Sees to it that a good credential is held, where the source gets its own.
pub(super) async fn provide(life: &mut Life<'_>) -> Result<(), End> {
    hold(life).await.map(drop)
}

impl Ring {
    /// A credential that is good, as far as is known. One asks, all others wait for it.
    pub(super) async fn provide(&self, dialer: &Dialer) -> Result<Credential, Miss> {
        let held = || self.credential().unwrap_or_default();
        if self.due() == Due::Nothing {
            return Ok(held());
        }
        let _turn = self.asking.lock().await;
        let due = self.due();
        let call = match due {
            Due::Nothing => return Ok(held()),
            Due::Obtaining => &self.recipe.obtain,
            Due::Renewal => self.recipe.renew.as_ref().unwrap_or(&self.recipe.obtain),
        };
        let miss = match ask(dialer, &self.source, call, &held()).await {
            Ok(grant) => {
                let is_renewal = due == Due::Renewal;
                self.metrics.on_credential(if is_renewal { "renewed" } else { "obtained" });
                self.on_granted(grant, is_renewal);
                return Ok(held());
            }
            Err(miss) => miss,
        };
        self.metrics.on_credential(miss.outcome);
        if miss.outcome == REFUSED {
            self.on_refused_renewal();
        } else if due == Due::Renewal && self.on_failed_renewal(miss.end.pause()) {
            return Ok(held());
        }
        let source = self.source.name.as_str();
        log::debug!(source, reason = miss.outcome; "source gives no credential");
        Err(miss)
    }
}

/// Why there is no credential: a label of metrics, and what it means for the link.
pub(super) struct Miss {
    outcome: &'static str,
    end: End,
}

const REFUSED: &str = "refused";

async fn ask(
    dialer: &Dialer,
    source: &Source,
    call: &Call,
    held: &Credential,
) -> Result<Credential, Miss> {
    let failed = |end| Miss { outcome: "failed", end };
    let Some(message) = call.fill(held) else {
        return Err(failed(End::lost(DownReason::BadStatus)));
    };
    let budget = dialer.budget(source);
    let _leave = budget.credential().await;
    let called = dialer.call(source, &message, ANSWER_BYTES_MAX).await;
    let (head, answered) = called.map_err(|reason| failed(End::lost(reason)))?;
    let body = String::from_utf8_lossy(&answered.body);
    match (source.dialect.obtained)(head.status, &body) {
        Obtained::Granted(grant) => Ok(grant),
        Obtained::Refused => {
            Err(Miss { outcome: REFUSED, end: head.end(DownReason::Unauthorized) })
        }
        Obtained::Absent => {
            let retry_after = Some(head.retry_after.unwrap_or(ABSENT_RETRY));
            let reason = DownReason::BadStatus;
            let end = End::Lost { reason, retry_after, status: Some(head.status) };
            Err(Miss { outcome: "absent", end })
        }
        Obtained::RateLimited => {
            Err(Miss { outcome: "rate_limited", end: head.end(DownReason::RateLimited) })
        }
        Obtained::Failed => Err(failed(head.end(DownReason::BadStatus))),
    }
}
