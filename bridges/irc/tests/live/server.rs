//! Starts a server on a free loopback port, and ends it by its own process id.

use std::{
    net::{Ipv4Addr, TcpListener},
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

pub(crate) struct Server {
    child: Child,
    /// Removed when the server has ended.
    _folder: tempfile::TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself, for example when a test has killed it.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

impl Server {
    /// The program's path, or `None` after saying loudly that the test is skipped.
    pub(crate) fn find(path: &str) -> Option<&str> {
        if Path::new(path).exists() {
            return Some(path);
        }
        assert!(std::env::var_os("CI").is_none(), "{path} is missing");
        eprintln!("SKIPPED: {path} is not installed");
        None
    }

    /// Runs as the user `irc` where we are root: these servers refuse or drop root.
    pub(crate) fn start(program: &str, arguments: &[&str], folder: tempfile::TempDir) -> Self {
        let root = std::fs::metadata("/proc/self").is_ok_and(|meta| std::os::unix::fs::MetadataExt::uid(&meta) == 0);
        let mut command = if root {
            let mut command = Command::new("setpriv");
            command.args(["--reuid=irc", "--regid=irc", "--clear-groups", program]);
            command
        } else {
            Command::new(program)
        };
        let child = command
            .args(arguments)
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("the server's program can be started");
        Self { child, _folder: folder }
    }

    pub(crate) fn folder() -> tempfile::TempDir {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).expect("our own folder");
        folder
    }

    pub(crate) async fn wait_for_port(port: u16) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while tokio::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.is_err() {
            assert!(Instant::now() < deadline, "no server on port {port} in time");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// Free at this moment. The server takes it right after.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound address").port()
}
