//! Looks at where messages are kept: the folder, its disk, and who works there.

use std::{
    fs, io,
    io::Write as _,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use bridge_api::Findings;

use crate::{
    gateway::location_of,
    settings::Settings,
    store::{Location, Place, PostgresPlace, SqliteStore},
};

const MIB: u64 = 1 << 20;
const FREE_WARN_BYTES: u64 = 1024 * MIB;
const FREE_FAIL_BYTES: u64 = 512 * MIB;
const SYNC_WARN: Duration = Duration::from_millis(50);
/// Syncs that are measured; the one in the middle counts.
const SYNCS: usize = 7;
const SYNC_BYTES: usize = 4096;

pub(super) async fn examine(settings: &Settings, at_work: bool, findings: Arc<Findings>) {
    let (location, data_dir, found) = (location_of(settings), settings.gateway.data_dir.clone(), findings.clone());
    if let Location::Postgres(place) = &location {
        server(place, &findings).await;
    }
    let looked = tokio::task::spawn_blocking(move || match location {
        Location::Sqlite(place) => look(&place, at_work, &found),
        Location::Postgres(_) => {
            look_at_folder(&named(&data_dir), &found);
            owner(&data_dir, at_work, &found);
        }
    });
    let looked = looked.await;
    if let Err(error) = looked {
        findings.failed("look at the store", error.to_string(), "report this");
    }
}

async fn server(place: &PostgresPlace, findings: &Findings) {
    let tried = "connect to the database";
    match place.look().await {
        Ok((version, Some(schema))) => {
            findings.fine(tried, format!("PostgreSQL {version}, with schema {schema} of ours"));
        }
        Ok((version, None)) => {
            findings.fine(tried, format!("PostgreSQL {version}; what is ours there is made at the start"));
        }
        Err(error) => {
            let change = "correct `store.url`, start the database, or let the user in (pg_hba.conf)";
            findings.failed(tried, error.to_string(), change);
        }
    }
}

fn look(place: &Place, at_work: bool, findings: &Findings) {
    findings.fine("ask for the engine", format!("SQLite {}, built in", SqliteStore::engine_version()));
    for folder in folders(place) {
        look_at_folder(&folder, findings);
    }
    owner(&place.data_dir, at_work, findings);
}

/// The data directory, and that of the database where it is another one.
fn folders(place: &Place) -> Vec<PathBuf> {
    let mut folders = vec![named(&place.data_dir)];
    let database = named(place.database.parent().unwrap_or(Path::new(".")));
    if database != folders[0] {
        folders.push(database);
    }
    folders
}

/// An empty path is the working directory.
fn named(path: &Path) -> PathBuf {
    if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.to_owned() }
}

fn look_at_folder(folder: &Path, findings: &Findings) {
    let Some(existing) = existing(folder, findings) else { return };
    if folder == existing {
        mode(folder, findings);
    }
    if !writable(&existing, findings) {
        return;
    }
    disk(&existing, findings);
    free(&existing, findings);
    syncs(&existing, findings);
}

