//! What is remembered of conversations, the same in every dialect: repeats, ends, handlers.
//!
//! Bounded: 256 conversations, 4,096 ids and 64 parties in each; the least recently used is forgotten. Not here: which frames count as what.

use std::hash::BuildHasher;
use std::num::NonZeroUsize;

use foldhash::quality::FixedState;
use lru::LruCache;

use crate::proto::event::{Event, Handoff, HandoffPhase, Payload, Role, StatusState, Text};

/// One upstream stream seldom carries more than a handful; a backend that invents new ones in
/// every frame must not fill the memory.
const CONVERSATIONS_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(255);
/// How far back a repeat is recognised within a conversation.
const IDS_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(4095);
/// How many parties of a conversation are remembered as having joined.
pub(super) const PARTIES_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);

/// Stands for the content of an entry of the history.
const FROM_PAST: u64 = u64::MAX;

/// The memory of all conversations of one upstream stream.
#[derive(Clone)]
pub struct Memory {
    seed: u64,
    conversations: LruCache<String, Conversation>,
}

#[derive(Clone)]
struct Conversation {
    seen: LruCache<u64, u64>,
    is_ended: bool,
    handler: Option<Handler>,
    joined: LruCache<Box<str>, ()>,
}

#[derive(Clone)]
struct Handler {
    id: Box<str>,
    name: Box<str>,
    is_bot: bool,
    has_left: bool,
}

/// Who handed over to whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover {
    /// The name of who left, else the id.
    pub from: String,
    /// The name of who came, else the id.
    pub to: String,
}

impl Handover {
    /// The event that follows the `Participant`; the caller adds id, time and conversation.
    #[must_use]
    pub fn into_event<'a>(self, source_event: impl Into<Text<'a>>) -> Event<'a> {
        let handoff = Handoff {
            from_agent: Some(self.from.into()),
            to_agent: Some(self.to.into()),
            reason: Some("transfer".into()),
            ..Handoff::new(HandoffPhase::Completed)
        };
        Event::new(source_event, Payload::Handoff(Box::new(handoff)))
    }
}

