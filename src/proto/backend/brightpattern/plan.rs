//! How a chat's new events are asked for, and what must be configured for it.
//!
//! The whole credential is public: the launch point, the client's own id and the chat's. Which
//! chat it is says the configuration, or the backend: the one that is active, or a new one.

use std::borrow::Cow;

use crate::proto::backend::{
    CallPlan, Credential, HistoryPlan, Method, Obtained, OptionKind, OptionSpec, Options, PassPlan,
    Piece, Plan, RecipePlan, pass::segments,
};
use crate::proto::json::{Object, push_escaped};
use crate::proto::template::{Place, ResolveError, Template, Variable, Variables};

/// The key under which the session is told of its chat, and the hole for it.
pub(super) const CHAT: &str = "chat";

/// What can be configured.
pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "app_id",
        kind: OptionKind::Secret,
        is_required: true,
        doc: "The id of the launch point (messaging/chat entry) of the contact center.",
    },
    OptionSpec {
        name: "client_id",
        kind: OptionKind::Template,
        is_required: false,
        doc: "Which client this is, unique per person; default `{participantUuid}`.",
    },
    OptionSpec {
        name: "tenant_url",
        kind: OptionKind::Template,
        is_required: true,
        doc: "The domain of the contact center, without `https://`.",
    },
    OptionSpec {
        name: "chat",
        kind: OptionKind::Template,
        is_required: true,
        doc: "The id of the chat, such as `{query.chatId}`; `active` for the one that the client \
              has; `create` to begin one where the client has none.",
    },
    OptionSpec {
        name: "from",
        kind: OptionKind::Template,
        is_required: false,
        doc: "Who begins the chat, in words; only with `chat: create`.",
    },
    OptionSpec {
        name: "parameters",
        kind: OptionKind::Templates,
        is_required: false,
        doc: "What the scenario of a new chat is told, by name; only with `chat: create`.",
    },
];

/// A poll is held for 15 s at most; the vendor's clients give up after 20.
const SILENCE_SECS: u64 = 30;

/// `GET <url>/chats/<chat>/events`, where the source's url ends in `/clientweb/api/v1` or `/v2`.
pub(super) fn plan(options: &Options) -> Result<Plan, String> {
    let required = |name: &str| options.template(name).ok_or_else(|| format!("{name}: is missing"));
    let (app_id, tenant_url, chat) =
        (required("app_id")?, required("tenant_url")?, required("chat")?);
    let client_id = match options.template("client_id") {
        Some(client_id) => client_id.clone(),
        None => {
            Template::parse("{participantUuid}").map_err(|error| format!("client_id: {error}"))?
        }
    };
    if constant(tenant_url).is_some_and(|url| url.contains('/')) {
        return Err("tenant_url: write the bare domain, such as acme.brightpattern.com".to_owned());
    }
    // The backend would tell its clients apart by cookies, of which none are kept here.
    if constant(&client_id).is_some_and(|id| id == "WebChat") {
        return Err("client_id: `WebChat` would be every client at once; leave it out".to_owned());
    }
    let authorization = Piece::fixed("MOBILE-API-140-327-PLAIN appId=\"")
        .then_value(app_id, Place::Quoted)
        .then("\", clientId=\"")
        .then_value(&client_id, Place::Quoted)
        .then("\"");
    let call = |path: Piece| CallPlan {
        path,
        query: vec![("tenantUrl", Piece::value(tenant_url, Place::Query))],
        // Caches on the way have replayed answers "70 times per second".
        fresh_query: Some("nonce"),
        headers: headers(&authorization)
            .into_iter()
            .chain([
                ("Accept", Piece::fixed("application/json")),
                ("Accept-Encoding", Piece::fixed("identity")),
            ])
            .collect(),
        ..CallPlan::default()
    };
    let pass = pass(&authorization, tenant_url);
    let word = constant(chat);
    let has_words = options.template("from").is_some() || options.templates("parameters").is_some();
    let (id, obtain) = match word.as_deref() {
        Some("create") => (None, Some(create(call(Piece::fixed("/chats")), options)?)),
        _ if has_words => return Err("from, parameters: only with `chat: create`".to_owned()),
        Some("active") => (None, Some(call(Piece::fixed("/chats/active")))),
        _ => (Some(chat), None),
    };
    let hole = || Piece::hole(CHAT, Place::Segment);
    let segment = id.map_or_else(hole, |id| Piece::value(id, Place::Segment));
    let of_chat = |last| call(Piece::fixed("/chats/").then_piece(segment.clone()).then(last));
    Ok(Plan {
        call: of_chat("/events"),
        history: Some(HistoryPlan { whole: Some(of_chat("/history")), ..HistoryPlan::default() }),
        values: id.map(|id| (CHAT, Piece::value(id, Place::Plain))).into_iter().collect(),
        silence_secs: SILENCE_SECS,
        recipe: obtain.map(|obtain| RecipePlan { obtain, ..RecipePlan::default() }),
        pass,
        ..Plan::default()
    })
}

