//! Mails are taken apart as they are built, within bounds.

use proptest::prelude::*;

use super::{walk::PARTS_MAX, *};

fn shape(raw: &str) -> Vec<(Option<usize>, String, String)> {
    let tree = walk(raw.as_bytes());
    let body =
        |part: &Part<'_>| if part.is_multipart { "*".into() } else { String::from_utf8_lossy(part.body).into_owned() };
    tree.parts.iter().map(|part| (part.parent, part.media_type.clone(), body(part))).collect()
}

fn part(parent: Option<usize>, media_type: &str, body: &str) -> (Option<usize>, String, String) {
    (parent, media_type.to_owned(), body.to_owned())
}

#[test]
fn parts_are_found_at_their_boundaries() {
    let mixed = "Content-Type: multipart/mixed; boundary=\"a b\"\r\n\r\n";
    let top = || part(None, "multipart/mixed", "*");
    let cases: Vec<(String, Vec<_>)> = vec![
        ("\r\nhello".into(), vec![part(None, "text/plain", "hello")]),
        ("From x\nSubject: y\n\nhello\n".into(), vec![part(None, "text/plain", "hello\n")]),
        ("Subject: y\nno field\nhello".into(), vec![part(None, "text/plain", "no field\nhello")]),
        (
            format!(
                "{mixed}pre\r\n--a b\r\n\r\none\r\n--a b  \r\nContent-Type: TEXT/Html; x\r\n\r\ntwo\r\n\r\n--a b--\r\nend"
            ),
            vec![top(), part(Some(0), "text/plain", "one"), part(Some(0), "text/html", "two\r\n")],
        ),
        // No blank line, no last boundary, a longer word behind the dashes.
        (
            format!("{mixed}--a b\r\nContent-Type: x/y\r\n--a b\r\n\r\n--a bc\r\n --a b\r\nlast"),
            vec![top(), part(Some(0), "x/y", ""), part(Some(0), "text/plain", "--a bc\r\n --a b\r\nlast")],
        ),
        // An inner multipart that is never closed ends with the outer one.
        (
            format!(
                "{mixed}--a b\nContent-Type: multipart/alternative; boundary=i\n\n--i\n\none\n--a b\n\ntwo\n--i\nx\n--a b--"
            ),
            vec![
                top(),
                part(Some(0), "multipart/alternative", "*"),
                part(Some(1), "text/plain", "one"),
                part(Some(0), "text/plain", "two\n--i\nx"),
            ],
        ),
        // The same boundary inside: the inner one comes first.
        (
            format!(
                "{mixed}--a b\nContent-Type: multipart/mixed; boundary=\"a b\"\n\n--a b\n\none\n--a b--\n--a b\n\ntwo\n--a b--"
            ),
            vec![
                top(),
                part(Some(0), "multipart/mixed", "*"),
                part(Some(1), "text/plain", "one"),
                part(Some(0), "text/plain", "two"),
            ],
        ),
        // A mail in a mail is not opened.
        (
            format!(
                "{mixed}--a b\nContent-Type: message/rfc822\n\nContent-Type: multipart/mixed; boundary=q\n\n--q\n\nx\n--a b--"
            ),
            vec![top(), part(Some(0), "message/rfc822", "Content-Type: multipart/mixed; boundary=q\n\n--q\n\nx")],
        ),
        (
            "Content-Type: multipart/digest; boundary=a\n\n--a\n\nSubject: x\n--a--".into(),
            vec![part(None, "multipart/digest", "*"), part(Some(0), "message/rfc822", "Subject: x")],
        ),
        ("Content-Type: text\n\nx".into(), vec![part(None, "text/plain", "x")]),
        ("Content-Type: nonsense here\n\nx".into(), vec![part(None, "application/octet-stream", "x")]),
        ("Content-Type: multipart/mixed\n\nx".into(), vec![part(None, "multipart/mixed", "x")]),
        ("Content-Type: multipart/mixed; boundary=\"\"\n\n--\nx".into(), vec![part(None, "multipart/mixed", "--\nx")]),
    ];
    for (raw, expected) in cases {
        assert_eq!(shape(&raw), expected, "{raw:?}");
    }
}

