//! Lines of the file as they may be shown: every value that is not known to be harmless is masked.

use std::{collections::BTreeSet, fmt::Write as _, ops::Range};

use miette::{MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

use super::faults::Place;

/// The text of a settings file and what of it may be printed.
pub(super) struct Page<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
    /// Byte ranges of keys, and of values that are no secrets.
    pub(super) harmless: Vec<Range<usize>>,
    /// Where values end, so that a mask ends there too.
    pub(super) ends: BTreeSet<usize>,
    /// Lines, from 1, that are no TOML: what is a key there and what a secret is anyone's guess.
    pub(super) torn: BTreeSet<usize>,
    /// Keys of the schema: all that is shown of such a line.
    pub(super) vocabulary: BTreeSet<String>,
}

/// One masked line with the place of the mistake in it.
#[derive(Debug, Clone)]
pub(super) struct Snippet {
    file: String,
    line: usize,
    column: usize,
    shown: String,
    label: Range<usize>,
}

impl Page<'_> {
    /// The place of `span` and its line. A span over several lines is shown on its first.
    pub(super) fn point(&self, span: &Range<usize>) -> (Place, Snippet) {
        let at = self.text.floor_char_boundary(span.start.min(self.text.len()));
        let start = self.text[..at].rfind('\n').map_or(0, |newline| newline + 1);
        let end = self.text[at..].find('\n').map_or(self.text.len(), |length| at + length);
        let line = line(self.text, span);
        let column = self.text[start..at].chars().count() + 1;
        let end = start + self.text[start..end].trim_end_matches('\r').len();
        let stop = self.text.floor_char_boundary(span.end.clamp(at, end.max(at)));
        let (start, end) = self.window(start..end, at);
        let harmless = self.harmless_in(line, &(start..end));
        let (shown, label) = self.mask(start..end, &harmless, &(at..stop.min(end)));
        let place = Place::File { file: self.file.to_owned(), line, column };
        (place, Snippet { file: self.file.to_owned(), line, column, shown, label })
    }

    /// As much of a long line as a person reads.
    fn window(&self, line: Range<usize>, at: usize) -> (usize, usize) {
        const BEFORE_BYTES: usize = 120;
        const AFTER_BYTES: usize = 120;
        let start = line.start.max(self.text.floor_char_boundary(at.saturating_sub(BEFORE_BYTES)));
        let end = line.end.min(self.text.ceil_char_boundary((at + AFTER_BYTES).min(self.text.len())));
        (start, end)
    }

    /// The line with each run of unknown characters as three stars, so that not even its length is
    /// told, and `label` as it lies in that text.
    fn mask(&self, line: Range<usize>, harmless: &[Range<usize>], label: &Range<usize>) -> (String, Range<usize>) {
        let mut shown = String::new();
        let (mut from, mut to) = (None, None);
        let mut masking = false;
        for (offset, character) in self.text[line.clone()].char_indices() {
            let at = line.start + offset;
            masking &= !self.ends.contains(&at);
            // A mark behind a masked character may be part of the secret.
            let keep = harmless.iter().any(|range| range.contains(&at)) || (!masking && MARKS.contains(&character));
            // A comment: nothing in it is known to be harmless, and nothing is wrong with it.
            if character == '#' && !keep && !masking {
                break;
            }
            if at == label.start {
                from = Some(if masking && !keep { shown.len() - MASK.len() } else { shown.len() });
            }
            if at == label.end {
                to = Some(shown.len());
            }
            if keep {
                show(character, &mut shown);
            } else if !masking {
                shown.push_str(MASK);
            }
            masking = !keep;
        }
        shown.truncate(shown.trim_end().len());
        let from = from.unwrap_or(shown.len()).min(shown.len());
        let to = to.unwrap_or(shown.len()).clamp(from, shown.len());
        (shown, from..to)
    }

    /// The harmless parts of one line.
    fn harmless_in(&self, number: usize, line: &Range<usize>) -> Vec<Range<usize>> {
        if self.torn.contains(&number) {
            return self.words(line);
        }
        let parts = self.harmless.iter().filter(|range| range.start < line.end && line.start < range.end);
        parts.cloned().collect()
    }

    /// The known keys at the front of a torn line, where a key would stand.
    fn words(&self, line: &Range<usize>) -> Vec<Range<usize>> {
        let text = &self.text[line.clone()];
        let front = text.split('=').next().unwrap_or_default();
        let is_word = |character: char| character.is_ascii_alphanumeric() || matches!(character, '_' | '-');
        let mut words = Vec::new();
        let mut at = line.start;
        for word in front.split_inclusive(|character| !is_word(character)) {
            let bare = word.trim_end_matches(|character| !is_word(character));
            if self.vocabulary.contains(bare) {
                words.push(at..at + bare.len());
            }
            at += word.len();
        }
        words
    }
}

const MASK: &str = "***";
const MARKS: [char; 9] = [' ', '\t', '=', '.', '[', ']', '{', '}', ','];

/// The line, from 1, in which `span` begins.
pub(super) fn line(text: &str, span: &Range<usize>) -> usize {
    text.bytes().take(span.start).filter(|byte| *byte == b'\n').count() + 1
}

/// Control characters are written out, so that a file cannot drive the terminal.
pub(super) fn show(character: char, shown: &mut String) {
    if character.is_control() && character != '\t' {
        write!(shown, "{}", character.escape_default()).expect("writing to a string cannot fail");
    } else {
        shown.push(character);
    }
}

impl Snippet {
    pub(super) fn label(&self) -> SourceSpan {
        SourceSpan::from(self.label.clone())
    }

    /// The line and a caret under the mistake, without colours.
    pub(super) fn plain(&self) -> String {
        let number = self.line.to_string();
        let gutter = " ".repeat(number.len());
        let before: String =
            self.shown[..self.label.start].chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        let carets = "^".repeat(self.shown[self.label.clone()].chars().count().max(1));
        format!("  {number} | {}\n  {gutter} | {before}{carets}\n", self.shown)
    }
}

impl SourceCode for Snippet {
    // The line and column are those of the file; masking has moved what stands behind a secret.
    fn read_span<'a>(
        &'a self,
        span: &SourceSpan,
        _before: usize,
        _after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        if span.offset() + span.len() > self.shown.len() {
            return Err(MietteError::OutOfBounds);
        }
        let whole = SourceSpan::from(0..self.shown.len());
        let contents = MietteSpanContents::new_named(
            self.file.clone(),
            self.shown.as_bytes(),
            whole,
            self.line - 1,
            self.column - 1,
            1,
        );
        Ok(Box::new(contents))
    }
}
