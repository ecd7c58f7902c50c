//! One test per row of the mapping table, one per rule that rows share.
//!
//! Minimal inputs; the recorded bytes are in `tests/fixtures/openfire`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::lenient::repair;
use super::stanza::{ATTRIBUTES_MAX, PREFIXES_MAX, STANZA_BYTES_MAX, TAGS_MAX};
use super::{Desk, SILENCE_SECS, answer, past, plan};
use crate::proto::backend::golden::{self, Random};
use crate::proto::backend::{
    Answer, Credential, Input, Keep, Mapper, OptionValue, Options, Policy, SessionStart, Verdict,
    Wanted,
};
use crate::proto::event::{Encoded, Envelope, Subscription};
use crate::proto::json::DEPTH_MAX;
use crate::proto::template::{Template, Variable, Variables};
use crate::proto::time::UnixMillis;

const ME: &str = "agent1@example.org/desk";
const PEER: &str = "visitor@example.org/phone";
const ROOM: &str = "r1@conference.example.org";
/// 2026-01-19T18:40:00Z
const MOMENT: i64 = 1_768_848_000_000;

#[test]
fn fixtures_come_out_as_blessed() {
    golden::check_all("openfire");
}

#[test]
fn damaged_fixtures_keep_the_conservation_law() {
    golden::check_mutations("openfire");
}

/// A stream under test.
struct Stream {
    mapper: Mapper,
    participant: &'static str,
}

fn start<T>(participant: &str, then: impl FnOnce(&SessionStart<'_>) -> T) -> T {
    let subscription = Subscription::new("acme", "support", participant);
    then(&SessionStart { subscription, values: &std::collections::BTreeMap::new(), seed: 1 })
}

impl Stream {
    fn new(participant: &'static str) -> Self {
        Self::with(participant, Policy::default())
    }

    fn with(participant: &'static str, policy: Policy) -> Self {
        let desk = start(participant, Desk::new);
        Self { mapper: Mapper::new(Box::new(desk), policy), participant }
    }

    fn fork(&self, participant: &'static str) -> Self {
        Self { mapper: start(participant, |start| self.mapper.fork(start)), participant }
    }

    /// The event's JSON, or the reason why there is none.
    fn feed(&mut self, event: &str, data: &str) -> Result<Value, &'static str> {
        let subscription = Subscription::new("acme", "support", self.participant);
        let mut events = Vec::new();
        let verdict = self.mapper.on_frame(Input { event, data }, &mut |event| {
            let encoded = Encoded::new(
                &event,
                &mut Envelope {
                    subscription: &subscription,
                    source: "desk",
                    backend: "openfire",
                    arrived: UnixMillis(0),
                    minted: &mut || "minted".to_owned(),
                },
            );
            events.push(serde_json::from_str(encoded.json()).expect("JSON"));
        });
        match verdict {
            Verdict::Mapped { .. } => {
                assert_eq!(events.len(), 1, "one frame, one event");
                Ok(events.remove(0))
            }
            Verdict::Discarded(reason, _) => {
                assert!(events.is_empty());
                Err(reason.as_str())
            }
        }
    }

    /// The time, in milliseconds after some moment.
    fn at(&mut self, millis: i64) {
        self.mapper.on_time(UnixMillis(MOMENT + millis));
    }

    fn reopen(&mut self, millis: i64) {
        self.at(millis);
        self.mapper.on_reopened();
    }

    /// What becomes of an entry of the archive: its text, or the reason why there is none.
    fn archived(&mut self, entry: &str) -> Result<String, &'static str> {
        let mut texts = Vec::new();
        let input = Input { event: "chatapi.chat", data: entry };
        let verdict = self.mapper.on_past("visitor@example.org", input, &mut |event| {
            texts.push(event.text.clone().unwrap_or_default().into_owned());
        });
        match verdict {
            Verdict::Mapped { .. } => Ok(texts.concat()),
            Verdict::Discarded(reason, _) => Err(reason.as_str()),
        }
    }

    fn stanza(&mut self, xml: &str) -> Result<Value, &'static str> {
        self.feed("chatapi.xmpp", &format!(r#"{{"xmpp":"{}"}}"#, STANDARD.encode(xml)))
    }
}

/// Compares the fields that `want` names; `null` = absent.
#[track_caller]
fn compare(got: Result<Value, &'static str>, want: &str) {
    let Ok(want_fields) = serde_json::from_str::<Value>(want) else {
        assert_eq!(got, Err(want));
        return;
    };
    let got = got.unwrap_or_else(|reason| panic!("{reason}, not {want}"));
    for (key, value) in want_fields.as_object().expect("an object") {
        assert_eq!(got.get(key).unwrap_or(&Value::Null), value, "{key} of {got}");
    }
}

#[track_caller]
fn check(event: &str, data: &str, want: &str) {
    compare(Stream::new("agent1").feed(event, data), want);
}

#[track_caller]
fn check_stanza(xml: &str, want: &str) {
    compare(Stream::new("agent1").stanza(xml), want);
}

