//! Whoever tries: forged tokens, other people's streams and cursors, bytes that break out. Each
//! gets the answer of a stranger, and nothing is told.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chatmux::scripted::{Kind, Request};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};

use crate::support::{Client, Conf, Edge, Four, KEY, One, backend, say, send_raw, sha256};

const ISSUER: &str = "https://id.example.com/";
const SECRET: &str = "a secret that has more than thirty-two bytes";
/// Made for tests, and opens nothing else.
const RSA_KEY: &[u8] = include_bytes!("../../src/edge/gate/tests/keys/rsa.pem");
const RSA_PUBLIC: &str = include_str!("../../src/edge/gate/tests/keys/rsa.pub");

/// The public key as everybody may have it.
fn rsa_public() -> &'static str {
    RSA_PUBLIC.trim_start_matches(|letter| letter != '-')
}

#[expect(clippy::disallowed_methods, reason = "tokens go by the machine's clock")]
fn in_secs(secs: i64) -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(now.expect("after 1970").as_secs()).expect("a time") + secs
}

/// An edge with an issuer of RS256 and one of HS256, and its backend.
async fn start() -> One {
    let backend = backend(Kind::Xians).await;
    let common = "audience: chat, leeway: 5s, bind: {participantId: sub, tenantId: tenant_id}";
    let auth = format!(
        "{{jwt: [{{issuer: \"{ISSUER}\", algorithms: [RS256], \
         public_key: \"${{file:rsa.pub}}\", {common}}}, \
         {{issuer: hs, algorithms: [HS256], secret: \"${{env:JWT_SECRET}}\", {common}}}]}}"
    );
    let yaml = Conf::new().backend(&backend).auth(&auth).yaml();
    let edge =
        Edge::start_with(&yaml, &[("rsa.pub", rsa_public())], &[("JWT_SECRET", SECRET)]).await;
    One { backend, edge }
}

/// The claims of jane, changed.
fn claims(change: &[(&str, &str)]) -> String {
    let exp = in_secs(600).to_string();
    let mut claims = vec![
        ("iss", format!("\"{ISSUER}\"")),
        ("aud", "\"chat\"".to_owned()),
        ("sub", "\"jane\"".to_owned()),
        ("tenant_id", "\"acme\"".to_owned()),
        ("exp", exp),
    ];
    for (name, value) in change {
        claims.retain(|(known, _)| known != name);
        if !value.is_empty() {
            claims.push((name, (*value).to_owned()));
        }
    }
    let claims: Vec<_> = claims.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", claims.join(","))
}

fn sign(header: &str, payload: &str, algorithm: Algorithm, key: &EncodingKey) -> String {
    let [header, payload] = [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part));
    let message = format!("{header}.{payload}");
    let signature = crypto::sign(message.as_bytes(), key, algorithm).expect("a signature");
    format!("{message}.{signature}")
}

fn rs256(header: &str, payload: &str) -> String {
    let key = EncodingKey::from_rsa_pem(RSA_KEY).expect("a key");
    sign(header, payload, Algorithm::RS256, &key)
}

fn hs256(header: &str, payload: &str, secret: &[u8]) -> String {
    sign(header, payload, Algorithm::HS256, &EncodingKey::from_secret(secret))
}

fn unsigned(header: &str, payload: &str) -> String {
    let [header, payload] = [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part));
    format!("{header}.{payload}.")
}

const RS: &str = "{\"alg\":\"RS256\",\"typ\":\"JWT\"}";
const HS: &str = "{\"alg\":\"HS256\"}";

