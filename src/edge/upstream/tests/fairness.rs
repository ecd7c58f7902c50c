//! Who shares what, and how much of it a backend is asked for.

use std::cell::RefCell;
use std::collections::HashSet;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::edge::upstream::budget::{CREDENTIALS_PER_MINUTE, HISTORIES_MAX};
use crate::scripted::{Fault, On};

/// Equal requests, credentials included, are one upstream stream, others are not.
#[tokio::test]
async fn streams_are_shared_exactly_where_requests_are_equal() {
    let dialer = Arc::new(Dialer::new());
    for (kind, options) in [
        (Kind::Openfire, "token: \"{query.token}\""),
        (Kind::Xians, "bearer: \"{query.token}\""),
        (Kind::Openfire, "login: {username: \"{participantId}\", password: \"{query.token}\"}"),
        (
            Kind::Salesforce,
            "org_id: \"00D000000000001\", bearer: \"{query.token}\", conversation: \"{query.c}\"",
        ),
        (
            Kind::BrightPattern,
            "app_id: \"{query.token}\", tenant_url: a.example.com, chat: \"{query.c}\"",
        ),
    ] {
        let backend = start(kind, |_| {}).await;
        for seed in 0..10 {
            let mut random = SmallRng::seed_from_u64(seed);
            let bench = Bench::over(dialer.clone(), &backend, options);
            let requests = RefCell::new(HashSet::new());
            let mut clients = Vec::new();
            for _ in 0..40 {
                let mut pick = |from: &[&'static str]| from[random.random_range(0..from.len())];
                let participant = pick(&["jane", "john"]);
                let (token, chat) = (pick(&["a.b.c", "a.b.d", "A.b.c"]), pick(&["c-1", "c-2"]));
                let query = format!("token={token}&c={chat}");
                clients.push(bench.open_with(participant, &query, |resolved| {
                    requests.borrow_mut().insert(resolved.request.clone());
                }));
            }
            let counts = bench.hub.counts();
            assert_eq!(counts.upstreams, requests.borrow().len(), "{kind:?}, seed {seed}");
            assert!(counts.upstreams >= 3, "no two tokens are one: {kind:?}, seed {seed}");
            assert!(counts.channels >= counts.upstreams && counts.channels <= 12);
        }
    }
}

#[tokio::test]
async fn tokens_are_minted_at_the_pace_of_the_organisation() {
    let backend = start(Kind::Salesforce, |_| {}).await;
    let options =
        "org_id: \"00D000000000001\", anonymous: {deployment: Web_Chat, capabilities: \"66\"}";
    let bench = Bench::new(&backend, options);
    let burst = usize::try_from(CREDENTIALS_PER_MINUTE / 4).expect("small");
    let count = burst + 8;
    let _clients: Vec<Client> =
        (0..count).map(|number| bench.open(&format!("p{number}"), "")).collect();
    until(&backend, |now| now.live_streams == count).await;
    let requests = backend.requests();
    let mints: Vec<_> = requests
        .iter()
        .filter(|request| request.path().ends_with("/access-token"))
        .map(|request| request.at)
        .collect();
    assert_eq!(mints.len(), count, "each once");
    for (index, at) in mints.iter().enumerate() {
        // Tenths of a second: 150 a minute are a quarter of a token in each.
        let tenths = at.duration_since(mints[0]).as_millis() / 100;
        let most = burst + 1 + usize::try_from(tenths / 4 + 1).expect("small");
        assert!(index < most, "{index} after {tenths} tenths");
    }
}

#[tokio::test]
async fn histories_are_asked_for_by_so_many_at_a_time() {
    const STREAMS: usize = 40;
    let backend = start(Kind::Xians, |_| {}).await;
    let bench = Bench::new(&backend, "api_key: sk-Xnai-1");
    let mut clients: Vec<Client> =
        (0..STREAMS).map(|number| bench.open(&format!("p{number}"), "")).collect();
    for client in &mut clients {
        client.nth("source_up", 1).await;
    }
    backend.fault_on(On::Path("history".into()), usize::MAX, Fault::NoAnswer);
    backend.end_streams();
    // All are there again and want to know what they have missed.
    until(&backend, |now| now.live_streams == STREAMS).await;
    let asked =
        || backend.requests().iter().filter(|request| request.path().ends_with("/history")).count();
    until(&backend, |_| true).await;
    for client in &mut clients {
        client.nth("source_up", 2).await;
    }
    while asked() < HISTORIES_MAX {
        tokio::task::yield_now().await;
    }
    for _ in 0..1000 {
        tokio::task::yield_now().await;
        assert_eq!(asked(), HISTORIES_MAX);
    }
}
