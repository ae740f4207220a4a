//! Bodies as clients write them, attacks, and what a reader of the Markdown sees.

use proptest::prelude::*;
use pulldown_cmark::{Event, Options, Parser, Tag as Element};

use super::*;
use crate::render::html::{Step, Steps, Tag, decoded};

fn html(formatted: &str) -> String {
    to_markdown(&Content { body: "(plain)", formatted_body: Some(formatted), ..Content::default() })
}

fn check(formatted: &str, markdown: &str) {
    assert_eq!(html(formatted), markdown, "{formatted}");
}

fn plain_check(body: &str, markdown: &str) {
    assert_eq!(to_markdown(&Content { body, ..Content::default() }), markdown, "{body:?}");
}

#[test]
fn marks_of_clients_become_marks() {
    for (formatted, markdown) in [
        ("Order <strong>42</strong> ships <em>today</em>", "Order **42** ships _today_"),
        ("<b>a</b> <i>b</i> <del>c</del> <s>d</s> <strike>e</strike> <u>f</u>", "**a** _b_ ~~c d e~~ f"),
        ("x<b>y</b>z 'q'<i>.q</i>w", "x**y**z 'q'*.q*w"),
        ("<strong><em>both</em> one</strong>", "**_both_ one**"),
        ("<em><em>twice</em> once</em>", "_twice once_"),
        ("run <code>ls -l | `x`</code>", "run `` ls -l | `x` ``"),
        ("<b>a<br>b</b><br/>c", "**a**\n**b**\nc"),
        ("a<b> b </b>c", "a **b** c"),
        ("10<sup>6</sup> H<sub>2</sub>O", "10^6 H2O"),
        ("<span data-mx-color=\"#f00\" data-mx-bg-color=\"#000\">red</span> <font color=\"red\">old</font>", "red old"),
        ("<span data-mx-maths=\"x^2\"><code>x^2</code></span>", "`x^2`"),
        ("a\n  b<br>\n c", "a b\nc"),
        ("&lt;b&gt; &amp;lt; &hellip; &#x1F600; &unknown; AT&T", r"\<b> \&lt; … 😀 \&unknown; AT&T"),
        ("&nbsp;&nbsp;x&nbsp;y", "\u{a0}\u{a0}x\u{a0}y"),
    ] {
        check(formatted, markdown);
    }
}

#[test]
fn blocks_of_clients_become_blocks() {
    for (formatted, markdown) in [
        ("<p>a</p>\n<p>b</p>\n", "a\n\nb"),
        ("<div>a</div><div>b<p>c</p>d</div>", "a\nb\n\nc\n\nd"),
        ("<h1>Head # one</h1>text<h3>Three #</h3>", "# Head # one\n\ntext\n\n### Three \\#"),
        ("<h2>a<br>b</h2><h2>#</h2><h2></h2>", "## a b\n\n## \\#"),
        ("<blockquote>\n<p>q</p>\n<blockquote>r</blockquote></blockquote>\nanswer", "> q\n>\n> > r\n\nanswer"),
        ("<blockquote>a</blockquote><blockquote>b</blockquote>", "> a\n\n> b"),
        ("a<hr>b<hr/>", "a\n\n***\n\nb\n\n***"),
        ("a<br><br>b<br><br><br>c", "a\n\nb\n\nc"),
        ("<details><summary>More</summary><p>text</p></details>end", "**More**\n\ntext\n\nend"),
        (
            "<pre><code class=\"language-sh\">ls  -l\n\n  <b>x</b> &lt;y&gt; ``` {{ z }}\n</code></pre>after",
            "````sh\nls  -l\n\n  x <y> ``` {{ z }}\n````\n\nafter",
        ),
        (
            "<pre>\na<br>b</pre><pre><code class=\"language-a`b\">c</code></pre><pre> </pre>",
            "```\na\nb\n```\n\n```\nc\n```",
        ),
        (
            "1. one<br># two<br>- three<br>&gt; four<br>+ five<br>===<br>---",
            "1\\. one\n\\# two\n\\- three\n\\> four\n\\+ five\n\\===\n\\---",
        ),
    ] {
        check(formatted, markdown);
    }
}

