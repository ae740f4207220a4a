//! One line of styled runs and links as Markdown that a reader takes for exactly these words.

use pulldown_cmark::{Event, LinkType, Options, Parser, Tag};

use super::{
    escape::{Around, code_span, escaped},
    link::{hides, says},
    style::{Mark, Run, Style, push},
};

/// Without blanks at its end: two of them would break the line once more. `links` are the addresses that the runs name.
pub(super) fn line_to_markdown(runs: &[Run], links: &[String]) -> String {
    let pieces = pieces_of(runs, links);
    if pieces.len() > 1 || pieces.iter().any(Piece::has_markup) {
        let styled = styled(&pieces);
        let styled = styled.trim_end();
        // Markdown cannot say every change of style (its marks need the right neighbours); then the words matter more.
        if reads_as(styled, &pieces) && strikes_hold(styled) {
            return styled.to_owned();
        }
    }
    escaped(spelled_out(&pieces).trim_end(), Around { line_start: true, ends_free: true, in_link: false })
}

#[derive(Debug)]
enum Piece {
    Text(Vec<Run>),
    Link(Vec<Run>, String),
    /// Shown as it is, for want of a text or because of it.
    Address(String),
}

impl Piece {
    fn has_markup(&self) -> bool {
        match self {
            Self::Text(runs) => runs.iter().any(|run| run.style != Style::PLAIN),
            Self::Link(..) | Self::Address(_) => true,
        }
    }
}

fn pieces_of(runs: &[Run], links: &[String]) -> Vec<Piece> {
    let mut pieces = Vec::new();
    for group in runs.chunk_by(|a, b| a.link == b.link) {
        let address = group[0].link.and_then(|link| links.get(link));
        let text: String = group.iter().map(|run| &*run.text).collect();
        let Some(address) = address.filter(|address| !says(&text, address)) else {
            if !matches!(pieces.last(), Some(Piece::Text(_))) {
                pieces.push(Piece::Text(Vec::new()));
            }
            if let Some(Piece::Text(runs)) = pieces.last_mut() {
                for run in group {
                    push(runs, &run.text, run.style, None);
                }
            }
            continue;
        };
        if text.trim().is_empty() {
            pieces.push(Piece::Address(address.clone()));
        } else if hides(&text, address) {
            pieces.push(Piece::Text(group.to_vec()));
            pieces.push(Piece::Address(address.clone()));
        } else {
            pieces.push(Piece::Link(group.to_vec(), address.clone()));
        }
    }
    pieces
}

/// The words alone, and behind each link's text its address.
fn spelled_out(pieces: &[Piece]) -> String {
    let mut out = String::new();
    for piece in pieces {
        if let Piece::Text(runs) | Piece::Link(runs, _) = piece {
            out.extend(runs.iter().map(|run| &*run.text));
        }
        if let Piece::Link(_, address) | Piece::Address(address) = piece {
            if !out.is_empty() && !out.ends_with(char::is_whitespace) {
                out.push(' ');
            }
            out.extend([address, " "]);
        }
    }
    out
}

fn styled(pieces: &[Piece]) -> String {
    let mut out = String::new();
    for (at, piece) in pieces.iter().enumerate() {
        match piece {
            Piece::Text(runs) => {
                let next_is_free = pieces.get(at + 1).is_none();
                let around = Around { line_start: out.is_empty(), ends_free: next_is_free, in_link: false };
                push_runs(&mut out, &tidied(runs), around);
            }
            Piece::Link(runs, address) => {
                let text: String = runs.iter().map(|run| &*run.text).collect();
                let blanks = text.len() - text.trim_start().len();
                out.push_str(if blanks > 0 && !out.is_empty() { " " } else { "" });
                // It would make a picture of the link.
                if out.ends_with('!') && !out.ends_with("\\!") {
                    out.insert(out.len() - 1, '\\');
                }
                out.push('[');
                let around = Around { line_start: false, ends_free: false, in_link: true };
                push_runs(&mut out, &trimmed(tidied(runs)), around);
                out.extend(["](", address, ")"]);
                out.push_str(if text.ends_with(char::is_whitespace) { " " } else { "" });
            }
            Piece::Address(address) => {
                if !out.is_empty() && !out.ends_with(' ') {
                    out.push(' ');
                }
                out.extend(["<", address, ">"]);
                let next = pieces.get(at + 1);
                if matches!(next, Some(Piece::Text(runs)) if runs[0].text.starts_with(char::is_alphanumeric)) {
                    out.push(' ');
                }
            }
        }
    }
    out
}

/// Runs without styled blanks at their edges, since a mark beside a blank marks nothing.
fn tidied(runs: &[Run]) -> Vec<(&str, Style)> {
    let mut pieces: Vec<(&str, Style)> = Vec::new();
    for run in runs {
        let core = run.text.trim();
        let lead = run.text.len() - run.text.trim_start().len();
        let (before, rest) = run.text.split_at(lead);
        pieces.extend([(before, Style::PLAIN), (core, run.style), (&rest[core.len()..], Style::PLAIN)]);
    }
    pieces.retain(|(text, _)| !text.is_empty());
    let mut after = Style::PLAIN;
    for (text, style) in pieces.iter_mut().rev() {
        if text.trim().is_empty() {
            *style = after;
        } else {
            after = *style;
        }
    }
    let mut before = Style::PLAIN;
    for (text, style) in &mut pieces {
        if text.trim().is_empty() {
            *style = style.and(before).without(Mark::Code);
        } else {
            before = *style;
        }
    }
    pieces
}

