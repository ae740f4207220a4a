//! What only a store on disk can get wrong: crashes, full disks, damage, second processes.

use std::{
    fs,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::Path,
    process::Command,
    sync::{Arc, mpsc},
    time::Duration,
};

use bytes::Bytes;
use futures_util::future::join_all;
use rusqlite::{Connection, ffi};
use tempfile::TempDir;

use super::{Place, SqliteStore, fault::Failure};
use crate::{
    model::{EnvelopeId, Group},
    store::{
        Accepted, Batch, Begin, By, Settle, Settled, Store, StoreError, Turn,
        suite::{NOW, key, new, people, whom},
    },
};

pub(super) fn fresh() -> (TempDir, Place) {
    let folder = tempfile::tempdir().unwrap();
    // Generous: a lock outlives its owner for a moment while another test starts a process.
    let place = Place { handover: Duration::from_mins(1), ..Place::in_dir(folder.path().join("data")) };
    (folder, place)
}

pub(super) async fn accept(store: &SqliteStore, name: &str) -> Result<Accepted, StoreError> {
    let groups = vec![Group::one(new(name, name, 0))];
    Ok(store.accept(Batch { groups, ..Batch::default() }, NOW).await?.remove(0))
}

#[tokio::test]
async fn what_was_written_is_there_after_a_restart_and_open_attempts_are_in_doubt() {
    let (_folder, place) = fresh();
    let store = SqliteStore::open(&place).unwrap();
    for name in ["a", "b"] {
        accept(&store, name).await.unwrap();
    }
    let old = store.lease("one", NOW).await.unwrap();
    let begin = vec![Begin { id: EnvelopeId(1), mark: 5 }];
    store.turn(&old, Turn { begin: begin.clone(), ..Turn::default() }, NOW).await.unwrap();
    let depth = store.depth().await.unwrap();
    drop(store);

    let store = SqliteStore::open(&place).unwrap();
    assert_eq!(store.depth().await, Ok(depth));
    let lease = store.lease("two", NOW).await.unwrap();
    assert!(lease.epoch(0) > old.epoch(0));
    let turned = store.turn(&lease, Turn { begin, ..Turn::default() }, NOW + 1).await.unwrap();
    assert_eq!(turned.begun[0].doubt.as_ref().map(|open| (open.number, open.mark)), Some((1, 5)));
    let ids: Vec<_> = accept(&store, "c").await.unwrap().into_waiting().iter().map(|waiting| waiting.id.0).collect();
    assert_eq!(ids, [3]);
}

#[tokio::test]
async fn ids_are_not_reused_after_everything_was_forgotten_and_the_process_restarted() {
    let (_folder, place) = fresh();
    let store = SqliteStore::open(&place).unwrap();
    accept(&store, "a").await.unwrap();
    let lease = store.lease("tests", NOW).await.unwrap();
    let begin = vec![Begin { id: EnvelopeId(1), mark: 0 }];
    store.turn(&lease, Turn { begin, ..Turn::default() }, NOW).await.unwrap();
    let settle = vec![Settle { id: EnvelopeId(1), outcome: Settled::Done { result: None, follow: Vec::new() } }];
    store.turn(&lease, Turn { settle, ..Turn::default() }, NOW).await.unwrap();
    assert_eq!(store.prune(NOW + 1).await, Ok(2));
    store.close().await;
    let store = SqliteStore::open(&place).unwrap();
    assert_eq!(accept(&store, "a").await.unwrap().into_waiting()[0].id, EnvelopeId(2));
}

#[tokio::test]
async fn a_second_owner_is_refused_by_the_name_of_the_first() {
    let (_folder, place) = fresh();
    let store = SqliteStore::open(&place).unwrap();
    let hasty = Place { handover: Duration::ZERO, ..place.clone() };
    let refused = SqliteStore::open(&hasty).unwrap_err();
    let owner = format!("process {}", std::process::id());
    assert_eq!(refused, StoreError::InUse { path: place.data_dir.display().to_string(), owner });
    let elsewhere = Place { data_dir: place.data_dir.join("other"), ..hasty };
    assert!(matches!(SqliteStore::open(&elsewhere), Err(StoreError::InUse { .. })), "the same database");
    store.close().await;
    SqliteStore::open(&place).expect("the first has let go");
}

