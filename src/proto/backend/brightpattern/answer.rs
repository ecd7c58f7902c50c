//! Answers of the chat's HTTP calls: which frames are in a poll's answer, what a status means.
//!
//! One broken event spoils no other: each element of `events` is a frame of its own, whatever it
//! is. Not here: what a frame means (`super`).

use std::borrow::Cow;

use serde_json::value::RawValue;

use super::Answer;
use crate::proto::backend::{History, Page, Past, Wanted};
use crate::proto::json::{self, Object};
use crate::proto::time::UnixMillis;

/// The name of a frame that names no event.
pub(super) const UNKNOWN: &str = "unknown";

/// All events of the chat come in one answer.
pub(super) const HISTORY: History = History {
    first_page: |_| String::new(),
    read: past,
    is_newest_first: false,
    read_index: |_| None,
};

fn past<'a>(answer: &'a str, _: &Wanted<'_>) -> Option<Page<'a>> {
    let events = Object::parse(answer)?.array("events")?;
    let entry = |element: &'a RawValue| {
        let (event, data) = frame(element);
        let object = Object::parse_part(data).unwrap_or_default();
        let at = object.int("timestamp").and_then(UnixMillis::from_seconds_or_millis);
        Past { at, event, data: Cow::Borrowed(data) }
    };
    Some(Page { entries: events.into_iter().map(entry).collect(), next: None })
}

/// An answer without events is `{"events":[]}`, give or take white space. Longer ones are not
/// looked into twice.
const EMPTY_BYTES_MAX: usize = 64;

/// Errors are a code and a sentence. A longer answer is none, and is not looked into twice either.
const ERROR_BYTES_MAX: usize = 4096;

/// Splits an answer into its frames, name and data.
///
/// An answer is `{"events":[...]}`, a list of events, or a single event. Nothing, `{}`, `[]` and
/// an answer that only says "no events" give none; an unreadable one gives one frame, which the
/// session finds malformed.
#[must_use]
pub(super) fn frames(answer: &str) -> Vec<(Cow<'_, str>, &str)> {
    // No depth is counted here: the parser skips values without recursion, and a frame that
    // is nested too deep must not spoil those beside it.
    let answer = answer.trim_start_matches('\u{FEFF}').trim();
    if answer.is_empty() {
        return Vec::new();
    }
    let Ok(whole) = serde_json::from_str::<&RawValue>(answer) else {
        return vec![(Cow::Borrowed(UNKNOWN), answer)];
    };
    if let Some(elements) = json::array(whole) {
        return elements.into_iter().map(frame).collect();
    }
    let Some(object) = Object::parse_part(answer) else {
        return vec![(Cow::Borrowed(UNKNOWN), answer)];
    };
    if object.is_empty() || code(&object).as_deref() == Some(NO_EVENTS) {
        return Vec::new();
    }
    match object.raw("events") {
        None => vec![frame(whole)],
        Some(events) if events.get() == "null" => Vec::new(),
        Some(events) => match json::array(events) {
            Some(elements) => elements.into_iter().map(frame).collect(),
            None => vec![frame(whole)],
        },
    }
}

/// One element under the name of its event.
fn frame(element: &RawValue) -> (Cow<'_, str>, &str) {
    let name = Object::parse_part(element.get()).and_then(|event| event.word("event"));
    (name.unwrap_or(Cow::Borrowed(UNKNOWN)), element.get())
}

const NO_EVENTS: &str = "5511";

/// What an answer to a poll means.
///
/// The backend's own error code says more than the status under which it came; the status of
/// "no events" is not even documented.
#[must_use]
pub(super) fn answer(status: u16, body: &str) -> Answer {
    let small = Some(body).filter(|body| body.len() <= ERROR_BYTES_MAX);
    let error = small
        .and_then(|body| Object::parse(body.trim_start_matches('\u{FEFF}')))
        .filter(|object| object.raw("events").is_none() && object.raw("event").is_none())
        .and_then(|object| code(&object).map(Cow::into_owned));
    match (status, error.as_deref()) {
        (_, Some(NO_EVENTS)) => Answer::Empty,
        // The chat is not found.
        (_, Some("5005")) => Answer::Gone,
        // Another poll of the same chat is held.
        (429, _) | (_, Some("5509")) => Answer::RateLimited,
        // The authorization header is missing, or not as wanted.
        (401 | 403, _) | (_, Some("2000" | "2001" | "2002" | "2003" | "2004")) => {
            Answer::Unauthorized
        }
        (404, _) => Answer::Gone,
        (_, Some(_)) => Answer::Bad,
        (200, None) if body.len() <= EMPTY_BYTES_MAX && frames(body).is_empty() => Answer::Empty,
        (200, None) => Answer::Events,
        (_, None) => Answer::Bad,
    }
}

