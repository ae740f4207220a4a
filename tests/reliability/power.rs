//! A data folder on a disk of its own that can lose its power: a copy of the disk holds what had reached it, and
//! nothing of what the system still kept in memory.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use crate::{peers::is_root, process::run, wait::until};

/// Sparse. More than the gateway wants to be free before it takes mail.
const DISK_MIB: u64 = 512;

#[derive(Debug)]
pub(crate) struct Disk {
    at: PathBuf,
    folder: PathBuf,
    number: usize,
    mounted: bool,
}

/// Two files of the tests' own on the disk: one that was synced, and one that nobody asked for.
const SYNCED: &str = "canary-synced";
const UNSYNCED: &str = "canary-unsynced";

impl Disk {
    /// `None` where we may not mount, which is said.
    pub(crate) fn mount(folder: &Path, at: PathBuf) -> Option<Self> {
        fs::create_dir_all(&at).expect("a folder is made");
        let mut disk = Self { at, folder: folder.to_owned(), number: 0, mounted: false };
        let image = disk.image();
        let file = File::create(&image).expect("a file is made");
        file.set_len(DISK_MIB << 20).expect("a sparse file may be long");
        // All is laid out at once, so that nothing but the gateway writes later.
        let mut make = Command::new("mkfs.ext4");
        make.args(["-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0,nodiscard", "-J", "size=8"]).arg(&image);
        let is_made = is_root() && run(make).code == Some(0);
        if is_made && disk.try_mount() {
            return Some(disk);
        }
        let text = "a power cut needs the right to mount a loop device";
        assert!(std::env::var_os("CI").is_none(), "{text}");
        eprintln!("\n*** SKIPPED: {text} ***\n");
        None
    }

    fn image(&self) -> PathBuf {
        self.folder.join(format!("disk-{}.img", self.number))
    }

    fn try_mount(&mut self) -> bool {
        let mut mount = Command::new("mount");
        mount.args(["-o", "loop"]).arg(self.image()).arg(&self.at);
        self.mounted = run(mount).code == Some(0);
        self.mounted
    }

    /// Leaves something on the disk, and something that is only said to be on it.
    fn mark(&self) {
        let mut synced = File::create(self.at.join(SYNCED)).expect("there is room");
        writeln!(synced, "cut {}", self.number).expect("there is room");
        synced.sync_all().expect("a sound disk");
        let mut unsynced = File::create(self.at.join(UNSYNCED)).expect("there is room");
        writeln!(unsynced, "cut {}", self.number).expect("there is room");
    }

    /// Copies the disk as it is. Whoever writes on it has to stand still.
    pub(crate) fn copy(&mut self) {
        self.mark();
        let from = self.image();
        self.number += 1;
        let mut copy = Command::new("cp");
        copy.arg("--sparse=always").arg(&from).arg(self.image());
        let copied = run(copy);
        assert_eq!(copied.code, Some(0), "{copied:?}");
    }

    /// Nobody uses the disk any more: the copy takes its place. Returns whether the copy lacks what was never synced,
    /// as after a real cut.
    pub(crate) fn swap(&mut self) -> bool {
        let number = self.number - 1;
        let before = self.folder.join(format!("disk-{number}.img"));
        self.unmount();
        fs::remove_file(before).expect("it is ours");
        assert!(self.try_mount(), "the copy is a file system");
        let text = format!("cut {number}\n");
        let read = |name: &str| fs::read_to_string(self.at.join(name)).unwrap_or_default();
        assert_eq!(read(SYNCED), text, "what was synced is on the disk");
        read(UNSYNCED) != text
    }

    fn unmount(&mut self) {
        if !std::mem::take(&mut self.mounted) {
            return;
        }
        // A process that was killed may still be going.
        until("the disk to be free", || {
            let mut umount = Command::new("umount");
            umount.arg(&self.at);
            let ran = run(umount);
            if ran.code == Some(0) { Ok(()) } else { Err(ran.err) }
        });
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            let mut umount = Command::new("umount");
            umount.arg("-l").arg(&self.at);
            drop(run(umount));
        }
    }
}

/// Returns once every thread of the process stands still, as SIGSTOP has them do: also those that were in the middle of
/// a sync.
pub(crate) fn until_still(pid: u32) {
    until("every thread to stand still", || {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).map_err(|error| error.to_string())?;
        for task in tasks.flatten() {
            let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            // The state follows the name, which ends with the last bracket.
            let state = stat.rsplit(") ").next().and_then(|rest| rest.chars().next());
            if state.is_some_and(|state| !['T', 't', 'Z', 'X'].contains(&state)) {
                return Err(stat);
            }
        }
        Ok(())
    });
}
