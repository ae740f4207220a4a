//! A thread that reads on a connection of its own, so that readers never wait for the writer.

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

use super::{
    fault::{Failure, Soundness},
    writer::thread,
};
use crate::store::StoreError;

/// Reads that may wait for the thread; more wait to be let in.
const QUEUE_MAX: usize = 256;

enum Command {
    Look(Box<dyn FnOnce(&mut Connection) + Send>),
    Stop(oneshot::Sender<()>),
}

/// The callers' end.
#[derive(Debug)]
pub(super) struct Reader {
    queue: mpsc::Sender<Command>,
    soundness: Soundness,
}

impl Reader {
    pub(super) fn start(name: &str, connection: Connection, soundness: Soundness) -> Result<Self, StoreError> {
        let (queue, commands) = mpsc::channel(QUEUE_MAX);
        thread(name, move || run(connection, commands))?;
        Ok(Self { queue, soundness })
    }

    /// Runs `look` in a transaction that sees one state of the store: all that was durable when it began.
    pub(super) async fn call<T, F>(&self, look: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, Failure> + Send + 'static,
    {
        self.soundness.check()?;
        let (caller, answer) = oneshot::channel();
        let look = Box::new(move |connection: &mut Connection| {
            let seen = connection.transaction().map_err(Failure::Sql).and_then(|transaction| look(&transaction));
            // A caller that is gone does not mind.
            caller.send(seen).ok();
        });
        self.queue.send(Command::Look(look)).await.map_err(|_| StoreError::Closed)?;
        match answer.await {
            Ok(Ok(value)) => Ok(value),
            Ok(Err(Failure::Refused(error))) => Err(error),
            Ok(Err(Failure::Sql(error))) => Err(self.soundness.judge(&error)),
            Err(_) => Err(StoreError::Closed),
        }
    }

    /// Returns once what was asked for before is answered and the connection is closed.
    pub(super) async fn stop(&self) {
        let (caller, answer) = oneshot::channel();
        if self.queue.send(Command::Stop(caller)).await.is_ok() {
            // Unanswered only by a thread that has ended as well.
            answer.await.ok();
        }
    }
}

fn run(mut connection: Connection, mut commands: mpsc::Receiver<Command>) {
    let mut stopped = Vec::new();
    while let Some(command) = commands.blocking_recv() {
        match command {
            Command::Look(look) => look(&mut connection),
            Command::Stop(caller) => {
                stopped.push(caller);
                commands.close();
            }
        }
    }
    drop(connection);
    for caller in stopped {
        // Whoever asked for the end and left has it all the same.
        caller.send(()).ok();
    }
}
