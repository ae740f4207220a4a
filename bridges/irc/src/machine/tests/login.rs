//! SASL and its failures.

use super::*;

fn sasl(more: &Value) -> Value {
    let mut sasl = json!({ "mechanism": "plain", "account": "jilles", "password": "sesame" });
    for (key, value) in more.as_object().unwrap() {
        sasl[key] = value.clone();
    }
    json!({ "tls": true, "sasl": sasl })
}

#[test]
fn registration_begins_with_capabilities_and_ends_them() {
    let mut play = Play::new(&json!({ "username": "acme", "realname": "Acme support" }));
    play.connect();
    play.expect(&["CAP LS 302", "NICK help", "USER acme 0 * :Acme support"]);
    play.read(":irc.test CAP * LS :multi-prefix unknown/cap ");
    play.expect(&["CAP REQ :multi-prefix"]);
    play.read(":irc.test CAP help ACK :multi-prefix ");
    play.expect(&["CAP END"]);
    play.read(":irc.test 001 help :Welcome\n:irc.test 376 help :End of MOTD");
    assert!(play.is_up());
}

#[test]
fn a_password_goes_before_the_nick() {
    let mut play = Play::new(&json!({ "tls": true, "password": "open:sesame" }));
    play.connect_with(true);
    play.expect(&["CAP LS 302", "PASS :open:sesame", "NICK help", "USER help 0 * :deskbridge"]);
}

#[test]
fn an_offer_in_several_lines_is_answered_once() {
    let mut play = Play::new(&json!({}));
    play.connect();
    play.wrote();
    play.read(":ergo.test CAP * LS * :account-notify account-tag draft/unknown");
    play.expect(&[]);
    play.read(":ergo.test CAP * LS :echo-message server-time sasl=PLAIN,EXTERNAL");
    play.expect(&["CAP REQ :account-notify account-tag echo-message server-time"]);
}

#[test]
fn a_refused_request_is_made_again_one_by_one_with_the_login_first() {
    let mut play = Play::new(&sasl(&json!({})));
    play.connect_with(true);
    play.wrote();
    play.read(":irc.test CAP * LS :account-tag batch sasl=PLAIN");
    play.expect(&["CAP REQ :account-tag batch sasl"]);
    play.read(":irc.test CAP * NAK :account-tag batch sasl");
    play.expect(&["CAP REQ :sasl", "CAP REQ :account-tag", "CAP REQ :batch"]);
    play.read(":irc.test CAP * ACK :sasl\n:irc.test CAP * NAK :account-tag");
    play.expect(&[]);
    play.read(":irc.test CAP * ACK :batch");
    play.expect(&["AUTHENTICATE PLAIN"]);
    play.read("AUTHENTICATE +");
    play.expect(&["AUTHENTICATE amlsbGVzAGppbGxlcwBzZXNhbWU="]);
    play.read(
        ":irc.test 900 * * jilles :You are now logged in as jilles\n:irc.test 903 * :SASL authentication successful",
    );
    play.expect(&["CAP END"]);
    play.read(":irc.test 001 help :Welcome\n:irc.test 422 help :no motd");
    assert!(play.is_up());
}

#[test]
fn a_server_without_capabilities_is_registered_with_all_the_same() {
    let mut play = Play::new(&json!({}));
    play.connect();
    play.wrote();
    play.read(":irc.test 421 * CAP :Unknown command\n:irc.test 001 help :Welcome\n:irc.test 376 help :End");
    play.expect(&["WHOIS help help"]);
    assert!(play.is_up());
}

#[test]
fn a_login_that_is_required_and_fails_keeps_us_off_the_network_for_minutes() {
    let cases = [
        (":irc.test CAP * LS :multi-prefix\n:irc.test CAP * ACK :multi-prefix", 30..60),
        (":irc.test CAP * LS :sasl=EXTERNAL\n:irc.test CAP * ACK :sasl", 300..400),
        (
            ":irc.test CAP * LS :sasl\n:irc.test CAP * ACK :sasl\nAUTHENTICATE +\n:irc.test 904 * :SASL authentication failed",
            300..400,
        ),
        (":irc.test 421 * CAP :Unknown command\n:irc.test 001 help :Hi\n:irc.test 422 help :no motd", 30..60),
    ];
    for (lines, seconds) in cases {
        let mut play = Play::new(&sasl(&json!({})));
        play.connect_with(true);
        play.read(lines);
        assert!(play.closes, "{lines}");
        assert!(!play.wrote().iter().any(|line| line == "CAP END"), "{lines}");
        play.closed();
        let wait = play.redial.unwrap().as_secs();
        assert!(seconds.contains(&wait), "{lines}: {wait}");
        assert!(matches!(play.states.last(), Some(BridgeState::Down { .. })));
    }
}

