//! What the database takes of its disk, and what is left there. Blocking.

use std::{fs, io, path::Path};

use super::folder_of;
use crate::store::Space;

/// Behind the database's name: itself, and its log with the log's index.
const ENDINGS: [&str; 3] = ["", "-wal", "-shm"];

pub(super) fn space(database: &Path) -> io::Result<Space> {
    let mut used_bytes = 0;
    for ending in ENDINGS {
        let mut name = database.as_os_str().to_owned();
        name.push(ending);
        match fs::metadata(Path::new(&name)) {
            Ok(file) => used_bytes += file.len(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    let disk = rustix::fs::statvfs(folder_of(database))?;
    Ok(Space { used_bytes, free_bytes: disk.f_bavail.saturating_mul(disk.f_frsize) })
}
