//! Every row of the Bright Pattern table, and the golden pairs.

use std::collections::BTreeMap;

use serde_json::Value;

use super::*;
use crate::proto::backend::golden;
use crate::proto::backend::{Keep, Mapper, Policy, Verdict};
use crate::proto::event::{Encoded, Envelope, Subscription};

const CHAT_ID: &str = "c-1";

fn start(chat: &str) -> Mapper {
    let values = BTreeMap::from([(CHAT, chat.to_owned())]);
    let subscription = Subscription::new("acme", "support", "jane");
    let session = (DIALECT.session)(&SessionStart { subscription, values: &values, seed: 1 });
    Mapper::new(session, Policy { unmapped: Keep::Raw, malformed: Keep::Drop })
}

/// What an event says beyond what all say.
fn shown(event: &Event<'_>) -> Value {
    let subscription = Subscription::new("acme", "support", "jane");
    let mut envelope = Envelope {
        subscription: &subscription,
        source: "voice",
        backend: "brightpattern",
        arrived: UnixMillis(0),
        minted: &mut || "m".to_owned(),
    };
    let encoded = Encoded::new(event, &mut envelope);
    let mut value: Value = serde_json::from_str(encoded.json()).expect("JSON");
    let object = value.as_object_mut().expect("an object");
    for (key, usual) in [
        ("id", "m"),
        ("conversationId", CHAT_ID),
        ("workflowId", "acme:support"),
        ("workflowType", "support"),
        ("participantId", "jane"),
        ("direction", "Outgoing"),
        ("createdAt", "1970-01-01T00:00:00.000Z"),
    ] {
        if object.get(key).is_some_and(|value| value == usual) {
            object.remove(key);
        }
    }
    object.remove("source");
    value
}

/// Feeds answers to one session; each row says what becomes of one: the events as a JSON list,
/// or `!reason`.
#[track_caller]
fn check_in(mapper: &mut Mapper, rows: &[(&str, &str)]) {
    let Transport::Poll { frames } = DIALECT.transport else {
        panic!("polled");
    };
    for (answer, want) in rows {
        let mut got = Vec::new();
        for (event, data) in frames(answer) {
            let verdict = mapper
                .on_frame(Input { event: &event, data }, &mut |event| got.push(shown(&event)));
            if let Verdict::Discarded(reason, _) = verdict {
                got.push(Value::String(format!("!{}", reason.as_str())));
            }
        }
        let want = match want.strip_prefix('!') {
            Some(_) => vec![Value::String((*want).to_owned())],
            None => {
                serde_json::from_str::<Vec<Value>>(&format!("[{want}]")).expect("a list of events")
            }
        };
        assert_eq!(Value::from(got), Value::from(want), "{answer}");
    }
}

#[track_caller]
fn check(rows: &[(&str, &str)]) {
    check_in(&mut start(CHAT_ID), rows);
}

#[track_caller]
fn check_each(rows: &[(&str, &str)]) {
    for row in rows {
        check(&[*row]);
    }
}

const BOT: &str = r#"{"event":"chat_session_party_joined","party_id":"B","display_name":"Bot","type":"scenario"}"#;
const ANN: &str = r#"{"event":"chat_session_party_joined","party_id":"A","first_name":"Ann","last_name":"Lee","type":"internal"}"#;
const ENDS: &str = r#"{"event":"chat_session_ended"}"#;
const IS_ENDED: &str = r#"{"messageType":"Status","data":{"state":"ended"}}"#;

