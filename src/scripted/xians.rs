//! XiansAi server: chunked SSE with LF, pure ASCII JSON with nulls, and its leak.
//!
//! A stream gets every frame of its workflow and tenant, whoever it is for. No replay; history is
//! newest first. Rate limits on demand: `Fault::rate_limited`.

use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;

use crate::scripted::{
    clock::{Ids, dotnet, now_ms},
    conversation::{Audience, Conversation, Step, answer_to},
    http::{Request, Response},
    json::{Object, Style, array, quote, restyle},
    stage::{Answer, Dialect, Frame, Framing, Opening, Out, Stage},
};

/// The stream's path.
const EVENTS: &str = "/api/user/sse/events";
/// Messages kept; the oldest are forgotten first.
const MAX_MESSAGES: usize = 4096;

/// A stored message.
#[derive(Clone, Debug)]
struct Message {
    id: String,
    tenant: String,
    workflow_id: String,
    participant: String,
    incoming: bool,
    kind: String,
    text: String,
    /// JSON, already as .NET writes it.
    data: Option<String>,
    scope: Option<String>,
    request_id: Option<String>,
    created_by: String,
    /// The caller's bearer token, leaked by history.
    origin: Option<String>,
    ms: u64,
}

/// The server's memory.
#[derive(Debug, Default)]
pub(super) struct Xians {
    messages: Vec<Message>,
}

impl Xians {
    /// The caller's tenant, or 401.
    fn admit(request: &Request, stage: &Stage) -> Result<String, Response> {
        let refused =
            || error(401, "Unauthorized", "Authentication is required to access this resource");
        let tenant = request.query("tenantId").filter(|tenant| !tenant.is_empty());
        let token = match request.query("apikeyId") {
            // An id of a key is not a key of ours, and wins over everything.
            Some(_) => None,
            None => request
                .bearer()
                .map(str::to_owned)
                .or_else(|| request.query("apikey"))
                .or_else(|| request.query("access_token")),
        };
        let token = token.ok_or_else(refused)?;
        if token.starts_with("sk-Xnai-") {
            let keys = &stage.options.api_keys;
            if keys.is_empty() {
                return Ok(tenant.unwrap_or_else(|| String::from("acme")));
            }
            let (_, of_key) = keys.iter().find(|(key, _)| *key == token).ok_or_else(refused)?;
            match tenant {
                Some(tenant) if tenant != *of_key => Err(refused()),
                _ => Ok(of_key.clone()),
            }
        } else {
            let known = &stage.options.bearers;
            let good =
                token.matches('.').count() == 2 && (known.is_empty() || known.contains(&token));
            tenant.filter(|_| good).ok_or_else(refused)
        }
    }

    /// Tenant, workflow id and participant of a request, or its refusal.
    fn subject(request: &Request, stage: &Stage) -> Result<(String, String, String), Response> {
        let tenant = Self::admit(request, stage)?;
        let (Some(workflow), Some(participant)) =
            (request.query("workflow"), request.query("participantId"))
        else {
            return Err(Response::empty(400));
        };
        if workflow.is_empty() || participant.is_empty() {
            let text = "\"Workflow and participantId are required parameters\"";
            return Err(Response::new(400, "application/json; charset=utf-8", text));
        }
        let id = match workflow.matches(':').count() {
            0 | 1 => format!("{tenant}:{workflow}"),
            _ if workflow.starts_with(&format!("{tenant}:")) => workflow,
            _ => {
                let text = "An error occurred while processing your request";
                return Err(error(500, "Internal server error", text));
            }
        };
        Ok((tenant, id, participant.to_lowercase()))
    }

