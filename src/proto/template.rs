//! Text with holes that a client's request fills: `{participantId}`, `{query.token}`, ...
//!
//! A value is encoded for the place it goes to, so it can never leave its path segment, its
//! parameter or its header. Not here: where values come from (`edge::gate`), which requests are
//! made of them (`backend::dialect`).

use std::borrow::Cow;
use std::fmt;

use super::json;
use super::secret::Secret;

/// A hole in a template.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Variable {
    /// `{tenantId}`
    TenantId,
    /// `{workflow}`: the workflow type.
    Workflow,
    /// `{workflowId}`: the tenant in front.
    WorkflowId,
    /// `{participantId}`
    ParticipantId,
    /// `{participantUuid}`: a UUID that is always the same for one tenant's participant.
    ParticipantUuid,
    /// `{query.NAME}`
    Query(String),
    /// `{header.NAME}`, lower case.
    Header(String),
    /// `{claim.NAME}`: a claim of the client's token.
    Claim(String),
}

impl Variable {
    /// What may stand between braces, for error messages.
    pub const HELP: &'static str = "tenantId, workflow, workflowId, participantId, \
         participantUuid, query.NAME, header.NAME, claim.NAME";

    fn parse(name: &str) -> Option<Self> {
        let simple = match name {
            "tenantId" => Some(Self::TenantId),
            "workflow" => Some(Self::Workflow),
            "workflowId" => Some(Self::WorkflowId),
            "participantId" => Some(Self::ParticipantId),
            "participantUuid" => Some(Self::ParticipantUuid),
            _ => None,
        };
        if simple.is_some() {
            return simple;
        }
        let (kind, rest) = name.split_once('.')?;
        let is_name = |c: char| c.is_ascii_alphanumeric() || "-_.:/".contains(c);
        if rest.is_empty() || !rest.chars().all(is_name) {
            return None;
        }
        match kind {
            "query" => Some(Self::Query(rest.to_owned())),
            "header" => Some(Self::Header(rest.to_ascii_lowercase())),
            "claim" => Some(Self::Claim(rest.to_owned())),
            _ => None,
        }
    }
}

impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TenantId => f.write_str("tenantId"),
            Self::Workflow => f.write_str("workflow"),
            Self::WorkflowId => f.write_str("workflowId"),
            Self::ParticipantId => f.write_str("participantId"),
            Self::ParticipantUuid => f.write_str("participantUuid"),
            Self::Query(name) => write!(f, "query.{name}"),
            Self::Header(name) => write!(f, "header.{name}"),
            Self::Claim(name) => write!(f, "claim.{name}"),
        }
    }
}

/// What a client's request brings.
pub trait Variables {
    /// The value of a hole; `None` or empty = the client did not say.
    fn value(&self, variable: &Variable) -> Option<Cow<'_, str>>;
}

/// Where a value goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// One segment of a path.
    Segment,
    /// The value of a query parameter.
    Query,
    /// The value of a header.
    Header,
    /// Between double quotes in a header.
    Quoted,
    /// Between double quotes in JSON.
    Json,
    /// Nowhere on the wire: as it is.
    Plain,
}

/// Why a template gave no text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResolveError {
    /// The client did not send this.
    Missing(Variable),
    /// The client sent something that cannot stand there.
    Unfit(Variable),
}

impl ResolveError {
    /// The hole it is about.
    #[must_use]
    pub const fn variable(&self) -> &Variable {
        match self {
            Self::Missing(variable) | Self::Unfit(variable) => variable,
        }
    }
}

/// Why a template cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplateError {
    /// `{` without `}`.
    Unclosed,
    /// No such hole; holds what stood between the braces.
    UnknownVariable(String),
}

impl fmt::Display for TemplateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unclosed => f.write_str("a `{` is never closed; write `{{` for a literal brace"),
            Self::UnknownVariable(name) => {
                write!(f, "`{{{name}}}` names nothing; known are {}", Variable::HELP)
            }
        }
    }
}

/// Text with holes. No `Debug`: its literals may be secrets.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Template {
    parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
enum Part {
    Literal(Secret),
    Variable(Variable),
}

