//! The whole way, offline: mails that are signed here, and names that are served here.

use std::net::{IpAddr, Ipv4Addr};

use base64::{Engine, engine::general_purpose::STANDARD};
use mail_auth::{
    common::{crypto::Ed25519Key, headers::HeaderWriter},
    dkim::DkimSigner,
};

use self::names::{Names, Record};
use super::{Judge, Level, Outcome, Policy, Verdict};
use crate::{address::Address, envelope::Envelope, mail::Mailbox, settings::Settings};

mod levels;
pub(crate) mod names;
mod spoofs;

/// Of the servers that may send for the domains of the table.
const GOOD: &str = "192.0.2.1";
/// Of somebody else's.
const EVIL: &str = "203.0.113.9";

/// The key of the honest domains and that of the forger. Their seeds are fixed, so that each run is the same.
fn key(seed: u8) -> (Ed25519Key, String) {
    let key = Ed25519Key::from_pkcs8_maybe_unchecked_der(&wrapped([seed; 32])).unwrap();
    let public = STANDARD.encode(key.public_key());
    (key, public)
}

/// RFC 8410, 7: a seed as a private key.
fn wrapped(seed: [u8; 32]) -> Vec<u8> {
    let head = [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];
    [&head[..], &seed].concat()
}

const HONEST: u8 = 1;
const FORGER: u8 = 2;

/// A domain for each kind of rule, and the forger's own.
fn table() -> Vec<(String, Record)> {
    let mut table = Vec::new();
    let mut add = |name: &str, text: &str| table.push((name.to_owned(), Record::Txt(text.to_owned())));
    let spf = "v=spf1 ip4:192.0.2.0/24 -all";
    let dkim = format!("v=DKIM1; k=ed25519; p={}", key(HONEST).1);
    for (domain, rule) in [
        ("strict.test", Some("v=DMARC1; p=reject")),
        ("careful.test", Some("v=DMARC1; p=quarantine")),
        ("monitor.test", Some("v=DMARC1; p=none")),
        ("exact.test", Some("v=DMARC1; p=reject; adkim=s; aspf=s")),
        ("plain.test", None),
        ("mail.strict.test", None),
        ("mail.exact.test", None),
        ("mail.plain.test", None),
    ] {
        add(domain, spf);
        add(&format!("k._domainkey.{domain}"), &dkim);
        if let Some(rule) = rule {
            add(&format!("_dmarc.{domain}"), rule);
        }
    }
    for domain in ["evil.test", "strict.test.evil.test", "strlct.test"] {
        add(domain, "v=spf1 +all");
        add(&format!("k._domainkey.{domain}"), &format!("v=DKIM1; k=ed25519; p={}", key(FORGER).1));
        add(&format!("_dmarc.{domain}"), "v=DMARC1; p=none");
    }
    add("gone._domainkey.strict.test", "v=DKIM1; k=ed25519; p=");
    add("ok._domainkey.strict.test", &format!("v=DKIM1; k=rsa; p={}", foreign_hands::RSA_1024));
    add("sha1._domainkey.strict.test", &format!("v=DKIM1; k=rsa; p={}", foreign_hands::RSA_1024));
    add("weak._domainkey.strict.test", &format!("v=DKIM1; k=rsa; p={}", foreign_hands::RSA_768));
    table.push(("fails.test".to_owned(), Record::Fails));
    table.push(("_dmarc.fails.test".to_owned(), Record::Fails));
    table.push(("k._domainkey.fails.test".to_owned(), Record::Fails));
    table.push(("k._domainkey.half.test".to_owned(), Record::Fails));
    table.push(("_dmarc.half.test".to_owned(), Record::Txt("v=DMARC1; p=reject".to_owned())));
    table.push(("slow.test".to_owned(), Record::Silent));
    table.push(("k._domainkey.slow.test".to_owned(), Record::Silent));
    table.push(("strict.test".to_owned(), Record::A(Ipv4Addr::new(192, 0, 2, 1))));
    table
}

/// Made by dkimpy 1.1.8 with keys of `openssl genrsa`, over the mail of `letter("ada@strict.test")`.
mod foreign_hands {
    pub(super) const RSA_1024: &str = "MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkPzbTvT/8Ue9ES2/1nlSIOGQXjc6/0Y42zgW24U00A2bxZGozUzHzl57KenfypFTFPUoe3rOQi2FyMRaLJTHZGoIB6374SmlXV65tVGOKWV3QnkOWVzNkfj4llb3cN9X+Q+DOHm7ubIw3RrktNcKQttcjn+vJoLAXItryqOcl6wIDAQAB";
    pub(super) const RSA_768: &str = "MHwwDQYJKoZIhvcNAQEBBQADawAwaAJhAMYWdVexKSdT0ybQkI9QNRSi7x8PKzWWOXrNUDOa4LDNpmGgGH13GN79jop2Zu8UKeqPtJLccTAIoRALt6XZsXMkUa3UgKJX7nArL1sWg8zE0jphtCzeBwVDYY+Vls7ekwIDAQAB";
    pub(super) const OK: &str = "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=strict.test; i=@strict.test; q=dns/txt; s=ok; t=1796007464; h=from : to : subject : date; bh=Ba3gj8+xBPQLJTahTfzW6RbWQ/XPgESxkCi2B66PSQg=; b=m8vtf7Q1qFjEbBYNStqP5qH1uBSZM6BgQaOUTWDH5HueflfoEehFEpvTQzBuKGa8c51sz +CFPMxZYqlDvqx2SpYxyOQnXCb3cdoSHXNp65kltg9eD8hDfxDfj+op7iCfzhDS0Pd7sX0G TeJEHITe01f4t2lnkBDwiab87flNq5s=\r\n";
    pub(super) const SHA1: &str = "DKIM-Signature: v=1; a=rsa-sha1; c=relaxed/relaxed; d=strict.test; i=@strict.test; q=dns/txt; s=sha1; t=1796007464; h=from : to : subject : date; bh=/t0YeXgRpK9llnjqXbYY+NyRSAs=; b=Qg+aokkkEIiSFv4JzUBuOtsbI+pxmNAKrr4uLqTV1i+AjFG5iAaTXKueSBjLWwg00mgZF nKj6ViuqMpoy8axAADyBBmbBHALMPjNmR54sgWEz7b8xcDo7uXvIVuoajHratT25PCku3EB fDYuYy5nZvqLnwVVNdAbg67oGxfNy80=\r\n";
    pub(super) const WEAK: &str = "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=strict.test; i=@strict.test; q=dns/txt; s=weak; t=1796007464; h=from : to : subject : date; bh=Ba3gj8+xBPQLJTahTfzW6RbWQ/XPgESxkCi2B66PSQg=; b=ek5iMCMz+1RcQ2GMLFHL4/B4tMDRHGFPtcG/V8LfVMq0yP5OFhc0xp8cPDlkSsIaE3fKo hAjLyB5dS6UlmUOWQIaoCQA4jNeip+rsun941N1+IkZJljHuWFycSlsJFYq\r\n";
}

