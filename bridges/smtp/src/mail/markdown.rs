//! Markdown for the inbox: text that means only itself, links that lead where they say, lines that know what they are.

/// One line of a mail, ready to be shown, and what the cutter has to know of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) markdown: String,
    /// The same without marks.
    pub(crate) plain: String,
    pub(crate) quote: Quote,
    /// What the sender's program says begins here.
    pub(crate) mark: Option<Mark>,
}

/// Whether somebody else wrote a line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Quote {
    #[default]
    Own,
    /// Indented, by whoever it may be.
    Indented,
    /// Quoted, as the sender's program says.
    Quoted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mark {
    /// The earlier mail, to the end.
    History,
    /// A rule that may stand above the earlier mail.
    Rule,
    Signature,
}

impl Line {
    pub(crate) fn is_blank(&self) -> bool {
        self.plain.trim().is_empty() && self.markdown.trim().is_empty()
    }
}

/// The lines below each other, never more than one empty one between two.
pub(crate) fn joined(lines: &[Line]) -> String {
    let mut out = String::new();
    let mut gap = false;
    for line in lines {
        if line.markdown.trim().is_empty() {
            gap = !out.is_empty();
            continue;
        }
        if !out.is_empty() {
            out.push_str(if gap { "\n\n" } else { "\n" });
        }
        gap = false;
        out.push_str(line.markdown.trim_end());
    }
    out
}

/// Text of one line, with every character that could act in Markdown or in a template of the inbox taken literally.
/// What stands beside it is a blank, a mark of ours or an end.
///
/// An address stays bare only where nothing in it is escaped: readers take what follows up to the next blank into the
/// address, a backslash too, which then no longer holds what stands behind it. Any other becomes a link of ours.
pub(crate) fn escaped(text: &str, line_start: bool) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut rest = if line_start { start_escaped(&mut out, text) } else { text };
    while let Some(colon) = rest.find("://") {
        let (before, word) = rest.split_at(colon - scheme_before(&rest[..colon]).len());
        escape_into(&mut out, before);
        let scheme = word.split(':').next().unwrap_or_default();
        rest = if is_web(scheme) {
            web_address(&mut out, word)
        } else {
            out.extend([scheme, "\\:"]);
            &word[scheme.len() + 1..]
        };
    }
    escape_into(&mut out, rest);
    out
}

/// Writes the address that begins this text; gives what follows. It passes what it looks at, so that a text of a
/// million addresses is looked at once.
fn web_address<'a>(out: &mut String, word: &'a str) -> &'a str {
    let is_loud = |c: char| "\\`*[]<>|~\"".contains(c);
    let end = word.find(|c: char| c.is_whitespace() || is_loud(c)).unwrap_or(word.len());
    let (token, after) = word.split_at(end);
    if !after.starts_with(is_loud) {
        let mut quiet = String::new();
        escape_into(&mut quiet, token);
        if quiet == token {
            out.push_str(token);
            return after;
        }
    }
    let address = address_in(word);
    if let Some(safe) = safe_address(address) {
        out.push_str(&link(address, &safe));
    } else {
        let mut shown = String::new();
        escape_into(&mut shown, address);
        out.push_str(&shown.replace("://", "\\://"));
    }
    &word[address.len()..]
}

/// A link whose text cannot be taken for another one.
pub(crate) fn link(text: &str, safe_address: &str) -> String {
    let mut shown = String::new();
    escape_into(&mut shown, text);
    format!("[{}]({safe_address})", shown.replace("://", "\\://"))
}

/// What cannot act where it stands (`_` inside a word) is left alone.
fn escape_into(out: &mut String, text: &str) {
    let mut previous = out.chars().next_back().unwrap_or(' ');
    // Of a run of underscores, so that a long one is looked at once.
    let mut inside_word = false;
    let mut in_word = previous.is_alphanumeric();
    for (at, c) in text.char_indices() {
        let after = &text[at + c.len_utf8()..];
        let acts = match c {
            '\\' | '`' | '*' | '[' | ']' | '<' | '>' | '|' | '~' => true,
            '_' => {
                if previous != '_' {
                    inside_word = in_word && after.trim_start_matches('_').starts_with(char::is_alphanumeric);
                }
                !inside_word
            }
            '&' => is_reference(after),
            // Two of them begin a template in the inbox.
            '{' | '%' => previous == '{',
            _ => false,
        };
        if acts {
            out.push('\\');
        }
        out.push(if c == '\t' || c == '\n' { ' ' } else { c });
        if c != '_' {
            in_word = c.is_alphanumeric();
        }
        previous = c;
    }
}

