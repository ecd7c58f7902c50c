//! XiansAi's user stream (`GET /api/user/sse/events`), in the form the server's code writes.
//!
//! Its message object is what the unified vocabulary grew from, so messages pass with their
//! own fields. Quirks, all read from the server's source: the participant filter of the stream
//! does not hold, so every frame's owner is checked here; participant ids come back in lower
//! case; a string given as `data` comes back as JSON text inside a string; an older document
//! has the event names in lower case, and `Heartbeat` (a message type) differs from
//! `heartbeat` (a sign of life) by that alone. No ids on the stream, no replay.
//! Not here: sending.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use super::{
    Answer, CallPlan, Dialect, Discard, History, HistoryPlan, Input, KEY, KEYS_MAX, Memory,
    Obtained, OptionKind, OptionSpec, Options, Outbox, PAGE, Page, PassPlan, Past, PastKeys, Piece,
    Plan, Reject, Session, SessionStart, Transport, Wanted, pass::segments,
};
use crate::proto::event::{
    Direction, Event, EventId, Json, MessageType, Payload, Role, Sender, Subscription, Text,
};
use crate::proto::json::{self, Object};
use crate::proto::template::{Place, Template, Variable, Variables, percent_encode};
use crate::proto::time::UnixMillis;
use crate::proto::view::{Index, View, pick};

/// The dialect.
pub static DIALECT: Dialect = Dialect {
    name: "xians",
    title: "XiansAi",
    transport: Transport::Stream,
    events: &[
        "Chat",
        "Data",
        "Handoff",
        "Reasoning",
        "Tool",
        "Webhook",
        "File",
        "chat",
        "data",
        "handoff",
        "unknown",
        "Heartbeat",
        "heartbeat",
        "connected",
        "disconnected",
    ],
    options: OPTIONS,
    plan,
    answer,
    obtained: |_, _| Obtained::Failed,
    history: Some(History {
        first_page: |_| String::from("1"),
        read,
        is_newest_first: true,
        read_index: |_| None,
    }),
    session: |start| Box::new(Xians::new(start, Memory::new(start.seed))),
};

/// Asked of the backend, whatever the clients' own heartbeats are: it tells that the stream
/// lives, and the stream is shared by clients that differ.
const HEARTBEAT_SECS: u64 = 10;
/// So many heartbeats may be missed, and then some seconds of grace, before the stream counts
/// as dead.
const HEARTBEATS_MISSED: u64 = 3;
const GRACE_SECS: u64 = 10;
/// A workflow with more colons than this is taken for a workflow id by the backend.
const TYPE_COLONS_MAX: usize = 1;

const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "api_key",
        kind: OptionKind::Secret,
        is_required: false,
        doc: "An API key (`sk-Xnai-...`), fixed or passed from the client; this or `bearer`.",
    },
    OptionSpec {
        name: "bearer",
        kind: OptionKind::Secret,
        is_required: false,
        doc: "A JWT, fixed or passed from the client (`{query.access_token}`); this or `api_key`.",
    },
    OptionSpec {
        name: "credential_in",
        kind: OptionKind::Word(&["header", "query"]),
        is_required: false,
        doc: "Where the credential is sent: `header` as `Authorization: Bearer` (default), `query` \
              as the parameter `apikey` or `access_token`, which ends up in more logs.",
    },
    OptionSpec {
        name: "tenant",
        kind: OptionKind::Template,
        is_required: false,
        doc: "The backend's tenant; default `{tenantId}`.",
    },
    OptionSpec {
        name: "workflow",
        kind: OptionKind::Template,
        is_required: false,
        doc: "The backend's workflow type or id; default: the client's workflow, in the form \
              that the backend takes.",
    },
    OptionSpec {
        name: "heartbeat",
        kind: OptionKind::Secs { min: 1, max: 300 },
        is_required: false,
        doc: "How often the backend is asked for a sign of life; default 10s.",
    },
    OptionSpec {
        name: "unwrap_data",
        kind: OptionKind::Bool,
        is_required: false,
        doc: "Turns `data` that is JSON text inside a string into the JSON it holds; \
              default false.",
    },
];

