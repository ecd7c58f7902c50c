//! An EventSource by hand, stricter than any browser.
//!
//! Checks the wire form of every event that passes: UTF-8, LF, `event:` always, exactly one
//! `data:` line of compact JSON, `field: value`, a blank line, `id:` on messages and nowhere
//! else, the committed schema (`schema`). A wait that fails shows all that was seen.

use std::io;
use std::net::SocketAddr;

use serde_json::Value;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;

use super::http::{Framing, Head, Wire};
use super::{Client, DEADLINE, Edge, schema, soon};

/// Events of the stream itself: no `id:`, no message object.
const CONTROL: [&str; 7] =
    ["connected", "disconnected", "source_up", "source_down", "heartbeat", "gap", "refused"];
/// The longest cursor that a browser may be given.
const CURSOR_BYTES_MAX: usize = 128;

/// One event.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Event {
    pub(crate) name: String,
    pub(crate) id: Option<String>,
    pub(crate) retry: Option<u64>,
    pub(crate) data: Value,
}

impl Event {
    /// The text at a JSON pointer; empty where there is none.
    pub(crate) fn at(&self, pointer: &str) -> &str {
        self.data.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
    }

    /// Its source's name in the conf; empty where it has none.
    pub(crate) fn source(&self) -> &str {
        self.at("/source/name")
    }

    pub(crate) fn is_control(&self) -> bool {
        CONTROL.contains(&self.name.as_str())
    }

    /// Whether it is what a gap becomes in the `core` vocabulary.
    fn is_core_gap(&self) -> bool {
        self.at("/data/kind") == "gap" && self.at("/source/event") == "gap"
    }

    /// Reads a block without its blank line, as strictly as the vocabulary writes it.
    fn parse(block: &str) -> Result<Self, String> {
        let (mut name, mut id, mut retry, mut data) = (None, None, None, None);
        for line in block.split('\n') {
            let (field, value) = line.split_once(": ").ok_or("a line is no `field: value`")?;
            let slot = match field {
                "event" => &mut name,
                "id" => &mut id,
                "retry" => &mut retry,
                "data" => &mut data,
                _ => return Err(format!("no such field: {field}")),
            };
            if slot.replace(value).is_some() {
                return Err(format!("{field} is there twice"));
            }
        }
        let name = name.ok_or("no event:")?.to_owned();
        let text = data.ok_or("no data:")?;
        let data: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if has_space_between_tokens(text) {
            return Err("the JSON is not compact".to_owned());
        }
        let retry = retry.map(|retry| retry.parse().map_err(|_| "retry: is no number"));
        let event = Self { name, id: id.map(str::to_owned), retry: retry.transpose()?, data };
        event.check()?;
        Ok(event)
    }

    fn check(&self) -> Result<(), String> {
        schema::check(&self.name, &self.data, self.is_core_gap())?;
        let object = self.data.as_object().ok_or("the data is no object")?;
        if let Some((name, _)) = object.iter().find(|(_, value)| value.is_null()) {
            return Err(format!("{name} is null"));
        }
        if self.is_control() {
            let has_time = self.name == "refused" || is_time(self.at("/timestamp"));
            return match self.id {
                None if has_time => Ok(()),
                None => Err("no timestamp".to_owned()),
                Some(_) => Err("a control event with an id".to_owned()),
            };
        }
        if self.name != self.at("/messageType") {
            return Err("messageType is not the event's name".to_owned());
        }
        for field in ["id", "workflowId", "workflowType", "participantId"] {
            if self.at(&format!("/{field}")).is_empty() {
                return Err(format!("no {field}"));
            }
        }
        for field in ["name", "backend", "event"] {
            if self.at(&format!("/source/{field}")).is_empty() {
                return Err(format!("no source.{field}"));
            }
        }
        if !matches!(self.at("/direction"), "Outgoing" | "Incoming") {
            return Err("no direction".to_owned());
        }
        if !is_time(self.at("/createdAt")) {
            return Err("createdAt is no time of the vocabulary".to_owned());
        }
        match &self.id {
            Some(id) if is_cursor(id) => Ok(()),
            Some(id) => Err(format!("{id:?} is no cursor")),
            None if self.is_core_gap() => Ok(()),
            None => Err("a message without an id".to_owned()),
        }
    }
}

fn is_cursor(id: &str) -> bool {
    let is_fit = |byte: u8| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte);
    (1..=CURSOR_BYTES_MAX).contains(&id.len()) && id.bytes().all(is_fit)
}

