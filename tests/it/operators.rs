//! What operators see: conf errors, the admin listener, metrics, log lines.

use chatmux::scripted::{Fault, Kind, On};

use crate::support::{
    Ask, Client, Conf, Edge, Four, Jwks, KEY, One, Scratch, Signer, backend, chatmux, chatmux_with,
    jwk_set, say, soon,
};

/// Runs a conf file that cannot work: the line of its error.
async fn refused(yaml: &str) -> String {
    let scratch = Scratch::new();
    let conf = scratch.write("edge.yaml", yaml);
    let said = chatmux(&["run", "-c", conf.to_str().expect("a path")]).await;
    assert_eq!(said.code, 1, "{said:?}");
    assert!(!said.err.contains("listening"), "nothing is started: {said:?}");
    said.err
}

#[tokio::test]
async fn errors_of_a_conf_file_say_where_they_are_all_at_once() {
    let backend = backend(Kind::Xians).await;
    let good = Conf::new().backend(&backend).yaml();
    for (from, to, wants) in [
        ("routes:", "rutes:", &["edge.yaml:8:1", "rutes"][..]),
        ("backend: xians", "backend: xiens", &["edge.yaml:7:", "sources.agent.backend", "xians"]),
        ("drain: 1s", "drain: soon", &["edge.yaml:4:", "server.drain"]),
        ("[agent]", "[agnet]", &["edge.yaml:9:", "agnet", "agent"]),
        ("auth:", "auth: {anonymous: true}\nauth:", &["edge.yaml:4:1", "auth"]),
        ("sources:", "sources: [", &["edge.yaml:"]),
    ] {
        assert!(good.contains(from), "{good}");
        let err = refused(&good.replacen(from, to, 1)).await;
        for want in wants {
            assert!(err.contains(want), "{want} is not in\n{err}\nfor {to}");
        }
    }
    let many = good.replacen("drain: 1s", "drain: soon", 1).replacen("[agent]", "[agnet]", 1);
    let err = refused(&many).await;
    assert!(err.contains("server.drain") && err.contains("agnet"), "{err}");
    assert_eq!(backend.now().connections, 0);
}

#[tokio::test]
async fn an_address_that_is_taken_is_named() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let backend = backend(Kind::Xians).await;
    let conf = Conf::new().backend(&backend);
    let err = refused(&conf.clone().listen(&format!("{{address: \"{address}\"}}")).yaml()).await;
    assert!(err.contains(&address), "{err}");
    let admin = conf.yaml().replace(
        "admin: {address: \"127.0.0.1:0\"}",
        &format!("admin: {{address: \"{address}\"}}"),
    );
    let err = refused(&admin).await;
    assert!(err.contains(&address), "{err}");
}

#[tokio::test]
async fn a_secret_that_is_missing_is_named_and_others_are_never_shown() {
    let backend = backend(Kind::Xians).await;
    let entry = |key: &str| {
        format!(
            "agent: {{backend: xians, api_key: \"{key}\", url: \"{}\", tls: {{}}}}",
            backend.url()
        )
    };
    let err =
        refused(&Conf::new().entry("agent", entry("${env:CHATMUX_NO_SUCH_VARIABLE}")).yaml()).await;
    assert!(err.contains("CHATMUX_NO_SUCH_VARIABLE"), "{err}");
    let err = refused(&Conf::new().entry("agent", entry("${file:no/such.key}")).yaml()).await;
    assert!(err.contains("no/such.key"), "{err}");
    let err = refused(&Conf::new().entry("agent", entry("hunter2-hunter2")).yaml()).await;
    assert!(!err.contains("hunter2"), "{err}");
    let missing = chatmux(&["run", "-c", "/no/such/file.yaml"]).await;
    assert_eq!(missing.code, 1);
    assert!(missing.err.contains("/no/such/file.yaml"), "{missing:?}");
}

#[tokio::test]
async fn secrets_come_from_variables_and_files() {
    let backend = backend(Kind::Xians).await;
    let entry = |name: &str, key: &str| {
        format!("{name}: {{backend: xians, api_key: \"{key}\", url: \"{}\"}}", backend.url())
    };
    let yaml = Conf::new()
        .entry("one", entry("one", "${env:XIANS_KEY}"))
        .entry("two", entry("two", "${file:xians.key}"))
        .yaml();
    let secret = "sk-Xnai-upstream";
    let files = [("xians.key", "sk-Xnai-upstream\n")];
    let edge = Edge::start_with(&yaml, &files, &[("XIANS_KEY", secret)]).await;
    let mut client = edge.open(&Client::new("jane")).await;
    client.all_up(&["one", "two"]).await;
    assert!(!edge.log().contains(secret));
    edge.check_law(&[]).await;
}

