//! The calls beside the stream: tokens, conversations, their transcripts.

use tokio::time::Instant;

use crate::scripted::{
    clock::now_ms,
    conversation::{Audience, Conversation, Step, answer_to},
    http::{Request, Response},
    json::{Object, Style, array},
    salesforce::{
        Chat, MAX_REMEMBERED, Salesforce, Token, bad_request,
        entry::{Entry, Sender},
        not_found,
    },
    stage::{Dialect as _, Stage},
};

/// Bytes of an upload, with its form.
const MAX_FILE: usize = 5 * 1024 * 1024;

impl Salesforce {
    /// `keys` are all that the schema allows, the first three required.
    pub(super) fn mint(&mut self, request: &Request, keys: &[&str], stage: &mut Stage) -> Response {
        let body = request.json();
        let Some(body) = body.as_object() else {
            return bad_request("The body is no object");
        };
        let missing = keys.iter().take(3).find(|key| !body.contains_key(**key));
        let extra = body.keys().find(|key| !keys.contains(&key.as_str()));
        if let Some(key) = missing.copied().or_else(|| extra.map(String::as_str)) {
            return bad_request(&format!("Unrecognized or missing field {key}"));
        }
        let org = body.get("orgId").and_then(|org| org.as_str()).unwrap_or_default();
        if org.get(..15) != Some(&stage.options.org_id) {
            return bad_request("Unknown orgId");
        }
        let subject = format!("v2/iamessage/UNAUTH/NA/uid:{}", stage.ids.uuid());
        self.give_token(&subject, stage)
    }

    pub(super) fn give_token(&mut self, subject: &str, stage: &mut Stage) -> Response {
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
        self.tokens.insert(token.clone(), Token { subject: subject.to_owned(), expires });
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
    pub(super) fn conversation(
        &mut self,
        request: &Request,
        call: &str,
        stage: &mut Stage,
    ) -> Result<Response, Response> {
        let subject = self.subject(request)?;
        let mut parts = call.trim_start_matches('/').splitn(2, '/');
        let (id, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
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
            ("GET", "entries") if !is_v1(request) => Ok(entries(request, chat)),
            ("POST", "entries") if is_v1(request) => Ok(all_entries(chat)),
            ("POST", "message") => {
                let body = request.json();
                let message = body.get("message").unwrap_or(&body);
                let text = |key: &str| message.get(key).and_then(|value| value.as_str());
                let content = message.get("staticContent").and_then(|content| content.get("text"));
                let content = content.and_then(|text| text.as_str()).unwrap_or_default();
                let given = text("id").map_or_else(|| stage.ids.uuid(), str::to_owned);
                let sender = Sender::participant(&subject);
                self.publish(id, Entry::message(&given, sender, content), stage);
                if stage.options.answers {
                    self.answer_to(id, &given, content, stage);
                }
                Ok(Response::json(200, "{}"))
            }
            ("POST", "entry") => {
                let kind = request.json();
                let kind = kind.get("entryType").and_then(|kind| kind.as_str()).unwrap_or_default();
                let entry = Entry::typing(stage, Sender::participant(&subject), kind);
                self.publish(id, entry, stage);
                Ok(Response::json(200, "{}"))
            }
            ("POST", "file") => Ok(match request.body.len() {
                0..=MAX_FILE => Response::json(200, "{}"),
                _ => Response::json(413, r#"{"code":"TOO_LARGE","message":"File too large"}"#),
            }),
            ("DELETE", "") => {
                let entry = Entry::close(stage, Sender::participant(&subject), id);
                self.publish(id, entry, stage);
                Ok(Response::empty(204))
            }
            _ => Err(Response::empty(405)),
        }
    }

    /// Whoever has the conversation reads a message, and answers it.
    fn answer_to(&mut self, id: &str, message: &str, text: &str, stage: &mut Stage) {
        let chat = self.chats.entry(id.to_owned()).or_default();
        message.clone_into(&mut chat.last_own_id);
        let text = answer_to(text);
        let says = if chat.handed_over { Step::AgentSays(text) } else { Step::BotSays(text) };
        let (to, who) = (Audience::new("").conversation(id), Conversation::new(Vec::new()));
        for step in [Step::ParticipantMessageRead, says] {
            self.speak(&to, &who, &step, stage);
        }
    }

    fn create(
        &mut self,
        request: &Request,
        subject: String,
        stage: &mut Stage,
    ) -> Result<Response, Response> {
        let body = request.json();
        let id = body.get("conversationId").and_then(|id| id.as_str()).unwrap_or_default();
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
        let own = |chat: &Chat| chat.owner.as_deref().is_none_or(|owner| owner == subject);
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
}

/// Whether it is of the family that Web deployments speak.
fn is_v1(request: &Request) -> bool {
    request.path().starts_with("/iamessage/v1/")
}

/// The transcript as v1 gives it, newest first.
fn all_entries(chat: &Chat) -> Response {
    let all = array(chat.entries.iter().rev().map(Entry::in_history));
    Response::json(200, format!("{{\"conversationEntries\":{all}}}"))
}

/// A page of the transcript: newest first, but for `direction=FromStart`.
fn entries(request: &Request, chat: &Chat) -> Response {
    let number = |name: &str| request.query(name).and_then(|text| text.parse::<u64>().ok());
    let limit = usize::try_from(number("limit").unwrap_or(20).min(50)).unwrap_or(50);
    let (start, end) =
        (number("startTimestamp").unwrap_or(0), number("endTimestamp").unwrap_or(u64::MAX));
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
