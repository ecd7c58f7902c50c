//! Conversation entries: how each step looks in an envelope.

use crate::scripted::{
    clock::now_ms,
    conversation::{Conversation, Person, Step},
    json::{Object, Style, array, quote},
    stage::Stage,
};

/// Who an entry is from.
#[derive(Clone, Debug)]
pub(super) struct Sender {
    name: String,
    role: &'static str,
    app: &'static str,
    subject: String,
}

impl Sender {
    pub(super) fn agent(agent: &Person) -> Self {
        let subject = format!("005Hx{:0>13}", agent.id);
        Self { name: agent.name.clone(), role: "Agent", app: "agent", subject }
    }

    pub(super) fn bot(bot: &Person) -> Self {
        let subject = format!("0XxHx{:0>13}", bot.id);
        Self { name: bot.name.clone(), role: "Chatbot", app: "chatbot", subject }
    }

    pub(super) fn participant(subject: &str) -> Self {
        let (name, subject) = (String::from("Guest"), subject.to_owned());
        Self { name, role: "EndUser", app: "iamessage", subject }
    }

    fn system() -> Self {
        let (name, subject) =
            (String::from("Automated Process"), String::from("0MjHx0000000k9bKAA"));
        Self { name, role: "System", app: "conversation", subject }
    }

    fn json(&self) -> String {
        Object::new(Style::Plain)
            .text("role", self.role)
            .text("appType", self.app)
            .text("subject", &self.subject)
            .text("clientIdentifier", "")
            .end()
    }
}

/// One conversation entry.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    /// SSE event name.
    pub(super) event: &'static str,
    /// `entryType`.
    pub(super) kind: &'static str,
    pub(super) id: String,
    pub(super) ms: u64,
    /// Whether the transcript keeps it.
    pub(super) in_transcript: bool,
    sender: Sender,
    /// The payload's members after `entryType` and `id`, as an object.
    payload: String,
    related: Option<String>,
}

/// The payload's beginning, which all have.
fn payload(kind: &str, id: &str) -> Object {
    Object::new(Style::Plain).text("entryType", kind).text("id", id)
}

impl Entry {
    fn new(
        (event, kind): (&'static str, &'static str),
        id: &str,
        sender: Sender,
        payload: String,
    ) -> Self {
        let in_transcript = matches!(
            kind,
            "Message"
                | "ParticipantChanged"
                | "RoutingResult"
                | "RoutingWorkResult"
                | "SessionStatusChanged"
        );
        let id = id.to_owned();
        Self { event, kind, id, ms: now_ms(), in_transcript, sender, payload, related: None }
    }

    /// A text message.
    pub(super) fn message(id: &str, sender: Sender, text: &str) -> Self {
        let content = Object::new(Style::Plain).text("formatType", "Text").text("text", text).end();
        Self::content(id, sender, &content)
    }

    fn content(id: &str, sender: Sender, content: &str) -> Self {
        let inner = Object::new(Style::Plain)
            .text("messageType", "StaticContentMessage")
            .null("inReplyToMessageId")
            .text("id", id)
            .raw("references", "[]")
            .raw("staticContent", content)
            .end();
        let payload =
            payload("Message", id).raw("abstractMessage", &inner).null("messageReason").end();
        Self::new(("CONVERSATION_MESSAGE", "Message"), id, sender, payload)
    }

    /// The end user has closed the conversation.
    pub(super) fn close(stage: &mut Stage, sender: Sender, conversation: &str) -> Self {
        let id = stage.ids.uuid();
        let names = ("CONVERSATION_CLOSE_CONVERSATION", "CloseConversation");
        let payload = payload(names.1, &id).text("conversationIdentifier", conversation).end();
        Self::new(names, &id, sender, payload)
    }

    /// Somebody types or has stopped; `kind` is the entry type.
    pub(super) fn typing(stage: &mut Stage, sender: Sender, kind: &str) -> Self {
        let id = stage.ids.uuid();
        let names = match kind {
            "TypingStoppedIndicator" => {
                ("CONVERSATION_TYPING_STOPPED_INDICATOR", "TypingStoppedIndicator")
            }
            _ => ("CONVERSATION_TYPING_STARTED_INDICATOR", "TypingStartedIndicator"),
        };
        let payload = payload(names.1, &id).number("timestamp", now_ms()).end();
        Self::new(names, &id, sender, payload)
    }

