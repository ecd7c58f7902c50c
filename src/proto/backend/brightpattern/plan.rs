//! How a chat's new events are asked for, and what must be configured for it.
//!
//! The whole credential is public: the launch point, the client's own id and the chat's. Not
//! here: opening a chat, finding the active one.

use std::borrow::Cow;

use crate::proto::backend::{OptionKind, OptionSpec, Options, Piece, Plan};
use crate::proto::template::{Place, ResolveError, Template, Variable, Variables};

/// The key under which the session is told of its chat.
pub(super) const CHAT: &str = "chat";

/// What can be configured.
pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "app_id",
        kind: OptionKind::Secret,
        is_required: true,
        doc: "The id of the launch point (messaging/chat entry) of the contact center.",
    },
    OptionSpec {
        name: "client_id",
        kind: OptionKind::Template,
        is_required: false,
        doc: "Which client this is, unique per person; default `{participantUuid}`.",
    },
    OptionSpec {
        name: "tenant_url",
        kind: OptionKind::Template,
        is_required: true,
        doc: "The domain of the contact center, without `https://`.",
    },
    OptionSpec {
        name: "chat",
        kind: OptionKind::Template,
        is_required: true,
        doc: "The id of the chat, such as `{query.chatId}`.",
    },
];

/// A poll is held for 15 s at most; the vendor's clients give up after 20.
const SILENCE_SECS: u64 = 30;

/// `GET <url>/chats/<chat>/events`, where the source's url ends in `/clientweb/api/v1` or `/v2`.
pub(super) fn plan(options: &Options) -> Result<Plan, String> {
    let required = |name: &str| options.template(name).ok_or_else(|| format!("{name}: is missing"));
    let (app_id, tenant_url, chat) =
        (required("app_id")?, required("tenant_url")?, required("chat")?);
    let client_id = match options.template("client_id") {
        Some(client_id) => client_id.clone(),
        None => {
            Template::parse("{participantUuid}").map_err(|error| format!("client_id: {error}"))?
        }
    };
    if constant(tenant_url).is_some_and(|url| url.contains('/')) {
        return Err("tenant_url: write the bare domain, such as acme.brightpattern.com".to_owned());
    }
    // The backend would tell its clients apart by cookies, of which none are kept here.
    if constant(&client_id).is_some_and(|id| id == "WebChat") {
        return Err("client_id: `WebChat` would be every client at once; leave it out".to_owned());
    }
    let authorization = Piece::fixed("MOBILE-API-140-327-PLAIN appId=\"")
        .then_value(app_id, Place::Quoted)
        .then("\", clientId=\"")
        .then_value(&client_id, Place::Quoted)
        .then("\"");
    Ok(Plan {
        path: Piece::fixed("/chats/").then_value(chat, Place::Segment).then("/events"),
        query: vec![("tenantUrl", Piece::value(tenant_url, Place::Query))],
        // Caches on the way have replayed answers "70 times per second".
        fresh_query: Some("nonce"),
        headers: vec![
            ("Authorization", authorization),
            ("User-Agent", Piece::fixed("MobileClient")),
            ("Cache-Control", Piece::fixed("no-cache")),
            ("Accept", Piece::fixed("application/json")),
            ("Accept-Encoding", Piece::fixed("identity")),
        ],
        resume_header: None,
        values: vec![(CHAT, Piece::value(chat, Place::Plain))],
        silence_secs: SILENCE_SECS,
    })
}

