//! A look at scripted servers: each thing that can be wrong is named in one line.

use std::{net::Ipv4Addr, time::Duration};

use bridge_api::{BridgeName, Examination, Findings, Kind, Verdict, kit::look};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use super::{Limits, examine};
use crate::{Irc, settings::Settings};

mod tls;

const PATIENCE: Duration = Duration::from_secs(30);

/// Longer than a busy machine needs, but for a server that says nothing.
const PATIENT: Limits = Limits {
    resolve: PATIENCE,
    connect: PATIENCE,
    handshake: PATIENCE,
    registration: PATIENCE,
    sts: PATIENCE,
    questions: PATIENCE,
    goodbye: Duration::from_secs(1),
};

const WELCOME: &str = ":irc.test 001 help :Welcome help!~help@host.test\n:irc.test 005 help CASEMAPPING=ascii \
                       CHANMODES=b,k,l,imnrstR NETWORK=Test :are supported\n:irc.test 422 help :no motd";
const EVERYTHING: &str = ":irc.test CAP * LS :sasl=PLAIN echo-message labeled-response batch draft/chathistory \
                          account-tag server-time";

/// What the server says to a line that begins so. The first rule that fits is the one.
type Rules<'a> = &'a [(&'a str, &'a str)];

/// Serves one connection to its end; what it was told.
async fn serve(stream: TcpStream, rules: Rules<'_>) -> Vec<String> {
    let (mut stream, mut told) = (BufReader::new(stream), Vec::new());
    let mut line = String::new();
    while stream.read_line(&mut line).await.is_ok_and(|read| read > 0) {
        let text = std::mem::take(&mut line).trim_end().to_owned();
        let words = rules.iter().find(|(begin, _)| text.starts_with(begin)).map(|(_, words)| *words);
        told.push(text);
        for words in words.iter().flat_map(|words| words.lines()) {
            if words == "CLOSE" {
                return told;
            }
            let line = format!("{words}\r\n");
            if stream.write_all(line.as_bytes()).await.is_err() {
                return told;
            }
        }
    }
    told
}

struct Seen {
    seen: look::Seen,
    told: Vec<String>,
}

impl std::ops::Deref for Seen {
    type Target = look::Seen;
    fn deref(&self) -> &look::Seen {
        &self.seen
    }
}

fn settings(port: u16, more: &Value) -> Settings {
    let mut table = json!({ "server": "127.0.0.1", "port": port, "tls": false, "nick": "help" });
    for (key, value) in more.as_object().expect("a table") {
        table[key] = value.clone();
    }
    let settings: Settings = serde_json::from_value(table).expect("good settings");
    settings.check().expect("usable settings");
    settings
}

async fn visit(more: Value, at_work: bool, rules: Rules<'_>) -> Seen {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let settings = settings(listener.local_addr().expect("bound").port(), &more);
    let findings = Findings::default();
    let server = async { serve(listener.accept().await.expect("a connection").0, rules).await };
    let looking = examine(&settings, Examination::new(at_work), PATIENT, &findings);
    let both = timeout(PATIENCE, async { tokio::join!(server, looking) }).await;
    let (told, ()) = both.unwrap_or_else(|_| panic!("no end: {:#?}", findings.take()));
    let findings = findings.take();
    findings.iter().for_each(look::well_formed);
    Seen { seen: look::Seen(findings), told }
}

fn sasl() -> Value {
    json!({ "sasl": { "mechanism": "plain", "account": "help", "password": "sesame" } })
}

#[tokio::test]
async fn where_all_is_well_each_check_is_fine_and_nobody_is_spoken_to() {
    let more = json!({ "sasl": sasl()["sasl"], "channels": [{ "name": "#help" }] });
    let seen = visit(
        more,
        false,
        &[
            ("CAP LS", EVERYTHING),
            ("CAP REQ", ":irc.test CAP * ACK :sasl"),
            ("AUTHENTICATE PLAIN", "AUTHENTICATE +"),
            ("AUTHENTICATE", ":irc.test 900 * * help :in\n:irc.test 903 * :done"),
            ("CAP END", WELCOME),
            ("MODE #help +b", ":irc.test 367 help #help *!*@other :x\n:irc.test 368 help #help :end"),
            ("MODE #help", ":irc.test 324 help #help +nt"),
            ("QUIT", "ERROR :bye\nCLOSE"),
        ],
    )
    .await;
    assert!(seen.seen.0.iter().all(|finding| finding.verdict == Verdict::Fine), "{:#?}", seen.seen.0);
    seen.holds("log in to the account \"help\"", Verdict::Fine, &["logged in"]);
    seen.holds("take the nick help", Verdict::Fine, &["free"]);
    seen.holds("see whether #help", Verdict::Fine, &["+nt"]);
    let verbs: Vec<&str> = seen.told.iter().filter_map(|line| line.split(' ').next()).collect();
    assert!(verbs.iter().all(|verb| !["JOIN", "PRIVMSG", "NOTICE"].contains(verb)), "{verbs:?}");
    assert_eq!(verbs.last(), Some(&"QUIT"));
}