impl Template {
    /// Reads `text{hole}text`; `{{` and `}}` stand for braces.
    ///
    /// # Errors
    /// An unclosed brace, or a hole of unknown name.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, brace) = rest.split_at(at);
            literal.push_str(before);
            let after = brace.get(1..).unwrap_or_default();
            let is_open = brace.starts_with('{');
            if let Some(after) = after.strip_prefix(if is_open { '{' } else { '}' }) {
                literal.push(if is_open { '{' } else { '}' });
                rest = after;
            } else if is_open {
                let (name, after) = after.split_once('}').ok_or(TemplateError::Unclosed)?;
                let variable = Variable::parse(name)
                    .ok_or_else(|| TemplateError::UnknownVariable(name.to_owned()))?;
                if !literal.is_empty() {
                    parts.push(Part::Literal(Secret::new(std::mem::take(&mut literal))));
                }
                parts.push(Part::Variable(variable));
                rest = after;
            } else {
                literal.push('}');
                rest = after;
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            parts.push(Part::Literal(Secret::new(literal)));
        }
        Ok(Self { parts })
    }

    /// Text without holes, whatever it holds.
    #[must_use]
    pub fn literal(text: Secret) -> Self {
        Self { parts: vec![Part::Literal(text)] }
    }

    /// The holes, in order.
    pub fn variables(&self) -> impl Iterator<Item = &Variable> {
        self.parts.iter().filter_map(|part| match part {
            Part::Variable(variable) => Some(variable),
            Part::Literal(_) => None,
        })
    }

    /// Whether it is the same for every client.
    #[must_use]
    pub fn is_constant(&self) -> bool {
        self.variables().next().is_none()
    }

    /// Fills the holes, each value encoded for its place.
    ///
    /// # Errors
    /// A value that is absent, empty, or cannot stand there.
    pub fn resolve(&self, variables: &dyn Variables, place: Place) -> Result<String, ResolveError> {
        let mut out = String::new();
        for part in &self.parts {
            match part {
                Part::Literal(text) => write_encoded(&mut out, text.reveal(), place),
                Part::Variable(variable) => {
                    let value = variables
                        .value(variable)
                        .filter(|value| !value.is_empty())
                        .ok_or_else(|| ResolveError::Missing(variable.clone()))?;
                    if !is_fit(&value, place) {
                        return Err(ResolveError::Unfit(variable.clone()));
                    }
                    write_encoded(&mut out, &value, place);
                }
            }
        }
        // `..` may also come out of two holes side by side.
        if place == Place::Segment && matches!(out.as_str(), "." | "..") {
            let first = self.variables().next();
            return Err(ResolveError::Unfit(first.cloned().unwrap_or(Variable::ParticipantId)));
        }
        Ok(out)
    }
}

/// Longer values are no identifiers of anything and would only fill tables.
const VALUE_BYTES_MAX: usize = 8 * 1024;

/// Whether a value can stand there at all.
pub(super) fn is_fit(value: &str, place: Place) -> bool {
    if value.len() > VALUE_BYTES_MAX {
        return false;
    }
    match place {
        Place::Header | Place::Quoted => !value.chars().any(char::is_control),
        Place::Segment | Place::Query | Place::Json | Place::Plain => true,
    }
}

/// Appends the value, encoded for its place.
pub(super) fn write_encoded(out: &mut String, value: &str, place: Place) {
    match place {
        Place::Plain | Place::Header => out.push_str(value),
        Place::Quoted => {
            for c in value.chars() {
                match c {
                    '"' => out.push_str("%22"),
                    '\\' => out.push_str("%5C"),
                    c => out.push(c),
                }
            }
        }
        Place::Json => json::push_escaped(out, value),
        Place::Segment | Place::Query => percent_encode(out, value),
    }
}

/// Appends the value with all but RFC 3986's unreserved characters as `%XX`.
pub fn percent_encode(out: &mut String, value: &str) {
    const HEX: &[u8; 16] = b"0123456789ABCDEF";
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push('%');
            for nibble in [byte >> 4, byte & 15] {
                out.push(char::from(HEX.get(usize::from(nibble)).copied().unwrap_or(b'0')));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Values;

    impl Variables for Values {
        fn value(&self, variable: &Variable) -> Option<Cow<'_, str>> {
            match variable {
                Variable::TenantId => Some("acme".into()),
                Variable::ParticipantId => Some("a/../b?x=1&y\"\r\nz: é".into()),
                Variable::Query(name) if name == "dots" => Some("..".into()),
                Variable::Query(name) if name == "dot" => Some(".".into()),
                Variable::Header(name) if name == "x-id" => Some("q\"\\".into()),
                Variable::Query(name) if name == "empty" => Some("".into()),
                _ => None,
            }
        }
    }

    #[track_caller]
    fn check(template: &str, place: Place, want: Result<&str, &str>) {
        let template = Template::parse(template).expect("a template");
        let got = template.resolve(&Values, place);
        match (got, want) {
            (Ok(got), Ok(want)) => assert_eq!(got, want),
            (Err(error), Err(want)) => assert_eq!(error.variable().to_string(), want),
            (got, want) => panic!("{got:?} is not {want:?}"),
        }
    }

    #[test]
    fn values_stay_in_their_place() {
        check(
            "{participantId}",
            Place::Segment,
            Ok("a%2F..%2Fb%3Fx%3D1%26y%22%0D%0Az%3A%20%C3%A9"),
        );
        check("x{tenantId}y", Place::Query, Ok("xacmey"));
        check("{header.X-Id}", Place::Quoted, Ok("q%22%5C"));
        check("{participantId}", Place::Header, Err("participantId"));
        check("{query.dots}", Place::Segment, Err("query.dots"));
        check("{query.dot}{query.dot}", Place::Segment, Err("query.dot"));
        check("{{{tenantId}}}", Place::Plain, Ok("{acme}"));
    }

    #[test]
    fn absent_and_empty_values_are_missing() {
        check("{query.token}", Place::Query, Err("query.token"));
        check("{query.empty}", Place::Query, Err("query.empty"));
    }

    #[test]
    fn bad_templates_say_what_is_known() {
        assert_eq!(Template::parse("{x").err(), Some(TemplateError::Unclosed));
        let error = Template::parse("{tenant}").err().expect("refused");
        assert!(error.to_string().contains("tenantId"), "{error}");
        assert!(Template::parse("{query.}").is_err());
    }
}
