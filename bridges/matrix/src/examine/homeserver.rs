//! Whether a homeserver answers, which one it is, and whether its clock agrees with ours.

use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::{CALL_LIMIT, Look};
use crate::{
    client::{Said, quoted},
    desk::now_millis,
};

const PROGRAM_LIMIT: Duration = Duration::from_secs(2);
/// Beyond this the times of messages are visibly wrong.
const SKEW_SECONDS_MAX: i64 = 30;

/// False: nothing more can be asked.
pub(super) async fn answers(look: &Look<'_>) -> bool {
    let (place, findings) = (look.place(), look.findings);
    let tried = format!("ask {place} which versions of Matrix it speaks");
    let said = match look.client.ask_versions(CALL_LIMIT).await {
        Ok(said) => said,
        Err(fault) => {
            let found = fault.to_string();
            let change = change_for(&found);
            findings.failed(tried, found, change);
            return false;
        }
    };
    let versions = said.body.get("versions").and_then(Value::as_array).filter(|_| said.status == 200);
    let Some(versions) = versions else {
        let change = "set `homeserver_url` to where the client-server API answers, without `/_matrix`";
        findings.failed(tried, format!("no homeserver: {said}"), change);
        return false;
    };
    let program = look.client.ask_program(PROGRAM_LIMIT).await;
    let program = program.map_or_else(|| "a homeserver".to_owned(), |program| format!("the program {program}"));
    let newest = versions.iter().filter_map(Value::as_str).filter_map(minor).max();
    if let Some(minor) = newest {
        findings.fine(tried, format!("{program}, up to version 1.{minor} of the specification"));
    } else {
        let named: Vec<&str> = versions.iter().filter_map(Value::as_str).collect();
        let found = format!("{program} that speaks only {}", quoted(&named.join(", ")));
        findings.warning(tried, found, "update the homeserver: the bridge speaks version 1.1 and later");
    }
    compare_clocks(look, &said);
    true
}

/// Of `v1.11`.
fn minor(version: &str) -> Option<u32> {
    version.strip_prefix("v1.")?.parse().ok()
}

fn change_for(reason: &str) -> &'static str {
    if reason.contains("certificate") {
        "have its certificate renewed or set right; an authority of your own belongs into this system's roots"
    } else if reason.contains("dns") || reason.contains("lookup") {
        "correct the name in `homeserver_url`, or this machine's DNS settings"
    } else {
        "start the homeserver, correct `homeserver_url`, or let the connection through the firewall"
    }
}

fn compare_clocks(look: &Look<'_>, said: &Said) {
    let Some(theirs) = said.at.and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok()) else { return };
    let ahead = theirs.as_secs() as i64 - now_millis() / 1000;
    let tried = "compare the homeserver's clock with ours";
    if ahead.abs() <= SKEW_SECONDS_MAX {
        return look.findings.fine(tried, "they agree");
    }
    let side = if ahead > 0 { "ahead of" } else { "behind" };
    let found = format!("it is {} s {side} ours", ahead.abs());
    look.findings.warning(tried, found, "set the clock that is wrong, and keep both set by NTP");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        for (version, expected) in
            [("v1.11", Some(11)), ("v1.2", Some(2)), ("r0.6.1", None), ("v1.x", None), ("", None)]
        {
            assert_eq!(minor(version), expected, "{version}");
        }
    }

    #[test]
    fn each_way_of_not_answering_has_its_own_way_out() {
        for (reason, word) in [
            ("the homeserver does not answer: invalid peer certificate: Expired", "certificate"),
            ("the homeserver does not answer: failed to lookup address information", "DNS"),
            ("the homeserver does not answer: Connection refused", "firewall"),
        ] {
            assert!(change_for(reason).contains(word), "{reason}");
        }
    }
}
