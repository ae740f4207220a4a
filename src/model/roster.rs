//! Who is there, by name: read with every message, changed when the settings are. A reader keeps what it found for as
//! long as it needs it, so nothing is locked while it is used.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, PoisonError, RwLock},
};

pub struct Roster<K, V: ?Sized>(RwLock<HashMap<K, Arc<V>>>);

impl<K, V: ?Sized> Default for Roster<K, V> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<K: Eq + Hash + Clone, V: ?Sized> Roster<K, V> {
    pub fn find(&self, name: &K) -> Option<Arc<V>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    pub fn has(&self, name: &K) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains_key(name)
    }

    /// Takes the place of whoever had the name before.
    pub fn put(&self, name: K, it: Arc<V>) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(name, it);
    }

    /// The names of those for whom this holds, in no order.
    pub fn names_of(&self, holds: impl Fn(&V) -> bool) -> Vec<K> {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.iter().filter(|(_, it)| holds(it)).map(|(name, _)| name.clone()).collect()
    }
}

impl<K: Eq + Hash, V: ?Sized> FromIterator<(K, Arc<V>)> for Roster<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, Arc<V>)>>(all: I) -> Self {
        Self(RwLock::new(all.into_iter().collect()))
    }
}
