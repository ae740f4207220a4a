//! Writes an agent's answer as a mail: a stream of lines that end with CR LF, the same at every attempt. Lets nobody's
//! words become a header field, and sends nothing by itself.

use std::sync::Arc;

use bridge_api::{Attachment, Fault, Host, Pieces, SettingsFault};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use jiff::{Timestamp, tz::TimeZone};

use crate::{
    address::Address,
    automatic::LOOP_FIELD,
    mail::{Mailbox, MessageId},
    settings::{DkimSettings, Identity, RelaySettings},
};

mod body;
mod clean;
mod dkim;
mod encode;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod header;
mod html;
mod links;
mod plain;

#[cfg(test)]
mod tests;

use body::{Body, BodyParts, Seal, too_large};
pub(crate) use clean::{is_shown, reply_subject};
pub(crate) use dkim::public_key;
use dkim::{BodyHash, Signer};
use header::Fields;
pub(crate) use header::address as written_address;

/// References that are written: the first of the thread, and the newest.
const REFERENCES_NEWEST_MAX: usize = 20;
/// People who are named in one field.
const MAILBOXES_MAX: usize = 100;
/// Octets of the loop token.
const LOOP_TOKEN_BYTES_MAX: usize = 200;
const MIB: u64 = 1024 * 1024;

/// What a mail is to say, and to whom. Names, subject, text and file names may be anything.
#[derive(Clone, Debug)]
pub(crate) struct Letter {
    pub(crate) from: Identity,
    /// Shown before the sender's own name.
    pub(crate) agent_name: Option<String>,
    /// Those without an address are left out.
    pub(crate) to: Vec<Mailbox>,
    pub(crate) cc: Vec<Mailbox>,
    /// As it is to be; [`reply_subject`] makes that of an answer.
    pub(crate) subject: String,
    pub(crate) message_id: MessageId,
    pub(crate) in_reply_to: Option<MessageId>,
    /// The thread so far, the oldest first.
    pub(crate) references: Vec<MessageId>,
    pub(crate) reply_to: Option<Address>,
    /// Unix milliseconds, the same at every attempt.
    pub(crate) date_millis: i64,
    /// By which we know our own mail when it comes back.
    pub(crate) loop_token: String,
    /// Markdown.
    pub(crate) text: String,
    pub(crate) attachments: Vec<Attachment>,
    /// Not written by a person.
    pub(crate) auto_submitted: bool,
}

/// A mail ready to be sent.
pub(crate) struct Composed {
    /// As far as known; exact when it is signed.
    pub(crate) bytes: Option<u64>,
    /// From the first field to the last line end. Ends with a fault when a file fails.
    pub(crate) pieces: Pieces,
}

/// Writes letters by the settings.
#[derive(Debug)]
pub(crate) struct Composer {
    bytes_max: u64,
    signer: Option<Signer>,
}

impl Composer {
    /// Reads the key for signing, if there is to be one.
    pub(crate) fn new(relay: &RelaySettings, dkim: Option<&DkimSettings>) -> Result<Self, SettingsFault> {
        Ok(Self { bytes_max: u64::from(relay.mail_mib_max) * MIB, signer: dkim.map(Signer::new).transpose()? })
    }

    /// The mail for this letter. Files are opened as they are reached; when it is to be signed, all of them are read
    /// once before, since the signature over them stands at the top.
    pub(crate) async fn compose(&self, host: &Host, letter: &Letter) -> Result<Composed, Fault> {
        let parts = Arc::new(BodyParts::new(&letter.text, &letter.attachments, letter.message_id.as_str()));
        let fields = fields(letter, &parts);
        let mut head = fields.as_str().to_owned();
        let (declared, complete) = parts.declared_bytes();
        if declared.saturating_add(head.len() as u64) > self.bytes_max {
            return Err(too_large(self.bytes_max));
        }
        let mut bytes = complete.then_some(declared);
        let mut seal = None;
        if let Some(signer) = &self.signer {
            let (sealed, hash) = read_through(Body::new(host.clone(), parts.clone(), self.bytes_max, None)).await?;
            let signature = signer
                .sign(&fields, &hash, letter.date_millis.div_euclid(1000).max(0))
                .ok_or_else(|| Fault::retry("the mail could not be signed"))?;
            head.insert_str(0, &signature);
            bytes = Some(sealed.bytes);
            seal = Some(sealed);
        }
        head.push_str("\r\n");
        let left = self.bytes_max.saturating_sub(head.len() as u64);
        let bytes = bytes.map(|bytes| bytes + head.len() as u64);
        let body = Body::new(host.clone(), parts, left, seal);
        let rest = stream::try_unfold(body, |mut body| async move {
            let piece = body.next().await?;
            Ok(piece.map(|piece| (piece, body)))
        });
        Ok(Composed { bytes, pieces: Box::pin(stream::iter([Ok(Bytes::from(head))]).chain(rest)) })
    }
}

