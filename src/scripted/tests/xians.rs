//! XiansAi's oddities.

use super::*;

const EVENTS: &str = "/api/user/sse/events?workflow=customer-support&participantId=Jane&";
const KEY: &str = "apikey=sk-Xnai-1";

async fn acme() -> Backend {
    start(Kind::Xians, |options| {
        options.api_keys = vec![("sk-Xnai-1".into(), "acme".into())];
    })
    .await
}

#[tokio::test]
async fn a_stream_is_chunked_and_begins_with_connected() {
    let backend = acme().await;
    let mut client = Client::get(&backend, &format!("{EVENTS}{KEY}"), &[]).await;
    let text = client.until("event: connected\ndata: {").await;
    assert!(text.contains("Transfer-Encoding: chunked\r\n"), "{text}");
    assert!(text.contains("Content-Type: text/event-stream\r\n"));
    let text = client.until("Z\"}\n\n\r\n").await;
    assert!(text.contains(
        "\"workflowId\":\"acme:customer-support\",\"participantId\":\"jane\",\"tenantId\":\"acme\""
    ));
}

#[tokio::test]
async fn refusals_have_their_bodies() {
    let backend = acme().await;
    let unauthorized = "{\"error\":\"Unauthorized\",\"message\":\"Authentication is required to \
                        access this resource\"}";
    let empty = "\"Workflow and participantId are required parameters\"";
    for (query, header, status, body) in [
        (EVENTS.to_owned(), "X-A: 1", 401, unauthorized),
        (format!("{EVENTS}apikey=sk-key"), "X-A: 1", 401, unauthorized),
        (format!("{EVENTS}{KEY}&apikeyId=1"), "X-A: 1", 401, unauthorized),
        (format!("{EVENTS}{KEY}&tenantId=other"), "X-A: 1", 401, unauthorized),
        // A JWT needs a tenant, and a header wins over the query.
        (format!("{EVENTS}{KEY}"), "Authorization: Bearer a.b.c", 401, unauthorized),
        (format!("/api/user/sse/events?participantId=jane&{KEY}"), "X-A: 1", 400, ""),
        (format!("/api/user/sse/events?workflow=&participantId=j&{KEY}"), "X-A: 1", 400, empty),
        (format!("{EVENTS}{KEY}&heartbeatSeconds=soon"), "X-A: 1", 400, ""),
    ] {
        let answer = Client::get(&backend, &query, &[header]).await.answer().await;
        assert_eq!(answer, (status, body.to_owned()), "{query}");
    }
    let foreign = format!("/api/user/sse/events?workflow=other:a:b&participantId=j&{KEY}");
    assert_eq!(Client::get(&backend, &foreign, &[]).await.answer().await.0, 500);
}

#[tokio::test]
async fn a_stream_leaks_what_is_for_others_and_escapes_what_is_not_ascii() {
    let backend = acme().await;
    let mut client = Client::get(&backend, &format!("{EVENTS}{KEY}"), &[]).await;
    client.until("connected").await;
    let who = Conversation::new(Vec::new());
    let step = Step::BotSays("\"é😀\"\n".into());
    assert!(backend.speak(&Audience::new("Bob"), &who, &step));
    let text = client.until("\"createdBy\":\"support-agent-svc\"}\n\n").await;
    assert!(text.contains("\"participantId\":\"bob\",\"direction\":\"Outgoing\""));
    assert!(text.contains(r#""text":"\u0022\u00E9\uD83D\uDE00\u0022\n","data":null,"hint":null"#));
    assert!(!backend.speak(&Audience::new("jane"), &who, &Step::ParticipantSays("me".into())));
    backend.speak(&Audience::new("jane").workflow("other"), &who, &step);
    backend.heartbeat();
    let text = client.until("\"subscriberCount\":1}").await;
    assert_eq!(text.matches("event: Chat").count(), 1);
    assert_eq!(backend.frames_sent(), 3);
}

#[tokio::test]
async fn a_scope_hides_everything_else() {
    let backend = acme().await;
    let mut client = Client::get(&backend, &format!("{EVENTS}{KEY}&scope=order"), &[]).await;
    client.until("connected").await;
    let who = Conversation::new(Vec::new());
    backend.speak(&Audience::new("jane"), &who, &Step::BotSays("hidden".into()));
    backend.heartbeat();
    assert!(!client.until("event: heartbeat").await.contains("hidden"));
}

#[tokio::test]
async fn history_is_newest_first_and_leaks_the_token() {
    let backend = start(Kind::Xians, |_| {}).await;
    let who = Conversation::new(Vec::new());
    let to = Audience::new("jane");
    backend.speak(&to, &who, &Step::BotSays("first".into()));
    let query = "workflow=customer-support&participantId=jane&tenantId=acme";
    let bearer = &["Authorization: Bearer a.b.c"];
    let send = format!("/api/user/rest/send?{query}&type=Chat&text=second");
    let (status, thread) = Client::post(&backend, &send, bearer, "").await.answer().await;
    assert_eq!((status, thread.len()), (200, 26));
    let history = format!("/api/user/rest/history?{query}&page=1&pageSize=50");
    let (_, body) = Client::get(&backend, &history, bearer).await.answer().await;
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&body[0]["text"], &body[1]["text"]), (&"second".into(), &"first".into()));
    assert_eq!((&body[0]["origin"], &body[0]["direction"]), (&"a.b.c".into(), &"Incoming".into()));
    let second = format!("/api/user/rest/history?{query}&page=2&pageSize=1");
    let (_, body) = Client::get(&backend, &second, bearer).await.answer().await;
    assert!(body.contains("first") && !body.contains("second"));
}
