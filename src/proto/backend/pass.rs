//! What a call of a client carries when it is passed through to a backend.
//!
//! A dialect says which parameters and headers it sets, which of the client's it must not see,
//! which calls are no client's at all, and what of the answers is private ([`PassPlan`]).
//! Resolved with a client's values it is a [`Pass`], filled with the backend's credential a
//! [`Dress`]. Not here: paths, sockets, which client may call (`edge`).

use super::call::{Line, Piece};
use super::credentials::Credential;
use crate::proto::template::{ResolveError, Variables};

/// How calls of clients are dressed for a backend.
#[derive(Clone)]
pub struct PassPlan {
    /// Query parameters, in place of any that the client sent under the same name.
    pub query: Vec<(&'static str, Piece)>,
    /// A query parameter of a reading call that differs on every attempt.
    pub fresh_query: Option<&'static str>,
    /// Request headers, in place of the client's.
    pub headers: Vec<(&'static str, Piece)>,
    /// Parameters that the backend would take for a credential; a client's are never passed.
    pub stripped: &'static [&'static str],
    /// Whether the backend may learn the client's address (`X-Forwarded-For`).
    pub tells_address: bool,
    /// Whether a call, by its method and its decoded path below the source's `url`, is one that
    /// opens or takes events. Those are the edge's own: a second reader would see what is
    /// somebody else's, or take what others wait for.
    pub is_events: fn(&str, &str) -> bool,
    /// Keys of answered JSON objects, at the top or in the top array, that nobody may see.
    pub private_keys: &'static [&'static str],
    /// The path, below the source's `url`, of the poll whose events an answered call may hold;
    /// `None` for calls that are answered without events.
    pub polled: fn(&str, &str) -> Option<String>,
}

impl Default for PassPlan {
    fn default() -> Self {
        Self {
            query: Vec::new(),
            fresh_query: None,
            headers: Vec::new(),
            stripped: &[],
            tells_address: true,
            is_events: |_, _| false,
            private_keys: &[],
            polled: |_, _| None,
        }
    }
}

