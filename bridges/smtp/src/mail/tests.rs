//! A mail becomes its text, its files and what is said of both.

use proptest::prelude::*;

use super::*;

/// Our own mails are written with line feeds.
fn read_text(raw: &str) -> Mail {
    read(raw.replace('\n', "\r\n").as_bytes())
}

fn names(mail: &Mail) -> Vec<&str> {
    mail.files.iter().map(|file| file.name.as_str()).collect()
}

/// A multipart of this kind whose parts are these.
fn multipart(kind: &str, parts: &[&str]) -> String {
    let boundary = format!("={}=", kind.len() + parts.len() + parts.concat().len());
    let parts = parts.iter().map(|part| format!("--{boundary}\n{part}\n")).collect::<Vec<_>>().concat();
    format!("Content-Type: multipart/{kind}; boundary=\"{boundary}\"\n\n{parts}--{boundary}--\n")
}

const HEAD: &str =
    "From: Ada <ada@c.test>\nTo: help@d.test\nSubject: Hello\nMessage-ID: <1@c.test>\nMIME-Version: 1.0\n";

const LONG_PAGE: &str = "Content-Type: text/html; charset=utf-8\n\n<p>A <b>page</b> that says much more than the text does, and so is the better one of both.</p>";

#[test]
fn the_better_one_of_two_texts_is_shown() {
    let plain = |text: &str| format!("Content-Type: text/plain; charset=utf-8\n\n{text}");
    let html = |text: &str| format!("Content-Type: text/html; charset=utf-8\n\n{text}");
    for (text, page, expected) in [
        ("Hello *world*", "<p>Hello <b>world</b></p>", "Hello \\*world\\*"),
        ("Hello", "<p>Hello <b>world and all the others</b></p>", "Hello **world and all the others**"),
        ("Please use an HTML viewer.", "<p><b>Sale!</b></p>", "**Sale!**"),
        ("Hello", "", "Hello"),
        ("", "<p>Hello</p>", "Hello"),
        ("Hello there", "<p>Hello<img src='cid:a' alt=pic></p>", "Hello\\[image: pic\\]"),
    ] {
        let mail = read_text(&format!("{HEAD}{}", multipart("alternative", &[&plain(text), &html(page)])));
        assert_eq!((mail.text.as_str(), mail.files.len()), (expected, 0), "{text} {page}");
    }
}

#[test]
fn texts_and_files_are_found_in_the_structures_of_real_programs() {
    let text = "Content-Type: text/plain; charset=utf-8\n\nShort";
    let pdf = "Content-Type: application/pdf; name=\"a.pdf\"\nContent-Disposition: attachment; filename=\"a.pdf\"\nContent-Transfer-Encoding: base64\n\nJVBERg==";
    let picture = "Content-Type: image/png; name=logo.png\nContent-ID: <logo@x>\nContent-Disposition: inline\nContent-Transfer-Encoding: base64\n\niVBORw==";
    let page = "Content-Type: text/html\n\n<p>See <img src=\"cid:logo@x\"> and this long text of the page, longer than the text.</p>";
    let related = multipart("related", &[page, picture]);
    let outlook = multipart("mixed", &[&multipart("alternative", &[text, &related]), pdf]);
    let mail = read_text(&format!("{HEAD}{outlook}"));
    assert_eq!(mail.text, "See \\[image: logo.png\\] and this long text of the page, longer than the text.");
    assert_eq!(names(&mail), ["logo.png", "a.pdf"]);
    assert_eq!(mail.files[1].bytes, 4);
    let raw = format!("{HEAD}{outlook}").replace('\n', "\r\n");
    let file = read_file(raw.as_bytes(), mail.files[1].number).unwrap();
    assert_eq!((file.bytes.as_slice(), file.media_type.as_deref()), (&b"%PDF"[..], Some("application/pdf")));
    // Text, picture, text: nothing of it is lost.
    let apple = multipart("mixed", &["\nOne", picture, "Content-Type: text/plain\n\nTwo"]);
    let mail = read_text(&format!("{HEAD}{apple}"));
    assert_eq!((mail.text.as_str(), names(&mail)), ("One\n\nTwo", vec!["logo.png"]));
    // A text with a name is a file, and so is one that says that it is.
    let files = multipart(
        "mixed",
        &[
            text,
            "Content-Type: text/plain; name=a.txt\n\nx",
            "Content-Disposition: attachment\nContent-Type: text/html\n\ny",
        ],
    );
    let mail = read_text(&format!("{HEAD}{files}"));
    assert_eq!((mail.text.as_str(), names(&mail)), ("Short", vec!["a.txt", "attachment-2.html"]));
    assert_eq!(mail.files[1].media_type.as_deref(), Some("application/octet-stream"));
}

