//! An issuer that publishes its keys, by script: what it answers, and how often it was asked.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::AbortHandle;

use super::soon;

/// A signing key of the tests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signer {
    Rsa,
    Ec,
    Ed,
}

impl Signer {
    pub(crate) const fn algorithm(self) -> Algorithm {
        match self {
            Self::Rsa => Algorithm::RS256,
            Self::Ec => Algorithm::ES256,
            Self::Ed => Algorithm::EdDSA,
        }
    }

    fn key(self) -> EncodingKey {
        let key = match self {
            Self::Rsa => EncodingKey::from_rsa_pem(include_bytes!(
                "../../../src/edge/gate/tests/keys/rsa.pem"
            )),
            Self::Ec => {
                EncodingKey::from_ec_pem(include_bytes!("../../../src/edge/gate/tests/keys/ec.pem"))
            }
            Self::Ed => {
                EncodingKey::from_ed_pem(include_bytes!("../../../src/edge/gate/tests/keys/ed.pem"))
            }
        };
        key.expect("a key")
    }

    /// A token under this key.
    pub(crate) fn token(self, kid: &str, claims: &Value) -> String {
        let header = Header { kid: Some(kid.to_owned()), ..Header::new(self.algorithm()) };
        encode(&header, claims, &self.key()).expect("a token")
    }

    /// The public key as it is published.
    pub(crate) fn jwk(self, kid: &str) -> Value {
        let jwk = Jwk::from_encoding_key(&self.key(), self.algorithm()).expect("a JWK");
        let mut jwk = serde_json::to_value(jwk).expect("JSON");
        jwk["kid"] = json!(kid);
        jwk["use"] = json!("sig");
        jwk
    }
}

/// A set with these keys.
pub(crate) fn set(keys: &[Value]) -> String {
    json!({"keys": keys}).to_string()
}

/// A server of one document.
pub(crate) struct Jwks {
    address: SocketAddr,
    script: Arc<Mutex<(u16, String)>>,
    fetches: watch::Sender<u64>,
    task: AbortHandle,
}

impl Drop for Jwks {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Jwks {
    pub(crate) async fn start(body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let script = Arc::new(Mutex::new((200, body.to_owned())));
        let fetches = watch::Sender::new(0);
        let (answers, count) = (script.clone(), fetches.clone());
        let task = tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let (status, body) = answers.lock().expect("no poison").clone();
                if answer(socket, status, &body).await.is_ok() {
                    count.send_modify(|count| *count += 1);
                }
            }
        });
        Self { address, script, fetches, task: task.abort_handle() }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/keys?p=1", self.address)
    }

    pub(crate) const fn address(&self) -> SocketAddr {
        self.address
    }

    /// From now on it answers with this.
    pub(crate) fn answer(&self, status: u16, body: &str) {
        *self.script.lock().expect("no poison") = (status, body.to_owned());
    }

    /// How often it was asked so far.
    pub(crate) fn fetches(&self) -> u64 {
        *self.fetches.borrow()
    }

    /// Waits until it was asked so often.
    pub(crate) async fn until_fetches(&self, count: u64) {
        let mut fetches = self.fetches.subscribe();
        let is_there = fetches.wait_for(|fetches| *fetches >= count);
        soon(&format!("{count} fetches of keys"), is_there).await.expect("it runs");
    }
}

async fn answer(mut socket: TcpStream, status: u16, body: &str) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if socket.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    let head = String::from_utf8(head).expect("text");
    assert!(head.starts_with("GET /keys?p=1 HTTP/1.1\r\n"), "{head}");
    let answer = format!(
        "HTTP/1.1 {status} Scripted\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    socket.write_all(answer.as_bytes()).await
}
