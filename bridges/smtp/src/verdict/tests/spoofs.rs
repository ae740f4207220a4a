//! No forgery is ever called verified.

use super::*;

/// Ways to write as somebody else, for one who has a domain, a key and a server of his own.
fn usual(from: &str) -> Vec<(&'static str, Case)> {
    let domain = from.rsplit_once('@').unwrap().1;
    let selector = "k".repeat(70);
    vec![
        ("as it is", Case::of(from)),
        ("an envelope of his own", Case::of(from).by(EVIL, "x@evil.test")),
        ("a signature of his own", Case::of(from).by(EVIL, "x@evil.test").signed("evil.test", FORGER)),
        ("his key, their name", Case::of(from).signed(domain, FORGER)),
        ("their name in front of his", Case::of(from).signed("strict.test.evil.test", FORGER)),
        ("a selector that no DNS holds", Case::of(from).signed_over(domain, &selector, FORGER, &["From"])),
        ("their words changed", Case::of(from).signed(domain, HONEST).changed("Hello", "Pay here")),
        (
            "their author changed",
            Case::of(from)
                .signed(domain, HONEST)
                .changed("From: ", "From: the boss <")
                .changed("\r\nTo:", ">\r\nTo:")
                .changed("the boss <", "the boss <x"),
        ),
    ]
}

/// Where it is not clear whose word the mail is.
fn authors() -> Vec<(&'static str, Case)> {
    let strict = || Case::of("ada@strict.test");
    vec![
        (
            "two From fields, his signed",
            strict()
                .above("From: x@evil.test\r\n")
                .read_as(&["ada@strict.test", "x@evil.test"], 2)
                .signed("evil.test", FORGER),
        ),
        (
            "two From fields, theirs signed",
            strict()
                .signed("strict.test", HONEST)
                .above("From: x@evil.test\r\n")
                .read_as(&["x@evil.test", "ada@strict.test"], 2),
        ),
        (
            "two From fields, one was overlooked",
            strict().signed("strict.test", HONEST).above("From: x@evil.test\r\n").read_as(&["ada@strict.test"], 1),
        ),
        (
            "a second From with a space",
            strict().signed("strict.test", HONEST).above("From : x@evil.test\r\n").read_as(&["ada@strict.test"], 1),
        ),
        (
            "two authors",
            strict()
                .changed("ada@strict.test", "ada@strict.test, x@evil.test")
                .read_as(&["ada@strict.test", "x@evil.test"], 1)
                .signed("evil.test", FORGER),
        ),
        (
            "two authors, turned round",
            strict()
                .changed("ada@strict.test", "x@evil.test, ada@strict.test")
                .read_as(&["x@evil.test", "ada@strict.test"], 1)
                .signed("evil.test", FORGER),
        ),
        (
            "an author within an author",
            strict().changed("ada@strict.test", "ada@strict.test <x@evil.test>").signed("evil.test", FORGER),
        ),
        (
            "an author in a comment",
            strict().changed("ada@strict.test", "x@evil.test (ada@strict.test)").signed("evil.test", FORGER),
        ),
        ("a group", strict().changed("ada@strict.test", "ada@strict.test: x@evil.test;").signed("evil.test", FORGER)),
        (
            "no address",
            strict().changed("ada@strict.test", "undisclosed:;").read_as(&[], 1).signed("evil.test", FORGER),
        ),
        ("no From", strict().changed("From: ada@strict.test\r\n", "").read_as(&[], 0)),
        ("theirs, a Sender of his", strict().above("Sender: x@evil.test\r\n").signed("evil.test", FORGER)),
    ]
}

/// Signatures that look like proofs.
fn signatures() -> Vec<(&'static str, Case)> {
    let strict = || Case::of("ada@strict.test");
    vec![
        (
            "a signature that leaves From out",
            Case::of("ada@plain.test").signed_over("plain.test", "k", HONEST, &["Subject", "Date"]),
        ),
        ("one below where strictness is asked", Case::of("ada@exact.test").signed("mail.exact.test", HONEST)),
        ("a server of one below, strict", Case::of("ada@exact.test").by(GOOD, "x@mail.exact.test")),
        ("one below without a rule", Case::of("ada@plain.test").signed("mail.plain.test", HONEST)),
        ("a top-level domain", Case::of("ada@plain.test").signed("test", FORGER)),
        ("a key that was taken back", strict().signed_over("strict.test", "gone", HONEST, &["From"])),
        ("a key of 768 bits", strict().above(foreign_hands::WEAK)),
        ("a SHA-1 signature", strict().above(foreign_hands::SHA1)),
        (
            "a signature over a part of the body",
            strict().signed_in_part("strict.test", HONEST).changed("Hello", "Hello, pay here"),
        ),
        ("null sender, their name as client", strict().by(EVIL, "").helo("strict.test")),
    ]
}

/// Names and servers that look like proofs.
fn servers() -> Vec<(&'static str, Case)> {
    let strict = || Case::of("ada@strict.test");
    let results = "Authentication-Results: mx.acme.test; dmarc=pass header.from=strict.test\r\n";
    vec![
        ("null sender, his name as client", strict().by(EVIL, "").helo("evil.test")),
        ("their envelope, his server", strict().by(EVIL, "ada@strict.test")),
        ("results that he wrote", strict().above(results)),
        ("a look-alike's server", strict().by(EVIL, "ada@strlct.test").signed("strlct.test", FORGER)),
        ("a domain that is not there", Case::of("ada@nobody.test").by(EVIL, "x@evil.test")),
        ("one below that is not there", Case::of("ada@no.such.strict.test").signed("evil.test", FORGER)),
        ("an end that only looks like theirs", Case::of("ada@strict.test").signed("notstrict.test", FORGER)),
        ("slow names of others", strict().by(EVIL, "x@slow.test").signed("slow.test", FORGER)),
    ]
}

#[tokio::test(start_paused = true)]
async fn no_forged_mail_is_verified() {
    let court = Court::new().await;
    let mut cases = [authors(), signatures(), servers()].concat();
    for from in ["ada@strict.test", "ada@careful.test", "ada@monitor.test", "ada@exact.test", "ada@plain.test"] {
        cases.extend(usual(from));
    }
    assert!(cases.len() >= 40);
    for (name, case) in cases {
        let verdict = court.judge(&case).await;
        // Nor may a forger pass for somebody whose DNS is in trouble.
        assert!(!verdict.retry, "{name}: {verdict:?}");
        assert!(verdict.level <= Level::Unverified, "{name}: {verdict:?}\n{}", case.raw);
    }
}

#[tokio::test]
async fn a_look_alike_is_proved_as_what_it_is() {
    let court = Court::new().await;
    let verdict = court.judge(&Case::of("ada@strlct.test").signed("strlct.test", FORGER)).await;
    assert_eq!((verdict.level, verdict.domain.as_deref()), (Level::Verified, Some("strlct.test")));
}

#[tokio::test(start_paused = true)]
async fn slow_names_of_a_forger_do_not_hide_what_the_domain_says() {
    // He answers nothing, over and over, so that time runs out before the rule of the forged domain is read.
    let court = Court::new().await;
    let mut case = Case::of("ada@strict.test").by(EVIL, "x@slow.test");
    for _ in 0..20 {
        case = case.signed("slow.test", FORGER);
    }
    let verdict = court.judge(&case).await;
    assert_eq!((verdict.level, verdict.spf, verdict.dkim), (Level::Failed, Outcome::Temperror, Outcome::Temperror));
}
