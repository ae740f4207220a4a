//! From a stored part to the texts of its lines, when it is sent. Pure.

use bridge_api::Part;

use crate::{
    isupport::CaseMapping,
    message::Text,
    text::without_at,
    view::{ADDRESS_MARK, CUT_WORDS},
};

/// Far more than a part that fitted one line can become.
const PIECES_MAX: usize = 16;

/// Usually one line. The gateway keeps parts as they were fitted; when the prefix has grown since,
/// they are cut once more. `address` goes before the first part of a reply in a channel; `nick` is
/// the person's, whom an agent may have called `@nick`.
pub(super) fn of_part(part: &Part, address: &str, nick: &str, mapping: CaseMapping, bytes_max: usize) -> Vec<Text> {
    let text = match part {
        Part::Text { text, .. } => match text.strip_prefix(ADDRESS_MARK) {
            Some(text) => format!("{address}{}", without_at(text, nick, mapping)),
            None => without_at(text, nick, mapping).into_owned(),
        },
        Part::Attachment(file) => format!("{}: {}", file.name, file.url),
        Part::Withdraw { .. } => format!("{address}(please disregard the message before: it was taken back)"),
        // A part of a later gateway that this bridge cannot know.
        Part::Letter { .. } | _ => return Vec::new(),
    };
    let mut texts = Vec::new();
    for line in text.split(['\r', '\n']) {
        let line: String = line.chars().filter(|c| !matches!(c, '\0' | '\x01')).collect();
        let mut rest = line.as_str();
        while !rest.trim().is_empty() && texts.len() < PIECES_MAX {
            let at = cut_at(rest, bytes_max);
            texts.extend(Text::new(&rest[..at]));
            rest = rest[at..].trim_start_matches(' ');
        }
    }
    texts
}

/// What the agent must know once this part was sent: that the person did not get all of it.
pub(super) fn remark_on(part: &Part) -> Option<String> {
    let Part::Text { text, .. } = part else { return None };
    let count = text.trim_start_matches(ADDRESS_MARK).strip_prefix(CUT_WORDS)?.split(' ').next()?;
    let count: usize = count.parse().ok()?;
    Some(format!(
        "the reply was too long for irc: its last {count} lines were not sent, send them in a reply of their own"
    ))
}

fn cut_at(rest: &str, bytes_max: usize) -> usize {
    let fits = rest.floor_char_boundary(bytes_max.max(8).min(rest.len()));
    if fits == rest.len() { fits } else { rest[..fits].rfind(' ').filter(|at| *at > 0).unwrap_or(fits) }
}
