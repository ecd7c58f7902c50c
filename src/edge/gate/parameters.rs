//! What a client asks for: the query parameters of a stream, checked.
//!
//! Past this point every value is present, bounded and of its type. Not here: credentials,
//! parameters that only sources read (`values`).

use std::borrow::Cow;

use http::HeaderMap;

use super::query::{Query, Unreadable};
use crate::edge::refusal::{Fault, Named, Refusal};
use crate::proto::cursor::Cursor;
use crate::proto::event::{TypeSet, Vocabulary};

/// Longer ids are no names of anything and would only fill tables.
pub(crate) const ID_BYTES_MAX: usize = 1024;

/// Bounds of `heartbeatSeconds`, whatever a route says.
const HEARTBEAT_SECS_MIN: i64 = 1;
const HEARTBEAT_SECS_MAX: i64 = 300;

const LAST_EVENT_ID: &str = "last-event-id";

/// Where a client wants to go on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Resume {
    /// It is new.
    Fresh,
    /// After this event.
    After(Cursor),
    /// After an event that nobody here has named: a `gap` has to be told.
    Unreadable,
}

/// The parameters of a stream.
pub(super) struct Parameters {
    pub(super) tenant: String,
    pub(super) workflow: String,
    pub(super) participant: String,
    pub(super) scope: Option<Box<str>>,
    /// Invariant: 1 to 300.
    pub(super) heartbeat_secs: Option<u64>,
    pub(super) types: TypeSet,
    pub(super) vocabulary: Option<Vocabulary>,
    pub(super) resume: Resume,
}

impl Parameters {
    /// Reads them. `tenant` is the one that the credential names.
    pub(super) fn parse(
        query: Query<'_>,
        headers: &HeaderMap,
        tenant: Option<Cow<'_, str>>,
    ) -> Result<Self, Refusal> {
        let workflow = required(optional(query, "workflow")?, "workflow")?;
        let participant = required(optional(query, "participantId")?, "participantId")?;
        let tenant = required(optional(query, "tenantId")?.or(tenant), "tenantId")?;
        let scope = optional(query, "scope")?;
        read(query, "errors")?;
        Ok(Self {
            tenant,
            workflow,
            participant,
            scope: scope.map(|scope| scope.into_owned().into_boxed_str()),
            heartbeat_secs: heartbeat(query)?,
            types: types(query)?,
            vocabulary: vocabulary(query)?,
            resume: resume(query, headers)?,
        })
    }
}

pub(super) fn bad(name: &'static str, fault: Fault) -> Refusal {
    Refusal::Bad(Named::Parameter(Cow::Borrowed(name)), fault)
}

/// A value of any length.
fn read_long<'a>(query: Query<'a>, name: &'static str) -> Result<Option<Cow<'a, str>>, Refusal> {
    let value = query.get(name).transpose();
    value.map_err(|Unreadable| bad(name, Fault::Unreadable))
}

fn read<'a>(query: Query<'a>, name: &'static str) -> Result<Option<Cow<'a, str>>, Refusal> {
    let value = read_long(query, name)?;
    if value.as_ref().is_some_and(|value| value.len() > ID_BYTES_MAX) {
        return Err(bad(name, Fault::TooLong { bytes_max: ID_BYTES_MAX }));
    }
    Ok(value)
}

/// An empty value is as good as none.
pub(super) fn optional<'a>(
    query: Query<'a>,
    name: &'static str,
) -> Result<Option<Cow<'a, str>>, Refusal> {
    Ok(read(query, name)?.filter(|value| !value.is_empty()))
}

pub(super) fn required(value: Option<Cow<'_, str>>, name: &'static str) -> Result<String, Refusal> {
    let value = value.ok_or_else(|| bad(name, Fault::Missing))?;
    if value.len() > ID_BYTES_MAX {
        return Err(bad(name, Fault::TooLong { bytes_max: ID_BYTES_MAX }));
    }
    if value.chars().any(char::is_control) {
        return Err(bad(name, Fault::Control));
    }
    Ok(value.into_owned())
}

