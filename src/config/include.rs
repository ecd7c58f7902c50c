//! `include`: other conf files, merged into the first before anything is read.
//!
//! An included file brings sources, routes, keys and issuers, and may include further ones; all
//! else belongs into the file that is named at the start. Everything keeps the file, line and
//! column where it was written, and its paths start from that file's folder. Not here: what the
//! merged tables mean (`file`).

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;

use glob::MatchOptions;
use zeroize::Zeroizing;

use super::error::{Place, did_you_mean, quoted};
use super::file::FILE_BYTES_MAX;
use super::read::{ConfFile, Reader, parse_text};
use super::secret::read_text;
use super::yaml::{self, Data, Entry, Node, YamlError, join};

/// So many files make a conf; more are a pattern gone wrong.
pub(super) const FILES_MAX: usize = 256;
/// Of all included files together: each may be as large as the first, not all of them.
pub(super) const BYTES_MAX: u64 = 4 * FILE_BYTES_MAX;
/// Files that include files that include files.
pub(super) const DEPTH_MAX: usize = 4;

/// What may stand in an included file besides `auth`, and how it is merged.
const MERGED: &[(&str, Shape)] =
    &[("sources", Shape::Names), ("routes", Shape::List), ("proxy", Shape::List)];
/// What of `auth` may stand there.
const MERGED_AUTH: &[(&str, Shape)] = &[("api_keys", Shape::List), ("jwt", Shape::List)];

#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Names,
    List,
}

/// Files that were read, in order.
struct Included<'r, 'a> {
    reader: &'r mut Reader<'a>,
    /// By their true paths: what a message calls them.
    known: HashMap<PathBuf, Arc<str>>,
    roots: Vec<Rc<Node>>,
    bytes: u64,
    is_broken: bool,
}

/// Reads what a conf includes and puts it together. `None`: a file is no YAML, which is told
/// alone, as it is of the first.
pub(super) fn merge(reader: &mut Reader<'_>, root: &Rc<Node>) -> Option<Rc<Node>> {
    let Data::Map(entries) = &root.data else {
        return Some(Rc::clone(root));
    };
    if !entries.iter().any(|entry| entry.key == "include") {
        return Some(Rc::clone(root));
    }
    let mut included =
        Included { known: HashMap::new(), roots: Vec::new(), bytes: 0, is_broken: false, reader };
    if let Some(first) = included.reader.files.first()
        && let Ok(path) = Path::new(&*first.name).canonicalize()
    {
        let name = Arc::clone(&first.name);
        included.known.insert(path, name);
    }
    included.follow(root, 1);
    let Included { roots, is_broken, .. } = included;
    if is_broken {
        return None;
    }
    for root in &roots {
        refuse_others(reader, root);
    }
    let auth = |root: &Rc<Node>| entry(root, "auth").map(|entry| Rc::clone(&entry.value));
    let mut merged = entries.clone();
    for (key, shape) in MERGED {
        let parts = roots.iter().filter_map(|root| entry(root, key)).cloned();
        append(reader, &mut merged, key, key, *shape, parts.collect());
    }
    let auths: Vec<_> = roots.iter().filter_map(auth).collect();
    if let Some(first) = auths.first() {
        let mut own = match merged.iter().find(|entry| entry.key == "auth") {
            Some(Entry { value, .. }) => match &value.data {
                Data::Map(entries) => Some((value.at, entries.clone())),
                // Told when the table is read.
                Data::List(_) | Data::Scalar(_) => None,
            },
            None => Some((first.at, Vec::new())),
        };
        if let Some((at, entries)) = &mut own {
            for (key, shape) in MERGED_AUTH {
                let parts = auths.iter().filter_map(|auth| entry(auth, key)).cloned();
                append(reader, entries, key, &format!("auth.{key}"), *shape, parts.collect());
            }
            put(&mut merged, "auth", *at, Data::Map(entries.clone()));
        }
    }
    Some(Rc::new(Node::merged(root.at, Data::Map(merged))))
}

impl Included<'_, '_> {
    /// Reads what a file includes, and what that includes.
    fn follow(&mut self, root: &Rc<Node>, depth: usize) {
        let Some(entry) = entry(root, "include") else {
            return;
        };
        let Data::List(patterns) = &entry.value.data else {
            let message = "this must be a list of files, such as [conf.d/*.yaml]";
            self.reader.error(entry.value.at, "include", message);
            return;
        };
        for (index, node) in patterns.iter().enumerate() {
            let (at, path) = (node.at, format!("include[{index}]"));
            let found = match &node.data {
                Data::Scalar(scalar) => find(self.reader.folder(at), &scalar.text),
                Data::List(_) | Data::Map(_) => Err("this must be one value".to_owned()),
            };
            let read = found
                .and_then(|files| files.into_iter().try_for_each(|file| self.read(&file, depth)));
            if let Err(message) = read {
                self.reader.error(at, &path, message);
            }
        }
    }

