//! Replies: proof, refusals, doubt, pace.

use super::*;
use crate::message::Line;

/// Somebody who has just written and is proved, on a server without tags.
fn with_anna(more: &Value) -> (Play, String) {
    let mut play = Play::ngircd(more);
    play.read(":anna!~anna@home PRIVMSG help :hi");
    play.read(&whois("anna", "~anna@home", START_MILLIS / 1000 - 50));
    let thread = play.thread(0);
    play.pass_seconds(10);
    play.wrote();
    (play, thread)
}

/// The same on a server with echoes and labels, and watched by MONITOR.
fn with_watched_anna(caps: &str) -> (Play, String) {
    let mut play = Play::modern(&json!({}), caps);
    play.read(":anna!a@home PRIVMSG help :hi\n:irc.test 730 help :anna!a@home");
    play.read(&whois("anna", "a@home", START_MILLIS / 1000 - 50));
    let thread = play.thread(0);
    play.pass_seconds(10);
    play.wrote();
    (play, thread)
}

const LABELS: &str = "batch echo-message labeled-response message-tags server-time";

/// Sends, lets the check pass, and returns the PING's token.
fn fly(play: &mut Play, thread: &str, text: &str) -> String {
    play.send(thread, text);
    play.read(&whois("anna", "~anna@home", START_MILLIS / 1000 - 50));
    let wrote = play.wrote();
    assert_eq!(wrote[..2], ["WHOIS anna anna".to_owned(), format!("PRIVMSG anna :{text}")]);
    wrote[2].strip_prefix("PING :").expect("a barrier").to_owned()
}

#[test]
fn without_echo_the_answer_to_a_ping_is_the_proof() {
    let (mut play, thread) = with_anna(&json!({}));
    let token = fly(&mut play, &thread, "hello");
    play.read(":irc.test PONG irc.test :alive-1\n:irc.test PONG irc.test :sent-e0-1");
    assert!(play.settled.is_empty(), "the answer to another question");
    play.read(&format!(":irc.test PONG irc.test :{token}"));
    assert_eq!(play.outcome().unwrap(), Some(Sent::default()));
    play.send_as("support/1/0", &thread, "hello");
    assert!(play.outcome().is_ok(), "the same key is not written twice");
    play.expect(&[]);
}

#[test]
fn every_refusal_of_the_server_fails_the_reply() {
    let cases = [
        (":irc.test 401 help anna :No such nick or channel name", FaultKind::Refused),
        (":irc.test 404 help anna :Cannot send", FaultKind::Refused),
        (":irc.test 477 help anna :You need to be identified", FaultKind::Refused),
        (":irc.test 486 help anna :You must log in", FaultKind::Refused),
        (":irc.test 531 help anna :registered only", FaultKind::Refused),
        (":irc.test 716 help anna :is in +g mode", FaultKind::Refused),
        (":irc.test 492 help :Cannot send CTCP", FaultKind::Refused),
        (":irc.test 417 help :Input line was too long", FaultKind::Refused),
        (":irc.test 407 help anna :Too many targets", FaultKind::Retry { after: Some(Duration::from_mins(1)) }),
        (
            ":irc.test 707 help anna :Targets changing too fast",
            FaultKind::Retry { after: Some(Duration::from_mins(1)) },
        ),
        (":irc.test 439 help anna :Target change too fast", FaultKind::Retry { after: Some(Duration::from_mins(1)) }),
        (
            ":irc.test NOTICE help :*** Message to anna throttled due to flooding",
            FaultKind::Retry { after: Some(Duration::from_mins(1)) },
        ),
        ("FAIL PRIVMSG INVALID_UTF8 :Message rejected", FaultKind::Refused),
    ];
    for (line, kind) in cases {
        let (mut play, thread) = with_anna(&json!({}));
        let token = fly(&mut play, &thread, "hello");
        play.read(line);
        play.read(&format!(":irc.test PONG irc.test :{token}"));
        assert_eq!(play.settled.len(), 1, "{line}");
        assert_eq!(play.kind(), kind, "{line}");
    }
}

#[test]
fn a_bounce_after_the_proof_turns_the_message_into_a_failed_one() {
    let (mut play, thread) = with_anna(&json!({}));
    let token = fly(&mut play, &thread, "hello");
    play.read(&format!(":irc.test PONG irc.test :{token}\n:far.test 401 help anna :No such nick"));
    let Report::Receipt { key, receipt } = &play.events[1].report else { panic!("{:?}", play.events[1]) };
    assert_eq!(key.as_str(), "support/1/0");
    assert!(matches!(receipt, bridge_api::Receipt::Failed(_)));
}

