//! Makes text mean itself in Markdown, with as few backslashes as that takes.

/// What stands around a text that is to be escaped. Beside it there may be a blank or a mark of ours, but no letter.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Around {
    /// It begins a line, after the markers of the blocks around it.
    pub(super) line_start: bool,
    /// A blank or the end of the line follows. Many readers make a link of a bare address and take every character up
    /// to the next blank into it, an escaping backslash too, which then sets free what it should hold. So an address
    /// stays bare only where nothing up to the next blank is a mark or an escape; else it gets its brackets.
    pub(super) ends_free: bool,
    /// It is the text of a link, which ends at a bracket.
    pub(super) in_link: bool,
}

/// Text of one line, or of one run in it, with every character that would act taken literally.
pub(super) fn escaped(text: &str, around: Around) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut rest = if around.line_start { escape_line_start(&mut out, text) } else { text };
    while let Some(colon) = rest.find("://") {
        let scheme = scheme_at_end(&rest[..colon]);
        let (before, word) = rest.split_at(colon - scheme.len());
        let (written, after) = address(word, scheme, around);
        escape_words(&mut out, before, &written, around);
        out.push_str(&written);
        rest = after;
    }
    escape_words(&mut out, rest, "", around);
    out
}

/// What becomes of an address that begins a text, and what follows it.
fn address<'a>(text: &'a str, scheme: &str, around: Around) -> (String, &'a str) {
    let (token, after) = text.split_at(text.find(char::is_whitespace).unwrap_or(text.len()));
    let address = address_of(token);
    let mut quiet = String::new();
    escape_words(&mut quiet, token, after, around);
    if quiet == token && (around.ends_free || !after.is_empty()) {
        (quiet, after)
    } else if is_web(scheme) && address.len() > scheme.len() + "://".len() && !is_template(address) {
        (format!("<{address}>"), &text[address.len()..])
    } else {
        (format!("{scheme}\\:"), &text[scheme.len() + 1..])
    }
}

/// What cannot act where it stands (`_` inside a word, `*` between blanks) is left alone. `next` is what follows `text`.
fn escape_words(out: &mut String, text: &str, next: &str, around: Around) {
    let mut previous = out.chars().next_back().unwrap_or(' ');
    let mut in_word = previous.is_alphanumeric();
    // Of a run of underscores, so that a long one is looked at once.
    let mut inside_word = false;
    for (at, c) in text.char_indices() {
        let after = match &text[at + c.len_utf8()..] {
            "" => next,
            after => after,
        };
        let acts = match c {
            '`' => true,
            '\\' => after.is_empty() || after.starts_with(|c: char| c.is_ascii_punctuation()),
            '*' => !(at > 0 && previous.is_whitespace() && after.starts_with(char::is_whitespace)),
            '[' => around.in_link || after.starts_with('^'),
            ']' => around.in_link || after.is_empty() || after.starts_with(['(', '[', ':']),
            '<' => after.is_empty() || begins_tag(after),
            '_' => {
                if previous != '_' {
                    inside_word = in_word && after.trim_start_matches('_').starts_with(char::is_alphanumeric);
                }
                !inside_word
            }
            '~' => in_word || previous == '~' || !after.starts_with(char::is_alphanumeric),
            '&' => is_reference(after),
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

/// Whether what follows a `<` makes it a tag, or the bracket of an address.
fn begins_tag(after: &str) -> bool {
    let local = |c: char| c.is_ascii_alphanumeric() || ".!#$%&'*+/=?^_`{|}~-".contains(c);
    after.starts_with(|c: char| c.is_ascii_alphabetic() || "/!?".contains(c))
        || after.starts_with(local) && after.trim_start_matches(local).starts_with('@')
}

/// The letters before `://` that a reader may take for a scheme.
fn scheme_at_end(text: &str) -> &str {
    let word = text.trim_end_matches(|c: char| c.is_ascii_alphanumeric() || "+.-".contains(c));
    text[word.len()..].trim_start_matches(|c: char| !c.is_ascii_alphabetic())
}

fn is_web(scheme: &str) -> bool {
    scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http")
}

/// An address without the marks and brackets that people put around one, or that readers of Markdown look at first.
fn address_of(token: &str) -> &str {
    let end = token.find(|c: char| c.is_control() || "<>\"`\\[]|".contains(c)).unwrap_or(token.len());
    token[..end].trim_end_matches(|c| ".,;:!?'(){}*_~".contains(c))
}

/// Whether the inbox might read a template here, where nothing can be escaped.
fn is_template(text: &str) -> bool {
    text.contains("{{") || text.contains("{%")
}

/// A code span whose fence the text does not hold.
pub(super) fn code_span(text: &str) -> String {
    let fence = "`".repeat(longest_run(text, '`') + 1);
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{}{pad}{fence}", text.replace('\t', " "))
}

pub(super) fn longest_run(text: &str, of: char) -> usize {
    text.split(|c| c != of).map(str::len).max().unwrap_or(0)
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

/// Where the character stands that would make this line a heading, list, quote, rule, table or underline.
pub(super) fn block_marker(line: &str) -> Option<usize> {
    let ends = |rest: &str| rest.is_empty() || rest.starts_with(char::is_whitespace);
    let only = |signs: &str| line.chars().all(|c| signs.contains(c) || c.is_whitespace());
    let acts = match line.chars().next()? {
        '>' => true,
        '#' => ends(line.trim_start_matches('#')),
        '+' => ends(&line[1..]),
        '-' => ends(&line[1..]) || only("-|:"),
        '|' | ':' => only("-|:"),
        '=' => only("="),
        c if c.is_ascii_digit() => {
            let rest = line.trim_start_matches(|c: char| c.is_ascii_digit());
            let marked = rest.starts_with(['.', ')']) && ends(&rest[1..]);
            return marked.then_some(line.len() - rest.len());
        }
        _ => false,
    };
    acts.then_some(0)
}

/// Whether what follows an ampersand makes it a character reference.
pub(super) fn is_reference(after: &str) -> bool {
    let rest = after.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '#');
    rest.len() < after.len() && rest.starts_with(';')
}
