//! `chatmux tail`: prints the events of any stream, with reconnect.
//!
//! Each event on a line: its name and its data. Comes back with the last event id, after the
//! pause that the stream asked for; 204 ends it, as it ends a browser's EventSource. The demo
//! follows its own stream with the same code.

use std::io::{self, Write};
use std::time::Duration;

use http::Method;
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::upstreams::peer::HttpPeer;

use crate::config::{Scheme, Url};
use crate::proto::sse::{Decoder, Item, Limits};

/// Until the stream says otherwise.
const RETRY: Duration = Duration::from_secs(3);
/// A stream that asks for a longer pause is not obeyed.
const RETRY_MAX: Duration = Duration::from_secs(60);
/// For the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Options of `tail`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  chatmux tail 'http://127.0.0.1:8080/api/user/sse/events?workflow=support&participantId=jane&tenantId=acme&apikey=...'
  chatmux tail -H 'Authorization: Bearer ...' --once URL")]
pub(super) struct Args {
    /// The stream
    pub(super) url: String,
    /// A header to send along; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE")]
    pub(super) headers: Vec<String>,
    /// Do not come back when the stream ends
    #[arg(long)]
    pub(super) once: bool,
}

/// Gets each event; `false` = enough was seen.
pub(super) type OnItem<'a> = &'a mut dyn FnMut(&Item<'_>) -> bool;

/// How one connection ended.
enum End {
    Lost(String),
    Final(Result<(), String>),
}

pub(super) fn run(args: &Args) -> Result<(), String> {
    let mut print = |item: &Item<'_>| {
        let mut stdout = io::stdout().lock();
        let written = match item {
            Item::Frame(frame) => writeln!(stdout, "{} {}", frame.event, frame.data),
            Item::Oversize { event } => writeln!(stdout, "{event} (too large)"),
        };
        written.and_then(|()| stdout.flush()).is_ok()
    };
    follow_blocking(args, &mut print)
}

/// Follows a stream on a runtime of its own, until it ends for good.
pub(super) fn follow_blocking(args: &Args, on_item: OnItem<'_>) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("cannot start: {error}"))?;
    runtime.block_on(follow(args, on_item))
}

async fn follow(args: &Args, on_item: OnItem<'_>) -> Result<(), String> {
    let (base, query) = args.url.split_once('?').unwrap_or((&args.url, ""));
    let url = Url::parse(base)?;
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
            End::Lost(why) if args.once => return Err(why),
            End::Lost(why) => eprintln!("chatmux: {why}; again in {:.1} s", retry.as_secs_f64()),
        }
        tokio::time::sleep(retry).await;
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
    let url = target.url;
    let lost = |error: pingora::BError| End::Lost(error.to_string());
    let host = url.host.trim_start_matches('[').trim_end_matches(']');
    let address = match tokio::net::lookup_host((host, url.port)).await {
        Ok(mut addresses) => addresses.next(),
        Err(error) => return End::Lost(format!("{host}: {error}")),
    };
    let Some(address) = address else {
        return End::Lost(format!("{host} has no address"));
    };
    let mut peer = HttpPeer::new(address, url.scheme == Scheme::Https, url.host.clone());
    peer.options.connection_timeout = Some(CONNECT_TIMEOUT);
    let request = match request(args, target) {
        Ok(request) => request,
        Err(why) => return End::Final(Err(why)),
    };
    let mut session = match connector.get_http_session(&peer).await {
        Ok((session, _)) => session,
        Err(error) => return lost(error),
    };
    if let Err(error) = session.write_request_header(Box::new(request)).await {
        return lost(error);
    }
    if let Err(error) = session.finish_request_body().await {
        return lost(error);
    }
    if let Err(error) = session.read_response_header().await {
        return lost(error);
    }
    let status = session.response_header().map_or(0, |header| header.status.as_u16());
    loop {
        match session.read_response_body().await {
            Ok(Some(chunk)) if status == 200 => {
                decoder.push(chunk);
                while let Some(item) = decoder.next_item() {
                    if !on_item(&item) {
                        return End::Final(Ok(()));
                    }
                }
            }
            Ok(Some(chunk)) => {
                return End::Final(Err(format!("{status}: {}", String::from_utf8_lossy(&chunk))));
            }
            Ok(None) => break,
            Err(error) => return lost(error),
        }
    }
    match status {
        200 => End::Lost("the stream ended".to_owned()),
        204 => End::Final(Ok(())),
        status => End::Final(Err(format!("the answer is {status}"))),
    }
}

fn request(args: &Args, target: Target<'_>) -> Result<RequestHeader, String> {
    let Target { url, target, last_event_id } = target;
    let text = |error: pingora::BError| error.to_string();
    let mut header = RequestHeader::build(Method::GET, target.as_bytes(), None).map_err(text)?;
    header.append_header("Host", url.authority()).map_err(text)?;
    header.append_header("Accept", "text/event-stream").map_err(text)?;
    header.append_header("Cache-Control", "no-cache").map_err(text)?;
    if !last_event_id.is_empty() {
        header.append_header("Last-Event-ID", last_event_id).map_err(text)?;
    }
    for line in &args.headers {
        let (name, value) =
            line.split_once(':').ok_or_else(|| "a header is NAME: VALUE".to_owned())?;
        header.append_header(name.trim().to_owned(), value.trim().to_owned()).map_err(text)?;
    }
    Ok(header)
}
