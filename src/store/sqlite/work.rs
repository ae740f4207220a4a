//! What the writer has in hand: its connection, and the few numbers that it keeps beside it so as not
//! to ask again. Runs transactions; says nothing about what is in them.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, Params, params};

use super::fault::Failure;
use crate::{
    model::{EnvelopeId, SinkName},
    store::{Lease, StoreError},
};

pub(super) struct Work {
    path: PathBuf,
    connection: Connection,
    numbers: Numbers,
}

/// As the tables have them, or will when the transaction ends.
#[derive(Default)]
struct Numbers {
    newest_id: i64,
    epoch: i64,
    leased: bool,
    /// Sink `n + 1` at place `n`.
    sinks: Vec<Sink>,
}

struct Sink {
    name: SinkName,
    waiting: i64,
    dead: i64,
    changed: bool,
}

impl Work {
    pub(super) fn new(path: &Path, connection: Connection) -> rusqlite::Result<Self> {
        let numbers = Numbers::load(&connection)?;
        Ok(Self { path: path.to_owned(), connection, numbers })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Commits when `body` succeeds, else leaves everything as it was.
    pub(super) fn transaction(&mut self, body: impl FnOnce(&mut Self) -> rusqlite::Result<()>) -> rusqlite::Result<()> {
        self.execute("BEGIN IMMEDIATE", [])?;
        let outcome = body(self).and_then(|()| self.save_numbers()).and_then(|()| self.execute("COMMIT", []));
        if let Err(error) = outcome {
            self.roll_back();
            return Err(error);
        }
        Ok(())
    }

    fn roll_back(&mut self) {
        // Some failures have rolled back already.
        if !self.connection.is_autocommit()
            && let Err(error) = self.connection.execute_batch("ROLLBACK")
        {
            tracing::warn!(error = ?error.to_string(), "a transaction could not be rolled back");
        }
        match Numbers::load(&self.connection) {
            // Ids may leave gaps, but a number that was once given out is not given out again.
            Ok(numbers) => {
                self.numbers = Numbers { newest_id: numbers.newest_id.max(self.numbers.newest_id), ..numbers }
            }
            Err(error) => tracing::warn!(error = ?error.to_string(), "the store's counters could not be read"),
        }
    }

    /// Empties the write-ahead log, as far as nobody reads it.
    pub(super) fn close(self) {
        let emptied = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
        if let Err(error) = emptied.and_then(|()| self.connection.close().map_err(|(_, error)| error)) {
            tracing::warn!(error = ?error.to_string(), "the store was not closed cleanly; nothing is lost");
        }
    }

    /// Runs a statement that was prepared once; returns how many rows it changed.
    pub(super) fn execute(&self, sql: &str, params: impl Params) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute(params).map(drop)
    }

    pub(super) fn next_id(&mut self) -> EnvelopeId {
        self.numbers.newest_id += 1;
        EnvelopeId(self.numbers.newest_id)
    }
    pub(super) fn newest_id(&self) -> i64 {
        self.numbers.newest_id
    }

    pub(super) fn hold(&self, lease: &Lease) -> Result<(), Failure> {
        let held = self.numbers.leased && lease.epoch(0) == Some(self.numbers.epoch);
        if held { Ok(()) } else { Err(Failure::Refused(StoreError::LeaseLost)) }
    }
    pub(super) fn take_lease(&mut self, owner: &str) -> rusqlite::Result<i64> {
        let epoch = self.numbers.epoch + 1;
        self.execute("UPDATE lease SET epoch = ?1, owner = ?2", params![epoch, owner])?;
        self.numbers.epoch = epoch;
        self.numbers.leased = true;
        Ok(epoch)
    }
    pub(super) fn end_lease(&mut self) -> rusqlite::Result<()> {
        self.execute("UPDATE lease SET owner = NULL", [])?;
        self.numbers.leased = false;
        Ok(())
    }

    /// The sink's number, made when it is new.
    pub(super) fn intern(&mut self, name: &SinkName) -> rusqlite::Result<i64> {
        let sinks = &mut self.numbers.sinks;
        if let Some(place) = sinks.iter().position(|sink| sink.name == *name) {
            return Ok(place as i64 + 1);
        }
        let id = sinks.len() as i64 + 1;
        sinks.push(Sink { name: name.clone(), waiting: 0, dead: 0, changed: false });
        self.execute("INSERT INTO sink (id, name) VALUES (?1, ?2)", params![id, name.as_str()])?;
        Ok(id)
    }
    pub(super) fn sink_name(&self, sink: i64) -> SinkName {
        self.numbers.sinks[sink as usize - 1].name.clone()
    }
    /// Counts envelopes that begin or cease to wait.
    pub(super) fn count(&mut self, sink: i64, change: i64) {
        let sink = &mut self.numbers.sinks[sink as usize - 1];
        sink.waiting += change;
        sink.changed = true;
    }
    /// The same for dead letters.
    pub(super) fn count_dead(&mut self, sink: i64, change: i64) {
        let sink = &mut self.numbers.sinks[sink as usize - 1];
        sink.dead += change;
        sink.changed = true;
    }

    fn save_numbers(&mut self) -> rusqlite::Result<()> {
        for (place, sink) in self.numbers.sinks.iter_mut().enumerate().filter(|(_, sink)| sink.changed) {
            let mut update = self.connection.prepare_cached("UPDATE sink SET waiting = ?2, dead = ?3 WHERE id = ?1")?;
            update.execute([place as i64 + 1, sink.waiting, sink.dead])?;
            sink.changed = false;
        }
        Ok(())
    }
}

impl Numbers {
    fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let newest = "SELECT max((SELECT value FROM counter WHERE name = 'id'),
            ifnull((SELECT max(id) FROM ev), 0), ifnull((SELECT max(id) FROM done), 0), ifnull((SELECT max(id) FROM dead), 0))";
        let newest_id = connection.query_row(newest, [], |row| row.get(0))?;
        let lease = "SELECT epoch, owner IS NOT NULL FROM lease";
        let (epoch, leased) = connection.query_row(lease, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
        let mut sinks = connection.prepare("SELECT name, waiting, dead FROM sink ORDER BY id")?;
        let sinks = sinks.query_map([], |row| {
            let name = SinkName::from_stored(row.get::<_, String>(0)?);
            Ok(Sink { name, waiting: row.get(1)?, dead: row.get(2)?, changed: false })
        })?;
        Ok(Self { newest_id, epoch, leased, sinks: sinks.collect::<Result<_, _>>()? })
    }
}
