//! What must hold for any bytes that name a file, and of all callbacks.

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::LazyLock,
};

use bridge_api::{
    Secret,
    kit::fuzz::{Random, Target},
};
use reqwest::Url;

use super::{
    AccountId, Client, ClientSettings, InboxId,
    callback::fuzzing::{GATE, SIGNATURE},
    files::Way,
    text::{file_name, safe_name, shown},
};

/// All of this room.
pub const TARGETS: &[Target] = &[GATE, SIGNATURE, FILE_NAME, FILE_ADDRESS];

/// A file's name, from its address or from a network, is one word of a path at most, and hides nothing.
const FILE_NAME: Target = Target { name: "file_name", check: name, runs: 8_000 };

fn name(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for name in [file_name(&text), safe_name(&text)] {
        assert!((1..=120).contains(&name.len()) && !name.contains(['/', '\\']), "{name:?}");
        assert!(!name.starts_with('.') && name.trim() == name, "{name:?}");
        assert!(!name.contains(hides), "{name:?}");
    }
    let line = shown(&text);
    assert!(!line.contains(hides) && line.chars().count() <= 201, "{line:?}");
}

fn hides(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Of all addresses only those of the settings, and by https what is public, are ever connected to.
///
/// Each line is an address as a message or a redirect gives it. An IP address made of the same bytes is tried in many
/// spellings as well.
const FILE_ADDRESS: Target = Target { name: "file_address", check: address, runs: 3_000 };

static CLIENT: LazyLock<Client> = LazyLock::new(|| {
    let url = |text: &str| Url::parse(text).expect("an address");
    let settings =
        ClientSettings::new(url("https://desk.example/"), AccountId(1), InboxId(7), Secret::new("canary-token"));
    Client::new(ClientSettings { file_origins: vec![url("http://bucket.example:9000")], ..settings }).expect("a client")
});

fn address(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for line in text.lines() {
        // From the start, or as the target of a redirect.
        for base in ["https://desk.example/", "http://bucket.example:9000/x", "https://cdn.example/y"] {
            if let Ok(url) = Url::parse(base).expect("an address").join(line) {
                assert_way(&CLIENT.here(url));
            }
        }
    }
    let mut random = Random::of(data);
    let mut half = || random.below(1 << 16) as u16;
    // Most of the space is public or reserved as a whole, so some are drawn to the edges of what is private.
    let first =
        *[0, 10, 100, 127, 169, 172, 192, 198, 203, 224, 1].get(usize::from(half() % 16)).unwrap_or(&(half() >> 8));
    let second =
        *[0, 2, 16, 31, 51, 63, 64, 88, 127, 128, 168, 254, 18].get(usize::from(half() % 16)).unwrap_or(&(half() >> 8));
    let v4 = Ipv4Addr::from(u32::from(first) << 24 | u32::from(second) << 16 | u32::from(half()));
    let prefix = *[0, 0x64, 0x2001, 0x2002, 0x3fff, 0xfc00, 0xfe80, 0xff02, 0x2606]
        .get(usize::from(half() % 12))
        .unwrap_or(&half());
    let v6 = Ipv6Addr::new(prefix, half() % 4 * 0xdb8, half(), half(), half(), half(), half(), half());
    assert_spellings(v4);
    assert_literal(&format!("[{v6}]"), public_v6(v6));
}

fn assert_spellings(address: Ipv4Addr) {
    let public = public_v4(address);
    let bits = address.to_bits();
    let [a, b, c, d] = address.octets();
    for host in [
        address.to_string(),
        bits.to_string(),
        format!("{bits:#x}"),
        format!("0{bits:o}"),
        format!("{a}.{}", bits & 0xff_ffff),
        format!("{a:#x}.{b:#o}.{c}.{d}").replace("0o", "0"),
        format!("{address}."),
        format!("[::ffff:{address}]"),
        format!("[64:ff9b::{address}]"),
        format!("[2002:{:x}:{:x}::1]", bits >> 16, bits & 0xffff),
    ] {
        assert_literal(&host, public);
    }
    assert_literal(&format!("[::{address}]"), false);
}

fn assert_literal(host: &str, public: bool) {
    let url = Url::parse(&format!("https://{host}/x")).unwrap_or_else(|error| panic!("{host}: {error}"));
    assert_eq!(CLIENT.way(&url).ok(), public.then_some(Way::Outside), "{host}");
    let plain = Url::parse(&format!("http://{host}/x")).expect("an address");
    assert!(CLIENT.way(&plain).is_err(), "{host}");
}

fn assert_way(url: &Url) {
    let Ok(way) = CLIENT.way(url) else { return };
    assert!(url.username().is_empty() && url.password().is_none(), "{url}");
    let host = url.host_str().unwrap_or_default().to_owned();
    let place = (url.scheme(), host.as_str(), url.port_or_known_default());
    let ours = [("https", "desk.example", Some(443)), ("http", "bucket.example", Some(9000))];
    if way == Way::Inside {
        assert!(ours.contains(&place), "{url}");
    } else {
        assert!(url.scheme() == "https" && !host.is_empty() && !ours.contains(&place), "{url}");
        let literal: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
        assert!(literal.is_none_or(|address| match address {
            IpAddr::V4(address) => public_v4(address),
            IpAddr::V6(address) => public_v6(address),
        }));
    }
}

/// By the standard library's words where it has one: another reading of the registries than the one that is checked.
fn public_v4(address: Ipv4Addr) -> bool {
    let bits = address.to_bits();
    let within = |network: [u8; 4], prefix: u32| bits >> (32 - prefix) == u32::from_be_bytes(network) >> (32 - prefix);
    let reserved = [
        ([0, 0, 0, 0], 8),
        ([100, 64, 0, 0], 10),
        ([192, 0, 0, 0], 24),
        ([192, 88, 99, 0], 24),
        ([198, 18, 0, 0], 15),
        ([240, 0, 0, 0], 4),
    ];
    !(address.is_private()
        || address.is_loopback()
        || address.is_link_local()
        || address.is_documentation()
        || address.is_multicast()
        || reserved.iter().any(|(network, prefix)| within(*network, *prefix)))
}

fn public_v6(address: Ipv6Addr) -> bool {
    let bits = address.to_bits();
    let within = |network: &str, prefix: u32| {
        let network: Ipv6Addr = network.parse().expect("an address");
        bits >> (128 - prefix) == network.to_bits() >> (128 - prefix)
    };
    if let Some(inner) = address.to_ipv4_mapped() {
        return public_v4(inner);
    }
    // As it is written: NAT64 ends with the address that it stands for, 6to4 begins with it.
    if within("64:ff9b::", 64) {
        return public_v4(Ipv4Addr::from(bits as u32));
    }
    if within("2002::", 16) {
        return public_v4(Ipv4Addr::from((bits >> 80) as u32));
    }
    within("2000::", 3)
        && !["2001::/23", "2001:db8::/32", "3fff::/20"].iter().any(|reserved| {
            let (network, prefix) = reserved.split_once('/').expect("a prefix");
            within(network, prefix.parse().expect("a number"))
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_note_passes_and_nothing_but_what_was_written_for_the_peer() {
        GATE.play();
    }

    #[test]
    fn only_the_right_signature_over_these_bytes_passes() {
        SIGNATURE.play();
    }

    #[test]
    fn any_name_of_a_file_is_harmless() {
        FILE_NAME.play();
    }

    #[test]
    fn no_address_leads_into_a_private_network() {
        FILE_ADDRESS.play();
    }
}
