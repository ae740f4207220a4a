//! Sockets that are listened on, and who is let in. Reads nothing from anybody.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use bridge_api::{CancellationToken, Fault};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::{
    net::{TcpListener, TcpStream},
    time::{Instant, timeout},
};
use tokio_util::task::TaskTracker;

use super::{
    driver::{Door, Session},
    limits::{Limits, TurnedAway},
};

/// Connections that wait to be taken in; with fewer, a burst of new ones loses packets and seconds.
const BACKLOG: i32 = 4096;
/// Before the next try, when no connection could be taken in.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) fn bind(key: &str, address: SocketAddr) -> Result<TcpListener, Fault> {
    listen(address).map_err(|error| Fault::down(format!("cannot listen on {address} (`{key}`): {error}")))
}

/// Takes the address, with room for a burst of connections.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// How sessions are asked to end, and how they are made to.
#[derive(Clone)]
pub(super) struct Ends {
    pub(super) stop: CancellationToken,
    pub(super) kill: CancellationToken,
}

/// Takes connections in until stop, each with a task of its own.
pub(super) async fn accept(
    listener: TcpListener,
    door: Arc<Door>,
    limits: Arc<Limits>,
    tasks: TaskTracker,
    ends: Ends,
) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = ends.stop.cancelled() => return,
        };
        let (tcp, client) = match accepted {
            Ok((tcp, peer)) => (tcp, peer.ip().to_canonical()),
            Err(error) => {
                tracing::warn!(error = error.to_string(), "no mail connection can be taken in");
                // The stop is seen at the next turn; the pause is short.
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        match limits.enter(client, Instant::now().into_std()) {
            Ok(seat) => {
                let session = Session::new(door.clone(), seat, client);
                let ends = ends.clone();
                tasks.spawn(async move {
                    tokio::select! {
                        () = session.run(tcp, &ends.stop) => {}
                        () = ends.kill.cancelled() => {}
                    }
                });
            }
            Err(why) => turn_away(&tcp, why, door.implicit),
        }
    }
}

/// A word to somebody for whom there is no place, as far as it can be said without waiting.
fn turn_away(tcp: &TcpStream, why: TurnedAway, implicit: bool) {
    let line = match why {
        TurnedAway::Full => "421 4.7.0 too many connections, come back later\r\n",
        TurnedAway::PerClient => "421 4.7.0 too many connections from your address\r\n",
        TurnedAway::TooFast => "421 4.7.1 too many new connections in a minute\r\n",
    };
    if !implicit && let Err(error) = socket2::SockRef::from(tcp).send(line.as_bytes()) {
        tracing::debug!(error = error.to_string(), "a mail client was turned away without a word");
    }
}

/// Waits for what is under way, for so long.
pub(super) async fn finish(tasks: &TaskTracker, ends: &Ends, longest: Duration) {
    tasks.close();
    if timeout(longest, tasks.wait()).await.is_err() {
        tracing::warn!("mails that were on their way in are given up, their clients will send them again");
    }
    ends.kill.cancel();
    tasks.wait().await;
}
