//! Delivery status notifications: which of our mails they speak of, and what became of it. Pure, linear, bounded.
//! Says what a mail claims; whether it is about a mail of ours at all is for the caller to prove by its tokens.

use std::borrow::Cow;

use crate::{
    address::Address,
    characters::{is_blank, is_hidden},
    mail::{
        MessageId,
        mime::{Part, head, transferred, walk},
    },
};

mod status;
#[cfg(test)]
mod tests;
mod text;

/// Of one report.
const RECIPIENTS_MAX: usize = 100;
/// Characters.
const DIAGNOSTIC_MAX: usize = 500;
const NAME_MAX: usize = 255;
/// Octets of a part that are read.
const PART_BYTES_MAX: usize = 256 * 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    Failed,
    Delayed,
    Delivered,
    Relayed,
    Expanded,
}

/// What kind of report it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// RFC 3464 or RFC 6533.
    Status,
    /// Words for people, from which the result was guessed. To be believed only where a token says that the mail was ours.
    Words,
    /// A recipient called our mail unwanted (RFC 5965).
    Complaint,
    /// A recipient's program says that our mail was shown, or thrown away unread (RFC 8098).
    Receipt,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RecipientReport {
    /// As we wrote it, when the report still knows. `None` when it is no address.
    pub(crate) address: Option<Address>,
    pub(crate) action: Action,
    /// `5.1.1`; of the class that the action has when nothing better is known.
    pub(crate) status: String,
    /// One line, without control characters; empty when there is none.
    pub(crate) diagnostic: String,
    /// The server that said so.
    pub(crate) remote: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Report {
    pub(crate) kind: Kind,
    pub(crate) recipients: Vec<RecipientReport>,
    pub(crate) original_envelope_id: Option<String>,
    /// Of the mail that came back.
    pub(crate) returned_message_id: Option<MessageId>,
}

/// `None` when this is no report, as most mails are.
pub(crate) fn read(raw: &[u8]) -> Option<Report> {
    let tree = walk(raw);
    let leaves: Vec<&Part<'_>> = tree.parts.iter().filter(|part| !part.is_multipart).collect();
    let kind = leaves.iter().find_map(|part| kind(&part.media_type));
    let mut report =
        Report { kind: Kind::Status, recipients: vec![], original_envelope_id: None, returned_message_id: None };
    if let Some(kind) = kind {
        report.kind = kind;
        for part in leaves.iter().filter(|part| self::kind(&part.media_type) == Some(kind)) {
            status::read(part, &mut report);
        }
    }
    if report.recipients.is_empty() && matches!(kind, None | Some(Kind::Status)) {
        // A status part without a recipient is as good as none.
        let words = text::read(&tree.parts[0].head, &leaves)?;
        report.kind = Kind::Words;
        report.recipients = words.recipients;
        add_id(&mut report, &words.returned);
    }
    let mut told = Vec::new();
    report.recipients.retain(|one| {
        // Some servers repeat themselves, once for each try.
        let news =
            one.address.is_none() || !told.iter().any(|(known, action)| *known == one.address && *action == one.action);
        told.push((one.address.clone(), one.action));
        news
    });
    for part in leaves.iter().filter(|part| is_returned(&part.media_type)) {
        add_id(&mut report, &decoded(part));
    }
    Some(report)
}

impl RecipientReport {
    /// For an agent: `5.1.1 user unknown (mx.example.org)`.
    pub(crate) fn sentence(&self) -> String {
        let said = without_codes(&self.diagnostic);
        let said = if said.is_empty() { status::meaning(&self.status, self.action) } else { said };
        let remote = self.remote.as_ref().map(|remote| format!(" ({remote})")).unwrap_or_default();
        one_line(&format!("{} {said}{remote}", self.status), DIAGNOSTIC_MAX)
    }
}

/// The beginning of a part, or a little less.
fn decoded<'x>(part: &Part<'x>) -> Cow<'x, [u8]> {
    transferred(&part.encoding, &part.body[..part.body.len().min(PART_BYTES_MAX)]).0
}

fn kind(media_type: &str) -> Option<Kind> {
    match media_type {
        "message/delivery-status" | "message/global-delivery-status" => Some(Kind::Status),
        "message/feedback-report" => Some(Kind::Complaint),
        "message/disposition-notification" | "message/global-disposition-notification" => Some(Kind::Receipt),
        _ => None,
    }
}

fn is_returned(media_type: &str) -> bool {
    matches!(media_type, "message/rfc822" | "message/global" | "text/rfc822-headers" | "message/global-headers")
}

/// The id of the mail that came back. What that one refers to are other mails, which may well have arrived.
fn add_id(report: &mut Report, returned: &[u8]) {
    if report.returned_message_id.is_none() {
        report.returned_message_id = head(returned, 0).first("message-id").and_then(|value| MessageId::parse(&value));
    }
}

/// Control characters and runs of white space become one space; at most `characters` are kept.
fn one_line(text: &str, characters: usize) -> String {
    let mut line = String::new();
    let mut kept = 0;
    for word in text.split(|c: char| is_blank(c) || is_hidden(c)).filter(|word| !word.is_empty()) {
        for c in (kept > 0).then_some(' ').into_iter().chain(word.chars()) {
            if kept == characters {
                return line.trim_end().to_owned();
            }
            line.push(c);
            kept += 1;
        }
    }
    line
}

/// `550 5.1.1 no such user` as `no such user`: the status is shown before it.
fn without_codes(diagnostic: &str) -> &str {
    let is_code = |word: &str| {
        let bare = word.trim_start_matches('#').trim_end_matches([':', ',', '-', ';']);
        status::enhanced(bare).is_some_and(|code| code == bare)
            || (bare.len() == 3 && bare.starts_with(['2', '4', '5']) && bare.bytes().all(|b| b.is_ascii_digit()))
            || word == "-"
    };
    let mut rest = diagnostic.trim();
    while let Some(word) = rest.split_whitespace().next().filter(|word| is_code(word)) {
        rest = rest[word.len()..].trim_start();
    }
    // `550-5.1.1 no such user`: the code of a line that goes on.
    match rest.split_once(' ') {
        Some((word, after))
            if word.split_once('-').is_some_and(|(a, b)| is_code(a) && (b.is_empty() || is_code(b))) =>
        {
            after
        }
        Some(_) | None => rest,
    }
}
