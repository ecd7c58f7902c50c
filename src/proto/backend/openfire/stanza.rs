//! The stanzas themselves, base64 in `chatapi.xmpp`: the copy that can be trusted.
//!
//! Bounded before anything is built: [`STANZA_BYTES_MAX`], [`DEPTH_MAX`], [`TAGS_MAX`],
//! [`ATTRIBUTES_MAX`], [`PREFIXES_MAX`]; no DTD, so no entities beyond the five. Of a message the
//! first hit in the order of the vocabulary alone counts. An `xmlns` that stands twice in a tag, as
//! an old plugin writes it, is no fault for the parser. Not here: who is who (`people`).

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use memchr::{memchr, memchr_iter, memmem};
use roxmltree::{Document, Node, ParsingOptions};

use super::frames::{self, chat_state, is_nothing, show_of};
use super::people::{Change, Jid, Occupancy, Scene};
use super::{Desk, json_or_text, word};
use crate::proto::backend::url::is_openable;
use crate::proto::backend::{Discard, Input, Outbox, Reject};
use crate::proto::event::{
    Chat, EventId, FileItem, Json, Notice, NoticeLevel, Participant, Party, Payload, Presence,
    Receipt, Show, Text,
};
use crate::proto::json::DEPTH_MAX;
use crate::proto::time::UnixMillis;

/// Openfire itself takes no larger stanza (`xmpp.parser.buffer.size`).
pub(super) const STANZA_BYTES_MAX: usize = 1024 * 1024;
/// A roster of thousands fits; a parser's tables for more would be out of proportion.
pub(super) const TAGS_MAX: usize = 16 * 1024;
/// Attributes of one tag, which parsers compare with each other.
pub(super) const ATTRIBUTES_MAX: usize = 64;
/// Namespace prefixes declared in a stanza, which every tag within inherits.
pub(super) const PREFIXES_MAX: usize = 64;

/// Text makes nodes of its own, before and after every tag.
const NODES_MAX: u32 = 64 * 1024;

const CLIENT: &str = "jabber:client";
const MUC_USER: &str = "http://jabber.org/protocol/muc#user";
const CHAT_STATES: &str = "http://jabber.org/protocol/chatstates";
const PROPERTIES: &str = "http://www.jivesoftware.com/xmlns/xmpp/properties";
const STANZA_ERRORS: &str = "urn:ietf:params:xml:ns:xmpp-stanzas";
const XML: &str = "http://www.w3.org/XML/1998/namespace";

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

impl Desk {
    /// Decodes, parses and maps one stanza.
    pub(super) fn on_xmpp(&mut self, input: Input<'_>, out: &mut Outbox<'_>) -> Result<(), Reject> {
        let mut repaired = String::new();
        let object = frames::read(input.data, &["xmpp"], &mut repaired)
            .ok_or_else(|| Reject::malformed("not a JSON object"))?;
        let encoded = word(&object, "xmpp").ok_or_else(|| Reject::malformed("no stanza"))?;
        let xml = decode(&encoded)?;
        let broken =
            |why| Reject::Malformed { why, conversation_id: None, body: Some(xml.clone()) };
        check(&xml).map_err(broken)?;
        let options = ParsingOptions { nodes_limit: NODES_MAX, ..ParsingOptions::default() };
        let document = Document::parse_with_options(&xml, options)
            .map_err(|_| broken("the stanza is not well-formed XML"))?;
        let root = document.root_element();
        match root.tag_name().name() {
            "message" => {
                self.stream.has_messages = true;
                self.on_message(input, root, None, out).map_err(|trouble| match trouble {
                    Trouble::TooDeep => broken("nested too deep"),
                    Trouble::Reject(reject) => reject,
                })
            }
            "presence" => {
                self.stream.has_presences = true;
                self.on_presence(input, root, out)
            }
            "iq" => Err(filtered("an iq")),
            _ => Err(broken("no stanza")),
        }
    }

