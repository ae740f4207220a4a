//! Who is who: sessions, accounts, take-overs.

use super::*;

const ANNA: &str = ":anna!~anna@home.example PRIVMSG help";
const SIGNON: i64 = START_MILLIS / 1000 - 1000;

fn say(play: &mut Play, text: &str) {
    play.read(&format!("{ANNA} :{text}"));
}

#[test]
fn the_first_line_is_reported_at_once_and_its_signon_is_asked_for() {
    let mut play = Play::ngircd(&json!({}));
    say(&mut play, "hello");
    assert_eq!(play.texts(), ["hello"]);
    assert!(play.thread(0).starts_with("s:"));
    play.expect(&["WHOIS anna anna"]);
    assert!(play.cursors.keys().any(|name| name.starts_with("peer/s:")));
    let event = &play.events[0];
    assert_eq!(event.at_millis, START_MILLIS);
    let message = message_of(event).unwrap();
    assert_eq!(message.peer.name, "anna");
    assert_eq!(message.peer.facts["host"], "~anna@home.example");
    assert_eq!(message.peer.facts["identity"], "session");
}

#[test]
fn later_lines_wait_for_whois_and_one_answer_covers_them_all() {
    let mut play = Play::ngircd(&json!({}));
    say(&mut play, "one");
    say(&mut play, "two");
    say(&mut play, "three");
    assert_eq!(play.texts(), ["one"]);
    assert_eq!(play.cursors.keys().filter(|name| name.starts_with("held/")).count(), 2);
    play.expect(&["WHOIS anna anna"]);
    play.read(&whois("anna", "~anna@home.example", SIGNON));
    assert_eq!(play.texts(), ["one", "two", "three"]);
    assert_eq!(play.thread(0), play.thread(2));
    assert!(play.cursors.keys().all(|name| !name.starts_with("held/")));
    say(&mut play, "four");
    assert_eq!(play.texts().len(), 3);
    play.expect(&["WHOIS anna anna"]);
    play.read(&whois("anna", "~anna@home.example", SIGNON));
    assert_eq!(play.thread(0), play.thread(3));
}

#[test]
fn another_connection_under_the_nick_is_somebody_new() {
    let changes = [("~anna@home.example", SIGNON + 100, "real name"), ("~anna@home.example", SIGNON, "another name")];
    for (mask, signon, realname) in changes {
        let mut play = Play::ngircd(&json!({}));
        say(&mut play, "one");
        play.read(&whois("anna", "~anna@home.example", SIGNON));
        say(&mut play, "two");
        play.read(&whois("anna", mask, signon).replace("real name", realname));
        assert_eq!(play.texts(), ["one", "two"]);
        assert_ne!(play.thread(0), play.thread(1), "{mask} {signon} {realname}");
    }
}

#[test]
fn another_mask_under_the_nick_is_somebody_new_at_once() {
    let mut play = Play::ngircd(&json!({}));
    say(&mut play, "one");
    play.read(&whois("anna", "~anna@home.example", SIGNON));
    play.read(":anna!~anna@elsewhere.example PRIVMSG help :two");
    assert_eq!(play.texts(), ["one", "two"]);
    assert_ne!(play.thread(0), play.thread(1));
}

#[test]
fn a_nick_taken_over_never_receives_the_others_reply() {
    let mut play = Play::ngircd(&json!({}));
    say(&mut play, "one");
    play.read(&whois("anna", "~anna@home.example", SIGNON));
    let thread = play.thread(0);
    play.pass_seconds(2);
    play.wrote();
    // Anna leaves, somebody with the same mask takes the nick, the agent answers Anna.
    play.send(&thread, "a secret");
    play.expect(&["WHOIS anna anna"]);
    play.read(&whois("anna", "~anna@home.example", SIGNON + 500));
    assert_eq!(play.kind(), FaultKind::Refused);
    assert!(play.wrote().iter().all(|line| !line.contains("secret")));
}

