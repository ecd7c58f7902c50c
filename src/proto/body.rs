//! The body of an HTTP/1.1 answer, freed of its framing, out of bytes split anywhere.
//!
//! Chunked, of a given length, or up to the end of the connection (RFC 9112, 6 and 7.1). Sizes,
//! extensions and trailers are bounded; what breaks the framing is [`Broken`] and ends the
//! connection, since nothing after it can be trusted. Hot path: runs once per read. Not here:
//! the head, sockets.

/// A chunk's size has no more digits: 16 hold 64 bits.
const SIZE_DIGITS_MAX: u8 = 16;
/// Bytes of chunk extensions on one line, and of all trailers: nothing here reads them.
const UNREAD_BYTES_MAX: u16 = 8 * 1024;

/// The framing is not HTTP's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Broken;

/// Where in a body the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Body(State);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Everything up to the end of the connection.
    Open,
    /// So many bytes are still to come.
    Length(u64),
    /// In the line of a chunk's size.
    Size {
        size: u64,
        digits: u8,
    },
    /// After the size: extensions, which nobody reads, or the line's end.
    Extension {
        size: u64,
        bytes: u16,
    },
    /// The LF after that line's CR.
    SizeEnd {
        size: u64,
    },
    /// In a chunk, so many bytes before its end.
    Chunk(u64),
    /// The CR LF after a chunk.
    ChunkCr,
    ChunkLf,
    /// After the last chunk: fields that nobody reads, up to a blank line.
    Trailer {
        is_line_start: bool,
        bytes: u16,
    },
    Done,
}

impl Body {
    /// Up to the end of the connection.
    #[must_use]
    pub const fn open() -> Self {
        Self(State::Open)
    }

    /// So many bytes.
    #[must_use]
    pub const fn of_length(bytes: u64) -> Self {
        Self(if bytes == 0 { State::Done } else { State::Length(bytes) })
    }

    /// In chunks.
    #[must_use]
    pub const fn chunked() -> Self {
        Self(State::Size { size: 0, digits: 0 })
    }

    /// Whether nothing more belongs to the body.
    #[must_use]
    pub const fn is_done(&self) -> bool {
        matches!(self.0, State::Done)
    }

    /// Whether the end of the connection is where the body may end.
    #[must_use]
    pub const fn may_end_here(&self) -> bool {
        matches!(self.0, State::Done | State::Open)
    }

    /// Appends to `out` what of the input is content. Bytes after the body's end are left out.
    ///
    /// # Errors
    /// The framing is broken; what came before the break was appended.
    pub fn read(&mut self, mut input: &[u8], out: &mut Vec<u8>) -> Result<(), Broken> {
        while let Some(byte) = input.first().copied() {
            match self.0 {
                State::Open => {
                    out.extend_from_slice(input);
                    return Ok(());
                }
                State::Length(left) => {
                    let (now, later) = take(input, left);
                    out.extend_from_slice(now);
                    let left = left - now.len() as u64;
                    self.0 = if left == 0 { State::Done } else { State::Length(left) };
                    input = later;
                }
                State::Chunk(left) => {
                    let (now, later) = take(input, left);
                    out.extend_from_slice(now);
                    let left = left - now.len() as u64;
                    self.0 = if left == 0 { State::ChunkCr } else { State::Chunk(left) };
                    input = later;
                }
                State::Done => return Ok(()),
                State::Size { .. }
                | State::Extension { .. }
                | State::SizeEnd { .. }
                | State::ChunkCr
                | State::ChunkLf
                | State::Trailer { .. } => {
                    self.0 = self.0.after(byte)?;
                    input = input.get(1..).unwrap_or_default();
                }
            }
        }
        Ok(())
    }
}

impl State {
    /// One byte between the content.
    fn after(self, byte: u8) -> Result<Self, Broken> {
        Ok(match (self, byte) {
            (Self::Size { digits: 1.., size }, b'\r') => Self::SizeEnd { size },
            // A bare LF ends the line for lenient peers (RFC 9112, 2.2).
            (Self::Size { digits: 1.., size }, b'\n') => Self::after_size(size),
            (Self::Size { digits: 1.., size }, b';' | b' ' | b'\t') => {
                Self::Extension { size, bytes: 0 }
            }
            (Self::Size { size, digits }, _) => {
                let digit = char::from(byte).to_digit(16).ok_or(Broken)?;
                if digits == SIZE_DIGITS_MAX {
                    return Err(Broken);
                }
                Self::Size { size: (size << 4) | u64::from(digit), digits: digits + 1 }
            }
            (Self::Extension { size, .. }, b'\r') => Self::SizeEnd { size },
            (Self::Extension { size, .. } | Self::SizeEnd { size }, b'\n') => {
                Self::after_size(size)
            }
            (Self::Extension { size, bytes: ..UNREAD_BYTES_MAX }, _) => {
                let Self::Extension { bytes, .. } = self else { return Err(Broken) };
                Self::Extension { size, bytes: bytes + 1 }
            }
            (Self::ChunkCr, b'\r') => Self::ChunkLf,
            (Self::ChunkCr | Self::ChunkLf, b'\n') => Self::Size { size: 0, digits: 0 },
            (Self::Trailer { is_line_start: true, .. }, b'\n') => Self::Done,
            (Self::Trailer { bytes: UNREAD_BYTES_MAX.., .. }, _) => return Err(Broken),
            (Self::Trailer { bytes, .. }, b'\n') => {
                Self::Trailer { is_line_start: true, bytes: bytes + 1 }
            }
            (Self::Trailer { is_line_start, bytes }, b'\r') => {
                Self::Trailer { is_line_start, bytes: bytes + 1 }
            }
            (Self::Trailer { bytes, .. }, _) => {
                Self::Trailer { is_line_start: false, bytes: bytes + 1 }
            }
            (
                Self::Extension { .. }
                | Self::SizeEnd { .. }
                | Self::ChunkCr
                | Self::ChunkLf
                | Self::Open
                | Self::Length(_)
                | Self::Chunk(_)
                | Self::Done,
                _,
            ) => return Err(Broken),
        })
    }

