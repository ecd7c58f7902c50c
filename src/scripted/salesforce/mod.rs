//! Salesforce Messaging for In-App and Web: tokens, one stream per person, resume by id.
//!
//! `entryPayload` is JSON in a string in JSON on the stream, and an object in the history. A
//! conversation that nobody created over HTTP is everybody's: scripts need no token first.
//! Entries are in `entry`, the other calls in `rest`. Not here: files.

mod entry;
mod rest;

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
    json::{Object, Style},
    stage::{Answer, Dialect, Frame, Framing, Opening, Out, Stage},
};

/// Time between pings: below the 30 s that the Android SDK waits.
const PING: Duration = Duration::from_secs(5);
/// The stream's path.
const EVENTS: &str = "/eventrouter/v1/sse";
/// Where v1 keeps its transcripts: beside the conversations.
const V1_QUERIES: &str = "queries/conversation";
/// `_ts` values remembered.
const MAX_STAMPS: usize = 4096;
/// Transcript entries of a conversation; the oldest are forgotten first.
const MAX_ENTRIES: usize = 4096;
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
        let after = request.header("last-event-id").and_then(|id| id.parse::<u64>().ok());
        let after = after.map_or(u64::MAX, |id| id.saturating_sub(stage.options.overlap));
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
        let owner = self.chats.get(conversation).and_then(|chat| chat.owner.as_deref());
        owner.is_none_or(|owner| owner == subject)
    }

    /// Writes an entry to transcript, log and streams.
    fn publish(&mut self, conversation: &str, entry: Entry, stage: &mut Stage) {
        let data = entry.envelope(&self.channel, conversation);
        self.emit(conversation, Frame::new(entry.event, data), stage);
        let chat = self.chats.entry(conversation.to_owned()).or_default();
        if entry.in_transcript {
            if chat.entries.len() >= MAX_ENTRIES {
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
        let owner = self.chats.get(conversation).and_then(|chat| chat.owner.clone());
        stage.send(&out, |live| owner.as_ref().is_none_or(|owner| *owner == live.owner));
        if self.log.len() >= stage.options.replay {
            self.log.pop_front();
        }
        if stage.options.replay > 0 {
            self.log.push_back(Logged { number, conversation: conversation.to_owned(), out });
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
                let keys =
                    ["orgId", "esDeveloperName", "capabilitiesVersion", "platform", "context"];
                Ok(self.mint(request, &keys, stage))
            }
            ("POST", 1, "authorization/unauthenticated/accessToken") => {
                Ok(self.mint(request, &["orgId", "developerName", "capabilitiesVersion"], stage))
            }
            ("GET", 2, "authorization/continuation-access-token")
            | ("POST", 1, "continuityAccessToken") => {
                self.subject(request).map(|subject| self.give_token(&subject, stage))
            }
            ("GET", 1, "conversation/list") => Err(not_found()),
            ("POST", 1, call) if call.starts_with(V1_QUERIES) => {
                let rest = call.trim_start_matches(V1_QUERIES).to_owned();
                self.conversation(request, &rest, stage)
            }
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
        vec![Out::Frame("ping".to_owned(), Bytes::from_static(b"event:ping\ndata:{}\n\n"))]
    }

    fn filler(&mut self, owner: &str, bytes: usize, stage: &mut Stage) -> Out {
        let entry =
            Entry::message(&stage.ids.uuid(), Sender::participant(owner), &"x".repeat(bytes));
        let data = entry.envelope(&self.channel, &stage.ids.uuid());
        self.last_id += 1;
        let text = format!("id:{}\nevent:{}\ndata:{data}\n\n", self.last_id, entry.event);
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

fn bad_request(message: &str) -> Response {
    let body = Object::new(Style::Plain).text("code", "BAD_REQUEST").text("message", message);
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
