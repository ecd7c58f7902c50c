//! From a request to a stream, or to the reason why there is none.
//!
//! [`Gate::decide`] takes the steps in their order: path, preflight, address limit, credential,
//! parameters, route, authorization, sources, limits of subject and tenant. It opens nothing,
//! waits for nothing and needs no socket; where a token names a key that may come in a moment, it
//! says so ([`Later`]). Not here: writing the answer (`edge::refusal` says what it is), opening
//! sources, ending streams.

mod address;
mod api_key;
mod claims;
mod credential;
mod forwarded;
mod head;
mod identity;
mod jwt;
mod know;
mod ledger;
mod limits;
mod origin;
mod parameters;
mod pass;
mod query;
mod rate;
mod selftest;
mod settle;
mod ticket;
mod values;
mod warrant;
mod whose;

#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ALLOW, HeaderValue};
use http::{HeaderMap, Method};

use self::address::Trust;
use self::api_key::ApiKeys;
use self::identity::{GrantKind, Identity};
use self::jwt::{Issuers, Verdict};
use self::know::{Known, Unknown};
use self::limits::{Limiter, Usage};
use self::parameters::Parameters;
use self::query::Query;
use self::ticket::Tickets;
use self::values::Values;
use super::clock::Ticks;
use super::cors::{self, Headers};
use super::jwks::{KeySets, KeyWait};
use super::refusal::{Limited, Refusal};
use crate::config::{Config, ProxyRoute, Route, SELFTEST_SUFFIX, Source, TICKET_SUFFIX};
use crate::proto::backend::{FILES, HistoryCalls, Request, SessionValues, describe_files};
use crate::proto::channel::Filter;
use crate::proto::event::{Subscription, TypeSet, Vocabulary};
use crate::proto::secret::Secret;
use crate::proto::selftest::ClientFrom;
use crate::proto::template::percent_encode;
use crate::proto::time::UnixMillis;
use crate::telemetry::Metrics;

pub(super) use address::key as address_key;
pub(crate) use credential::key_in_header;
pub(super) use head::{FIELDS_MAX, TARGET_BYTES_MAX};
pub(crate) use identity::Grant;
pub(crate) use know::TicketShown;
pub(crate) use ledger::{Changes, Ledger, Spend, Taken};
pub(crate) use limits::Permits;
pub(crate) use parameters::Resume;
pub(crate) use pass::{PassDecided, PassDecision, Passed};
pub(super) use query::undo;
pub(super) use rate::{KEYS_MAX, Key, Permit, Table};
pub(crate) use selftest::SelfTest;
pub(crate) use ticket::TICKET_LIFE;
pub(crate) use warrant::{Redeemed, Warrant};
pub(crate) use whose::Whose;

/// What is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    /// The method.
    pub(crate) method: &'a Method,
    /// The path, as it came.
    pub(crate) path: &'a str,
    /// The query, without `?`.
    pub(crate) query: &'a str,
    /// The headers.
    pub(crate) headers: &'a HeaderMap,
    /// The authority, which HTTP/2 has in place of the header `Host`.
    pub(crate) authority: Option<&'a str>,
    /// Who holds the other end of the connection.
    pub(crate) peer: Option<IpAddr>,
    /// The process takes no more streams: when to come back.
    pub(crate) draining: Option<u64>,
    /// Where it is noted what other nodes are to count, too; `None` = there are none.
    pub(crate) ledger: Option<&'a Ledger>,
}

/// What a request has behind it that was not decided at once.
#[derive(Default)]
pub(crate) struct Past {
    /// What it was given before it had to wait.
    pub(crate) counted: Option<Permits>,
    /// It has waited for a key: with what is there now it is decided.
    pub(crate) has_waited: bool,
    /// What its ticket stands for on another node, if it was looked for there.
    pub(crate) ticket: Option<Option<Redeemed>>,
    /// What all nodes together have spent already.
    pub(crate) limited: Option<Limited>,
}

