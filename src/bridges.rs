//! The registry: which word in `kind = "..."` makes which bridge. The only file that names an adapter.

use std::{collections::BTreeMap, fmt};

use bridge_api::{BridgeName, Kind, SettingsFault};
use schemars::Schema;
use toml::Table;

use crate::settings::{self, Built, Kinds};

/// The kinds of bridges that this executable can make.
#[derive(Clone, Default)]
pub struct Registry {
    kinds: BTreeMap<&'static str, Entry>,
}

#[derive(Clone, Copy)]
struct Entry {
    schema: fn() -> Schema,
    build: fn(&BridgeName, Table) -> Built,
}

impl Registry {
    /// No kinds at all: for tests and for programs that choose each.
    pub fn empty() -> Self {
        Self::default()
    }

    /// The kinds that come with deskbridge.
    pub fn standard() -> Self {
        Self::empty().with::<bridge_irc::Irc>().with::<bridge_matrix::Matrix>().with::<bridge_smtp::Smtp>()
    }

    /// Adds a kind, in place of an earlier one of the same name.
    #[must_use]
    pub fn with<K: Kind>(mut self) -> Self {
        self.kinds.insert(K::NAME, Entry { schema: settings::inlined::<K::Settings>, build: build::<K> });
        self
    }
}

impl Kinds for Registry {
    fn known(&self) -> Vec<&'static str> {
        self.kinds.keys().copied().collect()
    }

    fn schema(&self, kind: &str) -> Option<Schema> {
        self.kinds.get(kind).map(|entry| (entry.schema)())
    }

    fn build(&self, name: &BridgeName, kind: &str, table: Table) -> Built {
        if let Some(entry) = self.kinds.get(kind) {
            return (entry.build)(name, table);
        }
        let known = self.known().join(", ");
        Err(vec![SettingsFault::new("kind", format!("no bridge kind `{kind}` (known: {known})"))])
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.kinds.keys()).finish()
    }
}

fn build<K: Kind>(name: &BridgeName, table: Table) -> Built {
    let settings = settings::read_table::<K::Settings>(table)?;
    K::build(name.clone(), settings).map_err(|fault| vec![fault])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_kind_is_refused_with_the_known_ones() {
        let faults = Registry::standard().build(&"libera".into(), "ircc", Table::new()).map(drop).unwrap_err();
        assert_eq!(faults[0].to_string(), "kind: no bridge kind `ircc` (known: irc, matrix, smtp)");
    }

    #[test]
    fn every_mistake_of_type_in_a_table_is_told() {
        let table = "server = 1\nnick = true\nport = -1\n".parse().unwrap();
        let faults = Registry::standard().build(&"libera".into(), "irc", table).map(drop).unwrap_err();
        let keys: Vec<&str> = faults.iter().map(|fault| fault.key.as_str()).collect();
        assert_eq!(keys, ["nick", "port", "server"]);
    }
}
