//! IRC text to Markdown: the peer's styles become marks, all that they typed stays what they typed.
//! Never lets a peer's own characters act as Markdown or HTML.

use pulldown_cmark::{Event, LinkType, Options, Parser, Tag};

use super::codes::runs_of;
use super::escape::{code_span, escaped, is_template};
use super::style::{Mark, Run, Style, push};

/// A peer's text as balanced Markdown; line breaks stay, styles end with their line.
pub(crate) fn to_markdown(text: &str) -> String {
    text.split('\n').map(|line| line_to_markdown(&runs_of(line))).collect::<Vec<_>>().join("\n")
}

/// `* nick text`, in italics.
pub(crate) fn action_to_markdown(nick: &str, text: &str) -> String {
    let mut runs = Vec::new();
    push(&mut runs, "* ", Style::PLAIN.with(Mark::Italic));
    for part in [nick, " ", text] {
        for run in runs_of(&part.replace('\n', " ")) {
            push(&mut runs, &run.text, run.style.with(Mark::Italic));
        }
    }
    line_to_markdown(&runs)
}

fn line_to_markdown(runs: &[Run]) -> String {
    let visible: String = runs.iter().map(|run| &*run.text).collect();
    // Two blanks at the end would break the line once more.
    let visible = visible.trim_end();
    if runs.iter().any(|run| run.style != Style::PLAIN) {
        let styled = styled(&tidied(runs));
        // Markdown cannot say every change of style (its marks need the right neighbours); then the words matter more.
        if reads_as(&styled, visible) && !is_template(&styled) {
            return styled.trim_end().to_owned();
        }
    }
    escaped(visible, true, true)
}

/// Runs without styled blanks at their edges, since a mark beside a blank marks nothing.
fn tidied(runs: &[Run]) -> Vec<Run> {
    let mut pieces: Vec<(&str, Style)> = Vec::new();
    for run in runs {
        let core = run.text.trim();
        let lead = run.text.len() - run.text.trim_start().len();
        let (before, rest) = run.text.split_at(lead);
        pieces.extend([(before, Style::PLAIN), (core, run.style), (&rest[core.len()..], Style::PLAIN)]);
    }
    pieces.retain(|(text, _)| !text.is_empty());
    let mut tidy = Vec::new();
    for (at, &(text, style)) in pieces.iter().enumerate() {
        let blank = text.trim().is_empty();
        let around = |found: Option<&(&str, Style)>| found.map_or(Style::PLAIN, |&(_, style)| style);
        let before = pieces[..at].iter().rev().find(|(text, _)| !text.trim().is_empty());
        let after = pieces[at..].iter().find(|(text, _)| !text.trim().is_empty());
        let shared = around(before).and(around(after)).without(Mark::Code);
        tidy.push(Run { text: text.to_owned(), style: if blank { shared } else { style } });
    }
    tidy
}

/// Opens and closes marks as a stack, so that they always nest.
fn styled(runs: &[Run]) -> String {
    let mut out = String::new();
    let mut open: Vec<(Mark, &str)> = Vec::new();
    for (at, run) in runs.iter().enumerate() {
        let kept = open.iter().take_while(|(mark, _)| run.style.has(*mark)).count();
        for (_, sign) in open.drain(kept..).rev() {
            out.push_str(sign);
        }
        // A blank only keeps what is open: a mark opened before it would mark nothing.
        let opened = if run.text.trim().is_empty() { Style::PLAIN } else { run.style };
        for mark in opened.marks().filter(|&mark| mark != Mark::Code) {
            if open.iter().all(|(own, _)| *own != mark) {
                let sign = sign(mark, &out, &runs[at..]);
                out.push_str(sign);
                open.push((mark, sign));
            }
        }
        if run.style.has(Mark::Code) {
            out.push_str(&code_span(&run.text));
        } else {
            let line_start = out.is_empty();
            let next = runs.get(at + 1);
            let ends_free =
                run.style == Style::PLAIN && next.is_none_or(|run| run.text.starts_with(char::is_whitespace));
            out.push_str(&escaped(&run.text, line_start, ends_free));
        }
    }
    for (_, sign) in open.drain(..).rev() {
        out.push_str(sign);
    }
    out
}

/// `_` does not work inside a word.
fn sign<'a>(mark: Mark, out: &str, runs: &[Run]) -> &'a str {
    let next = runs.iter().find(|run| !run.style.has(Mark::Italic));
    let in_word = ends_in_word(out) || next.is_some_and(|run| run.text.starts_with(char::is_alphanumeric));
    match mark {
        Mark::Bold => "**",
        Mark::Strike => "~~",
        Mark::Italic if in_word => "*",
        Mark::Italic => "_",
        Mark::Code => "`",
    }
}

fn ends_in_word(out: &str) -> bool {
    out.ends_with(char::is_alphanumeric)
}

/// Whether a Markdown reader sees exactly this text, in one paragraph, with every mark taken as a mark.
#[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum; anything else is not what we wrote")]
fn reads_as(markdown: &str, visible: &str) -> bool {
    let mut read = String::new();
    for event in Parser::new_ext(markdown, Options::ENABLE_STRIKETHROUGH) {
        match event {
            Event::Text(text) | Event::Code(text) => read.push_str(&text),
            Event::Start(
                Tag::Paragraph
                | Tag::Emphasis
                | Tag::Strong
                | Tag::Strikethrough
                | Tag::Link { link_type: LinkType::Autolink, .. },
            )
            | Event::End(_) => {}
            _ => return false,
        }
    }
    read.split_whitespace().eq(visible.split_whitespace())
}

#[cfg(test)]
mod tests;
