//! HTTP/1 by hand: what is sent and what comes back, byte by byte.
//!
//! No client library may mend what the edge sends. Not here: events (`sse`).

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};

use super::{KEY, soon};

/// Room for one read.
const READ_BYTES: usize = 16 * 1024;

/// A request.
#[derive(Clone, Debug)]
pub(crate) struct Ask {
    method: &'static str,
    target: String,
    version: &'static str,
    headers: Vec<(String, String)>,
    body: Option<Vec<u8>>,
    from: Ipv4Addr,
}

impl Ask {
    pub(crate) fn new(method: &'static str, target: impl Into<String>) -> Self {
        Self {
            method,
            target: target.into(),
            version: "HTTP/1.1",
            headers: Vec::new(),
            body: None,
            from: Ipv4Addr::UNSPECIFIED,
        }
    }

    pub(crate) fn get(target: impl Into<String>) -> Self {
        Self::new("GET", target)
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// From this address of loopback, as one client of several.
    pub(crate) fn from(mut self, last: u8) -> Self {
        self.from = Ipv4Addr::new(127, 0, 0, last);
        self
    }

    /// With a body, and its length.
    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        let body = body.into();
        self = self.header("Content-Length", &body.len().to_string());
        self.body = Some(body);
        self
    }

    /// With a body whose framing the headers tell.
    pub(crate) fn raw_body(mut self, body: Vec<u8>) -> Self {
        self.body = Some(body);
        self
    }

    /// Sends it and reads the whole answer; the connection is closed.
    pub(crate) async fn send(&self, to: SocketAddr) -> Reply {
        let ask = self.clone().header("Connection", "close");
        let whole = async {
            let (mut wire, head) = ask.start(to, None).await?;
            let mut framing = head.framing(ask.method);
            let mut body = Vec::new();
            while let Some(piece) = wire.piece(&mut framing).await? {
                body.extend_from_slice(&piece);
            }
            io::Result::Ok(Reply { head, body })
        };
        let what = format!("an answer to {} {}", self.method, self.target);
        soon(&what, whole).await.unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// Sends it and reads the head of the answer.
    pub(crate) async fn start(
        &self,
        to: SocketAddr,
        receive_buffer: Option<u32>,
    ) -> io::Result<(Wire, Head)> {
        let socket = TcpSocket::new_v4()?;
        if let Some(bytes) = receive_buffer {
            socket.set_recv_buffer_size(bytes)?;
        }
        socket.bind((self.from, 0).into())?;
        let mut wire = Wire { socket: socket.connect(to).await?, buffer: Vec::new() };
        let head = self.continue_on(&mut wire).await?;
        Ok((wire, head))
    }

    /// Sends it on a connection on which all that was asked before has been answered.
    pub(crate) async fn continue_on(&self, wire: &mut Wire) -> io::Result<Head> {
        let host = wire.socket.peer_addr()?;
        let mut text =
            format!("{} {} {}\r\nHost: {host}\r\n", self.method, self.target, self.version);
        for (name, value) in &self.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        wire.socket.write_all(text.as_bytes()).await?;
        if let Some(body) = &self.body {
            wire.socket.write_all(body).await?;
        }
        wire.head().await
    }
}

/// Sends bytes as they are and reads what comes back; `None` where that is nothing but the end of
/// the connection.
pub(crate) async fn send_raw(to: SocketAddr, bytes: &[u8]) -> Option<Reply> {
    let whole = async {
        let socket = TcpStream::connect(to).await.expect("a connection");
        let (reader, mut writer) = socket.into_split();
        // Whoever refuses may close before it has read everything.
        let write = async {
            let _is_sent = writer.write_all(bytes).await.is_ok();
            writer
        };
        tokio::join!(write, read_reply(reader)).1
    };
    soon("an answer to bytes", whole).await
}

/// Reads a whole answer; `None` where nothing comes but the end of the connection.
pub(crate) async fn read_reply(socket: impl AsyncRead + Unpin) -> Option<Reply> {
    let mut wire = Wire { socket, buffer: Vec::new() };
    let head = wire.head().await.ok()?;
    let body = wire.body(&head).await.expect("a whole body");
    Some(Reply { head, body })
}

/// The head of an answer.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    pub(crate) version: String,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
}

