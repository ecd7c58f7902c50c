//! Calls that are passed through: what backends receive, byte for byte, and what clients get.

use chatmux::scripted::{Backend, Fault, Kind, On, Options};
use serde_json::json;

use crate::support::{
    Ask, Client, Conf, Edge, Head, KEY, One, Reply, Wire, backend, backend_with, jane, options,
    say, sha256, soon, source_name,
};

/// The path of the kind's calls at the edge.
fn at(kind: Kind) -> String {
    format!("/{}", source_name(kind))
}

/// The proxy line of a conf in front of one backend.
fn proxy(kind: Kind, more: &str) -> String {
    let to = if kind == Kind::Openfire { "/api/rest/" } else { "/" };
    format!("proxy: [{{path: {}/, source: {}, to: {to}{more}}}]", at(kind), source_name(kind))
}

async fn front(kind: Kind) -> One {
    One::start_with(kind, |conf| conf.line(&proxy(kind, ""))).await
}

/// What every call says of itself.
const WHO: &str = "tenantId=acme&workflow=customer-support&participantId=jane";

/// A call of Jane's, with what a browser sends besides.
fn call(method: &'static str, path: &str) -> Ask {
    let joint = if path.contains('?') { '&' } else { '?' };
    Ask::new(method, format!("{path}{joint}{WHO}&apikey={KEY}"))
        .header("Origin", "https://app.example.com")
        .header("Referer", "https://app.example.com/chat?access_token=secret-referer")
        .header("Cookie", "session=secret-cookie")
        .header("X-API-Key", KEY)
        .header("X-Forwarded-For", "203.0.113.7")
        .header("Forwarded", "for=203.0.113.7")
        .header("X-HTTP-Method-Override", "DELETE")
        .header("X-Evil", "secret-header")
        .header("Sec-Fetch-Site", "cross-site")
        .header("Accept-Encoding", "gzip, br")
        .header("Accept", "application/json")
}

/// The last request, as it came: line and headers in order, without what differs each time.
fn received(backend: &Backend) -> String {
    let requests = backend.requests();
    let request = requests.last().expect("a request");
    let target = match request.query("nonce") {
        Some(nonce) => request.target.replace(&nonce, "N"),
        None => request.target.clone(),
    };
    let mut text = format!("{} {target}\n", request.method);
    for (name, value) in &request.headers {
        let name = name.to_ascii_lowercase();
        let value = match name.as_str() {
            "host" => {
                assert_eq!(*value, backend.addr().to_string());
                "BACKEND"
            }
            "x-request-id" => {
                assert_eq!(value.len(), 16);
                "ID"
            }
            _ => value,
        };
        text.push_str(&format!("{name}: {value}\n"));
    }
    let body = &request.body;
    text.push_str(&String::from_utf8_lossy(body));
    text
}

/// Lines of a head in any order, then the body.
#[track_caller]
fn check_received(backend: &Backend, first: &str, headers: &[&str], body: &str) {
    let text = received(backend);
    let mut lines = text.splitn(headers.len() + 2, '\n');
    assert_eq!(lines.next(), Some(first), "{text}");
    let mut got: Vec<_> = lines.by_ref().take(headers.len()).collect();
    let mut want = headers.to_vec();
    got.sort_unstable();
    want.sort_unstable();
    assert_eq!(got, want, "{text}");
    assert_eq!(lines.next().unwrap_or_default(), body, "{text}");
}

const COMMON: [&str; 4] =
    ["accept: application/json", "accept-encoding: identity", "host: BACKEND", "x-request-id: ID"];

