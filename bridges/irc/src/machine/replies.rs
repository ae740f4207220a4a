//! Numerics that say no to a message, and what an agent should know of each. Data, no state.

use std::time::Duration;

use bridge_api::Fault;

/// How long a server that limits new conversations is left alone.
const LATER: Duration = Duration::from_secs(60);

/// `None`: not about a message.
pub(super) fn fault(number: u16, target: &str, text: &str) -> Option<Fault> {
    let refused = |reason: String| Some(Fault::refused(reason));
    match number {
        403 => refused(format!("there is no `{target}` on this network")),
        404 => refused(format!("the server does not let the bridge speak in {target}: {text}")),
        407 | 439 | 707 => Some(Fault::retry_after(LATER, format!("the server limits new conversations: {text}"))),
        263 | 480 => Some(Fault::retry_after(LATER, format!("the server is busy: {text}"))),
        411 | 412 | 417 | 461 => refused(format!("the server did not understand the line ({number}): {text}")),
        477 | 486 | 531 => refused(format!("`{target}` takes messages only from people it knows or who are logged in: {text}")),
        492 => refused(format!("the server or the person blocks this message: {text}")),
        716 => refused(format!("`{target}` must accept the bridge first (caller id): {text}")),
        408 | 415 | 437 | 440 | 482 | 484 | 502 | 524 | 728 => refused(format!("the server refused the message: {text}")),
        // 717 and 718 accompany 716; 421, 431 to 438, 451 and 462 are about other commands.
        400..=599 if !matches!(number, 401 | 402 | 406 | 421 | 422 | 431..=438 | 451 | 462 | 464 | 465) => {
            refused(format!("the server refused the message ({number}): {text}"))
        }
        _ => None,
    }
}

pub(super) fn nobody(nick: &str) -> Fault {
    Fault::refused(format!("`{nick}` is not on irc now and cannot be reached; wait until they write again"))
}

pub(super) fn notice(text: &str) -> Fault {
    if text.to_ascii_lowercase().contains("throttl") {
        Fault::retry_after(LATER, "the server throttles messages to this person")
    } else {
        Fault::refused(format!("the server refused the message: {text}"))
    }
}

/// These come without the target on some servers (492 on solanum).
pub(super) fn names_no_target(number: u16) -> bool {
    matches!(number, 263 | 411 | 412 | 417 | 461 | 480 | 492)
}

#[cfg(test)]
mod tests {
    use bridge_api::FaultKind;

    use super::*;

    #[test]
    fn each_refusal_has_its_kind_and_says_who() {
        let kind = |number| fault(number, "anna", "words").map(|fault| fault.kind);
        for number in [403, 404, 411, 412, 417, 461, 477, 482, 486, 492, 531, 716, 728] {
            assert_eq!(kind(number), Some(FaultKind::Refused), "{number}");
        }
        for number in [263, 407, 439, 480, 707] {
            assert_eq!(kind(number), Some(FaultKind::Retry { after: Some(LATER) }), "{number}");
        }
        for number in [1, 301, 372, 401, 421, 433, 717] {
            assert_eq!(kind(number), None, "{number}");
        }
        assert!(fault(716, "anna", "").is_some_and(|fault| fault.reason.contains("anna")));
    }

    #[test]
    fn a_throttle_notice_is_tried_again_and_another_one_is_not() {
        let throttled = notice("*** Message to anna throttled due to flooding");
        assert!(matches!(throttled.kind, FaultKind::Retry { .. }));
        assert_eq!(notice("*** no").kind, FaultKind::Refused);
    }
}
