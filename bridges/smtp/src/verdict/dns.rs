//! Proofs by DNS: SPF of the envelope sender, every DKIM signature, the ARC chain, and DMARC over the `From` address.
//! What one domain's slow DNS can cost is bounded apart, so that a stranger's cannot hide what the author's own says.

use std::{fmt, net::IpAddr, time::Duration};

use bridge_api::SettingsFault;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts};
use mail_auth::{
    ArcOutput, AuthenticatedMessage, DkimOutput, DkimResult, DmarcOutput, DmarcResult, MessageAuthenticator, SpfOutput,
    SpfResult, dmarc::verify::DmarcParameters, spf::verify::SpfParameters,
};
use tokio::time::timeout;

use super::{
    Outcome, Policy, Verdict,
    author::speaks_for,
    relay::hands_on,
    signed::{self, Hashed, Signed},
    weigh::{Evidence, weigh},
};
use crate::{envelope::Envelope, mail::Mailbox, settings::Settings};

/// For everything that one mail asks.
pub(super) const BUDGET: Duration = Duration::from_secs(10);
/// For what the author's domain has no say in, so that enough is left for its rule.
const SHARE: Duration = Duration::from_secs(5);
/// For one question and its repetition.
const QUERY_TIMEOUT: Duration = Duration::from_secs(2);
const QUERY_ATTEMPTS: usize = 2;
/// Answers kept, and for how long at most.
const CACHE_ANSWERS_MAX: u64 = 1024;
const CACHE_AGE_MAX: Duration = Duration::from_hours(1);

pub(super) struct Dns {
    authenticator: MessageAuthenticator,
    hostname: String,
    trusted_clients: Vec<IpAddr>,
}

impl fmt::Debug for Dns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dns").field("hostname", &self.hostname).finish_non_exhaustive()
    }
}

impl Dns {
    pub(super) fn new(settings: &Settings) -> Result<Self, SettingsFault> {
        Ok(Self {
            authenticator: authenticator(settings)?,
            hostname: settings.hostname.clone(),
            trusted_clients: settings.trusted_clients.clone(),
        })
    }

    pub(super) async fn ask(&self, mail: &Hashed, envelope: &Envelope, from: &[Mailbox], domain: &str) -> Verdict {
        let signed = match signed::read(mail, from, domain) {
            Ok(signed) => signed,
            Err(reason) => return Verdict::unverified(Some(domain.to_owned()), reason),
        };
        let Ok(evidence) = timeout(BUDGET, self.gather(&signed, envelope, domain)).await else {
            let nothing = Evidence { dmarc: Outcome::Temperror, trouble: true, ..Evidence::default() };
            return weigh(&nothing, domain);
        };
        weigh(&evidence, domain)
    }

    async fn gather(&self, signed: &Signed<'_>, envelope: &Envelope, domain: &str) -> Evidence {
        let (spf, own, foreign, arc) = tokio::join!(
            self.spf(envelope),
            self.authenticator.verify_dkim(&signed.own),
            self.foreign(&signed.foreign),
            self.arc(&signed.arc),
        );
        let spf_domain = spf_domain(envelope);
        let parameters = DmarcParameters::new(&signed.own, &own, spf_domain, &spf);
        let dmarc = self.authenticator.verify_dmarc(parameters).await;
        let aligned = |output: &&DkimOutput<'_>| output.signature().is_some_and(|s| speaks_for(&s.d, domain));
        let spf_speaks = speaks_for(spf_domain, domain);
        Evidence {
            spf: spf_outcome(spf.result()),
            dkim: best(own.iter().map(|output| dkim_outcome(output.result())).chain(foreign)),
            dmarc: dmarc_outcome(&dmarc),
            arc,
            policy: policy(&dmarc),
            dkim_aligned: own.iter().filter(aligned).any(|output| *output.result() == DkimResult::Pass),
            spf_aligned: spf_speaks && spf.result() == SpfResult::Pass,
            trouble: dmarc_outcome(&dmarc) == Outcome::Temperror
                || own.iter().filter(aligned).any(|output| matches!(output.result(), DkimResult::TempError(_)))
                || (spf_speaks && spf.result() == SpfResult::TempError),
        }
    }

    /// Of the envelope sender, or of the client's name where that is null (RFC 7208, 2.4).
    async fn spf(&self, envelope: &Envelope) -> SpfOutput {
        let domain = spf_domain(envelope);
        let nothing = SpfOutput::new(domain.to_owned());
        if hands_on(envelope, &self.trusted_clients) {
            // The address is that of a server in front, and says nothing of who handed it the mail.
            return nothing;
        }
        let client = envelope.client.to_canonical();
        let sender = envelope.sender.as_ref().map(crate::address::Address::as_str);
        let parameters = match sender {
            Some(sender) => SpfParameters::verify_mail_from(client, &envelope.helo, &self.hostname, sender),
            None => SpfParameters::verify_ehlo(client, &envelope.helo, &self.hostname),
        };
        let asked = timeout(SHARE, self.authenticator.verify_spf(parameters)).await;
        asked.unwrap_or_else(|_| nothing.with_result(SpfResult::TempError))
    }

