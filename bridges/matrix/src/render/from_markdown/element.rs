//! The parts of an agent's Markdown that hold others.

use pulldown_cmark::{HeadingLevel, Tag, TagEnd};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Element {
    Paragraph,
    Heading(u8),
    Quote,
    CodeBlock,
    /// Its first number; `None` for bullets.
    List(Option<u64>),
    Item,
    Table,
    TableHead,
    TableRow,
    Cell,
    Strong,
    Emphasis,
    Strike,
}

impl Element {
    /// What a tag that is no link and no code block begins, if anything of it is shown.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum; of what it may add only the text is shown")]
    pub(super) fn of(tag: &Tag<'_>) -> Option<Self> {
        Some(match tag {
            Tag::Paragraph | Tag::HtmlBlock => Self::Paragraph,
            Tag::Heading { level, .. } => Self::Heading(number(*level)),
            Tag::BlockQuote(_) => Self::Quote,
            Tag::List(first) => Self::List(*first),
            Tag::Item => Self::Item,
            Tag::Table(_) => Self::Table,
            Tag::TableHead => Self::TableHead,
            Tag::TableRow => Self::TableRow,
            Tag::TableCell => Self::Cell,
            Tag::Strong => Self::Strong,
            Tag::Emphasis => Self::Emphasis,
            Tag::Strikethrough => Self::Strike,
            _ => return None,
        })
    }

    #[expect(clippy::wildcard_enum_match_arm, reason = "as above")]
    pub(super) fn ended(tag: TagEnd) -> Option<Self> {
        Some(match tag {
            TagEnd::Paragraph | TagEnd::HtmlBlock => Self::Paragraph,
            TagEnd::Heading(level) => Self::Heading(number(level)),
            TagEnd::BlockQuote(_) => Self::Quote,
            TagEnd::CodeBlock => Self::CodeBlock,
            TagEnd::List(numbered) => Self::List(numbered.then_some(1)),
            TagEnd::Item => Self::Item,
            TagEnd::Table => Self::Table,
            TagEnd::TableHead => Self::TableHead,
            TagEnd::TableRow => Self::TableRow,
            TagEnd::TableCell => Self::Cell,
            TagEnd::Strong => Self::Strong,
            TagEnd::Emphasis => Self::Emphasis,
            TagEnd::Strikethrough => Self::Strike,
            _ => return None,
        })
    }
}

impl Element {
    /// What stands around emphasis in plain text.
    pub(super) fn sign(self) -> &'static str {
        if self == Self::Strong {
            "**"
        } else if self == Self::Strike {
            "~~"
        } else {
            "_"
        }
    }
}

fn number(level: HeadingLevel) -> u8 {
    match level {
        HeadingLevel::H1 => 1,
        HeadingLevel::H2 => 2,
        HeadingLevel::H3 => 3,
        HeadingLevel::H4 => 4,
        HeadingLevel::H5 => 5,
        HeadingLevel::H6 => 6,
    }
}