impl Head {
    /// The only value of a header; none where it is not there.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut values =
            self.headers.iter().filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, v)| v);
        let first = values.next();
        assert!(values.next().is_none(), "{name} is there twice: {self:?}");
        first.map(String::as_str)
    }

    fn framing(&self, method: &str) -> Framing {
        if method == "HEAD" || matches!(self.status, 204 | 304) {
            return Framing::Length(0);
        }
        if let Some(coding) = self.header("transfer-encoding") {
            assert_eq!(coding, "chunked");
            assert_eq!(self.version, "HTTP/1.1", "HTTP/1.0 knows no chunks");
            return Framing::Chunked { left: 0 };
        }
        let length = self.header("content-length").map(|n| n.parse().expect("a length"));
        length.map_or(Framing::Close, Framing::Length)
    }

    /// How the body of an answer to a GET is delimited.
    pub(crate) fn get_framing(&self) -> Framing {
        self.framing("GET")
    }
}

/// A whole answer.
#[derive(Clone, Debug)]
pub(crate) struct Reply {
    pub(crate) head: Head,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.clone()).expect("a body of UTF-8")
    }

    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {}", self.text()))
    }

    /// The same again as bytes, for another to say.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut text = format!("{} {} Said\r\n", self.head.version, self.head.status);
        for (name, value) in &self.head.headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        text.push_str("\r\n");
        [text.as_bytes(), &self.body].concat()
    }

    /// A refusal: its status, its shape, and what its message names.
    #[track_caller]
    pub(crate) fn refuses(&self, status: u16, error: &str, names: &str) -> &Self {
        assert_eq!(self.head.status, status, "{self:?}");
        assert_eq!(self.head.header("content-type"), Some("application/json"), "{self:?}");
        let body = self.json();
        assert_eq!(body["error"], error, "{body}");
        let message = body["message"].as_str().expect("a message");
        assert!(message.contains(names), "{message:?} does not name {names:?}");
        assert_eq!(body.get("retryAfter").is_some(), status == 429, "{body}");
        self
    }
}

/// How much of the body is to come.
#[derive(Debug)]
pub(crate) enum Framing {
    Chunked { left: usize },
    Length(usize),
    Close,
}

/// A connection and what was read from it too early.
#[derive(Debug)]
pub(crate) struct Wire<S = TcpStream> {
    pub(crate) socket: S,
    buffer: Vec<u8>,
}

impl<S: AsyncRead + Unpin> Wire<S> {
    /// The next head of an answer.
    pub(crate) async fn head(&mut self) -> io::Result<Head> {
        let end = loop {
            if let Some(at) = find(&self.buffer, b"\r\n\r\n") {
                break at;
            }
            self.fill().await?;
        };
        let text: Vec<u8> = self.buffer.drain(..end + 4).take(end).collect();
        let text = String::from_utf8(text).map_err(io::Error::other)?;
        let mut lines = text.split("\r\n");
        let mut first = lines.next().unwrap_or_default().splitn(3, ' ');
        let version = first.next().unwrap_or_default().to_owned();
        let status = first.next().and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status in {text:?}")))?;
        let headers = lines
            .map(|line| line.split_once(':').expect("NAME: VALUE"))
            .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
            .collect();
        Ok(Head { version, status, headers })
    }

