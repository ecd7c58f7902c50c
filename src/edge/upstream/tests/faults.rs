//! Random faults at every backend: each message reaches the client once and in order, or a `gap`
//! stands where it is missing. Seeded: a round that fails names its seed.
//!
//! `CHATMUX_FAULT_ROUNDS` sets the number of rounds for each backend, `CHATMUX_FAULT_SEED` runs
//! one round alone.

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::task::{JoinSet, LocalSet};

use super::*;
use crate::scripted::{Fault, On};

/// Rounds for each backend, unless told otherwise.
const ROUNDS: u64 = 100;
/// Rounds that are played at a time: they mostly wait for a link to dial again.
const AT_ONCE: usize = 50;
/// An event larger than this is dropped.
const EVENT_BYTES: usize = 16 << 10;
/// As long as waiting for something is of use that need not come.
const A_WHILE: Duration = Duration::from_secs(3);
/// Messages that are said at the end until one is heard, a while apart.
const LAST_WORDS: usize = 40;

/// What a kind of backend needs for a round.
struct Setting {
    kind: Kind,
    source: &'static str,
    /// The path of its history, if it tells one.
    history: Option<&'static str>,
    /// The path where its credentials are had, if chatmux gets them.
    credentials: Option<&'static str>,
    /// The status by which it refuses a credential.
    refusal: u16,
    /// Frames of one message.
    frames: usize,
}

const OPENFIRE: Setting = Setting {
    kind: Kind::Openfire,
    source: "login: {username: \"{participantId}\", password: s3cret}",
    history: Some("chat/messages"),
    credentials: Some("login"),
    refusal: 503,
    frames: 2,
};

const XIANS: Setting = Setting {
    kind: Kind::Xians,
    source: "api_key: sk-Xnai-1",
    history: Some("history"),
    credentials: None,
    refusal: 401,
    frames: 1,
};

const SALESFORCE: Setting = Setting {
    kind: Kind::Salesforce,
    source: "org_id: \"00D000000000001\", conversation: c-1, \
             anonymous: {deployment: Web_Chat, capabilities: \"66\"}",
    history: Some("entries"),
    credentials: Some("access-token"),
    refusal: 401,
    frames: 1,
};

const BRIGHTPATTERN: Setting = Setting {
    kind: Kind::BrightPattern,
    source: "app_id: webchat, tenant_url: acme.example.com, chat: c-1",
    history: Some("history"),
    credentials: None,
    refusal: 403,
    frames: 1,
};

/// What a round saw, so that rounds in which nothing happens do not pass for a test.
#[derive(Default)]
struct Tally {
    losses: usize,
    gaps: usize,
    told_from_history: u64,
    duplicates: u64,
}

/// One round in the making.
struct Round {
    setting: &'static Setting,
    backend: Backend,
    bench: Bench,
    client: Client,
    to: Audience,
    random: SmallRng,
    said: usize,
    /// What was done, for a failure's message.
    script: Vec<String>,
}

impl Round {
    async fn start(setting: &'static Setting, seed: u64, dialer: Arc<Dialer>) -> Self {
        let mut random = SmallRng::seed_from_u64(seed);
        let overlap = random.random_range(0..5);
        let replay = if random.random() { 4096 } else { 0 };
        let backend = start(setting.kind, |options| {
            options.heartbeat = Some(Duration::from_millis(200));
            options.hold = Duration::from_millis(200);
            options.chats = vec![("c-1".into(), String::new())];
            (options.overlap, options.replay) = (overlap, replay);
        })
        .await;
        let options = format!("{}, event: {EVENT_BYTES}B", setting.source);
        let bench = Bench::over(dialer, &backend, &options);
        let mut client = bench.open_with("jane", "", |resolved| resolved.request.silence_secs = 1);
        client.nth("source_up", 1).await;
        let to = Audience::new("jane").conversation("c-1");
        let script = vec![format!("overlap {overlap}, replay {replay}")];
        Self { setting, backend, bench, client, to, random, said: 0, script }
    }

    fn say(&mut self, count: usize) {
        for _ in 0..count {
            say(&self.backend, &self.to, &format!("m{}", self.said));
            self.said += 1;
        }
        self.script.push(format!("say up to {}", self.said));
    }

