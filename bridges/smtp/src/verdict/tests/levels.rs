//! Honest mail is proved as far as it can be, and what cannot be proved is not.

use std::{pin::pin, time::Duration};

use tokio::time::timeout;

use super::{
    Outcome::{None, Pass},
    *,
};
use crate::verdict::dns::BUDGET;

/// A mail, and what is found out about it: the level, SPF, DKIM and DMARC, and the rule of its domain.
type Judged = (&'static str, Case, Level, (Outcome, Outcome, Outcome), Policy);

fn honest_at_first() -> Vec<Judged> {
    vec![
        (
            "signed",
            Case::of("ada@strict.test").signed("strict.test", HONEST),
            Level::Verified,
            (None, Pass, Pass),
            Policy::Reject,
        ),
        (
            "sent by its server",
            Case::of("ada@strict.test").by(GOOD, "ada@strict.test"),
            Level::Verified,
            (Pass, None, Pass),
            Policy::Reject,
        ),
        (
            "by another's hand",
            Case::of("ada@strict.test").above(foreign_hands::OK),
            Level::Verified,
            (None, Pass, Pass),
            Policy::Reject,
        ),
        (
            "signed by the domain above",
            Case::of("ada@mail.strict.test").signed("strict.test", HONEST),
            Level::Verified,
            (None, Pass, Pass),
            Policy::Reject,
        ),
        (
            "signed by one below",
            Case::of("ada@strict.test").signed("mail.strict.test", HONEST),
            Level::Verified,
            (None, Pass, Pass),
            Policy::Reject,
        ),
        (
            "sent for one below",
            Case::of("ada@careful.test").by(GOOD, "x@careful.test"),
            Level::Verified,
            (Pass, None, Pass),
            Policy::Quarantine,
        ),
        (
            "a rule that asks for nothing",
            Case::of("ada@monitor.test").signed("monitor.test", HONEST),
            Level::Verified,
            (None, Pass, Pass),
            Policy::None,
        ),
        (
            "its server, written as IPv6",
            Case::of("ada@plain.test").by("::ffff:192.0.2.1", "ada@plain.test"),
            Level::Weak,
            (Pass, None, None),
            Policy::None,
        ),
    ]
}

fn honest_otherwise() -> Vec<Judged> {
    vec![
        (
            "strictly itself",
            Case::of("ada@exact.test").signed("exact.test", HONEST),
            Level::Verified,
            (None, Pass, Pass),
            Policy::Reject,
        ),
        (
            "signed without a rule",
            Case::of("ada@plain.test").signed("plain.test", HONEST),
            Level::Verified,
            (None, Pass, None),
            Policy::None,
        ),
        (
            "signed from above without a rule",
            Case::of("ada@mail.plain.test").signed("plain.test", HONEST),
            Level::Verified,
            (None, Pass, None),
            Policy::None,
        ),
        (
            "its server, without a rule",
            Case::of("ada@plain.test").by(GOOD, "ada@plain.test"),
            Level::Weak,
            (Pass, None, None),
            Policy::None,
        ),
        (
            "the name of its server, no sender",
            Case::of("ada@plain.test").by(GOOD, "").helo("plain.test"),
            Level::Weak,
            (Pass, None, None),
            Policy::None,
        ),
        (
            "no sender, and a rule",
            Case::of("ada@strict.test").by(GOOD, "").helo("mail.strict.test"),
            Level::Verified,
            (Pass, None, Pass),
            Policy::Reject,
        ),
        (
            "two authors of one domain",
            Case::of("ada@strict.test")
                .changed("ada@strict.test", "ada@strict.test, bob@strict.test")
                .read_as(&["ada@strict.test", "bob@strict.test"], 1)
                .signed("strict.test", HONEST),
            Level::Verified,
            (None, Pass, Pass),
            Policy::Reject,
        ),
    ]
}

#[tokio::test]
async fn honest_mail_is_proved_as_far_as_it_can_be() {
    let court = Court::new().await;
    for (name, case, level, (spf, dkim, dmarc), policy) in honest_at_first().into_iter().chain(honest_otherwise()) {
        let verdict = court.judge(&case).await;
        assert_eq!(verdict.level, level, "{name}: {verdict:?}");
        assert_eq!((verdict.spf, verdict.dkim, verdict.dmarc), (spf, dkim, dmarc), "{name}");
        assert_eq!(verdict.dmarc_policy, policy, "{name}");
        assert!(!verdict.retry, "{name}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_fails_falls_as_far_as_its_domain_asks() {
    let court = Court::new().await;
    for (from, level, policy) in [
        ("ada@strict.test", Level::Failed, Policy::Reject),
        ("ada@careful.test", Level::Failed, Policy::Quarantine),
        ("ada@monitor.test", Level::Unverified, Policy::None),
        ("ada@plain.test", Level::Unverified, Policy::None),
        ("ada@nothing.test", Level::Unverified, Policy::None),
    ] {
        for case in [
            Case::of(from),
            Case::of(from).by(EVIL, "x@evil.test").signed("evil.test", FORGER),
            Case::of(from).signed("slow.test", FORGER),
        ] {
            let verdict = court.judge(&case).await;
            assert_eq!((verdict.level, verdict.dmarc_policy, verdict.retry), (level, policy, false), "{verdict:?}");
        }
    }
}

#[tokio::test]
async fn a_changed_body_is_shown_and_proves_nothing() {
    let court = Court::new().await;
    let case = Case::of("ada@strict.test").signed("strict.test", HONEST).changed("Hello", "Pay here");
    let verdict = court.judge(&case).await;
    assert_eq!((verdict.level, verdict.dkim, verdict.dmarc), (Level::Failed, Outcome::Neutral, Outcome::Fail));
}

#[tokio::test]
async fn trouble_with_dns_is_no_proof_and_no_guilt() {
    let court = Court::new().await;
    for (name, case) in [
        ("its rule cannot be read", Case::of("ada@fails.test")),
        ("its key cannot be read", Case::of("ada@half.test").signed("half.test", HONEST)),
    ] {
        let verdict = court.judge(&case).await;
        assert_eq!((verdict.level, verdict.retry), (Level::Unverified, true), "{name}: {verdict:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dead_dns_costs_no_more_than_the_budget() {
    let selectors: Vec<String> = (0..10).map(|n| format!("s{n}")).collect();
    let keys = selectors.iter().map(|selector| format!("{selector}._domainkey.strict.test"));
    let names = keys.chain(["strict.test".to_owned(), "_dmarc.strict.test".to_owned()]);
    let court = Court::with("", names.map(|name| (name, Record::Silent)).collect()).await;
    let mut case = Case::of("ada@strict.test").by(GOOD, "ada@strict.test");
    for selector in &selectors {
        case = case.signed_over("strict.test", selector, HONEST, &["From"]);
    }
    // The clock of this test goes on only when everybody waits: the budget ends the questions, neither sooner nor later.
    let mut judging = pin!(court.judge(&case));
    assert!(
        timeout(BUDGET.saturating_sub(Duration::from_millis(1)), &mut judging).await.is_err(),
        "ten keys take longer"
    );
    let verdict = timeout(Duration::from_millis(2), judging).await.expect("no question goes beyond the budget");
    assert_eq!((verdict.level, verdict.dmarc, verdict.retry), (Level::Unverified, Outcome::Temperror, true));
}

#[tokio::test]
async fn the_address_of_a_server_in_front_proves_nothing() {
    let court = Court::with(r#", "trusted_clients": ["192.0.2.1"]"#, table()).await;
    let case = Case::of("ada@plain.test").by(GOOD, "ada@plain.test");
    let verdict = court.judge(&case).await;
    assert_eq!((verdict.level, verdict.spf), (Level::Unverified, Outcome::None));
    let signed = court.judge(&case.signed("plain.test", HONEST)).await;
    assert_eq!(signed.level, Level::Verified);

    let court = Court::new().await;
    let by_lmtp = Case { protocol: "LMTP", ..Case::of("ada@plain.test").by(GOOD, "ada@plain.test") };
    assert_eq!(court.judge(&by_lmtp).await.level, Level::Unverified);
}

#[tokio::test]
async fn a_sealed_chain_is_shown_and_lifts_nothing() {
    use mail_auth::{AuthenticatedMessage, AuthenticationResults, arc::ArcSealer};
    let court = Court::new().await;
    let case = Case::of("ada@strict.test").signed("strict.test", HONEST).changed("Hello", "[list] Hello");
    let results = AuthenticationResults::new("evil.test");
    let message = AuthenticatedMessage::parse(case.raw.as_bytes()).unwrap();
    let sealer = ArcSealer::from_key(key(FORGER).0).domain("evil.test").selector("k").headers([
        "From",
        "Subject",
        "DKIM-Signature",
    ]);
    let set = sealer.seal(&message, &results, &mail_auth::ArcOutput::default()).unwrap().to_header();
    let verdict = court.judge(&case.clone().above(&set)).await;
    assert_eq!((verdict.level, verdict.arc), (Level::Failed, Outcome::Pass), "{verdict:?}");
    let broken = court.judge(&case.above(&set).changed("[list]", "[other]")).await;
    assert_ne!(broken.arc, Outcome::Pass);
}

#[tokio::test]
async fn proofs_can_be_switched_off_or_left_to_the_relay() {
    let case = Case::of("ada@strict.test").signed("strict.test", HONEST);
    let judge = |text| Judge::new(&settings(text)).unwrap();
    let ask = async |judge: &Judge, case: &Case| {
        let read = judge.case(case.raw.as_bytes(), &case.envelope(), &case.from, case.from_fields);
        judge.judge(&read, &case.envelope(), &case.from).await
    };
    let off = ask(&judge(r#""verify": "off""#), &case).await;
    assert_eq!((off.level, off.retry), (Level::Unverified, false));
    assert!(off.reason.contains("off"));
    let relay =
        judge(r#""verify": "relay", "trusted_authserv_ids": ["mx.acme.test"], "trusted_clients": ["203.0.113.9"]"#);
    assert_eq!(ask(&relay, &case).await.level, Level::Unverified);
    let received = "Received: from a by mx.acme.test; Mon, 1 Jan 2024 00:00:00 +0000\r\n";
    let said =
        case.above("Authentication-Results: mx.acme.test; dmarc=pass header.from=strict.test\r\n").above(received);
    assert_eq!(ask(&relay, &said).await.level, Level::Verified);
    assert_eq!(ask(&relay, &said.read_as(&["ada@strict.test"], 2)).await.level, Level::Unverified);
}

#[test]
fn facts_are_words() {
    let verdict = Verdict { spf: Outcome::Softfail, ..Verdict::unverified(Option::None, "x") };
    let facts = verdict.facts();
    let words: Vec<_> = facts.iter().map(|(name, word)| (name.as_str(), word.as_str())).collect();
    assert_eq!(
        words,
        [
            ("mail_arc", "none"),
            ("mail_auth", "unverified"),
            ("mail_dkim", "none"),
            ("mail_dmarc", "none"),
            ("mail_spf", "softfail")
        ]
    );
    assert_eq!(verdict.contact_facts()["mail_auth"], "unverified");
    // What is remembered of a verdict.
    let text = serde_json::to_string(&verdict.level).unwrap();
    assert_eq!((text.as_str(), serde_json::from_str(&text).ok()), ("\"unverified\"", Some(verdict.level)));
}
