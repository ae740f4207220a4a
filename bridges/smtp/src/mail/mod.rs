//! Reads a mail for people: who wrote it, to whom, what it says, which files it carries. Pure; everything in a mail is hostile.

use crate::address::Address;

mod addresses;
mod cut;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod headers;
mod html;
mod inner;
mod markdown;
mod message_id;
pub(crate) mod mime;
mod names;
mod plain;
mod read;
mod select;
mod shown;
mod tnef;

#[cfg(test)]
mod tests;

pub(crate) use markdown::escaped;
pub(crate) use message_id::MessageId;
pub(crate) use read::{RAW_MAIL, WHOLE_TEXT, read, read_file, read_head};

/// A name and an address as a header shows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mailbox {
    /// Decoded and made safe to show; at most 64 characters; empty when there is none.
    pub(crate) name: String,
    pub(crate) address: Option<Address>,
}

/// A mail as people read it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mail {
    /// Every mailbox of every `From` field, in order.
    pub(crate) from: Vec<Mailbox>,
    /// How many `From` fields there are; more than one proves nothing.
    pub(crate) from_fields: usize,
    pub(crate) reply_to: Vec<Mailbox>,
    pub(crate) to: Vec<Mailbox>,
    pub(crate) cc: Vec<Mailbox>,
    /// Decoded, one line, safe to show; empty when there is none.
    pub(crate) subject: String,
    pub(crate) message_id: Option<MessageId>,
    pub(crate) in_reply_to: Vec<MessageId>,
    /// In the order of the header, the oldest first; at most 50, the newest ones.
    pub(crate) references: Vec<MessageId>,
    /// Of the `Date` field, Unix milliseconds.
    pub(crate) date_millis: Option<i64>,
    /// Header fields that others judge by (`Auto-Submitted`, `List-Id`, ...): name in lower case, value unfolded.
    pub(crate) fields: Vec<(String, String)>,
    /// What was written anew, as Markdown: quoted text and the signature cut.
    pub(crate) text: String,
    /// The whole text, as Markdown, when something was cut from it.
    pub(crate) whole: Option<String>,
    /// Files in their order.
    pub(crate) files: Vec<MailFile>,
    /// What agents should know, one sentence each: encrypted, cut, could not be read.
    pub(crate) notices: Vec<String>,
}

/// A file that a mail carries. Its bytes are had by `read_file` with the same number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct MailFile {
    /// Stable for the same mail.
    pub(crate) number: u32,
    /// Safe to show and unique within the mail; never empty, never a path.
    pub(crate) name: String,
    /// As declared, when well formed.
    pub(crate) media_type: Option<String>,
    /// Of the decoded bytes.
    pub(crate) bytes: u64,
}
