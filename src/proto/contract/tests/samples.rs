//! Everything that `wire` and `control` can write: each payload with all its fields, with none
//! but those it needs, and with each word.
//!
//! Structs are built without `..` and enums matched without `_`, so a field or a type that is
//! added does not compile before it stands here.

use std::borrow::Cow;

use serde_json::Value;

use crate::proto::event::*;
use crate::proto::time::UnixMillis;

/// An event as it was written.
pub(super) struct Sample {
    pub(super) event: String,
    pub(super) id: Option<String>,
    pub(super) data: Value,
    /// Whether it is of XiansAi.
    pub(super) is_passed: bool,
    /// What clients of the `core` vocabulary get: one event, or none.
    pub(super) core: Vec<String>,
}

impl Sample {
    fn of(block: &str, is_passed: bool, core: Vec<String>) -> Self {
        let event = parse(block);
        Self {
            event: event["event"].as_str().expect("a name").to_owned(),
            id: event.get("id").and_then(Value::as_str).map(str::to_owned),
            data: event["data"].clone(),
            is_passed,
            core,
        }
    }

    /// As the schema sees it.
    pub(super) fn instance(&self) -> Value {
        let mut event = serde_json::json!({"event": self.event, "data": self.data});
        if let Some(id) = &self.id {
            event["id"] = id.as_str().into();
        }
        event
    }
}

/// An event out of its block.
pub(super) fn parse(block: &str) -> Value {
    let mut event = serde_json::Map::new();
    for line in block.strip_suffix("\n\n").expect("a whole block").split('\n') {
        let (name, value) = line.split_once(": ").expect("a field");
        let value = match name {
            "data" => serde_json::from_str(value).expect("JSON"),
            _ => Value::from(value),
        };
        assert!(event.insert(name.to_owned(), value).is_none(), "two lines {name}");
    }
    Value::Object(event)
}

