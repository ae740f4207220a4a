//! Who holds the nick that people write to. Asks WHOIS, which nobody notices.

use super::{
    Look,
    register::Welcome,
    said,
    talk::{Lost, Talk},
};
use crate::message::{Command, Line, Verb};

/// Whoever holds a nick, as WHOIS shows them.
pub(super) struct Holder {
    pub(super) user: String,
    pub(super) host: String,
    realname: String,
    account: Option<String>,
}

pub(super) async fn look(look: &Look<'_>, talk: &mut Talk, welcome: &Welcome) {
    let (nick, findings) = (&look.settings.nick, look.findings);
    if look.how.at_work {
        let tried = format!("see who holds the nick {nick}");
        match whois(talk, nick).await {
            Ok(Some(holder)) if holder.looks_like(look) => {
                findings.fine(tried, format!("held by the running gateway, it seems: {holder}"));
            }
            Ok(Some(holder)) => {
                let change = "see the running bridge's state: it may be on the network under its fallback nick";
                findings.warning(tried, format!("held by somebody else: {holder}"), change);
            }
            Ok(None) => {
                let change = "see the running bridge's state: it is not on this network under its nick";
                findings.failed(tried, "nobody holds it, though the gateway is running", change);
            }
            Err(lost) => findings.skipped(tried, lost.to_string()),
        }
        return;
    }
    let tried = format!("take the nick {nick}");
    let Some((number, words)) = &welcome.refused else {
        return taken(look, welcome, tried);
    };
    if *number == 432 {
        let found = format!("the server refuses it: {number} {}", said(words));
        return findings.failed(
            tried,
            found,
            "choose another `nick`, of letters and digits and no longer than allowed",
        );
    }
    let (found, change) = match whois(talk, nick).await {
        Ok(Some(holder)) if holder.looks_like(look) => (
            format!("held by what looks like this gateway: {holder}"),
            "stop the other gateway with these settings, or wait until the server drops its old connection",
        ),
        Ok(Some(holder)) => (format!("held by {holder}"), way_back(look)),
        Ok(None) | Err(_) => (format!("{number} {}", said(words)), way_back(look)),
    };
    if look.settings.nick_fallback.is_some() {
        findings.warning(tried, format!("{found}; the bridge speaks as `nick_fallback` meanwhile"), change);
    } else {
        findings.failed(tried, found, change);
    }
}

fn taken(look: &Look<'_>, welcome: &Welcome, tried: String) {
    let (nick, ours) = (&look.settings.nick, &welcome.nick);
    if welcome.isupport.same(ours, nick) {
        return look.findings.fine(tried, "free: it was ours for a moment");
    }
    let found = format!("the server calls us {}", said(ours));
    look.findings.warning(tried, found, "choose a `nick` that the server does not shorten or change");
}

fn way_back(look: &Look<'_>) -> &'static str {
    match (&look.settings.sasl, look.settings.regain.is_empty()) {
        (Some(_), true) => {
            "set `regain`, so that services free it for the account that it belongs to, or choose another `nick`"
        }
        (Some(_), false) => {
            "nothing, if the nick belongs to the account: `regain` frees it when the bridge runs; else choose another `nick`"
        }
        (None, _) => "choose another `nick`, or register this one and set `sasl`, so that it can be taken back",
    }
}

pub(super) async fn whois(talk: &mut Talk, nick: &str) -> Result<Option<Holder>, Lost> {
    talk.say(&Command::new("WHOIS").param(nick)).await?;
    let (mut holder, mut account) = (None, None);
    loop {
        let text = talk.next().await?;
        let Some(line) = Line::parse(&text) else { continue };
        let Verb::Numeric(number) = line.verb else { continue };
        let word = |index| line.param_or_empty(index).to_owned();
        match number {
            311 => {
                let realname = line.last().to_owned();
                holder = Some(Holder { user: word(2), host: word(3), realname, account: None });
            }
            330 => account = Some(word(2)),
            // 263: it cannot say now.
            263 | 318 => {
                return Ok(holder.map(|holder| Holder { account, ..holder }));
            }
            _ => {}
        }
    }
}

impl Holder {
    /// A realname is free to choose, so this proves nothing and says so.
    fn looks_like(&self, look: &Look<'_>) -> bool {
        let user = self.user.trim_start_matches('~');
        let named = look.settings.username().starts_with(user) && !user.is_empty();
        named && self.realname == look.settings.realname
    }
}

impl std::fmt::Display for Holder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} ({})", said(&format!("{}@{}", self.user, self.host)), said(&self.realname))?;
        match &self.account {
            Some(account) => write!(f, ", logged in as {}", said(account)),
            None => Ok(()),
        }
    }
}
