//! Mails that we write, of words that may be anything.

use bridge_api::{Attachment, Holder, kit::fuzz::Target};
use mail_parser::MessageParser;

use super::{Letter, body::BodyParts, clean, fields, html, plain};
use crate::{
    address::Address,
    mail::{Mailbox, MessageId},
    settings::Identity,
};

/// Whatever people are called, write and name their files: the header has the fields that were meant, once each, and
/// each says what was meant.
///
/// Words are divided by a line of one `=`: the agent's name, the peer's, the subject, a file's name, its media type, the
/// loop token, two Message-IDs, the text.
pub(crate) const HEADERS: Target = Target { name: "mail_headers", check: headers, runs: 2_000 };

fn headers(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut words = text.split("\n=\n");
    let mut word = || words.next().unwrap_or_default();
    let address = |text: &str| Address::parse(text).expect("an address");
    let (agent, peer, subject, file, media_type, token) = (word(), word(), word(), word(), word(), word());
    let (first, second) = (MessageId::parse(word()), MessageId::parse(word()));
    let attachment = Attachment {
        name: file.to_owned(),
        media_type: Some(media_type.to_owned()),
        size_bytes: None,
        url: "file:x".to_owned(),
        holder: Holder::Inbox,
    };
    let letter = Letter {
        from: Identity { name: "Acme".to_owned(), address: address("desk@acme.test") },
        agent_name: Some(agent.to_owned()),
        to: vec![Mailbox { name: peer.to_owned(), address: Some(address("bob@cust.test")) }],
        cc: vec![Mailbox { name: subject.to_owned(), address: Some(address("eve@cust.test")) }],
        subject: subject.to_owned(),
        message_id: MessageId::parse("<m1@acme.test>").expect("an id"),
        in_reply_to: first.clone(),
        references: first.into_iter().chain(second).collect(),
        reply_to: Some(address("desk+t@acme.test")),
        date_millis: 1_700_000_000_123,
        loop_token: format!("t{token}"),
        text: word().to_owned(),
        attachments: vec![attachment],
        auto_submitted: true,
    };
    assert_head(&letter);
    assert_parts(&letter);
}

fn assert_head(letter: &Letter) {
    let parts = BodyParts::new(&letter.text, &letter.attachments, letter.message_id.as_str());
    let written = fields(letter, &parts);
    let replies = letter.in_reply_to.is_some();
    let known = !letter.references.is_empty();
    let all = [
        ("Date", true),
        ("From", true),
        ("To", true),
        ("Cc", true),
        ("Reply-To", true),
        ("Subject", true),
        ("Message-ID", true),
        ("In-Reply-To", replies),
        ("References", known),
        ("Auto-Submitted", true),
        ("X-Auto-Response-Suppress", true),
        ("X-Deskbridge-Loop", true),
        ("MIME-Version", true),
        ("Content-Type", true),
    ];
    let meant: Vec<&str> = all.iter().filter(|(_, is)| *is).map(|(name, _)| *name).collect();
    assert_eq!(names(written.as_str()), meant, "{}", written.as_str());
    let mail = format!("{}\r\n", written.as_str());
    let read = MessageParser::default().parse(mail.as_bytes()).expect("a mail");
    let one = |header: Option<&mail_parser::Address<'_>>| {
        let list = header.and_then(mail_parser::Address::as_list).expect("a list");
        assert_eq!(list.len(), 1, "{mail}");
        list[0].address.clone().unwrap_or_default().into_owned()
    };
    assert_eq!(
        (one(read.from()), one(read.to()), one(read.cc())),
        ("desk@acme.test".into(), "bob@cust.test".into(), "eve@cust.test".into())
    );
    assert_eq!(read.subject().unwrap_or_default(), clean::subject(&letter.subject));
}

/// The names of the fields of a block, which must be lines of the standard's form.
fn names(block: &str) -> Vec<&str> {
    let lines = block.strip_suffix("\r\n").expect("it ends as a line").split("\r\n");
    let mut names = Vec::new();
    for line in lines {
        let plain = line.is_ascii() && !line.contains(|c: char| c.is_ascii_control()) && line.len() <= 998;
        assert!(plain && !line.trim().is_empty(), "{line:?}");
        if !line.starts_with(' ') {
            names.push(line.split_once(':').expect("a field").0);
        }
    }
    names
}

