//! What was missed while a source was lost: told from the backend's history, once, in order.
//!
//! Each backend is asked in its own way, and the tests look at what it was asked. What cannot be
//! had is a `gap`. Not here: clients that come back to chatmux (`resume`).

use chatmux::scripted::{
    Audience, Backend, Conversation, Fault, Frame, Kind, On, Options, Request, Step,
};

use crate::support::{
    Client, Conf, Edge, EventSource, backend_with, jane, options, say, soon, source_name,
};

/// A source of these options, its backend, an edge in front of them, and Jane.
struct Bench {
    backend: Backend,
    edge: Edge,
    client: EventSource,
}

impl Bench {
    async fn start(kind: Kind, source: &str, change: impl FnOnce(&mut Options)) -> Self {
        let mut options = options(kind);
        change(&mut options);
        let backend = backend_with(kind, options).await;
        let (name, url) = (kind.name(), backend.url());
        let entry = format!("{}: {{backend: {name}, url: \"{url}\", {source}}}", source_name(kind));
        let edge = Edge::start(&Conf::new().entry(source_name(kind), entry).yaml()).await;
        let mut client = edge.open(&Client::new("jane")).await;
        client.all_up(&[source_name(kind)]).await;
        Self { backend, edge, client }
    }

    /// Streams end, something happens that nobody hears, and the backend is there again.
    async fn without_streams(&mut self, what: impl FnOnce(&Backend)) {
        let open = self.backend.wait_for(|now| now.live_streams + now.held_polls == 1);
        soon("a stream is open", open).await;
        self.backend.stop_listening().await;
        self.backend.end_streams();
        let gone = self.backend.wait_for(|now| now.live_streams + now.held_polls == 0);
        soon("the streams have ended", gone).await;
        what(&self.backend);
        self.client.next_of(&["source_down"]).await;
        self.backend.listen_again().await;
        self.client.next_of(&["source_up"]).await;
    }

    /// The stream breaks inside of this message.
    async fn cut_in(&mut self, text: &str) {
        self.backend.fault_live(Fault::CloseMidEvent);
        say(&self.backend, text);
        self.client.next_of(&["source_up"]).await;
    }

    async fn say(&mut self, text: &str) {
        say(&self.backend, text);
        self.client.chat(text).await;
    }

    /// The texts of all messages so far.
    fn texts(&self) -> Vec<&str> {
        let chats = self.client.seen().iter().filter(|event| event.name == "Chat");
        chats.map(|event| event.at("/text")).collect()
    }

    fn gaps(&self) -> Vec<&str> {
        let gaps = self.client.seen().iter().filter(|event| event.name == "gap");
        gaps.map(|event| event.at("/reason")).collect()
    }

    fn asked(&self, path: &str) -> Vec<Request> {
        let requests = self.backend.requests().into_iter();
        requests.filter(|request| request.path().contains(path)).collect()
    }

    async fn told(&self, outcome: &str) -> u64 {
        let labels = [("outcome", outcome)];
        self.edge.metrics().await.sum("chatmux_history_events_total", &labels)
    }

    async fn check_law(&self) {
        self.edge.check_law(&[(source_name(self.backend.kind()), &self.backend)]).await;
    }
}

/// One way to configure a source that has a history.
struct Row {
    kind: Kind,
    source: String,
    /// The path of the calls for it, and their method.
    path: String,
    method: &'static str,
    /// What their `Authorization` begins with.
    authorization: &'static str,
}

fn rows() -> Vec<Row> {
    let chat = jane().conversation;
    let row = |kind, source: String, method, path: String, authorization| Row {
        kind,
        source,
        path,
        method,
        authorization,
    };
    let v2 = format!("/iamessage/api/v2/conversation/{chat}/entries");
    let org = "org_id: \"00D000000000001\"";
    vec![
        row(
            Kind::Openfire,
            "login: {username: \"{participantId}\", password: s3cret}".to_owned(),
            "GET",
            "/sparkweb/api/rest/chat/messages".to_owned(),
            "ey",
        ),
        row(
            Kind::Xians,
            "bearer: a.b.c".to_owned(),
            "GET",
            "/api/user/rest/history".to_owned(),
            "Bearer a.b.c",
        ),
        row(
            Kind::Salesforce,
            format!("{org}, bearer: salesforce-token, conversation: \"{chat}\""),
            "GET",
            v2.clone(),
            "Bearer salesforce-token",
        ),
        // Which conversations there are, the stream and a list tell.
        row(
            Kind::Salesforce,
            format!("{org}, anonymous: {{deployment: Api}}"),
            "GET",
            v2,
            "Bearer ey",
        ),
        row(
            Kind::Salesforce,
            format!("{org}, anonymous: {{deployment: Web, api: v1}}"),
            "POST",
            format!("/iamessage/v1/queries/conversation/{chat}/entries"),
            "Bearer ey",
        ),
        row(
            Kind::BrightPattern,
            format!("app_id: webchat, tenant_url: acme.example.com, chat: \"{chat}\""),
            "GET",
            format!("/clientweb/api/v2/chats/{chat}/history"),
            "MOBILE-API-140-327-PLAIN appId=\"webchat\", clientId=\"",
        ),
    ]
}

