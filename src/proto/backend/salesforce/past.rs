//! A conversation's entries: how they are asked for, and how they become frames.
//!
//! Entries are those of the stream without their envelope, the payload an object. Typing,
//! receipts and streamed tokens are not kept. Not here: what an entry means (`super`).

use std::borrow::Cow;

use serde_json::value::RawValue;

use crate::proto::backend::{
    CallPlan, History, HistoryPlan, Method, PAGE, Page, Past, Piece, Wanted,
};
use crate::proto::json::{self, Object, push_escaped};
use crate::proto::template::{Place, Template};
use crate::proto::time::UnixMillis;

/// The most that the backend gives at once.
const PAGE_ENTRIES: usize = 50;

/// A page begins with the entries of a millisecond.
pub(super) const HISTORY: History =
    History { first_page: |since| since.0.to_string(), read, is_newest_first: false };

/// The family of calls that v1 is of takes no times: all is read, and sorted out here.
pub(super) fn plan(conversation: &Template, authorization: Piece, is_v1: bool) -> HistoryPlan {
    let headers = vec![
        ("Accept", Piece::fixed("application/json")),
        ("Accept-Encoding", Piece::fixed("identity")),
        ("Content-Type", Piece::fixed("application/json")),
        ("Authorization", authorization),
    ];
    let path =
        |start| Piece::fixed(start).then_value(conversation, Place::Segment).then("/entries");
    let whole = if is_v1 {
        CallPlan {
            method: Method::Post,
            path: path("/iamessage/v1/queries/conversation/"),
            headers,
            body: Some(Piece::fixed("{}")),
            ..CallPlan::default()
        }
    } else {
        CallPlan {
            path: path("/iamessage/api/v2/conversation/"),
            query: vec![
                ("limit", Piece::fixed("50")),
                ("startTimestamp", Piece::hole(PAGE, Place::Query)),
                ("direction", Piece::fixed("FromStart")),
            ],
            headers,
            ..CallPlan::default()
        }
    };
    HistoryPlan { whole, part: None }
}

fn read<'a>(answer: &'a str, wanted: &Wanted<'_>) -> Option<Page<'a>> {
    let elements = match Object::parse(answer) {
        Some(object) => object.array("conversationEntries")?,
        None => json::array(json::value(answer)?)?,
    };
    let entries: Vec<Past<'a>> = elements.into_iter().map(entry).collect();
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
        assert_eq!(next("{}", "1"), None);
        assert_eq!(next("<html>", "1"), None);
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