    /// The whole body of an answer that has a length.
    pub(crate) async fn body(&mut self, head: &Head) -> io::Result<Vec<u8>> {
        let (mut framing, mut body) = (head.get_framing(), Vec::new());
        while let Some(piece) = self.piece(&mut framing).await? {
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    /// The next part of the body; `None` at its end, which must be as announced.
    pub(crate) async fn piece(&mut self, framing: &mut Framing) -> io::Result<Option<Vec<u8>>> {
        match framing {
            Framing::Length(0) => Ok(None),
            Framing::Length(left) => {
                if self.buffer.is_empty() {
                    self.fill().await?;
                }
                let piece: Vec<u8> = self.buffer.drain(..self.buffer.len().min(*left)).collect();
                *left -= piece.len();
                Ok(Some(piece))
            }
            Framing::Close => {
                if self.buffer.is_empty() && self.read().await? == 0 {
                    return Ok(None);
                }
                Ok(Some(std::mem::take(&mut self.buffer)))
            }
            Framing::Chunked { left } => self.chunk(left).await,
        }
    }

    async fn chunk(&mut self, left: &mut usize) -> io::Result<Option<Vec<u8>>> {
        if *left == 0 {
            let size = self.line().await?;
            *left = usize::from_str_radix(&size, 16)
                .map_err(|_| io::Error::other(format!("{size:?} is no size of a chunk")))?;
            if *left == 0 {
                let end = self.line().await?;
                assert_eq!(end, "", "no trailers were announced");
                return Ok(None);
            }
        }
        if self.buffer.is_empty() {
            self.fill().await?;
        }
        let piece: Vec<u8> = self.buffer.drain(..self.buffer.len().min(*left)).collect();
        *left -= piece.len();
        if *left == 0 {
            let end = self.line().await?;
            assert_eq!(end, "", "a chunk is longer than it said");
        }
        Ok(Some(piece))
    }

    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(at) = find(&self.buffer, b"\r\n") {
                let line: Vec<u8> = self.buffer.drain(..at + 2).take(at).collect();
                return String::from_utf8(line).map_err(io::Error::other);
            }
            self.fill().await?;
        }
    }

    /// Reads more; the end of the connection is an error here.
    async fn fill(&mut self) -> io::Result<()> {
        match self.read().await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    async fn read(&mut self) -> io::Result<usize> {
        self.buffer.reserve(READ_BYTES);
        self.socket.read_buf(&mut self.buffer).await
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

/// A client of the edge: what it asks for and how it shows who it is.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    path: String,
    query: Vec<(String, String)>,
    headers: Vec<(String, String)>,
    version: &'static str,
}

impl Client {
    /// A participant of tenant `acme`, workflow `customer-support`, with a good key and a
    /// heartbeat that does not disturb.
    pub(crate) fn new(participant: &str) -> Self {
        let ids = [
            ("tenantId", "acme"),
            ("workflow", "customer-support"),
            ("participantId", participant),
            ("heartbeatSeconds", "300"),
            ("apikey", KEY),
        ];
        let client = Self {
            path: "/events".to_owned(),
            query: Vec::new(),
            headers: Vec::new(),
            version: "HTTP/1.1",
        };
        ids.into_iter().fold(client, |client, (name, value)| client.query(name, value))
    }

    pub(crate) fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// With this parameter, instead of one of the same name.
    pub(crate) fn query(mut self, name: &str, value: &str) -> Self {
        self = self.without(name);
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn without(mut self, name: &str) -> Self {
        self.query.retain(|(key, _)| key != name);
        self
    }

    pub(crate) fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Goes on after this event, as a browser does.
    pub(crate) fn after(self, id: &str) -> Self {
        self.header("Last-Event-ID", id)
    }

    pub(crate) fn http10(mut self) -> Self {
        self.version = "HTTP/1.0";
        self
    }

    pub(crate) fn target(&self) -> String {
        let pairs: Vec<_> =
            self.query.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        format!("{}?{}", self.path, pairs.join("&"))
    }

    pub(crate) fn ask(&self, method: &'static str) -> Ask {
        let mut ask = Ask::new(method, self.target()).header("Accept", "text/event-stream");
        ask.headers.extend(self.headers.iter().cloned());
        ask.version = self.version;
        ask
    }
}

/// A value of a query.
fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let write = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(write).collect()
}

/// Reads a stream of HTTP/2 until this was said.
pub(crate) async fn read_until(body: &mut h2::RecvStream, what: &str) {
    let mut text = String::new();
    let read = async {
        while !text.contains(what) {
            let data = body.data().await.expect("the stream goes on").expect("data");
            body.flow_control().release_capacity(data.len()).expect("capacity");
            text.push_str(&String::from_utf8_lossy(&data));
        }
    };
    soon(what, read).await;
}
