//! One SMTP command line, read strictly: what RFC 5321 and the extensions that are offered allow, and no more.

/// What the client wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command {
    Hello { extended: bool, name: String },
    Starttls,
    Auth { mechanism: String, initial: Option<String> },
    Sender(Path),
    Recipient(Path),
    Data,
    Reset,
    Noop,
    Quit,
    Verify,
}

/// A path with its parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path {
    /// Without brackets.
    pub(super) address: String,
    pub(super) parameters: Vec<String>,
}

/// Why a line is no command, as the answer to it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong(pub(super) u16, pub(super) &'static str);

const NOT_A_COMMAND: Wrong = Wrong(500, "5.5.2 no such command");
const NO_ARGUMENT: Wrong = Wrong(501, "5.5.4 this command takes no argument");

/// Longest address of RFC 5321 with room for what SMTPUTF8 adds.
const ADDRESS_BYTES_MAX: usize = 1_000;

pub(super) fn parse(line: &str) -> Result<Command, Wrong> {
    if line.contains(['\r', '\n', '\0']) {
        return Err(Wrong(500, "5.5.2 a command ends in CRLF and has no other line end"));
    }
    let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
    let bare = |command| if rest.trim().is_empty() { Ok(command) } else { Err(NO_ARGUMENT) };
    match verb.to_ascii_uppercase().as_str() {
        verb @ ("EHLO" | "HELO") => hello(verb == "EHLO", rest.trim()),
        "STARTTLS" => bare(Command::Starttls),
        "AUTH" => auth(rest),
        "MAIL" => path(rest, "FROM:", SENDER_PARAMETERS).map(Command::Sender),
        "RCPT" => recipient(rest),
        "DATA" => bare(Command::Data),
        "RSET" => bare(Command::Reset),
        "NOOP" => Ok(Command::Noop),
        "QUIT" => bare(Command::Quit),
        "VRFY" => Ok(Command::Verify),
        _ => Err(NOT_A_COMMAND),
    }
}

fn hello(extended: bool, name: &str) -> Result<Command, Wrong> {
    if name.is_empty() || name.contains(' ') {
        return Err(Wrong(501, "5.5.4 greet with one name"));
    }
    Ok(Command::Hello { extended, name: name.to_owned() })
}

fn auth(rest: &str) -> Result<Command, Wrong> {
    let mut parts = rest.split(' ');
    let mechanism = parts.next().filter(|name| !name.is_empty()).ok_or(Wrong(501, "5.5.4 which mechanism"))?;
    let initial = parts.next().map(ToOwned::to_owned);
    if parts.next().is_some() {
        return Err(Wrong(501, "5.5.4 at most one initial response"));
    }
    Ok(Command::Auth { mechanism: mechanism.to_ascii_uppercase(), initial })
}

fn recipient(rest: &str) -> Result<Command, Wrong> {
    let path = path(rest, "TO:", RECIPIENT_PARAMETERS)?;
    if path.address.is_empty() {
        return Err(Wrong(501, "5.1.3 a recipient has an address"));
    }
    Ok(Command::Recipient(path))
}

const SENDER_PARAMETERS: &[&str] = &["SIZE", "BODY", "SMTPUTF8", "RET", "ENVID", "AUTH"];
const RECIPIENT_PARAMETERS: &[&str] = &["NOTIFY", "ORCPT"];

fn path(rest: &str, keyword: &str, known: &[&str]) -> Result<Path, Wrong> {
    const SYNTAX: Wrong = Wrong(501, "5.5.4 a path is written <name@domain>");
    let start = rest.get(..keyword.len()).filter(|start| start.eq_ignore_ascii_case(keyword));
    start.ok_or(SYNTAX)?;
    let inside = rest[keyword.len()..].trim_start().strip_prefix('<').ok_or(SYNTAX)?;
    let end = closing_bracket(inside).ok_or(SYNTAX)?;
    let (address, behind) = (&inside[..end], &inside[end + 1..]);
    let whole = address.is_empty()
        || address.rsplit_once('@').is_some_and(|(local, domain)| {
            !local.is_empty() && !domain.is_empty() && !domain.contains([' ', '<', '"', ','])
        })
        || address.eq_ignore_ascii_case("postmaster");
    if !whole || address.len() > ADDRESS_BYTES_MAX || address.chars().any(char::is_control) {
        return Err(Wrong(501, "5.1.3 this is no address"));
    }
    if !behind.is_empty() && !behind.starts_with(' ') {
        return Err(SYNTAX);
    }
    let parameters: Vec<String> = behind.split(' ').filter(|part| !part.is_empty()).map(ToOwned::to_owned).collect();
    for parameter in &parameters {
        let name = parameter.split('=').next().unwrap_or_default();
        if !known.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            return Err(Wrong(555, "5.5.4 a parameter that was not offered"));
        }
    }
    Ok(Path { address: address.to_owned(), parameters })
}