#[test]
fn chat_session_status_is_a_status() {
    check_each(&[
        (
            r#"{"event":"chat_session_status","state":"queued","ewt":"42"}"#,
            r#"{"messageType":"Status","data":{"state":"queued","estimatedWaitSeconds":42}}"#,
        ),
        (
            r#"{"event":"chat_session_status","state":"queued","ewt":30}"#,
            r#"{"messageType":"Status","data":{"state":"queued","estimatedWaitSeconds":30}}"#,
        ),
        (
            r#"{"event":"chat_session_status","state":"queued","ewt":"","timestamp":"1614718748"}"#,
            r#"{"messageType":"Status","data":{"state":"queued"},"createdAt":"2021-03-02T20:59:08.000Z"}"#,
        ),
        (
            r#"{"event":"chat_session_status","state":"queued","ewt":"-1"}"#,
            r#"{"messageType":"Status","data":{"state":"queued"}}"#,
        ),
        (
            r#"{"event":"chat_session_status","state":"queued","ewt":"99999999999999999999"}"#,
            r#"{"messageType":"Status","data":{"state":"queued"}}"#,
        ),
        (
            r#"{"event":"chat_session_status","state":"connecting"}"#,
            r#"{"messageType":"Status","data":{"state":"connecting"}}"#,
        ),
        (
            r#"{"event":"chat_session_status","state":"establishing"}"#,
            r#"{"messageType":"Status","data":{"state":"connecting"}}"#,
        ),
        (
            r#"{"event":"chat_session_status","state":"connected"}"#,
            r#"{"messageType":"Status","data":{"state":"connected"}}"#,
        ),
        (
            r#"{"event":"chat_session_status","state":"ivr"}"#,
            r#"{"messageType":"Status","data":{"state":"connected","reason":"ivr"}}"#,
        ),
        (
            r#"{"event":"chat_session_status","state":"failed"}"#,
            r#"{"messageType":"Status","data":{"state":"failed"}}"#,
        ),
        (r#"{"event":"chat_session_status","state":"completed"}"#, IS_ENDED),
        (
            r#"{"event":"chat_session_status","state":"Queued","ewt":"","timestamp":"1","x":null,"kind":"y"}"#,
            r#"{"messageType":"Data","data":{"kind":"status","state":"Queued","ewt":"","x":null}}"#,
        ),
        (r#"{"event":"chat_session_status","ewt":"1"}"#, "!malformed"),
        (r#"{"event":"chat_session_status","state":7}"#, "!malformed"),
    ]);
}

#[test]
fn chat_session_ended_is_a_status() {
    check_each(&[(ENDS, IS_ENDED)]);
}

#[test]
fn inactivity_timeouts_end_the_session_in_both_spellings() {
    let want = r#"{"messageType":"Status","text":"Bye & thanks","data":{"state":"ended","reason":"inactivity"}}"#;
    check_each(&[
        (r#"{"event":"chat_session_inactvity_timeout","msg":"Bye & thanks"}"#, want),
        (r#"{"event":"chat_session_inactivity_timeout","msg":"Bye &amp; thanks"}"#, want),
        (
            r#"{"event":"chat_session_inactivity_timeout"}"#,
            r#"{"messageType":"Status","data":{"state":"ended","reason":"inactivity"}}"#,
        ),
    ]);
}

#[test]
fn chat_session_timeout_warning_is_a_notice() {
    check_each(&[(
        r#"{"event":"chat_session_timeout_warning","msg":"Still there?","timestamp":1614718748123}"#,
        r#"{"messageType":"Notice","text":"Still there?","data":{"level":"warning","code":"inactivity"},
            "createdAt":"2021-03-02T20:59:08.123Z"}"#,
    )]);
}

#[test]
fn parties_that_join_are_participants() {
    check_each(&[
        (
            r#"{"event":"chat_session_party_joined","party_id":"A","display_name":"Ann L.","first_name":"Ann",
                "last_name":"Lee","type":"internal"}"#,
            r#"{"messageType":"Participant","data":{"change":"joined","party":"internal","participant":
                {"id":"A","name":"Ann L.","firstName":"Ann","lastName":"Lee","role":"agent"}}}"#,
        ),
        (
            r#"{"event":"chat_session_party_joined","party_id":"B","display_name":"Bot","first_name":"","type":"scenario"}"#,
            r#"{"messageType":"Participant","data":{"change":"joined","party":"scenario","participant":
                {"id":"B","name":"Bot","role":"bot"}}}"#,
        ),
        (
            r#"{"event":"chat_session_party_joined","party_id":"E","first_name":"Eve","type":"external"}"#,
            r#"{"messageType":"Participant","data":{"change":"joined","party":"external","participant":
                {"id":"E","name":"Eve","firstName":"Eve","role":"peer"}}}"#,
        ),
        (
            r#"{"event":"chat_session_party_joined","party_id":"C-1","display_name":"Jane","type":"external"}"#,
            r#"{"messageType":"Participant","direction":"Incoming","data":{"change":"joined","party":"external",
                "participant":{"id":"C-1","name":"Jane","role":"participant"}}}"#,
        ),
        (
            r#"{"event":"chat_session_party_joined","party_id":"X"}"#,
            r#"{"messageType":"Participant","data":{"change":"joined","participant":{"id":"X","role":"agent"}}}"#,
        ),
        (
            r#"{"event":"chat_session_party_joined","display_name":"Ann"}"#,
            r#"{"messageType":"Participant","data":{"change":"joined","participant":{"name":"Ann","role":"agent"}}}"#,
        ),
        (r#"{"event":"chat_session_party_joined","party_id":""}"#, "!malformed"),
    ]);
}

