//! HTML of mails as Markdown: read in one pass by an own reader of tags, without a tree and without recursion. Whatever
//! the HTML is, what comes out is text that we wrote, so that nothing of it can act.

mod element;
mod entity;
mod page;
mod run;
mod strip;
mod style;
mod token;

#[cfg(test)]
mod tests;

use super::markdown::Line;

/// Beyond one of these only the text between tags is shown.
const BYTES_MAX: usize = 1024 * 1024;
const DEPTH_MAX: usize = 200;
const ELEMENTS_MAX: usize = 20_000;
/// Octets that are looked at even then.
const STRIP_BYTES_MAX: usize = 4 * 1024 * 1024;

/// What became of a text of HTML.
#[derive(Debug, Default)]
pub(crate) struct Shown {
    pub(crate) lines: Vec<Line>,
    /// Content-IDs of pictures that are named at their place.
    pub(crate) used: Vec<String>,
    /// Pictures that are written into the text itself are not shown.
    pub(crate) data_images: usize,
    /// It was too much, so that only bare text is shown.
    pub(crate) stripped: bool,
}

/// `name_of` gives the name of the part with a Content-ID.
pub(crate) fn shown(html: &str, name_of: &dyn Fn(&str) -> Option<String>) -> Shown {
    if html.len() <= BYTES_MAX
        && let Some(shown) = page::shown(html, name_of)
    {
        return shown;
    }
    let html = &html[..html.floor_char_boundary(STRIP_BYTES_MAX)];
    Shown { lines: strip::lines(html), stripped: true, ..Shown::default() }
}
