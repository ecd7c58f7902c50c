//! One conversation for all clients at once: with each credential, cut within events, resumed.
//!
//! Two references hold each client. Of one connection: what our own decoder makes of the bytes
//! that it was given. Of all together: what a reader that was never cut has heard.

use std::collections::BTreeMap;

use chatmux::scripted::{Conversation, Kind, Pace};

use super::desk::{Desk, Job, Line, Reader, Who};
use super::{COOKIE, PATIENCE};
use crate::auth::token_of;
use crate::support::{
    Act, Client, Event, EventSource, Four, KEY, Passed, Place, Relay, event_names, jane, say, soon,
    within,
};

/// A word that closes the conversation.
const END: &str = "That was all.";
/// Close to the largest event that a source may send, 1 MiB.
const LARGE_BYTES: usize = 1_000_000;
/// Characters beyond the BMP first, so that a cut meets one; then what some take for line ends.
const ODD: &str =
    "👩🏽‍🚀 𝒳 \u{2028} \u{2029} \u{85} \u{b} \u{c} \u{1c} \u{feff} \0 \r\n \r \n\n data: x";
/// What a client may do without.
const EPHEMERAL: [&str; 4] = ["Typing", "Presence", "Progress", "Token"];

/// How a client shows who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Form {
    KeyHeader,
    Bearer,
    KeyInQuery,
    TokenInQuery,
    Ticket,
    Cookie,
}

impl Form {
    pub(super) const ALL: [Self; 6] = [
        Self::KeyHeader,
        Self::Bearer,
        Self::KeyInQuery,
        Self::TokenInQuery,
        Self::Ticket,
        Self::Cookie,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::KeyHeader => "`X-API-Key`",
            Self::Bearer => "`Authorization`",
            Self::KeyInQuery => "`apikey`",
            Self::TokenInQuery => "`access_token`",
            Self::Ticket => "ticket",
            Self::Cookie => "cookie",
        }
    }
}

/// Who could do what, with which credential.
pub(super) type Credentials = BTreeMap<(Who, Form), bool>;

/// Where clients are cut, connection by connection.
fn plan() -> Vec<Act> {
    vec![
        Act::Cut(2, Place::Data),
        Act::Cut(4, Place::LastByte),
        Act::Cut(3, Place::Id),
        Act::Cut(5, Place::Name),
        Act::Cut(2, Place::AfterByReset),
        Act::Pass,
    ]
}

/// A client of Jane's without a credential, with a heartbeat that disturbs.
pub(super) fn page() -> Client {
    Client::new("jane").without("apikey").query("heartbeatSeconds", "1")
}

fn job(who: Who, form: Form, relay: &Relay, four: &Four) -> Job {
    let token = token_of("jane", 600);
    let client = match form {
        Form::KeyInQuery => page().query("apikey", KEY),
        Form::TokenInQuery => page().query("access_token", &token),
        Form::KeyHeader | Form::Bearer | Form::Ticket | Form::Cookie => page(),
    };
    let url = format!("http://{}{}", relay.address(), client.target());
    let mut job = Job::alone(who, &format!("{form:?}"), url);
    (job.stay, job.names) = (true, event_names());
    match form {
        Form::KeyHeader => job.headers.push(("X-API-Key", KEY.to_owned())),
        Form::Bearer => job.headers.push(("Authorization", format!("Bearer {token}"))),
        Form::Cookie => job.cookie = Some(format!("{COOKIE}={KEY}")),
        Form::Ticket => {
            let target = page().target().replacen('?', "/ticket?", 1);
            let url = format!("http://{}{target}", four.edge.streams());
            job.ticket = Some((url, format!("Bearer {KEY}")));
        }
        Form::KeyInQuery | Form::TokenInQuery => {}
    }
    job
}

