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
fn a_person_has_one_budget_whatever_tenant_is_named() {
    for (is_bound, want) in [(false, "429 subject opens"), (true, "stream")] {
        let bench = Bench::new(|config| {
            config.limits.subject = limit(Some("1/h"), None, None);
            if !is_bound {
                config.auth.jwt = vec![Arc::new(Issuer { bind: Vec::new(), ..issuer() })];
            }
        });
        let ask = |tenant: &str| {
            let claims = format!("\"sub\":\"a\",\"org\":{{\"tenant\":\"{tenant}\"}}");
            let credential = token(&claims);
            let query =
                format!("tenantId={tenant}&workflow=w&participantId=a&access_token={credential}");
            show(&bench.get(&query).decision)
        };
        assert_eq!(ask("acme"), "stream");
        assert_eq!(ask("acme"), "429 subject opens");
        assert_eq!(ask("globex"), want, "{is_bound}");
    }
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

#[test]
fn a_flood_of_one_tenant_leaves_every_stream_of_another() {
    let bench = Bench::new(|config| {
        config.limits.address = limit(Some("60/m"), Some(20), None);
        config.limits.subject = limit(Some("30/m"), Some(10), None);
        config.limits.tenant = limit(Some("600/m"), Some(100), Some(5000));
    });
    let (mut flooders, mut others) = ((0, 0), (0, 0));
    let mut open = Vec::new();
    // Ten minutes: 200 addresses of one tenant ask six times a second each, two of another
    // tenant once in ten seconds.
    for second in 0..600_u32 {
        bench.clock.advance(Duration::from_secs(1));
        for number in 0..1200_u32 {
            if second % 10 != 0 && number % 40 != 0 {
                continue;
            }
            let peer = format!("198.51.100.{}", number % 200);
            let query = format!("{}&apikey=sk-any", ASK.replace("jane", &format!("p{number}")));
            let ask = Ask { peer: &peer, ..Ask::default() };
            let decided = bench.ask(&ask, &query);
            let is_stream = matches!(decided.decision, Decision::Stream(_));
            flooders = (flooders.0 + 1, flooders.1 + u32::from(is_stream));
        }
        if second % 10 == 0 {
            for peer in ["203.0.113.1", "203.0.113.2"] {
                let query = format!("{}&apikey=sk-any", ASK.replace("acme", "globex"));
                let decided = bench.ask(&Ask { peer, ..Ask::default() }, &query);
                let is_stream = matches!(decided.decision, Decision::Stream(_));
                others = (others.0 + 1, others.1 + u32::from(is_stream));
                open.push(decided);
            }
        }
    }
    assert_eq!(others, (120, 120), "of the other tenant, all");
    // The key has 30 a minute and 10 at once in this tenant; the rest is refused.
    assert!(flooders.0 > 80_000, "{flooders:?}");
    assert!((300..=310).contains(&flooders.1), "{flooders:?}");
}

#[test]
fn a_flood_of_addresses_stays_within_its_memory() {
    let bench = Bench::new(|config| config.limits.address = limit(Some("1/h"), None, None));
    let good = &format!("{ASK}&apikey=sk-any");
    let ask = |peer: &str, want: &str| {
        bench.check(&Ask { peer, ..Ask::default() }, good, want);
    };
    // A host has a /64 to take addresses from: all of them are one client.
    ask("2001:db8:ffff::1", "stream");
    for number in 2..2000 {
        ask(&format!("2001:db8:ffff::{number:x}"), "429 address opens");
    }
    let before = bench.keys("address");
    assert_eq!(before, 1);
    // 110,000 hosts with a /64 each: no more keys than the table has, and nobody is refused.
    for number in 0..110_000_u32 {
        let (high, low) = (number >> 16, number & 0xffff);
        let peer = format!("2001:db8:{high:x}:{low:x}::1");
        let query = "nothing";
        bench.check(&Ask { peer: &peer, ..Ask::default() }, query, "401");
    }
    // And the one stream that the last of them was counted for while it was decided.
    assert_eq!(bench.keys("address"), 100_001);
}

#[test]
fn head_and_options_are_calls() {
    let bench = Bench::new(|config| {
        config.limits.address =
            Limit { requests: Some(Rate::parse("4/h").expect("a rate")), ..Limit::default() };
        config.limits.subject =
            Limit { requests: Some(Rate::parse("1/h").expect("a rate")), ..Limit::default() };
    });
    let good = &format!("{ASK}&apikey=sk-any");
    let ask = |method: Method, want: &str| {
        bench.check(&Ask { method, ..Ask::default() }, good, want);
    };
    ask(Method::OPTIONS, "options");
    ask(Method::HEAD, "head");
    ask(Method::HEAD, "429 subject requests");
    ask(Method::OPTIONS, "options");
    ask(Method::OPTIONS, "429 address requests");
    ask(Method::HEAD, "429 address requests");
    // A stream is none.
    ask(Method::GET, "stream");
}
