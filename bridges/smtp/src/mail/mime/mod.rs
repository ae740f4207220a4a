//! The structure of a mail: fields, parts, encodings, charsets. It walks in one pass over the bytes, without recursion,
//! and never gives a part that reaches beyond the mail.

mod charset;
mod fields;
mod params;
mod transfer;
mod walk;
mod words;

#[cfg(test)]
mod tests;

pub(crate) use charset::{decoded, header_text};
pub(crate) use fields::{Field, Head, head, line_end};
pub(crate) use params::Params;
pub(crate) use transfer::transferred;
pub(crate) use walk::{Part, Tree, walk};
pub(crate) use words::{plain_words, word_at};
