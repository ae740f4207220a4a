//! Whom a mail goes to, and how that is written in MAIL and RCPT. Pure.

use std::fmt::Write as _;

use crate::{address::Address, compose::written_address};

/// Octets of an envelope id, as RFC 3461 allows.
const ENVELOPE_ID_BYTES_MAX: usize = 100;

/// The outside of one mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Addressed {
    /// `None` is the null sender, to which nothing is ever bounced.
    pub(crate) sender: Option<Address>,
    /// All of them take the mail, or it is not sent at all. Never empty.
    pub(crate) recipients: Vec<Address>,
    /// Others who get it. One whom the relay refuses for good is left out.
    pub(crate) copies: Vec<Address>,
    /// What a bounce is asked to repeat.
    pub(crate) envelope_id: Option<String>,
    /// Of the mail, as far as known.
    pub(crate) bytes: Option<u64>,
}

/// What the relay said it can do.
#[expect(clippy::struct_excessive_bools, reason = "one for each keyword, as they are said")]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Offers {
    pub(crate) starttls: bool,
    pub(crate) plain: bool,
    pub(crate) login: bool,
    pub(crate) eight_bit: bool,
    pub(crate) international: bool,
    pub(crate) notices: bool,
    pub(crate) size: bool,
    /// The largest mail, when it says so.
    pub(crate) size_max: Option<u64>,
}

impl Offers {
    /// From the lines of the reply to EHLO.
    pub(crate) fn read(lines: &[String]) -> Self {
        let mut offers = Self::default();
        for line in lines.iter().skip(1) {
            let line = line.to_ascii_uppercase();
            let mut words = line.split([' ', '\t', '=']).filter(|word| !word.is_empty());
            match words.next() {
                Some("STARTTLS") => offers.starttls = true,
                Some("8BITMIME") => offers.eight_bit = true,
                Some("SMTPUTF8") => offers.international = true,
                Some("DSN") => offers.notices = true,
                Some("SIZE") => {
                    offers.size = true;
                    offers.size_max = words.next().and_then(|word| word.parse().ok()).filter(|most| *most > 0);
                }
                Some("AUTH") => {
                    for word in words {
                        offers.plain |= word == "PLAIN";
                        offers.login |= word == "LOGIN";
                    }
                }
                Some(_) | None => {}
            }
        }
        offers
    }
}

impl Addressed {
    /// The first address that needs SMTPUTF8 and cannot be left out.
    pub(crate) fn international(&self) -> Option<&Address> {
        self.sender.iter().chain(&self.recipients).find(|address| !written_address(address).is_ascii())
    }

    /// The recipients in their order, copies last, and whether one is a copy.
    pub(crate) fn recipient(&self, at: usize) -> Option<(&Address, bool)> {
        match self.recipients.get(at) {
            Some(address) => Some((address, false)),
            None => Some((self.copies.get(at - self.recipients.len())?, true)),
        }
    }

    fn is_international(&self, offers: &Offers) -> bool {
        let copies = self.copies.iter().any(|address| !written_address(address).is_ascii());
        self.international().is_some() || copies && offers.international
    }

    pub(crate) fn mail_command(&self, offers: &Offers) -> String {
        let mut command = format!("MAIL FROM:<{}>", self.sender.as_ref().map(written_address).unwrap_or_default());
        if let Some(bytes) = self.bytes.filter(|_| offers.size) {
            write!(command, " SIZE={bytes}").expect("a string takes everything");
        }
        if self.is_international(offers) {
            // Only then are there octets above 127 in a mail of ours: the addresses in its header.
            command.push_str(if offers.eight_bit { " BODY=8BITMIME SMTPUTF8" } else { " SMTPUTF8" });
        }
        if self.wants_notices(offers) {
            command.push_str(" RET=HDRS");
            if let Some(id) = self.envelope_id.as_deref().map(xtext).filter(|id| id.len() <= ENVELOPE_ID_BYTES_MAX) {
                write!(command, " ENVID={id}").expect("a string takes everything");
            }
        }
        command + "\r\n"
    }

