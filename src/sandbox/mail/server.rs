//! The relay's listener: accepts connections while it is wanted, a bounded number at once.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::core::Core;
use super::session;

/// Connections at once; further ones wait in the listener's backlog.
const CONNECTIONS_MAX: usize = 256;
/// Pause before the listener is tried again, when its address is taken or descriptors have run out.
const LISTEN_AGAIN: Duration = Duration::from_millis(20);

/// Serves for ever; every connection ends when `stop` is cancelled.
pub(in crate::sandbox) async fn serve(
    core: Arc<Core>,
    listener: TcpListener,
    tasks: TaskTracker,
    stop: CancellationToken,
) {
    let mut wanted = core.wanted.subscribe();
    let mut listener = Some(listener);
    loop {
        let Some(open) = listener.take() else {
            if wanted.wait_for(|wanted| *wanted).await.is_err() {
                return;
            }
            match TcpListener::bind(core.address).await {
                Ok(bound) => listener = Some(bound),
                Err(_) => tokio::time::sleep(LISTEN_AGAIN).await,
            }
            continue;
        };
        let era = stop.child_token();
        core.listening.send_replace(true);
        tokio::select! {
            () = accept(&core, &open, &tasks, &era) => {}
            _ = wanted.wait_for(|wanted| !*wanted) => {}
        }
        drop(open);
        era.cancel();
        core.listening.send_replace(false);
    }
}

async fn accept(core: &Arc<Core>, listener: &TcpListener, tasks: &TaskTracker, era: &CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, client)) => {
                // Answers are small and whole: waiting to fill a segment only costs time. Failure costs only that.
                drop(stream.set_nodelay(true));
                let core = core.clone();
                let conversation = async move {
                    session::converse(core, stream, client).await;
                    drop(place);
                };
                tasks.spawn(era.clone().run_until_cancelled_owned(conversation));
            }
            Err(_) => tokio::time::sleep(LISTEN_AGAIN).await,
        }
    }
}
