//! What the network kept while we were away, and what it shows of doubtful replies.

use proptest::prelude::*;

use super::*;

const CAPS: &str =
    "account-tag batch draft/chathistory draft/multiline echo-message labeled-response message-tags server-time";

fn at(seconds: i64) -> String {
    crate::time::format(START_MILLIS + seconds * 1000)
}

/// On the network, with one line heard at second 0.
fn settled(more: &Value) -> Play {
    let mut play = Play::modern(more, CAPS);
    play.read(&format!("@time={};msgid=m0;account=anna :anna!a@h PRIVMSG help :hello", at(0)));
    play.wrote();
    play
}

/// Off for a minute and back again; returns what is asked then.
fn back(play: &mut Play) -> Vec<String> {
    play.closed();
    play.pass_seconds(60);
    play.connect();
    welcome(play);
    play.wrote().into_iter().filter(|line| line.starts_with("CHATHISTORY")).collect()
}

fn welcome(play: &mut Play) {
    play.wrote();
    play.read(&format!(":irc.test CAP * LS :{CAPS}\n:irc.test CAP help ACK :{CAPS}"));
    play.read(&format!(
        "@time={} :irc.test 001 help :Welcome to the Network help!help@host.example\n:irc.test 005 help CASEMAPPING=ascii CHATHISTORY=1000 MSGREFTYPES=msgid,timestamp :are supported\n:irc.test 422 help :none",
        crate::time::format(play.now.millis)
    ));
    play.pass_seconds(3);
}

fn targets(play: &mut Play, names: &[&str]) {
    play.read(":irc.test BATCH +t draft/chathistory-targets");
    for name in names {
        play.read(&format!("@batch=t :irc.test CHATHISTORY TARGETS {name} {}", at(30)));
    }
    play.read(":irc.test BATCH -t");
}

/// One page; each line with its tags.
fn page(play: &mut Play, target: &str, lines: &[String]) {
    play.read(&format!(":irc.test BATCH +p chathistory {target}"));
    for line in lines {
        play.read(&format!("@batch=p;{line}"));
    }
    play.read(":irc.test BATCH -p");
    play.pass_seconds(3);
}

fn asked(play: &mut Play) -> Vec<String> {
    play.wrote().into_iter().filter(|line| line.starts_with("CHATHISTORY")).collect()
}

#[test]
fn the_first_start_reads_nothing_old_and_keeps_its_place() {
    let mut play = Play::modern(&json!({}), CAPS);
    play.expect(&[]);
    assert_eq!(play.cursors["seen/*"], START_MILLIS.to_string());
    play.pass_seconds(60);
    play.read(&format!("@time={};msgid=m1;account=anna :anna!a@h PRIVMSG help :hello", at(60)));
    assert_eq!(play.cursors["seen/*"], (START_MILLIS + 60_000).to_string());
}

#[test]
fn what_was_written_while_we_were_away_is_read_back_in_order_and_once() {
    let mut play = settled(&json!({}));
    let wrote = back(&mut play);
    let from = crate::time::format(START_MILLIS - 10_000);
    assert!(wrote.len() == 1 && wrote[0].starts_with(&format!("CHATHISTORY TARGETS timestamp={from} ")), "{wrote:?}");
    play.events.clear();
    targets(&mut play, &["anna", "help", "#other"]);
    play.pass_seconds(3);
    assert_eq!(asked(&mut play), [format!("CHATHISTORY LATEST anna timestamp={from} 100")]);
    page(
        &mut play,
        "anna",
        &[
            format!("time={};msgid=m2;account=anna :anna!a@h PRIVMSG help :second", at(20)),
            format!("time={};msgid=m3;account=anna :anna!a@h PRIVMSG help :\u{1}VERSION\u{1}", at(21)),
        ],
    );
    assert_eq!(asked(&mut play), ["CHATHISTORY BEFORE anna msgid=m2 100"]);
    assert_eq!(play.texts(), [""; 0], "nothing before its elders");
    page(
        &mut play,
        "anna",
        &[
            format!("time={};msgid=old;account=anna :anna!a@h PRIVMSG help :long ago", at(-60)),
            format!("time={};msgid=m0;account=anna :anna!a@h PRIVMSG help :hello", at(0)),
            format!("time={};msgid=r1 :help!help@host PRIVMSG anna :our own", at(5)),
            format!("time={};msgid=m1;account=anna :anna!a@h PRIVMSG help :first", at(10)),
            format!("time={};msgid=n1 :anna!a@h NOTICE help :a notice", at(11)),
        ],
    );
    assert_eq!(play.texts(), ["first", "second"]);
    assert_eq!(play.events[0].at_millis, START_MILLIS + 10_000);
    assert_eq!((play.thread(0).as_str(), play.events[0].event.as_str()), ("a:anna", "m1"));
    assert!(play.wrote().iter().all(|line| !line.starts_with("NOTICE") && !line.starts_with("WHOIS anna")));
    assert_eq!(play.notes(), [], "nothing is missing");
}

