//! Finds what somebody wrote anew: not the earlier mail below it, not the signature. It looks at each line a bounded
//! number of times and cuts only what it is sure of.

mod keys;
mod shape;
mod words;

#[cfg(test)]
mod tests;

use self::shape::{Shape, forwards, is_device_line, shape_at};
use super::markdown::{Line, Mark, Quote};
use crate::subject::is_forward;

/// Lines and letters of a signature; more is text that happens to stand below two dashes.
const SIGNATURE_LINES_MAX: usize = 20;

/// How many of the lines were written anew, when that is not all of them. Forwards are never cut, and a mail that
/// answers between the lines of a quote is shown as it is.
pub(crate) fn kept(lines: &[Line], subject: &str) -> Option<usize> {
    let history = history(lines);
    let above = &lines[..history.map_or(lines.len(), |history| history.start)];
    if is_forward(subject) || forwards(lines, above.len()) {
        return None;
    }
    let end = match history {
        Some(history) if !history.ends_mail && goes_on(lines, history.start) => lines.len(),
        Some(_) | None => above.len(),
    };
    let end = without_signature(&lines[..end], end < lines.len());
    let cuts = lines[end..].iter().any(|line| !line.is_blank());
    let says = lines[..end].iter().any(|line| !line.is_blank());
    (cuts && says).then_some(end)
}

/// Lines of the sender's own that are looked at for the beginning of an earlier mail, and below it; a longer text is
/// shown whole.
const OWN_LINES_MAX: usize = 5000;

/// Where the earlier mail begins.
#[derive(Clone, Copy)]
struct History {
    start: usize,
    /// By its nature nothing new stands below.
    ends_mail: bool,
}

fn history(lines: &[Line]) -> Option<History> {
    (0..lines.len()).filter(|&at| !lines[at].is_blank()).take(OWN_LINES_MAX).find_map(|at| {
        let ends_mail = match shape_at(lines, at)? {
            Shape::History => true,
            Shape::Quote => false,
        };
        Some(History { start: at, ends_mail })
    })
}

/// Whether something new stands below the beginning of a quote.
fn goes_on(lines: &[Line], start: usize) -> bool {
    let mut own = 0;
    for at in start..lines.len() {
        let line = &lines[at];
        own += usize::from(line.quote == Quote::Own && !line.is_blank());
        if own > OWN_LINES_MAX {
            return true;
        }
        match shape_at(lines, at) {
            Some(Shape::History) => return false,
            Some(Shape::Quote) => {}
            None if line.is_blank() || line.quote != Quote::Own => {}
            // The lines of an attribution that was wrapped.
            None if (1..shape::ATTRIBUTION_LINES_MAX)
                .any(|back| at >= start + back && shape::attributes(lines, at - back, back + 1)) => {}
            None => return !is_signature(line) && !is_device_line(&line.plain),
        }
    }
    false
}

fn is_signature(line: &Line) -> bool {
    line.quote == Quote::Own && (line.mark == Some(Mark::Signature) || line.plain.trim_end() == "--")
}

/// Where the signature of these lines begins. `below` there is an earlier mail.
fn without_signature(lines: &[Line], below: bool) -> usize {
    let blankless = |lines: &[Line]| lines.iter().rposition(|line| !line.is_blank()).map_or(0, |at| at + 1);
    let mut end = blankless(lines);
    let dashes = lines[..end].iter().rposition(is_signature);
    if let Some(start) = dashes.filter(|start| end - start <= SIGNATURE_LINES_MAX) {
        let quoted = lines[start..end].iter().any(|line| line.quote != Quote::Own);
        if !quoted {
            end = blankless(&lines[..start]);
        }
    }
    // Programs write these themselves: one line, or two, at the end.
    for _ in 0..2 {
        let Some(last) = end.checked_sub(1) else { break };
        if !is_device_line(&lines[last].plain) || lines[last].quote != Quote::Own {
            break;
        }
        end = blankless(&lines[..last]);
    }
    // Above an earlier mail, blank lines were no text.
    if end == blankless(lines) && !below { lines.len() } else { end }
}
