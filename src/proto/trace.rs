//! The trace that a request belongs to: `traceparent` of W3C Trace Context.
//!
//! What does not keep to the standard is no trace, and is taken for absent as the standard asks.
//! `tracestate` is not carried on. Not here: spans of our own, which nobody collects.

use std::fmt;

/// A trace, and whether it is recorded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trace {
    id: u128,
    is_sampled: bool,
}

/// The length of version 00. Later versions may only be longer.
const LENGTH: usize = 55;

impl Trace {
    /// Reads a `traceparent`; `None` if it is not one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let head = text.get(..LENGTH)?;
        let rest = text.get(LENGTH..)?;
        let mut parts = head.split('-');
        let version = hex(parts.next()?, 2)?;
        let id = hex(parts.next()?, 32)?;
        let parent = hex(parts.next()?, 16)?;
        let flags = hex(parts.next()?, 2)?;
        let is_whole = match version {
            0 => rest.is_empty(),
            0xff => false,
            _ => rest.is_empty() || rest.starts_with('-'),
        };
        (is_whole && id != 0 && parent != 0 && parts.next().is_none())
            .then_some(Self { id, is_sampled: flags & 1 == 1 })
    }

    /// What is passed on: the same trace, this span as the parent. 0 is no span, so it becomes 1.
    #[must_use]
    pub fn header(self, span: u64) -> String {
        format!("00-{self}-{:016x}-{:02x}", span.max(1), u8::from(self.is_sampled))
    }
}

/// Its id, as logs show it.
impl fmt::Display for Trace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{:032x}", self.id)
    }
}

/// Lower-case digits, exactly so many.
fn hex(text: &str, digits: usize) -> Option<u128> {
    let is_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
    (text.len() == digits && text.bytes().all(is_hex))
        .then(|| u128::from_str_radix(text, 16).ok())
        .flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the standard's own text.
    const EXAMPLE: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_trace_is_taken_and_passed_on_under_another_span() {
        let trace = Trace::parse(EXAMPLE).expect("a trace");
        assert_eq!(trace.to_string(), "0af7651916cd43dd8448eb211c80319c");
        let passed = "00-0af7651916cd43dd8448eb211c80319c-00000000000000ab-01";
        assert_eq!(trace.header(0xab), passed);
        assert_eq!(Trace::parse(&trace.header(0)), Some(trace), "a span is never 0");
        let unsampled = EXAMPLE.replace("-01", "-02");
        let passed = Trace::parse(&unsampled).map(|trace| trace.header(1));
        assert!(passed.is_some_and(|passed| passed.ends_with("-00")), "unknown flags are not ours");
        let later = format!("{EXAMPLE}-more").replacen("00-", "01-", 1);
        assert_eq!(Trace::parse(&later), Some(trace), "a later version may be longer");
    }

    #[test]
    fn what_is_no_traceparent_is_no_trace() {
        for text in [
            "",
            "00",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-more",
            "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
            "ff-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "01-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01more",
            "00-0af7651916cd43dd8448eb211c80319c+b7ad6b7169203331-01",
            "00-+af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-0é",
        ] {
            assert_eq!(Trace::parse(text), None, "{text}");
        }
    }
}