#[test]
fn lists_keep_their_shape() {
    for (formatted, markdown) in [
        ("<ul><li>a</li><li>b</li></ul>", "- a\n- b"),
        ("text<ul>\n<li>a\n<ul>\n<li>b</li>\n</ul>\n</li>\n<li>c</li>\n</ul>\nmore", "text\n\n- a\n  - b\n- c\n\nmore"),
        ("<ol><li>a</li><li>b<ol start=\"5\"><li>c</li></ol></li></ol>", "1. a\n2. b\n\n   5. c"),
        ("<ol start=\"9\"><li>a<li>b</ol>", "9. a\n10. b"),
        ("<ol start=\"99999999999\"><li>a</ol><ol start=\"-1\"><li>b</ol>", "999999999. a\n\n1. b"),
        ("<ul><li><p>a</p><p>b</p></li><li><p>c</p></li></ul>", "- a\n\n  b\n\n- c"),
        ("<ul><li>a<ul><li>b</li></ul>tail</li></ul>", "- a\n  - b\n\n  tail"),
        (
            "<ul><li></li><li>a<blockquote>q</blockquote></li><li><pre>x\ny</pre></li></ul>",
            "- a\n\n  > q\n\n- ```\n  x\n  y\n  ```",
        ),
        ("<blockquote><ul><li>a<br>b</li></ul></blockquote>c", "> - a\n>   b\n\nc"),
        ("<li>alone</li>", "- alone"),
    ] {
        check(formatted, markdown);
    }
    let deep = format!("{}x{}", "<ul><li>".repeat(12), "</li></ul>".repeat(12));
    check(&deep, &format!("{}x", "- ".repeat(8)));
}

#[test]
fn a_table_is_a_table() {
    check(
        "<table><thead><tr><th>Item</th><th>Price</th></tr></thead><tbody><tr><td>a|b</td><td><b>1</b> €</td></tr>\
         <tr><td>c<br>d<ul><li>e</li></ul></td></tr></tbody></table>after",
        "| Item | Price |\n| --- | --- |\n| a\\|b | **1** € |\n| c d e |\n\nafter",
    );
    check(
        "<table><caption>Cap</caption><tr><td>a<td><code>b|c</code><tr><td>d<td>e<td>f</table>",
        "Cap\n\n| a | b\\|c |  |\n| --- | --- | --- |\n| d | e | f |",
    );
    check("<table><tr><td>o<table><tr><td>i</td></tr></table>p</td></tr></table>x", "| o i p |\n| --- |\n\nx");
    check("<td>a</td><tr>b</tr><table></table>", "a b");
    check("<table><tr><td>a</td><table><td>b</table>c</table>", "| a |\n| --- |\n\n| b |\n| --- |\n\nc");
}

#[test]
fn links_lead_where_they_say() {
    for (formatted, markdown) in [
        ("<a href=\"https://x.y/a_(b)?c=1&amp;d\">text</a>", "[text](https://x.y/a_%28b%29?c=1&d)"),
        ("<b>see <a href=\"https://x.y/\">the <i>page</i></a></b>!", "**see** [**the _page_**](https://x.y/)!"),
        ("wow!<a href=\"https://x.y\">z</a>", "wow\\![z](https://x.y/)"),
        (
            "<a href=\"https://x.y/a\">https://x.y/a</a>, <a href=\"https://x.y\">x.y</a>",
            "https://x.y/a, [x.y](https://x.y/)",
        ),
        ("<a href=\"mailto:a@x.y\">a@x.y</a> <a href=\"MAGNET:?xt=urn:a\">m</a>", "a@x.y [m](magnet:?xt=urn:a)"),
        (
            "<a href=\"https://evil.example/\">https://bank.example</a> now",
            "<https://bank.example> <https://evil.example/> now",
        ),
        ("<a href=\"https://evil.example/\">bank.example</a>", "bank.example <https://evil.example/>"),
        ("<a href=\"https://x.y/\"></a> <a href=\"https://x.y/\"> </a>", "https://x.y/ https://x.y/"),
        ("<a href=\"https://x.y/&amp;lt;{{a}}|`\">[t](u)</a>", "[\\[t\\](u)](https://x.y/&lt%3B%7B%7Ba%7D%7D%7C%60)"),
        ("<a href=\"https://bücher.example/ü\">shop</a>", "[shop](https://xn--bcher-kva.example/%C3%BC)"),
        ("<a href=\"https://x.y/\"><img src=\"mxc://a/b\" alt=\"logo\"></a>", "[logo](https://x.y/)"),
        ("<a href=\"https://a.b/\">x<a href=\"https://c.d/\">y</a>", "[x](https://a.b/)[y](https://c.d/)"),
        ("<a name=\"top\">top</a> <a href=\"/relative\">rel</a> <a href=\"//x.y\">r</a>", "top rel r"),
    ] {
        check(formatted, markdown);
    }
}

