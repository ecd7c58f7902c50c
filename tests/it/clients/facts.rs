//! Clients left alone with one difficulty after another: what each does by itself.
//!
//! No facts of time: whether a client waits is told by which of two comes first. A client that is
//! refused or cut either comes back or says that it does no more; one of both is waited for.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use chatmux::scripted::{Frame, Kind};
use tokio::task::JoinSet;

use super::PATIENCE;
use super::desk::{Desk, Job, Line, Who};
use super::golden::page;
use crate::ends::until_draining;
use crate::support::{Act, Ask, Client, Four, KEY, One, Place, Relay, Reply, jane, say, within};

/// What is asked of each client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fact {
    Cut,
    End,
    Cursor,
    LastByte,
    Retry,
    UsedTicket,
    Over204,
    Refused401,
    Limited429,
    Draining503,
    Names,
    Comments,
    Lines,
    Post,
    Streams,
    Tls,
}

impl Fact {
    pub(super) const ALL: [Self; 16] = [
        Self::Cut,
        Self::End,
        Self::Cursor,
        Self::LastByte,
        Self::Retry,
        Self::UsedTicket,
        Self::Over204,
        Self::Refused401,
        Self::Limited429,
        Self::Draining503,
        Self::Names,
        Self::Comments,
        Self::Lines,
        Self::Post,
        Self::Streams,
        Self::Tls,
    ];
}

pub(super) type Facts = BTreeMap<(Who, Fact), String>;

const COMES_BACK: &str = "comes back";
/// Of streams at a time; browsers stop at six for one host, by HTTP/1.1.
const STREAMS: usize = 8;
const STREAMS_OF_A_BROWSER: usize = 6;
/// How often a client that obeys `retry: 1` comes back before one that obeys `retry: 3000` does.
const RETURNS: usize = 5;

/// What all questions need.
struct Bench {
    desk: Arc<Desk>,
    edge: SocketAddr,
    four: Arc<Four>,
    tls: SocketAddr,
    /// The head of a stream.
    head: Vec<u8>,
    /// Answers of chatmux, byte for byte, by status.
    refusals: BTreeMap<u16, Vec<u8>>,
}

/// Asks everything of everybody.
pub(super) async fn find(desk: &Arc<Desk>, four: &Arc<Four>) -> Facts {
    let edge = &four.edge;
    let client = page().query("apikey", KEY).header("Origin", &desk.origin);
    let head = four.edge.open(&client).await.head;
    let bench = Arc::new(Bench {
        head: Reply { head, body: Vec::new() }.bytes(),
        desk: desk.clone(),
        edge: edge.streams(),
        four: four.clone(),
        tls: edge.listeners()[1],
        refusals: refusals(&desk.origin).await,
    });
    let mut asked = JoinSet::new();
    for who in Who::ALL {
        for fact in Fact::ALL {
            let bench = bench.clone();
            asked.spawn(async move {
                let what = format!("{who:?} tells of {fact:?}");
                (who, fact, within(PATIENCE, &what, bench.ask(who, fact)).await)
            });
        }
    }
    let mut facts = Facts::new();
    while let Some(fact) = asked.join_next().await {
        let (who, fact, cell) = fact.expect("a fact");
        facts.insert((who, fact), cell);
    }
    facts
}

/// Real refusals, for a page of this origin.
async fn refusals(origin: &str) -> BTreeMap<u16, Vec<u8>> {
    let cors = format!("cors: {{allow_origins: [\"{origin}\"]}}");
    let limits = "limits: {tenant: {opens: 1/h, burst: 1}}";
    let limited = One::start_with(Kind::Xians, |conf| {
        conf.line(&cors).line(limits).line("server: {threads: 1, drain: 30s}")
    });
    let ended =
        One::start_with(Kind::BrightPattern, |conf| conf.line(&cors).line("replay: {linger: 60s}"));
    let (limited, ended) = (limited.await, ended.await);
    let client = Client::new("jane").header("Origin", origin);
    let mut bytes = BTreeMap::new();
    let mut keep = |reply: Reply, status: u16| {
        assert_eq!(reply.head.status, status, "{reply:?}");
        assert_eq!(reply.head.header("access-control-allow-origin"), Some(origin), "{reply:?}");
        bytes.insert(status, reply.bytes());
    };
    keep(limited.edge.ask(&client.clone().query("apikey", "nonsense")).await, 401);
    let _stream = limited.edge.open(&client).await;
    keep(limited.edge.ask(&client).await, 429);
    ended.backend.expire_tokens();
    let mut stream = ended.edge.open(&client).await;
    let end = stream.message().await;
    stream.rest().await;
    let seen = client.clone().after(end.id.as_deref().expect("an id"));
    keep(ended.edge.ask(&seen).await, 204);
    limited.edge.signal("TERM").await;
    until_draining(&limited.edge).await;
    keep(limited.edge.ask(&client).await, 503);
    bytes
}

