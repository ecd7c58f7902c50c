//! Tokens, true and forged.
//!
//! The keys lie in `keys`, were made for these tests and open nothing else.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm as Alg, EncodingKey, crypto};

use super::key_sets;
use crate::config::{Algorithm, Issuer, IssuerKey};
use crate::edge::gate::jwt::{Issuers, Verdict, Verified};
use crate::proto::secret::Secret;
use crate::proto::time::UnixMillis;
use crate::telemetry::Metrics;

const SECRET: &str = "a secret of thirty-two bytes, 123";
const RSA_PUB: &[u8] = include_bytes!("keys/rsa.pub");
const EC_PUB: &[u8] = include_bytes!("keys/ec.pub");
const EC384_PUB: &[u8] = include_bytes!("keys/ec384.pub");
const ED_PUB: &[u8] = include_bytes!("keys/ed.pub");
const RSA_CRT: &[u8] = include_bytes!("keys/rsa.crt");
const EC_CRT: &[u8] = include_bytes!("keys/ec.crt");
const ED_CRT: &[u8] = include_bytes!("keys/ed.crt");
const RSA_SHORT_PUB: &[u8] = include_bytes!("keys/rsa1024.pub");
const RSA_PKCS1_PEM: &[u8] = include_bytes!("keys/rsa.pkcs1.pem");
const RSA_PEM: &[u8] = include_bytes!("keys/rsa.pem");

/// The time at which all tokens are looked at, in seconds.
const NOW: i64 = 2_000_000_000;
const LEEWAY: i64 = 30;

fn issuer(name: &str, algorithms: &[Algorithm], key: IssuerKey) -> Arc<Issuer> {
    Arc::new(Issuer {
        issuer: name.to_owned(),
        audiences: Vec::new(),
        algorithms: algorithms.to_vec(),
        key,
        leeway: Duration::from_secs(LEEWAY.unsigned_abs()),
        bind: Vec::new(),
    })
}

fn secret() -> IssuerKey {
    IssuerKey::Secret(Secret::new(SECRET.to_owned()))
}

fn pem(text: &[u8]) -> IssuerKey {
    IssuerKey::Pem(text.to_vec())
}

/// One issuer of each kind, and one for an audience.
fn issuers() -> Issuers {
    let chat = Issuer {
        audiences: vec!["chat".to_owned(), "chat2".to_owned()],
        ..Arc::into_inner(issuer("aud", &[Algorithm::Hs256], secret())).expect("one owner")
    };
    all(&[
        issuer("hs", &[Algorithm::Hs256], secret()),
        issuer("rs", &[Algorithm::Rs256], pem(RSA_PUB)),
        issuer("es", &[Algorithm::Es256], pem(EC_PUB)),
        issuer("ed", &[Algorithm::EdDsa], pem(ED_PUB)),
        Arc::new(chat),
    ])
    .expect("issuers")
}

fn signing_key(alg: Alg) -> EncodingKey {
    let key = match alg {
        Alg::ES256 => EncodingKey::from_ec_pem(include_bytes!("keys/ec.pem")),
        Alg::ES384 => EncodingKey::from_ec_pem(include_bytes!("keys/ec384.pem")),
        Alg::EdDSA => EncodingKey::from_ed_pem(include_bytes!("keys/ed.pem")),
        Alg::HS256 | Alg::HS384 | Alg::HS512 => {
            return EncodingKey::from_secret(SECRET.as_bytes());
        }
        _ => EncodingKey::from_rsa_pem(RSA_PEM),
    };
    key.expect("a test key")
}

fn signed_with(header: &str, payload: &str, alg: Alg, key: &EncodingKey) -> String {
    let [header, payload] = [header, payload].map(|part| URL_SAFE_NO_PAD.encode(part));
    let message = format!("{header}.{payload}");
    let signature = crypto::sign(message.as_bytes(), key, alg).expect("a signature");
    format!("{message}.{signature}")
}

fn signed(header: &str, payload: &str, alg: Alg) -> String {
    signed_with(header, payload, alg, &signing_key(alg))
}

