//! Who is let in, and to what.

use std::time::UNIX_EPOCH;

use chatmux::scripted::Kind;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};

use crate::support::{Client, Conf, Edge, KEY, One, backend, sha256};

pub(crate) const ISSUER: &str = "https://id.example.com/";
pub(crate) const SECRET: &str = "a secret that has more than thirty-two bytes";

/// Seconds since 1970, so many from now.
#[expect(clippy::disallowed_methods, reason = "tokens go by the machine's clock")]
pub(crate) fn in_secs(secs: i64) -> i64 {
    let now = std::time::SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    i64::try_from(now.as_secs()).expect("a time") + secs
}

fn token(secret: &str, algorithm: Algorithm, claims: &Value) -> String {
    encode(&Header::new(algorithm), claims, &EncodingKey::from_secret(secret.as_bytes()))
        .expect("a token")
}

/// A good token of a participant of tenant `acme`.
pub(crate) fn token_of(participant: &str, lives_secs: i64) -> String {
    let claims = json!({
        "iss": ISSUER, "aud": "chat", "sub": participant, "tenant_id": "acme",
        "exp": in_secs(lives_secs),
    });
    token(SECRET, Algorithm::HS256, &claims)
}

/// An edge that takes tokens, and its backend.
pub(crate) async fn start() -> One {
    start_with("").await
}

async fn start_with(more: &str) -> One {
    let backend = backend(Kind::Xians).await;
    let yaml = Conf::new().backend(&backend).auth(&tokens()).line(more).yaml();
    let edge = Edge::start_with(&yaml, &[], &[("JWT_SECRET", SECRET)]).await;
    One { backend, edge }
}

/// The `auth:` of an edge that takes tokens, whose secret is in the variable `JWT_SECRET`.
pub(crate) fn tokens() -> String {
    format!(
        "{{jwt: [{{issuer: \"{ISSUER}\", audience: chat, algorithms: [HS256], \
         secret: \"${{env:JWT_SECRET}}\", leeway: 5s, \
         bind: {{participantId: sub, tenantId: tenant_id}}}}]}}"
    )
}

#[tokio::test]
async fn operators_who_look_are_told_what_is_wrong_with_a_credential_and_clients_are_not() {
    let one = start_with("log: {level: debug}").await;
    let claims = |more: &Value| {
        let mut claims = json!({"iss": ISSUER, "aud": "chat", "sub": "jane", "tenant_id": "acme",
            "exp": in_secs(60)});
        for (name, value) in more.as_object().expect("an object") {
            claims[name] = value.clone();
        }
        claims
    };
    let mut told = Vec::new();
    for (more, secret, why) in [
        (json!({"exp": in_secs(-60)}), SECRET, "it has ended (exp)"),
        (json!({"nbf": in_secs(60)}), SECRET, "its time has not come (nbf)"),
        (json!({"aud": "mail"}), SECRET, "it is for somebody else (aud)"),
        (json!({"iss": "https://nobody.example.org/"}), SECRET, "no such issuer"),
        (json!({}), "another secret of at least 32 bytes", "its signature is not by"),
    ] {
        let token = token(secret, Algorithm::HS256, &claims(&more));
        let refused = one.edge.ask(&bearer(&token)).await;
        refused.refuses(401, "Unauthorized", "");
        told.push(refused.text());
        let line = one.edge.logged(why).await;
        assert!(line.contains("a token is refused"), "{line}");
        assert!(!one.edge.log().contains(&token), "{line}");
    }
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
    one.edge.ask(&Client::new("jane")).await.refuses(401, "Unauthorized", "");
    one.edge.logged("a key is refused").await;
    one.check_law().await;
}

pub(crate) fn bearer(token: &str) -> Client {
    Client::new("jane").without("apikey").header("Authorization", &format!("Bearer {token}"))
}

