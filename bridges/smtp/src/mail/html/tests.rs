//! HTML becomes markdown that says the same and does nothing.

use std::cell::Cell;

use proptest::prelude::*;

use super::super::markdown::joined;
use super::*;

thread_local! {
    /// Octets in which something to be seen was looked for.
    pub(super) static LOOKED_AT: Cell<usize> = const { Cell::new(0) };
}

fn markdown(html: &str) -> String {
    joined(&shown(html, &|id| (id == "logo@x").then(|| "logo.png".to_owned())).lines)
}

#[test]
fn html_is_shown_as_markdown() {
    for (html, expected) in [
        ("<p>One</p><p>Two<br>three</p>", "One\n\nTwo\nthree"),
        ("<div>One</div><div>Two</div><div><br></div><div>Three</div>", "One\nTwo\n\nThree"),
        ("a<b>b </b>c <i>d</i> <s>e</s>", "a**b** c *d* ~~e~~"),
        ("<strong><em>x</em></strong>", "***x***"),
        ("<span style='font-weight: bold'>x</span>", "**x**"),
        ("<code>a*b</code>", "`a*b`"),
        ("<h1>Head *x*</h1>text", "# Head \\*x\\*\n\ntext"),
        ("<ul><li>a<li>b<ul><li>c</ul></ul>d", "- a\n- b\n  - c\n\nd"),
        ("<ol start=3><li>a</li><li><p>b</p><p>c</p></li></ol>", "3. a\n4. b\n   c"),
        ("x<blockquote>a<br>b</blockquote>c", "x\n\n> a\n> b\n\nc"),
        ("<table><tr><td>a</td><td>b|c</td></tr><tr><td>d</table>", "a \\| b\\|c\nd"),
        ("<pre>a\n  b\n</pre>", "a\n\u{a0}\u{a0}b"),
        ("a<hr>b", "a\n\n---\n\nb"),
        ("a &amp; b &lt;c&gt; &eacute; &#8364; &#x80; &nosuch; &amp;lt;", "a & b \\<c\\> é € € \\&nosuch; \\&lt;"),
        ("<title>t</title><style>s</style><script>x</script><head><meta></head>a<!-- c --><!doctype x>b", "ab"),
        ("<style>never closed<p>a", "never closed\n\na"),
        ("1 < 2 <3 </ x>y", "1 \\< 2 \\<3 y"),
        ("<p>a<p>b", "a\n\nb"),
        ("<b>a<p>b</b>c</p>d", "**a**\n\n**b**c\n\nd"),
        ("a\u{200b}\u{202e}b\0c&zwnj;&#8203;d", "abc\u{200c}d"),
        ("<p># x</p><p>1. y</p><p>- z</p>", "\\# x\n\n1\\. y\n\n\\- z"),
        ("", ""),
        ("<", "\\<"),
        ("<a", ""),
    ] {
        assert_eq!(markdown(html), expected, "{html:?}");
    }
}