fn head(alg: Alg) -> String {
    format!("{{\"alg\":\"{alg:?}\",\"typ\":\"JWT\"}}")
}

/// The claims of an issuer, valid for a minute.
fn claims(issuer: &str, more: &str) -> String {
    format!("{{\"iss\":\"{issuer}\",\"sub\":\"jane\",\"exp\":{}{more}}}", NOW + 60)
}

/// The issuers of a configuration, none of which publishes its keys.
fn all(issuers: &[Arc<Issuer>]) -> Result<Issuers, String> {
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    Issuers::new(issuers, &key_sets(&metrics))
}

fn verified(issuers: &Issuers, token: &str) -> Option<Box<Verified>> {
    match issuers.verify(token, UnixMillis(NOW * 1000)) {
        Verdict::True(verified) => Some(verified),
        Verdict::False => None,
        Verdict::NoKey(_) => panic!("nobody publishes keys here"),
    }
}

fn is_true(issuers: &Issuers, token: &str) -> bool {
    verified(issuers, token).is_some()
}

#[track_caller]
fn check(token: &str, want: bool) {
    assert_eq!(is_true(&issuers(), token), want, "{token}");
}

/// A token of the HS issuer with this header.
#[track_caller]
fn check_header(header: &str, want: bool) {
    check(&signed(header, &claims("hs", ""), Alg::HS256), want);
}

/// A token of the HS issuer with these claims.
#[track_caller]
fn check_claims(payload: &str, want: bool) {
    check(&signed(&head(Alg::HS256), payload, Alg::HS256), want);
}

#[test]
fn every_algorithm_is_verified_with_its_key() {
    let table: &[(Algorithm, Alg, &dyn Fn() -> IssuerKey)] = &[
        (Algorithm::Hs256, Alg::HS256, &secret),
        (Algorithm::Hs384, Alg::HS384, &secret),
        (Algorithm::Hs512, Alg::HS512, &secret),
        (Algorithm::Rs256, Alg::RS256, &|| pem(RSA_PUB)),
        (Algorithm::Rs384, Alg::RS384, &|| pem(RSA_PUB)),
        (Algorithm::Rs512, Alg::RS512, &|| pem(RSA_PUB)),
        (Algorithm::Ps256, Alg::PS256, &|| pem(RSA_PUB)),
        (Algorithm::Ps384, Alg::PS384, &|| pem(RSA_PUB)),
        (Algorithm::Ps512, Alg::PS512, &|| pem(RSA_PUB)),
        (Algorithm::Es256, Alg::ES256, &|| pem(EC_PUB)),
        (Algorithm::Es384, Alg::ES384, &|| pem(EC384_PUB)),
        (Algorithm::EdDsa, Alg::EdDSA, &|| pem(ED_PUB)),
        (Algorithm::Rs256, Alg::RS256, &|| pem(RSA_CRT)),
        (Algorithm::Es256, Alg::ES256, &|| pem(EC_CRT)),
        (Algorithm::EdDsa, Alg::EdDSA, &|| pem(ED_CRT)),
    ];
    let tokens: Vec<_> =
        table.iter().map(|(_, alg, _)| signed(&head(*alg), &claims("x", ""), *alg)).collect();
    for (algorithm, alg, key) in table {
        let issuers = all(&[issuer("x", &[*algorithm], key())]).expect("an issuer");
        for (token, (_, token_alg, _)) in tokens.iter().zip(table) {
            assert_eq!(is_true(&issuers, token), alg == token_alg, "{alg:?} takes {token_alg:?}");
        }
    }
}

#[test]
fn no_signature_is_no_token() {
    for alg in ["none", "None", "NONE", "nOnE", "", "HS", "hs256", "HS256 ", "ES512", "null"] {
        let header = format!("{{\"alg\":\"{alg}\"}}");
        check_header(&header, false);
        let parts = [header, claims("hs", "")].map(|part| URL_SAFE_NO_PAD.encode(part));
        check(&format!("{}.{}.", parts[0], parts[1]), false);
    }
    for header in
        ["{}", "{\"alg\":null}", "{\"alg\":0}", "{\"alg\":[\"HS256\"]}", "[]", "", "HS256"]
    {
        check_header(header, false);
    }
    check_header("{\"alg\":\"HS256\",\"alg\":\"none\"}", false);
    check_header("{\"alg\":\"none\",\"alg\":\"HS256\"}", false);
    check_header(&head(Alg::HS256), true);
}

