//! Small cleanings of words that people typed: names to show, and how they address each other.

use std::borrow::Cow;

use crate::isupport::CaseMapping;

const NAME_CHARS_MAX: usize = 64;

/// A name fit to show: no controls, bidi or invisible characters, single spaces, at most 64 characters. May be empty.
pub(crate) fn display_name(name: &str) -> String {
    let mut shown = String::new();
    let visible: String = name.chars().filter(|&c| !hidden(c)).collect();
    for word in visible.split_whitespace() {
        if !shown.is_empty() {
            shown.push(' ');
        }
        shown.push_str(word);
    }
    let end = shown.char_indices().nth(NAME_CHARS_MAX).map_or(shown.len(), |(at, _)| at);
    shown.truncate(end);
    shown.truncate(shown.trim_end().len());
    shown
}

/// Characters that show nothing, or change how others are shown, so that two names could look alike.
fn hidden(c: char) -> bool {
    let blank_break = c.is_control() && !c.is_whitespace();
    blank_break
        || matches!(c,
            '\u{00ad}' | '\u{034f}' | '\u{061c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

/// The text after "nick:", "nick," or "nick>", compared folded, taken off once; `None` when it is not addressed so.
pub(crate) fn without_mention<'a>(text: &'a str, nick: &str, mapping: CaseMapping) -> Option<&'a str> {
    let end = text.find([':', ',', '>'])?;
    let (name, rest) = text.split_at(end);
    (!nick.is_empty() && mapping.fold(name.trim()) == mapping.fold(nick)).then(|| rest[1..].trim_start())
}

/// An agent's `@nick` as the bare nick that IRC clients highlight, wherever it stands as a word of its own.
pub(crate) fn without_at<'a>(text: &'a str, nick: &str, mapping: CaseMapping) -> Cow<'a, str> {
    let folded = mapping.fold(nick);
    let mut out = String::new();
    let mut kept = 0;
    for (at, _) in text.match_indices('@') {
        let rest = &text[at + 1..];
        let named = !nick.is_empty() && rest.get(..nick.len()).is_some_and(|name| mapping.fold(name) == folded);
        let ends = named && !rest[nick.len()..].starts_with(in_nick);
        if ends && !text[..at].ends_with(in_nick) {
            out.push_str(&text[kept..at]);
            kept = at + 1;
        }
    }
    if kept == 0 { text.into() } else { (out + &text[kept..]).into() }
}

fn in_nick(c: char) -> bool {
    c.is_alphanumeric() || "[]\\`_^{|}-@".contains(c)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shown_name_hides_nothing() {
        for (name, shown) in [
            ("alice", "alice"),
            ("  al  ice\t", "al ice"),
            ("al\u{202e}ice\u{2066}", "alice"),
            ("a\u{200b}l\u{200d}i\u{feff}ce\u{3164}", "alice"),
            ("a\x02b\x03\x07c\0\u{9b}", "abc"),
            ("a\nb\u{2028}c\u{85}d", "a b c d"),
            ("Zoë 李", "Zoë 李"),
            ("\u{200b}\u{202e}", ""),
            ("a\u{e0041}b", "ab"),
        ] {
            assert_eq!(display_name(name), shown, "{name:?}");
        }
        assert_eq!(display_name(&"é".repeat(65)), "é".repeat(64));
        assert_eq!(display_name(&format!("{} b", "a".repeat(63))), "a".repeat(63));
    }

    /// Those of table C18: a hundred names, most of which pretend to be others.
    #[test]
    fn a_hundred_names_are_shown_without_what_hides() {
        let table = include_str!("../../../tests/fixtures/names/shown.json");
        let table: Vec<(String, String)> = serde_json::from_str(table).unwrap();
        assert_eq!(table.len(), 100);
        for (name, shown) in table {
            assert_eq!(display_name(&name), shown, "{name:?}");
        }
    }

    #[test]
    fn an_at_sign_before_the_nick_is_dropped() {
        for (text, plain) in [
            ("@al[i]: hi @AL{I}", "al[i]: hi AL{I}"),
            ("(@al[i])", "(al[i])"),
            ("\x02@al[i]\x02!", "\x02al[i]\x02!"),
            ("@al[i]_ @al @bob me@al[i] @@al[i]", "@al[i]_ @al @bob me@al[i] @@al[i]"),
            ("é@", "é@"),
            ("@é€€", "@é€€"),
            ("", ""),
        ] {
            assert_eq!(without_at(text, "al[i]", CaseMapping::Rfc1459), plain, "{text}");
        }
        assert_eq!(without_at("@ x", "", CaseMapping::Ascii), "@ x");
    }

    #[test]
    fn a_mention_is_taken_off_once_and_compared_folded() {
        for (text, rest) in [
            ("Help[1]: hi", Some("hi")),
            ("help{1}, hi", Some("hi")),
            ("help{1}> hi", Some("hi")),
            ("help{1} : hi", Some("hi")),
            ("help{1}: help{1}: hi", Some("help{1}: hi")),
            ("help{1}:", Some("")),
            ("help{1} hi", None),
            ("other: hi", None),
            ("see help{1}: hi", None),
            ("", None),
        ] {
            assert_eq!(without_mention(text, "help[1]", CaseMapping::Rfc1459), rest, "{text}");
        }
        assert_eq!(without_mention(": hi", "", CaseMapping::Ascii), None);
    }
}