#[test]
fn whoever_connected_after_the_first_line_did_not_write_it() {
    let mut play = Play::ngircd(&json!({}));
    // Our own WHOIS told how the server's clock stands.
    assert!(play.machine.link.clock_offset.is_some_and(|offset| offset.abs() < 6000));
    say(&mut play, "one");
    let thread = play.thread(0);
    play.wrote();
    play.read(&whois("anna", "~anna@home.example", START_MILLIS / 1000 + 30));
    play.pass_seconds(2);
    play.send(&thread, "a secret");
    play.read(&whois("anna", "~anna@home.example", START_MILLIS / 1000 + 30));
    assert_eq!(play.kind(), FaultKind::Refused);
    assert!(play.wrote().iter().all(|line| !line.contains("secret")));
}

#[test]
fn lines_of_somebody_who_left_go_to_a_new_contact_with_a_remark() {
    let mut play = Play::ngircd(&json!({}));
    say(&mut play, "one");
    say(&mut play, "two");
    play.read(":irc.test 401 help anna :No such nick\n:irc.test 318 help anna :End of WHOIS list");
    assert_eq!(play.texts(), ["one", "two"]);
    assert_ne!(play.thread(0), play.thread(1));
    assert!(message_of(&play.events[1]).unwrap().peer.facts.contains_key("remark"));
}

#[test]
fn a_conversation_goes_on_after_a_restart_when_the_connection_is_the_same() {
    let mut play = Play::ngircd(&json!({}));
    say(&mut play, "one");
    play.read(&whois("anna", "~anna@home.example", SIGNON));
    say(&mut play, "two");
    assert_eq!(play.texts(), ["one"]);
    let thread = play.thread(0);
    // Killed with a line held.
    let mut play = Play::after(&json!({}), play.cursors);
    play.connect();
    play.welcome_ngircd_without_look();
    play.pass_seconds(2);
    play.expect_one_of("WHOIS anna anna");
    play.read(&whois("anna", "~anna@home.example", SIGNON));
    assert_eq!(play.texts(), ["two"]);
    assert_eq!(play.thread(0), thread);
    say(&mut play, "three");
    play.read(&whois("anna", "~anna@home.example", SIGNON));
    assert_eq!(play.thread(1), thread);
}

#[test]
fn whoever_has_the_nick_after_an_outage_is_not_taken_for_one_who_was_never_looked_at() {
    let mut play = Play::ngircd(&json!({}));
    say(&mut play, "one");
    let thread = play.thread(0);
    play.closed();
    play.connect();
    play.welcome_ngircd();
    play.send(&thread, "a secret");
    play.read(&whois("anna", "~anna@home.example", SIGNON));
    assert_eq!(play.kind(), FaultKind::Refused);
    assert!(play.wrote().iter().all(|line| !line.contains("secret")));
}

#[test]
fn after_too_many_idle_hours_everybody_is_new() {
    let mut play = Play::ngircd(&json!({ "session_idle_hours": 1 }));
    say(&mut play, "one");
    play.read(&whois("anna", "~anna@home.example", SIGNON));
    let saved = play.cursors.clone();
    assert!(saved.keys().any(|name| name.starts_with("peer/")));
    for _ in 0..70 {
        play.pass_seconds(80);
        play.read(":irc.test PONG irc.test :x");
    }
    assert!(play.cursors.is_empty(), "{:?}", play.cursors);
    say(&mut play, "two");
    assert_ne!(play.thread(0), play.thread(1));
}

#[test]
fn the_account_on_the_line_is_the_person_whatever_the_nick() {
    let mut play = Play::inspircd(&json!({}));
    play.read("@account=Anna;msgid=m1;time=2026-11-25T09:00:49.123Z :anna!a@h1 PRIVMSG help :one");
    play.read("@account=anna;msgid=m2 :anna|away!b@h2 PRIVMSG help :two");
    play.read("@msgid=m3 :anna|away!b@h2 PRIVMSG help :three");
    assert_eq!(play.texts(), ["one", "two", "three"]);
    assert_eq!([play.thread(0), play.thread(1)], ["a:anna", "a:anna"]);
    assert!(play.thread(2).starts_with("s:"));
    assert_eq!(play.events[0].event.as_str(), "m1");
    assert_eq!(play.events[0].at_millis, 1_795_597_249_123);
    assert!(play.wrote().iter().all(|line| !line.starts_with("WHOIS anna anna")), "no look-up for accounts");
}