#[test]
fn a_public_key_is_never_a_secret() {
    for (name, public) in [("rs", RSA_PUB), ("es", EC_PUB), ("ed", ED_PUB)] {
        let text = std::str::from_utf8(public).expect("text");
        let begin = text.find("-----BEGIN").expect("a key");
        let der: String =
            text.split_at(begin).1.lines().filter(|line| !line.starts_with("--")).collect();
        let der = STANDARD.decode(der).expect("base64");
        let forms = [public, text.trim().as_bytes(), &public[begin..], &der, b""];
        for (secret, alg) in forms
            .iter()
            .flat_map(|form| [Alg::HS256, Alg::HS384, Alg::HS512].map(|alg| (*form, alg)))
        {
            let key = EncodingKey::from_secret(secret);
            check(&signed_with(&head(alg), &claims(name, ""), alg, &key), false);
        }
    }
}

#[test]
fn only_listed_algorithms_and_the_issuers_own_key_count() {
    check(&signed(&head(Alg::RS256), &claims("rs", ""), Alg::RS256), true);
    check(&signed(&head(Alg::RS512), &claims("rs", ""), Alg::RS512), false);
    check(&signed(&head(Alg::PS256), &claims("rs", ""), Alg::PS256), false);
    check(&signed(&head(Alg::HS512), &claims("hs", ""), Alg::HS512), false);
    // Signed by one issuer in another's name.
    check(&signed(&head(Alg::ES256), &claims("rs", ""), Alg::ES256), false);
    check(&signed(&head(Alg::EdDSA), &claims("es", ""), Alg::EdDSA), false);
    check(&signed(&head(Alg::HS256), &claims("ed", ""), Alg::HS256), false);
    // Signed by one algorithm under the name of another.
    check(&signed(&head(Alg::RS256), &claims("rs", ""), Alg::RS512), false);
    let wrong = EncodingKey::from_secret(b"another secret of thirty-two bytes");
    check(&signed_with(&head(Alg::HS256), &claims("hs", ""), Alg::HS256, &wrong), false);
}

#[test]
fn a_token_brings_no_key_of_its_own() {
    let own = EncodingKey::from_secret(b"attacker");
    for more in [
        "\"jwk\":{\"kty\":\"oct\",\"k\":\"YXR0YWNrZXI\"}",
        "\"jku\":\"https://evil.example/keys\"",
        "\"x5u\":\"https://evil.example/chain\"",
        "\"kid\":\"../../dev/null\"",
        "\"kid\":\"' OR 1=1\"",
    ] {
        let header = format!("{{\"alg\":\"HS256\",{more}}}");
        check(&signed_with(&header, &claims("hs", ""), Alg::HS256, &own), false);
        // What is not looked at does no harm either.
        check(&signed(&header, &claims("hs", ""), Alg::HS256), true);
    }
}

#[test]
fn headers_that_change_the_meaning_are_refused() {
    for more in [
        "\"crit\":[\"exp\"]",
        "\"crit\":[\"x\"],\"x\":1",
        "\"crit\":[]",
        "\"crit\":null",
        "\"crit\":\"exp\"",
        "\"b64\":false",
        "\"zip\":\"DEF\"",
        "\"enc\":\"A128GCM\"",
    ] {
        check_header(&format!("{{\"alg\":\"HS256\",{more}}}"), false);
    }
    check_header("{\"alg\":\"HS256\",\"typ\":\"at+jwt\",\"x\":1}", true);
}