#[test]
fn mentions_pictures_and_spoilers_become_words() {
    for (formatted, markdown) in [
        ("<a href=\"https://matrix.to/#/@kim:shop.example\">Kim</a>: hi", "Kim: hi"),
        ("<a href=\"https://matrix.to/#/%40kim%3Ashop.example\"></a>: hi", "@kim:shop.example: hi"),
        ("<a href=\"https://matrix.to/#/#help:shop.example?via=a.b\">#help</a>", "#help"),
        ("<a href=\"matrix:u/kim:shop.example\">Kim</a> <a href=\"matrix:r/a:b\"></a>", "Kim #a:b"),
        ("<a href=\"https://matrix.to/#/!r:s/$e\">this</a>", "[this](https://matrix.to/#/!r:s/$e)"),
        ("hi <img data-mx-emoticon src=\"mxc://a/b\" alt=\":wave:\" title=\"wave\" height=32>", "hi :wave:"),
        ("<img src=\"mxc://a/b\" title=\"t*t\"> <img src=\"https://x.y/track.gif\">", "t\\*t (picture)"),
        ("<span data-mx-spoiler>he dies</span>", "(spoiler) he dies"),
        ("<span data-mx-spoiler=\"the [end]\">he dies</span>", "(spoiler: the [end]) he dies"),
    ] {
        check(formatted, markdown);
    }
}

#[test]
fn quotes_of_old_clients_are_left_out_of_replies() {
    let body = "> <@kim:shop.example> first\n> \n> second\n\nthe answer";
    let quoted = "<mx-reply><blockquote><a href=\"https://matrix.to/#/!r/$e\">In reply to</a> \
                  <a href=\"https://matrix.to/#/@kim:s\">@kim:s</a><br>first</blockquote></mx-reply>the <b>answer</b>";
    let content = Content { body, reply: true, ..Content::default() };
    assert_eq!(to_markdown(&content), "the answer");
    assert_eq!(to_markdown(&Content { formatted_body: Some(quoted), ..content }), "the **answer**");
    let emote = Content { body: "> * <@kim:s> waves\n\nyes", reply: true, ..Content::default() };
    assert_eq!(to_markdown(&emote), "yes");
    let own = Content { body: "> you said\n\nno", reply: true, ..Content::default() };
    assert_eq!(to_markdown(&own), "\\> you said\n\nno");
    let other = Content { body, ..Content::default() };
    assert!(to_markdown(&other).starts_with(r"\> <@kim:shop.example> first"));
}

#[test]
fn an_emote_names_who_does_it() {
    let emote = |body, formatted_body| {
        to_markdown(&Content { body, formatted_body, emote_of: Some("Kim_1"), ..Content::default() })
    };
    assert_eq!(emote("waves", None), r"_\* Kim_1 waves_");
    assert_eq!(emote("waves\nand goes", None), "_\\* Kim_1 waves_\n_and goes_");
    assert_eq!(emote("waves", Some("<p>waves <b>twice</b></p><p>x</p>")), "_\\* Kim_1 waves **twice**_\n\n_x_");
    assert_eq!(emote("waves", Some("<mx-reply>x</mx-reply>")), r"_\* Kim_1 waves_");
}

#[test]
fn what_the_writer_typed_stays_text() {
    for (body, markdown) in [
        ("*a* _b_ `c` ~~d~~ [e](f) <g> [h]: i", r"\*a\* \_b\_ \`c\` \~\~d\~\~ [e\](f) \<g> [h\]: i"),
        (
            "2 * 3 < 7, a | b, [12:30] kim: snake_case -5 ~5 C:\\Users\\me #42 &c",
            "2 * 3 < 7, a | b, [12:30] kim: snake_case -5 ~5 C:\\Users\\me #42 &c",
        ),
        ("a\\*b \\", r"a\\\*b \\"),
        (
            "# a\n- b\n12. c\n3) d\n> e\n===\n--\n+ f\n* g",
            "\\# a\n\\- b\n12\\. c\n3\\) d\n\\> e\n\\===\n\\--\n\\+ f\n\\* g",
        ),
        ("a | b\n--- | ---\n|:-|:-|\n1 | 2", "a | b\n\\--- | ---\n\\|:-|:-|\n1 | 2"),
        ("&lt; & &#1; a&b", r"\&lt; & \&#1; a&b"),
        ("{{ x }} {% y %}", r"{\{ x }} {\% y %}"),
        ("    code\n\tx", "\u{a0}\u{a0}\u{a0}\u{a0}code\n\u{a0}\u{a0}\u{a0}\u{a0}x"),
        ("see https://x.y/~u/a_b?c=1&d=2.", "see https://x.y/~u/a_b?c=1&d=2."),
        ("(https://x.y/_a_/b)", "(<https://x.y/_a_/b>)"),
        ("*https://x.y*", r"\*<https://x.y>\*"),
        ("a  \r\n\r\nb\u{85}c\n\n", "a\n\nb\nc"),
        ("\u{202e}gpj.exe\u{202c}\0\u{1b}[0m", "gpj.exe[0m"),
        ("", ""),
    ] {
        plain_check(body, markdown);
    }
}

