//! Tickets and cookies for pages, and streams that operators end.

use chatmux::scripted::Kind;

use crate::auth::{bearer, in_secs, start, token_of};
use crate::support::{Ask, Client, Conf, Edge, KEY, One, Reply, backend, sha256};

/// The client's path and query, under the path of tickets.
fn ticket_ask(client: &Client) -> Ask {
    let target = client.target();
    let (path, query) = target.split_once('?').expect("a query");
    Ask::new("POST", format!("{path}/ticket?{query}"))
}

/// Asks for a ticket for this client's stream with a credential in a header.
pub(crate) async fn ticket(edge: &Edge, client: &Client, authorization: &str) -> String {
    let ask = ticket_ask(client).header("Authorization", authorization);
    let reply = ask.header("Content-Length", "0").send(edge.streams()).await;
    assert_eq!(reply.head.status, 200, "{reply:?}");
    assert_eq!(reply.head.header("content-type"), Some("application/json"));
    assert_eq!(reply.head.header("cache-control"), Some("no-store"));
    let body = reply.json();
    assert_eq!(body["expiresIn"], 30);
    body["ticket"].as_str().expect("a ticket").to_owned()
}

/// Without a credential of its own.
pub(crate) fn page() -> Client {
    Client::new("jane").without("apikey")
}

pub(crate) fn with_key() -> String {
    format!("Bearer {KEY}")
}

