//! `chatmux demo`: everything in one process, with no set-up.
//!
//! Four scripted backends speak their dialects over loopback sockets and play a conversation
//! again and again; the proxy stands in front; the merged stream is printed, colour by source.
//! The console page shows the same, and takes messages to the backends, which answer.
//! With `--backends-only` there are the backends alone, for whoever writes a first conf file.

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use clap::error::ErrorKind;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};

use super::terminal::Paint;
use super::{log, tail};
use crate::config;
use crate::edge::{self, Bound, Edge, Hooks, RunOptions};
use crate::proto::sse::Item;
use crate::scripted::{Audience, Backend, Conversation, Kind, Options, Pace};

/// Long enough to read a line, short enough to see something happen.
const BETWEEN_STEPS: Duration = Duration::from_millis(1200);
/// Whose chat it is.
const PARTICIPANT: &str = "jane";
const TENANT: &str = "acme";
const WORKFLOW: &str = "customer-support";
/// The demo's credential: it opens nothing but the demo.
const KEY: &str = "demo-key";
const KEY_SHA256: &str = "c48a01f49fd0f2cc404bc3cbbc80e91457a3d41bb429a695243de4c61794155c";

/// Options of `demo`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  chatmux demo
  chatmux demo --seconds 20 --port 8080
  chatmux demo --backends-only --port 9701    # four backends to try a conf file on")]
pub(super) struct Args {
    /// End after so many seconds; without it, Ctrl-C ends
    #[arg(long)]
    seconds: Option<u64>,
    /// The port of the stream, or of the first backend; 0 = a free one
    #[arg(long, default_value_t = 0)]
    port: u16,
    /// Only the backends, without the proxy: prints the sources for a conf file of yours
    #[arg(long)]
    backends_only: bool,
}

/// The ports of the backends, from the first on; free ones where that is 0. `None`: there are not
/// so many left.
fn ports(first: u16) -> Option<Vec<u16>> {
    let port = |index| match first {
        0 => Some(0),
        first => first.checked_add(u16::try_from(index).ok()?),
    };
    (0..Kind::ALL.len()).map(port).collect()
}

