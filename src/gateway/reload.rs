//! New settings for a gateway at work: what can change while it works is changed, and what cannot is named.

use std::{collections::BTreeSet, time::Duration};

use bridge_api::BridgeName;
use futures_util::future::join_all;

use super::{BridgePlan, Core};
use crate::{
    model::InboxName,
    settings::{Inbox, Settings},
};

/// What new settings mean for a gateway that runs by old ones.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Bridges that are started, or started again.
    pub started: Vec<BridgeName>,
    /// Bridges that are taken out. What waits for them is kept.
    pub removed: Vec<BridgeName>,
    /// Inboxes that are spoken to with another token from now on.
    pub tokens: Vec<InboxName>,
    /// Inboxes whose callbacks are signed by another secret from now on; the one before stays good.
    pub secrets: Vec<InboxName>,
    /// Bridges that go on, with other limits of what people may do, or other people who are blocked.
    pub gates: Vec<BridgeName>,
    /// Another token, or none, for the status page and `/admin`.
    pub admin_token: bool,
    /// Another level of the log.
    pub log_level: bool,
    /// Keys that the next start will see.
    pub at_next_start: Vec<String>,
}

impl Change {
    /// From the old settings to the new ones, for a gateway that has these inboxes.
    pub fn between(old: &Settings, new: &Settings, inboxes: &BTreeSet<String>) -> Self {
        let mut change = Self::default();
        for key in new.prints.differing(&old.prints) {
            change.take(key, (old, new), inboxes);
        }
        change
    }

    fn take(&mut self, key: String, (old, new): (&Settings, &Settings), inboxes: &BTreeSet<String>) {
        let stays = |name: &str| inboxes.contains(name) && new.inboxes.contains_key(name);
        let both =
            |name: &str| [old, new].iter().all(|settings| settings.bridges.contains_key(&BridgeName::from(name)));
        let has_secret = |settings: &Settings, name| {
            settings.inboxes.get(name).is_some_and(|inbox: &Inbox| inbox.callback_secret.is_some())
        };
        let words: Vec<&str> = key.split('.').collect();
        match words[..] {
            ["bridges", name, "peer_burst" | "peer_pause_millis" | "new_per_peer_hour" | "new_per_day" | "blocked"]
                if both(name) =>
            {
                push_once(&mut self.gates, BridgeName::from(name));
            }
            ["bridges", name, ..] => {
                let name = BridgeName::from(name);
                match new.bridges.get(&name) {
                    // An inbox that came with the new settings is not there yet.
                    Some(entry) if !inboxes.contains(&entry.inbox) => self.at_next_start.push(key),
                    Some(_) => push_once(&mut self.started, name),
                    None => push_once(&mut self.removed, name),
                }
            }
            ["inboxes", name, "api_access_token"] if stays(name) => self.tokens.push(InboxName::new(name)),
            ["inboxes", name, "callback_secret" | "callback_secret_before"]
                if stays(name) && has_secret(old, name) && has_secret(new, name) =>
            {
                push_once(&mut self.secrets, InboxName::new(name));
            }
            ["gateway", "admin_token"] => self.admin_token = true,
            ["log", "level"] => self.log_level = true,
            _ => self.at_next_start.push(key),
        }
    }

    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

fn push_once<N: PartialEq>(names: &mut Vec<N>, name: N) {
    if !names.contains(&name) {
        names.push(name);
    }
}

impl Core {
    /// Makes the change. Bridges that it does not name go on undisturbed; those that it does leave their network within
    /// `limit`, all at once.
    pub async fn change(&self, change: &Change, (old, new): (&Settings, &Settings), limit: Duration) {
        for inbox in &change.tokens {
            let (client, token) = (self.client(inbox), &new.inboxes[inbox.as_str()].api_access_token);
            // Settings that were read say what a token may look like.
            if let Some(Err(fault)) = client.map(|client| client.use_token(token)) {
                tracing::error!(inbox = inbox.as_str(), fault = fault.to_string(), "the new token is not used");
            }
        }
        for inbox in &change.secrets {
            self.sign_by(inbox, (&old.inboxes[inbox.as_str()], &new.inboxes[inbox.as_str()]));
        }
        if change.admin_token {
            self.front().admin.use_token(new.gateway.admin_token.clone());
        }
        let plan = |settings: &Settings, name: &BridgeName| {
            settings.bridges.get(name).map(|entry| BridgePlan::of(name, entry))
        };
        let _turn = self.seats().turn.lock().await;
        let stays = change.gates.iter().filter(|name| !change.started.contains(name));
        stays.filter_map(|name| plan(new, name)).for_each(|plan| self.seats().go_by(&plan));
        let started = change.started.iter().filter_map(|name| plan(new, name));
        let removed: Vec<_> = change.removed.iter().filter_map(|name| plan(old, name)).collect();
        join_all(removed.iter().map(|plan| self.seats().empty(plan, limit))).await;
        join_all(started.map(|plan| self.seats().replace(plan, limit))).await;
    }

