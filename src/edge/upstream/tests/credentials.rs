//! Credentials that chatmux gets by itself.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::*;
use crate::edge::upstream::budget::DIALS_MAX;
use crate::scripted::{Fault, On, Request};

const LOGIN: &str = "login: {username: \"{participantId}\", password: s3cret}";
const ANONYMOUS: &str =
    "org_id: \"00D000000000001\", anonymous: {deployment: Web_Chat, capabilities: \"66\"}";
const CHAT: &str = "app_id: webchat, tenant_url: acme.example.com";

fn requests(backend: &Backend, path: &str) -> Vec<Request> {
    backend.requests().into_iter().filter(|request| request.path().contains(path)).collect()
}

/// A request of somebody else's; the connection stays open.
async fn by_another(backend: &Backend, method: &str, target: &str, body: &str) -> TcpStream {
    let mut socket = TcpStream::connect(backend.addr()).await.expect("a connection");
    let request = format!(
        "{method} {target} HTTP/1.1\r\nAccept: text/event-stream\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(request.as_bytes()).await.expect("written");
    let mut head = [0; 12];
    socket.read_exact(&mut head).await.expect("an answer");
    assert_eq!(&head[9..], b"200", "{target}");
    socket
}

#[tokio::test]
async fn openfire_logs_in_and_keeps_the_token() {
    let backend = start(Kind::Openfire, |options| {
        options.passwords = vec![("jane".into(), "s3cret".into())];
    })
    .await;
    let bench = Bench::new(&backend, LOGIN);
    let mut client = bench.open("jane", "");
    client.nth("source_up", 1).await;
    let login = &requests(&backend, "/login/jane")[0];
    assert_eq!((login.method.as_str(), &login.body[..]), ("POST", &b"s3cret"[..]));
    assert_eq!(login.header("origin"), None);
    say(&backend, &Audience::new("jane"), "hello");
    client.nth("Chat", 1).await;
    assert_eq!(client.texts(), ["hello"]);
    // A second client shares stream and token.
    let mut second = bench.open("jane", "");
    second.until("the same log", |_| true).await;
    assert_eq!(bench.hub.counts().upstreams, 1);
    assert_eq!((bench.credentials("obtained"), bench.credentials("refused")), (1, 0));
}

#[tokio::test]
async fn streams_with_other_passwords_are_not_shared() {
    let backend = start(Kind::Openfire, |options| {
        options.passwords = vec![("jane".into(), "right".into())];
    })
    .await;
    let login = "login: {username: jane, password: \"{query.password}\"}";
    let bench = Bench::new(&backend, login);
    let mut right = bench.open("jane", "password=right");
    right.nth("source_up", 1).await;
    let mut wrong = bench.open("jane", "password=wrong");
    let down = wrong.nth("source_down", 1).await;
    assert_eq!(down["reason"], "unauthorized");
    assert!(down["retryInSeconds"].as_u64().expect("a number") >= 5, "{down}");
    assert_eq!(wrong.count("source_up"), 0);
    assert_eq!(bench.hub.counts().upstreams, 2);
    assert_eq!(bench.credentials("refused"), 1);
    assert_eq!(backend.event_requests().len(), 1, "no stream is asked for without a token");
    let seen = format!("{:?}", wrong.seen);
    assert!(!seen.contains("wrong") && !seen.contains("right"), "{seen}");
}

#[tokio::test]
async fn openfire_reconnects_with_the_same_token_while_its_session_lives() {
    let backend = start(Kind::Openfire, |options| {
        options.tokens = vec![("jane".into(), "t0".into())];
    })
    .await;
    // Keeps the session alive, as a stream does whose loss the server has not noticed.
    let _other = by_another(&backend, "GET", "/sparkweb/sse?token=t0", "").await;
    backend.fault(Fault::CloseMidEvent);
    let bench = Bench::new(&backend, LOGIN);
    let mut client = bench.open("jane", "");
    client.nth("source_up", 2).await;
    assert_eq!(client.downs(), ["closed"]);
    let streams = backend.event_requests();
    assert_eq!(streams[1].target, streams[2].target, "the same token");
    assert_eq!(bench.credentials("obtained"), 1);
}

#[tokio::test]
async fn openfire_logs_in_again_when_its_token_is_unknown() {
    let backend = start(Kind::Openfire, |_| {}).await;
    let bench = Bench::new(&backend, LOGIN);
    let mut client = bench.open("jane", "");
    client.nth("source_up", 1).await;
    backend.expire_tokens();
    backend.end_streams();
    client.nth("source_up", 2).await;
    assert_eq!(client.downs(), ["closed"], "the refusal itself is not told");
    assert_eq!((backend.answers_of(503), bench.credentials("obtained")), (1, 2));
    say(&backend, &Audience::new("jane"), "back");
    client.nth("Chat", 1).await;
}

#[tokio::test]
async fn openfire_that_refuses_every_token_is_asked_slowly() {
    let backend = start(Kind::Openfire, |_| {}).await;
    backend.fault_on(On::Events, usize::MAX, Fault::status(503));
    let bench = Bench::new(&backend, LOGIN);
    let mut client = bench.open("jane", "");
    let down = client.nth("source_down", 1).await;
    assert_eq!(down["reason"], "unauthorized");
    assert!(down["retryInSeconds"].as_u64().expect("a number") >= 5, "{down}");
    assert_eq!((backend.answers_of(503), bench.credentials("obtained")), (2, 2));
}

#[tokio::test]
async fn a_pause_that_is_asked_for_comes_before_another_log_in() {
    let backend = start(Kind::Openfire, |_| {}).await;
    let headers = vec![("Retry-After".to_owned(), "40".to_owned())];
    backend.fault(Fault::Status(503, headers, "".into()));
    let bench = Bench::new(&backend, LOGIN);
    let mut client = bench.open("jane", "");
    let down = client.nth("source_down", 1).await;
    assert!(down["retryInSeconds"].as_u64().expect("a number") >= 40, "{down}");
    assert_eq!(bench.credentials("obtained"), 1);
}

#[tokio::test]
async fn a_silent_stream_of_an_older_token_is_opened_anew() {
    let backend = start(Kind::Openfire, |_| {}).await;
    let bench = Bench::new(&backend, LOGIN);
    let mut client = bench.open_with("jane", "", |resolved| {
        let recipe = resolved.request.recipe.as_mut().expect("a recipe");
        recipe.conduct.suspect = Some(Duration::ZERO);
    });
    client.nth("source_up", 1).await;
    // The newest token is another's from now on; it dies with the streams, ours does not.
    let _login = by_another(&backend, "POST", "/sparkweb/api/rest/login/jane", "x").await;
    backend.end_streams();
    client.nth("source_up", 3).await;
    assert_eq!(backend.answers_of(503), 0, "the old token still opens a stream");
    assert_eq!(bench.credentials("obtained"), 2);
    let streams = backend.event_requests();
    assert_eq!(streams[0].target, streams[1].target);
    assert_ne!(streams[1].target, streams[2].target);
    say(&backend, &Audience::new("jane"), "alive");
    client.nth("Chat", 1).await;
    assert!(client.count("gap") >= 1);
}

fn subject(request: &Request) -> Value {
    let bearer = request.bearer().expect("a token");
    let payload = bearer.split('.').nth(1).expect("a payload");
    let payload = URL_SAFE_NO_PAD.decode(payload).expect("base64url");
    serde_json::from_slice::<Value>(&payload).expect("JSON")["sub"].clone()
}

#[tokio::test]
async fn salesforce_mints_a_token_and_begins_where_it_says() {
    for (api, mint) in [
        ("v2", "/iamessage/api/v2/authorization/unauthenticated/access-token"),
        ("v1", "/iamessage/v1/authorization/unauthenticated/accessToken"),
    ] {
        let backend = start(Kind::Salesforce, |_| {}).await;
        let bench =
            Bench::new(&backend, &ANONYMOUS.replace("Web_Chat", &format!("Web_Chat, api: {api}")));
        let mut client = bench.open("jane", "");
        let up = client.nth("source_up", 1).await;
        assert_eq!(up["resumed"], false, "nothing was before");
        assert_eq!(requests(&backend, mint).len(), 1, "{api}");
        let stream = &backend.event_requests()[0];
        assert_eq!(stream.header("last-event-id"), Some("500"));
        say(&backend, &Audience::new("jane"), "hello");
        client.nth("Chat", 1).await;
    }
}

#[tokio::test]
async fn each_participant_is_another_subject() {
    let backend = start(Kind::Salesforce, |_| {}).await;
    let bench = Bench::new(&backend, ANONYMOUS);
    let mut clients = [bench.open("jane", ""), bench.open("john", ""), bench.open("jane", "")];
    for client in &mut clients[..2] {
        client.nth("source_up", 1).await;
    }
    let subjects: Vec<Value> = backend.event_requests().iter().map(subject).collect();
    assert_eq!(subjects.len(), 2, "{subjects:?}");
    assert_ne!(subjects[0], subjects[1]);
}

#[tokio::test]
async fn salesforce_tokens_are_continued_before_their_end() {
    let backend = start(Kind::Salesforce, |options| {
        options.token_lifetime = Duration::from_secs(4);
    })
    .await;
    let bench = Bench::new(&backend, ANONYMOUS);
    let mut client = bench.open("jane", "");
    client.nth("source_up", 1).await;
    say(&backend, &Audience::new("jane"), "one");
    let up = client.nth("source_up", 2).await;
    assert_eq!((up["resumed"].clone(), client.downs().len()), (Value::Bool(true), 0));
    say(&backend, &Audience::new("jane"), "two");
    client.nth("Chat", 2).await;
    assert_eq!((client.texts(), client.count("gap")), (vec!["one", "two"], 0));
    let streams = backend.event_requests();
    assert_eq!(subject(&streams[0]), subject(&streams[1]));
    assert_ne!(streams[0].bearer(), streams[1].bearer());
    let renewals = requests(&backend, "/continuation-access-token");
    assert_eq!(renewals[0].bearer(), streams[0].bearer());
    assert_eq!((bench.credentials("obtained"), backend.answers_of(401)), (1, 0));
}

#[tokio::test]
async fn an_expired_token_is_continued_whatever_the_refusal_looks_like() {
    let text = vec![("Content-Type".to_owned(), "text/plain".to_owned())];
    let json = vec![("Content-Type".to_owned(), "application/json".to_owned())];
    for refusal in [
        Fault::Status(401, text.clone(), "Jwt is expired".into()),
        Fault::Status(401, json, r#"{"status":401,"error":"Unauthorized"}"#.into()),
        Fault::Status(200, text, "Jwt is expired".into()),
    ] {
        let backend = start(Kind::Salesforce, |_| {}).await;
        let bench = Bench::new(&backend, ANONYMOUS);
        let mut client = bench.open("jane", "");
        client.nth("source_up", 1).await;
        backend.fault(refusal.clone());
        backend.end_streams();
        let up = client.nth("source_up", 2).await;
        assert_eq!(up["resumed"], true, "{refusal:?}");
        assert_eq!(client.downs(), ["closed"], "{refusal:?}");
        assert_eq!((bench.credentials("obtained"), bench.credentials("renewed")), (1, 1));
        let subjects: Vec<Value> = backend.event_requests().iter().map(subject).collect();
        assert!(subjects.iter().all(|subject| *subject == subjects[0]), "{subjects:?}");
    }
}

#[tokio::test]
async fn a_subject_that_is_lost_is_told_and_not_replaced_at_once() {
    let backend = start(Kind::Salesforce, |_| {}).await;
    let bench = Bench::new(&backend, ANONYMOUS);
    let mut client = bench.open("jane", "");
    client.nth("source_up", 1).await;
    backend.expire_tokens();
    client
        .until("unauthorized", |seen| seen.iter().any(|(_, data)| data["reason"] == "unauthorized"))
        .await;
    assert_eq!((bench.credentials("obtained"), bench.credentials("refused")), (1, 1));
}

#[tokio::test]
async fn a_limit_on_tokens_is_obeyed() {
    let backend = start(Kind::Salesforce, |_| {}).await;
    backend.fault_on(On::Path("access-token".into()), 1, Fault::rate_limited(30));
    let bench = Bench::new(&backend, ANONYMOUS);
    let mut client = bench.open("jane", "");
    let down = client.nth("source_down", 1).await;
    assert_eq!(down["reason"], "rate_limited");
    assert!(down["retryInSeconds"].as_u64().expect("a number") >= 30, "{down}");
    assert_eq!(bench.credentials("rate_limited"), 1);
}

#[tokio::test]
async fn brightpattern_finds_the_active_chat() {
    let backend = start(Kind::BrightPattern, |options| {
        options.chats = vec![("c-1".into(), "client-jane".into())];
    })
    .await;
    let chat = format!("{CHAT}, client_id: \"client-{{participantId}}\", chat: active");
    let bench = Bench::new(&backend, &chat);
    let mut client = bench.open("jane", "");
    client.nth("source_up", 1).await;
    say(&backend, &Audience::new("jane").conversation("c-1"), "hello");
    let said = client.nth("Chat", 1).await;
    assert_eq!((&said["id"], &said["conversationId"]), (&"c-1:0".into(), &"c-1".into()));
    // Somebody without a chat waits for one.
    let mut other = bench.open("john", "");
    let down = other.nth("source_down", 1).await;
    assert_eq!(down["reason"], "bad_status");
    let retry = down["retryInSeconds"].as_u64().expect("a number");
    assert!((5..=10).contains(&retry), "{down}");
    assert_eq!(bench.credentials("absent"), 1);
}

#[tokio::test]
async fn brightpattern_begins_a_chat_or_takes_up_the_one_there_is() {
    let backend = start(Kind::BrightPattern, |_| {}).await;
    let chat = format!(
        "{CHAT}, chat: create, from: \"{{participantId}}\", \
         parameters: {{email: \"{{participantId}}@example.org\"}}"
    );
    let bench = Bench::new(&backend, &chat);
    let mut client = bench.open("jane", "");
    client.nth("source_up", 1).await;
    let created = &requests(&backend, "/v2/chats")[0];
    let want = r#"{"from":"jane","parameters":{"email":"jane@example.org"}}"#;
    assert_eq!((created.method.as_str(), &created.body[..]), ("POST", want.as_bytes()));
    let path = backend.event_requests()[0].path().to_owned();
    // Another edge, the same person: the chat is there.
    let second = Bench::new(&backend, &chat);
    let _other = second.open("jane", "");
    until(&backend, |now| now.requests >= 4).await;
    let polls = backend.event_requests();
    assert!(polls.iter().all(|poll| poll.path() == path), "{polls:?}");
}

#[tokio::test]
async fn a_source_is_dialled_by_so_many_at_a_time() {
    let backend = start(Kind::Xians, |_| {}).await;
    backend.fault_on(On::Events, usize::MAX, Fault::NoAnswer);
    let bench = Bench::new(&backend, "api_key: sk-Xnai-1");
    let open = |number: usize| bench.open(&format!("p{number}"), "");
    let mut clients: Vec<Client> = (0..DIALS_MAX + 8).map(open).collect();
    let most = u64::try_from(DIALS_MAX).expect("small");
    until(&backend, |now| now.requests == most).await;
    assert_eq!(bench.hub.counts().upstreams, DIALS_MAX + 8);
    // Who gives up lets the next one dial.
    clients.drain(..8);
    let now = until(&backend, |now| {
        assert!(now.open_connections <= DIALS_MAX, "{now:?}");
        now.requests > most
    })
    .await;
    assert!(now.connections <= most + 8);
}