    fn read(&mut self, path: &Path, depth: usize) -> Result<(), String> {
        let name = path.display().to_string();
        let cannot = |error: std::io::Error| format!("cannot read {}: {error}", quoted(&name));
        let true_path = path.canonicalize().map_err(cannot)?;
        if let Some(known) = self.known.get(&true_path) {
            return Err(format!("{} is in this conf already, as {known}", quoted(&name)));
        }
        if self.reader.files.len() > FILES_MAX {
            return Err(format!("more than {FILES_MAX} files are included"));
        }
        if depth > DEPTH_MAX {
            return Err(format!("files include files more than {DEPTH_MAX} levels deep"));
        }
        let text = Zeroizing::new(read_text(path, &name, FILE_BYTES_MAX)?);
        self.bytes = self.bytes.saturating_add(text.len() as u64);
        if self.bytes > BYTES_MAX {
            return Err(format!("the included files are larger than {BYTES_MAX} bytes in all"));
        }
        let name: Arc<str> = name.into();
        self.known.insert(true_path, Arc::clone(&name));
        let number = self.reader.files.len();
        let folder = path.parent().unwrap_or_else(|| Path::new("")).to_owned();
        self.reader.files.push(ConfFile { name, folder });
        match yaml::parse(&text, number) {
            // Nothing but comments: an include that is switched off.
            Ok(None) => {}
            Ok(Some(root)) => {
                self.roots.push(Rc::clone(&root));
                self.follow(&root, depth + 1);
            }
            Err(YamlError { at, path, message }) => {
                self.is_broken = true;
                self.reader.error(at, &path, message);
            }
        }
        Ok(())
    }
}

/// The files that a pattern means, sorted. A name without wildcards must be there.
fn find(folder: &Path, text: &str) -> Result<Vec<PathBuf>, String> {
    let text = parse_text(text)?;
    if text.contains("**") {
        return Err("** has no meaning here; name the folders".to_owned());
    }
    let folder = folder.to_str().ok_or("the name of this file's folder is not UTF-8")?;
    let full = match folder {
        _ if text.starts_with('/') => text.clone(),
        "" => text.clone(),
        folder => format!("{}/{text}", glob::Pattern::escape(folder)),
    };
    let options = MatchOptions {
        case_sensitive: true,
        require_literal_separator: true,
        require_literal_leading_dot: true,
    };
    let paths = glob::glob_with(&full, options)
        .map_err(|error| format!("{} is no pattern: {}", quoted(&text), error.msg))?;
    let mut files = Vec::new();
    for path in paths.take(FILES_MAX + 1) {
        files.push(path.map_err(|error| format!("cannot read {}", error.path().display()))?);
    }
    if files.is_empty() && !text.contains(['*', '?', '[']) {
        return Err(format!("there is no file {}", quoted(&text)));
    }
    files.sort();
    Ok(files)
}

/// Refuses what an included file does not decide.
fn refuse_others(reader: &mut Reader<'_>, root: &Rc<Node>) {
    const ROOT: &[&str] = &["version", "include", "sources", "routes", "proxy", "auth"];
    const AUTH: &[&str] = &["api_keys", "jwt"];
    let mut check = |node: &Node, path: &str, keys: &[&str]| {
        let Data::Map(entries) = &node.data else {
            reader.error(node.at, path, "this must be a table of key: value");
            return;
        };
        for entry in entries.iter().filter(|entry| !keys.contains(&entry.key.as_str())) {
            let near = did_you_mean(&entry.key, keys.iter().copied());
            let message = format!(
                "an included file takes {} here{near}; all else belongs into the first file",
                keys.join(", ")
            );
            reader.error(entry.at, &join(path, &entry.key), message);
        }
    };
    check(root, "", ROOT);
    if let Some(auth) = entry(root, "auth") {
        check(&auth.value, "auth", AUTH);
    }
}

/// Appends the parts of other files to what stands at a key.
fn append(
    reader: &mut Reader<'_>,
    entries: &mut Vec<Entry>,
    key: &str,
    path: &str,
    shape: Shape,
    parts: Vec<Entry>,
) {
    let own = entries.iter().find(|entry| entry.key == key).map(|entry| Rc::clone(&entry.value));
    let (mut names, mut items, at) = match own.as_deref() {
        None => (Vec::new(), Vec::new(), None),
        Some(Node { at, data: Data::Map(own), .. }) if shape == Shape::Names => {
            (own.clone(), Vec::new(), Some(*at))
        }
        Some(Node { at, data: Data::List(own), .. }) if shape == Shape::List => {
            (Vec::new(), own.clone(), Some(*at))
        }
        // Told when it is read.
        Some(_) => return,
    };
    let Some(at) = at.or_else(|| parts.first().map(|part| part.value.at)) else {
        return;
    };
    for part in &parts {
        match (&part.value.data, shape) {
            (Data::Map(more), Shape::Names) => {
                for entry in more {
                    match names.iter().find(|known| known.key == entry.key) {
                        Some(first) => refuse_twin(reader, path, entry, first),
                        None => names.push(entry.clone()),
                    }
                }
            }
            (Data::List(more), Shape::List) => items.extend(more.iter().map(Rc::clone)),
            (_, Shape::Names) => {
                reader.error(part.value.at, path, "this must be a table of key: value");
            }
            (_, Shape::List) => reader.error(part.value.at, path, "this must be a list"),
        }
    }
    let data = match shape {
        Shape::Names => Data::Map(names),
        Shape::List => Data::List(items),
    };
    put(entries, key, at, data);
}

fn refuse_twin(reader: &mut Reader<'_>, path: &str, entry: &Entry, first: &Entry) {
    let path = join(path, &entry.key);
    let first = reader.called(first.at, &path, entry.at);
    reader.error(entry.at, &path, format!("this name is here twice; first: {first}"));
}

fn put(entries: &mut Vec<Entry>, key: &str, at: Place, data: Data) {
    let value = Rc::new(Node::merged(at, data));
    match entries.iter_mut().find(|entry| entry.key == key) {
        Some(entry) => entry.value = value,
        None => entries.push(Entry { key: key.to_owned(), at, value }),
    }
}

fn entry<'n>(root: &'n Rc<Node>, key: &str) -> Option<&'n Entry> {
    match &root.data {
        Data::Map(entries) => entries.iter().find(|entry| entry.key == key),
        Data::List(_) | Data::Scalar(_) => None,
    }
}