const FIRST: &str = "retry: 1\nevent: Chat\ndata: {}\nid: first\n\n";
const SECOND: &str = "event: Chat\ndata: {}\nid: second\n\n";

impl Bench {
    async fn ask(&self, who: Who, fact: Fact) -> String {
        let job = format!("{fact:?}");
        match fact {
            Fact::Cut => {
                let relay = self.cut(who, &job, &format!("{FIRST}{}", &SECOND[..9])).await;
                self.back_or_over(who, &job, &relay, 2).await
            }
            Fact::End => self.fate(who, &job, self.stream(&[FIRST], true)).await,
            Fact::Cursor => self.cursor(who, &job, &SECOND[..20]).await,
            Fact::LastByte => {
                let unended = &SECOND[..SECOND.len() - 1];
                match self.cursor(who, &job, unended).await.as_str() {
                    "no" => "no".to_owned(),
                    "first" => "comes again".to_owned(),
                    "second" => "is lost".to_owned(),
                    other => panic!("{who:?} goes on after {other}"),
                }
            }
            Fact::Retry => self.retry(who, &job).await,
            Fact::UsedTicket => self.used_ticket(who, &job).await,
            Fact::Over204 => self.fate(who, &job, self.refusals[&204].clone()).await,
            Fact::Refused401 => self.fate(who, &job, self.refusals[&401].clone()).await,
            Fact::Limited429 => self.fate(who, &job, self.refusals[&429].clone()).await,
            Fact::Draining503 => self.fate(who, &job, self.refusals[&503].clone()).await,
            Fact::Names => self.names(who, &job).await,
            Fact::Comments => self.comments(who, &job).await,
            Fact::Lines => self.lines(who, &job).await,
            Fact::Post => self.post(who, &job).await,
            Fact::Streams => self.streams(who, &job).await,
            Fact::Tls => self.over_tls(who, &job).await,
        }
    }

    /// A stream that begins as those of chatmux do.
    fn stream(&self, blocks: &[&str], is_whole: bool) -> Vec<u8> {
        let mut bytes = self.head.clone();
        for block in blocks {
            bytes.extend_from_slice(format!("{:x}\r\n{block}\r\n", block.len()).as_bytes());
        }
        if is_whole {
            bytes.extend_from_slice(b"0\r\n\r\n");
        }
        bytes
    }

    /// Something that is served at first, and after it a stream that stays.
    async fn served(&self, first: Vec<u8>) -> Relay {
        let plan = vec![Act::Say(first), Act::SayAndHold(self.stream(&[FIRST], false))];
        Relay::start(self.edge, plan).await
    }

    async fn give(&self, who: Who, job: &str, relay: &Relay) {
        let url = format!("http://{}/events?of={job}", relay.address());
        self.desk.give(&Job::alone(who, job, url)).await;
    }

    /// A stream that is cut when its first event has been heard: a browser may give up what it
    /// has not read by then. After it a stream that stays.
    async fn cut(&self, who: Who, job: &str, first: &str) -> Relay {
        let plan = [first, FIRST].map(|said| Act::SayAndHold(self.stream(&[said], false)));
        let relay = Relay::start(self.edge, plan.into()).await;
        self.give(who, job, &relay).await;
        self.until_chat(who, job, "first").await;
        relay.cut();
        relay
    }

    /// Whether it comes back, or what it does instead.
    async fn fate(&self, who: Who, job: &str, first: Vec<u8>) -> String {
        let relay = self.served(first).await;
        self.give(who, job, &relay).await;
        self.back_or_over(who, job, &relay, 2).await
    }

