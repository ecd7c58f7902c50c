//! A relay before the edge that cuts answers at a byte, by plan or by command, and keeps what passed.
//!
//! Plans go by streams: the first request of a relay follows the first step, the second the next,
//! and all that come later the last. Preflights pass. Not here: what clients make of it.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::soon;

/// Bytes read at a time.
const READ_BYTES: usize = 16 * 1024;
/// Where a message without a long character is cut in its data.
const DATA_CUT_BYTES: usize = 400;

/// What becomes of one request.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// It goes to the edge, and all of the answer comes back.
    Pass,
    /// The answer is cut in this message, counted from one for each connection.
    Cut(usize, Place),
    /// These bytes instead, and then the end of the connection.
    Say(Vec<u8>),
    /// These bytes instead, and then nothing until it is cut by command.
    SayAndHold(Vec<u8>),
    /// All bytes pass unread, as those of TLS.
    Tunnel,
}

/// Where in a message a connection is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Inside the name of the event.
    Name,
    /// Inside of its id.
    Id,
    /// Inside of a character of its data that has several bytes, else somewhere in the data.
    Data,
    /// Before the line break that would end it.
    LastByte,
    /// Right after it, with a reset that may take bytes from the reader.
    AfterByReset,
}

/// One request and what its client was given.
#[derive(Clone, Debug, Default)]
pub(crate) struct Passed {
    /// The request; of a tunnel the first bytes.
    pub(crate) head: Vec<u8>,
    /// The status of the answer, once it has come; 0 before.
    pub(crate) status: u16,
    /// The body of the answer as far as it came, without its chunks.
    pub(crate) body: Vec<u8>,
    /// Whether the plan has ended it.
    pub(crate) cut: Option<Place>,
}

impl Passed {
    /// The value of a header of the request.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let head = String::from_utf8_lossy(&self.head).into_owned();
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        let (_, value) = lines.find(|(key, _)| key.eq_ignore_ascii_case(name))?;
        Some(value.to_owned())
    }
}

/// A running relay.
#[derive(Debug)]
pub(crate) struct Relay {
    address: SocketAddr,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    edge: SocketAddr,
    plan: Vec<Act>,
    passed: watch::Sender<Vec<Passed>>,
    cuts: watch::Sender<u32>,
}

impl Relay {
    /// Listens on a free port. A plan has at least one step.
    pub(crate) async fn start(edge: SocketAddr, plan: Vec<Act>) -> Self {
        assert!(!plan.is_empty(), "the last step is for all that come later");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (passed, cuts) = (watch::Sender::new(Vec::new()), watch::Sender::new(0));
        let shared = Arc::new(Shared { edge, plan, passed, cuts });
        let relay = Self { address, shared: shared.clone() };
        tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                let shared = shared.clone();
                tokio::spawn(async move {
                    // A connection that breaks is the client's affair, or that of the plan.
                    let _is_over = shared.serve(near).await.is_ok();
                });
            }
        });
        relay
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Cuts every connection that is open.
    pub(crate) fn cut(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// All requests for streams so far.
    pub(crate) fn passed(&self) -> Vec<Passed> {
        self.shared.passed.borrow().clone()
    }

    /// Waits until so many have asked for a stream.
    pub(crate) async fn asked(&self, count: usize) {
        let mut passed = self.shared.passed.subscribe();
        let come = passed.wait_for(|passed| passed.len() >= count);
        come.await.map(drop).expect("the relay lives");
    }
}

impl Shared {
    async fn serve(&self, mut near: TcpStream) -> std::io::Result<()> {
        let mut head = Vec::new();
        let is_tunnel = matches!(self.plan.as_slice(), [Act::Tunnel]);
        while !(if is_tunnel { is_hello(&head) } else { find(&head, b"\r\n\r\n").is_some() }) {
            if near.read_buf(&mut head).await? == 0 {
                return Ok(());
            }
        }
        if head.starts_with(b"OPTIONS ") {
            return self.preflight(near, &head).await;
        }
        let mut number = 0;
        self.passed.send_modify(|passed| {
            number = passed.len();
            passed.push(Passed { head: head.clone(), ..Passed::default() });
        });
        let act = self.plan.get(number).or_else(|| self.plan.last()).expect("a plan has a step");
        match act {
            Act::Pass => self.pass(near, &head, number, None).await,
            Act::Cut(message, place) => {
                self.pass(near, &head, number, Some((*message, *place))).await
            }
            Act::Say(bytes) => {
                near.write_all(bytes).await?;
                close(near).await
            }
            Act::SayAndHold(bytes) => {
                let mut cuts = self.cuts.subscribe();
                near.write_all(bytes).await?;
                let mut rest = Vec::new();
                tokio::select! {
                    read = near.read_to_end(&mut rest) => return read.map(drop),
                    _ = cuts.changed() => {}
                }
                close(near).await
            }
            Act::Tunnel => {
                let mut far = TcpStream::connect(self.edge).await?;
                far.write_all(&head).await?;
                copy_bidirectional(&mut near, &mut far).await.map(drop)
            }
        }
    }