fn trimmed(mut runs: Vec<(&str, Style)>) -> Vec<(&str, Style)> {
    let blank = |run: &(&str, Style)| run.0.trim().is_empty();
    while runs.last().is_some_and(blank) {
        runs.pop();
    }
    let start = runs.iter().take_while(|run| blank(run)).count();
    runs.split_off(start)
}

/// Opens and closes marks as a stack, so that they always nest.
fn push_runs(out: &mut String, runs: &[(&str, Style)], around: Around) {
    let begun = out.len();
    let letters_after = letters_after_italics(runs);
    let mut open: Vec<(Mark, &str)> = Vec::new();
    for (at, &(text, style)) in runs.iter().enumerate() {
        let kept = open.iter().take_while(|(mark, _)| style.has(*mark)).count();
        for (_, sign) in open.drain(kept..).rev() {
            out.push_str(sign);
        }
        // A blank only keeps what is open: a mark opened before it would mark nothing.
        let opened = if text.trim().is_empty() { Style::PLAIN } else { style };
        for mark in opened.marks().filter(|&mark| mark != Mark::Code) {
            if open.iter().all(|(own, _)| *own != mark) {
                let sign = sign(mark, out, letters_after[at]);
                out.push_str(sign);
                open.push((mark, sign));
            }
        }
        if style.has(Mark::Code) {
            out.push_str(&code_span(text));
            continue;
        }
        let line_start = around.line_start && out.len() == begun;
        let next = runs.get(at + 1);
        let next_is_blank = next.map_or(around.ends_free, |(text, _)| text.starts_with(char::is_whitespace));
        let ends_free = style == Style::PLAIN && next_is_blank;
        out.push_str(&escaped(text, Around { line_start, ends_free, ..around }));
    }
    for (_, sign) in open.drain(..).rev() {
        out.push_str(sign);
    }
}

/// For each run, whether a letter follows where the italics end that hold it.
fn letters_after_italics(runs: &[(&str, Style)]) -> Vec<bool> {
    let mut letter = false;
    let mut found: Vec<bool> = Vec::with_capacity(runs.len());
    for (text, style) in runs.iter().rev() {
        if !style.has(Mark::Italic) {
            letter = text.starts_with(char::is_alphanumeric);
        }
        found.push(letter);
    }
    found.reverse();
    found
}

/// `_` does not work inside a word.
fn sign(mark: Mark, out: &str, letter_after: bool) -> &'static str {
    match mark {
        Mark::Bold => "**",
        Mark::Strike => "~~",
        Mark::Italic if letter_after || out.ends_with(char::is_alphanumeric) => "*",
        Mark::Italic => "_",
        Mark::Code => "`",
    }
}

/// Whether readers that treat `~~` as strictly as `**`, which ours does not, see each as a mark too: beside a letter
/// outside it needs one inside.
fn strikes_hold(markdown: &str) -> bool {
    let mut opens = true;
    markdown.match_indices("~~").all(|(at, sign)| {
        let before = markdown[..at].ends_with(char::is_alphanumeric);
        let after = markdown[at + sign.len()..].starts_with(char::is_alphanumeric);
        let (outside, inside) = if opens { (before, after) } else { (after, before) };
        opens = !opens;
        inside || !outside
    })
}

/// Whether a Markdown reader sees exactly these words, in one paragraph, with every mark taken as a mark and every
/// link leading where it should.
#[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum; anything else is not what we wrote")]
fn reads_as(markdown: &str, pieces: &[Piece]) -> bool {
    let mut read = String::new();
    let mut addresses = Vec::new();
    for event in Parser::new_ext(markdown, Options::ENABLE_STRIKETHROUGH) {
        match event {
            Event::Text(text) | Event::Code(text) => read.push_str(&text),
            Event::Start(Tag::Link { link_type: LinkType::Inline, dest_url, .. }) => addresses.push(dest_url),
            Event::Start(
                Tag::Paragraph
                | Tag::Emphasis
                | Tag::Strong
                | Tag::Strikethrough
                | Tag::Link { link_type: LinkType::Autolink | LinkType::Email, .. },
            )
            | Event::End(_) => {}
            _ => return false,
        }
    }
    let mut words = String::new();
    let mut linked = Vec::new();
    for piece in pieces {
        match piece {
            Piece::Text(runs) => words.extend(runs.iter().map(|run| &*run.text)),
            Piece::Link(runs, address) => {
                words.extend(runs.iter().map(|run| &*run.text));
                linked.push(&**address);
            }
            Piece::Address(address) => words.push_str(address),
        }
    }
    let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
    addresses.iter().map(|address| &**address).eq(linked) && letters(&read) == letters(&words)
}
