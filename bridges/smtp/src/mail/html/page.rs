//! Writes the lines of a page as its tags and texts come by. What is open is a bounded stack, so that any nonsense of
//! tags costs the same.

use super::{
    super::{
        markdown::{Line, Mark, Quote, safe_address},
        shown,
    },
    DEPTH_MAX, ELEMENTS_MAX, Shown,
    element::{Kind, is_void, kind_of},
    entity::decoded,
    run::{self, Run, Style},
    style,
    token::{Tag, Token, Tokens, is_raw},
};

/// Quotes and lists inside each other that are shown as such.
const CONTAINERS_MAX: usize = 8;
/// Of the name that an image or a link gets.
const LABEL_CHARS_MAX: usize = 200;

/// `None` when the page is deeper or longer than what is looked at.
pub(super) fn shown(html: &str, name_of: &dyn Fn(&str) -> Option<String>) -> Option<Shown> {
    let mut page = Page {
        name_of,
        out: Shown::default(),
        runs: Vec::new(),
        seen: false,
        links: Vec::new(),
        open: Vec::new(),
        anchor: None,
        gap: Gap::None,
        mark: None,
    };
    let mut elements = 0;
    for token in Tokens::new(html) {
        match token {
            Token::Text(text) => page.source(text),
            Token::Open(tag) => {
                elements += 1;
                page.start(&tag);
                if elements > ELEMENTS_MAX || page.open.len() > DEPTH_MAX {
                    return None;
                }
            }
            Token::Close(name) => page.close(name),
        }
    }
    page.close_down_to(0);
    page.end_line();
    Some(page.out)
}

struct Open<'a> {
    name: &'a str,
    kind: Kind,
    hidden: bool,
    quoted: bool,
    bold: bool,
    /// Of a numbered list the next number.
    number: Option<u64>,
    /// Of an item, until its first line.
    marker: Option<String>,
    indent: usize,
}

/// What a line has to keep from the one above it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Gap {
    None,
    Line,
    Blank,
}

struct Anchor {
    link: Option<usize>,
    /// Something of it is shown.
    seen: bool,
    image: bool,
}

struct Page<'a> {
    name_of: &'a dyn Fn(&str) -> Option<String>,
    out: Shown,
    runs: Vec<Run>,
    /// Something of the runs is seen.
    seen: bool,
    links: Vec<String>,
    open: Vec<Open<'a>>,
    anchor: Option<Anchor>,
    gap: Gap,
    mark: Option<Mark>,
}

impl<'a> Page<'a> {
    fn is(&self, kind: Kind) -> bool {
        self.open.iter().any(|open| open.kind == kind)
    }
    fn is_hidden(&self) -> bool {
        self.open.iter().any(|open| open.hidden)
    }

    fn start(&mut self, tag: &Tag<'a>) {
        let kind = kind_of(tag.name);
        let styled = style::style(tag);
        self.end_implied(kind);
        if kind == Kind::Page || is_raw(tag.name) {
            return;
        }
        let hidden = kind == Kind::Dropped || style::is_hidden(tag, &styled);
        if !self.is_hidden() && !hidden {
            if let Some(mark) = style::mark(tag, &styled) {
                self.break_line(Gap::Line);
                self.mark = self.mark.filter(|mark| *mark == Mark::History).or(Some(mark));
            }
            self.start_visible(kind, tag, &styled);
        }
        if is_void(tag.name) || tag.closes && matches!(kind, Kind::Inline | Kind::Dropped) {
            return;
        }
        let marker = (kind == Kind::Item).then(|| self.next_marker());
        let number =
            (kind == Kind::Numbered).then(|| tag.get("start").and_then(|start| start.trim().parse().ok()).unwrap_or(1));
        let bold = styled.contains("font-weight:bold") || styled.contains("font-weight:700");
        self.open.push(Open {
            name: tag.name,
            kind,
            hidden,
            quoted: style::is_quote(tag),
            bold: bold && kind == Kind::Inline || matches!(kind, Kind::Bold),
            number,
            indent: marker.as_ref().map_or(0, String::len),
            marker,
        });
    }

    fn start_visible(&mut self, kind: Kind, tag: &Tag<'_>, styled: &str) {
        match kind {
            Kind::Break => self.break_or_blank(),
            Kind::Image => self.image(tag, styled),
            Kind::Link => self.start_anchor(tag),
            Kind::Rule => self.rule(),
            Kind::Cell if self.seen => self.text(" | "),
            Kind::Inline
            | Kind::Bold
            | Kind::Italic
            | Kind::Struck
            | Kind::Code
            | Kind::Cell
            | Kind::Dropped
            | Kind::Page => {}
            Kind::Block | Kind::Row | Kind::Item => self.break_line(Gap::Line),
            Kind::Paragraph | Kind::Preformatted | Kind::Heading(_) | Kind::List | Kind::Numbered => {
                self.break_line(self.block_gap());
            }
            Kind::Quote => self.break_line(Gap::Blank),
        }
    }

