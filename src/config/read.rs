//! Nodes into values, by the table of options; what is wrong is collected, not returned.
//!
//! A read that fails gives `None` and leaves an error behind, so the caller goes on and finds the
//! others. An option that is absent gives its default. Messages repeat no value of a secret
//! field. Not here: which options there are (`spec`), rules across options (`file`).

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::error::{ERRORS_MAX, Finding, Place, did_you_mean, quoted};
use super::spec::{Field, Kind, Presence};
use super::units;
use super::yaml::{Data, Entry, Node, Scalar, join, numbered};
use crate::proto::backend::Dialect;

/// The variable in which a service manager says where its credentials lie.
pub(super) const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";
/// How a path begins that lies there.
const HANDED: &str = "$CREDENTIALS_DIRECTORY/";

/// A value, where it stands, how it is called.
pub(super) struct Value<'n> {
    pub(super) node: &'n Node,
    pub(super) path: String,
}

/// A table whose keys were checked.
pub(super) struct Table<'n> {
    pub(super) at: Place,
    pub(super) path: String,
    entries: &'n [Entry],
    fields: &'static [Field],
}

impl<'n> Table<'n> {
    /// What stands at a key.
    pub(super) fn get(&self, name: &str) -> Option<Value<'n>> {
        let entry = self.entries.iter().find(|entry| entry.key == name)?;
        Some(Value { node: &entry.value, path: join(&self.path, name) })
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.entries.iter().any(|entry| entry.key == name)
    }

    /// Its keys with their places.
    pub(super) const fn entries(&self) -> &'n [Entry] {
        self.entries
    }

    fn field(&self, name: &str) -> Option<&'static Field> {
        self.fields.iter().find(|field| field.name == name)
    }

    /// Where a key's value stands, or the table if it is absent.
    pub(super) fn at(&self, name: &str) -> Place {
        self.get(name).map_or(self.at, |value| value.node.at)
    }
}

/// One of the files that make a conf.
pub(super) struct ConfFile {
    /// As it is called in messages.
    pub(super) name: Arc<str>,
    /// What the paths in it start from.
    pub(super) folder: PathBuf,
}

/// What is read with, and what was found.
pub(super) struct Reader<'a> {
    /// By [`Place::file`]. Never empty.
    pub(super) files: Vec<ConfFile>,
    pub(super) env: &'a dyn Fn(&str) -> Option<String>,
    pub(super) roster: &'a [&'static Dialect],
    pub(super) errors: Vec<Finding>,
    /// Errors that were not kept.
    pub(super) more: usize,
    pub(super) warnings: Vec<Finding>,
}

