//! A backend that says bytes: whatever a test wants to come back, well formed or not.
//!
//! Requests are read whole, so that no answer is lost to a reset. Not here: dialects.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

/// What becomes of a request.
#[derive(Clone, Debug)]
pub(crate) enum Say {
    /// These bytes, and the connection stays.
    Bytes(Vec<u8>),
    /// These bytes, and the connection is closed.
    Last(Vec<u8>),
}

/// A running one. Ends when dropped.
pub(crate) struct Raw {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<String>>>,
    task: AbortHandle,
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Raw {
    /// Asks `answer` about each request, by its number from zero and its text.
    pub(crate) async fn start(answer: impl Fn(usize, &str) -> Say + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let (seen, answer) = (requests.clone(), Arc::new(answer));
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (seen, answer) = (seen.clone(), answer.clone());
                tokio::spawn(async move {
                    // A proxy that hangs up is what some tests are about.
                    let _is_over = serve(socket, &seen, &*answer).await.is_ok();
                });
            }
        });
        Self { address, requests, task: task.abort_handle() }
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// All requests so far.
    pub(crate) fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no poison").clone()
    }
}

/// A whole answer with a length, under these lines of its head.
pub(crate) fn answer(status: &str, headers: &[&str], body: &str) -> Vec<u8> {
    let lines: String = headers.iter().map(|line| format!("{line}\r\n")).collect();
    let length = body.len();
    format!("HTTP/1.1 {status}\r\n{lines}Content-Length: {length}\r\n\r\n{body}").into_bytes()
}

async fn serve(
    mut socket: TcpStream,
    seen: &Mutex<Vec<String>>,
    answer: &(impl Fn(usize, &str) -> Say + Sync),
) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let Some(request) = request(&mut socket, &mut buffer).await? else {
            return Ok(());
        };
        let number = {
            let mut seen = seen.lock().expect("no poison");
            seen.push(request.clone());
            seen.len() - 1
        };
        match answer(number, &request) {
            Say::Bytes(bytes) => socket.write_all(&bytes).await?,
            Say::Last(bytes) => {
                socket.write_all(&bytes).await?;
                return socket.shutdown().await;
            }
        }
    }
}

/// The next request, with its body; `None` at the end of the connection.
async fn request(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> std::io::Result<Option<String>> {
    loop {
        let text = String::from_utf8_lossy(buffer).into_owned();
        if let Some(head) = text.find("\r\n\r\n") {
            let body = head + 4;
            let lower = text[..head].to_ascii_lowercase();
            let after = lower.split("content-length: ").nth(1);
            let length = after.and_then(|rest| rest.lines().next()?.trim().parse::<usize>().ok());
            let end = match length {
                None if lower.contains("transfer-encoding") => {
                    text[body..].find("0\r\n\r\n").map(|at| body + at + 5)
                }
                length => Some(body + length.unwrap_or(0)),
            };
            if let Some(end) = end.filter(|end| buffer.len() >= *end) {
                let request: Vec<u8> = buffer.drain(..end).collect();
                return Ok(Some(String::from_utf8_lossy(&request).into_owned()));
            }
        }
        if socket.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
}