#[test]
fn parties_that_leave_keep_their_names() {
    let left = |id: &str| format!(r#"{{"event":"chat_session_party_left","party_id":"{id}"}}"#);
    let ann_joined = r#"{"messageType":"Participant","data":{"change":"joined","party":"internal","participant":
        {"id":"A","name":"Ann Lee","firstName":"Ann","lastName":"Lee","role":"agent"}}}"#;
    check(&[
        (ANN, ann_joined),
        (
            &left("A"),
            r#"{"messageType":"Participant","data":{"change":"left","participant":
                {"id":"A","name":"Ann Lee","role":"agent"}}}"#,
        ),
        (
            &left("never-seen"),
            r#"{"messageType":"Participant","data":{"change":"left","participant":{"id":"never-seen","role":"agent"}}}"#,
        ),
        (
            r#"{"event":"chat_session_party_left","party_id":"b","type":"scenario"}"#,
            r#"{"messageType":"Participant","data":{"change":"left","party":"scenario","participant":
                {"id":"b","role":"bot"}}}"#,
        ),
        (
            &left("c-1"),
            r#"{"messageType":"Participant","direction":"Incoming","data":{"change":"left","participant":
                {"id":"c-1","role":"participant"}}}"#,
        ),
        (r#"{"event":"chat_session_party_left"}"#, "!malformed"),
    ]);
}