#[tokio::test]
async fn operators_see_streams_and_nobody_in_the_clear() {
    let four = Four::start().await;
    assert_eq!(four.edge.admin("/live").await.json(), serde_json::json!({"live": true}));
    let ready = four.edge.admin("/ready").await.json();
    assert_eq!((&ready["ready"], ready.get("reason")), (&true.into(), None), "{ready}");
    assert_eq!(ready["routes"][0]["sources"][0]["state"], "unused", "{ready}");
    let mut first = four.edge.open(&Client::new("jane")).await;
    let mut second = four.edge.open(&Client::new("jane")).await;
    let _other = four.edge.open(&Client::new("a-very-private-person")).await;
    first.all_up(&Four::NAMES).await;
    second.all_up(&Four::NAMES).await;
    let reply = four.edge.admin("/streams").await;
    assert_eq!(reply.head.header("content-type"), Some("application/json"));
    let streams = reply.json();
    assert_eq!(streams["clientStreams"], 3, "{streams}");
    let channels = streams["channels"].as_array().expect("channels");
    assert_eq!(channels.len(), 2);
    let shared = channels.iter().find(|channel| channel["clientStreams"] == 2).expect("Jane's");
    assert_eq!(shared["route"], "/events");
    for name in Four::NAMES {
        assert_eq!(shared["sources"][name], "up", "{streams}");
    }
    assert_ne!(channels[0]["participant"], channels[1]["participant"]);
    let text = reply.text();
    for secret in
        ["jane", "a-very-private-person", KEY, "openfire-token", "salesforce-token", "sk-Xnai"]
    {
        assert!(!text.contains(secret), "{secret} is shown: {text}");
    }
    assert_eq!(four.edge.admin("/nothing").await.head.status, 404);
    let from_outside = Ask::get("/metrics").send(four.edge.streams()).await;
    assert_eq!(from_outside.head.status, 404, "clients see none of it");
    four.edge.check_law(&[]).await;
}

/// Waits for an answer of `/ready`.
async fn until_ready_says(one: &One, status: u16) -> serde_json::Value {
    let turns = async {
        loop {
            let reply = one.edge.admin("/ready").await;
            if reply.head.status == status {
                return reply.json();
            }
        }
    };
    soon(&format!("/ready says {status}"), turns).await
}

#[tokio::test]
async fn a_route_whose_sources_all_fail_is_not_ready() {
    let one = One::start(Kind::Xians).await;
    one.backend.fault_on(On::Events, usize::MAX, Fault::Reset);
    let _client = one.edge.open(&Client::new("jane")).await;
    let why = until_ready_says(&one, 503).await;
    assert_eq!((&why["ready"], &why["reason"]), (&false.into(), &"sources_failed".into()));
    let route = &why["routes"][0];
    assert_eq!((&route["route"], &route["usable"]), (&"/events".into(), &false.into()), "{why}");
    let source = &route["sources"][0];
    assert_eq!((&source["source"], &source["state"]), (&"agent".into(), &"failed".into()));
    assert_eq!((&source["reason"], &source["streams"]), (&"reset".into(), &1.into()), "{why}");
    assert!(source["failures"].as_u64().is_some_and(|failures| failures >= 3), "{why}");
    assert!(source["since"].as_str().is_some_and(|since| since.ends_with('Z')), "{why}");
    let labels = [("source", "agent"), ("outcome", "reset")];
    let failed = one.edge.metrics().await.sum("chatmux_upstream_connects_total", &labels);
    assert!(failed >= 3, "once is no reason: {failed}");
    one.backend.clear_faults();
    let good = until_ready_says(&one, 200).await;
    let source = &good["routes"][0]["sources"][0];
    let state = (&source["state"], source.get("reason"), source.get("since"));
    assert_eq!(state, (&"up".into(), None, None), "{good}");
    one.check_law().await;
}

