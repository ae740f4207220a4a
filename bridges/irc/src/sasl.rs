//! SASL as a pure exchange: PLAIN (RFC 4616), EXTERNAL, SCRAM-SHA-256 (RFC 7677), framed as `IRCv3` sasl-3.2 does.
//! Holds no socket and makes no randomness. `SASLprep` is not applied: ASCII needs none of it, other text is sent as it
//! was configured, and control characters are refused.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bridge_api::Secret;

mod scram;

use scram::{Final, Scram};

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
    #[error("the account is empty, or the account or password holds a control character")]
    Credentials,
    #[error("a scram nonce needs 16 or more printable characters without a comma")]
    Nonce,
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
    step: Step,
    received: String,
}

#[derive(Debug)]
enum Step {
    /// The server's empty challenge opens every exchange; this is the answer to it.
    Opening(Secret, Option<Scram>),
    Challenge(Scram),
    Proof(Final),
    Done,
    Failed,
}

/// Every base64 text is cut in pieces of this size; a shorter piece ends it.
const CHUNK_BYTES: usize = 400;

/// No honest server's message comes near.
const RECEIVED_BYTES_MAX: usize = 8 * 1024;

impl Exchange {
    /// `nonce`: at least 16 random printable characters, no comma; only SCRAM uses it.
    /// Send `AUTHENTICATE <mechanism name>` first, then feed what comes back.
    pub(crate) fn start(mechanism: Mechanism, credentials: &Credentials, nonce: &str) -> Result<Self, SaslError> {
        let step = match mechanism {
            Mechanism::External => Step::Opening(Secret::new(""), None),
            Mechanism::Plain => {
                let (account, password) = (prepared_account(credentials)?, credentials.password.expose());
                Step::Opening(Secret::new(format!("{account}\0{account}\0{password}")), None)
            }
            Mechanism::ScramSha256 => {
                let scram = Scram::new(prepared_account(credentials)?, credentials.password.clone(), nonce)?;
                Step::Opening(Secret::new(scram.client_first()), Some(scram))
            }
        };
        Ok(Self { step, received: String::new() })
    }

    /// Takes the parameter of one `AUTHENTICATE` from the server; gives the parameters of the ones to send now, in
    /// order (none: wait for more). With SCRAM one call runs the iterations, up to about half a second of work.
    pub(crate) fn feed(&mut self, chunk: &str) -> Result<Vec<Secret>, SaslError> {
        let answer = self.answer(chunk);
        if answer.is_err() {
            self.step = Step::Failed;
        }
        answer
    }

    /// Whether a 903 may be believed now: all was sent and, with SCRAM, the server proved itself.
    pub(crate) fn accepts_success(&self) -> bool {
        matches!(self.step, Step::Done)
    }

    fn answer(&mut self, chunk: &str) -> Result<Vec<Secret>, SaslError> {
        let Some(message) = self.receive(chunk)? else { return Ok(Vec::new()) };
        let (answer, next) = match std::mem::replace(&mut self.step, Step::Failed) {
            Step::Opening(..) if !message.is_empty() => {
                return Err(SaslError::Protocol("a challenge where none is due"));
            }
            Step::Opening(first, None) => (first, Step::Done),
            Step::Opening(first, Some(scram)) => (first, Step::Challenge(scram)),
            Step::Challenge(scram) => {
                let (client_final, last) = scram.answer(&message)?;
                (Secret::new(client_final), Step::Proof(last))
            }
            Step::Proof(last) => {
                last.verify(&message)?;
                (Secret::new(""), Step::Done)
            }
            Step::Done | Step::Failed => return Err(SaslError::Protocol("a challenge after the end")),
        };
        self.step = next;
        Ok(chunks(&answer))
    }

    /// The whole message once its last piece is here.
    fn receive(&mut self, chunk: &str) -> Result<Option<String>, SaslError> {
        if chunk.len() > CHUNK_BYTES || self.received.len() + chunk.len() > RECEIVED_BYTES_MAX {
            return Err(SaslError::Protocol("too long"));
        }
        if chunk != "+" {
            self.received.push_str(chunk);
        }
        if chunk.len() == CHUNK_BYTES {
            return Ok(None);
        }
        let bytes = STANDARD.decode(std::mem::take(&mut self.received));
        let bytes = bytes.map_err(|_| SaslError::Protocol("not base64"))?;
        String::from_utf8(bytes).map(Some).map_err(|_| SaslError::Protocol("not utf-8"))
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

/// A control character would cut PLAIN's fields, and `SASLprep` forbids it.
fn prepared_account(credentials: &Credentials) -> Result<&str, SaslError> {
    let forbidden = |text: &str| text.contains(char::is_control);
    if credentials.account.is_empty() || forbidden(&credentials.account) || forbidden(credentials.password.expose()) {
        return Err(SaslError::Credentials);
    }
    Ok(&credentials.account)
}

fn chunks(message: &Secret) -> Vec<Secret> {
    let text = Secret::new(STANDARD.encode(message.expose()));
    let pieces = text.expose().as_bytes().chunks(CHUNK_BYTES);
    let mut chunks: Vec<_> = pieces.map(|piece| Secret::new(String::from_utf8_lossy(piece))).collect();
    if text.expose().len().is_multiple_of(CHUNK_BYTES) {
        chunks.push(Secret::new("+"));
    }
    chunks
}

#[cfg(test)]
mod tests;
