//! What a request costs before it is a stream: whether it is let in, and how often.
//!
//! Measured on requests that are refused, over a pipe in memory: the head is read by Pingora, the
//! answer written, so these are sums with HTTP in them. Their growth is what counts.

use std::path::Path;
use std::sync::Arc;

use chatmux::{Edge, config};
use criterion::{BenchmarkId, Criterion};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use pingora::prelude::Session;
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::runtime::{Builder, Runtime};

const SECRET: &str = "a secret of thirty-two bytes, at least";
/// As much as a head and a refusal take.
const PIPE_BYTES: usize = 16 * 1024;

fn key(number: usize) -> String {
    format!("cmx_key-number-{number}")
}

/// An edge with so many keys, each of which may ask once an hour.
fn edge(keys: usize) -> Arc<Edge> {
    let mut listed = String::new();
    for number in 0..keys {
        let digest: String =
            Sha256::digest(key(number)).iter().map(|byte| format!("{byte:02x}")).collect();
        listed.push_str(&format!("    - {{label: k{number}, sha256: \"{digest}\"}}\n"));
    }
    let text = format!(
        "listen: [{{address: \"127.0.0.1:0\"}}]\n\
         auth:\n  api_keys:\n{listed}  jwt:\n    - {{issuer: bench, algorithms: [HS256], \
         secret: \"{SECRET}\"}}\n\
         limits: {{subject: {{requests: 1/h, burst: 1}}}}\n\
         sources: {{desk: {{backend: xians, url: \"http://127.0.0.1:9\", api_key: k}}}}\n\
         routes: [{{path: /events, sources: [desk]}}]\n"
    );
    let loaded = config::parse(&text, "bench.yaml", Path::new(""), &|_| None);
    let loaded = loaded.unwrap_or_else(|errors| panic!("{errors}"));
    Edge::new(Arc::new(loaded.config)).expect("an edge")
}

/// Asks, and gives the status of the answer.
fn ask(runtime: &Runtime, edge: &Arc<Edge>, method: &str, credential: &str) -> String {
    runtime.block_on(async {
        let (mut client, server) = tokio::io::duplex(PIPE_BYTES);
        let request = format!(
            "{method} /events?tenantId=acme&workflow=support&participantId=jane HTTP/1.1\r\n\
             Host: bench\r\nAuthorization: Bearer {credential}\r\nConnection: close\r\n\r\n"
        );
        client.write_all(request.as_bytes()).await.expect("written");
        let mut session = Session::new_h1(Box::new(server));
        session.as_downstream_mut().read_request().await.expect("a head");
        edge.serve(&mut session).await;
        drop(session);
        let mut status = [0; 12];
        client.read_exact(&mut status).await.expect("an answer");
        String::from_utf8_lossy(status.get(9..).unwrap_or_default()).into_owned()
    })
}

fn expired() -> String {
    let claims = serde_json::json!({"iss": "bench", "sub": "jane", "exp": 1_000_000_000});
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &key).expect("a token")
}

/// Unknown keys, tokens and spent budgets, with 1, 10 and 100 keys configured.
pub(crate) fn bench(criterion: &mut Criterion) {
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let token = expired();
    for (name, method, credential, want) in [
        ("auth: unknown key", "GET", "cmx_unknown".to_owned(), "401"),
        ("auth: signed token", "GET", token, "401"),
        ("limiter: spent budget", "HEAD", key(0), "429"),
    ] {
        let mut group = criterion.benchmark_group(name);
        for keys in [1, 10, 100] {
            let edge = edge(keys);
            ask(&runtime, &edge, method, &credential);
            assert_eq!(ask(&runtime, &edge, method, &credential), want, "{name}");
            group.bench_function(BenchmarkId::from_parameter(keys), |bencher| {
                bencher.iter(|| ask(&runtime, &edge, method, &credential));
            });
        }
        group.finish();
    }
}
