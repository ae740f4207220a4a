//! Tags and text of HTML, in one pass. A public reader was not taken: it looks through all attributes of a tag for each
//! new one, so that one tag of a mebibyte takes minutes.

/// Attributes of one tag that are looked at.
const ATTRIBUTES_MAX: usize = 40;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token<'a> {
    /// References not decoded yet.
    Text(&'a str),
    Open(Tag<'a>),
    Close(&'a str),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tag<'a> {
    pub(super) name: &'a str,
    attributes: Vec<(&'a str, &'a str)>,
    pub(super) closes: bool,
}

impl<'a> Tag<'a> {
    /// As written; the first one counts.
    pub(super) fn get(&self, name: &str) -> Option<&'a str> {
        self.attributes.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }
}

/// Elements whose content is no HTML. None of it is for people, or it is shown by the element that it replaces.
const RAW: [&str; 9] = ["script", "style", "title", "textarea", "xmp", "iframe", "noembed", "noframes", "template"];

/// What stands in it was passed already.
pub(super) fn is_raw(name: &str) -> bool {
    RAW.iter().any(|raw| name.eq_ignore_ascii_case(raw))
}

pub(super) struct Tokens<'a> {
    rest: &'a str,
    /// Of which raw elements it is known that no end follows.
    endless: [bool; RAW.len()],
}

impl<'a> Tokens<'a> {
    pub(super) fn new(html: &'a str) -> Self {
        Self { rest: html, endless: [false; RAW.len()] }
    }

    fn skip_to(&mut self, end: &str) {
        self.rest = self.rest.find(end).map_or("", |at| &self.rest[at + end.len()..]);
    }

    fn name(&mut self) -> &'a str {
        let end = self.rest.find(|c: char| c.is_ascii_whitespace() || c == '/' || c == '>').unwrap_or(self.rest.len());
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        name
    }

    /// `None` where the tag has no end: then it is none.
    fn tag(&mut self) -> Option<Tag<'a>> {
        let mut tag = Tag { name: self.name(), attributes: Vec::new(), closes: false };
        loop {
            self.rest = self.rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
            match self.rest.bytes().next()? {
                b'>' => {
                    self.rest = &self.rest[1..];
                    return Some(tag);
                }
                b'/' => {
                    self.rest = &self.rest[1..];
                    tag.closes = self.rest.starts_with('>');
                }
                _ => {
                    let attribute = self.attribute();
                    if tag.attributes.len() < ATTRIBUTES_MAX {
                        tag.attributes.push(attribute);
                    }
                }
            }
        }
    }

    fn attribute(&mut self) -> (&'a str, &'a str) {
        let ends = |c: char| c.is_ascii_whitespace() || "/>=".contains(c);
        // A name may begin with an equals sign.
        let first = self.rest.chars().next().map_or(0, char::len_utf8);
        let end = self.rest[first..].find(ends).map_or(self.rest.len(), |at| at + first);
        let (name, rest) = self.rest.split_at(end);
        self.rest = rest;
        let after = rest.trim_start_matches(|c: char| c.is_ascii_whitespace());
        let Some(value) = after.strip_prefix('=') else { return (name, "") };
        let value = value.trim_start_matches(|c: char| c.is_ascii_whitespace());
        let quoted = ['"', '\''].into_iter().find(|quote| value.starts_with(*quote));
        let (value, rest) = match quoted {
            Some(quote) => value[1..].split_once(quote).unwrap_or((&value[1..], "")),
            None => value.split_at(value.find(|c: char| c.is_ascii_whitespace() || c == '>').unwrap_or(value.len())),
        };
        self.rest = rest;
        (name, value)
    }

    /// Passes what stands in an element whose content is no HTML; without an end there is no content.
    fn skip_raw(&mut self, name: &str) {
        let Some(at) = RAW.iter().position(|raw| name.eq_ignore_ascii_case(raw)) else { return };
        if self.endless[at] {
            return;
        }
        let ends = |start: usize| {
            let after = &self.rest.as_bytes()[start + 2..];
            after.get(..name.len()).is_some_and(|close| close.eq_ignore_ascii_case(name.as_bytes()))
                && after.get(name.len()).is_none_or(|byte| !byte.is_ascii_alphanumeric())
        };
        match self.rest.match_indices("</").map(|(start, _)| start).find(|start| ends(*start)) {
            Some(start) => self.rest = &self.rest[start..],
            None => self.endless[at] = true,
        }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let Some(after) = self.rest.strip_prefix('<') else {
                let end = self.rest.find('<').unwrap_or(self.rest.len());
                let (text, rest) = self.rest.split_at(end);
                self.rest = rest;
                return (!text.is_empty()).then_some(Token::Text(text));
            };
            if after.starts_with(|c: char| c.is_ascii_alphabetic()) {
                self.rest = after;
                let tag = self.tag()?;
                self.skip_raw(tag.name);
                return Some(Token::Open(tag));
            }
            if let Some(name) =
                after.strip_prefix('/').filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()))
            {
                self.rest = name;
                return Some(Token::Close(self.tag()?.name));
            }
            if let Some(comment) = after.strip_prefix("!--") {
                // These are whole comments too.
                self.rest = comment.strip_prefix('>').or_else(|| comment.strip_prefix("->")).unwrap_or(comment);
                if self.rest.len() == comment.len() {
                    self.skip_to("-->");
                }
            } else if after.starts_with(['!', '?', '/']) {
                self.skip_to(">");
            } else {
                let (sign, rest) = self.rest.split_at(1);
                self.rest = rest;
                return Some(Token::Text(sign));
            }
        }
    }
}
