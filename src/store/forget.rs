//! Whose traces go when a person is to be forgotten, and which rows are such traces. Pure: each store asks it about
//! what it has.

use std::collections::BTreeSet;

use bridge_api::{BridgeName, Key};
use serde::{Deserialize, Serialize};

use crate::model::{InboxName, Order, SinkName, orders};

/// Shorter words are in too many texts.
const WORD_BYTES_MIN: usize = 3;

/// A person as one bridge knows them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Whom {
    pub bridge: BridgeName,
    /// The inbox that the bridge feeds.
    pub inbox: InboxName,
    pub by: By,
    /// Also what still waits to be sent or posted.
    pub also_waiting: bool,
}

/// What of them is known.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// The name of the thread or of the person, as the network has it.
    Word(String),
    /// The whole `source_id` of the link in the inbox.
    SourceId(String),
    /// The contact's number in the inbox.
    Contact(i64),
}

/// What was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// So many wait and were not to be removed: nothing was done.
    pub refused: usize,
    pub waiting: usize,
    pub dead: usize,
    /// Records of finished work.
    pub finished: usize,
    pub sessions: usize,
    pub cursors: usize,
    pub blobs: usize,
    /// Numbers in the inbox, where copies remain.
    pub contacts: BTreeSet<i64>,
    pub conversations: BTreeSet<i64>,
    /// Why what was removed may still stand in free parts of the file.
    pub not_overwritten: Option<String>,
}

/// What was found out about a person so far.
pub(super) struct Trail<'a> {
    whom: &'a Whom,
    sink: String,
    /// Names of threads and of the person.
    words: BTreeSet<String>,
    /// Names that cursors about them bear, which are threads where there is a session of that name.
    hints: BTreeSet<String>,
    /// Each with its home.
    contacts: BTreeSet<(i64, i64)>,
    conversations: BTreeSet<i64>,
}

/// What a trail needs to know of a session.
pub(super) struct SessionRow {
    pub(super) thread: String,
    pub(super) source_id: String,
    pub(super) contact: i64,
    pub(super) conversation: i64,
    pub(super) home: i64,
}

impl<'a> Trail<'a> {
    /// Follows what leads from one to the other, until nothing new is found.
    pub(super) fn follow(whom: &'a Whom, sessions: &[SessionRow], cursors: &[(String, String)]) -> Self {
        let words = match &whom.by {
            By::Word(word) => BTreeSet::from([word.clone()]),
            By::SourceId(_) | By::Contact(_) => BTreeSet::new(),
        };
        let (hints, contacts, conversations) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
        let sink = SinkName::inbox(&whom.inbox).to_string();
        let mut trail = Self { whom, sink, words, hints, contacts, conversations };
        loop {
            let known = (trail.words.len(), trail.hints.len(), trail.contacts.len());
            for row in sessions.iter().filter(|row| trail.is_session(row)).collect::<Vec<_>>() {
                trail.words.insert(row.thread.clone());
                trail.contacts.insert((row.contact, row.home));
                trail.conversations.insert(row.conversation);
            }
            for (name, _) in cursors.iter().filter(|(name, value)| trail.is_cursor(name, value)).collect::<Vec<_>>() {
                trail.hints.extend(name.match_indices('/').map(|(at, _)| name[at + 1..].to_owned()));
            }
            if known == (trail.words.len(), trail.hints.len(), trail.contacts.len()) {
                return trail;
            }
        }
    }

    pub(super) fn is_session(&self, row: &SessionRow) -> bool {
        let is_meant = match &self.whom.by {
            By::Word(_) => false,
            By::SourceId(id) => row.source_id == *id,
            By::Contact(contact) => row.contact == *contact,
        };
        is_meant
            || self.contacts.contains(&(row.contact, row.home))
            || self.hints.contains(&row.thread)
            || self.mentions(&row.thread)
    }

    /// Of the bridge's.
    pub(super) fn is_cursor(&self, name: &str, value: &str) -> bool {
        self.mentions(name) || self.mentions(value)
    }

    /// Of the gateway's own.
    pub(super) fn is_own_cursor(&self, name: &str, value: &str) -> bool {
        let is_of_inbox = name.strip_prefix("failed/").and_then(|rest| rest.rsplit_once(':')).map(|(inbox, _)| inbox);
        let told: Option<serde_json::Value> = serde_json::from_str(value).ok();
        let conversation = told.and_then(|told| told["conversation"].as_i64());
        is_of_inbox == Some(self.whom.inbox.as_str()) && conversation.is_some_and(|id| self.conversations.contains(&id))
    }

    /// Of what waits or was given up.
    pub(super) fn is_order(&self, order: &Order) -> bool {
        let is_thread = |bridge: &BridgeName, thread: &str| *bridge == self.whom.bridge && self.words.contains(thread);
        match order {
            Order::Post { bridge, thread, message } => {
                let peer = message.peer.id.as_str();
                is_thread(bridge, thread.as_str()) || is_thread(bridge, peer)
            }
            Order::Note { bridge, thread, .. }
            | Order::Withdrawn { bridge, thread, .. }
            | Order::Resolved { bridge, thread, .. }
            | Order::Send { bridge, thread, .. } => is_thread(bridge, thread.as_str()),
            Order::Status { message, .. } => {
                message.inbox == self.whom.inbox && self.conversations.contains(&message.conversation)
            }
        }
    }

