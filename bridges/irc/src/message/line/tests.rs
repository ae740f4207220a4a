//! Lines that we read.

use proptest::prelude::*;

use super::super::{Decoded, Fallback};
use super::*;

fn check(text: &str, source: Option<Source<'_>>, verb: &str, params: &[&str]) {
    let line = Line::parse(text).unwrap();
    let own = match &line.verb {
        Verb::Numeric(number) => format!("{number:03}"),
        Verb::Word(word) => word.to_string(),
    };
    assert_eq!((line.source, &*own, line.params()), (source, verb, params), "{text}");
}

#[expect(clippy::unnecessary_wraps, reason = "sources are optional everywhere")]
fn peer<'a>(nick: &'a str, user: &'a str, host: &'a str) -> Option<Source<'a>> {
    Some(Source::Peer { nick, user, host })
}

#[test]
fn lines_are_read_leniently() {
    check(":n!u@h PRIVMSG #a :hi there ", peer("n", "u", "h"), "PRIVMSG", &["#a", "hi there "]);
    check(":n!u@h privmsg #a hi", peer("n", "u", "h"), "PRIVMSG", &["#a", "hi"]);
    check("PING :irc.example", None, "PING", &["irc.example"]);
    check(":irc.example 001 me :Welcome", Some(Source::Server("irc.example")), "001", &["me", "Welcome"]);
    check("  @a=b   :n   QUIT    a  b   :c  d", peer("n", "", ""), "QUIT", &["a", "b", "c  d"]);
    check("JOIN", None, "JOIN", &[]);
    check("JOIN   ", None, "JOIN", &[]);
    check("PRIVMSG a :", None, "PRIVMSG", &["a", ""]);
    check("PRIVMSG a ::)", None, "PRIVMSG", &["a", ":)"]);
    check("MODE a:b", None, "MODE", &["a:b"]);
    check("0001 x", None, "0001", &["x"]);
    check(": PING x", None, "PING", &["x"]);
    for text in ["", "  ", "@a", "@a=b ", ":src", "@a :src ", ":"] {
        assert_eq!(Line::parse(text), None, "{text:?}");
    }
}

#[test]
fn sources_are_told_apart() {
    for (text, source) in [
        ("n!u@h", peer("n", "u", "h")),
        ("n!u@h@i", peer("n", "u", "h@i")),
        ("n@h", peer("n", "", "h")),
        ("n!u", peer("n", "u", "")),
        ("nick", peer("nick", "", "")),
        ("a.b", Some(Source::Server("a.b"))),
        ("a.b!u@h", peer("a.b", "u", "h")),
        ("!u@h", None),
        ("", None),
    ] {
        assert_eq!(Source::parse(text), source, "{text}");
    }
}

#[test]
fn tags_are_unescaped_and_the_last_duplicate_wins() {
    let line = Line::parse(r"@a=1;+b/c=x\:\s\\\r\ny\z\;a=2;A=3;e;f=;=g;;h=i=j PING").unwrap();
    for (key, value) in [
        ("a", Some("2")),
        ("A", Some("3")),
        ("+b/c", Some("x; \\\r\nyz")),
        ("e", Some("")),
        ("f", Some("")),
        ("h", Some("i=j")),
        ("", None),
        ("g", None),
    ] {
        assert_eq!(line.tag(key).as_deref(), value, "{key}");
    }
    assert_eq!(line.tags().count(), 8);
}

#[test]
fn missing_parameters_are_empty_not_fatal() {
    let line = Line::parse("433").unwrap();
    assert_eq!((line.numeric(), line.param(3), line.param_or_empty(0), line.last()), (Some(433), None, "", ""));
    assert!(!line.is("433") && line.nick().is_none());
}

proptest! {
    #[test]
    fn any_bytes_never_panic(bytes in prop_oneof![
        any::<Vec<u8>>(),
        "[@:; =a\\\\\u{0}-\u{1f}é]{0,60}".prop_map(String::into_bytes),
    ]) {
        let decoded = Decoded::new(&bytes, Fallback::default());
        if let Some(line) = Line::parse(&decoded.text) {
            let _ = (line.tags().count(), line.tag("a"), line.nick(), line.last());
            // What is kept as text parses to the same again.
            prop_assert_eq!(Line::parse(line.text()), Some(line.clone()));
        }
    }
}
