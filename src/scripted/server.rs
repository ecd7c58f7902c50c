//! Accepts connections and serves them, one task each; all end with the backend.
//!
//! Not here: what is answered (the dialects), streams and polls once they are open.

use std::{future::pending, io, net::SocketAddr, sync::Arc};

use tokio::{
    net::{TcpListener, TcpSocket},
    sync::mpsc,
    task::JoinSet,
};

use crate::scripted::{
    fault::Fault,
    http::{Request, Response, Wire},
    poll::{self, After},
    stage::{Answer, Dialect, Framing, Opening, Out, Shared, Stage},
    stream::{self, Opened},
};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;

/// A listening socket on loopback; a port just closed may be taken again.
pub(super) fn listen(port: u16) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(SocketAddr::from(([127, 0, 0, 1], port)))?;
    socket.listen(BACKLOG)
}

/// Serves until dropped. Closes the listening socket and opens it again as it is told.
pub(super) async fn run(listener: TcpListener, port: u16, shared: Arc<Shared>) {
    let mut wanted = shared.wanted.subscribe();
    let mut listener = Some(listener);
    let mut connections = JoinSet::new();
    loop {
        let want = *wanted.borrow_and_update();
        if !want {
            listener = None;
        } else if listener.is_none() {
            // A port that somebody else took meanwhile stays closed: the snapshot tells.
            listener = listen(port).ok();
        }
        let listening = listener.is_some();
        shared.with(|stage, _| stage.counts.listening = listening);
        tokio::select! {
            changed = wanted.changed() => if changed.is_err() { return },
            Some(_) = connections.join_next() => {}
            accepted = accept(listener.as_ref()) => {
                let Ok(socket) = accepted else { continue };
                // Small writes shall leave as they are made.
                socket.set_nodelay(true).unwrap_or_default();
                let number = shared.with(|stage, _| {
                    stage.counts.connections += 1;
                    stage.counts.open_connections += 1;
                    stage.counts.connections
                });
                connections.spawn(connection(Wire::new(socket, number), Arc::clone(&shared)));
            }
        }
    }
}

async fn accept(listener: Option<&TcpListener>) -> io::Result<tokio::net::TcpStream> {
    match listener {
        Some(listener) => listener.accept().await.map(|(socket, _)| socket),
        None => pending().await,
    }
}

async fn connection(wire: Wire, shared: Arc<Shared>) {
    serve(wire, &shared).await;
    shared.with(|stage, _| {
        stage.counts.open_connections = stage.counts.open_connections.saturating_sub(1);
    });
}

/// What to do about a request.
enum Next {
    Instead(Fault),
    Plain(Response, Option<Fault>),
    Stream(Opened, Option<Fault>),
    Poll { chat: String, held: (u64, mpsc::Receiver<Out>), fault: Option<Fault> },
}

async fn serve(mut wire: Wire, shared: &Shared) {
    while let Some(request) = wire.next_request().await {
        let last =
            request.header("connection").is_some_and(|value| value.eq_ignore_ascii_case("close"));
        let after = match admit(&request, shared) {
            Next::Instead(Fault::Reset) => After::Reset,
            Next::Instead(Fault::NoAnswer) => {
                wire.gone().await;
                After::Close
            }
            Next::Instead(Fault::EndlessHead { one_line }) => {
                // Ends when the client has had enough.
                wire.write_endless_head(one_line).await.unwrap_or_default();
                After::Close
            }
            Next::Instead(fault) => match fault.instead() {
                Some(response) => {
                    poll::write(&mut wire, response, None).await.unwrap_or(After::Close)
                }
                None => pending().await,
            },
            Next::Plain(_, Some(Fault::Stall)) => {
                wire.gone().await;
                After::Close
            }
            Next::Plain(response, fault) => {
                poll::write(&mut wire, response, fault.as_ref()).await.unwrap_or(After::Close)
            }
            Next::Stream(opened, fault) => {
                return stream::run(wire.socket, shared, opened, fault).await;
            }
            Next::Poll { chat, held, fault } => {
                poll::run(&mut wire, shared, (&chat, &request.target), held, fault).await
            }
        };
        match after {
            After::Next if !last => {}
            After::Next | After::Close => return,
            After::Reset => return wire.reset(),
        }
    }
}

/// Records a request and decides on it, under one lock.
fn admit(request: &Request, shared: &Shared) -> Next {
    shared.with(|stage, dialect| {
        let next = decide(request, stage, dialect);
        let status = match &next {
            Next::Instead(Fault::Status(status, ..)) => Some(*status),
            Next::Instead(_) => None,
            Next::Plain(response, _) => Some(response.status),
            Next::Stream(..) | Next::Poll { .. } => Some(200),
        };
        if let Some(status) = status {
            *stage.answers.entry(status).or_default() += 1;
        }
        next
    })
}

fn decide(request: &Request, stage: &mut Stage, dialect: &mut dyn Dialect) -> Next {
    stage.record(request);
    let fault = stage.take_fault(request, dialect.is_events(request));
    if let Some(
        fault @ (Fault::Status(..)
        | Fault::NoAnswer
        | Fault::EndlessHead { .. }
        | Fault::Reset
        | Fault::HalfOpen),
    ) = fault
    {
        return Next::Instead(fault);
    }
    match dialect.answer(request, stage) {
        Answer::Plain(response) => Next::Plain(response, fault),
        Answer::Stream(mut opening) => {
            let (number, inbox) = stage.open(&opening, false);
            opening.first.clear();
            Next::Stream(Opened { opening, number, inbox }, fault)
        }
        Answer::Poll(chat) => {
            let opening = Opening {
                headers: Vec::new(),
                framing: Framing::Close,
                owner: chat.clone(),
                detail: String::new(),
                muted: false,
                first: Vec::new(),
                beat: None,
                notices_late: false,
            };
            let held = stage.open(&opening, true);
            Next::Poll { chat, held, fault }
        }
    }
}
