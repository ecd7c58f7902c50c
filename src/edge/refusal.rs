//! Why a request gets no stream, and the one table that puts it into HTTP.
//!
//! A refusal says what to do. It never says whether a key, a user or a tenant exists, and holds
//! no credential. Not here: deciding (`gate`), writing to the socket.

use std::borrow::Cow;
use std::fmt;

use http::StatusCode;
use http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE,
};

use super::cors::Headers;
use crate::proto::event::{MessageType, write_refused};
use crate::proto::json::Fields;
use crate::proto::sse::write_retry;

/// How long a browser is kept away that was refused for a reason that does not pass by itself.
pub(crate) const KEEP_AWAY_SECS: u64 = 3600;

/// Of a text that a client sent, no more than this is repeated to it.
const ECHO_CHARS_MAX: usize = 64;

/// Why there is no stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// What came is no request of HTTP/1.1.
    BadHead,
    /// The head was not over in time.
    TooSlow,
    /// Path and query are too long.
    TargetTooLong,
    /// The head has too many fields, or too many bytes.
    HeadTooLarge,
    /// The path can be read in several ways.
    BadPath,
    /// No route has this path.
    NoSuchPath,
    /// The path has no such method.
    MethodNotAllowed {
        /// Those that it has, as in `Allow`.
        allow: &'static str,
    },
    /// No credential, or none that is known or valid.
    Unauthorized,
    /// Something of the request is missing or cannot be taken.
    Bad(Named, Fault),
    /// No route of the path serves the tenant and workflow.
    NoSuchRoute,
    /// The credential does not open this stream.
    Forbidden,
    /// Too much at a time.
    Limited(Limited),
    /// The process is going away.
    Draining {
        /// When to come back, to whoever runs then.
        retry_secs: u64,
    },
}

/// The part of a request that a [`Fault`] is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// A query parameter.
    Parameter(Cow<'static, str>),
    /// A header.
    Header(String),
    /// A claim of the token.
    Claim(String),
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Parameter(name) => write!(f, "the query parameter `{name}`"),
            Self::Header(name) => write!(f, "the header `{name}`"),
            Self::Claim(name) => write!(f, "the claim `{name}` of the token"),
        }
    }
}

/// What is wrong with a part of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not there, or empty.
    Missing,
    /// Broken percent-encoding, or no UTF-8.
    Unreadable,
    /// Longer than this.
    TooLong {
        /// The most it may have.
        bytes_max: usize,
    },
    /// It holds line breaks, NULs or the like.
    Control,
    /// Not a whole number.
    NotInteger,
    /// A name of its list is no message type. Holds the name, as the client sent it.
    NotMessageType(String),
    /// Neither `full` nor `core`.
    NotVocabulary,
    /// It cannot stand where a source needs it.
    Unfit,
}

/// Whose budget is used up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Policy {
    /// The client address's.
    Address,
    /// The key's, or the token subject's.
    Subject,
    /// The tenant's.
    Tenant,
}

impl Policy {
    /// Its name in headers and metrics.
    #[must_use]
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Subject => "subject",
            Self::Tenant => "tenant",
        }
    }
}

/// Which budget is used up, and until when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Limited {
    /// Whose.
    pub(crate) policy: Policy,
    /// Of what.
    pub(crate) quota: Quota,
    /// When to try again, with jitter. Invariant: at least 1.
    pub(crate) retry_secs: u64,
}

/// What a budget counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quota {
    /// New streams.
    Opens {
        /// So many,
        count: u32,
        /// in so long.
        window_secs: u64,
    },
    /// Passed-through calls.
    Requests {
        /// So many,
        count: u32,
        /// in so long.
        window_secs: u64,
    },
    /// Open streams.
    Concurrent {
        /// The most there may be.
        count: u32,
    },
}

/// A refusal as HTTP. CORS headers come on top.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: StatusCode,
    /// All headers that the refusal itself needs.
    pub(crate) headers: Headers,
    /// JSON.
    pub(crate) body: Vec<u8>,
}

