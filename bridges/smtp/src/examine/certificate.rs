//! Our own certificate, as clients will look at it: whom it names and how long it lasts. Who signed it does not matter
//! here: most mail servers do not look.

use std::{sync::Arc, time::Duration};

use rustls::{
    CertificateError, Error, RootCertStore,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier, verify_server_name},
    crypto::ring,
    server::ParsedCertificate,
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{
    Look, Outcome, failed,
    tls::{is_early, is_expired},
    warning,
};
use crate::{clock::now_millis, tls::certificates};

/// An expiry that is nearer is worth a word.
const DAYS_WARNED: u64 = 14;
const DAY: Duration = Duration::from_hours(24);

pub(super) fn look(look: &Look<'_>) {
    let (Some(files), hostname) = (&look.settings.tls, &look.settings.hostname) else { return };
    let tried = format!("look at the certificate in {}", files.cert_file.display());
    let outcome = match certificates("tls.cert_file", &files.cert_file) {
        Ok(chain) => judge(&chain, hostname, now_millis()),
        Err(fault) => failed(fault.to_string(), "set `tls.cert_file` to a readable PEM file"),
    };
    look.tell(tried, outcome);
}

fn judge(chain: &[CertificateDer<'_>], hostname: &str, now_millis: i64) -> Outcome {
    let renew = "renew it now; the bridge takes the new one without a restart";
    let now = Duration::from_millis(now_millis.max(0) as u64);
    match dates_at(chain, now) {
        Some(wrong) if is_expired(&wrong) => return failed("it has expired", renew),
        Some(wrong) if is_early(&wrong) => {
            return failed("it is not valid yet", "set this machine's clock, or renew the certificate");
        }
        Some(_) | None => {}
    }
    if !names(chain, hostname) {
        let change = format!("have it made for {hostname}, or set `hostname` to the name that it bears");
        return warning(format!("it does not name {hostname}"), change);
    }
    let last =
        (1..=DAYS_WARNED as u32).find(|days| dates_at(chain, now + DAY * *days).as_ref().is_some_and(is_expired));
    match last {
        Some(days) => warning(format!("it expires within {days} days"), renew),
        None => Outcome::Fine(format!("it names {hostname} and lasts for more than {DAYS_WARNED} days")),
    }
}

/// What is wrong with the leaf's dates at that time. They are looked at before anything else is, so that the chain,
/// which is not judged here, need not be good.
fn dates_at(chain: &[CertificateDer<'_>], since_epoch: Duration) -> Option<CertificateError> {
    let (leaf, rest) = chain.split_first()?;
    let mut roots = RootCertStore::empty();
    roots.add(leaf.clone().into_owned()).ok()?;
    let provider = Arc::new(ring::default_provider());
    let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider).build().ok()?;
    let name = ServerName::try_from("unnamed.invalid").ok()?;
    match verifier.verify_server_cert(leaf, rest, &name, &[], UnixTime::since_unix_epoch(since_epoch)) {
        Err(Error::InvalidCertificate(wrong)) => Some(wrong),
        Ok(_) | Err(_) => None,
    }
}

fn names(chain: &[CertificateDer<'_>], hostname: &str) -> bool {
    let Some(leaf) = chain.first().and_then(|leaf| ParsedCertificate::try_from(leaf).ok()) else { return false };
    ServerName::try_from(hostname).is_ok_and(|name| verify_server_name(&leaf, &name).is_ok())
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};

    use super::*;

    /// From 2030-01-01 to 2030-03-01, signed by itself or by an authority.
    fn chain(signed_by_itself: bool) -> Vec<CertificateDer<'static>> {
        let mut params = CertificateParams::new(["mx.acme.test".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2030, 1, 1), date_time_ymd(2030, 3, 1));
        let key = KeyPair::generate().unwrap();
        if signed_by_itself {
            return vec![params.self_signed(&key).unwrap().der().clone()];
        }
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        vec![params.signed_by(&key, &authority).unwrap().der().clone()]
    }

    #[test]
    fn dates_and_name_are_judged_whoever_signed() {
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_millisecond();
        for own in [true, false] {
            let chain = chain(own);
            let judge = |name, when| match judge(&chain, name, at(when)) {
                Outcome::Fine(found) | Outcome::Skipped(found) => format!("fine: {found}"),
                Outcome::Warning(found, _) => format!("warning: {found}"),
                Outcome::Failed(found, _) => format!("failed: {found}"),
            };
            for (name, when, expected) in [
                ("mx.acme.test", "2030-01-15T00:00:00Z", "fine: it names mx.acme.test"),
                ("other.test", "2030-01-15T00:00:00Z", "warning: it does not name other.test"),
                ("mx.acme.test", "2030-02-25T12:00:00Z", "warning: it expires within 4 days"),
                ("mx.acme.test", "2030-02-10T00:00:00Z", "fine: it names mx.acme.test"),
                ("mx.acme.test", "2030-03-02T00:00:00Z", "failed: it has expired"),
                ("mx.acme.test", "2029-12-31T00:00:00Z", "failed: it is not valid yet"),
            ] {
                assert!(judge(name, when).starts_with(expected), "{own} {name} {when}: {}", judge(name, when));
            }
        }
    }
}