#[tokio::test]
async fn a_log_in_that_is_refused_names_the_account_and_shows_no_password() {
    let seen = visit(
        sasl(),
        false,
        &[
            ("CAP LS", EVERYTHING),
            ("CAP REQ", ":irc.test CAP * ACK :sasl"),
            ("AUTHENTICATE PLAIN", "AUTHENTICATE +"),
            ("AUTHENTICATE", ":irc.test 904 * :no\x02 such\u{202e} thing"),
            ("CAP END", WELCOME),
            ("QUIT", "CLOSE"),
        ],
    )
    .await;
    let words = ["904", "\\u{202e}", "`sasl.password`", "no account \"help\"", "`sasl.account`"];
    seen.holds("log in to the account \"help\"", Verdict::Failed, &words);
    seen.holds("register", Verdict::Fine, &["\"Test\""]);
    assert!(!format!("{:?}", seen.seen.0).contains("sesame"));
}

#[tokio::test]
async fn services_that_are_away_and_mechanisms_that_are_not_offered_are_told_apart() {
    for (offer, sasl_more, verdict, word) in [
        ("batch", json!({}), Verdict::Failed, "offers no SASL now"),
        ("batch", json!({ "required": false }), Verdict::Warning, "goes on without the account"),
        ("sasl=EXTERNAL", json!({}), Verdict::Failed, "\"EXTERNAL\""),
    ] {
        let mut more = sasl();
        for (key, value) in sasl_more.as_object().expect("a table") {
            more["sasl"][key] = value.clone();
        }
        let offered = format!(":irc.test CAP * LS :{offer}");
        let rules = [("CAP LS", offered.as_str()), ("CAP END", WELCOME), ("QUIT", "CLOSE")];
        visit(more, false, &rules).await.holds("log in", verdict, &[word]);
    }
    let refused =
        [("CAP LS", EVERYTHING), ("CAP REQ", ":irc.test CAP * NAK :sasl"), ("CAP END", WELCOME), ("QUIT", "CLOSE")];
    visit(sasl(), false, &refused).await.holds("log in", Verdict::Failed, &["names SASL and refuses it"]);
    let old = [("CAP LS", ":irc.test 421 * CAP :unknown command"), ("USER", WELCOME), ("QUIT", "CLOSE")];
    visit(sasl(), false, &old).await.holds("log in", Verdict::Failed, &["knows no capabilities"]);
}

#[tokio::test]
async fn a_nick_that_is_taken_is_told_with_its_holder() {
    let rules = |whois| {
        [
            ("CAP LS", EVERYTHING),
            ("NICK help_", ""),
            ("NICK help", ":irc.test 433 * help :in use"),
            ("CAP END", WELCOME),
            ("WHOIS help", whois),
            ("QUIT", "CLOSE"),
        ]
    };
    let other =
        ":irc.test 311 x help eve evil.test * :Eve\u{202e}\n:irc.test 330 x help eve :is\n:irc.test 318 x help :";
    let seen = visit(json!({}), false, &rules(other)).await;
    seen.holds(
        "take the nick help",
        Verdict::Failed,
        &["eve@evil.test", "Eve\\u{202e}", "logged in as \"eve\"", "`sasl`"],
    );
    let ours = ":irc.test 311 x help ~help host.test * :deskbridge\n:irc.test 318 x help :";
    let seen = visit(json!({}), false, &rules(ours)).await;
    seen.holds("take the nick help", Verdict::Failed, &["looks like this gateway", "stop the other gateway"]);
    let gone = ":irc.test 401 x help :no such nick\n:irc.test 318 x help :";
    let seen = visit(json!({ "nick_fallback": "help2" }), false, &rules(gone)).await;
    seen.holds("take the nick help", Verdict::Warning, &["433", "nick_fallback"]);
}

#[tokio::test]
async fn beside_a_running_gateway_the_nick_is_left_alone_and_no_channel_asked_about() {
    for (whois, verdict, word) in [
        (":irc.test 311 x help help h * :deskbridge\n:irc.test 318 x help :", Verdict::Fine, "running gateway"),
        (":irc.test 311 x help eve h * :Eve\n:irc.test 318 x help :", Verdict::Warning, "somebody else"),
        (":irc.test 318 x help :", Verdict::Failed, "nobody holds it"),
    ] {
        let rules = [("CAP LS", EVERYTHING), ("CAP END", WELCOME), ("WHOIS help", whois), ("QUIT", "CLOSE")];
        let seen = visit(json!({ "channels": [{ "name": "#help" }] }), true, &rules).await;
        seen.holds("see who holds the nick", verdict, &[word]);
        seen.holds("see whether #help", Verdict::Skipped, &["running gateway"]);
        assert!(!seen.told.contains(&"NICK help".to_owned()), "{:?}", seen.told);
        assert!(seen.told.iter().all(|line| !line.starts_with("MODE")), "{:?}", seen.told);
    }
}

