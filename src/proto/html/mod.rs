//! HTML that people wrote to each other: as plain text, as links, as safe markup.
//!
//! [`read`] knows the elements and character references of the HTML standard; what merely looks
//! like a tag (`<you@example.com>`, `a < b`, an unfinished `<b`) stays text. The tokenizer and
//! the sanitiser are other people's; nothing recurses, reading is one pass, markup beyond
//! [`MARKUP_BYTES_MAX`] or [`TAGS_MAX`] is left out while its text stays. Not here: Markdown,
//! finding addresses in plain text.

mod layout;
mod safe;
mod tag;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use html5gum::{DefaultEmitter, HtmlString, Span, Spanned, Token, Tokenizer};
use memchr::memchr2;

use self::layout::Layout;
use self::tag::Tag;

pub use safe::{MARKUP_BYTES_MAX, TAGS_MAX};

/// What a piece of HTML says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// As a person reads it: breaks and block ends are LF, cells of a row stand a tab apart.
    pub text: String,
    /// The same, sanitised; `None` if it holds no tags, says nothing, or is too large.
    pub markup: Option<String>,
    /// Its links, in order; a link that leads to anything but the web, mail or a telephone is
    /// none. Bounded by the text, of which addresses and titles are parts.
    pub links: Vec<Link>,
}

/// One link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Where to.
    pub url: String,
    /// Its text, on one line.
    pub title: Option<String>,
    /// The address of the first picture in it.
    pub image: Option<String>,
}

/// Reads text that may be HTML; `None` if it holds no tag, comment or character reference of
/// HTML, and so is plain text as it stands.
#[must_use]
pub fn read(source: &str) -> Option<Reading> {
    memchr2(b'<', b'&', source.as_bytes())?;
    let source = with_lf(source);
    let scan = Scan::new(&source);
    if !scan.is_html {
        return None;
    }
    if scan.tags == 0 {
        // Escaped plain text: its white space is meant.
        let text = scan.pieces.iter().map(Piece::text).collect::<String>();
        return Some(Reading {
            text: text.replace('\u{A0}', " "),
            markup: None,
            links: Vec::new(),
        });
    }
    let (text, links) = render(&scan.pieces);
    Some(Reading { text, markup: safe::markup(&source, &scan.literal, scan.tags), links })
}

/// Text that may be HTML, as plain text.
#[must_use]
pub fn plain(text: Cow<'_, str>) -> Cow<'_, str> {
    match read(&text) {
        Some(reading) => Cow::Owned(reading.text),
        None => text,
    }
}

/// HTML knows LF alone.
fn with_lf(source: &str) -> Cow<'_, str> {
    if source.contains('\r') {
        Cow::Owned(source.replace("\r\n", "\n").replace('\r', "\n"))
    } else {
        Cow::Borrowed(source)
    }
}

/// A part of the message, in order. What is hidden gives none.
enum Piece {
    Text(String),
    Start(Tag, Attributes),
    End(Tag),
}

type Attributes = BTreeMap<HtmlString, Spanned<HtmlString, usize>>;

impl Piece {
    fn text(&self) -> &str {
        match self {
            Self::Text(text) => text,
            Self::Start(..) | Self::End(_) => "",
        }
    }
}

/// The message taken apart.
struct Scan<'m> {
    source: &'m str,
    pieces: Vec<Piece>,
    /// What looks like a tag and is none.
    literal: Vec<Range<usize>>,
    tags: usize,
    is_html: bool,
    /// The element whose content is not shown, and how often it is open within itself.
    hidden: Option<(HtmlString, u32)>,
}

impl<'m> Scan<'m> {
    fn new(source: &'m str) -> Self {
        let mut scan = Self {
            source,
            pieces: Vec::new(),
            literal: Vec::new(),
            tags: 0,
            is_html: false,
            hidden: None,
        };
        let mut emitter = DefaultEmitter::<usize>::new_with_span();
        emitter.naively_switch_states(true);
        let mut end = 0;
        for Ok(token) in Tokenizer::new_with_emitter(source, emitter) {
            end = scan.on_token(token).unwrap_or(end);
        }
        // The tokenizer gives nothing for a tag that the message ends in.
        scan.on_literal(end..source.len());
        scan
    }

