//! A real server for the tests: one for the whole run, on a socket in a folder of its own, with a schema for each test;
//! and servers of their own for tests that are rough with them.

use std::{
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use super::{PostgresPlace, Tls};

/// Who servers run as where we are root, which they refuse: `nobody`.
const UID: u32 = 65_534;
/// Waits until its input ends, which is with whoever started it, and then ends the server.
const WATCH: &str = r#"cat >/dev/null; "$1/pg_ctl" -D "$2/data" stop -m immediate -s; rm -rf "$2""#;

pub(crate) struct Server {
    folder: PathBuf,
    programs: PathBuf,
    /// Its input is open as long as we are there.
    watch: Child,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.watch.stdin.take());
        self.watch.wait().ok();
    }
}

/// Where the next test's store is. `None`, after saying so loudly, where no server is installed.
pub(crate) fn place() -> Option<PostgresPlace> {
    static SHARED: OnceLock<Option<Server>> = OnceLock::new();
    SHARED.get_or_init(Server::start).as_ref().map(Server::place)
}

/// Of the newest version that is installed where Debian puts them.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut folders: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    folders.retain(|folder| folder.join("initdb").exists());
    folders.sort();
    let found = folders.pop();
    if found.is_none() {
        let text = "no PostgreSQL is installed (apt-get install postgresql)";
        assert!(std::env::var_os("CI").is_none(), "{text}");
        eprintln!("\n*** SKIPPED: {text} ***\n");
    }
    found
}

fn command(program: &Path) -> Command {
    let root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if !root {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command.arg(format!("--reuid={UID}")).arg(format!("--regid={UID}")).arg("--clear-groups").arg(program);
    command
}

fn give(path: &Path) {
    if fs::metadata(path).expect("it was made").uid() == 0 {
        chown(path, Some(UID), Some(UID)).expect("root may give it away");
    }
}

fn run(command: &mut Command) {
    let done = command.stdin(Stdio::null()).output().expect("the program can be started");
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success(), "{command:?}: {}\n{out}\n{err}", done.status);
}

impl Server {
    pub(crate) fn start() -> Option<Self> {
        Self::start_with("", &[])
    }

    /// With more settings, and files beside them that only the server may read.
    pub(crate) fn start_with(more: &str, files: &[(&str, String)]) -> Option<Self> {
        let programs = programs()?;
        let folder = tempfile::Builder::new().prefix("deskbridge-pg-").tempdir().expect("a folder").keep();
        give(&folder);
        let data = folder.join("data");
        let mut make = command(&programs.join("initdb"));
        run(make.args(["-U", "deskbridge", "-A", "trust", "-E", "UTF8", "--no-locale"]).arg("-D").arg(&data));
        let settings = format!(
            "listen_addresses = ''\nunix_socket_directories = '{}'\nmax_connections = 200\nshared_buffers = 64MB\n\
             log_min_messages = fatal\nrestart_after_crash = on\n{more}",
            folder.display()
        );
        for (name, text) in files.iter().chain(&[("postgresql.auto.conf", settings)]) {
            let file = data.join(name);
            fs::write(&file, text).expect("its files can be written");
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("they are ours");
            give(&file);
        }
        let mut watch = command(Path::new("/bin/sh"));
        watch.args(["-c", WATCH, "watch"]).args([&programs, &folder]).stdin(Stdio::piped());
        let watch = watch.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("a shell can be started");
        let server = Self { folder, programs, watch };
        server.control(&["start"]);
        Some(server)
    }

    /// `pg_ctl`, which waits until it is done.
    pub(crate) fn control(&self, arguments: &[&str]) {
        let mut control = command(&self.programs.join("pg_ctl"));
        control.arg("-D").arg(self.folder.join("data")).arg("-l").arg(self.folder.join("log")).args(["-w", "-s"]);
        // What it starts keeps its output open, so that is not read.
        let status = control.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status();
        assert!(status.is_ok_and(|status| status.success()), "{arguments:?}");
    }

    pub(crate) fn place(&self) -> PostgresPlace {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let mut config = tokio_postgres::Config::new();
        config.host_path(&self.folder).user("deskbridge").dbname("postgres");
        let schema = format!("test {}", NEXT.fetch_add(1, Ordering::Relaxed));
        PostgresPlace { config, schema, tls: Tls::Disable, ca_file: None, data_dir: None }
    }
}
