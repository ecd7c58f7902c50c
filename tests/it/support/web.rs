//! What pages of tests need besides the edge: a web server of one's own, and a pipe to cut.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// One request of a page.
#[derive(Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) body: Vec<u8>,
}

/// Serves pages until the test ends: each request is given to `answer`, which gives a media type
/// and a body, or a 404.
pub(crate) fn serve_web<F, A>(listener: TcpListener, answer: F)
where
    F: Fn(Asked) -> A + Send + Sync + 'static,
    A: Future<Output = Option<(&'static str, String)>> + Send,
{
    let answer = Arc::new(answer);
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let answer = answer.clone();
            tokio::spawn(async move {
                let mut socket = BufReader::new(socket);
                let Some(asked) = read(&mut socket).await else {
                    return;
                };
                let (status, (media, body)) = match answer(asked).await {
                    Some(answer) => ("200 OK", answer),
                    None => ("404 Not Found", ("text/plain", String::new())),
                };
                let head = format!(
                    "HTTP/1.1 {status}\r\ncontent-type: {media}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                    body.len()
                );
                let _sent = socket.write_all(format!("{head}{body}").as_bytes()).await.is_ok();
            });
        }
    });
}

async fn read(socket: &mut BufReader<TcpStream>) -> Option<Asked> {
    let (mut first, mut length) = (String::new(), 0);
    loop {
        let mut line = String::new();
        if socket.read_line(&mut line).await.unwrap_or(0) == 0 {
            return None;
        }
        if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = value.trim().parse().expect("a length");
        }
        if line == "\r\n" {
            break;
        }
        if first.is_empty() {
            first = line;
        }
    }
    let mut body = vec![0; length];
    socket.read_exact(&mut body).await.expect("a body");
    let mut words = first.split(' ');
    let mut word = || words.next().unwrap_or_default().to_owned();
    Some(Asked { method: word(), path: word(), body })
}

/// A pipe to the edge that can be cut.
pub(crate) async fn cuttable(target: SocketAddr) -> (SocketAddr, watch::Sender<u32>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (cut, cuts) = watch::channel(0);
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let mut cuts = cuts.clone();
            cuts.mark_unchanged();
            tokio::spawn(async move {
                let Ok(mut far) = TcpStream::connect(target).await else {
                    return;
                };
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    _ = cuts.changed() => {}
                }
            });
        }
    });
    (address, cut)
}
