//! What is too much, and whose it is.

use super::*;

#[test]
fn every_get_of_an_address_counts_whatever_becomes_of_it() {
    let bench = Bench::new(|config| config.limits.address = limit(Some("60/m"), Some(3), None));
    let good = &format!("{ASK}&apikey=sk-any");
    for method in [Method::HEAD, Method::OPTIONS, Method::POST] {
        for _ in 0..5 {
            let ask = Ask { method: method.clone(), ..Ask::default() };
            assert!(!show(&bench.ask(&ask, good).decision).starts_with("429"));
        }
    }
    for _ in 0..5 {
        bench.check(&Ask { path: "/other", ..Ask::default() }, good, "404");
    }
    bench.check_get("", "401");
    bench.check_get("apikey=sk-any", "400 workflow Missing");
    bench.check_get(good, "stream");
    bench.check_get(good, "429 address opens");
    // HEAD is not counted and not refused.
    bench.check(&Ask { method: Method::HEAD, ..Ask::default() }, good, "head");
    // Another address has its own budget, the same one behind a proxy has not.
    bench.check(&Ask { peer: "203.0.113.8", ..Ask::default() }, good, "stream");
    let forwarded = [("x-forwarded-for", "198.51.100.7, 203.0.113.9")];
    let ask = Ask { peer: "127.0.0.1", headers: &forwarded, ..Ask::default() };
    bench.check(&ask, good, "429 address opens");
    // An untrusted peer cannot change its address.
    let ask = get_with(&[("x-forwarded-for", "198.51.100.7")]);
    bench.check(&ask, good, "429 address opens");
    bench.clock.advance(Duration::from_secs(1));
    bench.check_get(good, "stream");
    bench.check_get(good, "429 address opens");
}

#[test]
fn open_streams_are_counted_until_they_are_dropped() {
    let bench = Bench::new(|config| {
        config.limits.address = limit(None, None, Some(4));
        config.limits.subject = limit(None, None, Some(3));
        config.limits.tenant = limit(None, None, Some(2));
    });
    let good = &format!("{ASK}&apikey=sk-any");
    let first = bench.stream("");
    let second = bench.stream("");
    // What is refused later on gives everything back.
    for _ in 0..10 {
        bench.check_get(good, "429 tenant concurrent");
        bench.check_get("", "401");
        bench.check_get("apikey=sk-any", "400 workflow Missing");
    }
    let other = &good.replace("acme", "globex");
    let Decision::Stream(third) = bench.get(other).decision else { panic!("no stream") };
    let Decision::Stream(fourth) = bench.get(other).decision else { panic!("no stream") };
    bench.check_get(good, "429 address concurrent");
    bench.check(&Ask { method: Method::HEAD, ..Ask::default() }, good, "head");
    drop(first);
    bench.check_get(good, "stream");
    drop((second, third, fourth));
    // All is given back: no key is left in memory.
    bench.check_get("", "401");
    bench.check_metric("chatmux_rate_limit_keys{policy=\"address\"} 1");
    let head = bench.ask(&Ask { method: Method::HEAD, ..Ask::default() }, good);
    let heads: Vec<_> =
        (0..10).map(|_| bench.ask(&Ask { method: Method::HEAD, ..Ask::default() }, good)).collect();
    bench.check_get(good, "stream");
    drop((head, heads));
}

#[test]
fn one_tenants_flood_never_refuses_another() {
    let bench = Bench::new(|config| {
        config.limits.subject = limit(Some("3/h"), None, None);
        config.limits.tenant = limit(Some("5/h"), None, None);
    });
    let ask = |tenant: &str, participant: &str| {
        let query =
            format!("tenantId={tenant}&workflow=w&participantId={participant}&apikey=sk-any");
        show(&bench.get(&query).decision)
    };
    let got: Vec<_> = (0..50).map(|_| ask("acme", "a")).filter(|got| got == "stream").collect();
    assert_eq!(got.len(), 3);
    assert_eq!(ask("acme", "b"), "429 subject opens");
    // The same key, another tenant.
    assert_eq!(ask("globex", "a"), "stream");
}

