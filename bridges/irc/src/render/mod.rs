//! Text between IRC's formatting codes and Markdown, both ways, and cut to fit IRC's lines.

mod codes;
mod escape;
mod from_markdown;
mod split;
mod style;
mod to_markdown;

pub(crate) use from_markdown::lines_of;
pub(crate) use split::{Mask, split, text_bytes_max};
pub use style::Formatting;
pub(crate) use to_markdown::{action_to_markdown, to_markdown};

use crate::message::Text;

/// An agent's Markdown as the texts of one or more PRIVMSGs, each at most `bytes_max` bytes, in order. None when
/// nothing visible is left.
pub(crate) fn compose(markdown: &str, formatting: Formatting, bytes_max: usize) -> Vec<Text> {
    split(&lines_of(markdown, formatting), formatting, bytes_max)
}
