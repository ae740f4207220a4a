//! Attachments: files beside the database, named by us. Blocking.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use crate::store::BlobId;

/// Where files are until they are whole.
const UNFINISHED: &str = "unfinished";

#[derive(Clone, Debug)]
pub(super) struct Blobs {
    folder: PathBuf,
}

impl Blobs {
    /// Removes what a crash left unfinished. Only the owner of the folder may do this.
    pub(super) fn open(data_dir: &Path) -> io::Result<Self> {
        let folder = data_dir.join("blobs");
        let unfinished = folder.join(UNFINISHED);
        make_folder(&unfinished)?;
        for entry in fs::read_dir(&unfinished)? {
            fs::remove_file(entry?.path())?;
        }
        Ok(Self { folder })
    }

    pub(super) fn new_id() -> BlobId {
        BlobId(format!("{:032x}", fastrand::u128(..)))
    }

    /// Durable when it returns.
    pub(super) fn put(&self, id: &BlobId, bytes: &[u8]) -> io::Result<()> {
        let unfinished = self.folder.join(UNFINISHED).join(&id.0);
        let written = self.write(id, &unfinished, bytes);
        if written.is_err() {
            // It may not have come to be; what stays is removed at the next start.
            drop(fs::remove_file(&unfinished));
        }
        written
    }

    fn write(&self, id: &BlobId, unfinished: &Path, bytes: &[u8]) -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(unfinished)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        let path = self.path(id).ok_or(io::ErrorKind::InvalidInput)?;
        let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        if !folder.is_dir() {
            make_folder(folder)?;
            File::open(&self.folder)?.sync_all()?;
        }
        fs::rename(unfinished, &path)?;
        File::open(folder)?.sync_all()
    }

    pub(super) fn read(&self, id: &BlobId) -> io::Result<Option<Vec<u8>>> {
        let Some(path) = self.path(id) else { return Ok(None) };
        match fs::read(path) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(super) fn remove(&self, id: &BlobId) -> io::Result<()> {
        match self.path(id).map(fs::remove_file) {
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => Err(error),
            Some(Ok(()) | Err(_)) | None => Ok(()),
        }
    }

    /// `None` for what is no id of ours, so that no text from elsewhere becomes a path.
    fn path(&self, id: &BlobId) -> Option<PathBuf> {
        let ours = id.0.len() == 32 && id.0.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        ours.then(|| self.folder.join(&id.0[..2]).join(&id.0))
    }
}

/// With its parents, for the owner alone. One that exists stays as it is.
pub(super) fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}
