//! Bad files and where they are said to be bad; the environment; secrets that stay secret.

use std::{collections::BTreeMap, fs, net::SocketAddr};

use proptest::prelude::*;

use super::{
    LogFormat, Place, StoreUrl, WhenInDoubt,
    stub::{read, read_with},
};

const GOOD: &str = r##"[gateway]
listen = "127.0.0.1:9000"

[inboxes.support]
url = "http://rails:3000/"
account_id = 1
inbox_id = 7
api_access_token = "c4nary-one"

[bridges.libera]
kind = "irc"
inbox = "support"
server = "irc.libera.chat"
port = 6697
sasl = { mechanism = "plain", account = "acme", password = "c4nary two" }
channels = [{ name = "#acme", key = "c4nary3" }]
"##;

/// Line, column, key, nearest, and a part of the message, of each fault in its order.
type Expected<'a> = &'a [(usize, usize, &'a str, Option<&'a str>, &'a str)];

fn check(text: &str, expected: Expected<'_>) {
    let faults = read(text).map(drop).expect_err(text);
    let report = faults.report(false);
    let found: Vec<_> = faults
        .iter()
        .map(|fault| {
            let (line, column) = match &fault.place {
                Place::File { line, column, .. } => (*line, *column),
                Place::Whole { .. } | Place::Variable(_) => (0, 0),
            };
            (line, column, fault.key.as_str(), fault.nearest.as_deref(), fault.message.as_str())
        })
        .collect();
    assert_eq!(found.len(), expected.len(), "{text}\n{report}");
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!((found.0, found.1, found.2, found.3), (expected.0, expected.1, expected.2, expected.3), "{report}");
        assert!(found.4.contains(expected.4), "{:?} in {report}", expected.4);
    }
}

#[test]
fn a_good_file_becomes_the_settings_it_says() {
    let settings = read(&GOOD.replace("c4nary two", "c4nary2")).unwrap();
    assert_eq!(settings.gateway.listen, SocketAddr::from(([127, 0, 0, 1], 9000)));
    assert_eq!(settings.store.url, StoreUrl::Sqlite("data/deskbridge.db".into()));
    assert_eq!(settings.log.level.as_str(), "info");
    assert_eq!(settings.log.format, LogFormat::Auto);
    let inbox = &settings.inboxes["support"];
    assert_eq!(inbox.url.base(), "http://rails:3000");
    assert_eq!(inbox.api_access_token.expose(), "c4nary-one");
    assert_eq!((inbox.concurrency, inbox.send_templates), (4, true));
    assert_eq!((inbox.settle_seconds, inbox.callback_grace_millis), (20, 250));
    assert_eq!(inbox.attachment_bytes_max, 41_943_040);
    let entry = &settings.bridges[&"libera".into()];
    assert_eq!((entry.kind.as_str(), entry.inbox.as_str()), ("irc", "support"));
    assert_eq!(entry.when_in_doubt, WhenInDoubt::Repeat);
    assert_eq!((entry.peer_burst, entry.peer_pause_millis), (120, 1000));
}

#[test]
fn an_empty_file_is_the_defaults() {
    let settings = read("").unwrap();
    assert_eq!(settings.gateway.retention_days, 30);
    assert!(settings.inboxes.is_empty() && settings.bridges.is_empty());
}

#[test]
fn unknown_keys_are_placed_and_the_nearest_is_named() {
    check("[gatway]\n", &[(1, 2, "gatway", Some("gateway"), "unknown key")]);
    check("[gateway]\nlisen = 'x'\n", &[(2, 1, "gateway.lisen", Some("listen"), "unknown key")]);
    check("zzz = 1\n", &[(1, 1, "zzz", None, "known: gateway, store, log, inboxes, bridges")]);
    check("\"gateway.listen\" = 'x'\n", &[(1, 1, "gateway.listen", Some("gateway"), "unknown key")]);
    check(
        &GOOD.replace("port = ", "prot = ").replace("name = ", "nmae = "),
        &[
            (14, 1, "bridges.libera.prot", Some("port"), "unknown key"),
            (16, 13, "bridges.libera.channels.0.name", None, "is missing"),
            (16, 15, "bridges.libera.channels.0.nmae", Some("name"), "unknown key"),
        ],
    );
    let nested = GOOD.replace("account = ", "acount = ");
    check(&nested, &[(15, 31, "bridges.libera.sasl.acount", Some("account"), "unknown key")]);
}

#[test]
fn missing_keys_are_placed_at_their_table() {
    check(
        "[inboxes.support]\naccount_id = 1\ninbox_id = 7\n",
        &[
            (1, 10, "inboxes.support.url", None, "is missing"),
            (1, 10, "inboxes.support.api_access_token", None, "`api_access_token_file` may name a file"),
        ],
    );
    check(
        "[bridges.libera]\ninbox = 'a'\n[inboxes]\n",
        &[
            (1, 10, "bridges.libera.kind", None, "is missing (known: irc)"),
            (2, 9, "bridges.libera.inbox", None, "no inbox `a`"),
        ],
    );
}

#[test]
fn wrong_types_words_and_bounds_are_placed_at_the_value() {
    check("gateway = 3\n", &[(1, 11, "gateway", None, "must be a table, not an integer")]);
    check("[inboxes]\nsupport = 3\n", &[(2, 11, "inboxes.support", None, "must be a table")]);
    check("inboxes = 3\n", &[(1, 11, "inboxes", None, "such as [inboxes.support]")]);
    check("[log]\nformat = \"prety\"\n", &[(2, 10, "log.format", Some("pretty"), "one of `pretty`, `json`, `auto`")]);
    check(
        "[gateway]\nstop_seconds = \"20\"\n",
        &[(2, 16, "gateway.stop_seconds", None, "must be an integer, not a string")],
    );
    check("[gateway]\nstop_seconds = 0\n", &[(2, 16, "gateway.stop_seconds", None, "must be from 1 to 600")]);
    check("[gateway]\nstop_seconds = 99999999999999999999\n", &[(2, 16, "gateway.stop_seconds", None, "out of range")]);
    check("[gateway]\ndata_dir = 2020-01-01\n", &[(2, 12, "gateway.data_dir", None, "is a date")]);
    let wrong =
        GOOD.replace("port = 6697", "port = 70000\ntls = \"yes\"").replace("account_id = 1", "account_id = true");
    check(
        &wrong,
        &[
            (6, 14, "inboxes.support.account_id", None, "must be an integer, not true or false"),
            (14, 8, "bridges.libera.port", None, "must be from 0 to 65535"),
            (15, 7, "bridges.libera.tls", None, "must be true or false or a table, not a string"),
        ],
    );
    let mechanism = GOOD.replace("\"plain\"", "\"plian\"");
    check(&mechanism, &[(15, 22, "bridges.libera.sasl.mechanism", Some("plain"), "one of `external`, `plain`")]);
    let files = GOOD.replace("port = 6697", "tls = { ca_fil = 'x' }");
    check(&files, &[(14, 9, "bridges.libera.tls.ca_fil", Some("ca_file"), "unknown key")]);
}

#[test]
fn values_that_their_types_refuse_are_all_reported() {
    let text = "[gateway]\nlisten = 'here'\npublic_url = 'ftp://x'\n[store]\nurl = 'mysql:x'\n[log]\nlevel = 'inof'\n";
    check(
        text,
        &[
            (2, 10, "gateway.listen", None, "127.0.0.1:8600"),
            (3, 14, "gateway.public_url", None, "http:// or https://"),
            (5, 7, "store.url", None, "must begin with sqlite: or postgres://"),
            (7, 9, "log.level", None, "did you mean `info`"),
        ],
    );
    let names = GOOD.replace("c4nary two", "c4nary2").replace("inboxes.support", "inboxes.Support");
    check(
        &names,
        &[
            (4, 10, "inboxes.Support", None, "1 to 40 of a-z"),
            (12, 9, "bridges.libera.inbox", Some("Support"), "no inbox `support`"),
        ],
    );
}

#[test]
fn an_unknown_kind_names_the_known_ones() {
    let text = GOOD.replace("\"irc\"", "\"ircc\"");
    let kind = (11, 8, "bridges.libera.kind", Some("irc"), "no bridge kind `ircc` (known: irc)");
    check(&text, &[kind]);
    let port = (14, 1, "bridges.libera.prot", Some("port"), "unknown key");
    check(&text.replace("port", "prot"), &[kind, port]);
    check("[bridges]\nlibera = 3\n", &[(2, 10, "bridges.libera", None, "must be a table")]);
}

#[test]
fn what_an_adapter_refuses_is_placed_in_its_table() {
    let good = GOOD.replace("c4nary two", "c4nary2");
    check(&good.replace("6697", "0"), &[(14, 8, "bridges.libera.port", None, "must not be 0")]);
    check(&good.replace("#acme", "acme"), &[(16, 22, "bridges.libera.channels.0.name", None, "begins with `#`")]);
    let without = good.replace("account = \"acme\", ", "");
    check(&without, &[(15, 1, "bridges.libera.sasl.account", None, "missing")]);
}

#[test]
fn names_used_twice_and_the_same_inbox_twice_are_refused() {
    check(
        "[gateway]\n[log]\nlevel = 'info'\nlevel = 'warn'\n[gateway]\n",
        &[(4, 1, "log.level", None, "is written twice, first in line 3"), (5, 2, "gateway", None, "is written twice")],
    );
    let twin = "\n[inboxes.twin]\nurl = 'http://rails:3000'\naccount_id = 1\ninbox_id = 7\napi_access_token = 'x'\n";
    let text = GOOD.replace("c4nary two", "c4nary2") + twin;
    check(&text, &[(21, 12, "inboxes.twin.inbox_id", None, "same inbox as `inboxes.support`")]);
}

#[test]
fn lines_may_end_as_on_windows() {
    check("[gateway]\r\nlisen = 1\r\n", &[(2, 1, "gateway.lisen", Some("listen"), "unknown key")]);
    let report = read("[gateway]\r\nstop_seconds = 0\r\n").map(drop).expect_err("0 is too short").report(false);
    assert!(report.contains("\n  2 | stop_seconds = 0\n"), "{report}");
}

#[test]
fn broken_toml_hides_no_mistake_elsewhere() {
    check(
        "[gateway]\nlisten = 127.0.0.1:1\nstop_secs = 3\n",
        &[(2, 15, "", None, "is no TOML"), (3, 1, "gateway.stop_secs", Some("stop_seconds"), "unknown key")],
    );
}

#[test]
fn variables_override_the_file_with_the_type_of_their_key() {
    let text = GOOD.replace("c4nary two", "c4nary2").replace("support", "my-desk");
    let variables = BTreeMap::from([
        ("DESKBRIDGE__INBOXES__MY_DESK__API_ACCESS_TOKEN", "0123"),
        ("DESKBRIDGE__INBOXES__MY_DESK__CONCURRENCY", "9"),
        ("DESKBRIDGE__INBOXES__MY_DESK__SEND_TEMPLATES", "FALSE"),
        ("deskbridge__log__level", "debug"),
        ("DESKBRIDGE__BRIDGES__LIBERA__TLS", "{ ca_file = '/x' }"),
        ("DESKBRIDGE__BRIDGES__LIBERA__CHANNELS", "[{ name = '#a' }, { name = '#b' }]"),
        ("DESKBRIDGE_CONFIG", "elsewhere.toml"),
        ("PATH", "/bin"),
    ]);
    let settings = read_with(&text, &variables).unwrap();
    let inbox = &settings.inboxes["my-desk"];
    assert_eq!(inbox.api_access_token.expose(), "0123", "a token of digits keeps its zero");
    assert_eq!((inbox.concurrency, inbox.send_templates), (9, false));
    assert_eq!(settings.log.level.as_str(), "debug");
}

#[test]
fn mistakes_in_variables_are_named_by_the_variable() {
    let cases = [
        ("DESKBRIDGE__GATEWAY__STOP_SECONDS", "soon", "gateway.stop_seconds: must be an integer, not a string"),
        ("DESKBRIDGE__GATEWAY__LISEN", "x", "gateway.lisen: unknown key; did you mean `listen`?"),
        ("DESKBRIDGE__GATWAY__LISTEN", "x", "gatway: unknown key; did you mean `gateway`?"),
        ("DESKBRIDGE__GATEWAY__LISTEN", "x", "gateway.listen: is no address with a port, such as 127.0.0.1:8600"),
        ("DESKBRIDGE__BRIDGES__LIBERA__KIND", "smpt", "bridges.libera.kind: no bridge kind `smpt` (known: irc)"),
        ("DESKBRIDGE__BRIDGES__LIBERA__PORT", "0", "bridges.libera.port: must not be 0"),
        ("DESKBRIDGE__BRIDGES__LIBERA__CHANNELS", "[{ nam = '#a' }, 1]", "bridges.libera.channels.0.name: is missing"),
        ("DESKBRIDGE__GATEWAY__A[99999999]", "x", "gateway.a[99999999]: names no key"),
        ("DESKBRIDGE__", "x", "names no key"),
        ("DESKBRIDGE__INBOXES__NEW__URL", "http://x", "inboxes.new.account_id: is missing"),
    ];
    let good = GOOD.replace("c4nary two", "c4nary2");
    for (name, text, expected) in cases {
        let faults = read_with(&good, &BTreeMap::from([(name, text)])).map(drop).expect_err(name);
        let found: Vec<String> = faults.iter().map(ToString::to_string).collect();
        assert!(found.contains(&format!("{name}: {expected}")), "{expected}\n{found:#?}");
    }
}

#[test]
fn a_secret_may_stand_in_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &[u8]| {
        let path = folder.path().join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let with = |path: &str| {
        let written = format!("api_access_token_file = '{path}'");
        read(&GOOD.replace("c4nary two", "c4nary2").replace("api_access_token = \"c4nary-one\"", &written))
    };
    let contents: [(&[u8], &str); 4] =
        [(b"one", "one"), (b"two\n", "two"), (b"three\r\n", "three"), (b" four\n\n", " four\n")];
    for (content, expected) in contents {
        let settings = with(&file("secret", content)).unwrap();
        assert_eq!(settings.inboxes["support"].api_access_token.expose(), expected);
    }
    let refused: [(String, &str); 4] = [
        (file("empty", b"\n"), "is empty"),
        (file("binary", b"\xff\xfe"), "UTF-8"),
        (file("huge", &vec![b'x'; 70_000]), "longer than 65536 bytes"),
        (folder.path().join("absent").display().to_string(), "cannot read"),
    ];
    for (path, expected) in refused {
        let report = with(&path).map(drop).expect_err(&path).report(false);
        assert!(report.starts_with("desk.toml:8:25: inboxes.support.api_access_token_file: "), "{report}");
        assert!(report.contains(expected), "{report}");
    }
}

#[test]
fn a_secret_and_its_file_at_once_are_refused() {
    let text = GOOD.replace("c4nary two", "c4nary2").replace("account_id", "api_access_token_file = '/x'\naccount_id");
    check(&text, &[(6, 1, "inboxes.support.api_access_token_file", None, "beside `api_access_token`")]);
}

#[test]
fn a_secret_of_an_adapter_may_stand_in_a_file_and_is_cut_out_of_its_complaint() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    fs::write(&path, "c4nary of a file").unwrap();
    let text = GOOD.replace("port = 6697", &format!("password_file = '{}'", path.display()));
    let faults = read(&text).map(drop).expect_err("the stub refuses a space");
    let report = faults.report(false);
    assert!(report.contains("desk.toml:14:17: bridges.libera.password: `***` is no password"), "{report}");
    assert!(!report.contains("c4nary"), "{report}");
}

