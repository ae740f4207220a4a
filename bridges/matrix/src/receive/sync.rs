//! A bot account that asks for what is new, again and again.

use std::time::{Duration, Instant};

use bridge_api::{BridgeState, CancellationToken, Fault};

use super::pacing::Pacing;
use crate::{
    catch_up::{position, take},
    client::CallFault,
    hub::Hub,
    wire::read_sync,
};

/// How long the server may wait for something to tell.
const WAIT: Duration = Duration::from_secs(30);
/// A server that has nothing to tell and yet answers at once is not asked more often than this.
const ROUND_MIN: Duration = Duration::from_millis(50);

/// Asks until `stop`.
pub(crate) async fn run(hub: &Hub, stop: CancellationToken) -> Result<(), Fault> {
    stop.run_until_cancelled(rounds(hub)).await;
    Ok(())
}

async fn rounds(hub: &Hub) {
    let mut pacing = Pacing::default();
    let mut since = None;
    // Where to go on has to be known before anything is asked.
    while let Err(reason) = position(hub).await.map(|kept| since = kept) {
        tracing::warn!(reason = reason.as_str(), "where to go on cannot be read");
        hub.host.state(BridgeState::Down { reason });
        tokio::time::sleep(pacing.broke(Instant::now(), fastrand::f64())).await;
    }
    // The first one is answered at once, so that it is known soon whether there is a way through.
    let mut wait = Duration::ZERO;
    loop {
        let began = Instant::now();
        match round(hub, &mut since, wait).await {
            Ok(()) => {
                wait = WAIT;
                hub.host.state(BridgeState::Up);
                tokio::time::sleep(ROUND_MIN.saturating_sub(began.elapsed())).await;
            }
            Err((reason, after)) => {
                wait = Duration::ZERO;
                tracing::warn!(reason = reason.as_str(), "the homeserver cannot be asked for what is new");
                hub.host.state(BridgeState::Down { reason });
                let pause = pacing.broke(Instant::now(), fastrand::f64());
                tokio::time::sleep(pause.max(after)).await;
            }
        }
    }
}

async fn round(hub: &Hub, since: &mut Option<String>, wait: Duration) -> Result<(), (String, Duration)> {
    let answer = hub.client.sync(since.as_deref(), wait).await.map_err(|fault| {
        let after = if let CallFault::Limited { after } = fault { after } else { Duration::ZERO };
        (fault.to_string(), after)
    })?;
    let synced = read_sync(&answer, &hub.me.user);
    let synced = synced.ok_or_else(|| ("the answer of /sync names no position".to_owned(), Duration::ZERO))?;
    let next = synced.next.clone();
    take(hub, synced, since.as_deref()).await.map_err(|reason| (reason, Duration::ZERO))?;
    *since = Some(next);
    Ok(())
}
