//! Any bytes, cut anywhere, under any limits: the SSE decoder never panics, its items do not
//! depend on the cuts, its memory stays bounded, and what it gives can be written and read back.
//!
//! `cargo +nightly fuzz run decode fuzz/corpus/decode fuzz/seeds/decode`

#![no_main]

use bytes::Bytes;
use chatmux::proto::sse::{Decoder, Item, Limits, write_event};
use libfuzzer_sys::fuzz_target;

/// An item as owned facts: type, data (none if oversize), id.
type Fact = (String, Option<String>, String);

fuzz_target!(|input: &[u8]| {
    let small = Limits {
        line_bytes_max: 64,
        event_bytes_max: 48,
    };
    for limits in [Limits::default(), small] {
        let whole = decode(limits, input, input.len());
        for piece_bytes in [1, 2, 3, 7] {
            assert_eq!(decode(limits, input, piece_bytes), whole);
        }
        for (event, data, _) in &whole {
            // The name that stands for none is not the event's own.
            let name_bytes = if event == "message" { 0 } else { event.len() };
            let data_bytes = data.as_ref().map_or(0, String::len);
            assert!(name_bytes + data_bytes <= limits.event_bytes_max);
        }
    }
    write_and_read_back(&decode(Limits::default(), input, input.len()));
});

fn decode(limits: Limits, input: &[u8], piece_bytes: usize) -> Vec<Fact> {
    let mut decoder = Decoder::new(limits);
    let mut facts = Vec::new();
    for piece in input.chunks(piece_bytes.max(1)) {
        decoder.push(Bytes::copy_from_slice(piece));
        while let Some(item) = decoder.next_item() {
            facts.push(match item {
                Item::Frame(frame) => (
                    frame.event.to_owned(),
                    Some(frame.data.to_owned()),
                    frame.id.to_owned(),
                ),
                Item::Oversize { event } => (event.to_owned(), None, String::new()),
            });
        }
        // Buffers that are kept, two ids, and room for buffers that double as they grow.
        let bounded = 128 * 1024 + 8 * limits.line_bytes_max.max(limits.event_bytes_max);
        assert!(decoder.buffered_bytes() <= bounded);
    }
    facts
}

fn write_and_read_back(facts: &[Fact]) {
    let mut out = Vec::new();
    for (event, data, id) in facts {
        write_event(&mut out, event, Some(id), data.as_deref().unwrap_or("{}"));
    }
    let names = |facts: &[Fact]| -> Vec<String> {
        // A NUL in a name is read but never written; a name of nothing else is `message`.
        let clean = facts.iter().map(|(event, _, _)| event.replace('\0', ""));
        clean
            .map(|event| {
                if event.is_empty() {
                    "message".to_owned()
                } else {
                    event
                }
            })
            .collect()
    };
    assert_eq!(
        names(&decode(Limits::default(), &out, out.len())),
        names(facts)
    );
}
