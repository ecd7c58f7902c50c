//! Bright Pattern's oddities.

use super::*;

const AUTH: &str = "Authorization: MOBILE-API-140-327-PLAIN appId=\"a\", clientId=\"c\"";
const BARE: &str = "Authorization: MOBILE-API-140-327-PLAIN appId=a,clientId=c";

async fn server() -> Backend {
    start(Kind::BrightPattern, |options| {
        options.chats = vec![("c1".into(), "c".into())];
        options.hold = Duration::MAX;
    })
    .await
}

async fn poll(backend: &Backend, nonce: u32) -> Client {
    let target = format!("/clientweb/api/v2/chats/c1/events?tenantUrl=t&nonce={nonce}");
    Client::get(backend, &target, &[AUTH]).await
}

fn say(backend: &Backend, text: &str) {
    let to = Audience::new("jane").conversation("c1");
    backend.speak(&to, &Conversation::new(Vec::new()), &Step::BotSays(text.into()));
}

#[tokio::test]
async fn a_poll_is_held_until_something_is_said_and_reading_consumes() {
    let backend = server().await;
    let held = poll(&backend, 1).await;
    until(&backend, |now| now.held_polls == 1).await;
    say(&backend, "a <b>\n\"é\"");
    let (status, body) = held.answer().await;
    assert_eq!(status, 200);
    assert!(body.starts_with(r#"{"events":[{"channel":"web","event":"chat_session_message","#));
    assert!(body.contains(
        r#""msg":"a &lt;b&gt;<br>&quot;é&quot;","msg_id":"0","msg_text":"a <b>\n\"é\"","#
    ));
    say(&backend, "next");
    let (_, body) = poll(&backend, 2).await.answer().await;
    assert!(body.contains("next") && !body.contains("quot"));
    until(&backend, |now| now.frames_sent == 2).await;
}

#[tokio::test]
async fn a_repeated_url_gets_the_old_answer() {
    let backend = server().await;
    say(&backend, "one");
    let (_, first) = poll(&backend, 1).await.answer().await;
    say(&backend, "two");
    assert_eq!(poll(&backend, 1).await.answer().await.1, first);
    assert!(poll(&backend, 2).await.answer().await.1.contains("two"));
}

#[tokio::test]
async fn one_poll_at_a_time() {
    let backend = server().await;
    let held = poll(&backend, 1).await;
    until(&backend, |now| now.held_polls == 1).await;
    let (status, body) = poll(&backend, 2).await.answer().await;
    assert_eq!(status, 429);
    assert!(body.contains("\"error_code\":\"5509\""));
    drop(held);
    until(&backend, |now| now.held_polls == 0).await;
    say(&backend, "kept");
    assert!(poll(&backend, 3).await.answer().await.1.contains("kept"));
}

#[tokio::test]
async fn patience_ends_in_an_empty_list() {
    let backend = start(Kind::BrightPattern, |options| {
        options.chats = vec![("c1".into(), String::new())];
        options.hold = Duration::from_millis(1);
    })
    .await;
    assert_eq!(poll(&backend, 1).await.answer().await, (200, r#"{"events":[]}"#.to_owned()));
}

#[tokio::test]
async fn an_ended_chat_is_not_found() {
    let backend = server().await;
    let to = Audience::new("jane").conversation("c1");
    backend.speak(&to, &Conversation::new(Vec::new()), &Step::Ended);
    assert!(poll(&backend, 1).await.answer().await.1.contains("chat_session_ended"));
    let (status, body) = poll(&backend, 2).await.answer().await;
    assert_eq!(status, 404);
    assert_eq!(body, r#"{"error_code":"5005","error_message":"Chat session is not found"}"#);
}

#[tokio::test]
async fn callers_must_say_who_they_are() {
    let backend = server().await;
    let path = |version| format!("/clientweb/api/v{version}/chats/c1/history?tenantUrl=t");
    for (target, header, status, code) in [
        (path(2), "X-A: 1", 403, "2000"),
        (path(1), "X-A: 1", 401, "2000"),
        (path(2), "Authorization: x", 403, "2001"),
        (path(2), "Authorization: Basic x", 403, "2002"),
        (path(2), "Authorization: MOBILE-API-140-327-PLAIN clientId=c", 403, "2003"),
        (path(2), "Authorization: MOBILE-API-140-327-PLAIN appId=a", 403, "2004"),
        ("/clientweb/api/v2/chats/c1/history".to_owned(), AUTH, 400, "1000"),
        (path(2).replace("c1", "c2"), AUTH, 404, "5005"),
        (path(2), "Authorization: MOBILE-API-140-327-PLAIN appId=a, clientId=d", 404, "5005"),
    ] {
        let (got, body) = Client::get(&backend, &target, &[header]).await.answer().await;
        assert_eq!(got, status, "{target} {header}");
        assert!(body.contains(&format!("\"error_code\":\"{code}\"")), "{body}");
    }
    assert_eq!(Client::get(&backend, &path(2), &[BARE]).await.answer().await.0, 200);
}

#[tokio::test]
async fn sent_events_stand_in_the_history_and_v1_answers_with_pending_ones() {
    let backend = server().await;
    say(&backend, "pending");
    let body = r#"{"events":[{"event":"chat_session_message","msg_id":"c1:1","msg":"mine"}]}"#;
    let path = |version, call| format!("/clientweb/api/v{version}/chats{call}?tenantUrl=t");
    let send = Client::post(&backend, &path(2, "/c1/events"), &[AUTH], body).await;
    assert_eq!(send.answer().await, (200, String::new()));
    let send = Client::post(&backend, &path(1, "/c1/events"), &[AUTH], body).await;
    let (_, answer) = send.answer().await;
    assert!(answer.contains("pending") && !answer.contains("mine"));
    let (_, history) = Client::get(&backend, &path(2, "/c1/history"), &[AUTH]).await.answer().await;
    assert!(history.contains("pending") && history.contains(r#""party_id":"c1""#));
    let (_, active) = Client::get(&backend, &path(2, "/active"), &[AUTH]).await.answer().await;
    assert!(active.contains(r#""chat_id":"c1""#));
    let (_, again) = Client::post(&backend, &path(2, ""), &[AUTH], "{}").await.answer().await;
    assert!(again.contains(r#""chat_id":"c1","ewt":"0","is_new_chat":false"#));
}