    async fn back_or_over(&self, who: Who, job: &str, relay: &Relay, count: usize) -> String {
        tokio::select! {
            () = relay.asked(count) => COMES_BACK.to_owned(),
            why = self.desk.over(who, job) => why,
        }
    }

    /// The cursor with which it comes back by itself; `no` where it does not.
    async fn cursor(&self, who: Who, job: &str, unfinished: &str) -> String {
        let relay = self.cut(who, job, &format!("{FIRST}{unfinished}")).await;
        if self.back_or_over(who, job, &relay, 2).await != COMES_BACK {
            return "no".to_owned();
        }
        relay.passed()[1].header("last-event-id").unwrap_or_else(|| "nothing".to_owned())
    }

    /// One who is told to come back at once against one who is told to wait.
    async fn retry(&self, who: Who, job: &str) -> String {
        let slowly = FIRST.replace("retry: 1\n", "retry: 3000\n");
        let stay = Act::SayAndHold(self.stream(&[FIRST], false));
        let mut plan = vec![Act::Say(self.stream(&[FIRST], false)); RETURNS + 1];
        (plan[0], plan[RETURNS]) = (stay.clone(), stay);
        let quick = Relay::start(self.edge, plan).await;
        let (of_quick, of_slow) = (format!("{job}-at-once"), format!("{job}-slowly"));
        self.give(who, &of_quick, &quick).await;
        self.until_chat(who, &of_quick, "first").await;
        let slow = self.cut(who, &of_slow, &slowly).await;
        quick.cut();
        if self.back_or_over(who, &of_slow, &slow, 2).await != COMES_BACK {
            return "no".to_owned();
        }
        let is_obeyed = quick.passed().len() > RETURNS;
        (if is_obeyed { "yes" } else { "no" }).to_owned()
    }

    /// Cut, with a ticket that is used up by then.
    async fn used_ticket(&self, who: Who, job: &str) -> String {
        let plan = vec![Act::Cut(1, Place::Name), Act::Pass];
        let relay = Relay::start(self.edge, plan).await;
        let target = page().target().replacen('?', "/ticket?", 1);
        let ask = Ask::new("POST", target).header("Authorization", &format!("Bearer {KEY}"));
        let reply = ask.header("Content-Length", "0").send(self.edge).await.json();
        let ticket = reply["ticket"].as_str().expect("a ticket");
        let target = page().query("ticket", ticket).target();
        let mut asked = Job::alone(who, job, format!("http://{}{target}", relay.address()));
        asked.names.push("connected".to_owned());
        self.desk.give(&asked).await;
        self.desk.until(who, job, |lines| !lines.is_empty()).await;
        say(self.four.of(Kind::Xians), "Whoever hears this is cut.");
        let fate = self.back_or_over(who, job, &relay, 3).await;
        let statuses: Vec<_> = relay.passed().iter().map(|passed| passed.status).collect();
        let is_known = |at: usize, status: u16| statuses.get(at).is_none_or(|is| *is == status);
        assert!(is_known(0, 200) && is_known(1, 401), "a ticket is good once: {statuses:?}");
        fate
    }

    async fn until_chat(&self, who: Who, job: &str, id_wanted: &str) -> Vec<Line> {
        let is_there = |lines: &[Line]| {
            lines.iter().any(|line| matches!(line, Line::Event { id, .. } if id == id_wanted))
        };
        self.desk.until(who, job, is_there).await;
        self.desk.lines(who, job)
    }

    async fn names(&self, who: Who, job: &str) -> String {
        let blocks = [FIRST, "event: Unknown\ndata: {}\nid: x\n\n", SECOND];
        let plan = vec![Act::SayAndHold(self.stream(&blocks, false))];
        let relay = Relay::start(self.edge, plan).await;
        self.give(who, job, &relay).await;
        let lines = self.until_chat(who, job, "second").await;
        let is_unknown =
            |line: &Line| matches!(line, Line::Event { name, .. } if name == "Unknown");
        (if lines.iter().any(is_unknown) { "all" } else { "those you name" }).to_owned()
    }