#[test]
fn what_was_written_anew_is_the_text_and_all_of_it_the_whole() {
    let mail = read_text(&format!("{HEAD}\nYes.\n\nOn Mon, 1 Jan 2024 at 10:00, Bob <b@d.test> wrote:\n> Shall we?\n"));
    assert_eq!(mail.text, "Yes.");
    assert_eq!(
        mail.whole.as_deref(),
        Some("Yes.\n\nOn Mon, 1 Jan 2024 at 10:00, Bob \\<b@d.test\\> wrote:\n\\> Shall we?")
    );
    let raw = format!("{HEAD}\nYes.\n\n> Shall we?\n");
    assert_eq!(read_file(raw.as_bytes(), WHOLE_TEXT).unwrap().bytes, "Yes.\n\n\\> Shall we?".as_bytes());
    assert_eq!(read_file(raw.as_bytes(), RAW_MAIL).unwrap().bytes, raw.as_bytes());
    assert_eq!(read_file(raw.as_bytes(), 5), None);
    assert_eq!(read_text(&format!("{HEAD}\nYes.")).whole, None);
}

#[test]
fn a_mail_in_a_mail_is_a_file_and_named_in_the_text() {
    let inner = "Content-Type: message/rfc822\n\nFrom: Bob <bob@e.test>\nSubject: =?utf-8?q?Stra=C3=9Fe?=\nDate: Mon, 1 Jan 2024 10:00:00 +0000\n\nInner\n> text\n";
    let mail = read_text(&format!("{HEAD}{}", multipart("mixed", &["\nSee this.", inner])));
    assert_eq!(
        mail.text,
        "See this.\n\n> From: Bob \\<bob@e.test\\>\n> Subject: Straße\n> Date: Mon, 1 Jan 2024 10:00:00 +0000\n>\n> Inner\n> \\> text"
    );
    assert_eq!((names(&mail), mail.whole.as_deref()), (vec!["forwarded.eml"], None));
    let long = inner.replace("Inner", &"long ".repeat(1000));
    let mail = read_text(&format!(
        "{HEAD}{}",
        multipart("digest", &[&long.replace("Content-Type: message/rfc822", "X-A: b"), &long])
    ));
    assert!(mail.text.matches("> Subject: Straße").count() == 2 && !mail.text.contains("long"));
    assert_eq!(names(&mail), ["forwarded.eml", "forwarded-2.eml"]);
    let many = read_text(&format!("{HEAD}{}", multipart("mixed", &[inner; 100])));
    assert_eq!((many.text.matches("Straße").count(), many.files.len()), (20, 100));
}

