//! A kind of bridge for the tests of this room, with every form of key that an adapter may have.

use std::{collections::BTreeMap, ffi::OsString, sync::Arc};

use bridge_api::{
    Bridge, BridgeName, CancellationToken, Capabilities, Fault, Host, Kind, Outbound, Secret, Sent, SettingsFault,
    async_trait,
};
use schemars::JsonSchema;
use serde::Deserialize;

use super::{Built, Faults, Kinds, Settings, inlined, load_text, read_table};

/// A registry with nothing in it but the stub.
pub(super) struct OnlyStub;

impl Kinds for OnlyStub {
    fn known(&self) -> Vec<&'static str> {
        vec![Stub::NAME]
    }
    fn schema(&self, kind: &str) -> Option<schemars::Schema> {
        (kind == Stub::NAME).then(inlined::<StubSettings>)
    }
    fn build(&self, name: &BridgeName, _: &str, table: toml::Table) -> Built {
        Stub::build(name.clone(), read_table(table)?).map_err(|fault| vec![fault])
    }
}

struct Stub;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StubSettings {
    server: String,
    port: Option<u16>,
    #[serde(default)]
    tls: Tls,
    password: Option<Secret>,
    sasl: Option<Sasl>,
    #[serde(default)]
    channels: Vec<Channel>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum Tls {
    Flag(#[expect(dead_code, reason = "only its type matters")] bool),
    Files(#[expect(dead_code, reason = "only its keys matter")] Files),
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Files {
    #[expect(dead_code, reason = "only its key matters")]
    ca_file: Option<String>,
}

impl Default for Tls {
    fn default() -> Self {
        Self::Flag(true)
    }
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Sasl {
    #[expect(dead_code, reason = "only its key matters")]
    mechanism: Mechanism,
    account: Option<String>,
    password: Option<Secret>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Mechanism {
    /// With a comment, which changes the form of the schema.
    Plain,
    External,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Channel {
    name: String,
    #[expect(dead_code, reason = "only its key matters")]
    key: Option<Secret>,
}

impl Kind for Stub {
    const NAME: &'static str = "irc";
    type Settings = StubSettings;

    fn build(_: BridgeName, settings: StubSettings) -> Result<Arc<dyn Bridge>, SettingsFault> {
        if settings.server.contains(' ') {
            return Err(SettingsFault::new("server", "must be one word"));
        }
        if settings.port == Some(0) {
            return Err(SettingsFault::new("port", "must not be 0"));
        }
        if let Some(sasl) = &settings.sasl
            && sasl.account.is_none()
        {
            return Err(SettingsFault::new("sasl.account", "missing, this mechanism needs it"));
        }
        if let Some(password) = settings
            .password
            .iter()
            .chain(settings.sasl.iter().filter_map(|sasl| sasl.password.as_ref()))
            .find(|it| it.expose().contains(' '))
        {
            return Err(SettingsFault::new("password", format!("`{}` is no password", password.expose())));
        }
        if let Some(index) = settings.channels.iter().position(|channel| !channel.name.starts_with('#')) {
            return Err(SettingsFault::new(format!("channels.{index}.name"), "a channel begins with `#`"));
        }
        match settings.tls {
            Tls::Flag(_) | Tls::Files(_) => Ok(Arc::new(Stub)),
        }
    }
}

#[async_trait]
impl Bridge for Stub {
    fn capabilities(&self) -> Capabilities {
        Capabilities::cautious()
    }
    async fn run(&self, _: Host, stop: CancellationToken) -> Result<(), Fault> {
        stop.cancelled().await;
        Ok(())
    }
    async fn send(&self, _: &Outbound) -> Result<Sent, Fault> {
        Ok(Sent::default())
    }
    async fn probe(&self, _: &Outbound) -> Result<Option<Sent>, Fault> {
        Ok(None)
    }
}

pub(super) fn read(text: &str) -> Result<Settings, Faults> {
    read_with(text, &BTreeMap::new())
}

pub(super) fn read_with(text: &str, variables: &BTreeMap<&str, &str>) -> Result<Settings, Faults> {
    let variables = variables.iter().map(|(name, text)| (OsString::from(name), OsString::from(text)));
    load_text("desk.toml", text, variables, &OnlyStub)
}
