//! A mail as the gateway is told of it. Pure.

use std::collections::BTreeMap;

use bridge_api::{Attachment, EventId, Holder, Inbound, KeptId, Message, Peer, PeerId, Report, Speaker, ThreadId};
use sha2::{Digest, Sha256};

use super::examine::Content;
use crate::{
    address::Address,
    envelope::Envelope,
    mail::{Mail, Mailbox, RAW_MAIL, WHOLE_TEXT, escaped},
    threads::{Author, Thread},
    verdict::{Level, Verdict},
};

/// Files of one message: the inbox takes no more.
const FILES_MAX: usize = 15;
/// Letters of a mail's text that are shown: the inbox takes 150 000, and what stands around the text needs some.
const TEXT_CHARS_MAX: usize = 140_000;
/// Before the address of somebody who is not proved to have it.
const UNPROVED: &str = "unproved/";
/// Addresses that a fact or a line names.
const NAMED_MAX: usize = 20;

/// What a mail has become, before it is told.
pub(super) struct Told<'a> {
    pub(super) id: &'a KeptId,
    pub(super) envelope: &'a Envelope,
    pub(super) content: &'a Content,
    pub(super) event: &'a str,
    pub(super) thread: &'a ThreadId,
    pub(super) author: &'a Author,
    /// As it was before this mail; `None` for a new one.
    pub(super) before: Option<&'a Thread>,
    /// An old thread that the mail speaks of.
    pub(super) about: Option<&'a ThreadId>,
    /// Why a robot must have written it.
    pub(super) robot: Option<&'a str>,
    pub(super) list: Option<&'a str>,
    /// Proofs are not asked for at all.
    pub(super) unasked: bool,
    pub(super) attach_whole_text: bool,
}

