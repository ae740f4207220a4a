//! IRC styles as Markdown.

use proptest::prelude::*;

use super::*;

fn check(text: &str, markdown: &str) {
    assert_eq!(to_markdown(text), markdown, "{text:?}");
}

#[test]
fn codes_become_marks() {
    check("a \x02b\x02 c", "a **b** c");
    check("\x1di\x1d \x1es\x1e \x11c\x11", "_i_ ~~s~~ `c`");
    check("\x02open to the end", "**open to the end**");
    check("\x02b \x1dboth\x02 i", "**b _both_** _i_");
    check("\x02a\x0f b \x0fc", "**a** b c");
    check("\x02 a \x02b", " **a** b".trim_start_matches(' ').replace("**a**", "\u{a0}**a**").as_str());
    check("x\x1dy\x1dz", "x*y*z");
    check("\x0304,12red\x03 \x1fu\x1f", "red u");
    check("\x024\x02 2", "**4** 2");
    check("\x11a`b\x11 \x11`\x11", "``a`b`` `` ` ``");
    check("\x02\x02 \x02", "");
}

#[test]
fn what_the_peer_typed_stays_text() {
    check("*a* _b_ `c` ~~d~~ [e](f) <g>", r"\*a\* \_b\_ \`c\` \~\~d\~\~ \[e\](f) \<g>");
    check("# a", r"\# a");
    check("- a", r"\- a");
    check("12. a", r"12\. a");
    check("3) a", r"3\) a");
    check("> a", r"\> a");
    check("===", r"\===");
    check("&lt; & &#1; a&b", r"\&lt; & \&#1; a&b");
    check(r"a\b", r"a\\b");
    check("snake_case __x__", r"snake_case \_\_x\_\_");
    check("a | b", r"a \| b");
    check("{{ x }} {% y %} {{{", r"{\{ x }} {\% y %} {\{\{");
    check("\x11{{x}}\x11", r"{\{x}}");
    check("    code", "\u{a0}\u{a0}\u{a0}\u{a0}code");
    check("https://x.y/~u/a_b?c=1&d=2", "https://x.y/~u/a_b?c=1&d=2");
    check("a  \n# b\n\x02c\nd", "a\n\\# b\n**c**\nd");
    check("a\u{85}b\x07c", "abc");
}

#[test]
fn an_address_that_meets_a_mark_gets_its_brackets() {
    check("see https://x.y/a.", "see https://x.y/a.");
    check("https://x.y/[a]", r"<https://x.y/[a>\]");
    check("https://x.y/_a_/b", "<https://x.y/_a_/b>");
    check("*https://x.y*", r"\*<https://x.y>\*");
    check("https://x.y/a![b](c)", r"<https://x.y/a![b](c>)");
    check("\x02https://x.y\x02 a", "**<https://x.y>** a");
    check("https://x.y/{{a}}", r"https\://x.y/{\{a}}");
    check("ftp://x/[a]", r"ftp\://x/\[a\]");
    check("https://*", r"https\://\*");
    check("<https://x.y>", r"\<https://x.y>");
}

#[test]
fn an_action_is_one_line_in_italics() {
    assert_eq!(action_to_markdown("al_ice", "waves"), r"_\* al_ice waves_");
    assert_eq!(action_to_markdown("a", "is \x02bold\x02\nx"), r"_\* a is **bold** x_");
    assert_eq!(action_to_markdown("a", ""), r"_\* a_");
}

/// What a reader of Markdown sees, and whether anything but words and emphasis was found.
#[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum; anything else must not appear")]
fn read(markdown: &str) -> (String, bool) {
    let mut text = String::new();
    let mut active = false;
    let options = Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TABLES | Options::ENABLE_TASKLISTS;
    for event in Parser::new_ext(markdown, options | Options::ENABLE_FOOTNOTES) {
        match event {
            Event::Text(part) | Event::Code(part) => text.push_str(&part),
            Event::SoftBreak => text.push('\n'),
            Event::Start(Tag::Link { link_type: LinkType::Autolink, dest_url, .. }) => {
                active |= !dest_url.to_ascii_lowercase().starts_with("http");
            }
            Event::Start(Tag::Paragraph | Tag::Emphasis | Tag::Strong | Tag::Strikethrough) | Event::End(_) => {}
            _ => active = true,
        }
    }
    (text, active)
}

fn visible(text: &str) -> String {
    let text: String = text.split('\n').flat_map(runs_of).map(|run| run.text).collect();
    text.split_whitespace().collect()
}

fn irc_text() -> impl Strategy<Value = String> {
    prop_oneof![
        any::<String>(),
        any::<Vec<u8>>().prop_map(|bytes| String::from_utf8_lossy(&bytes).into_owned()),
        "(a|b1| |\\*|_|~|`|\\[|\\]|\\(|!|\\\\|\\{|%|<|>|\"|\u{2}|\u{1d}|\u{11}|\n|https://x\\.y/|ftp://x|a://|HTTP://b){0,30}",
        "[ab1 *_~`<>&#;!:|{}%()\\[\\]\\\\\n.=+\"'é\u{2}\u{1d}\u{1e}\u{11}\u{f}\u{3}-]{0,60}",
    ]
}

proptest! {
    #[test]
    fn a_markdown_reader_sees_exactly_what_was_typed(text in irc_text()) {
        let (seen, active) = read(&to_markdown(&text));
        prop_assert!(!active, "{}", to_markdown(&text));
        prop_assert_eq!(seen.split_whitespace().collect::<String>(), visible(&text));
    }

    #[test]
    fn an_action_is_read_back_likewise(nick in "[a-z_`|\\[\\]\\\\^{}-]{1,12}", text in irc_text()) {
        let (seen, active) = read(&action_to_markdown(&nick, &text));
        prop_assert!(!active);
        prop_assert_eq!(seen.split_whitespace().collect::<String>(), format!("*{nick}{}", visible(&text)));
    }

    #[test]
    fn no_template_is_left(text in irc_text()) {
        let markdown = to_markdown(&text);
        prop_assert!(!markdown.contains("{{") && !markdown.contains("{%"), "{}", markdown);
    }
}