#[test]
fn links_lead_where_they_say() {
    for (html, expected) in [
        ("<a href='https://a.test/x'>here</a>", "[here](https://a.test/x)"),
        ("<a href='https://a.test/x'>https://a.test/x</a>", "https://a.test/x"),
        ("<a href='https://a.test/x'>www.a.test</a>", "[www.a.test](https://a.test/x)"),
        (
            "<a href='https://evil.test/'>https://bank.test</a>",
            "https://bank.test ([https\\://evil.test/](https://evil.test/))",
        ),
        (
            "<a href='https://evil.test/'>bank.test/login</a>",
            "bank.test/login ([https\\://evil.test/](https://evil.test/))",
        ),
        (
            "<a href='https://evil.test/'>Log in at www.bank.test</a>",
            "Log in at www.bank.test ([https\\://evil.test/](https://evil.test/))",
        ),
        (
            "<a href='https://bank.test@evil.test/'>bank.test</a>",
            "bank.test ([https\\://bank.test@evil.test/](https://bank.test@evil.test/))",
        ),
        (
            "<a href='https://evil.test/'>help@bank.test</a>",
            "help@bank.test ([https\\://evil.test/](https://evil.test/))",
        ),
        ("<a href='mailto:a@b.test'>a@b.test</a>", "a@b.test"),
        ("<a href='mailto:a@b.test?subject=x'>write</a>", "[write](mailto:a@b.test?subject=x)"),
        ("<a href='tel:+123'>call</a>", "[call](tel:+123)"),
        ("<a href='javascript:alert(1)'>x</a>", "x"),
        ("<a href='ftp://a.test'>x</a>", "x"),
        ("<a href='//a.test/y'>x</a>", "[x](https://a.test/y)"),
        ("<a href='https://a.test/(x)[y]?a=1&amp;copy;'>x</a>", "[x](https://a.test/%28x%29%5By%5D?a=1&copy%3B)"),
        ("<a href='https://a.test'>a <b>b</b> ]c</a> d", "[a **b** \\]c](https://a.test) d"),
        ("<a href='https://a.test'><img src='https://t.test/1.png' alt='Shop'></a>", "[Shop](https://a.test)"),
        ("<a href='https://a.test/z'><img src='https://t.test/1.png'></a>", "[a.test](https://a.test/z)"),
        ("<a href='https://a.test'></a>x", "x"),
        ("<a name=x>y</a>", "y"),
        (
            "<a href='https://a.test/'><div>one</div><div>two</div></a>",
            "[one](https://a.test/)\n[two](https://a.test/)",
        ),
    ] {
        assert_eq!(markdown(html), expected, "{html:?}");
    }
}

#[test]
fn pictures_are_named_and_never_fetched() {
    let html = "a <img src=\"cid:logo@x\"> b <img src='cid:none' alt='alt'> <img src='https://t.test/p.png' width=1 height=1 alt=t>\
                <img src='https://t.test/p.png' alt='Our *shop*'><img src='data:image/png;base64,AAAA' alt='inline'><img>";
    let shown = shown(html, &|id| (id == "logo@x").then(|| "logo.png".to_owned()));
    assert_eq!(joined(&shown.lines), "a \\[image: logo.png\\] b \\[image: alt\\] Our \\*shop\\*inline");
    assert_eq!((shown.used, shown.data_images), (vec!["logo@x".to_owned(), "none".to_owned()], 1));
}

#[test]
fn what_nobody_sees_is_not_shown() {
    for hidden in [
        "style='display:none'",
        "style=\"DISPLAY : none !important\"",
        "style='color:red;visibility:hidden'",
        "style='font-size:0'",
        "style='font-size:0px;line-height:1'",
        "style='opacity:0'",
        "style='mso-hide:all'",
        "style='max-height:0;overflow:hidden'",
        "hidden",
    ] {
        assert_eq!(
            markdown(&format!("a<div {hidden}>secret<p>more<img src='cid:logo@x'></p></div>b")),
            "ab",
            "{hidden}"
        );
    }
    for seen in ["style='display:block'", "style='opacity:0.9'", "style='font-size:10px'", "style='font-size:0.9em'"] {
        assert_eq!(markdown(&format!("<span {seen}>x</span>")), "x", "{seen}");
    }
}

#[test]
fn too_much_html_is_shown_as_bare_text() {
    let deep = |depth: usize| format!("{}x", "<div>".repeat(depth));
    assert!(!shown(&deep(DEPTH_MAX), &|_| None).stripped);
    for html in [
        deep(DEPTH_MAX + 1),
        deep(100_000),
        "<b><i><table><ul><li>".repeat(20_000),
        format!("{}x", "<br>".repeat(ELEMENTS_MAX + 1)),
        format!("<p>x</p>{}", "y ".repeat(600_000)),
    ] {
        let shown = shown(&html, &|_| None);
        assert!(shown.stripped && (joined(&shown.lines).contains('x') || html.starts_with("<b>")));
    }
    assert!(shown("<p>a</p><script>x</script>b&amp;c", &|_| None).lines.len() == 3);
    let stripped = strip::lines("<p>a</p><script>x</script>b&amp;<br><i>c *</i>");
    assert_eq!(joined(&stripped), "a\nb&\nc \\*");
}

