//! Sets of keys: which of them are taken, and for which tokens.
//!
//! Fetching is shown with the whole process, in `tests/it/jwks.rs`.

use std::time::Duration;

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm as Alg, EncodingKey};
use serde_json::{Value, json};

use super::*;

fn issuer(algorithms: &[Algorithm]) -> Issuer {
    Issuer {
        issuer: "id".to_owned(),
        audiences: Vec::new(),
        algorithms: algorithms.to_vec(),
        key: IssuerKey::KeySet(String::new()),
        leeway: Duration::ZERO,
        bind: Vec::new(),
    }
}

/// All that a set can serve.
const ALL: [Algorithm; 9] = [
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
    Algorithm::Es256,
    Algorithm::Es384,
    Algorithm::EdDsa,
];

/// A test key as a JWK with these members more; `null` takes one away.
fn jwk(alg: Alg, more: Value) -> Value {
    let key = match alg {
        Alg::ES256 => EncodingKey::from_ec_pem(include_bytes!("../gate/tests/keys/ec.pem")),
        Alg::ES384 => EncodingKey::from_ec_pem(include_bytes!("../gate/tests/keys/ec384.pem")),
        Alg::EdDSA => EncodingKey::from_ed_pem(include_bytes!("../gate/tests/keys/ed.pem")),
        _ => EncodingKey::from_rsa_pem(include_bytes!("../gate/tests/keys/rsa.pem")),
    };
    let jwk = Jwk::from_encoding_key(&key.expect("a key"), alg).expect("a JWK");
    let mut jwk = serde_json::to_value(jwk).expect("JSON");
    let members = jwk.as_object_mut().expect("an object");
    for (name, value) in more.as_object().expect("members") {
        match value {
            Value::Null => drop(members.remove(name)),
            value => drop(members.insert(name.clone(), value.clone())),
        }
    }
    jwk
}

fn parse(keys: &[Value], algorithms: &[Algorithm]) -> Result<Keys, SetFault> {
    Keys::parse(json!({"keys": keys}).to_string().as_bytes(), &issuer(algorithms))
}

/// For which algorithms this key alone is taken.
#[track_caller]
fn check(key: Value, want: &[Algorithm]) {
    let keys = parse(std::slice::from_ref(&key), &ALL);
    let is_taken = |algorithm: &Algorithm| {
        keys.as_ref().is_ok_and(|keys| keys.find(*algorithm, None).is_some())
    };
    let got: Vec<_> = ALL.into_iter().filter(is_taken).collect();
    assert_eq!(got, want, "{key}");
    if want.is_empty() {
        assert_eq!(keys.err(), Some(SetFault::NoneUsable), "{key}");
    }
}

#[test]
fn a_key_serves_what_its_kind_and_its_words_agree_to() {
    use Algorithm::{EdDsa, Es256, Es384, Ps256, Ps384, Ps512, Rs256, Rs384, Rs512};
    let no_alg = json!({"alg": null});
    check(jwk(Alg::RS256, no_alg.clone()), &[Rs256, Rs384, Rs512, Ps256, Ps384, Ps512]);
    check(jwk(Alg::RS256, json!({})), &[Rs256]);
    check(jwk(Alg::RS256, json!({"alg": "PS384"})), &[Ps384]);
    check(jwk(Alg::ES256, no_alg.clone()), &[Es256]);
    check(jwk(Alg::ES384, no_alg.clone()), &[Es384]);
    check(jwk(Alg::EdDSA, no_alg), &[EdDsa]);
    check(jwk(Alg::EdDSA, json!({"use": "sig", "key_ops": ["verify"], "x5t": "x"})), &[EdDsa]);
    // What does not agree.
    for more in [
        json!({"alg": "ES256"}),
        json!({"alg": "HS256"}),
        json!({"alg": "none"}),
        json!({"alg": "RSA-OAEP"}),
        json!({"alg": 1}),
        json!({"use": "enc"}),
        json!({"use": "x"}),
        json!({"key_ops": ["sign"]}),
        json!({"key_ops": []}),
        json!({"kty": "EC"}),
        json!({"kty": "oct", "k": "c2VjcmV0"}),
        json!({"kty": null}),
        json!({"n": null}),
        json!({"n": ""}),
        json!({"n": "!!"}),
        json!({"n": "AQAB"}),
        json!({"e": "AQ"}),
        json!({"e": "Ag"}),
        json!({"e": ""}),
        json!({"e": "AQAAAAAAAAAAAQ"}),
        json!({"kid": 1}),
    ] {
        check(jwk(Alg::RS256, more), &[]);
    }
    let huge = "_".repeat(4096 / 8 * 4 / 3 + 4);
    check(jwk(Alg::RS256, json!({"n": huge})), &[]);
    check(jwk(Alg::ES256, json!({"crv": "P-384"})), &[]);
    check(jwk(Alg::ES256, json!({"crv": "P-521"})), &[]);
    check(jwk(Alg::ES256, json!({"x": "AAAA"})), &[]);
    check(jwk(Alg::EdDSA, json!({"x": "AAAA"})), &[]);
}

#[test]
fn a_shared_secret_is_never_taken_from_a_set() {
    let secret = json!({"kty": "oct", "k": "YSBzZWNyZXQgb2YgdGhpcnR5LXR3byBieXRlcywgMTIz"});
    check(secret.clone(), &[]);
    for alg in [Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512] {
        assert!(parse(std::slice::from_ref(&secret), &[alg]).is_err());
        assert!(parse(&[jwk(Alg::RS256, json!({"alg": null}))], &[alg]).is_err());
    }
}