    pub(crate) fn recipient_command(&self, recipient: &Address, offers: &Offers) -> String {
        let recipient = written_address(recipient);
        let mut command = format!("RCPT TO:<{recipient}>");
        if self.wants_notices(offers) {
            command.push_str(" NOTIFY=FAILURE,DELAY");
            // The type `rfc822` holds ASCII alone.
            if recipient.is_ascii() {
                write!(command, " ORCPT=rfc822;{}", xtext(&recipient)).expect("a string takes everything");
            }
        }
        command + "\r\n"
    }

    fn wants_notices(&self, offers: &Offers) -> bool {
        offers.notices && self.sender.is_some()
    }
}

/// RFC 3461, 4.
fn xtext(text: &str) -> String {
    let mut coded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_graphic() && !matches!(byte, b'+' | b'=') {
            coded.push(char::from(byte));
        } else {
            write!(coded, "+{byte:02X}").expect("a string takes everything");
        }
    }
    coded
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(sender: Option<&str>, recipient: &str) -> Addressed {
        Addressed {
            sender: sender.map(|text| Address::parse(text).unwrap()),
            recipients: vec![Address::parse(recipient).unwrap()],
            copies: Vec::new(),
            envelope_id: Some("a+b=c d".to_owned()),
            bytes: Some(77),
        }
    }

    fn offers(lines: &[&str]) -> Offers {
        let lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
        Offers::read(&lines)
    }

    #[test]
    fn offers_are_read_in_any_case_and_the_greeting_line_is_none() {
        assert_eq!(offers(&["STARTTLS"]), Offers::default());
        let all = offers(&["hi", "starttls", "AUTH=LOGIN plain", "8bitmime", "SmtpUtf8", "DSN", "SIZE 100", "X Y"]);
        let expected = Offers {
            starttls: true,
            plain: true,
            login: true,
            eight_bit: true,
            international: true,
            notices: true,
            size: true,
            size_max: Some(100),
        };
        assert_eq!(all, expected);
        for endless in ["SIZE 0", "SIZE", "SIZE x"] {
            let offers = offers(&["hi", endless]);
            assert_eq!((offers.size, offers.size_max), (true, None), "{endless}");
        }
        assert_eq!(offers(&["hi", "AUTH CRAM-MD5", ""]), Offers::default());
    }

    #[test]
    fn parameters_are_written_only_when_offered_and_needed() {
        let everything = offers(&["hi", "SIZE", "8BITMIME", "SMTPUTF8", "DSN"]);
        for (sender, recipient, offers, mail, rcpt) in [
            (Some("s@a.test"), "r@b.test", &Offers::default(), "MAIL FROM:<s@a.test>\r\n", "RCPT TO:<r@b.test>\r\n"),
            (
                Some("s@a.test"),
                "r+1@b.test",
                &everything,
                "MAIL FROM:<s@a.test> SIZE=77 RET=HDRS ENVID=a+2Bb+3Dc+20d\r\n",
                "RCPT TO:<r+1@b.test> NOTIFY=FAILURE,DELAY ORCPT=rfc822;r+2B1@b.test\r\n",
            ),
            (
                Some("s@a.test"),
                "r@bü.test",
                &Offers::default(),
                "MAIL FROM:<s@a.test>\r\n",
                "RCPT TO:<r@xn--b-eha.test>\r\n",
            ),
            (None, "r@b.test", &everything, "MAIL FROM:<> SIZE=77\r\n", "RCPT TO:<r@b.test>\r\n"),
            (
                Some("s@a.test"),
                "rü@b.test",
                &everything,
                "MAIL FROM:<s@a.test> SIZE=77 BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=a+2Bb+3Dc+20d\r\n",
                "RCPT TO:<rü@b.test> NOTIFY=FAILURE,DELAY\r\n",
            ),
        ] {
            let letter = letter(sender, recipient);
            assert_eq!(letter.mail_command(offers), mail);
            assert_eq!(letter.recipient_command(&letter.recipients[0], offers), rcpt);
        }
    }

    #[test]
    fn an_envelope_id_that_is_too_long_is_left_out() {
        let notices = offers(&["hi", "DSN"]);
        for (length, there) in [(ENVELOPE_ID_BYTES_MAX, true), (ENVELOPE_ID_BYTES_MAX + 1, false)] {
            let letter = Addressed { envelope_id: Some("x".repeat(length)), ..letter(Some("s@a.test"), "r@b.test") };
            assert_eq!(letter.mail_command(&notices).contains("ENVID"), there);
        }
    }
}