    /// Maps a message of the archive as the stanza that it was. `None` if it is none of this
    /// sender's.
    pub(super) fn on_archived_stanza(
        &mut self,
        xml: &str,
        sender: &str,
        at: UnixMillis,
        out: &mut Outbox<'_>,
    ) -> Option<Result<(), Reject>> {
        check(xml).ok()?;
        let options = ParsingOptions { nodes_limit: NODES_MAX, ..ParsingOptions::default() };
        let document = Document::parse_with_options(xml, options).ok()?;
        let root = document.root_element();
        let is_by_sender = jid(root, "from").is_some_and(|from| from.bare == sender);
        if root.tag_name().name() != "message" || !is_by_sender {
            return None;
        }
        let input = Input { event: "chatapi.xmpp", data: xml };
        Some(self.on_message(input, root, Some(at), out).map_err(|trouble| match trouble {
            Trouble::TooDeep => Reject::malformed("nested too deep"),
            Trouble::Reject(reject) => reject,
        }))
    }

    /// `past`: when it was, for what the archive tells.
    fn on_message(
        &mut self,
        input: Input<'_>,
        root: Node<'_, '_>,
        past: Option<UnixMillis>,
        out: &mut Outbox<'_>,
    ) -> Result<(), Trouble> {
        let (outer_from, outer_to) = (jid(root, "from"), jid(root, "to"));
        self.stream.on_addressed(&self.subscription.participant_id, outer_to);
        let (message, delay) = match forwarded(root) {
            Wrapped::Not => (root, None),
            Wrapped::Around(forwarded) => {
                let own = self.own(outer_to);
                let is_own =
                    |from: Jid<'_>| from.resource.is_none() && own.is_some_and(|own| own.is(from));
                if !outer_from.is_none_or(is_own) {
                    return Err(filtered("a message forwarded by somebody else").into());
                }
                let inner = forwarded.and_then(|forwarded| {
                    let message =
                        forwarded.children().find(|node| node.tag_name().name() == "message")?;
                    Some((message, child(forwarded, "urn:xmpp:delay", "delay")))
                });
                match inner {
                    Some((message, delay)) if matches!(self::forwarded(message), Wrapped::Not) => {
                        (message, delay)
                    }
                    _ => return Err(filtered("no message in it").into()),
                }
            }
        };
        let (from, to) = (jid(message, "from"), jid(message, "to"));
        let is_groupchat = message.attribute("type") == Some("groupchat");
        let participant = &self.subscription.participant_id;
        let own = match past {
            Some(_) => self.stream.own_at_home(participant),
            None => self.stream.own(participant, outer_to.or(to)),
        };
        let scene = Scene::new(&self.stream.rooms, own, from, to, is_groupchat);
        let id = stanza_id(message).and_then(|id| scene.id_of(id));
        let conversation = scene.conversation().unwrap_or_default();
        let is_repeat = id.as_deref().is_some_and(|id| match past {
            Some(_) => self.memory.is_known(conversation, id),
            None => self.memory.is_repeat(conversation, id, input.data),
        });
        let delay = child(message, "urn:xmpp:delay", "delay").or(delay);
        let is_told = match pick(message, "body") {
            // The archive knows nothing of rooms, nor of messages that came back.
            _ if is_groupchat => {
                self.archive.on_room();
                false
            }
            Some(body)
                if message.attribute("type") != Some("error") && !(is_repeat && past.is_none()) =>
            {
                self.archive.is_told(&scene, &body, delay.and_then(stamp), past)
            }
            Some(_) | None => false,
        };
        if is_repeat || is_told {
            let why = if is_repeat { "the same stanza again" } else { "it was told before" };
            return Err(Reject::Discard(Discard::Duplicate, why).into());
        }
        let view = Message { node: message, scene, delay, desk: self };
        let (payload, text) = view.map()?;
        let mut event = view.scene.event(input.event, payload);
        event.text = text;
        if let Some(id) = &id {
            event.id = EventId::given(id.as_str());
        }
        event.created_at = delay.and_then(stamp).or(past);
        out.emit(event);
        Ok(())
    }

