//! YAML text into nodes that know where they stand.
//!
//! Scalars stay text: what they are is decided by the field that reads them, so `00D1` and `1e5`
//! arrive as written. Aliases are shared, not copied; what they would amount to is counted, so a
//! small file cannot become a large one. Syntax errors and duplicate keys end it at the first.

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, Tag};

use super::error::{Place, quoted};

/// Deeper than any conf needs; nodes are dropped recursively.
pub(super) const DEPTH_MAX: usize = 32;
/// Nodes with aliases counted as often as they are used: room for 20,000 API keys.
pub(super) const NODES_MAX: usize = 250_000;

/// A value and where it stands.
pub(super) struct Node {
    pub(super) at: Place,
    pub(super) data: Data,
    /// Nodes in it, itself included, aliases written out.
    nodes: usize,
    /// Levels in it.
    depth: usize,
}

impl Node {
    /// What was put together out of nodes that were read.
    pub(super) const fn merged(at: Place, data: Data) -> Self {
        Self { at, data, nodes: 0, depth: 0 }
    }
}

/// What a value is.
pub(super) enum Data {
    Scalar(Scalar),
    List(Vec<Rc<Node>>),
    Map(Vec<Entry>),
}

/// One value.
pub(super) struct Scalar {
    pub(super) text: String,
    /// Written without quotes.
    pub(super) is_plain: bool,
}

impl Scalar {
    /// Whether there is nothing, or a word for it.
    pub(super) fn is_null(&self) -> bool {
        self.is_plain && matches!(self.text.as_str(), "" | "~" | "null" | "Null" | "NULL")
    }
}

/// A key and its value.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) at: Place,
    pub(super) value: Rc<Node>,
}

/// Why a text gives no node.
pub(super) struct YamlError {
    pub(super) at: Place,
    pub(super) path: String,
    pub(super) message: String,
}

/// Reads the one document of a text; `None` if there is nothing in it. `file` is the number
/// that its places bear.
pub(super) fn parse(text: &str, file: usize) -> Result<Option<Rc<Node>>, YamlError> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut parser = Parser::new_from_str(text);
    let mut builder = Builder::default();
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| {
            let at = place(error.marker(), file);
            let hint = hint(text, at, error.info());
            let message = format!("this is no YAML: {}{hint}", error.info());
            YamlError { at, path: String::new(), message }
        })?;
        builder.on_event(event, place(&span.start, file))?;
    }
    // A lone `---` is an empty document.
    let is_nothing =
        |root: &Rc<Node>| matches!(&root.data, Data::Scalar(scalar) if scalar.is_null());
    Ok(builder.root.filter(|root| !is_nothing(root)))
}

/// What would be right where the commonest slips leave the parser without words for them.
fn hint(text: &str, at: Place, info: &str) -> &'static str {
    let line = text.lines().nth(at.line.saturating_sub(1)).unwrap_or_default();
    let is_bare = |(at, _): (usize, &str)| {
        !line.get(..at).is_some_and(|before| before.ends_with(['"', '\'']))
    };
    let has_bare = |what: &str| line.match_indices(what).any(is_bare);
    if info.contains("unknown escape") {
        "; between double quotes \\ begins an escape: write expressions between single quotes"
    } else if info.contains("anchor") {
        "; * and & begin an alias or an anchor: quote the value, or leave the option out for any"
    } else if info.contains("flow") && (has_bare("${env") || has_bare("${file")) {
        "; quote what holds braces: \"${env:NAME}\", \"${file:PATH}\""
    } else if info.contains("unexpected character") {
        "; quote a value that begins so"
    } else if info.contains("tab") {
        "; indent by spaces"
    } else {
        ""
    }
}

fn place(marker: &Marker, file: usize) -> Place {
    Place { file, line: marker.line(), column: marker.col() + 1 }
}