/// The texts and the file's own header: no line of them looks like a boundary that is none, and none breaks out.
fn assert_parts(letter: &Letter) {
    let parts = BodyParts::new(&letter.text, &letter.attachments, letter.message_id.as_str());
    let head = parts.file_header(&letter.attachments[0], None);
    let head = std::str::from_utf8(&head).expect("text");
    let (boundary, fields) = head.split_once("\r\n").expect("a boundary");
    assert_eq!(
        names(fields.strip_suffix("\r\n").expect("an empty line")),
        ["Content-Type", "Content-Transfer-Encoding", "Content-Disposition"]
    );
    assert!(
        fields.starts_with("Content-Type: ")
            && !fields.starts_with("Content-Type: multipart")
            && !fields.starts_with("Content-Type: message")
    );
    let text = std::str::from_utf8(&parts.text).expect("text");
    for line in text.split("\r\n") {
        assert!(!line.contains(['\r', '\n', '\0']) && line.is_ascii() && line.len() <= 998, "{line:?}");
    }
    let count = text.split("\r\n").filter(|line| *line == boundary).count();
    assert_eq!(count, usize::from(!clean::text(&letter.text).trim().is_empty()), "{text}");
}

/// An agent's Markdown becomes HTML of a few elements, and plain text; both are words and harmless links alone.
pub(crate) const MARKUP: Target = Target { name: "mail_markup", check: markup, runs: 4_000 };

fn markup(data: &[u8]) {
    let text = clean::text(&String::from_utf8_lossy(data));
    let page = html::of_markdown(&text).expect("it is short");
    let body = page.split_once("<body>\n").and_then(|(_, rest)| rest.strip_suffix("</body></html>\n")).expect("a page");
    assert_eq!(strictly(body), Ok(()), "{body}");
    let plain = plain::of_markdown(&text);
    assert!(!plain.contains(|c: char| c.is_control() && c != '\n' && c != '\t'), "{plain:?}");
}

/// Reads the few elements that are ours: every `<` begins one of them, and an attribute stands only where it may.
fn strictly(html: &str) -> Result<(), String> {
    const NAMES: [&str; 17] = [
        "p",
        "strong",
        "em",
        "del",
        "code",
        "a",
        "ul",
        "ol",
        "li",
        "pre",
        "blockquote",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
    ];
    let mut open = Vec::new();
    let mut parts = html.split('<');
    let before = parts.next().unwrap_or_default();
    let texts = |text: &str| if text.contains(['>']) { Err(format!("a bare {text:?}")) } else { Ok(()) };
    texts(before)?;
    for part in parts {
        let (tag, text) = part.split_once('>').ok_or("no end")?;
        texts(text)?;
        if let Some(name) = tag.strip_prefix('/') {
            if open.pop() != Some(name) {
                return Err(format!("</{name}> closes another"));
            }
        } else if !matches!(tag, "br /" | "hr /") {
            let (name, attribute) = tag.split_once(' ').map_or((tag, None), |(name, rest)| (name, Some(rest)));
            if !NAMES.contains(&name) || !attribute.is_none_or(|attribute| is_allowed(name, attribute)) {
                return Err(format!("<{tag}>"));
            }
            open.push(name);
        }
    }
    if open.is_empty() { Ok(()) } else { Err(format!("{open:?} stay open")) }
}

fn is_allowed(name: &str, attribute: &str) -> bool {
    let value = |key: &str| {
        attribute.strip_prefix(key)?.strip_prefix("=\"")?.strip_suffix('"').filter(|value| !value.contains('"'))
    };
    match name {
        "a" => value("href").is_some_and(|to| {
            let scheme = to.split(':').next().unwrap_or_default().to_ascii_lowercase();
            ["http", "https", "mailto", "tel"].contains(&&*scheme)
        }),
        "ol" => value("start").is_some_and(|number| number.parse::<u64>().is_ok()),
        "code" => value("class").is_some_and(|class| class.starts_with("language-")),
        _ => false,
    }
}
