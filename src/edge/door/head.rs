//! The head of an HTTP/1.x request: read whole, within bounds, or refused.
//!
//! It is read here in full before Pingora sees any of it, so that bytes, fields and time have a
//! limit and a refusal its answer. What Pingora would refuse without a word (no or two hosts,
//! folded lines, control characters, two lengths) is refused here with one, and whatever two
//! servers could take for bodies of different lengths. Not here: what is asked for (`gate`),
//! bodies.

use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use http::HeaderValue;
use memchr::memchr;
use pingora::protocols::Stream;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use crate::edge::cors::METHODS;
use crate::edge::gate::{FIELDS_MAX, TARGET_BYTES_MAX};
use crate::edge::refusal::Refusal;

/// The most that a head may have: tokens and cookies of 8 KiB each fit several times. HTTP/2
/// has the same, decoded.
pub(super) const BYTES_MAX: usize = 64 * 1024;
/// Usual heads fit.
pub(super) const BUFFER: usize = 2048;
/// The longest method there is, `BASELINE-CONTROL`, and some.
const METHOD_BYTES_MAX: usize = 32;

/// How long is waited.
#[derive(Clone, Copy)]
pub(super) struct Patience {
    /// For the first byte.
    pub(super) idle: Duration,
    /// From then on for all the rest, however it drips.
    pub(super) head: Duration,
}

/// What came.
pub(super) enum Outcome {
    /// A head that Pingora can read, and what was read of the body after it.
    Head(BytesMut),
    /// A head that is not taken, and what was read of it.
    Refused(Refusal, BytesMut),
    /// Nothing, or not all of it before the client left.
    Gone,
}

