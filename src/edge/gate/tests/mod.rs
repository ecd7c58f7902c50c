//! Requests and what becomes of them, step by step.

mod access;
mod budgets;
mod jwt;
mod shared;
mod tickets;

use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use governor::clock::FakeRelativeClock;
use http::HeaderName;
use sha2::{Digest, Sha256};

use super::*;
use crate::config::{
    Algorithm, ApiKey, Auth, Bound, Connections, Cors, ForwardedHeader, Heartbeat, IpNet, Issuer,
    IssuerKey, Limit, Limits, Log, LogFormat, LogLevel, OriginRule, Pattern, Rate, Replay, Server,
    Timeouts, Url,
};
use crate::edge::refusal::{Fault, Named, Policy, Quota};
use crate::edge::upstream::Dialer;
use crate::proto::backend::{
    CallPlan, Credential, Message, Piece, Plan, Policy as FramePolicy, xians,
};
use crate::proto::event::{MessageType, Vocabulary};
use crate::proto::template::{Place, Template};

const NOW: UnixMillis = UnixMillis(2_000_000_000_000);
const SECRET: &str = "a secret of thirty-two bytes, 123";
const PATH: &str = "/events";

/// What a stream needs, but for the credential.
const ASK: &str = "workflow=support&participantId=jane&tenantId=acme";

fn config() -> Config {
    let zero = Duration::ZERO;
    Config {
        listen: Vec::new(),
        admin: None,
        server: Server { threads: 1, drain: zero, max_age: None, upgrade_socket: None },
        trusted_proxies: vec![IpNet::parse("127.0.0.0/8").expect("a block")],
        forwarded_header: ForwardedHeader::XForwardedFor,
        cors: Cors {
            allow_origins: vec![OriginRule::parse("https://app.example.com").expect("a rule")],
            allow_credentials: false,
            max_age: Duration::from_secs(60),
        },
        auth: Auth {
            api_keys: vec![Arc::new(key("sk-any")), Arc::new(acme_key())],
            jwt: vec![Arc::new(issuer())],
            anonymous: false,
            cookie: None,
        },
        limits: Limits {
            address: Limit::default(),
            subject: Limit::default(),
            tenant: Limit::default(),
            connections: Connections::default(),
        },
        cluster: None,
        replay: Replay { events: 1, bytes: 1, age: zero, linger: zero },
        timeouts: Timeouts { write: zero, head: zero },
        sources: Vec::new(),
        routes: vec![Arc::new(route(vec![source("desk", &[], &[])]))],
        proxy: Vec::new(),
        log: Log { level: LogLevel::Info, format: LogFormat::Text },
    }
}

fn key(text: &str) -> ApiKey {
    ApiKey {
        label: text.to_owned(),
        sha256: Sha256::digest(text).into(),
        tenants: Vec::new(),
        workflows: Vec::new(),
        participants: Vec::new(),
        expires: None,
        limits: None,
    }
}

fn acme_key() -> ApiKey {
    ApiKey {
        tenants: vec!["acme".to_owned()],
        workflows: vec![Pattern::parse("supp.*").expect("a pattern")],
        participants: vec!["jane".to_owned(), "joe".to_owned()],
        expires: Some(UnixMillis(NOW.0 + 1000)),
        ..key("sk-acme")
    }
}

fn issuer() -> Issuer {
    Issuer {
        issuer: "id".to_owned(),
        audiences: Vec::new(),
        algorithms: vec![Algorithm::Hs256],
        key: IssuerKey::Secret(Secret::new(SECRET.to_owned())),
        leeway: Duration::ZERO,
        bind: vec![
            (Bound::ParticipantId, "sub".to_owned()),
            (Bound::TenantId, "org.tenant".to_owned()),
        ],
    }
}

fn token(claims: &str) -> String {
    let exp = NOW.0 / 1000 + 60;
    let payload = format!("{{\"iss\":\"id\",\"exp\":{exp},{claims}}}");
    let parts = ["{\"alg\":\"HS256\"}", &payload].map(|part| URL_SAFE_NO_PAD.encode(part));
    let message = parts.join(".");
    let key = jsonwebtoken::EncodingKey::from_secret(SECRET.as_bytes());
    let algorithm = jsonwebtoken::Algorithm::HS256;
    let signature = jsonwebtoken::crypto::sign(message.as_bytes(), &key, algorithm);
    format!("{message}.{}", signature.expect("a signature"))
}