/// What is answered.
pub(crate) struct Decided {
    /// Which answer it is.
    pub(crate) decision: Decision,
    /// Headers to put on it, whichever it is: CORS, and `Allow` for [`Decision::Options`].
    pub(crate) headers: Headers,
    /// The route, for metrics: as far as it is known, one with the path that was asked for.
    pub(crate) route: Option<Arc<Route>>,
}

/// Which answer.
pub(crate) enum Decision {
    /// The stream.
    Stream(Box<Admitted>),
    /// The self-test of what lies before the stream.
    SelfTest(Box<Admitted>, SelfTest),
    /// The head of the stream, and nothing else. Nothing is counted.
    Head(Box<Admitted>),
    /// 204 with the headers: the answer to `OPTIONS`, preflight or not.
    Options,
    /// A ticket is to be made of this.
    Ticket(Box<Warrant>),
    /// A refusal as HTTP.
    Refused(Refusal),
    /// A refusal inside a stream, as `errors=event` asks; for `HEAD` only the head of that.
    RefusedInStream(Refusal),
}

/// To be decided again when something is there, with what was counted so far.
pub(crate) struct Later {
    /// What is waited for.
    pub(crate) wait: Wait,
    /// What is known by then.
    pub(crate) past: Box<Past>,
}

/// What a decision waits for.
pub(crate) enum Wait {
    /// The token names a key that its issuer is just being asked for.
    Key(KeyWait),
    /// Another node may have made the ticket.
    Ticket(TicketShown),
}

/// A stream that may be opened.
pub(crate) struct Admitted {
    /// The route that matched.
    pub(crate) route: Arc<Route>,
    /// Whose stream it is.
    pub(crate) subscription: Arc<Subscription>,
    /// What of it the client wants.
    pub(crate) filter: Filter,
    /// The time between heartbeats, within the route's bounds.
    pub(crate) heartbeat: Duration,
    /// Where the client wants to go on.
    pub(crate) resume: Resume,
    /// The sources, in the order of the route. Never empty.
    pub(crate) sources: Vec<Resolved>,
    /// When the credential ends, and the stream with it. It may be past already: a token is
    /// let in for as long as clocks may differ, its stream ends when the token says.
    pub(crate) expires: Option<UnixMillis>,
    /// Counted until dropped: to be kept as long as the stream.
    pub(crate) permits: Permits,
    /// By what it was opened, for [`Gate::still_opens`].
    pub(crate) grant: Grant,
    /// The key or token subject as logs may show it: a hash that only this process can make.
    pub(crate) subject: Option<String>,
}

/// A source with a client's values.
pub(crate) struct Resolved {
    /// Which.
    pub(crate) source: Arc<Source>,
    /// What it is asked.
    pub(crate) request: Request,
    /// What its session is told.
    pub(crate) values: SessionValues,
    /// How what it missed is asked for.
    pub(crate) history: Option<HistoryCalls>,
}

/// A credential no longer opens the stream that it opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Revoked;

/// The gate of one configuration.
pub(crate) struct Gate {
    config: Arc<Config>,
    /// By path, in the order of the configuration. No list is empty.
    routes: HashMap<String, Vec<Arc<Route>>>,
    api_keys: ApiKeys,
    issuers: Issuers,
    key_sets: Arc<KeySets>,
    tickets: Arc<Tickets>,
    limiter: Limiter,
    metrics: Arc<Metrics>,
    /// By source: which paths serve its files, to whom they do.
    files: HashMap<String, Vec<Arc<ProxyRoute>>>,
}

/// What a path stands for.
struct Target<'a> {
    /// Never empty.
    routes: &'a [Arc<Route>],
    /// What of them.
    kind: TargetKind,
}

/// What a path asks of its routes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum TargetKind {
    /// Their streams.
    Stream,
    /// Tickets for the streams.
    Ticket,
    /// The self-test, which opens no source.
    SelfTest,
}

/// What a request came to before its limits were asked.
struct Aimed<'a> {
    route: &'a Arc<Route>,
    parameters: Parameters,
    subscription: Arc<Subscription>,
    sources: Vec<Resolved>,
}

