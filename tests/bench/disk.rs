//! The disk alone: a probe that tells quiet moments from loud ones, and the raw log that figures are
//! ratios of.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::Path,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};

const PROBE: Duration = Duration::from_millis(400);

/// Median time of "append 4 KiB, then fdatasync", for 0.4 s.
pub(crate) fn probe(folder: &Path) -> Duration {
    let path = folder.join("probe");
    let mut file = File::create(&path).expect("the folder can be written");
    let (block, begun, mut times) = ([7; 4096], Instant::now(), Vec::new());
    while begun.elapsed() < PROBE {
        let once = Instant::now();
        file.write_all(&block).and_then(|()| file.sync_data()).expect("the disk has room");
        times.push(once.elapsed());
    }
    fs::remove_file(path).expect("it was just made");
    times.sort_unstable();
    times[times.len() / 2]
}

/// Waits for a quiet disk: a probe of at most twice the best one so far. Gives up after `tries`.
pub(crate) struct Gate {
    best: Duration,
    tries: u32,
}

impl Gate {
    pub(crate) fn new(tries: u32) -> Self {
        Self { best: Duration::MAX, tries }
    }

    /// Returns the probe, and whether the disk was quiet.
    pub(crate) fn wait(&mut self, folder: &Path) -> (Duration, bool) {
        let mut last = probe(folder);
        for _ in 1..self.tries {
            self.best = self.best.min(last);
            if last <= self.best * 2 {
                return (last, true);
            }
            last = probe(folder);
        }
        self.best = self.best.min(last);
        (last, last <= self.best * 2)
    }
}

/// An append-only file whose one thread syncs once for all who wait: what a durable store cannot beat.
pub(crate) struct RawLog(mpsc::Sender<(Vec<u8>, oneshot::Sender<()>)>);

impl RawLog {
    pub(crate) fn open(path: &Path) -> Self {
        let mut file = OpenOptions::new().create(true).append(true).open(path).expect("the folder can be written");
        let (queue, mut appends) = mpsc::channel::<(Vec<u8>, oneshot::Sender<()>)>(1024);
        std::thread::spawn(move || {
            let mut batch = Vec::new();
            while appends.blocking_recv_many(&mut batch, 512) > 0 {
                let bytes: Vec<_> = batch.iter().map(|(bytes, _)| &**bytes).collect();
                file.write_all(&bytes.concat()).and_then(|()| file.sync_data()).expect("the disk has room");
                for (_, caller) in batch.drain(..) {
                    caller.send(()).ok();
                }
            }
        });
        Self(queue)
    }

    pub(crate) async fn append(&self, bytes: Vec<u8>) {
        let (caller, written) = oneshot::channel();
        self.0.send((bytes, caller)).await.expect("the thread runs as long as the log");
        written.await.expect("the thread answers all");
    }
}
