//! The file as text with a place for every key. It judges TOML, never meaning.

use std::{collections::BTreeMap, fmt, ops::Range};

use toml::{
    Spanned, Table, Value,
    de::{DeTable, DeValue},
};

use super::{
    faults::{Finding, Wrong},
    schema::file_key,
};

/// The keys from the root of the settings to one value; an array's items are called by their index.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeyPath(Vec<String>);

impl KeyPath {
    pub(super) fn of(keys: &[&str]) -> Self {
        Self(keys.iter().map(|key| (*key).to_owned()).collect())
    }
    pub(super) fn child(&self, key: &str) -> Self {
        Self(self.0.iter().cloned().chain([key.to_owned()]).collect())
    }
    /// The value at a dotted name below this one.
    pub(super) fn below(&self, dotted: &str) -> Self {
        Self(self.0.iter().cloned().chain(dotted.split('.').filter(|key| !key.is_empty()).map(str::to_owned)).collect())
    }
    /// The key that names a file in place of this one.
    pub(super) fn as_file(&self) -> Option<Self> {
        let (last, above) = self.0.split_last()?;
        Some(Self(above.iter().cloned().chain([file_key(last)]).collect()))
    }
    pub(super) fn parent(&self) -> Option<Self> {
        Some(Self(self.0.split_last()?.1.to_vec()))
    }
    pub(super) fn last(&self) -> Option<&str> {
        self.0.last().map(String::as_str)
    }
    pub(super) fn keys(&self) -> &[String] {
        &self.0
    }
    pub(super) fn is_within(&self, other: &Self) -> bool {
        self.0.starts_with(&other.0)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

/// Where a key and its value stand, in bytes. The key of an array's item is empty.
#[derive(Debug, Clone)]
pub(super) struct Spot {
    pub(super) key: Range<usize>,
    pub(super) value: Range<usize>,
}

/// What a text says, as far as it is TOML, and what is wrong where it is not.
#[derive(Debug, Default)]
pub(super) struct Document {
    pub(super) table: Table,
    pub(super) spots: BTreeMap<KeyPath, Spot>,
    /// Mistakes of TOML itself.
    pub(super) broken: Vec<Broken>,
    /// Values that TOML allows and a setting cannot be.
    pub(super) findings: Vec<Finding>,
}

#[derive(Debug)]
pub(super) struct Broken {
    pub(super) span: Range<usize>,
    pub(super) message: String,
    /// The key is written twice: everything else in the file still means what it says.
    pub(super) twice: bool,
}

impl Document {
    pub(super) fn read(text: &str) -> Self {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut document =
            Self { broken: errors.iter().map(|error| Broken::new(error, text)).collect(), ..Self::default() };
        document.table = document.take_table(table.get_ref(), &KeyPath::default());
        document
    }

    fn take_table(&mut self, table: &DeTable<'_>, path: &KeyPath) -> Table {
        let mut taken = Table::new();
        for (key, value) in table {
            let path = path.child(key.get_ref());
            self.spots.insert(path.clone(), Spot { key: key.span(), value: value.span() });
            if let Some(value) = self.take_value(value, &path) {
                taken.insert(key.get_ref().to_string(), value);
            }
        }
        taken
    }

    fn take_value(&mut self, value: &Spanned<DeValue<'_>>, path: &KeyPath) -> Option<Value> {
        let taken = match value.get_ref() {
            DeValue::String(text) => Ok(Value::String(text.to_string())),
            DeValue::Integer(digits) => {
                let number = i64::from_str_radix(digits.as_str(), digits.radix());
                number.map(Value::Integer).map_err(|_| "is a number out of range")
            }
            DeValue::Float(digits) => digits.as_str().parse().map(Value::Float).map_err(|_| "is a number out of range"),
            DeValue::Boolean(flag) => Ok(Value::Boolean(*flag)),
            DeValue::Datetime(_) => Err("is a date, which no setting is; write it in quotes"),
            DeValue::Table(table) => Ok(Value::Table(self.take_table(table, path))),
            DeValue::Array(items) => {
                let mut taken = Vec::with_capacity(items.len());
                for (index, item) in items.iter().enumerate() {
                    let path = path.child(&index.to_string());
                    let start = item.span().start;
                    self.spots.insert(path.clone(), Spot { key: start..start, value: item.span() });
                    taken.extend(self.take_value(item, &path));
                }
                Ok(Value::Array(taken))
            }
        };
        taken.map_err(|message| self.findings.push(Finding::new(Wrong::Value, path.clone(), message))).ok()
    }
}

impl Broken {
    fn new(error: &toml::de::Error, text: &str) -> Self {
        let span = error.span().unwrap_or(text.len()..text.len());
        let twice = error.message() == "duplicate key";
        let message = if twice {
            format!("`{}` is written twice", text.get(span.clone()).unwrap_or_default().trim())
        } else {
            format!("is no TOML: {}", error.message())
        };
        Self { span, message, twice }
    }
}
