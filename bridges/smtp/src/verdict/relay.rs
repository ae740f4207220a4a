//! Proofs by the word of a mail server in front: its `Authentication-Results`, and nobody else's who wrote its name.
//!
//! That server puts a `Received` field on top of each mail. What stands above it is the server's own. What stands between it and
//! the next `Received` may also be the sender's, who knows the server's name: there the topmost field is believed, since servers
//! write theirs directly below, and those below it may only lessen what it says.

use std::net::IpAddr;

use super::{
    Outcome, Policy, Verdict,
    author::speaks_for,
    results::{self, Claim, Results},
    weigh::{Evidence, weigh},
};
use crate::{envelope::Envelope, mail::mime::head, settings::Settings};

/// Fields that are looked at.
const FIELDS_MAX: usize = 200;

#[derive(Debug)]
pub(super) struct Relay {
    /// The names by which it signs its results.
    trusted: Vec<String>,
    /// Its addresses. Empty when it runs on this machine or speaks LMTP.
    clients: Vec<IpAddr>,
}

impl Relay {
    pub(super) fn new(settings: &Settings) -> Self {
        Self { trusted: settings.trusted_authserv_ids.clone(), clients: settings.trusted_clients.clone() }
    }

    pub(super) fn read(&self, raw: &[u8], envelope: &Envelope, domain: &str) -> Verdict {
        let unproved = |reason: &str| Verdict::unverified(Some(domain.to_owned()), reason);
        let is_here = self.clients.is_empty() && envelope.client.to_canonical().is_loopback();
        let comes_by_it = is_here || hands_on(envelope, &self.clients);
        if !comes_by_it {
            // Whoever comes past it can write all that it writes.
            return unproved("The mail did not come by the mail server in front, so nobody has checked its sender.");
        }
        let believed = believed(raw, &self.trusted);
        if believed.full.is_empty() {
            return unproved("The mail server in front has not said whether the sender is proved.");
        }
        let mut verdict = weigh(&evidence(&believed, domain), domain);
        // The server in front writes its word once, so asking again says the same.
        verdict.retry = false;
        verdict
    }
}

/// Is the client a mail server of ours, that hands on what others wrote?
pub(super) fn hands_on(envelope: &Envelope, clients: &[IpAddr]) -> bool {
    envelope.protocol.starts_with("LMTP")
        || clients.iter().any(|known| known.to_canonical() == envelope.client.to_canonical())
}

#[derive(Default)]
struct Believed {
    full: Vec<Results>,
    lessening: Vec<Results>,
}

fn believed(raw: &[u8], trusted: &[String]) -> Believed {
    let mut above = Vec::new();
    let mut between = Vec::new();
    let mut received = 0;
    for field in head(raw, 0).fields().take(FIELDS_MAX) {
        if field.is("received") {
            received += 1;
            if received == 2 {
                break;
            }
        }
        // With white space before the colon it can be one that the server in front failed to take away.
        if field.raw_name.eq_ignore_ascii_case(b"authentication-results") {
            let Some(results) = results::parse(&field.value()) else { continue };
            if trusted.iter().any(|known| known.eq_ignore_ascii_case(&results.authserv_id)) {
                if received == 0 { above.push(results) } else { between.push(results) }
            }
        }
    }
    if received == 0 {
        // Nobody has put anything on top, so all of it may be the sender's.
        return Believed::default();
    }
    if above.is_empty() && !between.is_empty() {
        let lessening = between.split_off(1);
        return Believed { full: between, lessening };
    }
    Believed { full: above, lessening: Vec::new() }
}

