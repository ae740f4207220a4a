//! smtp-source: many mails by many clients at once.

use std::{path::Path, process::Command};

use super::postfix::daemon;
use crate::process::{Process, Ran, run};

/// Mails whose recipients, subjects and ids all differ from each other.
#[derive(Clone, Debug)]
pub(crate) struct Source {
    port: u16,
    mails: usize,
    clients: usize,
    /// More of its own options.
    options: Vec<String>,
}

impl Source {
    /// One client that sends one mail after another, of 4 KiB, each by a connection of its own.
    pub(crate) fn to(port: u16, mails: usize) -> Self {
        Self { port, mails, clients: 1, options: Vec::new() }
    }

    pub(crate) fn clients(mut self, clients: usize) -> Self {
        self.clients = clients;
        self
    }

    /// Keeps its connections.
    pub(crate) fn kept(self) -> Self {
        self.option("-d")
    }

    pub(crate) fn lmtp(self) -> Self {
        self.option("-L")
    }

    /// Puts a number before each recipient, so that none comes twice.
    pub(crate) fn numbered(self) -> Self {
        self.option("-N")
    }

    /// Does not end at the first answer that it does not like.
    pub(crate) fn stubborn(self) -> Self {
        self.option("-A")
    }

    fn option(mut self, option: &str) -> Self {
        self.options.push(option.to_owned());
        self
    }

    fn command(&self, from: &str, to: &str) -> Command {
        let mut command = Command::new(daemon("smtp-source"));
        command.args(["-l", "4096", "-m", &self.mails.to_string(), "-s", &self.clients.to_string()]);
        command.args(["-M", "client.cust.test", "-S", "load", "-f", from, "-t", to]).args(&self.options);
        command.arg(format!("127.0.0.1:{}", self.port));
        command
    }

    /// Returns when all is sent. Its status is 0 only when every mail was taken.
    pub(crate) fn run(&self, from: &str, to: &str) -> Ran {
        run(self.command(from, to))
    }

    /// Sends in the background.
    pub(crate) fn spawn(&self, from: &str, to: &str, folder: &Path) -> Process {
        Process::spawn(self.command(from, to), "smtp-source", folder)
    }
}
