//! The steps of a script as stanzas and the frames SparkWeb derives from them.

use crate::scripted::{
    conversation::{Conversation, Step, answer_to},
    openfire::{
        Openfire,
        payload::Part::{Raw, Text},
    },
    stage::Stage,
};

/// XML namespace of chat states.
const STATES: &str = "http://jabber.org/protocol/chatstates";
/// XML namespace of Fastpath.
const WORKGROUP: &str = "http://jabber.org/protocol/workgroup";

/// Who is who in stanzas of one user.
struct Jids {
    user: String,
    to: String,
    own: String,
    bot: String,
    agent: String,
    /// Whoever of the two the participant talks to.
    peer: String,
    queue: String,
    room: String,
    domain: String,
    /// The id the next stanza gets.
    id: String,
    /// The id of the participant's own last message.
    last_own_id: String,
}

impl Openfire {
    pub(super) fn say(
        &mut self,
        user: &str,
        who: &Conversation,
        step: &Step,
        stage: &mut Stage,
    ) -> bool {
        if let Some(session) = self.sessions.get_mut(user) {
            session.handed_over = match step {
                Step::HandoffToAgent { .. } => true,
                Step::Queued { .. } | Step::AgentLeaves | Step::Ended => false,
                _ => session.handed_over,
            };
        }
        let jids = self.jids(user, who, stage);
        match step {
            Step::BotJoins | Step::BotThinks(_) | Step::AgentLeaves | Step::Ended => return false,
            Step::Queued { wait, position } => {
                let secs = wait.as_secs().to_string();
                self.queued(&jids, &secs, &position.to_string(), stage);
            }
            Step::Connecting => self.depart(&jids, stage),
            Step::HandoffToAgent { reason } => self.offer(&jids, reason, stage),
            Step::BotSays(text) | Step::BotStreams(text) => {
                self.message(&jids, &jids.bot, text, "", stage);
            }
            Step::AgentSays(text) => self.message(&jids, &jids.agent, text, "", stage),
            Step::AgentSendsFile { name, .. } => {
                let url = format!("https://{}/files/{}/{}", jids.domain, jids.id, encode(name));
                let oob = format!("<x xmlns=\"jabber:x:oob\"><url>{}</url></x>", xml(&url));
                self.message(&jids, &jids.agent, &url, &oob, stage);
            }
            Step::AgentTyping => self.state(&jids, "composing", stage),
            Step::AgentStopsTyping => self.state(&jids, "paused", stage),
            Step::ParticipantSays(text) => {
                self.carbon(&jids, text, stage);
                return stage.options.stanzas;
            }
            Step::ParticipantMessageDelivered => {
                self.receipt(&jids, "received", "urn:xmpp:receipts", stage);
                return stage.options.stanzas;
            }
            Step::ParticipantMessageRead => {
                self.receipt(&jids, "displayed", "urn:xmpp:chat-markers:0", stage);
                return stage.options.stanzas;
            }
        }
        true
    }

    fn jids(&self, user: &str, who: &Conversation, stage: &mut Stage) -> Jids {
        let domain = stage.options.domain.clone();
        let session = self.sessions.get(user);
        let own = format!("{user}@{domain}");
        let resource = session.map_or("none", |session| &session.resource);
        let (bot, agent) =
            (format!("{}@{domain}/svc", who.bot.id), format!("{}@{domain}/desk", who.agent.id));
        let handed_over = session.is_some_and(|session| session.handed_over);
        Jids {
            user: user.to_owned(),
            to: format!("{own}/{resource}"),
            peer: if handed_over { agent.clone() } else { bot.clone() },
            bot,
            agent,
            queue: format!("support@workgroup.{domain}"),
            room: format!("{}@conference.{domain}", user.to_lowercase()),
            id: format!("s{:012x}", stage.ids.next() & 0xffff_ffff_ffff),
            last_own_id: session.map(|session| session.last_own_id.clone()).unwrap_or_default(),
            own,
            domain,
        }
    }

    fn message(&mut self, jids: &Jids, from: &str, text: &str, more: &str, stage: &mut Stage) {
        self.archive(&jids.user, from, &jids.own, text);
        let inside = format!("<active xmlns=\"{STATES}\"/><body>{}</body>{more}", xml(text));
        let stanza = stanza(from, &jids.to, "chat", &jids.id, &inside);
        let to = jids.to.as_str();
        let state =
            vec![Text("type", "chat"), Text("to", to), Text("from", from), Text("state", "active")];
        let mut body = vec![Text("type", "chat"), Text("to", to), Text("from", from)];
        body.extend([Raw("data", "null"), Text("body", text)]);
        self.emit(&jids.user, &stanza, &[("chatapi.chat", state), ("chatapi.chat", body)], stage);
    }

