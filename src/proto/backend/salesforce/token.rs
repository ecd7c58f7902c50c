//! Tokens of anonymous end users: minted, continued for the same subject, read.
//!
//! A fresh token is a new subject, which cannot see the conversations of the one before: as long
//! as it can be, a token is continued, never minted again. Two families of calls exist; which one
//! works depends on the type of the deployment. Not here: tokens that clients bring.

use crate::proto::backend::{
    CallPlan, Conduct, Credential, Method, Obtained, OptionKind, OptionSpec, Options, Piece,
    RecipePlan, jwt_expiry,
};
use crate::proto::json::Object;
use crate::proto::template::{Place, Template};

/// The hole for the token.
const TOKEN: &str = "token";
/// Enough for text; token streaming needs 63.
const CAPABILITIES: &str = "1";

/// What can be configured.
pub(super) const OPTIONS: &[OptionSpec] = &[
    OptionSpec {
        name: "deployment",
        kind: OptionKind::Template,
        is_required: true,
        doc: "The developer name of the messaging deployment.",
    },
    OptionSpec {
        name: "capabilities",
        kind: OptionKind::Template,
        is_required: false,
        doc: "The `capabilitiesVersion` to ask for; default 1; streamed answers need 63 or more.",
    },
    OptionSpec {
        name: "api",
        kind: OptionKind::Word(&["v2", "v1"]),
        is_required: false,
        doc: "The family of calls: v2 (default) for a custom client, v1 for a web deployment.",
    },
];

/// The stream's, and a continuation's.
pub(super) fn authorization() -> Piece {
    Piece::fixed("Bearer ").then_piece(Piece::hole(TOKEN, Place::Header))
}

/// How a token is minted and continued.
pub(super) fn recipe(org_id: &Template, anonymous: &Options) -> Result<RecipePlan, String> {
    let deployment = anonymous
        .template("deployment")
        .ok_or("`anonymous` needs `deployment`: the developer name of the deployment")?;
    let parse = |text| Template::parse(text).map_err(|error| error.to_string());
    let capabilities = match anonymous.template("capabilities") {
        Some(capabilities) => capabilities.clone(),
        None => parse(CAPABILITIES)?,
    };
    let (mint, name, end, renew, method) = if anonymous.word("api") == Some("v1") {
        // An extra key is an error.
        (
            "/iamessage/v1/authorization/unauthenticated/accessToken",
            "\",\"developerName\":\"",
            "\"}",
            "/iamessage/v1/continuityAccessToken",
            Method::Post,
        )
    } else {
        (
            "/iamessage/api/v2/authorization/unauthenticated/access-token",
            "\",\"esDeveloperName\":\"",
            "\",\"platform\":\"Web\"}",
            "/iamessage/api/v2/authorization/continuation-access-token",
            Method::Get,
        )
    };
    let body = Piece::fixed("{\"orgId\":\"")
        .then_value(org_id, Place::Json)
        .then(name)
        .then_value(deployment, Place::Json)
        .then("\",\"capabilitiesVersion\":\"")
        .then_value(&capabilities, Place::Json)
        .then(end);
    let json = || {
        vec![
            ("Accept", Piece::fixed("application/json")),
            ("Accept-Encoding", Piece::fixed("identity")),
            ("Content-Type", Piece::fixed("application/json")),
        ]
    };
    let mut renew_headers = json();
    renew_headers.push(("Authorization", authorization()));
    Ok(RecipePlan {
        obtain: CallPlan {
            method: Method::Post,
            path: Piece::fixed(mint),
            headers: json(),
            body: Some(body),
            ..CallPlan::default()
        },
        renew: Some(CallPlan {
            method,
            path: Piece::fixed(renew),
            headers: renew_headers,
            body: (method == Method::Post).then(|| Piece::fixed("{}")),
            ..CallPlan::default()
        }),
        // The calls do not say who asks: without this, all would be one person.
        subject: Piece::value(&parse("{participantUuid}")?, Place::Plain),
        conduct: Conduct::default(),
    })
}