fn evidence(believed: &Believed, domain: &str) -> Evidence {
    let full = |method| believed.full.iter().flat_map(|results| &results.claims).filter(move |c| c.method == method);
    let below = believed.lessening.iter().flat_map(|results| &results.claims).filter(|c| c.method == "dmarc");
    let about_author = |claim: &&Claim| claim.domain(&["header.from"]).is_none_or(|from| speaks_for(&from, domain));
    let dmarc: Vec<&Claim> = full("dmarc")
        .filter(about_author)
        .chain(below.filter(|claim| claim.outcome != Outcome::Pass && claim.outcome != Outcome::None))
        .collect();
    let passes = |claim: &&Claim| claim.outcome == Outcome::Pass;
    let names = |claim: Option<String>| claim.is_some_and(|other| speaks_for(&other, domain));
    let policy = dmarc.iter().filter_map(|claim| claim.policy()).max();
    Evidence {
        spf: first(full("spf")),
        dkim: full("dkim").find(passes).map_or_else(|| first(full("dkim")), |claim| claim.outcome),
        dmarc: worst(&dmarc),
        arc: first(full("arc")),
        // A server that says no more than `fail` has seen a record; the stricter reading is the safe one.
        policy: policy.unwrap_or(if worst(&dmarc) == Outcome::Fail { Policy::Quarantine } else { Policy::None }),
        dkim_aligned: full("dkim").filter(passes).any(|c| names(c.domain(&["header.d", "header.i"]))),
        spf_aligned: full("spf")
            .filter(passes)
            .any(|c| names(c.domain(&["smtp.mailfrom", "smtp.mail", "smtp.envelope-from", "smtp.helo"]))),
        trouble: full("dkim").any(|claim| claim.outcome == Outcome::Temperror),
    }
}

fn first<'x>(mut claims: impl Iterator<Item = &'x Claim>) -> Outcome {
    claims.next().map_or(Outcome::None, |claim| claim.outcome)
}

