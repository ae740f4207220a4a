//! Large blobs: files beside the database, named by us. Blocking.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
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

    /// A file to write to, aside until it is whole.
    pub(super) fn begin(&self, id: &BlobId) -> io::Result<File> {
        let unfinished = self.unfinished(id).ok_or(io::ErrorKind::InvalidInput)?;
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(unfinished)
    }

    /// Gives a whole file its name. Durable when it returns.
    pub(super) fn place(&self, id: &BlobId, file: &File) -> io::Result<()> {
        file.sync_all()?;
        let unfinished = self.unfinished(id).ok_or(io::ErrorKind::InvalidInput)?;
        let path = self.path(id).ok_or(io::ErrorKind::InvalidInput)?;
        let folder = path.parent().ok_or(io::ErrorKind::InvalidInput)?;
        if !folder.is_dir() {
            make_folder(folder)?;
            File::open(&self.folder)?.sync_all()?;
        }
        fs::rename(unfinished, &path)?;
        File::open(folder)?.sync_all()
    }

    /// Removes what will not be whole. What stays all the same is removed at the next start.
    pub(super) fn abandon(&self, id: &BlobId) {
        if let Some(unfinished) = self.unfinished(id) {
            drop(fs::remove_file(unfinished));
        }
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

    /// `None` for what is no id of ours, so that no text from elsewhere becomes a path. The end of an id is random,
    /// its beginning a time: folders by the end fill evenly.
    pub(super) fn path(&self, id: &BlobId) -> Option<PathBuf> {
        id.number().map(|_| self.folder.join(&id.0[30..]).join(&id.0))
    }

    fn unfinished(&self, id: &BlobId) -> Option<PathBuf> {
        id.number().map(|_| self.folder.join(UNFINISHED).join(&id.0))
    }
}

/// With its parents, for the owner alone. One that exists stays as it is.
pub(in crate::store) fn make_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}
