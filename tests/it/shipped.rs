//! What ships is run: example confs, confs in the docs, the embedding example.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use tokio::process::Command;

use crate::support::{Edge, Scratch, chatmux_with, soon};

/// What the example confs ask of the environment.
const VARIABLES: &[(&str, &str)] = &[
    ("OPENFIRE_TOKEN", "of-the-tests"),
    ("OPENFIRE_PASSWORD", "of-the-tests"),
    ("XIANS_API_KEY", "sk-Xnai-tests"),
    ("JWT_SECRET", "a secret of at least thirty-two bytes"),
    ("SALESFORCE_BEARER", "of-the-tests"),
    ("SALESFORCE_TOKEN", "of-the-tests"),
    ("BRIGHTPATTERN_APP_ID", "of-the-tests"),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every conf file below `conf`.
fn confs() -> Vec<PathBuf> {
    let folders = [root().join("conf"), root().join("conf/examples")];
    let mut confs: Vec<_> = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).expect("a folder"))
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "yaml"))
        .collect();
    confs.sort();
    confs
}

/// The conf with every listener on a free port of loopback.
fn on_free_ports(yaml: &str) -> String {
    let mut out = String::new();
    for line in yaml.lines() {
        let code = line.split('#').next().unwrap_or_default().trim_end();
        match code.split_once("address: ") {
            Some((before, address)) if address.starts_with(|c: char| c.is_ascii_digit()) => {
                let end = address.find([',', '}', ' ']).unwrap_or(address.len());
                out.push_str(&format!("{before}address: \"127.0.0.1:0\"{}", &address[end..]));
            }
            Some(_) | None => out.push_str(line),
        }
        out.push('\n');
    }
    out
}

#[tokio::test]
async fn every_example_conf_runs_and_ends_in_order() {
    let confs = confs();
    assert!(confs.len() >= 6, "{confs:?}");
    for conf in confs {
        let yaml = std::fs::read_to_string(&conf).expect("a conf");
        let mut edge = Edge::start_with(&on_free_ports(&yaml), &[], VARIABLES).await;
        edge.signal("TERM").await;
        assert_eq!(edge.wait_exit().await, 0, "{}", conf.display());
    }
}

/// Fenced blocks of a language, with the line where each begins.
pub(crate) fn blocks(text: &str, language: &str) -> Vec<(usize, String)> {
    let mut blocks = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (number, line) in text.lines().enumerate() {
        match &mut open {
            Some(_) if line.trim() == "```" => blocks.extend(open.take()),
            Some((_, block)) => block.push_str(&format!("{line}\n")),
            None if line.trim() == format!("```{language}") => {
                open = Some((number + 2, String::new()));
            }
            None => {}
        }
    }
    blocks
}

/// The README and every page of the docs.
pub(crate) fn pages() -> Vec<PathBuf> {
    let mut pages = vec![root().join("README.md")];
    for folder in ["docs", "docs/backends"] {
        let entries = std::fs::read_dir(root().join(folder)).expect("a folder");
        pages.extend(
            entries
                .map(|entry| entry.expect("an entry").path())
                .filter(|path| path.extension().is_some_and(|extension| extension == "md")),
        );
    }
    pages
}

#[tokio::test]
async fn every_conf_in_the_docs_is_valid() {
    let scratch = Scratch::new();
    let mut count = 0;
    for page in pages() {
        let text = std::fs::read_to_string(&page).expect("a page");
        for (line, yaml) in blocks(&text, "yaml") {
            if !yaml.starts_with("# file: ") {
                continue;
            }
            count += 1;
            // Paths of files are the reader's own; nothing else may be left to guess.
            let conf = scratch.write("doc.yaml", &yaml);
            let conf = conf.display().to_string();
            let said = chatmux_with(&["check", "-c", &conf], "", VARIABLES).await;
            assert_eq!(said.code, 0, "{}:{line}: {}", page.display(), said.err);
        }
    }
    assert!(count >= 5, "only {count} confs were found");
}

#[tokio::test]
async fn the_embedding_example_serves_streams_beside_its_own_routes() {
    let binary = Path::new(env!("CARGO_BIN_EXE_chatmux")).with_file_name("examples/embed");
    assert!(binary.exists(), "cargo build --examples makes {}", binary.display());
    let source = std::fs::read_to_string(root().join("examples/embed.rs")).expect("the example");
    assert!(source.lines().count() < 60, "it is to fit a screen");
    let scratch = Scratch::new();
    let yaml = std::fs::read_to_string(root().join("conf/examples/xians.yaml")).expect("a conf");
    let conf = scratch.write("conf.yaml", &yaml);
    // The example takes an address; a port that was free a moment ago nearly always still is.
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = free.local_addr().expect("an address");
    drop(free);
    let _embed = Command::new(binary)
        .arg(&conf)
        .arg(address.to_string())
        .envs(VARIABLES.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("it runs");
    let ask = async |path: &str| {
        loop {
            let url = format!("http://{address}{path}");
            let curl = Command::new("curl").args(["-s", "-i", "--max-time", "10", &url]).output();
            let output = curl.await.expect("curl");
            if output.status.success() {
                return String::from_utf8_lossy(&output.stdout).into_owned();
            }
            tokio::task::yield_now().await;
        }
    };
    let other = soon("the example's own route", ask("/elsewhere")).await;
    assert!(other.starts_with("HTTP/1.1 404") && other.contains("not a stream"), "{other}");
    let path = yaml.split("path: ").nth(1).expect("a route").split([',', '\n', '}']).next();
    let stream = soon("chatmux's route", ask(path.expect("a path").trim())).await;
    assert!(stream.starts_with("HTTP/1.1 401"), "{stream}");
}
