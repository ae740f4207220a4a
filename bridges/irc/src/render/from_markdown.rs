//! An agent's Markdown (`CommonMark` and `~~`) to styled lines. HTML is text like any other, and no link loses its
//! address. Never yields a control character.

use pulldown_cmark::{CowStr, Event, Options, Parser, Tag, TagEnd};

use super::style::{Formatting, Mark, Run, Style, push};

/// One entry for each line; empty lines are left out.
pub(crate) fn lines_of(markdown: &str, formatting: Formatting) -> Vec<Vec<Run>> {
    let markdown = markdown.replace(['\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}'], "\n");
    let mut page = Page { formatting, ..Page::default() };
    for (event, range) in Parser::new_ext(&markdown, Options::ENABLE_STRIKETHROUGH).into_offset_iter() {
        page.take(event, &markdown[range]);
    }
    page.end_line();
    page.lines
}

#[derive(Default)]
struct Page {
    formatting: Formatting,
    lines: Vec<Vec<Run>>,
    line: Vec<Run>,
    style: Style,
    /// How often each mark is open; emphasis may nest in itself.
    depths: [usize; 4],
    /// Quotes and list items around this line, outermost first.
    blocks: Vec<Block>,
    /// The next number of each open list; `None` for bullets.
    lists: Vec<Option<u64>>,
    links: Vec<Link>,
    /// What the line being written would be without its prefix.
    blank: bool,
    prefixed: bool,
}

enum Block {
    Quote,
    /// The marker is written once, then blanks of its length.
    Item {
        marker: String,
        written: bool,
    },
}

struct Link {
    address: String,
    text: String,
}

impl Link {
    /// The text is only compared with the address, so no more of it is kept; links in pictures in links may nest deep.
    fn extend(&mut self, text: &str) {
        if self.text.len() <= self.address.len() {
            self.text.push_str(text);
        }
    }
}

/// Deeper nesting is shown at this depth; a line must keep room for its text.
const BLOCKS_SHOWN_MAX: usize = 8;

