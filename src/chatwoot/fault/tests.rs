//! The fault table, answer by answer.

use std::time::Duration;

use bridge_api::FaultKind;

use super::{Answer, Call, CallFault, Wait, classify, unreadable};

const JSON: &str = "application/json; charset=utf-8";

fn json(status: u16, body: &str) -> Answer<'_> {
    Answer { status, content_type: JSON, body: body.as_bytes(), ..Answer::default() }
}

fn page(status: u16, body: &str) -> Answer<'_> {
    Answer { status, content_type: "text/html", body: body.as_bytes(), ..Answer::default() }
}

/// The variant alone: what callers branch on.
fn name(fault: &CallFault) -> &'static str {
    match fault {
        CallFault::NotFound { .. } => "not found",
        CallFault::Taken { .. } => "taken",
        CallFault::Invalid { .. } => "invalid",
        CallFault::Limited { .. } => "limited",
        CallFault::Flooded => "flooded",
        CallFault::Unauthorised { .. } => "unauthorised",
        CallFault::NotSent { .. } => "not sent",
        CallFault::Doubtful { .. } => "doubtful",
        CallFault::Odd { .. } => "odd",
    }
}

macro_rules! fixture {
    ($name:literal) => {
        include_str!(concat!("../../../tests/fixtures/chatwoot/", $name))
    };
}

