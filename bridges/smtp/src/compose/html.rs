//! An agent's Markdown as the HTML of a mail. HTML in it is text like any other, and pictures are links: nothing is
//! loaded when the mail is opened.

use pulldown_cmark::{CowStr, Event, LinkType, Options, Parser, Tag, TagEnd, html};

use super::links::is_allowed;

/// Octets of the HTML part. A longer one is left out; the plain text says the same.
const HTML_BYTES_MAX: usize = 1024 * 1024;

/// Lines end with `\n`. `None` when it would be too long.
pub(crate) fn of_markdown(markdown: &str) -> Option<String> {
    let mut page = String::with_capacity(markdown.len() * 2);
    page.push_str("<!DOCTYPE html>\n<html><head><meta charset=\"utf-8\"></head><body>\n");
    let mut tame = Tame::default();
    let events = Parser::new_ext(markdown, Options::ENABLE_STRIKETHROUGH).filter_map(|event| tame.take(event));
    html::push_html(&mut page, events);
    page.push_str("</body></html>\n");
    (page.len() <= HTML_BYTES_MAX).then_some(page)
}

#[derive(Default)]
struct Tame {
    /// Links and pictures around this point, and whether each is shown as a link. Links do not nest.
    links: Vec<bool>,
}

impl Tame {
    #[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum; all the rest is written as it is")]
    fn take<'a>(&mut self, event: Event<'a>) -> Option<Event<'a>> {
        match event {
            Event::Html(text) | Event::InlineHtml(text) => Some(Event::Text(text)),
            // An agent who presses Enter means it.
            Event::SoftBreak => Some(Event::HardBreak),
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => self.open(dest_url),
            Event::End(TagEnd::Link | TagEnd::Image) => {
                self.links.pop().unwrap_or(false).then_some(Event::End(TagEnd::Link))
            }
            other => Some(other),
        }
    }

    fn open<'a>(&mut self, dest_url: CowStr<'a>) -> Option<Event<'a>> {
        let shown = is_allowed(&dest_url) && !self.links.contains(&true);
        // Depth is the writer's choice, so the stack is as long as the text allows and no longer.
        self.links.push(shown);
        let link =
            Tag::Link { link_type: LinkType::Inline, dest_url, title: CowStr::Borrowed(""), id: CowStr::Borrowed("") };
        shown.then_some(Event::Start(link))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn body(markdown: &str) -> String {
        let page = of_markdown(markdown).unwrap();
        let (_, rest) = page.split_once("<body>\n").unwrap();
        rest.strip_suffix("</body></html>\n").unwrap().trim_end().to_owned()
    }

    #[test]
    fn markdown_becomes_tame_html() {
        for (markdown, expected) in [
            ("**a** *b* ~~c~~ `d`", "<p><strong>a</strong> <em>b</em> <del>c</del> <code>d</code></p>"),
            ("a\nb", "<p>a<br />\nb</p>"),
            ("[a](https://b.test)", "<p><a href=\"https://b.test\">a</a></p>"),
            ("[a](javascript:x)", "<p>a</p>"),
            ("![a](https://b.test/x.png)", "<p><a href=\"https://b.test/x.png\">a</a></p>"),
            ("[![a](https://b.test/x.png)](https://b.test)", "<p><a href=\"https://b.test\">a</a></p>"),
            ("a <script>x</script>", "<p>a &lt;script&gt;x&lt;/script&gt;</p>"),
            ("<b onclick=x>\n", "&lt;b onclick=x&gt;"),
        ] {
            assert_eq!(body(markdown), expected, "{markdown}");
        }
    }

    #[test]
    fn html_that_grows_too_long_is_left_out() {
        assert!(of_markdown(&"&".repeat(HTML_BYTES_MAX / 4)).is_none());
    }

    proptest! {
        #[test]
        fn no_tag_but_ours_comes_out(markdown in "[<>a-z\"'=/ !\\[\\]()*_\n:`&-]{0,80}") {
            let ours = ["p", "br", "strong", "em", "del", "code", "a", "ul", "ol", "li", "pre", "blockquote", "hr",
                "h1", "h2", "h3", "h4", "h5", "h6"];
            let page = body(&markdown);
            for tag in page.split('<').skip(1) {
                let name = tag.trim_start_matches('/').split([' ', '>']).next().unwrap();
                prop_assert!(ours.contains(&name), "{page}");
            }
        }
    }
}