#[test]
fn what_html_hides_or_breaks_does_no_harm() {
    for (formatted, markdown) in [
        ("<script>alert(1)</script>a<style>b{}</style>c<SCRIPT src=x>d</script >e", "ace"),
        ("a<script>b</scriptx>c", "a"),
        ("<a href=\"javascript:alert(1)\">x</a><a href=\" jAvA&#10;script:alert(1)\">y</a>", "xy"),
        ("<a href=\"data:text/html,x\">x</a><a href=\"vbscript:x\">y</a><a href=\"file:///etc\">z</a>", "xyz"),
        ("<img src=\"data:image/png;base64,AAAA\" onerror=\"alert(1)\" alt=\"<b>\">", r"\<b>"),
        ("&lt;script&gt;alert(1)&lt;/script&gt;", r"\<script>alert(1)\</script>"),
        ("<b onclick=\"x\" a='>' c=d>e</b>", "**e**"),
        ("a<!-- <b>x</b> -->b<!-->c<!doctype html>d<?xml ?>e</>f</ g>h", "abcdefh"),
        ("a<!-- open", "a"),
        ("a<b title=\"open", "a"),
        ("a < b <3 <", "a < b <3 \\<"),
        ("<b>a<i>b</b>c</i>d</p></x></table>", "**a*b***cd"),
        ("<b><b><b>x", "**x**"),
        ("a\0b\u{202e}c&#x202e;&#0;&#27;d&#xD800;&#x110000;&#99999999999;", "abc\u{fffd}d\u{fffd}\u{fffd}\u{fffd}"),
        ("<svg><title>t</title><a xlink:href=\"javascript:x\">s</a></svg>", "s"),
        (
            "<math><mtext><table><mglyph><style><!--</style><img title=\"--&gt;&lt;img src=1 onerror=alert(1)&gt;\">",
            "-->\\<img src=1 onerror=alert(1)>",
        ),
        ("<p>a<p>b<li>c<td>d", "a\n\nb\n\n- cd"),
        ("[x](javascript:alert(1)) &#91;y](https://e)", r"[x\](javascript:alert(1)) [y\](https://e)"),
    ] {
        check(formatted, markdown);
    }
}

#[test]
fn html_wins_over_a_body_that_says_something_else_unless_it_shows_nothing() {
    let of =
        |formatted| to_markdown(&Content { body: "the *body*", formatted_body: Some(formatted), ..Content::default() });
    assert_eq!(of("the html"), "the html");
    for nothing in ["", " \n", "<p> </p>", "<b></b>", "<!-- x", "<script>x</script>", "<mx-reply>a", "&#x202e;&nbsp;"] {
        assert_eq!(of(nothing), r"the \*body\*", "{nothing}");
    }
}

/// What a reader of Markdown sees, and whether anything but words, emphasis and allowed links was found.
#[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum; anything else must not appear")]
fn read(markdown: &str, blocks: bool) -> (String, bool) {
    let mut text = String::new();
    let mut active = false;
    let options = Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES;
    for event in Parser::new_ext(markdown, options) {
        match event {
            Event::Text(part) | Event::Code(part) => text.push_str(&part),
            Event::SoftBreak => text.push('\n'),
            Event::Start(Element::Link { dest_url, .. }) => {
                let scheme = dest_url.split(':').next().unwrap_or_default().to_ascii_lowercase();
                active |= !["http", "https", "ftp", "mailto", "magnet"].contains(&&*scheme);
            }
            Event::Start(Element::Image { .. } | Element::HtmlBlock) => active = true,
            Event::Start(Element::Paragraph | Element::Emphasis | Element::Strong | Element::Strikethrough)
            | Event::End(_) => {}
            Event::Start(_) | Event::Rule => active |= !blocks,
            _ => active = true,
        }
    }
    (text, active)
}

