//! What backends send most, made in any number, and the way that it takes to a client's bytes.
//!
//! Every frame has an id of its own, as on a real stream, so none is a repeat. Not here: what is
//! measured (`hot`, `instructions`).

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use chatmux::proto::backend::{
    Dialect, Input, Mapper, Policy, SessionStart, SessionValues, Transport, dialect,
};
use chatmux::proto::channel::{Batch, Birth, Channel, Filter, Reader, RingLimits};
use chatmux::proto::cursor::Owner;
use chatmux::proto::event::{Encoded, Envelope, Event, Subscription, TypeSet, Vocabulary};
use chatmux::proto::sse::{Decoder, Item, Limits};
use chatmux::proto::time::UnixMillis;

/// Stands for the number of a frame, ten digits wide.
const NUMBER: &str = "@@@@@@@@@@";
/// Stands for [`STANZA`] in base64.
const ENCODED: &str = "%%%%";

const STANZA: &str = r#"<message xmlns="jabber:client" to="user@domain/web" from="agent@domain" type="chat" id="m@@@@@@@@@@"><body>Thanks for waiting. Your order left our warehouse.</body></message>"#;

/// Something that a backend says.
pub(crate) struct Case {
    /// For tables.
    pub(crate) name: &'static str,
    backend: &'static str,
    frame: &'static str,
}

/// What is measured.
pub(crate) const CASES: &[Case] = &[
    Case {
        name: "salesforce message",
        backend: "salesforce",
        frame: concat!(
            "id: @@@@@@@@@@\nevent: CONVERSATION_MESSAGE\ndata: ",
            r#"{"channelPlatformKey":"","channelType":"embedded_messaging","channelAddressIdentifier":"6a2b1f0e-45b1-4a57-8a63-1d2e3f405162","conversationId":"b5f0a3c4-0d8e-4c1b-9d0c-7f4f6c1d2e3a","conversationEntry":{"senderDisplayName":"Order Assistant","identifier":"3f9d3b52-86d0-4f6c-9a1e-5a@@@@@@@@@@","entryType":"Message","entryPayload":"{\"entryType\":\"Message\",\"id\":\"3f9d3b52-86d0-4f6c-9a1e-5a@@@@@@@@@@\",\"abstractMessage\":{\"messageType\":\"StaticContentMessage\",\"id\":\"3f9d3b52-86d0-4f6c-9a1e-5a@@@@@@@@@@\",\"references\":[],\"staticContent\":{\"formatType\":\"Text\",\"text\":\"Hello, and thanks for waiting so long today. Your order \\\"A-1042\\\" left our warehouse\\nand should arrive on Thursday; is there anything else? ✓ \"}},\"messageReason\":null}","sender":{"role":"Chatbot","appType":"chatbot","subject":"0Xx000000000001AAA","clientIdentifier":"a1c3e5"},"transcriptedTimestamp":1710849283714,"clientTimestamp":1710849283701,"clientDuration":0,"relatedRecords":["0Mw000000000001AAA"]}}"#,
            "\n\n"
        ),
    },
    Case {
        name: "salesforce token",
        backend: "salesforce",
        frame: concat!(
            "event:CONVERSATION_STREAMING_TOKEN\ndata:",
            r#"{"channelPlatformKey":"42b3f2ec-9ab1-40ae-b97d-ebb42650826e","channelType":"embedded_messaging","channelAddressIdentifier":"42b3f2ec-9ab1-40ae-b97d-ebb42650826e","conversationId":"0db1b9a6-96bf-46bd-b088-182d05522e90","conversationEntry":{"senderDisplayName":"Agentforce","identifier":"000000ca-1111-4222-8333-00@@@@@@@@@@","entryType":"StreamingToken","entryPayload":"{\"entryType\":\"StreamingToken\",\"id\":\"000000ca-1111-4222-8333-00@@@@@@@@@@\",\"streamingToken\":{\"tokenType\":\"MessageStreamingToken\",\"sequenceNumber\":1,\"timestamp\":1741299970300,\"targetMessageIdentifier\":\"0000012b-1111-4222-8333-00000000012b\",\"turnId\":\"turn-1\",\"batchNumber\":1,\"token\":{\"formatType\":\"Text\",\"text\":\"Your order \"}}}","sender":{"role":"Chatbot","appType":"chatbot","subject":"0XxHx0000001srB","clientIdentifier":""},"contextParamMap":{},"visibilityStrategy":"All","transcriptedTimestamp":1741299970300,"relatedRecords":[],"clientTimestamp":1741299970300,"clientDuration":0}}"#,
            "\n\n"
        ),
    },
    Case {
        name: "xians chat",
        backend: "xians",
        frame: concat!(
            "event: Chat\ndata: ",
            r#"{"id":"msg-@@@@@@@@@@","createdAt":"2024-01-15T10:30:00Z","direction":"Outgoing","messageType":"Chat","text":"Hello, and thanks for waiting so long today. Your order \"A-1042\" left our warehouse and arrives Thursday. ","participantId":"jane","workflowId":"acme:support","workflowType":"support"}"#,
            "\n\n"
        ),
    },
    Case {
        name: "xians data",
        backend: "xians",
        frame: concat!(
            "event: Data\ndata: ",
            r#"{"id":"msg-@@@@@@@@@@","threadId":"t-1","createdAt":"2024-01-15T10:30:00.1234567Z","direction":"Outgoing","messageType":"Data","text":null,"data":{"token":" world","seq":12,"parts":[{"a":1.50},{"b":"x y z"}]},"participantId":"jane","workflowId":"acme:support","workflowType":"support","requestId":"r-1","scope":null,"hint":null,"createdBy":"agent"}"#,
            "\n\n"
        ),
    },
    Case {
        name: "openfire chat",
        backend: "openfire",
        frame: concat!(
            "event: chatapi.chat\ndata: ",
            r#"{"type":"chat","body":"Thanks for waiting. @@@@@@@@@@","to":"user@domain","from":"agent@domain"}"#,
            "\n\n"
        ),
    },
    Case {
        name: "openfire stanza",
        backend: "openfire",
        frame: "event: chatapi.xmpp\ndata: {\"xmpp\":\"%%%%\"}\n\n",
    },
    Case {
        name: "bright pattern message",
        backend: "brightpattern",
        frame: r#"{"event":"chat_session_message","party_id":"7b1f2c30-1d55-4c1c-8b0b-0f4a3c5e6d71","msg_id":"@@@@@@@@@@","msg":"Hello, your order has shipped.","timestamp":"1710849283714"}"#,
    },
];

