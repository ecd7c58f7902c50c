//! What is wrong with a conf file: where, which rule, what would be right.
//!
//! A finding is one line and never holds a secret: values of secret fields are not repeated, and
//! what is repeated is cut short and escaped. Not here: the rules themselves (`file`).

use std::fmt;
use std::sync::Arc;

/// More errors than this are counted, not kept: nobody reads them.
pub const ERRORS_MAX: usize = 200;

/// A place in a file, both from 1. Columns count characters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// The line.
    pub line: usize,
    /// The column.
    pub column: usize,
}

/// A place in one of the files that make a conf. Ordered by file, then by place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// Which file, in the order in which they were read; 0 is the one that was named.
    pub(super) file: usize,
    /// The line, from 1.
    pub(super) line: usize,
    /// The column, from 1.
    pub(super) column: usize,
}

impl From<Place> for Position {
    fn from(Place { line, column, .. }: Place) -> Self {
        Self { line, column }
    }
}

/// Something to say about a conf file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The file, as it was named.
    pub file: Arc<str>,
    /// Where in it; `None` = about the file as a whole.
    pub position: Option<Position>,
    /// The dotted path: `routes[2].heartbeat.max`; empty = about no key.
    pub path: String,
    /// The rule, and what would be right.
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if let Some(at) = self.position {
            write!(f, ":{}:{}", at.line, at.column)?;
        }
        if !self.path.is_empty() {
            write!(f, ": {}", self.path)?;
        }
        write!(f, ": {}", self.message)
    }
}

/// Why a conf file was refused: all errors, in the order of the file. One line each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfErrors {
    /// Never empty; at most [`ERRORS_MAX`].
    pub errors: Vec<Finding>,
    /// How many more there are.
    pub more: usize,
    /// What is odd besides. Not displayed.
    pub warnings: Vec<Finding>,
}

impl fmt::Display for ConfErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.errors.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{error}")?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\nand {more} more"),
        }
    }
}

impl std::error::Error for ConfErrors {}

/// A value as it may be repeated in a message: between quotes, in one line, cut short.
pub(super) fn quoted(text: &str) -> String {
    /// Enough to know it again.
    const CHARS_MAX: usize = 60;
    let mut out = String::from("\"");
    for (index, c) in text.chars().enumerate() {
        if index == CHARS_MAX {
            out.push('…');
            break;
        }
        if c.is_control() || c == '"' {
            out.extend(c.escape_default());
        } else {
            out.push(c);
        }
    }
    out.push('"');
    out
}

/// `; did you mean "x"?` when one of the words is near enough, else nothing.
pub(super) fn did_you_mean<'w>(text: &str, words: impl IntoIterator<Item = &'w str>) -> String {
    /// No name is longer, and the distance takes the square of it.
    const BYTES_MAX: usize = 64;
    if text.len() > BYTES_MAX {
        return String::new();
    }
    let lower = text.to_lowercase();
    let far = (text.chars().count() / 3).max(1);
    let near = words
        .into_iter()
        .filter(|word| word.len() <= BYTES_MAX)
        .map(|word| (strsim::osa_distance(&lower, &word.to_lowercase()), word))
        .filter(|(distance, _)| *distance <= far)
        .min_by_key(|(distance, _)| *distance);
    near.map(|(_, word)| format!("; did you mean {}?", quoted(word))).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeated_values_stay_in_their_line() {
        assert_eq!(quoted("a\n\"b\u{1b}"), "\"a\\n\\\"b\\u{1b}\"");
        assert_eq!(quoted(&"é".repeat(61)), format!("\"{}…\"", "é".repeat(60)));
    }

    #[test]
    fn only_near_words_are_offered() {
        let words = ["desk", "care", "agent"];
        assert_eq!(did_you_mean("dsk", words), "; did you mean \"desk\"?");
        assert_eq!(did_you_mean("DESK", words), "; did you mean \"desk\"?");
        assert_eq!(did_you_mean("agnet", words), "; did you mean \"agent\"?");
        assert_eq!(did_you_mean("voice", words), "");
        assert_eq!(did_you_mean("", words), "");
        assert_eq!(did_you_mean(&"desk".repeat(1000), words), "");
    }
}