impl Refusal {
    /// The HTTP status.
    #[must_use]
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::Bad(..) | Self::BadHead | Self::BadPath => StatusCode::BAD_REQUEST,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::TargetTooLong => StatusCode::URI_TOO_LONG,
            Self::HeadTooLarge => StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::NoSuchPath | Self::NoSuchRoute => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::Limited(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Draining { .. } => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// `error` in the body: the reason phrase, but for 429, where XiansAi says otherwise.
    #[must_use]
    pub(crate) fn error(&self) -> &'static str {
        match self {
            Self::Limited(_) => "Rate limit exceeded",
            Self::BadHead
            | Self::TooSlow
            | Self::TargetTooLong
            | Self::HeadTooLarge
            | Self::BadPath
            | Self::NoSuchPath
            | Self::MethodNotAllowed { .. }
            | Self::Unauthorized
            | Self::Bad(..)
            | Self::NoSuchRoute
            | Self::Forbidden
            | Self::Draining { .. } => self.status().canonical_reason().unwrap_or_default(),
        }
    }

    /// `message` in the body: what to do.
    #[must_use]
    pub(crate) fn message(&self) -> String {
        let fixed = match self {
            Self::Bad(named, fault) => return bad_message(named, fault),
            Self::Limited(limited) => return limited.message(),
            Self::Draining { retry_secs } => {
                return format!("This server is restarting. Try again in {retry_secs} s.");
            }
            Self::MethodNotAllowed { allow } => {
                return format!("This path takes {allow}. Use one of these methods.");
            }
            Self::BadHead => "This is no HTTP/1.1 request that can be read. Check what sends it.",
            Self::TooSlow => "The request did not come in time. Send its head at once.",
            Self::TargetTooLong => "The URL is too long. Send tokens in a header.",
            Self::HeadTooLarge => "The request has too many headers, or too large ones. Send less.",
            Self::BadPath => {
                "This path can be read in several ways. Send it without dot segments, empty \
                 segments, escaped slashes, backslashes and control characters."
            }
            Self::NoSuchPath => "Nothing is served under this path. Check the URL.",
            Self::Unauthorized => {
                "Authentication is required to access this resource. Send a valid API key or \
                 token in the header Authorization (Bearer) or X-API-Key, or in the query \
                 parameter apikey or access_token."
            }
            Self::NoSuchRoute => {
                "No stream is served for this tenant and workflow. Check tenantId and workflow."
            }
            Self::Forbidden => {
                "This credential does not open this stream. Use one that is for this tenant, \
                 workflow and participant."
            }
        };
        fixed.to_owned()
    }

    /// When to try again, where that helps.
    #[must_use]
    pub(crate) const fn retry_secs(&self) -> Option<u64> {
        match self {
            Self::Limited(limited) => Some(limited.retry_secs),
            Self::Draining { retry_secs } => Some(*retry_secs),
            Self::BadHead
            | Self::TooSlow
            | Self::TargetTooLong
            | Self::HeadTooLarge
            | Self::BadPath
            | Self::NoSuchPath
            | Self::MethodNotAllowed { .. }
            | Self::Unauthorized
            | Self::Bad(..)
            | Self::NoSuchRoute
            | Self::Forbidden => None,
        }
    }

