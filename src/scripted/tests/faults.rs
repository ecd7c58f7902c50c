//! Misbehaviour, where it is visible: in the bytes.

use super::*;

const OPEN: &str = "/api/user/sse/events?workflow=w&participantId=jane&tenantId=acme&apikey=a.b.c";

async fn xians() -> Backend {
    start(Kind::Xians, |_| {}).await
}

async fn open(backend: &Backend) -> Client {
    let mut client = Client::get(backend, OPEN, &[]).await;
    client.until("event: connected").await;
    client
}

fn frame(text: &str) -> (Audience, Frame) {
    (Audience::new("jane").workflow("w"), Frame::new("Chat", text))
}

#[tokio::test]
async fn an_answer_can_be_another() {
    let backend = xians().await;
    backend.fault(Fault::rate_limited(37));
    backend.fault_on(On::Path("health".into()), 2, Fault::status(503));
    let mut client = Client::get(&backend, OPEN, &[]).await;
    let text = client.until("\"retryAfter\":\"37\"}").await;
    assert!(text.starts_with("HTTP/1.1 429 ") && text.contains("Retry-After: 37\r\n"));
    for want in [503, 503, 200] {
        assert_eq!(Client::get(&backend, "/health", &[]).await.answer().await.0, want);
    }
    open(&backend).await;
    assert_eq!(backend.now().requests, 5);
    assert_eq!(backend.event_requests().len(), 2);
    assert_eq!(backend.requests()[1].target, "/health");
    assert!(backend.requests()[0].at <= backend.requests()[4].at);
    let counts = [200, 404, 429, 503].map(|status| backend.answers_of(status));
    assert_eq!(counts, [2, 0, 1, 2]);
}

#[tokio::test]
async fn a_frame_can_be_cut_in_its_middle() {
    let backend = xians().await;
    let mut client = open(&backend).await;
    backend.fault_live(Fault::CloseMidEvent);
    let (to, frame) = frame("0123456789012345678901234567");
    backend.push(&to, frame);
    assert!(client.end().await);
    assert!(client.text().contains("event: Chat\ndata"), "{}", client.text());
    assert!(!client.text().contains("67\n") && !client.text().ends_with("0\r\n\r\n"));
    until(&backend, |now| now.live_streams == 0).await;
    assert_eq!(backend.frames_sent(), 1);
}

#[tokio::test]
async fn a_frame_can_be_cut_inside_a_character() {
    let backend = xians().await;
    backend.fault(Fault::CloseMidUtf8);
    backend.fault_on(On::Any, 1, Fault::status(404));
    let mut client = Client::get(&backend, OPEN, &[]).await;
    // The first frame has no long character, so it is cut in its middle.
    assert!(client.end().await);
    assert!(!client.text().contains("tenantId"));
    backend.clear_faults();
    let mut client = open(&backend).await;
    backend.fault_live(Fault::CloseMidUtf8);
    let (to, frame) = frame("abc é def");
    backend.push(&to, frame);
    assert!(client.end().await);
    assert_eq!(client.read.last(), Some(&0xc3));
}

#[tokio::test]
async fn a_connection_can_be_reset() {
    let backend = xians().await;
    backend.fault(Fault::Reset);
    assert!(!Client::get(&backend, OPEN, &[]).await.end().await);
    let mut client = open(&backend).await;
    backend.fault_live(Fault::Reset);
    assert!(!client.end().await);
}

#[tokio::test]
async fn a_stalled_stream_sends_nothing_and_notices_that_the_client_leaves() {
    let backend = xians().await;
    let mut client = open(&backend).await;
    until(&backend, |now| now.frames_sent == 1).await;
    backend.fault_live(Fault::Stall);
    let (to, frame) = frame("never");
    backend.push(&to, frame);
    backend.heartbeat();
    backend.fault_live(Fault::Garbage);
    // Garbage is the one thing that a stalled stream was told to send; it comes first.
    client.until("{\"broken\": tru\0}\n\n").await;
    assert!(!client.text().contains("never") && !client.text().contains("heartbeat"));
    drop(client);
    until(&backend, |now| now.live_streams == 0 && now.open_connections == 0).await;
    assert_eq!(backend.frames_sent(), 1);
}

