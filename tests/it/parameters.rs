//! What a client asks for: required parameters, filters, vocabularies, methods, paths.

use chatmux::scripted::{Backend, Conversation, Frame, Kind, Step};
use serde_json::{Value, json};

use crate::support::{Ask, Client, Four, KEY, One, jane, say, sha256, soon};

const ANY_TENANT: &str = "cmx_a-key-of-any-tenant";

/// A XiansAi message to Jane.
fn message(text: &str, scope: Value) -> Frame {
    let data = json!({
        "id": text, "threadId": "t1", "workflowId": "acme:customer-support",
        "workflowType": "customer-support", "participantId": "jane", "direction": "Outgoing",
        "messageType": "Chat", "text": text, "data": null, "hint": null, "scope": scope,
        "requestId": null, "createdAt": "2026-01-19T18:43:09.0749Z", "createdBy": "bot",
    });
    Frame::new("Chat", data.to_string())
}

#[track_caller]
fn types(backend: &Backend) {
    let who = Conversation::new(Vec::new());
    assert!(backend.speak(&jane(), &who, &Step::AgentTyping));
}

#[tokio::test]
async fn a_missing_or_empty_parameter_is_refused_by_name() {
    let keys = format!(
        "{{api_keys: [{{label: one, sha256: \"{}\", tenants: [acme]}}, \
         {{label: any, sha256: \"{}\"}}]}}",
        sha256(KEY),
        sha256(ANY_TENANT)
    );
    let one = One::start_with(Kind::Xians, |conf| conf.auth(&keys)).await;
    let any = Client::new("jane").query("apikey", ANY_TENANT);
    for name in ["tenantId", "workflow", "participantId"] {
        for client in [any.clone().without(name), any.clone().query(name, "")] {
            one.edge.ask(&client).await.refuses(400, "Bad Request", name);
        }
    }
    let known = Client::new("jane").without("tenantId");
    let mut stream = one.edge.open(&known).await;
    assert_eq!(stream.expect("connected").await.at("/tenantId"), "acme");
    stream.all_up(&["agent"]).await;
    assert_eq!(one.backend.now().streams_opened, 1, "refused requests open nothing");
    one.check_law().await;
}