/// A quoted name may hold brackets.
fn closing_bracket(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    for (at, letter) in text.char_indices() {
        match letter {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            '>' if !quoted => return Some(at),
            _ => {}
        }
    }
    None
}

impl Path {
    /// The value of a parameter; empty for one that has none.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find_map(|parameter| {
            let (key, value) = parameter.split_once('=').unwrap_or((parameter, ""));
            key.eq_ignore_ascii_case(name).then_some(value)
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn commands_are_read() {
        let check = |line: &str, command| assert_eq!(parse(line), Ok(command), "{line}");
        let path = |address: &str, parameters: &[&str]| Path {
            address: address.to_owned(),
            parameters: parameters.iter().map(|&parameter| parameter.to_owned()).collect(),
        };
        check("ehlo mail.test", Command::Hello { extended: true, name: "mail.test".to_owned() });
        check("HELO [127.0.0.1]", Command::Hello { extended: false, name: "[127.0.0.1]".to_owned() });
        check("MAIL FROM:<>", Command::Sender(path("", &[])));
        let with = path("a@b.test", &["SIZE=12", "body=8bitmime"]);
        check("mail from:<a@b.test> SIZE=12 body=8bitmime", Command::Sender(with));
        check("RCPT TO: <a@b.test>", Command::Recipient(path("a@b.test", &[])));
        let odd = r#""a>b \" c"@d.test"#;
        check(&format!("RCPT TO:<{odd}> NOTIFY=NEVER"), Command::Recipient(path(odd, &["NOTIFY=NEVER"])));
        check("RCPT TO:<Postmaster>", Command::Recipient(path("Postmaster", &[])));
        check(
            "auth plain AGEAYg==",
            Command::Auth { mechanism: "PLAIN".to_owned(), initial: Some("AGEAYg==".to_owned()) },
        );
        check("NOOP and words", Command::Noop);
        check("data", Command::Data);
    }

    #[test]
    fn what_is_no_command_gets_its_answer() {
        let check = |line: &str, code| assert_eq!(parse(line).map_err(|wrong| wrong.0), Err(code), "{line}");
        check("", 500);
        check("HELLO x", 500);
        check("EHLO", 501);
        check("EHLO two names", 501);
        check("DATA now", 501);
        check("NOOP\nQUIT", 500);
        check("MAIL <a@b.test>", 501);
        check("MAIL FROM:a@b.test", 501);
        check("MAIL FROM:<a@b.test", 501);
        check("MAIL FROM:<a@b.test>SIZE=1", 501);
        check("MAIL FROM:<a@b.test> COLOUR=red", 555);
        check("RCPT TO:<>", 501);
        check("RCPT TO:<nobody>", 501);
        check("RCPT TO:<a@>", 501);
        check("RCPT TO:<a@b.test> SIZE=1", 555);
        check("AUTH", 501);
        check("AUTH PLAIN a b", 501);
    }

    #[test]
    fn parameters_are_found_without_regard_to_case() {
        let Ok(Command::Sender(path)) = parse("MAIL FROM:<a@b.test> size=12 SMTPUTF8") else { panic!("a sender") };
        assert_eq!(path.parameter("SIZE"), Some("12"));
        assert_eq!(path.parameter("smtputf8"), Some(""));
        assert_eq!(path.parameter("BODY"), None);
    }

    proptest! {
        #[test]
        fn any_line_is_read_without_a_panic(line in "(MAIL FROM:|RCPT TO:|AUTH |EHLO )?.{0,60}") {
            let read = parse(&line);
            prop_assert!(read.is_ok() || read.is_err_and(|wrong| (500..=555).contains(&wrong.0)));
        }
    }
}
