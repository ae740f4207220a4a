//! Who we have met, and by what they can be known again. Survives restarts as cursors `peer/<id>`.

use std::collections::HashMap;

use bridge_api::{Cursor, PeerId};
use serde::{Deserialize, Serialize};

use crate::isupport::{CaseMapping, Folded};

/// What is known of one contact. The nick is where to look first, never a proof.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) nick: String,
    pub(super) user: String,
    pub(super) host: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) realname: Option<String>,
    /// The second at which they connected, by the server's clock (WHOIS 317).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) signon: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) account: Option<String>,
    /// `inspircd.org/account-id`: a changed one under the same name is another person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) account_id: Option<String>,
    pub(super) opened_millis: i64,
    pub(super) seen_millis: i64,
    /// Opened on this connection, and no WHOIS was answered since.
    #[serde(skip)]
    pub(super) fresh: bool,
    #[serde(skip)]
    saved_millis: i64,
}

impl Record {
    pub(super) fn has_mask(&self, user: &str, host: &str) -> bool {
        self.user == user && self.host == host
    }
}

#[derive(Debug, Default)]
pub(super) struct People {
    records: HashMap<PeerId, Record>,
    /// The session last seen under each nick.
    sessions: HashMap<Folded, PeerId>,
    /// The contact that each account is now. A name that was registered anew is another contact.
    accounts: HashMap<Folded, PeerId>,
    mapping: CaseMapping,
    /// When to look for idle ones again.
    pub(super) next_sweep_millis: i64,
}

/// Sessions kept; the longest silent go first.
const SESSIONS_MAX: usize = 200_000;
/// `seen` is written at most this often for one contact.
const SAVE_EVERY_MILLIS: i64 = 30 * 60 * 1000;

pub(super) fn is_session(id: &PeerId) -> bool {
    id.as_str().starts_with("s:")
}

/// `a:<folded account>`, escaped so that it can stand in a thread id.
fn account_id(account: &Folded) -> Option<PeerId> {
    const ACCOUNT_BYTES_MAX: usize = 100;
    let mut id = String::from("a:");
    for c in account.as_str().chars() {
        match c {
            '%' => id.push_str("%25"),
            ':' => id.push_str("%3A"),
            '/' => id.push_str("%2F"),
            other => id.push(other),
        }
    }
    (id.len() > 2 && id.len() <= ACCOUNT_BYTES_MAX).then(|| PeerId::from(id))
}

/// Before the names of cursors that say whom we have met.
pub(crate) const PEOPLE: &str = "peer/";

/// By what such a person may be looked for, and what their threads are named by.
pub(crate) fn person(cursor: &Cursor) -> Option<(Vec<String>, String)> {
    let id = cursor.name.strip_prefix(PEOPLE)?;
    let record: Record = serde_json::from_str(cursor.value.as_deref()?).ok()?;
    let mask = format!("{}!{}@{}", record.nick, record.user, record.host);
    let names = [Some(mask), record.account, record.realname].into_iter().flatten().collect();
    Some((names, id.to_owned()))
}

impl People {
    pub(super) fn recall(&mut self, id: &str, value: &str) -> bool {
        let Ok(mut record) = serde_json::from_str::<Record>(value) else { return false };
        record.saved_millis = record.seen_millis;
        let id = PeerId::from(id);
        self.point(&id, &record);
        self.records.insert(id, record);
        true
    }

    pub(super) fn of(&self, id: &PeerId) -> Option<&Record> {
        self.records.get(id)
    }

    pub(super) fn session_of(&self, nick: &Folded) -> Option<(&PeerId, &Record)> {
        let id = self.sessions.get(nick)?;
        self.records.get(id).map(|record| (id, record))
    }

    /// Names are compared in another way from now on.
    pub(super) fn fold_by(&mut self, mapping: CaseMapping) {
        self.mapping = mapping;
        self.sessions.clear();
        self.accounts.clear();
        let mut by_age: Vec<(i64, PeerId)> = self.records.iter().map(|(id, r)| (r.seen_millis, id.clone())).collect();
        by_age.sort();
        for (_, id) in by_age {
            if let Some(record) = self.records.get(&id).cloned() {
                self.point(&id, &record);
            }
        }
    }

    fn point(&mut self, id: &PeerId, record: &Record) {
        if is_session(id) {
            self.sessions.insert(self.mapping.fold(&record.nick), id.clone());
        } else if let Some(account) = &record.account {
            self.accounts.insert(self.mapping.fold(account), id.clone());
        }
    }

    /// The contact of an account. `None` when the name cannot be one.
    pub(super) fn account(&self, account: &Folded) -> Option<PeerId> {
        self.accounts.get(account).cloned().or_else(|| account_id(account))
    }

