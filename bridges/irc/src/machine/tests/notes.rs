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