#[tokio::test]
async fn nobody_gets_in_without_a_good_key() {
    let one = One::start(Kind::Xians).await;
    let nobody = Client::new("jane").without("apikey");
    let none = one.edge.ask(&nobody).await;
    none.refuses(401, "Unauthorized", "Authentication is required");
    assert!(none.head.header("www-authenticate").is_some());
    for client in [
        nobody.clone().query("apikey", "cmx_nobody-has-this"),
        nobody.clone().query("apikey", ""),
        nobody.clone().query("apikey", &sha256(KEY)),
        nobody.clone().header("X-API-Key", "nonsense"),
        nobody.clone().header("Authorization", "Bearer a.b.c"),
        nobody.clone().header("Authorization", &format!("Basic {KEY}")),
        // The first that is there decides, good or bad.
        Client::new("jane").header("Authorization", "Bearer nonsense"),
    ] {
        let reply = one.edge.ask(&client).await;
        reply.refuses(401, "Unauthorized", "");
        assert_eq!(reply.body, none.body, "it does not say what was wrong with {client:?}");
    }
    assert_eq!(one.backend.now().requests, 0, "no backend is asked");
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn a_key_is_taken_from_every_place_that_the_api_knows() {
    let one = One::start(Kind::Xians).await;
    let nobody = Client::new("jane").without("apikey");
    for client in [
        nobody.clone().header("Authorization", &format!("Bearer {KEY}")),
        nobody.clone().header("X-API-Key", KEY),
        nobody.clone().query("apikey", KEY),
        nobody.clone().query("access_token", KEY),
        nobody.clone().header("X-API-Key", KEY).query("apikey", "nonsense"),
    ] {
        one.edge.open(&client).await.expect("connected").await;
    }
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn a_key_opens_what_it_is_for_and_nothing_else() {
    let keys = format!(
        "{{api_keys: [{{label: a, sha256: \"{}\", tenants: [acme], workflows: [\"customer-.*\"], \
         participants: [jane]}}, {{label: b, sha256: \"{}\", tenants: [globex]}}, \
         {{label: c, sha256: \"{}\", expires: 2020-01-01}}]}}",
        sha256(KEY),
        sha256("key-of-globex"),
        sha256("key-that-has-expired"),
    );
    let one = One::start_with(Kind::Xians, |conf| conf.auth(&keys)).await;
    one.edge.open(&Client::new("jane")).await.expect("connected").await;
    for client in [
        Client::new("john"),
        Client::new("jane").query("tenantId", "globex"),
        Client::new("jane").query("workflow", "billing"),
        Client::new("jane").query("apikey", "key-of-globex"),
    ] {
        one.edge.ask(&client).await.refuses(403, "Forbidden", "");
    }
    let expired = Client::new("jane").query("apikey", "key-that-has-expired");
    one.edge.ask(&expired).await.refuses(401, "Unauthorized", "");
    let metrics = one.edge.metrics().await;
    let auth =
        |outcome| metrics.sum("chatmux_auth_total", &[("method", "api_key"), ("outcome", outcome)]);
    assert_eq!((auth("accepted"), auth("forbidden"), auth("refused")), (1, 4, 1));
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn a_token_opens_the_stream_of_its_participant_alone() {
    let one = start().await;
    let good = token_of("jane", 600);
    one.edge.open(&bearer(&good)).await.expect("connected").await;
    let in_query = Client::new("jane").without("apikey").query("access_token", &good);
    one.edge.open(&in_query.without("tenantId")).await.expect("connected").await;
    one.edge.ask(&bearer(&token_of("john", 600))).await.refuses(403, "Forbidden", "");
    let elsewhere = bearer(&good).query("tenantId", "globex");
    one.edge.ask(&elsewhere).await.refuses(403, "Forbidden", "");
    assert!(!one.edge.log().contains(&good), "no credential is logged");
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn a_token_that_is_not_valid_opens_nothing() {
    let one = start().await;
    let claims = |change: &dyn Fn(&mut Value)| {
        let mut claims = json!({
            "iss": ISSUER, "aud": "chat", "sub": "jane", "tenant_id": "acme", "exp": in_secs(600),
        });
        change(&mut claims);
        claims
    };
    let good = claims(&|_| {});
    let unsigned = {
        let signed = token(SECRET, Algorithm::HS256, &good);
        let mut parts = signed.split('.');
        let (_, body) = (parts.next(), parts.next().expect("claims"));
        // {"alg":"none","typ":"JWT"}
        format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{body}.")
    };
    let hs256 = |claims: &Value| token(SECRET, Algorithm::HS256, claims);
    for bad in [
        hs256(&claims(&|claims| claims["exp"] = json!(in_secs(-60)))),
        hs256(&claims(&|claims| claims["exp"] = Value::Null)),
        hs256(&claims(&|claims| claims["nbf"] = json!(in_secs(60)))),
        hs256(&claims(&|claims| claims["iss"] = json!("https://evil.example.com/"))),
        hs256(&claims(&|claims| claims["aud"] = json!("other"))),
        token("another secret, also of more than 32 bytes", Algorithm::HS256, &good),
        token(SECRET, Algorithm::HS512, &good),
        unsigned,
    ] {
        one.edge.ask(&bearer(&bad)).await.refuses(401, "Unauthorized", "");
    }
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn a_stream_ends_when_its_token_does() {
    let one = start().await;
    let expires = in_secs(3);
    let mut stream = one.edge.open(&bearer(&token_of("jane", 3))).await;
    let end = stream.next_of(&["disconnected"]).await;
    assert_eq!(end.at("/reason"), "token_expired");
    let told: jiff::Timestamp = end.at("/timestamp").parse().expect("a time");
    let late = told.as_millisecond() - expires * 1000;
    assert!((0..=2000).contains(&late), "{late} ms late");
    assert_eq!(stream.next().await, None, "the answer ends in order");
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn everyone_is_let_in_where_the_conf_says_so() {
    let one = One::start_with(Kind::Xians, |conf| conf.auth("{anonymous: true}")).await;
    let nobody = Client::new("jane").without("apikey");
    one.edge.open(&nobody).await.expect("connected").await;
    one.edge.ask(&nobody.query("apikey", "nonsense")).await.refuses(401, "Unauthorized", "");
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn the_order_of_refusals_tells_nothing_to_strangers() {
    let one = One::start(Kind::Xians).await;
    // Without a credential nobody learns which parameters or workflows there are.
    let stranger = Client::new("jane").without("apikey").without("workflow");
    one.edge.ask(&stranger).await.refuses(401, "Unauthorized", "");
    let friend = Client::new("jane").without("workflow").query("tenantId", "globex");
    one.edge.ask(&friend).await.refuses(400, "Bad Request", "workflow");
    one.edge.check_law(&[]).await;
}