    async fn comments(&self, who: Who, job: &str) -> String {
        let plan = vec![Act::SayAndHold(self.stream(&[FIRST, ": hello\n\n", SECOND], false))];
        let relay = Relay::start(self.edge, plan).await;
        self.give(who, job, &relay).await;
        let lines = self.until_chat(who, job, "second").await;
        let is_empty = |line: &Line| matches!(line, Line::Event { data, .. } if data.is_empty());
        let cell = match lines.iter().find(|line| **line == Line::Comment || is_empty(line)) {
            Some(Line::Comment) => "can show them",
            Some(Line::Event { .. }) => "makes empty events of them",
            Some(Line::Over(_)) | None => "passes over them",
        };
        cell.to_owned()
    }

    /// A backend's own stream, in which data has several lines.
    async fn lines(&self, who: Who, job: &str) -> String {
        let relay = Relay::start(self.edge, vec![Act::Pass]).await;
        let target = page().path("/raw").query("apikey", KEY).target();
        let mut asked = Job::alone(who, job, format!("http://{}{target}", relay.address()));
        asked.names.push("connected".to_owned());
        self.desk.give(&asked).await;
        self.desk.until(who, job, |lines| !lines.is_empty()).await;
        let lines = "{\n\"participantId\": \"jane\",\n\"text\": \"of three lines\"\n}";
        self.four.of(Kind::Xians).push(&jane(), Frame::new("Chat", lines));
        let has_lines = |line: &Line| matches!(line, Line::Event { data, .. } if data.contains("\"of three lines\"\n}"));
        self.desk.until(who, job, |lines| lines.iter().any(has_lines)).await;
        "yes".to_owned()
    }

    async fn post(&self, who: Who, job: &str) -> String {
        let plan = vec![Act::SayAndHold(self.stream(&[FIRST], false))];
        let relay = Relay::start(self.edge, plan).await;
        let url = format!("http://{}/events", relay.address());
        self.desk.give(&Job { method: "POST", ..Job::alone(who, job, url) }).await;
        relay.asked(1).await;
        let is_post = relay.passed()[0].head.starts_with(b"POST ");
        (if is_post { "yes" } else { "no" }).to_owned()
    }

    /// How many streams of one host it opens at a time.
    async fn streams(&self, who: Who, job: &str) -> String {
        let plan = vec![Act::SayAndHold(self.stream(&[FIRST], false))];
        let (relay, other) =
            (Relay::start(self.edge, plan.clone()).await, Relay::start(self.edge, plan).await);
        for number in 0..STREAMS {
            self.give(who, &format!("{job}-{number}"), &relay).await;
        }
        if who.is_in_browser() {
            relay.asked(STREAMS_OF_A_BROWSER).await;
            // Those of another host come through meanwhile, one after another.
            for number in 0..3 {
                self.give(who, &format!("{job}-elsewhere-{number}"), &other).await;
                other.asked(number + 1).await;
            }
        } else {
            relay.asked(STREAMS).await;
        }
        match relay.passed().len() {
            STREAMS => format!("{STREAMS} and more"),
            count => count.to_string(),
        }
    }

    /// As many streams over TLS, and by which HTTP.
    async fn over_tls(&self, who: Who, job: &str) -> String {
        let relay = Relay::start(self.tls, vec![Act::Tunnel]).await;
        let target = page().query("apikey", KEY).target();
        let url = format!("https://{}{target}", relay.address());
        let count = if who.is_in_browser() { STREAMS } else { 1 };
        for number in 0..count {
            let mut asked = Job::alone(who, &format!("{job}-{number}"), url.clone());
            asked.names.push("connected".to_owned());
            self.desk.give(&asked).await;
        }
        for number in 0..count {
            let is_there = |lines: &[Line]| {
                assert!(!matches!(lines, [Line::Over(_), ..]), "{who:?} by TLS: {lines:?}");
                !lines.is_empty()
            };
            self.desk.until(who, &format!("{job}-{number}"), is_there).await;
        }
        // The edge takes HTTP/2 where it is offered.
        let hello = &relay.passed()[0].head;
        let is_second = hello.windows(3).any(|window| window == b"\x02h2");
        let version = if is_second { "HTTP/2" } else { "HTTP/1.1" };
        if count > 1 { format!("{version}, {count} and more streams") } else { version.to_owned() }
    }
}