/// A pass only when all of them are.
fn worst(claims: &[&Claim]) -> Outcome {
    let rank = |outcome: &Outcome| match outcome {
        Outcome::Pass => 0,
        Outcome::None => 1,
        Outcome::Neutral => 2,
        Outcome::Permerror => 3,
        Outcome::Temperror => 4,
        Outcome::Softfail => 5,
        Outcome::Fail => 6,
    };
    claims.iter().map(|claim| claim.outcome).max_by_key(rank).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::{super::Level, *};

    const RECEIVED: &str = "Received: from a by mx.acme.test; Mon, 1 Jan 2024 00:00:00 +0000\r\n";
    const PASS: &str = "Authentication-Results: mx.acme.test; dmarc=pass header.from=cust.test\r\n";
    const FAIL: &str =
        "Authentication-Results: mx.acme.test;\r\n\tdmarc=fail (p=reject dis=none) header.from=cust.test\r\n";
    const SAYS_LITTLE: &str = "Authentication-Results: mx.acme.test; spf=none smtp.mailfrom=evil.test\r\n";
    const SENDERS: &str = "From: ada@cust.test\r\n\r\nhi\r\n";

    fn by(client: &str, protocol: &str) -> Envelope {
        Envelope {
            client: client.parse().unwrap(),
            helo: "mx.acme.test".to_owned(),
            protocol: protocol.to_owned(),
            sender: None,
            recipients: Vec::new(),
            received_millis: 0,
            bytes: 0,
        }
    }

    #[test]
    fn who_comes_past_the_server_in_front_is_not_believed() {
        let relay = Relay { trusted: vec!["mx.acme.test".to_owned()], clients: vec!["192.0.2.1".parse().unwrap()] };
        let raw = [PASS, RECEIVED, SENDERS].concat();
        for (client, protocol, expected) in [
            ("192.0.2.1", "ESMTP", Level::Verified),
            ("::ffff:192.0.2.1", "ESMTP", Level::Verified),
            ("127.0.0.1", "LMTP", Level::Verified),
            ("203.0.113.9", "ESMTPS", Level::Unverified),
            ("127.0.0.1", "SMTP", Level::Unverified),
        ] {
            assert_eq!(relay.read(raw.as_bytes(), &by(client, protocol), "cust.test").level, expected, "{client}");
        }
    }

    #[test]
    fn without_any_address_the_server_in_front_is_on_this_machine() {
        let relay = Relay { trusted: vec!["mx.acme.test".to_owned()], clients: Vec::new() };
        let raw = [PASS, RECEIVED, SENDERS].concat();
        for (client, expected) in [("::1", Level::Verified), ("192.0.2.1", Level::Unverified)] {
            assert_eq!(relay.read(raw.as_bytes(), &by(client, "ESMTP"), "cust.test").level, expected, "{client}");
        }
    }

    fn level(parts: &[&str]) -> Level {
        let relay = Relay { trusted: vec!["mx.acme.test".to_owned()], clients: Vec::new() };
        relay.read(parts.concat().as_bytes(), &by("127.0.0.1", "ESMTP"), "cust.test").level
    }

    #[test]
    fn only_the_word_of_the_server_in_front_counts() {
        let foreign = PASS.replace("mx.acme.test", "mx.evil.test");
        let spaced = PASS.replace("Results:", "Results :");
        let upper = PASS.replace("mx.acme.test", "MX.Acme.Test 1");
        for (name, parts, expected) in [
            ("above its Received", &[PASS, RECEIVED, SENDERS][..], Level::Verified),
            ("below its Received", &[RECEIVED, PASS, SENDERS], Level::Verified),
            (
                "other fields between",
                &["Return-Path: <a@b>\r\n", RECEIVED, "X-Y: z\r\n", PASS, SENDERS],
                Level::Verified,
            ),
            ("written otherwise", &[&upper, RECEIVED, SENDERS], Level::Verified),
            ("it says fail", &[RECEIVED, FAIL, SENDERS], Level::Failed),
            ("injected below the next Received", &[RECEIVED, RECEIVED, PASS, SENDERS], Level::Unverified),
            ("injected below its own fail", &[RECEIVED, FAIL, PASS, SENDERS], Level::Failed),
            ("injected below one that says little", &[RECEIVED, SAYS_LITTLE, PASS, SENDERS], Level::Unverified),
            ("injected, its own one is above", &[SAYS_LITTLE, RECEIVED, PASS, SENDERS], Level::Unverified),
            ("a second one lessens", &[RECEIVED, PASS, FAIL, SENDERS], Level::Failed),
            ("above they all count", &[FAIL, PASS, RECEIVED, SENDERS], Level::Failed),
            ("no Received at all", &[PASS, SENDERS], Level::Unverified),
            ("of another server", &[&foreign, RECEIVED, SENDERS], Level::Unverified),
            ("white space before the colon", &[RECEIVED, &spaced, SENDERS], Level::Unverified),
            ("in the body", &[RECEIVED, SENDERS, PASS], Level::Unverified),
        ] {
            assert_eq!(level(parts), expected, "{name}");
        }
    }

    #[test]
    fn its_words_are_weighed_like_those_of_dns() {
        for (words, expected) in [
            ("dmarc=pass", Level::Verified),
            ("dmarc=pass header.from=evil.test", Level::Unverified),
            ("dmarc=pass header.from=mail.cust.test", Level::Unverified),
            ("dkim=pass header.d=cust.test", Level::Verified),
            ("dkim=pass header.i=@cust.test", Level::Verified),
            ("dkim=pass header.i=ada@mail.cust.test", Level::Unverified),
            ("dkim=pass header.d=evil.test; dkim=pass header.d=cust.test", Level::Verified),
            ("dkim=pass header.d=evil.test", Level::Unverified),
            ("dkim=pass", Level::Unverified),
            ("dkim=fail header.d=cust.test", Level::Unverified),
            ("spf=pass smtp.mailfrom=ada@cust.test", Level::Weak),
            ("spf=pass smtp.mailfrom=cust.test; dmarc=none", Level::Weak),
            ("spf=pass smtp.mailfrom=evil.test smtp.helo=cust.test", Level::Unverified),
            ("spf=pass smtp.helo=cust.test", Level::Weak),
            ("spf=softfail smtp.mailfrom=cust.test", Level::Unverified),
            ("dmarc=fail (p=none) header.from=cust.test", Level::Unverified),
            ("dmarc=fail (p=quarantine) header.from=cust.test", Level::Failed),
            ("dmarc=fail header.from=cust.test", Level::Failed),
            ("dmarc=fail (p=reject); spf=pass smtp.mailfrom=cust.test", Level::Failed),
            ("dmarc=temperror; spf=pass smtp.mailfrom=cust.test", Level::Unverified),
            ("dmarc=permerror; spf=pass smtp.mailfrom=cust.test", Level::Unverified),
            ("none", Level::Unverified),
        ] {
            let field = format!("Authentication-Results: mx.acme.test; {words}\r\n");
            assert_eq!(level(&[&field, RECEIVED, SENDERS]), expected, "{words}");
        }
    }
}
