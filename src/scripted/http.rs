//! HTTP/1.1 by hand: requests as they were written, answers byte by byte.
//!
//! Reads one request at a time (head up to [`MAX_HEAD`], body by length or chunks up to
//! [`MAX_BODY`]) and keeps header names, their order and their spelling. Anything that is not
//! HTTP closes the connection. Not here: who answers (`server`), endless bodies (`stream`).

use std::io;

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::Instant,
};

/// Bytes of a request head, as Jetty limits it.
pub(super) const MAX_HEAD: usize = 32 * 1024;
/// Bytes of a request body.
pub(super) const MAX_BODY: usize = 8 * 1024 * 1024;

/// A request as it came.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Method, as written.
    pub method: String,
    /// Path and query, as written.
    pub target: String,
    /// Header names and values, in order, names as written.
    pub headers: Vec<(String, String)>,
    /// The body, transfer coding removed.
    pub body: Bytes,
    /// Which of the backend's connections it came on, from 1.
    pub connection: u64,
    /// When its head had been read; by tokio's clock, which tests may pause.
    pub at: Instant,
}

impl Request {
    /// The path, as written.
    #[must_use]
    pub fn path(&self) -> &str {
        self.target.split('?').next().unwrap_or_default()
    }

    /// The first value of a query parameter, decoded.
    #[must_use]
    pub fn query(&self, name: &str) -> Option<String> {
        let (_, query) = self.target.split_once('?')?;
        query.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode(key) == name).then(|| percent_decode(value))
        })
    }

    /// The first value of a header, whatever the case of its name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let same = |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
        self.headers.iter().find(same).map(|(_, value)| value.as_str())
    }

    /// All values of a header.
    pub fn header_values<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let same = move |(key, _): &&(String, String)| key.eq_ignore_ascii_case(name);
        self.headers.iter().filter(same).map(|(_, value)| value.as_str())
    }

    /// The bearer token.
    #[must_use]
    pub fn bearer(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }

    /// The body as JSON; null where it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }
}

/// An answer with a length.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Response {
    pub(super) status: u16,
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Bytes,
}

impl Response {
    /// An answer without a body.
    pub(super) fn empty(status: u16) -> Self {
        Self { status, headers: Vec::new(), body: Bytes::new() }
    }

    /// An answer of this media type.
    pub(super) fn new(status: u16, media_type: &str, body: impl Into<Bytes>) -> Self {
        Self::empty(status).header("Content-Type", media_type).body(body)
    }

    /// A JSON answer.
    pub(super) fn json(status: u16, body: impl Into<Bytes>) -> Self {
        Self::new(status, "application/json", body)
    }

    /// The same with one header more.
    pub(super) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
        self
    }

    /// Head and body as written.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let length = ("Content-Length".to_owned(), self.body.len().to_string());
        let headers: Vec<_> = self.headers.iter().cloned().chain([length]).collect();
        let mut out = head(self.status, &headers);
        out.extend_from_slice(&self.body);
        out
    }
}

/// A response head as written.
pub(super) fn head(status: u16, headers: &[(String, String)]) -> Vec<u8> {
    let mut out = format!("HTTP/1.1 {status} {}\r\n", reason(status));
    for (name, value) in headers {
        out.push_str(name);
        out.push_str(": ");
        out.push_str(value);
        out.push_str("\r\n");
    }
    out.push_str("\r\n");
    out.into_bytes()
}

fn reason(status: u16) -> &'static str {
    match status {
        200 => "OK",
        201 => "Created",
        204 => "No Content",
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        409 => "Conflict",
        429 => "Too Many Requests",
        500 => "Internal Server Error",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        _ => "Scripted",
    }
}

