//! An agent's Markdown as plain text that reads well. HTML is text like any other, and no link loses its address.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::links::is_allowed;

/// Deeper nesting is shown at this depth; a line must keep room for its text.
const BLOCKS_SHOWN_MAX: usize = 8;

/// The text/plain that an agent's Markdown becomes. Lines end with `\n`, the last one too.
pub(crate) fn of_markdown(markdown: &str) -> String {
    let mut page = Page::default();
    for event in Parser::new_ext(markdown, Options::ENABLE_STRIKETHROUGH) {
        page.take(event);
    }
    page.end_line();
    page.text
}

#[derive(Default)]
struct Page {
    text: String,
    line: String,
    /// A blank line is due before the next text.
    gap: bool,
    blocks: Vec<Block>,
    /// The next number of each open list; `None` for bullets.
    lists: Vec<Option<u64>>,
    /// Addresses of the open links, and where in this line their texts begin.
    links: Vec<(String, String)>,
}

enum Block {
    Quote,
    Code,
    /// The marker is written once, then blanks of its length.
    Item {
        marker: String,
        written: bool,
    },
}

impl Page {
    fn take(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text)
            | Event::Html(text)
            | Event::InlineHtml(text)
            | Event::Code(text)
            | Event::InlineMath(text)
            | Event::DisplayMath(text) => self.write(&text),
            Event::FootnoteReference(name) => self.write(&format!("[^{name}]")),
            Event::SoftBreak | Event::HardBreak => self.break_line(),
            Event::Rule => {
                self.end_line();
                self.write("---");
                self.end_block();
            }
            Event::TaskListMarker(done) => self.write(if done { "[x] " } else { "[ ] " }),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum; what it may add is shown as its text")]
    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Strong => self.write("*"),
            Tag::Emphasis => self.write("_"),
            Tag::Strikethrough => self.write("~"),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => {
                self.links.push((dest_url.into_string(), String::new()));
            }
            Tag::BlockQuote(_) => {
                self.end_line();
                self.blocks.push(Block::Quote);
            }
            Tag::CodeBlock(_) => {
                self.end_line();
                self.blocks.push(Block::Code);
            }
            Tag::List(first) => {
                self.end_line();
                self.lists.push(first);
            }
            Tag::Item => {
                self.end_line();
                let marker = self.next_marker();
                self.blocks.push(Block::Item { marker, written: false });
            }
            _ => self.end_line(),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum; what it may add is shown as its text")]
    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Strong => self.write("*"),
            TagEnd::Emphasis => self.write("_"),
            TagEnd::Strikethrough => self.write("~"),
            TagEnd::Link | TagEnd::Image => self.end_link(),
            TagEnd::Paragraph | TagEnd::Heading(_) | TagEnd::HtmlBlock => self.end_block(),
            TagEnd::CodeBlock | TagEnd::BlockQuote(_) => {
                self.end_block();
                self.blocks.pop();
            }
            TagEnd::Item => {
                self.end_line();
                self.blocks.pop();
            }
            TagEnd::List(_) => {
                self.end_line();
                self.lists.pop();
                self.gap |= self.lists.is_empty();
            }
            _ => self.end_line(),
        }
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

    fn end_link(&mut self) {
        let Some((address, text)) = self.links.pop() else { return };
        let shown = text == address || address.strip_prefix("mailto:").or(address.strip_prefix("tel:")) == Some(&text);
        if is_allowed(&address) && !shown {
            self.write(&if text.is_empty() { address } else { format!(" <{address}>") });
        }
    }

    fn write(&mut self, text: &str) {
        for link in &mut self.links {
            // It is only compared with the address, so no more of it is kept.
            if link.1.len() <= link.0.len() {
                link.1.push_str(text);
            }
        }
        for (at, part) in text.split('\n').enumerate() {
            if at > 0 {
                self.break_line();
            }
            if !part.is_empty() {
                self.write_prefix();
                self.line.extend(part.chars().filter(|c| *c == '\t' || !c.is_control()));
            }
        }
    }

    fn write_prefix(&mut self) {
        if !self.line.is_empty() {
            return;
        }
        if std::mem::take(&mut self.gap) && !self.text.is_empty() {
            let quotes = self.blocks.iter().filter(|block| matches!(block, Block::Quote)).count();
            self.text.push_str(&vec![">"; quotes.min(BLOCKS_SHOWN_MAX)].join(" "));
            self.text.push('\n');
        }
        let hidden = self.blocks.len().saturating_sub(BLOCKS_SHOWN_MAX);
        for block in self.blocks.iter_mut().skip(hidden) {
            match block {
                Block::Quote => self.line.push_str("> "),
                Block::Code => self.line.push_str("    "),
                Block::Item { marker, written: true } => self.line.extend(marker.chars().map(|_| ' ')),
                Block::Item { marker, written } => {
                    *written = true;
                    self.line.push_str(marker);
                }
            }
        }
    }

    /// Ends the line even when nothing stands in it.
    fn break_line(&mut self) {
        if self.line.is_empty() {
            self.write_prefix();
        }
        self.text.push_str(self.line.trim_end());
        self.text.push('\n');
        self.line.clear();
    }

    fn end_line(&mut self) {
        if !self.line.is_empty() {
            self.break_line();
        }
    }

    fn end_block(&mut self) {
        self.end_line();
        self.gap = true;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn markdown_becomes_text_that_reads_well() {
        for (markdown, expected) in [
            ("", ""),
            ("Hello **Ada**,\nhow are _you_?\n\nBye", "Hello *Ada*,\nhow are _you_?\n\nBye\n"),
            ("# Title\ntext", "Title\n\ntext\n"),
            ("- a\n- b\n\ntext", "- a\n- b\n\ntext\n"),
            ("3. a\n4. b\n   - c", "3. a\n4. b\n   - c\n"),
            ("> a\n>\n> b\n\nc", "> a\n>\n> b\n\nc\n"),
            ("```\na\n\n  b\n```\nc", "    a\n\n      b\n\nc\n"),
            ("[here](https://a.test/x)", "here <https://a.test/x>\n"),
            ("<https://a.test>", "https://a.test\n"),
            ("[a@b.test](mailto:a@b.test)", "a@b.test\n"),
            ("[here](javascript:x)", "here\n"),
            ("![](https://a.test/x.png)", "https://a.test/x.png\n"),
            ("a <b>c</b>", "a <b>c</b>\n"),
            ("a\n\n---\n\nb", "a\n\n---\n\nb\n"),
        ] {
            assert_eq!(of_markdown(markdown), expected, "{markdown:?}");
        }
    }

    #[test]
    fn deep_nesting_keeps_room_for_the_text() {
        assert_eq!(of_markdown(&format!("{}a", ">".repeat(2000))), format!("{}a\n", "> ".repeat(BLOCKS_SHOWN_MAX)));
    }

    proptest! {
        #[test]
        fn no_control_character_and_no_open_line_comes_out(markdown in "[ \\-*>`#a1.\\[\\]()!<:\n\u{7}\r&;]{0,80}") {
            let text = of_markdown(&markdown);
            prop_assert!(text.is_empty() || text.ends_with('\n'));
            prop_assert!(!text.chars().any(|c| c.is_control() && !matches!(c, '\n' | '\t')));
        }
    }
}
