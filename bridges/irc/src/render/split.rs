//! Styled lines cut to what one IRC line carries. Never cuts inside a character, a formatting code or a link that fits.

use unicode_segmentation::UnicodeSegmentation;

use super::style::{Formatting, Mark, Run, Style};
use crate::isupport::Isupport;
use crate::message::{Target, Text};

/// Our own `nick!user@host` as others see it; it stands before every line they receive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mask {
    pub(crate) nick: String,
    /// `None`: not known yet, the longest allowed is assumed.
    pub(crate) user: Option<String>,
    pub(crate) host: Option<String>,
}

/// Bytes of text one PRIVMSG to `target` may carry (ACTION costs 9 more).
///
/// Receivers get `:nick!user@host PRIVMSG target :text` and CR LF in one line of the server's length.
pub(crate) fn text_bytes_max(mask: &Mask, target: &Target, isupport: &Isupport) -> usize {
    let user = mask.user.as_ref().map_or(isupport.user_bytes_max(), String::len);
    let host = mask.host.as_ref().map_or(isupport.host_bytes_max(), String::len);
    let around = 1 + mask.nick.len() + 1 + user + 1 + host + " PRIVMSG ".len() + target.as_str().len() + 2 + 2;
    isupport.line_bytes_max().saturating_sub(around + RESERVE_BYTES)
}

/// For what a server puts in that we did not foresee, such as a longer ident.
const RESERVE_BYTES: usize = 10;

/// A character with all its marks opened and closed always fits in this; real budgets are ten times larger.
pub(crate) const PART_BYTES_MIN: usize = 32;

/// Parts of at most `bytes_max` bytes (at least [`PART_BYTES_MIN`]), each with its styles opened anew, since a style
/// ends with its line.
pub(crate) fn split(lines: &[Vec<Run>], formatting: Formatting, bytes_max: usize) -> Vec<Text> {
    let bytes_max = bytes_max.max(PART_BYTES_MIN);
    let mut parts = Vec::new();
    for line in lines {
        let line = Styled::new(line);
        let mut at = 0;
        while at < line.text.len() {
            let end = line.cut(at, formatting, bytes_max);
            let part = line.encoded(at, end, formatting);
            if !line.text[at..end].trim().is_empty() {
                parts.extend(Text::new(part));
            }
            at = end + usize::from(end > at && line.text[end..].starts_with(' '));
        }
    }
    parts
}

/// A line's text, and from which byte on which style holds.
struct Styled {
    text: String,
    starts: Vec<(usize, Style)>,
}

impl Styled {
    fn new(runs: &[Run]) -> Self {
        let mut line = Self { text: String::new(), starts: Vec::new() };
        for run in runs {
            line.starts.push((line.text.len(), run.style));
            line.text.extend(run.text.chars().filter(|c| !c.is_control()));
        }
        line
    }

    /// Where the part that starts at `at` ends: after it, one blank is left out.
    fn cut(&self, at: usize, formatting: Formatting, bytes_max: usize) -> usize {
        let full = self.reach(at, formatting, bytes_max);
        let rest = &self.text[full..];
        if rest.is_empty() || rest.starts_with(' ') {
            return full;
        }
        let word = self.text[at..full].rfind(' ').map_or(at, |space| at + space + 1);
        let word_end = rest.find(' ').map_or(self.text.len(), |space| full + space);
        let fits = |from: usize, to: usize| self.reach(from, formatting, bytes_max) >= to;
        // Blanks alone would make an empty part.
        if !self.text[at..word].trim().is_empty() && fits(word, word_end) {
            return word - 1;
        }
        match self.link_in(word, word_end) {
            Some(link) if link > at && link < full && fits(link, word_end) => link,
            _ => full,
        }
    }

    fn link_in(&self, from: usize, to: usize) -> Option<usize> {
        let word = &self.text[from..to];
        ["https://", "http://"].iter().filter_map(|scheme| word.find(scheme)).min().map(|at| from + at)
    }

    /// The furthest end of a part from `at`: whole graphemes, or characters where not even one grapheme fits.
    fn reach(&self, at: usize, formatting: Formatting, bytes_max: usize) -> usize {
        let graphemes = self.text[at..].grapheme_indices(true).map(|(from, text)| at + from + text.len());
        let end = self.furthest(at, graphemes, formatting, bytes_max);
        if end > at {
            return end;
        }
        let characters = self.text[at..].char_indices().map(|(from, c)| at + from + c.len_utf8());
        self.furthest(at, characters, formatting, bytes_max)
    }

    fn furthest(
        &self,
        at: usize,
        ends: impl Iterator<Item = usize>,
        formatting: Formatting,
        bytes_max: usize,
    ) -> usize {
        let mut cost = 0;
        let mut style = Style::PLAIN;
        let mut reached = at;
        for end in ends {
            for (from, to, next) in self.pieces(reached, end) {
                cost += change(style, next, formatting).len() + (to - from);
                style = next;
            }
            if cost + close(style, formatting).len() > bytes_max {
                break;
            }
            reached = end;
        }
        reached
    }

    fn encoded(&self, at: usize, end: usize, formatting: Formatting) -> String {
        let mut out = String::new();
        let mut style = Style::PLAIN;
        for (from, to, next) in self.pieces(at, end) {
            out.push_str(&change(style, next, formatting));
            out.push_str(&self.text[from..to]);
            style = next;
        }
        out.push_str(&close(style, formatting));
        out
    }

    /// The stretches of one style between two places.
    fn pieces(&self, at: usize, end: usize) -> impl Iterator<Item = (usize, usize, Style)> {
        let first = self.starts.partition_point(|&(start, _)| start <= at).saturating_sub(1);
        self.starts[first..]
            .iter()
            .enumerate()
            .map_while(move |(offset, &(start, style))| {
                let next = self.starts.get(first + offset + 1).map_or(self.text.len(), |&(start, _)| start);
                (start < end).then_some((start.max(at), next.min(end), style))
            })
            .filter(|(from, to, _)| from < to)
    }
}

/// What turns one style into another.
fn change(from: Style, to: Style, formatting: Formatting) -> String {
    if from == to {
        return String::new();
    }
    match formatting {
        Formatting::Codes if to == Style::PLAIN && from.marks().count() > 1 => RESET.to_string(),
        Formatting::Codes => from.xor(to).marks().map(Mark::code).collect(),
        Formatting::Plain => {
            let shared = from.marks().zip(to.marks()).take_while(|(old, new)| old == new).count();
            let closed = from.marks().skip(shared).collect::<Vec<_>>().into_iter().rev();
            closed.chain(to.marks().skip(shared)).map(Mark::sign).collect()
        }
    }
}

/// What must stand at the end of a part: nothing for codes, which end with their line.
fn close(style: Style, formatting: Formatting) -> String {
    match formatting {
        Formatting::Codes => String::new(),
        Formatting::Plain => change(style, Style::PLAIN, formatting),
    }
}

const RESET: char = '\x0f';

#[cfg(test)]
mod tests;