#[test]
fn only_the_algorithms_of_the_conf_count() {
    let key = jwk(Alg::RS256, json!({"alg": null}));
    let keys = parse(&[key], &[Algorithm::Rs512]).map_err(|_| ()).expect("a set");
    assert!(keys.find(Algorithm::Rs512, None).is_some());
    assert!(keys.find(Algorithm::Rs256, None).is_none());
    assert!(keys.find(Algorithm::Hs256, None).is_none());
}

#[test]
fn the_kid_chooses_and_nothing_is_tried() {
    let rsa = |id: Value| jwk(Alg::RS256, json!({"kid": id}));
    let ec = jwk(Alg::ES256, json!({"kid": "b"}));
    let set = [rsa(json!("a")), ec, rsa(json!("c")), rsa(Value::Null), json!({"kty": "new"})];
    let keys = parse(&set, &ALL).map_err(|_| ()).expect("a set");
    assert_eq!(keys.len(), 4);
    let find = |algorithm, id| keys.find(algorithm, id).is_some();
    assert!(find(Algorithm::Rs256, Some("a")) && find(Algorithm::Rs256, Some("c")));
    assert!(find(Algorithm::Es256, Some("b")));
    assert!(!find(Algorithm::Es256, Some("a")), "the kid of another kind of key");
    for id in ["", "A", "a ", "d"] {
        assert!(!find(Algorithm::Rs256, Some(id)), "{id:?}");
    }
    // Without a kid there must be no choice.
    assert!(find(Algorithm::Es256, None));
    assert!(!find(Algorithm::Rs256, None));
    let twins = parse(&[rsa(json!("a")), rsa(json!("a"))], &ALL).map_err(|_| ()).expect("a set");
    assert!(twins.find(Algorithm::Rs256, Some("a")).is_none());
}

#[test]
fn what_is_no_set_says_why() {
    let fault = |text: &str| Keys::parse(text.as_bytes(), &issuer(&ALL)).err();
    for text in ["", "[]", "{}", "null", "{\"keys\":{}}", "{\"keys\":[],\"keys\":[]}", "<html>"] {
        assert_eq!(fault(text), Some(SetFault::NoSet), "{text}");
    }
    assert_eq!(fault("{\"keys\":[]}"), Some(SetFault::NoneUsable));
    assert_eq!(fault("{\"keys\":[1,null,[],{}]}"), Some(SetFault::NoneUsable));
    let many = vec![jwk(Alg::EdDSA, json!({})); 101];
    assert_eq!(parse(&many, &ALL).err(), Some(SetFault::TooMany));
    assert!(parse(&many[..100], &ALL).is_ok());
    let large = format!("{{\"x\":\"{}\"}}", "x".repeat(KEY_SET_BYTES_MAX));
    assert_eq!(fault(&large), Some(SetFault::TooLarge));
    let words = [SetFault::TooLarge, SetFault::NoSet, SetFault::TooMany, SetFault::NoneUsable];
    assert!(words.iter().all(|fault| fault.as_str().starts_with(['i', 'n'])));
}

/// The set of an issuer that nothing listens for.
fn unreachable(pause_secs: u64) -> (KeySets, Arc<KeySet>, watch::Receiver<u64>) {
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let first = watch::Sender::new(0);
    let told = first.subscribe();
    let first: First = Arc::new(move || first.send_modify(|count| *count += 1));
    let key_sets = KeySets::new(Arc::new(Dialer::new()), metrics, first);
    let set = key_sets.of(&published(pause_secs)).expect("a set");
    (key_sets, set, told)
}

fn published(pause_secs: u64) -> Arc<Issuer> {
    let url = crate::config::Url::parse("http://127.0.0.1:1/keys").expect("a URL");
    let from = KeySetUrl {
        target: url.path.clone(),
        url,
        ca: None,
        sni: None,
        refresh: Duration::from_secs(600),
        pause: Duration::from_secs(pause_secs),
    };
    Arc::new(Issuer { key: IssuerKey::KeySetUrl(from), ..issuer(&ALL) })
}

#[tokio::test(start_paused = true)]
async fn only_a_fetch_that_comes_soon_is_waited_for() {
    let (_key_sets, set, _told) = unreachable(10);
    let begun = Instant::now();
    // The first is under way as soon as somebody asks.
    let wait = set.ask().expect("a fetch to wait for");
    wait.over().await;
    assert!(begun.elapsed() <= KEY_WAIT);
    // It has failed: the next may begin after the pause, and nobody waits that long.
    while set.inner.state().is_fetching {
        tokio::task::yield_now().await;
    }
    assert!(set.ask().is_none());
    let free_at = set.inner.state().free_at;
    assert!(free_at >= begun + Duration::from_secs(10));
    tokio::time::sleep_until(free_at.checked_sub(KEY_WAIT).expect("a time")).await;
    assert!(set.ask().is_some());
}

#[test]
fn a_set_is_the_same_across_reloads() {
    let (key_sets, set, _told) = unreachable(10);
    let again = key_sets.of(&published(10)).expect("a set");
    assert!(Arc::ptr_eq(&set, &again));
    let other = key_sets.of(&published(11)).expect("a set");
    assert!(!Arc::ptr_eq(&set, &other));
    // Outside of a runtime nothing begins, and nothing breaks.
    set.start();
    assert!(set.keys().is_none());
}
