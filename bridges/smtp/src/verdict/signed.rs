//! Makes a mail ready for the checks of signatures: which of its signatures count, and what its body hashes to.
//! Bounds what a mail with thousands of signatures or fields can cost.

use hickory_resolver::proto::rr::Name;
use mail_auth::{
    AuthenticatedMessage,
    common::crypto::{Algorithm, HashAlgorithm},
    dkim::{Canonicalization, Signature},
};

use crate::mail::Mailbox;

const HEADER_BYTES_MAX: usize = 512 * 1024;
const HEADER_FIELDS_MAX: usize = 2000;
/// Signatures that are looked at, of the author's domain and of others.
const SIGNATURES_MAX: usize = 10;
const FOREIGN_SIGNATURES_MAX: usize = 3;
/// Field names that one signature may cover.
const SIGNED_NAMES_MAX: usize = 200;
const ARC_SETS_MAX: usize = 10;

/// One mail in three views, which differ only in the signatures that are left in them.
pub(super) struct Signed<'x> {
    /// Those whose domain may be that of the author.
    pub(super) own: AuthenticatedMessage<'x>,
    pub(super) foreign: AuthenticatedMessage<'x>,
    pub(super) arc: AuthenticatedMessage<'x>,
}

/// What has to be known of a mail to ask about it: its head, and what its body hashes to. Small, however large the mail
/// is, so that it may be kept while strangers' DNS is slow.
pub(super) struct Hashed {
    head: Vec<u8>,
    body_hashes: Vec<(Canonicalization, HashAlgorithm, u64, Vec<u8>)>,
}

/// Or one sentence why nothing of this mail can be proved.
pub(super) fn hashed(raw: &[u8]) -> Result<Hashed, &'static str> {
    let message = AuthenticatedMessage::parse(raw).ok_or(UNREADABLE)?;
    if message.body_offset() > HEADER_BYTES_MAX || message.headers.len() > HEADER_FIELDS_MAX {
        return Err("The head of the mail is too long for its proofs to be read.");
    }
    let head = raw.get(..message.body_offset()).ok_or(UNREADABLE)?.to_vec();
    Ok(Hashed { head, body_hashes: message.body_hashes })
}

const UNREADABLE: &str = "The head of the mail cannot be read, so nothing is proved.";

/// Or one sentence why nothing of this mail can be proved.
pub(super) fn read<'x>(hashed: &'x Hashed, from: &[Mailbox], domain: &str) -> Result<Signed<'x>, &'static str> {
    let mut message = AuthenticatedMessage::parse(&hashed.head).ok_or(UNREADABLE)?;
    message.body_hashes.clone_from(&hashed.body_hashes);
    let from_fields = message.headers.iter().filter(|(name, _)| name.trim_ascii().eq_ignore_ascii_case(b"from"));
    // Two readers that see different authors are how a forger shows one name and proves another.
    let same = !message.from.is_empty()
        && message.from.iter().all(|text| text.rsplit_once('@').is_some_and(|(_, other)| other == domain));
    if from_fields.count() != 1 || !same {
        return Err("The From field can be read in more than one way, so nobody is proved to have written it.");
    }
    message.from = from.iter().filter_map(|mailbox| Some(mailbox.address.as_ref()?.folded())).collect();
    message.dkim_headers.retain(|header| counts(&header.header));
    message.dkim_headers.iter_mut().for_each(|header| header.header.r = false);

    let mut own = message.clone();
    own.dkim_headers.retain(|header| related(&header.header.d, domain));
    own.dkim_headers.truncate(SIGNATURES_MAX);
    let mut foreign = message.clone();
    foreign.dkim_headers.retain(|header| !related(&header.header.d, domain));
    foreign.dkim_headers.truncate(FOREIGN_SIGNATURES_MAX);
    foreign.errors.clear();
    let mut arc = message;
    if arc.ams_headers.len() > ARC_SETS_MAX || arc.ams_headers.iter().any(|set| set.header.h.len() > SIGNED_NAMES_MAX) {
        // As a chain with a set missing, which is broken, whoever sealed it.
        arc.ams_headers.truncate(1);
        arc.as_headers.clear();
    }
    Ok(Signed { own, foreign, arc })
}

/// SHA-1 can be forged; what does not cover `From` says nothing of it; a name that no DNS can hold is there to confuse.
fn counts(signature: &Signature) -> bool {
    let names = signature.d.split('.').chain(signature.s.split('.'));
    let nameable = signature.d.len() + signature.s.len() < 240 && names.into_iter().all(|label| label.len() <= 63);
    signature.a != Algorithm::RsaSha1
        && signature.h.len() <= SIGNED_NAMES_MAX
        && signature.h.iter().any(|name| name.trim().eq_ignore_ascii_case("from"))
        && nameable
}