/// The error code, which comes as text.
fn code<'a>(object: &Object<'a>) -> Option<Cow<'a, str>> {
    object.id("error_code")
}

/// After so many broken documents, a document is looked for on its own line only: looking for
/// the end of each broken one through all that follows would cost the square of the input.
pub const SPANNING_FAILURES_MAX: usize = 64;

/// Splits a file into JSON documents that follow one another, with or without white space
/// between, one or several to a line or one over several lines.
///
/// A broken document ends with its line, or with the last of the lines after it that are indented
/// or begin with a closing bracket and hold no document themselves; what follows is tried again.
#[must_use]
pub fn documents(text: &str) -> Vec<&str> {
    let text = text.trim_start_matches('\u{FEFF}');
    let mut documents = Vec::new();
    let mut failures = 0;
    let mut at = 0;
    // Where a broken document began that may go on.
    let mut broken: Option<usize> = None;
    while let Some(rest) = text.get(at..).filter(|rest| !rest.trim_start().is_empty()) {
        let is_indented = at == 0 || text.get(..at).is_some_and(|before| before.ends_with('\n'));
        let is_indented = is_indented && rest.starts_with([' ', '\t', '}', ']']);
        let start = at + rest.len() - rest.trim_start().len();
        let rest = rest.trim_start();
        let line = rest.split_inclusive('\n').next().unwrap_or(rest);
        let scope = if failures < SPANNING_FAILURES_MAX { rest } else { line };
        if let Some(length) = document_length(scope) {
            documents.extend(broken.take().and_then(|from| text.get(from..at)).map(str::trim));
            documents.extend(rest.get(..length));
            at = start + length;
            continue;
        }
        failures += 1;
        if let Some(from) = broken.take_if(|_| !is_indented) {
            documents.extend(text.get(from..at).map(str::trim));
        }
        broken.get_or_insert(start);
        at = start + line.len();
    }
    documents.extend(broken.and_then(|from| text.get(from..)).map(str::trim));
    documents
}