fn heartbeat(query: Query<'_>) -> Result<Option<u64>, Refusal> {
    let secs = read_integer(query, "heartbeatSeconds")?;
    Ok(secs.map(|secs| secs.clamp(HEARTBEAT_SECS_MIN, HEARTBEAT_SECS_MAX).unsigned_abs()))
}

/// A whole number, of any length; what does not fit is the nearest that does.
pub(super) fn read_integer(query: Query<'_>, name: &'static str) -> Result<Option<i64>, Refusal> {
    let text = read_long(query, name)?;
    text.map(|text| integer(&text).ok_or_else(|| bad(name, Fault::NotInteger))).transpose()
}

/// Reads an integer of any length, with or without a sign; what does not fit is the nearest.
fn integer(text: &str) -> Option<i64> {
    let (is_negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: i64 = digits.parse().unwrap_or(i64::MAX);
    Some(if is_negative { -number } else { number })
}

fn types(query: Query<'_>) -> Result<TypeSet, Refusal> {
    const NAME: &str = "types";
    let list = read(query, NAME)?.unwrap_or_default();
    TypeSet::parse(&list).map_err(|name| bad(NAME, Fault::NotMessageType(name)))
}

fn vocabulary(query: Query<'_>) -> Result<Option<Vocabulary>, Refusal> {
    const NAME: &str = "vocabulary";
    match read(query, NAME)?.as_deref() {
        None => Ok(None),
        Some("full") => Ok(Some(Vocabulary::Full)),
        Some("core") => Ok(Some(Vocabulary::Core)),
        Some(_) => Err(bad(NAME, Fault::NotVocabulary)),
    }
}

/// The header wins, if it says anything. A cursor that is none of ours is no fault of the
/// client's, however long: the stream opens, and says what may be missing.
fn resume(query: Query<'_>, headers: &HeaderMap) -> Result<Resume, Refusal> {
    const NAME: &str = "lastEventId";
    let header = headers.get(LAST_EVENT_ID).map(|value| value.as_bytes().trim_ascii());
    let header = header.filter(|value| !value.is_empty());
    let cursor = if let Some(header) = header {
        std::str::from_utf8(header).ok().and_then(Cursor::parse)
    } else {
        let text = read_long(query, NAME)?.filter(|text| !text.is_empty());
        let Some(text) = text else {
            return Ok(Resume::Fresh);
        };
        Cursor::parse(&text)
    };
    Ok(cursor.map_or(Resume::Unreadable, Resume::After))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;
    use crate::proto::event::MessageType;

    const IDS: &str = "workflow=w&participantId=p&tenantId=t";

    fn parse(query: &str) -> Result<Parameters, Refusal> {
        Parameters::parse(Query::new(query), &HeaderMap::new(), None)
    }

    #[track_caller]
    fn check_bad(query: &str, name: &str, fault: &Fault) {
        let Err(Refusal::Bad(Named::Parameter(got), got_fault)) = parse(query) else {
            panic!("{query} is not refused");
        };
        assert_eq!((got.as_ref(), &got_fault), (name, fault), "{query}");
    }

    #[test]
    fn the_three_ids_must_be_there() {
        let parameters = parse("tenantId=a%20b&workflow=x:y&participantId=p%C3%A9").map_err(|_| ());
        let parameters = parameters.expect("parameters");
        assert_eq!(parameters.tenant, "a b");
        assert_eq!(parameters.workflow, "x:y");
        assert_eq!(parameters.participant, "pé");
        check_bad("", "workflow", &Fault::Missing);
        check_bad("workflow=&workflow=w&participantId=p&tenantId=t", "workflow", &Fault::Missing);
        check_bad("workflow=w", "participantId", &Fault::Missing);
        check_bad("workflow=w&participantId=", "participantId", &Fault::Missing);
        check_bad("workflow=w&participantId=p", "tenantId", &Fault::Missing);
        check_bad("Workflow=w&participantId=p&tenantId=t", "workflow", &Fault::Missing);
    }

    #[test]
    fn the_credential_can_name_the_tenant() {
        let parse = |query: &str, tenant: &'static str| {
            let tenant = Some(Cow::Borrowed(tenant));
            Parameters::parse(Query::new(query), &HeaderMap::new(), tenant).map(|got| got.tenant)
        };
        assert_eq!(parse("workflow=w&participantId=p", "acme"), Ok("acme".to_owned()));
        assert_eq!(parse("workflow=w&participantId=p&tenantId=", "acme"), Ok("acme".to_owned()));
        assert_eq!(parse("workflow=w&participantId=p&tenantId=x", "acme"), Ok("x".to_owned()));
        let bad = bad("tenantId", Fault::Control);
        assert_eq!(parse("workflow=w&participantId=p", "a\nb"), Err(bad));
    }

    #[test]
    fn broken_values_are_refused_by_name() {
        for name in ["workflow", "participantId", "tenantId"] {
            let others = IDS.replace(&format!("{name}="), "x=");
            for control in ["%00", "a%0Ab", "%0D", "%7F", "%C2%85", "a%09"] {
                check_bad(&format!("{name}={control}&{others}"), name, &Fault::Control);
            }
            check_bad(&format!("{name}=%ff&{others}"), name, &Fault::Unreadable);
            check_bad(&format!("{name}=%4&{others}"), name, &Fault::Unreadable);
            let long = "x".repeat(ID_BYTES_MAX + 1);
            let fault = Fault::TooLong { bytes_max: ID_BYTES_MAX };
            check_bad(&format!("{name}={long}&{others}"), name, &fault);
            let fits = "%C3%A9".repeat(ID_BYTES_MAX / 2);
            assert!(parse(&format!("{name}={fits}&{others}")).is_ok());
        }
        for name in ["scope", "types", "vocabulary", "heartbeatSeconds", "lastEventId", "errors"] {
            check_bad(&format!("{IDS}&{name}=%zz"), name, &Fault::Unreadable);
        }
        assert!(parse(&format!("{IDS}&unknown=%zz")).is_ok());
    }

    #[test]
    fn the_contract_tells_of_what_is_read_here() {
        use crate::proto::contract::{Kind, PARAMETERS};
        for parameter in PARAMETERS.iter().filter(|one| one.kind != Kind::Credential) {
            let name = parameter.name;
            let others = format!("&{IDS}").replace(&format!("&{name}="), "&x=");
            check_bad(&format!("{name}=%zz{others}"), name, &Fault::Unreadable);
            let refused = parse(&others).is_err();
            // The tenant may come with the credential.
            assert_eq!(refused, parameter.is_required || name == "tenantId", "{name}");
            let (min, max) = (HEARTBEAT_SECS_MIN, HEARTBEAT_SECS_MAX);
            if let Kind::Int { min: told_min, max: told_max } = parameter.kind {
                assert_eq!((told_min, told_max), (min.unsigned_abs(), max.unsigned_abs()));
            }
        }
    }

    #[track_caller]
    fn check_heartbeat(text: &str, want: Option<u64>) {
        let got = parse(&format!("{IDS}&heartbeatSeconds={text}"));
        match (got, want) {
            (Ok(got), Some(want)) => assert_eq!(got.heartbeat_secs, Some(want), "{text}"),
            (Err(refusal), None) => assert_eq!(refusal, bad("heartbeatSeconds", Fault::NotInteger)),
            (got, _) => panic!("{text}: {:?}", got.map(|got| got.heartbeat_secs)),
        }
    }

    #[test]
    fn heartbeats_are_clamped_integers() {
        for (text, want) in [
            ("1", 1),
            ("5", 5),
            ("300", 300),
            ("007", 7),
            ("%2B7", 7),
            ("0", 1),
            ("-0", 1),
            ("-5", 1),
            ("301", 300),
            ("9223372036854775808", 300),
            ("-9223372036854775808", 1),
            ("1234567890123456789012345678901234567890", 300),
            ("-1234567890123456789012345678901234567890", 1),
            ("0000000000000000000000000000000000000000009", 9),
            (&"9".repeat(5000), 300),
            (&format!("-{}", "9".repeat(5000)), 1),
        ] {
            check_heartbeat(text, Some(want));
        }
        for text in [
            "", "-", "%2B", "5.0", "5s", "1e2", "0x5", "%205", "5%20", "+5", "--5", "%2B-5", "५",
            "5%00",
        ] {
            check_heartbeat(text, None);
        }
        assert_eq!(parse(IDS).ok().and_then(|got| got.heartbeat_secs), None);
    }

    #[test]
    fn types_and_vocabulary_are_known_words() {
        let with = |more: &str| parse(&format!("{IDS}&{more}"));
        let set = with("types=Chat,%20Typing").map(|got| got.types).map_err(|_| ()).expect("types");
        assert!(set.contains(MessageType::Typing) && !set.contains(MessageType::Raw));
        assert_eq!(with("types=").map(|got| got.types), Ok(TypeSet::ALL));
        check_bad(
            &format!("{IDS}&types=Chat,chat"),
            "types",
            &Fault::NotMessageType("chat".to_owned()),
        );
        check_bad(
            &format!("{IDS}&types=heartbeat"),
            "types",
            &Fault::NotMessageType("heartbeat".to_owned()),
        );
        assert_eq!(with("vocabulary=core").map(|got| got.vocabulary), Ok(Some(Vocabulary::Core)));
        assert_eq!(with("vocabulary=full").map(|got| got.vocabulary), Ok(Some(Vocabulary::Full)));
        for word in ["", "Core", "all"] {
            check_bad(&format!("{IDS}&vocabulary={word}"), "vocabulary", &Fault::NotVocabulary);
        }
    }

    #[test]
    fn an_empty_scope_is_no_filter() {
        let scope = |more: &str| parse(&format!("{IDS}{more}")).map(|got| got.scope);
        assert_eq!(scope(""), Ok(None));
        assert_eq!(scope("&scope="), Ok(None));
        assert_eq!(scope("&scope=Billing"), Ok(Some("Billing".into())));
    }

    #[track_caller]
    fn check_resume(header: Option<&[u8]>, query: &str, want: Resume) {
        let mut headers = HeaderMap::new();
        if let Some(value) = header {
            headers.insert(LAST_EVENT_ID, HeaderValue::from_bytes(value).expect("a value"));
        }
        let query = format!("{IDS}{query}");
        let got = Parameters::parse(Query::new(&query), &headers, None).map(|got| got.resume);
        assert_eq!(got, Ok(want), "{query}");
    }

    #[test]
    fn the_header_names_the_last_event_before_the_query_does() {
        let cursor = |text| Resume::After(Cursor::parse(text).expect("a cursor"));
        let long = b"1".repeat(100_000);
        check_resume(None, "", Resume::Fresh);
        check_resume(None, "&lastEventId=", Resume::Fresh);
        check_resume(None, "&lastEventId=1.1.2", cursor("1.1.2"));
        check_resume(Some(b"1.1.3"), "&lastEventId=1.1.2", cursor("1.1.3"));
        check_resume(Some(b""), "&lastEventId=1.1.2", cursor("1.1.2"));
        check_resume(Some(b"junk"), "&lastEventId=1.1.2", Resume::Unreadable);
        check_resume(Some(b"junk"), "&lastEventId=%zz", Resume::Unreadable);
        check_resume(Some(b"\xff"), "", Resume::Unreadable);
        check_resume(Some(&long), "", Resume::Unreadable);
        check_resume(None, "&lastEventId=0", Resume::Unreadable);
        check_resume(None, &format!("&lastEventId={}", "x".repeat(5000)), Resume::Unreadable);
    }
}