#[test]
fn an_appointment_is_said_in_a_line() {
    let calendar = "Content-Type: text/calendar; method=REQUEST; charset=utf-8\n\nBEGIN:VCALENDAR\nMETHOD:REQUEST\nBEGIN:VTIMEZONE\nDTSTART:19700101T000000\nEND:VTIMEZONE\nBEGIN:VEVENT\nSUMMARY:Plan\\, in\n  detail\nDTSTART;TZID=Europe/Berlin:20240131T093000\nORGANIZER;CN=\"Bob: B\":mailto:bob@e.test\nEND:VEVENT\nBEGIN:VEVENT\nSUMMARY:Other\nEND:VEVENT\nEND:VCALENDAR";
    let mail = read_text(&format!("{HEAD}{}", multipart("alternative", &["\nCome", calendar])));
    assert_eq!(
        mail.text,
        "Come\n\nInvitation: Plan, in detail, 2024-01-31 09:30 Europe/Berlin, Bob: B \\<bob@e.test\\>"
    );
    assert_eq!((names(&mail), mail.files[0].media_type.as_deref()), (vec!["attachment-1.ics"], Some("text/calendar")));
    let cancelled = calendar
        .replace("METHOD:REQUEST", "METHOD:CANCEL")
        .replace(";TZID=Europe/Berlin:20240131T093000", ";VALUE=DATE:20240131");
    assert!(
        read_text(&format!("{HEAD}{cancelled}"))
            .text
            .starts_with("Cancelled appointment: Plan, in detail, 2024-01-31, Bob")
    );
}

#[test]
fn encrypted_mail_is_a_notice_and_a_file_and_signed_mail_is_its_text() {
    let signed = multipart(
        "signed",
        &[
            "Content-Type: text/plain\n\nSigned text",
            "Content-Type: application/pgp-signature; name=signature.asc\n\nxyz",
        ],
    );
    let mail = read_text(&format!("{HEAD}{signed}"));
    assert_eq!((mail.text.as_str(), mail.files.len(), mail.notices.len()), ("Signed text", 0, 0));
    let encrypted = multipart(
        "encrypted",
        &[
            "Content-Type: application/pgp-encrypted\n\nVersion: 1",
            "Content-Type: application/octet-stream; name=encrypted.asc\n\nxyz",
        ],
    );
    let mail = read_text(&format!("{HEAD}{encrypted}"));
    assert_eq!((mail.text.as_str(), names(&mail), mail.notices.len()), ("", vec!["encrypted.asc"], 1));
    for (kind, says) in [("enveloped-data", "encrypted"), ("signed-data", "signed")] {
        let mail = read_text(&format!(
            "{HEAD}Content-Type: application/pkcs7-mime; smime-type={kind}; name=smime.p7m\nContent-Transfer-Encoding: base64\n\nMIIB"
        ));
        assert!(names(&mail) == ["smime.p7m"] && mail.notices.len() == 1 && mail.notices[0].contains(says), "{mail:?}");
    }
    let inline = read_text(&format!("{HEAD}\n-----BEGIN PGP MESSAGE-----\n\nabc\n-----END PGP MESSAGE-----\n"));
    assert!(inline.notices[0].contains("encrypted") && inline.text.contains("abc"));
}

#[test]
fn broken_mails_say_what_they_can() {
    let nothing = read(b"");
    assert_eq!((nothing.text.as_str(), names(&nothing), nothing.notices.len()), ("", vec!["message.eml"], 1));
    let no_head = read(b"just words\nand more");
    assert_eq!((no_head.text.as_str(), no_head.files[0].number), ("just words\nand more", RAW_MAIL));
    let broken = multipart(
        "mixed",
        &["\nText", "Content-Type: image/png; name=a.png\nContent-Transfer-Encoding: base64\n\niVBO!!Rw"],
    );
    let mail = read_text(&format!("{HEAD}{broken}"));
    assert_eq!((names(&mail), mail.files[0].bytes), (vec!["a.png"], 4));
    assert!(mail.notices[0].contains("a.png is damaged"));
    let lost = read_text(&format!("{HEAD}Content-Type: multipart/mixed; boundary=never\n\nwords"));
    assert_eq!(lost.text, "words");
    let piece = read_text(&format!("{HEAD}Content-Type: message/partial; id=a; number=1; total=2\n\nx"));
    assert_eq!((names(&piece), piece.notices.len()), (vec!["attachment-1.eml"], 1));
}