#[test]
fn the_place_does_not_move_before_the_gap_is_read() {
    let mut play = settled(&json!({}));
    back(&mut play);
    let before = play.cursors["seen/*"].clone();
    play.read(&format!("@time={};msgid=m9;account=anna :anna!a@h PRIVMSG help :live", at(70)));
    play.pass_seconds(40);
    assert_eq!(play.cursors["seen/*"], before);
    targets(&mut play, &[]);
    assert_eq!(play.cursors["seen/*"], (START_MILLIS + 70_000).to_string());

    let mut later = Play::after(&json!({}), play.cursors.clone());
    later.now.millis += 120_000;
    later.connect();
    welcome(&mut later);
    let wrote = asked(&mut later);
    assert!(wrote[0].contains(&crate::time::format(START_MILLIS + 60_000)), "over a restart: {wrote:?}");
}

#[test]
fn without_an_account_an_old_line_is_nobody_we_know_and_nobody_we_may_answer() {
    let mut play = Play::modern(&json!({}), CAPS);
    play.read(&format!("@time={};msgid=m0 :ben!b@h PRIVMSG help :hi", at(0)));
    play.read(&whois("ben", "b@h", START_MILLIS / 1000 - 50));
    let known = play.thread(0);
    back(&mut play);
    play.events.clear();
    targets(&mut play, &["ben"]);
    let lines = [("m1", "h"), ("m2", "h"), ("m3", "elsewhere")];
    let lines = lines.map(|(id, host)| format!("time={};msgid={id} :ben!b@{host} PRIVMSG help :it is {host}", at(20)));
    page(&mut play, "ben", &lines);
    page(&mut play, "ben", &[]);
    let (one, other) = (play.thread(0), play.thread(2));
    assert!(one != known && one == play.thread(1) && one != other, "{:?}", play.events);
    assert!(message_of(&play.events[0]).unwrap().peer.facts["remark"].contains("does not prove"));
    play.wrote();
    play.send(&one, "a secret");
    assert_eq!(play.kind(), FaultKind::Refused);
    play.events.clear();
    play.read("@msgid=m4 :ben!b@h PRIVMSG help :it is me");
    play.pass_seconds(3);
    play.read(&whois("ben", "b@h", START_MILLIS / 1000 - 50));
    assert_eq!(play.thread(0), known, "the real one is proved as before");
}

#[test]
fn in_a_channel_only_what_was_for_us_is_read_back() {
    let mut play = Play::modern(&json!({ "channels": [{ "name": "#help" }] }), CAPS);
    let join = ":help!help@host JOIN #help\n:irc.test 353 help = #help :help anna\n:irc.test 366 help #help :End";
    play.read(join);
    back(&mut play);
    targets(&mut play, &[]);
    play.read(join);
    play.pass_seconds(3);
    assert!(asked(&mut play)[0].starts_with("CHATHISTORY LATEST #help timestamp="));
    let say = |id: &str, who: &str, text: &str| {
        format!("time={};msgid={id};account={who} :{who}!x@h PRIVMSG #help :{text}", at(30))
    };
    let lines = [
        say("1", "anna", "idle talk"),
        say("2", "anna", "help: are you there"),
        say("3", "ben", "not for us"),
        say("4", "anna", "hello?"),
    ];
    page(&mut play, "#help", &lines);
    page(&mut play, "#help", &[]);
    assert_eq!(play.texts(), ["are you there", "hello?"]);
    assert_eq!(play.thread(0), "#help:a:anna");
}

