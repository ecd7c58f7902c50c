//! From a request to a call that may be passed through, or to the reason why not.
//!
//! The steps are those of a stream, in their order: path, preflight, address limit, credential,
//! parameters, route, authorization, source, limits of subject and tenant. A call names its
//! tenant, workflow and participant as a stream does; one that nothing asks for may be left out,
//! and one that the credential names alone is taken from there. What the gate has read for
//! itself is not passed on. Not here: the answer, sockets (`edge::passthrough`).

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::net::IpAddr;
use std::sync::Arc;

use http::Method;
use http::header::{ALLOW, HeaderValue, ORIGIN};

use super::credential::{self, Shown};
use super::identity::Identity;
use super::parameters::{bad, optional, required};
use super::query::{self, Query};
use super::values::Values;
use super::{Asked, Gate, Known, Unknown, head};
use crate::config::{Bound, ProxyRoute};
use crate::edge::cors::{self, Headers};
use crate::edge::jwks::KeyWait;
use crate::edge::passthrough::{PassFault, path};
use crate::edge::refusal::{Fault, Refusal};
use crate::proto::backend::{Pass, Recipe};
use crate::proto::event::Subscription;
use crate::proto::template::{Variable, Variables};
use crate::proto::time::UnixMillis;

/// Parameters that are the edge's own.
const OWN_PARAMETERS: [&[&str]; 2] =
    [&["tenantId", "workflow", "participantId"], &credential::PARAMETERS];

/// What is answered to a request on a proxied path.
pub(crate) struct PassDecided {
    /// Which answer it is.
    pub(crate) decision: PassDecision,
    /// Headers to put on it, whichever it is.
    pub(crate) headers: Headers,
    /// The route's path, for metrics.
    pub(crate) label: String,
}

/// Which answer.
pub(crate) enum PassDecision {
    /// The backend's.
    Pass(Box<Passed>),
    /// 204 with the headers: the answer to `OPTIONS`, preflight or not.
    Options,
    /// A refusal.
    Refused(Refusal),
}

/// A call that may be passed. No `Debug`: it holds credentials.
pub(crate) struct Passed {
    /// The route that matched.
    pub(crate) route: Arc<ProxyRoute>,
    /// Whose call it is; empty where the client did not say and nothing asks.
    pub(crate) subscription: Arc<Subscription>,
    /// What the call carries besides the client's own.
    pub(crate) pass: Pass,
    /// How the backend's credential is had, where the call needs one.
    pub(crate) recipe: Option<Recipe>,
    /// The path at the backend, as it is sent.
    pub(crate) path: String,
    /// The same below the source's `url`, decoded.
    pub(crate) decoded: String,
    /// What is left of the client's query, as it came.
    pub(crate) query: String,
    /// Who calls, as far as the network says.
    pub(crate) address: Option<IpAddr>,
}

/// A client's values, and which of its parameters were read.
struct Noted<'a> {
    values: &'a Values<'a>,
    read: RefCell<Vec<String>>,
    /// A value cannot be made without the tenant.
    lacks_tenant: Cell<bool>,
}

impl Variables for Noted<'_> {
    fn value(&self, variable: &Variable) -> Option<Cow<'_, str>> {
        let subscription = self.values.subscription;
        match variable {
            Variable::Query(name) => self.read.borrow_mut().push(name.clone()),
            // Of nobody there is none, and all would share it.
            Variable::ParticipantUuid if subscription.participant_id.is_empty() => return None,
            Variable::ParticipantUuid if subscription.tenant_id.is_empty() => {
                self.lacks_tenant.set(true);
                return None;
            }
            Variable::WorkflowId if subscription.workflow_type.is_empty() => return None,
            Variable::TenantId
            | Variable::Workflow
            | Variable::WorkflowId
            | Variable::ParticipantId
            | Variable::ParticipantUuid
            | Variable::Header(_)
            | Variable::Claim(_) => {}
        }
        self.values.value(variable)
    }
}

