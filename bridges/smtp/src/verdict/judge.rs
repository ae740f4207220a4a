//! The one who is asked. Holds the settings that matter and, with `verify = "dns"`, the resolver.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bridge_api::SettingsFault;
use futures_util::FutureExt;

use super::{
    Verdict, author,
    dns::Dns,
    relay::Relay,
    signed::{self, Hashed},
};
use crate::{
    envelope::Envelope,
    mail::Mailbox,
    settings::{Settings, Verify},
};

#[derive(Debug)]
pub(crate) struct Judge {
    way: Way,
}

#[derive(Debug)]
enum Way {
    Dns(Box<Dns>),
    Relay(Relay),
    Off,
}

impl Judge {
    pub(crate) fn new(settings: &Settings) -> Result<Self, SettingsFault> {
        let way = match settings.verify {
            Verify::Dns => Way::Dns(Box::new(Dns::new(settings)?)),
            Verify::Relay => Way::Relay(Relay::new(settings)),
            Verify::Off => Way::Off,
        };
        Ok(Self { way })
    }

    /// What there is to ask about a mail, read from the mail itself. Takes time in proportion to it.
    pub(crate) fn case(&self, raw: &[u8], envelope: &Envelope, from: &[Mailbox], from_fields: usize) -> Case {
        let domain = match author::domain(from, from_fields) {
            Ok(domain) => domain,
            Err(reason) => return Case::decided(Verdict::unverified(None, reason)),
        };
        // Parsers of other hands read what strangers wrote: if one of them panics, it is the mail that loses.
        let read = AssertUnwindSafe(|| match &self.way {
            Way::Dns(_) => signed::hashed(raw).map(|mail| Case(Stage::Open { mail, domain: domain.clone() })),
            Way::Relay(relay) => Ok(Case::decided(relay.read(raw, envelope, &domain))),
            Way::Off => Err("Senders are not checked here: `verify` is off."),
        });
        match catch_unwind(read).unwrap_or(Err(UNREADABLE)) {
            Ok(case) => case,
            Err(reason) => Case::decided(Verdict::unverified(Some(domain), reason)),
        }
    }

    /// How far it is proved that a mail comes from whom its `From` fields name. Takes at most some 10 seconds, and needs
    /// the mail itself no more.
    pub(crate) async fn judge(&self, case: &Case, envelope: &Envelope, from: &[Mailbox]) -> Verdict {
        let (mail, domain) = match &case.0 {
            Stage::Decided(verdict) => return verdict.as_ref().clone(),
            Stage::Open { mail, domain } => (mail, domain),
        };
        let unreadable = || Verdict::unverified(Some(domain.clone()), UNREADABLE);
        let Way::Dns(dns) = &self.way else { return unreadable() };
        let verdict = AssertUnwindSafe(dns.ask(mail, envelope, from, domain)).catch_unwind().await;
        verdict.unwrap_or_else(|_| {
            tracing::warn!("a mail's proofs could not be examined");
            unreadable()
        })
    }
}

const UNREADABLE: &str = "The proofs that this mail carries could not be read.";

/// A mail before its judge.
pub(crate) struct Case(Stage);

enum Stage {
    /// Nobody has to be asked.
    Decided(Box<Verdict>),
    Open {
        mail: Hashed,
        domain: String,
    },
}

impl Case {
    fn decided(verdict: Verdict) -> Self {
        Self(Stage::Decided(Box::new(verdict)))
    }
}