impl Memory {
    /// An empty memory; `seed` salts the content hashes.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, conversations: LruCache::sparse(CONVERSATIONS_MAX) }
    }

    /// Whether the same content was last seen under this id; remembers it if not.
    pub fn is_repeat(&mut self, conversation: &str, id: &str, content: &str) -> bool {
        let (id, content) = (self.hash(id), self.hash(content));
        let seen = &mut self.conversation(conversation).seen;
        matches!(seen.put(id, content), Some(before) if before == content || before == FROM_PAST)
    }

    /// Whether anything was seen under the id of an entry of the history; remembers it if not.
    /// What the stream then tells under it is a repeat: it looks different there.
    pub fn is_known(&mut self, conversation: &str, id: &str) -> bool {
        let id = self.hash(id);
        let seen = &mut self.conversation(conversation).seen;
        let is_known = seen.get(&id).is_some();
        if !is_known {
            seen.put(id, FROM_PAST);
        }
        is_known
    }

    /// A status was told. `false`: the end was told before, this is a `duplicate`.
    pub fn on_status(&mut self, conversation: &str, state: StatusState) -> bool {
        let conversation = self.conversation(conversation);
        match state {
            StatusState::Queued
            | StatusState::Connecting
            | StatusState::Connected
            | StatusState::Active => {
                conversation.is_ended = false;
                true
            }
            StatusState::Waiting => true,
            StatusState::Ended | StatusState::Failed => {
                let is_news = !conversation.is_ended;
                conversation.is_ended = true;
                conversation.handler = None;
                conversation.joined.clear();
                is_news
            }
        }
    }

    /// Whether the end was told, and nothing opened the session again.
    pub fn is_ended(&mut self, conversation: &str) -> bool {
        self.conversation(conversation).is_ended
    }

    /// A message was told: it opens the session again.
    pub fn on_message(&mut self, conversation: &str) {
        self.conversation(conversation).is_ended = false;
    }

    /// A party joined. Gives the hand-over that this completes, if it does.
    pub fn on_joined(
        &mut self,
        conversation: &str,
        id: &str,
        name: Option<&str>,
        role: Role,
    ) -> Option<Handover> {
        let conversation = self.conversation(conversation);
        conversation.is_ended = false;
        let is_bot = match role {
            Role::Bot => true,
            Role::Agent => false,
            Role::Participant | Role::System | Role::Supervisor | Role::Peer => return None,
        };
        conversation.joined.put(id.into(), ());
        let name = name.filter(|name| !name.is_empty()).unwrap_or(id);
        let new = Handler { id: id.into(), name: name.into(), is_bot, has_left: false };
        let old = conversation.handler.replace(new)?;
        ((old.is_bot || old.has_left) && *old.id != *id)
            .then(|| Handover { from: old.name.into(), to: name.to_owned() })
    }

    /// A party left.
    pub fn on_left(&mut self, conversation: &str, id: &str, name: Option<&str>, role: Role) {
        let conversation = self.conversation(conversation);
        if conversation.is_ended {
            return;
        }
        let is_bot = match role {
            Role::Bot => true,
            Role::Agent => false,
            Role::Participant | Role::System | Role::Supervisor | Role::Peer => return,
        };
        match &mut conversation.handler {
            Some(handler) if *handler.id == *id => handler.has_left = true,
            _ if conversation.joined.contains(id) => {}
            handler => {
                let name = name.filter(|name| !name.is_empty()).unwrap_or(id);
                *handler =
                    Some(Handler { id: id.into(), name: name.into(), is_bot, has_left: true });
            }
        }
    }

    fn conversation(&mut self, name: &str) -> &mut Conversation {
        self.conversations.get_or_insert_mut_ref(name, || Conversation {
            // Tables grow with use: most conversations stay far below their bounds.
            seen: LruCache::sparse(IDS_MAX),
            is_ended: false,
            handler: None,
            joined: LruCache::sparse(PARTIES_MAX),
        })
    }

    fn hash(&self, text: &str) -> u64 {
        FixedState::with_seed(self.seed).hash_one(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_content_under_the_same_id_is_a_repeat() {
        let mut memory = Memory::new(1);
        assert!(!memory.is_repeat("c", "1", "a"));
        assert!(memory.is_repeat("c", "1", "a"));
        assert!(!memory.is_repeat("c", "1", "an edit"));
        assert!(!memory.is_repeat("c", "1", "a"), "compared with the last seen");
        assert!(!memory.is_repeat("d", "1", "a"), "another conversation");
    }

    #[test]
    fn what_the_history_told_is_a_repeat_on_the_stream_once() {
        let mut memory = Memory::new(1);
        assert!(!memory.is_repeat("c", "1", "a"));
        assert!(memory.is_known("c", "1"), "whatever it looks like");
        assert!(!memory.is_known("c", "2"));
        assert!(memory.is_known("c", "2"));
        assert!(memory.is_repeat("c", "2", "a"));
        assert!(memory.is_repeat("c", "2", "a"));
        assert!(!memory.is_repeat("c", "2", "an edit"));
    }

    #[test]
    fn repeats_are_remembered_for_4096_ids() {
        let mut memory = Memory::new(1);
        for n in 0..=IDS_MAX.get() {
            assert!(!memory.is_repeat("c", &n.to_string(), "a"));
        }
        assert!(memory.is_repeat("c", "1", "a"), "within the last 4096");
        assert!(!memory.is_repeat("c", "0", "a"), "forgotten");
    }

    #[test]
    fn conversations_are_bounded() {
        let mut memory = Memory::new(1);
        for n in 0..CONVERSATIONS_MAX.get() + 10 {
            memory.is_repeat(&n.to_string(), "1", "a");
        }
        assert_eq!(memory.conversations.len(), CONVERSATIONS_MAX.get());
        for n in 0..PARTIES_MAX.get() + 10 {
            memory.on_joined("c", &n.to_string(), None, Role::Agent);
        }
        assert_eq!(memory.conversation("c").joined.len(), PARTIES_MAX.get());
    }

    #[test]
    fn the_end_is_told_once_until_the_session_opens_again() {
        let mut memory = Memory::new(1);
        assert!(memory.on_status("c", StatusState::Ended));
        assert!(!memory.on_status("c", StatusState::Failed));
        assert!(memory.on_status("c", StatusState::Waiting));
        assert!(!memory.on_status("c", StatusState::Ended), "waiting does not open it");
        memory.on_message("c");
        assert!(memory.on_status("c", StatusState::Ended));
        memory.on_joined("c", "a", None, Role::System);
        assert!(memory.on_status("c", StatusState::Ended));
        for state in [
            StatusState::Queued,
            StatusState::Connecting,
            StatusState::Connected,
            StatusState::Active,
        ] {
            assert!(memory.on_status("c", state));
            assert!(memory.on_status("c", StatusState::Ended), "{state:?} opens it");
        }
    }

    fn hand_over(from: &str, to: &str) -> Option<Handover> {
        Some(Handover { from: from.into(), to: to.into() })
    }

    #[test]
    fn a_bot_or_an_agent_who_left_hands_over() {
        let mut memory = Memory::new(1);
        assert_eq!(memory.on_joined("c", "bot", Some("Bot"), Role::Bot), None, "the first is none");
        assert_eq!(memory.on_joined("c", "boss", Some("Boss"), Role::Supervisor), None);
        assert_eq!(memory.on_joined("c", "a", Some("Ann"), Role::Agent), hand_over("Bot", "Ann"));
        assert_eq!(memory.on_joined("c", "b", None, Role::Agent), None, "a conference");
        memory.on_left("c", "a", None, Role::Agent);
        assert_eq!(memory.on_joined("c", "d", Some("Dan"), Role::Agent), None, "b is still there");
        memory.on_left("c", "d", None, Role::Agent);
        assert_eq!(
            memory.on_joined("c", "d", Some("Dan"), Role::Agent),
            None,
            "the same comes back"
        );
        memory.on_left("c", "d", None, Role::Agent);
        assert_eq!(memory.on_joined("c", "e", Some(""), Role::Agent), hand_over("Dan", "e"));
    }

    #[test]
    fn who_was_there_before_us_hands_over_on_leaving() {
        let mut memory = Memory::new(1);
        memory.on_left("c", "x", Some("Xu"), Role::Agent);
        assert_eq!(memory.on_joined("c", "a", Some("Ann"), Role::Agent), hand_over("Xu", "Ann"));
        memory.on_status("c", StatusState::Ended);
        memory.on_left("c", "a", Some("Ann"), Role::Agent);
        assert_eq!(memory.on_joined("c", "b", None, Role::Agent), None, "a new session");
    }
}
