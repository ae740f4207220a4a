//! Both ways together, and what an attacker sends.

use std::thread;

use proptest::prelude::*;

use super::{from_markdown::Rendered, *};

/// What a worker of the runtime has.
const STACK_BYTES: usize = 2 * 1024 * 1024;

/// Runs it where a deep recursion would end the process.
fn on_a_small_stack(work: impl FnOnce() + Send + 'static) {
    thread::Builder::new().stack_size(STACK_BYTES).spawn(work).unwrap().join().unwrap();
}

fn both(formatted: &str) -> String {
    to_markdown(&Content { body: "the body", formatted_body: Some(formatted), ..Content::default() })
}

#[test]
fn what_a_gate_refuses_is_read_from_the_body() {
    on_a_small_stack(|| {
        for tag in ["div", "table", "blockquote", "ul><li", "b", "x"] {
            let opened = format!("<{tag}>");
            assert_eq!(both(&format!("{}x", opened.repeat(10_000))), "the body", "{tag}");
        }
        assert_eq!(both(&"<".repeat(1 << 20)), "the body");
        assert_eq!(both(&"<div>".repeat(1 << 18)), "the body");
        assert_eq!(both(&"x".repeat(html::HTML_BYTES_MAX + 1)), "the body");
    });
}

#[test]
fn the_deepest_and_longest_that_is_allowed_fits_a_small_stack() {
    on_a_small_stack(|| {
        for tag in ["div", "table><tr><td", "blockquote", "ul><li", "b><i", "pre", "ol><li", "span data-mx-spoiler"] {
            let opened = format!("<{tag}>");
            let depth = html::DEPTH_MAX / opened.matches('<').count();
            let markdown = both(&format!("{}x", opened.repeat(depth)));
            assert!(markdown.contains('x') && markdown != "the body", "{tag}: {markdown}");
        }
        for piece in [
            "<",
            "<b>x</b>",
            "&",
            "&eacute;",
            "<p>",
            "<br>",
            "<li>",
            "<a href=x>",
            "*",
            "_a",
            "`",
            "[",
            "![",
            "> ",
            "<td>",
        ] {
            let long = piece.repeat(html::HTML_BYTES_MAX / piece.len());
            let markdown = both(&long);
            assert!(markdown.len() <= 8 * html::HTML_BYTES_MAX, "{piece}: {}", markdown.len());
            to_markdown(&Content { body: &long, ..Content::default() });
        }
        for piece in
            ["> ", "- ", "*a ", "**a", "[", "![", "`", "<b>", "1. ", "|", "[a](", "\\", "&lt;", "~~~\n", "- a\n  "]
        {
            assert!(from_markdown(&piece.repeat(100_000 / piece.len())).bytes() <= 1 << 20, "{piece}");
        }
        for piece in ["> ", "- ", "*a* ", "[", "`", "a", "```\na\n```\n"] {
            assert!(split(&piece.repeat(50_000 / piece.len()), TEXT_BYTES_MAX).len() < 20, "{piece}");
        }
    });
}

#[test]
fn a_reply_that_quotes_a_person_shows_them_what_they_wrote() {
    for body in
        ["plain", "2 * 3 < 7", "snake_case *stars* `ticks`", "- no list\n1. none\n# none", "https://x.y/_a_ (see)"]
    {
        let markdown = to_markdown(&Content { body, ..Content::default() });
        assert_eq!(from_markdown(&markdown), Rendered { body: body.to_owned(), formatted: None }, "{markdown}");
    }
}

proptest! {
    #[test]
    fn what_a_person_typed_comes_back_as_they_typed_it(body in "[a-z *_~`<>#|&;!\\[\\]()\\\\\n.=+-]{0,60}") {
        let markdown = to_markdown(&Content { body: &body, ..Content::default() });
        let letters = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
        let rendered = from_markdown(&markdown);
        prop_assert_eq!(letters(&rendered.body), letters(&body), "{}", markdown);
        prop_assert_eq!(rendered.formatted, None);
    }

    #[test]
    fn html_that_we_made_is_read_back(markdown in "(a |b|\\*\\*|_|`k`|c\n|\n\n|> |- |# |\\[t\\]\\(https://x\\.y/\\)){0,30}") {
        let rendered = from_markdown(&markdown);
        if let Some(html) = &rendered.formatted {
            let read = to_markdown(&Content { body: "(plain)", formatted_body: Some(html), ..Content::default() });
            let letters = |text: &str| text.chars().filter(|c| c.is_alphanumeric()).collect::<String>();
            if !letters(&rendered.body).is_empty() {
                prop_assert_eq!(letters(&read), letters(&rendered.body), "{}", html);
            }
        }
    }
}
