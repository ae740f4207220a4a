//! A word to the others that something began to wait for them, so that they need not look all the time. It may be lost,
//! since everybody looks now and then all the same; and it is said beside the transactions, which would commit one after
//! another if it were said in them.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use tokio::sync::Notify;
use tokio_postgres::Client;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    fault::Failure,
    place::{Dialer, Role},
};

/// Between two words of one process.
const REST: Duration = Duration::from_millis(10);
/// Before a connection that was lost is made again.
const PAUSE: Duration = Duration::from_secs(1);
/// How long it may take to say it.
const SAY_LIMIT: Duration = Duration::from_secs(2);

const LISTEN: &str = "DO $$ BEGIN EXECUTE format('LISTEN %I', 'deskbridge ' || md5(current_schema())); END $$";
/// In a transaction, so that it is heard when that is visible.
pub(super) const MOVED: &str = "SELECT pg_notify('deskbridge ' || md5(current_schema()), 'moved')";
const SAY: &str = "SELECT pg_notify('deskbridge ' || md5(current_schema()), '')";
const RING: &str = "SELECT pg_notify('deskbridge ' || md5(current_schema()), 'kept')";

#[derive(Debug, Default)]
pub(super) struct Hints {
    heard: Arc<Notify>,
    moved: Arc<Notify>,
    rung: Arc<Notify>,
    say: Arc<Notify>,
    ring: Arc<Notify>,
    begun: OnceLock<()>,
    stop: CancellationToken,
}

impl Drop for Hints {
    fn drop(&mut self) {
        self.close();
    }
}

impl Hints {
    /// From now on what others say is heard.
    pub(super) fn begin(&self, dialer: &Dialer, tasks: &TaskTracker) {
        if self.begun.set(()).is_err() {
            return;
        }
        let ears = Ears { heard: self.heard.clone(), moved: self.moved.clone(), rung: self.rung.clone() };
        let (say, ring) = (self.say.clone(), self.ring.clone());
        let (dialer, stop) = (dialer.clone(), self.stop.clone());
        tasks.spawn(async move {
            let work = async {
                loop {
                    if let Ok(client) = connect(&dialer, ears.clone()).await {
                        speak(&client, (&say, &ring)).await;
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            };
            stop.run_until_cancelled(work).await;
        });
    }

    pub(super) fn close(&self) {
        self.stop.cancel();
    }

    /// Soon.
    pub(super) fn say(&self) {
        self.say.notify_one();
    }

    pub(super) async fn heard(&self) {
        self.heard.notified().await;
    }

    /// Soon: something was kept for a bridge.
    pub(super) fn ring(&self) {
        self.ring.notify_one();
    }

    pub(super) async fn rung(&self) {
        self.rung.notified().await;
    }

    /// Somebody came, or gave something back.
    pub(super) async fn moved(&self) {
        self.moved.notified().await;
    }
}

/// Who is told of what is heard.
#[derive(Clone)]
struct Ears {
    heard: Arc<Notify>,
    moved: Arc<Notify>,
    rung: Arc<Notify>,
}

async fn connect(dialer: &Dialer, Ears { heard, moved, rung }: Ears) -> Result<Client, Failure> {
    let own = Arc::new(OnceLock::new());
    let us = own.clone();
    let hear = move |said: tokio_postgres::Notification| {
        if said.payload() == "moved" {
            moved.notify_one();
        } else if us.get() != Some(&said.process_id()) {
            let ear = if said.payload() == "kept" { &rung } else { &heard };
            ear.notify_one();
        }
    };
    let client = dialer.dial_and_hear(Role::Keeper, hear).await?;
    own.set(client.query_one("SELECT pg_backend_pid()", &[]).await?.get::<_, i32>(0)).ok();
    client.batch_execute(LISTEN).await?;
    Ok(client)
}

/// Until the connection is lost.
async fn speak(client: &Client, (say, ring): (&Notify, &Notify)) {
    loop {
        let word = tokio::select! {
            () = say.notified() => SAY,
            () = ring.notified() => RING,
            () = tokio::time::sleep(PAUSE) => {
                if client.is_closed() {
                    return;
                }
                continue;
            }
        };
        let said = tokio::time::timeout(SAY_LIMIT, client.batch_execute(word)).await;
        if !matches!(said, Ok(Ok(()))) {
            return;
        }
        tokio::time::sleep(REST).await;
    }
}
