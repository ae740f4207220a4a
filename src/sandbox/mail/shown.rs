//! A mail as the page shows it: parsed, bounded, as JSON. Nothing here is markup that is trusted; the page puts texts
//! in as text, and the HTML part only into a frame that may do nothing.

use std::borrow::Cow;

use bytes::Bytes;
use mail_parser::{Address, Message, MessageParser, MessagePart, MimeHeaders, PartType};
use serde_json::{Value, json};

use super::mailbox::ReceivedMail;

/// Larger mails are shown by their envelope alone.
pub(super) const PARSED_BYTES_MAX: usize = 30 * 1024 * 1024;
/// Letters of each text that is shown.
pub(super) const TEXT_LETTERS_MAX: usize = 200_000;
const HEADER_LETTERS_MAX: usize = 2_000;
const PREVIEW_LETTERS: usize = 120;
const QUOTE_LETTERS_MAX: usize = 10_000;
/// Files that are listed.
pub(super) const FILES_MAX: usize = 100;

/// Headers that matter to who looks at the gateway, in this order.
const HEADERS: &[&str] = &[
    "From",
    "Sender",
    "Reply-To",
    "To",
    "Cc",
    "Subject",
    "Date",
    "Message-ID",
    "In-Reply-To",
    "References",
    "Auto-Submitted",
    "Precedence",
    "List-Id",
    "X-Auto-Response-Suppress",
    "DKIM-Signature",
    "Content-Type",
];

/// The row of the list.
pub(super) fn summary(mail: &ReceivedMail) -> Value {
    let parsed = parsed(mail);
    let message = parsed.as_ref();
    let files: Vec<String> =
        message.map(|message| files(message).map(|part| name_of(part)).collect()).unwrap_or_default();
    let preview = message.and_then(text_of).map(|text| {
        let words = text.split_whitespace().take(PREVIEW_LETTERS).collect::<Vec<_>>().join(" ");
        first_letters(&words, PREVIEW_LETTERS)
    });
    json!({
        "number": mail.number,
        "at_ms": mail.at_ms,
        "from": message.and_then(Message::from).map(addresses),
        "to": mail.envelope.addresses().into_iter().take(FILES_MAX).collect::<Vec<_>>(),
        "subject": message.and_then(subject_of),
        "preview": preview,
        "files": files,
        "bytes": mail.raw.len(),
    })
}

/// Everything that the page shows of one mail.
pub(super) fn whole(mail: &ReceivedMail) -> Value {
    let mut shown = summary(mail);
    let envelope = &mail.envelope;
    let recipients = envelope.recipients.iter().take(FILES_MAX);
    let recipients: Vec<Value> =
        recipients.map(|to| json!({"address": to.address, "parameters": to.parameters})).collect();
    shown["envelope"] = json!({
        "client": envelope.client.to_string(), "hello": envelope.hello, "tls": envelope.tls, "user": envelope.user,
        "sender": envelope.sender, "parameters": envelope.sender_parameters, "recipients": recipients,
    });
    let Some(message) = parsed(mail) else {
        shown["unparsed"] = json!(true);
        return shown;
    };
    let headers = HEADERS.iter().filter_map(|name| Some(json!([name, header(&message, name)?])));
    shown["headers"] = headers.collect();
    let cut = |text: Cow<'_, str>| json!({"text": first_letters(&text, TEXT_LETTERS_MAX), "cut": text.chars().nth(TEXT_LETTERS_MAX).is_some()});
    shown["text"] = text_of(&message).map(cut).unwrap_or_default();
    shown["html"] = html_of(&message).map(cut).unwrap_or_default();
    let files = files(&message)
        .map(|part| json!({"name": name_of(part), "type": type_of(part), "bytes": part.contents().len()}));
    shown["files"] = files.collect();
    shown["reply"] = reply(mail, &message);
    shown
}

/// Name and bytes of the mail's file with this index.
pub(super) fn file(mail: &ReceivedMail, index: usize) -> Option<(String, Bytes)> {
    let message = parsed(mail)?;
    let part = files(&message).nth(index)?;
    Some((name_of(part), Bytes::copy_from_slice(part.contents())))
}

fn parsed(mail: &ReceivedMail) -> Option<Message<'_>> {
    if mail.raw.len() > PARSED_BYTES_MAX { None } else { MessageParser::default().parse(&mail.raw[..]) }
}

