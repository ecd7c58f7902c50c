//! What a scripted backend may be told before it starts.

use std::time::Duration;

/// Which backend is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Openfire with the SparkWeb plugin.
    Openfire,
    /// XiansAi server.
    Xians,
    /// Salesforce Messaging for In-App and Web.
    Salesforce,
    /// Bright Pattern client chat.
    BrightPattern,
}

impl Kind {
    /// All four.
    pub const ALL: [Self; 4] = [Self::Openfire, Self::Xians, Self::Salesforce, Self::BrightPattern];

    /// The dialect's name in chatmux's conf.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Openfire => "openfire",
            Self::Xians => "xians",
            Self::Salesforce => "salesforce",
            Self::BrightPattern => "brightpattern",
        }
    }
}

/// Settings of all dialects; each reads its own. `Options::default()` behaves as the real one.
#[derive(Clone, Debug)]
pub struct Options {
    /// Port to listen on; 0 takes a free one.
    pub port: u16,
    /// Time between signs of life. `None`: the dialect's own (openfire 10 s, xians as the request
    /// asks, salesforce 5 s). `Duration::MAX`: never by itself.
    pub heartbeat: Option<Duration>,
    /// Openfire: whether `chatapi.xmpp` goes before derived frames.
    pub stanzas: bool,
    /// Openfire: payloads as the older plugins wrote them, concatenated and not parsed again.
    pub legacy_payloads: bool,
    /// Openfire: XMPP domain.
    pub domain: String,
    /// Openfire: user and password; empty: every password is right.
    pub passwords: Vec<(String, String)>,
    /// Openfire: user and token, Salesforce: subject and token, good from the start.
    pub tokens: Vec<(String, String)>,
    /// XiansAi: API key (`sk-Xnai-…`) and its tenant; empty: every key of that form is good.
    pub api_keys: Vec<(String, String)>,
    /// XiansAi: JWTs that are accepted; empty: everything with two dots.
    pub bearers: Vec<String>,
    /// Salesforce: the org, 15 characters.
    pub org_id: String,
    /// Salesforce: how long minted tokens are good.
    pub token_lifetime: Duration,
    /// Salesforce: how many events `Last-Event-Id` reaches back.
    pub replay: usize,
    /// Salesforce: how many events before `Last-Event-Id` are sent again with those after it.
    pub overlap: u64,
    /// Bright Pattern: how long a poll with nothing to say is held.
    pub hold: Duration,
    /// Bright Pattern: chat id and client id that exist from the start; an empty client id is
    /// everybody's.
    pub chats: Vec<(String, String)>,
    /// Bright Pattern: whether polls give the participant's own messages too. Openfire: whether
    /// messages sent over REST come back as carbons.
    pub echo: bool,
    /// Whether somebody answers what the participant sends, at once. Where the dialect has
    /// receipts, it is read first.
    pub answers: bool,
    /// Bright Pattern: the only good app id; empty: any.
    pub app_id: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            port: 0,
            heartbeat: None,
            stanzas: true,
            legacy_payloads: false,
            domain: String::from("example.org"),
            passwords: Vec::new(),
            tokens: Vec::new(),
            api_keys: Vec::new(),
            bearers: Vec::new(),
            org_id: String::from("00D000000000001"),
            token_lifetime: Duration::from_secs(6 * 3600),
            replay: 4096,
            overlap: 0,
            hold: Duration::from_secs(10),
            chats: Vec::new(),
            echo: false,
            answers: false,
            app_id: String::new(),
        }
    }
}
