//! Lists of mailboxes in header fields, as programs really write them: groups, comments, routes, missing brackets. One
//! pass, no recursion.

use super::{
    Mailbox,
    mime::{plain_words, word_at},
    shown,
};
use crate::address::Address;

/// Of all fields of one name together.
pub(super) const MAILBOXES_MAX: usize = 500;
const NAME_CHARS_MAX: usize = 64;

/// The mailboxes of a field, its encoded words not decoded yet: what they hold is no syntax.
pub(crate) fn mailboxes(field: &str) -> Vec<Mailbox> {
    let mut list = List { rest: field, entry: Entry::default(), out: Vec::new() };
    while list.out.len() < MAILBOXES_MAX && list.step() {}
    list.flush();
    list.out.truncate(MAILBOXES_MAX);
    list.out
}

/// What was read of one mailbox.
#[derive(Default)]
struct Entry {
    /// Outside brackets and comments; quoted text without its quotes.
    text: String,
    /// The same with its quotes: a local part may need them.
    written: String,
    comment: String,
    angle: Option<String>,
}

struct List<'a> {
    rest: &'a str,
    entry: Entry,
    out: Vec<Mailbox>,
}

impl List<'_> {
    fn step(&mut self) -> bool {
        if let Some(length) = word_at(self.rest) {
            let (word, rest) = self.rest.split_at(length);
            self.entry.text.push_str(word);
            self.entry.written.push_str(word);
            self.rest = rest;
            return true;
        }
        let Some(c) = self.rest.chars().next() else { return false };
        self.rest = &self.rest[c.len_utf8()..];
        match c {
            '"' => {
                let quoted = self.quoted();
                self.entry.text.push_str(&quoted);
                self.entry.written.extend(["\"", &quoted, "\""]);
            }
            '(' => self.comment(),
            '<' => self.angle(),
            ',' | ';' => self.flush(),
            // The name of a group; an address does not begin before a colon.
            ':' if self.entry.angle.is_none() && !self.entry.text.contains('@') => self.entry = Entry::default(),
            c => {
                self.entry.text.push(c);
                self.entry.written.push(c);
            }
        }
        true
    }

    /// Without an end, all of it.
    fn quoted(&mut self) -> String {
        let mut out = String::new();
        let mut characters = self.rest.char_indices();
        while let Some((at, c)) = characters.next() {
            match c {
                '"' => {
                    self.rest = &self.rest[at + 1..];
                    return out;
                }
                '\\' => out.extend(characters.next().map(|(_, c)| c)),
                c => out.push(c),
            }
        }
        self.rest = "";
        out
    }

    fn comment(&mut self) {
        let mut depth = 1_usize;
        let mut characters = self.rest.char_indices();
        while let Some((at, c)) = characters.next() {
            match c {
                '\\' => self.entry.comment.extend(characters.next().map(|(_, c)| c)),
                '(' => depth += 1,
                ')' if depth == 1 => {
                    self.rest = &self.rest[at + 1..];
                    return;
                }
                ')' => depth -= 1,
                c => self.entry.comment.push(c),
            }
        }
        self.rest = "";
    }

    /// A route has commas; elsewhere one says that the closing bracket was forgotten.
    fn angle(&mut self) {
        let routed = self.rest.trim_start().starts_with('@');
        let mut quoted = false;
        let end = self.rest.find(|c: char| {
            quoted ^= c == '"';
            !quoted && (c == '>' || c == '<' || !routed && (c == ',' || c == ';'))
        });
        let (inside, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
        let inside = if routed { inside.rsplit(':').next().unwrap_or_default() } else { inside };
        self.entry.angle.get_or_insert_with(|| inside.trim().to_owned());
        self.rest = rest.strip_prefix('>').unwrap_or(rest);
    }

    fn flush(&mut self) {
        let entry = std::mem::take(&mut self.entry);
        let mailbox = match entry.angle {
            Some(angle) => {
                let name = if entry.text.trim().is_empty() { &entry.comment } else { &entry.text };
                Mailbox { name: name_of(name), address: Address::parse(&angle) }
            }
            None => match Address::parse(entry.written.trim()) {
                Some(address) => Mailbox { name: name_of(&entry.comment), address: Some(address) },
                None => unbracketed(&entry.text),
            },
        };
        let name = if mailbox.address.is_some() { without_address(mailbox.name) } else { mailbox.name };
        if !name.is_empty() || mailbox.address.is_some() {
            self.out.push(Mailbox { name, address: mailbox.address });
        }
    }
}