    /// Whether the last message is heard within a while.
    async fn is_heard(&mut self) -> bool {
        let last = format!("m{}", self.said.saturating_sub(1));
        let client = &mut self.client;
        let heard = async {
            loop {
                client.read();
                if client.texts().last() == Some(&last.as_str()) {
                    return;
                }
                rung(&client.listener.bell).await;
            }
        };
        tokio::time::timeout(A_WHILE, heard).await.is_ok()
    }

    /// Waits for something, or for nothing.
    async fn let_it_happen(&mut self) {
        match self.random.random_range(0..4) {
            0 => {}
            1 => {
                for _ in 0..self.random.random_range(1..50) {
                    tokio::task::yield_now().await;
                }
            }
            2 => {
                self.is_heard().await;
            }
            _ => {
                let open = self.backend.wait_for(|now| now.live_streams + now.held_polls > 0);
                let _is_open = tokio::time::timeout(A_WHILE, open).await.is_ok();
            }
        }
    }

    /// Something goes wrong.
    async fn go_wrong(&mut self) {
        let at = self.random.random_range(0..4096);
        let is_poll = self.setting.kind == Kind::BrightPattern;
        let (what, live) = match self.random.random_range(0..12) {
            0 | 1 => ("cut", Some(Fault::CloseAfter(at))),
            2 => ("reset", Some(Fault::Reset)),
            3 => ("stall", Some(Fault::Stall)),
            // A poll that nobody takes back would stand in the way of all others.
            4 if !is_poll => ("half open", Some(Fault::HalfOpen)),
            5 => ("garbage", Some(Fault::Garbage)),
            6 => ("oversize", Some(Fault::Oversize(EVENT_BYTES))),
            7 => {
                self.backend.end_streams();
                ("end", None)
            }
            8 => {
                let count = self.random.random_range(1..4) * self.setting.frames;
                self.backend.repeat(count);
                ("repeat", None)
            }
            9 if self.setting.kind == Kind::Openfire => {
                self.backend.expire_tokens();
                self.backend.end_streams();
                ("expire", None)
            }
            _ => {
                self.backend.stop_listening().await;
                self.backend.end_streams();
                let count = self.random.random_range(0..4);
                self.say(count);
                self.backend.listen_again().await;
                ("away", None)
            }
        };
        self.script.push(format!("{what} {at}"));
        if let Some(fault) = live {
            self.backend.fault_live(fault);
        }
    }

    /// What comes next will go wrong.
    fn lay_a_trap(&mut self) {
        let at = self.random.random_range(0..4096);
        let faults = [
            Fault::status(500),
            Fault::rate_limited(0),
            Fault::rate_limited(1),
            Fault::CloseAfter(at),
            Fault::Reset,
            Fault::Gzip,
            Fault::Dribble(7, Duration::ZERO),
            Fault::status(self.setting.refusal),
        ];
        let fault = faults[self.random.random_range(0..faults.len())].clone();
        let path = match self.random.random_range(0..3) {
            0 => self.setting.history,
            1 => self.setting.credentials,
            _ => None,
        };
        let on = path.map_or(On::Events, |path| On::Path(path.to_owned()));
        self.script.push(format!("{on:?}: {fault:?}"));
        self.backend.fault_on(on, 1, fault);
    }

    async fn play(&mut self) {
        for _ in 0..self.random.random_range(2..5) {
            let count = self.random.random_range(0..4);
            self.say(count);
            self.let_it_happen().await;
            for _ in 0..self.random.random_range(0..2) {
                self.lay_a_trap();
            }
            self.go_wrong().await;
            let count = self.random.random_range(0..4);
            self.say(count);
            self.let_it_happen().await;
        }
        self.backend.clear_faults();
        for _ in 0..LAST_WORDS {
            self.say(1);
            if self.is_heard().await {
                return;
            }
        }
    }