    /// The refusal as an HTTP answer.
    #[must_use]
    pub(crate) fn answer(&self) -> Answer {
        let mut headers = vec![
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        if let Some(secs) = self.retry_secs() {
            headers.push((RETRY_AFTER, HeaderValue::from(secs)));
        }
        match self {
            Self::Unauthorized => {
                headers.push((WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")));
            }
            Self::MethodNotAllowed { allow } => {
                headers.push((ALLOW, HeaderValue::from_static(allow)));
            }
            Self::Limited(limited) => limited.write_headers(&mut headers),
            Self::BadHead
            | Self::TooSlow
            | Self::TargetTooLong
            | Self::HeadTooLarge
            | Self::BadPath
            | Self::NoSuchPath
            | Self::Bad(..)
            | Self::NoSuchRoute
            | Self::Forbidden
            | Self::Draining { .. } => {}
        }
        Answer { status: self.status(), headers, body: self.body() }
    }

    /// Appends the refusal as the whole of a stream (`errors=event`): a `retry:` that keeps the
    /// browser away, and one `refused` event.
    pub(crate) fn write_in_stream(&self, out: &mut Vec<u8>) {
        let secs = self.retry_secs();
        write_retry(out, secs.unwrap_or(KEEP_AWAY_SECS).saturating_mul(1000));
        write_refused(out, self.status().as_u16(), self.error(), &self.message(), secs);
    }

    fn body(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(256);
        let mut fields = Fields::open(&mut body);
        fields.text("error", self.error());
        fields.text("message", &self.message());
        if let Self::Limited(limited) = self {
            fields.text("retryAfter", &limited.retry_secs.to_string());
        }
        fields.close();
        body
    }
}

impl Limited {
    fn message(&self) -> String {
        let secs = self.retry_secs;
        match self.quota {
            Quota::Opens { .. } => format!("Too many new streams. Try again in {secs} s."),
            Quota::Requests { .. } => format!("Too many requests. Try again in {secs} s."),
            Quota::Concurrent { .. } => {
                format!("Too many open streams. Close one, or try again in {secs} s.")
            }
        }
    }

    /// The fields of draft-ietf-httpapi-ratelimit-headers, and the older ones. All name the
    /// jittered time: a client that goes by any of them keeps away from the others.
    fn write_headers(&self, headers: &mut Headers) {
        let (policy, secs) = (self.policy.as_str(), self.retry_secs);
        let (count, terms) = match self.quota {
            Quota::Opens { count, window_secs } | Quota::Requests { count, window_secs } => {
                (count, format!("q={count};w={window_secs}"))
            }
            Quota::Concurrent { count } => (count, format!("q={count};qu=\"concurrent-requests\"")),
        };
        let mut push = |name: &'static str, value: &str| {
            // Digits, quotes and lower-case words: always a header value.
            if let Ok(value) = HeaderValue::from_str(value) {
                headers.push((HeaderName::from_static(name), value));
            }
        };
        push("ratelimit-policy", &format!("\"{policy}\";{terms}"));
        push("ratelimit", &format!("\"{policy}\";r=0;t={secs}"));
        push("x-ratelimit-limit", &count.to_string());
        push("x-ratelimit-remaining", "0");
        push("x-ratelimit-reset", &secs.to_string());
    }
}

fn bad_message(named: &Named, fault: &Fault) -> String {
    match fault {
        Fault::Missing => format!("Send {named}: it is missing or empty."),
        Fault::Unreadable => {
            format!("Send {named} as percent-encoded UTF-8: it cannot be read.")
        }
        Fault::TooLong { bytes_max } => {
            format!("Send {named} with at most {bytes_max} bytes: it is longer.")
        }
        Fault::Control => format!("Send {named} without control characters."),
        Fault::NotInteger => format!("Send {named} as a whole number, or leave it out."),
        Fault::NotMessageType(name) => {
            let name: String = name.chars().take(ECHO_CHARS_MAX).collect();
            let known: Vec<_> = MessageType::ALL.iter().map(|known| known.as_str()).collect();
            let known = known.join(", ");
            format!("Send {named} as a list of message types: `{name}` is none of {known}.")
        }
        Fault::NotVocabulary => format!("Send {named} as full or core, or leave it out."),
        Fault::Unfit => format!("Send {named} with another value: a source cannot take this one."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPENS: Refusal = Refusal::Limited(Limited {
        policy: Policy::Address,
        quota: Quota::Opens { count: 60, window_secs: 60 },
        retry_secs: 12,
    });
    const CONCURRENT: Refusal = Refusal::Limited(Limited {
        policy: Policy::Tenant,
        quota: Quota::Concurrent { count: 6 },
        retry_secs: 7,
    });

    #[track_caller]
    fn check(refusal: &Refusal, status: u16, head: &[&str], body: &str) {
        let answer = refusal.answer();
        assert_eq!(answer.status.as_u16(), status);
        let line = |(name, value): &(HeaderName, HeaderValue)| {
            format!("{name}: {}", value.to_str().expect("text"))
        };
        let got: Vec<_> = answer.headers.iter().map(line).collect();
        let common = ["content-type: application/json", "cache-control: no-store"];
        assert_eq!(got, [&common[..], head].concat());
        let text = String::from_utf8(answer.body).expect("text");
        assert!(text.starts_with(body), "{text} is not {body}");
        let json: serde_json::Value = serde_json::from_str(&text).expect("json");
        let message = json["message"].as_str().expect("a message");
        assert!(message.ends_with('.') && message.len() < 400, "{message}");
        assert_eq!(json.get("retryAfter").is_some(), status == 429);
    }

    fn parameter(name: &'static str, fault: Fault) -> Refusal {
        Refusal::Bad(Named::Parameter(name.into()), fault)
    }

    #[test]
    fn every_refusal_has_its_answer() {
        check(&Refusal::BadHead, 400, &[], "{\"error\":\"Bad Request\",\"message\":\"");
        check(&Refusal::BadPath, 400, &[], "{\"error\":\"Bad Request\",\"message\":\"");
        check(&Refusal::TooSlow, 408, &[], "{\"error\":\"Request Timeout\",\"message\":\"");
        check(&Refusal::TargetTooLong, 414, &[], "{\"error\":\"URI Too Long\",\"message\":\"");
        let too_large = "{\"error\":\"Request Header Fields Too Large\",\"message\":\"";
        check(&Refusal::HeadTooLarge, 431, &[], too_large);
        check(&Refusal::NoSuchPath, 404, &[], "{\"error\":\"Not Found\",\"message\":\"");
        check(&Refusal::NoSuchRoute, 404, &[], "{\"error\":\"Not Found\",\"message\":\"No stream");
        check(
            &Refusal::MethodNotAllowed { allow: "GET, HEAD, OPTIONS" },
            405,
            &["allow: GET, HEAD, OPTIONS"],
            "{\"error\":\"Method Not Allowed\"",
        );
        check(
            &Refusal::Unauthorized,
            401,
            &["www-authenticate: Bearer"],
            "{\"error\":\"Unauthorized\",\"message\":\"Authentication is required to access this",
        );
        check(&Refusal::Forbidden, 403, &[], "{\"error\":\"Forbidden\"");
        check(
            &Refusal::Draining { retry_secs: 3 },
            503,
            &["retry-after: 3"],
            "{\"error\":\"Service Unavailable\"",
        );
        check(
            &parameter("workflow", Fault::Missing),
            400,
            &[],
            "{\"error\":\"Bad Request\",\"message\":\"Send the query parameter `workflow`: it",
        );
    }

    #[test]
    fn limits_are_told_in_every_form() {
        check(
            &OPENS,
            429,
            &[
                "retry-after: 12",
                "ratelimit-policy: \"address\";q=60;w=60",
                "ratelimit: \"address\";r=0;t=12",
                "x-ratelimit-limit: 60",
                "x-ratelimit-remaining: 0",
                "x-ratelimit-reset: 12",
            ],
            "{\"error\":\"Rate limit exceeded\",\"message\":\"Too many new streams. \
             Try again in 12 s.\",\"retryAfter\":\"12\"}",
        );
        check(
            &CONCURRENT,
            429,
            &[
                "retry-after: 7",
                "ratelimit-policy: \"tenant\";q=6;qu=\"concurrent-requests\"",
                "ratelimit: \"tenant\";r=0;t=7",
                "x-ratelimit-limit: 6",
                "x-ratelimit-remaining: 0",
                "x-ratelimit-reset: 7",
            ],
            "{\"error\":\"Rate limit exceeded\",\"message\":\"Too many open streams.",
        );
    }

    #[test]
    fn what_a_client_sent_is_repeated_cut_short_and_escaped() {
        let name = "\"<x>\n".repeat(1000);
        let refusal = parameter("types", Fault::NotMessageType(name));
        check(
            &refusal,
            400,
            &[],
            "{\"error\":\"Bad Request\",\"message\":\"Send the query parameter `types`",
        );
        assert!(refusal.answer().body.len() < 700);
    }

    #[test]
    fn in_a_stream_the_browser_is_kept_away() {
        let mut out = Vec::new();
        OPENS.write_in_stream(&mut out);
        let text = String::from_utf8(out).expect("text");
        assert_eq!(
            text,
            "retry: 12000\nevent: refused\ndata: {\"code\":429,\"error\":\"Rate limit exceeded\",\
             \"message\":\"Too many new streams. Try again in 12 s.\",\"retryInSeconds\":12}\n\n"
        );
        let mut out = Vec::new();
        Refusal::Forbidden.write_in_stream(&mut out);
        let text = String::from_utf8(out).expect("text");
        assert!(text.starts_with("retry: 3600000\nevent: refused\ndata: {\"code\":403,"), "{text}");
        assert!(!text.contains("retryInSeconds"), "{text}");
    }
}
