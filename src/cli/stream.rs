//! Opens a URL and reads what comes, for the commands that are clients.
//!
//! HTTP/1.1; certificates are verified. Not here: what an answer means, coming back.

use std::time::Duration;

use http::header::{CONTENT_TYPE, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use pingora::connectors::http::Connector;
use pingora::http::RequestHeader;
use pingora::protocols::http::client::HttpSession;
use pingora::upstreams::peer::HttpPeer;

use crate::config::{Scheme, Url};

/// As much of a refusal as is shown.
const REFUSAL_BYTES: usize = 2048;
/// For the connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// An answer whose head is there.
pub(super) struct Opened {
    session: HttpSession,
    /// Its status.
    pub(super) status: u16,
    /// Its headers.
    pub(super) headers: HeaderMap,
}

/// An argument that is no URL is a mistake in the command, not a stream that is away.
pub(super) fn url(text: &str) -> Result<String, String> {
    Url::parse(text.split('?').next().unwrap_or_default()).map(|_| text.to_owned())
}

/// One that is no header, too.
pub(super) fn header(text: &str) -> Result<String, String> {
    let (name, value) = text.split_once(':').ok_or("a header is NAME: VALUE")?;
    HeaderName::from_bytes(name.trim().as_bytes())
        .map_err(|_| "the name of a header has letters, digits and hyphens, and no spaces")?;
    HeaderValue::from_str(value.trim())
        .map_err(|_| "the value of a header has no line breaks or other control characters")?;
    Ok(text.to_owned())
}

/// A URL as it was given, with its query.
pub(super) fn parse(text: &str) -> Result<(Url, &str), String> {
    let (base, query) = text.split_once('?').unwrap_or((text, ""));
    Ok((Url::parse(base)?, query))
}

/// Asks, and reads the head of the answer.
pub(super) async fn open(
    connector: &Connector,
    url: &Url,
    request: RequestHeader,
) -> Result<Opened, String> {
    let lost = |error: pingora::BError| words(&error);
    let host = url.host.trim_start_matches('[').trim_end_matches(']');
    let address = match tokio::net::lookup_host((host, url.port)).await {
        Ok(mut addresses) => addresses.next(),
        Err(error) => return Err(format!("{host}: {error}")),
    };
    let address = address.ok_or_else(|| format!("{host} has no address"))?;
    let mut peer = HttpPeer::new(address, url.scheme == Scheme::Https, url.host.clone());
    peer.options.connection_timeout = Some(CONNECT_TIMEOUT);
    let (mut session, _) = connector
        .get_http_session(&peer)
        .await
        .map_err(|error| format!("cannot connect to {address}: {}", words(&error)))?;
    session.write_request_header(Box::new(request)).await.map_err(lost)?;
    session.finish_request_body().await.map_err(lost)?;
    session.read_response_header().await.map_err(lost)?;
    let head = session.response_header();
    let status = head.map_or(0, |head| head.status.as_u16());
    let headers = head.map(|head| head.headers.clone()).unwrap_or_default();
    Ok(Opened { session, status, headers })
}

impl Opened {
    /// The next piece of the body; `None` at its end.
    pub(super) async fn read(&mut self) -> Result<Option<bytes::Bytes>, String> {
        self.session.read_response_body().await.map_err(|error| words(&error))
    }

    /// The start of the body, for people.
    pub(super) async fn refusal(mut self) -> Result<String, String> {
        let mut refusal = Vec::new();
        while refusal.len() < REFUSAL_BYTES {
            let Some(chunk) = self.read().await? else { break };
            refusal.extend_from_slice(&chunk);
        }
        refusal.truncate(REFUSAL_BYTES);
        // Nobody is followed elsewhere: a credential would go along.
        let target = self.headers.get(LOCATION).and_then(|value| value.to_str().ok());
        let target = target.map(|target| format!(", to {target}")).unwrap_or_default();
        Ok(format!("{}{target}: {}", self.status, String::from_utf8_lossy(&refusal).trim()))
    }

    /// What the answer is instead, if it is no event stream.
    pub(super) fn not_a_stream(&self) -> Option<String> {
        let kind = self.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok());
        match kind.unwrap_or_default() {
            kind if kind.starts_with("text/event-stream") => None,
            "" => Some("the answer is no event stream: it has no content type".to_owned()),
            kind => Some(format!("the answer is no event stream but {kind:?}")),
        }
    }
}

/// A GET, with headers of ours and then those that were given as `NAME: VALUE`.
pub(super) fn request(
    url: &Url,
    target: &str,
    ours: &[(&'static str, &str)],
    given: &[String],
) -> Result<RequestHeader, String> {
    let text = |error: pingora::BError| error.to_string();
    let mut header = RequestHeader::build(Method::GET, target.as_bytes(), None).map_err(text)?;
    header.append_header("Host", url.authority()).map_err(text)?;
    header.append_header("Accept", "text/event-stream").map_err(text)?;
    header.append_header("Cache-Control", "no-cache").map_err(text)?;
    for (name, value) in ours {
        header.append_header(*name, *value).map_err(text)?;
    }
    for line in given {
        let (name, value) =
            line.split_once(':').ok_or_else(|| "a header is NAME: VALUE".to_owned())?;
        header.append_header(name.trim().to_owned(), value.trim().to_owned()).map_err(text)?;
    }
    Ok(header)
}

/// What is behind an error, without the way that it took.
fn words(error: &pingora::Error) -> String {
    let Some(cause) = &error.cause else {
        return error.etype().as_str().to_owned();
    };
    match cause.downcast_ref::<pingora::BError>() {
        Some(inner) => words(inner),
        None => cause.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn a_header_is_a_name_and_a_value() {
        for (text, is_one) in [
            ("X-API-Key: abc", true),
            ("Authorization:Bearer a b", true),
            ("X-Empty:", true),
            ("X Y: z", false),
            (": z", false),
            ("X-API-Key", false),
            ("X: a\r\nY: b", false),
        ] {
            assert_eq!(header(text).is_ok(), is_one, "{text:?}");
        }
    }

    #[test]
    fn an_error_is_told_by_what_is_behind_it() {
        use pingora::{Error, ErrorType};

        let cause = io::Error::new(io::ErrorKind::ConnectionRefused, "nobody is there");
        let inner = Error::because(ErrorType::ConnectRefused, "a long way", cause);
        let outer = Error::because(ErrorType::ConnectError, "a longer way", inner);
        assert_eq!(words(&outer), "nobody is there");
        assert_eq!(words(&Error::explain(ErrorType::ReadError, "here")), "ReadError");
    }
}