/// Reads a head. `early` was read already.
pub(super) async fn read(stream: &mut Stream, early: BytesMut, patience: Patience) -> Outcome {
    let mut bytes = early;
    if bytes.is_empty() {
        bytes.reserve(BUFFER);
        match timeout(patience.idle, stream.read_buf(&mut bytes)).await {
            Ok(Ok(1..)) => {}
            Ok(_) | Err(_) => return Outcome::Gone,
        }
    }
    let mut scan = Scan::default();
    let rest = async {
        loop {
            if let Some(found) = scan.on_bytes(&mut bytes) {
                return Some(found);
            }
            bytes.reserve(BUFFER);
            if stream.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    };
    match timeout(patience.head, rest).await {
        Ok(Some(Ok(()))) => Outcome::Head(bytes),
        Ok(Some(Err(refusal))) => Outcome::Refused(refusal, bytes),
        Ok(None) => Outcome::Gone,
        Err(_) => Outcome::Refused(Refusal::TooSlow, bytes),
    }
}

/// Looks for the end of a head in bytes that arrive in any pieces. No byte is looked at twice.
#[derive(Default)]
struct Scan {
    /// Where the line starts that is not complete yet.
    line_start: usize,
    /// Up to where it was searched for its end.
    searched: usize,
    lines: usize,
}

impl Scan {
    /// `None` = more has to come. Empty lines in front are taken away (RFC 9112, 2.2).
    fn on_bytes(&mut self, bytes: &mut BytesMut) -> Option<Result<(), Refusal>> {
        if self.lines == 0 && self.line_start == 0 && self.searched == 0 {
            let blank = bytes.iter().take_while(|byte| matches!(byte, b'\r' | b'\n')).count();
            bytes.advance(blank);
        }
        loop {
            let unsearched = bytes.get(self.searched..).unwrap_or_default();
            let Some(at) = memchr(b'\n', unsearched) else {
                self.searched = bytes.len();
                return self.too_long(bytes.len()).map(Err);
            };
            let end = self.searched + at;
            let line = trim_cr(bytes.get(self.line_start..end).unwrap_or_default());
            if line.is_empty() {
                return Some(match self.too_long(end) {
                    Some(refusal) => Err(refusal),
                    None => check(bytes.get(..end).unwrap_or_default()),
                });
            }
            self.lines += 1;
            if self.lines > FIELDS_MAX + 1 {
                return Some(Err(Refusal::HeadTooLarge));
            }
            (self.line_start, self.searched) = (end + 1, end + 1);
        }
    }

    const fn too_long(&self, length: usize) -> Option<Refusal> {
        if self.lines == 0 && length > TARGET_BYTES_MAX + METHOD_BYTES_MAX {
            Some(Refusal::TargetTooLong)
        } else if length > BYTES_MAX {
            Some(Refusal::HeadTooLarge)
        } else {
            None
        }
    }
}

fn trim_cr(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn lines(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    head.split(|byte| *byte == b'\n').map(trim_cr)
}

/// Checks a whole head.
fn check(head: &[u8]) -> Result<(), Refusal> {
    let mut lines = lines(head).filter(|line| !line.is_empty());
    let (authority, version) = check_request_line(lines.next().unwrap_or_default())?;
    let (mut host, mut hosts, mut framings) = (None, 0, 0);
    for line in lines {
        let colon = memchr(b':', line).ok_or(Refusal::BadHead)?;
        let (name, value) = line.split_at(colon);
        let is_control = |byte: &u8| (*byte < b' ' && *byte != b'\t') || *byte == 0x7f;
        if name.is_empty() || !name.iter().all(is_token) || value.iter().any(is_control) {
            return Err(Refusal::BadHead);
        }
        let value = value.get(1..).unwrap_or_default().trim_ascii();
        if name.eq_ignore_ascii_case(b"host") {
            (host, hosts) = (Some(value), hosts + 1);
        }
        framings += usize::from(frames_body(name, value)?);
    }
    let is_elsewhere = authority
        .is_some_and(|authority| host.is_some_and(|host| !host.eq_ignore_ascii_case(authority)));
    match (version, hosts) {
        _ if framings > 1 || is_elsewhere => Err(Refusal::BadHead),
        (b"HTTP/1.1", 1) | (b"HTTP/1.0", 0 | 1) => Ok(()),
        _ => Err(Refusal::BadHead),
    }
}

/// Whether a field says where the body ends. Of codings only the one that does is known: with
/// another before it, who reads the body would have to undo that one (RFC 9112, 6.1 and 6.3).
fn frames_body(name: &[u8], value: &[u8]) -> Result<bool, Refusal> {
    let is_good = if name.eq_ignore_ascii_case(b"content-length") {
        !value.is_empty() && value.iter().all(u8::is_ascii_digit)
    } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
        value.eq_ignore_ascii_case(b"chunked")
    } else {
        return Ok(false);
    };
    if is_good { Ok(true) } else { Err(Refusal::BadHead) }
}

/// Checks the first line, and gives the authority that it names, if it does, and the version.
fn check_request_line(line: &[u8]) -> Result<(Option<&[u8]>, &[u8]), Refusal> {
    let mut parts = line.split(|byte| *byte == b' ');
    let (Some(method), Some(target), Some(version), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(Refusal::BadHead);
    };
    if target.len() > TARGET_BYTES_MAX {
        return Err(Refusal::TargetTooLong);
    }
    let is_printable = |byte: &u8| *byte > b' ' && *byte != 0x7f;
    let is_good = !method.is_empty() && method.iter().all(is_token) && !target.is_empty();
    if !is_good || !target.iter().all(is_printable) {
        return Err(Refusal::BadHead);
    }
    // A tunnel is nobody's stream.
    if method == b"CONNECT" {
        return Err(Refusal::MethodNotAllowed { allow: METHODS });
    }
    let absolute = target.strip_prefix(b"http://").or_else(|| target.strip_prefix(b"https://"));
    let authority =
        absolute.and_then(|rest| rest.split(|byte| matches!(byte, b'/' | b'?' | b'#')).next());
    Ok((authority, version))
}

/// What names consist of (RFC 9110, 5.6.2).
fn is_token(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}

/// Which pages a head says it is from, as far as it was read.
pub(super) fn origins(head: &[u8]) -> impl Iterator<Item = HeaderValue> {
    lines(head).skip(1).take_while(|line| !line.is_empty()).filter_map(|line| {
        let (name, value) = line.split_at(memchr(b':', line)?);
        let value = value.get(1..)?.trim_ascii();
        if name.eq_ignore_ascii_case(b"origin") {
            HeaderValue::from_bytes(value).ok()
        } else {
            None
        }
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    const GOOD: &str = "GET /events?a=b HTTP/1.1\r\nHost: x\r\nX-A: é\tb\r\n\r\n";

    /// What becomes of a head, fed whole and byte by byte.
    #[track_caller]
    fn check(head: &[u8], want: Option<Result<(), Refusal>>) {
        let text: String = head.escape_ascii().to_string().chars().take(200).collect();
        let whole = Scan::default().on_bytes(&mut BytesMut::from(head));
        assert_eq!(whole, want, "{text}");
        let (mut scan, mut bytes, mut got) = (Scan::default(), BytesMut::new(), None);
        for byte in head {
            bytes.extend_from_slice(&[*byte]);
            got = scan.on_bytes(&mut bytes);
            if got.is_some() {
                break;
            }
        }
        assert_eq!(got, want, "byte by byte: {text}");
    }

    #[test]
    fn heads_of_all_kinds_are_taken() {
        let host = "Host: x\r\n";
        for head in [
            GOOD.to_owned(),
            format!("\r\n\n\r\n{GOOD}"),
            GOOD.replace("\r\n", "\n"),
            format!("POST / HTTP/1.1\r\n{host}Content-Length: 3\r\n\r\n\0\r\n"),
            "GET / HTTP/1.0\r\n\r\n".to_owned(),
            format!("GET /é HTTP/1.1\r\n{host}Empty:\r\n\r\n"),
            format!("BREW /pot HTTP/1.1\r\n{host}\r\n"),
            format!("GET http://x/events HTTP/1.1\r\n{host}\r\n"),
            format!("GET http://X?a HTTP/1.1\r\n{host}\r\n"),
            format!("POST / HTTP/1.1\r\n{host}Transfer-Encoding:\tChunked \r\n\r\n"),
            format!("OPTIONS * HTTP/1.1\r\n{host}\r\n"),
            format!("GET / HTTP/1.1\r\n{host}{}\r\n", "A: b\r\n".repeat(FIELDS_MAX - 1)),
            format!("GET /{} HTTP/1.1\r\n{host}\r\n", "a".repeat(TARGET_BYTES_MAX - 1)),
        ] {
            check(head.as_bytes(), Some(Ok(())));
        }
    }

    #[test]
    fn what_is_no_head_is_refused() {
        let rows: [&[u8]; 31] = [
            b"GET /\r\n\r\n",
            b"GET / HTTP/1.1\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n",
            b"GET / HTTP/2.0\r\nHost: a\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"GET  / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /a b HTTP/1.1\r\nHost: a\r\n\r\n",
            b" GET / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"G\0T / HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /\0 HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /\x7f HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET /\t HTTP/1.1\r\nHost: a\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nA: b\0c\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nA: b\rc\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nA : b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\n folded\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\n: b\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nnothing\r\n\r\n",
            b"GET / HTTP/1.1\r\nHost: a\r\nA\xe9: b\r\n\r\n",
            b"GET / HTTP/1.1\r\rHost: a\r\n\r\n",
            b"GET http://y/ HTTP/1.1\r\nHost: x\r\n\r\n",
            b"GET http://x:80/ HTTP/1.1\r\nHost: x\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length:\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\ncontent-length: 1\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 1\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: x\r\n\r\n",
            b"{\"json\": true}\r\n\r\n",
            b"\x16\x03\x01\x00\xa5\x01\x00\n\n",
        ];
        for row in rows {
            check(row, Some(Err(Refusal::BadHead)));
        }
        check(
            b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n",
            Some(Err(Refusal::MethodNotAllowed { allow: METHODS })),
        );
    }

    #[test]
    fn a_head_that_is_not_over_waits() {
        for length in 0..GOOD.len() {
            check(&GOOD.as_bytes()[..length], None);
        }
        check(b"\r\n\r\n\r\n", None);
    }

    #[test]
    fn too_much_is_refused_before_it_is_over() {
        let long = format!("GET /{}", "a".repeat(TARGET_BYTES_MAX + METHOD_BYTES_MAX));
        check(long.as_bytes(), Some(Err(Refusal::TargetTooLong)));
        let long = format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "a".repeat(TARGET_BYTES_MAX));
        check(long.as_bytes(), Some(Err(Refusal::TargetTooLong)));
        let line = "GET / HTTP/1.1\r\n";
        let fields = format!("{line}{}", "A: b\r\n".repeat(FIELDS_MAX + 1));
        check(fields.as_bytes(), Some(Err(Refusal::HeadTooLarge)));
        let bytes = format!("{line}A: {}", "b".repeat(BYTES_MAX));
        check(bytes.as_bytes(), Some(Err(Refusal::HeadTooLarge)));
    }

    #[test]
    fn the_page_is_known_however_much_was_read() {
        let origins = |head: &[u8]| {
            let show = |value: HeaderValue| value.to_str().expect("text").to_owned();
            origins(head).map(show).collect::<Vec<_>>()
        };
        assert_eq!(origins(b"GET / HTTP/1.1\r\nORIGIN:https://a \r\nA: b"), ["https://a"]);
        assert_eq!(origins(b"GET / HTTP/1.1\nOrigin: a\nOrigin: b\n\nOrigin: c"), ["a", "b"]);
        assert!(origins(b"Origin: a\r\n\r\n").is_empty());
        assert!(origins(b"").is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_head_that_drips_has_no_more_time_than_one_that_stalls() {
        let patience = Patience { idle: Duration::from_secs(60), head: Duration::from_secs(10) };
        let (near, mut far) = tokio::io::duplex(64);
        let drip = async {
            for byte in GOOD.as_bytes().iter().cycle().filter(|byte| **byte != b'\n') {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if far.write_all(&[*byte]).await.is_err() {
                    return;
                }
            }
        };
        let mut stream: Stream = Box::new(near);
        let started = tokio::time::Instant::now();
        tokio::select! {
            () = drip => panic!("it was read to its end"),
            outcome = read(&mut stream, BytesMut::new(), patience) => {
                assert!(matches!(outcome, Outcome::Refused(Refusal::TooSlow, _)));
            }
        }
        assert_eq!(started.elapsed(), Duration::from_secs(11));
    }

    #[tokio::test(start_paused = true)]
    async fn silence_and_leaving_are_no_requests() {
        let patience = Patience { idle: Duration::from_secs(60), head: Duration::from_secs(10) };
        let (near, far) = tokio::io::duplex(64);
        let mut stream: Stream = Box::new(near);
        assert!(matches!(read(&mut stream, BytesMut::new(), patience).await, Outcome::Gone));
        let early = BytesMut::from("GET / HT");
        drop(far);
        assert!(matches!(read(&mut stream, early, patience).await, Outcome::Gone));
    }
}
