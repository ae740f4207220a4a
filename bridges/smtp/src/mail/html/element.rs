//! Which elements mean something in a mail, and what.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Text goes on before and behind it.
    Inline,
    Bold,
    Italic,
    Struck,
    Code,
    Link,
    Break,
    Image,
    /// A line of its own.
    Block,
    /// With a blank line before and behind it.
    Paragraph,
    Heading(u8),
    Quote,
    Preformatted,
    List,
    Numbered,
    Item,
    Rule,
    Row,
    Cell,
    /// Nothing of it is for people.
    Dropped,
    /// The page around the text, which closes nothing.
    Page,
}

pub(super) fn kind_of(name: &str) -> Kind {
    let mut lower = [0_u8; 12];
    let Some(lower) = lower.get_mut(..name.len()) else { return Kind::Inline };
    lower.copy_from_slice(name.as_bytes());
    lower.make_ascii_lowercase();
    match &*lower {
        b"b" | b"strong" => Kind::Bold,
        b"i" | b"em" | b"cite" | b"var" | b"dfn" => Kind::Italic,
        b"s" | b"strike" | b"del" => Kind::Struck,
        b"code" | b"tt" | b"kbd" | b"samp" => Kind::Code,
        b"a" => Kind::Link,
        b"br" => Kind::Break,
        b"img" => Kind::Image,
        b"p" | b"dl" | b"figure" | b"fieldset" => Kind::Paragraph,
        b"h1" => Kind::Heading(1),
        b"h2" => Kind::Heading(2),
        b"h3" => Kind::Heading(3),
        b"h4" => Kind::Heading(4),
        b"h5" | b"h6" => Kind::Heading(5),
        b"blockquote" => Kind::Quote,
        b"pre" | b"listing" => Kind::Preformatted,
        b"ul" | b"menu" | b"dir" => Kind::List,
        b"ol" => Kind::Numbered,
        b"li" => Kind::Item,
        b"hr" => Kind::Rule,
        b"tr" => Kind::Row,
        b"td" | b"th" => Kind::Cell,
        b"div" | b"table" | b"tbody" | b"thead" | b"tfoot" | b"caption" | b"center" | b"section" | b"article"
        | b"header" | b"footer" | b"main" | b"nav" | b"aside" | b"address" | b"form" | b"dt" | b"dd"
        | b"figcaption" | b"details" | b"summary" | b"legend" => Kind::Block,
        b"script" | b"style" | b"title" | b"textarea" | b"xmp" | b"iframe" | b"noembed" | b"noframes" | b"template"
        | b"object" | b"applet" | b"audio" | b"video" | b"canvas" | b"svg" | b"math" | b"select" | b"option"
        | b"datalist" | b"map" => Kind::Dropped,
        b"html" | b"head" | b"body" => Kind::Page,
        _ => Kind::Inline,
    }
}

/// Elements that have no end.
pub(super) fn is_void(name: &str) -> bool {
    let names = [
        "area", "base", "basefont", "bgsound", "br", "col", "embed", "frame", "hr", "img", "input", "link", "meta",
        "param", "source", "track", "wbr",
    ];
    names.iter().any(|void| name.eq_ignore_ascii_case(void))
}
