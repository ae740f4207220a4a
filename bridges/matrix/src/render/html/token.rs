//! HTML cut into tags and text by the rules of browsers. What has no end is dropped, as they do.

use super::tag::Tag;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Token<'a> {
    Text(&'a str),
    Start(Tag, Attributes<'a>),
    End(Tag),
}

/// The attributes that are looked at; of each the first counts. Values stand as in the source.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Attributes<'a> {
    pub(crate) href: Option<&'a str>,
    pub(crate) alt: Option<&'a str>,
    pub(crate) title: Option<&'a str>,
    pub(crate) start: Option<&'a str>,
    pub(crate) class: Option<&'a str>,
    pub(crate) spoiler: Option<&'a str>,
}

impl<'a> Attributes<'a> {
    fn set(&mut self, name: &str, value: &'a str) {
        let place = match name.to_ascii_lowercase().as_str() {
            "href" => &mut self.href,
            "alt" => &mut self.alt,
            "title" => &mut self.title,
            "start" => &mut self.start,
            "class" => &mut self.class,
            "data-mx-spoiler" => &mut self.spoiler,
            _ => return,
        };
        place.get_or_insert(value);
    }
}

pub(super) struct Tokens<'a> {
    rest: &'a str,
}

impl<'a> Tokens<'a> {
    pub(super) fn new(html: &'a str) -> Self {
        Self { rest: html }
    }
}

impl<'a> Iterator for Tokens<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        while !self.rest.is_empty() {
            let at = markup_start(self.rest);
            if at > 0 {
                let (text, rest) = self.rest.split_at(at);
                self.rest = rest;
                return Some(Token::Text(text));
            }
            if let Some(token) = self.markup() {
                return Some(token);
            }
        }
        None
    }
}

impl<'a> Tokens<'a> {
    /// Takes what begins here with `<`; `None` where it shows nothing.
    fn markup(&mut self) -> Option<Token<'a>> {
        let body = &self.rest[1..];
        if let Some(comment) = body.strip_prefix("!--") {
            self.rest = after_comment(comment);
            return None;
        }
        let (is_end, body) = body.strip_prefix('/').map_or((false, body), |body| (true, body));
        if !body.starts_with(|c: char| c.is_ascii_alphabetic()) {
            self.rest = body.find('>').map_or("", |at| &body[at + 1..]);
            return None;
        }
        let name_end = body.find(ends_name).unwrap_or(body.len());
        let tag = Tag::of(&body[..name_end]);
        let mut attributes = Attributes::default();
        let Some(rest) = take_attributes(&body[name_end..], &mut attributes) else {
            self.rest = "";
            return None;
        };
        self.rest = rest;
        if is_end {
            return Some(Token::End(tag));
        }
        if tag == Tag::Hidden {
            self.rest = after_hidden(rest, &body[..name_end]);
            return None;
        }
        Some(Token::Start(tag, attributes))
    }
}

/// Where the next tag or comment begins; a lone `<` is text.
fn markup_start(html: &str) -> usize {
    let mut tags = html.match_indices('<').map(|(at, _)| at);
    let begins = |at: &usize| match html.as_bytes().get(at + 1) {
        Some(b'!' | b'?') => true,
        Some(b'/') => html.len() > at + 2,
        Some(c) => c.is_ascii_alphabetic(),
        None => false,
    };
    tags.find(begins).unwrap_or(html.len())
}

fn after_comment(comment: &str) -> &str {
    for short in [">", "->"] {
        if let Some(rest) = comment.strip_prefix(short) {
            return rest;
        }
    }
    comment.find("-->").map_or("", |at| &comment[at + "-->".len()..])
}

/// Behind the end tag of an element whose content is neither text nor tags.
fn after_hidden<'a>(html: &'a str, name: &str) -> &'a str {
    for (at, _) in html.match_indices("</") {
        let rest = &html[at + 2..];
        let named = rest.get(..name.len()).is_some_and(|found| found.eq_ignore_ascii_case(name));
        if named && rest[name.len()..].starts_with(ends_name) {
            return take_attributes(&rest[name.len()..], &mut Attributes::default()).unwrap_or("");
        }
    }
    ""
}

/// What follows the tag's `>`; `None` where it has none.
fn take_attributes<'a>(tag: &'a str, found: &mut Attributes<'a>) -> Option<&'a str> {
    let mut rest = tag;
    loop {
        rest = rest.trim_start_matches(|c| is_blank(c) || c == '/');
        if let Some(after) = rest.strip_prefix('>') {
            return Some(after);
        }
        // A first `=` is part of the name.
        let first = rest.chars().next()?.len_utf8();
        let name_end = rest[first..].find(|c| ends_name(c) || c == '=')? + first;
        let (name, after) = rest.split_at(name_end);
        let after = after.trim_start_matches(is_blank);
        let Some(value) = after.strip_prefix('=') else {
            found.set(name, "");
            rest = after;
            continue;
        };
        let (value, after) = take_value(value.trim_start_matches(is_blank))?;
        found.set(name, value);
        rest = after;
    }
}

fn take_value(text: &str) -> Option<(&str, &str)> {
    for quote in ['"', '\''] {
        if let Some(quoted) = text.strip_prefix(quote) {
            return quoted.split_once(quote);
        }
    }
    Some(text.split_at(text.find(|c| is_blank(c) || c == '>')?))
}

fn ends_name(c: char) -> bool {
    is_blank(c) || c == '/' || c == '>'
}

fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r' | '\x0c')
}
