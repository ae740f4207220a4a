//! Tokens, nesting, references and the gates, as browsers have them.

use proptest::prelude::*;

use super::*;

/// Steps in short: `b(`, `)b`, text as it is.
fn shown(html: &str) -> String {
    let mut out = String::new();
    for step in Steps::new(html) {
        match step {
            Step::Open(tag, _) => out.extend([format!("{tag:?}"), "(".to_owned()]),
            Step::Close(_) => out.push(')'),
            Step::Text(text) => out.push_str(text),
        }
    }
    out
}

#[test]
fn what_is_left_open_is_closed_where_browsers_close_it() {
    for (html, steps) in [
        ("<p>a<p>b", "Paragraph(a)Paragraph(b)"),
        ("<p>a<ul><li>b<li>c<ul><li>d</ul></ul>e", "Paragraph(a)List(Item(b)Item(cList(Item(d))))e"),
        ("<p>a<b>b<p>c", "Paragraph(aStrong(b))Paragraph(c)"),
        ("<blockquote><p>a</blockquote>b", "Blockquote(Paragraph(a))b"),
        ("<table><tr><td>a<td>b<tr><th>c</table>d", "Table(Row(Cell(a)Cell(b))Row(Cell(c)))d"),
        ("<table><tbody><tr><td>a<tbody><tr><td>b</table>", "Table(Section(Row(Cell(a)))Section(Row(Cell(b))))"),
        ("<b><table><tr><td>a</b>b</td></tr></table>c", "Strong(Table(Row(Cell(ab)))c)"),
        ("<li>a<blockquote><li>b</blockquote>", "Item(aBlockquote(Item(b)))"),
        ("<a href=x>a<a href=y>b</a>c", "Anchor(a)Anchor(b)c"),
        ("<b>a<i>b</b>c</i>", "Strong(aEmphasis(b))c"),
        ("<h1>a<h2>b</h3>c", "Heading(1)(a)Heading(2)(b)c"),
        ("a<br>b<br/>c<hr></hr><img><wbr></br></p></b>", "aBreak(bBreak(cRule(Image(Nothing("),
        ("<x-y>a<font>b</x-y>c", "Unknown(aUnknown(b)c)"),
        ("<DIV CLASS=X>a</Div\n>", "Division(a)"),
    ] {
        assert_eq!(shown(html), steps, "{html}");
    }
}

#[test]
fn attributes_are_read_in_every_form() {
    let open = |html| match Steps::new(html).next() {
        Some(Step::Open(_, attributes)) => attributes,
        other => panic!("{html}: {other:?}"),
    };
    for html in [
        "<a href=\"x>y\" title='q\"' alt=z>",
        "<A HREF = \"x>y\" title='q\"'alt=z HREF=other>",
        "<a\n=odd/href=\"x>y\"/title='q\"' / alt=z other onclick=\"a\">",
    ] {
        let found = open(html);
        assert_eq!((found.href, found.title, found.alt), (Some("x>y"), Some("q\""), Some("z")), "{html}");
    }
    assert_eq!(open("<span data-mx-spoiler>").spoiler, Some(""));
    assert_eq!(open("<span data-mx-spoiler=>").spoiler, Some(""));
    assert_eq!(open("<ol start=3>").start, Some("3"));
    for unfinished in ["<a href=\"x", "<a href", "<a href=", "<a href=x", "<a ", "<a", "</a", "<a / / ="] {
        assert_eq!(shown(unfinished), "", "{unfinished}");
    }
}

#[test]
fn references_are_read_as_browsers_do() {
    for (source, text) in [
        ("a &lt;&gt;&amp;&quot;&nbsp;b", "a <>&\"\u{a0}b"),
        ("&#65;&#x42;&#X43;&#68 &#0069;", "ABCD E"),
        ("&auml;&hellip;&CounterClockwiseContourIntegral;&nLt;", "ä…∳≪\u{20d2}"),
        ("&;&#;&#x;&no;&lt &longerthananyknownreferencename;&", "&;&#;&#x;&no;&lt &longerthananyknownreferencename;&"),
        ("&#0;&#xD800;&#x110000;&#99999999999999999999;", "\u{fffd}\u{fffd}\u{fffd}\u{fffd}"),
        ("&amp;lt; &amp;amp;", "&lt; &amp;"),
    ] {
        assert_eq!(decoded(source), text, "{source}");
    }
}

#[test]
fn the_gates_stand_at_size_and_depth() {
    assert!(fits(&"x".repeat(HTML_BYTES_MAX)));
    assert!(!fits(&"x".repeat(HTML_BYTES_MAX + 1)));
    for tag in ["div", "b", "blockquote", "span", "x", "font"] {
        let nested = |depth: usize| format!("<{tag}>").repeat(depth);
        assert!(fits(&nested(DEPTH_MAX)), "{tag}");
        assert!(fits(&format!("{}x{}", nested(DEPTH_MAX), format!("</{tag}>").repeat(DEPTH_MAX))), "{tag}");
        assert!(!fits(&nested(DEPTH_MAX + 1)), "{tag}");
        assert!(!fits(&nested(10_000)), "{tag}");
    }
    // Neither what holds nothing nor what the next one closes makes anything deeper.
    for flat in ["<br>", "<p>", "<li>", "<b></b>", "<hr>", "<td>", "<img src=x>", "<h1>", "<a href=x>"] {
        assert!(fits(&flat.repeat(10_000)), "{flat}");
    }
}

proptest! {
    #[test]
    fn steps_nest_and_keep_the_text(html in prop_oneof![any::<String>(), "(<|>|/|a|b|p|li|td|table| |\"|'|=|!|-|&|<p>|<li>|</b>|<b>|<script>|<a href=){0,60}"]) {
        let mut open = Vec::new();
        for step in Steps::new(&html) {
            match step {
                Step::Open(tag, _) if tag.is_void() => {}
                Step::Open(tag, _) => open.push(tag),
                Step::Close(tag) => prop_assert_eq!(open.pop(), Some(tag)),
                Step::Text(text) => prop_assert!(!text.is_empty()),
            }
        }
        prop_assert!(open.is_empty());
    }
}
