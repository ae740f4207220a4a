//! A message's content to Markdown for the agent. What the writer typed stays what they typed: only the elements of
//! their HTML become marks, and whatever is too large, too deep or empty is read from the plain body instead.

mod page;
mod table;
#[cfg(test)]
mod tests;

use self::page::Page;
use super::{
    clean::cleaned,
    html,
    line::line_to_markdown,
    style::{Mark, Run, Style},
};

/// The words of one `m.room.message`: of a text, a notice, an emote, or the caption of a file.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Content<'a> {
    pub(crate) body: &'a str,
    /// Only where `format` is `org.matrix.custom.html`. It is what other clients show, so it wins over the body.
    pub(crate) formatted_body: Option<&'a str>,
    /// The sender's name, for an `m.emote`.
    pub(crate) emote_of: Option<&'a str>,
    /// Whether it answers another message; old clients quote that one in the body.
    pub(crate) reply: bool,
}

/// Markdown as the inbox shows it: every line end is one that is seen.
pub(crate) fn to_markdown(content: &Content<'_>) -> String {
    let formatted = content.formatted_body.filter(|html| html::fits(html));
    formatted.and_then(|html| Page::of(html, content.emote_of)).unwrap_or_else(|| plain(content))
}

fn plain(content: &Content<'_>) -> String {
    let body = cleaned(content.body);
    let body = if content.reply { without_quote(&body) } else { &body };
    let body = body.trim_end().trim_start_matches('\n');
    let (text, style) = match content.emote_of {
        Some(name) => (format!("{} {body}", emote(name)), Style::PLAIN.with(Mark::Italic)),
        None => (body.to_owned(), Style::PLAIN),
    };
    let line = |line: &str| line_to_markdown(&[Run { text: line.to_owned(), style, link: None }], &[]);
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// What stands before what somebody does.
fn emote(name: &str) -> String {
    format!("* {}", cleaned(name).replace('\n', " "))
}

/// Without the `> <@user:server> …` lines that old clients put before an answer; a quote that the writer made
/// themselves names nobody and stays.
fn without_quote(body: &str) -> &str {
    if !(body.starts_with("> <@") || body.starts_with("> * <@")) {
        return body;
    }
    let mut rest = body;
    while rest.starts_with('>') {
        rest = rest.split_once('\n').map_or("", |(_, rest)| rest);
    }
    rest
}
