//! How far the sender of a mail is proved: by asking DNS (SPF, DKIM, DMARC, ARC) or by what the mail server in front says.
//! Only an explicit pass that fits the `From` address counts. Never decides what becomes of a mail, and never fails.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Serialize};

mod author;
mod dns;
mod judge;
mod relay;
mod results;
mod signed;
#[cfg(test)]
pub(crate) mod tests;
mod weigh;

pub(crate) use dns::authenticator;
pub(crate) use judge::{Case, Judge};

/// How far a sender is proved. Later ones are better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Level {
    /// The domain in `From` publishes how its mail is proved, asks that other mail be refused or set aside, and this is other
    /// mail.
    Failed,
    /// Nothing speaks for it.
    Unverified,
    /// The domain has no DMARC record, but lets the server that brought the mail send for it.
    Weak,
    /// The domain in `From` stands for it.
    Verified,
}

/// The result of one check, by the words of RFC 8601.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Outcome {
    #[default]
    None,
    Pass,
    Fail,
    Softfail,
    Neutral,
    Temperror,
    Permerror,
}

/// What a domain asks receivers to do with mail that fails its checks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Policy {
    #[default]
    None,
    Quarantine,
    Reject,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) level: Level,
    pub(crate) spf: Outcome,
    pub(crate) dkim: Outcome,
    pub(crate) dmarc: Outcome,
    pub(crate) arc: Outcome,
    pub(crate) dmarc_policy: Policy,
    /// Of the `From` address, when there is exactly one.
    pub(crate) domain: Option<String>,
    /// One sentence for an agent.
    pub(crate) reason: String,
    /// Trouble with DNS stood in the way: asking again later may prove more.
    pub(crate) retry: bool,
}

impl Level {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Unverified => "unverified",
            Self::Weak => "weak",
            Self::Verified => "verified",
        }
    }
}

impl Outcome {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Pass => "pass",
            Self::Fail => "fail",
            Self::Softfail => "softfail",
            Self::Neutral => "neutral",
            Self::Temperror => "temperror",
            Self::Permerror => "permerror",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Verdict {
    /// A sender for whom nothing was found out.
    pub(crate) fn unverified(domain: Option<String>, reason: impl Into<String>) -> Self {
        Self {
            level: Level::Unverified,
            spf: Outcome::None,
            dkim: Outcome::None,
            dmarc: Outcome::None,
            arc: Outcome::None,
            dmarc_policy: Policy::None,
            domain,
            reason: reason.into(),
            retry: false,
        }
    }

    /// Kept with the message.
    pub(crate) fn facts(&self) -> BTreeMap<String, String> {
        let words = [
            ("mail_auth", self.level.as_str()),
            ("mail_spf", self.spf.as_str()),
            ("mail_dkim", self.dkim.as_str()),
            ("mail_dmarc", self.dmarc.as_str()),
            ("mail_arc", self.arc.as_str()),
        ];
        words.into_iter().map(|(name, word)| (name.to_owned(), word.to_owned())).collect()
    }

    /// Kept with the contact.
    pub(crate) fn contact_facts(&self) -> BTreeMap<String, String> {
        BTreeMap::from([("mail_auth".to_owned(), self.level.as_str().to_owned())])
    }
}