#[test]
fn too_much_of_anything_is_shown_as_far_as_it_goes() {
    let open = |n: usize| format!("Content-Type: multipart/mixed; boundary=b{n}\n\n--b{n}\n");
    let deep: String = (0..50_000).map(open).collect();
    let many = format!(
        "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nfirst\n{}",
        "--b\nContent-Type: a/b\n\nx\n".repeat(20_000)
    );
    let inner = format!(
        "Content-Type: multipart/mixed; boundary=b\n\n--b\n\nfirst\n--b\n{}",
        "Content-Type: message/rfc822\n\n".repeat(50_000)
    );
    let long = format!("X: {}\n\nfirst", "y".repeat(1024 * 1024));
    let fields = format!("{}\nfirst", "X: y\n".repeat(100_000));
    let endless = "X: y\n".repeat(200_000);
    let folded = format!("X: y\n{}", " z\n".repeat(500_000));
    let dashes = format!("Content-Type: multipart/mixed; boundary=b\n\n{}", "--\n".repeat(300_000));
    let near =
        format!("{}{}", (0..50).map(open).collect::<String>(), format!("--b{}\n", "x".repeat(200)).repeat(4_000));
    for (what, raw, is_said) in [
        ("deep", &deep, true),
        ("many", &many, true),
        ("inner", &inner, false),
        ("long", &long, true),
        ("fields", &fields, true),
        ("endless", &endless, true),
        ("folded", &folded, true),
        ("dashes", &dashes, false),
        ("near", &near, false),
    ] {
        let mail = read(format!("{HEAD}{raw}").as_bytes());
        assert_eq!((mail.subject.as_str(), mail.from.len()), ("Hello", 1), "{what}");
        let raw_file = mail.files.iter().any(|file| file.number == RAW_MAIL && file.name == "message.eml");
        assert_eq!((raw_file, !mail.notices.is_empty()), (is_said, is_said), "{what}: {:?}", mail.notices);
    }
    assert_eq!(read(format!("{HEAD}{many}").as_bytes()).text, "first");
}

#[test]
fn a_text_too_long_to_be_shown_is_a_file_too() {
    let mail = read_text(&format!("{HEAD}\n{}", "word ".repeat(400_000)));
    assert!(mail.text.len() <= 1024 * 1024 && mail.notices.len() == 1);
    assert_eq!((names(&mail), mail.files[0].bytes), (vec!["attachment-1.txt"], 2_000_000));
    let page = format!("{HEAD}Content-Type: text/html\n\n<p>{}", "word ".repeat(1_000_000));
    let mail = read_text(&page);
    assert_eq!((names(&mail), mail.notices.len()), (vec!["attachment-1.html"], 2));
    let parts = vec!["\nlong enough to count as a text of many words"; 400];
    let mail = read_text(&format!("{HEAD}{}", multipart("mixed", &parts)));
    assert_eq!(mail.text.matches("count").count(), 400);
}

#[test]
fn a_large_file_is_read_whole() {
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| u8::try_from(n % 251).unwrap()).collect();
    let text = {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(&bytes)
    };
    let raw = format!(
        "{HEAD}{}",
        multipart(
            "mixed",
            &["\nx", &format!("Content-Type: a/b; name=big.bin\nContent-Transfer-Encoding: base64\n\n{text}")]
        )
    );
    let mail = read(raw.as_bytes());
    assert_eq!((mail.files[0].bytes, mail.files[0].name.as_str()), (3_000_000, "big.bin"));
    assert!(read_file(raw.as_bytes(), mail.files[0].number).unwrap().bytes == bytes);
}

