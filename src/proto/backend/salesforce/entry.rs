//! What is not said by anybody: routing, people, receipts, typing, tokens, the session's state.
//!
//! Pure readers of one payload. Not here: what was told before ([`super::Memory`]), messages
//! ([`super::message`]).

use std::borrow::Cow;

use super::frame::Frame;
use super::{Fault, Told, role};
use crate::proto::event::{
    Handoff, HandoffPhase, Json, Participant, Party, Payload, Receipt, Role, Status, StatusState,
    Text, Token, Typing,
};
use crate::proto::time::UnixMillis;
use crate::proto::view::View;

impl<'a> Told<'a> {
    const fn new(payload: Payload<'a>) -> Self {
        Self { payload, text: None }
    }

    fn status(status: Status<'a>) -> Self {
        Self::new(Payload::Status(Box::new(status)))
    }
}

pub(super) fn routing_result<'a>(payload: View<'a>) -> Result<Told<'a>, Fault> {
    let failure = payload.word("failureType").filter(|failure| failure != "None");
    let text = failure.as_ref().and_then(|_| payload.text("failureReason"));
    let told = match (payload.text("routingType").as_deref(), failure) {
        (Some("Initial"), None) => {
            let estimated_wait_secs = payload.object("estimatedWaitTime").and_then(estimated_wait);
            Told::status(Status { estimated_wait_secs, ..Status::new(StatusState::Queued) })
        }
        (Some("Initial"), reason) => {
            Told::status(Status { reason, ..Status::new(StatusState::Failed) })
        }
        (Some("Transfer"), None) => {
            Told::new(Payload::Handoff(Box::new(Handoff::new(HandoffPhase::Requested))))
        }
        (Some("Transfer"), reason) => Told::new(Payload::Handoff(Box::new(Handoff {
            reason,
            ..Handoff::new(HandoffPhase::Failed)
        }))),
        _ => return Err(Fault::Malformed("neither Initial nor Transfer")),
    };
    Ok(Told { text, ..told })
}

/// The wait, where it was asked for and could be computed (the vendor tells by -1 that not).
fn estimated_wait(time: View<'_>) -> Option<i64> {
    if time.bool("isEWTRequested") != Some(true) {
        return None;
    }
    time.int("estimatedWaitTimeInSeconds").filter(|secs| *secs >= 0)
}

pub(super) fn routing_work_result<'a>(payload: View<'a>) -> Told<'a> {
    Told::status(Status {
        reason: payload.word("workType"),
        ..Status::new(StatusState::Connecting)
    })
}

/// Who came and went, in order.
pub(super) fn participants<'a>(payload: View<'a>) -> Result<Vec<Participant<'a>>, Fault> {
    const NOBODY: Fault = Fault::Filtered("nobody came or went");
    let entries = payload.get("entries").ok_or(NOBODY)?;
    let entries = entries.as_array().ok_or(Fault::Malformed("entries are no array"))?;
    let changes: Vec<Participant<'a>> = entries.map(participant).collect::<Result<_, _>>()?;
    if changes.is_empty() { Err(NOBODY) } else { Ok(changes) }
}

fn participant(entry: View<'_>) -> Result<Participant<'_>, Fault> {
    let entry = entry.as_object().ok_or(Fault::Malformed("an entry that is no object"))?;
    let is_joined = match entry.text("operation").as_deref() {
        Some("add") => true,
        Some("remove") => false,
        _ => return Err(Fault::Malformed("neither add nor remove")),
    };
    let party =
        entry.object("participant").ok_or(Fault::Malformed("an entry without a participant"))?;
    let party_word = party.word("role");
    Ok(Participant {
        is_joined,
        party: Party {
            id: party.id("subject"),
            name: entry.word("displayName"),
            first_name: None,
            last_name: None,
            role: role(party_word.as_deref().unwrap_or_default()),
        },
        party_word,
        initial: None,
    })
}

pub(super) fn receipt<'a>(
    payload: View<'a>,
    frame: &'a Frame<'_>,
    is_read: bool,
) -> Result<Told<'a>, Fault> {
    let message_id = payload
        .id("acknowledgedConversationEntryIdentifier")
        .or_else(|| frame.related.as_deref().map(Cow::Borrowed))
        .ok_or(Fault::Filtered("a receipt that names no message"))?;
    let at = payload.int("acknowledgementTimestamp").and_then(UnixMillis::from_millis);
    Ok(Told::new(Payload::Receipt(Receipt { is_read, message_id, at })))
}

