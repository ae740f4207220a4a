//! What must hold for any bytes and any order.

use proptest::prelude::*;

use super::*;
use crate::message::Line;

const TRAFFIC: &str = "@account=anna;msgid=m1 :anna!a@h PRIVMSG help :one\r\n:ben!b@h PRIVMSG help :zw\u{f6}lf\n\r\n\
    @time=2026-11-25T09:00:49.123Z :ben!b@h PRIVMSG help :two\r\nPING :x\r\n:irc.test 730 help :ben!b@h\r\n\
    :irc.test 433 help x :in use\r\n@batch=1 :anna!a@h PRIVMSG help\r\n:x!y@z QUIT :a.b c.d\r\n";
/// Comes after the questions that the traffic leads to.
const ANSWERS: &str = ":irc.test 311 help ben b h * :real\r\n:irc.test 317 help ben 1 1700000000 :x\r\n\
    :irc.test 318 help ben :End\r\n:ben!b@h NICK benny\r\n:benny!b@h PRIVMSG help :three\r\n";

fn summary(play: &Play) -> (Vec<String>, BTreeMap<String, String>) {
    (play.events.iter().map(|event| format!("{event:?}")).collect(), play.cursors.clone())
}

proptest! {
    #[test]
    fn however_the_stream_is_cut_the_events_are_the_same(cuts in prop::collection::vec(1usize..60, 1..40)) {
        let (mut whole, mut pieces) = (Play::inspircd(&json!({})), Play::inspircd(&json!({})));
        let mut cuts = cuts.into_iter().cycle();
        for text in [TRAFFIC, ANSWERS] {
            whole.input(Input::Bytes(text.as_bytes()));
            let mut rest = text.as_bytes();
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(cuts.next().unwrap().min(rest.len()));
                pieces.input(Input::Bytes(piece));
                rest = after;
            }
            whole.pass_seconds(5);
            pieces.pass_seconds(5);
        }
        prop_assert!(summary(&whole).0.len() >= 3);
        prop_assert_eq!(summary(&whole), summary(&pieces));
    }

    #[test]
    fn no_bytes_end_the_machine_and_every_line_written_is_one_command(
        lines in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..30),
        words in prop::collection::vec("[@:]?[a-zA-Z0-9+!@=;, :*#-]{0,40}", 0..30),
        numbers in prop::collection::vec(0u16..1000, 30),
    ) {
        let mut play = Play::inspircd(&json!({ "channels": [{ "name": "#help", "listen": "all" }] }));
        for line in lines {
            play.machine.handle(Input::Bytes(&line), play.now);
            play.machine.handle(Input::Bytes(b"\r\n"), play.now);
        }
        for (word, number) in words.iter().zip(numbers) {
            let verbs = ["PRIVMSG", "NOTICE", "CAP", "BATCH", "JOIN", "NICK", "KICK", "AUTHENTICATE", "CHGHOST", "MODE"];
            let verb = verbs[number as usize % verbs.len()];
            let numeric = format!(":irc.test {number:03} help {word}\r\n:{word} {verb} {word}\r\n");
            play.machine.handle(Input::Bytes(numeric.as_bytes()), play.now);
        }
        while let Some(output) = play.machine.poll() {
            if let Output::Write(line) = output {
                let text = String::from_utf8(line).unwrap();
                let line = text.strip_suffix("\r\n").expect("a whole line");
                prop_assert!(!line.contains(['\r', '\n', '\0']));
                prop_assert!(Line::parse(line).is_some());
            }
        }
    }

    #[test]
    fn whatever_an_agent_writes_is_one_message_to_one_person(text in "\\PC{0,300}|[\\x00-\\x7f]{0,300}", address in any::<bool>()) {
        let mut play = Play::inspircd(&json!({ "pace": { "burst": 100, "per_second": 100.0 } }));
        play.read(":anna!a@h PRIVMSG help :hi\n:irc.test 730 help :anna!a@h");
        play.read(&whois("anna", "a@h", START_MILLIS / 1000 - 50));
        play.wrote();
        let thread = play.thread(0);
        let text = if address { format!("\u{1}{text}") } else { text };
        play.send(&thread, &text);
        let settled = play.settled.len();
        let wrote = play.wrote();
        prop_assert!(settled == 1 || !wrote.is_empty());
        for line in wrote {
            let parsed = Line::parse(&line).expect("a line");
            prop_assert!(parsed.is("PRIVMSG"));
            prop_assert_eq!(parsed.params().len(), 2);
            prop_assert_eq!(parsed.param(0), Some("anna"));
            let breaks = parsed.last().contains(['\u{1}', '\0', '\r', '\n']);
            prop_assert!(!breaks);
        }
    }
}
