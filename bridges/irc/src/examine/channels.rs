//! Whether the configured channels would let us in, by their modes and bans. Asks without joining, which nobody sees.

use super::{
    Look, bans, nick,
    register::Welcome,
    said,
    talk::{Lost, Talk},
};
use crate::{
    message::{Command, Line, Verb},
    settings::ChannelSettings,
};

/// Channels that are asked about; servers slow down who asks more.
const ASKED_MAX: usize = 10;
/// Bans that are looked at in one channel.
const BANS_MAX: usize = 500;

/// What the server says of a channel to somebody outside.
enum Modes {
    Known(String),
    NoSuchChannel,
    Secret(String),
}

pub(super) async fn look(look: &Look<'_>, talk: &mut Talk, welcome: &Welcome) {
    let address =
        if look.how.at_work || look.settings.channels.is_empty() { None } else { address(talk, welcome).await };
    for (place, channel) in look.settings.channels.iter().enumerate() {
        let tried = format!("see whether {} can be joined", channel.name);
        if look.how.at_work {
            look.findings.skipped(tried, "the running gateway sits in it, or says in its state why not");
        } else if place >= ASKED_MAX {
            look.findings.skipped(tried, format!("only the first {ASKED_MAX} channels are asked about"));
        } else if let Err(lost) = ask(look, talk, welcome, channel, (&tried, address.as_ref())).await {
            look.findings.skipped(tried, lost.to_string());
        }
    }
}

/// Our `user@host` as bans see it.
async fn address(talk: &mut Talk, welcome: &Welcome) -> Option<(String, String)> {
    if welcome.address.is_some() {
        return welcome.address.clone();
    }
    nick::whois(talk, &welcome.nick).await.ok().flatten().map(|own| (own.user, own.host))
}

async fn ask(
    look: &Look<'_>,
    talk: &mut Talk,
    welcome: &Welcome,
    channel: &ChannelSettings,
    (tried, address): (&str, Option<&(String, String)>),
) -> Result<(), Lost> {
    let modes = match modes(talk, &channel.name).await? {
        Modes::Known(modes) => modes,
        Modes::NoSuchChannel => {
            let change = "correct the name, unless it is to be made: whoever joins first owns it";
            look.findings.warning(tried, "there is no such channel", change);
            return Ok(());
        }
        Modes::Secret(words) => {
            let found = format!("the server does not say from outside: {words}; it shows when the bridge runs");
            look.findings.skipped(tried, found);
            return Ok(());
        }
    };
    let obstacles = obstacles(&modes, channel, welcome);
    for (found, change) in &obstacles {
        look.findings.failed(tried, *found, *change);
    }
    let banned = match address {
        Some((user, host)) => {
            let ours = format!("{}!{user}@{host}", look.settings.nick);
            bans(talk, &channel.name).await?.into_iter().find(|mask| bans::matches(mask, &ours, &welcome.isupport))
        }
        None => None,
    };
    if let Some(mask) = banned {
        let found = format!("the ban on {} is on us too", said(&mask));
        look.findings.failed(tried, found, "ask the channel's operators to lift the ban, or to except the bridge");
    } else if obstacles.is_empty() {
        look.findings.fine(tried, format!("nothing in its modes is against it ({})", said(&modes)));
    }
    Ok(())
}

fn obstacles(modes: &str, channel: &ChannelSettings, welcome: &Welcome) -> Vec<(&'static str, &'static str)> {
    let has = |letter: char| modes.contains(letter);
    let mut found = Vec::new();
    if has('i') {
        let change = "ask the channel's operators for a lasting invite exception for the bridge (+I), or to open it";
        found.push(("it is invite-only (+i)", change));
    }
    if has('k') && channel.key.is_none() {
        found.push(("it has a key (+k)", "set the channel's `key`"));
    }
    // Where there is no +R, +r is what elsewhere is +R; else it says that the channel is registered.
    let knows_both = welcome.isupport.token("CHANMODES").is_some_and(|letters| letters.contains('R'));
    let for_accounts = has('R') || (has('r') && !knows_both && welcome.isupport.has("CHANMODES"));
    if for_accounts && !welcome.logged_in {
        found.push(("it is for those who are logged in", "set `sasl`, with an account of this network"));
    }
    found
}

async fn modes(talk: &mut Talk, channel: &str) -> Result<Modes, Lost> {
    talk.say(&Command::new("MODE").param(channel)).await?;
    loop {
        let text = talk.next().await?;
        let Some(line) = Line::parse(&text) else { continue };
        let Verb::Numeric(number) = line.verb else { continue };
        match number {
            324 => return Ok(Modes::Known(line.param_or_empty(2).to_owned())),
            401 | 403 => return Ok(Modes::NoSuchChannel),
            263 | 421 | 442 | 461 | 476 | 477 | 479 | 482 => return Ok(Modes::Secret(said(line.last()))),
            _ => {}
        }
    }
}

async fn bans(talk: &mut Talk, channel: &str) -> Result<Vec<String>, Lost> {
    talk.say(&Command::new("MODE").param(channel).param("+b")).await?;
    let mut masks = Vec::new();
    loop {
        let text = talk.next().await?;
        let Some(line) = Line::parse(&text) else { continue };
        let Verb::Numeric(number) = line.verb else { continue };
        match number {
            367 if masks.len() < BANS_MAX => masks.push(line.param_or_empty(2).to_owned()),
            // The end, or a server that does not tell them from outside.
            263 | 368 | 401 | 403 | 421 | 442 | 461 | 472 | 477 | 482 | 501 => return Ok(masks),
            _ => {}
        }
    }
}
