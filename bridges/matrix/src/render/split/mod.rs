//! Long Markdown cut into pieces that each fit into an event. What a piece takes is measured on what becomes of it,
//! since a few bytes of Markdown may become many.

mod fence;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use unicode_segmentation::UnicodeSegmentation;

use self::fence::{Fence, fences};
use super::{clean::cleaned, escape::block_marker, from_markdown};

/// Bytes of an event for the two forms of its text, in JSON. An event has 65,536; one that replaces an earlier event
/// carries both forms twice.
pub(crate) const TEXT_BYTES_MAX: usize = 28 * 1024;

/// A piece need not be filled to the last byte; each halving renders it once.
const REACH_STEPS: usize = 1024;

/// Less room might not hold one character with all that may stand around it.
const BYTES_LEAST: usize = 512;

/// Pieces of which each takes at most `bytes_max` bytes of an event (at least 512), in order. None when nothing is
/// seen. A cut is made between paragraphs, else between lines, else at a blank, else between characters, and takes
/// nothing away but the blanks where it is made; code goes on in a block of its own.
#[must_use]
pub(crate) fn split(markdown: &str, bytes_max: usize) -> Vec<String> {
    let text = cleaned(markdown);
    let cutter = Cutter { text: &text, fences: fences(&text), bytes_max: bytes_max.max(BYTES_LEAST) };
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let end = cutter.end_from(at);
        pieces.push(cutter.piece(at, end));
        at = cutter.next_from(end);
    }
    pieces.retain(|piece| !from_markdown(piece).body.is_empty());
    pieces
}

struct Cutter<'a> {
    text: &'a str,
    fences: Vec<Fence>,
    bytes_max: usize,
}