#[test]
fn a_subject_that_is_refused_costs_its_tenant_nothing() {
    let bench = Bench::new(|config| {
        config.limits.subject = limit(Some("1/h"), None, None);
        config.limits.tenant = limit(Some("3/h"), None, None);
    });
    let ask = |sub: &str| {
        let credential = token(&format!("\"sub\":\"{sub}\",\"org\":{{\"tenant\":\"acme\"}}"));
        let query = format!("workflow=w&participantId={sub}&access_token={credential}");
        show(&bench.get(&query).decision)
    };
    assert_eq!(ask("a"), "stream");
    for _ in 0..20 {
        assert_eq!(ask("a"), "429 subject opens");
    }
    assert_eq!(ask("b"), "stream");
    assert_eq!(ask("c"), "stream");
    assert_eq!(ask("d"), "429 tenant opens");
}

#[test]
fn a_new_token_is_no_new_subject() {
    let bench = Bench::new(|config| {
        config.limits.subject = limit(Some("1/h"), None, None);
        config.auth.jwt = vec![Arc::new(Issuer { bind: Vec::new(), ..issuer() })];
    });
    let ask = |claims: &str| {
        let query = format!("{ASK}&access_token={}", token(claims));
        show(&bench.get(&query).decision)
    };
    assert_eq!(ask("\"sub\":\"a\",\"jti\":1"), "stream");
    assert_eq!(ask("\"sub\":\"a\",\"jti\":2"), "429 subject opens");
    assert_eq!(ask("\"sub\":\"b\",\"jti\":3"), "stream");
    assert_eq!(ask("\"jti\":4"), "stream");
    assert_eq!(ask("\"jti\":4"), "429 subject opens");
}

#[test]
fn a_keys_own_limits_stand_in_for_the_subjects() {
    let bench = Bench::new(|config| {
        config.limits.subject = limit(Some("1/h"), None, Some(1));
        let limits = Some(limit(Some("2/h"), None, None));
        config.auth.api_keys.push(Arc::new(ApiKey { limits, ..key("sk-own") }));
        let limits = Some(Limit::default());
        config.auth.api_keys.push(Arc::new(ApiKey { limits, ..key("sk-free") }));
    });
    let mut open = Vec::new();
    let mut count = |apikey: &str| {
        let query = format!("{ASK}&apikey={apikey}");
        let decided: Vec<_> = (0..10).map(|_| bench.get(&query)).collect();
        let is_stream = |decided: &&Decided| matches!(decided.decision, Decision::Stream(_));
        let count = decided.iter().filter(is_stream).count();
        open.push(decided);
        count
    };
    assert_eq!(count("sk-any"), 1);
    assert_eq!(count("sk-own"), 2);
    assert_eq!(count("sk-free"), 10);
}

#[test]
fn a_reload_gives_no_fresh_budget() {
    let change = |config: &mut Config| {
        config.limits.address = limit(Some("3/h"), None, None);
        config.limits.tenant = limit(None, None, Some(1));
    };
    let mut bench = Bench::new(change);
    let good = &format!("{ASK}&apikey=sk-any");
    let open = bench.stream("");
    let mut next = config();
    change(&mut next);
    bench.gate = bench.gate.reloaded(Arc::new(next)).expect("a gate");
    bench.check_get(good, "429 tenant concurrent");
    drop(open);
    bench.check_get(good, "stream");
    bench.check_get(good, "429 address opens");
}

#[test]
fn limits_name_their_policy() {
    let bench = Bench::new(|config| config.limits.tenant = limit(Some("1/m"), None, None));
    let good = &format!("{ASK}&apikey=sk-any");
    bench.check_get(good, "stream");
    let Decision::Refused(Refusal::Limited(limited)) = bench.get(good).decision else {
        panic!("not limited");
    };
    assert_eq!(limited.policy, Policy::Tenant);
    assert_eq!(limited.quota, Quota::Opens { count: 1, window_secs: 60 });
    assert!((60..=120).contains(&limited.retry_secs), "{}", limited.retry_secs);
    let fault = Refusal::Bad(Named::Parameter("x".into()), Fault::Missing);
    assert_eq!(fault.retry_secs(), None);
}

#[test]
fn an_address_with_too_many_streams_pays_for_asking() {
    let bench = Bench::new(|config| config.limits.address = limit(Some("3/h"), None, Some(1)));
    let good = &format!("{ASK}&apikey=sk-any");
    let _open = bench.stream("");
    bench.check_get(good, "429 address concurrent");
    bench.check_get(good, "429 address concurrent");
    bench.check_get(good, "429 address opens");
}
