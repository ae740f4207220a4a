//! The rooms of the file, each from its table to its type: the mistakes of one hide none in another.

use std::collections::BTreeMap;

use bridge_api::{BridgeName, SettingsFault};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;
use toml::{Table, Value};

use super::{
    BridgeEntry, Gateway, Inbox, Kinds, Prints, Settings, Store, StoreUrl,
    document::KeyPath,
    faults::{Finding, Wrong, nearest},
    schema::{BridgeKeys, Shapes, StoreKeys, any_bridge_shape, bridge_shape},
    shape::Checked,
    typed::{read_table, remove},
    values::is_name,
};

pub(super) struct Rooms<'a> {
    pub(super) checked: &'a mut Checked,
    pub(super) shapes: &'a Shapes,
    pub(super) kinds: &'a dyn Kinds,
    pub(super) prints: Prints,
}

impl Rooms<'_> {
    /// `None` when a part could not be read at all; then there is a finding too.
    pub(super) fn settings(&mut self, mut table: Table) -> Option<Settings> {
        let shapes = self.shapes;
        let gateway = self.room(&mut table, "gateway", &shapes.gateway);
        let store = self.room(&mut table, "store", &shapes.store);
        let log = self.room(&mut table, "log", &shapes.log);
        let inboxes = self.inboxes(&mut table);
        let bridges = self.bridges(&mut table, &inboxes);
        let url = store.and_then(|keys: StoreKeys| self.store_url(&keys));
        let gateway: Gateway = gateway?;
        let url = url?.unwrap_or_else(|| StoreUrl::Sqlite(gateway.data_dir.join("deskbridge.db")));
        let inboxes = inboxes.into_iter().map(|(name, inbox)| Some((name, inbox?))).collect::<Option<_>>()?;
        let bridges = bridges.into_iter().map(|(name, entry)| Some((name, entry?))).collect::<Option<_>>()?;
        Some(Settings {
            gateway,
            store: Store { url },
            log: log?,
            inboxes,
            bridges,
            prints: std::mem::take(&mut self.prints),
        })
    }

    fn room<T: DeserializeOwned>(&mut self, table: &mut Table, name: &str, shape: &Json) -> Option<T> {
        let value = table.remove(name).unwrap_or_else(|| Value::Table(Table::new()));
        let path = KeyPath::of(&[name]);
        let (table, flawed) = self.clean(shape, value, &path)?;
        self.typed(read_table(table), &path, flawed)
    }

    /// Holds a table against its shape, and gives it back without what was found wrong in it, so that
    /// the types can look for more. The flag says whether something was.
    fn clean(&mut self, shape: &Json, mut value: Value, path: &KeyPath) -> Option<(Table, bool)> {
        let before = self.checked.findings.len();
        self.checked.value(shape, &mut value, path);
        let found = &self.checked.findings[before..];
        let flawed = self.checked.findings.iter().any(|finding| finding.path.is_within(path));
        // From the back, so that an item taken out of an array moves no other that is still to go.
        for finding in found.iter().rev() {
            remove(&mut value, &finding.path.keys()[path.keys().len()..]);
        }
        let Value::Table(table) = value else { return None };
        self.prints.take(path, &table);
        Some((table, flawed))
    }

    fn typed<T>(&mut self, read: Result<T, Vec<SettingsFault>>, path: &KeyPath, flawed: bool) -> Option<T> {
        match read {
            Ok(read) => Some(read),
            Err(faults) => {
                for fault in faults {
                    // What is missing in a table that was cleaned was wrong before, and is known.
                    if !(flawed && fault.reason.starts_with("missing field")) {
                        let reason = self.checked.without_secrets(fault.reason);
                        self.checked.findings.push(Finding::new(Wrong::Value, path.below(&fault.key), reason));
                    }
                }
                None
            }
        }
    }

    /// The inner `None` leaves the choice to the default.
    #[expect(clippy::option_option, reason = "one for a mistake, one for a key that was left out")]
    fn store_url(&mut self, keys: &StoreKeys) -> Option<Option<StoreUrl>> {
        match keys.url.as_ref().map(|url| url.expose().parse()) {
            None => Some(None),
            Some(Ok(url)) => Some(Some(url)),
            Some(Err(message)) => {
                self.checked.findings.push(Finding::new(Wrong::Value, KeyPath::of(&["store", "url"]), message));
                None
            }
        }
    }

    /// The tables of a room of tables, each under a name that may be part of an address.
    fn entries(&mut self, table: &mut Table, room: &str) -> Vec<(String, KeyPath, Value)> {
        let path = KeyPath::of(&[room]);
        let entries = match table.remove(room) {
            None => Table::new(),
            Some(Value::Table(entries)) => entries,
            Some(_) => {
                let message = format!("must be tables with names of your own, such as [{room}.support]");
                self.checked.findings.push(Finding::new(Wrong::Value, path.clone(), message));
                Table::new()
            }
        };
        let named = entries.into_iter().map(|(name, value)| (path.child(&name), name, value));
        named
            .map(|(path, name, value)| {
                if !is_name(&name) {
                    let message = "is no name: use 1 to 40 of a-z, 0-9, _ and -";
                    self.checked.findings.push(Finding::new(Wrong::Key, path.clone(), message));
                }
                (name, path, value)
            })
            .collect()
    }

    /// Each name that is written, with its inbox where that can be read.
    fn inboxes(&mut self, table: &mut Table) -> BTreeMap<String, Option<Inbox>> {
        let mut inboxes: BTreeMap<String, Option<Inbox>> = BTreeMap::new();
        for (name, path, value) in self.entries(table, "inboxes") {
            let cleaned = self.clean(&self.shapes.inbox, value, &path);
            let inbox = cleaned.and_then(|(table, flawed)| self.typed::<Inbox>(read_table(table), &path, flawed));
            if let Some(inbox) = &inbox
                && let Some((twin, _)) = inboxes.iter().find(|(_, other)| is_same(inbox, other.as_ref()))
            {
                // Two names for one inbox would send each reply twice.
                let message = format!("is the same inbox as `inboxes.{twin}`; keep one of the two");
                self.checked.findings.push(Finding::new(Wrong::Value, path.child("inbox_id"), message));
            }
            inboxes.insert(name, inbox);
        }
        inboxes
    }

    fn bridges(
        &mut self,
        table: &mut Table,
        inboxes: &BTreeMap<String, Option<Inbox>>,
    ) -> Vec<(BridgeName, Option<BridgeEntry>)> {
        let entries = self.entries(table, "bridges");
        let read = entries.into_iter().map(|(name, path, value)| {
            let name = BridgeName::from(name);
            let inbox = value.get("inbox").and_then(Value::as_str).map(str::to_owned);
            let entry = self.bridge(&name, &path, value);
            if let Some(inbox) = inbox {
                self.inbox_exists(&inbox, &path, inboxes);
            }
            (name, entry)
        });
        read.collect()
    }

    fn bridge(&mut self, name: &BridgeName, path: &KeyPath, value: Value) -> Option<BridgeEntry> {
        if !value.is_table() {
            self.checked.findings.push(Finding::new(Wrong::Value, path.clone(), "must be a table"));
            return None;
        }
        let Some(shape) = self.kind_shape(&value, path) else {
            self.keys_of_no_kind(value, path);
            return None;
        };
        let (mut table, flawed) = self.clean(&shape, value, path)?;
        let common: Table = BridgeKeys::ALL.into_iter().filter_map(|key| table.remove_entry(key)).collect();
        let kind = common.get("kind").and_then(Value::as_str).unwrap_or_default().to_owned();
        let keys: Option<BridgeKeys> = self.typed(read_table(common), path, flawed);
        let mut built = self.kinds.build(name, &kind, table.clone());
        if let (true, Err(faults)) = (flawed, &mut built) {
            // A complaint about a key that is not there follows from the mistake that took it out.
            faults.retain(|fault| lookup(&table, &fault.key).is_some());
        }
        let bridge = self.typed(built, path, flawed)?;
        let keys = keys?;
        Some(BridgeEntry {
            kind: keys.kind,
            inbox: keys.inbox,
            when_in_doubt: keys.when_in_doubt,
            peer_burst: keys.peer_burst,
            peer_pause_millis: keys.peer_pause_millis,
            new_per_peer_hour: keys.new_per_peer_hour,
            new_per_day: keys.new_per_day,
            blocked: keys.blocked,
            bridge,
        })
    }

    fn kind_shape(&mut self, value: &Value, path: &KeyPath) -> Option<Json> {
        let path = path.child("kind");
        let known = self.kinds.known();
        let quoted = known.join(", ");
        let finding = match value.get("kind") {
            None => Finding::new(Wrong::Missing, path.clone(), format!("is missing (known: {quoted})")),
            Some(Value::String(kind)) => {
                if let Some(shape) = bridge_shape(self.kinds, kind) {
                    return Some(shape);
                }
                let message = format!("no bridge kind `{kind}` (known: {quoted})");
                Finding::new(Wrong::Value, path.clone(), message).near(nearest(kind, known))
            }
            Some(_) => Finding::new(Wrong::Value, path.clone(), format!("must be a string (known: {quoted})")),
        };
        self.checked.plain.insert(path);
        self.checked.findings.push(finding);
        None
    }

    fn keys_of_no_kind(&mut self, mut value: Value, path: &KeyPath) {
        let mut checked = Checked::default();
        checked.value(&any_bridge_shape(self.kinds), &mut value, path);
        let keys = checked.findings.into_iter().filter(|finding| finding.wrong == Wrong::Key);
        self.checked.findings.extend(keys);
        self.checked.secrets.append(&mut checked.secrets);
    }

    fn inbox_exists(&mut self, inbox: &str, path: &KeyPath, inboxes: &BTreeMap<String, Option<Inbox>>) {
        if inboxes.contains_key(inbox) {
            return;
        }
        let near = nearest(inbox, inboxes.keys().map(String::as_str));
        let message = format!("no inbox `{inbox}`; write one as [inboxes.{inbox}]");
        self.checked.plain.insert(path.child("inbox"));
        self.checked.findings.push(Finding::new(Wrong::Value, path.child("inbox"), message).near(near));
    }
}

fn is_same(inbox: &Inbox, other: Option<&Inbox>) -> bool {
    let identity = |inbox: &Inbox| (inbox.url.base().to_owned(), inbox.account_id, inbox.inbox_id);
    other.is_some_and(|other| identity(inbox) == identity(other))
}

fn lookup<'a>(table: &'a Table, dotted: &str) -> Option<&'a Value> {
    let mut keys = dotted.split('.');
    let first = table.get(keys.next()?)?;
    keys.try_fold(first, |value, key| value.get(key).or_else(|| value.get(key.parse::<usize>().ok()?)))
}