    /// Of finished work, of which no more than this is kept.
    pub(super) fn is_finished(&self, key: &Key, sink: &str, result: Option<&str>) -> bool {
        let posted = result.and_then(|result| result.split_once('/')?.0.parse().ok()).filter(|_| sink == self.sink);
        let sent = orders::message_of(&self.whom.inbox, key).map(|message| message.conversation);
        posted.or(sent).is_some_and(|id: i64| self.conversations.contains(&id))
            || key.as_str().strip_prefix(self.whom.bridge.as_str()).is_some_and(|rest| self.mentions(rest))
    }

    /// Of kept bytes, such as a whole mail.
    pub(super) fn is_blob(&self, bytes: &[u8]) -> bool {
        // What is no text keeps the text that is in it.
        self.mentions(&String::from_utf8_lossy(bytes))
    }

    pub(super) fn contacts(&self) -> BTreeSet<i64> {
        self.contacts.iter().map(|(contact, _)| *contact).collect()
    }

    pub(super) fn conversations(&self) -> BTreeSet<i64> {
        self.conversations.clone()
    }

    fn mentions(&self, text: &str) -> bool {
        self.words.iter().any(|word| mentions(text, word))
    }
}

/// Whether a name stands in a text as a whole, also as JSON writes it.
fn mentions(text: &str, word: &str) -> bool {
    let quoted = serde_json::Value::from(word).to_string();
    let inside = quoted.trim_matches('"');
    text == word || [word, inside].iter().any(|word| word.len() >= WORD_BYTES_MIN && stands_in(text, word))
}

fn stands_in(text: &str, word: &str) -> bool {
    let is_more = |c: char| c.is_alphanumeric() || "_-+.".contains(c);
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        // A full stop behind it may end a sentence, but a name goes on after it.
        let goes_on = after == Some('.') && text[at + word.len() + 1..].starts_with(char::is_alphanumeric);
        !before.is_some_and(is_more) && (!after.is_some_and(is_more) || after == Some('.') && !goes_on)
    })
}

/// The names of blobs that stand in a text.
pub(super) fn blobs_in(text: &str) -> impl Iterator<Item = &str> {
    const ID_BYTES: usize = 32;
    text.split(|c: char| !c.is_ascii_hexdigit()).filter(|word| word.len() == ID_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_found_as_a_whole_and_not_in_another() {
        for (text, word, expected) in [
            ("peer/a:ada", "a:ada", true),
            ("peer/a:adah", "a:ada", false),
            ("seen/za:ada", "a:ada", false),
            (r#"{"to":"ada@x.example","n":1}"#, "ada@x.example", true),
            (r#"{"to":"ada@x.example.org"}"#, "ada@x.example", false),
            ("write to ada@x.example.", "ada@x.example", true),
            (r#"{"nick":"a\\da"}"#, "a\\da", true),
            ("a b", "b", false),
            ("b", "b", true),
            ("From: <ada@x.example>\r\n", "ada@x.example", true),
            ("other.ada@x.example", "ada@x.example", false),
        ] {
            assert_eq!(mentions(text, word), expected, "{word} in {text}");
        }
    }

    #[test]
    fn a_trail_goes_from_an_address_to_its_threads_and_no_further() {
        let whom = Whom {
            bridge: "mail".into(),
            inbox: InboxName::new("support"),
            by: By::Word("ada@x.example".into()),
            also_waiting: false,
        };
        let session = |thread: &str, contact, conversation| SessionRow {
            thread: thread.into(),
            source_id: format!("mail/{thread}"),
            contact,
            conversation,
            home: 1,
        };
        let sessions = [session("0a1b", 7, 42), session("0c1d", 7, 43), session("0e1f", 8, 44)];
        let cursor = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let cursors = [
            cursor("thread/0a1b", r#"{"people":["ada@x.example","eve@x.example"]}"#),
            cursor("mid/99", r#"{"thread":"0c1d"}"#),
            cursor("thread/0e1f", r#"{"people":["eve@x.example"]}"#),
        ];
        let trail = Trail::follow(&whom, &sessions, &cursors);
        let theirs: Vec<_> = sessions.iter().map(|row| trail.is_session(row)).collect();
        assert_eq!(theirs, [true, true, false], "one contact has two threads");
        let theirs: Vec<_> = cursors.iter().map(|(name, value)| trail.is_cursor(name, value)).collect();
        assert_eq!(theirs, [true, true, false]);
        assert_eq!((trail.contacts(), trail.conversations()), ([7].into(), [42, 43].into()));
        let finished = |key: &str, sink: &str, result| trail.is_finished(&Key::from(key), sink, result);
        assert!(finished("mail/e1/0", "inbox:support", Some("42/9001")));
        assert!(!finished("mail/e1/0", "inbox:sales", Some("42/9001")), "another inbox counts for itself");
        assert!(finished("support:9001/43/0", "bridge:mail", None));
        assert!(!finished("support:9001/44/0", "bridge:mail", Some("x")));
        let failed = r#"{"conversation":42,"reason":"no such address"}"#;
        assert!(trail.is_own_cursor("failed/support:9001", failed));
        assert!(!trail.is_own_cursor("failed/sales:9001", failed) && !trail.is_own_cursor("mark/support", "42"));
        assert!(trail.is_blob(b"\xff\xfeFrom: Ada <ada@x.example>\r\n") && !trail.is_blob(b"From: eve@x.example"));
    }
}
