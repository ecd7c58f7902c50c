//! One chat: what is queued for its poll, what its history keeps, and how steps look.
//!
//! Event objects are compact, keys in alphabetical order, as in the one capture there is.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::scripted::{
    clock::{Ids, now_ms},
    conversation::{Conversation, Person, Step, answer_to},
    json::{Object, Style},
};

/// Events kept in a chat's history; the oldest are forgotten first.
const MAX_HISTORY: usize = 4096;
/// Events that wait to be read; the oldest are lost first.
const MAX_QUEUE: usize = 4096;

/// One chat.
#[derive(Debug, Default)]
pub(super) struct Chat {
    /// Empty: everybody's.
    pub(super) client: String,
    pub(super) state: &'static str,
    /// Event name and object, not read yet.
    pub(super) queue: VecDeque<(String, String)>,
    pub(super) history: VecDeque<String>,
    pub(super) cache: VecDeque<(String, Bytes)>,
    pub(super) held: bool,
    pub(super) ended: bool,
    pub(super) next_message: u64,
    pub(super) last_own_id: String,
    pub(super) handed_over: bool,
}

impl Chat {
    /// Says a step; false where polls do not show it.
    pub(super) fn say(
        &mut self,
        id: &str,
        who: &Conversation,
        step: &Step,
        file: &str,
        echo: bool,
    ) -> bool {
        let handler = if self.handed_over { &who.agent } else { &who.bot };
        match step {
            Step::BotThinks(_) => return false,
            Step::ParticipantSays(text) => {
                let given = format!("{id}:{}", self.next_message + 1);
                self.own_message(id, &given, text, echo);
                self.next_message += 2;
                return echo;
            }
            Step::Queued { wait, .. } => {
                self.handed_over = false;
                self.status("queued", &wait.as_secs().to_string());
            }
            Step::Connecting => self.status("connecting", ""),
            Step::BotJoins => self.joined(&who.bot, "scenario"),
            Step::BotSays(text) | Step::BotStreams(text) => self.says(&who.bot, text),
            Step::AgentSays(text) => self.says(&who.agent, text),
            Step::ParticipantMessageDelivered => {
                self.receipt("chat_session_message_delivered", handler);
            }
            Step::ParticipantMessageRead => self.receipt("chat_session_message_read", handler),
            Step::HandoffToAgent { .. } => {
                self.left(&who.bot, "scenario");
                self.joined(&who.agent, "internal");
                self.handed_over = true;
            }
            Step::AgentTyping => self.simple("chat_session_typing", &who.agent),
            Step::AgentStopsTyping => self.simple("chat_session_not_typing", &who.agent),
            Step::AgentSendsFile { name, media_type } => {
                self.file(&who.agent, file, name, media_type);
            }
            Step::AgentLeaves => {
                self.left(&who.agent, "internal");
                self.handed_over = false;
            }
            Step::Ended => self.end(),
        }
        true
    }

    pub(super) fn queue(&mut self, name: &str, event: String, in_history: bool) {
        if in_history {
            if self.history.len() >= MAX_HISTORY {
                self.history.pop_front();
            }
            self.history.push_back(event.clone());
        }
        if self.queue.len() >= MAX_QUEUE {
            self.queue.pop_front();
        }
        self.queue.push_back((name.to_owned(), event));
    }

    pub(super) fn end(&mut self) {
        let name = "chat_session_ended";
        self.queue(name, Object::new(Style::Plain).text("event", name).end(), true);
        self.ended = true;
    }

    fn status(&mut self, state: &'static str, ewt: &str) {
        let name = "chat_session_status";
        let event =
            Object::new(Style::Plain).text("event", name).text("ewt", ewt).text("state", state);
        self.state = state;
        self.queue(name, event.end(), false);
    }

    fn joined(&mut self, who: &Person, kind: &str) {
        let name = "chat_session_party_joined";
        let (first, last) = who.name.split_once(' ').unwrap_or((&who.name, ""));
        let event = Object::new(Style::Plain)
            .text("display_name", &who.name)
            .text("event", name)
            .text("first_name", first)
            .text("last_name", last)
            .text("party_id", &party(who))
            .text("timestamp", &stamp())
            .text("type", kind);
        self.queue(name, event.end(), true);
    }

    fn left(&mut self, who: &Person, kind: &str) {
        let name = "chat_session_party_left";
        let event = from_party(name, who).text("timestamp", &stamp()).text("type", kind);
        self.queue(name, event.end(), true);
    }

    fn says(&mut self, who: &Person, text: &str) {
        let id = self.next_message.to_string();
        self.next_message += 2;
        let event = message(&party(who), &id, text);
        self.queue("chat_session_message", event, true);
    }

    /// What the participant said: in the history, and on polls where they echo.
    pub(super) fn own_message(&mut self, chat: &str, id: &str, text: &str, echo: bool) {
        let given = id.rsplit(':').next().unwrap_or_default();
        id.clone_into(&mut self.last_own_id);
        let event = message(chat, given, text);
        self.queue("chat_session_message", event, true);
        if !echo {
            self.queue.pop_back();
        }
    }

    /// Whoever has the chat reads what the participant said last, and answers.
    pub(super) fn answer(&mut self, chat: &str, text: &str) {
        let who = Conversation::new(Vec::new());
        let text = answer_to(text);
        let says = if self.handed_over { Step::AgentSays(text) } else { Step::BotSays(text) };
        for step in [Step::ParticipantMessageRead, says] {
            self.say(chat, &who, &step, "", false);
        }
    }

    fn simple(&mut self, name: &str, who: &Person) {
        self.queue(name, from_party(name, who).text("timestamp", &stamp()).end(), false);
    }

    fn receipt(&mut self, name: &str, who: &Person) {
        let event = from_party(name, who)
            .text("ref_msg_id", &self.last_own_id)
            .text("timestamp", &stamp())
            .end();
        self.queue(name, event, true);
    }

    fn file(&mut self, who: &Person, file: &str, file_name: &str, media_type: &str) {
        let name = "chat_session_file";
        let kind = if media_type.starts_with("image/") { "image" } else { "attachment" };
        let event = Object::new(Style::Plain)
            .text("event", name)
            .text("file_id", file)
            .text("file_name", file_name)
            .text("file_type", kind)
            .text("msg_id", &self.next_message.to_string())
            .text("party_id", &party(who))
            .text("timestamp", &stamp());
        self.next_message += 2;
        self.queue(name, event.end(), true);
    }
}

/// Unix seconds, as text.
fn stamp() -> String {
    (now_ms() / 1000).to_string()
}

/// Upper case, always the same for the same person.
fn party(who: &Person) -> String {
    Ids::of(&who.id).uuid().to_uppercase()
}

fn from_party(name: &str, who: &Person) -> Object {
    Object::new(Style::Plain).text("event", name).text("party_id", &party(who))
}

/// A message: HTML in `msg`, the same as plain text in `msg_text`.
pub(super) fn message(party: &str, id: &str, text: &str) -> String {
    let html = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    Object::new(Style::Plain)
        .text("channel", "web")
        .text("event", "chat_session_message")
        .text("msg", &html.replace('"', "&quot;").replace('\n', "<br>"))
        .text("msg_id", id)
        .text("msg_text", text)
        .text("party_id", party)
        .text("timestamp", &stamp())
        .end()
}
