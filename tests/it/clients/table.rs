//! The page of the docs that is made of a run: its text is `tests/clients/clients.md`, its tables
//! are what was found, its examples the very code that ran.

use std::path::Path;

use super::desk::Who;
use super::facts::{Fact, Facts};
use super::golden::{Credentials, Form};

/// What a client leaves to whoever uses it.
const YOURS: &str = "your code";

/// Compares the committed page with what was found.
pub(super) fn check(credentials: &Credentials, facts: &Facts) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
    let mut text = read(&root.join("tests/clients/clients.md"));
    for (mark, table) in [
        ("{{credentials}}", of_credentials(credentials)),
        ("{{coming back}}", of_coming_back(facts)),
        ("{{refusals}}", of_refusals(facts)),
        ("{{reading}}", of_reading(facts)),
    ] {
        assert!(text.contains(mark), "{mark} is not in the text");
        text = text.replace(mark, table.trim_end());
    }
    while let Some((before, rest)) = text.split_once("{{example ") {
        let (file, after) = rest.split_once("}}").expect("an end");
        let code = read(&root.join("tests/clients").join(file));
        text = format!("{before}{}{after}", example(file, &code));
    }
    let page = root.join("docs/clients.md");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(&page, &text).expect("a file");
    }
    let found: Vec<_> = text.lines().collect();
    let committed = read(&page);
    let lost: Vec<_> = committed.lines().filter(|line| !found.contains(line)).collect();
    let is_same = committed == text;
    assert!(is_same, "docs/clients.md is not what the run found: {lost:#?}; BLESS=1 rewrites it");
}

/// What stands between the marks of a runner.
fn example<'a>(file: &str, code: &'a str) -> &'a str {
    let between = |start: &str, end: &str| {
        code.split_once(start).and_then(|(_, rest)| rest.split_once(end)).map(|(code, _)| code)
    };
    let code = between("// example\n", "// end of the example")
        .or_else(|| between("# example\n", "# end of the example"));
    code.unwrap_or_else(|| panic!("no example in {file}")).trim_end()
}

fn table<'a>(columns: &[&str], row: impl Fn(Who) -> Vec<&'a str>) -> String {
    let mut text =
        format!("| client | {} |\n|{}\n", columns.join(" | "), "---|".repeat(columns.len() + 1));
    for who in Who::ALL {
        text.push_str(&format!("| {} | {} |\n", who.name(), row(who).join(" | ")));
    }
    text
}

fn of_credentials(credentials: &Credentials) -> String {
    table(&Form::ALL.map(Form::name), |who| {
        Form::ALL.map(|form| if credentials[&(who, form)] { "yes" } else { "no" }).to_vec()
    })
}

fn of_coming_back(facts: &Facts) -> String {
    let columns = [
        "when it is cut",
        "at an orderly end",
        "waits as `retry:` says",
        "sends the cursor",
        "an event cut in its last byte",
        "its ticket is used up",
    ];
    table(&columns, |who| {
        let of = |fact| facts[&(who, fact)].as_str();
        let own = |fact| Some(of(fact)).filter(|cell| *cell != "no").unwrap_or(YOURS);
        let cursor = match of(Fact::Cursor) {
            "first" => "yes",
            "no" => YOURS,
            other => panic!("{who:?} goes on after {other}"),
        };
        let ticket = match of(Fact::UsedTicket) {
            "comes back" => "asks on and on",
            other if other == of(Fact::Cut) => YOURS,
            other => other,
        };
        vec![of(Fact::Cut), of(Fact::End), own(Fact::Retry), cursor, own(Fact::LastByte), ticket]
    })
}

fn of_refusals(facts: &Facts) -> String {
    let columns = ["204", "401", "429", "503"];
    let asked = [Fact::Over204, Fact::Refused401, Fact::Limited429, Fact::Draining503];
    table(&columns, |who| asked.map(|fact| facts[&(who, fact)].as_str()).to_vec())
}

fn of_reading(facts: &Facts) -> String {
    let columns = [
        "names of events",
        "comments",
        "data of several lines",
        "other methods",
        "streams by HTTP/1.1",
        "over TLS",
    ];
    let asked = [Fact::Names, Fact::Comments, Fact::Lines, Fact::Post, Fact::Streams, Fact::Tls];
    table(&columns, |who| asked.map(|fact| facts[&(who, fact)].as_str()).to_vec())
}
