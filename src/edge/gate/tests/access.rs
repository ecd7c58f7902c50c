//! Who is let in, and to what.

use super::*;

#[test]
fn keys_open_what_they_are_for() {
    let bench = Bench::new(|_| ());
    let with = |apikey: &str, tenant: &str, workflow: &str, participant: &str| {
        format!("apikey={apikey}&tenantId={tenant}&workflow={workflow}&participantId={participant}")
    };
    for (query, want) in [
        (with("sk-any", "acme", "support", "jane"), "stream"),
        (with("sk-any", "globex", "sales", "jim"), "stream"),
        (with("sk-any", "", "sales", "jim"), "400 tenantId Missing"),
        (with("sk-acme", "acme", "support", "jane"), "stream"),
        (with("sk-acme", "", "support", "joe"), "stream"),
        (with("sk-acme", "acme", "acme:support:x", "jane"), "stream"),
        (with("sk-acme", "globex", "support", "jane"), "403"),
        (with("sk-acme", "acme", "my-support", "jane"), "403"),
        (with("sk-acme", "acme", "support", "jim"), "403"),
        (with("sk-acme", "acme", "support", "Jane"), "403"),
        (with("sk-acme", "acme", "support", "jane2"), "403"),
        (with("sk-none", "acme", "support", "jane"), "401"),
        (with("", "acme", "support", "jane"), "401"),
        (with("%zz", "acme", "support", "jane"), "401"),
    ] {
        bench.check_get(&query, want);
    }
    let late = Ask { wall: UnixMillis(NOW.0 + 1000), ..Ask::default() };
    bench.check(&late, &with("sk-acme", "acme", "support", "jane"), "401");
    let ends = match bench.get(&with("sk-acme", "acme", "support", "jane")).decision {
        Decision::Stream(admitted) => admitted.expires,
        _ => None,
    };
    assert_eq!(ends, Some(UnixMillis(NOW.0 + 1000)));
}

#[test]
fn a_key_of_several_tenants_names_none() {
    let bench = Bench::new(|config| {
        let tenants = vec!["acme".to_owned(), "globex".to_owned()];
        config.auth.api_keys = vec![Arc::new(ApiKey { tenants, ..key("sk-two") })];
    });
    let query = "apikey=sk-two&workflow=w&participantId=p";
    bench.check_get(query, "400 tenantId Missing");
    bench.check_get(&format!("{query}&tenantId=globex"), "stream");
    bench.check_get(&format!("{query}&tenantId=initech"), "403");
}

#[test]
fn the_first_credential_decides_alone() {
    let bench = Bench::new(|config| config.auth.anonymous = true);
    let good = format!("{ASK}&apikey=sk-any");
    bench.check(&get_with(&[("x-api-key", "sk-wrong")]), &good, "401");
    bench.check(&get_with(&[("authorization", "Bearer sk-wrong")]), &good, "401");
    bench.check(&get_with(&[("authorization", "Basic dTpw")]), &good, "stream");
    let bad = format!("{ASK}&apikey=sk-wrong&access_token=sk-any");
    bench.check_get(&bad, "401");
    bench.check(&get_with(&[("authorization", "bearer sk-any")]), &bad, "stream");
    // In the wrong form.
    bench.check_get(&format!("{ASK}&apikey=sk.any.key"), "401");
    let whole = token("\"sub\":\"jane\",\"org\":{\"tenant\":\"acme\"}");
    let (half, _) = whole.rsplit_once('.').expect("parts");
    bench.check_get(&format!("{ASK}&access_token={half}"), "401");
    bench.check_get(&format!("{ASK}&apikey={whole}"), "stream");
}

