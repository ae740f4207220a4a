//! What the server can do for a bridge, and what follows from what it cannot.

use super::{Look, register::Welcome};

pub(super) fn look(look: &Look<'_>, welcome: &Welcome) {
    let tried = "see what the server can do for a bridge";
    let has = |name: &str| welcome.offered.as_ref().is_some_and(|caps| caps.offered.contains_key(name));
    let echoes = ["echo-message", "labeled-response", "batch"].into_iter().all(has);
    let lacks: Vec<String> = [
        (
            echoes,
            "echo-message with labeled-response and batch",
            "a sent line counts as delivered by a PONG that follows it",
        ),
        (has("draft/chathistory"), "chathistory", "what is said while the bridge is disconnected is lost"),
        (has("account-tag"), "account-tag", "who is logged in is asked by WHOIS"),
        (has("server-time"), "server-time", "a line bears the time at which it came in"),
    ]
    .into_iter()
    .filter(|(there, ..)| !there)
    .map(|(_, name, without)| format!("no {name}: {without}"))
    .collect();
    if lacks.is_empty() {
        let found = "echo-message, labeled-response, chathistory, account-tag and server-time";
        return look.findings.fine(tried, found);
    }
    let change = "nothing needs to be changed here; on a server that offers them less is lost and less is in doubt";
    look.findings.warning(tried, lacks.join("; "), change);
}