#[test]
fn with_labels_only_the_labelled_echo_is_the_proof() {
    let (mut play, thread) = with_watched_anna(LABELS);
    play.send(&thread, "hello");
    play.expect(&["@label=d1 PRIVMSG anna :hello"]);
    play.read(":help!help@host.example PRIVMSG anna :hello");
    assert!(play.settled.is_empty(), "somebody else's echo");
    play.read("@label=d1;msgid=abc :help!help@host.example PRIVMSG anna :hello");
    assert_eq!(play.outcome().unwrap().unwrap().event.unwrap().as_str(), "abc");
}

#[test]
fn any_other_labelled_answer_is_a_failure() {
    let cases = [
        "@label=d1 :irc.test 401 help anna :No such nick",
        "@label=d1 :irc.test NOTICE help :*** Message to anna throttled due to flooding",
        "@label=d1 :irc.test ACK",
        "@label=d1 :irc.test FAIL PRIVMSG INVALID_UTF8 :no",
        "@label=d1 :irc.test BATCH +b labeled-response\n@batch=b :irc.test 716 help anna :is in +g mode\n@batch=b :irc.test 717 help anna :informed\n:irc.test BATCH -b",
        "@label=d1 :irc.test BATCH +b labeled-response\n:irc.test BATCH -b",
    ];
    for lines in cases {
        let (mut play, thread) = with_watched_anna(LABELS);
        play.send(&thread, "hello");
        play.read(lines);
        assert_eq!(play.settled.len(), 1, "{lines}");
        assert!(play.outcome().is_err(), "{lines}");
    }
}

#[test]
fn an_away_person_is_reached_and_the_agent_is_told() {
    let (mut play, thread) = with_watched_anna(LABELS);
    play.send(&thread, "hello");
    play.read(
        "@label=d1 :irc.test BATCH +b labeled-response
         @batch=b :irc.test 301 help anna :at lunch
         @batch=b;msgid=x :help!help@host.example PRIVMSG anna :hello
         :irc.test BATCH -b",
    );
    assert!(play.outcome().unwrap().unwrap().remark.unwrap().contains("at lunch"));
}

#[test]
fn an_away_text_is_told_once_until_it_changes_or_ends() {
    let (mut play, thread) = with_watched_anna(LABELS);
    let mut remark = |away: &str| {
        play.send(&thread, "hello");
        play.pass_seconds(5);
        let wrote = play.wrote();
        let label = wrote.last().unwrap().strip_prefix("@label=").unwrap().split(' ').next().unwrap().to_owned();
        play.read(&format!("@label={label} :irc.test BATCH +b labeled-response"));
        if !away.is_empty() {
            play.read(&format!("@batch=b :irc.test 301 help anna :{away}"));
        }
        play.read("@batch=b;msgid=x :help!help@host.example PRIVMSG anna :hello\n:irc.test BATCH -b");
        play.outcome().unwrap().unwrap().remark.is_some()
    };
    let told = ["lunch", "lunch", "asleep", "", "asleep"].map(&mut remark);
    assert_eq!(told, [true, false, true, false, true]);
}

#[test]
fn an_echo_without_labels_is_matched_by_target() {
    let (mut play, thread) = with_watched_anna("echo-message message-tags server-time");
    play.send(&thread, "hello");
    play.expect(&["PRIVMSG anna :hello"]);
    play.read("@msgid=q :help!help@host.example PRIVMSG other :hello");
    assert!(play.settled.is_empty());
    play.read("@msgid=x :help!help@host.example PRIVMSG anna :hello with the colours gone");
    assert_eq!(play.outcome().unwrap().unwrap().event.unwrap().as_str(), "x");
}

#[test]
fn a_broken_connection_leaves_the_written_unknown_and_the_rest_undone() {
    let (mut play, thread) = with_anna(&json!({}));
    play.read(":ben!~ben@home PRIVMSG help :hi");
    let other = play.thread(1);
    play.pass_seconds(5);
    play.wrote();
    fly(&mut play, &thread, "hello");
    play.send(&other, "waits for its check");
    play.closed();
    let kinds: Vec<_> = play.settled.drain(..).map(|(_, result)| result.unwrap_err().kind).collect();
    assert_eq!(kinds[0], FaultKind::Unknown);
    assert!(matches!(kinds[1], FaultKind::Down { .. }));
    assert!(matches!(play.probe("support/1/0").unwrap_err().kind, FaultKind::Down { .. }));
    assert_eq!(play.probe("support/2/0").unwrap(), None, "never written");
}