impl Gate {
    /// Decides about a request whose path is a proxied one; `None` for all others. `is_late`: it
    /// has waited for a key and was counted then; now it is decided.
    ///
    /// # Errors
    /// The token names a key that its issuer is just being asked for: it is to be decided again
    /// when that is over.
    pub(crate) fn decide_pass(
        &self,
        asked: &Asked<'_>,
        is_late: bool,
        wall: UnixMillis,
    ) -> Result<Option<PassDecided>, KeyWait> {
        // What has no form is refused where all other paths are.
        let Ok(path) = head::checked_path(asked) else {
            return Ok(None);
        };
        let asked = &Asked { path: &path, ..*asked };
        let routes = self.proxies(asked.path);
        let Some(first) = routes.first() else {
            return Ok(None);
        };
        let mut headers = cors::answer_headers(&self.config.cors, asked.headers);
        let mut label = first.path.clone();
        let allowed = || allowed(&routes);
        let decision = if asked.method == Method::OPTIONS
            && let Err(limited) = self.count_call_of_address(asked)
        {
            PassDecision::Refused(Refusal::Limited(limited))
        } else if asked.method == Method::OPTIONS {
            if cors::is_preflight(asked.headers) {
                headers = cors::preflight_headers(&self.config.cors, asked.headers, &allowed());
            }
            headers.push((ALLOW, header_value(&allowed())));
            PassDecision::Options
        } else if !routes.iter().any(|route| route.takes(asked.method)) {
            PassDecision::Refused(Refusal::Pass(PassFault::Method(allowed())))
        } else {
            match self.admit_pass(asked, &routes, is_late, wall)? {
                Ok(passed) => {
                    label.clone_from(&passed.route.path);
                    PassDecision::Pass(passed)
                }
                Err(refusal) => PassDecision::Refused(refusal),
            }
        };
        Ok(Some(PassDecided { decision, headers, label }))
    }

    /// The proxied routes of a path, the longest first, else in the order of the configuration.
    fn proxies(&self, path: &str) -> Vec<&Arc<ProxyRoute>> {
        if self.is_routed(path) {
            return Vec::new();
        }
        let of_path = |route: &&Arc<ProxyRoute>| route.rest(path).is_some();
        let mut routes: Vec<_> = self.config.proxy.iter().filter(of_path).collect();
        routes.sort_by_key(|route| std::cmp::Reverse(route.path.len()));
        routes
    }

    fn admit_pass(
        &self,
        asked: &Asked<'_>,
        routes: &[&Arc<ProxyRoute>],
        is_late: bool,
        wall: UnixMillis,
    ) -> Result<Result<Box<Passed>, Refusal>, KeyWait> {
        if let Some(retry_secs) = asked.draining {
            return Ok(Err(Refusal::Draining { retry_secs }));
        }
        if !is_late && let Err(limited) = self.count_call_of_address(asked) {
            return Ok(Err(Refusal::Limited(limited)));
        }
        let (method, known) = self.know_caller(asked, wall);
        let known = match known {
            Ok(known) => known,
            Err(Unknown::Later(wait)) if !is_late => return Err(wait),
            Err(Unknown::Later(_) | Unknown::Ticket(_) | Unknown::Refused) => {
                self.metrics.on_auth(method, "refused");
                return Ok(Err(Refusal::Unauthorized));
            }
        };
        let address = self.trust().client_address(asked.peer, asked.headers);
        let admitted = self.admit_known_pass(asked, routes, &known.identity, address);
        let is_forbidden = matches!(&admitted, Err(Refusal::Forbidden));
        self.metrics.on_auth(method, if is_forbidden { "forbidden" } else { "accepted" });
        Ok(admitted)
    }

    /// Who calls. A ticket is for a stream: here it is good for nothing, and is not used up. With
    /// a cookie alone, what may change something must come from a page that names its origin:
    /// browsers that leave it out cannot tell whose page it was.
    fn know_caller(
        &self,
        asked: &Asked<'_>,
        wall: UnixMillis,
    ) -> (&'static str, Result<Known, Unknown>) {
        let (method, shown) = self.shown(asked);
        let is_safe = asked.method == Method::GET || asked.method == Method::HEAD;
        let is_nobodys = method == "cookie" && !is_safe && !asked.headers.contains_key(ORIGIN);
        let shown = match shown {
            Shown::Ticket(_) => Shown::Useless,
            Shown::Token(_) | Shown::Key(_) if is_nobodys => Shown::Useless,
            Shown::Token(_) | Shown::Key(_) | Shown::Useless | Shown::Nothing => shown,
        };
        (method, self.know_shown(shown, method, wall))
    }