#[test]
fn an_account_registered_anew_is_somebody_else() {
    let mut play = Play::inspircd(&json!({}));
    play.read("@account=anna;inspircd.org/account-id=5 :anna!a@h PRIVMSG help :one");
    play.read("@account=anna;inspircd.org/account-id=9 :anna!a@h PRIVMSG help :two");
    assert_eq!(play.thread(0), "a:anna");
    assert_ne!(play.thread(1), "a:anna");
    play.send("a:anna", "for the first one");
    assert_eq!(play.kind(), FaultKind::Refused);
}

#[test]
fn an_account_that_was_silent_for_two_months_is_not_taken_for_the_same_person() {
    let mut play = Play::inspircd(&json!({}));
    play.read("@account=anna :anna!a@h PRIVMSG help :one");
    let saved = play.cursors.clone();
    let mut play = Play::after(&json!({}), saved);
    play.now.millis += 61 * 24 * 3_600_000;
    play.connect();
    play.welcome_modern("account-tag message-tags");
    play.now.millis += 61 * 24 * 3_600_000;
    play.read("@account=anna :anna!a@h PRIVMSG help :two\n@account=anna :anna!a@h PRIVMSG help :three");
    assert_ne!(play.thread(0), "a:anna");
    assert!(play.thread(0).starts_with("a:anna:"));
    assert_eq!(play.thread(0), play.thread(1));
    play.send("a:anna", "for the first one");
    assert_eq!(play.kind(), FaultKind::Refused);
}

#[test]
fn a_reply_to_an_account_goes_only_to_who_is_logged_in_to_it_now() {
    let account = |name: &str| {
        whois("anna", "a@h", SIGNON)
            .replace(":irc.test 318", &format!(":irc.test 330 help anna {name} :is logged in as\n:irc.test 318"))
    };
    for (answer, goes) in [(account("anna"), true), (account("mallory"), false), (whois("anna", "a@h", SIGNON), false)]
    {
        let mut play = Play::inspircd(&json!({}));
        play.read("@account=anna :anna!a@h PRIVMSG help :one");
        play.wrote();
        play.send("a:anna", "hello");
        play.expect(&["WHOIS anna anna"]);
        play.read(&answer);
        assert_eq!(play.wrote().iter().any(|line| line.contains("PRIVMSG anna :hello")), goes, "{answer}");
    }
}

#[test]
fn a_watched_person_needs_one_proof_and_no_more() {
    let mut play = Play::inspircd(&json!({}));
    play.read(":anna!a@h PRIVMSG help :one");
    play.expect(&["MONITOR + anna", "WHOIS anna anna"]);
    play.read(":irc.test 730 help :anna!a@h");
    play.read(&whois("anna", "a@h", SIGNON));
    play.read(":anna!a@h PRIVMSG help :two");
    assert_eq!(play.texts(), ["one", "two"]);
    assert_eq!(play.thread(0), play.thread(1));
    let thread = play.thread(0);
    play.send(&thread, "hello");
    play.expect(&["@label=d1 PRIVMSG anna :hello"]);
    // Gone and back is no longer proved.
    play.read("@label=d1;msgid=x :help!help@host.example PRIVMSG anna :hello");
    play.read(":irc.test 731 help :anna\n:irc.test 730 help :anna!a@h");
    play.send(&thread, "and again");
    play.expect(&["WHOIS anna anna"]);
    play.read(&whois("anna", "a@h", SIGNON + 60));
    assert_eq!(play.kind(), FaultKind::Refused);
}

#[test]
fn a_rename_that_was_seen_changes_where_the_reply_goes() {
    let mut play = Play::inspircd(&json!({ "channels": [{ "name": "#help", "listen": "all" }] }));
    play.read(
        ":help!help@host.example JOIN #help * :x\n:irc.test 353 help = #help :help anna\n:irc.test 366 help #help :End",
    );
    play.read(":anna!a@h PRIVMSG help :one");
    play.read(":anna!a@h NICK anna2");
    play.read(":anna2!a@h PRIVMSG help :two");
    assert_eq!(play.texts(), ["one", "two"]);
    assert_eq!(play.thread(0), play.thread(1));
    let thread = play.thread(0);
    play.wrote();
    play.send(&thread, "hello");
    assert!(play.wrote().iter().any(|line| line.ends_with("PRIVMSG anna2 :hello")));
}

