//! Keeps one bridge running: what ends by itself is shown and started again, paced. A bridge that panics
//! takes nobody with it.

use std::{panic::AssertUnwindSafe, sync::Arc, time::Duration};

use bridge_api::{Bridge, BridgeState, Host, HostPort};
use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

use super::host::{BridgeHost, Work};

const PAUSE_FIRST: Duration = Duration::from_secs(2);
const PAUSE_MAX: Duration = Duration::from_mins(5);

pub(super) async fn keep_running(bridge: Arc<dyn Bridge>, host: BridgeHost, stop: CancellationToken) {
    let name = host.bridge.clone();
    let port = Arc::new(host);
    let mut pause = PAUSE_FIRST;
    while !stop.is_cancelled() {
        port.state(BridgeState::Connecting);
        let host = Host::new(name.clone(), port.clone());
        let work = match port.work {
            Work::Run => bridge.run(host, stop.clone()),
            Work::Listen => bridge.listen(host, stop.clone()),
        };
        let (error_type, reason) = match AssertUnwindSafe(work).catch_unwind().await {
            Ok(Ok(())) if stop.is_cancelled() => break,
            Ok(Ok(())) => ("bridge_ended", "it ended by itself".to_owned()),
            Ok(Err(fault)) => ("bridge_failed", fault.reason),
            Err(_) => {
                port.panicked();
                ("bridge_panicked", "it panicked; the log has the details".to_owned())
            }
        };
        port.ended(error_type);
        let (bridge, told, pause_seconds) = (name.as_str(), reason.as_str(), pause.as_secs());
        match port.work {
            Work::Run => tracing::error!(bridge, reason = told, pause_seconds, "a bridge stopped; it is started again"),
            Work::Listen => {
                tracing::error!(bridge, reason = told, pause_seconds, "a bridge listens no more; it is started again");
            }
        }
        port.state(BridgeState::Down { reason });
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = tokio::time::sleep(pause) => pause = (pause * 2).min(PAUSE_MAX),
        }
    }
    port.stopped();
}
