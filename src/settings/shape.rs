//! Holds a table against its schema: unknown and missing keys, types, words and bounds, at every
//! level. What a value means beyond that is for its type.

use std::{cmp::Reverse, collections::BTreeSet};

use serde_json::{Map, Value as Json};
use toml::{Table, Value};

use super::{
    document::KeyPath,
    faults::{Finding, Wrong, nearest},
    schema::{file_key, is_secret},
    secrets::take_files,
};

/// What was found in a table.
#[derive(Debug, Default, Clone)]
pub(super) struct Checked {
    pub(super) findings: Vec<Finding>,
    /// Values that the schema knows and that are no secrets.
    pub(super) plain: BTreeSet<KeyPath>,
    /// The secrets themselves, so that they can be cut out of other people's messages.
    pub(super) secrets: Vec<String>,
}

impl Checked {
    fn wrong(&mut self, path: &KeyPath, message: impl Into<String>) -> &mut Finding {
        self.findings.push(Finding::new(Wrong::Value, path.clone(), message));
        self.findings.last_mut().expect("it was pushed just now")
    }

    /// A message of someone else's without the secrets that it may quote.
    pub(super) fn without_secrets(&self, message: String) -> String {
        // The longest first: a short secret may be a part of a long one, whose rest would then stay.
        let mut secrets: Vec<&String> = self.secrets.iter().collect();
        secrets.sort_by_key(|secret| Reverse(secret.len()));
        secrets.into_iter().fold(message, |message, secret| message.replace(secret, "***"))
    }

    /// Checks `value` and replaces each `x_file` in it by the secret itself.
    pub(super) fn value(&mut self, shape: &Json, value: &mut Value, path: &KeyPath) {
        if is_secret(shape) {
            return self.secret(value, path);
        }
        let fitting = fitting(shape, value);
        match fitting.as_slice() {
            [] => {
                let message = format!("must be {}, not {}", expected(shape), a_type(value));
                self.wrong(path, message);
            }
            [only] => self.fitting(only, value, path),
            several if several.iter().all(|shape| words_of(shape).is_some()) => self.word(several, value, path),
            several => self.best_of(several, value, path),
        }
    }

    fn secret(&mut self, value: &Value, path: &KeyPath) {
        let Value::String(text) = value else {
            self.secrets.push(value.to_string());
            self.wrong(path, format!("must be a string, not {}", a_type(value)));
            return;
        };
        if text.is_empty() {
            self.wrong(path, "is empty; leave the key out if there is none");
        } else {
            self.secrets.push(text.clone());
        }
    }

    fn fitting(&mut self, shape: &Json, value: &mut Value, path: &KeyPath) {
        if words_of(shape).is_some() {
            return self.word(&[shape], value, path);
        }
        match value {
            Value::Table(table) => self.table(shape, table, path),
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.value(&shape["items"], item, &path.child(&index.to_string()));
                }
            }
            Value::Integer(number) => self.bounds(shape, *number, path),
            Value::String(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {
                self.plain.insert(path.clone());
            }
        }
    }

    fn bounds(&mut self, shape: &Json, number: i64, path: &KeyPath) {
        self.plain.insert(path.clone());
        let bound = |name: &str| shape[name].as_f64().map(|bound| bound as i64);
        let message = match (bound("minimum"), bound("maximum")) {
            (Some(min), Some(max)) if number < min || number > max => format!("must be from {min} to {max}"),
            (Some(min), _) if number < min => format!("must be at least {min}"),
            (_, Some(max)) if number > max => format!("must be at most {max}"),
            _ => return,
        };
        self.wrong(path, message);
    }

    fn word(&mut self, shapes: &[&Json], value: &Value, path: &KeyPath) {
        self.plain.insert(path.clone());
        let words: Vec<&str> = shapes.iter().filter_map(|shape| words_of(shape)).flatten().collect();
        let Value::String(text) = value else { return };
        if !words.contains(&text.as_str()) {
            let near = nearest(text, words.iter().copied()).map(str::to_owned);
            self.wrong(path, format!("must be {}", one_of(&words))).nearest = near;
        }
    }

    /// Of several shapes for one value, the one that finds the fewest mistakes is meant.
    fn best_of(&mut self, shapes: &[&Json], value: &mut Value, path: &KeyPath) {
        let tried = shapes.iter().map(|shape| {
            let (mut checked, mut value) = (Self::default(), value.clone());
            checked.fitting(shape, &mut value, path);
            (checked, value)
        });
        if let Some((best, taken)) = tried.min_by_key(|(checked, _)| checked.findings.len()) {
            self.findings.extend(best.findings);
            self.plain.extend(best.plain);
            self.secrets.extend(best.secrets);
            *value = taken;
        }
    }

    pub(super) fn table(&mut self, shape: &Json, table: &mut Table, path: &KeyPath) {
        let none = Map::new();
        let properties = shape["properties"].as_object().unwrap_or(&none);
        take_files(properties, table, path, &mut self.findings);
        for (key, value) in table.iter_mut() {
            let path = path.child(key);
            match (properties.get(key), &shape["additionalProperties"]) {
                (Some(shape), _) => self.value(shape, value, &path),
                (None, others @ Json::Object(_)) => self.value(others, value, &path),
                (None, Json::Null) if properties.is_empty() => {}
                (None, Json::Bool(true)) => {}
                (None, _) => self.unknown(properties, key, &path),
            }
        }
        let required = shape["required"].as_array().into_iter().flatten().filter_map(Json::as_str);
        for key in required.filter(|key| !table.contains_key(*key)) {
            let message = if key == "inbox_id" {
                "is missing; `deskbridge provision` makes the inbox and says its number".into()
            } else if properties.get(key).is_some_and(is_secret) {
                format!("is missing; `{}` may name a file in its place", file_key(key))
            } else {
                "is missing".into()
            };
            self.findings.push(Finding::new(Wrong::Missing, path.child(key), message));
        }
    }

    fn unknown(&mut self, properties: &Map<String, Json>, key: &str, path: &KeyPath) {
        let mut files = properties.iter().filter(|(_, shape)| is_secret(shape)).map(|(key, _)| file_key(key));
        let known: Vec<&str> = properties.keys().map(String::as_str).collect();
        // The longer name is meant only where it is all but written.
        let file = files.find(|file| strsim::damerau_levenshtein(key, file) <= 2);
        let near = file.as_deref().or_else(|| nearest(key, known.iter().copied()));
        let message =
            if near.is_some() { "unknown key".into() } else { format!("unknown key (known: {})", known.join(", ")) };
        self.findings.push(Finding::new(Wrong::Key, path.clone(), message).near(near));
    }
}