#[test]
fn the_files_in_a_wrapping_are_files_of_the_mail() {
    let sum = |data: &[u8]| data.iter().fold(0_u16, |sum, byte| sum.wrapping_add(u16::from(*byte))).to_le_bytes();
    let attribute = |id: u32, data: &[u8]| {
        let length = u32::try_from(data.len()).unwrap().to_le_bytes();
        [&[2][..], &id.to_le_bytes(), &length, data, &sum(data)].concat()
    };
    let file = [attribute(0x0006_9002, &[0]), attribute(0x0001_8010, b"..\\a.txt\0"), attribute(0x0006_800f, b"hello")];
    let wrapping = |count: usize| [&[0x78, 0x9f, 0x3e, 0x22, 0, 0][..], &file.concat().repeat(count)].concat();
    let part = |bytes: &[u8]| {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(bytes);
        format!("Content-Type: application/ms-tnef; name=winmail.dat\nContent-Transfer-Encoding: base64\n\n{text}")
    };
    let raw = format!("{HEAD}{}", multipart("mixed", &["\nx", &part(&wrapping(2))]));
    let mail = read(raw.as_bytes());
    assert_eq!(names(&mail), ["a.txt", "a-2.txt"]);
    assert_eq!(read_file(raw.as_bytes(), mail.files[1].number).unwrap().bytes, b"hello");
    assert_sound(raw.as_bytes());
    // Too many to be unpacked, or none that can be: the wrapping is the file.
    let many = multipart("mixed", &[part(&wrapping(100)).as_str(); 10]);
    let mail = read(format!("{HEAD}{many}").as_bytes());
    assert_eq!((mail.files.len(), names(&mail)[600]), (604, "winmail.dat"));
    let mail = read(format!("{HEAD}{}", part(b"no wrapping")).as_bytes());
    assert_eq!(names(&mail), ["winmail.dat"]);
}

fn good_mail() -> String {
    let related = multipart(
        "related",
        &[LONG_PAGE, "Content-Type: image/png\nContent-ID: <a>\nContent-Transfer-Encoding: base64\n\niVBORw=="],
    );
    let inner = "Content-Type: message/rfc822\n\nFrom: b@e.test\nSubject: =?utf-8?q?=C3=A4?=\n\nInner";
    let calendar = "Content-Type: text/calendar\n\nBEGIN:VEVENT\nSUMMARY:x\nDTSTART:20240131T093000Z\nEND:VEVENT";
    format!(
        "Received: by x; Mon, 1 Jan 2024 10:00:00 +0000\n{HEAD}Date: Mon, 1 Jan 2024 10:00:00 +0000\n{}",
        multipart(
            "mixed",
            &[
                &multipart(
                    "alternative",
                    &["Content-Type: text/plain; format=flowed\n\nHi \nthere\n> q\n-- \nme", &related]
                ),
                inner,
                calendar
            ]
        )
    )
}

/// Every file that a mail names can be had, and is as long as it says.
fn assert_sound(raw: &[u8]) {
    let mail = read(raw);
    let mut seen = std::collections::HashSet::new();
    for file in &mail.files {
        assert!(seen.insert(file.name.to_lowercase()), "{mail:?}");
        let bytes = read_file(raw, file.number).expect("named by the mail").bytes;
        assert_eq!(bytes.len() as u64, file.bytes, "{mail:?}");
    }
    assert!(mail.subject.chars().count() <= 500 && mail.notices.len() <= 20);
}

#[test]
fn a_good_mail_is_read() {
    let raw = good_mail();
    let mail = read(raw.as_bytes());
    assert!(mail.text.starts_with("A **page** that says"));
    assert_eq!(names(&mail), ["attachment-1.png", "forwarded.eml", "attachment-3.ics"]);
    assert_eq!(mail.notices, Vec::<String>::new());
    assert!(mail.date_millis.is_some());
    assert_sound(raw.as_bytes());
}

proptest! {
    #[test]
    fn any_bytes_are_a_mail(raw in any::<Vec<u8>>()) {
        assert_sound(&raw);
    }

    #[test]
    fn a_good_mail_with_any_damage_is_a_mail(changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0_u8..4), 1..30)) {
        let mut raw = good_mail().into_bytes();
        for (at, byte, how) in changes {
            let at = at.index(raw.len().max(1)).min(raw.len().saturating_sub(1));
            match how {
                0 => raw.insert(at, byte),
                1 => { raw.remove(at); }
                2 => raw[at] = byte,
                _ => { let line = raw[at..].iter().take(40).copied().collect::<Vec<_>>(); raw.splice(at..at, line); }
            }
        }
        assert_sound(&raw);
    }
}
