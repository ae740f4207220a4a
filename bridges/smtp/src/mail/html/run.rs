//! Runs of text in one line, and how a line of them is written: emphasis, code, links that show where they lead.

use super::super::markdown::{code_span, escaped, is_web, link};

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "marks are on or off, each by itself")]
pub(super) struct Style {
    pub(super) bold: bool,
    pub(super) italic: bool,
    pub(super) struck: bool,
    pub(super) code: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Run {
    pub(super) text: String,
    pub(super) style: Style,
    /// Where it leads, as a number of a safe address.
    pub(super) link: Option<usize>,
}

pub(super) fn push(runs: &mut Vec<Run>, text: &str, style: Style, link: Option<usize>) {
    match runs.last_mut() {
        Some(run) if run.style == style && run.link == link => run.text.push_str(text),
        Some(_) | None => runs.push(Run { text: text.to_owned(), style, link }),
    }
}

/// Whether a reader sees something of it. Asked of each text once: what was written before is remembered, not looked
/// at again.
pub(super) fn is_seen(text: &str) -> bool {
    #[cfg(test)]
    super::tests::LOOKED_AT.with(|looked| looked.set(looked.get() + text.len()));
    !text.trim().is_empty()
}

/// What was written of a line.
#[derive(Default)]
struct Out {
    text: String,
    /// Something of it is seen.
    seen: bool,
}

impl Out {
    fn push(&mut self, text: &str) {
        self.seen |= is_seen(text);
        self.text.push_str(text);
    }
}

/// The line as Markdown and without any marks.
pub(super) fn line(runs: &[Run], links: &[String]) -> (String, String) {
    let plain: String = runs.iter().map(|run| run.text.as_str()).collect();
    let mut out = Out::default();
    let mut rest = runs;
    while let Some(run) = rest.first() {
        let count = rest.iter().take_while(|next| next.link == run.link).count();
        let (group, after) = rest.split_at(count);
        match run.link.and_then(|link| links.get(link)) {
            Some(address) => linked(&mut out, group, address),
            None => styled_all(&mut out, group),
        }
        rest = after;
    }
    (out.text.trim_matches(' ').to_owned(), plain.trim_end().to_owned())
}

fn styled_all(out: &mut Out, runs: &[Run]) {
    for run in runs {
        styled(out, run);
    }
}

/// Marks stand at the words, not at the blanks around them, or they would be no marks.
fn styled(out: &mut Out, run: &Run) {
    let text = if out.seen { &run.text } else { run.text.trim_start_matches(' ') };
    let body = text.trim();
    let start = text.len() - text.trim_start().len();
    out.push(&text[..start]);
    if body.is_empty() {
        return;
    }
    let inner = if run.style.code { code_span(body) } else { escaped(body, !out.seen) };
    let marks = [(run.style.bold, "**"), (run.style.italic, "*"), (run.style.struck, "~~")];
    // Beside another mark, or between a letter and a sign, readers take them for something else.
    let before = out.text.chars().next_back().unwrap_or(' ');
    let after_letter = before.is_alphanumeric() && inner.starts_with(|c: char| c.is_ascii_punctuation());
    let clear = !("*~".contains(before) || after_letter);
    let shown = marks.iter().filter(|(on, _)| *on && clear).map(|(_, mark)| *mark);
    shown.clone().for_each(|mark| out.push(mark));
    // Each run is escaped by itself, but a template may begin in one and go on in the next.
    if out.text.ends_with('{') && inner.starts_with(['{', '%']) {
        out.push("\\");
    }
    out.push(&inner);
    shown.rev().for_each(|mark| out.push(mark));
    out.push(&text[start + body.len()..]);
}

fn linked(out: &mut Out, group: &[Run], address: &str) {
    let plain: String = group.iter().map(|run| run.text.as_str()).collect();
    let text = plain.trim();
    if text.is_empty() {
        out.push(&plain);
        return;
    }
    let mailto = address.split_once(':').filter(|(scheme, _)| !is_web(scheme)).map(|(_, rest)| rest);
    if text == address || mailto.is_some_and(|rest| rest.eq_ignore_ascii_case(text)) {
        styled_all(out, group);
    } else if deceives(text, address) {
        styled_all(out, group);
        out.push(" (");
        out.push(&link(address, address));
        out.push(")");
    } else {
        // Behind a bracket no line begins.
        let mut inner = Out { text: String::new(), seen: true };
        styled_all(&mut inner, group);
        let inner = inner.text.replace("://", "\\://");
        let body = inner.trim();
        let start = inner.len() - inner.trim_start().len();
        for piece in [&inner[..start], "[", body, "](", address, ")", &inner[start + body.len()..]] {
            out.push(piece);
        }
    }
}

/// Whether the text of a link looks like another address than the one that it leads to.
fn deceives(text: &str, address: &str) -> bool {
    let target = host_of(address);
    let alone = !text.contains(char::is_whitespace);
    text.split_whitespace().any(|word| {
        let word = word.trim_matches(|c: char| "()[]<>,;:!?\"'.".contains(c));
        let starts = |prefix: &str| word.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        if let Some((_, domain)) = word.rsplit_once('@') {
            return is_domain(domain) && !address.to_ascii_lowercase().contains(&word.to_ascii_lowercase());
        }
        let shaped = word.contains("://") || starts("www.") || alone && is_domain(host_of(word));
        shaped && !same_host(host_of(word), target)
    })
}

fn same_host(one: &str, other: &str) -> bool {
    let bare = |host: &str| host.to_ascii_lowercase().trim_start_matches("www.").to_owned();
    bare(one) == bare(other)
}

fn host_of(address: &str) -> &str {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let host = rest.split(['/', '?', '#', '\\']).next().unwrap_or_default();
    let host = host.rsplit('@').next().unwrap_or_default();
    host.split(':').next().unwrap_or_default()
}

fn is_domain(text: &str) -> bool {
    let labels =
        text.split('.').all(|label| !label.is_empty() && label.chars().all(|c| c.is_alphanumeric() || c == '-'));
    let top = text.rsplit('.').next().unwrap_or_default();
    labels && text.contains('.') && top.chars().count() >= 2 && top.chars().all(char::is_alphabetic)
}
