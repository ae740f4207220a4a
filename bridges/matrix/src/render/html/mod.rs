//! Matrix HTML as steps into and out of elements. Reads as browsers do, in one pass and on a flat stack, and keeps
//! nothing but what a message may hold. Knows nothing of Markdown.

mod nest;
mod reference;
mod tag;
mod token;

pub(crate) use nest::Steps;
pub(crate) use reference::decoded;
pub(crate) use tag::Tag;
pub(crate) use token::Attributes;

/// One step of a walk over a message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Step<'a> {
    /// Every element that is opened is closed, but for those that never hold anything.
    Open(Tag, Attributes<'a>),
    Close(Tag),
    /// As it stands in the source, with its character references.
    Text(&'a str),
}

/// More than a homeserver lets through in one event.
pub(crate) const HTML_BYTES_MAX: usize = 256 * 1024;
/// What Matrix allows.
pub(crate) const DEPTH_MAX: usize = 100;

/// Whether the HTML is small and flat enough to be looked at. Ends at the first element that is too deep.
pub(crate) fn fits(html: &str) -> bool {
    if html.len() > HTML_BYTES_MAX {
        return false;
    }
    let mut steps = Steps::new(html);
    while steps.next().is_some() {
        if steps.depth() > DEPTH_MAX {
            return false;
        }
    }
    true
}

#[cfg(test)]
mod tests;
