//! Credentials that a source gets, keeps, renews and is refused.
//!
//! One row per backend and way; the scripted backends tell what they were sent, in which order
//! and how often. Not here: credentials of clients (`auth`), of what else backends receive
//! (`hygiene`).

use bytes::Bytes;
use chatmux::scripted::{Audience, Backend, Conversation, Fault, Kind, On, Options, Request, Step};

use crate::support::{
    Client, Conf, Edge, EventSource, backend, backend_with, jane, options, say, source_name,
};

const LOGIN: &str = "login: {username: \"{participantId}\", password: s3cret}";
const ANONYMOUS: &str = "org_id: \"00D000000000001\", anonymous: {deployment: Web_Chat}";
const CHAT: &str = "app_id: webchat, tenant_url: acme.example.com";

/// A source of these options in front of a backend.
fn entry(name: &str, backend: &Backend, options: &str) -> String {
    format!("{name}: {{backend: {}, url: \"{}\", {options}}}", backend.kind().name(), backend.url())
}

struct Bench {
    backend: Backend,
    edge: Edge,
}

impl Bench {
    async fn start(kind: Kind, source: &str, change: impl FnOnce(&mut Options)) -> Self {
        let mut options = options(kind);
        change(&mut options);
        let backend = backend_with(kind, options).await;
        let entry = entry("s", &backend, source);
        let edge = Edge::start(&Conf::new().entry("s", entry).yaml()).await;
        Self { backend, edge }
    }

    async fn open(&self, client: &Client) -> EventSource {
        let mut stream = self.edge.open(client).await;
        stream.all_up(&["s"]).await;
        stream
    }

    /// Methods and paths of all requests, in order.
    fn asked(&self) -> Vec<String> {
        let requests = self.backend.requests();
        requests.iter().map(|request| format!("{} {}", request.method, request.path())).collect()
    }

    fn first(&self, path: &str) -> Request {
        let mut requests = self.backend.requests().into_iter();
        requests.find(|request| request.path().contains(path)).expect("it was asked")
    }

    async fn credentials(&self, outcome: &str) -> u64 {
        let labels = [("outcome", outcome)];
        self.edge.metrics().await.sum("chatmux_upstream_credentials_total", &labels)
    }

    async fn check_law(&self) {
        self.edge.check_law(&[("s", &self.backend)]).await;
    }
}

fn json(status: u16, body: &'static str) -> Fault {
    let headers = vec![("Content-Type".to_owned(), "application/json".to_owned())];
    Fault::Status(status, headers, Bytes::from_static(body.as_bytes()))
}

#[tokio::test]
async fn openfire_is_logged_in_once_for_all_tabs_of_a_user() {
    let bench = Bench::start(Kind::Openfire, LOGIN, |options| {
        options.passwords = vec![("jane".into(), "s3cret".into()), ("joe".into(), "s3cret".into())];
    })
    .await;
    let mut tabs = Vec::new();
    for _ in 0..5 {
        tabs.push(bench.open(&Client::new("jane")).await);
    }
    let mut joe = bench.open(&Client::new("joe")).await;
    let [login, stream] =
        ["POST /sparkweb/api/rest/login/jane", "GET /sparkweb/sse"].map(str::to_owned);
    let of_joe = login.replace("jane", "joe");
    assert_eq!(bench.asked(), [login, stream.clone(), of_joe, stream]);
    let login = bench.first("/login/jane");
    assert_eq!(&login.body[..], b"s3cret", "the bare password");
    let names: Vec<_> = login.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    let want = ["host", "accept", "accept-encoding", "content-type", "content-length"];
    assert_eq!(names, want, "no Origin, no X-Forwarded-For");
    say(&bench.backend, "hello");
    for tab in &mut tabs {
        tab.chat("hello").await;
    }
    let said = Step::AgentSays("for joe".to_owned());
    bench.backend.speak(&Audience::new("joe"), &Conversation::new(Vec::new()), &said);
    let first = joe.message().await;
    assert_eq!(first.at("/text"), "for joe", "and nothing else");
    assert_eq!(bench.credentials("obtained").await, 2);
    bench.check_law().await;
}

