//! Names for people to read.

/// A member's own name without anything invisible, in at most 64 characters; where nothing is left of it, the local
/// part of their id, else the whole id.
pub(crate) fn display_name(raw: &str, fallback_user_id: &str) -> String {
    let localpart = fallback_user_id.trim_start_matches('@').split(':').next().unwrap_or_default();
    let shown = [raw, localpart, fallback_user_id].into_iter().map(visible).find(|name| !name.is_empty());
    shown.unwrap_or_else(|| NOBODY.to_owned())
}

/// No homeserver gives out an id that shows nothing; a name must show something even then.
const NOBODY: &str = "?";
const NAME_CHARS_MAX: usize = 64;

fn visible(name: &str) -> String {
    let mut shown = String::new();
    let kept: String = name.chars().filter(|&c| !shows_nothing(c)).collect();
    for word in kept.split(|c: char| c.is_whitespace() || c == BRAILLE_BLANK) {
        if !shown.is_empty() && !word.is_empty() {
            shown.push(' ');
        }
        shown.push_str(word);
    }
    let end = shown.char_indices().nth(NAME_CHARS_MAX).map_or(shown.len(), |(at, _)| at);
    shown.truncate(end);
    shown.truncate(shown.trim_end().len());
    shown
}

/// Looks like a space and is none.
const BRAILLE_BLANK: char = '\u{2800}';

/// Joiners and selectors too: without them a picture falls into its pieces, with them two names could look alike.
fn shows_nothing(c: char) -> bool {
    c.is_control() && !c.is_whitespace()
        || matches!(c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}'
            | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}'
            | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
            | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_shown_name_hides_nothing_and_is_never_empty() {
        for (raw, shown) in [
            ("Kim", "Kim"),
            ("  Kim \n van  der\tBerg ", "Kim van der Berg"),
            ("Zoë 李 🦊", "Zoë 李 🦊"),
            ("al\u{202e}ice\u{2066}", "alice"),
            ("a\u{200b}l\u{200d}i\u{feff}ce\u{3164}\u{e0041}", "alice"),
            ("a\0b\u{1b}[1mc\u{9b}", "ab[1mc"),
            ("a\u{2028}b\u{85}c", "a b c"),
            ("**Kim** <b>", "**Kim** <b>"),
            ("", "kim.b"),
            (" \u{200b}\u{2800}\u{202e}", "kim.b"),
        ] {
            assert_eq!(display_name(raw, "@kim.b:shop.example"), shown, "{raw:?}");
        }
        assert_eq!(display_name(&"é".repeat(65), "@k:s"), "é".repeat(64));
        assert_eq!(display_name(&format!("{} b", "a".repeat(63)), "@k:s"), "a".repeat(63));
    }

    /// Those of table C18: a hundred names, most of which pretend to be others.
    #[test]
    fn a_hundred_names_are_shown_without_what_hides() {
        let table = include_str!("../../../../tests/fixtures/names/shown.json");
        let table: Vec<(String, String)> = serde_json::from_str(table).unwrap();
        assert_eq!(table.len(), 100);
        for (name, shown) in table {
            assert_eq!(display_name(&name, "@kim.b:shop.example"), shown, "{name:?}");
        }
    }

    #[test]
    fn without_a_local_part_the_whole_id_is_shown() {
        assert_eq!(display_name("", "@:shop.example"), "@:shop.example");
        assert_eq!(display_name("", "odd"), "odd");
        assert_eq!(display_name("", "\u{200b}"), "?");
        assert_eq!(display_name("", &format!("@{}:s", "a".repeat(200))), "a".repeat(64));
    }

    proptest! {
        #[test]
        fn any_name_is_short_and_visible(raw in any::<String>(), id in any::<String>()) {
            let name = display_name(&raw, &id);
            prop_assert!(!name.trim().is_empty() && name.chars().count() <= NAME_CHARS_MAX);
            prop_assert!(!name.contains(|c: char| c.is_control() || shows_nothing(c)));
        }
    }
}
