//! Where clients find a backend's files: behind the paths that pass calls through to it.
//!
//! A file that no such path serves has no address. Credentials are no part of one: whoever opens
//! it adds theirs. Not here: which paths there are (`config`), serving them (`edge`).

use super::SessionStart;
use crate::proto::template::percent_encode;

/// The key under which a session is told of the paths.
pub const FILES: &str = "files";

/// Paths of the edge that serve files of one source, for one subscription.
#[derive(Clone, Default)]
pub struct Files {
    /// The source's `url`, without a slash at its end.
    url: String,
    /// Prefixes below it, and what stands for them at the edge.
    places: Vec<(String, String)>,
    /// What a call of this subscription says of itself.
    query: String,
}

/// What a session is told: the source's `url`, and pairs of prefixes below it and paths of the
/// edge, none with a slash at its end.
#[must_use]
pub fn describe<'a>(url: &str, places: impl Iterator<Item = (&'a str, &'a str)>) -> String {
    let mut out = url.trim_end_matches('/').to_owned();
    for (to, path) in places {
        out.push_str(&format!("\n{} {}", to.trim_end_matches('/'), path.trim_end_matches('/')));
    }
    out
}

impl Files {
    /// As the session was told; nothing, if it was not.
    #[must_use]
    pub fn of(start: &SessionStart<'_>) -> Self {
        let Some(text) = start.values.get(FILES) else {
            return Self::default();
        };
        let mut lines = text.split('\n');
        let url = lines.next().unwrap_or_default().to_owned();
        let places = lines.filter_map(|line| line.split_once(' '));
        let places = places.map(|(to, path)| (to.to_owned(), path.to_owned()));
        let subscription = &start.subscription;
        let mut query = String::new();
        for (name, value) in [
            ("tenantId", &subscription.tenant_id),
            ("workflow", &subscription.workflow_type),
            ("participantId", &subscription.participant_id),
        ] {
            query.push_str(if query.is_empty() { "" } else { "&" });
            query.push_str(name);
            query.push('=');
            percent_encode(&mut query, value);
        }
        Self { url, places: places.collect(), query }
    }

    /// The address of what stands at segments below the source's `url`.
    #[must_use]
    pub fn at(&self, segments: &[&str]) -> Option<String> {
        let mut path = String::new();
        for segment in segments {
            // No server would leave these as they are.
            if matches!(*segment, "" | "." | "..") || segment.contains(['/', '\\']) {
                return None;
            }
            path.push('/');
            percent_encode(&mut path, segment);
        }
        self.behind(&path)
    }

    /// The address of what the backend says is there: a URL of its own, or a path.
    #[must_use]
    pub fn at_url(&self, url: &str) -> Option<String> {
        let path = url.strip_prefix(&self.url).filter(|_| !self.url.is_empty())?;
        self.behind(path)
    }

    fn behind(&self, path: &str) -> Option<String> {
        self.places.iter().find_map(|(to, at)| {
            let rest = path.strip_prefix(to.as_str())?;
            rest.starts_with('/').then_some(())?;
            let joint = if rest.contains('?') { '&' } else { '?' };
            Some(format!("{at}{rest}{joint}{}", self.query))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::backend::SessionValues;
    use crate::proto::event::Subscription;

    fn files(places: &[(&str, &str)]) -> Files {
        let text = describe("https://x.org/api/", places.iter().copied());
        let values = SessionValues::from([(FILES, text)]);
        let subscription = Subscription::new("acme", "a b", "jane");
        Files::of(&SessionStart { subscription, values: &values, seed: 1 })
    }

    const QUERY: &str = "tenantId=acme&workflow=a%20b&participantId=jane";

    #[test]
    fn a_file_has_an_address_only_where_a_path_serves_it() {
        let all = files(&[("/", "/voice/")]);
        let want = format!("/voice/chats/c%201/files/f?{QUERY}");
        assert_eq!(all.at(&["chats", "c 1", "files", "f"]), Some(want));
        let some = files(&[("/other", "/other"), ("/chats", "/talk")]);
        assert_eq!(some.at(&["chats", "c", "f"]), Some(format!("/talk/c/f?{QUERY}")));
        assert_eq!(some.at(&["chatsy", "c"]), None);
        assert_eq!(files(&[]).at(&["chats"]), None);
        for bad in ["", ".", "..", "a/b", "a\\b"] {
            assert_eq!(all.at(&["chats", bad]), None, "{bad}");
        }
    }

    #[test]
    fn only_addresses_of_the_source_itself_are_mapped() {
        let all = files(&[("/", "/care")]);
        let at = |url: &str| all.at_url(url);
        assert_eq!(at("https://x.org/api/f/1"), Some(format!("/care/f/1?{QUERY}")));
        assert_eq!(at("https://x.org/api/f?v=1"), Some(format!("/care/f?v=1&{QUERY}")));
        for url in ["https://x.org/apix/f", "https://evil.org/api/f", "https://x.org/f", "/f", ""] {
            assert_eq!(at(url), None, "{url}");
        }
        let values = SessionValues::new();
        let subscription = Subscription::new("t", "w", "p");
        let none = Files::of(&SessionStart { subscription, values: &values, seed: 1 });
        assert_eq!(none.at_url("https://x.org/f"), None);
    }
}
