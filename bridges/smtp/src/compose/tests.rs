//! Whole mails, written and read again by another reader.

use std::{collections::HashMap, io::Write as _, path::Path, sync::Mutex};

use async_trait::async_trait;
use bridge_api::{
    AcceptError, BridgeName, BridgeState, Cursor, FaultKind, File, HostPort, Inbound, kit::RecordingHost,
};
use mail_auth::{
    AuthenticatedMessage, DkimResult, MessageAuthenticator, Parameters, ResolverCache, Txt,
    common::{parse::TxtRecordParser, verify::DomainKey},
};
use mail_parser::{MessageParser, MimeHeaders};
use proptest::prelude::*;

use super::*;
use crate::settings::Security;

fn relay(mail_mib_max: u32) -> RelaySettings {
    RelaySettings {
        host: "relay.test".to_owned(),
        port: None,
        security: Security::Starttls,
        username: None,
        password: None,
        ca_file: None,
        connections_max: 1,
        mail_mib_max,
    }
}

fn dkim(file: &str) -> DkimSettings {
    let key_file = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/compose/testdata").join(file);
    DkimSettings { domain: "acme.test".to_owned(), selector: "s1".to_owned(), key_file }
}

fn id(text: &str) -> MessageId {
    MessageId::parse(text).unwrap()
}

fn letter() -> Letter {
    Letter {
        from: Identity { name: "Acme Support".to_owned(), address: Address::parse("desk@acme.test").unwrap() },
        agent_name: Some("Ada".to_owned()),
        to: vec![Mailbox { name: "Bob".to_owned(), address: Address::parse("bob@cust.test") }],
        cc: Vec::new(),
        subject: "Re: Order 5".to_owned(),
        message_id: id("<m1@acme.test>"),
        in_reply_to: Some(id("<c1@cust.test>")),
        references: vec![id("<c0@cust.test>"), id("<c1@cust.test>")],
        reply_to: Address::parse("desk+t@acme.test"),
        date_millis: 1_700_000_000_123,
        loop_token: "abc".to_owned(),
        text: "Hello **Bob**".to_owned(),
        attachments: Vec::new(),
        auto_submitted: false,
    }
}

fn attachment(name: &str, size_bytes: Option<u64>) -> Attachment {
    let holder = bridge_api::Holder::Inbox;
    Attachment { name: name.to_owned(), media_type: None, size_bytes, url: format!("file:{name}"), holder }
}

async fn pieces(composer: &Composer, host: &Host, letter: &Letter) -> Result<Vec<Bytes>, Fault> {
    let mail = composer.compose(host, letter).await?;
    let all: Vec<Result<Bytes, Fault>> = mail.pieces.collect().await;
    all.into_iter().collect()
}

