//! Events into bytes, in the one form that every client reads.
//!
//! UTF-8 and LF; `event:` always, exactly one `data:` line, at most one `id:`, a space after
//! each colon, a blank line at the end. No value can break out of its line. The id stands last:
//! clients that take it before the blank line would lose an event that is cut behind it.
//! Hot path: runs once per event. Not here: what the values are.

use memchr::{memchr2, memchr3};

/// Appends one event.
///
/// CR, LF and NUL are removed from `event` and `id`: an empty event is written as `message`,
/// an empty id is left out. CR and LF in `data`, which compact JSON never has, become spaces.
pub fn write_event(out: &mut Vec<u8>, event: &str, id: Option<&str>, data: &str) {
    write_json_event(out, event, id, data.as_bytes());
}

/// The same, for JSON as the bytes that it was written in.
pub(crate) fn write_json_event(out: &mut Vec<u8>, event: &str, id: Option<&str>, json: &[u8]) {
    /// The most that the field names, spaces and line ends of an event take.
    const FRAMING_BYTES: usize = "event: message\ndata: \nid: \n\n".len();
    out.reserve(FRAMING_BYTES + event.len() + id.map_or(0, str::len) + json.len());

    if !write_name(out, b"event: ", event) {
        out.extend_from_slice(b"event: message\n");
    }
    out.extend_from_slice(b"data: ");
    write_data(out, json);
    out.push(b'\n');
    if let Some(id) = id {
        write_name(out, b"id: ", id);
    }
    out.push(b'\n');
}

/// Appends a frame with the data that it came with: a `data:` line for each of its lines. CR in
/// it becomes a space; names and ids are as in [`write_event`].
pub fn write_frame(out: &mut Vec<u8>, event: &str, id: Option<&str>, data: &str) {
    if !write_name(out, b"event: ", event) {
        out.extend_from_slice(b"event: message\n");
    }
    for line in data.split('\n') {
        out.extend_from_slice(b"data: ");
        write_data(out, line.as_bytes());
        out.push(b'\n');
    }
    if let Some(id) = id {
        write_name(out, b"id: ", id);
    }
    out.push(b'\n');
}

/// Appends the line `retry: MILLIS`, which belongs to the block of the event written next.
pub fn write_retry(out: &mut Vec<u8>, millis: u64) {
    out.extend_from_slice(b"retry: ");
    out.extend_from_slice(millis.to_string().as_bytes());
    out.push(b'\n');
}

/// Appends a line of a name or id; writes nothing and says `false` if no character is left.
fn write_name(out: &mut Vec<u8>, field: &[u8], value: &str) -> bool {
    let line_at = out.len();
    out.extend_from_slice(field);
    let value_at = out.len();
    let value = value.as_bytes();
    if memchr3(b'\r', b'\n', 0, value).is_none() {
        out.extend_from_slice(value);
    } else {
        out.extend(value.iter().filter(|byte| !matches!(byte, b'\r' | b'\n' | 0)));
    }
    if out.len() == value_at {
        out.truncate(line_at);
        return false;
    }
    out.push(b'\n');
    true
}

fn write_data(out: &mut Vec<u8>, mut data: &[u8]) {
    while let Some(at) = memchr2(b'\r', b'\n', data) {
        let (line, rest) = data.split_at(at);
        out.extend_from_slice(line);
        out.push(b' ');
        data = rest.get(1..).unwrap_or_default();
    }
    out.extend_from_slice(data);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_keeps_its_lines_and_cannot_leave_them() {
        for (event, data, want) in [
            ("Chat", "{\"a\":1}", "event: Chat\ndata: {\"a\":1}\nid: 7\n\n"),
            ("", "a\nb\n", "event: message\ndata: a\ndata: b\ndata: \nid: 7\n\n"),
            ("x\ny\0", "a\rb\0", "event: xy\ndata: a b\0\nid: 7\n\n"),
        ] {
            let mut out = Vec::new();
            write_frame(&mut out, event, Some("7"), data);
            assert_eq!(String::from_utf8_lossy(&out), want);
        }
    }
}
