//! The reference of conf files for people, in Markdown: made of the tables that the reader
//! reads by.
//!
//! Not here: the tables (`spec`, the dialects), the same for editors (`schema`).

use super::schema::bounds;
use super::spec::{Field, Kind, Presence, reference};
use crate::proto::backend::{Dialect, OptionKind, OptionSpec};
use crate::proto::template::Variable;

const HEAD: &str = "\
# Configuration

Every option of a conf file: what it takes, what happens without it, what it means. Made from the tables that the reader
itself reads by (`cargo test` fails where they differ). Examples are in `conf/`, explanations in [Operating](operating.md).

Unknown keys, keys that stand there twice and values out of bounds are errors; all are told at once, with file, line,
column and dotted path. Editors check and complete with `docs/schema/conf.schema.json`:

```yaml
# yaml-language-server: $schema=docs/schema/conf.schema.json
```
";

const KINDS: &[(&str, &str)] = &[
    ("text", "one value in one line, not empty"),
    ("literal", "text as it is, which may be empty"),
    ("address", "`host:port`; IPv6 in brackets; port 0 takes a free one"),
    ("url", "`http://` or `https://`, host, port, path; no user, query or fragment"),
    (
        "path",
        "begins with `/`; no query; nothing empty between slashes, escapes only where they are needed. A route's is matched exactly, so it has no `/` at its end",
    ),
    (
        "file",
        "from the folder of the file that names it; after `$CREDENTIALS_DIRECTORY/` among what systemd hands over",
    ),
    (
        "files",
        "a file, or several: `*`, `?` and `[...]` stand for what a name may hold, not for `/`",
    ),
    ("block", "`10.0.0.0/8`, `2001:db8::/32`, or one address"),
    ("origin", "`https://app.example.com`, an expression over the whole of it, or `*`"),
    (
        "pattern",
        "text taken exactly; with any of `\\ ^ $ * + ? ( ) [ ] { } |` in it an expression over the whole value",
    ),
    ("expression", "a regular expression, found anywhere in a string"),
    ("digest", "64 hexadecimal digits"),
    ("time", "`2027-01-01` or `2027-01-01T12:00:00Z`"),
    ("rate", "`5/s`, `30/m`, `100/h`"),
    (
        "secret",
        "`${env:NAME}` or `${file:PATH}` as the whole value; literally it works with a warning",
    ),
    ("PEM", "PEM text, or as a secret"),
    ("number", "a whole number without quotes"),
    ("duration", "`500ms`, `15s`, `10m`, `1h`"),
    ("seconds", "a duration of whole seconds"),
    ("size", "`512B`, `64KiB`, `1MiB`"),
    ("template", "text in which clients' values take the place of holes, see below"),
    ("secret template", "a secret, or a template whose hole the client fills"),
];

/// The page.
#[must_use]
pub fn document() -> String {
    let (root, roster) = reference();
    let mut out = HEAD.to_owned();
    out.push_str("\n## Kinds of values\n\n| kind | how it is written |\n|---|---|\n");
    for (name, how) in KINDS {
        row(&mut out, &[name, how]);
    }
    out.push_str(&format!(
        "\n**Holes** of templates: {}. `{{{{` stands for a brace.\n",
        holes().join(", ")
    ));
    out.push_str("\n## Top level\n\n");
    fields(&mut out, "", root);
    sections(&mut out, "", root, roster);
    out
}

fn holes() -> Vec<String> {
    Variable::HELP.split(", ").map(|name| format!("`{{{}}}`", name.trim())).collect()
}

/// The tables below a table, each with a section of its own.
fn sections(out: &mut String, path: &str, table: &[Field], roster: &[&Dialect]) {
    for field in table {
        let (inner, path) = match inner(&field.kind) {
            Some((inner, suffix)) => (inner, format!("{}{suffix}", joined(path, field.name))),
            None => continue,
        };
        out.push_str(&format!("\n## `{path}`\n\n{}\n\n", field.doc));
        fields(out, &path, inner);
        if inner.iter().any(|field| matches!(field.kind, Kind::Backend)) {
            for dialect in roster {
                backend(out, &path, dialect);
            }
        }
        sections(out, &path, inner, roster);
    }
}

/// The options of a table in it, and what its path ends in.
const fn inner(kind: &Kind) -> Option<(&'static [Field], &'static str)> {
    match kind {
        Kind::Table(fields) => Some((fields, "")),
        Kind::Named(fields) => Some((fields, ".NAME")),
        Kind::List(Kind::Table(fields)) | Kind::OneOrMore(Kind::Table(fields)) => {
            Some((fields, "[]"))
        }
        Kind::List(_)
        | Kind::OneOrMore(_)
        | Kind::Text
        | Kind::Literal
        | Kind::Address
        | Kind::Url
        | Kind::UrlPath
        | Kind::File
        | Kind::Files
        | Kind::IpNet
        | Kind::Origin
        | Kind::Pattern
        | Kind::Expression
        | Kind::Digest
        | Kind::Time
        | Kind::Rate
        | Kind::Secret
        | Kind::Pem
        | Kind::Bool
        | Kind::Number { .. }
        | Kind::Duration { .. }
        | Kind::Seconds { .. }
        | Kind::Size { .. }
        | Kind::Word(_)
        | Kind::Backend => None,
    }
}