    /// Asks the edge, on a connection of its own.
    async fn preflight(&self, mut near: TcpStream, head: &[u8]) -> std::io::Result<()> {
        let mut far = TcpStream::connect(self.edge).await?;
        let head = String::from_utf8_lossy(head);
        let is_other = |line: &&str| !line.to_ascii_lowercase().starts_with("connection:");
        let mut lines: Vec<_> = head.trim_end().split("\r\n").filter(is_other).collect();
        lines.extend(["Connection: close", "", ""]);
        far.write_all(lines.join("\r\n").as_bytes()).await?;
        tokio::io::copy(&mut far, &mut near).await?;
        close(near).await
    }

    async fn pass(
        &self,
        mut near: TcpStream,
        head: &[u8],
        number: usize,
        cut: Option<(usize, Place)>,
    ) -> std::io::Result<()> {
        let mut cuts = self.cuts.subscribe();
        cuts.mark_unchanged();
        let mut far = TcpStream::connect(self.edge).await?;
        far.write_all(head).await?;
        let mut scan = Scan { cut, ..Scan::default() };
        let (mut bytes, mut more) = (vec![0; READ_BYTES], vec![0; READ_BYTES]);
        loop {
            let read = tokio::select! {
                read = far.read(&mut bytes) => read?,
                left = near.read(&mut more) => match left? {
                    0 => return Ok(()),
                    sent => {
                        far.write_all(&more[..sent]).await?;
                        continue;
                    }
                },
                _ = cuts.changed() => return Ok(()),
            };
            if read == 0 {
                return close(near).await;
            }
            let from = scan.body.len();
            let end = scan.read(&bytes[..read]);
            // Known before it is sent: whoever has heard of it finds it here.
            self.passed.send_modify(|passed| {
                passed[number].status = scan.status();
                passed[number].body.extend_from_slice(&scan.body[from..]);
                passed[number].cut = end.map(|(_, place)| place);
            });
            let (count, is_cut) = end.map_or((read, None), |(at, place)| (at, Some(place)));
            near.write_all(&bytes[..count]).await?;
            match is_cut {
                Some(Place::AfterByReset) => return near.set_zero_linger(),
                Some(_) => return close(near).await,
                // The next request is to have a connection, and a step, of its own.
                None if matches!(scan.at, At::Plain(0)) => return close(near).await,
                None => {}
            }
        }
    }
}

/// Sends the end, and stays until the other side has seen it: a close with unread bytes would
/// reset the connection.
async fn close(mut near: TcpStream) -> std::io::Result<()> {
    near.shutdown().await?;
    soon("the client closes as well", near.read_to_end(&mut Vec::new())).await.map(drop)
}

/// Reads an answer byte by byte: what is body, and where it is to be cut.
#[derive(Debug, Default)]
struct Scan {
    cut: Option<(usize, Place)>,
    head: Vec<u8>,
    at: At,
    body: Vec<u8>,
    line_at: usize,
    /// Messages that have begun.
    messages: usize,
    /// What the current block has: a message's name, an id, data.
    has: [bool; 3],
}

/// Where in a chunked answer the next byte stands.
#[derive(Clone, Copy, Debug, Default)]
enum At {
    #[default]
    Head,
    Size(usize),
    Data(usize),
    DataEnd(usize),
    /// Of a refusal, so many bytes before its end.
    Plain(usize),
}

impl Scan {
    /// The status of the answer, once its head is there.
    fn status(&self) -> u16 {
        let head = String::from_utf8_lossy(&self.head);
        let is_whole = !matches!(self.at, At::Head);
        let status = head.split(' ').nth(1).filter(|_| is_whole);
        status.map_or(0, |status| status.parse().expect("a status"))
    }

    /// Takes bytes; says after how many of them the plan cuts.
    fn read(&mut self, bytes: &[u8]) -> Option<(usize, Place)> {
        let mut index = 0;
        while let Some(byte) = bytes.get(index) {
            if let At::Data(left @ 1..) = self.at {
                let piece = bytes.get(index..bytes.len().min(index + left)).unwrap_or_default();
                let count = self.dull(piece).max(1);
                if let Some(place) = self.on_body(&piece[..count]) {
                    return Some((index + 1, place));
                }
                self.at = if left == count { At::DataEnd(2) } else { At::Data(left - count) };
                index += count;
                continue;
            }
            self.at = match self.at {
                At::Head => self.on_head(*byte),
                At::Size(size) => match byte {
                    b'\n' => At::Data(size),
                    b'\r' => At::Size(size),
                    hex => {
                        let digit = char::from(*hex).to_digit(16).expect("the size of a chunk");
                        At::Size(size * 16 + usize::try_from(digit).expect("a digit"))
                    }
                },
                At::Data(_) => At::DataEnd(1),
                At::DataEnd(2) => At::DataEnd(1),
                At::DataEnd(_) => At::Size(0),
                At::Plain(left) => At::Plain(left.saturating_sub(1)),
            };
            index += 1;
        }
        None
    }

