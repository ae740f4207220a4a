//! Keys that may be written in two forms (a word or a table). Each is read by a small visitor, whose
//! errors name the key that is wrong, which an untagged enum's would not.

use std::{borrow::Cow, fmt};

use bridge_api::SettingsFault;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, Visitor, value::MapAccessDeserializer},
};

use super::PathBuf;

/// How the connection is secured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TlsSettings {
    Off,
    On(TlsFiles),
}

/// What TLS is verified by, and what the bridge shows of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// PEM file of the authorities to trust instead of the system's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// SHA-256 of the server's certificate in hexadecimal, with or without colons. Replaces every
    /// other check of the certificate: chain, name and dates.
    #[serde(default)]
    pub pin_sha256: Option<String>,
    /// PEM file of the client certificate, for SASL `external`.
    #[serde(default)]
    pub client_cert_file: Option<PathBuf>,
    /// PEM file of its key. The certificate's file when left out.
    #[serde(default)]
    pub client_key_file: Option<PathBuf>,
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self::On(TlsFiles::default())
    }
}

impl TlsSettings {
    pub fn is_on(&self) -> bool {
        matches!(self, Self::On(_))
    }
    pub fn files(&self) -> Option<&TlsFiles> {
        match self {
            Self::Off => None,
            Self::On(files) => Some(files),
        }
    }
}

impl<'de> Deserialize<'de> for TlsSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;
        impl<'de> Visitor<'de> for Forms {
            type Value = TlsSettings;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false, or a table with ca_file, pin_sha256, client_cert_file, client_key_file")
            }
            fn visit_bool<E: Error>(self, on: bool) -> Result<Self::Value, E> {
                Ok(if on { TlsSettings::default() } else { TlsSettings::Off })
            }
            fn visit_str<E: Error>(self, word: &str) -> Result<Self::Value, E> {
                // Settings that come from the environment are texts.
                match word {
                    "true" => Ok(TlsSettings::default()),
                    "false" => Ok(TlsSettings::Off),
                    other => Err(E::invalid_value(serde::de::Unexpected::Str(other), &self)),
                }
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                TlsFiles::deserialize(MapAccessDeserializer::new(map)).map(TlsSettings::On)
            }
        }
        deserializer.deserialize_any(Forms)
    }
}

impl JsonSchema for TlsSettings {
    fn schema_name() -> Cow<'static, str> {
        "TlsSettings".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let files = generator.subschema_for::<TlsFiles>();
        json_schema!({ "oneOf": [{ "type": "boolean" }, files], "default": true })
    }
}

/// How fast the bridge may send.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum PaceSettings {
    /// By what the server says of itself.
    #[default]
    Auto,
    Named(Profile),
    Exact(PaceTable),
}

/// A token bucket.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PaceTable {
    /// Lines that may be sent at once. 1 to 10000.
    pub burst: u32,
    /// Lines a second after that. 0.05 to 10000.
    pub per_second: f64,
}

/// Server families whose flood limits were measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    Default,
    Libera,
    Oftc,
    Inspircd,
    Ergo,
    Ngircd,
}

impl PaceSettings {
    pub(super) fn check(self) -> Result<(), SettingsFault> {
        let Self::Exact(PaceTable { burst, per_second }) = self else { return Ok(()) };
        if !(1..=10_000).contains(&burst) {
            return Err(SettingsFault::new("pace.burst", "must be from 1 to 10000"));
        }
        if !(0.05..=10_000.0).contains(&per_second) {
            return Err(SettingsFault::new("pace.per_second", "must be from 0.05 to 10000"));
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for PaceSettings {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Forms;
        impl<'de> Visitor<'de> for Forms {
            type Value = PaceSettings;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"auto\", a profile (default, libera, oftc, inspircd, ergo, ngircd), or a table with burst and per_second")
            }
            fn visit_str<E: Error>(self, word: &str) -> Result<Self::Value, E> {
                if word == "auto" {
                    return Ok(PaceSettings::Auto);
                }
                Profile::deserialize(serde::de::value::StrDeserializer::<E>::new(word))
                    .map(PaceSettings::Named)
                    .map_err(|_| E::invalid_value(serde::de::Unexpected::Str(word), &self))
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
                PaceTable::deserialize(MapAccessDeserializer::new(map)).map(PaceSettings::Exact)
            }
        }
        deserializer.deserialize_any(Forms)
    }
}

impl JsonSchema for PaceSettings {
    fn schema_name() -> Cow<'static, str> {
        "PaceSettings".into()
    }
    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let table = generator.subschema_for::<PaceTable>();
        let words = ["auto", "default", "libera", "oftc", "inspircd", "ergo", "ngircd"];
        json_schema!({ "oneOf": [{ "enum": words }, table], "default": "auto" })
    }
}
