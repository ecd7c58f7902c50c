//! A chat written once, for four dialects to speak.
//!
//! What each dialect can say (`x`), cannot (`-`), or says in its own way:
//!
//! | step | openfire | xians | salesforce | brightpattern |
//! |---|---|---|---|---|
//! | `Queued` | x (`update-queue`) | - | x (routing result) | x (status) |
//! | `Connecting` | x (`depart-queue`) | - | x (work result) | x (status) |
//! | `BotJoins` | - | - | x | x |
//! | `BotThinks` | - | `Reasoning` | `Progress` | - |
//! | `BotStreams` | as `BotSays` | as `BotSays` | tokens, then the message | as `BotSays` |
//! | `BotSays`, `AgentSays` | x | x | x | x |
//! | `ParticipantSays` | carbon; stanzas only | history | x (echo) | history, `echo`: stream |
//! | `ParticipantMessageDelivered`, `…Read` | stanzas only | - | x | x |
//! | `HandoffToAgent` | `offer` (accepted) | `Handoff` | leaves, joins | leaves, joins |
//! | `AgentTyping`, `AgentStopsTyping` | x (`composing`, `paused`) | - | x | x |
//! | `AgentSendsFile` | x (`jabber:x:oob`) | - | x | x |
//! | `AgentLeaves` | - | - | x | x |
//! | `Ended` | - | - | x | x (final: the chat is gone) |
//!
//! Not here: bytes. Each backend's file turns steps into frames.

use std::time::Duration;

use crate::scripted::clock::Ids;

/// One thing that happens in a chat.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// The participant waits in a queue, at this place, for about this long.
    Queued {
        /// How long, in whole seconds.
        wait: Duration,
        /// Place in the queue, as the backend counts.
        position: u32,
    },
    /// Somebody is being found.
    Connecting,
    /// The bot takes part.
    BotJoins,
    /// The bot tells what it is doing.
    BotThinks(String),
    /// The bot speaks word by word, then says the whole.
    BotStreams(String),
    /// The bot says something.
    BotSays(String),
    /// The participant says something.
    ParticipantSays(String),
    /// What the participant said last has arrived.
    ParticipantMessageDelivered,
    /// What the participant said last has been read.
    ParticipantMessageRead,
    /// The bot leaves and a human agent joins.
    HandoffToAgent {
        /// Why, where the dialect has a place for it.
        reason: String,
    },
    /// The agent begins to type.
    AgentTyping,
    /// The agent has stopped typing.
    AgentStopsTyping,
    /// The agent says something.
    AgentSays(String),
    /// The agent sends a file.
    AgentSendsFile {
        /// File name.
        name: String,
        /// Media type; `image/…` is an image.
        media_type: String,
    },
    /// The agent leaves.
    AgentLeaves,
    /// The session is over.
    Ended,
}

/// Who somebody is: a name for people and an id for machines.
#[derive(Clone, Debug, PartialEq)]
pub struct Person {
    /// Display name.
    pub name: String,
    /// Lower-case ASCII id without spaces; a JID's local part.
    pub id: String,
}

/// A script: who speaks, and what happens in which order.
#[derive(Clone, Debug, PartialEq)]
pub struct Conversation {
    /// The bot.
    pub bot: Person,
    /// The human agent.
    pub agent: Person,
    /// What happens.
    pub steps: Vec<Step>,
}

impl Conversation {
    /// A script with the usual two people.
    #[must_use]
    pub fn new(steps: Vec<Step>) -> Self {
        let person = |name: &str, id: &str| Person { name: name.to_owned(), id: id.to_owned() };
        Self { bot: person("Ava", "ava"), agent: person("Zoë Núñez", "zoe"), steps }
    }

