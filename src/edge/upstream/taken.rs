//! What a call has taken from a stream: an answer may hold what a poll waits for.
//!
//! Reading consumes, so what such an answer holds no poll tells any more. It enters the stream
//! whose own poll would have been answered with it: same source, same path, same credential, of
//! the same tenant and participant. Whoever else polls the same conversation asks the history for
//! it, with a credential of its own. Not here: the call (`edge::passthrough`).

use std::sync::Arc;

use super::UpstreamCell;
use crate::config::Source;
use crate::edge::clock;
use crate::edge::passthrough::path;
use crate::proto::backend::{Dress, Input, Message, Transport};
use crate::proto::event::Subscription;
use crate::proto::time::UnixMillis;

/// A call whose answer may hold what a poll waits for. No `Debug`: it holds credentials.
pub(crate) struct Taking {
    /// Where it went.
    pub(crate) source: Arc<Source>,
    /// Whose it is.
    pub(crate) subscription: Arc<Subscription>,
    /// The path of the poll that would have told it, decoded.
    pub(crate) path: String,
    /// What it carried: the credential is in it.
    pub(crate) dress: Arc<Dress>,
    /// When it was made.
    pub(crate) at: UnixMillis,
}

/// What its answer was.
#[derive(Clone, Copy)]
pub(crate) enum Taken<'a> {
    /// Events.
    Events(&'a str),
    /// More of them than an answer of events may hold.
    TooMany,
    /// Nobody knows: it did not arrive whole.
    Unknown,
}

/// What a stream polls, and as whom. No `Debug`: it holds credentials.
pub(super) struct Polled {
    /// `None`: it has no form that a call could have.
    path: Option<String>,
    query: String,
    headers: Vec<(&'static str, String)>,
    /// The backend has answered it as it should, so whoever asks may know what it tells.
    is_granted: bool,
}

/// Whose conversation a call was about, as a stream sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whose {
    /// Another one.
    Other,
    /// The same, called by the stream's own person.
    Own,
    /// The same and so is the person, but the backend has not let this stream in yet.
    Unproven,
    /// The same, called by somebody else.
    Others,
}

impl Polled {
    /// What is asked from now on. What was granted before is granted still if it is the same.
    pub(super) fn next(known: Option<&Self>, message: &Message) -> Self {
        let (raw, query) = message.target.split_once('?').unwrap_or((&message.target, ""));
        let mut polled = Self {
            path: path::decoded(raw),
            query: query.to_owned(),
            headers: message.headers.clone(),
            is_granted: false,
        };
        polled.is_granted = known.is_some_and(|known| {
            known.is_granted
                && (&known.path, &known.query, &known.headers)
                    == (&polled.path, &polled.query, &polled.headers)
        });
        polled
    }

    /// The backend has answered it as it should.
    pub(super) const fn on_granted(&mut self) {
        self.is_granted = true;
    }

    /// Whose this call is to a stream that feeds logs of these.
    pub(super) fn whose<'a>(
        &self,
        taking: &Taking,
        mut fed: impl Iterator<Item = &'a Subscription>,
    ) -> Whose {
        if self.path.as_ref() != Some(&taking.path) {
            return Whose::Other;
        }
        let of = |person: &Subscription| {
            let caller = &taking.subscription;
            (&person.tenant_id, &person.participant_id)
                == (&caller.tenant_id, &caller.participant_id)
        };
        match (self.is_dressed_as(&taking.dress) && fed.any(of), self.is_granted) {
            (true, true) => Whose::Own,
            (true, false) => Whose::Unproven,
            (false, _) => Whose::Others,
        }
    }

    /// Whether all that a call carried for the backend, its credential too, goes with this poll.
    fn is_dressed_as(&self, dress: &Dress) -> bool {
        let has_pair = |pair: &str| self.query.split('&').any(|own| own == pair);
        dress.query.split('&').all(|pair| pair.is_empty() || has_pair(pair))
            && dress.headers.iter().all(|header| self.headers.contains(header))
    }
}

