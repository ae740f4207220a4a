//! Between a store and its server: passes everything on, until it is told to lose a commit or the answer to one.

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
};

use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{UnixListener, UnixStream},
};
use tokio_postgres::config::Host;
use tokio_util::task::TaskTracker;

use super::super::PostgresPlace;

const SOCKET: &str = ".s.PGSQL.5432";
const COMMIT: &[u8] = b"COMMIT\0";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Losing {
    /// It is committed, and nobody hears of it.
    Answer = 1,
    /// The server never hears of it.
    Question = 2,
}

pub(super) struct Proxy {
    _folder: TempDir,
    losing: Arc<AtomicU8>,
}

impl Proxy {
    /// And the place behind it.
    pub(super) fn before(place: &PostgresPlace) -> (Self, PostgresPlace) {
        let [Host::Unix(server)] = place.config.get_hosts() else { panic!("the tests' server has one socket") };
        let server = server.join(SOCKET);
        let folder = tempfile::tempdir().unwrap();
        let listener = UnixListener::bind(folder.path().join(SOCKET)).unwrap();
        let losing = Arc::new(AtomicU8::new(0));
        let mut proxied = place.clone();
        proxied.config = tokio_postgres::Config::new();
        proxied.config.host_path(folder.path()).user("deskbridge").dbname("postgres");
        TaskTracker::new().spawn(serve(listener, server, losing.clone()));
        (Self { _folder: folder, losing }, proxied)
    }

    /// The next commit.
    pub(super) fn lose(&self, losing: Losing) {
        self.losing.store(losing as u8, Ordering::SeqCst);
    }

    pub(super) fn has_lost(&self) -> bool {
        self.losing.load(Ordering::SeqCst) == 0
    }
}

async fn serve(listener: UnixListener, server: PathBuf, losing: Arc<AtomicU8>) {
    let connections = TaskTracker::new();
    while let Ok((client, _)) = listener.accept().await {
        let Ok(server) = UnixStream::connect(&server).await else { continue };
        connections.spawn(pass(client, server, losing.clone()));
    }
}

async fn pass(mut client: UnixStream, mut server: UnixStream, losing: Arc<AtomicU8>) {
    let (mut from_client, mut from_server) = (vec![0; 1 << 16], vec![0; 1 << 16]);
    loop {
        tokio::select! {
            read = client.read(&mut from_client) => {
                let Ok(count @ 1..) = read else { return };
                let bytes = &from_client[..count];
                let commits = bytes.windows(COMMIT.len()).any(|window| window == COMMIT);
                let losing = if commits { losing.swap(0, Ordering::SeqCst) } else { 0 };
                if losing == Losing::Question as u8 || server.write_all(bytes).await.is_err() {
                    return;
                }
                if losing == Losing::Answer as u8 {
                    // Once it answers, it has done it.
                    assert!(server.read(&mut from_server).await.is_ok());
                    return;
                }
            }
            read = server.read(&mut from_server) => {
                let Ok(count @ 1..) = read else { return };
                if client.write_all(&from_server[..count]).await.is_err() {
                    return;
                }
            }
        }
    }
}