fn plan(options: &Options) -> Result<Plan, String> {
    let tenant = match options.template("tenant") {
        Some(tenant) => tenant.clone(),
        None => template("{tenantId}")?,
    };
    let workflow = options.template("workflow").map_or_else(
        || client_workflow(tenant.clone()),
        |workflow| Piece::value(workflow, Place::Query),
    );
    let heartbeat_secs = options.secs("heartbeat").unwrap_or(HEARTBEAT_SECS);
    let mut query = vec![
        ("workflow", workflow),
        ("participantId", Piece::value(&template("{participantId}")?, Place::Query)),
        ("tenantId", Piece::value(&tenant, Place::Query)),
        ("heartbeatSeconds", Piece::value(&template(&heartbeat_secs.to_string())?, Place::Query)),
    ];
    let mut headers = vec![
        ("Accept", Piece::fixed("text/event-stream")),
        ("Accept-Encoding", Piece::fixed("identity")),
        ("Cache-Control", Piece::fixed("no-cache")),
    ];
    let (credential, parameter) = match (options.template("api_key"), options.template("bearer")) {
        (Some(key), None) => (key, "apikey"),
        (None, Some(token)) => (token, "access_token"),
        (None, None) => {
            return Err(
                "set `api_key` or `bearer`: the backend answers nobody without one".to_owned()
            );
        }
        (Some(_), Some(_)) => return Err("set only one of `api_key` and `bearer`".to_owned()),
    };
    if options.word("credential_in") == Some("query") {
        query.push((parameter, Piece::value(credential, Place::Query)));
    } else {
        // The backend tells a key from a token by its form, not by how it was sent.
        headers
            .push(("Authorization", Piece::fixed("Bearer ").then_value(credential, Place::Header)));
    }
    let pass = pass(&query, &headers);
    // Without a scope the history has only what has none, where the stream has all.
    let history = HistoryPlan {
        whole: Some(past(&query, &headers, false)),
        part: Some(past(&query, &headers, true)),
        index: None,
    };
    let mut values = Vec::new();
    if options.bool("unwrap_data") {
        values.push((UNWRAP_DATA, Piece::fixed("true")));
    }
    Ok(Plan {
        call: CallPlan {
            path: Piece::fixed("/api/user/sse/events"),
            query,
            headers,
            ..CallPlan::default()
        },
        values,
        history: Some(history),
        silence_secs: HEARTBEATS_MISSED * heartbeat_secs + GRACE_SECS,
        pass,
        ..Plan::default()
    })
}