fn route(sources: Vec<Arc<Source>>) -> Route {
    Route {
        redaction: None,
        path: PATH.to_owned(),
        tenant: None,
        workflow: None,
        sources,
        heartbeat: Heartbeat { default_secs: 5, min_secs: 2, max_secs: 100 },
        vocabulary: Vocabulary::Core,
        defaults: Vec::new(),
        max_age: None,
        allow_errors_event: false,
    }
}

/// What is sent to a source.
fn message(resolved: &Resolved) -> Message {
    resolved.request.call.fill(&Credential::default()).expect("filled")
}

type Templates = [(&'static str, &'static str)];

fn source(name: &str, query: &Templates, headers: &Templates) -> Arc<Source> {
    let piece =
        |text: &str, place| Piece::value(&Template::parse(text).expect("a template"), place);
    let call = CallPlan {
        path: Piece::fixed("/stream"),
        query: query.iter().map(|(name, text)| (*name, piece(text, Place::Query))).collect(),
        headers: headers.iter().map(|(name, text)| (*name, piece(text, Place::Header))).collect(),
        ..CallPlan::default()
    };
    let plan = Plan { call, ..Plan::default() };
    Arc::new(Source {
        name: name.to_owned(),
        dialect: &xians::DIALECT,
        url: Url::parse("https://desk.example.com/base").expect("a URL"),
        plan,
        policy: FramePolicy::default(),
        is_optional: false,
        connect_timeout: Duration::ZERO,
        ca: None,
        sni: None,
        identity: None,
        is_http2: false,
        event_bytes_max: 1,
    })
}

fn optional(source: Arc<Source>) -> Arc<Source> {
    let source = Arc::into_inner(source).expect("one owner");
    Arc::new(Source { is_optional: true, ..source })
}

fn limit(opens: Option<&str>, burst: Option<u32>, concurrent: Option<u32>) -> Limit {
    let opens = opens.map(|rate| Rate::parse(rate).expect("a rate"));
    Limit { opens, burst, concurrent, ..Limit::default() }
}

/// Sets of keys, of which nobody publishes any.
fn key_sets(metrics: &Arc<Metrics>) -> KeySets {
    KeySets::new(Arc::new(Dialer::new()), metrics.clone(), Arc::new(|| {}))
}

/// A gate and its surroundings.
struct Bench {
    gate: Gate,
    metrics: Arc<Metrics>,
    clock: FakeRelativeClock,
}

/// One request; what is not said is usual.
struct Ask<'a> {
    method: Method,
    path: &'a str,
    headers: &'a [(&'static str, &'a str)],
    peer: &'a str,
    wall: UnixMillis,
}

impl Default for Ask<'_> {
    fn default() -> Self {
        Self { method: Method::GET, path: PATH, headers: &[], peer: "203.0.113.9", wall: NOW }
    }
}