/// `2026-01-19T18:43:09.074Z`
fn is_time(text: &str) -> bool {
    const FORM: &[u8] = b"0000-00-00T00:00:00.000Z";
    let fits = |(byte, form): (u8, &u8)| match form {
        b'0' => byte.is_ascii_digit(),
        form => byte == *form,
    };
    text.len() == FORM.len() && text.bytes().zip(FORM).all(fits)
}

fn has_space_between_tokens(json: &str) -> bool {
    let (mut is_inside, mut is_escaped) = (false, false);
    for byte in json.bytes() {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if is_inside => is_escaped = true,
            b'"' => is_inside = !is_inside,
            b' ' | b'\t' | b'\r' | b'\n' if !is_inside => return true,
            _ => {}
        }
    }
    false
}

/// An open stream.
#[derive(Debug)]
pub(crate) struct EventSource {
    pub(crate) head: Head,
    wire: Wire,
    framing: Framing,
    unread: Vec<u8>,
    /// So much of it holds no end of a block.
    searched: usize,
    seen: Vec<Event>,
    frame_id: String,
}

impl EventSource {
    /// Opens a stream; anything but one fails the test.
    pub(crate) async fn open(edge: &Edge, client: &Client) -> Self {
        Self::open_with(edge, client, None).await
    }

    /// As a client that reads nothing of itself: the system keeps as little for it as it can.
    pub(crate) async fn open_lazily(edge: &Edge, client: &Client) -> Self {
        Self::open_with(edge, client, Some(2048)).await
    }

    async fn open_with(edge: &Edge, client: &Client, receive_buffer: Option<u32>) -> Self {
        let opened = Self::connect(edge.streams(), client, receive_buffer);
        let opened = soon("the head of a stream", opened).await;
        opened.unwrap_or_else(|why| panic!("no stream: {why}"))
    }

    /// Opens a stream, or says what came instead.
    pub(crate) async fn connect(
        to: SocketAddr,
        client: &Client,
        receive_buffer: Option<u32>,
    ) -> Result<Self, String> {
        let ask = client.ask("GET");
        let started = ask.start(to, receive_buffer).await;
        let (mut wire, head) = started.map_err(|error| error.to_string())?;
        let mut framing = head.get_framing();
        if head.status != 200 {
            let body = wire.piece(&mut framing).await.ok().flatten().unwrap_or_default();
            return Err(format!("{head:?} {}", String::from_utf8_lossy(&body)));
        }
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        let (unread, seen, frame_id) = (Vec::new(), Vec::new(), String::new());
        Ok(Self { head, wire, framing, unread, searched: 0, seen, frame_id })
    }

    /// The next event, whichever it is; `None` at the end of the answer.
    pub(crate) async fn next(&mut self) -> Option<Event> {
        match timeout(DEADLINE, self.read_event()).await {
            Ok(Ok(event)) => event,
            Ok(Err(error)) => panic!("the stream broke: {error}; seen: {}", self.show()),
            Err(_) => panic!("nothing came in {DEADLINE:?}; seen: {}", self.show()),
        }
    }

    async fn read_event(&mut self) -> io::Result<Option<Event>> {
        let Some(block) = self.read_block().await? else {
            return Ok(None);
        };
        let event = Event::parse(&block)
            .unwrap_or_else(|why| panic!("{why} in\n{block}\nseen: {}", self.show()));
        self.seen.push(event.clone());
        Ok(Some(event))
    }

    /// The next block; `None` at the end of the answer.
    async fn read_block(&mut self) -> io::Result<Option<String>> {
        loop {
            let unsearched = self.unread.get(self.searched..).unwrap_or_default();
            if let Some(at) = unsearched.windows(2).position(|pair| pair == b"\n\n") {
                let at = self.searched + at;
                self.searched = 0;
                let block: Vec<u8> = self.unread.drain(..at + 2).take(at).collect();
                return Ok(Some(String::from_utf8(block).expect("UTF-8")));
            }
            self.searched = self.unread.len().saturating_sub(1);
            match self.wire.piece(&mut self.framing).await? {
                Some(piece) => {
                    assert!(!piece.contains(&b'\r'), "lines end with LF alone");
                    self.unread.extend_from_slice(&piece);
                }
                None => {
                    let left = String::from_utf8_lossy(&self.unread).into_owned();
                    assert!(left.is_empty(), "the answer ends inside of an event: {left:?}");
                    return Ok(None);
                }
            }
        }
    }