/// A mail and all around it.
#[derive(Clone)]
struct Case {
    raw: String,
    from: Vec<Mailbox>,
    from_fields: usize,
    client: &'static str,
    helo: &'static str,
    sender: Option<&'static str>,
    protocol: &'static str,
}

fn letter(from: &str) -> String {
    format!(
        "From: {from}\r\nTo: support@acme.test\r\nSubject: Help\r\nDate: Mon, 1 Jan 2024 00:00:00 +0000\r\n\r\nHello\r\n"
    )
}

impl Case {
    /// A letter of this author, from a server of nobody.
    fn of(from: &str) -> Self {
        Self {
            raw: letter(from),
            from: vec![Mailbox { name: String::new(), address: Address::parse(from) }],
            from_fields: 1,
            client: EVIL,
            helo: "host.evil.test",
            sender: None,
            protocol: "ESMTP",
        }
    }
    fn by(self, client: &'static str, sender: &'static str) -> Self {
        Self { client, sender: Some(sender).filter(|sender| !sender.is_empty()), ..self }
    }
    fn helo(self, helo: &'static str) -> Self {
        Self { helo, ..self }
    }
    fn read_as(self, from: &[&str], from_fields: usize) -> Self {
        let from = from.iter().map(|text| Mailbox { name: String::new(), address: Address::parse(text) }).collect();
        Self { from, from_fields, ..self }
    }
    fn signed(self, domain: &str, seed: u8) -> Self {
        self.signed_over(domain, "k", seed, &["From", "To", "Subject", "Date"])
    }
    fn signed_over(self, domain: &str, selector: &str, seed: u8, names: &[&str]) -> Self {
        let signer = DkimSigner::from_key(key(seed).0).domain(domain).selector(selector).headers(names.to_vec());
        let signature = signer.sign(self.raw.as_bytes()).unwrap().to_header();
        self.above(&signature)
    }
    /// With a signature over so much of the body as there is now.
    fn signed_in_part(self, domain: &str, seed: u8) -> Self {
        let signer = DkimSigner::from_key(key(seed).0).domain(domain).selector("k").headers(["From"]).body_length(true);
        let signature = signer.sign(self.raw.as_bytes()).unwrap().to_header();
        self.above(&signature)
    }
    /// With these fields on top.
    fn above(self, fields: &str) -> Self {
        Self { raw: format!("{fields}{}", self.raw), ..self }
    }
    fn changed(self, this: &str, that: &str) -> Self {
        assert!(self.raw.contains(this));
        Self { raw: self.raw.replace(this, that), ..self }
    }
    fn envelope(&self) -> Envelope {
        Envelope {
            client: self.client.parse::<IpAddr>().unwrap(),
            helo: self.helo.to_owned(),
            protocol: self.protocol.to_owned(),
            sender: self.sender.map(|text| Address::parse(text).unwrap()),
            recipients: vec![Address::parse("support@acme.test").unwrap()],
            received_millis: 0,
            bytes: self.raw.len() as u64,
        }
    }
}

fn settings(more: &str) -> Settings {
    let text = format!(
        r#"{{"listen": "127.0.0.1:0", "hostname": "mx.acme.test", "addresses": ["support@acme.test"],
        "from": "Acme <support@acme.test>", "relay": {{"host": "localhost"}}, {more}}}"#
    );
    serde_json::from_str(&text).unwrap()
}

struct Court {
    names: Names,
    judge: Judge,
}

impl Court {
    async fn new() -> Self {
        Self::with("", table()).await
    }
    async fn with(more: &str, table: Vec<(String, Record)>) -> Self {
        let names = Names::new(table).await;
        let text = format!(r#""verify": "dns", "dns_servers": ["{}"]{more}"#, names.address());
        Self { judge: Judge::new(&settings(&text)).unwrap(), names }
    }
    async fn judge(&self, case: &Case) -> Verdict {
        /// The desk asks from a task that may move between threads.
        fn movable<T: Send>(future: T) -> T {
            future
        }
        let envelope = case.envelope();
        let read = self.judge.case(case.raw.as_bytes(), &envelope, &case.from, case.from_fields);
        tokio::select! {
            verdict = movable(self.judge.judge(&read, &envelope, &case.from)) => verdict,
            () = self.names.serve() => unreachable!("it serves for ever"),
        }
    }
}
