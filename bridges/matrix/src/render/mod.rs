//! Text between Matrix's message contents and Markdown, both ways, cut to fit an event, and names to show. Pure.

mod clean;
mod escape;
mod from_markdown;
mod html;
mod line;
mod link;
mod name;
mod sheet;
mod split;
mod style;
mod to_markdown;
#[cfg(test)]
mod tests;

pub(crate) use from_markdown::from_markdown;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use from_markdown::strictly;
pub(crate) use name::display_name;
pub(crate) use split::{TEXT_BYTES_MAX, split};
pub(crate) use to_markdown::{Content, to_markdown};