#[tokio::test]
async fn a_ticket_opens_one_stream_and_no_other() {
    let one = One::start(Kind::Xians).await;
    let ticket = ticket(&one.edge, &page(), &with_key()).await;
    let thief = Client::new("john").without("apikey").query("ticket", &ticket);
    one.edge.ask(&thief).await.refuses(401, "Unauthorized", "");
    // It was used up by that; another one opens the stream.
    let used = page().query("ticket", &ticket);
    one.edge.ask(&used).await.refuses(401, "Unauthorized", "");
    let ticket = self::ticket(&one.edge, &page(), &with_key()).await;
    let good = page().query("ticket", &ticket).query("types", "Chat");
    one.edge.open(&good).await.expect("connected").await;
    one.edge.ask(&good).await.refuses(401, "Unauthorized", "");
    let metrics = one.edge.metrics().await;
    let auth =
        |outcome| metrics.sum("chatmux_auth_total", &[("method", "ticket"), ("outcome", outcome)]);
    assert_eq!((auth("accepted"), auth("refused")), (1, 3));
    assert!(!one.edge.log().contains(&ticket), "no ticket is logged");
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn a_page_that_used_its_ticket_is_told_why_inside_the_stream() {
    let one = One::start_with(Kind::Xians, |conf| conf.route(", allow_errors_event: true")).await;
    let page = page().query("errors", "event");
    let first = ticket(&one.edge, &page, &with_key()).await;
    let mut stream = one.edge.open(&page.clone().query("ticket", &first)).await;
    stream.expect("connected").await;
    // EventSource comes back with the URL it has.
    let again = page.clone().query("ticket", &first);
    let refused = one.edge.open(&again).await.expect("refused").await;
    assert_eq!(refused.data["code"], 401);
    // The page makes a new one with another ticket, and goes on after what it has.
    let second = ticket(&one.edge, &page, &with_key()).await;
    let next = page.query("ticket", &second).query("lastEventId", "1.0.5");
    one.edge.open(&next).await.expect("connected").await;
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn a_stream_of_a_ticket_ends_with_the_credential_behind_it() {
    let one = start().await;
    let authorization = format!("Bearer {}", token_of("jane", 3));
    let expires = in_secs(3);
    let ticket = ticket(&one.edge, &page(), &authorization).await;
    let mut stream = one.edge.open(&page().query("ticket", &ticket)).await;
    let end = stream.next_of(&["disconnected"]).await;
    assert_eq!(end.at("/reason"), "token_expired");
    let told: jiff::Timestamp = end.at("/timestamp").parse().expect("a time");
    let late = told.as_millisecond() - expires * 1000;
    assert!((-1000..=2000).contains(&late), "{late} ms late");
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn a_reload_ends_streams_and_tickets_of_a_key_that_is_gone() {
    let backend = backend(Kind::Xians).await;
    let edge = Edge::start(&Conf::new().backend(&backend).yaml()).await;
    let first = ticket(&edge, &page(), &with_key()).await;
    let mut stream = edge.open(&page().query("ticket", &first)).await;
    let unused = ticket(&edge, &page(), &with_key()).await;
    let other = format!("{{api_keys: [{{label: b, sha256: \"{}\"}}]}}", sha256("another"));
    edge.reload(&Conf::new().backend(&backend).auth(&other).yaml()).await;
    assert_eq!(stream.next_of(&["disconnected"]).await.at("/reason"), "revoked");
    edge.ask(&page().query("ticket", &unused)).await.refuses(401, "Unauthorized", "");
    edge.check_law(&[]).await;
}

#[tokio::test]
async fn two_live_keys_are_how_one_is_rotated() {
    let keys = |texts: &[&str]| {
        let entry = |text: &&str| format!("{{label: {text}, sha256: \"{}\"}}", sha256(text));
        format!("{{api_keys: [{}]}}", texts.iter().map(entry).collect::<Vec<_>>().join(", "))
    };
    let backend = backend(Kind::Xians).await;
    let conf = |texts: &[&str]| Conf::new().backend(&backend).auth(&keys(texts)).yaml();
    let with = |text: &str| Client::new("jane").query("apikey", text);
    let edge = Edge::start(&conf(&["old"])).await;
    let mut old = edge.open(&with("old")).await;
    edge.reload(&conf(&["old", "new"])).await;
    let mut new = edge.open(&with("new")).await;
    edge.open(&with("old")).await.expect("connected").await;
    edge.reload(&conf(&["new"])).await;
    assert_eq!(old.next_of(&["disconnected"]).await.at("/reason"), "revoked");
    edge.ask(&with("old")).await.refuses(401, "Unauthorized", "");
    edge.open(&with("new")).await.expect("connected").await;
    new.expect("connected").await;
    assert!(new.seen().iter().all(|event| event.name != "disconnected"));
    edge.check_law(&[]).await;
}

#[tokio::test]
async fn a_cookie_opens_streams_for_pages_that_may_use_it() {
    let auth = format!("{{cookie: chat, api_keys: [{{label: a, sha256: \"{}\"}}]}}", sha256(KEY));
    let cors = "cors: {allow_origins: [\"https://app.example.com\"], allow_credentials: true}";
    let one = One::start_with(Kind::Xians, |conf| conf.auth(&auth).line(cors)).await;
    let page = page().header("Cookie", &format!("theme=dark; chat={KEY}"));
    one.edge.open(&page).await.expect("connected").await;
    let app = page.clone().header("Origin", "https://app.example.com");
    let stream = one.edge.open(&app).await;
    assert_eq!(stream.head.header("access-control-allow-origin"), Some("https://app.example.com"));
    assert_eq!(stream.head.header("access-control-allow-credentials"), Some("true"));
    let own = page.clone().header("Origin", &format!("http://{}", one.edge.streams()));
    one.edge.open(&own).await.expect("connected").await;
    for (name, value) in
        [("Origin", "https://evil.example"), ("Origin", "null"), ("Sec-Fetch-Site", "cross-site")]
    {
        let reply = one.edge.ask(&page.clone().header(name, value)).await;
        reply.refuses(401, "Unauthorized", "");
        assert_eq!(reply.head.header("access-control-allow-origin"), None);
    }
    one.edge.check_law(&[]).await;
}

/// Asks the admin listener to end streams.
pub(crate) async fn close(edge: &Edge, body: &str, headers: &[(&str, &str)]) -> Reply {
    let ask = Ask::new("POST", "/streams/close").header("Content-Type", "application/json");
    let ask = headers.iter().fold(ask, |ask, (name, value)| ask.header(name, value));
    ask.body(body).send(edge.admin_address()).await
}

#[tokio::test]
async fn operators_end_streams_by_whose_they_are() {
    let one = start().await;
    let (jane, john) = (bearer(&token_of("jane", 600)), token_of("john", 600));
    let john =
        Client::new("john").without("apikey").header("Authorization", &format!("Bearer {john}"));
    let mut of_jane = [one.edge.open(&jane).await, one.edge.open(&jane).await];
    let mut of_john = one.edge.open(&john).await;
    one.edge.until_open(3).await;
    let closed = |reply: &Reply| {
        assert_eq!(reply.head.status, 200, "{reply:?}");
        reply.json()["closed"].as_u64()
    };
    let unused = ticket(&one.edge, &page(), &format!("Bearer {}", token_of("jane", 600))).await;
    let none = close(&one.edge, r#"{"subject":"jim"}"#, &[]).await;
    assert_eq!(closed(&none), Some(0));
    let none = close(&one.edge, r#"{"subject":"jane","issuer":"x"}"#, &[]).await;
    assert_eq!(closed(&none), Some(0));
    let two = close(&one.edge, r#"{"subject":"jane"}"#, &[]).await;
    assert_eq!(closed(&two), Some(2));
    for stream in &mut of_jane {
        assert_eq!(stream.next_of(&["disconnected"]).await.at("/reason"), "revoked");
        assert_eq!(stream.next().await, None, "the answer ends in order");
    }
    let stale = page().query("ticket", &unused);
    one.edge.ask(&stale).await.refuses(401, "Unauthorized", "");
    one.edge.until_open(1).await;
    let body = r#"{"tenantId":"acme","participantId":"john"}"#;
    assert_eq!(closed(&close(&one.edge, body, &[]).await), Some(1));
    assert_eq!(of_john.next_of(&["disconnected"]).await.at("/reason"), "revoked");
    one.edge.until_open(0).await;
    assert_eq!(closed(&close(&one.edge, body, &[]).await), Some(0));
    let metrics = one.edge.metrics().await;
    let ended = metrics.sum("chatmux_client_streams_closed_total", &[("reason", "revoked")]);
    assert_eq!(ended, 3);
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn streams_of_a_key_are_ended_by_its_label() {
    let one = One::start(Kind::Xians).await;
    let mut stream = one.edge.open(&Client::new("jane")).await;
    let reply = close(&one.edge, r#"{"key":"tests"}"#, &[]).await;
    assert_eq!(reply.json()["closed"], 1);
    assert_eq!(stream.next_of(&["disconnected"]).await.at("/reason"), "revoked");
    // Its key is as good as before.
    one.edge.open(&Client::new("jane")).await.expect("connected").await;
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn only_operators_end_streams() {
    let one = One::start(Kind::Xians).await;
    let mut stream = one.edge.open(&Client::new("jane")).await;
    stream.expect("connected").await;
    let good = r#"{"key":"tests"}"#;
    let page = [("Origin", "https://evil.example")];
    close(&one.edge, good, &page).await.refuses(403, "Forbidden", "");
    let plain = Ask::new("POST", "/streams/close").header("Content-Type", "text/plain").body(good);
    let plain = plain.send(one.edge.admin_address()).await;
    plain.refuses(415, "Unsupported Media Type", "");
    let get = one.edge.admin("/streams/close").await;
    get.refuses(405, "Method Not Allowed", "");
    assert_eq!(get.head.header("allow"), Some("POST"));
    for bad in ["", "{}", "[]", r#"{"tenantId":"acme"}"#, r#"{"key":"tests","user":"x"}"#] {
        close(&one.edge, bad, &[]).await.refuses(400, "Bad Request", "");
    }
    let large = format!("{{\"key\":\"{}\"}}", "x".repeat(10_000));
    close(&one.edge, &large, &[]).await.refuses(400, "Bad Request", "");
    assert!(stream.seen().iter().all(|event| event.name != "disconnected"));
    one.edge.until_open(1).await;
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn with_an_admin_key_nothing_else_will_do() {
    let admin = format!(
        "admin: {{address: \"127.0.0.1:0\", sha256: \"{}\"}}",
        sha256("cmx_of-the-operators")
    );
    let one = One::start_with(Kind::Xians, |conf| conf.line(&admin)).await;
    let mut stream = one.edge.open(&Client::new("jane")).await;
    let good = r#"{"key":"tests"}"#;
    close(&one.edge, good, &[]).await.refuses(401, "Unauthorized", "");
    for wrong in [KEY, "cmx_of-the-operator", &sha256("cmx_of-the-operators")] {
        let headers = [("X-API-Key", wrong)];
        close(&one.edge, good, &headers).await.refuses(401, "Unauthorized", "");
    }
    let reply = close(&one.edge, good, &[("X-API-Key", "cmx_of-the-operators")]).await;
    assert_eq!(reply.json()["closed"], 1);
    assert_eq!(stream.next_of(&["disconnected"]).await.at("/reason"), "revoked");
    let bearer = [("Authorization", "Bearer cmx_of-the-operators")];
    assert_eq!(close(&one.edge, good, &bearer).await.json()["closed"], 0);
    one.edge.check_law(&[]).await;
}
