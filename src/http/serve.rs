//! A listener whose clients cannot hang it: header time limit, idle limit, a bound on connections. One for
//! TCP, and one for the control socket.

use std::{sync::Arc, time::Duration};

use axum::Router;
use hyper::body::Incoming;
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, UnixListener},
    sync::Semaphore,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::crowd::{Crowd, Guest};

/// Connections at once. With all of them taken the one that says nothing for longest makes room for the next; while all
/// are at work, more wait.
const CONNECTIONS_MAX: usize = 512;
/// A request's head must be there within this time. It also ends a connection that stays idle.
const HEADER_LIMIT: Duration = Duration::from_secs(10);
/// Answers under way may finish within this time after a stop.
const DRAIN_LIMIT: Duration = Duration::from_secs(5);
/// Pause after a failed accept, which usually means that descriptors have run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where connections come from.
pub trait Accept: Send + 'static {
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    fn accept(&self) -> impl Future<Output = std::io::Result<Self::Stream>> + Send;
}

impl Accept for TcpListener {
    type Stream = tokio::net::TcpStream;
    async fn accept(&self) -> std::io::Result<Self::Stream> {
        let (stream, _) = TcpListener::accept(self).await?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Accept for UnixListener {
    type Stream = tokio::net::UnixStream;
    async fn accept(&self) -> std::io::Result<Self::Stream> {
        Ok(UnixListener::accept(self).await?.0)
    }
}

/// Serves until `stop`, then lets answers under way finish.
pub async fn serve(listener: impl Accept, router: Router, stop: CancellationToken) {
    let connections = TaskTracker::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let drop_all = CancellationToken::new();
    let crowd = Arc::new(Crowd::default());
    loop {
        let stream = tokio::select! {
            () = stop.cancelled() => break,
            stream = listener.accept() => stream,
        };
        match stream {
            Ok(stream) => {
                if places.available_permits() == 0 && crowd.make_room() {
                    tracing::debug!("a silent connection made room");
                }
                let place = tokio::select! {
                    () = stop.cancelled() => break,
                    place = places.clone().acquire_owned() => place.expect("the semaphore is never closed"),
                };
                let guest = crowd.enter();
                let (router, stop, drop_all) = (router.clone(), stop.clone(), drop_all.clone());
                connections.spawn(async move {
                    tokio::select! {
                        () = connection(stream, router, stop, guest.clone()) => {}
                        () = guest.sent_out() => {}
                        () = drop_all.cancelled() => {}
                    }
                    guest.leave();
                    drop(place);
                });
            }
            Err(error) => {
                tracing::warn!(error = error.to_string(), "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    connections.close();
    if tokio::time::timeout(DRAIN_LIMIT, connections.wait()).await.is_err() {
        drop_all.cancel();
        connections.wait().await;
    }
}

async fn connection<S>(stream: S, router: Router, stop: CancellationToken, guest: Guest)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = TowerToHyperService::new(tower::service_fn(move |request: hyper::Request<Incoming>| {
        let (router, guest) = (router.clone(), guest.clone());
        async move {
            let answered = tower::ServiceExt::oneshot(router, request.map(|body| guest.watch(body))).await;
            guest.moved();
            answered
        }
    }));
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_LIMIT)
        .serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = error.to_string(), "a connection ended badly");
    }
}