    fn stream(request: &Request, stage: &Stage) -> Result<Opening, Response> {
        let (tenant, workflow_id, participant) = Self::subject(request, stage)?;
        let secs = match request.query("heartbeatSeconds") {
            None => 5,
            Some(secs) => {
                secs.trim().parse::<i32>().map_err(|_| Response::empty(400))?.clamp(1, 300)
            }
        };
        let asked = Duration::from_secs(u64::from(secs.unsigned_abs()));
        let hello = Object::new(Style::DotNet)
            .text("message", "Connected to message stream")
            .text("workflowId", &workflow_id)
            .text("participantId", &participant)
            .text("tenantId", &tenant)
            .text("timestamp", &dotnet(now_ms(), 1281))
            .end();
        Ok(Opening {
            headers: stream_headers(),
            framing: Framing::Chunked,
            owner: owner(&tenant, &workflow_id),
            detail: request.query("scope").unwrap_or_default(),
            muted: false,
            first: vec![frame("connected", &hello)],
            beat: Some(stage.options.heartbeat.unwrap_or(asked)),
            notices_late: false,
        })
    }

    fn send(&mut self, request: &Request, stage: &mut Stage) -> Result<Response, Response> {
        let (tenant, workflow_id, participant) = Self::subject(request, stage)?;
        let kind = request.query("type").unwrap_or_default();
        match kind.as_str() {
            "Chat" | "Data" | "Webhook" | "Heartbeat" => {}
            "Handoff" | "File" | "Reasoning" | "Tool" => {
                return Err(Response::json(500, r#"{"error":"Unsupported message type"}"#));
            }
            _ => return Err(Response::json(400, r#"{"error":"Invalid message type"}"#)),
        }
        let data = Some(request.json()).filter(|data| !data.is_null());
        let message = Message {
            incoming: true,
            kind,
            text: request.query("text").unwrap_or_default(),
            data: data.map(|data| restyle(Style::DotNet, &data)),
            request_id: request.query("requestId"),
            created_by: participant.clone(),
            origin: request.bearer().map(str::to_owned),
            ..blank(&tenant, &workflow_id, &participant, stage)
        };
        let thread = thread_id(&message);
        // The stream tells nobody their own words; an agent's answer names the request.
        let answer = Message {
            text: answer_to(&message.text),
            request_id: message.request_id.clone(),
            created_by: String::from("support-agent-svc"),
            origin: message.origin.clone(),
            ..blank(&tenant, &workflow_id, &participant, stage)
        };
        self.keep(message);
        if stage.options.answers {
            self.publish(answer, stage);
        }
        Ok(Response::new(200, "application/json; charset=utf-8", quote(Style::DotNet, &thread)))
    }

    fn history(&self, request: &Request, stage: &Stage) -> Result<Response, Response> {
        let (tenant, workflow_id, participant) = Self::subject(request, stage)?;
        let number = |name: &str, usual: usize| {
            request.query(name).and_then(|text| text.parse().ok()).unwrap_or(usual)
        };
        let (page, size) = (number("page", 1).max(1), number("pageSize", 50));
        let scope = request.query("scope").filter(|scope| !scope.is_empty());
        let wanted = self.messages.iter().rev().filter(|message| {
            (&message.tenant, &message.workflow_id, &message.participant)
                == (&tenant, &workflow_id, &participant)
                && message.scope == scope
        });
        let skipped = (page - 1).saturating_mul(size);
        let body = array(wanted.skip(skipped).take(size).map(history_entry));
        Ok(Response::new(200, "application/json; charset=utf-8", body))
    }

    fn delete(&mut self, request: &Request, stage: &Stage) -> Result<Response, Response> {
        let (tenant, workflow_id, participant) = Self::subject(request, stage)?;
        let before = self.messages.len();
        self.messages.retain(|message| {
            (&message.tenant, &message.workflow_id, &message.participant)
                != (&tenant, &workflow_id, &participant)
        });
        Ok(Response::empty(if self.messages.len() < before { 200 } else { 404 }))
    }

    fn keep(&mut self, message: Message) {
        if self.messages.len() >= MAX_MESSAGES {
            self.messages.remove(0);
        }
        self.messages.push(message);
    }

    /// Stores and publishes: to every stream of the workflow, by scope only.
    fn publish(&mut self, message: Message, stage: &mut Stage) {
        if !message.incoming {
            let out = frame(&message.kind, &stream_entry(&message));
            let owner = owner(&message.tenant, &message.workflow_id);
            stage.send(&out, |live| {
                live.owner == owner
                    && (live.detail.is_empty() || message.scope.as_ref() == Some(&live.detail))
            });
        }
        self.keep(message);
    }
}

impl Dialect for Xians {
    fn is_events(&self, request: &Request) -> bool {
        request.path() == EVENTS
    }

    fn answer(&mut self, request: &Request, stage: &mut Stage) -> Answer {
        let answer = match (request.method.as_str(), request.path()) {
            ("GET", EVENTS) => match Self::stream(request, stage) {
                Ok(opening) => return Answer::Stream(opening),
                Err(refusal) => Err(refusal),
            },
            ("GET", "/api/user/rest/history") => self.history(request, stage),
            ("POST", "/api/user/rest/send") => self.send(request, stage),
            ("DELETE", "/api/user/rest/thread") => self.delete(request, stage),
            ("GET", "/health") => Ok(Response::new(200, "text/plain", "Healthy")),
            _ => Err(Response::empty(404)),
        };
        answer.unwrap_or_else(|refusal| refusal).into()
    }

    fn speak(&mut self, to: &Audience, who: &Conversation, step: &Step, stage: &mut Stage) -> bool {
        let participant = to.participant.to_lowercase();
        let message = Message {
            created_by: String::from("support-agent-svc"),
            scope: to.scope.clone(),
            ..blank(&to.tenant, &to.workflow_id(), &participant, stage)
        };
        // Answers copy what the question left there: the asker's token.
        let origin = self.messages.iter().rev().find_map(|asked| {
            let is_of_thread = thread_id(asked) == thread_id(&message);
            asked.origin.clone().filter(|_| is_of_thread)
        });
        let message = Message { origin, ..message };
        let message = match step {
            Step::BotSays(text) | Step::BotStreams(text) | Step::AgentSays(text) => {
                Message { text: text.clone(), ..message }
            }
            Step::BotThinks(text) => {
                // A string comes back from the store as the JSON text of itself.
                let data = quote(Style::DotNet, &quote(Style::DotNet, text));
                Message { kind: String::from("Reasoning"), data: Some(data), ..message }
            }
            Step::ParticipantSays(text) => {
                let (text, created_by) = (text.clone(), participant.clone());
                Message { incoming: true, text, created_by, ..message }
            }
            Step::HandoffToAgent { reason } => {
                let data = Object::new(Style::DotNet)
                    .text("fromAgent", &who.bot.name)
                    .text("toAgent", &who.agent.name)
                    .text("reason", reason)
                    .end();
                // The target's workflow: the one that this audience listens to.
                let text = format!("Triage Agent:Flow -> {}", workflow_type(&message));
                let kind = String::from("Handoff");
                Message { kind, text, data: Some(data), request_id: None, ..message }
            }
            Step::Queued { .. }
            | Step::Connecting
            | Step::BotJoins
            | Step::ParticipantMessageDelivered
            | Step::ParticipantMessageRead
            | Step::AgentTyping
            | Step::AgentStopsTyping
            | Step::AgentSendsFile { .. }
            | Step::AgentLeaves
            | Step::Ended => return false,
        };
        let heard = !message.incoming;
        self.publish(message, stage);
        heard
    }

    fn push(&mut self, to: &Audience, pushed: Frame, stage: &mut Stage) {
        let owner = owner(&to.tenant, &to.workflow_id());
        stage.send_to(&owner, &frame(&pushed.event, &pushed.data));
    }

    fn beat(&mut self, stage: &mut Stage) -> Vec<Out> {
        let count = u64::try_from(stage.counts.live_streams).unwrap_or(u64::MAX);
        let data = Object::new(Style::DotNet)
            .text("timestamp", &dotnet(now_ms(), 4530))
            .number("subscriberCount", count)
            .end();
        vec![frame("heartbeat", &data)]
    }

    fn filler(&mut self, owner: &str, bytes: usize, stage: &mut Stage) -> Out {
        let (tenant, workflow_id) = owner.split_once('\n').unwrap_or_default();
        let message = blank(tenant, workflow_id, "nobody", stage);
        let text = "x".repeat(bytes);
        frame("Chat", &stream_entry(&Message { text, ..message }))
    }

    fn closed(&mut self, _: &str, _: &mut Stage) {}

    /// Credentials are checked once, and a stream outlives its own.
    fn expire(&mut self, stage: &mut Stage) {
        stage.options.api_keys = vec![(String::from("sk-Xnai-none"), String::new())];
        stage.options.bearers = vec![String::from("none")];
    }
}

fn blank(tenant: &str, workflow_id: &str, participant: &str, stage: &mut Stage) -> Message {
    Message {
        id: stage.ids.object_id(),
        tenant: tenant.to_owned(),
        workflow_id: workflow_id.to_owned(),
        participant: participant.to_owned(),
        incoming: false,
        kind: String::from("Chat"),
        text: String::new(),
        data: None,
        scope: None,
        request_id: Some(stage.ids.uuid()),
        created_by: String::new(),
        origin: None,
        ms: now_ms(),
    }
}

fn owner(tenant: &str, workflow_id: &str) -> String {
    format!("{tenant}\n{workflow_id}")
}

fn workflow_type(message: &Message) -> &str {
    message.workflow_id.split_once(':').map_or("", |(_, kind)| kind)
}

/// Workflow and participant have one thread.
fn thread_id(message: &Message) -> String {
    let mut ids = Ids::of(&format!("{}\n{}", message.workflow_id, message.participant));
    format!("678d1c4f{:016x}", ids.next())
}

/// The message as the stream shows it.
fn stream_entry(message: &Message) -> String {
    Object::new(Style::DotNet)
        .text("id", &message.id)
        .text("threadId", &thread_id(message))
        .text("workflowId", &message.workflow_id)
        .text("workflowType", workflow_type(message))
        .text("participantId", &message.participant)
        .text("direction", if message.incoming { "Incoming" } else { "Outgoing" })
        .text("messageType", &message.kind)
        .text("text", &message.text)
        .raw("data", message.data.as_deref().unwrap_or("null"))
        .null("hint")
        .option("scope", message.scope.as_deref())
        .option("requestId", message.request_id.as_deref())
        .text("createdAt", &dotnet(message.ms, 0))
        .text("createdBy", &message.created_by)
        .end()
}

/// The message as history shows it, with what only the store knows.
fn history_entry(message: &Message) -> String {
    let time = dotnet(message.ms, 0);
    Object::new(Style::DotNet)
        .null("feedback")
        .text("id", &message.id)
        .text("threadId", &thread_id(message))
        .option("requestId", message.request_id.as_deref())
        .text("tenantId", &message.tenant)
        .text("createdAt", &time)
        .text("updatedAt", &time)
        .text("createdBy", &message.created_by)
        .text("direction", if message.incoming { "Incoming" } else { "Outgoing" })
        .text("text", &message.text)
        .null("status")
        .raw("data", message.data.as_deref().unwrap_or("null"))
        .text("participantId", &message.participant)
        .option("scope", message.scope.as_deref())
        .null("hint")
        .null("taskId")
        .text("workflowId", &message.workflow_id)
        .text("workflowType", workflow_type(message))
        .text("messageType", &message.kind)
        .option("origin", message.origin.as_deref())
        .null("expiresAt")
        .end()
}

fn frame(event: &str, data: &str) -> Out {
    let text = format!("event: {event}\ndata: {}\n\n", data.replace('\n', "\ndata: "));
    Out::Frame(event.to_owned(), Bytes::from(text))
}

fn error(status: u16, error: &str, message: &str) -> Response {
    let body: Value = serde_json::json!({"error": error, "message": message});
    Response::new(status, "application/json; charset=utf-8", body.to_string())
}

fn stream_headers() -> Vec<(String, String)> {
    [
        ("Content-Type", "text/event-stream"),
        ("Cache-Control", "no-cache"),
        ("Connection", "keep-alive"),
        ("Access-Control-Allow-Origin", "*"),
        ("Transfer-Encoding", "chunked"),
        ("Content-Security-Policy", "default-src 'self'"),
        ("X-Content-Type-Options", "nosniff"),
        ("X-Frame-Options", "DENY"),
        ("X-XSS-Protection", "1; mode=block"),
        ("Referrer-Policy", "strict-origin-when-cross-origin"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()))
    .to_vec()
}
