//! What lines look like: an attribution, the head of an earlier mail, a rule above one, the mark of a forward.

use super::{
    super::markdown::{Line, Mark, Quote},
    keys::{DEVICES, FROM, SENT, SUBJECT, TO},
    words::{FORWARDS, ORIGINALS, STARTS, VERBS, VERBS_ONLY_LAST},
};

/// Octets of a line that are looked at: no attribution is longer.
const LINE_BYTES_MAX: usize = 400;
/// Lines that an attribution is wrapped over.
pub(super) const ATTRIBUTION_LINES_MAX: usize = 3;
/// Lines of the head of an earlier mail, blank ones among them.
const HEAD_LINES_MAX: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// An earlier mail, to the end of this one.
    History,
    /// A quote, below which something new may stand.
    Quote,
}

/// What begins at this line, if it is not the writer's own text.
pub(super) fn shape_at(lines: &[Line], at: usize) -> Option<Shape> {
    let line = &lines[at];
    if line.is_blank() {
        return None;
    }
    if line.quote == Quote::Quoted {
        return Some(Shape::Quote);
    }
    if line.quote == Quote::Indented {
        return None;
    }
    let rule = is_rule(&line.plain) || line.mark == Some(Mark::Rule);
    let ends = line.mark == Some(Mark::History)
        || is_marker_line(&line.plain)
        || named(&line.plain, ORIGINALS)
        || is_head(lines, at)
        || rule && next(lines, at).is_some_and(|next| is_head(lines, next) || named(&lines[next].plain, ORIGINALS));
    if ends {
        return Some(Shape::History);
    }
    (1..=ATTRIBUTION_LINES_MAX).find(|count| attributes(lines, at, *count)).map(|count| {
        let below = next(lines, at + count - 1).map(|next| lines[next].quote);
        if below.is_some_and(|quote| quote != Quote::Own) { Shape::Quote } else { Shape::History }
    })
}

/// Whether these lines are an attribution that is to be believed: above a quote, or with an address or a time in it.
pub(super) fn attributes(lines: &[Line], at: usize, count: usize) -> bool {
    let Some(window) = lines.get(at..at + count) else { return false };
    if window.iter().any(|line| line.is_blank() || line.quote != Quote::Own || line.plain.len() > LINE_BYTES_MAX) {
        return false;
    }
    // The colon is looked for first: nearly no line has one at its end.
    let last = window[count - 1].plain.trim_end();
    let colon = last.ends_with([':', '：']) || last.to_lowercase().ends_with(VERBS_ONLY_LAST);
    if !colon || window[..count - 1].iter().any(|line| line.plain.trim_end().ends_with([':', '：', '!', '?'])) {
        return false;
    }
    let text = window.iter().map(|line| line.plain.trim()).collect::<Vec<_>>().join(" ").to_lowercase();
    let text = text.replace(['\u{a0}', '\u{202f}'], " ");
    let starts = text.starts_with(|c: char| c.is_numeric()) || STARTS.iter().any(|start| text.starts_with(start));
    if text.len() > LINE_BYTES_MAX || count > 1 && !starts || !VERBS.iter().any(|verb| text.contains(verb)) {
        return false;
    }
    let quoted = next(lines, at + count - 1).is_some_and(|next| lines[next].quote != Quote::Own);
    let dated = is_dated(&text);
    quoted && (dated || starts || text.contains('@') || count == 1) || dated && starts || text.contains('@') && dated
}

/// A year, or a time of day.
fn is_dated(text: &str) -> bool {
    let bytes = text.as_bytes();
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    (0..bytes.len()).any(|at| {
        let year = bytes[at..].starts_with(b"19") || bytes[at..].starts_with(b"20");
        let alone = at.checked_sub(1).is_none_or(|before| !digit(before)) && !digit(at + 4);
        let time = matches!(bytes[at], b':' | b'.' | b'h') && at > 0 && digit(at - 1) && digit(at + 1) && digit(at + 2);
        year && alone && digit(at + 2) && digit(at + 3) || time
    })
}