    /// How many of these bytes can neither end a line nor be a place to cut.
    fn dull(&self, piece: &[u8]) -> usize {
        if self.cut.is_none() {
            return piece.len();
        }
        let is_long = self.body.len() - self.line_at > DATA_CUT_BYTES;
        let end = piece.iter().position(|byte| *byte == b'\n').unwrap_or(piece.len());
        if is_long { end } else { 0 }
    }

    fn on_head(&mut self, byte: u8) -> At {
        self.head.push(byte);
        if !self.head.ends_with(b"\r\n\r\n") {
            return At::Head;
        }
        let head = String::from_utf8_lossy(&self.head).to_ascii_lowercase();
        let is_stream = head.contains("\r\ncontent-type: text/event-stream\r\n");
        if is_stream && head.contains("\r\ntransfer-encoding: chunked\r\n") {
            At::Size(0)
        } else {
            let length = head.split("\r\ncontent-length: ").nth(1).map(|rest| {
                rest.split("\r\n").next().and_then(|n| n.parse().ok()).expect("a length")
            });
            At::Plain(length.unwrap_or(0))
        }
    }

    /// Takes bytes of the body; more than one where they are dull.
    fn on_body(&mut self, bytes: &[u8]) -> Option<Place> {
        self.body.extend_from_slice(bytes);
        let [byte] = bytes else {
            return None;
        };
        let byte = *byte;
        let line = self.body.get(self.line_at..).unwrap_or_default();
        let wanted = self.cut.map(|(_, place)| place);
        let (is_name, is_id) = (line.starts_with(b"event: "), line.starts_with(b"id: "));
        let is_data = line.starts_with(b"data: ");
        // Messages begin with a capital, events of the stream itself do not.
        if is_name && line.len() == "event: ".len() + 1 && byte.is_ascii_uppercase() {
            self.messages += 1;
            self.has[0] = true;
        }
        let is_there = match wanted {
            Some(Place::Name) => is_name && line.len() == "event: ".len() + 2,
            Some(Place::Id) => is_id && line.len() == "id: ".len() + 5,
            Some(Place::Data) => is_data && (byte >= 0xc2 || line.len() == DATA_CUT_BYTES),
            Some(Place::LastByte) => byte == b'\n' && line.len() > 1 && self.is_complete(line),
            Some(Place::AfterByReset) => line == b"\n",
            None => false,
        };
        let is_cut = is_there && self.has[0] && self.cut.map(|(n, _)| n) == Some(self.messages);
        if byte == b'\n' {
            self.has[1] |= is_id;
            self.has[2] |= is_data;
            if line == b"\n" {
                self.has = [false; 3];
            }
            self.line_at = self.body.len();
        }
        wanted.filter(|_| is_cut)
    }

    /// Whether the block has all its lines with this one.
    fn is_complete(&self, line: &[u8]) -> bool {
        (self.has[1] || line.starts_with(b"id: ")) && (self.has[2] || line.starts_with(b"data: "))
    }
}

/// Whether these are a whole record of TLS, as clients begin with: type, version, length, bytes.
fn is_hello(bytes: &[u8]) -> bool {
    match bytes {
        [_, _, _, high, low, rest @ ..] => {
            rest.len() >= usize::from(u16::from_be_bytes([*high, *low]))
        }
        _ => false,
    }
}

fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    haystack.windows(needle.len()).position(|window| window == needle)
}

#[test]
fn an_answer_is_cut_where_the_plan_says() {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let events = "event: connected\ndata: {}\n\nevent: Chat\ndata: é\nid: 1.abcdef\n\nevent: Chat\ndata: ü\nid: 2.abcdef\n\n";
    let chunks =
        format!("{head}5\r\n{}\r\n{:x}\r\n{}\r\n", &events[..5], events.len() - 5, &events[5..]);
    let second = events.rfind("event: ").expect("an event");
    let after =
        |text: &str| second + events[second..].find(text).expect("it is there") + text.len();
    for (place, want) in [
        (Place::Name, second + "event: Ch".len()),
        (Place::Data, after("data: ") + 1),
        (Place::Id, after("id: 2.abc")),
        (Place::LastByte, events.len() - 1),
        (Place::AfterByReset, events.len()),
    ] {
        for step in [1, 7, 4096] {
            let mut scan = Scan { cut: Some((2, place)), ..Scan::default() };
            let mut passed = 0;
            let mut cut = None;
            for piece in chunks.as_bytes().chunks(step) {
                cut = scan.read(piece);
                passed += cut.map_or(piece.len(), |(at, _)| at);
                if cut.is_some() {
                    break;
                }
            }
            assert_eq!(cut.map(|(_, at)| at), Some(place), "{place:?} by {step}");
            assert_eq!(scan.body, &events.as_bytes()[..want], "{place:?} by {step}");
            assert!(
                chunks.as_bytes()[..passed].ends_with(scan.body.last_chunk::<1>().expect("bytes"))
            );
        }
    }
}
