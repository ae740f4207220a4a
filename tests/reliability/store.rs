//! What the store of a gateway that is down holds, read from a copy, so that the next life finds what the last one
//! left.

use std::{collections::BTreeSet, fs, path::Path};

use rusqlite::{Connection, OpenFlags};

use crate::oracle::{Token, Way};

/// The files of the database; the third is made anew from the second.
const FILES: [&str; 2] = ["deskbridge.db", "deskbridge.db-wal"];

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kept {
    /// Messages of both ways that wait or are under way.
    pub(crate) waiting: BTreeSet<Token>,
    /// Every key that was ever taken.
    pub(crate) keys: BTreeSet<String>,
}

pub(crate) enum Log {
    Kept,
    /// As if the log before the database had never reached the disk.
    Gone,
}

/// Empty where the gateway never came as far as a database.
pub(crate) fn look(data_dir: &Path, log: &Log) -> Kept {
    let scratch = tempfile::tempdir().expect("a temporary folder is made");
    for name in FILES.iter().take(if matches!(log, Log::Kept) { 2 } else { 1 }) {
        let from = data_dir.join(name);
        if from.exists() {
            fs::copy(from, scratch.path().join(name)).expect("a file is copied");
        }
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE;
    let Ok(database) = Connection::open_with_flags(scratch.path().join(FILES[0]), flags) else {
        return Kept::default();
    };
    let texts = |sql: &str| -> rusqlite::Result<Vec<String>> {
        let mut statement = database.prepare(sql)?;
        statement.query_map([], |row| row.get(0))?.collect()
    };
    // A database without tables has nothing in it yet.
    if texts("SELECT name FROM sqlite_schema WHERE name = 'body'").is_ok_and(|names| names.is_empty()) {
        return Kept::default();
    }
    let sound = texts("PRAGMA integrity_check").expect("a database");
    assert_eq!(sound, ["ok"], "the database is broken");
    let orders = texts("SELECT order_json FROM body").expect("the schema");
    // What the IRC bridge holds until it is proved whose it is.
    let held = texts("SELECT value FROM cursor WHERE name LIKE 'held/%'").expect("the schema");
    let of = |way| move |text: &String| Token::find(way, text);
    let lines = orders.iter().chain(&held).filter_map(of(Way::In));
    let waiting = lines.chain(orders.iter().filter_map(of(Way::Out))).collect();
    let keys = texts("SELECT key FROM body UNION SELECT key FROM done UNION SELECT key FROM dead").expect("the schema");
    Kept { waiting, keys: keys.into_iter().collect() }
}
