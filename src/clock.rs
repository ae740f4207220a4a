//! The one place that asks what time it is. Everything else is told.

use std::time::{SystemTime, UNIX_EPOCH};

/// Unix time in milliseconds. For stamps and due times that outlive the process, never for measuring.
#[expect(clippy::disallowed_methods, reason = "this is the place")]
pub fn now_millis() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}