    /// The next event of a stream in a backend's own words: name and data, lines joined. Blocks
    /// without data are none.
    pub(crate) async fn next_frame(&mut self) -> (String, String) {
        let what = "a frame";
        loop {
            let block = soon(what, self.read_block()).await.expect("a whole stream");
            let block = block.expect("the stream goes on");
            let field = |name: &str| -> Vec<String> {
                let lines = block.lines().filter_map(|line| line.strip_prefix(name));
                lines.map(str::to_owned).collect()
            };
            if let Some(id) = field("id: ").pop() {
                self.frame_id = id;
            }
            let data = field("data: ");
            if !data.is_empty() {
                return (field("event: ").pop().expect("a name"), data.join("\n"));
            }
        }
    }

    /// The last `id:` that a frame had.
    pub(crate) fn last_frame_id(&self) -> &str {
        &self.frame_id
    }

    /// The next event, which must have this name.
    pub(crate) async fn expect(&mut self, name: &str) -> Event {
        match self.next().await {
            Some(event) if event.name == name => event,
            other => panic!("not {name}: {other:?}; seen: {}", self.show()),
        }
    }

    /// The next event of one of these names; others are passed over.
    pub(crate) async fn next_of(&mut self, names: &[&str]) -> Event {
        self.find(|event| names.contains(&event.name.as_str())).await
    }

    /// The next event of which this is true; others are passed over.
    pub(crate) async fn find(&mut self, mut wanted: impl FnMut(&Event) -> bool) -> Event {
        let search = async {
            loop {
                match self.read_event().await {
                    Ok(Some(event)) if wanted(&event) => return Ok(event),
                    Ok(Some(_)) => {}
                    Ok(None) => return Err("the answer ended".to_owned()),
                    Err(error) => return Err(error.to_string()),
                }
            }
        };
        match timeout(DEADLINE, search).await {
            Ok(Ok(event)) => event,
            Ok(Err(why)) => panic!("{why}; seen: {}", self.show()),
            Err(_) => panic!("not seen in {DEADLINE:?}; seen: {}", self.show()),
        }
    }

    /// The next message, whatever the stream says of itself in between.
    pub(crate) async fn message(&mut self) -> Event {
        self.find(|event| !event.is_control()).await
    }

    /// The next `Chat` with this text.
    pub(crate) async fn chat(&mut self, text: &str) -> Event {
        self.find(|event| event.name == "Chat" && event.at("/text") == text).await
    }

    /// Passes over everything until these sources are up.
    pub(crate) async fn all_up(&mut self, sources: &[&str]) {
        let mut missing: Vec<_> = sources.to_vec();
        while !missing.is_empty() {
            let event = self.next_of(&["source_up"]).await;
            missing.retain(|name| *name != event.source());
        }
    }

    /// Everything up to the end of the answer.
    pub(crate) async fn rest(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await {
            events.push(event);
        }
        events
    }

    /// Everything up to where the answer is cut, or ends.
    pub(crate) async fn until_cut(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        let read = async {
            while let Ok(Some(event)) = self.read_event().await {
                events.push(event);
            }
        };
        soon("the end of the stream", read).await;
        events
    }

    /// The id of the last event that had one.
    pub(crate) fn last_event_id(&self) -> &str {
        self.seen.iter().rev().find_map(|event| event.id.as_deref()).expect("an id was seen")
    }

    /// Everything so far.
    pub(crate) fn seen(&self) -> &[Event] {
        &self.seen
    }

    /// Leaves in order.
    pub(crate) fn close(self) {
        drop(self);
    }

    /// Leaves with a reset.
    pub(crate) fn reset(self) {
        self.wire.socket.set_zero_linger().expect("a socket");
    }

    /// Says that it will send no more, and stays.
    pub(crate) async fn shut_down(&mut self) {
        self.wire.socket.shutdown().await.expect("a socket");
    }

    fn show(&self) -> String {
        let line = |event: &Event| format!("\n  {} {}", event.name, event.data);
        self.seen.iter().map(line).collect()
    }
}

#[test]
fn the_wire_form_is_checked_strictly() {
    let beat = r#"data: {"timestamp":"2026-01-19T18:43:09.074Z","subscriberCount":1}"#;
    assert!(Event::parse(&format!("event: heartbeat\n{beat}")).is_ok());
    for block in [
        beat.to_owned(),
        format!("event:heartbeat\n{beat}"),
        format!(": hello\nevent: heartbeat\n{beat}"),
        format!("event: heartbeat\nid: 1\n{beat}"),
        format!("event: heartbeat\n{beat}\n{beat}"),
        format!("event: heartbeat\n{}", beat.replace(":1", ": 1")),
        format!("event: heartbeat\n{}", beat.replace('1', "null")),
        format!("event: Chat\nid: 1.2\n{beat}"),
    ] {
        assert!(Event::parse(&block).is_err(), "{block}");
    }
}
