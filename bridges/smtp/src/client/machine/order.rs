//! What the driver tells the machine and what it is told.

use std::fmt;

use bridge_api::{Fault, Secret};

use crate::{client::envelope::Addressed, settings::Security};

/// How to speak with the relay.
#[derive(Debug)]
pub(crate) struct Manners {
    pub(crate) hostname: String,
    pub(crate) security: Security,
    pub(crate) login: Option<(String, Secret)>,
}

#[derive(Debug)]
pub(crate) enum Input<'a> {
    /// The connection stands, under TLS when the settings say so.
    Connected {
        loopback: bool,
    },
    Bytes(&'a [u8]),
    /// The handshake that was asked for succeeded.
    Secured,
    /// Is the connection still good for a mail? Forgets the last one.
    Reset,
    Mail(Addressed),
    /// The whole data is written, and the final dot is about to be.
    Finishing,
    Quit,
}

/// What the driver does next.
pub(crate) enum Output {
    Write(Vec<u8>),
    /// Do the handshake, then say so.
    Secure,
    /// A mail may come.
    Ready,
    /// Write the data.
    Body,
    Accepted(Accepted),
    Failed(Fault),
}

/// Says the kind alone: what is written may be a password.
impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Write(bytes) => write!(f, "Write({} bytes)", bytes.len()),
            Self::Secure => f.write_str("Secure"),
            Self::Ready => f.write_str("Ready"),
            Self::Body => f.write_str("Body"),
            Self::Accepted(accepted) => write!(f, "{accepted:?}"),
            Self::Failed(fault) => write!(f, "Failed({fault:?})"),
        }
    }
}

/// The relay took the mail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Accepted {
    /// Its words, with its own name for the mail as a rule. For the log.
    pub(crate) words: String,
    /// Whom it refused of those who were to get a copy, one sentence each.
    pub(crate) left_out: Vec<String>,
}

/// What is waited for, for the time limits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    Greeting,
    Command,
    Body,
    Final,
}
