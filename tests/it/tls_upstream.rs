//! Backends behind TLS: verified, with a certificate authority of one's own.

use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::process::Command;

use chatmux::scripted::{Kind, Options};
use pingora::tls::ssl::{Ssl, SslAcceptor, SslFiletype, SslMethod};
use pingora::tls::tokio_ssl::SslStream;
use tokio::net::{TcpListener, TcpStream};

use crate::support::{Ask, Client, Conf, Edge, KEY, Scratch, backend_with, say};

/// A certificate for `localhost` that only itself vouches for.
fn self_signed(scratch: &Scratch) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"])
        .args(["-keyout", "key.pem", "-out", "cert.pem"])
        .current_dir(scratch.path())
        .output()
        .expect("openssl");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// TLS in front of a backend.
async fn terminate(folder: &Path, target: SocketAddr) -> SocketAddr {
    let mut acceptor = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls()).expect("TLS");
    acceptor.set_private_key_file(folder.join("key.pem"), SslFiletype::PEM).expect("a key");
    acceptor.set_certificate_chain_file(folder.join("cert.pem")).expect("a certificate");
    let acceptor = acceptor.build();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let ssl = Ssl::new(acceptor.context()).expect("a session");
            let mut near = SslStream::new(ssl, socket).expect("a stream");
            tokio::spawn(async move {
                // Who does not trust the certificate hangs up here.
                if Pin::new(&mut near).accept().await.is_err() {
                    return;
                }
                let mut far = TcpStream::connect(target).await.expect("the backend");
                let _ended = tokio::io::copy_bidirectional(&mut near, &mut far).await.is_ok();
            });
        }
    });
    address
}

#[tokio::test]
async fn a_backend_behind_tls_is_read_where_its_authority_is_trusted() {
    let scratch = Scratch::new();
    self_signed(&scratch);
    let agent = backend_with(Kind::Xians, Options::default()).await;
    let tls = terminate(scratch.path(), agent.addr()).await;
    let entry = |name: &str, more: &str| {
        let url = format!("https://localhost:{}", tls.port());
        format!("{name}: {{backend: xians, url: \"{url}\", api_key: sk-Xnai-tests{more}}}")
    };
    let ca = format!(", tls: {{ca: \"{}\"}}", scratch.path().join("cert.pem").display());
    let conf =
        Conf::new().entry("trusted", entry("trusted", &ca)).entry("plain", entry("plain", ""));
    let proxies = "proxy: [{path: /trusted, source: trusted}, {path: /plain, source: plain}]";
    let edge = Edge::start(&conf.line(proxies).yaml()).await;
    let call = |path: &str| {
        let who = "tenantId=acme&workflow=w&participantId=jane";
        Ask::get(format!("{path}/health?{who}&apikey={KEY}"))
    };
    let reply = call("/trusted").send(edge.streams()).await;
    assert_eq!((reply.head.status, reply.text().as_str()), (200, "Healthy"));
    call("/plain").send(edge.streams()).await.refuses(502, "Bad Gateway", "reached");
    let mut client = edge.open(&Client::new("jane")).await;
    let mut told = Vec::new();
    for _ in 0..2 {
        let event = client.next_of(&["source_up", "source_down"]).await;
        told.push((event.source().to_owned(), event.name.clone(), event.at("/reason").to_owned()));
    }
    told.sort();
    let row = |source: &str, name: &str, reason: &str| {
        (source.to_owned(), name.to_owned(), reason.to_owned())
    };
    assert_eq!(told, [row("plain", "source_down", "tls"), row("trusted", "source_up", "")]);
    say(&agent, "through TLS");
    client.chat("through TLS").await;
    edge.check_law(&[]).await;
}