#[tokio::test]
async fn what_a_channel_has_against_us_is_told() {
    let cases = [
        ("+nti", "", json!({}), "invite-only"),
        ("+ntk", "", json!({}), "`key`"),
        ("+ntR", "", json!({}), "logged in"),
        ("+nt", ":irc.test 367 help #help *!*@*.test x 1\n", json!({}), "\"*!*@*.test\""),
    ];
    for (modes, bans, more, word) in cases {
        let (modes, bans) = (format!(":irc.test 324 help #help {modes}"), format!("{bans}:irc.test 368 help #help :"));
        let mut table = json!({ "channels": [{ "name": "#help" }] });
        if let Some(key) = more.get("key") {
            table["channels"][0]["key"] = key.clone();
        }
        let rules = [
            ("CAP LS", EVERYTHING),
            ("CAP END", WELCOME),
            ("MODE #help +b", bans.as_str()),
            ("MODE #help", modes.as_str()),
            ("QUIT", "CLOSE"),
        ];
        visit(table, false, &rules).await.holds("see whether #help", Verdict::Failed, &[word]);
    }
    for (answer, verdict, word) in [
        (":irc.test 403 help #help :no such channel", Verdict::Warning, "no such channel"),
        (":irc.test 442 help #help :you are not in it", Verdict::Skipped, "from outside"),
    ] {
        let rules = [("CAP LS", EVERYTHING), ("CAP END", WELCOME), ("MODE #help", answer), ("QUIT", "CLOSE")];
        let table = json!({ "channels": [{ "name": "#help" }] });
        visit(table, false, &rules).await.holds("see whether #help", verdict, &[word]);
    }
}

#[tokio::test]
async fn what_the_server_cannot_do_is_one_line_with_what_follows() {
    let rules = [
        ("CAP LS", ":irc.test CAP * LS * :batch\n:irc.test CAP * LS :server-time"),
        ("CAP END", WELCOME),
        ("QUIT", "CLOSE"),
    ];
    let seen = visit(json!({}), false, &rules).await;
    let words = ["echo-message", "PONG", "chathistory", "disconnected is lost", "account-tag"];
    seen.holds("see what the server can do", Verdict::Warning, &words);
    assert!(!seen.of("see what the server can do").found.contains("server-time"));
}

#[tokio::test]
async fn a_server_that_will_not_have_us_is_quoted() {
    for (answer, words) in [
        (":irc.test 464 * :Password incorrect", &["464", "`password`"][..]),
        (":irc.test 465 * :You are banned: K-lined", &["465", "K-lined", "banned"]),
        ("ERROR :Closing link: too many connections\nCLOSE", &["too many connections"]),
        ("CLOSE", &["closed the connection"]),
        (
            ":irc.test 432 * help :Erroneous\n:irc.test 432 * help :Erroneous\n:irc.test 432 * x :E\n:irc.test 432 * x :E",
            &["no nick is taken"],
        ),
    ] {
        let rules = [("CAP LS", EVERYTHING), ("CAP END", answer)];
        visit(json!({}), false, &rules).await.holds("register", Verdict::Failed, words);
    }
}

#[tokio::test]
async fn a_server_that_says_nothing_is_left_in_time() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let settings = settings(listener.local_addr().expect("bound").port(), &json!({}));
    let findings = Findings::default();
    let hasty = Limits { registration: Duration::from_millis(300), ..PATIENT };
    let looking = examine(&settings, Examination::new(false), hasty, &findings);
    timeout(PATIENCE, looking).await.expect("it returns");
    let last = findings.take().pop().expect("a finding");
    assert_eq!(last.verdict, Verdict::Failed);
    assert!(last.found.contains("no answer"), "{last:?}");
}

#[tokio::test]
async fn what_does_not_resolve_and_where_nobody_listens_are_told_apart() {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    drop(listener);
    for (server, tried, word) in [("127.0.0.1", "connect to", "refused"), ("irc.invalid", "find the address", "DNS")] {
        let (settings, findings) = (settings(port, &json!({ "server": server })), Findings::default());
        examine(&settings, Examination::new(false), PATIENT, &findings).await;
        let seen = Seen { seen: look::Seen(findings.take()), told: Vec::new() };
        seen.holds(tried, Verdict::Failed, &[word]);
        assert_eq!(seen.seen.0.last().map(|finding| finding.verdict), Some(Verdict::Failed));
    }
}

#[tokio::test]
async fn nobody_there_and_nobody_who_answers_are_failures_in_time() {
    let build = |address: std::net::SocketAddr| {
        Irc::build(BridgeName::from("net"), settings(address.port(), &json!({}))).expect("usable settings")
    };
    look::at_nothing(build).await;
    look::at_silence(build).await;
}
