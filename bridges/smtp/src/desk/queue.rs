//! Mails that wait to be examined: those of one sender and those of one thread in the order in which they came, and no
//! sender behind another. Pure.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use bridge_api::KeptId;

use crate::{address::Address, envelope::Envelope, token::looks_like_token};

/// Mails in memory; the rest waits in the spool.
const MAILS_MAX: usize = 10_000;
/// Mails of one sender that one examiner is given at once.
const AT_ONCE_MAX: usize = 4;

type Mail = (KeptId, Envelope);
/// Counts the mails as they come.
type Number = u64;

#[derive(Debug)]
pub(super) struct Queue {
    separator: char,
    next: Number,
    /// Those that wait.
    waiting: BTreeMap<Number, Mail>,
    /// The lines in which each stands that waits or is being examined.
    keys: HashMap<Number, Vec<String>>,
    /// What must not overtake each other, in its order: the first of each is being examined, or may be.
    lines: HashMap<String, VecDeque<Number>>,
    /// Those that are the first of all their lines: whose turn it is.
    turns: VecDeque<Number>,
    /// Those that are not entered yet, wherever they are.
    known: HashSet<KeptId>,
}

/// What one examiner was given.
#[derive(Debug)]
pub(super) struct Portion(Vec<Number>);

impl Queue {
    /// For addresses whose details stand behind this separator.
    pub(super) fn new(separator: char) -> Self {
        let (waiting, keys, lines, turns, known) = Default::default();
        Self { separator, next: 0, waiting, keys, lines, turns, known }
    }

    pub(super) fn has_room(&self) -> bool {
        self.known.len() < MAILS_MAX
    }
    /// The time to look for more: a look reads the whole spool.
    pub(super) fn runs_low(&self) -> bool {
        self.known.len() < MAILS_MAX / 4
    }

    /// One that nobody can read: it is not looked at again.
    pub(super) fn set_aside(&mut self, id: KeptId) {
        self.known.insert(id);
    }

    /// Whether it is here, on its way to be entered, or set aside.
    pub(super) fn knows(&self, id: &KeptId) -> bool {
        self.known.contains(id)
    }

    /// One that is here already is not taken twice.
    pub(super) fn push(&mut self, id: KeptId, envelope: Envelope) {
        if !self.known.insert(id.clone()) {
            return;
        }
        let number = self.next;
        self.next += 1;
        let keys = self.keys_of(&envelope);
        for key in &keys {
            self.lines.entry(key.clone()).or_default().push_back(number);
        }
        self.keys.insert(number, keys);
        self.waiting.insert(number, (id, envelope));
        if self.is_behind(number, &[]) {
            self.turns.push_back(number);
        }
    }

    /// What a mail must not overtake: those to the same signed address, and those of the same sender. One without a sender
    /// waits for what the same client brings without any, unless it says by its address whose it is.
    fn keys_of(&self, envelope: &Envelope) -> Vec<String> {
        let detail = |address: &Address| {
            let detail = address.split_detail(self.separator).1?;
            looks_like_token(detail).then(|| detail.to_ascii_lowercase())
        };
        let mut keys: Vec<String> = envelope.recipients.iter().filter_map(detail).collect();
        match &envelope.sender {
            Some(sender) => keys.push(sender.folded()),
            None if keys.is_empty() => keys.push(envelope.client.to_string()),
            None => {}
        }
        keys.sort();
        keys.dedup();
        keys
    }

    /// Whether nobody stands before it in its lines but these.
    fn is_behind(&self, number: Number, these: &[Number]) -> bool {
        self.keys.get(&number).into_iter().flatten().filter_map(|key| self.lines.get(key)).all(|line| {
            let first = line.iter().take(these.len() + 1).take_while(|one| these.contains(one)).count();
            line.get(first) == Some(&number)
        })
    }

    /// The mail whose turn it is, and some of those that wait for it alone.
    pub(super) fn next(&mut self) -> Option<(Portion, Vec<Mail>)> {
        let first = self.turns.pop_front()?;
        let mut numbers = vec![first];
        for line in self.keys.get(&first)?.iter().filter_map(|key| self.lines.get(key)) {
            for number in line.iter().skip(1).take(AT_ONCE_MAX) {
                let is_new = numbers.len() < AT_ONCE_MAX && !numbers.contains(number);
                if is_new && self.is_behind(*number, &numbers) {
                    numbers.push(*number);
                }
            }
        }
        let mails = numbers.iter().filter_map(|number| self.waiting.remove(number)).collect();
        Some((Portion(numbers), mails))
    }