#[tokio::test]
async fn a_token_that_is_no_good_makes_no_route_unready() {
    let one = One::start(Kind::Xians).await;
    one.backend.fault_on(On::Events, usize::MAX, status_401_at_once());
    let _client = one.edge.open(&Client::new("jane")).await;
    let labels = [("source", "agent"), ("outcome", "unauthorized")];
    one.edge
        .until("it was refused repeatedly", |metrics| {
            metrics.sum("chatmux_upstream_connects_total", &labels) >= 5
        })
        .await;
    assert_eq!(one.edge.admin("/ready").await.head.status, 200, "one client's token is no outage");
    one.edge.check_law(&[]).await;
}

/// Asks for the shortest pause, so that it is soon tried again.
fn status_401_at_once() -> Fault {
    let headers = vec![("Retry-After".to_owned(), "0".to_owned())];
    Fault::Status(401, headers, bytes::Bytes::new())
}

#[tokio::test]
async fn series_exist_at_zero_from_the_start_and_name_nobody() {
    let four = Four::start().await;
    let text = four.edge.admin("/metrics").await.text();
    let metrics = four.edge.metrics().await;
    let zero: [(&str, &[(&str, &str)]); 16] = [
        ("chatmux_client_streams", &[("route", "/events")]),
        ("chatmux_client_streams_opened_total", &[("route", "/events"), ("resumed", "true")]),
        (
            "chatmux_client_streams_closed_total",
            &[("route", "/events"), ("reason", "slow_consumer")],
        ),
        ("chatmux_events_sent_total", &[("route", "/events"), ("event", "Chat")]),
        ("chatmux_frames_received_total", &[("source", "desk"), ("event", "chatapi.xmpp")]),
        ("chatmux_frames_mapped_total", &[("source", "care"), ("event", "other")]),
        ("chatmux_frames_discarded_total", &[("source", "agent"), ("reason", "foreign")]),
        ("chatmux_frames_raw_total", &[("source", "voice"), ("reason", "unmapped")]),
        ("chatmux_events_published_total", &[("source", "voice"), ("event", "File")]),
        ("chatmux_upstream_streams", &[("source", "desk"), ("state", "open")]),
        ("chatmux_upstream_connects_total", &[("source", "desk"), ("outcome", "ok")]),
        ("chatmux_upstream_disconnects_total", &[("source", "desk"), ("reason", "silent")]),
        ("chatmux_gaps_total", &[("reason", "cursor_expired")]),
        ("chatmux_slow_clients_total", &[("action", "closed")]),
        ("chatmux_auth_total", &[("method", "jwt"), ("outcome", "refused")]),
        ("chatmux_rate_limit_total", &[("policy", "tenant"), ("outcome", "refused")]),
    ];
    for (name, labels) in zero {
        assert!(metrics.has(name, labels), "{name} {labels:?} is not there");
        assert_eq!(metrics.sum(name, labels), 0, "{name} {labels:?}");
    }
    assert!(metrics.has("chatmux_build_info", &[]));
    assert!(text.contains("# HELP chatmux_heartbeats_sent_total "));
    assert!(text.contains("# TYPE chatmux_event_latency_seconds histogram"));
    let mut client = four.edge.open(&Client::new("jane")).await;
    client.all_up(&Four::NAMES).await;
    for backend in &four.backends {
        say(backend, "private words");
        client.chat("private words").await;
    }
    four.check_law().await;
    let text = four.edge.admin("/metrics").await.text();
    for secret in ["jane", "acme", "customer-support", "private words", KEY] {
        assert!(!text.contains(secret), "{secret} is a label");
    }
    let known = [
        "action", "backend", "code", "event", "le", "method", "outcome", "policy", "reason",
        "resumed", "route", "source", "state", "version",
    ];
    let labels = four.edge.metrics().await.label_names();
    assert!(labels.iter().all(|label| known.contains(&label.as_str())), "{labels:?}");
}

#[tokio::test]
async fn a_stream_leaves_one_line_when_it_ends_and_nobody_in_it() {
    let one = One::start(Kind::Xians).await;
    let mut client = one.edge.open(&Client::new("jane")).await;
    let request_id = client.head.header("x-request-id").expect("an id").to_owned();
    client.all_up(&["agent"]).await;
    say(&one.backend, "private words");
    client.chat("private words").await;
    client.close();
    let line = one.edge.logged("stream ended").await;
    for want in [request_id.as_str(), "route=/events", "reason=client_gone", "events=1", "bytes="] {
        assert!(line.contains(want), "{want} is not in {line}");
    }
    let log = one.edge.log();
    for secret in ["jane", "private words", KEY, "sk-Xnai"] {
        assert!(!log.contains(secret), "{secret} is logged: {log}");
    }
    one.check_law().await;
}

