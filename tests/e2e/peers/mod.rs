//! Real servers, each a private instance in a folder of its own on a loopback port.

pub(crate) mod as_proxy;
pub(crate) mod customer;
pub(crate) mod door;
pub(crate) mod faulty;
pub(crate) mod inspircd;
pub(crate) mod ngircd;
pub(crate) mod postfix;
pub(crate) mod postgres;
pub(crate) mod proxy;
pub(crate) mod python;
pub(crate) mod relay;
pub(crate) mod scripted;
pub(crate) mod server;
pub(crate) mod sink;
pub(crate) mod source;
pub(crate) mod swaks;
pub(crate) mod synapse;
pub(crate) mod websocket;

use std::{
    ffi::OsStr,
    fs,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use tempfile::TempDir;

use crate::{process::Process, wait};

/// Whether the programs are there. Says so where they are not, and fails where CI expects them.
pub(crate) fn have(programs: &[&str]) -> bool {
    let missing: Vec<_> = programs.iter().filter(|program| find(program).is_none()).collect();
    if missing.is_empty() {
        return true;
    }
    let text =
        format!("{missing:?} not installed (apt-get install ngircd inspircd anope chromium postfix swaks curl strace)");
    assert!(std::env::var_os("CI").is_none(), "{text}");
    eprintln!("\n*** SKIPPED: {text} ***\n");
    false
}

pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Where Debian keeps daemons, which is not in everybody's path.
    let more = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let mut folders = std::env::split_paths(&path).chain(more);
    folders.find_map(|folder| Some(folder.join(program)).filter(|file| file.is_file()))
}

/// A folder that a server without our rights can read.
pub(crate) fn folder() -> TempDir {
    let mut made = tempfile::Builder::new();
    made.prefix("deskbridge-e2e-").permissions(fs::Permissions::from_mode(0o755));
    made.tempdir().expect("a temporary folder is made")
}

pub(crate) fn write(folder: &Path, name: &str, text: &str) -> PathBuf {
    let path = folder.join(name);
    fs::write(&path, text).expect("a file is written");
    path
}

/// IRC servers refuse to run as root, or drop it for somebody who cannot read our files.
fn unprivileged(program: &str) -> Command {
    unprivileged_at(&find(program).expect("looked for before"))
}

fn unprivileged_at(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.args(["--reuid=irc", "--regid=irc", "--clear-groups"]).arg(program);
    command
}

pub(crate) fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0)
}

fn spawn<S: AsRef<OsStr>>(
    mut command: Command,
    args: impl IntoIterator<Item = S>,
    name: &str,
    folder: &Path,
) -> Process {
    command.args(args);
    Process::spawn(command, name, folder)
}

/// A server that listens may still be busy; one that says anything at all about us is there.
fn until_it_speaks(process: &mut Process, address: SocketAddr, name: &str) {
    wait::until(&format!("{name} to answer"), || {
        if let Some(status) = process.ended() {
            panic!("{name} ended at its start: {status}\n{}\n{}", process.out(), process.err());
        }
        greets(address).map_err(|error| error.to_string())
    });
}

fn greets(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(2)))?;
    stream.write_all(b"PING :there\r\nNICK probe\r\nUSER probe 0 * :probe\r\n")?;
    stream.read_exact(&mut [0])?;
    stream.write_all(b"QUIT\r\n")?;
    // Reads what is left, so that the server need not talk to nobody.
    stream.read_to_end(&mut Vec::new()).map(drop)
}
