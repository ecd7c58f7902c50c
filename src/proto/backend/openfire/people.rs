//! Who is who: addresses, the participant's own identity, rooms and the nicks in them.
//!
//! A [`Scene`] is one frame seen from the participant: who speaks, to whom, which way, where.
//! Rooms are bounded by [`ROOMS_MAX`] and [`OCCUPANTS_MAX`]; the least recently used is
//! forgotten. Not here: what is said (`frames`, `stanza`).

use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZeroUsize;

use lru::LruCache;
use memchr::memchr;

use super::JID_PART_BYTES_MAX;
use crate::proto::event::{Direction, Event, EventId, Payload, Role, Sender, Text};

/// A person is in a handful of rooms; a backend that names ever new ones must not fill memory.
pub(super) const ROOMS_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(63);
/// How many occupants of a room are remembered as being there.
pub(super) const OCCUPANTS_MAX: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1023);

/// The service under which Openfire's Fastpath puts its workgroups.
const WORKGROUP_LABEL: &str = "workgroup";

/// An address: `local@domain/resource`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Jid<'x> {
    /// As it was sent.
    pub(super) full: &'x str,
    /// Without the resource.
    pub(super) bare: &'x str,
    /// Of a room's occupant: the nick.
    pub(super) resource: Option<&'x str>,
}

impl<'x> Jid<'x> {
    /// `None` for an empty text.
    pub(super) fn new(full: &'x str) -> Option<Self> {
        let (bare, resource) = match split(full, b'/') {
            Some((bare, resource)) => {
                (bare, Some(resource).filter(|resource| !resource.is_empty()))
            }
            None => (full, None),
        };
        (!bare.is_empty()).then_some(Self { full, bare, resource })
    }

    fn local(self) -> Option<&'x str> {
        split(self.bare, b'@').map(|(local, _)| local).filter(|local| !local.is_empty())
    }

    pub(super) fn domain(self) -> &'x str {
        split(self.bare, b'@').map_or(self.bare, |(_, domain)| domain)
    }

    fn is_system(self) -> bool {
        let domain = self.domain();
        let label = split(domain, b'.').map_or(domain, |(label, _)| label);
        self.local().is_none() || is_same(label, WORKGROUP_LABEL)
    }
}

/// The participant's own bare JID.
#[derive(Clone, Copy, Debug)]
pub(super) struct Own<'x> {
    pub(super) local: &'x str,
    pub(super) domain: &'x str,
}

impl<'x> Own<'x> {
    /// `None` for a name that holds no `@`.
    pub(super) fn of_jid(name: &'x str) -> Option<Self> {
        let (local, domain) = Jid::new(name)?.bare.split_once('@')?;
        Some(Self { local, domain })
    }

    /// Whether the address is the participant's, whatever the resource.
    pub(super) fn is(self, jid: Jid<'_>) -> bool {
        is_same(jid.domain(), self.domain)
            && jid.local().is_some_and(|local| is_same(local, self.local))
    }

    fn to_bare(self) -> String {
        format!("{}@{}", self.local, self.domain)
    }
}

/// What stands before and after the first of an ASCII character. Each event looks into its
/// addresses many times over, for which `str::split_once` is dear.
fn split(text: &str, ascii: u8) -> Option<(&str, &str)> {
    let at = memchr(ascii, text.as_bytes())?;
    Some((text.get(..at)?, text.get(at + 1..)?))
}

/// Whether two texts differ in case only.
fn is_same(a: &str, b: &str) -> bool {
    if a == b {
        return true;
    }
    // There and back: `ß` and `SS`, final and other sigma come out the same.
    fn fold(text: &str) -> impl Iterator<Item = char> {
        text.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase)
    }
    if a.is_ascii() && b.is_ascii() {
        return a.eq_ignore_ascii_case(b);
    }
    fold(a).eq(fold(b))
}

