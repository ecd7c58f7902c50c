//! Bright Pattern client chat: one long poll at a time, and reading consumes.
//!
//! Answers are cached by their URL, as the vendor's web server did: a poll without a fresh
//! `nonce` gets the last answer again. A chat that has ended is not found. Event objects are
//! compact, keys in alphabetical order. Not here: ICE servers, push, forms (push them).

mod chat;

use std::collections::{HashMap, VecDeque};

use bytes::Bytes;

use crate::scripted::brightpattern::chat::{Chat, message};
use crate::scripted::{
    conversation::{Audience, Conversation, Step},
    http::{Request, Response},
    json::{Object, Style, array},
    stage::{Answer, Dialect, Frame, Out, Polled, Stage},
};

/// Chats remembered; then all are forgotten, as after a restart.
const MAX_CHATS: usize = 10_000;
/// Files kept, as the vendor says; the oldest are replaced.
const MAX_FILES: usize = 1000;
/// Answers cached for each chat.
const MAX_CACHE: usize = 64;

/// The server's memory.
#[derive(Debug, Default)]
pub(super) struct BrightPattern {
    chats: HashMap<String, Chat>,
    files: VecDeque<(String, Bytes)>,
}

/// Who calls, and where: version, client and the path after the version.
struct Caller {
    version: u8,
    client: String,
    call: String,
}

impl BrightPattern {
    pub(super) fn new(stage: &mut Stage) -> Self {
        let mut server = Self::default();
        for (id, client) in stage.options.chats.clone() {
            server.chats.insert(id, Chat { client, state: "connected", ..Chat::default() });
        }
        server
    }

