//! What is proven of a conf without running it: routes, expressions, heartbeats, files.

use std::os::unix::fs::PermissionsExt as _;

use super::Loaded;
use super::tests::{Folder, certificate, certificate_of, completed, files, read_in};

fn set_mode(folder: &Folder, name: &str, mode: u32) {
    let mode = std::fs::Permissions::from_mode(mode);
    std::fs::set_permissions(folder.0.join(name), mode).expect("its mode");
}

#[track_caller]
fn loaded(folder: &Folder, text: &str) -> Loaded {
    match read_in(folder, &completed(text)) {
        Ok(loaded) => loaded,
        Err(errors) => panic!("{errors}"),
    }
}

#[track_caller]
fn check_in(folder: &Folder, text: &str, want: &[&str]) {
    let got: Vec<_> = loaded(folder, text).warnings.iter().map(ToString::to_string).collect();
    assert_eq!(got, want, "{text}");
}

#[track_caller]
fn check(text: &str, want: &[&str]) {
    check_in(&files(), text, want);
}

#[track_caller]
fn check_errors(text: &str, want: &[&str]) {
    let got = read_in(&files(), &completed(text)).err().expect("refused").to_string();
    assert_eq!(got.lines().collect::<Vec<_>>(), want, "{text}");
}

#[test]
fn routes_that_an_earlier_one_hides_are_known() {
    check(
        "routes:
  - {path: /a, match: {tenant: 'ac.*'}, sources: [desk]}
  - {path: /b, match: {tenant: acme}, sources: [desk]}
  - {path: /a, match: {tenant: acme, workflow: x}, sources: [desk]}
  - {path: /a, match: {tenant: 'acme-[0-9]+'}, sources: [desk]}
  - {path: /a, match: {tenant: 'a.*'}, sources: [desk]}
  - {path: /a, sources: [desk]}
  - {path: /a, match: {workflow: x}, sources: [desk]}",
        &[
            "c:4:5: routes[2]: no request ever comes here: routes[0] takes all of them; put this \
             one before it",
            "c:5:5: routes[3]: no request ever comes here: routes[0] takes all of them; put this \
             one before it",
            "c:8:5: routes[6]: no request ever comes here: routes[5] takes all of them; put this \
             one before it",
        ],
    );
}

#[test]
fn expressions_that_take_nothing_are_told() {
    check(
        "cors: {allow_origins: ['https://a^b']}
auth: {api_keys: [{label: a, sha256: \
         0000000000000000000000000000000000000000000000000000000000000001, workflows: ['a$b']}]}
routes: [{path: /a, match: {tenant: 'a^b', workflow: 'a|b'}, sources: [desk], redact: \
         [{pattern: 'x$y', replace: ''}]}]",
        &[
            "c:1:24: cors.allow_origins[0]: no text ever matches this expression",
            "c:2:116: auth.api_keys[0].workflows[0]: no text ever matches this expression",
            "c:3:37: routes[0].match.tenant: no text ever matches this expression",
            "c:3:98: routes[0].redact[0].pattern: no text ever matches this expression",
        ],
    );
}

#[test]
fn heartbeats_that_others_do_not_wait_for_are_told() {
    let route = |beat: &str| {
        format!("routes: [{{path: /a, sources: [desk], heartbeat: {{default: {beat}}}}}]")
    };
    check(&route("59s"), &[]);
    check(
        &route("60s"),
        &["c:1:59: routes[0].heartbeat.default: nginx closes a stream that is silent for 60 s by \
           default; 5s to 30s keeps it open"],
    );
}

#[test]
fn redaction_is_read_and_bounded() {
    let route = |redact: &str| format!("routes: [{{path: /a, sources: [desk], redact: {redact}}}]");
    let card =
        r"[{pattern: '\b(?:\d[ -]?){13,16}\b', replace: '[card]'}, {pattern: 5, replace: ''}]";
    let config = loaded(&files(), &route(card)).config;
    let redaction = config.routes[0].redaction.as_ref().expect("rules");
    let got: Vec<_> =
        redaction.0.iter().map(|rule| (rule.pattern.as_str(), rule.replace.as_str())).collect();
    assert_eq!(got, [(r"\b(?:\d[ -]?){13,16}\b", "[card]"), ("5", "")]);
    assert!(loaded(&files(), "").config.routes[0].redaction.is_none());

    check_errors(&route("[]"), &["c:1:46: routes[0].redact: this list is empty"]);
    check_errors(
        &route("[{pattern: 'a('}, {pattern: 'a*', replace: x}]"),
        &[
            "c:1:47: routes[0].redact[0].replace: this is missing: what stands there instead, as \
             it is written",
            "c:1:57: routes[0].redact[0].pattern: \"a(\" is no regular expression: unclosed group",
            "c:1:74: routes[0].redact[1].pattern: this matches where nothing stands, so it would \
             be put everywhere",
        ],
    );
    check_errors(
        &route("[{pattern: '(?:a{1000}){1000}', replace: x}]"),
        &["c:1:57: routes[0].redact[0].pattern: \"(?:a{1000}){1000}\" is no regular expression: \
           the expression needs more than 262144 bytes of memory"],
    );
    check_errors(
        &route(&format!("[{{pattern: a, replace: {}}}]", "x".repeat(65))),
        &["c:1:69: routes[0].redact[0].replace: 65 characters are more than 64"],
    );
    check_errors(
        &route(&format!("[{}]", vec!["{pattern: a, replace: x}"; 33].join(", "))),
        &["c:1:46: routes[0].redact: 33 rules are more than 32"],
    );
}

