//! The page in which Chromium's clients run: its files, its jobs, its reports.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{Mutex, mpsc};

use super::desk::Heard;
use crate::support::{Asked, serve_web};

type Answer = Option<(&'static str, String)>;

/// Serves the page from a folder.
pub(super) fn serve(
    listener: TcpListener,
    folder: PathBuf,
    jobs: mpsc::Receiver<String>,
    heard: Heard,
) {
    let jobs = Arc::new(Mutex::new(jobs));
    serve_web(listener, move |asked| {
        let (folder, jobs, heard) = (folder.clone(), jobs.clone(), heard.clone());
        async move { answer(asked, &folder, &jobs, &heard).await }
    });
}

async fn answer(
    asked: Asked,
    folder: &Path,
    jobs: &Mutex<mpsc::Receiver<String>>,
    heard: &Heard,
) -> Answer {
    match (asked.method.as_str(), asked.path.as_str()) {
        ("POST", "/report") => {
            for line in String::from_utf8(asked.body).expect("UTF-8").lines() {
                heard.tell(None, line);
            }
            Some(("text/plain", String::new()))
        }
        ("GET", "/jobs") => {
            let job = jobs.lock().await.recv().await?;
            Some(("application/json", format!("[{job}]")))
        }
        ("GET", path) => {
            let (file, content_type) = file(folder, path);
            Some((content_type, std::fs::read_to_string(file).unwrap_or_default()))
        }
        other => panic!("the page asks for {other:?}"),
    }
}

/// A file, and what it is. Modules name others without their ending.
fn file(folder: &Path, path: &str) -> (PathBuf, &'static str) {
    assert!(!path.contains(".."), "{path} leads out of the folder");
    if path == "/" {
        return (folder.join("page.html"), "text/html");
    }
    let file = folder.join(path.trim_start_matches('/'));
    match file.extension() {
        Some(_) => (file, "text/javascript"),
        None => (file.with_extension("js"), "text/javascript"),
    }
}