    /// Blocks in an item follow each other, or the list would fall apart.
    fn block_gap(&self) -> Gap {
        if self.is(Kind::Item) { Gap::Line } else { Gap::Blank }
    }

    /// What this element ends by beginning.
    fn end_implied(&mut self, kind: Kind) {
        for at in (0..self.open.len()).rev() {
            let open = self.open[at].kind;
            let stops = if kind == Kind::Item {
                matches!(open, Kind::List | Kind::Numbered | Kind::Cell)
            } else if kind == Kind::Cell {
                open == Kind::Row
            } else {
                kind != Kind::Paragraph || !is_inline(open) && open != kind
            };
            if stops {
                return;
            }
            if open == kind {
                return self.close_down_to(at);
            }
        }
    }

    /// An inline element ends alone, so that wrong nesting hurts little; nothing ends what is outside its table cell.
    fn close(&mut self, name: &str) {
        let kind = kind_of(name);
        let in_table = matches!(kind, Kind::Row | Kind::Cell)
            || name.get(..1).is_some_and(|first| first.eq_ignore_ascii_case("t"));
        for at in (0..self.open.len()).rev() {
            if self.open[at].name.eq_ignore_ascii_case(name) {
                if matches!(kind, Kind::Inline | Kind::Bold | Kind::Italic | Kind::Struck | Kind::Code | Kind::Link) {
                    let open = self.open.remove(at);
                    return self.ended(&open);
                }
                return self.close_down_to(at);
            }
            if self.open[at].kind == Kind::Cell && !in_table {
                return;
            }
        }
    }

    fn close_down_to(&mut self, at: usize) {
        while self.open.len() > at {
            // The line of a block belongs into it, with its quote and its marker.
            let kind = self.open[self.open.len() - 1].kind;
            let gap = match kind {
                Kind::Block | Kind::Row | Kind::Item => Gap::Line,
                Kind::Paragraph | Kind::Heading(_) | Kind::Preformatted | Kind::List | Kind::Numbered => {
                    self.block_gap()
                }
                Kind::Quote => Gap::Blank,
                Kind::Inline
                | Kind::Bold
                | Kind::Italic
                | Kind::Struck
                | Kind::Code
                | Kind::Link
                | Kind::Break
                | Kind::Image
                | Kind::Rule
                | Kind::Cell
                | Kind::Dropped
                | Kind::Page => Gap::None,
            };
            if gap != Gap::None && !self.is_hidden() {
                self.break_line(gap);
            }
            if let Some(open) = self.open.pop() {
                self.ended(&open);
            }
        }
    }

    fn ended(&mut self, open: &Open<'_>) {
        if open.kind != Kind::Link {
            return;
        }
        if let Some(Anchor { link: Some(link), seen: false, image: true }) = self.anchor
            && !self.is_hidden()
        {
            let host = self.links[link].split('/').nth(2).unwrap_or_default().to_owned();
            self.text(&host);
        }
        self.anchor = None;
    }

    fn start_anchor(&mut self, tag: &Tag<'_>) {
        let address = tag.get("href").and_then(|href| safe_address(&shown::lines(&decoded(href))));
        let link = address.map(|address| {
            self.links.push(address);
            self.links.len() - 1
        });
        self.anchor = Some(Anchor { link, seen: false, image: false });
    }

    fn image(&mut self, tag: &Tag<'_>, styled: &str) {
        let source = tag.get("src").unwrap_or_default().trim();
        let lower = source.get(..5).unwrap_or_default().to_ascii_lowercase();
        if style::is_tracker(tag, styled) {
            return;
        }
        if let Some(anchor) = &mut self.anchor {
            anchor.image = true;
        }
        let alt = shown::one_line(&decoded(tag.get("alt").unwrap_or_default()), LABEL_CHARS_MAX);
        if lower.starts_with("cid:") {
            let id = decoded(&source[4..]).into_owned();
            let name = (self.name_of)(&id).unwrap_or(alt);
            self.out.used.push(id);
            self.text(&if name.is_empty() { "[image]".to_owned() } else { format!("[image: {name}]") });
        } else {
            self.out.data_images += usize::from(lower.starts_with("data:"));
            self.text(&alt);
        }
    }

    fn rule(&mut self) {
        self.break_line(Gap::Blank);
        self.emit("---", "________".to_owned());
        self.gap = Gap::Blank;
    }