#[test]
fn a_probe_waits_until_the_ghost_cannot_deliver_any_more() {
    let (mut play, thread) = with_anna(&json!({}));
    fly(&mut play, &thread, "hello");
    play.closed();
    play.connect();
    play.read(":irc.test CAP * LS :\n:irc.test 433 * help :in use\n:irc.test 001 help_ :Hi\n:irc.test 422 help_ :x");
    assert!(matches!(play.probe("support/1/0").unwrap_err().kind, FaultKind::Retry { after: Some(_) }));
    play.read(":help_!~help@host NICK :help");
    assert_eq!(play.probe("support/1/0").unwrap_err().kind, FaultKind::Unknown, "the old nick is free");
}

#[test]
fn a_probe_waits_two_minutes_at_most() {
    let (mut play, thread) = with_anna(&json!({}));
    fly(&mut play, &thread, "hello");
    play.closed();
    play.connect();
    play.read(":irc.test CAP * LS :\n:irc.test 433 * help :in use\n:irc.test 001 help_ :Hi\n:irc.test 422 help_ :x");
    for _ in 0..3 {
        play.pass_seconds(39);
        assert!(matches!(play.probe("support/1/0").unwrap_err().kind, FaultKind::Retry { .. }));
        play.read(":irc.test PING :alive");
    }
    play.pass_seconds(4);
    assert_eq!(play.probe("support/1/0").unwrap_err().kind, FaultKind::Unknown);
}

#[test]
fn a_reply_without_proof_ends_before_the_gateway_gives_up() {
    let (mut play, thread) = with_anna(&json!({}));
    fly(&mut play, &thread, "hello");
    play.pass_seconds(26);
    assert_eq!(play.kind(), FaultKind::Unknown);
    let (mut play, thread) = with_anna(&json!({ "pace": { "burst": 1, "per_second": 0.05 } }));
    for _ in 0..4 {
        play.send(&thread, "hello");
    }
    for _ in 0..9 {
        play.pass_seconds(10);
        play.read(":irc.test PONG irc.test :x");
    }
    assert_eq!(play.settled.len(), 4, "all ended within 90 s");
}

#[test]
fn replies_to_one_thread_leave_one_by_one() {
    let (mut play, thread) = with_watched_anna(LABELS);
    play.send(&thread, "one");
    play.send(&thread, "two");
    play.expect(&["@label=d1 PRIVMSG anna :one"]);
    play.read("@label=d1 :help!help@host.example PRIVMSG anna :one");
    play.expect(&["@label=d2 PRIVMSG anna :two"]);
}

#[test]
fn offline_hold_waits_for_the_account_and_never_for_a_session() {
    let nobody = ":irc.test 401 help anna :No such nick\n:irc.test 318 help anna :End";
    let caps = "account-tag batch echo-message labeled-response message-tags";
    let mut play = Play::modern(&json!({ "offline": "hold" }), caps);
    play.read("@account=anna :anna!a@h PRIVMSG help :one");
    play.send("a:anna", "hello");
    play.read(nobody);
    assert!(matches!(play.kind(), FaultKind::Retry { after: Some(_) }));
    play.read(":anna!a@h PRIVMSG help :two");
    let session = play.thread(1);
    play.send(&session, "hello");
    play.pass_seconds(10);
    play.read(nobody);
    assert_eq!(play.kind(), FaultKind::Refused);
}

#[test]
fn the_pace_of_the_server_is_never_exceeded() {
    for (more, burst, per_second) in [
        (json!({}), 3.0, 2.0),
        (json!({ "pace": "libera" }), 4.0, 0.5),
        (json!({ "pace": { "burst": 1, "per_second": 1.0 } }), 1.0, 1.0),
    ] {
        let mut play = Play::ngircd(&more);
        for n in 0..30 {
            play.read(&format!(":peer{n}!~p@home PRIVMSG help :hi"));
        }
        let threads: Vec<String> = (0..30).map(|n| play.thread(n)).collect();
        for thread in &threads {
            play.send(thread, "hello");
        }
        let from = play.written_at.len();
        // A server that answers all at once.
        for _ in 0..2000 {
            play.pass(Duration::from_millis(50));
            for line in play.wrote() {
                if let Some(nick) = line.strip_prefix("WHOIS ").and_then(|rest| rest.split(' ').next()) {
                    play.read(&whois(nick, "~p@home", START_MILLIS / 1000 - 50));
                } else if let Some(token) = line.strip_prefix("PING :") {
                    play.read(&format!(":irc.test PONG irc.test :{token}"));
                }
            }
        }
        let at: Vec<f64> = play.written_at[from..].iter().map(Duration::as_secs_f64).collect();
        assert!(at.len() > 25, "{}", at.len());
        for first in 0..at.len() {
            for last in first..at.len() {
                let allowed = burst + per_second * (at[last] - at[first]) + 0.01;
                assert!(
                    (last - first + 1) as f64 <= allowed,
                    "{} lines in {} s",
                    last - first + 1,
                    at[last] - at[first]
                );
            }
        }
    }
}