/// Plays it to all of them. Gives who was let in.
pub(super) async fn check(desk: &Desk, four: &Four) -> Credentials {
    let mut reference = four.edge.open(&Client::new("jane")).await;
    reference.all_up(&Four::NAMES).await;
    let mut jobs = Vec::new();
    for who in Who::ALL {
        for form in Form::ALL {
            let relay = Relay::start(four.edge.streams(), plan()).await;
            let job = job(who, form, &relay, four);
            desk.give(&job).await;
            jobs.push((job, form, relay));
        }
    }
    let mut let_in = Credentials::new();
    for (job, form, _) in &jobs {
        let what = format!("{:?} connects by {form:?}", job.who);
        let is_known = |lines: &[Line]| !lines.is_empty();
        within(PATIENCE, &what, desk.until(job.who, &job.name, is_known)).await;
        let first = desk.lines(job.who, &job.name).first().cloned();
        let is_in = matches!(&first, Some(Line::Event { name, .. }) if name == "connected");
        assert!(is_in || matches!(first, Some(Line::Over(_))), "{what}: {first:?}");
        let_in.insert((job.who, *form), is_in);
    }
    speak(four, &mut reference).await;
    let all = reference.find(|event| event.at("/text") == END).await;
    assert_eq!(all.name, "Chat");
    let messages: Vec<_> = reference.seen().iter().filter(|event| !event.is_control()).collect();
    assert!(messages.iter().any(|event| event.at("/text").len() == LARGE_BYTES));
    assert!(messages.iter().any(|event| event.at("/text") == ODD), "the odd text stays as it is");
    for (job, form, relay) in &jobs {
        let what = format!("{:?} by {form:?} hears all", job.who);
        if let_in[&(job.who, *form)] {
            let is_all = |lines: &[Line]| lines.iter().any(is_end);
            within(PATIENCE, &what, desk.until(job.who, &job.name, is_all)).await;
            check_heard(&what, &desk.lines(job.who, &job.name), &relay.passed(), &messages);
        } else {
            // Refused at the door, and not for another reason.
            assert_eq!(relay.passed().len(), 1, "{what}");
            assert_eq!(relay.passed()[0].status, 401, "{what}");
        }
    }
    let_in
}

/// What is said: each backend's support case, and what is hard to carry.
async fn speak(four: &Four, reference: &mut EventSource) {
    let agent = four.of(Kind::Xians);
    for text in ["One moment, please.", ODD, "two\nlines"] {
        say(agent, text);
    }
    // In this order, so that all are cut first within a character.
    reference.chat("two\nlines").await;
    let case = Conversation::support_case();
    let played = four.backends.iter().map(|backend| backend.play(&jane(), &case, Pace::AT_ONCE));
    for played in played.collect::<Vec<_>>() {
        soon("the script is played", played).await.expect("played");
    }
    say(agent, &"x".repeat(LARGE_BYTES));
    say(agent, END);
}

fn is_end(line: &Line) -> bool {
    match line {
        Line::Event { name, data, .. } => {
            name == "Chat" && data.len() < 10_000 && data.contains(END)
        }
        Line::Comment | Line::Over(_) => false,
    }
}

/// What a client has heard, beside what it was given and what it should have heard.
fn check_heard(what: &str, heard: &[Line], passed: &[Passed], messages: &[&Event]) {
    let connected = |line: &Line| matches!(line, Line::Event { name, .. } if name == "connected");
    let mut given = passed.iter().filter(|passed| !passed.body.is_empty());
    let starts: Vec<_> = (0..heard.len()).filter(|at| connected(&heard[*at])).collect();
    for (number, start) in starts.iter().enumerate() {
        let end = starts.get(number + 1).copied().unwrap_or(heard.len());
        let heard = &heard[*start..end];
        // A cut may take with it what was not read yet: Chromium gives it up even where the
        // connection ends in order. So a connection may be heard in part, or not at all.
        let reference = loop {
            let next = given.next().unwrap_or_else(|| panic!("{what}: not given {heard:?}"));
            let reference = Reader::default().read(&next.body);
            if is_same(&heard[0], &reference[0]) || next.cut.is_none() {
                break reference;
            }
        };
        for (line, reference) in heard.iter().zip(&reference) {
            assert!(is_same(line, reference), "{what}: {line:?} is not {reference:?}");
        }
        assert!(heard.len() <= reference.len(), "{what}: {:?}", heard[reference.len()]);
    }
    let asked: Vec<_> = passed.iter().map(|one| (one.status, one.body.len(), one.cut)).collect();
    let cuts = passed.iter().filter(|passed| passed.cut.is_some()).count();
    assert_eq!(cuts, plan().len() - 1, "{what}: {asked:?}");
    let mut rest = messages.iter();
    for line in heard {
        let Line::Event { name, id, data } = line else {
            panic!("{what}: {line:?}");
        };
        if !name.starts_with(|first: char| first.is_ascii_uppercase()) {
            continue;
        }
        let skipped: Vec<_> =
            rest.by_ref().take_while(|event| event.id.as_ref() != Some(id)).collect();
        let is_little = skipped.iter().all(|event| EPHEMERAL.contains(&event.name.as_str()));
        let names: Vec<_> = skipped.iter().map(|event| (&event.name, &event.id)).collect();
        assert!(is_little, "{what}: {name} {id} is not next, but after {names:?}");
        assert!(!data.is_empty());
    }
    assert_eq!(rest.count(), 0, "{what}: it lacks the rest");
}

/// The same name and data; the same id where the event has one. Without one the libraries differ:
/// some give the last, some none.
fn is_same(heard: &Line, reference: &Line) -> bool {
    match (heard, reference) {
        (
            Line::Event { name, id, data },
            Line::Event { name: name_given, id: id_given, data: data_given },
        ) => name == name_given && data == data_given && (id == id_given || id_given.is_empty()),
        (Line::Event { .. } | Line::Comment | Line::Over(_), _) => false,
    }
}