#[tokio::test]
async fn openfire_is_logged_in_again_when_its_token_is_unknown() {
    let bench = Bench::start(Kind::Openfire, LOGIN, |_| {}).await;
    let mut client = bench.open(&Client::new("jane")).await;
    // As after a restart of the plugin.
    bench.backend.expire_tokens();
    bench.backend.end_streams();
    client.next_of(&["source_up"]).await;
    say(&bench.backend, "back");
    client.chat("back").await;
    let (login, stream) = ("POST /sparkweb/api/rest/login/jane", "GET /sparkweb/sse");
    assert_eq!(bench.asked()[..5], [login, stream, stream, login, stream]);
    assert_eq!(bench.backend.answers_of(503), 1);
    let downs = client.seen().iter().filter(|event| event.name == "source_down");
    assert_eq!(downs.map(|event| event.at("/reason")).collect::<Vec<_>>(), ["closed"]);
    bench.check_law().await;
}

fn exp_and_subject(request: &Request) -> serde_json::Value {
    use base64::Engine as _;
    let payload = request.bearer().and_then(|token| token.split('.').nth(1)).expect("a JWT");
    let payload = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(payload);
    serde_json::from_slice(&payload.expect("base64url")).expect("JSON")
}

#[tokio::test]
async fn salesforce_tokens_are_minted_and_continued_for_one_subject() {
    for (api, mint, renew) in [
        (
            "v2",
            "POST /iamessage/api/v2/authorization/unauthenticated/access-token",
            "GET /iamessage/api/v2/authorization/continuation-access-token",
        ),
        (
            "v1",
            "POST /iamessage/v1/authorization/unauthenticated/accessToken",
            "POST /iamessage/v1/continuityAccessToken",
        ),
    ] {
        let source = ANONYMOUS.replace("Web_Chat", &format!("Web_Chat, api: {api}"));
        let bench = Bench::start(Kind::Salesforce, &source, |options| {
            options.token_lifetime = std::time::Duration::from_secs(4);
        })
        .await;
        let mut client = bench.open(&Client::new("jane")).await;
        let up = client.next_of(&["source_up"]).await;
        assert_eq!(up.data["resumed"], true, "{api}");
        say(&bench.backend, "with another token");
        client.chat("with another token").await;
        let stream = "GET /eventrouter/v1/sse";
        assert_eq!(bench.asked()[..4], [mint, stream, renew, stream], "{api}");
        let streams = bench.backend.event_requests();
        let claims: Vec<_> = streams.iter().map(exp_and_subject).collect();
        assert_eq!(claims[0]["sub"], claims[1]["sub"], "{api}");
        assert_ne!(streams[0].bearer(), streams[1].bearer(), "{api}");
        assert_eq!(streams[0].header("last-event-id"), Some("500"), "{api}");
        assert_eq!(streams[0].header("x-org-id"), Some("00D000000000001"), "{api}");
        let downs = client.seen().iter().filter(|event| event.name == "source_down").count();
        assert_eq!((downs, bench.backend.answers_of(401)), (0, 0), "{api}: before its end");
        assert_eq!(bench.credentials("obtained").await, 1, "{api}");
        bench.check_law().await;
    }
}

