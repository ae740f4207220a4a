//! The adapter's own table, as written in TOML, and its checks. Knows nothing of the protocol.

use std::path::PathBuf;

use bridge_api::{Secret, SettingsFault};
use schemars::JsonSchema;
use serde::Deserialize;

mod forms;

pub use crate::render::Formatting;
pub use forms::{PaceSettings, PaceTable, Profile, TlsFiles, TlsSettings};

/// One connection to one IRC network.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Host name or address of the server.
    pub server: String,
    /// TCP port. 6697 with TLS, 6667 without, when left out.
    #[serde(default)]
    pub port: Option<u16>,
    /// `true` (verified by the system's roots), `false` (plain text), or a table with `ca_file`,
    /// `pin_sha256`, `client_cert_file`, `client_key_file`.
    #[serde(default)]
    pub tls: TlsSettings,
    /// The nick that people write to.
    pub nick: String,
    /// Nick to use while the wanted one is held by somebody else or refused. The wanted one with
    /// `_` behind it when left out.
    #[serde(default)]
    pub nick_fallback: Option<String>,
    /// What to tell `NickServ`, in this order, when somebody else holds the nick and the bridge is logged
    /// in; `{nick}` stands for the nick. For example `["REGAIN {nick}"]` (Atheme) or
    /// `["RECOVER {nick}"]` (Anope). At most 4; nothing is told when left out.
    #[serde(default)]
    pub regain: Vec<String>,
    /// The name before the `@` that the server shows where it does not ask an ident server.
    /// The nick when left out.
    #[serde(default)]
    pub username: Option<String>,
    /// Shown by WHOIS. Networks ask that it says who runs the bridge.
    #[serde(default = "default_realname")]
    pub realname: String,
    /// Server or bouncer password, sent as `PASS`.
    #[serde(default)]
    pub password: Option<Secret>,
    /// Log-in to the network's services.
    #[serde(default)]
    pub sasl: Option<SaslSettings>,
    /// Channels to sit in.
    #[serde(default)]
    pub channels: Vec<ChannelSettings>,
    /// `"auto"`, a profile (`"default"`, `"libera"`, `"oftc"`, `"inspircd"`, `"ergo"`, `"ngircd"`),
    /// or a table with `burst` (lines) and `per_second` (lines a second).
    #[serde(default)]
    pub pace: PaceSettings,
    /// How lines that are not UTF-8 are read: a label of the WHATWG Encoding Standard.
    #[serde(default = "default_fallback_encoding")]
    pub fallback_encoding: String,
    /// What to do with a reply to somebody who is not there now.
    #[serde(default)]
    pub offline: Offline,
    /// Most lines that one reply may become; what is longer is cut and says so. 1 to 50.
    #[serde(default = "default_lines_max")]
    pub lines_max: usize,
    /// Tell agents of going conversations, by a private note, that lines may be missing after the
    /// gateway was off the network.
    #[serde(default = "default_true")]
    pub gap_note: bool,
    /// Answer CTCP VERSION, PING, TIME, SOURCE and CLIENTINFO, at most 3 in 10 seconds.
    #[serde(default = "default_true")]
    pub ctcp_replies: bool,
    /// How agents' Markdown is shown: `codes` (IRC bold, italic, ...) or `plain`.
    #[serde(default)]
    pub formatting: Formatting,
    /// Hours without a word after which somebody who is not logged in counts as somebody new. 1 to 168.
    #[serde(default = "default_session_idle_hours")]
    pub session_idle_hours: u32,
}

