//! Clients of other people at work: gives them jobs, keeps what they hear.
//!
//! A client runs in a process of its language, or in a page of Chromium, and does any number of
//! jobs at a time (`tests/clients`). curl has a process for each. Not here: what jobs there are.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use chatmux::proto::sse::{Decoder, Item, Limits};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpListener;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};

use super::page;
use crate::support::{Scratch, browse, npm, pip, soon};

/// Jobs that may wait for a client.
const JOBS_MAX: usize = 1000;
/// An event of the tests is smaller.
const EVENT_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Who {
    Chromium,
    FetchEventSource,
    NpmEventSource,
    Parser,
    HttpxSse,
    Sseclient,
    Curl,
}

impl Who {
    pub(super) const ALL: [Self; 7] = [
        Self::Chromium,
        Self::FetchEventSource,
        Self::NpmEventSource,
        Self::Parser,
        Self::HttpxSse,
        Self::Sseclient,
        Self::Curl,
    ];

    /// What the docs call it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Chromium => "EventSource of Chromium",
            Self::FetchEventSource => "`@microsoft/fetch-event-source`",
            Self::NpmEventSource => "npm `eventsource`",
            Self::Parser => "`eventsource-parser`, fetch",
            Self::HttpxSse => "`httpx-sse`",
            Self::Sseclient => "`sseclient-py`, requests",
            Self::Curl => "`curl`",
        }
    }

    pub(super) const fn is_in_browser(self) -> bool {
        matches!(self, Self::Chromium | Self::FetchEventSource)
    }

    /// By what the page calls it.
    fn in_page(name: &str) -> Self {
        match name {
            "EventSource" => Self::Chromium,
            "fetch-event-source" => Self::FetchEventSource,
            other => panic!("no such client in the page: {other}"),
        }
    }
}

/// What a client is to do.
#[derive(Clone, Debug)]
pub(super) struct Job {
    pub(super) who: Who,
    pub(super) name: String,
    pub(super) url: String,
    pub(super) method: &'static str,
    /// What an EventSource listens to.
    pub(super) names: Vec<String>,
    pub(super) headers: Vec<(&'static str, String)>,
    pub(super) cookie: Option<String>,
    /// Where tickets come from, and what to show there as `Authorization`.
    pub(super) ticket: Option<(String, String)>,
    /// Comes back as its documentation shows; otherwise the library is left alone.
    pub(super) stay: bool,
}

impl Job {
    pub(super) fn alone(who: Who, name: &str, url: String) -> Self {
        Self {
            who,
            name: name.to_owned(),
            url,
            method: "GET",
            names: vec!["Chat".to_owned()],
            headers: Vec::new(),
            cookie: None,
            ticket: None,
            stay: false,
        }
    }

    fn json(&self) -> Value {
        let headers: BTreeMap<_, _> = self.headers.iter().cloned().collect();
        let ticket = self.ticket.as_ref();
        let ticket = ticket.map(
            |(url, authorization)| json!({"url": url, "headers": {"Authorization": authorization}}),
        );
        let client = match self.who {
            Who::Chromium => "EventSource",
            _ => "fetch-event-source",
        };
        json!({
            "client": client, "job": self.name, "url": self.url, "method": self.method,
            "names": self.names, "headers": headers, "cookie": self.cookie, "ticket": ticket,
            "stay": self.stay,
        })
    }
}

/// One thing that a client says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// An event; the id is empty, or the last one, where it has none.
    Event { name: String, id: String, data: String },
    /// A comment line.
    Comment,
    /// It does no more, and why.
    Over(String),
}

impl Line {
    fn read(line: &Value) -> Self {
        let text = |name: &str| line[name].as_str().unwrap_or_default().to_owned();
        match line["kind"].as_str() {
            Some("event") => Self::Event { name: text("name"), id: text("id"), data: text("data") },
            Some("comment") => Self::Comment,
            Some("over") => Self::Over(text("why")),
            other => panic!("a client says {other:?}: {line}"),
        }
    }
}

type Lines = watch::Sender<Vec<Line>>;
type ByJob = BTreeMap<(Who, String), Arc<Lines>>;