    fn state(&self, jids: &Jids, state: &str, stage: &mut Stage) {
        let (from, to) = (jids.agent.as_str(), jids.to.as_str());
        let stanza = stanza(from, to, "chat", &jids.id, &format!("<{state} xmlns=\"{STATES}\"/>"));
        let parts =
            vec![Text("type", "chat"), Text("to", to), Text("from", from), Text("state", state)];
        self.emit(&jids.user, &stanza, &[("chatapi.chat", parts)], stage);
    }

    /// What the participant said on another device: only the stanza tells.
    fn carbon(&mut self, jids: &Jids, text: &str, stage: &mut Stage) {
        self.archive(&jids.user, &jids.own, &jids.peer, text);
        if let Some(session) = self.sessions.get_mut(&jids.user) {
            session.last_own_id.clone_from(&jids.id);
        }
        let sent = stanza(
            &format!("{}/phone", jids.own),
            &jids.peer,
            "chat",
            &jids.id,
            &format!("<body>{}</body>", xml(text)),
        );
        let inside = format!(
            "<sent xmlns=\"urn:xmpp:carbons:2\"><forwarded xmlns=\"urn:xmpp:forward:0\">{sent}\
             </forwarded></sent>"
        );
        let outer = stanza(&jids.own, &jids.to, "chat", &format!("c{}", jids.id), &inside);
        self.emit(&jids.user, &outer, &[], stage);
    }

    /// A message that was sent over REST, as the participant's other devices are told of it.
    pub(super) fn own_copy(&mut self, user: &str, peer: &str, text: &str, stage: &mut Stage) {
        let who = Conversation::new(Vec::new());
        let jids = Jids { peer: peer.to_owned(), ..self.jids(user, &who, stage) };
        self.carbon(&jids, text, stage);
        if stage.options.answers {
            let last_own_id = jids.id.clone();
            let jids = Jids { peer: jids.peer, last_own_id, ..self.jids(user, &who, stage) };
            self.receipt(&jids, "displayed", "urn:xmpp:chat-markers:0", stage);
            self.message(&jids, &format!("{peer}/desk"), &answer_to(text), "", stage);
        }
    }

    fn receipt(&self, jids: &Jids, name: &str, namespace: &str, stage: &mut Stage) {
        let inside = format!("<{name} xmlns=\"{namespace}\" id=\"{}\"/>", jids.last_own_id);
        let stanza = stanza(&jids.peer, &jids.to, "chat", &jids.id, &inside);
        self.emit(&jids.user, &stanza, &[], stage);
    }

    fn queued(&self, jids: &Jids, secs: &str, position: &str, stage: &mut Stage) {
        let (from, to) = (jids.queue.as_str(), jids.own.as_str());
        let inside = format!(
            "<queue-status xmlns=\"{WORKGROUP}\"><position>{position}</position>\
             <time>{secs}</time></queue-status>"
        );
        let stanza = stanza(from, to, "normal", &jids.id, &inside);
        let mut parts = vec![Text("type", "update-queue"), Text("to", to), Text("from", from)];
        parts.extend([Text("remaingTime", secs), Text("position", position)]);
        self.emit(&jids.user, &stanza, &[("chatapi.ask", parts)], stage);
    }

    fn depart(&self, jids: &Jids, stage: &mut Stage) {
        let (from, to) = (jids.queue.as_str(), jids.own.as_str());
        let inside = format!("<depart-queue xmlns=\"{WORKGROUP}\"/>");
        let stanza = stanza(from, to, "normal", &jids.id, &inside);
        let parts = vec![Text("type", "depart-queue"), Text("to", to), Text("from", from)];
        self.emit(&jids.user, &stanza, &[("chatapi.ask", parts)], stage);
    }

    fn offer(&self, jids: &Jids, reason: &str, stage: &mut Stage) {
        let (from, to) = (jids.room.as_str(), jids.own.as_str());
        let inside = format!(
            "<x xmlns=\"http://jabber.org/protocol/muc#user\"><invite from=\"{}\"><reason>{}\
             </reason></invite></x><offer xmlns=\"{WORKGROUP}\" jid=\"{to}\"/>",
            jids.queue,
            xml(reason)
        );
        let stanza = stanza(from, &jids.to, "normal", &jids.id, &inside);
        let url = format!("https://{}:7443/meet/{}", jids.domain, jids.user);
        let mut parts = vec![Text("type", "offer"), Text("to", to), Text("from", from)];
        parts.extend([Text("url", &url), Text("mucRoom", from)]);
        self.emit(&jids.user, &stanza, &[("chatapi.ask", parts)], stage);
    }
}

fn stanza(from: &str, to: &str, kind: &str, id: &str, inside: &str) -> String {
    format!(
        "<message xmlns=\"jabber:client\" from=\"{}\" to=\"{}\" type=\"{kind}\" id=\"{id}\">\
         {inside}</message>",
        xml(from),
        xml(to)
    )
}

/// Text or an attribute's value, escaped.
fn xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// A path segment of a URL.
fn encode(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    let write = |byte: u8| match plain(&byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(write).collect()
}
