//! An agent's Markdown to the plain body and the HTML of an event. HTML that the agent typed is text like any other,
//! and no link loses its address. Yields only elements and attributes that Matrix allows, and no control character.

mod body;
mod element;
mod markup;
#[cfg(any(test, feature = "fuzzing"))]
mod strict;
#[cfg(test)]
pub(super) mod tests;

#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use self::strict::strictly;

use pulldown_cmark::{CodeBlockKind, Event, LinkType, Options, Parser, Tag, TagEnd, TextMergeWithOffset};

use self::{body::Body, element::Element, markup::Markup};
use super::{
    clean::{breaks_line, cleaned},
    link::{allowed, says},
};

/// What goes into an event's content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Rendered {
    pub(crate) body: String,
    /// HTML, where it says more than the body.
    pub(crate) formatted: Option<String>,
}

impl Rendered {
    /// How many bytes of an event both take, in JSON.
    pub(crate) fn bytes(&self) -> usize {
        json_bytes(&self.body) + self.formatted.as_deref().map_or(0, json_bytes)
    }
}

fn json_bytes(text: &str) -> usize {
    text.bytes().map(|byte| if matches!(byte, b'"' | b'\\' | b'\n' | b'\t') { 2 } else { 1 }).sum()
}

/// Either form may be at most this large; a few kilobytes of Markdown can ask for megabytes.
const OUTPUT_BYTES_MAX: usize = 256 * 1024;

/// `CommonMark` with `~~` and tables, as the inbox shows it to the agent: bare addresses are links, and every line end
/// is one that is seen. What grows beyond all bounds is sent as it was typed.
#[must_use]
pub(crate) fn from_markdown(markdown: &str) -> Rendered {
    let source = cleaned(markdown);
    let parser = Parser::new_ext(&source, Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TABLES);
    let mut page = Page::default();
    for (event, range) in TextMergeWithOffset::new(parser.into_offset_iter()) {
        page.take(event, &source[range]);
        if page.body.len() > OUTPUT_BYTES_MAX {
            return Rendered { body: source.trim().to_owned(), formatted: None };
        }
    }
    let body = page.body.finish();
    if body.is_empty() {
        return Rendered { body: typed(&source).to_owned(), formatted: None };
    }
    Rendered { formatted: page.markup.finish().filter(|html| html.len() <= OUTPUT_BYTES_MAX), body }
}

/// What was typed, where Markdown shows nothing of it: "1." is an empty list, "[note]: see below" defines a link. Not
/// what the agent's editor makes of empty lines.
fn typed(source: &str) -> &str {
    let source = source.trim();
    let left = source.replace("&nbsp;", "").replace('\\', "");
    if left.trim().is_empty() { "" } else { source }
}

/// Tells both forms of each event.
#[derive(Default)]
struct Page {
    body: Body,
    markup: Markup,
    links: Vec<Link>,
    code: bool,
}

struct Link {
    address: String,
    /// Only compared with the address, so no more of it is kept; links in pictures in links may nest deep.
    text: String,
    /// Whether it is one in HTML too.
    anchored: bool,
}

impl Link {
    fn extend(&mut self, text: &str) {
        if self.text.len() <= self.address.len() {
            self.text.push_str(text);
        }
    }
}

impl Page {
    fn take(&mut self, event: Event<'_>, source: &str) {
        match event {
            Event::Start(tag) => self.start(&tag),
            Event::End(tag) => self.end(tag, source),
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => self.text(&text),
            Event::Code(text) | Event::InlineMath(text) | Event::DisplayMath(text) => self.code_span(&text),
            Event::FootnoteReference(name) => self.text(&format!("[^{name}]")),
            Event::SoftBreak | Event::HardBreak => self.line_break(),
            Event::Rule => {
                self.body.rule();
                self.markup.rule();
            }
            Event::TaskListMarker(done) => self.text(if done { "[x] " } else { "[ ] " }),
        }
    }

    fn start(&mut self, tag: &Tag<'_>) {
        if let Tag::Link { link_type: LinkType::Email, dest_url, .. } = tag {
            return self.start_link(&format!("mailto:{dest_url}"));
        }
        if let Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } = tag {
            return self.start_link(dest_url);
        }
        if let Tag::CodeBlock(kind) = tag {
            self.code = true;
            self.markup.start_code_block(match kind {
                CodeBlockKind::Fenced(info) => info,
                CodeBlockKind::Indented => "",
            });
            return self.body.start(Element::CodeBlock);
        }
        if let Some(element) = Element::of(tag) {
            self.body.start(element);
            self.markup.start(element);
        }
    }

    fn end(&mut self, tag: TagEnd, source: &str) {
        if matches!(tag, TagEnd::Link | TagEnd::Image) {
            return self.end_link();
        }
        let Some(element) = Element::ended(tag) else { return };
        if matches!(element, Element::Paragraph | Element::Heading(_) | Element::Item) && ends_in_backslash(source) {
            self.body.drop_backslash();
            self.markup.drop_backslash();
        }
        self.code &= element != Element::CodeBlock;
        self.body.end(element);
        self.markup.end(element);
    }

    /// A character reference can bring any character, so this is the place to look at them.
    fn text(&mut self, text: &str) {
        let text = cleaned(text);
        if let Some(link) = self.links.last_mut() {
            link.extend(&text);
        }
        for (at, line) in text.split(breaks_line).enumerate() {
            if at > 0 {
                self.line_break();
            }
            self.body.text(line);
            if self.code || !self.links.is_empty() {
                self.markup.text(line);
            } else {
                self.markup.text_with_links(line);
            }
        }
    }

    fn code_span(&mut self, text: &str) {
        let text = cleaned(text).replace('\n', " ");
        if let Some(link) = self.links.last_mut() {
            link.extend(&text);
        }
        self.body.code_span(&text);
        self.markup.code_span(&text);
    }

    fn line_break(&mut self) {
        self.body.line_break();
        self.markup.line_break();
    }

    fn start_link(&mut self, address: &str) {
        let address = cleaned(address).trim().replace('\n', " ");
        let href = allowed(&address).filter(|_| self.links.iter().all(|link| !link.anchored));
        if let Some(href) = &href {
            self.markup.start_anchor(href);
        }
        self.links.push(Link { address, text: String::new(), anchored: href.is_some() });
    }

    /// The body says the address, unless the text does; the HTML only where it is no link.
    fn end_link(&mut self) {
        let Some(link) = self.links.pop() else { return };
        let shown = link.text.trim();
        if let Some(outer) = self.links.last_mut() {
            outer.extend(&link.text);
        }
        // Who is mentioned is said by the text; the rest of such an address means something to the inbox alone.
        let told = says(shown, &link.address) || link.address.is_empty() || link.address.starts_with("mention:");
        if shown.is_empty() {
            self.body.text(&link.address);
            self.markup.text(&link.address);
        } else if !told {
            let address = format!(" ({})", link.address);
            self.body.text(&address);
            self.markup.text(if link.anchored || !self.links.is_empty() { "" } else { &address });
        }
        if link.anchored {
            self.markup.end_anchor(told || shown.is_empty());
        }
    }
}

/// The agent's editor ends a line with a backslash; before the end of a block `CommonMark` keeps it as text.
fn ends_in_backslash(source: &str) -> bool {
    let source = source.trim_end();
    (source.len() - source.trim_end_matches('\\').len()) % 2 == 1
}
