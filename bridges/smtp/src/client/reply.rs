//! Replies of a mail server, as they come in pieces. Bounded in every direction; never waits, never panics.

/// Octets of one line of a reply, line end included. RFC 5321 says 512; real relays say more.
const LINE_BYTES_MAX: usize = 2048;
const LINES_MAX: usize = 128;
/// Characters of a server's words that are shown to people.
const WORDS_MAX: usize = 300;

/// One whole reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) code: u16,
    /// The texts of its lines, in order, without codes.
    pub(crate) lines: Vec<String>,
}

/// Why bytes are no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadReply {
    #[error("a line of its reply is too long")]
    LongLine,
    #[error("its reply has too many lines")]
    ManyLines,
    #[error("it does not speak SMTP")]
    NoReply,
}

/// Collects bytes until a reply is whole.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    waiting: Vec<u8>,
    code: Option<u16>,
    lines: Vec<String>,
}

impl Reader {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.waiting.extend_from_slice(bytes);
    }

    /// Nothing came beyond the replies that were taken out.
    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.lines.is_empty()
    }

    /// The next whole reply, if it is here already.
    pub(crate) fn next(&mut self) -> Result<Option<Reply>, BadReply> {
        let waiting = std::mem::take(&mut self.waiting);
        let mut rest = waiting.as_slice();
        let found = loop {
            let window = &rest[..rest.len().min(LINE_BYTES_MAX)];
            let Some(end) = window.iter().position(|byte| *byte == b'\n') else {
                break if rest.len() >= LINE_BYTES_MAX { Err(BadReply::LongLine) } else { Ok(None) };
            };
            rest = &rest[end + 1..];
            match self.line(&window[..end]) {
                Ok(None) => {}
                Ok(Some(code)) => {
                    self.code = None;
                    break Ok(Some(Reply { code, lines: std::mem::take(&mut self.lines) }));
                }
                Err(bad) => break Err(bad),
            }
        };
        self.waiting = rest.to_vec();
        found
    }

    /// Takes one line in. The code, when it ends the reply.
    fn line(&mut self, line: &[u8]) -> Result<Option<u16>, BadReply> {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let (digits, rest) = line.split_at_checked(3).ok_or(BadReply::NoReply)?;
        let digit = |at: usize| digits[at].is_ascii_digit().then(|| u16::from(digits[at] - b'0'));
        let (Some(a @ 2..=5), Some(b), Some(c)) = (digit(0), digit(1), digit(2)) else { return Err(BadReply::NoReply) };
        let code = a * 100 + b * 10 + c;
        if *self.code.get_or_insert(code) != code {
            return Err(BadReply::NoReply);
        }
        if self.lines.len() == LINES_MAX {
            return Err(BadReply::ManyLines);
        }
        let (last, text) = match rest.split_first() {
            None => (true, rest),
            Some((b' ', text)) => (true, text),
            Some((b'-', text)) => (false, text),
            Some(_) => return Err(BadReply::NoReply),
        };
        self.lines.push(String::from_utf8_lossy(text).into_owned());
        Ok(last.then_some(code))
    }
}

impl Reply {
    /// The enhanced status code (RFC 2034) that begins the text, such as `5.1.1`.
    pub(crate) fn status(&self) -> Option<&str> {
        let word = self.lines.first()?.split(' ').next()?;
        let mut numbers = word.split('.');
        let class = numbers.next()?;
        let good = |number: &str| (1..=3).contains(&number.len()) && number.bytes().all(|b| b.is_ascii_digit());
        let fits = class.len() == 1 && u16::from(class.as_bytes()[0].wrapping_sub(b'0')) == self.code / 100;
        (fits && numbers.next().is_some_and(good) && numbers.next().is_some_and(good) && numbers.next().is_none())
            .then_some(word)
    }

    /// Code and text in one line that is safe to show: no control characters, at most 300 characters, and no mail
    /// address but those in `known`.
    pub(crate) fn words(&self, known: &[&str]) -> String {
        let status = self.status().unwrap_or_default().to_owned();
        let mut words = format!("{} {status}", self.code).trim_end().to_owned();
        for line in &self.lines {
            let line = line.strip_prefix(status.as_str()).unwrap_or(line);
            for word in line.split(|c: char| c.is_whitespace() || c.is_control()) {
                let word: String = word.chars().filter(|c| crate::compose::is_shown(*c)).collect();
                if !word.is_empty() {
                    words.push(' ');
                    words.push_str(if hides_address(&word, known) { "(address)" } else { &word });
                }
            }
        }
        if words.chars().count() > WORDS_MAX {
            words = words.chars().take(WORDS_MAX - 1).chain(['…']).collect();
        }
        words
    }
}

