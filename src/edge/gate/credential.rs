//! Which credential a request shows.
//!
//! In this order, the first that is there decides: `Authorization: Bearer`, `X-API-Key`, query
//! `apikey`, query `access_token`, query `ticket`, the configured cookie. An empty one is not
//! there. Its form says what it is. Not here: whether it is any good (`api_key`, `jwt`,
//! `ticket`), whether a page may use the cookie (`origin`).

use std::borrow::Cow;

use http::HeaderMap;
use http::header::{AUTHORIZATION, COOKIE};

use super::query::Query;
use super::ticket;

/// A longer credential is none. Nothing of it is looked at.
pub(super) const CREDENTIAL_BYTES_MAX: usize = 8 * 1024;

const API_KEY_HEADER: &str = "x-api-key";
const API_KEY_PARAMETER: &str = "apikey";
const TOKEN_PARAMETER: &str = "access_token";
/// The parameters that hold a credential, in the order in which they count.
pub(super) const PARAMETERS: [&str; 3] = [API_KEY_PARAMETER, TOKEN_PARAMETER, ticket::PARAMETER];

/// What a request shows. No `Debug`: it is a secret.
pub(super) enum Shown<'a> {
    /// Three parts with dots between: a token.
    Token(Cow<'a, str>),
    /// Anything else.
    Key(Cow<'a, str>),
    /// Where only tickets stand.
    Ticket(Cow<'a, str>),
    /// Too long, or no text: there, and good for nothing.
    Useless,
    /// Nothing.
    Nothing,
}

impl Shown<'_> {
    /// The kind of credential, as in metrics.
    pub(super) const fn method(&self) -> &'static str {
        match self {
            Self::Token(_) => "jwt",
            Self::Key(_) | Self::Useless => "api_key",
            Self::Ticket(_) => "ticket",
            Self::Nothing => "none",
        }
    }
}

/// The credential of a request, cookies apart.
pub(super) fn shown<'a>(headers: &'a HeaderMap, query: Query<'a>) -> Shown<'a> {
    if let Some(shown) = in_header(headers) {
        return shown;
    }
    for name in PARAMETERS {
        match query.get(name) {
            Some(Ok(value)) if value.is_empty() => {}
            Some(Ok(value)) if name == ticket::PARAMETER => return Shown::Ticket(value),
            Some(Ok(value)) => return by_form(value),
            Some(Err(_)) => return Shown::Useless,
            None => {}
        }
    }
    Shown::Nothing
}

/// The credential that stands in a header of its own, where nobody logs it and no browser sends
/// it unasked.
pub(super) fn in_header(headers: &HeaderMap) -> Option<Shown<'_>> {
    let found = [bearer(headers), header(headers)].into_iter().flatten().next()?;
    Some(found.map_or(Shown::Useless, |text| by_form(Cow::Borrowed(text))))
}

/// The text of a credential in a header of its own, if it can be an API key.
pub(crate) fn key_in_header(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    match in_header(headers)? {
        Shown::Key(text) => Some(text),
        Shown::Token(_) | Shown::Ticket(_) | Shown::Useless | Shown::Nothing => None,
    }
}

/// The credential in the first cookie of this name.
pub(super) fn in_cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<Shown<'a>> {
    let cookies = headers.get_all(COOKIE).into_iter();
    let crumbs = cookies.flat_map(|value| value.as_bytes().split(|byte| *byte == b';'));
    let value = crumbs.map(<[u8]>::trim_ascii).find_map(|crumb| {
        let at = crumb.iter().position(|byte| *byte == b'=')?;
        let (key, value) = crumb.split_at_checked(at)?;
        let value = value.strip_prefix(b"=")?;
        (key == name.as_bytes()).then_some(value)
    })?;
    let bare = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
    let found = present(bare.unwrap_or(value))?;
    Some(found.map_or(Shown::Useless, |text| by_form(Cow::Borrowed(text))))
}