#[tokio::test]
async fn an_unanswered_request_stays_open_until_the_client_leaves() {
    let backend = xians().await;
    backend.fault(Fault::NoAnswer);
    let client = Client::get(&backend, OPEN, &[]).await;
    until(&backend, |now| now.requests == 1 && now.open_connections == 1).await;
    drop(client);
    until(&backend, |now| now.open_connections == 0).await;
}

#[tokio::test]
async fn dribbled_bytes_all_arrive() {
    let backend = xians().await;
    backend.fault(Fault::Dribble(1, Duration::ZERO));
    let mut client = open(&backend).await;
    let (to, frame) = frame("{\"a\":1}");
    backend.push(&to, frame);
    client.until("event: Chat\ndata: {\"a\":1}\n\n\r\n").await;
}

#[tokio::test]
async fn large_frames_are_well_formed() {
    for kind in [Kind::Openfire, Kind::Xians, Kind::Salesforce] {
        let backend = start(kind, |options| {
            options.tokens = vec![("jane".into(), "t1".into())];
        })
        .await;
        let target = match kind {
            Kind::Openfire => "/sparkweb/sse?token=t1",
            Kind::Salesforce => "/eventrouter/v1/sse?_ts=1",
            Kind::Xians | Kind::BrightPattern => OPEN,
        };
        let headers = match kind {
            Kind::Salesforce => vec!["Authorization: Bearer t1", "X-Org-Id: 00D000000000001"],
            Kind::Openfire | Kind::Xians | Kind::BrightPattern => vec![SSE],
        };
        let mut client = Client::get(&backend, target, &headers).await;
        until(&backend, |now| now.live_streams == 1).await;
        let before = backend.frames_sent();
        backend.fault_live(Fault::Oversize(100_000));
        let text = client.until(&"x".repeat(100_000)).await;
        assert!(text.contains("event:"), "{kind:?}");
        until(&backend, |now| now.frames_sent > before).await;
    }
}

#[tokio::test]
async fn heads_can_lie() {
    let backend = xians().await;
    backend.fault(Fault::ContentType("text/html".into()));
    backend.fault(Fault::Gzip);
    let mut client = open(&backend).await;
    assert!(client.until("\n\n").await.contains("Content-Type: text/html\r\n"));
    let mut client = Client::get(&backend, OPEN, &[]).await;
    let text = client.until("tenantId").await;
    assert!(text.contains("Content-Encoding: gzip\r\n"));
    assert!(client.read.windows(3).any(|window| window == [0x1f, 0x8b, 8]));
}

#[tokio::test]
async fn connections_can_be_refused_for_a_while() {
    let backend = xians().await;
    let mut client = open(&backend).await;
    backend.stop_listening().await;
    assert!(TcpStream::connect(backend.addr()).await.is_err());
    let (to, frame) = frame("still here");
    backend.push(&to, frame);
    client.until("still here").await;
    backend.listen_again().await;
    open(&backend).await;
}

