//! What pages of tests need besides the edge: a web server of one's own, and a browser.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use super::Scratch;

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

/// A browser that shows one page until it is dropped; `None` where there is none.
pub(crate) fn browse(url: &str, profile: &Scratch, more: &[&str]) -> Option<Child> {
    let Some(chromium) = std::env::var_os("CHATMUX_CHROMIUM") else {
        eprintln!("not run: CHATMUX_CHROMIUM names no browser");
        return None;
    };
    let browser = Command::new(Path::new(&chromium))
        .args([
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
        ])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(more)
        .arg(format!("--user-data-dir={}", profile.path().display()))
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn();
    Some(browser.expect("CHATMUX_CHROMIUM names a browser"))
}
