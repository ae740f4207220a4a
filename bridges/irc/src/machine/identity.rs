//! Who wrote this line, and is the person behind a nick still the one we know? The security core.
//!
//! A nick proves nothing. A line belongs to the account that the server put on it, else to the
//! session that its connection is proved to be. What cannot be proved is somebody new.

use bridge_api::{Cursor, PeerId};
use serde::{Deserialize, Serialize};

use super::{Machine, Output, people::Record, presence::Account, whois::Answer};

/// One line that somebody wrote to us, with all that is needed to report it later.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Spoken {
    pub(super) event: String,
    pub(super) at_millis: i64,
    pub(super) nick: String,
    pub(super) user: String,
    pub(super) host: String,
    /// The account on the line itself, or as seen in a shared channel.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) account: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) account_id: Option<String>,
    /// As the server writes it; `None` for a direct message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) channel: Option<String>,
    /// Markdown.
    pub(super) text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reply_to: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) decoded_as: Option<String>,
    #[serde(default)]
    pub(super) bot: bool,
    /// Read from the network's history.
    #[serde(skip)]
    pub(super) old: bool,
}

/// A stored fact about how a contact is known, shown to agents.
const NOT_PROVED: &str = "may be the same person as before under this nick, which could not be proved";

impl Machine {
    /// Finds out whose line it is: reports it now, or keeps it until WHOIS has answered.
    pub(super) fn attribute(&mut self, spoken: Spoken) {
        if let Some(account) = spoken.account.clone()
            && let Some(id) = self.people.account(&self.link.fold(&account))
        {
            let id = self.same_account_or_other(id, &account, &spoken);
            self.report(spoken, &id, None);
            return;
        }
        let nick = self.link.fold(&spoken.nick);
        let watched = self.link.live.get(&nick).filter(|live| live.is_watched());
        let proved = watched
            .and_then(|live| live.session.clone())
            .filter(|id| self.people.of(id).is_some_and(|record| record.has_mask(&spoken.user, &spoken.host)));
        if self.held.holds(&nick) {
            self.hold(spoken);
        } else if let Some(id) = proved {
            self.report(spoken, &id, None);
        } else if self.people.session_of(&nick).is_some_and(|(_, record)| record.has_mask(&spoken.user, &spoken.host)) {
            self.hold(spoken);
        } else {
            let id = self.open_session(&spoken, None);
            self.report(spoken, &id, None);
        }
    }

    /// An account name that was registered anew is somebody else. The network's own id tells; where
    /// it has none, a name that was silent for very long may have lapsed meanwhile.
    pub(super) fn same_account_or_other(&mut self, id: PeerId, account: &str, spoken: &Spoken) -> PeerId {
        const LAPSED_MILLIS: i64 = 60 * 24 * 3_600_000;
        let Some(record) = self.people.of(&id) else { return id };
        let another = match (&record.account_id, &spoken.account_id) {
            (Some(known), Some(now)) => known != now,
            (Some(_) | None, Some(_) | None) => self.now.millis - record.seen_millis > LAPSED_MILLIS,
        };
        if !another {
            return id;
        }
        // Whoever is logged in now is not the one whom replies to the old contact are for.
        let cursor = self.people.forget(&id);
        self.save(cursor);
        tracing::info!("an account is somebody else than before");
        tracing::debug!(account, "whose account it is");
        let base: Vec<&str> = id.as_str().splitn(3, ':').take(2).collect();
        let other = PeerId::from(format!("{}:{:x}", base.join(":"), spoken.at_millis));
        let mut record = Record::new(&spoken.nick, &spoken.user, &spoken.host, self.now.millis);
        record.account = Some(account.to_owned());
        record.account_id.clone_from(&spoken.account_id);
        let cursor = self.people.open(&other, record);
        self.outputs.push_back(Output::Cursor(cursor));
        other
    }

    fn hold(&mut self, spoken: Spoken) {
        let nick = self.link.fold(&spoken.nick);
        match self.held.keep(nick.clone(), spoken, &self.link.epoch) {
            Ok(cursor) => {
                self.outputs.push_back(Output::Cursor(cursor));
                self.ask_whois(&nick, false);
            }
            // Too many wait: rather a contact that is not proved than a lost line.
            Err(spoken) => {
                let unproved = self.people.session_of(&nick).filter(|(_, record)| record.fresh);
                let id = unproved.map(|(id, _)| id.clone());
                let id = id.unwrap_or_else(|| self.open_session(&spoken, None));
                self.report(*spoken, &id, Some(NOT_PROVED));
            }
        }
    }