    /// What was good before stays good until the next change: callbacks that were queued bear the old signature.
    fn sign_by(&self, inbox: &InboxName, (old, new): (&Inbox, &Inbox)) {
        let good = [&new.callback_secret, &new.callback_secret_before, &old.callback_secret];
        if let Some(secrets) = self.secrets(inbox) {
            secrets.send_replace(good.into_iter().flatten().cloned().collect());
        } else {
            // It was started without one in the settings, and has it from the inbox.
            tracing::warn!(inbox = inbox.as_str(), "the secret of the settings is used from the next start on");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{bridges::Registry, settings};

    const OLD: &str = r#"
[inboxes.support]
url = "http://desk"
account_id = 1
inbox_id = 7
api_access_token = "old"

[bridges.libera]
kind = "irc"
inbox = "support"
server = "irc.example"
nick = "acme"

[bridges.oftc]
kind = "irc"
inbox = "support"
server = "irc.example"
nick = "acme"
"#;

    fn read(text: &str) -> Settings {
        settings::load_text("test", text, std::iter::empty(), &Registry::standard()).unwrap()
    }

    fn change(edit: impl Fn(String) -> String) -> Change {
        Change::between(&read(OLD), &read(&edit(OLD.to_owned())), &BTreeSet::from(["support".to_owned()]))
    }

    #[test]
    fn what_is_written_the_same_is_no_change() {
        assert!(change(|text| text.replace("irc.example", "irc.example\" # a comment\n#")).is_empty());
    }

    #[test]
    fn only_the_bridge_that_changed_is_started_again() {
        let changed = change(|text| text.replacen("nick = \"acme\"", "nick = \"acme-help\"\nusername = \"x\"", 1));
        assert_eq!(changed, Change { started: vec!["libera".into()], ..Change::default() });
    }

    #[test]
    fn a_bridge_may_come_and_another_go() {
        let changed = change(|text| text.replace("[bridges.oftc]", "[bridges.ergo]"));
        let expected = Change { started: vec!["ergo".into()], removed: vec!["oftc".into()], ..Change::default() };
        assert_eq!(changed, expected);
    }

    #[test]
    fn a_token_is_changed_at_once_and_an_address_at_the_next_start() {
        let changed = change(|text| text.replace("\"old\"", "\"new\"").replace("http://desk", "http://other"));
        let expected = Change {
            tokens: vec![InboxName::new("support")],
            at_next_start: vec!["inboxes.support.url".to_owned()],
            ..Change::default()
        };
        assert_eq!(changed, expected);
    }

    #[test]
    fn a_secret_is_changed_at_once_where_there_was_one_and_so_is_the_level_of_the_log() {
        let with = |secret: &str| OLD.replace("\"old\"", &format!("\"old\"\ncallback_secret = \"{secret}\""));
        let inboxes = BTreeSet::from(["support".to_owned()]);
        let both = Change::between(&read(&with("one")), &read(&(with("two") + "[log]\nlevel = \"debug\"\n")), &inboxes);
        let expected = Change { secrets: vec![InboxName::new("support")], log_level: true, ..Change::default() };
        assert_eq!(both, expected);
        let first = change(|_| with("one"));
        assert_eq!(first.at_next_start, ["inboxes.support.callback_secret"]);
    }

    #[test]
    fn limits_masks_and_the_admin_token_change_while_everything_goes_on() {
        let limits = "nick = \"acme\"\nblocked = [\"*@spam.example\"]\nnew_per_day = 7\npeer_burst = 3";
        let changed = change(|text| text.replacen("nick = \"acme\"", limits, 1) + "[gateway]\nadmin_token = \"t\"\n");
        let expected = Change { gates: vec!["libera".into()], admin_token: true, ..Change::default() };
        assert_eq!(changed, expected);
        let both = change(|text| text.replacen("nick = \"acme\"", "nick = \"other\"\nnew_per_day = 7", 1));
        assert_eq!((both.started, both.gates), (vec!["libera".into()], vec!["libera".into()]));
    }

    #[test]
    fn a_bridge_to_an_inbox_that_is_new_waits_for_the_next_start() {
        let second = "[inboxes.sales]\nurl = \"http://desk\"\naccount_id = 1\ninbox_id = 8\napi_access_token = \"t\"\n";
        let changed =
            change(|text| format!("{}\n{second}", text.replacen("inbox = \"support\"", "inbox = \"sales\"", 1)));
        assert!(changed.started.is_empty(), "{changed:?}");
        assert!(changed.at_next_start.contains(&"bridges.libera.inbox".to_owned()), "{changed:?}");
    }
}
