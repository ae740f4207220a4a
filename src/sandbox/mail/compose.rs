//! A customer's mail from what the page's form holds: plain text with files, in pure ASCII but for addresses that are
//! not. Sends nothing. Nothing that a person writes can add a header.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;

/// Longest line of an encoded part.
const LINE_LETTERS: usize = 76;
/// Bytes of one encoded word, so that it stays under 75 letters.
const WORD_BYTES: usize = 42;
/// Message ids that a reply names; the first and the newest stay.
const REFERENCES_MAX: usize = 30;

/// What a customer wrote.
#[derive(Debug, Clone, Default)]
pub(super) struct Letter {
    pub(super) from_name: String,
    pub(super) from: String,
    pub(super) to: String,
    pub(super) subject: String,
    pub(super) text: String,
    pub(super) in_reply_to: String,
    pub(super) references: String,
    pub(super) files: Vec<File>,
}

#[derive(Debug, Clone)]
pub(super) struct File {
    pub(super) name: String,
    pub(super) media_type: String,
    pub(super) bytes: Bytes,
}

/// The whole mail, or what is wrong with the form.
pub(super) fn compose(letter: &Letter, date: &str, message_id: &str, boundary: &str) -> Result<Vec<u8>, &'static str> {
    if !is_address(&letter.from) {
        return Err("your address is written like kim@example.org");
    }
    if !is_address(&letter.to) {
        return Err("the desk's address is written like support@desk.test");
    }
    let mut mail = String::new();
    let mut header = |name: &str, value: &str| {
        if !value.is_empty() {
            mail.extend([name, ": ", value, "\r\n"]);
        }
    };
    header("Date", date);
    header("From", &mailbox(&letter.from_name, &letter.from));
    header("To", &format!("<{}>", letter.to));
    // A mail without a subject has none, as people's own programs do it.
    header("Subject", &words(&letter.subject));
    header("Message-ID", &format!("<{message_id}>"));
    header("In-Reply-To", &ids(&letter.in_reply_to).into_iter().take(1).collect::<String>());
    header("References", &references(&letter.references));
    header("MIME-Version", "1.0");
    if letter.files.is_empty() {
        mail.push_str(&text_part(&letter.text));
        return Ok(mail.into_bytes());
    }
    mail.extend(["Content-Type: multipart/mixed; boundary=\"", boundary, "\"\r\n\r\n"]);
    mail.extend(["--", boundary, "\r\n", &text_part(&letter.text)]);
    for file in &letter.files {
        mail.extend(["\r\n--", boundary, "\r\n", &file_part(file)]);
    }
    mail.extend(["\r\n--", boundary, "--\r\n"]);
    Ok(mail.into_bytes())
}

fn is_address(text: &str) -> bool {
    let plain = |letter: char| !letter.is_whitespace() && !letter.is_control() && !"<>\"(),;:\\[]".contains(letter);
    let parts = text.split_once('@');
    text.chars().all(plain)
        && text.len() <= 254
        && parts.is_some_and(|(local, domain)| !local.is_empty() && !domain.is_empty() && !domain.contains('@'))
}

fn mailbox(name: &str, address: &str) -> String {
    let name = one_line(name);
    if name.is_empty() {
        return format!("<{address}>");
    }
    let quoted = name.is_ascii().then(|| format!("\"{}\"", name.replace('\\', "\\\\").replace('"', "\\\"")));
    let shown = quoted.filter(|quoted| quoted.len() <= LINE_LETTERS).unwrap_or_else(|| words(&name));
    format!("{shown}\r\n <{address}>")
}

/// Without line ends and other control characters.
fn one_line(text: &str) -> String {
    text.split(|letter: char| letter.is_control()).collect::<Vec<_>>().join(" ").trim().to_owned()
}

/// The text as it may stand in a header: as it is when it is short and plain, else as encoded words.
fn words(text: &str) -> String {
    let text = one_line(text);
    if text.is_ascii() && text.len() <= LINE_LETTERS && !text.contains("=?") {
        return text;
    }
    let mut found = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let mut end = text.len().min(start + WORD_BYTES);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        found.push(format!("=?utf-8?B?{}?=", STANDARD.encode(&text[start..end])));
        start = end;
    }
    found.join("\r\n ")
}

/// Message ids with their brackets; everything else is left out.
fn ids(text: &str) -> Vec<String> {
    let parts = text.split('<').skip(1).filter_map(|part| part.split_once('>').map(|(id, _)| id));
    let whole = parts.filter(|id| !id.is_empty() && id.chars().all(|letter| letter.is_ascii_graphic()));
    whole.map(|id| format!("<{id}>")).collect()
}

