//! Openfire with the SparkWeb plugin: log-in, tokens that die, frames with CRLF.
//!
//! The body of a stream ends with its connection. The session of a user ends with the last stream,
//! and its newest token with it; older tokens open streams that stay silent. The steps are in
//! `speak`, the payloads in `payload`. Not here: rooms, as no script needs them; push their
//! frames.

mod payload;
mod speak;

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use bytes::Bytes;

use crate::scripted::openfire::payload::{Part, template, through_json_lib};
use crate::scripted::{
    clock::{now_ms, parse_instant, rfc3339},
    conversation::{Audience, Conversation, Step},
    http::{Request, Response, percent_decode},
    json::{Object, Style, array},
    stage::{Answer, Dialect, Frame, Framing, Opening, Out, Stage},
};

/// Jetty's heart-beat period, which no plugin sets.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Messages the archive keeps; the oldest are forgotten first.
const MAX_ARCHIVE: usize = 4096;
/// Tokens the map holds; then all are forgotten, as after a restart.
const MAX_TOKENS: usize = 10_000;
/// What the plugin allows, as it prints it.
const CORS_METHODS: &str = "PROPFIND,PROPPATCH,COPY,MOVE,DELETE,MKCOL,LOCK,UNLOCK,PUT,GETLIB,\
    VERSION-CONTROL,CHECKIN,CHECKOUT,UNCHECKOUT,REPORT,UPDATE,CANCELUPLOAD,HEAD,OPTIONS,GET,POST";
/// A Java list printed as text, and one header more.
const CORS_HEADERS: &str = "[Overwrite, Destination, Content-Type, Depth, User-Agent, \
    X-File-Size, X-Requested-With, If-Modified-Since, X-File-Name, Cache-Control], Authorization";
/// Where the REST calls are.
const REST: &str = "/sparkweb/api/rest/";

/// One message of the archive.
#[derive(Debug)]
struct Archived {
    owner: String,
    from: String,
    to: String,
    body: String,
    ms: u64,
}

/// An XMPP session.
#[derive(Debug)]
struct Session {
    newest_token: String,
    resource: String,
    /// Of the participant's own last message: receipts name it.
    last_own_id: String,
    /// Whether the agent has taken over from the bot.
    handed_over: bool,
}

/// The plugin's memory.
#[derive(Debug, Default)]
pub(super) struct Openfire {
    tokens: HashMap<String, String>,
    sessions: HashMap<String, Session>,
    archive: Vec<Archived>,
}

impl Openfire {
    pub(super) fn new(stage: &mut Stage) -> Self {
        let mut openfire = Self::default();
        for (user, token) in stage.options.tokens.clone() {
            openfire.log_in(&user, token, stage);
        }
        openfire
    }

    /// A second log-in gives a new token for the same session.
    fn log_in(&mut self, user: &str, token: String, stage: &mut Stage) {
        if self.tokens.len() >= MAX_TOKENS {
            self.expire(stage);
        }
        self.tokens.insert(token.clone(), user.to_owned());
        let resource = format!("sparkweb--{}", stage.ids.next() % 10_000_000_000);
        let session = self.sessions.entry(user.to_owned()).or_insert_with(|| Session {
            newest_token: String::new(),
            resource,
            last_own_id: String::from("none"),
            handed_over: false,
        });
        session.newest_token = token;
    }

