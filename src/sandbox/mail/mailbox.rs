//! Mails as they were taken, the newest so many of them. Knows nothing of connections, and looks into no mail.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

/// Mails that are remembered; the oldest are forgotten.
pub const MAILS_MAX: usize = 1_000;

/// What was said around a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope {
    pub client: SocketAddr,
    /// What the client called itself.
    pub hello: String,
    /// Whether it greeted by `EHLO`.
    pub extended: bool,
    pub tls: bool,
    /// Who it proved to be by `AUTH`.
    pub user: Option<String>,
    /// `MAIL FROM` without its brackets; empty for bounces.
    pub sender: String,
    /// As written, e.g. `SIZE=300` or `SMTPUTF8`.
    pub sender_parameters: Vec<String>,
    pub recipients: Vec<Recipient>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipient {
    /// Without its brackets.
    pub address: String,
    /// As written, e.g. `NOTIFY=FAILURE`.
    pub parameters: Vec<String>,
}

impl Envelope {
    pub fn addresses(&self) -> Vec<&str> {
        self.recipients.iter().map(|recipient| recipient.address.as_str()).collect()
    }
}

/// One mail that was taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReceivedMail {
    /// Counts from 1 and is never used again.
    pub number: u64,
    /// Unix time in milliseconds.
    pub at_ms: i64,
    pub envelope: Envelope,
    /// As received: no header is added, no line end is changed.
    pub raw: Bytes,
}

impl ReceivedMail {
    /// With each byte that is no UTF-8 replaced.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
    }
}

pub(super) struct Mailbox {
    mails: VecDeque<Arc<ReceivedMail>>,
    bytes: usize,
    bytes_max: usize,
    /// Mails that were ever taken.
    taken: u64,
}

impl Mailbox {
    pub(super) fn new(bytes_max: usize) -> Self {
        Self { mails: VecDeque::new(), bytes: 0, bytes_max, taken: 0 }
    }

    /// Keeps the mail and returns its number. The newest stays whatever its size, which the dialogue bounds.
    pub(super) fn keep(&mut self, at_ms: i64, envelope: Envelope, raw: Bytes) -> u64 {
        self.taken += 1;
        self.bytes += raw.len();
        self.mails.push_back(Arc::new(ReceivedMail { number: self.taken, at_ms, envelope, raw }));
        while self.mails.len() > MAILS_MAX || (self.bytes > self.bytes_max && self.mails.len() > 1) {
            let gone = self.mails.pop_front();
            self.bytes -= gone.map_or(0, |mail| mail.raw.len());
        }
        self.taken
    }

    pub(super) fn all(&self) -> impl DoubleEndedIterator<Item = &Arc<ReceivedMail>> {
        self.mails.iter()
    }

    pub(super) fn get(&self, number: u64) -> Option<&Arc<ReceivedMail>> {
        let oldest = self.mails.front()?.number;
        self.mails.get(usize::try_from(number.checked_sub(oldest)?).ok()?)
    }

    pub(super) fn taken(&self) -> u64 {
        self.taken
    }

    pub(super) fn forget_all(&mut self) {
        self.mails.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn keep(mailbox: &mut Mailbox, raw: &'static [u8]) -> u64 {
        let envelope = Envelope {
            client: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
            hello: "x".to_owned(),
            extended: true,
            tls: false,
            user: None,
            sender: String::new(),
            sender_parameters: Vec::new(),
            recipients: Vec::new(),
        };
        mailbox.keep(0, envelope, Bytes::from_static(raw))
    }

    fn numbers(mailbox: &Mailbox) -> Vec<u64> {
        mailbox.all().map(|mail| mail.number).collect()
    }

    #[test]
    fn the_oldest_go_when_there_are_too_many() {
        let mut mailbox = Mailbox::new(usize::MAX);
        for _ in 0..MAILS_MAX + 2 {
            keep(&mut mailbox, b"x");
        }
        assert_eq!(mailbox.all().count(), MAILS_MAX);
        assert_eq!(numbers(&mailbox)[0], 3);
        assert!(mailbox.get(2).is_none());
        assert_eq!(mailbox.get(3).map(|mail| mail.number), Some(3));
        assert!(mailbox.get(MAILS_MAX as u64 + 3).is_none());
        assert_eq!(mailbox.taken(), MAILS_MAX as u64 + 2);
    }

    #[test]
    fn the_oldest_go_when_they_are_too_large_together_and_the_newest_stays() {
        let mut mailbox = Mailbox::new(10);
        keep(&mut mailbox, b"12345");
        keep(&mut mailbox, b"12345");
        assert_eq!(numbers(&mailbox), [1, 2]);
        keep(&mut mailbox, b"1");
        assert_eq!(numbers(&mailbox), [2, 3]);
        keep(&mut mailbox, b"larger than all of them may be");
        assert_eq!(numbers(&mailbox), [4]);
        keep(&mut mailbox, b"1");
        assert_eq!(numbers(&mailbox), [5]);
    }

    #[test]
    fn numbers_go_on_after_all_was_forgotten() {
        let mut mailbox = Mailbox::new(10);
        keep(&mut mailbox, b"1");
        mailbox.forget_all();
        assert!(mailbox.get(1).is_none());
        assert_eq!(keep(&mut mailbox, b"2"), 2);
        assert_eq!(mailbox.get(2).map(|mail| mail.text()), Some("2".to_owned()));
    }
}
