//! A request to a backend, in three steps: planned, resolved with a client's values, filled.
//!
//! Planned: pieces of fixed text and templates. Resolved: text, but for holes that only the
//! backend itself can fill (a token, the id of a chat); two resolved calls that are equal ask
//! for the same. Filled: what is sent. Values are encoded for their place in every step.
//! Not here: which calls there are (`dialect`, `credentials`), sending (`edge::upstream`).

use std::sync::Arc;

use super::credentials::Credential;
use crate::proto::template::{Place, ResolveError, Template, Variables, is_fit, write_encoded};

/// Text for one place of a request: fixed pieces, encoded values, holes.
#[derive(Clone, Default)]
pub struct Piece(Vec<PiecePart>);

#[derive(Clone)]
enum PiecePart {
    Fixed(&'static str),
    Value(Template, Place),
    Made(Arc<Make>),
    Hole(&'static str, Place),
}

/// Makes text, encoded for its place, out of what a client's request brings.
type Make = dyn Fn(&dyn Variables) -> Result<String, ResolveError> + Send + Sync;

impl Piece {
    /// Only fixed text.
    #[must_use]
    pub fn fixed(text: &'static str) -> Self {
        Self(vec![PiecePart::Fixed(text)])
    }

    /// Only a value.
    #[must_use]
    pub fn value(template: &Template, place: Place) -> Self {
        Self(vec![PiecePart::Value(template.clone(), place)])
    }

    /// Text that no template can express; the function encodes it for its place.
    #[must_use]
    pub fn made(
        make: impl Fn(&dyn Variables) -> Result<String, ResolveError> + Send + Sync + 'static,
    ) -> Self {
        Self(vec![PiecePart::Made(Arc::new(make))])
    }

    /// Only what the backend gives under this name ([`Credential`]).
    #[must_use]
    pub fn hole(name: &'static str, place: Place) -> Self {
        Self(vec![PiecePart::Hole(name, place)])
    }

    /// Fixed text after what is there.
    #[must_use]
    pub fn then(mut self, text: &'static str) -> Self {
        self.0.push(PiecePart::Fixed(text));
        self
    }

    /// A value after what is there.
    #[must_use]
    pub fn then_value(mut self, template: &Template, place: Place) -> Self {
        self.0.push(PiecePart::Value(template.clone(), place));
        self
    }

    /// What another piece says after what is there.
    #[must_use]
    pub fn then_piece(mut self, piece: Self) -> Self {
        self.0.extend(piece.0);
        self
    }

    fn resolve(&self, variables: &dyn Variables) -> Result<Line, ResolveError> {
        let mut line = Line::default();
        for part in &self.0 {
            match part {
                PiecePart::Fixed(text) => line.push(text),
                PiecePart::Value(template, place) => {
                    line.push(&template.resolve(variables, *place)?);
                }
                PiecePart::Made(make) => line.push(&make(variables)?),
                PiecePart::Hole(name, place) => line.0.push(LinePart::Hole(name, *place)),
            }
        }
        Ok(line)
    }

    /// The text of a piece without holes.
    ///
    /// # Errors
    /// A value that is absent or cannot stand where it is wanted.
    pub(super) fn text(&self, variables: &dyn Variables) -> Result<String, ResolveError> {
        // What has holes has no text before a backend fills them.
        Ok(self.resolve(variables)?.fill(&Credential::default()).unwrap_or_default())
    }
}

/// Text with holes that the backend fills. No `Debug`: it may hold credentials.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
struct Line(Vec<LinePart>);

#[derive(Clone, PartialEq, Eq, Hash)]
enum LinePart {
    Text(String),
    Hole(&'static str, Place),
}

impl Line {
    fn push(&mut self, text: &str) {
        if let Some(LinePart::Text(last)) = self.0.last_mut() {
            last.push_str(text);
        } else {
            self.0.push(LinePart::Text(text.to_owned()));
        }
    }

    fn append(&mut self, other: Self) {
        for part in other.0 {
            match part {
                LinePart::Text(text) => self.push(&text),
                LinePart::Hole(..) => self.0.push(part),
            }
        }
    }

    fn fill(&self, grant: &Credential) -> Option<String> {
        let mut out = String::new();
        for part in &self.0 {
            match part {
                LinePart::Text(text) => out.push_str(text),
                LinePart::Hole(name, place) => {
                    let value = grant.value(name)?;
                    // A backend is not trusted to stay in its place either.
                    let is_dots = *place == Place::Segment && matches!(value, "." | "..");
                    if !is_fit(value, *place) || is_dots {
                        return None;
                    }
                    write_encoded(&mut out, value, *place);
                }
            }
        }
        Some(out)
    }
}

/// A request's method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Method {
    /// `GET`
    #[default]
    Get,
    /// `POST`
    Post,
}

/// A request as a dialect plans it.
#[derive(Clone, Default)]
pub struct CallPlan {
    /// How.
    pub method: Method,
    /// Appended to the path of the source's `url`; starts with `/`.
    pub path: Piece,
    /// Query parameters, names as they are sent.
    pub query: Vec<(&'static str, Piece)>,
    /// A query parameter that differs on every attempt (milliseconds).
    pub fresh_query: Option<&'static str>,
    /// Request headers in order; `Host` is added, and the length of a body. Exact: nothing else
    /// is sent.
    pub headers: Vec<(&'static str, Piece)>,
    /// The body, for a POST.
    pub body: Option<Piece>,
}

impl CallPlan {
    /// Fills in a client's values. `base_path` is the path of the source's `url`.
    ///
    /// # Errors
    /// A value that is absent or cannot stand where it is wanted.
    pub fn resolve(
        &self,
        base_path: &str,
        variables: &dyn Variables,
    ) -> Result<Call, ResolveError> {
        let mut target = Line::default();
        target.push(base_path.trim_end_matches('/'));
        target.append(self.path.resolve(variables)?);
        for (index, (name, piece)) in self.query.iter().enumerate() {
            target.push(if index == 0 { "?" } else { "&" });
            target.push(name);
            target.push("=");
            target.append(piece.resolve(variables)?);
        }
        let mut headers = Vec::with_capacity(self.headers.len());
        for (name, piece) in &self.headers {
            headers.push((*name, piece.resolve(variables)?));
        }
        Ok(Call {
            method: self.method,
            target,
            has_query: !self.query.is_empty(),
            fresh_query: self.fresh_query,
            headers,
            body: self.body.as_ref().map(|body| body.resolve(variables)).transpose()?,
        })
    }
}

/// A request with a client's values in it. Equal calls ask for the same.
/// No `Debug`: it holds credentials.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Call {
    method: Method,
    /// Path and query, without the fresh parameter.
    target: Line,
    has_query: bool,
    fresh_query: Option<&'static str>,
    headers: Vec<(&'static str, Line)>,
    body: Option<Line>,
}

impl Call {
    /// Whether it wants something of this name.
    #[must_use]
    pub fn has_hole(&self, name: &str) -> bool {
        let headers = self.headers.iter().map(|(_, line)| line);
        let lines = headers.chain([&self.target]).chain(&self.body);
        let mut parts = lines.flat_map(|line| &line.0);
        parts.any(|part| matches!(part, LinePart::Hole(hole, _) if *hole == name))
    }

    /// What is sent once the backend gave its part; `None` if that lacks a value, or has one
    /// that cannot stand where it is wanted.
    #[must_use]
    pub fn fill(&self, grant: &Credential) -> Option<Message> {
        let mut headers = Vec::with_capacity(self.headers.len());
        for (name, line) in &self.headers {
            headers.push((*name, line.fill(grant)?));
        }
        Some(Message {
            method: self.method,
            target: self.target.fill(grant)?,
            has_query: self.has_query,
            fresh_query: self.fresh_query,
            headers,
            body: match &self.body {
                Some(body) => Some(body.fill(grant)?),
                None => None,
            },
        })
    }
}

/// A request that can be sent. No `Debug`: it holds credentials.
#[derive(Clone)]
pub struct Message {
    /// How.
    pub method: Method,
    /// Path and query, without the fresh parameter.
    pub target: String,
    /// Whether `target` already has a query.
    pub has_query: bool,
    /// The name of the fresh parameter.
    pub fresh_query: Option<&'static str>,
    /// Headers in order.
    pub headers: Vec<(&'static str, String)>,
    /// The body, for a POST.
    pub body: Option<String>,
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use super::*;
    use crate::proto::template::Variable;

    struct Jane;

    impl Variables for Jane {
        fn value(&self, variable: &Variable) -> Option<Cow<'_, str>> {
            (*variable == Variable::ParticipantId).then(|| "j\"/ane".into())
        }
    }

    fn plan() -> CallPlan {
        let participant = Template::parse("{participantId}").expect("a template");
        CallPlan {
            method: Method::Post,
            path: Piece::fixed("/login/").then_value(&participant, Place::Segment),
            query: vec![("chat", Piece::hole("chat", Place::Query))],
            headers: vec![("X-Token", Piece::hole("token", Place::Header))],
            body: Some(Piece::fixed("{\"a\":\"").then_value(&participant, Place::Json).then("\"}")),
            ..CallPlan::default()
        }
    }

    #[test]
    fn what_the_backend_gives_is_encoded_for_its_place() {
        let call = plan().resolve("/api/", &Jane).expect("resolved");
        let grant = Credential::new([("chat", "a&b".into()), ("token", "t".into())]);
        let message = call.fill(&grant).expect("filled");
        assert_eq!(message.target, "/api/login/j%22%2Fane?chat=a%26b");
        assert_eq!(message.headers, [("X-Token", "t".to_owned())]);
        assert_eq!(message.body.as_deref(), Some(r#"{"a":"j\"/ane"}"#));
        for (name, want) in [("chat", true), ("token", true), ("page", false)] {
            assert_eq!(call.has_hole(name), want, "{name}");
        }
    }

    #[test]
    fn a_call_without_what_it_needs_is_not_sent() {
        let call = plan().resolve("", &Jane).expect("resolved");
        assert!(call.fill(&Credential::default()).is_none());
        let grant = Credential::new([("chat", "c".into()), ("token", "a\r\nX-Admin: 1".into())]);
        assert!(call.fill(&grant).is_none(), "a token cannot leave its header");
        let plan = CallPlan { path: Piece::hole("id", Place::Segment), ..CallPlan::default() };
        let call = plan.resolve("", &Jane).expect("resolved");
        assert!(call.fill(&Credential::new([("id", "..".into())])).is_none(), "nor its folder");
    }
}
