//! What can go wrong on the wire, and to which requests.
//!
//! A fault is given either to coming requests (`Backend::fault`, `fault_on`) or to what is open
//! now (`Backend::fault_live`). Not here: carrying it out (`server`, `stream`, `poll`).

use std::time::Duration;

use bytes::Bytes;

use crate::scripted::http::{Request, Response};

/// One way to misbehave.
#[derive(Clone, Debug, PartialEq)]
pub enum Fault {
    /// Answers with this and does nothing else. Live streams: ends them.
    Status(u16, Vec<(String, String)>, Bytes),
    /// Answers as ever, with another content type. No effect on live streams.
    ContentType(String),
    /// Answers as ever, but gzip-coded, whatever the request accepts. No effect on live streams.
    Gzip,
    /// Takes the request and never answers. Live streams: as `Stall`.
    NoAnswer,
    /// Answers with a head that has no end, in lines or in one line. No effect on live streams.
    EndlessHead {
        /// One line without an end.
        one_line: bool,
    },
    /// The next frame (or the answer's body) is cut in its middle, then the connection closes.
    CloseMidEvent,
    /// As `CloseMidEvent`, inside the frame's first character of more than one byte; a frame
    /// without one (all of XiansAi's) is cut in its middle.
    CloseMidUtf8,
    /// The next frame as it is written, or an answer with its head, is cut after this many of its
    /// bytes (modulo their number), then the connection closes.
    CloseAfter(usize),
    /// Closes with RST: before an answer, or a live stream at once.
    Reset,
    /// Keeps the connection open and sends nothing: no frames, no heartbeats. A stream that
    /// opens still gets its head. Notices when the client closes.
    Stall,
    /// As `Stall`, and does not notice when the client closes: a peer that died without a word.
    HalfOpen,
    /// Writes this many bytes at a time, with this pause between writes; a pause of zero yields.
    Dribble(usize, Duration),
    /// Bytes that are no SSE, no JSON and no UTF-8, without a line that begins a field; ends with
    /// a blank line, so that a parser may go on.
    Garbage,
    /// A well-formed frame that holds this many bytes of text (counted as sent).
    Oversize(usize),
    /// Closes the listening socket; open connections stay. `Backend::listen_again` undoes it.
    RefuseConnections,
}

impl Fault {
    /// A bare status.
    #[must_use]
    pub const fn status(status: u16) -> Self {
        Self::Status(status, Vec::new(), Bytes::new())
    }

    /// 429 with `Retry-After`, in XiansAi's words.
    #[must_use]
    pub fn rate_limited(retry_after_secs: u64) -> Self {
        let body = format!(
            "{{\"error\":\"Rate limit exceeded\",\"message\":\"Too many requests. Please try \
             again later.\",\"retryAfter\":\"{retry_after_secs}\"}}"
        );
        let headers = [
            ("Content-Type", String::from("application/json; charset=utf-8")),
            ("Retry-After", retry_after_secs.to_string()),
        ];
        let headers = headers.map(|(name, value)| (name.to_owned(), value)).to_vec();
        Self::Status(429, headers, Bytes::from(body))
    }

    /// What is answered instead, for faults that replace the answer by another.
    pub(super) fn instead(&self) -> Option<Response> {
        match self {
            Self::Status(status, headers, body) => {
                Some(Response { status: *status, headers: headers.clone(), body: body.clone() })
            }
            Self::ContentType(_)
            | Self::Gzip
            | Self::NoAnswer
            | Self::EndlessHead { .. }
            | Self::CloseMidEvent
            | Self::CloseMidUtf8
            | Self::CloseAfter(_)
            | Self::Reset
            | Self::Stall
            | Self::HalfOpen
            | Self::Dribble(..)
            | Self::Garbage
            | Self::Oversize(_)
            | Self::RefuseConnections => None,
        }
    }
}

/// Which requests a fault is for.
#[derive(Clone, Debug, PartialEq)]
pub enum On {
    /// Stream opens and polls.
    Events,
    /// Everything else: log-ins, tokens, history, messages.
    Rest,
    /// Everything.
    Any,
    /// Requests whose path holds this.
    Path(String),
}

/// A fault that waits for requests.
#[derive(Debug)]
pub(super) struct Armed {
    pub(super) on: On,
    pub(super) times: usize,
    pub(super) fault: Fault,
}

impl Armed {
    pub(super) fn is_for(&self, request: &Request, events: bool) -> bool {
        match &self.on {
            On::Events => events,
            On::Rest => !events,
            On::Any => true,
            On::Path(part) => request.path().contains(part.as_str()),
        }
    }
}

/// Bytes for [`Fault::Garbage`]: no line begins with a field name.
pub(super) fn garbage() -> Vec<u8> {
    let noise = (0_u32..2048).map(|n| {
        let byte = n.wrapping_mul(2_654_435_761).to_be_bytes()[0] | 0x80;
        if n % 31 == 0 { 0 } else { byte }
    });
    noise.chain(*b"\n{\"broken\": tru\x00}\n\n").collect()
}

/// Where a frame is cut: after half of it, or inside its first long character.
pub(super) fn cut_at(frame: &[u8], inside_utf8: bool) -> usize {
    let long = frame.iter().position(|byte| *byte >= 0xc0).filter(|_| inside_utf8);
    long.map_or(frame.len() / 2, |at| at + 1)
}

/// A gzip stream of stored blocks: valid, and larger than what it holds.
#[derive(Debug, Default)]
pub(super) struct Gzip {
    started: bool,
}

impl Gzip {
    /// The next part of the stream.
    pub(super) fn pack(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(bytes.len() + 32);
        if !self.started {
            self.started = true;
            out.extend_from_slice(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff]);
        }
        for block in bytes.chunks(usize::from(u16::MAX)) {
            let length = u16::try_from(block.len()).unwrap_or(u16::MAX);
            out.push(0);
            out.extend_from_slice(&length.to_le_bytes());
            out.extend_from_slice(&(!length).to_le_bytes());
            out.extend_from_slice(block);
        }
        out
    }

    /// A whole document.
    pub(super) fn whole(bytes: &[u8]) -> Vec<u8> {
        let mut out = Self::default().pack(bytes);
        out.extend_from_slice(&[1, 0, 0, 0xff, 0xff]);
        out.extend_from_slice(&crc32(bytes).to_le_bytes());
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_le_bytes());
        out
    }
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 }
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_where_they_are_said_to_be() {
        assert_eq!(cut_at(b"abcdef", false), 3);
        assert_eq!(cut_at(b"abcdef", true), 3);
        assert_eq!(cut_at("aé".as_bytes(), true), 2);
    }

    #[test]
    fn garbage_is_not_utf8_and_begins_no_field() {
        let bytes = garbage();
        assert!(std::str::from_utf8(&bytes).is_err());
        for line in bytes.split(|byte| matches!(byte, b'\n' | b'\r')) {
            for field in ["data", "event", "id", "retry"] {
                assert!(!line.starts_with(field.as_bytes()), "{line:?}");
            }
        }
    }

    #[test]
    fn gzip_is_what_gzip_reads() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        let whole = Gzip::whole(b"hi");
        assert_eq!(&whole[10..17], [0, 2, 0, 0xfd, 0xff, b'h', b'i']);
        assert_eq!(&whole[17..22], [1, 0, 0, 0xff, 0xff]);
        let mut stream = Gzip::default();
        assert_eq!(stream.pack(b"a").len(), 16);
        assert_eq!(stream.pack(b"a").len(), 6);
    }
}
