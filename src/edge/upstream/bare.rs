//! The answer of an HTTP/1.x event stream, read straight from its connection.
//!
//! A stream is open for hours and mostly silent, so it must not hold buffers while it waits, as
//! Pingora's session does (64 KiB), and a backend that writes an event to a chunk must not cost
//! a wake-up for each. Pingora dials and sends the request; the rest is read here: the head by
//! `httparse`, the framing by `proto::body`, everything that has come in one go. Not here:
//! HTTP/2, calls and polls, whose sessions go back to the pool (`http`).

use std::future::poll_fn;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use pingora::protocols::Stream;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};

use crate::proto::body::Body;
use crate::proto::event::DownReason;

/// A head is no larger; the backends' own take a few hundred bytes.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Header fields of a head.
const FIELDS_MAX: usize = 128;
/// As much as one read takes, on the stack.
const READ_BYTES: usize = 16 * 1024;
/// As much as is taken before other streams have their turn.
const TURN_BYTES: usize = 64 * 1024;

/// What was answered, as far as it is looked at.
pub(super) struct RawHead {
    pub(super) status: u16,
    fields: Vec<(String, String)>,
}

impl RawHead {
    /// The first value of a field; empty if there is none, or if it is no text.
    pub(super) fn text(&self, name: &str) -> &str {
        let mut named = self.fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
        named.next().map_or("", |(_, value)| value)
    }

    fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        let named = self.fields.iter().filter(move |(field, _)| field.eq_ignore_ascii_case(name));
        named.map(|(_, value)| value.as_str())
    }

    /// How the body is framed (RFC 9112, 6.3).
    fn body(&self) -> Result<Body, DownReason> {
        if matches!(self.status, 204 | 304) {
            return Ok(Body::of_length(0));
        }
        let codings: Vec<&str> =
            self.all("transfer-encoding").flat_map(|list| list.split(',')).map(str::trim).collect();
        match codings.as_slice() {
            [] => {}
            [only] if only.eq_ignore_ascii_case("chunked") => return Ok(Body::chunked()),
            _ => return Err(DownReason::BadContentType),
        }
        let mut lengths = self.all("content-length").map(|length| length.trim().parse::<u64>());
        let Some(first) = lengths.next() else { return Ok(Body::open()) };
        if lengths.any(|other| other != first) {
            return Err(DownReason::Reset);
        }
        first.map(Body::of_length).map_err(|_| DownReason::Reset)
    }
}

/// A connection of which only the answer's body is still to be read.
pub(super) struct Bare<S = Stream> {
    stream: S,
    body: Body,
    /// What came along with the head.
    unread: Vec<u8>,
    /// The framing or the connection was broken: nothing after it can be trusted, and a
    /// connection says so only once.
    is_broken: bool,
}

impl<S: AsyncRead + Unpin> Bare<S> {
    /// Reads the head of the answer to a request that was sent. The caller bounds the time.
    ///
    /// # Errors
    /// The connection broke, or what came is no HTTP head within the limits.
    pub(super) async fn open(mut stream: S) -> Result<(RawHead, Self), DownReason> {
        let mut bytes = Vec::with_capacity(1024);
        loop {
            match stream.read_buf(&mut bytes).await {
                Ok(0) => return Err(DownReason::Closed),
                Ok(_) => {}
                Err(_) => return Err(DownReason::Reset),
            }
            while let Some((head, used)) = parse(&bytes)? {
                bytes.drain(..used);
                // Informational: the answer itself follows.
                if !(100..200).contains(&head.status) {
                    let body = head.body()?;
                    bytes.shrink_to_fit();
                    return Ok((head, Self { stream, body, unread: bytes, is_broken: false }));
                }
            }
            if bytes.len() > HEAD_BYTES_MAX {
                return Err(DownReason::Reset);
            }
        }
    }

    /// The next piece of the body, all that has come; `None` at its end. May be dropped and
    /// asked again.
    ///
    /// # Errors
    /// The connection broke, or the body ended before its end.
    pub(super) async fn read(&mut self) -> Result<Option<Bytes>, DownReason> {
        poll_fn(|context| self.poll_read(context)).await
    }

