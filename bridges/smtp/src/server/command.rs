//! One command line as a value. Reads no state and decides nothing: whether the command may come now is the machine's matter.

/// How a client greets, and so which dialect it speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hello {
    Helo,
    Ehlo,
    Lhlo,
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Command<'a> {
    Hello(Hello, &'a str),
    /// What stands behind `FROM:`.
    Mail(&'a str),
    /// What stands behind `TO:`.
    Rcpt(&'a str),
    Data,
    Bdat {
        octets: u64,
        last: bool,
    },
    Rset,
    Noop,
    Vrfy,
    StartTls,
    Quit,
    /// A command of the standards that this server does not offer.
    NotOffered,
    /// A verb of HTTP: a browser was sent here, and what follows is not the user's mail.
    Http,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadLine {
    Unknown,
    Arguments,
    /// How many octets follow cannot be known, so nothing behind it can be read.
    Chunk,
}

/// From a line without its end.
pub(super) fn parse(line: &str) -> Result<Command<'_>, BadLine> {
    let (verb, arguments) = line.split_once(' ').unwrap_or((line, ""));
    let arguments = arguments.trim_matches([' ', '\t']);
    let alone = |command| if arguments.is_empty() { Ok(command) } else { Err(BadLine::Arguments) };
    match verb.to_ascii_uppercase().as_str() {
        "HELO" => hello(Hello::Helo, arguments),
        "EHLO" => hello(Hello::Ehlo, arguments),
        "LHLO" => hello(Hello::Lhlo, arguments),
        "MAIL" => behind("FROM:", arguments).map(Command::Mail),
        "RCPT" => behind("TO:", arguments).map(Command::Rcpt),
        "DATA" => alone(Command::Data),
        "BDAT" => chunk(arguments),
        "RSET" => alone(Command::Rset),
        "NOOP" => Ok(Command::Noop),
        "VRFY" => Ok(Command::Vrfy),
        "STARTTLS" => alone(Command::StartTls),
        "QUIT" => alone(Command::Quit),
        "EXPN" | "HELP" | "ETRN" | "AUTH" | "TURN" | "SEND" | "SOML" | "SAML" => Ok(Command::NotOffered),
        "GET" | "POST" | "PUT" | "HEAD" | "OPTIONS" | "CONNECT" => Ok(Command::Http),
        _ => Err(BadLine::Unknown),
    }
}

fn hello(hello: Hello, arguments: &str) -> Result<Command<'_>, BadLine> {
    let name = arguments.split([' ', '\t']).next().unwrap_or("");
    if name.is_empty() { Err(BadLine::Arguments) } else { Ok(Command::Hello(hello, name)) }
}

fn behind<'a>(word: &str, arguments: &'a str) -> Result<&'a str, BadLine> {
    match arguments.get(..word.len()) {
        Some(found) if found.eq_ignore_ascii_case(word) => Ok(arguments[word.len()..].trim_start_matches(' ')),
        Some(_) | None => Err(BadLine::Arguments),
    }
}

fn chunk(arguments: &str) -> Result<Command<'_>, BadLine> {
    let (octets, last) = match arguments.split_once(' ') {
        None => (arguments, false),
        Some((octets, last)) if last.trim_start().eq_ignore_ascii_case("LAST") => (octets, true),
        Some(_) => return Err(BadLine::Chunk),
    };
    number(octets).map(|octets| Command::Bdat { octets, last }).ok_or(BadLine::Chunk)
}

/// Decimal digits and nothing else, not even a sign; RFC 1870 allows 20 of them.
pub(super) fn number(digits: &str) -> Option<u64> {
    let plain = (1..=20).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_line_is_one_command_or_a_named_fault() {
        use BadLine::{Arguments, Chunk, Unknown};
        for (line, expected) in [
            ("EHLO mx.cust.test", Ok(Command::Hello(Hello::Ehlo, "mx.cust.test"))),
            ("ehlo  mx.cust.test trailing", Ok(Command::Hello(Hello::Ehlo, "mx.cust.test"))),
            ("HELO [192.0.2.1]", Ok(Command::Hello(Hello::Helo, "[192.0.2.1]"))),
            ("LHLO a", Ok(Command::Hello(Hello::Lhlo, "a"))),
            ("EHLO", Err(Arguments)),
            ("EHLO ", Err(Arguments)),
            ("MAIL FROM:<a@b.test> SIZE=5", Ok(Command::Mail("<a@b.test> SIZE=5"))),
            ("mail from: <a@b.test>", Ok(Command::Mail("<a@b.test>"))),
            ("MAIL <a@b.test>", Err(Arguments)),
            ("MAIL FRÖM:<>", Err(Arguments)),
            ("MAIL", Err(Arguments)),
            ("RCPT TO:<a@b.test>", Ok(Command::Rcpt("<a@b.test>"))),
            ("RCPT FROM:<a@b.test>", Err(Arguments)),
            ("DATA", Ok(Command::Data)),
            ("data  ", Ok(Command::Data)),
            ("DATA now", Err(Arguments)),
            ("BDAT 5", Ok(Command::Bdat { octets: 5, last: false })),
            ("bdat 0 last", Ok(Command::Bdat { octets: 0, last: true })),
            ("BDAT", Err(Chunk)),
            ("BDAT +5", Err(Chunk)),
            ("BDAT -5 LAST", Err(Chunk)),
            ("BDAT 5 LAST LAST", Err(Chunk)),
            ("BDAT 99999999999999999999", Err(Chunk)),
            ("BDAT 5 FIRST", Err(Chunk)),
            ("RSET", Ok(Command::Rset)),
            ("RSET all", Err(Arguments)),
            ("NOOP anything", Ok(Command::Noop)),
            ("VRFY ada", Ok(Command::Vrfy)),
            ("STARTTLS", Ok(Command::StartTls)),
            ("STARTTLS now", Err(Arguments)),
            ("QUIT", Ok(Command::Quit)),
            ("EXPN list", Ok(Command::NotOffered)),
            ("HELP", Ok(Command::NotOffered)),
            ("ETRN a.test", Ok(Command::NotOffered)),
            ("AUTH PLAIN AAAA", Ok(Command::NotOffered)),
            ("GET / HTTP/1.1", Ok(Command::Http)),
            ("", Err(Unknown)),
            (" DATA", Err(Unknown)),
            ("DATAX", Err(Unknown)),
            ("DATA\tx", Err(Unknown)),
        ] {
            assert_eq!(parse(line), expected, "{line:?}");
        }
    }

    proptest! {
        #[test]
        fn no_line_panics(line in "([A-Za-z]{4} )?\\PC{0,40}") {
            let _found = parse(&line);
        }
    }
}
