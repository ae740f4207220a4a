//! The way out: connections to the relay, and the SMTP machine of the sending side.