#[test]
fn a_message_in_several_lines_is_read_back_as_one() {
    let mut play = settled(&json!({}));
    back(&mut play);
    play.events.clear();
    targets(&mut play, &["anna"]);
    play.read(&format!(
        ":irc.test BATCH +p chathistory anna
         @batch=p;time={};msgid=m5;account=anna :anna!a@h BATCH +i draft/multiline help
         @batch=i :anna!a@h PRIVMSG help :one
         @batch=i;draft/multiline-concat :anna!a@h PRIVMSG help : and more
         :irc.test BATCH -i
         :irc.test BATCH -p",
        at(20)
    ));
    page(&mut play, "anna", &[]);
    assert_eq!(play.texts(), ["one and more"]);
    assert_eq!(play.events[0].event.as_str(), "m5");
}

#[test]
fn a_history_that_cannot_be_read_is_told_as_a_gap_unless_nobody_wants_to_know() {
    let refused = "FAIL CHATHISTORY MESSAGE_ERROR TARGETS :Messages could not be retrieved";
    for (answer, more, count) in [
        (refused, json!({}), 1),
        (":irc.test 421 help CHATHISTORY :Unknown command", json!({}), 1),
        ("", json!({}), 1),
        (refused, json!({ "gap_note": false }), 0),
    ] {
        let mut play = settled(&more);
        back(&mut play);
        play.read(answer);
        play.pass_seconds(20);
        play.read(":irc.test PING :x");
        play.pass_seconds(45);
        assert_eq!(play.notes().len(), count, "{answer} {more} {:?}", play.notes());
    }
}

#[test]
fn reading_back_ends_at_its_limit_and_says_so() {
    let mut play = settled(&json!({}));
    back(&mut play);
    targets(&mut play, &["anna"]);
    play.events.clear();
    for turn in (0..10).rev() {
        let lines: Vec<String> = (0..100)
            .map(|n| {
                format!("time={};msgid=t{turn}-{n};account=anna :anna!a@h PRIVMSG help :x{turn}-{n}", at(turn + 20))
            })
            .collect();
        page(&mut play, "anna", &lines);
    }
    assert_eq!((play.texts().len(), play.texts()[0]), (500, "x5-0"));
    assert_eq!(play.notes().len(), 1, "{:?}", play.notes());
    assert!(asked(&mut play).len() <= 6);
}

/// A reply to anna that was written at second 20 and never confirmed.
fn doubtful() -> Play {
    let mut play = settled(&json!({ "channels": [{ "name": "#help" }] }));
    play.read(&format!("@time={} :irc.test 730 help :anna!a@h\n@account=anna :anna!a@h JOIN #help", at(0)));
    play.pass_seconds(20);
    play.send("a:anna", "the answer");
    play.read(":irc.test 330 help anna anna :is logged in as");
    play.read(
        ":irc.test 311 help anna a h * :x\n:irc.test 330 help anna anna :is logged in as\n:irc.test 318 help anna :End",
    );
    assert!(play.wrote().iter().any(|line| line.ends_with("PRIVMSG anna :the answer")));
    back(&mut play);
    assert_eq!(play.kind(), FaultKind::Unknown);
    targets(&mut play, &[]);
    play.wrote();
    play
}

/// What a probe says when the network's history holds these lines.
fn probed(play: &mut Play, lines: &[String]) -> Result<Option<Sent>, Fault> {
    play.input(Input::Probe { ticket: 0, out: outbound("support/1/0", "a:anna", "the answer") });
    play.pass_seconds(3);
    assert_eq!(asked(play), ["CHATHISTORY LATEST anna * 100"]);
    page(play, "anna", lines);
    if play.settled.is_empty() {
        assert!(asked(play)[0].starts_with("CHATHISTORY BEFORE anna "));
        page(play, "anna", &[]);
    }
    play.outcome()
}