#[tokio::test]
async fn what_a_source_needs_of_the_client_is_refused_by_name() {
    let one = One::start_with(Kind::Xians, |conf| {
        conf.entry(
            "more",
            "more: {backend: xians, api_key: \"{query.token}\", url: \"http://127.0.0.1:1\"}"
                .to_owned(),
        )
    })
    .await;
    one.edge.ask(&Client::new("jane")).await.refuses(400, "Bad Request", "token");
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn unknown_words_are_refused_and_unknown_parameters_are_not() {
    let one = One::start(Kind::Xians).await;
    for (name, value) in
        [("types", "Chat,Nonsense"), ("types", "chat"), ("vocabulary", "half"), ("vocabulary", "")]
    {
        let reply = one.edge.ask(&Client::new("jane").query(name, value)).await;
        reply.refuses(400, "Bad Request", name);
    }
    let mut stream = one.edge.open(&Client::new("jane").query("colour", "%zz & more")).await;
    stream.expect("connected").await;
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn a_workflow_id_of_the_tenant_names_its_type() {
    let one = One::start(Kind::Xians).await;
    let client = Client::new("jane").query("workflow", "acme:Order Bot:Flow");
    let mut stream = one.edge.open(&client).await;
    assert_eq!(stream.expect("connected").await.at("/workflowId"), "acme:Order Bot:Flow");
    stream.all_up(&["agent"]).await;
    // The backend puts its tenant in front of a type.
    let asked = one.backend.event_requests();
    assert_eq!(asked[0].query("workflow").as_deref(), Some("Order Bot:Flow"));
    let who = Conversation::new(Vec::new());
    let to = jane().workflow("Order Bot:Flow");
    one.backend.speak(&to, &who, &Step::BotSays("ordered".to_owned()));
    let chat = stream.chat("ordered").await;
    assert_eq!(chat.at("/workflowId"), "acme:Order Bot:Flow");
    assert_eq!(chat.at("/workflowType"), "Order Bot:Flow");
    one.check_law().await;
}

#[tokio::test]
async fn a_scope_filters_what_has_one_and_xians_alone() {
    let four = Four::start().await;
    let mut stream = four.edge.open(&Client::new("jane").query("scope", "Billing")).await;
    let mut all = four.edge.open(&Client::new("jane").query("scope", "")).await;
    stream.all_up(&Four::NAMES).await;
    let agent = four.of(Kind::Xians);
    for (text, scope) in
        [("a", json!("billing")), ("b", Value::Null), ("c", json!("Billing")), ("d", json!(""))]
    {
        agent.push(&jane(), message(text, scope));
    }
    assert_eq!(stream.message().await.at("/text"), "c");
    for text in ["a", "b", "c", "d"] {
        all.chat(text).await;
    }
    for kind in [Kind::Openfire, Kind::Salesforce, Kind::BrightPattern] {
        say(four.of(kind), "no scope");
        assert_eq!(stream.message().await.at("/text"), "no scope", "{kind:?}");
    }
    agent.push(&jane(), message("last", json!("Billing")));
    assert_eq!(stream.message().await.at("/text"), "last");
    four.check_law().await;
    let (received, mapped, _) = four.edge.metrics().await.frames("agent");
    assert_eq!((received, mapped), (6, 5), "what a client filters is mapped all the same");
}

#[tokio::test]
async fn only_the_types_that_were_asked_for_pass_and_control_events_always() {
    let four = Four::start().await;
    let mut stream = four.edge.open(&Client::new("jane").query("types", "Chat,File")).await;
    stream.all_up(&Four::NAMES).await;
    for kind in [Kind::Openfire, Kind::Salesforce, Kind::BrightPattern] {
        types(four.of(kind));
        say(four.of(kind), "after typing");
        let event = stream.message().await;
        assert_eq!((event.name.as_str(), event.at("/text")), ("Chat", "after typing"));
    }
    four.check_law().await;
}

#[tokio::test]
async fn core_clients_get_six_names_and_everything_as_data() {
    let four = Four::start().await;
    let mut stream = four.edge.open(&Client::new("jane").query("vocabulary", "core")).await;
    let mut full = four.edge.open(&Client::new("jane")).await;
    full.all_up(&Four::NAMES).await;
    let desk = four.of(Kind::Openfire);
    types(desk);
    let typing = full.message().await;
    say(desk, "hello");
    let core = stream.message().await;
    assert_eq!(core.name, "Data", "{core:?}");
    assert_eq!(core.data["data"], json!({"kind": "Typing", "data": typing.data["data"]}));
    for field in ["id", "createdAt", "sender", "source", "conversationId", "direction"] {
        assert_eq!(core.data[field], typing.data[field], "{field}");
    }
    assert_eq!(core.id, typing.id);
    let chat = stream.message().await;
    assert_eq!((chat.name.as_str(), chat.at("/text")), ("Chat", "hello"));
    assert_eq!(chat.data, full.message().await.data);
    desk.end_streams();
    full.next_of(&["source_down"]).await;
    say(four.of(Kind::Xians), "goodbye");
    stream.chat("goodbye").await;
    let names: Vec<_> = stream.seen().iter().map(|event| event.name.as_str()).collect();
    assert_eq!(names, ["connected", "Data", "Chat", "Chat"], "sources are not told of");
    four.check_law().await;
}

#[tokio::test]
async fn a_cursor_that_is_unknown_is_a_data_event_to_a_core_client() {
    let one = One::start(Kind::Xians).await;
    let client = Client::new("jane").query("vocabulary", "core").query("lastEventId", "nonsense");
    let mut stream = one.edge.open(&client).await;
    stream.expect("connected").await;
    let gap = stream.expect("Data").await;
    assert_eq!(gap.id, None);
    assert_eq!(gap.at("/data/kind"), "gap");
    assert_eq!(gap.at("/data/data/reason"), "cursor_expired");
    assert_eq!(
        gap.data["source"],
        json!({"name": "chatmux", "backend": "chatmux", "event": "gap"})
    );
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn head_gives_the_same_head_and_opens_nothing() {
    let four = Four::start().await;
    let reply = Client::new("jane").ask("HEAD").send(four.edge.streams()).await;
    assert_eq!(reply.head.status, 200);
    let stream = four.edge.open(&Client::new("jane").query("workflow", "other")).await;
    let names = |head: &[(String, String)]| {
        let mut names: Vec<_> = head.iter().map(|(name, _)| name.to_lowercase()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&reply.head.headers), names(&stream.head.headers));
    for name in ["content-type", "cache-control", "x-accel-buffering", "referrer-policy"] {
        assert_eq!(reply.head.header(name), stream.head.header(name), "{name}");
    }
    stream.close();
    four.edge.until_open(0).await;
    let metrics = four.edge.metrics().await;
    assert_eq!(metrics.sum("chatmux_client_streams_opened_total", &[]), 1, "the GET alone");
    let refused = Client::new("jane").without("apikey").ask("HEAD").send(four.edge.streams()).await;
    assert_eq!(refused.head.status, 401);
    four.edge.check_law(&[]).await;
}

#[tokio::test]
async fn browsers_may_ask_first() {
    let one = One::start_with(Kind::Xians, |conf| {
        conf.line("cors: {allow_origins: [\"https://app.example.com\"]}")
    })
    .await;
    let preflight = |origin: &str| {
        Ask::new("OPTIONS", Client::new("jane").without("apikey").target())
            .header("Origin", origin)
            .header("Access-Control-Request-Method", "GET")
            .header("Access-Control-Request-Headers", "authorization,last-event-id")
    };
    let good = preflight("https://app.example.com").send(one.edge.streams()).await;
    assert_eq!((good.head.status, good.body.len()), (204, 0));
    let allow = |name: &str| good.head.header(&format!("access-control-{name}"));
    assert_eq!(allow("allow-origin"), Some("https://app.example.com"));
    assert_eq!(
        allow("allow-headers"),
        Some("Authorization, X-API-Key, Last-Event-ID, Cache-Control, Accept, Content-Type")
    );
    assert!(allow("allow-methods").is_some_and(|methods| methods.contains("GET")));
    assert_eq!(allow("max-age"), Some("600"));
    assert_eq!(allow("allow-credentials"), None);
    let bad = preflight("https://evil.example.com").send(one.edge.streams()).await;
    assert_eq!(bad.head.header("access-control-allow-origin"), None);

    let from_page = Client::new("jane").header("Origin", "https://app.example.com");
    let stream = one.edge.open(&from_page).await;
    let header = |name: &str| stream.head.header(name).map(str::to_owned);
    assert_eq!(header("access-control-allow-origin").as_deref(), Some("https://app.example.com"));
    assert_eq!(
        header("access-control-expose-headers").as_deref(),
        Some("Retry-After, RateLimit, RateLimit-Policy, X-Request-Id")
    );
    let refused = one.edge.ask(&from_page.without("apikey")).await;
    refused.refuses(401, "Unauthorized", "");
    assert_eq!(
        refused.head.header("access-control-allow-origin"),
        Some("https://app.example.com"),
        "a page must be able to read why"
    );
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn other_paths_and_methods_are_refused() {
    let one = One::start_with(Kind::Xians, |conf| {
        conf.another_route("{path: /billing, sources: [agent], match: {workflow: \"billing-.*\"}}")
    })
    .await;
    let elsewhere = Client::new("jane").path("/event");
    one.edge.ask(&elsewhere).await.refuses(404, "Not Found", "");
    one.edge.ask(&Client::new("jane").path("/billing")).await.refuses(404, "Not Found", "workflow");
    let billing = Client::new("jane").path("/billing").query("workflow", "billing-eu");
    one.edge.open(&billing).await.expect("connected").await;
    for method in ["POST", "PUT", "DELETE", "PATCH"] {
        let ask = Ask::new(method, Client::new("jane").target()).header("Content-Length", "0");
        let reply = ask.send(one.edge.streams()).await;
        reply.refuses(405, "Method Not Allowed", "GET");
        assert_eq!(reply.head.header("allow"), Some("GET, HEAD, OPTIONS"));
    }
    let options = Ask::new("OPTIONS", Client::new("jane").target()).send(one.edge.streams()).await;
    assert_eq!(options.head.header("allow"), Some("GET, HEAD, OPTIONS"));
    let metrics = one.edge.metrics().await;
    let requests = |route, code| {
        metrics.sum("chatmux_http_requests_total", &[("route", route), ("code", code)])
    };
    assert_eq!(requests("none", "404"), 1);
    assert_eq!(requests("/events", "405"), 4);
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn a_refusal_leaves_the_connection_for_the_next_request() {
    let one = One::start(Kind::Xians).await;
    let stranger = Client::new("jane").without("apikey").ask("GET");
    let (mut wire, mut head) = stranger.start(one.edge.streams(), None).await.expect("an answer");
    for ask in [
        Client::new("jane").without("workflow").ask("GET"),
        Client::new("jane").path("/elsewhere").ask("GET"),
        Client::new("jane").ask("OPTIONS"),
    ] {
        assert!(matches!(head.status, 401 | 400 | 404), "{head:?}");
        let body = wire.body(&head).await.expect("a body");
        assert!(body.starts_with(b"{\"error\":\""), "{}", String::from_utf8_lossy(&body));
        head = soon("the next answer", ask.continue_on(&mut wire)).await.expect("an answer");
    }
    assert_eq!(head.status, 204);
    let ask = Client::new("jane").ask("GET");
    head = soon("a stream", ask.continue_on(&mut wire)).await.expect("an answer");
    assert_eq!((head.status, head.header("content-type")), (200, Some("text/event-stream")));
    one.edge.check_law(&[]).await;
}
