//! What is remembered: of each thread, of each mail that came, of each that went out. As JSON they are the values of
//! cursors, so fields are added with defaults and never renamed.

use bridge_api::{Cursor, Key, Peer, ThreadId};
use serde::{Deserialize, Serialize};

use crate::{address::Address, mail::MessageId, verdict::Level};

/// Ids that an answer's `References` are made of, beside the first one.
const REFERENCES_MAX: usize = 20;
/// People of one thread; more are named to the agent and get no answers.
const PEOPLE_MAX: usize = 20;

/// One conversation by mail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Thread {
    /// Of the newest mail that came.
    pub(crate) subject: String,
    /// Whose conversation it is, as the gateway was told: the first who wrote.
    pub(crate) peer: Peer,
    /// Who wrote the newest mail, and where answers to it go.
    pub(crate) author: Address,
    pub(crate) to: Address,
    #[serde(default)]
    pub(crate) to_name: String,
    /// Who else gets answers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) cc: Vec<Address>,
    /// People who asked for answers elsewhere, and where.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) elsewhere: Vec<(Address, Address)>,
    /// Who may speak in it.
    pub(crate) people: Vec<Address>,
    /// The address of ours that was written to, without detail.
    pub(crate) desk: Address,
    /// The newest mail that came.
    #[serde(default)]
    pub(crate) last: Option<MessageId>,
    /// What that one referred to, the oldest first, itself included.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) references: Vec<MessageId>,
    /// Why nothing may be answered automatically: the newest mail came from a robot.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) robot: Option<String>,
    /// The author of the newest mail was proved.
    #[serde(default)]
    pub(crate) proved: bool,
    /// Of the newest mail, Unix milliseconds.
    pub(crate) at: i64,
}

impl Thread {
    /// Before the names of the cursors that hold threads.
    pub(crate) const CURSOR: &str = "thread/";

    pub(crate) fn cursor(thread: &ThreadId) -> String {
        format!("{}{thread}", Self::CURSOR)
    }

    /// By what the people of such a thread may be looked for, and its name.
    pub(crate) fn person(cursor: &Cursor) -> Option<(Vec<String>, String)> {
        let id = cursor.name.strip_prefix(Self::CURSOR)?;
        let thread: Self = serde_json::from_str(cursor.value.as_deref()?).ok()?;
        let mut names: Vec<String> = thread.people.iter().map(ToString::to_string).collect();
        names.extend([thread.peer.name, thread.to_name]);
        Some((names, id.to_owned()))
    }

    pub(crate) fn has(&self, address: &Address) -> bool {
        self.people.contains(address)
    }

    /// A mail of the thread came: what an answer will refer to.
    pub(crate) fn refer(&mut self, message_id: Option<&MessageId>, earlier: &[MessageId]) {
        let Some(message_id) = message_id else { return };
        let mut chain: Vec<MessageId> =
            if earlier.is_empty() { std::mem::take(&mut self.references) } else { earlier.to_vec() };
        chain.retain(|id| id != message_id);
        chain.push(message_id.clone());
        if chain.len() > REFERENCES_MAX + 1 {
            chain.drain(1..chain.len() - REFERENCES_MAX);
        }
        self.references = chain;
        self.last = Some(message_id.clone());
    }

    /// Somebody of the thread wrote: answers go to them from now on, and to whoever wrote before as a copy.
    pub(crate) fn turn_to(&mut self, author: &Address, to: &Address, name: String) {
        let before = std::mem::replace(&mut self.to, to.clone());
        let is_another = self.author != *author || !self.elsewhere.contains(&(author.clone(), before.clone()));
        if is_another && !self.cc.contains(&before) {
            self.cc.push(before);
        }
        self.author = author.clone();
        self.to_name = name;
        self.move_answers(author, to);
        let Self { cc, to, author, .. } = self;
        cc.retain(|one| one != to && one != author);
        cc.drain(..cc.len().saturating_sub(PEOPLE_MAX));
    }

    /// Where answers to this one went before, they go no more: or with every other address there would be one more. What
    /// was somebody's own address before stays theirs.
    fn move_answers(&mut self, author: &Address, to: &Address) {
        let known = self.elsewhere.iter().position(|(one, _)| one == author);
        let former = known.map(|at| self.elsewhere.remove(at).1);
        if let Some(former) = former.as_ref().filter(|former| *former != to) {
            self.cc.retain(|one| one != former);
        }
        if to != author && (former.as_ref() == Some(to) || !self.has(to)) {
            self.elsewhere.push((author.clone(), to.clone()));
            self.elsewhere.drain(..self.elsewhere.len().saturating_sub(PEOPLE_MAX));
        }
    }

    /// Somebody whom a believed person of the thread brings in, and whether answers go to them, too.
    pub(crate) fn copy_in(&mut self, address: &Address, answered: bool) {
        if !self.has(address) && self.people.len() < PEOPLE_MAX {
            self.people.push(address.clone());
            if answered && self.cc.len() < PEOPLE_MAX {
                self.cc.push(address.clone());
            }
        }
    }
}

/// A mail that came, found by its Message-ID: so that a second copy is known, and a reference can be followed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Known {
    pub(crate) thread: ThreadId,
    /// The mails with this Message-ID: some senders use one twice.
    pub(crate) copies: Vec<Copy>,
    pub(crate) at: i64,
}

