//! TLS handshakes as others hold them, or fail to: versions, suites, protocols, patience.

use std::process::Stdio;

use chatmux::scripted::Kind;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::support::{Authority, Conf, DEADLINE, Edge, KeyKind, Metrics, backend, s_client, soon};

/// An edge with one listener over TLS, whose certificate is for localhost.
async fn edge(tls: &str, kind: KeyKind, line: &str) -> Edge {
    let cert = Authority::root().issue("edge", &["localhost"], kind);
    let backend = backend(Kind::Xians).await;
    let listen = format!("{{address: \"127.0.0.1:0\", tls: {{cert: a.pem, key: a.key{tls}}}}}");
    let yaml = Conf::new().backend(&backend).listen(&listen).line(line).yaml();
    Edge::start_with(&yaml, &[("a.pem", &cert.cert), ("a.key", &cert.key)], &[]).await
}

fn ended(metrics: &Metrics, outcome: &str) -> u64 {
    metrics.sum("chatmux_tls_handshakes_total", &[("outcome", outcome)])
}

#[tokio::test]
async fn old_versions_and_weak_suites_are_refused() {
    let edge = edge("", KeyKind::Rsa, "log: {level: info}").await;
    // The client is willing: whatever is refused, the edge has refused it.
    let willing = "ALL:@SECLEVEL=0";
    for old in ["-tls1", "-tls1_1"] {
        let shaken = s_client(edge.streams(), &[old, "-cipher", willing]).await;
        assert!(!shaken.is_connected, "{old}");
        shaken.says("alert protocol version");
    }
    edge.until("both versions are counted", |now| ended(now, "version") == 2).await;
    for weak in [
        "AES128-SHA",
        "AES256-GCM-SHA384",
        "ECDHE-RSA-AES128-SHA",
        "ECDHE-RSA-AES256-SHA384",
        "DHE-RSA-AES128-GCM-SHA256",
        "AECDH-AES128-SHA",
    ] {
        let suite = format!("{weak}:@SECLEVEL=0");
        let shaken = s_client(edge.streams(), &["-tls1_2", "-cipher", &suite]).await;
        assert!(!shaken.is_connected, "{weak}");
        shaken.says("alert handshake failure");
    }
    edge.until("all ciphers are counted", |now| ended(now, "cipher") == 6).await;
    for (args, want) in [
        (&["-tls1_2", "-cipher", willing][..], "Cipher is ECDHE-RSA-"),
        (&["-tls1_2"], "Compression: NONE"),
        (&["-tls1_2"], "Server Temp Key: X25519"),
        (&["-tls1_3"], "Cipher is TLS_AES_"),
        (&[], "New, TLSv1.3"),
    ] {
        let shaken = s_client(edge.streams(), args).await;
        assert!(shaken.is_connected, "{args:?}: {}", shaken.text);
        shaken.says(want);
    }
    // That clients fail is no error of ours.
    assert!(!edge.log().contains("ERROR"), "{}", edge.log());
    edge.check_law(&[]).await;
}

