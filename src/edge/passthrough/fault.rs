//! Why a call was not passed, or brought no answer: what stands in the refusal.
//!
//! Not here: the other refusals and their form (`edge::refusal`), which these are part of.

use http::StatusCode;

/// Why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PassFault {
    /// The path's route takes other methods. Holds them, as `Allow` lists them.
    Method(String),
    /// The path could be read as one outside of the route's.
    Path,
    /// An event stream, or a poll, which are the edge's own.
    Events,
    /// The request's body is larger than this.
    TooLarge {
        /// The most it may have.
        bytes_max: usize,
    },
    /// The client did not send its request in time.
    Slow,
    /// The client's request broke off, or cannot be read.
    Broken,
    /// The backend cannot be reached, or broke off before it answered.
    Unreachable,
    /// The backend did not answer in time.
    Silent,
    /// The backend gives no credential to call with.
    NoCredential,
    /// The backend's answer cannot be passed on: larger than allowed, or encoded.
    BadAnswer,
    /// Nobody's fault but ours.
    Internal,
}

impl PassFault {
    /// The HTTP status.
    pub(crate) const fn status(&self) -> StatusCode {
        match self {
            Self::Method(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Path | Self::Broken => StatusCode::BAD_REQUEST,
            Self::Events => StatusCode::FORBIDDEN,
            Self::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::Unreachable | Self::NoCredential | Self::BadAnswer => StatusCode::BAD_GATEWAY,
            Self::Silent => StatusCode::GATEWAY_TIMEOUT,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// What to do.
    pub(crate) fn message(&self) -> String {
        let fixed = match self {
            Self::Method(allowed) => return format!("This path takes {allowed}. Use one of them."),
            Self::TooLarge { bytes_max } => {
                return format!("Send at most {bytes_max} bytes: the body is larger.");
            }
            Self::Path => {
                "Send the path without . or .. between slashes, without encoded slashes, and \
                 percent-encoded once."
            }
            Self::Events => {
                "Events are not passed through from here. Open the stream of a route instead."
            }
            Self::Slow => "The request did not come in time. Send it again.",
            Self::Broken => "The request broke off or cannot be read. Send it again, whole.",
            Self::Unreachable => "The backend cannot be reached now. Try again later.",
            Self::Silent => {
                "The backend did not answer in time. It may have taken the call all the same."
            }
            Self::NoCredential => "The backend lets nobody in now. Try again later.",
            Self::BadAnswer => "The backend's answer cannot be passed on.",
            Self::Internal => "This server could not pass the call. Try again later.",
        };
        fixed.to_owned()
    }

    /// The methods of the path, for `Allow`.
    pub(crate) fn allow(&self) -> Option<&str> {
        match self {
            Self::Method(allowed) => Some(allowed),
            Self::Path
            | Self::Events
            | Self::TooLarge { .. }
            | Self::Slow
            | Self::Broken
            | Self::Unreachable
            | Self::Silent
            | Self::NoCredential
            | Self::BadAnswer
            | Self::Internal => None,
        }
    }
}