#[test]
fn nothing_an_agent_writes_becomes_a_second_command() {
    for text in [
        "a\r\nQUIT",
        "a\rQUIT",
        "a\nQUIT :x",
        "\0a\0",
        "\u{1}VERSION\u{1}",
        ":x",
        "/quit",
        "a\u{85}b\u{2028}c",
        " lead",
    ] {
        let (mut play, thread) = with_watched_anna(LABELS);
        play.send(&thread, text);
        for line in play.wrote() {
            let line = Line::parse(&line).unwrap();
            assert!(line.is("PRIVMSG") && line.param(0) == Some("anna") && line.params().len() == 2, "{line:?}");
            assert!(!line.last().contains(['\u{1}', '\0', '\r', '\n']));
        }
    }
}

#[test]
fn a_line_that_no_longer_fits_is_cut_again() {
    let (mut play, thread) = with_watched_anna(LABELS);
    play.send(&thread, &"word ".repeat(150));
    let wrote = play.wrote();
    assert_eq!(wrote.len(), 2);
    assert!(wrote.iter().all(|line| line.len() <= 510 && line.contains("PRIVMSG anna :word")), "{wrote:?}");
    play.read("@label=d1 :help!h@host PRIVMSG anna :x");
    assert!(play.settled.is_empty(), "half of it is not all of it");
    play.read("@label=d2 :help!h@host PRIVMSG anna :x");
    assert!(play.outcome().is_ok());
}

#[test]
fn marks_that_cannot_be_sent_are_left_out_and_the_rest_is_kept() {
    let (mut play, thread) = with_watched_anna(LABELS);
    play.send(&thread, "a\0b\u{1}c");
    play.expect(&["@label=d1 PRIVMSG anna :abc"]);
}

#[test]
fn a_refusal_fails_the_reply_to_that_person_and_no_other() {
    let (mut play, anna) = with_anna(&json!({ "pace": { "burst": 20, "per_second": 10.0 } }));
    play.read(":ben!~ben@home PRIVMSG help :hi");
    let ben = play.thread(1);
    play.read(&whois("ben", "~ben@home", START_MILLIS / 1000 - 50));
    play.wrote();
    let first = fly(&mut play, &anna, "to anna");
    play.send(&ben, "to ben");
    play.read(&whois("ben", "~ben@home", START_MILLIS / 1000 - 50));
    assert!(play.wrote().contains(&"PRIVMSG ben :to ben".to_owned()));
    play.read(":irc.test 404 help ben :Cannot send");
    assert_eq!(play.kind(), FaultKind::Refused);
    assert!(play.settled.is_empty(), "anna's is still on its way");
    play.read(&format!(":irc.test PONG irc.test :{first}"));
    assert!(play.outcome().is_ok());
}

#[test]
fn an_agent_whose_reply_was_cut_is_told_how_much_was_not_sent() {
    let (mut play, thread) = with_anna(&json!({}));
    let token = fly(&mut play, &thread, "(cut here: 12 more lines do not fit on irc)");
    play.read(&format!(":irc.test PONG irc.test :{token}"));
    let remark = play.outcome().unwrap().unwrap().remark.unwrap();
    assert!(remark.contains("its last 12 lines were not sent"), "{remark}");
    play.pass_seconds(10);
    play.wrote();
    let token = fly(&mut play, &thread, "(cut here: 12 more lines do not fit on irc)");
    play.read(&format!(":irc.test 301 help anna :at lunch\n:irc.test PONG irc.test :{token}"));
    let remark = play.outcome().unwrap().unwrap().remark.unwrap();
    assert!(remark.contains("12 lines were not sent") && remark.contains("at lunch"), "each time: {remark}");
}
