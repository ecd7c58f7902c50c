//! Plans, the wire form, and verdicts over arrivals as proxies make them.

use std::time::Duration;

use super::*;
use crate::proto::sse::{Decoder, Item, Limits};
use crate::proto::time::UnixMillis;

fn about() -> About {
    About {
        http: HttpVersion::V1_1,
        accept_encoding: Some("gzip, br".to_owned()),
        via: None,
        client_from: ClientFrom::Header,
        has_last_event_id: true,
        heartbeat_secs: 5,
    }
}

/// The whole test as it stands on the wire, each event with its moment and its bytes.
fn sent(plan: &Plan) -> Vec<(u64, Vec<u8>)> {
    let (mut events, mut at) = (Vec::new(), Duration::ZERO);
    let millis = |at: Duration| u64::try_from(at.as_millis()).unwrap();
    let mut begin = Vec::new();
    write_begin(&mut begin, plan, &about(), UnixMillis(0));
    events.push((0, begin));
    for (number, step) in plan.steps().iter().enumerate() {
        let mut probe = Vec::new();
        write_probe(&mut probe, number + 1, millis(at), step);
        events.push((millis(at), probe));
        at += step.pause;
    }
    let mut end = Vec::new();
    write_end(&mut end, millis(at), EndReason::Done);
    events.push((millis(at), end));
    events
}

#[test]
fn a_plan_is_bounded_whatever_is_asked() {
    for (asked, longest) in
        [(0, None), (1, Some(1)), (5, Some(5)), (64, Some(64)), (9999, Some(300))]
    {
        let plan = Plan::new(asked);
        let silences: Vec<_> = plan
            .steps()
            .iter()
            .filter(|step| step.phase == Phase::Silence)
            .map(|step| step.pause.as_secs())
            .collect();
        assert_eq!(silences.last().copied(), longest, "{asked}");
        assert!(silences.is_sorted_by(|one, next| one < next), "{silences:?}");
        assert!(plan.takes() <= TAKES_MAX, "{asked}: {:?}", plan.takes());
    }
    assert_eq!(Plan::new(5).takes(), Duration::from_millis(10_500));
    assert!(Plan::new(IDLE_MAX_SECS).takes() + Duration::from_secs(10) > TAKES_MAX, "it is near");
}

#[test]
fn the_wire_form_is_that_of_the_stream() {
    let mut out = Vec::new();
    write_begin(&mut out, &Plan::new(1), &about(), UnixMillis(1_768_847_950_000));
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "retry: 3600000\nevent: begin\ndata: {\"sentMs\":0,\"timestamp\":\"2026-01-19T18:39:10.000Z\",\
         \"version\":1,\"probes\":13,\"idleSeconds\":1,\"takesMs\":3500,\"heartbeatSeconds\":5,\
         \"request\":{\"http\":\"1.1\",\"acceptEncoding\":\"gzip, br\",\"clientFrom\":\"header\",\
         \"lastEventId\":true}}\n\n"
    );
    let mut out = Vec::new();
    let pause = Duration::from_millis(250);
    write_probe(&mut out, 9, 1250, &Step { phase: Phase::Padded, padding: 4, pause });
    write_end(&mut out, 1500, EndReason::Draining);
    let text = String::from_utf8(out).unwrap();
    let (probe, end) = text.split_once("\n\n").unwrap();
    assert!(probe.starts_with(
        "event: probe\ndata: {\"sentMs\":1250,\"number\":9,\"phase\":\"padded\",\"nextMs\":250,\
         \"padding\":\""
    ));
    assert_eq!(end, "event: end\ndata: {\"sentMs\":1500,\"reason\":\"draining\"}\n\n");
}

#[test]
fn what_a_request_says_is_cut() {
    let long = About { via: Some("é".repeat(5000)), ..about() };
    let mut out = Vec::new();
    write_begin(&mut out, &Plan::new(0), &long, UnixMillis(0));
    assert!(out.len() < 1000, "{}", out.len());
}

