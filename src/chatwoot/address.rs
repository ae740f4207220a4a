//! Which addresses are the public internet, and a resolver that knows no others.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use futures_util::future::BoxFuture;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};

/// Resolves names to public addresses only. What it returns is what is connected to, so a name that answers differently
/// the second time gains nothing.
pub(super) struct PublicOnly {
    lookup: Lookup,
}

/// What a name leads to.
type Lookup = fn(String) -> BoxFuture<'static, io::Result<Vec<SocketAddr>>>;

impl PublicOnly {
    /// As this system resolves names.
    pub(super) fn of_the_system() -> Self {
        Self { lookup: |name| Box::pin(async move { Ok(tokio::net::lookup_host((name, 0)).await?.collect()) }) }
    }
}

impl Resolve for PublicOnly {
    fn resolve(&self, name: Name) -> Resolving {
        let looked_up = (self.lookup)(name.as_str().to_owned());
        Box::pin(async move {
            let found = looked_up.await?;
            // One private address among public ones is not a storage that we want to know.
            if found.is_empty() || !found.iter().all(|address| is_public(address.ip())) {
                return Err(
                    io::Error::new(io::ErrorKind::PermissionDenied, "the name leads into a private network").into()
                );
            }
            let addresses: Addrs = Box::new(found.into_iter());
            Ok(addresses)
        })
    }
}

/// Whether the IANA special-purpose registries leave this address to the public internet. Addresses that carry an IPv4
/// address are judged by it.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !matches!(
        (a, b, c),
        (0 | 10 | 127 | 224..=255, _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (192, 168, _)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    )
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let [a, b, c, d, _, _, high, low] = address.segments();
    let carried = |high: u16, low: u16| is_public_v4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)));
    if address.to_ipv4_mapped().is_some() || (a, b, c, d) == (0x64, 0xff9b, 0, 0) {
        return carried(high, low);
    }
    match (a, b) {
        (0x2002, _) => carried(b, c),
        // 2001::/23 is for protocols (Teredo among them), the others for documents.
        (0x2001, 0..=0x1ff | 0xdb8) | (0x3fff, 0..=0xfff) => false,
        _ => a & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    use std::{
        net::SocketAddr,
        sync::{
            OnceLock,
            atomic::{AtomicUsize, Ordering},
        },
    };

    use reqwest::dns::Resolve;

    use super::{PublicOnly, is_public};

    #[test]
    fn only_the_public_internet_is_public() {
        let public = ["1.1.1.1", "100.63.0.1", "172.32.0.1", "192.0.1.1", "223.255.255.1", "2606:4700::1111"];
        let carried = ["::ffff:1.1.1.1", "64:ff9b::101:101", "2002:101:101::1"];
        for address in public.iter().chain(&carried) {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
        let private = "0.0.0.0 0.1.2.3 10.0.0.1 100.64.0.1 100.127.255.255 127.0.0.1 127.255.0.1 169.254.169.254 172.16.0.1 \
            172.31.255.255 192.0.0.170 192.0.2.1 192.88.99.1 192.168.1.1 198.18.0.1 198.19.0.1 198.51.100.1 203.0.113.1 \
            224.0.0.1 240.0.0.1 255.255.255.255 :: ::1 ::127.0.0.1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 64:ff9b::7f00:1 \
            64:ff9b:1::1 2002:7f00:1:: 2002:a00:1:: 2001::1 2001:db8::1 3fff::1 100::1 fc00::1 fd00::1 fe80::1 fec0::1 ff02::1 \
            5f00::1";
        for address in private.split_whitespace() {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[tokio::test]
    async fn a_name_for_ourselves_is_not_resolved() {
        for name in ["localhost", "localhost.", "127.0.0.1"] {
            assert!(PublicOnly::of_the_system().resolve(name.parse().unwrap()).await.is_err(), "{name}");
        }
    }

    /// First a public address, then our own, then one of each: what is looked up is what is connected to, so the second
    /// answer is looked at as the first was, and nothing is connected to before.
    #[tokio::test]
    async fn a_name_that_leads_elsewhere_the_second_time_leads_nowhere() {
        static ASKED: AtomicUsize = AtomicUsize::new(0);
        static TRAP: OnceLock<u16> = OnceLock::new();
        let trap = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = trap.local_addr().unwrap().port();
        TRAP.set(port).unwrap();
        let resolver = || PublicOnly {
            lookup: |_| {
                let answer = match ASKED.fetch_add(1, Ordering::Relaxed) {
                    0 => &["1.1.1.1"][..],
                    1 => &["127.0.0.1"],
                    2 => &["1.1.1.1", "127.0.0.1"],
                    3 => &["::ffff:127.0.0.1"],
                    _ => &[],
                };
                let port = *TRAP.get().unwrap();
                let answer = answer.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), port)).collect();
                Box::pin(std::future::ready(Ok(answer)))
            },
        };
        let first: Vec<_> = resolver().resolve("rebind.example".parse().unwrap()).await.unwrap().collect();
        assert_eq!(first, ["1.1.1.1".parse().map(|ip| SocketAddr::new(ip, port)).unwrap()]);
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder().no_proxy().dns_resolver(resolver()).build().unwrap();
        for _ in 1..5 {
            assert!(client.get(format!("http://rebind.example:{port}/x")).send().await.is_err());
        }
        assert_eq!(ASKED.load(Ordering::Relaxed), 5, "each time it was asked anew");
        let knocked = tokio::time::timeout(std::time::Duration::from_millis(50), trap.accept()).await;
        assert!(knocked.is_err(), "somebody came to the trap");
    }
}