type Pieces = [(&'static str, Piece)];

/// A page of the history.
fn past(query: &Pieces, headers: &Pieces, has_scope: bool) -> CallPlan {
    let mut query: Vec<_> =
        query.iter().filter(|(name, _)| *name != "heartbeatSeconds").cloned().collect();
    query.push(("page", Piece::hole(PAGE, Place::Query)));
    query.push(("pageSize", Piece::fixed("50")));
    if has_scope {
        query.push(("scope", Piece::hole(KEY, Place::Query)));
    }
    let mut headers = headers.to_vec();
    if let Some((_, accept)) = headers.first_mut() {
        *accept = Piece::fixed("application/json");
    }
    let path = Piece::fixed("/api/user/rest/history");
    CallPlan { path, query, headers, ..CallPlan::default() }
}

/// Calls of clients, of the subscription and with the credential of the stream.
fn pass(query: &Pieces, headers: &Pieces) -> PassPlan {
    let passed = query.iter().filter(|(name, _)| *name != "heartbeatSeconds");
    PassPlan {
        query: passed.cloned().collect(),
        headers: headers.iter().filter(|(name, _)| *name == "Authorization").cloned().collect(),
        // The id of a key is a credential to the backend, and wins over a header.
        stripped: &["apikeyId", "apikey", "access_token"],
        is_events,
        // A message that was sent with a token in its header has that token for its origin.
        private_keys: &["origin"],
        ..PassPlan::default()
    }
}

/// The server's three streams. Their participant filter does not hold, or they have none.
fn is_events(_method: &str, path: &str) -> bool {
    let segments = segments(path);
    let is = |segment: &&str, name: &str| segment.eq_ignore_ascii_case(name);
    segments.iter().any(|segment| is(segment, "sse"))
        || segments.last().is_some_and(|last| is(last, "events") || is(last, "listen"))
}

/// The key under which the session learns of the option.
const UNWRAP_DATA: &str = "unwrap_data";

fn template(text: &str) -> Result<Template, String> {
    Template::parse(text).map_err(|error| error.to_string())
}

/// The client's workflow as the backend reads it: with up to one colon a type, which it puts
/// the tenant in front of; with more an id, which must already start with the tenant.
fn client_workflow(tenant: Template) -> Piece {
    Piece::made(move |variables: &dyn Variables| {
        let workflow = variables
            .value(&Variable::Workflow)
            .filter(|workflow| !workflow.is_empty())
            .ok_or(crate::proto::template::ResolveError::Missing(Variable::Workflow))?;
        let mut out = String::new();
        if workflow.matches(':').count() > TYPE_COLONS_MAX {
            out.push_str(&tenant.resolve(variables, Place::Query)?);
            percent_encode(&mut out, ":");
        }
        percent_encode(&mut out, &workflow);
        Ok(out)
    })
}

const fn answer(status: u16, _body: &str) -> Answer {
    match status {
        200 => Answer::Events,
        401 | 403 => Answer::Unauthorized,
        429 => Answer::RateLimited,
        _ => Answer::Bad,
    }
}

/// The most that a page of the history holds, as it is asked for.
const PAGE_ENTRIES: usize = 50;

/// The history is a bare array, newest first.
fn read<'a>(answer: &'a str, wanted: &Wanted<'_>) -> Option<Page<'a>> {
    let elements = json::array(json::value(answer)?)?;
    let entry = |raw: &'a serde_json::value::RawValue| {
        let object = Object::parse_part(raw.get()).unwrap_or_default();
        let at = object.text("createdAt").and_then(|time| UnixMillis::parse_rfc3339(&time));
        let event = object.word("messageType").unwrap_or(Cow::Borrowed("unknown"));
        Past { at, event, data: Cow::Borrowed(raw.get()) }
    };
    let entries: Vec<Past<'a>> = elements.into_iter().map(entry).collect();
    let oldest = entries.last().and_then(|entry| entry.at);
    let has_more =
        entries.len() >= PAGE_ENTRIES && oldest.is_none_or(|oldest| oldest >= wanted.since);
    let next = wanted.page.parse::<u32>().ok().filter(|_| has_more).map(|page| page + 1);
    Some(Page { entries, next: next.map(|page| page.to_string()) })
}

/// The message object: what is told of it, to be read where it is needed.
struct Message<'a> {
    id: Option<View<'a>>,
    thread_id: Option<View<'a>>,
    participant_id: Option<View<'a>>,
    workflow_id: Option<View<'a>>,
    workflow_type: Option<View<'a>>,
    direction: Option<View<'a>>,
    text: Option<View<'a>>,
    data: Option<View<'a>>,
    hint: Option<View<'a>>,
    scope: Option<View<'a>>,
    request_id: Option<View<'a>>,
    created_at: Option<View<'a>>,
    created_by: Option<View<'a>>,
}

impl<'a> Message<'a> {
    fn new(object: View<'a>) -> Self {
        pick!(
            object,
            id = "id",
            thread_id = "threadId",
            participant_id = "participantId",
            workflow_id = "workflowId",
            workflow_type = "workflowType",
            direction = "direction",
            text = "text",
            data = "data",
            hint = "hint",
            scope = "scope",
            request_id = "requestId",
            created_at = "createdAt",
            created_by = "createdBy",
        );
        Self {
            id,
            thread_id,
            participant_id,
            workflow_id,
            workflow_type,
            direction,
            text,
            data,
            hint,
            scope,
            request_id,
            created_at,
            created_by,
        }
    }

    fn direction(&self) -> Direction {
        match self.direction.and_then(|word| word.as_text()).as_deref() {
            Some("Incoming") => Direction::Incoming,
            _ => Direction::Outgoing,
        }
    }

    fn created_at(&self) -> Option<UnixMillis> {
        UnixMillis::parse_rfc3339(&self.created_at?.as_text()?)
    }

    fn data(&self, unwraps: bool) -> Option<Json<'a>> {
        let data = self.data?;
        if unwraps
            && let Some(text) = data.as_text()
            && let Some(inner) = Index::scan(&text)
        {
            let inner = inner.root().raw();
            return (inner != "null").then(|| Cow::Owned(inner.to_owned()));
        }
        Some(Cow::Borrowed(data.raw()))
    }
}