/// What is between: when each byte sent at a moment comes through, and where it is cut.
struct Between {
    /// Bytes that must gather before any come through; at the end of the stream all do.
    buffer: usize,
    /// Comes through only at multiples of this.
    every_ms: u64,
    /// Cut after so long a silence.
    idle_ms: u64,
    /// Cut after so long in all.
    age_ms: u64,
}

const OPEN: Between = Between { buffer: 0, every_ms: 1, idle_ms: u64::MAX, age_ms: u64::MAX };

fn hear(plan: &Plan, between: &Between, coding: Option<&str>) -> Heard {
    const NETWORK_MS: u64 = 40;
    let mut heard = Heard::new(coding.map(str::to_owned), true);
    let mut waiting: Vec<(u64, Vec<u8>)> = Vec::new();
    let mut decoder = Decoder::new(Limits::default());
    let mut last = 0_u64;
    let events = sent(plan);
    let count = events.len();
    for (index, (at, bytes)) in events.into_iter().enumerate() {
        let cut_at = last.saturating_add(between.idle_ms).min(between.age_ms);
        if at > cut_at {
            let why = "the connection broke".to_owned();
            heard.on_ended(Ended::Over(why), cut_at + NETWORK_MS);
            return heard;
        }
        last = at;
        waiting.push((at, bytes));
        let gathered: usize = waiting.iter().map(|(_, bytes)| bytes.len()).sum();
        let is_last = index + 1 == count;
        if gathered < between.buffer && !is_last {
            continue;
        }
        let comes = at.div_ceil(between.every_ms) * between.every_ms + NETWORK_MS;
        for (_, bytes) in waiting.drain(..) {
            decoder.push(bytes.into());
            while let Some(item) = decoder.next_item() {
                let Item::Frame(frame) = item else { panic!("too large") };
                heard.on_event(frame.event, frame.data, comes);
            }
        }
    }
    heard.on_ended(Ended::Over("the stream ended".to_owned()), last + NETWORK_MS);
    heard
}

#[track_caller]
fn check(between: &Between, coding: Option<&str>, wants: &[(Check, Verdict, &str)]) {
    let findings = judge(&hear(&Plan::new(5), between, coding));
    for (check, verdict, words) in wants {
        let finding = findings.iter().find(|finding| finding.check == *check);
        let finding = finding.unwrap_or_else(|| panic!("no {check:?}: {findings:#?}"));
        assert_eq!(finding.verdict, *verdict, "{finding:?}");
        assert!(finding.text.contains(words), "{finding:?}");
        assert_eq!(finding.advice.is_some(), *verdict != Verdict::Good, "{finding:?}");
    }
    let bad = findings.iter().filter(|finding| finding.verdict == Verdict::Bad).count();
    let want = wants.iter().filter(|(_, verdict, _)| *verdict == Verdict::Bad).count();
    assert_eq!(bad, want, "{findings:#?}");
}

#[test]
fn a_way_that_is_open_is_found_good() {
    let good = Verdict::Good;
    check(
        &OPEN,
        None,
        &[
            (Check::Open, good, "after 40 ms; HTTP/1.1"),
            (Check::Buffering, good, "at most 0 ms late"),
            (Check::Compression, good, ""),
            (Check::Silence, good, "a silence of 5.0 s was survived"),
            (Check::Cursor, good, ""),
            (Check::Address, good, ""),
        ],
    );
    // As HAProxy holds what is small, and the end not.
    let mut heard = Heard::new(None, true);
    for (at, bytes) in sent(&Plan::new(5)) {
        let text = String::from_utf8(bytes).unwrap();
        let name = text.split_once("event: ").unwrap().1.split('\n').next().unwrap();
        let data = text.split_once("data: ").unwrap().1.trim_end();
        heard.on_event(name, data, if name == "end" { at } else { at + 206 });
    }
    let findings = judge(&heard);
    let finding = findings.iter().find(|one| one.check == Check::Buffering).unwrap();
    assert_eq!(
        (finding.verdict, finding.text.as_str()),
        (Verdict::Note, "most events come 206 ms late")
    );
    // A little buffering by time is no harm.
    check(&Between { every_ms: 50, ..OPEN }, None, &[(Check::Buffering, good, "ms late")]);
}

