//! Values that are matched: as they are, or as a regular expression over the whole text.
//!
//! A value with any of `\ ^ $ * + ? ( ) [ ] { } |` in it is an expression, else it is taken
//! exactly: dots alone make no expression, so `acme.example.com` is only itself.

use std::fmt;

use regex::{Regex, RegexBuilder};

/// Larger programs are no names of anything; the limit keeps `a{1000}{1000}` out of memory.
const REGEX_BYTES_MAX: usize = 256 * 1024;

/// What `regex` says of a `*` that stands behind nothing.
const NOTHING_REPEATED: &str = "repetition operator missing expression";

/// Compiles an expression of bounded size.
///
/// # Errors
/// Why it is none, in one line.
pub(super) fn compile(text: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(text).size_limit(REGEX_BYTES_MAX).build();
    built.map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => {
            format!("the expression needs more than {REGEX_BYTES_MAX} bytes of memory")
        }
        error => {
            // The last line names the fault, the ones before it draw the expression.
            let text = error.to_string();
            let line = text.lines().last().unwrap_or_default();
            let fault = line.trim().trim_start_matches("error: ");
            match fault {
                NOTHING_REPEATED => format!("{fault}; anything is written .*"),
                fault => fault.to_owned(),
            }
        }
    })
}

/// A value or an anchored regular expression.
#[derive(Clone)]
pub enum Pattern {
    /// Exactly this.
    Exact(String),
    /// All of the text must match.
    Regex(Regex),
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// Why the expression is none, in one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        if !text.contains(|c| r"\^$*+?()[]{}|".contains(c)) {
            return Ok(Self::Exact(text.to_owned()));
        }
        // Compiled alone first, so that `a)(b` cannot close the group around it.
        compile(text).and_then(|_| compile(&format!("^(?:{text})$"))).map(Self::Regex)
    }

    /// What a pattern should be that is written as names of files are (`customer-*`); `None` if
    /// it may be meant as it is.
    pub(super) fn meant(&self) -> Option<String> {
        if matches!(self, Self::Exact(_)) {
            return None;
        }
        let text = self.to_string();
        let is_plain = |c: char| c == '*' || !r"\^$+?()[]{}|".contains(c);
        // Whoever knows that a dot is any character knows what a star is.
        let is_known = text.contains(".*") || !text.contains('*');
        let is_meant = text.chars().all(is_plain) && !is_known;
        is_meant.then(|| text.replace('.', r"\.").replace('*', ".*"))
    }

    /// Whether all of the text matches.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        match self {
            Self::Exact(value) => value == text,
            Self::Regex(regex) => regex.is_match(text),
        }
    }
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(value) => f.write_str(value),
            Self::Regex(regex) => {
                let text = regex.as_str();
                let written = text.strip_prefix("^(?:").and_then(|text| text.strip_suffix(")$"));
                f.write_str(written.unwrap_or(text))
            }
        }
    }
}

/// Which origins may read.
#[derive(Clone)]
pub enum OriginRule {
    /// `*`
    Any,
    /// An origin, or an expression over the whole of it.
    Pattern(Pattern),
}

impl OriginRule {
    /// Reads a rule.
    ///
    /// # Errors
    /// What is wrong with it, in one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "*" {
            return Ok(Self::Any);
        }
        let pattern = Pattern::parse(text)?;
        if let Pattern::Exact(origin) = &pattern {
            let host = origin.split_once("://").map(|(_, host)| host);
            let is_host = |host: &str| {
                !host.is_empty()
                    && !host.contains(['/', '@', ' '])
                    && host == host.to_ascii_lowercase()
            };
            if origin != "null" && !host.is_some_and(is_host) {
                return Err("an origin is scheme://host or scheme://host:port, in lower case, \
                     without a path, such as https://app.example.com"
                    .to_owned());
            }
        }
        Ok(Self::Pattern(pattern))
    }

    /// Whether it takes this origin.
    #[must_use]
    pub fn is_match(&self, origin: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Pattern(pattern) => pattern.is_match(origin),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, text: &str, want: bool) {
        let pattern = Pattern::parse(pattern).expect("a pattern");
        assert_eq!(pattern.is_match(text), want, "{pattern} on {text:?}");
    }

    #[test]
    fn patterns_take_the_whole_text() {
        check("acme", "acme", true);
        check("acme", "acme2", false);
        check("acme", "Acme", false);
        check("acme.eu", "acme.eu", true);
        check("acme.eu", "acmexeu", false);
        check("customer-.*", "customer-service", true);
        check("customer-.*", "a customer-service", false);
        check("a|b", "a", true);
        check("a|b", "ab", false);
        check("a|b", "xb", false);
        check("a+", "aa\n", false);
        check("^a+$", "aa", true);
        check("(?i)acme", "ACME", true);
    }

    #[test]
    fn bad_patterns_say_why_in_one_line() {
        let why = |text| Pattern::parse(text).err().unwrap_or_default();
        assert_eq!(why("a("), "unclosed group");
        assert_eq!(why("a)(b"), "unopened group");
        // A comment must not swallow the anchor.
        assert_eq!(why("(?x) a+ # comment"), "unclosed group");
        assert_eq!(why("*a"), "repetition operator missing expression; anything is written .*");
        assert_eq!(why("(a{1000}){1000}"), "the expression needs more than 262144 bytes of memory");
    }

    #[test]
    fn names_as_of_files_are_known() {
        for (text, want) in [
            ("customer-*", Some("customer-.*")),
            ("https://*.example.com", Some(r"https://.*\.example\.com")),
            ("a*b*", Some("a.*b.*")),
            ("customer-.*", None),
            ("customer", None),
            ("a*|b", None),
            (r"a\*", None),
            ("a+", None),
        ] {
            let pattern = Pattern::parse(text).expect("a pattern");
            assert_eq!(pattern.meant().as_deref(), want, "{text}");
        }
    }

    #[track_caller]
    fn check_origin(rule: &str, origin: &str, want: bool) {
        let rule = OriginRule::parse(rule).expect("a rule");
        assert_eq!(rule.is_match(origin), want, "{origin}");
    }

    #[test]
    fn origins_match_whole() {
        check_origin("*", "https://x.example.com", true);
        check_origin("https://app.example.com", "https://app.example.com", true);
        check_origin("https://app.example.com", "https://app.example.com.evil.example", false);
        check_origin(r"https://.*\.example\.com", "https://a.example.com", true);
        check_origin(r"https://.*\.example\.com", "https://a.example.com.evil.example", false);
        check_origin("http://localhost:5173", "http://localhost:5173", true);
        check_origin("null", "null", true);
    }

    #[test]
    fn what_no_browser_sends_is_refused() {
        for text in
            ["app.example.com", "https://app.example.com/", "https://App.example.com", "https://"]
        {
            assert!(OriginRule::parse(text).is_err(), "{text}");
        }
    }
}