impl Bench {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = config();
        change(&mut config);
        let metrics = Arc::new(Metrics::new().expect("metrics"));
        let clock = FakeRelativeClock::default();
        let ticks = Ticks::fake(clock.clone());
        let key_sets = Arc::new(key_sets(&metrics));
        let gate = Gate::with_ticks(Arc::new(config), metrics.clone(), key_sets, ticks);
        let gate = gate.expect("a gate");
        Self { gate, metrics, clock }
    }

    fn ask(&self, ask: &Ask<'_>, query: &str) -> Decided {
        let decided = self.ask_with(ask, query, None, Past::default());
        decided.unwrap_or_else(|_| panic!("nobody publishes keys here"))
    }

    /// The same with other nodes, which are asked by the test.
    fn ask_with(
        &self,
        ask: &Ask<'_>,
        query: &str,
        ledger: Option<&Ledger>,
        past: Past,
    ) -> Result<Decided, Later> {
        self.with_asked(ask, query, ledger, |asked| self.gate.decide(asked, past, ask.wall))
    }

    fn with_asked<T>(
        &self,
        ask: &Ask<'_>,
        query: &str,
        ledger: Option<&Ledger>,
        then: impl FnOnce(&Asked<'_>) -> T,
    ) -> T {
        let mut headers = HeaderMap::new();
        for (name, value) in ask.headers {
            let value = HeaderValue::from_bytes(value.as_bytes()).expect("a value");
            headers.append(HeaderName::from_static(name), value);
        }
        let asked = Asked {
            method: &ask.method,
            path: ask.path,
            query,
            headers: &headers,
            authority: None,
            peer: Some(ask.peer.parse().expect("an address")),
            draining: None,
            ledger,
        };
        then(&asked)
    }

    fn get(&self, query: &str) -> Decided {
        self.ask(&Ask::default(), query)
    }

    /// The stream of the usual request, with more of a query.
    #[track_caller]
    fn stream(&self, more: &str) -> Box<Admitted> {
        let query = format!("{ASK}&apikey=sk-any{more}");
        match self.get(&query).decision {
            Decision::Stream(admitted) => admitted,
            other => panic!("{query}: {}", show(&other)),
        }
    }

    #[track_caller]
    fn check(&self, ask: &Ask<'_>, query: &str, want: &str) {
        assert_eq!(show(&self.ask(ask, query).decision), want, "{} {query}", ask.path);
    }

    #[track_caller]
    fn check_get(&self, query: &str, want: &str) {
        self.check(&Ask::default(), query, want);
    }

    /// How many keys a limit remembers.
    #[track_caller]
    fn keys(&self, policy: &str) -> usize {
        let text = self.metrics.render();
        let series = format!("chatmux_rate_limit_keys{{policy=\"{policy}\"}} ");
        let line = text.lines().find_map(|line| line.strip_prefix(&series));
        line.and_then(|keys| keys.parse().ok()).unwrap_or_else(|| panic!("no {series}"))
    }

    #[track_caller]
    fn check_metric(&self, line: &str) {
        let text = self.metrics.render();
        assert!(text.contains(&format!("\n{line}\n")), "{line} is not in\n{text}");
    }
}

/// A decision in a few words.
fn show(decision: &Decision) -> String {
    match decision {
        Decision::Stream(_) => "stream".to_owned(),
        Decision::SelfTest(..) => "self-test".to_owned(),
        Decision::Head(_) => "head".to_owned(),
        Decision::Options => "options".to_owned(),
        Decision::Ticket(..) => "ticket".to_owned(),
        Decision::Refused(refusal) => show_refusal(refusal),
        Decision::RefusedInStream(refusal) => format!("in stream {}", show_refusal(refusal)),
    }
}

fn show_refusal(refusal: &Refusal) -> String {
    let mut text = refusal.status().as_u16().to_string();
    match refusal {
        Refusal::Bad(named, fault) => {
            let named = match named {
                Named::Parameter(name) => name.to_string(),
                Named::Header(name) => format!("header {name}"),
                Named::Claim(name) => format!("claim {name}"),
            };
            write!(text, " {named} {fault:?}").expect("text");
        }
        Refusal::NoSuchRoute => text.push_str(" route"),
        Refusal::Limited(limited) => {
            let what = match limited.quota {
                Quota::Opens { .. } => "opens",
                Quota::Requests { .. } => "requests",
                Quota::Concurrent { .. } => "concurrent",
            };
            write!(text, " {} {what}", limited.policy.as_str()).expect("text");
        }
        _ => {}
    }
    text
}

fn get_with<'a>(headers: &'a [(&'static str, &'a str)]) -> Ask<'a> {
    Ask { headers, ..Ask::default() }
}