    fn on_presence(
        &mut self,
        input: Input<'_>,
        root: Node<'_, '_>,
        out: &mut Outbox<'_>,
    ) -> Result<(), Reject> {
        let is_available = match root.attribute("type") {
            None | Some("") => true,
            Some("unavailable") => false,
            Some(_) => return Err(filtered("a presence that tells of no state")),
        };
        let (from, to) = (jid(root, "from"), jid(root, "to"));
        let id = self.presence_id(input, root, from, to)?;
        let occupancy = occupancy(root, from, is_available);
        if occupancy.is_some() {
            self.archive.on_room();
        }
        let change = occupancy.map(|seen| self.stream.rooms.on_presence(seen));
        let mut scene = Scene::new(&self.stream.rooms, self.own(to), from, to, false);
        if let Some((_, is_own)) = change {
            scene = scene.of_occupant(is_own);
        }
        let mut event = match change {
            Some((change @ (Change::Joined(_) | Change::Left), _)) => {
                let mut event = scene.event(
                    input.event,
                    Payload::Participant(Box::new(participant(&scene, from, change))),
                );
                event.sender = None;
                event
            }
            Some((Change::Same, _)) | None => {
                let show = pick(root, "show").map_or(Show::Online, |show| show_of(show.trim()));
                let show = if is_available { show } else { Show::Offline };
                let mut event =
                    scene.event(input.event, Payload::Presence(Presence { is_available, show }));
                event.text = pick(root, "status");
                event
            }
        };
        event.created_at = child(root, "urn:xmpp:delay", "delay").and_then(stamp);
        if let Some(id) = &id {
            event.id = EventId::given(id.as_str());
        }
        out.emit(event);
        Ok(())
    }

    /// The id of a presence, once it is known to be no repeat.
    fn presence_id(
        &mut self,
        input: Input<'_>,
        root: Node<'_, '_>,
        from: Option<Jid<'_>>,
        to: Option<Jid<'_>>,
    ) -> Result<Option<String>, Reject> {
        let Some(stanza_id) = stanza_id(root) else {
            return Ok(None);
        };
        let own = self.stream.own(&self.subscription.participant_id, to);
        let mut scene = Scene::new(&self.stream.rooms, own, from, to, false);
        if child(root, MUC_USER, "x").is_some() {
            scene = scene.of_occupant(false);
        }
        let Some(id) = scene.id_of(stanza_id) else {
            return Ok(None);
        };
        if self.memory.is_repeat(scene.conversation().unwrap_or_default(), &id, input.data) {
            return Err(Reject::Discard(Discard::Duplicate, "the same stanza again"));
        }
        Ok(Some(id))
    }
}

fn participant<'x>(scene: &Scene<'x>, from: Option<Jid<'x>>, change: Change) -> Participant<'x> {
    Participant {
        is_joined: change != Change::Left,
        party: Party {
            id: from.map(|from| from.full.into()),
            name: scene.name().map(Text::from),
            first_name: None,
            last_name: None,
            role: scene.role(),
        },
        party_word: None,
        initial: (change == Change::Joined(true)).then_some(true),
    }
}

/// A room's presence: it names an occupant and says so.
fn occupancy<'x>(
    root: Node<'x, '_>,
    from: Option<Jid<'x>>,
    is_available: bool,
) -> Option<Occupancy<'x>> {
    let x = child(root, MUC_USER, "x")?;
    let from = from?;
    let has_status = |code| {
        x.children().any(|node| {
            node.has_tag_name((MUC_USER, "status")) && node.attribute("code") == Some(code)
        })
    };
    let item = child(x, MUC_USER, "item");
    Some(Occupancy {
        room: from.bare,
        nick: from.resource?,
        is_available,
        is_own: has_status("110"),
        next_nick: item.and_then(|item| item.attribute("nick")).filter(|_| has_status("303")),
    })
}

/// Why a message gives no event.
enum Trouble {
    /// It carries JSON that is nested too deep to be passed on.
    TooDeep,
    /// Said already.
    Reject(Reject),
}

impl From<Reject> for Trouble {
    fn from(reject: Reject) -> Self {
        Self::Reject(reject)
    }
}

/// A message stanza seen from the participant.
struct Message<'x> {
    node: Node<'x, 'x>,
    scene: Scene<'x>,
    delay: Option<Node<'x, 'x>>,
    desk: &'x Desk,
}