    /// Routing was submitted, with the wait in seconds where it is known.
    pub(super) fn routed(stage: &mut Stage, wait: Option<u64>) -> Self {
        let id = stage.ids.uuid();
        let wait = wait.map_or_else(
            || String::from("null"),
            |secs| format!("{{\"isEWTRequested\":true,\"estimatedWaitTimeInSeconds\":{secs}}}"),
        );
        let payload = payload("RoutingResult", &id)
            .text("recordId", "0MwHx000000abcdKAA")
            .text("failureType", "None")
            .text("routingType", "Initial")
            .null("failureReason")
            .raw("estimatedWaitTime", &wait)
            .end();
        Self::new(("CONVERSATION_ROUTING_RESULT", "RoutingResult"), &id, Sender::system(), payload)
    }

    fn changed(stage: &mut Stage, changes: &[(&str, &Sender)]) -> Self {
        let id = stage.ids.uuid();
        let entries = array(changes.iter().map(|(operation, who)| {
            Object::new(Style::Plain)
                .text("operation", operation)
                .null("menuMetadata")
                .raw("participant", &who.json())
                .text("displayName", &who.name)
                .end()
        }));
        let payload = payload("ParticipantChanged", &id).raw("entries", &entries).end();
        let names = ("CONVERSATION_PARTICIPANT_CHANGED", "ParticipantChanged");
        Self::new(names, &id, Sender::system(), payload)
    }

    fn acknowledged(stage: &mut Stage, sender: Sender, read: bool, message: &str) -> Self {
        let id = stage.ids.uuid();
        let names = match read {
            true => ("CONVERSATION_READ_ACKNOWLEDGEMENT", "ReadAcknowledgement"),
            false => ("CONVERSATION_DELIVERY_ACKNOWLEDGEMENT", "DeliveryAcknowledgement"),
        };
        let payload = payload(names.1, &id)
            .text("acknowledgedConversationEntryIdentifier", message)
            .number("acknowledgementTimestamp", now_ms())
            .end();
        Self { related: Some(message.to_owned()), ..Self::new(names, &id, sender, payload) }
    }

    fn token(stage: &mut Stage, sender: Sender, target: &str, sequence: u64, text: &str) -> Self {
        let id = stage.ids.uuid();
        let token = Object::new(Style::Plain).text("formatType", "Text").text("text", text).end();
        let streaming = Object::new(Style::Plain)
            .text("tokenType", "MessageStreamingToken")
            .number("sequenceNumber", sequence)
            .number("timestamp", now_ms())
            .text("targetMessageIdentifier", target)
            .text("turnId", "turn-1")
            .number("batchNumber", 1)
            .raw("token", &token)
            .end();
        let payload = payload("StreamingToken", &id).raw("streamingToken", &streaming).end();
        Self::new(("CONVERSATION_STREAMING_TOKEN", "StreamingToken"), &id, sender, payload)
    }

    /// As the stream shows it: the payload is JSON in a string.
    pub(super) fn envelope(&self, channel: &str, conversation: &str) -> String {
        let related = array(self.related.iter().map(|id| quote(Style::Plain, id)));
        let entry = Object::new(Style::Plain)
            .text("senderDisplayName", &self.sender.name)
            .text("identifier", &self.id)
            .text("entryType", self.kind)
            .text("entryPayload", &self.payload)
            .raw("sender", &self.sender.json())
            .raw("contextParamMap", "{}")
            .text("visibilityStrategy", "All")
            .number("transcriptedTimestamp", self.ms)
            .raw("relatedRecords", &related)
            .number("clientTimestamp", self.ms)
            .number("clientDuration", 0)
            .end();
        Object::new(Style::Plain)
            .text("channelPlatformKey", channel)
            .text("channelType", "embedded_messaging")
            .text("channelAddressIdentifier", channel)
            .text("conversationId", conversation)
            .raw("conversationEntry", &entry)
            .end()
    }

    /// As the history shows it: the payload is an object.
    pub(super) fn in_history(&self) -> String {
        Object::new(Style::Plain)
            .text("entryType", self.kind)
            .raw("entryPayload", &self.payload)
            .number("transcriptedTimestamp", self.ms)
            .raw("sender", &self.sender.json())
            .number("clientTimestamp", self.ms)
            .text("identifier", &self.id)
            .text("senderDisplayName", &self.sender.name)
            .end()
    }
}

