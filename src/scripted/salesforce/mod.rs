//! Salesforce Messaging for In-App and Web: tokens, one stream per person, resume by id.
//!
//! `entryPayload` is JSON in a string in JSON on the stream, and an object in the history. A
//! conversation that nobody created over HTTP is everybody's: scripts need no token first. The
//! steps and entries are in `entry`. Not here: files' bytes, v1's history call.

mod entry;

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use crate::scripted::salesforce::entry::{Entry, Sender};
use crate::scripted::{
    clock::{Ids, now_ms, rfc3339},
    conversation::{Audience, Conversation, Step},
    http::{Request, Response},
    json::{Object, Style, array},
    stage::{Answer, Dialect, Frame, Framing, Opening, Out, Stage},
};

/// Time between pings: below the 30 s that the Android SDK waits.
const PING: Duration = Duration::from_secs(5);
/// The stream's path.
const EVENTS: &str = "/eventrouter/v1/sse";
/// `_ts` values remembered.
const MAX_STAMPS: usize = 4096;
/// Tokens and conversations remembered; then all of the kind are forgotten.
const MAX_REMEMBERED: usize = 10_000;
/// The id before the first event.
const FIRST_ID: u64 = 500;

/// Who a token is for.
#[derive(Debug)]
struct Token {
    subject: String,
    expires: Instant,
}

/// An event that may be sent again.
#[derive(Debug)]
struct Logged {
    number: u64,
    conversation: String,
    out: Out,
}

/// A conversation.
#[derive(Debug, Default)]
struct Chat {
    /// The subject that created it; none: everybody's.
    owner: Option<String>,
    routing: &'static str,
    /// Transcript entries, oldest first.
    entries: VecDeque<Entry>,
    last_own_id: String,
    handed_over: bool,
}

/// The org's memory.
#[derive(Debug)]
pub(super) struct Salesforce {
    tokens: HashMap<String, Token>,
    chats: HashMap<String, Chat>,
    log: VecDeque<Logged>,
    stamps: HashSet<String>,
    last_id: u64,
    channel: String,
}

impl Salesforce {
    pub(super) fn new(stage: &mut Stage) -> Self {
        let mut org = Self {
            tokens: HashMap::new(),
            chats: HashMap::new(),
            log: VecDeque::new(),
            stamps: HashSet::new(),
            last_id: FIRST_ID,
            channel: Ids::of("channel").uuid(),
        };
        for (subject, token) in stage.options.tokens.clone() {
            let expires = Instant::now() + stage.options.token_lifetime;
            org.tokens.insert(token, Token { subject, expires });
        }
        org
    }

    /// The subject of a good token, or 401 in one of its two forms.
    fn subject(&self, request: &Request) -> Result<String, Response> {
        let token = request.bearer().and_then(|token| self.tokens.get(token));
        match token {
            Some(token) if token.expires > Instant::now() => Ok(token.subject.clone()),
            Some(_) => Err(Response::new(401, "text/plain", "Jwt is expired")),
            None => {
                let body = Object::new(Style::Plain)
                    .text("timestamp", &rfc3339(now_ms()).replace('Z', "+00:00"))
                    .number("status", 401)
                    .text("error", "Unauthorized")
                    .text("path", request.path())
                    .end();
                Err(Response::json(401, body))
            }
        }
    }

    fn stream(&mut self, request: &Request, stage: &Stage) -> Result<Opening, Response> {
        let subject = self.subject(request)?;
        let org = request.header("x-org-id").unwrap_or_default();
        if org.len() != 15 || org != stage.options.org_id {
            return Err(bad_request("OrgId in the header and token must match"));
        }
        let stamp = request.query("_ts").filter(|stamp| !stamp.is_empty());
        let Some(stamp) = stamp else {
            return Err(bad_request("_ts is missing"));
        };
        if self.stamps.len() >= MAX_STAMPS {
            self.stamps.clear();
        }
        if !self.stamps.insert(stamp) {
            // What a cache would answer is of no use to anybody.
            return Err(bad_request("_ts was used before"));
        }
        let after = request
            .header("last-event-id")
            .and_then(|id| id.parse::<u64>().ok());
        let after = after.unwrap_or(u64::MAX);
        let missed = self.log.iter().filter(|logged| {
            logged.number > after && self.may_hear(&subject, &logged.conversation)
        });
        Ok(Opening {
            headers: stream_headers(),
            framing: Framing::Chunked,
            first: missed.map(|logged| logged.out.clone()).collect(),
            owner: subject,
            detail: String::new(),
            muted: false,
            beat: Some(stage.options.heartbeat.unwrap_or(PING)),
            notices_late: false,
        })
    }

