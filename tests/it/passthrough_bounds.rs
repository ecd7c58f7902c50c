//! What calls may take of a backend and of the edge: log-ins, and time.

use std::time::Duration;

use chatmux::scripted::{Backend, Fault, Kind, On};
use tokio::io::AsyncWriteExt as _;

use crate::support::{
    Ask, Client, Conf, Edge, KEY, Raw, Reply, Say, answer, backend, read_reply, soon,
};

const WHO: &str = "tenantId=acme&workflow=customer-support&participantId=jane";

fn call(method: &'static str, path: &str) -> Ask {
    Ask::new(method, format!("{path}?{WHO}&apikey={KEY}"))
}

/// A conf with a source that logs people in.
fn logging_in(backend: &Backend, more: &str) -> String {
    let entry = format!(
        "desk: {{backend: openfire, login: {{username: \"{{participantId}}\", password: p}}, \
         url: \"{}\"}}",
        backend.url()
    );
    let line = format!("proxy: [{{path: /desk/, source: desk, to: /api/rest/{more}}}]");
    Conf::new().entry("desk", entry).line(&line).yaml()
}

fn log_ins(backend: &Backend) -> usize {
    backend.requests().iter().filter(|request| request.path().contains("/login/")).count()
}

#[tokio::test]
async fn calls_that_a_backend_refuses_do_not_log_in_again_and_again() {
    let backend = backend(Kind::Openfire).await;
    let edge = Edge::start(&logging_in(&backend, "")).await;
    let to = edge.streams();
    let room = || call("POST", "/desk/chat/message/bob@example.org").body("x");
    let refuse = |status| {
        backend.fault_on(On::Path("/message/".to_owned()), 1, Fault::status(status));
    };
    for status in [403, 401, 403, 503, 401, 403, 401] {
        refuse(status);
        assert_eq!(room().send(to).await.head.status, status);
    }
    assert_eq!(room().send(to).await.head.status, 200);
    assert_eq!(log_ins(&backend), 1, "it is fresh, and nothing says that it was good");
    // The stream was let in with it: now a refusal says that it is over.
    let mut client = edge.open(&Client::new("jane")).await;
    client.all_up(&["desk"]).await;
    for status in [403, 503] {
        refuse(status);
        assert_eq!(room().send(to).await.head.status, status);
    }
    assert_eq!(room().send(to).await.head.status, 200);
    assert_eq!(log_ins(&backend), 1, "who may not do one thing may do others");
    refuse(401);
    assert_eq!(room().send(to).await.head.status, 401);
    assert_eq!(room().send(to).await.head.status, 200);
    assert_eq!(log_ins(&backend), 2);
    for _ in 0..5 {
        refuse(401);
        assert_eq!(room().send(to).await.head.status, 401);
    }
    assert_eq!(room().send(to).await.head.status, 200);
    assert_eq!(log_ins(&backend), 2, "the new one is fresh");
}

#[tokio::test]
async fn a_log_in_that_takes_too_long_is_told() {
    let backend = backend(Kind::Openfire).await;
    backend.fault_on(On::Path("/login/".to_owned()), 1, Fault::NoAnswer);
    let edge = Edge::start(&logging_in(&backend, ", timeout: 300ms")).await;
    let reply = call("GET", "/desk/chat/messages").send(edge.streams()).await;
    reply.refuses(504, "Gateway Timeout", "in time");
    let reply = call("GET", "/desk/chat/messages").send(edge.streams()).await;
    assert_eq!(reply.head.status, 200, "{reply:?}");
}

/// An edge before a chat that is told what to say, with more options of the proxied path.
async fn before(backend: &Raw, more: &str) -> Edge {
    let entry =
        format!("desk: {{backend: openfire, token: t, url: \"http://{}\"}}", backend.address());
    let line = format!("proxy: [{{path: /desk/, source: desk{more}}}]");
    Edge::start(&Conf::new().entry("desk", entry).line(&line).yaml()).await
}

#[tokio::test]
async fn an_upload_that_trickles_is_given_up() {
    let backend = Raw::start(|_, _| Say::Bytes(answer("200 OK", &[], "ok"))).await;
    let edge = before(&backend, ", timeout: 400ms").await;
    let socket = tokio::net::TcpStream::connect(edge.streams()).await.expect("a connection");
    let (mut reader, mut writer) = socket.into_split();
    let head = format!(
        "POST /desk/x?{WHO}&apikey={KEY} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    );
    writer.write_all(head.as_bytes()).await.expect("written");
    // Never silent for as long as `timeout`.
    let trickle = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        while writer.write_all(b"x").await.is_ok() {
            ticks.tick().await;
        }
        std::future::pending::<Reply>().await
    };
    let answered = async {
        tokio::select! {
            reply = trickle => reply,
            reply = read_reply(&mut reader) => reply.expect("an answer"),
        }
    };
    soon("a refusal", answered).await.refuses(408, "Request Timeout", "in time");
    assert_eq!(backend.requests(), Vec::<String>::new(), "it was never whole");
}

#[tokio::test]
async fn a_call_that_is_made_again_counts_its_body_once() {
    // The connection that the second request comes on dies under it.
    let backend = Raw::start(|number, _| match number {
        1 => Say::Last(Vec::new()),
        _ => Say::Bytes(answer("200 OK", &[], "ok")),
    })
    .await;
    let edge = before(&backend, ", upload: 1KiB").await;
    assert_eq!(call("GET", "/desk/x").send(edge.streams()).await.head.status, 200);
    let reply = call("PUT", "/desk/x").body(vec![b'x'; 700]).send(edge.streams()).await;
    assert_eq!((reply.head.status, backend.requests().len()), (200, 3), "{reply:?}");
    let again = backend.requests().pop().expect("a request");
    assert!(again.ends_with(&"x".repeat(700)), "{again}");
}
