//! Texts cut to fit a line.

use proptest::prelude::*;

use super::super::compose;
use super::*;

fn parts(markdown: &str, formatting: Formatting, bytes_max: usize) -> Vec<String> {
    compose(markdown, formatting, bytes_max).iter().map(|part| part.as_str().to_owned()).collect()
}

fn check(markdown: &str, bytes_max: usize, expected: &[&str]) {
    assert_eq!(parts(markdown, Formatting::Codes, bytes_max), expected, "{markdown}");
}

#[test]
fn text_is_cut_at_blanks_then_between_characters() {
    check("short", 32, &["short"]);
    check("0123456789 0123456789 0123456789 x", 32, &["0123456789 0123456789 0123456789", "x"]);
    check("0123456789 0123456789 012345678901", 32, &["0123456789 0123456789", "012345678901"]);
    check(&"a".repeat(70), 32, &[&"a".repeat(32), &"a".repeat(32), "aaaaaa"]);
    check(&"é".repeat(17), 33, &[&"é".repeat(16), "é"]);
    // One grapheme, two code points: they stay together.
    check(&format!("{}e\u{301}", "a".repeat(31)), 33, &[&"a".repeat(31), "e\u{301}"]);
    let family = "👨‍👩‍👧‍👦"; // 25 bytes
    check(&format!("{family}{family}"), 40, &[family, family]);
    // A grapheme longer than a line falls back to code points.
    check(&format!("e{}", "\u{301}".repeat(20)), 32, &[&format!("e{}", "\u{301}".repeat(15)), &"\u{301}".repeat(5)]);
}

#[test]
fn a_link_that_fits_on_its_own_line_stays_whole() {
    let link = "https://example.org/0123456789";
    check(&format!("please see {link} now"), 32, &["please see", link, "now"]);
    check(&format!("请看{link}"), 32, &["请看", link]);
    let long = format!("https://example.org/{}", "x".repeat(30));
    check(&long, 32, &[&long[..32], &long[32..]]);
}

#[test]
fn styles_are_opened_again_in_each_part() {
    check("a **b** c", 32, &["a \x02b\x02 c"]);
    check("***a*** b", 32, &["\x02\x1da\x0f b"]);
    check("**0123456789 0123456789 0123456789**", 32, &["\x020123456789 0123456789", "\x020123456789"]);
    check("`x` **1**", 32, &["\x11x\x11 \x021"]);
    let plain = |markdown| parts(markdown, Formatting::Plain, 32);
    assert_eq!(plain("a **b *c*** `d`"), ["a *b _c_* `d`"]);
    assert_eq!(plain("**0123456789 0123456789 0123456789**"), ["*0123456789 0123456789*", "*0123456789*"]);
}

#[test]
fn the_budget_counts_all_that_receivers_get() {
    let isupport = Isupport::default();
    let mut mask = Mask { nick: "help".into(), user: Some("~u".into()), host: Some("h.example".into()) };
    let target = Target::nick("alice", &isupport).unwrap();
    let line = ":help!~u@h.example PRIVMSG alice :\r\n";
    assert_eq!(text_bytes_max(&mask, &target, &isupport), 512 - line.len() - 10);
    mask.user = None;
    mask.host = None;
    let line = format!(":help!{}@{} PRIVMSG alice :\r\n", "u".repeat(11), "h".repeat(63));
    assert_eq!(text_bytes_max(&mask, &target, &isupport), 512 - line.len() - 10);
}

fn formatting() -> impl Strategy<Value = Formatting> {
    prop_oneof![Just(Formatting::Codes), Just(Formatting::Plain)]
}

fn markdown() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-c *_~`é😀\u{301}\n\r\\\\<>&#0-9:/.-]{0,200}",
        "(a |\\*\\*|_|https://x\\.y/z|é|👨‍👩‍👧‍👦|> |- |\n|&#10;|&#0;){0,60}",
    ]
}

fn visible(text: &str) -> String {
    let code = |c: char| c.is_control() || c.is_whitespace();
    text.chars().filter(|&c| !code(c)).collect()
}

proptest! {
    #[test]
    fn every_part_fits_and_is_one_line(markdown in markdown(), formatting in formatting(), bytes_max in 0_usize..120) {
        let target = Target::nick("alice", &Isupport::default()).unwrap();
        for part in compose(&markdown, formatting, bytes_max) {
            prop_assert!(part.as_str().len() <= bytes_max.max(PART_BYTES_MIN));
            prop_assert!(!visible(part.as_str()).is_empty());
            let sent = crate::message::Command::privmsg(&target, &part).encode(512).unwrap();
            let text = std::str::from_utf8(&sent).unwrap().strip_suffix("\r\n").unwrap();
            let line = crate::message::Line::parse(text).unwrap();
            prop_assert_eq!(line.params(), &["alice", part.as_str()][..]);
        }
    }

    #[test]
    fn split_text_joins_back_to_the_same_visible_text(markdown in markdown(), bytes_max in 0_usize..120) {
        let whole: String = lines_of_text(&markdown);
        let parts = parts(&markdown, Formatting::Codes, bytes_max).concat();
        prop_assert_eq!(visible(&parts), visible(&whole));
    }
}

fn lines_of_text(markdown: &str) -> String {
    super::super::lines_of(markdown, Formatting::Codes).concat().iter().map(|run| &*run.text).collect()
}
