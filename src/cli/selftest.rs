//! `chatmux selftest`: what lies between here and a stream, in plain words.
//!
//! Asks a route for its self-test as a browser would, notes when each event comes, and says for
//! each check what was seen and what to change. An answer that comes compressed is asked for
//! again without. Not here: the verdict (`proto::selftest`).

use std::io;
use std::time::{Duration, Instant};

use http::header::CONTENT_ENCODING;
use pingora::connectors::http::Connector;
use serde_json::json;

use super::Format;
use super::stream::{self, Opened};
use super::terminal::{Paint, Progress, colour};
use crate::config::{SELFTEST_SUFFIX, Url};
use crate::edge::now;
use crate::proto::selftest::{
    Ended, Finding, Heard, IDLE_DEFAULT_SECS, IDLE_MAX_SECS, Plan, Verdict, judge,
};
use crate::proto::sse::{Decoder, Item, Limits};

/// What browsers take.
const ANY_CODING: &str = "gzip, deflate, br, zstd";
/// Longer than the test takes, nobody waits than by this: a proxy's own patience is a minute.
const GRACE: Duration = Duration::from_secs(75);
/// A cursor that no log knows: it is only to get through.
const CURSOR: &str = "selftest";

/// Options of `selftest`.
#[derive(clap::Args)]
#[command(after_help = "Examples:
  chatmux selftest 'https://chat.example.com/events?workflow=support&participantId=jane&tenantId=acme&apikey=...'
  chatmux selftest -H 'Authorization: Bearer ...' --idle 60 URL

Exit code 1: something is to be changed.")]
pub(super) struct Args {
    /// The stream
    #[arg(value_parser = stream::url)]
    url: String,
    /// A header to send along; may be given several times
    #[arg(short = 'H', long = "header", value_name = "NAME: VALUE", value_parser = stream::header)]
    headers: Vec<String>,
    /// The longest silence to try, in seconds
    #[arg(long, value_name = "SECONDS", default_value_t = IDLE_DEFAULT_SECS,
        value_parser = clap::value_parser!(u64).range(..=IDLE_MAX_SECS))]
    idle: u64,
    /// How to print what was found
    #[arg(long, value_enum, default_value = "text")]
    format: Format,
}

pub(super) fn run(args: &Args) -> Result<(), String> {
    let runtime = super::runtime()?;
    let findings = judge(&runtime.block_on(test(args))?);
    let bad = findings.iter().filter(|finding| finding.verdict == Verdict::Bad).count();
    let report = match args.format {
        Format::Text => text(&findings),
        Format::Json => json(&findings, bad == 0),
    };
    super::print(report.as_bytes())?;
    match bad {
        0 => Ok(()),
        1 => Err("one check says that something is to be changed".to_owned()),
        _ => Err(format!("{bad} checks say that something is to be changed")),
    }
}

async fn test(args: &Args) -> Result<Heard, String> {
    let (url, query) = stream::parse(&args.url)?;
    let target = target(&url, query, args.idle);
    let connector = Connector::new(None);
    let (opened, asked) = open(args, &connector, &url, &target, ANY_CODING).await?;
    let Some(coding) = coding(&opened) else {
        return Ok(hear(opened, asked, Heard::new(None, true), args).await);
    };
    // What is squeezed cannot be read here, and what it hides can be seen without.
    drop(opened);
    let heard = Heard::new(Some(coding), true);
    let (opened, asked) = open(args, &connector, &url, &target, "identity").await?;
    Ok(match self::coding(&opened) {
        None => hear(opened, asked, heard, args).await,
        // It is compressed whatever is asked for.
        Some(_) => heard,
    })
}

/// The path and query of the self-test of a stream, which may be named itself.
fn target(url: &Url, query: &str, idle: u64) -> String {
    let path = url.path.trim_end_matches('/');
    let path = path.strip_suffix(SELFTEST_SUFFIX).unwrap_or(path);
    let of_others = query.split('&').filter(|pair| !pair.is_empty() && !pair.starts_with("idle="));
    let query: Vec<_> = of_others.map(str::to_owned).chain([format!("idle={idle}")]).collect();
    format!("{path}{SELFTEST_SUFFIX}?{}", query.join("&"))
}