fn with(more: &[&'static str]) -> Vec<&'static str> {
    COMMON.iter().copied().chain(more.iter().copied()).collect()
}

/// An answer of the edge's own making: its CORS, nothing of the backend's.
#[track_caller]
fn check_answer(reply: &Reply, status: u16) {
    assert_eq!(reply.head.status, status, "{reply:?}");
    let header = |name: &str| reply.head.header(name);
    for name in ["server", "set-cookie", "access-control-allow-methods", "access-control-max-age"] {
        assert_eq!(header(name), None, "{name} in {reply:?}");
    }
    assert!(header("x-request-id").is_some(), "{reply:?}");
}

#[tokio::test]
async fn openfire_gets_messages_states_presence_history_and_log_outs() {
    let one = front(Kind::Openfire).await;
    let (edge, backend) = (&one.edge, &one.backend);
    let send = |ask: Ask| async move { ask.send(edge.streams()).await };
    let authorization = "authorization: openfire-token";

    let message = call("POST", "/desk/chat/message/bob@example.org")
        .header("Content-Type", "text/plain")
        .body("he said \"hi\" \u{1F600}\n");
    check_answer(&send(message).await, 200);
    let headers = with(&[authorization, "content-type: text/plain", "content-length: 18"]);
    check_received(
        backend,
        "POST /sparkweb/api/rest/chat/message/bob@example.org",
        &headers,
        "he said \"hi\" \u{1F600}\n",
    );
    for (method, path, want) in [
        ("POST", "/desk/chat/chatstate/composing/bob%40example.org", "POST"),
        ("POST", "/desk/presence?show=away&status=at%20lunch", "POST"),
        ("GET", "/desk/chat/messages?to=bob@example.org&start=2026-01-01T00:00:00Z", "GET"),
        ("POST", "/desk/logout", "POST"),
    ] {
        let reply = send(call(method, path)).await;
        check_answer(&reply, 200);
        let target = path.replacen("/desk", "/sparkweb/api/rest", 1);
        // An address could stand in for a credential there: it is not told.
        check_received(backend, &format!("{want} {target}"), &with(&[authorization]), "");
        if path.contains("messages") {
            assert!(reply.text().contains("he said"), "{reply:?}");
        }
    }
}

#[tokio::test]
async fn xians_gets_messages_and_its_history_comes_without_origins() {
    let one = front(Kind::Xians).await;
    let (edge, backend) = (&one.edge, &one.backend);
    let bearer = "authorization: Bearer sk-Xnai-upstream";
    let ours = ["x-forwarded-for: 127.0.0.1", bearer];
    let who = "workflow=customer-support&participantId=jane&tenantId=acme";

    let path = "/agent/api/user/rest/send?type=Chat&text=hi%20there&requestId=r%2F1";
    // What would be somebody else's, in names that the backend takes for the same.
    let path = format!("{path}&ParticipantId=joe&%61pikeyId=k&TENANTID=other");
    let body = "{\"n\":109.970,\"big\":12345678901234567890}";
    let reply = call("POST", &path)
        .header("Content-Type", "application/json")
        .body(body)
        .send(edge.streams())
        .await;
    check_answer(&reply, 200);
    assert!(reply.text().starts_with('"'), "a bare thread id: {reply:?}");
    let first = format!("POST /api/user/rest/send?type=Chat&text=hi%20there&requestId=r%2F1&{who}");
    let length = "content-length: 40";
    let headers = with(&[ours[0], ours[1], "content-type: application/json", length]);
    check_received(backend, &first, &headers, body);

    let reply = call("GET", "/agent/api/user/rest/history?page=1&pageSize=50")
        .header("Range", "bytes=0-10")
        .send(edge.streams())
        .await;
    check_answer(&reply, 200);
    let first = format!("GET /api/user/rest/history?page=1&pageSize=50&{who}");
    check_received(backend, &first, &with(&ours), "");
    let text = reply.text();
    assert!(!text.contains("origin") && !text.contains("sk-Xnai"), "{text}");
    assert_eq!(reply.json()[0]["text"], "hi there");
    let exact =
        r#"[{"n":109.970,"origin":"sk-Xnai-upstream","big":123456789012345678901234567890}]"#;
    let json = ("Content-Type".to_owned(), "application/json; charset=utf-8".to_owned());
    let fault = Fault::Status(200, vec![json], exact.into());
    backend.fault_on(On::Path("/history".to_owned()), 1, fault);
    let reply = call("GET", "/agent/api/user/rest/history").send(edge.streams()).await;
    assert_eq!(reply.text(), r#"[{"n":109.970,"big":123456789012345678901234567890}]"#);

    let gone = call("DELETE", "/agent/api/user/rest/thread").send(edge.streams()).await;
    check_answer(&gone, 200);
    check_received(backend, &format!("DELETE /api/user/rest/thread?{who}"), &with(&ours), "");
}

#[tokio::test]
async fn salesforce_gets_messages_typing_files_history_and_the_end() {
    let one = front(Kind::Salesforce).await;
    let (edge, backend) = (&one.edge, &one.backend);
    let ours = ["x-forwarded-for: 127.0.0.1", "authorization: Bearer salesforce-token"];
    let chat = jane().conversation;
    let base = format!("/iamessage/api/v2/conversation/{chat}");
    say(backend, "a conversation is there");
    let message = json!({"esDeveloperName": "Web", "message": {"id": "m-1",
        "messageType": "StaticContentMessage",
        "staticContent": {"formatType": "Text", "text": "hi"}}})
    .to_string();
    let typing = json!({"entryType": "TypingStartedIndicator", "id": "t-1"}).to_string();
    for (path, body) in [("message", &message), ("entry", &typing)] {
        let reply = call("POST", &format!("/care{base}/{path}"))
            .header("Content-Type", "application/json")
            .body(body.as_bytes())
            .send(edge.streams())
            .await;
        check_answer(&reply, 200);
        let length: &'static str = format!("content-length: {}", body.len()).leak();
        let headers = with(&[ours[0], ours[1], "content-type: application/json", length]);
        check_received(backend, &format!("POST {base}/{path}"), &headers, body);
    }
    let form = "--b\r\nContent-Disposition: form-data; name=\"fileData\"\r\n\r\n\0\r\n--b--\r\n";
    let reply = call("POST", &format!("/care{base}/file"))
        .header("Content-Type", "multipart/form-data; boundary=b")
        .body(form)
        .send(edge.streams())
        .await;
    check_answer(&reply, 200);
    assert_eq!(backend.requests().last().expect("a request").body, form.as_bytes());
    let path = format!("{base}/entries?limit=50&direction=FromStart");
    let reply = call("GET", &format!("/care{path}")).send(edge.streams()).await;
    check_answer(&reply, 200);
    assert!(reply.text().contains("m-1"), "{reply:?}");
    check_received(backend, &format!("GET {path}"), &with(&ours), "");
    let path = format!("{base}?esDeveloperName=Web");
    let reply = call("DELETE", &format!("/care{path}")).send(edge.streams()).await;
    check_answer(&reply, 204);
    check_received(backend, &format!("DELETE {path}"), &with(&ours), "");
}

#[tokio::test]
async fn bright_pattern_gets_events_files_and_history() {
    let one = front(Kind::BrightPattern).await;
    let (edge, backend) = (&one.edge, &one.backend);
    let chat = jane().conversation;
    let base = "/clientweb/api/v2";
    let events = r#"{"events":[{"event":"chat_session_message","msg_id":"c:1","msg":"hi"},
        {"event":"chat_session_typing"},{"event":"chat_session_message_read","ref_msg_id":"1"}]}"#;
    let reply = call("POST", &format!("/voice/chats/{chat}/events?tenantUrl=evil.example"))
        .header("Content-Type", "application/json")
        .header("User-Agent", "Mozilla/5.0")
        .body(events)
        .send(edge.streams())
        .await;
    check_answer(&reply, 200);
    let uuid = participant_uuid();
    let authorization: &'static str =
        format!("authorization: MOBILE-API-140-327-PLAIN appId=\"webchat\", clientId=\"{uuid}\"")
            .leak();
    let ours = [
        authorization,
        "user-agent: MobileClient",
        "cache-control: no-cache",
        "x-forwarded-for: 127.0.0.1",
    ];
    let length: &'static str = format!("content-length: {}", events.len()).leak();
    let headers = with(&[&ours[..], &["content-type: application/json", length]].concat());
    let first = format!("POST {base}/chats/{chat}/events?tenantUrl=acme.example.com");
    check_received(backend, &first, &headers, events);

    let reply = call("GET", &format!("/voice/chats/{chat}/history")).send(edge.streams()).await;
    check_answer(&reply, 200);
    assert!(reply.text().contains("chat_session_message"), "{reply:?}");
    let first = format!("GET {base}/chats/{chat}/history?tenantUrl=acme.example.com&nonce=N");
    check_received(backend, &first, &with(&ours), "");

    let file = "\0\u{FFFD} any bytes\r\n";
    let reply = call("POST", "/voice/files").body(file).send(edge.streams()).await;
    check_answer(&reply, 200);
    let id = reply.json()["file_id"].as_str().expect("an id").to_owned();
    let path = format!("/voice/chats/{chat}/files/{id}");
    let reply = call("GET", &path).send(edge.streams()).await;
    check_answer(&reply, 200);
    assert_eq!(reply.body, file.as_bytes());
    assert_eq!(reply.head.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(reply.head.header("content-security-policy"), Some("default-src 'none'; sandbox"));
    let end = r#"{"events":[{"event":"chat_session_end"}]}"#;
    let path = format!("/voice/chats/{chat}/events");
    check_answer(&call("POST", &path).body(end).send(edge.streams()).await, 200);
}

/// Of Jane at acme, as the edge makes it.
fn participant_uuid() -> &'static str {
    "f2e0776a-1c57-8dcd-83c2-286358a3547e"
}

#[tokio::test]
async fn nothing_of_the_clients_own_is_told_or_logged() {
    for kind in Kind::ALL {
        let one = front(kind).await;
        let path = format!("{}/anything", at(kind));
        call("GET", &path).send(one.edge.streams()).await;
        let all = format!("{:?}", one.backend.requests());
        for secret in [
            KEY,
            "secret-cookie",
            "secret-header",
            "secret-referer",
            "203.0.113.7",
            "cross-site",
            "app.example.com",
            "Override",
        ] {
            assert!(!all.contains(secret), "{kind:?} is told {secret}: {all}");
            assert!(!one.edge.log().contains(secret), "{secret} is logged");
        }
    }
}

#[tokio::test]
async fn what_a_conf_names_is_passed_and_nothing_else() {
    let one = One::start_with(Kind::Salesforce, |conf| {
        conf.line(&proxy(Kind::Salesforce, ", headers: [X-Evil, Cookie]"))
    })
    .await;
    call("GET", "/care/x").send(one.edge.streams()).await;
    let requests = one.backend.requests();
    let request = requests.last().expect("a request");
    assert_eq!(request.header("x-evil"), Some("secret-header"));
    assert_eq!(request.header("cookie"), Some("session=secret-cookie"));
    assert_eq!(request.header("x-api-key"), None);
}

/// A message of Jane's that says hello.
fn hello(kind: Kind) -> Ask {
    let chat = jane().conversation;
    let (path, body) = match kind {
        Kind::Openfire => ("/chat/message/bob@example.org".to_owned(), "hello".to_owned()),
        Kind::Xians => {
            ("/api/user/rest/send?type=Chat&text=hello&requestId=r-1".to_owned(), "{}".to_owned())
        }
        Kind::Salesforce => (
            format!("/iamessage/api/v2/conversation/{chat}/message"),
            json!({"message": {"id": "m", "staticContent": {"text": "hello"}}}).to_string(),
        ),
        Kind::BrightPattern => (
            format!("/chats/{chat}/events"),
            r#"{"events":[{"event":"chat_session_message","msg_id":"9","msg":"hello"}]}"#
                .to_owned(),
        ),
    };
    call("POST", &format!("{}{path}", at(kind))).body(body)
}

#[tokio::test]
async fn a_message_sent_comes_back_on_the_stream() {
    for kind in Kind::ALL {
        let one = front(kind).await;
        let mut client = one.edge.open(&Client::new("jane")).await;
        client.all_up(&[source_name(kind)]).await;
        say(&one.backend, "what can I do?");
        client.chat("what can I do?").await;
        assert_eq!(hello(kind).send(one.edge.streams()).await.head.status, 200, "{kind:?}");
        if kind == Kind::Xians {
            // It echoes nobody; its history has the message.
            let history = call("GET", "/agent/api/user/rest/history");
            let history = history.send(one.edge.streams()).await;
            assert_eq!(history.json()[0]["text"], "hello");
        } else {
            let echo = client.chat("hello").await;
            assert_eq!(echo.at("/direction"), "Incoming", "{echo:?}");
        }
        say(&one.backend, "goodbye");
        client.chat("goodbye").await;
        one.check_law().await;
    }
}

#[tokio::test]
async fn a_backend_that_answers_is_heard_after_the_message() {
    for kind in Kind::ALL {
        let backend = backend_with(kind, Options { answers: true, ..options(kind) }).await;
        let edge = Edge::start(&Conf::new().backend(&backend).line(&proxy(kind, "")).yaml()).await;
        let mut client = edge.open(&Client::new("jane")).await;
        client.all_up(&[source_name(kind)]).await;
        say(&backend, "what can I do?");
        client.chat("what can I do?").await;
        assert_eq!(hello(kind).send(edge.streams()).await.head.status, 200, "{kind:?}");
        if kind != Kind::Xians {
            let own = client.chat("hello").await;
            let read = client.expect("Receipt").await;
            assert_eq!(read.at("/data/receipt"), "read", "{kind:?}");
            assert_eq!(read.at("/data/messageId"), own.at("/id"), "{kind:?}");
        }
        let answer = client.chat("You wrote: hello").await;
        assert_eq!(answer.at("/direction"), "Outgoing", "{kind:?}");
        if kind == Kind::Xians {
            assert_eq!(answer.at("/requestId"), "r-1");
        }
        edge.check_law(&[(source_name(kind), &backend)]).await;
    }
}

#[tokio::test]
async fn calls_go_with_the_credential_of_the_persons_stream() {
    let backend = backend_with(Kind::Salesforce, options(Kind::Salesforce)).await;
    let entry = format!(
        "care: {{backend: salesforce, org_id: \"00D000000000001\", anonymous: {{deployment: Web}}, \
         url: \"{}\"}}",
        backend.url()
    );
    let conf = Conf::new().entry("care", entry).line(&proxy(Kind::Salesforce, ""));
    let edge = Edge::start(&conf.yaml()).await;
    // Called before there is a stream, and after.
    let create = |id: &str| {
        let body = json!({"conversationId": id, "esDeveloperName": "Web"}).to_string();
        call("POST", "/care/iamessage/api/v2/conversation").body(body)
    };
    assert_eq!(create("c-1").send(edge.streams()).await.head.status, 201);
    let mut client = edge.open(&Client::new("jane")).await;
    client.all_up(&["care"]).await;
    assert_eq!(create("c-2").send(edge.streams()).await.head.status, 201);
    client.find(|event| event.at("/conversationId") == "c-2").await;
    let tokens: Vec<_> = backend
        .requests()
        .iter()
        .filter_map(|request| request.bearer().map(str::to_owned))
        .collect();
    assert_eq!(tokens.len(), 3, "{tokens:?}");
    assert!(tokens.iter().all(|token| *token == tokens[0]), "one subject, one token");
    let mints =
        backend.requests().iter().filter(|asked| asked.path().ends_with("access-token")).count();
    assert_eq!(mints, 1);
    // Another person is another subject.
    let other = Ask::new(
        "GET",
        format!(
            "/care/iamessage/api/v2/conversation/c-1?tenantId=acme&participantId=joe&apikey={KEY}"
        ),
    );
    assert_eq!(other.send(edge.streams()).await.head.status, 403, "not Joe's conversation");
}

#[tokio::test]
async fn a_refused_credential_is_replaced_for_the_next_call() {
    let backend = backend(Kind::Openfire).await;
    let entry = format!(
        "desk: {{backend: openfire, login: {{username: \"{{participantId}}\", password: p}}, \
         url: \"{}\"}}",
        backend.url()
    );
    let conf = Conf::new().entry("desk", entry).line(&proxy(Kind::Openfire, ""));
    let edge = Edge::start(&conf.yaml()).await;
    let (to, ask) = (edge.streams(), call("POST", "/desk/chat/message/bob@example.org").body("x"));
    assert_eq!(ask.send(to).await.head.status, 200);
    backend.expire_tokens();
    assert_eq!(ask.send(to).await.head.status, 401, "the backend's word is passed on");
    assert_eq!(ask.send(to).await.head.status, 200);
}

#[tokio::test]
async fn events_that_answer_a_send_enter_the_stream_and_reach_the_caller() {
    let backend =
        backend_with(Kind::BrightPattern, Options { echo: false, ..options(Kind::BrightPattern) })
            .await;
    let chat = jane().conversation;
    let url = backend.url().replace("/v2", "/v1");
    let entry = format!(
        "voice: {{backend: brightpattern, app_id: webchat, tenant_url: acme.example.com, \
         chat: \"{chat}\", url: \"{url}\"}}"
    );
    let conf = Conf::new().entry("voice", entry).line(&proxy(Kind::BrightPattern, ""));
    let edge = Edge::start(&conf.yaml()).await;
    let mut client = edge.open(&Client::new("jane")).await;
    client.all_up(&["voice"]).await;
    let body = r#"{"events":[{"event":"chat_session_typing"}]}"#;
    let path = format!("/voice/chats/{chat}/events");
    // Whoever asks first gets an event: the poll or a send. Nothing is lost either way, and
    // some are given to the sends.
    let mut answered = 0;
    for number in 0..40 {
        let text = format!("message {number}");
        say(&backend, &text);
        let reply = call("POST", &path).body(body).send(edge.streams()).await;
        assert_eq!(reply.head.status, 200);
        answered += reply.json()["events"].as_array().expect("events").len();
        client.chat(&text).await;
    }
    assert!(answered > 0, "no send was answered with events");
    edge.check_law(&[("voice", &backend)]).await;
}

#[tokio::test]
async fn calls_that_may_not_pass_are_refused_before_the_backend_is_asked() {
    let one = One::start_with(Kind::BrightPattern, |conf| {
        let more = ", methods: [GET, POST], upload: 1KiB, match: {tenant: acme, workflow: \"customer-.*\"}";
        conf.line(&proxy(Kind::BrightPattern, more))
    })
    .await;
    let chat = jane().conversation;
    let to = one.edge.streams();
    let before = one.backend.now().requests;
    for (ask, status, error, names) in [
        (Ask::get(format!("/voice/x?{WHO}")), 401, "Unauthorized", "Authentication"),
        (Ask::get(format!("/voice/x?{WHO}&apikey=wrong")), 401, "Unauthorized", ""),
        (
            Ask::get(format!("/voice/x?tenantId=acme&participantId=jane&apikey={KEY}")),
            400,
            "Bad Request",
            "workflow",
        ),
        (
            Ask::get(format!("/voice/x?tenantId=acme&workflow=customer-x&apikey={KEY}")),
            400,
            "Bad Request",
            "participantId",
        ),
        (
            Ask::get(format!("/voice/x?{WHO}&apikey={KEY}").replace("acme", "globex")),
            404,
            "Not Found",
            "tenant",
        ),
        (
            Ask::get(format!("/voice/x?{WHO}&apikey={KEY}").replace("customer-", "x")),
            404,
            "Not Found",
            "workflow",
        ),
        (call("DELETE", "/voice/x"), 405, "Method Not Allowed", "GET, HEAD, POST, OPTIONS"),
        (call("GET", "/voice/../admin"), 400, "Bad Request", "path"),
        (call("GET", "/voice/%2e%2e/admin"), 400, "Bad Request", "path"),
        (call("GET", "/voice/a%2fb"), 400, "Bad Request", "path"),
        (call("GET", "/voice/..;/admin"), 400, "Bad Request", "path"),
        (call("GET", "/voicemail"), 404, "Not Found", "path"),
        (call("GET", &format!("/voice/chats/{chat}/events")), 403, "Forbidden", "stream"),
        (call("GET", &format!("/voice/chats/{chat}/%65vents")), 403, "Forbidden", "stream"),
        (call("POST", "/voice/files").body(vec![b'x'; 1025]), 413, "Payload Too Large", "1024"),
    ] {
        let reply = ask.send(to).await;
        reply.refuses(status, error, names);
        if status == 405 {
            assert_eq!(reply.head.header("allow"), Some("GET, HEAD, POST, OPTIONS"));
        }
    }
    assert_eq!(one.backend.now().requests, before);
    // Chunks have no length that could be looked at before.
    let chunked = call("POST", "/voice/files").header("Transfer-Encoding", "chunked");
    let (mut wire, reply) = send_chunks(&chunked, to, 3, 1000).await;
    assert_eq!(reply.status, 413, "{reply:?}");
    wire.body(&reply).await.expect("a body");
}

/// Sends a request in chunks of so many bytes.
async fn send_chunks(
    ask: &Ask,
    to: std::net::SocketAddr,
    chunks: usize,
    bytes: usize,
) -> (Wire, Head) {
    let piece = format!("{bytes:x}\r\n{}\r\n", "x".repeat(bytes));
    let body = format!("{}0\r\n\r\n", piece.repeat(chunks));
    let ask = ask.clone().raw_body(body.into_bytes());
    soon("an answer", ask.start(to, None)).await.expect("an answer")
}

#[tokio::test]
async fn a_key_for_one_person_makes_no_calls_for_another() {
    let of = |participants: &str| {
        format!(
            "{{api_keys: [{{label: own, sha256: \"{}\", tenants: [acme], participants: [{participants}]}}]}}",
            sha256(KEY)
        )
    };
    let backend = backend(Kind::Xians).await;
    let line = proxy(Kind::Xians, "");
    let conf = Conf::new().backend(&backend).line(&line);
    let history = |query: &str| {
        Ask::get(format!(
            "/agent/api/user/rest/history?workflow=customer-support&apikey={KEY}{query}"
        ))
    };
    let edge = Edge::start(&conf.clone().auth(&of("jane")).yaml()).await;
    let to = edge.streams();
    history("&participantId=joe").send(to).await.refuses(403, "Forbidden", "participant");
    history("&participantId=joe&participantId=jane").send(to).await.refuses(403, "Forbidden", "");
    // Of the first that counts, and of whom the credential names alone.
    for query in ["&participantId=jane&participantId=joe", ""] {
        assert_eq!(history(query).send(to).await.head.status, 200, "{query}");
        let requests = backend.requests();
        let request = requests.last().expect("a request");
        let named: Vec<_> =
            request.target.split('&').filter(|pair| pair.contains("articipant")).collect();
        assert_eq!(named, ["participantId=jane"], "{request:?}");
    }
    let edge = Edge::start(&conf.auth(&of("jane, joe")).yaml()).await;
    history("").send(edge.streams()).await.refuses(400, "Bad Request", "participantId");
}

#[tokio::test]
async fn the_backends_errors_come_with_their_body_and_the_edges_cors() {
    let backend = backend(Kind::Openfire).await;
    let conf = Conf::new()
        .backend(&backend)
        .line(&proxy(Kind::Openfire, ""))
        .line("cors: {allow_origins: [\"https://app.example.com\"]}");
    let edge = Edge::start(&conf.yaml()).await;
    let headers = [
        ("Content-Type", "text/x-odd"),
        ("Access-Control-Allow-Origin", "[*]"),
        ("Access-Control-Allow-Credentials", "true"),
        ("Set-Cookie", "a=b"),
        ("X-Frame-Options", "DENY"),
        ("WWW-Authenticate", "Basic realm=\"x\""),
        ("Server", "Jetty"),
        ("Retry-After", "7"),
        ("X-Own", "kept"),
    ]
    .map(|(name, value)| (name.to_owned(), value.to_owned()));
    for status in [400, 401, 404, 409, 417, 429, 500, 503] {
        let fault = Fault::Status(status, headers.to_vec(), format!("odd {status}").into());
        backend.fault_on(On::Path("/sparkweb/api/rest/x".to_owned()), 1, fault);
        let reply = call("GET", "/desk/x").send(edge.streams()).await;
        check_answer(&reply, status);
        assert_eq!(reply.text(), format!("odd {status}"));
        for (name, want) in [
            ("content-type", Some("text/x-odd")),
            ("access-control-allow-origin", Some("https://app.example.com")),
            ("access-control-allow-credentials", None),
            ("x-frame-options", None),
            ("www-authenticate", None),
            ("vary", Some("Origin")),
            ("retry-after", Some("7")),
            ("x-own", Some("kept")),
        ] {
            assert_eq!(reply.head.header(name), want, "{name} of {status}");
        }
    }
    let preflight = Ask::new("OPTIONS", "/desk/x")
        .header("Origin", "https://app.example.com")
        .header("Access-Control-Request-Method", "DELETE")
        .send(edge.streams())
        .await;
    assert_eq!(preflight.head.status, 204);
    let methods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
    assert_eq!(preflight.head.header("access-control-allow-methods"), Some(methods));
    let metrics = edge.metrics().await;
    let count = |code: &str| {
        metrics.sum("chatmux_http_requests_total", &[("route", "/desk"), ("code", code)])
    };
    assert_eq!((count("400"), count("429"), count("204")), (1, 1, 1));
}

#[tokio::test]
async fn a_backend_that_fails_is_told_as_such() {
    let backend = backend(Kind::Xians).await;
    let conf = Conf::new().backend(&backend).line(&proxy(Kind::Xians, ", timeout: 300ms"));
    let edge = Edge::start(&conf.yaml()).await;
    let to = edge.streams();
    let on = || On::Path("/health".to_owned());
    let health = || call("GET", "/agent/health");
    backend.fault_on(on(), 1, Fault::NoAnswer);
    health().send(to).await.refuses(504, "Gateway Timeout", "in time");
    backend.fault_on(on(), 1, Fault::Reset);
    health().send(to).await.refuses(502, "Bad Gateway", "reached");
    backend.fault_on(on(), 1, Fault::Gzip);
    health().send(to).await.refuses(502, "Bad Gateway", "answer");
    backend.fault_on(on(), 1, Fault::ContentType("text/event-stream".to_owned()));
    health().send(to).await.refuses(403, "Forbidden", "stream");
    backend.stop_listening().await;
    health().send(to).await.refuses(502, "Bad Gateway", "reached");
    backend.listen_again().await;
    assert_eq!(health().send(to).await.text(), "Healthy");
}

#[tokio::test]
async fn bodies_stream_both_ways_in_constant_memory() {
    const BYTES: usize = 48 << 20;
    let backend = Giant::start(BYTES).await;
    let entry = format!(
        "voice: {{backend: brightpattern, app_id: a, tenant_url: x.example, chat: c, \
         url: \"http://{}\"}}",
        backend.address
    );
    let line = "proxy: [{path: /voice, source: voice, upload: 64MiB, download: 64MiB}]";
    let edge = Edge::start(&Conf::new().entry("voice", entry).line(line).yaml()).await;
    call("GET", "/voice/small").send(edge.streams()).await;
    let before = edge.peak_kib();
    let reply = call("POST", "/voice/files").body(vec![b'u'; BYTES]).send(edge.streams()).await;
    assert_eq!(reply.text(), BYTES.to_string());
    let reply = call("GET", "/voice/big").send(edge.streams()).await;
    assert_eq!(reply.body.len(), BYTES);
    assert!(reply.body.iter().all(|byte| *byte == b'd'));
    let grown = edge.peak_kib() - before;
    assert!(grown < 16 * 1024, "{grown} KiB for {BYTES} bytes");
}

/// A backend that takes and gives more than it keeps.
struct Giant {
    address: std::net::SocketAddr,
    server: tokio::task::JoinHandle<()>,
}

impl Drop for Giant {
    fn drop(&mut self) {
        self.server.abort();
    }
}

impl Giant {
    async fn start(bytes: usize) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let server = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(Self::answer(socket, bytes));
            }
        });
        Self { address, server }
    }

    async fn answer(mut socket: tokio::net::TcpStream, bytes: usize) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut buffer = Vec::new();
        let end = loop {
            let at = buffer.windows(4).position(|window| window == b"\r\n\r\n");
            if let Some(at) = at {
                break at + 4;
            }
            if socket.read_buf(&mut buffer).await.unwrap_or(0) == 0 {
                return;
            }
        };
        let head = String::from_utf8_lossy(&buffer[..end]).to_ascii_lowercase();
        let length = head.split("content-length: ").nth(1).and_then(|rest| rest.lines().next());
        let length: usize = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut got = buffer.len() - end;
        let mut chunk = vec![0; 1 << 16];
        while got < length {
            match socket.read(&mut chunk).await {
                Ok(read @ 1..) => got += read,
                _ => return,
            }
        }
        let size = if head.contains("/big") { bytes } else { got.to_string().len() };
        let head =
            format!("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {size}\r\n\r\n");
        let mut is_ok = socket.write_all(head.as_bytes()).await.is_ok();
        if size < bytes {
            is_ok &= socket.write_all(got.to_string().as_bytes()).await.is_ok();
        } else {
            for _ in 0..size >> 16 {
                is_ok &= socket.write_all(&[b'd'; 1 << 16]).await.is_ok();
            }
        }
        assert!(is_ok || size > 0);
    }
}