fn by_form(text: Cow<'_, str>) -> Shown<'_> {
    if text.len() > CREDENTIAL_BYTES_MAX {
        Shown::Useless
    } else if text.bytes().filter(|byte| *byte == b'.').count() == 2 {
        Shown::Token(text)
    } else {
        Shown::Key(text)
    }
}

/// The token of `Authorization: Bearer`. Another scheme is none of ours.
fn bearer(headers: &HeaderMap) -> Option<Result<&str, ()>> {
    const SCHEME: &[u8] = b"bearer";
    let value = headers.get(AUTHORIZATION)?.as_bytes().trim_ascii();
    let (scheme, rest) = value.split_at_checked(SCHEME.len())?;
    if !scheme.eq_ignore_ascii_case(SCHEME) || rest.first().is_some_and(|byte| *byte != b' ') {
        return None;
    }
    present(rest)
}

fn header(headers: &HeaderMap) -> Option<Result<&str, ()>> {
    present(headers.get(API_KEY_HEADER)?.as_bytes())
}

fn present(value: &[u8]) -> Option<Result<&str, ()>> {
    let value = value.trim_ascii();
    (!value.is_empty()).then(|| std::str::from_utf8(value).map_err(|_| ()))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[track_caller]
    fn check(headers: &[(&'static str, &[u8])], query: &str, want: &str) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(*name, HeaderValue::from_bytes(value).expect("a value"));
        }
        let got = match shown(&map, Query::new(query)) {
            Shown::Token(text) => format!("token {text}"),
            Shown::Key(text) => format!("key {text}"),
            Shown::Ticket(text) => format!("ticket {text}"),
            Shown::Useless => "useless".to_owned(),
            Shown::Nothing => "nothing".to_owned(),
        };
        assert_eq!(got, want);
    }

    #[test]
    fn the_first_credential_decides() {
        let bearer: (&str, &[u8]) = ("authorization", b"Bearer one");
        let header: (&str, &[u8]) = ("x-api-key", b"two");
        let query = "access_token=four&apikey=three";
        check(&[header, bearer], query, "key one");
        check(&[header], query, "key two");
        check(&[], query, "key three");
        check(&[], "access_token=four", "key four");
        check(&[], "ticket=five&access_token=four", "key four");
        check(&[], "ticket=a.b.c&apikey=", "ticket a.b.c");
        check(&[], "ticket=", "nothing");
        check(&[], "", "nothing");
    }

    #[test]
    fn the_form_decides_the_kind() {
        check(&[("authorization", b"Bearer a.b.c")], "", "token a.b.c");
        check(&[("x-api-key", b"a.b.c")], "", "token a.b.c");
        check(&[], "apikey=a.b.c", "token a.b.c");
        check(&[], "apikey=..", "token ..");
        check(&[], "access_token=a.b", "key a.b");
        check(&[], "access_token=a.b.c.d", "key a.b.c.d");
        check(&[], "access_token=a.b.c.d.e", "key a.b.c.d.e");
    }

    #[test]
    fn an_empty_credential_is_none() {
        check(
            &[("authorization", b"Bearer "), ("x-api-key", b" ")],
            "apikey=&access_token=t",
            "key t",
        );
        check(&[("authorization", b"Bearer")], "", "nothing");
        check(&[("authorization", b"")], "apikey=", "nothing");
        check(&[], "apikey=&apikey=k", "nothing");
    }

    #[test]
    fn other_schemes_are_not_ours() {
        check(&[("authorization", b"Basic dTpw")], "apikey=k", "key k");
        check(&[("authorization", b"BearerX abc")], "", "nothing");
        check(&[("authorization", b"bEARER   abc ")], "", "key abc");
    }

    #[test]
    fn what_cannot_be_read_is_there_and_useless() {
        let long = "k".repeat(CREDENTIAL_BYTES_MAX + 1);
        let fits = "k".repeat(CREDENTIAL_BYTES_MAX);
        check(&[("authorization", b"Bearer \xff")], "apikey=k", "useless");
        check(&[("x-api-key", long.as_bytes())], "apikey=k", "useless");
        check(&[], &format!("apikey={long}&access_token=t"), "useless");
        check(&[], &format!("apikey={fits}"), &format!("key {fits}"));
        check(&[], "apikey=%zz&access_token=t", "useless");
    }

    #[track_caller]
    fn check_cookie(values: &[&[u8]], want: Option<&str>) {
        let mut map = HeaderMap::new();
        for value in values {
            map.append(COOKIE, HeaderValue::from_bytes(value).expect("a value"));
        }
        let got = in_cookie(&map, "chat").map(|shown| match shown {
            Shown::Token(text) => format!("token {text}"),
            Shown::Key(text) => format!("key {text}"),
            Shown::Ticket(_) | Shown::Nothing => "another".to_owned(),
            Shown::Useless => "useless".to_owned(),
        });
        assert_eq!(got.as_deref(), want, "{values:?}");
    }

    #[test]
    fn the_contract_tells_of_every_parameter_with_a_credential() {
        use crate::proto::contract::{Kind, PARAMETERS};
        let told = PARAMETERS.iter().filter(|one| one.kind == Kind::Credential);
        assert_eq!(told.map(|one| one.name).collect::<Vec<_>>(), super::PARAMETERS);
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        check_cookie(&[b"chat=k"], Some("key k"));
        check_cookie(&[b"a=1; chat=a.b.c; b=2"], Some("token a.b.c"));
        check_cookie(&[b"a=1", b"chat=\"k=v\""], Some("key k=v"));
        check_cookie(&[b"chat=first; chat=second"], Some("key first"));
        check_cookie(&[b"chats=k; xchat=k; Chat=k; chat; =k; chat =k"], None);
        check_cookie(&[b"chat="], None);
        check_cookie(&[], None);
        check_cookie(&[b"chat=\xff"], Some("useless"));
    }
}
