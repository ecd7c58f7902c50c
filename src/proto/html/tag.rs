//! The elements of HTML, and what each does to plain text.
//!
//! All of the standard's, those it calls obsolete included, since agents paste mail. Not here:
//! which elements are safe to show (`safe`).

/// What an element does to plain text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tag {
    /// Nothing.
    Inline,
    /// A link.
    Anchor,
    /// A picture: its `alt` is its text.
    Image,
    /// Ends the line.
    Break,
    /// Stands on lines of its own.
    Block,
    /// Stands on lines of its own, white space as written.
    Preformatted,
    /// White space as written.
    Field,
    /// A row of a table.
    Row,
    /// A cell of a row.
    Cell,
    /// Its content is not shown.
    Hidden,
    /// A drawing or formula, whose tags are not HTML's. Its content is not shown.
    Drawing,
}

/// Elements whose content is not shown.
pub(super) const HIDDEN: &[&str] = &[
    "iframe", "math", "noembed", "noframes", "noscript", "script", "style", "svg", "template",
    "title",
];

impl Tag {
    /// The element of a lower-case name; `None` if HTML knows none.
    pub(super) fn parse(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"br" => Self::Break,
            b"a" => Self::Anchor,
            b"img" | b"image" => Self::Image,
            b"tr" => Self::Row,
            b"td" | b"th" => Self::Cell,
            b"pre" | b"listing" | b"xmp" | b"plaintext" => Self::Preformatted,
            b"textarea" => Self::Field,
            b"svg" | b"math" => Self::Drawing,
            b"iframe" | b"noembed" | b"noframes" | b"noscript" | b"script" | b"style"
            | b"template" | b"title" => Self::Hidden,
            b"address" | b"article" | b"aside" | b"blockquote" | b"body" | b"caption"
            | b"center" | b"dd" | b"details" | b"dialog" | b"dir" | b"div" | b"dl" | b"dt"
            | b"fieldset" | b"figcaption" | b"figure" | b"footer" | b"form" | b"frameset"
            | b"h1" | b"h2" | b"h3" | b"h4" | b"h5" | b"h6" | b"header" | b"hgroup" | b"hr"
            | b"html" | b"legend" | b"li" | b"main" | b"menu" | b"nav" | b"ol" | b"optgroup"
            | b"option" | b"p" | b"search" | b"section" | b"summary" | b"table" | b"tbody"
            | b"tfoot" | b"thead" | b"ul" => Self::Block,
            b"abbr" | b"acronym" | b"applet" | b"area" | b"audio" | b"b" | b"base"
            | b"basefont" | b"bdi" | b"bdo" | b"bgsound" | b"big" | b"blink" | b"button"
            | b"canvas" | b"cite" | b"code" | b"col" | b"colgroup" | b"data" | b"datalist"
            | b"del" | b"dfn" | b"em" | b"embed" | b"font" | b"frame" | b"head" | b"i"
            | b"input" | b"ins" | b"isindex" | b"kbd" | b"keygen" | b"label" | b"link" | b"map"
            | b"mark" | b"marquee" | b"menuitem" | b"meta" | b"meter" | b"multicol" | b"nextid"
            | b"nobr" | b"object" | b"output" | b"param" | b"picture" | b"progress" | b"q"
            | b"rb" | b"rp" | b"rt" | b"rtc" | b"ruby" | b"s" | b"samp" | b"select"
            | b"selectedcontent" | b"slot" | b"small" | b"source" | b"spacer" | b"span"
            | b"strike" | b"strong" | b"sub" | b"sup" | b"time" | b"track" | b"tt" | b"u"
            | b"var" | b"video" | b"wbr" => Self::Inline,
            _ => return None,
        })
    }
}