#[test]
fn a_login_that_is_not_required_leaves_the_bridge_degraded() {
    let mut play = Play::new(&sasl(&json!({ "required": false })));
    play.connect_with(true);
    play.read(":irc.test CAP * LS :multi-prefix\n:irc.test CAP * ACK :multi-prefix");
    assert_eq!(play.wrote().last().unwrap(), "CAP END");
    play.read(":irc.test 001 help :Welcome\n:irc.test 422 help :no motd");
    assert!(matches!(play.states.last(), Some(BridgeState::Degraded { .. })), "{:?}", play.states);
}

#[test]
fn a_login_that_never_ends_does_not_hold_the_registration() {
    let mut play = Play::new(&sasl(&json!({ "required": false })));
    play.connect_with(true);
    play.read(":irc.test CAP * LS :sasl\n:irc.test CAP * ACK :sasl");
    play.wrote();
    play.pass_seconds(29);
    play.expect(&[]);
    play.pass_seconds(1);
    play.expect(&["CAP END"]);
    play.pass_seconds(30);
    assert!(play.closes, "the server never said welcome");
}

#[test]
fn tls_asked_for_on_plain_text_comes_before_any_secret() {
    let mut play = Play::new(&json!({ "password": "sesame" }));
    play.connect();
    play.expect(&["CAP LS 302"]);
    play.read(":irc.test CAP * LS :sts=port=6697 multi-prefix");
    play.expect(&[]);
    assert!(play.closes);
    play.closed();
    assert_eq!(play.redial, Some(Duration::ZERO));
    let endpoint = play.machine.endpoint();
    assert_eq!((endpoint.port, endpoint.tls.is_some()), (6697, true));
    play.connect_with(true);
    play.read(":irc.test CAP * LS :sts=duration=300");
    let saved = play.cursors.clone();
    assert!(saved["sts/irc.example"].starts_with("6697 300 "), "{saved:?}");
    let later = Play::after(&json!({}), saved.clone());
    assert!(later.machine.endpoint().tls.is_some(), "remembered over a restart");
    play.closed();
    play.connect_with(true);
    play.read(":irc.test CAP * LS :sts=duration=0");
    assert!(play.cursors.is_empty());
}

#[test]
fn a_policy_runs_out_after_the_last_connection() {
    let mut play = Play::new(&json!({}));
    play.read("");
    play.connect_with(true);
    play.read(":irc.test CAP * LS :sts=duration=300");
    play.pass_seconds(20);
    play.closed();
    play.pass_seconds(299);
    assert!(play.machine.endpoint().tls.is_some());
    play.pass_seconds(2);
    assert!(play.machine.endpoint().tls.is_none());
}

#[test]
fn a_taken_nick_is_replaced_and_taken_back() {
    let mut play = Play::new(&json!({}));
    play.connect();
    play.read(":irc.test CAP * LS :\n:irc.test 433 * help :Nickname is already in use");
    assert_eq!(play.wrote().last().unwrap(), "NICK help_");
    play.read(":irc.test 433 * help_ :Nickname is already in use");
    play.expect(&["NICK help__"]);
    play.read(":irc.test 001 help__ :Welcome\n:irc.test 376 help__ :End");
    assert!(matches!(play.states.last(), Some(BridgeState::Degraded { reason }) if reason.contains("help__")));
    play.send("s:0", "never under another name");
    assert!(matches!(play.kind(), FaultKind::Down { .. }));
    play.wrote();
    play.pass_seconds(3);
    play.expect(&["NICK help"]);
    play.read(":irc.test 433 help__ help :Nickname is already in use");
    play.pass_seconds(60);
    assert!(play.wrote().iter().filter(|line| *line == "NICK help").count() <= 5);
    play.read(":help__!h@host NICK :help");
    assert!(play.is_up());
}

#[test]
fn a_nick_that_was_freed_is_asked_for_at_once() {
    let mut play = Play::new(&json!({}));
    play.connect();
    play.read(":irc.test CAP * LS :\n:irc.test 433 * help :in use\n:irc.test 001 help_ :Hi\n:irc.test 005 help_ MONITOR=10 :ok\n:irc.test 376 help_ :End");
    play.pass_seconds(1);
    assert!(play.wrote().contains(&"MONITOR + help".to_owned()));
    play.read(":irc.test 731 help_ :help");
    play.pass_seconds(2);
    assert_eq!(play.wrote(), ["NICK help"]);
}