#[test]
fn the_report_shows_the_line_with_a_caret_and_without_secrets() {
    let text = GOOD.replace("api_access_token", "api_tokn").replace("password =", "pasword =");
    let report = read(&text).map(drop).expect_err("two keys are misspelt").report(false);
    let lines: Vec<&str> = report.lines().map(str::trim_end).collect();
    assert!(
        lines.iter().any(|line| line.ends_with("sasl = { mechanism = \"plain\", account = \"acme\", pasword = *** }")),
        "{report}"
    );
    assert!(lines.iter().any(|line| line.ends_with("api_tokn = ***")), "{report}");
    assert!(lines.iter().any(|line| line.contains("^^^^^^^^")), "{report}");
    assert!(lines.contains(&"3 mistakes in the settings"), "{report}");
    assert!(!report.contains("c4nary"), "{report}");
}

#[test]
fn the_report_for_a_terminal_has_a_frame_and_no_secret() {
    let text = GOOD.replace("api_access_token", "api_tokn");
    let report = read(&text).map(drop).expect_err("a key is misspelt").report(true);
    assert!(report.contains("desk.toml:8:1") && report.contains("did you mean `api_access_token`?"), "{report}");
    assert!(!report.contains("c4nary"), "{report}");
}

#[test]
fn debug_output_of_the_settings_holds_no_secret() {
    let settings = read(&GOOD.replace("c4nary two", "c4nary2")).unwrap();
    assert!(!format!("{settings:?}").contains("c4nary"));
}