    pub(super) fn open(&mut self, id: &PeerId, mut record: Record) -> Cursor {
        self.point(id, &record);
        let cursor = save(id, &mut record);
        self.records.insert(id.clone(), record);
        cursor
    }

    /// Changes a record; the cursor is there when it is worth a write.
    pub(super) fn update(&mut self, id: &PeerId, change: impl FnOnce(&mut Record)) -> Option<Cursor> {
        let record = self.records.get_mut(id)?;
        let before = record.clone();
        change(record);
        let renamed = before.nick != record.nick;
        let stale = record.seen_millis - record.saved_millis >= SAVE_EVERY_MILLIS;
        let changed = Record { seen_millis: 0, fresh: false, ..before }
            != Record { seen_millis: 0, fresh: false, ..record.clone() };
        let cursor = (changed || stale).then(|| save(id, record));
        if renamed {
            let record = record.clone();
            self.point(id, &record);
        }
        cursor
    }

    /// Writes down the last word of somebody; cheap when nothing else changed.
    pub(super) fn seen(&mut self, id: &PeerId, nick: &str, user: &str, host: &str, millis: i64) -> Option<Cursor> {
        let record = self.records.get_mut(id)?;
        if record.nick == nick && record.has_mask(user, host) && millis - record.saved_millis < SAVE_EVERY_MILLIS {
            record.seen_millis = record.seen_millis.max(millis);
            return None;
        }
        self.update(id, |record| {
            nick.clone_into(&mut record.nick);
            user.clone_into(&mut record.user);
            host.clone_into(&mut record.host);
            record.seen_millis = record.seen_millis.max(millis);
        })
    }

    pub(super) fn forget(&mut self, id: &PeerId) -> Option<Cursor> {
        let record = self.records.remove(id)?;
        let nick = self.mapping.fold(&record.nick);
        if self.sessions.get(&nick) == Some(id) {
            self.sessions.remove(&nick);
        }
        let account = record.account.as_ref().map(|account| self.mapping.fold(account));
        if let Some(account) = account.filter(|account| self.accounts.get(account) == Some(id)) {
            self.accounts.remove(&account);
        }
        Some(Cursor::remove(format!("peer/{id}")))
    }

    /// What was seen on a connection that is gone proves nothing on the next one.
    pub(super) fn link_lost(&mut self) {
        for record in self.records.values_mut() {
            record.fresh = false;
        }
    }

    /// Sessions silent since before `limit_millis`, and the oldest of too many.
    pub(super) fn idle(&self, limit_millis: i64) -> Vec<PeerId> {
        let mut sessions: Vec<(i64, &PeerId)> =
            self.records.iter().filter(|(id, _)| is_session(id)).map(|(id, r)| (r.seen_millis, id)).collect();
        let surplus = sessions.len().saturating_sub(SESSIONS_MAX);
        if surplus > 0 {
            sessions.sort();
        }
        let idle = sessions.iter().enumerate().filter(|(place, (seen, _))| *place < surplus || *seen < limit_millis);
        idle.map(|(_, (_, id))| (*id).clone()).collect()
    }

    /// Contacts that wrote at this moment or later, the latest first.
    pub(super) fn active_since(&self, millis: i64, most: usize) -> Vec<PeerId> {
        let active = self.records.iter().filter(|(_, record)| record.seen_millis >= millis);
        let mut active: Vec<(i64, &PeerId)> = active.map(|(id, record)| (record.seen_millis, id)).collect();
        active.sort_by(|a, b| b.cmp(a));
        active.into_iter().take(most).map(|(_, id)| id.clone()).collect()
    }

    /// The most recently seen contacts first.
    pub(super) fn recent(&self, most: usize) -> Vec<String> {
        let mut all: Vec<(i64, &str)> = self.records.values().map(|r| (r.seen_millis, r.nick.as_str())).collect();
        all.sort_by(|a, b| b.cmp(a));
        all.into_iter().take(most).map(|(_, nick)| nick.to_owned()).collect()
    }
}

fn save(id: &PeerId, record: &mut Record) -> Cursor {
    record.saved_millis = record.seen_millis;
    let value = serde_json::to_string(record).expect("a record is plain text and numbers");
    Cursor::set(format!("peer/{id}"), value)
}

impl Record {
    pub(super) fn new(nick: &str, user: &str, host: &str, millis: i64) -> Self {
        Self {
            nick: nick.to_owned(),
            user: user.to_owned(),
            host: host.to_owned(),
            realname: None,
            signon: None,
            account: None,
            account_id: None,
            opened_millis: millis,
            seen_millis: millis,
            fresh: false,
            saved_millis: millis,
        }
    }
}
