//! Mails that wait to be examined: each sender's in the order in which they came, and no sender behind another. Pure.

use std::collections::{HashMap, HashSet, VecDeque};

use bridge_api::KeptId;

use crate::{address::Address, envelope::Envelope, token::looks_like_token};

/// Mails in memory; the rest waits in the spool.
const MAILS_MAX: usize = 10_000;
/// Mails of one sender that one examiner is given at once.
const AT_ONCE_MAX: usize = 4;

type Mail = (KeptId, Envelope);

#[derive(Debug)]
pub(super) struct Queue {
    separator: char,
    /// Those that wait, by sender; also senders at work, with what came meanwhile.
    senders: HashMap<String, VecDeque<Mail>>,
    /// Whose turn it is.
    turns: VecDeque<String>,
    working: HashSet<String>,
    /// Those that are not entered yet, wherever they are.
    known: HashSet<KeptId>,
    /// Those that the last look through the spool has found: they may be told of once more.
    found: HashSet<KeptId>,
}

impl Queue {
    /// For addresses whose details stand behind this separator.
    pub(super) fn new(separator: char) -> Self {
        let (senders, turns, working, known, found) = Default::default();
        Self { separator, senders, turns, working, known, found }
    }

    pub(super) fn has_room(&self) -> bool {
        self.known.len() < MAILS_MAX
    }
    /// The time to look for more: a look reads the whole spool.
    pub(super) fn runs_low(&self) -> bool {
        self.known.len() < MAILS_MAX / 4
    }

    pub(super) fn begin_look(&mut self) {
        self.found.clear();
    }
    /// A mail that is in the spool.
    pub(super) fn find(&mut self, id: KeptId, envelope: Envelope) {
        self.push(id.clone(), envelope);
        self.found.insert(id);
    }

    /// One that is here already is not taken twice.
    pub(super) fn push(&mut self, id: KeptId, envelope: Envelope) {
        if self.found.contains(&id) || !self.known.insert(id.clone()) {
            return;
        }
        let sender = self.order_of(&envelope);
        let mails = self.senders.entry(sender.clone()).or_default();
        mails.push_back((id, envelope));
        if mails.len() == 1 && !self.working.contains(&sender) {
            self.turns.push_back(sender);
        }
    }

    /// What a mail must not overtake: those to the same signed address, else those of the same sender, else what the same
    /// client brings without any.
    fn order_of(&self, envelope: &Envelope) -> String {
        let detail = |address: &Address| {
            let detail = address.split_detail(self.separator).1?;
            looks_like_token(detail).then(|| detail.to_ascii_lowercase())
        };
        match (envelope.recipients.iter().find_map(detail), &envelope.sender) {
            (Some(token), _) => token,
            (None, Some(sender)) => sender.folded(),
            (None, None) => envelope.client.to_string(),
        }
    }

    /// The mails of the sender whose turn it is.
    pub(super) fn next(&mut self) -> Option<(String, Vec<Mail>)> {
        let sender = self.turns.pop_front()?;
        let waiting = self.senders.get_mut(&sender)?;
        let mails: Vec<Mail> = waiting.drain(..waiting.len().min(AT_ONCE_MAX)).collect();
        if waiting.is_empty() {
            self.senders.remove(&sender);
        }
        self.working.insert(sender.clone());
        Some((sender, mails))
    }

    /// The mails of this sender were examined, and others of theirs may be.
    pub(super) fn done(&mut self, sender: &str) {
        self.working.remove(sender);
        if self.senders.contains_key(sender) {
            self.turns.push_back(sender.to_owned());
        }
    }

    /// They were entered, and are no longer in the spool.
    pub(super) fn forget(&mut self, ids: &[KeptId]) {
        for id in ids {
            self.known.remove(id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn envelope(sender: &str) -> Envelope {
        Envelope {
            client: "192.0.2.1".parse().unwrap(),
            helo: "cust.test".into(),
            protocol: "ESMTP".into(),
            sender: Address::parse(sender),
            recipients: vec![Address::parse("support@acme.test").unwrap()],
            received_millis: 0,
            bytes: 1,
        }
    }

    fn ids(mails: &[Mail]) -> Vec<&str> {
        mails.iter().map(|(id, _)| id.as_str()).collect()
    }

    #[test]
    fn a_sender_is_with_one_examiner_at_a_time_and_nobody_waits_behind_another() {
        let mut queue = Queue::new('+');
        for (id, sender) in [("1", "ada@x.test"), ("2", "ADA@x.test"), ("3", "bob@x.test"), ("4", "")] {
            queue.push(KeptId::from(id), envelope(sender));
            queue.push(KeptId::from(id), envelope(sender));
        }
        let (ada, mails) = queue.next().unwrap();
        assert_eq!(ids(&mails), ["1", "2"]);
        queue.push("5".into(), envelope("ada@x.test"));
        queue.push("1".into(), envelope("ada@x.test"));
        assert_eq!(ids(&queue.next().unwrap().1), ["3"]);
        assert_eq!(ids(&queue.next().unwrap().1), ["4"], "the null sender is one, too");
        assert!(queue.next().is_none(), "ada's are being examined");
        queue.done(&ada);
        assert_eq!(ids(&queue.next().unwrap().1), ["5"]);
    }

    #[test]
    fn mails_to_one_signed_address_keep_their_order_whoever_their_servers_say_they_are_from() {
        let mut queue = Queue::new('+');
        let token = "a".repeat(crate::token::TOKEN_LETTERS);
        for (id, sender) in [("1", "bounce-1@esp.test"), ("2", "bounce-2@esp.test")] {
            let recipients = vec![Address::parse(&format!("support+{token}@acme.test")).unwrap()];
            queue.push(id.into(), Envelope { recipients, ..envelope(sender) });
        }
        assert_eq!(ids(&queue.next().unwrap().1), ["1", "2"]);
    }

    #[test]
    fn a_mail_that_was_found_is_not_taken_again_when_it_is_told_of() {
        let mut queue = Queue::new('+');
        queue.begin_look();
        queue.find("1".into(), envelope("ada@x.test"));
        let (ada, mails) = queue.next().unwrap();
        assert_eq!(ids(&mails), ["1"]);
        queue.done(&ada);
        queue.forget(&["1".into()]);
        queue.push("1".into(), envelope("ada@x.test"));
        assert!(queue.next().is_none());
    }

    #[test]
    fn a_flood_goes_in_portions_and_has_an_end() {
        let mut queue = Queue::new('+');
        for number in 0..MAILS_MAX {
            assert!(queue.has_room());
            queue.push(KeptId::from(format!("{number:05}")), envelope("ada@x.test"));
        }
        assert!(!queue.has_room());
        queue.push("z".into(), envelope("bob@x.test"));
        let (ada, mails) = queue.next().unwrap();
        assert_eq!(mails.len(), AT_ONCE_MAX);
        queue.done(&ada);
        assert_eq!(ids(&queue.next().unwrap().1), ["z"], "the others' turn comes first");
        assert!(!queue.has_room(), "they are not entered yet");
        queue.forget(&mails.into_iter().map(|(id, _)| id).chain(["z".into()]).collect::<Vec<_>>());
        assert!(queue.has_room() && !queue.runs_low());
    }
}