/// The alternatives in `shape` that a value of this type can be.
fn fitting<'a>(shape: &'a Json, value: &Value) -> Vec<&'a Json> {
    match alternatives(shape) {
        Some(shapes) => shapes.iter().flat_map(|shape| fitting(shape, value)).collect(),
        None if accepts(shape, value) => vec![shape],
        None => Vec::new(),
    }
}

/// Whether a value of this type can stand here at all.
pub(super) fn accepts_any(shape: &Json, value: &Value) -> bool {
    !fitting(shape, value).is_empty()
}

/// Whether nothing but a string can stand here, so that a variable's text is taken as it is.
pub(super) fn is_string_only(shape: &Json) -> bool {
    let others = [
        Value::Integer(0),
        Value::Float(0.0),
        Value::Boolean(true),
        Value::Array(Vec::new()),
        Value::Table(Table::new()),
    ];
    is_secret(shape) || others.iter().all(|other| !accepts_any(shape, other))
}

fn alternatives(shape: &Json) -> Option<&Vec<Json>> {
    shape["oneOf"].as_array().or_else(|| shape["anyOf"].as_array())
}

fn accepts(shape: &Json, value: &Value) -> bool {
    let names = match types_of(shape) {
        names if !names.is_empty() => names,
        _ if words_of(shape).is_some() => vec!["string"],
        _ => return true,
    };
    names.iter().any(|name| match value {
        Value::String(_) => *name == "string",
        Value::Datetime(_) => false,
        Value::Integer(_) => matches!(*name, "integer" | "number"),
        Value::Float(_) => *name == "number",
        Value::Boolean(_) => *name == "boolean",
        Value::Array(_) => *name == "array",
        Value::Table(_) => *name == "object",
    })
}

fn types_of(shape: &Json) -> Vec<&str> {
    let one = shape["type"].as_str();
    one.into_iter().chain(shape["type"].as_array().into_iter().flatten().filter_map(Json::as_str)).collect()
}

/// The words that a value is chosen from, for a shape that is such a choice.
fn words_of(shape: &Json) -> Option<Vec<&str>> {
    if let Some(word) = shape["const"].as_str() {
        return Some(vec![word]);
    }
    Some(shape["enum"].as_array()?.iter().filter_map(Json::as_str).collect())
}

fn one_of(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("`{word}`")).collect();
    match quoted.as_slice() {
        [only] => only.clone(),
        several => format!("one of {}", several.join(", ")),
    }
}

/// What a shape asks for, as words for a person.
fn expected(shape: &Json) -> String {
    let mut names: Vec<String> = Vec::new();
    let shapes = alternatives(shape).map_or_else(|| vec![shape], |shapes| shapes.iter().collect());
    for shape in shapes {
        let types = Some(types_of(shape)).filter(|types| !types.is_empty()).unwrap_or_else(|| vec!["string"]);
        names.extend(types.into_iter().filter(|name| *name != "null").map(|name| match name {
            "object" => "a table".to_owned(),
            "integer" => "an integer".to_owned(),
            "array" => "an array".to_owned(),
            "boolean" => "true or false".to_owned(),
            other => format!("a {other}"),
        }));
    }
    names.dedup();
    names.join(" or ")
}

fn a_type(value: &Value) -> String {
    match value {
        Value::String(_) => "a string",
        Value::Integer(_) => "an integer",
        Value::Float(_) => "a number with a point",
        Value::Boolean(_) => "true or false",
        Value::Datetime(_) => "a date",
        Value::Array(_) => "an array",
        Value::Table(_) => "a table",
    }
    .to_owned()
}