#[test]
fn a_short_secret_does_not_uncover_a_long_one() {
    let report = read(&GOOD.replace("c4nary-one", " ")).map(drop).expect_err("the stub refuses a space").report(false);
    assert!(!report.contains("c4nary"), "{report}");
}

#[test]
fn a_key_cannot_drive_the_terminal() {
    for text in [
        "\"\\u001b[31m\" = 1\n",
        "\0 = 1\n\0 = 1\n",
        "[inboxes.\"\\u007fsupport\"]\n[bridges.b]\nkind = \"irc\"\ninbox = \"support\"\n",
    ] {
        let report = read(text).map(drop).expect_err(text).report(false);
        assert!(!report.contains(|c: char| c.is_control() && c != '\n'), "{report:?}");
    }
}

/// Whether a tear has made a secret the name of a key, as in `passwordc4nary = 1`: keys are shown.
fn a_secret_became_a_key(text: &str) -> bool {
    let is_bare = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
    text.match_indices("c4nary").any(|(at, _)| {
        let before = text[..at].trim_end_matches(is_bare);
        let after = text[at..].trim_start_matches(is_bare).trim_start_matches([' ', '.']);
        !before.ends_with(['"', '\'']) && after.starts_with(['=', ']'])
    })
}

proptest! {
    /// However a file is torn, a secret in it is not shown. What is cut out is no part of the secrets.
    #[test]
    fn no_report_shows_a_secret(cuts in prop::collection::vec((0usize..500, 1usize..12), 1..4), extra in "[\"'\\[\\]={}\n #]{0,3}", at in 0usize..500) {
        let mut text: Vec<char> = GOOD.chars().collect();
        for (start, length) in cuts {
            let start = start % text.len();
            let end = (start + length).min(text.len());
            text.drain(start..end);
        }
        let at = at % text.len();
        text.splice(at..at, extra.chars());
        let text: String = text.into_iter().collect();
        prop_assume!(!a_secret_became_a_key(&text));
        if let Err(faults) = read(&text) {
            for terminal in [true, false] {
                let report = faults.report(terminal);
                prop_assert!(!report.contains("c4nary"), "{text}\n{report}");
            }
        }
    }

    /// Any text at all is settings or faults, never a panic.
    #[test]
    fn any_text_is_read_without_a_panic(text in "[a-z\\[\\].={}\"'#\\r\\n\u{fc}\u{1F600} 0-9]{0,80}") {
        if let Err(faults) = read(&text) {
            prop_assert!(!faults.report(true).is_empty() && !faults.report(false).is_empty());
        }
    }
}