/// `Ada ada@cust.test`: the word that is an address is it.
fn unbracketed(text: &str) -> Mailbox {
    let address = text
        .split_whitespace()
        .filter(|word| word.contains('@'))
        .find_map(|word| Address::parse(word.trim_matches(['<', '>', '"'])));
    let name = match address {
        Some(_) => text.split_whitespace().filter(|word| !word.contains('@')).collect::<Vec<_>>().join(" "),
        None => text.to_owned(),
    };
    Mailbox { name: name_of(&name), address }
}

fn name_of(text: &str) -> String {
    let text = plain_words(text);
    let text = text.trim().trim_matches(['"', '\'']);
    shown::one_line(text, NAME_CHARS_MAX)
}

/// A name that is an address is either the same one again or a lie about it.
fn without_address(name: String) -> String {
    if name.contains(['@', '\u{ff20}', '\u{fe6b}']) { String::new() } else { name }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shape(field: &str) -> Vec<(String, String)> {
        let address = |mailbox: &Mailbox| mailbox.address.as_ref().map_or_else(String::new, ToString::to_string);
        mailboxes(field).iter().map(|mailbox| (mailbox.name.clone(), address(mailbox))).collect()
    }

    #[test]
    fn mailboxes_are_found_however_they_are_written() {
        let cases: &[(&str, &[(&str, &str)])] = &[
            ("ada@c.test", &[("", "ada@c.test")]),
            ("Ada L <ada@c.test>", &[("Ada L", "ada@c.test")]),
            ("\"Lovelace, Ada\" <ada@c.test>, b@c.test", &[("Lovelace, Ada", "ada@c.test"), ("", "b@c.test")]),
            ("ada@c.test (Ada (Countess) L)", &[("Ada Countess L", "ada@c.test")]),
            ("\"A \\\"B\\\" C\" <ada@c.test>", &[("A \"B\" C", "ada@c.test")]),
            ("'Ada' <ada@c.test>", &[("Ada", "ada@c.test")]),
            ("=?utf-8?q?Ada=2C_L?= <ada@c.test>", &[("Ada, L", "ada@c.test")]),
            ("=?utf-8?b?w6Q=?=\t=?utf-8?b?w7Y=?= <a@c.test>", &[("äö", "a@c.test")]),
            ("\"=?utf-8?q?=C3=A4?=\" <a@c.test>", &[("ä", "a@c.test")]),
            ("=?utf-8?q?x<y@z.test>?= <a@c.test>", &[("", "a@c.test")]),
            ("undisclosed-recipients:;", &[]),
            ("Team: a@c.test, B <b@c.test>;, c@c.test", &[("", "a@c.test"), ("B", "b@c.test"), ("", "c@c.test")]),
            ("<@a.test,@b.test:ada@c.test>", &[("", "ada@c.test")]),
            ("Ada <ada@c.test, Bob <bob@c.test", &[("Ada", "ada@c.test"), ("Bob", "bob@c.test")]),
            ("Ada ada@c.test", &[("Ada", "ada@c.test")]),
            ("\"boss@bank.test\" <ada@c.test>", &[("", "ada@c.test")]),
            ("\"ada.l\"@c.test", &[("", "ada.l@c.test")]),
            ("a@b.test; c@d.test", &[("", "a@b.test"), ("", "c@d.test")]),
            ("Ada <>", &[("Ada", "")]),
            ("Mailer Daemon", &[("Mailer Daemon", "")]),
            ("\"unclosed <ada@c.test>", &[("unclosed", "ada@c.test")]),
            ("ada@c.test <ada@c.test>", &[("", "ada@c.test")]),
            ("\u{202e}Ada\u{200b} <ada@c.test>", &[("Ada", "ada@c.test")]),
            (" , ;, ", &[]),
            ("", &[]),
        ];
        for (field, expected) in cases {
            let expected: Vec<_> = expected.iter().map(|(n, a)| ((*n).to_owned(), (*a).to_owned())).collect();
            assert_eq!(shape(field), expected, "{field:?}");
        }
        assert_eq!(mailboxes(&"a@b.test,".repeat(1000)).len(), MAILBOXES_MAX);
        assert_eq!(mailboxes(&format!("{} <a@b.test>", "x".repeat(300)))[0].name.len(), NAME_CHARS_MAX);
    }

    proptest! {
        #[test]
        fn any_field_gives_short_names(field in "[a-z@<>\",;:()\\\\ =?]{0,60}") {
            for mailbox in mailboxes(&field) {
                prop_assert!(mailbox.name.chars().count() <= NAME_CHARS_MAX);
            }
        }
    }
}