/// Tokens that were made by somebody who is not the issuer, or for something else.
#[expect(clippy::too_many_lines, reason = "a table, one row a forgery")]
fn forged() -> Vec<(&'static str, String)> {
    let good = rs256(RS, &claims(&[]));
    let parts: Vec<_> = good.split('.').collect();
    let john = URL_SAFE_NO_PAD.encode(claims(&[("sub", "\"john\"")]));
    let past = |secs: i64| in_secs(-secs).to_string();
    let future = |secs: i64| in_secs(secs).to_string();
    let rs = |change: &[(&str, &str)]| rs256(RS, &claims(change));
    let nested = URL_SAFE_NO_PAD.encode(&good);
    vec![
        ("alg none", unsigned("{\"alg\":\"none\"}", &claims(&[]))),
        ("alg None", unsigned("{\"alg\":\"None\"}", &claims(&[]))),
        (
            "alg NONE and a signature",
            format!("{}.{}.{}", URL_SAFE_NO_PAD.encode("{\"alg\":\"NONE\"}"), parts[1], parts[2]),
        ),
        ("no alg", unsigned("{}", &claims(&[]))),
        ("HS256 with the RSA public key", hs256(HS, &claims(&[]), rsa_public().as_bytes())),
        (
            "HS256 with the trimmed RSA public key",
            hs256(HS, &claims(&[]), rsa_public().trim().as_bytes()),
        ),
        ("HS256 of another issuer's secret", hs256(HS, &claims(&[]), SECRET.as_bytes())),
        ("RS256 for the HS256 issuer", rs(&[("iss", "\"hs\"")])),
        ("HS256 with an empty secret", hs256(HS, &claims(&[("iss", "\"hs\"")]), b"")),
        (
            "RS512 where RS256 is listed",
            sign(
                "{\"alg\":\"RS512\"}",
                &claims(&[]),
                Algorithm::RS512,
                &EncodingKey::from_rsa_pem(RSA_KEY).expect("a key"),
            ),
        ),
        (
            "a key in the head",
            hs256(
                &format!(
                    "{{\"alg\":\"HS256\",\"jwk\":{{\"kty\":\"oct\",\"k\":\"{}\"}}}}",
                    URL_SAFE_NO_PAD.encode("k")
                ),
                &claims(&[]),
                b"k",
            ),
        ),
        (
            "a URL of keys in the head",
            hs256("{\"alg\":\"HS256\",\"jku\":\"http://127.0.0.1:1/\"}", &claims(&[]), b"k"),
        ),
        ("crit", rs256("{\"alg\":\"RS256\",\"crit\":[\"exp\"]}", &claims(&[]))),
        ("no signature", format!("{}.{}.", parts[0], parts[1])),
        ("half a signature", good[..good.len() - 20].to_owned()),
        ("other claims under the signature", format!("{}.{john}.{}", parts[0], parts[2])),
        (
            "a changed signature",
            format!("{}.{}.{}", parts[0], parts[1], parts[2].replace(['a', 'b', 'c'], "d")),
        ),
        ("expired", rs(&[("exp", &past(60))])),
        ("expired long ago", rs(&[("exp", "0")])),
        ("a negative expiry", rs(&[("exp", "-1")])),
        ("an expiry of text", rs(&[("exp", "\"tomorrow\"")])),
        ("no expiry", rs(&[("exp", "")])),
        ("of the future", rs(&[("nbf", &future(60))])),
        ("another audience", rs(&[("aud", "\"billing\"")])),
        ("another audience in a list", rs(&[("aud", "[\"billing\",\"chat2\"]")])),
        ("no audience", rs(&[("aud", "")])),
        ("another issuer", rs(&[("iss", "\"https://evil.example.com/\"")])),
        ("an issuer that begins alike", rs(&[("iss", &format!("\"{ISSUER}x\""))])),
        ("no issuer", rs(&[("iss", "")])),
        ("claims that are no object", rs256(RS, "[]")),
        ("claims that are no JSON", rs256(RS, "jane")),
        (
            "a token in a token",
            rs256("{\"alg\":\"RS256\",\"cty\":\"JWT\"}", &format!("\"{nested}\"")),
        ),
        ("huge", rs(&[("x", &format!("\"{}\"", "x".repeat(9000)))])),
        ("deep", rs256(RS, &format!("{}{}", "[".repeat(3000), "]".repeat(3000)))),
        ("dots", "..".to_owned()),
        ("padding", format!("{good}=")),
    ]
}