#[tokio::test]
async fn files_are_for_the_owner_alone() {
    let (_folder, place) = fresh();
    let store = SqliteStore::open(&place).unwrap();
    accept(&store, "a").await.unwrap();
    crate::store::suite::put(&store, b"secret", false).await;
    let (mut files, mut folders) = (0, vec![place.data_dir.clone()]);
    while let Some(folder) = folders.pop() {
        assert_eq!(folder.metadata().unwrap().mode() & 0o777, 0o700, "{}", folder.display());
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                assert_eq!(entry.metadata().unwrap().mode() & 0o777, 0o600, "{}", entry.path().display());
                files += 1;
            }
        }
    }
    assert!(files >= 4, "the database, its log, the lock and the attachment: {files}");
}

async fn limit_pages(store: &SqliteStore, count: i64) -> Result<(), StoreError> {
    let limit = move |work: &mut super::Work| {
        Ok(work.connection().pragma_update_and_check(None, "max_page_count", count, |_| Ok(()))?)
    };
    store.writer.call(limit).await
}

#[tokio::test]
async fn a_full_disk_refuses_whole_verbs_and_is_survived() {
    let (_folder, place) = fresh();
    let store = SqliteStore::open(&place).unwrap();
    // No fewer than there are: the next page is one too many.
    limit_pages(&store, 1).await.unwrap();
    let (mut kept, mut refused) = (Vec::new(), Vec::new());
    for number in 0..2_000 {
        let name = format!("{number}");
        match accept(&store, &name).await {
            Ok(_) => kept.push(name),
            Err(error) => {
                assert!(matches!(error, StoreError::Unwritable(_)), "{error}");
                refused.push(name);
            }
        }
        if refused.len() == 3 {
            break;
        }
    }
    assert_eq!(refused.len(), 3, "the disk was never full");
    assert_eq!(store.depth().await.unwrap().waiting, kept.len() as u64, "reading goes on");

    limit_pages(&store, 1_000_000).await.unwrap();
    assert_eq!(store.check().await, Ok(()));
    for (names, known) in [(kept, true), (refused, false)] {
        for name in names {
            let accepted = accept(&store, &name).await.unwrap();
            assert_eq!(accepted == Accepted::Duplicate, known, "{name}: {accepted:?}");
        }
    }
}

/// A file system of 8 MiB, gone with the value.
struct SmallDisk(TempDir);

impl SmallDisk {
    /// `None` where this process may not mount one.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(folder.path()).output();
        mount.is_ok_and(|mount| mount.status.success()).then(|| Self(folder))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        Command::new("umount").arg("--lazy").arg(self.0.path()).status().ok();
    }
}

#[tokio::test]
async fn a_real_disk_that_fills_up_loses_nothing_and_works_again_once_there_is_room() {
    let Some(disk) = SmallDisk::mount() else {
        eprintln!("SKIPPED: only root may mount a small disk");
        return;
    };
    let ballast = disk.0.path().join("ballast");
    let store = SqliteStore::open(&Place::in_dir(disk.0.path().join("data"))).unwrap();
    fs::write(&ballast, vec![0; 4 << 20]).unwrap();
    let mut kept = Vec::new();
    let full = loop {
        let name = format!("a/{}", kept.len());
        match accept(&store, &name).await {
            Ok(_) => kept.push(name),
            Err(error) => break error,
        }
    };
    assert!(matches!(full, StoreError::Unwritable(_)), "{full}");
    let id = store.name_blob(NOW);
    let mut filling = store.fill(&id).await;
    if let Ok(filling) = &mut filling {
        let written = filling.write(Bytes::from(vec![1; 8 << 20])).await;
        assert!(matches!(written, Err(StoreError::Unwritable(_))), "{written:?}");
    }
    drop(filling);
    let unfinished = disk.0.path().join("data/blobs/unfinished");
    assert_eq!(fs::read_dir(unfinished).unwrap().count(), 0, "nothing is half stored");
    assert_eq!(store.blob(&id).await, Ok(None));

    fs::remove_file(ballast).unwrap();
    assert_eq!(store.check().await, Ok(()));
    for name in &kept {
        assert_eq!(accept(&store, name).await, Ok(Accepted::Duplicate), "{name}");
    }
    assert!(matches!(accept(&store, "later").await, Ok(Accepted::New(_))));
    store.close().await;
}

