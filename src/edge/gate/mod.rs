//! From a request to a stream, or to the reason why there is none.
//!
//! [`Gate::decide`] takes the steps in their order: path, preflight, address limit, credential,
//! parameters, route, authorization, sources, limits of subject and tenant. It opens nothing,
//! waits for nothing and needs no socket. Not here: writing the answer (`edge::refusal` says
//! what it is), opening sources, ending streams.

mod address;
mod api_key;
mod claims;
mod credential;
mod head;
mod identity;
mod jwt;
mod limits;
mod parameters;
mod query;
mod rate;
mod values;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ALLOW, HeaderValue};
use http::{HeaderMap, Method};

use self::api_key::ApiKeys;
use self::credential::Shown;
use self::identity::{GrantKind, Identity};
use self::jwt::Issuers;
use self::limits::{Limiter, Usage};
use self::parameters::Parameters;
use self::query::Query;
use self::values::Values;
use super::clock::Ticks;
use super::cors::{self, Headers};
use super::refusal::{Limited, Refusal};
use crate::config::{Config, Route, Source};
use crate::proto::backend::{HistoryCalls, Request, SessionValues};
use crate::proto::channel::Filter;
use crate::proto::event::Subscription;
use crate::proto::secret::Secret;
use crate::proto::time::UnixMillis;
use crate::telemetry::Metrics;

pub(super) use address::key as address_key;
pub(super) use head::{FIELDS_MAX, TARGET_BYTES_MAX};
pub(crate) use identity::Grant;
pub(crate) use limits::Permits;
pub(crate) use parameters::Resume;
pub(super) use rate::{KEYS_MAX, Key, Permit, Table};

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
    /// Who holds the other end of the connection.
    pub(crate) peer: Option<IpAddr>,
    /// The process takes no more streams: when to come back.
    pub(crate) draining: Option<u64>,
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
    /// The head of the stream, and nothing else. Nothing is counted.
    Head(Box<Admitted>),
    /// 204 with the headers: the answer to `OPTIONS`, preflight or not.
    Options,
    /// A refusal as HTTP.
    Refused(Refusal),
    /// A refusal inside a stream, as `errors=event` asks; for `HEAD` only the head of that.
    RefusedInStream(Refusal),
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
    limiter: Limiter,
    metrics: Arc<Metrics>,
}

/// A refusal, and whether its route lets it be told inside a stream.
struct Turned {
    refusal: Refusal,
    allows_event: bool,
}

impl Gate {
    /// A gate that has counted nothing yet.
    ///
    /// # Errors
    /// An issuer's key that cannot be used.
    pub(crate) fn new(config: Arc<Config>, metrics: Arc<Metrics>) -> Result<Self, String> {
        Self::with_ticks(config, metrics, Ticks::monotonic())
    }

    fn with_ticks(
        config: Arc<Config>,
        metrics: Arc<Metrics>,
        ticks: Ticks,
    ) -> Result<Self, String> {
        Self::with_usage(config, metrics, Arc::new(Usage::new(ticks)))
    }

    /// The gate of a new configuration, which goes on counting where this one is: budgets that
    /// are spent stay spent, streams that are open stay counted.
    ///
    /// # Errors
    /// An issuer's key that cannot be used.
    pub(crate) fn reloaded(&self, config: Arc<Config>) -> Result<Self, String> {
        Self::with_usage(config, self.metrics.clone(), self.limiter.usage().clone())
    }

    fn with_usage(
        config: Arc<Config>,
        metrics: Arc<Metrics>,
        usage: Arc<Usage>,
    ) -> Result<Self, String> {
        let mut routes: HashMap<String, Vec<Arc<Route>>> = HashMap::new();
        for route in &config.routes {
            routes.entry(route.path.clone()).or_default().push(route.clone());
        }
        Ok(Self {
            routes,
            api_keys: ApiKeys::new(&config.auth.api_keys),
            issuers: Issuers::new(&config.auth.jwt)?,
            limiter: Limiter::new(&config, usage, metrics.clone()),
            config,
            metrics,
        })
    }