#[tokio::test]
async fn files_are_where_their_events_say() {
    // What serves another tenant's serves not hers.
    let others = "{path: /others/, source: voice, match: {tenant: globex}}, ";
    let both = proxy(Kind::BrightPattern, "").replacen('[', &format!("[{others}"), 1);
    let one = One::start_with(Kind::BrightPattern, |conf| conf.line(&both)).await;
    let mut client = one.edge.open(&Client::new("jane")).await;
    client.all_up(&["voice"]).await;
    let who = chatmux::scripted::Conversation::new(Vec::new());
    let step = chatmux::scripted::Step::AgentSendsFile {
        name: "label.pdf".to_owned(),
        media_type: "application/pdf".to_owned(),
    };
    one.backend.speak(&jane(), &who, &step);
    let file = client.find(|event| event.name == "File").await;
    let url = file.at("/data/files/0/url");
    assert!(url.starts_with("/voice/chats/"), "{url}");
    let reply = Ask::get(format!("{url}&apikey={KEY}")).send(one.edge.streams()).await;
    assert_eq!((reply.head.status, reply.text().as_str()), (200, "label.pdf\n"));
    one.check_law().await;
}

/// A route in the backend's own words, at the backend's own path.
fn in_place(path: &str, source: &str) -> String {
    let defaults = "{tenantId: acme, workflow: customer-support, participantId: jane}";
    format!("{{path: {path}, sources: [{source}], vocabulary: raw, defaults: {defaults}}}")
}

