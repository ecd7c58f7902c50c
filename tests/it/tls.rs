//! TLS and HTTP/2, with clients of other people's making: OpenSSL's certificate, curl's protocols.

use std::net::SocketAddr;
use std::process::Stdio;

use chatmux::scripted::{Backend, Kind};
use tokio::io::AsyncReadExt as _;
use tokio::process::{Child, Command};

use crate::support::{Client, Conf, Edge, Four, Scratch, backend, say, soon};

/// Whether the machine has a command; where it has not, there is nothing to test with.
async fn has(command: &str) -> bool {
    let version = if command == "openssl" { "version" } else { "--version" };
    let status = Command::new(command)
        .arg(version)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .await;
    let is_there = status.is_ok_and(|status| status.success());
    if !is_there {
        eprintln!("skipped: there is no {command} here");
    }
    is_there
}

/// A self-signed certificate for localhost and its key, PEM.
pub(crate) async fn certificate() -> (String, String) {
    let scratch = Scratch::new();
    let (cert, key) = (scratch.path().join("cert.pem"), scratch.path().join("key.pem"));
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "2", "-subj", "/CN=localhost"])
        .args(["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"])
        .arg("-out")
        .arg(&cert)
        .arg("-keyout")
        .arg(&key)
        .output()
        .await
        .expect("openssl runs");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let text = |path| std::fs::read_to_string(path).expect("a file");
    (text(cert), text(key))
}

/// A curl that reads a stream as it comes.
pub(crate) struct Curl {
    child: Child,
    pub(crate) seen: String,
}

impl Curl {
    pub(crate) fn start(args: &[&str], scheme: &str, to: SocketAddr) -> Self {
        Self::start_as(&Client::new("jane"), args, scheme, to)
    }

    pub(crate) fn start_as(client: &Client, args: &[&str], scheme: &str, to: SocketAddr) -> Self {
        let url = format!("{scheme}://{to}{}", client.target());
        let child = Command::new("curl")
            .args(["-sN", "-i", "--max-time", "60"])
            .args(args)
            .arg(url)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("curl runs");
        Self { child, seen: String::new() }
    }

    /// The line of the status.
    pub(crate) async fn status(&mut self) -> String {
        self.until("\r\n").await;
        self.seen.lines().next().unwrap_or_default().to_owned()
    }

    pub(crate) async fn until(&mut self, what: &str) {
        let out = self.child.stdout.as_mut().expect("a pipe");
        let search = async {
            let mut chunk = [0; 4096];
            while !self.seen.contains(what) {
                let read = out.read(&mut chunk).await.expect("a pipe");
                assert!(read > 0, "curl ended without {what}: {}", self.seen);
                self.seen.push_str(&String::from_utf8_lossy(&chunk[..read]));
            }
        };
        soon(&format!("curl gets {what}"), search).await;
    }

    /// The exit code.
    async fn end(mut self) -> Option<i32> {
        soon("curl ends", self.child.wait()).await.expect("a status").code()
    }
}

/// Reads a stream with all events of a backend in it.
async fn check_stream(backend: &Backend, mut curl: Curl, version: &str) {
    curl.until("\nevent: source_up\n").await;
    assert!(curl.seen.starts_with(&format!("{version} 200")), "{}", curl.seen);
    assert!(curl.seen.contains("content-type: text/event-stream\r\n"), "{}", curl.seen);
    if version == "HTTP/2" {
        assert!(!curl.seen.contains("transfer-encoding"), "{}", curl.seen);
    }
    for number in 0..20 {
        let text = format!("\"text\":\"message {number}\"");
        say(backend, &format!("message {number}"));
        curl.until(&text).await;
    }
}

#[tokio::test]
async fn streams_are_served_over_tls_in_both_versions_of_http() {
    if !has("openssl").await || !has("curl").await {
        return;
    }
    let (cert, key) = certificate().await;
    let backend = backend(Kind::Xians).await;
    let listen = "{address: \"127.0.0.1:0\", tls: {cert: cert.pem, key: key.pem}}, \
                  {address: \"127.0.0.1:0\"}";
    let yaml = Conf::new().backend(&backend).listen(listen).yaml();
    let files = [("cert.pem", cert.as_str()), ("key.pem", key.as_str())];
    let edge = Edge::start_with(&yaml, &files, &[]).await;
    let tls = edge.listeners()[0];
    for (option, version) in [("--http2", "HTTP/2"), ("--http1.1", "HTTP/1.1")] {
        check_stream(&backend, Curl::start(&["-k", option], "https", tls), version).await;
        edge.until_open(0).await;
    }
    let plain = Curl::start(&["--http1.1"], "http", edge.listeners()[1]);
    check_stream(&backend, plain, "HTTP/1.1").await;
    // A certificate of nobody's is not trusted: that is curl's to say, and it does.
    assert_eq!(Curl::start(&["--http2"], "https", tls).end().await, Some(60));
    edge.check_law(&[("agent", &backend)]).await;
}

#[tokio::test]
async fn http_2_without_tls_is_spoken_only_where_the_conf_says_so() {
    if !has("curl").await {
        return;
    }
    let backend = backend(Kind::Xians).await;
    let listen = "{address: \"127.0.0.1:0\", h2c: true}, {address: \"127.0.0.1:0\"}";
    let edge = Edge::start(&Conf::new().backend(&backend).listen(listen).yaml()).await;
    let prior = ["--http2-prior-knowledge"];
    check_stream(&backend, Curl::start(&prior, "http", edge.listeners()[0]), "HTTP/2").await;
    check_stream(&backend, Curl::start(&[], "http", edge.listeners()[0]), "HTTP/1.1").await;
    let refused = Curl::start(&prior, "http", edge.listeners()[1]).end().await;
    assert!(refused.is_some_and(|code| code != 0), "{refused:?}");
    edge.check_law(&[("agent", &backend)]).await;
}

#[tokio::test]
async fn a_client_of_http_2_that_leaves_is_noticed() {
    if !has("curl").await {
        return;
    }
    let backend = backend(Kind::Xians).await;
    let edge = Edge::start(
        &Conf::new().backend(&backend).listen("{address: \"127.0.0.1:0\", h2c: true}").yaml(),
    )
    .await;
    let mut curl = Curl::start(&["--http2-prior-knowledge"], "http", edge.streams());
    curl.until("\nevent: source_up\n").await;
    edge.until_open(1).await;
    drop(curl);
    edge.until_open(0).await;
    soon("the upstream is let go", backend.wait_for(|now| now.live_streams == 0)).await;
    edge.check_law(&[("agent", &backend)]).await;
}

#[tokio::test]
async fn curl_reads_the_stream_of_all_four() {
    if !has("curl").await {
        return;
    }
    let four = Four::start().await;
    let mut curl = Curl::start(&[], "http", four.edge.streams());
    for name in Four::NAMES {
        curl.until(&format!("\"source\":{{\"name\":\"{name}\"")).await;
    }
    for backend in &four.backends {
        say(backend, "seen by curl");
    }
    for kind in ["openfire", "xians", "salesforce", "brightpattern"] {
        curl.until(&format!("\"backend\":\"{kind}\",\"event\":")).await;
    }
    four.check_law().await;
}
