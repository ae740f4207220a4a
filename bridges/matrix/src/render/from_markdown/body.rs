//! The plain form: what the agent wrote, tidied, with the few signs that everybody reads.

use super::element::Element;
use crate::render::sheet::{Gap, Sheet};

#[derive(Default)]
pub(super) struct Body {
    sheet: Sheet,
    line: String,
    /// The next number of each open list; `None` for bullets.
    lists: Vec<Option<u64>>,
    in_code: bool,
    first_cell: bool,
}

impl Body {
    pub(super) fn len(&self) -> usize {
        self.sheet.len() + self.line.len()
    }

    pub(super) fn finish(mut self) -> String {
        self.end_line();
        self.sheet.finish()
    }

    pub(super) fn start(&mut self, element: Element) {
        match element {
            Element::Paragraph | Element::Table => self.end_block(Gap::Blank),
            Element::Heading(level) => {
                self.end_block(Gap::Blank);
                self.line = format!("{} ", "#".repeat(level.into()));
            }
            Element::Quote => {
                self.end_block(Gap::Blank);
                self.sheet.enter_quote();
            }
            Element::CodeBlock => {
                self.end_block(Gap::Blank);
                self.in_code = true;
            }
            Element::List(first) => {
                self.end_block(if self.lists.is_empty() { Gap::Blank } else { Gap::Line });
                self.lists.push(first);
            }
            Element::Item => {
                self.end_block(Gap::Line);
                let marker = self.next_marker();
                self.sheet.enter_item(marker);
            }
            Element::TableHead | Element::TableRow => {
                self.end_line();
                self.first_cell = true;
            }
            Element::Cell => {
                self.line.push_str(if self.first_cell { "" } else { " | " });
                self.first_cell = false;
            }
            Element::Strong | Element::Emphasis | Element::Strike => self.line.push_str(element.sign()),
        }
    }

    pub(super) fn end(&mut self, element: Element) {
        match element {
            Element::Paragraph | Element::Heading(_) | Element::Table => self.end_block(Gap::Blank),
            Element::Quote => {
                self.end_block(Gap::Blank);
                self.sheet.leave();
            }
            Element::CodeBlock => {
                self.in_code = false;
                self.end_block(Gap::Blank);
            }
            Element::List(_) => {
                self.lists.pop();
                self.end_block(if self.lists.is_empty() { Gap::Blank } else { Gap::Line });
            }
            Element::Item => {
                self.end_block(Gap::Line);
                self.sheet.leave();
            }
            Element::TableHead | Element::TableRow => {
                self.end_line();
            }
            Element::Cell => {}
            Element::Strong | Element::Emphasis | Element::Strike => self.line.push_str(element.sign()),
        }
    }

    pub(super) fn text(&mut self, text: &str) {
        self.line.push_str(text);
    }

    pub(super) fn code_span(&mut self, text: &str) {
        self.line.extend(["`", text, "`"]);
    }

    /// Also of an empty line, which the writer made; inside of code there may be several.
    pub(super) fn line_break(&mut self) {
        if self.in_code {
            let line = std::mem::take(&mut self.line);
            self.sheet.line(&line);
        } else if !self.end_line() {
            self.sheet.gap(Gap::Blank);
        }
    }

    pub(super) fn rule(&mut self) {
        self.end_block(Gap::Blank);
        self.sheet.line("---");
        self.sheet.gap(Gap::Blank);
    }

    pub(super) fn drop_backslash(&mut self) {
        if self.line.ends_with('\\') {
            self.line.pop();
        }
    }

    fn end_block(&mut self, gap: Gap) {
        self.end_line();
        self.sheet.gap(gap);
    }

    /// Whether there was one.
    fn end_line(&mut self) -> bool {
        let line = std::mem::take(&mut self.line);
        let line = line.trim_end();
        if !line.trim().is_empty() {
            self.sheet.line(line);
        }
        !line.is_empty()
    }

    fn next_marker(&mut self) -> String {
        match self.lists.last_mut() {
            Some(Some(number)) => {
                let marker = format!("{number}. ");
                *number = number.saturating_add(1);
                marker
            }
            Some(None) | None => "- ".to_owned(),
        }
    }
}