#[test]
fn chat_session_message_is_a_chat() {
    check_each(&[
        (
            r#"{"channel":"web","event":"chat_session_message","msg":"Hi <3","msg_id":"0","timestamp":"1614718748"}"#,
            r#"{"id":"c-1:0","messageType":"Chat","text":"Hi <3","createdAt":"2021-03-02T20:59:08.000Z"}"#,
        ),
        (
            r#"{"event":"chat_session_message","msg":"a<br>b &amp; c","msg_id":7}"#,
            r#"{"id":"c-1:7","messageType":"Chat","text":"a\nb & c","data":{"html":"a<br>b &amp; c"}}"#,
        ),
        (
            r#"{"event":"chat_session_message","msg":"a &lt;b&gt;"}"#,
            r#"{"messageType":"Chat","text":"a <b>"}"#,
        ),
        (
            r#"{"event":"chat_session_message","msg":"see <a href=\"https://x.org/\">this</a>","msg_text":"see this (x.org)"}"#,
            r#"{"messageType":"Chat","text":"see this (x.org)","data":
                {"html":"see <a href=\"https://x.org/\" rel=\"noopener noreferrer\">this</a>",
                 "links":[{"url":"https://x.org/","title":"this"}]}}"#,
        ),
        (
            r#"{"event":"chat_session_message","msg":"a &amp; b","msg_text":"a & b"}"#,
            r#"{"messageType":"Chat","text":"a & b"}"#,
        ),
        (
            r#"{"event":"chat_session_message","msg":"a &amp; b","msg_text":""}"#,
            r#"{"messageType":"Chat","text":"a & b"}"#,
        ),
        (
            r#"{"event":"chat_session_message","msg_text":"a"}"#,
            r#"{"messageType":"Chat","text":"a"}"#,
        ),
        (r#"{"event":"chat_session_message","msg":""}"#, r#"{"messageType":"Chat","text":""}"#),
        (r#"{"event":"chat_session_message","msg_id":"1"}"#, "!malformed"),
        (r#"{"event":"chat_session_message","msg":7}"#, "!malformed"),
        (
            r#"{"event":"chat_session_message","msg":"\ud800"}"#,
            r#"{"messageType":"Chat","text":"\ufffd"}"#,
        ),
    ]);
}

#[test]
fn senders_are_named_as_they_joined() {
    let said = |party: &str| {
        format!(r#"{{"event":"chat_session_message","msg":"x","party_id":"{party}"}}"#)
    };
    let mut mapper = start(CHAT_ID);
    check_in(
        &mut mapper,
        &[(&said("A"), r#"{"messageType":"Chat","text":"x","sender":{"id":"A","role":"agent"}}"#)],
    );
    let external = r#"{"event":"chat_session_party_joined","party_id":"E","display_name":"Eve","type":"external"}"#;
    let own = r#"{"event":"chat_session_party_joined","party_id":"C-1","display_name":"Jane","type":"external"}"#;
    for answer in [ANN, BOT, external, own] {
        let name = frame_name(answer);
        mapper.on_frame(Input { event: &name, data: answer }, &mut |_| ());
    }
    check_in(
        &mut mapper,
        &[
            (
                &said("A"),
                r#"{"messageType":"Chat","text":"x","sender":{"id":"A","name":"Ann Lee","role":"agent"}}"#,
            ),
            (
                &said("B"),
                r#"{"messageType":"Chat","text":"x","sender":{"id":"B","name":"Bot","role":"bot"}}"#,
            ),
            (
                &said("E"),
                r#"{"messageType":"Chat","text":"x","sender":{"id":"E","name":"Eve","role":"peer"}}"#,
            ),
            (
                &said("C-1"),
                r#"{"messageType":"Chat","text":"x","direction":"Incoming",
                "sender":{"id":"C-1","name":"Jane","role":"participant"}}"#,
            ),
            (
                &said("c-1"),
                r#"{"messageType":"Chat","text":"x","direction":"Incoming","sender":{"id":"c-1","role":"participant"}}"#,
            ),
            (&said(""), r#"{"messageType":"Chat","text":"x"}"#),
        ],
    );
}

fn frame_name(answer: &str) -> String {
    answer::frames(answer)[0].0.clone().into_owned()
}

#[test]
fn joins_are_remembered_for_64_parties() {
    let mut mapper = start(CHAT_ID);
    for n in 0..=PARTIES_MAX.get() {
        let data = format!(r#"{{"party_id":"{n}","display_name":"N{n}"}}"#);
        mapper.on_frame(Input { event: "chat_session_party_joined", data: &data }, &mut |_| ());
    }
    let typing = |n: usize| format!(r#"{{"event":"chat_session_typing","party_id":"{n}"}}"#);
    check_in(
        &mut mapper,
        &[
            (
                &typing(0),
                r#"{"messageType":"Typing","data":{"state":"started"},"sender":{"id":"0","role":"agent"}}"#,
            ),
            (
                &typing(1),
                r#"{"messageType":"Typing","data":{"state":"started"},"sender":{"id":"1","name":"N1","role":"agent"}}"#,
            ),
        ],
    );
}

#[test]
fn receipts_name_the_message_as_its_event_does() {
    check_each(&[
        (
            r#"{"event":"chat_session_message_delivered","ref_msg_id":"5","msg_id":"9","party_id":"A"}"#,
            r#"{"messageType":"Receipt","data":{"receipt":"delivered","messageId":"c-1:5"},
                "sender":{"id":"A","role":"agent"}}"#,
        ),
        (
            r#"{"event":"chat_session_message_read","ref_msg_id":"C-1:5"}"#,
            r#"{"messageType":"Receipt","data":{"receipt":"read","messageId":"c-1:5"}}"#,
        ),
        (
            r#"{"event":"chat_session_message_read","ref_msg_id":"","msg_id":5}"#,
            r#"{"messageType":"Receipt","data":{"receipt":"read","messageId":"c-1:5"}}"#,
        ),
        (r#"{"event":"chat_session_message_read","party_id":"A"}"#, "!filtered"),
    ]);
}

#[test]
fn ids_have_the_chat_in_front_once() {
    let said = |id: &str| format!(r#"{{"event":"chat_session_message","msg":"x","msg_id":{id}}}"#);
    let want = |id: &str| format!(r#"{{"id":"{id}","messageType":"Chat","text":"x"}}"#);
    for (id, wanted) in [
        ("\"1\"", "c-1:1"),
        ("1", "c-1:1"),
        ("\"c-1:1\"", "c-1:1"),
        ("\"C-1:1\"", "c-1:1"),
        ("\"c-1:c-1:1\"", "c-1:c-1:1"),
        ("\"c-11\"", "c-1:c-11"),
        ("\"c-\"", "c-1:c-"),
        ("\"é\"", "c-1:é"),
        ("\"\"", "m"),
        ("\"c-1:\"", "m"),
        ("null", "m"),
    ] {
        let want = want(wanted).replace("\"id\":\"m\",", "");
        check(&[(&said(id), &want)]);
    }
}

#[test]
fn without_a_chat_ids_are_the_message_ids() {
    check_in(
        &mut start(""),
        &[
            (
                r#"{"event":"chat_session_message","msg":"x","msg_id":"1","party_id":""}"#,
                r#"{"id":"1","messageType":"Chat","text":"x"}"#,
            ),
            (
                r#"{"event":"chat_session_message","msg":"x","msg_id":"1","party_id":""}"#,
                "!duplicate",
            ),
            (
                r#"{"event":"chat_session_message","msg":"x","msg_id":":"}"#,
                r#"{"id":":","messageType":"Chat","text":"x"}"#,
            ),
        ],
    );
}

#[test]
fn typing_starts_and_stops() {
    check_each(&[
        (
            r#"{"event":"chat_session_typing","party_id":"A","msg":"draft"}"#,
            r#"{"messageType":"Typing","data":{"state":"started"},"sender":{"id":"A","role":"agent"}}"#,
        ),
        (
            r#"{"event":"chat_session_typing","party_id":7}"#,
            r#"{"messageType":"Typing","data":{"state":"started"},"sender":{"id":"7","role":"agent"}}"#,
        ),
        (
            r#"{"event":"chat_session_not_typing"}"#,
            r#"{"messageType":"Typing","data":{"state":"stopped"}}"#,
        ),
        (
            r#"{"event":"chat_session_typing","party_id":"C-1"}"#,
            r#"{"messageType":"Typing","data":{"state":"started"},"direction":"Incoming",
                "sender":{"id":"C-1","role":"participant"}}"#,
        ),
    ]);
}

#[test]
fn forms_are_shown() {
    check_each(&[
        (
            r#"{"event":"chat_session_form_show","form_name":"Where","form_request_id":17,"form_timeout":120}"#,
            r#"{"messageType":"Form","data":{"formId":"17","name":"Where","timeoutSeconds":120}}"#,
        ),
        (
            r#"{"event":"chat_session_form_show","form_name":"","form_request_id":"19","form_timeout":"60","msg":"Your name?"}"#,
            r#"{"messageType":"Form","text":"Your name?","data":{"formId":"19","timeoutSeconds":60}}"#,
        ),
        (
            r#"{"event":"chat_session_secure_form_show","form_id":"card","form_request_id":"18","party_id":"A"}"#,
            r#"{"messageType":"Form","data":{"formId":"18","name":"card","secure":true},
                "sender":{"id":"A","role":"agent"}}"#,
        ),
    ]);
}

#[test]
fn signalling_passes() {
    check_each(&[
        (
            r#"{"event":"chat_session_signaling","msg_id":"8","party_id":"A","destination_party_id":"D",
                "data":{"type":"OFFER_CALL", "n":1.50}}"#,
            r#"{"id":"c-1:8","messageType":"Signal","data":{"signal":{"type":"OFFER_CALL","n":1.50},"destination":"D"},
                "sender":{"id":"A","role":"agent"}}"#,
        ),
        (
            r#"{"event":"chat_session_signaling","data":"{\"type\":\"END_CALL\"}"}"#,
            r#"{"messageType":"Signal","data":{"signal":{"type":"END_CALL"}}}"#,
        ),
        (
            r#"{"event":"chat_session_signaling","data":"END_CALL"}"#,
            r#"{"messageType":"Signal","data":{"signal":"END_CALL"}}"#,
        ),
        (r#"{"event":"chat_session_signaling","msg_id":"8"}"#, "!malformed"),
    ]);
}

#[test]
fn files_are_told_without_an_address() {
    check_each(&[
        (
            r#"{"event":"chat_session_file","file_id":"f","file_name":"a.png","file_type":"image","msg_id":"4","party_id":"A"}"#,
            r#"{"id":"c-1:4","messageType":"File","data":{"files":[{"id":"f","name":"a.png","kind":"image"}]},
                "sender":{"id":"A","role":"agent"}}"#,
        ),
        (
            r#"{"event":"chat_session_file","file_id":"f","file_type":"attachment","session_id":"A"}"#,
            r#"{"messageType":"File","data":{"files":[{"id":"f","kind":"attachment"}]},"sender":{"id":"A","role":"agent"}}"#,
        ),
        (
            r#"{"event":"chat_session_file","file_id":"f","party_id":"B","session_id":"A"}"#,
            r#"{"messageType":"File","data":{"files":[{"id":"f","kind":"attachment"}]},"sender":{"id":"B","role":"agent"}}"#,
        ),
        (r#"{"event":"chat_session_file","file_name":"a"}"#, "!malformed"),
    ]);
}

#[test]
fn what_has_no_type_keeps_its_keys() {
    check_each(&[
        (
            r#"{"event":"chat_session_location","party_id":"A","msg_id":"3","url":"u","latitude":"1.10","longitude":2.20,
                "timestamp":"1614718748"}"#,
            r#"{"id":"c-1:3","messageType":"Data","data":{"kind":"location","url":"u","latitude":"1.10","longitude":2.20},
                "sender":{"id":"A","role":"agent"},"createdAt":"2021-03-02T20:59:08.000Z"}"#,
        ),
        (
            r#"{"event":"chat_session_case_set","case_id":""}"#,
            r#"{"messageType":"Data","data":{"kind":"case","case_id":""}}"#,
        ),
        (
            r#"{"event":"chat_session_cobrowsing_requested","msg_id":"10"}"#,
            r#"{"messageType":"Data","data":{"kind":"cobrowsing"}}"#,
        ),
        (
            r#"{"event":"chat_session_info","service_name":"Support EN"}"#,
            r#"{"messageType":"Data","data":{"kind":"info","service_name":"Support EN"}}"#,
        ),
        (
            r#"{"event":"chat_session_form_submit","form_data":{"a":null},"party_id":"c-1","req_id":"1"}"#,
            r#"{"messageType":"Data","direction":"Incoming","data":{"kind":"form_submit","form_data":{"a":null},"req_id":"1"},
                "sender":{"id":"c-1","role":"participant"}}"#,
        ),
    ]);
}

#[test]
fn times_are_seconds_or_milliseconds_in_text_or_number() {
    let ended = |time: &str| format!(r#"{{"event":"chat_session_ended","timestamp":{time}}}"#);
    let want = |time: &str| {
        format!(
            r#"{{"messageType":"Status","data":{{"state":"ended"}},"createdAt":"2021-03-02T20:59:08.{time}Z"}}"#
        )
    };
    for time in ["1614718748", "\"1614718748\"", "1614718748000", "\"1614718748000\""] {
        check(&[(&ended(time), &want("000"))]);
    }
    for time in ["null", "\"\"", "\"soon\"", "0", "-1", "1e300", "{}", "99999999999999"] {
        check(&[(&ended(time), IS_ENDED)]);
    }
}

#[test]
fn unknown_and_broken_frames() {
    check_each(&[
        (
            r#"{"event":"chat_session_Ended","a":1.0}"#,
            r#"{"messageType":"Raw","data":{"event":"chat_session_Ended","body":{"event":"chat_session_Ended","a":1.0}}}"#,
        ),
        (r#"{"a":1}"#, r#"{"messageType":"Raw","data":{"event":"unknown","body":{"a":1}}}"#),
        ("[{}]", r#"{"messageType":"Raw","data":{"event":"unknown","body":{}}}"#),
        ("[7]", "!malformed"),
        (r#"{"events":{"event":"chat_session_ended"}}"#, "!malformed"),
        ("<html>", "!malformed"),
    ]);
    let deep = |depth: usize| {
        format!(
            r#"{{"event":"chat_session_ended","a":{}{}}}"#,
            "[".repeat(depth),
            "]".repeat(depth)
        )
    };
    check_each(&[(&deep(json::DEPTH_MAX - 1), IS_ENDED), (&deep(json::DEPTH_MAX), "!malformed")]);
}

#[test]
fn one_broken_event_spoils_no_other() {
    check(&[(
        r#"{"events":[7,{"event":"chat_session_message"},{"event":"chat_session_typing"}]}"#,
        r#""!malformed","!malformed",{"messageType":"Typing","data":{"state":"started"}}"#,
    )]);
}

#[test]
fn repeats_are_duplicates_and_edits_pass() {
    let said =
        |msg: &str| format!(r#"{{"event":"chat_session_message","msg":"{msg}","msg_id":"1"}}"#);
    let want = |msg: &str| format!(r#"{{"id":"c-1:1","messageType":"Chat","text":"{msg}"}}"#);
    let typing = r#"{"event":"chat_session_typing","msg_id":"1"}"#;
    let is_typing = r#"{"messageType":"Typing","data":{"state":"started"}}"#;
    check(&[
        (&said("a"), &want("a")),
        (&said("a"), "!duplicate"),
        (&said("b"), &want("b")),
        (&said("a"), &want("a")),
        (typing, is_typing),
        (typing, is_typing),
    ]);
}

fn joined(id: &str, name: &str, word: &str) -> String {
    format!(
        r#"{{"event":"chat_session_party_joined","party_id":"{id}","display_name":"{name}","type":"{word}","timestamp":"1614718748"}}"#
    )
}

fn has_joined(id: &str, name: &str, word: &str, role: &str) -> String {
    format!(
        r#"{{"messageType":"Participant","createdAt":"2021-03-02T20:59:08.000Z","data":{{"change":"joined",
            "party":"{word}","participant":{{"id":"{id}","name":"{name}","role":"{role}"}}}}}}"#
    )
}

#[test]
fn a_joining_agent_takes_over() {
    let hand_over = |from: &str, to: &str| {
        format!(
            r#"{{"id":"m.handoff","messageType":"Handoff","createdAt":"2021-03-02T20:59:08.000Z","data":{{
                "phase":"completed","fromAgent":"{from}","toAgent":"{to}","reason":"transfer"}}}}"#
        )
    };
    let left = r#"{"event":"chat_session_party_left","party_id":"A","timestamp":"1614718748"}"#;
    let has_left = r#"{"messageType":"Participant","createdAt":"2021-03-02T20:59:08.000Z",
        "data":{"change":"left","participant":{"id":"A","name":"Ann","role":"agent"}}}"#;
    check(&[
        (&joined("B", "Bot", "scenario"), &has_joined("B", "Bot", "scenario", "bot")),
        (
            &joined("A", "Ann", "internal"),
            &(has_joined("A", "Ann", "internal", "agent") + "," + &hand_over("Bot", "Ann")),
        ),
        (left, has_left),
        (&joined("E", "Eve", "external"), &has_joined("E", "Eve", "external", "peer")),
        (
            &joined("D", "Dan", "internal"),
            &(has_joined("D", "Dan", "internal", "agent") + "," + &hand_over("Ann", "Dan")),
        ),
        (&joined("F", "Fay", "internal"), &has_joined("F", "Fay", "internal", "agent")),
        (ENDS, IS_ENDED),
        (&joined("G", "Gus", "internal"), &has_joined("G", "Gus", "internal", "agent")),
    ]);
}