#[tokio::test]
async fn a_failed_sync_breaks_the_store_for_good() {
    let (_folder, place) = fresh();
    let store = SqliteStore::open(&place).unwrap();
    accept(&store, "a").await.unwrap();
    let failed = |_: &mut super::Work| -> Result<(), Failure> {
        Err(Failure::Sql(rusqlite::Error::SqliteFailure(ffi::Error::new(ffi::SQLITE_IOERR_FSYNC), None)))
    };
    let broken = store.writer.call(failed).await.unwrap_err();
    assert!(matches!(broken, StoreError::Broken(_)), "{broken}");
    assert_eq!(accept(&store, "b").await, Err(broken.clone()));
    assert_eq!(store.depth().await, Err(broken.clone()));
    assert_eq!(store.check().await, Err(broken));
    store.close().await;
    SqliteStore::open(&place).expect("a new process may try again");
}

#[tokio::test]
async fn a_file_that_is_no_database_is_broken() {
    let (_folder, place) = fresh();
    fs::create_dir(&place.data_dir).unwrap();
    fs::write(&place.database, "not a database, but long enough to look like one".repeat(1_000)).unwrap();
    assert!(matches!(SqliteStore::open(&place), Err(StoreError::Broken(_))));
}

/// Keeps the writer busy until what it returns is dropped, so that verbs gather.
fn hold(store: &Arc<SqliteStore>) -> mpsc::SyncSender<()> {
    let (release, held) = mpsc::sync_channel::<()>(0);
    let (store, held) = (store.clone(), std::sync::Mutex::new(held));
    let (begun, beginning) = mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let wait = move |_: &mut super::Work| {
            begun.send(()).unwrap();
            // Ends by an error, when the other end is dropped.
            held.lock().unwrap().recv().unwrap_err();
            Ok(())
        };
        runtime.block_on(store.writer.call(wait)).unwrap();
    });
    beginning.recv().unwrap();
    release
}

#[tokio::test]
async fn a_verb_that_fails_does_not_fail_those_that_share_its_transaction() {
    let (_folder, place) = fresh();
    let store = Arc::new(SqliteStore::open(&place).unwrap());
    let held = hold(&store);
    let twice = |work: &mut super::Work| Ok(work.execute("INSERT INTO lease VALUES (1, 9, 'x')", [])?);
    let release = async { drop(held) };
    let (before, failed, after, ()) =
        tokio::join!(accept(&store, "a"), store.writer.call(twice), accept(&store, "b"), release);
    assert!(matches!(failed, Err(StoreError::Unwritable(_))), "{failed:?}");
    for accepted in [before, after] {
        assert!(matches!(accepted, Ok(Accepted::New(_))), "{accepted:?}");
    }
    assert_eq!(store.depth().await.unwrap().waiting, 2);
    assert_eq!(store.lease("tests", NOW).await.unwrap().epoch(0), Some(1));
}

#[tokio::test]
async fn verbs_that_wait_together_share_one_transaction() {
    let (_folder, place) = fresh();
    let store = Arc::new(SqliteStore::open(&place).unwrap());
    let held = hold(&store);
    let names: Vec<_> = (0..100).map(|number| number.to_string()).collect();
    let all = join_all(names.iter().map(|name| accept(&store, name)));
    let release = async { drop(held) };
    let before = transactions(&place.database);
    let (all, ()) = tokio::join!(all, release);
    assert!(all.iter().all(Result::is_ok), "{all:?}");
    // One for what held the writer up, which wrote nothing, and one for all.
    assert_eq!(transactions(&place.database) - before, 1);
}

/// Commits in the write-ahead log: a frame whose header has the size of the file ends one.
fn transactions(database: &Path) -> usize {
    let log = fs::read(database.with_extension("db-wal")).unwrap();
    let word = |at: usize| u32::from_be_bytes(log[at..at + 4].try_into().unwrap());
    let frames = (32..log.len()).step_by(24 + 16_384).filter(|at| at + 24 <= log.len());
    frames.filter(|at| word(at + 8) == word(16) && word(at + 4) != 0).count()
}

