//! Heads of answers that are passed: what of a backend's reaches a client, and what never does.

use crate::support::{Ask, Conf, Edge, Head, KEY, Raw, Reply, Say, Wire, answer, soon};

const WHO: &str = "tenantId=acme&workflow=customer-support&participantId=jane";

fn get(path: &str) -> Ask {
    Ask::get(format!("{path}?{WHO}&apikey={KEY}"))
}

/// The conf of an edge in front of a chat at this address, with more options of the proxied path.
fn conf(backend: &Raw, path: &str, more: &str) -> Conf {
    let entry = format!(
        "desk: {{backend: openfire, token: t, url: \"http://{}/sparkweb\"}}",
        backend.address()
    );
    let line = format!("proxy: [{{path: {path}, source: desk, to: /api/rest/{more}}}]");
    Conf::new().entry("desk", entry).line(&line)
}

/// What comes of an answer with these lines in its head.
async fn passed(path: &str, lines: &'static [&'static str], change: fn(Conf) -> Conf) -> Reply {
    let backend = Raw::start(|_, _| Say::Bytes(answer("200 OK", lines, "hello"))).await;
    let edge = Edge::start(&change(conf(&backend, path, "")).yaml()).await;
    let reply = get(&format!("{}/x", path.trim_end_matches('/'))).send(edge.streams()).await;
    assert_eq!((reply.head.status, reply.text().as_str()), (200, "hello"), "{reply:?}");
    reply
}

#[tokio::test]
async fn answers_are_kept_by_nobody_but_the_browser_that_asked() {
    for (said, want) in [
        (&["X-Nothing: 1"][..], "no-store"),
        (&["Cache-Control: public, max-age=600, s-maxage=900"], "private, max-age=600"),
        (
            &["Cache-Control: max-age=60", "Cache-Control: must-revalidate"],
            "private, max-age=60, must-revalidate",
        ),
        (
            &["Cache-Control: PUBLIC, No-Cache=\"x, public\", immutable"],
            "private, no-cache, immutable",
        ),
        (&["Cache-Control: public, max-age=600, no-store"], "no-store"),
        (&["Cache-Control: public"], "private"),
        (&["Cache-Control: max-age=\"600\", odd"], "private"),
        (&["Expires: Thu, 01 Jan 2099 00:00:00 GMT", "Age: 5", "Pragma: x"], "no-store"),
    ] {
        let reply = passed("/desk", said, |conf| conf).await;
        assert_eq!(reply.head.header("cache-control"), Some(want), "{said:?}");
        for name in ["expires", "age", "pragma"] {
            assert_eq!(reply.head.header(name), None, "{name} of {said:?}");
        }
        let vary = reply.head.header("vary");
        assert_eq!(vary, Some("Authorization, X-API-Key, Cookie"), "{said:?}");
    }
    let said = &["Vary: Accept-Language, origin", "Vary: Cookie, bad name"];
    let reply = passed("/desk", said, |conf| conf.line("cors: {allow_origins: [\"*\"]}")).await;
    let vary = reply.head.header("vary");
    assert_eq!(vary, Some("Origin, Authorization, X-API-Key, Cookie, Accept-Language"));
    let reply = passed("/desk", &["Vary: *"], |conf| conf).await;
    assert_eq!(reply.head.header("vary"), Some("Authorization, X-API-Key, Cookie, *"));
}

#[tokio::test]
async fn a_backend_tells_a_client_no_more_than_is_listed() {
    const SAID: &[&str] = &[
        "Content-Type: text/plain",
        "Content-Language: en",
        "Content-Disposition: attachment; filename=a.txt",
        "ETag: \"1\"",
        "Last-Modified: Thu, 01 Jan 2026 00:00:00 GMT",
        "Accept-Ranges: bytes",
        "Retry-After: 7",
        "Allow: GET",
        "X-Accel-Redirect: /internal/secret",
        "X-Accel-Buffering: yes",
        "X-Sendfile: /etc/passwd",
        "Content-Location: http://10.0.0.7/internal",
        "Link: <http://10.0.0.7/internal>; rel=next",
        "Age: 5",
        "X-RateLimit-Remaining: 3",
        "X-Total-Count: 12",
        "X-Backend-Host: node-7.internal",
        "Set-Cookie: a=b",
        "Server: Jetty",
        "Via: 1.1 internal",
    ];
    const LISTED: [&str; 9] = [
        "content-type",
        "content-language",
        "content-disposition",
        "etag",
        "last-modified",
        "accept-ranges",
        "retry-after",
        "allow",
        "content-length",
    ];
    const OURS: [&str; 8] = [
        "cache-control",
        "connection",
        "content-security-policy",
        "date",
        "referrer-policy",
        "vary",
        "x-content-type-options",
        "x-request-id",
    ];
    let reply = passed("/desk", SAID, |conf| conf).await;
    let mut names: Vec<_> =
        reply.head.headers.iter().map(|(name, _)| name.to_ascii_lowercase()).collect();
    names.sort();
    let mut want = [&LISTED[..], &OURS].concat();
    want.sort_unstable();
    assert_eq!(names, want, "{reply:?}");

    let backend = Raw::start(|_, _| Say::Bytes(answer("200 OK", SAID, "hello"))).await;
    let conf = conf(&backend, "/desk", ", answer_headers: [X-Total-Count, link]");
    let edge = Edge::start(&conf.line("cors: {allow_origins: [\"*\"]}").yaml()).await;
    let reply = get("/desk/x").send(edge.streams()).await;
    assert_eq!(reply.head.header("x-total-count"), Some("12"));
    assert_eq!(reply.head.header("link"), Some("<http://10.0.0.7/internal>; rel=next"));
    assert_eq!(reply.head.header("x-backend-host"), None);
    let exposed = reply.head.header("access-control-expose-headers").expect("a list");
    assert!(exposed.ends_with(", X-Request-Id, x-total-count, link"), "{exposed}");
}

