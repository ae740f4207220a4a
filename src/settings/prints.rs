//! What tells two readings of the settings apart: each key with a fingerprint of its value. No value can be read from it.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use toml::Table;

use super::document::KeyPath;

/// The keys that were written, in the file or over it, by their dotted names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Prints(BTreeMap<String, [u8; 32]>);

impl Prints {
    /// Takes in the table at this place, files that hold secrets read already.
    pub(super) fn take(&mut self, path: &KeyPath, table: &Table) {
        for (key, value) in table {
            let path = path.child(key);
            match value.as_table().filter(|table| !table.is_empty()) {
                Some(table) => self.take(&path, table),
                None => drop(self.0.insert(path.to_string(), Sha256::digest(value.to_string()).into())),
            }
        }
    }

    /// The keys that are written in only one of the two, or differently, in order.
    pub fn differing(&self, other: &Self) -> Vec<String> {
        let all = self.0.keys().chain(other.0.keys().filter(|key| !self.0.contains_key(*key)));
        let mut differing: Vec<_> = all.filter(|key| self.0.get(*key) != other.0.get(*key)).cloned().collect();
        differing.sort_unstable();
        differing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prints(text: &str) -> Prints {
        let mut prints = Prints::default();
        prints.take(&KeyPath::default(), &text.parse().unwrap());
        prints
    }

    #[test]
    fn what_is_written_differently_or_only_once_differs() {
        let old = prints("a = 1\nb = { c = \"x\", d = [1] }\ne = true");
        let new = prints("a = 1\nb = { c = \"y\", d = [1, 2] }\nf = true");
        assert_eq!(old.differing(&new), ["b.c", "b.d", "e", "f"]);
        assert_eq!(new.differing(&old), ["b.c", "b.d", "e", "f"]);
        assert!(old.differing(&old).is_empty());
    }

    #[test]
    fn no_value_can_be_read_from_it() {
        assert!(!format!("{:?}", prints("token = \"canary-value\"")).contains("canary-value"));
    }
}