/// The folder, or the nearest one above it: what is missing is made at the start.
fn existing(folder: &Path, findings: &Findings) -> Option<PathBuf> {
    let tried = format!("look for {}", folder.display());
    match fs::metadata(folder) {
        Ok(about) if about.is_dir() => return Some(folder.to_owned()),
        Ok(_) => {
            findings.failed(tried, "it is no folder", "let `gateway.data_dir` name a folder");
            return None;
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => {
            findings.failed(tried, error.to_string(), format!("let the gateway's user into {}", folder.display()));
            return None;
        }
    }
    let above = folder.ancestors().skip(1).map(named).find(|above| above.is_dir());
    let Some(above) = above else {
        findings.failed(tried, "neither it nor a folder above it is there", "make it, or correct `gateway.data_dir`");
        return None;
    };
    findings.fine(tried, format!("not there yet; it is made at the start, in {}", above.display()));
    Some(above)
}

/// What the group and everybody else may do.
const OTHERS: u32 = 0o077;

fn mode(folder: &Path, findings: &Findings) {
    let tried = format!("read the mode of {}", folder.display());
    match fs::metadata(folder) {
        Ok(about) => {
            let mode = about.permissions().mode() & 0o777;
            if mode & OTHERS == 0 {
                findings.fine(tried, format!("{mode:04o}, for its owner alone"));
            } else {
                let change = format!("chmod 700 {}", folder.display());
                findings.warning(tried, format!("{mode:04o}: others on this machine may look into it"), change);
            }
        }
        Err(error) => {
            findings.failed(tried, error.to_string(), format!("let the gateway's user into {}", folder.display()));
        }
    }
}

fn writable(folder: &Path, findings: &Findings) -> bool {
    let tried = format!("write in {}", folder.display());
    match tempfile::Builder::new().prefix(".doctor").tempfile_in(folder) {
        Ok(_) => {
            findings.fine(tried, "it can be written");
            true
        }
        Err(error) => {
            let change = format!("make {} writable for the user that runs the gateway", folder.display());
            findings.failed(tried, plain(&error), change);
            false
        }
    }
}

/// Without the name of the file that was tried.
fn plain(error: &io::Error) -> String {
    let text = error.kind().to_string();
    error.raw_os_error().map_or(text, |code| io::Error::from_raw_os_error(code).to_string())
}

/// What kinds of disks do to a store, by the kernel's number of each.
const DISKS: [(i64, &str, Disk); 8] = [
    (0x0102_1994, "tmpfs, in memory", Disk::Forgets),
    (0x8584_58f6, "ramfs, in memory", Disk::Forgets),
    (0x794c_7630, "overlay, a container's own layer", Disk::Forgets),
    (0x6969, "NFS", Disk::Shared),
    (0xff53_4d42, "CIFS", Disk::Shared),
    (0xfe53_4d42, "SMB", Disk::Shared),
    (0x0102_1997, "9p", Disk::Shared),
    (0x6573_5546, "FUSE", Disk::Shared),
];

#[derive(Clone, Copy)]
enum Disk {
    /// What is there is gone with the container, or at the next start.
    Forgets,
    /// Its locks and syncs are not what they are on a disk of this machine.
    Shared,
}

fn disk(folder: &Path, findings: &Findings) {
    let tried = format!("ask what {} lies on", folder.display());
    let number = match rustix::fs::statfs(folder) {
        // The kernel's number is one of 32 bits, however wide the field is here.
        Ok(about) => i64::from(about.f_type as u32),
        Err(error) => return findings.skipped(tried, error.to_string()),
    };
    match DISKS.iter().find(|(known, ..)| *known == number) {
        None => findings.fine(tried, "a disk that keeps what it is given"),
        Some((_, name, Disk::Forgets)) => findings.warning(
            tried,
            format!("{name}: what waits there is lost with it"),
            "keep it on a volume, such as a named volume of compose mounted there",
        ),
        Some((_, name, Disk::Shared)) => findings.warning(
            tried,
            format!("{name}: SQLite's write-ahead log is not safe there"),
            "keep it on a disk of this machine",
        ),
    }
}

fn free(folder: &Path, findings: &Findings) {
    let tried = format!("ask for free space in {}", folder.display());
    let free = match rustix::fs::statvfs(folder) {
        Ok(about) => about.f_bavail.saturating_mul(about.f_frsize),
        Err(error) => return findings.skipped(tried, error.to_string()),
    };
    let found = format!("{} MiB", free / MIB);
    match free {
        0..FREE_FAIL_BYTES => {
            findings.failed(tried, found, "make room: below 512 MiB mail is refused, and a full disk stops everything");
        }
        FREE_FAIL_BYTES..FREE_WARN_BYTES => {
            findings.warning(tried, found, "make room soon: below 512 MiB mail is refused");
        }
        FREE_WARN_BYTES.. => findings.fine(tried, found),
    }
}

/// Each message waits for one.
fn syncs(folder: &Path, findings: &Findings) {
    let tried = format!("write and sync {SYNC_BYTES} bytes in {}, {SYNCS} times", folder.display());
    match median_sync(folder) {
        Ok(median) => {
            let found = format!("{:.1} ms each", median.as_secs_f64() * 1000.0);
            if median <= SYNC_WARN {
                return findings.fine(tried, found);
            }
            let change = "keep the data on a faster disk: each message waits for its sync";
            findings.warning(tried, found, change);
        }
        Err(error) => {
            findings.failed(tried, plain(&error), "look at the disk: what cannot be synced cannot be acknowledged");
        }
    }
}

fn median_sync(folder: &Path) -> io::Result<Duration> {
    let mut file = tempfile::tempfile_in(folder)?;
    let mut times = [Duration::ZERO; SYNCS];
    for time in &mut times {
        let begun = Instant::now();
        file.write_all(&[b'x'; SYNC_BYTES])?;
        file.sync_data()?;
        *time = begun.elapsed();
    }
    times.sort_unstable();
    Ok(times[SYNCS / 2])
}

fn owner(data_dir: &Path, at_work: bool, findings: &Findings) {
    let tried = format!("ask who works in {}", data_dir.display());
    match (SqliteStore::owner_of(data_dir), at_work) {
        (Ok(None), _) => findings.fine(tried, "nobody now"),
        (Ok(Some(owner)), true) => findings.fine(tried, format!("{owner}, the running gateway, alone")),
        (Ok(Some(owner)), false) => findings.failed(
            tried,
            format!("{owner}, and it does not answer on the control socket"),
            "end that process, or give this gateway a data directory of its own",
        ),
        (Err(error), _) => findings.failed(tried, plain(&error), "let the gateway's user read its own lock file"),
    }
}

#[cfg(test)]
mod tests {
    use bridge_api::{Finding, Verdict};

    use super::*;
    use crate::store::Store as _;

    fn look(data_dir: &Path) -> Vec<Finding> {
        let findings = Findings::default();
        super::look(&Place::in_dir(data_dir), false, &findings);
        findings.take()
    }

    fn one(found: &[Finding], tried: &str) -> Finding {
        let mut these = found.iter().filter(|it| it.tried.starts_with(tried));
        let this = these.next().unwrap_or_else(|| panic!("{tried} in {found:#?}"));
        assert!(these.next().is_none(), "{tried} twice in {found:#?}");
        this.clone()
    }

    #[test]
    fn a_sound_folder_is_fine_and_a_missing_one_is_made_later() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("a/b");
        let found = look(&data);
        assert!(one(&found, "look for").found.starts_with("not there yet"));
        assert_eq!(one(&found, "write in").verdict, Verdict::Fine);
        // How long that takes is a matter of the disk, and a slow one is worth a warning.
        assert_ne!(one(&found, "write and sync").verdict, Verdict::Failed);
        assert!(!data.exists(), "a look makes nothing");
        let store = SqliteStore::open(&Place::in_dir(&data)).unwrap();
        let found = look(&data);
        assert_eq!(one(&found, "read the mode").verdict, Verdict::Fine);
        let owner = one(&found, "ask who works");
        let here = format!("process {}", std::process::id());
        assert!(owner.verdict == Verdict::Failed && owner.found.starts_with(&here), "{owner:?}");
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(store.close());
        drop(store);
        assert_eq!(one(&look(&data), "ask who works").found, "nobody now");
    }

    #[test]
    fn a_folder_for_everybody_and_a_file_in_its_place_are_told() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let mode = one(&look(folder.path()), "read the mode");
        assert_eq!(
            (mode.verdict, mode.found.as_str()),
            (Verdict::Warning, "0755: others on this machine may look into it")
        );
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        assert_eq!(one(&look(&file), "look for").found, "it is no folder");
    }

    #[test]
    fn memory_is_no_place_for_a_store() {
        let memory = Path::new("/dev/shm");
        if !memory.is_dir() {
            return;
        }
        let found = Findings::default();
        disk(memory, &found);
        assert_eq!(found.take()[0].verdict, Verdict::Warning);
    }
}
