//! SIGHUP: another conf file, whole or not at all; what is open goes on if it still may.

use chatmux::scripted::{Backend, Kind};

use crate::support::{Client, Conf, Edge, KEY, Metrics, backend, say, sha256};

const OTHER: &str = "cmx_another-key";

/// A conf file that these keys open.
fn conf(backend: &Backend, keys: &[&str]) -> Conf {
    let entry =
        |key: &&str| format!("{{label: \"{key}\", sha256: \"{}\", tenants: [acme]}}", sha256(key));
    let keys: Vec<_> = keys.iter().map(entry).collect();
    Conf::new().backend(backend).auth(&format!("{{api_keys: [{}]}}", keys.join(", ")))
}

/// Reloads that came into force, and that were refused.
fn reloads(metrics: &Metrics) -> (u64, u64) {
    let count = |outcome| metrics.sum("chatmux_config_reloads_total", &[("outcome", outcome)]);
    (count("success"), count("failure"))
}

#[tokio::test]
async fn open_streams_go_on_and_new_ones_follow_the_new_conf() {
    let backend = backend(Kind::Xians).await;
    let edge = Edge::start(&conf(&backend, &[KEY]).yaml()).await;
    let mut open = edge.open(&Client::new("jane")).await;
    open.all_up(&["agent"]).await;
    edge.ask(&Client::new("jane").query("apikey", OTHER)).await.refuses(401, "Unauthorized", "");
    let route = "{path: /more, sources: [agent]}";
    let told = edge.reload(&conf(&backend, &[KEY, OTHER]).another_route(route).yaml()).await;
    assert!(told.contains("reloaded"), "{told}");
    let mut other = edge.open(&Client::new("jane").query("apikey", OTHER).path("/more")).await;
    other.all_up(&["agent"]).await;
    say(&backend, "to both");
    open.chat("to both").await;
    other.chat("to both").await;
    assert!(open.seen().iter().all(|event| event.name != "disconnected"));
    let metrics = edge.metrics().await;
    assert_eq!(reloads(&metrics), (1, 0));
    assert!(metrics.has("chatmux_client_streams", &[("route", "/more")]));
    edge.check_law(&[("agent", &backend)]).await;
}

#[tokio::test]
async fn what_a_key_may_no_longer_have_ends() {
    let backend = backend(Kind::Xians).await;
    let edge = Edge::start(&conf(&backend, &[KEY, OTHER]).yaml()).await;
    let mut stays = edge.open(&Client::new("jane")).await;
    let mut goes = edge.open(&Client::new("jane").query("apikey", OTHER)).await;
    stays.all_up(&["agent"]).await;
    edge.reload(&conf(&backend, &[KEY]).yaml()).await;
    let end = goes.next_of(&["disconnected"]).await;
    assert_eq!(end.at("/reason"), "revoked");
    assert_eq!(goes.next().await, None);
    say(&backend, "still here");
    stays.chat("still here").await;
    edge.check_law(&[("agent", &backend)]).await;
}

#[tokio::test]
async fn a_conf_file_with_an_error_changes_nothing() {
    let backend = backend(Kind::Xians).await;
    let good = conf(&backend, &[KEY]).yaml();
    let edge = Edge::start(&good).await;
    let mut open = edge.open(&Client::new("jane")).await;
    open.all_up(&["agent"]).await;
    let told = edge.reload(&conf(&backend, &[OTHER]).yaml().replace("xians", "xiens")).await;
    assert!(told.contains("refused") && told.contains("chatmux.yaml:"), "{told}");
    edge.open(&Client::new("jane")).await.expect("connected").await;
    edge.ask(&Client::new("jane").query("apikey", OTHER)).await.refuses(401, "Unauthorized", "");
    say(&backend, "as before");
    open.chat("as before").await;
    assert_eq!(reloads(&edge.metrics().await), (0, 1));
    let told = edge.reload(&good).await;
    assert!(told.contains("reloaded"), "{told}");
    assert_eq!(reloads(&edge.metrics().await), (1, 1));
    edge.check_law(&[("agent", &backend)]).await;
}

