//! Nobody gets an event of a request that is not hers, whoever comes and goes.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::*;
use crate::edge::channel::{SourceStanding, SourceState};

const SEEDS: u64 = 3;
const STEPS: usize = 60;
const PEOPLE: [&str; 5] = ["ann", "bea", "cyn", "dee", "eve"];

/// What stands in a message to her, so that it is known for whom it was.
fn for_whom(text: &str) -> &str {
    text.split(':').next().unwrap_or_default()
}

/// One of a backend's own streams is for one person; the other tells everybody everything.
async fn check(kind: Kind, options: &str, seed: u64) {
    let backend = start(kind, |options| {
        options.tokens = PEOPLE.map(|name| (name.to_owned(), format!("t-{name}"))).to_vec();
    })
    .await;
    let bench = Bench::new(&backend, options);
    let mut random = StdRng::seed_from_u64(seed);
    let mut clients: Vec<(&str, Client)> = Vec::new();
    let open = |name: &'static str| {
        let conversation = Audience::new(name).conversation;
        (name, bench.open(name, &format!("token=t-{name}&conversation={conversation}")))
    };
    for step in 0..STEPS {
        let name = PEOPLE[random.random_range(0..PEOPLE.len())];
        match random.random_range(0..10) {
            0..2 if clients.len() < 12 => clients.push(open(name)),
            2 if !clients.is_empty() => {
                clients.swap_remove(random.random_range(0..clients.len()));
            }
            // A token of Openfire ends with its last stream.
            3 if kind != Kind::Openfire => backend.end_streams(),
            _ => say(&backend, &Audience::new(name), &format!("{name}:{step}")),
        }
        tokio::task::yield_now().await;
    }
    // Whoever is there at last gets what is for her alone.
    clients.extend(PEOPLE.map(open));
    for (_, client) in &mut clients {
        let is_up = |standing: &SourceStanding| standing.state == SourceState::Up;
        while !client.listener.channel.sources().iter().all(is_up) {
            let more = tokio::time::timeout(PATIENCE, rung(&client.listener.bell)).await;
            assert!(more.is_ok(), "the source does not come up");
        }
    }
    for (name, client) in &mut clients {
        let mut round = 0;
        while !client.texts().contains(&format!("{name}:end").as_str()) {
            say(&backend, &Audience::new(name), &format!("{name}:end"));
            round += 1;
            let before = client.count("Chat");
            client.nth("Chat", before + 1).await;
            assert!(round < 100, "nothing comes for {name}");
        }
        let others: Vec<_> =
            client.texts().into_iter().filter(|text| for_whom(text) != *name).collect();
        assert_eq!(others, [""; 0], "{kind:?}, seed {seed}: told to {name}");
    }
}

#[tokio::test]
async fn nobody_hears_what_is_somebody_elses() {
    for seed in 0..SEEDS {
        check(Kind::Openfire, "token: \"{query.token}\"", seed).await;
        check(Kind::Xians, "api_key: sk-Xnai-1", seed).await;
        let care = "org_id: \"00D000000000001\", bearer: \"{query.token}\", \
                    conversation: \"{query.conversation}\"";
        check(Kind::Salesforce, care, seed).await;
    }
}
