//! The command as people run it: arguments, standard input, what comes out.

use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

use super::soon;

static SCRATCHES: AtomicU32 = AtomicU32::new(0);

/// A folder of one test, gone when dropped.
pub(crate) struct Scratch(PathBuf);

impl Scratch {
    pub(crate) fn new() -> Self {
        let number = SCRATCHES.fetch_add(1, Ordering::Relaxed);
        let name = format!("chatmux-it-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).expect("a folder");
        Self(path)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.0
    }

    pub(crate) fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("a file");
        path
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What is left behind is the system's to clean.
        let _is_gone = std::fs::remove_dir_all(&self.0).is_ok();
    }
}

/// What a command said and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs `chatmux` to its end.
pub(crate) async fn chatmux(args: &[&str]) -> Said {
    chatmux_with(args, "", &[]).await
}

/// The same with standard input and environment variables.
pub(crate) async fn chatmux_with(args: &[&str], input: &str, variables: &[(&str, &str)]) -> Said {
    let mut child = Command::new(env!("CARGO_BIN_EXE_chatmux"))
        .args(args)
        .env_remove("RUST_LOG")
        .env("NO_COLOR", "1")
        .envs(variables.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    let feed = async move {
        // A command that reads nothing may be gone before all is written.
        let _is_written = stdin.write_all(input.as_bytes()).await.is_ok();
    };
    let both = async { tokio::join!(feed, child.wait_with_output()).1 };
    let Output { status, stdout, stderr } =
        soon(&format!("the end of chatmux {args:?}"), both).await.expect("an output");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    let (out, err) = (text(stdout), text(stderr));
    let code = status.code().unwrap_or_else(|| panic!("{args:?}: {status}\n{err}"));
    Said { code, out, err }
}

/// Starts the demo on free ports, and reads what it prints up to what is looked for.
pub(crate) async fn demo(find: impl Fn(&str) -> Option<String>) -> (Child, String) {
    let mut demo = Command::new(env!("CARGO_BIN_EXE_chatmux"))
        .args(["demo", "--port", "0"])
        .env("NO_COLOR", "1")
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("the binary runs");
    let mut lines = BufReader::new(demo.stdout.take().expect("a pipe")).lines();
    let found = async {
        loop {
            let line = lines.next_line().await.expect("a line").expect("it runs");
            if let Some(found) = find(&line) {
                return found;
            }
        }
    };
    let found = soon("the demo says what is looked for", found).await;
    // The stream is printed all the while; nobody may wait for this side to read it.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (demo, found)
}
