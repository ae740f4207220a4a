//! Where mail comes in: whether the addresses can be listened on or, beside a running gateway, how it answers there.

use std::{
    io::ErrorKind,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use tokio::net::TcpStream;

use super::{Look, Outcome, door, failed, within};
use crate::server;

/// How a listener is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    Smtp,
    Tls,
    Lmtp,
}

pub(super) async fn look(look: &Look<'_>) {
    for (way, key, address) in [
        (Way::Smtp, "listen", look.settings.listen),
        (Way::Tls, "listen_tls", look.settings.listen_tls),
        (Way::Lmtp, "listen_lmtp", look.settings.listen_lmtp),
    ] {
        let Some(address) = address else { continue };
        if look.how.at_work {
            running(look, way, key, address).await;
        } else {
            look.tell(format!("listen on {address} (`{key}`)"), free(address));
        }
    }
    if !look.how.at_work {
        let found = "the gateway is not running; it is tried on the running one";
        look.tell("have our own server carry foreign mail", Outcome::Skipped(found.to_owned()));
    }
}

fn free(address: SocketAddr) -> Outcome {
    match server::listen(address) {
        Ok(_) => Outcome::Fine("the address is free".to_owned()),
        Err(error) => {
            let kind = error.kind();
            let change = if kind == ErrorKind::PermissionDenied {
                "give the program the right to ports below 1024 (CAP_NET_BIND_SERVICE), or take a higher one"
            } else if kind == ErrorKind::AddrInUse {
                "end the mail server that listens there, or take another address"
            } else if kind == ErrorKind::AddrNotAvailable {
                "take an address of this machine, or 0.0.0.0 for all of them"
            } else {
                "take another address"
            };
            failed(error.to_string(), change)
        }
    }
}

async fn running(look: &Look<'_>, way: Way, key: &str, address: SocketAddr) {
    let tried = format!("connect to the running gateway at {address} (`{key}`)");
    let change = "see in the gateway's log why this bridge does not listen";
    match within(look.limits.connect, TcpStream::connect(reachable(address))).await {
        Ok(tcp) => door::look(look, way, &tried, tcp).await,
        Err(why) => look.tell(tried, failed(why, change)),
    }
}

/// Of all addresses of this machine, the one that every machine has.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(if address.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() });
    }
    address
}
