//! The walk over a message's HTML: blocks become lines of a sheet, what stands in them becomes styled runs.

use super::{emote, table::Table};
use crate::render::{
    clean::cleaned,
    escape::longest_run,
    html::{Attributes, Step, Steps, Tag, decoded},
    line::line_to_markdown,
    link::{Target, target_of},
    sheet::{Gap, Sheet},
    style::{Depths, Mark, Run, push},
};

#[derive(Default)]
pub(super) struct Page {
    sheet: Sheet,
    line: Vec<Run>,
    links: Vec<String>,
    depths: Depths,
    anchor: Option<Anchor>,
    /// The next number of each open list; `None` for bullets.
    lists: Vec<Option<u64>>,
    heading: Option<u8>,
    code_block: Option<CodeBlock>,
    table: Option<Table>,
    /// How many elements are open of which nothing is shown.
    hidden: usize,
    /// The line holds only the name of who does what follows.
    emote_only: bool,
    /// Whether the message showed anything.
    seen: bool,
}

struct Anchor {
    link: Option<usize>,
    /// Shown in its place while it holds no text of its own: whom it names, or where it leads.
    untold: Option<String>,
}

#[derive(Default)]
struct CodeBlock {
    language: String,
    text: String,
}

impl Page {
    /// `None` when nothing is seen.
    pub(super) fn of(html: &str, emote_of: Option<&str>) -> Option<String> {
        let mut page = Self::default();
        if let Some(name) = emote_of {
            page.depths.open(Mark::Italic);
            page.text(&emote(name));
            page.text(" ");
            page.emote_only = true;
            page.seen = false;
        }
        for step in Steps::new(html) {
            page.take(step);
        }
        page.end_line();
        page.seen.then(|| page.sheet.finish())
    }

    fn take(&mut self, step: Step<'_>) {
        if self.hidden > 0 {
            match step {
                Step::Open(tag, _) if !tag.is_void() => self.hidden += 1,
                Step::Close(_) => self.hidden -= 1,
                Step::Open(..) | Step::Text(_) => {}
            }
            return;
        }
        match step {
            Step::Text(source) => self.source_text(source),
            Step::Open(tag, attributes) if self.code_block.is_some() => self.open_in_code_block(tag, &attributes),
            Step::Close(tag) if self.code_block.is_some() && tag != Tag::Preformatted => {}
            Step::Open(tag, attributes) => self.open(tag, &attributes),
            Step::Close(tag) => self.close(tag),
        }
    }

    fn open(&mut self, tag: Tag, attributes: &Attributes<'_>) {
        match tag {
            Tag::Anchor => self.start_anchor(attributes),
            Tag::Break => self.line_break(),
            Tag::Code => self.depths.open(Mark::Code),
            Tag::Delete => self.depths.open(Mark::Strike),
            Tag::Emphasis => self.depths.open(Mark::Italic),
            Tag::Strong => self.depths.open(Mark::Bold),
            Tag::Superscript => self.text("^"),
            Tag::Image => self.image(attributes),
            Tag::Span => self.start_spoiler(attributes),
            Tag::Reply => self.hidden = 1,
            Tag::Unknown | Tag::Nothing | Tag::Hidden => {}
            _ if self.in_cell() => self.open_in_cell(tag),
            Tag::Paragraph | Tag::Division => {
                self.start_block(if tag == Tag::Paragraph { Gap::Blank } else { Gap::Line });
            }
            Tag::Heading(level) => {
                self.end_block(Gap::Blank);
                self.heading = Some(level);
            }
            Tag::Summary => {
                self.end_block(Gap::Line);
                self.depths.open(Mark::Bold);
            }
            Tag::Blockquote => {
                self.end_block(Gap::Blank);
                self.sheet.enter_quote();
            }
            Tag::List | Tag::NumberedList => self.start_list(tag, attributes),
            Tag::Item => self.start_item(),
            Tag::Preformatted => {
                self.end_block(Gap::Blank);
                self.code_block = Some(CodeBlock::default());
            }
            Tag::Rule => {
                self.end_block(Gap::Blank);
                self.sheet.line("***");
                self.sheet.gap(Gap::Blank);
            }
            Tag::Table => {
                // One that lies between another's cells stands after what that one had so far.
                self.end_table();
                self.table = Some(Table::default());
            }
            Tag::Row | Tag::Section => {
                if let Some(table) = &mut self.table {
                    table.start_row();
                }
            }
            Tag::Cell => self.start_cell(),
            Tag::Caption => self.end_block(Gap::Blank),
        }
    }