/// One frame seen from the participant.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scene<'x> {
    from: Option<Jid<'x>>,
    to: Option<Jid<'x>>,
    own: Option<Own<'x>>,
    /// `from` is the participant's account.
    is_own_account: bool,
    /// `from` is the participant's nick in a room.
    is_own_nick: bool,
    /// `from` is an occupant of a room.
    is_occupant: bool,
    /// Said to a whole room.
    is_groupchat: bool,
}

impl<'x> Scene<'x> {
    /// Reads who is who.
    pub(super) fn new(
        rooms: &Rooms,
        own: Option<Own<'x>>,
        from: Option<Jid<'x>>,
        to: Option<Jid<'x>>,
        is_groupchat: bool,
    ) -> Self {
        let is_own_account = from.is_some_and(|from| own.is_some_and(|own| own.is(from)));
        let is_occupant =
            !is_own_account && from.is_some_and(|from| is_groupchat || rooms.is_known(from.bare));
        let is_own_nick = is_occupant && from.is_some_and(|from| rooms.is_own_nick(from));
        Self { from, to, own, is_own_account, is_own_nick, is_occupant, is_groupchat }
    }

    /// The same, `from` being an occupant of a room: the participant, or another.
    pub(super) const fn of_occupant(mut self, is_own: bool) -> Self {
        self.is_occupant = true;
        self.is_own_nick = is_own;
        self
    }

    const fn is_own(&self) -> bool {
        self.is_own_account || self.is_own_nick
    }

    /// The other side's bare JID; of what was said to a room, the room's.
    pub(super) fn conversation(&self) -> Option<&'x str> {
        let side = if self.is_own_account { self.to } else { self.from };
        side.map(|side| side.bare)
    }

    /// The room, if it was said to one.
    pub(super) fn room(&self) -> Option<&'x str> {
        self.conversation().filter(|_| self.is_groupchat)
    }

    /// `Incoming` = by the participant.
    pub(super) const fn direction(&self) -> Direction {
        if self.is_own() { Direction::Incoming } else { Direction::Outgoing }
    }

    /// Who speaks; `None` if the frame names nobody.
    pub(super) fn sender(&self) -> Option<Sender<'x>> {
        let from = self.from?;
        Some(Sender {
            id: Some(from.full.into()),
            name: self.name().map(Text::from),
            role: self.role(),
        })
    }

    /// The nick, or the local part.
    pub(super) fn name(&self) -> Option<&'x str> {
        let from = self.from?;
        from.resource.filter(|_| self.is_occupant).or_else(|| from.local())
    }

    /// Who speaks.
    pub(super) const fn speaker(&self) -> Option<Jid<'x>> {
        self.from
    }

    /// The bare JID of whoever the participant talks with, a person with an account.
    pub(super) fn peer(&self) -> Option<&'x str> {
        let side = if self.is_own_account { self.to } else { self.from };
        let side = side.filter(|side| !self.is_occupant && !side.is_system());
        side.map(|side| side.bare)
    }

    /// What the speaker is.
    pub(super) fn role(&self) -> Role {
        if self.is_own() {
            Role::Participant
        } else if self.from.is_some_and(Jid::is_system) {
            Role::System
        } else {
            Role::Peer
        }
    }

    /// The id of a message of this speaker.
    pub(super) fn id_of(&self, stanza_id: &str) -> Option<String> {
        let from = self.from?;
        let who = if self.is_occupant { from.full } else { from.bare };
        Some(format!("{who}/{stanza_id}"))
    }

    /// The id of the message that a receipt of this speaker means: it was said by the other
    /// side, so its id begins with that side's address.
    pub(super) fn id_of_acknowledged(&self, rooms: &Rooms, stanza_id: &str) -> Option<String> {
        if let Some(room) = self.room()
            && let Some(nick) = rooms.own_nick(room)
        {
            return Some(format!("{room}/{nick}/{stanza_id}"));
        }
        let to =
            self.to.filter(|to| self.is_own_account || self.own.is_some_and(|own| own.is(*to)));
        let who = to.map(|to| to.bare.to_owned()).or_else(|| self.own.map(Own::to_bare))?;
        Some(format!("{who}/{stanza_id}"))
    }

    /// An event of this scene: minted id, speaker, direction and conversation set.
    pub(super) fn event(&self, source_event: &'x str, payload: Payload<'x>) -> Event<'x> {
        let mut event = Event::new(source_event, payload);
        event.id = EventId::minted();
        event.direction = self.direction();
        event.sender = self.sender();
        event.conversation_id = self.conversation().map(Text::from);
        event
    }
}