/// Boundaries of each depth, opened one in the other and never closed.
fn nested(depth: usize) -> String {
    let open = |n: usize| format!("Content-Type: multipart/mixed; boundary=b{n}\r\n\r\n--b{n}\r\n");
    (0..depth).map(open).chain(["\r\ndeep".to_owned()]).collect()
}

#[test]
fn depth_and_parts_are_bounded_and_said_to_be() {
    let at = nested(walk::DEPTH_MAX);
    assert_eq!((walk(at.as_bytes()).parts.len(), walk(at.as_bytes()).deep), (walk::DEPTH_MAX + 1, false));
    for depth in [walk::DEPTH_MAX + 1, 100, 50_000] {
        let raw = nested(depth);
        let tree = walk(raw.as_bytes());
        assert!(tree.deep && tree.parts.len() == walk::DEPTH_MAX + 1);
        assert!(tree.parts.last().is_some_and(|part| !part.is_multipart && part.body.ends_with(b"deep")));
    }
    let parts =
        |count: usize| format!("Content-Type: multipart/mixed; boundary=b\n\n{}--b--", "--b\n\nx\n".repeat(count));
    assert!(!walk(parts(PARTS_MAX - 1).as_bytes()).many);
    for count in [PARTS_MAX, 20_000, 1_000_000] {
        let raw = parts(count);
        let tree = walk(raw.as_bytes());
        assert!(tree.many && tree.parts.len() == PARTS_MAX);
        assert_eq!(tree.parts[PARTS_MAX - 1].body, b"x");
    }
}

#[test]
fn fifty_thousand_mails_in_mails_are_one_part() {
    let raw = "Content-Type: message/rfc822\r\n\r\n".repeat(50_000);
    assert_eq!(walk(raw.as_bytes()).parts.len(), 1);
    let raw = format!("Content-Type: multipart/mixed; boundary=b\n\n--b\n{raw}");
    assert_eq!(walk(raw.as_bytes()).parts.len(), 2);
}

#[test]
fn a_header_block_is_bounded_in_bytes_and_fields() {
    let at = format!("{}\nbody", "A: b\n".repeat(fields::FIELDS_MAX));
    assert!(!head(at.as_bytes(), 0).cut);
    let over = format!("{}Subject: x\n\nbody", "A: b\n".repeat(fields::FIELDS_MAX + 1));
    let over = head(over.as_bytes(), 0);
    assert!(over.cut && over.first("subject").is_none() && over.all().count() == fields::FIELDS_MAX);
    let long = format!("Subject: x\nA: {}\n\nbody", "b".repeat(1024 * 1024));
    let long_head = head(long.as_bytes(), 0);
    assert!(long_head.cut && long_head.first("subject").is_some());
    assert_eq!(&long[long_head.body..], "body");
    let folded = format!("Subject: x\n{}\nbody", " b\n".repeat(500_000));
    assert_eq!(
        head(folded.as_bytes(), 0).first("subject").map(|value| value.len() <= fields::VALUE_BYTES_MAX),
        Some(true)
    );
    let endless = "A: b\n".repeat(1_000_000);
    assert_eq!(head(endless.as_bytes(), 0).body, endless.len());
}

