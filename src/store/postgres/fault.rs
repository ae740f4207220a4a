//! What an error of the database means to a verb. Nothing here ends the process: a server that is gone, restarts or
//! hands over to another comes back.

use tokio_postgres::{Error, error::SqlState};

use crate::store::StoreError;

/// Why a transaction did not happen, or may have.
#[derive(Debug)]
pub(super) enum Failure {
    /// The connection is of no use any more, and was so before the commit was asked for: surely nothing happened.
    Lost(String),
    /// The answer to the commit was lost.
    Unknown(String),
    /// Others wanted the same at the same moment: what was read is no longer so, nothing happened, do it again.
    Raced(String),
    /// The fault lies in what one verb asked for, so that the others may be tried without it.
    OfOneVerb(String),
    /// Cannot be done now.
    Passing(String),
    /// The verb's own answer.
    Refused(StoreError),
}

impl Failure {
    /// Without what verbs put before it.
    pub(super) fn words(self) -> String {
        match self {
            Self::Refused(error) => error.to_string(),
            Self::Lost(reason)
            | Self::Unknown(reason)
            | Self::Raced(reason)
            | Self::OfOneVerb(reason)
            | Self::Passing(reason) => reason,
        }
    }

    pub(super) fn reason(self) -> StoreError {
        match self {
            Self::Refused(error) => error,
            Self::Unknown(reason) => StoreError::Unwritable(format!(
                "the database was lost while it committed, so this may have happened all the same: {reason}"
            )),
            Self::Lost(reason) | Self::Raced(reason) | Self::OfOneVerb(reason) | Self::Passing(reason) => {
                StoreError::Unwritable(reason)
            }
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let reason = words(&error);
        let Some(code) = error.code() else { return Self::Lost(reason) };
        // By class, which PostgreSQL keeps stable while codes are added.
        match (&code.code()[..2], code) {
            (_, &SqlState::T_R_DEADLOCK_DETECTED | &SqlState::T_R_SERIALIZATION_FAILURE) => Self::Raced(reason),
            // A server that only reads has handed over to another.
            ("08", _)
            | (
                _,
                &SqlState::ADMIN_SHUTDOWN
                | &SqlState::CRASH_SHUTDOWN
                | &SqlState::CANNOT_CONNECT_NOW
                | &SqlState::DATABASE_DROPPED
                | &SqlState::IDLE_IN_TRANSACTION_SESSION_TIMEOUT
                | &SqlState::READ_ONLY_SQL_TRANSACTION,
            ) => Self::Lost(reason),
            // Values that it cannot keep, or what is there already.
            ("21" | "22" | "23" | "54", _) => Self::OfOneVerb(reason),
            _ => Self::Passing(reason),
        }
    }
}

/// With what it comes from, which `Display` alone leaves out; never with what was asked for.
pub(super) fn words(error: &Error) -> String {
    match (error.as_db_error(), std::error::Error::source(error)) {
        (Some(told), _) => format!("{} ({})", told.message(), told.code().code()),
        (None, Some(source)) => format!("{error}: {source}"),
        (None, None) => error.to_string(),
    }
}