#[test]
fn steps_are_taken_in_their_order() {
    let only_acme = |config: &mut Config| {
        let needy = source("desk", &[("c", "{query.conversation}")], &[]);
        let tenant = Some(Pattern::Exact("acme".to_owned()));
        config.routes = vec![Arc::new(Route { tenant, ..route(vec![needy]) })];
        config.limits.subject = limit(Some("1/h"), None, None);
        config.limits.address = limit(Some("10/h"), None, None);
    };
    let bench = Bench::new(only_acme);
    let post = Ask { method: Method::POST, ..Ask::default() };
    bench.check(
        &Ask { path: "/other", ..Ask { method: Method::POST, ..Ask::default() } },
        "",
        "404",
    );
    bench.check(&post, "", "405");
    // Nothing is right: the first step that looks speaks.
    bench.check_get("heartbeatSeconds=x", "401");
    bench.check_get("apikey=sk-acme&tenantId=globex&workflow=sales", "400 participantId Missing");
    let query = "apikey=sk-acme&tenantId=globex&workflow=sales&participantId=jim";
    bench.check_get(query, "404 route");
    let query = "apikey=sk-acme&tenantId=acme&workflow=sales&participantId=jim";
    bench.check_get(query, "403");
    let query = "apikey=sk-acme&tenantId=acme&workflow=support&participantId=jane";
    bench.check_get(query, "400 conversation Missing");
    // All of that cost the subject nothing.
    let query = format!("{query}&conversation=c");
    bench.check_get(&query, "stream");
    bench.check_get(&query, "429 subject opens");
    bench.check_get(&query, "429 subject opens");
    bench.check_get(&query, "429 subject opens");
    bench.check_get(&query, "429 subject opens");
    // Eleven GETs came that far.
    bench.check_get("", "429 address opens");
}

#[test]
fn paths_are_exact_and_methods_few() {
    let bench = Bench::new(|_| ());
    let query = &format!("{ASK}&apikey=sk-any");
    for path in ["/", "/events/", "/Events", "/events/x", "*"] {
        bench.check(&Ask { path, ..Ask::default() }, query, "404");
    }
    for path in ["", "//events", "/x/../events", "/x%2fevents", "/%2e/events"] {
        bench.check(&Ask { path, ..Ask::default() }, query, "400");
    }
    bench.check(&Ask { path: "/%65vents", ..Ask::default() }, query, "stream");
    for (method, want) in [
        (Method::GET, "stream"),
        (Method::HEAD, "head"),
        (Method::OPTIONS, "options"),
        (Method::POST, "405"),
        (Method::DELETE, "405"),
        (Method::PUT, "405"),
        (Method::TRACE, "405"),
        (Method::CONNECT, "405"),
        (Method::from_bytes(b"get").expect("a method"), "405"),
    ] {
        bench.check(&Ask { method, ..Ask::default() }, query, want);
    }
}

#[test]
fn the_first_route_that_matches_counts() {
    let bench = Bench::new(|config| {
        let with = |tenant: Option<&str>, workflow: Option<&str>, name: &str| {
            let pattern = |text| Pattern::parse(text).expect("a pattern");
            Arc::new(Route {
                tenant: tenant.map(pattern),
                workflow: workflow.map(pattern),
                ..route(vec![source(name, &[], &[])])
            })
        };
        config.routes = vec![
            with(Some("acme"), Some("sales"), "one"),
            with(Some("acme"), None, "two"),
            with(Some("globex|initech"), Some("s.*"), "three"),
            with(None, Some("Support Agent:Main"), "four"),
        ];
    });
    for (tenant, workflow, want) in [
        ("acme", "sales", Some("one")),
        ("acme", "support", Some("two")),
        ("globex", "support", Some("three")),
        ("initech", "sales", Some("three")),
        ("globex", "other", None),
        ("Acme", "sales", None),
        // A workflow id is matched by its type.
        ("other", "other:Support+Agent:Main", Some("four")),
        ("other", "else:Support+Agent:Main", None),
    ] {
        let query = format!("apikey=sk-any&participantId=p&tenantId={tenant}&workflow={workflow}");
        let got = match bench.get(&query).decision {
            Decision::Stream(admitted) => Some(admitted.sources[0].source.name.clone()),
            Decision::Refused(Refusal::NoSuchRoute) => None,
            other => panic!("{query}: {}", show(&other)),
        };
        assert_eq!(got.as_deref(), want, "{query}");
    }
}

