//! Names, subjects and file names made harmless before they stand in a header. Everything here is hostile: no line end,
//! no control character and nothing that turns the direction of writing comes out.

use crate::{
    characters::{is_hidden, joins},
    subject::answered,
};

/// Characters of a display name, of a subject and of a file name.
const NAME_CHARS_MAX: usize = 64;
const SUBJECT_CHARS_MAX: usize = 250;
const FILE_CHARS_MAX: usize = 120;
/// Characters of a file's ending that survive when its name is cut.
const ENDING_CHARS_MAX: usize = 12;
/// Octets of an agent's text; what is longer is cut. The desk allows 150,000 characters.
const TEXT_BYTES_MAX: usize = 640 * 1024;

/// A person sees it, and sees it where it stands.
pub(crate) fn is_shown(c: char) -> bool {
    !is_hidden(c) || joins(c)
}

/// Line ends as `\n`, and no other control character but the tab.
pub(crate) fn text(markdown: &str) -> String {
    let cut = &markdown[..markdown.floor_char_boundary(TEXT_BYTES_MAX)];
    let cut = cut.replace("\r\n", "\n").replace(['\r', '\u{b}', '\u{c}', '\u{85}', '\u{2028}', '\u{2029}'], "\n");
    cut.chars().filter(|c| matches!(c, '\n' | '\t') || !c.is_control()).collect()
}

/// One line with single spaces, at most so many characters.
pub(crate) fn line(text: &str, chars_max: usize) -> String {
    let mut line = String::new();
    let mut count = 0;
    for c in text.chars() {
        let c = if c.is_whitespace() || c.is_control() { ' ' } else { c };
        if !is_shown(c) || (c == ' ' && (line.is_empty() || line.ends_with(' '))) {
            continue;
        }
        if count == chars_max {
            break;
        }
        line.push(c);
        count += 1;
    }
    line.truncate(line.trim_end().len());
    line
}

/// A name that nobody takes for an address, in any mail program.
pub(crate) fn display_name(text: &str) -> String {
    let plain = |c: char| if matches!(c, '@' | '＠' | '﹫' | '<' | '>' | '"' | '\\') { ' ' } else { c };
    line(&text.chars().map(plain).collect::<String>(), NAME_CHARS_MAX)
}

pub(crate) fn subject(text: &str) -> String {
    line(text, SUBJECT_CHARS_MAX)
}

/// The subject of an answer: `Re: ` once, in place of what mail programs of any language put there.
pub(crate) fn reply_subject(text: &str) -> String {
    let whole = line(text, usize::MAX);
    subject(&format!("Re: {}", answered(&whole)))
}

/// A file's name without any path. Never empty.
pub(crate) fn file_name(text: &str) -> String {
    let base = text.rsplit(['/', '\\', '\0']).next().unwrap_or_default();
    let plain = |c: char| if matches!(c, '"' | '<' | '>' | ':' | '|' | '?' | '*') { '_' } else { c };
    let name = line(&base.chars().map(plain).collect::<String>(), usize::MAX);
    let name = name.trim_start_matches(['.', ' ']);
    if name.is_empty() {
        return "attachment".to_owned();
    }
    let count = name.chars().count();
    if count <= FILE_CHARS_MAX {
        return name.to_owned();
    }
    let ending = name.rsplit_once('.').map(|(_, ending)| ending).filter(|it| it.chars().count() <= ENDING_CHARS_MAX);
    let Some(ending) = ending else { return name.chars().take(FILE_CHARS_MAX).collect() };
    let stem = FILE_CHARS_MAX - ending.chars().count() - 1;
    name.chars().take(stem).chain(['.']).chain(ending.chars()).collect()
}