/// Events in one answer to a poll.
const EVENTS_PER_POLL: usize = 10;
/// As much as one read of a busy stream gives.
const READ_BYTES: usize = 64 * 1024;

impl Case {
    fn dialect(&self) -> &'static Dialect {
        dialect(self.backend).expect("a dialect")
    }

    fn frame(&self, number: usize) -> String {
        let number = format!("{number:010}");
        let stanza = STANZA.replace(NUMBER, &number);
        self.frame.replace(NUMBER, &number).replace(ENCODED, &STANDARD.encode(stanza))
    }

    /// So many frames, as reads or answers give them.
    pub(crate) fn reads(&self, frames: usize) -> Vec<Bytes> {
        let frames: Vec<String> = (0..frames).map(|number| self.frame(number)).collect();
        match self.dialect().transport {
            Transport::Stream => {
                let whole = Bytes::from(frames.concat());
                let reads = (0..whole.len()).step_by(READ_BYTES);
                reads.map(|at| whole.slice(at..(at + READ_BYTES).min(whole.len()))).collect()
            }
            Transport::Poll { .. } => frames
                .chunks(EVENTS_PER_POLL)
                .map(|events| format!("{{\"events\":[{}]}}", events.join(",")).into())
                .collect(),
        }
    }
}

/// How far frames are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Bytes to frames.
    Decode,
    /// Frames to events.
    Map,
    /// Events to JSON.
    Encode,
    /// Framed, in the log, and read by one client.
    Log,
}

impl Stage {
    /// All, each with those before it.
    pub(crate) const ALL: [Self; 4] = [Self::Decode, Self::Map, Self::Encode, Self::Log];
}

/// One upstream stream, one log, one client.
pub(crate) struct Pipe {
    backend: &'static str,
    transport: Transport,
    decoder: Decoder,
    sink: Sink,
    mapper: Mapper,
}

struct Sink {
    stage: Stage,
    subscription: std::sync::Arc<Subscription>,
    log: Log,
    events: usize,
}