#[test]
fn fields_are_cut_where_they_begin() {
    let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    for (text, expected, rest) in [
        ("A: b\r\nC: d\r\n\r\nbody", vec![pair("A", "b"), pair("C", "d")], "body"),
        ("A: b\nC : d\n\nbody", vec![pair("A", "b"), pair("C ", "d")], "body"),
        ("A: b\r\n\tc\r\n d\r\nE:\r\n\r\n", vec![pair("A", "b\tc d"), pair("E", "")], ""),
        ("A:b", vec![pair("A", "b")], ""),
        ("A: b\r\n--cut\r\nC: d", vec![pair("A", "b")], "--cut\r\nC: d"),
        ("no field here\r\nA: b", vec![], "no field here\r\nA: b"),
        ("\r\nA: b", vec![], "A: b"),
        ("", vec![], ""),
        (": b\r\n", vec![], ": b\r\n"),
    ] {
        let head = head(text.as_bytes(), 0);
        let found: Vec<_> =
            head.fields().map(|field| (String::from_utf8_lossy(field.raw_name).into_owned(), field.value())).collect();
        assert_eq!((found, &text[head.body..]), (expected, rest), "{text:?}");
    }
    assert!(head(b"C : d\n", 0).fields().all(|field| field.is("c")));
}

#[test]
fn parameters_are_read_in_all_their_forms() {
    for (field, expected) in [
        ("a/b; filename=x.pdf", Some("x.pdf")),
        ("a/b; FileName=\"x y;z.pdf\"; q=1", Some("x y;z.pdf")),
        ("a/b; filename=\"a\\\"b\\\\c.pdf\"", Some("a\"b\\c.pdf")),
        ("a/b; filename=\"C:\\dir\\x.pdf\"", Some("C:\\dir\\x.pdf")),
        ("a/b; filename==?utf-8?q?f=C3=BC.pdf?=", Some("fü.pdf")),
        ("a/b; filename=\"=?utf-8?b?ZsO8?= =?utf-8?b?LnBkZg==?=\"", Some("fü.pdf")),
        ("a/b; filename*=utf-8''f%C3%BC.pdf; filename=plain.pdf", Some("fü.pdf")),
        ("a/b; filename*=iso-8859-1'de'f%FC.pdf", Some("fü.pdf")),
        ("a/b; filename*0=\"one\"; filename*1=\"two.pdf\"", Some("onetwo.pdf")),
        ("a/b; filename*1*=%BC.pdf; filename*0*=utf-8''f%C3", Some("fü.pdf")),
        ("a/b; filename*0*=utf-8''f%C3%BC; filename*1=%41.pdf", Some("fü%41.pdf")),
        ("a/b; filename*=no-charset%", Some("no-charset%")),
        ("a/b; filename=\"unclosed.pdf", Some("unclosed.pdf")),
        ("a/b; junk; filename=x", Some("x")),
        ("a/b (comment); name=x", None),
        ("a/b", None),
    ] {
        let params = Params::parse(field);
        assert_eq!(params.get("filename").as_deref(), expected, "{field:?}");
        assert_eq!(params.value, "a/b");
    }
    assert!(Params::parse(&format!("a/b; {}", "x=1;".repeat(5000))).get("y").is_none());
}

#[test]
fn encodings_give_what_can_be_decoded() {
    for (encoding, body, expected, broken) in [
        ("base64", "aGVs\r\nbG8=", "hello", false),
        ("BASE64", "aGVs!!bG8=", "hello", true),
        ("base64", "aGVsbG8", "hello", false),
        ("base64", "aGVsb", "hel", true),
        ("base64", "aGVsb!!!G8a", "hello\u{1a}", true),
        ("base64", "aGk=aGk=", "hihi", false),
        ("quoted-printable", "a=3Db=\r\nc =\r\nd  \r\ne=ZZ=", "a=bc d\r\ne=ZZ", false),
        ("quoted-printable", "a=3Db=\r\nc=\nd=zz=", "a=bcd=zz", false),
        ("8bit", "a=3D", "a=3D", false),
        ("x-uuencode", "begin", "begin", false),
    ] {
        let (bytes, is_broken) = transferred(encoding, body.as_bytes());
        assert_eq!((String::from_utf8_lossy(&bytes).as_ref(), is_broken), (expected, broken), "{body:?}");
    }
}

