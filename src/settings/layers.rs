//! The environment laid over the file: `DESKBRIDGE__INBOXES__SUPPORT__URL` is `inboxes.support.url`.

use std::{collections::BTreeMap, ffi::OsString};

use config::{Config, Environment, Source as _};
use serde::Deserialize as _;
use serde_json::Value as Json;
use toml::{Table, Value};

use super::{
    Kinds,
    document::KeyPath,
    faults::{Finding, Wrong},
    schema::{Shapes, bridge_shape},
    shape::{accepts_any, is_string_only},
};

const PREFIX: &str = "DESKBRIDGE";
const SEPARATOR: &str = "__";

/// The file's table with the environment in it, and which variable said what.
#[derive(Debug, Default)]
pub(super) struct Layers {
    pub(super) table: Table,
    pub(super) variables: BTreeMap<KeyPath, String>,
    /// Variables that are no text or name no key; the variable's name stands in the path.
    pub(super) findings: Vec<Finding>,
}

impl Layers {
    pub(super) fn merge(
        file: Table,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        shapes: &Shapes,
        kinds: &dyn Kinds,
    ) -> Result<Self, config::ConfigError> {
        let mut layers = Self::default();
        let texts = layers.read(variables, &file)?;
        let kind_of = |name: &str| {
            let path = KeyPath::of(&["bridges", name, "kind"]);
            texts.get(&path).map(String::as_str).or_else(|| file.get("bridges")?.get(name)?.get("kind")?.as_str())
        };
        let mut builder = Config::builder();
        for (path, text) in &texts {
            let shape = shape_at(path, shapes, &kind_of, kinds);
            let value = layered(typed(text, shape.as_ref()))?;
            builder = builder.set_override(path.to_string(), value)?;
        }
        for (room, value) in file {
            builder = builder.set_default(room, layered(value)?)?;
        }
        layers.table = builder.build()?.try_deserialize()?;
        Ok(layers)
    }

    /// The variables that are ours, by the key they set.
    fn read(
        &mut self,
        variables: impl IntoIterator<Item = (OsString, OsString)>,
        file: &Table,
    ) -> Result<BTreeMap<KeyPath, String>, config::ConfigError> {
        let mut ours = config::Map::new();
        for (name, text) in variables {
            let Ok(name) = name.into_string() else { continue };
            let path = key_path(&name, file);
            let Some(path) = path else { continue };
            self.variables.insert(path.clone(), name.clone());
            match text.into_string() {
                Ok(text) if path.keys().iter().all(|key| is_key(key)) => drop(ours.insert(name, text)),
                Ok(_) => self.findings.push(Finding::new(Wrong::Key, path, "names no key")),
                Err(_) => self.findings.push(Finding::new(Wrong::Value, path, "is no UTF-8")),
            }
        }
        // Read as text: `try_parsing` would make a number of a token such as 0123 and lose its zero.
        // The schema knows better what each key wants.
        let environment = Environment::with_prefix(PREFIX).prefix_separator(SEPARATOR).separator(SEPARATOR);
        let read = environment.source(Some(ours)).collect()?;
        let texts = read.into_iter().map(|(key, text)| Ok((named(key.split('.'), file), text.into_string()?)));
        texts.collect()
    }
}

/// The key that a variable sets, `None` for a variable that is not ours.
fn key_path(variable: &str, file: &Table) -> Option<KeyPath> {
    let lower = variable.to_lowercase();
    let keys = lower.strip_prefix(&PREFIX.to_lowercase())?.strip_prefix(SEPARATOR)?;
    Some(named(keys.split(SEPARATOR), file))
}

/// Few shells can set a variable with a hyphen in its name, so `MY_DESK` also means a `my-desk` of the file.
fn named<'a>(keys: impl Iterator<Item = &'a str>, file: &Table) -> KeyPath {
    let mut keys: Vec<&str> = keys.collect();
    if let [room @ ("inboxes" | "bridges"), name, ..] = keys.as_mut_slice()
        && let Some(Value::Table(entries)) = file.get(*room)
        && !entries.contains_key(*name)
        && let Some(written) = entries.keys().find(|entry| entry.replace('-', "_") == *name)
    {
        *name = written;
    }
    KeyPath::of(&keys)
}

/// Whether `config` takes the key as it stands; its paths also know `[0]`, which could grow without bound.
fn is_key(key: &str) -> bool {
    !key.is_empty() && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

fn shape_at<'a>(
    path: &KeyPath,
    shapes: &Shapes,
    kind_of: &impl Fn(&str) -> Option<&'a str>,
    kinds: &dyn Kinds,
) -> Option<Json> {
    let keys: Vec<&str> = path.keys().iter().map(String::as_str).collect();
    let (shape, rest) = match keys.as_slice() {
        ["gateway", rest @ ..] => (shapes.gateway.clone(), rest),
        ["store", rest @ ..] => (shapes.store.clone(), rest),
        ["log", rest @ ..] => (shapes.log.clone(), rest),
        ["inboxes", _, rest @ ..] => (shapes.inbox.clone(), rest),
        ["bridges", name, rest @ ..] => (bridge_shape(kinds, kind_of(name)?)?, rest),
        _ => return None,
    };
    rest.iter().try_fold(shape, |shape, key| property(&shape, key))
}

fn property(shape: &Json, key: &str) -> Option<Json> {
    let shapes = ["anyOf", "oneOf"].iter().filter_map(|many| shape[many].as_array()).flatten();
    let direct = shape["properties"].get(key).cloned();
    direct.or_else(|| shapes.into_iter().find_map(|shape| property(shape, key)))
}

/// The variable's text as the key wants it: as it is for a string, else as TOML would read it.
fn typed(text: &str, shape: Option<&Json>) -> Value {
    let as_text = || Value::String(text.to_owned());
    let Some(shape) = shape.filter(|shape| !is_string_only(shape)) else { return as_text() };
    let flag = text.to_lowercase().parse().map(Value::Boolean).ok();
    let number = || text.parse().map(Value::Integer).ok();
    let toml = || format!("value = {text}").parse::<Table>().ok().and_then(|mut table| table.remove("value"));
    let value = flag.or_else(number).or_else(toml).filter(|value| accepts_any(shape, value));
    value.unwrap_or_else(as_text)
}

fn layered(value: Value) -> Result<config::Value, config::ConfigError> {
    config::Value::deserialize(value).map_err(|error| config::ConfigError::Message(error.message().to_owned()))
}
