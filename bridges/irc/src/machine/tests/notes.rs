//! What agents are told of people who come and go.

use super::*;

fn in_channel() -> Play {
    let mut play = Play::ngircd(&json!({ "channels": [{ "name": "#help", "listen": "mention" }] }));
    play.read(
        ":help!~help@host.example JOIN :#help
         :irc.test 353 help = #help :help @anna ben
         :irc.test 366 help #help :End of NAMES list",
    );
    play.pass_seconds(5);
    play
}

#[test]
fn whoever_wrote_and_leaves_is_noted_once_and_lurkers_never() {
    let mut play = in_channel();
    play.read(":anna!~a@h PRIVMSG #help :help: hello");
    let thread = play.thread(0);
    play.read(":ben!~b@h QUIT :bye\n:anna!~a@h QUIT :Quit: off");
    let notes = play.notes();
    assert_eq!(notes.len(), 2, "{notes:?}");
    assert!(notes.iter().all(|(_, text)| *text == "`anna` left the network"), "{notes:?}");
    assert!(notes.iter().any(|(noted, _)| *noted == thread), "{notes:?} {thread}");
}

#[test]
fn a_change_of_nick_and_a_network_split_are_told_apart() {
    let mut play = in_channel();
    play.read(":anna!~a@h PRIVMSG #help :help: hello\n:anna!~a@h NICK :countess");
    assert!(play.notes().iter().all(|(_, text)| *text == "`anna` is now `countess`"), "{:?}", play.notes());
    play.events.clear();
    play.now.millis += 61_000;
    play.read(":countess!~a@h QUIT :a.example b.example");
    let notes = play.notes();
    assert!(!notes.is_empty() && notes.iter().all(|(_, text)| text.ends_with("by a network split")), "{notes:?}");
}

#[test]
fn a_person_who_comes_and_goes_is_noted_once_a_minute() {
    let mut play = in_channel();
    play.read(":anna!~a@h PRIVMSG #help :help: hello");
    play.read(":anna!~a@h NICK :b\n:b!~a@h NICK :c\n:c!~a@h NICK :d");
    assert_eq!(play.notes().len(), 2, "one for each of her threads: {:?}", play.notes());
}

#[test]
fn a_gap_is_told_to_the_conversations_that_were_going_on() {
    let mut play = in_channel();
    play.read(":anna!~a@h PRIVMSG help :hello");
    play.closed();
    play.pass_seconds(30);
    play.connect();
    play.welcome_ngircd();
    let notes = play.notes();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].1.contains("was off the network from"), "{notes:?}");

    play.events.clear();
    play.closed();
    play.pass_seconds(1);
    play.connect();
    play.welcome_ngircd();
    assert_eq!(play.notes(), [], "a moment is no gap");
}

#[test]
fn who_leaves_a_channel_is_noted_there_alone() {
    for (line, text) in [
        (":anna!~a@h PART #help :bye", "`anna` left #help"),
        (":op!~o@h KICK #help anna :out", "`anna` was thrown out of #help"),
    ] {
        let mut play = in_channel();
        play.read(":anna!~a@h PRIVMSG #help :help: hello");
        let thread = play.thread(0);
        play.read(":ben!~b@h PART #help");
        play.read(line);
        assert_eq!(play.notes(), [(thread, text)], "{line}");
    }
}

#[test]
fn a_kill_is_noted_and_a_change_of_nick_before_does_not_hide_it() {
    let mut play = in_channel();
    play.read(":anna!~a@h PRIVMSG #help :help: hello\n:anna!~a@h NICK :b\n:oper!o@h KILL b :spam");
    let notes = play.notes();
    let threads: std::collections::BTreeSet<&String> = notes.iter().map(|(thread, _)| thread).collect();
    assert_eq!((notes.len(), threads.len()), (4, 2), "two for each of her threads: {notes:?}");
    assert_eq!(notes[3].1, "`b` was thrown off the network");
}

#[test]
fn a_network_split_is_one_note_a_conversation_and_proves_nobody_afterwards() {
    let mut play = in_channel();
    play.read(":anna!~a@h PRIVMSG #help :help: hello\n:ben!~b@h PRIVMSG #help :help: me too");
    let known = [play.thread(0), play.thread(1)];
    play.read(":anna!~a@h QUIT :a.example b.example\n:ben!~b@h QUIT :a.example b.example");
    for thread in &known {
        let of_it: Vec<_> = play.notes().into_iter().filter(|(noted, _)| noted == thread).collect();
        assert_eq!(of_it.len(), 1, "{of_it:?}");
        assert!(of_it[0].1.contains("network split"));
    }
    play.events.clear();
    play.read(":anna!~a@h JOIN :#help\n:anna!~a@h PRIVMSG #help :help: back");
    play.pass_seconds(10);
    play.read(&whois("anna", "~a@h", START_MILLIS / 1000 + 60));
    assert_eq!(play.texts(), ["back"]);
    assert_ne!(play.thread(0), known[0], "another connection is another person");
}

#[test]
fn every_line_of_a_channel_heard_in_full_keeps_its_conversation_open() {
    let mut play = Play::ngircd(&json!({ "channels": [{ "name": "#help", "listen": "all" }] }));
    play.read(
        ":help!~help@host.example JOIN :#help\n:irc.test 353 help = #help :help @anna\n:irc.test 366 help #help :End",
    );
    play.read(":anna!~a@h PRIVMSG #help :hello");
    let thread = play.thread(0);
    play.read(":anna!~a@h PART #help");
    assert_eq!(play.notes(), [(thread, "`anna` left #help")]);
}