#[test]
fn every_known_answer_is_sorted_by_its_shape() {
    let (post, create, patch) = (Call::PostMessage, Call::CreateContact, Call::SetMessageStatus);
    let cases: [(Call, Answer<'_>, &str); 48] = [
        (post, json(400, fixture!("error_400.json")), "invalid"),
        (post, json(401, fixture!("error_401_absent.json")), "unauthorised"),
        (post, json(401, fixture!("error_401_unknown_token.json")), "unauthorised"),
        (post, json(401, fixture!("error_401_account.json")), "unauthorised"),
        (post, json(401, fixture!("error_401_not_permitted.json")), "unauthorised"),
        (post, page(401, "<html>log in</html>"), "unauthorised"),
        (create, json(402, r#"{"error":"Account limit exceeded. Upgrade to a higher plan"}"#), "unauthorised"),
        (patch, json(403, fixture!("error_403_status.json")), "unauthorised"),
        (post, page(403, "blocked by a firewall"), "unauthorised"),
        (post, json(404, fixture!("error_404.json")), "not found"),
        (post, json(404, fixture!("error_404_client_api.json")), "not found"),
        (post, page(404, "<html>nothing here</html>"), "not sent"),
        (post, page(404, ""), "not sent"),
        (create, json(422, fixture!("error_422_email_taken.json")), "taken"),
        (create, json(422, fixture!("error_422_identifier_taken.json")), "taken"),
        (create, json(422, fixture!("error_422_identifier_taken_localised.json")), "taken"),
        (create, json(422, r#"{"message":"x","attributes":["email","phone_number"]}"#), "taken"),
        (create, json(422, r#"{"message":"Name is too long","attributes":["name"]}"#), "invalid"),
        (create, json(422, r#"{"message":"x","attributes":["email","name"]}"#), "invalid"),
        (create, json(422, r#"{"error":"param is missing"}"#), "doubtful"),
        (create, json(422, "{}"), "doubtful"),
        (create, json(422, "no json"), "doubtful"),
        (create, page(422, "<html>The change you wanted was rejected</html>"), "doubtful"),
        (Call::CreateConversation, json(422, fixture!("error_422_source_id.json")), "taken"),
        (post, json(422, fixture!("error_422_flood_create.json")), "flooded"),
        (patch, json(422, fixture!("error_422_flood_update.json")), "flooded"),
        (post, json(422, fixture!("error_422_content_too_long.json")), "doubtful"),
        (post, json(422, fixture!("error_422_after_commit.json")), "doubtful"),
        (post, json(422, r#"{"error":"Incoming messages are only allowed in Api inboxes"}"#), "invalid"),
        (post, json(422, r#"{"message":"x","attributes":["content"]}"#), "doubtful"),
        (patch, json(422, r#"{"message":"x","attributes":["content"]}"#), "invalid"),
        (post, page(413, "<html>413 Request Entity Too Large</html>"), "invalid"),
        (post, page(408, ""), "doubtful"),
        (post, json(500, fixture!("error_500.json")), "doubtful"),
        (create, json(500, fixture!("error_500.json")), "doubtful"),
        (post, page(502, fixture!("error_502.html")), "doubtful"),
        (post, page(503, "maintenance"), "doubtful"),
        (post, page(504, "gateway timeout"), "doubtful"),
        (Call::FindContact, page(502, fixture!("error_502.html")), "not sent"),
        (Call::ListMessages, page(503, "maintenance"), "not sent"),
        (Call::ReadConversation, page(504, ""), "not sent"),
        (Call::FindContact, json(503, r#"{"error":"x"}"#), "doubtful"),
        (Call::FindContact, page(500, "oops"), "doubtful"),
        (Call::Download, page(503, "slow down"), "doubtful"),
        (post, page(301, ""), "not sent"),
        (post, page(307, ""), "not sent"),
        (post, page(405, ""), "odd"),
        (post, page(418, ""), "odd"),
    ];
    for (call, answer, wanted) in cases {
        let fault = classify(call, &answer);
        let body = String::from_utf8_lossy(answer.body);
        assert_eq!(name(&fault), wanted, "{call:?} {} {body}", answer.status);
        let reason = fault.to_string();
        assert!(!reason.ends_with('.') && !reason.contains('\n') && reason.chars().count() < 350, "{reason}");
        assert!(!reason.contains('<'), "no page is quoted: {reason}");
    }
}

#[test]
fn a_duplicate_names_its_attributes() {
    let fault = classify(Call::CreateContact, &json(422, fixture!("error_422_identifier_taken_localised.json")));
    let CallFault::Taken { attributes, reason } = fault else { panic!("{fault:?}") };
    assert_eq!(attributes, ["identifier"]);
    assert!(reason.contains("Identifier ist bereits vergeben"), "{reason}");
}

#[test]
fn a_redirect_says_where_the_inbox_is_and_no_more() {
    let location = Some("https://user:pw@desk.example/api/v1?token=x");
    let fault = classify(Call::PostMessage, &Answer { status: 301, location, ..Answer::default() });
    let reason = fault.to_string();
    assert!(reason.contains("points to https://desk.example,") && !reason.contains("pw"), "{reason}");
}

#[test]
fn a_success_that_cannot_be_read_is_in_doubt() {
    for answer in [page(200, "<html>single sign-on</html>"), json(200, "[]"), json(200, "{"), page(204, "")] {
        let fault = unreadable(Call::PostMessage, &answer);
        assert_eq!(name(&fault), "doubtful", "{fault}");
    }
}

#[test]
fn a_limit_waits_for_the_next_minute_or_as_the_proxy_says() {
    let second = Duration::from_secs;
    // 1 781 946 902 s is two seconds past a full minute.
    let now = 1_781_946_902_000;
    let cases = [
        (None, second(59)),
        (Some("7"), second(7)),
        (Some(" 0 "), second(0)),
        (Some("86400"), second(3600)),
        (Some("18446744073709551615"), second(3600)),
        (Some("Sat, 20 Jun 2026 09:15:12 GMT"), second(10)),
        (Some("Sat, 20 Jun 2026 09:00:00 GMT"), second(0)),
        (Some("soon"), second(59)),
        (Some("-5"), second(59)),
    ];
    for (retry_after, wanted) in cases {
        let answer = Answer {
            status: 429,
            content_type: "text/plain",
            retry_after,
            body: b"Retry later\n",
            ..Answer::default()
        };
        let fault = classify(Call::PostMessage, &answer);
        let CallFault::Limited { wait } = fault else { panic!("{fault:?}") };
        assert_eq!(wait.from(now), wanted, "{retry_after:?}");
        assert_eq!(fault.into_fault(now).kind, FaultKind::Down { after: Some(wanted) }, "{retry_after:?}");
    }
    assert_eq!(Wait::NextMinute.from(1_781_946_900_000), second(61), "a full minute waits for the next one");
}

#[test]
fn each_fault_leads_to_what_the_pump_must_do() {
    let reason = || "why".to_owned();
    let cases = [
        (CallFault::NotFound { call: Call::PostMessage }, FaultKind::Retry { after: None }),
        (CallFault::Taken { attributes: vec![], reason: reason() }, FaultKind::Refused),
        (CallFault::Invalid { reason: reason() }, FaultKind::Refused),
        (CallFault::Flooded, FaultKind::Retry { after: Some(Duration::from_mins(1)) }),
        (CallFault::Unauthorised { reason: reason() }, FaultKind::Down { after: None }),
        (CallFault::NotSent { reason: reason() }, FaultKind::Down { after: None }),
        (CallFault::Doubtful { call: Call::PostMessage, reason: reason() }, FaultKind::Unknown),
        (CallFault::Doubtful { call: Call::CreateConversation, reason: reason() }, FaultKind::Unknown),
        (CallFault::Doubtful { call: Call::ReadConversation, reason: reason() }, FaultKind::Retry { after: None }),
        (CallFault::Doubtful { call: Call::Download, reason: reason() }, FaultKind::Retry { after: None }),
        (CallFault::Odd { call: Call::PostMessage, status: 405 }, FaultKind::Refused),
        (CallFault::Odd { call: Call::PostMessage, status: 600 }, FaultKind::Unknown),
    ];
    for (fault, wanted) in cases {
        let said = fault.to_string();
        let fault = fault.into_fault(0);
        assert_eq!((fault.kind, fault.reason), (wanted, said));
    }
}
