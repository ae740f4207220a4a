//! The one who is asked. Holds the settings that matter and, with `verify = "dns"`, the resolver.

use std::panic::AssertUnwindSafe;

use bridge_api::SettingsFault;
use futures_util::FutureExt;

use super::{Verdict, author, dns::Dns, relay::Relay};
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

    /// How far it is proved that the mail `raw` comes from whom its `From` fields name. Takes at most some 10 seconds.
    pub(crate) async fn judge(&self, raw: &[u8], envelope: &Envelope, from: &[Mailbox], from_fields: usize) -> Verdict {
        let domain = match author::domain(from, from_fields) {
            Ok(domain) => domain,
            Err(reason) => return Verdict::unverified(None, reason),
        };
        // Parsers of other hands read what strangers wrote: if one of them panics, it is the mail that loses.
        let verdict = AssertUnwindSafe(self.ask(raw, envelope, from, &domain)).catch_unwind().await;
        verdict.unwrap_or_else(|_| {
            tracing::warn!("a mail's proofs could not be examined");
            Verdict::unverified(Some(domain), "The proofs that this mail carries could not be read.")
        })
    }

    async fn ask(&self, raw: &[u8], envelope: &Envelope, from: &[Mailbox], domain: &str) -> Verdict {
        match &self.way {
            Way::Dns(dns) => dns.ask(raw, envelope, from, domain).await,
            Way::Relay(relay) => relay.read(raw, envelope, domain),
            Way::Off => Verdict::unverified(Some(domain.to_owned()), "Senders are not checked here: `verify` is off."),
        }
    }
}
