//! Answers that come too slowly to be any.

use super::*;
use crate::scripted::{Fault, On};

/// So much passes at a time, and so often: more than any patience with an answer.
const STEP: Duration = Duration::from_secs(5);
const STEPS: usize = 100;

/// Lets time pass, as fast as it can, until a source has been down.
async fn down_reason(client: &mut Client) -> String {
    for _ in 0..STEPS {
        client.read();
        if let Some(reason) = client.downs().first() {
            return (*reason).to_owned();
        }
        tokio::time::advance(STEP).await;
    }
    panic!("it never ends: {:?}", client.seen);
}

#[tokio::test]
async fn an_answer_of_a_byte_a_second_is_none() {
    let slowly = Fault::Dribble(1, Duration::from_secs(1));
    for (kind, options, on, want) in [
        (Kind::Openfire, "token: t0", On::Events, "timeout"),
        (Kind::Xians, "api_key: sk-Xnai-1", On::Events, "timeout"),
        (
            Kind::BrightPattern,
            "app_id: a, tenant_url: acme.example.com, chat: c-1",
            On::Events,
            "silent",
        ),
        (
            Kind::Openfire,
            "login: {username: jane, password: s3cret}",
            On::Path("/login/".into()),
            "timeout",
        ),
    ] {
        let backend = start(kind, |options| {
            options.tokens = vec![("jane".into(), "t0".into())];
            options.chats = vec![("c-1".into(), String::new())];
        })
        .await;
        backend.fault_on(on, usize::MAX, slowly.clone());
        let bench = Bench::new(&backend, options);
        let mut client = bench.open("jane", "");
        until(&backend, |now| now.requests >= 1).await;
        tokio::time::pause();
        assert_eq!(down_reason(&mut client).await, want, "{kind:?} {options}");
        tokio::time::resume();
    }
}