#[tokio::test]
async fn both_refusals_of_salesforce_continue_the_token() {
    let text = vec![("Content-Type".to_owned(), "text/plain".to_owned())];
    for refusal in [
        Fault::Status(401, text.clone(), "Jwt is expired".into()),
        json(401, r#"{"status":401,"error":"Unauthorized","path":"/eventrouter/v1/sse"}"#),
        Fault::Status(200, text, "Jwt is expired".into()),
    ] {
        let bench = Bench::start(Kind::Salesforce, ANONYMOUS, |_| {}).await;
        let mut client = bench.open(&Client::new("jane")).await;
        bench.backend.fault(refusal.clone());
        bench.backend.end_streams();
        client.next_of(&["source_up"]).await;
        let (stream, renew) = ("GET /eventrouter/v1/sse", "continuation-access-token");
        let asked = bench.asked();
        assert!(asked[3].ends_with(renew) && asked[4] == stream, "{refusal:?}: {asked:?}");
        let streams = bench.backend.event_requests();
        let subjects: Vec<_> =
            streams.iter().map(|it| exp_and_subject(it)["sub"].clone()).collect();
        assert_eq!(subjects[0], subjects[2], "{refusal:?}");
        assert_eq!(bench.credentials("renewed").await, 1, "{refusal:?}");
        bench.check_law().await;
    }
}

#[tokio::test]
async fn the_first_last_event_id_is_the_tokens_in_any_form() {
    for (answer, want) in [
        (r#"{"accessToken":"t1","lastEventId":"7-a"}"#, Some("7-a")),
        (
            r#"{"accessToken":"t1","lastEventId":12345678901234567890}"#,
            Some("12345678901234567890"),
        ),
        (r#"{"accessToken":"t1","lastEventId":null}"#, None),
        (r#"{"accessToken":"t1"}"#, None),
    ] {
        let bench = Bench::start(Kind::Salesforce, ANONYMOUS, |options| {
            options.tokens = vec![("jane".into(), "t1".into())];
        })
        .await;
        bench.backend.fault_on(On::Path("access-token".into()), 1, json(200, answer));
        let _client = bench.open(&Client::new("jane")).await;
        let stream = &bench.backend.event_requests()[0];
        assert_eq!(stream.header("last-event-id"), want, "{answer}");
        bench.check_law().await;
    }
}

#[tokio::test]
async fn xians_takes_a_key_or_a_token_fixed_or_passed_in_header_or_query() {
    let key = "sk-Xnai-upstream";
    for (source, header, query) in [
        ("api_key: sk-Xnai-upstream", Some("Bearer sk-Xnai-upstream"), None),
        ("api_key: sk-Xnai-upstream, credential_in: query", None, Some(("apikey", key))),
        ("bearer: a.b.c", Some("Bearer a.b.c"), None),
        ("bearer: a.b.c, credential_in: query", None, Some(("access_token", "a.b.c"))),
        ("api_key: \"{query.upstreamKey}\"", Some("Bearer sk-Xnai-upstream"), None),
        (
            "bearer: \"{header.X-Agent-Token}\", credential_in: query",
            None,
            Some(("access_token", "d.e.f")),
        ),
    ] {
        let bench = Bench::start(Kind::Xians, source, |_| {}).await;
        let client = Client::new("jane").query("upstreamKey", key).header("X-Agent-Token", "d.e.f");
        let mut stream = bench.open(&client).await;
        say(&bench.backend, "hello");
        stream.chat("hello").await;
        let request = &bench.backend.event_requests()[0];
        assert_eq!(request.header("authorization"), header, "{source}");
        for name in ["apikey", "access_token", "apikeyId", "upstreamKey"] {
            let want = query.filter(|(parameter, _)| *parameter == name).map(|(_, value)| value);
            assert_eq!(request.query(name).as_deref(), want, "{source} {name}");
        }
        assert_eq!(request.header("x-agent-token"), None, "{source}");
        bench.check_law().await;
    }
}

#[tokio::test]
async fn a_rate_limit_is_obeyed_whoever_sets_it() {
    for (kind, source, path, secs) in [
        (Kind::Xians, "api_key: sk-Xnai-upstream", "/sse/events", 2),
        (Kind::Salesforce, ANONYMOUS, "access-token", 1),
        (Kind::Openfire, LOGIN, "/login/", 1),
    ] {
        let backend = backend(kind).await;
        backend.fault_on(On::Path(path.to_owned()), 1, Fault::rate_limited(secs));
        let edge = Edge::start(&Conf::new().entry("s", entry("s", &backend, source)).yaml()).await;
        let mut client = edge.open(&Client::new("jane")).await;
        client.expect("connected").await;
        let down = client.expect("source_down").await;
        assert_eq!(down.at("/reason"), "rate_limited", "{kind:?}");
        client.all_up(&["s"]).await;
        let requests = backend.requests().into_iter();
        let asked: Vec<_> = requests.filter(|request| request.path().contains(path)).collect();
        let pause = asked[1].at.duration_since(asked[0].at);
        assert!(pause >= std::time::Duration::from_secs(secs), "{kind:?}: {pause:?}");
        edge.check_law(&[("s", &backend)]).await;
    }
}

fn client_id(request: &Request) -> String {
    let authorization = request.header("authorization").expect("a header");
    let rest = authorization
        .strip_prefix("MOBILE-API-140-327-PLAIN appId=\"webchat\", clientId=\"")
        .unwrap_or_else(|| panic!("{authorization}"));
    rest.trim_end_matches('"').to_owned()
}

#[tokio::test]
async fn bright_pattern_knows_each_participant_by_a_uuid_that_stays() {
    let source = format!("{CHAT}, chat: create");
    let bench = Bench::start(Kind::BrightPattern, &source, |options| options.chats.clear()).await;
    let mut ids = Vec::new();
    for participant in ["jane", "joe"] {
        let _stream = bench.open(&Client::new(participant)).await;
        ids.push(client_id(bench.backend.requests().last().expect("a poll")));
    }
    assert_ne!(ids[0], ids[1]);
    for id in &ids {
        let lengths: Vec<_> = id.split('-').map(str::len).collect();
        assert_eq!(lengths, [8, 4, 4, 4, 12], "{id}");
    }
    let of_jane: Vec<_> = bench
        .backend
        .requests()
        .iter()
        .filter(|request| client_id(request) == ids[0])
        .cloned()
        .collect();
    assert_eq!(
        (of_jane[0].method.as_str(), of_jane[0].path()),
        ("POST", "/clientweb/api/v2/chats")
    );
    assert!(of_jane[1].path().ends_with("/events"), "{of_jane:?}");
    // Another edge, the same person, the same chat.
    let again = entry("s", &bench.backend, &source);
    let edge = Edge::start(&Conf::new().entry("s", again).yaml()).await;
    bench.backend.clear_requests();
    let _stream = edge.open(&Client::new("jane")).await;
    edge.until("it has asked", |_| {
        bench
            .backend
            .requests()
            .iter()
            .any(|request| client_id(request) == ids[0] && request.method == "POST")
    })
    .await;
    bench.edge.check_law(&[]).await;
}

#[tokio::test]
async fn bright_pattern_finds_the_active_chat_of_a_client() {
    let source = format!("{CHAT}, client_id: \"client-{{participantId}}\", chat: active");
    let bench = Bench::start(Kind::BrightPattern, &source, |options| {
        options.chats = vec![(jane().conversation, "client-jane".to_owned())];
    })
    .await;
    let mut client = bench.open(&Client::new("jane")).await;
    say(&bench.backend, "hello");
    client.chat("hello").await;
    let poll = format!("GET /clientweb/api/v2/chats/{}/events", jane().conversation);
    assert_eq!(bench.asked()[..2], ["GET /clientweb/api/v2/chats/active".to_owned(), poll]);
    assert_eq!(bench.first("/active").query("tenantUrl").as_deref(), Some("acme.example.com"));
    bench.check_law().await;
}

#[tokio::test]
async fn refused_credentials_put_one_source_down_and_no_other() {
    for (kind, source, status, path, secret) in [
        (Kind::Openfire, LOGIN, 500, "/login/", "s3cret"),
        (Kind::Openfire, "token: old-token", 503, "/sse", "old-token"),
        (Kind::Xians, "api_key: sk-Xnai-revoked", 401, "/sse/events", "sk-Xnai-revoked"),
        (Kind::Xians, "bearer: no.good.jwt", 403, "/sse/events", "no.good.jwt"),
        (Kind::Salesforce, ANONYMOUS, 401, "access-token", "Web_Chat"),
        (
            Kind::Salesforce,
            "org_id: \"00D000000000001\", bearer: old-bearer",
            401,
            "/sse",
            "old-bearer",
        ),
        (
            Kind::BrightPattern,
            "app_id: old-app, tenant_url: a.example, chat: c",
            403,
            "/c/",
            "old-app",
        ),
        (
            Kind::BrightPattern,
            "app_id: old-app, tenant_url: a.example, chat: active",
            401,
            "/active",
            "old-app",
        ),
    ] {
        let what = format!("{kind:?} {source}");
        let (wrong, good) = (backend(kind).await, backend(Kind::Xians).await);
        let refusal = Fault::Status(status, Vec::new(), Bytes::from_static(b"not you"));
        wrong.fault_on(On::Path(path.to_owned()), usize::MAX, refusal);
        let conf = Conf::new().entry("wrong", entry("wrong", &wrong, source));
        let edge = Edge::start(&conf.backend(&good).yaml()).await;
        let mut client = edge.open(&Client::new("jane")).await;
        let down = client.next_of(&["source_down"]).await;
        assert_eq!((down.source(), down.at("/reason")), ("wrong", "unauthorized"), "{what}");
        let retry = down.data["retryInSeconds"].as_u64().expect("a number");
        assert!((5..=60).contains(&retry), "{what}: retried slowly: {retry}");
        say(&good, "others go on");
        client.chat("others go on").await;
        let line = edge.logged("source is down: source=wrong reason=unauthorized").await;
        assert!(line.contains(&format!(" status={status} ")), "{what}: {line}");
        assert!(!edge.log().contains(secret), "{what}: {}", edge.log());
        let asked = wrong.requests().iter().filter(|request| request.path().contains(path)).count();
        assert_eq!(asked, 1, "{what}: no hammering");
        edge.check_law(&[(source_name(Kind::Xians), &good)]).await;
    }
}