    /// Decides about a request.
    #[must_use]
    pub(crate) fn decide(&self, asked: &Asked<'_>, wall: UnixMillis) -> Decided {
        let mut headers = cors::answer_headers(&self.config.cors, asked.headers);
        let path = match head::checked_path(asked) {
            Ok(path) => path,
            Err(refusal) => {
                return Decided { decision: Decision::Refused(refusal), headers, route: None };
            }
        };
        let routes = self.routes.get(&*path).map_or(&[][..], Vec::as_slice);
        let route = routes.first().cloned();
        let decision = if route.is_none() {
            Decision::Refused(Refusal::NoSuchPath)
        } else if asked.method == Method::OPTIONS {
            match self.count_call_of_address(asked) {
                Ok(()) => {
                    if cors::is_preflight(asked.headers) {
                        headers = cors::preflight_headers(&self.config.cors, asked.headers);
                    }
                    headers.push((ALLOW, HeaderValue::from_static(cors::METHODS)));
                    Decision::Options
                }
                Err(limited) => Decision::Refused(Refusal::Limited(limited)),
            }
        } else if asked.method == Method::GET || asked.method == Method::HEAD {
            self.decide_stream(asked, routes, wall)
        } else {
            Decision::Refused(Refusal::MethodNotAllowed)
        };
        let route = match &decision {
            Decision::Stream(admitted) | Decision::Head(admitted) => Some(admitted.route.clone()),
            Decision::Options | Decision::Refused(_) | Decision::RefusedInStream(_) => route,
        };
        Decided { decision, headers, route }
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
            GrantKind::Anonymous => self.config.auth.anonymous.then_some(Identity::Anonymous),
            GrantKind::Key(digest) => self.by_digest(digest, wall),
            GrantKind::Token(token) => self.by_token(token.reveal(), wall),
        };
        let identity = identity.filter(|identity| identity.opens(subscription)).ok_or(Revoked)?;
        Ok(identity.expires())
    }

    fn decide_stream(
        &self,
        asked: &Asked<'_>,
        routes: &[Arc<Route>],
        wall: UnixMillis,
    ) -> Decision {
        match self.admit(asked, routes, wall) {
            Ok(admitted) if asked.method == Method::HEAD => Decision::Head(admitted),
            Ok(admitted) => Decision::Stream(admitted),
            Err(Turned { refusal, allows_event }) => {
                let errors = Query::new(asked.query).readable("errors");
                if allows_event && errors.is_some_and(|errors| errors == "event") {
                    Decision::RefusedInStream(refusal)
                } else {
                    Decision::Refused(refusal)
                }
            }
        }
    }

    /// Address and credential. While it is open which route is meant, a refusal is told inside a
    /// stream only if every route of the path allows it: then it tells nothing of tenants.
    fn admit(
        &self,
        asked: &Asked<'_>,
        routes: &[Arc<Route>],
        wall: UnixMillis,
    ) -> Result<Box<Admitted>, Turned> {
        let allows_event = routes.iter().all(|route| route.allow_errors_event);
        let turned = |refusal| Turned { refusal, allows_event };
        if let Some(retry_secs) = asked.draining {
            return Err(turned(Refusal::Draining { retry_secs }));
        }
        let mut permits = Permits::default();
        if asked.method == Method::GET {
            let entered = self.limiter.enter_address(&self.address_key(asked));
            permits.push(entered.map_err(|limited| turned(Refusal::Limited(limited)))?);
        } else {
            self.count_call_of_address(asked)
                .map_err(|limited| turned(Refusal::Limited(limited)))?;
        }
        let identity = self.authenticate(asked, wall).map_err(turned)?;
        let method = identity.method();
        let admitted = self.admit_known(asked, routes, identity, permits, allows_event);
        let is_forbidden = matches!(&admitted, Err(turned) if turned.refusal == Refusal::Forbidden);
        self.metrics.on_auth(method, if is_forbidden { "forbidden" } else { "accepted" });
        admitted
    }

    /// Parameters, route, authorization, sources, and the limits of subject and tenant.
    fn admit_known(
        &self,
        asked: &Asked<'_>,
        routes: &[Arc<Route>],
        identity: Identity,
        mut permits: Permits,
        allows_event: bool,
    ) -> Result<Box<Admitted>, Turned> {
        let query = Query::new(asked.query);
        let parameters = Parameters::parse(query, asked.headers, identity.tenant())
            .map_err(|refusal| Turned { refusal, allows_event })?;
        let subscription =
            Subscription::new(&parameters.tenant, &parameters.workflow, &parameters.participant);
        let (tenant, workflow) = (&subscription.tenant_id, &subscription.workflow_type);
        let Some(route) = routes.iter().find(|route| route.is_match(tenant, workflow)) else {
            return Err(Turned { refusal: Refusal::NoSuchRoute, allows_event: false });
        };
        let turned = |refusal| Turned { refusal, allows_event: route.allow_errors_event };
        if !identity.opens(&subscription) {
            return Err(turned(Refusal::Forbidden));
        }
        let values = Values {
            subscription: &subscription,
            identity: &identity,
            query,
            headers: asked.headers,
        };
        let sources = resolve(route, &values).map_err(turned)?;
        if asked.method == Method::GET {
            self.limiter
                .enter_stream(&identity, tenant, &mut permits)
                .map_err(|limited| turned(Refusal::Limited(limited)))?;
        } else {
            self.count_call(&identity, tenant)
                .map_err(|limited| turned(Refusal::Limited(limited)))?;
        }
        Ok(Box::new(Admitted {
            route: route.clone(),
            heartbeat: heartbeat(route, &parameters),
            filter: Filter {
                types: parameters.types,
                scope: parameters.scope,
                vocabulary: parameters.vocabulary.unwrap_or(route.vocabulary),
            },
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
        self.limiter.enter_call_of_address(&self.address_key(asked))
    }

    /// Counts a call of a subject and a tenant.
    fn count_call(&self, identity: &Identity, tenant: &str) -> Result<(), Limited> {
        self.limiter.enter_call(identity, tenant)
    }

    /// What the limits of addresses go by.
    fn address_key(&self, asked: &Asked<'_>) -> Key {
        let trusted = &self.config.trusted_proxies;
        address::key(address::client_address(asked.peer, asked.headers, trusted))
    }

    fn authenticate(&self, asked: &Asked<'_>, wall: UnixMillis) -> Result<Identity, Refusal> {
        let (method, identity) = match credential::shown(asked.headers, Query::new(asked.query)) {
            Shown::Token(token) => ("jwt", self.by_token(&token, wall)),
            Shown::Key(key) => {
                ("api_key", self.api_keys.find(&key, wall).cloned().map(Identity::Key))
            }
            Shown::Useless => ("api_key", None),
            Shown::Nothing => ("none", self.config.auth.anonymous.then_some(Identity::Anonymous)),
        };
        identity.ok_or_else(|| {
            self.metrics.on_auth(method, "refused");
            Refusal::Unauthorized
        })
    }

    fn by_token(&self, token: &str, wall: UnixMillis) -> Option<Identity> {
        let verified = self.issuers.verify(token, wall)?;
        Some(Identity::Token(Box::new(verified), Secret::new(token.to_owned())))
    }

    fn by_digest(&self, digest: &[u8; 32], wall: UnixMillis) -> Option<Identity> {
        self.api_keys.by_digest(digest, wall).cloned().map(Identity::Key)
    }
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
