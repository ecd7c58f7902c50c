//! What can be asked of a conf file that is not, or need not be, a whole configuration: its API
//! keys, and where an option stands.
//!
//! Neither needs a secret, so both work on a machine that has none. Not here: the configuration
//! (`file`).

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

use super::error::{ConfErrors, Finding, Place};
use super::file::{self, Input};
use super::read::Value;
use super::yaml::{Data, Entry, Node, join, numbered};
use super::{ApiKey, auth, spec};
use crate::proto::backend::ROSTER;

/// The API keys of the conf file at a path. Secrets that it names are not looked for.
///
/// # Errors
/// What is wrong with the file's form and with the keys, in the order of the file.
pub fn api_keys(path: &Path) -> Result<Vec<ApiKey>, ConfErrors> {
    with_root(path, |reader, root| {
        let root = reader.table(&Value { node: root, path: String::new() }, spec::ROOT);
        root.map(|root| auth::api_keys_alone(reader, &root)).unwrap_or_default()
    })
}

/// Where the options of a conf file stand.
pub struct Places {
    files: Vec<Arc<str>>,
    root: Rc<Node>,
}

impl Places {
    /// Those of the conf file at a path; `None` if it cannot be read.
    #[must_use]
    pub fn load(path: &Path) -> Option<Self> {
        let mut files = Vec::new();
        let mut found = None;
        let done = with_root(path, |reader, root| {
            files.extend(reader.files.iter().map(|file| file.name.clone()));
            found = Some(Rc::clone(root));
        });
        done.ok()?;
        Some(Self { files, root: found? })
    }

    /// Something to say about an option, by its dotted path. Numbers count the items of all files
    /// together; what is told counts them within their own. What is not there has the place of
    /// what it would stand in.
    #[must_use]
    pub fn finding(&self, option: &str, message: String) -> Finding {
        let mut found = Found { node: &self.root, at: self.root.at, path: String::new() };
        let mut rest = option;
        while let Some((next, left)) = found.step(rest) {
            (found, rest) = (next, left);
        }
        found.path.push_str(rest);
        Finding {
            file: self.files.get(found.at.file).map_or_else(|| "".into(), Arc::clone),
            position: Some(found.at.into()),
            path: found.path,
            message,
        }
    }
}

/// How far a path leads.
struct Found<'n> {
    node: &'n Node,
    at: Place,
    path: String,
}

impl<'n> Found<'n> {
    /// One step further, and what is left of the path.
    fn step<'p>(&self, rest: &'p str) -> Option<(Self, &'p str)> {
        match &self.node.data {
            Data::Map(entries) => {
                let rest = rest.strip_prefix('.').unwrap_or(rest);
                let ends = |left: &str| left.is_empty() || left.starts_with(['.', '[']);
                let left = |entry: &Entry| {
                    rest.strip_prefix(&join("", &entry.key)).filter(|left| ends(left))
                };
                let (entry, left) = entries.iter().find_map(|entry| Some((entry, left(entry)?)))?;
                let node = &*entry.value;
                // A table is called by its key, a value by itself.
                let at = match node.data {
                    Data::Scalar(_) => node.at,
                    Data::Map(_) | Data::List(_) => entry.at,
                };
                Some((Found { node, at, path: join(&self.path, &entry.key) }, left))
            }
            Data::List(items) => {
                let (number, left) = rest.strip_prefix('[')?.split_once(']')?;
                let (number, node) = numbered(items).nth(number.parse().ok()?)?;
                let path = format!("{}[{number}]", self.path);
                Some((Found { node, at: node.at, path }, left))
            }
            Data::Scalar(_) => None,
        }
    }
}

/// Reads a file's form, and looks at it.
fn with_root<T>(
    path: &Path,
    look: impl FnOnce(&mut super::read::Reader<'_>, &Rc<Node>) -> T,
) -> Result<T, ConfErrors> {
    let (name, text) = file::text_of(path)?;
    let base_dir = path.parent().unwrap_or_else(|| Path::new(""));
    let input = Input { text: &text, file_name: &name, base_dir, env: &|_| None, roster: ROSTER };
    let (mut reader, root) = file::begin(&input)?;
    let seen = look(&mut reader, &root);
    let errors = file::all(reader);
    if errors.errors.is_empty() { Ok(seen) } else { Err(errors) }
}

#[cfg(test)]
mod tests {
    use super::super::tests::Folder;
    use super::*;

    const CONF: &str = "include: [more.yaml]
listen: [{address: '127.0.0.1:0'}]
auth:
  api_keys: [{label: a, sha256: '${env:NOT_READ}'}]
sources:
  a.b: {backend: xians, url: 'http://a', api_key: '${env:NOBODY}'}
  c:
    backend: xians
routes: [{path: /e, sources: [c]}]
";
    const MORE: &str = "auth:
  api_keys:
    - {label: b, sha256: x}
    - {label: c,
       expires: 2020-01-01}
";

    #[test]
    fn options_are_found_across_files() {
        let folder = Folder::new(&[("c.yaml", CONF), ("more.yaml", MORE)]);
        let places = Places::load(&folder.0.join("c.yaml")).expect("a conf");
        for (option, want) in [
            ("listen[0].address", "c.yaml:2:20: listen[0].address: odd"),
            ("listen[0].tls", "c.yaml:2:10: listen[0].tls: odd"),
            ("sources.\"a.b\".url", "c.yaml:6:30: sources.\"a.b\".url: odd"),
            ("sources.c", "c.yaml:7:3: sources.c: odd"),
            ("auth.api_keys[0].label", "c.yaml:4:22: auth.api_keys[0].label: odd"),
            ("auth.api_keys[2].expires", "more.yaml:5:17: auth.api_keys[1].expires: odd"),
            ("auth.api_keys[9]", "c.yaml:4:3: auth.api_keys[9]: odd"),
            ("nothing", "c.yaml:1:1: nothing: odd"),
        ] {
            let told = places.finding(option, "odd".to_owned()).to_string();
            let told = told.strip_prefix(&format!("{}/", folder.0.display())).unwrap_or(&told);
            assert_eq!(told, want, "{option}");
        }
        assert!(Places::load(&folder.0.join("nobody.yaml")).is_none());
    }

    #[test]
    fn keys_are_read_without_secrets_and_told_when_they_are_wrong() {
        let digest = "0".repeat(64);
        let conf = CONF.replace("${env:NOT_READ}", &digest).replace("include: [more.yaml]", "");
        let folder = Folder::new(&[("c.yaml", &conf), ("bad.yaml", CONF), ("more.yaml", MORE)]);
        let keys = api_keys(&folder.0.join("c.yaml")).unwrap_or_else(|errors| panic!("{errors}"));
        assert_eq!(keys.iter().map(|key| key.label.as_str()).collect::<Vec<_>>(), ["a"]);
        let errors = api_keys(&folder.0.join("bad.yaml")).err().expect("refused").to_string();
        assert!(errors.contains("auth.api_keys[0].sha256: this must be the SHA-256"), "{errors}");
        assert!(!errors.contains("NOBODY"), "{errors}");
    }
}
