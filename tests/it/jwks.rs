//! Issuers that publish their keys: rotation, outage, floods of unknown keys, reloads.

use chatmux::scripted::{Backend, Kind};
use serde_json::json;

use crate::auth::{ISSUER, bearer, in_secs};
use crate::support::{Client, Conf, Edge, Jwks, Scratch, Signer, backend, chatmux, jwk_set};
use crate::tls_upstream::{acceptor, self_signed, terminate};

/// A good token of Jane's, signed by this key under this name.
fn token(signer: Signer, kid: &str) -> String {
    let claims = json!({
        "iss": ISSUER, "aud": "chat", "sub": "jane", "tenant_id": "acme", "exp": in_secs(600),
    });
    signer.token(kid, &claims)
}

/// A conf whose issuer has these options besides.
fn conf(backend: &Backend, options: &str) -> String {
    let auth = format!(
        "{{jwt: [{{issuer: \"{ISSUER}\", audience: chat, algorithms: [RS256, ES256, EdDSA], \
         {options}, bind: {{participantId: sub, tenantId: tenant_id}}}}]}}"
    );
    Conf::new().backend(backend).auth(&auth).yaml()
}

async fn start(jwks: &Jwks, options: &str) -> (Backend, Edge) {
    let backend = backend(Kind::Xians).await;
    let options = format!("jwks_url: \"{}\", {options}", jwks.url());
    let edge = Edge::start(&conf(&backend, &options)).await;
    (backend, edge)
}

fn jane(signer: Signer, kid: &str) -> Client {
    bearer(&token(signer, kid))
}

#[tokio::test]
async fn tokens_are_checked_with_the_keys_that_the_issuer_publishes() {
    let keys = [Signer::Ec.jwk("one"), Signer::Rsa.jwk("two"), json!({"kty": "unheard-of"})];
    let jwks = Jwks::start(&jwk_set(&keys)).await;
    let (_backend, edge) = start(&jwks, "jwks_pause: 1m").await;
    for (signer, kid) in [(Signer::Ec, "one"), (Signer::Rsa, "two")] {
        edge.open(&jane(signer, kid)).await.expect("connected").await;
    }
    // Under the name of another key, and by a key that is not there.
    edge.ask(&jane(Signer::Ec, "two")).await.refuses(401, "Unauthorized", "");
    edge.ask(&jane(Signer::Ed, "one")).await.refuses(401, "Unauthorized", "");
    assert_eq!(jwks.fetches(), 1, "no request fetches keys");
    let metrics = edge.metrics().await;
    let sum = |name: &str, outcome| metrics.sum(name, &[("issuer", ISSUER), ("outcome", outcome)]);
    assert_eq!(sum("chatmux_jwks_refresh_total", "success"), 1);
    assert!(metrics.has("chatmux_jwks_refresh_total", &[("outcome", "unreachable")]));
    assert_eq!(metrics.sum("chatmux_jwks_keys", &[("issuer", ISSUER)]), 2);
    let last = metrics.sum("chatmux_jwks_last_success_timestamp_seconds", &[("issuer", ISSUER)]);
    assert!(last > 1_700_000_000, "{last}");
    edge.check_law(&[]).await;
}

#[tokio::test]
async fn a_rotated_key_is_fetched_when_its_first_token_comes() {
    let jwks = Jwks::start(&jwk_set(&[Signer::Ec.jwk("one")])).await;
    let (_backend, edge) = start(&jwks, "jwks_pause: 1s").await;
    edge.open(&jane(Signer::Ec, "one")).await.expect("connected").await;
    jwks.answer(200, &jwk_set(&[Signer::Ec.jwk("one"), Signer::Ed.jwk("two")]));
    // It waits for the fetch that it causes: the pause is shorter than that wait.
    edge.open(&jane(Signer::Ed, "two")).await.expect("connected").await;
    assert_eq!(jwks.fetches(), 2);
    // A key that is taken back opens nothing any more.
    jwks.answer(200, &jwk_set(&[Signer::Ed.jwk("two")]));
    edge.ask(&jane(Signer::Rsa, "unheard-of")).await.refuses(401, "Unauthorized", "");
    jwks.until_fetches(3).await;
    edge.until("one key is left", |metrics| metrics.sum("chatmux_jwks_keys", &[]) == 1).await;
    edge.ask(&jane(Signer::Ec, "one")).await.refuses(401, "Unauthorized", "");
    edge.check_law(&[]).await;
}

#[tokio::test]
async fn a_flood_of_unknown_keys_costs_the_issuer_nothing() {
    let jwks = Jwks::start(&jwk_set(&[Signer::Ec.jwk("one")])).await;
    let (_backend, edge) = start(&jwks, "jwks_pause: 1h, jwks_refresh: 1h").await;
    jwks.until_fetches(1).await;
    edge.until("the keys are there", |metrics| metrics.sum("chatmux_jwks_keys", &[]) == 1).await;
    for number in 0..200 {
        let forged = jane(Signer::Ed, &format!("made-up-{number}"));
        edge.ask(&forged).await.refuses(401, "Unauthorized", "");
    }
    assert_eq!(jwks.fetches(), 1);
    edge.open(&jane(Signer::Ec, "one")).await.expect("connected").await;
    edge.check_law(&[]).await;
}