#[test]
fn charsets_are_believed_where_they_can_be_true() {
    for (label, bytes, expected) in [
        (Some("utf-8"), "äö€".as_bytes(), "äö€"),
        (Some("UTF-8"), b"caf\xe9 cr\xe8me br\xfbl\xe9e", "café crème brûlée"),
        (Some("us-ascii"), "äö€".as_bytes(), "äö€"),
        (Some("iso-8859-1"), b"\xe4\x80", "ä€"),
        (Some("iso-8859-1"), "für".as_bytes(), "für"),
        (Some("\"windows-1251\""), b"\xcf\xf0\xe8\xe2\xe5\xf2", "Привет"),
        (Some("koi8-r"), b"\xf0\xd2\xc9\xd7\xc5\xd4", "Привет"),
        (Some("shift_jis"), b"\x83n\x83\x8d\x81[", "ハロー"),
        (Some("iso-2022-jp"), b"\x1b$B%O%m!<\x1b(B", "ハロー"),
        (Some("gb2312"), b"\xc4\xe3\xba\xc3", "你好"),
        (Some("utf-7"), b"Hi +AOQ-", "Hi ä"),
        (Some("utf-16le"), b"h\0i\0", "hi"),
        (Some("x-nonsense"), "äö".as_bytes(), "äö"),
        (Some("hz-gb-2312"), b"abc", "abc"),
        (None, b"\xef\xbb\xbfabc", "abc"),
        (None, b"Sch\xf6ne Gr\xfc\xdfe aus M\xfcnchen", "Schöne Grüße aus München"),
        (None, b"\x1b$B%O%m!<%o!<%k%I\x1b(B", "ハローワールド"),
        (None, b"\xcf\xf0\xe8\xe2\xe5\xf2, \xea\xe0\xea \xe4\xe5\xeb\xe0", "Привет, как дела"),
        (None, b"", ""),
    ] {
        assert_eq!(decoded(label, bytes), expected, "{label:?}");
    }
    let cut = &"ä".repeat(100).into_bytes()[..199];
    assert!(decoded(Some("utf-8"), cut).starts_with("ää"));
}

proptest! {
    #[test]
    fn any_bytes_are_cut_into_fields_and_the_rest(bytes in prop::collection::vec(prop_oneof![
        Just(b':'), Just(b'\n'), Just(b'\r'), Just(b' '), Just(b'a'), any::<u8>()
    ], 0..200), start in 0..200_usize) {
        let start = start.min(bytes.len());
        let head = head(&bytes, start);
        prop_assert!((start..=bytes.len()).contains(&head.body));
        for field in head.fields() {
            prop_assert!(!field.value().contains(['\r', '\n']));
        }
    }

    #[test]
    fn parts_lie_inside_the_mail_and_behind_their_parents(raw in "(Content-Type: multipart/mixed; boundary=[ab]\n|--[ab](--)?\n|\n|x){0,40}") {
        let tree = walk(raw.as_bytes());
        for (at, part) in tree.parts.iter().enumerate() {
            prop_assert!(part.parent.is_none_or(|parent| parent < at && tree.parts[parent].is_multipart));
            prop_assert!(raw.as_bytes().windows(part.body.len().max(1)).any(|window| window == part.body) || part.body.is_empty());
        }
    }

    #[test]
    fn any_bytes_are_decoded_to_something(label in "[a-z0-9_-]{0,12}", bytes in any::<Vec<u8>>()) {
        decoded(Some(&label), &bytes);
        transferred("base64", &bytes);
        transferred("quoted-printable", &bytes);
        plain_words(&String::from_utf8_lossy(&bytes));
        Params::parse(&String::from_utf8_lossy(&bytes)).get("filename");
    }

    #[test]
    fn base64_is_read_as_it_was_written(bytes in any::<Vec<u8>>()) {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(&bytes);
        prop_assert_eq!(transferred("base64", text.as_bytes()), (bytes.into(), false));
    }
}