impl Cutter<'_> {
    /// Where the piece that starts at `at` ends.
    fn end_from(&self, at: usize) -> usize {
        let reach = self.reach(at);
        if reach == self.text.len() {
            return reach;
        }
        let seen = |end: &usize| !self.text[at..*end].trim().is_empty();
        let ends = [
            self.paragraph_end(at, reach),
            self.line_end(at, reach),
            self.word_end(at, reach),
            self.cluster_end(at, reach),
        ];
        let fits = |end: &usize| *end == reach || self.fits(at, *end);
        ends.into_iter().flatten().filter(|end| *end > at).filter(seen).find(fits).unwrap_or(reach)
    }

    /// The furthest end of a piece that fits; at least one character.
    fn reach(&self, at: usize) -> usize {
        let first = self.text[at..].chars().next().map_or(0, char::len_utf8);
        let mut fits = at + first;
        let mut over = self.boundary(at + self.bytes_max + 1).max(fits);
        if self.fits(at, over) {
            return over;
        }
        while over - fits > self.bytes_max / REACH_STEPS {
            let middle = self.boundary(fits.midpoint(over));
            if middle == fits {
                break;
            }
            if self.fits(at, middle) {
                fits = middle;
            } else {
                over = middle;
            }
        }
        fits
    }

    fn fits(&self, from: usize, to: usize) -> bool {
        from_markdown(&self.piece(from, to)).bytes() <= self.bytes_max
    }

    fn boundary(&self, at: usize) -> usize {
        self.text.floor_char_boundary(at.min(self.text.len()))
    }

    /// A blank line outside of code.
    fn paragraph_end(&self, at: usize, reach: usize) -> Option<usize> {
        let ends = self.line_ends(at, reach).filter(|end| self.fence_at(*end).is_none());
        ends.into_iter().find(|end| {
            let next = &self.text[end + 1..];
            next.lines().next().is_none_or(|line| line.trim().is_empty())
        })
    }

    fn line_end(&self, at: usize, reach: usize) -> Option<usize> {
        self.line_ends(at, reach).next()
    }

    /// The last one first. Not that of a line that opens code, which would be empty then.
    fn line_ends(&self, at: usize, reach: usize) -> impl Iterator<Item = usize> {
        let within = &self.text[at..self.after(reach)];
        let ends = within.rmatch_indices('\n').map(move |(end, _)| at + end);
        ends.filter(|end| {
            let next = self.fences.partition_point(|fence| fence.start <= *end);
            self.fences[..next].last().is_none_or(|fence| *end >= fence.code)
        })
    }

    fn word_end(&self, at: usize, reach: usize) -> Option<usize> {
        let within = &self.text[at..self.after(reach)];
        within.rfind(char::is_whitespace).map(|end| at + end)
    }

    /// Not behind a backslash, which would escape no longer.
    fn cluster_end(&self, at: usize, reach: usize) -> Option<usize> {
        let starts = self.text[at..].grapheme_indices(true).map(|(start, _)| at + start);
        starts.take_while(|start| *start <= reach).filter(|start| !self.text[..*start].ends_with('\\')).last()
    }

    /// Behind the character at `at`.
    fn after(&self, at: usize) -> usize {
        at + self.text[at..].chars().next().map_or(0, char::len_utf8)
    }

    /// The fenced code that a cut here goes through.
    fn fence_at(&self, at: usize) -> Option<&Fence> {
        let next = self.fences.partition_point(|fence| fence.code <= at);
        self.fences[..next].last().filter(|fence| at <= fence.code_end)
    }

    /// Behind the blanks at a cut; those that begin a line or stand in code are not among them.
    fn next_from(&self, end: usize) -> usize {
        let mut end = end;
        if let Some(fence) = self.fence_at(end) {
            let next = end + usize::from(self.text[end..].starts_with(['\n', ' ']));
            if next <= fence.code_end && next < self.text.len() {
                return next;
            }
            end = fence.end;
        }
        let rest = &self.text[end..];
        let blanks = &rest[..rest.len() - rest.trim_start().len()];
        end + blanks.rfind('\n').map_or(blanks.len(), |at| at + 1)
    }

    fn piece(&self, from: usize, to: usize) -> String {
        let mut piece = String::new();
        let text = self.ended(from, to);
        let text = text.trim_end();
        if let Some(fence) = self.fence_at(from) {
            piece.extend([&fence.opening, "\n", text]);
        } else {
            self.push_outside(&mut piece, from, text);
        }
        if let Some(fence) = self.fence_at(to) {
            piece.extend(["\n", &fence.closing]);
        }
        piece
    }

    /// What stands there, with an end to all code within it that has none of its own.
    fn ended(&self, from: usize, to: usize) -> Cow<'_, str> {
        let implied = |fence: &&Fence| fence.implied && from < fence.end && fence.end < to;
        let mut out = Cow::Borrowed(&self.text[from..to]);
        for fence in self.fences.iter().rev().filter(implied) {
            let gap = if self.text[..fence.end].ends_with('\n') { "" } else { "\n" };
            // From the last one on, so that what is put in moves no other place.
            out.to_mut().insert_str(fence.end - from, &format!("{gap}{}\n", fence.closing));
        }
        out
    }

    /// A line that was cut may not begin with a sign that makes it something else, nor one that begins a piece with
    /// so many blanks that it would be code.
    fn push_outside(&self, piece: &mut String, from: usize, text: &str) {
        let line_start = self.text[..from].rfind('\n').map_or(0, |at| at + 1);
        if from == 0 {
            piece.push_str(text);
        } else if from == line_start {
            let body = text.trim_start_matches(' ');
            piece.push_str(&" ".repeat((text.len() - body.len()).min(INDENT_MAX)));
            piece.push_str(body);
        } else {
            let (before, acting) = text.split_at(sign_at_start(text).unwrap_or(0));
            let escape = if sign_at_start(text).is_some() { "\\" } else { "" };
            piece.extend([before, escape, acting]);
        }
    }
}

/// Four blanks make a line code.
const INDENT_MAX: usize = 3;

/// Where the sign stands that would act at the start of a line, but did not amid one.
fn sign_at_start(text: &str) -> Option<usize> {
    let line = text.lines().next().unwrap_or_default();
    let rule = |sign| line.matches(sign).count() > 2 && line.chars().all(|c| c == sign || c.is_whitespace());
    let item = line.strip_prefix('*').is_some_and(|rest| rest.is_empty() || rest.starts_with(char::is_whitespace));
    let fence = line.starts_with("~~~") || line.strip_prefix("```").is_some_and(|rest| !rest.contains('`'));
    let acts = item || fence || rule('*') || rule('_');
    if acts { Some(0) } else { block_marker(line) }
}