    fn may_hear(&self, subject: &str, conversation: &str) -> bool {
        let owner = self
            .chats
            .get(conversation)
            .and_then(|chat| chat.owner.as_deref());
        owner.is_none_or(|owner| owner == subject)
    }

    /// `keys` are all that the schema allows, the first three required.
    fn mint(&mut self, request: &Request, keys: &[&str], stage: &mut Stage) -> Response {
        let body = request.json();
        let Some(body) = body.as_object() else {
            return bad_request("The body is no object");
        };
        let missing = keys.iter().take(3).find(|key| !body.contains_key(**key));
        let extra = body.keys().find(|key| !keys.contains(&key.as_str()));
        if let Some(key) = missing.copied().or_else(|| extra.map(String::as_str)) {
            return bad_request(&format!("Unrecognized or missing field {key}"));
        }
        let org = body
            .get("orgId")
            .and_then(|org| org.as_str())
            .unwrap_or_default();
        if org.get(..15) != Some(&stage.options.org_id) {
            return bad_request("Unknown orgId");
        }
        let subject = format!("v2/iamessage/UNAUTH/NA/uid:{}", stage.ids.uuid());
        self.give_token(&subject, stage)
    }

    fn give_token(&mut self, subject: &str, stage: &mut Stage) -> Response {
        let lifetime = stage.options.token_lifetime;
        let claims = Object::new(Style::Plain)
            .text("sub", subject)
            .text("orgId", &stage.options.org_id)
            .text("clientId", &stage.ids.uuid())
            .number("exp", now_ms() / 1000 + lifetime.as_secs())
            .end();
        let token = stage.ids.jwt(r#"{"alg":"RS256"}"#, &claims);
        let expires = Instant::now() + lifetime;
        if self.tokens.len() >= MAX_REMEMBERED {
            self.tokens.clear();
        }
        self.tokens.insert(
            token.clone(),
            Token {
                subject: subject.to_owned(),
                expires,
            },
        );
        let channel = Object::new(Style::Plain)
            .text("channelAddressIdentifier", &self.channel)
            .text("authMode", "UnAuth")
            .end();
        let service = Object::new(Style::Plain)
            .text("name", "My_Client")
            .text("deploymentType", "Api")
            .raw("embeddedServiceMessagingChannel", &channel)
            .end();
        let context = format!(
            "{{\"deviceId\":\"{}\",\"configuration\":{{\"embeddedServiceConfig\":{service}}}}}",
            stage.ids.uuid()
        );
        let body = Object::new(Style::Plain)
            .text("accessToken", &token)
            .text("lastEventId", &self.last_id.to_string())
            .raw("context", &context)
            .end();
        Response::json(200, body)
    }

    /// Calls on conversations: `call` is what stands after `/conversation`.
    fn conversation(
        &mut self,
        request: &Request,
        call: &str,
        stage: &mut Stage,
    ) -> Result<Response, Response> {
        let subject = self.subject(request)?;
        let mut parts = call.trim_start_matches('/').splitn(2, '/');
        let (id, rest) = (
            parts.next().unwrap_or_default(),
            parts.next().unwrap_or_default(),
        );
        if id.is_empty() {
            return self.create(request, subject, stage);
        }
        if id == "list" {
            return Ok(self.list(&subject));
        }
        let Some(chat) = self.chats.get(id) else {
            return Err(not_found());
        };
        if !self.may_hear(&subject, id) {
            return Err(Response::json(
                403,
                r#"{"code":"FORBIDDEN","message":"Not your conversation"}"#,
            ));
        }
        match (request.method.as_str(), rest) {
            ("GET", "") => {
                let body = Object::new(Style::Plain)
                    .text("conversationId", id)
                    .text("routingStatus", chat.routing)
                    .end();
                Ok(Response::json(200, body))
            }
            ("GET", "entries") => Ok(entries(request, chat)),
            ("POST", "message") => {
                let body = request.json();
                let message = body.get("message").unwrap_or(&body);
                let text = |key: &str| message.get(key).and_then(|value| value.as_str());
                let content = message
                    .get("staticContent")
                    .and_then(|content| content.get("text"));
                let content = content.and_then(|text| text.as_str()).unwrap_or_default();
                let given = text("id").map_or_else(|| stage.ids.uuid(), str::to_owned);
                let sender = Sender::participant(&subject);
                self.publish(id, Entry::message(&given, sender, content), stage);
                Ok(Response::json(200, "{}"))
            }
            ("POST", "entry") => {
                let kind = request.json();
                let kind = kind
                    .get("entryType")
                    .and_then(|kind| kind.as_str())
                    .unwrap_or_default();
                let entry = Entry::typing(stage, Sender::participant(&subject), kind);
                self.publish(id, entry, stage);
                Ok(Response::json(200, "{}"))
            }
            ("DELETE", "") => {
                let entry = Entry::close(stage, Sender::participant(&subject), id);
                self.publish(id, entry, stage);
                Ok(Response::empty(204))
            }
            _ => Err(Response::empty(405)),
        }
    }

    fn create(
        &mut self,
        request: &Request,
        subject: String,
        stage: &mut Stage,
    ) -> Result<Response, Response> {
        let body = request.json();
        let id = body
            .get("conversationId")
            .and_then(|id| id.as_str())
            .unwrap_or_default();
        if id.is_empty() {
            return Err(bad_request("conversationId is missing"));
        }
        if self.chats.get(id).is_some_and(|chat| chat.owner.is_some()) {
            return Err(Response::json(
                409,
                r#"{"code":"CONFLICT","message":"Conversation exists"}"#,
            ));
        }
        if self.chats.len() >= MAX_REMEMBERED {
            self.chats.clear();
        }
        let chat = self.chats.entry(id.to_owned()).or_default();
        (chat.owner, chat.routing) = (Some(subject), "INITIAL");
        let entry = Entry::routed(stage, None);
        self.publish(id, entry, stage);
        Ok(Response::json(201, "{}"))
    }

    fn list(&self, subject: &str) -> Response {
        let own = |chat: &Chat| chat.owner.as_deref() == Some(subject);
        let found: Vec<String> = self
            .chats
            .iter()
            .filter(|(_, chat)| own(chat))
            .map(|(id, chat)| {
                let start = chat.entries.front().map_or(0, |entry| entry.ms);
                Object::new(Style::Plain)
                    .text("conversationId", id)
                    .number("startTimestamp", start)
                    .end()
            })
            .collect();
        let count = u64::try_from(found.len()).unwrap_or(u64::MAX);
        let body = Object::new(Style::Plain)
            .number("openConversationsFound", count)
            .raw("conversations", &array(found));
        Response::json(200, body.end())
    }

    /// Writes an entry to transcript, log and streams.
    fn publish(&mut self, conversation: &str, entry: Entry, stage: &mut Stage) {
        let data = entry.envelope(&self.channel, conversation);
        self.emit(conversation, Frame::new(entry.event, data), stage);
        let limit = stage.options.replay.max(1);
        let chat = self.chats.entry(conversation.to_owned()).or_default();
        if entry.in_transcript {
            if chat.entries.len() >= limit {
                chat.entries.pop_front();
            }
            chat.entries.push_back(entry);
        }
    }

    fn emit(&mut self, conversation: &str, frame: Frame, stage: &mut Stage) {
        self.last_id += 1;
        let number = self.last_id;
        let id = frame.id.unwrap_or_else(|| number.to_string());
        let text = format!(
            "id:{id}\nevent:{}\ndata:{}\n\n",
            frame.event,
            frame.data.replace('\n', "\ndata:")
        );
        let out = Out::Frame(frame.event, Bytes::from(text));
        let owner = self
            .chats
            .get(conversation)
            .and_then(|chat| chat.owner.clone());
        stage.send(&out, |live| {
            owner.as_ref().is_none_or(|owner| *owner == live.owner)
        });
        if self.log.len() >= stage.options.replay {
            self.log.pop_front();
        }
        if stage.options.replay > 0 {
            self.log.push_back(Logged {
                number,
                conversation: conversation.to_owned(),
                out,
            });
        }
    }
}

impl Dialect for Salesforce {
    fn is_events(&self, request: &Request) -> bool {
        request.path() == EVENTS
    }