/// A message from the peer with these children.
fn message(children: &str) -> String {
    format!(r#"<message from="{PEER}" to="{ME}" type="chat" id="s1">{children}</message>"#)
}

/// A derived frame from the peer with these fields more.
fn derived(kind: &str, fields: &str) -> String {
    format!(r#"{{"type":"{kind}","to":"{ME}","from":"{PEER}",{fields}}}"#)
}

// 7.1, row by row.

#[test]
fn on_connect_is_control_and_tells_the_user_name() {
    let mut stream = Stream::new("42");
    compare(stream.feed("onConnect", "no JSON"), "control");
    compare(stream.feed("onConnect", r#"{"username":"null"}"#), "control");
    let own = r#"{"to":"x@example.org","from":"Agent1@example.org/desk","body":"hi"}"#;
    compare(stream.feed("chatapi.chat", own), r#"{"direction":"Outgoing"}"#);
    compare(
        stream.feed("onConnect", r#"{"name":"A","username":"agent1","email":"a@b"}"#),
        "control",
    );
    compare(
        stream.feed("chatapi.chat", own),
        r#"{"direction":"Incoming","conversationId":"x@example.org","text":"hi",
            "sender":{"id":"Agent1@example.org/desk","name":"Agent1","role":"participant"}}"#,
    );
}

#[test]
fn stanzas_are_base64_with_or_without_padding() {
    let xml = message("<body>hi</body>");
    let encoded = STANDARD.encode(&xml);
    assert!(encoded.ends_with('='), "the test wants padding");
    let (first, rest) = encoded.split_at(40);
    let broken = format!("{first}\\r\\n {rest}");
    for encoded in [encoded.as_str(), encoded.trim_end_matches('='), &broken] {
        check(
            "chatapi.xmpp",
            &format!(r#"{{"xmpp":"{encoded}"}}"#),
            r#"{"messageType":"Chat","text":"hi"}"#,
        );
    }
    // Two `data:` lines: the line break lies raw within the string.
    check("chatapi.xmpp", &format!("{{\"xmpp\":\"{first}\n{rest}\"}}"), r#"{"text":"hi"}"#);
    for data in [
        "",
        "[]",
        "{}",
        r#"{"xmpp":"null"}"#,
        r#"{"xmpp":7}"#,
        r#"{"xmpp":"*"}"#,
        r#"{"xmpp":"PG_-"}"#,
    ] {
        check("chatapi.xmpp", data, "malformed");
    }
}

#[test]
fn stanzas_in_another_charset_lose_letters_only() {
    let xml = [message("<body>Ol").as_bytes(), b"", b""].concat();
    let xml = String::from_utf8(xml).expect("text").replace("</message>", "");
    let bytes = [xml.as_bytes(), b"\xE1", b"</body></message>"].concat();
    let data = format!(r#"{{"xmpp":"{}"}}"#, STANDARD.encode(bytes));
    check("chatapi.xmpp", &data, "{\"text\":\"Ol\u{FFFD}\"}");
}

#[test]
fn a_message_stanza_shadows_derived_messages_only() {
    let mut stream = Stream::new("agent1");
    stream.stanza(&message("<body>hi</body>")).expect("mapped");
    let groupchat = derived("groupchat", r#""body":"hi""#);
    for (event, data) in [
        ("chatapi.chat", derived("chat", r#""body":"hi""#)),
        ("chatapi.chat", derived("chat", r#""state":"active""#)),
        ("chatapi.notify", derived("notify", r#""data":{}"#)),
        ("chatapi.muc", groupchat.clone()),
        ("chatapi.ask", groupchat.clone()),
        ("chatapi.fastpath", groupchat),
    ] {
        compare(stream.feed(event, &data), "shadowed");
    }
    for (event, data, want) in [
        (
            "chatapi.muc",
            derived("invitationReceived", r#""room":"r""#),
            r#"{"messageType":"Invite"}"#,
        ),
        (
            "chatapi.ask",
            derived("update-queue", r#""position":"1""#),
            r#"{"messageType":"Status"}"#,
        ),
        ("chatapi.fastpath", derived("offer", r#""mucRoom":"r""#), r#"{"messageType":"Handoff"}"#),
        ("chatapi.openlink", derived("callstatus", r#""json":"{}""#), r#"{"messageType":"Call"}"#),
        (
            "chatapi.presence",
            derived("presence", r#""show":"dnd""#),
            r#"{"messageType":"Presence"}"#,
        ),
    ] {
        compare(stream.feed(event, &data), want);
    }
    compare(stream.feed("chatapi.chat", "{"), "malformed");
}

#[test]
fn any_message_stanza_shadows_and_no_other() {
    let chat = derived("chat", r#""body":"hi""#);
    let mut stream = Stream::new("agent1");
    compare(stream.stanza("<iq type='result'/>"), "filtered");
    compare(stream.stanza("<message"), "malformed");
    stream.feed("chatapi.chat", &chat).expect("mapped");
    compare(stream.stanza("<message/>"), "filtered");
    compare(stream.feed("chatapi.chat", &chat), "shadowed");
}

#[test]
fn a_presence_stanza_shadows_derived_presences_only() {
    let mut stream = Stream::new("agent1");
    compare(stream.stanza("<presence type='subscribe'/>"), "filtered");
    compare(stream.feed("chatapi.presence", &derived("presence", r#""show":"dnd""#)), "shadowed");
    stream.feed("chatapi.chat", &derived("chat", r#""body":"hi""#)).expect("mapped");
}

#[test]
fn a_derived_chat_is_a_chat() {
    check(
        "chatapi.chat",
        &derived("chat", r#""data":{"a": 1.0},"body":"hi""#),
        r#"{"id":"minted","messageType":"Chat","text":"hi","data":{"payload":{"a":1.0}},
            "direction":"Outgoing",
            "conversationId":"visitor@example.org","createdAt":"1970-01-01T00:00:00.000Z",
            "sender":{"id":"visitor@example.org/phone","name":"visitor","role":"peer"}}"#,
    );
    check(
        "chatapi.chat",
        &derived("normal", r#""data":null,"body":"hi""#),
        r#"{"messageType":"Chat","data":null}"#,
    );
    check(
        "chatapi.chat",
        &derived("chat", r#""data":"null","body":"null""#),
        r#"{"text":"null","data":null}"#,
    );
    check("chatapi.chat", &derived("chat", r#""body":"""#), "filtered");
    check(
        "chatapi.chat",
        r#"{"from":"null","body":"hi"}"#,
        r#"{"text":"hi","sender":null,"conversationId":null}"#,
    );
}

#[test]
fn derived_errors_and_headlines_are_notices() {
    let error = r#"{"messageType":"Notice","text":"hi","data":{"level":"error"}}"#;
    check("chatapi.chat", &derived("error", r#""body":"hi""#), error);
    let headline = r#"{"messageType":"Notice","text":"hi","data":{"level":"info"}}"#;
    check("chatapi.chat", &derived("headline", r#""body":"hi""#), headline);
}

#[test]
fn a_derived_state_is_typing() {
    for (state, want) in [
        ("composing", r#"{"state":"started"}"#),
        ("paused", r#"{"state":"stopped","detail":"paused"}"#),
        ("active", r#"{"state":"stopped","detail":"active"}"#),
        ("inactive", r#"{"state":"stopped","detail":"inactive"}"#),
        ("gone", r#"{"state":"stopped","detail":"gone"}"#),
    ] {
        let data = derived("chat", &format!(r#""state":"{state}""#));
        check("chatapi.chat", &data, &format!(r#"{{"messageType":"Typing","data":{want}}}"#));
    }
    check("chatapi.chat", &derived("chat", r#""state":"dancing""#), "malformed");
    check("chatapi.chat", &derived("chat", r#""data":{}"#), "malformed");
}

#[test]
fn a_derived_presence_is_always_available() {
    for (fields, want) in [
        (
            r#""show":"available","status":"null""#,
            r#"{"data":{"available":true,"show":"online"},"text":null}"#,
        ),
        (
            r#""show":"null","status":"""#,
            r#"{"data":{"available":true,"show":"online"},"text":null}"#,
        ),
        (r#""show":"""#, r#"{"data":{"available":true,"show":"online"}}"#),
        (r#""show":"dancing""#, r#"{"data":{"available":true,"show":"online"}}"#),
        (
            r#""show":"away","status":"out""#,
            r#"{"data":{"available":true,"show":"away"},"text":"out"}"#,
        ),
        (r#""show":"chat""#, r#"{"data":{"available":true,"show":"chat"}}"#),
        (r#""show":"dnd""#, r#"{"data":{"available":true,"show":"dnd"}}"#),
        (r#""show":"xa""#, r#"{"data":{"available":true,"show":"xa"}}"#),
    ] {
        check("chatapi.presence", &derived("presence", fields), want);
    }
    check("chatapi.presence", r#"{"from":"null","show":"dnd"}"#, "malformed");
}

#[test]
fn a_derived_room_message_is_a_chat_in_its_room() {
    let data = format!(
        r#"{{"type":"groupchat","to":"{ME}","from":"{ROOM}/ann","data":{{"a":1}},"body":"hi"}}"#
    );
    for event in ["chatapi.muc", "chatapi.ask", "chatapi.fastpath"] {
        check(
            event,
            &data,
            r#"{"messageType":"Chat","text":"hi","conversationId":"r1@conference.example.org",
                "data":{"room":"r1@conference.example.org","payload":{"a":1}},
                "sender":{"id":"r1@conference.example.org/ann","name":"ann","role":"peer"}}"#,
        );
    }
}

#[test]
fn a_derived_invitation_is_an_invite() {
    check(
        "chatapi.muc",
        r#"{"type":"invitationReceived","password":"null","room":"r@c/x","inviter":"i@w","to":"a@b",
            "from":"r@c","url":"https://x/r","reason":"null"}"#,
        r#"{"messageType":"Invite","conversationId":"r@c","data":{"room":"r@c/x","inviter":"i@w",
            "url":"https://x/r"}}"#,
    );
    let full =
        r#"{"type":"invitationReceived","password":"p","room":"r","reason":"why","from":"r@c"}"#;
    check("chatapi.muc", full, r#"{"data":{"room":"r","password":"p","reason":"why"}}"#);
    check(
        "chatapi.muc",
        r#"{"type":"invitationReceived","room":"null","from":"r@c"}"#,
        "malformed",
    );
}

#[test]
fn an_openlink_call_status_is_a_call() {
    for (json, want) in [
        (
            r#""{\"status\":\"up\",\"n\":1.0}""#,
            r#"{"status":"up","payload":{"status":"up","n":1.0}}"#,
        ),
        (
            r#""{\"state\":\"up\",\"status\":7}""#,
            r#"{"status":"up","payload":{"state":"up","status":7}}"#,
        ),
        (r#""[1]""#, r#"{"payload":[1]}"#),
        (r#"{"state":"up"}"#, r#"{"status":"up","payload":{"state":"up"}}"#),
        (r#""no \"JSON\"""#, r#"{"payload":"no \"JSON\""}"#),
    ] {
        let want = format!(
            r#"{{"messageType":"Call","conversationId":"visitor@example.org","data":{want}}}"#
        );
        check("chatapi.openlink", &derived("callstatus", &format!(r#""json":{json}"#)), &want);
    }
    check("chatapi.openlink", &derived("callstatus", r#""json":"null""#), "malformed");
    let deep = format!("\"json\":\"{}{}\"", "[".repeat(DEPTH_MAX + 1), "]".repeat(DEPTH_MAX + 1));
    check("chatapi.openlink", &derived("callstatus", &deep), "malformed");
}

#[test]
fn an_offer_to_an_agent_is_offered_and_revoked() {
    for (fields, want) in [
        (r#""metaData":{"q":"a","n":1.0}"#, r#"{"q":"a","n":1.0}"#),
        (
            r#""metadata":"question, name = Ann=a ,,question=x""#,
            r#"{"question":"","name":"Ann=a"}"#,
        ),
        (r#""metadata":{"q":"a"}"#, r#"{"q":"a"}"#),
    ] {
        let data = format!(
            r#"{{"type":"offerReceived","workgroup":"w@x","from":"v@x/1","id":"o1",{fields}}}"#
        );
        let want = format!(
            r#"{{"messageType":"Handoff","conversationId":null,"sender":{{"id":"v@x/1","name":"v",
                "role":"peer"}},
                "data":{{"phase":"offered","workgroup":"w@x","offerId":"o1","metadata":{want}}}}}"#
        );
        for event in ["chatapi.fastpath", "chatapi.assist"] {
            check(event, &data, &want);
        }
    }
    let revoked = r#"{"type":"offerRevoked","workgroup":"w@x","from":"v@x/1","id":7,
        "reason":"late","metaData":{}}"#;
    for event in ["chatapi.fastpath", "chatapi.assist"] {
        check(
            event,
            revoked,
            r#"{"data":{"phase":"revoked","workgroup":"w@x","offerId":"7","reason":"late"}}"#,
        );
        check(
            event,
            r#"{"type":"offerReceived","metadata":" , "}"#,
            r#"{"data":{"phase":"offered"}}"#,
        );
    }
}

#[test]
fn an_offer_to_a_visitor_is_accepted() {
    let data =
        r#"{"type":"offer","to":"v@x","from":"w@workgroup.x","mucRoom":"r@c/n","url":"https://x"}"#;
    for event in ["chatapi.fastpath", "chatapi.ask"] {
        check(
            event,
            data,
            r#"{"messageType":"Handoff","conversationId":"r@c","sender":{"id":"w@workgroup.x",
                "name":"w","role":"system"},
                "data":{"phase":"accepted","workgroup":"w@workgroup.x","room":"r@c/n",
                    "url":"https://x"}}"#,
        );
    }
}

#[test]
fn a_place_in_the_queue_is_a_status() {
    check(
        "chatapi.ask",
        r#"{"type":"update-queue","to":"v@x","from":"w@workgroup.x/y","remaingTime":"30",
            "position":"2"}"#,
        r#"{"messageType":"Status","conversationId":"w@workgroup.x","sender":null,
            "data":{"state":"queued","estimatedWaitSeconds":30,"position":2}}"#,
    );
    check(
        "chatapi.ask",
        r#"{"type":"update-queue","remaingTime":"null"}"#,
        r#"{"data":{"state":"queued"}}"#,
    );
    check(
        "chatapi.ask",
        r#"{"type":"depart-queue","to":"v@x","from":"w@workgroup.x"}"#,
        r#"{"messageType":"Status","data":{"state":"connecting","reason":"departed_queue"},
            "sender":null,
            "conversationId":"w@workgroup.x"}"#,
    );
}

#[test]
fn what_agents_see_of_a_queue_is_data() {
    check(
        "chatapi.ask",
        r#"{"type":"notify-queue","to":"a@x","from":"w@workgroup.x","userCount":"2",
            "userCount":"3","status":"open"}"#,
        r#"{"messageType":"Data","data":{"kind":"queue","userCount":"2","status":"open"},
            "conversationId":"w@workgroup.x"}"#,
    );
    check(
        "chatapi.ask",
        r#"{"type":"notify-queue-details","to":"a@x","from":"w@workgroup.x","userid":"v@x",
            "postion":"0"}"#,
        r#"{"messageType":"Data","data":{"kind":"queue_entry","userid":"v@x","postion":"0"}}"#,
    );
}

#[test]
fn published_objects_are_data() {
    let notify = derived("notify", r#""data":{"kind":"survey","id":4.20}"#);
    check(
        "chatapi.notify",
        &notify,
        r#"{"messageType":"Data","data":{"kind":"survey","id":4.20}}"#,
    );
    check("chatapi.notify", &derived("notify", r#""data":null"#), "malformed");
    for event in ["pubsub.item", "onAction"] {
        let want =
            r#"{"messageType":"Data","data":{"a":[1,null]},"sender":null,"conversationId":null}"#;
        check(event, r#" {"a":[1,null]} "#, want);
        check(event, "[1]", "malformed");
        check(event, "{\"a\tb\":1}", "malformed");
        check(event, "{'a':1}", "malformed");
    }
}

#[test]
fn unknown_names_and_types_are_unmapped() {
    check("message", "hi", r#"{"messageType":"Raw","data":{"event":"message","body":"hi"}}"#);
    check("ChatAPI.chat", "{}", r#"{"messageType":"Raw"}"#);
    let raw =
        r#"{"messageType":"Raw","conversationId":"visitor@example.org","direction":"Outgoing"}"#;
    for event in
        ["chatapi.muc", "chatapi.openlink", "chatapi.fastpath", "chatapi.assist", "chatapi.ask"]
    {
        check(event, &derived("dance", r#""a":1"#), raw);
        check(event, r#"{"from":"a@b"}"#, "malformed");
    }
    check("chatapi.assist", &derived("offer", r#""a":1"#), raw);
    let drop = Policy { unmapped: Keep::Drop, malformed: Keep::Raw };
    compare(Stream::with("agent1", drop).feed("dance", "{}"), "unmapped");
    let got = Stream::with("agent1", drop).feed("chatapi.chat", r#"{"from":"a@b/c"}"#);
    compare(
        got,
        r#"{"messageType":"Raw","conversationId":"a@b","data":{"event":"chatapi.chat",
            "body":{"from":"a@b/c"}}}"#,
    );
    let got = Stream::with("agent1", drop).stanza("<message><body></message>");
    compare(
        got,
        r#"{"messageType":"Raw","data":{"event":"chatapi.xmpp",
            "body":"<message><body></message>"}}"#,
    );
}

// 7.1.1, in its order.

#[test]
fn one_an_error_is_a_notice() {
    let error = |children: &str| {
        format!(
            r#"<message xmlns="jabber:client" type="error" from="{PEER}" to="{ME}">
                <body>mine</body>{children}</message>"#
        )
    };
    let full = r#"<error type="cancel">
        <service-unavailable xmlns="urn:ietf:params:xml:ns:xmpp-stanzas"/>
        <text xmlns="urn:ietf:params:xml:ns:xmpp-stanzas">not here</text></error>"#;
    check_stanza(
        &error(full),
        r#"{"messageType":"Notice","text":"not here","data":{"level":"error",
            "code":"service-unavailable"}}"#,
    );
    check_stanza(
        &error("<error/>"),
        r#"{"messageType":"Notice","text":null,"data":{"level":"error"}}"#,
    );
    check_stanza(&error(""), r#"{"messageType":"Notice","data":{"level":"error"}}"#);
}

#[test]
fn two_invitations_are_filtered() {
    check_stanza(
        &message("<x xmlns='jabber:x:conference' jid='r@c'/><body>come</body>"),
        "filtered",
    );
    let x =
        "<x xmlns='http://jabber.org/protocol/muc#user'><invite from='a@b'/></x><body>come</body>";
    check_stanza(&message(x), "filtered");
    let x = "<x xmlns='http://jabber.org/protocol/muc#user'/><body>psst</body>";
    check_stanza(&message(x), r#"{"messageType":"Chat","text":"psst"}"#);
}

#[test]
fn three_an_out_of_band_url_is_a_file() {
    let oob =
        |url: &str, rest: &str| message(&format!("<x xmlns='jabber:x:oob'><url>{url}</url>{rest}"));
    check_stanza(
        &oob("https://x/a.PNG?x=1", "<desc>a cat</desc></x><body>https://x/a.PNG?x=1</body>"),
        r#"{"messageType":"File","text":"a cat","data":{"files":[{"kind":"image",
            "url":"https://x/a.PNG?x=1"}]}}"#,
    );
    let file = r#"{"messageType":"File","text":null,"data":{"files":[{"kind":"attachment",
        "url":"https://x/png"}]}}"#;
    check_stanza(&oob("https://x/png", "</x>"), file);
    check_stanza(
        &oob("https://x/png", "</x><body>look</body>"),
        r#"{"messageType":"Chat","text":"look"}"#,
    );
    let chat = r#"{"messageType":"Chat","text":"javascript:x"}"#;
    check_stanza(&oob("javascript:x", "</x><body>javascript:x</body>"), chat);
    check_stanza(&oob("", "</x>"), "filtered");
}

#[test]
fn four_a_body_is_a_chat() {
    check_stanza(
        &message(
            "<subject>S</subject><body>hi</body>\
             <active xmlns='http://jabber.org/protocol/chatstates'/>",
        ),
        r#"{"id":"visitor@example.org/s1","messageType":"Chat","text":"hi","data":{"subject":"S"},
            "conversationId":"visitor@example.org","direction":"Outgoing",
            "sender":{"id":"visitor@example.org/phone","name":"visitor","role":"peer"}}"#,
    );
    let lang = "<body xml:lang='de'>hallo</body><body xml:lang='fr'>salut</body>";
    check_stanza(&message(lang), r#"{"text":"hallo"}"#);
    check_stanza(&message(&format!("{lang}<body>hi</body>")), r#"{"text":"hi"}"#);
    check_stanza(&message(&format!("<body/>{lang}")), r#"{"text":"hallo"}"#);
    check_stanza(
        &message("<body>a<!-- b --><![CDATA[<c>]]> &amp;&#x64;</body>"),
        r#"{"text":"a<c> &d"}"#,
    );
    check_stanza(&message("<body xmlns='urn:other'>hi</body>"), "filtered");
    check_stanza(&message("<body/>"), "filtered");
    check_stanza(
        "<message from='a@b'><body>hi</body></message>",
        r#"{"id":"minted","messageType":"Chat"}"#,
    );
}

#[test]
fn four_a_headline_is_a_notice() {
    let xml = r#"<message type="headline" from="example.org" to="agent1@example.org">
        <body>hi</body></message>"#;
    check_stanza(
        xml,
        r#"{"messageType":"Notice","text":"hi","data":{"level":"info"},
            "sender":{"id":"example.org","role":"system"},
            "conversationId":"example.org"}"#,
    );
}

#[test]
fn four_a_delay_is_the_time() {
    let delay = |stamp: &str| {
        message(&format!("<body>hi</body><delay xmlns='urn:xmpp:delay' stamp='{stamp}'/>"))
    };
    let want = r#"{"createdAt":"2024-05-06T07:08:09.123Z","data":{"delayed":true}}"#;
    check_stanza(&delay("2024-05-06T07:08:09.1239Z"), want);
    check_stanza(
        &delay("soon"),
        r#"{"createdAt":"1970-01-01T00:00:00.000Z","data":{"delayed":true}}"#,
    );
}

#[test]
fn four_a_correction_names_what_it_replaces() {
    let replace = "<body>hi</body><replace xmlns='urn:xmpp:message-correct:0' id='s0'/>";
    check_stanza(&message(replace), r#"{"data":{"replaces":"visitor@example.org/s0"}}"#);
    let room = format!(
        "<message type='groupchat' from='{ROOM}/ann' to='{ME}' id='s1'>{replace}</message>"
    );
    check_stanza(
        &room,
        r#"{"id":"r1@conference.example.org/ann/s1","conversationId":"r1@conference.example.org",
            "data":{"room":"r1@conference.example.org",
                "replaces":"r1@conference.example.org/ann/s0"},
            "sender":{"id":"r1@conference.example.org/ann","name":"ann","role":"peer"}}"#,
    );
}

/// Smack's properties, with a `data` among them.
fn properties(value: &str) -> String {
    format!(
        "<properties xmlns='http://www.jivesoftware.com/xmlns/xmpp/properties'>
         <property><name>other</name><value type='string'>{{}}</value></property>
         <property><name>data</name><value type='string'>{value}</value></property></properties>"
    )
}

#[test]
fn four_json_beside_the_body_is_its_payload() {
    let container = "<json xmlns='urn:xmpp:json:0'> {\"a\" : 1.0} </json><body>hi</body>";
    check_stanza(&message(container), r#"{"data":{"payload":{"a":1.0}}}"#);
    let with = |value: &str| message(&format!("{}<body>hi</body>", properties(value)));
    check_stanza(&with("{\"a\":1.0}"), r#"{"messageType":"Chat","data":{"payload":{"a":1.0}}}"#);
    check_stanza(&with("no JSON"), r#"{"data":{"payload":"no JSON"}}"#);
    check_stanza(&with("null"), r#"{"messageType":"Chat","data":null}"#);
    check_stanza(&with(&format!("{}{}", "[".repeat(129), "]".repeat(129))), "malformed");
}

#[test]
fn five_receipts_name_own_messages() {
    for (receipt, want) in [
        ("<received xmlns='urn:xmpp:receipts' id='m7'/>", "delivered"),
        ("<displayed xmlns='urn:xmpp:chat-markers:0' id='m7'/>", "read"),
    ] {
        check_stanza(
            &message(receipt),
            &format!(
                r#"{{"messageType":"Receipt","id":"visitor@example.org/s1",
                    "conversationId":"visitor@example.org",
                    "data":{{"receipt":"{want}","messageId":"agent1@example.org/m7"}}}}"#
            ),
        );
        check_stanza(&message(&receipt.replace(" id='m7'", "")), "filtered");
    }
    check_stanza(&message("<received xmlns='urn:xmpp:chat-markers:0' id='m7'/>"), "filtered");
}

#[test]
fn five_own_receipts_name_the_other_sides_messages() {
    let xml = format!(
        "<message from='{ME}' to='{PEER}' id='s1'>\
         <received xmlns='urn:xmpp:receipts' id='p7'/></message>"
    );
    check_stanza(
        &xml,
        r#"{"direction":"Incoming","conversationId":"visitor@example.org",
            "data":{"receipt":"delivered",
            "messageId":"visitor@example.org/p7"}}"#,
    );
}

#[test]
fn six_data_without_a_body_is_data() {
    check_stanza(
        &message(&properties("{\"a\":1.0}")),
        r#"{"messageType":"Data","data":{"a":1.0},"text":null}"#,
    );
    check_stanza(
        &message("<json xmlns='urn:xmpp:json:0'>[1]</json>"),
        r#"{"messageType":"Data","data":[1]}"#,
    );
}

#[test]
fn seven_a_chat_state_is_typing() {
    let state =
        |name: &str| message(&format!("<{name} xmlns='http://jabber.org/protocol/chatstates'/>"));
    check_stanza(&state("composing"), r#"{"messageType":"Typing","data":{"state":"started"}}"#);
    check_stanza(
        &state("gone"),
        r#"{"messageType":"Typing","data":{"state":"stopped","detail":"gone"}}"#,
    );
    check_stanza(&state("dancing"), "filtered");
    let with_subject =
        message("<subject>S</subject><paused xmlns='http://jabber.org/protocol/chatstates'/>");
    check_stanza(&with_subject, r#"{"messageType":"Typing"}"#);
}

#[test]
fn eight_a_subject_alone_is_a_notice() {
    let notice = r#"{"messageType":"Notice","text":"S","data":{"level":"info","code":"subject"}}"#;
    check_stanza(&message("<subject>S</subject>"), notice);
}

#[test]
fn nine_the_rest_is_filtered() {
    check_stanza(&message("<event xmlns='http://jabber.org/protocol/pubsub#event'/>"), "filtered");
    check_stanza(&message("<subject/><thread>t</thread>"), "filtered");
}

fn carbon(outer: &str, direction: &str, inner: &str) -> String {
    format!(
        "<message {outer}><{direction} xmlns='urn:xmpp:carbons:2'>
         <forwarded xmlns='urn:xmpp:forward:0'>
         <delay xmlns='urn:xmpp:delay' stamp='2024-05-06T07:08:09Z'/>{inner}
         </forwarded></{direction}></message>"
    )
}

#[test]
fn carbons_are_unwrapped_from_the_own_account_only() {
    let sent = format!(
        "<message xmlns='jabber:client' from='agent1@example.org/phone' to='{PEER}' id='s9' \
         type='chat'><body>hi</body></message>"
    );
    let outer = format!("from='Agent1@example.org' to='{ME}'");
    check_stanza(
        &carbon(&outer, "sent", &sent),
        r#"{"messageType":"Chat","text":"hi","id":"agent1@example.org/s9","direction":"Incoming",
            "conversationId":"visitor@example.org","createdAt":"2024-05-06T07:08:09.000Z",
                "data":{"delayed":true},
            "sender":{"id":"agent1@example.org/phone","name":"agent1","role":"participant"}}"#,
    );
    let received = message("<body>hi</body>").replace("<message", "<message xmlns='jabber:client'");
    let want = r#"{"text":"hi","id":"visitor@example.org/s1","direction":"Outgoing",
        "conversationId":"visitor@example.org"}"#;
    check_stanza(&carbon(&outer, "received", &received), want);
    check_stanza(&carbon(&format!("to='{ME}'"), "received", &received), want);
    for outer in [
        format!("from='{PEER}' to='{ME}'"),
        format!("from='agent1@example.org/phone' to='{ME}'"),
        format!("from='agent1@example.com' to='{ME}'"),
        format!("from='example.org' to='{ME}'"),
    ] {
        check_stanza(&carbon(&outer, "received", &received), "filtered");
    }
    let twice = carbon(&outer, "received", &carbon("xmlns='jabber:client'", "received", &received));
    check_stanza(&twice, "filtered");
    check_stanza(&carbon(&outer, "sent", ""), "filtered");
    check_stanza(&message("<sent xmlns='urn:xmpp:carbons:2'/><body>hi</body>"), "filtered");
    let private = message("<private xmlns='urn:xmpp:carbons:2'/><body>hi</body>");
    check_stanza(&private, r#"{"text":"hi"}"#);
}

#[test]
fn forwarded_messages_are_unwrapped_from_the_own_account_only() {
    let inner = message("<body>hi</body>");
    let forward = |from: &str| {
        format!(
            "<message from='{from}' to='{ME}'>\
             <forwarded xmlns='urn:xmpp:forward:0'>{inner}</forwarded></message>"
        )
    };
    check_stanza(
        &forward("agent1@example.org"),
        r#"{"text":"hi","conversationId":"visitor@example.org"}"#,
    );
    check_stanza(&forward(PEER), "filtered");
}

#[test]
fn presences_say_who_is_there() {
    let presence = |attributes: &str, children: &str| {
        format!("<presence from='{PEER}' to='{ME}' {attributes}>{children}</presence>")
    };
    check_stanza(
        &presence("id='p1'", "<show>xa</show><status>out</status>"),
        r#"{"messageType":"Presence","id":"visitor@example.org/p1","text":"out",
            "conversationId":"visitor@example.org",
            "data":{"available":true,"show":"xa"},"sender":{"id":"visitor@example.org/phone",
                "name":"visitor","role":"peer"}}"#,
    );
    check_stanza(
        &presence("", ""),
        r#"{"id":"minted","data":{"available":true,"show":"online"},"text":null}"#,
    );
    let gone = r#"{"data":{"available":false,"show":"offline"},"text":"bye"}"#;
    check_stanza(&presence("type='unavailable'", "<show>dnd</show><status>bye</status>"), gone);
    for kind in ["subscribe", "subscribed", "unsubscribe", "unsubscribed", "probe", "error"] {
        check_stanza(&presence(&format!("type='{kind}'"), ""), "filtered");
    }
    let own = format!("<presence from='agent1@example.org/phone' to='{ME}'/>");
    check_stanza(
        &own,
        r#"{"direction":"Incoming","sender":{"id":"agent1@example.org/phone","name":"agent1",
            "role":"participant"}}"#,
    );
}

fn in_room(nick: &str, attributes: &str, children: &str) -> String {
    format!(
        "<presence from='{ROOM}/{nick}' to='{ME}' {attributes}>
         <x xmlns='http://jabber.org/protocol/muc#user'>
         <item affiliation='none' role='participant'/>{children}</x><show>away</show></presence>"
    )
}

const SELF: &str = "<status code='110'/>";

#[test]
fn occupants_of_a_room_are_participants() {
    let mut stream = Stream::new("agent1");
    compare(
        stream.stanza(&in_room("ann", "", "")),
        r#"{"messageType":"Participant","sender":null,
            "conversationId":"r1@conference.example.org","direction":"Outgoing",
            "data":{"change":"joined","initial":true,
                    "participant":{"id":"r1@conference.example.org/ann","name":"ann",
                        "role":"peer"}}}"#,
    );
    compare(
        stream.stanza(&in_room("me", "", SELF)),
        r#"{"messageType":"Participant","direction":"Incoming","data":{"change":"joined",
            "participant":{"id":"r1@conference.example.org/me","name":"me",
                "role":"participant"}}}"#,
    );
    compare(
        stream.stanza(&in_room("bob", "", "")),
        r#"{"data":{"change":"joined","participant":{"id":"r1@conference.example.org/bob",
            "name":"bob","role":"peer"}}}"#,
    );
    compare(
        stream.stanza(&in_room("ann", "", "")),
        r#"{"messageType":"Presence","data":{"available":true,"show":"away"},
            "conversationId":"r1@conference.example.org",
            "sender":{"id":"r1@conference.example.org/ann","name":"ann","role":"peer"}}"#,
    );
    compare(
        stream.stanza(&in_room("ann", "type='unavailable'", "")),
        r#"{"messageType":"Participant","data":{"change":"left",
            "participant":{"id":"r1@conference.example.org/ann","name":"ann","role":"peer"}}}"#,
    );
    compare(stream.stanza(&in_room("ann", "type='error'", "")), "filtered");
}

#[test]
fn the_own_nick_is_the_participant() {
    let mut stream = Stream::new("agent1");
    let said = |nick: &str| {
        format!(
            "<message type='groupchat' from='{ROOM}/{nick}' to='{ME}' id='s1'>\
             <body>hi</body></message>"
        )
    };
    let peer = r#"{"direction":"Outgoing","sender":{"id":"r1@conference.example.org/me",
        "name":"me","role":"peer"}}"#;
    compare(stream.stanza(&said("me")), peer);
    stream.stanza(&in_room("me", "", SELF)).expect("mapped");
    let own = r#"{"direction":"Incoming","conversationId":"r1@conference.example.org",
        "sender":{"id":"r1@conference.example.org/me","name":"me","role":"participant"}}"#;
    compare(stream.stanza(&said("me").replace(">hi<", ">ho<")), own);
    compare(stream.stanza(&said("Me")), r#"{"direction":"Outgoing"}"#);
    // A renaming, then leaving.
    let renamed = "<status code='303'/><status code='110'/>";
    let renaming =
        in_room("me", "type='unavailable'", renamed).replace("role='participant'", "nick='I'");
    compare(stream.stanza(&renaming), r#"{"messageType":"Participant","direction":"Incoming"}"#);
    compare(stream.stanza(&said("I")), r#"{"direction":"Incoming"}"#);
    compare(
        stream.stanza(&in_room("I", "type='unavailable'", SELF)),
        r#"{"direction":"Incoming"}"#,
    );
    compare(stream.stanza(&said("I").replace(">hi<", ">ho<")), r#"{"direction":"Outgoing"}"#);
}

#[test]
fn receipts_and_whispers_in_a_room_use_its_nicks() {
    let mut stream = Stream::new("agent1");
    stream.stanza(&in_room("me", "", SELF)).expect("mapped");
    let read = format!(
        "<message type='groupchat' from='{ROOM}/ann' to='{ME}'>\
         <displayed xmlns='urn:xmpp:chat-markers:0' id='m7'/></message>"
    );
    let want = r#"{"data":{"receipt":"read","messageId":"r1@conference.example.org/me/m7"}}"#;
    compare(stream.stanza(&read), want);
    let whisper = format!(
        "<message type='chat' from='{ROOM}/ann' to='{ME}' id='w1'><body>psst</body></message>"
    );
    compare(
        stream.stanza(&whisper),
        r#"{"id":"r1@conference.example.org/ann/w1","conversationId":"r1@conference.example.org",
            "data":null,
            "sender":{"id":"r1@conference.example.org/ann","name":"ann","role":"peer"}}"#,
    );
}

// What rows share.

#[test]
fn a_participant_id_with_a_domain_is_the_own_jid() {
    let mut stream = Stream::new("Jane@Example.org");
    stream.feed("onConnect", r#"{"username":"agent1"}"#).expect_err("control");
    let from_jane = r#"{"type":"chat","to":"x@other.org","from":"jane@example.org/1","body":"hi"}"#;
    compare(
        stream.feed("chatapi.chat", from_jane),
        r#"{"direction":"Incoming","conversationId":"x@other.org"}"#,
    );
    let from_agent =
        r#"{"type":"chat","to":"jane@example.org","from":"agent1@example.org","body":"hi"}"#;
    compare(
        stream.feed("chatapi.chat", from_agent),
        r#"{"direction":"Outgoing","conversationId":"agent1@example.org"}"#,
    );
}

#[test]
fn workgroups_and_servers_are_the_system() {
    for (from, role) in [
        ("example.org", "system"),
        ("w@workgroup.example.org", "system"),
        ("w@Workgroup.example.org/x", "system"),
        ("w@workgroups.example.org", "peer"),
        ("v@example.org", "peer"),
    ] {
        let got = Stream::new("agent1")
            .feed("chatapi.chat", &format!(r#"{{"from":"{from}","body":"hi"}}"#));
        assert_eq!(got.expect("mapped")["sender"]["role"], role, "{from}");
    }
}

#[test]
fn the_same_stanza_again_is_a_duplicate() {
    let mut stream = Stream::new("agent1");
    let (first, edit) = (message("<body>hi</body>"), message("<body>ho</body>"));
    compare(stream.stanza(&first), r#"{"text":"hi"}"#);
    compare(stream.stanza(&first), "duplicate");
    compare(stream.stanza(&edit), r#"{"text":"ho","id":"visitor@example.org/s1"}"#);
    compare(stream.stanza(&first), r#"{"text":"hi"}"#);
    let without_id = first.replace(" id=\"s1\"", "");
    compare(stream.stanza(&without_id), r#"{"id":"minted"}"#);
    compare(stream.stanza(&without_id), r#"{"id":"minted"}"#);
    let presence = format!("<presence from='{PEER}' to='{ME}' id='p1'/>");
    compare(stream.stanza(&presence), r#"{"messageType":"Presence"}"#);
    compare(stream.stanza(&presence), "duplicate");
}

#[test]
fn a_fork_keeps_what_the_stream_told() {
    let mut stream = Stream::new("42");
    stream.feed("onConnect", r#"{"username":"agent1"}"#).expect_err("control");
    stream.stanza(&in_room("me", "", SELF)).expect("mapped");
    let said = message("<body>hi</body>");
    stream.stanza(&said).expect("mapped");
    let mut fork = stream.fork("43");
    compare(fork.stanza(&said), r#"{"participantId":"43","text":"hi"}"#);
    compare(fork.feed("chatapi.chat", &derived("chat", r#""body":"hi""#)), "shadowed");
    compare(fork.feed("chatapi.presence", &derived("presence", r#""show":"dnd""#)), "shadowed");
    let own =
        format!("<message type='groupchat' from='{ROOM}/me' to='{ME}'><body>hi</body></message>");
    compare(fork.stanza(&own), r#"{"direction":"Incoming"}"#);
    let own = format!("<message from='agent1@example.org/x' to='{ME}'><body>hi</body></message>");
    compare(fork.stanza(&own), r#"{"direction":"Incoming"}"#);
}

#[test]
fn stanzas_are_bounded() {
    let within = |depth: usize| {
        message(&format!("{}{}<body>hi</body>", "<a>".repeat(depth), "</a>".repeat(depth)))
    };
    check_stanza(&within(DEPTH_MAX - 1), r#"{"text":"hi"}"#);
    check_stanza(&within(DEPTH_MAX), "malformed");
    check_stanza(&message(&format!("<body>hi</body>{}", "<a/>".repeat(TAGS_MAX))), "malformed");
    let attributes = |count: usize| {
        let list: String = (0..count).map(|n| format!(" a{n}='1'")).collect();
        message(&format!("<body{list}>hi</body>"))
    };
    check_stanza(&attributes(ATTRIBUTES_MAX), r#"{"text":"hi"}"#);
    check_stanza(&attributes(ATTRIBUTES_MAX + 1), "malformed");
    let prefixes = |count: usize| {
        let list: String = (0..count).map(|n| format!("<a xmlns:p{n}='u'/>")).collect();
        message(&format!("<body>hi</body>{list}"))
    };
    check_stanza(&prefixes(PREFIXES_MAX), r#"{"text":"hi"}"#);
    check_stanza(&prefixes(PREFIXES_MAX + 1), "malformed");
    check_stanza(&message(&format!("<body>{}</body>", "a".repeat(STANZA_BYTES_MAX))), "oversize");
}

#[test]
fn stanzas_have_no_dtd_and_no_entities() {
    let body = message("<body>&x;</body>");
    check_stanza(&format!("<!DOCTYPE message [<!ENTITY x 'hi'>]>{body}"), "malformed");
    check_stanza(&format!("<!DOCTYPE message>{}", message("<body>hi</body>")), "malformed");
    check_stanza(&body, "malformed");
    check_stanza(&message("<body>&lt;&gt;&amp;&quot;&apos;</body>"), r#"{"text":"<>&\"'"}"#);
    for xml in [
        "",
        "hi",
        "<message>",
        "<message a=b/>",
        "<message a='1' a='2'/>",
        "<dance/>",
        "<message/><message/>",
    ] {
        check_stanza(xml, "malformed");
    }
    check_stanza(
        "<?xml version='1.0'?><message from='a@b'><body>hi</body></message>",
        r#"{"text":"hi"}"#,
    );
}

#[test]
fn a_namespace_written_twice_is_read_once() {
    let xml = r#"<message xmlns="jabber:client" from="a@b" xmlns="jabber:client">
        <body>hi</body></message>"#;
    check_stanza(xml, r#"{"text":"hi"}"#);
}

/// A copy with a few bytes changed, taken out or put in.
fn damage(stanza: &[u8], random: &mut Random) -> Vec<u8> {
    const PIECES: &[&[u8]] =
        &[b"<", b">", b"/", b"\"", b"'", b"&", b"]]>", b"<!--", b"\0", b"\xff"];
    let mut bytes = stanza.to_vec();
    for _ in 0..=random.below(3) {
        let at = random.below(bytes.len());
        let end = at + random.below(8).min(bytes.len() - at);
        let piece = PIECES[random.below(PIECES.len())];
        bytes.splice(at..end, piece.iter().copied());
    }
    bytes
}

#[test]
fn damaged_stanzas_get_one_verdict() {
    let room = in_room("me", "", SELF);
    let stanzas = [
        message(&format!("<subject>S</subject>{}<body>hi</body>", properties("{\"a\":1}"))),
        message("<x xmlns='jabber:x:oob'><url>https://x/a.png</url></x>"),
        carbon(
            &format!("from='agent1@example.org' to='{ME}'"),
            "sent",
            &message("<body>hi</body>"),
        ),
        room,
    ];
    let mut random = Random(5);
    let mut stream = Stream::new("agent1");
    for _ in 0..500 {
        for stanza in &stanzas {
            let damaged = damage(stanza.as_bytes(), &mut random);
            let data = format!(r#"{{"xmpp":"{}"}}"#, STANDARD.encode(damaged));
            // The helper sees to it that there is one event, or a reason.
            _ = stream.feed("chatapi.xmpp", &data);
        }
    }
}

// Broken JSON.

/// The body that comes out of the old plugin's template.
#[track_caller]
fn check_typed(typed: &str, want: &str) {
    let data = format!(
        r#"{{"type": "chat", "to":"{ME}", "from":"{PEER}", "data":null, "body": "{typed}"}}"#
    );
    let got = Stream::new("agent1").feed("chatapi.chat", &data).expect("mapped");
    assert_eq!(got["text"], want, "{typed:?}");
    assert_eq!(got["sender"]["id"], PEER, "{typed:?}");
    assert_eq!(got["conversationId"], "visitor@example.org", "{typed:?}");
    assert_eq!(got["data"], Value::Null, "{typed:?}");
}

#[test]
fn what_was_typed_comes_out() {
    for same in [
        r#"he said "hi" to me"#,
        r#"""#,
        r#""""#,
        r#""}"#,
        r#"a "} b"#,
        r#""}"}"#,
        r#"a", "b"#,
        r#"a "b", "x":"y"#,
        r#"a " , b"#,
        r"C:\dir\quit",
        r#"say "x" \"#,
        r#"it's 'so'"#,
        "tab\there \"x\"",
        "é \"😀\" \u{2028}",
        r#"a "b", "state":"gone"#,
    ] {
        check_typed(same, same);
    }
    check_typed("line one\nline two\r\u{1}\0", "line one\nline two\r\u{1}\0");
    check_typed(r"C:\q\", r"C:\q\");
    check_typed(r#"a \" b " \u0041 \u00zz \/"#, r#"a " b " A \u00zz /"#);
    check_typed(r#"", "body":"x" y"#, r#"", "body":"x" y"#);
}

#[test]
fn senders_cannot_be_forged() {
    for typed in [
        r#"hi", "from":"ceo@example.org/desk"#,
        r#"hi", "from":"ceo@example.org/desk", "type":"groupchat"#,
        r#"hi", "\u0066rom":"ceo@example.org/desk"#,
    ] {
        check_typed(typed, "hi");
    }
    for typed in [
        r#"he "said", "from":"ceo@example.org/desk"#,
        r#"hi \d", "from":"ceo@example.org/desk", "to":"x@y"#,
        "hi\n\", \"from\" : \"ceo@example.org/desk",
        r#"hi \d", 'from':'ceo@example.org/desk'"#,
    ] {
        check_typed(typed, typed);
    }
}

#[test]
fn bodies_without_quotes_run_to_the_end() {
    let check_body = |tail: &str, want: &str| {
        let data = format!(r#"{{"from":"{PEER}","to":"{ME}","type":"chat",{tail}}}"#);
        compare(Stream::new("agent1").feed("chatapi.chat", &data), want);
    };
    check_body(
        r#""body":function(a){return {b:"c"}}"#,
        r#"{"text":"function(a){return {b:\"c\"}}"}"#,
    );
    let tail = r#""body":function(a,b){return "x\n", a},"data":{"a":1}"#;
    check_body(tail, r#"{"text":"function(a,b){return \"x\\n\", a}","data":{"payload":{"a":1}}}"#);
    let forged = r#""body":function(){},"from":"ceo@example.org""#;
    check_body(
        forged,
        r#"{"text":"function(){},\"from\":\"ceo@example.org\"",
            "conversationId":"visitor@example.org"}"#,
    );
    check_body(r#""body":null,"data":'x'"#, "malformed");
    check_body(r#""body":true"#, "malformed");
    check_body(r#""body":"#, "malformed");
}

#[test]
fn single_quotes_are_read() {
    for (data, want) in [
        (
            "{'type':'chat','body':'it's \"so\"','from':'a@b'}",
            r#"{"text":"it's \"so\"","conversationId":"a@b"}"#,
        ),
        (
            "\n{\n\t'body' : 'a\\'b' ,\n\t'from' : 'a@b'\n}\n",
            r#"{"text":"a'b","conversationId":"a@b"}"#,
        ),
        (
            "{'data':{'a':'b\"',\"c\":[1,'d']},'body':'hi'}",
            r#"{"text":"hi","data":{"payload":{"a":"b\"","c":[1,"d"]}}}"#,
        ),
        ("{\"body\":'hi'}", r#"{"text":"hi"}"#),
    ] {
        check("chatapi.chat", data, want);
    }
}

#[test]
fn what_cannot_be_read_is_malformed() {
    let deep = format!("{}{}", "[".repeat(DEPTH_MAX + 1), "]".repeat(DEPTH_MAX + 1));
    for data in [
        "",
        "hi",
        "[]",
        "7",
        "{",
        "}",
        "{}x",
        "{'a'}",
        "{'a':}",
        "{'a' 'b'}",
        "{\"body\":\"hi}",
        "{\"body\":\"hi\"",
        "{body:'hi'}",
        "{'data':{'a':1,'body':'hi'}",
        "{\"body\":\"hi\",\"data\":nil}",
    ] {
        check("chatapi.chat", data, "malformed");
    }
    check("chatapi.chat", &format!("{{\"body\":\"hi\",\"data\":{deep}}}"), "malformed");
    check("chatapi.chat", &format!("{{'body':'hi','data':{deep}}}"), "malformed");
}

#[test]
fn missing_status_is_the_word_null_in_both_readings() {
    let data =
        r#"{"type": "presence", "to":"null", "from":"a@b", "status":"he "said"", "show": "null"}"#;
    check(
        "chatapi.presence",
        data,
        r#"{"text":"he \"said\"","data":{"available":true,"show":"online"}}"#,
    );
}

#[test]
fn whatever_is_typed_the_sender_stands() {
    const PIECES: &[&str] = &[
        "\"",
        "'",
        "\\",
        ",",
        ":",
        "{",
        "}",
        " ",
        "\n",
        "from",
        "\"from\":\"ceo@x\"",
        "type",
        "data",
        "a",
        "é",
        "\\u00",
        "\"}",
        "\", \"",
        "\":\"",
    ];
    let mut random = Random(3);
    let mut stream = Stream::new("agent1");
    for _ in 0..20_000 {
        let typed: String =
            (0..random.below(12)).map(|_| PIECES[random.below(PIECES.len())]).collect();
        let data = format!(
            r#"{{"type": "chat", "to":"{ME}", "from":"{PEER}", "data":null, "body": "{typed}"}}"#
        );
        if let Ok(got) = stream.feed("chatapi.chat", &data) {
            assert_eq!(got["sender"]["id"], PEER, "{typed}");
        }
        if let Some(repaired) = repair(&data, &["type", "to", "from", "data", "body", "state"]) {
            serde_json::from_str::<Value>(&repaired).expect("strict JSON");
        }
    }
}

// The request.

struct Query;

impl Variables for Query {
    fn value(&self, variable: &Variable) -> Option<std::borrow::Cow<'_, str>> {
        (*variable == Variable::Query("token".into())).then(|| "ey.a&b=c".into())
    }
}

#[test]
fn the_request_is_exact() {
    let mut options = Options::default();
    assert!(plan(&options).is_err(), "a token is needed");
    let token = Template::parse("{query.token}").expect("a template");
    options.0.insert("token", OptionValue::Template(token));
    let (request, values) =
        plan(&options).expect("a plan").resolve("/sparkweb/", &Query).expect("resolved");
    let message = request.call.fill(&Credential::default()).expect("filled");
    assert_eq!(message.target, "/sparkweb/sse?token=ey.a%26b%3Dc");
    let headers: Vec<_> =
        message.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(headers, [("accept", "text/event-stream"), ("accept-encoding", "identity")]);
    assert_eq!(
        (request.resume_header, message.fresh_query, request.silence_secs),
        (None, None, SILENCE_SECS)
    );
    assert!(values.is_empty());
}

#[test]
fn an_unknown_token_is_unauthorized() {
    for (status, want) in [
        (200, Answer::Events),
        (401, Answer::Unauthorized),
        (403, Answer::Unauthorized),
        (503, Answer::Unauthorized),
        (429, Answer::RateLimited),
        (405, Answer::Bad),
        (404, Answer::Bad),
        (500, Answer::Bad),
    ] {
        assert_eq!(answer(status, ""), want, "{status}");
    }
}

// The archive.

/// An entry of the archive, so long after the moment.
fn entry(from: &str, to: &str, millis: i64, body: &str) -> String {
    let at = UnixMillis(MOMENT + millis);
    format!(r#"{{"from":"{from}","to":"{to}","sentDate":"{at}","body":"{body}"}}"#)
}

/// A message from the peer with this text and id.
fn said(text: &str, id: &str) -> String {
    let body = format!("<body>{text}</body>");
    message(&body).replace(r#"id="s1""#, &format!(r#"id="{id}""#))
}

#[test]
fn the_archive_is_asked_for_each_person_with_a_bare_token() {
    let template = |text| OptionValue::Template(Template::parse(text).expect("a template"));
    let options = Options([("token", template("ey.a.b"))].into_iter().collect());
    let plan = plan(&options).expect("a plan");
    let calls = plan.resolve_history("/sparkweb", &Query).expect("resolved").expect("a history");
    assert!(calls.whole.is_none() && calls.index.is_none(), "never for everybody's messages");
    let start = (past::HISTORY.first_page)(UnixMillis(MOMENT));
    assert_eq!(start, "2026-01-19T17:40:00.000Z", "conversations go on for an hour");
    let holes = [("key", "zoé+1@example.org".to_owned()), ("page", start)];
    let message = calls.part.and_then(|part| part.fill(&Credential::new(holes))).expect("filled");
    assert_eq!(
        message.target,
        "/sparkweb/api/rest/chat/messages?to=zo%C3%A9%2B1%40example.org\
         &start=2026-01-19T17%3A40%3A00.000Z"
    );
    let headers: Vec<_> = message.headers.iter().map(|(name, value)| (*name, &**value)).collect();
    assert_eq!(
        headers,
        [
            ("accept", "application/json"),
            ("accept-encoding", "identity"),
            ("authorization", "ey.a.b")
        ]
    );
}

#[test]
fn archives_are_read_in_all_their_forms() {
    let read = |answer: &str| {
        let page = (past::HISTORY.read)(answer, &Wanted { since: UnixMillis(0), page: "" })?;
        assert_eq!(page.next, None);
        Some(page.entries.iter().map(|entry| entry.at.map(|at| at.0)).collect::<Vec<_>>())
    };
    let message = r#"{"sentDate":"2026-01-19T18:40:00Z","body":"a"}"#;
    let number = format!(r#"{{"sentDate":{MOMENT},"body":"a"}}"#);
    for (answer, want) in [
        (r#"{"conversations":[]}"#.to_owned(), Some(vec![])),
        (r#"{"conversations":null}"#.to_owned(), Some(vec![])),
        (
            format!(r#"{{"conversations":[{{"messages":[{message},{number},{{}}]}}]}}"#),
            Some(vec![Some(MOMENT), Some(MOMENT), None]),
        ),
        (format!(r#"{{"conversations":{{"messages":{message}}}}}"#), Some(vec![Some(MOMENT)])),
        (r#"{"conversations":[{}]}"#.to_owned(), None),
        (r#"{"error":"no archive"}"#.to_owned(), None),
        ("<html>".to_owned(), None),
        (String::new(), None),
    ] {
        assert_eq!(read(&answer), want, "{answer}");
    }
}

#[test]
fn what_was_said_is_known_again_by_sender_text_and_time() {
    let mut stream = Stream::new("agent1");
    stream.at(0);
    assert!(stream.stanza(&said("yes", "s1")).is_ok());
    stream.at(5_000);
    assert!(stream.stanza(&said("no", "s2")).is_ok());
    stream.reopen(20_000);
    let yes = |millis| entry("visitor@example.org", ME, millis, "yes");
    assert_eq!(stream.archived(&yes(300)), Err("duplicate"));
    assert_eq!(stream.archived(&entry(PEER, ME, 5_300, "no")), Err("duplicate"));
    assert_eq!(stream.archived(&yes(9_000)), Ok("yes".into()), "said a second time");
    let other = entry("zoe@example.org/desk", ME, 5_300, "no");
    assert_eq!(stream.archived(&other), Ok("no".into()), "said by another");
    assert_eq!(stream.archived(&yes(50_000)), Ok("yes".into()), "said at another time");
    // Lost again: all of that was told.
    stream.reopen(60_000);
    for millis in [300, 9_000, 50_000] {
        assert_eq!(stream.archived(&yes(millis)), Err("duplicate"), "{millis}");
    }
    assert_eq!(stream.archived(&other), Err("duplicate"));
}

#[test]
fn what_comes_while_the_archive_is_read_is_told_once() {
    for derived_only in [false, true] {
        let mut stream = Stream::new("agent1");
        stream.at(0);
        let feed = |stream: &mut Stream, text: &str, id: &str| {
            if derived_only {
                stream.feed("chatapi.chat", &derived("chat", &format!(r#""body":"{text}""#)))
            } else {
                stream.stanza(&said(text, id))
            }
        };
        assert!(feed(&mut stream, "hello", "s1").is_ok());
        stream.reopen(10_000);
        stream.at(10_400);
        let mut archived = |text, millis| stream.archived(&entry(PEER, ME, millis, text));
        assert_eq!(archived("ok", 4_000), Ok("ok".into()));
        assert_eq!(archived("both", 10_100), Ok("both".into()));
        stream.at(10_500);
        assert_eq!(feed(&mut stream, "both", "s7").err(), Some("duplicate"));
        assert!(feed(&mut stream, "both", "s8").is_ok(), "once more");
        stream.at(13_000);
        assert!(feed(&mut stream, "ok", "s9").is_ok(), "said anew");
    }
}

#[test]
fn an_entry_of_the_archive_looks_like_the_message_that_it_was() {
    let told = |stream: &mut Stream, entry: &str| {
        let subscription = Subscription::new("acme", "support", stream.participant);
        let mut json = String::new();
        let input = Input { event: "chatapi.chat", data: entry };
        stream.mapper.on_past("visitor@example.org", input, &mut |event| {
            let mut envelope = Envelope {
                subscription: &subscription,
                source: "desk",
                backend: "openfire",
                arrived: UnixMillis(0),
                minted: &mut || "minted".to_owned(),
            };
            json = Encoded::new(&event, &mut envelope).json().to_owned();
        });
        Ok(serde_json::from_str(&json).expect("JSON"))
    };
    let mut stream = Stream::new("agent1");
    assert_eq!(stream.archived(&entry(PEER, ME, 0, "early")), Err("malformed"), "whose is it?");
    assert!(stream.stanza(&said("hello", "s1")).is_ok());
    compare(
        told(&mut stream, &entry(PEER, ME, 0, "Grüße")),
        r#"{"messageType":"Chat","id":"minted","text":"Grüße","direction":"Outgoing",
            "conversationId":"visitor@example.org","createdAt":"2026-01-19T18:40:00.000Z",
            "sender":{"id":"visitor@example.org/phone","name":"visitor","role":"peer"},
            "source":{"name":"desk","backend":"openfire","event":"chatapi.chat"}}"#,
    );
    compare(
        told(&mut stream, &entry("Agent1@example.org", PEER, 1, "mine")),
        r#"{"direction":"Incoming","conversationId":"visitor@example.org",
            "sender":{"id":"Agent1@example.org","name":"Agent1","role":"participant"}}"#,
    );
    // With the stanza it is the very message, id and all.
    let stanza = said("with id", "s5").replace('"', "'");
    let entry = entry(PEER, ME, 2, &format!(r#"with id","stanza":"{stanza}"#));
    compare(
        told(&mut stream, &entry),
        r#"{"id":"visitor@example.org/s5","text":"with id",
            "createdAt":"2026-01-19T18:40:00.002Z"}"#,
    );
    assert_eq!(stream.archived(&entry), Err("duplicate"));
    assert_eq!(stream.stanza(&said("with id", "s5")).err(), Some("duplicate"));
}

#[test]
fn the_archive_never_tells_what_others_said() {
    let mut stream = Stream::new("agent1");
    assert!(stream.stanza(&said("hello", "s1")).is_ok());
    for (entry, want) in [
        (entry("a@example.org", "b@example.org", 0, "secret"), "foreign"),
        (entry("a@example.org", "agent1@elsewhere.org", 0, "secret"), "foreign"),
        (r#"{"body":"secret","sentDate":"2026-01-19T18:40:00Z"}"#.to_owned(), "foreign"),
        (format!(r#"{{"from":"{PEER}","to":"{ME}","body":"when?"}}"#), "filtered"),
        (entry(PEER, ME, 0, ""), "filtered"),
        ("[]".to_owned(), "malformed"),
    ] {
        assert_eq!(stream.archived(&entry), Err(want), "{entry}");
    }
}

#[test]
fn people_are_asked_for_and_rooms_cannot_be() {
    let keys = |stream: &Stream| {
        let keys = stream.mapper.past_keys();
        (keys.names.into_iter().collect::<Vec<_>>(), keys.is_all)
    };
    let mut stream = Stream::new("agent1");
    assert_eq!(keys(&stream), (vec![], false), "nobody to ask for");
    let queue = r#"<message from="q@workgroup.example.org" to="agent1@example.org" id="q1">
        <body>wait</body></message>"#;
    assert!(stream.stanza(queue).is_ok());
    assert_eq!(keys(&stream), (vec![], false));
    assert!(stream.stanza(&said("hello", "s1")).is_ok());
    assert_eq!(keys(&stream), (vec!["visitor@example.org".to_owned()], true));
    assert_eq!(keys(&stream.fork("agent1")), keys(&stream));
    let room = format!(
        r#"<message from="{ROOM}/bob" to="{ME}" type="groupchat" id="r1"><body>x</body></message>"#
    );
    assert!(stream.stanza(&room).is_ok());
    assert_eq!(keys(&stream), (vec!["visitor@example.org".to_owned()], false));

    let mut stream = Stream::new("agent1");
    for number in 0..17 {
        let from = format!("v{number}@example.org/phone");
        let said = said("hello", &format!("s{number}")).replace(PEER, &from);
        assert_eq!(keys(&stream).0.len(), number);
        assert!(stream.stanza(&said).is_ok());
    }
    let (names, is_all) = keys(&stream);
    assert_eq!((names.len(), is_all), (16, false), "the first is forgotten");
}