/// `%XX` and `+` decoded; what is no escape stays.
pub(super) fn percent_decode(text: &str) -> String {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        match (first, tail) {
            (b'+', _) => out.push(b' '),
            (b'%', [high, low, after @ ..]) => {
                match (char::from(*high).to_digit(16), char::from(*low).to_digit(16)) {
                    (Some(high), Some(low)) => {
                        out.push(u8::try_from(high * 16 + low).unwrap_or_default());
                        rest = after;
                    }
                    _ => out.push(first),
                }
            }
            _ => out.push(first),
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// A connection and what was read from it too early.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) socket: TcpStream,
    buffer: BytesMut,
    number: u64,
}

impl Wire {
    pub(super) fn new(socket: TcpStream, number: u64) -> Self {
        Self { socket, buffer: BytesMut::new(), number }
    }

    /// The next request; `None` when the client has gone or does not speak HTTP.
    pub(super) async fn next_request(&mut self) -> Option<Request> {
        let head_length = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at + 4;
            }
            if self.buffer.len() > MAX_HEAD || !self.read_more().await {
                return None;
            }
        };
        let head = self.buffer.split_to(head_length);
        let mut request = parse_head(&String::from_utf8_lossy(&head), self.number)?;
        request.body = self.body(&request).await?;
        Some(request)
    }

    /// Writes a head until that fails.
    pub(super) async fn write_endless_head(&mut self, one_line: bool) -> io::Result<()> {
        self.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nX-Filler: ").await?;
        let more: &[u8] = if one_line { b"more and more, " } else { b"more\r\nX-Filler: " };
        loop {
            self.write(&more.repeat(256)).await?;
            tokio::task::yield_now().await;
        }
    }

    async fn body(&mut self, request: &Request) -> Option<Bytes> {
        let chunked = request
            .header("transfer-encoding")
            .is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
        if request.header("expect").is_some() {
            self.write(b"HTTP/1.1 100 Continue\r\n\r\n").await.ok()?;
        }
        if !chunked {
            let length = request.header("content-length").map_or(Some(0), |n| n.parse().ok())?;
            return self.exactly(length).await;
        }
        let mut body = BytesMut::new();
        loop {
            let size = usize::from_str_radix(self.line().await?.split(';').next()?.trim(), 16);
            match size.ok()? {
                0 => break,
                size => body.extend_from_slice(&self.exactly(size).await?),
            }
            self.line().await?;
            if body.len() > MAX_BODY {
                return None;
            }
        }
        while !self.line().await?.is_empty() {}
        Some(body.freeze())
    }

    async fn exactly(&mut self, length: usize) -> Option<Bytes> {
        if length > MAX_BODY {
            return None;
        }
        while self.buffer.len() < length {
            if !self.read_more().await {
                return None;
            }
        }
        Some(self.buffer.split_to(length).freeze())
    }

    async fn line(&mut self) -> Option<String> {
        let at = loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                break at;
            }
            if self.buffer.len() > MAX_HEAD || !self.read_more().await {
                return None;
            }
        };
        let line = String::from_utf8_lossy(&self.buffer.split_to(at)).into_owned();
        self.buffer.advance(2);
        Some(line)
    }

    /// Reads once; false at the end of the connection.
    pub(super) async fn read_more(&mut self) -> bool {
        matches!(self.socket.read_buf(&mut self.buffer).await, Ok(1..))
    }

    /// Returns when the client has closed or reset the connection.
    pub(super) async fn gone(&mut self) {
        while self.buffer.len() <= MAX_BODY && self.read_more().await {}
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.socket.write_all(bytes).await?;
        self.socket.flush().await
    }

    /// Closes with a reset, so that the peer sees an error and not an end.
    pub(super) fn reset(self) {
        reset(self.socket);
    }
}

/// Closes a socket with RST.
pub(super) fn reset(socket: TcpStream) {
    // Where the option cannot be set, the peer sees an ordinary end: nothing else to do.
    socket.set_zero_linger().unwrap_or_default();
    drop(socket);
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

fn parse_head(head: &str, connection: u64) -> Option<Request> {
    let mut lines = head.split("\r\n");
    let mut first = lines.next()?.split(' ');
    let (method, target) = (first.next()?.to_owned(), first.next()?.to_owned());
    if !first.next()?.starts_with("HTTP/1.") {
        return None;
    }
    let mut headers = Vec::new();
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':')?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    Some(Request { method, target, headers, body: Bytes::new(), connection, at: Instant::now() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_keep_order_and_spelling() {
        let head = "GET /a?x=%C3%A9+1&y HTTP/1.1\r\nHOST: h\r\nx-a:1\r\nX-A: 2\r\n\r\n";
        let request = parse_head(head, 3).unwrap();
        assert_eq!((request.path(), request.query("x").as_deref()), ("/a", Some("é 1")));
        assert_eq!((request.query("y").as_deref(), request.query("z")), (Some(""), None));
        assert_eq!(request.headers[0], ("HOST".to_owned(), "h".to_owned()));
        assert_eq!(request.header_values("X-a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(parse_head("GET / SMTP\r\n\r\n", 1), None);
        assert_eq!(parse_head("\r\n\r\n", 1), None);
    }

    #[test]
    fn broken_escapes_stay_as_they_are() {
        assert_eq!(percent_decode("a%2"), "a%2");
        assert_eq!(percent_decode("a%zz%41"), "a%zzA");
    }

    #[test]
    fn answers_carry_their_length() {
        let bytes = Response::json(404, "{}").to_bytes();
        let text = String::from_utf8(bytes).unwrap();
        assert_eq!(
            text,
            "HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\n\
             Content-Length: 2\r\n\r\n{}"
        );
    }
}