#[test]
fn not_a_bit_may_differ() {
    let token = signed(&head(Alg::ES256), &claims("es", ""), Alg::ES256);
    check(&token, true);
    let parts: Vec<&str> = token.split('.').collect();
    let [header, payload, signature] = parts[..] else { panic!("three parts") };
    let other = URL_SAFE_NO_PAD.encode(claims("es", ",\"x\":1"));
    check(&format!("{header}.{other}.{signature}"), false);
    check(&format!("{header}.{payload}."), false);
    check(&format!("{header}.{payload}"), false);
    check(&format!("{token}."), false);
    check(&format!(".{token}"), false);
    check(&format!("{token}="), false);
    check(&format!("{token} "), false);
    check(&format!("{header}.{payload}.{}", "A".repeat(86)), false);
    check(&format!("{header}.{payload}.{payload}"), false);
    let padded = URL_SAFE.encode(claims("es", ""));
    check(&format!("{header}.{padded}.{signature}"), padded == payload);
    for at in 0..token.len() {
        let mut bytes = token.clone().into_bytes();
        bytes[at] = if bytes[at] == b'B' { b'C' } else { b'B' };
        let forged = String::from_utf8(bytes).expect("text");
        check(&forged, forged == token);
    }
}

#[test]
fn junk_is_no_token() {
    for junk in ["", ".", "..", "...", "a.b.c", "e30.e30.e30", "e30.e30.", "\0.\0.\0", "é.é.é"] {
        check(junk, false);
    }
    let head = head(Alg::HS256);
    for payload in ["", "[]", "1", "\"hs\"", "null", "{", "{}", "{\"iss\":\"hs\"}"] {
        check(&signed(&head, payload, Alg::HS256), false);
    }
    let [header, payload] = [head.as_bytes(), b"{\"iss\":\"hs\",\"exp\":9e9,\"x\":\"\xff\"}"]
        .map(|part| URL_SAFE_NO_PAD.encode(part));
    let message = format!("{header}.{payload}");
    let signature = crypto::sign(message.as_bytes(), &signing_key(Alg::HS256), Alg::HS256);
    check(&format!("{message}.{}", signature.expect("a signature")), false);
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| format!(",\"x\":{}{}", "[".repeat(depth), "]".repeat(depth));
    check_claims(&claims("hs", &nested(50)), true);
    check_claims(&claims("hs", &nested(1000)), false);
    let header = format!("{{\"alg\":\"HS256\"{}}}", nested(1000));
    check_header(&header, false);
}

#[test]
fn the_issuer_must_be_known_by_name() {
    let exp = NOW + 60;
    for issuer in
        ["\"evil\"", "\"\"", "\"HS\"", "\"hs \"", "null", "1", "[\"hs\"]", "[\"hs\",\"evil\"]"]
    {
        check_claims(&format!("{{\"iss\":{issuer},\"exp\":{exp}}}"), false);
    }
    check_claims(&format!("{{\"exp\":{exp}}}"), false);
    check_claims(&format!("{{\"iss\":\"evil\",\"iss\":\"hs\",\"exp\":{exp}}}"), false);
    check_claims(&format!("{{\"iss\":\"hs\",\"exp\":{exp}}}"), true);
}

#[test]
fn the_audience_must_be_ours_where_one_is_configured() {
    for (audience, want) in [
        ("", false),
        (",\"aud\":\"chat\"", true),
        (",\"aud\":\"chat2\"", true),
        (",\"aud\":[\"mail\",\"chat\"]", true),
        (",\"aud\":\"mail\"", false),
        (",\"aud\":[\"mail\"]", false),
        (",\"aud\":[]", false),
        (",\"aud\":\"\"", false),
        (",\"aud\":null", false),
        (",\"aud\":1", false),
        (",\"aud\":{\"chat\":1}", false),
        (",\"aud\":[\"chat\",1]", false),
        (",\"aud\":\"mail\",\"aud\":\"chat\"", false),
    ] {
        check_claims(&claims("aud", audience), want);
    }
    // Not looked at where none is.
    check_claims(&claims("hs", ",\"aud\":\"mail\""), true);
}

