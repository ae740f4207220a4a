//! An agent's Markdown as people on Matrix read it.

use proptest::prelude::*;

use super::*;

fn check(markdown: &str, body: &str, formatted: &str) {
    let formatted = (!formatted.is_empty()).then(|| formatted.to_owned());
    assert_eq!(from_markdown(markdown), Rendered { body: body.to_owned(), formatted }, "{markdown:?}");
}

#[test]
fn marks_become_elements() {
    for (markdown, body, formatted) in [
        ("plain", "plain", ""),
        (
            "a **b** _c_ *d* ~~e~~ `f<`",
            "a **b** _c_ _d_ ~~e~~ `f<`",
            "a <strong>b</strong> <em>c</em> <em>d</em> <del>e</del> <code>f&lt;</code>",
        ),
        ("***a***", "_**a**_", "<em><strong>a</strong></em>"),
        ("2 \\* 3 \\_x\\_ snake_case &lt; &amp;amp;", "2 * 3 _x_ snake_case < &amp;", ""),
        ("a\nb\\\nc  \nd", "a\nb\nc\nd", ""),
        ("a\\\n\\\nb\\\n\nc\\", "a\n\nb\n\nc", ""),
        ("**a**\\\nb\\\n", "**a**\nb", "<strong>a</strong><br>b"),
        ("a\n\nb **c**", "a\n\nb **c**", "<p>a</p><p>b <strong>c</strong></p>"),
        ("# Head *x*\ntext", "# Head _x_\n\ntext", "<h1>Head <em>x</em></h1><p>text</p>"),
        (
            "```sh\nls  -l\n\n\n  <x>\n```",
            "ls  -l\n\n\n  <x>",
            "<pre><code class=\"language-sh\">ls  -l\n\n\n  &lt;x&gt;\n</code></pre>",
        ),
        ("    indented", "indented", "<pre><code>indented</code></pre>"),
        ("``` a\"b\nc\n```", "c", "<pre><code>c\n</code></pre>"),
        ("a\n\n---\nb", "a\n\n---\n\nb", "<p>a</p><hr><p>b</p>"),
    ] {
        check(markdown, body, formatted);
    }
}

#[test]
fn blocks_nest_in_both_forms() {
    for (markdown, body, formatted) in [
        (
            "- a\n- b\n  c\n  - d\n- e",
            "- a\n- b\n  c\n  - d\n- e",
            "<ul><li>a</li><li>b<br>c<ul><li>d</li></ul></li><li>e</li></ul>",
        ),
        ("3. a\n4. b\n\nx", "3. a\n4. b\n\nx", "<ol start=\"3\"><li>a</li><li>b</li></ol><p>x</p>"),
        ("1. a\n\n   b\n2. c", "1. a\n\n   b\n\n2. c", "<ol><li><p>a</p><p>b</p></li><li><p>c</p></li></ol>"),
        (
            "> a\n> b\n>\n> > c\n\nd",
            "> a\n> b\n>\n> > c\n\nd",
            "<blockquote><p>a<br>b</p><blockquote><p>c</p></blockquote></blockquote><p>d</p>",
        ),
        (
            "| A | B |\n|---|---|\n| 1 | **2** |\n| 3 |",
            "A | B\n1 | **2**\n3 |",
            "<table><tr><th>A</th><th>B</th></tr><tr><td>1</td><td><strong>2</strong></td></tr><tr><td>3</td><td></td></tr></table>",
        ),
        ("- \n", "-", ""),
        ("- a\\\n", "- a", "<ul><li>a</li></ul>"),
    ] {
        check(markdown, body, formatted);
    }
}

#[test]
fn links_keep_their_address_and_lead_only_where_allowed() {
    for (markdown, body, formatted) in [
        ("see https://x.y/a_b?c=1&d.", "see https://x.y/a_b?c=1&d.", ""),
        (
            "**see** (https://x.y/a_(b)).",
            "**see** (https://x.y/a_(b)).",
            "<strong>see</strong> (<a href=\"https://x.y/a_%28b%29\">https://x.y/a_(b)</a>).",
        ),
        (
            "[t](https://x.y/?a=1&b=\"2\")",
            "t (https://x.y/?a=1&b=\"2\")",
            "<a href=\"https://x.y/?a=1&amp;b=%222%22\">t</a>",
        ),
        ("<https://x.y> <a@b.c> [https://x.y](https://x.y)", "https://x.y a@b.c https://x.y", ""),
        ("**<a@b.c>**", "**a@b.c**", "<strong><a href=\"mailto:a@b.c\">a@b.c</a></strong>"),
        ("[](https://x.y)", "https://x.y", ""),
        ("![alt](https://x.y/i.png)", "alt (https://x.y/i.png)", "<a href=\"https://x.y/i.png\">alt</a>"),
        (
            "[![alt](https://x.y/i.png)](https://x.y)",
            "alt (https://x.y/i.png) (https://x.y)",
            "<a href=\"https://x.y/\">alt</a>",
        ),
        ("[x](javascript:alert(1)) [y](data:text/html,z)", "x (javascript:alert(1)) y (data:text/html,z)", ""),
        ("*[x](javascript:y)*", "_x (javascript:y)_", "<em>x (javascript:y)</em>"),
        ("[@Sam](mention://user/1/Sam) look", "@Sam look", ""),
        ("[call](tel:+49123) [doc](/a/b)", "call (tel:+49123) doc (/a/b)", ""),
        ("[t][r]\n\n[r]: https://x.y", "t (https://x.y)", "<a href=\"https://x.y/\">t</a>"),
        ("[note]: call-me", "[note]: call-me", ""),
        (
            "`https://x.y` https:// xhttps://y",
            "`https://x.y` https:// xhttps://y",
            "<code>https://x.y</code> https:// xhttps://y",
        ),
    ] {
        check(markdown, body, formatted);
    }
}