pub(super) const fn typing(is_started: bool) -> Told<'static> {
    Told::new(Payload::Typing(Typing { is_started, detail: None }))
}

pub(super) fn progress<'a>(payload: View<'a>) -> Result<Told<'a>, Fault> {
    let progress =
        payload.object("progressIndicator").ok_or(Fault::Malformed("no progressIndicator"))?;
    Ok(Told {
        text: progress.object("progressMessage").and_then(|message| message.text("text")),
        payload: Payload::Progress { indicator: progress.word("indicatorType") },
    })
}

pub(super) fn token<'a>(payload: View<'a>) -> Result<Told<'a>, Fault> {
    let piece = payload.object("streamingToken").ok_or(Fault::Malformed("no streamingToken"))?;
    let message_id =
        piece.id("targetMessageIdentifier").ok_or(Fault::Malformed("a token of no message"))?;
    let json = |key| piece.get(key).map(|value| Cow::Borrowed(value.raw()));
    let mut token = Token {
        message_id,
        valid: None,
        reason: None,
        sequence: piece.int("sequenceNumber"),
        turn: json("turnId"),
        batch: json("batchNumber"),
    };
    let mut text = None;
    if piece.text("tokenType").as_deref() == Some("StreamingTokenValidation") {
        let result =
            piece.object("result").ok_or(Fault::Malformed("a validation without result"))?;
        token.valid =
            Some(result.bool("valid").ok_or(Fault::Malformed("a validation without verdict"))?);
        token.reason = result.word("reason");
    } else {
        text = piece.object("token").and_then(|token| token.text("text"));
        if text.is_none() {
            return Err(Fault::Malformed("a token without text"));
        }
    }
    Ok(Told { text, payload: Payload::Token(Box::new(token)) })
}

pub(super) fn session_status<'a>(payload: View<'a>) -> Result<Told<'a>, Fault> {
    let state = match payload.word("sessionStatus").as_deref() {
        Some("Active") => StatusState::Active,
        Some("Waiting") => StatusState::Waiting,
        Some("Ended") => StatusState::Ended,
        Some(_) => return Ok(kind("status", payload)),
        None => return Err(Fault::Malformed("no sessionStatus")),
    };
    let ended_by = payload.word("sessionEndedByRole").filter(|_| state == StatusState::Ended);
    Ok(Told::status(Status { ended_by: ended_by.map(|word| role(&word)), ..Status::new(state) }))
}

pub(super) fn queue_position<'a>(payload: View<'a>) -> Told<'a> {
    let found =
        ["position", "queuePosition"].into_iter().find_map(|key| Some((key, payload.int(key)?)));
    let used = found.map(|(key, _)| key);
    let mut queue = own_fields(payload);
    queue.retain(|(key, _)| Some(key.as_ref()) != used);
    Told::status(Status {
        position: found.map(|(_, position)| position),
        queue,
        ..Status::new(StatusState::Queued)
    })
}

pub(super) fn closed() -> Told<'static> {
    Told::status(Status { ended_by: Some(Role::Participant), ..Status::new(StatusState::Ended) })
}

/// A thing that has no type of its own.
pub(super) fn kind<'a>(kind: &'static str, payload: View<'a>) -> Told<'a> {
    Told::new(Payload::Kind { kind, fields: own_fields(payload) })
}

/// What a payload holds beside its name, id and time.
fn own_fields<'a>(payload: View<'a>) -> Vec<(Text<'a>, Json<'a>)> {
    const KNOWN: [&str; 3] = ["entryType", "id", "timestamp"];
    let own = payload.fields().filter(|(key, _)| !KNOWN.contains(&key.as_ref()));
    own.map(|(key, value)| (key, Cow::Borrowed(value.raw()))).collect()
}
