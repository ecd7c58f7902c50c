//! Scripted backends that know Jane, quiet unless they are told to speak.

use std::time::Duration;

use chatmux::scripted::{Audience, Backend, Conversation, Kind, Options, Step};

use super::{Conf, Edge, soon};

pub(crate) const KINDS: [Kind; 4] = Kind::ALL;

/// A poll that has nothing to say is held for so long: sources come up with its answer.
const HOLD: Duration = Duration::from_millis(300);

/// The participant of most tests.
pub(crate) fn jane() -> Audience {
    Audience::new("jane")
}

/// What a source of this kind is called in conf files of tests.
pub(crate) const fn source_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Openfire => "desk",
        Kind::Xians => "agent",
        Kind::Salesforce => "care",
        Kind::BrightPattern => "voice",
    }
}

/// Settings that know the credentials of `conf::source` and never beat by themselves.
pub(crate) fn options(kind: Kind) -> Options {
    let tokens = match kind {
        Kind::Openfire => vec![("jane".to_owned(), "openfire-token".to_owned())],
        Kind::Salesforce => vec![("jane".to_owned(), "salesforce-token".to_owned())],
        Kind::Xians | Kind::BrightPattern => Vec::new(),
    };
    Options {
        heartbeat: Some(Duration::MAX),
        tokens,
        api_keys: vec![("sk-Xnai-upstream".to_owned(), "acme".to_owned())],
        chats: vec![(jane().conversation, String::new())],
        hold: HOLD,
        echo: true,
        ..Options::default()
    }
}

pub(crate) async fn backend(kind: Kind) -> Backend {
    backend_with(kind, options(kind)).await
}

pub(crate) async fn backend_with(kind: Kind, options: Options) -> Backend {
    Backend::start(kind, options).await.expect("a loopback port")
}

/// The agent says something to Jane.
#[track_caller]
pub(crate) fn say(backend: &Backend, text: &str) {
    let who = Conversation::new(Vec::new());
    let is_said = backend.speak(&jane(), &who, &Step::AgentSays(text.to_owned()));
    assert!(is_said, "{:?} cannot say it", backend.kind());
}

/// One backend, and an edge in front of it.
pub(crate) struct One {
    pub(crate) backend: Backend,
    pub(crate) edge: Edge,
}

impl One {
    pub(crate) async fn start(kind: Kind) -> Self {
        Self::start_with(kind, |conf| conf).await
    }

    pub(crate) async fn start_with(kind: Kind, change: impl FnOnce(Conf) -> Conf) -> Self {
        let backend = backend(kind).await;
        let conf = change(Conf::new().backend(&backend));
        let edge = Edge::start(&conf.yaml()).await;
        Self { backend, edge }
    }

    /// The law, with the figures of the backend.
    pub(crate) async fn check_law(&self) {
        self.edge.check_law(&[(source_name(self.backend.kind()), &self.backend)]).await;
    }
}

/// All four backends, and an edge in front of them.
pub(crate) struct Four {
    pub(crate) backends: Vec<Backend>,
    pub(crate) edge: Edge,
}

impl Four {
    pub(crate) const NAMES: [&str; 4] = ["desk", "agent", "care", "voice"];

    pub(crate) async fn start() -> Self {
        Self::start_with(|conf| conf).await
    }

    pub(crate) async fn start_with(change: impl FnOnce(Conf) -> Conf) -> Self {
        let mut backends = Vec::new();
        for kind in KINDS {
            backends.push(backend(kind).await);
        }
        let conf = backends.iter().fold(Conf::new(), Conf::backend);
        let edge = Edge::start(&change(conf).yaml()).await;
        Self { backends, edge }
    }

    pub(crate) fn of(&self, kind: Kind) -> &Backend {
        self.backends.iter().find(|backend| backend.kind() == kind).expect("all four")
    }

    /// Waits until nobody listens to any backend any more.
    pub(crate) async fn all_let_go(&self) {
        for backend in &self.backends {
            let gone = backend.wait_for(|now| now.live_streams + now.held_polls == 0);
            soon("upstream streams are let go", gone).await;
        }
    }

    /// The law, with the figures of the backends.
    pub(crate) async fn check_law(&self) {
        let sources: Vec<_> =
            self.backends.iter().map(|backend| (source_name(backend.kind()), backend)).collect();
        self.edge.check_law(&sources).await;
    }
}
