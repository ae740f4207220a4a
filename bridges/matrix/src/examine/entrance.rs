//! Whether the homeserver reaches the listener that it pushes to. While no gateway runs, somebody else answers there for
//! the moment, who takes nothing: what the homeserver brings then, it brings again.

use std::{net::SocketAddr, time::Duration};

use bridge_api::{CancellationToken, Secret};
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::{CALL_LIMIT, Look};
use crate::{
    client::{CallFault, Said},
    receive::push::{self, Taker},
};

/// The homeserver waits itself for an answer of ours.
const PING_LIMIT: Duration = Duration::from_secs(8);

pub(super) async fn look(look: &Look<'_>, id: &str, listen: SocketAddr, hs_token: &Secret) {
    if look.how.at_work {
        if answers(look, listen).await {
            let answer = look.client.ask_ping(id, PING_LIMIT).await;
            tell(look, id, answer);
        }
        return;
    }
    let Some(listener) = bind(look, listen).await else { return };
    let stop = CancellationToken::new();
    let answer = tokio::select! {
        answer = look.client.ask_ping(id, PING_LIMIT) => answer,
        () = push::serve(Taker::Nobody, listener, hs_token.clone(), stop) => return,
    };
    tell(look, id, answer);
}

async fn bind(look: &Look<'_>, listen: SocketAddr) -> Option<TcpListener> {
    let tried = format!("listen on {listen}");
    match push::listen(listen).await {
        Ok(listener) => {
            look.findings.fine(tried, "the address is free");
            Some(listener)
        }
        Err(why) => {
            let change = "end the program that listens there, or set `listen` to a free address of this machine";
            look.findings.failed(tried, why, change);
            None
        }
    }
}

async fn answers(look: &Look<'_>, listen: SocketAddr) -> bool {
    let tried = format!("connect to the running gateway at {listen}");
    let change = "see in the gateway's log why this bridge does not listen";
    match timeout(CALL_LIMIT, TcpStream::connect(listen)).await {
        Ok(Ok(_)) => {
            look.findings.fine(tried, "it listens");
            return true;
        }
        Ok(Err(error)) => look.findings.failed(tried, error.to_string(), change),
        Err(_) => look.findings.failed(tried, format!("no answer within {} s", CALL_LIMIT.as_secs()), change),
    }
    false
}

fn tell(look: &Look<'_>, id: &str, answer: Result<Said, CallFault>) {
    let tried = "have the homeserver reach this bridge (appservice ping)";
    let said = match answer {
        Ok(said) => said,
        Err(fault) => {
            let change = "see whether the homeserver can reach the `url` of the registration at all: it may still wait";
            return look.findings.failed(tried, fault.to_string(), change);
        }
    };
    if said.status == 200 {
        let millis = said.body.get("duration_ms").and_then(Value::as_u64).unwrap_or(0);
        return look.findings.fine(tried, format!("it does, in {millis} ms"));
    }
    if said.status == 404 || said.status == 405 || said.is("M_UNRECOGNIZED") {
        return look.findings.skipped(tried, "this homeserver cannot be asked to try");
    }
    if said.is("M_FORBIDDEN") {
        // Pushes come all the same; only nothing can hurry them after an outage.
        let found = format!("it cannot be asked, since its registration has another id than {id}: {said}");
        return look.findings.warning(tried, found, "set `appservice_id` to the id of the registration");
    }
    let (found, change) = what_failed(look, &said);
    look.findings.failed(tried, found, change);
}

fn what_failed(look: &Look<'_>, said: &Said) -> (String, String) {
    if said.is("M_BAD_STATUS") {
        return match said.body.get("status").and_then(Value::as_u64) {
            Some(401 | 403) => (
                "it reaches us, but the token that it shows is not `hs_token`".to_owned(),
                format!("set `hs_token` to the registration's, or {}", look.install()),
            ),
            status => (
                format!("somebody else answers there, with status {}", status.unwrap_or_default()),
                "let the `url` of the registration (`listen_url`) lead to `listen`, through every proxy between"
                    .to_owned(),
            ),
        };
    }
    let change = if said.is("M_URL_NOT_SET") {
        format!("the registration has no `url`: set `listen_url`, and {}", look.install())
    } else if said.is("M_CONNECTION_FAILED") || said.is("M_CONNECTION_TIMEOUT") {
        "let the `url` of the registration (`listen_url`) be an address that the homeserver can connect to".to_owned()
    } else {
        "see in the homeserver's log why".to_owned()
    };
    (said.to_string(), change)
}
