//! Salesforce's oddities.

use super::*;

const ORG: &str = "X-Org-Id: 00D000000000001";

async fn org() -> Backend {
    start(Kind::Salesforce, |options| options.tokens = vec![("me".into(), "t1".into())]).await
}

async fn stream(backend: &Backend, stamp: u32, more: &str) -> Client {
    let target = format!("/eventrouter/v1/sse?_ts={stamp}");
    Client::get(backend, &target, &[SSE, "Authorization: Bearer t1", ORG, more]).await
}

#[tokio::test]
async fn opening_is_strict() {
    let backend = org().await;
    let good = "Authorization: Bearer t1";
    for (target, auth, org, want) in [
        ("?_ts=1", "X-A: 1", ORG, 401),
        ("?_ts=1", "Authorization: Bearer t2", ORG, 401),
        ("?_ts=1", good, "X-Org-Id: 00D000000000001EAA", 400),
        ("", good, ORG, 400),
    ] {
        let target = format!("/eventrouter/v1/sse{target}");
        let answer = Client::get(&backend, &target, &[auth, org]).await.answer().await;
        assert_eq!(answer.0, want, "{target} {auth} {org}");
    }
    stream(&backend, 7, "X-A: 1").await.until("\r\n\r\n").await;
    assert_eq!(stream(&backend, 7, "X-A: 1").await.answer().await.0, 400);
}

#[tokio::test]
async fn frames_have_no_space_and_payloads_are_json_in_a_string() {
    let backend = org().await;
    let mut client = stream(&backend, 1, "X-A: 1").await;
    client.until("Transfer-Encoding: chunked\r\n").await;
    let who = Conversation::new(Vec::new());
    backend.speak(&Audience::new("jane"), &who, &Step::AgentSays("a \"b\"\né".into()));
    let text = client.until("\"clientDuration\":0}}\n\n").await;
    let data = text.split("id:501\nevent:CONVERSATION_MESSAGE\ndata:").nth(1).unwrap();
    let data: serde_json::Value = serde_json::from_str(data.lines().next().unwrap()).unwrap();
    let entry = &data["conversationEntry"];
    assert_eq!(entry["senderDisplayName"], "Zoë Núñez");
    let payload: serde_json::Value =
        serde_json::from_str(entry["entryPayload"].as_str().unwrap()).unwrap();
    assert_eq!(payload["id"], entry["identifier"]);
    assert_eq!(payload["abstractMessage"]["staticContent"]["text"], "a \"b\"\né");
    backend.heartbeat();
    client.until("event:ping\ndata:").await;
}

#[tokio::test]
async fn newer_events_come_again_after_a_last_event_id() {
    let backend = org().await;
    let who = Conversation::new(Vec::new());
    let to = Audience::new("jane");
    for text in ["one", "two", "three"] {
        backend.speak(&to, &who, &Step::BotSays(text.into()));
    }
    let mut client = stream(&backend, 1, "Last-Event-Id: 501").await;
    let text = client.until("three").await;
    assert!(text.contains("id:502\n") && !text.contains("id:501\n"));
    let mut client = stream(&backend, 2, "X-A: 1").await;
    client.until("\r\n\r\n").await;
    backend.heartbeat();
    assert!(!client.until("event:ping").await.contains("id:50"));
}

#[tokio::test]
async fn tokens_are_minted_renewed_and_run_out() {
    let backend = org().await;
    let mint = "/iamessage/api/v2/authorization/unauthenticated/access-token";
    let body = r#"{"orgId":"00D000000000001EAA","esDeveloperName":"W","capabilitiesVersion":"63",
        "platform":"Web"}"#;
    let (status, answer) = Client::post(&backend, mint, &[], body).await.answer().await;
    assert_eq!(status, 200, "{answer}");
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["lastEventId"], "500");
    let old = format!("Authorization: Bearer {}", answer["accessToken"].as_str().unwrap());
    let renew = "/iamessage/api/v2/authorization/continuation-access-token";
    assert_eq!(Client::get(&backend, renew, &[&old]).await.answer().await.0, 200);
    let v1 = "/iamessage/v1/authorization/unauthenticated/accessToken";
    assert_eq!(Client::post(&backend, v1, &[], body).await.answer().await.0, 400);
    let mut client = Client::get(&backend, "/eventrouter/v1/sse?_ts=1", &[SSE, &old, ORG]).await;
    client.until("\r\n\r\n").await;
    backend.expire_tokens();
    assert!(client.end().await);
    assert!(client.text().ends_with("0\r\n\r\n"));
    let late = Client::get(&backend, "/eventrouter/v1/sse?_ts=2", &[SSE, &old, ORG]).await;
    assert_eq!(late.answer().await, (401, "Jwt is expired".to_owned()));
}

#[tokio::test]
async fn a_conversation_is_its_creators() {
    let backend = start(Kind::Salesforce, |options| {
        options.tokens = vec![("me".into(), "t1".into()), ("you".into(), "t2".into())];
    })
    .await;
    let me = "Authorization: Bearer t1";
    let create = "/iamessage/api/v2/conversation";
    let body = r#"{"conversationId":"c1","esDeveloperName":"W"}"#;
    assert_eq!(Client::post(&backend, create, &[me], body).await.answer().await.0, 201);
    assert_eq!(Client::post(&backend, create, &[me], body).await.answer().await.0, 409);
    let you = "Authorization: Bearer t2";
    let path = "/iamessage/api/v2/conversation/c1";
    assert_eq!(Client::get(&backend, path, &[you]).await.answer().await.0, 403);
    let other = "/iamessage/api/v2/conversation/c2";
    assert_eq!(Client::get(&backend, other, &[me]).await.answer().await.0, 404);
    let target = "/eventrouter/v1/sse?_ts=1";
    let mut yours = Client::get(&backend, target, &[you, ORG]).await;
    yours.until("\r\n\r\n").await;
    let to = Audience::new("x").conversation("c1");
    backend.speak(&to, &Conversation::new(Vec::new()), &Step::BotSays("secret".into()));
    backend.heartbeat();
    assert!(!yours.until("event:ping").await.contains("secret"));
    let entries = "/iamessage/api/v2/conversation/c1/entries?limit=1&entryTypeFilter=Message";
    let (_, page) = Client::get(&backend, entries, &[me]).await.answer().await;
    let page: serde_json::Value = serde_json::from_str(&page).unwrap();
    let payload = &page["conversationEntries"][0]["entryPayload"];
    assert_eq!(payload["abstractMessage"]["staticContent"]["text"], "secret");
}