#[tokio::test]
async fn machines_get_their_log_as_json() {
    let one =
        One::start_with(Kind::Xians, |conf| conf.line("log: {level: debug, format: json}")).await;
    let client = one.edge.open(&Client::new("jane")).await;
    client.close();
    let line = one.edge.logged("stream ended").await;
    let json: serde_json::Value = serde_json::from_str(&line).expect("a line of JSON");
    assert_eq!(json["level"], "info");
    assert!(json["time"].is_string() && json["message"].is_string(), "{json}");
    one.edge.check_law(&[]).await;
}

#[tokio::test]
async fn a_conf_file_can_be_checked_without_running_it() {
    let backend = backend(Kind::Xians).await;
    let scratch = Scratch::new();
    let good = scratch.write("good.yaml", &Conf::new().backend(&backend).yaml());
    let good = good.to_str().expect("a path");
    let said = chatmux(&["check", "-c", good]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("1 sources") && said.out.contains("ok"), "{said:?}");
    assert!(said.err.contains("warning:") && said.err.contains("api_key"), "{said:?}");
    assert!(!said.err.contains("sk-Xnai"), "{said:?}");
    let strict = chatmux(&["check", "-c", good, "--strict"]).await;
    assert_eq!(strict.code, 1, "a literal secret is an error then: {strict:?}");
    let json = chatmux(&["check", "-c", good, "--format", "json"]).await;
    let report: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!((&report["ok"], json.code), (&true.into(), 0));

    let yaml = Conf::new().backend(&backend).yaml().replace("xians", "xiens");
    let bad = scratch.write("bad.yaml", &yaml);
    let bad = bad.to_str().expect("a path");
    let said = chatmux(&["check", "-c", bad]).await;
    assert_eq!(said.code, 1);
    assert!(
        said.err.contains("bad.yaml:") && said.err.contains("sources.agent.backend"),
        "{said:?}"
    );
    let json = chatmux(&["check", "-c", bad, "--format", "json"]).await;
    let report: serde_json::Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!((&report["ok"], json.code), (&false.into(), 1));
    let error = &report["errors"][0];
    assert!(error["file"].as_str().is_some_and(|file| file.ends_with("bad.yaml")), "{report}");
    assert_eq!((&error["line"], &error["path"]), (&7.into(), &"sources.agent.backend".into()));
    assert!(error["column"].is_u64() && error["message"].is_string(), "{report}");
    assert!(error["text"].as_str().is_some_and(|text| text.contains("bad.yaml:7:")));
    assert_eq!(chatmux(&["check"]).await.code, 2, "usage");
    assert_eq!(backend.now().connections, 0);
}

#[tokio::test]
async fn a_check_says_what_the_limits_may_take_of_the_machine() {
    let backend = backend(Kind::Xians).await;
    let scratch = Scratch::new();
    let conf = Conf::new().backend(&backend).line("limits: {tenant: {concurrent: 9000000}}");
    let conf = scratch.write("edge.yaml", &conf.yaml());
    let conf = conf.to_str().expect("a path");
    let said = chatmux(&["check", "-c", conf]).await;
    assert_eq!(said.code, 0, "what this machine lacks, another may have: {said:?}");
    for want in ["limits.tenant.concurrent: 9000000", "18000064 descriptors", "more than this"] {
        assert!(said.out.contains(want), "{want}: {said:?}");
    }
    let said = chatmux(&["check", "-c", conf, "--format", "json"]).await;
    let report: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    let resources = &report["resources"];
    assert_eq!(resources["limits"][0]["fits"], false, "{report}");
    assert!(resources["machine"]["descriptors"].as_u64().is_some_and(|count| count > 0));
    assert!(resources["machine"]["bytes"].as_u64().is_some_and(|bytes| bytes > 0));
    let all = &resources["limits"][1];
    assert_eq!((&all["path"], &all["isSet"]), (&"limits.connections.total".into(), &false.into()));
}