#[tokio::test]
async fn forged_tokens_are_refused_alike() {
    let one = start().await;
    let ask = |token: &str| {
        Client::new("jane").without("apikey").header("Authorization", &format!("Bearer {token}"))
    };
    let good = rs256(RS, &claims(&[]));
    let mut known = one.edge.open(&ask(&good)).await;
    known.all_up(&["agent"]).await;
    let before = one.backend.now().requests;
    let stranger = one.edge.ask(&Client::new("jane").without("apikey")).await;
    for (what, token) in forged() {
        let reply = one.edge.ask(&ask(&token)).await;
        assert_eq!(reply.head.status, 401, "{what}");
        assert_eq!(reply.body, stranger.body, "{what}");
        let in_query = Client::new("jane").without("apikey").query("access_token", &token);
        let reply = one.edge.ask(&in_query).await;
        assert_eq!(reply.head.status, 401, "{what}, in the query");
        // A token ends in its signature.
        let tail: String =
            token.chars().rev().take(24).collect::<Vec<_>>().into_iter().rev().collect();
        assert!(tail.len() < 24 || !one.edge.log().contains(&tail), "{what} is logged");
    }
    assert_eq!(one.backend.now().requests, before, "no backend is asked");
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn a_bad_credential_in_any_place_is_no_better_for_a_good_one_behind_it() {
    let one = One::start(Kind::Xians).await;
    let nobody = Client::new("jane").without("apikey");
    type Put<'a> = (&'a str, &'a dyn Fn(Client, &str) -> Client);
    let places: [Put<'_>; 4] = [
        ("bearer", &|client, key| client.header("Authorization", &format!("Bearer {key}"))),
        ("x-api-key", &|client, key| client.header("X-API-Key", key)),
        ("apikey", &|client, key| client.query("apikey", key)),
        ("access_token", &|client, key| client.query("access_token", key)),
    ];
    for (first, (name, put)) in places.iter().enumerate() {
        one.edge.open(&put(nobody.clone(), KEY)).await.expect("connected").await;
        for (behind, put_behind) in &places[first + 1..] {
            let both = put_behind(put(nobody.clone(), "nonsense"), KEY);
            let reply = one.edge.ask(&both).await;
            assert_eq!(reply.head.status, 401, "{name} before {behind}");
            let both = put_behind(put(nobody.clone(), KEY), "nonsense");
            one.edge.open(&both).await.expect("connected").await;
        }
        for bad in ["nonsense", &KEY[1..], &format!("{KEY}x"), &KEY.to_uppercase(), &sha256(KEY)] {
            let reply = one.edge.ask(&put(nobody.clone(), bad)).await;
            assert_eq!(reply.head.status, 401, "{bad} as {name}");
        }
    }
    assert!(!one.edge.log().contains(KEY));
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn nobody_crosses_to_another_tenant_or_participant() {
    let keys = format!(
        "{{api_keys: [{{label: a, sha256: \"{}\", tenants: [acme], participants: [jane]}}, \
         {{label: b, sha256: \"{}\", tenants: [globex]}}]}}",
        sha256(KEY),
        sha256("key-of-globex"),
    );
    let one = One::start_with(Kind::Xians, |conf| conf.auth(&keys)).await;
    let mut jane = one.edge.open(&Client::new("jane")).await;
    jane.all_up(&["agent"]).await;
    let globex = |participant: &str| Client::new(participant).query("apikey", "key-of-globex");
    let mut bodies = Vec::new();
    for client in [
        Client::new("john"),
        Client::new("JANE"),
        Client::new("jane "),
        Client::new("nobody-of-this-name"),
        Client::new("jane").query("tenantId", "globex"),
        Client::new("jane").query("tenantId", "ACME"),
        Client::new("jane").query("tenantId", "no-tenant-of-this-name"),
        globex("jane"),
        globex("jane").query("tenantId", "acme "),
    ] {
        let reply = one.edge.ask(&client).await;
        reply.refuses(403, "Forbidden", "");
        bodies.push(reply.body);
    }
    bodies.dedup();
    assert_eq!(bodies.len(), 1, "it is not told whether somebody is there");
    // The first of two parameters counts, for the gate and for the backend.
    let twice = Client::new("jane").target() + "&participantId=john&tenantId=globex";
    let ask = format!("GET {twice} HTTP/1.0\r\n\r\n");
    drop(tokio::spawn({
        let to = one.edge.streams();
        async move { send_raw(to, ask.as_bytes()).await }
    }));
    one.edge.until_open(2).await;
    for request in one.backend.event_requests() {
        assert_eq!(request.query("participantId").as_deref(), Some("jane"));
        assert_eq!(request.query("tenantId").as_deref(), Some("acme"));
    }
    say(&one.backend, "for jane alone");
    jane.chat("for jane alone").await;
    one.check_law().await;
}

#[tokio::test]
async fn a_stolen_cursor_opens_no_more_than_its_thief_may_see() {
    let one = One::start(Kind::Xians).await;
    let mut jane = one.edge.open(&Client::new("jane")).await;
    jane.all_up(&["agent"]).await;
    say(&one.backend, "first");
    jane.chat("first").await;
    let cursor = jane.last_event_id().to_owned();
    say(&one.backend, "a secret of jane's");
    jane.chat("a secret of jane's").await;
    for (client, by) in [
        (Client::new("eve").after(&cursor), "header"),
        (Client::new("eve").query("lastEventId", &cursor), "query"),
        (Client::new("jane").query("workflow", "customer-other").after(&cursor), "workflow"),
    ] {
        let mut thief = one.edge.open(&client).await;
        thief.expect("connected").await;
        assert_eq!(thief.expect("gap").await.at("/reason"), "cursor_expired", "{by}");
        thief.all_up(&["agent"]).await;
        for event in thief.seen() {
            assert!(!format!("{event:?}").contains("secret of jane"), "{by}: {event:?}");
        }
    }
    // Without a credential it is worth nothing at all.
    let nobody = Client::new("jane").without("apikey").after(&cursor);
    one.edge.ask(&nobody).await.refuses(401, "Unauthorized", "");
    one.check_law().await;
}

/// Nothing that a client sent stands where it is not meant to.
#[track_caller]
fn check_unbroken(requests: &[Request], what: &str) {
    for request in requests {
        let shown = format!("{request:?}");
        assert_eq!(request.header("x-injected"), None, "{what}: {shown}");
        assert!(request.target.starts_with('/'), "{what}: {shown}");
        assert!(!request.target.contains(['\r', '\n', '\0', ' ', '#']), "{what}: {shown}");
        assert!(!request.path().contains("/../"), "{what}: {shown}");
        assert!(request.query("injected").is_none(), "{what}: {shown}");
    }
}

#[tokio::test]
async fn what_clients_send_never_breaks_out_of_its_place() {
    let four = Four::start_with(|conf| {
        let entry = |name: &str, rest: &str| format!("{name}: {{{rest}, optional: true}}");
        conf.entry(
            "more",
            entry(
                "more",
                "backend: xians, api_key: \"{header.X-Token}\", tenant: \"{query.t}\", \
                 url: \"http://127.0.0.1:1\"",
            ),
        )
    })
    .await;
    let nasty = [
        "a\r\nX-Injected: yes",
        "a\nX-Injected: yes",
        "\0",
        "a\0b",
        "../../admin",
        "..%2f..%2fadmin",
        "a&injected=1",
        "a?injected=1",
        "a#b",
        "a/../../b",
        "%0d%0aX-Injected:%20yes",
        "\u{85}",
        "\u{2028}data: x",
        "\"}\n\nevent: Chat\ndata: {}",
        "a b",
        ";injected=1",
        "\u{feff}",
    ];
    let names = [
        "tenantId",
        "workflow",
        "participantId",
        "scope",
        "types",
        "vocabulary",
        "heartbeatSeconds",
        "lastEventId",
        "errors",
        "apikey",
        "access_token",
        "t",
        "unknown",
    ];
    let mut refused = 0;
    for name in names {
        for value in nasty {
            let ask = Client::new("jane").query(name, value).ask("HEAD");
            let reply = ask.send(four.edge.streams()).await;
            let status = reply.head.status;
            assert!(matches!(status, 200 | 400 | 401 | 403), "{name}={value:?}: {status}");
            assert_eq!(reply.head.header("x-injected"), None, "{name}={value:?}");
            refused += usize::from(status != 200);
            let mut stream = None;
            if status == 200 {
                // What is let in does no harm either.
                stream = Some(four.edge.open(&Client::new("jane").query(name, value)).await);
            }
            if let Some(stream) = &mut stream {
                stream.expect("connected").await;
            }
        }
    }
    assert!(refused > 60, "{refused}");
    for backend in &four.backends {
        check_unbroken(&backend.requests(), &format!("{:?}", backend.kind()));
    }
    four.check_law().await;
}

#[tokio::test]
async fn values_in_paths_and_headers_of_sources_stay_there() {
    let agent = backend(Kind::Xians).await;
    let voice = backend(Kind::BrightPattern).await;
    let url = |backend: &chatmux::scripted::Backend| backend.url();
    let yaml = Conf::new()
        .entry(
            "agent",
            format!(
                "agent: {{backend: xians, bearer: \"{{header.X-Token}}\", url: \"{}\"}}",
                url(&agent)
            ),
        )
        .entry(
            "voice",
            format!(
                "voice: {{backend: brightpattern, app_id: webchat, tenant_url: acme.example.com, \
                 chat: \"{{query.chat}}\", url: \"{}\"}}",
                url(&voice)
            ),
        )
        .yaml();
    let edge = Edge::start(&yaml).await;
    for chat in [
        "../../admin",
        "a/b",
        "a?x=1&injected=1",
        "a#b",
        "%2e%2e",
        "..",
        ".",
        "a\\b",
        "a b",
        "é",
        "a\r\nX-Injected: yes",
        "a\0b",
        "\u{7f}",
    ] {
        let client = Client::new("jane").query("chat", chat).header("X-Token", "token");
        let reply = client.ask("HEAD").send(edge.streams()).await;
        assert!(matches!(reply.head.status, 200 | 400), "{chat}: {reply:?}");
        if reply.head.status == 200 {
            let before = voice.now().requests;
            let mut stream = edge.open(&client).await;
            stream.expect("connected").await;
            crate::support::soon("a poll", voice.wait_for(|now| now.requests > before)).await;
        }
    }
    for token in ["a\tb", "é", "a b"] {
        let client = Client::new("jane").query("chat", "c").header("X-Token", token);
        let status = client.ask("HEAD").send(edge.streams()).await.head.status;
        assert!(matches!(status, 200 | 400), "{token}: {status}");
    }
    for backend in [&agent, &voice] {
        check_unbroken(&backend.requests(), &format!("{:?}", backend.kind()));
    }
    for request in voice.requests() {
        let depth = request.path().matches('/').count();
        assert!(
            request.path().starts_with("/clientweb/api/v2/chats/") && depth == 6,
            "{request:?}"
        );
    }
    edge.check_law(&[]).await;
}
