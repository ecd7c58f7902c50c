//! Whose streams are meant, as operators say it and as nodes tell each other.
//!
//! Not here: which streams those are (`edge::streams`).

use serde_json::{Map, Value};

use crate::edge::strict;
use crate::proto::event::Subscription;

/// Whose streams are meant. What is not said is not looked at.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Whose {
    /// The `sub` of a token.
    pub(crate) subject: Option<String>,
    /// The issuer of a token.
    pub(crate) issuer: Option<String>,
    /// The label of an API key.
    pub(crate) key: Option<String>,
    /// The tenant of the stream.
    pub(crate) tenant: Option<String>,
    /// The participant of the stream.
    pub(crate) participant: Option<String>,
}

/// By what a stream was opened, as far as somebody can be meant by it.
#[derive(Clone, Copy, Default)]
pub(super) struct Opener<'a> {
    /// The label of an API key.
    pub(super) key: Option<&'a str>,
    /// The issuer of a token.
    pub(super) issuer: Option<&'a str>,
    /// The `sub` of a token.
    pub(super) subject: Option<&'a str>,
}

impl Whose {
    /// Reads the JSON form: texts by name. A name that is not known is refused: who mistypes one
    /// must not end more than was meant.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        let mut whose = Self::default();
        for (name, value) in strict::object(text)? {
            let slot = match name.as_str() {
                "subject" => &mut whose.subject,
                "issuer" => &mut whose.issuer,
                "key" => &mut whose.key,
                "tenantId" => &mut whose.tenant,
                "participantId" => &mut whose.participant,
                _ => return None,
            };
            let Value::String(text) = value else {
                return None;
            };
            *slot = Some(text);
        }
        let is_person = whose.participant.is_some() && whose.tenant.is_some();
        let is_enough = whose.subject.is_some() || whose.key.is_some() || is_person;
        let is_half = whose.participant.is_some() && whose.tenant.is_none();
        (is_enough && !is_half).then_some(whose)
    }

    /// The JSON form.
    pub(crate) fn to_json(&self) -> Value {
        let named = [
            ("subject", &self.subject),
            ("issuer", &self.issuer),
            ("key", &self.key),
            ("tenantId", &self.tenant),
            ("participantId", &self.participant),
        ];
        let said = named.into_iter().filter_map(|(name, text)| {
            text.as_ref().map(|text| (name.to_owned(), Value::from(text.as_str())))
        });
        Value::Object(said.collect::<Map<_, _>>())
    }

    /// Whether this stream is one of those that are meant.
    pub(super) fn is_meant(&self, opener: Opener<'_>, subscription: &Subscription) -> bool {
        let is = |want: &Option<String>, text: Option<&str>| {
            want.as_deref().is_none_or(|want| text == Some(want))
        };
        is(&self.key, opener.key)
            && is(&self.issuer, opener.issuer)
            && is(&self.subject, opener.subject)
            && is(&self.tenant, Some(&subscription.tenant_id))
            && is(&self.participant, Some(&subscription.participant_id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(body: &str, want: Option<&Whose>) {
        let read = Whose::parse(body.as_bytes());
        assert_eq!(read.as_ref(), want, "{body}");
        if let Some(whose) = read {
            let told = whose.to_json().to_string();
            assert_eq!(Whose::parse(told.as_bytes()), Some(whose), "{told}");
        }
    }

    #[test]
    fn whose_streams_are_meant_must_be_plain() {
        let text = |text: &str| Some(text.to_owned());
        check(r#"{"key":"k"}"#, Some(&Whose { key: text("k"), ..Whose::default() }));
        let token = Whose { subject: text("s"), issuer: text("i"), ..Whose::default() };
        check(r#"{"subject":"s","issuer":"i"}"#, Some(&token));
        let person = Whose { tenant: text("t"), participant: text("p"), ..Whose::default() };
        check(r#"{"tenantId":"t","participantId":"p"}"#, Some(&person));
        for body in [
            "",
            "{}",
            "[]",
            "null",
            r#"{"tenantId":"t"}"#,
            r#"{"participantId":"p"}"#,
            r#"{"issuer":"i"}"#,
            r#"{"key":"k","participantId":"p"}"#,
            r#"{"subject":null}"#,
            r#"{"subject":1}"#,
            r#"{"subject":["s"]}"#,
            r#"{"subject":"s","tenant":"t"}"#,
            r#"{"subject":"s","subject":"other"}"#,
        ] {
            check(body, None);
        }
    }
}