#[tokio::test]
async fn a_client_cannot_renegotiate() {
    let edge = edge("", KeyKind::Ec, "").await;
    let mut child = Command::new("openssl")
        .args(["s_client", "-tls1_2", "-connect", &edge.streams().to_string()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("openssl runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    // It asks for another handshake by that.
    stdin.write_all(b"R\n").await.expect("a pipe");
    let said = soon("openssl gives up", child.wait_with_output()).await.expect("an end");
    let text = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(text.contains("RENEGOTIATING") && text.contains("no renegotiation"), "{text}");
    edge.check_law(&[]).await;
}

#[tokio::test]
async fn the_oldest_version_can_be_1_3() {
    let edge = edge(", min_version: \"1.3\"", KeyKind::Ec, "").await;
    s_client(edge.streams(), &["-tls1_2"]).await.says("alert protocol version");
    assert!(s_client(edge.streams(), &["-tls1_3"]).await.is_connected);
    edge.check_law(&[]).await;
}

#[tokio::test]
async fn http_2_is_preferred_and_unknown_protocols_are_refused() {
    let edge = edge("", KeyKind::Ec, "").await;
    for (offered, want) in [
        ("h2,http/1.1", "ALPN protocol: h2"),
        ("http/1.1,h2", "ALPN protocol: h2"),
        ("http/1.1", "ALPN protocol: http/1.1"),
        ("spdy/3,http/1.1", "ALPN protocol: http/1.1"),
        ("http/1.0", "ALPN protocol: http/1.0"),
    ] {
        let shaken = s_client(edge.streams(), &["-alpn", offered]).await;
        assert!(shaken.is_connected, "{offered}: {}", shaken.text);
        shaken.says(want);
    }
    s_client(edge.streams(), &[]).await.says("No ALPN negotiated");
    for offered in ["imap", "h3", "spdy/3,acme-tls/1"] {
        let shaken = s_client(edge.streams(), &["-alpn", offered]).await;
        assert!(!shaken.is_connected, "{offered}");
        shaken.says("alert no application protocol");
    }
    let counted = |now: &Metrics| (ended(now, "success"), ended(now, "protocol")) == (6, 3);
    edge.until("all are counted", counted).await;
    edge.check_law(&[]).await;
}

/// The start of a hello: a record's head that promises 512 bytes, and one of them.
const HALF_A_HELLO: &[u8] = &[0x16, 0x03, 0x01, 0x02, 0x00, 0x01];

#[tokio::test]
async fn who_does_not_finish_a_handshake_is_not_waited_for() {
    let edge = edge("", KeyKind::Ec, "timeouts: {head: 1s}").await;
    let mut waiting = Vec::new();
    for sent in [&b""[..], HALF_A_HELLO] {
        let mut socket = TcpStream::connect(edge.streams()).await.expect("a connection");
        socket.write_all(sent).await.expect("sent");
        waiting.push(socket);
    }
    // They hold nobody up.
    assert!(s_client(edge.streams(), &[]).await.is_connected);
    for mut socket in waiting {
        let mut rest = Vec::new();
        let read = soon("the end", socket.read_to_end(&mut rest)).await;
        assert_eq!((read.ok(), rest.len()), (Some(0), 0));
    }
    // A socket is closed before its end is counted.
    let counted = |now: &Metrics| (ended(now, "timeout"), ended(now, "success")) == (2, 1);
    let now = edge.until("both are given up", counted).await;
    // Who leaves, who speaks no TLS, who does not trust the certificate.
    let left = ended(&now, "closed");
    drop(TcpStream::connect(edge.streams()).await.expect("a connection"));
    edge.until("one has left", |now| ended(now, "closed") == left + 1).await;
    let mut plain = TcpStream::connect(edge.streams()).await.expect("a connection");
    plain.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.expect("sent");
    edge.until("one speaks no TLS", |now| ended(now, "not_tls") == 1).await;
    let url = format!("https://{}/events", edge.streams());
    let curl = Command::new("curl").args(["-s", "--tls-max", "1.2", &url]).status();
    assert!(!curl.await.expect("curl runs").success());
    edge.until("one does not trust it", |now| ended(now, "refused") == 1).await;
    edge.until("all are gone", |now| now.sum("chatmux_client_connections", &[]) == 0).await;
    edge.check_law(&[]).await;
}

#[tokio::test]
async fn failures_are_told_only_to_those_who_hunt_for_them() {
    let edge = edge("", KeyKind::Ec, "log: {level: debug}").await;
    for _ in 0..20 {
        let mut plain = TcpStream::connect(edge.streams()).await.expect("a connection");
        plain.write_all(b"GET / HTTP/1.1\r\n\r\n").await.expect("sent");
        let mut rest = Vec::new();
        let _ended = tokio::time::timeout(DEADLINE, plain.read_to_end(&mut rest)).await.is_ok();
    }
    edge.until("all have failed", |now| ended(now, "not_tls") == 20).await;
    edge.logged("a TLS handshake has failed").await;
    let told = edge.log().matches("a TLS handshake has failed").count();
    assert!((1..20).contains(&told), "{told}");
    edge.check_law(&[]).await;
}