/// `type/subtype` alone. Parameters and what may not be encoded in base64 are given up.
pub(crate) fn media_type(declared: Option<&str>) -> String {
    let bare = declared.unwrap_or_default().split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let token = |text: &str| {
        (1..=60).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$&^_.+-".contains(&b))
    };
    let good = bare
        .split_once('/')
        .is_some_and(|(kind, sub)| token(kind) && token(sub) && !matches!(kind, "multipart" | "message"));
    if good { bare } else { "application/octet-stream".to_owned() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_display_name_is_no_address_and_holds_nothing_hidden() {
        for (text, expected) in [
            ("Ada Lovelace", "Ada Lovelace"),
            ("  Ada\r\n Bcc: x@y.test ", "Ada Bcc: x y.test"),
            ("ceo@bank.test", "ceo bank.test"),
            ("ceo＠bank.test", "ceo bank.test"),
            ("\"Ada\" <ada@b.test>", "Ada ada b.test"),
            ("A\u{202e}da\u{0}\u{200b}", "Ada"),
            ("A\u{3164}d\u{115f}a\u{34f}", "Ada"),
            ("❤\u{fe0f}", "❤\u{fe0f}"),
            ("Zoë 👩‍💻", "Zoë 👩‍💻"),
            ("\u{202e}", ""),
        ] {
            assert_eq!(display_name(text), expected, "{text:?}");
        }
        assert_eq!(display_name(&"a".repeat(500)).len(), NAME_CHARS_MAX);
    }

    #[test]
    fn an_answer_says_re_once() {
        for (text, expected) in [
            ("Order 5", "Re: Order 5"),
            ("Re: Order 5", "Re: Order 5"),
            ("RE: Aw: SV : Antw:Odp: Vs: Order 5", "Re: Order 5"),
            ("Re[3]: Order 5", "Re: Order 5"),
            ("回复：订单", "Re: 订单"),
            ("Fwd: Order 5", "Re: Fwd: Order 5"),
            ("Reminder: pay", "Re: Reminder: pay"),
            ("", "Re:"),
            ("Re:", "Re:"),
            ("a\r\nBcc: x", "Re: a Bcc: x"),
        ] {
            assert_eq!(reply_subject(text), expected, "{text:?}");
        }
        assert_eq!(reply_subject(&"x".repeat(900)).len(), SUBJECT_CHARS_MAX);
    }

    #[test]
    fn a_file_name_is_no_path_and_keeps_its_ending() {
        for (text, expected) in [
            ("a.pdf", "a.pdf"),
            ("../../etc/passwd", "passwd"),
            ("C:\\x\\a.pdf", "a.pdf"),
            ("..hidden", "hidden"),
            ("a\r\nb.pdf", "a b.pdf"),
            ("in\u{202e}fdp.exe", "infdp.exe"),
            ("a\"b.txt", "a_b.txt"),
            ("", "attachment"),
            ("..", "attachment"),
        ] {
            assert_eq!(file_name(text), expected, "{text:?}");
        }
        let long = file_name(&format!("{}.pdf", "ä".repeat(300)));
        assert_eq!(
            (long.chars().count(), long.split_once('.')),
            (FILE_CHARS_MAX, Some(("ä".repeat(116).as_str(), "pdf")))
        );
        assert_eq!(file_name(&"a".repeat(300)).len(), FILE_CHARS_MAX);
    }

    #[test]
    fn a_media_type_is_one_or_it_is_bytes() {
        for (text, expected) in [
            (Some("image/PNG"), "image/png"),
            (Some("text/html; charset=utf-8"), "text/html"),
            (Some("a/b\r\nX: y"), "application/octet-stream"),
            (Some("message/rfc822"), "application/octet-stream"),
            (Some("multipart/mixed"), "application/octet-stream"),
            (Some("png"), "application/octet-stream"),
            (None, "application/octet-stream"),
        ] {
            assert_eq!(media_type(text), expected, "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_out_is_one_line(text in any::<String>()) {
            for out in [display_name(&text), subject(&text), reply_subject(&text), file_name(&text)] {
                prop_assert!(out.chars().all(is_shown), "{out:?}");
                prop_assert_eq!(out.trim(), out.as_str());
            }
            prop_assert!(!display_name(&text).contains('@'));
        }
    }
}