#[test]
fn who_was_there_before_hands_over_on_leaving() {
    let left = r#"{"event":"chat_session_party_left","party_id":"X","timestamp":"1614718748"}"#;
    let has_left = r#"{"messageType":"Participant","createdAt":"2021-03-02T20:59:08.000Z",
        "data":{"change":"left","participant":{"id":"X","role":"agent"}}}"#;
    let hand_over = r#"{"id":"m.handoff","messageType":"Handoff","createdAt":"2021-03-02T20:59:08.000Z","data":
        {"phase":"completed","fromAgent":"X","toAgent":"Ann","reason":"transfer"}}"#;
    check(&[
        (left, has_left),
        (
            &joined("A", "Ann", "internal"),
            &(has_joined("A", "Ann", "internal", "agent") + "," + hand_over),
        ),
    ]);
}

#[test]
fn the_end_is_told_once() {
    let failed = r#"{"event":"chat_session_status","state":"failed"}"#;
    let inactive = r#"{"event":"chat_session_inactivity_timeout","msg":"x"}"#;
    let said = r#"{"event":"chat_session_message","msg":"x"}"#;
    let is_said = r#"{"messageType":"Chat","text":"x"}"#;
    let queued = r#"{"event":"chat_session_status","state":"queued"}"#;
    let is_queued = r#"{"messageType":"Status","data":{"state":"queued"}}"#;
    let typing = r#"{"event":"chat_session_typing"}"#;
    let is_typing = r#"{"messageType":"Typing","data":{"state":"started"}}"#;
    check(&[
        (ENDS, IS_ENDED),
        (ENDS, "!duplicate"),
        (failed, "!duplicate"),
        (inactive, "!duplicate"),
        (typing, is_typing),
        (ENDS, "!duplicate"),
        (said, is_said),
        (ENDS, IS_ENDED),
        (queued, is_queued),
        (failed, r#"{"messageType":"Status","data":{"state":"failed"}}"#),
        (&joined("A", "Ann", "internal"), &has_joined("A", "Ann", "internal", "agent")),
        (ENDS, IS_ENDED),
    ]);
}

#[test]
fn a_source_is_over_when_its_chat_is() {
    for end in [
        ENDS,
        r#"{"event":"chat_session_status","state":"failed"}"#,
        r#"{"event":"chat_session_status","state":"completed"}"#,
        r#"{"event":"chat_session_inactivity_timeout"}"#,
    ] {
        let mut mapper = start(CHAT_ID);
        let mut feed = |data: &str| {
            mapper.on_frame(Input { event: &frame_name(data), data }, &mut |_| ());
            mapper.is_over()
        };
        assert!(!feed(r#"{"event":"chat_session_typing"}"#));
        assert!(feed(end), "{end}");
        assert!(feed(r#"{"event":"chat_session_typing"}"#), "still over");
        assert!(!feed(BOT), "open again");
    }
}

#[test]
fn a_chat_that_is_gone_ends_once() {
    let mut mapper = start(CHAT_ID);
    let mut got = Vec::new();
    mapper.on_gone(&mut |event| {
        assert_eq!(event.source_event, ENDED);
        got.push(shown(&event));
    });
    assert_eq!(
        Value::from(got),
        serde_json::from_str::<Value>(&format!("[{IS_ENDED}]")).expect("JSON")
    );
    assert!(mapper.is_over());
    mapper.on_gone(&mut |event| panic!("told twice: {event:?}"));
    check_in(&mut mapper, &[(ENDS, "!duplicate")]);
}

#[test]
fn a_fork_knows_what_was_learnt() {
    let mut mapper = start(CHAT_ID);
    mapper.on_frame(Input { event: &frame_name(ANN), data: ANN }, &mut |_| ());
    let subscription = Subscription::new("acme", "support", "joe");
    let values = BTreeMap::from([(CHAT, CHAT_ID.to_owned())]);
    let mut fork = mapper.fork(&SessionStart { subscription, values: &values, seed: 2 });
    check_in(
        &mut fork,
        &[(
            r#"{"event":"chat_session_typing","party_id":"A"}"#,
            r#"{"messageType":"Typing","data":{"state":"started"},"sender":{"id":"A","name":"Ann Lee","role":"agent"}}"#,
        )],
    );
}

#[test]
fn every_name_of_the_table_is_mapped() {
    for name in DIALECT.events {
        let mut mapper = start(CHAT_ID);
        let data =
            r#"{"state":"queued","msg":"x","msg_id":"1","party_id":"A","data":{},"file_id":"f"}"#;
        let verdict = mapper.on_frame(Input { event: name, data }, &mut |_| ());
        assert_eq!(verdict, Verdict::Mapped { raw: None }, "{name}");
    }
}

#[test]
fn broken_frames_leave_raw_where_the_source_says_so() {
    let values = BTreeMap::from([(CHAT, CHAT_ID.to_owned())]);
    let subscription = Subscription::new("acme", "support", "jane");
    let session = (DIALECT.session)(&SessionStart { subscription, values: &values, seed: 1 });
    let mut mapper = Mapper::new(session, Policy { unmapped: Keep::Drop, malformed: Keep::Raw });
    check_in(
        &mut mapper,
        &[
            ("[7]", r#"{"messageType":"Raw","data":{"event":"unknown","body":7}}"#),
            ("<html>", r#"{"messageType":"Raw","data":{"event":"unknown","body":"<html>"}}"#),
            (r#"{"event":"x"}"#, "!unmapped"),
        ],
    );
}

#[test]
fn captures_become_what_they_should() {
    golden::check_all("brightpattern");
}

#[test]
fn mutated_captures_break_nothing() {
    golden::check_mutations("brightpattern");
}