impl<'x> Message<'x> {
    /// The first hit alone counts.
    fn map(&self) -> Result<(Payload<'x>, Option<Text<'x>>), Trouble> {
        let kind = self.node.attribute("type").unwrap_or("normal");
        if kind == "error" {
            return Ok(self.error());
        }
        if self.is_invitation() {
            return Err(filtered("an invitation: the derived frame has more").into());
        }
        let body = pick(self.node, "body");
        if let Some(file) = self.file(body.as_deref()) {
            return Ok(file);
        }
        let subject = pick(self.node, "subject");
        if let Some(body) = body {
            let payload = if kind == "headline" { info(None) } else { self.chat(subject)? };
            return Ok((payload, Some(body)));
        }
        if let Some(receipt) = self.receipt()? {
            return Ok((receipt, None));
        }
        if let Some(data) = self.data()? {
            return Ok((Payload::Data(data), None));
        }
        let mut states =
            self.node.children().filter(|node| node.tag_name().namespace() == Some(CHAT_STATES));
        if let Some(typing) = states.find_map(|node| chat_state(node.tag_name().name())) {
            return Ok((Payload::Typing(typing), None));
        }
        if let Some(subject) = subject {
            return Ok((info(Some("subject")), Some(subject)));
        }
        Err(filtered("nothing that clients are told").into())
    }

    fn error(&self) -> (Payload<'x>, Option<Text<'x>>) {
        let error = self
            .node
            .children()
            .find(|node| node.tag_name().name() == "error" && is_own(*node, self.node));
        let parts = || error.into_iter().flat_map(|error| error.children());
        let mut parts = parts().filter(|node| node.tag_name().namespace() == Some(STANZA_ERRORS));
        let code = parts.clone().find(|node| node.tag_name().name() != "text");
        let text = parts.find(|node| node.tag_name().name() == "text").and_then(text_of);
        let code = code.map(|node| Text::from(node.tag_name().name()));
        (Payload::Notice(Notice { level: NoticeLevel::Error, code }), text)
    }

    fn is_invitation(&self) -> bool {
        child(self.node, "jabber:x:conference", "x").is_some()
            || child(self.node, MUC_USER, "x")
                .is_some_and(|x| child(x, MUC_USER, "invite").is_some())
    }

    /// An out-of-band URL that is all that is said.
    fn file(&self, body: Option<&str>) -> Option<(Payload<'x>, Option<Text<'x>>)> {
        const OOB: &str = "jabber:x:oob";
        let x = child(self.node, OOB, "x")?;
        let url = text_of(child(x, OOB, "url")?).map(trimmed).filter(|url| is_openable(url))?;
        if body.is_some_and(|body| body.trim() != url) {
            return None;
        }
        let is_image = is_image(&url);
        let file = FileItem { id: None, name: None, is_image, media_type: None, url: Some(url) };
        Some((Payload::File(vec![file]), child(x, OOB, "desc").and_then(text_of)))
    }

    fn chat(&self, subject: Option<Text<'x>>) -> Result<Payload<'x>, Trouble> {
        let replaced =
            child(self.node, "urn:xmpp:message-correct:0", "replace").and_then(stanza_id);
        Ok(Payload::Chat(Box::new(Chat {
            subject,
            replaces: replaced.and_then(|id| self.scene.id_of(id)).map(Text::from),
            room: self.scene.room().map(Text::from),
            delayed: self.delay.map(|_| true),
            payload: self.data()?,
            ..Chat::default()
        })))
    }

    fn receipt(&self) -> Result<Option<Payload<'x>>, Reject> {
        let delivered = child(self.node, "urn:xmpp:receipts", "received").map(|node| (node, false));
        let read =
            || child(self.node, "urn:xmpp:chat-markers:0", "displayed").map(|node| (node, true));
        let Some((node, is_read)) = delivered.or_else(read) else {
            return Ok(None);
        };
        let message_id = stanza_id(node)
            .and_then(|id| self.scene.id_of_acknowledged(&self.desk.stream.rooms, id))
            .ok_or_else(|| filtered("a receipt that names no message"))?;
        Ok(Some(Payload::Receipt(Receipt { is_read, message_id: message_id.into(), at: None })))
    }

    /// The JSON beside the body: Smack's `data` property, or a JSON container.
    fn data(&self) -> Result<Option<Json<'x>>, Trouble> {
        let property = child(self.node, PROPERTIES, "properties").and_then(|properties| {
            let property = properties.children().find(|node| {
                node.has_tag_name((PROPERTIES, "property"))
                    && child(*node, PROPERTIES, "name")
                        .and_then(text_of)
                        .is_some_and(|name| name.trim() == "data")
            })?;
            text_of(child(property, PROPERTIES, "value")?)
        });
        let container = || child(self.node, "urn:xmpp:json:0", "json").and_then(text_of);
        match property.or_else(container).filter(|text| !is_nothing(text)) {
            Some(text) => json_or_text(text).map(Some).ok_or(Trouble::TooDeep),
            None => Ok(None),
        }
    }
}