#[test]
fn nonsense_of_any_kind_takes_its_length_in_time() {
    let many = 30_000;
    for html in [
        format!("<a {}>x", (0..many).map(|n| format!("a{n} ")).collect::<Vec<_>>().concat()),
        "<a b".repeat(many),
        "</div".repeat(many),
        "</div>".repeat(many),
        "<style>".repeat(many),
        "<!--".repeat(many),
        "&".repeat(many * 5),
        "&#".repeat(many * 5),
        "a&ampa".repeat(many),
        "http://".repeat(many),
        "http://a|".repeat(many),
        "://*".repeat(many),
        "_".repeat(many * 5),
        "a_".repeat(many * 5),
        "<p x='".repeat(many),
        "<b>x</i>".repeat(many),
        "[".repeat(many * 5),
        format!("{}{}", "<blockquote>".repeat(190), "a<br>".repeat(19_000)),
        format!("{}{}", "<span>".repeat(190), "a</b>".repeat(many)),
        format!("<pre>{}", "\n".repeat(many * 5)),
        // Blanks that count as letters, and are none.
        "<td>&nbsp;".repeat(19_000),
        "<b>&nbsp;</b>&nbsp;".repeat(19_000),
        "<a href='https://a.test'>&nbsp;</a>&nbsp;".repeat(19_000),
        format!("{}{}", "<b>\u{a0}</b>\u{a0}".repeat(9_000), "<td>x".repeat(9_000)),
    ] {
        LOOKED_AT.set(0);
        let shown = shown(&html, &|_| None);
        assert!(joined(&shown.lines).len() <= html.len() * 40);
        assert!(LOOKED_AT.get() <= html.len() * 40, "{} octets of {}", LOOKED_AT.get(), html.len());
    }
}

/// What attackers write, in our own hand.
fn hostile() -> Vec<String> {
    let links = SCHEMES.iter().map(|scheme| format!("<a href=\"{scheme}\">click</a>"));
    let marks = SCHEMES.iter().map(|scheme| format!("[click]({scheme})"));
    links.chain(marks).chain(PAGES.iter().map(|page| (*page).to_owned())).collect()
}

const SCHEMES: &[&str] = &[
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "java\tscript:alert(1)",
    "java&#10;script:alert(1)",
    "&#106;avascript:alert(1)",
    "\u{1}javascript:alert(1)",
    " javascript:alert(1)",
    "vbscript:x",
    "data:text/html,<script>alert(1)</script>",
    "data:text/html;base64,PHNjcmlwdD4=",
    "file:///etc/passwd",
    "blob:x",
    "about:blank",
    "javascript&colon;alert(1)",
    "view-source:x",
    "jar:http://x!/",
    "https:javascript:alert(1)",
    "http:alert(1)",
    "intent://x",
    "\u{202e}javascript:x",
];

const PAGES: &[&str] = &[
    "<script>alert(1)</script>",
    "<scr<script>ipt>alert(1)</scr</script>ipt>",
    "<img src=x onerror=alert(1)>",
    "<svg onload=alert(1)>",
    "<svg><script>alert(1)</script></svg>",
    "<math><mtext><table><mglyph><style><img src=x onerror=alert(1)>",
    "<iframe src=javascript:alert(1)></iframe>",
    "<iframe srcdoc='<script>alert(1)</script>'>",
    "<body onload=alert(1)>",
    "<details open ontoggle=alert(1)>x",
    "<a href='https://a.test\" onclick=\"alert(1)'>x</a>",
    "<a href='https://a.test)[y](javascript:alert(1)'>x</a>",
    "<a href='https://a.test'>x](javascript:alert(1))[</a>",
    "&lt;script&gt;alert(1)&lt;/script&gt;",
    "&amp;lt;script&amp;gt;",
    "<p>&#60;img src=x onerror=alert(1)&#62;</p>",
    "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
    "<textarea><script>alert(1)</script>",
    "<title><img src=x></title><b>",
    "<!--><img src=x onerror=alert(1)>-->",
    "<!-- --!><img src=x onerror=alert(1)>",
    "<![CDATA[<script>alert(1)</script>]]>",
    "<?xml <script>alert(1)</script>?>",
    "<template><script>alert(1)</script></template>",
    "<xmp><script>alert(1)</script></xmp>",
    "<code><script>alert(1)</script></code>",
    "<code>&lt;script&gt;`&lt;img&gt;`</code>",
    "<pre>```\n&lt;script&gt;\n```</pre>",
    "![x](javascript:alert(1))",
    "<https://a.test\"onx=1>",
    "&lt;javascript:alert(1)&gt;",
    "[x]: javascript:alert(1)",
    "[x][y]\n\n[y]: javascript:alert(1)",
    "<img alt='](javascript:alert(1))' src=x>",
    "<img alt='&lt;script&gt;' src='cid:logo@x'>",
    "<a href='https://a.test/`&lt;x&gt;`'>`</a>",
    "`<b>`x</b>`",
    "<form action=javascript:alert(1)><button>x</button></form>",
    "<base href=javascript:x><a href='alert(1)'>x</a>",
    "<meta http-equiv=refresh content='0;javascript:x'>",
    "<link rel=stylesheet href=javascript:x>",
    "<object data=javascript:x></object>",
    "<embed src=javascript:x>",
    "{{ 7*7 }}{% raw %}<b>{</b>{ x }}",
    "<a href='https://a.test/{{x}}'>y</a>",
    "https://a.test/<script>",
    "https://a.test/\\[x](javascript:alert(1))",
    "www.a.test\"><script>",
    "<a\u{0}href=javascript:x>y</a>",
];

