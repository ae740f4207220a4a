//! What DNS says of our names, by a small DNS of our own.

use std::net::Ipv4Addr;

use base64::{Engine as _, engine::general_purpose::STANDARD};

use super::*;
use crate::{
    compose::public_key,
    examine::records,
    verdict::tests::names::{Names, Record},
};

fn signing() -> Value {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/src/compose/testdata/dkim.pem");
    json!({ "domain": "acme.test", "selector": "desk", "key_file": file })
}

/// Asks about `acme.test`.
async fn look(table: &[(&str, Record)], more: &Value) -> Seen {
    let names = Names::new(table.iter().map(|(name, record)| ((*name).to_owned(), record.clone())).collect()).await;
    let mut with_dns = json!({ "dns_servers": [names.address().to_string()] });
    for (key, value) in more.as_object().unwrap() {
        with_dns[key] = value.clone();
    }
    let settings = settings(&with_dns);
    tokio::select! {
        seen = part(&settings, async |look| records::look(look).await) => seen,
        () = names.serve() => unreachable!("it serves for ever"),
    }
}

fn txt(text: &str) -> Record {
    Record::Txt(text.to_owned())
}

const HERE: Record = Record::A(Ipv4Addr::new(192, 0, 2, 1));
const ANSWERS_COME: &str = "see where mail for acme.test goes";
const SPF: &str = "see who may send for acme.test";
const DMARC: &str = "see what acme.test asks receivers";
const DKIM: &str = "find our DKIM key at desk._domainkey.acme.test";

#[tokio::test]
async fn a_domain_that_has_everything_is_fine() {
    let key = public_key(&serde_json::from_value(signing()).unwrap()).unwrap();
    let table = [
        ("mx.acme.test", HERE),
        ("acme.test", Record::Mx("mx.acme.test")),
        ("acme.test", txt("v=spf1 ip4:192.0.2.1 -all")),
        ("acme.test", txt("something else")),
        ("_dmarc.acme.test", txt("v=DMARC1; p=reject")),
        ("desk._domainkey.acme.test", txt(&format!("v=DKIM1; k=rsa; p={}", STANDARD.encode(&key)))),
    ];
    let seen = look(&table, &json!({ "dkim": signing() })).await;
    assert_eq!(seen.0.len(), 5, "{:#?}", seen.0);
    assert!(seen.0.iter().all(|finding| finding.verdict == Verdict::Fine), "{:#?}", seen.0);
}

#[tokio::test]
async fn what_is_missing_is_told_with_the_record_to_add() {
    let seen = look(&[], &json!({ "dkim": signing() })).await;
    seen.holds("find the address of our own name", Verdict::Warning, &["A or AAAA record for mx.acme.test"]);
    seen.holds(ANSWERS_COME, Verdict::Failed, &["nobody can write", "`acme.test. MX 10 mx.acme.test.`"]);
    seen.holds(SPF, Verdict::Warning, &["no SPF record", "v=spf1"]);
    seen.holds(DMARC, Verdict::Warning, &["`_dmarc.acme.test`", "v=DMARC1"]);
    seen.holds(DKIM, Verdict::Failed, &["`desk._domainkey.acme.test`", "v=DKIM1; k=rsa; p=MII"]);
}

/// The record that is proposed is the one by which our signatures are proved elsewhere in this crate.
#[test]
fn the_proposed_key_is_the_published_one() {
    let key = public_key(&serde_json::from_value(signing()).unwrap()).unwrap();
    let record = include_str!("../../compose/testdata/dkim.txt");
    let published: String = record.split("p=").nth(1).unwrap().chars().filter(|c| !c.is_whitespace()).collect();
    assert_eq!(STANDARD.encode(key), published);
}

#[tokio::test]
async fn what_is_wrong_is_told_apart() {
    type Case<'a> = (&'a [(&'a str, Record)], &'a str, Verdict, &'a str);
    let other = "v=DKIM1; k=rsa; p=AAAA";
    let cases: [Case<'_>; 8] = [
        (&[("acme.test", HERE)], ANSWERS_COME, Verdict::Warning, "no MX record"),
        (&[("acme.test", Record::Mx("."))], ANSWERS_COME, Verdict::Failed, "takes no mail"),
        (
            &[("acme.test", Record::Mx("gone.test"))],
            ANSWERS_COME,
            Verdict::Failed,
            "\"gone.test\", which has no address",
        ),
        (&[("acme.test", txt("v=spf1 -all")), ("acme.test", txt("v=spf1"))], SPF, Verdict::Warning, "2 SPF records"),
        (&[("acme.test", Record::Fails)], SPF, Verdict::Warning, "DNS does not say"),
        (&[("acme.test", txt("v=spf1 \u{202e}x"))], SPF, Verdict::Fine, "\\u{202e}"),
        (&[("desk._domainkey.acme.test", txt(other))], DKIM, Verdict::Failed, "another key"),
        (&[("desk._domainkey.acme.test", txt("v=DKIM1; p="))], DKIM, Verdict::Failed, "taken back"),
    ];
    for (table, tried, verdict, word) in cases {
        look(table, &json!({ "dkim": signing() })).await.holds(tried, verdict, &[word]);
    }
    let above = [("_dmarc.acme.test", txt("v=DMARC1; p=none"))];
    let below = json!({ "addresses": ["support@mail.acme.test"], "from": "support@mail.acme.test" });
    look(&above, &below).await.holds("see what mail.acme.test", Verdict::Fine, &["at acme.test"]);
}
