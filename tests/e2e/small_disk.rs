//! A disk that can be filled without harm to anything else.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    path::PathBuf,
    process::Command,
};

use crate::{peers::is_root, process::run};

/// A file system of its own, unmounted when it is dropped.
#[derive(Debug)]
pub(crate) struct SmallDisk(PathBuf);

impl SmallDisk {
    /// `None` where we may not mount.
    pub(crate) fn mount(at: PathBuf, mib: u64) -> Option<Self> {
        fs::create_dir_all(&at).expect("a folder is made");
        let mut command = Command::new("mount");
        command.args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"]).arg(&at);
        (is_root() && run(command).code == Some(0)).then_some(Self(at))
    }

    /// To the last byte.
    pub(crate) fn fill(&self) {
        let mut filler = File::create(self.0.join("filler")).expect("a full disk still makes files");
        let block = vec![0; 1 << 16];
        let full = loop {
            if let Err(error) = filler.write_all(&block) {
                break error;
            }
        };
        assert_eq!(full.kind(), ErrorKind::StorageFull, "{full}");
    }

    pub(crate) fn free(&self) {
        fs::remove_file(self.0.join("filler")).expect("it was written");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let mut command = Command::new("umount");
        command.arg("-l").arg(&self.0);
        drop(run(command));
    }
}