/// What was heard, by client and job.
#[derive(Clone, Default)]
pub(super) struct Heard(Arc<Mutex<ByJob>>);

impl Heard {
    fn of(&self, who: Who, job: &str) -> Arc<Lines> {
        let mut all = self.0.lock().expect("no poison");
        let lines = all.entry((who, job.to_owned()));
        lines.or_insert_with(|| Arc::new(watch::Sender::new(Vec::new()))).clone()
    }

    fn add(&self, who: Who, job: &str, line: Line) {
        self.of(who, job).send_modify(|lines| lines.push(line));
    }

    /// A line of JSON, as runners write it.
    pub(super) fn tell(&self, who: Option<Who>, line: &str) {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let text = |name: &str| line[name].as_str().expect("a text").to_owned();
        let who = who.unwrap_or_else(|| Who::in_page(&text("client")));
        self.add(who, &text("job"), Line::read(&line));
    }
}

/// All clients.
pub(super) struct Desk {
    pub(super) heard: Heard,
    /// The origin of the page.
    pub(super) origin: String,
    jobs: BTreeMap<Who, mpsc::Sender<String>>,
    folder: std::path::PathBuf,
    authority: String,
    _children: Vec<Child>,
    _profile: Scratch,
}

impl Desk {
    /// Installs and starts all clients; `None` where there is no browser. `authority` is the
    /// file of the certificate that they trust.
    pub(super) async fn start(authority: &Path) -> Option<Self> {
        let install = || {
            let folder = npm("clients", &[]);
            let python = pip(&folder);
            (folder, python)
        };
        let (folder, python) = tokio::task::spawn_blocking(install).await.expect("installed");
        let (heard, mut jobs, mut children) = (Heard::default(), BTreeMap::new(), Vec::new());
        let python = python.display().to_string();
        for (who, program, script) in [
            (Who::NpmEventSource, "node", "eventsource.mjs"),
            (Who::Parser, "node", "eventsource-parser.mjs"),
            (Who::HttpxSse, python.as_str(), "httpx_sse_runner.py"),
            (Who::Sseclient, python.as_str(), "sseclient_runner.py"),
        ] {
            let mut command = Command::new(program);
            command.arg(script).current_dir(&folder);
            trust(&mut command, authority);
            let (sender, child) = start(who, command, heard.clone());
            jobs.insert(who, sender);
            children.push(child);
        }
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let origin = format!("http://{}", listener.local_addr().expect("an address"));
        let (sender, queue) = mpsc::channel(JOBS_MAX);
        page::serve(listener, folder.clone(), queue, heard.clone());
        jobs.insert(Who::Chromium, sender.clone());
        jobs.insert(Who::FetchEventSource, sender);
        let profile = Scratch::new();
        children.push(browse(&origin, &profile, &["--ignore-certificate-errors"])?);
        let authority = authority.display().to_string();
        let (_children, _profile) = (children, profile);
        Some(Self { heard, origin, jobs, folder, authority, _children, _profile })
    }

    /// Gives a job to its client.
    pub(super) async fn give(&self, job: &Job) {
        if job.who == Who::Curl {
            tokio::spawn(curl(self.command(job), job.clone(), self.heard.clone()));
            return;
        }
        let sent = self.jobs[&job.who].send(job.json().to_string());
        soon("the client takes a job", sent).await.expect("the client lives");
    }

    fn command(&self, job: &Job) -> Command {
        let mut command = Command::new("sh");
        command.current_dir(&self.folder);
        command.args(["curl.sh", if job.stay { "stay" } else { "alone" }, &job.url]);
        if job.method != "GET" {
            command.args(["-X", job.method]);
        }
        for (name, value) in &job.headers {
            command.args(["-H", &format!("{name}: {value}")]);
        }
        if let Some(cookie) = &job.cookie {
            command.args(["-b", cookie]);
        }
        if let Some((url, authorization)) = &job.ticket {
            command.env("TICKET_URL", url);
            command.env("TICKET_HEADER", format!("Authorization: {authorization}"));
        }
        trust(&mut command, Path::new(&self.authority));
        command
    }