#[test]
fn all_failures_to_authenticate_are_one() {
    let bench = Bench::new(|config| {
        let expires = Some(UnixMillis(0));
        config.auth.api_keys.push(Arc::new(ApiKey { expires, ..key("sk-old") }));
    });
    let long = "x".repeat(10_000);
    let wrong = ["", "sk-none", "sk-old", "a.b.c", "..", "e30.e30.e30", "%ff", &long];
    for credential in wrong {
        let query = format!("{ASK}&access_token={credential}");
        let decided = bench.get(&query);
        let Decision::Refused(refusal) = decided.decision else { panic!("{query}") };
        assert_eq!(refusal, Refusal::Unauthorized);
        let body = String::from_utf8(refusal.answer().body).expect("text");
        assert!(credential.len() < 3 || !body.contains(credential), "{body}");
    }
}

#[test]
fn tokens_open_their_own_streams_alone() {
    let bench = Bench::new(|_| ());
    let check = |claims: &str, query: &str, want: &str| {
        let bearer = format!("Bearer {}", token(claims));
        bench.check(&get_with(&[("authorization", &bearer)]), query, want);
    };
    let own = "\"sub\":\"jane\",\"org\":{\"tenant\":\"acme\"}";
    check(own, ASK, "stream");
    check(own, "workflow=support&participantId=jane", "stream");
    check(own, "workflow=support&participantId=joe&tenantId=acme", "403");
    check(own, "workflow=support&participantId=jane&tenantId=globex", "403");
    check(own, "workflow=support&participantId=jane%20&tenantId=acme", "403");
    check("\"sub\":\"jane\"", ASK, "403");
    check("\"org\":{\"tenant\":\"acme\"}", ASK, "403");
    check("\"sub\":null,\"org\":{\"tenant\":\"acme\"}", ASK, "403");
    check("\"sub\":\"jane\",\"org.tenant\":\"acme\"", ASK, "stream");
    let several = "\"sub\":\"jane\",\"org\":{\"tenant\":[\"globex\",\"acme\"]}";
    check(several, ASK, "stream");
    check(several, "workflow=support&participantId=jane&tenantId=initech", "403");
    check(several, "workflow=support&participantId=jane", "400 tenantId Missing");
    check("\"sub\":7,\"org\":{\"tenant\":\"acme\"}", "workflow=w&participantId=7", "stream");
    check(
        "\"sub\":\"jane\",\"org\":{\"tenant\":\"\"}",
        "workflow=w&participantId=jane",
        "400 tenantId Missing",
    );
    check("\"sub\":\"jane\",\"exp\":1", ASK, "401");
}

#[test]
fn a_token_can_be_for_several_people() {
    let bench = Bench::new(|config| {
        let bind = vec![(Bound::ParticipantId, "people".to_owned())];
        config.auth.jwt = vec![Arc::new(Issuer { bind, ..issuer() })];
    });
    for (people, want) in [
        ("[\"joe\",\"jane\"]", "stream"),
        ("\"jane\"", "stream"),
        ("[\"joe\"]", "403"),
        ("[[\"jane\"]]", "403"),
        ("[]", "403"),
        ("{\"jane\":1}", "403"),
        ("\"joe jane\"", "403"),
        ("true", "403"),
    ] {
        let credential = token(&format!("\"people\":{people}"));
        bench.check_get(&format!("{ASK}&apikey={credential}"), want);
    }
}

#[test]
fn workflows_can_be_bound_by_type() {
    let bench = Bench::new(|config| {
        let bind = vec![(Bound::Workflow, "w".to_owned())];
        config.auth.jwt = vec![Arc::new(Issuer { bind, ..issuer() })];
    });
    let credential = token("\"w\":[\"support\",\"A:B\"]");
    let check = |workflow: &str, want: &str| {
        let query =
            format!("tenantId=acme&participantId=p&workflow={workflow}&apikey={credential}");
        bench.check_get(&query, want);
    };
    check("support", "stream");
    check("acme:A:B", "stream");
    check("A:B", "stream");
    check("sales", "403");
    check("acme:support", "403");
}