impl Pipe {
    /// Takes the frames of a case so far.
    pub(crate) fn new(case: &Case, stage: Stage) -> Self {
        let subscription = Subscription::new("acme", "support", "jane");
        let user = ("user", "user@domain".to_owned());
        let values: SessionValues = [user].into_iter().collect();
        let start = SessionStart { subscription: subscription.clone(), values: &values, seed: 7 };
        let dialect = case.dialect();
        Self {
            backend: dialect.name,
            transport: dialect.transport,
            decoder: Decoder::new(Limits::default()),
            mapper: Mapper::new((dialect.session)(&start), Policy::default()),
            sink: Sink { stage, subscription, log: Log::new(), events: 0 },
        }
    }

    /// Takes one read, or one answer; gives how many events came of it, or frames where they are
    /// only decoded.
    pub(crate) fn take(&mut self, read: Bytes) -> usize {
        let Self { backend, transport, decoder, sink, mapper } = self;
        sink.events = 0;
        let mut on_frame = |input: Input<'_>| {
            if sink.stage == Stage::Decode {
                std::hint::black_box(input);
                sink.events += 1;
                return;
            }
            mapper.on_frame(input, &mut |event| sink.on_event(&event, backend));
        };
        match transport {
            Transport::Stream => {
                decoder.push(read);
                while let Some(Item::Frame(frame)) = decoder.next_item() {
                    on_frame(Input { event: frame.event, data: frame.data });
                }
            }
            Transport::Poll { frames } => {
                let answer = std::str::from_utf8(&read).expect("text");
                for (event, data) in &frames(answer) {
                    on_frame(Input { event, data });
                }
            }
        }
        if sink.stage == Stage::Log {
            std::hint::black_box(sink.log.read());
        }
        sink.events
    }
}

impl Sink {
    fn on_event(&mut self, event: &Event<'_>, backend: &str) {
        self.events += 1;
        if self.stage == Stage::Map {
            std::hint::black_box(event);
            return;
        }
        let encoded = Encoded::new(
            event,
            &mut Envelope {
                subscription: &self.subscription,
                source: "desk",
                backend,
                arrived: UnixMillis(1_710_849_283_714),
                minted: &mut || "0123456789abcdef-1".to_owned(),
            },
        );
        match self.stage {
            Stage::Log => self.log.append(encoded),
            Stage::Decode | Stage::Map | Stage::Encode => {
                std::hint::black_box(encoded);
            }
        }
    }
}

/// A log and a client that keeps up.
pub(crate) struct Log {
    channel: Channel,
    filter: Filter,
    reader: Reader,
    now: Instant,
}

impl Log {
    /// An empty one, with the usual limits.
    #[expect(clippy::disallowed_methods, reason = "an embedder brings its own clock")]
    pub(crate) fn new() -> Self {
        let at = UnixMillis(1_710_849_283_000);
        let birth = Birth { epoch: 7, owner: Owner::new(["acme"]), sources: 1, at };
        let limits = RingLimits {
            events_max: 512,
            bytes_max: 1024 * 1024,
            age_max: Duration::from_secs(600),
        };
        let mut channel = Channel::new(birth, limits);
        channel.on_live(0, at);
        let filter = Filter { types: TypeSet::ALL, scope: None, vocabulary: Vocabulary::Full };
        let reader = channel.join(None, &filter, at).reader;
        Self { channel, filter, reader, now: Instant::now() }
    }

    /// Appends an event.
    pub(crate) fn append(&mut self, encoded: Encoded) {
        self.channel.append(0, "", encoded, self.now);
    }

    /// Another client.
    pub(crate) fn reader(&self) -> Reader {
        self.channel.join(None, &self.filter, UnixMillis(1_710_849_283_000)).reader
    }

    /// What another client has not read yet.
    pub(crate) fn read_as(&self, reader: &mut Reader) -> Batch {
        let mut batch = Batch::default();
        self.channel.read(reader, &self.filter, self.now, &mut batch);
        batch
    }

    /// What the client has not read yet.
    pub(crate) fn read(&mut self) -> Batch {
        let mut reader = self.reader.clone();
        let batch = self.read_as(&mut reader);
        self.reader = reader;
        batch
    }
}