/// Reads a body to its end, for the sake of its hash alone.
async fn read_through(mut body: Body) -> Result<(Seal, Vec<u8>), Fault> {
    let mut hash = BodyHash::new();
    while let Some(piece) = body.next().await? {
        hash.write(&piece);
    }
    Ok((body.seal(), hash.finish()))
}

fn fields(letter: &Letter, parts: &BodyParts) -> Fields {
    let mut fields = Fields::default();
    fields.add("Date", [date(letter.date_millis)]);
    fields.add("From", header::mailbox(&sender_name(letter), &letter.from.address));
    let to = mailboxes(&letter.to);
    fields.add("To", if to.is_empty() { vec!["undisclosed-recipients:;".to_owned()] } else { to });
    let cc = mailboxes(&letter.cc);
    if !cc.is_empty() {
        fields.add("Cc", cc);
    }
    if let Some(address) = &letter.reply_to {
        fields.add("Reply-To", [header::address(address)]);
    }
    fields.add("Subject", header::words(&clean::subject(&letter.subject)));
    fields.add("Message-ID", [letter.message_id.as_str().to_owned()]);
    if let Some(id) = &letter.in_reply_to {
        fields.add("In-Reply-To", [id.as_str().to_owned()]);
    }
    let references = references(&letter.references);
    if !references.is_empty() {
        fields.add("References", references);
    }
    if letter.auto_submitted {
        fields.add("Auto-Submitted", ["auto-replied".to_owned()]);
        fields.add("X-Auto-Response-Suppress", ["All".to_owned()]);
    }
    let token: String = letter.loop_token.chars().filter(char::is_ascii_graphic).take(LOOP_TOKEN_BYTES_MAX).collect();
    if !token.is_empty() {
        fields.add(LOOP_FIELD, [token]);
    }
    fields.add("MIME-Version", ["1.0".to_owned()]);
    fields.add("Content-Type", parts.content_type.clone());
    fields
}

fn sender_name(letter: &Letter) -> String {
    let own = clean::display_name(&letter.from.name);
    match letter.agent_name.as_deref().map(clean::display_name).filter(|name| !name.is_empty()) {
        Some(agent) if own.is_empty() => agent,
        Some(agent) => format!("{agent} via {own}"),
        None => own,
    }
}

fn mailboxes(all: &[Mailbox]) -> Vec<String> {
    let named: Vec<(String, &Address)> =
        all.iter().filter_map(|one| Some((clean::display_name(&one.name), one.address.as_ref()?))).collect();
    header::mailboxes(named.iter().take(MAILBOXES_MAX).map(|(name, address)| (name.as_str(), *address)))
}

/// The first and the last twenty.
fn references(all: &[MessageId]) -> Vec<String> {
    let cut = all.len().saturating_sub(REFERENCES_NEWEST_MAX).max(1).min(all.len());
    let (old, new) = all.split_at(cut);
    old.first().into_iter().chain(new).map(|id| id.as_str().to_owned()).collect()
}

fn date(millis: i64) -> String {
    let written = |at: Timestamp| jiff::fmt::rfc2822::to_string(&at.to_zoned(TimeZone::UTC));
    // No mail program reads a year beyond 9999, and no clock says it.
    Timestamp::from_millisecond(millis)
        .and_then(written)
        .or_else(|_| written(Timestamp::UNIX_EPOCH))
        .expect("the epoch can be written")
}