const fn filtered(why: &'static str) -> Reject {
    Reject::Discard(Discard::Filtered, why)
}

const fn info(code: Option<&'static str>) -> Payload<'static> {
    let code = match code {
        Some(code) => Some(Cow::Borrowed(code)),
        None => None,
    };
    Payload::Notice(Notice { level: NoticeLevel::Info, code })
}

/// Whether a message wraps another.
enum Wrapped<'x> {
    /// It speaks for itself.
    Not,
    /// It is a carbon copy or forwards; holds the wrapper, if there is one.
    Around(Option<Node<'x, 'x>>),
}

fn forwarded<'x>(message: Node<'x, 'x>) -> Wrapped<'x> {
    const FORWARD: &str = "urn:xmpp:forward:0";
    for node in message.children().filter(Node::is_element) {
        let namespace = node.tag_name().namespace().unwrap_or_default();
        let name = node.tag_name().name();
        if namespace == FORWARD && name == "forwarded" {
            return Wrapped::Around(Some(node));
        }
        let is_carbon =
            namespace.starts_with("urn:xmpp:carbons:") && matches!(name, "sent" | "received");
        if is_carbon || (namespace.starts_with("urn:xmpp:mam:") && name == "result") {
            return Wrapped::Around(child(node, FORWARD, "forwarded"));
        }
    }
    Wrapped::Not
}

/// Whether an element belongs to its stanza itself: the plugin writes the stanza's namespace or
/// leaves it out.
fn is_own(node: Node<'_, '_>, stanza: Node<'_, '_>) -> bool {
    match node.tag_name().namespace() {
        None | Some("" | CLIENT) => true,
        namespace => namespace == stanza.tag_name().namespace(),
    }
}

fn child<'x>(node: Node<'x, 'x>, namespace: &str, name: &str) -> Option<Node<'x, 'x>> {
    node.children().find(|node| node.has_tag_name((namespace, name)))
}

/// The text of the stanza's own element of that name that is not empty: the one without a
/// language, else the first.
fn pick<'x>(stanza: Node<'x, 'x>, name: &str) -> Option<Text<'x>> {
    let mut first = None;
    for node in
        stanza.children().filter(|node| node.tag_name().name() == name && is_own(*node, stanza))
    {
        let Some(text) = text_of(node) else { continue };
        if node.attribute((XML, "lang")).is_none() {
            return Some(text);
        }
        first.get_or_insert(text);
    }
    first
}

/// An element's text, comments left out; `None` if it is empty.
fn text_of<'x>(node: Node<'x, 'x>) -> Option<Text<'x>> {
    let mut whole: Option<Text<'x>> = None;
    for part in node.children().filter(Node::is_text).filter_map(|node| node.text()) {
        match &mut whole {
            None => whole = Some(Cow::Borrowed(part)),
            Some(whole) => whole.to_mut().push_str(part),
        }
    }
    whole.filter(|text| !text.is_empty())
}

