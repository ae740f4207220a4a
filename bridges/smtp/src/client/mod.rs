//! The way out: connections to the relay, and the SMTP machine of the sending side.

mod dots;
mod driver;
mod envelope;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) mod fuzzing;
mod machine;
mod pool;
mod reply;
mod tls;

#[cfg(test)]
pub(crate) mod tests;

pub(crate) use driver::Wire;
pub(crate) use envelope::{Addressed, Offers};
pub(crate) use pool::Relay;
pub(crate) use reply::{Reader, Reply};
pub(crate) use tls::{bare, connector, server_name};
