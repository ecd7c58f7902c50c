//! The archive of what was said, and what is remembered to know it again.
//!
//! Its entries have no ids that the stream knows, so they are compared by sender, text and time.
//! It is asked for each person that was talked with: without a name it gives everybody's
//! messages to anybody. Only messages between two are in it; of rooms, of states and of people
//! who write for the first time it tells nothing. Not here: making the calls (`edge::upstream`).

use std::borrow::Cow;
use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;

use lru::LruCache;
use serde_json::value::RawValue;

use super::people::{Jid, Scene};
use super::{Desk, word};
use crate::proto::backend::{
    CallPlan, Discard, History, HistoryPlan, Input, KEY, KEYS_MAX, Outbox, PAGE, Page, Past,
    PastKeys, Piece, Reject, Wanted,
};
use crate::proto::event::{Chat, Payload};
use crate::proto::json::{self, Object};
use crate::proto::template::Place;
use crate::proto::time::UnixMillis;

/// One answer has all that is wanted.
pub(super) const HISTORY: History = History {
    first_page: |since| UnixMillis(since.0 - CONVERSATION_MILLIS_MAX).to_string(),
    read,
    is_newest_first: false,
    read_index: |_| None,
};

/// `start` is compared with the beginning of conversations (`ArchiveSearcher`), and the
/// monitoring plugin lets one go on for an hour (`conversation.maxTime`). What was said too early
/// is sorted out here.
const CONVERSATION_MILLIS_MAX: i64 = 3_600_000;

/// What was said is remembered as far back as the edge asks, by the most that people say.
const SAID_MAX: usize = 512;
/// Stream and archive may differ by so much on when something was said: it is the time of
/// arrival against the server's.
const TOLERANCE_MILLIS: i64 = 30_000;
/// What came on the new stream while the archive was read is read from the socket at once.
const QUEUED_MILLIS: i64 = 2_000;
/// Names of people that are longer are none to ask by; RFC 7622 bounds each part of one.
const PEER_BYTES_MAX: usize = 2 * super::JID_PART_BYTES_MAX + 1;
const PEERS_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(KEYS_MAX - 1);

/// `GET <url>/api/rest/chat/messages?to=<peer>&start=<instant>`; the token stands bare.
pub(super) fn plan(token: Piece) -> HistoryPlan {
    let part = CallPlan {
        path: Piece::fixed("/api/rest/chat/messages"),
        query: vec![
            ("to", Piece::hole(KEY, Place::Query)),
            ("start", Piece::hole(PAGE, Place::Query)),
        ],
        headers: vec![
            ("accept", Piece::fixed("application/json")),
            ("accept-encoding", Piece::fixed("identity")),
            ("authorization", token),
        ],
        ..CallPlan::default()
    };
    HistoryPlan { part: Some(part), ..HistoryPlan::default() }
}

fn read<'a>(answer: &'a str, _: &Wanted<'_>) -> Option<Page<'a>> {
    let mut entries = Vec::new();
    for conversation in list(&Object::parse(answer)?, "conversations")? {
        let conversation = Object::parse_part(conversation.get())?;
        for message in list(&conversation, "messages")? {
            let at = Object::parse_part(message.get()).and_then(|message| sent_at(&message));
            let data = Cow::Borrowed(message.get());
            entries.push(Past { at, event: Cow::Borrowed("chatapi.chat"), data });
        }
    }
    Some(Page { entries, next: None })
}

/// Lists of one element have been seen to lose their brackets on the way through JAXB.
fn list<'a>(object: &Object<'a>, key: &str) -> Option<Vec<&'a RawValue>> {
    let value = object.raw(key)?;
    match value.get().as_bytes().first() {
        Some(b'n') => Some(Vec::new()),
        Some(b'{') => Some(vec![value]),
        _ => json::array(value),
    }
}

/// An instant, or milliseconds.
fn sent_at(message: &Object<'_>) -> Option<UnixMillis> {
    let text = message.text("sentDate").and_then(|text| UnixMillis::parse_rfc3339(&text));
    text.or_else(|| message.get("sentDate").and_then(UnixMillis::from_json_millis))
}

/// What was said, and with whom.
#[derive(Clone)]
pub(super) struct Archive {
    seed: u64,
    now: Option<UnixMillis>,
    /// When the stream was last opened again, and how often it was.
    reopened_at: Option<UnixMillis>,
    round: u32,
    said: VecDeque<Said>,
    /// When the archive told something last.
    told_at: Option<UnixMillis>,
    peers: LruCache<Box<str>, ()>,
    /// There was more than the archive can be asked for.
    has_more: bool,
}

/// Something that was said between two.
#[derive(Clone)]
struct Said {
    /// By whom, and what.
    what: u64,
    at: UnixMillis,
    /// The last time that it was found in the archive.
    found_in: Option<u32>,
    /// The archive told it at this moment, and the stream has not.
    told_at: Option<UnixMillis>,
}