#[test]
fn anonymous_requests_are_let_in_where_that_is_allowed() {
    Bench::new(|_| ()).check_get(ASK, "401");
    let bench = Bench::new(|config| config.auth.anonymous = true);
    bench.check_get(ASK, "stream");
    bench.check_get(&format!("{ASK}&apikey="), "stream");
    bench.check_get(&format!("{ASK}&apikey=sk-wrong"), "401");
    bench.check_get("workflow=w&participantId=p", "400 tenantId Missing");
    let Decision::Stream(admitted) = bench.get(ASK).decision else { panic!("no stream") };
    assert_eq!((admitted.expires, admitted.subject.as_deref()), (None, None));
}

#[test]
fn a_reload_takes_away_what_is_no_longer_allowed() {
    let open = |bench: &Bench, credential: &str| {
        let query = format!("{ASK}&apikey={credential}");
        match bench.get(&query).decision {
            Decision::Stream(admitted) => (admitted.grant, admitted.subscription),
            other => panic!("{query}: {}", show(&other)),
        }
    };
    let bench = Bench::new(|config| config.auth.anonymous = true);
    let token = token("\"sub\":\"jane\",\"org\":{\"tenant\":\"acme\"}");
    let streams = ["", "sk-any", "sk-acme", &token].map(|credential| open(&bench, credential));
    let check = |change: &dyn Fn(&mut Config), wall: UnixMillis, want: [bool; 4]| {
        let mut next = config();
        next.auth.anonymous = true;
        change(&mut next);
        let gate = bench.gate.reloaded(Arc::new(next)).expect("a gate");
        let got = streams
            .each_ref()
            .map(|(grant, subscription)| gate.still_opens(grant, subscription, wall).is_ok());
        assert_eq!(got, want);
    };
    check(&|_| (), NOW, [true; 4]);
    check(&|_| (), UnixMillis(NOW.0 + 1000), [true, true, false, true]);
    check(&|_| (), UnixMillis(NOW.0 + 60_000), [true, true, false, false]);
    check(&|config| config.auth.anonymous = false, NOW, [false, true, true, true]);
    check(&|config| config.auth.api_keys.clear(), NOW, [true, false, false, true]);
    check(&|config| config.auth.jwt.clear(), NOW, [true, true, true, false]);
    let narrower = |config: &mut Config| {
        let participants = vec!["joe".to_owned()];
        config.auth.api_keys =
            vec![Arc::new(key("sk-any")), Arc::new(ApiKey { participants, ..acme_key() })];
        let bind = vec![(Bound::Workflow, "workflow".to_owned())];
        config.auth.jwt = vec![Arc::new(Issuer { bind, ..issuer() })];
    };
    check(&narrower, NOW, [true, true, false, false]);
    let rotated = |config: &mut Config| {
        let key = IssuerKey::Secret(Secret::new("another secret".to_owned()));
        config.auth.jwt = vec![Arc::new(Issuer { key, ..issuer() })];
    };
    check(&rotated, NOW, [true, true, true, false]);
    let (grant, subscription) = &streams[2];
    let ends = bench.gate.still_opens(grant, subscription, NOW);
    assert_eq!(ends, Ok(Some(UnixMillis(NOW.0 + 1000))));
}

#[test]
fn subjects_are_shown_as_a_hash() {
    let bench = Bench::new(|_| ());
    let subject = |more: &str| bench.stream(more).subject.expect("a subject");
    let tag = subject("");
    assert_eq!(tag.len(), 16);
    assert!(tag.bytes().all(|byte| byte.is_ascii_hexdigit()));
    assert_eq!(tag, subject("&scope=x"));
    let other = Bench::new(|_| ());
    assert_ne!(tag, other.stream("").subject.expect("a subject"), "no salt");
}

#[test]
fn an_unusable_key_stops_the_gate() {
    let mut config = config();
    let key = IssuerKey::Pem(b"junk".to_vec());
    config.auth.jwt =
        vec![Arc::new(Issuer { key, algorithms: vec![Algorithm::Rs256], ..issuer() })];
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let why = Gate::new(Arc::new(config), metrics.clone(), Arc::new(key_sets(&metrics)))
        .err()
        .expect("refused");
    assert!(why.starts_with("auth.jwt[0]: the key of id cannot be used"), "{why}");
}
