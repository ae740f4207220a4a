//! Lines that we write.

use proptest::prelude::*;

use super::super::Line;
use super::*;

fn text(command: &Command) -> Result<String, FormatError> {
    command.encode(512).map(|line| String::from_utf8(line).unwrap())
}

#[test]
fn commands_become_lines() {
    let isupport = Isupport::default();
    let target = Target::nick("alice", &isupport).unwrap();
    let hi = Text::new(":hi /there").unwrap();
    for (command, line) in [
        (Command::privmsg(&target, &hi), "PRIVMSG alice ::hi /there\r\n"),
        (Command::notice(&target, &Text::ctcp("PING", "1 2").unwrap()), "NOTICE alice :\x01PING 1 2\x01\r\n"),
        (Command::tagmsg(&target).tag("+typing", "active"), "@+typing=active TAGMSG alice\r\n"),
        (
            Command::new("PING").last("a b").tag("label", "x; \\\r\n").tag("e", ""),
            "@label=x\\:\\s\\\\\\r\\n;e PING :a b\r\n",
        ),
        (Command::new("CAP").param("LS").param("302"), "CAP LS 302\r\n"),
        (Command::new("AWAY").last(""), "AWAY :\r\n"),
    ] {
        assert_eq!(text(&command).unwrap(), line);
    }
}

#[test]
fn what_is_not_one_line_is_refused() {
    for word in ["", ":a", "a b", "a\r", "a\n", "a\0"] {
        assert_eq!(text(&Command::new("JOIN").param(word)), Err(FormatError::Param("JOIN")), "{word:?}");
    }
    for last in ["a\r", "a\nQUIT", "a\r\nQUIT", "\0"] {
        assert_eq!(text(&Command::new("QUIT").last(last)), Err(FormatError::NotOneLine("QUIT")), "{last:?}");
        assert_eq!(Text::new(last), Err(FormatError::Text));
    }
    for key in ["", "a b", "a;b", "a=b", "a\n", "@a"] {
        assert_eq!(text(&Command::new("TAGMSG").tag(key, "x")), Err(FormatError::Tag("TAGMSG")), "{key:?}");
    }
    assert_eq!(text(&Command::new("PING").last("a").tag("a", "\0")), Err(FormatError::NotOneLine("PING")));
    for bad in ["", "\x01ACTION x\x01"] {
        assert_eq!(Text::new(bad), Err(FormatError::Text), "{bad:?}");
    }
    assert!(Text::ctcp("VERSION", "a\x01b").is_err() && Text::ctcp("A\n", "").is_err());
}

#[test]
fn the_length_limit_counts_the_line_without_its_tags() {
    let line = |bytes: usize| Command::new("PING").last("x".repeat(bytes - "PING :\r\n".len())).tag("label", "1");
    assert!(line(512).encode(512).is_ok());
    assert_eq!(line(513).encode(512), Err(FormatError::TooLong { bytes: 513, limit: 512 }));
    let tagged = |bytes: usize| Command::new("TAGMSG").param("a").tag("k", "x".repeat(bytes - 2));
    assert!(tagged(4094).encode(512).is_ok());
    assert_eq!(tagged(4095).encode(512), Err(FormatError::TooLong { bytes: 4095, limit: 4094 }));
}

#[test]
fn a_target_is_one_nick_or_one_channel() {
    let mut isupport = Isupport::default();
    isupport.apply(&["me", "STATUSMSG=@+"]);
    for name in ["", ":a", "a b", "a,b", "a\rb", "a\nb", "a\0b", "$*", "a$b", "#chan", "&chan", "@#chan", "@+#chan"] {
        assert!(Target::nick(name, &isupport).is_err(), "{name:?}");
    }
    for name in ["a", "NickServ@services.example", "[a]`^{}|\\_-", "é"] {
        assert_eq!(Target::nick(name, &isupport).unwrap().as_str(), name);
    }
    for name in ["alice", "@#chan", "#a,#b", "#a b", "#a\r"] {
        assert!(Target::channel(name, &isupport).is_err(), "{name:?}");
    }
    assert!(Target::channel("#chan", &isupport).is_ok());
}

#[test]
fn debug_shows_no_parameter() {
    let shown = format!("{:?}", Command::new("PASS").param("hunter2").last("hunter3"));
    assert_eq!(shown, "Command { verb: \"PASS\", .. }");
}

proptest! {
    #[test]
    fn parsing_a_formatted_line_gives_the_same_fields(
        tags in proptest::collection::btree_map("\\+?[a-z/.-]{1,8}", "[^\0]{0,12}", 0..4),
        params in proptest::collection::vec("[^\0\r\n :][^\0\r\n ]{0,10}", 0..5),
        last in proptest::option::of("[^\0\r\n]{0,40}"),
    ) {
        let mut command = Command::new("VERB");
        for (key, value) in &tags { command = command.tag(key, value); }
        for param in &params { command = command.param(param); }
        if let Some(last) = &last { command = command.last(last); }
        let encoded = text(&command).unwrap();
        let line = Line::parse(encoded.strip_suffix("\r\n").unwrap()).unwrap();
        let expected: Vec<&str> = params.iter().chain(&last).map(String::as_str).collect();
        prop_assert!(line.is("VERB") && line.source.is_none());
        prop_assert_eq!(line.params(), expected);
        for (key, value) in &tags { prop_assert_eq!(&*line.tag(key).unwrap(), value); }
        prop_assert_eq!(line.tags().count(), tags.len());
    }

    #[test]
    fn whatever_goes_in_only_one_line_comes_out(
        name in any::<String>(), param in any::<String>(), last in "[a\r\n\0\u{1}é: ]{0,8}", key in any::<String>(), value in any::<String>(),
    ) {
        let command = Command::new("VERB").param(param).last(&*last).tag(key, value);
        if let Ok(line) = command.encode(512) {
            prop_assert!(one_line(&line));
            prop_assert_eq!(line.split(|&byte| byte == b'\n').count(), 2);
        }
        if let (Ok(target), Ok(body)) = (Target::nick(&name, &Isupport::default()), Text::new(last))
            && let Ok(line) = text(&Command::privmsg(&target, &body))
        {
            let line = Line::parse(line.trim_end_matches("\r\n")).unwrap();
            prop_assert!(line.is("PRIVMSG"));
            prop_assert_eq!(line.params(), &[target.as_str(), body.as_str()][..]);
        }
    }
}