#[tokio::test]
async fn what_was_missed_is_told_once_and_in_order() {
    for row in rows() {
        let what = format!("{:?} {}", row.kind, row.source);
        // Without a replay: only the history can tell.
        let mut bench = Bench::start(row.kind, &row.source, |options| options.replay = 0).await;
        bench.say("before").await;
        bench
            .without_streams(|backend| {
                for text in ["missed", "missed too", "before"] {
                    say(backend, text);
                }
            })
            .await;
        bench.client.chat("before").await;
        bench.say("after").await;
        let want = ["before", "missed", "missed too", "before", "after"];
        assert_eq!(bench.texts(), want, "{what}");
        assert_eq!(bench.gaps(), [""; 0], "{what}");
        assert_eq!((bench.told("told").await, bench.told("duplicate").await), (3, 1), "{what}");
        let asked = bench.asked(&row.path);
        assert_eq!(asked.len(), 1, "{what}");
        assert_eq!(asked[0].method, row.method, "{what}");
        let authorization = asked[0].header("authorization").unwrap_or_default();
        assert!(authorization.starts_with(row.authorization), "{what}: {authorization}");
        assert_eq!(asked[0].header("origin"), None, "{what}");
        assert_eq!(asked[0].header("accept"), Some("application/json"), "{what}");
        assert_eq!(asked[0].header("accept-encoding"), Some("identity"), "{what}");
        bench.check_law().await;
    }
}

#[tokio::test]
async fn the_archive_of_openfire_fills_a_quick_reconnect() {
    let login = "login: {username: \"{participantId}\", password: s3cret}";
    let mut bench = Bench::start(Kind::Openfire, login, |_| {}).await;
    bench.say("before").await;
    let mine = Step::ParticipantSays("mine".to_owned());
    bench.backend.speak(&jane(), &Conversation::new(Vec::new()), &mine);
    bench.client.chat("mine").await;
    bench.cut_in("cut off").await;
    bench.client.chat("cut off").await;
    bench.say("after").await;
    assert_eq!(bench.texts(), ["before", "mine", "cut off", "after"]);
    assert_eq!(bench.gaps(), [""; 0]);
    // Within ten seconds the old session is still there: one log-in, one token.
    assert_eq!(bench.asked("/login/").len(), 1);
    let streams = bench.backend.event_requests();
    assert_eq!((streams.len(), &streams[0].target), (2, &streams[1].target));
    // Two people were talked with, and only they are asked for.
    let asked = bench.asked("/chat/messages");
    let mut peers: Vec<_> = asked.iter().filter_map(|request| request.query("to")).collect();
    peers.sort();
    assert!(!peers.is_empty() && asked.len() == peers.len(), "{asked:?}");
    assert!(peers.iter().all(|peer| peer.ends_with("@example.org")), "{peers:?}");
    for request in &asked {
        let start = request.query("start").expect("an instant");
        assert!(start.contains('T') && start.ends_with('Z'), "{start}");
        let token = request.header("authorization").expect("a token");
        assert_eq!(Some(token), streams[0].query("token").as_deref(), "bare");
    }
    bench.check_law().await;
}

#[tokio::test]
async fn what_the_archive_of_openfire_cannot_tell_is_a_gap() {
    let login = "login: {username: \"{participantId}\", password: s3cret}";
    let no_archive = Fault::status(404);
    for (has_said, has_room, fault) in
        [(false, false, None), (true, true, None), (true, false, Some(no_archive))]
    {
        let mut bench = Bench::start(Kind::Openfire, login, |_| {}).await;
        if has_said {
            bench.say("before").await;
        }
        if has_room {
            let room = r#"{"type":"groupchat","to":"jane@example.org","data":null,
                "from":"r@conference.example.org/bob","body":"in the room"}"#;
            bench.backend.push(&jane(), Frame::new("chatapi.ask", room.replace('\n', "")));
            // A second copy where the stanza came, so only its event can be waited for.
            bench.say("in between").await;
        }
        let has_archive = fault.is_none() && has_said;
        if let Some(fault) = fault {
            bench.backend.fault_on(On::Path("chat/messages".to_owned()), 1, fault);
        }
        bench.cut_in("cut off").await;
        bench.client.next_of(&["gap"]).await;
        assert_eq!(bench.gaps(), ["upstream_no_replay"]);
        if has_archive {
            bench.client.chat("cut off").await;
        }
        bench.say("after").await;
        bench.check_law().await;
    }
}