impl Page {
    fn take(&mut self, event: Event<'_>, source: &str) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag, source),
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => self.text(&text),
            Event::Code(text) | Event::InlineMath(text) | Event::DisplayMath(text) => self.marked(Mark::Code, &text),
            Event::FootnoteReference(name) => self.text(&format!("[^{name}]")),
            Event::SoftBreak | Event::HardBreak => self.end_line(),
            Event::Rule => {
                self.end_line();
                self.text("---");
                self.end_line();
            }
            Event::TaskListMarker(done) => self.text(if done { "[x] " } else { "[ ] " }),
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum; what it may add is shown as its text")]
    fn start(&mut self, tag: Tag<'_>) {
        if let Some(mark) = self.mark_of(&tag) {
            self.open(mark);
        }
        match tag {
            Tag::BlockQuote(_) => {
                self.end_line();
                self.blocks.push(Block::Quote);
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
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => self.start_link(dest_url),
            Tag::Paragraph | Tag::Heading { .. } | Tag::CodeBlock(_) | Tag::HtmlBlock => self.end_line(),
            _ => {}
        }
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum; what it may add is shown as its text")]
    fn end(&mut self, tag: TagEnd, source: &str) {
        match tag {
            TagEnd::Paragraph | TagEnd::Heading(_) => self.end_block(source),
            TagEnd::CodeBlock | TagEnd::HtmlBlock => self.end_line(),
            TagEnd::Item => {
                self.end_block(source);
                self.blocks.pop();
            }
            TagEnd::BlockQuote(_) => {
                self.end_line();
                self.blocks.pop();
            }
            TagEnd::List(_) => {
                self.end_line();
                self.lists.pop();
            }
            TagEnd::Link | TagEnd::Image => self.end_link(),
            _ => {}
        }
        let mark = match tag {
            TagEnd::Strong | TagEnd::Heading(_) => Mark::Bold,
            TagEnd::Emphasis => Mark::Italic,
            TagEnd::Strikethrough => Mark::Strike,
            TagEnd::CodeBlock if self.formatting == Formatting::Codes => Mark::Code,
            _ => return,
        };
        self.close(mark);
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum; what it may add has no style here")]
    fn mark_of(&self, tag: &Tag<'_>) -> Option<Mark> {
        match tag {
            Tag::Strong | Tag::Heading { .. } => Some(Mark::Bold),
            Tag::Emphasis => Some(Mark::Italic),
            Tag::Strikethrough => Some(Mark::Strike),
            Tag::CodeBlock(_) if self.formatting == Formatting::Codes => Some(Mark::Code),
            _ => None,
        }
    }

    fn open(&mut self, mark: Mark) {
        self.depths[mark as usize] += 1;
        self.style = self.style.with(mark);
    }

    fn close(&mut self, mark: Mark) {
        let depth = &mut self.depths[mark as usize];
        *depth = depth.saturating_sub(1);
        if *depth == 0 {
            self.style = self.style.without(mark);
        }
    }

    fn marked(&mut self, mark: Mark, text: &str) {
        self.open(mark);
        self.text(text);
        self.close(mark);
    }

    fn text(&mut self, text: &str) {
        if let Some(link) = self.links.last_mut() {
            link.extend(text);
        }
        // A character reference can bring any character, so this is the place to look at them.
        for (at, part) in text.split(breaks_line).enumerate() {
            if at > 0 {
                self.end_line();
            }
            let part = part.replace('\t', "    ");
            let part = part.replace(char::is_control, "");
            if part.is_empty() {
                continue;
            }
            self.write_prefix();
            self.blank &= part.trim().is_empty();
            push(&mut self.line, &part, self.style);
        }
    }

    fn write_prefix(&mut self) {
        if self.prefixed {
            return;
        }
        self.prefixed = true;
        self.blank = true;
        let mut prefix = String::new();
        let hidden = self.blocks.len().saturating_sub(BLOCKS_SHOWN_MAX);
        for block in self.blocks.iter_mut().skip(hidden) {
            match block {
                Block::Quote => prefix.push_str("> "),
                Block::Item { marker, written: true } => prefix.extend(marker.chars().map(|_| ' ')),
                Block::Item { marker, written } => {
                    *written = true;
                    prefix.push_str(marker);
                }
            }
        }
        push(&mut self.line, &prefix, Style::PLAIN);
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

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        if std::mem::take(&mut self.prefixed) && !self.blank {
            self.lines.push(line);
        }
    }

    /// The agent's editor ends a line with a backslash; before the end of a block `CommonMark` keeps it as text.
    fn end_block(&mut self, source: &str) {
        let source = source.trim_end();
        let backslashes = source.len() - source.trim_end_matches('\\').len();
        if backslashes % 2 == 1
            && let Some(last) = self.line.last_mut()
            && last.text.ends_with('\\')
        {
            last.text.pop();
            self.blank = self.line.iter().all(|run| run.text.trim().is_empty());
        }
        self.end_line();
    }

    fn start_link(&mut self, address: CowStr<'_>) {
        self.links.push(Link { address: address.into_string(), text: String::new() });
    }

    /// `text <address>`, or the address alone where it is the text.
    fn end_link(&mut self) {
        let Some(link) = self.links.pop() else { return };
        let address = link.address.trim();
        let shown = link.text.trim();
        self.pass_on(&link.text);
        if address.is_empty() || shown == address || address.strip_prefix("mailto:") == Some(shown) {
            return;
        }
        let space = if shown.is_empty() { "" } else { " " };
        let style = std::mem::take(&mut self.style);
        self.text(&format!("{space}<{address}>"));
        self.style = style;
    }

    /// A picture inside a link is part of the link's text.
    fn pass_on(&mut self, text: &str) {
        if let Some(outer) = self.links.last_mut() {
            outer.extend(text);
        }
    }
}

fn breaks_line(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{85}' | '\u{2028}' | '\u{2029}')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines with `{B…}` and the like around styled runs.
    fn shown(markdown: &str, formatting: Formatting) -> Vec<String> {
        let name = |mark: Mark| ["B", "S", "I", "C"][mark as usize];
        let run = |run: &Run| match run.style.marks().map(name).collect::<String>() {
            marks if marks.is_empty() => run.text.clone(),
            marks => format!("{{{marks} {}}}", run.text),
        };
        lines_of(markdown, formatting).iter().map(|line| line.iter().map(run).collect()).collect()
    }

    fn check(markdown: &str, lines: &[&str]) {
        assert_eq!(shown(markdown, Formatting::Codes), lines, "{markdown:?}");
    }

    #[test]
    fn marks_become_styles() {
        check("a **b** _c_ *d* ~~e~~ `f`", &["a {B b} {I c} {I d} {S e} {C f}"]);
        check("**a _b_ c**", &["{B a }{BI b}{B  c}"]);
        check("**a\nb**", &["{B a}", "{B b}"]);
        check("# Head *x*\ntext", &["{B Head }{BI x}", "text"]);
        check("```sh\nls  -l\n\n    x\n```", &["{C ls  -l}", "{C     x}"]);
        assert_eq!(shown("```\na\n```\n`b` **c**", Formatting::Plain), ["a", "{C b} {B c}"]);
        check("2 * 3 * 4 snake_case_name", &["2 * 3 * 4 snake_case_name"]);
    }

    #[test]
    fn blocks_get_their_prefix_on_each_line() {
        check("- a\n- b\n  c\n  - d", &["- a", "- b", "  c", "  - d"]);
        check("9. a\n10. b", &["9. a", "10. b"]);
        check("> a\n> b\n>\n> > c", &["> a", "> b", "> > c"]);
        check("a\n\n---\nb", &["a", "---", "b"]);
    }

    #[test]
    fn links_keep_their_address() {
        check("[t](https://x.y/a_b)", &["t <https://x.y/a_b>"]);
        check("[**t**](https://x.y)", &["{B t} <https://x.y>"]);
        check("**[t](https://x.y)**", &["{B t} <https://x.y>"]);
        check("<https://x.y> <a@b.c> [https://x.y](https://x.y)", &["https://x.y a@b.c https://x.y"]);
        check("[](https://x.y) ![alt](https://x.y/i.png)", &["<https://x.y> alt <https://x.y/i.png>"]);
        check("[![alt](i.png)](https://x.y)", &["alt <i.png> <https://x.y>"]);
        check("[t][r]\n\n[r]: https://x.y", &["t <https://x.y>"]);
    }

    #[test]
    fn html_is_text_and_editor_line_ends_are_line_ends() {
        check("a <b>c</b> &lt;", &["a <b>c</b> <"]);
        check("<div>\nx\n</div>", &["<div>", "x", "</div>"]);
        check("a\\\nb\\\n\nc\\", &["a", "b", "c"]);
        check("a\\\\\n\n- b\\\n", &["a\\", "- b"]);
        check("\\\n\nx", &["x"]);
        check("a  \nb\nc", &["a", "b", "c"]);
    }

    #[test]
    fn no_control_character_and_no_hidden_line_break_gets_through() {
        check("a\rb\u{b}c\u{c}d\u{85}e\u{2028}f\u{2029}g", &["a", "b", "c", "d", "e", "f", "g"]);
        check("a\u{1}\u{2}\u{3}4\u{f}b &#1;&#13;QUIT &#10;x", &["a4b ", "QUIT ", "x"]);
        check("`a\u{1}b`", &["{C ab}"]);
        check("", &[]);
        check("   \n\n&nbsp;", &[]);
    }
}
