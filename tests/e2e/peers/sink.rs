//! smtp-sink: takes everything and keeps it in files, or does one thing wrong all the time.

use std::{
    fs,
    os::unix::fs::{PermissionsExt, chown},
    process::Command,
};

use tempfile::TempDir;

use super::{
    is_root,
    postfix::{Letter, NOBODY, daemon},
};
use crate::{
    process::{Process, free_port},
    wait::until,
};

#[derive(Debug)]
pub(crate) struct Sink {
    _process: Process,
    folder: TempDir,
    pub(crate) port: u16,
}

/// A mail as the sink got it.
#[derive(Clone, Debug)]
pub(crate) struct Dumped {
    pub(crate) sender: String,
    pub(crate) recipients: Vec<String>,
    pub(crate) letter: Letter,
}

impl Sink {
    /// `options` as smtp-sink writes them: `-r RCPT` puts every recipient off, `-f .` refuses every mail, `-q .` hangs
    /// up instead of an answer.
    pub(crate) fn start(options: &[&str]) -> Self {
        Self::on(free_port(), options)
    }

    pub(crate) fn on(port: u16, options: &[&str]) -> Self {
        let folder = super::folder();
        let dumps = folder.path().join("dumps");
        fs::create_dir(&dumps).expect("a folder is made");
        fs::set_permissions(&dumps, fs::Permissions::from_mode(0o755)).expect("it is ours");
        let mut command = Command::new(daemon("smtp-sink"));
        if is_root() {
            chown(&dumps, Some(NOBODY), Some(NOBODY)).expect("root may");
            command.args(["-u", "nobody"]);
        }
        command.args(options).args(["-d", &format!("{}/%Y%m%d%H%M%S.", dumps.display())]);
        command.args([&format!("127.0.0.1:{port}"), "1024"]);
        let process = Process::spawn(command, "smtp-sink", folder.path());
        until("smtp-sink to listen", || {
            std::net::TcpStream::connect(("127.0.0.1", port)).map(drop).map_err(|error| error.to_string())
        });
        Self { _process: process, folder, port }
    }

    /// Every mail that is there as a whole.
    pub(crate) fn mails(&self) -> Vec<Dumped> {
        let entries = fs::read_dir(self.folder.path().join("dumps")).expect("the folder is there");
        let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        paths.iter().filter_map(|path| read(&fs::read(path).ok()?)).collect()
    }

    /// Returns once there are so many.
    pub(crate) fn until(&self, count: usize) -> Vec<Dumped> {
        until(&format!("{count} mails in the sink"), || {
            let mails = self.mails();
            if mails.len() >= count { Ok(mails) } else { Err(format!("{mails:?}")) }
        })
    }
}

/// The sink writes the envelope as headers before the mail's own, and is done when a mail ends in an empty line.
fn read(bytes: &[u8]) -> Option<Dumped> {
    let text = std::str::from_utf8(bytes).ok()?;
    let inside = |line: &str| Some(line.split_once('<')?.1.split_once('>')?.0.to_owned());
    let named = |name: &str| text.lines().filter(|line| line.starts_with(name)).filter_map(inside).collect::<Vec<_>>();
    let sender = named("X-Mail-Args:").into_iter().next()?;
    let recipients = named("X-Rcpt-Args:");
    let whole = text.ends_with("\n\n") && text.contains("\nReceived: ");
    whole.then(|| Dumped { sender, recipients, letter: Letter::new(bytes.to_owned()) })
}
