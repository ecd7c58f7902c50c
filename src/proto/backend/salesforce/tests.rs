//! Every row of the Salesforce table, and the golden pairs.

use std::borrow::Cow;
use std::collections::BTreeMap;

use super::*;
use crate::proto::backend::golden;
use crate::proto::backend::{Credential, dialect::OptionValue};
use crate::proto::event::Subscription;
use crate::proto::secret::Secret;

#[test]
fn samples_come_out_as_blessed() {
    golden::check_all("salesforce");
}

#[test]
fn broken_samples_are_accounted_for() {
    golden::check_mutations("salesforce");
}

/// A frame of conversation `c` with entry `i`, whose payload is JSON text inside the JSON.
fn frame(payload: &str) -> String {
    frame_from("", payload)
}

/// The same with more fields of the entry.
fn frame_from(fields: &str, payload: &str) -> String {
    let payload = serde_json::Value::from(payload);
    format!(
        r#"{{"conversationId":"c","conversationEntry":{{"identifier":"i",{fields}"entryPayload":{payload}}}}}"#
    )
}

const AGENT: &str = r#""sender":{"role":"Agent","subject":"a1"},"senderDisplayName":"Ann","#;
const END_USER: &str =
    r#""sender":{"role":"EndUser","subject":"uid:1"},"senderDisplayName":"Guest","#;

/// One event with a payload gives an event with these fields beside id and conversation, or is
/// discarded for `!reason`.
#[track_caller]
fn check(event: &str, payload: &str, want: &str) {
    check_frame(event, &frame(payload), want);
}

#[track_caller]
fn check_frame(event: &str, data: &str, want: &str) {
    let full = match want.strip_prefix('{') {
        Some(rest) => format!(r#"{{"id":"i","conversationId":"c",{rest}"#),
        None => want.to_owned(),
    };
    golden::check("salesforce", &[], &[(event, data)], &[&full]);
}

/// A message with this content.
#[track_caller]
fn check_message(message: &str, want: &str) {
    check("CONVERSATION_MESSAGE", &format!(r#"{{"abstractMessage":{{{message}}}}}"#), want);
}

#[track_caller]
fn check_static(content: &str, want: &str) {
    check_message(
        &format!(r#""messageType":"StaticContentMessage","staticContent":{content}"#),
        want,
    );
}

#[test]
fn pings_are_counted_by_name() {
    for data in ["", "{}", "broken"] {
        golden::check("salesforce", &[], &[("ping", data)], &["!liveness"]);
        golden::check("salesforce", &[(CONVERSATION, "c")], &[("ping", data)], &["!liveness"]);
    }
}

#[test]
fn every_name_of_the_table_is_known() {
    for event in DIALECT.events {
        assert!(*event == "ping" || Kind::parse(event).is_some(), "{event}");
    }
    for event in [
        "MESSAGE",
        "conversation_message",
        "CONVERSATION_",
        "CONVERSATION_CHOICES_RESPONSE_MESSAGE",
        "Ping",
    ] {
        assert_eq!(Kind::parse(event), None, "{event}");
    }
}

#[test]
fn static_text_is_chat() {
    check_static(
        r#"{"formatType":"Text","text":"**hi** <b>\n```json```"}"#,
        r#"{"messageType":"Chat","text":"**hi** <b>\n```json```"}"#,
    );
    check_static(r#"{"formatType":"Text","text":""}"#, r#"{"messageType":"Chat","text":""}"#);
    check_static(r#"{"formatType":"Text","text":null}"#, "!malformed");
    check_static("null", "!malformed");
    check_message(
        r#""messageType":"StaticContentMessage","inReplyToMessageId":"m","staticContent":{"formatType":"Text","text":"x"}"#,
        r#"{"messageType":"Chat","text":"x","data":{"inReplyTo":"m"}}"#,
    );
}

#[test]
fn rich_links_are_chat_with_a_link() {
    check_static(
        r#"{"formatType":"RichLink","image":{"assetUrl":"https://i"},
            "linkItem":{"url":"https://u","titleItem":{"title":"T"}}}"#,
        r#"{"messageType":"Chat","text":"T","data":{"links":[{"url":"https://u","title":"T","image":"https://i"}]}}"#,
    );
    check_static(
        r#"{"formatType":"RichLink","linkItem":{"url":"https://u"}}"#,
        r#"{"messageType":"Chat","data":{"links":[{"url":"https://u"}]}}"#,
    );
    check_static(
        r#"{"formatType":"RichLink","linkItem":{"titleItem":{"title":"T"}}}"#,
        r#"{"messageType":"Chat","text":"T",
            "data":{"payload":{"formatType":"RichLink","linkItem":{"titleItem":{"title":"T"}}}}}"#,
    );
}

#[test]
fn attachments_are_files_without_the_vendors_address() {
    check_static(
        r#"{"formatType":"Attachments","text":"see","attachments":[
            {"id":"1","name":"a.PNG","mimeType":"IMAGE/png","url":"https://x"},{"id":2,"name":"b","mimeType":null}]}"#,
        r#"{"messageType":"File","text":"see","data":{"files":[
            {"id":"1","name":"a.PNG","kind":"image","mediaType":"IMAGE/png"},{"id":"2","name":"b","kind":"attachment"}]}}"#,
    );
    for content in [
        r#"{"formatType":"Attachments","text":"x"}"#,
        r#"{"formatType":"Attachments","attachments":[]}"#,
        r#"{"formatType":"Attachments","attachments":[7]}"#,
    ] {
        check_static(content, "!malformed");
    }
}

