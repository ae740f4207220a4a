//! Where the page's mails go: a host and a port. A name is looked up for each mail, so that it may come to be later.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;

/// `127.0.0.1:2525`, `[::1]:2525` or `gateway:2525`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailTarget(String);

/// Why a text is none.
#[derive(Debug, thiserror::Error)]
#[error("write a host and a port, like 127.0.0.1:2525")]
pub struct NoTarget;

impl MailTarget {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for MailTarget {
    type Err = NoTarget;

    fn from_str(text: &str) -> Result<Self, NoTarget> {
        let is_name = |host: &str| {
            !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_'))
        };
        let named = text.rsplit_once(':').is_some_and(|(host, port)| is_name(host) && port.parse::<u16>().is_ok());
        (named || text.parse::<SocketAddr>().is_ok()).then(|| Self(text.to_owned())).ok_or(NoTarget)
    }
}

impl From<SocketAddr> for MailTarget {
    fn from(address: SocketAddr) -> Self {
        Self(address.to_string())
    }
}

impl fmt::Display for MailTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_a_host_or_an_address_and_a_port() {
        for good in ["127.0.0.1:2525", "[::1]:25", "gateway:2525", "mail.acme.example:25", "my_gateway:1"] {
            assert_eq!(good.parse::<MailTarget>().map(|target| target.to_string()).ok().as_deref(), Some(good));
        }
        for bad in ["", "nowhere", "gateway:", ":2525", "gateway:smtp", "gateway:70000", "a b:25", "::1:25", "x/y:25"] {
            assert!(bad.parse::<MailTarget>().is_err(), "{bad}");
        }
    }
}