#[tokio::test]
async fn a_check_can_try_the_sources() {
    let backend = backend(Kind::Xians).await;
    let scratch = Scratch::new();
    let good = scratch.write("good.yaml", &Conf::new().backend(&backend).yaml());
    let said = chatmux(&["check", "--online", "-c", good.to_str().expect("a path")]).await;
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("sources.agent http://127.0.0.1:") && said.out.contains("answers "));
    assert!(!said.out.contains('\u{1b}') && !said.err.contains('\u{1b}'), "no terminal: {said:?}");
    // A port that was free a moment ago nearly always still is.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("an address");
    drop(free);
    let dead = |name: &str, url: &str| {
        (name.to_owned(), format!("{name}: {{backend: xians, api_key: x, url: \"{url}\"}}"))
    };
    let (refused, lost) = (
        dead("refused", &format!("http://{address}")),
        dead("lost", "http://no-such-host.invalid"),
    );
    let conf = Conf::new().backend(&backend).entry(&refused.0, refused.1).entry(&lost.0, lost.1);
    let bad = scratch.write("bad.yaml", &conf.yaml());
    let bad = bad.to_str().expect("a path");
    let said = chatmux(&["check", "--online", "--format", "json", "-c", bad]).await;
    assert_eq!(said.code, 1, "{said:?}");
    let report: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
    let tried = report["online"].as_array().expect("tries");
    let got: Vec<_> = tried
        .iter()
        .map(|one| (one["path"].as_str(), one["stage"].as_str(), one["ok"].as_bool()))
        .collect();
    let want = |path, stage, ok| (Some(path), Some(stage), Some(ok));
    assert_eq!(
        got,
        [
            want("sources.agent", "answer", true),
            want("sources.refused", "connect", false),
            want("sources.lost", "dns", false),
        ]
    );
    assert_eq!(report["errors"].as_array().map(Vec::len), Some(2), "{report}");
    let said = chatmux(&["check", "--online", "-c", bad]).await;
    assert_eq!(said.code, 1);
    assert!(said.err.contains("sources.refused: ") && said.err.contains("refused"), "{said:?}");
}

#[tokio::test]
async fn a_check_can_try_the_issuers() {
    let (backend, jwks) = (backend(Kind::Xians).await, Jwks::start(&jwk_set(&[])).await);
    let scratch = Scratch::new();
    let entry = format!(
        "{{jwt: [{{issuer: \"https://id.example.com/\", algorithms: [RS256], jwks_url: \"{}\", \
         bind: {{participantId: sub}}}}]}}",
        jwks.url()
    );
    let conf = scratch.write("edge.yaml", &Conf::new().backend(&backend).auth(&entry).yaml());
    let conf = conf.to_str().expect("a path");
    let tried = async || {
        let before = jwks.fetches();
        let said = chatmux(&["check", "--online", "--format", "json", "-c", conf]).await;
        jwks.until_fetches(before + 1).await;
        assert_eq!(jwks.fetches(), before + 1, "an issuer is asked once");
        let report: serde_json::Value = serde_json::from_str(&said.out).expect("JSON");
        assert_eq!(report["online"][1]["path"], "auth.jwt[0].jwks_url", "{report}");
        (said.code, report)
    };
    let rsa = Signer::Rsa.jwk("one");
    jwks.answer(200, &jwk_set(std::slice::from_ref(&rsa)));
    let (code, report) = tried().await;
    assert_eq!((code, &report["online"][1]["keys"]), (0, &1.into()), "{report}");
    let said = chatmux(&["check", "--online", "-c", conf]).await;
    assert!(said.out.contains("jwks") && said.out.contains(", 1 usable keys"), "{said:?}");
    jwks.until_fetches(2).await;
    for (status, body, want) in [
        (200, jwk_set(&[Signer::Ed.jwk("two")]), "gives no key that `algorithms`"),
        (200, "[]".to_owned(), "gives no set of keys"),
        (404, String::new(), "another status than 200"),
        (503, String::new(), "answers 503"),
    ] {
        jwks.answer(status, &body);
        let (code, report) = tried().await;
        assert_eq!((code, report["errors"].as_array().map(Vec::len)), (1, Some(1)), "{report}");
        let text = report["errors"][0]["text"].as_str().expect("a text");
        assert!(text.starts_with("auth.jwt[0].jwks_url: ") && text.contains(want), "{text}");
    }
}