/// Writes the blanks that begin a line, and the sign that would make it a block; gives what follows.
fn start_escaped<'a>(out: &mut String, text: &'a str) -> &'a str {
    let body = text.trim_start();
    // As plain blanks they would be lost, or make it code.
    for blank in text[..text.len() - body.len()].chars() {
        out.push_str(if blank == '\t' { "\u{a0}\u{a0}\u{a0}\u{a0}" } else { "\u{a0}" });
    }
    let digits = body.len() - body.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let at = match body.chars().next() {
        Some('#' | '-' | '+' | '=') => 0,
        Some(_) if digits > 0 && body[digits..].starts_with(['.', ')']) => digits,
        Some(_) | None => return body,
    };
    out.extend([&body[..at], "\\", &body[at..=at]]);
    &body[at + 1..]
}

/// The letters at the end of this text that a reader may take for a scheme.
fn scheme_before(text: &str) -> &str {
    let start = text.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || "+.-".contains(c)).len();
    text[start..].trim_start_matches(|c: char| !c.is_ascii_alphabetic())
}

pub(crate) fn is_web(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http")
}

/// Without the signs that people put around an address.
fn address_in(word: &str) -> &str {
    let ends = |c: char| c.is_control() || c.is_whitespace() || "<>\"`\\|".contains(c);
    let address = &word[..word.find(ends).unwrap_or(word.len())];
    let address = address.trim_end_matches(|c| ".,;!?'()[]{}*_~:".contains(c));
    // At least the scheme is passed.
    if address.contains("://") { address } else { &word[..word.find("://").map_or(0, |at| at + 3)] }
}

/// Octets of an address that may be a link.
const ADDRESS_BYTES_MAX: usize = 4096;

/// An address that may be a link, in characters that mean nothing in Markdown, HTML or a template. `None` for any scheme
/// but the harmless ones, however it is disguised.
pub(crate) fn safe_address(address: &str) -> Option<String> {
    // Browsers skip these wherever they stand.
    let address: String = address.trim().chars().filter(|c| !"\t\r\n".contains(*c)).collect();
    let address = address.trim_matches(|c: char| c.is_control() || c.is_whitespace());
    let address = if address.starts_with("//") { format!("https:{address}") } else { address.to_owned() };
    let (scheme, rest) = address.split_once(':')?;
    let known = is_web(scheme) && rest.starts_with("//") && rest.len() > 2
        || ["mailto", "tel"].iter().any(|known| scheme.eq_ignore_ascii_case(known)) && !rest.is_empty();
    if !known || address.len() > ADDRESS_BYTES_MAX {
        return None;
    }
    let references = address.contains('&');
    let mut out = String::with_capacity(address.len());
    for byte in address.bytes() {
        // Behind an ampersand it would end a character reference, and so make another address.
        let acts = b"<>()\"'`{}|\\^*[]~".contains(&byte) || byte == b';' && references;
        if byte.is_ascii_graphic() && !acts {
            out.push(byte.into());
        } else {
            out.push('%');
            out.extend([byte >> 4, byte & 15].map(|digit| char::from(b"0123456789ABCDEF"[usize::from(digit)])));
        }
    }
    Some(out)
}

/// A code span whose fence the text does not hold. Nothing can be escaped in one, so a template makes it plain text.
pub(crate) fn code_span(text: &str) -> String {
    if text.contains("{{") || text.contains("{%") || text.contains('<') {
        return escaped(text, false);
    }
    let fence = "`".repeat(longest_run(text) + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{}{pad}{fence}", text.replace(['\t', '\n'], " "))
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

/// Whether what follows an ampersand makes it a character reference. No name is longer than this.
fn is_reference(after: &str) -> bool {
    let name = after.bytes().take(40).take_while(|byte| byte.is_ascii_alphanumeric() || *byte == b'#').count();
    name > 0 && after[name..].starts_with(';')
}