/// The length of the object or array that the text begins with.
fn document_length(text: &str) -> Option<usize> {
    if !text.starts_with(['{', '[']) {
        return None;
    }
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<&RawValue>();
    values.next()?.ok()?;
    Some(values.byte_offset())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_frames(answer: &str, want: &[(&str, &str)]) {
        let got = frames(answer);
        let got: Vec<_> = got.iter().map(|(name, data)| (name.as_ref(), *data)).collect();
        assert_eq!(got, want, "{answer:?}");
    }

    #[test]
    fn every_element_is_a_frame() {
        check_frames(
            r#"{"events":[{"a":1,"event":"x"}, {"event":"y"}]}"#,
            &[("x", r#"{"a":1,"event":"x"}"#), ("y", r#"{"event":"y"}"#)],
        );
        check_frames(
            r#"{"events":[7,null,"x",{},{"event":7},{"event":""}]}"#,
            &[
                ("unknown", "7"),
                ("unknown", "null"),
                ("unknown", "\"x\""),
                ("unknown", "{}"),
                ("unknown", r#"{"event":7}"#),
                ("unknown", r#"{"event":""}"#),
            ],
        );
        let deep = format!("{{\"event\":\"x\",\"a\":{}{}}}", "[".repeat(200), "]".repeat(200));
        check_frames(
            &format!("{{\"events\":[{deep},{{\"event\":\"y\"}}]}}"),
            &[("x", &deep), ("y", r#"{"event":"y"}"#)],
        );
    }

    #[test]
    fn bare_events_and_bare_lists_are_answers() {
        check_frames(" {\"event\":\"x\"}\n", &[("x", "{\"event\":\"x\"}")]);
        check_frames(
            "\u{FEFF}[{\"event\":\"x\"},{}]",
            &[("x", "{\"event\":\"x\"}"), ("unknown", "{}")],
        );
        check_frames("{\"a\":1}", &[("unknown", "{\"a\":1}")]);
    }

    #[test]
    fn nothing_gives_no_frame() {
        for answer in [
            "",
            " \r\n",
            "{}",
            "[]",
            "{ }",
            "{\"events\":[]}",
            "{\"events\":null}",
            "\u{FEFF}",
            "{\"error_code\":\"5511\",\"error_message\":\"No events\"}",
        ] {
            check_frames(answer, &[]);
        }
    }

    #[test]
    fn an_unreadable_answer_is_one_frame() {
        for answer in [
            "{",
            "7",
            "null",
            "x",
            "{\"events\":[{\"event\":\"x\"}",
            "{\"events\":7}",
            "{} {}",
            "<html>",
        ] {
            check_frames(answer, &[("unknown", answer)]);
        }
    }

    #[track_caller]
    fn check_answer(status: u16, body: &str, want: Answer) {
        assert_eq!(answer(status, body), want, "{status} {body}");
    }

    /// Bodies as in the vendor's Postman collection.
    fn error(code: &str) -> String {
        format!("{{\"error_code\":\"{code}\",\"error_message\":\"...\"}}")
    }

    #[test]
    fn answers_of_a_poll() {
        check_answer(200, r#"{"events":[{"event":"chat_session_ended"}]}"#, Answer::Events);
        check_answer(
            200,
            r#"{"events":[{"event":"chat_session_message","msg":"a long message, cut"#,
            Answer::Events,
        );
        check_answer(200, "<html>", Answer::Events);
        let padded = |bytes: usize| error("5005") + &" ".repeat(bytes - error("5005").len());
        check_answer(200, &padded(ERROR_BYTES_MAX), Answer::Gone);
        check_answer(200, &padded(ERROR_BYTES_MAX + 1), Answer::Events);
        for empty in ["", " ", "{}", "[]", r#"{"events":[]}"#, &error("5511")] {
            check_answer(200, empty, Answer::Empty);
        }
        for status in [204, 400, 404, 500] {
            check_answer(status, &error("5511"), Answer::Empty);
        }
        check_answer(404, "", Answer::Gone);
        check_answer(404, "<html>not found</html>", Answer::Gone);
        for status in [200, 400, 404, 500] {
            check_answer(status, &error("5005"), Answer::Gone);
        }
        check_answer(500, "{\"error_code\":5005}", Answer::Gone);
        check_answer(401, "", Answer::Unauthorized);
        check_answer(403, "", Answer::Unauthorized);
        for code in ["2000", "2001", "2002", "2003", "2004"] {
            check_answer(400, &error(code), Answer::Unauthorized);
        }
        check_answer(429, "", Answer::RateLimited);
        check_answer(429, &error("5509"), Answer::RateLimited);
        check_answer(400, &error("5509"), Answer::RateLimited);
        for (status, code) in
            [(400, "1000"), (400, "3000"), (500, "5000"), (503, "5001"), (200, "5955")]
        {
            check_answer(status, &error(code), Answer::Bad);
        }
        for status in [204, 302, 400, 406, 500, 503] {
            check_answer(status, "", Answer::Bad);
        }
    }

    #[track_caller]
    fn check_documents(text: &str, want: &[&str]) {
        assert_eq!(documents(text), want, "{text:?}");
    }

    #[test]
    fn documents_follow_one_another() {
        check_documents("", &[]);
        check_documents(" \n", &[]);
        check_documents("{}", &["{}"]);
        check_documents(
            "{\"a\":1}{\"b\":2} [3]\n\n{}\r\n",
            &["{\"a\":1}", "{\"b\":2}", "[3]", "{}"],
        );
        check_documents(
            "{\n  \"a\": [\n    1\n  ]\n}\n{}",
            &["{\n  \"a\": [\n    1\n  ]\n}", "{}"],
        );
        check_documents("\u{FEFF}{}\n  {}", &["{}", "{}"]);
    }

    #[test]
    fn a_broken_document_ends_with_its_line() {
        check_documents("{\"a\":\n{\"b\":2}\n", &["{\"a\":", "{\"b\":2}"]);
        check_documents("{bad} {}\nworse\n{}", &["{bad} {}", "worse", "{}"]);
        check_documents("{}x\n{}", &["{}", "x", "{}"]);
        check_documents("{} } {}\n{}", &["{}", "} {}", "{}"]);
        check_documents("7\nnull\n{}", &["7", "null", "{}"]);
        check_documents("{bad\n  {}\n", &["{bad", "{}"]);
        check_documents(
            "{\n  \"a\": bad,\n  \"b\": 1\n}\n{}",
            &["{\n  \"a\": bad,\n  \"b\": 1\n}", "{}"],
        );
        check_documents("{\"a\":[", &["{\"a\":["]);
        check_documents("{bad\n\n{bad", &["{bad", "{bad"]);
    }

    #[test]
    fn many_broken_documents_cost_little() {
        let lines = "[\n".repeat(SPANNING_FAILURES_MAX) + &"{\"a\":\n{}\n".repeat(100_000);
        let got = documents(&lines);
        assert_eq!(got.len(), SPANNING_FAILURES_MAX + 200_000);
        let over_lines = "[\n".repeat(SPANNING_FAILURES_MAX) + "{\n}";
        assert_eq!(
            documents(&over_lines).last(),
            Some(&"{\n}"),
            "lines alone, one broken document"
        );
    }
}
