//! How a field is laid out: which networks, how many gateways, and what stands between them and the rest.

use std::{fs, path::Path};

use crate::{
    gateway::Gateway,
    nets::{Between, Kind, Net},
    process::free_port,
    sandbox::Sandbox,
};

pub(crate) struct Layout<'a> {
    pub(crate) kinds: &'a [(Kind, usize)],
    pub(crate) seed: u64,
    /// Between the gateway and the inbox, given the inbox's address.
    pub(crate) before_inbox: Option<Between<'a>>,
    /// The same before the stand-in homeserver.
    pub(crate) before_homeserver: Option<Between<'a>>,
    /// How many gateways, and further tables of the settings of each.
    pub(crate) gateways: usize,
    pub(crate) tables: &'a dyn Fn(usize) -> String,
}

impl<'a> Layout<'a> {
    pub(crate) fn of(kinds: &'a [(Kind, usize)], seed: u64) -> Self {
        let (before_inbox, before_homeserver) = (None, None);
        Self { kinds, seed, before_inbox, before_homeserver, gateways: 1, tables: &|_| String::new() }
    }
}

/// Settings of one gateway, and where it listens for each network.
pub(crate) fn furnish(
    (folder, number): (&Path, usize),
    layout: &Layout<'_>,
    sandbox: &Sandbox,
    nets: &[Box<dyn Net>],
) -> (Gateway, Vec<Option<u16>>) {
    let folder = if number == 0 { folder.to_owned() } else { folder.join(format!("gateway{number}")) };
    fs::create_dir_all(&folder).expect("a folder is made");
    let mut inbox = format!("{}settle_seconds = 1\nsweep_seconds = 5\nconcurrency = 16\n", sandbox.settings());
    if let Some(before) = layout.before_inbox {
        inbox = inbox.replace(&sandbox.url, &before(&sandbox.url));
    }
    let (mut tables, mut ports) = (String::new(), Vec::new());
    for net in nets {
        let mut table = net.table();
        // One that is alone has the door for itself.
        let own = net.listens().map(|port| if layout.gateways == 1 { port } else { free_port() });
        if let (Some(port), Some(own)) = (net.listens(), own) {
            table = table.replace(&format!(":{port}\""), &format!(":{own}\""));
        }
        let head = format!("[bridges.{}]\ninbox = \"desk\"\npeer_pause_millis = 0\n", net.name());
        tables.extend([head.as_str(), table.as_str(), "\n"]);
        ports.push(own);
    }
    (Gateway::with_bridges(&folder, &inbox, &tables).with(&(layout.tables)(number)), ports)
}
