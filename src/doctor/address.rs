//! Where callbacks should come, and addresses as they may be shown. Pure, but for looking up a name.

use std::time::Duration;

use bridge_api::Secret;
use reqwest::Url;
use tokio::time::timeout;

use crate::{
    chatwoot::is_public,
    settings::{HttpUrl, Inbox},
};

const LOOK_UP_LIMIT: Duration = Duration::from_secs(5);

/// The callback address that an inbox of this name should have.
pub(super) fn wanted(public_url: &HttpUrl, name: &str, inbox: &Inbox) -> String {
    let token = inbox.callback_path_token.as_ref().filter(|_| inbox.callback_secret.is_none());
    let token = token.map(|token: &Secret| format!("/{}", token.expose())).unwrap_or_default();
    format!("{}/callbacks/{name}{token}", public_url.base())
}

/// Whether two texts are one address: host in any case, a usual port written or not.
pub(super) fn same(one: &str, other: &str) -> bool {
    match (Url::parse(one), Url::parse(other)) {
        (Ok(one), Ok(other)) => one == other,
        _ => one == other,
    }
}

/// An address without what may be a secret in it: a password, a query, and what stands behind `/callbacks/NAME/`.
pub(super) fn shown(address: &str) -> String {
    let Ok(mut url) = Url::parse(address) else { return "(no address)".to_owned() };
    if !url.username().is_empty() || url.password().is_some() {
        let hidden = url.set_username("***").and_then(|()| url.set_password(None));
        hidden.expect("an address that holds a name may hold another one");
    }
    if url.query().is_some() {
        url.set_query(Some("***"));
    }
    let path = url.path().to_owned();
    if let Some((before, behind)) = path.split_once("/callbacks/")
        && let Some((name, _)) = behind.split_once('/')
    {
        url.set_path(&format!("{before}/callbacks/{name}/***"));
    }
    url.to_string()
}

/// Where an address leads, as seen from a help desk that filters private ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leads {
    Private,
    Public,
    /// The name has no address here.
    Nowhere,
}

pub(super) async fn leads(url: &Url) -> Leads {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = url.port_or_known_default().unwrap_or(80);
    match timeout(LOOK_UP_LIMIT, tokio::net::lookup_host((host, port))).await {
        Ok(Ok(mut found)) => {
            if found.any(|address| is_public(address.ip())) {
                Leads::Public
            } else {
                Leads::Private
            }
        }
        Ok(Err(_)) | Err(_) => Leads::Nowhere,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_a_secret_is_not_shown() {
        let cases = [
            ("http://gw:8600/callbacks/support", "http://gw:8600/callbacks/support"),
            ("http://gw:8600/callbacks/support/t0ken", "http://gw:8600/callbacks/support/***"),
            ("https://a:b@gw/x/callbacks/support/t0ken/more?k=v", "https://***@gw/x/callbacks/support/***?***"),
            ("not an address t0ken", "(no address)"),
        ];
        for (address, expected) in cases {
            assert_eq!(shown(address), expected);
        }
    }

    #[test]
    fn one_address_may_be_written_in_two_ways() {
        assert!(same("http://GW:80/callbacks/a", "http://gw/callbacks/a"));
        assert!(!same("http://gw/callbacks/a/", "http://gw/callbacks/a"), "the door knows no such path");
        assert!(!same("https://gw/callbacks/a", "http://gw/callbacks/a"));
    }

    #[tokio::test]
    async fn addresses_of_this_machine_are_private() {
        for (url, expected) in [
            ("http://127.0.0.1:8600", Leads::Private),
            ("http://[::1]:8600", Leads::Private),
            ("http://localhost:8600", Leads::Private),
            ("http://192.168.3.4", Leads::Private),
            ("http://1.1.1.1", Leads::Public),
            ("http://nowhere.invalid", Leads::Nowhere),
        ] {
            assert_eq!(leads(&url.parse().unwrap()).await, expected, "{url}");
        }
    }
}
