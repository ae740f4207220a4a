//! What the header of a mail says: people, subject, ids, dates, and the fields that others judge by. The first field of
//! a name counts.

use mail_parser::DateTime;

use super::{Mail, Mailbox, MessageId, addresses, mime::Head, mime::plain_words, shown};
use crate::automatic::looks_at;

const SUBJECT_CHARS_MAX: usize = 500;
const IDS_MAX: usize = 50;
/// Fields for others to judge by, and octets of each.
const KEPT_FIELDS_MAX: usize = 100;
const KEPT_VALUE_BYTES_MAX: usize = 1000;
const DATE_BYTES_MAX: usize = 200;
/// 1990-01-01. Nobody's mail is older; programs with a broken clock write 1970.
const DATE_MILLIS_MIN: i64 = 631_152_000_000;
/// 2200-01-01.
const DATE_MILLIS_MAX: i64 = 7_258_118_400_000;
/// How far a date may be ahead of the moment at which the last host before us took the mail.
const AHEAD_MILLIS_MAX: i64 = 7 * 24 * 60 * 60 * 1000;

/// A mail with everything but text and files.
pub(crate) fn from_head(head: &Head<'_>) -> Mail {
    let received_millis = head.first("received").and_then(|field| millis(field.rsplit(';').next()?));
    let sane =
        |millis: &i64| received_millis.is_none_or(|received| *millis <= received.saturating_add(AHEAD_MILLIS_MAX));
    Mail {
        from: all_mailboxes(head, "from"),
        from_fields: head.values("from").count(),
        reply_to: all_mailboxes(head, "reply-to"),
        to: all_mailboxes(head, "to"),
        cc: all_mailboxes(head, "cc"),
        subject: subject(head),
        message_id: head.first("message-id").and_then(|field| ids(&field).into_iter().next()),
        in_reply_to: ids(&head.first("in-reply-to").unwrap_or_default()),
        references: ids(&head.first("references").unwrap_or_default()),
        date_millis: head.first("date").and_then(|field| millis(&field)).filter(sane),
        fields: kept(head),
        ..Mail::default()
    }
}

pub(crate) fn subject(head: &Head<'_>) -> String {
    shown::one_line(&plain_words(&head.first("subject").unwrap_or_default()), SUBJECT_CHARS_MAX)
}

fn all_mailboxes(head: &Head<'_>, name: &'static str) -> Vec<Mailbox> {
    head.values(name).flat_map(|field| addresses::mailboxes(&field)).take(addresses::MAILBOXES_MAX).collect()
}

/// The newest ones. A lone id without brackets is taken for one.
fn ids(field: &str) -> Vec<MessageId> {
    let mut ids: Vec<MessageId> = field
        .split('<')
        .skip(1)
        .filter_map(|piece| MessageId::parse(&format!("<{}>", piece.split('>').next()?.trim())))
        .collect();
    if ids.is_empty() {
        ids.extend(MessageId::parse(&format!("<{}>", field.trim())));
    }
    ids.split_off(ids.len().saturating_sub(IDS_MAX))
}

fn millis(text: &str) -> Option<i64> {
    let text = text.trim();
    // The reader wants a line end.
    let line = format!("{}\n", &text[..text.floor_char_boundary(DATE_BYTES_MAX)]);
    let date = DateTime::parse_rfc822(&line).filter(DateTime::is_valid)?;
    let millis = date.to_timestamp().checked_mul(1000)?;
    (DATE_MILLIS_MIN..=DATE_MILLIS_MAX).contains(&millis).then_some(millis)
}