fn text(text: &'static str) -> Option<Text<'static>> {
    Some(Cow::Borrowed(text))
}

const NONE: Option<Text<'static>> = None;

/// Every sample of every event.
pub(super) fn all() -> Vec<Sample> {
    let mut samples = Vec::new();
    for message_type in MessageType::ALL {
        for payload in payloads(*message_type) {
            assert_eq!(payload.message_type(), *message_type);
            samples.push(message(bare(payload)));
        }
    }
    for message in MESSAGES_PASSED {
        let payload =
            Payload::Passed { message_type: *message, data: text(r#"{"any":[1.0,null]}"#) };
        samples.push(self::message(bare(payload)));
    }
    samples.extend(envelopes().into_iter().map(message));
    samples.extend(controls());
    samples
}

/// Those that XiansAi sends.
const MESSAGES_PASSED: &[MessageType] = &[
    MessageType::Chat,
    MessageType::Data,
    MessageType::Handoff,
    MessageType::File,
    MessageType::Reasoning,
    MessageType::Tool,
    MessageType::Webhook,
];

fn bare(payload: Payload<'static>) -> Event<'static> {
    Event::new("what.happened", payload)
}

fn message(event: Event<'static>) -> Sample {
    let is_passed = matches!(&event.payload, Payload::Passed { .. });
    let subscription = Subscription::new("acme", "support", "jane");
    let encoded = Encoded::new(
        &event,
        &mut Envelope {
            subscription: &subscription,
            source: "desk",
            backend: if is_passed { "xians" } else { "brightpattern" },
            arrived: UnixMillis(0),
            minted: &mut || "m1".to_owned(),
        },
    );
    let framed = encoded.frame(Some("1.a.1"));
    let block = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
    Sample::of(&block(framed.full()), is_passed, vec![block(&framed.core())])
}

/// The message object with all its fields, and with each word.
fn envelopes() -> Vec<Event<'static>> {
    let mut events = Vec::new();
    for direction in Direction::ALL {
        for role in Role::ALL {
            for name in [NONE, text("Robin")] {
                events.push(Event {
                    id: EventId::given("a"),
                    thread_id: text("t"),
                    conversation_id: text("c"),
                    workflow_id: text("acme:w"),
                    workflow_type: text("w"),
                    direction: *direction,
                    text: text("said"),
                    hint: text("h"),
                    scope: text("s"),
                    is_scoped: true,
                    request_id: text("r"),
                    created_by: text("b"),
                    sender: Some(Sender { id: name.clone(), name, role: *role }),
                    created_at: Some(UnixMillis(1)),
                    source_event: Cow::Borrowed("what.happened"),
                    payload: Payload::Chat(Box::default()),
                });
            }
        }
    }
    events
}

/// Payloads of a type that between them have each field, lack each optional one, and say each
/// word.
fn payloads(message_type: MessageType) -> Vec<Payload<'static>> {
    match message_type {
        MessageType::Chat => chats(),
        MessageType::Data => vec![
            Payload::Data(Cow::Borrowed("[1.50,null]")),
            Payload::Kind { kind: "case", fields: vec![(Cow::Borrowed("id"), Cow::Borrowed("7"))] },
        ],
        MessageType::Handoff => handoffs(),
        MessageType::Typing => typings(),
        MessageType::Receipt => [(true, None), (false, Some(UnixMillis(1)))]
            .map(|(is_read, at)| Receipt { is_read, message_id: Cow::Borrowed("a"), at })
            .map(Payload::Receipt)
            .into(),
        MessageType::Presence => Show::ALL
            .iter()
            .map(|show| Payload::Presence(Presence { is_available: true, show: *show }))
            .collect(),
        MessageType::Participant => participants(),
        MessageType::Status => statuses(),
        MessageType::Token => tokens(),
        MessageType::Progress => {
            [NONE, text("x")].map(|indicator| Payload::Progress { indicator }).into()
        }
        MessageType::File => files(),
        MessageType::Form => forms(),
        MessageType::Invite => [NONE, text("x")]
            .map(|one| Invite {
                room: Cow::Borrowed("r"),
                inviter: one.clone(),
                reason: one.clone(),
                password: one.clone(),
                url: one,
            })
            .map(|invite| Payload::Invite(Box::new(invite)))
            .into(),
        MessageType::Call => {
            [NONE, text("7")].map(|one| Payload::Call { status: one.clone(), payload: one }).into()
        }
        MessageType::Signal => [NONE, text("x")]
            .map(|destination| Payload::Signal { signal: Cow::Borrowed("null"), destination })
            .into(),
        MessageType::Notice => NoticeLevel::ALL
            .iter()
            .flat_map(|level| [NONE, text("x")].map(|code| Notice { level: *level, code }))
            .map(Payload::Notice)
            .collect(),
        MessageType::Reasoning | MessageType::Tool | MessageType::Webhook => {
            vec![Payload::Passed { message_type, data: None }]
        }
        MessageType::Raw => {
            vec![Payload::Raw { event: Cow::Borrowed("x"), body: Cow::Borrowed("null") }]
        }
    }
}

fn chats() -> Vec<Payload<'static>> {
    let mut chats = vec![Payload::Chat(Box::default())];
    for format in TextFormat::ALL {
        for one in [NONE, text("1")] {
            let choice = Choice { id: one.clone(), title: one.clone(), description: one.clone() };
            let link =
                Link { url: Cow::Borrowed("https://x"), title: one.clone(), image: one.clone() };
            chats.push(Payload::Chat(Box::new(Chat {
                format: Some(*format),
                html: one.clone(),
                subject: one.clone(),
                replaces: one.clone(),
                in_reply_to: one.clone(),
                room: one.clone(),
                delayed: one.is_some().then_some(true),
                choices: vec![choice],
                style: one.clone(),
                links: vec![link],
                payload: one,
            })));
        }
    }
    chats
}

fn handoffs() -> Vec<Payload<'static>> {
    let mut handoffs = Vec::new();
    for phase in HandoffPhase::ALL {
        handoffs.push(Handoff::new(*phase));
        handoffs.push(Handoff {
            phase: *phase,
            from_agent: text("x"),
            to_agent: text("x"),
            reason: text("x"),
            workgroup: text("x"),
            offer_id: text("x"),
            room: text("x"),
            url: text("x"),
            metadata: text("{}"),
        });
    }
    handoffs.into_iter().map(|handoff| Payload::Handoff(Box::new(handoff))).collect()
}

fn typings() -> Vec<Payload<'static>> {
    let details = TypingDetail::ALL.iter().map(|detail| (false, Some(*detail)));
    details
        .chain([(true, None)])
        .map(|(is_started, detail)| Payload::Typing(Typing { is_started, detail }))
        .collect()
}