impl Told<'_> {
    fn mail(&self) -> &Mail {
        &self.content.mail
    }

    /// The messages and notes, in their order.
    pub(super) fn events(&self) -> Vec<Inbound> {
        let files = self.files();
        let count = files.len().div_ceil(FILES_MAX).max(1);
        let mut events = Vec::new();
        for number in 0..count {
            let attachments: Vec<Attachment> = files.iter().skip(number * FILES_MAX).take(FILES_MAX).cloned().collect();
            let text = if number == 0 { self.text() } else { format!("({}/{count})", number + 1) };
            let suffix = if number == 0 { String::new() } else { format!("/{number}") };
            events.push(self.inbound(&suffix, Report::Message(self.message(text, attachments))));
        }
        if let Some(text) = self.warning() {
            events.push(self.inbound("/proof", Report::Note { text, see: None }));
        }
        if let Some(about) = self.about {
            let text =
                "This mail speaks of an earlier conversation, but does not prove that it belongs there:".to_owned();
            events.push(self.inbound("/about", Report::Note { text, see: Some(about.clone()) }));
        }
        events
    }

    fn inbound(&self, suffix: &str, report: Report) -> Inbound {
        Inbound {
            event: EventId::from(format!("{}{suffix}", self.event)),
            at_millis: self.envelope.received_millis,
            thread: self.thread.clone(),
            report,
        }
    }

    fn message(&self, text: String, attachments: Vec<Attachment>) -> Message {
        // Files cannot go with a note.
        let quiet = self.robot.is_some() && self.before.is_some() && attachments.is_empty();
        Message {
            // One who was copied in speaks in the conversation of whoever began it.
            peer: self.before.map_or_else(|| self.peer(), |thread| thread.peer.clone()),
            speaker: Speaker::Peer,
            text,
            attachments,
            quiet,
            reply_to: None,
            facts: self.facts(),
            thread_facts: BTreeMap::from([("subject".to_owned(), self.mail().subject.clone())]),
        }
    }

    /// Somebody whose address is not proved is never taken for the one whose it is.
    pub(super) fn peer(&self) -> Peer {
        let Author { address, level, .. } = self.author;
        let shown = self.mail().from.first().map(|from| from.name.clone()).filter(|name| !name.is_empty());
        let folded = address.folded();
        let id = match level {
            Level::Verified | Level::Weak => folded,
            Level::Unverified if self.unasked => folded,
            Level::Unverified | Level::Failed => format!("{UNPROVED}{folded}"),
        };
        let mut facts = self.content.verdict.contact_facts();
        facts.insert("mail_address".to_owned(), address.to_string());
        Peer {
            id: PeerId::from(shortened(id)),
            name: shown.unwrap_or_else(|| address.to_string().chars().take(64).collect()),
            facts,
            email: (*level == Level::Verified).then(|| address.to_string()),
            picture: None,
        }
    }

    fn facts(&self) -> BTreeMap<String, String> {
        let mail = self.mail();
        let mut facts = self.content.verdict.facts();
        facts.insert("subject".to_owned(), mail.subject.clone());
        for (name, people) in [("to", &mail.to), ("cc", &mail.cc), ("reply_to", &mail.reply_to)] {
            if !people.is_empty() {
                facts.insert(name.to_owned(), listed(people));
            }
        }
        if let Some(id) = &mail.message_id {
            facts.insert("message_id".to_owned(), id.as_str().to_owned());
        }
        for (name, value) in [("automatic", self.robot), ("list", self.list)] {
            if let Some(value) = value {
                facts.insert(name.to_owned(), value.to_owned());
            }
        }
        facts
    }

    /// What agents read: the subject where it is new, the mail, and what they should know about it.
    fn text(&self) -> String {
        let mail = self.mail();
        let mut blocks = Vec::new();
        let robot = self.robot.filter(|_| self.before.is_some());
        blocks.extend(robot.map(|robot| format!("*Automatic: {}*", escaped(robot, false))));
        blocks.extend(self.byline());
        let same = self.before.is_some_and(|thread| crate::subject::is_same(&thread.subject, &mail.subject));
        if !mail.subject.is_empty() && !same {
            blocks.push(format!("**{}**", escaped(&mail.subject, false)));
        }
        match self.cut() {
            Some(beginning) => {
                blocks.push(beginning.to_owned());
                blocks.push("*(the rest is in the file whole-text.txt)*".to_owned());
            }
            None if !mail.text.is_empty() => blocks.push(mail.text.clone()),
            None => {}
        }
        let known = |address: &Address| self.before.is_some_and(|thread| thread.has(address));
        let others: Vec<Mailbox> =
            mail.cc.iter().filter(|one| one.address.as_ref().is_none_or(|address| !known(address))).cloned().collect();
        if !others.is_empty() {
            blocks.push(format!("*Cc: {}*", escaped(&listed(&others), false)));
        }
        if let Some(other) = answers_elsewhere(mail, &self.author.address) {
            blocks.push(format!("*Answers are asked for at {}*", escaped(other.as_str(), false)));
        }
        blocks.extend(mail.notices.iter().map(|notice| format!("*{}*", escaped(notice, false))));
        if blocks.is_empty() && mail.files.is_empty() {
            blocks.push("*(an empty mail)*".to_owned());
        }
        blocks.join("\n\n")
    }

    /// The beginning of a text that is too long to be shown whole, up to a line's end where there is one.
    fn cut(&self) -> Option<&str> {
        let text = &self.mail().text;
        let (end, _) = text.char_indices().nth(TEXT_CHARS_MAX)?;
        let line = text[..end].rfind('\n').filter(|line| *line > end / 2);
        Some(text[..line.unwrap_or(end)].trim_end())
    }

    /// Who wrote it, where that is not whose conversation it is, and how far that is proved where it is not.
    fn byline(&self) -> Option<String> {
        let thread = self.before?;
        let Author { address, level, .. } = self.author;
        let is_owner = thread.peer.facts.get("mail_address").is_some_and(|owner| *owner == address.as_str());
        let doubt = match level {
            Level::Verified | Level::Weak => "",
            Level::Unverified if self.unasked || thread.peer.id.as_str().starts_with(UNPROVED) => "",
            Level::Unverified | Level::Failed => ", which is not proved",
        };
        let by = self.mail().from.first().map_or_else(|| address.to_string(), shown);
        (!is_owner || !doubt.is_empty()).then(|| format!("*Written by {}{doubt}*", escaped(&by, false)))
    }

    /// Said once, at the beginning of a thread.
    fn warning(&self) -> Option<String> {
        if self.before.is_some() || self.unasked {
            return None;
        }
        let Verdict { level, reason, .. } = &self.content.verdict;
        match level {
            Level::Verified | Level::Weak => None,
            Level::Unverified if self.author.was_proved => Some(format!(
                "Somebody writes from an address that was proved before and is not now, so this may be a forgery. {reason}"
            )),
            Level::Unverified => Some(format!("It is not proved who wrote this mail. {reason}")),
            Level::Failed => Some(format!("This mail is probably forged. {reason}")),
        }
    }

    fn files(&self) -> Vec<Attachment> {
        let mail = self.mail();
        let mut files: Vec<Attachment> = mail
            .files
            .iter()
            .map(|file| self.attachment(file.number, file.name.clone(), file.media_type.clone(), Some(file.bytes)))
            .collect();
        if mail.whole.is_some() && self.attach_whole_text || self.cut().is_some() {
            files.push(self.attachment(WHOLE_TEXT, "whole-text.txt".to_owned(), Some("text/plain".to_owned()), None));
        }
        files
    }

    fn attachment(&self, number: u32, name: String, media_type: Option<String>, size_bytes: Option<u64>) -> Attachment {
        let url = format!("{}/{}", self.id, if number == RAW_MAIL { "raw".to_owned() } else { number.to_string() });
        Attachment { name, media_type, size_bytes, url, holder: Holder::Network }
    }
}

/// Which kept mail and which of its files an attachment of ours stands for.
pub(crate) fn file_of(url: &str) -> Option<(KeptId, u32)> {
    let (id, number) = url.split_once('/')?;
    let number = if number == "raw" { RAW_MAIL } else { number.parse().ok()? };
    Some((KeptId::from(id), number))
}

/// An address other than the author's to which answers are asked for.
pub(super) fn answers_elsewhere<'a>(mail: &'a Mail, author: &Address) -> Option<&'a Address> {
    mail.reply_to.iter().find_map(|one| one.address.as_ref()).filter(|address| *address != author)
}

fn listed(people: &[Mailbox]) -> String {
    let mut named: Vec<String> = people.iter().take(NAMED_MAX).map(shown).collect();
    if people.len() > NAMED_MAX {
        named.push(format!("and {} more", people.len() - NAMED_MAX));
    }
    named.join(", ")
}

fn shown(one: &Mailbox) -> String {
    match (&one.address, one.name.as_str()) {
        (Some(address), "") => address.to_string(),
        (Some(address), name) => format!("{name} <{address}>"),
        (None, name) => name.to_owned(),
    }
}

/// Bytes of a peer's id.
const BYTES_MAX: usize = 200;

/// A longer id is told apart by its digest.
fn shortened(id: String) -> String {
    if id.len() <= BYTES_MAX {
        return id;
    }
    let digest = hex::encode(&Sha256::digest(&id)[..16]);
    format!("{}~{digest}", &id[..id.floor_char_boundary(BYTES_MAX - 40)])
}