/// Log-in by SASL (`IRCv3` `sasl` 3.2).
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SaslSettings {
    pub mechanism: SaslMechanism,
    /// Account name. Not needed for `external`.
    #[serde(default)]
    pub account: Option<String>,
    #[serde(default)]
    pub password: Option<Secret>,
    /// Stay off the network rather than be on it without the account.
    #[serde(default = "default_true")]
    pub required: bool,
    /// Allow `plain` on a connection without TLS. On loopback it is always allowed.
    #[serde(default)]
    pub allow_plaintext: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SaslMechanism {
    Plain,
    /// By the client certificate of `tls.client_cert_file`.
    External,
    #[serde(rename = "scram-sha-256")]
    ScramSha256,
}

/// One channel to sit in.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChannelSettings {
    /// With its `#`.
    pub name: String,
    /// The channel's key (mode `+k`).
    #[serde(default)]
    pub key: Option<ChannelKey>,
    /// Which lines reach the help desk.
    #[serde(default)]
    pub listen: Listen,
}

/// A channel key: compared, never printed.
#[derive(Clone, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct ChannelKey(pub Secret);

impl std::fmt::Debug for ChannelKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("(secret)")
    }
}

impl PartialEq for ChannelKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose() == other.0.expose()
    }
}

impl Eq for ChannelKey {}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Listen {
    /// Lines that begin with the bridge's nick, and what the same person says within 15 minutes after.
    #[default]
    Mention,
    /// Every line.
    All,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Offline {
    /// The reply fails at once and the agent is told.
    #[default]
    Fail,
    /// Keep trying until the same person is proved back. Only for people who are logged in to an account.
    Hold,
}

fn default_realname() -> String {
    "deskbridge".to_owned()
}
fn default_fallback_encoding() -> String {
    "windows-1252".to_owned()
}
fn default_lines_max() -> usize {
    8
}
fn default_true() -> bool {
    true
}
fn default_session_idle_hours() -> u32 {
    12
}

/// Longest nick of any known network; a longer one is a mistake.
const NICK_BYTES_MAX: usize = 64;
const LINES_MAX: std::ops::RangeInclusive<usize> = 1..=50;
const IDLE_HOURS: std::ops::RangeInclusive<u32> = 1..=168;
const REGAIN_MAX: usize = 4;
const REGAIN_BYTES_MAX: usize = 200;
const CHANNELS_MAX: usize = 100;
/// Thread ids hold the channel and the peer.
const CHANNEL_BYTES_MAX: usize = 64;

impl Settings {
    pub fn port(&self) -> u16 {
        self.port.unwrap_or(if self.tls.is_on() { 6697 } else { 6667 })
    }
    pub fn username(&self) -> &str {
        self.username.as_deref().unwrap_or(&self.nick)
    }

    /// Everything that can be wrong without asking the network, the first of it.
    pub(crate) fn check(&self) -> Result<(), SettingsFault> {
        word("server", &self.server)?;
        nick("nick", &self.nick)?;
        if let Some(fallback) = &self.nick_fallback {
            nick("nick_fallback", fallback)?;
        }
        self.check_regain()?;
        word("username", self.username())?;
        if self.username().contains('@') {
            return Err(SettingsFault::new("username", "must not hold `@`"));
        }
        one_line("realname", &self.realname)?;
        if let Some(password) = &self.password {
            one_line("password", password.expose())?;
        }
        if !LINES_MAX.contains(&self.lines_max) {
            return Err(SettingsFault::new("lines_max", "must be from 1 to 50"));
        }
        if !IDLE_HOURS.contains(&self.session_idle_hours) {
            return Err(SettingsFault::new("session_idle_hours", "must be from 1 to 168"));
        }
        if encoding_rs::Encoding::for_label(self.fallback_encoding.as_bytes()).is_none() {
            let reason =
                format!("no encoding `{}` (for example: windows-1252, iso-8859-15, koi8-r)", self.fallback_encoding);
            return Err(SettingsFault::new("fallback_encoding", reason));
        }
        self.check_sasl()?;
        self.check_channels()?;
        self.pace.check()
    }

    fn check_regain(&self) -> Result<(), SettingsFault> {
        if self.regain.len() > REGAIN_MAX {
            return Err(SettingsFault::new("regain", "at most 4 commands"));
        }
        for (index, command) in self.regain.iter().enumerate() {
            let key = format!("regain.{index}");
            one_line(&key, command)?;
            if command.trim().is_empty() || command.len() > REGAIN_BYTES_MAX {
                return Err(SettingsFault::new(key, "a command to NickServ, at most 200 bytes"));
            }
        }
        Ok(())
    }