/// A step as entries, in order.
pub(super) fn of_step(
    step: &Step,
    who: &Conversation,
    handler: Sender,
    own: Sender,
    last_own_id: &str,
    stage: &mut Stage,
) -> Vec<Entry> {
    let (bot, agent) = (Sender::bot(&who.bot), Sender::agent(&who.agent));
    let id = stage.ids.uuid();
    let entry = match step {
        Step::Queued { wait, .. } => Entry::routed(stage, Some(wait.as_secs())),
        Step::Connecting => {
            let payload = payload("RoutingWorkResult", &id).text("workType", "Accepted").end();
            let names = ("CONVERSATION_ROUTING_WORK_RESULT", "RoutingWorkResult");
            Entry::new(names, &id, Sender::system(), payload)
        }
        Step::BotJoins => Entry::changed(stage, &[("add", &bot)]),
        Step::BotThinks(text) => progress(&id, bot, text),
        Step::BotStreams(text) => return streamed(&id, &bot, text, stage),
        Step::BotSays(text) => Entry::message(&id, bot, text),
        Step::ParticipantSays(text) => Entry::message(&id, own, text),
        Step::ParticipantMessageDelivered => {
            Entry::acknowledged(stage, handler, false, last_own_id)
        }
        Step::ParticipantMessageRead => Entry::acknowledged(stage, handler, true, last_own_id),
        Step::HandoffToAgent { .. } => Entry::changed(stage, &[("remove", &bot), ("add", &agent)]),
        Step::AgentTyping => Entry::typing(stage, agent, "TypingStartedIndicator"),
        Step::AgentStopsTyping => Entry::typing(stage, agent, "TypingStoppedIndicator"),
        Step::AgentSays(text) => Entry::message(&id, agent, text),
        Step::AgentSendsFile { name, media_type } => {
            attachment(&id, agent, name, media_type, stage)
        }
        Step::AgentLeaves => Entry::changed(stage, &[("remove", &agent)]),
        Step::Ended => {
            let payload = payload("SessionStatusChanged", &id)
                .text("sessionStatus", "Ended")
                .text("sessionStatusPrev", "Active")
                .text("sessionEndedByRole", "Agent")
                .end();
            let names = ("CONVERSATION_SESSION_STATUS_CHANGED", "SessionStatusChanged");
            Entry::new(names, &id, Sender::system(), payload)
        }
    };
    vec![entry]
}

fn progress(id: &str, bot: Sender, text: &str) -> Entry {
    let message = Object::new(Style::Plain).text("formatType", "Text").text("text", text).end();
    let indicator = Object::new(Style::Plain)
        .raw("progressMessage", &message)
        .text("indicatorType", "ProgressUpdateIndicator")
        .number("timestamp", now_ms())
        .end();
    let payload = payload("ProgressIndicator", id).raw("progressIndicator", &indicator).end();
    Entry::new(("CONVERSATION_PROGRESS_INDICATOR", "ProgressIndicator"), id, bot, payload)
}

/// Tokens, the second and third of them swapped as it happens, then the whole message.
fn streamed(id: &str, bot: &Sender, text: &str, stage: &mut Stage) -> Vec<Entry> {
    let words = text.split_inclusive(' ').zip(1..);
    let mut entries: Vec<Entry> = words
        .map(|(word, sequence)| Entry::token(stage, bot.clone(), id, sequence, word))
        .collect();
    if entries.len() > 2 {
        entries.swap(1, 2);
    }
    entries.push(Entry::message(id, bot.clone(), text));
    entries
}

fn attachment(id: &str, agent: Sender, name: &str, media_type: &str, stage: &mut Stage) -> Entry {
    let file = stage.ids.uuid();
    let attachment = Object::new(Style::Plain)
        .text("name", name)
        .null("attachmentUploadResult")
        .text("id", &file)
        .text("mimeType", media_type)
        .text("url", &format!("https://example.my.salesforce-scrt.com/files/{file}"))
        .text("referenceId", "069Hx000000abcdIAA")
        .end();
    let content = Object::new(Style::Plain)
        .text("formatType", "Attachments")
        .null("text")
        .raw("attachments", &format!("[{attachment}]"))
        .end();
    Entry::content(id, agent, &content)
}