/// Items with their numbers, which begin anew with each file that a list was made of.
pub(super) fn numbered(items: &[Rc<Node>]) -> impl Iterator<Item = (usize, &Rc<Node>)> {
    let mut number = 0;
    let mut file = None;
    items.iter().map(move |node| {
        number = if file == Some(node.at.file) { number + 1 } else { 0 };
        file = Some(node.at.file);
        (number, node)
    })
}

/// Appends a key to a dotted path.
pub(super) fn join(path: &str, key: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-<".contains(c);
    let key = match key.chars().all(is_plain) && !key.is_empty() && key.len() <= 64 {
        true => Cow::Borrowed(key),
        false => Cow::Owned(quoted(key)),
    };
    if path.is_empty() { key.into_owned() } else { format!("{path}.{key}") }
}

/// A list or map that is still open.
struct Open {
    at: Place,
    anchor: usize,
    nodes: usize,
    depth: usize,
    inside: Inside,
}

enum Inside {
    List(Vec<Rc<Node>>),
    Map { entries: Vec<Entry>, first: HashMap<String, Place>, key: Option<(String, Place)> },
}

#[derive(Default)]
struct Builder {
    stack: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
    nodes: usize,
    root: Option<Rc<Node>>,
}

impl Builder {
    fn on_event(&mut self, event: Event<'_>, at: Place) -> Result<(), YamlError> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.root.is_some() => {
                Err(self.error(at, "a conf file is one document; drop what starts with this ---"))
            }
            Event::DocumentStart(_) => Ok(()),
            Event::Alias(id) => match self.anchors.get(&id) {
                Some(node) => {
                    let node = Rc::clone(node);
                    self.nodes = self.nodes.saturating_add(node.nodes);
                    self.insert(node, at)
                }
                None => Err(self.error(at, "an alias stands inside of what it names")),
            },
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.as_deref(), at)?;
                let is_plain = style == ScalarStyle::Plain;
                let data = Data::Scalar(Scalar { text: text.into_owned(), is_plain });
                self.nodes = self.nodes.saturating_add(1);
                self.close(Node { at, data, nodes: 1, depth: 1 }, anchor)
            }
            Event::SequenceStart(anchor, tag) => {
                self.open(anchor, tag.as_deref(), at, Inside::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                let inside = Inside::Map { entries: Vec::new(), first: HashMap::new(), key: None };
                self.open(anchor, tag.as_deref(), at, inside)
            }
            Event::SequenceEnd | Event::MappingEnd => match self.stack.pop() {
                Some(Open { at, anchor, nodes, depth, inside }) => {
                    let data = match inside {
                        Inside::List(items) => Data::List(items),
                        Inside::Map { entries, .. } => Data::Map(self.merged(entries)?),
                    };
                    self.close(Node { at, data, nodes, depth }, anchor)
                }
                None => Ok(()),
            },
        }
    }

    fn open(
        &mut self,
        anchor: usize,
        tag: Option<&Tag>,
        at: Place,
        inside: Inside,
    ) -> Result<(), YamlError> {
        self.refuse_tag(tag, at)?;
        if let Some(Open { inside: Inside::Map { key: None, .. }, .. }) = self.stack.last() {
            return Err(self.error(at, "a key is one word, not a list or a table"));
        }
        if self.stack.len() >= DEPTH_MAX {
            return Err(self.error(at, &format!("this is nested deeper than {DEPTH_MAX} levels")));
        }
        self.nodes = self.nodes.saturating_add(1);
        self.stack.push(Open { at, anchor, nodes: 1, depth: 1, inside });
        Ok(())
    }

    fn close(&mut self, node: Node, anchor: usize) -> Result<(), YamlError> {
        let at = node.at;
        let node = Rc::new(node);
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        self.insert(node, at)
    }

    fn insert(&mut self, node: Rc<Node>, at: Place) -> Result<(), YamlError> {
        if self.nodes > NODES_MAX {
            let message = format!("there are more than {NODES_MAX} values, aliases written out");
            return Err(self.error(at, &message));
        }
        let Some(open) = self.stack.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        open.nodes = open.nodes.saturating_add(node.nodes);
        open.depth = open.depth.max(node.depth + 1);
        if open.depth > DEPTH_MAX {
            return Err(self.error(at, &format!("this is nested deeper than {DEPTH_MAX} levels")));
        }
        match &mut open.inside {
            Inside::List(items) => items.push(node),
            Inside::Map { entries, first, key } => match (key.take(), &node.data) {
                (Some((key, at)), _) => entries.push(Entry { key, at, value: node }),
                (None, Data::Scalar(scalar)) => {
                    let name = scalar.text.clone();
                    let before = first.insert(name.clone(), at);
                    *key = Some((name, at));
                    if let Some(before) = before {
                        let message =
                            format!("this key is here twice; first in line {}", before.line);
                        return Err(self.error(at, &message));
                    }
                }
                (None, Data::List(_) | Data::Map(_)) => {
                    return Err(self.error(at, "a key is one word, not a list or a table"));
                }
            },
        }
        Ok(())
    }

    /// Takes in what `<<` names: keys that are written win, then the earlier one.
    fn merged(&self, entries: Vec<Entry>) -> Result<Vec<Entry>, YamlError> {
        let (merges, mut out): (Vec<_>, Vec<_>) =
            entries.into_iter().partition(|entry| entry.key == "<<");
        for merge in merges {
            let rule = || self.error(merge.at, "<< takes an alias of a table, or a list of such");
            let alone = [Rc::clone(&merge.value)];
            let tables = match &merge.value.data {
                Data::List(items) => items.as_slice(),
                Data::Map(_) | Data::Scalar(_) => alone.as_slice(),
            };
            for table in tables {
                let Data::Map(more) = &table.data else {
                    return Err(rule());
                };
                for entry in more {
                    if !out.iter().any(|known| known.key == entry.key) {
                        out.push(entry.clone());
                    }
                }
            }
        }
        Ok(out)
    }

    fn refuse_tag(&self, tag: Option<&Tag>, at: Place) -> Result<(), YamlError> {
        match tag {
            Some(_) => Err(self.error(at, "tags such as !x have no meaning here")),
            None => Ok(()),
        }
    }

    fn error(&self, at: Place, message: &str) -> YamlError {
        let mut path = String::new();
        for open in &self.stack {
            path = match &open.inside {
                Inside::List(items) => format!("{path}[{}]", items.len()),
                Inside::Map { key: Some((key, _)), .. } => join(&path, key),
                Inside::Map { key: None, .. } => path,
            };
        }
        YamlError { at, path, message: message.to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(node: &Node) -> String {
        match &node.data {
            Data::Scalar(scalar) if scalar.is_null() => "null".to_owned(),
            Data::Scalar(scalar) => scalar.text.clone(),
            Data::List(items) => {
                format!("[{}]", items.iter().map(|item| show(item)).collect::<Vec<_>>().join(" "))
            }
            Data::Map(entries) => {
                let show = |entry: &Entry| format!("{}={}", entry.key, show(&entry.value));
                format!("{{{}}}", entries.iter().map(show).collect::<Vec<_>>().join(" "))
            }
        }
    }

    #[track_caller]
    fn check(text: &str, want: &str) {
        let got = match parse(text, 0) {
            Ok(Some(node)) => show(&node),
            Ok(None) => "nothing".to_owned(),
            Err(error) => {
                format!("{}:{} {}: {}", error.at.line, error.at.column, error.path, error.message)
            }
        };
        assert_eq!(got, want, "{text:?}");
    }

    #[test]
    fn values_stay_as_written() {
        check("", "nothing");
        check("# only a comment\n", "nothing");
        check("---\n", "nothing");
        check("---\n# a comment\n...\n", "nothing");
        check("\u{feff}a: 1e5\r\nb: 00D1\r\n", "{a=1e5 b=00D1}");
        check("a: ~\nb: 'null'\nc:\n", "{a=null b=null c=null}");
        check("- a\n- [b, {c: d}]", "[a [b {c=d}]]");
        check("a: |\n  x\n  y\n", "{a=x\ny\n}");
    }

    #[test]
    fn aliases_and_merges_are_written_out() {
        check("a: &x {b: 1}\nc: *x", "{a={b=1} c={b=1}}");
        check("a: &x {b: 1, d: 2}\nc: {<<: *x, b: 3}", "{a={b=1 d=2} c={b=3 d=2}}");
        check(
            "a: &x {b: 1}\nc: &y {b: 2, d: 2}\ne: {<<: [*x, *y]}",
            "{a={b=1} c={b=2 d=2} e={b=1 d=2}}",
        );
        check("a: {<<: 1}", "1:5 a: << takes an alias of a table, or a list of such");
        check("a: &x [*x]", "1:8 a[0]: an alias stands inside of what it names");
    }

    #[test]
    fn the_first_fault_ends_it() {
        check("a: {b: 1, c: 2, b: 3}", "1:17 a.b: this key is here twice; first in line 1");
        check("a:\n  - b: 1\n    b: 2\n", "3:5 a[0].b: this key is here twice; first in line 2");
        check(
            "a: 1\n---\nb: 2",
            "2:1 : a conf file is one document; drop what starts with this ---",
        );
        check("a: !x 1", "1:4 a: tags such as !x have no meaning here");
        check("? [a]\n: b", "1:3 : a key is one word, not a list or a table");
        assert!(parse("a: [1, 2", 0).is_err());
        assert!(parse("a: *nobody", 0).is_err());
        assert!(parse("a: b: c", 0).is_err());
    }

    #[test]
    fn the_commonest_slips_are_told_what_would_be_right() {
        for (text, want) in [
            ("a: {key: ${env:X}}", "quote what holds braces: \"${env:NAME}\""),
            ("a:\n  - {url: 'x', key: ${file:x}, b: 1}", "quote what holds braces"),
            (r#"a: ["https://.*\.example"]"#, "write expressions between single quotes"),
            ("a: *", "quote the value, or leave the option out for any"),
            ("a: [*]", "quote the value, or leave the option out for any"),
            ("a: *any", "quote the value, or leave the option out for any"),
            ("a: &", "quote the value, or leave the option out for any"),
            ("a: @x", "quote a value that begins so"),
            ("a:\n\tb: 1", "indent by spaces"),
        ] {
            let error = parse(text, 0).err().map(|error| error.message).unwrap_or_default();
            assert!(error.contains(want), "{text:?}: {error}");
        }
    }

    #[test]
    fn small_files_stay_small() {
        let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
        for level in 1..=9 {
            let below = vec![format!("*a{}", level - 1); 10].join(", ");
            bomb.push_str(&format!("a{level}: &a{level} [{below}]\n"));
        }
        let error = parse(&bomb, 0).err().expect("refused");
        assert_eq!(error.message, "there are more than 250000 values, aliases written out");

        let mut chain = String::from("a0: &a0 [x]\n");
        for level in 1..=DEPTH_MAX {
            chain.push_str(&format!("a{level}: &a{level} [*a{}]\n", level - 1));
        }
        let error = parse(&chain, 0).err().expect("refused");
        assert_eq!(error.message, "this is nested deeper than 32 levels");

        for nest in ["[".repeat(100_000), "{a: ".repeat(100_000), "- ".repeat(100_000)] {
            let error = parse(&nest, 0).err().expect("refused");
            let is_depth =
                error.message.contains("32 levels") || error.message.contains("recursion limit");
            assert!(is_depth, "{}", error.message);
        }
        let many = format!("[{}]", "x,".repeat(NODES_MAX));
        let error = parse(&many, 0).err().expect("refused");
        assert_eq!(error.message, "there are more than 250000 values, aliases written out");
    }
}
