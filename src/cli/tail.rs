//! `chatmux tail`: prints the events of any stream, with reconnect.
//!
//! Each event on a line: its name and its data. Comes back with the last event id, after the
//! pause that the stream or a refusal (429, 5xx) asked for; 204, and an answer that is no stream,
//! end it, as they end a browser's EventSource. What was lost, and that it is back, stands on standard error. The demo follows
//! its own stream with the same code.

use std::io::{self, Write};
use std::time::Duration;

use pingora::connectors::http::Connector;

use super::stream;
use super::terminal::{Paint, colour};
use crate::config::Url;
use crate::edge::parse_retry_after;
use crate::proto::sse::{Decoder, Item, Limits};

/// Until the stream says otherwise.
const RETRY: Duration = Duration::from_secs(3);
/// A stream that asks for a longer pause is not obeyed.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Nobody is asked again at once, whatever they say.
const RETRY_MIN: Duration = Duration::from_millis(250);
/// A refusal that asks for a longer pause is not obeyed either.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// Options of `tail`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  chatmux tail 'http://127.0.0.1:8080/api/user/sse/events?workflow=support&participantId=jane&tenantId=acme&apikey=...'
  chatmux tail -H 'Authorization: Bearer ...' --once URL")]
pub(super) struct Args {
    /// The stream
    #[arg(value_parser = stream::url)]
    pub(super) url: String,
    /// A header to send along; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = stream::header)]
    pub(super) headers: Vec<String>,
    /// Do not come back when the stream ends
    #[arg(long)]
    pub(super) once: bool,
}

/// Gets each event; `false` = enough was seen.
pub(super) type OnItem<'a> = &'a mut dyn FnMut(&Item<'_>) -> bool;

/// How one connection ended.
enum End {
    /// Why, and the pause that was asked for.
    Lost(String, Option<Duration>),
    Final(Result<(), String>),
}

pub(super) fn run(args: &Args) -> Result<(), String> {
    let paint = Paint::of(&io::stdout());
    let mut print = |item: &Item<'_>| {
        let mut stdout = io::stdout().lock();
        let written = match item {
            Item::Frame(frame) => {
                let name = paint.paint(colour_of(frame.event), frame.event);
                writeln!(stdout, "{name} {}", frame.data)
            }
            Item::Oversize { event } => writeln!(stdout, "{event} (too large)"),
        };
        let is_written = written.and_then(|()| stdout.flush()).is_ok();
        if let Item::Frame(frame) = item
            && let Some(notice) = notice(frame.event, frame.data)
        {
            tell(&notice);
        }
        is_written
    };
    follow_blocking(args, &mut print)
}

/// Messages stand out from what is said about the stream.
fn colour_of(event: &str) -> &'static str {
    match event {
        "gap" | "source_down" | "disconnected" | "error" => colour::YELLOW,
        "connected" | "source_up" | "heartbeat" => colour::GREY,
        _ => colour::GREEN,
    }
}

/// What somebody who watches must not overlook.
fn notice(event: &str, data: &str) -> Option<String> {
    let data: serde_json::Value = serde_json::from_str(data).unwrap_or_default();
    let text = |pointer: &str| data.pointer(pointer).and_then(serde_json::Value::as_str);
    let reason = text("/reason").unwrap_or("no reason given");
    match event {
        "gap" => {
            let source = text("/source/name").map(|name| format!(" of {name}"));
            let since = text("/since").map(|since| format!(" since {since}"));
            let (source, since) = (source.unwrap_or_default(), since.unwrap_or_default());
            Some(format!("gap: events{source} may be missing{since} ({reason})"))
        }
        "connected" if data.get("resumed").is_some_and(|resumed| resumed == true) => {
            Some("back, from where it was".to_owned())
        }
        _ => None,
    }
}

/// A line about the stream, beside it.
fn tell(text: &str) {
    eprintln!("{} {text}", Paint::of(&io::stderr()).paint(colour::YELLOW, "chatmux:"));
}