pub(super) fn run(args: &Args) -> Result<(), String> {
    if args.backends_only && ports(args.port).is_none() {
        let last = usize::from(u16::MAX) + 1 - Kind::ALL.len();
        let message = format!(
            "--port {}: the {} backends take so many ports from there on; {last} is the last that \
             leaves room\n",
            args.port,
            Kind::ALL.len()
        );
        clap::Error::raw(ErrorKind::ValueValidation, message).exit();
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    let audience = Audience::new(PARTICIPANT).tenant(TENANT).workflow(WORKFLOW);
    let first_port = if args.backends_only { args.port } else { 0 };
    let backends = runtime.block_on(start_backends(&audience, first_port))?;
    if args.backends_only {
        show_backends(&backends, &audience)?;
        runtime.block_on(until_ended(args.seconds.map(Duration::from_secs)));
        return Ok(());
    }
    let conf = conf(args.port, &backends, &audience);
    let loaded = config::parse(&conf, "demo.yaml", Path::new("."), &|_| None)
        .map_err(|errors| errors.to_string())?;
    log::init(loaded.config.log);
    let edge = Edge::new(Arc::new(loaded.config))?;
    let options =
        RunOptions { stop_after: args.seconds.map(Duration::from_secs), ..RunOptions::default() };
    let on_ready = |bound: &Bound| {
        if let (Some((url, _)), Some(admin)) = (bound.listen.first(), bound.admin) {
            show(url, &format!("http://{admin}"));
        }
    };
    let hooks = Hooks { on_ready: Box::new(on_ready), ..Hooks::default() };
    let done = edge::run(edge, &options, hooks);
    drop(backends);
    runtime.shutdown_timeout(Duration::from_secs(1));
    done
}

/// Says what a conf file needs to know of the backends.
fn show_backends(backends: &[Backend], audience: &Audience) -> Result<(), String> {
    let text = format!(
        "Four scripted backends. In a conf file:\n\nsources:\n{}\n\
         They talk to participantId={PARTICIPANT}, tenantId={TENANT}, workflow={WORKFLOW}.\n",
        sources(backends, audience),
    );
    super::print(text.as_bytes())
}

/// Until a signal, or the end of the time.
async fn until_ended(time: Option<Duration>) {
    let terminated = async {
        match signal(SignalKind::terminate()) {
            Ok(mut terminate) => terminate.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    let time_is_over = async {
        match time {
            Some(time) => tokio::time::sleep(time).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = terminated => {}
        _ = tokio::signal::ctrl_c() => {}
        () = time_is_over => {}
    }
}

/// Starts all four, each playing its conversation again and again. The ports follow one another,
/// or are free ones.
async fn start_backends(audience: &Audience, first_port: u16) -> Result<Vec<Backend>, String> {
    let mut backends = Vec::new();
    let ports = ports(first_port).unwrap_or_default();
    for (index, (kind, port)) in Kind::ALL.iter().zip(ports).enumerate() {
        let options = Options {
            port,
            tokens: vec![(PARTICIPANT.to_owned(), "demo-token".to_owned())],
            api_keys: vec![("sk-Xnai-demo".to_owned(), TENANT.to_owned())],
            chats: vec![(audience.conversation.clone(), String::new())],
            echo: true,
            answers: true,
            ..Options::default()
        };
        let backend = Backend::start(*kind, options).await.map_err(|error| {
            format!("a scripted backend cannot listen on 127.0.0.1:{port}: {error}")
        })?;
        let conversation = match kind {
            Kind::Salesforce => Conversation::assistant_case(),
            Kind::Openfire | Kind::Xians | Kind::BrightPattern => Conversation::support_case(),
        };
        // Out of step, so that the merged stream shows all four side by side.
        let pace = BETWEEN_STEPS + Duration::from_millis(170) * u32::try_from(index).unwrap_or(0);
        backend.play(audience, &conversation, Pace::forever(pace));
        backends.push(backend);
    }
    Ok(backends)
}

/// The conf file that an operator would have written.
fn conf(port: u16, backends: &[Backend], audience: &Audience) -> String {
    let mut conf = format!(
        "version: 1\n\
         listen: [{{address: \"127.0.0.1:{port}\"}}]\n\
         admin: {{address: \"127.0.0.1:0\", console: true}}\n\
         server: {{threads: 1, drain: 1s}}\n\
         cors: {{allow_origins: [\"*\"]}}\n\
         auth: {{api_keys: [{{label: demo, sha256: \"{KEY_SHA256}\", tenants: [{TENANT}]}}]}}\n\
         replay: {{linger: 5s}}\n\
         log: {{level: warn, format: text}}\n\
         sources:\n"
    );
    conf.push_str(&sources(backends, audience));
    conf.push_str(
        "routes:\n  - {path: /api/user/sse/events, sources: [desk, care, agent, voice], \
         allow_errors_event: true}\n\
         proxy:\n\
         \x20 - {path: /desk/, source: desk, to: /api/rest/}\n\
         \x20 - {path: /agent/, source: agent, to: /api/user/rest/}\n\
         \x20 - {path: /care/, source: care, to: /iamessage/api/v2/}\n\
         \x20 - {path: /voice/, source: voice}\n",
    );
    conf
}

/// Their entries in a conf file.
fn sources(backends: &[Backend], audience: &Audience) -> String {
    let chat = &audience.conversation;
    let mut conf = String::new();
    for backend in backends {
        let url = backend.url();
        let (name, options) = match backend.kind() {
            // A token of Openfire dies with its stream, so whoever comes back needs a log-in.
            Kind::Openfire => (
                "desk",
                "backend: openfire, login: {username: \"{participantId}\", password: demo}"
                    .to_owned(),
            ),
            Kind::Xians => ("agent", "backend: xians, api_key: sk-Xnai-demo".to_owned()),
            Kind::Salesforce => (
                "care",
                format!(
                    "backend: salesforce, org_id: \"00D000000000001\", bearer: demo-token, \
                     conversation: \"{chat}\""
                ),
            ),
            Kind::BrightPattern => (
                "voice",
                format!(
                    "backend: brightpattern, app_id: webchat, tenant_url: demo.example.com, \
                     chat: \"{chat}\""
                ),
            ),
        };
        conf.push_str(&format!("  {name}: {{{options}, url: \"{url}\"}}\n"));
    }
    conf
}

/// Prints the addresses, then the stream.
fn show(url: &str, admin: &str) {
    let who =
        format!("tenantId={TENANT}&workflow={WORKFLOW}&participantId={PARTICIPANT}&apikey={KEY}");
    let stream = format!("{url}/api/user/sse/events?{who}");
    println!("Four scripted backends, one stream. See it, and write to it, in a browser:");
    println!();
    println!("  {admin}/console/#{who}");
    println!();
    println!("Or from another terminal:");
    println!();
    println!("  curl -N '{stream}'");
    println!("  new EventSource('{stream}')");
    println!("  {admin}/metrics    {admin}/streams    {admin}/ready");
    println!();
    let args = tail::Args { url: stream, headers: Vec::new(), once: true };
    let paint = Paint::of(&io::stdout());
    std::thread::spawn(move || {
        let mut print = |item: &Item<'_>| match item {
            Item::Frame(frame) => {
                let (colour, line) = line(frame.event, frame.data);
                writeln!(io::stdout(), "{}", paint.paint(colour, &line)).is_ok()
            }
            Item::Oversize { .. } => true,
        };
        // It ends with the demo, and there is nobody left to tell.
        let _ended = tail::follow_blocking(&args, &mut print).is_ok();
    });
}

/// One event on one line, and the colour of its backend: when, where, what, who, words.
fn line(event: &str, data: &str) -> (&'static str, String) {
    let data: Value = serde_json::from_str(data).unwrap_or_default();
    let text = |pointer: &str| data.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let source = match text("/source/backend") {
        "" => "chatmux",
        backend => backend,
    };
    let colour = match source {
        "openfire" => "36",
        "salesforce" => "34",
        "xians" => "35",
        "brightpattern" => "33",
        _ => "90",
    };
    let time = text("/createdAt").get(11..19).or_else(|| text("/timestamp").get(11..19));
    let who = match (text("/sender/name"), text("/sender/role")) {
        ("", role) => role,
        (name, _) => name,
    };
    let words = match text("/text") {
        "" => summary(&data),
        text => text.replace('\n', " / "),
    };
    let line = format!("{} {source:<13} {event:<12} {who:<16} {words}", time.unwrap_or("        "));
    (colour, line)
}

/// What an event without words says.
fn summary(data: &Value) -> String {
    if let Some(count) = data.get("subscriberCount") {
        return format!("{count} listening");
    }
    let data = data.get("data").or_else(|| data.get("source")).unwrap_or(&Value::Null);
    match data {
        Value::Null => String::new(),
        data => data.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backends_stand_on_ports_in_a_row_that_exist() {
        assert_eq!(ports(9701), Some(vec![9701, 9702, 9703, 9704]));
        assert_eq!(ports(0), Some(vec![0; 4]));
        assert_eq!(ports(65532), Some(vec![65532, 65533, 65534, 65535]));
        assert_eq!(ports(65533), None);
    }

    #[test]
    fn an_event_is_one_line() {
        let data = r#"{"createdAt":"2026-01-19T18:43:09.074Z","text":"a\nb","sender":{"role":"bot"},"source":{"backend":"xians"}}"#;
        assert_eq!(
            line("Chat", data).1,
            "18:43:09 xians         Chat         bot              a / b"
        );
        assert_eq!(
            line("heartbeat", r#"{"timestamp":"2026-01-19T18:43:09.074Z","subscriberCount":2}"#).1,
            "18:43:09 chatmux       heartbeat                     2 listening"
        );
    }
}
