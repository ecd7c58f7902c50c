//! The backends, spoken to over real sockets by a client as plain as can be.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::timeout,
};

use super::*;

mod brightpattern;
mod faults;
mod openfire;
mod salesforce;
mod xians;

/// A test that waits longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection and what was read so far.
struct Client {
    socket: TcpStream,
    read: Vec<u8>,
}

impl Client {
    async fn send(backend: &Backend, request: &str) -> Self {
        let mut socket = TcpStream::connect(backend.addr()).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        Self { socket, read: Vec::new() }
    }

    async fn get(backend: &Backend, target: &str, headers: &[&str]) -> Self {
        let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        Self::send(backend, &format!("GET {target} HTTP/1.1\r\nHost: h\r\n{headers}\r\n")).await
    }

    async fn post(backend: &Backend, target: &str, headers: &[&str], body: &str) -> Self {
        let headers: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
        let length = body.len();
        let head = format!("POST {target} HTTP/1.1\r\nContent-Length: {length}\r\n{headers}\r\n");
        Self::send(backend, &format!("{head}{body}")).await
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.read).into_owned()
    }

    /// Reads until the text is there.
    #[track_caller]
    fn until<'a>(&'a mut self, text: &'a str) -> impl Future<Output = String> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            while !self.text().contains(text) {
                let more = timeout(PATIENCE, self.socket.read_buf(&mut self.read)).await;
                assert!(
                    matches!(more, Ok(Ok(1..))),
                    "{caller}: no {text:?} ({more:?}) in {}",
                    self.text()
                );
            }
            self.text()
        }
    }

    /// Reads to the end; whether it was an orderly one.
    async fn end(&mut self) -> bool {
        let end = timeout(PATIENCE, self.socket.read_to_end(&mut self.read)).await;
        end.expect("no end").is_ok()
    }

    /// Status and body of an answer with a length.
    async fn answer(mut self) -> (u16, String) {
        let head = self.until("\r\n\r\n").await;
        let (head, body) = head.split_once("\r\n\r\n").unwrap();
        let status = head.get(9..12).unwrap().parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("Content-Length: "));
        let length: usize = length.unwrap().parse().unwrap();
        let mut body = body.as_bytes().to_vec();
        while body.len() < length {
            assert!(timeout(PATIENCE, self.socket.read_buf(&mut body)).await.unwrap().unwrap() > 0);
        }
        (status, String::from_utf8(body).unwrap())
    }
}

async fn start(kind: Kind, change: impl FnOnce(&mut Options)) -> Backend {
    let mut options = Options { heartbeat: Some(Duration::MAX), ..Options::default() };
    change(&mut options);
    Backend::start(kind, options).await.unwrap()
}

async fn until(backend: &Backend, what: impl FnMut(&Snapshot) -> bool) -> Snapshot {
    timeout(PATIENCE, backend.wait_for(what)).await.unwrap_or_else(|_| {
        panic!("not reached: {:?}", backend.now());
    })
}

const SSE: &str = "Accept: text/event-stream";