#[tokio::test]
async fn held_polls_misbehave_too() {
    let backend = start(Kind::BrightPattern, |options| {
        options.chats = vec![("c1".into(), String::new())];
        options.hold = Duration::MAX;
    })
    .await;
    let auth = "Authorization: MOBILE-API-140-327-PLAIN appId=a, clientId=c";
    for (nonce, fault) in [
        Fault::Reset,
        Fault::status(500),
        Fault::Garbage,
        Fault::CloseMidEvent,
        Fault::Oversize(5000),
    ]
    .into_iter()
    .enumerate()
    {
        let target = format!("/clientweb/api/v2/chats/c1/events?tenantUrl=t&nonce={nonce}");
        let mut held = Client::get(&backend, &target, &[auth, "Connection: close"]).await;
        until(&backend, |now| now.held_polls == 1).await;
        backend.fault_live(fault.clone());
        if fault == Fault::CloseMidEvent {
            let to = Audience::new("jane").conversation("c1");
            backend.push(&to, Frame::new("x", r#"{"event":"x","last":"end"}"#));
        }
        let orderly = held.end().await;
        let text = held.text();
        match fault {
            Fault::Reset => assert!(!orderly && text.is_empty()),
            Fault::Status(..) => assert!(text.starts_with("HTTP/1.1 500 ")),
            Fault::Garbage => assert!(text.contains("\"broken\"")),
            Fault::CloseMidEvent => assert!(text.contains("{\"events") && !text.contains("end")),
            _ => assert!(text.contains(&"x".repeat(5000)) && text.ends_with("\"}]}")),
        }
        until(&backend, |now| now.held_polls == 0).await;
    }
}

#[tokio::test]
async fn raw_bytes_go_out_as_they_are() {
    let backend = xians().await;
    let mut client = open(&backend).await;
    backend.push_bytes(b": anything\n");
    client.until("b\r\n: anything\n\r\n").await;
}

#[tokio::test]
async fn everything_ends_with_the_handle() {
    let backend = xians().await;
    let addr = backend.addr();
    let mut client = open(&backend).await;
    drop(backend);
    client.end().await;
    // The listening socket closes when its task is dropped, which the end of a stream shows.
    assert!(TcpStream::connect(addr).await.is_err());
}

#[tokio::test]
async fn a_script_is_played_as_far_as_each_dialect_goes() {
    let case = Conversation::assistant_case();
    for kind in Kind::ALL {
        let backend = start(kind, |options| {
            options.tokens = vec![("jane".into(), "t1".into())];
        })
        .await;
        let to = Audience::new("jane");
        let spoken = case.steps.iter().filter(|step| backend.speak(&to, &case, step)).count();
        let silent = match kind {
            // Joining, thinking, leaving, ending.
            Kind::Openfire => 4,
            // All but what is said and the hand-over.
            Kind::Xians => 16,
            Kind::Salesforce => 0,
            // Thinking, and the participant's own four.
            Kind::BrightPattern => 5,
        };
        assert_eq!(case.steps.len() - spoken, silent, "{kind:?}");
        backend.play(&to, &case, Pace::AT_ONCE);
        until(&backend, |now| now.scripts_done == 1).await;
    }
}

#[tokio::test]
async fn an_endless_script_goes_on_with_fresh_ids() {
    let backend = start(Kind::Salesforce, |options| {
        options.tokens = vec![("me".into(), "t1".into())];
    })
    .await;
    let headers = ["Authorization: Bearer t1", "X-Org-Id: 00D000000000001"];
    let mut client = Client::get(&backend, "/eventrouter/v1/sse?_ts=1", &headers).await;
    client.until("\r\n\r\n").await;
    let case = Conversation::new(vec![Step::BotSays("round".into()), Step::Ended]);
    backend.play(&Audience::new("jane"), &case, Pace::forever(Duration::from_millis(10)));
    until(&backend, |now| now.scripts_done >= 3).await;
    let text = client.until("id:505\n").await;
    let mut ids: Vec<&str> =
        text.split("\"identifier\":\"").skip(1).filter_map(|rest| rest.get(..36)).collect();
    let count = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert!(count >= 4 && ids.len() == count);
}

#[tokio::test]
async fn streams_beat_by_themselves() {
    let backend = start(Kind::Xians, |options| {
        options.heartbeat = Some(Duration::from_millis(1));
    })
    .await;
    let mut client = open(&backend).await;
    until(&backend, |now| now.frames_sent >= 4).await;
    client.until("event: heartbeat\ndata: {\"timestamp\":\"").await;
    assert!(backend.frames_sent_of("heartbeat") >= 3);
}

#[tokio::test]
async fn an_unread_chat_forgets_its_oldest_events() {
    let backend = start(Kind::BrightPattern, |options| {
        options.chats = vec![("c1".into(), String::new())];
    })
    .await;
    let to = Audience::new("jane").conversation("c1");
    for number in 0..=4096 {
        backend.push(&to, Frame::new("x", format!("{{\"event\":\"x{number}x\"}}")));
    }
    let auth = "Authorization: MOBILE-API-140-327-PLAIN appId=a, clientId=c";
    let target = "/clientweb/api/v2/chats/c1/events?tenantUrl=t&nonce=1";
    let (_, body) = Client::get(&backend, target, &[auth]).await.answer().await;
    assert!(!body.contains("x0x") && body.contains("x1x") && body.contains("x4096x"));
}