impl Archive {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            seed,
            now: None,
            reopened_at: None,
            round: 0,
            said: VecDeque::new(),
            told_at: None,
            peers: LruCache::sparse(PEERS_MAX),
            has_more: false,
        }
    }

    pub(super) const fn on_time(&mut self, now: UnixMillis) {
        self.now = Some(now);
    }

    pub(super) const fn on_reopened(&mut self) {
        self.reopened_at = self.now;
        self.round = self.round.wrapping_add(1);
    }

    /// Something was said in a room, or a room is there: the archive knows nothing of them.
    pub(super) const fn on_room(&mut self) {
        self.has_more = true;
    }

    /// Somebody to ask the archive for.
    fn on_peer(&mut self, peer: Option<&str>) {
        let Some(peer) = peer.filter(|peer| peer.len() <= PEER_BYTES_MAX) else {
            return;
        };
        if self.peers.get(peer).is_none() {
            self.has_more |= self.peers.len() == PEERS_MAX.get();
            self.peers.put(peer.into(), ());
        }
    }

    pub(super) fn keys(&self) -> PastKeys {
        PastKeys {
            names: self.peers.iter().map(|(peer, ())| peer.to_string()).collect(),
            // With nobody to ask for, it is not known what was missed.
            is_all: !self.has_more && !self.peers.is_empty(),
        }
    }

    /// Whether something that is said between two was told already: by the stream, if the
    /// archive says now that it was `past`; else by the archive.
    pub(super) fn is_told(
        &mut self,
        scene: &Scene<'_>,
        text: &str,
        at: Option<UnixMillis>,
        past: Option<UnixMillis>,
    ) -> bool {
        self.on_peer(scene.peer());
        match (scene.speaker(), past) {
            (Some(who), Some(past)) => self.is_known(who, text, past),
            (Some(who), None) => self.on_said(who, text, at),
            (None, _) => false,
        }
    }

    /// The stream tells something. Whether the archive has just told it.
    fn on_said(&mut self, who: Jid<'_>, text: &str, at: Option<UnixMillis>) -> bool {
        let Some(now) = self.now else {
            return false;
        };
        let what = self.hash(who, text);
        let is_fresh =
            |told: Option<UnixMillis>| told.is_some_and(|told| now.0 - told.0 <= QUEUED_MILLIS);
        if is_fresh(self.told_at) {
            let since = self.reopened_at.unwrap_or_default().0 - TOLERANCE_MILLIS;
            let is_it = |said: &&mut Said| {
                said.what == what && said.at.0 >= since && is_fresh(said.told_at)
            };
            if let Some(said) = self.said.iter_mut().find(is_it) {
                said.told_at = None;
                return true;
            }
        }
        self.remember(Said { what, at: at.unwrap_or(now), found_in: None, told_at: None });
        false
    }

    /// The archive tells something. Whether it was told before. What was said twice is there
    /// twice.
    fn is_known(&mut self, who: Jid<'_>, text: &str, at: UnixMillis) -> bool {
        let (what, round) = (self.hash(who, text), self.round);
        let is_it = |said: &&mut Said| {
            let is_near = (said.at.0 - at.0).abs() <= TOLERANCE_MILLIS;
            said.what == what && said.found_in != Some(round) && is_near
        };
        if let Some(said) = self.said.iter_mut().find(is_it) {
            said.found_in = Some(round);
            return true;
        }
        let told_at = self.now;
        self.told_at = told_at;
        self.remember(Said { what, at, found_in: Some(round), told_at });
        false
    }

    fn remember(&mut self, said: Said) {
        if self.said.len() >= SAID_MAX {
            self.said.pop_front();
        }
        self.said.push_back(said);
    }

    fn hash(&self, who: Jid<'_>, text: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self.seed, who.bare.to_lowercase(), text).hash(&mut hasher);
        hasher.finish()
    }
}

impl Desk {
    /// Maps an entry of the archive.
    pub(super) fn on_archived(
        &mut self,
        input: Input<'_>,
        out: &mut Outbox<'_>,
    ) -> Result<(), Reject> {
        let entry = Object::parse(input.data).ok_or(Reject::Ownerless("no JSON object"))?;
        let (from, to) = (word(&entry, "from"), word(&entry, "to"));
        let (from, to) = (from.as_deref().and_then(Jid::new), to.as_deref().and_then(Jid::new));
        let own = self.stream.own_at_home(&self.subscription.participant_id);
        let own = own.ok_or(Reject::Ownerless("nobody knows whose stream it is"))?;
        let is_own = |jid: Option<Jid<'_>>| jid.is_some_and(|jid| own.is(jid));
        if !is_own(from) && !is_own(to) {
            return Err(Reject::Discard(Discard::Foreign, "between others"));
        }
        let at = sent_at(&entry).ok_or_else(|| filtered("does not say when it was"))?;
        let (Some(sender), event) = (from, input.event) else {
            return Err(filtered("said by nobody"));
        };
        if let Some(xml) = word(&entry, "stanza")
            && let Some(told) = self.on_archived_stanza(&xml, sender.bare, at, out)
        {
            return told;
        }
        let body = entry.text("body").filter(|body| !body.is_empty());
        let body = body.ok_or_else(|| filtered("nothing said"))?;
        let own = self.stream.own_at_home(&self.subscription.participant_id);
        let scene = Scene::new(&self.stream.rooms, own, from, to, false);
        if self.archive.is_told(&scene, &body, None, Some(at)) {
            return Err(Reject::Discard(Discard::Duplicate, "the stream told it"));
        }
        let mut event = scene.event(event, Payload::Chat(Box::new(Chat::default())));
        event.text = Some(body);
        event.created_at = Some(at);
        out.emit(event);
        Ok(())
    }
}

const fn filtered(why: &'static str) -> Reject {
    Reject::Discard(Discard::Filtered, why)
}
