//! The fields of a machine-readable report: RFC 3464 as it was meant, and as it is written.

use super::{Action, DIAGNOSTIC_MAX, Kind, NAME_MAX, RECIPIENTS_MAX, RecipientReport, Report, decoded, one_line};
use crate::{
    address::Address,
    mail::{
        MessageId,
        mime::{Field, Head, Part, head, line_end},
    },
};

/// One recipient while its fields come in.
#[derive(Default)]
struct Group {
    original: Option<String>,
    last: Option<String>,
    action: Option<Action>,
    status: Option<String>,
    diagnostic: Option<String>,
    remote: Option<String>,
}

/// Adds what a part says to `report`. Recipients are told apart by empty lines and, where those are missing, by the fields
/// with which each begins.
pub(super) fn read(part: &Part<'_>, report: &mut Report) {
    // Some forget the empty line below the head of the part.
    block(&part.head, report);
    let text = decoded(part);
    let mut at = 0;
    while at < text.len() && report.recipients.len() < RECIPIENTS_MAX {
        let head = head(&text, at);
        block(&head, report);
        // A line that is no field is passed over, and what follows it is read on.
        at = if head.body > at { head.body } else { line_end(&text, at) };
    }
}

fn block(head: &Head<'_>, report: &mut Report) {
    // Whoever complains of a mail, or has seen it, was given it.
    let assumed = match report.kind {
        Kind::Complaint | Kind::Receipt => Some(Action::Delivered),
        Kind::Status | Kind::Words => None,
    };
    let mut group = Group::default();
    for field in head.fields() {
        if report.recipients.len() == RECIPIENTS_MAX {
            return;
        }
        if group.ends_at(field) {
            report.recipients.extend(std::mem::take(&mut group).finish(assumed));
        }
        if field.is("original-message-id") && report.returned_message_id.is_none() {
            report.returned_message_id = MessageId::parse(&field.value());
        }
        if field.is("original-envelope-id") && report.original_envelope_id.is_none() {
            report.original_envelope_id = Some(one_line(&field.value(), NAME_MAX)).filter(|id| !id.is_empty());
        }
        group.take(field);
    }
    if report.recipients.len() < RECIPIENTS_MAX {
        report.recipients.extend(group.finish(assumed));
    }
}

impl Group {
    fn ends_at(&self, field: &Field<'_>) -> bool {
        if field.is("final-recipient") {
            return self.last.is_some();
        }
        field.is("original-recipient") && (self.original.is_some() || (self.last.is_some() && self.action.is_some()))
    }

    fn take(&mut self, field: &Field<'_>) {
        let value = || field.value();
        if field.is("original-recipient") || field.is("original-rcpt-to") {
            self.original = Some(value());
        } else if field.is("final-recipient") {
            self.last = Some(value());
        } else if field.is("action") {
            self.action = action(&value());
        } else if field.is("status") {
            self.status = enhanced(&value()).map(str::to_owned);
        } else if field.is("diagnostic-code") {
            self.diagnostic = Some(one_line(behind_type(&value()), DIAGNOSTIC_MAX));
        } else if field.is("remote-mta") {
            let name = value();
            self.remote = Some(one_line(behind_type(&name), NAME_MAX)).filter(|name| !name.is_empty());
        }
    }

    /// `None` when these fields were about no recipient.
    fn finish(self, assumed: Option<Action>) -> Option<RecipientReport> {
        let last = self.last.as_deref().map(address);
        let original = self.original.as_deref().map(address);
        if last.is_none() && original.is_none() {
            return None;
        }
        let diagnostic = self.diagnostic.unwrap_or_default();
        let status = best(self.status.as_deref(), &diagnostic);
        let action = self.action.or_else(|| status.as_deref().and_then(action_of)).or(assumed)?;
        Some(RecipientReport {
            address: original.flatten().or(last.flatten()),
            action,
            status: status.unwrap_or_else(|| general(action).to_owned()),
            diagnostic,
            remote: self.remote,
        })
    }
}

/// The code in the server's own words says more than the general one that some write beside it.
fn best(status: Option<&str>, diagnostic: &str) -> Option<String> {
    let general = status.is_none_or(|code| code.ends_with(".0.0"));
    let said = enhanced(diagnostic).filter(|code| general && status.is_none_or(|known| known[..1] == code[..1]));
    said.or(status).map(str::to_owned)
}

fn action(word: &str) -> Option<Action> {
    let word = word.split(|c: char| !c.is_ascii_alphabetic()).find(|word| !word.is_empty())?;
    match word.to_ascii_lowercase().as_str() {
        "failed" | "failure" => Some(Action::Failed),
        "delayed" => Some(Action::Delayed),
        "delivered" => Some(Action::Delivered),
        "relayed" => Some(Action::Relayed),
        "expanded" => Some(Action::Expanded),
        _ => None,
    }
}

fn action_of(status: &str) -> Option<Action> {
    match status.as_bytes().first() {
        Some(b'5') => Some(Action::Failed),
        Some(b'4') => Some(Action::Delayed),
        Some(b'2') => Some(Action::Delivered),
        Some(_) | None => None,
    }
}