fn references(text: &str) -> String {
    let mut ids = ids(text);
    if ids.len() > REFERENCES_MAX {
        ids.drain(1..=ids.len() - REFERENCES_MAX);
    }
    ids.join("\r\n ")
}

/// Its headers and its body, which ends in CRLF.
fn text_part(text: &str) -> String {
    format!(
        "Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\n{}",
        quoted_printable(text)
    )
}

fn file_part(file: &File) -> String {
    let known = file.media_type.split_once('/').is_some_and(|(kind, subtype)| {
        let token = |text: &str| {
            let plain = |letter: char| letter.is_ascii_alphanumeric() || "-+._".contains(letter);
            !text.is_empty() && text.len() <= 60 && text.chars().all(plain)
        };
        // Multiparts and whole mails are not files, and may not be encoded.
        token(kind) && token(subtype) && !["multipart", "message"].contains(&kind.to_ascii_lowercase().as_str())
    });
    let media_type = if known { file.media_type.as_str() } else { "application/octet-stream" };
    let letters = STANDARD.encode(&file.bytes);
    let mut body = String::with_capacity(letters.len() + letters.len() / 38);
    for (index, letter) in letters.chars().enumerate() {
        if index > 0 && index % LINE_LETTERS == 0 {
            body.push_str("\r\n");
        }
        body.push(letter);
    }
    let name = file_name(&file.name);
    format!(
        "Content-Type: {media_type}\r\nContent-Disposition: attachment;{name}\r\nContent-Transfer-Encoding: base64\r\n\r\n{body}\r\n"
    )
}

/// The parameter by RFC 2231, in pieces that fit a line.
fn file_name(name: &str) -> String {
    let name = one_line(name);
    let name = if name.is_empty() { "file" } else { &name };
    let mut pieces = vec![String::new()];
    for byte in name.bytes().take(1_000) {
        let plain = byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        let letter = if plain { char::from(byte).to_string() } else { format!("%{byte:02X}") };
        let full = pieces.last().is_some_and(|piece| piece.len() + letter.len() > LINE_LETTERS - 20);
        if full {
            pieces.push(String::new());
        }
        if let Some(piece) = pieces.last_mut() {
            piece.push_str(&letter);
        }
    }
    if let [only] = pieces.as_slice() {
        return format!("\r\n filename*=utf-8''{only}");
    }
    let numbered = pieces.iter().enumerate().map(|(index, piece)| {
        let charset = if index == 0 { "utf-8''" } else { "" };
        format!("\r\n filename*{index}*={charset}{piece}")
    });
    numbered.collect::<Vec<_>>().join(";")
}