#[test]
fn what_is_asked_for_is_what_is_opened() {
    let bench = Bench::new(|_| ());
    let usual = bench.stream("");
    assert_eq!(*usual.subscription, *Subscription::new("acme", "support", "jane"));
    assert_eq!(usual.heartbeat.as_secs(), 5);
    assert_eq!(usual.resume, Resume::Fresh);
    assert_eq!(usual.filter.vocabulary, Vocabulary::Core);
    assert_eq!(usual.filter.scope, None);
    assert!(usual.filter.types.contains(MessageType::Raw));
    assert_eq!(usual.expires, None);
    assert_eq!(message(&usual.sources[0]).target, "/base/stream");
    let other = bench.stream("&vocabulary=full&scope=s&types=Chat&lastEventId=1.0.5");
    assert_eq!(other.filter.vocabulary, Vocabulary::Full);
    assert_eq!(other.filter.scope.as_deref(), Some("s"));
    assert!(!other.filter.types.contains(MessageType::Raw));
    assert!(matches!(other.resume, Resume::After(cursor) if cursor.sequence == 5));
}

#[test]
fn heartbeats_stay_within_the_routes_bounds() {
    let bench = Bench::new(|_| ());
    for (asked, want) in
        [("7", 7), ("1", 2), ("0", 2), ("-9", 2), ("300", 100), ("99999999999999999999", 100)]
    {
        let admitted = bench.stream(&format!("&heartbeatSeconds={asked}"));
        assert_eq!(admitted.heartbeat.as_secs(), want, "{asked}");
    }
}

#[test]
fn errors_are_told_in_the_stream_where_that_is_allowed() {
    let with = |allows: &'static [bool]| {
        Bench::new(move |config| {
            let tenants = ["acme", "globex"];
            let routes = allows.iter().zip(tenants).map(|(allows, tenant)| {
                let tenant = Some(Pattern::Exact(tenant.to_owned()));
                let sources = vec![source("desk", &[("c", "{query.c}")], &[])];
                Arc::new(Route { tenant, allow_errors_event: *allows, ..route(sources) })
            });
            config.routes = routes.collect();
        })
    };
    let ask = |tenant: &str| format!("workflow=w&participantId=p&tenantId={tenant}&errors=event");
    let key = "apikey=sk-any";
    let (always, never) = (with(&[true, true]), with(&[false, false]));
    for (query, refusal) in [
        ("errors=event".to_owned(), "401"),
        (format!("{key}&errors=event"), "400 workflow Missing"),
        (format!("{key}&{}", ask("acme")), "400 c Missing"),
        (format!("apikey=sk-acme&c=1&{}", ask("acme")), "403"),
    ] {
        always.check_get(&query, &format!("in stream {refusal}"));
        let head = Ask { method: Method::HEAD, ..Ask::default() };
        always.check(&head, &query, &format!("in stream {refusal}"));
        never.check_get(&query, refusal);
        for other in ["errors=events", "errors=", "errors=Event", "errors=x&errors=event"] {
            always.check_get(&query.replace("errors=event", other), refusal);
        }
    }
    // Where no route matches, and for other methods and paths, there is no stream.
    always.check_get(&format!("{key}&{}", ask("initech")), "404 route");
    let post = Ask { method: Method::POST, ..Ask::default() };
    always.check(&post, "errors=event", "405");
    always.check(&Ask { path: "/x", ..Ask::default() }, "errors=event", "404");
    // Routes of one path disagree: the one that matches decides, and before that none.
    let mixed = with(&[true, false]);
    mixed.check_get("errors=event", "401");
    mixed.check_get(&format!("{key}&{}", ask("acme")), "in stream 400 c Missing");
    mixed.check_get(&format!("{key}&{}", ask("globex")), "400 c Missing");
}

