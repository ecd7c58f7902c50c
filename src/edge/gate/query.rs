//! A query string, read where somebody asks.
//!
//! Names and values are percent-decoded, `+` is a space, the first of several counts. Nothing is
//! kept: a query of thousands of parameters costs a walk, no memory.

use std::borrow::Cow;

/// A query string without its `?`.
#[derive(Clone, Copy)]
pub(super) struct Query<'a>(&'a str);

/// A value that is no percent-encoded UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Unreadable;

impl<'a> Query<'a> {
    pub(super) const fn new(text: &'a str) -> Self {
        Self(text)
    }

    /// The first value of a name; a name without `=` has the empty one.
    pub(super) fn get(self, name: &str) -> Option<Result<Cow<'a, str>, Unreadable>> {
        let raw = self.0.split('&').find_map(|pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            decode(key).is_some_and(|key| key == name).then_some(value)
        })?;
        Some(decode(raw).ok_or(Unreadable))
    }

    /// As [`Query::get`], where what cannot be read is as good as absent.
    pub(super) fn readable(self, name: &str) -> Option<Cow<'a, str>> {
        self.get(name)?.ok()
    }
}

impl<'a> Query<'a> {
    /// All names and values in their order; what cannot be decoded stands as it came.
    pub(super) fn pairs(self) -> impl Iterator<Item = (Cow<'a, str>, Cow<'a, str>)> {
        let read = |raw: &'a str| decode(raw).unwrap_or(Cow::Borrowed(raw));
        let pairs = self.0.split('&').filter(|pair| !pair.is_empty());
        pairs.map(move |pair| {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (read(name), read(value))
        })
    }
}

/// Undoes the encoding of queries: percent-encoding, `+` for a space; `None` for a broken escape
/// or what is no UTF-8.
pub(super) fn decode(raw: &str) -> Option<Cow<'_, str>> {
    if !raw.contains(['%', '+']) {
        return Some(Cow::Borrowed(raw));
    }
    undo(raw, b' ').map(Cow::Owned)
}

/// Undoes percent-encoding; `plus` is what a `+` stands for.
pub(in crate::edge) fn undo(raw: &str, plus: u8) -> Option<String> {
    let mut out = Vec::with_capacity(raw.len());
    let mut bytes = raw.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'+' => plus,
            b'%' => digit(bytes.next()?)? << 4 | digit(bytes.next()?)?,
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}

fn digit(byte: u8) -> Option<u8> {
    let digit = char::from(byte).to_digit(16)?;
    u8::try_from(digit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(query: &str, want: Option<Result<&str, Unreadable>>) {
        let got = Query::new(query).get("a");
        let got = got.as_ref().map(|value| value.as_deref().map_err(|error| *error));
        assert_eq!(got, want, "{query}");
    }

    #[test]
    fn values_are_decoded_and_the_first_counts() {
        check("a=1", Some(Ok("1")));
        check("b=2&a=1", Some(Ok("1")));
        check("a=1&a=2", Some(Ok("1")));
        check("a=&a=2", Some(Ok("")));
        check("a", Some(Ok("")));
        check("A=1", None);
        check("", None);
        check("&&=&a=1=2&", Some(Ok("1=2")));
        check("a=x+y%20z%2B%26%C3%a9", Some(Ok("x y z+&é")));
        check("%61=1", Some(Ok("1")));
        check("%zz=0&a=1", Some(Ok("1")));
        check("a=%00", Some(Ok("\0")));
        // Decoded once, not twice.
        check("a=%2525", Some(Ok("%25")));
        check("a=1;b=2", Some(Ok("1;b=2")));
    }

    #[test]
    fn what_cannot_be_read_is_said() {
        for query in
            ["a=%", "a=%4", "a=%zz", "a=%+1", "a=%-1", "a=%ff", "a=%c3", "a=%ed%a0%80", "a=%é"]
        {
            check(query, Some(Err(Unreadable)));
        }
        assert_eq!(Query::new("a=%").readable("a"), None);
    }
}