/// Could DMARC find these two to belong together? They end in the same two labels then.
fn related(signer: &str, author: &str) -> bool {
    fn end(domain: &str) -> Option<String> {
        // In Punycode, since one of the two may be written in letters.
        let name = Name::from_utf8(domain).ok()?.to_ascii().to_lowercase();
        let mut labels: Vec<&str> = name.trim_end_matches('.').rsplit('.').take(2).collect();
        labels.reverse();
        Some(labels.join("."))
    }
    end(signer).is_some_and(|signer| Some(signer) == end(author))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signature(change: impl Fn(&mut Signature)) -> Signature {
        let mut signature = Signature {
            a: Algorithm::RsaSha256,
            d: "cust.test".to_owned(),
            s: "key".to_owned(),
            h: vec!["from".to_owned()],
            ..Signature::default()
        };
        change(&mut signature);
        signature
    }

    #[test]
    fn signatures_that_prove_nothing_are_not_looked_at() {
        assert!(counts(&signature(|_| {})));
        assert!(counts(&signature(|s| s.h = vec!["To".into(), " From ".into()])));
        assert!(!counts(&signature(|s| s.a = Algorithm::RsaSha1)));
        assert!(!counts(&signature(|s| s.h = vec!["subject".into()])));
        assert!(!counts(&signature(|s| s.h = vec!["from".into(); SIGNED_NAMES_MAX + 1])));
        assert!(counts(&signature(|s| s.h = vec!["from".into(); SIGNED_NAMES_MAX])));
        assert!(!counts(&signature(|s| s.s = "k".repeat(64))));
        assert!(!counts(&signature(|s| s.d = ["k".repeat(60).as_str(); 4].join("."))));
    }

    #[test]
    fn only_domains_with_the_same_end_can_belong_together() {
        for (signer, author, expected) in [
            ("cust.test", "cust.test", true),
            ("mail.CUST.test", "cust.test", true),
            ("cust.test", "a.b.cust.test", true),
            ("evil.test", "cust.test", false),
            ("cust.test.evil.test", "cust.test", false),
            ("xn--mll-hoa.test", "müll.test", true),
            ("xn--mll-hoa.test", "cust.test", false),
            ("", "cust.test", false),
        ] {
            assert_eq!(related(signer, author), expected, "{signer} and {author}");
        }
    }

    #[test]
    fn a_mail_with_thousands_of_signatures_is_cut_to_a_few() {
        let one = "DKIM-Signature: v=1; a=rsa-sha256; d=cust.test; s=k; h=from; bh=AAAA; b=AAAA\r\n";
        let raw = format!("{}From: ada@cust.test\r\n\r\nhi\r\n", one.repeat(1000));
        let from = [Mailbox { name: String::new(), address: crate::address::Address::parse("ada@cust.test") }];
        let hashed_mail = hashed(raw.as_bytes()).unwrap();
        let signed = read(&hashed_mail, &from, "cust.test").unwrap();
        assert_eq!((signed.own.dkim_headers.len(), signed.foreign.dkim_headers.len()), (SIGNATURES_MAX, 0));
        let raw = format!("{}From: ada@cust.test\r\n\r\nhi\r\n", one.repeat(HEADER_FIELDS_MAX));
        assert!(hashed(raw.as_bytes()).is_err());
    }

    #[test]
    fn a_large_mail_is_asked_about_by_its_head_and_hashes_alone() {
        let body = "x".repeat(70) + "\r\n";
        let head = "DKIM-Signature: v=1; a=rsa-sha256; d=cust.test; s=k; h=from; bh=AAAA; b=AAAA\r\nFrom: ada@cust.test\r\n\r\n";
        let raw = format!("{head}{}", body.repeat(10_000));
        let from = [Mailbox { name: String::new(), address: crate::address::Address::parse("ada@cust.test") }];
        let hashed = hashed(raw.as_bytes()).unwrap();
        assert_eq!(hashed.head, head.as_bytes());
        let whole = AuthenticatedMessage::parse(raw.as_bytes()).unwrap();
        let own = read(&hashed, &from, "cust.test").unwrap().own;
        assert_eq!((&own.body_hashes, &own.headers), (&whole.body_hashes, &whole.headers));
        assert_eq!(own.body_hashes.len(), 1);
    }
}