#[tokio::test]
async fn a_backends_own_stream_is_fronted_in_its_own_words() {
    for (kind, path, own) in [
        (Kind::Openfire, "/sparkweb/sse", &["chatapi.xmpp", "chatapi.chat"][..]),
        (Kind::Xians, "/api/user/sse/events", &["Chat"][..]),
        (Kind::Salesforce, "/eventrouter/v1/sse", &["CONVERSATION_MESSAGE"][..]),
        (Kind::BrightPattern, "/chats/events", &["chat_session_message"][..]),
    ] {
        let route = in_place(path, source_name(kind));
        let one = One::start_with(kind, |conf| conf.another_route(&route)).await;
        // A client that knows nothing of the edge but its key.
        let ids = ["tenantId", "workflow", "participantId"];
        let client = ids.iter().fold(Client::new("jane"), |client, name| client.without(name));
        let client = client.path(path).query("heartbeatSeconds", "1").query("types", "Typing");
        let mut raw = one.edge.open(&client).await;
        let mut unified = one.edge.open(&Client::new("jane")).await;
        unified.all_up(&[source_name(kind)]).await;
        for text in ["one", "two\nlines"] {
            say(&one.backend, text);
            unified.chat(text).await;
        }
        let mut names = Vec::new();
        while !names.iter().any(|name| name == "heartbeat")
            || !own.iter().all(|name| names.iter().any(|got| got == name))
        {
            let (name, data) = raw.next_frame().await;
            assert!(name == "heartbeat" || !data.contains("\"source\":"), "{name}: {data}");
            names.push(name);
        }
        for name in ["source_up", "source_down", "gap", "Typing"] {
            assert!(!names.iter().any(|got| got == name), "{kind:?}: {names:?}");
        }
        one.check_law().await;
    }
}

