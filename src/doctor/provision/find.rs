//! Which inbox of the account is meant: by its number, by our callback address, or by its name; or none yet.

use super::{
    super::address::{same, shown},
    Trouble,
};
use crate::chatwoot::{CallFault, Client, Inbox};

#[derive(Debug)]
pub(super) enum Found {
    Here(Inbox),
    Nowhere,
}

/// `number` is that of the settings, where they have one.
pub(super) async fn find(client: &Client, number: Option<u64>, name: &str, url: &str) -> Result<Found, Trouble> {
    if number.is_some() {
        match client.inbox().await {
            Ok(inbox) if inbox.is_api() => return Ok(Found::Here(inbox)),
            Ok(inbox) => {
                let kind = inbox.channel_type.as_deref().unwrap_or("no known channel");
                return Err(Trouble::Failed(format!(
                    "inbox {} is a {kind}, and only an API inbox can be provisioned: leave `inbox_id` out to have one made",
                    inbox.id
                )));
            }
            Err(CallFault::NotFound { .. }) => {}
            Err(fault) => return Err(fault.into()),
        }
    }
    choose(client.inboxes().await?, name, url)
}

/// An inbox that calls us back is ours whatever its name; one of our name only as long as it calls nobody else.
fn choose(inboxes: Vec<Inbox>, name: &str, url: &str) -> Result<Found, Trouble> {
    let (mut ours, mut namesakes) = (Vec::new(), Vec::new());
    for inbox in inboxes.into_iter().filter(Inbox::is_api) {
        if inbox.webhook_url.as_deref().is_some_and(|theirs| same(theirs, url)) {
            ours.push(inbox);
        } else if inbox.name.as_deref().is_some_and(|theirs| theirs.eq_ignore_ascii_case(name)) {
            namesakes.push(inbox);
        }
    }
    if ours.is_empty()
        && let Some(busy) = namesakes.iter().find(|inbox| calls(inbox).is_some())
    {
        let calls = calls(busy).map(shown).unwrap_or_default();
        return Err(Trouble::Failed(format!(
            "there is an API inbox called {name:?} (number {}) that calls {calls}: write `inbox_id = {}` to take it over, or \
             give the inbox another name in the settings to have a new one made",
            busy.id, busy.id
        )));
    }
    let mut found = if ours.is_empty() { namesakes } else { ours };
    match (found.pop(), found.as_slice()) {
        (None, _) => Ok(Found::Nowhere),
        (Some(inbox), []) => Ok(Found::Here(inbox)),
        (Some(last), others) => {
            let numbers: Vec<_> = others.iter().chain([&last]).map(|inbox| inbox.id.to_string()).collect();
            let numbers = numbers.join(", ");
            Err(Trouble::Failed(format!(
                "several inboxes may be meant ({numbers}): write the right number as `inbox_id`"
            )))
        }
    }
}

fn calls(inbox: &Inbox) -> Option<&str> {
    inbox.webhook_url.as_deref().filter(|url| !url.is_empty())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const OURS: &str = "http://gw:8600/callbacks/support";

    /// Number, name, channel, and whom it calls.
    fn inbox((id, name, channel, calls): (i64, &str, &str, Option<&str>)) -> Inbox {
        let channel = format!("Channel::{channel}");
        serde_json::from_value(json!({ "id": id, "name": name, "channel_type": channel, "webhook_url": calls }))
            .unwrap()
    }

    fn chosen(inboxes: &[(i64, &str, &str, Option<&str>)]) -> String {
        match choose(inboxes.iter().copied().map(inbox).collect(), "support", OURS) {
            Ok(Found::Here(inbox)) => format!("{}", inbox.id),
            Ok(Found::Nowhere) => "nowhere".to_owned(),
            Err(Trouble::Failed(reason) | Trouble::Settings(reason)) => reason,
        }
    }

    #[test]
    fn an_inbox_is_taken_by_our_address_first_and_by_its_name_only_while_it_is_free() {
        let other = Some("https://else.example/hook");
        assert_eq!(chosen(&[]), "nowhere");
        assert_eq!(chosen(&[(1, "support", "WebWidget", None), (2, "sales", "Api", other)]), "nowhere");
        assert_eq!(chosen(&[(1, "Support", "Api", None), (2, "sales", "Api", Some(OURS))]), "2");
        assert_eq!(chosen(&[(1, "Support", "Api", Some(""))]), "1");
        assert!(chosen(&[(1, "support", "Api", other)]).contains("write `inbox_id = 1` to take it over"));
        assert!(chosen(&[(1, "support", "Api", None), (2, "support", "Api", None)]).contains("(1, 2)"));
        assert_eq!(chosen(&[(1, "support", "Api", other), (2, "x", "Api", Some(OURS))]), "2");
    }
}
