//! The names under which a browser may ask for the page. A foreign name that was made to lead to our address (DNS
//! rebinding) is none of them, so a page that came from there cannot read ours.

use std::net::IpAddr;

use axum::http::{HeaderMap, Uri, header, uri::Authority};

/// Ports are not compared: a port that is forwarded has another number outside, and a foreign name stays foreign
/// whatever its port.
#[derive(Clone, Debug)]
pub struct Hosts {
    /// In lower case, without port.
    named: Vec<String>,
    listen: IpAddr,
}

impl Hosts {
    /// Where the gateway listens, and further names.
    pub fn new<'a>(listen: IpAddr, named: impl IntoIterator<Item = &'a str>) -> Self {
        Self { named: named.into_iter().map(|name| plain(name).to_owned()).map(|n| n.to_lowercase()).collect(), listen }
    }

    /// Whether the request is for us, under each name that it gives.
    pub(super) fn allow(&self, uri: &Uri, headers: &HeaderMap) -> bool {
        let mut given = headers.get_all(header::HOST).iter();
        let host = given.next().and_then(|host| host.to_str().ok());
        let target = uri.authority().is_none_or(|target| self.allows(target.as_str()));
        given.next().is_none() && host.is_some_and(|host| self.allows(host)) && target
    }

    fn allows(&self, authority: &str) -> bool {
        let Some(host) = host_of(authority) else { return false };
        match host.parse::<IpAddr>() {
            // No name leads to an address that is written out, so where we listen on all of them, all are ours.
            Ok(address) => {
                let ours = if self.listen.is_unspecified() { true } else { address == self.listen };
                ours || address.to_canonical().is_loopback() || self.named.contains(&host)
            }
            Err(_) => host == "localhost" || host.ends_with(".localhost") || self.named.contains(&host),
        }
    }
}

/// Without its port, brackets and last dot, in lower case. `None` for what names no host, or more than one.
fn host_of(authority: &str) -> Option<String> {
    let parsed: Authority = authority.parse().ok()?;
    if authority.contains('@') {
        return None;
    }
    Some(plain(parsed.host()).to_lowercase()).filter(|host| !host.is_empty())
}

fn plain(host: &str) -> &str {
    host.trim_start_matches('[').trim_end_matches(']').trim_end_matches('.')
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::*;

    #[test]
    fn a_name_is_ours_when_it_leads_to_us_and_to_nobody_else() {
        let loopback = Hosts::new(Ipv4Addr::LOCALHOST.into(), ["Status.acme.example", "192.0.2.7"]);
        let everywhere = Hosts::new(Ipv6Addr::UNSPECIFIED.into(), []);
        for (host, by_loopback, by_everywhere) in [
            ("127.0.0.1:8600", true, true),
            ("127.8.9.1", true, true),
            ("[::1]:8600", true, true),
            ("[::ffff:127.0.0.1]", true, true),
            ("localhost", true, true),
            ("LOCALHOST:1", true, true),
            ("localhost.", true, true),
            ("desk.localhost:8600", true, true),
            ("status.acme.example", true, false),
            ("STATUS.acme.example.:443", true, false),
            ("192.0.2.7:8600", true, true),
            ("192.0.2.8:8600", false, true),
            ("[2001:db8::1]", false, true),
            ("evil.example", false, false),
            ("127.0.0.1.evil.example", false, false),
            ("localhost.evil.example", false, false),
            ("localhost@evil.example", false, false),
            ("evil.example@localhost", false, false),
            ("evil.example#localhost", false, false),
            ("", false, false),
            (" localhost", false, false),
        ] {
            assert_eq!((loopback.allows(host), everywhere.allows(host)), (by_loopback, by_everywhere), "{host}");
        }
    }

    #[test]
    fn a_request_that_gives_two_names_is_refused() {
        let hosts = Hosts::new(Ipv4Addr::LOCALHOST.into(), []);
        let headers = |names: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for name in names {
                headers.append(header::HOST, name.parse().unwrap());
            }
            headers
        };
        let plain: Uri = "/".parse().unwrap();
        assert!(hosts.allow(&plain, &headers(&["localhost"])));
        assert!(!hosts.allow(&plain, &headers(&[])));
        assert!(!hosts.allow(&plain, &headers(&["localhost", "localhost"])));
        assert!(!hosts.allow(&"http://evil.example/".parse().unwrap(), &headers(&["localhost"])));
    }
}
