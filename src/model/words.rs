//! Other people's words inside Markdown of ours.

/// A plain text on one line, as Markdown that shows just it.
pub fn plain(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for word in text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty()) {
        if !shown.is_empty() {
            shown.push(' ');
        }
        for c in word.chars() {
            if "\\`*_[]<>~|#!".contains(c) {
                shown.push('\\');
            }
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn remote_words_stay_words_on_one_line() {
        for (text, expected) in [
            ("ada", "ada"),
            ("*a*\n# b", "\\*a\\* \\# b"),
            ("[x](http://y)", "\\[x\\](http://y)"),
            (" \u{0} ", ""),
            ("👍", "👍"),
        ] {
            assert_eq!(plain(text), expected, "{text:?}");
        }
    }
}
