//! The right to a folder: a locked file that names the process. Ends with the process, however it ends.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Seek, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
    time::{Duration, Instant},
};

use crate::store::StoreError;

const FILE: &str = "deskbridge.lock";
const RETRY_MILLIS: u64 = 20;

/// Held as long as it lives.
#[derive(Debug)]
pub(in crate::store) struct Owner {
    _file: File,
}

impl Owner {
    /// Waits up to `handover` for a process that is about to end.
    pub(in crate::store) fn take(folder: &Path, handover: Duration) -> Result<Self, StoreError> {
        let path = folder.join(FILE);
        let unwritable = |error: std::io::Error| StoreError::Unwritable(format!("{}: {error}", path.display()));
        let mut options = OpenOptions::new();
        let mut file =
            options.read(true).write(true).create(true).truncate(false).mode(0o600).open(&path).map_err(unwritable)?;
        let begun = Instant::now();
        loop {
            match file.try_lock() {
                Ok(()) => break,
                Err(TryLockError::Error(error)) => return Err(unwritable(error)),
                Err(TryLockError::WouldBlock) if begun.elapsed() >= handover => {
                    let owner = named(&mut file).map_err(unwritable)?;
                    return Err(StoreError::InUse { path: folder.display().to_string(), owner });
                }
                Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(RETRY_MILLIS)),
            }
        }
        file.set_len(0).and_then(|()| file.rewind()).map_err(unwritable)?;
        writeln!(file, "{}", std::process::id()).map_err(unwritable)?;
        Ok(Self { _file: file })
    }
}

/// Who has the folder now, if anybody. Takes nothing, makes nothing.
pub(super) fn of(folder: &Path) -> io::Result<Option<String>> {
    let mut file = match File::open(folder.join(FILE)) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(None),
        Err(TryLockError::WouldBlock) => named(&mut file).map(Some),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// Between its lock and its pid a process is still nameless.
fn named(file: &mut File) -> io::Result<String> {
    let mut pid = String::new();
    file.read_to_string(&mut pid)?;
    Ok(match pid.trim() {
        "" => "another process".to_owned(),
        pid => format!("process {pid}"),
    })
}
