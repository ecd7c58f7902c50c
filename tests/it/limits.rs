//! Too much at a time: 429 in every form, room that comes back, refusals inside of a stream.

use chatmux::scripted::Kind;

use crate::support::{Client, One, Reply};

/// What every 429 says.
#[track_caller]
pub(crate) fn check_limited(reply: &Reply, policy: &str) -> u64 {
    reply.refuses(429, "Rate limit exceeded", "ry again in ");
    let header = |name: &str| reply.head.header(name).unwrap_or_else(|| panic!("no {name}"));
    let secs: u64 = header("retry-after").parse().expect("whole seconds");
    assert!(secs >= 1);
    assert_eq!(reply.json()["retryAfter"], secs.to_string(), "as text, as XiansAi sends it");
    assert!(header("ratelimit-policy").starts_with(&format!("\"{policy}\";q=")));
    assert_eq!(header("ratelimit"), format!("\"{policy}\";r=0;t={secs}"));
    assert_eq!(header("x-ratelimit-remaining"), "0");
    assert_eq!(header("x-ratelimit-reset"), secs.to_string());
    secs
}

#[tokio::test]
async fn room_for_open_streams_comes_back_when_a_client_leaves() {
    let limits = "limits: {subject: {concurrent: 2}}";
    let one = One::start_with(Kind::Xians, |conf| conf.line(limits)).await;
    let mut first = one.edge.open(&Client::new("jane")).await;
    let second = one.edge.open(&Client::new("john")).await;
    let refused = one.edge.ask(&Client::new("jane")).await;
    check_limited(&refused, "subject");
    assert_eq!(refused.head.header("x-ratelimit-limit"), Some("2"));
    second.close();
    one.edge.until_open(1).await;
    let mut third = one.edge.open(&Client::new("jane")).await;
    third.expect("connected").await;
    first.expect("connected").await;
    let metrics = one.edge.metrics().await;
    let limited = |outcome| {
        metrics.sum("chatmux_rate_limit_total", &[("policy", "subject"), ("outcome", outcome)])
    };
    assert_eq!((limited("admitted"), limited("refused")), (3, 1));
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn an_address_may_open_so_many_streams_and_no_more() {
    let limits = "limits: {address: {opens: 2/h, burst: 2}}";
    let one = One::start_with(Kind::Xians, |conf| conf.line(limits)).await;
    one.edge.open(&Client::new("jane")).await.close();
    // Whatever becomes of it, it counts.
    one.edge.ask(&Client::new("jane").without("apikey")).await.refuses(401, "Unauthorized", "");
    let secs = check_limited(&one.edge.ask(&Client::new("jane")).await, "address");
    assert!((1..=2 * 3600).contains(&secs), "{secs}");
    // Before any costly work: the credential is not even looked at.
    let stranger = one.edge.ask(&Client::new("jane").without("apikey")).await;
    check_limited(&stranger, "address");
    let head = Client::new("jane").ask("HEAD").send(one.edge.streams()).await;
    assert_eq!(head.head.status, 200, "HEAD is no open");
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn the_flood_of_one_tenant_refuses_no_other() {
    let keys = |label: &str, key: &str, tenant: &str| {
        format!(
            "{{label: {label}, sha256: \"{}\", tenants: [{tenant}]}}",
            crate::support::sha256(key)
        )
    };
    let auth = format!("{{api_keys: [{}, {}]}}", keys("a", "a", "acme"), keys("b", "b", "globex"));
    let one = One::start_with(Kind::Xians, |conf| {
        conf.auth(&auth).line("limits: {tenant: {concurrent: 1}}")
    })
    .await;
    let acme = Client::new("jane").query("apikey", "a");
    let globex = Client::new("jane").query("apikey", "b").query("tenantId", "globex");
    let _open = one.edge.open(&acme).await;
    for _ in 0..3 {
        check_limited(&one.edge.ask(&acme).await, "tenant");
    }
    one.edge.open(&globex).await.expect("connected").await;
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn a_browser_can_be_told_inside_of_a_stream() {
    let one = One::start_with(Kind::Xians, |conf| {
        conf.route(", allow_errors_event: true").line("limits: {subject: {concurrent: 1}}")
    })
    .await;
    let _open = one.edge.open(&Client::new("jane")).await;
    let told = Client::new("jane").query("errors", "event");
    let mut stream = one.edge.open(&told).await;
    let refused = stream.expect("refused").await;
    assert_eq!(refused.data["code"], 429);
    assert_eq!(refused.at("/error"), "Rate limit exceeded");
    let secs = refused.data["retryInSeconds"].as_u64().expect("seconds");
    assert_eq!(refused.retry, Some(secs * 1000));
    assert_eq!(stream.next().await, None);

    let mut stream = one.edge.open(&told.clone().without("apikey")).await;
    let refused = stream.expect("refused").await;
    assert_eq!((refused.data["code"].as_u64(), refused.at("/error")), (Some(401), "Unauthorized"));
    assert_eq!(refused.retry, Some(3_600_000), "it stays away");
    assert_eq!(refused.data.get("retryInSeconds"), None);
    assert_eq!(stream.next().await, None);

    let plain = one.edge.ask(&told.clone().without("apikey").query("errors", "yes")).await;
    plain.refuses(401, "Unauthorized", "");
    one.edge.ask(&told.path("/elsewhere")).await.refuses(404, "Not Found", "");
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn refusals_are_plain_where_the_route_does_not_say_otherwise() {
    let one = One::start(Kind::Xians).await;
    let told = Client::new("jane").query("errors", "event").without("apikey");
    one.edge.ask(&told).await.refuses(401, "Unauthorized", "");
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn clients_behind_a_trusted_proxy_are_told_apart_and_others_cannot_pretend() {
    let lines = "limits: {address: {opens: 1/h, burst: 1}}";
    let from = |client: &str| Client::new("jane").header("X-Forwarded-For", client);
    let trusting = One::start_with(Kind::Xians, |conf| {
        conf.line(lines).line("trusted_proxies: [127.0.0.0/8]")
    })
    .await;
    trusting.edge.open(&from("203.0.113.1")).await.close();
    check_limited(&trusting.edge.ask(&from("203.0.113.1")).await, "address");
    // What a client writes itself stands to the left of what the proxy adds.
    check_limited(&trusting.edge.ask(&from("203.0.113.9, 203.0.113.1")).await, "address");
    check_limited(&trusting.edge.ask(&from("203.0.113.1, 127.0.0.2")).await, "address");
    trusting.edge.open(&from("203.0.113.2")).await.close();
    trusting.edge.check_law(&[]).await;

    let alone = One::start_with(Kind::Xians, |conf| conf.line(lines)).await;
    alone.edge.open(&from("203.0.113.1")).await.close();
    check_limited(&alone.edge.ask(&from("203.0.113.2")).await, "address");
    alone.edge.check_law(&[]).await;
}