    fn check(&self) -> Result<(), String> {
        let (mut next, mut may_miss) = (0, false);
        for (event, data) in &self.client.seen {
            match event.as_str() {
                "gap" => may_miss = true,
                "Chat" => {
                    let text = data["text"].as_str().unwrap_or_default();
                    let number = text.strip_prefix('m').and_then(|number| number.parse().ok());
                    let number: usize = number.ok_or_else(|| format!("nobody said {text}"))?;
                    if number < next {
                        return Err(format!("m{number} is told again, or late"));
                    }
                    if number > next && !may_miss {
                        return Err(format!("m{next} is missing without a gap"));
                    }
                    (next, may_miss) = (number + 1, false);
                }
                _ => {}
            }
        }
        if next != self.said {
            return Err(format!("m{next} is missing at the end"));
        }
        let (received, rest) = (self.sum("received"), self.sum("mapped") + self.sum("discarded"));
        if received != rest {
            return Err(format!("received {received}, accounted for {rest}"));
        }
        Ok(())
    }

    /// The sum of a counter of frames.
    fn sum(&self, what: &str) -> u64 {
        let text = self.bench.metrics.render();
        let series = format!("chatmux_frames_{what}_total{{");
        let lines = text.lines().filter(|line| line.starts_with(&series));
        lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<u64>().ok()).sum()
    }

    fn tally(&self) -> Tally {
        let past = |outcome: &str| {
            self.bench.metric(&format!(
                "chatmux_history_events_total{{outcome=\"{outcome}\",source=\"s\"}}"
            ))
        };
        Tally {
            losses: self.client.downs().len(),
            gaps: self.client.count("gap"),
            told_from_history: past("told"),
            duplicates: past("duplicate"),
        }
    }
}

async fn play(setting: &'static Setting, seed: u64, dialer: Arc<Dialer>) -> Tally {
    let mut round = Round::start(setting, seed, dialer).await;
    round.play().await;
    if let Err(why) = round.check() {
        let seen: Vec<String> = round
            .client
            .seen
            .iter()
            .map(|(event, data)| format!("{event} {} {}", data["text"], data["reason"]))
            .collect();
        panic!("seed {seed}: {why}\n{:#?}\n{seen:#?}", round.script);
    }
    round.tally()
}

/// A number from the environment.
fn told(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().expect("a number"))
}

async fn check(setting: &'static Setting) {
    let seeds = match told("CHATMUX_FAULT_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..told("CHATMUX_FAULT_ROUNDS").unwrap_or(ROUNDS),
    };
    let count = seeds.end - seeds.start;
    let dialer = Arc::new(Dialer::new());
    let (mut total, mut failed) = (Tally::default(), 0);
    let all = async {
        let mut rounds = JoinSet::new();
        let mut seeds = seeds;
        loop {
            while rounds.len() < AT_ONCE
                && let Some(seed) = seeds.next()
            {
                rounds.spawn_local(play(setting, seed, dialer.clone()));
            }
            let Some(ended) = rounds.join_next().await else { return };
            let Ok(tally) = ended else {
                failed += 1;
                continue;
            };
            total.losses += tally.losses;
            total.gaps += tally.gaps;
            total.told_from_history += tally.told_from_history;
            total.duplicates += tally.duplicates;
        }
    };
    LocalSet::new().run_until(all).await;
    let Tally { losses, gaps, told_from_history, duplicates } = total;
    println!(
        "{:?}: {count} rounds, {losses} losses, {gaps} gaps, {told_from_history} messages from \
         the history, {duplicates} known from it",
        setting.kind
    );
    assert_eq!(failed, 0, "rounds have failed; each has told its seed and its script");
    if count >= ROUNDS {
        assert!(losses as u64 > count / 2, "{losses}");
        assert!(gaps > 0);
        let has_history = setting.history.is_some();
        assert_eq!((told_from_history > 0, duplicates > 0), (has_history, has_history));
    }
}

#[tokio::test]
async fn openfire_loses_nothing_in_silence() {
    check(&OPENFIRE).await;
}

#[tokio::test]
async fn xians_loses_nothing_in_silence() {
    check(&XIANS).await;
}

#[tokio::test]
async fn salesforce_loses_nothing_in_silence() {
    check(&SALESFORCE).await;
}

#[tokio::test]
async fn brightpattern_loses_nothing_in_silence() {
    check(&BRIGHTPATTERN).await;
}
