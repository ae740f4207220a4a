//! The adapter's own table, as written in TOML, and its checks. Knows nothing of the protocol.

use std::{collections::HashSet, net::SocketAddr, path::PathBuf};

use bridge_api::{Secret, SettingsFault};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::{address::Address, mail::MessageId, token::TOKEN_LETTERS};

/// What a Message-ID has room for beside a token.
const HOSTNAME_BYTES_MAX: usize = MessageId::BYTES_MAX - TOKEN_LETTERS - "<@>".len();

/// Mail for one desk: what comes in by SMTP or LMTP, and the relay that takes what goes out.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where to take mail by SMTP; STARTTLS is offered when `tls` is set.
    #[serde(default)]
    pub listen: Option<SocketAddr>,
    /// Where to take mail by SMTP with TLS from the first octet. Needs `tls`.
    #[serde(default)]
    pub listen_tls: Option<SocketAddr>,
    /// Where to take mail by LMTP, from a mail server in front. On loopback or a private network only.
    #[serde(default)]
    pub listen_lmtp: Option<SocketAddr>,
    /// What this server calls itself, in the greeting and towards the relay.
    pub hostname: String,
    /// Recipients that are ours; anything else is refused. `support@acme.example`, or `@acme.example` for every
    /// name of a domain. The first full address is the desk's own.
    pub addresses: Vec<String>,
    /// What stands between the name and a detail in our addresses: `support+detail@acme.example`.
    #[serde(default = "default_separator")]
    pub separator: char,
    /// The server's certificate and key.
    #[serde(default)]
    pub tls: Option<TlsSettings>,
    /// Whom answers come from: `Acme Support <support@acme.example>`.
    pub from: String,
    /// Whether answers name the agent: `Ada via Acme Support`.
    #[serde(default = "default_true")]
    pub agent_names: bool,
    /// The mail server that takes what goes out.
    pub relay: RelaySettings,
    /// Sign what goes out. Most relays do that by themselves.
    #[serde(default)]
    pub dkim: Option<DkimSettings>,
    /// How senders are proved.
    #[serde(default)]
    pub verify: Verify,
    /// With `verify = "relay"`: the names by which the mail server in front signs its `Authentication-Results`.
    #[serde(default)]
    pub trusted_authserv_ids: Vec<String>,
    /// With `verify = "dns"`: the DNS servers to ask. The system's when empty.
    #[serde(default)]
    pub dns_servers: Vec<SocketAddr>,
    /// What becomes of mail whose sender's domain asks receivers to reject it (DMARC `p=reject`).
    #[serde(default)]
    pub spoofed: Spoofed,
    /// Largest mail in MiB. 1 to 100.
    #[serde(default = "default_mail_mib_max")]
    pub mail_mib_max: u32,
    /// Connections at once, and at once from one address (one /64 network with IPv6).
    #[serde(default = "default_connections_max")]
    pub connections_max: usize,
    #[serde(default = "default_connections_per_client_max")]
    pub connections_per_client_max: usize,
    /// Mails a minute from one address. Clients in `trusted_clients` are not counted.
    #[serde(default = "default_mails_per_minute_max")]
    pub mails_per_minute_max: u32,
    /// Addresses of mail servers in front. They, and programs on this machine, have no limits per client; what they say of
    /// proofs is believed with `verify = "relay"`.
    #[serde(default)]
    pub trusted_clients: Vec<std::net::IpAddr>,
    /// Mails that wait in the spool before new ones are put off (452).
    #[serde(default = "default_spool_max")]
    pub spool_max: usize,
    /// What becomes of a mail with a bare CR or LF in it: `reject` or `normalize`.
    #[serde(default)]
    pub bare_newline: BareNewline,
    /// When quoted text or a signature was cut from a mail, attach the whole text to the message.
    #[serde(default = "default_true")]
    pub attach_whole_text: bool,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsSettings {
    /// PEM file of the certificate and its chain. Read again when it changes.
    pub cert_file: PathBuf,
    /// PEM file of its key.
    pub key_file: PathBuf,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RelaySettings {
    pub host: String,
    /// 587 with `starttls`, 465 with `tls`, 25 with `none`, when left out.
    #[serde(default)]
    pub port: Option<u16>,
    /// `starttls` (never skipped), `tls` (from the first octet), or `none`.
    #[serde(default)]
    pub security: Security,
    #[serde(default)]
    pub username: Option<String>,
    #[serde(default)]
    pub password: Option<Secret>,
    /// PEM file of the authorities to trust instead of the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// Connections at once. 1 to 50.
    #[serde(default = "default_relay_connections_max")]
    pub connections_max: usize,
    /// Largest mail in MiB that the relay takes; larger attachments are refused with a word to the agent. 1 to 100.
    #[serde(default = "default_relay_mib_max")]
    pub mail_mib_max: u32,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Security {
    #[default]
    Starttls,
    Tls,
    None,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DkimSettings {
    /// The signing domain, that of `from` or above it.
    pub domain: String,
    pub selector: String,
    /// PEM file of an RSA key of at least 2048 bits.
    pub key_file: PathBuf,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verify {
    /// SPF, DKIM, DMARC and ARC, by asking DNS. For a server that the internet talks to.
    #[default]
    Dns,
    /// As the mail server in front says. Needs `trusted_authserv_ids`, and `trusted_clients` unless it speaks LMTP or runs
    /// on this machine.
    Relay,
    /// Nobody is proved.
    Off,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Spoofed {
    /// Shown to agents as a conversation of its own, marked.
    #[default]
    Mark,
    /// Dropped after it was logged.
    Drop,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum BareNewline {
    /// Refused with 550, on SMTP. What comes by LMTP or from this machine is normalized all the same.
    #[default]
    Reject,
    /// Taken, with a line end in its place.
    Normalize,
}

fn default_separator() -> char {
    '+'
}
fn default_true() -> bool {
    true
}
fn default_mail_mib_max() -> u32 {
    35
}
fn default_connections_max() -> usize {
    1000
}
fn default_connections_per_client_max() -> usize {
    20
}
fn default_mails_per_minute_max() -> u32 {
    300
}
fn default_spool_max() -> usize {
    100_000
}
fn default_relay_connections_max() -> usize {
    4
}
fn default_relay_mib_max() -> u32 {
    25
}

const MIB_MAX: std::ops::RangeInclusive<u32> = 1..=100;
const RELAY_CONNECTIONS: std::ops::RangeInclusive<usize> = 1..=50;
const ADDRESSES_MAX: usize = 1000;

/// The recipients that are ours.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ours {
    separator: char,
    exact: HashSet<Address>,
    domains: HashSet<String>,
}

/// What a recipient is to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Recipient {
    Ours,
    /// The domain is ours, the name is nobody's.
    NoSuchName,
    Foreign,
}

impl Ours {
    pub(crate) fn recognise(&self, address: &Address) -> Recipient {
        let (base, _) = address.split_detail(self.separator);
        if self.exact.contains(address) || self.exact.contains(&base) || self.domains.contains(address.domain()) {
            return Recipient::Ours;
        }
        if self.exact.iter().any(|ours| ours.domain() == address.domain()) {
            // RFC 5321, 4.5.1: somebody reads these at every domain.
            let reserved = ["postmaster", "abuse"].iter().any(|name| base.local().eq_ignore_ascii_case(name));
            return if reserved { Recipient::Ours } else { Recipient::NoSuchName };
        }
        Recipient::Foreign
    }
    /// Is this one of the desk's own addresses, as a sender?
    pub(crate) fn is_ours(&self, address: &Address) -> bool {
        self.recognise(address) == Recipient::Ours
    }
}

/// A display name and an address, as in `from`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) name: String,
    pub(crate) address: Address,
}

impl RelaySettings {
    pub(crate) fn port(&self) -> u16 {
        self.port.unwrap_or(match self.security {
            Security::Starttls => 587,
            Security::Tls => 465,
            Security::None => 25,
        })
    }
}

impl Settings {
    pub(crate) fn ours(&self) -> Ours {
        let exact = self.addresses.iter().filter_map(|text| Address::parse(text)).collect();
        let domains = self.addresses.iter().filter_map(|text| text.strip_prefix('@')).map(str::to_lowercase).collect();
        Ours { separator: self.separator, exact, domains }
    }

    /// Whom answers come from.
    pub(crate) fn identity(&self) -> Result<Identity, SettingsFault> {
        identity(&self.from).ok_or_else(|| {
            SettingsFault::new(
                "from",
                format!("`{}` is no sender: write it like Acme Support <support@acme.example>", self.from),
            )
        })
    }

    /// Everything that can be wrong without asking the network, the first of it.
    pub(crate) fn check(&self) -> Result<(), SettingsFault> {
        let fault = |key: &str, reason: &str| Err(SettingsFault::new(key, reason));
        if self.listen.is_none() && self.listen_tls.is_none() && self.listen_lmtp.is_none() {
            return fault("listen", "missing: set `listen`, `listen_tls` or `listen_lmtp`, so that mail can come in");
        }
        if self.listen_tls.is_some() && self.tls.is_none() {
            return fault("listen_tls", "needs `tls`, with a certificate and its key");
        }
        if !self.ours().is_ours(&self.identity()?.address) {
            return fault("from", "must be one of `addresses`, since answers come back to it");
        }
        if self.listen_lmtp.is_some_and(|address| address.port() == 25) {
            return fault("listen_lmtp", "LMTP must not use port 25 (RFC 2033)");
        }
        host("hostname", &self.hostname)?;
        if self.hostname.len() > HOSTNAME_BYTES_MAX {
            let reason =
                format!("at most {HOSTNAME_BYTES_MAX} characters, since it ends the Message-ID of every answer");
            return Err(SettingsFault::new("hostname", reason));
        }
        host("relay.host", &self.relay.host)?;
        self.check_addresses()?;
        self.identity()?;
        if !matches!(self.separator, '+' | '-' | '=' | '_' | '.') {
            return fault("separator", "one of + - = _ .");
        }
        self.check_relay()?;
        if self.verify == Verify::Relay && self.trusted_authserv_ids.is_empty() {
            return fault(
                "trusted_authserv_ids",
                "missing: `verify = \"relay\"` needs the name that the mail server in front uses",
            );
        }
        for (key, value) in [("mail_mib_max", self.mail_mib_max), ("relay.mail_mib_max", self.relay.mail_mib_max)] {
            if !MIB_MAX.contains(&value) {
                return fault(key, "must be from 1 to 100");
            }
        }
        for (key, value) in [
            ("connections_max", self.connections_max),
            ("connections_per_client_max", self.connections_per_client_max),
            ("mails_per_minute_max", self.mails_per_minute_max as usize),
            ("spool_max", self.spool_max),
        ] {
            if value == 0 {
                return fault(key, "must be at least 1");
            }
        }
        Ok(())
    }

    fn check_addresses(&self) -> Result<(), SettingsFault> {
        if self.addresses.is_empty() || self.addresses.len() > ADDRESSES_MAX {
            return Err(SettingsFault::new("addresses", "from 1 to 1000 recipients that are ours"));
        }
        for (index, text) in self.addresses.iter().enumerate() {
            let good = match text.strip_prefix('@') {
                Some(domain) => Address::parse(&format!("x@{domain}")).is_some(),
                None => Address::parse(text).is_some(),
            };
            if !good {
                let reason = format!("`{text}` is neither an address nor `@` and a domain");
                return Err(SettingsFault::new(format!("addresses.{index}"), reason));
            }
            if text.split_once('@').is_some_and(|(local, _)| local.contains(self.separator)) {
                let reason = format!("`{text}` holds the separator `{}`: choose another `separator`", self.separator);
                return Err(SettingsFault::new(format!("addresses.{index}"), reason));
            }
            if self.addresses[..index].iter().any(|other| other.eq_ignore_ascii_case(text)) {
                return Err(SettingsFault::new(format!("addresses.{index}"), format!("`{text}` is named twice")));
            }
        }
        Ok(())
    }

    fn check_relay(&self) -> Result<(), SettingsFault> {
        let relay = &self.relay;
        if !RELAY_CONNECTIONS.contains(&relay.connections_max) {
            return Err(SettingsFault::new("relay.connections_max", "must be from 1 to 50"));
        }
        match (&relay.username, &relay.password) {
            (Some(_), None) => Err(SettingsFault::new("relay.password", "missing beside `relay.username`")),
            (None, Some(_)) => Err(SettingsFault::new("relay.username", "missing beside `relay.password`")),
            (Some(_), Some(_)) if relay.security == Security::None && !is_loopback(&relay.host) => {
                Err(SettingsFault::new(
                    "relay.security",
                    "`none` would show the password to everybody on the way: use `starttls` or `tls`",
                ))
            }
            (Some(_), Some(_)) | (None, None) => Ok(()),
        }
    }
}

fn host(key: &str, text: &str) -> Result<(), SettingsFault> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
    if text.is_empty() || text.len() > 255 || !text.chars().all(allowed) {
        return Err(SettingsFault::new(key, format!("`{text}` is no host name")));
    }
    Ok(())
}

fn identity(text: &str) -> Option<Identity> {
    let (name, address) = match text.trim().strip_suffix('>').and_then(|rest| rest.rsplit_once('<')) {
        Some((name, address)) => (name.trim().trim_matches('"'), address),
        None => ("", text.trim()),
    };
    let plain = !name.contains(['@', '<', '>', '"']) && !name.chars().any(char::is_control);
    plain.then_some(Identity { name: name.to_owned(), address: Address::parse(address)? })
}

pub(crate) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost" || bare.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}
