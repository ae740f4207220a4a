//! Whether the homeserver knows our token, and whom it lets us speak for.

use super::{CALL_LIMIT, Look};
use crate::{
    client::{Said, quoted},
    ids::UserId,
    settings::Appservice,
};

/// False: the homeserver does not know us at all.
pub(super) async fn appservice(look: &Look<'_>, appservice: &Appservice) -> bool {
    let tried = format!("use `as_token` at {}", look.place());
    let said = match look.client.ask_whoami(None, CALL_LIMIT).await {
        Ok(said) => said,
        Err(fault) => {
            look.findings.failed(tried, fault.to_string(), "see in the homeserver's log why it does not answer");
            return false;
        }
    };
    let Some(me) = named(&said) else {
        let (found, change) = if is_unknown(&said) {
            ("the homeserver does not know the registration with this token".to_owned(), look.install())
        } else {
            (said.to_string(), "see in the homeserver's log why it refuses".to_owned())
        };
        look.findings.failed(tried, found, change);
        return false;
    };
    if me.server() == Some(&appservice.server_name) {
        look.findings.fine(tried, format!("the homeserver knows it as {}", quoted(me.as_str())));
    } else {
        let found = format!("it is of {}, a user of another server than `server_name`", quoted(me.as_str()));
        let change = "set `server_name` to the part behind the colon, or `homeserver_url` to the right homeserver";
        look.findings.failed(tried, found, change);
    }
    speak_for(look, &appservice.user).await;
    true
}

async fn speak_for(look: &Look<'_>, user: &UserId) {
    let tried = format!("speak for {}", user.as_str());
    let said = match look.client.ask_whoami(Some(user), CALL_LIMIT).await {
        Ok(said) => said,
        Err(fault) => {
            return look.findings.failed(
                tried,
                fault.to_string(),
                "see in the homeserver's log why it does not answer",
            );
        }
    };
    if named(&said).is_some_and(|me| me == *user) {
        look.findings.fine(tried, "the homeserver allows it");
    } else if said.is("M_FORBIDDEN") && is_not_made_yet(&said) {
        look.findings.fine(tried, "it is not there yet: the bridge makes it when it starts");
    } else if said.is("M_FORBIDDEN") || said.is("M_EXCLUSIVE") {
        let found = format!("the registration that the homeserver has does not hold it: {said}");
        let change = format!("let `user` and `namespace` be those of the registration, or {}", look.install());
        look.findings.failed(tried, found, change);
    } else {
        look.findings.failed(tried, said.to_string(), "see in the homeserver's log why it refuses");
    }
}

/// There is one code for both, so the words count: a user outside of the namespace is "masqueraded" as.
fn is_not_made_yet(said: &Said) -> bool {
    said.word("error").is_some_and(|words| words.contains("not registered") || words.contains("not exist"))
}

pub(super) async fn bot(look: &Look<'_>, server_name: Option<&str>) {
    let tried = format!("use `access_token` at {}", look.place());
    let said = match look.client.ask_whoami(None, CALL_LIMIT).await {
        Ok(said) => said,
        Err(fault) => {
            return look.findings.failed(
                tried,
                fault.to_string(),
                "see in the homeserver's log why it does not answer",
            );
        }
    };
    let Some(me) = named(&said) else {
        let (found, change) = if is_unknown(&said) {
            ("the homeserver does not know this token", "log the account in again and set `access_token` to what comes")
        } else {
            ("the homeserver refuses", "see in the homeserver's log why")
        };
        return look.findings.failed(tried, format!("{found}: {said}"), change);
    };
    match server_name {
        Some(name) if me.server() != Some(name) => {
            let found = format!("it is of {}, a user of another server than `server_name`", quoted(me.as_str()));
            look.findings.failed(tried, found, "set `server_name` to the part behind the colon, or remove it");
        }
        Some(_) | None => look.findings.fine(tried, format!("it is the account {}", quoted(me.as_str()))),
    }
    let tried = "ask what is new by /sync";
    match look.client.ask_sync(CALL_LIMIT).await {
        Ok(said) if said.status == 200 && said.word("next_batch").is_some() => {
            look.findings.fine(tried, "the homeserver answers");
        }
        Ok(said) => look.findings.failed(tried, said.to_string(), "see in the homeserver's log why it refuses"),
        Err(fault) => {
            look.findings.failed(tried, fault.to_string(), "see in the homeserver's log why it does not answer");
        }
    }
}

fn named(said: &Said) -> Option<UserId> {
    said.word("user_id").filter(|_| said.status == 200).map(UserId::from)
}

fn is_unknown(said: &Said) -> bool {
    said.status == 401 || said.is("M_UNKNOWN_TOKEN") || said.is("M_MISSING_TOKEN")
}