/// A refusal, and whether its route lets it be told inside a stream.
struct Turned {
    refusal: Refusal,
    allows_event: bool,
}

impl Turned {
    fn decision(self, asked: &Asked<'_>, kind: TargetKind) -> Decision {
        let errors = Query::new(asked.query).readable("errors");
        let is_wanted = errors.is_some_and(|errors| errors == "event");
        if self.allows_event && is_wanted && kind != TargetKind::Ticket {
            Decision::RefusedInStream(self.refusal)
        } else {
            Decision::Refused(self.refusal)
        }
    }
}

impl Target<'_> {
    /// While it is open which route is meant, a refusal is told inside a stream only if every
    /// route of the path allows it: then it tells nothing of tenants.
    fn all_allow_event(&self) -> bool {
        self.routes.iter().all(|route| route.allow_errors_event)
    }
}

impl Gate {
    /// A gate that has counted nothing yet.
    ///
    /// # Errors
    /// An issuer's key that cannot be used.
    pub(crate) fn new(
        config: Arc<Config>,
        metrics: Arc<Metrics>,
        key_sets: Arc<KeySets>,
    ) -> Result<Self, String> {
        Self::with_ticks(config, metrics, key_sets, Ticks::monotonic())
    }

    fn with_ticks(
        config: Arc<Config>,
        metrics: Arc<Metrics>,
        key_sets: Arc<KeySets>,
        ticks: Ticks,
    ) -> Result<Self, String> {
        let tickets = Arc::new(Tickets::new(ticks.clone()));
        Self::with_past(config, metrics, key_sets, tickets, Arc::new(Usage::new(ticks)))
    }

    /// A gate that counts together with those of other nodes, which hear of `changes`.
    ///
    /// # Errors
    /// An issuer's key that cannot be used.
    pub(crate) fn shared(
        config: Arc<Config>,
        metrics: Arc<Metrics>,
        key_sets: Arc<KeySets>,
        changes: &Arc<Changes>,
    ) -> Result<Self, String> {
        let ticks = Ticks::monotonic();
        let tickets = Arc::new(Tickets::new(ticks.clone()));
        let usage = Arc::new(Usage::shared(ticks, changes));
        Self::with_past(config, metrics, key_sets, tickets, usage)
    }

    /// The gate of a new configuration, which goes on where this one is: budgets that are spent
    /// stay spent, streams that are open stay counted, tickets that are out stay good.
    ///
    /// # Errors
    /// An issuer's key that cannot be used.
    pub(crate) fn reloaded(&self, config: Arc<Config>) -> Result<Self, String> {
        let (tickets, usage) = (self.tickets.clone(), self.limiter.usage().clone());
        Self::with_past(config, self.metrics.clone(), self.key_sets.clone(), tickets, usage)
    }

    fn with_past(
        config: Arc<Config>,
        metrics: Arc<Metrics>,
        key_sets: Arc<KeySets>,
        tickets: Arc<Tickets>,
        usage: Arc<Usage>,
    ) -> Result<Self, String> {
        let mut routes: HashMap<String, Vec<Arc<Route>>> = HashMap::new();
        for route in &config.routes {
            routes.entry(route.path.clone()).or_default().push(route.clone());
        }
        Ok(Self {
            files: files(&config),
            routes,
            api_keys: ApiKeys::new(&config.auth.api_keys),
            issuers: Issuers::new(&config.auth.jwt, &key_sets)?,
            key_sets,
            tickets,
            limiter: Limiter::new(&config, usage, metrics.clone()),
            config,
            metrics,
        })
    }

    /// Begins to fetch the keys of issuers that publish them.
    pub(crate) fn start(&self) {
        self.issuers.key_sets().for_each(|set| set.start());
    }

    /// Whether something is served under this path.
    pub(crate) fn is_routed(&self, path: &str) -> bool {
        self.target(path).is_some()
    }

    /// Takes back the tickets of these streams.
    pub(crate) fn revoke_tickets(&self, whose: &Whose) {
        self.tickets.revoke(|grant, subscription| grant.is_of(whose, subscription));
    }