    /// Somebody new. The signon that tells them from the next one under this nick is asked for.
    pub(super) fn open_session(&mut self, spoken: &Spoken, proof: Option<&Answer>) -> PeerId {
        let id = PeerId::from(format!("s:{:016x}", self.rng.u64(..)));
        let mut record = Record::new(&spoken.nick, &spoken.user, &spoken.host, spoken.at_millis);
        record.seen_millis = self.now.millis;
        let nick = self.link.fold(&spoken.nick);
        match proof {
            Some(answer) => {
                record.signon = answer.signon;
                record.realname.clone_from(&answer.realname);
            }
            None => record.fresh = true,
        }
        let cursor = self.people.open(&id, record);
        self.outputs.push_back(Output::Cursor(cursor));
        if let Some(live) = self.link.live.get_mut(&nick).filter(|live| live.is_watched()) {
            live.session = Some(id.clone());
            spoken.user.clone_into(&mut live.user);
            spoken.host.clone_into(&mut live.host);
        }
        if proof.is_none() && self.is_ready() {
            if spoken.channel.is_none() {
                self.watch(&spoken.nick);
            }
            self.ask_whois(&nick, false);
        }
        id
    }

    /// A WHOIS was answered: settle what waited for it.
    pub(super) fn on_answer(&mut self, answer: &Answer) {
        let nick = self.link.fold(&answer.nick);
        if answer.nobody {
            self.link.live.remove(&nick);
        }
        let lines = self.held.take(&nick);
        let proved = self.prove_session(answer);
        let mut unproved = None;
        for (name, spoken) in lines {
            let mask_fits = answer.found && spoken.user == answer.user && spoken.host == answer.host;
            let id = match &proved {
                Some(id) if mask_fits => id.clone(),
                _ => unproved.get_or_insert_with(|| self.open_session(&spoken, mask_fits.then_some(answer))).clone(),
            };
            let remark = (!mask_fits).then_some(NOT_PROVED);
            self.report(spoken, &id, remark);
            self.outputs.push_back(Output::Cursor(Cursor::remove(name)));
        }
        self.orders_after_check(answer);
    }

    /// Whether the connection that WHOIS describes is the session we know under its nick.
    fn prove_session(&mut self, answer: &Answer) -> Option<PeerId> {
        let nick = self.link.fold(&answer.nick);
        if let Some(live) = self.link.live.get_mut(&nick) {
            live.account = answer.account.clone().map_or(Account::LoggedOut, Account::In);
        }
        let (id, record) = self.people.session_of(&nick)?;
        let id = id.clone();
        if !answer.found || !self.is_same_connection(record, answer) {
            self.stale(&nick, &id);
            return None;
        }
        let cursor = self.people.update(&id, |record| {
            record.signon = answer.signon;
            record.realname.clone_from(&answer.realname);
            record.fresh = false;
        });
        self.save(cursor);
        if let Some(live) = self.link.live.get_mut(&nick).filter(|live| live.is_watched()) {
            live.session = Some(id.clone());
            answer.user.clone_into(&mut live.user);
            answer.host.clone_into(&mut live.host);
        }
        Some(id)
    }

    pub(super) fn is_same_connection(&self, record: &Record, answer: &Answer) -> bool {
        let Some(signon) = answer.signon else { return false };
        if !record.has_mask(&answer.user, &answer.host) {
            return false;
        }
        if record.fresh {
            return !self.connected_after(signon, record.opened_millis);
        }
        record.signon == Some(signon) && record.realname == answer.realname
    }

    /// Whether a signon second is surely later than a moment on our clock.
    fn connected_after(&self, signon: i64, millis: i64) -> bool {
        const SLACK_MILLIS: i64 = 2000;
        self.link.clock_offset.is_some_and(|offset| signon * 1000 + offset > millis + SLACK_MILLIS)
    }

    /// Another connection holds the nick now.
    fn stale(&mut self, nick: &crate::isupport::Folded, id: &PeerId) {
        if let Some(live) = self.link.live.get_mut(nick)
            && live.session.as_ref() == Some(id)
        {
            live.session = None;
        }
        let cursor = self.people.update(id, |record| record.fresh = false);
        self.save(cursor);
    }

    /// After registration: what an earlier run or connection left unproved.
    pub(super) fn prove_the_held(&mut self) {
        self.held.fold_by(self.link.isupport.case_mapping());
        for nick in self.held.nicks() {
            self.ask_whois(&nick, false);
        }
    }

    pub(super) fn save(&mut self, cursor: Option<Cursor>) {
        self.outputs.extend(cursor.map(Output::Cursor));
    }

    pub(super) fn forget_the_idle(&mut self) {
        const SWEEP_EVERY_MILLIS: i64 = 10 * 60 * 1000;
        if self.now.millis < self.people.next_sweep_millis {
            return;
        }
        self.people.next_sweep_millis = self.now.millis + SWEEP_EVERY_MILLIS;
        let idle_millis = i64::from(self.settings.session_idle_hours) * 3_600_000;
        for id in self.people.idle(self.now.millis - idle_millis) {
            let cursor = self.people.forget(&id);
            self.save(cursor);
        }
    }

    pub(super) fn people_wake(&self) -> (std::time::Instant, &'static str) {
        let millis = self.people.next_sweep_millis.saturating_sub(self.now.millis).max(1000);
        (self.now.at + std::time::Duration::from_millis(millis as u64), "idle people")
    }
}