/// The rooms that occupants were seen in.
#[derive(Clone)]
pub(super) struct Rooms {
    /// Salts the hashes that stand for names: those may be long, and are chosen by others.
    seed: u64,
    rooms: LruCache<u64, Room>,
}

#[derive(Clone)]
struct Room {
    /// The participant's own nick, once the room has told it.
    nick: Option<Box<str>>,
    /// Hashes of the nicks that are there.
    occupants: LruCache<u64, ()>,
}

/// What a room's presence tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Somebody is there who was not; `true`: before the participant came.
    Joined(bool),
    /// Somebody has gone.
    Left,
    /// Somebody who is there changed state.
    Same,
}

/// A presence from a room.
#[derive(Clone, Copy, Debug)]
pub(super) struct Occupancy<'x> {
    /// The room's bare JID.
    pub(super) room: &'x str,
    /// Whose presence.
    pub(super) nick: &'x str,
    /// There, or gone.
    pub(super) is_available: bool,
    /// Status 110: it is the participant's own.
    pub(super) is_own: bool,
    /// Status 303: the nick under which they come back at once.
    pub(super) next_nick: Option<&'x str>,
}

impl Rooms {
    pub(super) fn new(seed: u64) -> Self {
        Self { seed, rooms: LruCache::sparse(ROOMS_MAX) }
    }

    /// Forgets every room.
    pub(super) fn clear(&mut self) {
        self.rooms.clear();
    }

    /// Takes in a room's presence: what it changes, and whether it is the participant's own.
    pub(super) fn on_presence(&mut self, seen: Occupancy<'_>) -> (Change, bool) {
        let (key, hash) = (self.hash(seen.room), self.hash(seen.nick));
        let nick = |nick: &str| {
            Some(Box::<str>::from(nick)).filter(|nick| nick.len() <= JID_PART_BYTES_MAX)
        };
        let room = self.rooms.get_or_insert_mut(key, || Room {
            nick: None,
            occupants: LruCache::sparse(OCCUPANTS_MAX),
        });
        let is_own = seen.is_own || room.nick.as_deref() == Some(seen.nick);
        if seen.is_available {
            let is_new = room.occupants.put(hash, ()).is_none();
            let is_initial = room.nick.is_none() && !seen.is_own;
            if seen.is_own {
                room.nick = nick(seen.nick);
            }
            return (if is_new { Change::Joined(is_initial) } else { Change::Same }, is_own);
        }
        room.occupants.pop(&hash);
        if is_own {
            match seen.next_nick {
                Some(next) => room.nick = nick(next),
                // The next roster is told afresh.
                None => _ = self.rooms.pop(&key),
            }
        }
        (Change::Left, is_own)
    }

    fn is_known(&self, room: &str) -> bool {
        self.rooms.contains(&self.hash(room))
    }

    fn own_nick(&self, room: &str) -> Option<&str> {
        self.rooms.peek(&self.hash(room))?.nick.as_deref()
    }

    fn is_own_nick(&self, jid: Jid<'_>) -> bool {
        jid.resource.is_some() && self.own_nick(jid.bare) == jid.resource
    }