#[tokio::test]
async fn where_something_has_moved_is_never_another_host() {
    for (path, location, want) in [
        ("/desk", "/sparkweb/api/rest/a/b?c=d#e", Some("/desk/a/b?c=d#e")),
        ("/desk", "/sparkweb/api/rest", Some("/desk")),
        ("/desk", "/sparkweb/api/restless", None),
        ("/desk", "//evil.example/sparkweb/api/rest/x", None),
        ("/desk", "/sparkweb/api/rest//evil.example/x", Some("/desk//evil.example/x")),
        ("/desk", "/sparkweb/api/rest/../../admin", None),
        ("/desk", "/sparkweb/api/rest/%2e%2e/admin", None),
        ("/", "/sparkweb/api/rest/a", Some("/a")),
        ("/", "/sparkweb/api/rest", Some("/")),
        ("/", "/sparkweb/api/rest?a=b", Some("/?a=b")),
        ("/", "/sparkweb/api/rest//evil.example/x", None),
        ("/", "/sparkweb/api/rest/\\evil.example/x", None),
        ("/", "/sparkweb/api/rest/\t/evil.example/x", None),
        ("/", "/sparkweb/api/rest\\evil.example/x", None),
    ] {
        let line = format!("Location: {location}");
        let backend = Raw::start(move |_, _| Say::Bytes(answer("302 Found", &[&line], ""))).await;
        let edge = Edge::start(&conf(&backend, path, "").yaml()).await;
        let reply = get(&format!("{}/x", path.trim_end_matches('/'))).send(edge.streams()).await;
        assert_eq!(reply.head.header("location"), want, "{location:?} behind {path}");
    }
}

/// Asks, and reads all that comes.
async fn heads(edge: &Edge, ask: &Ask) -> (Vec<Head>, Vec<u8>) {
    let ask = ask.clone().header("Connection", "close");
    let (mut wire, mut head): (Wire, Head) =
        soon("a head", ask.start(edge.streams(), None)).await.expect("a head");
    let mut heads = Vec::new();
    while head.status < 200 {
        heads.push(head);
        head = soon("a head", wire.head()).await.expect("a head");
    }
    let body = soon("a body", wire.body(&head)).await.expect("a body");
    heads.push(head);
    (heads, body)
}

#[tokio::test]
async fn what_comes_before_an_answer_tells_a_client_nothing() {
    let early = "HTTP/1.1 103 Early Hints\r\nSet-Cookie: a=b\r\n\
                 Access-Control-Allow-Origin: *\r\nLink: <http://10.0.0.7/>; rel=preload\r\n\r\n\
                 HTTP/1.1 100 Continue\r\nSet-Cookie: c=d\r\n\r\n";
    let backend = Raw::start(move |_, _| {
        Say::Bytes([early.as_bytes(), &answer("200 OK", &[], "hello")].concat())
    })
    .await;
    let edge = Edge::start(&conf(&backend, "/desk", "").yaml()).await;
    let (heads, body) = heads(&edge, &get("/desk/x")).await;
    let (last, before) = heads.split_last().expect("a head");
    assert_eq!((last.status, &body[..]), (200, &b"hello"[..]));
    for head in before {
        assert!(head.headers.is_empty(), "{head:?}");
    }
    assert_eq!(last.header("set-cookie"), None);
}

#[tokio::test]
async fn no_other_protocol_is_switched_to() {
    let switch = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: chat\r\nConnection: Upgrade\r\n\
                  Set-Cookie: a=b\r\n\r\nraw bytes of another protocol";
    for before in ["", "HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"] {
        let bytes = format!("{before}{switch}");
        let backend = Raw::start(move |_, _| Say::Last(bytes.clone().into_bytes())).await;
        let edge = Edge::start(&conf(&backend, "/desk", "").yaml()).await;
        // Nor is a client left without an answer that was given leave to send its body.
        let waits = Ask::new("POST", format!("/desk/x?{WHO}&apikey={KEY}"));
        let waits = waits.header("Expect", "100-continue").body("x");
        for (ask, leaves) in [(get("/desk/x"), 0), (waits, 1)] {
            let (mut heads, body) = heads(&edge, &ask).await;
            let head = heads.pop().expect("a head");
            Reply { head, body }.refuses(502, "Bad Gateway", "answer");
            assert_eq!(heads.len(), leaves, "{heads:?}");
        }
    }
}
