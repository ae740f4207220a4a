//! Opens connections the one right way and brings the schema up to date. Knows no verb.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::fault::Soundness;
use crate::store::StoreError;

/// In order; a file is never changed once it was released.
const MIGRATIONS: [&str; 4] = [
    include_str!("../migrations/sqlite/0001_outbox.sql"),
    include_str!("../migrations/sqlite/0002_kept.sql"),
    include_str!("../migrations/sqlite/0003_home.sql"),
    include_str!("../migrations/sqlite/0004_looks.sql"),
];

/// Before it a checkpoint at the wrong moment could damage the file.
const SQLITE_VERSION_MIN: i32 = 3_051_003;

const BUSY_SECONDS: u64 = 10;

/// What a connection is for; decides the size of its page cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    Writer,
    Reader,
    Checkpointer,
}

impl Role {
    const fn cache_kib(self) -> i64 {
        match self {
            Self::Writer => 32 << 10,
            Self::Reader => 4 << 10,
            Self::Checkpointer => 1 << 10,
        }
    }
}

pub(super) fn connect(path: &Path, role: Role, soundness: &Soundness) -> Result<Connection, StoreError> {
    if rusqlite::version_number() < SQLITE_VERSION_MIN {
        let version = rusqlite::version();
        return Err(StoreError::Broken(format!(
            "SQLite {version} can damage its file, 3.51.3 is the first that cannot"
        )));
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| soundness.judge(&error))?;
    let mode = configure(&connection, role).map_err(|error| soundness.judge(&error))?;
    if mode == "wal" {
        Ok(connection)
    } else {
        Err(StoreError::Unwritable(format!("{} is where SQLite cannot keep a write-ahead log", path.display())))
    }
}

/// Returns the journal's mode. The page size comes first: set later, the cache outgrows its limit.
fn configure(connection: &Connection, role: Role) -> rusqlite::Result<String> {
    connection.busy_timeout(Duration::from_secs(BUSY_SECONDS))?;
    connection.pragma_update(None, "page_size", 16_384)?;
    let mode = connection.pragma_update_and_check(None, "journal_mode", "wal", |row| row.get(0))?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "cache_size", -role.cache_kib())?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "query_only", role == Role::Reader)?;
    // Else a join is planned anew at each run, in case the value of a parameter suggests another way.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(mode)
}

/// Runs the migrations that the file has not seen, each in a transaction of its own.
pub(super) fn migrate(connection: &mut Connection, soundness: &Soundness) -> Result<(), StoreError> {
    let version = |connection: &Connection| connection.pragma_query_value(None, "user_version", |row| row.get(0));
    let found: i64 = version(connection).map_err(|error| soundness.judge(&error))?;
    let known = MIGRATIONS.len() as i64;
    if found > known {
        return Err(StoreError::TooNew { found, known });
    }
    migrate_to(connection, MIGRATIONS.len()).map_err(|error| soundness.judge(&error))
}

fn migrate_to(connection: &mut Connection, version: usize) -> rusqlite::Result<()> {
    let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    for (number, sql) in MIGRATIONS.iter().enumerate().take(version).skip(found as usize) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(sql)?;
        transaction.pragma_update(None, "user_version", number as i64 + 1)?;
        transaction.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(connection: &Connection) -> Vec<(String, String)> {
        let sql = "SELECT name, coalesce(sql, '') FROM sqlite_schema ORDER BY name";
        let mut statement = connection.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }

    #[test]
    fn a_commit_is_on_the_disk_and_no_cache_outgrows_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        for role in [Role::Writer, Role::Reader, Role::Checkpointer] {
            let connection = connect(&folder.path().join("db"), role, &Soundness::default()).unwrap();
            // 2 is "full".
            let expected = [("synchronous", 2), ("page_size", 16_384), ("wal_autocheckpoint", 0), ("temp_store", 2)];
            for (name, value) in expected.into_iter().chain([("cache_size", -role.cache_kib())]) {
                let found: i64 = connection.pragma_query_value(None, name, |row| row.get(0)).unwrap();
                assert_eq!(found, value, "{name} of the {role:?}");
            }
            assert!(connection.db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG).unwrap());
        }
    }

    #[test]
    fn every_older_schema_grows_into_the_newest() {
        let mut fresh = Connection::open_in_memory().unwrap();
        migrate(&mut fresh, &Soundness::default()).unwrap();
        for oldest in 0..=MIGRATIONS.len() {
            let mut old = Connection::open_in_memory().unwrap();
            migrate_to(&mut old, oldest).unwrap();
            migrate(&mut old, &Soundness::default()).unwrap();
            assert_eq!(shape(&old), shape(&fresh), "from schema {oldest}");
        }
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.pragma_update(None, "user_version", 99).unwrap();
        let refused = migrate(&mut connection, &Soundness::default());
        assert_eq!(refused, Err(StoreError::TooNew { found: 99, known: MIGRATIONS.len() as i64 }));
    }
}
