//! Two nodes and a real Redis: tickets, limits and closed streams are shared; without Redis each
//! node goes on alone, and finds the other again.
//!
//! Not here: what each of these is on one node (`tickets`, `limits`).

use chatmux::scripted::{Backend, Kind};
use redis::Script;

use crate::auth::{SECRET, token_of, tokens};
use crate::limits::check_limited;
use crate::support::{
    Client, Conf, Edge, EventSource, KEY, Metrics, Redis, backend, chatmux, sha256, soon,
};
use crate::tickets::{close, page, ticket, with_key};
use crate::tls_upstream::{acceptor, self_signed, terminate};

/// Asks that show that nobody waits for a Redis that says nothing.
const ASKS: u64 = 20;

/// A machine that is busy with other tests is no Redis that is away.
const PATIENT: &str = ", timeout: 5s";

/// Two nodes of one conf.
struct Two {
    redis: Redis,
    _backend: Backend,
    a: Edge,
    b: Edge,
}

fn is_up(metrics: &Metrics) -> bool {
    metrics.sum("chatmux_cluster_up", &[]) == 1
}

fn calls(metrics: &Metrics, call: &str, outcome: &str) -> u64 {
    metrics.sum("chatmux_cluster_calls_total", &[("call", call), ("outcome", outcome)])
}

impl Two {
    async fn start(change: impl Fn(Conf) -> Conf) -> Self {
        Self::start_by(Redis::start().await, PATIENT, change).await
    }

    /// By this Redis, with more options of it.
    async fn start_by(redis: Redis, more: &str, change: impl Fn(Conf) -> Conf) -> Self {
        let backend = backend(Kind::Xians).await;
        let conf = change(Conf::new().backend(&backend).line(&redis.line(more)));
        let variables = [("JWT_SECRET", SECRET), ("REDIS_PASSWORD", "hunter2")];
        let a = Edge::start_with(&conf.yaml(), &[], &variables).await;
        let b = Edge::start_with(&conf.yaml(), &[], &variables).await;
        let two = Self { redis, _backend: backend, a, b };
        two.are_together().await;
        two
    }

    async fn are_together(&self) {
        for edge in [&self.a, &self.b] {
            let know = |metrics: &Metrics| metrics.sum("chatmux_cluster_nodes", &[]) == 2;
            edge.until("both nodes are there", |metrics| is_up(metrics) && know(metrics)).await;
        }
    }

    async fn are_alone(&self) {
        for edge in [&self.a, &self.b] {
            edge.until("the node is alone", |metrics| !is_up(metrics)).await;
        }
    }

    async fn check_law(&self) {
        self.a.check_law(&[]).await;
        self.b.check_law(&[]).await;
    }
}

/// Opens a stream, or says why there is none.
async fn try_open(edge: &Edge, client: &Client) -> Result<EventSource, String> {
    let opened = EventSource::connect(edge.streams(), client, None);
    soon("an answer", opened).await
}

fn with_ticket(ticket: &str) -> Client {
    page().query("ticket", ticket)
}

#[tokio::test]
async fn a_ticket_of_one_node_opens_one_stream_on_another() {
    let two = Two::start(|conf| conf).await;
    let first = ticket(&two.a, &page(), &with_key()).await;
    // A HEAD uses nothing up, and a ticket is for its stream.
    let head = with_ticket(&first).ask("HEAD").send(two.b.streams()).await;
    assert_eq!(head.head.status, 200);
    two.b.open(&with_ticket(&first)).await.expect("connected").await;
    for edge in [&two.a, &two.b] {
        edge.ask(&with_ticket(&first)).await.refuses(401, "Unauthorized", "");
    }
    let second = ticket(&two.b, &page(), &with_key()).await;
    let thief = Client::new("john").without("apikey").query("ticket", &second);
    two.a.ask(&thief).await.refuses(401, "Unauthorized", "");
    two.b.ask(&with_ticket(&second)).await.refuses(401, "Unauthorized", "");
    let made_up = with_ticket("cmt_nobody-made-this");
    two.a.ask(&made_up).await.refuses(401, "Unauthorized", "");
    let metrics = two.b.metrics().await;
    let auth =
        |outcome| metrics.sum("chatmux_auth_total", &[("method", "ticket"), ("outcome", outcome)]);
    assert_eq!((auth("accepted"), auth("refused")), (2, 2));
    two.check_law().await;
}