#[tokio::test]
async fn an_order_that_cannot_be_read_becomes_a_dead_letter() {
    let (_folder, place) = fresh();
    let store = SqliteStore::open(&place).unwrap();
    for name in ["a", "b"] {
        accept(&store, name).await.unwrap();
    }
    let spoil =
        |work: &mut super::Work| Ok(work.execute("UPDATE body SET order_json = '{\"order\":\"?\"}' WHERE id = 1", [])?);
    store.writer.call(spoil).await.unwrap();
    let lease = store.lease("tests", NOW).await.unwrap();
    let begin = vec![Begin { id: EnvelopeId(1), mark: 0 }, Begin { id: EnvelopeId(2), mark: 0 }];
    let turned = store.turn(&lease, Turn { begin, ..Turn::default() }, NOW).await.unwrap();
    assert_eq!(turned.gone, [EnvelopeId(1)]);
    assert_eq!(turned.begun.iter().map(|envelope| &envelope.key).collect::<Vec<_>>(), [&key("b")]);
    assert!(store.dead(1).await.unwrap()[0].reason.contains("cannot be read"));
}

#[tokio::test]
async fn an_attachment_that_was_cut_off_is_swept_at_the_next_start() {
    let (_folder, place) = fresh();
    SqliteStore::open(&place).unwrap().close().await;
    let unfinished = place.data_dir.join("blobs/unfinished/half");
    fs::write(&unfinished, "ha").unwrap();
    SqliteStore::open(&place).unwrap();
    assert!(!unfinished.exists());
}

#[tokio::test]
async fn the_log_is_emptied_at_the_end_and_the_file_is_sound() {
    let (_folder, place) = fresh();
    let store = SqliteStore::open(&place).unwrap();
    for number in 0..200 {
        accept(&store, &number.to_string()).await.unwrap();
    }
    let page = fs::metadata(place.database.with_extension("db-wal")).unwrap().permissions().mode();
    assert_eq!(page & 0o777, 0o600);
    store.close().await;
    assert!(!place.database.with_extension("db-wal").exists(), "the last connection removes it");
    let verdict: String =
        Connection::open(&place.database).unwrap().query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(verdict, "ok");
}

#[tokio::test]
async fn it_knows_its_space_and_how_long_its_commits_take() {
    let (_folder, place) = fresh();
    let store = SqliteStore::open(&place).unwrap();
    let commits = store.commits().unwrap();
    let before = commits.get_sample_count();
    accept(&store, "one").await.unwrap();
    assert!(commits.get_sample_count() > before && commits.get_sample_sum() > 0.0);
    let space = store.space().await.unwrap();
    let database = fs::metadata(&place.database).unwrap().len();
    assert!(space.used_bytes >= database && database > 0, "{space:?}, {database}");
    assert!(space.free_bytes > 0 && space.free_bytes < u64::MAX, "{space:?}");
    store.close().await;
}

/// Whether any file below holds these bytes.
fn raw_hits(folder: &Path, canary: &[u8]) -> Vec<String> {
    let mut hits = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            hits.extend(raw_hits(&path, canary));
        } else if fs::read(&path).unwrap().windows(canary.len()).any(|window| window == canary) {
            hits.push(path.display().to_string());
        }
    }
    hits
}

#[tokio::test]
async fn no_file_holds_a_word_of_somebody_who_was_forgotten() {
    let (folder, place) = fresh();
    let store = SqliteStore::open(&place).unwrap();
    let canary = "c4nary-of-somebody";
    people(&store, canary).await;
    let mut fill = store.fill(&store.name_blob(NOW)).await.unwrap();
    fill.write(Bytes::from(format!("From: a:ada\r\n{canary}"))).await.unwrap();
    fill.finish(Vec::new()).await.unwrap();
    // Both people bear it.
    for other in ["a:ada", "a:adam"] {
        assert!(!raw_hits(folder.path(), canary.as_bytes()).is_empty());
        let forgotten = store.forget(&whom(By::Word(other.into()), false)).await.unwrap();
        assert_eq!((forgotten.sessions, forgotten.not_overwritten), (1, None));
    }
    assert_eq!(raw_hits(folder.path(), canary.as_bytes()), [""; 0], "while it runs");
    accept(&store, "a").await.unwrap();
    store.close().await;
    assert_eq!(raw_hits(folder.path(), canary.as_bytes()), [""; 0], "and when it ended");
    let again = SqliteStore::open(&place).unwrap();
    assert_eq!(again.depth().await.unwrap().waiting, 1);
    again.close().await;
}