    /// Takes a token; says where it ended, if it is more than a complaint.
    fn on_token(&mut self, token: Token<usize>) -> Option<usize> {
        let span = match token {
            Token::StartTag(start) => {
                match Tag::parse(&start.name) {
                    Some(tag) => {
                        self.on_start(tag, start.name, start.attributes, start.self_closing)
                    }
                    None => self.on_literal(range(start.span)),
                }
                start.span
            }
            Token::EndTag(end) => {
                match Tag::parse(&end.name) {
                    Some(tag) => self.on_end(tag, &end.name),
                    None => self.on_literal(range(end.span)),
                }
                end.span
            }
            Token::String(string) => {
                self.on_string(&string.value, range(string.span));
                string.span
            }
            Token::Comment(comment) => {
                // `<?` and `</ ` also begin a comment in HTML, but nobody means one by them.
                let is_comment =
                    self.source.get(range(comment.span)).is_some_and(|text| text.starts_with("<!"));
                if is_comment {
                    self.is_html = true;
                } else {
                    self.on_literal(range(comment.span));
                }
                comment.span
            }
            Token::Doctype(doctype) => {
                self.is_html = true;
                doctype.span
            }
            Token::Error(_) => return None,
        };
        Some(span.end)
    }

    fn on_start(&mut self, tag: Tag, name: HtmlString, attributes: Attributes, is_closed: bool) {
        self.is_html = true;
        self.tags += 1;
        match &mut self.hidden {
            Some((hidden, depth)) if *hidden == name => *depth += 1,
            Some(_) => {}
            // Only drawings and formulas can be closed where they open.
            None if tag == Tag::Hidden => self.hidden = Some((name, 1)),
            None if tag == Tag::Drawing => {
                if !is_closed {
                    self.hidden = Some((name, 1));
                }
            }
            None => self.pieces.push(Piece::Start(tag, attributes)),
        }
    }

    fn on_end(&mut self, tag: Tag, name: &HtmlString) {
        self.is_html = true;
        self.tags += 1;
        match &mut self.hidden {
            Some((hidden, depth)) => {
                if hidden == name {
                    *depth -= 1;
                    if *depth == 0 {
                        self.hidden = None;
                    }
                }
            }
            None => self.pieces.push(Piece::End(tag)),
        }
    }

    fn on_string(&mut self, value: &HtmlString, span: Range<usize>) {
        let text = String::from_utf8_lossy(value).into_owned();
        self.is_html |= self.source.get(span) != Some(&text);
        if self.hidden.is_none() {
            self.pieces.push(Piece::Text(text));
        }
    }

    /// What looks like a tag is read as text: its character references count, its `<` do not.
    fn on_literal(&mut self, span: Range<usize>) {
        let source = self.source;
        let Some(text) = source.get(span.clone()).filter(|text| !text.is_empty()) else {
            return;
        };
        if self.hidden.is_some() {
            return;
        }
        self.literal.push(span);
        let mut decoded = String::with_capacity(text.len());
        for (index, part) in text.split('<').enumerate() {
            if index > 0 {
                decoded.push('<');
            }
            decode(&mut decoded, part);
        }
        self.is_html |= decoded != text;
        self.pieces.push(Piece::Text(decoded));
    }
}

const fn range(span: Span<usize>) -> Range<usize> {
    span.start..span.end
}

/// Appends text without `<`, its character references resolved.
fn decode(out: &mut String, text: &str) {
    if !text.contains('&') {
        out.push_str(text);
        return;
    }
    for Ok(token) in Tokenizer::new(text) {
        if let Token::String(string) = token {
            out.push_str(&String::from_utf8_lossy(&string));
        }
    }
}

/// Lays the pieces out as lines of text, and collects the links.
fn render(pieces: &[Piece]) -> (String, Vec<Link>) {
    let mut layout = Layout::default();
    let mut links = Vec::new();
    let mut open: Option<(Link, usize)> = None;
    for piece in pieces {
        match piece {
            Piece::Text(text) => layout.text(text),
            Piece::Start(Tag::Anchor, attributes) => {
                close_link(&mut open, &layout, &mut links);
                let url = attributes.get(b"href".as_slice()).and_then(|url| safe::link_url(url));
                open = url.map(|url| (Link { url, ..Link::default() }, layout.len()));
            }
            Piece::End(Tag::Anchor) => close_link(&mut open, &layout, &mut links),
            Piece::Start(Tag::Image, attributes) => {
                if let Some(alt) = attributes.get(b"alt".as_slice()) {
                    layout.text(&String::from_utf8_lossy(alt));
                }
                if let Some((link, _)) = &mut open
                    && link.image.is_none()
                {
                    let source = attributes.get(b"src".as_slice());
                    link.image = source.and_then(|url| safe::image_url(url));
                }
            }
            Piece::Start(tag, _) => layout.start(*tag),
            Piece::End(tag) => layout.end(*tag),
        }
    }
    close_link(&mut open, &layout, &mut links);
    (layout.finish(), links)
}

fn close_link(open: &mut Option<(Link, usize)>, layout: &Layout, links: &mut Vec<Link>) {
    if let Some((mut link, start)) = open.take() {
        let words: Vec<&str> = layout.since(start).split_whitespace().collect();
        link.title = (!words.is_empty()).then(|| words.join(" "));
        links.push(link);
    }
}

#[cfg(test)]
mod tests;
