//! An agent's Markdown to styled lines.

use super::style::{Formatting, Run, Style};

/// One entry a line.
pub(crate) fn lines_of(markdown: &str, formatting: Formatting) -> Vec<Vec<Run>> {
    let _ = formatting;
    markdown.lines().map(|line| vec![Run { text: line.to_owned(), style: Style::default() }]).collect()
}
