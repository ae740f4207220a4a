//! The rules by which a mail joins a thread: a token of ours, and an author who belongs to it. Whatever else it
//! claims opens a thread of its own, with a word about the old one.

use bridge_api::{AcceptError, ThreadId};

use crate::{
    address::Address,
    mail::{Mail, MessageId},
    subject::is_same,
    threads::{Memory, Thread},
    token::{TokenKey, looks_like_token},
    verdict::Level,
};

/// Ids of a mail that are looked up, the newest first.
const IDS_MAX: usize = 20;

/// Who wrote it, as far as it is proved.
#[derive(Clone, Debug)]
pub(crate) struct Author {
    pub(crate) address: Address,
    pub(crate) level: Level,
    /// The address was proved before.
    pub(crate) was_proved: bool,
}

impl Author {
    /// May this one speak under the address? Somebody who was proved once has to be so again.
    pub(crate) fn is_believed(&self) -> bool {
        match self.level {
            Level::Verified | Level::Weak => true,
            Level::Unverified => !self.was_proved,
            Level::Failed => false,
        }
    }
}

/// Where a mail goes.
#[derive(Debug)]
pub(crate) enum Place {
    Joins(ThreadId, Box<Thread>),
    /// A new thread, and the old one that the mail speaks of.
    Opens {
        about: Option<ThreadId>,
    },
}

/// What a mail says of earlier ones.
#[derive(Debug, Default)]
pub(crate) struct Claims {
    /// What may be tokens of ours, the best first.
    pub(crate) tokens: Vec<String>,
    /// Mails of strangers, the newest first.
    pub(crate) ids: Vec<MessageId>,
}

/// Reads the claims: details of our addresses, then `In-Reply-To`, then `References` from behind.
pub(crate) fn claims(mail: &Mail, details: &[String], hostname: &str) -> Claims {
    let mut claims =
        Claims { tokens: details.iter().filter(|text| looks_like_token(text)).cloned().collect(), ids: Vec::new() };
    for id in mail.in_reply_to.iter().chain(mail.references.iter().rev()).take(IDS_MAX) {
        let (left, right) = id.halves();
        if right.eq_ignore_ascii_case(hostname) && looks_like_token(left) {
            claims.tokens.push(left.to_owned());
        } else {
            claims.ids.push(id.clone());
        }
    }
    claims.tokens.dedup();
    claims
}

pub(crate) async fn resolve(
    memory: &Memory<'_>,
    key: &TokenKey,
    author: &Author,
    claims: &Claims,
    subject: &str,
) -> Result<Place, AcceptError> {
    let mut about = None;
    for token in claims.tokens.iter().take(IDS_MAX) {
        let Some(id) = memory.thread_of_token(key, token).await? else { continue };
        let Some(thread) = memory.thread(&id).await? else { continue };
        if thread.has(&author.address) && author.is_believed() {
            return Ok(Place::Joins(id, Box::new(thread)));
        }
        about.get_or_insert(id);
    }
    if about.is_none() {
        for id in &claims.ids {
            if let Some(known) = memory.known(id).await? {
                about = Some(known.thread);
                break;
            }
        }
    }
    if about.is_none()
        && let Some(last) = memory.last(&author.address).await?
        && is_same(&last.subject, subject)
    {
        about = Some(last.thread);
    }
    Ok(Place::Opens { about })
}
