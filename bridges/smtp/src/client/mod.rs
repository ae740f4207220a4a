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
mod tests;

pub(crate) use envelope::Addressed;
pub(crate) use pool::Relay;