#[test]
fn what_holds_events_back_is_found() {
    let whole = Between { buffer: usize::MAX, ..OPEN };
    check(&whole, None, &[(Check::Buffering, Verdict::Bad, "until the stream ended")]);
    let page = Between { buffer: 8 << 10, ..OPEN };
    check(&page, None, &[(Check::Buffering, Verdict::Bad, "something between buffers")]);
    let ticks = Between { every_ms: 1000, ..OPEN };
    check(&ticks, None, &[(Check::Buffering, Verdict::Bad, "late, until up to")]);
}

#[test]
fn what_compresses_is_found() {
    check(&OPEN, Some("gzip"), &[(Check::Compression, Verdict::Bad, "gzip")]);
}

#[test]
fn a_cut_is_told_with_its_silence_or_its_age() {
    let idle = Between { idle_ms: 1500, ..OPEN };
    check(&idle, None, &[(Check::Silence, Verdict::Bad, "cut after 1.5 s of silence (1.0 s")]);
    let age = Between { age_ms: 1_400, ..OPEN };
    check(&age, None, &[(Check::Silence, Verdict::Bad, "1.4 s after the request, not for its")]);
}

#[test]
fn what_never_comes_is_told() {
    let mut heard = Heard::new(None, true);
    heard.on_event("connected", "{\"sentMs\":0}", 3);
    heard.on_event("probe", "no JSON", 3);
    heard.on_event("probe", "{\"sentMs\":-1}", 3);
    heard.on_ended(Ended::Stalled, 40_000);
    let findings = judge(&heard);
    assert_eq!(findings.len(), 1);
    assert_eq!((findings[0].check, findings[0].verdict), (Check::Open, Verdict::Bad));
    assert!(findings[0].text.contains("40.0 s: it stayed open"), "{findings:?}");
    // Something came, then nothing, and no end.
    let mut heard = Heard::new(None, false);
    heard.on_event("begin", "{\"sentMs\":0}", 3);
    heard.on_ended(Ended::Stalled, 40_003);
    let findings = judge(&heard);
    let silence = findings.iter().find(|one| one.check == Check::Silence).unwrap();
    assert!(silence.text.contains("stays open, but nothing comes"), "{silence:?}");
    assert_eq!(silence.verdict, Verdict::Bad);
}

#[test]
fn what_a_proxy_takes_away_or_says_is_told() {
    for (from, to, check, verdict) in [
        ("\"lastEventId\":true", "\"lastEventId\":false", Check::Cursor, Verdict::Bad),
        ("\"header\"", "\"ignored\"", Check::Address, Verdict::Note),
        ("\"header\"", "\"connection\"", Check::Address, Verdict::Good),
        ("\"heartbeatSeconds\":5", "\"heartbeatSeconds\":30", Check::Silence, Verdict::Note),
    ] {
        let mut heard = Heard::new(None, true);
        for (at, bytes) in sent(&Plan::new(5)) {
            let text = String::from_utf8(bytes).unwrap().replace(from, to);
            let name = text.split_once("event: ").unwrap().1.split('\n').next().unwrap();
            let data = text.split_once("data: ").unwrap().1.trim_end();
            heard.on_event(name, data, at);
        }
        let findings = judge(&heard);
        let finding = findings.iter().find(|finding| finding.check == check).unwrap();
        assert_eq!(finding.verdict, verdict, "{to}: {finding:?}");
    }
}

#[test]
fn a_test_that_the_edge_ends_tells_nothing_of_silence() {
    let mut heard = Heard::new(None, true);
    heard.on_event("begin", "{\"sentMs\":0}", 3);
    heard.on_event("end", "{\"sentMs\":10,\"reason\":\"draining\"}", 13);
    let findings = judge(&heard);
    let silence = findings.iter().find(|one| one.check == Check::Silence).unwrap();
    assert_eq!(silence.verdict, Verdict::Note);
}
