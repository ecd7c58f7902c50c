//! Gets, keeps and renews the credential of one upstream stream, as its dialect describes.
//!
//! What is due says `proto::backend::Keyring`, what an answer means says the dialect; here the
//! calls are made, within the source's budget. Nothing of an answer's body is logged.

use std::time::Duration;

use super::{End, Life, UpstreamCell};
use crate::edge::clock;
use crate::edge::upstream::http::Dialer;
use crate::proto::backend::{Call, Credential, Due, Message, Obtained};
use crate::proto::event::DownReason;

/// Answers to log-ins and mintings are small, even Salesforce's with its whole configuration.
const ANSWER_BYTES_MAX: usize = 256 * 1024;
/// What is not there yet, such as an active chat, is looked for again after so long, and up to
/// as much more.
const ABSENT_RETRY: Duration = Duration::from_secs(5);

/// The request to dial with: with a credential that is good, as far as is known.
pub(super) async fn ready(life: &mut Life<'_>) -> Result<Message, End> {
    provide(life).await?;
    let nothing = Credential::default();
    let grant = life.keys.as_ref().and_then(|keys| keys.credential()).unwrap_or(&nothing);
    // A backend that gives what cannot be sent has given nothing.
    life.cell.request.call.fill(grant).ok_or(End::lost(DownReason::BadStatus))
}

/// Sees to it that a good credential is held, where the source gets its own.
pub(super) async fn provide(life: &mut Life<'_>) -> Result<(), End> {
    let cell = life.cell;
    let (Some(recipe), Some(keys)) = (&cell.request.recipe, &mut life.keys) else {
        return Ok(());
    };
    let due = keys.due(clock::now());
    let call = match due {
        Due::Nothing => return Ok(()),
        Due::Obtaining => &recipe.obtain,
        Due::Renewal => recipe.renew.as_ref().unwrap_or(&recipe.obtain),
    };
    let nothing = Credential::default();
    let miss = match ask(life.dialer, cell, call, keys.credential().unwrap_or(&nothing)).await {
        Ok(grant) => {
            let is_renewal = due == Due::Renewal;
            cell.metrics.on_credential(if is_renewal { "renewed" } else { "obtained" });
            if !is_renewal {
                // Of another subject there is nothing to go on from.
                life.is_continued = false;
            }
            if !is_renewal || life.last_event_id.is_empty() {
                life.last_event_id = grant.resume_from.clone().unwrap_or_default();
            }
            cell.on_grant(&grant.told);
            keys.on_granted(grant, rand::random(), clock::wall(), clock::now());
            return Ok(());
        }
        Err(miss) => miss,
    };
    cell.metrics.on_credential(miss.outcome);
    if miss.outcome == REFUSED {
        keys.on_refused_renewal();
    } else if due == Due::Renewal && keys.on_failed_renewal(miss.end.pause(), clock::now()) {
        return Ok(());
    }
    log::debug!("source={} gives no credential: {}", cell.source.name, miss.outcome);
    Err(miss.end)
}

/// Why there is no credential: a label of metrics, and what it means for the link.
struct Miss {
    outcome: &'static str,
    end: End,
}

const REFUSED: &str = "refused";

async fn ask(
    dialer: &Dialer,
    cell: &UpstreamCell,
    call: &Call,
    held: &Credential,
) -> Result<Credential, Miss> {
    let failed = |end| Miss { outcome: "failed", end };
    let Some(message) = call.fill(held) else {
        return Err(failed(End::lost(DownReason::BadStatus)));
    };
    let budget = dialer.budget(&cell.source);
    let _leave = budget.credential().await;
    let called = dialer.call(&cell.source, &message, ANSWER_BYTES_MAX).await;
    let (head, answered) = called.map_err(|reason| failed(End::lost(reason)))?;
    let body = String::from_utf8_lossy(&answered.body);
    match (cell.source.dialect.obtained)(head.status, &body) {
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
