//! Tokens as well-nested steps: elements that the source leaves open, or closes in the wrong order, are closed here.

use std::collections::VecDeque;

use super::{
    Step,
    tag::Tag,
    token::{Token, Tokens},
};

pub(crate) struct Steps<'a> {
    tokens: Tokens<'a>,
    open: Vec<Tag>,
    due: VecDeque<Step<'a>>,
}

impl<'a> Steps<'a> {
    pub(crate) fn new(html: &'a str) -> Self {
        Self { tokens: Tokens::new(html), open: Vec::new(), due: VecDeque::new() }
    }

    /// How many elements are open after the steps taken so far, and those about to be.
    pub(crate) fn depth(&self) -> usize {
        self.open.len()
    }

    fn start(&mut self, tag: Tag) {
        if tag.is_block() {
            let holds_paragraphs = |open: Tag| {
                matches!(open, Tag::Blockquote | Tag::Division | Tag::Item | Tag::Summary) || open.is_part_of_table()
            };
            self.close_within(Tag::Paragraph, holds_paragraphs);
        }
        if tag == Tag::Item {
            self.close_within(tag, |open| {
                matches!(open, Tag::List | Tag::NumberedList | Tag::Blockquote) || open.is_part_of_table()
            });
        } else if tag == Tag::Section || tag == Tag::Row {
            self.close_within(tag, |open| open == Tag::Table);
        } else if tag == Tag::Cell {
            self.close_within(tag, |open| matches!(open, Tag::Table | Tag::Row));
        } else if tag == Tag::Anchor {
            self.close_within(tag, |open| open == Tag::Cell);
        } else if self.open.last().is_some_and(|last| matches!((last, tag), (Tag::Heading(_), Tag::Heading(_)))) {
            self.close_last();
        }
    }

    fn end(&mut self, tag: Tag) {
        let holds_all = |open: Tag| !tag.is_part_of_table() && matches!(open, Tag::Cell | Tag::Caption);
        self.close_within(tag, holds_all);
    }

    /// Closes the innermost open `tag` and all in it, unless something that it may not reach out of lies between.
    fn close_within(&mut self, tag: Tag, barrier: impl Fn(Tag) -> bool) {
        for at in (0..self.open.len()).rev() {
            let open = self.open[at];
            if open.is_closed_by(tag) {
                while self.open.len() > at {
                    self.close_last();
                }
                return;
            }
            if barrier(open) {
                return;
            }
        }
    }

    fn close_last(&mut self) {
        self.due.extend(self.open.pop().map(Step::Close));
    }
}

impl<'a> Iterator for Steps<'a> {
    type Item = Step<'a>;

    fn next(&mut self) -> Option<Step<'a>> {
        loop {
            if let Some(step) = self.due.pop_front() {
                return Some(step);
            }
            match self.tokens.next() {
                Some(Token::Text(text)) => return Some(Step::Text(text)),
                Some(Token::Start(tag, attributes)) => {
                    self.start(tag);
                    if !tag.is_void() {
                        self.open.push(tag);
                    }
                    self.due.push_back(Step::Open(tag, attributes));
                }
                Some(Token::End(tag)) => self.end(tag),
                None if self.open.is_empty() => return None,
                None => self.close_last(),
            }
        }
    }
}