#[test]
fn experiences_and_unknown_formats_travel_whole() {
    check_static(
        r#"{"formatType":"ExperienceType","message":"Found 2","values":[{"value":1.10,"type":null}]}"#,
        r#"{"messageType":"Chat","text":"Found 2","data":{"payload":
            {"formatType":"ExperienceType","message":"Found 2","values":[{"value":1.10,"type":null}]}}}"#,
    );
    check_static(
        r#"{"formatType":"WebView","url":"https://x"}"#,
        r#"{"messageType":"Chat","data":{"payload":{"formatType":"WebView","url":"https://x"}}}"#,
    );
    check_static(
        r#"{"formatType":"New","a":1}"#,
        r#"{"messageType":"Chat","data":{"payload":{"formatType":"New","a":1}}}"#,
    );
}

#[test]
fn the_reason_of_a_message_is_a_key_of_its_payload() {
    let message = |content: &str| {
        format!(
            r#"{{"abstractMessage":{{"messageType":"StaticContentMessage","staticContent":{content}}},
                "messageReason":"AutomatedResponse"}}"#
        )
    };
    check(
        "CONVERSATION_MESSAGE",
        &message(r#"{"formatType":"Text","text":"x"}"#),
        r#"{"messageType":"Chat","text":"x","data":{"payload":{"messageReason":"AutomatedResponse"}}}"#,
    );
    check(
        "CONVERSATION_MESSAGE",
        &message(r#"{"formatType":"WebView","a":[1.0]}"#),
        r#"{"messageType":"Chat",
            "data":{"payload":{"formatType":"WebView","a":[1.0],"messageReason":"AutomatedResponse"}}}"#,
    );
}

