//! Text laid out in lines, as a browser would show it without any style.
//!
//! White space collapses; a break is an LF, and so is the edge of a block where text stands on
//! both sides of it. Not here: which elements do what (`tag`).

use super::tag::Tag;

/// Lines in the making.
#[derive(Default)]
pub(super) struct Layout {
    out: String,
    /// An edge of a block was passed; an LF is due before the next text.
    is_edge_due: bool,
    /// White space was passed; a space is due before more text on the same line.
    is_space_due: bool,
    /// How many elements are open in which white space stays as written.
    kept: u32,
    /// The row has a cell already.
    has_cell: bool,
}

impl Layout {
    /// Text between tags.
    pub(super) fn text(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '\n' if self.kept > 0 => self.line_break(),
                ' ' | '\t' if self.kept > 0 => self.push(c),
                ' ' | '\t' | '\n' | '\r' | '\x0C' => self.is_space_due = true,
                c => self.push(c),
            }
        }
    }

    /// A start tag.
    pub(super) fn start(&mut self, tag: Tag) {
        match tag {
            Tag::Inline | Tag::Anchor | Tag::Image | Tag::Hidden | Tag::Drawing => {}
            Tag::Break => self.line_break(),
            Tag::Block => self.edge(),
            Tag::Preformatted => {
                self.edge();
                self.kept += 1;
            }
            Tag::Field => self.kept += 1,
            Tag::Row => {
                self.edge();
                self.has_cell = false;
            }
            Tag::Cell => self.cell(),
        }
    }

    /// An end tag. As in a browser, `</br>` is a break.
    pub(super) fn end(&mut self, tag: Tag) {
        match tag {
            Tag::Inline | Tag::Anchor | Tag::Image | Tag::Hidden | Tag::Drawing | Tag::Cell => {}
            Tag::Break => self.line_break(),
            Tag::Block => self.edge(),
            Tag::Preformatted => {
                self.edge();
                self.kept = self.kept.saturating_sub(1);
            }
            Tag::Field => self.kept = self.kept.saturating_sub(1),
            Tag::Row => {
                self.edge();
                self.has_cell = false;
            }
        }
    }

    /// The text, without the white space around it.
    pub(super) fn finish(mut self) -> String {
        self.out.truncate(self.out.trim_end().len());
        let lead = self.out.len() - self.out.trim_start_matches(['\n', '\t', ' ']).len();
        self.out.drain(..lead);
        // Kept apart from other white space up to here: it does not collapse.
        self.out.replace('\u{A0}', " ")
    }

    /// How much text there is so far.
    pub(super) const fn len(&self) -> usize {
        self.out.len()
    }

    /// The text since there was so much.
    pub(super) fn since(&self, start: usize) -> &str {
        self.out.get(start..).unwrap_or_default()
    }

    fn push(&mut self, c: char) {
        self.pass_edge();
        if self.is_space_due && !self.is_line_start() && !self.out.ends_with('\t') {
            self.out.push(' ');
        }
        self.is_space_due = false;
        self.out.push(c);
    }

    fn line_break(&mut self) {
        self.pass_edge();
        self.is_space_due = false;
        self.out.push('\n');
    }

    fn edge(&mut self) {
        self.is_edge_due |= !self.is_line_start();
        self.is_space_due = false;
    }

    fn cell(&mut self) {
        if self.has_cell {
            // A block within the cell before would end the line of the row.
            self.is_edge_due = false;
            self.out.push('\t');
        } else {
            self.pass_edge();
            self.has_cell = true;
        }
        self.is_space_due = false;
    }

    fn pass_edge(&mut self) {
        if self.is_edge_due {
            self.is_edge_due = false;
            self.is_space_due = false;
            if !self.is_line_start() {
                self.out.push('\n');
            }
        }
    }

    fn is_line_start(&self) -> bool {
        self.out.is_empty() || self.out.ends_with('\n')
    }
}