    fn caller(request: &Request, stage: &Stage) -> Result<Caller, Response> {
        let path = request.path();
        let call = path.split_once("/clientweb/api/v").map(|(_, call)| call);
        let (version, call) = match call.and_then(|call| call.split_once('/')) {
            Some(("1", call)) => (1, call.to_owned()),
            Some(("2", call)) => (2, call.to_owned()),
            _ => return Err(Response::empty(404)),
        };
        if request.query("tenantUrl").is_none_or(|tenant| tenant.is_empty()) {
            return Err(error(400, 1000, "Missing or invalid tenantUrl"));
        }
        let refused = if version == 1 { 401 } else { 403 };
        let Some(header) = request.header("authorization") else {
            return Err(error(refused, 2000, "Authorization header is missing"));
        };
        let Some((scheme, parameters)) = header.split_once(' ') else {
            return Err(error(refused, 2001, "Authorization parameter format is incorrect"));
        };
        if scheme != "MOBILE-API-140-327-PLAIN" {
            return Err(error(refused, 2002, "Authorization scheme is incorrect"));
        }
        let parameter = |name: &str| {
            let mut pairs = parameters.split(',').filter_map(|pair| pair.split_once('='));
            let found = pairs.find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim());
            found.map(|value| value.trim_matches('"').to_owned()).filter(|value| !value.is_empty())
        };
        let Some(app) = parameter("appId") else {
            return Err(error(refused, 2003, "Authorization parameter is missing: appId"));
        };
        let Some(client) = parameter("clientId") else {
            return Err(error(refused, 2004, "Authorization parameter is missing: clientId"));
        };
        if !stage.options.app_id.is_empty() && app != stage.options.app_id {
            return Err(error(400, 3000, "Missing or invalid application unique id"));
        }
        Ok(Caller { version, client, call })
    }

    /// A chat this client may see.
    fn chat(&mut self, id: &str, client: &str) -> Result<&mut Chat, Response> {
        let own = |chat: &&mut Chat| chat.client.is_empty() || chat.client == client;
        self.chats.get_mut(id).filter(own).ok_or_else(not_found)
    }

    fn handle(&mut self, request: &Request, stage: &mut Stage) -> Result<Answer, Response> {
        let Caller { version, client, call } = Self::caller(request, stage)?;
        let parts: Vec<&str> = call.split('/').collect();
        let response = match (request.method.as_str(), parts.as_slice()) {
            ("GET", ["availability"]) => Response::json(200, r#"{"chat":"available","ewt":"3"}"#),
            ("GET", ["version"]) if version == 2 => {
                Response::json(200, r#"{"server_version":"5.5.6.12345 (Stable)"}"#)
            }
            ("POST", ["chats"]) => self.request_chat(&client, stage),
            ("GET", ["chats", "active"]) => match self.active(&client) {
                Some(id) => Response::json(200, self.describe(&id, None)),
                None => return Err(not_found()),
            },
            ("GET", ["chats", id, "events"]) => return self.poll(request, id, &client),
            ("POST", ["chats", id, "events"]) => self.take(request, id, &client, version, stage)?,
            ("GET", ["chats", id, "history"]) => {
                let history = array(self.chat(id, &client)?.history.iter().cloned());
                Response::json(200, format!("{{\"events\":{history}}}"))
            }
            ("POST", ["files"]) => {
                let id = stage.ids.uuid();
                self.keep_file(&id, request.body.clone());
                Response::json(200, Object::new(Style::Plain).text("file_id", &id).end())
            }
            ("GET", ["chats", _, "files", id]) => {
                match self.files.iter().find(|(known, _)| known == id) {
                    Some((_, body)) => Response::new(200, "application/octet-stream", body.clone()),
                    None => return Err(error(404, 5502, "File is not found")),
                }
            }
            _ => Response::empty(404),
        };
        Ok(response.into())
    }

    fn poll(&mut self, request: &Request, id: &str, client: &str) -> Result<Answer, Response> {
        let chat = self.chat(id, client)?;
        let cached = chat.cache.iter().find(|(target, _)| *target == request.target);
        if let Some((_, body)) = cached {
            return Ok(Response::json(200, body.clone()).into());
        }
        if chat.ended && chat.queue.is_empty() {
            return Err(not_found());
        }
        if chat.held {
            let text = "Too many concurrent poll requests for the same session";
            return Err(error(429, 5509, text));
        }
        chat.held = true;
        Ok(Answer::Poll(id.to_owned()))
    }

    /// Events from the participant.
    fn take(
        &mut self,
        request: &Request,
        id: &str,
        client: &str,
        version: u8,
        stage: &mut Stage,
    ) -> Result<Response, Response> {
        let chat = self.chat(id, client)?;
        if chat.ended {
            return Err(not_found());
        }
        let body = request.json();
        let Some(events) = body.get("events").and_then(|events| events.as_array()) else {
            return Err(error(400, 5003, "JSON decode error"));
        };
        let echo = stage.options.echo;
        for event in events {
            let text =
                |key: &str| event.get(key).and_then(|value| value.as_str()).unwrap_or_default();
            match text("event") {
                "chat_session_message" => {
                    chat.own_message(id, text("msg_id"), text("msg"), echo);
                    if stage.options.answers {
                        chat.answer(id, text("msg"));
                    }
                }
                "chat_session_end" | "chat_session_disconnect" => chat.end(),
                _ => {}
            }
        }
        let response = if version == 1 {
            let pending: Vec<(String, String)> = chat.queue.drain(..).collect();
            pending.iter().for_each(|(name, _)| stage.count_sent(name));
            let events = array(pending.into_iter().map(|(_, event)| event));
            Response::json(200, format!("{{\"events\":{events}}}"))
        } else {
            Response::empty(200)
        };
        stage.send_to(id, &Out::Wake);
        Ok(response)
    }

    /// A client has one session: an existing one is given again.
    fn request_chat(&mut self, client: &str, stage: &mut Stage) -> Response {
        if let Some(id) = self.active(client) {
            return Response::json(200, self.describe(&id, Some(false)));
        }
        let id = stage.ids.uuid();
        if self.chats.len() >= MAX_CHATS {
            self.chats.clear();
        }
        let chat = Chat { client: client.to_owned(), state: "ivr", ..Chat::default() };
        self.chats.insert(id.clone(), chat);
        Response::json(200, self.describe(&id, Some(true)))
    }

    fn keep_file(&mut self, id: &str, body: Bytes) {
        if self.files.len() >= MAX_FILES {
            self.files.pop_front();
        }
        self.files.push_back((id.to_owned(), body));
    }

    /// The client's own chat that has not ended, else one that is everybody's.
    fn active(&self, client: &str) -> Option<String> {
        let open = |client: &str| {
            let mut open: Vec<&String> = self
                .chats
                .iter()
                .filter(|(_, chat)| !chat.ended && chat.client == client)
                .map(|(id, _)| id)
                .collect();
            open.sort();
            open.first().map(|id| (*id).clone())
        };
        open(client).or_else(|| open(""))
    }

    fn describe(&self, id: &str, new: Option<bool>) -> String {
        let state = self.chats.get(id).map_or("queued", |chat| chat.state);
        let object = Object::new(Style::Plain).text("chat_id", id).text("ewt", "0");
        let object = match new {
            Some(new) => object.flag("is_new_chat", new),
            None => object,
        };
        object.text("phone_number", "").text("state", state).end()
    }
}

impl Dialect for BrightPattern {
    fn is_events(&self, request: &Request) -> bool {
        request.method == "GET" && request.path().ends_with("/events")
    }

    fn answer(&mut self, request: &Request, stage: &mut Stage) -> Answer {
        self.handle(request, stage).unwrap_or_else(Answer::Plain)
    }

    fn speak(&mut self, to: &Audience, who: &Conversation, step: &Step, stage: &mut Stage) -> bool {
        let id = &to.conversation;
        let file = stage.ids.uuid();
        if let Step::AgentSendsFile { name, .. } = step {
            self.keep_file(&file, Bytes::from(format!("{name}\n")));
        }
        let chat = self.chats.entry(id.clone()).or_default();
        let said = !chat.ended && chat.say(id, who, step, &file, stage.options.echo);
        stage.send_to(id, &Out::Wake);
        said
    }

    fn push(&mut self, to: &Audience, frame: Frame, stage: &mut Stage) {
        let chat = self.chats.entry(to.conversation.clone()).or_default();
        chat.queue(&frame.event, frame.data, false);
        stage.send_to(&to.conversation, &Out::Wake);
    }

    fn beat(&mut self, _: &mut Stage) -> Vec<Out> {
        Vec::new()
    }

    fn filler(&mut self, owner: &str, bytes: usize, _: &mut Stage) -> Out {
        if let Some(chat) = self.chats.get_mut(owner) {
            let id = chat.next_message.to_string();
            chat.next_message += 2;
            let event = message(owner, &id, &"x".repeat(bytes));
            chat.queue("chat_session_message", event, false);
        }
        Out::Wake
    }

    /// Messages alone: their ids tell that they are the same.
    fn repeat(&mut self, count: usize, stage: &mut Stage) {
        const MESSAGE: &str = "chat_session_message";
        for (id, chat) in &mut self.chats {
            let messages = chat.history.iter().filter(|event| event.contains(MESSAGE));
            let mut last: Vec<String> = messages.rev().take(count).cloned().collect();
            while let Some(event) = last.pop() {
                chat.queue(MESSAGE, event, false);
            }
            stage.send_to(id, &Out::Wake);
        }
    }

    fn closed(&mut self, owner: &str, _: &mut Stage) {
        if let Some(chat) = self.chats.get_mut(owner) {
            chat.held = false;
        }
    }

    /// A restart: no chat is found any more.
    fn expire(&mut self, stage: &mut Stage) {
        self.chats.clear();
        stage.send(&Out::End, |_| true);
    }

    fn end_is_final(&self) -> bool {
        true
    }

    fn take_poll(&mut self, chat: &str, target: &str, timed_out: bool) -> Option<Polled> {
        let Some(chat) = self.chats.get_mut(chat) else {
            return Some(Polled { response: not_found(), names: Vec::new() });
        };
        if chat.queue.is_empty() && !timed_out {
            return None;
        }
        chat.held = false;
        let (names, events): (Vec<_>, Vec<_>) = chat.queue.drain(..).unzip();
        let body = Bytes::from(format!("{{\"events\":{}}}", array(events)));
        if chat.cache.len() >= MAX_CACHE {
            chat.cache.pop_front();
        }
        chat.cache.push_back((target.to_owned(), body.clone()));
        Some(Polled { response: Response::json(200, body), names })
    }
}

fn error(status: u16, code: u32, message: &str) -> Response {
    let body = Object::new(Style::Plain)
        .text("error_code", &code.to_string())
        .text("error_message", message);
    Response::json(status, body.end())
}

fn not_found() -> Response {
    error(404, 5005, "Chat session is not found")
}
