//! PostgreSQL: a database of its own on a loopback port, with its syncs, as shipped.

use std::{fs, path::PathBuf, process::Command};

use tempfile::TempDir;

use crate::{
    process::{Process, free_port, run},
    wait::until,
};

/// Where Debian puts each version's programs.
const PROGRAMS: &str = "/usr/lib/postgresql";

#[derive(Debug)]
pub(crate) struct Postgres {
    process: Option<Process>,
    folder: TempDir,
    programs: PathBuf,
    port: u16,
}

impl Postgres {
    /// `None` where it is not installed, after saying so.
    pub(crate) fn start() -> Option<Self> {
        let programs = programs()?;
        let mut server = Self { process: None, folder: super::folder(), programs, port: free_port() };
        let data = server.data();
        fs::create_dir(&data).expect("a folder is made");
        if super::is_root() {
            let given = Command::new("chown").arg("irc:irc").arg(&data).status();
            assert!(given.is_ok_and(|status| status.success()), "root may give a folder away");
        }
        let mut initdb = server.command("initdb");
        initdb.args(["-U", "deskbridge", "-A", "trust", "-E", "UTF8", "--no-locale", "-D"]).arg(&data);
        let made = run(initdb);
        assert_eq!(made.code, Some(0), "{made:?}");
        server.come_up();
        Some(server)
    }

    pub(crate) fn url(&self) -> String {
        format!("postgres://deskbridge@127.0.0.1:{}/postgres", self.port())
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// As a power cut.
    pub(crate) fn go_down(&mut self) {
        self.process = None;
    }

    pub(crate) fn come_up(&mut self) {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.data()).args(["-p", &self.port.to_string(), "-c", "listen_addresses=127.0.0.1"]);
        command.args(["-c", "unix_socket_directories="]);
        self.process = Some(Process::spawn(command, "postgres", self.folder.path()));
        until("PostgreSQL to answer", || {
            let mut ask = Command::new(self.programs.join("pg_isready"));
            ask.args(["-q", "-h", "127.0.0.1", "-U", "deskbridge", "-p", &self.port.to_string()]);
            match run(ask) {
                ran if ran.code == Some(0) => Ok(()),
                ran => Err(format!("{ran:?}")),
            }
        });
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn command(&self, program: &str) -> Command {
        super::unprivileged_at(&self.programs.join(program))
    }
}

/// Of the newest version that is there.
fn programs() -> Option<PathBuf> {
    let versions = fs::read_dir(PROGRAMS).into_iter().flatten().flatten();
    let mut folders: Vec<_> = versions.map(|version| version.path().join("bin")).collect();
    folders.retain(|folder| folder.join("initdb").exists());
    folders.sort();
    let found = folders.pop();
    if found.is_none() {
        let text = "PostgreSQL is not installed (apt-get install postgresql)";
        assert!(std::env::var_os("CI").is_none(), "{text}");
        eprintln!("\n*** SKIPPED: {text} ***\n");
    }
    found
}