    /// Signatures of other domains prove nothing about the author; their results are only shown.
    async fn foreign(&self, message: &AuthenticatedMessage<'_>) -> Vec<Outcome> {
        match timeout(SHARE, self.authenticator.verify_dkim(message)).await {
            Ok(outputs) => outputs.iter().map(|output| dkim_outcome(output.result())).collect(),
            Err(_) => vec![Outcome::Temperror],
        }
    }

    /// Shown only: no sealer is trusted to vouch for a sender.
    async fn arc(&self, message: &AuthenticatedMessage<'_>) -> Outcome {
        let asked = timeout(SHARE, self.authenticator.verify_arc(message)).await;
        asked.map_or(Outcome::Temperror, |output: ArcOutput<'_>| dkim_outcome(output.result()))
    }
}

/// Asks the servers of the settings, else the system's.
pub(crate) fn authenticator(settings: &Settings) -> Result<MessageAuthenticator, SettingsFault> {
    let fault = |error: &dyn fmt::Display| {
        let reason = format!("the system's DNS settings cannot be read ({error}): name servers to ask");
        SettingsFault::new("dns_servers", reason)
    };
    let (config, mut options) = if settings.dns_servers.is_empty() {
        hickory_resolver::system_conf::read_system_conf().map_err(|error| fault(&error))?
    } else {
        let servers = settings.dns_servers.iter().map(|server| {
            let mut connections = vec![ConnectionConfig::udp(), ConnectionConfig::tcp()];
            for connection in &mut connections {
                connection.port = server.port();
            }
            NameServerConfig::new(server.ip(), true, connections)
        });
        (ResolverConfig::from_parts(None, Vec::new(), servers.collect()), ResolverOpts::default())
    };
    options.timeout = QUERY_TIMEOUT;
    options.attempts = QUERY_ATTEMPTS;
    options.cache_size = CACHE_ANSWERS_MAX;
    options.positive_max_ttl = Some(CACHE_AGE_MAX);
    options.negative_max_ttl = Some(CACHE_AGE_MAX);
    MessageAuthenticator::new(config, options).map_err(|error| fault(&error))
}

fn spf_domain(envelope: &Envelope) -> &str {
    envelope.sender.as_ref().map_or(envelope.helo.as_str(), crate::address::Address::domain)
}

fn spf_outcome(result: SpfResult) -> Outcome {
    match result {
        SpfResult::Pass => Outcome::Pass,
        SpfResult::Fail => Outcome::Fail,
        SpfResult::SoftFail => Outcome::Softfail,
        SpfResult::Neutral => Outcome::Neutral,
        SpfResult::TempError => Outcome::Temperror,
        SpfResult::PermError => Outcome::Permerror,
        SpfResult::None => Outcome::None,
    }
}

fn dkim_outcome(result: &DkimResult) -> Outcome {
    match result {
        DkimResult::Pass => Outcome::Pass,
        DkimResult::Neutral(_) => Outcome::Neutral,
        DkimResult::Fail(_) => Outcome::Fail,
        DkimResult::PermError(_) => Outcome::Permerror,
        DkimResult::TempError(_) => Outcome::Temperror,
        DkimResult::None => Outcome::None,
    }
}

fn dmarc_outcome(output: &DmarcOutput) -> Outcome {
    match output.result() {
        DmarcResult::Pass => Outcome::Pass,
        DmarcResult::Fail(_) => Outcome::Fail,
        DmarcResult::TempError(_) => Outcome::Temperror,
        DmarcResult::PermError(_) => Outcome::Permerror,
        DmarcResult::None => Outcome::None,
    }
}

fn policy(output: &DmarcOutput) -> Policy {
    match output.policy() {
        mail_auth::dmarc::Policy::Reject => Policy::Reject,
        mail_auth::dmarc::Policy::Quarantine => Policy::Quarantine,
        mail_auth::dmarc::Policy::None | mail_auth::dmarc::Policy::Unspecified => Policy::None,
    }
}

/// Of several signatures: one that passes says more than those that do not.
fn best(outcomes: impl Iterator<Item = Outcome>) -> Outcome {
    let rank = |outcome: &Outcome| match outcome {
        Outcome::None => 0,
        Outcome::Permerror => 1,
        Outcome::Neutral => 2,
        Outcome::Softfail => 3,
        Outcome::Fail => 4,
        Outcome::Temperror => 5,
        Outcome::Pass => 6,
    };
    outcomes.max_by_key(rank).unwrap_or_default()
}