#[tokio::test]
async fn the_last_good_keys_stay_while_the_issuer_is_away() {
    let jwks = Jwks::start(&jwk_set(&[Signer::Ec.jwk("one")])).await;
    let (_backend, edge) = start(&jwks, "jwks_pause: 1s, jwks_refresh: 1s").await;
    let client = jane(Signer::Ec, "one");
    let mut open = edge.open(&client).await;
    open.expect("connected").await;
    let large = format!("{{\"x\":\"{}\"}}", "x".repeat(600 * 1024));
    for (status, body, outcome) in [
        (503, "{}", "bad_status"),
        (302, "{}", "bad_status"),
        (200, "<html>", "malformed"),
        (200, "{\"keys\":[]}", "none_usable"),
        (200, large.as_str(), "too_large"),
    ] {
        jwks.answer(status, body);
        let labels = [("issuer", ISSUER), ("outcome", outcome)];
        let before = edge.metrics().await.sum("chatmux_jwks_refresh_total", &labels);
        edge.until(outcome, |metrics| metrics.sum("chatmux_jwks_refresh_total", &labels) > before)
            .await;
        assert_eq!(edge.metrics().await.sum("chatmux_jwks_keys", &[]), 1);
        edge.open(&client).await.expect("connected").await;
    }
    let good = |metrics: &crate::support::Metrics| {
        metrics.sum("chatmux_jwks_refresh_total", &[("outcome", "success")])
    };
    let before = good(&edge.metrics().await);
    jwks.answer(200, &jwk_set(&[Signer::Ec.jwk("one")]));
    edge.until("it is back", |metrics| good(metrics) > before).await;
    assert!(open.seen().iter().all(|event| event.name != "disconnected"));
    edge.check_law(&[]).await;
}

#[tokio::test]
async fn an_issuer_that_was_never_there_refuses_and_comes_by_itself() {
    let jwks = Jwks::start("{}").await;
    let (_backend, edge) = start(&jwks, "jwks_pause: 1s, jwks_refresh: 1s").await;
    edge.ask(&jane(Signer::Ec, "one")).await.refuses(401, "Unauthorized", "");
    jwks.answer(200, &jwk_set(&[Signer::Ec.jwk("one")]));
    edge.until("the keys are there", |metrics| metrics.sum("chatmux_jwks_keys", &[]) == 1).await;
    edge.open(&jane(Signer::Ec, "one")).await.expect("connected").await;
    edge.check_law(&[]).await;
}

#[tokio::test]
async fn a_reload_asks_open_streams_again_with_the_keys_of_the_new_conf() {
    let (one, two) = (Signer::Ec.jwk("one"), Signer::Ed.jwk("two"));
    let jwks = Jwks::start(&jwk_set(&[one.clone(), two.clone()])).await;
    let (backend, edge) = start(&jwks, "jwks_pause: 1s").await;
    let mut stays = edge.open(&jane(Signer::Ec, "one")).await;
    let mut goes = edge.open(&jane(Signer::Ed, "two")).await;
    // The same issuer elsewhere: its keys are not there yet when the conf comes into force.
    let elsewhere = Jwks::start(&jwk_set(&[one])).await;
    let options = format!("jwks_url: \"{}\", jwks_pause: 1s", elsewhere.url());
    let told = edge.reload(&conf(&backend, &options)).await;
    assert!(told.contains("reloaded"), "{told}");
    assert_eq!(goes.next_of(&["disconnected"]).await.at("/reason"), "revoked");
    edge.open(&jane(Signer::Ec, "one")).await.expect("connected").await;
    stays.expect("connected").await;
    assert!(stays.seen().iter().all(|event| event.name != "disconnected"));
    // Without the issuer both are gone, and its series too.
    let key = Conf::new().backend(&backend).yaml();
    edge.reload(&key).await;
    assert_eq!(stays.next_of(&["disconnected"]).await.at("/reason"), "revoked");
    assert!(!edge.metrics().await.has("chatmux_jwks_keys", &[("issuer", ISSUER)]));
    edge.check_law(&[]).await;
}

