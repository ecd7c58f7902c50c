//! Issuers, cookies and the admin key: what is written, and what is refused.

use super::tests::{accepted, check, check_warnings};
use super::*;

fn issuer(options: &str) -> String {
    format!(
        "auth: {{jwt: [{{issuer: a, algorithms: [RS256, ES256], {options}, bind: {{participantId: sub}}}}]}}"
    )
}

#[test]
fn a_set_of_keys_may_be_of_several_kinds() {
    let loaded = accepted(&issuer("jwks_file: set.json"));
    let key = &loaded.config.auth.jwt.first().expect("an issuer").key;
    assert!(matches!(key, IssuerKey::KeySet(text) if text == "{\"keys\":[]}"));
}

#[test]
fn where_a_set_is_fetched_is_taken_as_written() {
    let key = |options: &str| {
        let loaded = accepted(&issuer(options));
        let issuer = loaded.config.auth.jwt.first().expect("an issuer");
        match &issuer.key {
            IssuerKey::KeySetUrl(url) => url.clone(),
            IssuerKey::Secret(_) | IssuerKey::Pem(_) | IssuerKey::KeySet(_) => panic!("a URL"),
        }
    };
    let plain = key("jwks_url: 'https://id.example.com/jwks.json'");
    assert_eq!(
        (plain.url.authority().as_str(), plain.target.as_str()),
        ("id.example.com", "/jwks.json")
    );
    assert_eq!((plain.refresh.as_secs(), plain.pause.as_secs()), (600, 10));
    assert_eq!(plain.server_name(), "id.example.com");
    for (url, target) in [
        ("https://id.example.com", "/"),
        ("https://id.example.com/", "/"),
        ("https://id.example.com/keys/", "/keys/"),
        ("https://id.example.com/keys?p=b2c_1&x=%20", "/keys?p=b2c_1&x=%20"),
        ("https://id.example.com?p=1", "/?p=1"),
    ] {
        assert_eq!(key(&format!("jwks_url: '{url}'")).target, target, "{url}");
    }
    let all = "jwks_url: 'https://10.0.0.1/k', jwks_refresh: 1h, jwks_pause: 1m, \
        jwks_tls: {ca: cert.pem, sni: id.example.com}";
    let all = key(all);
    assert_eq!((all.refresh.as_secs(), all.pause.as_secs()), (3600, 60));
    assert!(all.ca.is_some() && all.server_name() == "id.example.com");
}

#[test]
fn keys_come_from_one_place() {
    check(
        &issuer("jwks_file: set.json, public_key: '${file:rsa.pem}'"),
        &["c:1:65: auth.jwt[0].jwks_file: there is a public_key already; keep one of them"],
    );
    check(
        &issuer("secret: '${env:LONG}', jwks_url: 'https://a/b'"),
        &[
            "c:1:62: auth.jwt[0].secret: these algorithms take a public_key, or a jwks_file, or a jwks_url",
        ],
    );
    check(
        &issuer("leeway: 1s"),
        &[
            "c:1:38: auth.jwt[0].algorithms: one key cannot serve them all; keep HS*, RS* with PS*, ES256, ES384 and EdDSA apart",
        ],
    );
    check(
        "auth: {jwt: [{issuer: a, algorithms: [ES256]}]}",
        &[
            "c:1:14: auth.jwt[0].public_key: this is missing: what signatures are checked with; or a jwks_file, or a jwks_url",
        ],
    );
    // Who publishes a shared secret gives it away.
    check(
        "auth: {jwt: [{issuer: a, algorithms: [HS256, RS256], jwks_url: 'https://a/b'}]}",
        &[
            "c:1:14: auth.jwt[0].secret: this is missing: what signatures are checked with",
            "c:1:64: auth.jwt[0].jwks_url: these algorithms take a secret",
        ],
    );
}

#[test]
fn what_cannot_be_fetched_is_refused() {
    check(
        &issuer("jwks_url: 'ftp://a/b'"),
        &["c:1:64: auth.jwt[0].jwks_url: a URL starts with https:// or http://"],
    );
    check(
        &issuer("jwks_url: 'https://a/b?x#y'"),
        &["c:1:64: auth.jwt[0].jwks_url: a query holds no spaces, no fragment, and only ASCII"],
    );
    check(
        &issuer("jwks_url: 'http://127.0.0.1/b', jwks_tls: {sni: a}, jwks_refresh: 10ms"),
        &[
            "c:1:96: auth.jwt[0].jwks_tls: this has no meaning with http://; write https:// in jwks_url",
            "c:1:120: auth.jwt[0].jwks_refresh: 10ms is under 1s",
        ],
    );
    check(
        &issuer("jwks_file: none.json"),
        &[
            "c:1:65: auth.jwt[0].jwks_file: cannot read the file \"none.json\": No such file or directory (os error 2)",
        ],
    );
    check(
        &issuer("jwks_file: set.json, jwks_pause: 5s"),
        &["c:1:87: auth.jwt[0].jwks_pause: this has no meaning without jwks_url"],
    );
}

#[test]
fn what_makes_a_set_unsafe_or_slow_is_a_warning() {
    check_warnings(
        &issuer("jwks_url: 'http://id.example.com/b'"),
        &[
            "c:1:64: auth.jwt[0].jwks_url: keys that come in the clear can be swapped on the way; use https://",
        ],
    );
    check_warnings(&issuer("jwks_url: 'http://127.0.0.1:1/b'"), &[]);
    check_warnings(
        &issuer("jwks_url: 'https://a/b', jwks_refresh: 5s"),
        &[
            "c:1:14: auth.jwt[0].jwks_pause: this is longer than jwks_refresh, so the set is fetched less often",
        ],
    );
}

#[test]
fn a_cookie_and_an_admin_key_have_their_form() {
    let loaded = accepted(
        "auth: {anonymous: true, cookie: chat-token}\nadmin: {address: '127.0.0.1:0', sha256: '0000000000000000000000000000000000000000000000000000000000000001'}",
    );
    assert_eq!(loaded.config.auth.cookie.as_deref(), Some("chat-token"));
    let admin = loaded.config.admin.expect("an admin listener");
    assert_eq!(admin.sha256.map(|digest| digest[31]), Some(1));
    check(
        "auth: {anonymous: true, cookie: 'a b'}\nadmin: {address: '127.0.0.1:0', sha256: hunter2}",
        &[
            "c:1:33: auth.cookie: a cookie's name holds letters, digits and !#$%&'*+-.^_`|~, and no spaces",
            "c:2:41: admin.sha256: this must be the SHA-256 of the key, 64 hexadecimal digits, as `chatmux key` prints it",
        ],
    );
}