/// The text of a template without holes.
fn constant(template: &Template) -> Option<String> {
    struct Nothing;
    impl Variables for Nothing {
        fn value(&self, _: &Variable) -> Option<Cow<'_, str>> {
            None
        }
    }
    let text: Result<String, ResolveError> = template.resolve(&Nothing, Place::Plain);
    text.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::backend::OptionValue;

    fn options(rows: &[(&'static str, &str)]) -> Options {
        let value = |text| OptionValue::Template(Template::parse(text).expect("a template"));
        Options(rows.iter().map(|(name, text)| (*name, value(text))).collect())
    }

    struct Client;

    impl Variables for Client {
        fn value(&self, variable: &Variable) -> Option<Cow<'_, str>> {
            match variable {
                Variable::ParticipantUuid => Some("3f2b8a14-6f0e-4c7d-9d51-2f6d0c1a7e90".into()),
                Variable::Query(name) if name == "chatId" => {
                    Some("d6c1adc2-385b-42e5-9e0a-1883c2bc5f81".into())
                }
                Variable::Query(_) => Some("../x?y\"z\r\n".into()),
                Variable::TenantId
                | Variable::Workflow
                | Variable::WorkflowId
                | Variable::ParticipantId
                | Variable::Header(_)
                | Variable::Claim(_) => None,
            }
        }
    }

    #[test]
    fn the_request_is_as_the_vendor_wants_it() {
        let plan = plan(&options(&[
            ("app_id", "0123456789abcdef0123456789abcdef"),
            ("tenant_url", "acme.brightpattern.com"),
            ("chat", "{query.chatId}"),
        ]))
        .expect("a plan");
        let (request, values) = plan.resolve("/clientweb/api/v2", &Client).expect("a request");
        assert_eq!(
            request.target,
            "/clientweb/api/v2/chats/d6c1adc2-385b-42e5-9e0a-1883c2bc5f81/events?tenantUrl=acme.brightpattern.com"
        );
        assert_eq!(request.fresh_query, Some("nonce"));
        let headers: Vec<_> =
            request.headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        assert_eq!(
            headers,
            [
                (
                    "Authorization",
                    "MOBILE-API-140-327-PLAIN appId=\"0123456789abcdef0123456789abcdef\", \
                 clientId=\"3f2b8a14-6f0e-4c7d-9d51-2f6d0c1a7e90\""
                ),
                ("User-Agent", "MobileClient"),
                ("Cache-Control", "no-cache"),
                ("Accept", "application/json"),
                ("Accept-Encoding", "identity"),
            ]
        );
        assert_eq!(
            values.get(CHAT).map(String::as_str),
            Some("d6c1adc2-385b-42e5-9e0a-1883c2bc5f81")
        );
        assert_eq!(request.silence_secs, SILENCE_SECS);
    }

    #[test]
    fn values_stay_in_their_place() {
        let plan = plan(&options(&[
            ("app_id", "a\"b"),
            ("client_id", "{query.chatId}"),
            ("tenant_url", "x&y"),
            ("chat", "{query.evil}"),
        ]))
        .expect("a plan");
        let (request, _) = plan.resolve("/api", &Client).expect("a request");
        assert_eq!(request.target, "/api/chats/..%2Fx%3Fy%22z%0D%0A/events?tenantUrl=x%26y");
        let authorization = "MOBILE-API-140-327-PLAIN appId=\"a%22b\", clientId=\"d6c1adc2-385b-42e5-9e0a-1883c2bc5f81\"";
        assert_eq!(request.headers.first().map(|(_, value)| value.as_str()), Some(authorization));
    }

    #[test]
    fn options_that_cannot_work_are_refused() {
        let all = [("app_id", "a"), ("tenant_url", "x.org"), ("chat", "c")];
        let check = |changed: &(&'static str, &str), want: &str| {
            let mut rows = all.to_vec();
            rows.push(*changed);
            assert_eq!(plan(&options(&rows)).err().as_deref(), Some(want), "{changed:?}");
        };
        check(
            &("tenant_url", "https://x.org"),
            "tenant_url: write the bare domain, such as acme.brightpattern.com",
        );
        check(
            &("client_id", "WebChat"),
            "client_id: `WebChat` would be every client at once; leave it out",
        );
        for missing in all {
            let rows: Vec<_> = all.into_iter().filter(|row| *row != missing).collect();
            assert_eq!(plan(&options(&rows)).err(), Some(format!("{}: is missing", missing.0)));
        }
        for spec in OPTIONS {
            assert_eq!(spec.is_required, all.iter().any(|row| row.0 == spec.name), "{}", spec.name);
        }
    }
}