#[tokio::test]
async fn clients_of_the_old_words_and_of_the_new_ones_do_not_share_a_log() {
    let backend = backend(Kind::Xians).await;
    let yaml =
        |words: &str| Conf::new().backend(&backend).route(&format!(", vocabulary: {words}")).yaml();
    let edge = Edge::start(&yaml("full")).await;
    let mut old = edge.open(&Client::new("jane")).await;
    old.all_up(&["agent"]).await;
    edge.reload(&yaml("raw")).await;
    let mut raw = edge.open(&Client::new("jane")).await;
    edge.until_open(2).await;
    say(&backend, "to both");
    let both = old.chat("to both").await;
    assert!(both.data.get("source").is_some(), "{both:?}");
    let (name, data) = raw.next_frame().await;
    assert_eq!(name, "Chat");
    assert!(data.contains("\"to both\"") && !data.contains("\"source\":"), "{data}");
    edge.check_law(&[]).await;
}

#[tokio::test]
async fn a_limit_that_was_used_up_stays_used_up() {
    let backend = backend(Kind::Xians).await;
    let limits = "limits: {subject: {opens: 2/h, burst: 2}}";
    let yaml = conf(&backend, &[KEY]).line(limits).yaml();
    let edge = Edge::start(&yaml).await;
    for _ in 0..2 {
        edge.open(&Client::new("jane")).await.close();
    }
    edge.ask(&Client::new("jane")).await.refuses(429, "Rate limit exceeded", "");
    edge.reload(&yaml).await;
    edge.ask(&Client::new("jane")).await.refuses(429, "Rate limit exceeded", "");
    edge.check_law(&[]).await;
}

#[tokio::test]
async fn listeners_that_changed_are_named_and_stay_as_they_are() {
    let backend = backend(Kind::Xians).await;
    let edge = Edge::start(&conf(&backend, &[KEY]).yaml()).await;
    let listen = "{address: \"127.0.0.1:0\"}, {address: \"127.0.0.1:1\"}";
    let other = conf(&backend, &[KEY]).listen(listen).line("server: {drain: 2s}").yaml();
    let needs = "configuration: a change needs a restart or an upgrade: path=";
    // The second time it is as far from what runs as the first; back at that, nothing is told.
    let same = conf(&backend, &[KEY]).yaml();
    for yaml in [&other, &other, &same, &same] {
        edge.reload(yaml).await;
    }
    edge.logged(&format!("{needs}\"listen 127.0.0.1:1\"")).await;
    assert_eq!(edge.log().matches(&format!("{needs}server")).count(), 2, "{}", edge.log());
    assert!(!edge.log().contains(&format!("{needs}\"listen 127.0.0.1:0")), "{}", edge.log());
    edge.open(&Client::new("jane")).await.expect("connected").await;
    edge.check_law(&[]).await;
}

#[tokio::test]
async fn streams_of_a_route_that_is_gone_end() {
    let backend = backend(Kind::Xians).await;
    let route = "{path: /more, sources: [agent]}";
    let edge = Edge::start(&conf(&backend, &[KEY]).another_route(route).yaml()).await;
    let mut goes = edge.open(&Client::new("jane").path("/more")).await;
    let mut stays = edge.open(&Client::new("jane")).await;
    stays.all_up(&["agent"]).await;
    edge.reload(&conf(&backend, &[KEY]).yaml()).await;
    assert_eq!(goes.next_of(&["disconnected"]).await.at("/reason"), "revoked");
    assert_eq!(goes.next().await, None);
    edge.ask(&Client::new("jane").path("/more")).await.refuses(404, "Not Found", "");
    say(&backend, "still here");
    stays.chat("still here").await;
    edge.check_law(&[("agent", &backend)]).await;
}