    fn hash(&self, text: &str) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.seed.hash(&mut hasher);
        text.hash(&mut hasher);
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_fall_apart_at_the_first_slash() {
        let jid = Jid::new("room@conference.example.org/a@b/c").expect("a JID");
        assert_eq!((jid.bare, jid.resource), ("room@conference.example.org", Some("a@b/c")));
        assert_eq!((jid.local(), jid.domain()), (Some("room"), "conference.example.org"));
        let jid = Jid::new("example.org/").expect("a JID");
        assert_eq!((jid.bare, jid.resource, jid.local()), ("example.org", None, None));
        assert_eq!(Jid::new(""), None);
        assert_eq!(Jid::new("/x"), None);
    }

    #[test]
    fn addresses_are_compared_without_case() {
        let own = Own::of_jid("Jané@Example.ORG/desk").expect("a JID");
        assert!(own.is(Jid::new("JANÉ@example.org/phone").expect("a JID")));
        assert!(!own.is(Jid::new("jane@example.org").expect("a JID")));
        assert!(!own.is(Jid::new("jané@example.com").expect("a JID")));
        assert!(!own.is(Jid::new("example.org").expect("a JID")));
        assert!(is_same("STRASSE", "straße"));
    }

    fn seen<'x>(room: &'x str, nick: &'x str, is_available: bool, is_own: bool) -> Occupancy<'x> {
        Occupancy { room, nick, is_available, is_own, next_nick: None }
    }

    #[test]
    fn a_room_tells_who_came_and_went() {
        let mut rooms = Rooms::new(1);
        assert_eq!(rooms.on_presence(seen("r", "ann", true, false)), (Change::Joined(true), false));
        assert_eq!(rooms.on_presence(seen("r", "me", true, true)), (Change::Joined(false), true));
        assert_eq!(rooms.on_presence(seen("r", "ann", true, false)), (Change::Same, false));
        assert_eq!(
            rooms.on_presence(seen("r", "bob", true, false)),
            (Change::Joined(false), false)
        );
        assert_eq!(rooms.on_presence(seen("r", "me", true, false)), (Change::Same, true));
        assert_eq!(rooms.on_presence(seen("r", "ann", false, false)), (Change::Left, false));
        assert_eq!(
            rooms.on_presence(seen("r", "ann", true, false)),
            (Change::Joined(false), false)
        );
        assert_eq!(rooms.on_presence(seen("r", "me", false, true)), (Change::Left, true));
        assert_eq!(rooms.on_presence(seen("r", "bob", true, false)), (Change::Joined(true), false));
    }

    #[test]
    fn a_new_nick_is_followed() {
        let mut rooms = Rooms::new(1);
        rooms.on_presence(seen("r", "me", true, true));
        let renamed = Occupancy { next_nick: Some("I"), ..seen("r", "me", false, true) };
        assert_eq!(rooms.on_presence(renamed), (Change::Left, true));
        assert!(rooms.is_own_nick(Jid::new("r/I").expect("a JID")));
        assert!(!rooms.is_own_nick(Jid::new("r/me").expect("a JID")));
    }

    #[test]
    fn rooms_are_bounded() {
        let mut rooms = Rooms::new(1);
        for n in 0..ROOMS_MAX.get() + 5 {
            rooms.on_presence(seen(&n.to_string(), "x", true, false));
        }
        assert_eq!(rooms.rooms.len(), ROOMS_MAX.get());
        for n in 0..OCCUPANTS_MAX.get() + 5 {
            rooms.on_presence(seen("r", &n.to_string(), true, false));
        }
        let key = rooms.hash("r");
        assert_eq!(
            rooms.rooms.peek(&key).map(|room| room.occupants.len()),
            Some(OCCUPANTS_MAX.get())
        );
        let long = "n".repeat(JID_PART_BYTES_MAX + 1);
        rooms.on_presence(seen("r", &long, true, true));
        assert_eq!(rooms.own_nick("r"), None, "too long to be a nick");
    }
}