    fn source(&mut self, source: &str) {
        if self.is_hidden() {
            return;
        }
        let text = shown::lines(&decoded(source));
        if !self.is(Kind::Preformatted) {
            return self.text(&text);
        }
        for (at, line) in text.split('\n').enumerate() {
            if at > 0 {
                self.break_or_blank();
            }
            // Blanks count here.
            let body = line.trim_start_matches([' ', '\t']);
            let blanks = "\u{a0}".repeat(line.len() - body.len());
            self.push(&format!("{blanks}{body}"));
        }
    }

    /// Blanks are one blank; a space that does not break is a letter.
    fn text(&mut self, text: &str) {
        let mut line = String::with_capacity(text.len());
        let mut blank = self.runs.last().is_none_or(|run| run.text.ends_with(' '));
        for c in text.chars() {
            let is_blank = matches!(c, ' ' | '\t' | '\n');
            if !is_blank {
                line.push(c);
            } else if !blank {
                line.push(' ');
            }
            blank = is_blank;
        }
        self.push(&line);
    }

    fn push(&mut self, text: &str) {
        if text.is_empty() {
            return;
        }
        let seen = run::is_seen(text);
        self.seen |= seen;
        if let Some(anchor) = &mut self.anchor {
            anchor.seen |= seen;
        }
        let heading = self.open.iter().any(|open| matches!(open.kind, Kind::Heading(_)));
        let style = Style {
            bold: !heading && self.open.iter().any(|open| open.bold),
            italic: self.is(Kind::Italic),
            struck: self.is(Kind::Struck),
            code: self.is(Kind::Code),
        };
        run::push(&mut self.runs, text, style, self.anchor.as_ref().and_then(|anchor| anchor.link));
    }

    /// A break in an empty line is a blank line that the writer made.
    fn break_or_blank(&mut self) {
        if self.open.iter().any(|open| matches!(open.kind, Kind::Heading(_))) {
            self.text(" ");
        } else if !self.end_line() {
            self.gap = Gap::Blank;
        }
    }

    fn break_line(&mut self, gap: Gap) {
        self.end_line();
        self.gap = self.gap.max(gap);
    }

    /// Whether there was one.
    fn end_line(&mut self) -> bool {
        let runs = std::mem::take(&mut self.runs);
        self.seen = false;
        let (markdown, plain) = run::line(&runs, &self.links);
        if markdown.is_empty() {
            return false;
        }
        let level =
            self.open.iter().find_map(|open| if let Kind::Heading(level) = open.kind { Some(level) } else { None });
        let markdown = match level {
            Some(level) => format!("{} {markdown}", "#".repeat(level.into())),
            None => markdown,
        };
        self.emit(&markdown, plain);
        true
    }

    fn emit(&mut self, markdown: &str, plain: String) {
        if self.gap == Gap::Blank && !self.out.lines.is_empty() {
            self.out.lines.push(Line::default());
        }
        self.gap = Gap::None;
        let quote = if self.open.iter().any(|open| open.quoted) {
            Quote::Quoted
        } else if self.is(Kind::Quote) {
            Quote::Indented
        } else {
            Quote::Own
        };
        let markdown = format!("{}{markdown}", self.prefix());
        self.out.lines.push(Line { markdown, plain, quote, mark: self.mark.take() });
    }

    /// The marks of the quotes and items around a line.
    fn prefix(&mut self) -> String {
        let mut prefix = String::new();
        let containers = self.open.iter_mut().filter(|open| matches!(open.kind, Kind::Quote | Kind::Item));
        for open in containers.take(CONTAINERS_MAX) {
            match (open.kind, open.marker.take()) {
                (Kind::Item, Some(marker)) => prefix.push_str(&marker),
                (Kind::Item, None) => prefix.push_str(&" ".repeat(open.indent)),
                _ => prefix.push_str("> "),
            }
        }
        prefix
    }

    fn next_marker(&mut self) -> String {
        let list = self.open.iter_mut().rev().find(|open| matches!(open.kind, Kind::List | Kind::Numbered));
        match list.and_then(|list| list.number.as_mut()) {
            Some(number) => {
                let marker = format!("{}. ", (*number).min(LIST_NUMBER_MAX));
                *number = number.saturating_add(1);
                marker
            }
            None => "- ".to_owned(),
        }
    }
}

/// Readers of Markdown take no longer ones.
const LIST_NUMBER_MAX: u64 = 999_999_999;

fn is_inline(kind: Kind) -> bool {
    matches!(kind, Kind::Inline | Kind::Bold | Kind::Italic | Kind::Struck | Kind::Code | Kind::Link)
}