impl UpstreamCell {
    /// A call was answered with what may be this stream's: told as if a poll had been, if the
    /// call was its own person's, else asked for from the history.
    pub(in crate::edge) fn on_taken(&self, taking: &Taking, taken: Taken<'_>) {
        let Transport::Poll { frames } = self.source.dialect.transport else {
            return;
        };
        let there = &taking.source;
        if (&there.name, &there.url) != (&self.source.name, &self.source.url) {
            return;
        }
        match (self.whose(taking), taken) {
            (Whose::Other, _) | (Whose::Others, Taken::Unknown) => {}
            (Whose::Others, Taken::Events(_) | Taken::TooMany)
            | (Whose::Unproven, _)
            | (Whose::Own, Taken::Unknown) => self.note_loss_since(taking.at),
            (Whose::Own, Taken::Events(body)) => {
                let arrived = clock::moment();
                for (event, data) in &frames(body) {
                    self.on_frame(Input { event, data }, "", arrived);
                }
                self.wake();
            }
            (Whose::Own, Taken::TooMany) => {
                self.on_oversize("other");
                self.on_overflow();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::proto::backend::Method;

    fn source() -> Arc<Source> {
        let conf = "listen: [{address: \"127.0.0.1:0\"}]\nauth: {anonymous: true}\n\
                    sources: {s: {backend: brightpattern, url: \"http://b.example/api\", \
                    app_id: a, tenant_url: t, chat: c}}\nroutes: [{path: /e, sources: [s]}]\n";
        let loaded = crate::config::parse(conf, "c", Path::new("."), &|_| None);
        let config = loaded.unwrap_or_else(|errors| panic!("{errors}")).config;
        config.routes[0].sources[0].clone()
    }

    fn message(target: &str, authorization: &str) -> Message {
        Message {
            method: Method::Get,
            target: target.to_owned(),
            has_query: true,
            fresh_query: None,
            headers: vec![
                ("Authorization", authorization.to_owned()),
                ("Accept", "application/json".to_owned()),
            ],
            body: None,
        }
    }

    fn taking(path: &str, (tenant, participant): (&str, &str), authorization: &str) -> Taking {
        let headers = vec![("Authorization", authorization.to_owned())];
        Taking {
            source: source(),
            subscription: Subscription::new(tenant, "w", participant),
            path: path.to_owned(),
            dress: Arc::new(Dress { query: "tenantUrl=t".to_owned(), headers }),
            at: UnixMillis(0),
        }
    }

    const POLL: &str = "/api/chats/c%201/events?tenantUrl=t";

    fn polled() -> Polled {
        let mut polled = Polled::next(None, &message(POLL, "jane"));
        polled.on_granted();
        polled
    }

    #[test]
    fn an_answer_is_only_for_whom_a_poll_would_have_told_it() {
        let (polled, path) = (polled(), "/api/chats/c 1/events");
        let jane = ("acme", "jane");
        for (call, want, why) in [
            (taking(path, jane, "jane"), Whose::Own, "her own"),
            (taking("/api/chats/c 2/events", jane, "jane"), Whose::Other, "another chat"),
            (taking(path, jane, "mallory"), Whose::Others, "with another credential"),
            (taking(path, ("acme", "mallory"), "jane"), Whose::Others, "by somebody else"),
            (taking(path, ("globex", "jane"), "jane"), Whose::Others, "of another tenant"),
            (taking(path, ("acme", ""), "jane"), Whose::Others, "by nobody that is named"),
        ] {
            let fed = Subscription::new("acme", "other workflow", "jane");
            assert_eq!(polled.whose(&call, [&*fed].into_iter()), want, "{why}");
        }
        let call = taking(path, jane, "jane");
        assert_eq!(polled.whose(&call, std::iter::empty()), Whose::Others, "nobody listens");
        let fed = Subscription::new("acme", "w", "jane");
        let mut elsewhere = Polled::next(None, &message(&POLL.replace("=t", "=u"), "jane"));
        elsewhere.on_granted();
        assert_eq!(elsewhere.whose(&call, [&*fed].into_iter()), Whose::Others, "another tenant");
    }

    #[test]
    fn what_was_not_granted_yet_is_told_nothing() {
        let call = taking("/api/chats/c 1/events", ("acme", "jane"), "jane");
        let fed = Subscription::new("acme", "w", "jane");
        let whose = |polled: &Polled| polled.whose(&call, [&*fed].into_iter());
        let mut polled = Polled::next(None, &message(POLL, "jane"));
        assert_eq!(whose(&polled), Whose::Unproven);
        polled.on_granted();
        assert_eq!(whose(&polled), Whose::Own);
        assert_eq!(whose(&Polled::next(Some(&polled), &message(POLL, "jane"))), Whose::Own);
        let other = Polled::next(Some(&polled), &message(POLL, "joe"));
        assert_eq!(whose(&Polled::next(Some(&other), &message(POLL, "jane"))), Whose::Unproven);
    }
}