    /// These mails were examined, and those that waited for them may be.
    pub(super) fn done(&mut self, portion: &Portion) {
        let mut keys: Vec<String> = portion.0.iter().filter_map(|number| self.keys.remove(number)).flatten().collect();
        keys.sort();
        keys.dedup();
        let mut firsts = Vec::new();
        for key in keys {
            let Some(line) = self.lines.get_mut(&key) else { continue };
            // Nobody else stands between them.
            while line.pop_front_if(|number| portion.0.contains(number)).is_some() {}
            match line.front() {
                Some(first) => firsts.push(*first),
                None => drop(self.lines.remove(&key)),
            }
        }
        firsts.sort_unstable();
        firsts.dedup();
        firsts.retain(|first| self.is_behind(*first, &[]));
        self.turns.extend(firsts);
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
    fn a_mail_waits_for_those_of_its_sender_and_for_those_of_its_thread() {
        let mut queue = Queue::new('+');
        let token = "a".repeat(crate::token::TOKEN_LETTERS);
        let to = |sender: &str, recipient: &str| Envelope {
            recipients: vec![Address::parse(recipient).unwrap()],
            ..envelope(sender)
        };
        let thread = format!("support+{token}@acme.test");
        queue.push("1".into(), to("ada@x.test", "support@acme.test"));
        let (first, mails) = queue.next().unwrap();
        assert_eq!(ids(&mails), ["1"]);
        queue.push("2".into(), to("ada@x.test", &thread));
        queue.push("3".into(), to("bob@x.test", "support@acme.test"));
        queue.push("4".into(), to("bob@x.test", &thread));
        queue.push("5".into(), to("eve@x.test", "support@acme.test"));
        let (second, mails) = queue.next().unwrap();
        assert_eq!(ids(&mails), ["3"], "bob's other one waits for ada's, which waits for hers");
        assert_eq!(ids(&queue.next().unwrap().1), ["5"]);
        queue.done(&second);
        assert!(queue.next().is_none(), "ada's first is still being examined");
        queue.done(&first);
        assert_eq!(ids(&queue.next().unwrap().1), ["2", "4"]);
    }

    proptest::proptest! {
        #[test]
        fn no_mail_overtakes_another_and_none_is_left(mails in proptest::collection::vec((0..3_u8, 0..4_u8), 1..40), order: u64) {
            let mut queue = Queue::new('+');
            let of = |(sender, thread): (u8, u8)| {
                let token = char::from(b'a' + thread).to_string().repeat(crate::token::TOKEN_LETTERS);
                let detail = if thread == 0 { String::new() } else { format!("+{token}") };
                let recipients = vec![Address::parse(&format!("support{detail}@acme.test")).unwrap()];
                Envelope { recipients, ..envelope(&format!("{sender}@x.test")) }
            };
            for (number, mail) in mails.iter().enumerate() {
                queue.push(KeptId::from(number.to_string()), of(*mail));
            }
            let (mut working, mut examined, mut order) = (Vec::new(), Vec::new(), order);
            loop {
                working.extend(std::iter::from_fn(|| queue.next()));
                if working.is_empty() {
                    break;
                }
                order = order.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let (portion, portioned) = working.swap_remove((order >> 33) as usize % working.len());
                examined.extend(ids(&portioned).iter().map(|id| id.parse::<usize>().unwrap()));
                queue.done(&portion);
            }
            proptest::prop_assert_eq!(examined.len(), mails.len());
            for (at, later) in examined.iter().enumerate() {
                for earlier in &examined[..at] {
                    let ((sender, thread), (other, elsewhere)) = (mails[*later], mails[*earlier]);
                    let bound = sender == other || thread != 0 && thread == elsewhere;
                    proptest::prop_assert!(!bound || earlier < later);
                }
            }
            proptest::prop_assert!(queue.lines.is_empty() && queue.keys.is_empty() && queue.waiting.is_empty());
        }
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