fn hides_address(word: &str, known: &[&str]) -> bool {
    let edge = |c: char| !c.is_alphanumeric();
    let bare = word.trim_matches(edge);
    bare.contains('@') && !known.iter().any(|address| address.eq_ignore_ascii_case(bare))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8]) -> Result<Vec<Reply>, BadReply> {
        let mut reader = Reader::default();
        reader.push(bytes);
        let mut found = Vec::new();
        while let Some(reply) = reader.next()? {
            found.push(reply);
        }
        Ok(found)
    }

    fn reply(code: u16, lines: &[&str]) -> Reply {
        Reply { code, lines: lines.iter().map(|line| (*line).to_owned()).collect() }
    }

    #[test]
    fn a_reply_is_read_or_it_is_none() {
        for (bytes, expected) in [
            (&b"250 ok\r\n"[..], Ok(vec![reply(250, &["ok"])])),
            (b"250\r\n", Ok(vec![reply(250, &[""])])),
            (b"250-one\r\n250-two\r\n250 three\r\n", Ok(vec![reply(250, &["one", "two", "three"])])),
            (b"250 ok\n354 go\r\n", Ok(vec![reply(250, &["ok"]), reply(354, &["go"])])),
            (b"250-one\r\n", Ok(vec![])),
            (b"250 o", Ok(vec![])),
            (b"250-one\r\n251 two\r\n", Err(BadReply::NoReply)),
            (b"HTTP/1.1 400\r\n", Err(BadReply::NoReply)),
            (b"150 x\r\n", Err(BadReply::NoReply)),
            (b"650 x\r\n", Err(BadReply::NoReply)),
            (b"25\r\n", Err(BadReply::NoReply)),
            (b"250x\r\n", Err(BadReply::NoReply)),
            (b"\r\n", Err(BadReply::NoReply)),
        ] {
            assert_eq!(read(bytes), expected, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn no_line_and_no_reply_grows_without_end() {
        assert_eq!(read(&[b'2'; LINE_BYTES_MAX]), Err(BadReply::LongLine));
        assert_eq!(read(&[b'2'; LINE_BYTES_MAX - 1]), Ok(vec![]));
        assert_eq!(read(&b"250-x\r\n".repeat(LINES_MAX + 1)), Err(BadReply::ManyLines));
        let most = [b"250-x\r\n".repeat(LINES_MAX - 1), b"250 x\r\n".to_vec()].concat();
        assert_eq!(read(&most).map(|replies| replies[0].lines.len()), Ok(LINES_MAX));
    }

    #[test]
    fn words_are_one_clean_line_and_tell_no_other_address() {
        let known = ["ada@cust.test"];
        for (reply, expected) in [
            (reply(550, &["5.1.1 <ada@cust.test>: no such user"]), "550 5.1.1 <ada@cust.test>: no such user"),
            (reply(550, &["5.1.1 no", "5.1.1 such user"]), "550 5.1.1 no such user"),
            (reply(550, &["ask <boss@acme.test> first"]), "550 ask (address) first"),
            (reply(554, &["a\u{1b}[31m\u{202e}b\tc\u{0}d"]), "554 a [31mb c d"),
            (reply(554, &[""]), "554"),
        ] {
            assert_eq!(reply.words(&known), expected);
        }
        assert_eq!(reply(554, &["x".repeat(2000).as_str()]).words(&[]).chars().count(), WORDS_MAX);
    }

    #[test]
    fn an_enhanced_code_is_told_from_other_words() {
        for (code, text, expected) in [
            (550, "5.1.1 no", Some("5.1.1")),
            (550, "5.123.456", Some("5.123.456")),
            (550, "4.1.1 no", None),
            (550, "5.1 no", None),
            (550, "5.1.1.1 no", None),
            (550, "5..1 no", None),
            (550, "", None),
        ] {
            assert_eq!(reply(code, &[text]).status(), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn cuts_do_not_matter(cuts in proptest::collection::vec(0usize..40, 0..6)) {
            let bytes = b"220 hi\r\n250-a\r\n250 b\r\n354 go\r\n";
            let mut cuts: Vec<usize> = cuts.into_iter().filter(|cut| *cut <= bytes.len()).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let (mut reader, mut found) = (Reader::default(), Vec::new());
            for pair in cuts.windows(2) {
                reader.push(&bytes[pair[0]..pair[1]]);
                while let Some(reply) = reader.next().unwrap() {
                    found.push(reply);
                }
            }
            prop_assert_eq!(found, read(bytes).unwrap());
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let _any = read(&bytes);
        }
    }
}
