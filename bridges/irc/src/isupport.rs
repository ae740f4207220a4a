//! What the server said it supports (005, `RPL_ISUPPORT`), with the defaults for what it left unsaid.
//! Unknown tokens are kept as they are.

use std::collections::BTreeMap;
use std::fmt;

/// How a network compares names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum CaseMapping {
    Ascii,
    /// `[ ] \ ~` are the capitals of `{ } | ^`.
    #[default]
    Rfc1459,
    /// As `Rfc1459`, but `~` and `^` differ.
    Rfc1459Strict,
}

/// A nick, account or channel as the network compares it. Only the same mapping's results may be compared.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Folded(String);

/// The server's tokens. 005 may come again at any time.
#[derive(Clone, Debug, Default)]
pub(crate) struct Isupport {
    tokens: BTreeMap<String, String>,
    case_mapping: CaseMapping,
}

/// What a 005 line changed that others must act on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Applied {
    /// Everything stored folded must be folded again.
    pub(crate) case_mapping_changed: bool,
    /// The server named a mapping we do not know; ASCII is used.
    pub(crate) case_mapping_unknown: bool,
}

/// Which channel modes take a parameter (CHANMODES types A to D, and PREFIX modes).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ModeParam {
    Always,
    WhenSet,
    Never,
}

impl CaseMapping {
    pub(crate) fn fold(self, name: &str) -> Folded {
        Folded(name.chars().map(|c| self.fold_char(c)).collect())
    }

    fn fold_char(self, c: char) -> char {
        match (self, c) {
            (Self::Rfc1459 | Self::Rfc1459Strict, '[') => '{',
            (Self::Rfc1459 | Self::Rfc1459Strict, ']') => '}',
            (Self::Rfc1459 | Self::Rfc1459Strict, '\\') => '|',
            (Self::Rfc1459, '~') => '^',
            (_, other) => other.to_ascii_lowercase(),
        }
    }
}

impl Folded {
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Folded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

#[cfg_attr(not(test), expect(dead_code, reason = "some tokens are for what the machine does not do yet"))]
impl Isupport {
    /// Takes the parameters of one 005, nick first and prose last, as [`crate::message::Line::params`] gives them.
    pub(crate) fn apply(&mut self, params: &[&str]) -> Applied {
        // Only the closing prose holds spaces; it may be missing.
        for token in params.iter().skip(1).filter(|token| !token.contains(' ')) {
            if let Some(name) = token.strip_prefix('-') {
                self.tokens.remove(&name.to_ascii_uppercase());
                continue;
            }
            let (name, value) = token.split_once('=').unwrap_or((token, ""));
            let name = name.to_ascii_uppercase();
            if !name.is_empty() && (self.tokens.len() < TOKENS_MAX || self.tokens.contains_key(&name)) {
                self.tokens.insert(name, unescape(value));
            }
        }
        self.renew_case_mapping()
    }

    /// A token's value: `None` when absent, `""` when it has none.
    pub(crate) fn token(&self, name: &str) -> Option<&str> {
        self.tokens.get(name).map(String::as_str)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.tokens.contains_key(name)
    }

    pub(crate) fn case_mapping(&self) -> CaseMapping {
        self.case_mapping
    }

    pub(crate) fn fold(&self, name: &str) -> Folded {
        self.case_mapping.fold(name)
    }

    pub(crate) fn same(&self, left: &str, right: &str) -> bool {
        self.fold(left) == self.fold(right)
    }

    /// Longest nick we may take.
    pub(crate) fn nick_bytes_max(&self) -> usize {
        self.number("NICKLEN").unwrap_or(9)
    }

    /// Longest nick others may have.
    pub(crate) fn peer_nick_bytes_max(&self) -> usize {
        self.number("MAXNICKLEN").unwrap_or(31).max(self.nick_bytes_max())
    }

    /// Longest ident, its `~` included.
    pub(crate) fn user_bytes_max(&self) -> usize {
        self.number("USERLEN").unwrap_or(10) + 1
    }

    pub(crate) fn host_bytes_max(&self) -> usize {
        self.number("HOSTLEN").unwrap_or(63)
    }

    /// Longest line without tags, CR LF included; never under 512, never over what we keep.
    pub(crate) fn line_bytes_max(&self) -> usize {
        self.number("LINELEN").unwrap_or(512).clamp(512, crate::message::LINE_BYTES_MAX)
    }

    /// MONITOR's list size: `None` when the server has no MONITOR, `usize::MAX` when it names no limit.
    pub(crate) fn monitor_max(&self) -> Option<usize> {
        self.token("MONITOR").map(|value| value.parse().unwrap_or(usize::MAX))
    }

    /// CHATHISTORY's largest page: `None` when absent, `usize::MAX` for 0 or no number.
    pub(crate) fn chathistory_max(&self) -> Option<usize> {
        self.token("CHATHISTORY").map(|value| value.parse().ok().filter(|&max| max > 0).unwrap_or(usize::MAX))
    }