fn own(id: &str, second: i64, text: &str) -> String {
    format!("time={};msgid={id} :help!help@host PRIVMSG anna :{text}", at(second))
}

#[test]
fn history_shows_that_a_doubtful_reply_arrived() {
    let mut play = doubtful();
    let sent = probed(&mut play, &[own("r0", 5, "before"), own("r1", 20, "the answer")]).unwrap().unwrap();
    assert_eq!(sent.event.unwrap().as_str(), "r1");
    assert!(play.probe("support/1/0").unwrap().is_some(), "and it is remembered");
}

#[test]
fn history_shows_that_a_doubtful_reply_never_arrived() {
    let mut play = doubtful();
    let lines = [
        own("r0", 5, "the answer"),
        format!("time={};msgid=m7 :anna!a@h PRIVMSG help :the answer", at(21)),
        own("r2", 25, "another"),
    ];
    assert_eq!(probed(&mut play, &lines).unwrap(), None);
}

#[test]
fn a_history_that_does_not_reach_back_proves_nothing() {
    for lines in
        [vec![], vec![own("r2", 25, "another")], vec![format!("time={};msgid=m0 :anna!a@h PRIVMSG help :hello", at(0))]]
    {
        let mut play = doubtful();
        assert_eq!(probed(&mut play, &lines).unwrap_err().kind, FaultKind::Unknown, "{lines:?}");
    }
}

#[test]
fn absence_is_not_believed_while_the_ghost_may_still_speak() {
    let mut play = doubtful();
    play.closed();
    play.connect();
    play.read(&format!(":irc.test CAP * LS :{CAPS}\n:irc.test CAP help ACK :{CAPS}"));
    play.read(":irc.test 433 * help :in use\n:irc.test 001 help_ :Hi\n:irc.test 422 help_ :x");
    play.pass_seconds(1);
    play.read("FAIL CHATHISTORY INVALID_TARGET TARGETS :no");
    play.wrote();
    let gone = probed(&mut play, &[own("r0", 5, "before")]).unwrap_err();
    assert!(matches!(gone.kind, FaultKind::Retry { after: Some(_) }), "{gone:?}");
    play.read(":help_!help@host NICK :help");
    assert_eq!(probed(&mut play, &[own("r0", 5, "before")]).unwrap(), None);
}

#[test]
fn a_question_ends_with_its_connection() {
    let mut play = doubtful();
    play.input(Input::Probe { ticket: 0, out: outbound("support/1/0", "a:anna", "the answer") });
    play.closed();
    assert!(matches!(play.kind(), FaultKind::Down { .. }));
}

proptest! {
    #[test]
    fn no_history_makes_us_answer_anybody(
        words in prop::collection::vec("[a-zA-Z0-9+!@=;, :*#\u{1}-]{0,40}", 1..20),
        verbs in prop::collection::vec(0usize..8, 20),
    ) {
        let mut play = settled(&json!({ "channels": [{ "name": "#help", "listen": "all" }] }));
        back(&mut play);
        targets(&mut play, &["anna"]);
        let verbs = verbs.iter().map(|verb| {
            ["PRIVMSG", "NOTICE", "JOIN", "NICK", "KICK", "QUIT", "PING", "ERROR"][*verb]
        });
        let lines: Vec<String> = words.iter().zip(verbs).enumerate()
            .map(|(n, (word, verb))| format!("time={};msgid=z{n} :anna!a@h {verb} help {word}", at(20)))
            .collect();
        play.wrote();
        page(&mut play, "anna", &lines);
        for line in play.wrote() {
            let allowed = ["CHATHISTORY ", "WHOIS help ", "MONITOR ", "JOIN "];
            prop_assert!(allowed.iter().any(|verb| line.starts_with(verb)), "{}", line);
        }
        prop_assert!(!play.closes);
    }
}