    /// Makes a ticket that is good on this node.
    pub(crate) fn issue(&self, warrant: Warrant) -> Secret {
        Secret::new(self.tickets.issue(warrant))
    }

    /// Decides about a request.
    ///
    /// # Errors
    /// It is to be decided a little later.
    pub(crate) fn decide(
        &self,
        asked: &Asked<'_>,
        past: Past,
        wall: UnixMillis,
    ) -> Result<Decided, Later> {
        let mut headers = cors::answer_headers(&self.config.cors, asked.headers);
        let path = match head::checked_path(asked) {
            Ok(path) => path,
            Err(refusal) => {
                let decision = Decision::Refused(refusal);
                return Ok(Decided { decision, headers, route: None });
            }
        };
        let Some(target) = self.target(&path) else {
            let decision = Decision::Refused(Refusal::NoSuchPath);
            return Ok(Decided { decision, headers, route: None });
        };
        let query = with_defaults(asked.query, target.routes.first().map(Arc::as_ref));
        let asked = &Asked { query: &query, ..*asked };
        let is_ticket = target.kind == TargetKind::Ticket;
        let allow = if is_ticket { cors::TICKET_METHODS } else { cors::METHODS };
        let method = asked.method;
        let is_served = match is_ticket {
            true => method == Method::POST,
            false => method == Method::GET || method == Method::HEAD,
        };
        let decision = if method == Method::OPTIONS {
            match self.count_call_of_address(asked) {
                Ok(()) => {
                    if cors::is_preflight(asked.headers) {
                        headers = cors::preflight_headers(&self.config.cors, asked.headers, allow);
                    }
                    headers.push((ALLOW, HeaderValue::from_static(allow)));
                    Decision::Options
                }
                Err(limited) => Decision::Refused(Refusal::Limited(limited)),
            }
        } else if is_served {
            self.decide_about(asked, &target, past, wall)?
        } else {
            Decision::Refused(Refusal::MethodNotAllowed { allow })
        };
        let route = match &decision {
            Decision::Stream(admitted)
            | Decision::SelfTest(admitted, _)
            | Decision::Head(admitted) => Some(admitted.route.clone()),
            Decision::Options
            | Decision::Ticket(..)
            | Decision::Refused(_)
            | Decision::RefusedInStream(_) => target.routes.first().cloned(),
        };
        Ok(Decided { decision, headers, route })
    }

    /// Whether an open stream's credential still opens it, and until when. To be asked of the
    /// new gate after a reload.
    ///
    /// # Errors
    /// It does not.
    pub(crate) fn still_opens(
        &self,
        grant: &Grant,
        subscription: &Subscription,
        wall: UnixMillis,
    ) -> Result<Option<UnixMillis>, Revoked> {
        let identity = match grant.kind() {
            GrantKind::Token { token, expires, .. } => {
                match self.issuers.verify(token.reveal(), wall) {
                    Verdict::True(verified) => Some(Identity::Token(verified, token.clone())),
                    // The issuer's keys are on their way. Streams are asked about again when they
                    // are there.
                    Verdict::NoKey(set) if set.keys().is_none() => return Ok(Some(*expires)),
                    Verdict::NoKey(_) | Verdict::False => None,
                }
            }
            GrantKind::Anonymous | GrantKind::Key(_) => self.by_grant(grant, wall),
        };
        let identity = identity.filter(|identity| identity.opens(subscription)).ok_or(Revoked)?;
        Ok(identity.expires())
    }