#[test]
fn choices_are_chat() {
    check_message(
        r#""messageType":"ChoicesMessage","choices":{"formatType":"Buttons","text":"Which?","optionItems":[
            {"optionIdentifier":"1","optionId":"x","titleItem":{"title":"A","subTitle":"a","secondarySubTitle":"b"}},
            {"optionIdentifier":null,"optionId":2,"titleItem":{"title":"B","subTitle":null,"secondarySubTitle":"b"}},
            {"titleItem":{"title":"C"}}]}"#,
        r#"{"messageType":"Chat","text":"Which?","data":{"style":"Buttons","choices":[
            {"id":"1","title":"A","description":"a"},{"id":"2","title":"B","description":"b"},{"title":"C"}]}}"#,
    );
    check_message(
        r#""messageType":"ChoicesMessage","choices":{"formatType":"Carousel","text":"Which?","items":[1]}"#,
        r#"{"messageType":"Chat","text":"Which?","data":{"style":"Carousel",
            "payload":{"formatType":"Carousel","text":"Which?","items":[1]}}}"#,
    );
    check_message(r#""messageType":"ChoicesMessage","choices":{"optionItems":[7]}"#, "!malformed");
    check_message(r#""messageType":"ChoicesMessage""#, "!malformed");
}

#[test]
fn chosen_titles_are_joined() {
    let want = r#"{"messageType":"Chat","text":"A, B","data":{"choices":[{"id":"1","title":"A"},{"id":"2","title":"B"}],
        "inReplyTo":"m"}}"#;
    for content in [
        r#""choicesResponse":{"formatType":"Selections","selectedOptions":[
            {"optionIdentifier":"1","title":"A"},{"optionId":"2","titleItem":{"title":"B"}}]}"#,
        r#""selections":{"formatType":"Selections","chosen":[
            {"optionIdentifier":"1","titleItem":{"title":"A"}},{"optionIdentifier":"2","titleItem":"B"}]}"#,
    ] {
        let message = format!(
            r#""messageType":"ChoicesResponseMessage","inReplyToMessageId":"m","references":[],{content}"#
        );
        check_message(&message, want);
        check("CHOICES_RESPONSE_MESSAGE", &format!(r#"{{"abstractMessage":{{{message}}}}}"#), want);
        let untyped = format!(r#"{{"abstractMessage":{{"inReplyToMessageId":"m",{content}}}}}"#);
        check("CHOICES_RESPONSE_MESSAGE", &untyped, want);
    }
    check_message(r#""messageType":"ChoicesResponseMessage","choicesResponse":{}"#, "!malformed");
    check_message(r#""messageType":"ChoicesResponseMessage""#, "!malformed");
}

#[test]
fn forms_ask_and_are_answered() {
    let form = r#"{"formTitle":{"title":"N"},"message":{"title":"M"},"sections":[{"a":1.0}]}"#;
    check_message(
        &format!(r#""messageType":"FormMessage","id":"f","form":{form}"#),
        &format!(
            r#"{{"messageType":"Form","text":"M","data":{{"formId":"f","name":"N","fields":{form}}}}}"#
        ),
    );
    check_message(
        r#""messageType":"FormMessage","form":{}"#,
        r#"{"messageType":"Form","data":{"formId":"i","fields":{}}}"#,
    );
    check_message(r#""messageType":"FormMessage""#, "!malformed");
    check_message(
        r#""messageType":"FormResponseMessage","id":"f","inReplyToMessageId":"m","references":[],
            "formResponse":{"inputs":[{"value":1.0,"none":null}]}"#,
        r#"{"messageType":"Data","data":{"kind":"form_response","formResponse":{"inputs":[{"value":1.0,"none":null}]}}}"#,
    );
}

#[test]
fn messages_of_unknown_type_are_unmapped() {
    let data = frame(r#"{"abstractMessage":{"messageType":"NewMessage"}}"#);
    let body = format!(
        r#"{{"id":"minted","conversationId":"c","messageType":"Raw","data":{{"event":"CONVERSATION_MESSAGE","body":{data}}}}}"#
    );
    golden::check("salesforce", &[], &[("CONVERSATION_MESSAGE", &data)], &[&body]);
    check("CONVERSATION_MESSAGE", "{}", "!malformed");
    check_message(r#""staticContent":{"formatType":"Text","text":"x"}"#, "!malformed");
}

#[test]
fn routing_results_queue_hand_over_or_fail() {
    let check = |payload: &str, want: &str| check("CONVERSATION_ROUTING_RESULT", payload, want);
    for (wait, want) in [
        (
            r#"{"isEWTRequested":true,"estimatedWaitTimeInSeconds":45}"#,
            r#","estimatedWaitSeconds":45"#,
        ),
        (
            r#"{"isEWTRequested":true,"estimatedWaitTimeInSeconds":"0"}"#,
            r#","estimatedWaitSeconds":0"#,
        ),
        (r#"{"isEWTRequested":true,"estimatedWaitTimeInSeconds":-1}"#, ""),
        (r#"{"isEWTRequested":false,"estimatedWaitTimeInSeconds":45}"#, ""),
        (r#"{"isEWTRequested":true}"#, ""),
        ("null", ""),
    ] {
        check(
            &format!(
                r#"{{"routingType":"Initial","failureType":"None","estimatedWaitTime":{wait}}}"#
            ),
            &format!(r#"{{"messageType":"Status","data":{{"state":"queued"{want}}}}}"#),
        );
    }
    check(
        r#"{"routingType":"Transfer","failureType":"None","failureReason":null}"#,
        r#"{"messageType":"Handoff","data":{"phase":"requested"}}"#,
    );
    for failure in ["Unknown", "SubmissionError", "RoutingError", "Cancelled", "New"] {
        for (routing, want) in [
            ("Initial", r#""Status","data":{"state""#),
            ("Transfer", r#""Handoff","data":{"phase""#),
        ] {
            check(
                &format!(
                    r#"{{"routingType":"{routing}","failureType":"{failure}","failureReason":"Closed."}}"#
                ),
                &format!(
                    r#"{{"text":"Closed.","messageType":{want}:"failed","reason":"{failure}"}}}}"#
                ),
            );
        }
    }
    check(r#"{"routingType":"Initial"}"#, r#"{"messageType":"Status","data":{"state":"queued"}}"#);
    check(r#"{"routingType":"New","failureType":"None"}"#, "!malformed");
    check("{}", "!malformed");
}

#[test]
fn routing_work_results_are_connecting() {
    let event = "CONVERSATION_ROUTING_WORK_RESULT";
    check(
        event,
        r#"{"workType":"Accepted"}"#,
        r#"{"messageType":"Status","data":{"state":"connecting","reason":"Accepted"}}"#,
    );
    check(event, "{}", r#"{"messageType":"Status","data":{"state":"connecting"}}"#);
}

const CHANGED: &str = "CONVERSATION_PARTICIPANT_CHANGED";

fn change(operation: &str, role: &str, id: &str, name: &str) -> String {
    format!(
        r#"{{"operation":"{operation}","displayName":"{name}","participant":{{"role":"{role}","subject":"{id}"}}}}"#
    )
}

/// A frame of its own for these changes.
fn changed(n: usize, changes: &[String]) -> String {
    frame(&format!(r#"{{"entries":[{}]}}"#, changes.join(",")))
        .replace(r#""identifier":"i""#, &format!(r#""identifier":"{n}""#))
}

#[test]
fn people_come_and_go_one_by_one() {
    let data =
        changed(1, &[change("remove", "Supervisor", "s", ""), change("add", "Router", "r", "R")]);
    golden::check(
        "salesforce",
        &[],
        &[(CHANGED, &data)],
        &[
            r#"{"id":"1","conversationId":"c","messageType":"Participant","data":{"change":"left",
                "participant":{"id":"s","role":"supervisor"},"party":"Supervisor"}}"#,
            r#"{"id":"1.2","conversationId":"c","messageType":"Participant","data":{"change":"joined",
                "participant":{"id":"r","name":"R","role":"system"},"party":"Router"}}"#,
        ],
    );
    for (entries, want) in [
        ("[]", "!filtered"),
        ("null", "!filtered"),
        ("{}", "!malformed"),
        ("[7]", "!malformed"),
        (r#"[{"operation":"add"}]"#, "!malformed"),
        (r#"[{"operation":"move","participant":{}}]"#, "!malformed"),
        (r#"[{"operation":"add","participant":{}},{}]"#, "!malformed"),
    ] {
        check(CHANGED, &format!(r#"{{"entries":{entries}}}"#), want);
    }
    check(CHANGED, "{}", "!filtered");
}

/// Types of the events, and the ends of the derived hand-overs.
fn handoffs(frames: &[String]) -> Vec<String> {
    let frames: Vec<(&str, &str)> = frames.iter().map(|data| (CHANGED, data.as_str())).collect();
    let told = golden::play("salesforce", &[], &frames);
    let handoffs = told.iter().filter(|event| event["messageType"] == "Handoff");
    handoffs.map(|event| format!("{} {}", event["id"], event["data"])).collect()
}

#[test]
fn a_bot_or_an_agent_who_left_hands_over() {
    let completed = |id: &str, from: &str, to: &str| {
        let data = serde_json::json!({"phase": "completed", "fromAgent": from, "toAgent": to, "reason": "transfer"});
        format!("\"{id}\" {data}")
    };
    let bot = change("add", "Chatbot", "b", "Bot");
    let ann = change("add", "Agent", "a", "Ann");
    let ben = change("add", "Agent", "n", "");
    let apart = |first: &String, second: &String| {
        handoffs(&[
            changed(1, std::slice::from_ref(first)),
            changed(2, std::slice::from_ref(second)),
        ])
    };
    assert_eq!(apart(&bot, &ann), [completed("2.handoff", "Bot", "Ann")]);
    let gone = change("remove", "Agent", "a", "Ann");
    assert_eq!(
        handoffs(&[changed(1, &[bot.clone(), ann.clone(), gone.clone(), ben.clone()])]),
        [completed("1.handoff", "Bot", "Ann"), completed("1.handoff.2", "Ann", "n")]
    );
    assert_eq!(apart(&ann, &ben), [""; 0], "a conference");
    assert_eq!(apart(&gone, &ben), [completed("2.handoff", "Ann", "n")]);
    let boss = change("add", "Supervisor", "s", "Sue");
    assert_eq!(apart(&bot, &boss), [""; 0]);
}

#[test]
fn a_derived_handoff_has_the_frames_time_and_no_sender() {
    let entries = format!(
        "[{},{}]",
        change("add", "Chatbot", "b", "Bot"),
        change("add", "Agent", "a", "Ann")
    );
    let fields = format!(r#"{END_USER}"transcriptedTimestamp":1741299970123,"#);
    let data = frame_from(&fields, &format!(r#"{{"entries":{entries}}}"#));
    let told = golden::play("salesforce", &[], &[(CHANGED, &data)]);
    let handoff = told.last().expect("a hand-over");
    assert_eq!(handoff["messageType"], "Handoff");
    assert_eq!(handoff["createdAt"], "2025-03-06T22:26:10.123Z");
    assert_eq!(handoff["conversationId"], "c");
    assert!(handoff.get("direction").is_none() && handoff.get("sender").is_none(), "{handoff}");
    assert!(
        told.iter().all(|event| event.get("sender").is_none()),
        "people changing have none either"
    );
}

#[test]
fn receipts_name_their_message_or_are_filtered() {
    for (event, receipt) in [
        ("CONVERSATION_DELIVERY_ACKNOWLEDGEMENT", "delivered"),
        ("CONVERSATION_READ_ACKNOWLEDGEMENT", "read"),
    ] {
        let want = |id: &str, more: &str| {
            format!(
                r#"{{"messageType":"Receipt","data":{{"receipt":"{receipt}","messageId":"{id}"{more}}}}}"#
            )
        };
        check(
            event,
            r#"{"acknowledgedConversationEntryIdentifier":"m","acknowledgementTimestamp":1741299979200}"#,
            &want("m", r#","at":"2025-03-06T22:26:19.200Z""#),
        );
        let related = |payload| frame_from(r#""relatedRecords":["r","s"],"#, payload);
        check_frame(event, &related("{}"), &want("r", ""));
        check_frame(
            event,
            &related(r#"{"acknowledgedConversationEntryIdentifier":"m"}"#),
            &want("m", ""),
        );
        check(event, "{}", "!filtered");
        check_frame(event, &frame_from(r#""relatedRecords":[],"#, "{}"), "!filtered");
    }
}

#[test]
fn typing_starts_and_stops() {
    for (event, state) in [
        ("CONVERSATION_TYPING_STARTED_INDICATOR", "started"),
        ("CONVERSATION_TYPING_STOPPED_INDICATOR", "stopped"),
        ("CONVERSATION_TYPING_INDICATOR", "started"),
    ] {
        let want = format!(r#"{{"messageType":"Typing","data":{{"state":"{state}"}}}}"#);
        check(event, r#"{"timestamp":1741299979300}"#, &want);
        let own = format!(
            r#"{{"messageType":"Typing","data":{{"state":"{state}"}},"direction":"Incoming",
                "sender":{{"name":"Guest","role":"participant"}}}}"#
        );
        check_frame(event, &frame_from(END_USER, "{}"), &own);
    }
}

#[test]
fn progress_has_its_message_as_text() {
    check(
        "CONVERSATION_PROGRESS_INDICATOR",
        r#"{"progressIndicator":{"progressMessage":{"formatType":"Text","text":"Looking"},"indicatorType":"X"}}"#,
        r#"{"messageType":"Progress","text":"Looking","data":{"indicator":"X"}}"#,
    );
    check("CONVERSATION_PROGRESS_INDICATOR", "{}", "!malformed");
}

#[test]
fn tokens_carry_text_or_a_verdict() {
    let event = "CONVERSATION_STREAMING_TOKEN";
    let check = |payload: &str, want: &str| {
        let want = want.replacen(
            '{',
            r#"{"id":"t","conversationId":"c","#,
            usize::from(!want.starts_with('!')),
        );
        golden::check("salesforce", &[], &[(event, &frame(payload))], &[&want]);
    };
    check(
        r#"{"id":"t","streamingToken":{"tokenType":"MessageStreamingToken","sequenceNumber":"3","turnId":"x",
            "batchNumber":1,"targetMessageIdentifier":"m","token":{"text":" a"}}}"#,
        r#"{"messageType":"Token","text":" a","data":{"messageId":"m","sequence":3,"turn":"x","batch":1}}"#,
    );
    check(
        r#"{"id":"t","streamingToken":{"tokenType":"StreamingTokenValidation","sequenceNumber":4,
            "targetMessageIdentifier":"m","result":{"valid":false,"reason":"UNGROUNDED"}}}"#,
        r#"{"messageType":"Token","data":{"messageId":"m","valid":false,"reason":"UNGROUNDED","sequence":4}}"#,
    );
    check(
        r#"{"id":"t","streamingToken":{"tokenType":"StreamingTokenValidation","targetMessageIdentifier":"m",
            "result":{"valid":true}}}"#,
        r#"{"messageType":"Token","data":{"messageId":"m","valid":true}}"#,
    );
    for payload in [
        "{}",
        r#"{"id":"t","streamingToken":{"token":{"text":"x"}}}"#,
        r#"{"id":"t","streamingToken":{"targetMessageIdentifier":"m"}}"#,
        r#"{"id":"t","streamingToken":{"tokenType":"StreamingTokenValidation","targetMessageIdentifier":"m"}}"#,
        r#"{"id":"t","streamingToken":{"tokenType":"StreamingTokenValidation","targetMessageIdentifier":"m","result":{}}}"#,
    ] {
        check(payload, "!malformed");
    }
}

#[test]
fn tokens_repeat_by_the_id_of_their_payload() {
    let event = "CONVERSATION_STREAMING_TOKEN";
    let token = |id: &str| {
        frame(&format!(
            r#"{{"id":"{id}","streamingToken":{{"targetMessageIdentifier":"m","token":{{"text":"a"}}}}}}"#
        ))
    };
    let told = golden::play(
        "salesforce",
        &[],
        &[(event, &token("t")), (event, &token("u")), (event, &token("t"))],
    );
    let ids: Vec<_> = told.iter().map(|told| told.get("id").unwrap_or(told)).collect();
    assert_eq!(ids, ["t", "u", "!duplicate"]);
}

#[test]
fn session_states() {
    let check =
        |payload: &str, want: &str| check("CONVERSATION_SESSION_STATUS_CHANGED", payload, want);
    for (status, state) in [("Active", "active"), ("Waiting", "waiting"), ("Ended", "ended")] {
        check(
            &format!(r#"{{"sessionStatus":"{status}"}}"#),
            &format!(r#"{{"messageType":"Status","data":{{"state":"{state}"}}}}"#),
        );
    }
    for (role, want) in [
        ("Agent", "agent"),
        ("EndUser", "participant"),
        ("Chatbot", "bot"),
        ("Supervisor", "supervisor"),
        ("X", "system"),
    ] {
        check(
            &format!(r#"{{"sessionStatus":"Ended","sessionEndedByRole":"{role}"}}"#),
            &format!(r#"{{"messageType":"Status","data":{{"state":"ended","endedBy":"{want}"}}}}"#),
        );
    }
    check(
        r#"{"entryType":"SessionStatusChanged","id":"i","timestamp":1,"sessionStatus":"Paused","sessionStatusPrev":null}"#,
        r#"{"messageType":"Data","data":{"kind":"status","sessionStatus":"Paused","sessionStatusPrev":null}}"#,
    );
    check("{}", "!malformed");
}

#[test]
fn queue_positions() {
    let check = |payload: &str, want: &str| check("CONVERSATION_QUEUE_POSITION", payload, want);
    check(
        r#"{"entryType":"QueuePosition","id":"i","position":"3","queueName":"q","total":5.0}"#,
        r#"{"messageType":"Status","data":{"state":"queued","position":3,"queue":{"queueName":"q","total":5.0}}}"#,
    );
    check(
        r#"{"queuePosition":2}"#,
        r#"{"messageType":"Status","data":{"state":"queued","position":2}}"#,
    );
    check(
        r#"{"position":{"a":1}}"#,
        r#"{"messageType":"Status","data":{"state":"queued","queue":{"position":{"a":1}}}}"#,
    );
    check("{}", r#"{"messageType":"Status","data":{"state":"queued"}}"#);
}

#[test]
fn closing_is_the_participants_end() {
    check_frame(
        "CONVERSATION_CLOSE_CONVERSATION",
        &frame_from(END_USER, r#"{"conversationIdentifier":"c"}"#),
        r#"{"messageType":"Status","direction":"Incoming","data":{"state":"ended","endedBy":"participant"}}"#,
    );
}

#[test]
fn the_rest_is_data_of_a_kind() {
    for (event, kind) in [
        ("CONVERSATION_END_USER_CONSENT_UPDATED", "consent"),
        ("CONVERSATION_CLIENT_ACTION", "client_action"),
        ("CONVERSATION_CLIENT_MENU", "client_menu"),
    ] {
        check(
            event,
            r#"{"entryType":"X","id":"i","kind":"k","a":{"b":1.0},"none":null}"#,
            &format!(
                r#"{{"messageType":"Data","data":{{"kind":"{kind}","a":{{"b":1.0}},"none":null}}}}"#
            ),
        );
    }
}

#[test]
fn the_end_is_told_once() {
    let entry = |n: usize, payload: &str| {
        frame(payload).replace(r#""identifier":"i""#, &format!(r#""identifier":"{n}""#))
    };
    let ended = r#"{"sessionStatus":"Ended"}"#;
    let failed = r#"{"routingType":"Initial","failureType":"RoutingError"}"#;
    let queued = r#"{"routingType":"Initial"}"#;
    let text = r#"{"abstractMessage":{"messageType":"StaticContentMessage","staticContent":{"formatType":"Text","text":"x"}}}"#;
    let (status, close) =
        ("CONVERSATION_SESSION_STATUS_CHANGED", "CONVERSATION_CLOSE_CONVERSATION");
    let rows = [
        (status, ended, "ended"),
        (close, "{}", "!duplicate"),
        ("CONVERSATION_ROUTING_RESULT", failed, "!duplicate"),
        ("CONVERSATION_TYPING_STARTED_INDICATOR", "{}", "Typing"),
        (status, r#"{"sessionStatus":"Waiting"}"#, "waiting"),
        (close, "{}", "!duplicate"),
        ("CONVERSATION_MESSAGE", text, "Chat"),
        (close, "{}", "ended"),
        (CHANGED, r#"{"entries":[{"operation":"add","participant":{}}]}"#, "Participant"),
        ("CONVERSATION_ROUTING_RESULT", failed, "failed"),
        (status, ended, "!duplicate"),
        ("CONVERSATION_ROUTING_RESULT", queued, "queued"),
        (status, ended, "ended"),
    ];
    let data: Vec<String> =
        rows.iter().enumerate().map(|(n, (_, payload, _))| entry(n, payload)).collect();
    let frames: Vec<(&str, &str)> =
        rows.iter().zip(&data).map(|((event, ..), data)| (*event, data.as_str())).collect();
    let told: Vec<String> = golden::play("salesforce", &[], &frames)
        .iter()
        .map(|told| {
            let word = told["data"].get("state").filter(|_| told["messageType"] == "Status");
            word.or_else(|| told.get("messageType"))
                .unwrap_or(told)
                .as_str()
                .expect("a word")
                .to_owned()
        })
        .collect();
    assert_eq!(told, rows.map(|(_, _, want)| want));
}

#[test]
fn senders_are_who_the_entry_names() {
    let check = |fields: &str, want: &str| {
        let want = format!(r#"{{"messageType":"Typing","data":{{"state":"started"}}{want}}}"#);
        check_frame("CONVERSATION_TYPING_STARTED_INDICATOR", &frame_from(fields, "{}"), &want);
    };
    check(AGENT, r#","sender":{"id":"a1","name":"Ann","role":"agent"}"#);
    check(END_USER, r#","direction":"Incoming","sender":{"name":"Guest","role":"participant"}"#);
    for (role, want) in [
        ("Chatbot", "bot"),
        ("Supervisor", "supervisor"),
        ("System", "system"),
        ("Router", "system"),
        ("agent", "system"),
    ] {
        check(
            &format!(r#""sender":{{"role":"{role}","subject":7}},"senderDisplayName":"","#),
            &format!(r#","sender":{{"id":"7","role":"{want}"}}"#),
        );
    }
    check(r#""senderDisplayName":"Ann","#, "");
    check(r#""sender":null,"senderDisplayName":"Ann","#, "");
}

#[test]
fn times_are_the_servers_else_the_clients_else_of_arrival() {
    let check = |fields: &str, want: Option<&str>| {
        let want = want.map(|time| format!(r#","createdAt":"{time}""#)).unwrap_or_default();
        let want = format!(r#"{{"messageType":"Typing","data":{{"state":"started"}}{want}}}"#);
        check_frame("CONVERSATION_TYPING_STARTED_INDICATOR", &frame_from(fields, "{}"), &want);
    };
    let (first, second) = (Some("2025-03-06T22:26:10.001Z"), Some("2025-03-06T22:26:10.002Z"));
    check(r#""transcriptedTimestamp":1741299970001,"clientTimestamp":1741299970002,"#, first);
    check(r#""transcriptedTimestamp":"1741299970001","#, first);
    check(r#""transcriptedTimestamp":null,"clientTimestamp":"1741299970002","#, second);
    check(r#""transcriptedTimestamp":0,"clientTimestamp":1741299970002,"#, second);
    check(r#""transcriptedTimestamp":"soon","#, None);
    check("", None);
}

#[test]
fn a_payload_is_text_or_an_object() {
    let event = "CONVERSATION_SESSION_STATUS_CHANGED";
    let data = |payload: &str| {
        format!(
            r#"{{"conversationId":"c","conversationEntry":{{"identifier":"i","entryPayload":{payload}}}}}"#
        )
    };
    let want = r#"{"messageType":"Status","data":{"state":"active"}}"#;
    check_frame(event, &data(r#"{"sessionStatus":"Active"}"#), want);
    check_frame(event, &data(r#""{\"sessionStatus\":\"Active\"}""#), want);
    let too_deep = format!(
        "\"{{\\\"sessionStatus\\\":\\\"Active\\\",\\\"a\\\":{}{}}}\"",
        "[".repeat(200),
        "]".repeat(200)
    );
    for payload in ["7", "[]", "true", "\"\"", "\"text\"", "\"[]\"", "\"{\"", &too_deep] {
        check_frame(event, &data(payload), "!malformed");
    }
}

#[test]
fn other_conversations_are_foreign_where_one_is_named() {
    let named = [(CONVERSATION, "c")];
    let typing = "CONVERSATION_TYPING_STARTED_INDICATOR";
    let owned = |owner: &str| {
        format!(r#"{{"conversationId":{owner},"conversationEntry":{{"identifier":"i"}}}}"#)
    };
    for (data, want) in [
        (owned("\"d\""), "!foreign"),
        (owned("\"C\""), "!foreign"),
        (owned("\"\""), "!foreign"),
        (owned("null"), "!malformed"),
        (owned("7"), "!malformed"),
        (r#"{"conversationEntry":{}}"#.to_owned(), "!malformed"),
        ("[]".to_owned(), "!malformed"),
        ("{".to_owned(), "!malformed"),
        (String::new(), "!malformed"),
    ] {
        // Not even an unknown event leaves as Raw: it may be somebody else's.
        for event in [typing, "CONVERSATION_NEW", "message"] {
            golden::check("salesforce", &named, &[(event, &data)], &[want]);
        }
    }
    let want =
        r#"{"id":"i","conversationId":"c","messageType":"Typing","data":{"state":"started"}}"#;
    golden::check("salesforce", &named, &[(typing, &owned("\"c\""))], &[want]);
}

#[test]
fn without_a_named_conversation_all_pass() {
    let typing = "CONVERSATION_TYPING_STARTED_INDICATOR";
    for (owner, want) in
        [("\"d\"", r#""conversationId":"d","#), ("7", r#""conversationId":"7","#), ("null", "")]
    {
        let data = format!(r#"{{"conversationId":{owner},"conversationEntry":{{}}}}"#);
        let want = format!(
            r#"{{"id":"minted",{want}"messageType":"Typing","data":{{"state":"started"}}}}"#
        );
        golden::check("salesforce", &[], &[(typing, &data)], &[&want]);
    }
}

#[test]
fn broken_frames_are_malformed_and_unknown_ones_raw() {
    for data in [
        "",
        "Jwt is expired",
        "{",
        "[]",
        "7",
        "null",
        "{}",
        r#"{"conversationId":"c","conversationEntry":7}"#,
    ] {
        golden::check("salesforce", &[], &[("CONVERSATION_MESSAGE", data)], &["!malformed"]);
    }
    for (data, want) in [
        (
            "Jwt is expired",
            r#"{"id":"minted","messageType":"Raw","data":{"event":"NEW","body":"Jwt is expired"}}"#,
        ),
        ("[1.0]", r#"{"id":"minted","messageType":"Raw","data":{"event":"NEW","body":[1.0]}}"#),
        (
            r#"{"conversationId":"c"}"#,
            r#"{"id":"minted","conversationId":"c","messageType":"Raw",
                "data":{"event":"NEW","body":{"conversationId":"c"}}}"#,
        ),
    ] {
        golden::check("salesforce", &[], &[("NEW", data)], &[want]);
    }
}

#[test]
fn repeats_are_duplicates_and_edits_pass() {
    let text = |text: &str| {
        frame(&format!(
            r#"{{"abstractMessage":{{"messageType":"StaticContentMessage","staticContent":{{"formatType":"Text","text":"{text}"}}}}}}"#
        ))
    };
    let event = "CONVERSATION_MESSAGE";
    let want = |text: &str| {
        format!(r#"{{"id":"i","conversationId":"c","messageType":"Chat","text":"{text}"}}"#)
    };
    golden::check(
        "salesforce",
        &[],
        &[(event, &text("a")), (event, &text("a")), (event, &text("b")), (event, &text("b"))],
        &[&want("a"), "!duplicate", &want("b"), "!duplicate"],
    );
    let elsewhere = text("a").replace(r#""conversationId":"c""#, r#""conversationId":"d""#);
    let want_elsewhere = want("a").replace(r#""conversationId":"c""#, r#""conversationId":"d""#);
    golden::check(
        "salesforce",
        &[],
        &[(event, &text("a")), (event, &elsewhere)],
        &[&want("a"), &want_elsewhere],
    );
}

/// A client that brings a token and perhaps a conversation.
struct Client {
    conversation: &'static str,
}

impl Variables for Client {
    fn value(&self, variable: &Variable) -> Option<Cow<'_, str>> {
        match variable {
            Variable::Query(name) if name == "conversationId" => Some(self.conversation.into()),
            Variable::Query(name) if name == "token" => Some("eyJhbGciOiJSUzI1NiJ9.e30.sig".into()),
            Variable::TenantId
            | Variable::Workflow
            | Variable::WorkflowId
            | Variable::ParticipantId
            | Variable::ParticipantUuid
            | Variable::Query(_)
            | Variable::Header(_)
            | Variable::Claim(_) => None,
        }
    }
}

fn options(rows: &[(&'static str, &str)]) -> Options {
    let value = |text: &str| {
        OptionValue::Template(if text.contains('{') {
            Template::parse(text).expect("a template")
        } else {
            Template::literal(Secret::new(text.to_owned()))
        })
    };
    Options(rows.iter().map(|(name, text)| (*name, value(text))).collect())
}

const ORG: (&str, &str) = ("org_id", "00DHx0000000001");

#[test]
fn the_stream_is_asked_for_as_in_the_sample() {
    let plan = plan(&options(&[ORG, ("bearer", "{query.token}")])).expect("a plan");
    let Ok((request, values)) = plan.resolve("", &Client { conversation: "" }) else {
        panic!("not resolved")
    };
    let message = request.call.fill(&Credential::default()).expect("filled");
    assert_eq!(message.target, "/eventrouter/v1/sse");
    assert!(!message.has_query);
    assert_eq!(message.fresh_query, Some("_ts"));
    assert_eq!(request.resume_header, Some("Last-Event-Id"));
    let headers: Vec<String> =
        message.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
    assert_eq!(
        headers,
        [
            "Accept: text/event-stream",
            "Authorization: Bearer eyJhbGciOiJSUzI1NiJ9.e30.sig",
            "X-Org-Id: 00DHx0000000001",
            "Cache-Control: no-cache",
            "Accept-Encoding: identity",
        ]
    );
    assert!(values.is_empty());
    assert_eq!(request.silence_secs, 90);
}

#[test]
fn a_configured_conversation_must_be_there() {
    let rows = [ORG, ("bearer", "b"), (CONVERSATION, "{query.conversationId}")];
    let plan = plan(&options(&rows)).expect("a plan");
    let Ok((_, values)) = plan.resolve("", &Client { conversation: "c/1" }) else {
        panic!("not resolved")
    };
    assert_eq!(values.get(CONVERSATION).map(String::as_str), Some("c/1"));
    let error = plan.resolve("", &Client { conversation: "" }).err().expect("refused");
    assert_eq!(error.variable().to_string(), "query.conversationId");
}

#[test]
fn org_ids_have_15_characters() {
    for (org_id, want) in [
        ("00DHx0000000001", None),
        (
            "00DHx0000000001EAA",
            Some("18 characters, the stream takes the form of 15 only; leave out the last three"),
        ),
        ("00DHx000000000", Some("14 characters")),
        ("", Some("0 characters")),
        ("00DHx000000000 ", Some("letters and digits")),
        ("{query.org}", Some("cannot hold")),
    ] {
        let error = plan(&options(&[("org_id", org_id), ("bearer", "b")])).err();
        match (error, want) {
            (None, None) => {}
            (Some(error), Some(want)) => assert!(error.contains(want), "{error}"),
            (error, want) => panic!("{org_id}: {error:?} is not {want:?}"),
        }
    }
    for (rows, want) in [(&[("bearer", "b")][..], "set `org_id`"), (&[ORG], "set `bearer`")] {
        let error = plan(&options(rows)).err().expect("refused");
        assert!(error.contains(want), "{error}");
    }
}

#[test]
fn answers_are_told_by_their_status() {
    for (status, body, want) in [
        (200, "", Answer::Events),
        (200, "Jwt is expired", Answer::Unauthorized),
        (204, "", Answer::Bad),
        (400, "OrgId in the header and token must match", Answer::Bad),
        (401, "Jwt is expired", Answer::Unauthorized),
        (403, "", Answer::Unauthorized),
        (404, "", Answer::Bad),
        (429, "", Answer::RateLimited),
        (503, "", Answer::Bad),
    ] {
        assert_eq!(answer(status, body), want, "{status} {body}");
    }
}

#[test]
fn a_fork_knows_the_people_and_has_its_own_conversation() {
    let subscription = Subscription::new("acme", "support", "jane");
    let start =
        SessionStart { subscription: subscription.clone(), values: &BTreeMap::new(), seed: 1 };
    let mut session = Salesforce::new(&start, Memory::new(1));
    let mut told = Vec::new();
    let mut sink = |event: Event<'_>| told.push(event.message_type().as_str());
    let bot = changed(1, &[change("add", "Chatbot", "b", "Bot")]);
    session
        .on_frame(Input { event: CHANGED, data: &bot }, &mut Outbox::new(&mut sink))
        .expect("mapped");
    let values = BTreeMap::from([(CONVERSATION, "c".to_owned())]);
    let mut fork = session.fork(&SessionStart { subscription, values: &values, seed: 1 });
    let ann = changed(2, &[change("add", "Agent", "a", "Ann")]);
    fork.on_frame(Input { event: CHANGED, data: &ann }, &mut Outbox::new(&mut sink))
        .expect("mapped");
    let elsewhere = ann.replace(r#""conversationId":"c""#, r#""conversationId":"d""#);
    let foreign =
        fork.on_frame(Input { event: CHANGED, data: &elsewhere }, &mut Outbox::new(&mut sink));
    assert!(matches!(foreign, Err(Reject::Discard(Discard::Foreign, _))), "{foreign:?}");
    assert_eq!(told, ["Participant", "Participant", "Handoff"]);
}
