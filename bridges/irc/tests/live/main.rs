//! The bridge against real servers from the distribution's packages. A missing server is a loud
//! skip on a laptop and a failure where `CI` is set.

mod inspircd;
mod ngircd;
mod peer;
mod server;
