//! The inbox itself: whether it is one of ours, calls us back at the right address, and signs as we expect.

use super::{
    super::address::{same, shown, wanted},
    Known, Look, Role,
    version::SIGNS,
};
use crate::chatwoot::{CallFault, Inbox};

/// Chatwoot's words for other kinds of inboxes, in ours.
const CHANNELS: [(&str, &str); 11] = [
    ("Channel::WebWidget", "a website's"),
    ("Channel::Email", "a mailbox's"),
    ("Channel::FacebookPage", "a Facebook page's"),
    ("Channel::Instagram", "an Instagram account's"),
    ("Channel::TwitterProfile", "a Twitter account's"),
    ("Channel::TwilioSms", "an SMS number's"),
    ("Channel::Sms", "an SMS number's"),
    ("Channel::Whatsapp", "a WhatsApp number's"),
    ("Channel::Line", "a LINE account's"),
    ("Channel::Telegram", "a Telegram bot's"),
    ("Channel::Voice", "a telephone number's"),
];

/// By this Chatwoot mails agents' replies itself.
const MAILS_REPLIES: &str = "email_continuity_on_api_channel";

impl Look<'_> {
    pub(super) async fn inbox(&self, role: Role) -> Option<Inbox> {
        let tried = format!("read inbox {}", self.inbox.inbox_id);
        match self.client.inbox().await {
            Ok(inbox) if inbox.is_api() => {
                let name = inbox.name.as_deref().unwrap_or("without a name");
                self.findings.fine(tried, format!("{name:?}, an API inbox"));
                return Some(inbox);
            }
            Ok(inbox) => {
                let channel = inbox.channel_type.as_deref().unwrap_or("of no known kind");
                let whose = CHANNELS.iter().find(|(known, _)| *known == channel).map_or(channel, |(_, whose)| whose);
                let found = format!("it is {whose} ({channel}), not an API inbox");
                self.findings.failed(tried, found, self.other_inboxes(role).await);
            }
            Err(fault @ CallFault::NotFound { .. }) => {
                let found = format!("account {} has no such inbox ({fault})", self.inbox.account_id);
                self.findings.failed(tried, found, self.other_inboxes(role).await);
            }
            Err(fault) => self.fault(&tried, &fault),
        }
        None
    }

    /// Which one may have been meant.
    async fn other_inboxes(&self, role: Role) -> String {
        let known = self.client.inboxes().await.unwrap_or_default();
        let api = known.iter().filter(|inbox| inbox.is_api());
        let named: Vec<_> =
            api.map(|inbox| format!("{} ({})", inbox.id, inbox.name.as_deref().unwrap_or("without a name"))).collect();
        match (named.as_slice(), role) {
            ([], Role::Administrator) => "run `deskbridge provision`, which makes an API inbox".to_owned(),
            ([], Role::Agent) => {
                "make an API inbox, or add the token's owner to it (Settings, Inboxes, Collaborators)".to_owned()
            }
            (named, _) => format!("set `inbox_id` to one of the API inboxes: {}", named.join(", ")),
        }
    }

    pub(super) fn callback_address(&self, inbox: &Inbox) {
        let tried = "compare the inbox's callback address";
        let theirs = inbox.webhook_url.as_deref().unwrap_or_default();
        let Some(public_url) = &self.settings.gateway.public_url else {
            let theirs = if theirs.is_empty() { "none".to_owned() } else { shown(theirs) };
            return self
                .findings
                .skipped(tried, format!("it is {theirs}; `gateway.public_url` is not set to compare it with"));
        };
        let ours = wanted(public_url, self.name, self.inbox);
        let change = "run `deskbridge provision`, or set it in the inbox's configuration in Chatwoot";
        if theirs.is_empty() {
            return self.findings.failed(
                tried,
                format!("it has none, so nothing is called back; ours is {}", shown(&ours)),
                change,
            );
        }
        if same(theirs, &ours) {
            return self.findings.fine(tried, shown(&ours));
        }
        let (mine, other) = (shown(&ours), shown(theirs));
        let found = if mine == other {
            format!("it is {other} with another token than ours")
        } else {
            format!("it is {other}, and ours is {mine}")
        };
        self.findings.failed(tried, found, change);
    }

    pub(super) fn secret(&self, inbox: &Inbox, known: &Known) {
        let tried = "compare the callback secret";
        if let Some(secret) = &inbox.secret {
            self.ear.learn(self.name, secret);
        }
        let before = self.inbox.callback_secret_before.as_ref();
        match (&self.inbox.callback_secret, &inbox.secret) {
            (Some(ours), Some(theirs)) if ours.expose() == theirs.expose() => {
                self.findings.fine(tried, "ours is the inbox's");
            }
            (Some(_), Some(theirs)) if before.is_some_and(|before| before.expose() == theirs.expose()) => {
                self.findings.warning(
                    tried,
                    "the inbox signs with `callback_secret_before` still",
                    "run `deskbridge provision` with `callback_secret_file`, which takes the inbox's secret as it is",
                );
            }
            (Some(_), Some(_)) => self.findings.failed(
                tried,
                "ours is not the inbox's, so every callback is refused",
                "run `deskbridge provision` with `callback_secret_file`, or leave `callback_secret` out while the token is an administrator's",
            ),
            (Some(_), None) => self.findings.skipped(tried, "the inbox shows its secret to administrators only; the round trip tells"),
            (None, _) if self.inbox.callback_path_token.is_some() => {
                self.path_token_only(tried, known);
            }
            (None, Some(_)) => self.findings.fine(tried, "left out of the settings, and read from the inbox"),
            (None, None) if known.release.is_some_and(|release| release < SIGNS) => {
                self.findings.skipped(tried, "this Chatwoot signs nothing");
            }
            (None, None) => {
                let change = match known.role {
                    Role::Agent => "set `callback_secret` or `callback_secret_file`, or use an administrator's token",
                    Role::Administrator => "update Chatwoot to 4.13 or later, or set `callback_path_token`",
                };
                self.findings.failed(tried, "the settings hold none, and the inbox does not show its own", change);
            }
        }
    }

    fn path_token_only(&self, tried: &str, known: &Known) {
        let found = "callbacks are proved by the token in their path alone";
        if known.release.is_some_and(|release| release >= SIGNS) {
            let change = "this Chatwoot signs: leave `callback_path_token` out and run `deskbridge provision`";
            return self.findings.warning(tried, found, change);
        }
        self.findings.fine(tried, found);
    }

    /// What else in the account is in the way.
    pub(super) async fn features(&self) {
        let mails = |entry: &crate::settings::BridgeEntry| entry.kind == "smtp" && entry.inbox == self.name;
        if !self.settings.bridges.values().any(mails) {
            return;
        }
        let tried = format!("look for the account's feature {MAILS_REPLIES}");
        match self.client.account().await {
            Ok(account) if account.has(MAILS_REPLIES) => self.findings.failed(
                tried,
                "it is on: Chatwoot mails each reply itself, and the mail bridge does so too",
                "switch the feature off for this account",
            ),
            Ok(_) => self.findings.fine(tried, "it is off"),
            Err(fault) => self.findings.skipped(tried, fault.to_string()),
        }
    }
}
