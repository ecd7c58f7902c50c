//! Which web pages may read an answer: the CORS headers of answers and preflights.
//!
//! `*` is answered only where every page may read and none may send cookies along; everywhere
//! else the page's own origin is echoed, if it is allowed. Not here: the rules themselves
//! (`config::OriginRule`), refusing anybody: a browser does that.

use http::header::{
    ACCESS_CONTROL_ALLOW_CREDENTIALS, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS,
    ACCESS_CONTROL_ALLOW_ORIGIN, ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE,
    ACCESS_CONTROL_REQUEST_METHOD, HeaderMap, HeaderName, HeaderValue, ORIGIN, VARY,
};

use crate::config::Cors;

/// Headers to put on an answer.
pub(crate) type Headers = Vec<(HeaderName, HeaderValue)>;

/// What a page may send.
pub(crate) const ALLOWED_HEADERS: &str =
    "Authorization, X-API-Key, Last-Event-ID, Cache-Control, Accept, Content-Type";
/// What a page may read of an answer.
pub(crate) const EXPOSED_HEADERS: &str = "Retry-After, RateLimit, RateLimit-Policy, X-Request-Id";
/// The methods of a stream's path.
pub(crate) const METHODS: &str = "GET, HEAD, OPTIONS";
/// The methods of the path that gives tickets for a stream.
pub(crate) const TICKET_METHODS: &str = "POST, OPTIONS";

const REQUEST_PRIVATE_NETWORK: &str = "access-control-request-private-network";
const ALLOW_PRIVATE_NETWORK: &str = "access-control-allow-private-network";
const PREFLIGHT_VARY: &str = "Origin, Access-Control-Request-Method, \
     Access-Control-Request-Headers, Access-Control-Request-Private-Network";

/// The headers of an answer to an actual request, refusals included.
#[must_use]
pub(crate) fn answer_headers(cors: &Cors, request: &HeaderMap) -> Headers {
    if cors.allow_origins.is_empty() {
        return Headers::new();
    }
    let mut headers = vec![(VARY, HeaderValue::from_static("Origin"))];
    if allow_origin(cors, request, &mut headers) {
        let exposed = HeaderValue::from_static(EXPOSED_HEADERS);
        headers.push((ACCESS_CONTROL_EXPOSE_HEADERS, exposed));
    }
    headers
}

/// Whether an `OPTIONS` request is a browser's question.
#[must_use]
pub(crate) fn is_preflight(request: &HeaderMap) -> bool {
    request.contains_key(ORIGIN) && request.contains_key(ACCESS_CONTROL_REQUEST_METHOD)
}

/// The headers of the answer to a preflight. A page that may not read gets none but `Vary`.
#[must_use]
pub(crate) fn preflight_headers(
    cors: &Cors,
    request: &HeaderMap,
    methods: &'static str,
) -> Headers {
    let mut headers = vec![(VARY, HeaderValue::from_static(PREFLIGHT_VARY))];
    if !allow_origin(cors, request, &mut headers) {
        return headers;
    }
    let max_age = HeaderValue::from(cors.max_age.as_secs());
    headers.extend([
        (ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods)),
        (ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static(ALLOWED_HEADERS)),
        (ACCESS_CONTROL_MAX_AGE, max_age),
    ]);
    let wants_private = request.get(REQUEST_PRIVATE_NETWORK);
    if wants_private.is_some_and(|value| value == "true") {
        let name = HeaderName::from_static(ALLOW_PRIVATE_NETWORK);
        headers.push((name, HeaderValue::from_static("true")));
    }
    headers
}