fn letters(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// The words that the steps through the HTML hold.
fn words_of(html: &str) -> String {
    let mut hidden = 0;
    let mut words = String::new();
    for step in Steps::new(html) {
        match step {
            Step::Open(Tag::Reply, _) => hidden += 1,
            Step::Close(Tag::Reply) => hidden -= 1,
            Step::Text(source) if hidden == 0 => words.push_str(&cleaned(&decoded(source))),
            Step::Open(..) | Step::Close(_) | Step::Text(_) => {}
        }
    }
    letters(&words)
}

fn plain_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        "(a|b1| |\\*|_|~|`|\\[|\\]|\\(|!|\\\\|\\{|%|<|>|\"|\n|:|\\||-|\\$|\\^|https://x\\.y/|ftp://x|a://|HTTP://b){0,30}",
        "[ab1 *_~`<>&#;!:|{}%()\\[\\]\\\\\n.=+\"'é$^-]{0,60}",
        "([-|: a1.)#>+=*_~`]{0,6}\n){0,6}",
    ]
}

fn html_text() -> impl Strategy<Value = String> {
    let word = "a|b1| |\\*|_|~|`|\\[|\\]\\(|!|\\\\|&lt;|&gt;|&amp;|\n|#|-|1\\.|\\||&nbsp;|https://x\\.y/";
    let tag = "</?(b|i|del|code|p|br|div|blockquote|ul|ol|li|h2|pre|table|tr|td|hr|u|x|mx-reply)>";
    let cells = "</?(table|tr|td|p|li|ul|pre|blockquote|mx-reply|code|b|h2)>";
    let regex = |regex: String| proptest::string::string_regex(&regex).unwrap();
    prop_oneof![
        regex(format!("({word}|{tag}){{0,40}}")),
        regex(format!("({word}|{tag}|<a href=\"https://x.y/[a_&;]{{0,3}}\">|</a>){{0,40}}")),
        regex(format!("(a|b|\\||`|#|{cells}){{0,40}}")),
    ]
}

proptest! {
    #[test]
    fn a_reader_sees_exactly_what_was_typed(body in plain_text()) {
        let markdown = to_markdown(&Content { body: &body, ..Content::default() });
        let (seen, active) = read(&markdown, false);
        prop_assert!(!active, "{:?}", markdown);
        prop_assert_eq!(letters(&seen), letters(&cleaned(&body)));
        prop_assert!(!markdown.contains("{{") && !markdown.contains("{%"), "{}", markdown);
    }

    #[test]
    fn a_reader_sees_the_words_of_the_html(formatted in html_text()) {
        let markdown = html(&formatted);
        let (seen, active) = read(&markdown, true);
        prop_assert!(!active, "{:?}", markdown);
        let words = words_of(&formatted);
        if words.is_empty() {
            prop_assert!(seen == "(plain)" || letters(&seen).replace("https://x.y/", "").len() < 10 * formatted.len());
        } else if formatted.contains("<a") {
            prop_assert!(words.chars().all(|c| seen.contains(c)), "{:?}", markdown);
        } else if formatted.contains("<table") {
            // What stands between cells is moved before them.
            let sorted = |text: &str| text.chars().collect::<std::collections::BinaryHeap<_>>().into_sorted_vec();
            prop_assert_eq!(sorted(&letters(&seen)), sorted(&words), "{:?}", markdown);
        } else {
            prop_assert_eq!(letters(&seen), words, "{:?}", markdown);
        }
    }

    #[test]
    fn any_text_is_read_without_a_panic_and_shows_nothing_that_acts(
        body in any::<String>(),
        formatted in prop_oneof![any::<String>(), "[<>/&;#a-z \"'=!-]{0,80}"],
        emote in proptest::option::of(any::<String>()),
        reply: bool,
    ) {
        for formatted_body in [None, Some(&*formatted)] {
            let markdown = to_markdown(&Content { body: &body, formatted_body, emote_of: emote.as_deref(), reply });
            prop_assert!(!read(&markdown, true).1, "{:?}", markdown);
        }
    }
}