#[test]
fn sources_take_what_their_templates_name() {
    let bench = Bench::new(|config| {
        let query = [
            ("a", "{tenantId}/{workflow}/{workflowId}/{participantId}"),
            ("b", "{query.x}{header.X-Thing}{claim.org.tenant}"),
            ("c", "{participantUuid}"),
            ("d", "{query.access_token}{header.x-api-key}"),
        ];
        let headers = [("Authorization", "{header.authorization}")];
        config.routes = vec![Arc::new(route(vec![
            source("named", &query, &headers),
            source("other", &[("k", "fixed")], &[]),
        ]))];
    });
    let bearer = format!("Bearer {}", token("\"sub\":\"a b\",\"org\":{\"tenant\":\"acme\"}"));
    let headers = [
        ("authorization", bearer.as_str()),
        ("x-thing", "ü"),
        ("x-api-key", "k2"),
        ("cookie", "c=1"),
    ];
    let query = "workflow=acme:S:M&participantId=a+b&x=%26&x=2&access_token=t1&apikey=k1";
    let Decision::Stream(admitted) = bench.ask(&get_with(&headers), query).decision else {
        panic!("no stream");
    };
    let [named, other] = &admitted.sources[..] else { panic!("two sources") };
    let (named, other) = (message(named), message(other));
    assert_eq!(
        named.target,
        "/base/stream?a=acme%2FS%3AM%2Facme%3AS%3AM%2Fa%20b&b=%26%C3%BCacme\
         &c=219f8b3a-a4ea-812d-852c-624bc93b621d&d=t1k2"
    );
    assert_eq!(named.headers, [("Authorization", bearer.clone())]);
    // Nothing goes where nobody asked for it.
    assert_eq!(other.target, "/base/stream?k=fixed");
    assert_eq!(other.headers, []);
}

/// Routes whose sources want something of the client, under paths that say what.
fn needy_routes() -> Vec<Arc<Route>> {
    let one = |name, template| source(name, &[("v", template)], &[]);
    let header = source("a", &[], &[("V", "{header.x-v}")]);
    let (v, w) = ("{query.v}", "{query.w}");
    let sources = [
        ("/query", vec![one("a", v)]),
        ("/header", vec![header]),
        ("/claim", vec![one("a", "{claim.v}")]),
        ("/some", vec![optional(one("a", v)), one("b", "x")]),
        ("/any", vec![optional(one("a", v)), optional(one("b", w))]),
        ("/both", vec![optional(one("a", v)), one("b", w)]),
    ];
    let on = |(path, sources): (&str, Vec<Arc<Source>>)| {
        let path = path.to_owned();
        Arc::new(Route { path, ..route(sources) })
    };
    sources.into_iter().map(on).collect()
}

#[test]
fn missing_values_are_named_or_their_source_left_out() {
    let bench = Bench::new(|config| config.routes = needy_routes());
    let check = |path: &str, more: &str, header: Option<&str>, want: &str| {
        let header = header.map(|value| ("x-v", value));
        let headers = header.as_slice();
        let ask = Ask { path, headers, ..Ask::default() };
        let query = format!("{ASK}&apikey=sk-any{more}");
        let got = match bench.ask(&ask, &query).decision {
            Decision::Stream(admitted) => {
                let names = admitted.sources.iter().map(|resolved| resolved.source.name.as_str());
                names.collect()
            }
            other => show(&other),
        };
        assert_eq!(got, want, "{path} {more}");
    };
    let long = format!("&v={}", "x".repeat(9000));
    check("/query", "", None, "400 v Missing");
    check("/query", "&v=", None, "400 v Missing");
    check("/query", "&v=%zz", None, "400 v Unreadable");
    check("/query", &long, None, "400 v Unfit");
    check("/query", "&v=1", None, "a");
    check("/header", "", None, "400 header x-v Missing");
    check("/header", "", Some("1"), "a");
    check("/header", "", Some("a\tb"), "400 header x-v Unfit");
    check("/claim", "", None, "400 claim v Missing");
    check("/some", "", None, "b");
    check("/some", "&v=1", None, "ab");
    // Said and wrong is not left out.
    check("/some", "&v=%zz", None, "400 v Unreadable");
    check("/some", &long, None, "400 v Unfit");
    check("/any", "", None, "400 v Missing");
    check("/any", "&w=1", None, "b");
    check("/both", "", None, "400 w Missing");
}

