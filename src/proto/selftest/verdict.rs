//! From what was heard to what is wrong, in plain words, and what to change.

use super::heard::{Arrival, Ended, Heard};

/// Pauses shorter than this tell nothing: networks jitter.
const PAUSE_MIN_MS: u64 = 200;
/// Longer ones are silences.
const PAUSE_LONG_MS: u64 = 900;
/// Two events were held back together if they came within this part of their pause.
const CLUMP: u64 = 4;
/// One clump may be chance; nobody buffers once.
const CLUMPS_MIN: usize = 2;
/// Half of the events this late are worth a word, even where nothing clumps: HAProxy lets small
/// pieces wait 200 ms for more.
const LATE_MS: u64 = 100;
/// A single one this late, too.
const VERY_LATE_MS: u64 = 1_000;
/// A stream that ends earlier was not cut for its silence.
const SILENCE_MIN_MS: u64 = 500;

/// What was looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// Whether the stream opens and is one.
    Open,
    /// Whether events come when they are sent.
    Buffering,
    /// Whether the answer is compressed.
    Compression,
    /// Whether a silent stream stays open.
    Silence,
    /// Whether the cursor gets through.
    Cursor,
    /// Whether the edge knows its clients apart.
    Address,
}

impl Check {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Buffering => "buffering",
            Self::Compression => "compression",
            Self::Silence => "silence",
            Self::Cursor => "cursor",
            Self::Address => "address",
        }
    }
}

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// As it should be.
    Good,
    /// It works; something should be known.
    Note,
    /// To be changed.
    Bad,
}

impl Verdict {
    /// Its name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Good => "ok",
            Self::Note => "note",
            Self::Bad => "bad",
        }
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub check: Check,
    /// What came of it.
    pub verdict: Verdict,
    /// What was seen.
    pub text: String,
    /// What to change, where something is to be.
    pub advice: Option<String>,
}

impl Finding {
    fn good(check: Check, text: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Good, text: text.into(), advice: None }
    }

    fn note(check: Check, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Note, text: text.into(), advice: Some(advice.into()) }
    }

    fn bad(check: Check, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { check, verdict: Verdict::Bad, text: text.into(), advice: Some(advice.into()) }
    }
}

/// Every check, in the order in which people look at them.
#[must_use]
pub fn judge(heard: &Heard) -> Vec<Finding> {
    let mut findings = vec![open(heard)];
    if !heard.arrivals.is_empty() {
        let held = held(&heard.arrivals);
        findings.push(buffering(heard, &held));
        findings.push(compression(heard));
        findings.push(silence(heard, held.is_buffered()));
        findings.extend(cursor(heard));
        findings.push(address(heard));
    } else if heard.coding.is_some() {
        findings.push(compression(heard));
    }
    findings
}

fn open(heard: &Heard) -> Finding {
    let Some(first) = heard.arrivals.first() else {
        let (why, at_ms) = heard.ended.as_ref().map_or(("it did not end", 0), |(ended, at_ms)| {
            let why = match ended {
                Ended::Over(why) => why.as_str(),
                Ended::Stalled => "it stayed open",
            };
            (why, *at_ms)
        });
        let text = format!("no event came within {}: {why}", secs(at_ms));
        let advice = "something between swallows the stream: it buffers, or does not wait for a \
                      backend that is silent; see the line below, and the log of each proxy";
        return Finding::bad(Check::Open, text, advice);
    };
    let http = heard.http.as_deref().unwrap_or("?");
    let via = heard.via.as_ref().map(|via| format!(", via {via}")).unwrap_or_default();
    let text =
        format!("the first event came after {} ms; HTTP/{http} at the edge{via}", first.at_ms);
    Finding::good(Check::Open, text)
}

/// What was held back.
struct Held {
    /// Pauses that both ends saw.
    pauses: usize,
    /// Those after which the next event came with the one before.
    clumps: usize,
    /// The latest that an event came, against the earliest.
    late_ms: u64,
    /// How late half of them or more came.
    usually_late_ms: u64,
    /// The most bytes that came at once, though they were sent one after another.
    bytes: usize,
    /// Whether the last of them was the end of the stream.
    until_end: bool,
}

impl Held {
    const fn is_buffered(&self) -> bool {
        self.clumps >= CLUMPS_MIN && self.clumps * 2 >= self.pauses
    }
}

fn held(arrivals: &[Arrival]) -> Held {
    let delay = |one: &Arrival| i128::from(one.at_ms) - i128::from(one.sent_ms);
    let mut delays: Vec<_> = arrivals.iter().map(delay).collect();
    delays.sort_unstable();
    let least = delays.first().copied().unwrap_or_default();
    let late = |at: usize| {
        let delay = delays.get(at).copied().unwrap_or(least);
        u64::try_from(delay - least).unwrap_or(0)
    };
    let mut held = Held {
        pauses: 0,
        clumps: 0,
        late_ms: late(delays.len().saturating_sub(1)),
        usually_late_ms: late(delays.len() / 2),
        bytes: 0,
        until_end: false,
    };
    let mut bytes = arrivals.first().map_or(0, |one| one.bytes);
    for pair in arrivals.windows(2) {
        let [one, next] = pair else { continue };
        let sent = next.sent_ms.saturating_sub(one.sent_ms);
        let came = next.at_ms.saturating_sub(one.at_ms);
        let is_together = came.saturating_mul(CLUMP) < sent.max(PAUSE_MIN_MS);
        // What lets through once a second is not seen by pauses longer than that.
        if is_together && sent >= PAUSE_MIN_MS {
            held.clumps += 1;
            held.pauses += 1;
        } else if (PAUSE_MIN_MS..PAUSE_LONG_MS).contains(&sent) {
            held.pauses += 1;
        }
        held.until_end = is_together && sent >= PAUSE_MIN_MS;
        bytes = if is_together { bytes + next.bytes } else { next.bytes };
        held.bytes = held.bytes.max(bytes);
    }
    held
}

