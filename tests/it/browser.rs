//! A real browser's EventSource: Chromium, headless, on a page of another origin.
//!
//! The page reports what it hears to the test's own web server, so no driver is needed. Needs
//! Chromium: `CHATMUX_CHROMIUM` names it (`make test` installs it and sets that).

use chatmux::scripted::Kind;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;

use crate::support::{
    Act, Client, Edge, Four, Front, KEY, One, Relay, Scratch, browse, say, serve_web, soon,
};

/// A web page, and what it reports.
pub(crate) struct Page {
    pub(crate) origin: String,
    reports: mpsc::Receiver<Value>,
}

impl Page {
    /// Serves a page that opens the stream and reports every event.
    async fn serve(listener: TcpListener, stream_url: String) -> Self {
        Self::serve_text(listener, PAGE.replace("STREAM_URL", &stream_url))
    }

    /// Serves any page that posts its reports to `/report`, JSON with a `kind`.
    pub(crate) fn serve_text(listener: TcpListener, page: String) -> Self {
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let (sender, reports) = mpsc::channel(1000);
        serve_web(listener, move |asked| {
            let (reports, page) = (sender.clone(), page.clone());
            async move {
                if asked.method == "POST" {
                    let report = serde_json::from_slice(&asked.body).expect("a report");
                    // A test that has seen enough listens no longer.
                    let _heard = reports.send(report).await.is_ok();
                    return Some(("text/plain", String::new()));
                }
                Some(("text/html; charset=utf-8", page))
            }
        });
        Self { origin, reports }
    }

    /// The next report of this kind.
    pub(crate) async fn next(&mut self, kind: &str) -> Value {
        soon(kind, async {
            loop {
                let report = self.reports.recv().await.expect("the page is gone");
                if report["kind"] == kind {
                    return report;
                }
            }
        })
        .await
    }
}

/// Reports go out one after another, so that they arrive in order.
const PAGE: &str = r#"<!doctype html><title>chat</title><script>
let last = Promise.resolve();
const report = (kind, event) => {
  const data = event && event.data ? JSON.parse(event.data) : null;
  const body = JSON.stringify({kind, data, id: event ? event.lastEventId : ''});
  last = last.then(() => fetch('/report', {method: 'POST', body}));
};
const source = new EventSource('STREAM_URL');
for (const name of ['connected', 'source_up', 'Chat', 'heartbeat', 'gap'])
  source.addEventListener(name, event => report(name, event));
source.onerror = () => report(source.readyState === 2 ? 'closed' : 'error');
</script>"#;

fn stream_url(address: std::net::SocketAddr) -> String {
    format!(
        "http://{address}/events?tenantId=acme&workflow=customer-support&participantId=jane&apikey={KEY}"
    )
}

#[tokio::test]
async fn chromium_hears_all_four_backends_over_one_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    let cors = format!("cors: {{allow_origins: [\"{origin}\"]}}");
    let four = Four::start_with(|conf| conf.line(&cors)).await;
    let mut page = Page::serve(listener, stream_url(four.edge.streams())).await;
    let profile = Scratch::new();
    let Some(_browser) = browse(&page.origin, &profile, &[]) else {
        return;
    };
    page.next("connected").await;
    for _ in 0..4 {
        page.next("source_up").await;
    }
    for backend in &four.backends {
        say(backend, "Grüße 👋");
    }
    let mut heard = Vec::new();
    for _ in 0..4 {
        let chat = page.next("Chat").await;
        assert_eq!(chat["data"]["text"], "Grüße 👋");
        assert_ne!(chat["id"], "");
        heard.push(chat["data"]["source"]["backend"].as_str().expect("a backend").to_owned());
    }
    heard.sort();
    assert_eq!(heard, ["brightpattern", "openfire", "salesforce", "xians"]);
    page.next("heartbeat").await;
    four.check_law().await;
}

#[tokio::test]
async fn chromium_resumes_after_a_cut_without_loss_or_duplicate() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let origin = format!("http://{}", listener.local_addr().expect("an address"));
    let cors = format!("cors: {{allow_origins: [\"{origin}\"]}}");
    let four = Four::start_with(|conf| conf.line(&cors).line("replay: {linger: 60s}")).await;
    let relay = Relay::start(four.edge.streams(), vec![Act::Pass]).await;
    let mut page = Page::serve(listener, stream_url(relay.address())).await;
    let profile = Scratch::new();
    let Some(_browser) = browse(&page.origin, &profile, &[]) else {
        return;
    };
    let backend = four.of(Kind::Salesforce);
    let mut ids = Vec::new();
    page.next("connected").await;
    for _ in 0..4 {
        page.next("source_up").await;
    }
    for round in 0..3 {
        say(backend, &format!("before cut {round}"));
        let chat = page.next("Chat").await;
        assert_eq!(chat["data"]["text"], format!("before cut {round}"));
        ids.push(chat["id"].clone());
        relay.cut();
        page.next("error").await;
        say(backend, &format!("while away {round}"));
        let connected = page.next("connected").await;
        assert_eq!(connected["data"]["resumed"], true);
        let chat = page.next("Chat").await;
        assert_eq!(chat["data"]["text"], format!("while away {round}"));
        ids.push(chat["id"].clone());
    }
    let mut distinct = ids.clone();
    distinct.sort_by_key(ToString::to_string);
    distinct.dedup();
    assert_eq!(distinct.len(), ids.len(), "{ids:?}");
    // Whoever looks later sees no more of them either.
    let mut late = four.edge.open(&Client::new("jane")).await;
    late.expect("connected").await;
    four.check_law().await;
}

/// nginx as it comes, nginx told not to buffer, HAProxy.
async fn fronts(edge: &Edge) -> [Front; 3] {
    let to = edge.streams();
    let nginx = |more: &str| {
        format!("server {{ listen LISTEN; location / {{ proxy_pass http://{to}; {more} }} }}")
    };
    let haproxy = format!(
        "defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
         listen chat\n  bind LISTEN\n  option http-no-delay\n  server edge {to}\n"
    );
    [
        Front::nginx(&nginx(""), &[]).await,
        Front::nginx(&nginx("proxy_buffering off;"), &[]).await,
        Front::haproxy(&haproxy, &[]).await,
    ]
}

#[tokio::test]
async fn chromium_hears_events_at_once_behind_nginx_and_haproxy() {
    let listeners = [
        TcpListener::bind("127.0.0.1:0").await.expect("a port"),
        TcpListener::bind("127.0.0.1:0").await.expect("a port"),
        TcpListener::bind("127.0.0.1:0").await.expect("a port"),
    ];
    let origins = listeners
        .each_ref()
        .map(|listener| format!("\"http://{}\"", listener.local_addr().expect("an address")));
    let cors = format!("cors: {{allow_origins: [{}]}}", origins.join(", "));
    let one = One::start_with(Kind::Xians, |conf| conf.line(&cors)).await;
    for (front, listener) in fronts(&one.edge).await.into_iter().zip(listeners) {
        let mut page = Page::serve(listener, stream_url(front.address)).await;
        let profile = Scratch::new();
        let Some(_browser) = browse(&page.origin, &profile, &[]) else {
            return;
        };
        page.next("source_up").await;
        // Each is heard before the backend says the next one.
        for number in 0..5 {
            let text = format!("event {number}");
            say(&one.backend, &text);
            assert_eq!(page.next("Chat").await["data"]["text"], text);
        }
    }
    one.check_law().await;
}
