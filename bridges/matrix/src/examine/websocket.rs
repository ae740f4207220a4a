//! Whether the appservice websocket opens. Looks at the first frame at most and acknowledges none, so that what came
//! with it comes again, or is read back from the rooms when the bridge starts.

use std::time::Duration;

use bridge_api::Secret;
use futures_util::StreamExt;
use serde_json::Value;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;
use url::Url;

use super::Look;
use crate::{
    client::{quoted, tls},
    receive::{
        protocol::{Closed, closed},
        websocket::{Shut, Socket, close, open},
    },
    wire::text,
};

/// Below the limit of the bridge itself, which has no operator waiting.
const OPEN_LIMIT: Duration = Duration::from_secs(5);
/// A server that has something against us says so at once.
const FRAME_LIMIT: Duration = Duration::from_secs(2);

pub(super) async fn look(look: &Look<'_>, url: &Url, token: &Secret) {
    let tried = format!("open the appservice websocket at {url}");
    if look.how.at_work {
        let reason = "the running gateway has it open, and a second one would take it away from it";
        return look.findings.skipped(tried, reason);
    }
    let opened = timeout(OPEN_LIMIT, open(url, token, &tls())).await.unwrap_or(Err(Shut::Late));
    let mut socket = match opened {
        Ok(socket) => socket,
        Err(shut) => {
            let change = change_for(look, &shut);
            return look.findings.failed(tried, one_line(&shut), change);
        }
    };
    match first_frame(&mut socket).await {
        Ok(found) => look.findings.fine(tried, found),
        Err((found, change)) => look.findings.failed(tried, found, change),
    }
    close(&mut socket).await;
}

fn one_line(shut: &Shut) -> String {
    match shut {
        Shut::Refused { status, code } if code.is_empty() => format!("refused with status {status}"),
        Shut::Refused { status, code } => format!("refused with status {status} {}", quoted(code)),
        Shut::Failed(why) => format!("it does not open: {}", quoted(why)),
        Shut::Token | Shut::Late => shut.to_string(),
    }
}

fn change_for(look: &Look<'_>, shut: &Shut) -> String {
    match shut {
        Shut::Token => format!("give the websocket's server the same registration, or {}", look.install()),
        Shut::Refused { status: 404 | 405 | 426, .. } => {
            "set `websocket_url` to the proxy that offers `fi.mau.as_sync`: what answers there does not".to_owned()
        }
        Shut::Refused { .. } => "see in the log of the websocket's server why it refuses".to_owned(),
        Shut::Failed(_) | Shut::Late => {
            "start the websocket's server, correct `websocket_url`, or let the connection through the firewall"
                .to_owned()
        }
    }
}

async fn first_frame(socket: &mut Socket) -> Result<&'static str, (String, &'static str)> {
    let broke = |why: &str| {
        let change = "see in the log of the websocket's server why";
        Err((format!("it opened, and then broke off: {why}"), change))
    };
    match timeout(FRAME_LIMIT, socket.next()).await {
        Ok(Some(Ok(Message::Close(frame)))) => {
            let (code, reason) =
                frame.map_or((1005, String::new()), |frame| (frame.code.into(), frame.reason.to_string()));
            match closed(code, &reason) {
                Closed::Replaced => {
                    let change = "stop the other gateway with this `as_token`: only one can have the websocket";
                    Err(("it opened, and somebody else took it over at once".to_owned(), change))
                }
                Closed::Other(why) => broke(&quoted(&why)),
            }
        }
        Ok(Some(Ok(Message::Text(frame)))) => {
            let frame: Value = serde_json::from_str(frame.as_str()).unwrap_or_default();
            let greets = text(&frame, &["status"]) == Some("connected");
            Ok(if greets { "it opens, and the server greets us" } else { "it opens" })
        }
        Ok(Some(Ok(_))) | Err(_) => Ok("it opens"),
        Ok(Some(Err(error))) => broke(&quoted(&error.to_string())),
        Ok(None) => broke("it ended"),
    }
}
