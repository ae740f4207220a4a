//! Where fenced code lies, and what opens and closes it again when it is cut.

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag};

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fence {
    /// Where the line that opens it begins, and where its code does.
    pub(super) start: usize,
    pub(super) code: usize,
    /// The end of its last line of code, and of the line that closes it.
    pub(super) code_end: usize,
    pub(super) end: usize,
    pub(super) opening: String,
    pub(super) closing: String,
    /// What it stands in ends it. Cut loose from that, it would go on.
    pub(super) implied: bool,
}

/// A fence that takes more is cut like any other text.
const OVERHEAD_BYTES_MAX: usize = 96;
const LANGUAGE_BYTES_MAX: usize = 32;

/// All fences, in order.
pub(super) fn fences(text: &str) -> Vec<Fence> {
    let mut found = Vec::new();
    for (event, range) in
        Parser::new_ext(text, Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TABLES).into_offset_iter()
    {
        if let Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) = event {
            let fence = fence(text, range.start, range.end, &info);
            found.extend(fence.filter(|fence| fence.opening.len() + fence.closing.len() <= OVERHEAD_BYTES_MAX));
        }
    }
    found
}

/// `None` where it holds no line.
fn fence(text: &str, from: usize, to: usize, info: &str) -> Option<Fence> {
    let start = text[..from].rfind('\n').map_or(0, |at| at + 1);
    let sign = text[from..].chars().next().filter(|sign| "`~".contains(*sign))?;
    let signs: String = text[from..].chars().take_while(|c| *c == sign).collect();
    let code = match text[from..to].find('\n') {
        Some(at) => from + at + 1,
        // It holds nothing, and its own line is all of it.
        None if text[to..].starts_with('\n') => to + 1,
        None => return None,
    };
    let to = to.max(code);
    let block = text[..to].trim_end_matches('\n');
    let last = block.rfind('\n').filter(|at| at + 1 >= code);
    let closed = last.filter(|at| {
        let line = block[at + 1..].trim_start_matches([' ', '>']).trim_end();
        line.len() >= signs.len() && line.chars().all(|c| c == sign)
    });
    let (code_end, end) = closed.map_or((to, to), |at| (at, block.len()));
    let prefix = prefix(&text[start..from]);
    let language = info.split_whitespace().next().filter(|word| word.len() <= LANGUAGE_BYTES_MAX).unwrap_or_default();
    let closing = format!("{prefix}{signs}");
    let implied = closed.is_none() && !text[to..].trim().is_empty();
    let opening = format!("{closing}{language}");
    (code <= code_end).then_some(Fence { start, code, code_end, end, opening, closing, implied })
}

/// The quotes around the code; a list's marker becomes blanks, and never so many that they make code of their own.
fn prefix(line: &str) -> String {
    let mut out = String::new();
    let mut blanks = 0;
    for c in line.chars() {
        blanks = if c == '>' { 0 } else { blanks + 1 };
        if blanks <= BLANKS_MAX {
            out.push(if c == '>' { '>' } else { ' ' });
        }
    }
    out
}

/// Four make a block of code.
const BLANKS_MAX: usize = 3;
