//! `deskbridge forget CONTACT`: removes whatever is kept of a person here, and says where copies remain. Asks the
//! running gateway through its control socket, or works on the store itself while none runs.

use std::{fmt::Write as _, time::Duration};

use clap::Args;

use super::Failure;
use crate::{
    gateway::{Live, LiveError, location_of},
    model::InboxName,
    settings::Settings,
    store::{By, Forgotten, StoreError, Whom},
};

/// The whole database is written anew.
const FORGET_LIMIT: Duration = Duration::from_mins(30);

#[derive(Debug, Args)]
pub(super) struct ForgetArgs {
    /// BRIDGE/PERSON as in the contact's identifier, a `source_id`, or the contact's number in the inbox, with several
    /// inboxes as INBOX:NUMBER
    contact: String,
    /// Also what still waits to be sent or posted
    #[arg(long)]
    also_waiting: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// What to print.
pub(super) async fn run(args: &ForgetArgs, settings: &Settings) -> Result<String, Failure> {
    let whom = whom(&args.contact, args.also_waiting, settings)?;
    let live = Live::reach(&settings.gateway.data_dir).map_err(|error| Failure::new(error.to_string()))?;
    let (forgotten, live) = match live {
        Some(live) => (forget_live(&live, &whom).await?, true),
        None => (forget(settings, &whom).await?, false),
    };
    let refused: usize = forgotten.iter().map(|one| one.refused).sum();
    if refused > 0 {
        let wait = if refused == 1 { "1 message waits" } else { &format!("{refused} messages wait") };
        return Err(Failure::new(format!(
            "{wait} for this person or from them, so nothing was removed there: let the outbox drain, discard what was \
             given up, or add --also-waiting"
        )));
    }
    if args.json {
        let shown = serde_json::to_string_pretty(&forgotten).map_err(|error| Failure::new(error.to_string()))?;
        return Ok(format!("{shown}\n"));
    }
    Ok(text(&whom, &forgotten, live))
}

async fn forget_live(live: &Live, whom: &[Whom]) -> Result<Vec<Forgotten>, Failure> {
    let answer = live.post_within("/admin/forget", &serde_json::json!(whom), FORGET_LIMIT).await;
    let answer = answer.map_err(|error: LiveError| Failure::new(error.to_string()))?;
    serde_json::from_value(answer).map_err(|error| Failure::new(error.to_string()))
}

/// Each bridge at which the person may be known.
fn whom(contact: &str, also_waiting: bool, settings: &Settings) -> Result<Vec<Whom>, Failure> {
    let inbox_of = |entry: &crate::settings::BridgeEntry| InboxName::new(entry.inbox.as_str());
    let bridges = || settings.bridges.iter().map(|(name, entry)| (name.clone(), inbox_of(entry)));
    let make = |(bridge, inbox), by: By| Whom { bridge, inbox, by, also_waiting };
    let numbered = |inbox: &str, number| {
        let fed = bridges().filter(|(_, fed)| fed.as_str() == inbox);
        fed.map(|bridge| make(bridge, By::Contact(number))).collect::<Vec<_>>()
    };
    if let Ok(number) = contact.parse() {
        return match settings.inboxes.keys().collect::<Vec<_>>()[..] {
            [inbox] => Ok(numbered(inbox, number)),
            _ => Err(Failure::usage(format!("which inbox? write INBOX:{number}"))),
        };
    }
    if let Some((inbox, number)) = contact.split_once(':')
        && settings.inboxes.contains_key(inbox)
        && let Ok(number) = number.parse()
    {
        return Ok(numbered(inbox, number));
    }
    if let Some((bridge, person)) = contact.split_once('/')
        && let Some(found) = bridges().find(|(name, _)| name.as_str() == bridge)
        && !person.is_empty()
    {
        return Ok(vec![make(found, By::Word(person.to_owned()))]);
    }
    if contact.is_empty() {
        return Err(Failure::usage("nobody is named: write BRIDGE/PERSON, a source_id or a contact's number"));
    }
    Ok(bridges().map(|bridge| make(bridge, By::SourceId(contact.to_owned()))).collect())
}

async fn forget(settings: &Settings, whom: &[Whom]) -> Result<Vec<Forgotten>, Failure> {
    let location = location_of(settings);
    if let Some(missing) = location.is_missing() {
        return Err(Failure::new(format!("nothing is kept yet: {missing}")));
    }
    let failed = |error: StoreError| Failure::new(error.to_string());
    let store = location.open().await.map_err(failed)?;
    let mut forgotten = Vec::new();
    for one in whom {
        forgotten.push(store.forget(one).await);
    }
    store.close().await;
    forgotten.into_iter().collect::<Result<_, _>>().map_err(failed)
}

fn text(whom: &[Whom], forgotten: &[Forgotten], live: bool) -> String {
    let mut text = String::new();
    let mut say = |words: String| writeln!(text, "{words}").expect("writing to a string cannot fail");
    for (whom, one) in whom.iter().zip(forgotten) {
        say(format!(
            "{}: {} sessions, {} waiting, {} given up, {} records of finished messages, {} notes of the bridge, {} kept \
             files removed",
            whom.bridge, one.sessions, one.waiting, one.dead, one.finished, one.cursors, one.blobs
        ));
        for contact in &one.contacts {
            let conversations: Vec<_> = one.conversations.iter().map(|number| format!("#{number}")).collect();
            say(format!(
                "  remains: contact {contact} of the inbox `{}` with {}: delete it there",
                whom.inbox,
                conversations.join(", ")
            ));
        }
        if let Some(reason) = &one.not_overwritten {
            say(format!("  what was removed may still stand in files of the database: {reason}"));
        }
    }
    say("  remains: what the network's servers and the inbox have logged, and backups of the data directory".to_owned());
    if live {
        say("  the gateway runs: whoever writes again is noted anew".to_owned());
    }
    text
}