fn written_with(composer: &Composer, letter: &Letter, files: &[(&str, &[u8])]) -> Result<Vec<u8>, Fault> {
    let recording = RecordingHost::new();
    for (name, bytes) in files {
        recording.recorded().files.insert(format!("file:{name}"), Bytes::copy_from_slice(bytes));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let host = recording.host("mail");
    Ok(runtime.block_on(pieces(composer, &host, letter))?.concat())
}

fn written(letter: &Letter, files: &[(&str, &[u8])]) -> Vec<u8> {
    written_with(&Composer::new(&relay(25), None).unwrap(), letter, files).unwrap()
}

/// Names of the header fields, in order.
fn names(mail: &[u8]) -> Vec<String> {
    let message = MessageParser::default().parse(mail).unwrap();
    message.headers().iter().map(|header| header.name().to_owned()).collect()
}

/// Only CR LF, no line beyond the standard's 998, nothing beyond 7 bits.
fn assert_clean(mail: &[u8]) {
    let text = std::str::from_utf8(mail).unwrap();
    assert!(text.is_ascii() && text.ends_with("\r\n"));
    for line in text.split("\r\n") {
        assert!(!line.contains(['\r', '\n', '\0']) && line.len() <= 998, "{line:?}");
    }
    let (head, body) = text.split_once("\r\n\r\n").unwrap();
    assert!(body.split("\r\n").all(|line| line.len() <= 78), "a long line in the body");
    for line in head.split("\r\n") {
        let words = line.split(' ').filter(|word| !word.is_empty() && !word.ends_with(':')).count();
        assert!(line.len() <= 78 || words == 1, "{line:?} could be folded");
    }
}

const USUAL: [&str; 11] = [
    "Date",
    "From",
    "To",
    "Reply-To",
    "Subject",
    "Message-ID",
    "In-Reply-To",
    "References",
    "X-Deskbridge-Loop",
    "MIME-Version",
    "Content-Type",
];

#[test]
fn an_answer_is_written_as_intended() {
    let mail = written(&letter(), &[]);
    assert_clean(&mail);
    let (head, _) = std::str::from_utf8(&mail).unwrap().split_once("\r\n\r\n").unwrap();
    let (head, content_type) = head.split_once("Content-Type: ").unwrap();
    assert_eq!(
        head,
        "Date: Tue, 14 Nov 2023 22:13:20 +0000\r\n\
         From: \"Ada via Acme Support\" <desk@acme.test>\r\n\
         To: \"Bob\" <bob@cust.test>\r\n\
         Reply-To: desk+t@acme.test\r\n\
         Subject: Re: Order 5\r\n\
         Message-ID: <m1@acme.test>\r\n\
         In-Reply-To: <c1@cust.test>\r\n\
         References: <c0@cust.test> <c1@cust.test>\r\n\
         X-Deskbridge-Loop: abc\r\n\
         MIME-Version: 1.0\r\n"
    );
    assert!(content_type.starts_with("multipart/alternative; boundary=\"=_"), "{content_type}");
    let message = MessageParser::default().parse(&mail).unwrap();
    assert_eq!(message.body_text(0).unwrap().trim_end(), "Hello *Bob*");
    assert!(message.body_html(0).unwrap().contains("<p>Hello <strong>Bob</strong></p>"));
    assert_eq!(mail, written(&letter(), &[]), "the same letter is the same mail");
}

#[test]
fn what_is_automatic_says_so() {
    let mail = written(&Letter { auto_submitted: true, ..letter() }, &[]);
    let message = MessageParser::default().parse(&mail).unwrap();
    assert_eq!(message.header_raw("Auto-Submitted").unwrap().trim(), "auto-replied");
    assert_eq!(message.header_raw("X-Auto-Response-Suppress").unwrap().trim(), "All");
}

#[test]
fn a_long_thread_names_its_first_mail_and_the_newest() {
    let references = (0..50).map(|at| id(&format!("<{at}.{}@cust.test>", "x".repeat(200)))).collect();
    let mail = written(&Letter { references, ..letter() }, &[]);
    assert_clean(&mail);
    let message = MessageParser::default().parse(&mail).unwrap();
    let ids = message.references().as_text_list().unwrap();
    let numbers: Vec<&str> = ids.iter().map(|id| id.split('.').next().unwrap()).collect();
    assert_eq!((numbers.len(), numbers[0], numbers[1], numbers[20]), (21, "0", "30", "49"));
}

#[test]
fn a_date_that_no_clock_says_is_still_one() {
    for millis in [i64::MIN, -1, 0, i64::MAX] {
        let mail = written(&Letter { date_millis: millis, ..letter() }, &[]);
        assert!(MessageParser::default().parse(&mail).unwrap().date().is_some(), "{millis}");
    }
}

#[test]
fn what_has_no_end_is_cut() {
    let endless = Letter {
        text: "a".repeat(800_000),
        loop_token: "t".repeat(500),
        to: (0..200)
            .map(|at| Mailbox { name: String::new(), address: Address::parse(&format!("b{at}@c.test")) })
            .collect(),
        ..letter()
    };
    let mail = written(&endless, &[]);
    assert_clean(&mail);
    let message = MessageParser::default().parse(&mail).unwrap();
    assert_eq!(message.body_text(0).unwrap().trim_end().len(), 640 * 1024);
    assert_eq!(message.to().unwrap().as_list().unwrap().len(), MAILBOXES_MAX);
    assert_eq!(message.header_raw("X-Deskbridge-Loop").unwrap().trim().len(), LOOP_TOKEN_BYTES_MAX);
}

#[test]
fn a_mail_to_nobody_named_says_so() {
    let mail = written(&Letter { to: vec![Mailbox::default()], ..letter() }, &[]);
    let text = String::from_utf8(mail).unwrap();
    assert!(text.contains("\r\nTo: undisclosed-recipients:;\r\n"));
}

#[test]
fn files_alone_make_no_empty_text() {
    let letter = Letter { text: " \n".to_owned(), attachments: vec![attachment("a", None)], ..letter() };
    let mail = written(&letter, &[("a", b"x")]);
    let message = MessageParser::default().parse(&mail).unwrap();
    assert_eq!(message.parts.len(), 2);
    assert_eq!(message.attachment(0).unwrap().contents(), b"x");
}

#[test]
fn a_file_that_is_too_large_is_refused_before_or_on_the_way() {
    let composer = Composer::new(&relay(1), None).unwrap();
    let bytes = vec![7; 1024 * 1024];
    let refused = |size: Option<u64>, bytes: &[u8]| {
        let letter = Letter { attachments: vec![attachment("a", size)], ..letter() };
        let fault = written_with(&composer, &letter, &[("a", bytes)]).unwrap_err();
        assert_eq!(fault.kind, FaultKind::Refused);
        assert!(fault.reason.contains("send fewer or smaller files"), "{fault}");
    };
    refused(Some(bytes.len() as u64), b"");
    refused(None, &bytes);
    refused(Some(u64::MAX), b"");
    let fits = Letter { attachments: vec![attachment("a", Some(700_000))], ..letter() };
    assert!(written_with(&composer, &fits, &[("a", &bytes[..700_000])]).unwrap().len() < 1024 * 1024);
}

#[test]
fn the_size_is_known_when_the_files_say_theirs() {
    let composer = Composer::new(&relay(25), None).unwrap();
    let host = RecordingHost::new();
    host.recorded().files.insert("file:a".to_owned(), Bytes::from_static(&[1; 5000]));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for (size, known) in [(Some(5000), true), (None, false)] {
        let letter = Letter { attachments: vec![attachment("a", size)], ..letter() };
        let mail = runtime.block_on(composer.compose(&host.host("mail"), &letter)).unwrap();
        let real = runtime.block_on(pieces(&composer, &host.host("mail"), &letter)).unwrap().concat().len() as u64;
        assert_eq!(mail.bytes, known.then_some(real));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn hostile_words_never_become_fields(
        agent in any::<String>(),
        peer in any::<String>(),
        subject in any::<String>(),
        file in any::<String>(),
        text in "\\PC{0,200}",
        break_in in prop_oneof![Just("\r\nBcc: x@evil.test\r\n\r\n"), Just("\n"), Just("\0"), Just("=?utf-8?q?=0D=0A?="), Just("")],
    ) {
        let hostile = |word: &str| format!("{word}{break_in}{word}");
        let letter = Letter {
            agent_name: Some(hostile(&agent)),
            to: vec![Mailbox { name: hostile(&peer), address: Address::parse("bob@cust.test") }],
            subject: hostile(&subject),
            text: text.clone(),
            loop_token: hostile("token"),
            attachments: vec![attachment(&hostile(&file), None)],
            ..letter()
        };
        let mail = written(&letter, &[(&hostile(&file), b"content")]);
        assert_clean(&mail);
        prop_assert_eq!(names(&mail), USUAL);
        let message = MessageParser::default().parse(&mail).unwrap();
        let from = message.from().unwrap().as_list().unwrap();
        prop_assert_eq!((from.len(), from[0].address.as_deref()), (1, Some("desk@acme.test")));
        prop_assert_eq!(from[0].name.as_deref().unwrap_or_default(), sender_name(&letter));
        let to = message.to().unwrap().as_list().unwrap();
        prop_assert_eq!((to.len(), to[0].address.as_deref()), (1, Some("bob@cust.test")));
        prop_assert_eq!(to[0].name.as_deref().unwrap_or_default(), clean::display_name(&hostile(&peer)));
        prop_assert_eq!(message.subject().unwrap_or_default(), clean::subject(&letter.subject));
        prop_assert_eq!(message.attachment_count(), 1);
        let found = message.attachment(0).unwrap();
        prop_assert_eq!(found.attachment_name().unwrap_or_default(), clean::file_name(&hostile(&file)));
        prop_assert_eq!(found.contents(), b"content");
        if !text.trim().is_empty() {
            let read = message.body_text(0).unwrap().replace("\r\n", "\n");
            let meant = plain_text(&text);
            prop_assert_eq!(read.trim_end(), meant.trim_end());
        }
    }

    #[test]
    fn files_of_any_bytes_arrive_as_they_were(
        files in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..3000), 1..4),
        text in "[a-zäß.\n -]{0,300}",
    ) {
        let names: Vec<String> = (0..files.len()).map(|at| format!("f{at}.bin")).collect();
        let known: Vec<(&str, &[u8])> = names.iter().map(String::as_str).zip(files.iter().map(Vec::as_slice)).collect();
        let attachments = names.iter().map(|name| attachment(name, None)).collect();
        let mail = written(&Letter { text, attachments, ..letter() }, &known);
        assert_clean(&mail);
        let message = MessageParser::default().parse(&mail).unwrap();
        let read: Vec<Vec<u8>> = message.attachments().map(|part| part.contents().to_vec()).collect();
        prop_assert_eq!(read, files);
    }
}