/// Asks; gives the answer, which is a stream, and when it was asked for.
async fn open(
    args: &Args,
    connector: &Connector,
    url: &Url,
    target: &str,
    codings: &str,
) -> Result<(Opened, Instant), String> {
    let ours = [("Accept-Encoding", codings), ("Last-Event-ID", CURSOR)];
    let request = stream::request(url, target, &ours, &args.headers)?;
    let asked = now();
    let patience = Plan::new(args.idle).takes() + GRACE;
    let opened = tokio::time::timeout(patience, stream::open(connector, url, request));
    let opened = opened.await.map_err(|_| "no answer came: something swallows it".to_owned())??;
    match (opened.status, opened.not_a_stream()) {
        (200, None) => Ok((opened, asked)),
        (200, Some(what)) => Err(format!("{what}: is this a chatmux route?")),
        _ => Err(opened.refusal().await?),
    }
}

fn coding(opened: &Opened) -> Option<String> {
    let coding = opened.headers.get(CONTENT_ENCODING)?.to_str().unwrap_or("?").trim();
    (!coding.is_empty() && !coding.eq_ignore_ascii_case("identity")).then(|| coding.to_owned())
}

/// Listens to the end, or for as long as it makes sense.
async fn hear(mut opened: Opened, asked: Instant, mut heard: Heard, args: &Args) -> Heard {
    let since = || u64::try_from(now().duration_since(asked).as_millis()).unwrap_or(u64::MAX);
    let takes = Plan::new(args.idle).takes();
    let deadline = tokio::time::Instant::from_std(asked + takes + GRACE);
    let mut decoder = Decoder::new(Limits::default());
    let mut progress = Progress::new();
    let mut events = 0;
    let ended = loop {
        let chunk = match tokio::time::timeout_at(deadline, opened.read()).await {
            Ok(Ok(Some(chunk))) => chunk,
            Ok(Ok(None)) => break Ended::Over("the answer ended".to_owned()),
            Ok(Err(why)) => break Ended::Over(why),
            Err(_) => break Ended::Stalled,
        };
        let at = since();
        decoder.push(chunk);
        while let Some(item) = decoder.next_item() {
            if let Item::Frame(frame) = item {
                heard.on_event(frame.event, frame.data, at);
                events += 1;
            }
        }
        progress.tell(|| format!("{events} events, of {:.0} s", takes.as_secs_f64()));
        if heard.is_whole() {
            break Ended::Over("the test is over".to_owned());
        }
    };
    progress.clear();
    heard.on_ended(ended, since());
    heard
}

fn text(findings: &[Finding]) -> String {
    let paint = Paint::of(&io::stdout());
    let mut text = String::new();
    for finding in findings {
        let of_verdict = match finding.verdict {
            Verdict::Good => colour::GREEN,
            Verdict::Note => colour::YELLOW,
            Verdict::Bad => colour::RED,
        };
        let verdict = paint.paint(of_verdict, &format!("{:4}", finding.verdict.as_str()));
        text.push_str(&format!("{verdict} {:11} {}\n", finding.check.as_str(), finding.text));
        if let Some(advice) = &finding.advice {
            text.push_str(&format!("{:16} -> {advice}\n", ""));
        }
    }
    text
}

fn json(findings: &[Finding], is_ok: bool) -> String {
    let checks: Vec<_> = findings
        .iter()
        .map(|finding| {
            let mut check = json!({
                "check": finding.check.as_str(),
                "verdict": finding.verdict.as_str(),
                "text": finding.text,
            });
            if let (Some(advice), Some(check)) = (&finding.advice, check.as_object_mut()) {
                check.insert("advice".to_owned(), advice.as_str().into());
            }
            check
        })
        .collect();
    format!("{}\n", json!({"ok": is_ok, "checks": checks}))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_or_its_self_test_may_be_named() {
        for (url, want) in [
            ("http://h/events", "/events/selftest?idle=7"),
            ("http://h/events/", "/events/selftest?idle=7"),
            ("http://h/events/selftest?a=1&idle=3", "/events/selftest?a=1&idle=7"),
            ("http://h/?a=1&&b=2", "/selftest?a=1&b=2&idle=7"),
        ] {
            let (parsed, query) = stream::parse(url).expect("a URL");
            assert_eq!(target(&parsed, query, 7), want, "{url}");
        }
    }
}