#[test]
fn html_is_text_and_nothing_hidden_gets_through() {
    for (markdown, body, formatted) in [
        ("a <b>c</b> &lt;", "a <b>c</b> <", ""),
        ("*a* <img src=x onerror=y>", "_a_ <img src=x onerror=y>", "<em>a</em> &lt;img src=x onerror=y&gt;"),
        (
            "<script>\nalert(1)\n</script>\n\n*x*",
            "<script>\nalert(1)\n</script>\n\n_x_",
            "<p>&lt;script&gt;<br>alert(1)<br>&lt;/script&gt;</p><p><em>x</em></p>",
        ),
        ("<!-- c -->", "<!-- c -->", ""),
        ("a\0b\u{1}c\u{202e}d &#x202e;&#1;&#10;x\u{2028}y", "abcd\nx\ny", ""),
        ("\\\n\nx", "x", ""),
        ("\\\n\\", "", ""),
        ("1.", "1.", ""),
        ("", "", ""),
        ("  \n\n&nbsp;", "", ""),
    ] {
        check(markdown, body, formatted);
    }
}

#[test]
fn what_both_forms_take_in_json_is_counted() {
    assert_eq!(from_markdown("**a**").bytes(), "**a**<strong>a</strong>".len());
    assert_eq!(from_markdown("\"a\\\\b\"\nc").bytes(), serde_json::to_string("\"a\\b\"\nc").unwrap().len() - 2);
}

#[test]
fn what_grows_without_bounds_is_sent_as_it_was_typed() {
    let references = format!("[a]: https://x.y/{}\n\n{}", "z".repeat(20_000), "[a] ".repeat(20_000));
    let rendered = from_markdown(&references);
    assert!(rendered.bytes() <= 4 * OUTPUT_BYTES_MAX && rendered.body.contains("[a]"), "{}", rendered.bytes());
    let cells = format!("|{}\n|{}\n{}", "a|".repeat(1_000), "-|".repeat(1_000), "|a\n".repeat(2_000));
    assert!(from_markdown(&cells).bytes() <= 2 * OUTPUT_BYTES_MAX + cells.len());
    let emphasis = from_markdown(&"*a* ".repeat(50_000));
    assert_eq!((emphasis.body.len(), emphasis.formatted), (4 * 50_000 - 1, None));
}

#[test]
fn the_strict_reader_is_strict() {
    for (html, fine) in [
        ("<p>a &amp; b<br></p>", true),
        ("<a href=\"https://x.y\">z</a>", true),
        ("<script>x</script>", false),
        ("<p onclick=\"x\">y</p>", false),
        ("<a href=\"javascript:x\">y</a>", false),
        ("<b>x", false),
        ("<p>x</em>", false),
        ("a & b", false),
        ("a > b", false),
    ] {
        assert_eq!(strictly(html).is_ok(), fine, "{html}");
    }
}

pub(in super::super) fn markdown() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "[a-c *_~`é😀\u{301}\n\r\\\\<>&#0-9:/.|+\\[\\]()!\"-]{0,120}",
        "(a |b|\\*\\*|_|~~|`|```|https://x\\.y/z|\\]\\(|\\[|!\\[|\\)|javascript:x|mailto:a@b|> |- |1\\. |  |\n|&#10;|&#0;|&lt;|<b>|\"|\\||\\|-\\|-\\|\n|# |\\\\){0,40}",
        "(> ){0,120}(- ){0,120}\\*{0,200}a",
    ]
}

/// What is left of a text when blanks and the signs of Markdown are taken out of it.
fn letters(text: &str) -> String {
    text.chars().filter(|c| c.is_alphanumeric()).collect()
}

/// The text of the HTML that passed the strict reader.
fn text_of(html: &str) -> String {
    let mut text = String::new();
    for part in html.split('<') {
        text.push_str(part.split_once('>').map_or(part, |(_, text)| text));
    }
    text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

proptest! {
    #[test]
    fn html_is_what_matrix_allows(markdown in markdown()) {
        let rendered = from_markdown(&markdown);
        let html = rendered.formatted.as_deref().unwrap_or_default();
        prop_assert_eq!(strictly(html), Ok(()), "{}", html);
        for text in [&*rendered.body, html] {
            prop_assert!(!text.contains(|c: char| c.is_control() && c != '\n' && c != '\t'), "{:?}", text);
        }
        prop_assert!(rendered.formatted.is_none() || !rendered.body.is_empty());
    }

    #[test]
    fn both_forms_say_the_same(markdown in "(a |b|\\*\\*|_|~~|`|c\n|\n\n|> |- |# |&lt;|&amp;|<i>|\\\\\\*){0,40}") {
        let rendered = from_markdown(&markdown);
        if let Some(html) = &rendered.formatted {
            prop_assert_eq!(letters(&text_of(html)), letters(&rendered.body), "{}", html);
        }
    }

    #[test]
    fn plain_words_come_out_as_they_went_in(text in "[a-zA-Z0-9 ,.!?äöü€😀]{0,80}") {
        let rendered = from_markdown(&text);
        let list = text.trim_start().starts_with(|c: char| c.is_ascii_digit()) || text.starts_with("    ");
        if !list {
            prop_assert_eq!(rendered, Rendered { body: text.trim().to_owned(), formatted: None });
        }
    }
}
