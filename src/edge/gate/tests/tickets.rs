//! Tickets and cookies: what stands in for a credential, and for whom.

use super::*;

const TICKET: &str = "/events/ticket";
const KEY: [(&str, &str); 1] = [("x-api-key", "sk-any")];

fn post<'a>(headers: &'a [(&'static str, &'a str)]) -> Ask<'a> {
    Ask { method: Method::POST, path: TICKET, headers, ..Ask::default() }
}

impl Bench {
    /// A ticket for the usual stream, with more of a query.
    #[track_caller]
    fn ticket(&self, headers: &[(&'static str, &str)], query: &str) -> String {
        match self.ask(&post(headers), query).decision {
            Decision::Ticket(warrant) => self.gate.issue(*warrant).reveal().to_owned(),
            other => panic!("{query}: {}", show(&other)),
        }
    }
}

#[test]
fn a_ticket_opens_its_stream_once() {
    let bench = Bench::new(|_| ());
    let ticket = bench.ticket(&KEY, ASK);
    let query = format!("{ASK}&ticket={ticket}");
    bench.check_get(&query, "stream");
    bench.check_get(&query, "401");
    // HEAD opens nothing and uses nothing up.
    let query = format!("{ASK}&ticket={}", bench.ticket(&KEY, ASK));
    let head = Ask { method: Method::HEAD, ..Ask::default() };
    bench.check(&head, &query, "head");
    bench.check_get(&query, "stream");
    bench.check(&head, &query, "401");
    for line in [
        "chatmux_auth_total{method=\"ticket\",outcome=\"accepted\"} 3",
        "chatmux_auth_total{method=\"ticket\",outcome=\"refused\"} 2",
        "chatmux_auth_total{method=\"api_key\",outcome=\"accepted\"} 2",
    ] {
        bench.check_metric(line);
    }
}

#[test]
fn a_ticket_ends_after_half_a_minute() {
    let bench = Bench::new(|_| ());
    let (early, late) = (bench.ticket(&KEY, ASK), bench.ticket(&KEY, ASK));
    bench.clock.advance(Duration::from_millis(29_999));
    bench.check_get(&format!("{ASK}&ticket={early}"), "stream");
    bench.clock.advance(Duration::from_millis(1));
    bench.check_get(&format!("{ASK}&ticket={late}"), "401");
}

#[test]
fn a_ticket_is_for_its_stream_alone() {
    let bench = Bench::new(|config| {
        config.routes.push(Arc::new(Route {
            path: "/more".to_owned(),
            ..route(vec![source("x", &[], &[])])
        }));
    });
    let with = format!("{ASK}&scope=billing&conversation=c1&x=%41");
    for (query, want) in [
        (with.clone(), "stream"),
        // In another order and spelling, shown in another way.
        (
            "x=A&conversation=c1&tenantId=acme&workflow=supp%6Frt&participantId=jane&scope=billing\
          &types=Chat&heartbeatSeconds=9&vocabulary=full&lastEventId=1.0.5&errors=x"
                .to_owned(),
            "stream",
        ),
        (with.replace("jane", "joe"), "401"),
        (with.replace("acme", "globex"), "401"),
        (with.replace("support", "sales"), "401"),
        (with.replace("billing", "other"), "401"),
        (with.replace("c1", "c2"), "401"),
        (with.replace("&conversation=c1", ""), "401"),
        (with.replace("&x=%41", ""), "401"),
        (format!("{with}&y=1"), "401"),
        (format!("conversation=c2&{with}"), "401"),
    ] {
        let ticket = bench.ticket(&KEY, &with);
        bench.check_get(&format!("{query}&ticket={ticket}"), want);
        // Used up, right or wrong.
        bench.check_get(&format!("{with}&ticket={ticket}"), "401");
    }
    let ticket = bench.ticket(&KEY, ASK);
    let elsewhere = Ask { path: "/more", ..Ask::default() };
    bench.check(&elsewhere, &format!("{ASK}&ticket={ticket}"), "401");
}

#[test]
fn only_a_header_buys_a_ticket() {
    let bench = Bench::new(|config| {
        config.auth.anonymous = true;
        config.auth.cookie = Some("chat".to_owned());
    });
    let ask = |headers: &[(&'static str, &str)], more: &str, want: &str| {
        bench.check(&post(headers), &format!("{ASK}{more}"), want);
    };
    ask(&KEY, "", "ticket");
    ask(&[("authorization", "Bearer sk-any")], "", "ticket");
    let bearer = format!("Bearer {}", token("\"sub\":\"jane\",\"org\":{\"tenant\":\"acme\"}"));
    ask(&[("authorization", &bearer)], "", "ticket");
    ask(&[], "", "401");
    ask(&[], "&apikey=sk-any", "401");
    ask(&[], "&access_token=sk-any", "401");
    ask(&[("cookie", "chat=sk-any")], "", "401");
    ask(&[("x-api-key", "sk-none")], "&apikey=sk-any", "401");
    let ticket = bench.ticket(&KEY, ASK);
    ask(&[], &format!("&ticket={ticket}"), "401");
    ask(&[("x-api-key", &ticket)], "", "401");
    // A ticket is nothing in the place of a key.
    bench.check_get(&format!("{ASK}&apikey={ticket}"), "401");
    bench.check_get(&format!("{ASK}&ticket=sk-any"), "401");
    bench.check_get(&format!("{ASK}&ticket={ticket}"), "stream");
}

#[test]
fn who_may_not_have_the_stream_gets_no_ticket() {
    let bench = Bench::new(|config| {
        let needy = source("desk", &[("c", "{query.conversation}")], &[]);
        let tenant = Some(Pattern::Exact("acme".to_owned()));
        config.routes =
            vec![Arc::new(Route { tenant, allow_errors_event: true, ..route(vec![needy]) })];
        let requests = Some(Rate::parse("5/h").expect("a rate"));
        config.limits.address = Limit { requests, ..Limit::default() };
    });
    let key = [("x-api-key", "sk-acme")];
    let ask = |query: &str, want: &str| bench.check(&post(&key), query, want);
    ask("workflow=support&errors=event", "400 participantId Missing");
    ask("workflow=support&participantId=jane&tenantId=globex", "404 route");
    ask("workflow=support&participantId=jim&errors=event", "403");
    ask("workflow=support&participantId=jane", "400 conversation Missing");
    ask("workflow=support&participantId=jane&conversation=c", "ticket");
    ask("workflow=support&participantId=jane&conversation=c", "429 address requests");
}

#[test]
fn the_path_of_tickets_has_its_own_methods() {
    let bench = Bench::new(|config| {
        config
            .routes
            .push(Arc::new(Route { path: "/".to_owned(), ..route(vec![source("x", &[], &[])]) }));
    });
    for method in [Method::GET, Method::HEAD, Method::PUT] {
        let decided = bench.ask(&Ask { method, path: TICKET, ..Ask::default() }, ASK);
        let Decision::Refused(refusal) = decided.decision else { panic!("not refused") };
        assert_eq!(refusal, Refusal::MethodNotAllowed { allow: "POST, OPTIONS" });
    }
    for path in ["/events/ticket/", "/events/tickets", "/eventsticket", "/events/ticket/ticket"] {
        bench.check(&Ask { path, ..post(&KEY) }, ASK, "404");
    }
    bench.check(&Ask { path: "/ticket", ..post(&KEY) }, ASK, "ticket");
    let headers =
        [("origin", "https://app.example.com"), ("access-control-request-method", "POST")];
    let ask = Ask { method: Method::OPTIONS, ..post(&headers) };
    let preflight = bench.ask(&ask, "");
    let allowed = preflight.headers.iter().find(|(name, _)| name == "access-control-allow-methods");
    assert_eq!(allowed.map(|(_, value)| value.as_bytes()), Some(&b"POST, OPTIONS"[..]));
}

#[test]
fn a_ticket_is_no_better_than_its_credential() {
    let bench = Bench::new(|_| ());
    let key = [("x-api-key", "sk-acme")];
    let ticket = bench.ticket(&key, ASK);
    let late = Ask { wall: UnixMillis(NOW.0 + 1000), ..Ask::default() };
    bench.check(&late, &format!("{ASK}&ticket={ticket}"), "401");
    let ticket = bench.ticket(&key, ASK);
    let Decision::Stream(admitted) = bench.get(&format!("{ASK}&ticket={ticket}")).decision else {
        panic!("no stream");
    };
    assert_eq!(admitted.expires, Some(UnixMillis(NOW.0 + 1000)), "it ends with the credential");
    let gate_of = |keys: Vec<Arc<ApiKey>>| {
        let config = Config { auth: Auth { api_keys: keys, ..config().auth }, ..config() };
        bench.gate.reloaded(Arc::new(config)).expect("a gate")
    };
    let revoked = gate_of(vec![Arc::new(self::key("sk-any"))]);
    assert!(revoked.still_opens(&admitted.grant, &admitted.subscription, NOW).is_err());
    let kept = gate_of(vec![Arc::new(acme_key())]);
    assert!(kept.still_opens(&admitted.grant, &admitted.subscription, NOW).is_ok());
}

#[test]
fn tickets_are_taken_back_by_whose_they_are() {
    let bench = Bench::new(|_| ());
    let (of_key, of_other) =
        (bench.ticket(&KEY, ASK), bench.ticket(&[("x-api-key", "sk-acme")], ASK));
    bench.gate.revoke_tickets(&Whose { key: Some("sk-any".to_owned()), ..Whose::default() });
    bench.check_get(&format!("{ASK}&ticket={of_key}"), "401");
    bench.check_get(&format!("{ASK}&ticket={of_other}"), "stream");
}

#[test]
fn tickets_are_bounded_and_one_flood_leaves_others_theirs() {
    let bench = Bench::new(|_| ());
    let ask = |tenant: &str, participant: &str| {
        format!("workflow=w&tenantId={tenant}&participantId={participant}")
    };
    let quiet = bench.ticket(&KEY, &ask("quiet", "jane"));
    let first = bench.ticket(&KEY, &ask("loud", "first"));
    // One page that asks and asks pushes out its own.
    let mine: Vec<_> = (0..17).map(|_| bench.ticket(&KEY, &ask("loud", "mad"))).collect();
    bench.check_get(&format!("{}&ticket={}", ask("loud", "mad"), mine[0]), "401");
    bench.check_get(&format!("{}&ticket={}", ask("loud", "mad"), mine[1]), "stream");
    // A tenant that asks and asks pushes out its own.
    for number in 0..10_000 {
        bench.ticket(&KEY, &ask("loud", &number.to_string()));
    }
    bench.check_get(&format!("{}&ticket={first}", ask("loud", "first")), "401");
    bench.check_get(&format!("{}&ticket={quiet}", ask("quiet", "jane")), "stream");
}

#[test]
fn a_cookie_counts_for_pages_that_may_use_it() {
    let bench = Bench::new(|config| {
        config.auth.cookie = Some("chat".to_owned());
        config.routes = vec![Arc::new(Route {
            allow_errors_event: true,
            ..route(vec![source("x", &[], &[])])
        })];
    });
    let cookie = ("cookie", "theme=dark; chat=sk-any");
    let host = ("host", "chat.example.com");
    let check = |headers: &[(&'static str, &str)], more: &str, want: &str| {
        bench.check(&get_with(headers), &format!("{ASK}{more}"), want);
    };
    check(&[host, cookie], "", "stream");
    check(&[host, cookie, ("origin", "https://chat.example.com")], "", "stream");
    check(&[host, cookie, ("origin", "https://app.example.com")], "", "stream");
    check(&[host, cookie, ("origin", "https://evil.example")], "", "401");
    check(&[host, cookie, ("origin", "https://evil.example")], "&errors=event", "in stream 401");
    check(&[host, cookie, ("sec-fetch-site", "cross-site")], "", "401");
    check(&[host, ("cookie", "chat=sk-none")], "", "401");
    // Any other credential comes first.
    check(&[host, cookie], "&apikey=sk-none", "401");
    check(&[host, ("cookie", "chat=sk-none")], "&apikey=sk-any", "stream");
    let ticket = bench.ticket(&KEY, ASK);
    check(&[host, ("cookie", "chat=sk-none")], &format!("&ticket={ticket}"), "stream");
    bench.check_metric("chatmux_auth_total{method=\"cookie\",outcome=\"accepted\"} 3");
    bench.check_metric("chatmux_auth_total{method=\"cookie\",outcome=\"refused\"} 4");
    // Not configured, it is nothing.
    Bench::new(|_| ()).check(&get_with(&[host, cookie]), ASK, "401");
}