    /// What a client has said on a job so far.
    pub(super) fn lines(&self, who: Who, job: &str) -> Vec<Line> {
        self.heard.of(who, job).borrow().clone()
    }

    /// Waits until something is true of what a client has said.
    pub(super) async fn until(&self, who: Who, job: &str, is_true: impl Fn(&[Line]) -> bool) {
        let mut lines = self.heard.of(who, job).subscribe();
        lines.wait_for(|lines| is_true(lines)).await.map(drop).expect("the desk lives");
    }

    /// Waits until a client does no more, and says why.
    pub(super) async fn over(&self, who: Who, job: &str) -> String {
        let why = |lines: &[Line]| {
            lines.iter().find_map(|line| match line {
                Line::Over(why) => Some(why.clone()),
                Line::Event { .. } | Line::Comment => None,
            })
        };
        self.until(who, job, |lines| why(lines).is_some()).await;
        why(&self.lines(who, job)).expect("it has just been seen")
    }
}

/// The certificate of the tests, in the way of each.
fn trust(command: &mut Command, authority: &Path) {
    for name in ["CHATMUX_CA", "NODE_EXTRA_CA_CERTS", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"] {
        command.env(name, authority);
    }
    command.env("NO_PROXY", "127.0.0.1").env("PYTHONDONTWRITEBYTECODE", "1");
}

/// Starts a process that takes lines and writes lines.
fn start(who: Who, mut command: Command, heard: Heard) -> (mpsc::Sender<String>, Child) {
    let (sender, mut queue) = mpsc::channel::<String>(JOBS_MAX);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = command.kill_on_drop(true).spawn().expect("a client starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    tokio::spawn(async move {
        while let Some(job) = queue.recv().await {
            stdin.write_all(format!("{job}\n").as_bytes()).await.expect("the client reads");
        }
    });
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    tokio::spawn(async move {
        while let Some(line) = lines.next_line().await.expect("UTF-8") {
            heard.tell(Some(who), &line);
        }
    });
    (sender, child)
}

/// One job of curl's: what it prints is read by our own decoder.
async fn curl(mut command: Command, job: Job, heard: Heard) {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.kill_on_drop(true).spawn().expect("a shell");
    let mut out = child.stdout.take().expect("a pipe");
    let (mut bytes, mut reader) = (vec![0; 64 * 1024], Reader::default());
    loop {
        let read = out.read(&mut bytes).await.expect("a pipe");
        if read == 0 {
            break;
        }
        for line in reader.read(&bytes[..read]) {
            heard.add(job.who, &job.name, line);
        }
    }
    let status = child.wait().await.expect("a status");
    let why = match status.code() {
        Some(0) => "ends".to_owned(),
        Some(code) => format!("exit {code}"),
        None => format!("{status}"),
    };
    heard.add(job.who, &job.name, Line::Over(why));
}

/// The reference: bytes as our own decoder reads them.
pub(super) struct Reader {
    decoder: Decoder,
    is_at_start: bool,
}

impl Default for Reader {
    fn default() -> Self {
        let limits = Limits { line_bytes_max: EVENT_BYTES_MAX, event_bytes_max: EVENT_BYTES_MAX };
        Self { decoder: Decoder::new(limits), is_at_start: true }
    }
}

impl Reader {
    /// What the next bytes say. The id of an event without one is empty.
    pub(super) fn read(&mut self, bytes: &[u8]) -> Vec<Line> {
        let mut lines = Vec::new();
        for byte in bytes {
            if self.is_at_start && *byte == b':' {
                lines.push(Line::Comment);
            }
            self.is_at_start = *byte == b'\n';
        }
        self.decoder.push(Bytes::copy_from_slice(bytes));
        while let Some(item) = self.decoder.next_item() {
            match item {
                Item::Frame(frame) => lines.push(Line::Event {
                    name: frame.event.to_owned(),
                    id: if frame.has_id { frame.id.to_owned() } else { String::new() },
                    data: frame.data.to_owned(),
                }),
                Item::Oversize { event } => panic!("{event} is too large for the tests"),
            }
        }
        lines
    }
}