impl Reader<'_> {
    pub(super) fn error(&mut self, at: Place, path: &str, message: impl Into<String>) {
        if self.errors.len() >= ERRORS_MAX {
            self.more += 1;
            return;
        }
        let finding = self.finding(at, path, message.into());
        self.errors.push(finding);
    }

    pub(super) fn warn(&mut self, at: Place, path: &str, message: impl Into<String>) {
        if self.warnings.len() < ERRORS_MAX {
            let finding = self.finding(at, path, message.into());
            self.warnings.push(finding);
        }
    }

    fn finding(&self, at: Place, path: &str, mut message: String) -> Finding {
        /// Longer ones hold something that somebody made long.
        const CHARS_MAX: usize = 500;
        if let Some((end, _)) = message.char_indices().nth(CHARS_MAX) {
            message.truncate(end);
            message.push('…');
        }
        let position = Some(at.into());
        Finding { file: self.file_name(at), position, path: path.to_owned(), message }
    }

    fn file_name(&self, at: Place) -> Arc<str> {
        self.files.get(at.file).map_or_else(|| "".into(), |file| Arc::clone(&file.name))
    }

    /// What the paths in the file of a place start from.
    pub(super) fn folder(&self, at: Place) -> &Path {
        self.files.get(at.file).map_or_else(|| Path::new(""), |file| &file.folder)
    }

    /// Where a file lies that is named at a place: from the folder of that file, or among what the
    /// service manager hands over (`LoadCredential`), whose folder no conf can know before.
    pub(super) fn file_at(&self, at: Place, written: &str) -> PathBuf {
        let handed = written.strip_prefix(HANDED).and_then(|name| {
            let folder = (self.env)(CREDENTIALS).filter(|folder| !folder.is_empty())?;
            Some(Path::new(&folder).join(name))
        });
        handed.unwrap_or_else(|| self.folder(at).join(written))
    }

    /// How another place is called in a message about this one: by its path, and by file, line
    /// and column where it stands in another file.
    pub(super) fn called(&self, other: Place, path: &str, here: Place) -> String {
        if other.file == here.file {
            return path.to_owned();
        }
        format!("{path} in {}:{}:{}", self.file_name(other), other.line, other.column)
    }

    /// A table; unknown keys and missing ones are told.
    pub(super) fn table<'n>(
        &mut self,
        value: &Value<'n>,
        fields: &'static [Field],
    ) -> Option<Table<'n>> {
        let table = self.open_table(value, fields)?;
        for entry in table.entries {
            if table.field(&entry.key).is_none() {
                let hint = known_keys(&entry.key, fields.iter().map(|field| field.name));
                self.error(
                    entry.at,
                    &join(&table.path, &entry.key),
                    format!("no such option{hint}"),
                );
            }
        }
        self.check_required(&table);
        Some(table)
    }

    /// A table whose keys the caller checks.
    pub(super) fn open_table<'n>(
        &mut self,
        value: &Value<'n>,
        fields: &'static [Field],
    ) -> Option<Table<'n>> {
        match &value.node.data {
            Data::Map(entries) => {
                Some(Table { at: value.node.at, path: value.path.clone(), entries, fields })
            }
            Data::Scalar(scalar) if scalar.is_null() => {
                self.no_value(value);
                None
            }
            Data::Scalar(_) | Data::List(_) => {
                self.error(value.node.at, &value.path, "this must be a table of key: value");
                None
            }
        }
    }

    pub(super) fn check_required(&mut self, table: &Table<'_>) {
        for field in table.fields {
            if matches!(field.presence, Presence::Required) && !table.has(field.name) {
                let path = join(&table.path, field.name);
                self.error(table.at, &path, format!("this is missing: {}", lower_first(field.doc)));
            }
        }
    }

    /// The table at a key; absent, it is empty, so every option has its default.
    pub(super) fn sub_table<'n>(
        &mut self,
        table: &Table<'n>,
        name: &str,
        fields: &'static [Field],
    ) -> Option<Table<'n>> {
        match table.get(name) {
            Some(value) => self.table(&value, fields),
            None => {
                Some(Table { at: table.at, path: join(&table.path, name), entries: &[], fields })
            }
        }
    }

    /// The values of a list that must not be empty; absent, none.
    pub(super) fn list<'n>(&mut self, table: &Table<'n>, name: &str) -> Vec<Value<'n>> {
        let Some(value) = table.get(name) else {
            return Vec::new();
        };
        match &value.node.data {
            Data::List(items) if items.is_empty() => {
                let is_derived = table
                    .field(name)
                    .is_some_and(|field| matches!(field.presence, Presence::Derived(_)));
                let hint = if is_derived { "; leave the key out for any" } else { "" };
                self.error(value.node.at, &value.path, format!("this list is empty{hint}"));
                Vec::new()
            }
            Data::List(items) => {
                let item = |(index, node): (usize, &'n std::rc::Rc<Node>)| Value {
                    node,
                    path: format!("{}[{index}]", value.path),
                };
                numbered(items).map(item).collect()
            }
            Data::Scalar(scalar) if scalar.is_null() => {
                self.no_value(&value);
                Vec::new()
            }
            Data::Scalar(_) | Data::Map(_) => {
                self.error(value.node.at, &value.path, "this must be a list");
                Vec::new()
            }
        }
    }

    /// A list, or one value in place of it.
    pub(super) fn one_or_more<'n>(&mut self, table: &Table<'n>, name: &str) -> Vec<Value<'n>> {
        match table.get(name) {
            Some(value) if matches!(value.node.data, Data::Scalar(_)) => vec![value],
            _ => self.list(table, name),
        }
    }

    /// A list whose values are all read alike.
    pub(super) fn list_of<'n, T>(
        &mut self,
        table: &Table<'n>,
        name: &str,
        mut read: impl FnMut(&mut Self, &Value<'n>) -> Option<T>,
    ) -> Vec<T> {
        let values = self.list(table, name);
        values.iter().filter_map(|value| read(self, value)).collect()
    }

    fn no_value(&mut self, value: &Value<'_>) {
        self.error(
            value.node.at,
            &value.path,
            "this key has no value; give it one, or leave it out",
        );
    }

    /// One value.
    pub(super) fn scalar<'n>(&mut self, value: &Value<'n>) -> Option<&'n Scalar> {
        match &value.node.data {
            Data::Scalar(scalar) if scalar.is_null() => {
                self.no_value(value);
                None
            }
            Data::Scalar(scalar) => Some(scalar),
            // What stands in braces may be a secret: it is not repeated.
            Data::Map(entries) if entries.iter().all(is_hole) => {
                let message = "this must be one value, not a table; a template is quoted: \
                               \"{query.NAME}\", \"{participantId}\"";
                self.error(value.node.at, &value.path, message);
                None
            }
            Data::List(_) | Data::Map(_) => {
                let message = "this must be one value, not a list or a table";
                self.error(value.node.at, &value.path, message);
                None
            }
        }
    }

    /// One value that is no secret, by a function that says what is wrong with it.
    pub(super) fn parsed<T>(
        &mut self,
        value: &Value<'_>,
        parse: impl FnOnce(&Scalar) -> Result<T, String>,
    ) -> Option<T> {
        let scalar = self.scalar(value)?;
        if scalar.text.starts_with("${env:") || scalar.text.starts_with("${file:") {
            let message = "${env:...} and ${file:...} work in secret fields only";
            self.error(value.node.at, &value.path, message);
            return None;
        }
        let parsed = parse(scalar);
        if let Err(message) = &parsed {
            self.error(value.node.at, &value.path, message.as_str());
        }
        parsed.ok()
    }

    /// The value at a key, or the default.
    fn parsed_at<T>(
        &mut self,
        table: &Table<'_>,
        name: &str,
        parse: impl FnOnce(&Scalar, Kind) -> Result<T, String>,
    ) -> Option<T> {
        let Some(field) = table.field(name) else {
            self.error(
                table.at,
                &join(&table.path, name),
                "this option is not in the table of options",
            );
            return None;
        };
        if let Some(value) = table.get(name) {
            return self.parsed(&value, |scalar| parse(scalar, field.kind));
        }
        let Presence::Default(text) = field.presence else {
            return None;
        };
        let parsed = parse(&Scalar { text: text.to_owned(), is_plain: true }, field.kind);
        if let Err(message) = &parsed {
            self.error(table.at, &join(&table.path, name), message.as_str());
        }
        parsed.ok()
    }

    pub(super) fn bool(&mut self, table: &Table<'_>, name: &str) -> Option<bool> {
        self.parsed_at(table, name, |scalar, _| parse_bool(scalar))
    }

    pub(super) fn number(&mut self, table: &Table<'_>, name: &str) -> Option<u64> {
        self.parsed_at(table, name, |scalar, kind| {
            let Kind::Number { min, max } = kind else {
                return Err(NOT_THAT_KIND.to_owned());
            };
            let number = parse_number(scalar)?;
            check_bounds(&scalar.text, number, min, max, |number| number.to_string())
        })
    }

    pub(super) fn duration(&mut self, table: &Table<'_>, name: &str) -> Option<Duration> {
        self.parsed_at(table, name, |scalar, kind| {
            let Kind::Duration { min, max } = kind else {
                return Err(NOT_THAT_KIND.to_owned());
            };
            let duration = units::parse_duration(&scalar.text)?;
            check_bounds(&scalar.text, duration, min, max, units::show_duration)
        })
    }

    pub(super) fn seconds(&mut self, table: &Table<'_>, name: &str) -> Option<u64> {
        self.parsed_at(table, name, |scalar, kind| {
            let Kind::Seconds { min, max } = kind else {
                return Err(NOT_THAT_KIND.to_owned());
            };
            parse_seconds(&scalar.text, min, max)
        })
    }

    pub(super) fn size(&mut self, table: &Table<'_>, name: &str) -> Option<usize> {
        self.parsed_at(table, name, |scalar, kind| {
            let Kind::Size { min, max } = kind else {
                return Err(NOT_THAT_KIND.to_owned());
            };
            let bytes = units::parse_size(&scalar.text)?;
            let bytes = check_bounds(&scalar.text, bytes, min, max, units::show_size)?;
            usize::try_from(bytes).map_err(|_| "the machine cannot address that much".to_owned())
        })
    }

    /// A word, told apart by the caller.
    pub(super) fn word<T>(
        &mut self,
        table: &Table<'_>,
        name: &str,
        known: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        self.parsed_at(table, name, |scalar, kind| {
            let Kind::Word(words) = kind else {
                return Err(NOT_THAT_KIND.to_owned());
            };
            let value = known(&scalar.text).filter(|_| words.contains(&scalar.text.as_str()));
            value.ok_or_else(|| no_word(&scalar.text, words))
        })
    }

    /// Text or anything that is read from text.
    pub(super) fn text<T>(
        &mut self,
        table: &Table<'_>,
        name: &str,
        parse: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.parsed_at(table, name, |scalar, _| parse(&scalar.text))
    }

    /// A file's path from the conf file's folder.
    pub(super) fn file_path(&mut self, table: &Table<'_>, name: &str) -> Option<PathBuf> {
        let path = self.text(table, name, parse_text)?;
        Some(self.file_at(table.at(name), &path))
    }
}