impl PassPlan {
    /// Fills in a client's values.
    ///
    /// # Errors
    /// A value that is absent or cannot stand where it is wanted.
    pub fn resolve(&self, variables: &dyn Variables) -> Result<Pass, ResolveError> {
        let lines = |pieces: &[(&'static str, Piece)]| {
            let line = |(name, piece): &(&'static str, Piece)| {
                piece.resolve(variables).map(|line| (*name, line))
            };
            pieces.iter().map(line).collect::<Result<Vec<_>, _>>()
        };
        Ok(Pass { query: lines(&self.query)?, headers: lines(&self.headers)? })
    }

    /// Whether a client's own parameter of this decoded name may not reach the backend. Names
    /// are compared without case: some backends do.
    #[must_use]
    pub fn is_stripped(&self, name: &str) -> bool {
        let is_same = |other: &str| name.eq_ignore_ascii_case(other);
        self.stripped.iter().any(|other| is_same(other))
            || self.query.iter().any(|(other, _)| is_same(other))
            || self.fresh_query.iter().any(|other| is_same(other))
    }
}

/// A plan with a client's values in it. No `Debug`: it holds credentials.
pub struct Pass {
    query: Vec<(&'static str, Line)>,
    headers: Vec<(&'static str, Line)>,
}

impl Pass {
    /// Whether the backend has to give something before the call can be made.
    #[must_use]
    pub fn needs_credential(&self) -> bool {
        self.query.iter().chain(&self.headers).any(|(_, line)| line.has_holes())
    }

    /// What is sent; `None` if the credential lacks a value, or has one that cannot stand where
    /// it is wanted.
    #[must_use]
    pub fn fill(&self, credential: &Credential) -> Option<Dress> {
        let mut query = String::new();
        for (name, line) in &self.query {
            if !query.is_empty() {
                query.push('&');
            }
            query.push_str(name);
            query.push('=');
            query.push_str(&line.fill(credential)?);
        }
        let mut headers = Vec::with_capacity(self.headers.len());
        for (name, line) in &self.headers {
            headers.push((*name, line.fill(credential)?));
        }
        Some(Dress { query, headers })
    }
}

/// What a passed call carries besides the client's own. No `Debug`: it holds credentials.
pub struct Dress {
    /// Query parameters, encoded, without a `&` before them.
    pub query: String,
    /// Headers, in place of the client's.
    pub headers: Vec<(&'static str, String)>,
}

/// The segments of a path below a prefix, for [`PassPlan::is_events`] and [`PassPlan::polled`],
/// without what servers have been seen to pass over: parameters of a segment, and space.
pub(super) fn segments(path: &str) -> Vec<&str> {
    let segments = path.split('/').map(|segment| segment.split(';').next().unwrap_or_default());
    segments.map(str::trim).filter(|segment| !segment.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::proto::backend::{OptionValue, Options, ROSTER, dialect};
    use crate::proto::template::{Template, Variable};

    struct Jane;

    impl Variables for Jane {
        fn value(&self, variable: &Variable) -> Option<Cow<'_, str>> {
            match variable {
                Variable::TenantId => Some("acme".into()),
                Variable::Workflow => Some("support".into()),
                Variable::ParticipantId => Some("jane".into()),
                Variable::ParticipantUuid => Some("u-u".into()),
                Variable::WorkflowId
                | Variable::Query(_)
                | Variable::Header(_)
                | Variable::Claim(_) => None,
            }
        }
    }

    fn pass_plan(name: &str, options: &[(&'static str, &str)]) -> PassPlan {
        let template =
            |text: &str| OptionValue::Template(Template::parse(text).expect("a template"));
        let options = options.iter().map(|(name, text)| (*name, template(text))).collect();
        let plan = (dialect(name).expect("a dialect").plan)(&Options(options)).expect("a plan");
        plan.pass
    }

    fn of(name: &str) -> PassPlan {
        pass_plan(
            name,
            match name {
                "openfire" => &[("token", "ey.a.b")],
                "xians" => &[("api_key", "sk-Xnai-1")],
                "salesforce" => &[("org_id", "00D000000000001"), ("bearer", "jwt")],
                _ => &[("app_id", "app"), ("tenant_url", "x.org"), ("chat", "c")],
            },
        )
    }

    #[test]
    fn every_dialect_dresses_calls_in_its_own_way() {
        let dress = |name: &str| {
            let pass = of(name).resolve(&Jane).expect("resolved");
            assert!(!pass.needs_credential());
            let Dress { query, headers } = pass.fill(&Credential::default()).expect("filled");
            let headers: Vec<_> =
                headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            (query, headers.join("\n"))
        };
        assert_eq!(dress("openfire"), (String::new(), "Authorization: ey.a.b".into()));
        assert_eq!(
            dress("xians"),
            (
                "workflow=support&participantId=jane&tenantId=acme".into(),
                "Authorization: Bearer sk-Xnai-1".into()
            )
        );
        assert_eq!(dress("salesforce"), (String::new(), "Authorization: Bearer jwt".into()));
        let bright_pattern = "Authorization: MOBILE-API-140-327-PLAIN appId=\"app\", \
                              clientId=\"u-u\"\nUser-Agent: MobileClient\nCache-Control: no-cache";
        assert_eq!(dress("brightpattern"), ("tenantUrl=x.org".into(), bright_pattern.into()));
        for dialect in ROSTER {
            assert_eq!(of(dialect.name).tells_address, dialect.name != "openfire");
        }
    }

    #[test]
    fn a_credential_of_the_backends_is_waited_for() {
        let login = [
            ("username", OptionValue::Template(Template::parse("a").expect("a template"))),
            ("password", OptionValue::Template(Template::parse("b").expect("a template"))),
        ];
        let login = OptionValue::Table(Options(login.into_iter().collect()));
        let options = Options([("login", login)].into_iter().collect());
        let plan = (dialect("openfire").expect("a dialect").plan)(&options).expect("a plan");
        let pass = plan.pass.resolve(&Jane).expect("resolved");
        assert!(pass.needs_credential());
        assert!(pass.fill(&Credential::default()).is_none());
        let dress = pass.fill(&Credential::new([("token", "t".into())])).expect("filled");
        assert_eq!(dress.headers, [("Authorization", "t".to_owned())]);
    }

    #[test]
    fn streams_and_polls_are_no_calls() {
        for (name, method, path, want) in [
            ("openfire", "GET", "/sse", true),
            ("openfire", "GET", "//SSE/", true),
            ("openfire", "GET", "/api/sse", true),
            ("openfire", "GET", "/sse/jane", true),
            ("openfire", "POST", "/api/rest/chat/message/sse", false),
            ("openfire", "POST", "/api/rest/chat/message/a@b", false),
            ("xians", "GET", "/api/user/sse/events", true),
            ("xians", "GET", "/api/User/SSE/events", true),
            ("xians", "GET", "/api/client/messaging/threads/1/events", true),
            ("xians", "GET", "/api/v1/admin/tenants/t/messaging/listen", true),
            ("xians", "GET", "/api/user/rest/history", false),
            ("salesforce", "GET", "/eventrouter/v1/sse", true),
            ("salesforce", "GET", "/iamessage/api/v2/conversation/c/entries", false),
            ("brightpattern", "GET", "/chats/c/events", true),
            ("brightpattern", "HEAD", "/chats/c/events/", true),
            ("brightpattern", "GET", "/Chats/c/EVENTS", true),
            ("brightpattern", "GET", "/chats/c/events;x=1", true),
            ("brightpattern", "GET", "/chats;v=1/c/events ;/", true),
            ("salesforce", "GET", "/eventrouter;a/v1/sse", true),
            ("brightpattern", "POST", "/chats/c/events", false),
            ("brightpattern", "GET", "/chats/c/history", false),
        ] {
            assert_eq!((of(name).is_events)(method, path), want, "{name} {method} {path}");
        }
    }

    #[test]
    fn what_would_be_a_credential_is_never_the_clients() {
        for (name, parameter, want) in [
            ("xians", "apikeyId", true),
            ("xians", "APIKEYID", true),
            ("xians", "ParticipantID", true),
            ("xians", "scope", false),
            ("openfire", "token", true),
            ("openfire", "to", false),
            ("brightpattern", "tenanturl", true),
            ("brightpattern", "nonce", true),
            ("salesforce", "limit", false),
        ] {
            assert_eq!(of(name).is_stripped(parameter), want, "{name} {parameter}");
        }
    }

    #[test]
    fn a_send_to_a_chat_is_answered_with_what_its_poll_would_tell() {
        let polled = of("brightpattern").polled;
        assert_eq!(polled("POST", "/chats/c 1/events").as_deref(), Some("/chats/c 1/events"));
        assert_eq!(polled("POST", "/Chats/c/events;x").as_deref(), Some("/chats/c/events"));
        assert_eq!(polled("GET", "/chats/c/events"), None);
        assert_eq!(polled("POST", "/chats/c/notifications"), None);
        assert_eq!((of("xians").polled)("POST", "/chats/c/events"), None);
    }
}