    fn admit_known_pass(
        &self,
        asked: &Asked<'_>,
        routes: &[&Arc<ProxyRoute>],
        identity: &Identity,
        address: Option<IpAddr>,
    ) -> Result<Box<Passed>, Refusal> {
        let query = Query::new(asked.query);
        let subscription = subscription(query, identity)?;
        let (tenant, workflow) = (&subscription.tenant_id, &subscription.workflow_type);
        for route in routes {
            needed(route.tenant.is_some(), tenant, "tenantId")?;
            needed(route.workflow.is_some(), workflow, "workflow")?;
        }
        let is_match = |route: &&&Arc<ProxyRoute>| {
            route.is_match(tenant, workflow) && route.takes(asked.method)
        };
        let route = *routes.iter().find(is_match).ok_or(Refusal::NoSuchRoute)?;
        if !identity.opens(&subscription) {
            return Err(Refusal::Forbidden);
        }
        let rest = route.rest(asked.path).unwrap_or_default();
        let below = path::decoded(rest).ok_or(Refusal::Pass(PassFault::Path))?;
        let to = route.to.trim_end_matches('/');
        let source = &route.source;
        let decoded = format!("{to}{below}");
        if (source.plan.pass.is_events)(asked.method.as_str(), &decoded) {
            return Err(Refusal::Pass(PassFault::Events));
        }
        let values =
            Values { subscription: &subscription, identity, query, headers: asked.headers };
        let noted =
            Noted { values: &values, read: RefCell::default(), lacks_tenant: Cell::default() };
        let base = source.url.path.trim_end_matches('/');
        let refused = |error| match noted.lacks_tenant.get() {
            true => bad("tenantId", Fault::Missing),
            false => values.refusal(&error).0,
        };
        let pass = source.plan.pass.resolve(&noted).map_err(refused)?;
        let recipe = source.plan.recipe.as_ref().filter(|_| pass.needs_credential());
        let recipe = recipe.map(|recipe| recipe.resolve(base, &noted));
        let recipe = recipe.transpose().map_err(refused)?;
        self.count_call(asked, identity, tenant).map_err(Refusal::Limited)?;
        let read = noted.read.into_inner();
        Ok(Box::new(Passed {
            pass,
            recipe,
            path: at_backend(&format!("{base}{to}{rest}")),
            decoded,
            query: left_over(asked.query, |name| {
                let is_own = |own: &str| own.eq_ignore_ascii_case(name);
                OWN_PARAMETERS.iter().any(|some| some.iter().any(|own| is_own(own)))
                    || read.iter().any(|read| is_own(read))
                    || source.plan.pass.is_stripped(name)
            }),
            address,
            route: (*route).clone(),
            subscription: subscription.clone(),
        }))
    }
}

/// A path is never empty on the wire.
fn at_backend(path: &str) -> String {
    if path.is_empty() { "/".to_owned() } else { path.to_owned() }
}

/// All methods of these routes.
fn allowed(routes: &[&Arc<ProxyRoute>]) -> String {
    let all = [Method::GET, Method::HEAD, Method::POST, Method::PUT, Method::PATCH, Method::DELETE];
    let taken = all.iter().filter(|method| routes.iter().any(|route| route.takes(method)));
    let names: Vec<_> = taken.map(Method::as_str).chain(["OPTIONS"]).collect();
    names.join(", ")
}

/// Names of methods and commas: always a header value.
fn header_value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn needed(is_needed: bool, value: &str, name: &'static str) -> Result<(), Refusal> {
    if is_needed && value.is_empty() { Err(bad(name, Fault::Missing)) } else { Ok(()) }
}

/// Whose call it is. What the client leaves out is what its credential names alone, else
/// nothing; where the credential is for some only, nothing will not do.
fn subscription(query: Query<'_>, identity: &Identity) -> Result<Arc<Subscription>, Refusal> {
    let read = |name: &'static str, bound: Bound| {
        let value = optional(query, name)?.or_else(|| identity.single(bound));
        match value {
            Some(value) => required(Some(value), name),
            None if identity.restricts(bound) => Err(bad(name, Fault::Missing)),
            None => Ok(String::new()),
        }
    };
    let tenant = read("tenantId", Bound::TenantId)?;
    let workflow = read("workflow", Bound::Workflow)?;
    let participant = read("participantId", Bound::ParticipantId)?;
    Ok(Subscription::new(&tenant, &workflow, &participant))
}

/// The pairs of a query that are passed on, as they came. A name that cannot be read is not.
fn left_over(raw: &str, is_taken: impl Fn(&str) -> bool) -> String {
    let pairs = raw.split('&').filter(|pair| {
        let name = pair.split('=').next().unwrap_or_default();
        !pair.is_empty() && query::decode(name).is_some_and(|name| !is_taken(name.trim()))
    });
    pairs.collect::<Vec<_>>().join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_passed_of_a_query_is_as_it_came() {
        let is_taken =
            |name: &str| ["apikey", "token"].iter().any(|own| own.eq_ignore_ascii_case(name));
        for (query, want) in [
            ("a=1&apikey=k&b=%C3%A9+x", "a=1&b=%C3%A9+x"),
            ("APIKEY=k&%61pikey=k&apikey", ""),
            ("a&&b=&=c", "a&b=&=c"),
            ("%zz=1&a=%zz", "a=%zz"),
            ("+token=1&a=token", "a=token"),
        ] {
            assert_eq!(left_over(query, is_taken), want, "{query}");
        }
    }
}