#[test]
fn answers_carry_the_headers_for_browsers() {
    let bench = Bench::new(|_| ());
    let allowed = |decided: &Decided| {
        let name = "access-control-allow-origin";
        decided.headers.iter().any(|(header, _)| header == name)
    };
    let origin = ("origin", "https://app.example.com");
    let evil = ("origin", "https://evil.example");
    let good = &format!("{ASK}&apikey=sk-any");
    for query in [good.as_str(), "", "apikey=sk-any"] {
        assert!(allowed(&bench.ask(&get_with(&[origin]), query)), "{query}");
        assert!(!allowed(&bench.ask(&get_with(&[evil]), query)), "{query}");
    }
    let ask = Ask { path: "/other", headers: &[origin], ..Ask::default() };
    assert!(allowed(&bench.ask(&ask, "")));
    let headers = [origin, ("access-control-request-method", "GET")];
    let ask = Ask { method: Method::OPTIONS, headers: &headers, ..Ask::default() };
    let preflight = bench.ask(&ask, "");
    assert_eq!(show(&preflight.decision), "options");
    let names: Vec<_> = preflight.headers.iter().map(|(name, _)| name.as_str()).collect();
    assert!(names.contains(&"access-control-max-age") && names.contains(&"allow"), "{names:?}");
    let plain = bench.ask(&Ask { method: Method::OPTIONS, ..Ask::default() }, "");
    assert_eq!(show(&plain.decision), "options");
    let allow = plain.headers.iter().find(|(name, _)| name == "allow").map(|(_, value)| value);
    assert_eq!(allow.map(HeaderValue::as_bytes), Some(&b"GET, HEAD, OPTIONS"[..]));
}

#[test]
fn what_was_decided_is_counted() {
    let bench = Bench::new(|config| {
        config.auth.anonymous = true;
        config.limits.address = limit(Some("9/h"), None, None);
        config.limits.subject = limit(Some("1/h"), None, None);
    });
    let good = &format!("{ASK}&apikey=sk-any");
    bench.check_get(good, "stream");
    bench.check_get(good, "429 subject opens");
    bench.check_get("apikey=sk-any", "400 workflow Missing");
    bench.check_get("apikey=sk-none", "401");
    bench.check_get("apikey=sk-acme&tenantId=x&workflow=w&participantId=p", "403");
    bench.check_get("apikey=a.b.c", "401");
    let mine = token("\"sub\":\"jane\",\"org\":{\"tenant\":\"acme\"}");
    bench.check_get(&format!("{ASK}&apikey={mine}"), "stream");
    bench.check_get(&format!("apikey={mine}&tenantId=x&workflow=w&participantId=jane"), "403");
    bench.check_get(ASK, "stream");
    bench.check_get(ASK, "429 address opens");
    for line in [
        "chatmux_auth_total{method=\"api_key\",outcome=\"accepted\"} 3",
        "chatmux_auth_total{method=\"api_key\",outcome=\"refused\"} 1",
        "chatmux_auth_total{method=\"api_key\",outcome=\"forbidden\"} 1",
        "chatmux_auth_total{method=\"jwt\",outcome=\"accepted\"} 1",
        "chatmux_auth_total{method=\"jwt\",outcome=\"refused\"} 1",
        "chatmux_auth_total{method=\"jwt\",outcome=\"forbidden\"} 1",
        "chatmux_auth_total{method=\"none\",outcome=\"accepted\"} 1",
        "chatmux_auth_total{method=\"none\",outcome=\"refused\"} 0",
        "chatmux_rate_limit_total{outcome=\"admitted\",policy=\"address\"} 9",
        "chatmux_rate_limit_total{outcome=\"refused\",policy=\"address\"} 1",
        "chatmux_rate_limit_total{outcome=\"admitted\",policy=\"subject\"} 2",
        "chatmux_rate_limit_total{outcome=\"refused\",policy=\"subject\"} 1",
        // Not limited, not counted.
        "chatmux_rate_limit_total{outcome=\"admitted\",policy=\"tenant\"} 0",
    ] {
        bench.check_metric(line);
    }
}

#[test]
fn a_gate_is_shared_between_threads() {
    fn check<T: Send + Sync>() {}
    check::<Gate>();
    check::<Decided>();
}
