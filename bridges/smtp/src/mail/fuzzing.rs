//! Mails of any bytes, and the parts of them that others write most freely.

use std::collections::HashSet;

use bridge_api::kit::fuzz::Target;
use pulldown_cmark::{Event, Options, Parser, Tag};

use super::{
    MessageId, addresses::mailboxes, html, markdown::joined, mime::Params, names::Names, plain, read, read_file,
};
use crate::{address::Address, bounce};

/// Whatever the bytes are, they are a mail: its text is only words, its files have names that are no path and no program,
/// each is found again by its number, and nothing grows beyond a bound.
pub(crate) const READ: Target = Target { name: "mail_read", check: mail, runs: 2_500 };

fn mail(data: &[u8]) {
    // Not `read`, which would turn a panic into a notice.
    let mail = read::read_whole(data, None);
    let mut seen = HashSet::new();
    for file in &mail.files {
        assert_file_name(&file.name);
        assert!(seen.insert(file.name.to_lowercase()), "{:?} is there twice", file.name);
        let bytes = read_file(data, file.number).expect("it is named by the mail").bytes;
        assert_eq!(bytes.len() as u64, file.bytes, "{}", file.name);
    }
    assert!(mail.files.len() <= 601 && mail.notices.len() <= 20 && mail.references.len() <= 50);
    for text in mail.whole.iter().chain([&mail.text]) {
        assert!(text.len() <= 512 * (data.len() + 16), "{} bytes of {}", text.len(), data.len());
        assert_harmless(text);
    }
    let boxes = mail.from.iter().chain(&mail.reply_to).chain(&mail.to).chain(&mail.cc);
    for one in boxes {
        assert_shown(&one.name, 64);
        one.address.iter().for_each(assert_address);
    }
    assert_shown(&mail.subject, 500);
    mail.message_id.iter().chain(&mail.in_reply_to).chain(&mail.references).for_each(assert_id);
    for notice in &mail.notices {
        assert_shown(notice, 400);
    }
}

/// On one line, at most so many characters, nothing that hides or turns what is beside it.
fn assert_shown(text: &str, chars_max: usize) {
    let hides = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{e0000}'..='\u{e0fff}')
    };
    assert!(!text.contains(hides) && text.chars().count() <= chars_max, "{text:?}");
}

fn assert_file_name(name: &str) {
    assert_shown(name, 120);
    assert!((1..=120).contains(&name.len()) && !name.contains(['/', '\\']), "{name:?}");
    assert!(!name.starts_with('.') && !name.ends_with(['.', ' ']), "{name:?}");
    let lower = name.to_lowercase();
    assert!(
        !["exe", "js", "bat", "scr", "lnk", "hta", "vbs", "ps1", "cmd", "com", "jar", "msi"]
            .iter()
            .any(|end| lower.ends_with(&format!(".{end}"))),
        "{name:?}"
    );
    let stem = lower.split('.').next().unwrap_or_default().trim();
    assert!(!["con", "prn", "aux", "nul", "com1", "lpt9"].contains(&stem), "{name:?}");
}

/// What a reader of Markdown makes of it: no HTML, and only harmless links.
#[expect(clippy::wildcard_enum_match_arm, reason = "the parser's enum; all the rest only shows words")]
fn assert_harmless(markdown: &str) {
    assert!(!markdown.contains("{{") && !markdown.contains("{%"), "a template: {markdown:?}");
    for event in Parser::new_ext(markdown, Options::all()) {
        let acts = match &event {
            Event::Html(_) | Event::InlineHtml(_) | Event::Start(Tag::HtmlBlock) => true,
            Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                let scheme = dest_url.split(':').next().unwrap_or_default().to_ascii_lowercase();
                !["http", "https", "mailto", "tel"].contains(&&*scheme)
            }
            _ => false,
        };
        assert!(!acts, "{event:?} in {markdown:?}");
    }
}

/// A bounce is read in bounds, and what it says to agents is one short line.
pub(crate) const BOUNCE: Target = Target { name: "mail_bounce", check: bounce, runs: 5_000 };

fn bounce(data: &[u8]) {
    let Some(report) = bounce::read(data) else { return };
    assert!(report.recipients.len() <= 100);
    report.returned_message_id.iter().for_each(assert_id);
    for one in &report.recipients {
        one.address.iter().for_each(assert_address);
        let class = one.status.split('.').next().unwrap_or_default();
        assert!(["2", "4", "5"].contains(&class) && one.status.len() <= 9, "{:?}", one.status);
        assert_shown(&one.diagnostic, 500);
        assert_shown(&one.sentence(), 500);
        assert_shown(one.remote.as_deref().unwrap_or_default(), 255);
    }
}

/// HTML, or text, of a mail is words to an agent's reader of Markdown.
pub(crate) const HTML: Target = Target { name: "mail_html", check: html, runs: 4_000 };

fn html(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let name_of = |id: &str| (id.len() < 9).then(|| format!("{id}.png"));
    let shown = joined(&html::shown(&text, &name_of).lines);
    for markdown in [shown, joined(&plain::lines(&text, &Params::default()))] {
        assert!(markdown.len() <= 512 * (text.len() + 16), "{} bytes of {}", markdown.len(), text.len());
        assert_harmless(&markdown);
    }
}

/// The names of the files of one mail, each line what a file is called: no path, no device, no program, each once.
pub(crate) const NAMES: Target = Target { name: "mail_names", check: names, runs: 6_000 };

fn names(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut names = Names::default();
    let mut seen = HashSet::new();
    for (at, declared) in text.split('\n').enumerate() {
        let name = names.name(declared, if at % 2 == 0 { "image/png" } else { "application/x-sh" }, at);
        assert_file_name(&name);
        assert!(seen.insert(name.to_lowercase()), "{name:?} is there twice");
        assert!(at % 2 == 0 || name.ends_with(".blocked"), "{name:?} can be started");
    }
}

/// What is taken for an address or a Message-ID can be written back as it is: one word, and read it is the same one.
pub(crate) const ADDRESSES: Target = Target { name: "mail_addresses", check: addresses, runs: 6_000 };

fn addresses(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for line in text.lines().chain([&*text]) {
        Address::parse(line).iter().for_each(assert_address);
        MessageId::parse(line).iter().for_each(assert_id);
        let found = mailboxes(line);
        assert!(found.len() <= 500);
        found.iter().filter_map(|one| one.address.as_ref()).for_each(assert_address);
    }
}

fn assert_address(address: &Address) {
    let text = address.as_str();
    let odd = |c: char| c.is_control() || c.is_whitespace() || "<>()[],;:\\\"".contains(c);
    assert!(!text.contains(odd) && text.matches('@').count() == 1 && text.len() <= 254, "{text:?}");
    assert_shown(text, 254);
    assert_eq!(Address::parse(text).as_ref().map(Address::as_str), Some(text));
    let (local, domain) = (address.local(), address.domain());
    assert!(!local.is_empty() && local.len() <= 64 && !domain.is_empty() && !domain.starts_with('.'), "{text:?}");
}

fn assert_id(id: &MessageId) {
    let text = id.as_str();
    let word = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).expect("brackets");
    let odd = |c: char| !c.is_ascii_graphic() || "<>()\",;\\".contains(c);
    assert!(!word.contains(odd) && word.matches('@').count() == 1 && text.len() <= 250, "{text:?}");
    assert_eq!(MessageId::parse(text).as_ref(), Some(id));
}
