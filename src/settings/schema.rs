//! The JSON Schema of the file: what editors complete from, and what unknown and missing keys are
//! found with. Without `$ref`, so that a reader never has to follow one.

use std::collections::BTreeSet;

use schemars::{JsonSchema, Schema, generate::SchemaSettings};
use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::{Gateway, Inbox, Kinds, Log, WhenInDoubt, defaults};

/// The schema of one type with everything in place (draft 7, which editors for TOML read).
pub fn inlined<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>();
    schema.remove("$schema");
    schema
}

/// The keys that every bridge has beside those of its adapter.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct BridgeKeys {
    /// Which network it is.
    pub(super) kind: String,
    /// The inbox that it feeds, by its name in this file.
    pub(super) inbox: String,
    /// What to do when the network cannot say whether a line was delivered.
    #[serde(default)]
    pub(super) when_in_doubt: WhenInDoubt,
    /// How many messages of one thread go to the inbox as fast as it takes them.
    #[serde(default = "defaults::peer_burst")]
    #[schemars(range(min = 1, max = 10000))]
    pub(super) peer_burst: u32,
    /// How long each further one then waits; 0 for no limit.
    #[serde(default = "defaults::peer_pause_millis")]
    #[schemars(range(min = 0, max = 600_000))]
    pub(super) peer_pause_millis: u32,
    /// How many new conversations one person, or one host where nobody is proved, may begin in an hour; 0 for no limit.
    #[serde(default = "defaults::new_per_peer_hour")]
    #[schemars(range(min = 0, max = 10000))]
    pub(super) new_per_peer_hour: u32,
    /// How many all may begin in a day; 0 for no limit.
    #[serde(default = "defaults::new_per_day")]
    #[schemars(range(min = 0, max = 100_000))]
    pub(super) new_per_day: u32,
    /// Who is not let in: masks of ids, addresses, hosts or threads as the network names them.
    #[serde(default)]
    pub(super) blocked: Vec<String>,
}

impl BridgeKeys {
    /// Their names.
    pub(super) const ALL: [&str; 8] = [
        "kind",
        "inbox",
        "when_in_doubt",
        "peer_burst",
        "peer_pause_millis",
        "new_per_peer_hour",
        "new_per_day",
        "blocked",
    ];
}

/// `[store]` as it is written; [`Store`](super::Store) is what it means.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "Store", description = "Where envelopes are kept.")]
pub(super) struct StoreKeys {
    /// The database, with its password where it has one: sqlite:PATH or postgres://...; left out, a file in `data_dir`.
    pub(super) url: Option<bridge_api::Secret>,
}

/// The rooms of the file, each a table of its own.
pub(super) struct Shapes {
    pub(super) gateway: Json,
    pub(super) store: Json,
    pub(super) log: Json,
    pub(super) inbox: Json,
}

pub(super) const ROOMS: [&str; 5] = ["gateway", "store", "log", "inboxes", "bridges"];

impl Shapes {
    pub(super) fn new() -> Self {
        Self {
            gateway: inlined::<Gateway>().to_value(),
            store: inlined::<StoreKeys>().to_value(),
            log: inlined::<Log>().to_value(),
            inbox: inlined::<Inbox>().to_value(),
        }
    }
}

/// The shape of one bridge's table: the adapter's keys and the common ones. `None` for an unknown kind.
pub(super) fn bridge_shape(kinds: &dyn Kinds, kind: &str) -> Option<Json> {
    let mut shape = kinds.schema(kind)?.to_value();
    let common = inlined::<BridgeKeys>().to_value();
    merge(&mut shape, &common, "properties");
    merge(&mut shape, &common, "required");
    shape["properties"]["kind"] = json!({ "type": "string", "const": kind, "description": "Which network it is." });
    Some(shape)
}

/// The keys of every kind, for a table whose kind is not known: a key that none has is a mistake at any rate.
pub(super) fn any_bridge_shape(kinds: &dyn Kinds) -> Json {
    let shapes = kinds.known().into_iter().filter_map(|kind| bridge_shape(kinds, kind));
    let mut any = json!({ "properties": inlined::<BridgeKeys>().to_value()["properties"] });
    shapes.for_each(|shape| merge(&mut any, &shape, "properties"));
    any
}

