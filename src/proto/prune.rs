//! Takes private keys out of JSON that streams past, whatever its size.
//!
//! Looked at are the keys of the top object, or of the objects in the top array; what is inside
//! their values is somebody's own. All other bytes leave as they came: numbers keep their digits,
//! strings their escapes, white space stays. What is no JSON passes as it is. Memory is bounded
//! by the longest private name. Not here: which keys (`backend::PassPlan`).

/// A key may be written in escapes, six bytes for each of its letters.
const ESCAPE_BYTES: usize = 6;
/// White space between a comma and a key is kept up to this; more of it is none of anybody's.
const PENDING_BYTES_MAX: usize = 256;

/// Reads pieces, gives them without the keys.
pub struct Pruner {
    keys: &'static [&'static str],
    state: State,
    /// Open brackets.
    depth: usize,
    /// Where the looked-at objects are: 1 for the document itself, 2 in an array.
    level: usize,
    /// What was opened at that level last is an object.
    is_object: bool,
    /// Bytes since the last comma or brace, until it is known whether they leave.
    pending: Vec<u8>,
    key: Vec<u8>,
    /// The object has a member that left, so the next one needs a comma.
    has_member: bool,
    /// The member at hand is dropped.
    is_private: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first byte that says anything.
    Start,
    /// Outside of strings.
    Plain,
    /// In a string; whether the next byte is escaped.
    Text { is_escaped: bool },
    /// In a looked-at object, before a key or its end.
    BeforeKey,
    /// In a key; whether the next byte is escaped.
    Key { is_escaped: bool },
    /// Not JSON that can hold a key.
    Through,
}