    fn answer(&mut self, request: &Request, stage: &mut Stage) -> Answer {
        let (method, path) = (request.method.as_str(), request.path());
        if path == EVENTS {
            return match (method, self.stream(request, stage)) {
                ("GET", Ok(opening)) => Answer::Stream(opening),
                ("GET", Err(refusal)) => refusal.into(),
                _ => Response::empty(405).into(),
            };
        }
        let (version, call) = match path.strip_prefix("/iamessage/api/v2/") {
            Some(call) => (2, call),
            None => (1, path.strip_prefix("/iamessage/v1/").unwrap_or_default()),
        };
        let answer = match (method, version, call) {
            ("POST", 2, "authorization/unauthenticated/access-token") => {
                let keys = [
                    "orgId",
                    "esDeveloperName",
                    "capabilitiesVersion",
                    "platform",
                    "context",
                ];
                Ok(self.mint(request, &keys, stage))
            }
            ("POST", 1, "authorization/unauthenticated/accessToken") => Ok(self.mint(
                request,
                &["orgId", "developerName", "capabilitiesVersion"],
                stage,
            )),
            ("GET", 2, "authorization/continuation-access-token")
            | ("POST", 1, "continuityAccessToken") => self
                .subject(request)
                .map(|subject| self.give_token(&subject, stage)),
            _ => match call.strip_prefix("conversation") {
                Some(rest) => {
                    let rest = rest.to_owned();
                    self.conversation(request, &rest, stage)
                }
                None => Err(not_found()),
            },
        };
        answer.unwrap_or_else(|refusal| refusal).into()
    }

