//! Why an effect did not happen, sorted by what the caller must do next.

use std::{fmt, time::Duration};

/// The four code paths of the caller, chosen where the knowledge is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// Surely not done; later may work. Waits in place, one attempt spent.
    Retry { after: Option<Duration> },
    /// May be done. Probed before anything is repeated.
    Unknown,
    /// Never will be. A dead letter, and the agent is told why.
    Refused,
    /// The far side as a whole cannot be used. Holds the sink and spends no attempt.
    Down { after: Option<Duration> },
}

/// A failed attempt. Unclassified failures are `Unknown` once anything was sent, else `Retry`.
#[derive(Debug, thiserror::Error)]
pub struct Fault {
    pub kind: FaultKind,
    /// One sentence for a person: lower case, no full stop, no secret.
    pub reason: String,
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reason)
    }
}

impl Fault {
    pub fn new(kind: FaultKind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into(), source: None }
    }
    pub fn retry(reason: impl Into<String>) -> Self {
        Self::new(FaultKind::Retry { after: None }, reason)
    }
    pub fn retry_after(after: Duration, reason: impl Into<String>) -> Self {
        Self::new(FaultKind::Retry { after: Some(after) }, reason)
    }
    pub fn unknown(reason: impl Into<String>) -> Self {
        Self::new(FaultKind::Unknown, reason)
    }
    pub fn refused(reason: impl Into<String>) -> Self {
        Self::new(FaultKind::Refused, reason)
    }
    pub fn down(reason: impl Into<String>) -> Self {
        Self::new(FaultKind::Down { after: None }, reason)
    }
    /// The whole far side asks for a pause of this length.
    pub fn down_for(after: Duration, reason: impl Into<String>) -> Self {
        Self::new(FaultKind::Down { after: Some(after) }, reason)
    }
    #[must_use]
    pub fn because(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Box::new(source));
        self
    }
}

/// Settings that are well formed but cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {reason}")]
pub struct SettingsFault {
    /// The adapter's key, dotted where it is nested, for example `sasl.account`.
    pub key: String,
    /// What is wrong and the way out.
    pub reason: String,
}

impl SettingsFault {
    pub fn new(key: impl Into<String>, reason: impl Into<String>) -> Self {
        Self { key: key.into(), reason: reason.into() }
    }
}