/// A host whose file is large, and may be another one each time.
struct Large {
    bytes: u64,
    changes: bool,
    opened: Mutex<u8>,
}

#[async_trait]
impl HostPort for Large {
    async fn accept(&self, _events: Vec<Inbound>, _cursors: Vec<Cursor>) -> Result<(), AcceptError> {
        Ok(())
    }
    async fn cursors(&self, _prefix: &str) -> Result<Vec<Cursor>, AcceptError> {
        Ok(Vec::new())
    }
    fn state(&self, _state: BridgeState) {}
    async fn open(&self, _attachment: &Attachment) -> Result<File, Fault> {
        let mut opened = self.opened.lock().unwrap();
        *opened += u8::from(self.changes);
        let piece = Bytes::from(vec![*opened; 1024 * 1024]);
        let count = self.bytes / piece.len() as u64;
        Ok(File::new(None, None, stream::iter((0..count).map(move |_| Ok(piece.clone())))))
    }
}

fn large(bytes: u64, changes: bool) -> Host {
    Host::new(BridgeName::from("mail"), Arc::new(Large { bytes, changes, opened: Mutex::new(0) }))
}

#[tokio::test]
async fn a_large_file_goes_through_in_small_pieces() {
    let composer = Composer::new(&relay(30), Some(&dkim("dkim.pem"))).unwrap();
    let letter = Letter { attachments: vec![attachment("large.bin", None)], ..letter() };
    let mail = composer.compose(&large(20 * MIB, false), &letter).await.unwrap();
    let (mut pieces, mut sum, mut widest) = (mail.pieces, 0, 0);
    while let Some(piece) = pieces.next().await {
        let piece = piece.unwrap();
        sum += piece.len() as u64;
        widest = widest.max(piece.len());
    }
    assert_eq!(mail.bytes, Some(sum));
    assert!(sum > 20 * MIB * 4 / 3 && widest <= 64 * 1024, "{sum} bytes, the widest piece has {widest}");
}