fn buffering(heard: &Heard, held: &Held) -> Finding {
    let late = secs(held.late_ms);
    if held.is_buffered() {
        let until = match held.until_end && heard.is_whole() {
            true => "until the stream ended".to_owned(),
            false => format!("until up to {} KiB had gathered", held.bytes.div_ceil(1024)),
        };
        let text = format!(
            "something between buffers: {} of {} events came together with the next, up to {late} \
             late, {until}",
            held.clumps, held.pauses
        );
        let advice = "nginx: `proxy_buffering off;`, and no `proxy_ignore_headers \
                      X-Accel-Buffering`. HAProxy: no `option http-buffer-response`. A CDN: \
                      switch its buffering off for this path";
        return Finding::bad(Check::Buffering, text, advice);
    }
    if held.usually_late_ms >= LATE_MS {
        let text = format!("most events come {} ms late", held.usually_late_ms);
        let advice = "HAProxy: `option http-no-delay`. Else a slow network; try again";
        return Finding::note(Check::Buffering, text, advice);
    }
    if held.late_ms >= VERY_LATE_MS {
        let text = format!("events are not held back, but one came {late} late");
        let advice = "a slow network, or a machine at its limit; try again";
        return Finding::note(Check::Buffering, text, advice);
    }
    let text = format!("events come when they are sent, at most {} ms late", held.late_ms);
    Finding::good(Check::Buffering, text)
}

fn compression(heard: &Heard) -> Finding {
    match &heard.coding {
        None => Finding::good(Check::Compression, "the stream comes as it was sent"),
        Some(coding) => Finding::bad(
            Check::Compression,
            format!("something between compresses the stream ({coding}); what compresses, buffers"),
            "nginx: take text/event-stream out of `gzip_types`. HAProxy: out of `compression \
             type`. A CDN: obey `Cache-Control: no-transform`, or switch compression off for this \
             path",
        ),
    }
}

fn silence(heard: &Heard, is_buffered: bool) -> Finding {
    let survived = heard.arrivals.windows(2).filter_map(|pair| match pair {
        [one, next] => Some(next.sent_ms.saturating_sub(one.sent_ms)),
        _ => None,
    });
    let survived = survived.max().unwrap_or(0);
    match heard.reason.as_deref() {
        Some("done") => {
            let (text, heartbeat) = (secs(survived), heard.heartbeat_secs);
            if survived / 1000 < heartbeat {
                let text =
                    format!("a silence of {text} was survived; the heartbeat is {heartbeat} s");
                let advice =
                    format!("ask with --idle {heartbeat}, or idle={heartbeat}, to be sure");
                return Finding::note(Check::Silence, text, advice);
            }
            return Finding::good(Check::Silence, format!("a silence of {text} was survived"));
        }
        Some(reason) => {
            let text = format!("the edge itself ended the test ({reason})");
            return Finding::note(Check::Silence, text, "try again");
        }
        None => {}
    }
    let last = heard.arrivals.last().map_or(0, |last| last.at_ms);
    let ended = heard.ended.as_ref();
    let silent = ended.map_or(0, |(_, at_ms)| at_ms.saturating_sub(last));
    let how = match ended {
        Some((Ended::Stalled, _)) => "the stream stays open, but nothing comes any more",
        Some((Ended::Over(_), _)) | None => "the stream was cut",
    };
    let (after, total) = (secs(silent), secs(last.saturating_add(silent)));
    if is_buffered {
        let text = format!("{how} {total} after the request; what was silent cannot be told");
        return Finding::bad(Check::Silence, text, "mend the buffering first, then test again");
    }
    if silent >= SILENCE_MIN_MS && silent > survived {
        let text = format!("{how} after {after} of silence ({} was survived)", secs(survived));
        let advice = format!(
            "raise what waits {after}: nginx `proxy_read_timeout`, HAProxy `timeout server` and \
             `timeout client`, a balancer's idle time-out; or set a heartbeat well below {after}"
        );
        return Finding::bad(Check::Silence, text, advice);
    }
    let text = format!("{how} {total} after the request, not for its silence ({after})");
    let advice = "something between bounds the age of an answer, or was restarted; set `max_age` \
                  of the route below that age, so that the edge ends streams in order";
    Finding::bad(Check::Silence, text, advice)
}

/// Only a client that sends a cursor can tell.
fn cursor(heard: &Heard) -> Option<Finding> {
    let was_sent = heard.has_sent_last_event_id && heard.http.is_some();
    was_sent.then(|| match heard.has_last_event_id {
        true => Finding::good(Check::Cursor, "Last-Event-ID gets through"),
        false => Finding::bad(
            Check::Cursor,
            "Last-Event-ID does not get through: clients that come back miss what was said",
            "let the header `Last-Event-ID` pass",
        ),
    })
}

fn address(heard: &Heard) -> Finding {
    match heard.client_from.as_deref() {
        Some("header") => {
            Finding::good(Check::Address, "a trusted proxy tells the edge who its client is")
        }
        Some("ignored") => Finding::note(
            Check::Address,
            "a proxy says who its client is, but the edge does not trust it: all its clients \
             share one budget of limits",
            "put the proxy's address into `trusted_proxies`",
        ),
        Some(_) | None => Finding::good(
            Check::Address,
            "no proxy says who its client is: the edge takes the other end of the connection for it",
        ),
    }
}

/// Milliseconds as seconds.
#[expect(clippy::cast_precision_loss, reason = "shown with one digit")]
fn secs(millis: u64) -> String {
    format!("{:.1} s", millis as f64 / 1000.0)
}
