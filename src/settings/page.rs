//! Lines of the file as they may be shown: every value that is not known to be harmless is masked.

use std::{fmt::Write as _, ops::Range};

use miette::{MietteError, MietteSpanContents, SourceCode, SourceSpan, SpanContents};

use super::faults::Place;

/// The text of a settings file and the parts of it that may be printed.
pub(super) struct Page<'a> {
    pub(super) file: &'a str,
    pub(super) text: &'a str,
    /// Byte ranges of keys and of values that are no secrets. All else but TOML's own marks is masked.
    pub(super) harmless: Vec<Range<usize>>,
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
        let line = self.text[..start].matches('\n').count() + 1;
        let column = self.text[start..at].chars().count() + 1;
        let stop = self.text.floor_char_boundary(span.end.clamp(at, end));
        let (shown, label) = self.mask(start..end, at..stop);
        let place = Place::File { file: self.file.to_owned(), line, column };
        (place, Snippet { file: self.file.to_owned(), line, column, shown, label })
    }

    /// The line with each run of unknown characters as three stars, so that not even its length is
    /// told, and `label` as it lies in that text.
    fn mask(&self, line: Range<usize>, label: Range<usize>) -> (String, Range<usize>) {
        let mut shown = String::new();
        let (mut from, mut to) = (None, None);
        let mut masking = false;
        for (offset, character) in self.text[line.clone()].char_indices() {
            let at = line.start + offset;
            // A mark behind a masked character may be part of the secret: only known text ends a mask.
            let keep = self.is_harmless(at) || (!masking && MARKS.contains(&character));
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
        let from = from.unwrap_or(shown.len());
        let to = to.unwrap_or(shown.len()).max(from);
        (shown, from..to)
    }

    fn is_harmless(&self, at: usize) -> bool {
        self.harmless.iter().any(|range| range.contains(&at))
    }
}

const MASK: &str = "***";
const MARKS: [char; 8] = [' ', '\t', '=', '[', ']', '{', '}', ','];

/// Control characters are written out, so that a file cannot drive the terminal.
fn show(character: char, shown: &mut String) {
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
