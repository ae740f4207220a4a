//! Channels: joining, mentions, kicks.

use super::*;

fn in_channel(listen: &str) -> Play {
    let mut play = Play::ngircd(&json!({ "channels": [{ "name": "#Help", "listen": listen }] }));
    play.read(
        ":help!~help@host.example JOIN :#Help
         :irc.test 353 help = #Help :help @anna ben
         :irc.test 366 help #Help :End of NAMES list",
    );
    play.pass_seconds(5);
    play.wrote();
    play
}

#[test]
fn channels_are_joined_those_with_keys_first() {
    let mut play = Play::new(&json!({ "channels": [{ "name": "#open" }, { "name": "#shut", "key": "k" }] }));
    play.connect();
    play.read(":irc.test CAP * LS :\n:irc.test 001 help :Hi\n:irc.test 422 help :no motd");
    assert!(play.wrote().contains(&"JOIN #shut,#open k".to_owned()));
}

#[test]
fn only_lines_to_us_open_a_conversation_and_later_ones_join_it() {
    let mut play = in_channel("mention");
    play.read(
        ":anna!~a@h PRIVMSG #help :just talking
         :anna!~a@h PRIVMSG #help :HELP, what now
         :anna!~a@h PRIVMSG #help :and then
         :ben!~b@h PRIVMSG #help :me too",
    );
    assert_eq!(play.texts(), ["what now", "and then"]);
    assert!(play.thread(0).starts_with("#help:s:"), "{}", play.thread(0));
    assert_eq!(play.thread(0), play.thread(1));
    assert_eq!(message_of(&play.events[0]).unwrap().thread_facts["channel"], "#Help");
    play.pass_seconds(50);
    play.read(":irc.test PING :x");
    play.now.millis += 16 * 60 * 1000;
    play.read(":anna!~a@h PRIVMSG #help :long after");
    assert_eq!(play.texts().len(), 2);
}

#[test]
fn in_a_channel_that_is_ours_every_line_counts() {
    let mut play = in_channel("all");
    play.read(":anna!~a@h PRIVMSG #help :one\n:ben!~b@h PRIVMSG @#help :two\n:anna!~a@h PRIVMSG #other :three");
    assert_eq!(play.texts().len(), 1 + usize::from(play.texts().len() == 2));
    assert!(play.texts().contains(&"one"));
}

#[test]
fn the_first_line_of_a_reply_is_addressed_and_the_next_is_not() {
    let mut play = in_channel("all");
    play.read(":anna!~a@h PRIVMSG #help :one");
    let thread = play.thread(0);
    play.pass_seconds(5);
    play.wrote();
    play.send(&thread, "\u{1}hello");
    let wrote = play.wrote();
    assert_eq!(wrote[0], "PRIVMSG #Help :anna: hello");
    let token = wrote[1].strip_prefix("PING :").unwrap();
    play.read(&format!(":irc.test PONG irc.test :{token}"));
    play.pass_seconds(1);
    play.send(&thread, "more");
    assert_eq!(play.wrote()[0], "PRIVMSG #Help :more");
}

#[test]
fn who_left_the_channel_is_not_answered_there() {
    for line in [
        ":anna!~a@h PART #Help",
        ":anna!~a@h QUIT :gone",
        ":irc.test KICK #Help anna :out",
        ":anna!~a@h QUIT :a.test b.test",
    ] {
        let mut play = in_channel("all");
        play.read(":anna!~a@h PRIVMSG #help :one");
        let thread = play.thread(0);
        play.read(line);
        play.read(":mallory!~a@h JOIN #Help\n:mallory!~a@h NICK anna");
        play.pass_seconds(5);
        play.wrote();
        play.send(&thread, "\u{1}a secret");
        // Whoever has the nick now is looked at, and is another connection.
        play.read(&whois("anna", "~a@h", START_MILLIS / 1000 + 9).replace("real", "unreal"));
        assert_eq!(play.kind(), FaultKind::Refused, "{line}");
        assert!(play.wrote().iter().all(|line| !line.contains("secret")), "{line}");
    }
}

#[test]
fn a_kicked_bridge_comes_back_a_few_times_and_says_so() {
    let mut play = in_channel("all");
    let mut waits = Vec::new();
    for _ in 0..4 {
        play.read(":op!o@h KICK #Help help :enough");
        assert!(matches!(play.states.last(), Some(BridgeState::Degraded { .. })));
        let kicked = play.now.at;
        for _ in 0..40 {
            play.pass_seconds(10);
            play.read(":irc.test PONG irc.test :x");
            if play.wrote().contains(&"JOIN #Help".to_owned()) {
                waits.push((play.now.at - kicked).as_secs());
                play.read(":help!~help@host.example JOIN :#Help\n:irc.test 366 help #Help :End");
                assert!(play.is_up());
                break;
            }
        }
    }
    assert_eq!(waits.len(), 3, "{waits:?}");
    assert!((20..=50).contains(&waits[0]) && waits[1] >= 240, "{waits:?}");
}

#[test]
fn a_refused_join_is_tried_again_ever_later() {
    for number in [403, 405, 470, 471, 473, 474, 475, 477, 489, 520] {
        let mut play = Play::ngircd(&json!({ "channels": [{ "name": "#help" }] }));
        play.read(&format!(":irc.test {number} help #help :Cannot join channel"));
        assert!(
            matches!(play.states.last(), Some(BridgeState::Degraded { reason }) if reason.contains("#help")),
            "{number}"
        );
        let mut joins = 0;
        for _ in 0..65 {
            play.pass_seconds(10);
            play.read(":irc.test PONG irc.test :x");
            if play.wrote().contains(&"JOIN #help".to_owned()) {
                joins += 1;
                play.read(&format!(":irc.test {number} help #help :Cannot join channel"));
            }
        }
        assert_eq!(joins, 3, "{number}: after 1, 2 and 4 minutes");
    }
}

#[test]
fn a_channel_that_we_were_forced_into_is_left() {
    let mut play = in_channel("all");
    play.read(":help!~help@host.example JOIN :##overflow");
    play.expect(&["PART ##overflow"]);
}

#[test]
fn accounts_seen_in_a_shared_channel_count_without_a_tag() {
    let caps = "account-notify extended-join message-tags";
    let mut play = Play::modern(&json!({ "channels": [{ "name": "#help", "listen": "all" }] }), caps);
    play.read(
        ":help!help@host JOIN #help * :x\n:irc.test 353 help = #help :help\n:irc.test 366 help #help :End
         :anna!a@h JOIN #help Anna :real
         :anna!a@h PRIVMSG #help :one
         :anna!a@h ACCOUNT *
         :anna!a@h PRIVMSG #help :two",
    );
    assert_eq!(play.thread(0), "#help:a:anna");
    assert!(play.thread(1).starts_with("#help:s:"));
}