#[test]
fn a_busy_server_is_asked_again_later_and_proves_nothing() {
    let mut play = Play::ngircd(&json!({}));
    say(&mut play, "one");
    say(&mut play, "two");
    play.wrote();
    play.read(":irc.test 263 help WHOIS :This command could not be completed because it has been used recently");
    assert_eq!(play.texts(), ["one"]);
    play.expect(&[]);
    play.pass_seconds(11);
    play.expect(&["WHOIS anna anna"]);
    play.read(&whois("anna", "~anna@home.example", SIGNON));
    assert_eq!(play.texts(), ["one", "two"]);
}

#[test]
fn servers_services_and_we_ourselves_are_never_contacts() {
    let mut play = Play::inspircd(&json!({}));
    play.read(
        ":irc.test PRIVMSG help :a server
         :NickServ!services@services.irc.test PRIVMSG help :a service
         PRIVMSG help :nobody
         :help!help@host.example PRIVMSG help :ourselves
         :anna!a@h PRIVMSG $* :everybody
         :anna!a@h PRIVMSG someone :not us
         :anna!a@h NOTICE help :a notice
         :irc.test NOTICE help :a notice of the server",
    );
    assert!(play.events.is_empty(), "{:?}", play.events);
    play.expect(&[]);
}

impl Play {
    fn welcome_ngircd_without_look(&mut self) {
        self.read(
            ":irc.test CAP * LS :\n:irc.test 001 help :Welcome help!~help@host.example
             :irc.test 005 help CASEMAPPING=ascii NICKLEN=16 :are supported
             :irc.test 422 help :MOTD file is missing",
        );
    }

    fn expect_one_of(&mut self, line: &str) {
        let wrote = self.wrote();
        assert!(wrote.iter().any(|own| own == line), "{wrote:?}");
    }
}

/// Those of table C36. Nobody on a network can tell the bridge what to do.
#[test]
fn fifty_texts_that_look_like_commands_are_only_words() {
    let texts: Vec<String> =
        serde_json::from_str(include_str!("../../../../../tests/fixtures/names/commands.json")).unwrap();
    assert_eq!(texts.len(), 50);
    let mut play = Play::ngircd(&json!({}));
    say(&mut play, "hello");
    play.read(&whois("anna", "~anna@home.example", SIGNON));
    play.wrote();
    for text in &texts {
        say(&mut play, text);
    }
    play.read(&whois("anna", "~anna@home.example", SIGNON));
    assert_eq!(play.texts().len(), 1 + texts.len());
    let wrote = play.wrote();
    let asked = ["WHOIS", "MONITOR", "PING", "WHO", "WATCH"];
    assert!(wrote.iter().all(|line| asked.iter().any(|verb| line.starts_with(verb))), "{wrote:?}");
}

#[test]
fn whoever_was_forgotten_is_a_stranger_and_nothing_of_them_is_written_again() {
    let mut play = Play::ngircd(&json!({}));
    say(&mut play, "one");
    play.read(&whois("anna", "~anna@home.example", SIGNON));
    say(&mut play, "two");
    let names: Vec<String> = play.cursors.keys().cloned().collect();
    assert!(names.iter().any(|name| name.starts_with("peer/")) && names.iter().any(|name| name.starts_with("held/")));
    play.cursors.clear();
    play.machine.forget(&names);
    play.read(&whois("anna", "~anna@home.example", SIGNON));
    play.pass_seconds(60);
    let written: Vec<&String> = play.cursors.keys().filter(|name| names.contains(name)).collect();
    assert_eq!((written, play.texts()), (Vec::new(), vec!["one"]));
    say(&mut play, "three");
    assert_eq!(play.texts(), ["one", "three"]);
    assert_ne!(play.thread(0), play.thread(1));
}