    /// A customer asks a bot about a parcel and is handed to a person: non-ASCII text, quotes,
    /// emoji, line breaks, a backslash and something that looks like markup.
    #[must_use]
    pub fn support_case() -> Self {
        let say = str::to_owned;
        Self::new(vec![
            Step::Queued { wait: Duration::from_secs(45), position: 2 },
            Step::BotJoins,
            Step::BotSays(say("Hi, I am Ava 👋 How can I help you today?")),
            Step::ParticipantSays(say("My order \"1042\" has not arrived – où est mon colis ?")),
            Step::ParticipantMessageDelivered,
            Step::BotSays(say("Let me look.\nOrder 1042: two items, shipped on Monday.")),
            Step::ParticipantSays(say("I would like to talk to a person, please")),
            Step::BotSays(say("Of course. One moment…")),
            Step::HandoffToAgent { reason: say("escalation") },
            Step::ParticipantMessageRead,
            Step::AgentTyping,
            Step::AgentSays(say("Hello, this is Zoë. I'm sorry about the wait 🙏")),
            Step::AgentStopsTyping,
            Step::ParticipantSays(say("No problem 😀")),
            Step::AgentTyping,
            Step::AgentSays(say(
                "The carrier wrote: \"left at C:\\Dock\\7\". That can't be right & I'll reship it.",
            )),
            Step::AgentStopsTyping,
            Step::AgentSendsFile {
                name: say("étiquette.pdf"), media_type: say("application/pdf")
            },
            Step::AgentSays(say("Keep this <label> in case 注文 1042 turns up twice.")),
            Step::ParticipantSays(say("Thank you! ¡Gracias!")),
            Step::ParticipantMessageRead,
            Step::AgentSays(say("You're welcome. Goodbye!")),
            Step::AgentLeaves,
            Step::Ended,
        ])
    }

    /// As [`Self::support_case`], with the steps that only assistants have: thinking aloud and
    /// speaking word by word.
    #[must_use]
    pub fn assistant_case() -> Self {
        let mut case = Self::support_case();
        case.steps.splice(
            6..6,
            [
                Step::BotThinks(String::from("Looking up order 1042")),
                Step::BotStreams(String::from("It left the depot in Zürich this morning. 📦")),
            ],
        );
        case
    }
}

/// What is answered to a message that the participant has sent.
pub(super) fn answer_to(text: &str) -> String {
    format!("You wrote: {text}")
}

/// How fast a script is played, and how often.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// Time between two steps; zero plays them all at once.
    pub between: Duration,
    /// Whether to begin anew after the last step, with fresh ids and times. Needs `between`.
    pub forever: bool,
}

impl Pace {
    /// All at once, once.
    pub const AT_ONCE: Self = Self { between: Duration::ZERO, forever: false };

    /// Once, with this much time between steps.
    #[must_use]
    pub const fn every(between: Duration) -> Self {
        Self { between, forever: false }
    }

    /// Again and again, with this much time between steps (at least 10 ms).
    #[must_use]
    pub const fn forever(between: Duration) -> Self {
        Self { between, forever: true }
    }
}

/// To whom something is said: each dialect reads what it knows people by.
#[derive(Clone, Debug, PartialEq)]
pub struct Audience {
    /// Openfire: the user (what stands before `@`). XiansAi: the participant, lower-cased.
    pub participant: String,
    /// XiansAi.
    pub tenant: String,
    /// XiansAi: workflow type or id.
    pub workflow: String,
    /// Salesforce conversation, Bright Pattern chat.
    pub conversation: String,
    /// XiansAi: the topic; none: no topic.
    pub scope: Option<String>,
}

impl Audience {
    /// A participant of tenant `acme`, workflow `customer-support`, with a conversation id that
    /// is always the same for the same name.
    #[must_use]
    pub fn new(participant: &str) -> Self {
        Self {
            participant: participant.to_owned(),
            tenant: String::from("acme"),
            workflow: String::from("customer-support"),
            conversation: Ids::of(participant).uuid(),
            scope: None,
        }
    }

    /// The same, on a topic.
    #[must_use]
    pub fn scope(mut self, scope: &str) -> Self {
        self.scope = Some(scope.to_owned());
        self
    }

    /// The same, in another tenant.
    #[must_use]
    pub fn tenant(mut self, tenant: &str) -> Self {
        tenant.clone_into(&mut self.tenant);
        self
    }

    /// The same, in another workflow.
    #[must_use]
    pub fn workflow(mut self, workflow: &str) -> Self {
        workflow.clone_into(&mut self.workflow);
        self
    }

    /// The same, in another conversation or chat.
    #[must_use]
    pub fn conversation(mut self, conversation: &str) -> Self {
        conversation.clone_into(&mut self.conversation);
        self
    }

    /// What stands before `@`.
    pub(super) fn user(&self) -> &str {
        self.participant.split('@').next().unwrap_or_default()
    }

    /// The XiansAi workflow id.
    pub(super) fn workflow_id(&self) -> String {
        if self.workflow.matches(':').count() >= 2 {
            self.workflow.clone()
        } else {
            format!("{}:{}", self.tenant, self.workflow)
        }
    }
}
