//! Puts a mail together as people read it, from its parts. Pure; takes time in proportion to the mail, and a stack of
//! less than a mebibyte.

use std::{borrow::Cow, collections::HashMap};

use super::{
    Mail, MailFile, cut, headers, html, inner,
    markdown::{Line, joined},
    mime::{Part, Tree, decoded, head, transferred, walk},
    names::Names,
    plain,
    select::{Item, select},
    tnef,
};

/// Octets of one text that are shown, and of all texts of a mail; the rest is a file.
const TEXT_BYTES_MAX: usize = 1024 * 1024;
const TEXTS_BYTES_MAX: usize = 2 * 1024 * 1024;
/// Letters of an inner mail that is shown in the text; a longer one is only named.
const INNER_CHARS_MAX: usize = 2000;
/// Files that a mail is taken for, those in a wrapping among them.
const FILES_MAX: usize = 600;
/// Inner mails and appointments that the text speaks of, and octets of text in each that are looked at.
const INNER_MAX: usize = 20;
const INNER_BYTES_MAX: usize = 256 * 1024;
const NOTICES_MAX: usize = 20;

/// Of the raw mail as a file, `message.eml`.
pub(crate) const RAW_MAIL: u32 = u32::MAX;
/// Of the whole text as a file, for mails whose text was cut or is too long.
pub(crate) const WHOLE_TEXT: u32 = u32::MAX - 1;

/// A file's content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct FileBytes {
    pub(crate) media_type: Option<String>,
    pub(crate) bytes: Vec<u8>,
}

/// The mail as people read it. It never fails: what cannot be read is the file `message.eml`.
pub(crate) fn read(raw: &[u8]) -> Mail {
    let read = std::panic::AssertUnwindSafe(|| read_whole(raw, None));
    std::panic::catch_unwind(read).unwrap_or_else(|_| {
        let notices = vec![UNREADABLE.to_owned()];
        Mail { files: vec![raw_file(raw, &mut Names::default())], notices, ..Mail::default() }
    })
}

/// What the head of the mail says, as [`read`] reads it, without text and files.
pub(crate) fn read_head(raw: &[u8]) -> Mail {
    std::panic::catch_unwind(|| headers::from_head(&head(raw, 0))).unwrap_or_default()
}

/// The file with this number.
pub(crate) fn read_file(raw: &[u8], number: u32) -> Option<FileBytes> {
    match number {
        RAW_MAIL => Some(FileBytes { media_type: Some(MAIL_TYPE.to_owned()), bytes: raw.to_vec() }),
        WHOLE_TEXT => {
            let mail = read(raw);
            let bytes = mail.whole.unwrap_or(mail.text).into_bytes();
            Some(FileBytes { media_type: Some("text/plain; charset=utf-8".to_owned()), bytes })
        }
        number => {
            let (part, inside) = tnef::split_number(number);
            let tree = walk(raw);
            let part = tree.parts.get(part)?;
            let (bytes, _) = transferred(&part.encoding, part.body);
            match inside {
                None => Some(FileBytes { media_type: Some(shown_type(&part.media_type)), bytes: bytes.into_owned() }),
                Some(inside) => {
                    let file = tnef::files(&bytes)?.into_iter().nth(inside)?;
                    Some(FileBytes { media_type: None, bytes: file.bytes.to_vec() })
                }
            }
        }
    }
}

const MAIL_TYPE: &str = "message/rfc822";
const UNREADABLE: &str = "This mail could not be read; it is attached as it came.";

/// `inner`: it is a mail inside another one, of which so much text may be shown, and no further one inside of it.
pub(super) fn read_whole(raw: &[u8], inner: Option<usize>) -> Mail {
    let tree = walk(raw);
    let top = &tree.parts[0].head;
    let mut mail = headers::from_head(top);
    let items = select(&tree);
    let mut reader = Reader {
        tree: &tree,
        named: Vec::new(),
        names: Names::default(),
        notices: Vec::new(),
        budget: inner.unwrap_or(TEXTS_BYTES_MAX),
        inner_left: if inner.is_none() { INNER_MAX } else { 0 },
    };
    reader.name_files(&items);
    let text = reader.texts(&items);
    let below = reader.below(&items);
    let kept = cut::kept(&text, &mail.subject);
    let whole = [joined(&text), joined(&below)].join("\n\n").trim().to_owned();
    match kept {
        Some(kept) => {
            let shown = [joined(&text[..kept]), joined(&below)].join("\n\n");
            shown.trim().clone_into(&mut mail.text);
            mail.whole = Some(whole);
        }
        None => mail.text = whole,
    }
    let trouble = [
        (top.is_empty(), UNREADABLE),
        (top.cut, "The header of this mail is too long to be read as a whole; the mail is attached as it came."),
        (tree.deep, "This mail has parts inside parts too deep to be opened; it is attached as it came."),
        (tree.many, "This mail has too many parts to be shown; it is attached as it came."),
    ];
    let troubles: Vec<_> = trouble.into_iter().filter(|(is, _)| *is).map(|(_, notice)| notice.to_owned()).collect();
    let Reader { mut named, mut names, mut notices, .. } = reader;
    if !troubles.is_empty() {
        named.push(Named { file: raw_file(raw, &mut names), part: usize::MAX });
    }
    notices.splice(0..0, troubles);
    notices.dedup();
    notices.truncate(NOTICES_MAX);
    mail.files = named.into_iter().map(|named| named.file).collect();
    mail.notices = notices;
    mail
}