#[test]
fn times_are_checked_with_leeway() {
    let table = [
        (format!("\"exp\":{}", NOW + 1), true),
        (format!("\"exp\":{NOW}"), true),
        (format!("\"exp\":{}", NOW - LEEWAY + 1), true),
        (format!("\"exp\":{}", NOW - LEEWAY), false),
        (format!("\"exp\":{}.5", NOW - LEEWAY), true),
        (format!("\"exp\":{}.0", NOW + 60), true),
        ("\"exp\":1e300".to_owned(), false),
        ("\"exp\":18446744073709551615".to_owned(), true),
        ("\"exp\":0".to_owned(), false),
        ("\"exp\":-1".to_owned(), false),
        ("\"exp\":-1e300".to_owned(), false),
        ("\"exp\":null".to_owned(), false),
        ("\"exp\":true".to_owned(), false),
        (format!("\"exp\":\"{}\"", NOW + 60), false),
        (format!("\"exp\":[{}]", NOW + 60), false),
        (format!("\"exp\":1,\"exp\":{}", NOW + 60), false),
        ("\"x\":0".to_owned(), false),
        (format!("\"exp\":{},\"nbf\":{}", NOW + 60, NOW + LEEWAY), true),
        (format!("\"exp\":{},\"nbf\":{}", NOW + 60, NOW + LEEWAY + 1), false),
        (format!("\"exp\":{},\"nbf\":-1e300", NOW + 60), true),
        (format!("\"exp\":{},\"nbf\":1e300", NOW + 60), false),
        (format!("\"exp\":{},\"nbf\":\"0\"", NOW + 60), false),
        (format!("\"exp\":{},\"nbf\":null", NOW + 60), false),
    ];
    for (times, want) in table {
        check_claims(&format!("{{\"iss\":\"hs\",{times}}}"), want);
    }
}

#[test]
fn the_end_is_the_tokens_own_without_leeway() {
    let expires = |exp: &str| {
        let payload = format!("{{\"iss\":\"hs\",\"exp\":{exp}}}");
        let token = signed(&head(Alg::HS256), &payload, Alg::HS256);
        verified(&issuers(), &token).map(|verified| verified.expires.0)
    };
    assert_eq!(expires(&(NOW + 7).to_string()), Some((NOW + 7) * 1000));
    assert_eq!(expires(&(NOW - 7).to_string()), Some((NOW - 7) * 1000));
    assert_eq!(expires(&format!("{}.25", NOW + 7)), Some((NOW + 7) * 1000 + 250));
    // The year 2100 is as good as never.
    for exp in ["4102444801", "18446744073709551615", "1e19", "9223372036854775807"] {
        assert_eq!(expires(exp), Some(4_102_444_800_000), "{exp}");
    }
}

#[track_caller]
fn check_unusable(algorithms: &[Algorithm], key: IssuerKey, want: &str) {
    let why = all(&[issuer("https://id.example.com/", algorithms, key)]).err();
    let why = why.expect("refused");
    let start = "auth.jwt[0]: the key of https://id.example.com/ cannot be used: ";
    assert!(why.starts_with(start) && why.contains(want), "{why}");
    assert!(!why.contains(SECRET), "{why}");
}

#[test]
fn keys_that_cannot_be_used_are_named() {
    check_unusable(&[], secret(), "no algorithm");
    check_unusable(&[Algorithm::Rs256], secret(), "only for HS");
    check_unusable(&[Algorithm::Hs256], pem(RSA_PUB), "not for HS");
    check_unusable(&[Algorithm::Rs256], pem(b"junk"), "no such public key");
    check_unusable(&[Algorithm::Rs256], pem(b""), "no such public key");
    check_unusable(&[Algorithm::Es256], pem(RSA_PUB), "no such public key");
    check_unusable(&[Algorithm::EdDsa], pem(EC_PUB), "no such public key");
    check_unusable(&[Algorithm::Es256], pem(EC384_PUB), "ES256");
    check_unusable(&[Algorithm::Rs256], pem(RSA_PEM), "public RSA key");
    check_unusable(&[Algorithm::Rs256], pem(RSA_PKCS1_PEM), "public RSA key");
    check_unusable(&[Algorithm::Rs256], pem(RSA_SHORT_PUB), "2048 bits");
    check_unusable(&[Algorithm::Rs256], pem(EC_PUB), "no such public key");
}