fn trimmed(text: Text<'_>) -> Text<'_> {
    match text {
        Cow::Borrowed(text) => Cow::Borrowed(text.trim()),
        Cow::Owned(text) => Cow::Owned(text.trim().to_owned()),
    }
}

fn jid<'x>(node: Node<'x, '_>, name: &str) -> Option<Jid<'x>> {
    node.attribute(name).and_then(Jid::new)
}

fn stanza_id<'x>(node: Node<'x, '_>) -> Option<&'x str> {
    node.attribute("id").filter(|id| !id.is_empty())
}

fn stamp(delay: Node<'_, '_>) -> Option<UnixMillis> {
    delay.attribute("stamp").and_then(UnixMillis::parse_rfc3339)
}

fn is_image(url: &str) -> bool {
    const EXTENSIONS: &[&str] =
        &["apng", "avif", "bmp", "gif", "heic", "jpeg", "jpg", "png", "svg", "webp"];
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let name = path.rsplit('/').next().unwrap_or_default();
    let Some((_, extension)) = name.rsplit_once('.') else {
        return false;
    };
    EXTENSIONS.iter().any(|known| extension.eq_ignore_ascii_case(known))
}

fn decode(encoded: &str) -> Result<String, Reject> {
    let mut packed = encoded.as_bytes().to_vec();
    packed.retain(|byte| !byte.is_ascii_whitespace());
    if packed.len() / 4 * 3 > STANZA_BYTES_MAX {
        return Err(Reject::Discard(Discard::Oversize, "a stanza over the limit"));
    }
    let bytes = BASE64.decode(packed).map_err(|_| Reject::malformed("not base64"))?;
    // The plugin encodes in its JVM's own charset, which may have lost letters.
    Ok(match String::from_utf8(bytes) {
        Ok(xml) => xml,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    })
}

/// Holds the text against the bounds, without building anything.
fn check(xml: &str) -> Result<(), &'static str> {
    let bytes = xml.as_bytes();
    if memchr_iter(b'<', bytes).count() > TAGS_MAX {
        return Err("too many tags");
    }
    let (mut at, mut depth, mut prefixes) = (0, 0_usize, 0);
    while let Some(found) = memchr(b'<', bytes.get(at..).unwrap_or_default()) {
        at += found;
        let rest = bytes.get(at..).unwrap_or_default();
        let end = |mark: &str| memmem::find(rest, mark.as_bytes()).map(|end| end + mark.len());
        at += match rest {
            [b'<', b'!', b'-', b'-', ..] => end("-->"),
            [b'<', b'!', b'[', ..] => end("]]>"),
            [b'<', b'!', ..] => return Err("a DTD"),
            [b'<', b'?', ..] => end("?>"),
            [b'<', b'/', ..] => {
                depth = depth.saturating_sub(1);
                end(">")
            }
            _ => {
                let tag = Tag::read(rest)?;
                prefixes += tag.prefixes;
                depth += usize::from(!tag.is_empty);
                if depth > DEPTH_MAX {
                    return Err("nested too deep");
                }
                if prefixes > PREFIXES_MAX {
                    return Err("too many namespaces");
                }
                Some(tag.len)
            }
        }
        .ok_or("the stanza is not well-formed XML")?;
    }
    Ok(())
}

/// A start tag, measured.
struct Tag {
    len: usize,
    is_empty: bool,
    prefixes: usize,
}

impl Tag {
    /// Reads from `<`.
    fn read(bytes: &[u8]) -> Result<Self, &'static str> {
        const BROKEN: &str = "the stanza is not well-formed XML";
        let find = |from: usize, is: fn(u8) -> bool| {
            bytes
                .get(from..)
                .unwrap_or_default()
                .iter()
                .position(|byte| is(*byte))
                .map(|n| from + n)
                .ok_or(BROKEN)
        };
        let is_not_space = |byte: u8| !byte.is_ascii_whitespace();
        let ends_name = |byte: u8| byte.is_ascii_whitespace() || matches!(byte, b'=' | b'/' | b'>');
        let mut at = find(1, ends_name)?;
        let (mut attributes, mut prefixes) = (0, 0);
        loop {
            let name_at = find(at, is_not_space)?;
            match bytes.get(name_at..).unwrap_or_default() {
                [b'>', ..] => {
                    return Ok(Self { len: name_at + 1, is_empty: false, prefixes });
                }
                [b'/', b'>', ..] => {
                    return Ok(Self { len: name_at + 2, is_empty: true, prefixes });
                }
                _ => {}
            }
            let name_end = find(name_at, ends_name)?;
            let equals = find(name_end, is_not_space)?;
            let quote_at = find(equals + 1, is_not_space)?;
            let Some(quote @ (b'"' | b'\'')) = bytes.get(quote_at).copied() else {
                return Err(BROKEN);
            };
            if bytes.get(equals) != Some(&b'=') || name_end == name_at {
                return Err(BROKEN);
            }
            let value = bytes.get(quote_at + 1..).unwrap_or_default();
            let len = memchr(quote, value).ok_or(BROKEN)?;
            at = quote_at + 1 + len + 1;
            attributes += 1;
            if attributes > ATTRIBUTES_MAX {
                return Err("too many attributes");
            }
            let name = bytes.get(name_at..name_end).unwrap_or_default();
            prefixes += usize::from(name.starts_with(b"xmlns:"));
        }
    }
}
