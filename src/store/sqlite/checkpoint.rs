//! Brings the write-ahead log back into the database file, in two phases, so that the writer never
//! waits for long and the log stays small.
//!
//! First a connection of its own copies what is there while the writer goes on; then the writer copies
//! the few pages that came since, which lets it begin the log anew.

use std::{
    path::Path,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread::JoinHandle,
};

use rusqlite::Connection;
use tokio::sync::mpsc::WeakSender;

use super::{
    fault::Soundness,
    schema::{Role, connect},
    writer::{Command, thread},
};
use crate::store::StoreError;

/// Transactions between two checkpoints.
const INTERVAL: u32 = 20;

/// The writer's end.
pub(super) struct Checkpointer {
    ask: SyncSender<()>,
    thread: JoinHandle<()>,
    commits: u32,
    running: bool,
}

impl Checkpointer {
    pub(super) fn start(path: &Path, writer: WeakSender<Command>, soundness: Soundness) -> Result<Self, StoreError> {
        let connection = connect(path, Role::Checkpointer, &soundness)?;
        let (ask, asked) = sync_channel(1);
        let thread = thread("store checkpoint", move || run(&connection, &asked, &writer, &soundness))?;
        Ok(Self { ask, thread, commits: 0, running: false })
    }

    /// Counts a transaction and begins the first phase when it is time.
    pub(super) fn committed(&mut self) {
        self.commits += 1;
        if self.commits >= INTERVAL && !self.running {
            self.running = self.ask.try_send(()).is_ok();
        }
    }

    /// The second phase, on the writer's connection.
    pub(super) fn finish(&mut self, connection: &Connection, soundness: &Soundness) {
        passive(connection, soundness);
        self.commits = 0;
        self.running = false;
    }

    /// Waits for the thread to end.
    pub(super) fn stop(self) {
        drop(self.ask);
        if self.thread.join().is_err() {
            tracing::error!("the checkpoint thread panicked");
        }
    }
}

fn run(connection: &Connection, asked: &Receiver<()>, writer: &WeakSender<Command>, soundness: &Soundness) {
    while asked.recv().is_ok() {
        passive(connection, soundness);
        let Some(writer) = writer.upgrade() else { return };
        if writer.blocking_send(Command::Checkpointed).is_err() {
            return;
        }
    }
}

/// Never waits for readers. A full disk is no matter here: the log keeps what could not be copied.
fn passive(connection: &Connection, soundness: &Soundness) {
    let outcome = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
    if let Err(error) = outcome {
        let error = soundness.judge(&error);
        tracing::warn!(?error, "the write-ahead log could not be copied");
    }
}
