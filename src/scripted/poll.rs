//! One held poll: waits for something to say, the end of its patience, or the client's leaving.

use std::{future::pending, io, time::Duration};

use bytes::Bytes;
use tokio::{
    io::AsyncWriteExt as _,
    sync::mpsc,
    time::{Instant, sleep_until},
};

use crate::scripted::{
    fault::{Fault, Gzip, cut_at, garbage},
    http::{Response, Wire},
    stage::{Out, Polled, Shared},
    stream::dribble,
};

/// What becomes of the connection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum After {
    /// The next request may come.
    Next,
    /// It is to be closed.
    Close,
    /// It is to be reset.
    Reset,
}

/// Holds a poll and answers it.
pub(super) async fn run(
    wire: &mut Wire,
    shared: &Shared,
    (chat, target): (&str, &str),
    (number, mut inbox): (u64, mpsc::Receiver<Out>),
    fault: Option<Fault>,
) -> After {
    match wait(wire, shared, (chat, target), &mut inbox, fault).await {
        Outcome::Polled(polled, fault) => {
            // The poll is over before its answer is read: the next one may come at once.
            shared.with(|stage, _| stage.forget(number));
            let sent = write(wire, polled.response, fault.as_ref()).await.unwrap_or(After::Close);
            shared.with(|stage, _| {
                stage.counts.polls_answered += 1;
                if sent == After::Next {
                    polled.names.iter().for_each(|name| stage.count_sent(name));
                }
            });
            sent
        }
        Outcome::Instead(response) => {
            release(shared, number);
            write(wire, response, None).await.unwrap_or(After::Close)
        }
        Outcome::Over(after) => {
            release(shared, number);
            after
        }
    }
}

/// How a poll came to its end.
enum Outcome {
    /// With an answer, to be spoilt or not.
    Polled(Polled, Option<Fault>),
    /// With something else; nothing was read.
    Instead(Response),
    /// Without an answer.
    Over(After),
}

async fn wait(
    wire: &mut Wire,
    shared: &Shared,
    (chat, target): (&str, &str),
    inbox: &mut mpsc::Receiver<Out>,
    mut fault: Option<Fault>,
) -> Outcome {
    let hold = shared.with(|stage, _| stage.options.hold);
    let deadline = Instant::now() + hold.min(Duration::from_secs(1 << 30));
    let mut timed_out = false;
    loop {
        if matches!(fault, Some(Fault::Stall | Fault::NoAnswer)) {
            wire.gone().await;
            return Outcome::Over(After::Close);
        }
        if let Some(Fault::Oversize(bytes)) = fault.take_if(|it| matches!(it, Fault::Oversize(_))) {
            shared.with(|stage, dialect| dialect.filler(chat, bytes, stage));
        }
        let polled = shared.with(|_, dialect| dialect.take_poll(chat, target, timed_out));
        if let Some(polled) = polled {
            return Outcome::Polled(polled, fault);
        }
        let out = tokio::select! {
            biased;
            out = inbox.recv() => out.unwrap_or(Out::End),
            () = sleep_until(deadline) => {
                timed_out = true;
                Out::Wake
            }
            () = wire.gone() => return Outcome::Over(After::Close),
        };
        match out {
            Out::Wake | Out::Beat | Out::Frame(..) => {}
            Out::End => return Outcome::Over(After::Close),
            Out::Fault(Fault::Reset) => return Outcome::Over(After::Reset),
            Out::Fault(Fault::HalfOpen) => pending().await,
            Out::Fault(Fault::Garbage) => return instead(garbage()),
            Out::Fault(other) => match other.instead() {
                Some(response) => return Outcome::Instead(response),
                None => fault = Some(other),
            },
            Out::Bytes(bytes) => return instead(bytes),
        }
    }
}

fn instead(bytes: impl Into<Bytes>) -> Outcome {
    Outcome::Instead(Response::json(200, bytes))
}

/// The poll is over and has read nothing: another may come.
fn release(shared: &Shared, number: u64) {
    shared.with(|stage, dialect| {
        if let Some(owner) = stage.forget(number) {
            dialect.closed(&owner, stage);
        }
    });
}

/// Writes an answer, spoilt as asked.
pub(super) async fn write(
    wire: &mut Wire,
    mut response: Response,
    fault: Option<&Fault>,
) -> io::Result<After> {
    let mut slowly = None;
    let mut cut = None;
    match fault {
        Some(Fault::ContentType(other)) => {
            response.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("content-type"));
            response = response.header("Content-Type", other);
        }
        Some(Fault::Gzip) => {
            response.body = Gzip::whole(&response.body).into();
            response = response.header("Content-Encoding", "gzip");
        }
        Some(Fault::Garbage) => response.body = garbage().into(),
        Some(Fault::Oversize(bytes)) => {
            response.body = format!("{{\"filler\":\"{}\"}}", "x".repeat(*bytes)).into();
        }
        Some(Fault::Dribble(bytes, pause)) => slowly = Some(((*bytes).max(1), *pause)),
        Some(Fault::CloseMidEvent) => cut = Some(false),
        Some(Fault::CloseMidUtf8) => cut = Some(true),
        Some(Fault::CloseAfter(at)) => {
            let bytes = response.to_bytes();
            wire.write(bytes.get(..at % bytes.len().max(1)).unwrap_or(&bytes)).await?;
            return Ok(After::Close);
        }
        Some(Fault::Reset) => return Ok(After::Reset),
        Some(
            Fault::Status(..)
            | Fault::NoAnswer
            | Fault::EndlessHead { .. }
            | Fault::Stall
            | Fault::HalfOpen
            | Fault::RefuseConnections,
        )
        | None => {}
    }
    let bytes = response.to_bytes();
    if let Some(inside) = cut {
        let head_length = bytes.len() - response.body.len();
        let at = head_length + cut_at(&response.body, inside);
        wire.write(bytes.get(..at).unwrap_or(&bytes)).await?;
        return Ok(After::Close);
    }
    dribble(&mut wire.socket, &bytes, slowly).await?;
    wire.socket.flush().await?;
    Ok(After::Next)
}