#[tokio::test]
async fn a_file_that_changes_while_the_mail_is_signed_is_tried_again() {
    let composer = Composer::new(&relay(30), Some(&dkim("dkim.pem"))).unwrap();
    let letter = Letter { attachments: vec![attachment("a", None)], ..letter() };
    let fault = pieces(&composer, &large(2 * MIB, true), &letter).await.unwrap_err();
    assert_eq!(fault.kind, FaultKind::Retry { after: None });
    assert!(fault.reason.contains("changed"), "{fault}");
}

#[tokio::test]
async fn a_file_that_cannot_be_opened_ends_the_mail_with_its_fault() {
    let composer = Composer::new(&relay(30), None).unwrap();
    let letter = Letter { attachments: vec![attachment("gone", None)], ..letter() };
    let mail = composer.compose(&RecordingHost::new().host("mail"), &letter).await.unwrap();
    let all: Vec<Result<Bytes, Fault>> = mail.pieces.collect().await;
    assert!(all.last().unwrap().as_ref().is_err_and(|fault| fault.reason.contains("gone")));
}

/// Names in DNS, from memory.
struct Zone(HashMap<String, Txt>);

impl ResolverCache<Box<str>, Txt> for Zone {
    fn get<Q>(&self, name: &Q) -> Option<Txt>
    where
        Box<str>: std::borrow::Borrow<Q>,
        Q: std::hash::Hash + Eq + ?Sized,
    {
        self.0
            .iter()
            .find(|(key, _)| {
                let key: Box<str> = key.as_str().into();
                std::borrow::Borrow::<Q>::borrow(&key) == name
            })
            .map(|(_, value)| value.clone())
    }
    fn remove<Q>(&self, _name: &Q) -> Option<Txt>
    where
        Box<str>: std::borrow::Borrow<Q>,
        Q: std::hash::Hash + Eq + ?Sized,
    {
        None
    }
    fn insert(&self, _name: Box<str>, _value: Txt, _until: std::time::Instant) {}
}

