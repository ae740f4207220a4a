//! `IRCv3` capability negotiation (version 302): what was offered, asked for and granted.

use std::collections::{BTreeMap, BTreeSet};

use super::{Ending, Machine, Phase};
use crate::message::{Command, Line};

/// Asked for where offered. Each is handled somewhere in this crate.
const WANTED: [&str; 16] = [
    "account-notify",
    "account-tag",
    "batch",
    "cap-notify",
    "chghost",
    "echo-message",
    "extended-join",
    "extended-monitor",
    "labeled-response",
    "message-tags",
    "multi-prefix",
    "server-time",
    "standard-replies",
    "userhost-in-names",
    "draft/chathistory",
    "draft/multiline",
];

/// One REQ line stays well below 512 bytes.
const REQUEST_BYTES_MAX: usize = 400;
/// Names kept of one offer; real servers offer about 40.
const OFFERED_MAX: usize = 256;

#[derive(Debug, Default)]
pub(crate) struct Caps {
    pub(crate) offered: BTreeMap<String, String>,
    enabled: BTreeSet<String>,
    /// REQ lines without an answer.
    pub(super) unanswered: usize,
}

impl Caps {
    pub(super) fn has(&self, name: &str) -> bool {
        self.enabled.contains(name)
    }

    pub(super) fn labels(&self) -> bool {
        self.has("labeled-response") && self.has("echo-message") && self.has("batch")
    }

    pub(crate) fn offer(&mut self, list: &str) {
        for token in list.split_ascii_whitespace() {
            let (name, value) = token.split_once('=').unwrap_or((token, ""));
            if self.offered.len() < OFFERED_MAX || self.offered.contains_key(name) {
                self.offered.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    fn grant(&mut self, list: &str) {
        for name in list.split_ascii_whitespace() {
            match name.strip_prefix('-') {
                Some(gone) => {
                    self.enabled.remove(gone);
                }
                None => {
                    self.enabled.insert(name.trim_start_matches(['~', '=']).to_owned());
                }
            }
        }
    }

    fn withdraw(&mut self, list: &str) {
        for name in list.split_ascii_whitespace() {
            self.enabled.remove(name);
            self.offered.remove(name);
        }
    }
}

impl Machine {
    /// `CAP <us> <subcommand> [*] :<list>`
    pub(super) fn on_cap(&mut self, line: &Line<'_>) {
        let list = line.last();
        match line.param_or_empty(1).to_ascii_uppercase().as_str() {
            "LS" => {
                self.link.caps.offer(list);
                if line.param(2) != Some("*") || line.params().len() < 4 {
                    self.on_offer_complete();
                }
            }
            "ACK" => {
                self.link.caps.grant(list);
                self.on_request_answered();
            }
            "NAK" => {
                let names: Vec<&str> = list.split_ascii_whitespace().collect();
                if names.len() > 1 {
                    // One unknown name refuses them all, so ask for each alone, the log-in first.
                    let sasl_first =
                        names.iter().filter(|n| **n == "sasl").chain(names.iter().filter(|n| **n != "sasl"));
                    for name in sasl_first {
                        self.request(name);
                    }
                }
                self.on_request_answered();
            }
            "NEW" => {
                self.link.caps.offer(list);
                self.request_wanted(list);
            }
            "DEL" => self.link.caps.withdraw(list),
            _ => {}
        }
    }

    fn on_offer_complete(&mut self) {
        if self.link.phase != Phase::Registering || self.link.registration.cap_ended {
            return;
        }
        if let Some(value) = self.link.caps.offered.get("sts").cloned() {
            let secure = self.link.secure;
            if self.sts.learn(&self.settings, &value, secure, self.now.millis, &mut self.outputs) {
                self.hang_up(Ending::Upgrade, "the server asks for tls");
                return;
            }
        }
        self.introduce();
        let offered: Vec<String> = self.link.caps.offered.keys().cloned().collect();
        self.request_wanted(&offered.join(" "));
        if self.link.caps.unanswered == 0 {
            self.after_capabilities();
        }
    }

    /// Asks for what is wanted among `offered`, in as few lines as fit.
    fn request_wanted(&mut self, offered: &str) {
        let mut line = String::new();
        for token in offered.split_ascii_whitespace() {
            let name = token.split('=').next().unwrap_or(token);
            let sasl = name == "sasl" && self.settings.sasl.is_some();
            if !(sasl || WANTED.contains(&name)) || self.link.caps.has(name) {
                continue;
            }
            if line.len() + name.len() >= REQUEST_BYTES_MAX {
                self.request(&std::mem::take(&mut line));
            }
            if !line.is_empty() {
                line.push(' ');
            }
            line.push_str(name);
        }
        if !line.is_empty() {
            self.request(&line);
        }
    }

    fn request(&mut self, names: &str) {
        self.link.caps.unanswered += 1;
        self.write_now(&Command::new("CAP").param("REQ").last(names));
    }

    fn on_request_answered(&mut self) {
        self.link.caps.unanswered = self.link.caps.unanswered.saturating_sub(1);
        if self.link.caps.unanswered == 0 {
            self.after_capabilities();
        }
    }
}
