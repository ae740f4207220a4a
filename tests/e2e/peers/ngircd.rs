//! ngIRCd: the plain kind of server. No tags, no accounts, no echo; it closes the link on a line that is too long.

use std::net::SocketAddr;

use tempfile::TempDir;

use super::{spawn, unprivileged, until_it_speaks, write};
use crate::process::{Process, free_port};

#[derive(Debug)]
pub(crate) struct Ngircd {
    process: Option<Process>,
    folder: TempDir,
    pub(crate) port: u16,
}

/// What the server does with somebody who talks fast.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flood {
    /// As shipped: a second of silence for each line too many.
    Slowed,
    Free,
}

impl Ngircd {
    pub(crate) const CHANNEL: &str = "#support";

    pub(crate) fn present() -> bool {
        super::have(&["ngircd", "setpriv"])
    }

    pub(crate) fn start(flood: Flood) -> Self {
        let mut server = Self { process: None, folder: super::folder(), port: free_port() };
        let limit = match flood {
            Flood::Slowed => "",
            Flood::Free => "MaxPenaltyTime = 0",
        };
        write(server.folder.path(), "ngircd.conf", &settings(server.port, limit));
        server.come_up();
        server
    }

    pub(crate) fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    /// As a power cut: every connection falls.
    pub(crate) fn go_down(&mut self) {
        self.process = None;
    }

    pub(crate) fn come_up(&mut self) {
        let conf = self.folder.path().join("ngircd.conf");
        let args = ["-n", "-f"].map(std::ffi::OsString::from).into_iter().chain([conf.into_os_string()]);
        let mut process = spawn(unprivileged("ngircd"), args, "ngircd", self.folder.path());
        until_it_speaks(&mut process, self.address(), "ngircd");
        self.process = Some(process);
    }
}

fn settings(port: u16, limit: &str) -> String {
    format!(
        "[Global]
Name = ng.irc.test
Info = a server for tests
Network = TestNet
Listen = 127.0.0.1
Ports = {port}
MotdPhrase = welcome

[Limits]
MaxConnectionsIP = 0
MaxJoins = 0
MaxNickLength = 16
PingTimeout = 120
PongTimeout = 20
{limit}

[Options]
DNS = no
Ident = no
PAM = no

[Operator]
Name = god
Password = almighty

[Channel]
Name = {}
",
        Ngircd::CHANNEL
    )
}
