//! `GET /metrics`: the figures, as Prometheus reads them, and a snapshot of them for a page.
//!
//! It needs no token, as usual for what scrapes it, since there is nothing in it that is anybody's: labels are names from
//! the settings and fixed words, never a secret, a peer, a message or an address.

use std::{sync::Arc, time::Duration};

use axum::{
    extract::State,
    http::header::CONTENT_TYPE,
    response::{IntoResponse, Response},
};

use super::Front;
use crate::{
    model::EnvelopeId,
    store::StoreError,
    telemetry::{Snapshot, TEXT_FORMAT},
};

/// For so long the store is waited for. Then the figures that only it knows are those of the time before.
const LOOK_LIMIT: Duration = Duration::from_secs(2);

pub(super) async fn metrics(State(front): State<Arc<Front>>) -> Response {
    refresh(&front).await;
    ([(CONTENT_TYPE, TEXT_FORMAT)], front.board.figures().text()).into_response()
}

impl Front {
    /// What a page shows of bridges, inboxes and sinks.
    pub async fn snapshot(&self) -> Snapshot {
        refresh(self).await;
        self.board.figures().snapshot(self.clock.now())
    }
}

/// Asks the store, but not again within the second: anybody may call.
async fn refresh(front: &Front) {
    if !front.board.figures().look_is_due(front.clock.now()) {
        return;
    }
    let reason = match tokio::time::timeout(LOOK_LIMIT, look(front)).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it did not answer in time".to_owned(),
    };
    tracing::debug!(reason, "the store could not be asked for its figures");
}

async fn look(front: &Front) -> Result<(), StoreError> {
    let (figures, store) = (front.board.figures(), &front.store);
    let sinks = figures.sinks();
    let oldest: Vec<_> = sinks.iter().filter_map(|sink| sink.oldest().map(|id| (sink, EnvelopeId(id)))).collect();
    sinks.iter().filter(|sink| sink.oldest().is_none()).for_each(|sink| sink.waits_for(0));
    let ids: Vec<_> = oldest.iter().map(|(_, id)| *id).collect();
    let (accepted, depth, space) = tokio::try_join!(store.accepted_millis(&ids), store.depth(), store.space())?;
    let now = front.clock.now();
    for ((sink, _), accepted) in oldest.iter().zip(accepted) {
        // Done since the pump told of it: whatever came next is younger.
        sink.waits_for(accepted.map_or(0, |accepted| now - accepted));
    }
    figures.dead_letters(depth.dead);
    figures.space(space.used_bytes, space.free_bytes);
    Ok(())
}
