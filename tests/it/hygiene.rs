//! What backends receive: exactly what their dialect wants, and nothing of the client's own.

use std::collections::HashSet;

use chatmux::scripted::{Backend, Fault, Kind, Request};

use crate::support::{Client, Four, KEY, One, jane, say};

/// What a browser sends that is nobody else's business.
const PRIVATE: [&str; 7] =
    ["Origin", "Cookie", "X-API-Key", "X-Forwarded-For", "Referer", "X-Evil", "Sec-Fetch-Site"];

fn browser() -> Client {
    Client::new("jane")
        .header("X-API-Key", KEY)
        .header("Origin", "https://app.example.com")
        .header("Referer", "https://app.example.com/chat")
        .header("Cookie", "session=secret-cookie")
        .header("X-Forwarded-For", "203.0.113.7")
        .header("X-Evil", "secret-header")
        .header("Sec-Fetch-Site", "cross-site")
        .header("Accept-Encoding", "gzip, deflate, br")
        .query("access_token", "secret-parameter")
}

#[track_caller]
fn only<'r>(request: &'r Request, name: &'r str) -> &'r str {
    let values: Vec<_> = request.header_values(name).collect();
    assert_eq!(values.len(), 1, "{name} in {request:?}");
    values[0]
}

#[track_caller]
fn check(backend: &Backend) {
    let kind = backend.kind();
    let requests = backend.event_requests();
    let first = requests.first().expect("it was asked");
    assert_eq!(first.method, "GET");
    for name in PRIVATE {
        assert_eq!(first.header(name), None, "{kind:?} is told {name}");
    }
    let all = format!("{requests:?}");
    for secret in [KEY, "secret-cookie", "secret-header", "secret-parameter", "203.0.113.7"] {
        assert!(!all.contains(secret), "{kind:?} is told {secret}");
    }
    assert_eq!(only(first, "host"), backend.addr().to_string());
    assert_eq!(only(first, "accept-encoding"), "identity", "{kind:?}");
    let accept = if kind == Kind::BrightPattern { "application/json" } else { "text/event-stream" };
    assert_eq!(only(first, "accept"), accept);
    let query = |name: &str| first.query(name);
    match kind {
        Kind::Openfire => {
            assert_eq!(first.target, "/sparkweb/sse?token=openfire-token");
        }
        Kind::Xians => {
            assert_eq!(first.path(), "/api/user/sse/events");
            assert_eq!(only(first, "authorization"), "Bearer sk-Xnai-upstream");
            assert_eq!(query("tenantId").as_deref(), Some("acme"));
            assert_eq!(query("workflow").as_deref(), Some("customer-support"));
            assert_eq!(query("participantId").as_deref(), Some("jane"));
            assert!(query("heartbeatSeconds").is_some());
            assert_eq!(query("apikey"), None);
        }
        Kind::Salesforce => {
            assert_eq!(first.path(), "/eventrouter/v1/sse");
            assert_eq!(only(first, "authorization"), "Bearer salesforce-token");
            assert_eq!(only(first, "x-org-id"), "00D000000000001");
            assert_eq!(first.header("last-event-id"), None, "never a made-up one");
            assert!(query("_ts").is_some_and(|stamp| !stamp.is_empty()));
        }
        Kind::BrightPattern => {
            let chat = jane().conversation;
            assert_eq!(first.path(), format!("/clientweb/api/v2/chats/{chat}/events"));
            assert_eq!(query("tenantUrl").as_deref(), Some("acme.example.com"));
            let authorization = only(first, "authorization");
            assert!(
                authorization
                    .starts_with("MOBILE-API-140-327-PLAIN appId=\"webchat\", clientId=\""),
                "{authorization}"
            );
            assert_eq!(only(first, "cache-control"), "no-cache");
            assert!(query("nonce").is_some_and(|nonce| !nonce.is_empty()));
        }
    }
}

#[tokio::test]
async fn backends_are_asked_as_they_want_it_and_told_nothing_of_the_client() {
    let four = Four::start().await;
    let mut client = four.edge.open(&browser()).await;
    client.all_up(&Four::NAMES).await;
    for backend in &four.backends {
        check(backend);
    }
    let log = four.edge.log();
    for secret in [KEY, "secret-cookie", "secret-parameter", "jane", "openfire-token"] {
        assert!(!log.contains(secret), "{secret} is logged");
    }
    four.check_law().await;
}

/// The values of a parameter in all requests for events.
fn values(backend: &Backend, name: &str) -> Vec<String> {
    let requests = backend.event_requests();
    requests.iter().map(|request| request.query(name).expect("the parameter")).collect()
}

#[tokio::test]
async fn polls_follow_one_another_with_a_fresh_nonce_each() {
    let one = One::start(Kind::BrightPattern).await;
    let mut client = one.edge.open(&Client::new("jane")).await;
    // A second listener shares the polls.
    let mut other = one.edge.open(&Client::new("jane").query("types", "Chat")).await;
    for number in 0..30 {
        say(&one.backend, &format!("message {number}"));
        client.chat(&format!("message {number}")).await;
        other.chat(&format!("message {number}")).await;
        assert!(one.backend.now().held_polls <= 1);
    }
    let nonces = values(&one.backend, "nonce");
    assert!(nonces.len() >= 10, "{}", nonces.len());
    assert_eq!(nonces.iter().collect::<HashSet<_>>().len(), nonces.len(), "{nonces:?}");
    assert_eq!(one.backend.answers_of(429), 0, "never two polls of one chat");
    assert!(one.backend.now().connections < 10, "polls share a connection");
    one.check_law().await;
}

#[tokio::test]
async fn salesforce_is_told_where_to_go_on_and_each_attempt_has_its_own_stamp() {
    let one = One::start(Kind::Salesforce).await;
    let mut client = one.edge.open(&Client::new("jane")).await;
    client.all_up(&["care"]).await;
    say(&one.backend, "before");
    client.chat("before").await;
    one.backend.fault_live(Fault::CloseMidEvent);
    say(&one.backend, "cut off and sent again");
    let down = client.expect("source_down").await;
    assert_eq!(down.source(), "care");
    let up = client.expect("source_up").await;
    assert_eq!(up.data["resumed"], true, "nothing was missed");
    assert_eq!(client.expect("Chat").await.at("/text"), "cut off and sent again");
    let requests = one.backend.event_requests();
    assert_eq!(requests.len(), 2);
    // The org counts from 500.
    assert_eq!(requests[1].header("last-event-id"), Some("501"));
    let stamps = values(&one.backend, "_ts");
    assert_ne!(stamps[0], stamps[1]);
    one.check_law().await;
}

#[tokio::test]
async fn a_clients_own_credential_goes_where_the_conf_says_and_nowhere_else() {
    let four = Four::start_with(|conf| {
        let care = "own: {backend: salesforce, org_id: \"00D000000000001\", \
                    bearer: \"{header.X-Salesforce-Token}\", url: \"http://127.0.0.1:1\", \
                    optional: true}";
        conf.entry("own", care.to_owned())
    })
    .await;
    let client = Client::new("jane").header("X-Salesforce-Token", "the-clients-token");
    let mut stream = four.edge.open(&client).await;
    stream.all_up(&Four::NAMES).await;
    for backend in &four.backends {
        let all = format!("{:?}", backend.requests());
        assert!(!all.contains("the-clients-token"), "{:?}", backend.kind());
    }
    assert!(!four.edge.log().contains("the-clients-token"));
    four.check_law().await;
}