#[tokio::test]
async fn in_its_own_words_a_backend_tells_nobody_elses_either() {
    let route = in_place("/raw", "agent");
    let one = One::start_with(Kind::Xians, |conf| conf.another_route(&route)).await;
    let client = Client::new("jane").path("/raw");
    let mut raw = one.edge.open(&client).await;
    assert_eq!(raw.next_frame().await.0, "connected");
    let who = chatmux::scripted::Conversation::new(Vec::new());
    let step = chatmux::scripted::Step::AgentSays("for Joe alone".to_owned());
    one.backend.speak(&chatmux::scripted::Audience::new("joe"), &who, &step);
    say(&one.backend, "for Jane");
    let (name, data) = raw.next_frame().await;
    assert!(name == "Chat" && data.contains("for Jane"), "{name} {data}");
    // It has a place in the log, and comes back to it.
    let id = raw.last_frame_id().to_owned();
    say(&one.backend, "meanwhile");
    let mut again = one.edge.open(&client.after(&id)).await;
    assert!(again.next_frame().await.1.contains("meanwhile"));
    one.check_law().await;
}

#[tokio::test]
async fn a_name_that_nobody_has_is_a_refusal_and_no_panic() {
    let entry = "voice: {backend: brightpattern, app_id: a, tenant_url: x.example, chat: c, \
                 url: \"http://nobody.invalid\"}";
    let conf = Conf::new().entry("voice", entry.to_owned());
    let edge = Edge::start(&conf.line("proxy: [{path: /voice, source: voice}]").yaml()).await;
    for _ in 0..2 {
        let reply = call("GET", "/voice/x").send(edge.streams()).await;
        reply.refuses(502, "Bad Gateway", "reached");
    }
}