fn fields(out: &mut String, path: &str, table: &[Field]) {
    out.push_str("| option | takes | without it | meaning |\n|---|---|---|---|\n");
    for field in table {
        let bounds = bounds(&field.kind);
        let takes = match bounds.as_str() {
            "" => takes(&field.kind),
            bounds => format!("{}, {bounds}", takes(&field.kind)),
        };
        let without = match field.presence {
            Presence::Required => "an error".to_owned(),
            Presence::Default(text) => format!("`{text}`"),
            Presence::Derived(words) => words.to_owned(),
            Presence::Optional => match field.kind {
                Kind::Table(inner) if has_defaults(inner) => {
                    "the defaults of its options".to_owned()
                }
                _ => "none".to_owned(),
            },
        };
        row(out, &[&format!("`{}`", joined(path, field.name)), &takes, &without, field.doc]);
    }
}

/// Whether a table that is left out is as one with nothing in it.
fn has_defaults(table: &[Field]) -> bool {
    let is_default = |field: &Field| match field.presence {
        Presence::Default(_) | Presence::Derived(_) => true,
        Presence::Required | Presence::Optional => match field.kind {
            Kind::Table(inner) => has_defaults(inner),
            _ => false,
        },
    };
    let is_required = |field: &Field| matches!(field.presence, Presence::Required);
    table.iter().any(is_default) && !table.iter().any(is_required)
}

fn takes(kind: &Kind) -> String {
    let word = match kind {
        Kind::Text => "text",
        Kind::Literal => "literal",
        Kind::Address => "address",
        Kind::Url => "url",
        Kind::UrlPath => "path",
        Kind::File => "file",
        Kind::Files => "files",
        Kind::IpNet => "block",
        Kind::Origin => "origin",
        Kind::Pattern => "pattern",
        Kind::Expression => "expression",
        Kind::Digest => "digest",
        Kind::Time => "time",
        Kind::Rate => "rate",
        Kind::Secret => "secret",
        Kind::Pem => "PEM",
        Kind::Bool => "`true` or `false`",
        Kind::Number { .. } => "number",
        Kind::Duration { .. } => "duration",
        Kind::Seconds { .. } => "seconds",
        Kind::Size { .. } => "size",
        Kind::Word(words) => return words_of(words),
        Kind::Backend => "the name of a backend below",
        Kind::List(Kind::Table(_)) => "a list of tables",
        Kind::List(item) => return format!("a list: {}", takes(item)),
        Kind::OneOrMore(item) => return format!("{}, or a list of it", takes(item)),
        Kind::Table(_) => "a table",
        Kind::Named(_) => "tables by name",
    };
    word.to_owned()
}

fn words_of(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

fn backend(out: &mut String, path: &str, dialect: &Dialect) {
    out.push_str(&format!(
        "\n### `{path}`, backend `{}`\n\n{}, [in detail](backends/{}.md).\n\n\
         | option | takes | must be there | meaning |\n|---|---|---|---|\n",
        dialect.name, dialect.title, dialect.name
    ));
    options(out, "", dialect.options);
}

fn options(out: &mut String, path: &str, specs: &[OptionSpec]) {
    for spec in specs {
        let path = joined(path, spec.name);
        let takes = match spec.kind {
            OptionKind::Template => "template".to_owned(),
            OptionKind::Secret => "secret template".to_owned(),
            OptionKind::Word(words) => words_of(words),
            OptionKind::Bool => "`true` or `false`".to_owned(),
            OptionKind::Secs { min, max } => format!("seconds, {min}s to {max}s"),
            OptionKind::Table(_) => "a table".to_owned(),
            OptionKind::Templates => "templates by names of your choice".to_owned(),
        };
        let needed = if spec.is_required { "yes" } else { "no" };
        row(out, &[&format!("`{path}`"), &takes, needed, &sentence(spec.doc)]);
        if let OptionKind::Table(specs) = spec.kind {
            options(out, &path, specs);
        }
    }
}

/// Words with a full stop behind them.
pub(super) fn sentence(words: &str) -> String {
    format!("{}.", words.trim_end_matches('.'))
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

fn row(out: &mut String, cells: &[&str]) {
    for cell in cells {
        out.push_str("| ");
        out.push_str(&cell.replace('|', "\\|"));
        out.push(' ');
    }
    out.push_str("|\n");
}
