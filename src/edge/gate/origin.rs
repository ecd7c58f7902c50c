//! Whether the page that asks may use a cookie.
//!
//! A browser sends cookies along whoever wrote the page. So a credential in a cookie counts only
//! for pages of our own origin and of those that `cors.allow_origins` names; `*` names nobody.
//! Not here: who may read the answer (`cors`), what the cookie is good for.

use http::HeaderMap;
use http::header::{HOST, HeaderValue, ORIGIN};

use crate::config::{Cors, OriginRule};

const FETCH_SITE: &str = "sec-fetch-site";

/// Whether a cookie of this request counts. `authority` is that of an HTTP/2 request.
///
/// Browsers leave `Origin` out when a page reads from its own origin, and then say so in
/// `Sec-Fetch-Site`; what has neither is no browser, or too old to tell, and cannot be a page of
/// another origin that reads the answer.
pub(super) fn may_use_cookies(headers: &HeaderMap, authority: Option<&str>, cors: &Cors) -> bool {
    let mut origins = headers.get_all(ORIGIN).iter();
    match (origins.next(), origins.next()) {
        (None, _) => {
            let mut sites = headers.get_all(FETCH_SITE).iter();
            sites.all(|site| site == "same-origin" || site == "none")
        }
        (Some(origin), None) => origin.to_str().is_ok_and(|origin| {
            is_own(origin, host(headers).or(authority)) || is_named(origin, cors)
        }),
        (Some(_), Some(_)) => false,
    }
}

fn host(headers: &HeaderMap) -> Option<&str> {
    headers.get(HOST).map(HeaderValue::to_str)?.ok()
}

/// Scheme and port of our own are not known behind a proxy: the name that the page was loaded
/// from, with its port as the browser writes it, is.
fn is_own(origin: &str, host: Option<&str>) -> bool {
    let implied = [("https://", ":443"), ("http://", ":80")];
    implied.iter().any(|(scheme, port)| {
        let Some(of_page) = origin.strip_prefix(scheme) else {
            return false;
        };
        let ours = host.unwrap_or_default();
        let ours = ours.strip_suffix(port).unwrap_or(ours);
        !of_page.is_empty() && ours.eq_ignore_ascii_case(of_page)
    })
}

fn is_named(origin: &str, cors: &Cors) -> bool {
    cors.allow_origins.iter().any(|rule| match rule {
        OriginRule::Any => false,
        OriginRule::Pattern(pattern) => origin != "null" && pattern.is_match(origin),
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[track_caller]
    fn check(rules: &[&str], headers: &[(&'static str, &'static str)], want: bool) {
        let rule = |text: &&str| OriginRule::parse(text).expect("a rule");
        let cors = Cors {
            allow_origins: rules.iter().map(rule).collect(),
            allow_credentials: false,
            max_age: Duration::ZERO,
        };
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_static(value));
        }
        assert_eq!(may_use_cookies(&map, Some("h2.example.com"), &cors), want, "{headers:?}");
    }

    const HOST: (&str, &str) = ("host", "chat.example.com");

    #[test]
    fn our_own_pages_may() {
        check(&[], &[HOST], true);
        check(&[], &[HOST, ("sec-fetch-site", "same-origin")], true);
        check(&[], &[HOST, ("sec-fetch-site", "none")], true);
        for origin in ["https://chat.example.com", "http://chat.example.com"] {
            check(&[], &[HOST, ("origin", origin)], true);
        }
        check(
            &[],
            &[("host", "Chat.Example.com:443"), ("origin", "https://chat.example.com")],
            true,
        );
        check(&[], &[("host", "localhost:8080"), ("origin", "http://localhost:8080")], true);
        check(&[], &[("origin", "https://h2.example.com")], true);
    }

    #[test]
    fn pages_that_are_named_may() {
        let app = ("origin", "https://app.example.com");
        check(&["https://app.example.com"], &[HOST, app], true);
        check(&[r"https://.*\.example\.com"], &[HOST, app], true);
        check(&["https://app.example.com"], &[HOST, app, ("sec-fetch-site", "cross-site")], true);
    }

    #[test]
    fn nobody_else_may() {
        let all = &["*", "null", "https://app.example.com"];
        for origin in [
            "https://evil.example",
            "https://app.example.com.evil.example",
            "https://chat.example.com.evil.example",
            "https://chat.example.com:8443",
            "https://chat.example.comx",
            "ftp://chat.example.com",
            "chat.example.com",
            "null",
            "",
            "https://",
        ] {
            check(all, &[HOST, ("origin", origin)], false);
        }
        for site in ["cross-site", "same-site", "", "x"] {
            check(all, &[HOST, ("sec-fetch-site", site)], false);
        }
        let app = ("origin", "https://app.example.com");
        check(all, &[HOST, app, ("origin", "https://evil.example")], false);
        check(all, &[("host", ""), ("origin", "https://")], false);
    }
}