/// What tells one mail from another under the same Message-ID.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Copy {
    /// Of its author, its subject and its body.
    pub(crate) digest: String,
    /// As it says, else when it came, Unix milliseconds.
    pub(crate) date: i64,
    /// How far its author was proved.
    pub(crate) level: Level,
}

/// Two mails that say the same are one when their dates are no further apart: some programs date a mail anew when they
/// send it again.
const SAME_DATE_MILLIS: i64 = 3600 * 1000;

impl Known {
    /// Whether this mail was here before, from somebody at least as well proved: a forged copy takes no real one's place.
    pub(crate) fn has(&self, mail: &Copy) -> bool {
        self.copies.iter().any(|known| {
            known.digest == mail.digest
                && known.date.abs_diff(mail.date) <= SAME_DATE_MILLIS as u64
                && known.level >= mail.level
        })
    }
}

/// The newest thread of one author.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Last {
    pub(crate) thread: ThreadId,
    pub(crate) subject: String,
    pub(crate) at: i64,
}

/// A mail of ours, found by its token.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SentMail {
    pub(crate) key: Key,
    pub(crate) thread: ThreadId,
    /// Of its first attempt: the date that it bears at each.
    pub(crate) at: i64,
    /// Whom it is for. `None`: it went out before this was remembered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<Address>,
    /// Who got copies.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) cc: Vec<Address>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: usize) -> MessageId {
        MessageId::parse(&format!("<{number}@cust.test>")).unwrap()
    }

    fn thread() -> Thread {
        let ada = Address::parse("ada@cust.test").unwrap();
        Thread {
            subject: "Help".into(),
            peer: Peer {
                id: "ada".into(),
                name: "Ada".into(),
                facts: std::collections::BTreeMap::new(),
                email: None,
                picture: None,
            },
            author: ada.clone(),
            to: ada.clone(),
            to_name: "Ada".into(),
            cc: Vec::new(),
            elsewhere: Vec::new(),
            people: vec![ada],
            desk: Address::parse("support@acme.test").unwrap(),
            last: None,
            references: Vec::new(),
            robot: None,
            proved: true,
            at: 0,
        }
    }

    #[test]
    fn references_keep_the_first_and_the_newest() {
        let mut thread = thread();
        thread.refer(Some(&id(0)), &[]);
        thread.refer(None, &[]);
        thread.refer(Some(&id(1)), &[]);
        assert_eq!(thread.references, [id(0), id(1)], "a mail that names none continues the thread all the same");
        let earlier: Vec<_> = (0..40).map(id).collect();
        thread.refer(Some(&id(40)), &earlier);
        assert_eq!((thread.references.len(), &thread.references[0]), (21, &id(0)));
        assert_eq!((thread.references.last(), &thread.last), (Some(&id(40)), &Some(id(40))));
    }

    #[test]
    fn answers_go_to_whoever_wrote_and_a_copy_to_everybody_else() {
        let (ada, bob, list) = ("ada@cust.test", "bob@cust.test", "list@cust.test");
        let address = |text| Address::parse(text).unwrap();
        let mut thread = thread();
        thread.copy_in(&address(bob), true);
        for (author, to, expected) in [
            (bob, bob, [bob, ada].as_slice()),
            (ada, ada, &[ada, bob]),
            (ada, list, &[list, bob]),
            (bob, bob, &[bob, list]),
        ] {
            thread.turn_to(&address(author), &address(to), String::new());
            let all: Vec<_> = std::iter::once(&thread.to).chain(&thread.cc).map(Address::as_str).collect();
            assert_eq!(all, expected, "{author}");
        }
    }

    #[test]
    fn who_asks_for_answers_elsewhere_again_and_again_gets_them_at_one_address() {
        let address = |text: &str| Address::parse(text).unwrap();
        let (ada, bob, eve) = (address("ada@cust.test"), address("bob@cust.test"), address("eve@cust.test"));
        let mut thread = thread();
        thread.copy_in(&bob, true);
        thread.copy_in(&eve, true);
        for number in 0..50 {
            let to = address(&format!("ada-{number}@cust.test"));
            thread.turn_to(&ada, &to, String::new());
            thread.copy_in(&to, false);
            thread.turn_to(&bob, &bob, String::new());
            assert_eq!(thread.cc, [eve.clone(), to], "{number}");
        }
        // What is eve's own stays hers.
        thread.turn_to(&ada, &eve, String::new());
        assert_eq!(thread.cc, std::slice::from_ref(&bob));
        thread.turn_to(&ada, &ada, String::new());
        assert_eq!(thread.cc, [bob.clone(), eve]);
        thread.cc = (0..50).map(|number| address(&format!("old{number}@cust.test"))).collect();
        thread.turn_to(&bob, &bob, String::new());
        assert_eq!((thread.cc.len(), thread.cc.last()), (PEOPLE_MAX, Some(&ada)), "kept by an earlier version");
    }

    #[test]
    fn a_thread_has_room_for_so_many_people() {
        let mut thread = thread();
        for number in 0..PEOPLE_MAX + 5 {
            thread.copy_in(&Address::parse(&format!("p{number}@cust.test")).unwrap(), true);
        }
        thread.copy_in(&Address::parse("P0@cust.test").unwrap(), true);
        assert_eq!((thread.people.len(), thread.cc.len()), (PEOPLE_MAX, PEOPLE_MAX - 1));
    }
}