fn kept(head: &Head<'_>) -> Vec<(String, String)> {
    let judged = head.all().filter(|(name, _)| looks_at(name)).take(KEPT_FIELDS_MAX);
    judged
        .map(|(name, mut value)| {
            value.truncate(value.floor_char_boundary(KEPT_VALUE_BYTES_MAX));
            (name, value)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mail::mime::head;

    fn mail(raw: &str) -> Mail {
        from_head(&head(raw.as_bytes(), 0))
    }

    #[test]
    fn the_first_field_of_a_name_counts() {
        let mail = mail(
            "From: a@c.test\r\nFROM : b@c.test\r\nSubject: =?utf-8?q?one?=\r\n two\r\nSubject: three\r\n\
             Message-ID: <1@c.test>\r\nMessage-ID: <2@c.test>\r\nReceived: x; Mon, 1 Jan 2024 10:00:00 +0000\r\n\
             Received: y; Mon, 1 Jan 2024 09:00:00 +0000\r\nDate: Mon, 1 Jan 2024 09:59:00 +0100\r\n\r\n",
        );
        assert_eq!((mail.from.len(), mail.from_fields), (2, 2));
        assert_eq!(mail.subject, "one two");
        assert_eq!(mail.message_id, MessageId::parse("<1@c.test>"));
        assert_eq!(mail.date_millis, Some(1_704_099_540_000));
    }

    #[test]
    fn a_date_is_sane_or_none() {
        for (date, expected) in [
            ("Thu, 1 Jan 1970 00:00:00 +0000", None),
            ("Mon, 8 Jan 2024 09:59:59 +0000", Some(1_704_707_999_000)),
            ("Mon, 8 Jan 2024 10:00:01 +0000", None),
            ("Mon, 1 Jan 3024 10:00:00 +0000", None),
            ("99 Foo 2024", None),
            ("yesterday", None),
            ("", None),
            ("1 Jan 2024 10:00:00 GMT", Some(1_704_103_200_000)),
        ] {
            let raw = format!("Received: x; Mon, 1 Jan 2024 10:00:00 +0000\r\nDate: {date}\r\n\r\n");
            assert_eq!(mail(&raw).date_millis, expected, "{date:?}");
        }
    }

    #[test]
    fn ids_are_found_between_other_things() {
        assert_eq!(
            ids("junk <a@b> (x) <c@d>\t<bad> <e@f"),
            ["<a@b>", "<c@d>", "<e@f>"].map(|id| MessageId::parse(id).unwrap())
        );
        assert_eq!(ids("a@b").len(), 1);
        assert_eq!(ids(&"<a@b> ".repeat(80)).len(), IDS_MAX);
        let many = (0..80).map(|n| format!("<{n}@b>")).collect::<Vec<_>>().concat();
        assert_eq!(ids(&many).last(), MessageId::parse("<79@b>").as_ref());
    }

    #[test]
    fn fields_to_judge_by_are_kept_and_bounded() {
        let mail = mail(&format!(
            "{}Auto-Submitted:  auto-replied;\r\n x=1\r\nX-Auto-Response-Suppress: All\r\nLIST-ID: <a>\r\nX-Other: b\r\nPrecedence: {}\r\n\r\n",
            "X-Junk: c\r\n".repeat(200),
            "z".repeat(5000)
        ));
        let names: Vec<_> = mail.fields.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["auto-submitted", "x-auto-response-suppress", "list-id", "precedence"]);
        assert_eq!(mail.fields[0].1, "auto-replied; x=1");
        assert_eq!(mail.fields[3].1.len(), KEPT_VALUE_BYTES_MAX);
    }

    #[test]
    fn subjects_are_decoded_as_people_write_them() {
        for (raw, expected) in [
            (&b"=?UTF-8?B?w7w=?= =?utf-8?Q?ber_uns?="[..], "über uns"),
            (b"=?utf-8?q?=C3?= =?utf-8?q?=A4?=", "ä"),
            (b"=?iso-8859-1?q?=E4?= x =?koi8-r?b?8NLJ18XU?=", "ä x Привет"),
            (b"=?utf-8*en?q?a?=", "a"),
            (b"=?x-nonsense?q?abc?=", "abc"),
            (b"=?utf-8?q?bro\nken", "=?utf-8?q?broken"),
            (b"=?utf-8?x?abc?=", "=?utf-8?x?abc?="),
            (b"a\xe4b", "aäb"),
            ("roh: ä€".as_bytes(), "roh: ä€"),
            (b"=?us-ascii?q?caf=C3=A9?=", "café"),
            (b"=?utf-8?q?a=0D=0ABcc:_x=00=1B?=", "a Bcc: x"),
        ] {
            let raw = [b"Subject: ", raw, b"\r\n\r\n"].concat();
            let raw: Vec<u8> = raw.iter().copied().filter(|b| *b != b'\n').chain(*b"\n\n").collect();
            assert_eq!(from_head(&head(&raw, 0)).subject, expected);
        }
    }
}