    /// Hot path: runs once per wake-up.
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<Result<Option<Bytes>, DownReason>> {
        let mut content = Vec::new();
        let unread = std::mem::take(&mut self.unread);
        self.is_broken |= self.body.read(&unread, &mut content).is_err();
        // Not kept from one call to the next: it is on the stack, and costs nothing to set up.
        let mut scratch = [MaybeUninit::uninit(); READ_BYTES];
        while !self.is_broken && content.len() < TURN_BYTES && !self.body.is_done() {
            let mut read = ReadBuf::uninit(&mut scratch);
            match Pin::new(&mut self.stream).poll_read(context, &mut read) {
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {
                    self.is_broken = self.body.read(read.filled(), &mut content).is_err();
                }
                Poll::Ready(Err(_)) => self.is_broken = true,
                // What came before is told first; the connection says the same again.
                _ if !content.is_empty() => break,
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if self.body.may_end_here() => return Poll::Ready(Ok(None)),
                Poll::Ready(Ok(())) => return Poll::Ready(Err(DownReason::Closed)),
            }
        }
        if !content.is_empty() {
            return Poll::Ready(Ok(Some(content.into())));
        }
        Poll::Ready(if self.is_broken { Err(DownReason::Reset) } else { Ok(None) })
    }
}

/// A whole head at the start of the bytes, and how many of them it takes.
fn parse(bytes: &[u8]) -> Result<Option<(RawHead, usize)>, DownReason> {
    let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let mut response = httparse::Response::new(&mut fields);
    match response.parse(bytes) {
        Ok(httparse::Status::Complete(used)) => {
            let status = response.code.unwrap_or_default();
            let text = |bytes: &[u8]| str::from_utf8(bytes).unwrap_or_default().to_owned();
            let fields = response.headers.iter();
            let fields = fields.map(|field| (field.name.to_owned(), text(field.value))).collect();
            Ok(Some((RawHead { status, fields }, used)))
        }
        Ok(httparse::Status::Partial) => Ok(None),
        Err(_) => Err(DownReason::Reset),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was read of pieces that come one after another: the status, the content, how the
    /// body ended; or why there is no head.
    async fn read(wire: [&[u8]; 2]) -> Result<(u16, String, Result<(), DownReason>), DownReason> {
        let [first, second] = wire;
        let (head, mut bare) = Bare::open(first.chain(second)).await?;
        let mut content = Vec::new();
        let end = loop {
            match bare.read().await {
                Ok(Some(piece)) => content.extend_from_slice(&piece),
                Ok(None) => break Ok(()),
                Err(reason) => break Err(reason),
            }
        };
        Ok((head.status, String::from_utf8(content).expect("text"), end))
    }

    #[track_caller]
    fn check(wire: &str, status: u16, content: &str, end: Result<(), DownReason>) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        for split in 1..wire.len() {
            let (first, second) = wire.as_bytes().split_at(split);
            let got = runtime.block_on(read([first, second]));
            assert_eq!(got, Ok((status, content.to_owned(), end)), "split at {split}");
        }
    }

    #[test]
    fn an_answer_is_read_whatever_its_framing() {
        check("HTTP/1.1 200 OK\r\n\r\ndata: a\n\n", 200, "data: a\n\n", Ok(()));
        let length = "HTTP/1.0 403 No\r\nContent-Length: 2\r\n\r\nabc";
        check(length, 403, "ab", Ok(()));
        let chunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n";
        check(chunked, 200, "abc", Err(DownReason::Closed));
        check(&format!("{chunked}0\r\n\r\n"), 200, "abc", Ok(()));
        check(&format!("{chunked}x\r\n"), 200, "abc", Err(DownReason::Reset));
        check("HTTP/1.1 204 No\r\n\r\nabc", 204, "", Ok(()));
        let early = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\n\r\na";
        check(early, 200, "a", Ok(()));
    }

    #[tokio::test]
    async fn what_is_no_answer_is_refused() {
        let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(HEAD_BYTES_MAX));
        let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "A: b\r\n".repeat(FIELDS_MAX + 1));
        for (wire, reason) in [
            ("", DownReason::Closed),
            ("HTTP/1.1 200 OK\r\nA: b", DownReason::Closed),
            ("SSH-2.0-x\r\n\r\n", DownReason::Reset),
            (&endless, DownReason::Reset),
            (&many, DownReason::Reset),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
                DownReason::BadContentType,
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                DownReason::Reset,
            ),
            ("HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n", DownReason::Reset),
        ] {
            let got = read([wire.as_bytes(), b""]).await;
            assert_eq!(got.expect_err("no answer"), reason, "{wire:.60}");
        }
    }

    #[tokio::test]
    async fn all_that_has_come_is_one_piece() {
        let head: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n";
        let rest = (b"1\r\nb\r\n" as &[u8]).chain(b"1\r\nc\r\n0\r\n\r\n" as &[u8]);
        let (_, mut bare) = Bare::open(head.chain(rest)).await.expect("a head");
        assert_eq!(bare.read().await, Ok(Some(Bytes::from("abc"))));
        assert_eq!(bare.read().await, Ok(None));
    }
}