#[tokio::test]
async fn xians_history_is_read_by_scope_and_never_tells_an_origin() {
    let mut bench = Bench::start(Kind::Xians, "api_key: sk-Xnai-upstream", |_| {}).await;
    // Somebody's token gets into the store, and answers copy it.
    let mut asker = tokio::net::TcpStream::connect(bench.backend.addr()).await.expect("connected");
    let send = "POST /api/user/rest/send?workflow=customer-support&type=Chat&participantId=jane\
                &text=hi HTTP/1.1\r\nAuthorization: Bearer sk-Xnai-upstream\r\n\
                Content-Length: 0\r\nConnection: close\r\n\r\n";
    let (mut read, mut write) = asker.split();
    let mut answer = String::new();
    tokio::io::AsyncWriteExt::write_all(&mut write, send.as_bytes()).await.expect("sent");
    let reading = tokio::io::AsyncReadExt::read_to_string(&mut read, &mut answer);
    soon("an answer", reading).await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");

    let who = Conversation::new(Vec::new());
    let of = |scope: Option<&str>| scope.map_or_else(jane, |scope| jane().scope(scope));
    let speak = |backend: &Backend, scope, text: &str| {
        backend.speak(&of(scope), &who, &Step::BotSays(text.to_owned()))
    };
    for (scope, text) in [(None, "one"), (Some("Billing"), "two"), (Some("a&b"), "three")] {
        speak(&bench.backend, scope, text);
        bench.client.chat(text).await;
    }
    bench
        .without_streams(|backend| {
            for (scope, text) in [(Some("Billing"), "four"), (None, "five"), (Some("a&b"), "six")] {
                speak(backend, scope, text);
            }
            backend.speak(&Audience::new("john"), &who, &Step::BotSays("not for her".to_owned()));
        })
        .await;
    bench.say("seven").await;
    // Those of one millisecond have no order among topics.
    let mut texts = bench.texts();
    texts[3..6].sort_unstable();
    assert_eq!(texts, ["one", "two", "three", "five", "four", "six", "seven"]);
    assert_eq!(bench.gaps(), [""; 0]);
    let asked = bench.asked("/history");
    let scopes: Vec<_> = asked.iter().map(|request| request.query("scope")).collect();
    assert_eq!(scopes, [None, Some("Billing".to_owned()), Some("a&b".to_owned())]);
    let seen = format!("{:?}", bench.client.seen());
    assert!(!seen.contains("origin") && !seen.contains("sk-Xnai"), "{seen}");
    bench.check_law().await;
}

#[tokio::test]
async fn a_topic_that_a_client_wants_is_asked_for_before_anything_was_said_of_it() {
    let mut bench = Bench::start(Kind::Xians, "api_key: sk-Xnai-upstream", |_| {}).await;
    let mut of_topic = bench.edge.open(&Client::new("jane").query("scope", "Billing")).await;
    of_topic.all_up(&["agent"]).await;
    let who = Conversation::new(Vec::new());
    bench
        .without_streams(|backend| {
            let said = Step::BotSays("the first of it".to_owned());
            backend.speak(&jane().scope("Billing"), &who, &said);
        })
        .await;
    of_topic.chat("the first of it").await;
    bench.client.chat("the first of it").await;
    bench.check_law().await;
}

#[tokio::test]
async fn salesforce_goes_on_where_it_was_and_the_history_makes_sure() {
    let source = "org_id: \"00D000000000001\", anonymous: {deployment: Api}";
    let mut bench = Bench::start(Kind::Salesforce, source, |_| {}).await;
    bench.say("before").await;
    // A conversation that begins unheard is in the list of those that are open.
    let other = jane().conversation("a-new-one");
    let who = Conversation::new(Vec::new());
    bench
        .without_streams(|backend| {
            say(backend, "missed");
            backend.speak(&other, &who, &Step::AgentSays("elsewhere".to_owned()));
        })
        .await;
    bench.say("after").await;
    // Those of one millisecond have no order among conversations.
    let mut texts = bench.texts();
    texts[1..3].sort_unstable();
    assert_eq!(texts, ["before", "elsewhere", "missed", "after"]);
    let list = bench.asked("/conversation/list");
    assert_eq!((list.len(), list[0].query("inclClosedConvs").as_deref()), (1, Some("false")));
    assert_eq!(bench.asked("/entries").len(), 2);
    let streams = bench.backend.event_requests();
    let ids: Vec<_> = streams.iter().map(|request| request.header("last-event-id")).collect();
    assert_eq!(ids, [Some("500"), Some("501")], "the token's, then the last seen");
    assert_ne!(streams[0].query("_ts"), streams[1].query("_ts"));
    bench.check_law().await;
}

#[tokio::test]
async fn a_history_that_cannot_be_had_is_a_gap() {
    for row in rows() {
        for fault in [
            Fault::status(500),
            Fault::Status(200, Vec::new(), "<html>".into()),
            Fault::Gzip,
            Fault::Reset,
        ] {
            if row.kind == Kind::BrightPattern && fault == Fault::Reset {
                // There a lost poll may be asked for again.
                continue;
            }
            let what = format!("{:?} {} {fault:?}", row.kind, row.source);
            let mut bench = Bench::start(row.kind, &row.source, |options| options.replay = 0).await;
            bench.say("before").await;
            bench.backend.fault_on(On::Path(row.path.clone()), usize::MAX, fault);
            bench.without_streams(|_| {}).await;
            bench.say("after").await;
            // Salesforce goes on by itself, but how far back that reaches it does not say.
            assert_eq!(bench.gaps().len(), 1, "{what}");
            assert_eq!(bench.texts(), ["before", "after"], "{what}");
            bench.check_law().await;
        }
    }
}