    fn check_sasl(&self) -> Result<(), SettingsFault> {
        let Some(sasl) = &self.sasl else { return Ok(()) };
        match sasl.mechanism {
            SaslMechanism::External => {
                if self.tls.files().is_none_or(|files| files.client_cert_file.is_none()) {
                    return Err(SettingsFault::new("sasl.mechanism", "external needs `tls.client_cert_file`"));
                }
            }
            SaslMechanism::Plain | SaslMechanism::ScramSha256 => {
                let missing = |key: &str| SettingsFault::new(key, "missing, this mechanism needs it");
                let account = sasl.account.as_deref().ok_or_else(|| missing("sasl.account"))?;
                word("sasl.account", account)?;
                let password = sasl.password.as_ref().ok_or_else(|| missing("sasl.password"))?;
                one_line("sasl.password", password.expose())?;
            }
        }
        let plain = sasl.mechanism == SaslMechanism::Plain;
        if plain && !self.tls.is_on() && !sasl.allow_plaintext && !is_loopback(&self.server) {
            let reason =
                "plain would show the password to everybody on the way: turn `tls` on, or set `sasl.allow_plaintext`";
            return Err(SettingsFault::new("sasl.mechanism", reason));
        }
        Ok(())
    }

    fn check_channels(&self) -> Result<(), SettingsFault> {
        if self.channels.len() > CHANNELS_MAX {
            return Err(SettingsFault::new("channels", "at most 100"));
        }
        for (index, channel) in self.channels.iter().enumerate() {
            let key = format!("channels.{index}.name");
            word(&key, &channel.name)?;
            if channel.name.len() > CHANNEL_BYTES_MAX {
                return Err(SettingsFault::new(key, "at most 64 bytes"));
            }
            if !channel.name.starts_with(['#', '&', '+', '!']) || channel.name.contains(',') {
                return Err(SettingsFault::new(key, "a channel begins with `#` and holds no comma"));
            }
            if self.channels[..index].iter().any(|other| other.name.eq_ignore_ascii_case(&channel.name)) {
                return Err(SettingsFault::new(key, format!("`{}` is named twice", channel.name)));
            }
            if let Some(ChannelKey(secret)) = &channel.key {
                let key = format!("channels.{index}.key");
                word(&key, secret.expose())?;
                if secret.expose().contains(',') {
                    return Err(SettingsFault::new(key, "must not hold a comma"));
                }
            }
        }
        Ok(())
    }
}

fn one_line(key: &str, text: &str) -> Result<(), SettingsFault> {
    if text.contains(['\r', '\n', '\0']) { Err(SettingsFault::new(key, "must be one line")) } else { Ok(()) }
}

fn word(key: &str, text: &str) -> Result<(), SettingsFault> {
    one_line(key, text)?;
    if text.is_empty() || text.starts_with(':') || text.contains(char::is_whitespace) {
        return Err(SettingsFault::new(key, "must be one word, without a colon at its start"));
    }
    Ok(())
}

fn nick(key: &str, text: &str) -> Result<(), SettingsFault> {
    word(key, text)?;
    if text.len() > NICK_BYTES_MAX {
        return Err(SettingsFault::new(key, "at most 64 bytes"));
    }
    if text.contains(['!', '@', ',', '*', '?', '#', '$', '.'])
        || text.starts_with(|c: char| c.is_ascii_digit() || c == '-')
    {
        let reason = format!("`{text}` is no nick: letters, digits, `-`, `_`, `[`, `]`, `|`, not a digit first");
        return Err(SettingsFault::new(key, reason));
    }
    Ok(())
}

pub(crate) fn is_loopback(server: &str) -> bool {
    server == "localhost" || server.parse().is_ok_and(|address: std::net::IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests;