    fn close(&mut self, tag: Tag) {
        match tag {
            Tag::Anchor => self.end_anchor(),
            Tag::Code => self.depths.close(Mark::Code),
            Tag::Delete => self.depths.close(Mark::Strike),
            Tag::Emphasis => self.depths.close(Mark::Italic),
            Tag::Strong => self.depths.close(Mark::Bold),
            Tag::Cell => self.end_cell(),
            Tag::Table => self.end_table(),
            Tag::Break
            | Tag::Image
            | Tag::Rule
            | Tag::Nothing
            | Tag::Unknown
            | Tag::Hidden
            | Tag::Span
            | Tag::Superscript
            | Tag::Reply
            | Tag::Row
            | Tag::Section => {}
            _ if self.in_cell() => self.blank(),
            Tag::Division => self.end_block(Gap::Line),
            Tag::Paragraph | Tag::Caption => self.end_block(Gap::Blank),
            Tag::Heading(_) => {
                self.end_block(Gap::Blank);
                self.heading = None;
            }
            Tag::Summary => {
                self.end_block(Gap::Line);
                self.depths.close(Mark::Bold);
            }
            Tag::Blockquote => {
                self.end_block(Gap::Blank);
                self.sheet.leave();
            }
            Tag::List | Tag::NumberedList => self.end_list(),
            Tag::Item => {
                self.end_block(Gap::Line);
                self.sheet.leave();
            }
            Tag::Preformatted => self.end_code_block(),
        }
    }

    fn source_text(&mut self, source: &str) {
        let text = decoded(source);
        let text = cleaned(&text);
        match &mut self.code_block {
            Some(block) => block.text.push_str(&text),
            None => self.text(&text),
        }
    }

    /// Blanks are one blank, as in every browser; a space that does not break is a letter.
    fn text(&mut self, text: &str) {
        for (at, word) in text.split([' ', '\t', '\n']).enumerate() {
            if at > 0 {
                self.blank();
            }
            if !word.is_empty() {
                self.push(word);
                self.emote_only = false;
                if !word.trim().is_empty() {
                    self.seen = true;
                    self.anchor.iter_mut().for_each(|anchor| anchor.untold = None);
                }
            }
        }
    }

    fn blank(&mut self) {
        if self.line.last().is_some_and(|run| !run.text.ends_with(' ')) {
            self.push(" ");
        }
    }

    fn push(&mut self, text: &str) {
        let link = self.anchor.as_ref().and_then(|anchor| anchor.link);
        push(&mut self.line, text, self.depths.style(), link);
    }

    /// Also where the line is empty; then it is the blank line that the writer made.
    fn line_break(&mut self) {
        if self.in_cell() || self.heading.is_some() {
            self.blank();
        } else if !self.end_line() {
            self.sheet.gap(Gap::Blank);
        }
    }

    /// A block that may go on in the line of the emote's name.
    fn start_block(&mut self, gap: Gap) {
        if !self.emote_only {
            self.end_block(gap);
        }
    }

    fn end_block(&mut self, gap: Gap) {
        self.end_line();
        self.sheet.gap(gap);
    }

    /// Whether there was one.
    fn end_line(&mut self) -> bool {
        let line = std::mem::take(&mut self.line);
        self.emote_only = false;
        let text = line_to_markdown(&line, &self.links);
        if text.trim().is_empty() {
            return false;
        }
        match self.heading {
            Some(level) => self.sheet.line(&heading(level, &text)),
            None => self.sheet.line(&text),
        }
        true
    }

    fn image(&mut self, attributes: &Attributes<'_>) {
        let named = [attributes.alt, attributes.title].into_iter().flatten().find(|name| !name.trim().is_empty());
        self.source_text(named.unwrap_or("(picture)"));
    }

    fn start_spoiler(&mut self, attributes: &Attributes<'_>) {
        match attributes.spoiler.map(str::trim) {
            None => {}
            Some("") => self.text("(spoiler) "),
            Some(reason) => {
                self.text("(spoiler: ");
                self.source_text(reason);
                self.text(") ");
            }
        }
    }

    fn start_anchor(&mut self, attributes: &Attributes<'_>) {
        let target = attributes.href.map_or(Target::Nowhere, |href| target_of(&cleaned(&decoded(href))));
        self.anchor = Some(match target {
            Target::Address(address) => {
                self.links.push(address.clone());
                Anchor { link: Some(self.links.len() - 1), untold: Some(address) }
            }
            Target::Mention(id) => Anchor { link: None, untold: Some(id) },
            Target::Nowhere => Anchor { link: None, untold: None },
        });
    }

    fn end_anchor(&mut self) {
        if let Some(untold) = self.anchor.as_mut().and_then(|anchor| anchor.untold.take()) {
            self.blank();
            self.text(&cleaned(&untold));
        }
        self.anchor = None;
    }