#[test]
fn a_nick_that_is_refused_twice_is_a_mistake_in_the_settings() {
    let mut play = Play::new(&json!({}));
    play.connect();
    play.read(
        ":irc.test CAP * LS :\n:irc.test 432 * help :Erroneous Nickname\n:irc.test 432 * help_ :Erroneous Nickname",
    );
    assert!(play.closes);
    play.closed();
    assert!(play.redial.unwrap() >= Duration::from_mins(5));
}

#[test]
fn a_nick_cut_by_the_server_is_ours() {
    let mut play = Play::new(&json!({ "nick": "acme-support-desk" }));
    play.connect();
    play.read(":irc.test CAP * LS :\n:irc.test 001 acme-supp :Hi\n:irc.test 005 acme-supp NICKLEN=9 :ok\n:irc.test 422 acme-supp :x");
    assert!(play.is_up(), "{:?}", play.states);
}

/// Logged in, while somebody else holds the nick.
fn without_nick(more: &Value) -> Play {
    let mut table = sasl(&json!({}));
    for (key, value) in more.as_object().unwrap() {
        table[key] = value.clone();
    }
    let mut play = Play::new(&table);
    play.connect_with(true);
    play.read(
        ":irc.test CAP * LS :sasl=PLAIN\n:irc.test 433 * help :in use\n:irc.test CAP * ACK :sasl\nAUTHENTICATE +
         :irc.test 900 * * jilles :You are now logged in as jilles\n:irc.test 903 * :ok
         :irc.test 001 help_ :Hi\n:irc.test 005 help_ MONITOR=10 :ok\n:irc.test 376 help_ :End",
    );
    play.wrote();
    play
}

/// Lets time pass on a server that says no to every NICK; what was written with each second.
fn refused_for(play: &mut Play, seconds: u64) -> Vec<(u64, String)> {
    let mut wrote = Vec::new();
    for second in 0..seconds {
        play.pass_seconds(1);
        for line in play.wrote() {
            match line.as_str() {
                "NICK help" => play.read(":irc.test 433 help_ help :Nickname is already in use"),
                _ if line.starts_with("PING") => play.read(":irc.test PONG irc.test :x"),
                _ => {}
            }
            wrote.push((second, line));
        }
    }
    wrote
}

#[test]
fn services_are_asked_for_the_nick_three_times_in_ten_minutes() {
    let mut play = without_nick(&json!({ "regain": ["GHOST {nick}", "REGAIN {nick}"] }));
    let wrote = refused_for(&mut play, 600);
    let asks: Vec<&str> =
        wrote.iter().map(|(_, line)| line.as_str()).filter(|line| line.starts_with("PRIVMSG")).collect();
    assert_eq!(asks, ["PRIVMSG NickServ :GHOST help", "PRIVMSG NickServ :REGAIN help"].repeat(3));
    play.read(":help_!h@host NICK :help");
    assert!(play.is_up());
}

#[test]
fn after_three_quick_tries_the_nick_is_asked_for_ever_more_rarely() {
    let mut play = without_nick(&json!({}));
    let wrote = refused_for(&mut play, 4000);
    let tries: Vec<u64> = wrote.iter().filter(|(_, line)| line == "NICK help").map(|(second, _)| *second).collect();
    assert!(wrote.iter().all(|(_, line)| !line.starts_with("PRIVMSG")), "off unless asked for");
    let waits: Vec<u64> = tries.windows(2).map(|pair| pair[1] - pair[0]).collect();
    for (wait, expected) in waits[2..].iter().zip([60, 120, 240, 480, 600, 600]) {
        assert!(wait.abs_diff(expected) <= 2, "{waits:?}");
    }
    assert!(tries[2] <= 20, "{tries:?}");
}

#[test]
fn a_nick_that_was_freed_needs_no_services() {
    let pace = json!({ "burst": 20, "per_second": 10.0 });
    let mut play = without_nick(&json!({ "regain": ["REGAIN {nick}"], "pace": pace }));
    play.pass_seconds(1);
    play.wrote();
    play.read(":irc.test 731 help_ :help");
    play.pass(Duration::from_millis(500));
    play.expect(&["NICK help"]);
}

#[test]
fn services_are_not_asked_by_a_bridge_without_an_account() {
    let mut play = Play::new(&json!({ "regain": ["REGAIN {nick}"] }));
    play.connect();
    play.read(":irc.test CAP * LS :\n:irc.test 433 * help :in use\n:irc.test 001 help_ :Hi\n:irc.test 376 help_ :End");
    assert!(refused_for(&mut play, 60).iter().all(|(_, line)| !line.contains("NickServ")));
}
