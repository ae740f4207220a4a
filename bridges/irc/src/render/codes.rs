//! IRC formatting codes to styled runs (modern.ircdocs.horse, "formatting").

use std::iter::Peekable;
use std::str::Chars;

use super::style::{Mark, Run, Style, push};

/// One line's runs. Colour, reverse and underline are dropped; so is every other control but tab.
pub(super) fn runs_of(line: &str) -> Vec<Run> {
    let mut runs = Vec::new();
    let mut style = Style::PLAIN;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        if let Some(mark) = Mark::ALL.into_iter().find(|mark| mark.code() == c) {
            style = style.toggled(mark);
            continue;
        }
        match c {
            '\x0f' => style = Style::PLAIN,
            '\x03' => skip_colours(&mut chars, 1, 2, |c| c.is_ascii_digit()),
            '\x04' => skip_colours(&mut chars, 6, 6, |c| c.is_ascii_hexdigit()),
            '\t' => push(&mut runs, "\t", style),
            // Line breaks of Unicode's own: the inbox might take them for some.
            '\u{2028}' | '\u{2029}' => push(&mut runs, " ", style),
            c if c.is_control() => {}
            c => push(&mut runs, c.encode_utf8(&mut [0; 4]), style),
        }
    }
    runs
}

/// `fore[,back]`; the comma belongs to it only when a whole colour follows.
fn skip_colours(chars: &mut Peekable<Chars<'_>>, digits_min: usize, digits_max: usize, digit: fn(char) -> bool) {
    let colour = |chars: &Peekable<Chars<'_>>| {
        let digits = chars.clone().take(digits_max).take_while(|&c| digit(c)).count();
        (digits >= digits_min).then_some(digits)
    };
    let Some(digits) = colour(chars) else { return };
    skip(chars, digits);
    let mut after = chars.clone();
    if after.next() == Some(',')
        && let Some(digits) = colour(&after)
    {
        skip(chars, digits + 1);
    }
}

fn skip(chars: &mut Peekable<Chars<'_>>, count: usize) {
    for _ in 0..count {
        chars.next();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_take_their_digits_and_no_more() {
        for (line, visible) in [
            ("\x0304red\x03 x", "red x"),
            ("\x034red", "red"),
            ("\x03123", "3"),
            ("\x0312,4x", "x"),
            ("\x034,15,6", ",6"),
            ("\x034,x", ",x"),
            ("\x03,4", ",4"),
            ("\x04ff00FFx", "x"),
            ("\x04ff00ff,000000x", "x"),
            ("\x04ff00ff,00x", ",00x"),
            ("\x04ff0x", "ff0x"),
            ("\x16a\x1fb\x06c\u{9f}\r", "abc"),
            ("\x024\x02 2", "4 2"),
            ("\x03", ""),
        ] {
            let shown: String = runs_of(line).iter().map(|run| &*run.text).collect();
            assert_eq!(shown, visible, "{line:?}");
        }
    }
}
