//! One line's fields, read leniently (RFC 1459, `IRCv3` message-tags). Borrows all it can; never panics.

use std::borrow::Cow;

/// A parsed line. To keep one, keep [`Line::text`] and parse again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line<'a> {
    text: &'a str,
    tags: &'a str,
    pub(crate) source: Option<Source<'a>>,
    pub(crate) verb: Verb<'a>,
    params: Vec<&'a str>,
}

/// Numerics as numbers, words in upper case.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verb<'a> {
    Numeric(u16),
    Word(Cow<'a, str>),
}

/// Who a line is from. A source with neither `!` nor `@` is a server when it has a dot, else a bare nick.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source<'a> {
    /// `user` and `host` are empty when the line did not say.
    Peer {
        nick: &'a str,
        user: &'a str,
        host: &'a str,
    },
    Server(&'a str),
}

impl<'a> Line<'a> {
    /// `None` only when there is no command.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let mut rest = text.trim_start_matches(' ');
        let mut tags = "";
        let mut source = None;
        if let Some(tagged) = rest.strip_prefix('@') {
            (tags, rest) = word(tagged);
        }
        if let Some(sourced) = rest.strip_prefix(':') {
            let (name, after) = word(sourced);
            source = Source::parse(name);
            rest = after;
        }
        let (verb, rest) = word(rest);
        let verb = Verb::parse(verb)?;
        Some(Self { text, tags, source, verb, params: params(rest) })
    }

    /// The whole line as it was parsed.
    pub(crate) fn text(&self) -> &'a str {
        self.text
    }

    /// A tag's unescaped value; empty and missing values are both `""`. Keys are case-sensitive, the last duplicate wins.
    pub(crate) fn tag(&self, key: &str) -> Option<Cow<'a, str>> {
        self.tags.rsplit(';').find_map(|tag| {
            let (name, value) = tag.split_once('=').unwrap_or((tag, ""));
            (name == key && !key.is_empty()).then(|| unescape(value))
        })
    }

    /// All tags in wire order, duplicates included.
    #[cfg_attr(not(test), expect(dead_code, reason = "the machine asks for tags by name"))]
    pub(crate) fn tags(&self) -> impl Iterator<Item = (&'a str, Cow<'a, str>)> + use<'a> {
        self.tags.split(';').filter(|tag| !tag.is_empty()).map(|tag| {
            let (name, value) = tag.split_once('=').unwrap_or((tag, ""));
            (name, unescape(value))
        })
    }

    pub(crate) fn params(&self) -> &[&'a str] {
        &self.params
    }

    pub(crate) fn param(&self, index: usize) -> Option<&'a str> {
        self.params.get(index).copied()
    }

    /// A parameter, or `""` when the server left it out.
    pub(crate) fn param_or_empty(&self, index: usize) -> &'a str {
        self.param(index).unwrap_or("")
    }

    /// The last parameter, or `""`.
    pub(crate) fn last(&self) -> &'a str {
        self.params.last().copied().unwrap_or("")
    }

    pub(crate) fn is(&self, word: &str) -> bool {
        matches!(&self.verb, Verb::Word(own) if own == word)
    }

    #[cfg_attr(not(test), expect(dead_code, reason = "the machine matches on the verb"))]
    pub(crate) fn numeric(&self) -> Option<u16> {
        match self.verb {
            Verb::Numeric(number) => Some(number),
            Verb::Word(_) => None,
        }
    }

    /// The source's nick, when the source is not a server.
    pub(crate) fn nick(&self) -> Option<&'a str> {
        match self.source? {
            Source::Peer { nick, .. } => Some(nick),
            Source::Server(_) => None,
        }
    }
}

impl<'a> Source<'a> {
    /// Reads `nick!user@host`, `nick@host`, `nick` or `server.name`; `None` when there is no name.
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (left, host) = text.split_once('@').unwrap_or((text, ""));
        let (nick, user) = left.split_once('!').unwrap_or((left, ""));
        if nick.is_empty() {
            None
        } else if left.len() == text.len() && nick.len() == left.len() && nick.contains('.') {
            Some(Self::Server(nick))
        } else {
            Some(Self::Peer { nick, user, host })
        }
    }

    /// The nick or the server's name.
    pub(crate) fn name(&self) -> &'a str {
        match self {
            Self::Peer { nick, .. } => nick,
            Self::Server(name) => name,
        }
    }
}

impl<'a> Verb<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        if text.is_empty() {
            None
        } else if text.len() == 3 && text.bytes().all(|byte| byte.is_ascii_digit()) {
            text.parse().ok().map(Self::Numeric)
        } else if text.bytes().any(|byte| byte.is_ascii_lowercase()) {
            Some(Self::Word(text.to_ascii_uppercase().into()))
        } else {
            Some(Self::Word(text.into()))
        }
    }
}

/// The text up to the next space, and what follows all the spaces.
fn word(text: &str) -> (&str, &str) {
    let (head, rest) = text.split_once(' ').unwrap_or((text, ""));
    (head, rest.trim_start_matches(' '))
}

fn params(mut rest: &str) -> Vec<&str> {
    let mut found = Vec::with_capacity(4);
    while !rest.is_empty() {
        if let Some(last) = rest.strip_prefix(':') {
            found.push(last);
            break;
        }
        let (head, after) = word(rest);
        found.push(head);
        rest = after;
    }
    found
}

/// `IRCv3` message-tags: `\:` `\s` `\\` `\r` `\n`; any other backslash is lost.
fn unescape(value: &str) -> Cow<'_, str> {
    if !value.contains('\\') {
        return value.into();
    }
    let mut plain = String::with_capacity(value.len());
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            plain.push(c);
            continue;
        }
        match chars.next() {
            Some(':') => plain.push(';'),
            Some('s') => plain.push(' '),
            Some('r') => plain.push('\r'),
            Some('n') => plain.push('\n'),
            Some(other) => plain.push(other),
            None => {}
        }
    }
    plain.into()
}

#[cfg(test)]
mod tests;