/// Lets the page read, if it may, and says whether it may.
fn allow_origin(cors: &Cors, request: &HeaderMap, headers: &mut Headers) -> bool {
    if cors.allows_any() && !cors.allow_credentials {
        headers.push((ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*")));
        return true;
    }
    let mut origins = request.get_all(ORIGIN).iter();
    let (Some(origin), None) = (origins.next(), origins.next()) else {
        return false;
    };
    if !origin.to_str().is_ok_and(|origin| cors.allows(origin)) {
        return false;
    }
    headers.push((ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone()));
    if cors.allow_credentials {
        let yes = HeaderValue::from_static("true");
        headers.push((ACCESS_CONTROL_ALLOW_CREDENTIALS, yes));
    }
    true
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::OriginRule;

    fn cors(rules: &[&str], allow_credentials: bool) -> Cors {
        let rule = |text: &&str| OriginRule::parse(text).expect("a rule");
        Cors {
            allow_origins: rules.iter().map(rule).collect(),
            allow_credentials,
            max_age: Duration::from_secs(600),
        }
    }

    fn request(headers: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    fn show(headers: &Headers) -> String {
        let line = |(name, value): &(HeaderName, HeaderValue)| {
            let name = name.as_str().trim_start_matches("access-control-");
            format!("{name}={}", value.to_str().expect("text"))
        };
        headers.iter().map(line).collect::<Vec<_>>().join("|")
    }

    #[track_caller]
    fn check(cors: &Cors, headers: &[(&'static str, &'static str)], want: &str) {
        assert_eq!(show(&answer_headers(cors, &request(headers))), want);
    }

    const APP: (&str, &str) = ("origin", "https://app.example.com");
    const EVIL: (&str, &str) = ("origin", "https://app.example.com.evil.example");
    const EXPOSE: &str = "expose-headers=Retry-After, RateLimit, RateLimit-Policy, X-Request-Id";

    #[test]
    fn allowed_origins_are_echoed_and_others_get_nothing() {
        let exact = cors(&["https://app.example.com"], false);
        check(&exact, &[APP], &format!("vary=Origin|allow-origin={}|{EXPOSE}", APP.1));
        check(&exact, &[EVIL], "vary=Origin");
        check(&exact, &[("origin", "null")], "vary=Origin");
        check(&exact, &[], "vary=Origin");
        check(&exact, &[APP, EVIL], "vary=Origin");
        check(&exact, &[EVIL, APP], "vary=Origin");
        let regex = cors(&[r"https://.*\.example\.com"], false);
        check(&regex, &[APP], &format!("vary=Origin|allow-origin={}|{EXPOSE}", APP.1));
        check(&regex, &[EVIL], "vary=Origin");
        check(&cors(&[], false), &[APP], "");
    }

    #[test]
    fn the_star_never_comes_with_credentials() {
        let any = cors(&["*"], false);
        check(&any, &[EVIL], &format!("vary=Origin|allow-origin=*|{EXPOSE}"));
        check(&any, &[], &format!("vary=Origin|allow-origin=*|{EXPOSE}"));
        let exact = cors(&["https://app.example.com"], true);
        let want = format!("vary=Origin|allow-origin={}|allow-credentials=true|{EXPOSE}", APP.1);
        check(&exact, &[APP], &want);
        // The configuration refuses this; should it ever come through, there is no `*`.
        let both = show(&answer_headers(&cors(&["*"], true), &request(&[APP])));
        assert!(!both.contains('*'), "{both}");
    }

    #[track_caller]
    fn check_preflight(cors: &Cors, headers: &[(&'static str, &'static str)], want: &[&str]) {
        let got = show(&preflight_headers(cors, &request(headers), METHODS));
        let got: Vec<_> = got.split('|').filter(|line| !line.starts_with("vary=")).collect();
        assert_eq!(got, want);
    }

    #[test]
    fn preflights_say_what_may_be_sent() {
        let exact = cors(&["https://app.example.com"], false);
        let allow_origin = format!("allow-origin={}", APP.1);
        let allow_headers = format!("allow-headers={ALLOWED_HEADERS}");
        let allowed =
            [&allow_origin, "allow-methods=GET, HEAD, OPTIONS", &allow_headers, "max-age=600"];
        let ask = ("access-control-request-method", "GET");
        check_preflight(&exact, &[APP, ask], &allowed);
        check_preflight(&exact, &[EVIL, ask], &[]);
        let private = (REQUEST_PRIVATE_NETWORK, "true");
        let with_private = [&allowed[..], &["allow-private-network=true"]].concat();
        check_preflight(&exact, &[APP, ask, private], &with_private);
        check_preflight(&exact, &[EVIL, ask, private], &[]);
        check_preflight(&cors(&[], false), &[APP, ask, private], &[]);
    }

    #[test]
    fn a_preflight_has_an_origin_and_a_method() {
        let ask = ("access-control-request-method", "GET");
        assert!(is_preflight(&request(&[APP, ask])));
        assert!(!is_preflight(&request(&[APP])));
        assert!(!is_preflight(&request(&[ask])));
    }
}