#[test]
fn secret_files_are_for_their_owner() {
    let folder = files();
    let conf = "sources: {desk: {backend: fake, url: 'https://a', token: '${file:secret}'}}";
    check_in(&folder, conf, &[]);
    for (mode, shown) in [(0o640, "0640"), (0o604, "0604"), (0o602, "0602")] {
        set_mode(&folder, "secret", mode);
        let want = format!(
            "c:1:58: sources.desk.token: others than its owner can read or change the file \
             \"secret\" (mode {shown}); chmod 600 it"
        );
        check_in(&folder, conf, &[&want]);
    }
    set_mode(&folder, "secret", 0o400);
    check_in(&folder, conf, &[]);
    // A public key is no secret.
    set_mode(&folder, "rsa.pem", 0o644);
    check_in(
        &folder,
        "auth: {jwt: [{issuer: a, algorithms: [RS256], public_key: '${file:rsa.pem}', bind: \
         {participantId: sub}}]}",
        &[],
    );
    set_mode(&folder, "key.pem", 0o644);
    check_in(
        &folder,
        "listen: [{address: 'a:1', tls: {cert: cert.pem, key: key.pem}}]",
        &["c:1:54: listen[0].tls.key: others than its owner can read or change the file \
           \"key.pem\" (mode 0644); chmod 600 it"],
    );
}

#[test]
fn keys_that_tls_does_not_take_are_told_with_their_place() {
    use openssl::{pkey::PKey, rsa::Rsa};

    let folder = files();
    let key = Rsa::generate(1024).and_then(PKey::from_rsa).expect("a key");
    let (weak, weak_key) = certificate_of(&key, -1, 365);
    let (good, good_key) = certificate(-1, 365);
    let tls = "listen: [{address: '127.0.0.1:0', tls: {cert: cert.pem, key: key.pem}}]";
    for (cert, key, want) in [
        (
            weak.clone(),
            weak_key,
            "c:1:47: listen[0].tls.cert: the key of this certificate is too short, TLS does not \
             take it; RSA needs 2048 bits or more, elliptic curves 256",
        ),
        (
            format!("{good}{weak}"),
            good_key,
            "c:1:47: listen[0].tls.cert: the key of an authority in this file is too short, TLS \
             does not take it; RSA needs 2048 bits or more, elliptic curves 256",
        ),
    ] {
        for (name, text) in [("cert.pem", cert), ("key.pem", key)] {
            std::fs::write(folder.0.join(name), text).expect("a file");
        }
        let errors = read_in(&folder, &completed(tls)).err().expect("refused").to_string();
        assert_eq!(errors, want);
    }
}

#[test]
fn certificates_are_read_before_tls_does() {
    let listen = |cert: &str, key: &str| {
        format!("listen: [{{address: 'a:1', tls: {{cert: {cert}, key: {key}}}}}]")
    };
    check(&listen("cert.pem", "key.pem"), &[]);
    check_errors(
        &listen("bad-cert.pem", "bad-key.pem"),
        &[
            "c:1:39: listen[0].tls.cert: a certificate in this file cannot be read",
            "c:1:58: listen[0].tls.key: the private key in this file cannot be read",
        ],
    );
    let folder = files();
    let write = |name: &str, text: &str| {
        std::fs::write(folder.0.join(name), text).expect("a file");
        set_mode(&folder, name, 0o600);
    };
    write("other.pem", &certificate(-1, 365).1);
    let errors = read_in(&folder, &completed(&listen("cert.pem", "other.pem"))).err();
    assert_eq!(
        errors.expect("refused").to_string(),
        "c:1:54: listen[0].tls.key: this key does not belong to the certificate"
    );
    for (from, until, want) in [
        (-10, -2, Some("has ended on ")),
        (2, 100, Some("is good only from ")),
        (-10, 13, Some(", in 13 days")),
        (-10, 14, None),
    ] {
        let (cert, key) = certificate(from, until);
        write("c.pem", &cert);
        write("k.pem", &key);
        let warnings = loaded(&folder, &listen("c.pem", "k.pem")).warnings;
        match want {
            None => assert_eq!(warnings, []),
            Some(want) => {
                let text = warnings.first().map(ToString::to_string).unwrap_or_default();
                assert!(text.starts_with("c:1:39: listen[0].tls.cert: ") && text.contains(want));
                assert_eq!(warnings.len(), 1, "{text}");
            }
        }
    }
    // Of a bundle of authorities, one that is good is enough.
    let old = certificate(-10, -2).0;
    write("ca.pem", &format!("{old}{}", certificate(-1, 365).0));
    let source = |ca: &str| {
        format!(
            "sources: {{desk: {{backend: fake, url: 'https://a', token: '{{query.token}}', tls: \
             {{ca: {ca}}}}}}}"
        )
    };
    check_in(&folder, &source("ca.pem"), &[]);
    write("old.pem", &old);
    assert_eq!(loaded(&folder, &source("old.pem")).warnings.len(), 1);
}
