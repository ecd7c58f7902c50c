//! Which of several certificates is for the name that a client asks for.
//!
//! A whole name comes before a wildcard, and a wildcard stands for one label. Certificates with
//! different kinds of keys stand side by side, so that the client's own choice of signatures
//! decides. Names are in lower case. Not here: what a certificate holds (`certificate`).

use std::collections::HashMap;

/// What the choice looks at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Named {
    /// In lower case; `*.` may stand for the first label.
    pub(crate) names: Vec<String>,
    /// What tells one kind of key from another.
    pub(crate) kind: i32,
}

/// Certificates by their names. Those of one name are of different kinds.
#[derive(Debug, Default)]
pub(crate) struct Names {
    by_name: HashMap<String, Vec<usize>>,
    default: Vec<usize>,
}

impl Names {
    /// The names of these, which are known by their places from here on. What comes first counts.
    pub(crate) fn new(all: &[Named]) -> Self {
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        let kind = |index: usize| all.get(index).map(|named| named.kind);
        for (index, named) in all.iter().enumerate() {
            for name in &named.names {
                let group = by_name.entry(name.clone()).or_default();
                if group.iter().all(|other| kind(*other) != Some(named.kind)) {
                    group.push(index);
                }
            }
        }
        // The first, and what stands beside it.
        let mut default: Vec<usize> = if all.is_empty() { Vec::new() } else { vec![0] };
        let names = all.first().map(|first| first.names.as_slice()).unwrap_or_default();
        for index in names.iter().filter_map(|name| by_name.get(name)).flatten() {
            if default.iter().all(|other| kind(*other) != kind(*index)) {
                default.push(*index);
            }
        }
        Self { by_name, default }
    }

    /// The certificates for a name in any case; `None` = no certificate is.
    pub(crate) fn of(&self, asked: &str) -> Option<&[usize]> {
        let asked = asked.to_ascii_lowercase();
        let group = self.by_name.get(&asked).or_else(|| {
            let (_, parent) = asked.split_once('.')?;
            self.by_name.get(&format!("*.{parent}"))
        });
        group.map(Vec::as_slice)
    }

    /// The certificates for whoever asks for no name.
    pub(crate) fn default(&self) -> &[usize] {
        &self.default
    }
}

/// Whether a certificate's name is for this one, which may be a wildcard itself.
pub(crate) fn is_for(own: &str, name: &str) -> bool {
    own == name
        || own.strip_prefix("*.").is_some_and(|parent| {
            name.split_once('.').is_some_and(|(label, rest)| label != "*" && rest == parent)
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    const RSA: i32 = 6;
    const EC: i32 = 408;

    fn named(kind: i32, names: &[&str]) -> Named {
        Named { names: names.iter().map(|name| (*name).to_owned()).collect(), kind }
    }

    #[test]
    fn a_name_has_its_certificates() {
        let names = Names::new(&[
            named(RSA, &["a.example.com", "www.a.example.com"]),
            named(EC, &["a.example.com"]),
            named(EC, &["*.example.com"]),
            named(RSA, &["b.example.com", "a.example.com"]),
        ]);
        for (asked, want) in [
            ("a.example.com", Some(&[0, 1][..])),
            ("A.Example.COM", Some(&[0, 1])),
            ("www.a.example.com", Some(&[0])),
            ("b.example.com", Some(&[3])),
            ("c.example.com", Some(&[2])),
            ("d.c.example.com", None),
            ("example.com", None),
            ("*.example.com", Some(&[2])),
            (".example.com", Some(&[2])),
            ("", None),
        ] {
            assert_eq!(names.of(asked), want, "{asked}");
        }
        assert_eq!(names.default(), [0, 1]);
        assert_eq!(Names::new(&[named(RSA, &[])]).default(), [0]);
        assert!(Names::new(&[]).default().is_empty());
    }

    #[test]
    fn a_wildcard_stands_for_one_label() {
        for (own, name, want) in [
            ("a.b", "a.b", true),
            ("*.b", "a.b", true),
            ("*.b", "*.b", true),
            ("*.b", "c.a.b", false),
            ("*.b", "b", false),
            ("a.b", "*.b", false),
        ] {
            assert_eq!(is_for(own, name), want, "{own} {name}");
        }
    }
}
