//! Small cleanings of what peers typed: names to show, and the "bridge-nick: " in front of a question.

use crate::isupport::CaseMapping;

const NAME_CHARS_MAX: usize = 64;

/// A name fit to show: no controls, bidi or zero-width characters, single spaces, at most 64 characters. May be empty.
pub(crate) fn display_name(name: &str) -> String {
    let shown: String = name.chars().filter(|&c| !hidden(c)).collect();
    let shown: String = shown.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(NAME_CHARS_MAX).collect();
    shown.trim_end().to_owned()
}

fn hidden(c: char) -> bool {
    c.is_control()
}

/// The text after "nick:", "nick," or "nick>", compared folded, taken off once; `None` when it is not addressed so.
pub(crate) fn without_mention<'a>(text: &'a str, nick: &str, mapping: CaseMapping) -> Option<&'a str> {
    let text = text.trim_start();
    let end = text.find([':', ',', '>'])?;
    let (name, rest) = text.split_at(end);
    (!nick.is_empty() && mapping.fold(name) == mapping.fold(nick)).then(|| rest[1..].trim_start())
}
