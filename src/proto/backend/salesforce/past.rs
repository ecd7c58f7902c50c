//! A conversation's entries: how they are asked for, and how they become frames.
//!
//! Entries are those of the stream without their envelope, the payload an object. Typing,
//! receipts and streamed tokens are not kept. Each conversation is asked for by itself: the one
//! that is configured, or those that the stream told of and those that are open.
//! Not here: what an entry means (`super`).

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::proto::backend::{
    CallPlan, History, HistoryPlan, KEY, Method, PAGE, Page, Past, Piece, Wanted,
};
use crate::proto::json::{self, Object, push_escaped};
use crate::proto::template::Place;
use crate::proto::time::UnixMillis;

/// The most that the backend gives at once.
const PAGE_ENTRIES: usize = 50;

/// A page begins with the entries of a millisecond.
pub(super) const HISTORY: History =
    History { first_page: |since| since.0.to_string(), read, is_newest_first: false, read_index };

/// The family of calls that v1 is of takes no times: all is read, and sorted out here. It is not
/// known to list conversations either.
pub(super) fn plan(authorization: Piece, is_v1: bool, lists: bool) -> HistoryPlan {
    let headers = vec![
        ("Accept", Piece::fixed("application/json")),
        ("Accept-Encoding", Piece::fixed("identity")),
        ("Content-Type", Piece::fixed("application/json")),
        ("Authorization", authorization),
    ];
    let path = |start| {
        let conversation = Piece::hole(KEY, Place::Segment);
        Piece::fixed(start).then_piece(conversation).then("/entries")
    };
    if is_v1 {
        let part = CallPlan {
            method: Method::Post,
            path: path("/iamessage/v1/queries/conversation/"),
            headers,
            body: Some(Piece::fixed("{}")),
            ..CallPlan::default()
        };
        return HistoryPlan { part: Some(part), ..HistoryPlan::default() };
    }
    let part = CallPlan {
        path: path("/iamessage/api/v2/conversation/"),
        query: vec![
            ("limit", Piece::fixed("50")),
            ("startTimestamp", Piece::hole(PAGE, Place::Query)),
            ("direction", Piece::fixed("FromStart")),
        ],
        headers: headers.clone(),
        ..CallPlan::default()
    };
    let index = lists.then(|| CallPlan {
        path: Piece::fixed("/iamessage/api/v2/conversation/list"),
        query: vec![("inclClosedConvs", Piece::fixed("false")), ("limit", Piece::fixed("20"))],
        headers,
        ..CallPlan::default()
    });
    HistoryPlan { part: Some(part), index, ..HistoryPlan::default() }
}

/// The ids of the conversations in a list of them.
fn read_index(answer: &str) -> Option<Vec<String>> {
    let conversations = Object::parse(answer)?.array("conversations")?;
    let id =
        |raw: &RawValue| Object::parse_part(raw.get())?.word("conversationId").map(Cow::into_owned);
    Some(conversations.into_iter().filter_map(id).collect())
}

fn read<'a>(answer: &'a str, wanted: &Wanted<'_>) -> Option<Page<'a>> {
    let elements = match Object::parse(answer) {
        Some(object) => object.array("conversationEntries")?,
        None => json::array(json::value(answer)?)?,
    };
    let mut entries: Vec<Past<'a>> = elements.into_iter().map(entry).collect();
    // Entries of one millisecond have no other order than that of the answer.
    if entries.first().map(|entry| entry.at) > entries.last().map(|entry| entry.at) {
        entries.reverse();
    }
    if entries.len() < PAGE_ENTRIES {
        return Some(Page { entries, next: None });
    }
    let next = entries.iter().filter_map(|entry| entry.at).max()?.0.to_string();
    // A page that does not get past its own beginning would come again and again.
    (next != wanted.page).then_some(Page { entries, next: Some(next) })
}

fn entry(raw: &RawValue) -> Past<'_> {
    let object = Object::parse_part(raw.get()).unwrap_or_default();
    let time = |key| object.get(key).and_then(UnixMillis::from_json_millis);
    let kind = object.text("entryType").unwrap_or_default();
    Past {
        at: time("transcriptedTimestamp").or_else(|| time("clientTimestamp")),
        event: event_name(&kind).into(),
        data: Cow::Borrowed(raw.get()),
    }
}

/// `RoutingResult` is `CONVERSATION_ROUTING_RESULT` on the stream.
fn event_name(kind: &str) -> String {
    let mut name = String::from("CONVERSATION");
    for c in kind.chars() {
        if c.is_ascii_uppercase() {
            name.push('_');
        }
        name.push(c.to_ascii_uppercase());
    }
    name
}

/// The entry as a frame's data.
pub(super) fn envelope(conversation: &str, entry: &str) -> String {
    let mut data = String::from("{\"conversationId\":\"");
    push_escaped(&mut data, conversation);
    data.push_str("\",\"conversationEntry\":");
    data.push_str(entry);
    data.push('}');
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(count: u64) -> String {
        let entries: Vec<String> = (0..count)
            .map(|n| {
                format!(
                    r#"{{"entryType":"Message","transcriptedTimestamp":{}}}"#,
                    1_768_000_000_000_u64 + n * 1000
                )
            })
            .collect();
        format!(r#"{{"conversationEntries":[{}]}}"#, entries.join(","))
    }

    #[test]
    fn pages_follow_until_one_is_not_full() {
        let since = UnixMillis(1_700_000_000_000);
        let next = |answer: &str, page: &str| {
            read(answer, &Wanted { since, page }).map(|page| (page.entries.len(), page.next))
        };
        assert_eq!(next(&page(49), "1"), Some((49, None)));
        assert_eq!(next(&page(50), "1"), Some((50, Some("1768000049000".to_owned()))));
        assert_eq!(next(&page(50), "1768000049000"), None, "it leads nowhere");
        assert_eq!(next("[]", "1"), Some((0, None)));
        let at = |time| format!(r#"{{"entryType":"Message","clientTimestamp":"{time}"}}"#);
        let answer = format!("[{},{}]", at(1_768_000_000_001_u64), at(1_768_000_000_000));
        let newest_first = read(&answer, &Wanted { since, page: "1" }).expect("a page");
        assert!(newest_first.entries[0].at < newest_first.entries[1].at);
        assert_eq!(next("{}", "1"), None);
        assert_eq!(next("<html>", "1"), None);
    }

    #[test]
    fn a_list_of_conversations_names_them() {
        let list = r#"{"openConversationsFound":2,"conversations":[
            {"conversationId":"a","startTimestamp":1},{"startTimestamp":2},7,
            {"conversationId":"b"}]}"#;
        assert_eq!(read_index(list), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(read_index(r#"{"conversations":[]}"#), Some(Vec::new()));
        for broken in ["", "[]", "{}", "<html>", r#"{"conversations":{}}"#] {
            assert_eq!(read_index(broken), None, "{broken}");
        }
    }

    #[test]
    fn entries_have_the_names_of_their_frames() {
        for (kind, want) in [
            ("Message", "CONVERSATION_MESSAGE"),
            ("ParticipantChanged", "CONVERSATION_PARTICIPANT_CHANGED"),
            ("SessionStatusChanged", "CONVERSATION_SESSION_STATUS_CHANGED"),
            ("", "CONVERSATION"),
        ] {
            assert_eq!(event_name(kind), want);
        }
        assert_eq!(envelope("c\"1", "{}"), r#"{"conversationId":"c\"1","conversationEntry":{}}"#);
    }
}
