//! The HTML form. The only place that writes a tag, an attribute or an escape.

use super::element::Element;
use crate::render::link::{addresses, allowed};

#[derive(Default)]
pub(super) struct Markup {
    out: String,
    /// What will close each open element; `None` for those that are not shown.
    open: Vec<Option<&'static str>>,
    shown: usize,
    /// Blocks that lie in no other.
    blocks: usize,
    in_code: bool,
    in_head: bool,
    /// Whether anything but paragraphs, line ends and bare addresses was written.
    rich: bool,
}

/// Matrix allows a hundred; of deeper elements only the text is shown.
const DEPTH_MAX: usize = 60;
const LANGUAGE_BYTES_MAX: usize = 32;

impl Markup {
    /// `None` when it says no more than the body.
    pub(super) fn finish(self) -> Option<String> {
        if !self.rich {
            return None;
        }
        // One paragraph needs no mark, and most clients set it closer without.
        let only = self.out.strip_prefix("<p>").and_then(|html| html.strip_suffix("</p>"));
        Some(only.filter(|_| self.blocks == 1).unwrap_or(&self.out).to_owned())
    }

    pub(super) fn start(&mut self, element: Element) {
        let inline = matches!(element, Element::Strong | Element::Emphasis | Element::Strike);
        self.blocks += usize::from(!inline && self.open.is_empty());
        self.rich |= element != Element::Paragraph;
        self.in_head |= element == Element::TableHead;
        let (start, end) = match element {
            Element::Paragraph => ("<p>", "</p>"),
            Element::Heading(1) => ("<h1>", "</h1>"),
            Element::Heading(2) => ("<h2>", "</h2>"),
            Element::Heading(3) => ("<h3>", "</h3>"),
            Element::Heading(4) => ("<h4>", "</h4>"),
            Element::Heading(5) => ("<h5>", "</h5>"),
            Element::Heading(_) => ("<h6>", "</h6>"),
            Element::Quote => ("<blockquote>", "</blockquote>"),
            Element::CodeBlock => ("<pre><code>", "</code></pre>"),
            Element::List(None) => ("<ul>", "</ul>"),
            Element::List(Some(1)) => ("<ol>", "</ol>"),
            Element::List(Some(first)) => return self.open(&format!("<ol start=\"{first}\">"), "</ol>"),
            Element::Item => ("<li>", "</li>"),
            Element::Table => ("<table>", "</table>"),
            Element::TableHead | Element::TableRow => ("<tr>", "</tr>"),
            Element::Cell if self.in_head => ("<th>", "</th>"),
            Element::Cell => ("<td>", "</td>"),
            Element::Strong => ("<strong>", "</strong>"),
            Element::Emphasis => ("<em>", "</em>"),
            Element::Strike => ("<del>", "</del>"),
        };
        self.open(start, end);
    }

    pub(super) fn start_code_block(&mut self, info: &str) {
        self.in_code = true;
        let language = info.split_whitespace().next().unwrap_or_default();
        let plain = language.chars().all(|c| c.is_ascii_alphanumeric() || "+-_.#".contains(c));
        if language.is_empty() || !plain || language.len() > LANGUAGE_BYTES_MAX {
            return self.start(Element::CodeBlock);
        }
        self.blocks += usize::from(self.open.is_empty());
        self.rich = true;
        self.open(&format!("<pre><code class=\"language-{language}\">"), "</code></pre>");
    }

    pub(super) fn end(&mut self, element: Element) {
        if matches!(element, Element::Paragraph | Element::Heading(_) | Element::Item) {
            let kept = self.out.trim_end_matches(LINE_BREAK).len();
            self.out.truncate(kept);
        }
        self.in_code &= element != Element::CodeBlock;
        self.in_head &= element != Element::TableHead;
        self.close();
    }

    fn open(&mut self, start: &str, end: &'static str) {
        let shown = self.shown < DEPTH_MAX;
        if shown {
            self.shown += 1;
            self.out.push_str(start);
        }
        self.open.push(shown.then_some(end));
    }

    fn close(&mut self) {
        if let Some(end) = self.open.pop().flatten() {
            self.shown -= 1;
            self.out.push_str(end);
        }
    }

    pub(super) fn text(&mut self, text: &str) {
        for c in text.chars() {
            match c {
                '<' => self.out.push_str("&lt;"),
                '>' => self.out.push_str("&gt;"),
                '&' => self.out.push_str("&amp;"),
                '"' => self.out.push_str("&quot;"),
                c => self.out.push(c),
            }
        }
    }

    /// Text whose bare addresses become links; they say no more than the text does.
    pub(super) fn text_with_links(&mut self, text: &str) {
        let mut told = 0;
        for range in addresses(text) {
            let Some(href) = allowed(&text[range.clone()]) else { continue };
            self.text(&text[told..range.start]);
            self.start_anchor(&href);
            self.text(&text[range.clone()]);
            self.end_anchor(true);
            told = range.end;
        }
        self.text(&text[told..]);
    }

    pub(super) fn code_span(&mut self, text: &str) {
        self.rich = true;
        self.open("<code>", "</code>");
        self.text(text);
        self.close();
    }

    pub(super) fn start_anchor(&mut self, href: &str) {
        let mut start = Self::default();
        start.text(href);
        self.open(&format!("<a href=\"{}\">", start.out), "</a>");
    }

    /// `told`: the body says the same without a link.
    pub(super) fn end_anchor(&mut self, told: bool) {
        self.rich |= !told;
        self.close();
    }

    pub(super) fn line_break(&mut self) {
        self.out.push_str(if self.in_code { "\n" } else { LINE_BREAK });
    }

    pub(super) fn rule(&mut self) {
        self.blocks += 1;
        self.rich = true;
        self.out.push_str("<hr>");
    }

    pub(super) fn drop_backslash(&mut self) {
        if self.out.ends_with('\\') {
            self.out.pop();
        }
    }
}

const LINE_BREAK: &str = "<br>";
