//! What an error of SQLite means to the store. Decides once whether it may pass.

use std::sync::{Arc, OnceLock};

use rusqlite::{Error, ErrorCode, ffi};

use crate::store::StoreError;

/// Why a verb did not happen inside its transaction.
pub(super) enum Failure {
    /// The verb's own answer. It has changed nothing, so the others in the transaction stay.
    Refused(StoreError),
    /// The transaction as a whole must be rolled back.
    Sql(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Sql(error)
    }
}

/// Remembers the first failure after which nothing may be believed. Shared by all threads of a store.
#[derive(Clone, Debug, Default)]
pub(super) struct Soundness(Arc<OnceLock<String>>);

impl Soundness {
    pub(super) fn check(&self) -> Result<(), StoreError> {
        self.0.get().map_or(Ok(()), |text| Err(StoreError::Broken(text.clone())))
    }

    /// The error in the store's words; a fatal one stays.
    pub(super) fn judge(&self, error: &Error) -> StoreError {
        let text = error.to_string();
        if is_fatal(error) { self.broke(&text) } else { StoreError::Unwritable(text) }
    }

    pub(super) fn broke(&self, text: &str) -> StoreError {
        tracing::error!(error = ?text, "the store is broken");
        StoreError::Broken(self.0.get_or_init(|| text.to_owned()).clone())
    }
}

/// A sync that failed proves nothing when it is repeated: the kernel may have dropped the pages. What
/// could not even be written is rolled back and may work later.
fn is_fatal(error: &Error) -> bool {
    let Some(error) = error.sqlite_error() else { return false };
    let may_pass = [
        ffi::SQLITE_IOERR_WRITE,
        ffi::SQLITE_IOERR_NOMEM,
        ffi::SQLITE_IOERR_SHMOPEN,
        ffi::SQLITE_IOERR_SHMSIZE,
        ffi::SQLITE_IOERR_SHMMAP,
    ];
    matches!(error.code, ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        || error.code == ErrorCode::SystemIoFailure && !may_pass.contains(&error.extended_code)
}

/// Whether the fault lies in what one verb asked for, so that the others may be tried without it.
pub(super) fn is_of_one_verb(error: &Error) -> bool {
    match error.sqlite_error() {
        Some(error) => {
            matches!(error.code, ErrorCode::TooBig | ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch)
        }
        None => true,
    }
}
