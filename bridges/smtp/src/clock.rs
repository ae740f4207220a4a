//! The one place of this crate that asks what time it is.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix milliseconds.
#[expect(clippy::disallowed_methods, reason = "mails are stamped where they come in and go out")]
pub(crate) fn now_millis() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