    const fn after_size(size: u64) -> Self {
        match size {
            0 => Self::Trailer { is_line_start: true, bytes: 0 },
            size => Self::Chunk(size),
        }
    }
}

/// As much of the input as belongs to the next `left` bytes, and the rest.
fn take(input: &[u8], left: u64) -> (&[u8], &[u8]) {
    let count = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
    input.split_at(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The content, whatever the split.
    #[track_caller]
    fn check(body: Body, wire: &[u8], want: Result<&[u8], Broken>) {
        for split in 0..=wire.len() {
            let (first, second) = wire.split_at(split);
            let mut out = Vec::new();
            let mut reading = body;
            let read = reading.read(first, &mut out).and_then(|()| reading.read(second, &mut out));
            match want {
                Ok(want) => {
                    assert_eq!(read, Ok(()), "split at {split}");
                    assert_eq!(out, want, "split at {split}");
                }
                Err(error) => assert_eq!(read, Err(error), "split at {split}"),
            }
        }
    }

    #[test]
    fn content_is_freed_of_its_framing() {
        check(Body::open(), b"a\r\nb", Ok(b"a\r\nb"));
        check(Body::of_length(3), b"abcdef", Ok(b"abc"));
        check(Body::of_length(0), b"abc", Ok(b""));
        check(Body::chunked(), b"3\r\nabc\r\n1\r\nd\r\n", Ok(b"abcd"));
        check(Body::chunked(), b"00A;x=\"y\"\r\n0123456789\r\n0\r\n\r\nmore", Ok(b"0123456789"));
        check(Body::chunked(), b"3 \r\nabc\r\n0\r\nTrailer: x\r\n\r\n", Ok(b"abc"));
        check(Body::chunked(), b"3\nabc\n0\n\n", Ok(b"abc"));
        check(Body::chunked(), b"b\r\ndata: a\r\n\r\n\r\n", Ok(b"data: a\r\n\r\n"));
    }

    #[test]
    fn the_end_is_known() {
        let mut body = Body::chunked();
        let mut out = Vec::new();
        for (wire, is_done) in [("1\r\na\r\n0", false), ("\r\n", false), ("\r\n", true)] {
            body.read(wire.as_bytes(), &mut out).expect("sound framing");
            assert_eq!(body.is_done(), is_done, "{wire:?}");
            assert_eq!(body.may_end_here(), is_done);
        }
        assert!(Body::open().may_end_here());
        assert!(!Body::of_length(1).may_end_here());
        assert!(Body::of_length(0).is_done());
    }

    #[test]
    fn broken_framing_is_refused() {
        for wire in
            ["x\r\n", "\r\n", "-1\r\n", "3\r\nabcd", "3\rabc", "11112222333344445\r\n", "1\r\na\rb"]
        {
            check(Body::chunked(), wire.as_bytes(), Err(Broken));
        }
    }

    #[test]
    fn what_nobody_reads_is_bounded() {
        let long = "x".repeat(usize::from(UNREAD_BYTES_MAX) + 1);
        let mut out = Vec::new();
        let extension = format!("1;{long}\r\n");
        assert_eq!(Body::chunked().read(extension.as_bytes(), &mut out), Err(Broken));
        let trailer = format!("0\r\n{long}");
        assert_eq!(Body::chunked().read(trailer.as_bytes(), &mut out), Err(Broken));
        let many = format!("0\r\n{}", "a\r\n".repeat(usize::from(UNREAD_BYTES_MAX)));
        assert_eq!(Body::chunked().read(many.as_bytes(), &mut out), Err(Broken));
    }

    #[test]
    fn sizes_up_to_64_bits_are_read() {
        let mut body = Body::chunked();
        let mut out = Vec::new();
        assert_eq!(body.read(b"FFFFFFFFFFFFFFFF\r\nabc", &mut out), Ok(()));
        assert_eq!(out, b"abc");
        assert!(!body.is_done());
    }
}