    /// A number that does not begin a list at one, and in an item none at all, may follow a text without a blank line.
    fn start_list(&mut self, tag: Tag, attributes: &Attributes<'_>) {
        let numbered = tag == Tag::NumberedList;
        self.end_block(if numbered || !self.sheet.in_item() { Gap::Blank } else { Gap::Line });
        let start = attributes.start.and_then(|start| start.trim().parse().ok()).unwrap_or(1);
        self.lists.push(numbered.then_some(start));
    }

    fn end_list(&mut self) {
        self.lists.pop();
        self.end_block(if self.lists.is_empty() { Gap::Blank } else { Gap::Line });
    }

    fn start_item(&mut self) {
        self.end_block(Gap::Line);
        let marker = match self.lists.last_mut() {
            Some(Some(number)) => {
                let marker = format!("{}. ", (*number).min(LIST_NUMBER_MAX));
                *number = number.saturating_add(1);
                marker
            }
            Some(None) | None => "- ".to_owned(),
        };
        self.sheet.enter_item(marker);
    }

    fn open_in_code_block(&mut self, tag: Tag, attributes: &Attributes<'_>) {
        let Some(block) = &mut self.code_block else { return };
        match (tag, attributes.class) {
            (Tag::Reply, _) => self.hidden = 1,
            (Tag::Break, _) => block.text.push('\n'),
            (Tag::Code, Some(class)) if block.language.is_empty() => block.language = language(class),
            _ => {}
        }
    }

    fn end_code_block(&mut self) {
        let Some(block) = self.code_block.take() else { return };
        let text = block.text.strip_prefix('\n').unwrap_or(&block.text).trim_end();
        if text.trim().is_empty() {
            return;
        }
        let fence = "`".repeat(longest_run(text, '`').max(FENCE_LEAST - 1) + 1);
        self.sheet.line(&format!("{fence}{}", block.language));
        for line in text.split('\n') {
            self.sheet.line(line);
        }
        self.sheet.line(&fence);
        self.sheet.gap(Gap::Blank);
        self.seen = true;
    }

    fn in_cell(&self) -> bool {
        self.table.as_ref().is_some_and(|table| table.in_cell)
    }

    /// A cell is one line, whatever blocks it holds.
    fn open_in_cell(&mut self, tag: Tag) {
        self.blank();
        if let Some(table) = self.table.as_mut().filter(|_| tag == Tag::Table) {
            table.inner += 1;
        }
    }

    fn start_cell(&mut self) {
        if self.table.is_some() {
            self.end_line();
        }
        if let Some(table) = &mut self.table {
            table.in_cell = true;
        }
    }

    fn end_cell(&mut self) {
        let Some(table) = self.table.as_mut().filter(|table| table.in_cell && table.inner == 0) else {
            return self.blank();
        };
        table.in_cell = false;
        let mut line = std::mem::take(&mut self.line);
        // Readers do not agree on how code with a pipe is written in a table.
        for run in line.iter_mut().filter(|run| run.text.contains('|')) {
            run.style = run.style.without(Mark::Code);
        }
        table.push(&line_to_markdown(&line, &self.links));
    }

    fn end_table(&mut self) {
        if let Some(table) = self.table.as_mut().filter(|table| table.inner > 0) {
            table.inner -= 1;
            return self.blank();
        }
        // Text between cells stands before the table, as in browsers.
        self.end_block(Gap::Blank);
        for line in self.table.take().map(Table::lines).unwrap_or_default() {
            self.sheet.line(&line);
        }
        self.sheet.gap(Gap::Blank);
    }
}

/// `CommonMark` reads no longer ones.
const LIST_NUMBER_MAX: u64 = 999_999_999;
const FENCE_LEAST: usize = 3;
const LANGUAGE_BYTES_MAX: usize = 32;

/// The language in `class="language-…"`, if it is a plain word.
fn language(class: &str) -> String {
    let named = class.split_whitespace().find_map(|class| class.strip_prefix("language-")).unwrap_or_default();
    let plain = named.chars().all(|c| c.is_ascii_alphanumeric() || "+-_.#".contains(c));
    if plain && named.len() <= LANGUAGE_BYTES_MAX { named.to_owned() } else { String::new() }
}

/// Signs at the end would be taken for an ornament and not be shown.
fn heading(level: u8, text: &str) -> String {
    let signs = "#".repeat(level.into());
    match text.strip_suffix('#') {
        Some(text) if !text.ends_with('\\') => format!("{signs} {text}\\#"),
        Some(_) | None => format!("{signs} {text}"),
    }
}
