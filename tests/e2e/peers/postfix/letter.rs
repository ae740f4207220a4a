//! A mail as its reader sees it, taken apart by a parser that is not the gateway's own work.

use mail_parser::{Address, HeaderValue, Message, MessageParser, MimeHeaders, PartType};

/// Bytes of a mail. Parsed at each question, since a parsed mail borrows them.
#[derive(Clone)]
pub(crate) struct Letter {
    raw: Vec<u8>,
}

/// A file in a mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct File {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

impl Letter {
    pub(crate) fn new(raw: Vec<u8>) -> Self {
        Self { raw }
    }

    pub(crate) fn raw(&self) -> String {
        String::from_utf8_lossy(&self.raw).into_owned()
    }

    fn parsed(&self) -> Message<'_> {
        MessageParser::default().parse(&self.raw).unwrap_or_else(|| panic!("no mail: {self:?}"))
    }

    pub(crate) fn subject(&self) -> String {
        self.parsed().subject().unwrap_or_default().to_owned()
    }

    /// The first header of this name, unfolded.
    pub(crate) fn header(&self, name: &str) -> Option<String> {
        let parsed = self.parsed();
        let raw = parsed.header_raw(name.to_owned())?;
        Some(raw.split_whitespace().collect::<Vec<_>>().join(" "))
    }

    /// How many headers of this name there are.
    pub(crate) fn count(&self, name: &str) -> usize {
        let parsed = self.parsed();
        parsed.headers_raw().filter(|(own, _)| own.eq_ignore_ascii_case(name)).count()
    }

    /// Name and address.
    pub(crate) fn from(&self) -> (String, String) {
        first(self.parsed().from())
    }

    pub(crate) fn to(&self) -> (String, String) {
        first(self.parsed().to())
    }

    /// Where an answer goes.
    pub(crate) fn answer_to(&self) -> String {
        let parsed = self.parsed();
        let (_, to) = first(parsed.reply_to());
        if to.is_empty() { first(parsed.from()).1 } else { to }
    }

    /// Without its brackets.
    pub(crate) fn id(&self) -> String {
        self.parsed().message_id().unwrap_or_default().to_owned()
    }

    pub(crate) fn in_reply_to(&self) -> Vec<String> {
        texts(self.parsed().in_reply_to())
    }

    pub(crate) fn references(&self) -> Vec<String> {
        texts(self.parsed().references())
    }

    /// The plain text part itself; none is made of HTML.
    pub(crate) fn text(&self) -> String {
        let parsed = self.parsed();
        let mut texts = parsed.parts.iter().filter(|part| !is_file(part)).filter_map(|part| match &part.body {
            PartType::Text(text) => Some(text.replace("\r\n", "\n")),
            PartType::Html(_)
            | PartType::Binary(_)
            | PartType::InlineBinary(_)
            | PartType::Message(_)
            | PartType::Multipart(_) => None,
        });
        texts.next().unwrap_or_default()
    }

    /// The HTML part itself.
    pub(crate) fn html(&self) -> Option<String> {
        let parsed = self.parsed();
        parsed.parts.iter().filter(|part| !is_file(part)).find_map(|part| match &part.body {
            PartType::Html(html) => Some(html.clone().into_owned()),
            PartType::Text(_)
            | PartType::Binary(_)
            | PartType::InlineBinary(_)
            | PartType::Message(_)
            | PartType::Multipart(_) => None,
        })
    }

    pub(crate) fn files(&self) -> Vec<File> {
        let parsed = self.parsed();
        let files = parsed.attachments();
        files
            .map(|part| File {
                name: part.attachment_name().unwrap_or_default().to_owned(),
                bytes: part.contents().to_vec(),
            })
            .collect()
    }
}

impl std::fmt::Debug for Letter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.raw())
    }
}

fn is_file(part: &mail_parser::MessagePart<'_>) -> bool {
    part.content_disposition().is_some_and(|disposition| disposition.ctype() == "attachment")
}

fn first(addresses: Option<&Address<'_>>) -> (String, String) {
    let Some(first) = addresses.and_then(Address::first) else { return (String::new(), String::new()) };
    (first.name().unwrap_or_default().to_owned(), first.address().unwrap_or_default().to_owned())
}

fn texts(value: &HeaderValue<'_>) -> Vec<String> {
    value.as_text_list().unwrap_or_default().iter().map(ToString::to_string).collect()
}
