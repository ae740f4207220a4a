//! Strict transport security (`IRCv3` `sts`): once a server asked for TLS it is never met without.

use std::collections::VecDeque;

use bridge_api::Cursor;

use super::Output;
use crate::settings::{Settings, TlsFiles, TlsSettings};

/// Where to connect, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) host: String,
    pub(crate) port: u16,
    /// `None`: plain text.
    pub(crate) tls: Option<TlsFiles>,
}

#[derive(Debug)]
pub(super) struct Sts {
    name: String,
    policy: Option<Policy>,
    /// The port of an upgrade that was asked for on plain text.
    upgrade: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Policy {
    port: u16,
    duration_seconds: i64,
    expires_millis: i64,
}

impl Sts {
    pub(super) fn new(settings: &Settings) -> Self {
        let host = settings.server.to_ascii_lowercase();
        Self { name: format!("sts/{host}"), policy: None, upgrade: None }
    }

    pub(super) fn recall(&mut self, host: &str, value: &str) -> bool {
        let mut numbers = value.split(' ').map(str::parse::<i64>);
        let (Some(Ok(port)), Some(Ok(duration_seconds)), Some(Ok(expires_millis))) =
            (numbers.next(), numbers.next(), numbers.next())
        else {
            return false;
        };
        let Ok(port) = u16::try_from(port) else { return false };
        if self.name.strip_prefix("sts/") == Some(host) {
            self.policy = Some(Policy { port, duration_seconds, expires_millis });
        }
        true
    }

    pub(super) fn endpoint(&self, settings: &Settings, now_millis: i64) -> Endpoint {
        let host = settings.server.clone();
        let configured = settings.tls.files().cloned();
        let policy = self.policy.filter(|policy| policy.expires_millis > now_millis).map(|policy| policy.port);
        match (configured, self.upgrade.or(policy)) {
            (Some(files), _) => Endpoint { host, port: settings.port(), tls: Some(files) },
            (None, Some(port)) => Endpoint { host, port, tls: Some(TlsFiles::default()) },
            (None, None) => Endpoint { host, port: settings.port(), tls: None },
        }
    }

    /// Takes the capability's value; true when this plain connection must end now.
    pub(super) fn learn(
        &mut self,
        settings: &Settings,
        value: &str,
        secure: bool,
        now_millis: i64,
        outputs: &mut VecDeque<Output>,
    ) -> bool {
        if !secure {
            self.upgrade = upgrade_port(value);
            return self.upgrade.is_some();
        }
        let Some(duration_seconds) = key(value, "duration").and_then(|duration| duration.parse::<i64>().ok()) else {
            return false;
        };
        if duration_seconds <= 0 {
            self.policy = None;
            outputs.push_back(Output::Cursor(Cursor::remove(self.name.clone())));
            return false;
        }
        let port = match settings.tls {
            TlsSettings::On(_) => settings.port(),
            TlsSettings::Off => self.upgrade.or(self.policy.map(|policy| policy.port)).unwrap_or(settings.port()),
        };
        self.policy = Some(Policy { port, duration_seconds, expires_millis: 0 });
        self.rearm(now_millis, outputs);
        false
    }

    /// The policy's time runs from the end of the last connection.
    pub(super) fn link_lost(&mut self, now_millis: i64, outputs: &mut VecDeque<Output>) {
        if self.policy.is_some_and(|policy| policy.expires_millis > now_millis) {
            self.rearm(now_millis, outputs);
        }
    }

    fn rearm(&mut self, now_millis: i64, outputs: &mut VecDeque<Output>) {
        if let Some(policy) = &mut self.policy {
            policy.expires_millis = now_millis.saturating_add(policy.duration_seconds.saturating_mul(1000));
            let value = format!("{} {} {}", policy.port, policy.duration_seconds, policy.expires_millis);
            outputs.push_back(Output::Cursor(Cursor::set(self.name.clone(), value)));
        }
    }
}

/// Where the server asks a plain connection to come instead, by the capability's value.
pub(crate) fn upgrade_port(value: &str) -> Option<u16> {
    key(value, "port")?.parse().ok()
}

fn key<'a>(value: &'a str, name: &str) -> Option<&'a str> {
    value.split(',').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
}