fn raw_file(raw: &[u8], names: &mut Names) -> MailFile {
    let name = names.name("message.eml", MAIL_TYPE, 0);
    MailFile { number: RAW_MAIL, name, media_type: Some(MAIL_TYPE.to_owned()), bytes: raw.len() as u64 }
}

/// As declared; but what a browser would run is bytes.
fn shown_type(declared: &str) -> String {
    let active = ["html", "svg", "javascript", "ecmascript", "vbscript", "xml", "flash"];
    let acts = active.iter().any(|kind| declared.contains(kind))
        && !declared.contains("officedocument")
        && !declared.contains("opendocument");
    let shown = if acts || declared.starts_with("multipart/") { "application/octet-stream" } else { declared };
    shown.to_owned()
}

struct Named {
    file: MailFile,
    part: usize,
}

struct Reader<'a> {
    tree: &'a Tree<'a>,
    named: Vec<Named>,
    names: Names,
    notices: Vec<String>,
    /// Octets of text that may still be shown.
    budget: usize,
    /// Inner mails and appointments that may still be spoken of.
    inner_left: usize,
}

impl<'a> Reader<'a> {
    fn part(&self, at: usize) -> &'a Part<'a> {
        &self.tree.parts[at]
    }

    fn content(&self, at: usize) -> (Cow<'a, [u8]>, bool) {
        let part = self.part(at);
        transferred(&part.encoding, part.body)
    }

    fn name_files(&mut self, items: &[Item]) {
        for item in items {
            match item {
                Item::File(at) | Item::Calendar(at) | Item::Mail(at) => self.name_file(*at),
                Item::Either { plain, html } => {
                    self.name_files(plain);
                    self.name_files(html);
                }
                Item::Text(_) | Item::Html(_) | Item::Encrypted | Item::Sealed | Item::Piece => {}
            }
        }
    }

    fn name_file(&mut self, at: usize) {
        let part = self.part(at);
        let (bytes, broken) = self.content(at);
        if tnef::is(part)
            && let Some(files) = tnef::files(&bytes)
            && !files.is_empty()
            && self.named.len() + files.len() <= FILES_MAX
        {
            for (inside, file) in files.iter().enumerate() {
                let name = self.names.name(&file.name, "application/octet-stream", self.named.len() + 1);
                let file = MailFile {
                    number: tnef::number(at, inside),
                    name,
                    media_type: None,
                    bytes: file.bytes.len() as u64,
                };
                self.named.push(Named { file, part: usize::MAX });
            }
            return;
        }
        let declared = match part.file_name() {
            Some(name) => name,
            None if part.media_type == MAIL_TYPE => "forwarded.eml".to_owned(),
            None => String::new(),
        };
        let name = self.names.name(&declared, &part.media_type, self.named.len() + 1);
        if broken {
            self.notice(format!("The file {name} is damaged; what could be read of it is attached."));
        }
        let number = u32::try_from(at).expect("parts are bounded");
        let file = MailFile { number, name, media_type: Some(shown_type(&part.media_type)), bytes: bytes.len() as u64 };
        self.named.push(Named { file, part: at });
    }

    fn notice(&mut self, notice: impl Into<String>) {
        let notice = notice.into();
        if self.notices.len() < NOTICES_MAX && !self.notices.contains(&notice) {
            self.notices.push(notice);
        }
    }

    fn texts(&mut self, items: &[Item]) -> Vec<Line> {
        let mut lines = Vec::new();
        for item in items {
            let more = match item {
                Item::Text(at) => self.plain_text(*at),
                Item::Html(at) => self.html_text(*at).0,
                Item::Either { plain, html } => self.better(plain, html),
                Item::Encrypted => self.only_notice(
                    "This mail is encrypted; its content can be opened only with the key, from the attached file.",
                ),
                Item::Sealed => self.only_notice(
                    "This mail is signed in a form that is not opened here; its content is in the attached file.",
                ),
                Item::Piece => {
                    self.only_notice("This is one piece of a mail that was sent in several; it is attached as it came.")
                }
                Item::File(_) | Item::Mail(_) | Item::Calendar(_) => continue,
            };
            if !more.is_empty() && !lines.is_empty() {
                lines.push(Line::default());
            }
            lines.extend(more);
        }
        lines
    }