/// What a mail program would fill in when its user answers this mail.
fn reply(mail: &ReceivedMail, message: &Message<'_>) -> Value {
    let writer = message.from().and_then(Address::first);
    let to = message.reply_to().and_then(Address::first).or(writer);
    let me = mail.envelope.addresses().first().copied().unwrap_or_default();
    let shown_to = message.to().into_iter().flat_map(Address::iter);
    let my_name = shown_to
        .filter(|one| one.address().is_some_and(|address| address.eq_ignore_ascii_case(me)))
        .find_map(|one| one.name());
    let subject = subject_of(message).unwrap_or_default();
    let is_answer = subject.get(..3).is_some_and(|start| start.eq_ignore_ascii_case("re:"));
    let id = message.message_id().map(|id| format!("<{id}>"));
    let before = raw_header(message, "References").or_else(|| raw_header(message, "In-Reply-To"));
    let references: Vec<String> = before.into_iter().chain(id.clone()).collect();
    let text = text_of(message).map(|text| first_letters(&text, QUOTE_LETTERS_MAX)).unwrap_or_default();
    let mut quote = String::new();
    for line in text.lines() {
        quote.extend([format!("> {line}").trim_end(), "\n"]);
    }
    json!({
        "to": to.and_then(|to| to.address()),
        "writer": writer.and_then(|one| one.name().or_else(|| one.address())),
        "from": me,
        "from_name": my_name,
        "subject": if is_answer { subject } else { format!("Re: {subject}").trim_end().to_owned() },
        "in_reply_to": id,
        "references": references.join(" "),
        "quote": quote,
    })
}

fn subject_of(message: &Message<'_>) -> Option<String> {
    message.subject().map(|subject| first_letters(subject, HEADER_LETTERS_MAX))
}

fn text_of<'a>(message: &'a Message<'_>) -> Option<Cow<'a, str>> {
    message.text_bodies().find_map(|part| match &part.body {
        PartType::Text(text) => Some(Cow::Borrowed(text.as_ref())),
        PartType::Html(_)
        | PartType::Binary(_)
        | PartType::InlineBinary(_)
        | PartType::Message(_)
        | PartType::Multipart(_) => None,
    })
}

fn html_of<'a>(message: &'a Message<'_>) -> Option<Cow<'a, str>> {
    message.html_bodies().find_map(|part| match &part.body {
        PartType::Html(html) => Some(Cow::Borrowed(html.as_ref())),
        PartType::Text(_)
        | PartType::Binary(_)
        | PartType::InlineBinary(_)
        | PartType::Message(_)
        | PartType::Multipart(_) => None,
    })
}

fn files<'a>(message: &'a Message<'_>) -> impl Iterator<Item = &'a MessagePart<'a>> {
    message.attachments().take(FILES_MAX)
}

fn name_of(part: &MessagePart<'_>) -> String {
    let given = part.attachment_name().map(|name| first_letters(name, 200)).filter(|name| !name.trim().is_empty());
    given.unwrap_or_else(|| "file".to_owned())
}

fn type_of(part: &MessagePart<'_>) -> String {
    let Some(found) = part.content_type() else { return "text/plain".to_owned() };
    let subtype = found.c_subtype.as_deref().unwrap_or("plain");
    first_letters(&format!("{}/{subtype}", found.c_type), 200)
}

fn header(message: &Message<'_>, name: &str) -> Option<String> {
    let people = match name {
        "From" => message.from(),
        "Sender" => message.sender(),
        "Reply-To" => message.reply_to(),
        "To" => message.to(),
        "Cc" => message.cc(),
        "Subject" => return subject_of(message),
        _ => None,
    };
    people.map(addresses).or_else(|| raw_header(message, name))
}

/// As it stands, but on one line.
fn raw_header(message: &Message<'_>, name: &str) -> Option<String> {
    let header = message.headers().iter().find(|header| header.name().eq_ignore_ascii_case(name))?;
    let bytes = message.raw_message.get(header.offset_start as usize..header.offset_end as usize)?;
    let words = String::from_utf8_lossy(bytes).split_whitespace().collect::<Vec<_>>().join(" ");
    Some(first_letters(&words, HEADER_LETTERS_MAX))
}

/// `Kim Lee <kim@example.org>, …`.
fn addresses(address: &Address<'_>) -> String {
    let shown = address.iter().take(FILES_MAX).map(|one| match (one.name(), one.address()) {
        (Some(name), Some(address)) => format!("{name} <{address}>"),
        (None, Some(address)) => address.to_owned(),
        (name, None) => name.unwrap_or_default().to_owned(),
    });
    first_letters(&shown.collect::<Vec<_>>().join(", "), HEADER_LETTERS_MAX)
}