#[tokio::test]
async fn a_conf_of_several_files_runs_and_is_reloaded_as_one() {
    let (one, two) = (backend(Kind::Xians).await, backend(Kind::Openfire).await);
    let yaml = Conf::new().backend(&one).line("include: [\"more-*.yaml\"]").yaml();
    let more = Conf::new().backend(&two).yaml();
    let more = more.split("sources:\n").nth(1).expect("sources").replace("/events", "/more");
    let files = [("more-1.yaml", format!("sources:\n{more}"))];
    let files: Vec<_> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    let edge = Edge::start_with(&yaml, &files, &[]).await;
    let mut client = edge.open(&Client::new("jane").path("/more")).await;
    client.all_up(&["desk"]).await;
    let log = edge.reload(&yaml.replace("include:", "include: [\"no-*\"] #")).await;
    assert!(!log.contains("error"), "{log}");
    assert_eq!(edge.ask(&Client::new("jane").path("/more")).await.head.status, 404);
    edge.check_law(&[]).await;
}

#[tokio::test]
async fn what_a_route_redacts_no_client_of_it_sees() {
    let one = One::start_with(Kind::Xians, |conf| {
        conf.route(", redact: [{pattern: '\\b(?:\\d[ -]?){13,16}\\b', replace: \"[card]\"}]")
            .another_route("{path: /plain, sources: [agent]}")
    })
    .await;
    let mut redacted = one.edge.open(&Client::new("jane")).await;
    let mut core = one.edge.open(&Client::new("jane").query("vocabulary", "core")).await;
    let mut plain = one.edge.open(&Client::new("jane").path("/plain")).await;
    redacted.all_up(&["agent"]).await;
    plain.all_up(&["agent"]).await;
    say(&one.backend, "My card is 4111 1111 1111 1111, thanks");
    say(&one.backend, "No card here: 12345");
    let first = redacted.chat("My card is [card], thanks").await;
    redacted.chat("No card here: 12345").await;
    core.chat("My card is [card], thanks").await;
    plain.chat("My card is 4111 1111 1111 1111, thanks").await;
    let mut back =
        one.edge.open(&Client::new("jane").after(first.id.as_deref().expect("an id"))).await;
    back.chat("No card here: 12345").await;
    let metrics = one.edge.metrics().await;
    let count = |route| metrics.sum("chatmux_events_redacted_total", &[("route", route)]);
    assert_eq!((count("/events"), count("/plain")), (1, 0), "once for a log, not for a client");
    one.check_law().await;
}

/// The conf files that come with the product, and what their secrets are.
fn examples() -> (Vec<std::path::PathBuf>, [(&'static str, &'static str); 4]) {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("conf");
    let mut files = vec![folder.join("chatmux.yaml")];
    for entry in std::fs::read_dir(folder.join("examples")).expect("examples") {
        files.push(entry.expect("a file").path());
    }
    assert!(files.len() >= 6, "{files:?}");
    let variables = [
        ("JWT_SECRET", "a secret of at least thirty-two bytes"),
        ("OPENFIRE_PASSWORD", "s3cret"),
        ("XIANS_API_KEY", "sk-Xnai-x"),
        ("BRIGHTPATTERN_APP_ID", "0123456789abcdef0123456789abcdef"),
    ];
    (files, variables)
}

#[tokio::test]
async fn the_examples_are_good_conf_files() {
    let (files, variables) = examples();
    for file in files {
        let file = file.to_str().expect("a path");
        let said = chatmux_with(&["check", "-c", file, "--strict"], "", &variables).await;
        assert_eq!(said.code, 0, "{file}: {said:?}");
    }
}

#[tokio::test]
async fn the_examples_run() {
    let (files, variables) = examples();
    for file in files {
        let yaml = std::fs::read_to_string(&file).expect("a conf file");
        let routes = yaml.split("\nroutes:").nth(1).expect("routes");
        let route = routes.split("path: ").nth(1).and_then(|rest| rest.split_whitespace().next());
        let route = route.expect("a route").trim_end_matches(',').to_owned();
        let yaml =
            yaml.replace("127.0.0.1:8080", "127.0.0.1:0").replace("127.0.0.1:9090", "127.0.0.1:0");
        let edge = Edge::start_with(&yaml, &[], &variables).await;
        // Nothing is asked for, so that no backend is.
        let reply = Ask::get(&route).send(edge.streams()).await;
        assert!(matches!(reply.head.status, 400 | 401), "{}: {reply:?}", file.display());
    }
}
