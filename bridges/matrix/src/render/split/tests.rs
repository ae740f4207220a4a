//! Cuts at the least, so that small texts show them.

use proptest::prelude::*;

use super::*;
use crate::render::from_markdown::tests::markdown;

const LEAST: usize = BYTES_LEAST;

fn check(markdown: &str, expected: &[&str]) {
    assert_eq!(split(markdown, LEAST), expected, "{markdown}");
}

#[test]
fn what_fits_stays_whole_and_what_shows_nothing_is_left_out() {
    check("short **text**\n\n- a", &["short **text**\n\n- a"]);
    check("", &[]);
    check(" \n\n&nbsp;", &[]);
    let whole = format!("{}\n\n{}", "a".repeat(LEAST / 2 - 2), "b".repeat(LEAST / 2 - 2));
    check(&whole, &[&whole]);
}

#[test]
fn text_is_cut_between_paragraphs_then_lines_then_words_then_characters() {
    let (a, b, c) = (&*"a".repeat(200), &*"b".repeat(200), &*"c".repeat(200));
    check(&format!("{a}\n{b}\n\n{c}\n{a}"), &[&format!("{a}\n{b}"), &format!("{c}\n{a}")]);
    check(&format!("{a}\n\n \n{b}\n\n\n{c}"), &[&format!("{a}\n\n \n{b}"), c]);
    check(&format!("{a} {b}\n{c} {a}"), &[&format!("{a} {b}"), &format!("{c} {a}")]);
    check(&format!("{a} {b}  {c}"), &[&format!("{a} {b}"), c]);
    check(&"é".repeat(300), &[&"é".repeat(256), &"é".repeat(44)]);
    let family = "👨‍👩‍👧‍👦"; // 25 bytes
    check(&family.repeat(21), &[&family.repeat(20), family]);
    let zalgo = format!("e{}", "\u{301}".repeat(300));
    check(&zalgo, &[&format!("e{}", "\u{301}".repeat(255)), &"\u{301}".repeat(45)]);
    check(&format!("{}\\*x", "a".repeat(512)), &[&"a".repeat(512), "\\*x"]);
    check(&format!("{a} {b} https://x.y/{c}"), &[&format!("{a} {b}"), &format!("https://x.y/{c}")]);
}

#[test]
fn what_a_piece_becomes_is_what_is_measured() {
    let bold = "**a** ".repeat(60);
    for piece in split(&bold, LEAST) {
        let rendered = from_markdown(&piece);
        assert!(rendered.bytes() <= LEAST && rendered.formatted.is_some(), "{piece}");
    }
    assert_eq!(split(&"\"".repeat(300), LEAST).len(), 2);
    assert!(split(&"*a* _b_ ".repeat(20_000), TEXT_BYTES_MAX).len() > 10);
    const { assert!(2 * TEXT_BYTES_MAX + 8 * 1024 <= 65_536, "an edit carries its text twice") };
}

#[test]
fn code_is_closed_where_it_is_cut_and_opened_again() {
    let line = "x".repeat(150);
    check(
        &format!("say\n\n```rust\n{line}\n  {line}\n{line}\n{line}\n```\nafter"),
        &[
            "say",
            &format!("```rust\n{line}\n```"),
            &format!("```rust\n  {line}\n```"),
            &format!("```rust\n{line}\n```"),
            &format!("```rust\n{line}\n```\nafter"),
        ],
    );
    check(
        &format!("- a\n  ~~~~ sh\n  {line}\n  {line}\n  ~~~~\n- b"),
        &[&format!("- a\n  ~~~~ sh\n  {line}\n  ~~~~"), &format!("  ~~~~sh\n  {line}\n  ~~~~\n- b")],
    );
    check(
        &format!("> ```\n> {line}\n> {line}"),
        &[&format!("> ```\n> {line}\n> ```"), &format!("> ```\n> {line}\n> ```")],
    );
    // The closing line stays with its code.
    check(
        &format!("```\n{line}\n{}\n```\n\nb", "y".repeat(90)),
        &[&format!("```\n{line}\n{}\n```", "y".repeat(90)), "b"],
    );
}

#[test]
fn a_piece_begins_with_no_mark_that_was_none() {
    let long = "a".repeat(511);
    for (next, piece) in [
        ("# b", "\\# b"),
        ("- b", "\\- b"),
        ("* b", "\\* b"),
        ("*** ", "\\***"),
        ("1986. b", "1986\\. b"),
        ("~~~ b", "\\~~~ b"),
        ("> b", "\\> b"),
        ("**b** c", "**b** c"),
    ] {
        check(&format!("{long} {next}"), &[&long, piece]);
    }
    let item = format!("- {}", "a".repeat(232));
    check(&format!("{item}\n\n      - b"), &[&item, "   - b"]);
}

#[test]
fn what_follows_code_within_a_list_is_shown_as_before() {
    let family = "👨‍👩‍👧‍👦";
    let text = format!(
        "{family}a    \n```\n\n  ```\n\n- de\n\n  ```\n> {family}\n> ```a\n- https://x.y/{family}{}",
        "x".repeat(50)
    );
    let pieces = split(&text, LEAST);
    let shown: String = pieces.iter().map(|piece| from_markdown(piece).body).collect();
    assert_eq!(letters(&shown), letters(&from_markdown(&text).body), "{pieces:?} of {text:?}");
}

fn letters(text: &str) -> String {
    text.chars().filter(|c| c.is_alphabetic()).collect()
}

fn long_markdown() -> impl Strategy<Value = String> {
    let words = "(a|bc |de\n|é|👨‍👩‍👧‍👦|\n\n|\\*\\*|_|\\\\\\*|`|> |\n> |\n- |\n  - |# |\n```\n|\n~~~\n|\n  ```\n|    |x{50}|-|\\+|=|https://x\\.y/){0,120}";
    proptest::string::string_regex(words).unwrap()
}

proptest! {
    #[test]
    fn every_piece_fits_and_shows_something(markdown in prop_oneof![markdown(), long_markdown()], max in 0_usize..2000) {
        for piece in split(&markdown, max) {
            let rendered = from_markdown(&piece);
            prop_assert!(rendered.bytes() <= max.max(LEAST), "{} > {}: {:?}", rendered.bytes(), max, piece);
            prop_assert!(!rendered.body.is_empty());
        }
    }

    #[test]
    fn the_pieces_show_what_the_whole_does(markdown in long_markdown(), max in 0_usize..2000) {
        let pieces = split(&markdown, max);
        let shown: String = pieces.iter().map(|piece| from_markdown(piece).body).collect();
        prop_assert_eq!(letters(&shown), letters(&from_markdown(&markdown).body), "{:?}", pieces);
    }

    #[test]
    fn plain_text_joins_back(text in "([a-zé😀]{1,30}[ \n]{1,3}){0,60}", max in 0_usize..700) {
        let joined: Vec<String> = split(&text, max);
        prop_assert_eq!(joined.concat().split_whitespace().collect::<String>(), text.split_whitespace().collect::<String>());
    }
}