fn merge(shape: &mut Json, common: &Json, part: &str) {
    match (&mut shape[part], &common[part]) {
        (Json::Object(own), Json::Object(more)) => own.extend(more.clone()),
        (Json::Array(own), Json::Array(more)) => own.extend(more.iter().cloned()),
        (own, more) => *own = more.clone(),
    }
}

/// The schema of the whole file for the kinds that are built in.
pub fn file_schema(kinds: &dyn Kinds) -> Json {
    let shapes = Shapes::new();
    let bridges: Vec<Json> = kinds.known().iter().filter_map(|kind| bridge_shape(kinds, kind)).collect();
    let named = json!({ "pattern": "^[a-z0-9_-]{1,40}$" });
    let mut schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "deskbridge settings",
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "gateway": shapes.gateway,
            "store": shapes.store,
            "log": shapes.log,
            "inboxes": {
                "type": "object",
                "description": "The help desk's API inboxes, by a name of your own: callbacks come to /callbacks/NAME.",
                "propertyNames": named,
                "additionalProperties": shapes.inbox,
            },
            "bridges": {
                "type": "object",
                "description": "The networks, by a name of your own that is never given to another one.",
                "propertyNames": named,
                "additionalProperties": { "oneOf": bridges },
            },
        },
    });
    add_files(&mut schema);
    schema
}

/// Every key that a schema knows, at any level.
pub(super) fn vocabulary(schema: &Json) -> BTreeSet<String> {
    match schema {
        Json::Object(fields) => {
            let keys = fields.get("properties").and_then(Json::as_object).into_iter().flat_map(Map::keys).cloned();
            keys.chain(fields.values().flat_map(vocabulary)).collect()
        }
        Json::Array(items) => items.iter().flat_map(vocabulary).collect(),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => BTreeSet::new(),
    }
}

/// Says of each secret key that it may be read from a file, in the words of JSON Schema.
fn add_files(schema: &mut Json) {
    match schema {
        Json::Object(fields) => {
            fields.values_mut().for_each(add_files);
            let secrets = secret_keys(fields);
            if secrets.is_empty() {
                return;
            }
            offer_files(fields, &secrets);
        }
        Json::Array(items) => items.iter_mut().for_each(add_files),
        Json::Null | Json::Bool(_) | Json::Number(_) | Json::String(_) => {}
    }
}

fn secret_keys(fields: &Map<String, Json>) -> Vec<String> {
    let Some(Json::Object(properties)) = fields.get("properties") else { return Vec::new() };
    properties.iter().filter(|(_, shape)| is_secret(shape)).map(|(key, _)| key.clone()).collect()
}

fn offer_files(fields: &mut Map<String, Json>, secrets: &[String]) {
    let required: Vec<Json> = fields.get("required").and_then(Json::as_array).cloned().unwrap_or_default();
    let (either, needed): (Vec<Json>, Vec<Json>) =
        required.into_iter().partition(|key| secrets.iter().any(|secret| key == secret));
    let choice = |key: &str| json!({ "oneOf": [{ "required": [key] }, { "required": [file_key(key)] }] });
    let both = |key: &str| json!({ "not": { "required": [key, file_key(key)] } });
    let rules = secrets.iter().map(|key| if either.iter().any(|it| it == key) { choice(key) } else { both(key) });
    let rules: Vec<Json> = rules.collect();
    fields.insert("required".into(), needed.into());
    fields.insert("allOf".into(), rules.into());
    if let Some(Json::Object(properties)) = fields.get_mut("properties") {
        for key in secrets {
            let about = format!("A file whose content is `{key}`.");
            properties.insert(file_key(key), json!({ "type": "string", "description": about }));
        }
    }
}

/// Whether a key holds a secret, which [`bridge_api::Secret`] marks in the schema.
pub(super) fn is_secret(shape: &Json) -> bool {
    shape["x-secret"] == true || shape["anyOf"].as_array().is_some_and(|shapes| shapes.iter().any(is_secret))
}

pub(super) fn file_key(key: &str) -> String {
    format!("{key}_file")
}