/// Whether this is what YAML makes of a template without quotes: a key without a value.
fn is_hole(entry: &Entry) -> bool {
    matches!(&entry.value.data, Data::Scalar(scalar) if scalar.is_null())
}

const NOT_THAT_KIND: &str = "the table of options has another kind for this";

/// What can be said about a key that is not known.
pub(super) fn known_keys<'w>(key: &str, names: impl Iterator<Item = &'w str> + Clone) -> String {
    let near = did_you_mean(key, names.clone());
    if near.is_empty() {
        format!("; there are {}", names.collect::<Vec<_>>().join(", "))
    } else {
        near
    }
}

pub(super) fn no_word(text: &str, words: &[&str]) -> String {
    let near = did_you_mean(text, words.iter().copied());
    format!("{} is none of {}{near}", quoted(text), words.join(", "))
}

/// Text that is there, in one line.
pub(super) fn parse_text(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("this is empty".to_owned());
    }
    if text.chars().any(char::is_control) {
        return Err("this holds a line break or another control character".to_owned());
    }
    Ok(text.to_owned())
}

pub(super) fn parse_bool(scalar: &Scalar) -> Result<bool, String> {
    match (scalar.text.as_str(), scalar.is_plain) {
        ("true", true) => Ok(true),
        ("false", true) => Ok(false),
        _ => Err("this must be true or false, without quotes".to_owned()),
    }
}

fn parse_number(scalar: &Scalar) -> Result<u64, String> {
    let is_number = scalar.is_plain && scalar.text.bytes().all(|byte| byte.is_ascii_digit());
    let number = if is_number { scalar.text.parse().ok() } else { None };
    number.ok_or_else(|| "this must be a whole number, without quotes".to_owned())
}

/// A duration of whole seconds within bounds.
pub(super) fn parse_seconds(text: &str, min: u64, max: u64) -> Result<u64, String> {
    let duration = units::parse_duration(text)?;
    if duration.subsec_millis() != 0 {
        return Err(format!("{} is not a whole number of seconds", quoted(text)));
    }
    check_bounds(text, duration.as_secs(), min, max, |secs| format!("{secs}s"))
}

fn check_bounds<T: PartialOrd + Copy>(
    written: &str,
    value: T,
    min: T,
    max: T,
    show: impl Fn(T) -> String,
) -> Result<T, String> {
    if value < min {
        Err(format!("{written} is under {}", show(min)))
    } else if value > max {
        Err(format!("{written} is over {}", show(max)))
    } else {
        Ok(value)
    }
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().map(|c| c.to_ascii_lowercase());
    first.into_iter().chain(chars).collect::<String>().trim_end_matches('.').to_owned()
}