/// Follows a stream on a runtime of its own, until it ends for good.
pub(super) fn follow_blocking(args: &Args, on_item: OnItem<'_>) -> Result<(), String> {
    let runtime = super::runtime()?;
    runtime.block_on(follow(args, on_item))
}

async fn follow(args: &Args, on_item: OnItem<'_>) -> Result<(), String> {
    let (url, query) = stream::parse(&args.url)?;
    let target = if query.is_empty() { url.path.clone() } else { format!("{}?{query}", url.path) };
    let connector = Connector::new(None);
    let mut last_event_id = String::new();
    let mut retry = RETRY;
    loop {
        let mut decoder = Decoder::new(Limits::default());
        let target = Target { url: &url, target: &target, last_event_id: &last_event_id };
        let end = connect(args, &connector, target, &mut decoder, on_item).await;
        if !decoder.last_event_id().is_empty() {
            decoder.last_event_id().clone_into(&mut last_event_id);
        }
        if let Some(millis) = decoder.retry_millis() {
            retry = Duration::from_millis(millis).min(RETRY_MAX);
        }
        match end {
            End::Final(result) => return result,
            End::Lost(why, _) if args.once => return Err(why),
            End::Lost(why, asked) => {
                let pause = asked.unwrap_or(retry).clamp(RETRY_MIN, RETRY_AFTER_MAX);
                tell(&format!("lost: {why}; again in {:.1} s", pause.as_secs_f64()));
                tokio::time::sleep(pause).await;
            }
        }
    }
}

/// What is asked for.
#[derive(Clone, Copy)]
struct Target<'a> {
    url: &'a Url,
    target: &'a str,
    last_event_id: &'a str,
}

async fn connect(
    args: &Args,
    connector: &Connector,
    target: Target<'_>,
    decoder: &mut Decoder,
    on_item: OnItem<'_>,
) -> End {
    let Target { url, target, last_event_id } = target;
    let cursor = [("Last-Event-ID", last_event_id)];
    let ours = if last_event_id.is_empty() { &[][..] } else { &cursor };
    let request = match stream::request(url, target, ours, &args.headers) {
        Ok(request) => request,
        Err(why) => return End::Final(Err(why)),
    };
    let mut opened = match stream::open(connector, url, request).await {
        Ok(opened) => opened,
        Err(why) => return End::Lost(why, None),
    };
    let status = opened.status;
    if status != 200 {
        let retry_after = opened.headers.get("retry-after").and_then(|value| value.to_str().ok());
        let retry_after = retry_after.and_then(parse_retry_after);
        let why = match opened.refusal().await {
            Ok(why) => why,
            Err(why) => return End::Lost(why, None),
        };
        return match status {
            204 => End::Final(Ok(())),
            // It is not the request that is wrong, so it may pass later.
            408 | 425 | 429 | 500..=599 => End::Lost(why, retry_after),
            _ => End::Final(Err(why)),
        };
    }
    // It would be so at every try.
    if let Some(what) = opened.not_a_stream() {
        return End::Final(Err(what));
    }
    loop {
        match opened.read().await {
            Ok(Some(chunk)) => {
                decoder.push(chunk);
                while let Some(item) = decoder.next_item() {
                    if !on_item(&item) {
                        return End::Final(Ok(()));
                    }
                }
            }
            Ok(None) => return End::Lost("the stream ended".to_owned(), None),
            Err(why) => return End::Lost(why, None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_missing_is_said_in_words() {
        let gap =
            r#"{"reason":"restarted","since":"2026-01-19T18:43:09.074Z","source":{"name":"desk"}}"#;
        assert_eq!(
            notice("gap", gap).as_deref(),
            Some("gap: events of desk may be missing since 2026-01-19T18:43:09.074Z (restarted)")
        );
        assert_eq!(
            notice("gap", r#"{"reason":"cursor_expired"}"#).as_deref(),
            Some("gap: events may be missing (cursor_expired)")
        );
        let back = notice("connected", r#"{"resumed":true}"#);
        assert_eq!(back.as_deref(), Some("back, from where it was"));
        assert_eq!(notice("connected", r#"{"resumed":false}"#), None);
        assert_eq!(notice("Chat", "{}"), None);
    }
}