#[tokio::test]
async fn of_many_who_show_one_ticket_at_once_one_gets_in() {
    let two = Two::start(|conf| conf).await;
    let ticket = ticket(&two.a, &page(), &with_key()).await;
    let client = with_ticket(&ticket);
    let tries = (0..16).map(|n| try_open(if n % 2 == 0 { &two.a } else { &two.b }, &client));
    let mut opened = Vec::new();
    for tried in futures_util::future::join_all(tries).await {
        match tried {
            Ok(stream) => opened.push(stream),
            Err(why) => assert!(why.contains("401"), "{why}"),
        }
    }
    assert_eq!(opened.len(), 1);
    two.check_law().await;
}

#[tokio::test]
async fn redis_holds_no_credential_and_no_name_and_nothing_for_long() {
    let two = Two::start(|conf| {
        conf.auth(&tokens()).line("limits: {address: {opens: 9/m}, subject: {opens: 9/m}}")
    })
    .await;
    let token = token_of("jane", 600);
    let ticket = ticket(&two.a, &page(), &format!("Bearer {token}")).await;
    let mut streams = vec![two.b.open(&with_ticket(&ticket)).await];
    let ticket = self::ticket(&two.a, &page(), &format!("Bearer {token}")).await;
    let keys: Vec<String> = two.redis.ask(&["KEYS", "*"]).await;
    let count = |part: &str| keys.iter().filter(|key| key.contains(part)).count();
    let (tickets, budgets) = (count("ticket:"), count(":opens:"));
    assert_eq!((tickets, budgets, count("nodes")), (1, 2, 1), "{keys:?}");
    let signature = token.rsplit('.').next().expect("a part");
    for key in &keys {
        let life: i64 = two.redis.ask(&["PTTL", key]).await;
        let most = if key.contains("ticket:") { 30_000 } else { 600_000 };
        assert!((1..=most).contains(&life), "{key}: {life} ms");
        let dump: Vec<u8> = two.redis.ask(&["DUMP", key]).await;
        let held = format!("{key} {}", String::from_utf8_lossy(&dump));
        for secret in [&*ticket, &*token, signature, SECRET, "jane", "acme", "127.0.0.1"] {
            assert!(!held.contains(secret), "{secret} in {held}");
        }
    }
    // The stream on the other node ends with the credential behind its ticket.
    let reply = close(&two.b, r#"{"subject":"jane"}"#, &[]).await;
    assert_eq!(reply.json()["closed"], 1);
    let end = streams.remove(0).next_of(&["disconnected"]).await;
    assert_eq!(end.at("/reason"), "revoked");
    two.check_law().await;
}

#[tokio::test]
async fn operators_end_streams_on_all_nodes_at_one() {
    let two = Two::start(|conf| conf).await;
    let mut jane = [two.a.open(&Client::new("jane")).await, two.b.open(&Client::new("jane")).await];
    let mut john = two.b.open(&Client::new("john")).await;
    two.b.until_open(2).await;
    let unused = ticket(&two.b, &page(), &with_key()).await;
    let body = r#"{"tenantId":"acme","participantId":"jane"}"#;
    let reply = close(&two.a, body, &[]).await;
    let told = reply.json();
    assert_eq!((&told["closed"], &told["otherNodesTold"]), (&1.into(), &true.into()), "{told}");
    for stream in &mut jane {
        assert_eq!(stream.next_of(&["disconnected"]).await.at("/reason"), "revoked");
        assert_eq!(stream.next().await, None, "the answer ends in order");
    }
    two.b.logged("on another node").await;
    // Her tickets are taken back, wherever they were made; those made since are good.
    two.a.ask(&with_ticket(&unused)).await.refuses(401, "Unauthorized", "");
    let fresh = ticket(&two.b, &page(), &with_key()).await;
    two.a.open(&with_ticket(&fresh)).await.expect("connected").await;
    john.expect("connected").await;
    assert!(john.seen().iter().all(|event| event.name != "disconnected"));
    two.b.until_open(1).await;
    two.check_law().await;
}

#[tokio::test]
async fn what_was_told_while_a_connection_was_broken_is_heard_afterwards() {
    let two = Two::start(|conf| conf).await;
    let mut stream = two.b.open(&Client::new("jane")).await;
    stream.expect("connected").await;
    // Both nodes lose all connections; the one that is told has its own again.
    let _killed: i64 = two.redis.ask(&["CLIENT", "KILL", "TYPE", "normal"]).await;
    let mut told = false;
    while !told {
        let reply = close(&two.a, r#"{"key":"tests"}"#, &[]).await;
        told = reply.json()["otherNodesTold"] == true;
    }
    assert_eq!(stream.next_of(&["disconnected"]).await.at("/reason"), "revoked");
    two.are_together().await;
    two.check_law().await;
}

#[tokio::test]
async fn new_streams_are_counted_on_all_nodes_together() {
    let limits = "limits: {subject: {opens: 3/h}, tenant: {opens: 5/h}}";
    let key =
        |label: &str| format!("{{label: {label}, sha256: \"{}\", tenants: [acme]}}", sha256(label));
    let auth = format!("{{api_keys: [{}, {}]}}", key("one"), key("other"));
    let two = Two::start(|conf| conf.auth(&auth).line(limits)).await;
    let one = Client::new("jane").query("apikey", "one");
    let other = Client::new("jane").query("apikey", "other");
    for edge in [&two.a, &two.b, &two.a] {
        edge.open(&one).await.close();
    }
    let secs = check_limited(&two.b.ask(&one).await, "subject");
    assert!((1..=2 * 1200).contains(&secs), "{secs}");
    check_limited(&two.a.ask(&one).await, "subject");
    // What was refused has cost the tenant nothing: two are left.
    two.b.open(&other).await.close();
    two.a.open(&other).await.close();
    let reply = two.b.ask(&other).await;
    check_limited(&reply, "tenant");
    assert_eq!(reply.head.header("x-ratelimit-limit"), Some("5"));
    let metrics = two.b.metrics().await;
    let limited = |policy, outcome| {
        metrics.sum("chatmux_rate_limit_total", &[("policy", policy), ("outcome", outcome)])
    };
    assert_eq!((limited("subject", "admitted"), limited("subject", "refused")), (3, 1));
    assert_eq!((limited("tenant", "admitted"), limited("tenant", "refused")), (2, 1));
    assert_eq!(calls(&metrics, "limits", "success"), 4, "one call for a request");
    two.check_law().await;
}

#[tokio::test]
async fn calls_of_an_address_are_counted_on_all_nodes_together() {
    let route = ", allow_errors_event: true";
    let limits = "limits: {address: {requests: 2/h, opens: 2/h}}";
    let two = Two::start(|conf| conf.route(route).line(limits)).await;
    let stranger = Client::new("jane").without("apikey");
    for edge in [&two.a, &two.b] {
        assert_eq!(Client::new("jane").ask("HEAD").send(edge.streams()).await.head.status, 200);
        // Whatever becomes of it, it counts.
        edge.ask(&stranger).await.refuses(401, "Unauthorized", "");
    }
    let head = Client::new("jane").ask("HEAD").send(two.a.streams()).await;
    assert_eq!(head.head.status, 429);
    assert!(head.head.header("ratelimit").is_some_and(|text| text.starts_with("\"address\"")));
    // Nobody is told whether a credential is good who asks too often.
    for client in [&stranger, &Client::new("jane")] {
        check_limited(&two.b.ask(client).await, "address");
    }
    let inside = Client::new("jane").query("errors", "event");
    let refused = two.b.open(&inside).await.expect("refused").await;
    assert_eq!(refused.data["code"], 429);
    // Nor is a ticket used up.
    two.check_law().await;
}

#[tokio::test]
async fn open_streams_are_counted_on_all_nodes_together() {
    let two = Two::start(|conf| conf.line("limits: {subject: {concurrent: 2}}")).await;
    let first = two.a.open(&Client::new("jane")).await;
    let second = two.b.open(&Client::new("jane")).await;
    for edge in [&two.a, &two.b] {
        check_limited(&edge.ask(&Client::new("jane")).await, "subject");
    }
    second.close();
    two.b.until_open(0).await;
    // The other hears of it on its own time.
    let third = async {
        loop {
            match try_open(&two.a, &Client::new("jane")).await {
                Ok(stream) => return stream,
                Err(why) => assert!(why.contains("429"), "{why}"),
            }
        }
    };
    let third = soon("room again", third).await;
    check_limited(&two.b.ask(&Client::new("jane")).await, "subject");
    drop((first, third));
    two.a.until_open(0).await;
    two.check_law().await;
}

#[tokio::test]
async fn without_redis_both_nodes_go_on_alone_and_find_each_other_again() {
    let mut two = Two::start(|conf| conf.line("limits: {subject: {opens: 1000/m}}")).await;
    let mut stream = two.a.open(&Client::new("jane")).await;
    let lost = ticket(&two.a, &page(), &with_key()).await;
    two.redis.stop().await;
    two.are_alone().await;
    two.a.logged("cluster lost, this node goes on alone").await;
    for edge in [&two.a, &two.b] {
        edge.open(&Client::new("john")).await.expect("connected").await;
        let own = ticket(edge, &page(), &with_key()).await;
        edge.open(&with_ticket(&own)).await.expect("connected").await;
        edge.ask(&with_ticket(&own)).await.refuses(401, "Unauthorized", "");
        let reply = close(edge, r#"{"subject":"nobody"}"#, &[]).await;
        assert_eq!(reply.json()["otherNodesTold"], false);
        assert_eq!(edge.admin("/ready").await.head.status, 200);
    }
    // Whether it was used nobody can say.
    two.b.ask(&with_ticket(&lost)).await.refuses(401, "Unauthorized", "");
    two.redis.start_again().await;
    two.are_together().await;
    two.a.logged("cluster joined").await;
    let own = ticket(&two.a, &page(), &with_key()).await;
    two.b.open(&with_ticket(&own)).await.expect("connected").await;
    let reply = close(&two.b, r#"{"key":"tests"}"#, &[]).await;
    assert_eq!(reply.json()["otherNodesTold"], true);
    assert_eq!(stream.next_of(&["disconnected"]).await.at("/reason"), "revoked");
    two.check_law().await;
}

#[tokio::test]
async fn a_redis_that_says_nothing_costs_one_request_a_moment_and_the_others_none() {
    let two = Two::start_by(Redis::start().await, ", timeout: 1s", |conf| {
        conf.line("limits: {subject: {opens: 1000/m}}")
    })
    .await;
    two.redis.signal("STOP").await;
    for _ in 0..ASKS {
        two.a.open(&Client::new("jane")).await.close();
    }
    let metrics = two.a.metrics().await;
    assert!(!is_up(&metrics));
    // Either a request found out, or a beat did; whoever came later was not kept waiting.
    let late = calls(&metrics, "limits", "timeout");
    assert!(late <= 1, "{late} have waited");
    assert_eq!(calls(&metrics, "limits", "away") + late, ASKS);
    two.redis.signal("CONT").await;
    two.are_together().await;
    two.a.open(&Client::new("jane")).await.expect("connected").await;
    assert_eq!(calls(&two.a.metrics().await, "limits", "success"), 1);
    two.check_law().await;
}

#[tokio::test]
async fn nodes_start_without_redis_and_join_when_it_comes() {
    let mut redis = Redis::start().await;
    redis.stop().await;
    let backend = backend(Kind::Xians).await;
    let yaml = Conf::new().backend(&backend).line(&redis.line("")).yaml();
    let edge = Edge::start(&yaml).await;
    edge.logged("cluster not found, this node is alone").await;
    edge.open(&Client::new("jane")).await.expect("connected").await;
    redis.start_again().await;
    edge.until("the node has joined", is_up).await;
    // What changes of it is not taken up while the process runs.
    let other = Conf::new().backend(&backend).line(&redis.line(", prefix: \"x:\"")).yaml();
    edge.reload(&other).await;
    let told = edge.logged("a change needs a restart or an upgrade").await;
    assert!(told.contains("cluster"), "{told}");
    edge.check_law(&[]).await;
}

#[tokio::test]
async fn redis_is_spoken_to_with_a_password_and_tls() {
    let scratch = crate::support::Scratch::new();
    self_signed(&scratch, "edge");
    let redis = Redis::start_with(&["--requirepass", "hunter2"]).await;
    let secure = terminate(acceptor(scratch.path()), redis.address).await;
    let ca = scratch.path().join("edge.pem").display().to_string();
    let line = |password: &str, ca: &str| {
        format!(
            "cluster: {{redis: {{url: \"rediss://localhost:{}/2\", password: \"{password}\", \
             prefix: \"chat:\", timeout: 5s{ca}}}}}",
            secure.port()
        )
    };
    let backend = backend(Kind::Xians).await;
    let conf = |line: &str| Conf::new().backend(&backend).line(line).yaml();
    let trusted = format!(", tls: {{ca: \"{ca}\"}}");
    let edge = Edge::start(&conf(&line("hunter2", &trusted))).await;
    edge.until("the node has joined", is_up).await;
    let ticket = ticket(&edge, &page(), &with_key()).await;
    edge.open(&with_ticket(&ticket)).await.expect("connected").await;
    let check = async |line: &str| {
        let path = scratch.write("check.yaml", &conf(line));
        let path = path.display().to_string();
        let said = chatmux(&["check", "--online", "--format", "json", "-c", &path]).await;
        let report: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
        assert!(!said.out.contains("hunter"), "{}", said.out);
        (said.code, report["online"][1].clone(), report.to_string())
    };
    let (code, tried, report) = check(&line("hunter2", &trusted)).await;
    assert_eq!((code, &tried["ok"]), (0, &true.into()), "{report}");
    assert_eq!(tried["path"], "cluster.redis.url");
    let (code, _, report) = check(&line("hunter1", &trusted)).await;
    assert!(code == 1 && report.contains("cannot be used"), "{report}");
    let (code, _, report) = check(&line("hunter2", "")).await;
    assert!(code == 1 && report.contains("cannot be used"), "{report}");
    assert!(!edge.log().contains("hunter"), "no password is logged");
    edge.check_law(&[]).await;
}

#[tokio::test]
async fn nodes_find_the_server_that_has_what_they_share() {
    let backend = backend(Kind::Xians).await;
    let meet = async |lines: [String; 2]| {
        let conf = |line: &String| Conf::new().backend(&backend).line(line).yaml();
        let (a, b) = (Edge::start(&conf(&lines[0])).await, Edge::start(&conf(&lines[1])).await);
        for edge in [&a, &b] {
            let met = |metrics: &Metrics| metrics.sum("chatmux_cluster_nodes", &[]) == 2;
            edge.until("both nodes are there", met).await;
        }
        let ticket = ticket(&a, &page(), &with_key()).await;
        b.open(&with_ticket(&ticket)).await.expect("connected").await;
        let reply = close(&b, r#"{"key":"tests"}"#, &[]).await;
        assert_eq!(reply.json()["otherNodesTold"], true);
        a.check_law(&[]).await;
        b.check_law(&[]).await;
    };
    // Of a Redis Cluster each node knows another server; one has it all.
    let two = Redis::start_cluster().await;
    meet([two[0].line(PATIENT), two[1].line(PATIENT)]).await;
    // A replica can be read from, and is passed over; so is a server that is not there.
    let primary = Redis::start().await;
    let port = primary.address.port().to_string();
    let replica = Redis::start_with(&["--replicaof", "127.0.0.1", &port]).await;
    let mut gone = Redis::start().await;
    gone.stop().await;
    let urls = [&gone, &replica, &primary].map(|redis| format!("redis://{}", redis.address));
    let line = format!("cluster: {{redis: {{url: [\"{}\"]{PATIENT}}}}}", urls.join("\", \""));
    meet([line.clone(), line]).await;
}

/// The scripts by themselves, with times that a test can wait out.
#[tokio::test]
async fn budgets_grow_with_time_and_dead_nodes_are_forgotten() {
    let redis = Redis::start().await;
    let mut connection = redis.connect().await;
    let limits = Script::new(include_str!("../../src/edge/cluster/limits.lua"));
    let mut ask = async |node: &str, life_ms: u64, of: &[(&str, [&str; 3])]| -> (usize, u64) {
        let mut call = limits.prepare_invoke();
        call.arg(node).arg(life_ms);
        for (key, what) in of {
            call.key(*key).arg(what);
        }
        soon("an answer", call.invoke_async(&mut connection)).await.expect("an answer")
    };
    // Three an hour at once, then one each 20 minutes.
    let rate = ["rate", "1200000000", "3600000000"];
    for _ in 0..3 {
        assert_eq!(ask("a", 1, &[("budget", rate)]).await, (0, 0));
    }
    let (place, wait) = ask("a", 1, &[("budget", rate)]).await;
    assert!(place == 1 && (1_100_000_000..=1_200_000_000).contains(&wait), "{wait}");
    // What comes before the one that refuses is counted, what comes after it is not.
    let one = ["rate", "3600000000", "3600000000"];
    let all = [("first", one), ("budget", rate), ("last", one)];
    assert_eq!(ask("a", 1, &all).await.0, 2);
    assert_eq!(ask("a", 1, &[("last", one), ("first", one)]).await.0, 2);
    // A budget that is whole again in an instant always is.
    for _ in 0..100 {
        assert_eq!(ask("a", 1, &[("fast", ["rate", "0.001", "1.000"])]).await, (0, 0));
    }
    // Of two nodes, one has died: its streams count for as long as it is believed, and no longer.
    let open = |own| ["open", own, "3"];
    assert_eq!(ask("dead", 60_000, &[("streams", open("2"))]).await, (0, 0));
    assert_eq!(ask("a", 60_000, &[("streams", open("1"))]).await, (0, 0));
    assert_eq!(ask("a", 60_000, &[("streams", open("2"))]).await.0, 1);
    let room = async {
        while ask("a", 200, &[("streams", open("2"))]).await.0 == 1 {
            tokio::task::yield_now().await;
        }
    };
    soon("the dead are forgotten", room).await;
    let nodes: Vec<String> = redis.ask(&["HKEYS", "streams"]).await;
    assert_eq!(nodes, ["a"]);
}

#[tokio::test]
async fn without_a_cluster_nothing_is_told_of_one() {
    let one = crate::support::One::start(Kind::Xians).await;
    assert!(!one.edge.metrics().await.has("chatmux_cluster_up", &[]));
    let reply = close(&one.edge, r#"{"subject":"nobody"}"#, &[]).await;
    assert_eq!(reply.json(), serde_json::json!({"closed": 0}));
    assert!(!one.edge.log().contains(KEY));
    one.edge.check_law(&[]).await;
}
