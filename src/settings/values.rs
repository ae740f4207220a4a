//! Single values that are parsed once: addresses, urls, filters, names. Nothing here reads a file.

use std::{borrow::Cow, fmt, net::SocketAddr, path::PathBuf, str::FromStr};

use reqwest::Url;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, de::Error as _};
use tracing_subscriber::EnvFilter;

use super::{PostgresUrl, faults::nearest};

/// An `http` or `https` address with a host, and without a password, a query or a fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpUrl(Url);

impl HttpUrl {
    pub fn url(&self) -> &Url {
        &self.0
    }
    /// As text without a slash at its end, so that a path can be put behind it.
    pub fn base(&self) -> &str {
        self.0.as_str().trim_end_matches('/')
    }
}

impl fmt::Display for HttpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.base())
    }
}

impl FromStr for HttpUrl {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("is no url: {error}; write it like http://rails:3000"))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err("must begin with http:// or https://".into());
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err("must not hold a name or a password".into());
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err("must end before `?` or `#`".into());
        }
        Ok(Self(url))
    }
}

impl<'de> Deserialize<'de> for HttpUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

impl JsonSchema for HttpUrl {
    fn schema_name() -> Cow<'static, str> {
        "HttpUrl".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "uri" })
    }
}

/// The name of a host, without a port: `status.acme.example`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName(String);

impl HostName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl<'de> Deserialize<'de> for HostName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        // As a browser reads it, so that what is written here can ever be what one sends.
        let read = Url::parse(&format!("http://{text}")).ok();
        let host = read.as_ref().and_then(Url::host_str).map(str::to_owned);
        let whole = host.filter(|host| host.eq_ignore_ascii_case(&text));
        whole.map(Self).ok_or_else(|| D::Error::custom("is no host name, such as status.acme.example; leave ports out"))
    }
}

impl JsonSchema for HostName {
    fn schema_name() -> Cow<'static, str> {
        "HostName".into()
    }
    fn inline_schema() -> bool {
        true
    }
    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "hostname" })
    }
}

/// Which database holds the envelopes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreUrl {
    /// A file, made where it does not exist.
    Sqlite(PathBuf),
    /// A schema in a database of a server.
    Postgres(Box<PostgresUrl>),
}

impl FromStr for StoreUrl {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("sqlite", path)) if !path.is_empty() && !path.starts_with("//") => Ok(Self::Sqlite(path.into())),
            Some(("sqlite", _)) => Err("needs a path behind `sqlite:`, such as sqlite:data/deskbridge.db".into()),
            Some(("postgres" | "postgresql", rest)) if rest.starts_with("//") => {
                PostgresUrl::parse(text).map(|url| Self::Postgres(Box::new(url)))
            }
            _ => Err("must begin with sqlite: or postgres://".into()),
        }
    }
}

/// A filter of log lines that `tracing-subscriber` understands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(transparent)]
pub struct LogFilter(String);

impl Default for LogFilter {
    fn default() -> Self {
        Self("info".into())
    }
}

impl LogFilter {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];

impl FromStr for LogFilter {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        // The filter's own parser takes a bare word that is no level for a module and then logs
        // nothing but that module: a misspelt level would silence the gateway.
        for word in text.split(',').map(str::trim) {
            let module = word.contains(['=', '[']);
            let level = LEVELS.iter().any(|level| level.eq_ignore_ascii_case(word));
            if !module && !level {
                let near = nearest(word, LEVELS).unwrap_or("info");
                return Err(format!(
                    "has no level `{word}`; did you mean `{near}`? levels are {}, per module as deskbridge::pump=debug",
                    LEVELS.join(", ")
                ));
            }
        }
        EnvFilter::builder().parse(text).map_err(|error| format!("is no filter: {error}"))?;
        Ok(Self(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for LogFilter {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

pub(super) fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    let text = String::deserialize(deserializer)?;
    text.parse().map_err(|_| D::Error::custom("is no address with a port, such as 127.0.0.1:8600"))
}

pub(super) fn otlp<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<HttpUrl>, D::Error> {
    let url = HttpUrl::deserialize(deserializer)?;
    if cfg!(feature = "otlp") {
        Ok(Some(url))
    } else {
        Err(D::Error::custom("is not built in: build deskbridge with `--features otlp`, or leave the key out"))
    }
}

/// Whether an inbox or a bridge may be called so: the name becomes part of addresses and keys.
pub(super) fn is_name(text: &str) -> bool {
    const NAME_BYTES_MAX: usize = 40;
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-');
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.bytes().all(allowed)
}