async fn is_signed(mail: &[u8]) -> bool {
    let record = DomainKey::parse(include_bytes!("testdata/dkim.txt")).unwrap();
    let zone = Zone(HashMap::from([("s1._domainkey.acme.test.".to_owned(), Txt::DomainKey(Arc::new(record)))]));
    let config = hickory_resolver::config::ResolverConfig::default();
    let dns = MessageAuthenticator::new(config, hickory_resolver::config::ResolverOpts::default()).unwrap();
    let message = AuthenticatedMessage::parse(mail).unwrap();
    let outcome = dns.verify_dkim(Parameters::new(&message).with_txt_cache(&zone)).await;
    outcome.len() == 1 && *outcome[0].result() == DkimResult::Pass
}

#[tokio::test]
async fn a_signature_proves_the_mail_and_falls_with_any_change() {
    let composer = Composer::new(&relay(30), Some(&dkim("dkim.pem"))).unwrap();
    let host = RecordingHost::new();
    host.recorded().files.insert("file:ä.bin".to_owned(), Bytes::from(vec![9; 100_000]));
    let signed = Letter {
        subject: format!("Größe  {}", "und mehr ".repeat(20)),
        text: "two  spaces\n\n\ttab \n\nüber\n\n".to_owned(),
        attachments: vec![attachment("ä.bin", None)],
        ..letter()
    };
    for letter in [letter(), signed] {
        let mail = pieces(&composer, &host.host("mail"), &letter).await.unwrap().concat();
        assert_clean(&mail);
        assert!(is_signed(&mail).await);
        let text = String::from_utf8(mail).unwrap();
        for (from, to) in [("Subject: ", "Subject: x"), ("To: ", "To: y"), ("charset=", "charsex=")] {
            assert!(!is_signed(text.replacen(from, to, 1).as_bytes()).await, "{from}");
        }
        let second = text.replacen("From: ", "From: <boss@acme.test>\r\nFrom: ", 1);
        assert!(!is_signed(second.as_bytes()).await, "a second From breaks it");
    }
}

#[test]
fn a_key_that_cannot_sign_is_said_at_the_start() {
    let no_key = tempfile::NamedTempFile::new().unwrap();
    no_key.as_file().write_all(b"nothing").unwrap();
    for (settings, key, word) in [
        (dkim("none.pem"), "dkim.key_file", "none.pem"),
        (dkim("short.pem"), "dkim.key_file", "2048"),
        (DkimSettings { key_file: no_key.path().to_owned(), ..dkim("") }, "dkim.key_file", ""),
        (DkimSettings { domain: "a b".to_owned(), ..dkim("dkim.pem") }, "dkim.domain", "a b"),
        (DkimSettings { selector: "a;b".to_owned(), ..dkim("dkim.pem") }, "dkim.selector", "a;b"),
    ] {
        let fault = Composer::new(&relay(1), Some(&settings)).unwrap_err();
        assert_eq!(fault.key, key);
        assert!(fault.reason.contains(word), "{fault}");
    }
}