    fn new_token(user: &str, stage: &mut Stage) -> String {
        let now = now_ms() / 1000;
        let domain = stage.options.domain.clone();
        let claims = Object::new(Style::Plain)
            .text("sub", user)
            .text("aud", &domain)
            .raw("permissions", r#"["full"]"#)
            .number("iat", now.saturating_sub(86_400))
            .number("exp", now + 86_400)
            .text("iss", &format!("https://{domain}:7443"))
            .end();
        stage.ids.jwt(r#"{"alg":"HS256","typ":"JWT"}"#, &claims)
    }

    fn stream(&self, request: &Request, stage: &Stage) -> Answer {
        let mut accepts = request.header_values("accept");
        if (accepts.next(), accepts.next()) != (Some("text/event-stream"), None) {
            return jetty(405).into();
        }
        let token = request.query("token").unwrap_or_default();
        let Some(user) = self.tokens.get(&token) else {
            return jetty(503).into();
        };
        let alive = self.sessions.contains_key(user);
        let hello = Object::new(Style::JsonLib)
            .text("name", user)
            .text("email", &format!("{user}@{}", stage.options.domain))
            .text("username", user)
            .end();
        Answer::Stream(Opening {
            headers: stream_headers(),
            framing: Framing::Close,
            owner: user.clone(),
            detail: String::new(),
            muted: !alive,
            first: vec![frame("onConnect", &hello)],
            beat: Some(stage.options.heartbeat.unwrap_or(HEARTBEAT)),
            notices_late: true,
        })
    }

    fn rest(&mut self, request: &Request, call: &str, stage: &mut Stage) -> Response {
        let (method, path) = (request.method.as_str(), call);
        if let ("POST", Some(user)) = (method, path.strip_prefix("login/")) {
            return self.answer_log_in(&percent_decode(user), &request.body, stage);
        }
        if (method, path) == ("GET", "config/global") {
            return Response::json(200, r#"{"version":"0.0.4","about":"SparkWeb"}"#);
        }
        let token = request.header("authorization").unwrap_or_default();
        let Some(user) = self.tokens.get(token).cloned() else {
            return Response::empty(401);
        };
        match (method, path) {
            ("POST", "logout") => {
                // The token stays in the map, without a session behind it.
                self.sessions.remove(&user);
                stage.mute(&user);
                Response::empty(200)
            }
            ("GET", "chat/messages") => self.history(request, stage),
            ("POST", path) if path.starts_with("chat/message/") => {
                let to = percent_decode(path.trim_start_matches("chat/message/"));
                let body =
                    request.json().get("body").and_then(|body| body.as_str().map(str::to_owned));
                let body = body.unwrap_or_else(|| String::from_utf8_lossy(&request.body).into());
                let from = format!("{user}@{}", stage.options.domain);
                self.archive(&user, &from, &to, &body);
                Response::empty(200)
            }
            ("POST", path)
                if path.starts_with("chat/chatstate/") || matches!(path, "presence" | "xmpp") =>
            {
                Response::empty(200)
            }
            _ => jetty(404),
        }
    }

    fn answer_log_in(&mut self, user: &str, password: &[u8], stage: &mut Stage) -> Response {
        let known = &stage.options.passwords;
        let right = known.is_empty()
            || known.iter().any(|(name, secret)| name == user && secret.as_bytes() == password);
        if !right {
            return jetty(500);
        }
        let token = Self::new_token(user, stage);
        self.log_in(user, token.clone(), stage);
        Response::json(200, Object::new(Style::Plain).text("token", &token).end())
    }

    fn archive(&mut self, owner: &str, from: &str, to: &str, body: &str) {
        if self.archive.len() >= MAX_ARCHIVE {
            self.archive.remove(0);
        }
        let [owner, from, to, body] = [owner, from, to, body].map(str::to_owned);
        self.archive.push(Archived { owner, from, to, body, ms: now_ms() });
    }

    /// Without `to` the search is not restricted to the caller. `start` is compared with the
    /// beginning of a conversation.
    fn history(&self, request: &Request, stage: &Stage) -> Response {
        let peer = request.query("to").unwrap_or_default();
        let start = request.query("start").and_then(|start| parse_instant(&start)).unwrap_or(0);
        let start = start.saturating_sub(5 * 60_000);
        let token = request.header("authorization").unwrap_or_default();
        let caller = self.tokens.get(token).map(String::as_str).unwrap_or_default();
        let mut conversations: BTreeMap<[&str; 2], Vec<&Archived>> = BTreeMap::new();
        for message in &self.archive {
            let mut pair = [bare(&message.from), bare(&message.to)];
            let of_caller = message.owner == caller && pair.contains(&bare(&peer));
            if peer.is_empty() || of_caller {
                pair.sort_unstable();
                conversations.entry(pair).or_default().push(message);
            }
        }
        let begun = |messages: &&Vec<&Archived>| messages.first().is_some_and(|m| m.ms >= start);
        let found = conversations.values().filter(begun).map(|messages| {
            let messages = array(messages.iter().map(|message| {
                Object::new(Style::Plain)
                    .text("from", &message.from)
                    .text("to", &message.to)
                    .text("sentDate", &rfc3339(message.ms))
                    .text("body", &message.body)
                    .end()
            }));
            Object::new(Style::Plain)
                .text("domain", &stage.options.domain)
                .raw("messages", &messages)
                .end()
        });
        Response::json(200, format!("{{\"conversations\":{}}}", array(found)))
    }

    /// Sends what a stanza gives: itself, then the derived frames that json-lib lets through.
    fn emit(&self, user: &str, stanza: &str, derived: &[(&str, Vec<Part<'_>>)], stage: &mut Stage) {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        if !self.sessions.contains_key(user) {
            return;
        }
        if stage.options.stanzas {
            let data = Object::new(Style::JsonLib).text("xmpp", &STANDARD.encode(stanza)).end();
            stage.send_to(user, &frame("chatapi.xmpp", &data));
        }
        for (event, parts) in derived {
            let text = template(parts);
            let legacy = stage.options.legacy_payloads;
            if let Some(data) = if legacy { Some(text) } else { through_json_lib(&text) } {
                stage.send_to(user, &frame(event, &data));
            }
        }
    }
}

impl Dialect for Openfire {
    fn is_events(&self, request: &Request) -> bool {
        request.path() == "/sparkweb/sse"
    }

    fn answer(&mut self, request: &Request, stage: &mut Stage) -> Answer {
        if self.is_events(request) {
            return match request.method.as_str() {
                "GET" => self.stream(request, stage),
                _ => jetty(405).into(),
            };
        }
        let Some(call) = request.path().strip_prefix(REST) else {
            return jetty(404).into();
        };
        let call = call.to_owned();
        let mut response = self.rest(request, &call, stage);
        if request.header("origin").is_some() {
            // The CORS filter sets the status unconditionally.
            response.status = 200;
        }
        response.into()
    }

    fn speak(&mut self, to: &Audience, who: &Conversation, step: &Step, stage: &mut Stage) -> bool {
        self.say(to.user(), who, step, stage)
    }

    fn push(&mut self, to: &Audience, pushed: Frame, stage: &mut Stage) {
        stage.send_to(to.user(), &frame(&pushed.event, &pushed.data));
    }

    fn beat(&mut self, _: &mut Stage) -> Vec<Out> {
        // Two flushes: a parser sees a lone CR at the end of a read, then a lone LF.
        vec![Out::Bytes(Bytes::from_static(b"\r")), Out::Bytes(Bytes::from_static(b"\n"))]
    }

    fn filler(&mut self, owner: &str, bytes: usize, stage: &mut Stage) -> Out {
        let domain = &stage.options.domain;
        let data = Object::new(Style::JsonLib)
            .raw("data", &Object::new(Style::JsonLib).text("filler", &"x".repeat(bytes)).end())
            .text("from", &format!("bot@{domain}/svc"))
            .text("to", &format!("{owner}@{domain}"))
            .text("type", "notify")
            .end();
        frame("chatapi.notify", &data)
    }

    fn closed(&mut self, owner: &str, stage: &mut Stage) {
        if stage.streams_of(owner) > 0 {
            return;
        }
        if let Some(session) = self.sessions.remove(owner) {
            self.tokens.remove(&session.newest_token);
        }
    }

    fn expire(&mut self, stage: &mut Stage) {
        self.tokens.clear();
        for user in std::mem::take(&mut self.sessions).into_keys() {
            stage.mute(&user);
        }
    }
}

/// A frame as Jetty writes it: one `data:` line for each line of the payload.
fn frame(event: &str, data: &str) -> Out {
    let mut text = format!("event: {event}\r\n");
    for line in data.replace("\r\n", "\n").split(['\n', '\r']) {
        text.push_str("data: ");
        text.push_str(line);
        text.push_str("\r\n");
    }
    text.push_str("\r\n");
    Out::Frame(event.to_owned(), Bytes::from(text))
}

fn bare(jid: &str) -> &str {
    jid.split('/').next().unwrap_or_default()
}

fn jetty(status: u16) -> Response {
    let page = format!("<html><head><title>Error {status}</title></head><body></body></html>\n");
    Response::new(status, "text/html;charset=iso-8859-1", page)
}

/// The head of a stream, broken CORS headers included.
fn stream_headers() -> Vec<(String, String)> {
    [
        ("Content-Type", "text/event-stream;charset=utf-8"),
        ("Access-Control-Allow-Methods", CORS_METHODS),
        ("Access-Control-Allow-Headers", CORS_HEADERS),
        ("Access-Control-Max-Age", "86400"),
        ("Access-Control-Allow-Origin", "[*]"),
        ("Connection", "close"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}