#[tokio::test]
async fn a_file_of_keys_is_read_anew_on_reload() {
    let backend = backend(Kind::Xians).await;
    let yaml = conf(&backend, "jwks_file: keys.json");
    let file = |keys: &[serde_json::Value]| jwk_set(keys);
    let (one, two) = (Signer::Rsa.jwk("one"), Signer::Ec.jwk("two"));
    let edge = Edge::start_with(&yaml, &[("keys.json", &file(&[one]))], &[]).await;
    let mut open = edge.open(&jane(Signer::Rsa, "one")).await;
    edge.ask(&jane(Signer::Ec, "two")).await.refuses(401, "Unauthorized", "");
    edge.write("keys.json", &file(&[two]));
    edge.reload(&yaml).await;
    assert_eq!(open.next_of(&["disconnected"]).await.at("/reason"), "revoked");
    edge.open(&jane(Signer::Ec, "two")).await.expect("connected").await;
    // What is no set is refused whole, and the old one stays.
    edge.write("keys.json", "{\"keys\":[{\"kty\":\"oct\",\"k\":\"c2VjcmV0\"}]}");
    let told = edge.reload(&yaml).await;
    assert!(told.contains("refused") && told.contains("none of its keys"), "{told}");
    edge.open(&jane(Signer::Ec, "two")).await.expect("connected").await;
    edge.check_law(&[]).await;
}

#[tokio::test]
async fn keys_behind_tls_are_taken_only_where_the_certificate_is_trusted() {
    let scratch = Scratch::new();
    for name in ["edge", "other"] {
        self_signed(&scratch, name);
    }
    let jwks = Jwks::start(&jwk_set(&[Signer::Ec.jwk("one")])).await;
    let tls = terminate(acceptor(scratch.path()), jwks.address()).await;
    let trusting = |ca: &str, more: &str| {
        let ca = scratch.path().join(ca).display().to_string();
        format!(
            "jwks_url: \"https://localhost:{}/keys?p=1\", jwks_tls: {{ca: \"{ca}\"{more}}}, \
             jwks_pause: 1s",
            tls.port()
        )
    };
    let backend = backend(Kind::Xians).await;
    let edge = Edge::start(&conf(&backend, &trusting("edge.pem", ""))).await;
    edge.open(&jane(Signer::Ec, "one")).await.expect("connected").await;
    edge.check_law(&[]).await;

    let outcome = |outcome| [("issuer", ISSUER), ("outcome", outcome)];
    for (ca, more) in [("other.pem", ""), ("edge.pem", ", sni: other.example.com")] {
        let fetches = jwks.fetches();
        let edge = Edge::start(&conf(&backend, &trusting(ca, more))).await;
        edge.ask(&jane(Signer::Ec, "one")).await.refuses(401, "Unauthorized", "");
        let line = edge.logged("keys of an issuer cannot be fetched").await;
        assert!(line.contains("reason=tls"), "{line}");
        let now = edge.metrics().await;
        assert!(now.sum("chatmux_jwks_refresh_total", &outcome("tls")) > 0);
        assert_eq!(now.sum("chatmux_jwks_refresh_total", &outcome("success")), 0);
        assert_eq!(jwks.fetches(), fetches, "nothing is asked of whom nobody trusts");
        edge.check_law(&[]).await;
    }
    // Its certificate is renewed by another authority: a reload is enough.
    let edge = Edge::start(&conf(&backend, &trusting("other.pem", ""))).await;
    edge.logged("keys of an issuer cannot be fetched").await;
    let path = |name: &str| scratch.path().join(name);
    std::fs::copy(path("edge.pem"), path("other.pem")).expect("a file");
    edge.reload(&conf(&backend, &trusting("other.pem", ""))).await;
    edge.until("the keys are there", |now| now.sum("chatmux_jwks_keys", &[]) == 1).await;
    edge.open(&jane(Signer::Ec, "one")).await.expect("connected").await;
    edge.check_law(&[]).await;
}

#[tokio::test]
async fn a_check_tries_keys_behind_tls_as_the_process_would() {
    let scratch = Scratch::new();
    for name in ["edge", "other"] {
        self_signed(&scratch, name);
    }
    let jwks = Jwks::start(&jwk_set(&[Signer::Ec.jwk("one")])).await;
    let tls = terminate(acceptor(scratch.path()), jwks.address()).await;
    let backend = backend(Kind::Xians).await;
    let check = async |ca: &str| {
        let options = format!(
            "jwks_url: \"https://localhost:{}/keys?p=1\", jwks_tls: {{ca: {ca}}}",
            tls.port()
        );
        let path = scratch.write("c.yaml", &conf(&backend, &options)).display().to_string();
        let said = chatmux(&["check", "--online", "--format", "json", "-c", &path]).await;
        let report: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
        let tried = report["online"].as_array().expect("tries").iter();
        let mut tried = tried.filter(|tried| tried["path"] == "auth.jwt[0].jwks_url");
        (said.code, tried.next().expect("a try").clone(), report.clone())
    };
    let (code, tried, report) = check("edge.pem").await;
    assert_eq!((code, &tried["ok"], &tried["keys"]), (0, &json!(true), &json!(1)), "{report}");
    // Made for two days: it is spoken of.
    assert!(tried["certificateDays"].as_i64().is_some_and(|days| days <= 2), "{tried}");
    assert!(report["warnings"].to_string().contains("its certificate is good for"), "{report}");
    let (code, tried, _) = check("other.pem").await;
    assert_eq!((code, &tried["stage"], &tried["keys"]), (1, &json!("tls"), &json!(null)));
}