fn general(action: Action) -> &'static str {
    match action {
        Action::Failed => "5.0.0",
        Action::Delayed => "4.0.0",
        Action::Delivered | Action::Relayed | Action::Expanded => "2.0.0",
    }
}

/// For a report that gives a number and no words.
pub(super) fn meaning(status: &str, action: Action) -> &'static str {
    match (status.get(2..).unwrap_or_default(), action) {
        ("1.0" | "1.1" | "1.6" | "1.10", _) => "there is no such address",
        ("1.2" | "1.3" | "4.4", _) => "there is no such domain",
        ("2.1", _) => "the mailbox is closed",
        ("2.2", _) => "the mailbox is full",
        ("3.4" | "2.3", _) => "the mail is too large",
        ("4.1" | "4.2", _) => "the server does not answer",
        ("4.7", _) => "it could not be delivered for too long",
        (detail, Action::Failed) if detail.starts_with("7.") => "the server refuses the mail",
        (_, Action::Failed) => "it could not be delivered",
        (_, Action::Delayed) => "it could not be delivered yet",
        (_, Action::Delivered | Action::Relayed | Action::Expanded) => "it was delivered",
    }
}

/// The first `5.1.1` in a text. Not a part of an IP address or a version.
pub(super) fn enhanced(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let digits = |at: usize| bytes[at..].iter().take(4).take_while(|byte| byte.is_ascii_digit()).count();
    (0..bytes.len()).find_map(|at| {
        let begins = matches!(bytes[at], b'2' | b'4' | b'5') && bytes.get(at + 1) == Some(&b'.');
        let alone = at == 0 || !(bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'.');
        if !begins || !alone {
            return None;
        }
        let subject = digits(at + 2);
        let dot = at + 2 + subject;
        if !(1..=3).contains(&subject) || bytes.get(dot) != Some(&b'.') {
            return None;
        }
        let detail = digits(dot + 1);
        let end = dot + 1 + detail;
        let goes_on = bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit);
        ((1..=3).contains(&detail) && !goes_on).then(|| &text[at..end])
    })
}

/// `rfc822; ada@cust.test` without its type.
fn behind_type(value: &str) -> &str {
    match value.split_once(';') {
        Some((kind, rest)) if kind.trim().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') => rest.trim(),
        Some(_) | None => value.trim(),
    }
}

fn address(value: &str) -> Option<Address> {
    let bare = behind_type(value);
    let bare = bare.split_whitespace().next().unwrap_or_default().trim_matches(['<', '>', '"', '\'']);
    let bare = bare.strip_prefix("mailto:").unwrap_or(bare);
    // Only these two must be written as xtext (RFC 3461) in an address that is otherwise as it was; `+41` can be a detail.
    let plain = if bare.contains("\\x{") { unicode(bare) } else { bare.replace("+2B", "+").replace("+3D", "=") };
    Address::parse(&plain)
}

/// RFC 6533, 3: `\x{fc}` stands for `ü`.
fn unicode(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("\\x{") {
        plain.push_str(before);
        let decoded = after.split_once('}').and_then(|(hex, after)| {
            let c = u32::from_str_radix(hex, 16).ok().and_then(char::from_u32)?;
            Some((c, after))
        });
        let (text, after) = decoded.map_or_else(|| ("\\x{".to_owned(), after), |(c, after)| (c.to_string(), after));
        plain.push_str(&text);
        rest = after;
    }
    plain + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_told_from_other_numbers() {
        for (text, expected) in [
            ("550 5.1.1 unknown", Some("5.1.1")),
            ("#5.1.10", Some("5.1.10")),
            ("550-5.7.26 refused.", Some("5.7.26")),
            ("<mx.test #5.1.1 SMTP; 550>", Some("5.1.1")),
            ("host 5.1.1.8 said 550", None),
            ("v15.1.1", None),
            ("15.1.1", None),
            ("3.1.1", None),
            ("5.1.", None),
            ("5.1234.1", None),
            ("5.1.1234", None),
            ("see 192.5.1.1 then 4.2.2.", Some("4.2.2")),
            ("5", None),
            ("", None),
        ] {
            assert_eq!(enhanced(text), expected, "{text}");
        }
    }

    #[test]
    fn addresses_are_found_in_their_wrappings() {
        for (value, expected) in [
            ("rfc822;ada@cust.test", Some("ada@cust.test")),
            ("RFC822 ;  <ada@cust.test> ", Some("ada@cust.test")),
            ("ada@cust.test", Some("ada@cust.test")),
            ("rfc822;ada+2Bx+3Dy@cust.test", Some("ada+x=y@cust.test")),
            ("rfc822;ada+41@cust.test", Some("ada+41@cust.test")),
            ("utf-8; f\\x{fc}r@m\\x{FC}ll.test", Some("für@müll.test")),
            ("utf-8; für@müll.test", Some("für@müll.test")),
            ("utf-8; f\\x{zz}r@cust.test", None),
            ("rfc822; ada@cust.test (Ada)", Some("ada@cust.test")),
            ("X400; c=de", None),
            ("rfc822;", None),
        ] {
            assert_eq!(address(value).as_ref().map(Address::as_str), expected, "{value}");
        }
    }
}
