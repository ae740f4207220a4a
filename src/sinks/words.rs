//! What stands in a message of the inbox. Pure.

use crate::chatwoot::CONTENT_CHARS_MAX;

/// The text, and the lines in place of what is not sent along, as far as a message has room for them: a text that just
/// fits is not lost for a line.
pub(super) fn content_of(text: &str, lines: &[String]) -> String {
    let mut content = text.to_owned();
    let mut chars = text.chars().count();
    for line in lines {
        chars += line.chars().count() + 1;
        if chars > CONTENT_CHARS_MAX {
            break;
        }
        if !content.is_empty() {
            content.push('\n');
        }
        content.push_str(line);
    }
    content
}

/// Chatwoot evaluates Liquid in whatever is not incoming, and these words are other people's.
pub(super) fn without_liquid(text: &str) -> String {
    text.replace("{{", "{ {").replace("{%", "{ %")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_stand_behind_the_text_as_far_as_there_is_room() {
        let lines = ["a: gone".to_owned(), "b: gone".to_owned()];
        assert_eq!(content_of("look", &lines), "look\na: gone\nb: gone");
        assert_eq!(content_of("", &lines), "a: gone\nb: gone");
        for (spare, expected) in [(7, 0), (8, 1), (15, 1), (16, 2)] {
            let content = content_of(&"ä".repeat(CONTENT_CHARS_MAX - spare), &lines);
            assert_eq!(content.lines().count() - 1, expected, "{spare}");
            assert!(content.chars().count() <= CONTENT_CHARS_MAX);
        }
    }
}
