//! Makes text mean itself in Markdown.

/// Text of one line, or of one run in it, with every character that could act in Markdown or in a template taken
/// literally. What stands beside the text must be no letter or digit, such as a mark of ours.
///
/// `ends_free`: a blank or the end of the line follows. Many readers make a link of a bare address and take every
/// character up to the next blank into it, an escaping backslash too, which then sets free what it should hold. So an
/// address stays bare only where nothing up to the next blank is a mark or an escape; else it gets its brackets.
pub(super) fn escaped(text: &str, line_start: bool, ends_free: bool) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut rest = if line_start { escape_line_start(&mut out, text) } else { text };
    while let Some(colon) = rest.find("://") {
        let scheme = scheme_at_end(&rest[..colon]);
        let (before, word) = rest.split_at(colon - scheme.len());
        escape_words(&mut out, before);
        let (token, after) = word.split_at(word.find(char::is_whitespace).unwrap_or(word.len()));
        let address = address_of(token);
        let mut quiet = String::new();
        escape_words(&mut quiet, token);
        if quiet == token && (ends_free || !after.is_empty()) {
            out.push_str(token);
            rest = after;
        } else if is_web(scheme) && address.len() > scheme.len() + "://".len() && !is_template(address) {
            out.extend(["<", address, ">"]);
            rest = &word[address.len()..];
        } else {
            out.extend([scheme, "\\:"]);
            rest = &word[scheme.len() + 1..];
        }
    }
    escape_words(&mut out, rest);
    out
}

/// What cannot act where it stands (`_` inside a word, `~` before one) is left alone, so that links stay links.
fn escape_words(out: &mut String, text: &str) {
    let mut previous = out.chars().last().unwrap_or(' ');
    let mut in_word = previous.is_alphanumeric();
    // Of a run of underscores, so that a long one is looked at once.
    let mut inside_word = false;
    for (at, c) in text.char_indices() {
        let after = &text[at + c.len_utf8()..];
        let acts = match c {
            '\\' | '`' | '*' | '[' | ']' | '<' | '|' => true,
            '_' => {
                if previous != '_' {
                    inside_word = in_word && after.trim_start_matches('_').starts_with(char::is_alphanumeric);
                }
                !inside_word
            }
            '~' => in_word || previous == '~' || !after.starts_with(char::is_alphanumeric),
            '&' => is_entity(after),
            // Two of them start a template in the inbox.
            '{' | '%' => previous == '{',
            _ => false,
        };
        if acts {
            out.push('\\');
        }
        out.push(if c == '\t' { ' ' } else { c });
        if c != '_' {
            in_word = c.is_alphanumeric();
        }
        previous = c;
    }
}

/// The letters before `://` that a reader may take for a scheme.
fn scheme_at_end(text: &str) -> &str {
    let word = text.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || "+.-".contains(c));
    text[word.len()..].trim_start_matches(|c: char| !c.is_ascii_alphabetic())
}

fn is_web(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http")
}

/// An address without the marks and brackets that people put around one.
fn address_of(token: &str) -> &str {
    let end = token.find(|c: char| c.is_control() || "<>\"`\\".contains(c)).unwrap_or(token.len());
    token[..end].trim_end_matches(|c| ".,;:!?'()[]{}*_~|".contains(c))
}

/// A code span whose fence the text does not hold.
pub(super) fn code_span(text: &str) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    let fence = "`".repeat(longest + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{}{pad}{fence}", text.replace('\t', " "))
}

/// Whether the inbox might read a template here, as in a code span, where nothing can be escaped.
pub(super) fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

/// Writes the blanks and the block marker that begin a line; gives what follows them.
fn escape_line_start<'a>(out: &mut String, text: &'a str) -> &'a str {
    let body = text.trim_start();
    // As plain blanks they would be lost, or make a code block.
    for blank in text[..text.len() - body.len()].chars() {
        out.push_str(if blank == '\t' { "\u{a0}\u{a0}\u{a0}\u{a0}" } else { "\u{a0}" });
    }
    let Some(at) = block_marker(body) else { return body };
    out.push_str(&body[..at]);
    out.push('\\');
    out.push_str(&body[at..=at]);
    &body[at + 1..]
}

/// Where the character stands that would make this line a heading, list, quote, rule or underline.
fn block_marker(line: &str) -> Option<usize> {
    if line.starts_with(['#', '-', '+', '=', '>']) {
        return Some(0);
    }
    let digits = line.len() - line.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    (digits > 0 && line[digits..].starts_with(['.', ')'])).then_some(digits)
}

/// Whether what follows an ampersand makes it a character reference.
fn is_entity(after: &str) -> bool {
    let rest = after.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '#');
    rest.len() < after.len() && rest.starts_with(';')
}