fn participants() -> Vec<Payload<'static>> {
    let mut payloads = Vec::new();
    for role in Role::ALL {
        for (is_joined, one) in [(true, NONE), (false, text("x"))] {
            payloads.push(Payload::Participant(Box::new(Participant {
                is_joined,
                party: Party {
                    id: one.clone(),
                    name: one.clone(),
                    first_name: one.clone(),
                    last_name: one.clone(),
                    role: *role,
                },
                initial: one.is_some().then_some(true),
                party_word: one,
            })));
        }
    }
    payloads
}

fn statuses() -> Vec<Payload<'static>> {
    let mut payloads = Vec::new();
    for state in StatusState::ALL {
        payloads.push(Payload::Status(Box::new(Status::new(*state))));
        for role in Role::ALL {
            payloads.push(Payload::Status(Box::new(Status {
                state: *state,
                reason: text("x"),
                estimated_wait_secs: Some(1),
                position: Some(-1),
                ended_by: Some(*role),
                queue: vec![(Cow::Borrowed("any"), Cow::Borrowed("[1]"))],
            })));
        }
    }
    payloads
}

fn tokens() -> Vec<Payload<'static>> {
    [NONE, text("1")]
        .map(|one| Token {
            message_id: Cow::Borrowed("a"),
            valid: one.is_some().then_some(false),
            reason: one.clone(),
            sequence: one.is_some().then_some(1),
            turn: one.clone(),
            batch: one,
        })
        .map(|token| Payload::Token(Box::new(token)))
        .into()
}

fn files() -> Vec<Payload<'static>> {
    let item = |is_image, one: Option<Text<'static>>| FileItem {
        id: one.clone(),
        name: one.clone(),
        is_image,
        media_type: one.clone(),
        url: one,
    };
    vec![Payload::File(vec![item(true, NONE), item(false, text("x"))])]
}

fn forms() -> Vec<Payload<'static>> {
    let full = Form {
        form_id: text("x"),
        name: text("x"),
        timeout_secs: Some(1),
        secure: Some(true),
        fields: text("[]"),
    };
    [Form::default(), full].map(|form| Payload::Form(Box::new(form))).into()
}

/// Every control event with every word, with and without what is optional.
fn controls() -> Vec<Sample> {
    let source = || SourceTag { name: "desk".to_owned(), backend: "openfire" };
    let mut all = vec![
        Control::Connected { is_resumed: true },
        Control::SourceUp { source: source(), is_resumed: false },
        Control::Heartbeat { subscriber_count: 1 },
    ];
    all.extend(DisconnectReason::ALL.iter().map(|reason| Control::Disconnected(*reason)));
    for (at, reason) in DownReason::ALL.iter().enumerate() {
        let retry_secs = (at % 2 == 0).then_some(1);
        all.push(Control::SourceDown { source: source(), reason: *reason, retry_secs });
    }
    for reason in GapReason::ALL {
        all.push(Control::Gap { source: None, reason: *reason, since: None });
        let since = Some(UnixMillis(0));
        all.push(Control::Gap { source: Some(source()), reason: *reason, since });
    }
    let mut samples: Vec<_> = all.iter().map(control).collect();
    for retry_secs in [None, Some(1)] {
        let mut out = Vec::new();
        write_refused(&mut out, 429, "Rate limit exceeded", "Wait.", retry_secs);
        let block = String::from_utf8(out).expect("text");
        samples.push(Sample::of(&block, false, vec![block.clone()]));
    }
    samples
}

fn control(control: &Control) -> Sample {
    // A control event that is added has to be added to `controls`, too.
    match control {
        Control::Connected { .. }
        | Control::Disconnected(_)
        | Control::SourceUp { .. }
        | Control::SourceDown { .. }
        | Control::Heartbeat { .. }
        | Control::Gap { .. } => {}
    }
    let subscription = Subscription::new("acme", "support", "jane");
    let write = |vocabulary| {
        let mut out = Vec::new();
        control.write(&mut out, vocabulary, &subscription, UnixMillis(0), || "m1".to_owned());
        String::from_utf8(out).expect("text")
    };
    let core = write(Vocabulary::Core);
    let core = if core.is_empty() { Vec::new() } else { vec![core] };
    Sample::of(&write(Vocabulary::Full), false, core)
}