#[tokio::test]
async fn calls_come_over_http_2_as_well() {
    let backend = backend(Kind::Xians).await;
    let conf = Conf::new().backend(&backend).line(&proxy(Kind::Xians, ""));
    let edge = Edge::start(&conf.listen("{address: \"127.0.0.1:0\", h2c: true}").yaml()).await;
    let url = format!(
        "http://{}/agent/api/user/rest/send?type=Chat&text=over&{WHO}&apikey={KEY}",
        edge.streams()
    );
    let curl = tokio::process::Command::new("curl")
        .args(["-s", "-i", "--http2-prior-knowledge", "--max-time", "30", "-d", "{\"a\":1.0}"])
        .args(["-H", "Content-Type: application/json", &url])
        .output();
    let Ok(curl) = curl.await else {
        eprintln!("skipped: there is no curl here");
        return;
    };
    let text = String::from_utf8_lossy(&curl.stdout);
    assert!(text.starts_with("HTTP/2 200"), "{text}");
    let requests = backend.requests();
    let request = requests.last().expect("a request");
    assert_eq!(request.body, "{\"a\":1.0}".as_bytes());
    assert_eq!(request.header("host"), Some(backend.addr().to_string().as_str()));
}

#[tokio::test]
async fn calls_have_a_budget_of_their_own() {
    let limits = "limits: {subject: {requests: 3/h, opens: 1/h}}";
    let one = One::start_with(Kind::Xians, |conf| conf.line(&proxy(Kind::Xians, "")).line(limits));
    let one = one.await;
    let _stream = one.edge.open(&Client::new("jane")).await;
    let history = call("GET", "/agent/api/user/rest/history");
    for _ in 0..3 {
        assert_eq!(history.send(one.edge.streams()).await.head.status, 200);
    }
    let before = one.backend.now().requests;
    let reply = history.send(one.edge.streams()).await;
    reply.refuses(429, "Rate limit exceeded", "Try again");
    assert!(reply.head.header("ratelimit-policy").is_some(), "{reply:?}");
    assert_eq!(one.backend.now().requests, before);
}