fn next(lines: &[Line], at: usize) -> Option<usize> {
    (at + 1..lines.len().min(at + 1 + HEAD_LINES_MAX)).find(|&at| !lines[at].is_blank())
}

/// `##- please write above this line -##`.
fn is_marker_line(plain: &str) -> bool {
    let plain = plain.trim();
    plain.len() < LINE_BYTES_MAX && plain.len() > 6 && plain.starts_with("##-") && plain.ends_with("-##")
}

fn is_rule(plain: &str) -> bool {
    let plain = plain.trim();
    plain.len() >= 8 && plain.len() < LINE_BYTES_MAX && plain.bytes().all(|byte| byte == b'_' || byte == b'-')
}

/// Whether a line is one of these names between dashes. Some programs write no dashes, but then a colon.
fn named(plain: &str, names: &[&str]) -> bool {
    let plain = plain.trim();
    if plain.len() > LINE_BYTES_MAX {
        return false;
    }
    let body = plain.trim_matches(|c: char| c.is_whitespace() || "-_*=—–".contains(c));
    let dashed = plain.starts_with("--") || plain.starts_with(['—', '–']);
    let body = match body.strip_suffix([':', '：']) {
        Some(body) => body,
        None if dashed => body,
        None => return false,
    };
    let body = body.trim().to_lowercase().replace('\u{2019}', "'");
    names.iter().any(|name| {
        body == *name
            || body.strip_prefix(name).is_some_and(|rest| {
                rest.starts_with(" de ")
                    || rest.starts_with(" von ")
                    || rest.starts_with(" from ")
                    || rest.starts_with(" by ")
            })
    })
}

/// The head of an earlier mail: who wrote it in its first line, when and to whom or about what in the next ones.
fn is_head(lines: &[Line], at: usize) -> bool {
    if !keyed(&lines[at].plain, FROM) {
        return false;
    }
    let below = || lines[at + 1..].iter().take(HEAD_LINES_MAX).filter(|line| !line.is_blank());
    let has = |keys: &[&str]| below().any(|line| keyed(&line.plain, keys));
    has(SENT) && (has(TO) || has(SUBJECT)) || has(TO) && has(SUBJECT)
}

fn keyed(plain: &str, keys: &[&str]) -> bool {
    let plain = plain.trim_start_matches(|c: char| c.is_whitespace() || "*>".contains(c));
    let window = &plain[..plain.floor_char_boundary(40)];
    let Some((key, _)) = window.split_once([':', '：']) else { return false };
    let key = key.trim_matches(|c: char| c.is_whitespace() || c == '*').to_lowercase();
    keys.contains(&key.as_str())
}

/// Whether the mail hands another one on. Behind `history` such a mark belongs to the earlier mail.
pub(super) fn forwards(lines: &[Line], history: usize) -> bool {
    let marked = |line: &Line| named(line.plain.trim_start_matches(['>', ' ']), FORWARDS);
    let own = lines[..history].iter().any(|line| line.quote == Quote::Own && marked(line));
    // The mark may be the first line of the quote, or what was taken for the beginning of one.
    own || lines.get(history).is_some_and(marked)
}

/// `Sent from my phone`.
pub(super) fn is_device_line(plain: &str) -> bool {
    const DEVICE_BYTES_MAX: usize = 160;
    let plain = plain.trim();
    if plain.len() > DEVICE_BYTES_MAX {
        return false;
    }
    let plain = plain
        .trim_start_matches(['-', '_', '—', ' ', '*'])
        .to_lowercase()
        .replace('\u{2019}', "'")
        .replace('\u{a0}', " ");
    DEVICES.iter().any(|device| match device.strip_prefix('…') {
        Some(end) => plain.trim_end_matches(['.', '。', ')', '>']).ends_with(end),
        None => plain.starts_with(device),
    })
}
