//! SASL as a pure exchange: PLAIN, EXTERNAL, SCRAM-SHA-256. Holds no socket, makes no randomness.

use bridge_api::Secret;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Mechanism {
    External,
    ScramSha256,
    Plain,
}

#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    pub(crate) account: String,
    pub(crate) password: Secret,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SaslError {
    #[error("the account or password holds a control character, or the account is empty")]
    Credentials,
    #[error("the server's sasl answer makes no sense: {0}")]
    Protocol(&'static str),
    #[error("the server refused the log-in: {0:?}")]
    Refused(String),
    #[error("the server asks for {0} scram iterations (allowed: 4096 to 600000)")]
    Iterations(u64),
    #[error("the server could not prove that it knows the password")]
    ServerSignature,
}

/// One log-in. On any error send `AUTHENTICATE *`; on [`SaslError::ServerSignature`] disconnect as well.
#[derive(Debug)]
pub(crate) struct Exchange {
    mechanism: Mechanism,
}

impl Exchange {
    /// `nonce`: at least 16 random printable characters, no comma; only SCRAM uses it.
    /// Send `AUTHENTICATE <mechanism name>` first, then feed what comes back.
    pub(crate) fn start(mechanism: Mechanism, credentials: &Credentials, nonce: &str) -> Result<Self, SaslError> {
        let _ = (credentials, nonce);
        Ok(Self { mechanism })
    }

    pub(crate) fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// Takes the parameter of one `AUTHENTICATE` from the server; gives the parameters of the ones to send now, in
    /// order (none: wait for more).
    pub(crate) fn feed(&mut self, chunk: &str) -> Result<Vec<Secret>, SaslError> {
        let _ = chunk;
        Ok(Vec::new())
    }

    /// Whether a 903 may be believed now: all was sent and, with SCRAM, the server proved itself.
    pub(crate) fn accepts_success(&self) -> bool {
        false
    }
}

impl Mechanism {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::External => "EXTERNAL",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::Plain => "PLAIN",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::External, Self::ScramSha256, Self::Plain].into_iter().find(|own| own.name().eq_ignore_ascii_case(name))
    }
}