    fn only_notice(&mut self, notice: &str) -> Vec<Line> {
        self.notice(notice);
        Vec::new()
    }

    /// The page says more than the text where the text is much shorter, or names pictures at their places.
    fn better(&mut self, plain: &[Item], html: &[Item]) -> Vec<Line> {
        let before = (self.notices.clone(), self.budget);
        let text = self.texts(plain);
        let after = (self.notices.clone(), self.budget);
        self.notices.clone_from(&before.0);
        self.budget = before.1;
        let pictured = html.iter().any(|item| matches!(item, Item::Html(at) if self.html_text(*at).1));
        (self.notices, self.budget) = before;
        let page = self.texts(html);
        let letters = |lines: &[Line]| {
            lines.iter().map(|line| line.plain.chars().filter(|c| !c.is_whitespace()).count()).sum::<usize>()
        };
        let (text_letters, page_letters) = (letters(&text), letters(&page));
        let excuse =
            || text_letters < EXCUSE_LETTERS_MAX && text.iter().any(|line| line.plain.to_lowercase().contains("html"));
        let is_text =
            text_letters > 0 && (page_letters == 0 || text_letters * 5 > page_letters * 4 && !pictured && !excuse());
        if is_text {
            (self.notices, self.budget) = after;
            text
        } else {
            page
        }
    }

    /// The text of a part; what is too much of it becomes a file.
    fn decoded_text(&mut self, at: usize, bytes_max: usize) -> String {
        let (bytes, broken) = self.content(at);
        if broken {
            self.notice("The text of this mail is damaged; what could be read of it is shown.");
        }
        let bytes_max = bytes_max.min(self.budget);
        let shown = &bytes[..bytes.len().min(bytes_max)];
        self.budget -= shown.len();
        if shown.len() < bytes.len() {
            self.notice("The text of this mail is too long to be shown; the whole is attached.");
            if self.named.iter().all(|named| named.part != at) {
                self.name_file(at);
            }
        }
        decoded(self.part(at).content.get("charset").as_deref(), shown)
    }

    fn plain_text(&mut self, at: usize) -> Vec<Line> {
        let text = self.decoded_text(at, TEXT_BYTES_MAX);
        if plain::is_encrypted(&text) {
            self.notice("The text of this mail is encrypted; it can be opened only with the key.");
        }
        plain::lines(&text, &self.part(at).content)
    }

    /// And whether pictures are named in it.
    fn html_text(&mut self, at: usize) -> (Vec<Line>, bool) {
        let text = self.decoded_text(at, TEXTS_BYTES_MAX);
        let ids = self.named.iter().filter(|named| named.part != usize::MAX);
        let ids: HashMap<_, _> =
            ids.filter_map(|named| Some((self.part(named.part).content_id()?, named.file.name.clone()))).collect();
        let name_of = |id: &str| ids.get(id).cloned();
        let shown = html::shown(&text, &name_of);
        if shown.data_images > 0 {
            self.notice("A picture that is written into the text of this mail is not shown.");
        }
        if shown.stripped {
            self.notice("The text of this mail is too complicated to be shown with its marks.");
        }
        (shown.lines, !shown.used.is_empty())
    }

    /// What is said of mails and appointments inside the mail, below its text.
    fn below(&mut self, items: &[Item]) -> Vec<Line> {
        let mut lines = Vec::new();
        for item in items {
            let more = match item {
                Item::Either { plain, html } => [self.below(plain), self.below(html)].concat(),
                Item::Mail(_) | Item::Calendar(_) if self.inner_left == 0 => continue,
                Item::Mail(at) => self.inner_mail(*at),
                Item::Calendar(at) => self.appointment(*at),
                Item::Text(_) | Item::Html(_) | Item::File(_) | Item::Encrypted | Item::Sealed | Item::Piece => {
                    continue;
                }
            };
            if !more.is_empty() {
                lines.extend([vec![Line::default()], more].concat());
            }
        }
        lines
    }

    fn appointment(&mut self, at: usize) -> Vec<Line> {
        self.inner_left -= 1;
        inner::calendar(&self.content(at).0).into_iter().collect()
    }

    fn inner_mail(&mut self, at: usize) -> Vec<Line> {
        self.inner_left -= 1;
        let (bytes, _) = self.content(at);
        let mut lines = inner::mail_head(&bytes);
        let inside = read_whole(&bytes, Some(INNER_BYTES_MAX));
        let text = inside.whole.unwrap_or(inside.text);
        if !text.is_empty() && text.chars().take(INNER_CHARS_MAX + 1).count() <= INNER_CHARS_MAX {
            lines.push(inner::quoted(""));
            lines.extend(inner::quoted_markdown(&text));
        }
        lines
    }
}

/// Letters of a text that only says that the mail has to be read as HTML.
const EXCUSE_LETTERS_MAX: usize = 300;