/// What a reader of Markdown makes of it: no HTML, and only harmless links.
fn assert_harmless(markdown: &str, from: &str) {
    use pulldown_cmark::{Event, Options, Parser, Tag};
    for event in Parser::new_ext(markdown, Options::all()) {
        assert!(!matches!(event, Event::Html(_) | Event::InlineHtml(_)), "{event:?} in {markdown:?} from {from:?}");
        if let Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) = event {
            let schemes = ["https://", "http://", "mailto:", "tel:"];
            let harmless = schemes.iter().any(|scheme| dest_url.to_ascii_lowercase().starts_with(scheme));
            assert!(harmless, "{dest_url:?} in {markdown:?} from {from:?}");
        }
    }
    let mut previous = ' ';
    for c in markdown.chars() {
        assert!(c != '<' || previous == '\\', "{markdown:?} from {from:?}");
        previous = if previous == '\\' && c == '\\' { ' ' } else { c };
    }
    assert!(!markdown.contains("{{") && !markdown.contains("{%"), "{markdown:?} from {from:?}");
}

#[test]
fn nothing_that_attackers_write_acts() {
    let all = hostile();
    assert!(all.len() >= 60);
    for html in &all {
        assert_harmless(&markdown(html), html);
        let plain = super::super::plain::lines(html, &super::super::mime::Params::default());
        assert_harmless(&joined(&plain), html);
        assert_harmless(&joined(&strip::lines(html)), html);
    }
    assert_harmless(&markdown(&all.concat()), "all");
}

proptest! {
    #[test]
    fn any_html_is_harmless_markdown(pieces in proptest::collection::vec(
        prop_oneof![
            Just("<a href='https://a.test/b_c*d'>"), Just("</a>"), Just("<a href=javascript:x>"), Just("<b>"), Just("</b>"), Just("<i>"), Just("</i>"),
            Just("<code>"), Just("</code>"), Just("<pre>"), Just("</pre>"), Just("<li>"), Just("<ul>"), Just("</ul>"), Just("<blockquote>"), Just("</blockquote>"),
            Just("<p>"), Just("<br>"), Just("<td>"), Just("<tr>"), Just("<h2>"), Just("</h2>"), Just("&lt;script&gt;"), Just("&#96;"), Just("`"), Just("*"), Just("_"),
            Just("]("), Just("["), Just("javascript:x)"), Just("\\"), Just("<"), Just(">"), Just("&amp;lt;"), Just("{"), Just("{%"), Just("http://"), Just("a"), Just(" "), Just("\n"), Just("#"), Just("- "), Just("1. "), Just("~~~"), Just("|"), Just("<img alt='](x' src=cid:a>"), Just("&nbsp;"),
        ], 0..40)) {
        let html = pieces.concat();
        assert_harmless(&markdown(&html), &html);
        let plain = super::super::plain::lines(&html, &super::super::mime::Params::default());
        assert_harmless(&joined(&plain), &html);
    }

    #[test]
    fn any_text_is_harmless_markdown(html in any::<String>()) {
        assert_harmless(&markdown(&html), &html);
    }
}