/// Lines end in CRLF, the last one too.
fn quoted_printable(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut out = String::new();
    for line in text.trim_end_matches('\n').split('\n') {
        let mut letters = 0;
        let last = line.len().saturating_sub(1);
        for (index, byte) in line.bytes().enumerate() {
            let space = (byte == b' ' || byte == b'\t') && index != last;
            let plain = (byte.is_ascii_graphic() && byte != b'=') || space;
            let width = if plain { 1 } else { 3 };
            // One place stays for the sign that the line goes on.
            if letters + width > LINE_LETTERS - 1 {
                out.push_str("=\r\n");
                letters = 0;
            }
            if plain {
                out.push(char::from(byte));
            } else {
                out.extend(["=", &hex::encode_upper([byte])]);
            }
            letters += width;
        }
        out.push_str("\r\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use mail_parser::{MessageParser, MimeHeaders};
    use proptest::prelude::*;

    use super::*;

    const DATE: &str = "Mon, 30 Nov 2026 10:00:00 +0000";

    fn letter() -> Letter {
        Letter {
            from_name: "Kim Lee".to_owned(),
            from: "kim@example.org".to_owned(),
            to: "support@desk.test".to_owned(),
            subject: "Where is it?".to_owned(),
            text: "Hello,\nwhere is it?".to_owned(),
            ..Letter::default()
        }
    }

    fn composed(letter: &Letter) -> String {
        String::from_utf8(compose(letter, DATE, "1@customer.test", "=_b").unwrap()).unwrap()
    }

    #[test]
    fn a_plain_mail_is_readable_as_it_is() {
        let expected = "Date: Mon, 30 Nov 2026 10:00:00 +0000\r\nFrom: \"Kim Lee\"\r\n <kim@example.org>\r\n\
            To: <support@desk.test>\r\nSubject: Where is it?\r\nMessage-ID: <1@customer.test>\r\n\
            MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\n\
            Content-Transfer-Encoding: quoted-printable\r\n\r\nHello,\r\nwhere is it?\r\n";
        assert_eq!(composed(&letter()), expected);
    }

    #[test]
    fn a_reply_names_what_it_answers() {
        let many = (0..40).map(|number| format!(" <{number}@desk.test>")).collect::<Vec<_>>().concat();
        let reply = Letter {
            in_reply_to: "<39@desk.test>\r\nBcc: all@example.org".to_owned(),
            references: format!("junk {many}\r\nX: y"),
            ..letter()
        };
        let text = composed(&reply);
        assert!(text.contains("\r\nIn-Reply-To: <39@desk.test>\r\n"), "{text}");
        let parsed = MessageParser::default().parse(text.as_bytes()).unwrap();
        let references = parsed.references().as_text_list().unwrap();
        assert_eq!(references.len(), REFERENCES_MAX);
        assert_eq!((&*references[0], &*references[REFERENCES_MAX - 1]), ("0@desk.test", "39@desk.test"));
        assert!(parsed.header("Bcc").is_none() && parsed.header("X").is_none());
    }

    #[test]
    fn names_subjects_texts_and_files_come_out_as_they_went_in() {
        let long = "ж".repeat(200);
        let file = |name: &str, media_type: &str, bytes: &'static [u8]| File {
            name: name.to_owned(),
            media_type: media_type.to_owned(),
            bytes: Bytes::from_static(bytes),
        };
        let files = vec![
            file("Überblick \"1\".pdf", "application/pdf", &[0, 1, 2, 255]),
            file(&format!("{long}.txt"), "message/rfc822", b"x"),
        ];
        let letter = Letter {
            from_name: "Кім \"K\" Lee".to_owned(),
            subject: format!("Größe {long}"),
            text: format!(".\n= {long} end \nlast"),
            files,
            ..letter()
        };
        let text = composed(&letter);
        assert!(text.is_ascii() && text.split("\r\n").all(|line| line.len() <= 78), "{text}");
        let parsed = MessageParser::default().parse(text.as_bytes()).unwrap();
        let from = parsed.from().unwrap().first().unwrap();
        assert_eq!((from.name(), from.address()), (Some("Кім \"K\" Lee"), Some("kim@example.org")));
        assert_eq!(parsed.subject(), Some(letter.subject.as_str()));
        assert_eq!(parsed.body_text(0).unwrap().replace("\r\n", "\n").trim_end(), letter.text);
        let files: Vec<_> = parsed.attachments().map(|part| (part.attachment_name(), part.contents())).collect();
        let long = format!("{long}.txt");
        assert_eq!(files, [(Some("Überblick \"1\".pdf"), &[0, 1, 2, 255][..]), (Some(long.as_str()), b"x")]);
        assert!(text.contains("Content-Type: application/octet-stream\r\n"), "a mail is no file: {text}");
    }

    #[test]
    fn a_wrong_address_is_told_before_anything_is_sent() {
        for address in ["", "kim", "kim@", "@x", "a b@x", "a@x>\r\nRCPT TO:<b@x", "a@b@c", "\"a\"@x"] {
            let from = Letter { from: address.to_owned(), ..letter() };
            assert!(compose(&from, DATE, "1@x", "b").is_err(), "{address:?}");
            let to = Letter { to: address.to_owned(), ..letter() };
            assert!(compose(&to, DATE, "1@x", "b").is_err(), "{address:?}");
        }
    }

    proptest! {
        #[test]
        fn nothing_that_is_written_adds_a_header(name in ".{0,80}", subject in "(?s).{0,80}", text in "(?s).{0,200}") {
            let letter = Letter { from_name: name, subject, text, ..letter() };
            let mail = composed(&letter);
            let (head, body) = mail.split_once("\r\n\r\n").unwrap();
            let names = head.split("\r\n").filter(|line| !line.starts_with(' ')).map(|line| line.split(':').next().unwrap());
            let known = ["Date", "From", "To", "Subject", "Message-ID", "MIME-Version", "Content-Type", "Content-Transfer-Encoding"];
            prop_assert!(names.into_iter().all(|name| known.contains(&name)), "{}", head);
            prop_assert!(body.split("\r\n").all(|line| line.len() <= LINE_LETTERS && !line.contains(['\r', '\n'])));
        }
    }
}
