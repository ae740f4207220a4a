//! The elements that mean something in a message.

/// Names that mean the same are one tag; what Matrix does not allow is one of the last few.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tag {
    Anchor,
    Blockquote,
    Break,
    Caption,
    Cell,
    Code,
    Delete,
    /// Any block that does nothing but stand on lines of its own.
    Division,
    Emphasis,
    Heading(u8),
    Image,
    Item,
    List,
    NumberedList,
    Paragraph,
    Preformatted,
    /// The quote that old clients put before an answer.
    Reply,
    Row,
    Rule,
    Section,
    Span,
    Strong,
    Summary,
    Superscript,
    Table,
    /// Its text is kept.
    Unknown,
    /// Holds nothing, shows nothing.
    Nothing,
    /// What it holds is no text for people.
    Hidden,
}

/// Longer than any known name.
const NAME_BYTES_MAX: usize = 16;

impl Tag {
    pub(super) fn of(name: &str) -> Self {
        if name.len() > NAME_BYTES_MAX {
            return Self::Unknown;
        }
        match name.to_ascii_lowercase().as_str() {
            "a" => Self::Anchor,
            "blockquote" => Self::Blockquote,
            "br" => Self::Break,
            "caption" => Self::Caption,
            "td" | "th" => Self::Cell,
            "code" | "tt" | "kbd" | "samp" => Self::Code,
            "del" | "s" | "strike" => Self::Delete,
            "div" | "details" | "address" | "article" | "aside" | "center" | "dd" | "dl" | "dt" | "figcaption"
            | "figure" | "footer" | "form" | "header" | "main" | "nav" | "section" => Self::Division,
            "em" | "i" => Self::Emphasis,
            "h1" => Self::Heading(1),
            "h2" => Self::Heading(2),
            "h3" => Self::Heading(3),
            "h4" => Self::Heading(4),
            "h5" => Self::Heading(5),
            "h6" => Self::Heading(6),
            "img" => Self::Image,
            "li" => Self::Item,
            "ul" | "menu" | "dir" => Self::List,
            "ol" => Self::NumberedList,
            "p" => Self::Paragraph,
            "pre" | "listing" => Self::Preformatted,
            "mx-reply" => Self::Reply,
            "tr" => Self::Row,
            "hr" => Self::Rule,
            "thead" | "tbody" | "tfoot" => Self::Section,
            "span" => Self::Span,
            "strong" | "b" => Self::Strong,
            "summary" => Self::Summary,
            "sup" => Self::Superscript,
            "table" => Self::Table,
            "area" | "base" | "col" | "embed" | "input" | "link" | "meta" | "param" | "source" | "track" | "wbr" => {
                Self::Nothing
            }
            "script" | "style" | "textarea" | "title" | "xmp" | "iframe" | "noembed" | "noframes" => Self::Hidden,
            _ => Self::Unknown,
        }
    }

    /// Never holds anything, so it is never closed.
    pub(crate) fn is_void(self) -> bool {
        matches!(self, Self::Break | Self::Image | Self::Rule | Self::Nothing)
    }

    /// Its opening ends an open paragraph.
    pub(super) fn is_block(self) -> bool {
        matches!(
            self,
            Self::Blockquote
                | Self::Division
                | Self::Heading(_)
                | Self::Item
                | Self::List
                | Self::NumberedList
                | Self::Paragraph
                | Self::Preformatted
                | Self::Rule
                | Self::Summary
                | Self::Table
        )
    }

    pub(super) fn is_part_of_table(self) -> bool {
        matches!(self, Self::Table | Self::Section | Self::Row | Self::Cell | Self::Caption)
    }

    /// Whether `</other>` closes this one.
    pub(super) fn is_closed_by(self, other: Self) -> bool {
        self == other || matches!((self, other), (Self::Heading(_), Self::Heading(_)))
    }
}
