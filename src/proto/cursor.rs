//! The `id:` line: which event of which log.
//!
//! `1.<epoch>.<sequence>`: a form version, the log's random epoch (13 characters) and the
//! sequence, in lower-case base 32; at most 128 bytes of `[A-Za-z0-9._~-]`, since browsers
//! preflight other ids on reconnect. Opaque to clients. Not here: replay (`channel`).

use std::fmt;

/// A longer cursor was not made here.
pub const CURSOR_BYTES_MAX: usize = 128;

const VERSION: &str = "1";
const DIGITS: &[u8; 32] = b"0123456789abcdefghjkmnpqrstvwxyz";

/// A position in a log: everything up to and including `sequence` was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cursor {
    /// Which log. Random, so a log of another process or subscription never matches.
    pub epoch: u64,
    /// Which event of it, from 1.
    pub sequence: u64,
}

impl Cursor {
    /// Reads what a client sent back; `None` for whatever was not made here.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() > CURSOR_BYTES_MAX {
            return None;
        }
        let mut parts = text.split('.');
        let (version, epoch, sequence) = (parts.next()?, parts.next()?, parts.next()?);
        if version != VERSION || parts.next().is_some() {
            return None;
        }
        Some(Self { epoch: number(epoch)?, sequence: number(sequence)? })
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(VERSION)?;
        f.write_str(".")?;
        write_number(f, self.epoch)?;
        f.write_str(".")?;
        write_number(f, self.sequence)
    }
}

fn write_number(f: &mut fmt::Formatter<'_>, mut number: u64) -> fmt::Result {
    // 13 digits of 5 bits hold 64 bits.
    let mut digits = [b'0'; 13];
    let mut used = 0;
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS.get((number & 31) as usize).copied().unwrap_or(b'0');
        number >>= 5;
        used += 1;
        if number == 0 {
            break;
        }
    }
    let tail = digits.get(13 - used..).unwrap_or_default();
    f.write_str(std::str::from_utf8(tail).unwrap_or("0"))
}

fn number(text: &str) -> Option<u64> {
    if text.is_empty() || text.len() > 13 || (text.len() > 1 && text.starts_with('0')) {
        return None;
    }
    text.bytes().try_fold(0_u64, |number, byte| {
        let digit = DIGITS.iter().position(|digit| *digit == byte)?;
        number.checked_mul(32)?.checked_add(digit as u64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursors_come_back_as_they_went() {
        for (epoch, sequence) in [(0, 1), (1, 31), (u64::MAX, u64::MAX), (32, 1 << 40)] {
            let cursor = Cursor { epoch, sequence };
            let text = cursor.to_string();
            assert_eq!(Cursor::parse(&text), Some(cursor), "{text}");
            assert!(text.len() <= CURSOR_BYTES_MAX);
            assert!(text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._~-".contains(&b)));
        }
    }

    #[test]
    fn garbage_is_no_cursor() {
        let long = "1.0.".to_owned() + &"1".repeat(200);
        for text in [
            "",
            "1",
            "1.0",
            "2.0.1",
            "1.0.1.1",
            "1..1",
            "1.00.1",
            "1.0.i",
            "1.0.-1",
            "1.0.1\n",
            "1.zzzzzzzzzzzzzz.1",
            &long,
        ] {
            assert_eq!(Cursor::parse(text), None, "{text:?}");
        }
    }
}