impl Pruner {
    /// Before the first byte.
    #[must_use]
    pub const fn new(keys: &'static [&'static str]) -> Self {
        Self {
            keys,
            state: State::Start,
            depth: 0,
            level: 0,
            is_object: false,
            pending: Vec::new(),
            key: Vec::new(),
            has_member: false,
            is_private: false,
        }
    }

    /// Takes the next piece and gives what leaves.
    pub fn push(&mut self, piece: &[u8]) -> Vec<u8> {
        let mut out = Vec::with_capacity(piece.len());
        for byte in piece {
            self.on_byte(*byte, &mut out);
        }
        out
    }

    /// What is left at the end: a document that breaks off inside of a key keeps it back.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        match self.state {
            State::Key { .. } => Vec::new(),
            State::Start
            | State::Plain
            | State::Text { .. }
            | State::BeforeKey
            | State::Through => std::mem::take(&mut self.pending),
        }
    }

    fn on_byte(&mut self, byte: u8, out: &mut Vec<u8>) {
        match self.state {
            State::Through => out.push(byte),
            State::Start => self.on_start(byte, out),
            State::BeforeKey => self.before_key(byte, out),
            State::Key { is_escaped } => self.in_key(byte, is_escaped, out),
            State::Text { is_escaped } => {
                self.leave(byte, out);
                self.state = match byte {
                    b'"' if !is_escaped => State::Plain,
                    byte => State::Text { is_escaped: byte == b'\\' && !is_escaped },
                };
            }
            State::Plain => self.on_plain(byte, out),
        }
    }

    fn on_start(&mut self, byte: u8, out: &mut Vec<u8>) {
        match byte {
            b'{' | b'[' => {
                self.level = if byte == b'{' { 1 } else { 2 };
                self.state = State::Plain;
                self.on_plain(byte, out);
            }
            // White space, and the byte order mark.
            b' ' | b'\t' | b'\r' | b'\n' | 0xEF | 0xBB | 0xBF => out.push(byte),
            byte => {
                out.push(byte);
                self.state = State::Through;
            }
        }
    }

    fn on_plain(&mut self, byte: u8, out: &mut Vec<u8>) {
        match byte {
            b'{' | b'[' => {
                self.leave(byte, out);
                self.depth += 1;
                if self.depth == self.level {
                    self.is_object = byte == b'{';
                    self.has_member = false;
                    if self.is_object {
                        self.state = State::BeforeKey;
                    }
                }
            }
            b'}' | b']' => {
                if self.depth == self.level {
                    self.is_private = false;
                }
                self.depth = self.depth.saturating_sub(1);
                self.leave(byte, out);
            }
            b',' if self.depth == self.level && self.is_object => {
                self.is_private = false;
                self.state = State::BeforeKey;
            }
            b'"' => {
                self.leave(byte, out);
                self.state = State::Text { is_escaped: false };
            }
            byte => self.leave(byte, out),
        }
    }

    fn before_key(&mut self, byte: u8, out: &mut Vec<u8>) {
        match byte {
            b'"' => {
                self.pending.push(byte);
                self.key.clear();
                self.state = State::Key { is_escaped: false };
            }
            b'}' => {
                out.append(&mut self.pending);
                self.is_private = false;
                self.state = State::Plain;
                self.on_plain(byte, out);
            }
            byte if self.pending.len() < PENDING_BYTES_MAX => self.pending.push(byte),
            _ => {}
        }
    }

    fn in_key(&mut self, byte: u8, is_escaped: bool, out: &mut Vec<u8>) {
        self.pending.push(byte);
        if byte == b'"' && !is_escaped {
            self.is_private = self.is_private_key();
            self.state = State::Plain;
            self.decide(out);
            return;
        }
        self.key.push(byte);
        self.state = State::Key { is_escaped: byte == b'\\' && !is_escaped };
        let longest = self.keys.iter().map(|key| key.len()).max().unwrap_or(0);
        if self.key.len() > longest * ESCAPE_BYTES {
            // No private name is that long.
            self.state = State::Text { is_escaped: byte == b'\\' && !is_escaped };
            self.decide(out);
        }
    }

    /// The key is known: it leaves, or its member is dropped.
    fn decide(&mut self, out: &mut Vec<u8>) {
        if self.is_private {
            self.pending.clear();
            return;
        }
        if std::mem::replace(&mut self.has_member, true) {
            out.push(b',');
        }
        out.append(&mut self.pending);
    }

    fn is_private_key(&self) -> bool {
        let mut text = Vec::with_capacity(self.key.len() + 2);
        text.push(b'"');
        text.extend_from_slice(&self.key);
        text.push(b'"');
        let key: Result<String, _> = serde_json::from_slice(&text);
        let is_private = |key: &str| self.keys.iter().any(|known| known.eq_ignore_ascii_case(key));
        key.is_ok_and(|key| is_private(&key))
    }

    fn leave(&self, byte: u8, out: &mut Vec<u8>) {
        if !self.is_private {
            out.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prune(pieces: &[&[u8]]) -> String {
        let mut pruner = Pruner::new(&["origin"]);
        let mut out = Vec::new();
        for piece in pieces {
            out.extend(pruner.push(piece));
        }
        out.extend(pruner.finish());
        String::from_utf8(out).expect("text")
    }

    #[track_caller]
    fn check(input: &str, want: &str) {
        assert_eq!(prune(&[input.as_bytes()]), want, "{input} whole");
        for at in 0..=input.len() {
            let (one, other) = input.as_bytes().split_at(at);
            assert_eq!(prune(&[one, other]), want, "{input} split at {at}");
        }
        let bytes: Vec<&[u8]> = input.as_bytes().chunks(1).collect();
        assert_eq!(prune(&bytes), want, "{input} byte by byte");
    }

    #[test]
    fn private_keys_leave_no_trace_wherever_they_stand() {
        check(r#"[{"id":"1","origin":"s3cret","x":2}]"#, r#"[{"id":"1","x":2}]"#);
        check(r#"[{"origin":"s3cret","x":2}]"#, r#"[{"x":2}]"#);
        check(r#"[{"x":2,"origin":"s3cret"}]"#, r#"[{"x":2}]"#);
        check(r#"[{"origin":"s3cret"}]"#, "[{}]");
        check(r#"[{"origin":1,"origin":[{"a":"}"}],"b":0}]"#, r#"[{"b":0}]"#);
        check(r#"{"origin":null,"x":true}"#, r#"{"x":true}"#);
        check(r#"[{"a":1},{"origin":{"a":[1,2]}},{"b":2}]"#, r#"[{"a":1},{},{"b":2}]"#);
        check(r#"[{"Origin":"s3cret","\u006frigin":"s3cret","a":1}]"#, r#"[{"a":1}]"#);
        check(r#"[{"origin":"a\"}],\\","b":"\\"}]"#, r#"[{"b":"\\"}]"#);
    }

    #[test]
    fn all_other_bytes_leave_as_they_came() {
        for text in [
            r#"[ { "a" : 109.970 , "b":12345678901234567890123 } ,\n {} ]"#,
            r#"[{"data":{"origin":"a person's own"},"text":"\"origin\":1"}]"#,
            r#"{"data":[{"origin":1}],"a_key_that_is_longer_than_any_private_name_can_be":"x,y"}"#,
            r#"[[{"origin":1}],"origin",{"x":"origin"}]"#,
            "\u{feff}[{\"a\":1}]",
            "\"a thread id\"",
            "",
            "  ",
            "not json, {\"origin\":1}",
            "[]",
            "{}",
            r#"{"unfinished":"#,
        ] {
            check(text, text);
        }
    }

    #[test]
    fn a_document_that_breaks_off_gives_nothing_private() {
        let whole = r#"[{"a":1,"origin":"s3cret","b":"x"}]"#;
        for at in 0..whole.len() {
            assert!(!prune(&[&whole.as_bytes()[..at]]).contains("s3"), "{at}");
        }
    }

    #[test]
    fn memory_is_bounded_whatever_comes() {
        let mut pruner = Pruner::new(&["origin"]);
        for byte in [b' ', b'x'] {
            let piece = [b"[{".as_slice(), &vec![byte; 1 << 16]].concat();
            pruner.push(&piece);
            assert!(pruner.pending.capacity() < 4096 && pruner.key.capacity() < 4096);
        }
        let mut pruner = Pruner::new(&["origin"]);
        pruner.push(b"[{\"");
        pruner.push(&vec![b'k'; 1 << 16]);
        assert!(pruner.pending.capacity() < 4096 && pruner.key.capacity() < 4096);
    }
}