    /// The routes of a path, or those that it asks tickets or the self-test of. A route of
    /// exactly this path comes first.
    fn target(&self, path: &str) -> Option<Target<'_>> {
        const BELOW: [(&str, TargetKind); 2] =
            [(TICKET_SUFFIX, TargetKind::Ticket), (SELFTEST_SUFFIX, TargetKind::SelfTest)];
        if let Some(routes) = self.routes.get(path) {
            return Some(Target { routes, kind: TargetKind::Stream });
        }
        BELOW.iter().find_map(|(suffix, kind)| {
            let of_stream = path.strip_suffix(suffix)?;
            let of_stream = if of_stream.is_empty() { "/" } else { of_stream };
            let routes = self.routes.get(of_stream)?;
            Some(Target { routes, kind: *kind })
        })
    }

    fn decide_about(
        &self,
        asked: &Asked<'_>,
        target: &Target<'_>,
        past: Past,
        wall: UnixMillis,
    ) -> Result<Decision, Later> {
        let Past { counted, has_waited, ticket, limited } = past;
        let allows_event = target.all_allow_event();
        let known_from = |permits| {
            let known = match target.kind {
                TargetKind::Ticket => self.know_by_header(asked, wall),
                TargetKind::Stream | TargetKind::SelfTest => {
                    self.know(asked, ticket.as_ref(), wall)
                }
            };
            (known, permits)
        };
        let later = |wait, permits, ticket| {
            let has_waited = has_waited || matches!(wait, Wait::Key(_));
            let past = Past { counted: Some(permits), has_waited, ticket, limited: None };
            Later { wait, past: Box::new(past) }
        };
        let decided = match self.enter(asked, counted, limited).map(known_from) {
            Ok(((_, Err(Unknown::Later(wait))), permits)) if !has_waited => {
                return Err(later(Wait::Key(wait), permits, ticket));
            }
            Ok(((_, Err(Unknown::Ticket(shown))), permits)) => {
                return Err(later(Wait::Ticket(shown), permits, ticket));
            }
            Ok(((method, Err(Unknown::Later(_) | Unknown::Refused)), _)) => {
                self.metrics.on_auth(method, "refused");
                Err(Turned { refusal: Refusal::Unauthorized, allows_event })
            }
            Ok(((_, Ok(known)), permits)) => {
                self.decide_known(asked, target, known, permits, allows_event)
            }
            Err(refusal) => Err(Turned { refusal, allows_event }),
        };
        Ok(decided.unwrap_or_else(|turned| turned.decision(asked, target.kind)))
    }

    /// Drain and address. What is asked for the second time was counted the first.
    fn enter(
        &self,
        asked: &Asked<'_>,
        counted: Option<Permits>,
        limited: Option<Limited>,
    ) -> Result<Permits, Refusal> {
        if let Some(retry_secs) = asked.draining {
            return Err(Refusal::Draining { retry_secs });
        }
        if let Some(limited) = limited {
            return Err(Refusal::Limited(limited));
        }
        if let Some(permits) = counted {
            return Ok(permits);
        }
        let mut permits = Permits::default();
        if asked.method == Method::GET {
            let entered = self.limiter.enter_address(&self.address_key(asked), asked.ledger);
            permits.push(entered.map_err(Refusal::Limited)?);
        } else {
            self.count_call_of_address(asked).map_err(Refusal::Limited)?;
        }
        Ok(permits)
    }

    /// Everything from the parameters on.
    fn decide_known(
        &self,
        asked: &Asked<'_>,
        target: &Target<'_>,
        known: Known,
        permits: Permits,
        allows_event: bool,
    ) -> Result<Decision, Turned> {
        let method = known.method;
        let aimed = self.aim(asked, target, &known, allows_event);
        let outcome = match &aimed {
            Err(Turned { refusal: Refusal::Forbidden, .. }) => "forbidden",
            Err(Turned { refusal: Refusal::Unauthorized, .. }) => "refused",
            Ok(_) | Err(_) => "accepted",
        };
        self.metrics.on_auth(method, outcome);
        let aimed = aimed?;
        if target.kind == TargetKind::Ticket {
            let Aimed { route, subscription, .. } = aimed;
            let counted = self.count_call(asked, &known.identity, &subscription.tenant_id);
            counted
                .map_err(|limited| Turned { refusal: Refusal::Limited(limited), allows_event })?;
            let bound = ticket::bound(&route.path, &subscription, Query::new(asked.query), None);
            let grant = known.identity.into_grant();
            return Ok(Decision::Ticket(Box::new(Warrant { grant, subscription, bound })));
        }
        let self_test = match target.kind {
            TargetKind::SelfTest => {
                let read = SelfTest::read(Query::new(asked.query), self.client_from(asked));
                Some(read.map_err(|refusal| Turned { refusal, allows_event })?)
            }
            TargetKind::Stream | TargetKind::Ticket => None,
        };
        let admitted = self.admit(asked, aimed, known.identity, permits)?;
        Ok(match self_test {
            _ if asked.method == Method::HEAD => Decision::Head(admitted),
            Some(self_test) => Decision::SelfTest(admitted, self_test),
            None => Decision::Stream(admitted),
        })
    }

    /// Parameters, route, authorization, sources.
    fn aim<'t>(
        &self,
        asked: &Asked<'_>,
        target: &Target<'t>,
        known: &Known,
        allows_event: bool,
    ) -> Result<Aimed<'t>, Turned> {
        let (query, identity) = (Query::new(asked.query), &known.identity);
        let parameters = Parameters::parse(query, asked.headers, identity.tenant())
            .map_err(|refusal| Turned { refusal, allows_event })?;
        let subscription =
            Subscription::new(&parameters.tenant, &parameters.workflow, &parameters.participant);
        let (tenant, workflow) = (&subscription.tenant_id, &subscription.workflow_type);
        let Some(route) = target.routes.iter().find(|route| route.is_match(tenant, workflow))
        else {
            return Err(Turned { refusal: Refusal::NoSuchRoute, allows_event: false });
        };
        let turned = |refusal| Turned { refusal, allows_event: route.allow_errors_event };
        // A ticket for another stream is no ticket for this one.
        let own = (target.kind == TargetKind::SelfTest).then_some(selftest::IDLE);
        let is_bound = |bound| ticket::bound(&route.path, &subscription, query, own) == bound;
        if !known.bound.is_none_or(is_bound) {
            return Err(turned(Refusal::Unauthorized));
        }
        // Taken back since it was made.
        if known.revoked.iter().any(|whose| identity.is_of(whose, &subscription)) {
            return Err(turned(Refusal::Unauthorized));
        }
        if !identity.opens(&subscription) {
            return Err(turned(Refusal::Forbidden));
        }
        let values =
            Values { subscription: &subscription, identity, query, headers: asked.headers };
        let mut sources = resolve(route, &values).map_err(turned)?;
        for resolved in &mut sources {
            let paths = self.files.get(&resolved.source.name).into_iter().flatten();
            let own = paths.filter(|proxy| proxy.is_match(tenant, workflow));
            let places: Vec<_> =
                own.map(|proxy| (proxy.to.as_str(), proxy.path.as_str())).collect();
            if !places.is_empty() {
                let text = describe_files(&resolved.source.url.to_string(), places.into_iter());
                resolved.values.insert(FILES, text);
            }
        }
        Ok(Aimed { route, parameters, subscription, sources })
    }

    /// The limits of subject and tenant.
    fn admit(
        &self,
        asked: &Asked<'_>,
        aimed: Aimed<'_>,
        identity: Identity,
        mut permits: Permits,
    ) -> Result<Box<Admitted>, Turned> {
        let Aimed { route, parameters, subscription, sources } = aimed;
        if asked.method == Method::GET {
            let (limiter, tenant) = (&self.limiter, &subscription.tenant_id);
            let entered = limiter.enter_stream(&identity, tenant, asked.ledger, &mut permits);
            entered.map_err(|limited| Turned {
                refusal: Refusal::Limited(limited),
                allows_event: route.allow_errors_event,
            })?;
        } else {
            let counted = self.count_call(asked, &identity, &subscription.tenant_id);
            counted.map_err(|limited| Turned {
                refusal: Refusal::Limited(limited),
                allows_event: route.allow_errors_event,
            })?;
        }
        Ok(Box::new(Admitted {
            route: route.clone(),
            heartbeat: heartbeat(route, &parameters),
            filter: filter(route, parameters.types, parameters.scope, parameters.vocabulary),
            resume: parameters.resume,
            sources,
            expires: identity.expires(),
            permits,
            subject: self.limiter.usage().tag(&identity),
            grant: identity.into_grant(),
            subscription,
        }))
    }

    /// Counts a call of an address, before anything costly is done for it: what is passed
    /// through, `HEAD` and `OPTIONS`.
    fn count_call_of_address(&self, asked: &Asked<'_>) -> Result<(), Limited> {
        self.limiter.enter_call_of_address(&self.address_key(asked), asked.ledger)
    }

    /// Counts a call of a subject and a tenant.
    fn count_call(
        &self,
        asked: &Asked<'_>,
        identity: &Identity,
        tenant: &str,
    ) -> Result<(), Limited> {
        self.limiter.enter_call(identity, tenant, asked.ledger)
    }

    /// What the limits of addresses go by.
    fn address_key(&self, asked: &Asked<'_>) -> Key {
        address::key(self.trust().client_address(asked.peer, asked.headers))
    }

    /// Where the client's address comes from.
    fn client_from(&self, asked: &Asked<'_>) -> ClientFrom {
        self.trust().client_from(asked.peer, asked.headers)
    }

    fn trust(&self) -> Trust<'_> {
        let config = &self.config;
        Trust { proxies: &config.trusted_proxies, header: config.forwarded_header }
    }
}

