//! The life of a connection: registration, pings, endings, reconnects.

use super::*;

#[test]
fn a_silent_server_is_asked_and_then_given_up() {
    let mut play = Play::ngircd(&json!({}));
    play.read(":irc.test PING :x");
    play.wrote();
    play.pass_seconds(59);
    play.expect(&[]);
    play.pass_seconds(1);
    let wrote = play.wrote();
    assert!(wrote.len() == 1 && wrote[0].starts_with("PING :"), "{wrote:?}");
    play.read(":irc.test PONG irc.test :alive-1");
    play.pass_seconds(60);
    assert_eq!(play.wrote().len(), 1);
    play.pass_seconds(29);
    assert!(!play.closes);
    play.pass_seconds(1);
    assert!(play.closes);
    play.closed();
    assert!((2..=10).contains(&play.redial.unwrap().as_secs()));
}

#[test]
fn ping_is_answered_with_exactly_what_came() {
    let mut play = Play::ngircd(&json!({}));
    play.read("PING irc.test\nPING :two words\n:irc.test PING one two");
    play.expect(&["PONG :irc.test", "PONG :two words", "PONG one :two"]);
}

#[test]
fn the_reason_for_an_end_decides_when_we_come_back() {
    let cases = [
        ("ERROR :Closing Link: help[127.0.0.1] (Killed (oper (spam)))", 60..76),
        (":oper!o@h KILL help :spam\nERROR :Closing Link", 60..76),
        (":irc.test 465 help :You are banned from this server\nERROR :Closing Link", 1800..2251),
        ("ERROR :Closing Link: (K-Lined)", 1800..2251),
        ("ERROR :Trying to reconnect too fast.", 60..76),
        ("ERROR :Closing Link: Excess Flood", 30..38),
        ("ERROR :Too many host connections (local)", 300..376),
        (":irc.test 464 help :Bad password\nERROR :Closing Link: Access denied", 1800..2251),
        ("ERROR :Server going down", 2..6),
        ("", 2..6),
    ];
    for (lines, seconds) in cases {
        let mut play = Play::ngircd(&json!({}));
        play.read(lines);
        play.closed();
        let wait = play.redial.unwrap().as_secs();
        assert!(seconds.contains(&wait), "{lines}: {wait}");
        assert!(matches!(play.states.last(), Some(BridgeState::Down { reason }) if !reason.is_empty()));
    }
}

#[test]
fn a_ban_told_by_a_notice_before_the_welcome_is_one() {
    let mut play = Play::new(&json!({}));
    play.connect();
    play.read(":irc.test NOTICE * :*** Banned: no bots\nERROR :Closing Link");
    play.closed();
    assert!(play.redial.unwrap() >= Duration::from_mins(30));
}

#[test]
fn after_a_flood_kill_the_pace_is_halved() {
    let mut play = Play::ngircd(&json!({}));
    play.read("ERROR :Closing Link: Excess Flood");
    play.closed();
    assert!((play.machine.pace_share - 0.5).abs() < 1e-9);
}

#[test]
fn a_stop_says_goodbye_and_does_not_come_back() {
    let mut play = Play::ngircd(&json!({}));
    play.input(Input::Stop);
    play.expect(&["QUIT :the gateway is stopping"]);
    play.closed();
    assert_eq!(play.redial, None);
    let mut play = Play::new(&json!({}));
    play.input(Input::Stop);
    play.expect(&[]);
}

#[test]
fn what_comes_between_goodbye_and_the_end_still_counts() {
    let caps = "account-tag batch echo-message labeled-response message-tags";
    let mut play = Play::modern(&json!({ "channels": [{ "name": "#help" }] }), &format!("{caps} account-notify"));
    play.read(":help!help@host JOIN #help\n:irc.test 353 help = #help :help anna\n:irc.test 366 help #help :End");
    play.read("@account=anna :anna!a@h PRIVMSG help :one");
    play.send("a:anna", "hello");
    play.input(Input::Stop);
    let wrote = play.wrote();
    assert!(wrote[wrote.len() - 2].ends_with("PRIVMSG anna :hello"), "{wrote:?}");
    play.read("@label=d1 :help!help@host PRIVMSG anna :hello\n@account=anna :anna!a@h PRIVMSG help :two");
    assert!(play.outcome().is_ok());
    assert_eq!(play.texts(), ["one", "two"]);
    play.send("a:anna", "too late");
    assert!(matches!(play.kind(), FaultKind::Down { .. }));
    play.closed();
    assert_eq!(play.redial, None);
}

#[test]
fn ctcp_is_answered_by_notice_a_few_times_and_opens_nothing() {
    let mut play = Play::ngircd(&json!({ "pace": { "burst": 100, "per_second": 100.0 } }));
    for n in 0..5 {
        play.read(&format!(":anna!~a@h PRIVMSG help :\u{1}PING {n}\u{1}"));
    }
    play.expect(&["NOTICE anna :\u{1}PING 0\u{1}", "NOTICE anna :\u{1}PING 1\u{1}", "NOTICE anna :\u{1}PING 2\u{1}"]);
    play.pass_seconds(11);
    play.read(":anna!~a@h PRIVMSG help :\u{1}DCC SEND x 1 2 3\u{1}\n:anna!~a@h NOTICE help :\u{1}VERSION x\u{1}");
    play.expect(&[]);
    assert!(play.events.is_empty());
    play.read(":anna!~a@h PRIVMSG help :\u{1}ACTION waves\u{1}");
    assert_eq!(play.events.len(), 1, "an action is a message");
}

#[test]
fn several_lines_sent_as_one_are_one_message() {
    let mut play = Play::modern(&json!({}), "account-tag batch draft/multiline message-tags server-time");
    play.read(
        "@msgid=m1;account=anna :anna!a@h BATCH +1 draft/multiline help
         @batch=1 :anna!a@h PRIVMSG help :one
         @batch=1 :anna!a@h PRIVMSG help :two
         @batch=1;draft/multiline-concat :anna!a@h PRIVMSG help : and a half
         :anna!a@h BATCH -1",
    );
    assert_eq!(play.texts().len(), 1);
    assert!(play.texts()[0].contains("two and a half"), "{:?}", play.texts());
    assert_eq!(play.events[0].event.as_str(), "m1");
}

#[test]
fn a_new_case_mapping_folds_again_what_was_stored() {
    let mut play = Play::modern(&json!({ "channels": [{ "name": "#a[b", "listen": "all" }] }), "message-tags");
    play.read(
        ":help!help@host JOIN #a[b\n:irc.test 353 help = #a[b :help x]\n:irc.test 366 help #a[b :End
         :irc.test 005 help CASEMAPPING=rfc1459 :are supported
         :x}!a@h PRIVMSG #A{B :hello",
    );
    assert_eq!(play.texts(), ["hello"]);
}
