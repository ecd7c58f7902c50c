//! SparkWeb's oddities.

use super::*;

async fn jane() -> Backend {
    start(Kind::Openfire, |options| options.tokens = vec![("jane".into(), "t1".into())]).await
}

async fn stream(backend: &Backend, token: &str) -> Client {
    Client::get(backend, &format!("/sparkweb/sse?token={token}"), &[SSE]).await
}

#[tokio::test]
async fn a_stream_has_the_head_of_jetty_and_begins_with_on_connect() {
    let backend = jane().await;
    let mut client = stream(&backend, "t1").await;
    let text = client.until("\r\n\r\nevent: onConnect\r\n").await;
    assert!(text.starts_with("HTTP/1.1 200 OK\r\n"));
    assert!(text.contains("Content-Type: text/event-stream;charset=utf-8\r\n"));
    assert!(text.contains("Connection: close\r\n"));
    assert!(text.contains("Access-Control-Allow-Origin: [*]\r\n"));
    assert!(!text.contains("Content-Length") && !text.contains("Transfer-Encoding"));
    client.until(r#"data: {"name":"jane","email":"jane@example.org","username":"jane"}"#).await;
}

#[tokio::test]
async fn tokens_and_accept_are_strict() {
    let backend = jane().await;
    for (target, accept, want) in [
        ("/sparkweb/sse?token=other", SSE, 503),
        ("/sparkweb/sse", SSE, 503),
        ("/sparkweb/sse?token=t1", "Accept: text/event-stream, */*", 405),
        ("/sparkweb/sse?token=t1", "X-None: 1", 405),
    ] {
        let answer = Client::get(&backend, target, &[accept]).await.answer().await;
        assert_eq!(answer.0, want, "{target} {accept}");
    }
}

#[tokio::test]
async fn a_message_gives_stanza_state_and_body() {
    let backend = jane().await;
    let mut client = stream(&backend, "t1").await;
    client.until("onConnect").await;
    let who = Conversation::new(Vec::new());
    assert!(backend.speak(&Audience::new("jane"), &who, &Step::BotSays("hello".into())));
    let text = client.until("\"body\":\"hello\"}\r\n\r\n").await;
    let names: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("event: ")).collect();
    assert_eq!(names, ["onConnect", "chatapi.xmpp", "chatapi.chat", "chatapi.chat"]);
    assert!(text.contains("\"state\":\"active\",\"type\":\"chat\"}"));
    // What json-lib cannot read has no body frame.
    backend.speak(&Audience::new("jane"), &who, &Step::BotSays("\"no\"".into()));
    let now = until(&backend, |now| now.frames_sent == 6).await;
    assert_eq!(now.live_streams, 1);
    assert_eq!(backend.frames_sent_of("chatapi.chat"), 3);
}

#[tokio::test]
async fn a_heartbeat_is_a_bare_line_break_and_no_frame() {
    let backend = jane().await;
    let mut client = stream(&backend, "t1").await;
    client.until("\"username\":\"jane\"}\r\n\r\n").await;
    backend.heartbeat();
    client.until("}\r\n\r\n\r\n").await;
    assert_eq!(backend.frames_sent(), 1);
}

#[tokio::test]
async fn a_token_dies_with_the_last_stream_but_only_at_the_next_beat() {
    let backend = jane().await;
    let mut first = stream(&backend, "t1").await;
    first.until("onConnect").await;
    drop(first);
    let now = until(&backend, |now| now.live_streams == 0).await;
    assert_eq!(now.believed_streams, 1);
    // Back before the beat: the session lives on.
    let mut second = stream(&backend, "t1").await;
    second.until("onConnect").await;
    backend.heartbeat();
    until(&backend, |now| now.believed_streams == 1).await;
    drop(second);
    until(&backend, |now| now.live_streams == 0).await;
    backend.heartbeat();
    until(&backend, |now| now.believed_streams == 0).await;
    assert_eq!(stream(&backend, "t1").await.answer().await.0, 503);
}

#[tokio::test]
async fn an_older_token_opens_a_silent_stream() {
    let backend = jane().await;
    let login = Client::post(&backend, "/sparkweb/api/rest/login/jane", &[], "secret").await;
    let (status, body) = login.answer().await;
    assert_eq!(status, 200);
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    let mut newest = stream(&backend, body["token"].as_str().unwrap()).await;
    newest.until("onConnect").await;
    backend.end_streams();
    assert!(newest.end().await);
    until(&backend, |now| now.believed_streams == 0).await;
    let mut zombie = stream(&backend, "t1").await;
    zombie.until("\"username\":\"jane\"}\r\n\r\n").await;
    let who = Conversation::new(Vec::new());
    backend.speak(&Audience::new("jane"), &who, &Step::BotSays("hello".into()));
    backend.heartbeat();
    assert!(!zombie.until("}\r\n\r\n\r\n").await.contains("chatapi"));
}

#[tokio::test]
async fn an_origin_hides_every_status() {
    let backend = start(Kind::Openfire, |options| {
        options.passwords = vec![("jane".into(), "right".into())];
    })
    .await;
    let login = "/sparkweb/api/rest/login/jane";
    for (headers, body, want) in [
        (&[][..], "wrong", 500),
        (&["Origin: http://x"][..], "wrong", 200),
        (&[][..], "right", 200),
    ] {
        assert_eq!(Client::post(&backend, login, headers, body).await.answer().await.0, want);
    }
}

#[tokio::test]
async fn history_knows_what_was_said() {
    let backend = start(Kind::Openfire, |options| {
        options.tokens = vec![("jane".into(), "ey1".into())];
    })
    .await;
    let who = Conversation::new(Vec::new());
    backend.speak(&Audience::new("jane"), &who, &Step::AgentSays("a \"b\"".into()));
    let target = "/sparkweb/api/rest/chat/messages?to=zoe@example.org&start=2020-01-01T00:00:00Z";
    let answer = Client::get(&backend, target, &["Authorization: ey1"]).await.answer().await;
    assert!(answer.1.contains(r#""body":"a \"b\"""#), "{}", answer.1);
    assert_eq!(Client::get(&backend, target, &[]).await.answer().await.0, 401);
}

#[tokio::test]
async fn the_older_generation_has_no_stanzas_and_writes_what_was_typed() {
    let backend = start(Kind::Openfire, |options| {
        options.tokens = vec![("jane".into(), "t1".into())];
        (options.stanzas, options.legacy_payloads) = (false, true);
    })
    .await;
    let mut client = stream(&backend, "t1").await;
    client.until("onConnect").await;
    let who = Conversation::new(Vec::new());
    let to = Audience::new("jane");
    assert!(!backend.speak(&to, &who, &Step::ParticipantSays("me".into())));
    backend.speak(&to, &who, &Step::BotSays("a \"b\"\nc".into()));
    let text = client.until("\"body\": \"a \"b\"\r\ndata: c\"}\r\n\r\n").await;
    assert!(!text.contains("chatapi.xmpp"));
}