    fn speak(&mut self, to: &Audience, who: &Conversation, step: &Step, stage: &mut Stage) -> bool {
        let id = &to.conversation;
        let chat = self.chats.entry(id.clone()).or_default();
        match step {
            Step::Queued { .. } => (chat.routing, chat.handed_over) = ("INITIAL", false),
            Step::HandoffToAgent { .. } => (chat.routing, chat.handed_over) = ("ROUTED", true),
            Step::AgentLeaves => (chat.routing, chat.handed_over) = ("NEEDS_ROUTING", false),
            _ => {}
        }
        let handler = match chat.handed_over {
            true => Sender::agent(&who.agent),
            false => Sender::bot(&who.bot),
        };
        let owner = chat.owner.clone();
        let own = Sender::participant(owner.as_deref().unwrap_or("v2/iamessage/UNAUTH/NA/uid:0"));
        let named = chat.last_own_id.clone();
        let entries = entry::of_step(step, who, handler, own, &named, stage);
        if let (Step::ParticipantSays(_), Some(first)) = (step, entries.first()) {
            chat.last_own_id.clone_from(&first.id);
        }
        for entry in entries {
            self.publish(id, entry, stage);
        }
        true
    }

    fn push(&mut self, to: &Audience, frame: Frame, stage: &mut Stage) {
        self.emit(&to.conversation, frame, stage);
    }

    fn beat(&mut self, _: &mut Stage) -> Vec<Out> {
        vec![Out::Frame(
            "ping".to_owned(),
            Bytes::from_static(b"event:ping\ndata:{}\n\n"),
        )]
    }

    fn filler(&mut self, owner: &str, bytes: usize, stage: &mut Stage) -> Out {
        let entry = Entry::message(
            &stage.ids.uuid(),
            Sender::participant(owner),
            &"x".repeat(bytes),
        );
        let data = entry.envelope(&self.channel, &stage.ids.uuid());
        self.last_id += 1;
        let text = format!(
            "id:{}\nevent:{}\ndata:{data}\n\n",
            self.last_id, entry.event
        );
        Out::Frame(entry.event.to_owned(), Bytes::from(text))
    }

    fn closed(&mut self, _: &str, _: &mut Stage) {}

    fn expire(&mut self, stage: &mut Stage) {
        for token in self.tokens.values_mut() {
            token.expires = Instant::now();
        }
        stage.send(&Out::End, |_| true);
    }
}

/// A page of the transcript: newest first, but for `direction=FromStart`.
fn entries(request: &Request, chat: &Chat) -> Response {
    let number = |name: &str| {
        request
            .query(name)
            .and_then(|text| text.parse::<u64>().ok())
    };
    let limit = usize::try_from(number("limit").unwrap_or(20).min(50)).unwrap_or(50);
    let (start, end) = (
        number("startTimestamp").unwrap_or(0),
        number("endTimestamp").unwrap_or(u64::MAX),
    );
    let kinds = request.query("entryTypeFilter").unwrap_or_default();
    let wanted = chat.entries.iter().filter(|entry| {
        let kind = kinds.is_empty() || kinds.split(',').any(|kind| kind == entry.kind);
        kind && (start..=end).contains(&entry.ms)
    });
    let page: Vec<String> = match request.query("direction").as_deref() {
        Some("FromStart") => wanted.take(limit).map(Entry::in_history).collect(),
        _ => wanted.rev().take(limit).map(Entry::in_history).collect(),
    };
    Response::json(200, format!("{{\"conversationEntries\":{}}}", array(page)))
}

fn bad_request(message: &str) -> Response {
    let body = Object::new(Style::Plain)
        .text("code", "BAD_REQUEST")
        .text("message", message);
    Response::json(400, body.end())
}

fn not_found() -> Response {
    Response::json(404, r#"{"code":"NOT_FOUND","message":"Not found"}"#)
}

fn stream_headers() -> Vec<(String, String)> {
    [
        ("Content-Type", "text/event-stream;charset=UTF-8"),
        ("Cache-Control", "no-cache, no-store"),
        ("Transfer-Encoding", "chunked"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}