/// What of the log a client wants. A log of the backend's own words is for all as it is.
fn filter(
    route: &Route,
    types: TypeSet,
    scope: Option<Box<str>>,
    vocabulary: Option<Vocabulary>,
) -> Filter {
    match route.vocabulary {
        Vocabulary::Raw => Filter { types: TypeSet::ALL, scope: None, vocabulary: Vocabulary::Raw },
        Vocabulary::Full | Vocabulary::Core => {
            Filter { types, scope, vocabulary: vocabulary.unwrap_or(route.vocabulary) }
        }
    }
}

/// A query with the route's own values behind it: of two the first counts, the client's.
fn with_defaults<'a>(query: &'a str, route: Option<&Route>) -> Cow<'a, str> {
    let defaults = route.map_or(&[][..], |route| &route.defaults);
    let mut query = Cow::Borrowed(query);
    for (name, value) in defaults {
        let query = query.to_mut();
        query.push_str(if query.is_empty() { "" } else { "&" });
        query.push_str(name);
        query.push('=');
        percent_encode(query, value);
    }
    query
}

/// The paths behind which each source's files are found.
fn files(config: &Config) -> HashMap<String, Vec<Arc<ProxyRoute>>> {
    let mut files: HashMap<String, Vec<Arc<ProxyRoute>>> = HashMap::new();
    for proxy in config.proxy.iter().filter(|proxy| proxy.takes(&Method::GET)) {
        files.entry(proxy.source.name.clone()).or_default().push(proxy.clone());
    }
    files
}

fn heartbeat(route: &Route, parameters: &Parameters) -> Duration {
    let bounds = route.heartbeat;
    let secs = parameters.heartbeat_secs.unwrap_or(bounds.default_secs);
    Duration::from_secs(secs.max(bounds.min_secs).min(bounds.max_secs))
}

/// Fills the sources' requests. An optional source whose values are missing is left out, but
/// one must be left.
fn resolve(route: &Route, values: &Values<'_>) -> Result<Vec<Resolved>, Refusal> {
    let mut sources = Vec::with_capacity(route.sources.len());
    let mut first_missing = None;
    for source in &route.sources {
        let path = &source.url.path;
        let resolved = source.plan.resolve(path, values).and_then(|(request, told)| {
            let history = source.plan.resolve_history(path, values)?;
            Ok(Resolved { source: source.clone(), request, values: told, history })
        });
        match resolved {
            Ok(resolved) => sources.push(resolved),
            Err(error) => {
                let (refusal, is_missing) = values.refusal(&error);
                if !source.is_optional || !is_missing {
                    return Err(refusal);
                }
                first_missing.get_or_insert(refusal);
            }
        }
    }
    match first_missing {
        Some(refusal) if sources.is_empty() => Err(refusal),
        _ => Ok(sources),
    }
}