/// What every call has.
fn headers(authorization: &Piece) -> [(&'static str, Piece); 3] {
    [
        ("Authorization", authorization.clone()),
        ("User-Agent", Piece::fixed("MobileClient")),
        ("Cache-Control", Piece::fixed("no-cache")),
    ]
}

/// Calls of clients. Which chat they are about stands in their path; the backend knows whose it
/// is by the client's id.
fn pass(authorization: &Piece, tenant_url: &Template) -> PassPlan {
    PassPlan {
        query: vec![("tenantUrl", Piece::value(tenant_url, Place::Query))],
        fresh_query: Some("nonce"),
        headers: headers(authorization).to_vec(),
        stripped: &["timestamp"],
        // Reading consumes: a client that polls would take what the stream waits for.
        is_events: |method, path| method != "POST" && events_of(path).is_some(),
        // Version 1 answers sent events with those that a poll would have told.
        polled: |method, path| {
            let chat = events_of(path).filter(|_| method == "POST")?;
            Some(format!("/chats/{chat}/events"))
        },
        ..PassPlan::default()
    }
}

/// The chat whose events stand at this path, in whatever spelling a server may take for it.
fn events_of(path: &str) -> Option<&str> {
    match segments(path)[..] {
        [chats, chat, events] => {
            let is_it =
                chats.eq_ignore_ascii_case("chats") && events.eq_ignore_ascii_case("events");
            is_it.then_some(chat)
        }
        _ => None,
    }
}

/// Asks for a chat; a client that has one is given that.
fn create(mut call: CallPlan, options: &Options) -> Result<CallPlan, String> {
    call.method = Method::Post;
    call.headers.push(("Content-Type", Piece::fixed("application/json")));
    let mut body = Piece::fixed("{");
    if let Some(from) = options.template("from") {
        body = body.then("\"from\":\"").then_value(from, Place::Json).then("\",");
    }
    body = body.then("\"parameters\":{");
    let parameters = options.templates("parameters").into_iter().flatten();
    for (index, (name, template)) in parameters.enumerate() {
        let mut key = String::from(if index == 0 { "\"" } else { ",\"" });
        push_escaped(&mut key, name);
        key.push_str("\":\"");
        body = body
            .then_piece(Piece::made(move |_| Ok(key.clone())))
            .then_value(template, Place::Json)
            .then("\"");
    }
    call.body = Some(body.then("}}"));
    Ok(call)
}

/// `GET /chats/active` and `POST /chats` answer alike.
pub(super) fn obtained(status: u16, body: &str) -> Obtained {
    match status {
        200 | 201 => match Object::parse(body).and_then(|answer| answer.id("chat_id")) {
            Some(id) => {
                let id = id.into_owned();
                let mut grant = Credential::new([(CHAT, id.clone())]);
                grant.told.insert(CHAT, id);
                Obtained::Granted(grant)
            }
            None => Obtained::Failed,
        },
        401 | 403 => Obtained::Refused,
        404 => Obtained::Absent,
        429 => Obtained::RateLimited,
        _ => Obtained::Failed,
    }
}

/// The text of a template without holes.
fn constant(template: &Template) -> Option<String> {
    struct Nothing;
    impl Variables for Nothing {
        fn value(&self, _: &Variable) -> Option<Cow<'_, str>> {
            None
        }
    }
    let text: Result<String, ResolveError> = template.resolve(&Nothing, Place::Plain);
    text.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::backend::OptionValue;

    fn options(rows: &[(&'static str, &str)]) -> Options {
        let value = |text| OptionValue::Template(Template::parse(text).expect("a template"));
        Options(rows.iter().map(|(name, text)| (*name, value(text))).collect())
    }

    struct Client;

    impl Variables for Client {
        fn value(&self, variable: &Variable) -> Option<Cow<'_, str>> {
            match variable {
                Variable::ParticipantUuid => Some("3f2b8a14-6f0e-4c7d-9d51-2f6d0c1a7e90".into()),
                Variable::Query(name) if name == "chatId" => {
                    Some("d6c1adc2-385b-42e5-9e0a-1883c2bc5f81".into())
                }
                Variable::Query(_) => Some("../x?y\"z\r\n".into()),
                Variable::TenantId
                | Variable::Workflow
                | Variable::WorkflowId
                | Variable::ParticipantId
                | Variable::Header(_)
                | Variable::Claim(_) => None,
            }
        }
    }

    #[test]
    fn the_request_is_as_the_vendor_wants_it() {
        let plan = plan(&options(&[
            ("app_id", "0123456789abcdef0123456789abcdef"),
            ("tenant_url", "acme.brightpattern.com"),
            ("chat", "{query.chatId}"),
        ]))
        .expect("a plan");
        let (request, values) = plan.resolve("/clientweb/api/v2", &Client).expect("a request");
        let message = request.call.fill(&Credential::default()).expect("filled");
        assert_eq!(
            message.target,
            "/clientweb/api/v2/chats/d6c1adc2-385b-42e5-9e0a-1883c2bc5f81/events?tenantUrl=acme.brightpattern.com"
        );
        assert_eq!(message.fresh_query, Some("nonce"));
        let headers: Vec<_> =
            message.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(
            headers,
            [
                (
                    "Authorization",
                    "MOBILE-API-140-327-PLAIN appId=\"0123456789abcdef0123456789abcdef\", \
                 clientId=\"3f2b8a14-6f0e-4c7d-9d51-2f6d0c1a7e90\""
                ),
                ("User-Agent", "MobileClient"),
                ("Cache-Control", "no-cache"),
                ("Accept", "application/json"),
                ("Accept-Encoding", "identity"),
            ]
        );
        assert_eq!(
            values.get(CHAT).map(String::as_str),
            Some("d6c1adc2-385b-42e5-9e0a-1883c2bc5f81")
        );
        assert_eq!(request.silence_secs, SILENCE_SECS);
    }

    #[test]
    fn values_stay_in_their_place() {
        let plan = plan(&options(&[
            ("app_id", "a\"b"),
            ("client_id", "{query.chatId}"),
            ("tenant_url", "x&y"),
            ("chat", "{query.evil}"),
        ]))
        .expect("a plan");
        let (request, _) = plan.resolve("/api", &Client).expect("a request");
        let message = request.call.fill(&Credential::default()).expect("filled");
        assert_eq!(message.target, "/api/chats/..%2Fx%3Fy%22z%0D%0A/events?tenantUrl=x%26y");
        let authorization = "MOBILE-API-140-327-PLAIN appId=\"a%22b\", clientId=\"d6c1adc2-385b-42e5-9e0a-1883c2bc5f81\"";
        assert_eq!(message.headers.first().map(|(_, value)| value.as_str()), Some(authorization));
    }

    #[test]
    fn options_that_cannot_work_are_refused() {
        let all = [("app_id", "a"), ("tenant_url", "x.org"), ("chat", "c")];
        let check = |changed: &(&'static str, &str), want: &str| {
            let mut rows = all.to_vec();
            rows.push(*changed);
            assert_eq!(plan(&options(&rows)).err().as_deref(), Some(want), "{changed:?}");
        };
        check(
            &("tenant_url", "https://x.org"),
            "tenant_url: write the bare domain, such as acme.brightpattern.com",
        );
        check(
            &("client_id", "WebChat"),
            "client_id: `WebChat` would be every client at once; leave it out",
        );
        for missing in all {
            let rows: Vec<_> = all.into_iter().filter(|row| *row != missing).collect();
            assert_eq!(plan(&options(&rows)).err(), Some(format!("{}: is missing", missing.0)));
        }
        for spec in OPTIONS {
            assert_eq!(spec.is_required, all.iter().any(|row| row.0 == spec.name), "{}", spec.name);
        }
    }

    #[test]
    fn the_chat_can_be_the_backends_to_say() {
        let base = [("app_id", "a"), ("tenant_url", "x.org"), ("client_id", "me")];
        let mut options = options(&base);
        let template = |text| Template::parse(text).expect("a template");
        let resolve = |options: &Options| {
            let plan = plan(options).expect("a plan");
            let (request, values) = plan.resolve("/api", &Client).expect("resolved");
            assert!(values.is_empty(), "nothing is known before it is asked");
            let recipe = request.recipe.clone().expect("a recipe");
            let obtain = recipe.obtain.fill(&Credential::default()).expect("filled");
            assert_eq!(obtain.fresh_query, Some("nonce"));
            assert_eq!(obtain.headers.len(), 5 + usize::from(obtain.body.is_some()));
            (request, obtain)
        };
        options.0.insert(CHAT, OptionValue::Template(template("active")));
        let (request, active) = resolve(&options);
        assert_eq!(active.target, "/api/chats/active?tenantUrl=x.org");
        assert_eq!((active.method, active.body), (Method::Get, None));

        assert!(request.call.fill(&Credential::default()).is_none());
        let Obtained::Granted(grant) = obtained(200, r#"{"chat_id":"c/1","state":"ivr"}"#) else {
            panic!("granted")
        };
        let poll = request.call.fill(&grant).expect("filled");
        assert_eq!(poll.target, "/api/chats/c%2F1/events?tenantUrl=x.org");
        assert_eq!(grant.told.get(CHAT).map(String::as_str), Some("c/1"));

        options.0.insert(CHAT, OptionValue::Template(template("create")));
        let (_, create) = resolve(&options);
        assert_eq!(create.target, "/api/chats?tenantUrl=x.org");
        assert_eq!(create.method, Method::Post);
        assert_eq!(create.body.as_deref(), Some(r#"{"parameters":{}}"#));
        let parameters = [("email", "{query.q}@x.org"), ("user_\"platform", "web")]
            .map(|(name, text)| (name.to_owned(), template(text)));
        options.0.insert("parameters", OptionValue::Templates(parameters.into_iter().collect()));
        options.0.insert("from", OptionValue::Template(template("{participantUuid}")));
        let want = "{\"from\":\"3f2b8a14-6f0e-4c7d-9d51-2f6d0c1a7e90\",\"parameters\":\
            {\"email\":\"../x?y\\\"z\\r\\n@x.org\",\"user_\\\"platform\":\"web\"}}";
        assert_eq!(resolve(&options).1.body.as_deref(), Some(want));

        options.0.insert(CHAT, OptionValue::Template(template("active")));
        assert!(plan(&options).is_err(), "an active chat has its words already");
    }

    #[test]
    fn answers_about_a_chat_are_read() {
        assert!(matches!(obtained(404, r#"{"error_code":"5005"}"#), Obtained::Absent));
        assert!(matches!(obtained(403, ""), Obtained::Refused));
        assert!(matches!(obtained(401, ""), Obtained::Refused));
        assert!(matches!(obtained(429, ""), Obtained::RateLimited));
        assert!(matches!(obtained(200, ""), Obtained::Failed));
        assert!(matches!(obtained(500, ""), Obtained::Failed));
    }
}