    /// The mode letter that marks us as a bot.
    pub(crate) fn bot_mode(&self) -> Option<char> {
        self.token("BOT")?.chars().next().filter(char::is_ascii_alphabetic)
    }

    pub(crate) fn has_whox(&self) -> bool {
        self.has("WHOX")
    }

    pub(crate) fn utf8_only(&self) -> bool {
        self.has("UTF8ONLY")
    }

    pub(crate) fn network(&self) -> Option<&str> {
        self.token("NETWORK")
    }

    /// Whether a name is a channel's, without a status prefix.
    pub(crate) fn is_channel(&self, name: &str) -> bool {
        name.starts_with(|c| self.channel_types().contains(c))
    }

    pub(crate) fn channel_types(&self) -> &str {
        self.token("CHANTYPES").unwrap_or("#&")
    }

    /// `@#chan` to `#chan` where STATUSMSG says so; anything else as it is.
    pub(crate) fn channel_of<'a>(&self, target: &'a str) -> &'a str {
        let status = self.token("STATUSMSG").unwrap_or("");
        let name = target.trim_start_matches(|c| status.contains(c));
        if self.is_channel(name) { name } else { target }
    }

    /// Status modes and their marks, highest first: `(o, @)`, `(v, +)`.
    pub(crate) fn prefixes(&self) -> impl Iterator<Item = (char, char)> + '_ {
        let value = self.token("PREFIX").unwrap_or("(ov)@+");
        let (modes, marks) = value.strip_prefix('(').and_then(|rest| rest.split_once(')')).unwrap_or(("", ""));
        modes.chars().zip(marks.chars())
    }

    /// `@+nick` of a NAMES list to its marks and the rest (the rest may be `nick!user@host`).
    pub(crate) fn split_marks<'a>(&self, member: &'a str) -> (&'a str, &'a str) {
        let rest = member.trim_start_matches(|c| self.prefixes().any(|(_, mark)| mark == c));
        member.split_at(member.len() - rest.len())
    }

    pub(crate) fn mode_param(&self, mode: char) -> ModeParam {
        let listed = |place: usize| self.channel_modes().nth(place).is_some_and(|modes| modes.contains(mode));
        if self.prefixes().any(|(own, _)| own == mode) || listed(0) || listed(1) {
            ModeParam::Always
        } else if listed(2) {
            ModeParam::WhenSet
        } else {
            ModeParam::Never
        }
    }

    /// Whether the server lets this client tag (`+typing`; the `+` may be left out) through (CLIENTTAGDENY).
    pub(crate) fn allows_client_tag(&self, tag: &str) -> bool {
        let tag = tag.strip_prefix('+').unwrap_or(tag);
        let mut allowed = true;
        for entry in self.token("CLIENTTAGDENY").unwrap_or("").split(',') {
            if entry == "*" || entry == tag {
                allowed = false;
            } else if entry.strip_prefix('-') == Some(tag) {
                return true;
            }
        }
        allowed
    }

    fn channel_modes(&self) -> impl Iterator<Item = &str> {
        self.token("CHANMODES").unwrap_or("b,k,l,imnpst").split(',')
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.token(name)?.parse().ok().filter(|&number| (1..=NUMBER_MAX).contains(&number))
    }

    fn renew_case_mapping(&mut self) -> Applied {
        let (mapping, unknown) = match self.token("CASEMAPPING") {
            None | Some("rfc1459" | "") => (CaseMapping::Rfc1459, false),
            Some("rfc1459-strict" | "strict-rfc1459") => (CaseMapping::Rfc1459Strict, false),
            Some("ascii") => (CaseMapping::Ascii, false),
            Some(_) => (CaseMapping::Ascii, true),
        };
        let changed = std::mem::replace(&mut self.case_mapping, mapping) != mapping;
        Applied { case_mapping_changed: changed, case_mapping_unknown: unknown }
    }
}

/// Real servers send about 50.
const TOKENS_MAX: usize = 256;

/// Lengths beyond this are nonsense and give the default.
const NUMBER_MAX: usize = 65_535;

/// `\xHH` stands for one byte; a result that is not UTF-8 is left escaped.
fn unescape(value: &str) -> String {
    if !value.contains("\\x") {
        return value.to_owned();
    }
    let bytes = value.as_bytes();
    let mut plain = Vec::with_capacity(bytes.len());
    let mut at = 0;
    while at < bytes.len() {
        let mut byte = [0];
        let escaped = bytes[at..].strip_prefix(b"\\x").and_then(|rest| rest.get(..2));
        if escaped.is_some_and(|digits| hex::decode_to_slice(digits, &mut byte).is_ok()) {
            plain.push(byte[0]);
            at += 4;
        } else {
            plain.push(bytes[at]);
            at += 1;
        }
    }
    String::from_utf8(plain).unwrap_or_else(|_| value.to_owned())
}

#[cfg(test)]
mod tests;