/// `lastEventId` comes as a string or as a number.
pub(super) fn obtained(status: u16, body: &str) -> Obtained {
    match status {
        200 | 201 => {
            let Some(answer) = Object::parse(body) else { return Obtained::Failed };
            let Some(token) = answer.word("accessToken") else { return Obtained::Failed };
            let expires = jwt_expiry(&token);
            let mut grant = Credential::new([(TOKEN, token.into_owned())]);
            grant.expires = expires;
            grant.resume_from = answer.id("lastEventId").map(|id| id.into_owned());
            Obtained::Granted(grant)
        }
        401 | 403 => Obtained::Refused,
        429 => Obtained::RateLimited,
        _ => Obtained::Failed,
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::proto::backend::{Message, OptionValue, Recipe, salesforce};
    use crate::proto::template::{Variable, Variables};
    use crate::proto::time::UnixMillis;

    struct Person(&'static str);

    impl Variables for Person {
        fn value(&self, variable: &Variable) -> Option<Cow<'_, str>> {
            (*variable == Variable::ParticipantUuid).then_some(self.0.into())
        }
    }

    fn template(text: &str) -> OptionValue {
        OptionValue::Template(Template::parse(text).expect("a template"))
    }

    fn resolved(anonymous: &[(&'static str, OptionValue)], who: &'static str) -> Recipe {
        let anonymous = OptionValue::Table(Options(anonymous.iter().cloned().collect()));
        let options = [("org_id", template("00D000000000001")), ("anonymous", anonymous)];
        let options = Options(options.into_iter().collect());
        let plan = (salesforce::DIALECT.plan)(&options).expect("a plan");
        let (request, _) = plan.resolve("/", &Person(who)).expect("resolved");
        request.recipe.expect("a recipe")
    }

    fn lines(message: &Message) -> (String, Option<String>) {
        let mut text = format!("{:?} {}\n", message.method, message.target);
        for (name, value) in &message.headers {
            text.push_str(&format!("{name}: {value}\n"));
        }
        (text, message.body.clone())
    }

    const JSON: &str =
        "Accept: application/json\nAccept-Encoding: identity\nContent-Type: application/json\n";

    #[test]
    fn both_families_of_calls_are_as_the_vendor_wants_them() {
        let held = Credential::new([(TOKEN, "t1".into())]);
        let calls = |recipe: &Recipe| {
            let mint = recipe.obtain.fill(&Credential::default()).expect("filled");
            let renew = recipe.renew.as_ref().and_then(|call| call.fill(&held)).expect("filled");
            (lines(&mint), lines(&renew))
        };
        let (mint, renew) = calls(&resolved(&[("deployment", template("My \"Client\""))], "a"));
        let path = "/iamessage/api/v2/authorization";
        assert_eq!(mint.0, format!("Post {path}/unauthenticated/access-token\n{JSON}"));
        let want = r#"{"orgId":"00D000000000001","esDeveloperName":"My \"Client\"","capabilitiesVersion":"1","platform":"Web"}"#;
        assert_eq!(mint.1.as_deref(), Some(want));
        let authorized = format!("{JSON}Authorization: Bearer t1\n");
        assert_eq!(renew, (format!("Get {path}/continuation-access-token\n{authorized}"), None));

        let options = [
            ("deployment", template("Web")),
            ("capabilities", template("260")),
            ("api", OptionValue::Word("v1".into())),
        ];
        let (mint, renew) = calls(&resolved(&options, "a"));
        let path = "/iamessage/v1";
        assert_eq!(
            mint.0,
            format!("Post {path}/authorization/unauthenticated/accessToken\n{JSON}")
        );
        let want =
            r#"{"orgId":"00D000000000001","developerName":"Web","capabilitiesVersion":"260"}"#;
        assert_eq!(mint.1.as_deref(), Some(want));
        let want = format!("Post {path}/continuityAccessToken\n{authorized}");
        assert_eq!(renew, (want, Some("{}".to_owned())));
    }

    #[test]
    fn two_people_never_share_a_subject() {
        let options = [("deployment", template("Web"))];
        assert!(resolved(&options, "a") == resolved(&options, "a"));
        assert!(resolved(&options, "a") != resolved(&options, "b"));
    }

    #[test]
    fn answers_are_read_in_all_their_forms() {
        // {"exp":1790000000}
        let body = |id: &str| {
            format!(r#"{{"accessToken":"e30.eyJleHAiOjE3OTAwMDAwMDB9.s","lastEventId":{id}}}"#)
        };
        for (id, want) in [("\"500\"", Some("500")), ("500", Some("500")), ("null", None)] {
            let Obtained::Granted(grant) = obtained(200, &body(id)) else { panic!("granted") };
            assert_eq!(grant.resume_from.as_deref(), want, "{id}");
            assert_eq!(grant.expires, Some(UnixMillis(1_790_000_000_000)));
            assert_eq!(grant.value(TOKEN), Some("e30.eyJleHAiOjE3OTAwMDAwMDB9.s"));
        }
        assert!(matches!(obtained(200, "{}"), Obtained::Failed));
        assert!(matches!(obtained(200, "<html>"), Obtained::Failed));
        assert!(matches!(obtained(401, "Jwt is expired"), Obtained::Refused));
        assert!(matches!(obtained(401, r#"{"status":401}"#), Obtained::Refused));
        assert!(matches!(obtained(429, ""), Obtained::RateLimited));
        assert!(matches!(obtained(400, "{}"), Obtained::Failed));
    }
}