/// A string; numbers become their digits.
fn string(value: Option<View<'_>>) -> Option<Text<'_>> {
    let value = value?;
    value.as_text().or_else(|| value.as_id())
}

fn id(value: Option<View<'_>>) -> Option<Text<'_>> {
    value?.as_id()
}

/// What a frame's name says.
enum Name {
    Liveness,
    Control,
    Message(MessageType),
    Other,
}

impl Name {
    fn parse(event: &str) -> Self {
        match event {
            "heartbeat" | "Heartbeat" => Self::Liveness,
            "connected" | "disconnected" => Self::Control,
            "Chat" | "chat" => Self::Message(MessageType::Chat),
            "Data" | "data" | "unknown" => Self::Message(MessageType::Data),
            "Handoff" | "handoff" => Self::Message(MessageType::Handoff),
            "Reasoning" => Self::Message(MessageType::Reasoning),
            "Tool" => Self::Message(MessageType::Tool),
            "Webhook" => Self::Message(MessageType::Webhook),
            "File" => Self::Message(MessageType::File),
            _ => Self::Other,
        }
    }
}

struct Xians {
    subscription: Arc<Subscription>,
    memory: Memory,
    unwraps: bool,
    /// Scopes that were seen: histories are read by scope.
    scopes: BTreeSet<String>,
    /// There were more than are remembered.
    has_more_scopes: bool,
}

impl Xians {
    fn new(start: &SessionStart<'_>, memory: Memory) -> Self {
        let unwraps = start.values.get(UNWRAP_DATA).is_some_and(|value| value == "true");
        Self {
            subscription: start.subscription.clone(),
            memory,
            unwraps,
            scopes: BTreeSet::new(),
            has_more_scopes: false,
        }
    }

    /// The message, if it is the subscription's own.
    fn own<'a>(&self, index: Option<&'a Index<'a>>) -> Result<Message<'a>, Reject> {
        const FOREIGN: Reject =
            Reject::Discard(Discard::Foreign, "names no participant, or another");
        // JSON without an owner is somebody else's; what is no JSON may be.
        let index = index.ok_or(Reject::Ownerless("no JSON"))?;
        let message = Message::new(index.root());
        let owner = message.participant_id.and_then(|owner| owner.as_text()).ok_or(FOREIGN)?;
        // The backend writes the id in lower case, whatever the client sent.
        if !unicase::eq(&*owner, &self.subscription.participant_id) {
            return Err(FOREIGN);
        }
        Ok(message)
    }
}

impl Xians {
    /// Maps a frame, or an entry of the history.
    fn on_message(
        &mut self,
        input: Input<'_>,
        is_past: bool,
        out: &mut Outbox<'_>,
    ) -> Result<(), Reject> {
        let message_type = match Name::parse(input.event) {
            Name::Liveness => return Err(Reject::Discard(Discard::Liveness, "a sign of life")),
            Name::Control => {
                return Err(Reject::Discard(Discard::Control, "about the upstream stream"));
            }
            Name::Message(message_type) => Some(message_type),
            Name::Other => None,
        };
        let index = Index::scan(input.data);
        let message = self.own(index.as_ref())?;
        let (own_id, thread_id) = (id(message.id), id(message.thread_id));
        // The stream never tells what the participant said.
        if is_past && message.direction() == Direction::Incoming {
            return Err(Reject::Discard(Discard::Filtered, "said by the participant"));
        }
        let thread = thread_id.as_deref().unwrap_or_default();
        let is_repeat = own_id.as_deref().is_some_and(|id| match is_past {
            true => self.memory.is_known(thread, id),
            false => self.memory.is_repeat(thread, id, input.data),
        });
        if is_repeat {
            return Err(Reject::Discard(Discard::Duplicate, "seen before"));
        }
        let Some(message_type) = message_type else {
            return Err(Reject::Unmapped { conversation_id: thread_id.map(Cow::into_owned) });
        };
        let direction = message.direction();
        let created_by = string(message.created_by);
        let sender = created_by.as_ref().filter(|name| !name.is_empty()).map(|name| Sender {
            id: Some(name.clone()),
            name: None,
            role: match direction {
                Direction::Outgoing => Role::Bot,
                Direction::Incoming => Role::Participant,
            },
        });
        let scope = string(message.scope);
        if let Some(scope) = scope.as_deref().filter(|scope| !scope.is_empty())
            && !self.scopes.contains(scope)
        {
            if self.scopes.len() < KEYS_MAX {
                self.scopes.insert(scope.to_owned());
            } else {
                self.has_more_scopes = true;
            }
        }
        let payload = Payload::Passed { message_type, data: message.data(self.unwraps) };
        out.emit(Event {
            id: own_id.map_or_else(EventId::minted, EventId::given),
            conversation_id: thread_id.clone(),
            thread_id,
            workflow_id: id(message.workflow_id),
            workflow_type: id(message.workflow_type),
            direction,
            text: string(message.text),
            hint: string(message.hint),
            scope,
            request_id: string(message.request_id),
            sender,
            created_by,
            created_at: message.created_at(),
            ..Event::new(input.event, payload)
        });
        Ok(())
    }
}

impl Session for Xians {
    fn on_frame(&mut self, input: Input<'_>, out: &mut Outbox<'_>) -> Result<(), Reject> {
        self.on_message(input, false, out)
    }

    fn on_past(
        &mut self,
        _scope: &str,
        entry: Input<'_>,
        out: &mut Outbox<'_>,
    ) -> Result<(), Reject> {
        self.on_message(entry, true, out)
    }

    fn past_keys(&self) -> PastKeys {
        PastKeys { names: self.scopes.clone(), is_all: !self.has_more_scopes }
    }

    fn has_scopes(&self) -> bool {
        true
    }

    fn fork(&self, start: &SessionStart<'_>) -> Box<dyn Session> {
        let (scopes, has_more_scopes) = (self.scopes.clone(), self.has_more_scopes);
        Box::new(Self { scopes, has_more_scopes, ..Self::new(start, self.memory.clone()) })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::proto::backend::Credential;
    use crate::proto::backend::dialect::OptionValue;
    use crate::proto::backend::golden;
    use crate::proto::secret::Secret;

    #[test]
    fn samples_come_out_as_blessed() {
        golden::check_all("xians");
    }

    #[test]
    fn broken_samples_are_accounted_for() {
        golden::check_mutations("xians");
    }

    #[track_caller]
    fn check(event: &str, data: &str, want: &[&str]) {
        golden::check("xians", &[], &[(event, data)], want);
    }

    #[test]
    fn signs_of_life_and_control_are_counted_by_name() {
        for data in ["{}", "broken", r#"{"participantId":"jane"}"#] {
            check("heartbeat", data, &["!liveness"]);
            check("Heartbeat", data, &["!liveness"]);
            check("connected", data, &["!control"]);
            check("disconnected", data, &["!control"]);
        }
        check("HEARTBEAT", r#"{"participantId":"bob"}"#, &["!foreign"]);
    }

    #[test]
    fn every_message_type_passes_under_its_name() {
        for (event, want) in [
            ("Chat", "Chat"),
            ("Data", "Data"),
            ("Handoff", "Handoff"),
            ("Reasoning", "Reasoning"),
            ("Tool", "Tool"),
            ("Webhook", "Webhook"),
            ("File", "File"),
            ("chat", "Chat"),
            ("data", "Data"),
            ("handoff", "Handoff"),
            ("unknown", "Data"),
        ] {
            // The name of the frame wins over the type inside.
            let data =
                r#"{"participantId":"jane","messageType":"Webhook","text":"t","data":[1.50]}"#;
            let want =
                format!(r#"{{"id":"minted","messageType":"{want}","text":"t","data":[1.50]}}"#);
            check(event, data, &[&want]);
        }
    }

    #[test]
    fn the_message_object_passes_and_nulls_are_dropped() {
        check(
            "Chat",
            r#"{"id":"1","threadId":"t","workflowId":"w:x","workflowType":"x","participantId":"JANE",
                "direction":"Outgoing","messageType":"Chat","text":"","data":null,"hint":"h","scope":"s",
                "requestId":"r","createdAt":"2026-01-19T18:43:09.0749999Z","createdBy":"a","extra":1}"#,
            &[
                r#"{"id":"1","threadId":"t","conversationId":"t","workflowId":"w:x","workflowType":"x",
                "messageType":"Chat","text":"","hint":"h","scope":"s","requestId":"r",
                "createdAt":"2026-01-19T18:43:09.074Z","createdBy":"a","sender":{"id":"a","role":"bot"}}"#,
            ],
        );
        check(
            "Chat",
            r#"{"id":null,"threadId":null,"participantId":"jane","text":null,"data":null,"hint":null,"scope":null,
                "requestId":null,"createdAt":"soon","createdBy":null,"workflowId":null}"#,
            &[r#"{"id":"minted","messageType":"Chat"}"#],
        );
        check(
            "Chat",
            r#"{"id":7,"threadId":8,"participantId":"jane","direction":"Incoming","createdBy":"jane"}"#,
            &[
                r#"{"id":"7","threadId":"8","conversationId":"8","messageType":"Chat","direction":"Incoming",
                "createdBy":"jane","sender":{"id":"jane","role":"participant"}}"#,
            ],
        );
    }

    #[test]
    fn data_leaves_as_the_text_it_came_as() {
        let subscription = Subscription::new("acme", "support", "jane");
        let start = SessionStart { subscription, values: &BTreeMap::new(), seed: 1 };
        let mut session = Xians::new(&start, Memory::new(1));
        let raw = r#"{"b":1.10,"a":9007199254740993,"b":"\u0041\ud800","n":null}"#;
        let data = format!(r#"{{"participantId":"jane","data":{raw}}}"#);
        let mut seen = None;
        let mut sink = |event: Event<'_>| {
            if let Payload::Passed { data, .. } = event.payload {
                seen = data.map(Cow::into_owned);
            }
        };
        session
            .on_frame(Input { event: "Data", data: &data }, &mut Outbox::new(&mut sink))
            .expect("mapped");
        assert_eq!(seen.as_deref(), Some(raw));
    }

    #[test]
    fn other_owners_are_foreign() {
        for data in [
            r#"{"participantId":"bob"}"#,
            r#"{"participantId":"jane "}"#,
            r#"{"participantId":""}"#,
            r#"{"participantId":null}"#,
            r#"{"participantId":7}"#,
            r#"{"participantId":["jane"]}"#,
            r#"{"ParticipantId":"jane"}"#,
            "{}",
            "[]",
            "null",
            "\"jane\"",
        ] {
            for event in ["Chat", "unknown", "message", "new"] {
                check(event, data, &["!foreign"]);
            }
        }
        let too_deep =
            format!(r#"{{"participantId":"jane","data":{}{}}}"#, "[".repeat(200), "]".repeat(200));
        for data in ["", "{", "jane", r#"{"participantId":"jane""#, &too_deep] {
            check("Chat", data, &["!malformed"]);
            check("new", data, &["!malformed"]);
        }
    }

    #[test]
    fn owners_are_compared_by_unicode_case_folding() {
        for (subscribed, sent, is_own) in [
            ("Jane.Doe@Example.com", "jane.doe@example.com", true),
            ("STRASSE", "straße", true),
            ("STRA\u{1E9E}E", "strasse", true),
            ("ΟΔΥΣΣΕΥΣ", "οδυσσευς", true),
            ("οδυσσευσ", "οδυσσευς", true),
            ("\u{212A}im", "kim", true),
            ("\u{130}x", "i\u{307}x", true),
            ("\u{130}x", "ix", false),
            ("é", "É", true),
            ("é", "e", false),
            ("jane", "jan", false),
        ] {
            let subscription = Subscription::new("acme", "support", subscribed);
            let start = SessionStart { subscription, values: &BTreeMap::new(), seed: 1 };
            let session = Xians::new(&start, Memory::new(1));
            let data = format!(r#"{{"participantId":"{sent}"}}"#);
            assert_eq!(
                session.own(Index::scan(&data).as_ref()).is_ok(),
                is_own,
                "{subscribed} {sent}"
            );
        }
    }

    #[test]
    fn repeats_are_duplicates_within_their_thread() {
        let message = |thread: &str, text: &str| {
            format!(r#"{{"id":"1","threadId":"{thread}","participantId":"jane","text":"{text}"}}"#)
        };
        let (first, edit, other) = (message("t", "a"), message("t", "b"), message("u", "a"));
        let event = |thread: &str, text: &str| {
            format!(
                r#"{{"id":"1","threadId":"{thread}","conversationId":"{thread}","messageType":"Chat","text":"{text}"}}"#
            )
        };
        golden::check(
            "xians",
            &[],
            &[
                ("Chat", &first),
                ("Chat", &first),
                ("Chat", &edit),
                ("Chat", &other),
                ("Chat", &edit),
            ],
            &[&event("t", "a"), "!duplicate", &event("t", "b"), &event("u", "a"), "!duplicate"],
        );
        let minted = r#"{"participantId":"jane"}"#;
        let want = r#"{"id":"minted","messageType":"Chat"}"#;
        golden::check("xians", &[], &[("Chat", minted), ("Chat", minted)], &[want, want]);
    }

    #[test]
    fn unknown_names_are_raw() {
        check(
            "message",
            r#"{"id":"1","threadId":"t","participantId":"jane","x":1.0}"#,
            &[r#"{"id":"minted","conversationId":"t","messageType":"Raw",
                "data":{"event":"message","body":{"id":"1","threadId":"t","participantId":"jane","x":1.0}}}"#],
        );
    }

    #[test]
    fn data_within_a_string_is_unwrapped_on_demand() {
        for (sent, plain, unwrapped) in [
            (r#""\"available\"""#, Some(r#""\"available\"""#), Some(r#""available""#)),
            (r#""42""#, Some(r#""42""#), Some("42")),
            (r#"" {\"a\":1.0} ""#, Some(r#"" {\"a\":1.0} ""#), Some(r#"{"a":1.0}"#)),
            (r#""\"\\u00e9\"""#, Some(r#""\"\\u00e9\"""#), Some(r#""\u00e9""#)),
            (r#""hello""#, Some(r#""hello""#), Some(r#""hello""#)),
            (r#""""#, Some(r#""""#), Some(r#""""#)),
            (r#""null""#, Some(r#""null""#), None),
            ("[1]", Some("[1]"), Some("[1]")),
            ("null", None, None),
        ] {
            let data = format!(r#"{{"data":{sent}}}"#);
            let index = Index::scan(&data).expect("JSON");
            let message = Message::new(index.root());
            assert_eq!(message.data(false).as_deref(), plain, "{sent}");
            assert_eq!(message.data(true).as_deref(), unwrapped, "{sent}");
        }
    }

    #[test]
    fn the_session_learns_of_unwrap_data() {
        let frame = ("Data", r#"{"participantId":"jane","data":"42"}"#);
        let want = |data: &str| format!(r#"{{"id":"minted","messageType":"Data","data":{data}}}"#);
        golden::check("xians", &[], &[frame], &[&want("\"42\"")]);
        golden::check("xians", &[(UNWRAP_DATA, "true")], &[frame], &[&want("42")]);
    }

    /// A client's values.
    struct Client {
        tenant: &'static str,
        workflow: &'static str,
    }

    impl Variables for Client {
        fn value(&self, variable: &Variable) -> Option<Cow<'_, str>> {
            match variable {
                Variable::TenantId => Some(self.tenant.into()),
                Variable::Workflow => Some(self.workflow.into()),
                Variable::WorkflowId => Some(format!("{}:{}", self.tenant, self.workflow).into()),
                Variable::ParticipantId => Some("jane@x".into()),
                Variable::Query(name) if name == "token" => Some("t&1".into()),
                Variable::ParticipantUuid
                | Variable::Query(_)
                | Variable::Header(_)
                | Variable::Claim(_) => None,
            }
        }
    }

    fn options(rows: &[(&'static str, &str)]) -> Options {
        let value = |name: &str, text: &str| match name {
            "heartbeat" => OptionValue::Secs(text.parse().expect("seconds")),
            "credential_in" => OptionValue::Word(text.to_owned()),
            "unwrap_data" => OptionValue::Bool(text == "true"),
            _ if text.contains('{') => {
                OptionValue::Template(Template::parse(text).expect("a template"))
            }
            _ => OptionValue::Template(Template::literal(Secret::new(text.to_owned()))),
        };
        Options(rows.iter().map(|(name, text)| (*name, value(name, text))).collect())
    }

    #[track_caller]
    fn check_plan(
        rows: &[(&'static str, &str)],
        client: &Client,
        want_query: &str,
        want_authorization: Option<&str>,
    ) {
        let plan = plan(&options(rows)).expect("a plan");
        let Ok((request, _)) = plan.resolve("/base/", client) else { panic!("not resolved") };
        let message = request.call.fill(&Credential::default()).expect("filled");
        assert_eq!(message.target, format!("/base/api/user/sse/events?{want_query}"));
        let header = |name: &str| {
            message.headers.iter().find(|(key, _)| *key == name).map(|(_, value)| value.as_str())
        };
        assert_eq!(header("Authorization"), want_authorization);
        assert_eq!(header("Accept"), Some("text/event-stream"));
        assert_eq!(header("Accept-Encoding"), Some("identity"));
        assert!(
            request.resume_header.is_none() && message.fresh_query.is_none(),
            "nothing is replayed"
        );
    }

    #[test]
    fn the_stream_is_asked_for_as_the_backend_reads_it() {
        let client = Client { tenant: "acme", workflow: "Support Agent:Main" };
        let rest = "participantId=jane%40x&tenantId=acme&heartbeatSeconds=10";
        check_plan(
            &[("api_key", "sk-Xnai-1")],
            &client,
            &format!("workflow=Support%20Agent%3AMain&{rest}"),
            Some("Bearer sk-Xnai-1"),
        );
        check_plan(
            &[("api_key", "sk-Xnai-1"), ("credential_in", "query"), ("heartbeat", "60")],
            &client,
            "workflow=Support%20Agent%3AMain&participantId=jane%40x&tenantId=acme&heartbeatSeconds=60&apikey=sk-Xnai-1",
            None,
        );
        check_plan(
            &[
                ("bearer", "{query.token}"),
                ("credential_in", "query"),
                ("workflow", "w"),
                ("tenant", "{tenantId}x"),
            ],
            &client,
            "workflow=w&participantId=jane%40x&tenantId=acmex&heartbeatSeconds=10&access_token=t%261",
            None,
        );
        check_plan(
            &[("bearer", "{query.token}"), ("credential_in", "header")],
            &Client { tenant: "acme", workflow: "support" },
            &format!("workflow=support&{rest}"),
            Some("Bearer t&1"),
        );
    }

    #[test]
    fn workflows_with_two_colons_are_sent_as_ids() {
        check_plan(
            &[("api_key", "k")],
            &Client { tenant: "acme", workflow: "Agent:Flow:x" },
            "workflow=acme%3AAgent%3AFlow%3Ax&participantId=jane%40x&tenantId=acme&heartbeatSeconds=10",
            Some("Bearer k"),
        );
        let plan = plan(&options(&[("api_key", "k")])).expect("a plan");
        let error =
            plan.resolve("", &Client { tenant: "acme", workflow: "" }).err().expect("refused");
        assert_eq!(error.variable(), &Variable::Workflow);
    }

    #[test]
    fn exactly_one_credential_is_wanted() {
        for (rows, word) in [
            (&[][..], "set `api_key` or `bearer`"),
            (&[("api_key", "a"), ("bearer", "b")], "only one"),
        ] {
            let error = plan(&options(rows)).err().expect("refused");
            assert!(error.contains(word), "{error}");
        }
    }

    #[test]
    fn silence_is_three_heartbeats_and_ten_seconds() {
        for (rows, want) in
            [(&[("bearer", "b")][..], 40), (&[("bearer", "b"), ("heartbeat", "300")], 910)]
        {
            assert_eq!(plan(&options(rows)).expect("a plan").silence_secs, want);
        }
    }

    #[test]
    fn answers_are_told_by_their_status() {
        for (status, want) in [
            (200, Answer::Events),
            (204, Answer::Bad),
            (400, Answer::Bad),
            (401, Answer::Unauthorized),
            (403, Answer::Unauthorized),
            (404, Answer::Bad),
            (429, Answer::RateLimited),
            (500, Answer::Bad),
            (503, Answer::Bad),
        ] {
            assert_eq!(answer(status, ""), want, "{status}");
        }
    }

    #[test]
    fn a_fork_remembers_repeats() {
        let subscription = Subscription::new("acme", "support", "jane");
        let start = SessionStart { subscription, values: &BTreeMap::new(), seed: 1 };
        let mut session = Xians::new(&start, Memory::new(1));
        let input = Input { event: "Chat", data: r#"{"id":"1","participantId":"jane"}"# };
        let mut sink = |_: Event<'_>| {};
        assert!(session.on_frame(input, &mut Outbox::new(&mut sink)).is_ok());
        let again = session.fork(&start).on_frame(input, &mut Outbox::new(&mut sink));
        assert!(matches!(again, Err(Reject::Discard(Discard::Duplicate, _))), "{again:?}");
    }
}