fn first_letters(text: &str, letters: usize) -> String {
    text.chars().take(letters).collect()
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use proptest::prelude::*;

    use super::*;
    use crate::sandbox::mail::mailbox::{Envelope, Recipient};

    fn mail(raw: impl Into<Vec<u8>>) -> ReceivedMail {
        let to = Recipient { address: "kim@example.org".to_owned(), parameters: Vec::new() };
        let envelope = Envelope {
            client: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)),
            hello: "desk.test".to_owned(),
            extended: true,
            tls: false,
            user: None,
            sender: "bounce@desk.test".to_owned(),
            sender_parameters: Vec::new(),
            recipients: vec![to],
        };
        ReceivedMail { number: 1, at_ms: 0, envelope, raw: Bytes::from(raw.into()) }
    }

    const ANSWER: &str = "From: \"Ada via Acme\" <support@desk.test>\r\nReply-To: <support+7x@desk.test>\r\n\
        To: \"Kim Lee\" <KIM@example.org>\r\nSubject: =?utf-8?B?R3LDtsOfZQ==?=\r\nMessage-ID: <2@desk.test>\r\n\
        In-Reply-To: <1@example.org>\r\nReferences: <0@example.org>\r\n <1@example.org>\r\nMIME-Version: 1.0\r\n\
        Content-Type: multipart/mixed; boundary=m\r\n\r\n--m\r\nContent-Type: multipart/alternative; boundary=a\r\n\r\n\
        --a\r\nContent-Type: text/plain; charset=utf-8\r\n\r\nIt is\r\non its way.\r\n\
        --a\r\nContent-Type: text/html\r\n\r\n<p onclick=x>It is</p>\r\n--a--\r\n\
        --m\r\nContent-Type: image/png\r\nContent-Disposition: attachment; filename=\"map.png\"\r\n\
        Content-Transfer-Encoding: base64\r\n\r\nAAEC\r\n--m--\r\n";

    #[test]
    fn a_mail_is_shown_with_its_parts() {
        let shown = whole(&mail(ANSWER));
        assert_eq!(shown["subject"], "Größe");
        assert_eq!(shown["preview"], "It is on its way.");
        assert_eq!(shown["text"]["text"], "It is\r\non its way.");
        assert_eq!(shown["html"]["text"], "<p onclick=x>It is</p>");
        assert_eq!(shown["files"], json!([{"name": "map.png", "type": "image/png", "bytes": 3}]));
        let headers = shown["headers"].as_array().unwrap();
        assert_eq!(headers[0], json!(["From", "Ada via Acme <support@desk.test>"]));
        assert!(headers.contains(&json!(["References", "<0@example.org> <1@example.org>"])));
        assert_eq!(file(&mail(ANSWER), 0), Some(("map.png".to_owned(), Bytes::from_static(&[0, 1, 2]))));
        assert_eq!(file(&mail(ANSWER), 1), None);
    }

    #[test]
    fn an_answer_goes_where_the_mail_asks_for_and_names_what_it_answers() {
        let reply = whole(&mail(ANSWER))["reply"].clone();
        let expected = json!({
            "to": "support+7x@desk.test", "writer": "Ada via Acme", "from": "kim@example.org",
            "from_name": "Kim Lee", "subject": "Re: Größe", "in_reply_to": "<2@desk.test>",
            "references": "<0@example.org> <1@example.org> <2@desk.test>", "quote": "> It is\n> on its way.\n",
        });
        assert_eq!(reply, expected);
    }

    #[test]
    fn an_answer_to_a_mail_without_much_is_still_one() {
        let reply = |raw: &str| whole(&mail(raw))["reply"].clone();
        let bare =
            reply("From: a@desk.test\r\nSubject: RE: x\r\nIn-Reply-To: <1@x>\r\nMessage-ID: <2@x>\r\n\r\nhi\r\n");
        assert_eq!((&bare["to"], &bare["subject"]), (&json!("a@desk.test"), &json!("RE: x")));
        assert_eq!(bare["references"], "<1@x> <2@x>");
        let none = reply("\r\nhi\r\n");
        assert_eq!((&none["to"], &none["subject"], &none["in_reply_to"]), (&Value::Null, &json!("Re:"), &Value::Null));
    }

    #[test]
    fn what_is_shown_has_bounds() {
        let long = "ä".repeat(TEXT_LETTERS_MAX + 1);
        let text = format!("Subject: {long}\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n{long}");
        let shown = whole(&mail(text));
        assert_eq!(shown["text"]["text"].as_str().unwrap().chars().count(), TEXT_LETTERS_MAX);
        assert_eq!(shown["text"]["cut"], true);
        assert_eq!(shown["subject"].as_str().unwrap().chars().count(), HEADER_LETTERS_MAX);
        let part = "--m\r\nContent-Type: image/png\r\n\r\nx\r\n";
        let many = format!("Content-Type: multipart/mixed; boundary=m\r\n\r\n{}--m--\r\n", part.repeat(FILES_MAX + 1));
        assert_eq!(whole(&mail(many))["files"].as_array().unwrap().len(), FILES_MAX);
        let shown = whole(&mail(vec![b'x'; PARSED_BYTES_MAX + 1]));
        assert_eq!((&shown["unparsed"], &shown["to"][0]), (&json!(true), &json!("kim@example.org")));
    }

    proptest! {
        #[test]
        fn any_bytes_are_shown_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert_eq!(&whole(&mail(bytes))["number"], 1);
        }
    }
}
