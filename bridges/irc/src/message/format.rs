//! Fields to exactly one line. What cannot be one well-formed line is an error, never two lines.

use std::fmt;

use crate::isupport::Isupport;

/// Longest tag section a client may send, without `@` and the space (`IRCv3` message-tags).
const CLIENT_TAG_BYTES_MAX: usize = 4094;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum FormatError {
    #[error("`{0:?}` cannot be a target")]
    Target(String),
    #[error("text for one line holds a line break, NUL or CTCP mark")]
    Text,
    #[error("a parameter of {0} is empty, begins with a colon, or holds a space, line break or NUL")]
    Param(&'static str),
    #[error("a tag of {0} has an unusable name")]
    Tag(&'static str),
    #[error("a line of {bytes} bytes is longer than {limit}")]
    TooLong { bytes: usize, limit: usize },
    #[error("a formatted line of {0} is not exactly one line")]
    NotOneLine(&'static str),
}

/// Where one message may go: one nick or one channel, nothing that could split or widen it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Target(String);

impl Target {
    /// A person. Refuses channels (also `@#chan`), masks and lists.
    pub(crate) fn nick(name: &str, isupport: &Isupport) -> Result<Self, FormatError> {
        if isupport.is_channel(isupport.channel_of(name)) {
            return Err(FormatError::Target(name.to_owned()));
        }
        Self::checked(name)
    }

    pub(crate) fn channel(name: &str, isupport: &Isupport) -> Result<Self, FormatError> {
        if !isupport.is_channel(name) {
            return Err(FormatError::Target(name.to_owned()));
        }
        Self::checked(name)
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    fn checked(name: &str) -> Result<Self, FormatError> {
        let bad = |c: char| matches!(c, ' ' | ',' | '$') || c.is_control();
        if name.is_empty() || name.starts_with(':') || name.contains(bad) {
            return Err(FormatError::Target(name.to_owned()));
        }
        Ok(Self(name.to_owned()))
    }
}

/// Text of one line: not empty, no CR, LF or NUL, and no CTCP mark but its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Text(String);

impl Text {
    pub(crate) fn new(text: impl Into<String>) -> Result<Self, FormatError> {
        let text = text.into();
        if text.is_empty() || text.contains(['\r', '\n', '\0', '\x01']) {
            Err(FormatError::Text)
        } else {
            Ok(Self(text))
        }
    }

    /// `\x01<command> <argument>\x01`, as ACTION and CTCP answers are framed.
    pub(crate) fn ctcp(command: &str, argument: &str) -> Result<Self, FormatError> {
        let Self(command) = Self::new(command)?;
        if argument.is_empty() {
            return Ok(Self(format!("\x01{command}\x01")));
        }
        let Self(argument) = Self::new(argument)?;
        Ok(Self(format!("\x01{command} {argument}\x01")))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

/// One command to send. Build it freely; [`Command::encode`] refuses what is not exactly one line.
///
/// `Debug` shows the verb only: parameters may be keys or passwords.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Command {
    tags: Vec<(String, String)>,
    verb: &'static str,
    params: Vec<String>,
    last: Option<String>,
}

impl Command {
    pub(crate) fn new(verb: &'static str) -> Self {
        Self { tags: Vec::new(), verb, params: Vec::new(), last: None }
    }

    pub(crate) fn privmsg(target: &Target, text: &Text) -> Self {
        Self::new("PRIVMSG").param(target.as_str()).last(text.as_str())
    }

    pub(crate) fn notice(target: &Target, text: &Text) -> Self {
        Self::new("NOTICE").param(target.as_str()).last(text.as_str())
    }

    /// Tags only (`IRCv3` message-tags); the caller adds them.
    #[cfg_attr(not(test), expect(dead_code, reason = "for typing, which the bridge does not send yet"))]
    pub(crate) fn tagmsg(target: &Target) -> Self {
        Self::new("TAGMSG").param(target.as_str())
    }

    /// A middle parameter: one word.
    pub(crate) fn param(mut self, word: impl Into<String>) -> Self {
        self.params.push(word.into());
        self
    }

    /// The last parameter, always sent with `:`; may be empty or hold spaces.
    pub(crate) fn last(mut self, text: impl Into<String>) -> Self {
        self.last = Some(text.into());
        self
    }

    /// A tag; `""` sends the key alone. The value is escaped here.
    pub(crate) fn tag(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.push((key.into(), value.into()));
        self
    }

    pub(crate) fn verb(&self) -> &'static str {
        self.verb
    }

    /// The line with its CR LF. `line_bytes_max` counts all but the tags, CR LF included (512, or LINELEN).
    pub(crate) fn encode(&self, line_bytes_max: usize) -> Result<Vec<u8>, FormatError> {
        let tags = self.encoded_tags()?;
        let mut line = self.verb.to_owned();
        for param in &self.params {
            let bad = |c: char| matches!(c, ' ' | '\r' | '\n' | '\0');
            if param.is_empty() || param.starts_with(':') || param.contains(bad) {
                return Err(FormatError::Param(self.verb));
            }
            line.push(' ');
            line.push_str(param);
        }
        if let Some(last) = &self.last {
            line.push_str(" :");
            line.push_str(last);
        }
        line.push_str("\r\n");
        if line.len() > line_bytes_max {
            return Err(FormatError::TooLong { bytes: line.len(), limit: line_bytes_max });
        }
        let whole = tags + &line;
        if one_line(whole.as_bytes()) { Ok(whole.into_bytes()) } else { Err(FormatError::NotOneLine(self.verb)) }
    }

    fn encoded_tags(&self) -> Result<String, FormatError> {
        let mut tags = String::new();
        for (key, value) in &self.tags {
            if key.is_empty() || key.contains(|c: char| matches!(c, ' ' | ';' | '=' | '\\' | '@') || c.is_control()) {
                return Err(FormatError::Tag(self.verb));
            }
            tags.push(if tags.is_empty() { '@' } else { ';' });
            tags.push_str(key);
            if !value.is_empty() {
                tags.push('=');
                escape_into(&mut tags, value);
            }
        }
        if !tags.is_empty() {
            tags.push(' ');
        }
        let bytes = tags.len().saturating_sub(2);
        if bytes > CLIENT_TAG_BYTES_MAX {
            return Err(FormatError::TooLong { bytes, limit: CLIENT_TAG_BYTES_MAX });
        }
        Ok(tags)
    }
}

impl fmt::Debug for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Command").field("verb", &self.verb).finish_non_exhaustive()
    }
}

/// The last gate before the socket, whatever built the line: CR LF once, at the end, and no NUL.
fn one_line(line: &[u8]) -> bool {
    line.strip_suffix(b"\r\n")
        .is_some_and(|body| !body.is_empty() && !body.iter().any(|byte| matches!(byte, b'\r' | b'\n' | b'\0')))
}

fn escape_into(tags: &mut String, value: &str) {
    for c in value.chars() {
        match c {
            ';' => tags.push_str("\\:"),
            ' ' => tags.push_str("\\s"),
            '\\' => tags.push_str("\\\\"),
            '\r' => tags.push_str("\\r"),
            '\n' => tags.push_str("\\n"),
            other => tags.push(other),
        }
    }
}

#[cfg(test)]
mod tests;
